using System.Text.Json.Nodes;
using Billing.Ledger;
using Billing.Tests.Api;
using Billing.Tests.Stripe;
using NodaTime;

namespace Billing.Tests.Scenarios;

/// <summary>Scenario C: a learning community.</summary>
public sealed class LearningCommunity
{
    [Fact]
    public async Task C1_an_explorer_without_tokens_makes_three_ai_requests_and_the_fourth_is_denied()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        for (var i = 0; i < 3; i++) (await api.Use("acme", "ai_requests")).Expect(201);

        var fourth = (await api.Use("acme", "ai_requests")).Expect(403);

        Assert.Equal("quota_exceeded", fourth.Code);
        Assert.Contains("Upgrade or buy tokens", fourth.String("detail"));
        // Three are for life.
        api.Clock.Advance(Duration.FromDays(400));
        await api.RunDueWork();
        (await api.Use("acme", "ai_requests")).Expect(403);
    }

    [Fact]
    public async Task C2_an_explorer_with_100_000_tokens_burns_one_with_the_fourth_request()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Grant("acme", 100_000);
        for (var i = 0; i < 3; i++) (await api.Use("acme", "ai_requests")).Expect(201);
        Assert.Equal(100_000, await Balance(api));

        var fourth = (await api.Use("acme", "ai_requests")).Expect(201);

        Assert.Equal(0, fourth.Number("covered.allowance"));
        Assert.Equal(1, fourth.Number("covered.tokens"));
        Assert.Equal(99_999, fourth.Number("entitlement.tokens"));
        Assert.Equal(99_999, await Balance(api));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task C3_a_community_pro_member_makes_100_ai_requests_in_a_day_and_usage_says_100_today()
    {
        await using var api = await TestApi.Start("learning-community", at: "2026-11-20T00:00:00Z");
        await api.Open("acme");
        await api.Subscribe("acme", "community-pro-quarter", until: "2027-02-20T00:00:00Z");
        for (var i = 0; i < 100; i++)
        {
            (await api.Use("acme", "ai_requests")).Expect(201);
            api.Clock.Advance(Duration.FromMinutes(14));
        }

        (await api.Use("acme", "ai_requests")).Expect(403);

        Assert.Equal(100, (await api.Check("acme", "ai_requests")).Number("used"));
        var line = (await api.Get("/v1/organizations/acme/usage/current"))["usage"]!.AsArray().Single(l => l!["feature"]!.GetValue<string>() == "ai_requests")!;
        var today = line["windows"]!.AsArray().Single(w => w!["window"]!.GetValue<string>() == "day")!;
        Assert.Equal(100, today["used"]!.GetValue<decimal>());
        Assert.Equal("2026-11-20T00:00:00Z", today["start"]!.GetValue<string>());
        api.Clock.Set("2026-11-21T00:00:00Z");
        (await api.Use("acme", "ai_requests")).Expect(201);
    }

    [Fact]
    public async Task C4_buying_the_starter_package_is_one_purchase_whatever_stripe_says_how_often_and_how_fast()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Grant("acme", 50);
        var session = StripeFixture.TokenSession("cs_c4", "acme", "starter", "pi_c4", 500, customer: "cus_c4");
        JsonObject[] events =
        [
            StripeFixture.Event("checkout.session.completed", session, api.Clock.Now),
            StripeFixture.Event("checkout.session.async_payment_succeeded", session, api.Clock.Now),
            StripeFixture.Event("payment_intent.succeeded", StripeFixture.PaymentIntent("pi_c4", 500, "acme", "starter", "cus_c4"), api.Clock.Now),
        ];

        // Each ten times over, all at once; half of them as new events with ids of their own.
        var deliveries = events.SelectMany(e => Enumerable.Range(0, 10).Select(i => i % 2 == 0 ? e : e.With(("id", StripeFixture.NewId("evt")))));
        foreach (var answer in await Task.WhenAll(deliveries.Select(api.Webhook))) answer.Expect(200);
        // And once more, one after the other.
        foreach (var e in events.Reverse()) (await api.Webhook(e)).Expect(200);

        Assert.Equal(100_050, await Balance(api));
        var purchase = Assert.Single(await api.Ledger("acme", "tokens-purchased"));
        Assert.Equal("pi_c4", purchase["data"]!["payment"]!.GetValue<string>());
        Assert.Equal(100_000, Assert.Single(await Transactions(api), t => t["kind"]!.GetValue<string>() == "purchased")["tokens"]!.GetValue<long>());
        var grants = (await api.Get("/v1/organizations/acme/tokens"))["grants"]!.AsArray();
        Assert.Equal(500, Assert.Single(grants, g => g!["kind"]!.GetValue<string>() == "purchased")!["paid"]!["amount"]!.GetValue<long>());
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task C4_a_session_that_is_not_paid_yet_grants_nothing_and_two_payments_are_two_purchases()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");

        await api.Stripe("checkout.session.completed", StripeFixture.TokenSession("cs_1", "acme", "starter", "pi_1", 500, paymentStatus: "unpaid"));
        Assert.Equal(0, await Balance(api));
        await api.Stripe("checkout.session.async_payment_succeeded", StripeFixture.TokenSession("cs_1", "acme", "starter", "pi_1", 500));
        Assert.Equal(100_000, await Balance(api));
        await api.Stripe("checkout.session.completed", StripeFixture.TokenSession("cs_2", "acme", "booster", "pi_2", 2_000));
        // Nothing was due: the session itself is the payment's name.
        var free = StripeFixture.TokenSession("cs_3", "acme", "starter", null, 0, paymentStatus: "no_payment_required");
        for (var i = 0; i < 3; i++) await api.Stripe("checkout.session.completed", free);

        Assert.Equal(700_000, await Balance(api));
        Assert.Equal(3, (await api.Ledger("acme", "tokens-purchased")).Count);
    }

    [Fact]
    public async Task C5_concurrent_requests_burn_exactly_as_many_tokens_as_succeed()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        // Several grants, so that the edges between them are run over too.
        foreach (var tokens in (long[])[7, 50, 1, 92]) await api.Grant("acme", tokens);
        for (var i = 0; i < 3; i++) (await api.Use("acme", "ai_requests")).Expect(201);

        var answers = await Task.WhenAll(Enumerable.Range(0, 400).Select(_ => api.Use("acme", "ai_requests")));

        var succeeded = answers.Where(a => a.Status == 201).ToList();
        Assert.Equal(150, succeeded.Count);
        Assert.All(answers.Except(succeeded), a => Assert.Equal((403, "quota_exceeded"), (a.Status, a.Code)));
        Assert.All(succeeded, a => Assert.Equal(1, a.Number("covered.tokens")));
        Assert.Equal(150, succeeded.Select(a => a.String("id")).Distinct().Count());
        Assert.Equal(0, await Balance(api));
        // Never the same token twice: what was burned of each grant is what it had.
        var burned = (await Transactions(api)).Where(t => t["kind"]!.GetValue<string>() == "burned");
        Assert.Equal([1, 7, 50, 92], burned.GroupBy(t => t["grant"]!.GetValue<string>(), t => -t["tokens"]!.GetValue<long>()).Select(g => g.Sum()).Order());
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task C6_subscribing_quarterly_with_a_payment_method_begins_the_trial_of_seven_days()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        using var acme = await api.ClientOf("acme");
        (await Put(api, new { plan = "community-pro", interval = "quarter" }, acme)).ExpectProblem(402, "payment_method_required", "The trial of 'community-pro' needs a payment method.", "payment_method");
        Assert.Equal("explorer", (await api.Subscription("acme")).String("plan"));

        var subscribed = (await Put(api, new { plan = "community-pro", interval = "quarter", payment_method = true }, acme)).Expect(200);

        Assert.Equal(("community-pro", "trialing", "quarter", "2026-11-27T10:00:00Z"),
            (subscribed.String("plan"), subscribed.String("status"), subscribed.String("interval"), subscribed.String("trial_end")));
        Assert.Equal(100, (await api.Check("acme", "ai_requests")).Number("limit"));
        api.Clock.Set("2026-11-27T10:00:00Z");
        Assert.Equal(1, await api.RunDueWork());
        var active = await api.Subscription("acme");
        Assert.Equal(("active", "2026-11-27T10:00:00Z", "2027-02-27T10:00:00Z"), (active.String("status"), active.String("period.start"), active.String("period.end")));
        Assert.Equal(5_400, Assert.Single(await api.List("/v1/organizations/acme/invoices"))["total"]!["amount"]!.GetValue<long>());
    }

    [Fact]
    public async Task C6_upgrading_is_prorated_also_right_after_subscribing()
    {
        await using var api = await TestApi.Start("learning-community");
        foreach (var organization in (string[])["acme", "hasty"])
        {
            await api.Open(organization);
            (await api.Put($"/v1/organizations/{organization}/subscription", new { plan = "community-pro", interval = "quarter", trial = false, payment_method = true })).Expect(200);
        }
        // At the same instant all of it comes back, and all of the new price is charged.
        (await api.Put("/v1/organizations/hasty/subscription", new { plan = "pro-learn", proration = "invoice_now" })).Expect(200);
        Assert.Equal([10_500 - 5_400, 5_400], (await api.List("/v1/organizations/hasty/invoices")).Select(i => i["total"]!["amount"]!.GetValue<long>()));
        Assert.Equal("buy", (await api.Check("hasty", "marketplace")).String("value"));

        // The quarter has 92 days, of which 46 are left.
        api.Clock.Set("2027-01-05T10:00:00Z");
        (await api.Put("/v1/organizations/acme/subscription", new { plan = "pro-learn" })).Expect(200);
        Assert.Equal("pro-learn", (await api.Subscription("acme")).String("plan"));
        var lines = (await api.Get("/v1/organizations/acme/invoices/upcoming")).Expect(200).At("invoices.0.lines")!.AsArray();
        Assert.Equal([("Unused time on Community Pro from 2027-01-05", -2_700L), ("Remaining time on Pro Learn from 2027-01-05", 5_250L)],
            lines.Select(l => ((string)l!["description"]!, l["amount"]!["amount"]!.GetValue<long>())));
        api.Clock.Set("2027-02-20T10:00:00Z");
        await api.RunDueWork();
        Assert.Equal(10_500 - 2_700 + 5_250, (await api.List("/v1/organizations/acme/invoices"))[0]["total"]!["amount"]!.GetValue<long>());
        await api.VerifyLedger("acme");
    }

    [Theory]
    // Within the trial, and past it.
    [InlineData("2026-11-22T00:00:00Z", "2026-11-27T10:00:00Z", 0)]
    [InlineData("2026-12-22T00:00:00Z", "2027-02-27T10:00:00Z", 1)]
    public async Task C6_cancelling_keeps_access_until_the_period_ends(string cancelled, string ends, int invoices)
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await Put(api, new { plan = "community-pro", interval = "quarter", payment_method = true })).Expect(200);
        api.Clock.Set(cancelled);
        await api.RunDueWork();

        var answer = (await api.Send(HttpMethod.Delete, "/v1/organizations/acme/subscription")).Expect(200);

        Assert.Equal((true, ends), (answer.True("cancel_at_period_end"), answer.String("cancel_at")));
        api.Clock.Now = TestApi.Time(ends) - Duration.FromSeconds(1);
        Assert.True((await api.Check("acme", "private_projects")).True("has_access"));
        api.Clock.Set(ends);
        // By the clock, whether the timer came by yet or not.
        Assert.False((await api.Check("acme", "private_projects")).True("has_access"));
        Assert.Equal(("explorer", "canceled"), ((await api.Subscription("acme")).String("plan"), (await api.Subscription("acme")).String("status")));
        Assert.Equal(1, await api.RunDueWork());
        Assert.Equal(("explorer", "canceled"), ((await api.Subscription("acme")).String("plan"), (await api.Subscription("acme")).String("status")));
        Assert.Equal(invoices, (await api.List("/v1/organizations/acme/invoices")).Count);
    }

    [Fact]
    public async Task C6_the_payment_method_changes_within_a_period_and_nothing_else_does()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await Put(api, new { plan = "pro-learn", interval = "month", payment_method = true })).Expect(200);
        var before = await api.Subscription("acme");
        api.Clock.Advance(Duration.FromDays(10));

        foreach (var has in (bool[])[false, true]) Assert.Equal(has, (await Put(api, new { payment_method = has })).Expect(200).True("payment_method"));

        Assert.Equal(before.Text, (await api.Subscription("acme")).Text);
        Assert.Equal(2, (await api.Ledger("acme", "subscription-changed")).Count(e => (string?)e["data"]!["change"] == "payment_method_changed"));
    }

    private static Task<Answer> Put(TestApi api, object body, HttpClient? by = null) => api.Put("/v1/organizations/acme/subscription", body, by: by);

    [Fact]
    public async Task C15_money_that_goes_back_takes_the_tokens_back_and_what_was_burned_is_a_debt_that_is_shown()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await api.Webhook(StripeFixture.Event("payment_intent.succeeded", StripeFixture.PaymentIntent("pi_c15", 500, "acme", "starter", "cus_c15"), api.Clock.Now))).Expect(200);
        // Three for life, and 10 by tokens.
        for (var i = 0; i < 13; i++) (await api.Use("acme", "ai_requests")).Expect(201);

        await Return(500);
        Assert.Equal((0L, 10L), await BalanceAndDebt());
        (await api.Use("acme", "ai_requests")).Expect(403);
        // What is bought later is not taken for it.
        await api.Grant("acme", 50);
        Assert.Equal((50L, 10L), await BalanceAndDebt());

        // The dispute is won.
        await Return(0);
        Assert.Equal((100_040L, 0L), await BalanceAndDebt());
        await api.VerifyLedger("acme");

        async Task Return(long total) => await api.Services.Host.Organization("acme").Execute(
            new ReturnMoney("pi_c15", total) { Id = $"returned-{total}", ContentHash = [1], At = api.Services.Clock.Now() });

        async Task<(long, long)> BalanceAndDebt() =>
            await api.Get("/v1/organizations/acme/tokens") is var tokens ? ((long)tokens.Number("balance"), (long)tokens.Number("debt")) : default;
    }

    [Fact]
    public async Task C8_a_deleted_subscription_falls_back_to_explorer()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var subscription = await api.Subscribe("acme", "pro-learn-month", until: "2026-12-20T10:00:00Z");
        Assert.Equal("buy", (await api.Check("acme", "marketplace")).String("value"));
        await api.Grant("acme", 5);

        await api.Stripe("customer.subscription.deleted", subscription.With(("status", "canceled"), ("ended_at", api.Clock.Now.ToUnixTimeSeconds())));

        var after = await api.Subscription("acme");
        Assert.Equal(("explorer", "fallback", "canceled"), (after.String("plan"), after.String("source"), after.String("status")));
        Assert.Equal("view", (await api.Check("acme", "marketplace")).String("value"));
        Assert.False((await api.Check("acme", "premium_courses")).True("has_access"));
        Assert.Equal("lifetime", (await api.Check("acme", "ai_requests")).String("window"));
        // Tokens are the organization's, whatever its plan.
        Assert.Equal(5, await Balance(api));
    }

    [Fact]
    public async Task C8_a_succeeded_payment_intent_grants_tokens_only_when_it_says_which_package()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");

        await api.Stripe("payment_intent.succeeded", StripeFixture.PaymentIntent("pi_1", 3_500, "acme", "power"));
        // The payment of a subscription's invoice comes by the same event.
        await api.Stripe("payment_intent.succeeded", StripeFixture.PaymentIntent("pi_2", 5_400, "acme", package: null));

        Assert.Equal(1_000_000, await Balance(api));
    }

    [Fact]
    public async Task C9_unauthenticated_calls_get_401_on_every_route()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        using var nobody = api.Client(null);
        using var stranger = api.Client("bk_live_00000000000000000000000000000000000000000000000f");
        var routes = await api.Routes("/v1/");
        Assert.True(routes.Count > 20);

        foreach (var (method, path) in routes)
            foreach (var client in (HttpClient[])[nobody, stranger])
            {
                var answer = await api.Send(method, path, method == HttpMethod.Get ? null : "{}", TestApi.NewKey(), client);
                Assert.True((answer.Status, answer.Code) == (401, "unauthenticated"), $"{method} {path}: {answer.Status} {answer.Text}");
                Assert.Equal("Bearer", answer.Headers["WWW-Authenticate"]);
            }

        Assert.Equal(1, (await api.Get("/v1/organizations/acme")).Number("version"));
        (await api.Send(HttpMethod.Get, "/v1/there-is-nothing-here", by: nobody)).Expect(401);
    }

    [Fact]
    public async Task C10_seven_things_are_kept_and_can_be_listed()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var subscription = await api.Subscribe("acme", "community-pro-quarter", until: "2027-02-20T10:00:00Z");
        api.Clock.Advance(Duration.FromHours(1));
        await api.Stripe("customer.subscription.updated", subscription.AtPrice("pro-learn-quarter"));
        await api.Stripe("checkout.session.completed", StripeFixture.TokenSession("cs_1", "acme", "starter", "pi_1", 500));
        await api.Stripe("checkout.session.completed", StripeFixture.TokenSession("cs_2", "acme", "booster", "pi_2", 2_000));
        (await api.Use("acme", "ai_requests", 260)).Expect(201);

        var tiers = (await api.Get("/v1/plans")).Expect(200)["plans"]!.AsArray();
        Assert.Equal(["explorer", "community-pro", "pro-learn", "creator-mentor"], Texts(tiers, "id"));
        Assert.Equal([1_800L, 5_400L, 19_440L], tiers[1]!["prices"]!.AsArray().Select(p => p!["price"]!["amount"]!.GetValue<long>()));

        var kept = await api.Subscription("acme");
        Assert.Equal(("pro-learn", "active", "quarter"), (kept.String("plan"), kept.String("status"), kept.String("interval")));
        Assert.Equal("2027-02-20T10:00:00Z", kept.String("period.end"));

        var packages = (await api.Get("/v1/token-packages")).Expect(200)["token_packages"]!.AsArray();
        Assert.Equal(["starter", "booster", "power"], Texts(packages, "id"));
        Assert.Equal([100_000L, 500_000L, 1_000_000L], packages.Select(p => p!["tokens"]!.GetValue<long>()));

        Assert.Equal(599_990, await Balance(api));

        var purchases = await api.Ledger("acme", "tokens-purchased");
        Assert.Equal(["starter", "booster"], purchases.Select(p => p["data"]!["package"]!.GetValue<string>()));

        var transactions = await Transactions(api);
        Assert.Equal(["purchased", "purchased", "burned"], Texts(transactions, "kind"));
        Assert.Equal([100_000L, 500_000L, -10L], transactions.Select(t => t["tokens"]!.GetValue<long>()));

        var changes = await api.Ledger("acme", "subscription-changed");
        Assert.Equal(["community-pro", "pro-learn"], changes.Select(c => c["data"]!["followed"]!["plan"]!.GetValue<string>()));
    }

    [Fact]
    public async Task C11_switched_off_nobody_subscribes_those_who_did_notice_nothing_and_nothing_else_changes()
    {
        await using var shop = await Shop.Open();
        await shop.Subscribe("community-pro");
        await shop.Api.Open("beta");
        var (before, version) = (await shop.Subscription(), (await shop.Api.Get("/v1/organizations/acme")).Number("version"));

        (await shop.Api.Put("/v1/flags/new_subscriptions", new { on = false })).Expect(200);

        // At once, on both ways to subscribe.
        const string sentence = "New subscriptions cannot be taken out at the moment. Those that there are go on as they are.";
        (await shop.Api.Post("/v1/organizations/beta/checkout-sessions", new { plan = "pro-learn", interval = "month" })).ExpectProblem(403, "new_subscriptions_off", sentence);
        (await shop.Api.Put("/v1/organizations/beta/subscription", new { plan = "pro-learn", interval = "month", payment_method = "pm_card_visa" }, TestApi.NewKey())).ExpectProblem(403, "new_subscriptions_off", sentence);
        Assert.Single(shop.Stripe.Server.All("checkout.session"));
        Assert.False((await shop.Api.Get("/v1/config")).True("flags.new_subscriptions"));

        // Who has one: the same subscription, which is changed, cancelled, taken back and renewed as ever.
        Assert.Equal(before.Text, (await shop.Subscription()).Text);
        Assert.Equal(version, (await shop.Api.Get("/v1/organizations/acme")).Number("version"));
        Assert.Equal("pro-learn", (await shop.Api.Put("/v1/organizations/acme/subscription", new { plan = "pro-learn", interval = "month" }, TestApi.NewKey())).Expect(200).String("plan"));
        Assert.True((await shop.Api.Send(HttpMethod.Delete, "/v1/organizations/acme/subscription")).Expect(200).True("cancel_at_period_end"));
        Assert.False((await shop.Api.Post("/v1/organizations/acme/subscription/reactivate")).Expect(200).True("cancel_at_period_end"));
        await shop.Api.AdvanceTo("2026-12-20T12:00:00Z");
        Assert.Equal(("pro-learn", "active", "2027-01-20T10:00:00Z"), await shop.Subscription() is var s ? (s.String("plan"), s.String("status"), s.String("period.end")) : default);
        // And everything else is sold and served.
        (await shop.Post("tokens/purchase", new { token_package = "starter" })).Expect(201);
        (await shop.Post("portal-sessions", new { })).Expect(201);
        (await shop.Api.Use("beta", "ai_requests")).Expect(201);

        (await shop.Api.Put("/v1/flags/new_subscriptions", new { on = true })).Expect(200);
        (await shop.Api.Post("/v1/organizations/beta/checkout-sessions", new { plan = "pro-learn", interval = "month" })).Expect(201);
    }

    [Fact]
    public async Task C14_no_charge_is_doubled_by_concurrent_repeats_with_the_webhook_endpoint_under_load()
    {
        const int buyers = 8, repeats = 6;
        await using var shop = await Shop.Open();
        foreach (var i in Enumerable.Range(0, buyers)) await shop.Api.Open($"org-{i}");
        using var done = new CancellationTokenSource();
        var delivered = 0;
        // Somebody else's events come in without end.
        var load = Enumerable.Range(0, 4).Select(_ => Task.Run(async () =>
        {
            while (!done.IsCancellationRequested && Interlocked.Increment(ref delivered) is var n && n <= 5_000)
                (await shop.Api.Deliver(StripeFixture.Event("payment_intent.succeeded", StripeFixture.PaymentIntent($"pi_load_{n}", 500, "acme", "starter", "cus_load"), shop.Api.Clock.Now, $"evt_load_{n}"))).Expect(200);
        })).Append(Task.Run(async () =>
        {
            while (!done.IsCancellationRequested) await shop.Api.RunStripeWork();
        })).ToArray();

        // Each request of each buyer several times at once, under its key.
        await Task.WhenAll(Enumerable.Range(0, buyers * repeats).Select(async n =>
        {
            var organization = $"/v1/organizations/org-{n % buyers}";
            (await shop.Api.Put($"{organization}/subscription", new { plan = "pro-learn", interval = "month", payment_method = "pm_card_visa" }, "subscribe")).Expect(200);
            (await shop.Api.Put($"{organization}/subscription", new { plan = "pro-learn", interval = "year" }, "upgrade")).Expect(200);
            var intent = (await shop.Api.Post($"{organization}/tokens/purchase", new { token_package = "booster", mode = "payment_intent" }, "buy")).Expect(201).String("id");
            await shop.Stripe.PostWithKey($"pay-{intent}", $"/v1/payment_intents/{intent}/confirm", "payment_method=pm_card_visa", "return_url=https://app.example.com");
        }));
        foreach (var e in shop.Stripe.Server.All("event")) shop.Stripe.Server.Resend((string)e["id"]!);
        await shop.Stripe.Server.Settle();
        await done.CancelAsync();
        await Task.WhenAll(load);
        await shop.Api.Settle();

        // Of each one customer, one subscription, and three charges: the month, the year, the tokens.
        var charges = shop.Stripe.Server.All("charge").GroupBy(c => (string)c["customer"]!).Select(c => c.Count()).ToList();
        Assert.Equal(Enumerable.Repeat(3, buyers), charges);
        Assert.Equal((buyers, buyers), (shop.Stripe.Server.All("customer").Count, shop.Stripe.Server.All("subscription").Count));
        foreach (var i in Enumerable.Range(0, buyers))
        {
            Assert.Equal(500_000, (await shop.Api.Get($"/v1/organizations/org-{i}/tokens")).Number("balance"));
            Assert.Equal(("pro-learn", "year"), await shop.Api.Subscription($"org-{i}") is var s ? (s.String("plan"), s.String("interval")) : default);
        }
        var heard = Math.Min(delivered, 5_000);
        Assert.Equal(100_000L * heard, await shop.Balance());
        await shop.Api.VerifyLedger("org-0");
    }

    private static async Task<decimal> Balance(TestApi api) => (await api.Get("/v1/organizations/acme/tokens")).Expect(200).Number("balance");

    private static Task<IReadOnlyList<JsonNode>> Transactions(TestApi api) => api.List("/v1/organizations/acme/tokens/transactions");

    private static IEnumerable<string> Texts(IEnumerable<JsonNode?> items, string name) => items.Select(i => i![name]!.GetValue<string>());
}
