using Billing.Grains.Journal;

namespace Billing.Grains;

/// <summary>
/// Lets nobody wait for the journal longer than its timeout. One watch for all callers, because a timer for each would
/// cost the many that never wait: it looks a few times a second, and walks the sessions only when something is awaited.
/// </summary>
internal sealed class Patience : IAsyncDisposable
{
    private static readonly TimeSpan LongestRound = TimeSpan.FromMilliseconds(200);

    private readonly WatchedJournal journal;
    private readonly Action<long> giveUp;
    private readonly PeriodicTimer timer;
    private readonly long roundMilliseconds;
    private readonly long patienceMilliseconds;
    private readonly Task watching;

    /// <param name="giveUp">Tells callers who came before a time, in <see cref="Environment.TickCount64"/>, that the journal does not answer.</param>
    public Patience(WatchedJournal journal, Action<long> giveUp)
    {
        this.journal = journal;
        this.giveUp = giveUp;
        var timeout = journal.Health.Timeout;
        var round = TimeSpan.FromMilliseconds(Math.Clamp(timeout.TotalMilliseconds / 20, 1, LongestRound.TotalMilliseconds));
        // Whoever comes just after a round is told in the one after it still in time, and with a round to spare for the answer's way.
        roundMilliseconds = (long)round.TotalMilliseconds;
        patienceMilliseconds = (long)(timeout - 2 * round).TotalMilliseconds;
        timer = new PeriodicTimer(round);
        journal.Health.WentOut += Everybody;
        watching = Watch();
    }

    public async ValueTask DisposeAsync()
    {
        journal.Health.WentOut -= Everybody;
        timer.Dispose();
        await watching;
    }

    private void Everybody(Exception cause) => giveUp(long.MaxValue);

    private async Task Watch()
    {
        while (await timer.WaitForNextTickAsync())
        {
            if (!journal.IsAwaited) continue;
            var since = Environment.TickCount64 - patienceMilliseconds;
            // A little sooner than its callers, who came before it began: they are told of an outage, then.
            if (journal.AppendingSince < since + roundMilliseconds) journal.Health.Failed(new TimeoutException("The journal takes too long to write."), isCertain: true);
            giveUp(since);
        }
    }
}
