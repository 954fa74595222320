using System.Data.Common;
using System.Net.Sockets;
using Billing.Grains.Journal;
using Dapper;
using Npgsql;

namespace Billing.Silo.Storage.Postgres;

/// <summary>A PostgreSQL database, 13 or newer: a pool of connections to read with, and one connection that appends.</summary>
/// <remarks>
/// Whatever fails here ends within the timeout, as a <see cref="DbException"/>, <see cref="IOException"/> or
/// <see cref="TimeoutException"/>.
/// </remarks>
public sealed class PostgresDatabase : Database
{
    public static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(5);

    /// <summary>Processes that start at once wait for each other here. Any number that nobody else locks by.</summary>
    private const long MigrationLock = 4_781_120_260_100_001;

    /// <summary>What the server is told is connected.</summary>
    internal const string ServiceName = "billing-ledger", MoverName = "billing-migrate";

    /// <summary>The server has pg_current_xact_id from here on.</summary>
    private const int OldestServer = 13;

    private const int MaxReaders = 20;

    /// <summary>So many threads may wait for the database at most, whatever becomes of it. The journal's reading takes none.</summary>
    private const int MaxBlocked = 8;

    private readonly NpgsqlDataSource readers;
    private readonly NpgsqlDataSource writers;
    private readonly PostgresJournal journal;
    private readonly SemaphoreSlim blocking = new(MaxBlocked, MaxBlocked);
    private readonly TimeSpan? timeout;

    private PostgresDatabase(NpgsqlConnectionStringBuilder address, TimeSpan? timeout, bool readOnly)
    {
        this.timeout = timeout;
        Place = PostgresAddress.Shown(address);
        // A plan is made for each reading: which partition it is in and how many rows are wanted make all the difference, and
        // planning is cheap. Pages of a stream and of the journal come in the order of their index, also while the planner has
        // not seen the tables grow: a bitmap or a sort would read all that follows for every page.
        // The writer's statements take the same way whatever the tables look like just now.
        var access = readOnly ? "; SET default_transaction_read_only = on" : "";
        readers = Source(address, pooled: true, $"SET plan_cache_mode = force_custom_plan; SET enable_bitmapscan = off; SET enable_sort = off; SET jit = off{access}");
        writers = Source(address, pooled: false, GroupWriter.Session + access);
        journal = new PostgresJournal(this);
    }

    public override string Place { get; }

    public override IJournal Journal => journal;

    /// <summary>Opens the database and brings its schema up to date. Several processes may do so at the same time.</summary>
    /// <param name="connectionString">A <c>postgresql://</c> URL or Npgsql's keywords.</param>
    /// <param name="timeout">How long callers wait for an answer at most; 5 s when null.</param>
    /// <exception cref="FormatException">That is no address.</exception>
    /// <exception cref="IOException">It cannot be reached, or refuses.</exception>
    /// <exception cref="InvalidDataException">It was written by a newer version of the service, or cannot hold a journal.</exception>
    public static PostgresDatabase Open(string connectionString, TimeSpan? timeout = null)
    {
        var database = new PostgresDatabase(PostgresAddress.Parse(connectionString), timeout ?? DefaultTimeout, readOnly: false);
        return database.Opened(connection =>
        {
            database.Migrate(connection);
            if (LedgerMove.IsUnfinished(connection)) throw new InvalidDataException($"{database.Place} is filled by half: `billing migrate` was broken off, or is running. Run it to its end.");
        });
    }

    /// <summary>As <see cref="Open"/>, to be filled with what is in a file; waiting takes any time.</summary>
    /// <param name="onlyLook">It is not migrated, and need not be a journal at all: see <see cref="HasJournal"/>.</param>
    /// <inheritdoc cref="Open" path="/exception"/>
    public static PostgresDatabase OpenToMove(string connectionString, bool onlyLook)
    {
        var address = PostgresAddress.Parse(connectionString);
        address.ApplicationName = MoverName;
        var database = new PostgresDatabase(address, null, onlyLook);
        return database.Opened(connection =>
        {
            if (!onlyLook) database.Migrate(connection);
            else if (HasSchema(connection)) database.CheckSchema(connection);
        });
    }

