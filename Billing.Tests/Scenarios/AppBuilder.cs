using System.Text.Json.Nodes;
using Billing.Api;
using Billing.Tests.Api;
using Billing.Tests.Stripe;

namespace Billing.Tests.Scenarios;

/// <summary>Scenario E: an app builder.</summary>
public sealed class AppBuilder
{
    [Fact]
    public async Task E1_an_organization_stays_on_its_side_as_the_percentage_grows()
    {
        await using var api = await TestApi.Start("app-builder");
        string[] organizations = [.. Enumerable.Range(1, 1_000).Select(n => $"org-{n}")];
        var before = new HashSet<string>();
        foreach (var (percent, least, most) in ((int, int, int)[])[(0, 0, 0), (10, 70, 130), (25, 210, 290), (99, 970, 1_000), (100, 1_000, 1_000)])
        {
            (await api.Put("/v1/flags/billing_v2", new { percent })).Expect(200);
            var now = organizations.Where(o => api.Services.Flags.IsOn(Flags.BillingV2, o)).ToHashSet();
            Assert.InRange(now.Count, least, most);
            Assert.Subset(now, before);
            before = now;
        }
        // And back: those who were in at 25 per cent are in again.
        (await api.Put("/v1/flags/billing_v2", new { percent = 25 })).Expect(200);
        var again = organizations.Where(o => api.Services.Flags.IsOn(Flags.BillingV2, o)).ToList();
        await using var restarted = await api.Restart();
        Assert.Equal(again, organizations.Where(o => restarted.Services.Flags.IsOn(Flags.BillingV2, o)));
    }

    [Fact]
    public async Task E1_turned_off_it_hides_upgrades_and_keeps_all_data()
    {
        await using var api = await TestApi.Start("app-builder");
        await api.Open("acme");
        using var client = await api.ClientOf("acme");
        (await api.Use("acme", "ai_embeddings", 1_000)).Expect(201);
        var version = (await api.Get("/v1/organizations/acme")).Expect(200).Number("version");
        Assert.True((await api.Get("/v1/config", client)).Expect(200).True("flags.billing_v2"));
        var denied = (await api.Use("acme", "ai_embeddings")).Expect(402);
        Assert.Equal("You have used all 1,000 AI embeddings this month. Upgrade or buy tokens.", denied.String("detail"));
        Assert.Equal(["starter", "pro", "scale"], denied.At("denial.upgrade_to")!.AsArray().Select(p => (string?)p));

        (await api.Put("/v1/flags/billing_v2", new { on = false })).Expect(200);

        Assert.False((await api.Get("/v1/config", client)).Expect(200).True("flags.billing_v2"));
        var hidden = (await api.Use("acme", "ai_embeddings")).Expect(402);
        Assert.Equal("You have used all 1,000 AI embeddings this month.", hidden.String("detail"));
        foreach (var denial in (JsonNode[])[hidden["denial"]!, (await api.Check("acme", "ai_embeddings"))["denial"]!, (await api.Get($"/v1/organizations/acme/denials/{denied["denial"]!["id"]}")).Expect(200).At("entitlement.denial")!])
        {
            Assert.Equal("You have used all 1,000 AI embeddings this month.", (string?)denial["message"]);
            Assert.Empty(denial["upgrade_to"]!.AsArray());
            Assert.Empty(denial["token_packages"]!.AsArray());
        }
        Assert.Equal((version, 1_000m), ((await api.Get("/v1/organizations/acme")).Expect(200).Number("version"), (await api.Check("acme", "ai_embeddings")).Number("used")));

        (await api.Put("/v1/flags/billing_v2", new { on = true })).Expect(200);
        Assert.NotEmpty((await api.Check("acme", "ai_embeddings"))["denial"]!["upgrade_to"]!.AsArray());
    }

