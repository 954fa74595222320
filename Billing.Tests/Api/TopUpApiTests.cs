using System.Text.Json.Nodes;
using NodaTime;

namespace Billing.Tests.Api;

public sealed class TopUpApiTests
{
    private const string TopUp = "/v1/organizations/acme/tokens/top-up";

    private static readonly object Terms = new { token_package = "starter", threshold = 1_000, max_count = 3, max_amount = 2_000, cool_off_minutes = 30 };

    /// <summary>An explorer with 1,500 tokens and the allowance used up.</summary>
    private static async Task<TestApi> Start()
    {
        var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Grant("acme", 1_500);
        (await api.Use("acme", "ai_requests", 3)).Expect(201);
        return api;
    }

    private static async Task<string> Pending(TestApi api) => (await api.Get(TopUp)).Expect(200).String("pending.id")!;

    private static JsonObject Intent(string id, string topUp, string status = "succeeded")
    {
        var intent = StripeFixture.PaymentIntent(id, 500, "acme", "starter").With(("status", status));
        intent["metadata"]!["top_up"] = topUp;
        return intent;
    }

    [Fact]
    public async Task without_terms_nothing_is_bought()
    {
        await using var api = await Start();
        var view = (await api.Get(TopUp)).Expect(200);

        Assert.False(view.True("enabled"));
        Assert.Null(view["pending"]);
        Assert.Equal((0m, 0m, "2026-11-01T00:00:00Z"), (view.Number("month.count"), view.Number("month.amount.amount"), view.String("month.start")));
        (await api.Use("acme", "ai_requests", 1_400)).Expect(201);
        Assert.Empty(await api.Ledger("acme", "top-up-requested"));
    }

