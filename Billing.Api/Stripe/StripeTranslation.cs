using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Billing.Ledger;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>An event as Stripe sends it, at API version 2026-07-29.dahlia.</summary>
public sealed record StripeEvent(string Id, string Type, Instant Created, string? ApiVersion, JsonElement Object)
{
    public const string PinnedVersion = "2026-07-29.dahlia";

    /// <returns>Null when the body is no event.</returns>
    public static StripeEvent? Parse(ReadOnlyMemory<byte> body)
    {
        using var document = JsonDocument.Parse(body, new JsonDocumentOptions { MaxDepth = 64, AllowDuplicateProperties = false });
        var root = document.RootElement;
        if (root.Text("object") != "event" || root.Text("id") is not { Length: > 0 and <= 255 } id || root.Text("type") is not { Length: > 0 and <= 255 } type) return null;
        if (root.Time("created") is not { } created || root.Get("data")?.Get("object") is not { ValueKind: JsonValueKind.Object } data) return null;
        return new StripeEvent(id, type, created, root.Text("api_version"), data.Clone());
    }

    /// <summary>The customer that it is about, if it says so.</summary>
    public string? Customer => Object.Text("object") == "customer" ? Object.Text("id") : Object.Reference("customer");

    /// <summary>The organization that it names, if it does.</summary>
    public string? Organization =>
        Object.Metadata("organization_id") ?? Object.Text("client_reference_id") ?? Object.Get("parent")?.Get("subscription_details")?.Metadata("organization_id");

    /// <summary>What it is about: the payment, for everything that speaks of one (its session, its refunds, its disputes), or else its object.</summary>
    public string? About => Object.Text("object") is "charge" or "checkout.session" or "refund" or "dispute" ? Object.Reference("payment_intent") ?? Object.Text("id") : Object.Text("id");
}

/// <summary>What an event means to the ledger.</summary>
/// <param name="Organization">As the event names it; null when it does not.</param>
/// <param name="Commands">Empty when it changes nothing.</param>
/// <param name="Failure">Why it cannot be understood.</param>
/// <param name="Note">For people: what it says, where it changes nothing.</param>
public sealed record Translation(string? Organization, IReadOnlyList<Command> Commands, string? Failure = null, string? Note = null);

/// <summary>One row of the table.</summary>
/// <param name="Translate">What the event means, by itself: pure.</param>
/// <param name="Then">What is done after the commands, such as looking something up at Stripe. It may be done twice.</param>
public sealed record StripeEventType(Func<StripeEvent, PriceBook, Instant, Translation> Translate, StripeStep? Then = null)
{
    /// <summary>Of events about a subscription: which of two of the same second is the later one.</summary>
    public SnapshotRank? Rank { get; init; }
}

/// <summary>From Stripe's events to commands: one table of pure functions. Adding an event type is one line in it.</summary>
public static class StripeTranslation
{
    private static readonly StripeEventType MoneyBack = new((e, _, _) => new Translation(e.Organization, []), (steps, applied, stop) => steps.MoneyBack(applied, stop));