    [Fact]
    public async Task E2_80_and_95_per_cent_of_any_limit_are_warned_of_once_in_a_window_and_100_blocks()
    {
        await using var api = await TestApi.Start("app-builder");
        await api.Open("acme", "starter");

        // 40 build hours a month, 10 GB of storage, 100,000 embeddings: use by use up to the limit.
        foreach (var (feature, limit, step) in ((string, decimal, decimal)[])[("build_hours", 40, 0.5m), ("storage_gb", 10, 0.125m), ("ai_embeddings", 100_000, 1_250)])
        {
            for (var used = step; used <= limit; used += step)
            {
                (await api.Use("acme", feature, step)).Expect(201);
                var warnings = (await api.Check("acme", feature))["warnings"]!.AsArray().Select(w => w!.GetValue<int>());
                Assert.Equal(used * 100 / limit is var percent && percent >= 100 ? [100] : percent >= 95 ? [95] : percent >= 80 ? [80] : [], warnings);
            }
            Assert.Equal("quota_exceeded", (await api.Use("acme", feature, step)).Expect(402).Code);
            Assert.Equal([100, 95, 80], (await Alerts(feature)).Select(a => a["percent"]!.GetValue<int>()));
        }
        var newest = (await Alerts("ai_embeddings"))[1];
        Assert.Equal("95 % are reached: 95,000 of 100,000 AI embeddings.", newest["message"]!.GetValue<string>());
        Assert.Equal(("usage", "month", 95_000m, 100_000m), (newest["kind"]!.GetValue<string>(), newest["window"]!.GetValue<string>(), newest["value"]!.GetValue<decimal>(), newest["limit"]!.GetValue<decimal>()));

        // The next month warns anew, once.
        api.Clock.Set("2026-12-01T00:00:00Z");
        foreach (var hours in (decimal[])[32, 1, 1]) (await api.Use("acme", "build_hours", hours)).Expect(201);
        Assert.Equal([80, 100, 95, 80], (await Alerts("build_hours")).Select(a => a["percent"]!.GetValue<int>()));
        await api.VerifyLedger("acme");

        async Task<List<JsonNode>> Alerts(string feature) => [.. (await api.List("/v1/organizations/acme/alerts?limit=2")).Where(a => a["feature"]?.GetValue<string>() == feature)];
    }

    [Fact]
    public async Task E3_tokens_are_topped_up_within_the_months_limit_and_never_twice_for_one_shortage()
    {
        await using var api = await TestApi.Start("app-builder");
        await api.Open("acme", "starter");
        using var customer = await api.ClientOf("acme");
        (await api.Use("acme", "ai_embeddings", 100_000)).Expect(201);
        var set = (await api.Put("/v1/organizations/acme/tokens/top-up", new { token_package = "embeddings", threshold = 20_000, max_count = 2, max_amount = 1_400 }, by: customer)).Expect(200);
        var asked = new List<string> { set.String("pending.id")! };
        Assert.Equal((100_000m, 500m, "usd"), (set.Number("pending.tokens"), set.Number("pending.amount.amount"), set.String("pending.amount.currency")));

        // While it is pending the shortage stays, and nothing more is asked for.
        for (var i = 0; i < 3; i++) (await api.Use("acme", "ai_embeddings")).Expect(402);
        Assert.Single(await api.Ledger("acme", "top-up-requested"));

        // The money comes in, told of by Stripe twice: one purchase.
        await Pay("pi_1", asked[0]);
        await Pay("pi_1", asked[0]);
        Assert.Equal(100_000, (await api.Get("/v1/organizations/acme/tokens")).Number("balance"));

        // 1,000 at a time from many clients, while two of these are paid: two charges, and none after the month's limit.
        for (var day = 1; day <= 9; day++)
        {
            api.Clock.Advance(NodaTime.Duration.FromHours(24));
            await Task.WhenAll(Enumerable.Range(0, 60).Select(_ => api.Use("acme", "ai_embeddings", 1_000)));
            var view = (await api.Get("/v1/organizations/acme/tokens/top-up", customer)).Expect(200);
            if (view.String("pending.id") is not { } pending) continue;
            asked.Add(pending);
            await Pay($"pi_{asked.Count}", pending);
        }
        Assert.Equal(2, asked.Count);
        Assert.Equal(2, (await api.Ledger("acme", "top-up-requested")).Count);
        Assert.Equal(2, (await api.Ledger("acme", "tokens-purchased")).Count);
        var month = (await api.Get("/v1/organizations/acme/tokens/top-up", customer)).Expect(200);
        Assert.Equal((2m, 1_000m, "2026-12-01T00:00:00Z"), (month.Number("month.count"), month.Number("month.amount.amount"), month.String("next_at")));
        Assert.Single(await api.List("/v1/organizations/acme/alerts"), a => a["kind"]!.GetValue<string>() == "top_up_limited");

        // The next month has its own limit: asked for by the clock, without traffic.
        api.Clock.Set("2026-12-01T00:00:01Z");
        await api.RunDueWork();
        Assert.Equal(3, (await api.Ledger("acme", "top-up-requested")).Count);
        await api.VerifyLedger("acme");

        Task<JsonObject> Pay(string payment, string topUp)
        {
            var intent = StripeFixture.PaymentIntent(payment, 500, "acme", "embeddings");
            intent["metadata"]!["top_up"] = topUp;
            return api.Stripe("payment_intent.succeeded", intent);
        }
    }