    /// <summary>Opens a database to read it and nothing else: it is not migrated, and a service may go on writing it. Reading may take any time.</summary>
    /// <inheritdoc cref="Open" path="/exception"/>
    public static PostgresDatabase OpenReadOnly(string connectionString) => OpenExisting(connectionString, readOnly: true);

    /// <summary>As <see cref="OpenReadOnly"/>, to archive bodies or to put them back.</summary>
    /// <inheritdoc cref="Open" path="/exception"/>
    public static PostgresDatabase OpenToArchive(string connectionString) => OpenExisting(connectionString, readOnly: false);

    private static PostgresDatabase OpenExisting(string connectionString, bool readOnly)
    {
        var database = new PostgresDatabase(PostgresAddress.Parse(connectionString), null, readOnly);
        return database.Opened(database.CheckSchema);
    }

    public override Task<T> Read<T>(Func<DbConnection, T> read) => OnThread(() => Again(() =>
    {
        using var connection = readers.OpenConnection();
        return read(connection);
    }));

    public override Task<T> Write<T>(Func<DbConnection, T> write) => OnThread(() =>
    {
        using var connection = readers.OpenConnection();
        using var transaction = connection.BeginTransaction();
        var result = write(connection);
        transaction.Commit();
        return result;
    });

    public override Task<Inventory> TakeInventory() => Read(PostgresInventory.Take);

    /// <summary>Whether there is a journal in it, of whatever schema.</summary>
    internal Task<bool> HasJournal() => Read(connection => HasSchema((NpgsqlConnection)connection));

    public override async ValueTask DisposeAsync()
    {
        journal.Dispose();
        await readers.DisposeAsync();
        await writers.DisposeAsync();
        blocking.Dispose();
    }

    /// <summary>Reads without holding a thread.</summary>
    internal async ValueTask<T> Read<T>(Func<NpgsqlConnection, Task<T>> read)
    {
        for (var again = true; ; again = false)
        {
            try
            {
                await using var connection = await readers.OpenConnectionAsync();
                return await read(connection);
            }
            catch (NpgsqlException e) when (again && IsStale(e))
            {
                readers.Clear();
            }
            catch (Exception e) when (Failure(e) is { } failure)
            {
                throw failure;
            }
        }
    }

    /// <summary>A connection of its own, to append with.</summary>
    internal NpgsqlConnection OpenWriter() => writers.OpenConnection();

    /// <summary>What callers are to be told instead of this, where that is something else.</summary>
    internal static Exception? Failure(Exception e) => e switch
    {
        PostgresException { SqlState: PostgresErrorCodes.DataCorrupted or PostgresErrorCodes.IndexCorrupted } => new DamagedEventException(null, $"The database is damaged: {e.Message}"),
        ObjectDisposedException or InvalidOperationException { Source: nameof(Npgsql) } => new IOException("The connection to PostgreSQL was lost.", e),
        _ => null,
    };

    private async Task<T> OnThread<T>(Func<T> work)
    {
        if (!await blocking.WaitAsync(timeout ?? Timeout.InfiniteTimeSpan)) throw new TimeoutException("PostgreSQL is busy, or does not answer.");
        try
        {
            return await Task.Run(work);
        }
        catch (Exception e) when (Failure(e) is { } failure)
        {
            throw failure;
        }
        finally
        {
            blocking.Release();
        }
    }

