using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Billing.Grains;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>One field in which the ledger and Stripe differ.</summary>
/// <param name="Kind">customer, subscription, invoice, overage, payment or top_up.</param>
/// <param name="Object">Stripe's id.</param>
/// <param name="Ledger">What the ledger says; null for nothing.</param>
/// <param name="Stripe">What Stripe says; null for nothing.</param>
/// <param name="ExplainedBy">How that came about, for people.</param>
/// <param name="Repair">Null where nothing repairs it by itself.</param>
public sealed record Difference(string Kind, string Object, string Field, string? Ledger, string? Stripe, string ExplainedBy, Repair? Repair)
{
    /// <summary>The command by which the ledger knows what it says: its event's version is told, too.</summary>
    public string? KnownBy { get; init; }

    public bool IsSameAs(Difference other) => (Kind, Object, Field) == (other.Kind, other.Object, other.Field);
}

/// <summary>What makes the ledger say what Stripe says. All of it may be done twice, and its ids are the ones that webhooks use.</summary>
/// <param name="Says">The command and its id.</param>
/// <param name="Events">Events that would have done it, if any are known that did not: the oldest first.</param>
public sealed record Repair(string Says, IReadOnlyList<Command> Commands, IReadOnlyList<string> Events)
{
    /// <summary>The invoice as it is to be kept.</summary>
    public StripeInvoice? Invoice { get; init; }

    /// <summary>The invoice that what was used is to be added to once more.</summary>
    public JsonElement? AddTo { get; init; }

    /// <summary>The customer that is to be in the directory, beside the commands.</summary>
    public string? Link { get; init; }
}

/// <summary>What the ledger charges on an invoice of Stripe's, besides what is sold there: the overage of a period.</summary>
/// <param name="Version">Of the event that says so: each line at Stripe is named by it.</param>
public sealed record BilledLines(string Invoice, long Version, int Count, long Amount, string Currency);

/// <summary>
/// The ledger's word against Stripe's, field by field. Pure. What Stripe's objects should have come to is said by the translation
/// that webhooks go through: there is no second set of rules.
/// </summary>
public sealed class Comparison
{
    private const string NotAtStripe = "Stripe has nothing under this id: it was removed there by hand, or the key is another account's. Nothing is taken from the organization for that.";

    /// <summary>What happened so lately may be about to be told.</summary>
    private static readonly Duration UnderWay = Duration.FromMinutes(5);

    private static readonly string[] PurchaseTypes = ["payment_intent.succeeded", "checkout.session.completed", "checkout.session.async_payment_succeeded"];

    private readonly string organization;
    private readonly FollowedView ledger;
    private readonly IReadOnlyList<string> directory;
    private readonly IReadOnlyList<StripeInvoice> kept;
    private readonly IReadOnlyList<BilledLines> billed;
    private readonly StripeSide stripe;
    private readonly PriceBook prices;
    private readonly Instant now;
    private readonly List<Difference> found = [];

    private Comparison(string organization, FollowedView ledger, IReadOnlyList<string> directory, IReadOnlyList<StripeInvoice> kept, IReadOnlyList<BilledLines> billed, StripeSide stripe, PriceBook prices, Instant now) =>
        (this.organization, this.ledger, this.directory, this.kept, this.billed, this.stripe, this.prices, this.now) = (organization, ledger, directory, kept, billed, stripe, prices, now);

    /// <param name="directory">The customers whose events are this organization's.</param>
    /// <param name="kept">Stripe's invoices as they are kept here.</param>
    public static IReadOnlyList<Difference> Of(
        string organization, FollowedView ledger, IReadOnlyList<string> directory, IReadOnlyList<StripeInvoice> kept, IReadOnlyList<BilledLines> billed, StripeSide stripe, PriceBook prices, Instant now)
    {
        var comparison = new Comparison(organization, ledger, directory, kept, billed, stripe, prices, now);
        comparison.Customers();
        comparison.Subscriptions();
        comparison.Invoices();
        comparison.Overage();
        comparison.Payments();
        comparison.TopUp();
        return comparison.found;
    }

    // ---- customers

