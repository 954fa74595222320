using System.CommandLine;
using NodaTime;
using NodaTime.Text;

namespace Billing.Cli;

/// <summary>`billing ledger …`: exporting, verifying, signing; nothing of it writes into a journal. Only archiving does.</summary>
internal static class LedgerCommands
{
    private const string DefaultJournal = "data/ledger.db";

    internal static readonly Option<string> Journal = new("--journal")
    {
        Description = "The journal: a SQLite file, or a PostgreSQL database (postgresql://… or Host=…). The service may run meanwhile.", HelpName = "JOURNAL",
        Recursive = true,
        // As the service is told by its environment.
        DefaultValueFactory = _ => ((string[])["DATABASE_URL", "ConnectionStrings__Ledger", "Billing__Journal"])
            .Select(Environment.GetEnvironmentVariable).FirstOrDefault(v => !string.IsNullOrWhiteSpace(v)) ?? DefaultJournal,
    };

    internal static readonly Option<string?> PublicKey = new("--public-key")
    {
        Description = "The public key (PEM) that must have signed the head; without it, the one that the head brings along.", HelpName = "FILE",
    };

    public static Command Group(Terminal terminal) => new("ledger", "The events of organizations, as they are stored.")
    {
        Journal, Export(terminal), Verify(terminal), Head(terminal), CheckHead(terminal), WhatIf(terminal), Archive(terminal), Restore(terminal),
    };

    private static Command Export(Terminal terminal)
    {
        var organization = new Argument<string?>("ORG") { Description = "The organization's id.", Arity = ArgumentArity.ZeroOrOne };
        var all = new Option<bool>("--all") { Description = "Every organization, each into a file of its own." };
        var to = new Option<string?>("--out")
        {
            Description = "The file to write; with --all, the directory. Without it, one organization goes to standard output.", HelpName = "PATH",
        };
        var command = new Command("export", "Write an organization's events, one JSON object a line: enough to verify them without the journal.") { organization, all, to };
        command.SetAction((parsed, stop) => (parsed.GetValue(organization), parsed.GetValue(all), parsed.GetValue(to)) switch
        {
            ({ } id, false, var file) => Exporting.One(terminal, JournalOf(parsed), id, file, stop),
            (null, true, { } folder) => Exporting.All(terminal, JournalOf(parsed), folder, stop),
            (null, true, null) => throw new UsageException("Say with --out into which directory the organizations are to be written."),
            _ => throw new UsageException("Name one organization, or say --all."),
        });
        return command;
    }

    private static Command Verify(Terminal terminal)
    {
        var targets = new Argument<string[]>("FILE|ORG")
        {
            Description = "Exports (- is standard input), or organizations of the journal. With --journal, a name is always an organization's.", Arity = ArgumentArity.ZeroOrMore,
        };
        var all = new Option<bool>("--all") { Description = "Every organization of the journal, and the audit log." };
        var head = new Option<string?>("--head") { Description = "A signed head that was kept: it must lie on the stream.", HelpName = "FILE" };
        var archive = new Option<string?>("--archive") { Description = "The archive with the bodies that were taken out of the organization's events.", HelpName = "FILE" };
        // A mistyped option is not taken for a file.
        targets.Validators.Add(result =>
        {
            foreach (var token in result.Tokens.Where(t => t.Value.StartsWith('-') && t.Value != "-")) result.AddError($"There is no option '{token.Value}' here.");
        });
        var command = new Command("verify", "Recompute hashes, versions, books and head. Names the first bad event. Ends with 0 when all is well, with 1 on a finding.")
        {
            targets, all, head, PublicKey, archive,
        };
        command.SetAction(async (parsed, stop) =>
        {
            var names = parsed.GetValue(targets) ?? [];
            var file = parsed.GetValue(head);
            if (parsed.GetValue(all) == names.Length > 0) throw new UsageException("Name exports or organizations, or say --all.");
            if (file is not null && names.Length != 1) throw new UsageException("A head is of one organization: with --head, name one export or organization.");
            if (parsed.GetValue(archive) is not null && names.Length != 1) throw new UsageException("An archive is of one organization: with --archive, name one organization.");
            if (file is null && parsed.GetValue(PublicKey) is not null) throw new UsageException("--public-key is for the signature of a head: name the head with --head.");
            if (parsed.GetValue(all)) return await Verifying.All(terminal, JournalOf(parsed), stop);
            var kept = file is null ? null : await KeptHead.Read(file, parsed.GetValue(PublicKey));
            return await Verifying.Of(terminal, JournalOf(parsed), names, kept, stop, parsed.GetValue(archive));
        });
        return command;
    }

