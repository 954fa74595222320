using System.CommandLine;
using Billing.Silo;
using Billing.Silo.Storage;
using NodaTime.Text;

namespace Billing.Cli;

/// <summary>`billing audit …`: who did what. Nothing of it writes.</summary>
internal static class AuditCommands
{
    private const int MostShown = 1_000;

    public static Command Group(Terminal terminal) => new("audit", "The record of who did what.") { LedgerCommands.Journal, List(terminal), Verify(terminal) };

    private static Command List(Terminal terminal)
    {
        var organization = new Option<string?>("--org") { Description = "Only about this organization.", HelpName = "ORG" };
        var caller = new Option<string?>("--caller") { Description = "Only by this caller.", HelpName = "ID" };
        var what = new Option<string?>("--what") { Description = "Only this, such as tokens.grant.", HelpName = "NAME" };
        var limit = new Option<int>("--limit") { Description = $"So many at most: up to {MostShown}.", HelpName = "N", DefaultValueFactory = _ => 100 };
        var command = new Command("list", "Show what was done, newest first, one line each: number, time, who, what, of which organization, why, and what became of it.") { organization, caller, what, limit };
        command.SetAction(async (parsed, _) =>
        {
            if (parsed.GetValue(limit) is < 1 or > MostShown) throw new UsageException($"--limit is from 1 to {MostShown}.");
            await using var database = LedgerCommands.JournalOf(parsed).Open();
            foreach (var r in await (await Open(database)).List(new AuditFilter(parsed.GetValue(organization), parsed.GetValue(caller), parsed.GetValue(what)), long.MaxValue, parsed.GetValue(limit)))
                await terminal.Out.WriteLineAsync(
                    $"{r.Number}\t{InstantPattern.ExtendedIso.Format(r.At)}\t{r.CallerName} ({r.Caller})\t{r.What}\t{r.Organization ?? "-"}\t{r.About ?? "-"}\t{r.Reason ?? "-"}\t{r.Outcome}{(r.Code is null ? "" : $" ({r.Code})")}");
            return ExitCode.Good;
        });
        return command;
    }

    private static Command Verify(Terminal terminal)
    {
        var head = new Option<string?>("--head") { Description = "A signed head that was kept (GET /v1/audit/head): it must lie on the chain.", HelpName = "FILE" };
        var command = new Command("verify", "Recompute the chain. Names the first bad record. Ends with 0 when all is well, with 1 on a finding.") { head, LedgerCommands.PublicKey };
        command.SetAction(async (parsed, _) =>
        {
            var kept = parsed.GetValue(head) is { } file ? await KeptHead.Read(file, parsed.GetValue(LedgerCommands.PublicKey)) : null;
            var forged = kept?.Problem ?? (kept is null || kept.Head.Organization == AuditLog.StreamName ? null : $"It is the head of '{kept.Head.Organization}', and not of the audit log.");
            if (forged is not null)
            {
                await terminal.Out.WriteLineAsync($"{kept!.File}: {forged}");
                return ExitCode.Finding;
            }
            await using var database = LedgerCommands.JournalOf(parsed).Open();
            var found = await (await Open(database)).Verify(kept?.Head.Head);
            await terminal.Out.WriteLineAsync(found.Problem is { } problem
                ? found.FirstBad is { } number ? $"BAD at record {number}: {problem}" : $"BAD: {problem}"
                : $"good. {Terminal.Count(found.Records, "audit record")}, head {Convert.ToHexStringLower(found.Head)}{(kept is null ? "" : ", and the kept head lies on them")}.");
            return found.Problem is null ? ExitCode.Good : ExitCode.Finding;
        });
        return command;
    }

    private static async Task<AuditLog> Open(Database database) =>
        await AuditLog.IsIn(database) ? new AuditLog(database) : throw new UsageException($"'{database.Place}' has no audit log yet: the service makes it when it starts.");
}
