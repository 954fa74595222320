using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using Billing.Cli;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Silo;
using Billing.Silo.Storage.Sqlite;
using Billing.Tests.Grains;
using Billing.Tests.Journal;
using Dapper;
using Spectre.Console;

namespace Billing.Tests.Cli;

/// <summary>`billing ledger …` as somebody at a terminal has it: arguments in, text and an exit code out.</summary>
public sealed class LedgerCommandTests : IAsyncLifetime
{
    private const string Organization = LedgerFile.Organization;

    private LedgerFile ledger = null!;

    private sealed record Ran(int Code, string Out, string Error, byte[] Bytes)
    {
        public Ran Expect(int code)
        {
            Assert.True(Code == code, $"Ended with {Code} instead of {code}:\n{Out}\n{Error}");
            return this;
        }
    }

    public async Task InitializeAsync() => ledger = await LedgerFile.Create();

    public Task DisposeAsync()
    {
        ledger.Dispose();
        return Task.CompletedTask;
    }

    /// <summary>The whole command line.</summary>
    private static async Task<Ran> Billing(string[] args, byte[]? input = null, bool isWatched = false)
    {
        var (text, error, bytes) = (new StringWriter(), new StringWriter(), new MemoryStream());
        var code = await Program.Run(args, new Terminal(new MemoryStream(input ?? []), text, error, bytes, new SettableClock(Sessions.At), isWatched ? InteractionSupport.Yes : InteractionSupport.No));
        return new Ran(code, text.ToString(), error.ToString(), bytes.ToArray());
    }

    /// <summary>`billing ledger …` on the journal.</summary>
    private Task<Ran> Run(params string[] args) => Billing(["ledger", .. args, "--journal", ledger.Path]);

    private string Write(string name, byte[] content)
    {
        var path = Path.Combine(ledger.Folder, name);
        File.WriteAllBytes(path, content);
        return path;
    }

    private async Task<string> Exported() => Write("acme.ndjson", (await Run("export", Organization)).Expect(0).Bytes);

    // ---- export

    [Fact]
    public async Task an_export_goes_to_standard_output_byte_for_byte_and_nothing_else_does()
    {
        var ran = (await Run("export", Organization)).Expect(0);

        Assert.Equal(await ledger.Export(), ran.Bytes);
        Assert.Equal(("", ""), (ran.Out, ran.Error));
    }

