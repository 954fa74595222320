using System.Globalization;
using System.Text.Json.Nodes;
using Billing.Api.Stripe;
using Billing.Tests.Api;
using NodaTime;

namespace Billing.Tests.Stripe;

/// <summary>Stripe's events: stored, applied by workers, tried again, given up, replayed.</summary>
public sealed class InboxTests
{
    private static readonly int Flood = int.Parse(Environment.GetEnvironmentVariable("WEBHOOK_FLOOD") ?? "2000", CultureInfo.InvariantCulture);

    // ---- stored, then applied

    [Fact]
    public async Task what_was_stored_and_not_applied_is_applied_after_a_restart()
    {
        var api = await TestApi.Start("learning-community");
        try
        {
            await api.Open("acme");
            (await api.Deliver(Purchase("acme", "pi_1"))).Expect(200);
            Assert.Equal(("pending", 0L), (await State(api, "acme"), await Balance(api, "acme")));

            api = await api.Restart();
            await api.RunStripeWork();

            Assert.Equal(("applied", 100_000L), (await State(api, "acme"), await Balance(api, "acme")));
        }
        finally
        {
            await api.DisposeAsync();
        }
    }

    [Fact]
    public async Task an_event_that_cannot_be_applied_holds_up_none_of_the_others()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await api.Deliver(StripeFixture.Event("customer.subscription.updated", StripeFixture.Subscription(
            "sub_1", "cus_1", "no-such-price", "active", api.Clock.Now, api.Clock.Now, api.Clock.Now + Duration.FromDays(30), "acme"), api.Clock.Now, "evt_poison"))).Expect(200);
        (await api.Deliver(Purchase("acme", "pi_1"))).Expect(200);
        await api.RunStripeWork();

        Assert.Equal(100_000, await Balance(api, "acme"));
        var poison = (await api.Get("/v1/stripe/events/evt_poison")).Expect(200);
        Assert.Equal(("failed", "acme", 0m), (poison.String("state"), poison.String("organization"), poison.Number("attempts")));
        Assert.Contains("No price of it is in the catalog", poison.String("detail"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task a_flood_with_repeats_loses_nothing_and_applies_nothing_twice_and_checks_stay_right()
    {
        await using var api = await TestApi.Start("learning-community");
        string[] organizations = [.. Enumerable.Range(0, 20).Select(i => $"org-{i}")];
        foreach (var organization in organizations) await api.Open(organization);
        var events = Enumerable.Range(0, Flood).Select(i => Purchase(organizations[i % organizations.Length], $"pi_{i}")).ToList();
        var random = new Random(1);
        var sent = events.Concat(events.Where(_ => random.Next(10) == 0)).ToArray();
        random.Shuffle(sent);

        using var done = new CancellationTokenSource();
        var working = Task.Run(async () =>
        {
            while (!done.IsCancellationRequested) await api.RunStripeWork();
        });
        await Parallel.ForEachAsync(sent.Select((e, i) => (Event: e, Turn: i)), new ParallelOptions { MaxDegreeOfParallelism = 16 }, async (e, _) =>
        {
            (await api.Deliver(e.Event)).Expect(200);
            // Tokens come after the allowance: three for life.
            if (e.Turn % 50 == 0) Assert.Equal(3, (await api.Check(organizations[e.Turn % organizations.Length], "ai_requests")).Expect(200).Number("limit"));
        });
        await done.CancelAsync();
        await working;
        await api.RunStripeWork();

        long total = 0;
        foreach (var organization in organizations) total += await Balance(api, organization);
        Assert.Equal(100_000L * Flood, total);
        Assert.Empty((await api.Get("/v1/stripe/events?state=pending")).Expect(200)["items"]!.AsArray());
        await api.VerifyLedger(organizations[0]);
    }

    // ---- what may pass, and what does not

    [Fact]
    public async Task while_stripe_is_away_an_event_that_needs_it_waits_longer_and_longer_and_is_applied_when_it_is_back()
    {
        await using var api = await TestApi.StartWithStripe("learning-community");
        using var stripe = new AtStripe(api);
        await api.Open("acme");
        var payment = await Paid(api, stripe);
        (await stripe.Post("/v1/refunds", $"payment_intent={payment}")).Ok();
        api.Sandbox.Misbehaviour.ServerErrors = 1;
        await api.Settle();

        var waiting = (await api.Get("/v1/stripe/events?type=charge.refunded")).Expect(200)["items"]!.AsArray().Single()!;
        Assert.Equal(("pending", 1), ((string?)waiting["state"], (int)waiting["attempts"]!));
        Assert.Equal("2026-11-20T10:00:05Z", (string?)waiting["next_try_at"]);
        Assert.Contains($"Try 1 of {InboxWorker.MaxAttempts} failed", (string?)waiting["detail"], StringComparison.Ordinal);
        Assert.Equal(100_000, await Balance(api, "acme"));

        api.Sandbox.Misbehaviour.Stop();
        await api.RunStripeWork();
        Assert.Equal(100_000, await Balance(api, "acme"));
        api.Clock.Advance(Duration.FromSeconds(5));
        await api.RunStripeWork();
        Assert.Equal(0, await Balance(api, "acme"));
    }

    [Theory]
    [InlineData(1, 5)]
    [InlineData(2, 10)]
    [InlineData(7, 320)]
    [InlineData(8, 600)]
    [InlineData(49, 600)]
    public void waits_double_up_to_ten_minutes(int attempts, int seconds) => Assert.Equal(Duration.FromSeconds(seconds), InboxWorker.Delay(attempts));

    [Fact]
    public async Task what_never_works_is_given_up_with_its_reason_and_an_operator_replays_it()
    {
        await using var api = await TestApi.StartWithStripe("learning-community");
        using var stripe = new AtStripe(api);
        await api.Open("acme");
        var payment = await Paid(api, stripe);
        (await stripe.Post("/v1/refunds", $"payment_intent={payment}")).Ok();
        api.Sandbox.Misbehaviour.ServerErrors = 1;
        await api.Settle();
        for (var i = 1; i < InboxWorker.MaxAttempts; i++)
        {
            api.Clock.Advance(InboxWorker.LongestDelay);
            await api.RunStripeWork();
        }

        var dead = (await api.Get("/v1/stripe/events?state=failed&type=charge.")).Expect(200)["items"]!.AsArray().Single()!;
        Assert.StartsWith($"Given up after {InboxWorker.MaxAttempts} tries.", (string?)dead["detail"], StringComparison.Ordinal);
        api.Sandbox.Misbehaviour.Stop();
        Assert.Equal("applied", (await api.Post($"/v1/stripe/events/{dead["id"]}/replay")).Expect(200).String("state"));
        Assert.Equal(0, await Balance(api, "acme"));
    }

    // ---- what is counted, and shown

    [Fact]
    public async Task what_has_no_effect_is_counted_with_its_organization_and_a_sentence()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Stripe("checkout.session.expired", StripeFixture.TokenSession("cs_1", "acme", "starter", null, 500, "unpaid"));

        var counted = (await api.Get("/v1/stripe/events?state=ignored&organization=acme&type=checkout.session.expired")).Expect(200)["items"]!.AsArray().Single()!;
        Assert.Equal("The checkout was not finished in time.", (string?)counted["detail"]);
        Assert.Empty((await api.Get("/v1/stripe/events?organization=globex")).Expect(200)["items"]!.AsArray());
        Assert.Equal("cs_1", (await api.Get($"/v1/stripe/events/{counted["id"]}")).Expect(200).String("payload.data.object.id"));
        (await api.Get("/v1/stripe/events/evt_none")).ExpectProblem(404, "not_found", "There is no event 'evt_none'.");
    }

    // ---- money back

    [Fact]
    public async Task a_refund_that_is_heard_of_before_its_purchase_still_takes_the_tokens_back()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Stripe("refund.created", Refund("re_1", 200, "succeeded"));
        await api.Stripe("charge.refunded", Charge(200));
        Assert.Equal(0, await Balance(api, "acme"));

        (await api.Webhook(Purchase("acme", "pi_1"))).Expect(200);

        Assert.Equal(60_000, await Balance(api, "acme"));
    }

    [Fact]
    public async Task without_a_key_refunds_and_disputes_come_to_the_same_in_any_order()
    {
        await using var api = await TestApi.Start("learning-community");
        var at = api.Clock.Now;
        for (var run = 0; run < 20; run++)
        {
            var (organization, payment) = ($"org-{run}", $"pi_{run}");
            await api.Open(organization);
            // 100 and 150 are given back, of which 150 fails; a dispute over 50 is lost, and one over 200 is won.
            JsonObject[] events =
            [
                Purchase(organization, payment),
                At(1, "refund.created", Refund("re_1", 100, "succeeded")), At(1, "charge.refunded", Charge(100)),
                At(2, "refund.created", Refund("re_2", 150, "succeeded")), At(2, "charge.refunded", Charge(250)),
                At(200, "refund.updated", Refund("re_2", 150, "failed")), At(200, "refund.failed", Refund("re_2", 150, "failed")),
                At(3, "charge.dispute.created", Dispute("dp_1", 50, "needs_response")), At(9, "charge.dispute.closed", Dispute("dp_1", 50, "lost")),
                At(4, "charge.dispute.created", Dispute("dp_2", 200, "needs_response")), At(8, "charge.dispute.closed", Dispute("dp_2", 200, "won")),
            ];
            if (run > 0) new Random(run).Shuffle(events);
            foreach (var e in events) (await api.Webhook(e)).Expect(200);

            Assert.True(await Balance(api, organization) == 70_000, $"Run {run}: {await Balance(api, organization)} in the order {string.Join(", ", events.Select(e => e["type"]))}");

            JsonObject At(int seconds, string type, JsonObject o)
            {
                o["payment_intent"] = payment;
                o["id"] = $"{o["id"]}_{run}";
                return StripeFixture.Event(type, o, at + Duration.FromSeconds(seconds));
            }
        }
    }

    [Fact]
    public async Task C15_refunds_and_disputes_at_stripe_take_tokens_back_and_a_failed_refund_and_a_won_dispute_give_them_back()
    {
        await using var api = await TestApi.StartWithStripe("learning-community");
        using var stripe = new AtStripe(api);
        await api.Open("acme");
        var payment = await Paid(api, stripe);

        var dispute = api.Sandbox.Dispute(payment);
        await api.Settle();
        Assert.Equal(0, await Balance(api, "acme"));
        api.Sandbox.CloseDispute(dispute, "won");
        await api.Settle();
        Assert.Equal(100_000, await Balance(api, "acme"));

        (await stripe.Post("/v1/refunds", $"payment_intent={payment}", "amount=100")).Ok();
        await api.Settle();
        Assert.Equal(80_000, await Balance(api, "acme"));
        await stripe.ResendAll();
        Assert.Equal(80_000, await Balance(api, "acme"));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task a_refund_that_fails_later_gives_the_tokens_back()
    {
        await using var api = await TestApi.StartWithStripe("learning-community");
        using var stripe = new AtStripe(api);
        await api.Open("acme");
        var payment = await Paid(api, stripe, "pm_card_refundFail");
        (await stripe.Post("/v1/refunds", $"payment_intent={payment}")).Ok();
        await api.Settle();
        Assert.Equal(0, await Balance(api, "acme"));

        await api.AdvanceTo("2026-11-20T11:00:00Z");

        Assert.Equal(100_000, await Balance(api, "acme"));
    }

    // ---- subscriptions

    [Fact]
    public async Task of_two_changes_in_one_second_the_one_that_is_true_at_stripe_stands_in_either_order()
    {
        await using var api = await TestApi.StartWithStripe("learning-community");
        using var stripe = new AtStripe(api);
        await api.Open("acme");
        var subscription = await stripe.Subscribe("acme", await stripe.Customer("acme"), "community-pro-month");
        foreach (var price in (string[])["pro-learn-month", "community-pro-month", "pro-learn-month"])
            (await stripe.Post($"/v1/subscriptions/{subscription.Id}", $"items[0][id]={subscription.Text("items.data.0.id")}", $"items[0][price]={await stripe.Price(price)}")).Ok();
        await api.Settle();
        Assert.Equal("pro-learn", (await api.Subscription("acme")).String("plan"));

        var changes = (await api.Ledger("acme", "subscription-changed")).Count;
        await stripe.ResendAll();
        Assert.Equal("pro-learn", (await api.Subscription("acme")).String("plan"));
        Assert.Equal(changes, (await api.Ledger("acme", "subscription-changed")).Count);
    }

    [Fact]
    public async Task B4_a_voided_invoice_is_not_owed_any_more_and_one_given_up_is()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var subscription = await api.Subscribe("acme", "community-pro-month", "2026-12-20T10:00:00Z");
        var id = (string)subscription["id"]!;
        await api.Stripe("customer.subscription.updated", subscription.With(("status", "past_due")));
        var invoice = StripeFixture.Invoice("in_void", "cus_acme", id, 1_800, 1, paid: false);
        await api.Stripe("invoice.payment_failed", invoice);
        await api.Stripe("invoice.marked_uncollectible", invoice.With(("status", "uncollectible")));
        api.Clock.Advance(Duration.FromDays(4));
        Assert.Equal("explorer", (await api.Subscription("acme")).String("plan"));

        await api.Stripe("invoice.voided", invoice.With(("status", "void")));
        await api.Stripe("invoice.payment_failed", invoice.With(("attempt_count", 2)));

        var after = await api.Subscription("acme");
        Assert.Equal(("community-pro", "void"), (after.String("plan"), after.String("payments.0.status")));
        await api.VerifyLedger("acme");
    }

    // ---- invoices

    [Fact]
    public async Task B5_stripes_invoices_are_shown_with_their_lines_links_and_dates()
    {
        await using var api = await TestApi.StartWithStripe("learning-community");
        using var stripe = new AtStripe(api);
        await api.Open("acme");
        await stripe.Subscribe("acme", await stripe.Customer("acme"), "community-pro-month");
        await api.Settle();
        await api.AdvanceTo("2026-12-20T12:00:00Z");

        var listed = (await api.Get("/v1/organizations/acme/invoices")).Expect(200)["items"]!.AsArray();
        Assert.Equal(["subscription_cycle", "subscription_create"], listed.Select(i => (string?)i!["billing_reason"]));
        Assert.All(listed, i => Assert.Equal(("stripe", "paid", 1_800), ((string?)i!["source"], (string?)i["status"], (int)i["amount_paid"]!["amount"]!)));
        var one = (await api.Get($"/v1/organizations/acme/invoices/{listed[1]!["id"]}")).Expect(200);
        Assert.Equal(("base", 1_800m), (one.String("lines.0.kind"), one.Number("lines.0.amount.amount")));
        Assert.StartsWith("http", one.String("hosted_url"), StringComparison.Ordinal);
        Assert.StartsWith("http", one.String("pdf_url"), StringComparison.Ordinal);
        Assert.NotNull(one.String("settled_at"));

        var first = (await api.Get("/v1/organizations/acme/invoices?limit=1")).Expect(200);
        Assert.Equal(listed.Select(i => (string?)i!["id"]), (await api.List("/v1/organizations/acme/invoices?limit=1")).Select(i => (string?)i["id"]));
        Assert.Equal((string?)listed[0]!["id"], first.String("items.0.id"));
        (await api.Get("/v1/organizations/acme/invoices?cursor=nonsense")).ExpectProblem(400, "invalid_parameter", "This cursor is not one of ours.");

        await stripe.ResendAll();
        Assert.Equal(listed.ToJsonString(), (await api.Get("/v1/organizations/acme/invoices")).Expect(200)["items"]!.ToJsonString());
    }

    // ---- what the tests say often

    private static JsonObject Purchase(string organization, string payment) => StripeFixture.Event("payment_intent.succeeded",
        StripeFixture.PaymentIntent(payment, 500, organization, "starter", $"cus_{organization}"), TestApi.Time("2026-11-20T09:59:00Z"), $"evt_{payment}");

    private static JsonObject Refund(string id, long amount, string status) => new()
    {
        ["id"] = id, ["object"] = "refund", ["amount"] = amount, ["currency"] = "usd", ["status"] = status, ["charge"] = "ch_1", ["payment_intent"] = "pi_1", ["metadata"] = new JsonObject(),
    };

    private static JsonObject Charge(long refunded) => new()
    {
        ["id"] = "ch_1", ["object"] = "charge", ["amount"] = 500, ["amount_refunded"] = refunded, ["currency"] = "usd", ["payment_intent"] = "pi_1", ["metadata"] = new JsonObject(),
    };

    private static JsonObject Dispute(string id, long amount, string status) => new()
    {
        ["id"] = id, ["object"] = "dispute", ["amount"] = amount, ["currency"] = "usd", ["status"] = status, ["charge"] = "ch_1", ["payment_intent"] = "pi_1", ["metadata"] = new JsonObject(),
    };

    /// <summary>Tokens were bought at Stripe, and the ledger has heard of it.</summary>
    private static async Task<string> Paid(TestApi api, AtStripe stripe, string method = "pm_card_visa")
    {
        var payment = (await stripe.Post("/v1/payment_intents", "amount=500", "currency=usd", $"payment_method={method}", "confirm=true",
            "metadata[organization_id]=acme", "metadata[token_package]=starter")).Ok().Id;
        await api.Settle();
        Assert.Equal(100_000, await Balance(api, "acme"));
        return payment;
    }

    private static async Task<long> Balance(TestApi api, string organization) => (long)(await api.Get($"/v1/organizations/{organization}/tokens")).Expect(200).Number("balance");

    private static async Task<string?> State(TestApi api, string organization) =>
        (string?)(await api.Get($"/v1/stripe/events?organization={organization}")).Expect(200)["items"]!.AsArray().Single()!["state"];
}