    public static readonly IReadOnlyDictionary<string, StripeEventType> Table = new Dictionary<string, StripeEventType>
    {
        ["customer.subscription.created"] = Subscription(SnapshotRank.Created),
        ["customer.subscription.updated"] = Subscription(SnapshotRank.Updated),
        ["customer.subscription.paused"] = Subscription(SnapshotRank.Updated),
        ["customer.subscription.resumed"] = Subscription(SnapshotRank.Updated),
        ["customer.subscription.pending_update_applied"] = Subscription(SnapshotRank.Updated),
        ["customer.subscription.pending_update_expired"] = Subscription(SnapshotRank.Updated),
        ["customer.subscription.trial_will_end"] = Subscription(SnapshotRank.Updated),
        ["customer.subscription.deleted"] = Subscription(SnapshotRank.Deleted),

        ["checkout.session.completed"] = new((e, _, now) => CheckoutSession(e, now), (steps, applied, _) => steps.TokensBought(applied)),
        ["checkout.session.async_payment_succeeded"] = new((e, _, now) => CheckoutSession(e, now), (steps, applied, _) => steps.TokensBought(applied)),
        ["checkout.session.async_payment_failed"] = Counted("The payment of the checkout failed."),
        ["checkout.session.expired"] = Counted("The checkout was not finished in time."),

        ["invoice.created"] = new((e, _, now) => OfInvoice(e, now), (steps, applied, stop) => steps.InvoiceBegun(applied, stop)),
        ["invoice.updated"] = new((e, _, now) => OfInvoice(e, now), (steps, applied, stop) => steps.InvoiceSeen(applied, stop)),
        ["invoice.finalized"] = new((e, _, now) => OfInvoice(e, now), (steps, applied, stop) => steps.InvoiceSeen(applied, stop)),
        ["invoice.finalization_failed"] = new((e, _, now) => OfInvoice(e, now), (steps, applied, stop) => steps.InvoiceSeen(applied, stop)),
        ["invoice.paid"] = new((e, _, now) => Payment(e, now, paid: true), (steps, applied, stop) => steps.InvoiceSeen(applied, stop)),
        // It comes together with invoice.paid, which also comes when the money came in another way.
        ["invoice.payment_succeeded"] = new((e, _, now) => OfInvoice(e, now), (steps, applied, stop) => steps.InvoiceSeen(applied, stop)),
        ["invoice.payment_failed"] = new((e, _, now) => Payment(e, now, paid: false), (steps, applied, stop) => steps.InvoiceSeen(applied, stop)),
        ["invoice.payment_action_required"] = new((e, _, now) => OfInvoice(e, now), (steps, applied, stop) => steps.InvoiceSeen(applied, stop)),
        ["invoice.voided"] = new((e, _, now) => Voided(e, now), (steps, applied, stop) => steps.InvoiceSeen(applied, stop)),
        // It is owed all the same.
        ["invoice.marked_uncollectible"] = new((e, _, now) => OfInvoice(e, now), (steps, applied, stop) => steps.InvoiceSeen(applied, stop)),

        ["payment_intent.succeeded"] = new((e, _, now) => PaymentIntent(e, now), (steps, applied, _) => steps.TokensBought(applied)),
        ["payment_intent.payment_failed"] = new((e, _, now) => FailedIntent(e, now)),

        ["charge.refunded"] = MoneyBack,
        ["refund.created"] = MoneyBack,
        ["refund.updated"] = MoneyBack,
        ["refund.failed"] = MoneyBack,
        ["charge.dispute.created"] = MoneyBack,
        ["charge.dispute.updated"] = MoneyBack,
        ["charge.dispute.funds_withdrawn"] = MoneyBack,
        ["charge.dispute.funds_reinstated"] = MoneyBack,
        ["charge.dispute.closed"] = MoneyBack,

        ["customer.updated"] = Counted("The customer was changed at Stripe."),
        // Its subscriptions end by their own events, and what is still heard of it finds its organization, which gets a new one when it needs one.
        ["customer.deleted"] = Counted("The customer was deleted at Stripe. The organization gets a new one when it needs one."),
    };

    /// <summary>Events that say that money of a payment went back, or came again.</summary>
    public static readonly IReadOnlyList<string> MoneyBackTypes = [.. Table.Where(t => t.Value == MoneyBack).Select(t => t.Key)];

    /// <summary>It changes nothing here, and reports count it.</summary>
    private static StripeEventType Counted(string note) => new((e, _, _) => new Translation(e.Organization, [], Note: note));

    private static StripeEventType Subscription(SnapshotRank rank) => new((e, prices, now) => Subscription(e, prices, now, rank)) { Rank = rank };

