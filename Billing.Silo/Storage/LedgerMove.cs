using Billing.Grains.Journal;
using Billing.Silo.Storage.Postgres;
using Billing.Silo.Storage.Sqlite;
using Dapper;
using Microsoft.Data.Sqlite;
using Npgsql;
using SQLitePCL;

namespace Billing.Silo.Storage;

/// <summary>
/// Moves everything that a SQLite file holds into a PostgreSQL database. Events go first, in the order of their positions and
/// by the same appending as always; what is beside the streams follows in one transaction, the last one. Broken off anywhere,
/// it goes on where it was; until its end no service opens the database.
/// </summary>
/// <param name="pageSize">So many events are read at once; they are one transaction there, unless they are large.</param>
public sealed class LedgerMove(SqliteDatabase source, PostgresDatabase target, int pageSize = 4_000)
{
    /// <summary>The name of the setting that says so.</summary>
    internal const string Mark = "unfinished-move";

    internal const string MakeAnother = "Nothing of it is overwritten: move into an empty database.";

    /// <summary>Processes that move into one database at once are not let in by it. Any number that nobody else locks by.</summary>
    private const long MoveLock = 4_781_120_260_100_002;

    private const long MaxGroupBytes = 4L << 20;

    internal static bool IsUnfinished(NpgsqlConnection connection) => connection.ExecuteScalar<bool>("SELECT EXISTS (SELECT FROM settings WHERE name = @Mark)", new { Mark });

    /// <summary>Keeps everybody else from moving anything there until it is disposed of.</summary>
    /// <exception cref="IOException">Somebody does already.</exception>
    public IDisposable Lock()
    {
        var connection = target.OpenWriter();
        if (connection.ExecuteScalar<bool>($"SELECT pg_try_advisory_lock({MoveLock})")) return connection;
        connection.Dispose();
        throw new IOException($"Another `billing migrate` moves into {target.Place} just now.");
    }

    /// <summary>Compares what is there with what is to be moved. Nothing is written.</summary>
    /// <exception cref="MoveRefusedException">What is there does not go together with it.</exception>
    public async Task<MovePlan> Plan()
    {
        var inventory = await source.TakeInventory();
        if (inventory.Problems.Count > 0) throw new MoveRefusedException($"{source.Place} is damaged, and nothing is moved: {string.Join(" ", inventory.Problems)}");
        var heads = await Heads();
        if (!await target.HasJournal())
            return new MovePlan(heads, new Dictionary<string, long>(), await source.Read(c => BesideTable.Moved.Select(t => (t, BesideTable.Count((SqliteConnection)c, t))).ToList()), false);
        inventory = await target.TakeInventory();
        if (inventory.Problems.Count > 0) throw new MoveRefusedException($"{target.Place} is damaged: {string.Join(" ", inventory.Problems)} {MakeAnother}");
        var there = await HeadsThere();
        foreach (var (organization, head) in there) await CompareStream(organization, head, heads.GetValueOrDefault(organization));
        return new MovePlan(
            heads, there.ToDictionary(h => h.Key, h => h.Value.Version), await MoveBeside(write: false),
            await target.Read(c => IsUnfinished((NpgsqlConnection)c)));
    }

