using System.Text;
using System.Text.Json.Nodes;
using Billing.Tests.Api;
using Billing.Tests.Stripe;
using Billing.Tests.StripeSandbox;
using NodaTime;

namespace Billing.Tests.Scenarios;

/// <summary>Scenario A: a text-summarising API, sold by characters.</summary>
public sealed class Summarizer
{
    [Fact]
    public async Task A1_all_four_plans_exist_as_products_and_recurring_prices_after_one_push()
    {
        await using var api = await TestApi.StartWithStripe("summarizer");

        Assert.Equal(["plan_free Free", "plan_starter Starter", "plan_pro Pro", "plan_enterprise Enterprise"], api.Sandbox.All("product").Select(p => $"{p["id"]} {p["name"]}"));
        Assert.Equal(
            ["free-month 0 plan_free", "starter-month 999 plan_starter", "pro-month 2999 plan_pro", "enterprise-month 9999 plan_enterprise"],
            api.Sandbox.All("price").Select(p => $"{p["lookup_key"]} {p["unit_amount"]} {p["product"]}"));
        Assert.All(api.Sandbox.All("price"), p => Assert.Equal(("recurring", "month"), ((string?)p["type"], (string?)p["recurring"]!["interval"])));
    }

    [Fact]
    public async Task A1_price_ids_of_the_environment_stand_for_prices_of_the_catalogs()
    {
        await using var api = await TestApi.StartWithStripe("summarizer", args: ["--STRIPE_PRICE_FREE=price_f", "--STRIPE_PRICE_STARTER=price_s", "--STRIPE_PRICE_PRO=price_p", "--STRIPE_PRICE_ENTERPRISE=price_e"]);

        Assert.Empty(api.Sandbox.All("product"));
        Assert.Empty(api.Sandbox.All("price"));
        var pushed = (await api.Post("/v1/catalog/push")).Expect(200);
        Assert.Equal(["given price_f", "given price_s", "given price_p", "given price_e"], pushed["changes"]!.AsArray().Select(c => $"{c!["action"]} {c["id"]}"));
        Assert.Equal(4m, pushed.Number("wrong"));
    }

    [Fact]
    public async Task A2_who_subscribes_and_pays_on_stripes_page_comes_back_to_the_dashboard_with_the_plan_active()
    {
        await using var shop = await Shop.Open("summarizer");

        var session = await shop.Checkout(new { plan = "pro", interval = "month" });
        var paid = await shop.Stripe.PayWith(Shop.Good, session.String("url")!);
        await shop.Api.Settle();

        Assert.Equal(("open", "redirect", 2999m, "usd"), (session.String("status"), session.String("next"), session.Number("amount"), session.String("currency")));
        Assert.Equal("2026-11-21T10:00:00Z", session.String("expires_at"));
        Assert.Equal((302, $"https://app.example.com/billing/success?session_id={session.String("id")}"), (paid.Status, paid.To));
        var subscription = await shop.Subscription();
        Assert.Equal(("pro", "active", "stripe", "month"), (subscription.String("plan"), subscription.String("status"), subscription.String("kept_by"), subscription.String("interval")));
        Assert.Equal(1_000_000, (await shop.Api.Check("acme", "characters")).Number("limit"));
        var atStripe = shop.Stripe.Server.All("subscription").Single();
        Assert.Equal(("acme", "flexible"), (atStripe.Read("metadata.organization_id")!.GetValue<string>(), atStripe.Read("billing_mode.type")!.GetValue<string>()));
        Assert.Equal("applied", (string?)Assert.Single(await shop.Api.List("/v1/stripe/events?type=customer.subscription.created"))["state"]);
        await shop.Api.VerifyLedger("acme");
    }

    [Fact]
    public async Task A3_each_of_the_five_webhooks_does_its_work_and_a_repeat_changes_nothing()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");
        // Only the checkout session names the organization; the others are known by the customer that it links.
        var subscription = StripeFixture.Subscription(
            "sub_a3", "cus_a3", "starter-month", "active", api.Clock.Now, api.Clock.Now, TestApi.Time("2026-12-20T10:00:00Z"));
        var events = new List<JsonObject>();

