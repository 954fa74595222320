using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;
using static Billing.Tests.Ledger.Subscribing;

namespace Billing.Tests.Ledger;

/// <summary>An organization's time zone, and a test organization's own clock.</summary>
public sealed class AccountTests
{
    private const string Catalog = """
        {
          "fallback_plan": "free",
          "features": {
            "videos": { "name": "videos", "type": "metered", "meter": { "unit": "video", "window": "day" } },
            "calls":  { "name": "calls", "type": "metered", "meter": { "unit": "call" } },
            "ticks":  { "name": "ticks", "type": "metered", "meter": { "unit": "tick", "window": "hour" } }
          },
          "plans": {
            "free": { "name": "Free", "features": { "videos": 3, "calls": 100, "ticks": 5 } },
            "pro":  { "name": "Pro", "prices": [{ "interval": "month", "amount": 3000 }], "trial_days": 14, "features": { "videos": 30, "calls": 1000, "ticks": 50 } }
          }
        }
        """;

    private static Instant Time(string time) => Api.TestApi.Time(time);

    private static ChangeTimeZone Zone(string zone) => New(new ChangeTimeZone(zone) { Id = "", ContentHash = [], At = default });

    private static AdvanceClock Advance(string to) => New(new AdvanceClock(Time(to)) { Id = "", ContentHash = [], At = default });

    private static Spec Test(string at = "2026-11-20T10:00:00Z") =>
        new Spec(Catalogs(Catalog)).At(at).Given(New(new OpenOrganization("UTC", true, null) { Id = "", ContentHash = [], At = default }));

    // ---- the time zone

    [Theory]
    // Ten in the morning in UTC is 11 in Berlin, 5 in New York, and a quarter to four in the afternoon in Kathmandu; in Auckland it is 11 at night.
    [InlineData("Europe/Berlin", "2026-11-20T23:00:00Z")]
    [InlineData("America/New_York", "2026-11-21T05:00:00Z")]
    [InlineData("Asia/Kathmandu", "2026-11-20T18:15:00Z")]
    [InlineData("Pacific/Auckland", "2026-11-20T11:00:00Z")]
    public void days_begin_at_the_new_midnight_and_the_running_one_goes_on_into_the_new_one(string zone, string midnight)
    {
        var spec = Opened(Catalog).Given(Use("videos", 2), Use("calls", 40), Use("ticks", 5), Zone(zone));

        Assert.Equal((2L, Time(midnight)), (spec.Check("videos").Used, spec.Check("videos").ResetsAt!.Value));
        Assert.Equal(40, spec.Check("calls").Used);
        // Hours are everybody's.
        Assert.Equal((5L, Time("2026-11-20T11:00:00Z")), (spec.Check("ticks").Used, spec.Check("ticks").ResetsAt!.Value));
        spec.Given(Use("videos")).When(Use("videos")).ThenRejected(RejectionKind.QuotaExceeded);
        Assert.Equal(3, spec.At(midnight).Given(Turn()).Check("videos").Remaining);
    }

    [Fact]
    public void without_a_subscription_the_calendars_month_moves_too_and_a_paid_period_does_not()
    {
        var spec = Opened(Catalog).Given(Use("calls", 40), Zone("America/New_York"));
        Assert.Equal((40L, Time("2026-12-01T05:00:00Z")), (spec.Check("calls").Used, spec.Check("calls").ResetsAt!.Value));
        Assert.Equal(40, spec.At("2026-12-01T04:59:59Z").Check("calls").Used);
        Assert.Equal(0, spec.At("2026-12-01T05:00:00Z").Check("calls").Used);

        spec = Opened(Catalog).Given(Start("pro", trial: false), Use("calls", 40), Zone("America/New_York"));
        Assert.Equal(Time("2026-12-20T10:00:00Z"), spec.Check("calls").ResetsAt);
    }

