using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.HoldTests;
using static Billing.Tests.Ledger.Spec;

namespace Billing.Tests.Ledger;

/// <summary>Overage: its tiers, when it is billed, and the most that may be charged for it.</summary>
public sealed class SpendCapTests
{
    private const string Catalog = """
        {
          "fallback_plan": "free",
          "features": {
            "jobs":    { "name": "jobs", "type": "metered", "meter": { "unit": "job" }, "mode": "overage", "unit_price": "0.50" },
            "calls":   { "name": "calls", "type": "metered", "meter": { "unit": "call", "window": "day" }, "mode": "overage", "unit_price": "0.001" },
            "mails":   { "name": "mails", "type": "metered", "meter": { "unit": "mail" }, "mode": "overage",
                         "tiers": [{ "up_to": 10, "unit_price": "0.10" }, { "up_to": 20, "unit_price": "0.05" }, { "unit_price": "0.01" }] },
            "renders": { "name": "renders", "type": "metered", "meter": { "unit": "render" }, "mode": "tokens_then_overage", "unit_price": "1" },
            "storage": { "name": "GB", "type": "metered", "meter": { "unit": "gb", "aggregation": "gauge" }, "mode": "overage", "unit_price": "2" },
            "export":  { "name": "exports", "type": "boolean" }
          },
          "plans": {
            "free": { "name": "Free", "features": { "jobs": 10, "calls": 0, "mails": 0, "renders": 0, "storage": 5 } },
            "year": { "name": "Year", "prices": [{ "interval": "year", "amount": 10000 }], "features": { "jobs": 0, "storage": 5 } }
          },
          "token_packages": { "pack": { "name": "Pack", "tokens": 100, "prices": [{ "amount": 1000 }] } }
        }
        """;

    public static SetSpendCaps Caps(long? organization = null, params (string Feature, long Amount)[] features) =>
        New(new SetSpendCaps(organization, features.ToDictionary(f => f.Feature, f => f.Amount)) { Id = "", ContentHash = [], At = default, By = "key_1" });

    private static Instant Time(string time) => Api.TestApi.Time(time);

    // ---- tiers, and when overage is billed

    [Fact]
    public void overage_goes_through_its_tiers_over_the_billing_period()
    {
        var spec = Opened(Catalog);

        Assert.Equal("0.10", Text(spec.When(Use("mails", 7))));
        Assert.Equal("3 at 0.10, 1 at 0.05", Text(spec.When(Use("mails", 4))));
        Assert.Equal("9 at 0.05, 100 at 0.01", Text(spec.When(Use("mails", 109))));
        Assert.Equal("0.01", Text(spec.When(Use("mails", 1))));
        Assert.Equal([new PricedUse(0.10m, 10), new PricedUse(0.05m, 10), new PricedUse(0.01m, 101)], spec.State.Use("mails")!.Running(Window.Period, spec.Now)!.Priced.AsEnumerable());
        Assert.Equal(251, SpendCaps.Charged(spec.State, Catalogs(Catalog), spec.Now));

        // A new period begins in the first tier.
        Assert.Equal("0.10", Text(spec.At("2026-12-01T00:00:00Z").When(Use("mails", 2))));

        static string Text(Spec spec) => spec.Then<UsageRecorded>() is var use && use.Tiers is null ? FormattableString.Invariant($"{use.UnitPrice}")
            : string.Join(", ", use.Tiers!.Select(t => FormattableString.Invariant($"{t.Units} at {t.UnitPrice}")));
    }

    [Fact]
    public void one_use_over_all_tiers_is_priced_as_many_small_ones()
    {
        var (one, many) = (Opened(Catalog).Given(Use("mails", 37)), Opened(Catalog));
        for (var i = 0; i < 37; i++) many.Given(Use("mails"));

        Assert.Equal(100 + 50 + 17, SpendCaps.Charged(one.State, Catalogs(Catalog), one.Now));
        Assert.Equal(100 + 50 + 17, SpendCaps.Charged(many.State, Catalogs(Catalog), many.Now));
    }

