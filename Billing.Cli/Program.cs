using System.CommandLine;
using System.Data.Common;
using Billing.Grains.Journal;

namespace Billing.Cli;

/// <summary>The `billing` command line. Reads as its table of contents.</summary>
public static class Program
{
    public static Task<int> Main(string[] args) => Run(args, Terminal.Standard());

    /// <returns>One of <see cref="ExitCode"/>.</returns>
    internal static async Task<int> Run(string[] args, Terminal terminal)
    {
        var root = new RootCommand("Billing Ledger: looks into a journal and proves what is in it; compares a running service with Stripe; moves to PostgreSQL; makes keys.")
        {
            LedgerCommands.Group(terminal), AuditCommands.Group(terminal), Keys.Group(terminal), Migrating.Command(terminal), Pushing.Group(terminal), Reconciling.Command(terminal),
        };
        var parsed = root.Parse(args);
        if (parsed.Errors.Count > 0)
        {
            foreach (var error in parsed.Errors) await terminal.Error.WriteLineAsync(error.Message);
            await terminal.Error.WriteLineAsync("With --help it says what it takes.");
            return ExitCode.Unusable;
        }
        try
        {
            return await parsed.InvokeAsync(new InvocationConfiguration { Output = terminal.Out, Error = terminal.Error, EnableDefaultExceptionHandler = false });
        }
        catch (OperationCanceledException)
        {
            await terminal.Error.WriteLineAsync("Stopped.");
            return ExitCode.Unusable;
        }
        catch (Exception e) when (e is UsageException or ServiceException or InvalidDataException or IOException or UnauthorizedAccessException or DbException or TimeoutException or DamagedEventException)
        {
            await terminal.Error.WriteLineAsync(e.Message);
            return ExitCode.Unusable;
        }
    }
}

/// <summary>What the process ends with.</summary>
internal static class ExitCode
{
    public const int Good = 0;

    /// <summary>It was looked into, and something is wrong with it.</summary>
    public const int Finding = 1;

    /// <summary>It could not be looked into: wrong arguments, or nothing that can be read.</summary>
    public const int Unusable = 2;
}

/// <summary>The arguments cannot work; the message says what would.</summary>
internal sealed class UsageException(string message) : Exception(message);
