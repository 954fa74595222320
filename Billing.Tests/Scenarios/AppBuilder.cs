using System.Text.Json.Nodes;
using Billing.Tests.Api;

namespace Billing.Tests.Scenarios;

/// <summary>Scenario E: an app builder.</summary>
public sealed class AppBuilder
{
    [Fact]
    public async Task E5_one_feature_is_checked()
    {
        await using var api = await TestApi.Start("app-builder");
        await api.Open("acme", "starter");
        (await api.Use("acme", "build_hours", 39.75m)).Expect(201);

        var fits = await api.Check("acme", "build_hours", 0.25m);
        Assert.True(fits.True("has_access"));
        Assert.Equal((40m, 39.75m, 0.25m), (fits.Number("limit"), fits.Number("used"), fits.Number("remaining")));
        var tooMuch = (await api.Check("acme", "build_hours", 0.26m)).Expect(200);
        Assert.False(tooMuch.True("has_access"));
        Assert.Equal(("quota_exceeded", 402m), (tooMuch.String("denial.code"), tooMuch.Number("denial.status")));
        Assert.Equal(["pro", "scale"], tooMuch.At("denial.upgrade_to")!.AsArray().Select(p => p!.GetValue<string>()));
        Assert.True((await api.Check("acme", "core_agents")).True("has_access"));
        Assert.False((await api.Check("acme", "growth_agents")).True("has_access"));
        Assert.Equal("feature_unknown", (await api.Check("acme", "teleportation")).Expect(404).Code);
    }

    [Fact]
    public async Task E5_all_limits_are_checked_at_once()
    {
        await using var api = await TestApi.Start("app-builder");
        await api.Open("acme", "pro");
        (await api.Use("acme", "projects", 3)).Expect(201);

        var all = (await api.Get("/v1/organizations/acme/entitlements")).Expect(200);

        Assert.False(all.True("has_access"));
        var entitlements = all["entitlements"]!.AsArray().ToDictionary(e => e!["feature"]!.GetValue<string>(), e => e!);
        Assert.Equal(15, entitlements.Count);
        Assert.Equal(
            ["projects", "growth_agents", "isolated_database", "dedicated_support"],
            entitlements.Keys.Where(f => !entitlements[f]["has_access"]!.GetValue<bool>()));
        // Each is what the check of that one feature says.
        foreach (var (feature, entitlement) in entitlements)
            Assert.Equal((await api.Check("acme", feature)).Json.ToJsonString(), entitlement.ToJsonString());
    }

    [Fact]
    public async Task E5_several_features_are_checked_together()
    {
        await using var api = await TestApi.Start("app-builder");
        await api.Open("acme", "starter");
        (await api.Use("acme", "projects", 1)).Expect(201);

        Assert.True((await Check(("build_hours", 40), ("storage_gb", 10), ("email_support", null))).True("has_access"));
        var some = await Check(("build_hours", 12.5m), ("projects", 1), ("ai_embeddings", 100_001));
        Assert.False(some.True("has_access"));
        Assert.Equal([true, false, false], some["entitlements"]!.AsArray().Select(e => e!["has_access"]!.GetValue<bool>()));
        Assert.Equal("feature_unknown", (await Post(("build_hours", 1), ("teleportation", 1))).Expect(404).Code);
        // Nothing was counted.
        Assert.Equal(0, (await api.Check("acme", "build_hours")).Number("used"));

        async Task<Answer> Check(params (string, decimal?)[] items) => (await Post(items)).Expect(200);

        Task<Answer> Post(params (string Feature, decimal? Quantity)[] items) => api.Post("/v1/organizations/acme/entitlements/check",
            new JsonObject { ["items"] = new JsonArray([.. items.Select(i => new JsonObject { ["feature"] = i.Feature, ["quantity"] = i.Quantity })]) }.ToJsonString());
    }

    [Fact]
    public async Task E8_one_organization_never_sees_anothers_billing_data()
    {
        await using var api = await TestApi.Start("app-builder");
        foreach (var organization in (string[])["acme", "beta"])
        {
            await api.Open(organization, "starter");
            (await api.Use(organization, "build_hours", organization == "acme" ? 7 : 11)).Expect(201);
        }
        using var acme = await api.ClientOf("acme");
        using var beta = await api.ClientOf("beta");

        // Each sees its own.
        Assert.Equal(7, (await api.Get("/v1/organizations/acme/entitlements/build_hours", acme)).Expect(200).Number("used"));
        Assert.Equal(11, (await api.Get("/v1/organizations/beta/entitlements/build_hours", beta)).Expect(200).Number("used"));
        Assert.Equal("acme", Assert.Single(await api.List("/v1/organizations", acme))["id"]!.GetValue<string>());
        Assert.Equal("beta", Assert.Single(await api.List("/v1/organizations", beta))["id"]!.GetValue<string>());

        // The other's answers on every route as one that does not exist.
        var others = await api.Routes("/v1/organizations/{organization}", "beta");
        Assert.True(others.Count > 15);
        foreach (var (method, path) in others)
        {
            var answer = await Ask(method, path);
            Assert.True((answer.Status, answer.Code) == (404, "organization_unknown"), $"{method} {path}: {answer.Status} {answer.Text}");
            Assert.Equal((await Ask(method, path.Replace("beta", "nobody"))).Text.Replace("nobody", "beta"), answer.Text);
        }
        // What is the operator's is no organization's.
        foreach (var (method, path) in (await api.Routes("/v1/")).Where(r => r.Path.StartsWith("/v1/api-keys", StringComparison.Ordinal) || r.Path.StartsWith("/v1/stripe", StringComparison.Ordinal)))
            Assert.Equal("operator_only", (await Ask(method, path)).Expect(403).Code);
        Assert.Equal("operator_only", (await api.Post("/v1/organizations", new { id = "gamma" }, by: acme)).Expect(403).Code);
        Assert.Equal("operator_only", (await api.Put("/v1/organizations/acme/subscription", new { plan = "scale" }, by: acme)).Expect(403).Code);

        Assert.Equal(2, (await api.Get("/v1/organizations/beta", beta)).Number("version"));

        Task<Answer> Ask(HttpMethod method, string path) => api.Send(method, path, method == HttpMethod.Get ? null : "{}", TestApi.NewKey(), acme);
    }
}
