using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Simulation.Audit;
using Change = Billing.Ledger.SubscriptionChange;
using Status = Billing.Ledger.SubscriptionStatus;

namespace Billing.Tests.Simulation;

/// <summary>
/// The auditor's book of subscriptions that the ledger keeps: each goes from one lawful state to the next, its periods
/// follow one another without gap or overlap, each is charged once, and what a change gives back is the unused rest of
/// what was charged.
/// </summary>
internal sealed class KeptBook(PlanBook plans, Func<BaseCharge, string, Instant, long> net)
{
    /// <summary>What was charged for a stretch of time, and until when money was taken for that subscription at all.</summary>
    private sealed class Charges
    {
        public BaseCharge? Charged;

        /// <summary>What was charged before a change of the interval that was recorded just now.</summary>
        public BaseCharge? Before;

        public Instant PaidUntil = Instant.MinValue;
    }

    private readonly Dictionary<string, Charges> charges = [];

    /// <summary>A period that began and whose price is to come on a line right behind it.</summary>
    private (Subscription Of, long Amount, bool MayOverlap)? due;

    /// <summary>A pause that has to give the unused rest back.</summary>
    private Subscription? owed;

    /// <summary>It became past due although its grace was over.</summary>
    private bool isLate;

    // ---- taking events

    /// <param name="e">Before the plan book takes it.</param>
    public void Take(SubscriptionChanged e, Catalogs catalogs)
    {
        if (e.Followed is not { Kept: { } kept } next) return;
        var known = plans.Known(next.Id);
        Require(next.Order is null && (known is null) == (next.Id == $"ls_{e.Version}") && (known is null) == (e.Change is Change.Started or Change.TrialStarted), $"Event {e.Version} is {e.Change} of {next.Id}.");
        Require(due is null && owed is null, $"Event {e.Version} changes {next.Id} before what is due for it is on a line.");
        if (known is null) charges[next.Id] = new Charges();
        charges[next.Id].Before = null;
        if (known is not null) Require(known is { Kept: not null, Ended: false } && known.CreatedAt == next.CreatedAt && known.Kept.Currency == kept.Currency, $"Event {e.Version} changes {next.Id}, which is {known.Status}.");

        var price = catalogs.All[next.CatalogVersion - 1].Plans.FirstOrDefault(p => p.Id == next.Plan)?.Prices.FirstOrDefault(p => p.Interval == next.Interval && p.Amount.Currency == kept.Currency)?.Amount.Amount ?? 0;
        switch (e.Change)
        {
            case Change.TrialStarted:
                Require(!plans.TrialUsed && next.Status == Status.Trialing && next.TrialEnd == next.PeriodEnd && next.PeriodStart == e.EffectiveAt, $"Event {e.Version} begins a trial.");
                break;
            case Change.Started:
                Begin(e, next, Status.Active, price, from: e.EffectiveAt);
                break;
            case Change.Converted:
                Require(known!.Status == Status.Trialing && known.TrialEnd == e.EffectiveAt && kept.HasPaymentMethod, $"Event {e.Version} converts {next.Id}, which is {known.Status}.");
                Begin(e, next, Status.Active, price, from: known.PeriodEnd);
                break;
            case Change.Renewed:
                Require(e.EffectiveAt == known!.PeriodEnd, $"Event {e.Version} renews {next.Id} at {e.EffectiveAt}, whose period ends at {known.PeriodEnd}.");
                Begin(e, next, known.Status, price, from: known.PeriodEnd);
                break;
            case Change.Resumed:
                Require(known!.Status == Status.Paused, $"Event {e.Version} resumes {next.Id}, which is {known.Status}.");
                Begin(e, next, Status.Active, price, from: e.EffectiveAt);
                break;
            case Change.Recovered:
                Require(known!.Status is Status.PastDue or Status.Unpaid && next.Status == Status.Active, $"Event {e.Version} recovers {next.Id}, which is {known.Status}.");
                Require(known.Status != Status.PastDue || e.EffectiveAt < known.Kept!.GraceUntil, $"Event {e.Version} recovers {next.Id} at {e.EffectiveAt}, which is unpaid since {known.Kept!.GraceUntil}.");
                if (next.PeriodStart != known.PeriodStart) Begin(e, next, Status.Active, price, from: Instant.Max(e.EffectiveAt, known.PeriodEnd));
                break;
            case Change.Upgraded or Change.Downgraded or Change.IntervalChanged:
                Require(IsCharged(known!), $"Event {e.Version} changes {next.Id}, which is {known!.Status}.");
                if (e.EffectiveAt == known!.PeriodEnd && known.Status != Status.Trialing) Begin(e, next, known.Status, price, from: known.PeriodEnd);
                else if (known.Status != Status.Trialing && next.Interval != known.Interval) Begin(e, next, known.Status, price, from: e.EffectiveAt, mayOverlap: true);
                else if (known.Status == Status.Trialing && next.Status == Status.Active) Begin(e, next, Status.Active, price, from: known.PeriodEnd);
                else Require(next.Status == known.Status && next.PeriodStart == known.PeriodStart && next.PeriodEnd == known.PeriodEnd, $"Event {e.Version} moves the period of {next.Id}.");
                // Of so short a rest that it costs nothing there is no line.
                if (known!.Status != Status.Trialing && kept.Charged is { Amount: 0 } nothing && Rest(price, next.PeriodStart, next.PeriodEnd, e.EffectiveAt) == 0) charges[next.Id].Charged = nothing;
                break;
            case Change.Paused:
                Require(known!.Status == Status.Active && next.Status == Status.Paused && kept.Charged is null, $"Event {e.Version} pauses {next.Id}, which is {known.Status}.");
                owed = next;
                break;
            case Change.PastDue:
                Require(IsCharged(known!) && next.Status == Status.PastDue && kept.GraceUntil is not null, $"Event {e.Version} makes {next.Id} past due, which is {known!.Status}.");
                Require(kept.GraceUntil >= e.RecordedAt, $"Event {e.Version} ends the grace of {next.Id} at {kept.GraceUntil}, before it is recorded.");
                isLate = kept.GraceUntil == e.RecordedAt;
                break;
            case Change.Unpaid:
                Require(known!.Status == Status.PastDue && next.Status == Status.Unpaid && known.Kept!.GraceUntil == e.EffectiveAt, $"Event {e.Version} makes {next.Id} unpaid at {e.EffectiveAt}; its grace is until {known.Kept!.GraceUntil}.");
                break;
            case Change.Canceled or Change.TrialEnded:
                Require(next.Status == Status.Canceled && next.EndedAt == e.EffectiveAt && e.EffectiveAt <= Instant.Max(known!.PeriodEnd, e.RecordedAt), $"Event {e.Version} ends {next.Id}.");
                Require(e.Change != Change.TrialEnded || known!.Status == Status.Trialing && e.EffectiveAt == known!.PeriodEnd && !kept.HasPaymentMethod, $"Event {e.Version} ends a trial of {next.Id}.");
                charges[next.Id].Charged = null;
                break;
            default:
                Require(known is not null && next.Status == known.Status && next.PeriodStart == known.PeriodStart && next.PeriodEnd == known.PeriodEnd && next.Plan == known.Plan, $"Event {e.Version} is {e.Change} and changes the period or the plan of {next.Id}.");
                break;
        }
    }

