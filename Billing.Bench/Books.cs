using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo.Storage.Sqlite;
using NodaTime;

namespace Billing.Bench;

/// <summary>
/// The ledger by itself, in this process: folding a long stream from the journal, verifying its chain, and deciding and
/// folding consumes. One organization with 20 features and 5 token grants.
/// </summary>
public static class Books
{
    public static readonly IReadOnlyList<string> Names = ["fold", "verify", "decide", "state"];

    public const string ReadName = "read rows", HashName = "hash bytes", DecideName = "decide + evolve";

    private const string Organization = "acme";
    private const int Features = 20;
    private const int Grants = 5;
    private const int PageSize = 1_000;

    private static readonly Instant Opened = Instant.FromUtc(2026, 11, 1, 0, 0);

    /// <summary>Each beside its baseline, in every round. The round before the first is not measured.</summary>
    public static async Task Run(Options options, string folder, Report report)
    {
        var catalogs = new Catalogs([Catalog()]);
        if (options.Only.Contains("fold") || options.Only.Contains("verify"))
        {
            await using var database = SqliteDatabase.Open(Path.Combine(folder, "books.db"));
            var journal = new SqliteJournal(database);
            await Write(journal, catalogs, options.StreamEvents);
            Console.WriteLine($"One stream of {options.StreamEvents} events is written.");
            for (var round = 0; round <= options.Rounds; round++)
            {
                if (options.Only.Contains("fold"))
                {
                    Add(round, await Timed(ReadName, options.StreamEvents, null, () => ReadRows(journal)));
                    Add(round, await Timed("fold", options.StreamEvents, 0.4, () => Fold(journal, catalogs, options.StreamEvents)));
                }
                if (options.Only.Contains("verify"))
                {
                    Add(round, await Timed(HashName, options.StreamEvents, null, () => HashBytes(journal)));
                    Add(round, await Timed("verify", options.StreamEvents, 0.5, () => Verify(journal)));
                }
            }
        }
        if (options.Only.Contains("decide"))
            for (var round = 0; round <= options.Rounds; round++)
                Add(round, await Timed(DecideName, DecideCount, null, () => Decide(catalogs)));
        if (options.Only.Contains("state")) Console.WriteLine($"State of an organization with {Features} features and {Grants} grants: {StateBytes(catalogs):N0} bytes.");

        void Add(int round, Measurement measured)
        {
            Console.WriteLine($"{(round == 0 ? "warm-up  " : $"round {round}/{options.Rounds}")}  {measured}");
            if (round > 0) report.Add(measured);
        }
    }

    // ---- what is measured

    private const int DecideCount = 2_000_000;

    private static async Task ReadRows(SqliteJournal journal)
    {
        for (var last = 0L; ;)
        {
            var page = await journal.ReadStream(Organization, last + 1, PageSize);
            if (page.Count > 0) last = page[^1].Version;
            if (page.Count < PageSize) return;
        }
    }

    /// <summary>As the service does it when an organization is activated.</summary>
    private static async Task Fold(SqliteJournal journal, Catalogs catalogs, int events)
    {
        await using var host = new LedgerHost(journal, () => catalogs, 1L << 30);
        var view = await host.Organization(Organization).Read(Opened);
        if (view?.Version != events) throw new BenchException($"The fold came to version {view?.Version} instead of {events}.");
    }

    /// <summary>SHA-256 over the bytes that the chain covers, read from the same journal, and nothing else.</summary>
    private static async Task HashBytes(SqliteJournal journal)
    {
        var buffer = new byte[1 << 16];
        for (var last = 0L; ;)
        {
            var page = await journal.ReadStream(Organization, last + 1, PageSize);
            foreach (var e in page)
            {
                var length = ChainedBytes(e);
                if (buffer.Length < length) buffer = new byte[length];
                e.Body.CopyTo(buffer, 0);
                SHA256.HashData(buffer.AsSpan(0, length));
            }
            if (page.Count > 0) last = page[^1].Version;
            if (page.Count < PageSize) return;
        }
    }

    private static int ChainedBytes(StoredEvent e) =>
        10 * 4 + HashChain.HashSize + 4 * 8 + e.Organization.Length + e.Type.Length + (e.CommandId?.Length ?? 0) + (e.ContentHash?.Length ?? 0) + e.Body.Length;

    private static async Task Verify(SqliteJournal journal)
    {
        var report = await ChainVerifier.Verify(journal, Organization);
        if (report.Problem is { } problem) throw new BenchException($"The journal does not verify: {problem}");
    }

    /// <summary>Consumes of 20 features in turn: every one is decided and folded, nothing is stored.</summary>
    private static Task Decide(Catalogs catalogs)
    {
        var state = Start(catalogs);
        var content = new byte[HashChain.HashSize];
        var commands = Enumerable.Range(0, Features).Select(i => new RecordUsage(Feature(i), 1, null, null, true, null) { Id = "c", ContentHash = content, At = Opened }).ToArray();
        for (var i = 0; i < DecideCount; i++)
        {
            var decision = Decider.Decide(state, catalogs, commands[i % Features], null);
            if (decision.Rejection is { } rejection) throw new BenchException($"A consume was refused: {rejection.Message}");
            foreach (var e in decision.Events) state = state.Evolve(e);
        }
        return Task.CompletedTask;
    }

