using System.Collections.Concurrent;
using Billing.Grains.Journal;
using Billing.Silo;
using Billing.Silo.Storage;
using NodaTime.Text;
using Spectre.Console;

namespace Billing.Cli;

/// <summary>`billing ledger verify` and `check-head`.</summary>
internal static class Verifying
{
    /// <summary>Exports and organizations by name, with a head that one of them must have.</summary>
    /// <param name="targets">None checks the head's signature alone.</param>
    /// <param name="archive">The file with the bodies that were archived.</param>
    public static async Task<int> Of(Terminal terminal, JournalFile journal, string[] targets, KeptHead? kept, CancellationToken stop, string? archive = null)
    {
        if (kept?.Problem is { } forged)
        {
            await terminal.Out.WriteLineAsync($"{kept.File}: {forged}");
            return ExitCode.Finding;
        }
        if (kept is { Head: var head })
            await terminal.Out.WriteLineAsync(
                $"{kept.File}: version {head.Version} of {head.Organization}, signed well at {InstantPattern.ExtendedIso.Format(head.SignedAt)} "
                + $"by the key {head.KeyId}{(kept.IsTrusted ? "" : " that it brings along")}.");

        var result = ExitCode.Good;
        foreach (var target in targets)
        {
            var report = await Verify(terminal, journal, target, kept?.Head, archive, stop);
            if (report.Problem is not null) result = ExitCode.Finding;
            await terminal.Out.WriteLineAsync($"{target}: {Said(report, kept)}");
        }
        return result;
    }

    private static string Said(ChainReport report, KeptHead? kept)
    {
        if (report.Problem is { } problem) return report.FirstBadVersion is > 0 and var version ? $"BAD at version {version}: {problem}" : $"BAD: {problem}";
        var held = kept is null ? "" : ", and the kept head lies on them";
        return $"good. {Terminal.Count(report.Events, "event")} of {report.Organization}, head {Convert.ToHexStringLower(report.Head)}{held}.";
    }

    /// <summary>Everything that the journal holds.</summary>
    public static async Task<int> All(Terminal terminal, JournalFile file, CancellationToken stop)
    {
        await using var database = file.Open();
        var inventory = await database.TakeInventory();
        var (bad, events) = await Streams(terminal, "Verifying", database, inventory.Organizations, stop);

        var audit = await AuditLog.IsIn(database) ? await new AuditLog(database).Verify() : null;
        var findings = bad.Count + inventory.Problems.Count + (audit?.Problem is null ? 0 : 1);
        if (findings > 0)
        {
            var table = new Table().AddColumns("Organization", "First bad version", "What is wrong");
            foreach (var found in bad)
                table.AddRow(Markup.Escape(found.Organization), $"{found.FirstBadVersion}", Markup.Escape(found.Problem!));
            foreach (var problem in inventory.Problems) table.AddRow("", "", Markup.Escape(problem));
            if (audit?.Problem is { } wrong) table.AddRow("the audit log", $"{audit.FirstBad}", Markup.Escape(wrong));
            terminal.Print(table);
        }
        await terminal.Out.WriteLineAsync(
            $"{Terminal.Count(inventory.Organizations.Count, "organization")}, {Terminal.Count(events, "event")}{(audit is null ? "" : $", {Terminal.Count(audit.Records, "audit record")}")}: {(findings > 0 ? Terminal.Count(findings, "finding") : "all good")}.");
        return findings == 0 ? ExitCode.Good : ExitCode.Finding;
    }

    /// <summary>Several at once.</summary>
    /// <returns>Those with something wrong, by id, and how many events fit.</returns>
    public static async Task<(IReadOnlyList<ChainReport> Bad, long Events)> Streams(Terminal terminal, string what, Database database, IReadOnlyList<string> organizations, CancellationToken stop)
    {
        var snapshots = new SnapshotStore(database, TimeProvider.System);
        var bad = new ConcurrentBag<ChainReport>();
        var (done, events) = (0, 0L);
        await terminal.Progress(what, organizations.Count, async report =>
        {
            await Parallel.ForEachAsync(organizations, stop, async (organization, cancel) =>
            {
                var found = await ChainVerifier.Verify(database.Journal, organization, snapshots: snapshots, stop: cancel);
                if (found.Problem is not null) bad.Add(found);
                Interlocked.Add(ref events, found.Events);
                report(Interlocked.Increment(ref done));
            });
            return 0;
        });
        return ([.. bad.OrderBy(b => b.Organization, StringComparer.Ordinal)], events);
    }

    private static async Task<ChainReport> Verify(Terminal terminal, JournalFile journal, string target, SignedHead? kept, string? archive, CancellationToken stop)
    {
        if (!journal.IsNamed && target == "-") return await VerifyExport(terminal, target, terminal.In, kept, stop);
        if (!journal.IsNamed && File.Exists(target))
        {
            await using var export = File.OpenRead(target);
            return await VerifyExport(terminal, target, export, kept, stop);
        }
        if (!journal.IsNamed && !journal.Exists)
            throw new UsageException($"There is no file '{target}', and no journal at '{journal.Shown}' that could have such an organization. Say with --journal where it is.");
        await using var database = journal.Open();
        var stored = database.Journal;
        // What is signed to be there is missing, and not unknown.
        if (kept?.Organization != target && !await LedgerStream.Exists(stored, target))
            throw new UsageException($"There is {(journal.IsNamed ? "no" : $"neither a file '{target}' nor an")} organization '{target}' in '{journal.Shown}'.");
        if (OtherOrganization(target, kept) is { } other) return other;
        var total = (await LedgerStream.Of(stored, target, stop)).Head;
        await using var file = archive is null ? null : File.OpenRead(archive);
        var bodies = file is null ? null : await LedgerExport.Read(file, stop);
        return await terminal.Progress($"Verifying {target}", Count(total), report => ChainVerifier.Verify(
            stored, target, kept: kept?.Head, progress: report, archive: bodies, snapshots: new SnapshotStore(database, TimeProvider.System), stop: stop));
    }

    private static Task<ChainReport> VerifyExport(Terminal terminal, string name, Stream export, SignedHead? kept, CancellationToken stop) =>
        terminal.Progress($"Verifying {name}", export.CanSeek ? export.Length : 0, async report =>
        {
            try
            {
                var stream = await LedgerExport.Read(export, stop);
                return OtherOrganization(stream.Organization, kept)
                    ?? await ChainVerifier.Verify(stream, kept: kept?.Head, progress: _ => report(export.CanSeek ? export.Position : 0));
            }
            catch (DamagedEventException damaged)
            {
                return new ChainReport(name, 0, [], damaged.Version, damaged.Message);
            }
        });

    private static ChainReport? OtherOrganization(string organization, SignedHead? kept) => kept is null || kept.Organization == organization
        ? null
        : new ChainReport(organization, 0, [], 0, $"The head is of '{kept.Organization}', and this is '{organization}'.");

    private static long Count(Func<StreamHead> head)
    {
        try
        {
            return head().Version;
        }
        catch (DamagedEventException)
        {
            return 0;
        }
    }
}
