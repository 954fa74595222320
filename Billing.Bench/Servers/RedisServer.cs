using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Billing.Bench;

/// <summary>A Redis of the benchmark's own, in memory only: no snapshots, no append-only file.</summary>
public sealed class RedisServer : IDisposable
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(10);

    private readonly Process process;

    private RedisServer(Process process, IPEndPoint endPoint)
    {
        this.process = process;
        EndPoint = endPoint;
    }

    public IPEndPoint EndPoint { get; }

    /// <returns>Null when there is no redis-server on this machine.</returns>
    public static RedisServer? TryStart(string folder)
    {
        var endPoint = ServerProcess.FreeEndPoint();
        string[] arguments = ["--bind", "127.0.0.1", "--port", endPoint.Port.ToString(), "--save", "", "--appendonly", "no", "--dir", folder, "--loglevel", "warning"];
        Process process;
        try
        {
            process = Process.Start(new ProcessStartInfo("redis-server", arguments) { RedirectStandardOutput = true })!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null;
        }
        process.BeginOutputReadLine();
        var server = Cleanup.Add(new RedisServer(process, endPoint));
        for (var started = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(started) < StartTimeout; Thread.Sleep(10))
        {
            if (process.HasExited) throw new BenchException($"redis-server ended with code {process.ExitCode} instead of starting.");
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                socket.Connect(endPoint);
                return server;
            }
            catch (SocketException)
            {
                // Not yet.
            }
        }
        throw new BenchException($"redis-server did not listen on {endPoint} within {StartTimeout.TotalSeconds} seconds.");
    }

    public void Dispose()
    {
        if (!process.HasExited) process.Kill();
        process.WaitForExit();
    }
}