    [Fact]
    public async Task the_customer_sets_reads_changes_and_removes_its_own_terms()
    {
        await using var api = await Start();
        using var customer = await api.ClientOf("acme");

        var set = (await api.Put(TopUp, Terms, by: customer)).Expect(200);
        Assert.True(set.True("enabled"));
        Assert.Equal(("starter", 1_000m, 3m, 2_000m, 30m),
            (set.String("token_package"), set.Number("threshold"), set.Number("max_count"), set.Number("max_amount.amount"), set.Number("cool_off_minutes")));
        Assert.Equal(set.Text, (await api.Get(TopUp, customer)).Text);
        Assert.Equal(set.Text, (await api.Put(TopUp, Terms, by: customer)).Expect(200).Text);
        Assert.Single(await api.Ledger("acme", "top-up-configured"));

        Assert.Equal(60, (await api.Put(TopUp, new { token_package = "booster", threshold = 10, max_count = 1, max_amount = 2_000 }, by: customer)).Expect(200).Number("cool_off_minutes"));
        var off = (await api.Send(HttpMethod.Delete, TopUp, by: customer)).Expect(200);
        Assert.False(off.True("enabled"));
        Assert.Null(off["token_package"]);
        // Who asked is in the ledger.
        Assert.All(await api.Ledger("acme", "top-up-configured"), e => Assert.StartsWith("key_", e["data"]!["by"]!.GetValue<string>(), StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("""{ "threshold": 10, "max_count": 1, "max_amount": 500 }""", 400, "missing_field", "token_package")]
    [InlineData("""{ "token_package": "starter", "max_count": 1, "max_amount": 500 }""", 400, "missing_field", "threshold")]
    [InlineData("""{ "token_package": "starter", "threshold": 10, "max_amount": 500 }""", 400, "missing_field", "max_count")]
    [InlineData("""{ "token_package": "starter", "threshold": 10, "max_count": 1 }""", 400, "missing_field", "max_amount")]
    [InlineData("""{ "token_package": "huge", "threshold": 10, "max_count": 1, "max_amount": 500 }""", 404, "token_package_unknown", "token_package")]
    [InlineData("""{ "token_package": "starter", "threshold": 0, "max_count": 1, "max_amount": 500 }""", 400, "quantity_not_positive", "threshold")]
    [InlineData("""{ "token_package": "starter", "threshold": 10, "max_count": 0, "max_amount": 500 }""", 400, "quantity_not_positive", "max_count")]
    [InlineData("""{ "token_package": "starter", "threshold": 10, "max_count": 1001, "max_amount": 500 }""", 400, "invalid_field", "max_count")]
    [InlineData("""{ "token_package": "starter", "threshold": 10, "max_count": 1, "max_amount": 499 }""", 400, "invalid_field", "max_amount")]
    [InlineData("""{ "token_package": "starter", "threshold": 10, "max_count": 1, "max_amount": -1 }""", 400, "invalid_field", "max_amount")]
    [InlineData("""{ "token_package": "starter", "threshold": 10, "max_count": 1, "max_amount": 500, "cool_off_minutes": 0 }""", 400, "invalid_field", "cool_off_minutes")]
    [InlineData("""{ "token_package": "starter", "threshold": 10, "max_count": 1, "max_amount": 500, "cool_off_minutes": 44641 }""", 400, "invalid_field", "cool_off_minutes")]
    [InlineData("""{ "token_package": "starter", "threshold": 1.5, "max_count": 1, "max_amount": 500 }""", 400, "invalid_field", "threshold")]
    [InlineData("""{ "token_package": "starter", "threshold": 10, "max_count": 1, "max_amount": 500, "package": "x" }""", 400, "unknown_field", "package")]
    public async Task terms_that_cannot_work_are_refused_by_their_field_and_change_nothing(string body, int status, string code, string field)
    {
        await using var api = await Start();

        (await api.Put(TopUp, body)).ExpectProblem(status, code, "", field);
        Assert.Empty(await api.Ledger("acme", "top-up-configured"));
    }

    [Fact]
    public async Task a_completed_top_up_gives_its_tokens_once_whoever_tells_of_the_payment()
    {
        await using var api = await Start();
        await api.Put(TopUp, Terms);
        (await api.Use("acme", "ai_requests", 501)).Expect(201);
        var id = await Pending(api);

        var done = (await api.Post($"{TopUp}/{id}/complete", new { payment = "pi_1" }, "done")).Expect(200);
        Assert.Null(done["pending"]);
        Assert.Equal((1m, 500m), (done.Number("month.count"), done.Number("month.amount.amount")));
        Assert.Equal("true", (await api.Post($"{TopUp}/{id}/complete", new { payment = "pi_1" }, "done")).Expect(200).Headers["Idempotency-Replayed"]);
        (await api.Post($"{TopUp}/{id}/complete", new { payment = "pi_1" })).Expect(200);
        await api.Stripe("payment_intent.succeeded", Intent("pi_1", id));

        var tokens = (await api.Get("/v1/organizations/acme/tokens")).Expect(200);
        Assert.Equal(100_999, tokens.Number("balance"));
        Assert.Equal(("starter", "pi_1", 500m), (tokens.String("grants.1.package"), tokens.String("grants.1.payment"), tokens.Number("grants.1.paid.amount")));
        Assert.Single(await api.Ledger("acme", "top-up-ended"));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task failures_come_back_and_three_in_a_row_switch_it_off()
    {
        await using var api = await Start();
        await api.Put(TopUp, Terms);
        (await api.Use("acme", "ai_requests", 501)).Expect(201);

        for (var i = 1; i <= 3; i++)
        {
            var failed = (await api.Post($"{TopUp}/{await Pending(api)}/fail", new { failure = "card_declined" })).Expect(200);
            Assert.Equal(i, failed.Number("failures"));
            Assert.Equal(i < 3, failed.True("enabled"));
            api.Clock.Advance(Duration.FromMinutes(30));
            await api.RunDueWork();
        }
        var off = (await api.Get(TopUp)).Expect(200);
        Assert.Equal(("payments_failed", "starter"), (off.String("switched_off"), off.String("token_package")));
        Assert.Equal(3, (await api.Ledger("acme", "top-up-requested")).Count);
        var alert = (await api.List("/v1/organizations/acme/alerts"))[0];
        Assert.Equal(("top_up_switched_off", "Automatic top-up is off until it is set again. 3 payments in a row failed."), (alert["kind"]!.GetValue<string>(), alert["message"]!.GetValue<string>()));

        Assert.True((await api.Put(TopUp, new { token_package = "starter", threshold = 1_000, max_count = 9, max_amount = 9_000 })).Expect(200).True("enabled"));
    }

    [Theory]
    [InlineData("tu_999", 404, "top_up_unknown")]
    [InlineData("tu_1", 404, "top_up_unknown")]
    [InlineData("nonsense", 404, "top_up_unknown")]
    [InlineData("tu_99999999999999999999", 404, "top_up_unknown")]
    public async Task a_top_up_that_nobody_asked_for_is_not_answered(string id, int status, string code)
    {
        await using var api = await Start();
        await api.Put(TopUp, Terms);

        (await api.Post($"{TopUp}/{id}/complete", new { payment = "pi_1" })).ExpectProblem(status, code, $"There is no top-up '{id}'");
        (await api.Post($"{TopUp}/{id}/fail", new { failure = "card_declined" })).ExpectProblem(status, code, $"There is no top-up '{id}'");
        Assert.Single((await api.Get("/v1/organizations/acme/tokens"))["grants"]!.AsArray());
    }

    [Theory]
    [InlineData("complete", "{}", "missing_field", "payment")]
    [InlineData("complete", """{ "payment": "" }""", "invalid_field", "payment")]
    [InlineData("complete", """{ "payment": "pi 1" }""", "invalid_field", "payment")]
    [InlineData("complete", """{ "payment": "pi_1", "amount": -1 }""", "invalid_field", "amount")]
    [InlineData("fail", "{}", "missing_field", "failure")]
    [InlineData("fail", """{ "failure": "The card of Ann Example was declined" }""", "invalid_field", "failure")]
    public async Task an_answer_that_makes_no_sense_is_refused_by_its_field(string what, string body, string code, string field)
    {
        await using var api = await Start();
        await api.Put(TopUp, Terms);
        (await api.Use("acme", "ai_requests", 501)).Expect(201);
        var id = await Pending(api);

        (await api.Post($"{TopUp}/{id}/{what}", body)).ExpectProblem(400, code, "", field);
        Assert.Equal(id, await Pending(api));
    }

    [Fact]
    public async Task answers_are_an_operators()
    {
        await using var api = await Start();
        using var customer = await api.ClientOf("acme");

        Assert.Equal("operator_only", (await api.Post($"{TopUp}/tu_1/complete", new { payment = "pi_1" }, by: customer)).Expect(403).Code);
        Assert.Equal("operator_only", (await api.Post($"{TopUp}/tu_1/fail", new { failure = "x" }, by: customer)).Expect(403).Code);
    }

    // ---- told by Stripe

    [Fact]
    public async Task a_failed_payment_at_stripe_ends_the_top_up_with_its_decline_code_however_often_it_is_told()
    {
        await using var api = await Start();
        await api.Put(TopUp, Terms);
        (await api.Use("acme", "ai_requests", 501)).Expect(201);
        var id = await Pending(api);
        var failed = Intent("pi_1", id, "requires_payment_method").With(("last_payment_error", new JsonObject { ["code"] = "card_declined", ["decline_code"] = "insufficient_funds" }));

        await api.Stripe("payment_intent.payment_failed", failed);
        await api.Stripe("payment_intent.payment_failed", failed);
        var ended = Assert.Single(await api.Ledger("acme", "top-up-ended"));
        Assert.Equal((id, "insufficient_funds"), (ended["data"]!["top_up"]!.GetValue<string>(), ended["data"]!["failure"]!.GetValue<string>()));

        // The card was changed and the payment came through after all.
        await api.Stripe("payment_intent.succeeded", Intent("pi_1", id));
        Assert.Equal(100_999, (await api.Get("/v1/organizations/acme/tokens")).Number("balance"));
        Assert.Equal(0, (await api.Get(TopUp)).Number("failures"));
    }

    [Fact]
    public async Task a_failure_that_arrives_after_the_payment_is_ignored()
    {
        await using var api = await Start();
        await api.Put(TopUp, Terms);
        (await api.Use("acme", "ai_requests", 501)).Expect(201);
        var id = await Pending(api);

        await api.Stripe("payment_intent.succeeded", Intent("pi_1", id));
        var late = await api.Stripe("payment_intent.payment_failed", Intent("pi_1", id, "requires_payment_method"));
        Assert.Equal("ignored", (await api.Get("/v1/stripe/events?state=ignored")).At("items.0.state")!.GetValue<string>());
        Assert.Equal(late["id"]!.GetValue<string>(), (await api.Get("/v1/stripe/events?state=ignored")).String("items.0.id"));
        Assert.Equal(0, (await api.Get(TopUp)).Number("failures"));
    }

    [Fact]
    public async Task any_other_failed_payment_changes_nothing()
    {
        await using var api = await Start();
        var version = (await api.Get("/v1/organizations/acme")).Number("version");

        await api.Stripe("payment_intent.payment_failed", StripeFixture.PaymentIntent("pi_1", 500, "acme", "starter").With(("status", "requires_payment_method")));
        Assert.Equal(version, (await api.Get("/v1/organizations/acme")).Number("version"));
    }

    // ---- alerts

    [Fact]
    public async Task alerts_are_listed_newest_first_page_by_page()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme", "community-pro");
        for (var day = 0; day < 5; day++)
        {
            foreach (var quantity in (int[])[80, 15, 5]) (await api.Use("acme", "ai_requests", quantity)).Expect(201);
            api.Clock.Advance(Duration.FromDays(1));
        }

        var all = await api.List("/v1/organizations/acme/alerts?limit=4");
        Assert.Equal(15, all.Count);
        Assert.Equal(all.OrderByDescending(a => a["version"]!.GetValue<long>()), all);
        Assert.Equal([100, 95, 80, 100, 95, 80], all.Take(6).Select(a => a["percent"]!.GetValue<int>()));
        Assert.Equal(("day", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"),
            (all[0]["window"]!.GetValue<string>(), all[0]["start"]!.GetValue<string>(), all[0]["end"]!.GetValue<string>()));
        Assert.Equal(4, (await api.Get("/v1/organizations/acme/alerts?limit=4"))["items"]!.AsArray().Count);
        (await api.Get("/v1/organizations/acme/alerts?limit=0")).ExpectProblem(400, "invalid_parameter", "", "limit");
        (await api.Get("/v1/organizations/acme/alerts?cursor=x")).ExpectProblem(400, "invalid_parameter", "", "cursor");
        (await api.Get("/v1/organizations/nobody/alerts")).ExpectProblem(404, "organization_unknown", "nobody");
    }

    [Fact]
    public async Task a_long_stream_is_read_back_in_parts_and_no_alert_is_lost()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme", "community-pro");
        (await api.Use("acme", "ai_requests", 95)).Expect(201);
        // More events than are read at once lie between the two.
        for (var i = 0; i < 3; i++)
            (await api.Post("/v1/organizations/acme/usage/batch", new { items = Enumerable.Range(0, 700).Select(n => new { feature = "projects", quantity = n % 2 == 0 ? 1 : -1 }) })).Expect(200);
        (await api.Use("acme", "ai_requests", 5)).Expect(201);

        Assert.Equal([100, 95], (await api.List("/v1/organizations/acme/alerts")).Select(a => a["percent"]!.GetValue<int>()));
        Assert.Equal([100, 95], (await api.List("/v1/organizations/acme/alerts?limit=1")).Select(a => a["percent"]!.GetValue<int>()));
    }

    [Fact]
    public async Task the_end_of_a_trial_is_warned_of_by_the_timer()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var (start, end) = (api.Clock.Now, api.Clock.Now + Duration.FromDays(7));
        await api.Stripe("customer.subscription.created", StripeFixture.Subscription("sub_1", "cus_1", "community-pro-month", "trialing", start, start, end, "acme", trialEnd: end));

        api.Clock.Advance(Duration.FromDays(4) - Duration.FromSeconds(1));
        await api.RunDueWork();
        Assert.Empty(await api.List("/v1/organizations/acme/alerts"));
        api.Clock.Advance(Duration.FromSeconds(1));
        await api.RunDueWork();
        await api.RunDueWork();
        var alert = Assert.Single(await api.List("/v1/organizations/acme/alerts"));
        Assert.Equal(("trial_ending", "The trial ends at 2026-11-27 10:00 UTC.", "2026-11-27T10:00:00Z"),
            (alert["kind"]!.GetValue<string>(), alert["message"]!.GetValue<string>(), alert["end"]!.GetValue<string>()));
    }
}
