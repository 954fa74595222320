using Billing.Silo;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>One kind of work that speaks to Stripe by itself. All of it may be done again: a process may die at any point.</summary>
public interface IStripeWorker
{
    /// <summary>Does what there is to do now.</summary>
    /// <returns>How much was done; 0 when there was nothing.</returns>
    Task<int> RunOnce(CancellationToken stop);
}

/// <summary>Runs the workers in the one process that holds the lease, each as soon as it is woken and every so often by itself.</summary>
public sealed partial class StripeWork(IEnumerable<IStripeWorker> workers, Leases leases, Services services, ILogger<StripeWork> log) : BackgroundService
{
    private const string Lease = "stripe-work";

    private static readonly TimeSpan Every = TimeSpan.FromSeconds(1);

    private readonly Duration leaseTime = Duration.FromTimeSpan(services.Settings.StripeLease);

    private TaskCompletionSource woken = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int wasWoken;

    /// <summary>There is something to do.</summary>
    public void Wake()
    {
        Volatile.Write(ref wasWoken, 1);
        Interlocked.Exchange(ref woken, new(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
    }

    /// <summary>Does everything that there is to do, and what comes of it.</summary>
    public async Task RunUntilDone(CancellationToken stop = default)
    {
        for (var done = 1; done > 0;)
        {
            done = 0;
            foreach (var worker in workers) done += await Run(worker, stop);
        }
    }

    /// <summary>As <see cref="RunUntilDone"/>, when it was woken since the last time.</summary>
    public async Task RunIfWoken(CancellationToken stop = default)
    {
        if (Interlocked.Exchange(ref wasWoken, 0) == 1) await RunUntilDone(stop);
    }

    private async Task<int> Run(IStripeWorker worker, CancellationToken stop)
    {
        try
        {
            return await worker.RunOnce(stop);
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            LogFailure(log, worker.GetType().Name, e);
        }
        catch (Exception) when (stop.IsCancellationRequested)
        {
            // The lease is lost, or the service stops: whatever it was in the middle of is done again by whoever has the lease.
        }
        return 0;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (true)
            {
                try
                {
                    if (await HasLease()) await RunWhileHeld(stoppingToken);
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    LogFailure(log, Lease, e);
                }
                await Task.Delay(Every, stoppingToken);
            }
        }
        catch (OperationCanceledException)
        {
            // The service stops.
        }
        if (!services.Health.IsOut) await leases.Release(Lease);
    }

    private async Task<bool> HasLease() => !services.Health.IsOut && await leases.Hold(Lease, services.Clock.Now(), leaseTime);

    /// <summary>All workers side by side, so that a long step of one holds up none of the others, until the lease cannot be kept.</summary>
    private async Task RunWhileHeld(CancellationToken stop)
    {
        using var held = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var running = workers.Select(w => Loop(w, held.Token)).ToList();
        try
        {
            using var timer = new PeriodicTimer((leaseTime / 3).ToTimeSpan());
            while (await timer.WaitForNextTickAsync(stop) && await HasLease())
            {
            }
        }
        finally
        {
            await held.CancelAsync();
            await Task.WhenAll(running);
        }
    }

    private async Task Loop(IStripeWorker worker, CancellationToken held)
    {
        while (!held.IsCancellationRequested)
        {
            // Before it looks: what comes in the meantime wakes it.
            var wake = Volatile.Read(ref woken).Task;
            if (await Run(worker, held) == 0) await Task.WhenAny(wake, Task.Delay(Every, held));
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "{What} failed; it is tried again.")]
    private static partial void LogFailure(ILogger log, string what, Exception e);
}
