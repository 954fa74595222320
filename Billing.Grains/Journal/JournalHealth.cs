using NodaTime;

namespace Billing.Grains.Journal;

/// <summary>
/// Whether the journal answers: one for the process. An outage begins with a failure, and it is certain when the probe
/// that follows at once fails too, or when an append took too long. It ends with the first probe or append that succeeds.
/// </summary>
public sealed class JournalHealth
{
    public static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(5);

    public static readonly TimeSpan DefaultAnswerTime = TimeSpan.FromMinutes(10);

    private static readonly TimeSpan ProbeEvery = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan ProbePatience = TimeSpan.FromSeconds(1);

    // Probes that hang end by the journal's own timeouts; more of them would find out nothing more.
    private const int MaxProbesAtOnce = 4;

    // A disk that is full for events may still take a probe: what fails again so soon, with nothing written in between, has not been well.
    private static readonly Duration SameOutage = Duration.FromSeconds(5);

    private sealed record Outage(Instant Since);

    private readonly Func<Task> probe;
    private readonly TimeProvider time;
    private readonly Lock gate = new();
    private Outage? outage;
    private volatile bool isOut;
    private bool probing;
    private int probes;
    private Outage? before;
    private Instant endedAt;

    /// <param name="probe">Something small that only a journal which works can do. Any exception says that it does not.</param>
    /// <param name="timeout">How long callers wait for the journal at most.</param>
    /// <param name="answerTime">How long an outage may last before memory is too old to answer from.</param>
    public JournalHealth(Func<Task> probe, TimeProvider time, TimeSpan? timeout = null, TimeSpan? answerTime = null)
    {
        this.probe = probe;
        this.time = time;
        Timeout = timeout ?? DefaultTimeout;
        AnswerTime = answerTime ?? DefaultAnswerTime;
    }

    public TimeSpan Timeout { get; }

    public TimeSpan AnswerTime { get; }

    /// <summary>The outage is certain: nothing is sent to the journal but probes.</summary>
    public bool IsOut => isOut;

    /// <summary>Since when the journal has failed; null when it answers.</summary>
    public Instant? Since => Volatile.Read(ref outage)?.Since;

    /// <summary>Whether what is in memory is still young enough to answer from.</summary>
    public bool MayAnswer => Since is not { } since || Now() - since < Duration.FromTimeSpan(AnswerTime);

    /// <summary>The outage is certain now. On the thread of whoever found out: be quick.</summary>
    public event Action<Exception>? WentOut;

    /// <summary>The journal answers again, after so long. Only after <see cref="WentOut"/>.</summary>
    public event Action<Duration>? CameBack;

    /// <summary>The journal failed at something that it should do.</summary>
    /// <param name="isCertain">No probe is needed to know.</param>
    public void Failed(Exception cause, bool isCertain = false)
    {
        bool mustProbe;
        lock (gate)
        {
            if (outage is null)
            {
                var now = Now();
                Volatile.Write(ref outage, new Outage(before is not null && now - endedAt < SameOutage ? before.Since : now));
            }
            mustProbe = !probing;
            probing = true;
        }
        if (isCertain) Confirm(cause);
        if (mustProbe) _ = Task.Run(ProbeUntilItAnswers);
    }

    /// <summary>Something was written.</summary>
    public void Wrote()
    {
        if (Volatile.Read(ref outage) is null && before is null) return;
        End(wrote: true);
    }

    private void End(bool wrote)
    {
        Outage? ended;
        bool wasOut;
        lock (gate)
        {
            (ended, wasOut) = (outage, isOut);
            if (ended is not null) endedAt = Now();
            before = wrote ? null : ended ?? before;
            isOut = false;
            Volatile.Write(ref outage, null);
        }
        if (wasOut) CameBack?.Invoke(endedAt - ended!.Since);
    }

    private async Task ProbeUntilItAnswers()
    {
        while (IsProbingStill())
        {
            if (await Probe() is { } failure)
            {
                Confirm(failure);
                await Task.Delay(ProbeEvery);
            }
            else
            {
                End(wrote: false);
            }
        }
    }

    /// <summary>An append may have ended the outage. Whoever fails from then on finds nobody probing, and starts it again.</summary>
    private bool IsProbingStill()
    {
        lock (gate) return probing = outage is not null;
    }

    private void Confirm(Exception cause)
    {
        lock (gate)
        {
            if (outage is null || isOut) return;
            isOut = true;
        }
        WentOut?.Invoke(cause);
    }

    /// <returns>Null when the journal answered.</returns>
    private async Task<Exception?> Probe()
    {
        try
        {
            if (Volatile.Read(ref probes) >= MaxProbesAtOnce)
            {
                await Task.Delay(ProbePatience);
                return new TimeoutException("The journal answers no probe.");
            }
            var started = false;
            var asking = Task.Run(() =>
            {
                Volatile.Write(ref started, true);
                return Counted();
            });
            // Its time runs once a thread was free for it: before that, that it is not answered says nothing of the journal.
            bool hadItsTime;
            do hadItsTime = Volatile.Read(ref started);
            while (await Task.WhenAny(asking, Task.Delay(ProbePatience)) != asking && !hadItsTime);
            if (!asking.IsCompleted) return new TimeoutException("The journal does not answer a probe.");
            await asking;
            return null;
        }
        catch (Exception e)
        {
            return e;
        }

        async Task Counted()
        {
            Interlocked.Increment(ref probes);
            try
            {
                await probe();
            }
            finally
            {
                Interlocked.Decrement(ref probes);
            }
        }
    }

    private Instant Now() => Instant.FromDateTimeOffset(time.GetUtcNow());
}
