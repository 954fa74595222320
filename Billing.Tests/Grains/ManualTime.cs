namespace Billing.Tests.Grains;

/// <summary>Time that passes when a test says so, for what waits and for what measures.</summary>
internal sealed class ManualTime : TimeProvider
{
    private readonly Lock gate = new();
    private readonly List<Timer> timers = [];
    private TimeSpan passed;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    /// <summary>How many timers have not run out.</summary>
    public int Waiting
    {
        get
        {
            lock (gate) return timers.Count(t => t.Due is not null);
        }
    }

    public override long GetTimestamp()
    {
        lock (gate) return passed.Ticks;
    }

    public override DateTimeOffset GetUtcNow() => Sessions.At.ToDateTimeOffset() + TimeSpan.FromTicks(GetTimestamp());

    public void Advance(TimeSpan by)
    {
        List<Timer> due;
        lock (gate)
        {
            passed += by;
            due = [.. timers.Where(t => t.Due <= passed)];
            foreach (var timer in due) timer.Due = timer.Period is { } period ? passed + period : null;
        }
        foreach (var timer in due) timer.Run();
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new Timer(this, callback, state);
        timer.Change(dueTime, period);
        lock (gate) timers.Add(timer);
        return timer;
    }

    private sealed class Timer(ManualTime time, TimerCallback callback, object? state) : ITimer
    {
        public TimeSpan? Due { get; set; }

        public TimeSpan? Period { get; private set; }

        public void Run() => callback(state);

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (time.gate)
            {
                Due = dueTime == Timeout.InfiniteTimeSpan ? null : time.passed + dueTime;
                Period = period == Timeout.InfiniteTimeSpan ? null : period;
            }
            return true;
        }

        public void Dispose()
        {
            lock (time.gate) time.timers.Remove(this);
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return default;
        }
    }
}
