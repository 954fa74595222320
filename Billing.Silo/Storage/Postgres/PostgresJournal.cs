using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;
using Npgsql;

namespace Billing.Silo.Storage.Postgres;

/// <summary>The journal in PostgreSQL. A group is one transaction, sent and answered in one round trip.</summary>
internal sealed class PostgresJournal(PostgresDatabase database) : IJournal, IDisposable
{
    private const string Columns = "position, version, type, schema, effective_at, recorded_at, command_id, content_hash, body, hash, organization";

    // What is below the horizon is complete: every transaction with a smaller id has ended, and later ones write above it.
    // So nothing appears behind a reader, and one number is all that it has to remember.
    private static readonly string BelowHorizon = $"position < (SELECT base + (pg_snapshot_xmin(pg_current_snapshot())::text::bigint << {GroupWriter.PlacesBits}) FROM journal)";

    private readonly SemaphoreSlim appending = new(1, 1);
    private GroupWriter? writer;

    /// <remarks>The caller's thread waits: the journal's writer has one of its own, and this is cheaper than to come back to another.</remarks>
    public async ValueTask<IReadOnlyList<AppendOutcome>> AppendGroup(IReadOnlyList<StreamAppend> group)
    {
        if (group.Count == 0) return [];
        await appending.WaitAsync();
        try
        {
            return (writer ??= new GroupWriter(database.OpenWriter())).Append(group);
        }
        catch (Exception e)
        {
            // Whatever state the connection is in, the next group gets a new one.
            writer?.Dispose();
            writer = null;
            if (PostgresDatabase.Failure(e) is { } failure) throw failure;
            throw;
        }
        finally
        {
            appending.Release();
        }
    }

    public ValueTask<IReadOnlyList<StoredEvent>> ReadStream(string organization, long fromVersion, int limit) => database.Read(connection =>
        Events(connection, $"SELECT {Columns} FROM events WHERE organization = $1 AND version >= $2 ORDER BY version LIMIT $3", organization, organization, fromVersion, limit));

    public ValueTask<IReadOnlyList<StoredEvent>> ReadAll(long afterPosition, int limit) => database.Read(connection =>
        Events(connection, $"SELECT {Columns} FROM events WHERE position > $1 AND {BelowHorizon} ORDER BY position LIMIT $2", null, afterPosition, limit));

    public ValueTask<IReadOnlyDictionary<string, RecordedCommand>> FindCommands(string organization, IReadOnlyCollection<string> commandIds)
    {
        if (commandIds.Count == 0) return new(new Dictionary<string, RecordedCommand>());
        return database.Read<IReadOnlyDictionary<string, RecordedCommand>>(async connection =>
        {
            await using var command = Command(connection,
                "SELECT command_id, version, content_hash FROM events WHERE organization = $1 AND command_id = ANY ($2)", organization, commandIds.ToArray());
            await using var reader = await command.ExecuteReaderAsync();
            var found = new Dictionary<string, RecordedCommand>();
            while (await reader.ReadAsync()) found[reader.GetString(0)] = new RecordedCommand(reader.GetInt64(1), reader.GetFieldValue<byte[]>(2));
            return found;
        });
    }

    public ValueTask<StreamHead?> ReadHead(string organization) => database.Read(async connection =>
    {
        await using var command = Command(connection, "SELECT version, hash, due_at FROM streams WHERE organization = $1", organization);
        await using var reader = await command.ExecuteReaderAsync();
        if (!await reader.ReadAsync()) return null;
        var version = reader.GetInt64(0);
        if (version < 1) throw new DamagedEventException(null, $"The head's row is damaged: version is {version}, which is no event's.");
        return new StreamHead(version, reader.GetFieldValue<byte[]>(1)) { DueAt = reader.IsDBNull(2) ? null : Time(reader.GetInt64(2), "due_at", null) };
    });

    public ValueTask<IReadOnlyList<string>> FindDue(Instant now, int limit) => database.Read(connection =>
        Texts(connection, "SELECT organization FROM streams WHERE due_at <= $1 ORDER BY due_at LIMIT $2", Micros.Of(now), limit));

    public ValueTask<IReadOnlyList<string>> ListOrganizations(string after, int limit) => database.Read(connection =>
        Texts(connection, "SELECT organization FROM streams WHERE organization > $1 ORDER BY organization LIMIT $2", after, limit));

    public void Dispose()
    {
        appending.Wait();
        writer?.Dispose();
        appending.Dispose();
    }

    /// <param name="stream">Whose events they are, when they are all of one.</param>
    private static async Task<IReadOnlyList<StoredEvent>> Events(NpgsqlConnection connection, string sql, string? stream, params object[] parameters)
    {
        await using var command = Command(connection, sql, parameters);
        await using var reader = await command.ExecuteReaderAsync();
        var events = new List<StoredEvent>();
        while (await reader.ReadAsync())
        {
            var version = reader.GetInt64(1);
            var archived = reader.IsDBNull(8);
            events.Add(new StoredEvent(
                stream ?? reader.GetString(10), version, reader.GetString(2), reader.GetInt32(3),
                Time(reader.GetInt64(4), "effective_at", version), Time(reader.GetInt64(5), "recorded_at", version),
                reader.IsDBNull(6) ? null : reader.GetString(6), reader.IsDBNull(7) ? null : reader.GetFieldValue<byte[]>(7),
                archived ? [] : reader.GetFieldValue<byte[]>(8), reader.GetFieldValue<byte[]>(9), reader.GetInt64(0)) { IsArchived = archived });
        }
        return events;
    }

    private static async Task<IReadOnlyList<string>> Texts(NpgsqlConnection connection, string sql, params object[] parameters)
    {
        await using var command = Command(connection, sql, parameters);
        await using var reader = await command.ExecuteReaderAsync();
        var texts = new List<string>();
        while (await reader.ReadAsync()) texts.Add(reader.GetString(0));
        return texts;
    }

    private static NpgsqlCommand Command(NpgsqlConnection connection, string sql, params object[] parameters)
    {
        var command = new NpgsqlCommand(sql, connection);
        foreach (var value in parameters) command.Parameters.Add(new NpgsqlParameter { Value = value });
        return command;
    }

    /// <summary>A number that no time has must not be rounded to one that hashes well.</summary>
    private static Instant Time(long micros, string name, long? version) => Micros.IsTime(micros)
        ? Micros.ToInstant(micros)
        : throw new DamagedEventException(version, $"{(version is { } v ? $"Version {v}" : "The head's row")} is damaged: {name} is {micros}, which is no time.");
}
