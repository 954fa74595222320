using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Billing.Grains.Journal;
using Billing.Silo.Storage.Sqlite;
using Microsoft.Data.Sqlite;
using Xunit.Abstractions;

namespace Billing.Tests.Journal;

/// <summary>
/// Whatever is changed in the database behind the service's back is found, and its place is named: by SQL, and by a bit
/// flipped anywhere in the file.
/// </summary>
public sealed class TamperTests(ITestOutputHelper output) : IAsyncLifetime
{
    private const string Organization = LedgerFile.Organization;

    private static readonly string[] TextColumns = ["organization", "type", "command_id"];
    private static readonly string[] NumberColumns = ["version", "schema", "effective_at", "recorded_at", "due_at"];
    private static readonly string[] BytesColumns = ["content_hash", "body", "hash"];
    private static readonly string[] EventColumns = [.. TextColumns, .. NumberColumns[..^1], .. BytesColumns];

    private LedgerFile ledger = null!;

    public async Task InitializeAsync() => ledger = await LedgerFile.Create();

    public Task DisposeAsync()
    {
        ledger.Dispose();
        return Task.CompletedTask;
    }

    // ---- one column of an event

    public static TheoryData<string> Columns => [.. EventColumns];

    [Theory]
    [MemberData(nameof(Columns))]
    public async Task a_flipped_bit_of_any_column_of_an_event_is_found_at_its_version(string column)
    {
        // The first event has a command id: all columns are set.
        const long version = 1;
        using var connection = ledger.Connect();
        await using var database = SqliteDatabase.OpenReadOnly(ledger.Path);
        var position = PositionOf(connection, version);
        var original = Read(connection, column, position);
        for (var bit = 0; bit < original.Length * 8; bit += 1 + original.Length / 64)
        {
            if (!TryWrite(connection, column, position, Tampering.Flip(original, bit))) continue;
            var report = await ChainVerifier.Verify(new SqliteJournal(database), Organization);
            Assert.True(report.Problem is not null && report.FirstBadVersion == version, $"Bit {bit} of {column}: {report}");
            Assert.True(TryWrite(connection, column, position, original));
        }
        Assert.Null((await ChainVerifier.Verify(new SqliteJournal(database), Organization)).Problem);
    }

    [Theory]
    [InlineData("organization = CAST(organization AS BLOB)", "is missing")]
    [InlineData("type = CAST(type AS BLOB)", "type is stored as a blob instead of a text")]
    [InlineData("type = CAST(x'75736167652dff' AS TEXT)", "type is no UTF-8")]
    [InlineData("type = type || char(0) || 'x'", "hash of version 7 does not follow")]
    [InlineData("schema = 'one'", "schema is stored as a text instead of an integer")]
    [InlineData("schema = 1.5", "schema is stored as a real number instead of an integer")]
    [InlineData("schema = 4294967297", "schema is 4294967297, which is none")]
    [InlineData("effective_at = 9223372036854775807", "effective_at is 9223372036854775807, which is no time")]
    [InlineData("effective_at = CAST('soon' AS BLOB)", "effective_at is stored as a blob instead of an integer")]
    [InlineData("recorded_at = -9223372036854775807", "recorded_at is -9223372036854775807, which is no time")]
    [InlineData("recorded_at = recorded_at + 1", "hash of version 7 does not follow")]
    [InlineData("command_id = CAST(command_id AS BLOB)", "command_id is stored as a blob instead of a text")]
    [InlineData("command_id = command_id || char(0)", "hash of version 7 does not follow")]
    [InlineData("command_id = NULL", "a command id without a content hash, or the other way round")]
    [InlineData("command_id = NULL, content_hash = NULL", "hash of version 7 does not follow")]
    [InlineData("content_hash = hex(content_hash)", "content_hash is stored as a text instead of a blob")]
    [InlineData("content_hash = x''", "an empty one")]
    [InlineData("body = CAST(body AS TEXT)", "body is stored as a text instead of a blob")]
    [InlineData("body = x''", "hash of version 7 does not follow")]
    [InlineData("body = CAST(replace(CAST(body AS TEXT), ':', ': ') AS BLOB)", "hash of version 7 does not follow")]
    [InlineData("hash = CAST(hash AS TEXT)", "hash is stored as a text instead of a blob")]
    [InlineData("hash = 7", "hash is stored as an integer instead of a blob")]
    public async Task what_only_looks_like_what_was_written_is_found(string change, string because)
    {
        ledger.Execute($"UPDATE events SET {change} WHERE organization = '{Organization}' AND version = 7");

        await ledger.AssertFound(7, because);
    }

