using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Simulation.Audit;

namespace Billing.Tests.Simulation;

/// <summary>The auditor's book of money: lines that wait, invoices with their sums and numbers, credit, and what became of each.</summary>
internal sealed class BillingBook(string organization, PlanBook plans, UsageBook usage)
{
    private sealed class Invoice(InvoiceCreated created)
    {
        public readonly InvoiceCreated Created = created;
        public readonly string Id = $"in_{created.Version}";
        public InvoiceStatus Status = InvoiceStatus.Draft;
        public string? Number;
        public Instant? Finalized, Due, Settled;
    }

    private readonly List<InvoiceLine> pending = [];
    private readonly List<Invoice> invoices = [];
    private readonly HashSet<string> numbers = [];
    private readonly HashSet<string> atStripe = [];
    private readonly SortedDictionary<string, long> credits = new(StringComparer.Ordinal);
    private TaxTerms? tax;
    private DiscountTerms? discount;
    private Invoice? nothingDue;

    /// <summary>The most that overage may come to in a billing period, over all features and for each.</summary>
    public long? Cap { get; private set; }

    public SortedDictionary<string, long> FeatureCaps { get; private set; } = [];

    /// <summary>What a charge for a plan came to: its amount less its discount, nothing when its invoice is not to be paid. On no invoice yet, it will be discounted by the terms of now.</summary>
    public long Net(BaseCharge charged, string currency, Instant now)
    {
        bool IsIt(InvoiceLine l) => l.Kind is LineKind.Base or LineKind.Proration && (l.Amount, l.Start, l.End) == (charged.Amount, charged.Start, charged.End);
        if (invoices.FindLast(i => (i.Status != InvoiceStatus.Void || i.Number is not null) && Array.Exists(i.Created.Lines, IsIt)) is { } invoice)
            return invoice.Status is InvoiceStatus.Void or InvoiceStatus.Uncollectible ? 0 : charged.Amount - Array.FindLast(invoice.Created.Lines, IsIt)!.Discount;
        return discount is { Percent: { } percent } && !(discount.Until <= now) ? charged.Amount - Coverage.Rounded(charged.Amount * percent / 100) : charged.Amount;
    }

    public void RequireNothingOverdue() => Require(nothingDue is null, $"Nothing is due of the invoice {nothingDue?.Id}, and it is not paid.");

    // ---- taking events

    public void Take(LinesAdded e, Catalogs catalogs)
    {
        foreach (var line in e.Lines)
            if (line.Kind == LineKind.Overage)
            {
                // Where a period ends, the one that ends is billed, by the plan that it had.
                var before = e.EffectiveAt - Duration.Epsilon;
                var feature = catalogs.All.Last(c => c.Features.Any(f => f.Id == line.Feature)).Features.First(f => f.Id == line.Feature);
                var given = plans.Given(plans.InForce(catalogs, before).Plan, feature, before);
                Require(line.Currency == catalogs.All[^1].Currency && line.End == e.EffectiveAt, $"Event {e.Version} bills {line.Feature} in {line.Currency} until {line.End}.");
                usage.Bill(e, line, given, Coverage.MinorUnits(line.Currency) / (decimal)Coverage.Scale(feature), plans);
            }
        pending.AddRange(e.Lines.Where(l => l.Amount != 0 || l.Kind == LineKind.Base));
        usage.Plan(plans, e.EffectiveAt);
    }

    public void Take(LinesBilledAtStripe e)
    {
        Require(e.Lines.Length > 0 && e.Lines.All(l => l.Currency == e.Lines[0].Currency), $"Event {e.Version} bills {e.Lines.Length} lines at Stripe, or several currencies.");
        var due = pending.Where(l => l.Currency == e.Lines[0].Currency).OrderBy(l => l.Kind).ToList();
        Require(due.Count == e.Lines.Length && due.Zip(e.Lines).All(p => IsSame(p.First, p.Second)), $"Event {e.Version} bills {e.Lines.Length} lines at Stripe, and {due.Count} are pending, or others.");
        Require(atStripe.Add(e.Invoice), $"Event {e.Version} bills twice by {e.Invoice}.");
        pending.RemoveAll(due.Contains);
    }

