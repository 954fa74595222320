using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;

namespace Billing.Tests.Ledger;

public sealed class WhatIfTests
{
    private const string Catalog = """
        {
          "fallback_plan": "free",
          "features": {
            "jobs":    { "name": "jobs", "type": "metered", "meter": { "unit": "job", "window": "month" }, "mode": "overage", "unit_price": "0.5" },
            "calls":   { "name": "calls", "type": "metered", "meter": { "unit": "call", "window": "day" }, "mode": "tokens" },
            "storage": { "name": "GB of storage", "type": "metered", "meter": { "unit": "GB", "decimals": 3, "aggregation": "gauge" }, "mode": "overage", "unit_price": "0.1" }
          },
          "plans": {
            "free": { "name": "Free", "features": { "jobs": { "allowance": 10, "mode": "block" }, "calls": 3, "storage": { "allowance": 1, "mode": "block" } } },
            "pro":  { "name": "Pro", "trial_days": 7, "prices": [{ "interval": "month", "amount": 2900 }, { "interval": "year", "amount": 29000 }], "features": { "jobs": 100, "calls": 5, "storage": 50 } },
            "max":  { "name": "Max", "prices": [{ "interval": "month", "amount": 9900 }], "features": { "jobs": 1000, "calls": 50, "storage": 500 } }
          },
          "token_packages": { "small": { "name": "Small", "tokens": 1000, "prices": [{ "amount": 500 }] } }
        }
        """;

    private static readonly Instant End = Instant.FromUtc(2030, 1, 1, 0, 0);

    private static StartSubscription Start(string plan, bool? trial = false) =>
        New(new StartSubscription(plan, BillingInterval.Month, null, trial, true, null) { Id = "", ContentHash = [], At = default, By = "key_1" });

    private static WhatIfResult Try(Spec spec, string catalog, Instant? from = null, Instant? to = null)
    {
        var whatIf = new WhatIf("acme", Catalogs(Catalog), Catalogs(catalog).Current, from ?? Instant.MinValue, to ?? End);
        foreach (var e in spec.Events) whatIf.Take(e);
        return whatIf.Result(spec.Now);
    }

    private static Spec AMonth() => Opened(Catalog, at: "2026-11-01T00:00:00Z")
        .Given(Start("pro"))
        .At("2026-11-10T00:00:00Z").Given(Use("jobs", 145), Gauge("storage", 62.5m), Grant(100))
        .At("2026-11-11T00:00:00Z").Given(Use("calls", 9))
        .At("2026-12-01T00:00:00Z").Given(Due());

    [Fact]
    public void under_the_same_catalog_everything_comes_to_the_same()
    {
        var result = Try(AMonth(), Catalog);

        // The base of two months, 45 jobs and 12.5 GB more, which December has already too, and four tokens.
        Assert.Equal(new Outcome(2 * 2900, 2250 + 125 + 125, 4, 3, 0), result.Then);
        Assert.Equal(result.Then, result.Now);
        Assert.Empty(result.Denied);
        Assert.Empty(result.Problems);
    }

    [Fact]
    public void other_prices_and_allowances_charge_something_else()
    {
        var result = Try(AMonth(), Catalog.Replace("\"amount\": 2900 }", "\"amount\": 3900 }").Replace("\"jobs\": 100,", "\"jobs\": 145,").Replace("\"0.1\"", "\"0.2\""));

        Assert.Equal((2 * 2900L, 2500L), (result.Then.Base, result.Then.Overage));
        Assert.Equal((2 * 3900L, 500L), (result.Now.Base, result.Now.Overage));
        Assert.Equal(8300, result.Now.Charges);
    }

    [Fact]
    public void a_stricter_catalog_names_who_would_have_been_refused_and_when()
    {
        var result = Try(AMonth(), Catalog.Replace("\"jobs\": 100,", "\"jobs\": { \"allowance\": 100, \"mode\": \"block\" },"));

        var denied = Assert.Single(result.Denied);
        Assert.Equal(new WouldBeDenied(Instant.FromUtc(2026, 11, 10, 0, 0), "jobs", 145, "quota_exceeded"), denied);
        Assert.Equal((3L, 2L), (result.Then.Recorded, result.Now.Recorded));
        Assert.Equal(250, result.Now.Overage);
    }

    [Fact]
    public void another_allowance_burns_other_tokens()
    {
        var result = Try(AMonth(), Catalog.Replace("\"calls\": 5,", "\"calls\": 2,"));

        Assert.Equal((4L, 7L), (result.Then.TokensBurned, result.Now.TokensBurned));
    }

