using System.Text;
using Npgsql;

namespace Billing.Bench;

/// <summary>The raw group insert into PostgreSQL: a table with the journal's columns and two unique indexes, one statement with arrays for each group.</summary>
public static class RawPostgres
{
    private const string Table = """
        CREATE TABLE raw_events (
          position bigint GENERATED ALWAYS AS IDENTITY, organization text NOT NULL, version bigint NOT NULL, type text NOT NULL, schema integer NOT NULL,
          effective_at bigint NOT NULL, recorded_at bigint NOT NULL, command_id text, content_hash bytea, body bytea NOT NULL, hash bytea NOT NULL);
        CREATE UNIQUE INDEX raw_events_by_version ON raw_events (organization, version);
        CREATE UNIQUE INDEX raw_events_by_command ON raw_events (organization, command_id) WHERE command_id IS NOT NULL
        """;

    private const string Insert = """
        INSERT INTO raw_events (organization, version, type, schema, effective_at, recorded_at, command_id, content_hash, body, hash)
        SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """;

    public static Measurement Measure(string connectionString, IReadOnlyList<JournalRow> rows, int groupRows)
    {
        using var connection = new NpgsqlConnection($"{connectionString};Pooling=false");
        connection.Open();
        Execute(connection, Table);
        using var insert = new NpgsqlCommand(Insert, connection);
        insert.Parameters.AddRange(Arrays([.. rows.Take(1)]));
        insert.Prepare();
        var measured = RawInsert.Measure(RawInsert.Postgres, rows, groupRows, Arrays, arrays =>
        {
            // A single statement is a transaction of its own.
            insert.Parameters.Clear();
            insert.Parameters.AddRange(arrays);
            insert.ExecuteNonQuery();
        });
        Execute(connection, "DROP TABLE raw_events");
        return measured;
    }

    private static NpgsqlParameter[] Arrays(IReadOnlyList<JournalRow> rows)
    {
        return
        [
            Of(r => Encoding.UTF8.GetString(r.Organization)), Of(r => r.Version), Of(r => Encoding.UTF8.GetString(r.Type)), Of(r => r.Schema), Of(r => r.EffectiveAt),
            Of(r => r.RecordedAt), Of(r => r.CommandId is { } id ? Encoding.UTF8.GetString(id) : null), Of(r => r.ContentHash), Of(r => r.Body), Of(r => r.Hash),
        ];

        NpgsqlParameter<T[]> Of<T>(Func<JournalRow, T> column) => new() { TypedValue = [.. rows.Select(column)] };
    }

    private static void Execute(NpgsqlConnection connection, string sql)
    {
        using var command = new NpgsqlCommand(sql, connection);
        command.ExecuteNonQuery();
    }
}