    /// <summary>In subscription mode a session only links: the plan comes with customer.subscription.*.</summary>
    internal static Translation CheckoutSession(StripeEvent e, Instant now)
    {
        var session = e.Object;
        var organization = e.Organization;
        var commands = Link(organization, e, now);
        var isPaid = session.Text("payment_status") is "paid" or "no_payment_required";
        if (session.Metadata("token_package") is { } package && session.Text("mode") == "payment" && isPaid)
        {
            // Nothing was due: then there is no payment to know it by.
            var payment = session.Reference("payment_intent") is { } intent ? $"payment:{intent}" : $"session:{session.Text("id")}";
            commands.AddRange(Purchase(package, payment, session.Number("amount_total") ?? 0, session.Text("currency"), session.Metadata("top_up"), e, now));
        }
        return new Translation(organization, commands);
    }

    /// <summary>Also comes for the payment of every invoice: only one with a token package in its own metadata is a purchase.</summary>
    internal static Translation PaymentIntent(StripeEvent e, Instant now)
    {
        var intent = e.Object;
        var organization = e.Organization;
        var commands = Link(organization, e, now);
        if (intent.Metadata("token_package") is { } package && intent.Text("status") == "succeeded")
            commands.AddRange(Purchase(package, $"payment:{intent.Text("id")}", intent.Number("amount_received") ?? intent.Number("amount") ?? 0, intent.Text("currency"), intent.Metadata("top_up"), e, now));
        return new Translation(organization, commands);
    }

    /// <summary>Only of an automatic top-up: whoever sees the other failures is there and tries again.</summary>
    private static Translation FailedIntent(StripeEvent e, Instant now)
    {
        var intent = e.Object;
        var organization = e.Organization;
        var commands = Link(organization, e, now);
        if (intent.Metadata("top_up") is { } topUp)
        {
            var error = intent.Get("last_payment_error");
            var commandId = $"stripe:top-up:{topUp}:failed";
            commands.Add(new FailTopUp(topUp, error?.Text("decline_code") ?? error?.Text("code") ?? "payment_failed") { Id = commandId, ContentHash = HashOf(commandId), At = now, By = "stripe" });
        }
        return new Translation(organization, commands);
    }

    /// <summary>A subscription as Stripe answered it. What is over stays so; otherwise it stands over every event from before it was asked for.</summary>
    /// <param name="e">Its time is when it was asked for, its id tells it from every other.</param>
    public static Translation Fetched(StripeEvent e, PriceBook prices, Instant now) =>
        Subscription(e, prices, now, e.Object.Text("status") is "canceled" or "incomplete_expired" ? SnapshotRank.Deleted : SnapshotRank.Refetched);

    internal static Translation Subscription(StripeEvent e, PriceBook prices, Instant now, SnapshotRank rank)
    {
        var o = e.Object;
        var organization = e.Organization;
        if (o.Text("id") is not { } id) return Failed(organization, e, "The subscription has no id.");
        if (!Spelling.TryParse<SubscriptionStatus>(o.Text("status") ?? "", out var status)) return Failed(organization, e, $"The status '{o.Text("status")}' is unknown.");
        var items = o.Get("items")?.Get("data") is { ValueKind: JsonValueKind.Array } data ? data.EnumerateArray().ToList() : [];
        var found = items.Select(i => prices.Find(i.Get("price")?.Text("id"), LookupKey(i.Get("price")))).FirstOrDefault(p => p is not null);
        if (found is not { } price)
            return Failed(organization, e, $"No price of it is in the catalog or the environment: {string.Join(", ", items.Select(i => $"{i.Get("price")?.Text("id")} ({LookupKey(i.Get("price"))})"))}.");
        // Since 2025-03-31 the period stands on the items.
        var starts = items.Select(i => i.Time("current_period_start")).OfType<Instant>().ToList();
        var ends = items.Select(i => i.Time("current_period_end")).OfType<Instant>().ToList();
        if (starts.Count == 0 || ends.Count == 0 || o.Time("created") is not { } created) return Failed(organization, e, "Its items have no current period.");

        // Stripe's status stays active while nothing is collected; here whoever pays nothing has nothing.
        if (o.Get("pause_collection") is not null && status is SubscriptionStatus.Active or SubscriptionStatus.PastDue) status = SubscriptionStatus.Paused;
        var snapshot = new Subscription(
            id, price.Plan, 0, status, price.Interval, created, starts.Min(), ends.Max(), o.Time("billing_cycle_anchor"), o.Time("trial_end"),
            o.Get("cancel_at_period_end")?.ValueKind == JsonValueKind.True, o.Time("cancel_at"), o.Time("canceled_at"), o.Time("ended_at"), e.Customer,
            new SnapshotOrder(e.Created, rank, e.Id))
        {
            // Stripe's own object tells only that there is a schedule; what for is in the metadata that was set with it. It stays for a while after the change.
            Scheduled = o.Reference("schedule") is not null && o.Metadata("scheduled_plan") is { } next && Spelling.TryParse<BillingInterval>(o.Metadata("scheduled_interval") ?? "", out var interval) && (next, interval) != price
                ? new ScheduledChange(next, 0, interval) : null,
        };
        var commandId = $"stripe:subscription:{id}:{e.Id}";
        var commands = Link(organization, e, now);
        commands.Add(new FollowSubscription(snapshot) { Id = commandId, ContentHash = HashOf(commandId), At = now, By = "stripe" });
        return new Translation(organization, commands);
    }

