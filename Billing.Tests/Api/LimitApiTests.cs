namespace Billing.Tests.Api;

/// <summary>Overrides, spend caps and tiers over HTTP.</summary>
public sealed class LimitApiTests
{
    private const string Acme = "/v1/organizations/acme";

    private const string Catalog = """
        {
          "fallback_plan": "free", "warn_at": [],
          "features": {
            "jobs":    { "name": "jobs", "type": "metered", "meter": { "unit": "job", "decimals": 1 }, "mode": "overage", "unit_price": "0.50" },
            "mails":   { "name": "mails", "type": "metered", "meter": { "unit": "mail", "decimals": 2 }, "mode": "overage", "tiers": [{ "up_to": 2.5, "unit_price": "0.10" }, { "unit_price": "0.04" }] },
            "calls":   { "name": "calls", "type": "metered", "meter": { "unit": "call" } },
            "export":  { "name": "exports", "type": "boolean" },
            "region":  { "name": "the region", "type": "static" }
          },
          "plans": { "free": { "name": "Free", "features": { "jobs": 10, "mails": 0, "calls": 5, "region": "eu" } } }
        }
        """;

    // ---- overrides

    [Fact]
    public async Task an_override_is_set_followed_everywhere_and_taken_back()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");
        (await api.Use("acme", "calls", 5)).Expect(201);

        var set = (await api.Put($"{Acme}/overrides/calls", new { allowance = 8, until = "2026-11-21T00:00:00Z", reason = "launch day" })).Expect(200);
        Assert.Equal(("calls", 8m, false, "2026-11-21T00:00:00Z", "launch day", 3m),
            (set.String("feature"), set.Number("allowance"), set.True("unlimited"), set.String("until"), set.String("reason"), set.Number("version")));
        Assert.Equal((8m, 3m), ((await api.Check("acme", "calls")).Number("limit"), (await api.Check("acme", "calls")).Number("remaining")));
        var line = (await api.Get($"{Acme}/usage/current"))["usage"]!.AsArray().Single(l => (string?)l!["feature"] == "calls")!;
        Assert.Equal((8m, 3m), (line["limit"]!.GetValue<decimal>(), line["remaining"]!.GetValue<decimal>()));
        (await api.Use("acme", "calls", 3)).Expect(201);
        (await api.Put($"{Acme}/overrides/export", new { })).Expect(200);
        Assert.True((await api.Check("acme", "export")).True("has_access"));
        Assert.Equal(["calls", "export"], (await api.Get($"{Acme}/overrides"))["overrides"]!.AsArray().Select(o => (string)o!["feature"]!));
        var step = (await api.Get($"{Acme}/entitlements/calls/explain"))["steps"]!.AsArray().Single(s => (string?)s!["rule"] == "override")!;
        Assert.Equal(("8", "launch day", "2026-11-21T00:00:00Z", "[3]"),
            ((string?)step["numbers"]!["limit"], (string?)step["numbers"]!["reason"], (string?)step["numbers"]!["until"], step["events"]!.ToJsonString()));

        // Its time ends without traffic, and the event says so.
        api.Clock.Set("2026-11-21T00:00:00Z");
        Assert.Equal(5m, (await api.Check("acme", "calls")).Number("limit"));
        Assert.Equal(["export"], (await api.Get($"{Acme}/overrides"))["overrides"]!.AsArray().Select(o => (string)o!["feature"]!));
        Assert.Equal(1, await api.RunDueWork());
        var ended = (await api.Ledger("acme", "override-set"))[^1]["data"]!;
        Assert.Equal(("calls", true, "clock"), ((string?)ended["feature"], (bool)ended["removed"]!, (string?)ended["by"]));

        (await api.Send(HttpMethod.Delete, $"{Acme}/overrides/export", new { reason = "enough" })).Expect(204);
        (await api.Send(HttpMethod.Delete, $"{Acme}/overrides/export")).Expect(204);
        Assert.False((await api.Check("acme", "export")).True("has_access"));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task an_override_says_who_set_it_and_the_same_again_writes_nothing()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");

        (await api.Put($"{Acme}/overrides/calls", new { unlimited = true }, "override-1")).Expect(200);
        Assert.Equal("true", (await api.Put($"{Acme}/overrides/calls", new { unlimited = true }, "override-1")).Expect(200).Headers["Idempotency-Replayed"]);
        var again = (await api.Put($"{Acme}/overrides/calls", new { unlimited = true })).Expect(200);
        Assert.Equal((null, true, 2m), (again["allowance"], again.True("unlimited"), again.Number("version")));
        Assert.Null((await api.Check("acme", "calls"))["limit"]);
        Assert.StartsWith("key_", (string?)Assert.Single(await api.Ledger("acme", "override-set"))["data"]!["by"], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("nothing", """{"allowance":1}""", 404, "feature_unknown", "feature")]
    [InlineData("region", """{"allowance":1}""", 400, "feature_not_metered", "feature")]
    [InlineData("export", """{"allowance":1}""", 400, "feature_not_metered", "feature")]
    [InlineData("calls", "{}", 400, "quantity_not_positive", "allowance")]
    [InlineData("calls", """{"allowance":-1}""", 400, "quantity_not_positive", "allowance")]
    [InlineData("calls", """{"allowance":1.5}""", 400, "quantity_too_precise", "allowance")]
    [InlineData("calls", """{"allowance":"8"}""", 400, "invalid_field", "allowance")]
    [InlineData("calls", """{"allowance":8,"unlimited":true}""", 400, "invalid_field", "unlimited")]
    [InlineData("calls", """{"allowance":8,"until":"2026-11-20T10:00:00Z"}""", 400, "expiry_in_past", "until")]
    [InlineData("calls", """{"allowance":8,"until":"tomorrow"}""", 400, "invalid_field", "until")]
    [InlineData("calls", """{"limit":8}""", 400, "unknown_field", "limit")]
    public async Task an_override_that_cannot_be_is_refused_by_name(string feature, string body, int status, string code, string field)
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");

