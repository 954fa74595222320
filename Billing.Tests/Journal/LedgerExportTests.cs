using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo.Storage.Sqlite;
using Billing.Tests.Grains;
using NodaTime;

namespace Billing.Tests.Journal;

/// <summary>
/// An export is for ever: export.golden.ndjson was written once, and every later build verifies it and would write the
/// same. UPDATE_GOLDEN=1 writes it anew; then old exports are not what they were.
/// </summary>
public sealed class LedgerExportTests
{
    private static readonly string Golden = Path.Combine(Repository.Root, "Billing.Tests", "Journal", "export.golden.ndjson");

    private static byte[] GoldenBytes => File.ReadAllBytes(Golden);

    // ---- the format

    [Fact]
    public async Task the_golden_export_is_verified_without_any_database()
    {
        var report = await LedgerFile.VerifyExport(GoldenBytes);

        Assert.Null(report.Problem);
        Assert.Null(report.FirstBadVersion);
        Assert.Equal(("acme", 5L), (report.Organization, report.Events));
    }

    [Fact]
    public async Task a_stream_is_written_as_the_golden_export()
    {
        var written = await LedgerFile.Written(Stream("acme", Sample()));
        if (Environment.GetEnvironmentVariable("UPDATE_GOLDEN") == "1") await File.WriteAllBytesAsync(Golden, written);

        Assert.Equal(Encoding.UTF8.GetString(GoldenBytes), Encoding.UTF8.GetString(written));
        // And what was read is written as it was read.
        Assert.Equal(written, await LedgerFile.Written(await LedgerExport.Read(new MemoryStream(GoldenBytes))));
    }

    [Fact]
    public void an_export_is_verified_with_sha256_and_its_specification_alone()
    {
        var lines = File.ReadAllLines(Golden).Select(line => JsonDocument.Parse(line).RootElement).ToList();
        var previous = new byte[32];
        foreach (var e in lines[1..^1])
        {
            using var sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            byte[][] parts =
            [
                previous, Text("organization"), Number("version"), Text("type"), Number("schema"), Number("effective_at"), Number("recorded_at"), Text("command_id"),
                Convert.FromHexString(e.GetProperty("content_hash").GetString() ?? ""), Text("body"),
            ];
            foreach (var part in parts)
            {
                sha.AppendData([(byte)(part.Length >> 24), (byte)(part.Length >> 16 & 255), (byte)(part.Length >> 8 & 255), (byte)(part.Length & 255)]);
                sha.AppendData(part);
            }
            previous = sha.GetHashAndReset();
            Assert.Equal(e.GetProperty("hash").GetString(), Convert.ToHexStringLower(previous));

            byte[] Text(string name) => Encoding.UTF8.GetBytes(e.GetProperty(name).GetString() ?? "");

            byte[] Number(string name)
            {
                var bytes = new byte[8];
                BinaryPrimitives.WriteInt64BigEndian(bytes, e.GetProperty(name).GetInt64());
                return bytes;
            }
        }
        Assert.Equal(lines.Count - 2, lines[^1].GetProperty("head").GetProperty("version").GetInt64());
        Assert.Equal(Convert.ToHexStringLower(previous), lines[^1].GetProperty("head").GetProperty("hash").GetString());
    }

    [Fact]
    public async Task every_single_flipped_bit_of_an_export_is_found()
    {
        var export = GoldenBytes;
        for (var bit = 0; bit < export.Length * 8; bit++)
        {
            export[bit / 8] ^= (byte)(1 << (bit % 8));
            var report = await LedgerFile.VerifyExport(export);
            Assert.True(report is { Problem: not null, FirstBadVersion: not null }, $"Bit {bit % 8} of byte {bit / 8}, in '{Encoding.UTF8.GetString(export, Math.Max(0, (bit / 8) - 20), 20)}', changed unnoticed.");
            export[bit / 8] ^= (byte)(1 << (bit % 8));
        }
        Assert.Null((await LedgerFile.VerifyExport(export)).Problem);
    }

