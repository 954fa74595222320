using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Billing.Silo;
using Billing.Silo.Storage;
using Billing.Silo.Storage.Postgres;
using Billing.Silo.Storage.Sqlite;
using Billing.Tests.Postgres;
using Dapper;
using NodaTime;

namespace Billing.Tests.Silo;

/// <summary>The record of who did what, in any database: in one order, never lost, and whatever is changed of it behind the service's back is found.</summary>
public abstract class AuditLogConformance : IAsyncLifetime
{
    private static readonly Instant Now = Instant.FromUtc(2026, 11, 20, 10, 0);

    private static readonly string[] Columns =
        ["number", "at", "caller", "caller_name", "what", "organization", "about", "reason", "before", "after", "request", "command_id", "outcome", "code", "hash"];

    private static readonly string[] MayBeNull = ["organization", "about", "reason", "before", "after", "command_id", "code"];

    private Database database = null!;
    private AuditLog log = null!;

    /// <summary>The same one each time.</summary>
    protected abstract Database Open();

    public async Task InitializeAsync()
    {
        database = Open();
        log = await AuditLog.Open(database, Now);
    }

    public virtual async Task DisposeAsync() => await database.DisposeAsync();

    private static AuditEntry Entry(string organization = "acme", Instant? at = null, string caller = "key_1", string what = "tokens.grant") => new(
        Guid.NewGuid().ToString("N"), at ?? Now, caller, "Ops", what, organization, "ai_requests", "Ein Grund: „ähm“", """{"balance":0}""", "4bf92f3577b34da6a3ce929d0e0e4736", "k-1");

    private static AuditEntry Bare() => new(Guid.NewGuid().ToString("N"), Now, "key_2", "Ops", "flag.set", null, null, null, null, "r", null);

    private async Task Five()
    {
        for (var i = 0; i < 5; i++)
        {
            var entry = i % 2 == 0 ? Entry() : Bare();
            await log.Begin(entry);
            await (i % 2 == 0 ? log.End(entry, AuditOutcome.Refused, "not_found", """{"balance":5}""", Now) : log.End(entry, AuditOutcome.Done, null, null, Now));
        }
    }

    private Task<int> Sql(string sql, object? parameters = null) => database.Write(c => c.Execute(sql, parameters));

    private async Task Found(long? number, string because)
    {
        var report = await log.Verify();
        Assert.True(report.Problem is not null && report.FirstBad == number, $"{because}: {report}");
    }

    [Fact]
    public async Task records_are_numbered_and_listed_newest_first_by_what_is_asked_for()
    {
        await log.Add(Entry(at: Now, caller: "key_1"), AuditOutcome.Done, null, Now);
        await log.Add(Entry(organization: "beta", at: Now + Duration.FromMinutes(1)), AuditOutcome.Done, null, Now);
        await log.Add(Entry(at: Now + Duration.FromMinutes(2), caller: "key_2", what: "override.set"), AuditOutcome.Done, """{"unlimited":true}""", Now);
        await log.Add(Bare(), AuditOutcome.Done, null, Now);

        Assert.Equal([4, 3, 2, 1], await Numbers(new AuditFilter()));
        Assert.Equal([3, 1], await Numbers(new AuditFilter(Organization: "acme")));
        Assert.Equal([4, 3], await Numbers(new AuditFilter(Caller: "key_2")));
        Assert.Equal([3], await Numbers(new AuditFilter(What: "override.set")));
        Assert.Equal([3, 2], await Numbers(new AuditFilter(From: Now + Duration.FromMinutes(1))));
        Assert.Equal([4, 1], await Numbers(new AuditFilter(To: Now + Duration.FromMinutes(1))));
        Assert.Equal([2], (await log.List(new AuditFilter(), before: 3, limit: 1)).Select(r => r.Number));

        var read = (await log.List(new AuditFilter(), before: 4, limit: 1)).Single();
        Assert.Equal(
            ("key_2", "Ops", "override.set", "acme", "ai_requests", "Ein Grund: „ähm“", """{"balance":0}""", """{"unlimited":true}"""),
            (read.Caller, read.CallerName, read.What, read.Organization, read.About, read.Reason, read.Before, read.After));
        Assert.Equal((Now + Duration.FromMinutes(2), "4bf92f3577b34da6a3ce929d0e0e4736", "k-1", "done", null), (read.At, read.Request, read.CommandId, read.Outcome, read.Code));
        var report = await log.Verify();
        Assert.Equal((4, null, Convert.ToHexString((await log.Head()).Hash)), (report.Records, report.Problem, Convert.ToHexString(report.Head)));

        async Task<IEnumerable<long>> Numbers(AuditFilter filter) => (await log.List(filter, long.MaxValue, 100)).Select(r => r.Number);
    }