    [Fact]
    public void priced_overage_says_when_it_is_billed_and_nothing_else_does()
    {
        var spec = Opened(Catalog);

        Assert.Null(spec.When(Use("jobs", 10)).Then<UsageRecorded>().BilledAt);
        Assert.Null(spec.State.Billing.BilledAt);
        Assert.Equal(Time("2026-12-01T00:00:00Z"), spec.When(Use("jobs")).Then<UsageRecorded>().BilledAt);
        Assert.Equal((Time("2026-12-01T00:00:00Z"), Time("2026-12-01T00:00:00Z")), (spec.State.Billing.BilledAt!.Value, spec.State.DueAt!.Value));
    }

    [Fact]
    public void overage_of_a_yearly_plan_is_billed_by_the_month()
    {
        var start = Time("2026-11-10T00:00:00Z");
        var spec = Opened(Catalog).Given(Follow(new Subscription("sub_1", "year", 1, SubscriptionStatus.Active, BillingInterval.Year, start, start, Time("2027-11-10T00:00:00Z"),
            start, null, false, null, null, null, "cus_1", new SnapshotOrder(start, SnapshotRank.Created, "evt_1"))));

        Assert.Equal(Time("2026-12-10T00:00:00Z"), spec.When(Use("jobs")).Then<UsageRecorded>().BilledAt);
        var gauge = spec.When(Gauge("storage", 7)).Then<UsageRecorded>();
        Assert.Equal((Time("2026-12-10T00:00:00Z"), Time("2026-12-10T00:00:00Z")), (gauge.BilledAt!.Value, gauge.Windows!.Single().End));
        Assert.Equal((true, Time("2026-12-10T00:00:00Z")), (spec.State.Use("storage")!.Gauge!.Billed, spec.State.Use("storage")!.Gauge!.PeakUntil));
    }

    [Fact]
    public void a_gauge_within_its_allowance_is_not_billed()
    {
        var spec = Opened(Catalog).Given(Gauge("storage", 5));
        Assert.False(spec.State.Use("storage")!.Gauge!.Billed);

        spec.Given(Gauge("storage", 6), Gauge("storage", 1));
        Assert.Equal((true, 6L), (spec.State.Use("storage")!.Gauge!.Billed, spec.State.Use("storage")!.Gauge!.Peak));
    }

    // ---- caps

    [Fact]
    public void a_features_cap_refuses_what_would_cost_more_until_the_period_ends()
    {
        var spec = Opened(Catalog).Given(Caps(null, ("jobs", 250)), Use("jobs", 13)).When(Use("jobs", 3));

        var denial = spec.ThenRejected(RejectionKind.SpendCapReached).Denial!;
        Assert.Equal((402, Time("2026-12-01T00:00:00Z")), (denial.Status, denial.ResetsAt!.Value));
        Assert.Equal("This would cost more than the 2.50 USD that you allow for jobs in this billing period. Raise the spend cap to go on.", denial.Message);
        Assert.Equal(RejectionKind.SpendCapReached, spec.Check("jobs", 3).Denial!.Kind);
        // All or nothing: two of them fit, exactly.
        spec.Given(Use("jobs", 2)).When(Use("jobs")).ThenRejected(RejectionKind.SpendCapReached);
        spec.Given(Use("mails", 50)).At("2026-12-01T00:00:00Z").Given(Use("jobs", 15));
    }

    [Fact]
    public void the_organizations_cap_counts_every_feature_as_its_own_line()
    {
        var spec = Opened(Catalog).Given(Caps(500), Use("jobs", 12), Use("mails", 10), Use("calls", 1004), Gauge("storage", 6));

        // 1.00 + 1.00 + 1.004 rounded to 1.00 + 2.00 is 5.00: a thousandth of a dollar is past it only when it rounds up.
        Assert.Equal(500, SpendCaps.Charged(spec.State, Catalogs(Catalog), spec.Now));
        var denial = spec.When(Use("jobs")).ThenRejected(RejectionKind.SpendCapReached).Denial!;
        Assert.Equal("This would cost more than the 5.00 USD that you allow for overage in this billing period. Raise the spend cap to go on.", denial.Message);
        spec.When(Use("calls")).ThenRejected(RejectionKind.SpendCapReached);
        spec.When(Gauge("storage", 7)).ThenRejected(RejectionKind.SpendCapReached);
    }

