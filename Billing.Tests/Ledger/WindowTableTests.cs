using System.Globalization;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Ledger;

/// <summary>
/// The tables of where windows begin and end, by arithmetic of their own: months by hand, days by the rules of each zone.
/// What the ledger does with them is walked in <see cref="WindowWalkTests"/>.
/// </summary>
public sealed class WindowTableTests
{
    // ---- the ends of months

    /// <summary>Anchors on the 29th, 30th and 31st of every month that has them, over four years with a leap year.</summary>
    public static IEnumerable<Instant> Anchors =>
        from month in Enumerable.Range(0, 48)
        from day in (int[])[29, 30, 31]
        let first = new LocalDate(2025, 1, 1).PlusMonths(month)
        where day <= DateTime.DaysInMonth(first.Year, first.Month)
        select Instant.FromUtc(first.Year, first.Month, day, 10, 15, 30);

    [Fact]
    public void the_table_has_every_such_anchor_of_four_years()
    {
        Assert.Equal(4 * (11 * 2 + 7) + 1, Anchors.Count());
        Assert.Contains(Instant.FromUtc(2028, 2, 29, 10, 15, 30), Anchors);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(12)]
    public void every_boundary_from_an_anchor_at_the_end_of_a_month_is_as_counted_by_hand(int months)
    {
        foreach (var anchor in Anchors)
        {
            // The subscription as it is in its first period, and as it is told of in each later one: the grid is the same.
            for (var told = 0; told <= 48; told += months)
            {
                var cycle = BillingCycle.Paid(Boundary(anchor, told), Boundary(anchor, told + months), months, anchor);
                for (var n = Math.Max(0, told - months); n < Math.Min(told + 2 * months, 52); n++)
                {
                    var (month, period) = (Between(anchor, n, n + 1), Between(anchor, n - n % months, n - n % months + months));
                    foreach (var at in Within(month))
                    {
                        Same(month, cycle.Month(at), "month", anchor, told, at);
                        Same(period, cycle.Period(at), "period", anchor, told, at);
                        // What is billed is a month of the period, or the period where it is no longer.
                        Same(month, cycle.Billed(at), "billed stretch", anchor, told, at);
                    }
                }
            }
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(12)]
    public void walking_from_any_anchor_over_four_years_skips_nothing_and_overlaps_nothing(int months)
    {
        foreach (var anchor in Anchors)
        {
            var cycle = BillingCycle.Paid(anchor, Boundary(anchor, months), months, anchor);
            foreach (var (windowAt, each) in ((Func<Instant, Bounds>, int)[])[(cycle.Month, 1), (cycle.Period, months), (cycle.Billed, 1)])
            {
                var at = anchor;
                for (var n = 0; n < 48; n += each)
                {
                    var window = windowAt(at);
                    Assert.True(window == Between(anchor, n, n + each), $"From {anchor}, at {at}: {window}.");
                    at = window.End;
                }
            }
        }
    }

    [Fact]
    public void a_trial_of_any_length_is_billed_to_its_end_and_the_months_after_it_are_counted_from_there()
    {
        foreach (var anchor in Anchors.Take(30))
            foreach (var days in (int[])[1, 7, 14, 31, 45])
                foreach (var months in (int[])[1, 3, 12])
                {
                    var trial = new Bounds(anchor, anchor + Duration.FromDays(days));
                    var cycle = BillingCycle.Paid(trial.Start, trial.End, months, trial.End);
                    Assert.Equal(trial, cycle.Period(anchor));
                    Assert.Equal(trial, cycle.Period(trial.End - Duration.Epsilon));
                    Assert.Equal(new Bounds(trial.End, Boundary(trial.End, months)), cycle.Period(trial.End));
                    for (var (at, last) = (anchor, anchor); at < Boundary(trial.End, 14); last = at)
                    {
                        var billed = cycle.Billed(at);
                        Assert.Equal(at, billed.Start);
                        Assert.True(billed.End > last && cycle.Billed(billed.End - Duration.Epsilon) == billed, $"A trial of {days} days from {anchor}: {billed}.");
                        at = billed.End;
                    }
                }
    }

    // ---- days

    /// <summary>Hours from UTC before and after each change of clocks, and the length of the local day that it lies in.</summary>
    [Theory]
    [InlineData("Europe/Berlin", "2025-03-30T01:00:00Z", 1, 2, 23)]
    [InlineData("Europe/Berlin", "2025-10-26T01:00:00Z", 2, 1, 25)]
    [InlineData("Europe/Berlin", "2026-03-29T01:00:00Z", 1, 2, 23)]
    [InlineData("Europe/Berlin", "2026-10-25T01:00:00Z", 2, 1, 25)]
    [InlineData("Europe/Berlin", "2027-03-28T01:00:00Z", 1, 2, 23)]
    [InlineData("Europe/Berlin", "2027-10-31T01:00:00Z", 2, 1, 25)]
    [InlineData("Europe/Berlin", "2028-03-26T01:00:00Z", 1, 2, 23)]
    [InlineData("Europe/Berlin", "2028-10-29T01:00:00Z", 2, 1, 25)]
    [InlineData("America/New_York", "2025-03-09T07:00:00Z", -5, -4, 23)]
    [InlineData("America/New_York", "2025-11-02T06:00:00Z", -4, -5, 25)]
    [InlineData("America/New_York", "2026-03-08T07:00:00Z", -5, -4, 23)]
    [InlineData("America/New_York", "2026-11-01T06:00:00Z", -4, -5, 25)]
    [InlineData("America/New_York", "2027-03-14T07:00:00Z", -5, -4, 23)]
    [InlineData("America/New_York", "2027-11-07T06:00:00Z", -4, -5, 25)]
    [InlineData("America/New_York", "2028-03-12T07:00:00Z", -5, -4, 23)]
    [InlineData("America/New_York", "2028-11-05T06:00:00Z", -4, -5, 25)]
    [InlineData("Australia/Lord_Howe", "2025-04-05T15:00:00Z", 11, 10.5, 24.5)]
    [InlineData("Australia/Lord_Howe", "2025-10-04T15:30:00Z", 10.5, 11, 23.5)]
    [InlineData("Australia/Lord_Howe", "2026-04-04T15:00:00Z", 11, 10.5, 24.5)]
    [InlineData("Australia/Lord_Howe", "2026-10-03T15:30:00Z", 10.5, 11, 23.5)]
    [InlineData("Australia/Lord_Howe", "2027-04-03T15:00:00Z", 11, 10.5, 24.5)]
    [InlineData("Australia/Lord_Howe", "2027-10-02T15:30:00Z", 10.5, 11, 23.5)]
    [InlineData("Australia/Lord_Howe", "2028-04-01T15:00:00Z", 11, 10.5, 24.5)]
    [InlineData("Australia/Lord_Howe", "2028-09-30T15:30:00Z", 10.5, 11, 23.5)]
    [InlineData("Asia/Kathmandu", "2026-03-29T01:00:00Z", 5.75, 5.75, 24)]
    [InlineData("Asia/Kathmandu", "2028-02-29T00:00:00Z", 5.75, 5.75, 24)]
    [InlineData("UTC", "2026-10-25T01:00:00Z", 0, 0, 24)]
    [InlineData("UTC", "2028-02-29T00:00:00Z", 0, 0, 24)]
    public void days_around_a_change_of_clocks_begin_and_end_at_local_midnight(string zone, string change, double before, double after, double hours)
    {
        var changeAt = Api.TestApi.Time(change);
        var tz = DateTimeZoneProviders.Tzdb[zone];
        var calendar = BillingCycle.Calendar(tz);
        Assert.Equal(Duration.FromHours(hours), Day(changeAt) is var day ? day.End - day.Start : default);

        // Four days on either side, every five minutes and just beside each boundary.
        for (var at = changeAt - Duration.FromDays(4); at < changeAt + Duration.FromDays(4); at += Duration.FromMinutes(5))
        {
            var expected = ByHand(at);
            foreach (var moment in (ReadOnlySpan<Instant>)[at, expected.Start, expected.End - Duration.Epsilon])
                Assert.True(expected == Day(moment), $"{zone} at {moment}: {Day(moment)} instead of {expected}.");
        }

        Bounds Day(Instant at) => TimeWindows.At(Window.Day, calendar, tz, default, at);

        Bounds ByHand(Instant at)
        {
            var midnight = Local(at).Date.AtMidnight();
            return new Bounds(Utc(midnight), Utc(midnight.PlusDays(1)));
        }

        // None of these zones changes its clocks at midnight, so a local midnight is one instant.
        LocalDateTime Local(Instant at) => at.InUtc().LocalDateTime.PlusMinutes((long)((at < changeAt ? before : after) * 60));

        Instant Utc(LocalDateTime midnight)
        {
            var early = midnight.PlusMinutes((long)(-before * 60)).InUtc().ToInstant();
            return early < changeAt ? early : midnight.PlusMinutes((long)(-after * 60)).InUtc().ToInstant();
        }
    }

    [Theory]
    [InlineData("Europe/Berlin")]
    [InlineData("America/New_York")]
    [InlineData("Australia/Lord_Howe")]
    [InlineData("Asia/Kathmandu")]
    [InlineData("UTC")]
    public void a_calendars_months_begin_with_the_day_that_is_the_1st(string zone)
    {
        var tz = DateTimeZoneProviders.Tzdb[zone];
        var calendar = BillingCycle.Calendar(tz);
        var at = Instant.FromUtc(2025, 1, 15, 0, 0);
        for (var n = 0; n < 48; n++)
        {
            var (month, first) = (calendar.Month(at), new LocalDate(2025, 1, 1).PlusMonths(n));
            Assert.Equal(TimeWindows.At(Window.Day, calendar, tz, default, month.Start).Start, month.Start);
            Assert.Equal((first, LocalTime.Midnight), (month.Start.InZone(tz).Date, month.Start.InZone(tz).TimeOfDay));
            Assert.Equal(month, calendar.Period(at));
            Assert.Equal(month, calendar.Billed(at));
            Assert.Equal(month, calendar.Month(month.End - Duration.Epsilon));
            Assert.Equal(month.End, calendar.Month(month.End).Start);
            at = month.End;
        }
    }

    // ---- by hand

    /// <summary>So many months after the anchor, on its day or on the last one of a shorter month.</summary>
    internal static Instant Boundary(Instant anchor, int months)
    {
        var from = anchor.ToDateTimeUtc();
        var (year, month) = (from.Year + (from.Month - 1 + months) / 12, (from.Month - 1 + months) % 12 + 1);
        var day = Math.Min(from.Day, DateTime.DaysInMonth(year, month));
        return Instant.FromDateTimeUtc(new DateTime(year, month, day, 0, 0, 0, DateTimeKind.Utc).Add(from.TimeOfDay));
    }

    private static Bounds Between(Instant anchor, int from, int to) => new(Boundary(anchor, from), Boundary(anchor, to));

    private static Instant[] Within(Bounds window) => [window.Start, window.Start + (window.End - window.Start) / 2, window.End - Duration.Epsilon];

    private static void Same(Bounds expected, Bounds found, string what, Instant anchor, int told, Instant at) => Assert.True(expected == found, string.Create(
        CultureInfo.InvariantCulture, $"The {what} at {at}, from {anchor} and told of {told} months later, is {found} instead of {expected}."));
}
