using Billing.Grains.Journal;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using NodaTime;
using Orleans.Concurrency;

namespace Billing.Silo;

/// <summary>What happens without traffic (see <see cref="DueWork"/>), in one silo of the cluster at a time.</summary>
[Alias("due-work")]
public interface IDueWorkGrain : IGrainWithIntegerKey
{
    /// <summary>To be there is enough: it works by itself while it is.</summary>
    [Alias("wake")]
    Task Wake();
}

/// <summary>
/// Active in one silo; when that one dies, the watch of another wakes it there within seconds, and if nobody did, its reminder would.
/// Two of it for a moment do no harm: what is due has the same command id wherever it is written.
/// </summary>
[GrainType("due-work"), Reentrant]
internal sealed partial class DueWorkGrain(DueWork work, WatchedJournal journal, [PersistentState("sweep")] IPersistentState<Sweep> sweep, ILogger<DueWorkGrain> log) : Grain, IDueWorkGrain, IRemindable
{
    public override async Task OnActivateAsync(CancellationToken cancellationToken)
    {
        work.NextCleanup = Instant.FromUnixTimeSeconds(sweep.State.NextCleanupSeconds);
        this.RegisterGrainTimer(Run, new GrainTimerCreationOptions(DueWork.Every, DueWork.Every) { KeepAlive = true });
        // The shortest period that reminders have.
        await this.RegisterOrUpdateReminder("due-work", TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(1));
    }

    public Task Wake() => Task.CompletedTask;

    public Task ReceiveReminder(string reminderName, TickStatus status) => Task.CompletedTask;

    private async Task Run(CancellationToken stop)
    {
        try
        {
            if (journal.Health.IsOut) return;
            // Organizations are asked from outside of this grain: it must not be in anybody's way for as long as that takes.
            await Task.Run(work.RunOnce, stop);
            if (work.NextCleanup.ToUnixTimeSeconds() == sweep.State.NextCleanupSeconds) return;
            sweep.State.NextCleanupSeconds = work.NextCleanup.ToUnixTimeSeconds();
            await sweep.WriteStateAsync(stop);
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            LogFailure(log, e);
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "What is due could not be written; it is tried again.")]
    private static partial void LogFailure(ILogger log, Exception e);
}

/// <summary>Where the sweep over old payloads is, for whichever silo goes on with it.</summary>
[GenerateSerializer, Alias("sweep")]
internal sealed class Sweep
{
    /// <summary>In seconds since 1970.</summary>
    [Id(0)]
    public long NextCleanupSeconds { get; set; }
}

/// <summary>In every silo: sees to it that somebody does what is due.</summary>
internal sealed partial class DueWorkWatch(IGrainFactory grains, ILogger<DueWorkWatch> log) : BackgroundService
{
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(2);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (true)
            {
                try
                {
                    await grains.GetGrain<IDueWorkGrain>(0).Wake();
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    LogFailure(log, e);
                }
                await Task.Delay(Every, stoppingToken);
            }
        }
        catch (OperationCanceledException)
        {
            // The silo stops.
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The grain that does what is due does not answer.")]
    private static partial void LogFailure(ILogger log, Exception e);
}
