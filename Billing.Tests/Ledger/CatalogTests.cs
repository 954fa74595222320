using System.Text;
using Billing.Ledger;
using static Billing.Tests.Ledger.TestCatalog;

namespace Billing.Tests.Ledger;

/// <summary>What the reader makes of a catalog, and what it refuses. The samples' numbers are in SampleCatalogTests.</summary>
public class CatalogTests
{
    // ---- reading

    [Fact]
    public void every_field_arrives_where_it_belongs()
    {
        var catalog = Good(Full);
        Assert.Equal((0, "usd", "free", 5), (catalog.Version, catalog.Currency, catalog.FallbackPlan, catalog.GraceDays));
        Assert.Equal(AllowanceOnUpgrade.Prorated, catalog.AllowanceOnUpgrade);
        Assert.Equal((new TaxTerms("Sales tax", 7.25m, true), 30, 500L), (catalog.Tax!, catalog.InvoiceDueDays, catalog.TokensLow!.Value));
        Assert.Equal(["jobs", "mails", "seats", "sso", "region"], catalog.Features.Select(f => f.Id));
        Assert.Equal(["free", "pro"], catalog.Plans.Select(p => p.Id));

        var jobs = catalog.Feature("jobs")!;
        Assert.Equal(("jobs", FeatureType.Metered, 3L), (jobs.Name, jobs.Type, jobs.TokenCost));
        Assert.Equal(new Meter("job", 2, Aggregation.Sum, Window.Day), jobs.Meter);
        Assert.Equal(new Meter("seat", 0, Aggregation.Gauge, Window.Lifetime), catalog.Feature("seats")!.Meter);
        Assert.Null(catalog.Feature("sso")!.Meter);

        Assert.Equal([90], jobs.WarnAt.AsEnumerable());
        Assert.Equal([50, 100], catalog.Feature("seats")!.WarnAt.AsEnumerable());

        var pro = catalog.Plan("pro")!;
        Assert.Equal("acme", pro.CustomFor);
        Assert.Equal([new PriceTier(1_000, 0.01m), new PriceTier(null, 0.005m)], catalog.Plan("free")!.Features["mails"].Tiers.AsEnumerable());
        Assert.Equal([new PriceTier(null, 0.02m)], pro.Features["mails"].Tiers.AsEnumerable());
        Assert.Equal(("Pro", "More of everything.", true), (pro.Name, pro.Description, pro.InviteOnly));
        Assert.Equal((7, true), (pro.TrialDays!.Value, pro.TrialNeedsPaymentMethod));
        Assert.Equal(
            [
                new Price(BillingInterval.Month, new Money(900, "usd"), "pro-month", null),
                new Price(BillingInterval.Year, new Money(9000, "eur"), "pro-yearly", "price_1"),
            ],
            pro.Prices.AsEnumerable());

        var given = pro.Features["jobs"];
        Assert.Equal((1250L, Window.Hour, 403), (given.Allowance!.Value, given.Window, given.DenyStatus));
        Assert.Equal((LimitMode.Overage, 0.25m), (given.Mode, given.UnitPrice!.Value));
        Assert.Equal([new RateLimit(150, Window.Month)], given.RateLimits.AsEnumerable());
        Assert.Same(jobs, given.Feature);
        var seats = pro.Features["seats"];
        Assert.Equal((3L, LimitMode.Block, 402, true), (seats.Allowance!.Value, seats.Mode, seats.DenyStatus, seats.IsGauge));
        Assert.True(pro.Features["sso"].On);
        Assert.Equal("eu", pro.Features["region"].Value);

        var package = Assert.Single(catalog.TokenPackages);
        Assert.Equal(("small", "Small", 1000L, "price_2"), (package.Id, package.Name, package.Tokens, package.PriceId));
        Assert.Equal([new Money(500, "eur")], package.Prices.AsEnumerable());
    }

