using System.Collections.Concurrent;
using System.Data.Common;
using Billing.Grains.Journal;
using Dapper;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Billing.Silo.Storage.Sqlite;

/// <summary>One SQLite file: write-ahead log, synchronous=FULL, one writer at a time within the process.</summary>
public sealed class SqliteDatabase : Database
{
    /// <summary>How long a statement waits for another process's lock.</summary>
    private const int BusySeconds = 5;

    private readonly string connectionString;
    private readonly SemaphoreSlim writing = new(1, 1);
    private readonly SqliteConnection writer;
    private readonly ConcurrentBag<SqliteConnection> readers = [];
    private Checkpointer? checkpointer;
    private long writes;
    private Statements? statements;

    static SqliteDatabase() => Batteries_V2.Init();

    private SqliteDatabase(string path, string connectionString)
    {
        Place = path;
        Journal = new SqliteJournal(this);
        this.connectionString = connectionString;
        writer = OpenConnection();
        // The writer goes through the indexes' pages all over: 128 MiB keep them at hand.
        writer.Execute("PRAGMA cache_size = -131072;");
    }

    public override string Place { get; }

    public override IJournal Journal { get; }

    /// <summary>Opens the file, making it if it is not there, and brings its schema up to date.</summary>
    /// <exception cref="InvalidDataException">The file was written by a newer version of the service.</exception>
    public static SqliteDatabase Open(string path)
    {
        if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder) Directory.CreateDirectory(folder);
        var database = new SqliteDatabase(path, new SqliteConnectionStringBuilder { DataSource = path, Pooling = false, DefaultTimeout = BusySeconds }.ToString());
        database.writer.Execute("PRAGMA journal_mode = WAL;");
        database.Migrate(path);
        database.statements = new Statements(database.writer);
        database.checkpointer = new Checkpointer(database);
        return database;
    }

    /// <summary>
    /// Opens a file to read it and nothing else: it is not migrated, and a service may go on writing it. (SQLite may leave
    /// an empty log beside it, as for every reader.)
    /// </summary>
    /// <exception cref="InvalidDataException">The file is no journal, or was written by a newer version of the service.</exception>
    public static SqliteDatabase OpenReadOnly(string path)
    {
        try
        {
            return Open(path);
        }
        catch (SqliteException e) when (e.SqliteErrorCode is raw.SQLITE_CANTOPEN or raw.SQLITE_READONLY && File.Exists(path) && !File.Exists($"{path}-wal"))
        {
            // In a folder that cannot be written not even an empty log can be had. Nobody writes there, so none is needed.
            return Open($"{new Uri(Path.GetFullPath(path)).AbsoluteUri}?immutable=1");
        }

        SqliteDatabase Open(string source)
        {
            var database = new SqliteDatabase(path, new SqliteConnectionStringBuilder { DataSource = source, Mode = SqliteOpenMode.ReadOnly, Pooling = false }.ToString());
            try
            {
                database.CheckSchema(path);
                return database;
            }
            catch
            {
                database.writer.Dispose();
                throw;
            }
        }
    }

    /// <summary>As <see cref="OpenReadOnly"/>, for a file that everything is to be moved out of: one of this build's schema.</summary>
    /// <inheritdoc cref="OpenReadOnly" path="/exception"/>
    public static SqliteDatabase OpenToMove(string path)
    {
        var database = OpenReadOnly(path);
        var (current, latest) = (database.writer.ExecuteScalar<int>("SELECT max(version) FROM schema_version"), Migrations.Of("Sqlite").Keys.Max());
        if (current == latest) return database;
        database.writer.Dispose();
        throw new InvalidDataException($"'{path}' has schema {current}, and this build's is {latest}: start the service on it once, which brings it up to date, and stop it again.");
    }

    /// <summary>Nobody writes the file from now on until this is disposed of; reading it goes on.</summary>
    /// <returns>Null where the file cannot be written anyway.</returns>
    /// <exception cref="IOException">Somebody has it open.</exception>
    public static IDisposable? Hold(string path)
    {
        try
        {
            RequireAlone(path);
            var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Mode = SqliteOpenMode.ReadWrite, Pooling = false, DefaultTimeout = 1 }.ToString());
            try
            {
                connection.Open();
                connection.Execute("BEGIN IMMEDIATE");
                return connection;
            }
            catch
            {
                connection.Dispose();
                throw;
            }
        }
        catch (SqliteException e) when (e.SqliteErrorCode is raw.SQLITE_BUSY or raw.SQLITE_LOCKED)
        {
            throw new IOException($"'{path}' is open in another process: stop the service that writes it, and whatever else looks into it.", e);
        }
        catch (SqliteException e) when (e.SqliteErrorCode is raw.SQLITE_READONLY or raw.SQLITE_CANTOPEN)
        {
            return null;
        }
    }

    /// <summary>Whoever works with a write-ahead log keeps a lock for as long as the file is open: here all of it is asked for, and given back.</summary>
    private static void RequireAlone(string path)
    {
        // Not by a connection of the driver's: the lock must be asked for before anything is read.
        var result = raw.sqlite3_open_v2(path, out var handle, raw.SQLITE_OPEN_READWRITE, null);
        using (handle)
        {
            if (result == raw.SQLITE_OK) result = raw.sqlite3_exec(handle, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT");
            if (result != raw.SQLITE_OK) throw new SqliteException(raw.sqlite3_errmsg(handle).utf8_to_string(), result);
        }
    }

    public override Task<T> Read<T>(Func<DbConnection, T> read)
    {
        var connection = readers.TryTake(out var idle) ? idle : OpenConnection();
        try
        {
            return Task.FromResult(read(connection));
        }
        finally
        {
            readers.Add(connection);
        }
    }

    public override async Task<T> Write<T>(Func<DbConnection, T> write)
    {
        await writing.WaitAsync();
        try
        {
            return InTransaction(() => write(writer));
        }
        finally
        {
            Interlocked.Increment(ref writes);
            writing.Release();
        }
    }

    /// <summary>As <see cref="Write"/>, on the caller's thread, with the transaction in the caller's hands.</summary>
    internal T WithWriter<T>(Func<Statements, T> write)
    {
        writing.Wait();
        try
        {
            return write(statements!);
        }
        finally
        {
            Interlocked.Increment(ref writes);
            writing.Release();
        }
    }

    /// <summary>How often was written, for the checkpointer to see whether there is anything to do.</summary>
    internal long Writes => Interlocked.Read(ref writes);

    /// <summary>Keeps everybody from writing meanwhile.</summary>
    internal void WithWriterHeld(Func<SqliteConnection, int> work)
    {
        writing.Wait();
        try
        {
            work(writer);
        }
        finally
        {
            writing.Release();
        }
    }

    internal SqliteConnection OpenConnection()
    {
        var connection = new SqliteConnection(connectionString);
        try
        {
            connection.Open();
            // FULL: a commit is on the disk before it is answered. A reader of another process may hold a lock for a moment.
            // No commit checkpoints: the checkpointer does.
            connection.Execute($"PRAGMA synchronous = FULL; PRAGMA busy_timeout = {BusySeconds * 1000}; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -16384;");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    public override Task<Inventory> TakeInventory() => Read(connection => SqliteInventory.Take((SqliteConnection)connection));

    public override async ValueTask DisposeAsync()
    {
        checkpointer?.Dispose();
        await writing.WaitAsync();
        // A connection stays open, and the write-ahead log beside the file, for as long as it has a statement.
        statements?.Dispose();
        await writer.DisposeAsync();
        foreach (var reader in readers) await reader.DisposeAsync();
        writing.Dispose();
    }

    private T InTransaction<T>(Func<T> write)
    {
        writer.Execute("BEGIN IMMEDIATE");
        try
        {
            var result = write();
            writer.Execute("COMMIT");
            return result;
        }
        catch
        {
            // A failed COMMIT may have ended the transaction by itself; its error is the one that matters.
            if (raw.sqlite3_get_autocommit(writer.Handle) == 0) writer.Execute("ROLLBACK");
            throw;
        }
    }

    private void CheckSchema(string path)
    {
        if (writer.ExecuteScalar<int>("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'") == 0)
            throw new InvalidDataException($"'{path}' is a SQLite database, and no journal of this service.");
        Migrations.RefuseNewer(path, writer.ExecuteScalar<int>("SELECT coalesce(max(version), 0) FROM schema_version"), Migrations.Of("Sqlite").Keys.Max());
    }

    private void Migrate(string path)
    {
        var scripts = Migrations.Of("Sqlite");
        var latest = scripts.Keys.Max();
        InTransaction(() =>
        {
            writer.Execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)");
            var current = writer.ExecuteScalar<int>("SELECT coalesce(max(version), 0) FROM schema_version");
            Migrations.RefuseNewer(path, current, latest);
            foreach (var (version, sql) in scripts.Where(s => s.Key > current))
            {
                writer.Execute(sql);
                writer.Execute("INSERT INTO schema_version VALUES (@version, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))", new { version });
            }
            return 0;
        });
    }
}