    public void Take(InvoiceCreated e, Catalogs catalogs)
    {
        var due = pending.Where(l => l.Currency == e.Currency).OrderBy(l => l.Kind).ToList();
        Require(e.Lines.Length > 0 && e.Lines.Length == due.Count, $"Event {e.Version} has {e.Lines.Length} lines, and {due.Count} are pending in {e.Currency}.");
        for (var i = 0; i < due.Count; i++) Require(IsSame(e.Lines[i], due[i]), $"Event {e.Version} has the line {e.Lines[i]}; pending is {due[i]}.");
        pending.RemoveAll(l => l.Currency == e.Currency);

        Require(e.TaxTerms == (tax ?? catalogs.All[^1].Tax), $"Event {e.Version} is taxed by {e.TaxTerms}.");
        var off = discount is { } d && !(d.Until <= e.EffectiveAt) && (d.Percent is not null || d.Currency == e.Currency) ? d : null;
        Require(e.DiscountTerms == off, $"Event {e.Version} is discounted by {e.DiscountTerms}; the terms are {off}.");
        RequireSums(e, off);
        Require(e.Start == due.Min(l => l.Start) && e.End == due.Max(l => l.End), $"Event {e.Version} is about {e.Start} to {e.End}.");

        var balance = credits.GetValueOrDefault(e.Currency);
        Require(e.Credit == (e.Total < 0 ? e.Total : Math.Min(e.Total, balance)), $"Event {e.Version} takes {e.Credit} of {balance} credit for {e.Total}.");
        Require(e.AmountDue == e.Total - e.Credit && e.AmountDue >= 0, $"Event {e.Version}: {e.AmountDue} is due of {e.Total} less {e.Credit}.");
        if (e.Credit > 0) Credit(e.Currency, -e.Credit);
        invoices.Add(new Invoice(e));
    }

    private static void RequireSums(InvoiceCreated e, DiscountTerms? off)
    {
        var subtotal = e.Lines.Sum(l => l.Amount);
        var charged = e.Lines.Sum(l => Math.Max(0, l.Amount));
        static bool IsNet(InvoiceLine l) => l.Kind == LineKind.Proration && l.Amount < 0;
        var discounted = off switch
        {
            { Percent: { } percent } => Coverage.Rounded(e.Lines.Where(l => !IsNet(l)).Sum(l => l.Amount) * percent / 100),
            { Amount: { } amount } when subtotal > 0 => Math.Min(amount, subtotal),
            _ => 0,
        };
        Require(e.Subtotal == subtotal && e.Discount == discounted, $"Event {e.Version} sums up to {e.Subtotal} less {e.Discount}; by the books {subtotal} less {discounted}.");
        Require(e.Lines.Sum(l => l.Discount) == discounted, $"The lines of event {e.Version} are discounted by {e.Lines.Sum(l => l.Discount)} and not by {discounted}.");
        foreach (var line in e.Lines)
        {
            // A share is next to its exact part, above it or below it.
            var exact = off switch { { Percent: { } percent } => IsNet(line) ? 0 : line.Amount * percent / 100, { Amount: not null } when subtotal > 0 => Math.Max(0m, line.Amount) * discounted / charged, _ => 0 };
            Require(Math.Abs(line.Discount - exact) < 1, $"A line of {line.Amount} in event {e.Version} is discounted by {line.Discount}, which is not next to {exact}.");
            var net = line.Amount - line.Discount;
            var taxed = e.TaxTerms is not { } terms ? 0 : Coverage.Rounded(terms.Inclusive ? net * terms.Rate / (100 + terms.Rate) : net * terms.Rate / 100);
            Require(line.Tax == taxed, $"A line of {net} in event {e.Version} is taxed with {line.Tax}; by the books {taxed}.");
        }
        var tax = e.Lines.Sum(l => l.Tax);
        var total = subtotal - discounted + (e.TaxTerms is { Inclusive: false } ? tax : 0);
        Require(e.Tax == tax && e.Total == total, $"Event {e.Version} comes to {e.Total} with {e.Tax} of tax; by the books {total} with {tax}.");
    }

    public void Take(InvoiceFinalized e, Catalogs catalogs)
    {
        var invoice = Find(e, e.Invoice);
        Require(invoice.Status == InvoiceStatus.Draft, $"Event {e.Version} gives {e.Invoice} a number, which is {invoice.Status}.");
        var issued = e.EffectiveAt.InUtc();
        var first = $"INV-{issued:yyyy-MM}-{organization}";
        var sofar = invoices.Count(i => i.Finalized?.InUtc() is { } on && on.Year == issued.Year && on.Month == issued.Month);
        var due = sofar == 0 ? first : $"{first}-{sofar + 1}";
        Require(e.Number == due && numbers.Add(e.Number), $"Event {e.Version} gives the number {e.Number}; the next one is {due}.");
        Require(e.DueAt == e.EffectiveAt + Duration.FromDays(catalogs.All[^1].InvoiceDueDays), $"Event {e.Version} makes {e.Number} due at {e.DueAt}.");
        (invoice.Number, invoice.Status, invoice.Finalized, invoice.Due) = (e.Number, InvoiceStatus.Open, e.EffectiveAt, e.DueAt);
        if (invoice.Created.Credit < 0) Credit(invoice.Created.Currency, -invoice.Created.Credit);
        if (invoice.Created.AmountDue == 0) nothingDue = invoice;
    }