    [Fact]
    public void what_is_left_out_has_the_documented_defaults()
    {
        var catalog = Good(
            """
            { "features": { "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call" } } },
              "plans": { "only": { "name": "Only", "features": { "calls": 5 } } } }
            """);
        Assert.Equal(("usd", null, 3), (catalog.Currency, catalog.FallbackPlan, catalog.GraceDays));
        Assert.Equal(AllowanceOnUpgrade.Full, catalog.AllowanceOnUpgrade);
        Assert.Equal(new Meter("call", 0, Aggregation.Sum, Window.Month), catalog.Feature("calls")!.Meter);
        Assert.Equal(1, catalog.Feature("calls")!.TokenCost);
        var plan = catalog.Plan("only")!;
        Assert.Equal((null, null, false, false), (plan.Description, plan.TrialDays, plan.TrialNeedsPaymentMethod, plan.InviteOnly));
        Assert.Empty(plan.Prices);
        var calls = plan.Features["calls"];
        Assert.Equal((5L, Window.Month, 402), (calls.Allowance!.Value, calls.Window, calls.DenyStatus));
        Assert.Equal((LimitMode.Block, null), (calls.Mode, calls.UnitPrice));
        Assert.Empty(calls.RateLimits);
        Assert.Empty(catalog.TokenPackages);
    }

    [Fact]
    public void a_plan_inherits_mode_unit_price_deny_status_and_window_from_its_feature()
    {
        var given = Good(With("plans/pro/features/jobs", "10")).Plan("pro")!.Features["jobs"];
        Assert.Equal((1000L, Window.Day, 429), (given.Allowance!.Value, given.Window, given.DenyStatus));
        Assert.Equal((LimitMode.TokensThenOverage, 0.001m), (given.Mode, given.UnitPrice!.Value));
        Assert.True(given.BurnsTokens && given.PricesOverage && !given.IsGauge);
    }

    [Theory]
    [InlineData("\"unlimited\"", null)]
    [InlineData("""{ "allowance": "unlimited" }""", null)]
    [InlineData("0", 0L)]
    [InlineData("10000", 1_000_000L)]
    [InlineData("0.01", 1L)]
    [InlineData("""{ "allowance": 0.01 }""", 1L)]
    [InlineData("1e2", 10_000L)]
    [InlineData("10000000000000", 1_000_000_000_000_000L)]
    public void an_allowance_is_a_quantity_or_unlimited_short_or_long(string json, long? units) =>
        Assert.Equal(units, Good(With("plans/pro/features/jobs", json)).Plan("pro")!.Features["jobs"].Allowance);

    [Theory]
    [InlineData("\"eu\"", "eu")]
    [InlineData("\"\"", "")]
    [InlineData("12", "12")]
    [InlineData("-1.50", "-1.50")]
    public void a_static_feature_is_a_text_or_a_number(string json, string value)
    {
        var given = Good(With("plans/pro/features/region", json)).Plan("pro")!.Features["region"];
        Assert.Equal((true, value), (given.On, given.Value));
    }

    [Fact]
    public void a_boolean_feature_that_is_false_is_off() =>
        Assert.False(Good(With("plans/pro/features/sso", "false")).Plan("pro")!.Features["sso"].On);

    [Fact]
    public void lookup_keys_are_plan_and_interval_with_the_currency_appended_for_others()
    {
        var prices = """
            [{ "interval": "month", "amount": 1 }, { "interval": "quarter", "amount": 2 },
             { "interval": "year", "currency": "usd", "amount": 3 }, { "interval": "year", "currency": "eur", "amount": 4 },
             { "interval": "month", "currency": "jpy", "amount": 5 }]
            """;
        Assert.Equal(
            ["pro-month", "pro-quarter", "pro-year", "pro-year-eur", "pro-month-jpy"],
            Good(With("plans/pro/prices", prices)).Plan("pro")!.Prices.Select(p => p.LookupKey));

        // What is "other" is the catalog's choice.
        var inEuro = Full.Replace("\"currency\": \"usd\"", "\"currency\": \"eur\"", StringComparison.Ordinal);
        prices = """[{ "interval": "year", "amount": 1 }, { "interval": "year", "currency": "usd", "amount": 2 }]""";
        Assert.Equal(
            ["pro-year", "pro-year-usd"],
            Good(With("plans/pro/prices", prices, inEuro)).Plan("pro")!.Prices.Select(p => p.LookupKey));
    }

