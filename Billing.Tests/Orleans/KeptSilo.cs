using Billing.Tests.Api;
using Billing.Tests.Postgres;

namespace Billing.Tests.Orleans;

/// <summary>A silo as a process of its own, started again whenever it ends, as a supervisor would. Every way to it and from it can be cut.</summary>
internal sealed class KeptSilo : IAsyncDisposable
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(200);

    private readonly string folder;
    private readonly string[] args;
    private readonly Task keeping;
    private readonly List<string> before = [];
    private readonly TaskCompletionSource stopping = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile ServiceProcess process;
    private volatile int starts;

    /// <param name="database">Whose address, with the port in it replaced, is the silo's.</param>
    public KeptSilo(string folder, PostgresServer server, string database, params string[] args)
    {
        this.folder = folder;
        ToPostgres = new LoopbackProxy(server.Port);
        var (silo, gateway) = (ServiceProcess.FreePort(), ServiceProcess.FreePort());
        FromSilos = new LoopbackProxy(silo);
        FromClients = new LoopbackProxy(gateway);
        this.args =
        [
            $"--ConnectionStrings:Ledger={server.ConnectionString(database).Replace($"Port={server.Port}", $"Port={ToPostgres.Port}", StringComparison.Ordinal)}", "--Cluster:Address=127.0.0.1",
            $"--Cluster:SiloPort={FromSilos.Port}", $"--Cluster:SiloListenPort={silo}", $"--Cluster:GatewayPort={FromClients.Port}", $"--Cluster:GatewayListenPort={gateway}", .. args,
        ];
        process = Start();
        keeping = Keep();
    }

    public LoopbackProxy ToPostgres { get; }

    public LoopbackProxy FromSilos { get; }

    public LoopbackProxy FromClients { get; }

    /// <summary>Where others find it: what it is called in the cluster, whichever start it is.</summary>
    public int Port => FromSilos.Port;

    /// <summary>How often it was started.</summary>
    public int Starts => starts;

    /// <summary>As it is now. It may be about to be replaced.</summary>
    public ServiceProcess Process => process;

    /// <summary>What all its processes said.</summary>
    public string Said
    {
        get
        {
            lock (before) return string.Join('\n', [.. before, process.Said]);
        }
    }

    /// <summary>Ends for good, after it was asked to.</summary>
    public async Task Leave()
    {
        stopping.TrySetResult();
        process.Terminate();
        await process.Ended;
        await keeping;
    }

    public async ValueTask DisposeAsync()
    {
        stopping.TrySetResult();
        await keeping;
        process.Dispose();
        ToPostgres.Dispose();
        FromSilos.Dispose();
        FromClients.Dispose();
    }

    private ServiceProcess Start()
    {
        starts++;
        return ServiceProcess.LaunchSilo(folder, args);
    }

    private async Task Keep()
    {
        while (true)
        {
            if (await Task.WhenAny(process.Ended, stopping.Task) == stopping.Task) return;
            if (await Task.WhenAny(Task.Delay(Pause), stopping.Task) == stopping.Task) return;
            lock (before)
            {
                before.Add(process.Said);
                process.Dispose();
                process = Start();
            }
        }
    }
}
