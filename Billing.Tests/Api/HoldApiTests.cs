using System.Text.Json.Nodes;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>Holds over HTTP: the bodies, the outcomes, and that time and restarts are the same to them.</summary>
public sealed class HoldApiTests
{
    private const string Holds = "/v1/organizations/acme/holds";

    private const string Catalog = """
        {
          "fallback_plan": "free", "warn_at": [],
          "features": {
            "jobs":    { "name": "jobs", "type": "metered", "meter": { "unit": "job", "decimals": 1, "window": "day" }, "deny_status": 403 },
            "calls":   { "name": "calls", "type": "metered", "meter": { "unit": "call" }, "mode": "tokens" },
            "renders": { "name": "renders", "type": "metered", "meter": { "unit": "render" } },
            "storage": { "name": "storage", "type": "metered", "meter": { "unit": "gb", "aggregation": "gauge" } },
            "export":  { "name": "exports", "type": "boolean" }
          },
          "plans": { "free": { "name": "Free", "features": {
            "jobs": 10, "calls": 2, "storage": 5, "renders": { "allowance": "unlimited", "rate_limits": [{ "limit": 10, "window": "hour" }] } } } }
        }
        """;

    private static async Task<string> Place(TestApi api, string feature, decimal quantity, long? expiresIn = null) =>
        (await api.Post(Holds, new { feature, quantity, expires_in = expiresIn })).Expect(201).String("id")!;

    private static Task<Answer> Settle(TestApi api, string hold, decimal quantity, string? key = null) => api.Post($"{Holds}/{hold}/settle", new { quantity }, key);

    private static Task<Answer> Release(TestApi api, string hold, string? key = null) => api.Send(HttpMethod.Delete, $"{Holds}/{hold}", key: key);

    [Fact]
    public async Task a_hold_is_placed_listed_and_settled()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");
        await api.Grant("acme", 10);

        var placed = (await api.Post(Holds, new { feature = "calls", quantity = 5, expires_in = 60, metadata = new { job = "j1" } })).Expect(201);
        Assert.Equal(("ho_3", "calls", 5m), (placed.String("id"), placed.String("feature"), placed.Number("quantity")));
        Assert.Equal((2m, 3m, 0m), (placed.Number("covered.allowance"), placed.Number("covered.tokens"), placed.Number("covered.overage")));
        Assert.Equal(("2026-11-20T10:00:00Z", "2026-11-20T10:01:00Z"), (placed.String("placed_at"), placed.String("expires_at")));
        Assert.Equal(("tg_2", 3m, "j1"), (placed.String("grants.0.grant"), placed.Number("grants.0.tokens"), placed.String("metadata.job")));
        Assert.Equal((5m, 0m, 7m, 0m), (placed.Number("entitlement.held"), placed.Number("entitlement.remaining"), placed.Number("entitlement.tokens"), placed.Number("entitlement.used")));

        var listed = Assert.Single(await api.List(Holds));
        Assert.Equal(("ho_3", "j1"), (listed["id"]!.GetValue<string>(), listed["metadata"]!["job"]!.GetValue<string>()));
        Assert.Equal((3m, 7m), ((await api.Get("/v1/organizations/acme/tokens")).Number("grants.0.held"), (await api.Get("/v1/organizations/acme/tokens")).Number("balance")));