    [Fact]
    public void no_two_days_overlap_and_nothing_used_is_lost_however_often_the_zone_changes()
    {
        string[] zones = ["Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Pago_Pago", "UTC"];
        var spec = Opened(Catalog, at: "2026-10-01T00:00:00Z");
        for (var hour = 0; hour < 24 * 60; hour += 7)
        {
            spec.At("2026-10-01T00:00:00Z").After(Duration.FromHours(hour)).Given(Turn()).When(Use("videos"));
            if (hour % 5 == 0) spec.When(Zone(zones[hour % zones.Length]));
        }
        var days = spec.Events.OfType<QuotaReset>().SelectMany(e => e.Resets.Where(r => r.Window == Window.Day).Select(r => (r.Start, End: e.EffectiveAt, r.Used))).ToList();
        Assert.InRange(days.Count, 50, 65);
        for (var i = 1; i < days.Count; i++) Assert.True(days[i].Start >= days[i - 1].End, $"{days[i]} overlaps {days[i - 1]}.");
        Assert.All(days, d => Assert.InRange(d.Used, 1, 3));
        Assert.Equal(spec.Events.OfType<UsageRecorded>().Sum(e => e.Quantity), days.Sum(d => d.Used) + spec.Check("videos").Used);
    }

    [Fact]
    public void an_unknown_zone_is_refused_and_the_same_one_changes_nothing()
    {
        var spec = Opened(Catalog, zone: "Europe/Berlin");

        spec.When(Zone("Nowhere/Town")).ThenRejected(RejectionKind.TimeZoneUnknown);
        spec.When(Zone("Europe/Berlin")).ThenNothing();
    }

    // ---- the test clock

    [Fact]
    public void a_test_organization_plays_months_in_one_step_and_writes_what_became_due_in_order()
    {
        var spec = Test().Given(Start("pro"), Use("calls", 40)).When(Advance("2027-02-10T00:00:00Z"));

        // The clock first; the month that turned while the trial lasted no longer, the conversion, the renewals with their invoices.
        Assert.Equal(Time("2027-02-10T00:00:00Z"), Assert.IsType<ClockAdvanced>(spec.Events[3]).To);
        Assert.Equal([SubscriptionChange.TrialStarted, SubscriptionChange.Converted, SubscriptionChange.Renewed, SubscriptionChange.Renewed], spec.Events.OfType<SubscriptionChanged>().Select(e => e.Change!.Value));
        Assert.Equal(["2026-12-04T10:00:00Z", "2027-01-04T10:00:00Z", "2027-02-04T10:00:00Z"], spec.Events.OfType<InvoiceCreated>().Select(e => e.EffectiveAt.ToString()));
        Assert.All(spec.Events.Skip(4), e => Assert.Equal(Time("2027-02-10T00:00:00Z"), e.RecordedAt));
        Assert.Equal(spec.Events.Skip(4).Select(e => e.EffectiveAt).Order(), spec.Events.Skip(4).Select(e => e.EffectiveAt));

        // It goes on from there as everybody's clock does.
        Assert.Equal(Time("2027-02-10T00:01:00Z"), spec.State.Now(spec.Now + Duration.FromMinutes(1)));
        spec.After(Duration.FromHours(1)).Given(Use("videos", 30));
        Assert.Equal(Time("2027-02-11T00:00:00Z"), spec.Check("videos").ResetsAt);
        // And it is woken by the service's clock when its own comes to it: 23 hours from now.
        Assert.Equal(spec.Now + Duration.FromHours(23), spec.State.WakeAt);
    }

    [Fact]
    public void a_clock_goes_forward_at_most_two_years_at_a_time_and_only_a_test_organizations()
    {
        var spec = Test();
        spec.When(Advance("2026-11-20T10:00:00Z")).ThenRejected(RejectionKind.ClockBackwards);
        spec.When(Advance("2028-11-20T10:00:01Z")).ThenRejected(RejectionKind.ClockTooFar);
        spec.Given(Advance("2028-11-20T10:00:00Z"), Advance("2030-11-20T10:00:00Z"));
        spec.When(Advance("2029-01-01T00:00:00Z")).ThenRejected(RejectionKind.ClockBackwards);

        Opened(Catalog).When(Advance("2027-01-01T00:00:00Z")).ThenRejected(RejectionKind.NotATestOrganization);
    }

    [Fact]
    public void a_test_clock_ends_before_the_calendar_does()
    {
        var spec = Test();
        for (var year = 2028; year < 2200; year += 2) spec.Given(Advance($"{year}-01-01T00:00:00Z"));
        spec.Given(Advance("2200-01-01T00:00:00Z"), Start("pro", trial: false));

        Assert.Contains("2200-01-01", spec.When(Advance("2200-01-02T00:00:00Z")).ThenRejected(RejectionKind.ClockTooFar).Message, StringComparison.Ordinal);
    }
}
