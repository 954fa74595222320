using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Simulation;

/// <summary>One process of the service: its own memory and its own clock, and the journal at the other end of a wire.</summary>
internal sealed class Machine : IAsyncDisposable
{
    public Machine(IJournal journal, Func<Catalogs> catalogs)
    {
        Wire = new Wire(journal);
        Host = new LedgerHost(Wire, catalogs, long.MaxValue);
    }

    public Wire Wire { get; }

    public LedgerHost Host { get; }

    /// <summary>How wrong its clock is.</summary>
    public Duration Skew { get; set; }

    public Instant Now(Instant clock) => clock + Skew;

    public ValueTask DisposeAsync() => Host.DisposeAsync();
}
