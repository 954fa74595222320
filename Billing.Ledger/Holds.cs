using NodaTime;

namespace Billing.Ledger;

/// <summary>Reserving quantity for work in progress: placing, settling, releasing, and expiry by time.</summary>
public static class Holds
{
    /// <summary>The most that may be open at once in one organization.</summary>
    public const int MaxOpen = 1_000;

    public static Decision Decide(State state, Catalogs catalogs, PlaceHold c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, Catalogs catalogs, SettleHold c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, ReleaseHold c, Instant now) => throw new NotSupportedException();

    /// <summary>The holds that expire at this instant, one event each; null when none does.</summary>
    internal static HoldEnded? ExpireAt(State state, Instant at, Instant now) => null;

    public static State Evolve(State state, HoldPlaced e) => throw new NotSupportedException();

    public static State Evolve(State state, HoldEnded e) => throw new NotSupportedException();
}
