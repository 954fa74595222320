using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using Billing.StripeSandbox;

namespace Billing.Tests.Api;

/// <summary>The subscription where Stripe keeps it: by the same routes as one that the ledger keeps.</summary>
public sealed class StripeSubscriptionTests
{
    private const string Path = "/v1/organizations/acme/subscription";

    [Fact]
    public async Task C6_subscribing_quarterly_with_a_payment_method_begins_the_trial_of_seven_days_at_stripe()
    {
        await using var api = await Shop();
        using var acme = await api.ClientOf("acme");
        (await api.Put(Path, new { plan = "community-pro", billing_period = "quarterly" }, "k0", acme)).ExpectProblem(402, "payment_method_required", "something to pay with", "payment_method");
        (await api.Put(Path, new { plan = "community-pro", billing_period = "quarterly", payment_method = "pm_card_visa" }, by: acme)).ExpectProblem(400, "idempotency_key_missing", "Idempotency-Key");

        var started = (await api.Put(Path, new { plan = "community-pro", billing_period = "quarterly", payment_method = "pm_card_visa" }, "k1", acme)).Expect(200);

        // At once: no event has come yet.
        Assert.Equal(("community-pro", "trialing", "quarter", "2026-11-27T10:00:00Z", "stripe", "none"),
            (started.String("plan"), started.String("status"), started.String("interval"), started.String("trial_end"), started.String("kept_by"), started.String("next")));
        var subscription = Assert.Single(api.Sandbox.All("subscription"));
        Assert.Equal((started.String("id"), "flexible", "acme"), (Text(subscription, "id"), Text(subscription, "billing_mode", "type"), Text(subscription, "metadata", "organization_id")));
        Assert.Equal(Text(subscription, "default_payment_method"), Text(Assert.Single(api.Sandbox.All("customer")), "invoice_settings", "default_payment_method"));
        await api.Settle();
        Assert.Equal("trialing", (await api.Subscription("acme")).String("status"));
        Assert.Equal(100, (await api.Check("acme", "ai_requests")).Number("limit"));

        await api.AdvanceTo("2026-11-28T10:00:00Z");
        var active = await api.Subscription("acme");
        Assert.Equal(("active", "2026-11-27T10:00:00Z", "2027-02-27T10:00:00Z"), (active.String("status"), active.String("period.start"), active.String("period.end")));
        Assert.Equal([0, 5_400], api.Sandbox.All("invoice").Select(i => (long)i["amount_paid"]!));
    }

