using System.ComponentModel;
using Billing.Tests.Postgres;

namespace Billing.Bench;

/// <summary>What this run starts on this machine: databases, services on them, and the baselines' server. What is not there is said.</summary>
internal sealed class Machine
{
    /// <summary>Beside the defaults: memory and log as for a server that does some work. Every commit waits for the disk.</summary>
    private static readonly string[] PostgresSettings = ["shared_buffers=512MB", "max_wal_size=4GB", "max_connections=300"];

    private readonly Options options;
    private readonly TemporaryFolder folder;
    private int made;

    public Machine(Options options, TemporaryFolder folder)
    {
        this.options = options;
        this.folder = folder;
        Postgres = options.Without.Contains("postgres") ? Skip<PostgresServer>("PostgreSQL", "it was asked to be left out") : StartPostgres();
        Redis = options.Without.Contains("redis")
            ? Skip<RedisServer>("Redis", "it was asked to be left out")
            : RedisServer.TryStart(folder.New("redis")) ?? Skip<RedisServer>("Redis", "there is no redis-server on this machine");
        if (Postgres is not null) Notes.Add($"PostgreSQL {Postgres.Sql("postgres", "SHOW server_version")} of this run's own: fsync and synchronous_commit on, {string.Join(", ", PostgresSettings)}.");
        if (Redis is not null) Notes.Add("Redis of this run's own, in memory only: no snapshots and no append-only file, so that what it acknowledges is lost with it.");
    }

    /// <summary>Null when it is left out.</summary>
    public PostgresServer? Postgres { get; }

    /// <summary>Null when it is left out.</summary>
    public RedisServer? Redis { get; }

    /// <summary>What is not measured and why, and how the others are set.</summary>
    public List<string> Notes { get; } = [];

    /// <summary>Where the ledger's journal can be: each time a new, empty one.</summary>
    public IEnumerable<(string Subject, Func<ServerProcess> Start)> Ledgers()
    {
        yield return (Subject.Sqlite, () => StartOnSqlite().Server);
        if (Postgres is not null) yield return (Subject.Postgres, () => StartOnPostgres().Server);
    }

    /// <summary>Every subject that is measured over HTTP, each with its organizations opened.</summary>
    public IReadOnlyList<Subject> StartSubjects()
    {
        var subjects = new List<Subject>();
        var (onSqlite, file) = StartOnSqlite();
        var sqlite = JournalReader.OfFile(file);
        subjects.Add(new Subject(Subject.Sqlite, onSqlite, "/v1", new Store(sqlite, (rows, group) =>
        {
            var raw = folder.New($"raw-{++made}");
            var measured = RawSqlite.Measure(Path.Combine(raw, "raw.db"), sqlite.Schema(), rows, group);
            Directory.Delete(raw, recursive: true);
            return measured;
        })));
        if (Postgres is not null)
        {
            var (onPostgres, connectionString) = StartOnPostgres();
            subjects.Add(new Subject(Subject.Postgres, onPostgres, "/v1", new Store(
                JournalReader.OfServer(connectionString), (rows, group) => RawPostgres.Measure(connectionString, rows, group))));
        }
        if (Postgres is null && Redis is null) return subjects;

        var settings = new Dictionary<string, string>();
        if (Postgres is not null)
        {
            var database = Postgres.ConnectionString(Postgres.CreateDatabase());
            BaselineServer.MakeRows(database, Math.Max(options.Organizations, options.Many));
            settings[Variable(BaselineServer.PostgresSetting)] = $"{database};{BaselineServer.PostgresPool}";
        }
        if (Redis is not null) settings[Variable(BaselineServer.RedisSetting)] = Redis.EndPoint.Port.ToString();
        // With the service's own settings of the runtime: how garbage is collected, for one.
        var baselines = ServerProcess.Start(
            typeof(Machine).Assembly.Location, [BaselineServer.Argument], folder.New("baselines"), settings, Path.ChangeExtension(Service, ".runtimeconfig.json"));
        if (Postgres is not null) subjects.Add(new Subject(Subject.Row, baselines, BaselineServer.PostgresRoot, null));
        if (Redis is not null) subjects.Add(new Subject(Subject.Redis, baselines, BaselineServer.RedisRoot, null));
        return subjects;
    }

    private PostgresServer? StartPostgres()
    {
        try
        {
            return Cleanup.Add(PostgresServer.Start(settings: PostgresSettings));
        }
        catch (Exception e) when (e is InvalidOperationException or Win32Exception)
        {
            return Skip<PostgresServer>("PostgreSQL", e.Message);
        }
    }

    private (ServerProcess Server, string File) StartOnSqlite()
    {
        var own = folder.New($"sqlite-{++made}");
        var file = Path.Combine(own, "ledger.db");
        return (StartLedger(own, "Billing__Journal", file), file);
    }

    private (ServerProcess Server, string ConnectionString) StartOnPostgres()
    {
        var connectionString = Postgres!.ConnectionString(Postgres.CreateDatabase());
        return (StartLedger(folder.New($"postgres-{++made}"), "ConnectionStrings__Ledger", connectionString), connectionString);
    }

    private ServerProcess StartLedger(string own, string variable, string journal)
    {
        if (!File.Exists(Service)) throw new BenchException($"There is no '{Service}'. Name the service's Billing.Api.dll with --api.");
        return ServerProcess.Start(Service, [], own, new Dictionary<string, string> { ["Billing__Catalog"] = "catalogs/summarizer.json", ["STRIPE_WEBHOOK_SECRET"] = Webhooks.Secret, [variable] = journal });
    }

    private T? Skip<T>(string what, string why) where T : class
    {
        Notes.Add($"{what} is left out: {why}");
        return null;
    }

    private static string Variable(string setting) => setting.Replace(":", "__", StringComparison.Ordinal);

    /// <summary>Beside this project's output is the service's, of the same configuration.</summary>
    private string Service => options.ApiFile ?? Path.Combine(AppContext.BaseDirectory.Replace("Billing.Bench", "Billing.Api", StringComparison.Ordinal), "Billing.Api.dll");
}
