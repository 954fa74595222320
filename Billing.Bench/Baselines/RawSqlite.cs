using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Billing.Bench;

/// <summary>The raw group insert into SQLite: a file with the journal's table, indexes and settings, and prepared statements.</summary>
public static class RawSqlite
{
    /// <summary>The same settings as the journal's connections have.</summary>
    private const string Pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 8000; PRAGMA cache_size = -131072;";

    private const string Insert = """
        INSERT INTO events (organization, version, type, schema, effective_at, recorded_at, command_id, content_hash, body, hash)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """;

    /// <param name="path">Of a new file.</param>
    /// <param name="schema">The statements that made the journal's table.</param>
    public static Measurement Measure(string path, IReadOnlyList<string> schema, IReadOnlyList<JournalRow> rows, int groupRows)
    {
        using var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false }.ToString());
        connection.Open();
        // The page size comes first, because a file that has pages keeps theirs; the log before the tables, because they are part of the file then.
        foreach (var statement in (IEnumerable<string>)[schema[0], Pragmas, .. schema.Skip(1)]) Execute(connection, statement);
        using var insert = Prepare(connection, Insert);
        using var begin = Prepare(connection, "BEGIN IMMEDIATE");
        using var commit = Prepare(connection, "COMMIT");
        return RawInsert.Measure(RawInsert.Sqlite, rows, groupRows, group => group, group =>
        {
            Step(connection, begin);
            foreach (var row in group) Write(connection, insert, row);
            Step(connection, commit);
        });
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
