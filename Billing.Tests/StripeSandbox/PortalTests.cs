using System.Text.RegularExpressions;

namespace Billing.Tests.StripeSandbox;

/// <summary>The billing portal as a customer uses it.</summary>
public sealed class PortalTests
{
    [Fact]
    public async Task a_customer_changes_the_card_the_plan_and_cancels()
    {
        await using var stripe = await SandboxClient.Open();
        var (pro, enterprise) = (await stripe.Price("pro-month", 3000), await stripe.Price("enterprise-month", 9000));
        var customer = await stripe.Customer("pm_card_visa");
        var id = (await stripe.Subscribe(customer, pro)).Ok().Id;
        var url = (await stripe.Post("/v1/billing_portal/sessions", $"customer={customer}", "return_url=https://shop.example/billing")).Ok().Text("url")!;

        var page = await stripe.Browse(url);
        Assert.Contains("visa ending in 4242", page.Text, StringComparison.Ordinal);
        Assert.Contains("Renews on 20 Dec 2026", page.Text, StringComparison.Ordinal);
        Assert.Contains("href=\"https://shop.example/billing\"", page.Text, StringComparison.Ordinal);
        Assert.Equal(402, (await stripe.PayWith("4000000000000002", $"{url}/method")).Status);
        await stripe.PayWith("5555555555554444", $"{url}/method");
        await stripe.Browse($"{url}/plan", $"subscription={id}", $"price={enterprise}");
        var after = await stripe.Browse($"{url}/cancel", $"subscription={id}");

        Assert.Contains("Your subscription is canceled.", (await stripe.Browse(after.To!)).Text, StringComparison.Ordinal);
        Assert.Contains("mastercard ending in 4444", (await stripe.Browse(url)).Text, StringComparison.Ordinal);
        var subscription = (await stripe.Get($"/v1/subscriptions/{id}")).Ok();
        Assert.Equal(("enterprise-month", true), (subscription.Text("items.data.0.price.lookup_key"), subscription["cancel_at_period_end"]!.GetValue<bool>()));
        await stripe.Browse($"{url}/renew", $"subscription={id}");
        Assert.False((await stripe.Get($"/v1/subscriptions/{id}")).Ok()["cancel_at_period_end"]!.GetValue<bool>());
    }

    [Fact]
    public async Task a_flow_shows_one_thing_and_leads_back()
    {
        await using var stripe = await SandboxClient.Open();
        var customer = await stripe.Customer("pm_card_visa");
        var id = (await stripe.Subscribe(customer, await stripe.Price("pro-month", 3000))).Ok().Id;

        var session = (await stripe.Post("/v1/billing_portal/sessions", $"customer={customer}", "flow_data[type]=subscription_cancel", $"flow_data[subscription_cancel][subscription]={id}",
            "flow_data[after_completion][type]=redirect", "flow_data[after_completion][redirect][return_url]=https://shop.example/gone")).Ok();

        var page = (await stripe.Browse(session.Text("url")!)).Text;
        Assert.Contains("Cancel subscription", page, StringComparison.Ordinal);
        Assert.DoesNotContain("Card number", page, StringComparison.Ordinal);
        Assert.Equal("https://shop.example/gone", (await stripe.Browse($"{session.Text("url")}/cancel", $"subscription={id}")).To);
        (await stripe.Post("/v1/billing_portal/sessions", $"customer={customer}", "flow_data[type]=subscription_cancel", $"flow_data[subscription_cancel][subscription]={id}")).Refused(400, null);
    }

    [Fact]
    public async Task a_configuration_says_what_is_allowed_and_without_one_there_is_no_portal()
    {
        await using var stripe = await SandboxClient.Open(o => o with { PortalIsConfigured = false });
        var (pro, enterprise) = (await stripe.Price("pro-month", 3000), await stripe.Price("enterprise-month", 9000));
        var customer = await stripe.Customer("pm_card_visa");
        var id = (await stripe.Subscribe(customer, pro)).Ok().Id;
        (await stripe.Post("/v1/billing_portal/sessions", $"customer={customer}")).Refused(400, null);

        (await stripe.Post("/v1/billing_portal/configurations", "features[payment_method_update][enabled]=true", "features[subscription_cancel][enabled]=true", "features[subscription_cancel][mode]=immediately")).Ok();
        var url = (await stripe.Post("/v1/billing_portal/sessions", $"customer={customer}")).Ok().Text("url")!;

        Assert.DoesNotMatch(new Regex("Change plan"), (await stripe.Browse(url)).Text);
        Assert.Equal(402, (await stripe.Browse($"{url}/plan", $"subscription={id}", $"price={enterprise}")).Status);
        await stripe.Browse($"{url}/cancel", $"subscription={id}");
        Assert.Equal("canceled", (await stripe.Get($"/v1/subscriptions/{id}")).Ok().Text("status"));
    }

    [Fact]
    public async Task one_customer_does_not_reach_anothers_subscription()
    {
        await using var stripe = await SandboxClient.Open();
        var id = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), await stripe.Price("pro-month", 3000))).Ok().Id;
        var url = (await stripe.Post("/v1/billing_portal/sessions", $"customer={await stripe.Customer()}")).Ok().Text("url")!;

        Assert.Equal(402, (await stripe.Browse($"{url}/cancel", $"subscription={id}")).Status);

        Assert.False((await stripe.Get($"/v1/subscriptions/{id}")).Ok()["cancel_at_period_end"]!.GetValue<bool>());
    }

    [Fact]
    public async Task what_a_customer_typed_is_text_on_every_page()
    {
        await using var stripe = await SandboxClient.Open();
        var customer = (await stripe.Post("/v1/customers", "name=<b>Ada</b>")).Ok().Id;
        var url = (await stripe.Post("/v1/billing_portal/sessions", $"customer={customer}")).Ok().Text("url")!;

        Assert.DoesNotContain("<b>", await stripe.Http.GetStringAsync(url), StringComparison.Ordinal);
    }
}
