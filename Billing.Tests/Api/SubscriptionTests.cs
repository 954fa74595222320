using System.Text.Json.Nodes;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>Subscriptions that the ledger keeps, over HTTP: the routes, who may call them, previews, the test clock.</summary>
public sealed class SubscriptionTests
{
    private const string Acme = "/v1/organizations/acme";

    private static async Task<TestApi> Opened(string catalog = "video-matching", bool test = true)
    {
        var api = await TestApi.Start(catalog);
        (await api.Post("/v1/organizations", new { id = "acme", test })).Expect(201);
        return api;
    }

    private static Task<Answer> Put(TestApi api, object body, string? key = null, HttpClient? by = null) => api.Put($"{Acme}/subscription", body, key, by);

    private static Task<Answer> Preview(TestApi api, object body, HttpClient? by = null) => api.Send(HttpMethod.Post, $"{Acme}/subscription/preview", body, by: by);

    private static async Task Advance(TestApi api, string to) => (await api.Post($"{Acme}/test-clock/advance", new { to })).Expect(201);

    private static IEnumerable<(string?, long)> Lines(JsonNode? lines) => lines!.AsArray().Select(l => ((string?)l!["description"], l["amount"]!["amount"]!.GetValue<long>()));

    private static async Task<List<JsonNode>> Added(TestApi api) => [.. (await api.Ledger("acme", "lines-added")).SelectMany(e => e["data"]!["lines"]!.AsArray()).Select(l => l!)];

