namespace Billing.Tests.Stripe;

/// <summary>However a customer subscribes, and in whatever order: one subscription, charged once, and nothing of it dropped.</summary>
public sealed class OneSubscriptionTests
{
    [Fact]
    public async Task a_page_that_was_left_open_cannot_be_paid_after_a_subscription_without_a_page()
    {
        await using var shop = await Shop.Open();
        var page = await shop.Checkout(new { plan = "pro-learn", interval = "month" });

        (await shop.Api.Put("/v1/organizations/acme/subscription", new { plan = "pro-learn", interval = "month", payment_method = "pm_card_visa" }, "direct")).Expect(200);

        await shop.Stripe.PayWith(Shop.Good, page.String("url")!);
        await shop.Api.Settle();
        Assert.Single(shop.Api.Sandbox.All("subscription"));
        Assert.Single(shop.Api.Sandbox.All("charge"), c => c["paid"]!.GetValue<bool>());
    }

    [Fact]
    public async Task pages_and_direct_subscriptions_at_once_come_to_one()
    {
        await using var shop = await Shop.Open();

        var answers = await Task.WhenAll(Enumerable.Range(0, 12).Select(i => i % 2 == 0
            ? shop.Api.Put("/v1/organizations/acme/subscription", new { plan = "pro-learn", interval = "month", payment_method = "pm_card_visa" }, $"direct-{i}")
            : shop.Post("checkout-sessions", new { plan = "pro-learn", interval = "month" }, $"page-{i}")));

        foreach (var page in answers.Where(a => a.Status == 201)) await shop.Stripe.PayWith(Shop.Good, page.String("url")!);
        await shop.Api.Settle();
        // Who comes later asks for what is there already, or is told that it is there.
        Assert.All(answers, a => Assert.Contains(a.Status, (int[])[200, 201, 409]));
        Assert.Single(shop.Api.Sandbox.All("subscription"));
        Assert.Single(shop.Api.Sandbox.All("charge"), c => c["paid"]!.GetValue<bool>());
    }

    [Fact]
    public async Task what_was_used_is_not_given_back_by_a_change_of_long_ago()
    {
        await using var shop = await Shop.Open();
        await shop.Subscribe("pro-learn");
        await shop.Api.AdvanceTo("2026-12-18T10:00:00Z");
        using var own = await shop.Api.ClientOf("acme");
        var change = new { plan = "community-pro", interval = "month", at = "now", proration_date = "2026-11-20T10:00:00Z" };

        var refused = await shop.Api.Put("/v1/organizations/acme/subscription", change, "own", own);

        Assert.Equal((400, "invalid_field", "proration_date"), (refused.Status, refused.Code, refused.String("field")));
        (await shop.Api.Put("/v1/organizations/acme/subscription", change, "operator")).Expect(200);
    }

    [Fact]
    public async Task the_rest_of_an_upgrade_is_charged_when_the_subscription_is_ended_now()
    {
        await using var shop = await Shop.Open();
        await shop.Subscribe("community-pro");
        (await shop.Api.Put("/v1/organizations/acme/subscription", new { plan = "pro-learn", interval = "month" }, "upgrade")).Expect(200);
        await shop.Api.AdvanceTo("2026-12-15T10:00:00Z");
        var before = Paid(shop);

        (await shop.Api.Send(HttpMethod.Delete, "/v1/organizations/acme/subscription?at=now")).Expect(200);
        await shop.Api.AdvanceTo("2026-12-16T10:00:00Z");

        // Nearly all of $35.00 less $18.00.
        Assert.InRange(Paid(shop) - before, 1_600, 1_700);
    }

    private static long Paid(Shop shop) => shop.Api.Sandbox.All("invoice").Where(i => i["status"]!.GetValue<string>() == "paid").Sum(i => i["amount_paid"]!.GetValue<long>());
}
