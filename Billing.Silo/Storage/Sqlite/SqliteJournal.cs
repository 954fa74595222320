using Billing.Grains.Journal;
using Billing.Ledger;
using Dapper;
using Microsoft.Data.Sqlite;
using NodaTime;

namespace Billing.Silo.Storage.Sqlite;

/// <summary>The journal in a SQLite file. A group is one transaction, so one wait for the disk.</summary>
public sealed class SqliteJournal(SqliteDatabase database) : IJournal
{
    // First without savepoints, which cost a copy of every page that they touch. A command id that is there already is
    // rare: then the whole group is taken back and written again with one savepoint for each stream.
    public ValueTask<IReadOnlyList<AppendOutcome>> AppendGroup(IReadOnlyList<StreamAppend> group) =>
        new(database.WithWriter(prepared => Write(prepared, group, withSavepoints: false) ?? Write(prepared, group, withSavepoints: true)!));

    public async ValueTask<IReadOnlyList<StoredEvent>> ReadStream(string organization, long fromVersion, int limit) =>
        await database.Read(connection => StrictReader.ReadStream((SqliteConnection)connection, organization, fromVersion, limit));

    public async ValueTask<IReadOnlyList<StoredEvent>> ReadAll(long afterPosition, int limit) =>
        await database.Read(connection => StrictReader.ReadAll((SqliteConnection)connection, afterPosition, limit));

    public async ValueTask<IReadOnlyDictionary<string, RecordedCommand>> FindCommands(string organization, IReadOnlyCollection<string> commandIds) =>
        await database.Read(connection =>
        {
            var found = new Dictionary<string, RecordedCommand>();
            // SQLite takes at most 999 parameters in a statement.
            foreach (var ids in commandIds.Distinct().Chunk(500))
                foreach (var (id, version, hash) in connection.Query<(string, long, byte[])>(
                    "SELECT command_id, version, content_hash FROM events WHERE organization = @organization AND command_id IN @ids", new { organization, ids }))
                    found[id] = new RecordedCommand(version, hash);
            return (IReadOnlyDictionary<string, RecordedCommand>)found;
        });

    public async ValueTask<StreamHead?> ReadHead(string organization) =>
        await database.Read(connection => StrictReader.ReadHead((SqliteConnection)connection, organization));

    public async ValueTask<IReadOnlyList<string>> FindDue(Instant now, int limit) => await database.Read(connection =>
        connection.Query<string>("SELECT organization FROM streams WHERE due_at <= @now ORDER BY due_at LIMIT @limit", new { now = Micros.Of(now), limit }).AsList());

    public async ValueTask<IReadOnlyList<string>> ListOrganizations(string after, int limit) => await database.Read(connection =>
        connection.Query<string>("SELECT organization FROM streams WHERE organization > @after ORDER BY organization LIMIT @limit", new { after, limit }).AsList());

    /// <returns>The outcomes, or null when a constraint failed and there was no savepoint to go back to: then nothing was written.</returns>
    private static AppendOutcome[]? Write(Statements prepared, IReadOnlyList<StreamAppend> group, bool withSavepoints)
    {
        var outcomes = new AppendOutcome[group.Count];
        prepared.Begin.Run();
        try
        {
            for (var i = 0; i < outcomes.Length; i++)
            {
                if (withSavepoints) prepared.Savepoint.Run();
                outcomes[i] = Write(prepared, group[i]);
                if (outcomes[i] == AppendOutcome.CommandRecorded)
                {
                    if (!withSavepoints)
                    {
                        prepared.Rollback.Run();
                        return null;
                    }
                    prepared.RollbackTo.Run();
                }
                if (withSavepoints) prepared.Release.Run();
            }
            prepared.Commit.Run();
            return outcomes;
        }
        catch
        {
            if (prepared.InTransaction) prepared.Rollback.Run();
            throw;
        }
    }

    private static AppendOutcome Write(Statements prepared, StreamAppend append)
    {
        var last = append.Events[^1];
        if (!prepared.MoveHead(append, last)) return AppendOutcome.VersionConflict;
        foreach (var e in append.Events)
            if (!prepared.Insert(e)) return AppendOutcome.CommandRecorded;
        return AppendOutcome.Appended;
    }
}
