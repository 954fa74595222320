using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Billing.Grains.Journal;
using Billing.Silo.Storage.Sqlite;
using Dapper;
using Microsoft.Data.Sqlite;
using Npgsql;
using NpgsqlTypes;
using SQLitePCL;

namespace Billing.Silo.Storage;

/// <summary>One of the tables beside the streams, to be moved from SQLite to PostgreSQL row by row. They have the same columns in both.</summary>
internal sealed class BesideTable
{
    /// <summary>What moves as it stands; but a feed's position is translated, because positions are the journal's own.</summary>
    public static readonly IReadOnlyList<string> Moved =
        ["catalogs", "api_keys", "customers", "inbox", "settings", "profiles", "stripe_requests", "stripe_invoices", "stripe_tasks", "flags", "feeds", "audit", "audit_head", "audit_begun"];

    /// <summary>What moves through the journal.</summary>
    public static readonly IReadOnlyList<string> Streams = ["events", "streams"];

    /// <summary>
    /// What stays: snapshots are a build's and are taken again, leases end by themselves, browsers sign in again, what Orleans keeps is about a cluster that there was not, and the
    /// rest is about the database itself.
    /// </summary>
    public static readonly IReadOnlyList<string> LeftOut =
    [
        "snapshots", "leases", "sessions", "journal", "schema_version",
        "orleansquery", "orleansmembershipversiontable", "orleansmembershiptable", "orleansreminderstable", "orleansstorage",
    ];

    // Of the database itself, too.
    private static readonly string[] SettingsLeftOut = [JournalProbe.Name, LedgerMove.Mark];

    private sealed record Column(string Name, string Type, bool IsKey)
    {
        public (NpgsqlDbType There, int Here) Types => Type switch
        {
            "integer" => (NpgsqlDbType.Integer, raw.SQLITE_INTEGER),
            "bigint" => (NpgsqlDbType.Bigint, raw.SQLITE_INTEGER),
            "text" => (NpgsqlDbType.Text, raw.SQLITE_TEXT),
            "bytea" => (NpgsqlDbType.Bytea, raw.SQLITE_BLOB),
            _ => throw new InvalidDataException($"No column of type {Type} can be moved."),
        };
    }

    private const string ColumnsOf = """
        SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type, coalesce(a.attnum = ANY (i.indkey), false) AS is_key
        FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
        WHERE a.attrelid = to_regclass(@name) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
        """;

    private readonly string name;
    private readonly IReadOnlyList<Column> columns;

    private BesideTable(string name, IReadOnlyList<Column> columns) => (this.name, this.columns) = (name, columns);

    private string Names => string.Join(", ", columns.Select(c => c.Name));

    /// <summary>How many rows a table has to move, whatever is there.</summary>
    public static long Count(SqliteConnection from, string name) => StrictReader.Query(
        from, $"SELECT count(*) FROM {name}{(name == "settings" ? $" WHERE name <> '{SettingsLeftOut[0]}'" : "")}", row => raw.sqlite3_column_int64(row, 0), null).Single();

    public static BesideTable Of(NpgsqlConnection to, string name) => new(name, [.. to.Query<(string Name, string Type, bool IsKey)>(ColumnsOf, new { name }).Select(c => new Column(c.Name, c.Type, c.IsKey))]);

    /// <summary>Compares the table with what is there, and copies what is not.</summary>
    /// <param name="positionOf">The position there of what stands at one here; null where it is not there yet.</param>
    /// <param name="write">False only compares.</param>
    /// <returns>How many rows were not there.</returns>
    /// <exception cref="MoveRefusedException">There is something else there, or more.</exception>
    public long Move(SqliteConnection from, NpgsqlConnection to, Func<long, long?> positionOf, bool write, string place)
    {
        var there = to.Query($"SELECT {Names} FROM {name}", buffered: false).Select(row => ((IDictionary<string, object?>)row).Values.Select(v => v is int number ? (long)number : v).ToArray())
            .Where(IsMoved).ToDictionary(Key, Digest);
        var here = StrictReader.Rows(from, $"SELECT {Names} FROM {name}", Values).Where(IsMoved);
        // Where something is asked of the connection, that comes before the copying.
        if (name == "feeds") here = [.. here.Select(row => (object?[])[row[0], positionOf((long)row[1]!) ?? -1, row[2]])];
        using var copy = write ? to.BeginBinaryImport($"COPY {name} ({Names}) FROM STDIN (FORMAT BINARY)") : null;
        var missing = 0L;
        foreach (var row in here)
        {
            if (!there.Remove(Key(row), out var digest))
            {
                missing++;
                if (copy is not null) Write(copy, row);
            }
            else if (!digest.AsSpan().SequenceEqual(Digest(row)))
            {
                throw new MoveRefusedException($"'{Key(row)}' in {name} is something else in {place} than in {from.DataSource}. {LedgerMove.MakeAnother}");
            }
        }
        if (there.Count > 0) throw new MoveRefusedException($"{place} has '{there.Keys.First()}' in {name}, and {from.DataSource} does not. {LedgerMove.MakeAnother}");
        copy?.Complete();
        return missing;
    }

    private bool IsMoved(object?[] row) => name != "settings" || !SettingsLeftOut.Contains((string)row[0]!);

    private string Key(object?[] row) => string.Join(' ', row.Where((_, i) => columns[i].IsKey).Select(v => Convert.ToString(v, CultureInfo.InvariantCulture)));

    /// <summary>SQLite keeps anything in any column: what is not of its type is not rounded to it.</summary>
    private object?[] Values(sqlite3_stmt row) => [.. columns.Select(object? (column, i) =>
    {
        var stored = raw.sqlite3_column_type(row, i);
        if (stored == raw.SQLITE_NULL) return null;
        if (stored != column.Types.Here) throw Damaged($"is stored as {StrictReader.NameOf(stored)} instead of {StrictReader.NameOf(column.Types.Here)}");
        if (stored == raw.SQLITE_INTEGER) return raw.sqlite3_column_int64(row, i);
        var bytes = raw.sqlite3_column_blob(row, i).ToArray();
        try
        {
            return stored == raw.SQLITE_TEXT ? StrictReader.Utf8.GetString(bytes) : bytes;
        }
        catch (DecoderFallbackException)
        {
            throw Damaged("is no UTF-8");
        }

        DamagedEventException Damaged(string problem) => new(null, $"A row of {name} is damaged: {column.Name} {problem}.");
    })];

    private void Write(NpgsqlBinaryImporter copy, object?[] row)
    {
        copy.StartRow();
        for (var i = 0; i < row.Length; i++)
        {
            if (row[i] is not { } value) copy.WriteNull();
            else if (columns[i].Types.There is var type && type == NpgsqlDbType.Integer) copy.Write((int)(long)value, type);
            else copy.Write(value, type);
        }
    }

    /// <summary>So that a table need not be in memory.</summary>
    private static byte[] Digest(object?[] row)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> length = stackalloc byte[4];
        foreach (var value in row)
        {
            var bytes = value switch { null => null, byte[] b => b, _ => Encoding.UTF8.GetBytes(Convert.ToString(value, CultureInfo.InvariantCulture)!) };
            BinaryPrimitives.WriteInt32BigEndian(length, bytes?.Length ?? -1);
            hash.AppendData(length);
            hash.AppendData(bytes ?? []);
        }
        return hash.GetHashAndReset();
    }
}
