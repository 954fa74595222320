using System.Data.Common;
using System.Text;
using Microsoft.Data.Sqlite;
using Npgsql;

namespace Billing.Bench;

/// <summary>A stored event's columns in the order of the table, texts as their UTF-8 bytes.</summary>
public sealed record JournalRow(
    byte[] Organization, long Version, byte[] Type, int Schema, long EffectiveAt, long RecordedAt, byte[]? CommandId, byte[]? ContentHash, byte[] Body, byte[] Hash);

/// <summary>The journal's table, read beside the service that writes it.</summary>
public sealed class JournalReader : IDisposable
{
    private readonly DbConnection connection;

    static JournalReader() => SQLitePCL.Batteries_V2.Init();

    private JournalReader(DbConnection connection)
    {
        this.connection = Cleanup.Add(connection);
        connection.Open();
    }

    public static JournalReader OfFile(string path) =>
        new(new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Mode = SqliteOpenMode.ReadOnly, Pooling = false }.ToString()));

    public static JournalReader OfServer(string connectionString) => new(new NpgsqlConnection($"{connectionString};Pooling=false;Command Timeout=600"));

    public long LastPosition() => Number("SELECT coalesce(max(position), 0) FROM events");

    /// <summary>Usage that was recorded after a position.</summary>
    public long CountUsage(long afterPosition) => Count("usage-recorded", afterPosition);

    /// <summary>Events of a type that were recorded after a position.</summary>
    public long Count(string type, long afterPosition) => Number($"SELECT count(*) FROM events WHERE position > {afterPosition} AND type = '{type}'");

    /// <summary>SQLite only: the page size and the statements that made the table of events and its indexes, so that the raw insert fills the same ones.</summary>
    public IReadOnlyList<string> Schema()
    {
        var statements = new List<string> { $"PRAGMA page_size = {Number("PRAGMA page_size")}" };
        using var command = Command("SELECT sql FROM sqlite_master WHERE tbl_name = 'events' AND type IN ('table', 'index') AND sql IS NOT NULL ORDER BY type DESC");
        using var reader = command.ExecuteReader();
        while (reader.Read()) statements.Add(reader.GetString(0));
        return statements;
    }

    public IReadOnlyList<JournalRow> ReadUsage(long afterPosition, int limit)
    {
        using var command = Command($"""
            SELECT organization, version, type, schema, effective_at, recorded_at, command_id, content_hash, body, hash
            FROM events WHERE position > {afterPosition} AND type = 'usage-recorded' ORDER BY position LIMIT {limit}
            """);
        using var reader = command.ExecuteReader();
        var rows = new List<JournalRow>();
        while (reader.Read())
            rows.Add(new JournalRow(
                Utf8(reader[0])!, reader.GetInt64(1), Utf8(reader[2])!, reader.GetInt32(3), reader.GetInt64(4), reader.GetInt64(5),
                Utf8(reader[6]), reader[7] as byte[], (byte[])reader[8], (byte[])reader[9]));
        return rows;
    }

    /// <summary>Every column of a whole stream, in order, by one statement and the driver alone: nothing is decoded, nothing is checked.</summary>
    /// <param name="each">Given each body, and how many bytes its texts and blobs have altogether.</param>
    public void ReadStream(string organization, Action<byte[], int> each)
    {
        using var command = Command("SELECT organization, version, type, schema, effective_at, recorded_at, command_id, content_hash, body, hash FROM events WHERE organization = @organization ORDER BY version");
        var parameter = command.CreateParameter();
        (parameter.ParameterName, parameter.Value) = ("@organization", organization);
        command.Parameters.Add(parameter);
        using var reader = command.ExecuteReader();
        while (reader.Read())
        {
            var length = reader.GetString(0).Length + reader.GetString(2).Length;
            _ = (reader.GetInt64(1), reader.GetInt32(3), reader.GetInt64(4), reader.GetInt64(5));
            if (!reader.IsDBNull(6)) length += reader.GetString(6).Length;
            if (!reader.IsDBNull(7)) length += reader.GetFieldValue<byte[]>(7).Length;
            var body = reader.GetFieldValue<byte[]>(8);
            each(body, length + body.Length + reader.GetFieldValue<byte[]>(9).Length);
        }
    }

    public void Dispose() => connection.Dispose();

    private static byte[]? Utf8(object value) => value is string text ? Encoding.UTF8.GetBytes(text) : null;

    private long Number(string sql)
    {
        using var command = Command(sql);
        return (long)command.ExecuteScalar()!;
    }

    private DbCommand Command(string sql)
    {
        var command = connection.CreateCommand();
        command.CommandText = sql;
        return command;
    }
}
