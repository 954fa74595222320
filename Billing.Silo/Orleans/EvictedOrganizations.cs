using Billing.Grains;
using Microsoft.Extensions.Hosting;
using Orleans.Core.Internal;

namespace Billing.Silo;

/// <summary>An organization that was evicted needs no grain either: otherwise a silo that is asked for many would keep one for each until they are too old.</summary>
public sealed class EvictedOrganizations(LedgerHost host, IGrainFactory grains) : IHostedService
{
    public Task StartAsync(CancellationToken cancellationToken)
    {
        host.Evicted = id => grains.GetGrain<IOrganizationGrain>(id).Cast<IGrainManagementExtension>().DeactivateOnIdle().AsTask().Ignore();
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken)
    {
        host.Evicted = null;
        return Task.CompletedTask;
    }
}