    [Theory]
    [InlineData("command_id = ''")]
    [InlineData("content_hash = x''")]
    [InlineData("command_id = '', content_hash = x''")]
    public async Task empty_is_not_the_same_as_absent(string change)
    {
        using var connection = ledger.Connect();
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT version FROM events WHERE organization = '{Organization}' AND command_id IS NULL ORDER BY version LIMIT 1";
        var version = (long)command.ExecuteScalar()!;
        LedgerFile.Execute(connection, $"UPDATE events SET {change} WHERE organization = '{Organization}' AND version = {version}");

        await ledger.AssertFound(version, "an empty one");
    }

    // ---- the head's row

    [Theory]
    [InlineData("version = -1", "version is -1, which is no event's")]
    [InlineData("version = 0", "version is 0, which is no event's")]
    [InlineData("version = 'all'", "version is stored as a text instead of an integer")]
    [InlineData("hash = CAST(hash AS TEXT)", "hash is stored as a text instead of a blob")]
    [InlineData("hash = x'00'", "head's hash is not that of version")]
    [InlineData("due_at = 'soon'", "due_at is stored as a text instead of an integer")]
    [InlineData("due_at = 9223372036854775807", "which is no time")]
    [InlineData("due_at = due_at + 1", "Something is due at")]
    [InlineData("due_at = NULL", "Something is due at never by the head's row; by the events it is 2")]
    public async Task a_changed_head_is_found(string change, string because)
    {
        ledger.Execute($"UPDATE streams SET {change} WHERE organization = '{Organization}'");

        await ledger.AssertFound(ledger.Events, because);
    }

    [Fact]
    public async Task a_flipped_bit_of_the_head_is_found()
    {
        using var connection = ledger.Connect();
        await using var database = SqliteDatabase.OpenReadOnly(ledger.Path);
        foreach (var column in (string[])["version", "hash", "due_at", "organization"])
        {
            var original = ReadHead(connection, column);
            for (var bit = 0; bit < original.Length * 8; bit++)
            {
                var changed = WriteHead(connection, column, Tampering.Flip(original, bit), Organization);
                var report = await ChainVerifier.Verify(new SqliteJournal(database), Organization);
                Assert.True(report.Problem is not null, $"Bit {bit} of {column} of the head: {report}");
                WriteHead(connection, column, original, changed);
            }
        }
        Assert.Null((await ChainVerifier.Verify(new SqliteJournal(database), Organization)).Problem);
    }

    [Fact]
    public async Task what_belongs_to_no_stream_is_found_in_the_whole_journal()
    {
        using var connection = ledger.Connect();
        LedgerFile.Execute(connection, $"UPDATE events SET organization = 'stranger' WHERE organization = '{Organization}' AND version = {ledger.Events}");
        LedgerFile.Execute(connection, $"UPDATE events SET organization = x'ff00' WHERE organization = '{Organization}' AND version = {ledger.Events - 1}");
        LedgerFile.Execute(connection, "INSERT INTO streams (organization, version, hash) VALUES (CAST(x'ff' AS TEXT), 1, x'00')");

        await using var database = SqliteDatabase.OpenReadOnly(ledger.Path);
        var inventory = await database.TakeInventory();

        Assert.Equal([Organization, LedgerFile.Other], inventory.Organizations);
        Assert.Equal(3, inventory.Problems.Count);
        Assert.Contains("The row of a head is damaged: its organization is x'ff', which is no text.", inventory.Problems);
        Assert.Contains("There are events of 'stranger', which has no head.", inventory.Problems);
        Assert.Contains("There are events of x'ff00', which is no text, which has no head.", inventory.Problems);
    }

