using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo.Storage.Sqlite;
using Billing.Tests.Grains;

namespace Billing.Tests.Journal;

/// <summary>The chain, seen from outside: recomputed with nothing of ours, and what verifying it finds. Every single bit is TamperTests' work.</summary>
public sealed class ChainTests : IAsyncLifetime
{
    private const string Organization = LedgerFile.Organization;

    private LedgerFile ledger = null!;

    private long events;

    private string FilePath => ledger.Path;

    public async Task InitializeAsync()
    {
        ledger = await LedgerFile.Create();
        events = ledger.Events;
    }

    public Task DisposeAsync()
    {
        ledger.Dispose();
        return Task.CompletedTask;
    }

    [Fact]
    public void the_chain_is_recomputed_from_raw_rows_with_sha256_and_its_specification_alone()
    {
        using var connection = ledger.Connect();
        using var command = connection.CreateCommand();
        command.CommandText = """
            SELECT organization, version, type, schema, effective_at, recorded_at, command_id, content_hash, body, hash
            FROM events WHERE organization = 'acme-corp' ORDER BY version
            """;
        var previous = new byte[32];
        var (count, withCommand) = (0, 0);
        using (var row = command.ExecuteReader())
        {
            while (row.Read())
            {
                using var sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
                Part(sha, previous);
                for (var column = 0; column < 9; column++) Part(sha, Bytes(row.GetValue(column)));
                previous = sha.GetHashAndReset();
                Assert.Equal(Convert.ToHexString((byte[])row.GetValue(9)), Convert.ToHexString(previous));
                count++;
                if (!row.IsDBNull(6)) withCommand++;
            }
        }

        Assert.Equal(events, count);
        Assert.True(withCommand > 0 && withCommand < count, "The history has events with and without a command id.");
        command.CommandText = "SELECT hash FROM streams WHERE organization = 'acme-corp'";
        Assert.Equal(previous, (byte[])command.ExecuteScalar()!);

        static void Part(IncrementalHash sha, byte[] bytes)
        {
            Span<byte> length = stackalloc byte[4];
            BinaryPrimitives.WriteInt32BigEndian(length, bytes.Length);
            sha.AppendData(length);
            sha.AppendData(bytes);
        }

        static byte[] Bytes(object value)
        {
            if (value is not long number) return value as byte[] ?? (value is string text ? Encoding.UTF8.GetBytes(text) : []);
            var bytes = new byte[8];
            BinaryPrimitives.WriteInt64BigEndian(bytes, number);
            return bytes;
        }
    }

    [Fact]
    public async Task an_untouched_stream_verifies()
    {
        var report = await ledger.Verify();

        Assert.Null(report.Problem);
        Assert.Null(report.FirstBadVersion);
        Assert.Equal(events, report.Events);
    }

    [Fact]
    public async Task a_stream_that_does_not_exist_verifies_as_empty()
    {
        await using var database = SqliteDatabase.Open(FilePath);

        var report = await ChainVerifier.Verify(new SqliteJournal(database), "nobody");

        Assert.Equal((0L, null), (report.Events, report.Problem));
    }

    [Fact]
    public async Task a_dropped_event_is_found()
    {
        ledger.Execute($"DELETE FROM events WHERE organization = '{Organization}' AND version = 5");

        await ledger.AssertFound(5, "Version 5 is missing");
    }

    [Fact]
    public async Task a_cut_off_tail_is_found()
    {
        ledger.Execute($"DELETE FROM events WHERE organization = '{Organization}' AND version > 9");

        await ledger.AssertFound(10, $"ends at version 9; its head is at {events}");
    }

    [Fact]
    public async Task a_stream_of_which_nothing_is_left_is_found()
    {
        ledger.Execute($"DELETE FROM events WHERE organization = '{Organization}'");

        await ledger.AssertFound(1, "ends at version 0");
    }

    [Fact]
    public async Task a_removed_head_is_found()
    {
        ledger.Execute($"DELETE FROM streams WHERE organization = '{Organization}'");

        await ledger.AssertFound(1, "its head is at 0");
    }

    [Fact]
    public async Task a_head_that_was_put_back_is_found()
    {
        ledger.Execute($"UPDATE streams SET version = 6 WHERE organization = '{Organization}'");

        await ledger.AssertFound(6, "head's hash");
    }

    [Fact]
    public async Task an_event_slipped_in_behind_the_head_is_found()
    {
        // With the right hash even: only the head does not know it.
        await using (var database = SqliteDatabase.Open(FilePath))
        {
            var journal = new SqliteJournal(database);
            var head = await journal.ReadHead(Organization);
            var forged = EventCodec.Default.Encode(
                Organization, new TokensGranted(GrantKind.Granted, 1_000_000, 50, null, null) { Version = events + 1, EffectiveAt = Sessions.At, RecordedAt = Sessions.At },
                null, null, head!.Hash);
            using var connection = ledger.Connect();
            using var command = connection.CreateCommand();
            command.CommandText = "INSERT INTO events (organization, version, type, schema, effective_at, recorded_at, body, hash) VALUES ($o, $v, $t, $s, $e, $r, $b, $h)";
            command.Parameters.AddWithValue("$o", Organization);
            command.Parameters.AddWithValue("$v", forged.Version);
            command.Parameters.AddWithValue("$t", forged.Type);
            command.Parameters.AddWithValue("$s", forged.Schema);
            command.Parameters.AddWithValue("$e", Micros.Of(forged.EffectiveAt));
            command.Parameters.AddWithValue("$r", Micros.Of(forged.RecordedAt));
            command.Parameters.AddWithValue("$b", forged.Body);
            command.Parameters.AddWithValue("$h", forged.Hash);
            Assert.Equal(1, command.ExecuteNonQuery());
        }

        await ledger.AssertFound(events + 1, $"its head is at {events}");
    }

    [Fact]
    public async Task events_appended_while_a_stream_is_verified_are_no_tampering()
    {
        await using var database = SqliteDatabase.Open(FilePath);
        await using var host = new LedgerHost(new SqliteJournal(database), () => Sessions.Catalogs, long.MaxValue);
        var appending = Task.Run(async () =>
        {
            for (var i = 0; i < 200; i++) await host.Organization(Organization).Execute(Sessions.Use($"meanwhile-{i}"));
        });
        while (!appending.IsCompleted) Assert.Null((await ChainVerifier.Verify(new SqliteJournal(database), Organization)).Problem);
        await appending;

        Assert.Equal(events + 200, (await ChainVerifier.Verify(new SqliteJournal(database), Organization)).Events);
    }

    [Fact]
    public async Task a_chain_that_holds_over_books_that_do_not_close_is_found()
    {
        var journal = new MemoryJournal();
        var opened = EventCodec.Default.Encode(Organization, new OrganizationOpened("UTC", false, null, 1) { Version = 1, EffectiveAt = Sessions.At, RecordedAt = Sessions.At }, "open", [1], HashChain.Start);
        // Covers three of four.
        var used = EventCodec.Default.Encode(
            Organization, new UsageRecorded("calls", 4, 3, 0, 0, null, false, null, null, [new CountedWindow(Window.Day, Sessions.At, Bounds.Never)], "free", 1, null)
            {
                Version = 2, EffectiveAt = Sessions.At, RecordedAt = Sessions.At,
            }, "use", [1], opened.Hash);
        await journal.AppendGroup([new StreamAppend(Organization, 0, [opened, used], null)]);

        var report = await ChainVerifier.Verify(journal, Organization);

        Assert.Equal(2, report.FirstBadVersion);
        Assert.Contains("books do not close", report.Problem, StringComparison.Ordinal);
    }
}