    [Theory]
    [InlineData(14, 3)]
    [InlineData(30, 0)]
    public void default_days_are_the_environments(int trialDays, int graceDays)
    {
        var json = With("plans/pro/trial_days", "\"default\"", With("grace_days", "\"default\""));
        var catalog = Good(json, new CatalogDefaults(trialDays, graceDays));
        Assert.Equal((trialDays, graceDays), (catalog.Plan("pro")!.TrialDays!.Value, catalog.GraceDays));
        Assert.Null(catalog.Plan("free")!.TrialDays);

        // What the catalog says itself stands.
        catalog = Good(Full, new CatalogDefaults(trialDays, graceDays));
        Assert.Equal((7, 5), (catalog.Plan("pro")!.TrialDays!.Value, catalog.GraceDays));
    }

    [Fact]
    public void without_an_environment_a_trial_has_14_days_and_the_grace_3()
    {
        var catalog = Good(With("plans/pro/trial_days", "\"default\"", With("grace_days", "\"default\"")));
        Assert.Equal((14, 3), (catalog.Plan("pro")!.TrialDays!.Value, catalog.GraceDays));
    }

    [Fact]
    public void a_feature_is_counted_in_every_window_that_some_plan_limits_and_in_the_billing_period()
    {
        // The meter's day, the plan's hour, the rate's month, and the period for the invoice.
        Assert.Equal([Window.Hour, Window.Day, Window.Month, Window.Period], Counted(Full));
        Assert.Equal([Window.Day, Window.Period], Counted(With("plans/pro/features/jobs", "1")));
        var onceForLife = """{ "allowance": 1, "window": "lifetime" }""";
        Assert.Equal([Window.Day, Window.Period, Window.Lifetime], Counted(With("plans/pro/features/jobs", onceForLife)));
        // The plan's view of the feature is the same.
        Assert.Equal(4, Good(Full).Plan("pro")!.Features["jobs"].Feature.CountedWindows.Length);
        // A gauge is a level and no count.
        Assert.Empty(Good(Full).Feature("seats")!.CountedWindows);
        Assert.Empty(Good(Full).Feature("sso")!.CountedWindows);

        static IEnumerable<Window> Counted(string json) => Good(json).Feature("jobs")!.CountedWindows;
    }

    [Fact]
    public void comments_trailing_commas_and_a_byte_order_mark_are_allowed_because_people_edit_catalogs()
    {
        var json = """
            { // What we sell.
              "features": {}, "plans": { "only": { "name": "Only" }, }, /* Nothing else. */
            }
            """;
        var (catalog, problems) = CatalogReader.Read([0xEF, 0xBB, 0xBF, .. Encoding.UTF8.GetBytes(json)]);
        Assert.Empty(problems);
        Assert.Equal("Only", catalog!.Plan("only")!.Name);
    }

    // ---- refusing