        await Happens("checkout.session.completed", StripeFixture.SubscriptionSession("cs_a3", "acme", "cus_a3", "sub_a3"));
        Assert.Equal("free", (await api.Subscription("acme")).String("plan"));
        await Happens("customer.subscription.updated", subscription);
        Assert.Equal("starter", (await api.Subscription("acme")).String("plan"));
        await Happens("invoice.paid", StripeFixture.Invoice("in_a3_1", "cus_a3", "sub_a3", 999, 1, paid: true));
        Assert.Equal("paid", (await api.Subscription("acme")).String("payments.0.status"));
        await Happens("invoice.payment_failed", StripeFixture.Invoice("in_a3_2", "cus_a3", "sub_a3", 999, 1, paid: false));
        Assert.Equal("failed", (await api.Subscription("acme")).String("payments.1.status"));
        await Happens("customer.subscription.deleted", subscription.With(("status", "canceled"), ("ended_at", api.Clock.Now.ToUnixTimeSeconds())));
        var after = await api.Subscription("acme");
        Assert.Equal("free", after.String("plan"));
        Assert.Equal("canceled", after.String("status"));

        var version = (await api.Get("/v1/organizations/acme")).Number("version");
        foreach (var e in events.Concat(events.AsEnumerable().Reverse())) (await api.Webhook(e)).Expect(200);
        // Stripe may also tell the same thing by another event.
        foreach (var e in events.Take(1).Concat(events[2..4])) (await api.Webhook(e.With(("id", StripeFixture.NewId("evt"))))).Expect(200);

        Assert.Equal(version, (await api.Get("/v1/organizations/acme")).Number("version"));
        Assert.Equal(after.Text, (await api.Subscription("acme")).Text);