    /// <summary>A paid period begins: where it has to, as long as its interval says, and its price follows.</summary>
    private void Begin(SubscriptionChanged e, Subscription next, Status status, long price, Instant from, bool mayOverlap = false)
    {
        Require(next.Status == status && next.PeriodStart == from, $"Event {e.Version} begins a period of {next.Id} at {next.PeriodStart} as {next.Status}; it has to begin at {from} as {status}.");
        var months = next.Interval switch { BillingInterval.Month => 1, BillingInterval.Quarter => 3, _ => 12 };
        var end = Almanac.Later(next.BillingAnchor!.Value, from, months);
        Require(next.PeriodEnd == end, $"Event {e.Version} ends the period of {next.Id} at {next.PeriodEnd}; {months} months from {from} by {next.BillingAnchor} are {end}.");
        due = price == 0 ? null : (next, price, mayOverlap);
        // What was charged for the interval before may be given back yet.
        if (mayOverlap) charges[next.Id].Before = charges[next.Id].Charged;
        charges[next.Id].Charged = new BaseCharge(price, next.PeriodStart, next.PeriodEnd);
        if (price == 0) charges[next.Id].PaidUntil = next.PeriodEnd;
    }

    public void Take(LinesAdded e, Catalogs catalogs)
    {
        foreach (var line in e.Lines)
            if (line.Kind == LineKind.Base) Charge(e, line);
            else if (line.Kind == LineKind.Proration) Prorate(e, line, plans.Charged, catalogs);
    }