    /// <summary>One mistake each: where it is made, what is written there, where it is found, and a part of what is said of it.</summary>
    [Theory]
    [InlineData("currency", "\"USD\"", "$.currency", "'USD' is no currency: write the ISO 4217 code in lower case, such as usd.")]
    [InlineData("currency", "\"us\"", "$.currency", "is no currency")]
    [InlineData("currency", "\"usdt\"", "$.currency", "is no currency")]
    [InlineData("currency", "840", "$.currency", "A text of 1 to 500 characters is expected")]
    [InlineData("fallback_plan", "\"basic\"", "$.fallback_plan", "There is no plan 'basic'.")]
    [InlineData("grace_days", "-1", "$.grace_days", "from 0 to 730, or \"default\"")]
    [InlineData("grace_days", "\"three\"", "$.grace_days", "from 0 to 730, or \"default\"")]
    [InlineData("grace_days", "1.5", "$.grace_days", "from 0 to 730, or \"default\"")]
    [InlineData("on_journal_outage", "\"guess\"", "$.on_journal_outage", "guess is unknown. Known: answer, deny.")]
    [InlineData("allowance_on_upgrade", "\"half\"", "$.allowance_on_upgrade", "half is unknown. Known: full, prorated.")]
    [InlineData("tax/rate", "8", "$.tax.rate", "A rate is a text")]
    [InlineData("tax/rate", "\"100.5\"", "$.tax.rate", "A rate is a text")]
    [InlineData("tax/rate", "\"7.12345\"", "$.tax.rate", "A rate is a text")]
    [InlineData("warn_at", "[95, 80]", "$.warn_at[1]", "Write at most 10 whole per cents")]
    [InlineData("features/jobs/warn_at", "[0]", "$.features.jobs.warn_at[0]", "Write at most 10 whole per cents")]
    [InlineData("features/mails/tiers", "[{ \"up_to\": 5, \"unit_price\": \"1\" }]", "$.features.mails.tiers", "The last tier is without up_to")]
    [InlineData("features/mails/tiers", "[{ \"up_to\": 5, \"unit_price\": \"1\" }, { \"up_to\": 5, \"unit_price\": \"1\" }, { \"unit_price\": \"1\" }]", "$.features.mails.tiers[1].up_to", "Each tier goes further")]
    [InlineData("plans/pro/custom_for", "\"a b\"", "$.plans.pro.custom_for", "An organization id matches")]
    [InlineData("taxes", "{}", "$.taxes", "Unknown field. Known here: $schema, currency,")]
    [InlineData("token_packages", "7", "$.token_packages", "An object is expected here.")]
    // Features.
    [InlineData("features/Jobs", """{ "name": "jobs", "type": "boolean" }""",
        "$.features.Jobs", "'Jobs' is no id: it must match ^[a-z][a-z0-9_-]{0,63}$.")]
    [InlineData("features/1job", """{ "name": "jobs", "type": "boolean" }""", "$.features.1job", "is no id")]
    [InlineData("features/a b", """{ "name": "jobs", "type": "boolean" }""", "$.features.a b", "is no id")]
    [InlineData("features/new", """{ "type": "boolean" }""", "$.features.new.name", "This text is missing.")]
    [InlineData("features/new", """{ "name": "new" }""", "$.features.new.type", "This is missing. Known: boolean, static, metered.")]
    [InlineData("features/jobs/type", "\"meterd\"", "$.features.jobs.type", "meterd is unknown. Known: boolean, static, metered.")]
    [InlineData("features/new", """{ "name": "new", "type": "metered" }""", "$.features.new.meter", "An object is expected here.")]
    [InlineData("features/sso/meter", """{ "unit": "login" }""", "$.features.sso.meter", "Unknown field. Known here: name, type.")]
    [InlineData("features/jobs/name", "\"\"", "$.features.jobs.name", "A text of 1 to 500 characters is expected")]
    [InlineData("features/jobs/meter", """{ "window": "day", "decimals": 2 }""", "$.features.jobs.meter.unit", "This text is missing.")]
    [InlineData("features/seats/meter/decimals", "10",
        "$.features.seats.meter.decimals", "A whole number from 0 to 9 is expected here, not 10.")]
    [InlineData("features/jobs/meter/aggregation", "\"max\"", "$.features.jobs.meter.aggregation", "max is unknown. Known: sum, gauge.")]
    [InlineData("features/jobs/meter/window", "\"week\"",
        "$.features.jobs.meter.window", "week is unknown. Known: hour, day, month, period, lifetime.")]
    [InlineData("features/seats/meter/window", "\"day\"", "$.features.seats.meter.window", "A gauge never resets and has no window.")]
    [InlineData("features/jobs/token_cost", "0", "$.features.jobs.token_cost", "A whole number from 1 to 1000000 is expected here, not 0.")]
    [InlineData("features/jobs/mode", "\"free\"",
        "$.features.jobs.mode", "free is unknown. Known: block, tokens, overage, tokens_then_overage, soft.")]
    [InlineData("features/jobs/unit_price", "0.5", "$.features.jobs.unit_price", "A unit price is a text such as \"0.001\"")]
    [InlineData("features/jobs/deny_status", "404", "$.features.jobs.deny_status", "A denial is answered with 402, 403 or 429.")]
    // A feature that no plan uses is read as closely.
    [InlineData("features/new", """{ "name": "n", "type": "metered", "meter": { "unit": "n" }, "mode": "free" }""",
        "$.features.new.mode", "free is unknown")]
    [InlineData("features/new", """{ "name": "n", "type": "metered", "meter": { "unit": "n" }, "unit_price": "x" }""",
        "$.features.new.unit_price", "A unit price")]
    [InlineData("features/new", """{ "name": "n", "type": "metered", "meter": { "unit": "n" }, "deny_status": 500 }""",
        "$.features.new.deny_status", "402, 403 or 429")]
    // Plans.
    [InlineData("plans/Pro", """{ "name": "Pro" }""", "$.plans.Pro", "'Pro' is no id")]
    [InlineData("plans/pro.eu", """{ "name": "Pro" }""", "$.plans.pro.eu", "'pro.eu' is no id")]
    [InlineData("plans/new", "{}", "$.plans.new.name", "This text is missing.")]
    [InlineData("plans/pro/trial_days", "731", "$.plans.pro.trial_days", "from 0 to 730, or \"default\"")]
    [InlineData("plans/pro/invite_only", "\"yes\"", "$.plans.pro.invite_only", "true or false is expected here.")]
    [InlineData("plans/pro/trial_requires_payment_method", "1",
        "$.plans.pro.trial_requires_payment_method", "true or false is expected here.")]
    [InlineData("plans/pro/colour", "\"red\"", "$.plans.pro.colour", "Unknown field. Known here: name, description, prices,")]
    [InlineData("plans/pro/prices", "{}", "$.plans.pro.prices", "A list is expected here, not object.")]
    // Prices.
    [InlineData("plans/pro/prices/0", """{ "amount": 900 }""",
        "$.plans.pro.prices[0].interval", "This is missing. Known: month, quarter, year.")]
    [InlineData("plans/pro/prices/0/interval", "\"weekly\"",
        "$.plans.pro.prices[0].interval", "weekly is unknown. Known: month, quarter, year.")]
    [InlineData("plans/pro/prices/1/currency", "\"EUR\"", "$.plans.pro.prices[1].currency", "'EUR' is no currency")]
    [InlineData("plans/pro/prices/0", """{ "interval": "month" }""",
        "$.plans.pro.prices[0].amount", "A whole number from 0 to 99999999 is missing.")]
    [InlineData("plans/pro/prices/0/amount", "9.99",
        "$.plans.pro.prices[0].amount", "A whole number from 0 to 99999999 is expected here, not 9.99.")]
    [InlineData("plans/pro/prices/0/amount", "-1", "$.plans.pro.prices[0].amount", "is expected here, not -1.")]
    [InlineData("plans/pro/prices/0/amount", "100000000", "$.plans.pro.prices[0].amount", "is expected here, not 100000000.")]
    [InlineData("plans/pro/prices/0/lookup_key", "\"pro-yearly\"", "$.plans.pro.prices", "The lookup key 'pro-yearly' stands twice.")]
    [InlineData("plans/pro/prices/-", """{ "interval": "month", "amount": 5 }""",
        "$.plans.pro.prices", "The lookup key 'pro-month' stands twice.")]
    [InlineData("plans/free/prices", """[{ "interval": "year", "amount": 0, "lookup_key": "pro-month" }]""",
        "$.plans.pro.prices", "'pro-month' stands twice.")]
    // What a plan gives.
    [InlineData("plans/pro/features/job", "1", "$.plans.pro.features.job", "There is no feature 'job' in $.features.")]
    [InlineData("plans/pro/features/sso", "1", "$.plans.pro.features.sso", "'sso' is a boolean feature: write true or false.")]
    [InlineData("plans/pro/features/sso", "\"true\"", "$.plans.pro.features.sso", "'sso' is a boolean feature: write true or false.")]
    [InlineData("plans/pro/features/region", "true",
        "$.plans.pro.features.region", "'region' is a static feature: write a text or a number.")]
    [InlineData("plans/pro/features/region", "{}",
        "$.plans.pro.features.region", "'region' is a static feature: write a text or a number.")]
    [InlineData("plans/pro/features/jobs", "true", "$.plans.pro.features.jobs", "Write a quantity of 0 or more, or \"unlimited\".")]
    [InlineData("plans/pro/features/jobs", "-1", "$.plans.pro.features.jobs", "Write a quantity of 0 or more")]
    [InlineData("plans/pro/features/jobs", "\"many\"", "$.plans.pro.features.jobs", "Write a quantity of 0 or more")]
    [InlineData("plans/pro/features/jobs", "1.005",
        "$.plans.pro.features.jobs", "1.005 is too precise: 'job' has at most 2 decimal places.")]
    [InlineData("plans/pro/features/seats", "1.5", "$.plans.pro.features.seats", "1.5 is too precise: 'seat' is counted in whole numbers.")]
    [InlineData("plans/pro/features/jobs/allowance", "1.005", "$.plans.pro.features.jobs.allowance", "1.005 is too precise")]
    [InlineData("plans/pro/features/jobs/allowance", "10000000000000.01",
        "$.plans.pro.features.jobs.allowance", "A quantity is at most 10000000000000.")]
    [InlineData("plans/pro/features/jobs", """{ "mode": "soft" }""",
        "$.plans.pro.features.jobs.allowance", "Say how much is included: a quantity, 0, or \"unlimited\".")]
    [InlineData("plans/pro/features/jobs/window", "\"week\"", "$.plans.pro.features.jobs.window", "week is unknown.")]
    [InlineData("plans/pro/features/jobs/mode", "\"overdraft\"", "$.plans.pro.features.jobs.mode", "overdraft is unknown.")]
    [InlineData("plans/pro/features/jobs/deny_status", "401",
        "$.plans.pro.features.jobs.deny_status", "A denial is answered with 402, 403 or 429.")]
    [InlineData("plans/pro/features/jobs/deny_status", "410",
        "$.plans.pro.features.jobs.deny_status", "A denial is answered with 402, 403 or 429.")]
    [InlineData("plans/pro/features/jobs/unit_price", "\"-1\"",
        "$.plans.pro.features.jobs.unit_price", "A unit price is a text such as \"0.001\"")]
    [InlineData("plans/pro/features/jobs/unit_price", "\"0.0000000000001\"", "$.plans.pro.features.jobs.unit_price", "at most 12 places")]
    [InlineData("plans/pro/features/seats", """{ "allowance": 1, "mode": "overage" }""",
        "$.plans.pro.features.seats.unit_price", "Overage needs a unit price or tiers, here or at the feature.")]
    [InlineData("plans/pro/features/seats", """{ "allowance": 1, "mode": "tokens" }""",
        "$.plans.pro.features.seats.mode", "A gauge burns no tokens: use block, overage or soft.")]
    [InlineData("plans/pro/features/seats", """{ "allowance": 1, "window": "day" }""",
        "$.plans.pro.features.seats.window", "A gauge never resets and has no window.")]
    [InlineData("plans/pro/features/seats", """{ "allowance": 1, "rate_limits": [] }""",
        "$.plans.pro.features.seats.rate_limits", "A gauge has no rate.")]
    [InlineData("plans/pro/features/jobs/rate_limits/0/window", "\"lifetime\"",
        "$.plans.pro.features.jobs.rate_limits[0].window", "A rate has a window that turns")]
    [InlineData("plans/pro/features/jobs/rate_limits/0/window", "\"minute\"",
        "$.plans.pro.features.jobs.rate_limits[0].window", "minute is unknown.")]
    [InlineData("plans/pro/features/jobs/rate_limits/0/limit", "\"unlimited\"",
        "$.plans.pro.features.jobs.rate_limits[0].limit", "leave the rate out")]
    [InlineData("plans/pro/features/jobs/rate_limits/0/limit", "1.001",
        "$.plans.pro.features.jobs.rate_limits[0].limit", "1.001 is too precise")]
    [InlineData("plans/pro/features/jobs/rate_limits/0", """{ "window": "day" }""",
        "$.plans.pro.features.jobs.rate_limits[0].limit", "Say how much is allowed in one window.")]
    [InlineData("plans/pro/features/jobs/rate_limits/0/per", "1",
        "$.plans.pro.features.jobs.rate_limits[0].per", "Unknown field. Known here: limit, window.")]
    // Token packages.
    [InlineData("token_packages/Big", """{ "name": "Big", "tokens": 1, "prices": [] }""", "$.token_packages.Big", "'Big' is no id")]
    [InlineData("token_packages/small/tokens", "0",
        "$.token_packages.small.tokens", "A whole number from 1 to 1000000000000000 is expected here, not 0.")]
    [InlineData("token_packages/small", """{ "name": "Small", "prices": [] }""", "$.token_packages.small.tokens", "is missing.")]
    [InlineData("token_packages/small", """{ "name": "Small", "tokens": 1 }""",
        "$.token_packages.small.prices", "A list is expected here.")]
    [InlineData("token_packages/small/prices/0/amount", "\"5\"", "$.token_packages.small.prices[0].amount", "is expected here, not 5.")]
    [InlineData("token_packages/small/prices/0/currency", "\"€\"", "$.token_packages.small.prices[0].currency", "'€' is no currency")]
    [InlineData("token_packages/small/prices/0/interval", "\"month\"",
        "$.token_packages.small.prices[0].interval", "Unknown field. Known here: currency, amount.")]
    public void a_mistake_is_found_where_it_is_and_nothing_else_is_complained_about(string place, string json, string path, string message)
    {
        var (catalog, problems) = Read(With(place, json));
        Assert.Null(catalog);
        var problem = Assert.Single(problems);
        Assert.Equal(path, problem.Path);
        Assert.Contains(message, problem.Message, StringComparison.Ordinal);
        Assert.Equal($"{problem.Path}: {problem.Message}", problem.ToString());
    }

