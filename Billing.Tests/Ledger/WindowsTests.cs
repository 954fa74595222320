using System.Globalization;
using Billing.Ledger;
using NodaTime;
using NodaTime.Text;

namespace Billing.Tests.Ledger;

// A package of the test host brings a namespace of this name.
public class WindowsTests
{
    private static readonly Instant Opened = At("2024-01-10T08:30:00");

    // ---- hours

    [Theory]
    [InlineData("2026-11-20T10:00:00", "2026-11-20T10:00:00", "2026-11-20T11:00:00")]
    [InlineData("2026-11-20T10:59:59.999", "2026-11-20T10:00:00", "2026-11-20T11:00:00")]
    [InlineData("2026-11-20T23:30:00", "2026-11-20T23:00:00", "2026-11-21T00:00:00")]
    [InlineData("2026-03-29T01:15:00", "2026-03-29T01:00:00", "2026-03-29T02:00:00")]
    [InlineData("2026-10-25T00:45:00", "2026-10-25T00:00:00", "2026-10-25T01:00:00")]
    public void an_hour_is_3600_seconds_aligned_to_utc_whatever_the_time_zone(string at, string start, string end)
    {
        foreach (var zone in new[] { "UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe" })
            Assert.Equal((start, end), Text(In(Window.Hour, zone, at)));
    }

    // ---- days

    [Theory]
    [InlineData("UTC", "2026-11-20T10:00:00", "2026-11-20T00:00:00", 24.0)]
    [InlineData("Europe/Berlin", "2026-11-20T23:30:00", "2026-11-20T23:00:00", 24.0)]
    [InlineData("Europe/Berlin", "2026-03-29T12:00:00", "2026-03-28T23:00:00", 23.0)]
    [InlineData("Europe/Berlin", "2026-10-25T12:00:00", "2026-10-24T22:00:00", 25.0)]
    [InlineData("America/New_York", "2026-03-08T12:00:00", "2026-03-08T05:00:00", 23.0)]
    [InlineData("America/New_York", "2026-11-01T12:00:00", "2026-11-01T04:00:00", 25.0)]
    [InlineData("Australia/Lord_Howe", "2026-04-05T00:00:00", "2026-04-04T13:00:00", 24.5)]
    [InlineData("Australia/Lord_Howe", "2026-10-04T00:00:00", "2026-10-03T13:30:00", 23.5)]
    [InlineData("Asia/Kathmandu", "2026-06-15T12:00:00", "2026-06-14T18:15:00", 24.0)]
    [InlineData("Asia/Kathmandu", "2026-06-15T18:15:00", "2026-06-15T18:15:00", 24.0)]
    // Midnight does not exist on this date: it begins at 01:00.
    [InlineData("America/Santiago", "2026-09-06T12:00:00", "2026-09-06T04:00:00", 23.0)]
    // Midnight happens twice on this date: it begins at the first.
    [InlineData("America/Havana", "2024-11-03T12:00:00", "2024-11-03T04:00:00", 25.0)]
    public void a_day_is_the_local_date_with_23_to_25_hours_where_clocks_change(string zone, string at, string start, double hours)
    {
        var day = In(Window.Day, zone, at);
        Assert.Equal(start, Text(day.Start));
        Assert.Equal(hours, (day.End - day.Start).TotalHours);
        Assert.True(day.Contains(At(at)));
    }

    // ---- months and periods of the calendar

    [Theory]
    [InlineData("UTC", "2026-02-28T23:59:59", "2026-02-01T00:00:00", "2026-03-01T00:00:00")]
    [InlineData("UTC", "2024-02-29T12:00:00", "2024-02-01T00:00:00", "2024-03-01T00:00:00")]
    [InlineData("UTC", "1999-12-31T12:00:00", "1999-12-01T00:00:00", "2000-01-01T00:00:00")]
    [InlineData("Europe/Berlin", "2026-03-31T22:00:00", "2026-03-31T22:00:00", "2026-04-30T22:00:00")]
    [InlineData("Europe/Berlin", "2026-03-31T21:59:59", "2026-02-28T23:00:00", "2026-03-31T22:00:00")]
    [InlineData("America/New_York", "2026-11-15T00:00:00", "2026-11-01T04:00:00", "2026-12-01T05:00:00")]
    [InlineData("America/Havana", "2015-11-15T00:00:00", "2015-11-01T04:00:00", "2015-12-01T05:00:00")]
    [InlineData("Asia/Kathmandu", "2026-06-30T18:14:59", "2026-05-31T18:15:00", "2026-06-30T18:15:00")]
    // Clocks went forward at the midnight that began this month: it begins at 01:00 local time.
    [InlineData("America/Asuncion", "2023-10-15T00:00:00", "2023-10-01T04:00:00", "2023-11-01T03:00:00")]
    public void without_a_subscription_month_and_period_are_the_calendar_month_in_the_zone(string zone, string at, string start, string end)
    {
        Assert.Equal((start, end), Text(In(Window.Month, zone, at)));
        Assert.Equal((start, end), Text(In(Window.Period, zone, at)));
    }

