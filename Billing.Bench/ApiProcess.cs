using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;

namespace Billing.Bench;

/// <summary>The API as its users run it: a process of its own, Production, the embedded engine, a journal in SQLite.</summary>
public sealed class ApiProcess : IDisposable
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(60);

    private readonly Process process;

    private ApiProcess(Process process, IPEndPoint endPoint, string key, string journalPath)
    {
        this.process = process;
        EndPoint = endPoint;
        Key = key;
        JournalPath = journalPath;
    }

    public IPEndPoint EndPoint { get; }

    public string Key { get; }

    public string JournalPath { get; }

    /// <summary>How many organizations are open.</summary>
    public int Organizations { get; set; }

    /// <param name="file">Billing.Api.dll; the one that was built with this program when null.</param>
    /// <param name="notInherited">An environment variable that is for this process alone.</param>
    public static ApiProcess Start(string? file, string folder, string notInherited)
    {
        file ??= BuiltWithThis();
        if (!File.Exists(file)) throw new BenchException($"There is no '{file}'. Name the API's Billing.Api.dll with --api.");
        var endPoint = FreeEndPoint();
        var key = "bk_bench_" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(24));
        var journal = Path.Combine(folder, "ledger.db");
        var start = new ProcessStartInfo("dotnet", [file]) { WorkingDirectory = folder, UseShellExecute = false };
        // Whatever the caller's environment says of a deployment is not what is measured here.
        foreach (var name in (string[])["DATABASE_URL", "ConnectionStrings__Ledger", "ASPNETCORE_HTTP_PORTS", notInherited]) start.Environment.Remove(name);
        start.Environment["ASPNETCORE_ENVIRONMENT"] = "Production";
        start.Environment["ASPNETCORE_URLS"] = $"http://{endPoint}";
        start.Environment["BILLING_OPERATOR_KEY"] = key;
        start.Environment["Billing__Catalog"] = "catalogs/summarizer.json";
        start.Environment["Billing__Journal"] = journal;
        start.Environment["Logging__LogLevel__Default"] = "Warning";

        var api = new ApiProcess(Process.Start(start) ?? throw new BenchException("The API cannot be started."), endPoint, key, journal);
        try
        {
            api.WaitUntilItListens();
            return api;
        }
        catch
        {
            api.Dispose();
            throw;
        }
    }

    /// <summary>Processor time of all its threads since it started.</summary>
    public TimeSpan ProcessorTime()
    {
        process.Refresh();
        return process.TotalProcessorTime;
    }

    /// <summary>Its journal is thrown away with the folder: there is nothing to finish.</summary>
    public void Kill()
    {
        if (!process.HasExited) process.Kill();
    }

    public void Dispose()
    {
        Kill();
        process.WaitForExit();
        process.Dispose();
    }

    private void WaitUntilItListens()
    {
        for (var started = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(started) < StartTimeout; Thread.Sleep(100))
        {
            if (process.HasExited) throw new BenchException($"The API ended with code {process.ExitCode} instead of starting.");
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                socket.Connect(EndPoint);
                return;
            }
            catch (SocketException)
            {
                // Not yet.
            }
        }
        throw new BenchException($"The API did not listen on {EndPoint} within {StartTimeout.TotalSeconds} seconds.");
    }

    /// <summary>Beside this project's output is the API's, of the same configuration.</summary>
    private static string BuiltWithThis() =>
        Path.Combine(AppContext.BaseDirectory.Replace("Billing.Bench", "Billing.Api", StringComparison.Ordinal), "Billing.Api.dll");

    private static IPEndPoint FreeEndPoint()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return (IPEndPoint)listener.LocalEndpoint;
    }
}

/// <summary>A folder that is gone when the benchmark is.</summary>
public sealed class TemporaryFolder : IDisposable
{
    public TemporaryFolder(string parent) => Path = Directory.CreateDirectory(System.IO.Path.Combine(parent, $"billing-bench-{Guid.NewGuid():N}")).FullName;

    public string Path { get; }

    public void Dispose()
    {
        if (Directory.Exists(Path)) Directory.Delete(Path, recursive: true);
    }
}
