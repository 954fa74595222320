using System.Text.Json.Nodes;

namespace Billing.Tests.Api;

/// <summary>Moving organizations between versions of the catalog, over HTTP: with a dry run, for real, resumed, and back.</summary>
public sealed class CatalogMoveTests
{
    private const string Relic = """, "relic": { "name": "Relic", "prices": [{ "interval": "month", "amount": 100 }], "features": { "calls": 3 } }""";

    private const string First = """
        {
          "fallback_plan": "free",
          "features": { "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call" } }, "seats": { "name": "seats", "type": "metered", "meter": { "unit": "seat", "aggregation": "gauge" } }, "sso": { "name": "single sign-on", "type": "boolean" } },
          "plans": {
            "free":  { "name": "Free", "features": { "calls": 10, "seats": 1 } },
            "pro":   { "name": "Pro", "prices": [{ "interval": "month", "amount": 1000 }, { "interval": "year", "amount": 10000 }], "features": { "calls": 100, "seats": 5 } },
            "team":  { "name": "Team", "prices": [{ "interval": "month", "amount": 5000 }], "features": { "calls": 1000, "seats": 50 } }
        """ + Relic + " } }";

    // Pro is dearer, gives more calls and fewer seats, and single sign-on; the year is no longer sold, nor is the relic.
    private static readonly string Second = First
        .Replace("""{ "interval": "month", "amount": 1000 }, { "interval": "year", "amount": 10000 }""", """{ "interval": "month", "amount": 1500 }""", StringComparison.Ordinal)
        .Replace("""{ "calls": 100, "seats": 5 }""", """{ "calls": 200, "seats": 3, "sso": true }""", StringComparison.Ordinal)
        .Replace(Relic, "", StringComparison.Ordinal);

    /// <summary>Sold under the first version; the second is current.</summary>
    private static async Task<TestApi> Sold()
    {
        await using var before = await TestApi.Start(First);
        foreach (var (organization, plan, interval) in ((string, string, string)[])[("a-month", "pro", "month"), ("b-year", "pro", "year"), ("c-team", "team", "month"), ("d-relic", "relic", "month")])
        {
            await before.Open(organization);
            (await before.Put($"/v1/organizations/{organization}/subscription", new { plan, interval })).Expect(200);
        }
        await before.Open("e-given", "pro");
        await before.Open("f-free");
        await before.Open("g-stripe");
        await before.Subscribe("g-stripe", "pro-month", until: "2026-12-20T10:00:00Z");
        await before.Open("h-closed", "pro");
        (await before.Send(HttpMethod.Delete, "/v1/organizations/h-closed")).Expect(200);
        (await before.Use("a-month", "seats", 4)).Expect(201);
        (await before.Use("a-month", "calls", 100)).Expect(201);
        Assert.DoesNotContain("relic", Second, StringComparison.Ordinal);
        var after = await before.Restart(Second);
        after.Clock.Set("2026-11-25T10:00:00Z");
        return after;
    }

    private static Task<Answer> Move(TestApi api, object body, string? key = null) => api.Send(HttpMethod.Post, "/v1/catalog/moves", body, key);

    private static Dictionary<string, JsonNode> ById(Answer moves) => moves["organizations"]!.AsArray().ToDictionary(o => (string)o!["organization"]!, o => o!);

    private static async Task<(decimal, decimal)> Limits(TestApi api, string organization) =>
        ((await api.Check(organization, "calls")).Number("limit"), (await api.Check(organization, "seats")).Number("limit"));

    [Fact]
    public async Task a_dry_run_shows_limits_prices_and_who_would_be_over_a_limit_and_changes_nothing()
    {
        await using var api = await Sold();
        var versions = (await api.Get("/v1/catalog/versions")).Expect(200).Json.AsArray();
        Assert.Equal([(1, false), (2, true)], versions.Select(v => (v!["version"]!.GetValue<int>(), v["current"]!.GetValue<bool>())));
        Assert.Contains("relic", versions[0]!["plans"]!.AsArray().Select(p => (string?)p));

        var moves = (await Move(api, new { to_version = 2, dry_run = true })).Expect(200);

        var found = ById(moves);
        Assert.Equal(["a-month", "b-year", "c-team", "d-relic", "e-given", "g-stripe"], found.Keys.Order());
        Assert.Equal((0m, 2m, true), (moves.Number("moved"), moves.Number("refused"), moves.True("dry_run")));
        var month = found["a-month"];
        Assert.Equal(("would_move", "pro", 1, 1000L, 1500L),
            ((string?)month["status"], (string?)month["plan"], month["from_version"]!.GetValue<int>(), month["price_before"]!["amount"]!.GetValue<long>(), month["price_after"]!["amount"]!.GetValue<long>()));
        Assert.Equal(["seats"], month["over_limit"]!.AsArray().Select(f => (string?)f));
        Assert.Equal([("calls", 100m, 200m, 100m), ("seats", 5m, 3m, 4m)], month["limits"]!.AsArray().Where(l => (string?)l!["feature"] != "sso")
            .Select(l => ((string)l!["feature"]!, l["limit_before"]!.GetValue<decimal>(), l["limit_after"]!.GetValue<decimal>(), l["used"]!.GetValue<decimal>())));
        Assert.Contains(month["limits"]!.AsArray(), l => (string?)l!["feature"] == "sso" && !l["before"]!.GetValue<bool>() && l["after"]!.GetValue<bool>());
        Assert.Empty(found["e-given"]["over_limit"]!.AsArray());
        Assert.Null(found["e-given"]["price_before"]);
        // What is no longer sold cannot be moved to: the year, and the relic.
        Assert.Equal(("refused", "price_unknown"), ((string?)found["b-year"]["status"], (string?)found["b-year"]["code"]));
        Assert.Equal(("refused", "plan_unknown"), ((string?)found["d-relic"]["status"], (string?)found["d-relic"]["code"]));
        Assert.Empty(await api.Ledger("a-month", "quota-reset"));
        Assert.Equal((100m, 5m), await Limits(api, "a-month"));
    }