    [Fact]
    public async Task the_same_stream_is_the_same_export_from_every_journal_that_keeps_it()
    {
        using var file = await LedgerFile.Create();
        var export = await file.Export();
        var memory = new MemoryJournal();
        await using (var database = SqliteDatabase.OpenReadOnly(file.Path))
            await memory.AppendGroup([new StreamAppend(LedgerFile.Organization, 0, await new SqliteJournal(database).ReadStream(LedgerFile.Organization, 1, 1_000), null)]);

        Assert.Equal(export, await LedgerFile.Written(await LedgerStream.Of(memory, LedgerFile.Organization)));
        Assert.Equal(file.Events + 2, Encoding.UTF8.GetString(export).Count(c => c == '\n'));
    }

    [Fact]
    public async Task an_export_of_a_endless_is_read_and_written_in_pieces()
    {
        var pulled = 0;
        var endless = Stream("acme", Sample()) with { Events = Endless() };
        var pipe = new Pipe(new PipeOptions(pauseWriterThreshold: 128 * 1024, resumeWriterThreshold: 64 * 1024));

        // Nobody reads: it has to stop by itself.
        var writing = LedgerExport.Write(endless, pipe.Writer);

        Assert.False(writing.IsCompleted);
        Assert.InRange(pulled, 10, 2_000);
        await pipe.Reader.CompleteAsync();
        Assert.InRange(await writing, 10, 2_000);

        async IAsyncEnumerable<StoredEvent> Endless()
        {
            await Task.CompletedTask;
            for (; ; pulled++) yield return Sample()[2];
        }
    }

    // ---- what is no export

    [Theory]
    [InlineData("", 0, "It is empty")]
    [InlineData("\n", 0, "Line 1 is no header")]
    [InlineData("{}\n", 0, "Line 1 is no header")]
    [InlineData("# Billing Ledger\n", 0, "Line 1 is no header")]
    [InlineData("""{"format":"billing-ledger-export","version":1,"organization":"acme"}""", 0, "ends in the middle of line 1")]
    [InlineData("""{"format":"billing-ledger-export","version":2,"organization":"acme"}""" + "\n", 0, "version 2 of the format; this build reads version 1")]
    [InlineData("""{"format":"billing-ledger-export","version":1}""" + "\n", 0, "Line 1 (the header) is not as an export writes it")]
    [InlineData("""{"format":"billing-ledger-export", "version":1,"organization":"acme"}""" + "\n", 0, "Line 1 (the header) is not as an export writes it")]
    [InlineData("""{"format":"billing-ledger-export","version":1,"organization":"acme"}""" + "\n", 1, "without a head: its tail was cut off")]
    public async Task what_is_no_export_is_named(string text, long place, string because)
    {
        var report = await LedgerFile.VerifyExport(Encoding.UTF8.GetBytes(text));

        Assert.Contains(because, report.Problem, StringComparison.Ordinal);
        Assert.Equal(place, report.FirstBadVersion);
    }

    [Fact]
    public async Task a_line_without_an_end_is_not_read_for_ever()
    {
        var lines = Encoding.UTF8.GetString(GoldenBytes).Split('\n');
        var report = await LedgerFile.VerifyExport(Encoding.UTF8.GetBytes(lines[0] + "\n" + new string('x', LedgerExport.MaxLineBytes + 1_000_000)));

        Assert.Equal($"Line 2 has more than {LedgerExport.MaxLineBytes} bytes.", report.Problem);
    }

    [Fact]
    public async Task lines_behind_the_head_are_found()
    {
        var export = GoldenBytes;

        var report = await LedgerFile.VerifyExport([.. export, .. "\n"u8]);

        Assert.Equal("Line 8 stands behind the head, which is an export's last line.", report.Problem);
        Assert.Equal(6, report.FirstBadVersion);
    }

