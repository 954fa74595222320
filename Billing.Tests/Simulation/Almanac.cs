using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Simulation;

/// <summary>Where windows begin and end, by counting months on the calendar: the auditor's own arithmetic, not the ledger's.</summary>
internal static class Almanac
{
    public static readonly Instant Never = Instant.FromUtc(9999, 12, 31, 0, 0);

    private const int MostMonths = 12 * 1_000;

    /// <param name="cycle">The subscription whose periods count; null is the calendar month in the zone.</param>
    public static CountedWindow At(Window kind, Subscription? cycle, DateTimeZone zone, Instant opened, Instant at) => kind switch
    {
        Window.Hour => Hour(at),
        Window.Day => Day(zone, at),
        Window.Month => Month(cycle, zone, at),
        Window.Period => Period(cycle, zone, at),
        _ => new CountedWindow(Window.Lifetime, opened, Never),
    };

    /// <summary>The stretch that is billed at once: the period, or the month of it when it is longer.</summary>
    public static CountedWindow Billed(Subscription? cycle, DateTimeZone zone, Instant at)
    {
        var (period, month) = (Period(cycle, zone, at), Month(cycle, zone, at));
        return new CountedWindow(Window.Period, Instant.Max(period.Start, month.Start), Instant.Min(period.End, month.End));
    }

    /// <summary>So many months after a turn of this anchor's; from any other instant, that instant's own.</summary>
    public static Instant Later(Instant anchor, Instant from, int months)
    {
        var k = Last(Local(anchor), 1, from);
        return Turn(Local(anchor), k) == from ? Turn(Local(anchor), k + months) : Turn(Local(from), months);
    }

    private static CountedWindow Hour(Instant at)
    {
        var start = at.InUtc().LocalDateTime.With(TimeAdjusters.TruncateToHour).InUtc().ToInstant();
        return new CountedWindow(Window.Hour, start, start + Duration.FromHours(1));
    }

    private static CountedWindow Day(DateTimeZone zone, Instant at)
    {
        var date = at.InZone(zone).Date;
        return new CountedWindow(Window.Day, zone.AtStartOfDay(date).ToInstant(), zone.AtStartOfDay(date + Period1).ToInstant());
    }

    private static readonly Period Period1 = NodaTime.Period.FromDays(1);

    private static CountedWindow Month(Subscription? cycle, DateTimeZone zone, Instant at)
    {
        if (cycle is null) return Calendar(Window.Month, zone, at);
        var anchor = Anchor(cycle);
        var k = Last(anchor, 1, at);
        return new CountedWindow(Window.Month, Turn(anchor, k), Turn(anchor, k + 1));
    }

    private static CountedWindow Period(Subscription? cycle, DateTimeZone zone, Instant at)
    {
        if (cycle is null) return Calendar(Window.Period, zone, at);
        if (at >= cycle.PeriodStart && at < cycle.PeriodEnd) return new CountedWindow(Window.Period, cycle.PeriodStart, cycle.PeriodEnd);
        var months = cycle.Interval switch { BillingInterval.Month => 1, BillingInterval.Quarter => 3, _ => 12 };
        var edge = at >= cycle.PeriodEnd ? cycle.PeriodEnd : cycle.PeriodStart;
        // From an edge that the anchor's months meet, periods go on by the anchor; from any other (a trial's end) by the edge itself.
        var anchor = Anchor(cycle);
        var k = Last(anchor, 1, edge);
        if (Turn(anchor, k) != edge) (anchor, k) = (Local(edge), 0);
        var n = Last(anchor, months, at, k);
        return new CountedWindow(Window.Period, Turn(anchor, k + n * months), Turn(anchor, k + (n + 1) * months));
    }

    private static CountedWindow Calendar(Window kind, DateTimeZone zone, Instant at)
    {
        var date = at.InZone(zone).Date;
        var first = new LocalDate(date.Year, date.Month, 1);
        var next = date.Month == 12 ? new LocalDate(date.Year + 1, 1, 1) : new LocalDate(date.Year, date.Month + 1, 1);
        return new CountedWindow(kind, zone.AtLeniently(first.AtMidnight()).ToInstant(), zone.AtLeniently(next.AtMidnight()).ToInstant());
    }

    /// <summary>Stripe's billing anchor where the period begins on its grid (it remembers the 31st), else the period's beginning.</summary>
    private static LocalDateTime Anchor(Subscription cycle)
    {
        if (cycle.BillingAnchor is not { } given) return Local(cycle.PeriodStart);
        var anchor = Local(given);
        return Turn(anchor, Last(anchor, 1, cycle.PeriodStart)) == cycle.PeriodStart ? anchor : Local(cycle.PeriodStart);
    }

    /// <summary>The greatest n for which the turn after n times so many months is not past this instant.</summary>
    private static int Last(LocalDateTime anchor, int months, Instant at, int from = 0)
    {
        var (low, high) = (-MostMonths / months, MostMonths / months);
        while (low < high)
        {
            var middle = low + (high - low + 1) / 2;
            if (Turn(anchor, from + middle * months) <= at) low = middle;
            else high = middle - 1;
        }
        return low;
    }

    /// <summary>So many months from the anchor: the same day, or the month's last where it has no such day.</summary>
    private static Instant Turn(LocalDateTime anchor, int months)
    {
        var month = anchor.Year * 12 + anchor.Month - 1 + months;
        var (year, ofYear) = (month / 12, month % 12 + 1);
        var day = Math.Min(anchor.Day, CalendarSystem.Iso.GetDaysInMonth(year, ofYear));
        return new LocalDate(year, ofYear, day).At(anchor.TimeOfDay).InUtc().ToInstant();
    }

    private static LocalDateTime Local(Instant at) => at.InUtc().LocalDateTime;
}
