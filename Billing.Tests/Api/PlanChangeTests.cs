using System.Text.Json.Nodes;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>What a change of plan, of the billing anchor, or of a payment does to access and to what was used.</summary>
public sealed class PlanChangeTests
{
    // ---- use belongs to the feature, whatever the plan

    [Fact]
    public async Task what_was_used_in_the_running_month_counts_against_the_new_allowance()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");
        (await api.Use("acme", "characters", 10_000)).Expect(201);

        await api.SetPlan("acme", "starter");

        Assert.Equal((100_000m, 10_000m, 90_000m), await Numbers(api));
        (await api.Use("acme", "characters", 90_001)).Expect(402);
        (await api.Use("acme", "characters", 90_000)).Expect(201);
        // Back on the small plan nothing is left, and nothing is negative.
        await api.SetPlan("acme", "free");
        Assert.Equal((10_000m, 100_000m, 0m), await Numbers(api));
        Assert.Empty(await api.Ledger("acme", "quota-reset"));
        api.Clock.Set("2026-12-01T00:00:00Z");
        Assert.Equal((10_000m, 0m, 10_000m), await Numbers(api));
    }

    [Fact]
    public async Task when_the_anchor_moves_what_was_used_is_carried_over_and_the_next_regular_turn_empties_it()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");
        (await api.Use("acme", "characters", 10_000)).Expect(201);

        var subscription = await api.Subscribe("acme", "starter-month", until: "2026-12-20T10:00:00Z");
        Assert.Equal((100_000m, 10_000m, 90_000m), await Numbers(api));
        Assert.Equal("2026-12-20T10:00:00Z", (await api.Check("acme", "characters")).String("resets_at"));
        // The calendar's turn is no longer one.
        api.Clock.Set("2026-12-01T00:00:00Z");
        Assert.Equal(0, await api.RunDueWork());
        (await api.Use("acme", "characters", 5_000)).Expect(201);
        Assert.Equal((100_000m, 15_000m, 85_000m), await Numbers(api));

        api.Clock.Set("2026-12-20T10:00:00Z");
        Assert.Equal((100_000m, 0m, 100_000m), await Numbers(api));
        (await api.Use("acme", "characters", 4_000)).Expect(201);
        Assert.Equal("2026-12-20T10:00:00Z", Assert.Single(await api.Ledger("acme", "quota-reset"))["effective_at"]!.GetValue<string>());

        // It ends: the calendar's month is back, with what was used in the running one.
        api.Clock.Set("2026-12-28T00:00:00Z");
        await api.Stripe("customer.subscription.deleted", subscription.With(("status", "canceled"), ("ended_at", api.Clock.Now.ToUnixTimeSeconds())));
        Assert.Equal((10_000m, 4_000m, 6_000m), await Numbers(api));
        Assert.Equal("2027-01-01T00:00:00Z", (await api.Check("acme", "characters")).String("resets_at"));
        api.Clock.Set("2027-01-01T00:00:00Z");
        Assert.Equal((10_000m, 0m, 10_000m), await Numbers(api));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task when_the_anchor_moves_a_gauges_peak_is_carried_over_too()
    {
        await using var api = await TestApi.Start("quantum");
        await api.Open("acme");
        var subscription = await api.Subscribe("acme", "professional-month", until: "2026-12-20T10:00:00Z");
        (await api.Use("acme", "storage_gb", 62.5m)).Expect(201);
        (await api.Use("acme", "storage_gb", -42.5m)).Expect(201);

        // From monthly to yearly, beginning now.
        api.Clock.Set("2026-12-01T00:00:00Z");
        await api.Stripe("customer.subscription.updated",
            subscription.AtPrice("professional-year").ForPeriod(api.Clock.Now, TestApi.Time("2027-12-01T00:00:00Z")));
        Assert.Equal((62.5m, 125m), await Peak());
        (await api.Use("acme", "storage_gb", 1)).Expect(201);
        Assert.Equal((62.5m, 125m), await Peak());
        api.Clock.Set("2026-12-20T10:00:00Z");
        Assert.Equal((62.5m, 125m), await Peak());

        api.Clock.Set("2027-12-01T00:00:00Z");
        Assert.Equal((21m, 0m), await Peak());
        await api.VerifyLedger("acme");

        async Task<(decimal, decimal)> Peak()
        {
            var line = (await api.Get("/v1/organizations/acme/usage/current"))["usage"]!.AsArray().Single(l => l!["feature"]!.GetValue<string>() == "storage_gb")!;
            return (line["peak"]!.GetValue<decimal>(), line["charge"]!["amount"]!.GetValue<decimal>());
        }
    }

    [Fact]
    public async Task a_lifetime_counts_only_use_under_plans_that_give_the_feature_once_for_a_lifetime()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await api.Use("acme", "ai_requests", 2)).Expect(201);
        await api.SetPlan("acme", "community-pro");
        // Today's two are of today, whatever the plan.
        Assert.Equal(98, (await api.Check("acme", "ai_requests")).Number("remaining"));
        (await api.Use("acme", "ai_requests", 98)).Expect(201);

        await api.SetPlan("acme", "explorer");

        var check = await api.Check("acme", "ai_requests");
        Assert.Equal(("lifetime", 3m, 2m, 1m), (check.String("window"), check.Number("limit"), check.Number("used"), check.Number("remaining")));
        (await api.Use("acme", "ai_requests")).Expect(201);
        (await api.Use("acme", "ai_requests")).Expect(403);
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task a_late_renewal_webhook_does_not_hold_back_the_turn_of_the_month_and_turns_it_no_second_time()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");
        var subscription = await api.Subscribe("acme", "starter-month", until: "2026-12-20T10:00:00Z");
        (await api.Use("acme", "characters", 100_000)).Expect(201);

        api.Clock.Set("2026-12-20T10:00:00Z");
        (await api.Use("acme", "characters", 30_000)).Expect(201);
        Assert.Equal("2026-12-20T10:00:00Z", (await api.Get("/v1/organizations/acme/usage/current")).String("period.start"));
        api.Clock.Set("2026-12-23T00:00:00Z");
        await api.Stripe("customer.subscription.updated", subscription.ForPeriod(TestApi.Time("2026-12-20T10:00:00Z"), TestApi.Time("2027-01-20T10:00:00Z")));
        await api.RunDueWork();

        Assert.Equal((100_000m, 30_000m, 70_000m), await Numbers(api));
        Assert.Equal("2027-01-20T10:00:00Z", (await api.Check("acme", "characters")).String("resets_at"));
        Assert.Single(await api.Ledger("acme", "quota-reset"));
        await api.VerifyLedger("acme");
    }

    // ---- payments and grace

    [Fact]
    public async Task a_failed_payment_leaves_access_for_the_grace_days_then_falls_back_and_paying_restores_it()
    {
        await using var api = await TestApi.Start("video-matching");
        await api.Open("acme");
        var (subscription, renewed) = await FailingRenewal(api);
        // Grace runs from the first attempt: later ones, and failures of later invoices, do not make it longer.
        api.Clock.Advance(Duration.FromDays(2));
        await api.Stripe("invoice.payment_failed", Invoice(subscription, "in_1", attempts: 2, paid: false));
        await api.Stripe("invoice.payment_failed", Invoice(subscription, "in_2", attempts: 1, paid: false));
        Assert.Equal("2026-12-23T11:00:00Z", (await api.Subscription("acme")).String("grace_until"));
        Assert.Equal(("pro", "subscription", "past_due"), await Plan(api));

        api.Clock.Set("2026-12-23T10:59:59Z");
        (await api.Use("acme", "api_calls", 500)).Expect(201);
        api.Clock.Set("2026-12-23T11:00:00Z");
        Assert.Equal(("free", "fallback", "past_due"), await Plan(api));
        Assert.Equal("subscription_inactive", (await api.Check("acme", "websocket_streaming")).String("denial.code"));
        (await api.Use("acme", "api_calls", 1)).Expect(402);

        await api.Stripe("invoice.paid", Invoice(subscription, "in_1", attempts: 3, paid: true));
        await api.Stripe("invoice.paid", Invoice(subscription, "in_2", attempts: 2, paid: true));
        await api.Stripe("customer.subscription.updated", renewed);
        Assert.Equal(("pro", "subscription", "active"), await Plan(api));
        Assert.Null((await api.Subscription("acme")).At("grace_until"));
        (await api.Use("acme", "api_calls", 9_500)).Expect(201);
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task paying_restores_access_before_stripe_says_that_the_subscription_is_active_again()
    {
        await using var api = await TestApi.Start("video-matching");
        await api.Open("acme");
        var (subscription, renewed) = await FailingRenewal(api);

        // Within the grace, where to pay must never cost access.
        api.Clock.Set("2026-12-23T10:30:00Z");
        await api.Stripe("invoice.paid", Invoice(subscription, "in_1", attempts: 2, paid: true));
        Assert.Equal(("pro", "subscription", "past_due"), await Plan(api));
        // And past it.
        api.Clock.Set("2026-12-28T00:00:00Z");
        Assert.Equal(("pro", "subscription", "past_due"), await Plan(api));
        // The next invoice that fails has a grace of its own.
        await api.Stripe("invoice.payment_failed", Invoice(subscription, "in_2", attempts: 1, paid: false));
        Assert.Equal("2026-12-31T00:00:00Z", (await api.Subscription("acme")).String("grace_until"));
        api.Clock.Set("2026-12-31T00:00:00Z");
        Assert.Equal(("free", "fallback", "past_due"), await Plan(api));
        await api.Stripe("customer.subscription.updated", renewed);
        Assert.Equal(("pro", "subscription", "active"), await Plan(api));
    }

    [Fact]
    public async Task grace_is_the_same_in_whatever_order_stripe_tells_of_it()
    {
        await using var api = await TestApi.Start("video-matching", at: "2026-11-20T10:00:00Z");
        var period = (Start: TestApi.Time("2026-11-20T10:00:00Z"), End: TestApi.Time("2026-12-20T10:00:00Z"));
        var answers = new HashSet<string>();
        var organizations = 0;
        foreach (var order in Permutations([0, 1, 2, 3]))
        {
            var organization = $"org-{++organizations}";
            var subscription = StripeFixture.Subscription("sub_1", $"cus_{organization}", "pro-month", "active", period.Start, period.Start, period.End, organization);
            JsonObject[] events =
            [
                StripeFixture.Event("customer.subscription.created", subscription, period.Start),
                StripeFixture.Event("customer.subscription.updated", subscription.With(("status", "past_due")), period.End + Duration.FromHours(1), $"evt_{organization}_b"),
                StripeFixture.Event("invoice.payment_failed", Failed(1), period.End + Duration.FromHours(1)),
                StripeFixture.Event("invoice.payment_failed", Failed(2), period.End + Duration.FromDays(2)),
            ];
            api.Clock.Now = period.Start;
            await api.Open(organization);
            api.Clock.Set("2026-12-22T12:00:00Z");
            foreach (var i in order) (await api.Webhook(events[i])).Expect(200);
            answers.Add((await api.Subscription(organization)).Text.Replace(organization, "org"));

            JsonObject Failed(int attempts) => StripeFixture.Invoice("in_1", $"cus_{organization}", "sub_1", 2_900, attempts, paid: false);
        }

        Assert.Equal(24, organizations);
        Assert.Contains("\"grace_until\":\"2026-12-23T11:00:00Z\"", Assert.Single(answers), StringComparison.Ordinal);
    }

    // ---- who says which plan

    [Fact]
    public async Task an_operators_plan_stands_until_stripe_sends_a_subscription_that_gives_access()
    {
        await using var api = await TestApi.Start("video-matching");
        await api.Open("acme");
        var subscription = await api.Subscribe("acme", "pro-month", until: "2026-12-20T10:00:00Z");
        api.Clock.Advance(Duration.FromHours(1));
        await api.SetPlan("acme", "enterprise");
        Assert.Equal(("enterprise", "operator", "active"), await Plan(api));

        foreach (var status in (string[])["past_due", "unpaid", "paused", "incomplete"])
        {
            api.Clock.Advance(Duration.FromHours(1));
            await api.Stripe("customer.subscription.updated", subscription.With(("status", status)));
            Assert.Equal(("enterprise", "operator", "active"), await Plan(api));
        }
        api.Clock.Advance(Duration.FromDays(60));
        Assert.Equal(("enterprise", "operator", "active"), await Plan(api));
        await api.Stripe("customer.subscription.updated", subscription);
        Assert.Equal(("pro", "subscription", "active"), await Plan(api));

        // An older event that comes late does not end what an operator set after it.
        api.Clock.Advance(Duration.FromHours(1));
        await api.SetPlan("acme", "enterprise");
        api.Clock.Advance(Duration.FromHours(1));
        (await api.Webhook(StripeFixture.Event("customer.subscription.updated", subscription, api.Clock.Now - Duration.FromMinutes(90)))).Expect(200);
        Assert.Equal(("enterprise", "operator", "active"), await Plan(api));
        // And neither does the end of the subscription.
        await api.Stripe("customer.subscription.deleted", subscription.With(("status", "canceled"), ("ended_at", api.Clock.Now.ToUnixTimeSeconds())));
        Assert.Equal(("enterprise", "operator", "active"), await Plan(api));
    }

    [Fact]
    public async Task events_of_an_unknown_organization_are_kept_and_applied_when_it_is_opened()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Stripe("payment_intent.succeeded", StripeFixture.PaymentIntent("pi_1", 500, "acme", "starter", "cus_acme"));
        var subscription = await api.Subscribe("acme", "community-pro-month", until: "2026-12-20T10:00:00Z");
        // This one names only a customer, who is linked by the ones before it.
        await api.Stripe("invoice.paid", StripeFixture.Invoice("in_1", "cus_acme", subscription["id"]!.GetValue<string>(), 1_800, 1, paid: true));
        Assert.Equal(3, (await api.List("/v1/stripe/events?state=unclaimed")).Count);
        (await api.Get("/v1/organizations/acme")).Expect(404);

        api.Clock.Advance(Duration.FromMinutes(1));
        await api.Open("acme");

        Assert.Empty(await api.List("/v1/stripe/events?state=unclaimed"));
        Assert.Equal(3, (await api.List("/v1/stripe/events?state=applied")).Count);
        Assert.Equal(("community-pro", "subscription", "active"), await Plan(api));
        Assert.Equal("in_1", (await api.Subscription("acme")).String("payments.0.invoice"));
        Assert.Equal(100_000, (await api.Get("/v1/organizations/acme/tokens")).Number("balance"));
    }

    [Fact]
    public async Task events_of_an_unknown_customer_are_kept_and_applied_when_the_customer_is_linked()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var subscription = StripeFixture.Subscription(
            "sub_1", "cus_1", "pro-learn-month", "active", api.Clock.Now, api.Clock.Now, TestApi.Time("2026-12-20T10:00:00Z"));
        await api.Stripe("customer.subscription.created", subscription);
        await api.Stripe("invoice.paid", StripeFixture.Invoice("in_1", "cus_1", "sub_1", 3_500, 1, paid: true));
        Assert.Equal(2, (await api.List("/v1/stripe/events?state=unclaimed")).Count);
        Assert.Equal(("explorer", "fallback", "none"), await Plan(api));

        await api.Stripe("checkout.session.completed", StripeFixture.SubscriptionSession("cs_1", "acme", "cus_1", "sub_1"));

        Assert.Empty(await api.List("/v1/stripe/events?state=unclaimed"));
        Assert.Equal(("pro-learn", "subscription", "active"), await Plan(api));
        Assert.Equal("in_1", (await api.Subscription("acme")).String("payments.0.invoice"));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task an_opening_and_a_webhook_at_the_same_moment_never_miss_each_other()
    {
        await using var api = await TestApi.Start("learning-community");
        var organizations = Enumerable.Range(1, 40).Select(i => $"org-{i}").ToList();

        await Task.WhenAll(organizations.SelectMany(organization => (Task[])
        [
            api.Subscribe(organization, "community-pro-month", until: "2026-12-20T10:00:00Z"),
            api.Open(organization),
            api.Stripe("checkout.session.completed", StripeFixture.TokenSession($"cs_{organization}", organization, "starter", $"pi_{organization}", 500)),
        ]));

        Assert.Empty(await api.List("/v1/stripe/events?state=unclaimed"));
        foreach (var organization in organizations)
        {
            Assert.Equal("community-pro", (await api.Subscription(organization)).String("plan"));
            Assert.Equal(100_000, (await api.Get($"/v1/organizations/{organization}/tokens")).Number("balance"));
        }
    }

    // ---- use that has already happened

    [Fact]
    public async Task use_that_has_happened_is_recorded_past_any_limit_free_of_charge_and_flagged()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");
        (await api.Use("acme", "characters", 9_000)).Expect(201);

        var past = (await Happened(api, "characters", 6_000)).Expect(201);
        Assert.Equal((1_000m, 0m, 5_000m), (past.Number("covered.allowance"), past.Number("covered.tokens"), past.Number("covered.overage")));
        Assert.True(past.True("over_limit"));
        Assert.Equal(0, past.Number("charge.amount"));
        Assert.Equal((10_000m, 15_000m, 0m), await Numbers(api));
        (await api.Use("acme", "characters", 1)).Expect(402);
        // Past the hourly rate too: that is a limit on what may begin, not on what has been.
        (await Happened(api, "requests", 50)).Expect(201);
        (await api.Use("acme", "requests")).Expect(429);
        // Within a limit nothing is flagged.
        await api.SetPlan("acme", "starter");
        Assert.Null((await Happened(api, "characters", 10)).Expect(201).At("over_limit"));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task use_that_has_happened_is_priced_where_the_plan_prices_it_and_burns_the_tokens_that_there_are()
    {
        await using var quantum = await TestApi.Start("quantum");
        await quantum.Open("acme", "professional");
        var priced = (await Happened(quantum, "quantum_jobs", 110)).Expect(201);
        Assert.Equal((100m, 10m, 500m), (priced.Number("covered.allowance"), priced.Number("covered.overage"), priced.Number("charge.amount")));
        Assert.Null(priced.At("over_limit"));

        await using var community = await TestApi.Start("learning-community");
        await community.Open("acme");
        await community.Grant("acme", 4);
        var burned = (await Happened(community, "ai_requests", 10)).Expect(201);
        Assert.Equal((3m, 4m, 3m), (burned.Number("covered.allowance"), burned.Number("covered.tokens"), burned.Number("covered.overage")));
        Assert.True(burned.True("over_limit"));
        Assert.Equal(0, (await community.Get("/v1/organizations/acme/tokens")).Number("balance"));
        await community.VerifyLedger("acme");
    }

    // ---- what the tests share

    /// <summary>A subscription whose renewal on December 20th at 10:00 failed an hour later; and the same as it is once that is paid.</summary>
    private static async Task<(string Subscription, JsonObject Renewed)> FailingRenewal(TestApi api)
    {
        var subscription = await api.Subscribe("acme", "pro-month", until: "2026-12-20T10:00:00Z");
        var id = subscription["id"]!.GetValue<string>();
        var renewed = subscription.ForPeriod(TestApi.Time("2026-12-20T10:00:00Z"), TestApi.Time("2027-01-20T10:00:00Z"));
        api.Clock.Set("2026-12-20T11:00:00Z");
        await api.Stripe("invoice.payment_failed", Invoice(id, "in_1", attempts: 1, paid: false));
        await api.Stripe("customer.subscription.updated", renewed.With(("status", "past_due")));
        return (id, renewed);
    }

    private static JsonObject Invoice(string subscription, string id, int attempts, bool paid) =>
        StripeFixture.Invoice(id, "cus_acme", subscription, 2_900, attempts, paid);

    private static async Task<(string?, string?, string?)> Plan(TestApi api)
    {
        var view = await api.Subscription("acme");
        return (view.String("plan"), view.String("source"), view.String("status"));
    }

    /// <summary>Limit, used and remaining characters.</summary>
    private static async Task<(decimal, decimal, decimal)> Numbers(TestApi api)
    {
        var check = (await api.Check("acme", "characters")).Expect(200);
        return (check.Number("limit"), check.Number("used"), check.Number("remaining"));
    }

    private static Task<Answer> Happened(TestApi api, string feature, decimal quantity) =>
        api.Post("/v1/organizations/acme/usage", new { feature, quantity, enforce = false });

    private static IEnumerable<int[]> Permutations(int[] items) => items.Length == 1
        ? [items]
        : items.SelectMany(first => Permutations([.. items.Where(i => i != first)]).Select(rest => (int[])[first, .. rest]));
}