    /// <summary>What one more organization in memory takes: every feature used, in its month and its billing period.</summary>
    private static long StateBytes(Catalogs catalogs)
    {
        const int count = 500;
        var kept = new State[count];
        kept[0] = UsedOnce(catalogs);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        for (var i = 0; i < count; i++) kept[i] = UsedOnce(catalogs);
        var after = GC.GetTotalMemory(forceFullCollection: true);
        GC.KeepAlive(kept);
        return (after - before) / count;
    }

    // ---- what it is measured on

    private static State UsedOnce(Catalogs catalogs)
    {
        var state = Start(catalogs);
        // Through the codec, so that nothing is shared that would not be after a load from the journal.
        foreach (var e in Usages(catalogs, state, Features)) state = state.Evolve(EventCodec.Default.Decode(EventCodec.Default.Encode(Organization, e, null, null, HashChain.Start)));
        return state;
    }

    private static State Start(Catalogs catalogs)
    {
        var state = State.Empty(Organization);
        foreach (var command in Setup())
            foreach (var e in Decider.Decide(state, catalogs, command, null).Events) state = state.Evolve(EventCodec.Default.Decode(EventCodec.Default.Encode(Organization, e, null, null, HashChain.Start)));
        return state;
    }

    private static IEnumerable<Command> Setup()
    {
        yield return new OpenOrganization("UTC", false, null) { Id = "open", ContentHash = [1], At = Opened };
        for (var i = 0; i < Grants; i++)
            yield return new GrantTokens(GrantKind.Granted, 1_000_000, 50, Opened + Duration.FromDays(300 + i), null) { Id = $"grant-{i}", ContentHash = [1], At = Opened };
    }

    private static IEnumerable<LedgerEvent> Usages(Catalogs catalogs, State state, int count)
    {
        for (var i = 0; i < count; i++)
        {
            var command = new RecordUsage(Feature(i % Features), 1, null, null, true, null) { Id = "", ContentHash = [], At = Opened + Duration.FromMilliseconds(i) };
            var e = Decider.Decide(state, catalogs, command, null).Events.Single();
            state = state.Evolve(e);
            yield return e;
        }
    }

    private static async Task Write(SqliteJournal journal, Catalogs catalogs, int events)
    {
        var state = State.Empty(Organization);
        var hash = HashChain.Start;
        var waiting = new List<StoredEvent>();
        foreach (var command in Setup())
            foreach (var e in Decider.Decide(state, catalogs, command, null).Events) await Add(e);
        foreach (var e in Usages(catalogs, state, events - (int)state.Version)) await Add(e);
        await Flush();

        async Task Add(LedgerEvent e)
        {
            // Command ids as callers make them: UUIDs that grow with time.
            var stored = EventCodec.Default.Encode(Organization, e, Guid.CreateVersion7(DateTimeOffset.UnixEpoch.AddMilliseconds(e.Version)).ToString(), SHA256.HashData(BitConverter.GetBytes(e.Version)), hash);
            hash = stored.Hash;
            state = state.Evolve(e);
            waiting.Add(stored);
            if (waiting.Count == 4_000) await Flush();
        }

        async Task Flush()
        {
            if (waiting.Count == 0) return;
            var outcomes = await journal.AppendGroup([new StreamAppend(Organization, waiting[0].Version - 1, waiting, state.WakeAt)]);
            if (outcomes[0] != AppendOutcome.Appended) throw new BenchException($"The stream could not be written: {outcomes[0]}.");
            waiting = [];
        }
    }

    private static string Feature(int i) => $"feature-{i:00}";

    private static Catalog Catalog()
    {
        var features = string.Join(",", Enumerable.Range(0, Features).Select(i =>
            $$"""
            "{{Feature(i)}}": { "name": "feature {{i}}", "type": "metered", "meter": { "unit": "call", "window": "month" }, "mode": "tokens_then_overage", "unit_price": "0.01" }
            """));
        var given = string.Join(",", Enumerable.Range(0, Features).Select(i => $"\"{Feature(i)}\": 100000000"));
        var json = $$"""{ "fallback_plan": "only", "features": { {{features}} }, "plans": { "only": { "name": "Only", "features": { {{given}} } } } }""";
        var (catalog, problems) = CatalogReader.Read(Encoding.UTF8.GetBytes(json));
        return problems.Count == 0 ? catalog! with { Version = 1 } : throw new BenchException(problems[0].ToString());
    }

    private static async Task<Measurement> Timed(string name, int events, double? minimum, Func<Task> work)
    {
        GC.Collect();
        var started = Stopwatch.GetTimestamp();
        await work();
        var elapsed = Stopwatch.GetElapsedTime(started);
        return new Measurement(name, 0, events, minimum, events, 0, null) { EventsPerSecond = events / elapsed.TotalSeconds };
    }
}
