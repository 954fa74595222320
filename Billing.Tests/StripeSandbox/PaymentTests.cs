namespace Billing.Tests.StripeSandbox;

/// <summary>Payment intents with and without the customer there, refunds, disputes, invoices by hand.</summary>
public sealed class PaymentTests
{
    [Fact]
    public async Task a_payment_intent_is_confirmed_by_the_customer_or_at_once()
    {
        await using var stripe = await SandboxClient.Open();
        var open = (await stripe.Post("/v1/payment_intents", "amount=500", "currency=usd", "automatic_payment_methods[enabled]=true", "metadata[token_package]=starter")).Ok();
        Assert.Equal("requires_payment_method", open.Text("status"));
        Assert.StartsWith($"{open.Id}_secret_", open.Text("client_secret"), StringComparison.Ordinal);

        var paid = (await stripe.Post($"/v1/payment_intents/{open.Id}/confirm", "payment_method=pm_card_visa", "expand[]=latest_charge")).Ok();

        Assert.Equal(("succeeded", 500L, "starter"), (paid.Text("status"), paid.Number("amount_received"), paid.Text("latest_charge.metadata.token_package")));
        Assert.Equal(["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"], stripe.Events().Where(e => e.StartsWith("payment_intent", StringComparison.Ordinal) || e.StartsWith("charge", StringComparison.Ordinal)));
        (await stripe.Post($"/v1/payment_intents/{open.Id}/confirm")).Refused(400, "payment_intent_unexpected_state");
        (await stripe.Post($"/v1/payment_intents/{open.Id}/cancel")).Refused(400, "payment_intent_unexpected_state");
    }

    [Theory]
    [InlineData("pm_card_visa_chargeDeclined", "card_declined", "generic_decline")]
    [InlineData("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds")]
    [InlineData("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card")]
    [InlineData("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc")]
    [InlineData("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error")]
    [InlineData("pm_card_radarBlock", "card_declined", "fraudulent")]
    public async Task a_declined_card_is_402_with_its_code_and_cannot_be_kept(string method, string code, string decline)
    {
        await using var stripe = await SandboxClient.Open();
        var customer = await stripe.Customer();

        var declined = (await stripe.Post("/v1/payment_intents", "amount=500", "currency=usd", $"payment_method={method}", "confirm=true")).Refused(402, code);

        Assert.Equal((decline, "card_error", "requires_payment_method"), (declined.Text("error.decline_code"), declined.Text("error.type"), declined.Text("error.payment_intent.status")));
        Assert.Contains("payment_intent.payment_failed", stripe.Events());
        (await stripe.Post($"/v1/payment_methods/{method}/attach", $"customer={customer}")).Refused(402, code);
        Assert.DoesNotContain(stripe.Server.All("payment_method"), m => m["customer"] is not null);
    }

    [Theory]
    [InlineData("pm_card_chargeCustomerFail", "card_declined")]
    [InlineData("pm_card_authenticationRequired", "authentication_required")]
    [InlineData("pm_card_authenticationRequiredOnSetup", "authentication_required")]
    public async Task a_kept_card_may_fail_when_nobody_is_there(string method, string code)
    {
        await using var stripe = await SandboxClient.Open();
        var customer = await stripe.Customer(method);
        var kept = stripe.Server.Find(customer).Read("invoice_settings.default_payment_method")!.GetValue<string>();

        var failed = (await stripe.Post("/v1/payment_intents", "amount=500", "currency=usd", $"customer={customer}", $"payment_method={kept}", "confirm=true", "off_session=true")).Refused(402, code);

        Assert.Equal("requires_payment_method", failed.Text("error.payment_intent.status"));
        Assert.Equal(kept, failed.Text("error.payment_method.id"));
    }

    [Fact]
    public async Task off_session_needs_confirm_and_another_customers_card_is_refused()
    {
        await using var stripe = await SandboxClient.Open();
        var method = stripe.Server.Find(await stripe.Customer("pm_card_visa")).Read("invoice_settings.default_payment_method")!.GetValue<string>();

        (await stripe.Post("/v1/payment_intents", "amount=500", "currency=usd", "off_session=true")).Refused(400, null, "off_session");
        (await stripe.Post("/v1/payment_intents", "amount=500", "currency=usd", $"customer={await stripe.Customer()}", $"payment_method={method}", "confirm=true")).Refused(400, null, "payment_method");
    }

