using Billing.Silo;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>Applies what is pending in the inbox: of one organization in order, of several at once.</summary>
public sealed class InboxWorker(Inbox inbox, StripeEvents events, Clock clock) : IStripeWorker
{
    /// <summary>Bodies are in memory while a page is worked on.</summary>
    private const int PageSize = 200;

    /// <summary>How many organizations at once.</summary>
    private const int Parallel = 4;

    /// <summary>After so many tries (three days) an event is given up: it waits for an operator, or for Stripe to send it again.</summary>
    public const int MaxAttempts = 440;

    /// <summary>Before the second try; doubled for each one after it.</summary>
    public static readonly Duration FirstDelay = Duration.FromSeconds(5);

    public static readonly Duration LongestDelay = Duration.FromMinutes(10);

    private bool hasClaimed;

    public async Task<int> RunOnce(CancellationToken stop)
    {
        if (!hasClaimed)
        {
            // A crash may have come between a link and what waited for it.
            await inbox.ClaimAll();
            hasClaimed = true;
        }
        var due = await inbox.ListDue(clock.Now(), PageSize);
        await System.Threading.Tasks.Parallel.ForEachAsync(due.GroupBy(e => e.Queue), new ParallelOptions { MaxDegreeOfParallelism = Parallel, CancellationToken = stop }, async (queue, token) =>
        {
            foreach (var stored in queue) await Apply(stored, token);
        });
        return due.Count;
    }

    private async Task Apply(InboxEvent stored, CancellationToken stop)
    {
        try
        {
            await events.Apply(stored, stop);
        }
        catch (Exception e) when (StripeEvents.MayPass(e) && !stop.IsCancellationRequested)
        {
            var attempts = stored.Attempts + 1;
            if (attempts >= MaxAttempts) await inbox.Mark(stored.Id, InboxState.Failed, null, $"Given up after {attempts} tries. The last one: {e.Message}");
            else await inbox.TryLater(stored.Id, attempts, clock.Now() + Delay(attempts), $"Try {attempts} of {MaxAttempts} failed: {e.Message}");
        }
    }

    /// <param name="attempts">How often it failed so far.</param>
    internal static Duration Delay(int attempts) => Duration.Min(LongestDelay, FirstDelay * Math.Pow(2, Math.Min(attempts - 1, 20)));
}
