using System.Text.Json.Nodes;
using Billing.StripeSandbox;
using Billing.Tests.Api;

namespace Billing.Tests.Stripe;

/// <summary>What is used past the plan, on the invoices of a subscription at Stripe.</summary>
public sealed class OverageTests
{
    private const string Start = "2026-11-01T00:00:00Z";

    private static async Task<(TestApi Api, string Customer, string Subscription)> Subscribed(string price = "professional-month")
    {
        var api = await TestApi.StartWithStripe("quantum", Start);
        await api.Open("acme");
        var customer = await SandboxCalls.Customer(api.Sandbox, "acme");
        var subscription = await SandboxCalls.Subscribe(api.Sandbox, "acme", customer, price);
        await api.Settle();
        Assert.Equal("professional", (await api.Subscription("acme")).String("plan"));
        return (api, customer, subscription);
    }

    /// <summary>The example of scenario D2: 145 jobs, 62.5 GB at the peak, 1,247 calls.</summary>
    private static async Task UseTheExample(TestApi api)
    {
        (await api.Use("acme", "quantum_jobs", 145)).Expect(201);
        (await api.Put("/v1/organizations/acme/gauges/storage_gb", new { value = 62.5m })).Expect(200);
        (await api.Put("/v1/organizations/acme/gauges/storage_gb", new { value = 40m })).Expect(200);
        (await api.Use("acme", "api_calls", 1_247)).Expect(201);
    }

    private static List<JsonObject> Invoices(TestApi api, string reason) => [.. api.Sandbox.All("invoice").Where(i => (string?)i["billing_reason"] == reason)];

    private static long[] Amounts(JsonObject invoice) => [.. invoice["lines"]!["data"]!.AsArray().Select(l => (long)l!["amount"]!).OrderDescending()];

    private static async Task<int> Recorded(TestApi api, string type) => (await api.Ledger("acme", type)).Count;

