using NodaTime;

namespace Billing.Ledger;

/// <summary>What somebody should know: thresholds of limits, a low token balance, a trial that ends soon.</summary>
public static class Alerts
{
    /// <summary>What a decision's events bring about: alerts, and a request for a top-up.</summary>
    internal static IReadOnlyList<LedgerEvent> After(State before, Catalogs catalogs, System.Collections.Immutable.ImmutableArray<LedgerEvent> events, Instant now) => [];

    /// <summary>What is due at this instant by itself: the warning before a trial ends, a top-up that had to wait.</summary>
    internal static IReadOnlyList<LedgerEvent> DueAt(State state, Catalogs catalogs, Instant at, Instant now) => [];

    internal static Instant? NextDue(State state) => null;

    public static State Evolve(State state, AlertRaised e) => throw new NotSupportedException();
}
