using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;

namespace Billing.Tests.Ledger;

public sealed class OverrideTests
{
    private const string Catalog = """
        {
          "fallback_plan": "free",
          "features": {
            "jobs":    { "name": "jobs", "type": "metered", "meter": { "unit": "job", "decimals": 1, "window": "day" } },
            "calls":   { "name": "calls", "type": "metered", "meter": { "unit": "call", "window": "day" } },
            "storage": { "name": "storage", "type": "metered", "meter": { "unit": "gb", "aggregation": "gauge" } },
            "export":  { "name": "exports", "type": "boolean" },
            "region":  { "name": "the region", "type": "static" }
          },
          "plans": {
            "free": { "name": "Free", "features": { "jobs": 10, "storage": { "allowance": 5, "mode": "overage", "unit_price": "2" }, "region": "eu" } },
            "pro":  { "name": "Pro", "features": { "jobs": 100, "calls": 50, "storage": 50, "export": true, "region": "us" } },
            "over": { "name": "Over", "features": { "jobs": { "allowance": 1, "mode": "overage", "unit_price": "1" } } }
          }
        }
        """;

    public static SetOverride Set(string feature, decimal? allowance = null, bool unlimited = false, string? until = null, string? reason = null) =>
        New(new SetOverride(feature, allowance, unlimited, until is null ? null : Time(until), false, reason) { Id = "", ContentHash = [], At = default, By = "key_1" });

    public static SetOverride Remove(string feature) => New(new SetOverride(feature, null, false, null, true, null) { Id = "", ContentHash = [], At = default, By = "key_1" });

    private static Instant Time(string time) => Api.TestApi.Time(time);

    [Fact]
    public void an_override_stands_in_place_of_the_plans_limit_until_its_time_is_over()
    {
        var spec = Opened(Catalog).Given(Use("jobs", 10)).When(Set("jobs", 12.5m, until: "2026-11-20T12:00:00Z", reason: "launch day"));

        spec.Then(new OverrideSet("jobs", 125, Time("2026-11-20T12:00:00Z"), false, "launch day", "key_1"));
        Assert.Equal((125L, 100L, 25L), (spec.Check("jobs").Limit, spec.Check("jobs").Used, spec.Check("jobs").Remaining));
        spec.Given(Use("jobs", 2.5m)).When(Use("jobs", 0.1m)).ThenRejected(RejectionKind.QuotaExceeded);

        spec.At("2026-11-20T12:00:00Z");
        Assert.Equal((100L, 0L), (spec.Check("jobs").Limit, spec.Check("jobs").Remaining));
        spec.When(New(new WriteDue { Id = "", ContentHash = [], At = default }))
            .Then(new OverrideSet("jobs", 125, Time("2026-11-20T12:00:00Z"), true, "launch day", "clock"));
        Assert.Empty(spec.State.Overrides);
    }

    [Fact]
    public void an_override_goes_along_through_plans_and_is_removed_by_hand()
    {
        var spec = Opened(Catalog).Given(Set("jobs", 20), Plan("pro"));
        Assert.Equal(200, spec.Check("jobs").Limit);

        spec.When(Remove("jobs")).Then(new OverrideSet("jobs", 200, null, true, null, "key_1"));
        Assert.Equal(1000, spec.Check("jobs").Limit);
        spec.When(Remove("jobs")).ThenNothing();
    }

    [Fact]
    public void what_a_plan_lacks_is_given_by_an_override_and_refused_past_it()
    {
        var spec = Opened(Catalog).Given(Set("calls", 2), Set("export"));

        Assert.True(spec.Check("export").HasAccess);
        Assert.Equal((2L, Window.Day, Time("2026-11-21T00:00:00Z")), (spec.Check("calls").Limit!.Value, spec.Check("calls").Window!.Value, spec.Check("calls").ResetsAt!.Value));
        var denial = spec.Given(Use("calls", 2)).When(Use("calls")).ThenRejected(RejectionKind.QuotaExceeded).Denial!;
        Assert.Equal(402, denial.Status);
        // No plan would help: the override stands in place of each one's limit.
        Assert.Empty(denial.UpgradeTo);
        spec.Given(Remove("calls"), Remove("export"));
        Assert.Equal(["pro"], spec.Check("calls").Denial!.UpgradeTo.AsEnumerable());
        Assert.Equal(RejectionKind.FeatureNotInPlan, spec.Check("export").Denial!.Kind);
    }

    [Fact]
    public void an_upgrade_that_goes_past_any_limit_helps_also_beside_an_override()
    {
        var spec = Opened(Catalog, plan: "pro").Given(Set("jobs", 1), Use("jobs", 1)).When(Use("jobs"));

        Assert.Equal(["over"], spec.ThenRejected(RejectionKind.QuotaExceeded).Denial!.UpgradeTo.AsEnumerable());
    }

