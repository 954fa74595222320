using System.Diagnostics;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Bench;

/// <summary>
/// What an organization takes in memory once it is loaded: many of them in one host, each with every feature used and all
/// its grants, as they are after a load from the journal. Recent command ids are apart: the stream has none.
/// </summary>
public static class Residents
{
    public const string Name = "memory", Scenario = "resident organization";

    public static async Task<IReadOnlyList<Measurement>> Measure(int count, TemporaryFolder folder)
    {
        await using var host = NewHost();
        var inProcess = await Measure("ledger", host, host, count);
        // What is measured next must not be measured with these.
        host.Evict(0);
        return [inProcess, .. await Engine.MeasureInSilo(count, folder)];
    }

    public static LedgerHost NewHost() => new(new EveryonesJournal(), () => Sample.Catalogs, long.MaxValue);

    /// <param name="asked">By whom the organizations are asked for.</param>
    /// <param name="residents">Where they are then.</param>
    public static async Task<Measurement> Measure(string subject, ILedgerHost asked, LedgerHost residents, int count)
    {
        await Load(0, 1);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var started = Stopwatch.GetTimestamp();
        await Load(1, count + 1);
        var took = Stopwatch.GetElapsedTime(started);
        var after = GC.GetTotalMemory(forceFullCollection: true);
        if (residents.ResidentCount != count + 1) throw new BenchException($"{residents.ResidentCount} organizations are resident instead of {count + 1}.");
        return new Measurement(Scenario, subject) { Bytes = (double)(after - before) / count, RequestsPerSecond = count / took.TotalSeconds };

        async Task Load(int from, int to)
        {
            for (var i = from; i < to; i++)
                if (await asked.Organization($"org-{i:000000}").Read(Sample.Opened) is not { Version: > 0 }) throw new BenchException("An organization was not loaded.");
        }
    }

    /// <summary>In which every organization has the sample's stream, made when it is asked for: a real journal of so many would measure itself.</summary>
    private sealed class EveryonesJournal : IJournal
    {
        private readonly List<(LedgerEvent, State)> events = [.. Sample.Events(Sample.SetupEvents + Sample.Features)];

        public ValueTask<IReadOnlyList<StoredEvent>> ReadStream(string organization, long fromVersion, int limit) =>
            new([.. Sample.Stored(organization, events, withIds: false).Select(s => s.Event).Where(e => e.Version >= fromVersion).Take(limit)]);

        public ValueTask<IReadOnlyList<AppendOutcome>> AppendGroup(IReadOnlyList<StreamAppend> group) => throw new NotSupportedException();

        public ValueTask<IReadOnlyList<StoredEvent>> ReadAll(long afterPosition, int limit) => throw new NotSupportedException();

        public ValueTask<IReadOnlyDictionary<string, RecordedCommand>> FindCommands(string organization, IReadOnlyCollection<string> commandIds) => throw new NotSupportedException();

        public ValueTask<StreamHead?> ReadHead(string organization) => throw new NotSupportedException();

        public ValueTask<IReadOnlyList<string>> FindDue(Instant now, int limit) => throw new NotSupportedException();

        public ValueTask<IReadOnlyList<string>> ListOrganizations(string after, int limit) => throw new NotSupportedException();
    }
}
