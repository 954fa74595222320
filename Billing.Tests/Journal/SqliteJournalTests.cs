using System.Text.Json;
using Billing.Silo.Storage.Sqlite;
using Microsoft.Data.Sqlite;

namespace Billing.Tests.Journal;

/// <summary>The journal in a real SQLite file: the common promises, and what only a file can promise.</summary>
public sealed class SqliteJournalTests : JournalConformance
{
    private readonly string folder = Directory.CreateTempSubdirectory("billing-").FullName;
    private SqliteDatabase? database;

    private string FilePath => Path.Combine(folder, "ledger.db");

    public override Task InitializeAsync()
    {
        Open();
        return Task.CompletedTask;
    }

    public override async Task DisposeAsync()
    {
        if (database is not null) await database.DisposeAsync();
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task what_was_appended_is_there_after_reopening()
    {
        var append = Append("acme", 0, "a", null, "b");
        await Write(append);

        await Reopen();

        await AssertStream("acme", append.Events);
        await Write(Append("acme", 3, "c"));
        Assert.Equal([1L, 2L, 3L, 4L], (await Journal.ReadAll(0, 10)).Select(e => e.Position));
    }

    [Fact]
    public async Task opening_again_changes_nothing()
    {
        await Write(Append("acme", 0, "a"));
        var before = Schema();

        await Reopen();
        await Reopen();

        Assert.Equal(before, Schema());
        Assert.Equal("1", Scalar("SELECT count(*) FROM schema_version WHERE version = 1"));
    }

    [Fact]
    public async Task a_file_with_a_newer_schema_is_not_opened_and_not_changed()
    {
        await Write(Append("acme", 0, "a"));
        await Close();
        Scalar("INSERT INTO schema_version VALUES (999, '2030-01-01T00:00:00Z')");
        var before = Schema();

        var refused = Assert.Throws<InvalidDataException>(() => SqliteDatabase.Open(FilePath));

        Assert.Contains(FilePath, refused.Message, StringComparison.Ordinal);
        Assert.Contains("schema 999", refused.Message, StringComparison.Ordinal);
        Assert.Contains("newer version of the service", refused.Message, StringComparison.Ordinal);
        Assert.Equal(before, Schema());
        Assert.Equal("1", Scalar("SELECT count(*) FROM events"));
        // Nor is the file left locked: the newer build opens it as soon as this one has refused.
        Scalar("DELETE FROM schema_version WHERE version = 999");
        Open();
        Assert.Equal(1, (await Journal.ReadHead("acme"))!.Version);
    }

    [Fact]
    public async Task a_folder_that_is_not_there_is_made()
    {
        var path = Path.Combine(folder, "new", "folder", "ledger.db");

        await using (SqliteDatabase.Open(path))
            Assert.True(File.Exists(path));
    }

    [Fact]
    public async Task people_with_sql_can_read_the_events()
    {
        await Write(Append("acme", 0, "a", null));

        var body = Scalar("SELECT body FROM events_readable WHERE organization = 'acme' AND version = 1");

        Assert.Equal("a", JsonDocument.Parse(body!).RootElement.GetProperty("command").GetString());
        Assert.Equal("text", Scalar("SELECT typeof(body) FROM events_readable"));
        Assert.Equal("2026-11-20T10:00:00.000001Z", Scalar("SELECT effective_at FROM events_readable WHERE version = 1"));
        Assert.Equal("2026-11-20T10:00:02.000000Z", Scalar("SELECT recorded_at FROM events_readable WHERE version = 2"));
        Assert.Equal(Convert.ToHexStringLower((await Journal.ReadHead("acme"))!.Hash), Scalar("SELECT hash FROM events_readable WHERE version = 2"));
    }

    private void Open()
    {
        database = SqliteDatabase.Open(FilePath);
        Journal = new SqliteJournal(database);
    }

    private async Task Close()
    {
        await database!.DisposeAsync();
        database = null;
    }

    private async Task Reopen()
    {
        await Close();
        Open();
    }

    private string? Schema() => Scalar("SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_master ORDER BY name)");

    /// <summary>On a connection of its own, as another program would.</summary>
    private string? Scalar(string sql)
    {
        using var connection = new SqliteConnection($"Data Source={FilePath};Pooling=False");
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar()?.ToString();
    }
}
