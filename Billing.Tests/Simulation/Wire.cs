using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Tests.Grains;
using NodaTime;

namespace Billing.Tests.Simulation;

/// <summary>What happens to one append on its way to the journal.</summary>
internal enum Fault
{
    /// <summary>It arrives.</summary>
    None,

    /// <summary>It waits until the gate is opened, then arrives: others may have been there in between.</summary>
    Hold,

    /// <summary>It is lost on its way.</summary>
    LostBefore,

    /// <summary>It is written, and the acknowledgement is lost.</summary>
    LostAfter,

    /// <summary>The journal says that another writer was faster, although none was.</summary>
    Conflict,

    /// <summary>The machine dies before it is written, or after; it never learns which.</summary>
    CrashBefore, CrashAfter,
}

/// <summary>One machine's connection to the journal that all share. What goes wrong on it is planned before it happens, so that chance has no part in it.</summary>
internal sealed class Wire(IJournal journal) : IJournal
{
    private readonly Queue<Fault> appends = [];
    private int failingReads;
    private int conflicts;
    private volatile bool dead;

    /// <summary>The held append has arrived here.</summary>
    public Gate Gate { get; private set; } = new();

    public bool IsDead => dead;

    /// <summary>What happens to the next appends, and how many of the reads that follow the first trouble fail.</summary>
    /// <param name="forget">What was planned before does not come to pass.</param>
    public void Plan(IEnumerable<Fault> next, int readsThatFail = 0, bool forget = false)
    {
        if (forget) appends.Clear();
        foreach (var fault in next) appends.Enqueue(fault);
        failingReads = readsThatFail;
        if (appends.Contains(Fault.Hold)) Gate = new Gate();
    }

    /// <summary>What was planned and did not come to pass is forgotten.</summary>
    /// <returns>How many appends found that another writer was faster.</returns>
    public int Calm()
    {
        appends.Clear();
        failingReads = 0;
        return Interlocked.Exchange(ref conflicts, 0);
    }

    public async ValueTask<IReadOnlyList<AppendOutcome>> AppendGroup(IReadOnlyList<StreamAppend> group)
    {
        Live();
        var fault = appends.TryDequeue(out var planned) ? planned : Fault.None;
        switch (fault)
        {
            case Fault.Hold:
                Gate.Enter();
                await Gate.Released;
                break;
            case Fault.Conflict:
                return [.. group.Select(_ => AppendOutcome.VersionConflict)];
            case Fault.LostBefore:
                throw new IOException("The connection was lost.");
            case Fault.CrashBefore:
                dead = true;
                Live();
                break;
        }
        var outcomes = await journal.AppendGroup(group);
        foreach (var outcome in outcomes)
            if (outcome == AppendOutcome.VersionConflict) conflicts++;
        if (fault == Fault.CrashAfter) dead = true;
        if (fault is Fault.CrashAfter or Fault.LostAfter) throw new IOException("The connection was lost.");
        return outcomes;
    }

    public ValueTask<IReadOnlyList<StoredEvent>> ReadStream(string organization, long fromVersion, int limit)
    {
        Read();
        return journal.ReadStream(organization, fromVersion, limit);
    }

    public ValueTask<IReadOnlyDictionary<string, RecordedCommand>> FindCommands(string organization, IReadOnlyCollection<string> commandIds)
    {
        Read();
        return journal.FindCommands(organization, commandIds);
    }

    public ValueTask<IReadOnlyList<StoredEvent>> ReadAll(long afterPosition, int limit) => journal.ReadAll(afterPosition, limit);

    public ValueTask<StreamHead?> ReadHead(string organization) => journal.ReadHead(organization);

    public ValueTask<IReadOnlyList<string>> FindDue(Instant now, int limit) => journal.FindDue(now, limit);

    public ValueTask<IReadOnlyList<string>> ListOrganizations(string after, int limit) => journal.ListOrganizations(after, limit);

    private void Read()
    {
        Live();
        // Reads fail once there was trouble with an append, not before: nothing is planned that does not come to pass.
        if (failingReads == 0 || appends.Count > 0) return;
        failingReads--;
        throw new IOException("The connection was lost.");
    }

    /// <summary>A machine that died does nothing any more, whatever its memory still holds.</summary>
    private void Live()
    {
        if (dead) throw new IOException("The machine is dead.");
    }
}