    private void Charge(LinesAdded e, InvoiceLine line)
    {
        Require(due is { } d && line.Amount == d.Amount && line.Start == d.Of.PeriodStart && line.End == d.Of.PeriodEnd && line.Plan == d.Of.Plan && line.Currency == d.Of.Kept!.Currency,
            $"Event {e.Version} charges {line}; due is {due}.");
        var of = charges[due!.Value.Of.Id];
        Require(due.Value.MayOverlap || line.Start >= of.PaidUntil, $"Event {e.Version} charges from {line.Start} what was paid until {of.PaidUntil}.");
        of.PaidUntil = line.End;
        due = null;
    }

    /// <summary>To the second: what is left of what was charged goes back, and what is left at the new price is charged.</summary>
    private void Prorate(LinesAdded e, InvoiceLine line, Subscription? own, Catalogs catalogs)
    {
        Require(own?.Kept is not null && line.Start == e.EffectiveAt, $"Event {e.Version} prorates nothing.");
        var of = charges[own!.Id];
        if (line.Amount < 0)
        {
            var charged = of.Before ?? of.Charged ?? new BaseCharge(0, line.Start, line.End);
            Require(line.Amount == -Rest(net(charged, line.Currency, line.Start), charged.Start, charged.End, line.Start) && line.End == charged.End, $"Event {e.Version} gives back {line.Amount} until {line.End} of {charged}.");
            if (of.PaidUntil == charged.End) of.PaidUntil = line.Start;
            if (owed?.Id == own.Id) owed = null;
            return;
        }
        var price = catalogs.All[own.CatalogVersion - 1].Plans.First(p => p.Id == own.Plan).Prices.First(p => p.Interval == own.Interval && p.Amount.Currency == own.Kept!.Currency).Amount.Amount;
        Require(line.Amount == Rest(price, own.PeriodStart, own.PeriodEnd, line.Start) && line.End == own.PeriodEnd && line.Plan == own.Plan, $"Event {e.Version} charges {line.Amount} for the rest of {own.Plan} at {price}.");
        of.Charged = new BaseCharge(line.Amount, line.Start, line.End);
        of.PaidUntil = line.End;
    }

    private static long Rest(long amount, Instant start, Instant end, Instant at)
    {
        var (left, whole) = (end.ToUnixTimeSeconds() - at.ToUnixTimeSeconds(), end.ToUnixTimeSeconds() - start.ToUnixTimeSeconds());
        return whole <= 0 ? 0 : Coverage.Rounded((decimal)amount * Math.Clamp(left, 0, whole) / whole);
    }

    // ---- at the end of an append

    public void RequireNothingOverdue(Instant now)
    {
        foreach (var of in charges.Values) of.Before = null;
        Require(due is null, $"A period of {due?.Of.Id} began and is on no line.");
        // Where nothing was charged in the end, nothing is given back and no line says so.
        if (owed is { Kept.PausedAt: { } pausedAt }) charges[owed.Id].PaidUntil = Instant.Min(charges[owed.Id].PaidUntil, pausedAt);
        Require(owed is null || charges[owed.Id].Charged is not { } paid || Rest(net(paid, owed.Kept!.Currency, owed.Kept.PausedAt!.Value), paid.Start, paid.End, owed.Kept.PausedAt.Value) == 0, $"{owed?.Id} was paused and nothing given back.");
        (owed, var wasLate, isLate) = (null, isLate, false);
        if (plans.Own is not { Kept: { } kept, Ended: false } own) return;
        if (own.Status == Status.Paused) charges[own.Id].Charged = null;
        Require(kept.Charged is null || kept.Charged == charges[own.Id].Charged, $"{own.Id} says that {kept.Charged} was charged; by the books {charges[own.Id].Charged}.");
        if (plans.Closed is not null) return;
        Require(!IsCharged(own) && !own.CancelAtPeriodEnd || now < own.PeriodEnd, $"The period of {own.Id} ended at {own.PeriodEnd}, and it is {own.Status} at {now}.");
        // A failure that is heard of too late makes it past due first, and unpaid with what comes next.
        Require(own.Status != Status.PastDue || now < kept.GraceUntil || wasLate, $"The grace of {own.Id} ended at {kept.GraceUntil}, and it is past due at {now}.");
    }

    private static bool IsCharged(Subscription own) => own.Status is Status.Trialing or Status.Active or Status.PastDue;
}
