using System.Text.Json.Nodes;

namespace Billing.Tests.StripeSandbox;

/// <summary>Subscriptions over time: renewals, trials, changes, ends, and payments that fail.</summary>
public sealed class SubscriptionTests
{
    [Fact]
    public async Task a_subscription_that_is_paid_is_active_and_renews_on_its_day_through_short_months()
    {
        await using var stripe = await SandboxClient.Open();
        await stripe.AdvanceTo("2027-01-31T10:00:00Z");
        var id = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), await stripe.Price("pro-month", 2900))).Ok().Id;
        Assert.Equal("2027-02-28T10:00:00Z", End(await stripe.Subscription(id)));

        await stripe.AdvanceTo("2027-02-28T11:00:00Z");
        Assert.Equal("2027-03-31T10:00:00Z", End(await stripe.Subscription(id)));
        await stripe.AdvanceTo("2027-04-30T12:00:00Z");

        var subscription = await stripe.Subscription(id);
        Assert.Equal(("active", "2027-05-31T10:00:00Z"), (Text(subscription, "status"), End(subscription)));
        Assert.Equal(4, stripe.Server.All("invoice").Count(i => Text(i, "status") == "paid" && i["amount_paid"]!.GetValue<long>() == 2900));
    }

    [Fact]
    public async Task a_renewals_invoice_is_a_draft_for_an_hour()
    {
        await using var stripe = await SandboxClient.Open();
        var customer = await stripe.Customer("pm_card_visa");
        var id = (await stripe.Subscribe(customer, await stripe.Price("pro-month", 2900))).Ok().Id;

        await stripe.AdvanceTo("2026-12-20T10:30:00Z");
        var draft = (await stripe.Subscription(id)).Read("latest_invoice")!;
        Assert.Equal(("draft", "subscription_cycle"), (Text(draft, "status"), Text(draft, "billing_reason")));
        (await stripe.Post("/v1/invoiceitems", $"customer={customer}", $"invoice={Text(draft, "id")}", "amount=1250", "currency=usd", "description=12.5 GB")).Ok();
        await stripe.AdvanceTo("2026-12-20T11:00:00Z");

        var paid = (await stripe.Subscription(id)).Read("latest_invoice")!;
        Assert.Equal(("paid", 2900 + 1250), (Text(paid, "status"), paid["amount_paid"]!.GetValue<long>()));
        (await stripe.Post("/v1/invoiceitems", $"customer={customer}", $"invoice={Text(draft, "id")}", "amount=1", "currency=usd")).Refused(400, "invoice_not_editable");
    }

    [Fact]
    public async Task an_upgrade_is_prorated_to_the_second_and_the_preview_says_the_same()
    {
        await using var stripe = await SandboxClient.Open();
        var (pro, enterprise) = (await stripe.Price("pro-month", 3000), await stripe.Price("enterprise-month", 9000));
        var subscription = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), pro)).Ok();
        var item = subscription.Text("items.data.0.id");
        // 10 of 30 days are over.
        await stripe.AdvanceTo("2026-11-30T10:00:00Z");
        var at = stripe.Clock.Now.ToUnixTimeSeconds();

        var preview = (await stripe.Post("/v1/invoices/create_preview", $"subscription={subscription.Id}", $"subscription_details[items][0][id]={item}", $"subscription_details[items][0][price]={enterprise}", "subscription_details[proration_behavior]=always_invoice", $"subscription_details[proration_date]={at}")).Ok();
        var updated = (await stripe.Post($"/v1/subscriptions/{subscription.Id}", $"items[0][id]={item}", $"items[0][price]={enterprise}", "proration_behavior=always_invoice", $"proration_date={at}", "expand[]=latest_invoice")).Ok();

        Assert.StartsWith("upcoming_in", preview.Id);
        Assert.Equal([-2000, 6000], Amounts(preview["lines"]!));
        Assert.Equal([-2000, 6000], Amounts(updated["latest_invoice.lines"]!));
        Assert.Equal(("paid", 4000L, "subscription_update"), (updated.Text("latest_invoice.status"), updated.Number("latest_invoice.amount_paid"), updated.Text("latest_invoice.billing_reason")));
        Assert.True(updated["latest_invoice.lines.data.0.parent.subscription_item_details.proration"]!.GetValue<bool>());
    }

    [Fact]
    public async Task what_is_given_back_is_what_was_charged_and_waits_for_the_next_invoice()
    {
        await using var stripe = await SandboxClient.Open();
        var (pro, starter) = (await stripe.Price("pro-month", 3000), await stripe.Price("starter-month", 1000));
        (await stripe.Post("/v1/coupons", "id=half", "percent_off=50", "duration=once")).Ok();
        var subscription = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), pro, "discounts[0][coupon]=half")).Ok();
        Assert.Equal(1500, subscription.Number("latest_invoice.amount_paid"));
        await stripe.AdvanceTo("2026-12-05T10:00:00Z");

        (await stripe.Post($"/v1/subscriptions/{subscription.Id}", $"items[0][id]={subscription.Text("items.data.0.id")}", $"items[0][price]={starter}")).Ok();

        Assert.Single(stripe.Server.All("invoice"));
        await stripe.AdvanceTo("2026-12-20T11:00:00Z");
        var invoice = (await stripe.Subscription(subscription.Id)).Read("latest_invoice")!;
        Assert.Equal([-750, 500, 1000], Amounts(invoice["lines"]!));
        Assert.Equal(750, invoice["amount_paid"]!.GetValue<long>());
    }

    [Fact]
    public async Task another_interval_begins_now_with_an_invoice_of_its_own()
    {
        await using var stripe = await SandboxClient.Open();
        var (month, year) = (await stripe.Price("pro-month", 3000), await stripe.Price("pro-year", 30000, "year"));
        var subscription = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), month)).Ok();
        await stripe.AdvanceTo("2026-11-30T10:00:00Z");

        var updated = (await stripe.Post($"/v1/subscriptions/{subscription.Id}", $"items[0][id]={subscription.Text("items.data.0.id")}", $"items[0][price]={year}", "expand[]=latest_invoice")).Ok();

        Assert.Equal([-2000, 30000], Amounts(updated["latest_invoice.lines"]!));
        Assert.Equal("2027-11-30T10:00:00Z", End(updated.Json));
    }

    [Fact]
    public async Task an_item_without_its_id_is_added_and_a_new_price_makes_the_quantity_one()
    {
        await using var stripe = await SandboxClient.Open();
        var (pro, more) = (await stripe.Price("pro-month", 3000), await stripe.Price("more-month", 100));
        var subscription = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), pro, "items[0][quantity]=3")).Ok();

        var added = (await stripe.Post($"/v1/subscriptions/{subscription.Id}", $"items[0][price]={more}", "items[0][quantity]=2")).Ok();
        Assert.Equal([3, 2], added["items.data"]!.AsArray().Select(i => i!["quantity"]!.GetValue<long>()));
        (await stripe.Post($"/v1/subscriptions/{subscription.Id}", $"items[0][id]={added.Text("items.data.1.id")}", "items[0][deleted]=true")).Ok();
        var changed = (await stripe.Post($"/v1/subscriptions/{subscription.Id}", $"items[0][id]={subscription.Text("items.data.0.id")}", $"items[0][price]={more}")).Ok();

        Assert.Equal(1, changed.Number("items.data.0.quantity"));
        Assert.Single(changed["items.data"]!.AsArray());
    }

    [Fact]
    public async Task a_trial_is_free_is_warned_of_three_days_before_its_end_and_then_paid()
    {
        await using var stripe = await SandboxClient.Open();
        var subscription = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), await stripe.Price("pro-month", 2900), "trial_period_days=14")).Ok();
        Assert.Equal(("trialing", 0L), (subscription.Text("status"), subscription.Number("latest_invoice.amount_due")));

        await stripe.AdvanceTo("2026-12-01T09:59:59Z");
        Assert.Empty(stripe.Events("customer.subscription.trial_will_end"));
        await stripe.AdvanceTo("2026-12-01T10:00:00Z");
        Assert.Single(stripe.Events("customer.subscription.trial_will_end"));
        await stripe.AdvanceTo("2026-12-04T11:00:00Z");

        var now = await stripe.Subscription(subscription.Id);
        Assert.Equal(("active", "paid", 2900L), (Text(now, "status"), Text(now, "latest_invoice.status"), now.Read("latest_invoice.amount_paid")!.GetValue<long>()));
        Assert.Equal("2027-01-04T10:00:00Z", End(now));
    }

    [Theory]
    [InlineData("cancel", "canceled", "customer.subscription.deleted")]
    [InlineData("pause", "paused", "customer.subscription.paused")]
    [InlineData("create_invoice", "past_due", "invoice.payment_failed")]
    public async Task a_trial_without_a_payment_method_ends_as_it_was_set(string behaviour, string status, string happened)
    {
        await using var stripe = await SandboxClient.Open();
        var subscription = (await stripe.Subscribe(await stripe.Customer(), await stripe.Price("pro-month", 2900), "trial_period_days=7", $"trial_settings[end_behavior][missing_payment_method]={behaviour}")).Ok();

        await stripe.AdvanceTo("2026-11-27T12:00:00Z");

        Assert.Equal(status, Text(await stripe.Subscription(subscription.Id), "status"));
        Assert.Contains(happened, stripe.Events());
    }

    [Fact]
    public async Task a_paused_subscription_resumes_with_its_payment()
    {
        await using var stripe = await SandboxClient.Open();
        var customer = await stripe.Customer();
        var id = (await stripe.Subscribe(customer, await stripe.Price("pro-month", 2900), "trial_period_days=7", "trial_settings[end_behavior][missing_payment_method]=pause")).Ok().Id;
        await stripe.AdvanceTo("2026-12-10T10:00:00Z");
        var method = (await stripe.Post("/v1/payment_methods/pm_card_visa/attach", $"customer={customer}")).Ok().Id;
        (await stripe.Post($"/v1/subscriptions/{id}", $"default_payment_method={method}")).Ok();

        var resumed = (await stripe.Post($"/v1/subscriptions/{id}/resume")).Ok();

        Assert.Equal(("active", "2027-01-10T10:00:00Z"), (resumed.Text("status"), End(resumed.Json)));
        Assert.Single(stripe.Events("customer.subscription.resumed"));
    }

    [Fact]
    public async Task cancelling_at_the_periods_end_can_be_taken_back_and_otherwise_ends_it_then()
    {
        await using var stripe = await SandboxClient.Open();
        var id = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), await stripe.Price("pro-month", 2900))).Ok().Id;
        (await stripe.Post($"/v1/subscriptions/{id}", "cancel_at_period_end=true")).Ok();
        var undone = (await stripe.Post($"/v1/subscriptions/{id}", "cancel_at_period_end=false")).Ok();
        Assert.Null(undone["cancel_at"]);
        var canceled = (await stripe.Post($"/v1/subscriptions/{id}", "cancel_at_period_end=true")).Ok();
        Assert.Equal(("active", canceled.Number("items.data.0.current_period_end")), (canceled.Text("status"), canceled.Number("cancel_at")));
        (await stripe.Post("/v1/invoices/create_preview", $"subscription={id}")).Refused(404, "invoice_upcoming_none");

        await stripe.AdvanceTo("2026-12-20T10:00:00Z");

        Assert.Equal("canceled", Text(await stripe.Subscription(id), "status"));
        Assert.Equal(("customer.subscription.deleted", 1), (stripe.Events("customer.subscription.")[^1], stripe.Server.All("invoice").Count));
        Assert.Empty((await stripe.Get("/v1/subscriptions")).Ok()["data"]!.AsArray());
        Assert.Single((await stripe.Get("/v1/subscriptions?status=all")).Ok()["data"]!.AsArray());
    }

    [Fact]
    public async Task cancelling_now_may_give_back_the_rest_as_credit()
    {
        await using var stripe = await SandboxClient.Open();
        var customer = await stripe.Customer("pm_card_visa");
        var id = (await stripe.Subscribe(customer, await stripe.Price("pro-month", 3000))).Ok().Id;
        await stripe.AdvanceTo("2026-12-05T10:00:00Z");

        var canceled = (await stripe.Delete($"/v1/subscriptions/{id}?prorate=true&invoice_now=true")).Ok();

        Assert.Equal("canceled", canceled.Text("status"));
        Assert.Equal(-1500, (await stripe.Get($"/v1/customers/{customer}")).Ok().Number("balance"));
        (await stripe.Post($"/v1/subscriptions/{id}", "cancel_at_period_end=true")).Refused(400, null);
        (await stripe.Delete($"/v1/subscriptions/{id}")).Refused(404, "resource_missing");
    }

    [Fact]
    public async Task a_schedule_brings_the_smaller_plan_when_the_period_ends_without_a_proration()
    {
        await using var stripe = await SandboxClient.Open();
        var (pro, starter) = (await stripe.Price("pro-month", 3000), await stripe.Price("starter-month", 1000));
        var id = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), pro)).Ok().Id;
        var schedule = (await stripe.Post("/v1/subscription_schedules", $"from_subscription={id}")).Ok();
        (await stripe.Post($"/v1/subscription_schedules/{schedule.Id}", "end_behavior=release",
            $"phases[0][start_date]={schedule.Number("phases.0.start_date")}", $"phases[0][end_date]={schedule.Number("phases.0.end_date")}", $"phases[0][items][0][price]={pro}", $"phases[1][items][0][price]={starter}")).Ok();
        (await stripe.Post($"/v1/subscriptions/{id}", "cancel_at_period_end=true")).Refused(400, null, "cancel_at_period_end");
        Assert.Equal("pro-month", Text(await stripe.Subscription(id), "items.data.0.price.lookup_key"));

        await stripe.AdvanceTo("2026-12-20T11:00:00Z");
        var now = await stripe.Subscription(id);
        Assert.Equal(("starter-month", 1000L), (Text(now, "items.data.0.price.lookup_key"), now.Read("latest_invoice.amount_paid")!.GetValue<long>()));
        await stripe.AdvanceTo("2027-01-20T11:00:00Z");

        Assert.Null((await stripe.Subscription(id))["schedule"]);
        var released = stripe.Server.Find(schedule.Id)!;
        Assert.Equal(("released", id), (Text(released, "status"), Text(released, "released_subscription")));
    }

    [Fact]
    public async Task a_schedule_that_is_released_changes_nothing_any_more()
    {
        await using var stripe = await SandboxClient.Open();
        var id = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), await stripe.Price("pro-month", 3000))).Ok().Id;
        var schedule = (await stripe.Post("/v1/subscription_schedules", $"from_subscription={id}")).Ok().Id;

        (await stripe.Post($"/v1/subscription_schedules/{schedule}/release")).Ok();

        (await stripe.Post($"/v1/subscriptions/{id}", "cancel_at_period_end=true")).Ok();
        (await stripe.Post($"/v1/subscription_schedules/{schedule}/release")).Refused(400, "status_transition_invalid");
    }

    [Fact]
    public async Task a_renewal_that_cannot_be_collected_is_tried_again_and_then_ends_the_subscription()
    {
        await using var stripe = await SandboxClient.Open();
        var id = await WithFailingCard(stripe);

        await stripe.AdvanceTo("2026-12-20T11:00:00Z");
        var late = await stripe.Subscription(id);
        Assert.Equal(("past_due", 1L), (Text(late, "status"), late.Read("latest_invoice.attempt_count")!.GetValue<long>()));
        Assert.Equal(stripe.Clock.Now.ToUnixTimeSeconds() + 3 * 86_400, late.Read("latest_invoice.next_payment_attempt")!.GetValue<long>());
        await stripe.AdvanceTo("2027-01-04T11:00:00Z");

        var ended = await stripe.Subscription(id);
        Assert.Equal(("canceled", "payment_failed"), (Text(ended, "status"), Text(ended, "cancellation_details.reason")));
        Assert.Equal((4L, "open"), (ended.Read("latest_invoice.attempt_count")!.GetValue<long>(), Text(ended, "latest_invoice.status")));
        Assert.Equal(4, stripe.Events("invoice.payment_failed").Count);
    }

    [Fact]
    public async Task an_attempt_in_between_uses_up_none_of_the_retries()
    {
        await using var stripe = await SandboxClient.Open();
        var id = await WithFailingCard(stripe);
        await stripe.AdvanceTo("2026-12-21T11:00:00Z");
        var next = (await stripe.Subscription(id)).Read("latest_invoice.next_payment_attempt")!.GetValue<long>();

        (await stripe.Post($"/v1/invoices/{Text(await stripe.Subscription(id), "latest_invoice.id")}/pay")).Refused(402, "card_declined");

        Assert.Equal(next, (await stripe.Subscription(id)).Read("latest_invoice.next_payment_attempt")!.GetValue<long>());
        await stripe.AdvanceTo("2027-01-04T10:59:59Z");
        Assert.Equal("past_due", Text(await stripe.Subscription(id), "status"));
        await stripe.AdvanceTo("2027-01-04T11:00:00Z");
        Assert.Equal("canceled", Text(await stripe.Subscription(id), "status"));
    }

    [Fact]
    public async Task one_that_is_to_end_with_its_period_ends_when_that_is_though_it_moved()
    {
        await using var stripe = await SandboxClient.Open();
        var (month, year) = (await stripe.Price("pro-month", 3000), await stripe.Price("pro-year", 30000, "year"));
        var subscription = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), month, "cancel_at_period_end=true")).Ok();
        Assert.Equal(subscription.Number("items.data.0.current_period_end"), subscription.Number("cancel_at"));

        var moved = (await stripe.Post($"/v1/subscriptions/{subscription.Id}", $"items[0][id]={subscription.Text("items.data.0.id")}", $"items[0][price]={year}")).Ok();

        Assert.Equal("2027-11-20T10:00:00Z", End(moved.Json));
        Assert.Equal(moved.Number("items.data.0.current_period_end"), moved.Number("cancel_at"));
    }

    [Fact]
    public async Task a_subscription_that_is_past_due_is_active_again_once_it_is_paid()
    {
        await using var stripe = await SandboxClient.Open(o => o with { AfterDunning = "unpaid" });
        var id = await WithFailingCard(stripe);
        await stripe.AdvanceTo("2027-01-04T11:00:00Z");
        var unpaid = await stripe.Subscription(id);
        Assert.Equal("unpaid", Text(unpaid, "status"));

        (await stripe.Post($"/v1/invoices/{Text(unpaid, "latest_invoice.id")}/pay")).Refused(402, "card_declined");
        (await stripe.Post($"/v1/invoices/{Text(unpaid, "latest_invoice.id")}/pay", "payment_method=pm_card_visa")).Ok();

        Assert.Equal("active", Text(await stripe.Subscription(id), "status"));
        Assert.Equal("invoice.payment_succeeded", stripe.Events("invoice.")[^1]);
    }

    [Fact]
    public async Task a_first_payment_that_fails_leaves_it_incomplete_for_23_hours()
    {
        await using var stripe = await SandboxClient.Open();
        var price = await stripe.Price("pro-month", 2900);
        var customer = await stripe.Customer("pm_card_chargeCustomerFail");
        var incomplete = (await stripe.Subscribe(customer, price)).Ok();
        Assert.Equal(("incomplete", "open"), (incomplete.Text("status"), incomplete.Text("latest_invoice.status")));
        (await stripe.Subscribe(customer, price, "payment_behavior=error_if_incomplete")).Refused(402, "card_declined");
        Assert.Single(stripe.Server.All("subscription"));

        await stripe.AdvanceTo("2026-11-21T09:00:00Z");

        var expired = await stripe.Subscription(incomplete.Id);
        Assert.Equal(("incomplete_expired", "void"), (Text(expired, "status"), Text(expired, "latest_invoice.status")));
    }

    [Fact]
    public async Task a_first_payment_that_asks_for_authentication_is_active_once_it_is_given()
    {
        await using var stripe = await SandboxClient.Open();
        var subscription = (await stripe.Subscribe(await stripe.Customer("pm_card_authenticationRequired"), await stripe.Price("pro-month", 2900))).Ok();
        Assert.Equal(("incomplete", "requires_action"), (subscription.Text("status"), subscription.Text("latest_invoice.payments.data.0.payment.payment_intent.status")));
        Assert.Contains("invoice.payment_action_required", stripe.Events());

        stripe.Server.Authenticate(subscription.Text("latest_invoice.payments.data.0.payment.payment_intent.id")!);

        Assert.Equal("active", Text(await stripe.Subscription(subscription.Id), "status"));
    }

    [Fact]
    public async Task a_first_payment_may_be_left_to_the_customer_and_its_card_is_kept()
    {
        await using var stripe = await SandboxClient.Open();
        var customer = await stripe.Customer();
        var subscription = (await stripe.Subscribe(customer, await stripe.Price("pro-month", 2900), "payment_behavior=default_incomplete", "payment_settings[save_default_payment_method]=on_subscription", "expand[]=latest_invoice.confirmation_secret")).Ok();
        Assert.Equal(("incomplete", "open"), (subscription.Text("status"), subscription.Text("latest_invoice.status")));
        Assert.Equal(subscription.Text("latest_invoice.payments.data.0.payment.payment_intent.client_secret"), subscription.Text("latest_invoice.confirmation_secret.client_secret"));

        (await stripe.Post($"/v1/payment_intents/{subscription.Text("latest_invoice.payments.data.0.payment.payment_intent.id")}/confirm", "payment_method=pm_card_visa")).Ok();

        var now = await stripe.Subscription(subscription.Id);
        Assert.Equal(("active", customer), (Text(now, "status"), Text(stripe.Server.Find(Text(now, "default_payment_method")!)!, "customer")));
        Assert.Equal("incomplete", Text(stripe.Server.All("event").Single(e => Text(e, "type") == "customer.subscription.created"), "data.object.status"));
        Assert.Contains("customer.subscription.updated", stripe.Events());
    }

    [Fact]
    public async Task a_change_that_must_be_paid_first_waits_for_it_and_expires_after_23_hours()
    {
        await using var stripe = await SandboxClient.Open();
        var (pro, enterprise) = (await stripe.Price("pro-month", 3000), await stripe.Price("enterprise-month", 9000));
        var id = await WithFailingCard(stripe, pro);
        var item = Text(await stripe.Subscription(id), "items.data.0.id");
        string[] change = [$"items[0][id]={item}", $"items[0][price]={enterprise}", "proration_behavior=always_invoice"];
        (await stripe.Post($"/v1/subscriptions/{id}", [.. change, "payment_behavior=error_if_incomplete"])).Refused(402, "card_declined");

        var pending = (await stripe.Post($"/v1/subscriptions/{id}", [.. change, "payment_behavior=pending_if_incomplete"])).Ok();
        Assert.Equal(("active", "pro-month", "enterprise-month"), (pending.Text("status"), pending.Text("items.data.0.price.lookup_key"), pending.Text("pending_update.subscription_items.0.price.lookup_key")));
        await stripe.AdvanceTo("2026-11-21T09:00:00Z");
        Assert.Null((await stripe.Subscription(id))["pending_update"]);
        var second = (await stripe.Post($"/v1/subscriptions/{id}", [.. change, "payment_behavior=pending_if_incomplete"])).Ok();
        (await stripe.Post($"/v1/invoices/{second.Text("latest_invoice")}/pay", "payment_method=pm_card_visa")).Ok();

        Assert.Equal("enterprise-month", Text(await stripe.Subscription(id), "items.data.0.price.lookup_key"));
        Assert.Equal(["customer.subscription.pending_update_expired", "customer.subscription.pending_update_applied"], stripe.Events("customer.subscription.pending_update"));
    }

    [Theory]
    [InlineData("void", "void")]
    [InlineData("mark_uncollectible", "uncollectible")]
    [InlineData("keep_as_draft", "draft")]
    public async Task while_collecting_is_paused_invoices_are_not_paid(string behaviour, string status)
    {
        await using var stripe = await SandboxClient.Open();
        var id = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), await stripe.Price("pro-month", 2900))).Ok().Id;
        (await stripe.Post($"/v1/subscriptions/{id}", $"pause_collection[behavior]={behaviour}")).Ok();

        await stripe.AdvanceTo("2026-12-21T10:00:00Z");

        var paused = await stripe.Subscription(id);
        Assert.Equal(("active", status), (Text(paused, "status"), Text(paused, "latest_invoice.status")));
        Assert.Null((await stripe.Post($"/v1/subscriptions/{id}", "pause_collection=")).Ok()["pause_collection"]);
    }

    [Fact]
    public async Task an_update_tells_what_there_was_before()
    {
        await using var stripe = await SandboxClient.Open();
        var id = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), await stripe.Price("pro-month", 2900))).Ok().Id;

        (await stripe.Post($"/v1/subscriptions/{id}", "metadata[organization_id]=acme")).Ok();

        var e = stripe.Server.All("event")[^1];
        Assert.Equal(("customer.subscription.updated", """{"metadata":{}}"""), (Text(e, "type"), e.Read("data.previous_attributes")!.ToJsonString()));
    }

    /// <summary>One that was paid with a good card, and now has one whose charges fail.</summary>
    private static async Task<string> WithFailingCard(SandboxClient stripe, string? price = null)
    {
        var customer = await stripe.Customer("pm_card_visa");
        var id = (await stripe.Subscribe(customer, price ?? await stripe.Price("pro-month", 2900))).Ok().Id;
        var bad = (await stripe.Post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", $"customer={customer}")).Ok().Id;
        (await stripe.Post($"/v1/subscriptions/{id}", $"default_payment_method={bad}")).Ok();
        return id;
    }

    private static string? Text(JsonNode o, string path) => o.Read(path)?.GetValue<string>();

    private static string End(JsonObject subscription) => $"{DateTimeOffset.FromUnixTimeSeconds(subscription.Read("items.data.0.current_period_end")!.GetValue<long>()):yyyy-MM-ddTHH:mm:ssZ}";

    private static List<long> Amounts(JsonNode lines) => [.. lines["data"]!.AsArray().Select(l => l!["amount"]!.GetValue<long>())];
}
