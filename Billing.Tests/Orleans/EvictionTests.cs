using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Silo;
using Billing.Tests.Grains;
using Microsoft.Extensions.DependencyInjection;
using Orleans.TestingHost;

namespace Billing.Tests.Orleans;

/// <summary>A silo's memory is bounded: what it evicts takes its grain with it.</summary>
public sealed class EvictionTests
{
    [Fact]
    public async Task an_evicted_organization_leaves_no_grain_behind_and_comes_back_when_it_is_asked()
    {
        await using var host = new LedgerHost(new MemoryJournal(), () => Sessions.Catalogs, maxResidentBytes: long.MaxValue);
        var builder = new InProcessTestClusterBuilder(1);
        builder.ConfigureSilo((_, silo) => silo.Services.AddSingleton(host).AddHostedService<EvictedOrganizations>());
        await using var cluster = builder.Build();
        await cluster.DeployAsync();
        var (grain, management) = (cluster.Client.GetGrain<IOrganizationGrain>("acme"), cluster.Client.GetGrain<IManagementGrain>(0));
        await grain.Execute(Sessions.Open());
        Assert.NotNull(await management.GetActivationAddress(grain));

        // Busy for a moment longer than its answer it is not evicted, and tried again.
        for (var i = 0; host.ResidentCount > 0 || await management.GetActivationAddress(grain) is not null; i++)
        {
            Assert.True(i < 1_000, "The grain is still there.");
            host.Evict(0);
            await Task.Delay(10);
        }
        Assert.Equal(1, (await grain.Read(Sessions.At))?.Version);
    }
}
