using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo.Storage.Sqlite;
using Billing.Tests.Grains;
using Microsoft.Data.Sqlite;
using NodaTime;
using Xunit.Abstractions;

namespace Billing.Tests.Journal;

/// <summary>The chain, seen from outside: recomputed with nothing of ours, and tampered with behind the service's back.</summary>
public sealed class ChainTests(ITestOutputHelper output) : IAsyncLifetime
{
    private const string Organization = "acme-corp";
    private const string Other = "zenith";
    private const int Tamperings = 200;

    private static readonly string[] TextColumns = ["organization", "type", "command_id"];
    private static readonly string[] NumberColumns = ["version", "schema", "effective_at", "recorded_at"];
    private static readonly string[] BytesColumns = ["content_hash", "body", "hash"];

    private readonly string folder = Directory.CreateTempSubdirectory("billing-").FullName;
    private byte[] untouched = [];
    private long events;

    private string FilePath => Path.Combine(folder, "ledger.db");

    public async Task InitializeAsync()
    {
        await using (var database = SqliteDatabase.Open(FilePath))
        await using (var host = new LedgerHost(new SqliteJournal(database), () => Sessions.Catalogs, long.MaxValue))
        {
            foreach (var id in new[] { Other, Organization }) await WriteHistory(host.Organization(id));
            events = (await host.Organization(Organization).Read(Sessions.At))!.Version;
        }
        // One file: what is in the write-ahead log is brought home when the last connection closes.
        Assert.False(File.Exists($"{FilePath}-wal"));
        untouched = await File.ReadAllBytesAsync(FilePath);
    }

    public Task DisposeAsync()
    {
        Directory.Delete(folder, recursive: true);
        return Task.CompletedTask;
    }

    [Fact]
    public void the_chain_is_recomputed_from_raw_rows_with_sha256_and_its_specification_alone()
    {
        using var connection = Connect();
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
        var report = await Verify();

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

    public static TheoryData<string> Columns => [.. TextColumns, .. NumberColumns, .. BytesColumns];

    [Theory]
    [MemberData(nameof(Columns))]
    public async Task any_flipped_bit_of_a_column_is_found(string column)
    {
        // The first event has a command id: all columns are set.
        const long version = 1;
        using var connection = Connect();
        await using var database = SqliteDatabase.Open(FilePath);
        var position = PositionOf(connection, version);
        var original = Read(connection, column, position);
        for (var bit = 0; bit < original.Length * 8; bit += Math.Max(1, original.Length * 8 / 64))
        {
            if (!TryWrite(connection, column, position, Flip(original, bit))) continue;
            var report = await ChainVerifier.Verify(new SqliteJournal(database), Organization);
            Assert.True(report.Problem is not null && report.FirstBadVersion == version, $"Bit {bit} of {column}: {report}");
            Assert.True(TryWrite(connection, column, position, original));
        }
    }

    [Fact]
    public async Task a_dropped_event_is_found()
    {
        Execute($"DELETE FROM events WHERE organization = '{Organization}' AND version = 5");

        await AssertFound(5, "Version 5 is missing");
    }

    [Fact]
    public async Task a_cut_off_tail_is_found()
    {
        Execute($"DELETE FROM events WHERE organization = '{Organization}' AND version > 9");

        await AssertFound(10, $"ends at version 9; its head is at {events}");
    }

    [Fact]
    public async Task a_stream_of_which_nothing_is_left_is_found()
    {
        Execute($"DELETE FROM events WHERE organization = '{Organization}'");

        await AssertFound(1, "ends at version 0");
    }

    [Fact]
    public async Task a_removed_head_is_found()
    {
        Execute($"DELETE FROM streams WHERE organization = '{Organization}'");

        await AssertFound(1, "its head is at 0");
    }

    [Fact]
    public async Task a_head_that_was_put_back_is_found()
    {
        Execute($"UPDATE streams SET version = 6 WHERE organization = '{Organization}'");

        await AssertFound(6, "head's hash");
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
            using var connection = Connect();
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

        await AssertFound(events + 1, $"its head is at {events}");
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

    [Fact]
    public async Task two_hundred_random_tamperings_are_all_found_at_their_place()
    {
        var seed = Environment.TickCount;
        output.WriteLine($"seed {seed}");
        var random = new Random(seed);
        for (var i = 0; i < Tamperings; i++)
        {
            var (what, firstBad) = Tamper(random);
            var report = await Verify();
            Assert.True(report.Problem is not null && report.FirstBadVersion == firstBad, $"Seed {seed}, tampering {i}: {what} should be found at {firstBad}: {report}");
            Restore();
            Assert.Null((await Verify()).Problem);
        }
    }

    // ---- tampering

    /// <returns>What was done, and the first version that does not fit any more.</returns>
    private (string What, long FirstBad) Tamper(Random random)
    {
        using var connection = Connect();
        var (a, b) = (random.NextInt64(1, events), random.NextInt64(1, events));
        if (a == b) b++;
        switch (random.Next(6))
        {
            case 0:
                Execute(connection, $"DELETE FROM events WHERE organization = '{Organization}' AND version = {a}");
                return ($"{a} dropped", a);
            case 1:
                Execute(connection, $"""
                    UPDATE events SET version = -1 WHERE organization = '{Organization}' AND version = {a};
                    UPDATE events SET version = {a} WHERE organization = '{Organization}' AND version = {b};
                    UPDATE events SET version = {b} WHERE organization = '{Organization}' AND version = -1;
                    """);
                return ($"{a} and {b} swapped", Math.Min(a, b));
            case 2:
                Execute(connection, $"DELETE FROM events WHERE organization = '{Organization}' AND version >= {a}");
                return ($"cut off from {a} on", a);
            default:
                string[] columns = [.. TextColumns, .. NumberColumns, .. BytesColumns];
                while (true)
                {
                    var column = columns[random.Next(columns.Length)];
                    var position = PositionOf(connection, a);
                    var original = Read(connection, column, position);
                    if (original.Length == 0) continue;
                    var bit = random.Next(original.Length * 8);
                    if (TryWrite(connection, column, position, Flip(original, bit))) return ($"bit {bit} of {column} of {a}", a);
                }
        }
    }

    private static byte[] Flip(byte[] original, int bit)
    {
        var changed = original.ToArray();
        changed[bit / 8] ^= (byte)(0x80 >> (bit % 8));
        return changed;
    }

    private static long PositionOf(SqliteConnection connection, long version)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT position FROM events WHERE organization = '{Organization}' AND version = {version}";
        return (long)command.ExecuteScalar()!;
    }

    /// <summary>A column's stored bytes; numbers as 8 of them, big-endian.</summary>
    private static byte[] Read(SqliteConnection connection, string column, long position)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT {(NumberColumns.Contains(column) ? column : $"CAST({column} AS BLOB)")} FROM events WHERE position = {position}";
        var value = command.ExecuteScalar();
        if (value is not long number) return value as byte[] ?? [];
        var bytes = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(bytes, number);
        return bytes;
    }