    [Fact]
    public void a_lifetime_begins_with_the_opening_and_never_ends()
    {
        var bounds = In(Window.Lifetime, "Europe/Berlin", "2040-01-01T00:00:00");
        Assert.Equal(new Bounds(Opened, Bounds.Never), bounds);
        Assert.True(bounds.Contains(Opened));
    }

    [Fact]
    public void bounds_include_their_start_and_not_their_end()
    {
        var bounds = new Bounds(At("2026-01-01T00:00:00"), At("2026-02-01T00:00:00"));
        Assert.True(bounds.Contains(bounds.Start));
        Assert.False(bounds.Contains(bounds.Start - Duration.Epsilon));
        Assert.True(bounds.Contains(bounds.End - Duration.Epsilon));
        Assert.False(bounds.Contains(bounds.End));
    }

    // ---- anchors

    [Theory]
    [InlineData("2024-01-31T10:15:00", "02-29 03-31 04-30 05-31 06-30 07-31 08-31 09-30 10-31 11-30 12-31 01-31 02-28 03-31")]
    [InlineData("2025-01-31T00:00:00", "02-28 03-31 04-30 05-31 06-30 07-31 08-31 09-30 10-31 11-30 12-31 01-31 02-28 03-31")]
    [InlineData("2024-01-30T10:15:00", "02-29 03-30 04-30 05-30 06-30 07-30 08-30 09-30 10-30 11-30 12-30 01-30 02-28 03-30")]
    [InlineData("2024-01-29T10:15:00", "02-29 03-29 04-29 05-29 06-29 07-29 08-29 09-29 10-29 11-29 12-29 01-29 02-28 03-29")]
    [InlineData("2024-02-29T23:59:59", "03-29 04-29 05-29 06-29 07-29 08-29 09-29 10-29 11-29 12-29 01-29 02-28 03-29 04-29")]
    [InlineData("2026-02-28T00:00:00", "03-28 04-28 05-28 06-28 07-28 08-28 09-28 10-28 11-28 12-28 01-28 02-28 03-28 04-28")]
    public void anchors_on_29_30_and_31_fall_on_the_last_day_of_shorter_months_and_return(string anchor, string expected)
    {
        var cycle = Paid(anchor, months: 1);
        var start = At(anchor);
        foreach (var day in expected.Split(' '))
        {
            var month = cycle.Month(start);
            Assert.Equal(start, month.Start);
            Assert.Equal(month, cycle.Month(month.End - Duration.Epsilon));
            Assert.Equal(month, cycle.Period(month.Start));
            Assert.Equal(day, month.End.ToString("MM-dd", CultureInfo.InvariantCulture));
            Assert.Equal(At(anchor).InUtc().TimeOfDay, month.End.InUtc().TimeOfDay);
            start = month.End;
        }
    }

    [Fact]
    public void a_year_from_february_29th_ends_on_the_28th_and_returns_to_the_29th_in_leap_years()
    {
        var cycle = Paid("2024-02-29T12:00:00", months: 12);
        string[] starts = ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"];
        foreach (var (start, end) in starts.Zip(starts.Skip(1)))
            Assert.Equal(($"{start}T12:00:00", $"{end}T12:00:00"), Text(cycle.Period(At($"{start}T12:00:00"))));
    }

    [Fact]
    public void a_period_that_began_on_february_28th_remembers_an_anchor_on_the_31st()
    {
        // Stripe sends the running period and, apart from it, the anchor that the subscription was sold with.
        var cycle = BillingCycle.Paid(At("2026-02-28T09:00:00"), At("2026-03-31T09:00:00"), 1, At("2025-12-31T09:00:00"));
        Assert.Equal(("2026-02-28T09:00:00", "2026-03-31T09:00:00"), Text(cycle.Month(At("2026-03-29T00:00:00"))));
        Assert.Equal(("2026-02-28T09:00:00", "2026-03-31T09:00:00"), Text(cycle.Period(At("2026-03-29T00:00:00"))));
        Assert.Equal(("2026-03-31T09:00:00", "2026-04-30T09:00:00"), Text(cycle.Month(At("2026-04-01T00:00:00"))));
        Assert.Equal(("2026-04-30T09:00:00", "2026-05-31T09:00:00"), Text(cycle.Period(At("2026-05-30T23:00:00"))));
    }