    [Fact]
    public async Task D2_the_overage_of_a_month_is_on_Stripes_renewal_to_the_cent()
    {
        var (api, _, _) = await Subscribed();
        await using var service = api;
        await UseTheExample(api);

        await api.AdvanceTo("2026-12-01T03:00:00Z");

        var renewal = Assert.Single(Invoices(api, "subscription_cycle"));
        Assert.Equal([29_900, 2_250, 125, 125], Amounts(renewal));
        Assert.Equal(("paid", 32_400L), ((string?)renewal["status"], (long)renewal["total"]!));
        Assert.Equal(["145 quantum jobs: 45 additional", "62.5 GB of storage at the peak: 12.5 additional", "1,247 API calls: 1,247 additional"],
            api.Sandbox.All("invoiceitem").Select(i => (string?)i["description"]));
        Assert.All(api.Sandbox.All("invoiceitem"), i => Assert.Equal("acme", (string?)i["metadata"]!["organization_id"]));
        Assert.Equal(0, await Recorded(api, "invoice-created"));
        // The next one has nothing but its base.
        await api.AdvanceTo("2027-01-01T03:00:00Z");
        Assert.Equal([29_900], Amounts(Invoices(api, "subscription_cycle")[1]));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task told_of_twice_the_invoice_has_it_once()
    {
        var (api, _, _) = await Subscribed();
        await using var service = api;
        api.Sandbox.Misbehaviour.Duplicate = 1;
        await UseTheExample(api);
        await api.AdvanceTo("2026-12-01T00:10:00Z");
        foreach (var e in api.Sandbox.All("event").Where(e => (string?)e["type"] == "invoice.created")) api.Sandbox.Resend((string)e["id"]!);
        await api.Settle();

        await api.AdvanceTo("2026-12-01T03:00:00Z");

        Assert.Equal([29_900, 2_250, 125, 125], Amounts(Assert.Single(Invoices(api, "subscription_cycle"))));
        Assert.Equal(1, await Recorded(api, "lines-billed-at-stripe"));
    }

    [Fact]
    public async Task told_of_too_late_it_is_on_the_next_renewal()
    {
        var (api, _, _) = await Subscribed();
        await using var service = api;
        await UseTheExample(api);
        api.Sandbox.Misbehaviour.Lose = 1;
        await api.AdvanceTo("2026-12-05T00:00:00Z");
        Assert.Equal([29_900], Amounts(Assert.Single(Invoices(api, "subscription_cycle"))));
        api.Sandbox.Misbehaviour.Stop();
        // In whatever order.
        foreach (var e in api.Sandbox.All("event").Reverse().Where(e => ((string)e["type"]!).StartsWith("invoice.", StringComparison.Ordinal))) api.Sandbox.Resend((string)e["id"]!);
        await api.Settle();
        Assert.Empty(api.Sandbox.All("invoiceitem"));

        await api.AdvanceTo("2027-01-01T03:00:00Z");

        Assert.Equal([29_900, 2_250, 125, 125], Amounts(Invoices(api, "subscription_cycle")[1]));
    }

    [Fact]
    public async Task answers_that_are_lost_add_nothing_twice()
    {
        var (api, _, _) = await Subscribed();
        await using var service = api;
        await UseTheExample(api);
        foreach (var _ in Enumerable.Range(0, 3)) api.Sandbox.Misbehaviour.Next(Fault.LostAnswer, "POST /v1/invoiceitems");

        await api.AdvanceTo("2026-12-01T03:00:00Z");

        Assert.Equal([29_900, 2_250, 125, 125], Amounts(Assert.Single(Invoices(api, "subscription_cycle"))));
    }

    [Fact]
    public async Task the_months_of_a_year_are_charged_one_by_one()
    {
        var (api, _, _) = await Subscribed("professional-year");
        await using var service = api;
        (await api.Use("acme", "quantum_jobs", 145)).Expect(201);
        await api.AdvanceTo("2026-12-10T00:00:00Z");
        (await api.Use("acme", "quantum_jobs", 110)).Expect(201);

        await api.AdvanceTo("2027-01-02T00:00:00Z");
        await api.Settle();
        await api.AdvanceTo("2027-01-03T00:00:00Z");

        Assert.Equal([[2_250], [500]], Invoices(api, "manual").Select(Amounts));
        Assert.All(Invoices(api, "manual"), i => Assert.Equal("paid", (string?)i["status"]));
        Assert.Equal(0, await Recorded(api, "invoice-created"));
    }

    [Fact]
    public async Task a_subscription_that_ends_has_a_last_invoice_of_what_was_used()
    {
        var (api, _, subscription) = await Subscribed();
        await using var service = api;
        await api.AdvanceTo("2026-11-16T00:00:00Z");
        await UseTheExample(api);

        await SandboxCalls.Delete(api.Sandbox, $"/v1/subscriptions/{subscription}");
        await api.Settle();
        await api.AdvanceTo("2026-11-17T00:00:00Z");

        var last = Assert.Single(Invoices(api, "manual"));
        Assert.Equal([2_250, 125, 125], Amounts(last));
        Assert.Equal("paid", (string?)last["status"]);
        await api.AdvanceTo("2027-02-01T00:00:00Z");
        Assert.Single(Invoices(api, "manual"));
        Assert.Equal(0, await Recorded(api, "invoice-created"));
    }

    [Fact]
    public async Task what_ends_with_its_period_is_charged_to_the_end_of_it()
    {
        var (api, _, subscription) = await Subscribed();
        await using var service = api;
        await UseTheExample(api);
        await SandboxCalls.Post(api.Sandbox, $"/v1/subscriptions/{subscription}", "cancel_at_period_end=true");

        await api.AdvanceTo("2026-12-02T00:00:00Z");

        Assert.Equal([2_250, 125, 125], Amounts(Assert.Single(Invoices(api, "manual"))));
        Assert.Empty(Invoices(api, "subscription_cycle"));
    }

    [Fact]
    public async Task without_its_customer_the_ledger_makes_the_last_invoice_itself()
    {
        var (api, customer, _) = await Subscribed();
        await using var service = api;
        await UseTheExample(api);

        await SandboxCalls.Delete(api.Sandbox, $"/v1/customers/{customer}");
        await api.Settle();

        Assert.Empty(Invoices(api, "manual"));
        Assert.Equal(1, await Recorded(api, "invoice-created"));
    }

    [Fact]
    public async Task closing_ends_the_subscription_at_Stripe_and_charges_what_was_used()
    {
        var (api, _, subscription) = await Subscribed();
        await using var service = api;
        await UseTheExample(api);
        (await api.Send(HttpMethod.Delete, "/v1/organizations/acme", key: TestApi.NewKey())).Expect(200);
        // The process ends before it has done anything about it.
        await using var next = await api.Restart();

        await next.RunStripeWork();
        await next.AdvanceTo("2026-11-02T00:00:00Z");

        Assert.Equal("canceled", (string?)next.Sandbox.Find(subscription)!["status"]);
        Assert.Equal([2_250, 125, 125], Amounts(Assert.Single(Invoices(next, "manual"))));
    }

    [Fact]
    public async Task one_organization_that_fails_holds_up_none_of_the_others()
    {
        var (api, _, _) = await Subscribed();
        await using var service = api;
        await UseTheExample(api);
        await api.Open("other");
        var other = await SandboxCalls.Subscribe(api.Sandbox, "other", await SandboxCalls.Customer(api.Sandbox, "other"), "professional-month");
        await api.Settle();
        (await api.Use("other", "quantum_jobs", 145)).Expect(201);
        foreach (var _ in Enumerable.Range(0, 5)) api.Sandbox.Misbehaviour.Next(Fault.ServerError, "POST /v1/invoices");
        foreach (var s in api.Sandbox.All("subscription")) await SandboxCalls.Delete(api.Sandbox, $"/v1/subscriptions/{s["id"]}");
        await api.Settle();
        Assert.NotNull(api.Sandbox.Find(other));

        await api.AdvanceTo("2026-11-01T01:00:00Z");
        await api.Settle();

        Assert.Equal([[2_250, 125, 125], [2_250]], Invoices(api, "manual").Select(Amounts).OrderByDescending(a => a.Length));
    }
}