    [Fact]
    public async Task organizations_are_moved_page_by_page_each_once_and_back()
    {
        await using var api = await Sold();
        var moved = new List<string>();
        for (string? cursor = null; ;)
        {
            var page = (await Move(api, new { to_version = 2, limit = 3, cursor, reason = "spring prices" }, "spring")).Expect(200);
            moved.AddRange(page["organizations"]!.AsArray().Where(o => (string?)o!["status"] == "moved").Select(o => (string)o!["organization"]!));
            // A page that is asked for again, as after a crash, moves nobody twice.
            Assert.Equal(0, (await Move(api, new { to_version = 2, limit = 3, cursor, reason = "spring prices" }, "spring")).Expect(200).Number("moved"));
            if ((cursor = page.String("next_cursor")) is null) break;
        }

        Assert.Equal(["a-month", "c-team", "e-given", "g-stripe"], moved);
        foreach (var organization in moved)
        {
            var change = Assert.Single(await api.Ledger(organization, "subscription-changed"), e => (string?)e["data"]!["change"] == "catalog_moved")["data"]!;
            Assert.Equal("spring prices", (string?)change["reason"]);
            Assert.StartsWith("key_", (string?)change["by"], StringComparison.Ordinal);
            await api.VerifyLedger(organization);
        }
        Assert.Equal((200m, 3m), await Limits(api, "a-month"));
        Assert.Equal((200m, 3m), await Limits(api, "g-stripe"));
        // What was used stays used; more seats than there are places for can only go down.
        Assert.Equal(100, (await api.Check("a-month", "calls")).Number("used"));
        (await api.Use("a-month", "seats")).Expect(402);
        // The new price counts from the next period.
        Assert.Single(await api.List("/v1/organizations/a-month/invoices"));
        api.Clock.Set("2026-12-20T10:00:00Z");
        await api.RunDueWork();
        Assert.Equal(1500, (await api.List("/v1/organizations/a-month/invoices"))[0]["total"]!["amount"]!.GetValue<long>());

        var back = (await Move(api, new { to_version = 1, organizations = (string[])["a-month", "nobody"] }, "back")).Expect(200);
        Assert.Equal((1m, 1m, "organization_unknown"), (back.Number("moved"), back.Number("refused"), (string?)ById(back)["nobody"]["code"]));
        Assert.Equal((100m, 5m), await Limits(api, "a-month"));
        // And forward once more: a new request is a new move.
        Assert.Equal(1, (await Move(api, new { to_version = 2, organizations = (string[])["a-month"] }, "again")).Expect(200).Number("moved"));
        Assert.Equal((200m, 3m), await Limits(api, "a-month"));
    }

    [Fact]
    public async Task a_move_is_narrowed_by_plan_and_version()
    {
        await using var api = await Sold();

        Assert.Equal(["c-team"], ById((await Move(api, new { to_version = 2, plan = "team", dry_run = true })).Expect(200)).Keys);
        Assert.Empty(ById((await Move(api, new { to_version = 2, from_version = 2, dry_run = true })).Expect(200)));
        Assert.Equal(6, ById((await Move(api, new { to_version = 2, from_version = 1, dry_run = true })).Expect(200)).Count);
    }

    [Fact]
    public async Task what_is_no_move_is_refused()
    {
        await using var api = await TestApi.Start(First);
        await api.Open("acme");
        using var own = await api.ClientOf("acme");

        (await Move(api, new { })).ExpectProblem(400, "missing_field", "Say to which version.", "to_version");
        (await Move(api, new { to_version = 3 }, "k")).ExpectProblem(404, "catalog_version_unknown", "There are 1 to 1.", "to_version");
        (await Move(api, new { to_version = 1 })).ExpectProblem(400, "idempotency_key_missing", "");
        (await Move(api, new { to_version = 1, dry_run = true, limit = 501 })).ExpectProblem(400, "invalid_field", "from 1 to 500", "limit");
        (await Move(api, new { to_version = 1, dry_run = true, cursor = "?" })).ExpectProblem(400, "invalid_field", "This cursor is not one of ours.", "cursor");
        (await Move(api, new { to_version = 1, dry_run = true, organizations = (string[])["no/such"] })).ExpectProblem(400, "organization_id_invalid", "", "organizations[0]");
        (await Move(api, new { to_version = 1, dry_run = true, organizations = Enumerable.Range(0, 501).Select(i => $"o{i}") })).ExpectProblem(400, "batch_too_large", "At most 500", "organizations");
        (await api.Send(HttpMethod.Post, "/v1/catalog/moves", new { to_version = 1, dry_run = true }, by: own)).ExpectProblem(403, "operator_only", "");
        (await api.Get("/v1/catalog/versions", own)).ExpectProblem(403, "operator_only", "");
    }
}