    [Fact]
    public void an_anchor_on_whose_grid_the_period_does_not_begin_is_not_used()
    {
        var cycle = BillingCycle.Paid(At("2026-02-10T09:00:00"), At("2026-03-10T09:00:00"), 1, At("2025-12-31T09:00:00"));
        Assert.Equal(("2026-02-10T09:00:00", "2026-03-10T09:00:00"), Text(cycle.Month(At("2026-02-28T09:00:00"))));
    }

    [Fact]
    public void the_anchor_is_an_instant_in_utc_so_clock_changes_do_not_move_it()
    {
        // The same subscription in a zone with daylight saving turns at the same instants.
        var cycle = Paid("2026-03-15T23:30:00", months: 1);
        var (berlin, at) = (DateTimeZoneProviders.Tzdb["Europe/Berlin"], At("2026-04-15T22:30:00"));
        Assert.Equal(("2026-03-15T23:30:00", "2026-04-15T23:30:00"), Text(TimeWindows.At(Window.Month, cycle, berlin, Opened, at)));
    }

    // ---- quarters and years

    [Theory]
    [InlineData("2026-01-31T06:00:00", "2026-01-31T06:00:00", "2026-02-28T06:00:00")]
    [InlineData("2026-03-30T06:00:00", "2026-02-28T06:00:00", "2026-03-31T06:00:00")]
    [InlineData("2026-04-30T05:59:59", "2026-03-31T06:00:00", "2026-04-30T06:00:00")]
    public void a_paid_quarter_holds_month_windows(string at, string start, string end)
    {
        var cycle = Paid("2026-01-31T06:00:00", months: 3);
        Assert.Equal((start, end), Text(cycle.Month(At(at))));
        Assert.Equal(("2026-01-31T06:00:00", "2026-04-30T06:00:00"), Text(cycle.Period(At(at))));
    }

    [Theory]
    [InlineData(3, 3)]
    [InlineData(12, 12)]
    public void months_fill_a_quarter_or_a_year_exactly(int monthsPerPeriod, int count)
    {
        foreach (var anchor in new[] { "2024-01-31T06:00:00", "2024-02-29T06:00:00", "2025-11-30T06:00:00", "2026-06-15T06:00:00" })
        {
            var cycle = Paid(anchor, monthsPerPeriod);
            var period = cycle.Period(At(anchor));
            var at = period.Start;
            for (var i = 0; i < count; i++) at = cycle.Month(at).End;
            Assert.Equal(period.End, at);
        }
    }

    [Theory]
    [InlineData(1, "2026-02-28T06:00:00", "2026-02-28T06:00:00", "2026-03-31T06:00:00")]
    [InlineData(1, "2026-06-15T00:00:00", "2026-05-31T06:00:00", "2026-06-30T06:00:00")]
    [InlineData(3, "2026-04-30T06:00:00", "2026-04-30T06:00:00", "2026-07-31T06:00:00")]
    [InlineData(3, "2027-05-01T00:00:00", "2027-04-30T06:00:00", "2027-07-31T06:00:00")]
    [InlineData(12, "2027-01-31T06:00:00", "2027-01-31T06:00:00", "2028-01-31T06:00:00")]
    [InlineData(12, "2026-01-31T05:59:59", "2025-01-31T06:00:00", "2026-01-31T06:00:00")]
    [InlineData(3, "2026-01-31T05:59:59", "2025-10-31T06:00:00", "2026-01-31T06:00:00")]
    public void a_period_rolls_by_the_clock_past_its_end_and_reads_back_before_its_start(int months, string at, string start, string end) =>
        Assert.Equal((start, end), Text(Paid("2026-01-31T06:00:00", months).Period(At(at))));

    // ---- trials

    [Theory]
    [InlineData(1, "2026-02-08T12:00:00")]
    [InlineData(3, "2026-04-08T12:00:00")]
    [InlineData(12, "2027-01-08T12:00:00")]
    public void a_7_day_trial_is_a_period_and_what_follows_is_counted_from_its_end(int months, string end)
    {
        // The interval is what will be paid for; the running period is the trial. Stripe's anchor is the trial's end.
        foreach (var anchor in new Instant?[] { null, At("2026-01-08T12:00:00") })
        {
            var trial = BillingCycle.Paid(At("2026-01-01T12:00:00"), At("2026-01-08T12:00:00"), months, anchor);
            Assert.Equal(("2026-01-01T12:00:00", "2026-01-08T12:00:00"), Text(trial.Period(At("2026-01-01T12:00:00"))));
            Assert.Equal(("2026-01-01T12:00:00", "2026-01-08T12:00:00"), Text(trial.Period(At("2026-01-08T11:59:59"))));
            Assert.Equal(("2026-01-08T12:00:00", end), Text(trial.Period(At("2026-01-08T12:00:00"))));
        }
        // The renewal brings the new anchor, and says of the period what the clock had said.
        var paid = BillingCycle.Paid(At("2026-01-08T12:00:00"), At(end), months, At("2026-01-08T12:00:00"));
        Assert.Equal(("2026-01-08T12:00:00", end), Text(paid.Period(At("2026-01-08T12:00:00"))));
        Assert.Equal(("2026-01-08T12:00:00", "2026-02-08T12:00:00"), Text(paid.Month(At("2026-01-20T00:00:00"))));
    }

