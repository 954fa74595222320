using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;

namespace Billing.Tests.Ledger;

public sealed class AlertTests
{
    private const string Catalog = """
        {
          "fallback_plan": "free", "tokens_low": 100,
          "features": {
            "calls":   { "name": "calls", "type": "metered", "meter": { "unit": "call", "window": "month" }, "mode": "soft" },
            "jobs":    { "name": "jobs", "type": "metered", "meter": { "unit": "job", "window": "day" }, "warn_at": [50, 200], "mode": "soft" },
            "quiet":   { "name": "quiet calls", "type": "metered", "meter": { "unit": "call" }, "warn_at": [], "mode": "soft" },
            "words":   { "name": "words", "type": "metered", "meter": { "unit": "word" }, "mode": "tokens" },
            "storage": { "name": "storage", "type": "metered", "meter": { "unit": "gb", "decimals": 3, "aggregation": "gauge" } }
          },
          "plans": {
            "free": { "name": "Free", "features": { "calls": 100, "jobs": 10, "quiet": 10, "words": 0, "storage": 10 } },
            "pro":  { "name": "Pro", "trial_days": 14, "prices": [{ "interval": "month", "amount": 900 }, { "interval": "year", "amount": 9000 }], "features": { "calls": 1000, "jobs": "unlimited", "words": 0, "storage": 20 } },
            "twin": { "name": "Twin", "features": { "calls": 100 } }
          }
        }
        """;

    private static Instant Time(string time) => Api.TestApi.Time(time);

    private static AlertRaised Used(string feature, int percent, Window? window, string start, string end, long value, long limit) =>
        new(AlertKind.Usage, feature, percent, window, Time(start), Time(end), value, limit);