        api.Clock.Advance(Duration.FromSeconds(59));
        var settled = (await Settle(api, "ho_3", 3)).Expect(200);
        Assert.Equal(("ho_3", "settled", "ur_5"), (settled.String("id"), settled.String("outcome"), settled.String("usage.id")));
        Assert.Equal((3m, 2m, 1m, "ho_3", "j1"), (settled.Number("usage.quantity"), settled.Number("usage.covered.allowance"), settled.Number("usage.covered.tokens"),
            settled.String("usage.hold"), settled.String("usage.metadata.job")));
        Assert.Equal((0m, 3m, 9m), (settled.Number("entitlement.held"), settled.Number("entitlement.used"), settled.Number("entitlement.tokens")));
        Assert.Empty(await api.List(Holds));
        Assert.Equal("ho_3", (await api.List("/v1/organizations/acme/usage/records"))[0]["hold"]!.GetValue<string>());
        Assert.Equal(["granted 10", "held -3 ho_3", "freed 3 ho_3", "burned -1"], (await api.List("/v1/organizations/acme/tokens/transactions"))
            .Select(t => $"{t["kind"]} {t["tokens"]} {t["hold"]}".TrimEnd()));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task settling_with_nothing_and_releasing_record_no_use()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");
        var (first, second) = (await Place(api, "jobs", 4), await Place(api, "jobs", 5.5m));

