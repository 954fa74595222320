using Billing.Cli;
using Billing.Grains;
using Billing.Silo;
using Billing.Silo.Storage;
using Billing.Silo.Storage.Postgres;
using Billing.Silo.Storage.Sqlite;
using Billing.Tests.Grains;
using Billing.Tests.Journal;
using Billing.Tests.Postgres;
using NodaTime;
using Spectre.Console;

namespace Billing.Tests.Cli;

/// <summary>`billing migrate`: a SQLite file into PostgreSQL, whole, once, and nothing in between.</summary>
public sealed class MigrateCommandTests : IAsyncLifetime
{
    private readonly string name = PostgresServer.Shared.CreateDatabase();
    private LedgerFile ledger = null!;

    public async Task InitializeAsync()
    {
        ledger = await LedgerFile.Create();
        // What is beside the streams; the service's own routes fill all of it in MigratedServiceTests.
        await using var database = SqliteDatabase.Open(ledger.Path);
        await new FlagStore(database).Set(new StoredFlag("billing_v2", 30, Sessions.At, "ops"));
        await new SecretStore(database).Get(SecretStore.HeadKey);
        await new JournalProbe(database, TimeProvider.System).Run();
        var events = await database.Journal.ReadAll(0, 100);
        await new FeedPositions(database).Save("at-the-seventh", events[6].Position, Sessions.At);
        await new FeedPositions(database).Save("at-the-last", events[^1].Position, Sessions.At);
        await new FeedPositions(database).Save("before-the-first", 0, Sessions.At);
        await new AuditLog(database).Add(new AuditEntry("1", Sessions.At, "key_1", "Ops", "flag.set", null, "billing_v2", "a try", null, "r", null), AuditOutcome.Done, """{"percent":30}""", Sessions.At);
        await new Leases(database).Hold("stripe", Sessions.At, Duration.FromDays(1));
    }

    public Task DisposeAsync()
    {
        ledger.Dispose();
        return Task.CompletedTask;
    }

    // ---- moving

    [Fact]
    public async Task events_are_the_same_byte_for_byte_and_in_the_same_order()
    {
        Assert.Contains("every chain holds and every head is the one in", await Migrate(), StringComparison.Ordinal);

        Assert.Equal(await Events(ledger.Path), await Events(null));
        await using var database = PostgresDatabase.OpenReadOnly(Address);
        await using var source = SqliteDatabase.OpenReadOnly(ledger.Path);
        foreach (var organization in (string[])[LedgerFile.Organization, LedgerFile.Other])
        {
            var (head, there) = ((await source.Journal.ReadHead(organization))!, (await database.Journal.ReadHead(organization))!);
            Assert.Equal((head.Version, Convert.ToHexString(head.Hash), head.DueAt), (there.Version, Convert.ToHexString(there.Hash), there.DueAt));
        }
    }

    [Fact]
    public async Task a_feed_goes_on_behind_the_same_event()
    {
        await Migrate();

        await using var database = PostgresDatabase.OpenReadOnly(Address);
        var events = await database.Journal.ReadAll(0, 100);
        var feeds = new FeedPositions(database);
        Assert.Equal((events[6].Position, Sessions.At), await feeds.Find("at-the-seventh"));
        Assert.Equal((events[^1].Position, Sessions.At), await feeds.Find("at-the-last"));
        Assert.Equal((0, Sessions.At), await feeds.Find("before-the-first"));
    }

    [Fact]
    public async Task what_is_the_databases_own_stays_and_all_else_beside_the_streams_moves()
    {
        await Migrate();

        await using (var there = PostgresDatabase.OpenReadOnly(Address))
        {
            var audit = await new AuditLog(there).Verify();
            Assert.Equal((1, null), (audit.Records, audit.Problem));
        }
        Assert.Equal("billing_v2|30|ops", Sql("SELECT name, percent, updated_by FROM flags"));
        Assert.Equal(SecretStore.HeadKey, Sql("SELECT string_agg(name, ',' ORDER BY name) FROM settings"));
        await using var source = SqliteDatabase.OpenReadOnly(ledger.Path);
        Assert.Equal(Convert.ToHexStringLower((await new SecretStore(source).Find(SecretStore.HeadKey))!), Sql("SELECT encode(value, 'hex') FROM settings"));
        Assert.Equal("0|0", Sql("SELECT (SELECT count(*) FROM leases), (SELECT count(*) FROM snapshots)"));
    }