    [Fact]
    public async Task an_export_whose_tail_was_cut_off_neatly_is_good_and_a_head_that_was_kept_tells()
    {
        // Somebody cut the tail and wrote another head: all that is left is whole.
        var cut = await LedgerFile.Written(Stream("acme", Sample()[..3]));
        Assert.Null((await LedgerFile.VerifyExport(cut)).Problem);

        var report = await LedgerFile.VerifyExport(cut, kept: new StreamHead(5, Sample()[4].Hash));

        Assert.Equal("The head that was kept is of version 5; the stream ends at 3: its tail was cut off.", report.Problem);
        Assert.Equal(4, report.FirstBadVersion);
    }

    // ---- bodies that hash well and are none

    [Theory]
    [InlineData("usage-recorded", 1, "")]
    [InlineData("usage-recorded", 1, "null")]
    [InlineData("usage-recorded", 1, "[]")]
    [InlineData("usage-recorded", 1, "7")]
    [InlineData("usage-recorded", 1, "{")]
    [InlineData("usage-recorded", 1, "{} {}")]
    [InlineData("usage-recorded", 1, """{"feature":"calls","quantity":"many"}""")]
    [InlineData("usage-recorded", 1, """{"feature":"calls","quantity":9223372036854775808}""")]
    [InlineData("usage-recorded", 1, """{"feature":"calls","quantity":1,"allowance":1,"windows":[null]}""")]
    [InlineData("usage-recorded", 1, """{"feature":"calls","quantity":1,"windows":[{"window":"day","start":"never"}]}""")]
    [InlineData("usage-recorded", 1, """{"feature":"\ud800","quantity":1}""")]
    [InlineData("tokens-granted", 1, """{"kind":"unheard-of","tokens":1}""")]
    [InlineData("organization-opened", 1, "{}")]
    [InlineData("usage-imagined", 1, "{}")]
    [InlineData("usage-recorded", 99, "{}")]
    [InlineData("usage-recorded", -1, "{}")]
    public async Task a_body_that_cannot_be_read_is_a_finding_at_its_version(string type, int schema, string body)
    {
        var events = Sample()[..2].Append(Event(Sample()[1].Hash, 3, type, "odd", body, schema)).ToArray();

        foreach (var report in (ChainReport[])[await ChainVerifier.Verify(Stream("acme", events)), await LedgerFile.VerifyExport(await LedgerFile.Written(Stream("acme", events)))])
        {
            Assert.NotNull(report.Problem);
            Assert.Equal((3L, 2L), (report.FirstBadVersion, report.Events));
        }
    }

    [Fact]
    public async Task a_body_that_is_no_utf8_is_exported_byte_for_byte_and_named()
    {
        var odd = Event(Sample()[1].Hash, 3, "usage-recorded", "odd", [0x7B, 0xFF, 0x00, 0x7D]);
        var export = await LedgerFile.Written(Stream("acme", [.. Sample()[..2], odd]));

        Assert.Contains("\"body_base64\":\"e/8AfQ==\"", Encoding.UTF8.GetString(export), StringComparison.Ordinal);
        var read = await LedgerExport.Read(new MemoryStream(export));
        Assert.Equal(odd.Body, (await read.Events.ToListAsync())[2].Body);
        Assert.Equal(3, (await LedgerFile.VerifyExport(export)).FirstBadVersion);
    }

    [Fact]
    public async Task another_organizations_event_is_found_though_its_hash_is_right()
    {
        var events = Sample()[..2].Append(Event(Sample()[1].Hash, 3, "customer-linked", "odd", """{"customer":"cus_1"}""", organization: "zenith")).ToArray();

        var report = await ChainVerifier.Verify(Stream("acme", events));

        Assert.Equal((3, "Version 3 is of another organization, 'zenith'."), (report.FirstBadVersion, report.Problem));
    }

