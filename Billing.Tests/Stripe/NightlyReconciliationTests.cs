using System.Text.Json.Nodes;
using Billing.StripeSandbox;
using Billing.Tests.Api;

namespace Billing.Tests.Stripe;

/// <summary>All organizations are compared with Stripe once a day, whatever happens meanwhile.</summary>
public sealed class NightlyReconciliationTests
{
    private static readonly string[] Organizations = ["alpha", "bravo", "charlie", "delta", "echo"];

    /// <summary>Five organizations with a customer each; one of them has tokens that the ledger does not know of.</summary>
    private static async Task<(TestApi Api, Dictionary<string, string> Customers)> Start(params string[] args)
    {
        var api = await TestApi.StartWithStripe("learning-community", seed: 1, args: ["--Billing:ReconcileHour=3", .. args]);
        var stripe = new AtStripe(api);
        var customers = new Dictionary<string, string>();
        foreach (var organization in Organizations)
        {
            await api.Open(organization);
            customers[organization] = await stripe.Customer(organization);
            await stripe.Subscribe(organization, customers[organization], "community-pro-year");
        }
        await api.Settle();
        api.Sandbox.Misbehaviour.Lose = 1;
        await stripe.BuyTokens("delta", customers["delta"], "starter", 500);
        await api.Settle();
        api.Sandbox.Misbehaviour.Stop();
        return (api, customers);
    }

    private static async Task<Answer> Last(TestApi api) => (await api.Get("/v1/stripe/reconciliation")).Expect(200);

    private static async Task<decimal> Tokens(TestApi api) => (await api.Get("/v1/organizations/delta/tokens")).Number("balance");

    [Fact]
    public async Task it_runs_once_a_day_from_its_hour_on_also_across_a_restart()
    {
        var (first, _) = await Start();
        await using var stays = first;
        // It was late on the 20th already when the service first started.
        Assert.Equal("2026-11-20", (await Last(first)).String("day"));
        await first.AdvanceTo("2026-11-21T02:59:00Z");
        Assert.Equal("2026-11-20", (await Last(first)).String("day"));

        await first.AdvanceTo("2026-11-21T03:00:00Z");

        var run = await Last(first);
        Assert.Equal(("2026-11-21", 5m, "2026-11-21T03:00:00Z", "2026-11-21T03:00:00Z"), (run.String("day"), run.Number("organizations"), run.String("started_at"), run.String("finished_at")));
        Assert.Equal("""{"payment":1}""", run["differences"]!.ToJsonString());
        Assert.Equal("""[{"organization":"delta","differences":1,"repaired":0}]""", run["with_differences"]!.ToJsonString());
        Assert.Equal((0m, 0m), (run.Number("repaired"), await Tokens(first)));

        first.Clock.Advance(NodaTime.Duration.FromHours(1));
        await using var second = await first.Restart();
        await second.RunStripeWork();
        Assert.Equal("2026-11-21T03:00:00Z", (await Last(second)).String("started_at"));
        await second.AdvanceTo("2026-11-22T05:00:00Z");
        Assert.Equal("2026-11-22", (await Last(second)).String("day"));
    }

    [Fact]
    public async Task it_repairs_where_it_is_told_to()
    {
        var (api, _) = await Start("--Billing:ReconcileRepairs=on");
        await using var stays = api;

        await api.AdvanceTo("2026-11-21T03:00:00Z");

        var run = await Last(api);
        Assert.Equal((1m, 100_000m), (run.Number("repaired"), await Tokens(api)));
        await api.AdvanceTo("2026-11-22T03:00:00Z");
        Assert.Empty((await Last(api))["differences"]!.AsObject());
    }

    [Fact]
    public async Task where_stripe_is_away_it_pauses_and_goes_on_where_it_was_even_after_a_restart()
    {
        var (first, customers) = await Start();
        await using var stays = first;
        for (var i = 0; i < 5; i++) first.Sandbox.Misbehaviour.Next(Fault.ServerError, $"GET /v1/customers/{customers["echo"]}");

        await first.AdvanceTo("2026-11-21T03:00:00Z");

        var paused = await Last(first);
        Assert.Equal((3m, (string?)null, "charlie"), (paused.Number("organizations"), paused.String("finished_at"), paused.String("after")));
        await using var second = await first.Restart();
        var before = Asked("alpha");
        await second.AdvanceTo("2026-11-21T03:05:00Z");
        Assert.Equal((5m, "2026-11-21T03:05:00Z"), ((await Last(second)).Number("organizations"), (await Last(second)).String("finished_at")));
        Assert.Equal(before, Asked("alpha"));

        int Asked(string organization) => second.Sandbox.Requests.Count(r => r.Path == $"/v1/customers/{customers[organization]}");
    }

    [Fact]
    public async Task switched_off_it_never_runs()
    {
        await using var api = await TestApi.StartWithStripe("learning-community", args: "--Billing:ReconcileHour=-1");

        await api.AdvanceTo("2026-11-23T03:00:00Z");

        var run = await Last(api);
        Assert.Equal((null, null, 0m), (run.String("day"), run.String("started_at"), run.Number("organizations")));
        Assert.Equal(new JsonArray().ToJsonString(), run["with_differences"]!.ToJsonString());
    }
}