    /// <returns>False when the file's own indexes refuse it.</returns>
    private static bool TryWrite(SqliteConnection connection, string column, long position, byte[] bytes)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"UPDATE events SET {column} = {(TextColumns.Contains(column) ? "CAST($value AS TEXT)" : "$value")} WHERE position = {position}";
        command.Parameters.AddWithValue("$value", NumberColumns.Contains(column) ? BinaryPrimitives.ReadInt64BigEndian(bytes) : bytes);
        try
        {
            return command.ExecuteNonQuery() == 1;
        }
        catch (SqliteException e) when (e.SqliteErrorCode == 19)
        {
            return false;
        }
    }

    // ---- the file

    /// <summary>A short life: a command with several events, tokens, windows that turn, and numbers that differ from event to event.</summary>
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

    private SqliteConnection Connect()
    {
        SQLitePCL.Batteries_V2.Init();
        var connection = new SqliteConnection($"Data Source={FilePath};Pooling=False");
        connection.Open();
        return connection;
    }

    private void Execute(string sql)
    {
        using var connection = Connect();
        Execute(connection, sql);
    }

    private static void Execute(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        Assert.NotEqual(0, command.ExecuteNonQuery());
    }

    private void Restore()
    {
        foreach (var file in Directory.GetFiles(folder)) File.Delete(file);
        File.WriteAllBytes(FilePath, untouched);
    }

    private async Task<ChainReport> Verify()
    {
        await using var database = SqliteDatabase.Open(FilePath);
        return await ChainVerifier.Verify(new SqliteJournal(database), Organization);
    }

    private async Task AssertFound(long version, string because)
    {
        var report = await Verify();
        Assert.Equal(version, report.FirstBadVersion);
        Assert.Contains(because, report.Problem, StringComparison.Ordinal);
    }
}
