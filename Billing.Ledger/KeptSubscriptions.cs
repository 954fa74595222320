using NodaTime;

namespace Billing.Ledger;

/// <summary>Subscriptions that the ledger keeps itself: trials, renewals, changes, pauses and ends, by the clock.</summary>
public static class KeptSubscriptions
{
    public static Decision Decide(State state, Catalogs catalogs, StartSubscription c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, Catalogs catalogs, ChangeSubscription c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, Catalogs catalogs, CancelSubscription c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, Catalogs catalogs, ReactivateSubscription c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, Catalogs catalogs, PauseSubscription c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, Catalogs catalogs, ResumeSubscription c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, Catalogs catalogs, SetPaymentMethod c, Instant now) => throw new NotSupportedException();

    /// <summary>What the subscription does at this instant by itself: it converts, renews, changes, ends or becomes unpaid.</summary>
    internal static IReadOnlyList<LedgerEvent> TurnAt(State state, Catalogs catalogs, Instant at, Instant now) => [];

    /// <summary>When it next does something by itself.</summary>
    internal static Instant? NextTurn(State state) => null;
}