    [Fact]
    public async Task what_was_begun_and_never_ended_is_recorded_after_an_hour_and_once()
    {
        var (lost, dropped, done) = (Entry(what: "usage.void"), Entry(), Entry());
        foreach (var entry in (AuditEntry[])[lost, dropped, done]) await log.Begin(entry);
        await log.Drop(dropped);
        await log.End(done, AuditOutcome.Done, null, null, Now);

        // The process is gone. For an hour it might still be at it.
        var other = await AuditLog.Open(database, Now + AuditLog.Longest);
        Assert.Equal(1, (await other.Head()).Version);
        other = await AuditLog.Open(database, Now + AuditLog.Longest + Duration.FromSeconds(1));
        var record = (await other.List(new AuditFilter(), long.MaxValue, 10))[0];
        Assert.Equal((2, "usage.void", "unknown", Now, lost.Reason, lost.Before), (record.Number, record.What, record.Outcome, record.At, record.Reason, record.Before));

        await log.End(lost, AuditOutcome.Done, null, null, Now);
        Assert.Equal(2, (await log.Head()).Version);
        Assert.Null((await log.Verify()).Problem);
    }

    [Fact]
    public async Task whoever_writes_next_records_what_others_left_behind()
    {
        await log.Begin(Entry(what: "usage.void"));
        await log.Add(Entry(), AuditOutcome.Done, null, Now + Duration.FromHours(2));
        Assert.Equal(["usage.void", "tokens.grant"], (await log.List(new AuditFilter(), long.MaxValue, 10)).Select(r => r.What));
    }

    [Fact]
    public async Task two_processes_that_write_at_once_leave_one_chain_without_gaps()
    {
        await using var second = Open();
        var logs = new[] { log, await AuditLog.Open(second, Now) };
        await Task.WhenAll(Enumerable.Range(0, 8).Select(writer => Task.Run(async () =>
        {
            for (var i = 0; i < 15; i++)
            {
                var entry = Entry(caller: $"key_{writer}");
                await logs[writer % 2].Begin(entry);
                await logs[writer % 2].End(entry, AuditOutcome.Done, null, null, Now);
            }
        })));

        Assert.Equal(Enumerable.Range(1, 120).Select(n => (long)n).Reverse(), (await log.List(new AuditFilter(), long.MaxValue, 500)).Select(r => r.Number));
        Assert.Equal((120, null), ((await log.Verify()).Records, (await log.Verify()).Problem));
    }

    [Fact]
    public async Task every_column_of_every_record_is_covered()
    {
        await Five();
        Assert.Null((await log.Verify()).Problem);
        foreach (var number in (long[])[1, 2, 5])
            foreach (var column in Columns)
            {
                var was = await database.Read(c => c.QuerySingle<object?>($"SELECT {column} FROM audit WHERE number = @number", new { number }) is { } row ? ((IDictionary<string, object?>)row)[column] : null);
                foreach (var other in Others(was, column))
                {
                    await Sql($"UPDATE audit SET {column} = @other WHERE number = @number", new { other, number });
                    await Found(number, $"{column} of {number} is {other ?? "NULL"}");
                    await Sql($"UPDATE audit SET {column} = @was WHERE number = @now", new { was, now = column == "number" ? other : number });
                }
                Assert.Null((await log.Verify()).Problem);
            }

        static IEnumerable<object?> Others(object? was, string column) => was switch
        {
            long number => [column == "number" ? number + 100 : number + 1],
            byte[] hash => [(byte[])[(byte)(hash[0] ^ 1), .. hash[1..]], hash[..31]],
            string text => MayBeNull.Contains(column) ? [text + "x", text[1..], "", null] : [text + "x", text[1..], ""],
            _ => ["x", ""],
        };
    }