        async Task Happens(string type, JsonObject data)
        {
            api.Clock.Advance(Duration.FromMinutes(1));
            events.Add(await api.Stripe(type, data));
        }
    }

    [Fact]
    public async Task A3_bad_signatures_get_400_and_change_nothing()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");
        var now = api.Clock.Now.ToUnixTimeSeconds();
        var body = Bytes(StripeFixture.Event("customer.subscription.created", StripeFixture.Subscription(
            "sub_1", "cus_1", "pro-month", "active", api.Clock.Now, api.Clock.Now, TestApi.Time("2026-12-20T10:00:00Z"), "acme"), api.Clock.Now).ToJsonString());
        var good = TestApi.Sign(body, now);
        string[] bad =
        [
            "", "garbage", $"t={now}", good.Replace("v1=", "v0="), $"{good}0", good.ToUpperInvariant(),
            TestApi.Sign(body, now, "whsec_somebody_elses"),
            TestApi.Sign(Bytes("{}"), now),
            TestApi.Sign(body, now - 301),
            TestApi.Sign(body, now + 301),
            good.Replace($"t={now}", $"t={now - 1}"),
        ];

        foreach (var signature in bad) Assert.Equal("signature_invalid", (await api.Webhook(body, signature)).Expect(400).Code);

        Assert.Empty(await api.List("/v1/stripe/events"));
        Assert.Equal("free", (await api.Subscription("acme")).String("plan"));
        // Of two secrets, as while one replaces the other, either will do.
        (await api.Webhook(body, TestApi.Sign(body, now - 300, "whsec_old_secret"))).Expect(200);
        Assert.Equal("pro", (await api.Subscription("acme")).String("plan"));
    }

    [Theory]
    [InlineData("not json", "invalid_json")]
    [InlineData("", "invalid_json")]
    [InlineData("[]", "event_invalid")]
    [InlineData("{}", "event_invalid")]
    [InlineData("""{"object":"event","id":"evt_1","type":"invoice.paid","created":1,"data":{}}""", "event_invalid")]
    [InlineData("""{"object":"event","id":"evt_1","type":"invoice.paid","created":"now","data":{"object":{}}}""", "event_invalid")]
    [InlineData("""{"object":"invoice","id":"in_1","type":"invoice.paid","created":1,"data":{"object":{}}}""", "event_invalid")]
    [InlineData("""{"object":"event","id":7,"type":"invoice.paid","created":1,"data":{"object":{}}}""", "event_invalid")]
    public async Task A3_a_bad_payload_gets_400_and_changes_nothing(string payload, string code)
    {
        await using var api = await TestApi.Start("summarizer");

        Assert.Equal(code, (await api.Webhook(Bytes(payload))).Expect(400).Code);

        Assert.Empty(await api.List("/v1/stripe/events"));
    }

    [Fact]
    public async Task A4_the_quota_is_checked_before_the_call_is_served_and_a_check_counts_nothing()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");

        for (var i = 0; i < 3; i++)
        {
            Assert.True((await api.Check("acme", "characters", 10_000)).True("has_access"));
            Assert.False((await api.Check("acme", "characters", 10_001)).True("has_access"));
        }
        for (var i = 0; i < 20; i++) Assert.True((await api.Check("acme", "requests")).True("has_access"));

        Assert.Equal(0, (await api.Check("acme", "characters")).Number("used"));
        Assert.Equal(1, (await api.Get("/v1/organizations/acme")).Number("version"));
    }

    [Fact]
    public async Task A4_characters_and_requests_are_both_counted_by_organization_and_month()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");
        await api.Open("beta");
        foreach (var characters in (int[])[1_200, 800, 500])
        {
            (await api.Use("acme", "characters", characters)).Expect(201);
            (await api.Use("acme", "requests")).Expect(201);
        }
        (await api.Use("beta", "characters", 7)).Expect(201);

        Assert.Equal(2_500, (await api.Check("acme", "characters")).Number("used"));
        Assert.Equal(7_500, (await api.Check("acme", "characters")).Number("remaining"));
        Assert.Equal(3, (await api.Check("acme", "requests")).Number("used"));
        Assert.Equal(7, (await api.Check("beta", "characters")).Number("used"));
        Assert.Equal(0, (await api.Check("beta", "requests")).Number("used"));

        api.Clock.Set("2026-12-01T00:00:00Z");
        Assert.Equal(0, (await api.Check("acme", "characters")).Number("used"));
        Assert.Equal(0, (await api.Check("acme", "requests")).Number("used"));
    }

    [Fact]
    public async Task A5_the_character_past_the_limit_gets_402_with_a_friendly_sentence_and_an_upgrade_prompt()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");
        (await api.Use("acme", "characters", 9_999)).Expect(201);

        var two = (await api.Use("acme", "characters", 2)).Expect(402);
        Assert.Equal("This needs 2 characters, and 1 of 10,000 are left this month. Upgrade to go on.", two.String("detail"));
        (await api.Use("acme", "characters", 1)).Expect(201);
        var one = (await api.Use("acme", "characters", 1)).Expect(402);

        Assert.Equal("quota_exceeded", one.Code);
        Assert.Equal("You have used all 10,000 characters this month. Upgrade to go on.", one.String("denial.message"));
        Assert.Equal(["starter", "pro", "enterprise"], one.At("denial.upgrade_to")!.AsArray().Select(p => p!.GetValue<string>()));
        Assert.Equal("2026-12-01T00:00:00Z", one.String("denial.resets_at"));
        Assert.Equal(10_000, (await api.Check("acme", "characters")).Number("used"));
        // Who upgrades goes on at once.
        await api.SetPlan("acme", "starter");
        (await api.Use("acme", "characters", 1)).Expect(201);
    }

    [Fact]
    public async Task A5_a_request_past_the_hourly_rate_gets_429_with_retry_after_until_the_hour_turns()
    {
        await using var api = await TestApi.Start("summarizer", at: "2026-11-20T10:20:00Z");
        await api.Open("acme");
        for (var i = 0; i < 10; i++) (await api.Use("acme", "requests")).Expect(201);

        var eleventh = (await api.Use("acme", "requests")).Expect(429);
        Assert.Equal("rate_limited", eleventh.Code);
        Assert.Equal("2400", eleventh.Headers["Retry-After"]);
        Assert.Equal(["starter", "pro", "enterprise"], eleventh.At("denial.upgrade_to")!.AsArray().Select(p => p!.GetValue<string>()));

        api.Clock.Set("2026-11-20T10:59:59Z");
        Assert.Equal("1", (await api.Use("acme", "requests")).Expect(429).Headers["Retry-After"]);
        api.Clock.Set("2026-11-20T11:00:00Z");
        for (var i = 0; i < 10; i++) (await api.Use("acme", "requests")).Expect(201);
        (await api.Use("acme", "requests")).Expect(429);
        // The month knows no limit: all twenty are in it.
        Assert.Equal(20, (await api.Check("acme", "requests")).Number("used"));
        await api.SetPlan("acme", "enterprise");
        (await api.Use("acme", "requests", 5_000)).Expect(201);
    }

    [Theory]
    [InlineData("traffic")]
    [InlineData("due work")]
    [InlineData("due work, then traffic, then due work")]
    public async Task A6_the_month_turns_the_count_starts_at_zero_exactly_once_and_history_keeps_the_old_month(string first)
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");
        (await api.Use("acme", "characters", 9_000)).Expect(201);
        (await api.Use("acme", "characters", 2_000)).Expect(402);

        api.Clock.Set("2026-11-30T23:59:59Z");
        Assert.Equal(0, await api.RunDueWork());
        (await api.Use("acme", "characters", 2_000)).Expect(402);
        api.Clock.Set("2026-12-01T00:00:00Z");
        // A check reads the turn, whether it is written yet or not.
        Assert.Equal(10_000, (await api.Check("acme", "characters")).Number("remaining"));
        if (first.StartsWith("due", StringComparison.Ordinal)) Assert.Equal(1, await api.RunDueWork());
        if (first != "due work") (await api.Use("acme", "characters", 2_000)).Expect(201);
        for (var i = 0; i < 3; i++) Assert.Equal(0, await api.RunDueWork());
        if (first == "due work") (await api.Use("acme", "characters", 2_000)).Expect(201);

        Assert.Equal(2_000, (await api.Check("acme", "characters")).Number("used"));
        var reset = Assert.Single(await api.Ledger("acme", "quota-reset"));
        Assert.Equal("2026-12-01T00:00:00Z", reset["effective_at"]!.GetValue<string>());
        var month = Assert.Single(reset["data"]!["resets"]!.AsArray(), r => r!["window"]!.GetValue<string>() == "month")!;
        Assert.Equal("characters", month["feature"]!.GetValue<string>());
        Assert.Equal("2026-11-01T00:00:00Z", month["start"]!.GetValue<string>());
        Assert.Equal(9_000, month["used"]!.GetValue<long>());

        api.Clock.Set("2026-12-15T12:00:00Z");
        var history = (await api.Get("/v1/organizations/acme/usage/history?feature=characters&bucket=month&from=2026-11-01T00:00:00Z")).Expect(200);
        Assert.Equal([9_000m, 2_000m], history["buckets"]!.AsArray().Select(b => b!["quantity"]!.GetValue<decimal>()));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task A6_months_without_use_turn_without_an_event()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");
        (await api.Use("acme", "characters", 9_000)).Expect(201);

        api.Clock.Set("2027-03-05T00:00:00Z");
        await api.RunDueWork();
        (await api.Use("acme", "characters", 10_000)).Expect(201);

        Assert.Single(await api.Ledger("acme", "quota-reset"));
        Assert.Equal("2027-04-01T00:00:00Z", (await api.Check("acme", "characters")).String("resets_at"));
    }

    [Fact]
    public async Task A7_upgrading_and_downgrading_are_prorated_and_a_cancellation_is_taken_back_before_the_period_ends()
    {
        const string path = "/v1/organizations/acme/subscription";
        await using var shop = await Shop.Open("summarizer");
        await shop.Subscribe("starter");
        List<long> Paid() => [.. shop.Stripe.Server.All("invoice").Where(i => (string?)i["status"] == "paid").Select(i => (long)i["amount_paid"]!)];

        // Half of the thirty days are left: up at once, and the difference is charged.
        await shop.Api.AdvanceTo("2026-12-05T10:00:00Z");
        var up = (await shop.Api.Put(path, new { plan = "pro", interval = "month", proration = "invoice_now" }, "up")).Expect(200);
        Assert.Equal(("pro", "active", "2026-12-20T10:00:00Z"), (up.String("plan"), up.String("status"), up.String("period.end")));
        Assert.Equal([999, 1_000], Paid());

        // Down at once by an operator's wish: what is left of the dearer plan comes back on the next invoice.
        await shop.Api.AdvanceTo("2026-12-10T10:00:00Z");
        Assert.Equal("starter", (await shop.Api.Put(path, new { plan = "starter", interval = "month", at = "now" }, "down")).Expect(200).String("plan"));
        Assert.Equal(100_000, (await shop.Api.Check("acme", "characters")).Number("limit"));

        Assert.True((await shop.Api.Send(HttpMethod.Delete, path)).Expect(200).True("cancel_at_period_end"));
        await shop.Api.AdvanceTo("2026-12-19T10:00:00Z");
        Assert.Equal("starter", (await shop.Subscription()).String("plan"));
        Assert.False((await shop.Api.Post($"{path}/reactivate")).Expect(200).True("cancel_at_period_end"));

        await shop.Api.AdvanceTo("2026-12-20T12:00:00Z");
        var renewed = await shop.Subscription();
        Assert.Equal(("starter", "active", "2027-01-20T10:00:00Z"), (renewed.String("plan"), renewed.String("status"), renewed.String("period.end")));
        // 9.99, and a third of the difference of 20.00 back.
        Assert.Equal(999 - 667, Paid()[^1], 2.0);
        Assert.Single(shop.Stripe.Server.All("subscription"));
        await shop.Api.VerifyLedger("acme");
    }

    [Fact]
    public async Task A8_in_the_portal_a_customer_changes_the_card_and_cancels_and_the_ledger_follows()
    {
        await using var shop = await Shop.Open("summarizer");
        await shop.Subscribe("starter");

        var portal = (await shop.Post("portal-sessions", new { })).Expect(201);
        Assert.Equal("redirect", portal.String("next"));
        Assert.Contains("href=\"https://app.example.com/billing\"", (await shop.Stripe.Browse(portal.String("url")!)).Text, StringComparison.Ordinal);
        await shop.Api.AdvanceTo("2026-11-20T10:01:00Z");
        await shop.Stripe.PayWith("5555555555554444", $"{portal.String("url")}/method");
        Assert.Contains("mastercard ending in 4444", (await shop.Stripe.Browse(portal.String("url")!)).Text, StringComparison.Ordinal);
        await shop.Api.AdvanceTo("2026-12-20T12:00:00Z");
        Assert.Equal("mastercard", (string?)shop.Stripe.Server.Find((string)shop.Stripe.Server.All("charge")[^1]["payment_method"]!).Read("card.brand"));

        var id = (await shop.Subscription()).String("id");
        await shop.Stripe.Browse($"{(await shop.Post("portal-sessions", new { })).Expect(201).String("url")}/cancel", $"subscription={id}");
        await shop.Api.Settle();
        Assert.Equal(("starter", true), ((await shop.Subscription()).String("plan"), (await shop.Subscription()).True("cancel_at_period_end")));
        await shop.Api.AdvanceTo("2027-01-20T10:00:01Z");
        Assert.Equal("free", (await shop.Subscription()).String("plan"));
    }

    [Fact]
    public async Task A10_every_subscription_event_is_in_the_audit_trail()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");
        var subscription = await api.Subscribe("acme", "starter-month", until: "2026-12-20T10:00:00Z");
        await Later("customer.subscription.updated", subscription.AtPrice("pro-month"));
        await Later("customer.subscription.updated", subscription.AtPrice("pro-month").With(("cancel_at_period_end", true)));
        await Later("customer.subscription.updated", subscription.AtPrice("pro-month"));
        await Later("customer.subscription.deleted", subscription.AtPrice("pro-month").With(("status", "canceled"), ("ended_at", api.Clock.Now.ToUnixTimeSeconds())));
        await api.SetPlan("acme", "enterprise");

        var trail = await api.Ledger("acme", "subscription-changed");

        Assert.Equal(
            ["starter active", "pro active", "pro active, to end", "pro active", "pro canceled", "enterprise by an operator"],
            trail.Select(e => e["data"]!["followed"] is { } followed
                ? $"{followed["plan"]} {followed["status"]}{(followed["cancel_at_period_end"]!.GetValue<bool>() ? ", to end" : "")}"
                : $"{e["data"]!["operator_plan"]!["plan"]} by an operator"));
        Assert.All(trail.SkipLast(1), e => Assert.StartsWith("stripe:subscription:", e["command_id"]!.GetValue<string>(), StringComparison.Ordinal));
        await api.VerifyLedger("acme");

        Task<JsonObject> Later(string type, JsonObject data)
        {
            api.Clock.Advance(Duration.FromHours(1));
            return api.Stripe(type, data);
        }
    }

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);
}