    [Fact]
    public async Task E4_access_is_there_at_the_page_of_success_although_the_webhook_is_late()
    {
        await using var shop = await Shop.Open("app-builder");
        shop.Stripe.Server.Misbehaviour.Lose = 1;
        var session = await shop.Checkout(new { plan = "pro", interval = "year" });
        Assert.Equal(("redirect", 59_760m), ((await shop.Session(session)).String("next"), session.Number("amount")));
        var paid = await shop.Stripe.PayWith(Shop.Good, session.String("url")!);
        Assert.Equal("free", (await shop.Subscription()).String("plan"));

        // The browser comes back with the session's id, and the page asks once: no waiting.
        Assert.Equal($"https://app.example.com/billing/success?session_id={session.String("id")}", paid.To);
        var done = await shop.Session(session);

        Assert.Equal(("complete", "none", null), (done.String("status"), done.String("next"), done.String("url")));
        Assert.Equal(("pro", "active", "year"), await shop.Subscription() is var s ? (s.String("plan"), s.String("status"), s.String("interval")) : default);
        Assert.True((await shop.Api.Check("acme", "autoscale")).True("has_access"));
        Assert.Equal(150, (await shop.Api.Check("acme", "build_hours")).Number("limit"));
        var version = (await shop.Api.Get("/v1/organizations/acme")).Number("version");
        await shop.Session(session);
        Assert.Equal(version, (await shop.Api.Get("/v1/organizations/acme")).Number("version"));
    }

    [Fact]
    public async Task E4_the_webhook_alone_gives_access_when_nobody_comes_back()
    {
        await using var shop = await Shop.Open("app-builder");
        var session = await shop.Checkout(new { plan = "starter", interval = "month" });
        await shop.Stripe.PayWith(Shop.Good, session.String("url")!);

        await shop.Api.Settle();

        Assert.Equal(40, (await shop.Api.Check("acme", "build_hours")).Number("limit"));
    }

    [Fact]
    public async Task E4_a_page_that_is_turned_back_from_leads_to_the_page_of_cancelling_and_leaves_everything_as_it_was()
    {
        await using var shop = await Shop.Open("app-builder");

        var session = await shop.Checkout(new { plan = "pro", billing_period = "yearly", cancel_url = "https://app.example.com/pricing" });

        Assert.Contains("href=\"https://app.example.com/pricing\"", (await shop.Stripe.Browse(session.String("url")!)).Text, StringComparison.Ordinal);
        var other = await shop.Checkout(new { plan = "pro", interval = "month" });
        Assert.Contains("href=\"https://app.example.com/billing/cancel\"", (await shop.Stripe.Browse(other.String("url")!)).Text, StringComparison.Ordinal);
        Assert.Equal(("open", "redirect"), ((await shop.Session(other)).String("status"), (await shop.Session(other)).String("next")));
        Assert.Equal("free", (await shop.Subscription()).String("plan"));
        await shop.Api.AdvanceTo("2026-11-21T10:00:00Z");
        Assert.Equal(("expired", "start_again"), ((await shop.Session(other)).String("status"), (await shop.Session(other)).String("next")));
    }

