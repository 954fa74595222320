using System.Collections.Concurrent;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Grains;

/// <summary>The memory journal, which does with its next appends what a test tells it to: wait, conflict, or fail without a word.</summary>
internal sealed class ScriptedJournal : IJournal
{
    private readonly ConcurrentQueue<Func<IReadOnlyList<StreamAppend>, ValueTask<IReadOnlyList<AppendOutcome>>>> script = [];

    public MemoryJournal Inner { get; set; } = new();

    /// <summary>How many groups were to be written, and the appends in each.</summary>
    public ConcurrentQueue<IReadOnlyList<StreamAppend>> Groups { get; } = [];

    /// <summary>What the journal was asked whether it has it.</summary>
    public ConcurrentQueue<string[]> Lookups { get; } = [];

    private int reads;

    /// <summary>How often a stream was read.</summary>
    public int Reads => reads;

    /// <summary>From which version on each time.</summary>
    public ConcurrentQueue<long> ReadFrom { get; } = [];

    // ---- the script

    /// <summary>The next append waits until it is released.</summary>
    public Gate Hold()
    {
        var gate = new Gate();
        script.Enqueue(async group =>
        {
            gate.Enter();
            await gate.Released;
            return await Inner.AppendGroup(group);
        });
        return gate;
    }

    /// <summary>The next append finds that another writer was faster.</summary>
    /// <param name="write">What that writer wrote.</param>
    public void Conflict(Func<Task>? write = null) => script.Enqueue(async group =>
    {
        if (write is null) return [.. group.Select(_ => AppendOutcome.VersionConflict)];
        await write();
        return await Inner.AppendGroup(group);
    });

    /// <summary>The next append is written, but the connection is lost before that is said.</summary>
    public void FailAfterWriting() => script.Enqueue(async group =>
    {
        await Inner.AppendGroup(group);
        throw new IOException("The connection was lost.");
    });

    /// <summary>The next append is lost on its way.</summary>
    public void FailBeforeWriting() => script.Enqueue(_ => throw new IOException("The connection was lost."));

    // ---- the journal

    public ValueTask<IReadOnlyList<AppendOutcome>> AppendGroup(IReadOnlyList<StreamAppend> group)
    {
        Groups.Enqueue(group);
        return script.TryDequeue(out var step) ? step(group) : Inner.AppendGroup(group);
    }

    public ValueTask<IReadOnlyDictionary<string, RecordedCommand>> FindCommands(string organization, IReadOnlyCollection<string> commandIds)
    {
        Lookups.Enqueue([.. commandIds]);
        return Inner.FindCommands(organization, commandIds);
    }

    public ValueTask<IReadOnlyList<StoredEvent>> ReadStream(string organization, long fromVersion, int limit)
    {
        Interlocked.Increment(ref reads);
        ReadFrom.Enqueue(fromVersion);
        return Inner.ReadStream(organization, fromVersion, limit);
    }

    public ValueTask<IReadOnlyList<StoredEvent>> ReadAll(long afterPosition, int limit) => Inner.ReadAll(afterPosition, limit);

    public ValueTask<StreamHead?> ReadHead(string organization) => Inner.ReadHead(organization);

    public ValueTask<IReadOnlyList<string>> FindDue(Instant now, int limit) => Inner.FindDue(now, limit);

    public ValueTask<IReadOnlyList<string>> ListOrganizations(string after, int limit) => Inner.ListOrganizations(after, limit);
}

/// <summary>Holds an append in flight for as long as a test looks at what else happens.</summary>
internal sealed class Gate
{
    private readonly TaskCompletionSource entered = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource released = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>When the append is in flight.</summary>
    public Task Entered => entered.Task;

    public Task Released => released.Task;

    public void Enter() => entered.SetResult();

    public void Release() => released.SetResult();
}
