using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Billing.Tests.Api;

namespace Billing.Tests.Scenarios;

/// <summary>Many hold, settle, release and consume at once: nothing is sold twice, and nothing is lost.</summary>
public sealed class HoldConcurrency
{
    private const string Holds = "/v1/organizations/acme/holds";

    [Fact]
    public async Task a_thousand_tokens_are_held_exactly_333_times_by_200_clients_and_then_all_settled()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await api.Use("acme", "ai_requests", 3)).Expect(201);
        await api.Grant("acme", 1_000);
        var held = new ConcurrentBag<string>();

        var refused = await Task.WhenAll(Enumerable.Range(0, 200).Select(async _ =>
        {
            Answer answer;
            while ((answer = await api.Post(Holds, new { feature = "ai_requests", quantity = 3 })).Status == 201) held.Add(answer.String("id")!);
            return answer;
        }));

        Assert.Equal((333, 333), (held.Count, held.Distinct().Count()));
        Assert.All(refused, r => r.ExpectProblem(403, "quota_exceeded", ""));
        (await api.Use("acme", "ai_requests", 2)).Expect(403);
        (await api.Use("acme", "ai_requests")).Expect(201);
        Assert.Equal((0m, 999m), (await Tokens(api, "balance"), await Tokens(api, "grants.0.held")));

        // Everyone settles twice: one with its key, one with another's.
        var settled = await Task.WhenAll(held.Concat(held).Select(id => api.Post($"{Holds}/{id}/settle", new { quantity = 3 })));
        Assert.Equal((333, 333), (settled.Count(s => s.Status == 200), settled.Count(s => s.Code == "hold_ended")));
        Assert.Equal((1_000m, 0m, 0m), (await Tokens(api, "grants.0.consumed"), await Tokens(api, "grants.0.held"), await Tokens(api, "grants.0.remaining")));
        Assert.Equal(1_003, (await api.Check("acme", "ai_requests")).Number("used"));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task the_same_settling_sent_by_fifty_at_once_is_recorded_once()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");
        var hold = (await api.Post(Holds, new { feature = "characters", quantity = 6_000 })).Expect(201).String("id");

        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => api.Post($"{Holds}/{hold}/settle", new { quantity = 5_000 }, key: "the-same")));

        Assert.All(answers, a => a.Expect(200));
        Assert.Single(answers.Select(a => a.String("usage.id")).Distinct());
        Assert.Equal(49, answers.Count(a => a.Headers.ContainsKey("Idempotency-Replayed")));
        Assert.Equal((5_000m, 0m), ((await api.Check("acme", "characters")).Number("used"), (await api.Check("acme", "characters")).Number("held")));
    }

    [Fact]
    public async Task whatever_is_held_settled_released_and_consumed_at_once_no_event_goes_past_the_limit()
    {
        var seed = int.Parse(Environment.GetEnvironmentVariable("HOLD_SEED") ?? Random.Shared.Next().ToString());
        await using var api = await TestApi.Start("""
            {
              "fallback_plan": "free",
              "features": { "jobs": { "name": "jobs", "type": "metered", "meter": { "unit": "job", "window": "lifetime" }, "mode": "tokens" } },
              "plans": { "free": { "name": "Free", "features": { "jobs": 500 } } }
            }
            """);
        await api.Open("acme");
        await api.Grant("acme", 400);
        var host = api.Residents;
        var recorded = 0;

        await Task.WhenAll(Enumerable.Range(0, 40).Select(async client =>
        {
            var random = new Random(seed + client);
            var own = new List<(string Id, int Quantity)>();
            for (var i = 0; i < 25 || own.Count > 0; i++)
            {
                var what = i < 25 ? random.Next(10) : 9 - random.Next(5);
                if (what < 3)
                {
                    var quantity = random.Next(1, 15);
                    if ((await api.Post(Holds, new { feature = "jobs", quantity })) is { Status: 201 } placed) own.Add((placed.String("id")!, quantity));
                }
                else if (what < 5)
                {
                    var quantity = random.Next(1, 4);
                    if ((await api.Use("acme", "jobs", quantity)).Status == 201) Interlocked.Add(ref recorded, quantity);
                }
                else if (own.Count > 0)
                {
                    var (id, held) = own[0];
                    own.RemoveAt(0);
                    if (what == 5)
                    {
                        (await api.Send(HttpMethod.Delete, $"{Holds}/{id}")).Expect(200);
                        continue;
                    }
                    var quantity = what == 6 ? held + random.Next(1, 5) : random.Next(0, held + 1);
                    var settled = await api.Post($"{Holds}/{id}/settle", new { quantity });
                    // Up to what is held it is never refused; more may be, and then what was held is settled.
                    if (settled.Status != 200)
                    {
                        Assert.True(quantity > held, $"Seed {seed}: {settled.Text}");
                        quantity = held;
                        (await api.Post($"{Holds}/{id}/settle", new { quantity })).Expect(200);
                    }
                    Interlocked.Add(ref recorded, quantity);
                }
                if (random.Next(30) == 0) host.Evict(0);
            }
        }));

        // From the events alone: what is used and held of the allowance, and of the tokens.
        var (allowance, tokens, used) = (0L, 400L, 0L);
        var open = new Dictionary<string, JsonNode>();
        foreach (var e in await api.List("/v1/organizations/acme/ledger?limit=500"))
        {
            var data = e["data"]!;
            switch ((string?)e["type"])
            {
                case "hold-placed":
                    open[$"ho_{e["version"]}"] = data;
                    Take(data, 1);
                    break;
                case "hold-ended":
                    Assert.True(open.Remove((string)data["hold"]!, out var placed), $"Seed {seed}: {data["hold"]} ended twice.");
                    Take(placed!, -1);
                    break;
                case "usage-recorded":
                    used += (long)data["quantity"]!;
                    Take(data, 1);
                    break;
            }
            Assert.True(allowance is >= 0 and <= 500 && tokens >= 0, $"Seed {seed}: at version {e["version"]} {allowance} of 500 are taken, and {tokens} tokens left.");
        }
        Assert.Empty(open);
        Assert.Equal(recorded, used);
        Assert.Equal(used, (await api.Check("acme", "jobs")).Number("used"));
        Assert.Equal(tokens, await Tokens(api, "balance"));
        Assert.True(used > 500, $"Seed {seed}: only {used} were used, so that no limit was met.");
        await api.VerifyLedger("acme");

        void Take(JsonNode data, int sign)
        {
            allowance += sign * (long)data["allowance"]!;
            tokens -= sign * (data["grants"]?.AsArray().Sum(g => (long)g!["tokens"]!) ?? 0);
        }
    }

    private static async Task<decimal> Tokens(TestApi api, string path) => (await api.Get("/v1/organizations/acme/tokens")).Expect(200).Number(path);
}