    [Fact]
    public async Task an_organizations_own_key_subscribes_changes_cancels_and_takes_it_back()
    {
        await using var api = await Opened();
        using var own = await api.ClientOf("acme");

        var started = (await Put(api, new { plan = "pro", interval = "month", trial = false }, by: own)).Expect(200);
        Assert.Equal(("pro", "active", "ledger", "subscription"), (started.String("plan"), started.String("status"), started.String("kept_by"), started.String("source")));
        Assert.Equal((2_900m, "2026-12-20T10:00:00Z", false), (started.Number("price.amount"), started.String("period.end"), started.True("payment_method")));

        var changed = (await Put(api, new { plan = "enterprise", payment_method = true }, by: own)).Expect(200);
        Assert.Equal(("enterprise", true), (changed.String("plan"), changed.True("payment_method")));
        var scheduled = (await Put(api, new { plan = "pro" }, by: own)).Expect(200);
        Assert.Equal(("enterprise", "pro", "month", "2026-12-20T10:00:00Z"),
            (scheduled.String("plan"), scheduled.String("scheduled.plan"), scheduled.String("scheduled.interval"), scheduled.String("scheduled.at")));

        var cancelled = (await api.Send(HttpMethod.Delete, $"{Acme}/subscription", new { reason = "too dear" }, by: own)).Expect(200);
        Assert.Equal((true, "2026-12-20T10:00:00Z"), (cancelled.True("cancel_at_period_end"), cancelled.String("cancel_at")));
        Assert.Null(cancelled.At("scheduled"));
        Assert.False((await api.Post($"{Acme}/subscription/reactivate", by: own)).Expect(200).True("cancel_at_period_end"));
        Assert.False((await Put(api, new { payment_method = false }, by: own)).Expect(200).True("payment_method"));
        var paused = (await api.Post($"{Acme}/subscription/pause", by: own)).Expect(200);
        Assert.Equal(("free", "paused", "2026-11-20T10:00:00Z"), (paused.String("plan"), paused.String("status"), paused.String("paused_at")));
        Assert.Equal("active", (await api.Post($"{Acme}/subscription/resume", by: own)).Expect(200).String("status"));
        var ended = (await api.Send(HttpMethod.Delete, $"{Acme}/subscription?at=now&prorate=true", by: own)).Expect(200);
        Assert.Equal(("free", "canceled"), (ended.String("plan"), ended.String("status")));
        Assert.Null(ended.At("kept_by"));

        // Who and why, for each change.
        var events = await api.Ledger("acme", "subscription-changed");
        Assert.Equal(["started", "payment_method_changed", "upgraded", "change_scheduled", "cancel_scheduled", "reactivated", "payment_method_changed", "paused", "resumed", "canceled"],
            events.Select(e => (string?)e["data"]!["change"]));
        Assert.All(events, e => Assert.StartsWith("key_", (string?)e["data"]!["by"], StringComparison.Ordinal));
        Assert.Equal("too dear", (string?)events[4]["data"]!["reason"]);
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task a_plan_without_price_or_without_proration_is_for_operators_to_give()
    {
        await using var api = await Opened();
        using var own = await api.ClientOf("acme");

        (await Put(api, new { plan = "enterprise" }, by: own)).ExpectProblem(403, "operator_only", "To subscribe, say the interval.");
        (await Put(api, new { plan = "enterprise", comp = true }, by: own)).ExpectProblem(403, "operator_only", "");
        (await Put(api, new { plan = "pro", interval = "month", trial = false }, by: own)).Expect(200);
        (await Put(api, new { plan = "enterprise", proration = "none" }, by: own)).ExpectProblem(403, "operator_only", "without proration");
        Assert.Equal("pro", (await api.Subscription("acme")).String("plan"));

        var given = (await Put(api, new { plan = "enterprise", comp = true, until = "2026-12-01T00:00:00Z", reason = "sorry" })).Expect(200);
        Assert.Equal(("enterprise", "operator", "2026-12-01T00:00:00Z"), (given.String("plan"), given.String("source"), given.String("until")));
        await Advance(api, "2026-12-01T00:00:00Z");
        Assert.Equal(("pro", "subscription"), ((await api.Subscription("acme")).String("plan"), (await api.Subscription("acme")).String("source")));
    }

    [Fact]
    public async Task a_preview_equals_what_follows_and_writes_nothing()
    {
        await using var api = await Opened();
        (await Put(api, new { plan = "pro", interval = "month", trial = false })).Expect(200);
        (await api.Use("acme", "api_calls", 9_000)).Expect(201);
        await Advance(api, "2026-12-05T10:00:00Z");
        var version = (await api.Get(Acme)).Number("version");

        var preview = (await Preview(api, new { plan = "enterprise" })).Expect(200);

        // Half of the month: 2900 back, 29900 more.
        Assert.Equal([("Unused time on Pro from 2026-12-05", -1_450L), ("Remaining time on Enterprise from 2026-12-05", 14_950L)], Lines(preview["lines"]));
        Assert.Equal((13_500m, "enterprise", "2026-12-05T10:00:00Z", false), (preview.Number("amount.amount"), preview.String("plan"), preview.String("effective_at"), preview.True("estimate")));
        Assert.Null(preview.At("invoice"));
        Assert.Equal(29_900 + 13_500, preview.Number("next_invoice.total.amount"));
        var calls = preview["limits"]!.AsArray().Single(l => (string?)l!["feature"] == "api_calls")!;
        Assert.Equal((10_000m, 100_000m, 9_000m, false), (calls["limit_before"]!.GetValue<decimal>(), calls["limit_after"]!.GetValue<decimal>(), calls["used"]!.GetValue<decimal>(), calls["over_limit"]!.GetValue<bool>()));
        Assert.Contains(preview["limits"]!.AsArray(), l => (string?)l!["feature"] == "priority_support" && !l["before"]!.GetValue<bool>() && l["after"]!.GetValue<bool>());
        var atOnce = (await Preview(api, new { plan = "enterprise", proration = "invoice_now" })).Expect(200);
        Assert.Equal(13_500, atOnce.Number("invoice.amount_due.amount"));
        Assert.Equal(version, (await api.Get(Acme)).Number("version"));

        (await Put(api, new { plan = "enterprise" })).Expect(200);
        Assert.Equal(Lines(preview["lines"]), (await Added(api)).Skip(1).Select(l => ((string?)l["description"], l["amount"]!.GetValue<long>())));
        await Advance(api, "2026-12-20T10:00:00Z");
        Assert.Equal(29_900 + 13_500, (await api.Get($"{Acme}/invoices"))["items"]![0]!["total"]!["amount"]!.GetValue<long>());
    }

    [Fact]
    public async Task a_preview_of_a_downgrade_says_when_it_counts_and_what_is_over_the_limit_then()
    {
        await using var api = await Opened();
        (await Put(api, new { plan = "pro", interval = "month", trial = false })).Expect(200);
        (await api.Use("acme", "storage_gb", 40)).Expect(201);

        foreach (var body in (object[])[new { plan = "free" }, new { action = "cancel" }])
        {
            var preview = (await Preview(api, body)).Expect(200);
            Assert.Equal("2026-12-20T10:00:00Z", preview.String("effective_at"));
            var storage = preview["limits"]!.AsArray().Single(l => (string?)l!["feature"] == "storage_gb")!;
            Assert.Equal((100m, 1m, 40m, true), (storage["limit_before"]!.GetValue<decimal>(), storage["limit_after"]!.GetValue<decimal>(), storage["used"]!.GetValue<decimal>(), storage["over_limit"]!.GetValue<bool>()));
            Assert.Empty(preview["lines"]!.AsArray());
        }
        // Nothing is left to credit at this instant but all of it.
        Assert.Equal(-2_900, (await Preview(api, new { action = "cancel", at = "now", prorate = true })).Expect(200).Number("amount.amount"));
        Assert.Equal(-2_900, (await Preview(api, new { action = "pause" })).Expect(200).Number("amount.amount"));
        (await Preview(api, new { action = "resume" })).ExpectProblem(409, "subscription_state_conflict", "Only a paused subscription can be resumed.");
        (await Preview(api, new { plan = "nothing" })).ExpectProblem(404, "plan_unknown", "");
    }

    [Fact]
    public async Task a_subscription_at_stripe_is_previewed_from_the_catalogs_prices_and_changed_at_stripe()
    {
        await using var api = await TestApi.Start("video-matching");
        await api.Open("acme");
        await api.Subscribe("acme", "pro-month", until: "2026-12-20T10:00:00Z");
        api.Clock.Set("2026-12-05T10:00:00Z");

        var preview = (await Preview(api, new { plan = "enterprise", interval = "month" })).Expect(200);

        Assert.Equal([("Unused time on Pro from 2026-12-05", -1_450L), ("Remaining time on Enterprise from 2026-12-05", 14_950L)], Lines(preview["lines"]));
        Assert.True(preview.True("estimate"));
        Assert.Equal(-1_450, (await Preview(api, new { action = "cancel", at = "now", prorate = true })).Expect(200).Number("amount.amount"));
        (await Put(api, new { plan = "enterprise", interval = "month" })).ExpectProblem(409, "subscription_at_stripe", "is kept at Stripe");
        Assert.Equal("stripe", (await api.Subscription("acme")).String("kept_by"));
    }

    [Fact]
    public async Task a_repeated_request_is_answered_as_recorded_whatever_became_of_the_subscription_since()
    {
        await using var api = await Opened();
        (await Put(api, new { plan = "pro", interval = "month", trial = false }, "start")).Expect(200);
        (await Put(api, new { plan = "enterprise", at = "now" }, "change")).Expect(200);
        (await api.Send(HttpMethod.Delete, $"{Acme}/subscription?at=now", null, "cancel")).Expect(200);
        var version = (await api.Get(Acme)).Number("version");

        foreach (var (body, key) in ((object, string)[])[(new { plan = "pro", interval = "month", trial = false }, "start"), (new { plan = "enterprise", at = "now" }, "change")])
            Assert.Equal("true", (await Put(api, body, key)).Expect(200).Headers["Idempotency-Replayed"]);
        Assert.Equal("true", (await api.Send(HttpMethod.Delete, $"{Acme}/subscription?at=now", null, "cancel")).Expect(200).Headers["Idempotency-Replayed"]);
        // What is in the query is asked for too.
        (await api.Send(HttpMethod.Delete, $"{Acme}/subscription?at=period_end", null, "cancel")).ExpectProblem(409, "command_id_reused", "");
        Assert.Equal(version, (await api.Get(Acme)).Number("version"));
    }

    [Theory]
    [InlineData("""{}""", "missing_field", "Say which plan.", "plan")]
    [InlineData("""{"payment_method":true,"interval":"month"}""", "missing_field", "say which", "plan")]
    [InlineData("""{"plan":"pro","interval":"week"}""", "invalid_field", "Known: month, quarter, year.", "interval")]
    [InlineData("""{"plan":"pro","interval":"month","at":"now"}""", "invalid_field", "A subscription starts now", "at")]
    [InlineData("""{"plan":"pro","interval":"month","proration":"none"}""", "invalid_field", "A subscription starts now", "proration")]
    [InlineData("""{"plan":"pro","interval":"month","until":"2027-01-01T00:00:00Z"}""", "invalid_field", "has an end of its own", "until")]
    [InlineData("""{"plan":"pro","comp":true,"interval":"month"}""", "invalid_field", "To subscribe, say the interval, without 'comp'.", "comp")]
    [InlineData("""{"plan":"pro","trial":true}""", "invalid_field", "To subscribe, say the interval", "interval")]
    [InlineData("""{"plan":"pro","comp":true,"until":"2026-11-01T00:00:00Z"}""", "expiry_in_past", "A plan cannot end before it is given.", "until")]
    [InlineData("""{"plan":"pro","interval":"quarter"}""", "price_unknown", "It has: month in usd, year in usd.", "interval")]
    [InlineData("""{"plan":"free","interval":"month","trial":true}""", "no_trial", "The plan 'free' has no trial.", "trial")]
    public async Task what_a_subscription_cannot_be_is_said(string body, string code, string sentence, string field)
    {
        await using var api = await Opened();

        (await Put(api, body)).ExpectProblem(400, code, sentence, field);
        Assert.Equal(1, (await api.Get(Acme)).Number("version"));
    }

    [Fact]
    public async Task a_change_says_what_it_cannot_carry()
    {
        await using var api = await Opened();
        (await Put(api, new { plan = "pro", interval = "month", trial = false })).Expect(200);

        (await Put(api, new { plan = "enterprise", trial = true })).ExpectProblem(400, "invalid_field", "A trial is for starting", "trial");
        (await Put(api, new { plan = "enterprise", currency = "eur" })).ExpectProblem(400, "invalid_field", "keeps its currency", "currency");
        (await api.Send(HttpMethod.Delete, $"{Acme}/subscription?prorate=true")).ExpectProblem(400, "invalid_parameter", "prorate goes with at=now", "prorate");
        (await api.Send(HttpMethod.Delete, $"{Acme}/subscription?at=later")).ExpectProblem(400, "invalid_parameter", "Known: now, period_end.", "at");
        (await Preview(api, new { action = "cancel", plan = "pro" })).ExpectProblem(400, "invalid_field", "takes 'at', 'prorate' and 'reason' at most", "action");
        (await Preview(api, new { action = "explode" })).ExpectProblem(400, "invalid_field", "An action is", "action");
        (await api.Post($"{Acme}/payments", new { invoice = "in_99", status = "failed" })).ExpectProblem(404, "invoice_unknown", "There is no invoice 'in_99'.");
        (await api.Post($"{Acme}/payments", new { invoice = "in_4", status = "maybe" })).ExpectProblem(400, "invalid_field", "'paid' or 'failed'", "status");
        (await api.Post($"{Acme}/payments", new { invoice = "in_4", status = "paid", attempt = 2 })).ExpectProblem(400, "invalid_field", "", "attempt");
        (await api.Post($"{Acme}/payments", new { invoice = "in_4", status = "failed", at = "2027-01-01T00:00:00Z" })).ExpectProblem(400, "timestamp_in_future", "", "at");
        using var own = await api.ClientOf("acme");
        (await api.Post($"{Acme}/payments", new { invoice = "in_4", status = "paid" }, by: own)).ExpectProblem(403, "operator_only", "");
        (await api.Post($"{Acme}/test-clock/advance", new { by_days = 1 }, by: own)).ExpectProblem(403, "operator_only", "");
    }

    [Fact]
    public async Task a_plan_made_for_one_organization_is_shown_to_it_and_to_operators()
    {
        await using var api = await Opened("""
            { "fallback_plan": "free", "features": {},
              "plans": { "free": { "name": "Free" }, "made": { "name": "Made for acme", "prices": [{ "interval": "month", "amount": 100 }], "custom_for": "acme" } } }
            """);
        await api.Open("other");
        using var acme = await api.ClientOf("acme");
        using var other = await api.ClientOf("other");

        Assert.Equal(["free", "made"], await Plans(acme));
        Assert.Equal(["free"], await Plans(other));
        Assert.Equal(["free", "made"], await Plans(api.Http));
        Assert.Equal("acme", (await api.Get("/v1/plans")).String("plans.1.custom_for"));
        (await api.Put("/v1/organizations/other/subscription", new { plan = "made", interval = "month" }, by: other)).ExpectProblem(404, "plan_unknown", "The catalog has no plan 'made'.");
        (await api.Put("/v1/organizations/acme/subscription", new { plan = "made", interval = "month" }, by: acme)).Expect(200);

        async Task<IEnumerable<string?>> Plans(HttpClient by) => (await api.Get("/v1/plans", by)).Expect(200)["plans"]!.AsArray().Select(p => (string?)p!["id"]);
    }

    [Fact]
    public async Task a_test_clock_goes_by_days_or_to_a_time_and_the_timer_follows_it()
    {
        await using var api = await Opened();
        (await Put(api, new { plan = "pro", interval = "month", trial = false })).Expect(200);

        var moved = (await api.Post($"{Acme}/test-clock/advance", new { by_days = 10 }, "once")).Expect(201);
        Assert.Equal("2026-11-30T10:00:00Z", moved.String("clock"));
        // Once is once.
        Assert.Equal("true", (await api.Post($"{Acme}/test-clock/advance", new { by_days = 10 }, "once")).Expect(201).Headers["Idempotency-Replayed"]);
        Assert.Equal("2026-12-10T10:00:00Z", (await api.Post($"{Acme}/test-clock/advance", new { by_days = 10 })).Expect(201).String("clock"));
        (await api.Post($"{Acme}/test-clock/advance", new { to = "2026-12-10T10:00:00Z" })).ExpectProblem(400, "clock_backwards", "only goes forward", "to");
        (await api.Post($"{Acme}/test-clock/advance", new { to = "2028-12-10T10:00:01Z" })).ExpectProblem(400, "clock_too_far", "at most two years", "to");
        (await api.Post($"{Acme}/test-clock/advance", new { })).ExpectProblem(400, "missing_field", "Say either", "to");
        (await api.Post($"{Acme}/test-clock/advance", new { by_days = 0 })).ExpectProblem(400, "invalid_field", "by 1 to 732 days", "by_days");

        // Ten days of everybody's clock later its own month ends, and the timer knows.
        api.Clock.Advance(Duration.FromDays(10) - Duration.FromSeconds(1));
        Assert.Equal(0, await api.RunDueWork());
        api.Clock.Advance(Duration.FromSeconds(1));
        Assert.Equal(1, await api.RunDueWork());
        Assert.Equal("2027-01-20T10:00:00Z", (await api.Subscription("acme")).String("period.end"));
        await api.VerifyLedger("acme");

        await api.Open("real");
        (await api.Post("/v1/organizations/real/test-clock/advance", new { by_days = 1 })).ExpectProblem(409, "not_a_test_organization", "\"test\": true");
        Assert.Null((await api.Get("/v1/organizations/real")).At("clock"));
    }

    [Fact]
    public async Task an_organization_changes_its_time_zone()
    {
        await using var api = await Opened();
        (await api.Use("acme", "videos", 3)).Expect(201);

        Assert.Equal("America/New_York", (await api.Put($"{Acme}/time-zone", new { time_zone = "America/New_York" })).Expect(200).String("time_zone"));

        Assert.Equal("2026-11-21T05:00:00Z", (await api.Use("acme", "videos")).Expect(402).String("denial.resets_at"));
        (await api.Put($"{Acme}/time-zone", new { time_zone = "Mars/Olympus" })).ExpectProblem(400, "time_zone_unknown", "", "time_zone");
        (await api.Put($"{Acme}/time-zone", new { })).ExpectProblem(400, "missing_field", "", "time_zone");
        // Its customer does not choose when its days begin: each choice ends a day.
        using var own = await api.ClientOf("acme");
        (await api.Put($"{Acme}/time-zone", new { time_zone = "UTC" }, by: own)).ExpectProblem(403, "operator_only", "");
        await api.VerifyLedger("acme");
    }
}
