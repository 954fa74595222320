using System.Security.Cryptography;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using NodaTime;

namespace Billing.Silo;

/// <summary>
/// What happens without traffic: windows that ended are closed and expired tokens written off. The due organizations
/// are found through the journal's index, never by waking every actor.
/// </summary>
public sealed partial class DueWork(WatchedJournal journal, ILedgerHost host, Inbox inbox, SentRequests sent, TimeProvider time, ILogger<DueWork> log) : BackgroundService
{
    private const int PageSize = 200;

    public static readonly TimeSpan Every = TimeSpan.FromSeconds(1);

    private static readonly byte[] ContentHash = SHA256.HashData("due"u8);

    /// <summary>When what is old is next removed. Whoever goes on with this work in another process takes it from there.</summary>
    public Instant NextCleanup { get; set; }

    /// <returns>How many organizations had something due.</returns>
    public async Task<int> RunOnce()
    {
        var now = Micros.Truncate(Instant.FromDateTimeOffset(time.GetUtcNow()));
        if (now >= NextCleanup)
        {
            await inbox.RemoveOldPayloads(now);
            await sent.RemoveOldForms(now);
            NextCleanup = now + Duration.FromHours(1);
        }
        var count = 0;
        while (true)
        {
            var due = await journal.FindDue(now, PageSize);
            var written = 0;
            foreach (var organization in due)
            {
                // The same instant's work has the same id on every machine that may see it due.
                var command = new WriteDue { Id = $"ledger:due:{Micros.Of(now)}", ContentHash = ContentHash, At = now };
                try
                {
                    if ((await host.Organization(organization).Execute(command)).Events.Count > 0) written++;
                }
                catch (Exception e)
                {
                    // One organization that cannot be loaded must not hold up those behind it.
                    LogOrganizationFailure(log, organization, e);
                }
            }
            count += written;
            if (written == 0 || due.Count < PageSize) return count;
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Every, time);
        while (!stoppingToken.IsCancellationRequested && await WaitForTick(timer, stoppingToken))
        {
            try
            {
                // What is due waits; once an outage is known it need not be said every second.
                if (!journal.Health.IsOut) await RunOnce();
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                LogFailure(log, e);
            }
        }
    }

    private static async Task<bool> WaitForTick(PeriodicTimer timer, CancellationToken stopping)
    {
        try
        {
            return await timer.WaitForNextTickAsync(stopping);
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "What is due for {Organization} could not be written.")]
    private static partial void LogOrganizationFailure(ILogger log, string organization, Exception e);

    [LoggerMessage(Level = LogLevel.Error, Message = "What is due could not be written; it is tried again.")]
    private static partial void LogFailure(ILogger log, Exception e);
}