    /// <summary>A price that was replaced has given its key away; the push that made it wrote the key into its metadata.</summary>
    private static string? LookupKey(JsonElement? price) => price?.Text("lookup_key") ?? price?.Metadata("lookup_key");

    /// <summary>What happened to an invoice without saying whether it was paid: it is mirrored, and says whose customer this is.</summary>
    private static Translation OfInvoice(StripeEvent e, Instant now) => new(e.Organization, Link(e.Organization, e, now));

    private static Translation Payment(StripeEvent e, Instant now, bool paid)
    {
        var invoice = e.Object;
        var details = invoice.Get("parent")?.Get("subscription_details");
        var organization = e.Organization;
        if (invoice.Text("id") is not { } id) return Failed(organization, e, "The invoice has no id.");
        var attempt = (int)Math.Clamp(invoice.Number("attempt_count") ?? 0, 0, 1_000);
        var commandId = paid ? $"stripe:invoice:{id}:paid" : $"stripe:invoice:{id}:failed:{attempt}";
        var amount = (paid ? invoice.Number("amount_paid") : invoice.Number("amount_due")) ?? 0;
        var commands = Link(organization, e, now);
        // The invoice's own time where it has one, because Stripe may make two events of one payment, each with its time.
        var at = (paid ? invoice.Get("status_transitions")?.Time("paid_at") : null) ?? e.Created;
        commands.Add(new RecordPayment(id, details?.Reference("subscription"), paid, paid ? 0 : attempt, amount, invoice.Text("currency") ?? "usd", at)
        {
            Id = commandId, ContentHash = HashOf(commandId), At = now, By = "stripe",
        });
        return new Translation(organization, commands);
    }

    private static Translation Voided(StripeEvent e, Instant now)
    {
        var organization = e.Organization;
        if (e.Object.Text("id") is not { } id) return Failed(organization, e, "The invoice has no id.");
        var commandId = $"stripe:invoice:{id}:voided";
        var commands = Link(organization, e, now);
        commands.Add(new VoidPayment(id, e.Object.Get("parent")?.Get("subscription_details")?.Reference("subscription"), e.Object.Text("currency") ?? "usd",
            e.Object.Get("status_transitions")?.Time("voided_at") ?? e.Created)
        {
            Id = commandId, ContentHash = HashOf(commandId), At = now, By = "stripe",
        });
        return new Translation(organization, commands);
    }

    /// <summary>An event that names both tells whose customer this is.</summary>
    private static List<Command> Link(string? organization, StripeEvent e, Instant now)
    {
        if (organization is null || e.Customer is not { } customer) return [];
        return [LinkTo(customer, now)];
    }

    /// <summary>Whoever finds it out, it is one fact.</summary>
    internal static LinkCustomer LinkTo(string customer, Instant now)
    {
        var commandId = $"stripe:customer:{customer}";
        return new LinkCustomer(customer) { Id = commandId, ContentHash = HashOf(commandId), At = now };
    }

