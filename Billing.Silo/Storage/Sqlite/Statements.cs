using Billing.Grains.Journal;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Billing.Silo.Storage.Sqlite;

/// <summary>
/// The journal's writing statements, prepared once on the writer's connection and bound without a parameter object for
/// each value: this is the hot path of every consume.
/// </summary>
internal sealed class Statements : IDisposable
{
    private const int ConstraintUnique = 2067;

    private readonly sqlite3 handle;
    private readonly List<sqlite3_stmt> all = [];
    private readonly sqlite3_stmt insert;
    private readonly sqlite3_stmt newHead;
    private readonly sqlite3_stmt moveHead;

    public readonly Statement Begin;
    public readonly Statement Commit;
    public readonly Statement Rollback;
    public readonly Statement Savepoint;
    public readonly Statement RollbackTo;
    public readonly Statement Release;

    public Statements(SqliteConnection connection)
    {
        handle = connection.Handle!;
        insert = Prepare("""
            INSERT INTO events (organization, version, type, schema, effective_at, recorded_at, command_id, content_hash, body, hash)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """);
        newHead = Prepare("INSERT INTO streams (version, hash, due_at, organization) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING");
        moveHead = Prepare("UPDATE streams SET version = ?, hash = ?, due_at = ? WHERE organization = ? AND version = ?");
        Begin = new Statement(this, "BEGIN IMMEDIATE");
        Commit = new Statement(this, "COMMIT");
        Rollback = new Statement(this, "ROLLBACK");
        Savepoint = new Statement(this, "SAVEPOINT stream");
        RollbackTo = new Statement(this, "ROLLBACK TO stream");
        Release = new Statement(this, "RELEASE stream");
    }

    public bool InTransaction => raw.sqlite3_get_autocommit(handle) == 0;

    /// <returns>False when the stream is not at the expected version.</returns>
    public bool MoveHead(StreamAppend append, StoredEvent last)
    {
        var statement = append.ExpectedVersion == 0 ? newHead : moveHead;
        raw.sqlite3_bind_int64(statement, 1, last.Version);
        raw.sqlite3_bind_blob(statement, 2, last.Hash);
        if (append.DueAt is { } due) raw.sqlite3_bind_int64(statement, 3, Micros.Of(due));
        else raw.sqlite3_bind_null(statement, 3);
        raw.sqlite3_bind_text(statement, 4, append.Organization);
        if (append.ExpectedVersion > 0) raw.sqlite3_bind_int64(statement, 5, append.ExpectedVersion);
        Step(statement);
        return raw.sqlite3_changes(handle) == 1;
    }

    /// <returns>False when its command id is there already.</returns>
    public bool Insert(StoredEvent e)
    {
        raw.sqlite3_bind_text(insert, 1, e.Organization);
        raw.sqlite3_bind_int64(insert, 2, e.Version);
        raw.sqlite3_bind_text(insert, 3, e.Type);
        raw.sqlite3_bind_int(insert, 4, e.Schema);
        raw.sqlite3_bind_int64(insert, 5, Micros.Of(e.EffectiveAt));
        raw.sqlite3_bind_int64(insert, 6, Micros.Of(e.RecordedAt));
        if (e.CommandId is { } id) raw.sqlite3_bind_text(insert, 7, id);
        else raw.sqlite3_bind_null(insert, 7);
        if (e.ContentHash is { } content) raw.sqlite3_bind_blob(insert, 8, content);
        else raw.sqlite3_bind_null(insert, 8);
        raw.sqlite3_bind_blob(insert, 9, e.Body);
        raw.sqlite3_bind_blob(insert, 10, e.Hash);
        return Step(insert);
    }

    public void Dispose()
    {
        foreach (var statement in all) statement.Dispose();
    }

    /// <returns>False on a violated unique index.</returns>
    private bool Step(sqlite3_stmt statement)
    {
        var result = raw.sqlite3_step(statement);
        var extended = result is raw.SQLITE_DONE or raw.SQLITE_ROW ? 0 : raw.sqlite3_extended_errcode(handle);
        var message = extended == 0 ? null : raw.sqlite3_errmsg(handle).utf8_to_string();
        raw.sqlite3_reset(statement);
        if (extended == 0) return true;
        if (extended == ConstraintUnique) return false;
        throw new SqliteException($"SQLite error {extended}: {message}", extended & 0xFF, extended);
    }

    private sqlite3_stmt Prepare(string sql)
    {
        var result = raw.sqlite3_prepare_v2(handle, sql, out var statement);
        if (result != raw.SQLITE_OK) throw new SqliteException(raw.sqlite3_errmsg(handle).utf8_to_string(), result);
        all.Add(statement);
        return statement;
    }

    internal sealed class Statement(Statements owner, string sql)
    {
        private readonly sqlite3_stmt statement = owner.Prepare(sql);

        public void Run() => owner.Step(statement);
    }
}
