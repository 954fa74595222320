using Billing.Grains.Journal;
using Npgsql;
using NpgsqlTypes;

namespace Billing.Silo.Storage.Postgres;

/// <summary>The statements that write a group, prepared once, with lists for parameters that are used again.</summary>
internal sealed class GroupStatements : IDisposable
{
    private const string OpenHeads = "INSERT INTO streams (organization, version, hash, due_at) SELECT * FROM unnest($1, $2, $3, $4)";

    // The whole transaction ends here when a head is not at its expected version: by dividing by zero.
    private const string MoveHeads = """
        WITH moved AS (
          UPDATE streams SET version = head.version, hash = head.hash, due_at = head.due_at
          FROM unnest($1, $2, $3, $4, $5) AS head (organization, expected, version, hash, due_at)
          WHERE streams.organization = head.organization AND streams.version = head.expected
          RETURNING 1)
        SELECT 1 / (count(*) = cardinality($1))::int FROM moved
        """;

    private const string InsertEvents = """
        INSERT INTO events (position, organization, version, type, schema, effective_at, recorded_at, command_id, content_hash, body, hash)
        SELECT (SELECT base + (pg_current_xact_id()::text::bigint << 16) FROM journal) + place, organization, version, type, schema, effective_at, recorded_at, command_id, content_hash, body, hash
        FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) WITH ORDINALITY
          AS event (organization, version, type, schema, effective_at, recorded_at, command_id, content_hash, body, hash, place)
        """;

    /// <summary>Heads of streams: their columns, row by row.</summary>
    private sealed class Heads
    {
        public readonly List<string> Organizations = [];
        public readonly List<long> Expected = [];
        public readonly List<long> Versions = [];
        public readonly List<byte[]> Hashes = [];
        public readonly List<long?> DueAt = [];

        public void Clear()
        {
            Organizations.Clear();
            Expected.Clear();
            Versions.Clear();
            Hashes.Clear();
            DueAt.Clear();
        }
    }

    private readonly Heads opened = new();
    private readonly Heads moved = new();
    private readonly List<string> organizations = [];
    private readonly List<long> versions = [];
    private readonly List<string> types = [];
    private readonly List<int> schemas = [];
    private readonly List<long> effectiveAt = [];
    private readonly List<long> recordedAt = [];
    private readonly List<string?> commandIds = [];
    private readonly List<byte[]?> contentHashes = [];
    private readonly List<byte[]> bodies = [];
    private readonly List<byte[]> hashes = [];
    private readonly NpgsqlBatch batch;

    /// <param name="withNew">Whether there are streams to open.</param>
    public GroupStatements(NpgsqlConnection connection, bool withNew)
    {
        batch = new NpgsqlBatch(connection);
        if (withNew) batch.BatchCommands.Add(new NpgsqlBatchCommand(OpenHeads) { Parameters = { Texts(opened.Organizations), Numbers(opened.Versions), Bytes(opened.Hashes), Numbers(opened.DueAt) } });
        batch.BatchCommands.Add(new NpgsqlBatchCommand(MoveHeads)
        {
            Parameters = { Texts(moved.Organizations), Numbers(moved.Expected), Numbers(moved.Versions), Bytes(moved.Hashes), Numbers(moved.DueAt) },
        });
        batch.BatchCommands.Add(new NpgsqlBatchCommand(InsertEvents)
        {
            Parameters =
            {
                Texts(organizations), Numbers(versions), Texts(types), Of(schemas, NpgsqlDbType.Integer), Numbers(effectiveAt), Numbers(recordedAt),
                Texts(commandIds), Bytes(contentHashes), Bytes(bodies), Bytes(hashes),
            },
        });
        batch.Prepare();
    }

    public void AddHead(long expected, StreamAppend last)
    {
        var heads = expected == 0 ? opened : moved;
        heads.Organizations.Add(last.Organization);
        heads.Expected.Add(expected);
        heads.Versions.Add(last.Events[^1].Version);
        heads.Hashes.Add(last.Events[^1].Hash);
        heads.DueAt.Add(last.DueAt is { } due ? Micros.Of(due) : null);
    }

    public void AddEvent(StoredEvent e)
    {
        organizations.Add(e.Organization);
        versions.Add(e.Version);
        types.Add(e.Type);
        schemas.Add(e.Schema);
        effectiveAt.Add(Micros.Of(e.EffectiveAt));
        recordedAt.Add(Micros.Of(e.RecordedAt));
        commandIds.Add(e.CommandId);
        contentHashes.Add(e.ContentHash);
        bodies.Add(e.Body);
        hashes.Add(e.Hash);
    }

    /// <returns>False when a head was elsewhere, or something was there already. Then, as after any failure, nothing was written.</returns>
    public bool Run()
    {
        if (versions.Count > GroupWriter.MaxEvents) throw new InvalidDataException($"One transaction takes at most {GroupWriter.MaxEvents} events; these are {versions.Count}.");
        try
        {
            // Without a transaction of its own, what is sent together is one.
            batch.ExecuteNonQuery();
            return true;
        }
        catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.DivisionByZero or PostgresErrorCodes.UniqueViolation)
        {
            return false;
        }
    }

    public void Dispose() => batch.Dispose();

    public void Clear()
    {
        opened.Clear();
        moved.Clear();
        organizations.Clear();
        versions.Clear();
        types.Clear();
        schemas.Clear();
        effectiveAt.Clear();
        recordedAt.Clear();
        commandIds.Clear();
        contentHashes.Clear();
        bodies.Clear();
        hashes.Clear();
    }

    private static NpgsqlParameter<List<T>> Texts<T>(List<T> values) => Of(values, NpgsqlDbType.Text);

    private static NpgsqlParameter<List<T>> Numbers<T>(List<T> values) => Of(values, NpgsqlDbType.Bigint);

    private static NpgsqlParameter<List<T>> Bytes<T>(List<T> values) => Of(values, NpgsqlDbType.Bytea);

    private static NpgsqlParameter<List<T>> Of<T>(List<T> values, NpgsqlDbType type) => new() { NpgsqlDbType = NpgsqlDbType.Array | type, TypedValue = values };
}