    public void Take(InvoiceSettled e)
    {
        var invoice = Find(e, e.Invoice);
        var allowed = (invoice.Status, e.Status) is (InvoiceStatus.Draft, InvoiceStatus.Void) or (InvoiceStatus.Open, InvoiceStatus.Paid or InvoiceStatus.Void or InvoiceStatus.Uncollectible)
            or (InvoiceStatus.Uncollectible, InvoiceStatus.Paid or InvoiceStatus.Void);
        Require(allowed, $"Event {e.Version} makes {e.Invoice} {e.Status}, which is {invoice.Status}.");
        if (e.Status == InvoiceStatus.Void)
        {
            if (invoice.Created.Credit > 0) Credit(invoice.Created.Currency, invoice.Created.Credit);
            if (invoice.Status == InvoiceStatus.Draft) pending.AddRange(invoice.Created.Lines.Select(l => l with { Discount = 0, Tax = 0 }));
        }
        (invoice.Status, invoice.Settled) = (e.Status, e.EffectiveAt);
        if (nothingDue == invoice) nothingDue = null;
    }

    public void Take(CreditGranted e)
    {
        Require(e.Amount > 0, $"Event {e.Version} grants {e.Amount}.");
        Credit(e.Currency, e.Amount);
    }

    public void Take(BillingTermsSet e) => (tax, discount) = (e.Tax, e.Discount);

    public void Take(SpendCapsSet e) => (Cap, FeatureCaps) = (e.Organization, new SortedDictionary<string, long>((e.Features ?? []).ToDictionary(f => f.Feature, f => f.Amount)));

    private void Credit(string currency, long change)
    {
        credits[currency] = credits.GetValueOrDefault(currency) + change;
        Require(credits[currency] >= 0, $"The credit balance in {currency} falls to {credits[currency]}.");
        if (credits[currency] == 0) credits.Remove(currency);
    }

    private Invoice Find(LedgerEvent e, string id)
    {
        var invoice = invoices.Find(i => i.Id == id);
        Require(invoice is not null, $"Event {e.Version} is about an invoice {id} that was never made.");
        return invoice!;
    }

    private static bool IsSame(InvoiceLine a, InvoiceLine b) =>
        a with { Discount = 0, Tax = 0, Tiers = null, Records = null } == b with { Discount = 0, Tax = 0, Tiers = null, Records = null }
        && (a.Tiers ?? []).SequenceEqual(b.Tiers ?? []) && (a.Records ?? []).SequenceEqual(b.Records ?? []);

    // ---- comparing

    public void Compare(State state)
    {
        var slice = state.Billing;
        Require(slice.Pending.Length == pending.Count && slice.Pending.Zip(pending).All(p => IsSame(p.First, p.Second)), $"{pending.Count} lines are pending by the books and {slice.Pending.Length} in the state, or others.");
        Require(slice.Credits.Select(c => (c.Currency, c.Amount)).SequenceEqual(credits.Select(c => (c.Key, c.Value))), $"Credit is {string.Join(", ", credits)} by the books and {string.Join(", ", slice.Credits)} in the state.");
        Require(slice.Tax == tax && slice.Discount == discount, $"The terms are {tax} and {discount} by the books.");
        Require(slice.Cap == Cap && slice.FeatureCaps.Select(c => (c.Feature, c.Amount)).SequenceEqual(FeatureCaps.Select(c => (c.Key, c.Value))), $"The caps are {Cap} and {string.Join(", ", FeatureCaps)} by the books.");
        Require(slice.Invoices.Length == invoices.Count, $"There are {invoices.Count} invoices by the books and {slice.Invoices.Length} in the state.");
        for (var i = 0; i < invoices.Count; i++)
        {
            var (stated, booked) = (slice.Invoices[i], invoices[i]);
            var created = booked.Created;
            Require(stated.Id == booked.Id && stated.Number == booked.Number && stated.Status == booked.Status && stated.Currency == created.Currency && stated.Total == created.Total
                && stated.Credit == created.Credit && stated.AmountDue == created.AmountDue && stated.FinalizedAt == booked.Finalized && stated.DueAt == booked.Due && stated.SettledAt == booked.Settled
                && stated.Subscription == created.Subscription && stated.Draft.Length == (booked.Status == InvoiceStatus.Draft ? created.Lines.Length : 0),
                $"The invoice {booked.Id} ({booked.Number}, {booked.Status}) is another in the state: {stated}");
        }
    }
}
