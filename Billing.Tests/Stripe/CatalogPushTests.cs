using Billing.Tests.Api;

namespace Billing.Tests.Stripe;

/// <summary>The catalog at Stripe: made once, followed when it changes, finished when it was broken off.</summary>
public sealed class CatalogPushTests
{
    [Fact]
    public async Task all_four_plans_exist_as_products_and_recurring_prices_after_one_push()
    {
        await using var api = await TestApi.StartWithStripe("summarizer");

        Assert.Equal(["plan_free Free", "plan_starter Starter", "plan_pro Pro", "plan_enterprise Enterprise"], api.Sandbox.All("product").Select(p => $"{p["id"]} {p["name"]}"));
        Assert.Equal(
            ["free-month 0 plan_free", "starter-month 999 plan_starter", "pro-month 2999 plan_pro", "enterprise-month 9999 plan_enterprise"],
            api.Sandbox.All("price").Select(p => $"{p["lookup_key"]} {p["unit_amount"]} {p["product"]}"));
        Assert.All(api.Sandbox.All("price"), p => Assert.Equal(("recurring", "month"), ((string?)p["type"], (string?)p["recurring"]!["interval"])));
    }
}
