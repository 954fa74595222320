using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using Billing.Tests.Postgres;

namespace Billing.Bench;

/// <summary>What this run starts on this machine: databases, services on them, and the baselines' server. What is not there is said.</summary>
internal sealed class Machine
{
    /// <summary>Beside the defaults: memory and log as for a server that does some work. Every commit waits for the disk.</summary>
    private static readonly string[] PostgresSettings = ["shared_buffers=512MB", "max_wal_size=4GB", "max_connections=300"];

    private const int Silos = 2;

    private static readonly TimeSpan ClusterTimeout = TimeSpan.FromSeconds(30);

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

    /// <summary>How the ledger can run: each time over a new, empty journal.</summary>
    public IEnumerable<Ledger> Ledgers()
    {
        var alone = !options.Without.Contains("alone");
        if (alone) yield return OnSqlite();
        if (Postgres is null) yield break;
        if (alone) yield return OnPostgres(Subject.Postgres, StartAlone);
        if (HasCluster) yield return OnPostgres(Subject.Silos, StartCluster);
    }

    /// <summary>Every subject that is measured over HTTP, each with its organizations opened.</summary>
    public IReadOnlyList<Subject> StartSubjects()
    {
        var subjects = new List<Subject>();
        foreach (var ledger in Ledgers())
        {
            var server = ledger.Start();
            var journal = ledger.OpenJournal();
            subjects.Add(new Subject(ledger.Subject, server, "/v1", new Store(journal, (rows, group) =>
            {
                if (ledger.ConnectionString is { } connectionString) return RawPostgres.Measure(connectionString, rows, group);
                var raw = folder.New($"raw-{++made}");
                var measured = RawSqlite.Measure(Path.Combine(raw, "raw.db"), journal.Schema(), rows, group);
                Directory.Delete(raw, recursive: true);
                return measured;
            })));
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

    /// <summary>Of the whole database, with its indexes and its log.</summary>
    public long SizeOnDisk(Ledger ledger)
    {
        if (ledger.File is { } file) return Directory.GetFiles(Path.GetDirectoryName(file)!, Path.GetFileName(file) + "*").Sum(f => new FileInfo(f).Length);
        return long.Parse(Postgres!.Sql(ledger.ConnectionString!.Split("Database=")[1], "SELECT pg_database_size(current_database())"), CultureInfo.InvariantCulture);
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

    private bool HasCluster => Engine.HasSilos && !options.Without.Contains("silos");

    private Ledger OnSqlite()
    {
        var own = folder.New($"sqlite-{++made}");
        var file = Path.Combine(own, "ledger.db");
        return new Ledger(Subject.Sqlite, file, null, () => StartAlone(own, "Billing__Journal", file));
    }

    private Ledger OnPostgres(string subject, Func<string, string, string, ServerProcess> start)
    {
        var own = folder.New($"postgres-{++made}");
        var connectionString = Postgres!.ConnectionString(Postgres.CreateDatabase());
        return new Ledger(subject, null, connectionString, () => start(own, "ConnectionStrings__Ledger", connectionString));
    }

    /// <summary>One process with everything in it.</summary>
    private ServerProcess StartAlone(string own, string variable, string journal)
    {
        var server = Launch(Service, own, variable, journal, []);
        server.AwaitFirstAnswer("/v1/ping");
        return server;
    }

    /// <summary>Silos, and the service as their client.</summary>
    private ServerProcess StartCluster(string own, string variable, string journal)
    {
        // The service is first: it makes the tables, and silos wait for the catalog that it publishes.
        var server = Launch(Service, own, variable, journal, new() { ["Cluster__Mode"] = "client" });
        server.AwaitFirstAnswer("/v1/ping");
        server.Behind = [.. Enumerable.Range(0, Silos).Select(_ => Launch(Silo, own, variable, journal, new()
        {
            ["Cluster__SiloPort"] = $"{ServerProcess.FreeEndPoint().Port}", ["Cluster__GatewayPort"] = $"{ServerProcess.FreeEndPoint().Port}",
        }))];
        foreach (var silo in server.Behind) silo.AwaitFirstAnswer("/health");
        // Organizations go to the silos that there are when they are first asked.
        using var http = new HttpClient();
        for (var started = Stopwatch.GetTimestamp(); !server.Behind.Append(server).All(SeesAll); Thread.Sleep(50))
            if (Stopwatch.GetElapsedTime(started) > ClusterTimeout) throw new BenchException($"The {Silos} silos did not find each other within {ClusterTimeout.TotalSeconds} seconds.");
        return server;

        bool SeesAll(ServerProcess process)
        {
            using var answer = http.Send(new HttpRequestMessage(HttpMethod.Get, $"http://{process.EndPoint}/health/ready"));
            using var body = new StreamReader(answer.Content.ReadAsStream());
            return body.ReadToEnd().Contains($"\"silos\":{Silos}", StringComparison.Ordinal);
        }
    }

    private static ServerProcess Launch(string program, string own, string variable, string journal, Dictionary<string, string> settings)
    {
        if (!File.Exists(program)) throw new BenchException($"There is no '{program}'. Name the service's Billing.Api.dll with --api.");
        var environment = new Dictionary<string, string>
        {
            ["Billing__Catalog"] = "catalogs/summarizer.json", ["STRIPE_WEBHOOK_SECRET"] = Webhooks.Secret, [variable] = journal,
            ["Cluster__Address"] = "127.0.0.1", ["Cluster__SiloPort"] = "0", ["Cluster__GatewayPort"] = "0",
        };
        foreach (var (name, value) in settings.Concat(Tokens.Settings)) environment[name] = value;
        return ServerProcess.Launch(program, [], own, environment);
    }

    private T? Skip<T>(string what, string why) where T : class
    {
        Notes.Add($"{what} is left out: {why}");
        return null;
    }

    private static string Variable(string setting) => setting.Replace(":", "__", StringComparison.Ordinal);

    /// <summary>Beside this project's output is the service's, of the same configuration.</summary>
    private string Service => options.ApiFile ?? Path.Combine(AppContext.BaseDirectory.Replace("Billing.Bench", "Billing.Api", StringComparison.Ordinal), "Billing.Api.dll");

    /// <summary>Beside the service's.</summary>
    private string Silo => Service.Replace("Billing.Api", "Billing.Silo", StringComparison.Ordinal);
}

/// <summary>A way to run the ledger, over a journal of its own that outlasts the processes.</summary>
/// <param name="Subject">Its name in the report.</param>
/// <param name="File">The journal's file, when it is in one.</param>
/// <param name="ConnectionString">The journal's database, when it is on a server.</param>
/// <param name="Start">May be done again after what was started is gone.</param>
internal sealed record Ledger(string Subject, string? File, string? ConnectionString, Func<ServerProcess> Start)
{
    public JournalReader OpenJournal() => File is not null ? JournalReader.OfFile(File) : JournalReader.OfServer(ConnectionString!);
}
