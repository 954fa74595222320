using System.Text.Json.Nodes;
using Billing.Api.Stripe;
using Billing.Tests.Api;
using Billing.Tests.Stripe;
using NodaTime;

namespace Billing.Tests.Scenarios;

/// <summary>Scenario B: matching videos, with limits by day, by month and of storage.</summary>
public sealed class VideoMatching
{
    private const string Acme = "/v1/organizations/acme";

    [Fact]
    public async Task B1_a_trial_of_14_days_its_end_warned_of_then_active_or_free_when_no_payment_method_came()
    {
        await using var api = await TestApi.Start("video-matching");
        foreach (var (organization, pays) in ((string, bool)[])[("payer", true), ("looker", false)])
        {
            (await api.Post("/v1/organizations", new { id = organization, test = true })).Expect(201);
            var trial = (await api.Put($"/v1/organizations/{organization}/subscription", new { plan = "pro", interval = "month" })).Expect(200);
            Assert.Equal(("pro", "trialing", "2026-12-04T10:00:00Z"), (trial.String("plan"), trial.String("status"), trial.String("trial_end")));
            Assert.True((await api.Check(organization, "websocket_streaming")).True("has_access"));

            await Advance(api, organization, "2026-12-01T09:59:59Z");
            Assert.Empty(await api.Ledger(organization, "alert-raised"));
            await Advance(api, organization, "2026-12-01T10:00:00Z");
            var warned = Assert.Single(await api.Ledger(organization, "alert-raised"))["data"]!;
            Assert.Equal(("trial_ending", "2026-12-04T10:00:00Z"), ((string?)warned["kind"], (string?)warned["end"]));
            if (pays) (await api.Put($"/v1/organizations/{organization}/subscription", new { payment_method = true })).Expect(200);
            await Advance(api, organization, "2026-12-04T09:59:59Z");
            Assert.Equal("trialing", (await api.Subscription(organization)).String("status"));
            await Advance(api, organization, "2026-12-04T10:00:00Z");
        }

        var payer = await api.Subscription("payer");
        Assert.Equal(("pro", "active", "2026-12-04T10:00:00Z", "2027-01-04T10:00:00Z"), (payer.String("plan"), payer.String("status"), payer.String("period.start"), payer.String("period.end")));
        Assert.Equal(2_900, Assert.Single(await api.List("/v1/organizations/payer/invoices"))["total"]!["amount"]!.GetValue<long>());
        var looker = await api.Subscription("looker");
        Assert.Equal(("free", "canceled", "fallback"), (looker.String("plan"), looker.String("status"), looker.String("source")));
        Assert.Empty(await api.List("/v1/organizations/looker/invoices"));
        Assert.False((await api.Check("looker", "websocket_streaming")).True("has_access"));
        // There is one trial for each.
        (await api.Put("/v1/organizations/looker/subscription", new { plan = "enterprise", interval = "month", trial = true })).ExpectProblem(409, "trial_used", "there is one for each", "trial");
        await api.VerifyLedger("payer");
        await api.VerifyLedger("looker");
    }

    [Fact]
    public async Task B1_the_default_trial_is_as_long_as_the_configuration_says()
    {
        await using var api = await TestApi.Start("video-matching", args: "--DEFAULT_TRIAL_DAYS=30");
        await api.Open("acme");

        Assert.Equal("2026-12-20T10:00:00Z", (await api.Put($"{Acme}/subscription", new { plan = "pro", interval = "month" })).Expect(200).String("trial_end"));
    }