    [Fact]
    public void an_override_may_be_unlimited_and_may_be_nothing()
    {
        var spec = Opened(Catalog).Given(Set("jobs", unlimited: true), Use("jobs", 1000));
        Assert.Equal(((long?)null, (long?)null), (spec.Check("jobs").Limit, spec.Check("jobs").Remaining));

        spec.Given(Set("jobs", 0)).When(Use("jobs")).ThenRejected(RejectionKind.QuotaExceeded);
    }

    [Fact]
    public void without_a_plan_in_force_an_override_gives_nothing()
    {
        var spec = Opened(Catalog.Replace("\"fallback_plan\": \"free\",", "", StringComparison.Ordinal)).Given(Set("jobs", 10), Set("export"));

        Assert.Equal(RejectionKind.SubscriptionInactive, spec.Check("jobs").Denial!.Kind);
        Assert.Equal(RejectionKind.SubscriptionInactive, spec.Check("export").Denial!.Kind);
    }

    [Fact]
    public void the_same_override_again_writes_nothing_and_another_takes_its_place()
    {
        var spec = Opened(Catalog).Given(Set("jobs", 20, reason: "a")).When(Set("jobs", 20, reason: "a")).ThenNothing();

        spec.Given(Set("calls", 5), Set("jobs", 30, reason: "a"));
        Assert.Equal(["calls 5", "jobs 300"], spec.State.Overrides.Select(o => $"{o.Feature} {o.Allowance}"));
    }

    [Fact]
    public void what_cannot_be_overridden_is_refused_in_the_order_of_precedence()
    {
        (SetOverride Command, RejectionKind Kind, string? Field)[] table =
        [
            (Set("nothing", 1, until: "2026-11-20T10:00:00Z"), RejectionKind.FeatureUnknown, "feature"),
            (Set("region", -1), RejectionKind.FeatureNotMetered, "feature"),
            (Set("export", 1), RejectionKind.FeatureNotMetered, "feature"),
            (Set("export", unlimited: true), RejectionKind.FeatureNotMetered, "feature"),
            (Set("jobs"), RejectionKind.QuantityNotPositive, "allowance"),
            (Set("jobs", -0.1m, until: "2026-11-20T10:00:00Z"), RejectionKind.QuantityNotPositive, "allowance"),
            (Set("jobs", 100_000_000_000_000.1m), RejectionKind.QuantityTooLarge, "allowance"),
            (Set("jobs", 0.01m, until: "2026-11-20T10:00:00Z"), RejectionKind.QuantityTooPrecise, "allowance"),
            (Set("jobs", 1, until: "2026-11-20T10:00:00Z"), RejectionKind.ExpiryInPast, "until"),
        ];
        foreach (var (command, kind, field) in table) Assert.Equal(field, Opened(Catalog).When(command).ThenRejected(kind).Field);
    }

    [Fact]
    public void an_explanation_names_the_override_with_its_reason_and_its_end()
    {
        var spec = Opened(Catalog).Given(Use("jobs"), Set("jobs", 20, until: "2026-11-25T00:00:00Z", reason: "launch week"));
        var why = new Explanation();
        Entitlements.Evaluate(spec.State, Catalogs(Catalog), Catalogs(Catalog).Feature("jobs")!, 10, spec.Now, why: why);

        var step = why.Steps.Single(s => s.Rule == "override");
        Assert.Equal([3L], step.Events.AsEnumerable());
        Assert.Equal((200L, Time("2026-11-25T00:00:00Z"), "launch week"), (step.Numbers["limit"], step.Numbers["until"], step.Numbers["reason"]));
    }

    [Fact]
    public void a_gauge_is_billed_past_what_it_gets_under_each_override()
    {
        var spec = Opened(Catalog).Given(Set("storage", 20, until: "2026-11-22T00:00:00Z"), Gauge("storage", 18), Gauge("storage", 8));
        Assert.False(spec.State.Use("storage")!.Gauge!.Billed);
        Assert.Equal(20, spec.Check("storage").Limit);

        // What it stood at under the override is not billed; what it stands at afterwards is.
        spec.At("2026-11-23T00:00:00Z").Given(New(new WriteDue { Id = "", ContentHash = [], At = default }));
        Assert.Equal((8L, 8L, true), (spec.State.Use("storage")!.Gauge!.Value, spec.State.Use("storage")!.Gauge!.Peak, spec.State.Use("storage")!.Gauge!.Billed));
        Assert.Equal(Time("2026-12-01T00:00:00Z"), spec.State.Billing.BilledAt);

        spec.Given(Set("storage", 9));
        Assert.False(spec.State.Use("storage")!.Gauge!.Billed);
    }
}
