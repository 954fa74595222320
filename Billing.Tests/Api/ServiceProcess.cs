using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using Billing.Api;

namespace Billing.Tests.Api;

/// <summary>The built service as a process of its own, with what it says.</summary>
internal sealed class ServiceProcess : IDisposable
{
    private readonly Process process;
    private readonly ConcurrentQueue<string> said;

    private ServiceProcess(Process process, string url, ConcurrentQueue<string> said)
    {
        this.process = process;
        this.said = said;
        Http = new HttpClient { BaseAddress = new Uri(url) };
        Http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Settings.DevelopmentKey);
    }

    /// <summary>With the operator's key.</summary>
    public HttpClient Http { get; }

    public string Said => string.Join('\n', said);

    /// <param name="folder">Where it works; its catalog is <c>catalog.json</c> there, and its journal <c>ledger.db</c> unless the arguments say otherwise.</param>
    public static async Task<ServiceProcess> Start(string folder, params string[] args)
    {
        while (true)
        {
            var said = new ConcurrentQueue<string>();
            var listens = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
            var url = $"http://127.0.0.1:{FreePort()}";
            var process = new Process
            {
                StartInfo = new ProcessStartInfo(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet",
                [
                    Path.Combine(AppContext.BaseDirectory, "Billing.Api.dll"), $"--urls={url}",
                    $"--Billing:Journal={Path.Combine(folder, "ledger.db")}", $"--Billing:Catalog={Path.Combine(folder, "catalog.json")}", .. args,
                ])
                {
                    RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = folder,
                    Environment = { ["ASPNETCORE_ENVIRONMENT"] = "Development" },
                },
                EnableRaisingEvents = true,
            };
            process.OutputDataReceived += (_, line) => Hear(line.Data);
            process.ErrorDataReceived += (_, line) => Hear(line.Data);
            process.Exited += (_, _) => listens.TrySetResult(false);
            process.Start();
            process.BeginOutputReadLine();
            process.BeginErrorReadLine();
            var service = new ServiceProcess(process, url, said);
            if (await listens.Task) return service;

            service.Dispose();
            // Somebody took the port between finding and using it; anything else is a failure.
            if (!service.Said.Contains("address already in use", StringComparison.OrdinalIgnoreCase)) Assert.Fail($"The service did not start:\n{service.Said}");

            void Hear(string? line)
            {
                if (line is null) return;
                said.Enqueue(line);
                if (line.Contains("Billing Ledger listens on", StringComparison.Ordinal)) listens.TrySetResult(true);
            }
        }
    }

    public bool HasExited => process.HasExited;

    /// <summary>SIGKILL: nothing is finished, nothing closed.</summary>
    public void Kill() => process.Kill();

    public void Dispose()
    {
        // By its own id, and waited for: the next one opens the same journal.
        if (!process.HasExited) process.Kill();
        process.WaitForExit();
        process.Dispose();
        Http.Dispose();
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
