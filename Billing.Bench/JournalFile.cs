using Microsoft.Data.Sqlite;

namespace Billing.Bench;

/// <summary>A stored event's columns in the order of the table, texts as their UTF-8 bytes.</summary>
public sealed record JournalRow(
    byte[] Organization, long Version, byte[] Type, long Schema, long EffectiveAt, long RecordedAt, byte[]? CommandId, byte[]? ContentHash, byte[] Body, byte[] Hash);

/// <summary>The journal's file, read beside the API that writes it.</summary>
public sealed class JournalFile : IDisposable
{
    private readonly SqliteConnection connection;

    static JournalFile() => SQLitePCL.Batteries_V2.Init();

    public JournalFile(string path)
    {
        connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Mode = SqliteOpenMode.ReadOnly, Pooling = false }.ToString());
        connection.Open();
    }

    public long LastPosition() => (long)Query("SELECT coalesce(max(position), 0) FROM events", 0)!;

    /// <summary>Usage that was recorded after a position.</summary>
    public long CountUsage(long afterPosition) => (long)Query("SELECT count(*) FROM events WHERE position > $after AND type = 'usage-recorded'", afterPosition)!;

    /// <summary>The page size and the statements that made the table of events and its indexes, so that the raw insert fills the same ones.</summary>
    public IReadOnlyList<string> Schema()
    {
        var statements = new List<string> { $"PRAGMA page_size = {Query("PRAGMA page_size", 0)}" };
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT sql FROM sqlite_master WHERE tbl_name = 'events' AND type IN ('table', 'index') AND sql IS NOT NULL ORDER BY type DESC";
        using var reader = command.ExecuteReader();
        while (reader.Read()) statements.Add(reader.GetString(0));
        return statements;
    }

    public IReadOnlyList<JournalRow> ReadUsage(long afterPosition, int limit)
    {
        using var command = connection.CreateCommand();
        command.CommandText = """
            SELECT CAST(organization AS BLOB), version, CAST(type AS BLOB), schema, effective_at, recorded_at, CAST(command_id AS BLOB), content_hash, body, hash
            FROM events WHERE position > $after AND type = 'usage-recorded' ORDER BY position LIMIT $limit
            """;
        command.Parameters.AddWithValue("$after", afterPosition);
        command.Parameters.AddWithValue("$limit", limit);
        using var reader = command.ExecuteReader();
        var rows = new List<JournalRow>();
        while (reader.Read())
            rows.Add(new JournalRow(
                (byte[])reader[0], reader.GetInt64(1), (byte[])reader[2], reader.GetInt64(3), reader.GetInt64(4), reader.GetInt64(5),
                reader[6] as byte[], reader[7] as byte[], (byte[])reader[8], (byte[])reader[9]));
        return rows;
    }

    public void Dispose() => connection.Dispose();

    private object? Query(string sql, long after)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.Parameters.AddWithValue("$after", after);
        return command.ExecuteScalar();
    }
}