    // ---- replaying

    [Fact]
    public void two_folds_of_the_same_events_do_not_differ_and_others_differ_where_they_do()
    {
        var events = Sample().Select(EventCodec.Default.Decode).ToList();
        var (a, b) = (State.Empty("acme").Evolve(events), State.Empty("acme").Evolve(events.Select(e => e)));
        Assert.Null(StateComparison.Difference(a, b));

        Assert.Equal("Version is 5, and 4", StateComparison.Difference(a, b with { Version = 4 }));
        Assert.Equal("Grants has 1 entries, and 0", StateComparison.Difference(a, b with { Grants = [] }));
        Assert.Equal("Grants[0].Consumed is 0, and 1", StateComparison.Difference(a, b with { Grants = [b.Grants[0] with { Consumed = 1 }] }));
        Assert.Equal("Account.Zone is Europe/Berlin, and UTC", StateComparison.Difference(a, b with { Account = b.Account with { Zone = DateTimeZone.Utc } }));
        // What a record keeps to itself counts, too.
        var cycle = BillingCycle.Paid(Sessions.At, Sessions.At + Duration.FromDays(30), 1, null);
        Assert.StartsWith("Subscriptions.Cycle.", StateComparison.Difference(a, b with { Subscriptions = b.Subscriptions with { Cycle = cycle } }), StringComparison.Ordinal);
    }

    // ---- a stream by hand

    /// <summary>Bodies as they were stored once, whatever the events' types look like today.</summary>
    private static StoredEvent[] Sample()
    {
        (string Type, string? Command, string Body)[] stored =
        [
            ("organization-opened", "open-1", """{"time_zone":"Europe/Berlin","test":false,"catalog_version":1}"""),
            ("tokens-granted", "grant \"größe\" \\ \u0001\u001f\b\t\n\f\r\u007f 🧾", """{"kind":"promotional","tokens":500,"priority":10,"expires_at":"2026-12-20T10:00:00Z","reason":"Welcome: größer \uD83E\uDDFE"}"""),
            ("usage-recorded", "use-1", """{"feature":"calls","quantity":3,"allowance":3,"by_tokens":0,"overage":0,"over_limit":false,"windows":[{"window":"day","start":"2026-11-20T00:00:00Z","end":"2026-11-21T00:00:00Z"}],"plan":"free","catalog_version":1,"metadata":{"note":"tab\there"}}"""),
            ("quota-reset", null, """{"resets":[{"feature":"calls","window":"day","start":"2026-11-20T00:00:00Z","used":3,"allowance":3,"by_tokens":0,"overage":0}]}"""),
            ("customer-linked", "link-1", """{"customer":"cus_1"}"""),
        ];
        var events = new List<StoredEvent>();
        foreach (var (type, command, body) in stored) events.Add(Event(events.Count == 0 ? HashChain.Start : events[^1].Hash, events.Count + 1, type, command, body));
        return [.. events];
    }

    private static StoredEvent Event(byte[] previous, long version, string type, string? command, string body, int schema = 1, string organization = "acme") =>
        Event(previous, version, type, command, Encoding.UTF8.GetBytes(body), schema, organization);

    private static StoredEvent Event(byte[] previous, long version, string type, string? command, byte[] body, int schema = 1, string organization = "acme")
    {
        var at = Instant.FromUtc(2026, 11, 20, 10, 0) + Duration.FromNanoseconds(1_000 * version);
        var e = new StoredEvent(organization, version, type, schema, at, at + Duration.FromSeconds(version), command, command is null ? null : SHA256.HashData(Encoding.UTF8.GetBytes(command)), body, []);
        return e with { Hash = e.ComputeHash(previous) };
    }

    private static LedgerStream Stream(string organization, StoredEvent[] events) => new(organization, events.ToAsyncEnumerable(), () => new StreamHead(events.Length, events[^1].Hash));
}
