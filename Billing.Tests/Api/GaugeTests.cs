using System.Text.Json.Nodes;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>Gauges count what there is now: they are moved and set, never reset, and never paid for with tokens.</summary>
public sealed class GaugeTests
{
    [Fact]
    public async Task usage_moves_a_gauge_up_and_down()
    {
        await using var api = await TestApi.Start("video-matching");
        await api.Open("acme", "pro");

        Assert.Equal(12.5m, (await api.Use("acme", "storage_gb", 12.5m)).Expect(201).Number("value"));
        Assert.Equal(15.75m, (await api.Use("acme", "storage_gb", 3.25m)).Expect(201).Number("value"));
        var down = (await api.Use("acme", "storage_gb", -5.5m)).Expect(201);

        Assert.Equal((-5.5m, 10.25m), (down.Number("quantity"), down.Number("value")));
        Assert.Equal((10.25m, 89.75m), (down.Number("entitlement.used"), down.Number("entitlement.remaining")));
        Assert.Null(down.At("entitlement.resets_at"));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task an_increase_past_the_limit_is_denied_and_a_decrease_is_always_allowed()
    {
        await using var api = await TestApi.Start("video-matching");
        await api.Open("acme", "pro");
        (await api.Use("acme", "storage_gb", 100)).Expect(201);
        Assert.Equal("quota_exceeded", (await api.Use("acme", "storage_gb", 0.001m)).Expect(402).Code);

        // On a smaller plan it stands past the limit: it may go down, step by step, and not up.
        await api.SetPlan("acme", "free");
        (await api.Use("acme", "storage_gb", -0.5m)).Expect(201);
        (await api.Use("acme", "storage_gb", 0.5m)).Expect(402);
        Assert.Equal(99.5m, (await api.Check("acme", "storage_gb")).Number("used"));
        (await Set(api, 42m)).Expect(200);
        (await Set(api, 43m)).Expect(402);
        (await Set(api, 0.5m)).Expect(200);
        (await api.Use("acme", "storage_gb", 0.5m)).Expect(201);
        (await api.Use("acme", "storage_gb", 0.001m)).Expect(402);
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task a_decrease_is_allowed_on_a_plan_that_does_not_have_the_feature_any_more()
    {
        var catalog = JsonNode.Parse(await File.ReadAllTextAsync(Repository.Catalog("video-matching")))!;
        catalog["plans"]!["free"]!["features"]!.AsObject().Remove("storage_gb");
        await using var api = await TestApi.Start(catalog.ToJsonString());
        await api.Open("acme", "pro");
        (await api.Use("acme", "storage_gb", 60)).Expect(201);
        await api.SetPlan("acme", "free");

        Assert.Equal("feature_not_in_plan", (await api.Use("acme", "storage_gb", 1)).Expect(403).Code);
        Assert.Equal(50, (await api.Use("acme", "storage_gb", -10)).Expect(201).Number("value"));
        Assert.Equal(20, (await Set(api, 20)).Expect(200).Number("value"));
        Assert.Equal("gauge_below_zero", (await api.Use("acme", "storage_gb", -21)).Expect(400).Code);
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task a_gauge_does_not_go_below_zero()
    {
        await using var api = await TestApi.Start("video-matching");
        await api.Open("acme", "pro");
        Assert.Equal("gauge_below_zero", (await api.Use("acme", "storage_gb", -1)).Expect(400).Code);
        (await api.Use("acme", "storage_gb", 2)).Expect(201);

        Assert.Equal("gauge_below_zero", (await api.Use("acme", "storage_gb", -2.001m)).Expect(400).Code);
        Assert.Equal("gauge_below_zero", (await api.Post("/v1/organizations/acme/usage", new { feature = "storage_gb", quantity = -3, enforce = false })).Expect(400).Code);
        Assert.Equal("invalid_field", (await Set(api, -1)).Expect(400).Code);
        Assert.Equal(2, (await api.Check("acme", "storage_gb")).Number("used"));
        (await api.Use("acme", "storage_gb", -2)).Expect(201);
    }

    [Fact]
    public async Task put_sets_a_gauge_and_says_again_what_it_is_without_an_event()
    {
        await using var api = await TestApi.Start("video-matching");
        await api.Open("acme", "pro");

        var set = (await Set(api, 30.125m)).Expect(200);
        Assert.Equal((30.125m, 30.125m), (set.Number("value"), set.Number("quantity")));
        Assert.Equal(-10, (await Set(api, 20.125m)).Expect(200).Number("quantity"));
        var version = (await api.Get("/v1/organizations/acme")).Number("version");
        (await Set(api, 20.125m)).Expect(200);
        Assert.Equal(version, (await api.Get("/v1/organizations/acme")).Number("version"));

        Assert.Equal("quota_exceeded", (await Set(api, 100.001m)).Expect(402).Code);
        Assert.Equal("quantity_too_precise", (await Set(api, 1.0001m)).Expect(400).Code);
        Assert.Equal("feature_not_gauge", (await api.Put("/v1/organizations/acme/gauges/videos", new { value = 1 })).Expect(400).Code);
        Assert.Equal(20.125m, (await api.Check("acme", "storage_gb")).Number("used"));
    }

    [Fact]
    public async Task a_gauge_never_resets_and_burns_no_tokens()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Grant("acme", 1_000);
        (await api.Use("acme", "projects", 10)).Expect(201);
        (await api.Use("acme", "projects")).Expect(403);

        api.Clock.Advance(Duration.FromDays(1_000));
        Assert.Equal(0, await api.RunDueWork());

        Assert.Equal(10, (await api.Check("acme", "projects")).Number("used"));
        (await api.Use("acme", "projects")).Expect(403);
        Assert.Equal(1_000, (await api.Get("/v1/organizations/acme/tokens")).Number("balance"));
        Assert.Empty(await api.Ledger("acme", "quota-reset"));
    }

    [Fact]
    public async Task only_a_gauge_may_be_moved_down()
    {
        await using var api = await TestApi.Start("video-matching");
        await api.Open("acme");
        (await api.Use("acme", "videos", 2)).Expect(201);

        Assert.Equal("quantity_not_positive", (await api.Use("acme", "videos", -1)).Expect(400).Code);
        Assert.Equal("quantity_not_positive", (await api.Use("acme", "storage_gb", 0)).Expect(400).Code);
    }

    private static Task<Answer> Set(TestApi api, decimal value) => api.Put("/v1/organizations/acme/gauges/storage_gb", new { value });
}