    [Fact]
    public async Task C6_upgrading_is_prorated_and_comes_to_what_its_preview_showed()
    {
        await using var api = await Shop();
        await Start(api, "community-pro", "quarter");
        await api.AdvanceTo("2026-12-20T10:00:00Z");

        var preview = (await api.Post($"{Path}/preview", new { plan = "pro-learn", interval = "quarter", proration = "invoice_now" })).Expect(200);
        Assert.False(preview.True("estimate"));
        Assert.Equal(2, preview["lines"]!.AsArray().Count);
        // Much later than the preview: its moment counts.
        await api.AdvanceTo("2026-12-22T10:00:00Z");
        var changed = (await api.Put(Path, new { plan = "pro-learn", interval = "quarter", proration = "invoice_now", proration_date = preview.String("proration_date") }, "up")).Expect(200);

        Assert.Equal(("pro-learn", "active", "2027-02-20T10:00:00Z"), (changed.String("plan"), changed.String("status"), changed.String("period.end")));
        Assert.Equal(250, (await api.Check("acme", "ai_requests")).Number("limit"));
        var invoice = api.Sandbox.All("invoice")[^1];
        Assert.Equal(("subscription_update", "paid"), (Text(invoice, "billing_reason"), Text(invoice, "status")));
        Assert.Equal((long)preview.Number("amount.amount"), (long)invoice["amount_due"]!);
        Assert.Equal((long)preview.Number("invoice.amount_due.amount"), (long)invoice["amount_due"]!);
        // 62 of 92 days are left, of 105 dollars instead of 54.
        Assert.Equal((10_500L * 62 / 92) - (5_400L * 62 / 92), (long)invoice["amount_due"]!, 2.0);
        Assert.Single(Items(api));
        await api.Settle();
        var followed = await api.Subscription("acme");
        Assert.Equal((changed.String("plan"), changed.At("period")!.ToJsonString()), (followed.String("plan"), followed.At("period")!.ToJsonString()));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task C6_upgrading_right_after_subscribing_goes_on_with_the_trial_and_costs_nothing_yet()
    {
        await using var api = await Shop();
        (await api.Put(Path, new { plan = "community-pro", interval = "quarter", payment_method = "pm_card_visa", quantity = 3 }, "k1")).Expect(200);

        var changed = (await api.Put(Path, new { plan = "pro-learn", interval = "quarter" }, "k2")).Expect(200);

        Assert.Equal(("pro-learn", "trialing", "2026-11-27T10:00:00Z"), (changed.String("plan"), changed.String("status"), changed.String("trial_end")));
        Assert.Equal(3, (long)Assert.Single(Items(api))!["quantity"]!);
        Assert.All(api.Sandbox.All("invoice"), i => Assert.Equal(0, (long)i["amount_due"]!));
    }

    [Fact]
    public async Task C6_cancelling_keeps_access_until_the_period_ends_and_can_be_taken_back()
    {
        await using var api = await Shop();
        await Start(api, "community-pro", "month");

        var cancelled = (await api.Send(HttpMethod.Delete, Path)).Expect(200);
        Assert.Equal(("community-pro", "active", true, "2026-12-20T10:00:00Z"), (cancelled.String("plan"), cancelled.String("status"), cancelled.True("cancel_at_period_end"), cancelled.String("cancel_at")));
        Assert.False((await api.Post($"{Path}/reactivate")).Expect(200).True("cancel_at_period_end"));
        (await api.Post($"{Path}/reactivate")).ExpectProblem(409, "subscription_state_conflict", "no cancellation or change");
        Assert.True((await api.Send(HttpMethod.Delete, Path)).Expect(200).True("cancel_at_period_end"));

        await api.AdvanceTo("2026-12-20T09:00:00Z");
        Assert.Equal("community-pro", (await api.Subscription("acme")).String("plan"));
        await api.AdvanceTo("2026-12-20T11:00:00Z");
        var over = await api.Subscription("acme");
        Assert.Equal(("explorer", "canceled"), (over.String("plan"), over.String("status")));
        Assert.Single(api.Sandbox.All("invoice"));
        (await api.Send(HttpMethod.Delete, Path)).ExpectProblem(409, "no_subscription", "Start one");
        // And another one may begin.
        Assert.Equal("active", (await api.Put(Path, new { plan = "pro-learn", interval = "month", payment_method = "pm_card_visa" }, "again")).Expect(200).String("status"));
    }

    [Fact]
    public async Task C6_cancelling_during_the_trial_keeps_it_to_its_end_and_charges_nothing()
    {
        await using var api = await Shop();
        (await api.Put(Path, new { plan = "community-pro", interval = "month", payment_method = "pm_card_visa" }, "k1")).Expect(200);
        (await api.Send(HttpMethod.Delete, Path)).Expect(200);

        await api.AdvanceTo("2026-11-27T09:00:00Z");
        Assert.Equal("community-pro", (await api.Subscription("acme")).String("plan"));
        await api.AdvanceTo("2026-11-27T11:00:00Z");

        Assert.Equal("explorer", (await api.Subscription("acme")).String("plan"));
        Assert.All(api.Sandbox.All("invoice"), i => Assert.Equal(0, (long)i["amount_due"]!));
        (await api.Put(Path, new { plan = "community-pro", interval = "month", payment_method = "pm_card_visa", trial = true }, "k2")).ExpectProblem(409, "trial_used", "trial");
    }

    [Fact]
    public async Task C6_the_payment_method_changes_within_a_period_and_nothing_else_does()
    {
        await using var api = await Shop();
        var started = await Start(api, "community-pro", "month");

        (await api.Put(Path, new { payment_method = true })).ExpectProblem(400, "invalid_field", "pm_1Abc", "payment_method");
        var changed = (await api.Put(Path, new { payment_method = "pm_card_mastercard" })).Expect(200);

        Assert.Equal(started.Text, changed.Text);
        var pays = Text(Assert.Single(api.Sandbox.All("subscription")), "default_payment_method");
        Assert.Equal(("mastercard", pays), (Text(api.Sandbox.Find(pays!)!, "card", "brand"), Text(Assert.Single(api.Sandbox.All("customer")), "invoice_settings", "default_payment_method")));
        await api.AdvanceTo("2026-12-21T10:00:00Z");
        Assert.Equal(pays, Text(api.Sandbox.All("charge")[^1], "payment_method"));
    }

    [Fact]
    public async Task C6_a_payment_that_the_bank_asks_about_is_surfaced_with_its_secret()
    {
        await using var api = await Shop();

        var started = (await api.Put(Path, new { plan = "pro-learn", interval = "month", payment_method = "pm_card_authenticationRequired" }, "k1")).Expect(200);

        Assert.Equal(("explorer", "incomplete", "confirm_payment"), (started.String("plan"), started.String("status"), started.String("next")));
        var secret = started.String("client_secret")!;
        // The page was reloaded: the same secret again.
        Assert.Equal(secret, (await api.Put(Path, new { plan = "pro-learn", interval = "month", payment_method = "pm_card_authenticationRequired" }, "k1")).Expect(200).String("client_secret"));
        Assert.Equal("confirm_payment", (await api.Subscription("acme")).String("next"));

        await api.AdvanceTo("2026-11-20T10:01:00Z");
        api.Sandbox.Authenticate(secret[..secret.IndexOf("_secret", StringComparison.Ordinal)]);
        await api.Settle();
        var active = await api.Subscription("acme");
        Assert.Equal(("pro-learn", "active", "none"), (active.String("plan"), active.String("status"), active.String("next")));
        Assert.Single(api.Sandbox.All("subscription"));
    }

    [Fact]
    public async Task a_subscription_whose_payment_was_never_confirmed_can_be_cancelled_and_another_begun()
    {
        await using var api = await Shop();
        (await api.Put(Path, new { plan = "pro-learn", interval = "month", payment_method = "pm_card_authenticationRequired" }, "k1")).Expect(200);

        (await api.Send(HttpMethod.Delete, Path)).Expect(200);

        Assert.Null((await api.Subscription("acme")).String("kept_by"));
        Assert.Equal("active", (await api.Put(Path, new { plan = "pro-learn", interval = "month", payment_method = "pm_card_visa" }, "k2")).Expect(200).String("status"));
        Assert.Single(api.Sandbox.All("charge"));
    }

    [Theory]
    [InlineData("pm_card_visa_chargeDeclined")]
    [InlineData("pm_card_chargeCustomerFail")]
    public async Task C7_a_declined_card_is_a_clear_error_and_leaves_no_subscription(string card)
    {
        await using var api = await Shop();

        // As often as it is sent.
        foreach (var _ in (int[])[1, 2])
            (await api.Put(Path, new { plan = "pro-learn", interval = "month", payment_method = card }, "k1")).ExpectProblem(402, "payment_failed", "Your card was declined.");

        await api.Settle();
        Assert.Empty(api.Sandbox.All("subscription"));
        Assert.Equal(("explorer", "none"), (await api.Subscription("acme") is var s ? (s.String("plan"), s.String("status")) : default));
        (await api.Put(Path, new { plan = "pro-learn", interval = "month", payment_method = "pm_card_visa" }, "k1")).ExpectProblem(409, "command_id_reused", "(k1)");
        Assert.Equal("pro-learn", (await api.Put(Path, new { plan = "pro-learn", interval = "month", payment_method = "pm_card_visa" }, "k2")).Expect(200).String("plan"));
    }

    [Fact]
    public async Task an_upgrade_whose_payment_is_declined_changes_nothing_and_one_that_the_bank_asks_about_waits()
    {
        await using var api = await Shop();
        await Start(api, "community-pro", "month");
        (await api.Put(Path, new { payment_method = "pm_card_chargeCustomerFail" })).Expect(200);
        await api.Settle();
        var before = await api.Subscription("acme");

        (await api.Put(Path, new { plan = "pro-learn", interval = "month", proration = "invoice_now" }, "k1")).ExpectProblem(402, "payment_failed", "declined");
        await api.Settle();
        Assert.Equal(before.Text, (await api.Subscription("acme")).Text);
        Assert.Equal(1_800, (long)Assert.Single(Items(api))!["price"]!["unit_amount"]!);

        (await api.Put(Path, new { payment_method = "pm_card_authenticationRequired" })).Expect(200);
        var waits = (await api.Put(Path, new { plan = "pro-learn", interval = "month", proration = "invoice_now" }, "k2")).Expect(200);
        Assert.Equal(("community-pro", "confirm_payment"), (waits.String("plan"), waits.String("next")));
        var secret = waits.String("client_secret")!;
        await api.AdvanceTo("2026-11-20T10:01:00Z");
        api.Sandbox.Authenticate(secret[..secret.IndexOf("_secret", StringComparison.Ordinal)]);
        await api.Settle();
        Assert.Equal("pro-learn", (await api.Subscription("acme")).String("plan"));
    }

    [Fact]
    public async Task a_downgrade_waits_for_the_period_end_is_shown_and_can_be_taken_back()
    {
        await using var api = await Shop("summarizer");
        await Start(api, "pro", "month");

        var waits = (await api.Put(Path, new { plan = "starter", interval = "month" }, "k1")).Expect(200);
        Assert.Equal(("pro", "starter", "2026-12-20T10:00:00Z"), (waits.String("plan"), waits.String("scheduled.plan"), waits.String("scheduled.at")));
        await api.Settle();
        Assert.Equal("starter", (await api.Subscription("acme")).String("scheduled.plan"));
        Assert.Null((await api.Post($"{Path}/reactivate")).Expect(200)["scheduled"]);
        Assert.Equal("released", Text(Assert.Single(api.Sandbox.All("subscription_schedule")), "status"));

        (await api.Put(Path, new { plan = "starter", interval = "month" }, "k2")).Expect(200);
        // A change of mind: what waits is another plan now, and then an upgrade at once takes its place.
        Assert.Equal("starter", (await api.Subscription("acme")).String("scheduled.plan"));
        var up = (await api.Put(Path, new { plan = "enterprise", interval = "month" }, "k3")).Expect(200);
        Assert.Equal(("enterprise", true), (up.String("plan"), up["scheduled"] is null));

        (await api.Put(Path, new { plan = "starter", interval = "month" }, "k4")).Expect(200);
        // To cancel takes the change back.
        var cancelled = (await api.Send(HttpMethod.Delete, Path)).Expect(200);
        Assert.True(cancelled.True("cancel_at_period_end") && cancelled["scheduled"] is null);
        (await api.Post($"{Path}/reactivate")).Expect(200);
        (await api.Put(Path, new { plan = "starter", interval = "month" }, "k5")).Expect(200);
        await api.AdvanceTo("2026-12-20T12:00:00Z");

        var after = await api.Subscription("acme");
        Assert.Equal(("starter", "active", true), (after.String("plan"), after.String("status"), after["scheduled"] is null));
        Assert.Equal(100_000, (await api.Check("acme", "characters")).Number("limit"));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task another_interval_begins_a_new_period_and_is_charged_for_at_once()
    {
        await using var api = await Shop();
        await Start(api, "community-pro", "month");
        await api.AdvanceTo("2026-12-05T10:00:00Z");
        var preview = (await api.Post($"{Path}/preview", new { plan = "community-pro", interval = "year" })).Expect(200);

        var changed = (await api.Put(Path, new { plan = "community-pro", interval = "year", proration_date = preview.String("proration_date") }, "k1")).Expect(200);

        Assert.Equal(("year", "2026-12-05T10:00:00Z", "2027-12-05T10:00:00Z"), (changed.String("interval"), changed.String("period.start"), changed.String("period.end")));
        var invoice = api.Sandbox.All("invoice")[^1];
        Assert.Equal(19_440 - 900, (long)invoice["amount_paid"]!, 2.0);
        Assert.Equal((long)preview.Number("amount.amount"), (long)invoice["amount_due"]!);
    }

    [Fact]
    public async Task paused_it_gives_no_access_and_costs_nothing_until_it_is_resumed()
    {
        await using var api = await Shop();
        await Start(api, "pro-learn", "month");

        var paused = (await api.Post($"{Path}/pause")).Expect(200);
        Assert.Equal(("explorer", "paused", "resume"), (paused.String("plan"), paused.String("status"), paused.String("next")));
        (await api.Post($"{Path}/pause")).ExpectProblem(409, "subscription_state_conflict", "Only an active");
        await api.AdvanceTo("2026-12-21T10:00:00Z");
        Assert.Equal(["paid", "void"], api.Sandbox.All("invoice").Select(i => Text(i, "status")));

        var resumed = (await api.Post($"{Path}/resume")).Expect(200);
        Assert.Equal(("pro-learn", "active", "none"), (resumed.String("plan"), resumed.String("status"), resumed.String("next")));
        await api.Settle();
        Assert.Equal("pro-learn", (await api.Subscription("acme")).String("plan"));
    }

    [Theory]
    [InlineData("period_end", "active")]
    [InlineData("now", "canceled")]
    public async Task D6_cancelling_at_stripe_is_now_or_at_the_period_end(string at, string status)
    {
        await using var api = await Shop("quantum");
        await Start(api, "professional", "month");

        var cancelled = (await api.Send(HttpMethod.Delete, $"{Path}?at={at}")).Expect(200);

        Assert.Equal(status, cancelled.String("status"));
        Assert.Equal(status, Text(Assert.Single(api.Sandbox.All("subscription")), "status"));
        await api.AdvanceTo("2026-12-21T10:00:00Z");
        Assert.Equal(("free", "canceled"), (await api.Subscription("acme") is var s ? (s.String("plan"), s.String("status")) : default));
        Assert.Single(api.Sandbox.All("charge"));
    }

    [Fact]
    public async Task a_double_click_with_one_key_or_with_two_makes_one_subscription_and_one_charge()
    {
        await using var api = await Shop();
        var body = new { plan = "pro-learn", interval = "month", payment_method = "pm_card_visa" };

        var answers = await Task.WhenAll(new[] { "same", "same", "other", "third" }.Select(key => api.Put(Path, body, key)));

        Assert.All(answers, a => Assert.Equal(("pro-learn", "active"), (a.Expect(200).String("plan"), a.String("status"))));
        Assert.Single(api.Sandbox.All("subscription"));
        Assert.Single(api.Sandbox.All("customer"));
        Assert.Single(api.Sandbox.All("charge"));

        var upgrades = await Task.WhenAll(new[] { "a", "a", "b" }.Select(key => api.Put(Path, new { plan = "pro-learn", interval = "year" }, key)));
        Assert.All(upgrades, a => Assert.Equal("year", a.Expect(200).String("interval")));
        Assert.Equal(2, api.Sandbox.All("charge").Count);
        (await api.Put(Path, new { plan = "community-pro", interval = "year" }, "a")).ExpectProblem(409, "command_id_reused", "(a)");
    }

    [Theory]
    [InlineData("POST /v1/customers")]
    [InlineData("POST /v1/payment_methods")]
    [InlineData("POST /v1/subscriptions")]
    public async Task an_answer_that_is_lost_at_any_step_doubles_nothing(string step)
    {
        await using var api = await Shop();
        var body = new { plan = "pro-learn", interval = "month", payment_method = "pm_card_visa" };
        // As often as the gateway tries: the caller has no answer either.
        for (var i = 0; i < 5; i++) api.Sandbox.Misbehaviour.Next(Fault.LostAnswer, step);

        (await api.Put(Path, body, "k1")).Expect(503);
        // The event of what was done may come before the repeat.
        await api.Settle();
        var started = (await api.Put(Path, body, "k1")).Expect(200);

        Assert.Equal(("pro-learn", "active"), (started.String("plan"), started.String("status")));
        Assert.True((await api.Put(Path, body, "k1")).Expect(200).Headers.ContainsKey("Idempotency-Replayed"));
        Assert.Equal((1, 1, 1), (api.Sandbox.All("subscription").Count, api.Sandbox.All("customer").Count, api.Sandbox.All("charge").Count));
        Assert.NotNull(Text(api.Sandbox.All("customer")[0], "invoice_settings", "default_payment_method"));
    }

    [Fact]
    public async Task an_upgrade_whose_answer_was_lost_is_charged_once()
    {
        await using var api = await Shop();
        await Start(api, "community-pro", "month");
        var body = new { plan = "pro-learn", interval = "month", proration = "invoice_now" };
        for (var i = 0; i < 5; i++) api.Sandbox.Misbehaviour.Next(Fault.LostAnswer, "POST /v1/subscriptions/");

        (await api.Put(Path, body, "k1")).Expect(503);
        await api.Settle();

        Assert.Equal("pro-learn", (await api.Put(Path, body, "k1")).Expect(200).String("plan"));
        Assert.Equal(2, api.Sandbox.All("charge").Count);
    }

    [Fact]
    public async Task what_stripe_does_not_sell_and_what_it_cannot_charge_is_refused()
    {
        await using var api = await TestApi.StartWithStripe("learning-community");
        await api.Open("acme");
        var price = api.Sandbox.All("price").Single(p => Text(p, "lookup_key") == "pro-learn-month");
        await Ask(api, $"/v1/prices/{Text(price, "id")}", "active=false");
        (await api.Put(Path, new { plan = "pro-learn", interval = "month", payment_method = "pm_card_visa" }, "k1")).ExpectProblem(503, "stripe_not_configured", "pro-learn-month");
        (await api.Put(Path, new { plan = "pro-learn", interval = "month", payment_method = "nonsense" }, "k2")).ExpectProblem(400, "invalid_field", "pm_1Abc", "payment_method");
        (await api.Put(Path, new { plan = "pro-learn", interval = "month", billing_period = "yearly", payment_method = "pm_card_visa" }, "k3")).ExpectProblem(400, "invalid_field", "one of them", "billing_period");
        (await api.Put(Path, new { plan = "creator-mentor", interval = "month", payment_method = "pm_card_visa" }, "k4")).Expect(400);
        (await api.Put(Path, new { payment_method = "pm_card_visa" }, "k5")).ExpectProblem(409, "no_subscription", "no subscription");
        // An operator may still have the ledger keep one.
        Assert.Equal("ledger", (await api.Put(Path, new { plan = "pro-learn", interval = "month", payment_method = true })).Expect(200).String("kept_by"));
        (await api.Put(Path, new { payment_method = "pm_card_visa" }, "k6")).ExpectProblem(400, "invalid_field", "ledger keeps", "payment_method");
        (await api.Put(Path, new { plan = "pro-learn", interval = "month", quantity = 2 }, "k7")).ExpectProblem(400, "invalid_field", "at Stripe", "quantity");
    }

    // ---- money back

    [Fact]
    public async Task C15_a_subscription_is_refunded_within_seven_days_and_later_only_when_an_operator_overrides()
    {
        const string refunds = "/v1/organizations/acme/refunds";
        await using var api = await Shop();
        using var acme = await api.ClientOf("acme");
        await Start(api, "pro-learn", "month");
        var invoice = Text(Assert.Single(api.Sandbox.All("invoice")), "id");
        var payment = Text(Assert.Single(api.Sandbox.All("payment_intent")), "id");
        (await api.Post(refunds, new { invoice, reason = "asked for" }, by: acme)).ExpectProblem(403, "operator_only", "operator");
        (await api.Post(refunds, new { reason = "asked for" })).ExpectProblem(400, "missing_field", "payment", "payment");
        (await api.Post(refunds, new { invoice })).ExpectProblem(400, "missing_field", "why", "reason");
        (await api.Post(refunds, new { payment = "pi_other", reason = "asked for" })).ExpectProblem(404, "payment_unknown", "pi_other", "payment");

        // Seven days to the second.
        await api.AdvanceTo("2026-11-27T10:00:00Z");
        var refund = (await api.Post(refunds, new { invoice, amount = 1_000, reason = "asked for" }, "r1")).Expect(201);
        Assert.Equal(("succeeded", 1_000, payment, "none"), (refund.String("status"), refund.Number("amount.amount"), refund.String("payment"), refund.String("next")));
        Assert.Equal(refund.String("id"), (await api.Post(refunds, new { invoice, amount = 1_000, reason = "asked for" }, "r1")).Expect(201).String("id"));
        await api.AdvanceTo("2026-11-27T10:00:01Z");
        (await api.Post(refunds, new { payment, reason = "asked for" })).ExpectProblem(409, "refund_outside_policy", "within 7 days", "override");
        Assert.Equal(2_500, (await api.Post(refunds, new { payment, reason = "a promise was made", @override = true })).Expect(201).Number("amount.amount"));

        var listed = (await api.Get(refunds)).Expect(200)["refunds"]!.AsArray();
        Assert.Equal([2_500, 1_000], listed.Select(r => (long)r!["amount"]!["amount"]!));
        Assert.Equal("a promise was made", (string?)listed[0]!["reason"]);
        Assert.Equal(2, api.Sandbox.All("refund").Count);
    }

    [Fact]
    public async Task C15_tokens_are_not_refunded_unless_an_operator_overrides()
    {
        const string refunds = "/v1/organizations/acme/refunds";
        await using var api = await Shop();
        await Start(api, "pro-learn", "month");
        var customer = Text(Assert.Single(api.Sandbox.All("customer")), "id");
        await Ask(api, "/v1/payment_intents", $"amount=500&currency=usd&customer={customer}&payment_method={Text(Assert.Single(api.Sandbox.All("subscription")), "default_payment_method")}&confirm=true&off_session=true&metadata[token_package]=starter&metadata[organization_id]=acme");
        var payment = Text(api.Sandbox.All("payment_intent")[^1], "id");

        (await api.Post(refunds, new { payment, reason = "asked for" })).ExpectProblem(409, "refund_outside_policy", "Tokens are not given back", "override");
        Assert.Equal("succeeded", (await api.Post(refunds, new { payment, reason = "a promise was made", @override = true })).Expect(201).String("status"));
    }

    // ---- the shop

    /// <summary>The service beside a Stripe, and one organization.</summary>
    private static async Task<TestApi> Shop(string catalog = "learning-community")
    {
        var api = await TestApi.StartWithStripe(catalog);
        await api.Open("acme");
        return api;
    }

    /// <summary>An active subscription, paid for by a card that works.</summary>
    private static async Task<Answer> Start(TestApi api, string plan, string interval)
    {
        var started = (await api.Put(Path, new { plan, interval, payment_method = "pm_card_visa", trial = false }, "start")).Expect(200);
        Assert.Equal("active", started.String("status"));
        return started;
    }

    private static async Task Ask(TestApi api, string path, string form)
    {
        using var http = new HttpClient { BaseAddress = new Uri(api.Sandbox.Url) };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", api.Sandbox.ApiKey);
        using var content = new StringContent(form, new MediaTypeHeaderValue("application/x-www-form-urlencoded"));
        using var answer = await http.PostAsync(path, content);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
    }

    private static JsonArray Items(TestApi api) => Assert.Single(api.Sandbox.All("subscription"))["items"]!["data"]!.AsArray();

    private static string? Text(JsonNode json, params ReadOnlySpan<string> path)
    {
        JsonNode? at = json;
        foreach (var name in path) at = at?[name];
        return (string?)at;
    }
}
