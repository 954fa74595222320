using NodaTime;

namespace Billing.Ledger;

/// <summary>Automatic top-up: buying tokens before they run out, within what the customer allowed.</summary>
public static class TopUps
{
    /// <summary>So many failed payments in a row switch it off.</summary>
    public const int MaxFailures = 3;

    public const int MaxCount = 1_000;
    public const int MaxCoolOffMinutes = 31 * 24 * 60;
    public const int DefaultCoolOffMinutes = 60;

    // ---- reading

    /// <summary>When the next top-up is to be asked for, as things stand: short of tokens, with none pending. Null when none is wanted.</summary>
    public static Instant? NextAt(State state)
    {
        if (state.Alerts.TopUp is not { Terms: { } terms, Pending: null, SwitchedOff: null } topUp || state.IsClosed) return null;
        long balance = 0;
        // Grants that have expired have nothing remaining: that is due before, at the same instant.
        foreach (var grant in state.Grants) balance += grant.Remaining;
        if (balance >= terms.Threshold) return null;
        var at = topUp.LastAt is { } last ? last + Duration.FromMinutes(terms.CoolOffMinutes) : state.Account.OpenedAt!.Value;
        return topUp.LimitedUntil is { } limited && limited > at ? limited : at;
    }

    /// <summary>How many were asked for, and for how much, in the calendar month of the organization's zone that this instant lies in.</summary>
    public static (Bounds Month, int Count, long Amount) InMonth(State state, Instant at)
    {
        var month = BillingCycle.Calendar(state.Account.Zone).Month(at);
        return state.Alerts.TopUp is { LastAt: { } last } topUp && month.Contains(last) ? (month, topUp.Count, topUp.Amount) : (month, 0, 0);
    }

    // ---- deciding

    public static Decision Decide(State state, Catalogs catalogs, ConfigureTopUp c, Instant now)
    {
        var topUp = state.Alerts.TopUp;
        if (c.Terms is { } terms)
        {
            if (catalogs.Current.TokenPackage(terms.Package) is not { } package) return Rejections.TokenPackageUnknown(terms.Package);
            if (package.Price(catalogs.Current.Currency) is null) return Rejections.PackagePriceUnknown(package.Id, catalogs.Current.Currency);
            if (terms.Threshold <= 0) return Rejections.QuantityNotPositive("threshold");
            if (terms.MaxCount <= 0) return Rejections.QuantityNotPositive("max_count");
            if (terms.Threshold > Quantity.MaxUnits) return Rejections.QuantityTooLarge(0) with { Field = "threshold" };
        }
        // The same again changes nothing, unless it had switched itself off.
        if (c.Terms == topUp?.Terms && topUp?.SwitchedOff is null) return Decision.AlreadyDone;
        return new TopUpConfigured(c.Terms, c.By) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };
    }

    public static Decision Decide(State state, FailTopUp c, Instant now)
    {
        if (state.Alerts.TopUp is not { Pending: { } pending } topUp || pending.Id != c.TopUp) return Rejections.TopUpUnknown(c.TopUp);
        var ended = new TopUpEnded(c.TopUp, c.Failure) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };
        if (topUp.Failures + 1 < MaxFailures) return ended;
        return new Decision([ended, new TopUpSwitchedOff(topUp.Failures + 1, "payments_failed") { Version = state.Version + 2, EffectiveAt = now, RecordedAt = now }], null);
    }

    /// <summary>What a payment answers; null when it was for no top-up. Money that comes in after a failure was heard of answers too.</summary>
    internal static TopUpEnded? Paid(State state, string? topUp, Instant at, Instant now) =>
        topUp is not null && state.Alerts.TopUp is not null && Ids.Version(topUp, "tu_") <= state.Version
            ? new TopUpEnded(topUp, null) { Version = state.Version + 1, EffectiveAt = at, RecordedAt = now }
            : null;

    /// <summary>Asks for a top-up when one is wanted by this instant. Each of its outcomes makes <see cref="NextAt"/> go on.</summary>
    internal static LedgerEvent? Next(State state, Catalogs catalogs, Instant at, Instant now)
    {
        if (!(NextAt(state) <= at)) return null;
        var terms = state.Alerts.TopUp!.Terms!;
        var (version, catalog) = (state.Version + 1, catalogs.Current);
        if (catalog.TokenPackage(terms.Package) is not { } package || package.Price(catalog.Currency) is not { } price)
            return new TopUpSwitchedOff(0, "package_not_sold") { Version = version, EffectiveAt = at, RecordedAt = now };
        if (price.Amount > terms.MaxAmount) return new TopUpSwitchedOff(0, "price_above_limit") { Version = version, EffectiveAt = at, RecordedAt = now };

        // What was asked for counts, whatever became of it: a payment that failed may still come through later.
        var (month, count, amount) = InMonth(state, at);
        if (count >= terms.MaxCount || amount + price.Amount > terms.MaxAmount)
            return new AlertRaised(AlertKind.TopUpLimited, null, 0, null, month.Start, month.End, Tokens.Balance(state, at), terms.Threshold) { Version = version, EffectiveAt = at, RecordedAt = now };
        return new TopUpRequested(package.Id, package.Tokens, price.Amount, price.Currency) { Version = version, EffectiveAt = at, RecordedAt = now };
    }

    // ---- evolving

    /// <summary>Configuring starts anew; what was asked for in this month still counts, and what is pending stays so.</summary>
    public static State Evolve(State state, TopUpConfigured e) =>
        With(state, (state.Alerts.TopUp ?? TopUpState.None) with { Terms = e.Terms, Failures = 0, SwitchedOff = null, LimitedUntil = null });

    public static State Evolve(State state, TopUpRequested e)
    {
        var (_, count, amount) = InMonth(state, e.EffectiveAt);
        return With(state, (state.Alerts.TopUp ?? TopUpState.None) with
        {
            Pending = new PendingTopUp(Ids.TopUp(e.Version), e.Package, e.Tokens, e.Amount, e.Currency, e.EffectiveAt),
            LastAt = e.EffectiveAt,
            Count = count + 1,
            Amount = amount + e.Amount,
        });
    }

    public static State Evolve(State state, TopUpEnded e) => With(state, (state.Alerts.TopUp ?? TopUpState.None) is var topUp && topUp.Pending?.Id == e.TopUp
        ? topUp with { Pending = null, Failures = e.Failure is null ? 0 : topUp.Failures + 1 }
        : topUp with { Failures = e.Failure is null ? 0 : topUp.Failures });

    public static State Evolve(State state, TopUpSwitchedOff e) => With(state, (state.Alerts.TopUp ?? TopUpState.None) with { SwitchedOff = e.Reason });

    private static State With(State state, TopUpState topUp)
    {
        state = state with { Alerts = state.Alerts with { TopUp = topUp } };
        return state with { DueAt = Decider.NextDue(state) };
    }
}