    [Fact]
    public void a_trial_that_ends_on_the_month_grid_is_followed_by_a_whole_period_too()
    {
        var trial = BillingCycle.Paid(At("2026-01-01T00:00:00"), At("2026-02-01T00:00:00"), 3, At("2026-02-01T00:00:00"));
        Assert.Equal(("2026-02-01T00:00:00", "2026-05-01T00:00:00"), Text(trial.Period(At("2026-03-10T00:00:00"))));
        Assert.Equal(("2026-05-01T00:00:00", "2026-08-01T00:00:00"), Text(trial.Period(At("2026-05-01T00:00:00"))));
    }

    // ---- all of them

    public static TheoryData<string> Zones =>
        ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago"];

    [Theory]
    [MemberData(nameof(Zones))]
    public void windows_of_every_kind_never_skip_nor_overlap_over_four_years(string zone)
    {
        foreach (var cycle in Cycles(zone))
            foreach (var kind in new[] { Window.Day, Window.Month, Window.Period })
                Walk(at => TimeWindows.At(kind, cycle, DateTimeZoneProviders.Tzdb[zone], Opened, at));
    }

    [Fact]
    public void hours_never_skip_nor_overlap_over_four_years()
    {
        var hours = Walk(at => TimeWindows.At(Window.Hour, BillingCycle.Calendar(DateTimeZone.Utc), DateTimeZone.Utc, Opened, at));
        Assert.Equal(4 * 365 * 24 + 24, hours);
    }

    private static IEnumerable<BillingCycle> Cycles(string zone)
    {
        yield return BillingCycle.Calendar(DateTimeZoneProviders.Tzdb[zone]);
        foreach (var months in new[] { 1, 3, 12 })
        {
            // The walk begins before some of these periods and goes on past all of them.
            foreach (var anchor in new[] { "2022-12-31T17:45:00", "2024-02-29T00:00:00", "2025-01-30T23:59:59.999", "2026-08-31T04:00:00" })
                yield return Paid(anchor, months);
            yield return BillingCycle.Paid(At("2025-03-03T03:00:00"), At("2025-03-10T03:00:00"), months, At("2025-03-10T03:00:00"));
            yield return BillingCycle.Paid(At("2025-02-28T03:00:00"), At("2025-03-31T03:00:00"), months, At("2024-12-31T03:00:00"));
        }
    }

    /// <summary>Steps from each window to the next. Every window is the same for all instants within, and touches its neighbour.</summary>
    private static int Walk(Func<Instant, Bounds> windowAt)
    {
        var window = windowAt(At("2023-03-05T00:00:00"));
        var count = 0;
        for (var last = At("2027-03-05T00:00:00"); window.End <= last; count++)
        {
            Assert.True(window.Start < window.End);
            Assert.Equal(window, windowAt(window.Start));
            Assert.Equal(window, windowAt(window.Start + (window.End - window.Start) / 2));
            Assert.Equal(window, windowAt(window.End - Duration.Epsilon));
            var next = windowAt(window.End);
            Assert.Equal(window.End, next.Start);
            window = next;
        }
        return count;
    }

    private static Bounds In(Window kind, string zone, string at)
    {
        var tz = DateTimeZoneProviders.Tzdb[zone];
        return TimeWindows.At(kind, BillingCycle.Calendar(tz), tz, Opened, At(at));
    }

    /// <summary>A cycle in its first period, as Stripe describes it: the anchor is the period's start.</summary>
    private static BillingCycle Paid(string anchor, int months) =>
        BillingCycle.Paid(At(anchor), At(anchor).InUtc().LocalDateTime.PlusMonths(months).InUtc().ToInstant(), months, At(anchor));

    private static Instant At(string utc) => InstantPattern.ExtendedIso.Parse(utc + "Z").Value;

    private static string Text(Instant at) => at.ToString("yyyy-MM-dd'T'HH:mm:ss", CultureInfo.InvariantCulture);

    private static (string Start, string End) Text(Bounds bounds) => (Text(bounds.Start), Text(bounds.End));
}
