using NodaTime;

namespace Billing.Ledger;

/// <summary>
/// When months and billing periods turn. Two kinds exist: the calendar (the 1st at 00:00 in the organization's zone,
/// for who has no subscription) and a paid cycle (from the instant that Stripe gives, in UTC).
/// </summary>
/// <remarks>
/// Boundaries are always counted from the anchor, never from the last boundary: an anchor on the 31st falls on the
/// 28th of February and is back on the 31st in March.
/// </remarks>
public sealed record BillingCycle
{
    /// <summary>Any 1st of a month will do as the calendar's anchor.</summary>
    private static readonly LocalDateTime CalendarAnchor = new(2000, 1, 1, 0, 0);

    private readonly LocalDateTime anchor;
    private readonly DateTimeZone zone;
    private readonly int monthsPerPeriod;
    private readonly Bounds? current;

    private BillingCycle(LocalDateTime anchor, DateTimeZone zone, int monthsPerPeriod, Bounds? current)
    {
        this.anchor = anchor;
        this.zone = zone;
        this.monthsPerPeriod = monthsPerPeriod;
        this.current = current;
    }

    public static BillingCycle Calendar(DateTimeZone zone) => new(CalendarAnchor, zone, 1, null);

    /// <summary>
    /// A subscription's cycle. The period's start is the anchor, unless it lies on the grid of Stripe's own billing
    /// anchor: then that one is, because it remembers the 31st where a period that began on February 28th does not.
    /// </summary>
    public static BillingCycle Paid(Instant periodStart, Instant periodEnd, int monthsPerPeriod, Instant? billingAnchor)
    {
        var period = new Bounds(periodStart, periodEnd);
        if (billingAnchor is { } given)
        {
            var onGrid = new BillingCycle(Utc(given), DateTimeZone.Utc, monthsPerPeriod, period);
            if (onGrid.Grid(1, periodStart).Start == periodStart) return onGrid;
        }
        return new BillingCycle(Utc(periodStart), DateTimeZone.Utc, monthsPerPeriod, period);
    }

    /// <summary>One month from the anchor, also inside a quarter or a year.</summary>
    public Bounds Month(Instant at) => Grid(1, at);

    /// <summary>The whole billing period. Past its end the next one begins by the clock, whether Stripe has said so yet or not.</summary>
    public Bounds Period(Instant at)
    {
        if (current is not { } known) return Grid(monthsPerPeriod, at);
        if (known.Contains(at)) return known;
        // A trial may end off the grid: what follows it is counted from there.
        var edge = at >= known.End ? known.End : known.Start;
        var onGrid = Grid(1, edge).Start == edge;
        var from = onGrid ? this with { } : new BillingCycle(Utc(edge), DateTimeZone.Utc, monthsPerPeriod, null);
        return onGrid ? from.GridFrom(edge, at) : from.Grid(monthsPerPeriod, at);
    }

    /// <summary>When overage and gauges are billed: the billing period, or the month of it where it is longer than one.</summary>
    public Bounds Billed(Instant at)
    {
        var (period, month) = (Period(at), Month(at));
        // A trial may end off the grid of its months: then neither lies within the other.
        return new Bounds(Instant.Max(period.Start, month.Start), Instant.Min(period.End, month.End));
    }

    /// <summary>Periods counted from a boundary that lies on the month grid, which need not be a multiple of the period from the anchor.</summary>
    private Bounds GridFrom(Instant edge, Instant at)
    {
        var offset = MonthsTo(edge);
        var k = FloorDiv(MonthsTo(at) - offset, monthsPerPeriod);
        return new Bounds(Boundary(offset + k * monthsPerPeriod), Boundary(offset + (k + 1) * monthsPerPeriod));
    }

    private Bounds Grid(int months, Instant at)
    {
        var k = FloorDiv(MonthsTo(at), months) * months;
        return new Bounds(Boundary(k), Boundary(k + months));
    }

    /// <summary>How many whole months lie between the anchor and this instant (negative before it).</summary>
    private int MonthsTo(Instant at)
    {
        var local = at.InZone(zone).LocalDateTime;
        var months = (local.Year - anchor.Year) * 12 + local.Month - anchor.Month;
        // The estimate by year and month is off by at most one either way.
        while (Boundary(months) > at) months--;
        while (Boundary(months + 1) <= at) months++;
        return months;
    }

    private Instant Boundary(int months) => zone.AtLeniently(anchor.PlusMonths(months)).ToInstant();

    private static LocalDateTime Utc(Instant at) => at.InUtc().LocalDateTime;

    private static int FloorDiv(int value, int by) => (int)Math.Floor((double)value / by);
}