    [Fact]
    public async Task E5_one_feature_is_checked()
    {
        await using var api = await TestApi.Start("app-builder");
        await api.Open("acme", "starter");
        (await api.Use("acme", "build_hours", 39.75m)).Expect(201);

        var fits = await api.Check("acme", "build_hours", 0.25m);
        Assert.True(fits.True("has_access"));
        Assert.Equal((40m, 39.75m, 0.25m), (fits.Number("limit"), fits.Number("used"), fits.Number("remaining")));
        var tooMuch = (await api.Check("acme", "build_hours", 0.26m)).Expect(200);
        Assert.False(tooMuch.True("has_access"));
        Assert.Equal(("quota_exceeded", 402m), (tooMuch.String("denial.code"), tooMuch.Number("denial.status")));
        Assert.Equal(["pro", "scale"], tooMuch.At("denial.upgrade_to")!.AsArray().Select(p => p!.GetValue<string>()));
        Assert.True((await api.Check("acme", "core_agents")).True("has_access"));
        Assert.False((await api.Check("acme", "growth_agents")).True("has_access"));
        Assert.Equal("feature_unknown", (await api.Check("acme", "teleportation")).Expect(404).Code);
    }

    [Fact]
    public async Task E5_all_limits_are_checked_at_once()
    {
        await using var api = await TestApi.Start("app-builder");
        await api.Open("acme", "pro");
        (await api.Use("acme", "projects", 3)).Expect(201);

        var all = (await api.Get("/v1/organizations/acme/entitlements")).Expect(200);

        Assert.False(all.True("has_access"));
        var entitlements = all["entitlements"]!.AsArray().ToDictionary(e => e!["feature"]!.GetValue<string>(), e => e!);
        Assert.Equal(15, entitlements.Count);
        Assert.Equal(
            ["projects", "growth_agents", "isolated_database", "dedicated_support"],
            entitlements.Keys.Where(f => !entitlements[f]["has_access"]!.GetValue<bool>()));
        // Each is what the check of that one feature says.
        foreach (var (feature, entitlement) in entitlements)
            Assert.Equal((await api.Check("acme", feature)).Json.ToJsonString(), entitlement.ToJsonString());
    }

    [Fact]
    public async Task E5_several_features_are_checked_together()
    {
        await using var api = await TestApi.Start("app-builder");
        await api.Open("acme", "starter");
        (await api.Use("acme", "projects", 1)).Expect(201);

        Assert.True((await Check(("build_hours", 40), ("storage_gb", 10), ("email_support", null))).True("has_access"));
        var some = await Check(("build_hours", 12.5m), ("projects", 1), ("ai_embeddings", 100_001));
        Assert.False(some.True("has_access"));
        Assert.Equal([true, false, false], some["entitlements"]!.AsArray().Select(e => e!["has_access"]!.GetValue<bool>()));
        Assert.Equal("feature_unknown", (await Post(("build_hours", 1), ("teleportation", 1))).Expect(404).Code);
        // Nothing was counted.
        Assert.Equal(0, (await api.Check("acme", "build_hours")).Number("used"));

        async Task<Answer> Check(params (string, decimal?)[] items) => (await Post(items)).Expect(200);

        Task<Answer> Post(params (string Feature, decimal? Quantity)[] items) => api.Post("/v1/organizations/acme/entitlements/check",
            new JsonObject { ["items"] = new JsonArray([.. items.Select(i => new JsonObject { ["feature"] = i.Feature, ["quantity"] = i.Quantity })]) }.ToJsonString());
    }

