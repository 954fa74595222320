namespace Billing.Tests.Stripe;

/// <summary>How many began to pay, and how many did.</summary>
public sealed class FlowTests
{
    [Fact]
    public async Task checkouts_payments_and_portals_are_counted_once_each()
    {
        await using var shop = await Shop.Open();
        var left = await shop.Checkout(new { plan = "pro-learn", interval = "month" });
        await shop.Stripe.PayWith(Shop.Declined, left.String("url")!);
        await shop.Subscribe("pro-learn");
        await shop.Post("portal-sessions", new { return_url = "https://app.example.com/billing" }, "portal");
        await shop.Post("portal-sessions", new { return_url = "https://app.example.com/billing" }, "portal");
        foreach (var e in shop.Api.Sandbox.All("event")) shop.Api.Sandbox.Resend(e["id"]!.GetValue<string>());
        await shop.Api.Settle();
        shop.Api.Clock.Advance(NodaTime.Duration.FromSeconds(1));

        var flow = (await shop.Api.Get("/v1/stripe/flow")).Expect(200);

        // The one that was left ended when the other was begun.
        Assert.Equal((2m, 1m, 1m), (flow.Number("checkouts_started"), flow.Number("checkouts_completed"), flow.Number("checkouts_expired")));
        Assert.Equal((1m, 1m), (flow.Number("payments_succeeded"), flow.Number("portals_opened")));
        Assert.Equal(0, (await shop.Api.Get("/v1/stripe/flow?to=2026-11-20T09:00:00Z")).Expect(200).Number("checkouts_started"));
        Assert.Equal("invalid_parameter", (await shop.Api.Get("/v1/stripe/flow?from=2026-11-20T09:00:00Z&to=2026-11-20T09:00:00Z")).Code);
    }
}
