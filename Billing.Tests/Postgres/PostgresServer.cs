using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Billing.Tests.Postgres;

/// <summary>
/// A PostgreSQL server of the tests' own: in a temporary folder, on a port of loopback, to be stopped, killed and started
/// again. It ends with the tests, however those end, and its folder goes with it.
/// </summary>
internal sealed class PostgresServer : IDisposable
{
    // The server's process is the shell's child. When the tests end, even by a kill, the shell's input ends, and then the server.
    private const string Guard = """exec 3<&0; "$@" 3<&- </dev/null & pid=$!; echo "started $pid"; { cat <&3 >/dev/null; kill -QUIT $pid; } & watch=$!; wait $pid; kill $watch 2>/dev/null""";

    // Removes everything when the tests have ended. A server that is just stopping may still write.
    private const string Sweeper = """cat >/dev/null; while ! rm -rf "$1" 2>/dev/null; do umount -l "$1"/* 2>/dev/null; sleep 0.2; done""";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static readonly Lazy<string> Home = new(MakeHome);
    private static readonly Lazy<PostgresServer> One = new(() => Start());
    private static Process? sweeper;
    private static int servers;

    private readonly string folder;
    private readonly bool fsync;
    private readonly string[] settings;
    private readonly ConcurrentQueue<string> said = [];
    private bool hasOwnDisk;
    private Process? guard;
    private int serverId;
    private int databases;

    private PostgresServer(string folder, bool fsync, string[] settings)
    {
        this.folder = folder;
        this.fsync = fsync;
        this.settings = settings;
        Port = FreePort();
    }

    /// <summary>One server for all tests that only need a database of their own. It is never stopped by a test.</summary>
    public static PostgresServer Shared => One.Value;

    /// <summary>The port on 127.0.0.1, the same after every start.</summary>
    public int Port { get; private set; }

    /// <summary>Where its data is.</summary>
    public string Folder => folder;

    /// <summary>What the server wrote to its log since it was first started.</summary>
    public string Log => string.Join('\n', said);

    /// <summary>A new server, which answers when this returns.</summary>
    /// <param name="fsync">Whether a commit waits for the disk.</param>
    /// <param name="settings">Further settings, as <c>name=value</c>.</param>
    /// <param name="diskMegabytes">Gives it a disk of its own in memory, of this size; null for the machine's.</param>
    /// <exception cref="NotSupportedException">This machine does not let the tests mount a disk.</exception>
    public static PostgresServer Start(bool fsync = true, string[]? settings = null, int? diskMegabytes = null)
    {
        var data = Path.Combine(Home.Value, Interlocked.Increment(ref servers).ToString(CultureInfo.InvariantCulture));
        if (diskMegabytes is { } size)
        {
            Directory.CreateDirectory(data);
            if (PostgresPrograms.Try("/", ["mount", "-t", "tmpfs", "-o", $"size={size}m,mode=0700,uid=postgres,gid=postgres", "billing-tests", data]).Status != 0)
                throw new NotSupportedException("No disk can be mounted here.");
        }
        // initdb takes seconds, a copy of what it made takes none.
        PostgresPrograms.Run("/", PostgresPrograms.AsServer("cp", "-R", Path.Combine(Home.Value, "template") + "/.", data));
        PostgresPrograms.Run("/", PostgresPrograms.AsServer("chmod", "700", data));
        var server = new PostgresServer(data, fsync, settings ?? []) { hasOwnDisk = diskMegabytes is not null };
        try
        {
            server.StartAgain();
            return server;
        }
        catch
        {
            server.Dispose();
            throw;
        }
    }

    /// <summary>For Npgsql.</summary>
    public string ConnectionString(string database) => $"Host=127.0.0.1;Port={Port};Username=postgres;Database={database}";

    /// <summary>A database of one test's own.</summary>
    /// <param name="template">The name of the database that it is a copy of, to which nobody may be connected meanwhile; null for an empty one.</param>
    /// <returns>Its name.</returns>
    public string CreateDatabase(string? template = null)
    {
        var name = $"ledger_{Interlocked.Increment(ref databases)}";
        Sql("postgres", $"CREATE DATABASE {name} TEMPLATE {template ?? "template0"}");
        return name;
    }

    /// <summary>Runs a statement by psql, which needs nothing of what is tested.</summary>
    /// <returns>The rows, columns separated by |.</returns>
    public string Sql(string database, string statement) => PostgresPrograms.Run("/",
        PostgresPrograms.CommandLine("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", Text(Port), "-U", "postgres", "-d", database), statement).TrimEnd('\n');

    /// <summary>Starts the server on the same data and port after it was stopped or killed; it answers when this returns.</summary>
    public void StartAgain()
    {
        var patience = Stopwatch.StartNew();
        while (true)
        {
            if (Launch()) return;
            // What is left of a server that was killed keeps its memory for a moment; and somebody may have taken a port that was never used yet.
            if (patience.Elapsed > Patience) throw new InvalidOperationException($"PostgreSQL does not start:\n{Log}");
            if (databases == 0 && Log.Contains("Address already in use", StringComparison.Ordinal)) Port = FreePort();
            Thread.Sleep(50);
        }
    }

