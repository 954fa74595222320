using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Tests.Grains;
using Microsoft.Extensions.DependencyInjection;
using Orleans.TestingHost;

namespace Billing.Tests.Orleans;

/// <summary>The Orleans engine: two silos over one journal, and a client that speaks to them.</summary>
public sealed class ClusterHostTests : HostContract
{
    private protected override async Task<Running> Start(IJournal journal, Catalogs catalogs)
    {
        var inside = new List<LedgerHost>();
        var builder = new InProcessTestClusterBuilder(2);
        builder.ConfigureSilo((_, silo) =>
        {
            var host = new LedgerHost(journal, () => catalogs, maxResidentBytes: long.MaxValue);
            inside.Add(host);
            silo.Services.AddSingleton(host);
        });
        var cluster = builder.Build();
        await cluster.DeployAsync();
        var outside = new OrleansHost(TimeSpan.FromSeconds(8));
        outside.Attach(cluster.Client);
        return new Running(outside, () => inside.Sum(h => h.ResidentCount), new End(cluster, inside));
    }

    private sealed class End(InProcessTestCluster cluster, List<LedgerHost> inside) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            await cluster.DisposeAsync();
            foreach (var host in inside) await host.DisposeAsync();
        }
    }
}
