namespace Billing.Tests.StripeSandbox;

/// <summary>Checkout as a customer goes through it: the page, the cards, and what is there afterwards.</summary>
public sealed class CheckoutTests
{
    private const string Back = "https://shop.example/done?session={CHECKOUT_SESSION_ID}";

    [Fact]
    public async Task a_subscription_is_paid_on_a_page_and_the_browser_comes_back()
    {
        await using var stripe = await SandboxClient.Open();
        var customer = await stripe.Customer();
        var session = await Subscription(stripe, $"customer={customer}", "client_reference_id=acme", "subscription_data[metadata][organization_id]=acme", "subscription_data[billing_mode][type]=flexible");
        Assert.Equal(("open", "unpaid", 2900L, true), (session.Text("status"), session.Text("payment_status"), session.Number("amount_total"), session["subscription"] is null));

        var page = await stripe.Browse(session.Text("url")!);
        Assert.Equal(200, page.Status);
        Assert.Contains("Subscribe to pro-month", page.Text, StringComparison.Ordinal);
        Assert.Contains("$29.00", page.Text, StringComparison.Ordinal);
        Assert.DoesNotContain("<script", page.Text, StringComparison.Ordinal);
        var paid = await stripe.PayWith("4242 4242 4242 4242", session.Text("url")!);

        Assert.Equal((302, $"https://shop.example/done?session={session.Id}"), (paid.Status, paid.To));
        var done = (await stripe.Get($"/v1/checkout/sessions/{session.Id}?expand[]=subscription&expand[]=invoice&expand[]=line_items")).Ok();
        Assert.Equal(("complete", "paid", null), (done.Text("status"), done.Text("payment_status"), done.Text("url")));
        Assert.Equal(("active", "acme", "flexible"), (done.Text("subscription.status"), done.Text("subscription.metadata.organization_id"), done.Text("subscription.billing_mode.type")));
        Assert.Equal(("paid", "subscription_create", "acme"), (done.Text("invoice.status"), done.Text("invoice.billing_reason"), done.Text("invoice.parent.subscription_details.metadata.organization_id")));
        Assert.Equal("pro-month", done.Text("line_items.data.0.price.lookup_key"));
        Assert.Equal(customer, done.Text("subscription.customer"));
        Assert.NotNull(done.Text("subscription.default_payment_method"));
        Assert.Equal("active", stripe.Server.All("event").Single(e => e["type"]!.GetValue<string>() == "customer.subscription.created").Read("data.object.status")!.GetValue<string>());
        Assert.Equal("checkout.session.completed", stripe.Events()[^1]);
        Assert.Contains("already paid", (await stripe.Browse(session.Text("url")!)).Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("4000000000000002", "Your card was declined.")]
    [InlineData("4000000000009995", "Your card has insufficient funds.")]
    [InlineData("4000000000009987", "Your card was declined.")]
    [InlineData("4000000000009979", "Your card was declined.")]
    [InlineData("4000000000000069", "Your card has expired.")]
    [InlineData("4000000000000127", "Your card's security code is incorrect.")]
    [InlineData("4000000000000119", "An error occurred while processing your card. Try again in a little bit.")]
    [InlineData("4100000000000019", "Your card was declined.")]
    [InlineData("4000000000000341", "Your card was declined.")]
    [InlineData("4242424242424241", "Your card number is incorrect.")]
    [InlineData("5105105105105100", "non test card")]
    public async Task a_card_that_is_refused_says_why_leaves_no_subscription_and_another_card_pays(string number, string message)
    {
        await using var stripe = await SandboxClient.Open();
        var session = await Subscription(stripe);

        var refused = await stripe.PayWith(number, session.Text("url")!);

        Assert.Equal(402, refused.Status);
        Assert.Contains(message, refused.Text, StringComparison.Ordinal);
        Assert.Empty(stripe.Server.All("subscription"));
        Assert.Equal("open", stripe.Server.Find(session.Id)!["status"]!.GetValue<string>());
        Assert.Equal(302, (await stripe.PayWith("4242424242424242", session.Text("url")!)).Status);
        Assert.Single(stripe.Server.All("subscription"));
        Assert.Single(stripe.Server.All("charge"), c => c["paid"]!.GetValue<bool>());
    }

    [Theory]
    [InlineData("4000002500003155")]
    [InlineData("4000002760003184")]
    [InlineData("4000000000003220")]
    public async Task a_card_that_asks_for_authentication_goes_by_the_banks_page(string number)
    {
        await using var stripe = await SandboxClient.Open();
        var session = await Subscription(stripe);

        var asked = await stripe.PayWith(number, session.Text("url")!);
        Assert.StartsWith("/authenticate/pi_", asked.To, StringComparison.Ordinal);
        Assert.Contains("3D Secure", (await stripe.Browse(asked.To!)).Text, StringComparison.Ordinal);
        var failed = await stripe.Browse(asked.To!, "granted=false");
        Assert.Equal(402, failed.Status);
        Assert.Contains("unable to authenticate", failed.Text, StringComparison.Ordinal);
        Assert.Empty(stripe.Server.All("subscription"));
        asked = await stripe.PayWith(number, session.Text("url")!);
        var granted = await stripe.Browse(asked.To!, "granted=true");

        Assert.Equal($"https://shop.example/done?session={session.Id}", granted.To);
        Assert.Equal("active", stripe.Server.All("subscription").Single()["status"]!.GetValue<string>());
    }

    [Fact]
    public async Task a_card_may_be_declined_after_its_authentication()
    {
        await using var stripe = await SandboxClient.Open();
        var session = await Subscription(stripe);

        var asked = await stripe.PayWith("4000008400001629", session.Text("url")!);
        var declined = await stripe.Browse(asked.To!, "granted=true");

        Assert.Equal(402, declined.Status);
        Assert.Contains("Your card was declined.", declined.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task a_trial_is_started_with_a_card_and_nothing_is_charged()
    {
        await using var stripe = await SandboxClient.Open();
        var session = await Subscription(stripe, "subscription_data[trial_period_days]=14");

        Assert.Contains("14 days free", (await stripe.Browse(session.Text("url")!)).Text, StringComparison.Ordinal);
        await stripe.PayWith("4242424242424242", session.Text("url")!);

        var done = (await stripe.Get($"/v1/checkout/sessions/{session.Id}?expand[]=subscription")).Ok();
        Assert.Equal(("no_payment_required", "trialing"), (done.Text("payment_status"), done.Text("subscription.status")));
        Assert.Empty(stripe.Server.All("charge"));
        Assert.NotNull(done.Text("subscription.default_payment_method"));
    }

    [Fact]
    public async Task a_trial_without_a_card_asks_for_none()
    {
        await using var stripe = await SandboxClient.Open();
        var session = await Subscription(stripe, "subscription_data[trial_period_days]=14", "payment_method_collection=if_required", "subscription_data[trial_settings][end_behavior][missing_payment_method]=cancel");

        Assert.DoesNotContain("Card number", (await stripe.Browse(session.Text("url")!)).Text, StringComparison.Ordinal);
        await stripe.Browse(session.Text("url")!, "email=ada@example.com");
        var subscription = stripe.Server.All("subscription").Single();
        Assert.Equal("trialing", subscription["status"]!.GetValue<string>());
        await stripe.AdvanceTo("2026-12-04T10:00:00Z");

        Assert.Equal("canceled", stripe.Server.All("subscription").Single()["status"]!.GetValue<string>());
    }

    [Fact]
    public async Task tokens_are_paid_once_and_the_payment_intent_carries_its_own_metadata()
    {
        await using var stripe = await SandboxClient.Open();
        var session = await Tokens(stripe, "metadata[a]=session", "payment_intent_data[metadata][token_package]=starter");
        Assert.Null(session["payment_intent"]);

        await stripe.PayWith("4242424242424242", session.Text("url")!);
        await stripe.PayWith("4242424242424242", session.Text("url")!);

        var done = (await stripe.Get($"/v1/checkout/sessions/{session.Id}?expand[]=payment_intent")).Ok();
        Assert.Equal(("paid", "succeeded", """{"token_package":"starter"}"""), (done.Text("payment_status"), done.Text("payment_intent.status"), done["payment_intent.metadata"]!.ToJsonString()));
        Assert.Equal((null, "ada@example.com"), (done.Text("customer"), done.Text("customer_details.email")));
        Assert.Single(stripe.Server.All("charge"));
        Assert.Empty(stripe.Server.All("invoice"));
    }

    [Fact]
    public async Task a_one_time_payment_may_have_an_invoice_and_make_a_customer()
    {
        await using var stripe = await SandboxClient.Open();
        var session = await Tokens(stripe, "customer_creation=always", "invoice_creation[enabled]=true");

        await stripe.PayWith("4242424242424242", session.Text("url")!);

        var done = (await stripe.Get($"/v1/checkout/sessions/{session.Id}?expand[]=invoice&expand[]=customer")).Ok();
        Assert.Equal(("paid", 500L, "ada@example.com"), (done.Text("invoice.status"), done.Number("invoice.amount_paid"), done.Text("customer.email")));
    }

    [Theory]
    [InlineData("AT321904300235473204", "paid", "checkout.session.async_payment_succeeded")]
    [InlineData("AT861904300235473202", "unpaid", "checkout.session.async_payment_failed")]
    public async Task a_bank_debit_is_complete_at_once_and_paid_or_failed_later(string iban, string status, string happened)
    {
        await using var stripe = await SandboxClient.Open();
        var price = (await stripe.Post("/v1/prices", "currency=eur", "unit_amount=500", "product_data[name]=Tokens")).Ok().Id;
        var session = (await stripe.Post("/v1/checkout/sessions", "mode=payment", $"line_items[0][price]={price}", "line_items[0][quantity]=1", $"success_url={Back}")).Ok();

        Assert.Equal(302, (await stripe.Browse(session.Text("url")!, $"iban={iban}", "name=Ada", "email=ada@example.com")).Status);
        Assert.Equal("unpaid", stripe.Server.Find(session.Id)!["payment_status"]!.GetValue<string>());
        Assert.Equal("checkout.session.completed", stripe.Events("checkout")[^1]);
        await stripe.AdvanceTo("2026-11-20T10:05:00Z");

        Assert.Equal(status, stripe.Server.Find(session.Id)!["payment_status"]!.GetValue<string>());
        Assert.Equal(happened, stripe.Events("checkout")[^1]);
    }

    [Fact]
    public async Task a_session_expires_by_itself_or_when_it_is_told_to()
    {
        await using var stripe = await SandboxClient.Open();
        var (first, second) = (await Tokens(stripe, $"expires_at={stripe.Clock.Now.ToUnixTimeSeconds() + 1800}"), await Tokens(stripe));
        (await stripe.Post($"/v1/checkout/sessions/{second.Id}/expire")).Ok();
        (await stripe.Post($"/v1/checkout/sessions/{second.Id}/expire")).Refused(400, null);

        await stripe.AdvanceTo("2026-11-20T10:30:00Z");

        Assert.Equal("expired", stripe.Server.Find(first.Id)!["status"]!.GetValue<string>());
        Assert.Equal(2, stripe.Events("checkout.session.expired").Count);
        Assert.Contains("expired", (await stripe.Browse(first.Text("url")!)).Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task a_promotion_code_is_typed_in_on_the_page()
    {
        await using var stripe = await SandboxClient.Open();
        (await stripe.Post("/v1/coupons", "id=half", "percent_off=50", "duration=forever")).Ok();
        (await stripe.Post("/v1/promotion_codes", "promotion[type]=coupon", "promotion[coupon]=half", "code=HALF")).Ok();
        var session = await Subscription(stripe, "allow_promotion_codes=true");

        await stripe.PayWith("4000000000000002", session.Text("url")!);
        Assert.Contains("This code is invalid.", (await stripe.Browse(session.Text("url")! + "/code", "code=nothing")).Text, StringComparison.Ordinal);
        await stripe.Browse(session.Text("url")! + "/code", "code=half");
        Assert.Contains("$14.50", (await stripe.Browse(session.Text("url")!)).Text, StringComparison.Ordinal);
        await stripe.PayWith("4242424242424242", session.Text("url")!);

        Assert.Equal(1450, stripe.Server.All("invoice").Single()["amount_paid"]!.GetValue<long>());
        await stripe.AdvanceTo("2026-12-21T10:00:00Z");
        Assert.Equal(1450, stripe.Server.All("invoice")[^1]["amount_paid"]!.GetValue<long>());
    }

    [Fact]
    public async Task a_card_is_saved_without_a_payment()
    {
        await using var stripe = await SandboxClient.Open();
        var customer = await stripe.Customer();
        var session = (await stripe.Post("/v1/checkout/sessions", "mode=setup", "currency=usd", $"customer={customer}", $"success_url={Back}")).Ok();

        var asked = await stripe.PayWith("4000002500003155", session.Text("url")!);
        await stripe.Browse(asked.To!, "granted=true");

        var method = (await stripe.Get($"/v1/customers/{customer}/payment_methods")).Ok().Text("data.0.id");
        // What was confirmed once is charged later without anybody there.
        (await stripe.Post("/v1/payment_intents", "amount=500", "currency=usd", $"customer={customer}", $"payment_method={method}", "confirm=true", "off_session=true")).Ok();
    }

    [Fact]
    public async Task sessions_that_make_no_sense_are_refused()
    {
        await using var stripe = await SandboxClient.Open();
        var (month, once) = (await stripe.Price("pro-month", 2900), (await stripe.Post("/v1/prices", "currency=usd", "unit_amount=500", "product_data[name]=Tokens")).Ok().Id);
        var customer = await stripe.Customer();
        Task<Reply> Session(string mode, string price, params string[] more) => stripe.Post("/v1/checkout/sessions", [$"mode={mode}", $"line_items[0][price]={price}", "line_items[0][quantity]=1", $"success_url={Back}", .. more]);

        (await Session("payment", month)).Refused(400, null, "line_items[0][price]");
        (await Session("subscription", once)).Refused(400, null, "line_items");
        (await Session("payment", once, $"customer={customer}", "customer_email=a@b.c")).Refused(400, null, "customer_email");
        (await Session("payment", once, "subscription_data[trial_period_days]=3")).Refused(400, null, "subscription_data");
        (await Session("payment", once, $"expires_at={stripe.Clock.Now.ToUnixTimeSeconds() + 60}")).Refused(400, null, "expires_at");
        (await Session("payment", once, "automatic_tax[enabled]=true", $"customer={customer}")).Refused(400, "customer_tax_location_invalid");
        (await stripe.Post("/v1/checkout/sessions", "mode=payment", $"success_url={Back}")).Refused(400, "parameter_missing", "line_items");
        (await stripe.Post("/v1/checkout/sessions", "mode=payment", $"line_items[0][price]={once}", "line_items[0][quantity]=1")).Refused(400, "parameter_missing", "success_url");
        (await Session("payment", once, "automatic_tax[enabled]=true", $"customer={customer}", "customer_update[address]=auto")).Ok();
    }

    private static async Task<Reply> Subscription(SandboxClient stripe, params string[] more) =>
        (await stripe.Post("/v1/checkout/sessions", ["mode=subscription", $"line_items[0][price]={await stripe.Price("pro-month", 2900)}", "line_items[0][quantity]=1", $"success_url={Back}", "cancel_url=https://shop.example/", .. more])).Ok();

    private static async Task<Reply> Tokens(SandboxClient stripe, params string[] more) =>
        (await stripe.Post("/v1/checkout/sessions", ["mode=payment", "line_items[0][price_data][currency]=usd", "line_items[0][price_data][unit_amount]=500", "line_items[0][price_data][product_data][name]=Starter", "line_items[0][quantity]=1", $"success_url={Back}", .. more])).Ok();
}