        var settled = (await Settle(api, first, 0)).Expect(200);
        Assert.Equal(("settled", (JsonNode?)null, 5.5m), (settled.String("outcome"), settled["usage"], settled.Number("entitlement.held")));
        var released = (await Release(api, second)).Expect(200);
        Assert.Equal(("released", (JsonNode?)null, 0m, 10m), (released.String("outcome"), released["usage"], released.Number("entitlement.held"), released.Number("entitlement.remaining")));
        Assert.Empty(await api.Ledger("acme", "usage-recorded"));
    }

    [Fact]
    public async Task every_outcome_of_ending_a_hold_is_as_documented()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");
        var (settled, released, expired) = (await Place(api, "jobs", 1), await Place(api, "jobs", 1), await Place(api, "jobs", 1, expiresIn: 30));

        // The same key is the same request; another key is another settling.
        var first = (await Settle(api, settled, 1, "settle-1")).Expect(200);
        var again = (await Settle(api, settled, 1, "settle-1")).Expect(200);
        Assert.Equal((first.String("usage.id"), "true"), (again.String("usage.id"), again.Headers["Idempotency-Replayed"]));
        (await Settle(api, settled, 2, "settle-1")).ExpectProblem(409, "command_id_reused", "was used before");
        (await Settle(api, settled, 1)).ExpectProblem(409, "hold_ended", $"The hold '{settled}' was settled at 2026-11-20T10:00:00Z.", "id");
        (await Release(api, settled)).ExpectProblem(409, "hold_ended", "was settled at");

        (await Release(api, released, "release-1")).Expect(200);
        Assert.Equal("true", (await Release(api, released, "release-1")).Expect(200).Headers["Idempotency-Replayed"]);
        (await Release(api, released)).ExpectProblem(409, "hold_ended", "was released at");
        (await Settle(api, released, 1)).ExpectProblem(409, "hold_ended", "was released at");

        api.Clock.Advance(Duration.FromSeconds(30));
        (await Settle(api, expired, 1)).ExpectProblem(409, "hold_ended", $"The hold '{expired}' expired at 2026-11-20T10:00:30Z, and what it held is free again.");
        (await Release(api, expired)).ExpectProblem(409, "hold_ended", "expired at");
        await api.RunDueWork();
        (await Settle(api, expired, 1)).ExpectProblem(409, "hold_ended", "expired at 2026-11-20T10:00:30Z");

        foreach (var unknown in (string[])["ho_999", "ho_1", "ho_9223372036854775807", "ur_5", "hold", "ho_02"])
        {
            (await Settle(api, unknown, 1)).ExpectProblem(404, "hold_unknown", $"There is no hold '{unknown}'.", "id");
            (await Release(api, unknown)).ExpectProblem(404, "hold_unknown", "There is no hold");
        }
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task what_became_of_a_hold_long_ago_is_found_in_the_journal()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");
        var (settled, released, expired) = (await Place(api, "jobs", 1), await Place(api, "jobs", 1), await Place(api, "jobs", 1, expiresIn: 1));
        (await Settle(api, settled, 1)).Expect(200);
        (await Release(api, released)).Expect(200);
        api.Clock.Advance(Duration.FromSeconds(5));
        for (var i = 0; i < Billing.Ledger.Holds.MaxRemembered; i++) (await Release(api, await Place(api, "jobs", 1))).Expect(200);

        (await Settle(api, settled, 1)).ExpectProblem(409, "hold_ended", $"The hold '{settled}' was settled at 2026-11-20T10:00:00Z.");
        (await Settle(api, released, 1)).ExpectProblem(409, "hold_ended", "was released at 2026-11-20T10:00:00Z.");
        (await Release(api, expired)).ExpectProblem(409, "hold_ended", "expired at 2026-11-20T10:00:01Z,");
        (await Settle(api, "ho_5", 1)).ExpectProblem(404, "hold_unknown", "There is no hold 'ho_5'.");
    }

    [Fact]
    public async Task what_is_more_than_held_is_checked_and_its_denial_leaves_the_hold()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");
        var hold = await Place(api, "jobs", 6);
        (await api.Use("acme", "jobs", 3)).Expect(201);

        (await api.Use("acme", "jobs", 2)).ExpectProblem(403, "quota_exceeded", "This needs 2 jobs, and 1 of 10 are left today.");
        var denied = (await Settle(api, hold, 7.5m)).ExpectProblem(403, "quota_exceeded", "This needs 1.5 jobs, and 1 of 10 are left today.");
        Assert.Equal((1.5m, 1m), (denied.Number("denial.requested"), denied.Number("denial.remaining")));
        Assert.StartsWith("dn_", denied.String("denial.id"), StringComparison.Ordinal);
        Assert.Single(await api.List(Holds));
        Assert.Equal(10m, (await Settle(api, hold, 7)).Expect(200).Number("entitlement.used"));
    }

    [Fact]
    public async Task a_denied_hold_is_answered_like_a_denied_use()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");
        await Place(api, "jobs", 10);

        var denied = (await api.Post(Holds, new { feature = "jobs", quantity = 1 })).ExpectProblem(403, "quota_exceeded", "You have used or reserved all 10 jobs today.");
        Assert.StartsWith("dn_", denied.String("denial.id"), StringComparison.Ordinal);
        var held = (await api.Post(Holds, new { feature = "renders", quantity = 8 })).Expect(201);
        Assert.Equal("\"renders-hour\";r=2;t=3600", held.Headers["RateLimit"]);
        var limited = (await api.Post(Holds, new { feature = "renders", quantity = 3 })).ExpectProblem(429, "rate_limited", "At most 10 renders an hour");
        Assert.Equal("3600", limited.Headers["Retry-After"]);
        // What is more than held counts in the rate, too.
        (await Settle(api, held.String("id")!, 11)).ExpectProblem(429, "rate_limited", "At most 10 renders an hour");
        (await api.Post(Holds, new { feature = "export", quantity = 1 })).ExpectProblem(400, "feature_not_metered", "'export' is not metered", "feature");
    }

    [Theory]
    [InlineData("""{"quantity":1}""", 400, "missing_field", "Say which feature is to be held.", "feature")]
    [InlineData("""{"feature":"jobs"}""", 400, "missing_field", "Say how much of it is to be held.", "quantity")]
    [InlineData("""{"feature":"jobs","quantity":"1"}""", 400, "invalid_field", "A quantity is a JSON number", "quantity")]
    [InlineData("""{"feature":"jobs","quantity":1,"expires":5}""", 400, "unknown_field", "There is no field 'expires' here.", "expires")]
    [InlineData("""{"feature":"jobs","quantity":1,"expires_in":1.5}""", 400, "invalid_field", "The field 'expires_in' has a wrong value.", "expires_in")]
    [InlineData("""{"feature":"jobs","quantity":1,"expires_in":0}""", 400, "expiry_in_past", "A hold lasts at least 1 second.", "expires_in")]
    [InlineData("""{"feature":"jobs","quantity":1,"expires_in":-9223372036854775808}""", 400, "expiry_in_past", "A hold lasts at least 1 second.", "expires_in")]
    [InlineData("""{"feature":"jobs","quantity":1,"expires_in":604801}""", 400, "expiry_too_far", "A hold lasts at most 604800 seconds: 7 days.", "expires_in")]
    [InlineData("""{"feature":"jobs","quantity":1,"expires_in":9223372036854775807}""", 400, "expiry_too_far", "A hold lasts at most 604800 seconds: 7 days.", "expires_in")]
    [InlineData("""{"feature":"jobs","quantity":0}""", 400, "quantity_not_positive", "A quantity is more than 0.", "quantity")]
    [InlineData("""{"feature":"jobs","quantity":0.05}""", 400, "quantity_too_precise", "at most 1 decimal places", "quantity")]
    [InlineData("""{"feature":"jobs","quantity":1e15}""", 400, "quantity_too_large", "A quantity is at most 100000000000000.", "quantity")]
    [InlineData("""{"feature":"storage","quantity":1}""", 400, "feature_is_gauge", "'storage' is a gauge", "feature")]
    [InlineData("""{"feature":"nothing","quantity":1}""", 404, "feature_unknown", "The catalog has no feature 'nothing'.", "feature")]
    [InlineData("""{"feature":"jobs","quantity":1,"metadata":{"":"x"}}""", 400, "metadata_too_large", "A metadata key has 1 to 40 characters", "metadata")]
    public async Task a_hold_that_cannot_be_is_refused_by_name_and_changes_nothing(string body, int status, string code, string sentence, string field)
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");

        (await api.Post(Holds, body)).ExpectProblem(status, code, sentence, field);
        Assert.Equal(1, (await api.Get("/v1/organizations/acme")).Number("version"));
    }

    [Fact]
    public async Task a_settling_and_a_release_that_cannot_be_are_refused_by_name()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");
        var hold = await Place(api, "jobs", 1);

        (await api.Post($"{Holds}/{hold}/settle", "{}")).ExpectProblem(400, "missing_field", "Say how much was used; 0 records nothing.", "quantity");
        (await Settle(api, hold, -1)).ExpectProblem(400, "quantity_not_positive", "A hold is settled with 0 or more", "quantity");
        (await Settle(api, hold, 0.01m)).ExpectProblem(400, "quantity_too_precise", "at most 1 decimal places", "quantity");
        (await api.Send(HttpMethod.Post, $"{Holds}/{hold}/settle", """{"quantity":1}""")).ExpectProblem(400, "idempotency_key_missing", "Send an Idempotency-Key");
        (await api.Send(HttpMethod.Post, Holds, """{"feature":"jobs","quantity":1}""")).ExpectProblem(400, "idempotency_key_missing", "Send an Idempotency-Key");
        (await api.Send(HttpMethod.Delete, $"{Holds}/{hold}", """{"reason":"x"}""")).ExpectProblem(400, "unknown_field", "There is no field 'reason' here.", "reason");
        Assert.Equal(2, (await api.Get("/v1/organizations/acme")).Number("version"));
        (await api.Get("/v1/organizations/nobody/holds")).ExpectProblem(404, "organization_unknown", "There is no organization 'nobody'.");
        using var stranger = await api.ClientOf("acme");
        (await api.Get("/v1/organizations/beta/holds", stranger)).Expect(404);
    }

    [Fact]
    public async Task the_list_goes_page_by_page_and_by_feature()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");
        for (var i = 0; i < 5; i++) await Place(api, i % 2 == 0 ? "jobs" : "renders", 1);

        var page = (await api.Get($"{Holds}?limit=2")).Expect(200);
        Assert.Equal(("ho_2", "ho_3", 2), (page.String("items.0.id"), page.String("items.1.id"), page["items"]!.AsArray().Count));
        Assert.Equal(["ho_2", "ho_3", "ho_4", "ho_5", "ho_6"], (await api.List($"{Holds}?limit=2")).Select(h => (string)h["id"]!));
        Assert.Equal(["ho_2", "ho_4", "ho_6"], (await api.List($"{Holds}?feature=jobs&limit=1")).Select(h => (string)h["id"]!));
        Assert.Null((await api.Get($"{Holds}?limit=5")).String("next_cursor"));
        (await api.Get($"{Holds}?cursor=nonsense")).ExpectProblem(400, "invalid_parameter", "This cursor is not one of ours.", "cursor");
    }

    [Fact]
    public async Task holds_expire_by_time_without_traffic()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");
        await api.Grant("acme", 10);
        await Place(api, "calls", 6, expiresIn: 60);
        await Place(api, "jobs", 5, expiresIn: 90);

        api.Clock.Advance(Duration.FromSeconds(59));
        Assert.Equal(0, await api.RunDueWork());
        api.Clock.Advance(Duration.FromSeconds(1));
        // A check knows at once; the event follows without anybody asking.
        Assert.Equal((0m, 10m), ((await api.Check("acme", "calls")).Number("held"), (await api.Check("acme", "calls")).Number("tokens")));
        Assert.Equal((10m, 0m), ((await api.Get("/v1/organizations/acme/tokens")).Number("balance"), (await api.Get("/v1/organizations/acme/tokens")).Number("grants.0.held")));
        Assert.Empty(await api.Ledger("acme", "hold-ended"));
        Assert.Equal(1, await api.RunDueWork());
        Assert.Equal(0, await api.RunDueWork());
        api.Clock.Advance(Duration.FromMinutes(10));
        Assert.Equal(1, await api.RunDueWork());

        var ended = await api.Ledger("acme", "hold-ended");
        Assert.Equal(["ho_3 expired 2026-11-20T10:01:00Z", "ho_4 expired 2026-11-20T10:01:30Z"],
            ended.Select(e => $"{e["data"]!["hold"]} {e["data"]!["outcome"]} {e["effective_at"]}"));
        Assert.Empty(await api.List(Holds));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task open_holds_outlive_the_service()
    {
        await using var before = await TestApi.Start(Catalog);
        await before.Open("acme");
        await before.Grant("acme", 10);
        var (first, second, gone) = (await Place(before, "calls", 6), await Place(before, "jobs", 5, expiresIn: 60), await Place(before, "jobs", 1));
        (await Release(before, gone)).Expect(200);
        var answers = await Answers(before);
        before.Clock.Advance(Duration.FromSeconds(30));

        await using var api = await before.Restart();
        Assert.Equal(answers, await Answers(api));
        api.Residents.Evict(0);
        Assert.Equal(answers, await Answers(api));

        // What was held is settled, what expired meanwhile is ended, and what had ended is known.
        Assert.Equal(5m, (await Settle(api, first, 5)).Expect(200).Number("entitlement.used"));
        api.Clock.Advance(Duration.FromSeconds(30));
        Assert.Equal(1, await api.RunDueWork());
        (await Settle(api, second, 1)).ExpectProblem(409, "hold_ended", "expired at 2026-11-20T10:01:00Z");
        (await Settle(api, gone, 1)).ExpectProblem(409, "hold_ended", "was released at 2026-11-20T10:00:00Z");
        await api.VerifyLedger("acme");

        static async Task<string[]> Answers(TestApi api) =>
        [
            (await api.Get(Holds)).Text, (await api.Get("/v1/organizations/acme/tokens")).Text,
            (await api.Check("acme", "calls")).Text, (await api.Check("acme", "jobs")).Text,
        ];
    }

    [Fact]
    public async Task an_explanation_shows_what_is_held_by_which_holds()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");
        await Place(api, "jobs", 4);

        var steps = (await api.Get("/v1/organizations/acme/entitlements/jobs/explain?quantity=7")).Expect(200)["steps"]!.AsArray();
        var holds = steps.Single(s => (string?)s!["rule"] == "holds")!;
        Assert.Equal(("40", "[2]"), ((string?)holds["numbers"]!["quantity"], holds["events"]!.ToJsonString()));
    }
}