    /// <summary>From now on no service opens the database until <see cref="Finish"/>.</summary>
    /// <exception cref="IOException">A service has it open.</exception>
    public async Task Begin()
    {
        await target.Write(c => c.Execute(
            "INSERT INTO settings (name, value) VALUES (@Mark, convert_to(@place, 'UTF8')) ON CONFLICT (name) DO NOTHING", new { Mark, place = source.Place }));
        // Those that opened it before that are seen here. One that was just stopped is still seen for a moment.
        for (var tries = 1; await CountServices() > 0; tries++)
        {
            if (tries < 20)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(100));
                continue;
            }
            await target.Write(c => c.Execute("DELETE FROM settings WHERE name = @Mark", new { Mark }));
            throw new IOException($"A service has {target.Place} open: stop it, and move into an empty database.");
        }

        Task<long> CountServices() => target.Read(c => c.ExecuteScalar<long>(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = @ServiceName", new { PostgresDatabase.ServiceName }));
    }

    /// <summary>Copies the events that are not there, up to the heads of the plan.</summary>
    /// <param name="progress">Told how many events are there by now.</param>
    public async Task CopyEvents(MovePlan plan, Action<long> progress, CancellationToken stop)
    {
        var versions = new Dictionary<string, long>(plan.Versions);
        var done = plan.EventsThere;
        var reading = ReadPage(await FirstMissing(plan) - 1);
        try
        {
            while (await reading is { Count: > 0 } page)
            {
                stop.ThrowIfCancellationRequested();
                reading = ReadPage(page[^1].Position);
                foreach (var group in Groups(page, plan.Heads, versions))
                {
                    var outcomes = await target.Journal.AppendGroup(group);
                    if (outcomes.Any(o => o != AppendOutcome.Appended)) throw new MoveRefusedException($"Somebody else writes into {target.Place}. Move into a database that no service has open.");
                    progress(done += group.Sum(a => a.Events.Count));
                }
            }
        }
        finally
        {
            // Whoever stops early leaves nothing behind that still reads.
            await Task.WhenAny(reading);
        }
        await target.Write(c => c.Execute("ANALYZE events, streams"));

        Task<IReadOnlyList<StoredEvent>> ReadPage(long after) => Task.Run(() => source.Journal.ReadAll(after, pageSize).AsTask(), CancellationToken.None);
    }

    /// <summary>Compares every head with the source's as it is now.</summary>
    /// <returns>What differs, in words.</returns>
    public async Task<IReadOnlyList<string>> CompareHeads()
    {
        var (heads, there) = (await Heads(), await HeadsThere());
        return [.. heads.Keys.Union(there.Keys).Order(StringComparer.Ordinal).Where(o => !Same(heads.GetValueOrDefault(o), there.GetValueOrDefault(o)))
            .Select(o => $"The head of '{o}' is {Text(heads.GetValueOrDefault(o))} in {source.Place} and {Text(there.GetValueOrDefault(o))} in {target.Place}.")];

        static bool Same(StreamHead? here, StreamHead? there) =>
            here is not null && there is not null && here.Version == there.Version && here.Hash.AsSpan().SequenceEqual(there.Hash) && here.DueAt == there.DueAt;

        static string Text(StreamHead? head) => head is null ? "missing" : $"version {head.Version}, {Convert.ToHexStringLower(head.Hash)}, due {(head.DueAt is { } due ? $"{due}" : "never")},";
    }

    /// <summary>Copies what is beside the streams; with that it is a service's database.</summary>
    /// <returns>How many rows were not there.</returns>
    public async Task<long> Finish() => (await MoveBeside(write: true)).Sum(t => t.Rows);

    private Task<List<(string Table, long Rows)>> MoveBeside(bool write)
    {
        return write ? target.Write(Move) : target.Read(Move);

        List<(string, long)> Move(System.Data.Common.DbConnection connection)
        {
            var to = (NpgsqlConnection)connection;
            using var from = source.OpenConnection();
            List<(string, long)> rows = [.. BesideTable.Moved.Select(table => (table, BesideTable.Of(to, table).Move(from, to, position => PositionThere(from, to, position), write, target.Place)))];
            if (write) to.Execute("DELETE FROM settings WHERE name = @Mark", new { Mark });
            return rows;
        }
    }

    /// <summary>Whoever has seen everything up to a position here has seen everything up to the same event there.</summary>
    private static long? PositionThere(SqliteConnection from, NpgsqlConnection to, long position)
    {
        var last = StrictReader.Query(from, "SELECT organization, version FROM events NOT INDEXED WHERE position <= ?1 ORDER BY position DESC LIMIT 1",
            row => (Organization: raw.sqlite3_column_text(row, 0).utf8_to_string(), Version: raw.sqlite3_column_int64(row, 1)), null, position);
        return last is [var (organization, version)]
            ? to.ExecuteScalar<long?>("SELECT position FROM events WHERE organization = @organization AND version = @version", new { organization, version })
            : 0;
    }

    /// <summary>The streams' order over all of them stays: the first event that is not there is where it goes on.</summary>
    private async Task<long> FirstMissing(MovePlan plan)
    {
        if (plan.Versions.Count == 0) return 1;
        var first = long.MaxValue;
        foreach (var (organization, head) in plan.Heads)
        {
            if (plan.Versions.GetValueOrDefault(organization) is var version && version == head.Version) continue;
            if (await source.Journal.ReadStream(organization, version + 1, 1) is [var next]) first = Math.Min(first, next.Position);
        }
        return first;
    }

    private static IEnumerable<List<StreamAppend>> Groups(IReadOnlyList<StoredEvent> page, IReadOnlyDictionary<string, StreamHead> heads, Dictionary<string, long> versions)
    {
        var group = new List<StreamAppend>();
        var events = new List<StoredEvent>();
        var bytes = 0L;
        foreach (var e in page)
        {
            // What was appended after the plan was made waits for the next one.
            var version = versions.GetValueOrDefault(e.Organization);
            if (e.Version <= version || !heads.TryGetValue(e.Organization, out var head) || e.Version > head.Version) continue;
            if (e.Version != version + 1) throw new DamagedEventException(e.Version, $"Version {version + 1} of '{e.Organization}' does not come before version {e.Version}.");
            if (events.Count > 0 && (events[^1].Organization != e.Organization || bytes >= MaxGroupBytes)) Close();
            if (bytes >= MaxGroupBytes)
            {
                yield return group;
                (group, bytes) = ([], 0);
            }
            events.Add(e);
            bytes += e.Body.Length;
            versions[e.Organization] = e.Version;
        }
        Close();
        if (group.Count > 0) yield return group;

        void Close()
        {
            if (events.Count == 0) return;
            var (first, last) = (events[0], events[^1]);
            group.Add(new StreamAppend(first.Organization, first.Version - 1, events, last.Version == heads[first.Organization].Version ? heads[first.Organization].DueAt : null));
            events = [];
        }
    }

    private async Task CompareStream(string organization, StreamHead there, StreamHead? here)
    {
        if (here is null) throw new MoveRefusedException($"{target.Place} has the organization '{organization}', and {source.Place} does not. {MakeAnother}");
        if (there.Version > here.Version)
            throw new MoveRefusedException($"'{organization}' is at version {there.Version} in {target.Place} and at {here.Version} in {source.Place}: a service went on with it there. {MakeAnother}");
        // A hash is over all that is before it.
        var hash = there.Version == here.Version ? here.Hash : (await source.Journal.ReadStream(organization, there.Version, 1))[0].Hash;
        if (!hash.AsSpan().SequenceEqual(there.Hash)) throw new MoveRefusedException($"'{organization}' is something else in {target.Place} than in {source.Place}. {MakeAnother}");
    }

    private Task<Dictionary<string, StreamHead>> Heads() => source.Read(c => StrictReader.ReadHeads((SqliteConnection)c));

    private Task<Dictionary<string, StreamHead>> HeadsThere() => target.Read(c => c.Query<(string Organization, long Version, byte[] Hash, long? DueAt)>(
        "SELECT organization, version, hash, due_at FROM streams").ToDictionary(s => s.Organization, s => new StreamHead(s.Version, s.Hash) { DueAt = s.DueAt is { } due ? Micros.ToInstant(due) : null }));
}

/// <summary>What there is to move, and what of it is there.</summary>
/// <param name="Heads">Of the source, by organization.</param>
/// <param name="Versions">How far the target's streams are, by organization.</param>
/// <param name="Beside">How many rows are not there, by table.</param>
/// <param name="IsUnfinished">An earlier move was broken off.</param>
public sealed record MovePlan(
    IReadOnlyDictionary<string, StreamHead> Heads, IReadOnlyDictionary<string, long> Versions, IReadOnlyList<(string Table, long Rows)> Beside, bool IsUnfinished)
{
    public long Events { get; } = Heads.Values.Sum(h => h.Version);

    public long EventsThere { get; } = Versions.Values.Sum();

    /// <summary>Everything is there.</summary>
    public bool IsDone => EventsThere == Events && !IsUnfinished && Beside.All(t => t.Rows == 0);
}

/// <summary>What is to be moved, or what is there already, is not such that it can be done. Nothing was overwritten.</summary>
public sealed class MoveRefusedException(string message) : Exception(message);