    [Fact]
    public async Task every_table_is_moved_or_left_out_by_name_and_has_the_same_columns_in_both()
    {
        await Migrate();
        using var connection = ledger.Connect();
        string Here(string sql)
        {
            using var command = connection.CreateCommand();
            command.CommandText = $"SELECT group_concat(name, ',') FROM ({sql})";
            return (string)command.ExecuteScalar()!;
        }

        string[] named = [.. BesideTable.Moved, .. BesideTable.Streams, .. BesideTable.LeftOut];

        // A table that is new has to be put into one of these lists: is it lost when a ledger moves, or not?
        Assert.Equal([], Here("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").Split(',').Except(named));
        Assert.Equal([], Sql("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace").Split('\n').Except(named));
        foreach (var table in BesideTable.Moved.Concat(BesideTable.Streams))
            Assert.Equal(
                Here($"SELECT name FROM pragma_table_info('{table}') ORDER BY name").Split(','),
                Sql($"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname COLLATE \"C\"").Split('\n'));
    }

    [Fact]
    public async Task a_second_time_nothing_is_added()
    {
        await Migrate();
        var before = Content();

        var again = await Migrate();

        Assert.Contains("Copied: 0 events, 0 rows beside the streams.", again, StringComparison.Ordinal);
        Assert.Equal(before, Content());
    }

