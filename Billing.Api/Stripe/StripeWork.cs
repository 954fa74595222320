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

    private readonly SemaphoreSlim woken = new(0, 1);

    /// <summary>There is something to do.</summary>
    public void Wake()
    {
        try
        {
            woken.Release();
        }
        catch (SemaphoreFullException)
        {
            // It is awake already.
        }
    }

    /// <summary>Does everything that there is to do, and what comes of it.</summary>
    public async Task RunUntilDone(CancellationToken stop = default)
    {
        while (await RunOnce(stop) > 0)
        {
        }
    }

    /// <summary>As <see cref="RunUntilDone"/>, when it was woken since the last time.</summary>
    public async Task RunIfWoken(CancellationToken stop = default)
    {
        if (await woken.WaitAsync(0, stop)) await RunUntilDone(stop);
    }

    private async Task<int> RunOnce(CancellationToken stop)
    {
        var done = 0;
        foreach (var worker in workers)
        {
            try
            {
                done += await worker.RunOnce(stop);
            }
            catch (Exception e) when (!stop.IsCancellationRequested)
            {
                // One kind of work that fails holds up none of the others.
                LogFailure(log, worker.GetType().Name, e);
            }
        }
        return done;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (true)
            {
                try
                {
                    if (!services.Health.IsOut && await leases.Hold(Lease, services.Clock.Now(), leaseTime)) await RunUntilLeaseIsOld(stoppingToken);
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    LogFailure(log, Lease, e);
                }
                await woken.WaitAsync(Every, stoppingToken);
            }
        }
        catch (OperationCanceledException)
        {
            // The service stops.
        }
        if (!services.Health.IsOut) await leases.Release(Lease);
    }

    /// <summary>As long as there is work and the lease is surely held.</summary>
    private async Task RunUntilLeaseIsOld(CancellationToken stop)
    {
        var until = services.Clock.Now() + leaseTime / 3;
        while (await RunOnce(stop) > 0 && services.Clock.Now() < until)
        {
        }
    }

    public override void Dispose()
    {
        woken.Dispose();
        base.Dispose();
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "{What} failed; it is tried again.")]
    private static partial void LogFailure(ILogger log, string what, Exception e);
}
