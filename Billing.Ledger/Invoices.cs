using System.Globalization;
using NodaTime;

namespace Billing.Ledger;

/// <summary>What is billed: pricing the overage of a period, making invoices, and what becomes of them.</summary>
public static class Invoices
{
    /// <summary>The most lines that wait for the next invoice by somebody's asking.</summary>
    public const int MaxPending = 1_000;

    // ---- reading

    /// <summary>The invoice of this id or number, or null.</summary>
    public static InvoiceHead? Find(State state, string idOrNumber) =>
        state.Billing.Invoices.FirstOrDefault(i => i.Id == idOrNumber || i.Number == idOrNumber);

    /// <summary>What a charge for a plan came to: less the discount of its invoice, and nothing when that is not to be paid. What is on none yet will be discounted as now.</summary>
    internal static long Net(State state, BaseCharge charged, string currency, Instant at)
    {
        if (state.Billing.Charge is { } invoiced && invoiced.Charged == charged && Find(state, invoiced.Invoice) is { } invoice)
            return invoice.Status is InvoiceStatus.Void or InvoiceStatus.Uncollectible ? 0 : charged.Amount - invoiced.Discount;
        return DiscountAt(state, currency, at) is { Percent: { } percent } ? charged.Amount - Pricing.Round(charged.Amount * percent / 100) : charged.Amount;
    }

    private static DiscountTerms? DiscountAt(State state, string currency, Instant at) =>
        state.Billing.Discount is { } discount && !(at >= discount.Until) && (discount.Amount is null || discount.Currency == currency) ? discount : null;

    /// <summary>Whether the organization is charged by Stripe's invoices: then lines wait for the next of those, and none of our own is made of them by itself.</summary>
    public static bool AreAtStripe(State state) =>
        state.Subscriptions.Own is { Kept: null, Ended: false, Status: not SubscriptionStatus.Incomplete };

    /// <summary>
    /// Whether lines are pending that no renewal's invoice at Stripe will take: the overage of a month that ended within a longer period.
    /// </summary>
    public static bool AreWithinPeriod(State state)
    {
        if (!AreAtStripe(state)) return false;
        var (own, cycle) = (state.Subscriptions.Own!, state.Subscriptions.Cycle);
        return state.Billing.Pending.Any(l => l.Kind == LineKind.Overage && l.End != own.PeriodEnd && l.End != own.PeriodStart && cycle.Period(l.End).Start != l.End);
    }

    /// <summary>Whether nobody charges any more what is pending of a subscription that ended at Stripe.</summary>
    public static bool AreLeftOver(State state) => !state.Billing.Pending.IsEmpty && (state.IsClosed || !AreAtStripe(state) && state.Subscriptions.Own is not { Kept: not null, Ended: false });

    public static TaxTerms? TaxOf(State state, Catalogs catalogs) => state.Billing.Tax ?? catalogs.Current.Tax;

