using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Tests.Grains;
using Microsoft.Extensions.DependencyInjection;
using Orleans.TestingHost;

namespace Billing.Tests.Orleans;

/// <summary>The Orleans engine: two silos over one journal, and a client that speaks to them.</summary>
public class ClusterHostTests : HostContract
{
    /// <summary>What the client may ask in place, in the first silo.</summary>
    private protected virtual OrganizationsHere? Here => null;

    private protected override async Task<Running> Start(IJournal journal, Catalogs catalogs)
    {
        var (inside, here) = (new List<LedgerHost>(), Here);
        var builder = new InProcessTestClusterBuilder(2);
        builder.ConfigureSilo((_, silo) =>
        {
            var host = new LedgerHost(journal, () => catalogs, maxResidentBytes: long.MaxValue);
            inside.Add(host);
            silo.Services.AddSingleton(host);
            if (here is not null && inside.Count == 1) silo.Services.AddSingleton(here);
        });
        var cluster = builder.Build();
        await cluster.DeployAsync();
        var outside = new OrleansHost(TimeSpan.FromSeconds(8), here: here);
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

/// <summary>The same with one of the silos in the client's process: what is there is checked in place, all else goes by messages.</summary>
public sealed class CoHostedTests : ClusterHostTests
{
    private protected override OrganizationsHere? Here => new();
}
