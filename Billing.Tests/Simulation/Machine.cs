using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Simulation;

/// <summary>One process of the service: its own memory and its own clock, and the journal at the other end of a wire.</summary>
internal sealed class Machine : IAsyncDisposable
{
    /// <param name="snapshots">What its organizations begin with; null folds every stream from its first event.</param>
    public Machine(IJournal journal, Func<Catalogs> catalogs, ISnapshotStore? snapshots)
    {
        Wire = new Wire(journal);
        // An outage that a probe made certain would come at another time in each run: here every failure is one of its own.
        var watched = new WatchedJournal(Wire, new JournalHealth(() => Task.CompletedTask, TimeProvider.System));
        Host = new LedgerHost(watched, catalogs, long.MaxValue, snapshots is null ? null : new Snapshots(snapshots, int.MaxValue));
    }

    public Wire Wire { get; }

    public LedgerHost Host { get; }

    /// <summary>How wrong its clock is.</summary>
    public Duration Skew { get; set; }

    public Instant Now(Instant clock) => clock + Skew;

    public ValueTask DisposeAsync() => Host.DisposeAsync();
}
