namespace Billing.StripeSandbox;

/// <summary>The sandbox's time: its provider's, or ahead of it. What falls due is done at the instant at which it was due.</summary>
internal sealed class SandboxClock(TimeProvider time, Action<DateTimeOffset>? setTime)
{
    private TimeSpan ahead;
    private long? standing;

    /// <summary>Unix seconds.</summary>
    public long Now => standing ?? Running.ToUnixTimeSeconds();

    /// <summary>The time that a receiver of webhooks compares their signatures with.</summary>
    public long Outside => time.GetUtcNow().ToUnixTimeSeconds();

    public DateTimeOffset Running => time.GetUtcNow() + ahead;

    public void MoveTo(DateTimeOffset to)
    {
        if (to <= Running) return;
        if (setTime is null) ahead += to - Running;
        else setTime(to - ahead);
    }

    /// <summary>Something that was due earlier happens at that time, though the clock is past it.</summary>
    public void During(long when, Action what)
    {
        standing = when;
        try
        {
            what();
        }
        finally
        {
            standing = null;
        }
    }
}
