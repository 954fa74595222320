using Billing.Grains.Journal;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Billing.Silo;

/// <summary>Takes up what another process published. A process without traffic finds out by it, too, that the database does not answer.</summary>
public sealed partial class CatalogPoll(CatalogStore catalogs, WatchedJournal journal, TimeProvider time, ILogger<CatalogPoll> log) : BackgroundService
{
    public static readonly TimeSpan Every = TimeSpan.FromSeconds(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Every, time);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                try
                {
                    if (!journal.Health.IsOut) await catalogs.Refresh();
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    // They stay as they were.
                    LogFailure(log, e);
                    journal.Health.Failed(e);
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
