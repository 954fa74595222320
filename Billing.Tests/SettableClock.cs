using NodaTime;

namespace Billing.Tests;

/// <summary>A clock that stands still until a test moves it.</summary>
public sealed class SettableClock(Instant now) : TimeProvider
{
    private long ticks = now.ToUnixTimeTicks();

    public Instant Now
    {
        get => Instant.FromUnixTimeTicks(Interlocked.Read(ref ticks));
        set => Interlocked.Exchange(ref ticks, value.ToUnixTimeTicks());
    }

    public void Advance(Duration by) => Now += by;

    public override DateTimeOffset GetUtcNow() => Now.ToDateTimeOffset();
}
