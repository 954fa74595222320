using NodaTime;

namespace Billing.Ledger;

/// <summary>The most that customers let themselves be charged for overage in a billing period.</summary>
public static class SpendCaps
{
    public static Decision Decide(State state, Catalogs catalogs, SetSpendCaps c, Instant now) => throw new NotSupportedException();

    public static State Evolve(State state, SpendCapsSet e) => throw new NotSupportedException();
}