    private void Customers()
    {
        foreach (var (id, customer) in stripe.Customers)
        {
            var (isKnown, isListed) = (ledger.Customers.Contains(id), directory.Contains(id));
            var explained = new Lazy<Explanation>(() => Explain([id], ["customer.", "checkout.", "invoice.", "payment_intent."]));
            if (customer.ValueKind == JsonValueKind.Undefined)
            {
                if (isListed) Add("customer", id, "linked", "yes", null, NotAtStripe, null);
            }
            // One that was deleted there is still whose it was; its subscriptions have ended.
            else if ((!isKnown || !isListed) && customer.Get("deleted")?.ValueKind != JsonValueKind.True)
            {
                if (customer.Metadata("organization_id") is { } other && other != organization) continue;
                var link = StripeTranslation.LinkTo(id, now);
                Add("customer", id, "linked", isKnown ? "yes, but its events find no organization" : "no", "yes", explained.Value.Text, new Repair(Says(link), [link], explained.Value.Events) { Link = id });
            }
        }
    }

    // ---- subscriptions

    private void Subscriptions()
    {
        var live = new List<(Subscription Subscription, Repair? Repair)>();
        foreach (var o in stripe.Subscriptions)
        {
            var id = o.Text("id")!;
            var known = ledger.Subscriptions.FirstOrDefault(s => s.Id == id);
            // What was fetched after the ledger was read is newer than anything in it, whatever the two clocks say.
            var at = known?.Order is { } order ? Instant.Max(stripe.AskedAt, order.EventCreatedAt + Duration.FromTicks(10)) : stripe.AskedAt;
            var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(o.GetRawText())))[..12];
            var translation = StripeTranslation.Fetched(new StripeEvent($"fetched:{at.ToUnixTimeTicks() / 10}:{hash}", "customer.subscription.updated", at, null, o), prices, now);
            if (translation.Organization is { } other && other != organization) continue;
            var explained = new Lazy<Explanation>(() => Explain([id], ["customer.subscription."]));
            if (translation.Failure is { } failure)
            {
                Add("subscription", id, "price", known?.Plan, failure, explained.Value.Text, null);
                continue;
            }
            var follow = translation.Commands.OfType<FollowSubscription>().Single();
            var s = follow.Snapshot;
            // The end of a subscription is final, here and at Stripe.
            var isFinal = known?.Order?.Rank == SnapshotRank.Deleted && !s.Ended;
            var repair = new Lazy<Repair?>(() => isFinal ? null : new Repair($"FollowSubscription stripe:subscription:{id}", translation.Commands, explained.Value.Newest));
            if (!s.Ended) live.Add((s, repair.Value));
            if (known is null)
            {
                Add("subscription", id, "subscription", null, $"{s.Plan} ({Spelling.Of(s.Interval)}), {Spelling.Of(s.Status)}", explained.Value.Text, repair.Value);
                continue;
            }
            Field("status", Spelling.Of(known.Status), Spelling.Of(s.Status));
            Field("plan", known.Plan, s.Plan);
            Field("interval", Spelling.Of(known.Interval), Spelling.Of(s.Interval));
            Field("customer", known.Customer, s.Customer);
            Field("created", Text(known.CreatedAt), Text(s.CreatedAt));
            Field("period_start", Text(known.PeriodStart), Text(s.PeriodStart));
            Field("period_end", Text(known.PeriodEnd), Text(s.PeriodEnd));
            Field("billing_anchor", Text(known.BillingAnchor), Text(s.BillingAnchor));
            Field("trial_end", Text(known.TrialEnd), Text(s.TrialEnd));
            Field("cancel_at_period_end", Text(known.CancelAtPeriodEnd), Text(s.CancelAtPeriodEnd));
            Field("cancel_at", Text(known.CancelAt), Text(s.CancelAt));
            Field("canceled_at", Text(known.CanceledAt), Text(s.CanceledAt));
            Field("ended_at", Text(known.EndedAt), Text(s.EndedAt));
            Field("scheduled", Text(known.Scheduled), Text(s.Scheduled));

