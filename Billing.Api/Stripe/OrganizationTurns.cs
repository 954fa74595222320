using Billing.Silo;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>
/// One at a time of each organization, in all processes: two that sell to it must not both find that there is no subscription yet.
/// A process that dies gives way when its lease ends.
/// </summary>
public sealed class OrganizationTurns(Leases leases, Clock clock, TimeSpan lease)
{
    private static readonly TimeSpan BetweenLooks = TimeSpan.FromMilliseconds(50);

    // Now and then one waits for another organization's turn.
    private readonly SemaphoreSlim[] turns = [.. Enumerable.Range(0, 256).Select(_ => new SemaphoreSlim(1))];

    /// <summary>Until what is returned is disposed of.</summary>
    public async Task<IAsyncDisposable> Take(string organization, CancellationToken stop)
    {
        var turn = turns[unchecked((uint)organization.GetHashCode(StringComparison.Ordinal)) % turns.Length];
        await turn.WaitAsync(stop);
        try
        {
            var name = $"selling:{organization}";
            for (var waited = TimeSpan.Zero; !await leases.Hold(name, clock.Now(), Duration.FromTimeSpan(lease)); waited += BetweenLooks)
            {
                if (waited > lease + TimeSpan.FromSeconds(5)) throw new StripeException(null, "no_answer", "Another request for this organization is under way.");
                await Task.Delay(BetweenLooks, stop);
            }
            return new Taken(turn, () => leases.Release(name));
        }
        catch
        {
            turn.Release();
            throw;
        }
    }

    private sealed class Taken(SemaphoreSlim turn, Func<Task> release) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            try
            {
                await release();
            }
            finally
            {
                turn.Release();
            }
        }
    }
}
