using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;

namespace Billing.Tests.Ledger;

public sealed class UsageTests
{
    private const string Catalog = """
        {
          "fallback_plan": "free",
          "features": {
            "characters": { "name": "characters", "type": "metered", "meter": { "unit": "character" } },
            "requests":   { "name": "requests", "type": "metered", "meter": { "unit": "request" } },
            "jobs":       { "name": "jobs", "type": "metered", "meter": { "unit": "job" }, "mode": "soft" },
            "hours":      { "name": "build hours", "type": "metered", "meter": { "unit": "hour", "decimals": 2, "window": "day" }, "mode": "overage", "unit_price": "1.5" },
            "storage":    { "name": "GB of storage", "type": "metered", "meter": { "unit": "gb", "decimals": 3, "aggregation": "gauge" }, "deny_status": 403 },
            "export":     { "name": "exports", "type": "boolean" },
            "level":      { "name": "level", "type": "static" }
          },
          "plans": {
            "free":    { "name": "Free", "features": { "characters": 10000, "requests": { "allowance": "unlimited", "rate_limits": [{ "limit": 10, "window": "hour" }] }, "jobs": 2, "hours": 1, "storage": 1, "level": "low" } },
            "starter": { "name": "Starter", "features": { "characters": 100000, "requests": "unlimited", "jobs": 20, "hours": 4, "storage": 5, "export": true, "level": "high" } }
          }
        }
        """;

    private static Instant Time(string time) => Api.TestApi.Time(time);

    [Fact]
    public void usage_past_the_quota_is_denied_and_nothing_is_recorded()
    {
        var spec = Opened(Catalog).Given(Use("characters", 9_999));
        var version = spec.State.Version;

        var denial = spec.When(Use("characters", 2)).ThenRejected(RejectionKind.QuotaExceeded).Denial!;
        Assert.Equal(402, denial.Status);
        Assert.Equal("This needs 2 characters, and 1 of 10,000 are left this month. Upgrade to go on.", denial.Message);
        Assert.Equal(["starter"], denial.UpgradeTo.AsEnumerable());
        Assert.Equal(Time("2026-12-01T00:00:00Z"), denial.ResetsAt);
        Assert.Equal(version, spec.State.Version);
    }

    [Fact]
    public void what_was_used_counts_against_the_new_plans_allowance()
    {
        var spec = Opened(Catalog).Given(Use("characters", 10_000), Plan("starter"));

        Assert.Equal(90_000, spec.Check("characters").Remaining);
    }

    [Fact]
    public void a_downgrade_below_the_use_leaves_nothing_and_no_less()
    {
        var spec = Opened(Catalog, plan: "starter").Given(Use("characters", 60_000), Plan("free"));

        Assert.Equal((0L, 60_000L), (spec.Check("characters").Remaining, spec.Check("characters").Used));
    }

    [Fact]
    public void a_rate_is_limited_whatever_the_allowance_and_turns_with_its_hour()
    {
        var spec = Opened(Catalog).Given(Use("requests", 10)).When(Use("requests"));

        var denial = spec.ThenRejected(RejectionKind.RateLimited).Denial!;
        Assert.Equal((429, Time("2026-11-20T11:00:00Z")), (denial.Status, denial.ResetsAt!.Value));
        spec.At("2026-11-20T11:00:00Z").When(Use("requests", 10)).Then<UsageRecorded>();
    }

    [Fact]
    public void windows_that_ended_are_closed_by_one_event_for_each_instant_before_the_next_event()
    {
        var spec = Opened(Catalog).Given(Use("requests", 3), Use("characters", 5), Use("hours", 1)).At("2026-12-02T08:00:00Z").When(Use("characters", 7));

        var resets = spec.Events.OfType<QuotaReset>().ToList();
        Assert.Equal([Time("2026-11-20T11:00:00Z"), Time("2026-11-21T00:00:00Z"), Time("2026-12-01T00:00:00Z")], resets.Select(r => r.EffectiveAt));
        Assert.Equal(["requests Hour"], resets[0].Resets.Select(r => $"{r.Feature} {r.Window}"));
        Assert.Equal(["hours Day"], resets[1].Resets.Select(r => $"{r.Feature} {r.Window}"));
        Assert.Equal(["characters Month", "characters Period", "hours Period", "requests Month", "requests Period"], resets[2].Resets.Select(r => $"{r.Feature} {r.Window}").Order());
        Assert.Equal(7, spec.Check("characters").Used);
    }

