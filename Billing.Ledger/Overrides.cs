using NodaTime;

namespace Billing.Ledger;

/// <summary>What one organization gets of a feature instead of what its plan says.</summary>
public static class Overrides
{
    public static Decision Decide(State state, Catalogs catalogs, SetOverride c, Instant now) => throw new NotSupportedException();

    public static State Evolve(State state, OverrideSet e) => throw new NotSupportedException();
}
