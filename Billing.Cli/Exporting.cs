using System.IO.Pipelines;
using Billing.Grains.Journal;
using Billing.Ledger;

namespace Billing.Cli;

/// <summary>`billing ledger export`.</summary>
internal static class Exporting
{
    /// <param name="file">Null writes to standard output.</param>
    public static async Task<int> One(Terminal terminal, JournalFile file, string organization, string? to, CancellationToken stop)
    {
        await using var database = file.Open();
        var stream = await file.Stream(database.Journal, organization, stop);
        try
        {
            if (to is null) await LedgerExport.Write(stream, PipeWriter.Create(terminal.Bytes, new StreamPipeWriterOptions(leaveOpen: true)), stop);
            else await WriteFile(stream, to, stop);
            return ExitCode.Good;
        }
        catch (DamagedEventException damaged)
        {
            await terminal.Error.WriteLineAsync(NotWhole(organization, damaged) + (to is null ? " What was written ends before it, without a head." : ""));
            return ExitCode.Finding;
        }
    }

    public static async Task<int> All(Terminal terminal, JournalFile file, string folder, CancellationToken stop)
    {
        await using var database = file.Open();
        var journal = database.Journal;
        var inventory = await database.TakeInventory();
        Directory.CreateDirectory(folder);
        var problems = inventory.Problems.ToList();
        var names = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        var (files, events) = (0, 0L);
        await terminal.Progress("Exporting", inventory.Organizations.Count, async report =>
        {
            foreach (var (done, organization) in inventory.Organizations.Index())
            {
                report(done);
                // An id that nobody can have opened could name any file.
                if (!Ids.IsOrganization(organization))
                {
                    problems.Add($"'{organization}' is no organization's id: it is not exported.");
                    continue;
                }
                // Ids that differ in capitals alone name one file on some systems; ~ is in no id.
                var name = organization;
                for (var i = 2; !names.Add(name); i++) name = $"{organization}~{i}";
                try
                {
                    events += await WriteFile(await LedgerStream.Of(journal, organization, stop), Path.Combine(folder, $"{name}.ndjson"), stop);
                    files++;
                }
                catch (DamagedEventException damaged)
                {
                    problems.Add(NotWhole(organization, damaged));
                }
            }
            return 0;
        });
        foreach (var problem in problems) await terminal.Error.WriteLineAsync(problem);
        await terminal.Out.WriteLineAsync($"{Terminal.Count(files, "organization")} with {Terminal.Count(events, "event")}: in {folder}.");
        return problems.Count == 0 ? ExitCode.Good : ExitCode.Finding;
    }

    private static string NotWhole(string organization, DamagedEventException damaged) => $"{organization} cannot be exported whole: {damaged.Message}";

    /// <summary>What has its name is whole: until then it is called otherwise.</summary>
    private static async Task<long> WriteFile(LedgerStream stream, string file, CancellationToken stop)
    {
        var part = $"{file}.part";
        try
        {
            long events;
            await using (var to = File.Create(part)) events = await LedgerExport.Write(stream, PipeWriter.Create(to), stop);
            File.Move(part, file, overwrite: true);
            return events;
        }
        finally
        {
            File.Delete(part);
        }
    }
}