    [Fact]
    public void a_window_in_which_nothing_was_used_writes_no_event()
    {
        var spec = Opened(Catalog).At("2027-03-01T00:00:00Z").When(Use("characters"));

        Assert.Single(spec.Then<UsageRecorded>().Windows!, w => w.Window == Window.Month && w.Start == Time("2027-03-01T00:00:00Z"));
        Assert.Empty(spec.Events.OfType<QuotaReset>());
    }

    [Fact]
    public void a_check_computes_the_roll_before_anything_is_written()
    {
        var spec = Opened(Catalog).Given(Use("characters", 10_000)).At("2026-12-01T00:00:00Z");

        Assert.Equal((0L, 10_000L), (spec.Check("characters").Used, spec.Check("characters").Remaining));
        Assert.True(spec.Check("characters", 10_000).HasAccess);
    }

    [Fact]
    public void a_refused_command_writes_no_reset_either()
    {
        var spec = Opened(Catalog).Given(Use("characters", 5)).At("2026-12-02T00:00:00Z").When(Use("characters", 20_000));

        spec.ThenRejected(RejectionKind.QuotaExceeded);
        Assert.Equal(2, spec.State.Version);
    }

    [Fact]
    public void time_never_runs_backwards_whatever_the_clock_says()
    {
        var spec = Opened(Catalog).Given(Use("requests", 10)).At("2026-11-20T12:00:00Z").Given(Use("requests", 10)).At("2026-11-20T10:30:00Z").When(Use("requests"));

        spec.ThenRejected(RejectionKind.RateLimited);
    }

    [Fact]
    public void soft_use_goes_on_free_of_charge_and_warns()
    {
        var spec = Opened(Catalog).When(Use("jobs", 5));

        var recorded = spec.Then<UsageRecorded>();
        Assert.Equal((2L, 3L, (decimal?)null, false), (recorded.Allowance, recorded.Overage, recorded.UnitPrice, recorded.OverLimit));
        Assert.Equal(100, spec.Check("jobs").Warning);
    }

    [Theory]
    [InlineData(15, 0)]
    [InlineData(16, 80)]
    [InlineData(18, 80)]
    [InlineData(19, 95)]
    [InlineData(20, 100)]
    public void an_entitlement_warns_at_80_95_and_100_per_cent(int used, int warning) =>
        Assert.Equal(warning, Opened(Catalog, plan: "starter").Given(Use("jobs", used)).Check("jobs").Warning);

    [Fact]
    public void use_that_already_happened_is_recorded_past_the_limit_and_flagged()
    {
        var recorded = Opened(Catalog).Given(Use("characters", 9_990)).When(Use("characters", 25, enforce: false)).Then<UsageRecorded>();

        Assert.Equal((10L, 15L, (decimal?)null, true), (recorded.Allowance, recorded.Overage, recorded.UnitPrice, recorded.OverLimit));
    }

    [Fact]
    public void use_that_already_happened_is_priced_where_the_mode_prices_it()
    {
        var recorded = Opened(Catalog).When(Use("hours", 1.5m, enforce: false)).Then<UsageRecorded>();

        Assert.Equal((100L, 50L, 1.5m, false), (recorded.Allowance, recorded.Overage, recorded.UnitPrice, recorded.OverLimit));
    }

    [Fact]
    public void a_timestamp_in_the_running_window_counts_and_keeps_its_time()
    {
        var spec = Opened(Catalog).After(Duration.FromHours(5)).When(Use("characters", 5, timestamp: Time("2026-11-20T10:01:00Z")));

        Assert.Equal("2026-11-20T10:01:00Z", spec.Then<UsageRecorded>().EffectiveAt.ToString());
        Assert.Equal(5, spec.Check("characters").Used);
    }

    [Fact]
    public void a_timestamp_up_to_five_minutes_ahead_counts_now()
    {
        var spec = Opened(Catalog).At("2026-11-30T23:58:00Z").When(Use("characters", 5, timestamp: Time("2026-12-01T00:03:00Z")));

        Assert.Equal(Time("2026-11-01T00:00:00Z"), spec.Then<UsageRecorded>().Windows!.Single(w => w.Window == Window.Month).Start);
        spec.When(Use("characters", 5, timestamp: Time("2026-12-01T00:03:00.000001Z"))).ThenRejected(RejectionKind.TimestampInFuture);
    }

