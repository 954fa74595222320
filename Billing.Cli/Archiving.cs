using System.IO.Pipelines;
using Billing.Grains.Journal;
using Billing.Silo.Storage.Postgres;

namespace Billing.Cli;

/// <summary>`billing ledger archive` and `restore`.</summary>
internal static class Archiving
{
    /// <param name="before">The first version whose body stays.</param>
    /// <param name="earlier">The archive of what was archived before; null when nothing was.</param>
    public static async Task<int> Archive(Terminal terminal, JournalFile file, string organization, long before, string to, string? earlier, CancellationToken stop)
    {
        if (File.Exists(to)) throw new UsageException($"There is a file '{to}' already. An archive is never overwritten.");
        await using var database = file.OpenToArchive();
        var journal = database.Journal;
        var archive = new PostgresArchive(database);
        var last = before - 1;
        if (last < 1 || await journal.ReadStream(organization, last, 1) is not [var newest] || newest.Version != last)
            throw new UsageException($"There is no version {last} of '{organization}' in '{file.Shown}': nothing before version {before} can be archived.");
        // Without one the organization could not be loaded any more.
        if (await archive.SnapshotVersion(organization) is var snapshot && snapshot < last)
            throw new UsageException(snapshot == 0
                ? $"'{organization}' has no snapshot to be loaded from: the service takes one when the organization has had enough events, or rests."
                : $"The snapshot of '{organization}' is of version {snapshot}: at most what is before version {snapshot + 1} can be archived.");

        var report = await WithBodies(earlier, bodies => ChainVerifier.Verify(journal, organization, archive: bodies, stop: stop), stop);
        if (report.Problem is { } problem) return await Finding(terminal, $"{organization} is not archived. At version {report.FirstBadVersion}: {problem}");

        var head = new StreamHead(last, newest.Hash);
        var part = $"{to}.part";
        try
        {
            await WithBodies(earlier, bodies => Write(journal, organization, head, bodies, part, stop), stop);
            await using (var written = File.OpenRead(part))
            {
                var verified = await ChainVerifier.Verify(await LedgerExport.Read(written, stop), kept: head);
                if (verified.Problem is not null || verified.Events != last) return await Finding(terminal, $"What was written does not verify, and nothing is archived: {verified.Problem}");
            }
            File.Move(part, to);
        }
        finally
        {
            File.Delete(part);
        }
        // From here on the file is needed.
        var count = await archive.Remove(organization, last);
        if (count == 0 && earlier is null) return await Finding(terminal, $"Nothing was archived: the snapshot of '{organization}' is gone. The export is in {to}.");
        await terminal.Out.WriteLineAsync($"Bodies of {organization} archived: {count:N0}, everything before version {before} is in {to}.");
        return ExitCode.Good;
    }

    public static async Task<int> Restore(Terminal terminal, JournalFile file, string from, CancellationToken stop)
    {
        if (!File.Exists(from)) throw new UsageException($"There is no file '{from}'.");
        await using var database = file.OpenToArchive();
        await using (var first = File.OpenRead(from))
        {
            var report = await ChainVerifier.Verify(await LedgerExport.Read(first, stop));
            if (report.Problem is { } problem) return await Finding(terminal, $"{from} is no good archive, and nothing is put back. At version {report.FirstBadVersion}: {problem}");
        }
        await using var second = File.OpenRead(from);
        var archive = await LedgerExport.Read(second, stop);
        var count = await new PostgresArchive(database).PutBack(archive);
        await terminal.Out.WriteLineAsync($"Bodies put back to {archive.Organization}: {count:N0}.");
        return ExitCode.Good;
    }

    private static async Task<long> Write(IJournal journal, string organization, StreamHead head, LedgerStream? bodies, string to, CancellationToken stop)
    {
        var stream = await LedgerStream.Of(journal, organization, stop);
        if (bodies is not null) stream = stream.WithBodies(bodies);
        await using var file = File.Create(to);
        stream = stream with { Events = stream.Events.TakeWhile(e => e.Version <= head.Version), Head = () => head };
        var events = await LedgerExport.Write(stream, PipeWriter.Create(file, new StreamPipeWriterOptions(leaveOpen: true)), stop);
        // It is to be the only place of the bodies.
        file.Flush(flushToDisk: true);
        return events;
    }

    private static async Task<T> WithBodies<T>(string? archive, Func<LedgerStream?, Task<T>> work, CancellationToken stop)
    {
        await using var file = archive is null ? null : File.OpenRead(archive);
        return await work(file is null ? null : await LedgerExport.Read(file, stop));
    }

    private static async Task<int> Finding(Terminal terminal, string problem)
    {
        await terminal.Error.WriteLineAsync(problem);
        return ExitCode.Finding;
    }
}
