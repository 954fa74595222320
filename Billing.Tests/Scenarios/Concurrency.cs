using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Billing.Tests.Api;
using NodaTime;

namespace Billing.Tests.Scenarios;

/// <summary>What holds for every system when many ask at once, and when memory is lost.</summary>
public sealed class Concurrency
{
    [Fact]
    public async Task an_allowance_used_up_and_1_000_tokens_serve_exactly_333_requests_for_3_to_200_clients()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await api.Use("acme", "ai_requests", 3)).Expect(201);
        await api.Grant("acme", 1_000);
        var answers = new ConcurrentBag<Answer>();

        await Task.WhenAll(Enumerable.Range(0, 200).Select(async _ =>
        {
            Answer answer;
            do
            {
                answer = await api.Use("acme", "ai_requests", 3);
                answers.Add(answer);
            }
            while (answer.Status == 201);
        }));

        Assert.Equal(333, answers.Count(a => a.Status == 201));
        Assert.Equal(200, answers.Count(a => a.Status == 403 && a.Code == "quota_exceeded"));
        Assert.Equal(533, answers.Count);
        var tokens = (await api.Get("/v1/organizations/acme/tokens")).Expect(200);
        Assert.Equal(1, tokens.Number("balance"));
        Assert.Equal((1_000m, 999m, 1m), (tokens.Number("grants.0.granted"), tokens.Number("grants.0.consumed"), tokens.Number("grants.0.remaining")));
        Assert.Equal(1_002, (await api.Check("acme", "ai_requests")).Number("used"));
        // Opened, used, warned of, granted, and one event for each that succeeded: the denied ones left none.
        Assert.Equal(4 + 333, (await api.Get("/v1/organizations/acme")).Number("version"));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task throwing_away_resident_state_again_and_again_under_load_loses_nothing_and_doubles_nothing()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await api.Use("acme", "ai_requests", 3)).Expect(201);
        await api.Grant("acme", 300);
        var host = api.Residents;
        var evicted = 0;

        var succeeded = await Task.WhenAll(Enumerable.Range(0, 20).Select(async _ =>
        {
            var count = 0;
            while ((await api.Use("acme", "ai_requests")).Status == 201)
            {
                count++;
                Interlocked.Add(ref evicted, host.Evict(0));
            }
            // Whoever is the last finds it at rest.
            Interlocked.Add(ref evicted, host.Evict(0));
            return count;
        }));

        Assert.Equal(300, succeeded.Sum());
        Assert.True(evicted > 0);
        Assert.Equal(0, (await api.Get("/v1/organizations/acme/tokens")).Number("balance"));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task one_request_sent_by_fifty_at_once_is_recorded_once()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");

        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => api.Use("acme", "characters", 6_000, key: "the-same")));

        Assert.All(answers, a => a.Expect(201));
        Assert.Single(answers.Select(a => a.String("id")).Distinct());
        Assert.Equal(49, answers.Count(a => a.Headers.ContainsKey("Idempotency-Replayed")));
        Assert.Equal(6_000, (await api.Check("acme", "characters")).Number("used"));
    }

    [Fact]
    public async Task five_hundred_characters_and_one_request_are_recorded_together_or_denied_together_when_either_lacks()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");
        await api.Open("beta");

        // Characters lack first: 19 × 500 fit beside the 300 that are used, in the rate of a starter.
        await api.SetPlan("acme", "starter");
        (await api.Use("acme", "characters", 90_300)).Expect(201);
        for (var i = 0; i < 19; i++) (await Both("acme")).Expect(201);
        Assert.Equal((402, "quota_exceeded", "characters"), Denial(await Both("acme")));
        Assert.Equal(99_800, (await api.Check("acme", "characters")).Number("used"));
        Assert.Equal(19, (await api.Check("acme", "requests")).Number("used"));

        // Requests lack first: ten in this hour.
        for (var i = 0; i < 10; i++) (await Both("beta")).Expect(201);
        Assert.Equal((429, "rate_limited", "requests"), Denial(await Both("beta")));
        Assert.Equal(5_000, (await api.Check("beta", "characters")).Number("used"));
        Assert.Equal(10, (await api.Check("beta", "requests")).Number("used"));
        await api.VerifyLedger("acme");
        await api.VerifyLedger("beta");

        Task<Answer> Both(string organization) => api.Post($"/v1/organizations/{organization}/usage/batch",
            """{ "atomic": true, "items": [{ "feature": "characters", "quantity": 500 }, { "feature": "requests", "quantity": 1 }] }""");

        static (int, string?, string?) Denial(Answer answer) => (answer.Status, answer.Code, answer.String("denial.feature"));
    }

    [Fact]
    public async Task atomic_pairs_sent_at_once_stay_pairs()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");

        var answers = await Task.WhenAll(Enumerable.Range(0, 60).Select(i => api.Post("/v1/organizations/acme/usage/batch",
            $$"""{ "atomic": true, "items": [{ "feature": "characters", "quantity": {{i % 3 * 500 + 500}} }, { "feature": "requests", "quantity": 1 }] }""")));

        var characters = await api.List("/v1/organizations/acme/usage/records?feature=characters");
        var requests = await api.List("/v1/organizations/acme/usage/records?feature=requests");
        Assert.Equal(answers.Count(a => a.Status == 201), characters.Count);
        // No other use between the two of a pair.
        var all = await api.List("/v1/organizations/acme/usage/records");
        Assert.All(all.Chunk(2), pair => Assert.Equal(["characters", "requests"], pair.Select(r => r["feature"]!.GetValue<string>())));
        Assert.True(requests.Count <= 10);
        Assert.True(characters.Sum(r => r["quantity"]!.GetValue<decimal>()) <= 10_000);
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task throwing_away_all_resident_state_and_starting_again_changes_no_answer()
    {
        await using var api = await TestApi.Start("learning-community");
        await RecordAMixture(api);
        var before = await AllAnswers(api);
        Assert.True(before.Count > 40);

        var host = api.Residents;
        Assert.True(host.Evict(0) > 0);
        Assert.Equal(0, host.ResidentCount);
        Assert.Equal(before, await AllAnswers(api));
        await AnOldCommandIsFound(api);

        await using var again = await api.Restart();
        Assert.Equal(before, await AllAnswers(again));
        await AnOldCommandIsFound(again);
        // And it goes on from there.
        (await again.Use("acme", "ai_requests", 1)).Expect(201);
        await again.VerifyLedger("acme");
    }

    private static async Task RecordAMixture(TestApi api)
    {
        await api.Open("acme", timeZone: "Europe/Berlin");
        await api.Open("beta", "community-pro");
        (await api.Use("acme", "ai_requests", 2, key: "the-first")).Expect(201);
        (await api.Post("/v1/organizations/acme/tokens/grants", new { tokens = 40, kind = "promotional", priority = 1, expires_at = "2026-11-25T00:00:00Z" })).Expect(201);
        await api.Stripe("payment_intent.succeeded", StripeFixture.PaymentIntent("pi_1", 500, "acme", "starter", "cus_acme"));
        (await api.Use("acme", "ai_requests", 11, metadata: new { model = "m" })).Expect(201);
        (await api.Use("acme", "projects", 4)).Expect(201);
        (await api.Use("acme", "projects", -1)).Expect(201);
        var subscription = await api.Subscribe("acme", "community-pro-month", until: "2026-12-20T10:00:00Z");
        await api.Stripe("invoice.payment_failed", StripeFixture.Invoice("in_1", "cus_acme", subscription["id"]!.GetValue<string>(), 1_800, 1, paid: false));
        await api.Stripe("customer.subscription.updated", subscription.With(("status", "past_due")));
        await api.Stripe("invoice.paid", StripeFixture.Invoice("in_0", "cus_gone", "sub_gone", 1_800, 1, paid: true));
        // More commands than an actor remembers by itself.
        var items = new JsonArray([.. Enumerable.Range(0, 300).Select(_ => new JsonObject { ["feature"] = "ai_requests", ["quantity"] = 1 })]);
        (await api.Post("/v1/organizations/acme/usage/batch", new JsonObject { ["items"] = items }.ToJsonString())).Expect(200);
        (await api.Post("/v1/organizations/beta/usage", new { feature = "ai_requests", quantity = 150, enforce = false })).Expect(201);
        api.Clock.Advance(Duration.FromDays(30));
        await api.RunDueWork();
        (await api.Use("acme", "ai_requests", 2)).Expect(201);
    }

    /// <summary>What was recorded under a key long ago is answered again, whatever the quota says today.</summary>
    private static async Task AnOldCommandIsFound(TestApi api)
    {
        var old = (await api.Use("acme", "ai_requests", 2, key: "the-first")).Expect(201);
        Assert.Equal(("ur_2", "true"), (old.String("id"), old.Headers["Idempotency-Replayed"]));
        Assert.Equal("command_id_reused", (await api.Use("acme", "ai_requests", 3, key: "the-first")).Expect(409).Code);
    }

    /// <summary>Every answer that the API's own document knows of, for both organizations, and some that take parameters.</summary>
    private static async Task<SortedDictionary<string, string>> AllAnswers(TestApi api)
    {
        var paths = (await api.Routes("/v1/")).Concat(await api.Routes("/v1/", "beta")).Where(r => r.Method == HttpMethod.Get).Select(r => r.Path).ToList();
        // The configured key is as old as the process, and a head is signed anew each time, also in an export.
        paths.RemoveAll(p => p == "/v1/api-keys" || p.EndsWith("/head", StringComparison.Ordinal) || p == "/v1/organizations/acme/export" || p == "/v1/organizations/beta/export");
        foreach (var organization in (string[])["acme", "beta"])
        {
            foreach (var feature in (string[])["ai_requests", "marketplace", "certificates"])
            {
                paths.Add($"/v1/organizations/{organization}/entitlements/{feature}/explain?quantity=70");
                paths.Add($"/v1/organizations/{organization}/entitlements/{feature}?quantity=100000");
            }
            paths.Add($"/v1/organizations/{organization}/usage/history?feature=ai_requests&bucket=day&from=2026-11-20T10:00:00Z");
            paths.Add($"/v1/organizations/{organization}/ledger?limit=500");
        }
        var answers = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var path in paths.Distinct())
        {
            var answer = await api.Get(path);
            // Where it listens is the one thing that may differ.
            answers[path] = $"{answer.Status} {answer.Text.Replace(api.Url, "")}";
        }
        return answers;
    }
}
