using System.Diagnostics;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Billing.Bench;

/// <summary>
/// What SQLite does by itself with the rows that a batch run recorded: one thread, prepared statement, transactions of
/// about the journal's group size, each on the disk before the next. No hashing, no JSON, no HTTP, no ledger.
/// </summary>
public static class RawInsert
{
    /// <summary>Enough for a steady rate, and no more than fits in memory beside the API.</summary>
    public const int MaxRows = 200_000;

    /// <summary>The same settings as the journal's connections have.</summary>
    private const string Pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 8000; PRAGMA cache_size = -131072;";

    private const string Insert = """
        INSERT INTO events (organization, version, type, schema, effective_at, recorded_at, command_id, content_hash, body, hash)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """;

    public static Measurement Measure(string path, IReadOnlyList<string> schema, IReadOnlyList<JournalRow> rows, int groupRows)
    {
        if (rows.Count == 0) throw new BenchException("The batch recorded nothing that could be inserted again.");
        using var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false }.ToString());
        connection.Open();
        // The page size comes first, because a file that has pages keeps theirs; the log before the tables, because they are part of the file then.
        foreach (var statement in (IEnumerable<string>)[schema[0], Pragmas, .. schema.Skip(1)]) Execute(connection, statement);
        using var insert = Prepare(connection, Insert);
        using var begin = Prepare(connection, "BEGIN IMMEDIATE");
        using var commit = Prepare(connection, "COMMIT");

        var latencies = new Histogram();
        var (ownBefore, started) = (Environment.CpuUsage.TotalTime, Stopwatch.GetTimestamp());
        for (var from = 0; from < rows.Count; from += groupRows)
        {
            var began = Stopwatch.GetTimestamp();
            Step(connection, begin);
            for (var i = from; i < Math.Min(from + groupRows, rows.Count); i++) Write(connection, insert, rows[i]);
            Step(connection, commit);
            latencies.Add(Stopwatch.GetTimestamp() - began);
        }
        var elapsed = Stopwatch.GetElapsedTime(started);
        return new Measurement(Scenario.RawName, 1, groupRows, null, rows.Count, 0, null)
        {
            RequestsPerSecond = latencies.Count / elapsed.TotalSeconds,
            EventsPerSecond = rows.Count / elapsed.TotalSeconds,
            P50Ms = latencies.Percentile(0.5),
            P99Ms = latencies.Percentile(0.99),
            GeneratorMicroseconds = (Environment.CpuUsage.TotalTime - ownBefore).TotalMicroseconds / latencies.Count,
        };
    }

    private static void Write(SqliteConnection connection, sqlite3_stmt insert, JournalRow row)
    {
        raw.sqlite3_bind_text(insert, 1, row.Organization);
        raw.sqlite3_bind_int64(insert, 2, row.Version);
        raw.sqlite3_bind_text(insert, 3, row.Type);
        raw.sqlite3_bind_int64(insert, 4, row.Schema);
        raw.sqlite3_bind_int64(insert, 5, row.EffectiveAt);
        raw.sqlite3_bind_int64(insert, 6, row.RecordedAt);
        if (row.CommandId is { } id) raw.sqlite3_bind_text(insert, 7, id);
        else raw.sqlite3_bind_null(insert, 7);
        if (row.ContentHash is { } hash) raw.sqlite3_bind_blob(insert, 8, hash);
        else raw.sqlite3_bind_null(insert, 8);
        raw.sqlite3_bind_blob(insert, 9, row.Body);
        raw.sqlite3_bind_blob(insert, 10, row.Hash);
        Step(connection, insert);
    }

    private static void Step(SqliteConnection connection, sqlite3_stmt statement)
    {
        var result = raw.sqlite3_step(statement);
        raw.sqlite3_reset(statement);
        if (result is not (raw.SQLITE_DONE or raw.SQLITE_ROW)) throw new BenchException($"SQLite: {raw.sqlite3_errmsg(connection.Handle).utf8_to_string()}");
    }

    private static sqlite3_stmt Prepare(SqliteConnection connection, string sql) => raw.sqlite3_prepare_v2(connection.Handle, sql, out var statement) == raw.SQLITE_OK
        ? statement
        : throw new BenchException($"SQLite: {raw.sqlite3_errmsg(connection.Handle).utf8_to_string()}");

    private static void Execute(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }
}
