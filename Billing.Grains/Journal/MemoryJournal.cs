using Billing.Ledger;
using NodaTime;

namespace Billing.Grains.Journal;

/// <summary>The journal in memory: for trying things out and for tests. Keeps every promise but surviving the process.</summary>
public sealed class MemoryJournal : IJournal
{
    private sealed class Stream
    {
        public readonly List<StoredEvent> Events = [];
        public readonly Dictionary<string, RecordedCommand> Commands = [];
        public Instant? DueAt;
    }

    private readonly Lock gate = new();
    private readonly SortedDictionary<string, Stream> streams = new(StringComparer.Ordinal);
    private readonly List<StoredEvent> all = [];

    public ValueTask<IReadOnlyList<AppendOutcome>> AppendGroup(IReadOnlyList<StreamAppend> group)
    {
        lock (gate) return new([.. group.Select(Append)]);
    }

    public ValueTask<IReadOnlyList<StoredEvent>> ReadStream(string organization, long fromVersion, int limit)
    {
        lock (gate)
        {
            if (!streams.TryGetValue(organization, out var stream)) return new([]);
            return new([.. stream.Events.Skip((int)Math.Min(int.MaxValue, Math.Max(0, fromVersion - 1))).Take(limit)]);
        }
    }

    public ValueTask<IReadOnlyList<StoredEvent>> ReadAll(long afterPosition, int limit)
    {
        lock (gate) return new([.. all.Skip((int)Math.Min(int.MaxValue, afterPosition)).Take(limit)]);
    }

    public ValueTask<IReadOnlyDictionary<string, RecordedCommand>> FindCommands(string organization, IReadOnlyCollection<string> commandIds)
    {
        lock (gate)
        {
            var found = new Dictionary<string, RecordedCommand>();
            if (streams.TryGetValue(organization, out var stream))
                foreach (var id in commandIds)
                    if (stream.Commands.TryGetValue(id, out var recorded)) found[id] = recorded;
            return new(found);
        }
    }

    public ValueTask<StreamHead?> ReadHead(string organization)
    {
        lock (gate)
        {
            return new(streams.TryGetValue(organization, out var stream) ? new StreamHead(stream.Events.Count, stream.Events[^1].Hash) { DueAt = stream.DueAt } : null);
        }
    }

    public ValueTask<IReadOnlyList<string>> FindDue(Instant now, int limit)
    {
        lock (gate) return new([.. streams.Where(s => s.Value.DueAt <= now).OrderBy(s => s.Value.DueAt).Take(limit).Select(s => s.Key)]);
    }

    public ValueTask<IReadOnlyList<string>> ListOrganizations(string after, int limit)
    {
        lock (gate) return new([.. streams.Keys.Where(k => string.CompareOrdinal(k, after) > 0).Take(limit)]);
    }

    private AppendOutcome Append(StreamAppend append)
    {
        var stream = streams.GetValueOrDefault(append.Organization);
        if ((stream?.Events.Count ?? 0) != append.ExpectedVersion) return AppendOutcome.VersionConflict;
        var ids = append.Events.Select(e => e.CommandId).OfType<string>().ToList();
        if (ids.Distinct().Count() < ids.Count || ids.Exists(id => stream?.Commands.ContainsKey(id) == true)) return AppendOutcome.CommandRecorded;

        if (stream is null) streams[append.Organization] = stream = new Stream();
        foreach (var e in append.Events)
        {
            var stored = e with { Position = all.Count + 1 };
            stream.Events.Add(stored);
            all.Add(stored);
            if (e.CommandId is { } id) stream.Commands[id] = new RecordedCommand(e.Version, e.ContentHash!);
        }
        stream.DueAt = append.DueAt;
        return AppendOutcome.Appended;
    }
}
