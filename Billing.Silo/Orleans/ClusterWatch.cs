using Billing.Grains;
using Microsoft.Extensions.Hosting;

namespace Billing.Silo;

/// <summary>Knows how many silos there are, so that nobody who asks for the service's health has to wait for one.</summary>
public sealed class ClusterWatch(OrleansHost host) : BackgroundService
{
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (true)
            {
                await host.CountSilos().WaitAsync(stoppingToken);
                await Task.Delay(Every, stoppingToken);
            }
        }
        catch (OperationCanceledException)
        {
            // The process stops.
        }
    }
}