    [Fact]
    public async Task B2_a_failed_payment_leaves_access_for_the_grace_period_then_falls_back_to_free_and_paying_restores_it()
    {
        await using var api = await TestApi.Start("video-matching");
        (await api.Post("/v1/organizations", new { id = "acme", test = true })).Expect(201);
        (await api.Put($"{Acme}/subscription", new { plan = "pro", interval = "month", trial = false, payment_method = true })).Expect(200);
        await Advance(api, "acme", "2026-12-20T10:00:00Z");
        var invoice = (string?)(await api.List($"{Acme}/invoices"))[0]["number"];
        Assert.Equal("INV-2026-12-acme", invoice);

        var failed = (await api.Post($"{Acme}/payments", new { invoice, status = "failed" })).Expect(201);
        Assert.Equal(("pro", "past_due", "2026-12-23T10:00:00Z"), (failed.String("plan"), failed.String("status"), failed.String("grace_until")));
        await Advance(api, "acme", "2026-12-22T10:00:00Z");
        (await api.Post($"{Acme}/payments", new { invoice, status = "failed" })).Expect(201);
        await Advance(api, "acme", "2026-12-23T09:59:59Z");
        Assert.Equal("pro", (await api.Subscription("acme")).String("plan"));
        (await api.Use("acme", "api_calls", 5_000)).Expect(201);
        await Advance(api, "acme", "2026-12-23T10:00:00Z");
        var fallen = await api.Subscription("acme");
        Assert.Equal(("free", "unpaid", 2m), (fallen.String("plan"), fallen.String("status"), fallen.Number("payments.0.failed_attempts")));
        Assert.Equal("subscription_inactive", (await api.Check("acme", "websocket_streaming")).String("denial.code"));
        (await api.Use("acme", "api_calls")).Expect(402);

        var paid = (await api.Post($"{Acme}/payments", new { invoice, status = "paid" })).Expect(201);
        Assert.Equal(("pro", "active"), (paid.String("plan"), paid.String("status")));
        Assert.Null(paid.At("grace_until"));
        Assert.Equal(5_000, (await api.Check("acme", "api_calls")).Number("used"));
        Assert.Equal("paid", (string?)(await api.List($"{Acme}/invoices"))[0]["status"]);
        Assert.Equal(["started", "renewed", "past_due", "unpaid", "recovered"], (await api.Ledger("acme", "subscription-changed")).Select(e => (string?)e["data"]!["change"]));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task B2_the_grace_is_as_long_as_the_configuration_says()
    {
        await using var api = await TestApi.Start("video-matching", args: "--BILLING_GRACE_PERIOD_DAYS=10");
        (await api.Post("/v1/organizations", new { id = "acme", test = true })).Expect(201);
        (await api.Put($"{Acme}/subscription", new { plan = "pro", interval = "month", trial = false })).Expect(200);

        var failed = (await api.Post($"{Acme}/payments", new { invoice = "INV-2026-11-acme", status = "failed" })).Expect(201);

        Assert.Equal("2026-11-30T10:00:00Z", failed.String("grace_until"));
    }

    private static async Task Advance(TestApi api, string organization, string to) =>
        (await api.Post($"/v1/organizations/{organization}/test-clock/advance", new { to })).Expect(201);

    [Theory]
    // Berlin is two hours ahead of UTC in summer and one in winter; on October 25th the day has 25 hours, on March 28th it has 23.
    [InlineData("2026-10-24T21:30:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z")]
    [InlineData("2027-03-27T22:30:00Z", "2027-03-27T23:00:00Z", "2027-03-28T22:00:00Z")]
    [InlineData("2026-11-20T10:00:00Z", "2026-11-20T23:00:00Z", "2026-11-21T23:00:00Z")]
    public async Task B3_day_windows_reset_at_the_organizations_midnight_also_where_the_clocks_change(string at, string midnight, string nextMidnight)
    {
        await using var api = await TestApi.Start("video-matching", at);
        await api.Open("acme", timeZone: "Europe/Berlin");
        (await api.Use("acme", "videos", 3)).Expect(201);
        var denied = (await api.Use("acme", "videos")).Expect(402);
        Assert.Equal(midnight, denied.String("denial.resets_at"));

        api.Clock.Now = TestApi.Time(midnight) - Duration.FromSeconds(1);
        (await api.Use("acme", "videos")).Expect(402);
        api.Clock.Now = TestApi.Time(midnight);
        (await api.Use("acme", "videos", 3)).Expect(201);

        Assert.Equal(nextMidnight, (await api.Check("acme", "videos")).String("resets_at"));
        api.Clock.Now = TestApi.Time(nextMidnight) - Duration.FromSeconds(1);
        (await api.Use("acme", "videos")).Expect(402);
        api.Clock.Now = TestApi.Time(nextMidnight);
        (await api.Use("acme", "videos")).Expect(201);
        var resets = (await api.Ledger("acme", "quota-reset")).Where(e => e["data"]!["resets"]!.AsArray().Any(r => r!["window"]!.GetValue<string>() == "day"));
        Assert.Equal([midnight, nextMidnight], resets.Select(e => e["effective_at"]!.GetValue<string>()));
    }

    [Fact]
    public async Task B3_month_windows_reset_with_the_billing_period_not_with_the_calendar()
    {
        await using var api = await TestApi.Start("video-matching", at: "2027-01-31T09:30:00Z");
        await api.Open("acme", timeZone: "Europe/Berlin");
        await api.Subscribe("acme", "pro-year", until: "2028-01-31T09:30:00Z");
        // The anchor is the 31st: it falls on the last day of shorter months and returns. Stripe has nothing to say meanwhile.
        string[] turns = ["2027-02-28T09:30:00Z", "2027-03-31T09:30:00Z", "2027-04-30T09:30:00Z", "2027-05-31T09:30:00Z"];

        foreach (var turn in turns)
        {
            (await api.Use("acme", "api_calls", 10_000)).Expect(201);
            Assert.Equal(turn, (await api.Use("acme", "api_calls")).Expect(402).String("denial.resets_at"));
            api.Clock.Now = TestApi.Time(turn) - Duration.FromSeconds(1);
            (await api.Use("acme", "api_calls")).Expect(402);
            api.Clock.Now = TestApi.Time(turn);
        }

        Assert.Equal(turns, (await api.Ledger("acme", "quota-reset")).Select(e => e["effective_at"]!.GetValue<string>()).Append(turns[^1]));
        Assert.Equal(0, (await api.Check("acme", "api_calls")).Number("used"));
    }

    [Fact]
    public async Task B6_usage_per_billing_period_counts_calls_videos_and_matches_and_shows_storage()
    {
        await using var api = await TestApi.Start("video-matching", at: "2026-11-15T09:30:00Z");
        await api.Open("acme");
        var subscription = await api.Subscribe("acme", "pro-month", until: "2026-12-15T09:30:00Z");
        for (var day = 0; day < 3; day++)
        {
            (await api.Use("acme", "api_calls", 1_000)).Expect(201);
            (await api.Use("acme", "videos", 90)).Expect(201);
            (await api.Use("acme", "matches", 700)).Expect(201);
            (await api.Use("acme", "storage_gb", 12.5m)).Expect(201);
            api.Clock.Advance(Duration.FromDays(1));
        }
        (await api.Use("acme", "storage_gb", -7.5m)).Expect(201);
        (await api.Use("acme", "videos", 10)).Expect(201);

        var usage = await Usage();
        Assert.Equal("2026-11-15T09:30:00Z", usage.String("period.start"));
        Assert.Equal("2026-12-15T09:30:00Z", usage.String("period.end"));
        Assert.Equal(3_000, Quantity(usage, "api_calls"));
        // A day's limit, and yet the whole period is counted.
        Assert.Equal(280, Quantity(usage, "videos"));
        Assert.Equal(90, (await api.Check("acme", "videos")).Number("remaining"));
        Assert.Equal(2_100, Quantity(usage, "matches"));
        Assert.Equal(30, Quantity(usage, "storage_gb"));
        Assert.Equal(37.5m, Line(usage, "storage_gb")["peak"]!.GetValue<decimal>());
        Assert.Equal(0, usage.Number("charge.amount"));

        // The next period begins with what is stored and with nothing used.
        api.Clock.Set("2026-12-15T09:30:00Z");
        await api.Stripe("customer.subscription.updated", subscription.ForPeriod(api.Clock.Now, TestApi.Time("2027-01-15T09:30:00Z")));
        usage = await Usage();
        Assert.Equal("2026-12-15T09:30:00Z", usage.String("period.start"));
        Assert.Equal("2027-01-15T09:30:00Z", usage.String("period.end"));
        Assert.All(["api_calls", "videos", "matches"], f => Assert.Equal(0, Quantity(usage, f)));
        Assert.Equal(30, Quantity(usage, "storage_gb"));
        Assert.Equal(30, Line(usage, "storage_gb")["peak"]!.GetValue<decimal>());

        async Task<Answer> Usage() => (await api.Get("/v1/organizations/acme/usage/current")).Expect(200);
        JsonNode Line(Answer answer, string feature) => answer["usage"]!.AsArray().Single(l => l!["feature"]!.GetValue<string>() == feature)!;
        decimal Quantity(Answer answer, string feature) => Line(answer, feature)["quantity"]!.GetValue<decimal>();
    }

    [Theory]
    [InlineData("free", false, false)]
    [InlineData("pro", true, false)]
    [InlineData("enterprise", true, true)]
    public async Task B7_boolean_features_answer_by_plan(string plan, bool streaming, bool support)
    {
        await using var api = await TestApi.Start("video-matching");
        await api.Open("acme", plan);

        foreach (var (feature, has) in ((string, bool)[])[("websocket_streaming", streaming), ("priority_support", support)])
        {
            var answer = (await api.Check("acme", feature)).Expect(200);
            Assert.Equal(has, answer.True("has_access"));
            Assert.Equal(has ? null : "feature_not_in_plan", answer.String("denial.code"));
            if (!has) Assert.Contains("enterprise", answer.At("denial.upgrade_to")!.AsArray().Select(p => p!.GetValue<string>()));
        }
    }

    [Fact]
    public async Task B8_adding_a_plan_is_one_edit_of_the_catalog_and_old_subscriptions_keep_their_version()
    {
        await using var before = await TestApi.Start("video-matching");
        await before.Open("old");
        await before.Subscribe("old", "pro-month", until: "2026-12-20T10:00:00Z");
        await before.Open("new");
        Assert.Equal("plan_unknown", (await before.Put("/v1/organizations/new/subscription", new { plan = "studio" })).Expect(404).Code);

        var catalog = (await File.ReadAllTextAsync(Repository.Catalog("video-matching"))).Replace(
            """
                "enterprise": {
            """,
            """
                "studio": {
                  "name": "Studio",
                  "prices": [{ "interval": "month", "amount": 9900 }],
                  "features": { "api_calls": 30000, "videos": 300, "matches": 3000, "storage_gb": 300, "websocket_streaming": true }
                },
                "enterprise": {
            """, StringComparison.Ordinal);
        var path = Path.Combine(before.Folder, "edited.json");
        await File.WriteAllTextAsync(path, catalog);
        await using var after = await before.Restart(path);

        await after.SetPlan("new", "studio");
        Assert.Equal(300, (await after.Check("new", "videos")).Number("limit"));
        Assert.Equal(2, (await after.Subscription("new")).Number("catalog_version"));
        Assert.Contains((await after.Get("/v1/plans"))["plans"]!.AsArray(), p => p!["id"]!.GetValue<string>() == "studio");
        Assert.Equal("pro", (await after.Subscription("old")).String("plan"));
        Assert.Equal(1, (await after.Subscription("old")).Number("catalog_version"));
        // It is on sale too: a subscription to it, known by its lookup key, gives it.
        await after.Subscribe("new", "studio-month", until: "2026-12-20T10:00:00Z");
        Assert.Equal("subscription", (await after.Subscription("new")).String("source"));
        Assert.Equal("studio", (await after.Subscription("new")).String("plan"));
    }

    [Fact]
    public async Task B8_what_a_plan_gives_is_kept_as_it_was_sold_when_the_catalog_gives_less()
    {
        await using var before = await TestApi.Start("video-matching");
        await before.Open("old");
        var subscription = await before.Subscribe("old", "pro-month", until: "2026-12-20T10:00:00Z");
        var path = Path.Combine(before.Folder, "edited.json");
        await File.WriteAllTextAsync(path, (await File.ReadAllTextAsync(Repository.Catalog("video-matching"))).Replace("\"videos\": 100,", "\"videos\": 50,", StringComparison.Ordinal));
        await using var after = await before.Restart(path);
        await after.Open("new");
        await after.Subscribe("new", "pro-month", until: "2026-12-20T10:00:00Z");

        Assert.Equal(100, (await after.Check("old", "videos")).Number("limit"));
        Assert.Equal(50, (await after.Check("new", "videos")).Number("limit"));
        // It renews as it was sold.
        after.Clock.Set("2026-12-20T10:00:00Z");
        await after.Stripe("customer.subscription.updated", subscription.ForPeriod(after.Clock.Now, TestApi.Time("2027-01-20T10:00:00Z")));
        Assert.Equal(100, (await after.Check("old", "videos")).Number("limit"));
    }

    [Fact]
    public void B8_adding_a_webhook_event_is_one_line_in_one_table()
    {
        var table = Path.Combine(Repository.Root, "Billing.Api", "Stripe", "StripeTranslation.cs");
        string[] projects = ["Billing.Ledger", "Billing.Grains.Interfaces", "Billing.Grains", "Billing.Silo", "Billing.Api"];
        var sources = projects.SelectMany(p => Directory.GetFiles(Path.Combine(Repository.Root, p), "*.cs", SearchOption.AllDirectories))
            .Where(f => !f.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal)).ToList();
        Assert.Contains(table, sources);

        Assert.All(StripeTranslation.Table.Keys, type =>
        {
            var places = sources.SelectMany(f => File.ReadLines(f).Where(line => line.Contains($"[\"{type}\"] =", StringComparison.Ordinal)).Select(_ => f));
            Assert.Equal(table, Assert.Single(places));
        });
    }

