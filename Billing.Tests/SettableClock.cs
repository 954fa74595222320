using NodaTime;
using NodaTime.Text;

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

    /// <param name="time">Such as <c>2026-11-20T10:00:00Z</c>.</param>
    public void Set(string time) => Now = OffsetDateTimePattern.Rfc3339.Parse(time).GetValueOrThrow().ToInstant();

    public void Advance(Duration by) => Now += by;

    public override DateTimeOffset GetUtcNow() => Now.ToDateTimeOffset();
}