    /// <summary>SIGKILL: the server has no time for anything.</summary>
    public void Kill()
    {
        using (var server = Process.GetProcessById(serverId)) server.Kill();
        AwaitEnd();
    }

    /// <summary>pg_ctl stop: <c>immediate</c> as if the power failed, <c>fast</c> with everybody sent away, <c>smart</c> when all have gone.</summary>
    public void Stop(string mode = "immediate")
    {
        PostgresPrograms.Run("/", PostgresPrograms.CommandLine("pg_ctl", "stop", "-m", mode, "-w", "-D", folder));
        AwaitEnd();
    }

    /// <summary>From now on nothing that the server writes may grow: its disk is full, or where it has none of its own, its files are limited.</summary>
    public void FillDisk()
    {
        if (hasOwnDisk) PostgresPrograms.Try(folder, PostgresPrograms.AsServer("dd", "if=/dev/zero", $"of={Ballast}", "bs=64k"));
        else LimitFiles("65536:unlimited");
    }

    /// <summary>There is room again. A server that gave up meanwhile is started again, as somebody would.</summary>
    public void FreeDisk()
    {
        if (hasOwnDisk) File.Delete(Ballast);
        else if (guard is { HasExited: false }) LimitFiles("unlimited:unlimited");
        // It may be about to: it tries to recover, and gives up when it cannot.
        for (var i = 0; i < 100 && guard is { HasExited: false } && !Answers(); i++) Thread.Sleep(50);
        if (Answers()) return;
        guard?.StandardInput.Close();
        AwaitEnd();
        StartAgain();
    }

    public void Dispose()
    {
        // The end of its input is what it would see if the tests were killed.
        guard?.StandardInput.Close();
        AwaitEnd();
        if (!Directory.Exists(folder)) return;
        if (hasOwnDisk) PostgresPrograms.Run("/", ["umount", folder]);
        Directory.Delete(folder, recursive: true);
    }

    /// <returns>False when the server ended instead of answering.</returns>
    private bool Launch()
    {
        string[] options =
        [
            "-D", folder, "-p", Text(Port), "-k", folder, "-h", "127.0.0.1", .. Set($"fsync={(fsync ? "on" : "off")}"), .. Set("synchronous_commit=on"),
            .. Set("shared_buffers=64MB"), .. Set("max_connections=200"), .. settings.SelectMany(Set),
        ];
        var started = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
        var process = new Process
        {
            StartInfo = new ProcessStartInfo("/bin/sh", ["-c", Guard, "guard", .. PostgresPrograms.CommandLine("postgres", options)])
            {
                RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = "/",
            },
        };
        process.OutputDataReceived += (_, line) =>
        {
            if (line.Data?.Split(' ') is ["started", var id]) started.TrySetResult(int.Parse(id, CultureInfo.InvariantCulture));
        };
        process.ErrorDataReceived += (_, line) =>
        {
            if (line.Data is { } text) said.Enqueue(text);
        };
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        guard = process;
        serverId = started.Task.GetAwaiter().GetResult();
        while (!process.HasExited)
        {
            if (Answers()) return true;
            Thread.Sleep(10);
        }
        AwaitEnd();
        return false;
    }

    private string Ballast => Path.Combine(folder, "ballast");

    private bool Answers() => PostgresPrograms.Try("/", PostgresPrograms.CommandLine("pg_isready", "-q", "-h", "127.0.0.1", "-p", Text(Port), "-U", "postgres")).Status == 0;

    private void LimitFiles(string size)
    {
        // Of the server, for the connections to come, and of every connection that there is.
        var (_, children) = PostgresPrograms.Try("/", ["pgrep", "-P", Text(serverId)]);
        foreach (var id in children.Split('\n', StringSplitOptions.RemoveEmptyEntries).Prepend(Text(serverId)))
            PostgresPrograms.Try("/", PostgresPrograms.AsServer("prlimit", "--pid", id, $"--fsize={size}"));
    }

    private void AwaitEnd()
    {
        if (guard is null) return;
        if (!guard.WaitForExit(Patience)) throw new InvalidOperationException($"PostgreSQL does not end:\n{Log}");
        guard.Dispose();
        guard = null;
    }

    private static string MakeHome()
    {
        var home = PostgresPrograms.NewFolder();
        // Nobody ends it: it ends with this process. Were it not kept, its input would end as soon as it is collected.
        sweeper = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", Sweeper, "sweeper", home]) { RedirectStandardInput = true, WorkingDirectory = "/" });
        PostgresPrograms.Run("/", PostgresPrograms.CommandLine(
            "initdb", "-D", Path.Combine(home, "template"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"));
        return home;
    }

    private static string[] Set(string setting) => ["-c", setting];

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    internal static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
