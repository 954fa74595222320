using Billing.Tests.Api;
using NodaTime;

namespace Billing.Tests.StripeSandbox;

/// <summary>The service beside the sandbox, joined by webhooks alone.</summary>
public sealed class FollowingTests
{
    [Fact]
    public async Task a_customer_pays_at_the_sandbox_and_the_ledger_follows()
    {
        await using var api = await TestApi.Start("learning-community", SandboxClient.Start);
        await using var stripe = await SandboxClient.Open(o => o with
        {
            WebhookUrl = new Uri($"{api.Url}/webhooks/stripe"), WebhookSecret = TestApi.WebhookSecret, Time = api.Clock, Settling = api.RunStripeWork, SetTime = t => api.Clock.Now = Instant.FromDateTimeOffset(t),
        });
        await api.Open("acme");
        var price = await stripe.Price("community-pro-month", 1800);
        var session = (await stripe.Post("/v1/checkout/sessions", "mode=subscription", $"line_items[0][price]={price}", "line_items[0][quantity]=1", "success_url=https://shop.example/", "client_reference_id=acme",
            "subscription_data[metadata][organization_id]=acme")).Ok();

        await stripe.PayWith("4242424242424242", session.Text("url")!);
        // The page waits for the webhook before it leads back.
        await api.RunStripeWork();
        Assert.Equal(("community-pro", "active"), await Plan(api));
        (await stripe.Post("/v1/payment_intents", "amount=500", "currency=usd", "payment_method=pm_card_visa", "confirm=true", "metadata[organization_id]=acme", "metadata[token_package]=starter")).Ok();
        await stripe.Server.Settle();
        await api.RunStripeWork();
        Assert.Equal(100_000, (await api.Get("/v1/organizations/acme/tokens")).Number("balance"));

        await stripe.AdvanceTo("2027-01-20T12:00:00Z");
        Assert.Equal(("community-pro", "active"), await Plan(api));
        (await stripe.Delete($"/v1/subscriptions/{stripe.Server.All("subscription")[0]["id"]}")).Ok();
        await stripe.Server.Settle();
        await api.RunStripeWork();

        Assert.Equal("explorer", (await Plan(api)).Plan);
        await api.VerifyLedger("acme");
        Assert.Empty((await stripe.Get("/v1/events?delivery_success=false")).Ok()["data"]!.AsArray());
    }

    [Fact]
    public async Task what_is_lost_doubled_and_late_is_the_same_once_it_has_come()
    {
        await using var api = await TestApi.Start("learning-community", SandboxClient.Start);
        await using var stripe = await SandboxClient.Open(o => o with
        {
            WebhookUrl = new Uri($"{api.Url}/webhooks/stripe"), WebhookSecret = TestApi.WebhookSecret, Time = api.Clock, Settling = api.RunStripeWork, SetTime = t => api.Clock.Now = Instant.FromDateTimeOffset(t), Seed = 3,
        });
        await api.Open("acme");
        (stripe.Server.Misbehaviour.Lose, stripe.Server.Misbehaviour.Duplicate, stripe.Server.Misbehaviour.Delay) = (0.2, 0.3, 0.5);
        var subscription = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), await stripe.Price("community-pro-month", 1800), "metadata[organization_id]=acme")).Ok();
        var better = await stripe.Price("pro-learn-month", 3500);
        (await stripe.Post($"/v1/subscriptions/{subscription.Id}", $"items[0][id]={subscription.Text("items.data.0.id")}", $"items[0][price]={better}")).Ok();
        stripe.Server.Misbehaviour.Stop();

        await stripe.AdvanceTo("2026-11-21T10:00:00Z");
        foreach (var e in (await stripe.Get("/v1/events?limit=100&delivery_success=false")).Ok()["data"]!.AsArray()) stripe.Server.Resend(e!["id"]!.GetValue<string>());
        await stripe.Server.Settle();
        await api.RunStripeWork();

        Assert.Equal(("pro-learn", "active"), await Plan(api));
    }

    private static async Task<(string? Plan, string? Status)> Plan(TestApi api)
    {
        var subscription = await api.Subscription("acme");
        return (subscription.String("plan"), subscription.String("status"));
    }
}
