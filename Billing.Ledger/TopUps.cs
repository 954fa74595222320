using NodaTime;

namespace Billing.Ledger;

/// <summary>Automatic top-up: buying tokens before they run out, within what the customer allowed.</summary>
public static class TopUps
{
    public static Decision Decide(State state, Catalogs catalogs, ConfigureTopUp c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, FailTopUp c, Instant now) => throw new NotSupportedException();

    public static State Evolve(State state, TopUpConfigured e) => throw new NotSupportedException();

    public static State Evolve(State state, TopUpRequested e) => throw new NotSupportedException();

    public static State Evolve(State state, TopUpEnded e) => throw new NotSupportedException();

    public static State Evolve(State state, TopUpSwitchedOff e) => throw new NotSupportedException();
}
