using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using Billing.Api;

namespace Billing.Tests.Api;

/// <summary>A built program as a process of its own, with what it says: the service, or a silo.</summary>
internal sealed class ServiceProcess : IDisposable
{
    private readonly Process process;
    private readonly ConcurrentQueue<string> said = [];
    private readonly TaskCompletionSource<bool> listens = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private ServiceProcess(string program, string sign, string folder, string[] args)
    {
        var url = $"http://127.0.0.1:{FreePort()}";
        Http = new HttpClient { BaseAddress = new Uri(url) };
        Http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Settings.DevelopmentKey);
        process = new Process
        {
            StartInfo = new ProcessStartInfo(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet", [Path.Combine(AppContext.BaseDirectory, program), $"--urls={url}", .. args])
            {
                RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = folder,
                Environment = { ["ASPNETCORE_ENVIRONMENT"] = "Development" },
            },
            EnableRaisingEvents = true,
        };
        process.OutputDataReceived += (_, line) => Hear(line.Data);
        process.ErrorDataReceived += (_, line) => Hear(line.Data);
        process.Exited += (_, _) =>
        {
            listens.TrySetResult(false);
            ended.TrySetResult();
        };
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();

        void Hear(string? line)
        {
            if (line is null) return;
            said.Enqueue(line);
            if (line.Contains(sign, StringComparison.Ordinal)) listens.TrySetResult(true);
        }
    }

    /// <summary>With the operator's key.</summary>
    public HttpClient Http { get; }

    public string Said => string.Join('\n', said);

    public bool HasExited => process.HasExited;

    /// <summary>True as soon as it does; false when it ended before.</summary>
    public Task<bool> Listens => listens.Task;

    public Task Ended => ended.Task;

    /// <summary>The service.</summary>
    /// <param name="folder">Where it works; its catalog is <c>catalog.json</c> there, and its journal <c>ledger.db</c> unless the arguments say otherwise.</param>
    public static async Task<ServiceProcess> Start(string folder, params string[] args)
    {
        while (true)
        {
            var service = Launch(folder, args);
            if (await service.Listens) return service;

            service.Dispose();
            // Somebody took the port between finding and using it; anything else is a failure.
            if (!service.Said.Contains("address already in use", StringComparison.OrdinalIgnoreCase)) Assert.Fail($"The service did not start:\n{service.Said}");
        }
    }

    /// <summary>The service, without waiting for it.</summary>
    public static ServiceProcess Launch(string folder, params string[] args) => new("Billing.Api.dll", "Billing Ledger listens on", folder,
        [$"--Billing:Journal={Path.Combine(folder, "ledger.db")}", $"--Billing:Catalog={Path.Combine(folder, "catalog.json")}", .. args]);

    /// <summary>A silo by itself, without waiting for it.</summary>
    public static ServiceProcess LaunchSilo(string folder, params string[] args) => new("Billing.Silo.dll", "The silo is in the cluster", folder, args);

    /// <summary>SIGKILL: nothing is finished, nothing closed.</summary>
    public void Kill() => process.Kill();

    /// <summary>SIGTERM: as a supervisor asks a process to end.</summary>
    public void Terminate()
    {
        using var kill = Process.Start("/bin/sh", ["-c", $"kill -TERM {process.Id}"]);
        kill.WaitForExit();
    }

    public void Dispose()
    {
        // By its own id, and waited for: the next one opens the same journal.
        if (!process.HasExited) process.Kill();
        process.WaitForExit();
        process.Dispose();
        Http.Dispose();
    }

    internal static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