    /// <summary>A server that was started anew leaves connections in the pool that nobody listens to: reading is tried once more, on a new one.</summary>
    private T Again<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (NpgsqlException e) when (IsStale(e))
        {
            readers.Clear();
            return read();
        }
    }

    private static bool IsStale(NpgsqlException e) =>
        e is PostgresException { SqlState: PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown } or { InnerException: IOException or SocketException };

    private NpgsqlDataSource Source(NpgsqlConnectionStringBuilder address, bool pooled, string session)
    {
        var own = new NpgsqlConnectionStringBuilder(address.ConnectionString)
        {
            Pooling = pooled, NoResetOnClose = true, MaxAutoPrepare = pooled ? 50 : 0, AutoPrepareMinUsages = 2, Enlist = false, CancellationTimeout = -1, TcpKeepAlive = true,
            ApplicationName = address.ApplicationName ?? ServiceName, MaxPoolSize = address.ContainsKey("Maximum Pool Size") ? address.MaxPoolSize : MaxReaders,
        };
        if (timeout is { } limit)
        {
            // Half to connect, half for an answer. The server gives up, too, so that nothing that was given up here holds locks there.
            own.Timeout = own.CommandTimeout = Math.Max(1, (int)(limit.TotalSeconds / 2));
            session += $"; SET statement_timeout = {own.CommandTimeout * 1_000}; SET lock_timeout = {own.CommandTimeout * 1_000}";
        }
        else
        {
            own.CommandTimeout = 0;
        }
        session += "; SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3";
        var source = new NpgsqlDataSourceBuilder(own.ConnectionString);
        source.UsePhysicalConnectionInitializer(connection => connection.Execute(session), connection => connection.ExecuteAsync(session));
        return source.Build();
    }

    // ---- opening

    private PostgresDatabase Opened(Action<NpgsqlConnection> check)
    {
        try
        {
            using var connection = writers.OpenConnection();
            check(connection);
            return this;
        }
        catch (Exception e)
        {
            DisposeAsync().AsTask().GetAwaiter().GetResult();
            if (e is NpgsqlException) throw new IOException($"{Place} cannot be opened: {e.Message}{(e.InnerException is { } inner ? $" ({inner.Message})" : "")}", e);
            throw;
        }
    }

    private void Migrate(NpgsqlConnection connection)
    {
        if (connection.PostgreSqlVersion.Major < OldestServer)
            throw new InvalidDataException($"{Place} is PostgreSQL {connection.PostgreSqlVersion}; the journal needs {OldestServer} or newer.");
        if (connection.ExecuteScalar<string>("SHOW server_encoding") is var encoding and not "UTF8")
            throw new InvalidDataException($"{Place} has the encoding {encoding}; the journal needs a database made with ENCODING 'UTF8'.");
        var scripts = Migrations.Of("Postgres");
        var latest = scripts.Keys.Max();
        using var transaction = connection.BeginTransaction();
        connection.Execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0", commandTimeout: 0);
        connection.Execute($"SELECT pg_advisory_xact_lock({MigrationLock})", commandTimeout: 0);
        // Who may not make tables can still open what is there already.
        if (!HasSchema(connection)) connection.Execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)");
        var current = connection.ExecuteScalar<int>("SELECT coalesce(max(version), 0) FROM schema_version");
        Migrations.RefuseNewer(Place, current, latest);
        foreach (var (version, sql) in scripts.Where(s => s.Key > current))
        {
            connection.Execute(sql, commandTimeout: 0);
            connection.Execute("INSERT INTO schema_version VALUES (@version, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))", new { version });
        }
        transaction.Commit();
    }

    private void CheckSchema(NpgsqlConnection connection)
    {
        if (!HasSchema(connection)) throw new InvalidDataException($"{Place} is a PostgreSQL database, and no journal of this service.");
        Migrations.RefuseNewer(Place, connection.ExecuteScalar<int>("SELECT coalesce(max(version), 0) FROM schema_version"), Migrations.Of("Postgres").Keys.Max());
    }

    private static bool HasSchema(NpgsqlConnection connection) => connection.ExecuteScalar<bool>("SELECT to_regclass('schema_version') IS NOT NULL");
}
