using System.Data.Common;
using System.Diagnostics;
using Billing.Grains.Journal;
using Billing.Silo.Storage.Postgres;
using Billing.Tests.Postgres;
using Dapper;
using Npgsql;

namespace Billing.Tests.Journal;

/// <summary>The journal in a real PostgreSQL server: the common promises, and what only a server can promise.</summary>
public sealed class PostgresJournalTests : JournalConformance
{
    /// <summary>Nobody's patience is tested where it is not the point.</summary>
    private static readonly TimeSpan Unhurried = TimeSpan.FromMinutes(1);

    private readonly string name = PostgresServer.Shared.CreateDatabase();
    private PostgresDatabase? database;

    private string Address => PostgresServer.Shared.ConnectionString(name);

    public override Task InitializeAsync()
    {
        Open();
        return Task.CompletedTask;
    }

    public override async Task DisposeAsync()
    {
        if (database is not null) await database.DisposeAsync();
    }

    // ---- reading

    [Theory]
    [InlineData("WHERE organization = 'acme' AND version >= 1 ORDER BY version LIMIT 1000")]
    [InlineData("WHERE position > 0 ORDER BY position LIMIT 1000")]
    public async Task a_page_is_read_in_the_order_of_its_index_also_while_the_planner_knows_nothing_of_the_tables(string page)
    {
        var plan = await database!.Read(c => string.Join('\n', c.Query<string>($"EXPLAIN SELECT * FROM events {page}")));

        Assert.Contains("Index Scan", plan, StringComparison.Ordinal);
        Assert.DoesNotContain("Sort", plan.Replace("Sort Key", "", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.DoesNotContain("Bitmap", plan, StringComparison.Ordinal);
    }

    // ---- opening

    [Fact]
    public async Task what_was_appended_is_there_after_reopening()
    {
        var append = Append("acme", 0, "a", null, "b");
        await Write(append);

        await Reopen();

        await AssertStream("acme", append.Events);
        await Write(Append("acme", 3, "c"));
    }

    [Fact]
    public async Task opening_again_changes_nothing()
    {
        await Write(Append("acme", 0, "a"));
        var before = Schema();

        await Reopen();
        await Reopen();

        Assert.Equal(before, Schema());
        Assert.Equal("1", Sql("SELECT count(*) FROM schema_version WHERE version = 1"));
    }

    [Fact]
    public async Task processes_may_open_an_empty_database_at_the_same_time()
    {
        var empty = PostgresServer.Shared.ConnectionString(PostgresServer.Shared.CreateDatabase());

        var opened = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => PostgresDatabase.Open(empty, Unhurried))));

