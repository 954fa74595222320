using System.IO.Pipelines;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo.Storage.Sqlite;
using Billing.Tests.Grains;
using Microsoft.Data.Sqlite;
using NodaTime;

namespace Billing.Tests.Journal;

/// <summary>
/// A journal's file with a short life of two organizations in it, to be tampered with as somebody with SQL, or with an
/// editor, would. The life is lived once; every test gets a copy.
/// </summary>
internal sealed class LedgerFile : IDisposable
{
    public const string Organization = "acme-corp";
    public const string Other = "zenith";

    private static readonly Lazy<Task<(byte[] File, long Events)>> Made = new(Make);

    private readonly string folder = Directory.CreateTempSubdirectory("billing-").FullName;

    private LedgerFile(byte[] untouched, long events)
    {
        (Untouched, Events) = (untouched, events);
        File.WriteAllBytes(Path, untouched);
    }

    public string Folder => folder;

    public string Path => System.IO.Path.Combine(folder, "ledger.db");

    public byte[] Untouched { get; }

    /// <summary>How many events <see cref="Organization"/> has.</summary>
    public long Events { get; }

    public static async Task<LedgerFile> Create()
    {
        var (file, events) = await Made.Value;
        return new LedgerFile(file, events);
    }

    public SqliteConnection Connect() => Connect(Path);

    private static SqliteConnection Connect(string path)
    {
        SQLitePCL.Batteries_V2.Init();
        var connection = new SqliteConnection($"Data Source={path};Pooling=False");
        connection.Open();
        using var command = connection.CreateCommand();
        // Nobody pulls the plug here.
        command.CommandText = "PRAGMA synchronous = OFF";
        command.ExecuteNonQuery();
        return connection;
    }

    public void Execute(string sql)
    {
        using var connection = Connect();
        Execute(connection, sql);
    }

    public static void Execute(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        Assert.NotEqual(0, command.ExecuteNonQuery());
    }

    public void Restore()
    {
        foreach (var file in Directory.GetFiles(folder)) File.Delete(file);
        File.WriteAllBytes(Path, Untouched);
    }

    public async Task<ChainReport> Verify(StreamHead? kept = null, string organization = Organization)
    {
        await using var database = SqliteDatabase.OpenReadOnly(Path);
        return await ChainVerifier.Verify(new SqliteJournal(database), organization, kept: kept);
    }

    public async Task AssertFound(long version, string because)
    {
        var report = await Verify();
        Assert.Contains(because, report.Problem, StringComparison.Ordinal);
        Assert.Equal(version, report.FirstBadVersion);
    }

    public async Task<byte[]> Export(string organization = Organization)
    {
        await using var database = SqliteDatabase.OpenReadOnly(Path);
        return await Written(await LedgerStream.Of(new SqliteJournal(database), organization));
    }

    /// <summary>The stream as an export's bytes.</summary>
    public static async Task<byte[]> Written(LedgerStream stream)
    {
        var to = new MemoryStream();
        await LedgerExport.Write(stream, PipeWriter.Create(to, new StreamPipeWriterOptions(leaveOpen: true)));
        return to.ToArray();
    }

    /// <summary>An export, verified as whoever has nothing else would.</summary>
    public static async Task<ChainReport> VerifyExport(byte[] export, StreamHead? kept = null)
    {
        try
        {
            return await ChainVerifier.Verify(await LedgerExport.Read(new MemoryStream(export)), kept: kept);
        }
        catch (DamagedEventException damaged)
        {
            return new ChainReport("", 0, [], damaged.Version, damaged.Message);
        }
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private static async Task<(byte[], long)> Make()
    {
        var path = System.IO.Path.Combine(Directory.CreateTempSubdirectory("billing-").FullName, "ledger.db");
        long events;
        await using (var database = SqliteDatabase.Open(path))
        await using (var host = new LedgerHost(new SqliteJournal(database), () => Sessions.Catalogs, long.MaxValue))
        {
            foreach (var id in new[] { Other, Organization }) await WriteHistory(host.Organization(id));
            events = (await host.Organization(Organization).Read(Sessions.At))!.Version;
        }
        // One file: what is in the write-ahead log is brought home when the last connection closes.
        Assert.False(File.Exists($"{path}-wal"));
        // Nothing stands beside it from now on either, so that it can be put back by copying it.
        using (var connection = Connect(path))
        {
            using var command = connection.CreateCommand();
            command.CommandText = "PRAGMA journal_mode = DELETE";
            Assert.Equal("delete", command.ExecuteScalar());
        }
        var file = await File.ReadAllBytesAsync(path);
        Directory.Delete(System.IO.Path.GetDirectoryName(path)!, recursive: true);
        return (file, events);
    }

    /// <summary>A command with several events, tokens, windows that turn, and numbers that differ from event to event.</summary>
    private static async Task WriteHistory(IOrganizationLedger organization)
    {
        await Record(Sessions.Open());
        await Record(new GrantTokens(GrantKind.Promotional, 500, 10, Sessions.At + Duration.FromDays(2), "Welcome") { Id = "grant", ContentHash = [1, 2, 3], At = Sessions.At });
        for (var i = 1; i <= 10; i++) await Record(Sessions.Use($"call-{i}", "calls", i));
        for (var i = 1; i <= 5; i++) await Record(Sessions.Use($"render-{i}", "renders", i));
        // A day, a month and the tokens have run out by now: this command writes several events.
        var later = Sessions.At + Duration.FromDays(40);
        await Record(Sessions.Use("much-later", "jobs", 7) with { At = later, Metadata = new Dictionary<string, string> { ["größe"] = "🧾" } });
        for (var i = 1; i <= 10; i++) await Record(Sessions.Use($"later-{i}", "jobs", i) with { At = later });

        async Task Record(Command command) => Assert.NotEmpty((await organization.Execute(command)).Events);
    }
}
