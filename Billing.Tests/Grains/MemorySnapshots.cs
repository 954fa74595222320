using System.Collections.Concurrent;
using System.Threading.Channels;
using Billing.Grains.Journal;

namespace Billing.Tests.Grains;

/// <summary>Snapshots in memory, which come late, fail or are damaged when a test says so.</summary>
internal sealed class MemorySnapshots : ISnapshotStore
{
    private readonly Channel<Snapshot> saved = Channel.CreateUnbounded<Snapshot>();

    public ConcurrentDictionary<string, Snapshot> Kept { get; } = [];

    /// <summary>What finding does first.</summary>
    public Func<Task>? OnFind { get; set; }

    /// <summary>What saving does first.</summary>
    public Func<Task>? OnSave { get; set; }

    private int finds;

    public int Finds => finds;

    /// <summary>The next snapshot that is saved: one after the other, none left out.</summary>
    public async Task<Snapshot> Next() => await saved.Reader.ReadAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30));

    /// <summary>Whether none was saved that nobody has asked <see cref="Next"/> for.</summary>
    public bool IsQuiet => !saved.Reader.TryPeek(out _);

    public async ValueTask<Snapshot?> Find(string organization, string format)
    {
        Interlocked.Increment(ref finds);
        if (OnFind is { } first) await first();
        return Kept.TryGetValue(organization, out var snapshot) && snapshot.Format == format ? snapshot : null;
    }

    public async ValueTask Save(IReadOnlyList<Snapshot> snapshots)
    {
        if (OnSave is { } first) await first();
        foreach (var snapshot in snapshots)
        {
            Kept[snapshot.Organization] = snapshot;
            saved.Writer.TryWrite(snapshot);
        }
    }
}
