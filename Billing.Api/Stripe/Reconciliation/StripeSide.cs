using System.Text.Json;
using Billing.Grains;
using Billing.Silo;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>A recent event, and what became of it here; null when it never came.</summary>
public sealed record KnownEvent(RecentEvent Event, InboxNote? Inbox)
{
    /// <summary>It did what it does.</summary>
    public bool IsTaken => Inbox?.State is InboxState.Applied or InboxState.Ignored;
}

/// <summary>What Stripe has of one organization.</summary>
/// <param name="AskedAt">Before the first request: whatever came later may be missing in it.</param>
/// <param name="Customers">By id, those of the directory and of the ledger; undefined JSON where Stripe has none.</param>
/// <param name="Lines">All lines of the invoices that show only the first ones, by invoice.</param>
/// <param name="Sessions">Finished checkout sessions.</param>
/// <param name="Returned">What went back of token payments, in minor units.</param>
/// <param name="Missing">Ids that the ledger knows, and Stripe does not.</param>
/// <param name="Events">Those of the last 30 days about any of it, the oldest first.</param>
public sealed record StripeSide(
    Instant AskedAt, IReadOnlyDictionary<string, JsonElement> Customers, IReadOnlyList<JsonElement> Subscriptions, IReadOnlyList<JsonElement> Invoices,
    IReadOnlyDictionary<string, IReadOnlyList<JsonElement>> Lines, IReadOnlyList<JsonElement> PaymentIntents, IReadOnlyList<JsonElement> Sessions, IReadOnlyDictionary<string, long> Returned, IReadOnlySet<string> Missing,
    IReadOnlyList<KnownEvent> Events)
{
    public static readonly StripeSide Empty = new(default, new Dictionary<string, JsonElement>(), [], [], new Dictionary<string, IReadOnlyList<JsonElement>>(), [], [], new Dictionary<string, long>(), new HashSet<string>(), []);

    /// <summary>Every line of an invoice, as far as it was fetched.</summary>
    public IReadOnlyList<JsonElement> LinesOf(JsonElement invoice) => Lines.GetValueOrDefault(invoice.Text("id") ?? "")
        ?? (invoice.Get("lines")?.Get("data") is { ValueKind: JsonValueKind.Array } data ? [.. data.EnumerateArray()] : []);

    /// <summary>Token payments: those that name a package themselves.</summary>
    public IEnumerable<JsonElement> TokenPayments => PaymentIntents.Concat(Sessions).Where(p => p.Metadata("token_package") is not null);

    /// <summary>Fetches all of it. The ledger was read before: so what comes from here is not older.</summary>
    public static async Task<StripeSide> Fetch(
        IStripeGateway stripe, RecentEvents recent, Inbox inbox, string organization, FollowedView ledger, IReadOnlyList<string> directory, Instant now, CancellationToken stop)
    {
        var customers = new Dictionary<string, JsonElement>();
        var (subscriptions, invoices, intents, sessions, charges) = (new Found(), new Found(), new Found(), new Found(), new Found());
        // Whoever names the organization may be a customer that nobody told us of.
        var named = recent.About([RecentEvents.OrganizationName(organization)]);
        foreach (var id in directory.Concat(ledger.Customers).Concat(named.Select(e => e.Customer).OfType<string>()).Distinct())
        {
            var customer = await stripe.Find(StripeRequests.Customer(id), stop);
            customers[id] = customer ?? default;
            if (customer is null) continue;
            await subscriptions.AddAll(stripe.List(StripeRequests.SubscriptionsOf(id), stop));
            await invoices.AddAll(stripe.List(StripeRequests.InvoicesOf(id), stop));
            await intents.AddAll(stripe.List(StripeRequests.PaymentIntentsOf(id), stop));
            await sessions.AddAll(stripe.List(StripeRequests.CheckoutSessionsOf(id), stop));
            await charges.AddAll(stripe.List(StripeRequests.ChargesOf(id), stop));
        }

        // What was paid without a customer, and what the ledger knows of besides.
        var missing = new HashSet<string>();
        foreach (var s in ledger.Subscriptions) await Add(subscriptions, s.Id, StripeRequests.Subscription(s.Id));
        foreach (var p in ledger.Payments) await Add(invoices, p.Invoice, StripeRequests.Invoice(p.Invoice));
        foreach (var payment in ledger.Purchases.Select(g => g.Payment!).Concat(named.Where(e => e.Type.StartsWith("payment_intent.", StringComparison.Ordinal)).Select(e => e.Object!)).Distinct())
        {
            if (payment.StartsWith("pi_", StringComparison.Ordinal)) await Add(intents, payment, StripeRequests.PaymentIntent(payment));
            else if (payment.StartsWith("cs_", StringComparison.Ordinal)) await Add(sessions, payment, StripeRequests.CheckoutSession(payment));
        }

        var lines = new Dictionary<string, IReadOnlyList<JsonElement>>();
        foreach (var invoice in invoices.All.Where(i => i.Get("lines")?.Get("has_more")?.ValueKind == JsonValueKind.True))
        {
            var all = new Found();
            await all.AddAll(stripe.List(StripeRequests.InvoiceLines(invoice.Text("id")!), stop));
            lines[invoice.Text("id")!] = all.All;
        }

        // Refunds may fail and disputes be won: then the charge alone does not say what went back.
        var returned = new Dictionary<string, long>();
        foreach (var intent in intents.All.Where(i => i.Metadata("token_package") is not null))
        {
            var id = intent.Text("id")!;
            var grant = ledger.Purchases.FirstOrDefault(g => g.Payment == id);
            var isListed = charges.All.Any(c => c.Reference("payment_intent") == id);
            var isUntouched = isListed && !charges.All.Any(c => c.Reference("payment_intent") == id && (c.Number("amount_refunded") > 0 || c.Get("disputed")?.ValueKind == JsonValueKind.True));
            if (isUntouched && (grant is null || grant.Revoked + grant.Debt == 0)) continue;
            var (refunds, disputes) = (new Found(), new Found());
            await refunds.AddAll(stripe.List(StripeRequests.RefundsOf(id), stop));
            await disputes.AddAll(stripe.List(StripeRequests.DisputesOf(id), stop));
            returned[id] = ReturnedMoney.Of(refunds.All, disputes.All);
        }

        var names = customers.Keys.Concat(subscriptions.Ids).Concat(invoices.Ids).Concat(intents.Ids).Concat(sessions.Ids).Append(RecentEvents.OrganizationName(organization));
        var events = recent.About(names).Where(e => e.Organization is null || e.Organization == organization).ToList();
        var notes = await inbox.FindAll([.. events.Select(e => e.Id)]);
        return new StripeSide(
            now, customers, subscriptions.All, invoices.All, lines, intents.All, sessions.All, returned, missing, [.. events.Select(e => new KnownEvent(e, notes.GetValueOrDefault(e.Id)))]);

        async Task Add(Found list, string id, StripeRequest request)
        {
            if (list.Ids.Contains(id)) return;
            if (await stripe.Find(request, stop) is { } found) list.Add(found);
            else missing.Add(id);
        }
    }

    /// <summary>Objects of one kind, each once.</summary>
    private sealed class Found
    {
        private readonly Dictionary<string, JsonElement> objects = [];

        public IReadOnlyList<JsonElement> All => [.. objects.Values];

        public IReadOnlyCollection<string> Ids => objects.Keys;

        public void Add(JsonElement o)
        {
            if (o.Text("id") is { } id) objects[id] = o;
        }

        public async Task AddAll(IAsyncEnumerable<JsonElement> list)
        {
            await foreach (var o in list) Add(o);
        }
    }
}
