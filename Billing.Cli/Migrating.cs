using System.CommandLine;
using System.Globalization;
using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Billing.Silo.Storage.Sqlite;
using Spectre.Console;

namespace Billing.Cli;

/// <summary>`billing migrate`: everything that a SQLite file holds, into PostgreSQL.</summary>
internal static class Migrating
{
    public static Command Command(Terminal terminal)
    {
        var from = new Option<string>("--from")
        {
            Description = "The journal's SQLite file. No service may have it open.", HelpName = "FILE", DefaultValueFactory = _ => Named("Billing__Journal") ?? "data/ledger.db",
        };
        var to = new Option<string?>("--to")
        {
            Description = "The PostgreSQL database (postgresql://… or Host=…), empty or with an earlier, unfinished move of the same file. Without it, DATABASE_URL says.", HelpName = "DATABASE",
            DefaultValueFactory = _ => Named("DATABASE_URL") ?? Named("ConnectionStrings__Ledger"),
        };
        var dryRun = new Option<bool>("--dry-run") { Description = "Say what would be copied, and write nothing." };
        var command = new Command("migrate", "Move a SQLite journal, with everything beside it, into PostgreSQL. Stopped anywhere, it goes on where it was when it is run again.") { from, to, dryRun };
        command.SetAction(async (parsed, stop) =>
        {
            var file = new JournalFile(parsed.GetRequiredValue(from), true);
            var database = new JournalFile(parsed.GetValue(to) ?? throw new UsageException("Say with --to, or DATABASE_URL, into which PostgreSQL database."), true);
            try
            {
                return await Run(terminal, file, database, parsed.GetValue(dryRun), stop);
            }
            catch (Exception e) when (e is MoveRefusedException or DamagedEventException)
            {
                await terminal.Error.WriteLineAsync(e.Message);
                return ExitCode.Finding;
            }
        });
        return command;
    }

    private static async Task<int> Run(Terminal terminal, JournalFile from, JournalFile to, bool dryRun, CancellationToken stop)
    {
        var started = terminal.Time.GetTimestamp();
        using var held = dryRun ? null : from.Hold();
        await using var source = from.OpenToMove();
        await using var target = to.OpenToMove(dryRun);
        var move = new LedgerMove(source, target);
        using var alone = dryRun ? null : move.Lock();
        var plan = await move.Plan();
        if (dryRun)
        {
            Print(terminal, plan);
            await terminal.Out.WriteLineAsync($"From {source.Place} into {target.Place}: {(plan.IsDone ? "everything is there already." : "nothing was written.")}");
            return ExitCode.Good;
        }

        // A journal that is not whole is not passed on.
        if (await Bad(terminal, $"Verifying {source.Place}", source, plan, stop)) return ExitCode.Finding;
        var rows = 0L;
        var copying = terminal.Time.GetTimestamp();
        if (!plan.IsDone)
        {
            await move.Begin();
            await terminal.Progress("Copying", plan.Events, async report =>
            {
                await move.CopyEvents(plan, report, stop);
                return 0;
            });
        }
        var took = terminal.Time.GetElapsedTime(copying);
        if (await Bad(terminal, $"Verifying {target.Place}", target, plan, stop)) return ExitCode.Finding;
        var differences = await move.CompareHeads();
        foreach (var difference in differences) await terminal.Error.WriteLineAsync(difference);
        if (differences.Count > 0)
        {
            await terminal.Error.WriteLineAsync($"The move is not finished: {source.Place} was written meanwhile, or {target.Place} was. Stop whoever writes, and run it again.");
            return ExitCode.Finding;
        }
        if (!plan.IsDone) rows = await move.Finish();

        var copied = plan.Events - plan.EventsThere;
        await terminal.Out.WriteLineAsync(
            $"Copied: {Terminal.Count(copied, "event")}{(copied > 0 ? Invariant($" in {took.TotalSeconds:N1} s ({copied / took.TotalSeconds:N0} a second)") : "")}, {Terminal.Count(rows, "row")} beside the streams.");
        await terminal.Out.WriteLineAsync(
            $"Verified in {target.Place}: {Terminal.Count(plan.Heads.Count, "stream")}, {Terminal.Count(plan.Events, "event")}: every chain holds and every head is the one in {source.Place}. "
            + Invariant($"All of it took {terminal.Time.GetElapsedTime(started).TotalSeconds:N1} s."));
        await terminal.Out.WriteLineAsync($"Next: start the service with DATABASE_URL set to this database. Keep {source.Place} as it is until you have a backup of the database; no service may write it any more.");
        return ExitCode.Good;
    }

    private static async Task<bool> Bad(Terminal terminal, string what, Database database, MovePlan plan, CancellationToken stop)
    {
        var (bad, _) = await Verifying.Streams(terminal, what, database, [.. plan.Heads.Keys.Order(StringComparer.Ordinal)], stop);
        foreach (var report in bad) await terminal.Error.WriteLineAsync($"{database.Place}: {report.Organization} is BAD at version {report.FirstBadVersion}: {report.Problem}");
        if (bad.Count > 0) await terminal.Error.WriteLineAsync(database is SqliteDatabase ? "A damaged journal is not moved." : "The move is not finished, and the database is no good: make an empty one and move again.");
        return bad.Count > 0;
    }

    private static void Print(Terminal terminal, MovePlan plan)
    {
        var table = new Table().AddColumn("What").AddColumn(new TableColumn("To copy").RightAligned()).AddColumn(new TableColumn("There already").RightAligned());
        table.AddRow("events", Invariant($"{plan.Events - plan.EventsThere:N0}"), Invariant($"{plan.EventsThere:N0}"));
        table.AddRow("streams", Invariant($"{plan.Heads.Count - plan.Versions.Count:N0}"), Invariant($"{plan.Versions.Count:N0}"));
        foreach (var (name, rows) in plan.Beside) table.AddRow(name, Invariant($"{rows:N0}"), "");
        terminal.Print(table);
    }

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private static string? Named(string variable) => Environment.GetEnvironmentVariable(variable) is { Length: > 0 } value ? value : null;
}