            void Field(string name, string? mine, string? theirs)
            {
                if (mine != theirs)
                    Add("subscription", id, name, mine, theirs, explained.Value.Text, repair.Value, known.Order is { } by ? $"stripe:subscription:{id}:{by.EventId}" : null);
            }
        }
        Own(live);
        foreach (var s in ledger.Subscriptions.Where(s => !s.Ended && stripe.Missing.Contains(s.Id)))
            Add("subscription", s.Id, "subscription", $"{s.Plan} ({Spelling.Of(s.Interval)}), {Spelling.Of(s.Status)}", null, NotAtStripe, null, s.Order is { } by ? $"stripe:subscription:{s.Id}:{by.EventId}" : null);
    }

    /// <summary>The organization's own is the one that goes on and was created last. The ledger may keep one itself.</summary>
    private void Own(List<(Subscription Subscription, Repair? Repair)> live)
    {
        var (theirs, repair) = live.OrderBy(s => s.Subscription.CreatedAt).ThenBy(s => s.Subscription.Id, StringComparer.Ordinal).LastOrDefault();
        if (theirs is null || ledger.Own is not { } own || own == theirs.Id || stripe.Missing.Contains(own)) return;
        Add("subscription", theirs.Id, "own", own, theirs.Id, "Of the subscriptions that go on at Stripe this one was created last; what differs in them is listed.", repair);
    }

    // ---- invoices

    private void Invoices()
    {
        foreach (var o in stripe.Invoices)
        {
            var id = o.Text("id")!;
            if (NamedOrganization(o) is { } other && other != organization) continue;
            Mirror(o);
            var known = ledger.Payments.FirstOrDefault(p => p.Invoice == id);
            var status = o.Text("status");
            var explained = new Lazy<Explanation>(() => Explain([id], ["invoice."]));
            if (status == "paid")
            {
                var told = EventsAbout(id).FirstOrDefault(e => e.Event.Type == "invoice.paid");
                var created = told?.Event.Created ?? o.Get("status_transitions")?.Time("paid_at") ?? o.Time("created") ?? now;
                var translation = Translate("invoice.paid", o, created);
                var paid = translation.Commands.OfType<RecordPayment>().Single();
                var repair = new Repair(Says(paid), translation.Commands, explained.Value.Events);
                if (known is not { Paid: true })
                {
                    Add("invoice", id, "paid", known is null ? null : "no", $"yes, {Text(paid.Amount, paid.Currency)}", explained.Value.Text, repair);
                    continue;
                }
                // What was recorded as paid stays so: the same command would change nothing any more.
                Field(id, "amount", Text(known.Amount, known.Currency), Text(paid.Amount, paid.Currency));
                Field(id, "subscription", known.Subscription, paid.Subscription);
                Field(id, "paid_at", Text(known.PaidAt), Text(paid.HappenedAt));
            }
            else if (status == "void" && known is not { Paid: true })
            {
                if (known?.VoidedAt is not null) continue;
                var created = EventsAbout(id).FirstOrDefault(e => e.Event.Type == "invoice.voided")?.Event.Created ?? o.Time("created") ?? now;
                var translation = Translate("invoice.voided", o, created);
                Add("invoice", id, "voided", known is null ? null : "no", "yes", explained.Value.Text, new Repair(Says(translation.Commands.OfType<VoidPayment>().Single()), translation.Commands, explained.Value.Events));
            }
            else if (known is { Paid: true })
            {
                Field(id, "paid", "yes", $"no, {status}");
            }
            else
            {
                // What was not collected by itself may have been asked for and not have failed: then only the event tells.
                var told = EventsAbout(id).Where(e => e.Event.Type == "invoice.payment_failed").ToList();
                var attempts = Math.Max(told.Count == 0 ? 0 : told.Max(e => e.Event.Attempt ?? 0), o.Text("billing_reason") == "subscription_create" || status is not ("open" or "uncollectible") ? 0 : o.Number("attempt_count") ?? 0);
                if (attempts <= (known?.FailedAttempts ?? 0)) continue;
                var created = told.Count > 0 ? told[^1].Event.Created : o.Get("status_transitions")?.Time("finalized_at") ?? o.Time("created") ?? now;
                var translation = Translate("invoice.payment_failed", o, created);
                var explanation = Explain([id], ["invoice.payment_failed"]);
                Add("invoice", id, "failed_attempts", known?.FailedAttempts.ToString(CultureInfo.InvariantCulture), attempts.ToString(CultureInfo.InvariantCulture), explanation.Text,
                    new Repair(Says(translation.Commands.OfType<RecordPayment>().Single()), translation.Commands, explanation.Events));
            }
        }
        foreach (var p in ledger.Payments.Where(p => stripe.Missing.Contains(p.Invoice)))
            Add("invoice", p.Invoice, "invoice", $"{(p.Paid ? "paid" : "failed")}, {Text(p.Amount, p.Currency)}", null, NotAtStripe, null, $"stripe:invoice:{p.Invoice}:paid");

        void Field(string id, string name, string? mine, string? theirs)
        {
            if (mine != theirs) Add("invoice", id, name, mine, theirs, $"{Explain([id], ["invoice."]).Text} What is recorded as paid stays so: look at it by hand.", null, $"stripe:invoice:{id}:paid");
        }
    }

    /// <summary>The invoice as it is kept for showing it.</summary>
    private void Mirror(JsonElement o)
    {
        if (MirroredInvoices.Read(o, organization, stripe.LinesOf(o)) is not { } theirs) return;
        var explained = new Lazy<Explanation>(() => Explain([theirs.Id], ["invoice."]));
        var repair = new Lazy<Repair>(() => new Repair($"keep {theirs.Id} as Stripe shows it", [], explained.Value.Events) { Invoice = theirs });
        var mine = kept.FirstOrDefault(i => i.Id == theirs.Id);
        if (mine is null)
        {
            Add("invoice", theirs.Id, "kept", null, $"{theirs.Status}, {Text(theirs.Total, theirs.Currency)}", explained.Value.Text, repair.Value);
            return;
        }
        foreach (var (name, read) in Kept)
            if (read(mine) != read(theirs)) Add("invoice", theirs.Id, $"kept.{name}", read(mine), read(theirs), explained.Value.Text, repair.Value);
    }

    private static readonly (string Name, Func<StripeInvoice, string?> Read)[] Kept =
    [
        ("status", i => i.Status), ("number", i => i.Number), ("currency", i => i.Currency), ("subtotal", i => Text(i.Subtotal, i.Currency)), ("discount", i => Text(i.Discount, i.Currency)),
        ("tax", i => Text(i.Tax, i.Currency)), ("total", i => Text(i.Total, i.Currency)), ("credit", i => Text(i.Credit, i.Currency)), ("amount_due", i => Text(i.AmountDue, i.Currency)),
        ("amount_paid", i => Text(i.AmountPaid, i.Currency)), ("amount_remaining", i => Text(i.AmountRemaining, i.Currency)), ("attempts", i => i.Attempts.ToString(CultureInfo.InvariantCulture)),
        ("next_attempt_at", i => Text(i.NextAttemptAt)), ("finalized_at", i => Text(i.FinalizedAt)), ("due_at", i => Text(i.DueAt)), ("settled_at", i => Text(i.SettledAt)),
        ("period_start", i => Text(i.PeriodStart)), ("period_end", i => Text(i.PeriodEnd)), ("subscription", i => i.Subscription), ("problem", i => i.Problem),
        ("lines", i => string.Join("; ", i.Lines.Select(l => $"{l.Description} {Text(l.Amount, i.Currency)}"))),
    ];

    // ---- overage

    /// <summary>Where an invoice was closed too soon, what the ledger charges on it is on a later one.</summary>
    private void Overage()
    {
        var lines = stripe.Invoices.SelectMany(stripe.LinesOf).Select(l => (Name: l.Metadata(BillingLine), Amount: l.Number("amount") ?? 0)).Where(l => l.Name is not null).ToList();
        foreach (var mine in billed)
        {
            var theirs = lines.Where(l => l.Name!.StartsWith(string.Create(CultureInfo.InvariantCulture, $"{mine.Version}-"), StringComparison.Ordinal)).Sum(l => l.Amount);
            if (theirs == mine.Amount) continue;
            var invoice = stripe.Invoices.FirstOrDefault(i => i.Text("id") == mine.Invoice);
            var repair = invoice.ValueKind == JsonValueKind.Undefined ? null : new Repair($"the invoice items of version {mine.Version} once more", [], []) { AddTo = invoice };
            Add("overage", mine.Invoice, "lines", $"{Text(mine.Amount, mine.Currency)} in {mine.Count} lines", Text(theirs, mine.Currency),
                "Adding it at Stripe was broken off, is under way, or was undone there by hand.", repair, $"stripe:invoice:{mine.Invoice}:usage");
        }
    }

    /// <summary>The metadata that names the ledger's line: its event's version and its place.</summary>
    private const string BillingLine = "billing_line";

    // ---- token payments

    private void Payments()
    {
        var seen = new HashSet<string>();
        foreach (var o in stripe.TokenPayments)
        {
            var type = o.Text("object") == "checkout.session" ? "checkout.session.completed" : "payment_intent.succeeded";
            var about = o.Text("object") == "checkout.session" ? o.Reference("payment_intent") ?? o.Text("id")! : o.Text("id")!;
            var told = EventsAbout(about).Where(e => PurchaseTypes.Contains(e.Event.Type)).ToList();
            var created = told.Count > 0 ? told[0].Event.Created : o.Time("created") ?? now;
            var translation = Translate(type, o, created);
            if ((translation.Organization ?? organization) != organization || translation.Commands.OfType<PurchaseTokens>().FirstOrDefault() is not { } bought || !seen.Add(bought.Payment)) continue;

            var explanation = Explain([about], PurchaseTypes);
            var repair = new Repair(Says(bought), translation.Commands, explanation.Events);
            if (ledger.Purchases.FirstOrDefault(g => g.Payment == bought.Payment) is not { } grant)
            {
                Add("payment", bought.Payment, "grant", null, $"{bought.Package}, {Text(bought.Amount, bought.Currency)}", explanation.Text, repair);
                continue;
            }
            Field("package", grant.Package, bought.Package);
            Field("amount", Text(grant.Amount, grant.Currency ?? ""), Text(bought.Amount, bought.Currency));
            if (told.Count > 0 && told[0].Event.Created < grant.GrantedAt)
                Add("payment", bought.Payment, "purchased_at", Text(grant.GrantedAt), Text(told[0].Event.Created), explanation.Text, repair, bought.Id);
            if (stripe.Returned.TryGetValue(bought.Payment, out var returned) && Tokens.Owed(grant, returned) is var owed && owed != grant.Revoked + grant.Debt)
            {
                var back = Explain([about], ["charge.", "refund."]);
                var command = new ReturnMoney(bought.Payment, returned)
                {
                    Id = $"stripe:returned:{bought.Payment}:{now.ToUnixTimeTicks() / 10}", ContentHash = SHA256.HashData(Encoding.UTF8.GetBytes($"returned:{bought.Payment}:{returned}")), At = now, By = "stripe",
                };
                Add("payment", bought.Payment, "returned", $"{grant.Revoked + grant.Debt} tokens", $"{owed} tokens, {Text(returned, bought.Currency)}", back.Text,
                    new Repair($"ReturnMoney {bought.Payment} {Text(returned, bought.Currency)}", [command], back.Events), bought.Id);
            }

            void Field(string name, string? mine, string? theirs)
            {
                if (mine != theirs) Add("payment", bought.Payment, name, mine, theirs, $"{explanation.Text} A purchase stays as it was recorded: look at it by hand.", null, bought.Id);
            }
        }
        foreach (var grant in ledger.Purchases.Where(g => stripe.Missing.Contains(g.Payment!)))
            Add("payment", grant.Payment!, "payment", $"{grant.Package}, {Text(grant.Amount, grant.Currency ?? "")}", null, NotAtStripe, null, $"stripe:payment:{grant.Payment}");
        foreach (var o in stripe.PaymentIntents.Where(i => i.Text("status") != "succeeded"))
            if (ledger.Purchases.FirstOrDefault(g => g.Payment == o.Text("id")) is { } grant)
                Add("payment", grant.Payment!, "paid", "yes", $"no, {o.Text("status")}", $"{Explain([grant.Payment!], ["payment_intent."]).Text} A purchase stays as it was recorded: look at it by hand.", null, $"stripe:payment:{grant.Payment}");
    }

    // ---- automatic top-up

    private void TopUp()
    {
        if (ledger.TopUp is not { } pending) return;
        var intents = stripe.PaymentIntents.Where(i => i.Metadata("top_up") == pending.Id && (i.Metadata("organization_id") ?? organization) == organization).ToList();
        var intent = intents.FirstOrDefault(i => i.Text("status") == "succeeded");
        if (intent.ValueKind == JsonValueKind.Undefined) intent = intents.FirstOrDefault();
        if (intent.ValueKind == JsonValueKind.Undefined) return;
        var id = intent.Text("id")!;
        var hasFailed = intent.Text("status") == "canceled" || (intent.Text("status") == "requires_payment_method" && intent.Get("last_payment_error") is not null);
        var type = intent.Text("status") == "succeeded" ? "payment_intent.succeeded" : hasFailed ? "payment_intent.payment_failed" : null;
        if (type is null) return;
        var translation = Translate(type, intent, EventsAbout(id).FirstOrDefault(e => e.Event.Type == type)?.Event.Created ?? intent.Time("created") ?? now);
        if (translation.Commands.FirstOrDefault(c => c is PurchaseTokens or FailTopUp) is not { } command) return;
        var explanation = Explain([id], [type]);
        Add("top_up", pending.Id, "status", "pending", hasFailed ? "failed" : "paid", explanation.Text, new Repair(Says(command), translation.Commands, explanation.Events));
    }

    // ---- explaining

    /// <param name="Events">Those that were not taken, the oldest first.</param>
    private readonly record struct Explanation(string Text, IReadOnlyList<string> Events)
    {
        /// <summary>Of a subscription the newest one says all.</summary>
        public IReadOnlyList<string> Newest => Events.Count == 0 ? [] : [Events[^1]];
    }

    private IEnumerable<KnownEvent> EventsAbout(string id) => stripe.Events.Where(e => e.Event.Object == id || e.Event.About == id);

    /// <summary>The newest event about any of these that was not taken; without one, it was changed in another way.</summary>
    private Explanation Explain(IReadOnlyList<string> ids, IReadOnlyList<string> types)
    {
        var about = stripe.Events.Where(e => types.Any(t => e.Event.Type.StartsWith(t, StringComparison.Ordinal))
            && ids.Any(id => e.Event.Object == id || e.Event.About == id || (id.StartsWith("cus_", StringComparison.Ordinal) && e.Event.Customer == id))).ToList();
        if (about.LastOrDefault(e => !e.IsTaken) is not { } open)
            return new Explanation(about.Count == 0
                ? "Stripe has no event of the last 30 days about it."
                : $"It was changed at Stripe without an event that is known: the last one, {Named(about[^1])}, was taken.", []);
        var what = open.Inbox switch
        {
            null when now - open.Event.Created < UnderWay => "has not arrived yet",
            null => "never arrived",
            { State: InboxState.Failed } failed => $"could not be applied: {failed.Detail}",
            { State: InboxState.Unclaimed } => "waits in the inbox for its organization",
            var waiting => $"is pending in the inbox{(waiting.Detail is null ? "" : $": {waiting.Detail}")}",
        };
        return new Explanation($"{Named(open)} {what}{(what.EndsWith('.') ? "" : ".")}", [.. about.Where(e => !e.IsTaken).Select(e => e.Event.Id)]);
    }

    private static string Named(KnownEvent e) => $"{e.Event.Id} ({e.Event.Type}, {Text(e.Event.Created)})";

    // ---- small things

    private void Add(string kind, string id, string field, string? mine, string? theirs, string explainedBy, Repair? repair, string? knownBy = null) =>
        found.Add(new Difference(kind, id, field, mine, theirs, explainedBy, repair) { KnownBy = knownBy });

    /// <summary>What this object would mean in an event of this type.</summary>
    private Translation Translate(string type, JsonElement o, Instant created) =>
        StripeTranslation.Table[type].Translate(new StripeEvent("reconciled", type, created, null, o), prices, now);

    private static string? NamedOrganization(JsonElement invoice) =>
        invoice.Metadata("organization_id") ?? invoice.Get("parent")?.Get("subscription_details")?.Metadata("organization_id");

    private static string Says(Command command) => $"{command.GetType().Name} {command.Id}";

    private static string? Text(ScheduledChange? change) => change is null ? null : $"{change.Plan} ({Spelling.Of(change.Interval)})";

    private static string Text(bool value) => value ? "yes" : "no";

    private static string? Text(Instant? at) => at?.ToString("uuuu'-'MM'-'dd'T'HH':'mm':'ss;FFFFFF'Z'", CultureInfo.InvariantCulture);

    private static string Text(long amount, string currency) => $"{(amount / (decimal)Pricing.MinorUnits(currency)).ToString("0.00", CultureInfo.InvariantCulture)} {currency}";
}