    [Fact]
    public async Task authentication_goes_by_the_page_that_the_next_action_names()
    {
        await using var stripe = await SandboxClient.Open();
        var asked = (await stripe.Post("/v1/payment_intents", "amount=500", "currency=usd", "payment_method=pm_card_threeDSecure2Required", "confirm=true", "return_url=https://shop.example/back")).Ok();
        Assert.Equal("requires_action", asked.Text("status"));

        var answered = await stripe.Browse(asked.Text("next_action.redirect_to_url.url")!, "granted=true");

        Assert.Equal("https://shop.example/back", answered.To);
        Assert.Equal("succeeded", (await stripe.Get($"/v1/payment_intents/{asked.Id}")).Ok().Text("status"));
    }

    [Fact]
    public async Task refunds_add_up_and_no_more_than_was_paid_is_given_back()
    {
        await using var stripe = await SandboxClient.Open();
        var intent = await Paid(stripe, "pm_card_visa");

        (await stripe.Post("/v1/refunds", $"payment_intent={intent}", "amount=200", "reason=requested_by_customer")).Ok();
        Assert.Equal((200L, false), (Charge(stripe, "amount_refunded"), stripe.Server.All("charge")[0]["refunded"]!.GetValue<bool>()));
        (await stripe.Post("/v1/refunds", $"payment_intent={intent}", "amount=301")).Refused(400, null, "amount");
        (await stripe.Post("/v1/refunds", $"payment_intent={intent}")).Ok();
        (await stripe.Post("/v1/refunds", $"payment_intent={intent}")).Refused(400, "charge_already_refunded");

        Assert.Equal((500L, true), (Charge(stripe, "amount_refunded"), stripe.Server.All("charge")[0]["refunded"]!.GetValue<bool>()));
        Assert.Equal(2, stripe.Events("charge.refunded").Count);
        Assert.Equal(2, (await stripe.Get($"/v1/charges/{stripe.Server.All("charge")[0]["id"]}?expand[]=refunds")).Ok()["refunds.data"]!.AsArray().Count);
    }

    [Theory]
    [InlineData("pm_card_pendingRefund", "pending", "succeeded", 500)]
    [InlineData("pm_card_refundFail", "succeeded", "failed", 0)]
    public async Task a_refund_may_be_settled_or_fail_later(string method, string first, string then, long refunded)
    {
        await using var stripe = await SandboxClient.Open();
        var refund = (await stripe.Post("/v1/refunds", $"payment_intent={await Paid(stripe, method)}")).Ok();
        Assert.Equal(first, refund.Text("status"));

        await stripe.AdvanceTo("2026-11-20T10:05:00Z");

        Assert.Equal((then, refunded), (stripe.Server.Find(refund.Id)!["status"]!.GetValue<string>(), Charge(stripe, "amount_refunded")));
        Assert.Contains(then == "failed" ? "refund.failed" : "refund.updated", stripe.Events());
    }

    [Fact]
    public async Task a_dispute_follows_its_card_and_is_won_or_lost()
    {
        await using var stripe = await SandboxClient.Open();
        await Paid(stripe, "pm_card_createDispute");
        await stripe.AdvanceTo("2026-11-20T10:00:01Z");
        var dispute = stripe.Server.All("dispute").Single();
        Assert.Equal(("needs_response", 500L), (dispute["status"]!.GetValue<string>(), dispute["amount"]!.GetValue<long>()));

        (await stripe.Post($"/v1/disputes/{dispute["id"]}", "evidence[uncategorized_text]=winning_evidence")).Ok();
        var second = stripe.Server.Dispute(await Paid(stripe, "pm_card_visa"));
        stripe.Server.CloseDispute(second, "lost");

        Assert.Equal(["won", "lost"], stripe.Server.All("dispute").Select(d => d["status"]!.GetValue<string>()));
        Assert.Equal(2, stripe.Events("charge.dispute.closed").Count);
        Assert.Single(stripe.Events("charge.dispute.funds_reinstated"));
    }

