using Billing.Ledger;
using static Billing.Tests.Ledger.Spec;
using static Billing.Tests.Ledger.Subscribing;

namespace Billing.Tests.Ledger;

/// <summary>What a change of plan gives of an allowance: never a second one within the same window.</summary>
public sealed class AllowanceOnUpgradeTests
{
    private const string Full = """
        {
          "fallback_plan": "free",
          "features": { "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call" } }, "jobs": { "name": "jobs", "type": "metered", "meter": { "unit": "job", "window": "period" } } },
          "plans": {
            "free": { "name": "Free", "features": { "calls": 100, "jobs": 0 } },
            "pro":  { "name": "Pro", "prices": [{ "interval": "month", "amount": 3000 }, { "interval": "year", "amount": 30000 }], "features": { "calls": 1000, "jobs": 50 } },
            "max":  { "name": "Max", "prices": [{ "interval": "month", "amount": 9000 }, { "interval": "year", "amount": 90000 }], "features": { "calls": 10000, "jobs": 500 } }
          }
        }
        """;

    private static readonly string Prorated = Full.Replace("\"fallback_plan\"", "\"allowance_on_upgrade\": \"prorated\", \"fallback_plan\"", StringComparison.Ordinal);

    [Fact]
    public void an_upgrade_late_in_the_period_after_using_everything_up_gives_only_the_prorated_rest()
    {
        // Three of thirty days are left: 1000 + 9000 × 3/30.
        var spec = Opened(Prorated, at: "2026-11-01T00:00:00Z").Given(Start("pro"), Use("calls", 1000), Use("jobs", 50)).At("2026-11-28T00:00:00Z").Given(Change("max"));

        Assert.Equal((1900L, 900L), (spec.Check("calls").Limit, spec.Check("calls").Remaining));
        Assert.Equal((95L, 45L), (spec.Check("jobs").Limit, spec.Check("jobs").Remaining));
        spec.Given(Use("calls", 900)).When(Use("calls")).ThenRejected(RejectionKind.QuotaExceeded);
        // Down and up again, or away and back, gains nothing.
        spec.Given(Change("pro", when: ChangeTime.Now), Change("max"));
        Assert.Equal((1900L, 0L), (spec.Check("calls").Limit, spec.Check("calls").Remaining));
        spec.At("2026-12-01T00:00:00Z").Given(Turn());
        Assert.Equal((10000L, 10000L), (spec.Check("calls").Limit, spec.Check("calls").Remaining));
        Assert.Equal(500, spec.Check("jobs").Limit);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void cancelling_and_subscribing_again_does_not_reset_an_allowance_inside_the_same_window(bool isProrated)
    {
        var spec = Opened(isProrated ? Prorated : Full, at: "2026-11-05T00:00:00Z").Given(Start("pro"), Use("calls", 1000), Use("jobs", 50))
            .At("2026-11-15T00:00:00Z").Given(Cancel(ChangeTime.Now));
        Assert.Equal((100L, 1000L), (spec.Check("calls").Limit, spec.Check("calls").Used));

        spec.Given(Start("pro"));

        foreach (var (feature, used) in ((string, long)[])[("calls", 1000), ("jobs", 50)])
        {
            Assert.Equal((used, 0L), (spec.Check(feature).Used, spec.Check(feature).Remaining));
            spec.When(Use(feature)).ThenRejected(RejectionKind.QuotaExceeded);
        }
        // Nor do a pause, another interval, or all of it at once.
        spec.At("2026-11-20T00:00:00Z").Given(Pause(), Resume(), Change("pro", BillingInterval.Year), Cancel(ChangeTime.Now), Start("pro"));
        Assert.Equal((1000L, 0L), (spec.Check("calls").Used, spec.Check("calls").Remaining));
        Assert.Equal(0, spec.At("2026-12-20T00:00:00Z").Check("calls").Used);
    }

    [Fact]
    public void with_the_full_allowance_an_upgrade_gives_all_of_the_new_one_less_what_was_used()
    {
        var spec = Opened(Full, at: "2026-11-01T00:00:00Z").Given(Start("pro"), Use("calls", 1000)).At("2026-11-28T00:00:00Z").Given(Change("max"));

        Assert.Equal((10000L, 9000L), (spec.Check("calls").Limit, spec.Check("calls").Remaining));
    }

    [Fact]
    public void what_comes_back_by_itself_is_no_upgrade()
    {
        // Paid late: the plan is in force again with all that it had.
        var spec = Opened(Prorated, at: "2026-11-01T00:00:00Z").Given(Start("pro"), Use("calls", 1000), Change("max"));
        spec.At("2026-11-10T00:00:00Z").Given(Attempt(spec.State.Billing.Invoices[0].Id, false, spec.Now)).At("2026-11-20T00:00:00Z").Given(Turn());
        Assert.Equal(100, spec.Check("calls").Limit);

        spec.Given(Attempt(spec.State.Billing.Invoices[0].Id, true, spec.Now));

        Assert.Equal(10000, spec.Check("calls").Limit);
    }
}