    [Fact]
    public void a_fraction_of_a_cent_is_past_the_cap_when_it_rounds_up()
    {
        var spec = Opened(Catalog).Given(Caps(null, ("calls", 100)), Use("calls", 1000), Use("calls", 4));

        spec.When(Use("calls")).ThenRejected(RejectionKind.SpendCapReached);
    }

    [Fact]
    public void what_costs_nothing_more_is_past_no_cap()
    {
        var spec = Opened(Catalog).Given(Gauge("storage", 9), Gauge("storage", 4), Caps(0), Gauge("storage", 8), Use("jobs", 10));

        spec.When(Gauge("storage", 10)).ThenRejected(RejectionKind.SpendCapReached);
        spec.When(Use("jobs")).ThenRejected(RejectionKind.SpendCapReached);
    }

    [Fact]
    public void use_that_already_happened_is_recorded_past_a_cap()
    {
        var spec = Opened(Catalog).Given(Caps(100)).When(Use("jobs", 100, enforce: false));

        Assert.Equal((90L, 0.50m, false), (spec.Then<UsageRecorded>().Overage, spec.Then<UsageRecorded>().UnitPrice!.Value, spec.Then<UsageRecorded>().OverLimit));
        spec.When(Use("mails")).ThenRejected(RejectionKind.SpendCapReached);
    }

    [Fact]
    public void tokens_go_past_a_cap_that_money_does_not()
    {
        var spec = Opened(Catalog).Given(Caps(100), Use("renders"), Grant(5)).When(Use("renders", 6));

        Assert.Equal(["pack"], spec.ThenRejected(RejectionKind.SpendCapReached).Denial!.TokenPackages.AsEnumerable());
        spec.Given(Use("renders", 5));
    }

    [Fact]
    public void a_hold_reserves_of_the_cap_and_what_is_held_is_settled_past_it()
    {
        var spec = Opened(Catalog).Given(Caps(200), Place("jobs", 12));

        spec.When(Use("mails", 11)).ThenRejected(RejectionKind.SpendCapReached);
        spec.When(Place("jobs", 3)).ThenRejected(RejectionKind.SpendCapReached);
        spec.When(Settle("ho_3", 15)).ThenRejected(RejectionKind.SpendCapReached);
        spec.Given(Caps(50), Settle("ho_3", 12));
        Assert.Equal(100, SpendCaps.Charged(spec.State, Catalogs(Catalog), spec.Now));
    }

    [Fact]
    public void caps_are_set_as_a_whole_and_the_same_again_writes_nothing()
    {
        var spec = Opened(Catalog).When(Caps(500, ("mails", 100), ("jobs", 0)));
        spec.Then(new SpendCapsSet(500, [new FeatureCap("jobs", 0), new FeatureCap("mails", 100)], "key_1"));

        spec.When(Caps(500, ("jobs", 0), ("mails", 100))).ThenNothing();
        spec.When(Caps(null, ("jobs", 700))).Then(new SpendCapsSet(null, [new FeatureCap("jobs", 700)], "key_1"));
        spec.When(Caps()).Then(new SpendCapsSet(null, null, "key_1"));
        spec.When(Caps(1, ("export", 1), ("nothing", 1))).ThenRejected(RejectionKind.FeatureUnknown);
        spec.When(Caps(1, ("export", 1))).ThenRejected(RejectionKind.FeatureNotMetered);
    }

    [Fact]
    public void an_explanation_names_the_cap_with_what_is_charged()
    {
        var spec = Opened(Catalog).Given(Caps(500, ("jobs", 100)), Use("jobs", 11));
        var why = new Explanation();
        Entitlements.Evaluate(spec.State, Catalogs(Catalog), Catalogs(Catalog).Feature("jobs")!, 2, spec.Now, why: why);

        var step = why.Steps.Single(s => s.Rule == "spend_cap");
        Assert.Equal(("reached", 100L, 50L, 150L), (step.Outcome, step.Numbers["cap"], step.Numbers["charged"], step.Numbers["with_this"]));
        Assert.Equal(("decision", "denied"), (why.Steps[^1].Rule, why.Steps[^1].Outcome));
    }
}
