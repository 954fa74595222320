using System.Diagnostics;
using System.Globalization;

namespace Billing.Tests.Postgres;

/// <summary>PostgreSQL's programs on this machine, run as somebody whom the server accepts: it refuses root.</summary>
internal static class PostgresPrograms
{
    private static readonly Lazy<string> Found = new(Find);

    /// <summary>What stands before a program so that it does not run as root; nothing for any other user.</summary>
    private static readonly string[] AsOther = Environment.IsPrivilegedProcess ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] : [];

    /// <summary>The command line of a program, by its name, to be run as the server's user.</summary>
    public static string[] CommandLine(string program, params string[] arguments) => AsServer([Path.Combine(Found.Value, program), .. arguments]);

    /// <summary>Any command line, to be run as the server's user.</summary>
    public static string[] AsServer(params string[] commandLine) => [.. AsOther, .. commandLine];

    /// <summary>A new folder that belongs to the server's user.</summary>
    public static string NewFolder()
    {
        var folder = Directory.CreateTempSubdirectory("billing-pg-").FullName;
        if (AsOther.Length > 0) Run(folder, ["chown", "postgres:postgres", folder]);
        return folder;
    }

    /// <returns>What it wrote.</returns>
    /// <exception cref="InvalidOperationException">It failed; the message is what it said.</exception>
    public static string Run(string folder, string[] commandLine, string? input = null)
    {
        var (status, output) = Try(folder, commandLine, input);
        return status == 0 ? output : throw new InvalidOperationException($"{string.Join(' ', commandLine)} ended with {status}:\n{output}");
    }

    public static (int Status, string Output) Try(string folder, string[] commandLine, string? input = null)
    {
        using var process = Process.Start(new ProcessStartInfo(commandLine[0], commandLine[1..])
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = folder,
        })!;
        var error = process.StandardError.ReadToEndAsync();
        process.StandardInput.Write(input);
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + error.GetAwaiter().GetResult());
    }

    private static string Find()
    {
        try
        {
            var (status, said) = Try("/", ["pg_config", "--bindir"]);
            if (status == 0 && File.Exists(Path.Combine(said.Trim(), "initdb"))) return said.Trim();
        }
        catch (System.ComponentModel.Win32Exception)
        {
            // There is no pg_config, which comes with the server's headers only; Debian and its kin keep the server here.
        }
        const string debian = "/usr/lib/postgresql";
        var newest = (Directory.Exists(debian) ? Directory.GetDirectories(debian) : [])
            .Where(f => File.Exists(Path.Combine(f, "bin", "initdb")))
            .MaxBy(f => int.TryParse(Path.GetFileName(f), NumberStyles.None, CultureInfo.InvariantCulture, out var version) ? version : 0);
        return newest is not null
            ? Path.Combine(newest, "bin")
            : throw new InvalidOperationException("These tests start a PostgreSQL server of their own, and there is none on this machine: install the package postgresql (15 or newer).");
    }
}