    /// <summary>What would be on the next invoice if it were made now: what is pending and the overage so far, in each currency. Nothing is written.</summary>
    public static IReadOnlyList<InvoiceCreated> Upcoming(State state, Catalogs catalogs, Instant now)
    {
        state = state.Evolve(Decider.Due(state, catalogs, now));
        var lines = UsageLines(state, catalogs, now, ending: true);
        if (lines.Length > 0) state = state.Evolve(new LinesAdded(lines, null) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now });
        return [.. Currencies(state).Select(currency => Create(state, catalogs, currency, now, now, false))];
    }

    /// <summary>The currencies that something is pending in.</summary>
    private static string[] Currencies(State state) => [.. state.Billing.Pending.Select(l => l.Currency).Distinct().Order(StringComparer.Ordinal)];

    // ---- deciding

    public static Decision Decide(State state, Catalogs catalogs, CreateInvoice c, Instant now)
    {
        var making = new Making(state);
        // A gauge is charged by its peak once for each period, so it waits for the period's end.
        // What is too little for a line waits too: on a line of nothing it would be billed as nothing.
        var lines = Array.FindAll(UsageLines(state, catalogs, now, ending: false), l => l.Amount != 0);
        if (lines.Length > 0)
            making.Add(new LinesAdded(lines, null) { By = c.By, Version = making.Next, EffectiveAt = now, RecordedAt = now });
        var currencies = Currencies(making.State);
        var currency = c.Currency ?? (currencies.Contains(catalogs.Current.Currency) ? catalogs.Current.Currency : currencies.FirstOrDefault());
        if (currency is null || !currencies.Contains(currency)) return Rejections.NothingToInvoice(c.Currency);
        Issue(making, catalogs, currency, now, now, final: false, c.Draft, c.By);
        return new Decision([.. making.Events], null);
    }

    public static Decision Decide(State state, BillAtStripe c, Instant now)
    {
        InvoiceLine[] lines = [.. state.Billing.Pending.Where(l => l.Currency == c.Currency).OrderBy(l => l.Kind)];
        return lines.Length == 0 ? Decision.AlreadyDone : new LinesBilledAtStripe(c.Invoice, lines) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };
    }

    public static Decision Decide(State state, Catalogs catalogs, FinalizeInvoice c, Instant now)
    {
        if (Find(state, c.Invoice) is not { } invoice) return Rejections.InvoiceUnknown(c.Invoice);
        if (invoice.Status != InvoiceStatus.Draft) return Rejections.InvoiceState(invoice, "Only a draft is finalized.");
        var making = new Making(state);
        Finalize(making, catalogs, invoice.Id, now, now, c.By);
        return new Decision([.. making.Events], null);
    }

    public static Decision Decide(State state, Catalogs catalogs, SettleInvoice c, Instant now)
    {
        if (Find(state, c.Invoice) is not { } invoice) return Rejections.InvoiceUnknown(c.Invoice);
        if (invoice.Status == c.Status) return Decision.AlreadyDone;
        var allowed = (invoice.Status, c.Status) switch
        {
            (InvoiceStatus.Draft, InvoiceStatus.Void) => true,
            (InvoiceStatus.Open, InvoiceStatus.Paid or InvoiceStatus.Void or InvoiceStatus.Uncollectible) => true,
            (InvoiceStatus.Uncollectible, InvoiceStatus.Paid or InvoiceStatus.Void) => true,
            _ => false,
        };
        if (!allowed)
            return Rejections.InvoiceState(invoice, invoice.Status == InvoiceStatus.Draft ? "Finalize it first; a draft can only be voided." : "That is final; what is to be charged or given back goes onto the next invoice.");
        return new InvoiceSettled(invoice.Id, c.Status, c.Payment, c.Reason, c.By) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };
    }

    public static Decision Decide(State state, Catalogs catalogs, AddLine c, Instant now)
    {
        if (Currency(catalogs, c.Currency) is not { } currency) return Rejections.CurrencyUnknown(c.Currency!);
        if (c.Amount == 0) return Rejections.AmountZero();
        if (c.Amount is > Pricing.MaxAmount or < -Pricing.MaxAmount) return Rejections.AmountTooLarge();
        if (state.Billing.Pending.Length >= MaxPending) return Rejections.TooManyLines(MaxPending);
        return new LinesAdded([new InvoiceLine(LineKind.Adjustment, c.Description, null, null, 1, null, c.Amount, currency, now, now)], c.Reason)
        {
            By = c.By, Version = state.Version + 1, EffectiveAt = now, RecordedAt = now,
        };
    }

    public static Decision Decide(State state, Catalogs catalogs, GrantCredit c, Instant now)
    {
        if (Currency(catalogs, c.Currency) is not { } currency) return Rejections.CurrencyUnknown(c.Currency!);
        if (c.Amount <= 0) return Rejections.QuantityNotPositive("amount");
        if (c.Amount > Pricing.MaxAmount - state.Billing.Credit(currency)) return Rejections.AmountTooLarge();
        return new CreditGranted(c.Amount, currency, c.Reason, c.By) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };
    }

    public static Decision Decide(State state, Catalogs catalogs, SetBillingTerms c, Instant now)
    {
        var discount = c.Discount;
        if (discount is { Amount: not null })
        {
            if (Currency(catalogs, discount.Currency) is not { } currency) return Rejections.CurrencyUnknown(discount.Currency!) with { Field = "discount.currency" };
            discount = discount with { Currency = currency };
        }
        if (discount is { Until: { } until } && until <= now) return Rejections.DiscountEnded();
        if (c.Tax == state.Billing.Tax && discount == state.Billing.Discount) return Decision.AlreadyDone;
        return new BillingTermsSet(c.Tax, discount, c.Reason, c.By) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };
    }

    /// <summary>
    /// The overage so far as lines, when it is to be billed at this instant; null when it is not. It is priced by the plan in force just before,
    /// so it comes before whatever changes the plan at the same instant.
    /// </summary>
    /// <param name="ending">The subscription ends now: everything is billed, gauges by their peak so far.</param>
    /// <param name="withGauges">False: those that stand past what they include were billed just before.</param>
    internal static LinesAdded? BillUsageAt(State state, Catalogs catalogs, Instant at, Instant now, bool ending = false, bool withGauges = true)
    {
        if (!ending && !(state.Billing.BilledAt <= at)) return null;
        var lines = UsageLines(state, catalogs, at, ending && withGauges);
        if (ending && lines.Length == 0) return null;
        // Without lines too: what was to be billed is gone, and it is not due for ever.
        return new LinesAdded(lines, null) { Version = state.Version + 1, EffectiveAt = at, RecordedAt = now };
    }

    /// <summary>An invoice of everything that is pending, finalized, one for each currency; nothing when nothing is pending.</summary>
    internal static IReadOnlyList<LedgerEvent> Issue(State state, Catalogs catalogs, Instant at, Instant now, bool final = false)
    {
        var making = new Making(state);
        foreach (var currency in Currencies(state)) Issue(making, catalogs, currency, at, now, final, draft: false, "clock");
        return making.Events;
    }

    private static void Issue(Making making, Catalogs catalogs, string currency, Instant at, Instant now, bool final, bool draft, string? by)
    {
        var created = Create(making.State, catalogs, currency, at, now, final);
        making.Add(created);
        if (!draft) Finalize(making, catalogs, Ids.Invoice(created.Version), at, now, by);
    }

    private static InvoiceCreated Create(State state, Catalogs catalogs, string currency, Instant at, Instant now, bool final)
    {
        var billing = state.Billing;
        // The base first, then what changed in it, overage, and adjustments; each in the order in which it came.
        InvoiceLine[] lines = [.. billing.Pending.Where(l => l.Currency == currency).OrderBy(l => l.Kind)];
        var (tax, discount) = (TaxOf(state, catalogs), DiscountAt(state, currency, at));
        var sum = InvoiceArithmetic.Total(lines, tax, discount);
        var credit = sum.Total < 0 ? sum.Total : Math.Min(sum.Total, billing.Credit(currency));
        var own = state.Subscriptions.Own;
        return new InvoiceCreated(
            sum.Lines, currency, sum.Subtotal, sum.Discount, sum.Tax, tax, discount, sum.Total, credit, sum.Total - credit,
            lines.Min(l => l.Start), lines.Max(l => l.End), own?.Kept is null ? null : own.Id, final || (own is { Kept: not null, Ended: true } && own.EndedAt == at))
        {
            Version = state.Version + 1, EffectiveAt = at, RecordedAt = now,
        };
    }

    private static void Finalize(Making making, Catalogs catalogs, string id, Instant at, Instant now, string? by)
    {
        var invoice = Find(making.State, id)!;
        var due = at + Duration.FromDays(catalogs.Current.InvoiceDueDays);
        making.Add(new InvoiceFinalized(id, NextNumber(making.State, at), due) { Version = making.Next, EffectiveAt = at, RecordedAt = now });
        if (invoice.AmountDue == 0) making.Add(new InvoiceSettled(id, InvoiceStatus.Paid, null, null, by) { Version = making.Next, EffectiveAt = at, RecordedAt = now });
    }

    /// <summary><c>INV-2026-11-acme</c> by the month of issue in UTC, then <c>-2</c>, <c>-3</c>… What has a number keeps it, so there is no gap.</summary>
    private static string NextNumber(State state, Instant at)
    {
        var first = string.Create(CultureInfo.InvariantCulture, $"INV-{at.InUtc().Year:0000}-{at.InUtc().Month:00}-{state.Organization}");
        var issued = state.Billing.Invoices.Count(i => i.FinalizedAt?.InUtc() is { } on && on.Year == at.InUtc().Year && on.Month == at.InUtc().Month);
        return issued == 0 ? first : string.Create(CultureInfo.InvariantCulture, $"{first}-{issued + 1}");
    }

    // ---- the lines of overage

    /// <summary>Priced overage that is on no line yet, feature by feature in the catalog's order; gauges past their allowance whose period ends.</summary>
    internal static InvoiceLine[] UsageLines(State state, Catalogs catalogs, Instant at, bool ending)
    {
        var lines = new List<InvoiceLine>();
        // Its last invoice has everything: a gauge that still stands somewhere is not charged for ever.
        if (state.IsClosed) return [];
        // Where a period ends, the one that ends is billed.
        var before = at - Duration.Epsilon;
        var billed = state.Subscriptions.Cycle.Billed(before);
        Plan? plan = null;
        foreach (var use in state.Usage)
        {
            var line = use.Gauge is { } gauge
                ? gauge.Billed && (ending || gauge.PeakUntil <= at) ? GaugeLine(use.Feature, gauge) : null
                : use.Counters.FirstOrDefault(c => c.Window == Window.Period) is { } period ? CounterLine(use, period) : null;
            if (line is not null) lines.Add(line);
        }
        return lines.Count < 2 ? [.. lines] : [.. lines.OrderBy(l => catalogs.Current.Features.IndexOf(catalogs.Feature(l.Feature!)!))];

        InvoiceLine? CounterLine(FeatureUse use, Counter period)
        {
            PricedUse[] unbilled = [.. period.Priced.Where(p => p.Units != p.Billed).Select(p => new PricedUse(p.UnitPrice, p.Units - p.Billed))];
            if (unbilled.Length == 0) return null;
            // The use of the whole stretch, where one counter has just that.
            var used = period.Priced.All(p => p.Billed == 0) && period.Start >= billed.Start ? period
                : use.Counters.FirstOrDefault(c => c.Window == Window.Month && c.Start == billed.Start && c.Overage == unbilled.Sum(u => u.Units));
            return Line(use.Feature, unbilled, used?.Used, peak: false);
        }

        InvoiceLine GaugeLine(string feature, Gauge gauge)
        {
            plan ??= Subscriptions.InForce(state, catalogs, before).Plan;
            var given = catalogs.Feature(feature) is { } known ? Overrides.Given(state, plan, known, before) : null;
            var past = given is { PricesOverage: true, UnitPrice: not null, Allowance: { } included } ? Math.Max(0, gauge.Peak - included) : 0;
            return Line(feature, [new PricedUse(given?.UnitPrice ?? 0, past)], gauge.Peak, peak: true);
        }

        InvoiceLine Line(string id, PricedUse[] units, long? used, bool peak)
        {
            var feature = catalogs.Feature(id);
            var (decimals, currency) = (feature?.Meter?.Decimals ?? 0, catalogs.Current.Currency);
            var quantity = Quantity.ToDecimal(units.Sum(u => u.Units), decimals);
            var all = used is { } u ? $"{Text(Quantity.ToDecimal(u, decimals))} {feature?.Name ?? id}{(peak ? " at the peak" : "")}: " : "";
            var description = quantity < 0 ? $"{Text(-quantity)} {feature?.Name ?? id} fewer"
                : all.Length > 0 ? $"{all}{Text(quantity)} additional" : $"{Text(quantity)} additional {feature?.Name ?? id}";
            return new InvoiceLine(
                LineKind.Overage, description, id, null, quantity, units.Length == 1 ? units[0].UnitPrice : null,
                Pricing.Round(units.Sum(p => Pricing.Exact(p.Units, decimals, p.UnitPrice, currency))), currency, billed.Start, at)
            {
                Tiers = units,
            };
        }
    }

    private static string Text(decimal quantity) => quantity.ToString("#,##0.#########", CultureInfo.InvariantCulture);

    /// <summary>The currency if something is sold in it; the catalog's when none is named.</summary>
    private static string? Currency(Catalogs catalogs, string? currency) =>
        currency is null || currency == catalogs.Current.Currency ? catalogs.Current.Currency
            : catalogs.All.Any(c => c.Currency == currency || c.Plans.Any(p => p.Prices.Any(price => price.Amount.Currency == currency))) ? currency : null;

    // ---- evolving

    public static State Evolve(State state, LinesAdded e)
    {
        foreach (var line in e.Lines)
            if (line is { Kind: LineKind.Overage, Feature: not null, Tiers: not null }) state = MarkBilled(state, line);
        var added = e.Lines.Where(l => l.Amount != 0 || l.Kind == LineKind.Base);
        return Due(state with { Billing = state.Billing with { Pending = state.Billing.Pending.AddRange(added) } }, e.EffectiveAt);
    }

    /// <summary>
    /// Sets when what is on no line yet is billed. Whoever changes priced overage, the billing cycle or a gauge's being billed calls it.
    /// </summary>
    /// <param name="at">The time of the change: what is billed is billed at the next end of a billing period, or of the month of it, after this.</param>
    internal static State Due(State state, Instant at)
    {
        Instant? due = null;
        foreach (var use in state.IsClosed ? [] : state.Usage)
        {
            Instant? next = null;
            foreach (var counter in use.Counters)
                if (counter.Window == Window.Period)
                    foreach (var priced in counter.Priced)
                        if (priced.Units != priced.Billed) next = Instant.Min(counter.End, state.Subscriptions.Cycle.Billed(at).End);
            if (use.Gauge is { Billed: true } gauge) next = gauge.PeakUntil;
            if (next is { } n && (due is null || n < due)) due = n;
        }
        if (due != state.Billing.BilledAt) state = state with { Billing = state.Billing with { BilledAt = due } };
        return state with { DueAt = Decider.NextDue(state) };
    }

    private static State MarkBilled(State state, InvoiceLine line)
    {
        if (state.Use(line.Feature!) is not { } use) return state;
        var units = line.Tiers!.Sum(t => t.Units);
        var after = use.Gauge is { } gauge
            // What was past the allowance is what is left of the peak without it. The next period begins with what the gauge stands at.
            ? use with { Gauge = gauge with { Peak = gauge.Value, PeakUntil = state.Subscriptions.Cycle.Billed(line.End).End, Billed = units > 0 && gauge.Value > gauge.Peak - units } }
            // A line has all that was on none.
            : use with { Counters = [.. use.Counters.Select(c => c.Window != Window.Period ? c : c with { Priced = [.. c.Priced.Select(p => p with { Billed = p.Units })] })] };
        return state with { Usage = state.Usage.Replace(use, after) };
    }

    public static State Evolve(State state, LinesBilledAtStripe e) =>
        state with { Billing = state.Billing with { Pending = state.Billing.Pending.RemoveAll(l => Array.Exists(e.Lines, billed => billed.Currency == l.Currency)) } };

    public static State Evolve(State state, InvoiceCreated e)
    {
        var head = new InvoiceHead(
            Ids.Invoice(e.Version), e.Version, null, InvoiceStatus.Draft, e.Currency, e.Total, e.Credit, e.AmountDue, e.EffectiveAt, null, null, null, e.Subscription,
            [.. e.Lines.Select(l => l with { Discount = 0, Tax = 0 })]);
        var billing = state.Billing;
        var charged = state.Subscriptions.Own?.Kept?.Charged;
        var charge = Array.FindLast(e.Lines, l => l.Kind is LineKind.Base or LineKind.Proration && charged == new BaseCharge(l.Amount, l.Start, l.End));
        return state with
        {
            Billing = Credit(billing, e.Currency, -Math.Max(0, e.Credit)) with
            {
                Pending = billing.Pending.RemoveAll(l => l.Currency == e.Currency),
                Invoices = billing.Invoices.Add(head),
                Charge = charge is null ? billing.Charge : new InvoicedCharge(head.Id, charged!, charge.Discount),
            },
        };
    }

    public static State Evolve(State state, InvoiceFinalized e) => Change(state, e.Invoice, (billing, head) =>
        (Credit(billing, head.Currency, Math.Max(0, -head.Credit)),
            head with { Number = e.Number, Status = InvoiceStatus.Open, FinalizedAt = e.EffectiveAt, DueAt = e.DueAt, Draft = [] }));

    /// <summary>A void invoice is as if it were not owed: the credit that it took is free again. Only a draft's lines are pending again.</summary>
    public static State Evolve(State state, InvoiceSettled e) => Change(state, e.Invoice, (billing, head) =>
    {
        if (e.Status == InvoiceStatus.Void)
        {
            billing = Credit(billing, head.Currency, Math.Max(0, head.Credit)) with { Pending = billing.Pending.AddRange(head.Draft) };
            if (head.Status == InvoiceStatus.Draft && billing.Charge?.Invoice == head.Id) billing = billing with { Charge = null };
        }
        return (billing, head with { Status = e.Status, SettledAt = e.EffectiveAt, Draft = [] });
    });

    public static State Evolve(State state, CreditGranted e) => state with { Billing = Credit(state.Billing, e.Currency, e.Amount) };

    public static State Evolve(State state, BillingTermsSet e) => state with { Billing = state.Billing with { Tax = e.Tax, Discount = e.Discount } };

    private static State Change(State state, string invoice, Func<BillingSlice, InvoiceHead, (BillingSlice, InvoiceHead)> change)
    {
        if (state.Billing.Invoices.FirstOrDefault(i => i.Id == invoice) is not { } head) return state;
        var (billing, after) = change(state.Billing, head);
        return state with { Billing = billing with { Invoices = billing.Invoices.Replace(head, after) } };
    }

    private static BillingSlice Credit(BillingSlice billing, string currency, long change)
    {
        if (change == 0) return billing;
        var amount = billing.Credit(currency) + change;
        var others = billing.Credits.RemoveAll(c => c.Currency == currency);
        // Sorted, so that the order in which currencies came does not show.
        return billing with { Credits = amount == 0 ? others : [.. others.Add(new Money(amount, currency)).OrderBy(c => c.Currency, StringComparer.Ordinal)] };
    }

    /// <summary>Several events, each decided on the state after the ones before it.</summary>
    private sealed class Making(State state)
    {
        public State State { get; private set; } = state;

        public List<LedgerEvent> Events { get; } = [];

        public long Next => State.Version + 1;

        public void Add(LedgerEvent e)
        {
            Events.Add(e);
            State = State.Evolve(e);
        }
    }
}
