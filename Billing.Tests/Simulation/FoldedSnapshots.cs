using Billing.Grains.Journal;
using Billing.Ledger;

namespace Billing.Tests.Simulation;

/// <summary>Has a snapshot of every organization, of an event at or shortly before its last one: folded when it is asked for.</summary>
internal sealed class FoldedSnapshots(IJournal journal) : ISnapshotStore
{
    private int found;

    public int Found => found;

    public async ValueTask<Snapshot?> Find(string organization, string format)
    {
        var head = (await journal.ReadHead(organization))?.Version ?? 0;
        var events = await journal.ReadStream(organization, 1, (int)(head - head % 7));
        if (events.Count == 0) return null;
        Interlocked.Increment(ref found);
        return SnapshotCodec.Encode(State.Empty(organization).Evolve(events.Select(EventCodec.Default.Decode)), events[^1].Hash);
    }

    public ValueTask Save(IReadOnlyList<Snapshot> snapshots) => default;
}
