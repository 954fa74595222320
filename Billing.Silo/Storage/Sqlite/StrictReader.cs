using System.Text;
using Billing.Grains.Journal;
using Microsoft.Data.Sqlite;
using NodaTime;
using SQLitePCL;

namespace Billing.Silo.Storage.Sqlite;

/// <summary>
/// The journal's rows, exactly as they stand. SQLite keeps any type in any column, texts that are no UTF-8 and numbers
/// that are no times; read leniently, several of them look like one, and the chain could not tell them apart. What
/// cannot have been written by us is refused here.
/// </summary>
internal static class StrictReader
{
    // The index finds the rows and the table itself says all that is in them: where the two disagree, the chain does not follow.
    private const string OfStream = """
        SELECT e.position, e.organization, e.version, e.type, e.schema, e.effective_at, e.recorded_at, e.command_id, e.content_hash, e.body, e.hash
        FROM (SELECT position FROM events WHERE organization = ?1 AND version >= ?2 ORDER BY version LIMIT ?3) AS found
        CROSS JOIN events AS e ON e.position = found.position
        """;

    private const string OfAll = """
        SELECT position, organization, version, type, schema, effective_at, recorded_at, command_id, content_hash, body, hash
        FROM events NOT INDEXED WHERE position > ?1 ORDER BY position LIMIT ?2
        """;

    internal static readonly UTF8Encoding Utf8 = new(false, throwOnInvalidBytes: true);

    public static IReadOnlyList<StoredEvent> ReadStream(SqliteConnection connection, string organization, long fromVersion, int limit) =>
        Query(connection, OfStream, Event, organization, fromVersion, limit);

    public static IReadOnlyList<StoredEvent> ReadAll(SqliteConnection connection, long afterPosition, int limit) =>
        Query(connection, OfAll, Event, null, afterPosition, limit);

    public static StreamHead? ReadHead(SqliteConnection connection, string organization) =>
        Query(connection, "SELECT version, hash, due_at FROM streams WHERE organization = ?1", Head, organization).SingleOrDefault();

    /// <summary>Every head, by organization.</summary>
    public static Dictionary<string, StreamHead> ReadHeads(SqliteConnection connection) => Rows(
        connection, "SELECT version, hash, due_at, organization FROM streams", row => (Organization: Text(row, 3, "organization", null, Row.Stream), Head: Head(row)))
        .ToDictionary(s => s.Organization, s => s.Head);

    private static StoredEvent Event(sqlite3_stmt row)
    {
        // The version says which event it is that everything else is about.
        var version = Number(row, 2, "version", null);
        var schema = Number(row, 4, "schema", version);
        if (schema is < int.MinValue or > int.MaxValue) throw Damaged(version, Row.Event, $"schema is {schema}, which is none");
        return new StoredEvent(
            Text(row, 1, "organization", version), version, Text(row, 3, "type", version), (int)schema, Time(row, 5, "effective_at", version), Time(row, 6, "recorded_at", version),
            IsNull(row, 7) ? null : Text(row, 7, "command_id", version), IsNull(row, 8) ? null : Bytes(row, 8, "content_hash", version),
            Bytes(row, 9, "body", version), Bytes(row, 10, "hash", version), Number(row, 0, "position", version));
    }

    private static StreamHead Head(sqlite3_stmt row)
    {
        var version = Number(row, 0, "version", null, Row.Stream);
        if (version < 1) throw Damaged(null, Row.Stream, $"version is {version}, which is no event's");
        return new StreamHead(version, Bytes(row, 1, "hash", null, Row.Stream)) { DueAt = IsNull(row, 2) ? null : Time(row, 2, "due_at", null, Row.Stream) };
    }

    // ---- columns

    private enum Row { Event, Stream }

    private static bool IsNull(sqlite3_stmt row, int column) => raw.sqlite3_column_type(row, column) == raw.SQLITE_NULL;

    private static long Number(sqlite3_stmt row, int column, string name, long? version, Row kind = Row.Event)
    {
        Expect(row, column, raw.SQLITE_INTEGER, name, version, kind);
        return raw.sqlite3_column_int64(row, column);
    }

    private static Instant Time(sqlite3_stmt row, int column, string name, long? version, Row kind = Row.Event)
    {
        var micros = Number(row, column, name, version, kind);
        return Micros.IsTime(micros) ? Micros.ToInstant(micros) : throw Damaged(version, kind, $"{name} is {micros}, which is no time");
    }

    private static byte[] Bytes(sqlite3_stmt row, int column, string name, long? version, Row kind = Row.Event)
    {
        Expect(row, column, raw.SQLITE_BLOB, name, version, kind);
        return raw.sqlite3_column_blob(row, column).ToArray();
    }

    private static string Text(sqlite3_stmt row, int column, string name, long? version, Row kind = Row.Event)
    {
        Expect(row, column, raw.SQLITE_TEXT, name, version, kind);
        try
        {
            // As bytes: asked for as text, it would end at its first zero byte.
            return Utf8.GetString(raw.sqlite3_column_blob(row, column));
        }
        catch (DecoderFallbackException)
        {
            throw Damaged(version, kind, $"{name} is no UTF-8");
        }
    }

    private static void Expect(sqlite3_stmt row, int column, int type, string name, long? version, Row kind)
    {
        var stored = raw.sqlite3_column_type(row, column);
        if (stored != type) throw Damaged(version, kind, $"{name} is stored as {NameOf(stored)} instead of {NameOf(type)}");
    }

    private static DamagedEventException Damaged(long? version, Row kind, string problem) =>
        new(version, $"{(kind == Row.Stream ? "The head's row" : version is { } v ? $"Version {v}" : "An event")} is damaged: {problem}.");

    internal static string NameOf(int type) => type switch
    {
        raw.SQLITE_INTEGER => "an integer",
        raw.SQLITE_FLOAT => "a real number",
        raw.SQLITE_TEXT => "a text",
        raw.SQLITE_BLOB => "a blob",
        _ => "null",
    };

    // ---- queries

    /// <param name="text">The first parameter, if it is one; <paramref name="numbers"/> follow.</param>
    internal static List<T> Query<T>(SqliteConnection connection, string sql, Func<sqlite3_stmt, T> read, string? text, params long[] numbers) =>
        [.. Rows(connection, sql, read, text, numbers)];

    /// <summary>As <see cref="Query"/>, row by row as they are asked for.</summary>
    internal static IEnumerable<T> Rows<T>(SqliteConnection connection, string sql, Func<sqlite3_stmt, T> read, string? text = null, params long[] numbers)
    {
        var handle = connection.Handle!;
        Check(raw.sqlite3_prepare_v2(handle, sql, out var statement));
        using (statement)
        {
            var parameter = 1;
            if (text is not null) Check(raw.sqlite3_bind_text(statement, parameter++, text));
            foreach (var number in numbers) Check(raw.sqlite3_bind_int64(statement, parameter++, number));
            while (true)
            {
                var result = raw.sqlite3_step(statement);
                if (result == raw.SQLITE_DONE) yield break;
                if (result != raw.SQLITE_ROW) Check(result);
                yield return read(statement);
            }
        }

        void Check(int result)
        {
            if (result == raw.SQLITE_OK) return;
            var message = raw.sqlite3_errmsg(handle).utf8_to_string();
            if (result == raw.SQLITE_CORRUPT) throw new DamagedEventException(null, $"The database file is damaged: {message}.");
            throw new SqliteException($"SQLite error {result}: {message}", result, raw.sqlite3_extended_errcode(handle));
        }
    }
}
