using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Billing.Silo;

/// <summary>Takes up what another process published.</summary>
public sealed partial class CatalogPoll(CatalogStore catalogs, TimeProvider time, ILogger<CatalogPoll> log) : BackgroundService
{
    public static readonly TimeSpan Every = TimeSpan.FromSeconds(1);

    private bool failed;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Every, time);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                try
                {
                    await catalogs.Refresh();
                    failed = false;
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    // They stay as they were. Once is enough to say so: an outage is told of elsewhere.
                    if (!failed) LogFailure(log, e);
                    failed = true;
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The service stops.
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The catalogs could not be read; they stay as they were.")]
    private static partial void LogFailure(ILogger log, Exception e);
}
