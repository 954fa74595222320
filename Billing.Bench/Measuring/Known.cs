using System.Diagnostics;

namespace Billing.Bench;

/// <summary>
/// What a million organizations cost that nobody asks for, and how fast they come into memory when somebody does: all are opened,
/// everything is ended and started again on the same journal, and then each of a part of them is checked once.
/// </summary>
internal static class Known
{
    public const string Name = "known", Open = "opening, all known", Start = "start, all known", First = "first check, all known";

    private const int Connections = 32;

    /// <summary>One round, of what takes minutes.</summary>
    public static void Run(Options options, Machine machine, Report report)
    {
        foreach (var ledger in machine.Ledgers())
        {
            var server = ledger.Start();
            using var journal = ledger.OpenJournal();
            var subject = new Subject(ledger.Subject, server, "/v1", null);
            var started = Stopwatch.GetTimestamp();
            var opened = new Load(Open, subject, Connections, [subject.Opening], _ => Walk.InTurn(options.KnownCount)).Times(options.KnownCount);
            var took = Stopwatch.GetElapsedTime(started);
            report.Check([opened], null, 0);
            report.Notes.Add($"{ledger.Subject}: after {options.KnownCount:N0} were opened, its processes have {Megabytes(server.Memory())}.");
            server.Dispose();
            report.Add(1, opened with { RequestsPerSecond = options.KnownCount / took.TotalSeconds, Bytes = (double)machine.SizeOnDisk(ledger) / options.KnownCount });

            server = ledger.Start();
            var before = server.Memory();
            report.Add(1, new Measurement(Start, ledger.Subject) { P50Ms = server.StartedIn.TotalMilliseconds });
            subject = new Subject(ledger.Subject, server, "/v1", null);
            // The first ones tell of the just-in-time compiler.
            new Load(First, subject, Connections, [subject.Check], _ => Walk.InTurn(1)).Times(1_000);
            var count = Math.Min(options.ResidentCount, options.KnownCount);
            started = Stopwatch.GetTimestamp();
            var first = new Load(First, subject, Connections, [subject.Check], _ => Walk.InTurn(count)).Times(count);
            took = Stopwatch.GetElapsedTime(started);
            report.Check([first], null, 0);
            report.Add(1, first with { RequestsPerSecond = count / took.TotalSeconds, Bytes = (double)(server.Memory() - before) / count });
            report.Notes.Add($"{ledger.Subject}: {options.KnownCount:N0} known, started again: its processes have {Megabytes(before)}; with {count:N0} of them resident {Megabytes(server.Memory())}, what is not collected yet included.");
            server.Dispose();
        }
    }

    private static string Megabytes(long bytes) => FormattableString.Invariant($"{bytes / 1e6:N0} MB");
}
