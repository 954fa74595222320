using Billing.Ledger;

namespace Billing.Grains.Journal;

/// <summary>
/// Takes snapshots and gives them back. Nobody waits for one to be taken: what is due is put down here, encoded and stored
/// by one worker, and what that worker cannot keep up with is left out. Whatever is wrong with snapshots, the ledger goes on without.
/// </summary>
public sealed class Snapshots : IAsyncDisposable
{
    /// <summary>After so many events an organization's next snapshot is due.</summary>
    public const int EveryByDefault = 1_000;

    /// <summary>The most snapshots that wait. Each holds a state, evicted or not.</summary>
    public const int MaxWaiting = 1_024;

    /// <summary>How long an activation waits for the store at most; a store that is slower is not asked for a while.</summary>
    public static readonly TimeSpan FindTimeout = TimeSpan.FromSeconds(1);

    private const int GroupSize = 32;

    private static readonly TimeSpan SlowStoreRest = TimeSpan.FromSeconds(10);

    /// <summary>Between two groups: in SQLite each takes the writer, and a wait for the disk, from the journal.</summary>
    private static readonly TimeSpan GroupRest = TimeSpan.FromMilliseconds(100);

    private static readonly TimeSpan EndTimeout = TimeSpan.FromSeconds(5);

    private readonly ISnapshotStore store;
    private readonly Lock gate = new();
    private readonly CancellationTokenSource ending = new();
    private Dictionary<string, Due> waiting = [];
    private Task working = Task.CompletedTask;
    private bool running;
    private bool ended;
    private long askAgainAt = long.MinValue;

    private readonly record struct Due(State State, byte[] Hash);

    /// <param name="every">How many events make an organization's next snapshot due: 1 or more.</param>
    public Snapshots(ISnapshotStore store, int every = EveryByDefault, TimeProvider? time = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(every, 1);
        this.store = store;
        Every = every;
        Time = time ?? TimeProvider.System;
        // The codec looks at the state's types when it is first used: beside the start, and not within the first activation.
        _ = Task.Run(static () => SnapshotCodec.Decode(SnapshotCodec.Encode(State.Empty(""), HashChain.Start)));
    }

    /// <summary>Told what went wrong, for people to read.</summary>
    public Action<string, Exception?>? Log { get; set; }

    /// <summary>Where they are kept.</summary>
    public ISnapshotStore Store => store;

    internal int Every { get; }

    internal TimeProvider Time { get; }

    /// <summary>The organization's last snapshot that fits the journal: the event at its version is there, with its hash.</summary>
    /// <returns>The state and that hash; null when everything has to be folded.</returns>
    /// <exception cref="Exception">Any of the journal's. None of the store's.</exception>
    internal async ValueTask<(State State, byte[] Hash)?> Find(IJournal journal, string organization)
    {
        if (await Stored(organization) is not { } snapshot) return null;
        State state;
        try
        {
            state = SnapshotCodec.Decode(snapshot);
        }
        catch (Exception e)
        {
            // Whatever damage does to the reader: the events are what counts.
            return Ignored("damaged", $"The snapshot of '{organization}' at version {snapshot.Version} is damaged and ignored.", e);
        }
        // Read behind the snapshot, from a journal that may have been put back to an earlier time, or have another history since.
        if (await journal.ReadStream(organization, snapshot.Version, 1) is not [var last] || !last.Hash.AsSpan().SequenceEqual(snapshot.Hash))
            return Ignored("other_stream", $"The snapshot of '{organization}' at version {snapshot.Version} is of another stream than the journal's and ignored.", null);
        LedgerMeter.SnapshotsUsed.Add(1);
        return (state, snapshot.Hash);

        (State, byte[])? Ignored(string reason, string message, Exception? e)
        {
            LedgerMeter.SnapshotsIgnored.Add(1, LedgerMeter.Reason(reason));
            Say(message, e);
            return null;
        }
    }

    /// <summary>Takes note of what is to be kept, and returns.</summary>
    internal void Offer(State state, byte[] hash)
    {
        lock (gate)
        {
            if (ended) return;
            if (waiting.Count >= MaxWaiting && !waiting.ContainsKey(state.Organization))
            {
                LedgerMeter.SnapshotsMissed.Add(1, LedgerMeter.Reason("full"));
                return;
            }
            waiting[state.Organization] = new Due(state, hash);
            if (running) return;
            running = true;
            working = Task.Run(Work);
        }
    }