    [Fact]
    public async Task E7_a_plan_is_chosen_monthly_or_yearly_and_upgrades_are_offered_for_the_current_one()
    {
        await using var api = await TestApi.Start("app-builder");
        var plans = (await api.Get("/v1/plans")).Expect(200)["plans"]!.AsArray();
        foreach (var (plan, month, year) in ((string, long, long)[])[("starter", 3_000, 29_880), ("pro", 6_000, 59_760), ("scale", 12_000, 119_520)])
        {
            var prices = plans.Single(p => (string?)p!["id"] == plan)!["prices"]!.AsArray().ToDictionary(p => (string)p!["interval"]!, p => p!["price"]!["amount"]!.GetValue<long>());
            foreach (var (interval, price, ends) in ((string, long, string)[])[("month", month, "2026-12-20T10:00:00Z"), ("year", year, "2027-11-20T10:00:00Z")])
            {
                Assert.Equal(price, prices[interval]);
                var organization = $"{plan}-{interval}";
                await api.Open(organization);
                using var own = await api.ClientOf(organization);
                var chosen = (await api.Put($"/v1/organizations/{organization}/subscription", new { plan, interval }, by: own)).Expect(200);
                Assert.Equal((plan, interval, price, ends), (chosen.String("plan"), chosen.String("interval"), (long)chosen.Number("price.amount"), chosen.String("period.end")));
                Assert.Equal(price, Assert.Single(await api.List($"/v1/organizations/{organization}/invoices", own))["total"]!["amount"]!.GetValue<long>());
            }
        }

        // What would help from here, and what it would cost.
        (await api.Use("starter-month", "build_hours", 40)).Expect(201);
        Assert.Equal(["pro", "scale"], (await api.Use("starter-month", "build_hours")).Expect(402).At("denial.upgrade_to")!.AsArray().Select(p => (string?)p));
        foreach (var (plan, total) in ((string, long)[])[("pro", 3_000), ("scale", 9_000)])
            Assert.Equal(total, (await api.Send(HttpMethod.Post, "/v1/organizations/starter-month/subscription/preview", new { plan })).Expect(200).Number("amount.amount"));
        // From the month to the year: what is left of the month comes back, the whole year is charged at once.
        var yearly = (await api.Send(HttpMethod.Post, "/v1/organizations/starter-month/subscription/preview", new { plan = "starter", interval = "year" })).Expect(200);
        Assert.Equal(29_880 - 3_000, yearly.Number("invoice.total.amount"));
        (await api.Put("/v1/organizations/starter-month/subscription", new { plan = "starter", interval = "year" })).Expect(200);
        Assert.Equal(29_880 - 3_000, (await api.List("/v1/organizations/starter-month/invoices"))[0]["total"]!["amount"]!.GetValue<long>());
    }

    [Fact]
    public async Task E8_one_organization_never_sees_anothers_billing_data()
    {
        await using var api = await TestApi.Start("app-builder");
        foreach (var organization in (string[])["acme", "beta"])
        {
            await api.Open(organization, "starter");
            (await api.Use(organization, "build_hours", organization == "acme" ? 7 : 11)).Expect(201);
        }
        using var acme = await api.ClientOf("acme");
        using var beta = await api.ClientOf("beta");

        // Each sees its own.
        Assert.Equal(7, (await api.Get("/v1/organizations/acme/entitlements/build_hours", acme)).Expect(200).Number("used"));
        Assert.Equal(11, (await api.Get("/v1/organizations/beta/entitlements/build_hours", beta)).Expect(200).Number("used"));
        Assert.Equal("acme", Assert.Single(await api.List("/v1/organizations", acme))["id"]!.GetValue<string>());
        Assert.Equal("beta", Assert.Single(await api.List("/v1/organizations", beta))["id"]!.GetValue<string>());

        // The other's answers on every route as one that does not exist.
        var others = await api.Routes("/v1/organizations/{organization}", "beta");
        Assert.True(others.Count > 15);
        foreach (var (method, path) in others)
        {
            var answer = await Ask(method, path);
            Assert.True((answer.Status, answer.Code) == (404, "organization_unknown"), $"{method} {path}: {answer.Status} {answer.Text}");
            Assert.Equal((await Ask(method, path.Replace("beta", "nobody"))).Text.Replace("nobody", "beta"), answer.Text);
        }
        // What is the operator's is no organization's.
        foreach (var (method, path) in (await api.Routes("/v1/")).Where(r => r.Path.StartsWith("/v1/api-keys", StringComparison.Ordinal) || r.Path.StartsWith("/v1/stripe", StringComparison.Ordinal)))
            Assert.Equal("operator_only", (await Ask(method, path)).Expect(403).Code);
        Assert.Equal("operator_only", (await api.Post("/v1/organizations", new { id = "gamma" }, by: acme)).Expect(403).Code);
        Assert.Equal("operator_only", (await api.Put("/v1/organizations/acme/subscription", new { plan = "scale" }, by: acme)).Expect(403).Code);

        Assert.Equal(2, (await api.Get("/v1/organizations/beta", beta)).Number("version"));

        Task<Answer> Ask(HttpMethod method, string path) => api.Send(method, path, method == HttpMethod.Get ? null : "{}", TestApi.NewKey(), acme);
    }
}
