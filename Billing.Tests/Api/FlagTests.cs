using Billing.Api;
using Billing.Silo;
using Billing.Tests.Grains;
using Microsoft.Extensions.Logging.Abstractions;

namespace Billing.Tests.Api;

/// <summary>What operators switch while the service runs, and whom it is switched for.</summary>
public sealed class FlagTests
{
    private static async Task<bool> IsOn(TestApi api, string flag, HttpClient by) => (await api.Get("/v1/config", by)).Expect(200)["flags"]![flag]!.GetValue<bool>();

    [Fact]
    public async Task what_one_process_sets_is_in_force_in_another_when_it_looks_next()
    {
        await using var one = await TestApi.Start("learning-community");
        await using var other = await TestApi.Start("learning-community", folder: one.Folder);
        await other.Open("acme");
        using var client = await other.ClientOf("acme");
        var time = new ManualTime();
        using var poll = new FlagPoll(other.Services.Flags, time, NullLogger<FlagPoll>.Instance);
        await poll.StartAsync(default);

        (await one.Put("/v1/flags/new_subscriptions", new { on = false })).Expect(200);
        Assert.True(await IsOn(other, "new_subscriptions", client));
        Assert.InRange(FlagPoll.Every, TimeSpan.Zero, TimeSpan.FromSeconds(5));
        // It starts on a thread of its own.
        while (time.Waiting == 0) await Task.Yield();
        time.Advance(FlagPoll.Every);

        while (await IsOn(other, "new_subscriptions", client)) await Task.Yield();
        await poll.StopAsync(default);
    }

    [Fact]
    public async Task before_it_is_set_a_flag_is_as_the_configuration_says()
    {
        await using var api = await TestApi.Start("learning-community", args: ["--FeatureManagement:new_subscriptions=false", "--FeatureManagement:billing_v2=40"]);

        var flags = (await api.Get("/v1/flags")).Expect(200).Json.AsArray();
        Assert.Equal(["new_subscriptions 0", "billing_v2 40"], flags.Select(f => $"{f!["name"]} {f["percent"]}"));
        var set = (await api.Put("/v1/flags/billing_v2", new { percent = 60 })).Expect(200);
        Assert.Equal((60m, "2026-11-20T10:00:00Z"), (set.Number("percent"), set.String("updated_at")));

        var refused = await Assert.ThrowsAsync<SettingsException>(() => TestApi.Start("learning-community", args: "--FeatureManagement:billing_v2=101"));
        Assert.Equal("FeatureManagement:billing_v2 is '101'; it must be true, false or a whole number from 0 to 100.", refused.Message);
    }

    [Theory]
    [InlineData("""{ "percent": 101 }""", "invalid_field", "A percentage is a whole number from 0 to 100.")]
    [InlineData("""{ "percent": -1 }""", "invalid_field", "A percentage is a whole number from 0 to 100.")]
    [InlineData("""{ "percent": 2.5 }""", "invalid_field", "")]
    [InlineData("""{ "percent": "10" }""", "invalid_field", "")]
    [InlineData("""{ "percent": 10, "on": true }""", "invalid_field", "Say on or percent, not both.")]
    [InlineData("""{}""", "missing_field", "Say on (true or false), or percent (0 to 100).")]
    [InlineData("""{ "percents": 10 }""", "unknown_field", "")]
    public async Task a_bad_value_is_refused_and_changes_nothing(string body, string code, string says)
    {
        await using var api = await TestApi.Start("learning-community");

        (await api.Put("/v1/flags/billing_v2", body)).ExpectProblem(400, code, says);
        Assert.Equal(100, (await api.Get("/v1/flags")).Expect(200).Json[1]!["percent"]!.GetValue<int>());
    }

    [Fact]
    public async Task only_operators_see_and_set_flags_and_only_those_that_there_are()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        using var client = await api.ClientOf("acme");

        (await api.Put("/v1/flags/billing_v3", new { on = true })).ExpectProblem(404, "not_found", "There is no flag 'billing_v3'. There are: new_subscriptions, billing_v2.");
        (await api.Get("/v1/flags", client)).ExpectProblem(403, "operator_only", "");
        (await api.Put("/v1/flags/billing_v2", new { on = false }, by: client)).ExpectProblem(403, "operator_only", "");
    }
}