    [Fact]
    public void only_what_happened_between_two_times_is_counted()
    {
        var result = Try(AMonth(), Catalog, Instant.FromUtc(2026, 11, 11, 0, 0), Instant.FromUtc(2026, 11, 30, 0, 0));

        // What is not billed yet at the end counts; the base was charged before.
        Assert.Equal((0L, 4L, 1L), (result.Now.Base, result.Now.TokensBurned, result.Now.Recorded));
        Assert.Equal(result.Then, result.Now);
    }

    [Fact]
    public void a_test_organizations_clock_may_be_ahead_of_everybodys()
    {
        var spec = new Spec(Catalogs(Catalog)).At("2026-11-01T00:00:00Z").Given(New(new OpenOrganization("UTC", true, null) { Id = "", ContentHash = [], At = default }))
            .Given(Start("pro")).Given(Use("jobs", 145))
            .Given(New(new AdvanceClock(December) { Id = "", ContentHash = [], At = default })).Given(Use("jobs", 110));
        var result = Try(spec, Catalog);

        Assert.Equal((2 * 2900L, 2250L + 500L), (result.Then.Base, result.Then.Overage));
        Assert.Equal(result.Then, result.Now);
    }

    private static readonly Instant December = Instant.FromUtc(2026, 12, 2, 0, 0);

    [Fact]
    public void a_plan_or_feature_that_the_other_catalog_lacks_is_named()
    {
        var without = Catalog.Replace("\"pro\":", "\"basic\":").Replace("\"calls\":   {", "\"other\":   {").Replace("\"calls\": 3, ", "").Replace("\"calls\": 5, ", "").Replace("\"calls\": 50, ", "");
        var result = Try(AMonth(), without);

        Assert.Contains("The plan 'pro' is not there.", result.Problems);
        Assert.Contains("The feature 'calls' is not metered there.", result.Problems);
        Assert.Equal(0, result.Now.Base);
        Assert.Equal(["jobs", "storage"], result.Denied.Select(d => d.Feature));
    }

    /// <summary>WHATIF_SEED=n runs one seed.</summary>
    [Fact]
    public void random_histories_come_to_the_same_under_their_own_catalog()
    {
        var only = Environment.GetEnvironmentVariable("WHATIF_SEED");
        foreach (var seed in only is null ? Enumerable.Range(1, 200) : [int.Parse(only)])
        {
            var spec = Random(new Random(seed));
            var result = Try(spec, Catalog);

            Assert.True(result.Then == result.Now && result.Denied.IsEmpty && result.Problems.IsEmpty,
                $"WHATIF_SEED={seed}: then {result.Then}, now {result.Now}, {string.Join(" ", result.Denied)} {string.Join(" ", result.Problems)}");
        }
    }

    private static Spec Random(Random random)
    {
        var spec = Opened(Catalog, at: "2026-01-15T10:00:00Z");
        for (var step = 0; step < 60; step++)
        {
            spec.After(Duration.FromHours(random.Next(0, 100)));
            spec.When(random.Next(14) switch
            {
                0 => Start(random.Next(2) == 0 ? "pro" : "max", random.Next(3) == 0 ? null : false),
                1 => New(new ChangeSubscription(random.Next(2) == 0 ? "pro" : "max", null, random.Next(3) switch { 0 => ChangeTime.Now, 1 => ChangeTime.PeriodEnd, _ => null },
                    ProrationMode.NextInvoice, null) { Id = "", ContentHash = [], At = default, By = "key_1" }),
                2 => New(new CancelSubscription(random.Next(2) == 0 ? ChangeTime.Now : ChangeTime.PeriodEnd, false, null) { Id = "", ContentHash = [], At = default, By = "key_1" }),
                3 => New(new ReactivateSubscription(null) { Id = "", ContentHash = [], At = default, By = "key_1" }),
                4 => Grant(random.Next(1, 50), expires: random.Next(2) == 0 ? spec.Now + Duration.FromDays(random.Next(1, 40)) : null),
                5 => Buy("small", $"pi_{step}", 500, spec.Now),
                6 => Return($"pi_{random.Next(60)}", random.Next(600)),
                7 => Gauge("storage", random.Next(0, 80)),
                8 or 9 => Use("calls", random.Next(1, 9)),
                10 when spec.Events.OfType<UsageRecorded>().LastOrDefault() is { } record =>
                    New(new VoidUsage(record, null) { Id = "", ContentHash = [], At = default, By = "key_1" }),
                11 => Use("jobs", random.Next(1, 200), enforce: false),
                _ => Use("jobs", random.Next(1, 60)),
            });
        }
        return spec;
    }
}