    /// <summary>Takes nothing new, and stores what waits if the store lets it.</summary>
    public async ValueTask DisposeAsync()
    {
        Task work;
        lock (gate)
        {
            if (ended) return;
            ended = true;
            work = working;
        }
        await ending.CancelAsync();
        try
        {
            await work.WaitAsync(EndTimeout);
            ending.Dispose();
        }
        catch (TimeoutException)
        {
            lock (gate) waiting = [];
            Say("The store is too slow to take the last snapshots; they are left out.", null);
        }
    }

    private async Task<Snapshot?> Stored(string organization)
    {
        if (Time.GetTimestamp() < Interlocked.Read(ref askAgainAt)) return null;
        var format = SnapshotCodec.Format;
        try
        {
            // Elsewhere, because a store may block.
            return await Task.Run(() => store.Find(organization, format).AsTask()).WaitAsync(FindTimeout, Time);
        }
        catch (Exception e)
        {
            if (e is TimeoutException) Interlocked.Exchange(ref askAgainAt, Time.GetTimestamp() + (long)(SlowStoreRest.TotalSeconds * Time.TimestampFrequency));
            LedgerMeter.SnapshotsIgnored.Add(1, LedgerMeter.Reason("unreadable"));
            Say($"The snapshot of '{organization}' cannot be read.", e);
            return null;
        }
    }

    private async Task Work()
    {
        while (Take() is { Count: > 0 } group)
        {
            var snapshots = new List<Snapshot>(group.Count);
            foreach (var (state, hash) in group)
            {
                try
                {
                    snapshots.Add(SnapshotCodec.Encode(state, hash));
                }
                catch (Exception e)
                {
                    Missed("not_encoded", 1, $"No snapshot of '{state.Organization}' could be made.", e);
                }
            }
            try
            {
                if (snapshots.Count > 0) await store.Save(snapshots);
                LedgerMeter.SnapshotsTaken.Add(snapshots.Count);
            }
            catch (Exception e)
            {
                Missed("not_stored", snapshots.Count, $"{snapshots.Count} snapshots could not be stored.", e);
            }
            await Rest();
        }
    }

    private List<Due> Take()
    {
        lock (gate)
        {
            List<Due> group = [.. waiting.Values.Take(GroupSize)];
            if (group.Count == waiting.Count) waiting = [];
            else foreach (var due in group) waiting.Remove(due.State.Organization);
            running = group.Count > 0;
            return group;
        }
    }

    private async Task Rest()
    {
        try
        {
            await Task.Delay(GroupRest, ending.Token);
        }
        catch (OperationCanceledException)
        {
            // The end does not rest.
        }
    }

    private void Missed(string reason, int count, string message, Exception e)
    {
        LedgerMeter.SnapshotsMissed.Add(count, LedgerMeter.Reason(reason));
        Say(message, e);
    }

    private void Say(string message, Exception? e) => Log?.Invoke(message, e);
}

/// <summary>When one organization's next snapshot is due. Used by its session's loop alone, and costs it a comparison.</summary>
internal sealed class SnapshotSchedule(Snapshots snapshots)
{
    /// <summary>A busy organization's snapshots are as far apart, whatever number of events that is.</summary>
    public static readonly TimeSpan LeastApart = TimeSpan.FromSeconds(1);

    /// <summary>A quiet one's are due by time, too.</summary>
    public static readonly TimeSpan DueAfter = TimeSpan.FromMinutes(10);

    private long taken;
    private long takenAt;

    // So few events are folded faster than a snapshot is read.
    private long Few => Math.Max(1, snapshots.Every / 10);

    /// <summary>The state was read anew.</summary>
    /// <param name="version">Of the snapshot that the reading began with; 0 when there was none.</param>
    public void Loaded(long version, State state, byte[] hash)
    {
        taken = version;
        takenAt = snapshots.Time.GetTimestamp();
        if (state.Version - taken >= snapshots.Every) Take(state, hash);
    }

    /// <summary>The state was published.</summary>
    public void Published(State state, byte[] hash)
    {
        var since = state.Version - taken;
        if (since < Few) return;
        if (snapshots.Time.GetElapsedTime(takenAt) is var elapsed && (since >= snapshots.Every ? elapsed >= LeastApart : elapsed >= DueAfter)) Take(state, hash);
    }

    /// <summary>The organization leaves memory.</summary>
    public void Retired(State? state, byte[] hash)
    {
        if (state is not null && state.Version - taken >= Few) Take(state, hash);
    }

    private void Take(State state, byte[] hash)
    {
        taken = state.Version;
        takenAt = snapshots.Time.GetTimestamp();
        snapshots.Offer(state, hash);
    }
}
