using System.Text.Json.Nodes;
using Billing.Tests.Api;

namespace Billing.Tests.Stripe;

/// <summary>The ledger against Stripe: what differs is found, explained and repaired, and is no more the second time.</summary>
public sealed class ReconciliationTests
{
    private static async Task<Answer> Reconcile(TestApi api, bool repair = false, string organization = "acme") =>
        (await api.Send(HttpMethod.Post, $"/v1/organizations/{organization}/reconcile", new { repair })).Expect(200);

    private static IEnumerable<JsonNode> Differences(Answer reconciled) => reconciled["differences"]!.AsArray().Select(d => d!);

    /// <summary>As <c>kind.field: ledger / stripe</c>.</summary>
    private static string[] Told(Answer reconciled) => [.. Differences(reconciled).Select(d => $"{d["kind"]}.{d["field"]}: {d["ledger"]?.ToString() ?? "-"} / {d["stripe"]?.ToString() ?? "-"}")];

    /// <summary>It is repaired, the second run finds nothing, and whatever webhook comes late changes nothing.</summary>
    private static async Task RepairedForGood(TestApi api, AtStripe stripe)
    {
        var repaired = await Reconcile(api, repair: true);
        Assert.All(Differences(repaired), d => Assert.True(d["repaired"]!.GetValue<bool>(), d.ToJsonString()));
        Assert.Equal(repaired["differences"]!.AsArray().Count, repaired.Number("repaired"));
        Assert.Empty(Told(await Reconcile(api)));
        var before = await Content(api);

        await stripe.ResendAll();

        Assert.Equal(before, await Content(api));
        Assert.Empty(Told(await Reconcile(api)));
        await api.VerifyLedger("acme");
    }

    /// <summary>What the organization has: its subscription, entitlements and tokens.</summary>
    private static async Task<string> Content(TestApi api, string organization = "acme")
    {
        var texts = new List<string>();
        foreach (var part in (string[])["subscription", "entitlements", "tokens", "invoices"]) texts.Add((await api.Get($"/v1/organizations/{organization}/{part}")).Expect(200).Text);
        return string.Join('\n', texts);
    }

    private static async Task<(TestApi Api, AtStripe Stripe, string Customer)> Start(params string[] args)
    {
        var api = await TestApi.StartWithStripe("learning-community", seed: 1, args: args);
        await api.Open("acme");
        var stripe = new AtStripe(api);
        var customer = await stripe.Customer("acme");
        return (api, stripe, customer);
    }

    [Fact]
    public async Task where_all_webhooks_came_there_is_no_difference()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        await stripe.Subscribe("acme", customer, "community-pro-month");
        await stripe.BuyTokens("acme", customer, "starter", 500);
        await api.Settle();

        var reconciled = await Reconcile(api);

        Assert.Empty(Told(reconciled));
        Assert.Equal((1, 1, 1, 1), (reconciled.Number("checked.customers"), reconciled.Number("checked.subscriptions"), reconciled.Number("checked.invoices"), reconciled.Number("checked.payments")));
        Assert.True(reconciled.Number("checked.events") >= 3);
    }

    [Fact]
    public async Task a_subscription_whose_webhooks_were_all_lost_is_found_and_repaired()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        api.Sandbox.Misbehaviour.Lose = 1;
        await stripe.Subscribe("acme", customer, "community-pro-month");
        await api.Settle();
        api.Sandbox.Misbehaviour.Stop();

        var found = await Reconcile(api);

        Assert.Equal(["customer.linked: no / yes", "subscription.subscription: - / community-pro (month), active", "invoice.paid: - / yes, 18.00 usd"], Told(found));
        Assert.All(Differences(found), d => Assert.False(d["repaired"]!.GetValue<bool>()));
        Assert.Contains("(customer.subscription.created, 2026-11-20T10:00:00Z) never arrived.", Differences(found).ElementAt(1)["explained_by"]!.GetValue<string>());
        Assert.StartsWith("FollowSubscription stripe:subscription:sub_", Differences(found).ElementAt(1)["repair"]!.GetValue<string>());
        Assert.Equal("explorer", (await api.Subscription("acme")).String("plan"));

        await RepairedForGood(api, stripe);
        Assert.Equal("community-pro", (await api.Subscription("acme")).String("plan"));
    }

    [Fact]
    public async Task tokens_whose_payment_was_not_told_are_granted_once()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        await stripe.Subscribe("acme", customer, "community-pro-month");
        await api.Settle();
        api.Sandbox.Misbehaviour.Lose = 1;
        await stripe.BuyTokens("acme", customer, "starter", 500);
        await api.Settle();
        api.Sandbox.Misbehaviour.Stop();

        var found = await Reconcile(api);

        Assert.Equal(["payment.grant: - / starter, 5.00 usd"], Told(found));
        Assert.Contains("(payment_intent.succeeded, 2026-11-20T10:00:00Z) never arrived.", found.String("differences.0.explained_by"));
        Assert.StartsWith("PurchaseTokens stripe:payment:pi_", found.String("differences.0.repair"));
        await RepairedForGood(api, stripe);
        Assert.Equal(100_000, (await api.Get("/v1/organizations/acme/tokens")).Number("balance"));
    }
}