    [Fact]
    public async Task B9_with_a_key_of_its_own_a_customer_subscribes_pays_updates_uses_reads_and_cancels()
    {
        await using var shop = await Shop.Open("video-matching");
        await Buy(shop, (api, organization) => api.ClientOf(organization));
    }

    [Fact]
    public async Task B9_with_a_json_web_token_of_its_organization_a_customer_subscribes_pays_updates_uses_reads_and_cancels()
    {
        using var identity = new SignedTokens();
        var keys = Path.GetTempFileName();
        await File.WriteAllTextAsync(keys, identity.Jwks());
        await using var shop = await Shop.Open("video-matching", SignedTokens.Arguments($"Jwks={keys}", "ScopeClaim=scope", "Scopes=entitlements:read usage:write billing:manage"));
        File.Delete(keys);
        await Buy(shop, (api, organization) =>
        {
            var claims = SignedTokens.Claims(api.Clock.Now, organization);
            claims["scope"] = "openid entitlements:read usage:write billing:manage ops";
            return Task.FromResult(api.Client(organization == "acme" ? identity.Es256(claims) : identity.Rs256(claims)));
        });

        // A token that has ended, and one that only reads, buy nothing.
        var ended = SignedTokens.Claims(shop.Api.Clock.Now - Duration.FromHours(2));
        using var late = shop.Api.Client(identity.Es256(ended));
        (await shop.Api.Post($"{Acme}/checkout-sessions", new { plan = "pro", interval = "month" }, by: late)).ExpectProblem(401, "unauthenticated", "");
        var reading = SignedTokens.Claims(shop.Api.Clock.Now);
        reading["scope"] = "entitlements:read";
        using var reader = shop.Api.Client(identity.Es256(reading));
        (await shop.Api.Post($"{Acme}/checkout-sessions", new { plan = "pro", interval = "month" }, by: reader)).ExpectProblem(403, "insufficient_scope", "This needs billing:manage");
    }

