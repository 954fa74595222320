using System.Text.Json.Nodes;
using Billing.StripeSandbox;
using Billing.Tests.Api;
using NodaTime;

namespace Billing.Tests.Stripe;

/// <summary>Automatic top-up with real payments: one request is one charge, whatever happens in between.</summary>
public sealed class TopUpChargeTests
{
    private static readonly object Terms = new { token_package = "embeddings", threshold = 20_000, max_count = 2, max_amount = 1_400 };

    private static async Task<(TestApi Api, string Customer)> Subscribed(string method = "pm_card_visa")
    {
        var api = await TestApi.StartWithStripe("app-builder");
        await api.Open("acme");
        var customer = await SandboxCalls.Customer(api.Sandbox, "acme");
        await SandboxCalls.Subscribe(api.Sandbox, "acme", customer, "starter-month");
        if (method != "pm_card_visa")
        {
            var other = (string)(await SandboxCalls.Post(api.Sandbox, $"/v1/payment_methods/{method}/attach", $"customer={customer}"))["id"]!;
            await SandboxCalls.Post(api.Sandbox, $"/v1/customers/{customer}", $"invoice_settings[default_payment_method]={other}");
        }
        await api.Settle();
        (await api.Use("acme", "ai_embeddings", 100_000)).Expect(201);
        return (api, customer);
    }

    private static async Task Configure(TestApi api) => (await api.Put("/v1/organizations/acme/tokens/top-up", Terms)).Expect(200);

    private static List<JsonObject> Charges(TestApi api) => [.. api.Sandbox.All("payment_intent").Where(i => i["metadata"]?["top_up"] is not null)];

    private static async Task<decimal> Balance(TestApi api) => (await api.Get("/v1/organizations/acme/tokens")).Number("balance");

    private static async Task<IReadOnlyList<string?>> Failures(TestApi api) => [.. (await api.Ledger("acme", "top-up-ended")).Select(e => (string?)e["data"]!["failure"])];

    [Fact]
    public async Task E3_a_shortage_is_one_charge_and_after_the_months_limit_there_is_none()
    {
        var (api, _) = await Subscribed();
        await using var service = api;
        await Configure(api);

        await api.RunStripeWork();
        // At once, without waiting for the webhook; which then changes nothing.
        Assert.Equal(100_000, await Balance(api));
        await api.Settle();
        Assert.Equal(100_000, await Balance(api));
        for (var day = 1; day <= 9; day++)
        {
            api.Clock.Advance(Duration.FromHours(24));
            await Task.WhenAll(Enumerable.Range(0, 40).Select(_ => api.Use("acme", "ai_embeddings", 1_000)));
            await api.Settle();
        }

        Assert.Equal(2, Charges(api).Count);
        Assert.All(Charges(api), c => Assert.Equal(("succeeded", 500L), ((string?)c["status"], (long)c["amount"]!)));
        Assert.Equal(2, (await api.Ledger("acme", "top-up-requested")).Count);
        Assert.Equal(2, (await api.Ledger("acme", "tokens-purchased")).Count);
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task a_declined_charge_ends_the_request_with_its_reason_and_is_not_tried_again()
    {
        var (api, _) = await Subscribed("pm_card_chargeCustomerFail");
        await using var service = api;
        await Configure(api);
        await api.RunStripeWork();
        await api.Settle();

        Assert.Equal("generic_decline", Assert.Single(await Failures(api)));
        Assert.Single(Charges(api));
        Assert.Equal(0, await Balance(api));
    }

    [Fact]
    public async Task without_a_payment_method_nothing_is_charged()
    {
        await using var api = await TestApi.StartWithStripe("app-builder");
        await api.Open("acme", "starter");
        (await api.Use("acme", "ai_embeddings", 100_000)).Expect(201);
        await Configure(api);

        await api.RunStripeWork();

        Assert.Equal("no_payment_method", Assert.Single(await Failures(api)));
        Assert.Empty(Charges(api));
    }

    [Fact]
    public async Task when_the_answer_is_lost_the_charge_is_found_again_and_not_made_again()
    {
        var (api, customer) = await Subscribed();
        await using var service = api;
        foreach (var _ in Enumerable.Range(0, 5)) api.Sandbox.Misbehaviour.Next(Fault.LostAnswer, "POST /v1/payment_intents");
        api.Sandbox.Misbehaviour.Lose = 1;
        await Configure(api);
        await api.RunStripeWork();
        Assert.Equal(0, await Balance(api));
        // Another card by now: what was asked for first is what was charged.
        var other = (string)(await SandboxCalls.Post(api.Sandbox, "/v1/payment_methods/pm_card_mastercard/attach", $"customer={customer}"))["id"]!;
        await SandboxCalls.Post(api.Sandbox, $"/v1/customers/{customer}", $"invoice_settings[default_payment_method]={other}");

        api.Clock.Advance(Duration.FromSeconds(10));
        await api.RunStripeWork();

        Assert.Single(Charges(api));
        Assert.Equal(100_000, await Balance(api));
    }

    [Fact]
    public async Task after_a_day_it_is_only_looked_for()
    {
        var (api, _) = await Subscribed();
        await using var service = api;
        foreach (var _ in Enumerable.Range(0, 5)) api.Sandbox.Misbehaviour.Next(Fault.LostAnswer, "POST /v1/payment_intents");
        api.Sandbox.Misbehaviour.Lose = 1;
        await Configure(api);
        await api.RunStripeWork();

        api.Clock.Advance(Duration.FromHours(25));
        await api.RunStripeWork();

        Assert.Single(Charges(api));
        Assert.Equal(100_000, await Balance(api));
    }

    [Fact]
    public async Task one_that_never_left_for_a_day_is_given_up()
    {
        var (api, _) = await Subscribed();
        await using var service = api;
        foreach (var _ in Enumerable.Range(0, 5)) api.Sandbox.Misbehaviour.Next(Fault.ServerError, "POST /v1/payment_intents");
        await Configure(api);
        await api.RunStripeWork();

        api.Clock.Advance(Duration.FromHours(25));
        await api.RunStripeWork();

        // The shortage goes on, so the next one is asked for, and that one is charged.
        Assert.Equal(["not_charged_in_time", null], await Failures(api));
        var requests = await api.Ledger("acme", "top-up-requested");
        Assert.Equal($"tu_{requests[1]["version"]}", (string?)Assert.Single(Charges(api))["metadata"]!["top_up"]);
    }
}