    [Fact]
    public async Task a_dry_run_says_what_there_is_and_writes_nothing()
    {
        var (code, text, _) = await Run("--dry-run");

        Assert.Equal(0, code);
        foreach (var row in (string[])["events", "feeds", "flags"]) Assert.Contains(row, text, StringComparison.Ordinal);
        Assert.Contains("nothing was written.", text, StringComparison.Ordinal);
        Assert.Equal("0", Sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"));

        await Migrate();
        var before = Content();
        Assert.Contains("everything is there already.", (await Run("--dry-run")).Out, StringComparison.Ordinal);
        Assert.Equal(before, Content());
    }

    // ---- broken off

    [Fact]
    public async Task broken_off_behind_any_group_it_goes_on_and_comes_to_the_same()
    {
        var expected = await Events(ledger.Path);
        for (var groups = 1; ; groups++)
        {
            var database = PostgresServer.Shared.CreateDatabase();
            var address = PostgresServer.Shared.ConnectionString(database);
            var isBroken = await BreakOff(address, groups);

            if (isBroken)
            {
                // Nobody serves customers from half of it.
                var refused = Assert.Throws<InvalidDataException>(() => PostgresDatabase.Open(address));
                Assert.Contains("`billing migrate` was broken off", refused.Message, StringComparison.Ordinal);
            }
            var (code, text, error) = await Run(["--to", address]);

            Assert.True(code == 0, error);
            Assert.DoesNotContain($"Copied: {expected.Count} events", text, StringComparison.Ordinal);
            Assert.Equal(expected, await Events(null, address));
            await PostgresDatabase.Open(address).DisposeAsync();
            if (!isBroken) break;
        }
    }

    [Fact]
    public async Task killed_while_the_last_transaction_waits_it_goes_on()
    {
        // Somebody has a table locked that is copied in it.
        await PostgresDatabase.Open(Address).DisposeAsync();
        await using var locking = new Npgsql.NpgsqlConnection(Address);
        await locking.OpenAsync();
        await using var transaction = await locking.BeginTransactionAsync();
        await using (var command = new Npgsql.NpgsqlCommand("LOCK TABLE flags IN SHARE MODE", locking, transaction)) await command.ExecuteNonQueryAsync();
        using (var process = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo(
            Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet", [Path.Combine(AppContext.BaseDirectory, "billing.dll"), "migrate", "--from", ledger.Path, "--to", Address]))!)
        {
            while (Sql("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'flags'::regclass") == "0") Assert.False(process.HasExited);
            process.Kill();
            await process.WaitForExitAsync();
        }
        await transaction.RollbackAsync();
        await locking.CloseAsync();
        while (Sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'billing-migrate' AND datname = current_database()") != "0")
        {
            // The server notices that nobody is there any more.
        }
        Assert.Equal("0", Sql("SELECT (SELECT count(*) FROM flags) + (SELECT count(*) FROM feeds)"));

        Assert.Contains("Copied: 0 events, 7 rows beside the streams.", await Migrate(), StringComparison.Ordinal);

        Assert.Equal(await Events(ledger.Path), await Events(null));
    }

    [Fact]
    public async Task what_the_source_got_meanwhile_is_copied_the_next_time()
    {
        await BreakOff(Address, 2);
        await Use("in-between");

        await Migrate();

        Assert.Equal(await Events(ledger.Path), await Events(null));
    }

    [Fact]
    public async Task a_source_that_was_written_meanwhile_is_noticed()
    {
        await using var source = SqliteDatabase.OpenReadOnly(ledger.Path);
        await using var target = PostgresDatabase.OpenToMove(Address, onlyLook: false);
        var move = new LedgerMove(source, target);
        var plan = await move.Plan();
        await move.Begin();
        await move.CopyEvents(plan, _ => { }, default);
        Assert.Empty(await move.CompareHeads());

        await Use("meanwhile");

        Assert.Contains(LedgerFile.Organization, Assert.Single(await move.CompareHeads()), StringComparison.Ordinal);
    }

    // ---- refused

    [Fact]
    public async Task a_source_that_a_service_has_open_is_refused()
    {
        await using (SqliteDatabase.Open(ledger.Path))
        {
            var (code, _, error) = await Run();
            Assert.Equal(2, code);
            Assert.Contains("is open in another process: stop the service", error, StringComparison.Ordinal);
        }
        Assert.Equal("", Content());
        await Migrate();
    }

    [Fact]
    public async Task a_database_that_a_service_has_open_is_refused()
    {
        await using (var service = PostgresDatabase.Open(Address))
        {
            await service.Journal.ReadHead("acme");
            var (code, _, error) = await Run();
            Assert.Equal(2, code);
            Assert.Contains("A service has", error, StringComparison.Ordinal);
        }
        Assert.Equal("", Content());
    }

    [Theory]
    [InlineData("UPDATE events SET body = CAST(CAST(body AS TEXT) || ' ' AS BLOB) WHERE version = 9 AND organization = 'acme-corp'", "acme-corp is BAD at version 9")]
    [InlineData("UPDATE events SET body = CAST(body AS TEXT) WHERE version = 9 AND organization = 'acme-corp'", "body is stored as a text")]
    [InlineData("DELETE FROM events WHERE version = 9 AND organization = 'acme-corp'", "Version 9 is missing")]
    [InlineData("UPDATE streams SET version = version - 1 WHERE organization = 'acme-corp'", "There are 1 events more in the table")]
    [InlineData("UPDATE streams SET due_at = 1 WHERE organization = 'acme-corp'", "Something is due at")]
    [InlineData("DELETE FROM streams WHERE organization = 'zenith'", "There are events of 'zenith', which has no head.")]
    [InlineData("UPDATE flags SET percent = 'half'", "percent is stored as a text instead of an integer")]
    public async Task a_damaged_source_is_refused_and_nothing_is_written(string damage, string sentence)
    {
        ledger.Execute(damage);

        var (code, _, error) = await Run();

        Assert.Equal(1, code);
        Assert.Contains(sentence, error, StringComparison.Ordinal);
        Assert.Equal("", Content());
    }

    [Fact]
    public async Task a_database_with_other_content_is_refused_and_stays_as_it_is()
    {
        await using (var database = PostgresDatabase.Open(Address))
        await using (var host = new LedgerHost(database.Journal, () => Sessions.Catalogs, long.MaxValue))
            await host.Organization("stranger").Execute(Sessions.Open());
        await Refused("has the organization 'stranger'");

        Sql("TRUNCATE events, streams");
        await using (var database = PostgresDatabase.Open(Address))
        await using (var host = new LedgerHost(database.Journal, () => Sessions.Catalogs, long.MaxValue))
            await host.Organization(LedgerFile.Organization).Execute(Sessions.Open("another"));
        await Refused($"'{LedgerFile.Organization}' is something else");

        Sql("TRUNCATE events, streams");
        Sql("INSERT INTO settings VALUES ('head-key', 'another')");
        await Refused("'head-key' in settings is something else");

        Sql("TRUNCATE settings");
        Sql("INSERT INTO customers VALUES ('cus_1', 'stranger')");
        await Refused("has 'cus_1' in customers");
    }

    [Fact]
    public async Task a_ledger_that_went_on_in_the_database_is_not_set_back()
    {
        await Migrate();
        await using (var database = PostgresDatabase.Open(Address))
        await using (var host = new LedgerHost(database.Journal, () => Sessions.Catalogs, long.MaxValue))
            await host.Organization(LedgerFile.Organization).Execute(Sessions.Use("there", "jobs") with { At = Sessions.At + Duration.FromDays(40) });

        await Refused("a service went on with it there");
    }

    [Fact]
    public async Task wrong_arguments_end_with_2_and_say_what_would_be_right()
    {
        Assert.Contains("is no PostgreSQL database", (await Run(["--to", "other.db"])).Error, StringComparison.Ordinal);
        Assert.Contains("There is no journal at 'nowhere.db'", (await Run(["--from", "nowhere.db"])).Error, StringComparison.Ordinal);
        Assert.Contains("is no SQLite file", (await Run(["--from", Address])).Error, StringComparison.Ordinal);
        var (code, _, error) = await Run(["--to", "postgresql://ledger:secret@127.0.0.1:1/x"]);
        Assert.Equal(2, code);
        Assert.DoesNotContain("secret", error, StringComparison.Ordinal);
        ledger.Execute("DELETE FROM schema_version WHERE version >= 4");
        Assert.Contains("start the service on it once", (await Run()).Error, StringComparison.Ordinal);
    }

    // ---- helpers

    private string Address => PostgresServer.Shared.ConnectionString(name);

    private string Sql(string sql) => PostgresServer.Shared.Sql(name, sql);

    private async Task<string> Migrate()
    {
        var (code, text, error) = await Run();
        Assert.True(code == 0, error);
        Assert.Equal("", error);
        return text;
    }

    private async Task Refused(string sentence)
    {
        var before = Content();
        var (code, _, error) = await Run();
        Assert.Equal(1, code);
        Assert.Contains(sentence, error, StringComparison.Ordinal);
        Assert.Equal(before, Content());
    }

    /// <param name="args">Instead of the file and the database of the test, where they say so.</param>
    private async Task<(int Code, string Out, string Error)> Run(params string[] args)
    {
        var (text, error) = (new StringWriter(), new StringWriter());
        string[] from = args.Contains("--from") ? [] : ["--from", ledger.Path], to = args.Contains("--to") ? [] : ["--to", Address];
        var code = await Program.Run(["migrate", .. args, .. from, .. to], new Terminal(new MemoryStream(), text, error, new MemoryStream(), new SettableClock(Sessions.At), InteractionSupport.No));
        return (code, text.ToString(), error.ToString());
    }

    private sealed class BrokenOffException : Exception;

    /// <summary>Copies in small groups and ends after so many of them.</summary>
    /// <returns>False when there are not so many.</returns>
    private async Task<bool> BreakOff(string address, int groups)
    {
        await using var source = SqliteDatabase.OpenReadOnly(ledger.Path);
        await using var target = PostgresDatabase.OpenToMove(address, onlyLook: false);
        var move = new LedgerMove(source, target, pageSize: 7);
        var plan = await move.Plan();
        await move.Begin();
        try
        {
            await move.CopyEvents(plan, _ => { if (--groups == 0) throw new BrokenOffException(); }, default);
            return false;
        }
        catch (BrokenOffException)
        {
            return true;
        }
    }

    private async Task Use(string id)
    {
        await using var database = SqliteDatabase.Open(ledger.Path);
        await using var host = new LedgerHost(database.Journal, () => Sessions.Catalogs, long.MaxValue);
        Assert.NotEmpty((await host.Organization(LedgerFile.Organization).Execute(Sessions.Use(id, "jobs") with { At = Sessions.At + Duration.FromDays(40) })).Events);
    }

    /// <summary>All events in the order of their positions, with everything that is stored of them but that.</summary>
    private async Task<IReadOnlyList<string>> Events(string? file, string? address = null)
    {
        await using Database database = file is null ? PostgresDatabase.OpenReadOnly(address ?? Address) : SqliteDatabase.OpenReadOnly(file);
        return [.. (await database.Journal.ReadAll(0, 1_000)).Select(e =>
            $"{e.Organization} {e.Version} {e.Type} {e.Schema} {e.EffectiveAt} {e.RecordedAt} {e.CommandId} {Convert.ToHexString(e.ContentHash ?? [])} {Convert.ToHexString(e.Body)} {Convert.ToHexString(e.Hash)}")];
    }

    /// <summary>Every row of every table there, but what comes with the schema.</summary>
    private string Content() => string.Concat(Sql("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace ORDER BY 1")
        .Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(t => t is not ("schema_version" or "journal") && !t.StartsWith("orleans", StringComparison.Ordinal)).Select(t => Sql($"SELECT '{t}: ' || t::text FROM {t} t ORDER BY 1")));
}
