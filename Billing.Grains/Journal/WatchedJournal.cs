using System.Data.Common;
using Billing.Ledger;
using NodaTime;

namespace Billing.Grains.Journal;

/// <summary>A journal whose failures are told to <see cref="JournalHealth"/>, and whose reads end in time. During an outage that is certain it is asked nothing.</summary>
public sealed class WatchedJournal(IJournal inner, JournalHealth health) : IJournal
{
    private long appendingSince;
    private int reading;

    public JournalHealth Health { get; } = health;

    /// <summary>Whether anybody waits for the journal just now.</summary>
    internal bool IsAwaited => Volatile.Read(ref reading) > 0 || Volatile.Read(ref appendingSince) != 0;

    /// <summary>When the append that is under way began, in <see cref="Environment.TickCount64"/>; null when there is none.</summary>
    internal long? AppendingSince => Volatile.Read(ref appendingSince) is not 0 and var since ? since : null;

    public async ValueTask<IReadOnlyList<AppendOutcome>> AppendGroup(IReadOnlyList<StreamAppend> group)
    {
        if (Health.IsOut) throw new JournalUnavailableException();
        Volatile.Write(ref appendingSince, Environment.TickCount64);
        try
        {
            var outcomes = await inner.AppendGroup(group);
            Health.Wrote();
            return outcomes;
        }
        catch (Exception e)
        {
            Health.Failed(e);
            throw;
        }
        finally
        {
            Volatile.Write(ref appendingSince, 0);
        }
    }

    public ValueTask<IReadOnlyList<StoredEvent>> ReadStream(string organization, long fromVersion, int limit) => Read(() => inner.ReadStream(organization, fromVersion, limit));

    public ValueTask<IReadOnlyList<StoredEvent>> ReadAll(long afterPosition, int limit) => Read(() => inner.ReadAll(afterPosition, limit));

    public ValueTask<IReadOnlyDictionary<string, RecordedCommand>> FindCommands(string organization, IReadOnlyCollection<string> commandIds) =>
        Read(() => inner.FindCommands(organization, commandIds));

    public ValueTask<StreamHead?> ReadHead(string organization) => Read(() => inner.ReadHead(organization));

    public ValueTask<IReadOnlyList<string>> FindDue(Instant now, int limit) => Read(() => inner.FindDue(now, limit));

    public ValueTask<IReadOnlyList<string>> ListOrganizations(string after, int limit) => Read(() => inner.ListOrganizations(after, limit));

    private async ValueTask<T> Read<T>(Func<ValueTask<T>> read)
    {
        if (Health.IsOut) throw new JournalUnavailableException();
        Interlocked.Increment(ref reading);
        try
        {
            var answer = read();
            return answer.IsCompleted ? await answer : await answer.AsTask().WaitAsync(Health.Timeout);
        }
        catch (Exception e) when (e is DbException or IOException or TimeoutException)
        {
            Health.Failed(e);
            throw;
        }
        finally
        {
            Interlocked.Decrement(ref reading);
        }
    }
}
