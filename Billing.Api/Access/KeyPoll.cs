using Billing.Silo;

namespace Billing.Api;

/// <summary>Takes up the keys that other processes made and revoked, and writes down now and then which were used; sessions that ended long ago are removed.</summary>
public sealed partial class KeyPoll(ApiKeys keys, BrowserSessions sessions, Clock clock, TimeProvider time, ILogger<KeyPoll> log) : BackgroundService
{
    /// <summary>A key that is revoked in one process is good in the others for so long at most.</summary>
    public static readonly TimeSpan Every = TimeSpan.FromSeconds(2);

    private const int RoundsBetweenLastUses = 15;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Every, time);
        try
        {
            for (var round = 1; await timer.WaitForNextTickAsync(stoppingToken); round++)
            {
                try
                {
                    await keys.Refresh();
                    if (round % RoundsBetweenLastUses != 0) continue;
                    await keys.StoreLastUses();
                    await sessions.RemoveOld(clock.Now());
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    // They stay as they were.
                    LogFailure(log, e);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The service stops.
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The keys could not be read; they stay as they were.")]
    private static partial void LogFailure(ILogger log, Exception e);
}
