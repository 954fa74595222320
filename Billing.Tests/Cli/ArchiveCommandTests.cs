using Billing.Cli;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Silo.Storage.Postgres;
using Billing.Tests.Grains;
using Billing.Tests.Postgres;
using Spectre.Console;

namespace Billing.Tests.Cli;

/// <summary>`billing ledger archive`: bodies leave the journal, and nothing else does.</summary>
public sealed class ArchiveCommandTests : IAsyncLifetime
{
    private const int Events = 21;

    private readonly string name = PostgresServer.Shared.CreateDatabase();
    private readonly string folder = Directory.CreateTempSubdirectory("billing-").FullName;
    private PostgresDatabase database = null!;

    public async Task InitializeAsync()
    {
        database = PostgresDatabase.Open(PostgresServer.Shared.ConnectionString(name), TimeSpan.FromMinutes(1));
        await using var host = new LedgerHost(database.Journal, () => Sessions.Catalogs, long.MaxValue);
        foreach (var organization in (string[])["acme", "other"])
        {
            await host.Organization(organization).Execute(Sessions.Open());
            foreach (var use in Sessions.Uses("use-", Events - 1)) await host.Organization(organization).Execute(use);
        }
    }

    public async Task DisposeAsync()
    {
        await database.DisposeAsync();
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task without_a_snapshot_nothing_is_archived_and_it_is_said_why()
    {
        Assert.Contains("has no snapshot", await Refused("--before-version", "11"), StringComparison.Ordinal);
        Snapshot(9);
        Assert.Contains("before version 10 can be archived", await Refused("--before-version", "11"), StringComparison.Ordinal);
        Assert.Contains("There is no version 40", await Refused("--before-version", "41"), StringComparison.Ordinal);
        Assert.Contains("There is no version 0", await Refused("--before-version", "1"), StringComparison.Ordinal);
        Sql("UPDATE snapshots SET hash = 'x', version = 15");
        Assert.Contains("has no snapshot", await Refused("--before-version", "11"), StringComparison.Ordinal);

        Assert.Equal("0", Sql("SELECT count(*) FROM events WHERE body IS NULL"));
        Assert.Empty(Directory.GetFiles(folder));
    }

    [Fact]
    public async Task bodies_leave_the_journal_and_chain_and_idempotency_stay_whole()
    {
        var before = await database.Journal.ReadStream("acme", 1, 100);
        Snapshot(15);

        var file = await Archive(11, "first.ndjson");

        Assert.Equal("acme|10", Sql("SELECT organization, count(*) FROM events WHERE body IS NULL GROUP BY organization"));
        var after = await database.Journal.ReadStream("acme", 1, 100);
        Assert.Equal(before.Select(e => (e.Version, e.CommandId, Convert.ToHexString(e.Hash), e.Position)), after.Select(e => (e.Version, e.CommandId, Convert.ToHexString(e.Hash), e.Position)));
        Assert.Equal(after.Select(e => e.Version <= 10), after.Select(e => e.IsArchived));
        Assert.Equal(3, (await database.Journal.FindCommands("acme", ["use-1"]))["use-1"].Version);
        var again = new StreamAppend("acme", Events, [before[2] with { Version = Events + 1 }], null);
        Assert.Equal([AppendOutcome.CommandRecorded], await database.Journal.AppendGroup([again]));

        // The archive proves itself; the stream proves itself with it, and says so without it.
        Assert.Contains("good. 10 events of acme", (await Run("verify", file)).Out, StringComparison.Ordinal);
        Assert.Contains("good. 21 events of acme", (await Run("verify", "acme", "--archive", file, "--journal", Address)).Out, StringComparison.Ordinal);
        var without = await Run("verify", "acme", "--journal", Address);
        Assert.Equal(1, without.Code);
        Assert.Contains("BAD at version 1: The body of version 1 of 'acme' is archived. Verify with --archive", without.Out, StringComparison.Ordinal);
        Assert.Contains("The archive is of 'acme', and this is 'other'", (await Run("verify", "other", "--archive", file, "--journal", Address)).Error, StringComparison.Ordinal);
        Assert.Contains("cannot be exported whole", (await Run("export", "acme", "--journal", Address)).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task what_needs_an_archived_body_says_that_it_is_archived()
    {
        Snapshot(15);
        await Archive(11, "archive.ndjson");

        // This snapshot is of no build's format, so the stream must be folded.
        await using var host = new LedgerHost(database.Journal, () => Sessions.Catalogs, long.MaxValue);
        var archived = await Assert.ThrowsAsync<ArchivedEventException>(async () => await host.Organization("acme").Execute(Sessions.Use("next")));

        Assert.Equal(1, archived.Version);
        Assert.Contains("billing ledger restore", archived.Message, StringComparison.Ordinal);
        Assert.NotEmpty((await host.Organization("other").Execute(Sessions.Use("next"))).Events);
    }

    [Fact]
    public async Task a_later_archive_has_what_is_in_the_earlier_one()
    {
        Snapshot(20);
        var first = await Archive(11, "first.ndjson");
        Assert.Contains("is archived", (await Run("archive", "--org", "acme", "--before-version", "16", "--to", Path.Combine(folder, "x"), "--journal", Address)).Error, StringComparison.Ordinal);

        var second = await Archive(16, "second.ndjson", "--archive", first);

        Assert.Equal("15", Sql("SELECT count(*) FROM events WHERE body IS NULL"));
        Assert.Contains("good. 15 events of acme", (await Run("verify", second)).Out, StringComparison.Ordinal);
        Assert.Contains("good. 21 events of acme", (await Run("verify", "acme", "--archive", second, "--journal", Address)).Out, StringComparison.Ordinal);
        Assert.Contains("There is a file", (await Run("archive", "--org", "acme", "--before-version", "16", "--to", second, "--journal", Address)).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task restored_bodies_are_the_ones_that_were_there_and_no_others_are_taken()
    {
        var before = await database.Journal.ReadStream("acme", 1, 100);
        Snapshot(15);
        var file = await Archive(11, "archive.ndjson");
        var bytes = await File.ReadAllBytesAsync(file);
        var forged = Path.Combine(folder, "forged.ndjson");
        await File.WriteAllTextAsync(forged, System.Text.Encoding.UTF8.GetString(bytes).Replace("\\\"quantity\\\":1", "\\\"quantity\\\":9", StringComparison.Ordinal));

        var refused = await Run("restore", forged, "--journal", Address);
        Assert.Equal(1, refused.Code);
        Assert.Contains("nothing is put back", refused.Error, StringComparison.Ordinal);
        Assert.Equal("10", Sql("SELECT count(*) FROM events WHERE body IS NULL"));

        Assert.Contains("acme: 10", (await Run("restore", file, "--journal", Address)).Out, StringComparison.Ordinal);

        Assert.Equal(before.Select(e => Convert.ToHexString(e.Body)), (await database.Journal.ReadStream("acme", 1, 100)).Select(e => Convert.ToHexString(e.Body)));
        Assert.Equal(0, (await Run("verify", "acme", "--journal", Address)).Code);
    }

    [Fact]
    public async Task the_other_commands_work_on_a_database_and_a_file_cannot_be_archived()
    {
        Assert.Contains("2 organizations, 42 events, 0 audit records: all good.", (await Run("verify", "--all", "--journal", Address)).Out, StringComparison.Ordinal);
        Assert.Equal(0, (await Run("export", "--all", "--out", folder, "--journal", Address)).Code);
        Assert.Equal(2, Directory.GetFiles(folder, "*.ndjson").Length);
        Assert.Contains("is no PostgreSQL journal", (await Run("archive", "--org", "acme", "--before-version", "2", "--to", "x", "--journal", "ledger.db")).Error, StringComparison.Ordinal);
        Assert.Contains("There is no organization 'nobody'", (await Run("verify", "nobody", "--journal", Address)).Error, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", (await Run("verify", "--all", "--journal", "postgresql://ledger:secret@127.0.0.1:1/x")).Error, StringComparison.Ordinal);
    }

    private string Address => PostgresServer.Shared.ConnectionString(name);

    private string Sql(string sql) => PostgresServer.Shared.Sql(name, sql);

    /// <summary>As if the service had taken one.</summary>
    private void Snapshot(int version) => Sql($"INSERT INTO snapshots SELECT organization, version, hash, 'test', '', 0 FROM events WHERE organization = 'acme' AND version = {version}");

    private async Task<string> Archive(int before, string file, params string[] more)
    {
        var path = Path.Combine(folder, file);
        var (code, _, error) = await Run(["archive", "--org", "acme", "--before-version", $"{before}", "--to", path, "--journal", Address, .. more]);
        Assert.True(code == 0, error);
        return path;
    }

    private async Task<string> Refused(params string[] args)
    {
        var (code, _, error) = await Run(["archive", "--org", "acme", "--to", Path.Combine(folder, "archive.ndjson"), "--journal", Address, .. args]);
        Assert.Equal(2, code);
        return error;
    }

    private static async Task<(int Code, string Out, string Error)> Run(params string[] args)
    {
        var (text, error) = (new StringWriter(), new StringWriter());
        var code = await Program.Run(["ledger", .. args], new Terminal(new MemoryStream(), text, error, new MemoryStream(), new SettableClock(Sessions.At), InteractionSupport.No));
        return (code, text.ToString(), error.ToString());
    }
}
