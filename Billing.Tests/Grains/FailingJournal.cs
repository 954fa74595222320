using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Grains;

/// <summary>The memory journal behind a line that a test cuts and mends.</summary>
internal sealed class FailingJournal(IJournal inner) : IJournal
{
    private TaskCompletionSource mended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool refuses;
    private volatile bool hangs;
    private volatile bool cannotWrite;
    private int probes;
    private int calls;

    /// <summary>What every call takes.</summary>
    public TimeSpan Delay { get; init; }

    /// <summary>How often the health asked whether it answers.</summary>
    public int Probes => Volatile.Read(ref probes);

    /// <summary>How often it was called for anything else.</summary>
    public int Calls => Volatile.Read(ref calls);

    /// <summary>Everything fails at once.</summary>
    public void Refuse() => refuses = true;

    /// <summary>Nothing comes back, until it is mended: then everything that was under way goes on.</summary>
    public void Hang()
    {
        mended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        hangs = true;
    }

    /// <summary>It can be read and not written, as when its disk is full.</summary>
    public void FillUp() => cannotWrite = true;

    public void Mend()
    {
        refuses = hangs = cannotWrite = false;
        mended.TrySetResult();
    }

    public async Task Probe()
    {
        Interlocked.Increment(ref probes);
        await Through();
    }

    public async ValueTask<IReadOnlyList<AppendOutcome>> AppendGroup(IReadOnlyList<StreamAppend> group)
    {
        await Called();
        if (cannotWrite) throw new IOException("No space left on device.");
        return await inner.AppendGroup(group);
    }

    public async ValueTask<IReadOnlyList<StoredEvent>> ReadStream(string organization, long fromVersion, int limit)
    {
        await Called();
        return await inner.ReadStream(organization, fromVersion, limit);
    }

    public async ValueTask<IReadOnlyList<StoredEvent>> ReadAll(long afterPosition, int limit)
    {
        await Called();
        return await inner.ReadAll(afterPosition, limit);
    }

    public async ValueTask<IReadOnlyDictionary<string, RecordedCommand>> FindCommands(string organization, IReadOnlyCollection<string> commandIds)
    {
        await Called();
        return await inner.FindCommands(organization, commandIds);
    }

    public async ValueTask<StreamHead?> ReadHead(string organization)
    {
        await Called();
        return await inner.ReadHead(organization);
    }

    public async ValueTask<IReadOnlyList<string>> FindDue(Instant now, int limit)
    {
        await Called();
        return await inner.FindDue(now, limit);
    }

    public async ValueTask<IReadOnlyList<string>> ListOrganizations(string after, int limit)
    {
        await Called();
        return await inner.ListOrganizations(after, limit);
    }

    private ValueTask Called()
    {
        Interlocked.Increment(ref calls);
        return Through();
    }

    private async ValueTask Through()
    {
        if (refuses) throw new IOException("Connection refused.");
        if (Delay > TimeSpan.Zero) await Task.Delay(Delay);
        if (hangs) await mended.Task;
    }
}