    private static Command Head(Terminal terminal)
    {
        var organization = new Argument<string>("ORG") { Description = "The organization's id." };
        var key = new Option<string?>("--key") { Description = "A private key (PEM, on P-256) to sign with instead of the journal's own.", HelpName = "FILE" };
        var command = new Command("head", "Sign the head of an organization's stream: whoever keeps it can check later that nothing before it was rewritten.") { organization, key };
        command.SetAction((parsed, stop) => Signing.Head(terminal, JournalOf(parsed), parsed.GetRequiredValue(organization), parsed.GetValue(key), stop));
        return command;
    }

    private static Command CheckHead(Terminal terminal)
    {
        var head = new Argument<string>("HEADFILE") { Description = "A signed head that was kept." };
        var target = new Argument<string?>("FILE|ORG")
        {
            Description = "The export or organization that it must lie on. Without it, only the signature is checked.", Arity = ArgumentArity.ZeroOrOne,
        };
        var command = new Command("check-head", "Check a signed head, and with an export or organization that it lies on it: `verify --head`, the other way round.")
        {
            head, target, PublicKey,
        };
        command.SetAction(async (parsed, stop) =>
        {
            var kept = await KeptHead.Read(parsed.GetRequiredValue(head), parsed.GetValue(PublicKey));
            return await Verifying.Of(terminal, JournalOf(parsed), parsed.GetValue(target) is { } name ? [name] : [], kept, stop);
        });
        return command;
    }

    private static Command Archive(Terminal terminal)
    {
        var organization = new Option<string>("--org") { Description = "The organization.", HelpName = "ORG", Required = true };
        var before = new Option<long>("--before-version") { Description = "The first version whose body stays.", HelpName = "N", Required = true };
        var to = new Option<string>("--to") { Description = "The file to write: an export of everything before.", HelpName = "FILE", Required = true };
        var earlier = new Option<string?>("--archive") { Description = "The archive that was written last, if bodies were archived before: the new one has everything.", HelpName = "FILE" };
        var command = new Command("archive", "Export an organization's old events, verify the export, and take their bodies out of a PostgreSQL journal.") { organization, before, to, earlier };
        command.SetAction((parsed, stop) => Archiving.Archive(
            terminal, JournalOf(parsed), parsed.GetRequiredValue(organization), parsed.GetRequiredValue(before), parsed.GetRequiredValue(to), parsed.GetValue(earlier), stop));
        return command;
    }

    private static Command Restore(Terminal terminal)
    {
        var from = new Argument<string>("FILE") { Description = "An archive." };
        var command = new Command("restore", "Put the bodies of an archive back into a PostgreSQL journal.") { from };
        command.SetAction((parsed, stop) => Archiving.Restore(terminal, JournalOf(parsed), parsed.GetRequiredValue(from), stop));
        return command;
    }

    private static Command WhatIf(Terminal terminal)
    {
        var catalog = new Option<string>("--catalog") { Description = "The catalog to try.", HelpName = "FILE", Required = true };
        var from = new Option<string?>("--from") { Description = "Count only what happened from this time on (RFC 3339, or a date in UTC).", HelpName = "TIME" };
        var to = new Option<string?>("--to") { Description = "Count only what happened before this time.", HelpName = "TIME" };
        var organizations = new Option<string[]>("--org") { Description = "Only these organizations.", HelpName = "ORG", AllowMultipleArgumentsPerToken = true };
        var csv = new Option<string?>("--csv") { Description = "Write a line for each organization into this file (- is standard output, without the table).", HelpName = "FILE" };
        var denials = new Option<string?>("--denials-csv") { Description = "Write every use that would have been refused into this file.", HelpName = "FILE" };
        var command = new Command("what-if", "Fold the journal under another catalog: charges, refusals and tokens, then and with it. Nothing is written into the journal.")
        {
            catalog, from, to, organizations, csv, denials,
        };
        command.SetAction((parsed, stop) => Trying.Run(terminal, JournalOf(parsed), new Trial(
            parsed.GetRequiredValue(catalog), Time(parsed.GetValue(from), "--from"), Time(parsed.GetValue(to), "--to"), parsed.GetValue(organizations) ?? [],
            parsed.GetValue(csv), parsed.GetValue(denials)), stop));
        return command;
    }

    private static Instant? Time(string? text, string name)
    {
        if (text is null) return null;
        if (OffsetDateTimePattern.Rfc3339.Parse(text) is { Success: true, Value: var time }) return time.ToInstant();
        if (LocalDatePattern.Iso.Parse(text) is { Success: true, Value: var date }) return date.AtMidnight().InUtc().ToInstant();
        throw new UsageException($"{name} is '{text}'. Write a time like 2026-11-20T10:00:00Z, or a date like 2026-11-20.");
    }

    internal static JournalFile JournalOf(ParseResult parsed) => new(parsed.GetRequiredValue(Journal), parsed.GetResult(Journal) is { Implicit: false });
}
