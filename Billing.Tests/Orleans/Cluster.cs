using System.Diagnostics;
using System.Text.Json.Nodes;
using Billing.Tests.Api;
using Billing.Tests.Postgres;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Configuration;
using Xunit.Abstractions;

namespace Billing.Tests.Orleans;

/// <summary>Tests that start many processes, and measure how long things take: nothing else runs beside them.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class ClusterCollection
{
    public const string Name = "clusters of processes";
}

/// <summary>A cluster as it is operated: PostgreSQL, two silos and the service as their client, each a process of its own.</summary>
internal sealed class Cluster : IAsyncDisposable
{
    /// <summary>Long enough for a busy machine; whoever waits that long waits for what never comes.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);

    private readonly string folder = Directory.CreateTempSubdirectory("billing-").FullName;
    private readonly string id = $"test-{Guid.NewGuid():N}";
    private readonly ITestOutputHelper output;
    private readonly string database;
    private readonly List<KeptSilo> silos = [];
    private IHost? observer;

    private Cluster(ITestOutputHelper output, string catalog)
    {
        this.output = output;
        File.WriteAllText(Path.Combine(folder, "catalog.json"), catalog);
        Postgres = PostgresServer.Start();
        database = Postgres.CreateDatabase();
        Api = StartApi();
    }

    /// <summary>Its own, to be stopped and started.</summary>
    public PostgresServer Postgres { get; }

    public ServiceProcess Api { get; private set; }

    public HttpClient Http => Api.Http;

    public IReadOnlyList<KeptSilo> Silos => silos;

    /// <summary>All of it; it is whole when this returns.</summary>
    public static async Task<Cluster> Start(ITestOutputHelper output, string? catalog = null)
    {
        var cluster = new Cluster(output, catalog ?? RememberingClients.Catalog);
        try
        {
            cluster.AddSilo();
            cluster.AddSilo();
            await cluster.Listens();
            await cluster.IsWhole();
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    /// <summary>The service alone; it listens.</summary>
    public static async Task<Cluster> StartWithoutSilos(ITestOutputHelper output)
    {
        var cluster = new Cluster(output, RememberingClients.Catalog);
        await cluster.Listens();
        return cluster;
    }

    public KeptSilo AddSilo()
    {
        var silo = new KeptSilo(folder, Postgres, database, $"--Cluster:Id={id}");
        silos.Add(silo);
        return silo;
    }

    /// <summary>Waits until the service sees so many silos, all when null, and says that it is ready.</summary>
    public Task IsWhole(int? count = null) => Until($"the service is ready with {count ?? silos.Count} silos", async () =>
    {
        var ready = await Ready();
        return ready.Status == 200 && (string?)ready.Body["status"] == "ready" && (int?)ready.Body["engine"]!["silos"] == (count ?? silos.Count);
    });

    public async Task<(int Status, JsonNode Body)> Ready()
    {
        using var response = await Http.GetAsync("/health/ready");
        return ((int)response.StatusCode, JsonNode.Parse(await response.Content.ReadAsStringAsync())!);
    }

    /// <summary>Which silo has which grains of a type now, by the grains' keys.</summary>
    /// <param name="type">As in the grain's attribute.</param>
    public async Task<Dictionary<string, int>> Homes(string type = "organization")
    {
        observer ??= await Observe();
        DetailedGrainStatistic[] grains = [];
        await Until("the silos say what they have", async () =>
        {
            grains = await observer.Services.GetRequiredService<IGrainFactory>().GetGrain<IManagementGrain>(0).GetDetailedGrainStatistics();
            return true;
        });
        var homes = new Dictionary<string, int>();
        foreach (var grain in grains)
            if (grain.GrainId.Type.ToString() == type) homes[grain.GrainId.Key.ToString()!] = silos.FindIndex(s => s.Port == grain.SiloAddress.Endpoint.Port);
        return homes;
    }

    /// <summary>Waits for something to become true.</summary>
    public async Task Until(string what, Func<Task<bool>> isSo)
    {
        var waited = Stopwatch.StartNew();
        while (!await IsSo())
        {
            if (waited.Elapsed > Patience) Assert.Fail($"It never came to be that {what}.\n{SaidLast}");
            await Task.Delay(20);
        }

        async Task<bool> IsSo()
        {
            try
            {
                return await isSo();
            }
            catch (Exception e) when (e is HttpRequestException or OrleansException or TimeoutException)
            {
                return false;
            }
        }
    }

    public Task Until(string what, Func<bool> isSo) => Until(what, () => Task.FromResult(isSo()));

    public async ValueTask DisposeAsync()
    {
        if (Environment.GetEnvironmentVariable("CLUSTER_LOGS") is { } logs) await File.WriteAllTextAsync(Path.Combine(logs, $"{id}.log"), Said);
        if (observer is not null) await Quietly(observer.StopAsync(new CancellationToken(canceled: true)));
        observer?.Dispose();
        foreach (var silo in silos) await silo.DisposeAsync();
        Api.Dispose();
        Postgres.Dispose();
        Directory.Delete(folder, recursive: true);

        static async Task Quietly(Task task)
        {
            try
            {
                await task;
            }
            catch (Exception e) when (e is OperationCanceledException or OrleansException)
            {
                // It speaks with nobody any more.
            }
        }
    }

    /// <summary>What everybody said last.</summary>
    private string SaidLast => string.Join('\n', Said.Split("---- ").Select(said => string.Join('\n', said.Split('\n').Where((line, i) => i == 0).Concat(said.Split('\n').TakeLast(15)).Select(line => line.Length > 300 ? line[..300] : line))));

    /// <summary>What everybody said.</summary>
    private string Said => string.Join('\n', silos.Select((s, i) => $"---- silo {i}\n{s.Said}").Prepend($"---- service\n{Api.Said}"));

    private ServiceProcess StartApi() => ServiceProcess.Launch(folder, "--Cluster:Mode=client", $"--Cluster:Id={id}", $"--ConnectionStrings:Ledger={Postgres.ConnectionString(database)}");

    /// <summary>Where a start takes too long for the database's patience, there is another one, as a supervisor would do.</summary>
    private async Task Listens()
    {
        for (var starts = 1; !await Api.Listens; starts++)
        {
            if (starts == 5) Assert.Fail($"The service does not start.\n{SaidLast}");
            Api.Dispose();
            Api = StartApi();
        }
    }

    private async Task<IHost> Observe()
    {
        var builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders();
        builder.UseOrleansClient(client => client
            .Configure<ClusterOptions>(o => o.ClusterId = o.ServiceId = id)
            .Configure<GatewayOptions>(o => o.GatewayListRefreshPeriod = TimeSpan.FromSeconds(1))
            .UseAdoNetClustering(o => (o.Invariant, o.ConnectionString) = ("Npgsql", Postgres.ConnectionString(database))));
        var host = builder.Build();
        await host.StartAsync();
        output.WriteLine($"cluster {id}");
        return host;
    }
}