    private static AlertRaised Calls(int percent, long value, long limit = 100) => Used("calls", percent, Window.Month, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", value, limit);

    // ---- thresholds

    [Fact]
    public void eighty_ninety_five_and_a_hundred_per_cent_raise_one_alert_each_in_a_window()
    {
        var spec = Opened(Catalog).Given(Use("calls", 79));
        Assert.Empty(spec.Wrote<AlertRaised>());

        Assert.Equal(Calls(80, 80), Bare(spec.When(Use("calls")).Then<AlertRaised>()));
        for (var used = 81; used < 95; used++) Assert.Empty(spec.When(Use("calls")).Wrote<AlertRaised>());
        Assert.Equal(Calls(95, 95), Bare(spec.When(Use("calls")).Then<AlertRaised>()));
        for (var used = 96; used < 100; used++) Assert.Empty(spec.When(Use("calls")).Wrote<AlertRaised>());
        Assert.Equal(Calls(100, 100), Bare(spec.When(Use("calls")).Then<AlertRaised>()));
        for (var used = 101; used < 220; used++) Assert.Empty(spec.When(Use("calls")).Wrote<AlertRaised>());
    }

    [Fact]
    public void a_use_that_passes_several_thresholds_raises_the_highest() =>
        Assert.Equal(Calls(95, 97), Bare(Opened(Catalog).When(Use("calls", 97)).Then<AlertRaised>()));

    [Fact]
    public void the_alert_stands_behind_the_use_in_the_same_append()
    {
        var spec = Opened(Catalog).When(Use("calls", 80));

        Assert.Equal([typeof(UsageRecorded), typeof(AlertRaised)], spec.Wrote<LedgerEvent>().Select(e => e.GetType()));
        Assert.Equal((3L, spec.Now, spec.Now), (spec.Events[^1].Version, spec.Events[^1].EffectiveAt, spec.Events[^1].RecordedAt));
    }

    [Fact]
    public void a_new_window_warns_anew()
    {
        var spec = Opened(Catalog).Given(Use("calls", 100)).At("2026-12-01T00:00:00Z");

        Assert.Equal(Used("calls", 80, Window.Month, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", 80, 100), Bare(spec.When(Use("calls", 80)).Then<AlertRaised>()));
    }

    [Fact]
    public void a_feature_has_thresholds_of_its_own_or_none()
    {
        var spec = Opened(Catalog).Given(Use("jobs", 5));
        Assert.Equal(Used("jobs", 50, Window.Day, "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z", 5, 10), Bare(spec.Then<AlertRaised>()));

        Assert.Empty(spec.When(Use("jobs", 14)).Wrote<AlertRaised>());
        Assert.Equal(200, spec.When(Use("jobs")).Then<AlertRaised>().Percent);
        Assert.Empty(spec.When(Use("quiet", 30)).Wrote<AlertRaised>());
    }

    [Theory]
    [InlineData("jobs", 4, 0)]
    [InlineData("jobs", 5, 50)]
    [InlineData("jobs", 19, 50)]
    [InlineData("jobs", 20, 200)]
    [InlineData("calls", 79, 0)]
    [InlineData("calls", 94, 80)]
    [InlineData("calls", 99, 95)]
    [InlineData("quiet", 30, 0)]
    public void a_check_warns_by_the_same_thresholds(string feature, int used, int warning) =>
        Assert.Equal(warning, Opened(Catalog).Given(Use(feature, used)).Check(feature).Warning);

    [Fact]
    public void an_unlimited_feature_and_a_limit_of_0_have_no_thresholds()
    {
        var spec = Opened(Catalog).Given(Plan("pro"), Grant(1_000));

        Assert.Empty(spec.When(Use("jobs", 5_000)).Wrote<AlertRaised>());
        Assert.Empty(spec.When(Use("words", 500)).Wrote<AlertRaised>());
    }

    [Fact]
    public void another_limit_has_thresholds_of_its_own()
    {
        var spec = Opened(Catalog).Given(Use("calls", 100), Plan("pro"));

        Assert.Empty(spec.When(Use("calls", 699)).Wrote<AlertRaised>());
        Assert.Equal(Calls(80, 800, 1_000), Bare(spec.When(Use("calls")).Then<AlertRaised>()));
    }

    [Fact]
    public void a_plan_that_changes_nothing_about_the_limit_warns_of_nothing_again()
    {
        var spec = Opened(Catalog).Given(Use("calls", 80), Plan("twin"));

        Assert.Empty(spec.When(Use("calls")).Wrote<AlertRaised>());
        Assert.Equal(95, spec.When(Use("calls", 14)).Then<AlertRaised>().Percent);
    }

    [Fact]
    public void a_window_that_is_moved_by_a_new_anchor_stays_warned_of()
    {
        var spec = Opened(Catalog, plan: "free").Given(Use("calls", 85));
        Assert.Equal(80, spec.Then<AlertRaised>().Percent);

        // A subscription that gives no access moves the anchor and leaves the limit.
        var start = spec.Now - Duration.FromDays(2);
        spec.Given(Follow(Subscription("sub_1", SubscriptionStatus.Unpaid, start, start + Duration.FromDays(31), null)));
        Assert.NotEqual(Time("2026-12-01T00:00:00Z"), spec.State.Use("calls")!.Counters[0].End);
        Assert.Empty(spec.When(Use("calls")).Wrote<AlertRaised>());
    }

    [Fact]
    public void a_gauge_warns_once_in_a_billing_period_and_only_as_it_grows()
    {
        var spec = Opened(Catalog).When(Gauge("storage", 8));
        Assert.Equal(Used("storage", 80, null, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", 8_000, 10_000), Bare(spec.Then<AlertRaised>()));

        Assert.Empty(spec.When(Gauge("storage", 1)).Wrote<AlertRaised>());
        Assert.Empty(spec.When(Gauge("storage", 8.5m)).Wrote<AlertRaised>());
        Assert.Equal(95, spec.When(Gauge("storage", 9.5m)).Then<AlertRaised>().Percent);

        spec.At("2026-12-03T00:00:00Z");
        Assert.Empty(spec.When(Use("storage", -0.5m)).Wrote<AlertRaised>());
        Assert.Equal(Used("storage", 80, null, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", 9_100, 10_000), Bare(spec.When(Use("storage", 0.1m)).Then<AlertRaised>()));
    }

    [Fact]
    public void late_use_in_the_running_window_counts_for_its_thresholds() =>
        Assert.Equal(80, Opened(Catalog).After(Duration.FromDays(3)).When(Use("calls", 80, timestamp: Time("2026-11-21T00:00:00Z"))).Then<AlertRaised>().Percent);

    // ---- tokens

    [Fact]
    public void a_balance_below_the_catalogs_threshold_is_told_once_until_tokens_come()
    {
        var spec = Opened(Catalog).Given(Grant(200), Use("words", 100));
        Assert.Empty(spec.Wrote<AlertRaised>());

        Assert.Equal(new AlertRaised(AlertKind.TokensLow, null, 0, null, null, null, 99, 100), Bare(spec.When(Use("words")).Then<AlertRaised>()));
        Assert.Empty(spec.When(Use("words", 20)).Wrote<AlertRaised>());

        spec.Given(Grant(1));
        Assert.Equal(79, spec.When(Use("words")).Then<AlertRaised>().Value);
    }

    [Fact]
    public void who_never_had_tokens_is_not_told_that_there_are_few() => Assert.Empty(Opened(Catalog).When(Use("calls")).Wrote<AlertRaised>());

    [Fact]
    public void tokens_that_expire_are_told_of_at_that_instant_without_traffic()
    {
        var spec = Opened(Catalog).Given(Grant(50), Grant(60, expires: Time("2026-11-25T00:00:00Z"))).At("2026-11-26T00:00:00Z").When(Due());

        spec.Then(new TokensExpired([new GrantUse("tg_3", 60)]), new AlertRaised(AlertKind.TokensLow, null, 0, null, null, null, 50, 100));
        Assert.Equal(Time("2026-11-25T00:00:00Z"), spec.Events[^1].EffectiveAt);
    }

    [Fact]
    public void a_refund_that_leaves_few_tokens_is_told()
    {
        const string packages = """{ "big": { "name": "Big", "tokens": 1000, "prices": [{ "amount": 1000 }] } }""";
        var spec = Opened(TestCatalog.With("token_packages", packages, Catalog)).Given(Buy("big", "pi_1", 1_000, Time("2026-11-20T10:00:00Z")));

        Assert.Equal(50, spec.When(Return("pi_1", 950)).Then<AlertRaised>().Value);
    }

    // ---- trials

    [Fact]
    public void the_end_of_a_trial_is_warned_of_three_days_before_it_and_once()
    {
        var end = Time("2026-12-04T10:00:00Z");
        var spec = Opened(Catalog).Given(Follow(Subscription("sub_1", SubscriptionStatus.Trialing, Time("2026-11-20T10:00:00Z"), end, end)));
        Assert.Equal(Time("2026-12-01T10:00:00Z"), spec.State.DueAt);

        spec.At("2026-12-01T09:59:59Z").When(Due()).ThenNothing();
        spec.At("2026-12-01T10:00:00Z").When(Due()).Then(new AlertRaised(AlertKind.TrialEnding, null, 0, null, null, end, 0, null));
        Assert.Null(spec.State.DueAt);
        spec.At("2026-12-04T11:00:00Z").When(Due()).ThenNothing();
    }

    [Fact]
    public void a_trial_that_is_prolonged_is_warned_of_again()
    {
        var (first, second) = (Time("2026-11-27T10:00:00Z"), Time("2026-12-07T10:00:00Z"));
        var spec = Opened(Catalog).Given(Follow(Subscription("sub_1", SubscriptionStatus.Trialing, Time("2026-11-20T10:00:00Z"), first, first)))
            .At("2026-11-24T10:00:00Z").Given(Due());
        Assert.Single(spec.Wrote<AlertRaised>());

        spec.Given(Follow(Subscription("sub_1", SubscriptionStatus.Trialing, Time("2026-11-20T10:00:00Z"), second, second, spec.Now)));
        spec.At("2026-12-04T10:00:00Z").When(Due());
        Assert.Equal(second, spec.Then<AlertRaised>().End);
    }

    [Theory]
    [InlineData("2026-11-22T10:00:00Z", 1)]
    [InlineData("2026-11-20T10:00:00Z", 0)]
    public void a_trial_shorter_than_three_days_is_warned_of_at_once_and_one_that_is_over_never(string end, int alerts)
    {
        var spec = Opened(Catalog).Given(Follow(Subscription("sub_1", SubscriptionStatus.Trialing, Time("2026-11-19T10:00:00Z"), Time(end), Time(end)))).When(Due());

        Assert.Equal(alerts, spec.Wrote<AlertRaised>().Count);
    }

    [Fact]
    public void a_trial_that_was_converted_or_a_closed_organization_is_warned_of_nothing()
    {
        var end = Time("2026-12-04T10:00:00Z");
        Spec Trial() => Opened(Catalog).Given(Follow(Subscription("sub_1", SubscriptionStatus.Trialing, Time("2026-11-20T10:00:00Z"), end, end)));

        var converted = Trial().After(Duration.FromHours(1));
        converted.Given(Follow(Subscription("sub_1", SubscriptionStatus.Active, Time("2026-11-20T11:00:00Z"), Time("2026-12-20T11:00:00Z"), end, converted.Now)));
        converted.At("2026-12-02T00:00:00Z").When(Due()).ThenNothing();

        var closed = Trial().Given(New(new CloseOrganization(null) { Id = "", ContentHash = [], At = default }));
        closed.At("2026-12-02T00:00:00Z").When(Due()).ThenNothing();
        Assert.Null(closed.State.DueAt);
    }

    private static Subscription Subscription(string id, SubscriptionStatus status, Instant start, Instant end, Instant? trialEnd, Instant? heard = null) => new(
        id, "pro", 0, status, BillingInterval.Month, start, start, end, start, trialEnd, false, null, null, null, "cus_1",
        new SnapshotOrder(heard ?? Time("2026-11-20T10:00:00Z"), SnapshotRank.Updated, $"evt_{heard}"));

    /// <summary>As it was written in the test: without what every event has.</summary>
    private static AlertRaised Bare(AlertRaised e) => e with { Version = 0, EffectiveAt = default, RecordedAt = default };
}