    /// <summary>Known by the payment, so that every event about one payment is one purchase.</summary>
    private static Command[] Purchase(string package, string payment, long amount, string? currency, string? topUp, StripeEvent e, Instant now)
    {
        var id = payment[(payment.IndexOf(':') + 1)..];
        var dated = $"stripe:{payment}:at:{e.Created.ToUnixTimeSeconds()}";
        return
        [
            new PurchaseTokens(package, id, amount, currency ?? "usd", e.Created, topUp) { Id = $"stripe:{payment}", ContentHash = HashOf($"tokens:{payment}:{package}"), At = now },
            // Each of those events has a time of its own. The oldest is the purchase's, in whatever order they come.
            new DatePurchase(id, e.Created) { Id = dated, ContentHash = HashOf(dated), At = now },
        ];
    }

    private static Translation Failed(string? organization, StripeEvent e, string why) =>
        new(organization, [], e.ApiVersion is { } version && !version.EndsWith(".dahlia", StringComparison.Ordinal)
            ? $"{why} The event has API version {version}; create the webhook endpoint with {StripeEvent.PinnedVersion}." : why);

    internal static byte[] HashOf(string effect) => SHA256.HashData(Encoding.UTF8.GetBytes(effect));
}

/// <summary>Which plan a Stripe price is: by the environment, by a price id in any version of the catalog (the newest first), or by lookup key.</summary>
public sealed class PriceBook(Catalogs catalogs, IReadOnlyDictionary<string, (string Plan, BillingInterval Interval)> fromEnvironment)
{
    public (string Plan, BillingInterval Interval)? Find(string? priceId, string? lookupKey)
    {
        if (priceId is not null && fromEnvironment.TryGetValue(priceId, out var named)
            && catalogs.Current.Plans.FirstOrDefault(p => EnvironmentName(p.Id) == named.Plan) is { } plan) return (plan.Id, named.Interval);
        foreach (var version in catalogs.All.Reverse())
            foreach (var candidate in version.Plans)
                foreach (var price in candidate.Prices)
                    if ((priceId is not null && price.PriceId == priceId) || (lookupKey is not null && price.LookupKey == lookupKey)) return (candidate.Id, price.Interval);
        return null;
    }

    /// <summary>As a plan is written in the name of a variable.</summary>
    public static string EnvironmentName(string plan) => plan.Replace('-', '_').ToUpperInvariant();
}

/// <summary>Lenient reading: what is absent, null or of another type reads as null; a reference is a string, an object, or a deleted object.</summary>
internal static class StripeJson
{
    public static JsonElement? Get(this JsonElement json, string name) =>
        json.ValueKind == JsonValueKind.Object && json.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;

    public static string? Text(this JsonElement json, string name) => json.Get(name) is { ValueKind: JsonValueKind.String } value ? Text(value) : null;

    private static string? Text(JsonElement value)
    {
        try
        {
            // PostgreSQL has no text with a zero in it.
            return value.GetString() is { } text && !text.Contains('\0') ? text : null;
        }
        catch (InvalidOperationException)
        {
            // Half a character (\ud800 alone) is JSON, and no text.
            return null;
        }
    }

    public static long? Number(this JsonElement json, string name) =>
        json.Get(name) is { ValueKind: JsonValueKind.Number } value && value.TryGetInt64(out var number) ? number : null;

    public static Instant? Time(this JsonElement json, string name) =>
        json.Number(name) is { } seconds and >= 0 and <= 253_402_300_000 ? Instant.FromUnixTimeSeconds(seconds) : null;

    public static string? Reference(this JsonElement json, string name) => json.Get(name) switch
    {
        { ValueKind: JsonValueKind.String } id => Text(id),
        { ValueKind: JsonValueKind.Object } expanded => expanded.Text("id"),
        _ => null,
    };

    public static string? Metadata(this JsonElement json, string name) => json.Get("metadata")?.Text(name) is { Length: > 0 } value ? value : null;
}
