using Spectre.Console;

namespace Billing.Bench;

/// <summary>
/// Starts the ledger and what a user would build instead, each as processes of their own, and measures them over loopback
/// in alternating rounds. The exit code says whether every answer was right, never whether it was fast.
/// </summary>
public static class Program
{
    /// <summary>Read once by the runtime, when the first socket is made.</summary>
    public const string InlineCompletions = "DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS";

    public static int Main(string[] args)
    {
        if (args is [BaselineServer.Argument, ..])
        {
            BaselineServer.Run(args[1..]).GetAwaiter().GetResult();
            return 0;
        }
        try
        {
            if (Options.Parse(args) is not { } options)
            {
                Console.WriteLine(Options.Usage);
                return 0;
            }
            var report = Run(options);
            report.Print(Terminal());
            if (options.JsonFile is { } json) File.WriteAllText(json, report.ToJson());
            if (options.SvgFile is { } svg) File.WriteAllText(svg, report.ToSvg());
            return report.Errors.Count == 0 ? 0 : 1;
        }
        catch (Exception e)
        {
            // Whatever it is, it is caught: what was started is ended below, which it is not when the process ends by an exception.
            Console.Error.WriteLine($"Billing.Bench: {(e is BenchException ? e.Message : e)}");
            return 1;
        }
        finally
        {
            Cleanup.Run();
        }
    }

    private static Report Run(Options options)
    {
#if DEBUG
        Console.WriteLine("This is a Debug build: its figures say little. Use dotnet run -c Release.");
#endif
        // The generator's loops never block, so they run on the thread that hears of the socket: no second thread has to
        // be woken for each answer, and the processors are left to what is measured. All else here is synchronous while
        // they run, because whatever came back on that thread and waited would stop every connection.
        Environment.SetEnvironmentVariable(InlineCompletions, "1");
        var signals = Cleanup.OnSignals();
        var folder = Cleanup.Add(new TemporaryFolder(options.Folder));
        var report = new Report(options, folder.Path);
        new Measuring(options, folder, report).RunAll();
        foreach (var signal in signals) signal.Dispose();
        return report;
    }

    private static IAnsiConsole Terminal()
    {
        // A file or a pipe has no width; a table cut to 80 columns would be hard to read there.
        if (Console.IsOutputRedirected) AnsiConsole.Profile.Width = Report.WidthColumns;
        return AnsiConsole.Console;
    }
}

/// <summary>The benchmark cannot go on; the message says why and what would help.</summary>
public sealed class BenchException(string message) : Exception(message);