        (await api.Put($"{Acme}/overrides/{feature}", body)).ExpectProblem(status, code, "", field);
        Assert.Equal(1, (await api.Get(Acme)).Number("version"));
    }

    [Fact]
    public async Task only_an_operator_overrides_and_everybody_sees_their_own()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");
        using var own = await api.ClientOf("acme");

        (await api.Put($"{Acme}/overrides/calls", new { unlimited = true }, by: own)).ExpectProblem(403, "operator_only", "Use an operator's key.");
        (await api.Send(HttpMethod.Delete, $"{Acme}/overrides/calls", by: own)).ExpectProblem(403, "operator_only", "Use an operator's key.");
        (await api.Get($"{Acme}/overrides", own)).Expect(200);
        (await api.Get("/v1/organizations/nobody/overrides")).ExpectProblem(404, "organization_unknown", "There is no organization");
    }

    // ---- spend caps and tiers

    [Fact]
    public async Task a_customer_sets_caps_and_is_refused_past_them_until_they_are_raised()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");
        using var own = await api.ClientOf("acme");

        var set = (await api.Put($"{Acme}/spend-caps", new { organization = 300, features = new { jobs = 200 } }, by: own)).Expect(200);
        Assert.Equal((300m, "usd", 0m, "jobs", 200m), (set.Number("cap.amount"), set.String("cap.currency"), set.Number("charged.amount"), set.String("features.0.feature"), set.Number("features.0.cap.amount")));
        Assert.Equal("2026-12-01T00:00:00Z", set.String("period.end"));
        Assert.Equal(200m, (await api.Use("acme", "jobs", 14)).Expect(201).Number("charge.amount"));
        var denied = (await api.Use("acme", "jobs", 0.1m, by: own)).ExpectProblem(402, "spend_cap_reached", "This would cost more than the 2.00 USD that you allow for jobs in this billing period.");
        Assert.Equal(("2026-12-01T00:00:00Z", "spend_cap_reached"), (denied.String("denial.resets_at"), denied.String("denial.code")));
        Assert.Equal("spend_cap_reached", (await api.Check("acme", "jobs")).String("denial.code"));
        (await api.Post($"{Acme}/usage", new { feature = "mails", quantity = 25.01m })).ExpectProblem(402, "spend_cap_reached", "the 3.00 USD that you allow for overage");
        (await api.Post($"{Acme}/holds", new { feature = "mails", quantity = 25.01m })).ExpectProblem(402, "spend_cap_reached", "the 3.00 USD that you allow for overage");

        // 2.5 at 10 cents and 18.75 at 4 are the whole dollar that is left.
        var mails = (await api.Use("acme", "mails", 21.25m)).Expect(201);
        Assert.Equal(100m, mails.Number("charge.amount"));
        var caps = (await api.Get($"{Acme}/spend-caps", own)).Expect(200);
        Assert.Equal((300m, 200m), (caps.Number("charged.amount"), caps.Number("features.0.charged.amount")));
        (await api.Put($"{Acme}/spend-caps", new { })).Expect(200);
        Assert.Equal((null, 0), ((await api.Get($"{Acme}/spend-caps"))["cap"], (await api.Get($"{Acme}/spend-caps"))["features"]!.AsArray().Count));
        (await api.Use("acme", "jobs", 1)).Expect(201);
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task tiers_are_shown_and_charged()
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");

        var plan = (await api.Get("/v1/plans"))["plans"]![0]!["features"]!.AsArray().Single(f => (string?)f!["feature"] == "mails")!;
        Assert.Equal((null, """[{"up_to":2.5,"unit_price":"0.10"},{"up_to":null,"unit_price":"0.04"}]"""), (plan["unit_price"], plan["tiers"]!.ToJsonString()));
        Assert.Equal(12m, (await api.Use("acme", "mails", 1.2m)).Expect(201).Number("charge.amount"));
        Assert.Equal(13m + 4m, (await api.Use("acme", "mails", 2.3m)).Expect(201).Number("charge.amount"));
        var line = (await api.Get($"{Acme}/usage/current"))["usage"]!.AsArray().Single(l => (string?)l!["feature"] == "mails")!;
        Assert.Equal((29m, null, null), (line["charge"]!["amount"]!.GetValue<decimal>(), line["list_cost"], line["unit_price"]));
    }

    [Theory]
    [InlineData("""{"organization":-1}""", "invalid_field", "organization")]
    [InlineData("""{"organization":1000000000001}""", "invalid_field", "organization")]
    [InlineData("""{"organization":1.5}""", "invalid_field", "organization")]
    [InlineData("""{"features":{"jobs":-1}}""", "invalid_field", "features.jobs")]
    [InlineData("""{"features":{"jobs":null}}""", "invalid_field", "features.jobs")]
    [InlineData("""{"features":{"nothing":1}}""", "feature_unknown", "features.nothing")]
    [InlineData("""{"features":{"export":1}}""", "feature_not_metered", "features.export")]
    [InlineData("""{"caps":{}}""", "unknown_field", "caps")]
    public async Task a_cap_that_cannot_be_is_refused_by_name(string body, string code, string field)
    {
        await using var api = await TestApi.Start(Catalog);
        await api.Open("acme");

        (await api.Put($"{Acme}/spend-caps", body)).ExpectProblem(code == "feature_unknown" ? 404 : 400, code, "", field);
        Assert.Equal(1, (await api.Get(Acme)).Number("version"));
    }
}