    [Fact]
    public async Task a_journal_that_is_whole_has_nothing_that_belongs_to_no_stream()
    {
        await using var database = SqliteDatabase.OpenReadOnly(ledger.Path);
        var inventory = await database.TakeInventory();

        Assert.Equal([Organization, LedgerFile.Other], inventory.Organizations);
        Assert.Empty(inventory.Problems);
    }

    // ---- at random

    [Fact]
    public async Task random_tamperings_with_the_database_are_all_found_at_their_place()
    {
        var random = Tampering.Seeded(output, out var seed);
        for (var i = 0; i < Tampering.Count; i++)
        {
            var (what, place) = Tamper(random);
            var report = await ledger.Verify();
            Assert.True(report.Problem is not null && report.FirstBadVersion == place, $"Seed {seed}, tampering {i}: {what} should be found at {place}: {report}");
            ledger.Restore();
        }
        Assert.Null((await ledger.Verify()).Problem);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(9)]
    public async Task what_the_table_says_is_looked_at_and_not_only_its_index(int offset)
    {
        // A row of the table, as SQLite lays it out: organization, version, type. The index by version has its own copy of the first two.
        var file = await File.ReadAllBytesAsync(ledger.Path);
        var row = file.AsSpan().IndexOf("acme-corp\u0007usage-recorded"u8);
        Assert.True(row > 0);
        file[row + offset] ^= 1;
        await File.WriteAllBytesAsync(ledger.Path, file);

        await ledger.AssertFound(7, offset == 0 ? "Version 7 is of another organization, '`cme-corp'." : "Version 7 is missing: 6 follows 6.");
    }

    [Fact]
    public async Task a_bit_flipped_anywhere_in_the_file_is_found_or_changes_nothing_that_is_read()
    {
        var random = Tampering.Seeded(output, out var seed);
        string[] organizations = [Organization, LedgerFile.Other];
        var before = new List<byte[]>();
        foreach (var organization in organizations) before.Add(await ledger.Export(organization));
        var file = await File.ReadAllBytesAsync(ledger.Path);
        var found = 0;
        for (var i = 0; i < Tampering.Count; i++)
        {
            var bit = random.Next(file.Length * 8);
            await File.WriteAllBytesAsync(ledger.Path, Tampering.Flip(file, bit));
            try
            {
                var good = true;
                foreach (var organization in organizations) good &= (await ledger.Verify(organization: organization)).Problem is null;
                if (!good)
                {
                    found++;
                    continue;
                }
                foreach (var (organization, expected) in organizations.Zip(before))
                    Assert.True((await ledger.Export(organization)).AsSpan().SequenceEqual(expected), $"Seed {seed}: bit {bit} of the file changed what is read of {organization}, and nothing was found.");
            }
            catch (Exception e) when (e is SqliteException or InvalidDataException)
            {
                // No database any more: that is found, too.
                found++;
            }
        }
        output.WriteLine($"{found} of {Tampering.Count} flips were in what is read.");
        Assert.InRange(found, Tampering.Count / 20, Tampering.Count);
    }

    // ---- tampering with the database

