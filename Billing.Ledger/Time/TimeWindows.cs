using NodaTime;
using NodaTime.TimeZones;

namespace Billing.Ledger;

/// <summary>The stretch of time over which a meter counts before it starts again at zero.</summary>
[GenerateSerializer, Alias("Window")]
public enum Window { Hour, Day, Month, Period, Lifetime }

/// <summary>A window's bounds: <c>Start</c> inclusive, <c>End</c> exclusive. A lifetime ends at <see cref="Never"/>.</summary>
public readonly record struct Bounds(Instant Start, Instant End)
{
    /// <summary>The end of what never ends. A whole second, so that it survives every storage format.</summary>
    public static readonly Instant Never = Instant.FromUtc(9999, 12, 31, 0, 0);

    public bool Contains(Instant at) => at >= Start && at < End;
}

/// <summary>Where windows begin and end. Pure arithmetic: the same inputs give the same bounds on any machine.</summary>
public static class TimeWindows
{
    private const long HourSeconds = 3600;

    /// <summary>The window of this kind that contains <paramref name="at"/>.</summary>
    public static Bounds At(Window kind, BillingCycle cycle, DateTimeZone zone, Instant openedAt, Instant at) => kind switch
    {
        Window.Hour => Hour(at),
        Window.Day => Day(zone, at),
        Window.Month => cycle.Month(at),
        Window.Period => cycle.Period(at),
        _ => new Bounds(openedAt, Bounds.Never),
    };

    /// <summary>What is left of a window beside one that was cut off when the anchor or the zone moved within it.</summary>
    /// <param name="cut">Where the window begins that ran when it moved.</param>
    public static Bounds Cut(Bounds window, Instant cut, Instant at) =>
        !window.Contains(cut) ? window : at < cut ? window with { End = cut } : window with { Start = cut };

    /// <summary>3,600 s aligned to UTC, whatever the time zone.</summary>
    private static Bounds Hour(Instant at)
    {
        var seconds = at.ToUnixTimeSeconds();
        var start = seconds - FloorMod(seconds, HourSeconds);
        return new Bounds(Instant.FromUnixTimeSeconds(start), Instant.FromUnixTimeSeconds(start + HourSeconds));
    }

    /// <summary>The local date, from its first instant to the next date's: 23 or 25 hours where clocks change.</summary>
    private static Bounds Day(DateTimeZone zone, Instant at)
    {
        var date = at.InZone(zone).Date;
        return new Bounds(FirstInstant(zone, date), FirstInstant(zone, date.PlusDays(1)));
    }

    /// <summary>The first instant of a local date, or of the next one that exists: Samoa had no December 30th in 2011.</summary>
    public static Instant FirstInstant(DateTimeZone zone, LocalDate date) => zone.ResolveLocal(date.AtMidnight(), StartOfDay).ToInstant();

    private static readonly ZoneLocalMappingResolver StartOfDay = Resolvers.CreateMappingResolver(Resolvers.ReturnEarlier, Resolvers.ReturnStartOfIntervalAfter);

    private static long FloorMod(long value, long by) => ((value % by) + by) % by;
}