    [Fact]
    public async Task a_record_taken_out_or_swapped_or_put_in_is_found_and_so_is_a_tail_cut_off()
    {
        await Five();
        var kept = await log.Head();
        await Changed(3, "DELETE FROM audit WHERE number = 3");
        await Changed(1, "DELETE FROM audit WHERE number = 1");
        await Changed(null, "DELETE FROM audit WHERE number = 5");
        await Changed(null, "DELETE FROM audit WHERE number > 1");
        await Changed(null, "DELETE FROM audit");
        await Changed(2, "UPDATE audit SET number = -1 WHERE number = 2", "UPDATE audit SET number = 2 WHERE number = 4", "UPDATE audit SET number = 4 WHERE number = -1");
        await Changed(6, $"INSERT INTO audit SELECT 6, {string.Join(", ", Columns[1..])} FROM audit WHERE number = 5");
        await Changed(null, "UPDATE audit_head SET number = 6");
        await Changed(5, "UPDATE audit_head SET hash = (SELECT hash FROM audit WHERE number = 4)");
        await Changed(5, "DELETE FROM audit_head");

        // Who cuts the tail off and puts the head back is found by who kept it.
        await Sql("DELETE FROM audit WHERE number = 5");
        await Sql("UPDATE audit_head SET number = 4, hash = (SELECT hash FROM audit WHERE number = 4)");
        Assert.Null((await log.Verify()).Problem);
        Assert.Contains("The head that was kept is record 5", (await log.Verify(kept)).Problem, StringComparison.Ordinal);
        var other = Entry();
        await log.Begin(other);
        await log.End(other, AuditOutcome.Done, null, null, Now);
        Assert.Equal((5, "The head that was kept has another hash."), ((await log.Verify(kept)).FirstBad, (await log.Verify(kept)).Problem));

        async Task Changed(long? number, params string[] statements)
        {
            await Sql("CREATE TABLE kept AS SELECT * FROM audit");
            await Sql("CREATE TABLE kept_head AS SELECT * FROM audit_head");
            foreach (var statement in statements) await Sql(statement);
            await Found(number, statements[0]);
            foreach (var statement in (string[])["DELETE FROM audit", "INSERT INTO audit SELECT * FROM kept", "DELETE FROM audit_head", "INSERT INTO audit_head SELECT * FROM kept_head", "DROP TABLE kept", "DROP TABLE kept_head"]) await Sql(statement);
            Assert.Null((await log.Verify()).Problem);
        }
    }

    [Fact]
    public async Task the_chain_is_recomputed_from_raw_rows_with_sha256_and_its_specification_alone()
    {
        await Five();
        var previous = new byte[32];
        foreach (var row in await database.Read(c => c.Query($"SELECT {string.Join(", ", Columns)} FROM audit ORDER BY number").Select(r => ((IDictionary<string, object?>)r).Values.ToArray()).ToList()))
        {
            using var sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            Part(sha, previous);
            foreach (var value in row[..^1]) Part(sha, value switch
            {
                null => [],
                string text => Encoding.UTF8.GetBytes(text),
                var number => BitConverter.GetBytes(BinaryPrimitives.ReverseEndianness((long)number)),
            });
            previous = sha.GetHashAndReset();
            Assert.Equal((byte[])row[^1]!, previous);
        }
        Assert.Equal(previous, (await log.Head()).Hash);

        static void Part(IncrementalHash sha, byte[] bytes)
        {
            sha.AppendData(BitConverter.GetBytes(BinaryPrimitives.ReverseEndianness(bytes.Length)));
            sha.AppendData(bytes);
        }
    }

    [Fact]
    public async Task what_no_database_would_give_back_is_written_so_that_it_verifies()
    {
        await log.Add(Entry() with { Reason = "a\0b\ud800c\uFFFD", CallerName = "" }, AuditOutcome.Done, "", Now);
        var record = (await log.List(new AuditFilter(), long.MaxValue, 1))[0];
        Assert.Equal(("a?b?c?", "?", null), (record.Reason, record.CallerName, record.After));
        Assert.Null((await log.Verify()).Problem);
    }
}

public sealed class SqliteAuditLogTests : AuditLogConformance
{
    private readonly string folder = Directory.CreateTempSubdirectory("billing-audit-").FullName;

    protected override Database Open() => SqliteDatabase.Open(Path.Combine(folder, "ledger.db"));

    public override async Task DisposeAsync()
    {
        await base.DisposeAsync();
        Directory.Delete(folder, recursive: true);
    }

    [Theory]
    [InlineData("caller = CAST(caller AS BLOB)")]
    [InlineData("reason = reason || char(0) || 'and more'")]
    [InlineData("at = at + 0.5")]
    [InlineData("hash = 'text'")]
    public async Task what_sqlite_keeps_and_nobody_wrote_is_found(string change)
    {
        await using var database = Open();
        var log = await AuditLog.Open(database, Instant.FromUtc(2026, 11, 20, 10, 0));
        await log.Add(new AuditEntry("1", Instant.FromUtc(2026, 11, 20, 10, 0), "key_1", "Ops", "flag.set", null, null, "why", null, "r", null), AuditOutcome.Done, null, Instant.FromUtc(2026, 11, 20, 10, 0));
        await database.Write(c => c.Execute($"UPDATE audit SET {change}"));
        Assert.Equal(1, (await log.Verify()).FirstBad);
    }
}

public sealed class PostgresAuditLogTests : AuditLogConformance
{
    private readonly string name = PostgresServer.Shared.CreateDatabase();

    protected override Database Open() => PostgresDatabase.Open(PostgresServer.Shared.ConnectionString(name), TimeSpan.FromMinutes(1));
}