    [Fact]
    public async Task an_invoice_by_hand_takes_what_is_pending_when_it_is_told_to()
    {
        await using var stripe = await SandboxClient.Open();
        var customer = await stripe.Customer("pm_card_visa");
        (await stripe.Post("/v1/invoiceitems", $"customer={customer}", "currency=usd", "quantity=1247", "unit_amount_decimal=0.1", "description=API calls")).Ok();
        Assert.Equal(0, (await stripe.Post("/v1/invoices", $"customer={customer}")).Ok().Number("amount_due"));
        var invoice = (await stripe.Post("/v1/invoices", $"customer={customer}", "pending_invoice_items_behavior=include")).Ok();
        Assert.Equal(("draft", 125L, null), (invoice.Text("status"), invoice.Number("amount_due"), invoice.Text("hosted_invoice_url")));

        var open = (await stripe.Post($"/v1/invoices/{invoice.Id}/finalize")).Ok();
        Assert.EndsWith("-0001", open.Text("number"), StringComparison.Ordinal);
        Assert.Contains("API calls", (await stripe.Browse(open.Text("hosted_invoice_url")!)).Text, StringComparison.Ordinal);
        Assert.StartsWith("%PDF", (await stripe.Browse(open.Text("invoice_pdf")!)).Text, StringComparison.Ordinal);
        var paid = (await stripe.Post($"/v1/invoices/{invoice.Id}/pay", "expand[]=payments")).Ok();

        Assert.Equal(("paid", 125L, "paid"), (paid.Text("status"), paid.Number("amount_paid"), paid.Text("payments.data.0.status")));
        (await stripe.Post($"/v1/invoices/{invoice.Id}/void")).Refused(400, "status_transition_invalid");
        (await stripe.Post($"/v1/invoices/{invoice.Id}", "description=late")).Refused(400, "invoice_not_editable");
        Assert.Equal(invoice.Id, (await stripe.Get($"/v1/invoice_payments?payment[type]=payment_intent&payment[payment_intent]={paid.Text("payments.data.0.payment.payment_intent")}")).Ok().Text("data.0.invoice"));
    }

    [Fact]
    public async Task an_open_invoice_is_paid_on_its_page_or_outside_stripe()
    {
        await using var stripe = await SandboxClient.Open();
        var (first, second) = (await OpenInvoice(stripe), await OpenInvoice(stripe));

        Assert.Equal(402, (await stripe.PayWith("4000000000000002", first.Text("hosted_invoice_url")!)).Status);
        Assert.Equal(302, (await stripe.PayWith("4242424242424242", first.Text("hosted_invoice_url")!)).Status);
        var outside = (await stripe.Post($"/v1/invoices/{second.Id}/pay", "paid_out_of_band=true")).Ok();

        Assert.Equal("paid", stripe.Server.Find(first.Id)!["status"]!.GetValue<string>());
        Assert.Equal(("paid", 0L), (outside.Text("status"), outside.Number("amount_paid")));
        Assert.Equal((2, 1), (stripe.Events("invoice.paid").Count, stripe.Events("invoice.payment_succeeded").Count));
    }

    [Fact]
    public async Task an_invoice_shows_ten_lines_and_lists_the_others()
    {
        await using var stripe = await SandboxClient.Open();
        var customer = await stripe.Customer();
        for (var i = 0; i < 12; i++) (await stripe.Post("/v1/invoiceitems", $"customer={customer}", "currency=usd", $"amount={i + 1}")).Ok();

        var invoice = (await stripe.Post("/v1/invoices", $"customer={customer}", "pending_invoice_items_behavior=include")).Ok();

        Assert.Equal((78L, 10, true), (invoice.Number("total"), invoice["lines.data"]!.AsArray().Count, invoice["lines.has_more"]!.GetValue<bool>()));
        Assert.Equal(12, (await stripe.Get($"/v1/invoices/{invoice.Id}/lines?limit=100")).Ok()["data"]!.AsArray().Count);
    }

    private static async Task<string> Paid(SandboxClient stripe, string method) =>
        (await stripe.Post("/v1/payment_intents", "amount=500", "currency=usd", $"payment_method={method}", "confirm=true")).Ok().Id;

    private static async Task<Reply> OpenInvoice(SandboxClient stripe)
    {
        var customer = await stripe.Customer();
        (await stripe.Post("/v1/invoiceitems", $"customer={customer}", "currency=usd", "amount=500")).Ok();
        var invoice = (await stripe.Post("/v1/invoices", $"customer={customer}", "pending_invoice_items_behavior=include")).Ok().Id;
        return (await stripe.Post($"/v1/invoices/{invoice}/finalize")).Ok();
    }

    private static long Charge(SandboxClient stripe, string name) => stripe.Server.All("charge")[0][name]!.GetValue<long>();
}
