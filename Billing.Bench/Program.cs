using System.Runtime.InteropServices;
using Spectre.Console;

namespace Billing.Bench;

/// <summary>
/// Starts the API as a process of its own and measures it over loopback, each scenario next to the baseline that it is
/// compared with, in alternating rounds. The exit code says whether every answer was right, never whether it was fast.
/// </summary>
public static class Program
{
    /// <summary>Read once by the runtime, when the first socket is made.</summary>
    private const string InlineCompletions = "DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS";

    public static int Main(string[] args)
    {
        try
        {
            if (Options.Parse(args) is not { } options)
            {
                Console.WriteLine(Options.Usage);
                return 0;
            }
            // The generator's loops never block, so they run on the thread that hears of the socket: no second thread
            // has to be woken for each answer, and the processors are left to what is measured. All else here is
            // synchronous, because whatever came back on that thread and waited would stop every connection.
            Environment.SetEnvironmentVariable(InlineCompletions, "1");
            var report = Run(options);
            report.Print(Terminal());
            if (options.JsonFile is { } file) File.WriteAllText(file, report.ToJson());
            return report.Errors.Count == 0 ? 0 : 1;
        }
        catch (BenchException e)
        {
            Console.Error.WriteLine($"Billing.Bench: {e.Message}");
            return 1;
        }
    }

    private static Report Run(Options options)
    {
#if DEBUG
        Console.WriteLine("This is a Debug build: its figures say little. Use dotnet run -c Release.");
#endif
        using var folder = new TemporaryFolder(options.Folder);
        var report = new Report(options, folder.Path);
        if (options.Only.Overlaps(Scenario.Names)) RunService(options, folder, report);
        if (options.Only.Overlaps(Books.Names) && report.Errors.Count == 0) Books.Run(options, folder.Path, report).GetAwaiter().GetResult();
        return report;
    }

    private static void RunService(Options options, TemporaryFolder folder, Report report)
    {
        using var api = ApiProcess.Start(options.ApiFile, folder.Path, InlineCompletions);
        // Told to end early, this leaves neither the API nor the folder behind.
        Action<PosixSignalContext> cleanUp = _ =>
        {
            api.Kill();
            folder.Dispose();
        };
        using var interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, cleanUp);
        using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, cleanUp);
        using var journal = new JournalFile(api.JournalPath);
        Console.WriteLine($"The API listens on {api.EndPoint}; its journal is on {report.Setting.FileSystem}.");

        var opened = Load.Once(api, Scenario.Opening(options), options.Organizations);
        report.Check(opened, journal);
        Console.WriteLine($"{opened.Acknowledged} organizations are open.");

        // The round before the first is not measured: it lets the just-in-time compiler finish with both processes.
        for (var round = 0; round <= options.Rounds && report.Errors.Count == 0; round++)
        {
            foreach (var scenario in Scenario.All(options))
            {
                var position = journal.LastPosition();
                var measured = Load.Timed(api, scenario, options.WarmUp, options.Duration);
                report.Check(measured, journal, position);
                if (round > 0) report.Add(measured);
                Console.WriteLine($"{RoundName(round, options)}  {measured}");
                if (!scenario.HasRawBaseline) continue;

                var rows = journal.ReadUsage(position, RawInsert.MaxRows);
                var raw = RawInsert.Measure(Path.Combine(folder.Path, $"raw-{round}.db"), journal.Schema(), rows, options.GroupRows);
                if (round > 0) report.Add(raw);
                Console.WriteLine($"{RoundName(round, options)}  {raw}");
            }
        }
    }

    private static string RoundName(int round, Options options) => round == 0 ? "warm-up  " : $"round {round}/{options.Rounds}";

    private static IAnsiConsole Terminal()
    {
        // A file or a pipe has no width; a table cut to 80 columns would be hard to read there.
        if (Console.IsOutputRedirected) AnsiConsole.Profile.Width = Report.WidthColumns;
        return AnsiConsole.Console;
    }
}

/// <summary>The benchmark cannot go on; the message says why and what would help.</summary>
public sealed class BenchException(string message) : Exception(message);