        foreach (var (i, one) in opened.Index())
        {
            Assert.Equal([AppendOutcome.Appended], await one.Journal.AppendGroup([Append("acme", i, $"{i}")]));
            await one.DisposeAsync();
        }
    }

    [Fact]
    public async Task a_database_with_a_newer_schema_is_not_opened_and_not_changed()
    {
        await Write(Append("acme", 0, "a"));
        Sql("INSERT INTO schema_version VALUES (999, '2030-01-01T00:00:00Z')");
        var before = Schema();

        foreach (var open in new Action[] { () => PostgresDatabase.Open(Address), () => PostgresDatabase.OpenReadOnly(Address) })
        {
            var refused = Assert.Throws<InvalidDataException>(open);
            Assert.Contains($"/{name}", refused.Message, StringComparison.Ordinal);
            Assert.Contains("schema 999", refused.Message, StringComparison.Ordinal);
            Assert.Contains("newer version of the service", refused.Message, StringComparison.Ordinal);
        }
        Assert.Equal(before, Schema());
        Assert.Equal("1", Sql("SELECT count(*) FROM events"));
    }

    [Fact]
    public async Task opened_to_read_it_takes_no_append_and_is_made_by_nobody()
    {
        var empty = PostgresServer.Shared.CreateDatabase();
        Assert.Contains("no journal of this service", Assert.Throws<InvalidDataException>(() => PostgresDatabase.OpenReadOnly(PostgresServer.Shared.ConnectionString(empty))).Message, StringComparison.Ordinal);
        Assert.Equal("0", PostgresServer.Shared.Sql(empty, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"));
        await Write(Append("acme", 0, "a"));

        await using var reading = PostgresDatabase.OpenReadOnly(Address);

        Assert.Equal(1, (await reading.Journal.ReadHead("acme"))!.Version);
        Assert.Equal(["acme"], (await reading.TakeInventory()).Organizations);
        await Assert.ThrowsAnyAsync<DbException>(async () => await reading.Journal.AppendGroup([Append("acme", 1, "b")]));
        Assert.Equal("1", Sql("SELECT count(*) FROM events"));
    }

    [Fact]
    public void a_server_that_cannot_be_reached_is_named_without_the_password()
    {
        var refused = Assert.Throws<IOException>(() => PostgresDatabase.Open("postgresql://ledger:se%40cret@127.0.0.1:1/money"));

        Assert.Contains("ledger@127.0.0.1:1/money", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("cret", refused.Message, StringComparison.Ordinal);
    }

    // ---- the order over all streams

    [Fact]
    public async Task what_is_committed_late_appears_where_a_reader_has_not_been_yet()
    {
        await Write(Append("acme", 0, "a"));
        var first = Assert.Single(await AllOf(1));
        await using var slow = new NpgsqlConnection(Address);
        await slow.OpenAsync();
        await using var transaction = await slow.BeginTransactionAsync();
        // It has its id, and so its place, before the append behind it has one.
        await Execute(slow, """
            INSERT INTO events SELECT (SELECT base + (pg_current_xact_id()::text::bigint << 16) FROM journal) + 1, 'slow', version, type, schema, effective_at, recorded_at, command_id, content_hash, body, hash
            FROM events WHERE organization = 'acme'
            """);
        await Write(Append("acme", 1, "b"));

        Assert.Empty(await Journal.ReadAll(first.Position, 10));
        await transaction.CommitAsync();

        Assert.Equal(["acme1", "slow1", "acme2"], (await AllOf(3)).Select(e => $"{e.Organization}{e.Version}"));
        Assert.Equal(["slow", "acme"], (await Journal.ReadAll(first.Position, 10)).Select(e => e.Organization));
    }

    [Fact]
    public async Task positions_go_on_behind_those_of_a_cluster_that_was_further_on()
    {
        await Write(Append("acme", 0, "a", null), Append("b", 0, "a"));
        await Close();
        // As a dump restored into a new cluster, whose transactions begin to count anew.
        Sql("UPDATE events SET position = position + (1::bigint << 50)");
        Open();

        await Write(Append("acme", 2, "b"), Append("b", 1, "b"));

        Assert.Equal(["acme1", "acme2", "b1", "acme3", "b2"], (await AllOf(5)).Select(e => $"{e.Organization}{e.Version}"));
        var based = Sql("SELECT base FROM journal");
        Assert.NotEqual("0", based);
        await Reopen();
        await Write(Append("acme", 3, "c"));
        Assert.Equal(based, Sql("SELECT base FROM journal"));
        Assert.Equal(("acme", 4L), (await AllOf(6))[^1] is var last ? (last.Organization, last.Version) : default);
    }

    // ---- several processes

    [Fact]
    public async Task processes_that_write_the_same_streams_at_the_same_time_write_every_command_once()
    {
        const int processes = 4, streams = 10, each = 10;
        var others = Enumerable.Range(0, processes).Select(_ => PostgresDatabase.Open(Address, Unhurried)).ToList();
        await Task.WhenAll(others.Select((other, process) => Task.Run(async () =>
        {
            var order = Enumerable.Range(0, streams).Select(i => $"org-{(process % 2 == 0 ? i : streams - 1 - i)}").ToList();
            var done = order.ToDictionary(o => o, _ => 0);
            while (done.Values.Any(count => count < each))
            {
                var group = new List<StreamAppend>();
                foreach (var organization in order.Where(o => done[o] < each))
                    group.Add(Append(organization, (await other.Journal.ReadHead(organization))?.Version ?? 0, $"{process}-{done[organization]}", null));
                foreach (var (append, outcome) in group.Zip(await other.Journal.AppendGroup(group)))
                    if (outcome == AppendOutcome.Appended) done[append.Organization]++;
            }
        })));
        foreach (var other in others) await other.DisposeAsync();

        for (var i = 0; i < streams; i++)
        {
            var stream = await Journal.ReadStream($"org-{i}", 1, 1_000);
            Assert.Equal(Enumerable.Range(1, processes * each * 2).Select(v => (long)v), stream.Select(e => e.Version));
            Assert.Equal(processes * each, stream.Select(e => e.CommandId).OfType<string>().Distinct().Count());
        }
        var all = await AllOf(processes * streams * each * 2);
        Assert.Equal(all.Count, all.Select(e => e.Position).Distinct().Count());
    }

    // ---- when it does not answer

    [Fact]
    public async Task an_append_that_is_held_up_fails_in_time_and_the_next_one_works()
    {
        await Write(Append("acme", 0, "a"));
        await using var hasty = PostgresDatabase.Open(Address, TimeSpan.FromSeconds(2));
        await using var holder = new NpgsqlConnection(Address);
        await holder.OpenAsync();
        await using (await holder.BeginTransactionAsync())
        {
            await Execute(holder, "SELECT 1 FROM streams WHERE organization = 'acme' FOR UPDATE");
            var waiting = Stopwatch.StartNew();

            await Assert.ThrowsAnyAsync<DbException>(() => Task.Run(() => hasty.Journal.AppendGroup([Append("acme", 1, "b")]).AsTask()));

            Assert.InRange(waiting.Elapsed.TotalSeconds, 0.5, 10);
        }

        Assert.Equal([AppendOutcome.Appended], await hasty.Journal.AppendGroup([Append("acme", 1, "b")]));
    }

    [Fact]
    public async Task after_the_server_was_started_anew_reading_goes_on_and_appending_fails_at_most_once()
    {
        using var server = PostgresServer.Start(fsync: false);
        await using var own = PostgresDatabase.Open(server.ConnectionString(server.CreateDatabase()), Unhurried);
        Assert.Equal([AppendOutcome.Appended], await own.Journal.AppendGroup([Append("acme", 0, "a")]));
        Assert.NotNull(await own.Journal.ReadHead("acme"));
        server.Stop();

        Assert.True(await Record.ExceptionAsync(async () => await own.Journal.ReadHead("acme")) is DbException or IOException or TimeoutException);
        Assert.True(await Record.ExceptionAsync(async () => await own.Journal.AppendGroup([Append("acme", 1, "b")])) is DbException or IOException or TimeoutException);
        server.StartAgain();

        Assert.Equal(1, (await own.Journal.ReadHead("acme"))!.Version);
        Assert.Equal([AppendOutcome.Appended], await own.Journal.AppendGroup([Append("acme", 1, "b")]));
        server.Stop("fast");
        server.StartAgain();
        Assert.Equal(2, (await own.Journal.ReadHead("acme"))!.Version);
        Assert.Equal(2, await own.Read(c => c.ExecuteScalar<int>("SELECT version FROM streams")));
    }

    // ---- what is stored

    [Fact]
    public async Task people_with_sql_can_read_the_events()
    {
        await Write(Append("acme", 0, "a", null));

        Assert.Equal("a|2026-11-20T10:00:00.000001", Sql("""
            SELECT body->>'command', to_char(effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') FROM events_readable WHERE organization = 'acme' AND version = 1
            """));
        Assert.Equal(Convert.ToHexStringLower((await Journal.ReadHead("acme"))!.Hash), Sql("SELECT hash FROM events_readable WHERE version = 2"));
    }

    [Theory]
    [InlineData("effective_at")]
    [InlineData("recorded_at")]
    public async Task a_time_beyond_the_calendar_is_not_read(string column)
    {
        await Write(Append("acme", 0, "a", "b"));
        Sql($"UPDATE events SET {column} = {long.MaxValue} WHERE version = 2");

        var damaged = await Assert.ThrowsAsync<DamagedEventException>(async () => await Journal.ReadStream("acme", 1, 10));

        Assert.Equal(2, damaged.Version);
        Assert.Contains(column, damaged.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task what_belongs_to_no_stream_is_found()
    {
        await Write(Append("acme", 0, "a", "b"), Append("b", 0, "a"));
        Assert.Empty((await database!.TakeInventory()).Problems);

        Sql("UPDATE streams SET version = 1 WHERE organization = 'acme'");
        Assert.Contains("1 events more", Assert.Single((await database.TakeInventory()).Problems), StringComparison.Ordinal);
        Sql("DELETE FROM streams WHERE organization = 'b'");

        var inventory = await database.TakeInventory();
        Assert.Equal(["acme"], inventory.Organizations);
        Assert.Contains("'b', which has no head", Assert.Single(inventory.Problems), StringComparison.Ordinal);
    }

    private void Open()
    {
        database = PostgresDatabase.Open(Address, Unhurried);
        Journal = database.Journal;
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

    private string Sql(string sql) => PostgresServer.Shared.Sql(name, sql);

    private string Schema() => Sql("SELECT string_agg(format('%s %s %s', c.relname, c.relkind, a.attname), ';' ORDER BY c.relname, a.attnum) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace");

    private static async Task Execute(NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }
}
