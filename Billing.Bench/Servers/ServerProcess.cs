using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;

namespace Billing.Bench;

/// <summary>A server of HTTP as its users run it: a process of its own, Production, on a port of loopback.</summary>
public sealed class ServerProcess : IDisposable
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan BetweenTries = TimeSpan.FromMilliseconds(2);

    /// <summary>Whatever the caller's environment says of a deployment is not what is measured here; and the generator's own setting is for it alone.</summary>
    private static readonly string[] NotInherited = ["DATABASE_URL", "ConnectionStrings__Ledger", "ASPNETCORE_HTTP_PORTS", "Cluster__Mode", "Cluster__Id", Program.InlineCompletions];

    private readonly Process process;
    private readonly long launchedAt;

    private ServerProcess(Process process, long launchedAt, IPEndPoint endPoint, string key)
    {
        this.process = process;
        this.launchedAt = launchedAt;
        EndPoint = endPoint;
        Key = key;
    }

    public IPEndPoint EndPoint { get; }

    /// <summary>The operator's API key.</summary>
    public string Key { get; }

    /// <summary>From before the process was made until it had answered its first request.</summary>
    public TimeSpan StartedIn { get; private set; }

    /// <summary>Processes that it needs for its answers: what they take counts as its own, and they end with it.</summary>
    public IReadOnlyList<ServerProcess> Behind { get; set; } = [];

    /// <summary>Returns when it has answered <c>GET /v1/ping</c>.</summary>
    public static ServerProcess Start(string file, IReadOnlyList<string> arguments, string folder, IReadOnlyDictionary<string, string> environment, string? runtimeConfig = null)
    {
        var server = Launch(file, arguments, folder, environment, runtimeConfig);
        server.AwaitFirstAnswer("/v1/ping");
        return server;
    }

    /// <summary>Returns at once.</summary>
    /// <param name="file">The program, a .dll.</param>
    /// <param name="folder">Where it runs.</param>
    /// <param name="runtimeConfig">The runtime's settings, a .json; those beside the program when null.</param>
    public static ServerProcess Launch(string file, IReadOnlyList<string> arguments, string folder, IReadOnlyDictionary<string, string> environment, string? runtimeConfig = null)
    {
        var endPoint = FreeEndPoint();
        var key = "bk_bench_" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(24));
        string[] exec = runtimeConfig is null ? [] : ["exec", "--runtimeconfig", runtimeConfig];
        var start = new ProcessStartInfo("dotnet", [.. exec, file, .. arguments]) { WorkingDirectory = folder, UseShellExecute = false };
        foreach (var name in NotInherited) start.Environment.Remove(name);
        start.Environment["ASPNETCORE_ENVIRONMENT"] = "Production";
        start.Environment["ASPNETCORE_URLS"] = $"http://{endPoint}";
        start.Environment["BILLING_OPERATOR_KEY"] = key;
        start.Environment["Logging__LogLevel__Default"] = "Warning";
        foreach (var (name, value) in environment) start.Environment[name] = value;

        var started = Stopwatch.GetTimestamp();
        return Cleanup.Add(new ServerProcess(Process.Start(start) ?? throw new BenchException($"'{file}' cannot be started."), started, endPoint, key));
    }

    /// <summary>Processor time of all its threads since it started.</summary>
    public TimeSpan ProcessorTime()
    {
        process.Refresh();
        return Behind.Aggregate(process.TotalProcessorTime, (sum, other) => sum + other.ProcessorTime());
    }

    /// <summary>What it has in memory, in bytes, with all that is not collected yet.</summary>
    public long Memory()
    {
        process.Refresh();
        return process.WorkingSet64 + Behind.Sum(other => other.Memory());
    }

    /// <summary>What it kept is thrown away with its folder: there is nothing to finish.</summary>
    public void Dispose()
    {
        if (!process.HasExited) process.Kill();
        process.WaitForExit();
        foreach (var other in Behind) other.Dispose();
    }

    public static IPEndPoint FreeEndPoint()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return (IPEndPoint)listener.LocalEndpoint;
    }

    /// <summary>Returns when it has answered a request with 200.</summary>
    public void AwaitFirstAnswer(string path)
    {
        var request = Encoding.ASCII.GetBytes($"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {Key}\r\n\r\n");
        var answer = new byte[1024];
        for (; Stopwatch.GetElapsedTime(launchedAt) < StartTimeout; Thread.Sleep(BetweenTries))
        {
            if (process.HasExited) throw new BenchException($"The server ended with code {process.ExitCode} instead of starting.");
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                socket.Connect(EndPoint);
                socket.Send(request);
                var length = socket.Receive(answer);
                StartedIn = Stopwatch.GetElapsedTime(launchedAt);
                if (answer.AsSpan(0, length).StartsWith("HTTP/1.1 200"u8)) return;
                throw new BenchException($"The server's first answer is not 200: {Encoding.ASCII.GetString(answer, 0, length)}");
            }
            catch (SocketException)
            {
                // Not yet.
            }
        }
        throw new BenchException($"The server did not listen on {EndPoint} within {StartTimeout.TotalSeconds} seconds.");
    }
}
