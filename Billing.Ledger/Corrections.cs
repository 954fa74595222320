using NodaTime;

namespace Billing.Ledger;

/// <summary>Taking usage records back, and recording them anew.</summary>
public static class Corrections
{
    public static Decision Decide(State state, Catalogs catalogs, VoidUsage c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, Catalogs catalogs, CorrectUsage c, Instant now) => throw new NotSupportedException();

    public static State Evolve(State state, UsageVoided e) => throw new NotSupportedException();
}