    /// <summary>These leave other parts without what they refer to, which is said as well.</summary>
    [Theory]
    [InlineData("features", "[]", "$.features", "An object is expected here.")]
    [InlineData("features", "{}", "$.plans.pro.features.jobs", "There is no feature 'jobs' in $.features.")]
    [InlineData("plans", "{}", "$.plans", "A catalog has at least one plan.")]
    [InlineData("plans", "null", "$.plans", "An object is expected here.")]
    [InlineData("plans/pro", "\"Pro\"", "$.plans.pro", "An object is expected here, not string.")]
    [InlineData("plans/pro/prices/0", "900", "$.plans.pro.prices[0]", "An object is expected here, not number.")]
    [InlineData("features/sso", "true", "$.features.sso", "An object is expected here, not true.")]
    public void a_part_of_the_wrong_kind_is_among_the_problems(string place, string json, string path, string message) =>
        Assert.Contains(new CatalogProblem(path, message), Read(With(place, json)).Problems);

    [Fact]
    public void all_problems_are_reported_at_once()
    {
        var json = With("currency", "\"dollar\"");
        json = With("fallback_plan", "\"none\"", json);
        json = With("features/jobs/meter/unit", "7", json);
        json = With("plans/free/name", "null", json);
        json = With("plans/pro/prices/0/amount", "-5", json);
        json = With("plans/pro/features/jobs/unit_price", "1", json);
        json = With("plans/pro/features/storage", "10", json);
        json = With("plans/pro/features/sso", "\"on\"", json);
        json = With("token_packages/small/tokens", "0.5", json);
        Assert.Equal(
            [
                "$.currency", "$.fallback_plan", "$.features.jobs.meter.unit", "$.plans.free.name", "$.plans.pro.features.jobs.unit_price",
                "$.plans.pro.features.sso", "$.plans.pro.features.storage", "$.plans.pro.prices[0].amount", "$.token_packages.small.tokens",
            ],
            Read(json).Problems.Select(p => p.Path).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void a_mistake_at_a_feature_is_reported_once_however_many_plans_use_it()
    {
        var json = With("features/jobs/unit_price", "\"1,50\"");
        json = With("plans/free/features", """{ "jobs": 1 }""", With("plans/pro/features/jobs", "1", json));
        Assert.Single(Read(json).Problems, p => p.Path == "$.features.jobs.unit_price");
    }

    [Theory]
    [InlineData("")]
    [InlineData("nonsense")]
    [InlineData("{ \"plans\": ")]
    [InlineData("{} {}")]
    [InlineData("{ 'plans': {} }")]
    public void what_is_not_json_is_refused_with_the_place(string json)
    {
        var (catalog, problems) = Read(json);
        Assert.Null(catalog);
        var problem = Assert.Single(problems);
        Assert.Equal("$", problem.Path);
        Assert.StartsWith("This is not valid JSON: ", problem.Message, StringComparison.Ordinal);
        Assert.Contains("LineNumber", problem.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[]", "array")]
    [InlineData("\"catalog\"", "string")]
    [InlineData("null", "null")]
    public void what_is_json_and_no_object_is_refused(string json, string kind)
    {
        var (catalog, problems) = Read(json);
        Assert.Null(catalog);
        Assert.Contains(new CatalogProblem("$", $"An object is expected here, not {kind}."), problems);
    }

    [Theory]
    [InlineData("""{ "features": {}, "features": {}, "plans": { "a": { "name": "A" } } }""", "features")]
    [InlineData("""{ "features": {}, "plans": { "a": { "name": "A" }, "a": { "name": "B" } } }""", "a")]
    [InlineData("""{ "features": {}, "plans": { "a": { "name": "A", "\u006eame": "B" } } }""", "name")]
    public void a_name_that_stands_twice_is_refused_because_one_of_the_two_would_be_lost(string json, string name)
    {
        var (catalog, problems) = Read(json);
        Assert.Null(catalog);
        Assert.Contains($"'{name}'", Assert.Single(problems).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void a_file_past_the_limit_is_refused_before_it_is_parsed()
    {
        var bytes = new byte[CatalogReader.MaxBytes + 1];
        var (catalog, problems) = CatalogReader.Read(bytes);
        Assert.Null(catalog);
        Assert.Equal(new CatalogProblem("$", "A catalog has at most 1048576 bytes; this one has 1048577."), Assert.Single(problems));

        // One of exactly the limit is read.
        bytes.AsSpan().Fill((byte)' ');
        Encoding.UTF8.GetBytes(Full).CopyTo(bytes, 0);
        Assert.NotNull(CatalogReader.Read(bytes.AsSpan(0, CatalogReader.MaxBytes)).Catalog);
    }

    [Fact]
    public void nesting_without_end_is_refused()
    {
        var (catalog, problems) = Read(string.Concat(Enumerable.Repeat("{\"plans\":", 100_000)));
        Assert.Null(catalog);
        Assert.StartsWith("This is not valid JSON", Assert.Single(problems).Message, StringComparison.Ordinal);
    }
}