    /// <returns>What was done, and the first version that does not fit any more.</returns>
    private (string What, long Place) Tamper(Random random)
    {
        using var connection = ledger.Connect();
        var events = ledger.Events;
        var (a, b) = (random.NextInt64(1, events), random.NextInt64(1, events));
        if (a == b) b++;
        switch (random.Next(8))
        {
            case 0:
                LedgerFile.Execute(connection, $"DELETE FROM events WHERE organization = '{Organization}' AND version = {a}");
                return ($"{a} dropped", a);
            case 1:
                LedgerFile.Execute(connection, $"""
                    UPDATE events SET version = -1 WHERE organization = '{Organization}' AND version = {a};
                    UPDATE events SET version = {a} WHERE organization = '{Organization}' AND version = {b};
                    UPDATE events SET version = {b} WHERE organization = '{Organization}' AND version = -1;
                    """);
                return ($"{a} and {b} swapped", Math.Min(a, b));
            case 2:
                LedgerFile.Execute(connection, $"DELETE FROM events WHERE organization = '{Organization}' AND version >= {a}");
                return ($"cut off from {a} on", a);
            case 3:
                LedgerFile.Execute(connection, $"""
                    INSERT INTO events (organization, version, type, schema, effective_at, recorded_at, content_hash, body, hash)
                    SELECT organization, {events + 1}, type, schema, effective_at, recorded_at, NULL, body, hash FROM events WHERE organization = '{Organization}' AND version = {a}
                    """);
                return ($"{a} repeated behind the head", events + 1);
            case 4:
                var bit = random.Next(64);
                var version = events ^ (1L << bit);
                WriteHead(connection, "version", Bytes(version), Organization);
                return ($"bit {bit} of the head's version", version < 1 ? events : version > events ? events + 1 : version);
            default:
                while (true)
                {
                    var column = EventColumns[random.Next(EventColumns.Length)];
                    var position = PositionOf(connection, a);
                    var original = Read(connection, column, position);
                    if (original.Length == 0) continue;
                    var flipped = random.Next(original.Length * 8);
                    if (TryWrite(connection, column, position, Tampering.Flip(original, flipped))) return ($"bit {flipped} of {column} of {a}", a);
                }
        }
    }

    private static long PositionOf(SqliteConnection connection, long version)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT position FROM events WHERE organization = '{Organization}' AND version = {version}";
        return (long)command.ExecuteScalar()!;
    }

    private static byte[] Read(SqliteConnection connection, string column, long position) => Read(connection, column, $"events WHERE position = {position}");

    private static byte[] ReadHead(SqliteConnection connection, string column) => Read(connection, column, $"streams WHERE organization = '{Organization}'");

    /// <summary>A column's stored bytes; numbers as 8 of them, big-endian.</summary>
    private static byte[] Read(SqliteConnection connection, string column, string where)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT {(NumberColumns.Contains(column) ? column : $"CAST({column} AS BLOB)")} FROM {where}";
        var value = command.ExecuteScalar();
        return value is long number ? Bytes(number) : value as byte[] ?? [];
    }

    /// <returns>False when the file's own indexes refuse it.</returns>
    private static bool TryWrite(SqliteConnection connection, string column, long position, byte[] bytes)
    {
        try
        {
            return Write(connection, column, bytes, $"events SET {{0}} WHERE position = {position}") == 1;
        }
        catch (SqliteException e) when (e.SqliteErrorCode == 19)
        {
            return false;
        }
    }

    /// <returns>What the row's organization is now, as SQL.</returns>
    private static string WriteHead(SqliteConnection connection, string column, byte[] bytes, string organization)
    {
        Assert.Equal(1, Write(connection, column, bytes, $"streams SET {{0}} WHERE CAST(organization AS BLOB) = {Sql(organization)}"));
        return column == "organization" ? $"x'{Convert.ToHexString(bytes)}'" : organization;

        static string Sql(string organization) => organization.StartsWith("x'", StringComparison.Ordinal) ? organization : $"x'{Convert.ToHexString(Encoding.UTF8.GetBytes(organization))}'";
    }

    private static int Write(SqliteConnection connection, string column, byte[] bytes, string statement)
    {
        using var command = connection.CreateCommand();
        command.CommandText = "UPDATE " + string.Format(CultureInfo.InvariantCulture, statement, $"{column} = {(TextColumns.Contains(column) ? "CAST($value AS TEXT)" : "$value")}");
        command.Parameters.AddWithValue("$value", NumberColumns.Contains(column) ? BinaryPrimitives.ReadInt64BigEndian(bytes) : bytes);
        return command.ExecuteNonQuery();
    }

    private static byte[] Bytes(long number)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(bytes, number);
        return bytes;
    }
}