    [Fact]
    public void a_timestamp_of_too_long_ago_or_before_opening_is_refused()
    {
        var spec = Opened(Catalog).At("2027-01-02T00:00:00Z");

        spec.When(Use("characters", 5, timestamp: Time("2026-11-27T23:59:59Z"))).ThenRejected(RejectionKind.WindowClosed);
        spec.When(Use("characters", 5, timestamp: Time("2026-11-20T09:59:59Z"))).ThenRejected(RejectionKind.BeforeOpening);
    }

    [Fact]
    public void use_of_an_earlier_hour_is_not_part_of_this_hours_rate()
    {
        var spec = Opened(Catalog).At("2026-11-20T12:30:00Z").Given(Use("requests", 10)).When(Use("requests", 3, timestamp: Time("2026-11-20T11:00:00Z")));

        Assert.DoesNotContain(spec.Then<UsageRecorded>().Windows!, w => w.Window == Window.Hour);
    }

    [Fact]
    public void a_gauge_moves_both_ways_and_stops_at_its_limit_and_at_zero()
    {
        var spec = Opened(Catalog).Given(Use("storage", 0.75m));

        Assert.Equal(403, spec.When(Use("storage", 0.251m)).ThenRejected(RejectionKind.QuotaExceeded).Denial!.Status);
        spec.When(Use("storage", -0.751m)).ThenRejected(RejectionKind.GaugeBelowZero);
        Assert.Equal(1000L, spec.When(Use("storage", 0.25m)).Then<UsageRecorded>().Gauge);
        Assert.Equal(0L, spec.When(Gauge("storage", 0)).Then<UsageRecorded>().Gauge);
        spec.When(Gauge("storage", 0)).ThenNothing();
    }

    [Fact]
    public void a_gauge_above_its_limit_may_always_go_down()
    {
        var spec = Opened(Catalog, plan: "starter").Given(Gauge("storage", 5), Plan("free"));

        Assert.Equal(4500L, spec.When(Use("storage", -0.5m)).Then<UsageRecorded>().Gauge);
        spec.When(Use("storage", 0.001m)).ThenRejected(RejectionKind.QuotaExceeded);
    }

    [Fact]
    public void a_gauge_keeps_its_value_and_a_new_periods_peak_begins_with_it()
    {
        var spec = Opened(Catalog, plan: "starter").Given(Gauge("storage", 4), Gauge("storage", 2)).At("2026-12-05T00:00:00Z").Given(Gauge("storage", 3));

        Assert.Equal((3000L, 3000L), (spec.State.Use("storage")!.Gauge!.Value, spec.State.Use("storage")!.Gauge!.Peak));
        Assert.Empty(spec.Events.OfType<QuotaReset>());
    }

    [Fact]
    public void a_feature_that_the_plan_lacks_names_the_plans_that_have_it()
    {
        var denial = Opened(Catalog).Check("export").Denial!;

        Assert.Equal((RejectionKind.FeatureNotInPlan, 403, "Your plan does not include exports. Upgrade to use it."), (denial.Kind, denial.Status, denial.Message));
        Assert.Equal(["starter"], denial.UpgradeTo.AsEnumerable());
    }

    [Fact]
    public void a_static_feature_gives_the_plans_value()
    {
        var spec = Opened(Catalog);

        Assert.Equal("low", spec.Check("level").Value);
        Assert.Equal("high", spec.Given(Plan("starter")).Check("level").Value);
    }

    [Fact]
    public void a_lifetime_counter_counts_only_use_under_plans_that_give_once_for_a_lifetime()
    {
        const string catalog = """
            {
              "fallback_plan": "explorer",
              "features": { "ai": { "name": "AI requests", "type": "metered", "meter": { "unit": "request", "window": "day" } } },
              "plans": { "explorer": { "name": "E", "features": { "ai": { "allowance": 3, "window": "lifetime" } } }, "member": { "name": "M", "features": { "ai": 100 } } }
            }
            """;
        var spec = Opened(catalog).Given(Use("ai", 2), Plan("member"), Use("ai", 50));

        // Use belongs to the feature: what the explorer used today counts today.
        Assert.Equal(48, spec.Check("ai").Remaining);
        Assert.Equal(1, spec.Given(Plan("explorer")).Check("ai").Remaining);
    }
}