    private static async Task Buy(Shop shop, Func<TestApi, string, Task<HttpClient>> clientOf)
    {
        using var acme = await clientOf(shop.Api, "acme");
        Task<Answer> Post(string path, object body) => shop.Api.Post($"{Acme}/{path}", body, by: acme);

        // A customer at Stripe and a checkout session.
        (await shop.Api.Put($"{Acme}/profile", new { name = "Acme", email = "billing@acme.example" }, by: acme)).Expect(200);
        var session = (await Post("checkout-sessions", new { plan = "pro", interval = "month", trial = false })).Expect(201);
        Assert.Equal("billing@acme.example", (string?)Assert.Single(shop.Stripe.Server.All("customer"))["email"]);
        await shop.Stripe.PayWith(Shop.Good, session.String("url")!);
        Assert.Equal("complete", (await shop.Api.Get($"{Acme}/checkout-sessions/{session.String("id")}", acme)).Expect(200).String("status"));
        await shop.Api.Settle();

        // A portal session.
        Assert.Contains("Pro", (await shop.Stripe.Browse((await Post("portal-sessions", new { })).Expect(201).String("url")!)).Text, StringComparison.Ordinal);

        // Update and read the subscription.
        (await shop.Api.Put($"{Acme}/subscription", new { plan = "enterprise" }, TestApi.NewKey(), acme)).Expect(200);
        var subscription = (await shop.Api.Get($"{Acme}/subscription", acme)).Expect(200);
        Assert.Equal(("enterprise", "active", "stripe"), (subscription.String("plan"), subscription.String("status"), subscription.String("kept_by")));
        (await shop.Api.Put($"{Acme}/subscription", new { plan = "pro", proration = "none", at = "now" }, TestApi.NewKey(), acme)).ExpectProblem(403, "operator_only", "operator");

        // Record usage.
        (await shop.Api.Use("acme", "videos", 500, by: acme)).Expect(201);
        Assert.Equal(500, (await shop.Api.Get($"{Acme}/entitlements/videos", acme)).Expect(200).Number("used"));

        // Read an invoice.
        var invoice = (string)Assert.Single(await shop.Api.List($"{Acme}/invoices", acme))["id"]!;
        Assert.Equal(("paid", 2_900m), (await shop.Api.Get($"{Acme}/invoices/{invoice}", acme)).Expect(200) is var i ? (i.String("status"), i.Number("total.amount")) : default);

        // Cancel.
        Assert.True((await shop.Api.Send(HttpMethod.Delete, $"{Acme}/subscription", by: acme)).Expect(200).True("cancel_at_period_end"));

        // None of it for nobody, and none of it for another organization.
        await shop.Api.Open("beta");
        using var beta = await clientOf(shop.Api, "beta");
        foreach (var (by, status) in ((HttpClient, int)[])[(shop.Api.Anonymous, 401), (beta, 404)])
        {
            foreach (var (method, path) in ((HttpMethod, string)[])[(HttpMethod.Post, "checkout-sessions"), (HttpMethod.Post, "portal-sessions"), (HttpMethod.Delete, "subscription"), (HttpMethod.Put, "subscription"), (HttpMethod.Post, "usage")])
                (await shop.Api.Send(method, $"{Acme}/{path}", "{}", TestApi.NewKey(), by)).Expect(status);
            foreach (var path in (string[])["subscription", $"invoices/{invoice}", $"checkout-sessions/{session.String("id")}"]) (await shop.Api.Get($"{Acme}/{path}", by)).Expect(status);
        }
        await shop.Api.VerifyLedger("acme");
    }
}