    [Fact]
    public async Task every_organization_is_exported_into_a_file_of_its_own()
    {
        // Two ids that are one name where file systems do not tell capitals apart.
        await using (var database = SqliteDatabase.Open(ledger.Path))
        await using (var host = new LedgerHost(new SqliteJournal(database), () => Sessions.Catalogs, long.MaxValue))
            await host.Organization("Zenith").Execute(Sessions.Open());
        var folder = Path.Combine(ledger.Folder, "exports");

        var ran = (await Run("export", "--all", "--out", folder)).Expect(0);

        Assert.Equal(["Zenith.ndjson", "acme-corp.ndjson", "zenith~2.ndjson"], Directory.GetFiles(folder).Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal));
        Assert.Matches(@"^3 organizations with \d+ events: in .+exports\.\n$", ran.Out);
        foreach (var file in Directory.GetFiles(folder)) (await Billing(["ledger", "verify", file])).Expect(0);
        Assert.Equal(await ledger.Export(), await File.ReadAllBytesAsync(Path.Combine(folder, "acme-corp.ndjson")));
        // Again: what is there is replaced.
        (await Run("export", "--all", "--out", folder)).Expect(0);
        Assert.Equal(3, Directory.GetFiles(folder).Length);
    }

    [Fact]
    public async Task one_organization_can_be_exported_into_a_file()
    {
        var file = Path.Combine(ledger.Folder, "one.ndjson");

        (await Run("export", Organization, "--out", file)).Expect(0);

        Assert.Equal(await ledger.Export(), await File.ReadAllBytesAsync(file));
    }

    [Fact]
    public async Task what_cannot_be_exported_whole_is_no_whole_export()
    {
        ledger.Execute($"UPDATE events SET body = 'text' WHERE organization = '{Organization}' AND version = 5");
        var file = Path.Combine(ledger.Folder, "one.ndjson");

        var printed = (await Run("export", Organization)).Expect(1);
        Assert.Contains("acme-corp cannot be exported whole: Version 5 is damaged: body is stored as a text instead of a blob. What was written ends before it, without a head.", printed.Error, StringComparison.Ordinal);
        Assert.Equal((5, "It ends behind line 5 without a head: its tail was cut off."), await Finding(printed.Bytes));

        (await Run("export", Organization, "--out", file)).Expect(1);
        Assert.False(File.Exists(file) || File.Exists($"{file}.part"));

        var all = (await Run("export", "--all", "--out", ledger.Folder)).Expect(1);
        Assert.Contains("acme-corp cannot be exported whole", all.Error, StringComparison.Ordinal);
        Assert.True(File.Exists(Path.Combine(ledger.Folder, "zenith.ndjson")));
        Assert.False(File.Exists(Path.Combine(ledger.Folder, "acme-corp.ndjson")));

        static async Task<(long?, string?)> Finding(byte[] export)
        {
            var report = await LedgerFile.VerifyExport(export);
            return (report.FirstBadVersion, report.Problem);
        }
    }

    [Fact]
    public async Task an_id_that_names_a_place_in_the_file_system_is_not_written_there()
    {
        ledger.Execute("UPDATE streams SET organization = '../stolen' WHERE organization = 'zenith'");
        var folder = Path.Combine(ledger.Folder, "exports");

        var ran = (await Run("export", "--all", "--out", folder)).Expect(1);

        Assert.Contains("'../stolen' is no organization's id", ran.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(ledger.Folder, "stolen.ndjson")));
    }

    // ---- verify

    [Fact]
    public async Task an_export_an_organization_and_a_whole_journal_are_good()
    {
        var file = await Exported();
        var head = Convert.ToHexStringLower((await ledger.Verify()).Head);

        Assert.Equal($"{file}: good. {ledger.Events} events of acme-corp, head {head}.\n", (await Billing(["ledger", "verify", file])).Expect(0).Out);
        Assert.Equal($"acme-corp: good. {ledger.Events} events of acme-corp, head {head}.\n", (await Run("verify", Organization)).Expect(0).Out);
        Assert.Equal($"-: good. {ledger.Events} events of acme-corp, head {head}.\n", (await Billing(["ledger", "verify", "-"], await File.ReadAllBytesAsync(file))).Expect(0).Out);
        Assert.Equal($"2 organizations, {2 * ledger.Events} events, 0 audit records: all good.\n", (await Run("verify", "--all")).Expect(0).Out);
        Assert.Equal(2, (await Billing(["ledger", "verify", file, file])).Expect(0).Out.Split(": good.").Length - 1);
    }

    [Fact]
    public async Task the_first_bad_event_is_named_wherever_it_is()
    {
        var export = await File.ReadAllTextAsync(await Exported());
        var tampered = Write("tampered.ndjson", Encoding.UTF8.GetBytes(export.Replace("\\\"quantity\\\":5,", "\\\"quantity\\\":6,", StringComparison.Ordinal)));
        Assert.Equal($"{tampered}: BAD at version 7: The hash of version 7 does not follow from what is stored.\n", (await Billing(["ledger", "verify", tampered])).Expect(1).Out);

        ledger.Execute($"DELETE FROM events WHERE organization = '{Organization}' AND version = 4");
        Assert.Equal("acme-corp: BAD at version 4: Version 4 is missing: 5 follows 3.\n", (await Run("verify", Organization)).Expect(1).Out);

        ledger.Execute("UPDATE streams SET due_at = 0 WHERE organization = 'zenith'");
        ledger.Execute("INSERT INTO events (organization, version, type, schema, effective_at, recorded_at, body, hash) VALUES ('stray', 1, 't', 1, 0, 0, x'', x'')");
        var all = (await Run("verify", "--all")).Expect(1).Out;
        Assert.Matches(@"acme-corp +│ 4 +│ Version 4 is missing: 5 follows 3\.", all);
        Assert.Matches($@"zenith +│ {ledger.Events} +│ Something is due at 1970-01-01T00:00:00Z by the head's row; by the events it is 2", all);
        Assert.Contains("There are events of 'stray', which has no head.", all, StringComparison.Ordinal);
        Assert.EndsWith(" events, 0 audit records: 3 findings.\n", all, StringComparison.Ordinal);
    }

    [Fact]
    public async Task a_file_that_is_no_export_is_a_finding_that_says_so()
    {
        var file = Write("readme.md", "# Billing Ledger\n"u8.ToArray());

        Assert.Equal($"{file}: BAD: Line 1 is no header of a ledger's export.\n", (await Billing(["ledger", "verify", file])).Expect(1).Out);
    }

    [Fact]
    public async Task with_a_journal_named_a_name_is_an_organizations_even_where_a_file_has_it()
    {
        var file = await Exported();

        Assert.Equal($"There is no organization '{file}' in '{ledger.Path}'.\n", (await Run("verify", file)).Expect(2).Error);
    }

    [Fact]
    public async Task progress_is_drawn_where_somebody_watches_and_the_answer_is_the_same()
    {
        var quiet = (await Run("verify", Organization)).Expect(0);
        var watched = (await Billing(["ledger", "verify", Organization, "--journal", ledger.Path], isWatched: true)).Expect(0);

        Assert.Equal("", quiet.Error);
        Assert.Contains("Verifying acme-corp", watched.Error, StringComparison.Ordinal);
        Assert.Equal(quiet.Out, watched.Out);
        Assert.Contains("Verifying", (await Billing(["ledger", "verify", "--all", "--journal", ledger.Path], isWatched: true)).Expect(0).Error, StringComparison.Ordinal);
        Assert.Contains("Verifying -", (await Billing(["ledger", "verify", "-"], await ledger.Export(), isWatched: true)).Expect(0).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task a_journal_is_read_beside_a_running_service_and_left_as_it_is()
    {
        await using var database = SqliteDatabase.Open(ledger.Path);
        await using var host = new LedgerHost(new SqliteJournal(database), () => Sessions.Catalogs, long.MaxValue);
        var acme = host.Organization(Organization);
        await acme.Execute(Sessions.Use("now"));
        // The service itself moves what it has written into the file, in its own time: now, and not while it is looked at.
        using (var connection = ledger.Connect())
            while (connection.QuerySingle<(int Busy, int, int)>("PRAGMA wal_checkpoint(TRUNCATE)").Busy != 0) await Task.Delay(1);
        var before = await File.ReadAllBytesAsync(ledger.Path);

        (await Run("verify", "--all")).Expect(0);
        (await Run("export", Organization)).Expect(0);

        Assert.Equal(before, await File.ReadAllBytesAsync(ledger.Path));
        Assert.NotEmpty((await acme.Execute(Sessions.Use("later"))).Events);
        Assert.Contains($"{ledger.Events + 2} events", (await Run("verify", Organization)).Expect(0).Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task an_older_journal_is_not_migrated_and_a_newer_one_is_refused()
    {
        ledger.Execute("UPDATE schema_version SET applied_at = 'before'; DELETE FROM schema_version WHERE version = 3; DROP TABLE snapshots; DROP TABLE feeds");
        (await Run("verify", "--all")).Expect(0);
        (await Run("verify", Organization)).Expect(0);
        Assert.Equal(ledger.Untouched.Length, new FileInfo(ledger.Path).Length);

        ledger.Execute("INSERT INTO schema_version VALUES (999, '2030-01-01T00:00:00Z')");
        Assert.Contains("schema 999", (await Run("verify", "--all")).Expect(2).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task a_snapshot_that_says_something_else_than_the_events_is_found()
    {
        await using (var database = SqliteDatabase.Open(ledger.Path))
        {
            var journal = new SqliteJournal(database);
            var state = await Folding.Until(journal, Organization, 12, NodaTime.Instant.MaxValue);
            var hash = (await journal.ReadStream(Organization, 12, 1)).Single().Hash;
            var store = new SnapshotStore(database, TimeProvider.System);
            await store.Save([SnapshotCodec.Encode(state, hash)]);
            (await Run("verify", Organization)).Expect(0);
            await store.Save([SnapshotCodec.Encode(state with { Voided = [3] }, hash)]);
        }

        foreach (var what in (string[])[Organization, "--all"])
            Assert.Contains("snapshot of version 12", string.Join(' ', (await Run("verify", what)).Expect(1).Out.Split(default(char[]), StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
        ledger.Execute("DELETE FROM snapshots");
        (await Run("verify", "--all")).Expect(0);
    }

    // ---- heads

    [Fact]
    public async Task a_head_is_signed_with_the_journals_key_as_the_service_signs_and_lies_on_later_exports()
    {
        byte[] key;
        await using (var database = SqliteDatabase.Open(ledger.Path)) key = await new SecretStore(database).Get(SecretStore.HeadKey, SignedHead.NewKey);
        var head = Write("head.json", Encoding.UTF8.GetBytes((await Run("head", Organization)).Expect(0).Out));
        using var service = SignedHead.OpenKey(key);
        var publicKey = Write("key.pem", Encoding.UTF8.GetBytes(service.ExportSubjectPublicKeyInfoPem()));
        Assert.Null(SignedHead.Parse(await File.ReadAllBytesAsync(head)).Problem(service));

        // The stream grows.
        await using (var database = SqliteDatabase.Open(ledger.Path))
        await using (var host = new LedgerHost(new SqliteJournal(database), () => Sessions.Catalogs, long.MaxValue))
            await host.Organization(Organization).Execute(Sessions.Use("later"));
        var export = await Exported();

        Assert.Matches($@"head\.json: version {ledger.Events} of acme-corp, signed well at 2026-11-20T10:00:00Z by the key [0-9a-f]{{16}} that it brings along\.\n$", (await Billing(["ledger", "check-head", head])).Expect(0).Out);
        foreach (var ran in (Ran[])[
            await Billing(["ledger", "check-head", head, export, "--public-key", publicKey]), await Run("check-head", head, Organization),
            await Billing(["ledger", "verify", export, "--head", head]), await Run("verify", Organization, "--head", head, "--public-key", publicKey)])
            Assert.EndsWith(", and the kept head lies on them.\n", ran.Expect(0).Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task a_head_can_be_signed_with_a_key_that_the_journal_never_sees()
    {
        using var own = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var privateKey = Write("own.pem", Encoding.UTF8.GetBytes(own.ExportECPrivateKeyPem()));
        var publicKey = Write("own.pub", Encoding.UTF8.GetBytes(own.ExportSubjectPublicKeyInfoPem()));
        var otherKey = Write("other.pub", Encoding.UTF8.GetBytes(other.ExportSubjectPublicKeyInfoPem()));

        var head = Write("head.json", Encoding.UTF8.GetBytes((await Run("head", Organization, "--key", privateKey)).Expect(0).Out));

        (await Billing(["ledger", "check-head", head, "--public-key", publicKey])).Expect(0);
        Assert.Contains("It is signed by the key", (await Billing(["ledger", "check-head", head, "--public-key", otherKey])).Expect(1).Out, StringComparison.Ordinal);
        Assert.Contains("is a public key; signing takes the private one", (await Run("head", Organization, "--key", publicKey)).Expect(2).Error, StringComparison.Ordinal);
        Assert.Contains("is no key on P-256", (await Run("head", Organization, "--key", head)).Expect(2).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task a_history_that_does_not_have_the_kept_head_is_named()
    {
        using var own = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var privateKey = Write("own.pem", Encoding.UTF8.GetBytes(own.ExportPkcs8PrivateKeyPem()));
        var head = Write("head.json", Encoding.UTF8.GetBytes((await Run("head", Organization, "--key", privateKey)).Expect(0).Out));
        var forged = Write("forged.json", Encoding.UTF8.GetBytes((await File.ReadAllTextAsync(head)).Replace($"\"version\": {ledger.Events}", "\"version\": 7", StringComparison.Ordinal)));

        Assert.Equal($"{forged}: Its signature is not that of what it says.\n", (await Run("check-head", forged, Organization)).Expect(1).Out);
        Assert.Contains("BAD: The head is of 'acme-corp', and this is 'zenith'.", (await Run("check-head", head, "zenith")).Expect(1).Out, StringComparison.Ordinal);

        // The tail is gone, and its head with it.
        ledger.Execute($"DELETE FROM events WHERE organization = '{Organization}' AND version > 9");
        ledger.Execute($"UPDATE streams SET version = 9, hash = (SELECT hash FROM events WHERE organization = '{Organization}' AND version = 9) WHERE organization = '{Organization}'");
        Assert.Contains($"BAD at version 10: The head that was kept is of version {ledger.Events}; the stream ends at 9: its tail was cut off.", (await Run("check-head", head, Organization)).Expect(1).Out, StringComparison.Ordinal);

        // All of it is gone.
        ledger.Execute($"DELETE FROM events WHERE organization = '{Organization}'");
        ledger.Execute($"DELETE FROM streams WHERE organization = '{Organization}'");
        Assert.Contains($"BAD at version 1: The head that was kept is of version {ledger.Events}; the stream ends at 0", (await Run("verify", Organization, "--head", head)).Expect(1).Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task a_journal_without_a_key_says_where_one_comes_from() =>
        Assert.Contains("has no key to sign with yet: the service makes one when it starts.", (await Run("head", Organization)).Expect(2).Error, StringComparison.Ordinal);

    // ---- what cannot work

    [Theory]
    [InlineData("Name exports or organizations, or say --all.", "verify")]
    [InlineData("Name exports or organizations, or say --all.", "verify", "--all", "acme")]
    [InlineData("With --head, name one", "verify", "--all", "--head", "x")]
    [InlineData("--public-key is for the signature of a head", "verify", "acme", "--public-key", "x")]
    [InlineData("Could not find file", "verify", "acme", "--head", "not-there.json")]
    [InlineData("There is no file 'acme', and no journal at 'data/ledger.db'", "verify", "acme")]
    [InlineData("There is no journal at 'data/ledger.db'. Say with --journal where it is.", "verify", "--all")]
    [InlineData("There is no journal at 'not-there.db'", "verify", "acme", "--journal", "not-there.db")]
    [InlineData("Name one organization, or say --all.", "export")]
    [InlineData("Name one organization, or say --all.", "export", "acme", "--all")]
    [InlineData("Say with --out into which directory", "export", "--all")]
    [InlineData("There is no journal at", "export", "acme")]
    [InlineData("There is no journal at", "head", "acme")]
    [InlineData("Required argument 'ORG' missing", "head")]
    [InlineData("Required argument 'HEADFILE' missing", "check-head")]
    [InlineData("Could not find file", "check-head", "not-there.json")]
    [InlineData("There is no option '--frobnicate' here.", "verify", "acme", "--frobnicate")]
    [InlineData("'prove'", "prove")]
    public async Task wrong_arguments_end_with_2_and_say_what_would_be_right(string sentence, params string[] args)
    {
        var ran = (await Billing(["ledger", .. args])).Expect(2);

        Assert.Contains(sentence, ran.Error, StringComparison.OrdinalIgnoreCase);
        Assert.Equal("", ran.Out);
    }

    [Fact]
    public async Task an_organization_that_is_not_there_and_a_file_that_is_no_journal_end_with_2()
    {
        Assert.Contains($"There is no organization 'nobody' in '{ledger.Path}'.", (await Run("verify", "nobody")).Expect(2).Error, StringComparison.Ordinal);
        Assert.Contains($"There is no organization 'nobody' in '{ledger.Path}'.", (await Run("export", "nobody")).Expect(2).Error, StringComparison.Ordinal);
        var text = Write("text.db", "This is no database, but it is long enough to look like one to somebody in a hurry; it goes on for a while."u8.ToArray());
        Assert.Contains("cannot be read as a journal", (await Billing(["ledger", "verify", "--all", "--journal", text])).Expect(2).Error, StringComparison.Ordinal);
        var empty = Write("empty.db", []);
        Assert.Contains("no journal of this service", (await Billing(["ledger", "verify", "--all", "--journal", empty])).Expect(2).Error, StringComparison.Ordinal);
        Assert.Contains("is no signed head", (await Billing(["ledger", "check-head", text])).Expect(2).Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData]
    [InlineData("ledger")]
    [InlineData("ledger", "verify")]
    [InlineData("ledger", "export")]
    [InlineData("ledger", "head")]
    [InlineData("ledger", "check-head")]
    public async Task help_says_what_there_is(params string[] command)
    {
        var ran = (await Billing([.. command, "--help"])).Expect(0);

        Assert.Contains("Usage:", ran.Out, StringComparison.Ordinal);
        Assert.Contains(command.Length == 0 ? "ledger" : "--journal <JOURNAL>", ran.Out, StringComparison.Ordinal);
    }

    // ---- as a process

    [Fact]
    public async Task the_built_program_exports_and_verifies_as_a_process_of_its_own()
    {
        var (exported, export, _) = await Start(null, "ledger", "export", Organization, "--journal", ledger.Path);
        Assert.Equal(0, exported);
        Assert.Equal(await ledger.Export(), export);

        var (good, said, _) = await Start(export, "ledger", "verify", "-");
        Assert.Equal((0, true), (good, Encoding.UTF8.GetString(said).StartsWith("-: good.", StringComparison.Ordinal)));

        export[^70] ^= 1;
        var (bad, finding, quiet) = await Start(export, "ledger", "verify", "-");
        Assert.Equal((1, true, ""), (bad, Encoding.UTF8.GetString(finding).StartsWith("-: BAD at version ", StringComparison.Ordinal), quiet));

        var (unusable, _, error) = await Start(null, "ledger", "verify");
        Assert.Equal((2, true), (unusable, error.StartsWith("Name exports", StringComparison.Ordinal)));
    }

    private async Task<(int Code, byte[] Out, string Error)> Start(byte[]? input, params string[] args)
    {
        using var process = Process.Start(new ProcessStartInfo(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet", [Path.Combine(AppContext.BaseDirectory, "billing.dll"), .. args])
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = ledger.Folder,
        })!;
        var error = process.StandardError.ReadToEndAsync();
        var output = new MemoryStream();
        var reading = process.StandardOutput.BaseStream.CopyToAsync(output);
        if (input is not null) await process.StandardInput.BaseStream.WriteAsync(input);
        process.StandardInput.Close();
        await reading;
        await process.WaitForExitAsync();
        return (process.ExitCode, output.ToArray(), await error);
    }
}
