using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Billing.Tests.Api;

namespace Billing.Tests.Stripe;

/// <summary>The ledger against Stripe: what differs is found, explained and repaired, and is no more the second time.</summary>
public sealed class ReconciliationTests
{
    private static async Task<Answer> Reconcile(TestApi api, bool repair = false, string organization = "acme") =>
        (await api.Send(HttpMethod.Post, $"/v1/organizations/{organization}/reconcile", new { repair })).Expect(200);

    private static IEnumerable<JsonNode> Differences(Answer reconciled) => reconciled["differences"]!.AsArray().Select(d => d!);

    /// <summary>As <c>kind.field: ledger / stripe</c>.</summary>
    private static string[] Told(Answer reconciled) => [.. Differences(reconciled).Select(d => $"{d["kind"]}.{d["field"]}: {d["ledger"]?.ToString() ?? "-"} / {d["stripe"]?.ToString() ?? "-"}")];

    /// <summary>It is repaired, the second run finds nothing, and whatever webhook comes late changes nothing.</summary>
    private static async Task RepairedForGood(TestApi api, AtStripe stripe)
    {
        var repaired = await Reconcile(api, repair: true);
        Assert.All(Differences(repaired), d => Assert.True(d["repaired"]!.GetValue<bool>(), d.ToJsonString()));
        Assert.Equal(repaired["differences"]!.AsArray().Count, repaired.Number("repaired"));
        Assert.Empty(Told(await Reconcile(api)));
        var before = await Content(api);

        await stripe.ResendAll();

        Assert.Equal(before, await Content(api));
        Assert.Empty(Told(await Reconcile(api)));
        await api.VerifyLedger("acme");
    }

    /// <summary>What the organization has: its subscription, entitlements and tokens.</summary>
    private static async Task<string> Content(TestApi api, string organization = "acme")
    {
        var texts = new List<string>();
        foreach (var part in (string[])["subscription", "entitlements", "tokens", "invoices"]) texts.Add((await api.Get($"/v1/organizations/{organization}/{part}")).Expect(200).Text);
        // The version is in a denial's id.
        return Regex.Replace(string.Join('\n', texts), @"""id"":""dn_[^""]+""", "");
    }

    private static async Task<(TestApi Api, AtStripe Stripe, string Customer)> Start(params string[] args)
    {
        var api = await TestApi.StartWithStripe("learning-community", seed: 1, args: args);
        await api.Open("acme");
        var stripe = new AtStripe(api);
        var customer = await stripe.Customer("acme");
        return (api, stripe, customer);
    }

    [Fact]
    public async Task where_all_webhooks_came_there_is_no_difference()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        await stripe.Subscribe("acme", customer, "community-pro-month");
        await stripe.BuyTokens("acme", customer, "starter", 500);
        await api.Settle();

        var reconciled = await Reconcile(api);

        Assert.Empty(Told(reconciled));
        Assert.Equal((1, 1, 1, 1), (reconciled.Number("checked.customers"), reconciled.Number("checked.subscriptions"), reconciled.Number("checked.invoices"), reconciled.Number("checked.payments")));
        Assert.True(reconciled.Number("checked.events") >= 3);
    }

    [Fact]
    public async Task C12_a_subscription_whose_webhooks_were_all_lost_is_found_and_repaired()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        api.Sandbox.Misbehaviour.Lose = 1;
        await stripe.Subscribe("acme", customer, "community-pro-month");
        await api.Settle();
        api.Sandbox.Misbehaviour.Stop();

        var found = await Reconcile(api);

        Assert.Equal(["customer.linked: no / yes", "subscription.subscription: - / community-pro (month), active", "invoice.kept: - / paid, 18.00 usd", "invoice.paid: - / yes, 18.00 usd"], Told(found));
        Assert.All(Differences(found), d => Assert.False(d["repaired"]!.GetValue<bool>()));
        Assert.Contains("(customer.subscription.created, 2026-11-20T10:00:00Z) has not arrived yet.", Differences(found).ElementAt(1)["explained_by"]!.GetValue<string>());
        Assert.StartsWith("FollowSubscription stripe:subscription:sub_", Differences(found).ElementAt(1)["repair"]!.GetValue<string>());
        Assert.Equal("explorer", (await api.Subscription("acme")).String("plan"));

        await RepairedForGood(api, stripe);
        Assert.Equal("community-pro", (await api.Subscription("acme")).String("plan"));
    }

    [Fact]
    public async Task C12_tokens_whose_payment_was_not_told_are_granted_once()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        await stripe.Subscribe("acme", customer, "community-pro-month");
        await api.Settle();
        api.Sandbox.Misbehaviour.Lose = 1;
        await stripe.BuyTokens("acme", customer, "starter", 500);
        await api.Settle();
        api.Sandbox.Misbehaviour.Stop();

        var found = await Reconcile(api);

        Assert.Equal(["payment.grant: - / starter, 5.00 usd"], Told(found));
        Assert.Contains("(payment_intent.succeeded, 2026-11-20T10:00:00Z) has not arrived yet.", found.String("differences.0.explained_by"));
        Assert.StartsWith("PurchaseTokens stripe:payment:pi_", found.String("differences.0.repair"));
        await RepairedForGood(api, stripe);
        Assert.Equal(100_000, (await api.Get("/v1/organizations/acme/tokens")).Number("balance"));
    }

    [Fact]
    public async Task every_field_of_a_subscription_that_changed_unheard_is_named()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        var subscription = await stripe.Subscribe("acme", customer, "community-pro-month");
        await api.Settle();
        api.Sandbox.Misbehaviour.Lose = 1;
        (await stripe.Post($"/v1/subscriptions/{subscription.Id}", $"items[0][id]={subscription.Text("items.data.0.id")}", $"items[0][price]={await stripe.Price("pro-learn-month")}")).Ok();
        (await stripe.Post($"/v1/subscriptions/{subscription.Id}", "cancel_at_period_end=true")).Ok();
        await api.Settle();
        api.Sandbox.Misbehaviour.Stop();

        var found = await Reconcile(api);

        Assert.Equal(
            ["subscription.plan: community-pro / pro-learn", "subscription.cancel_at_period_end: no / yes", "subscription.cancel_at: - / 2026-12-20T10:00:00Z", "subscription.canceled_at: - / 2026-11-20T10:00:00Z"],
            Told(found));
        Assert.All(Differences(found), d => Assert.Matches(@"^evt_\w+ \(customer\.subscription\.updated, 2026-11-20T10:00:00Z\) has not arrived yet\. The ledger says otherwise since version \d+\.$", d["explained_by"]!.GetValue<string>()));
        await RepairedForGood(api, stripe);
        Assert.Equal("pro-learn", (await api.Subscription("acme")).String("plan"));
    }

    [Fact]
    public async Task an_end_that_was_not_heard_of_is_made_up_for()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        var subscription = await stripe.Subscribe("acme", customer, "community-pro-month");
        await api.Settle();
        api.Sandbox.Misbehaviour.Lose = 1;
        (await stripe.Delete($"/v1/subscriptions/{subscription.Id}")).Ok();
        await api.Settle();
        api.Sandbox.Misbehaviour.Stop();

        Assert.Contains("subscription.status: active / canceled", Told(await Reconcile(api)));
        await RepairedForGood(api, stripe);
        Assert.Equal(("explorer", "canceled"), ((await api.Subscription("acme")).String("plan"), (await api.Subscription("acme")).String("status")));
    }

    [Fact]
    public async Task failed_attempts_that_were_not_heard_of_count_from_when_they_happened()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        await stripe.Subscribe("acme", customer, "community-pro-month");
        await api.Settle();
        var failing = (await stripe.Post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", $"customer={customer}")).Ok().Id;
        (await stripe.Post($"/v1/customers/{customer}", $"invoice_settings[default_payment_method]={failing}")).Ok();
        api.Sandbox.Misbehaviour.Lose = 1;
        await api.AdvanceTo("2026-12-24T10:00:00Z");
        api.Sandbox.Misbehaviour.Stop();

        var told = Told(await Reconcile(api));

        Assert.Contains("subscription.status: active / past_due", told);
        Assert.Contains("invoice.failed_attempts: - / 1", told);
        await RepairedForGood(api, stripe);
        var payment = (await api.Subscription("acme"))["payments"]!.AsArray().Single(p => p!["status"]!.GetValue<string>() == "failed")!;
        // A draft that nobody could be told of waits three days.
        Assert.Equal("2026-12-23T10:00:00Z", payment["first_failed_at"]!.GetValue<string>());
    }

    [Fact]
    public async Task a_payment_of_longer_ago_than_stripe_keeps_events_is_found_by_itself()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        await stripe.Subscribe("acme", customer, "community-pro-year");
        await api.Settle();
        api.Sandbox.Misbehaviour.Lose = 1;
        await stripe.BuyTokens("acme", customer, "starter", 500);
        await api.Settle();
        api.Sandbox.Misbehaviour.Stop();
        await api.AdvanceTo("2026-12-25T10:00:00Z");

        var found = await Reconcile(api);

        Assert.Equal(["payment.grant: - / starter, 5.00 usd"], Told(found));
        Assert.Equal("Stripe has no event of the last 30 days about it.", found.String("differences.0.explained_by"));
        await RepairedForGood(api, stripe);
        Assert.Equal("2026-11-20T10:00:00Z", (await api.Get("/v1/organizations/acme/tokens")).String("grants.0.granted_at"));
    }

    [Fact]
    public async Task an_event_that_could_not_be_applied_is_named_with_its_reason_and_applied_once_it_can_be()
    {
        var (first, stripe, customer) = await Start();
        await using var _ = first;
        await stripe.BuyTokens("acme", customer, "gold", 5000);
        await first.Settle();

        var found = await Reconcile(first, repair: true);

        var difference = Assert.Single(Differences(found), d => d["kind"]!.GetValue<string>() == "payment");
        Assert.Matches(@"\(payment_intent\.succeeded, 2026-11-20T10:00:00Z\) could not be applied: .*gold.* It could not be repaired: .*gold", difference["explained_by"]!.GetValue<string>());
        Assert.False(difference["repaired"]!.GetValue<bool>());

        var catalog = JsonNode.Parse(File.ReadAllText(Repository.Catalog("learning-community")))!;
        catalog["token_packages"]!["gold"] = new JsonObject { ["name"] = "Gold", ["tokens"] = 7, ["prices"] = new JsonArray(new JsonObject { ["amount"] = 5000 }) };
        var path = Path.Combine(Directory.CreateTempSubdirectory("billing-").FullName, "catalog.json");
        await File.WriteAllTextAsync(path, catalog.ToJsonString());
        await using var api = await first.Restart(path);
        await RepairedForGood(api, new AtStripe(api));
        Assert.Equal(7, (await api.Get("/v1/organizations/acme/tokens")).Number("balance"));
    }

    [Fact]
    public async Task money_that_went_back_unheard_takes_its_tokens_back()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        var payment = await stripe.BuyTokens("acme", customer, "starter", 500);
        await api.Settle();
        api.Sandbox.Misbehaviour.Lose = 1;
        (await stripe.Post("/v1/refunds", $"payment_intent={payment}", "amount=200")).Ok();
        await api.Settle();
        api.Sandbox.Misbehaviour.Stop();

        var found = await Reconcile(api);

        Assert.Equal(["payment.returned: 0 tokens / 40000 tokens, 2.00 usd"], Told(found));
        Assert.Matches(@"^evt_\w+ \((charge\.refunded|refund\.\w+), 2026-11-20T10:00:00Z\) has not arrived yet\.", found.String("differences.0.explained_by"));
        await RepairedForGood(api, stripe);
        Assert.Equal(60_000, (await api.Get("/v1/organizations/acme/tokens")).Number("balance"));
    }

    [Fact]
    public async Task a_purchase_and_its_refund_that_were_both_lost_are_repaired_in_one_go()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        api.Sandbox.Misbehaviour.Lose = 1;
        var payment = await stripe.BuyTokens("acme", customer, "starter", 500);
        (await stripe.Post("/v1/refunds", $"payment_intent={payment}")).Ok();
        await api.Settle();
        api.Sandbox.Misbehaviour.Stop();

        await RepairedForGood(api, stripe);

        Assert.Equal(0, (await api.Get("/v1/organizations/acme/tokens")).Number("balance"));
    }

    [Fact]
    public async Task what_stripe_has_never_heard_of_is_named_and_nothing_is_taken_away_for_it()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        await api.Settle();
        await api.Stripe("customer.subscription.created", StripeFixture.Subscription("sub_of_another_account", customer, "pro-learn-month", "active", api.Clock.Now, api.Clock.Now, TestApi.Time("2026-12-20T10:00:00Z"), "acme"));

        var found = await Reconcile(api, repair: true);

        Assert.Equal(["subscription.subscription: pro-learn (month), active / -"], Told(found).Where(t => t.StartsWith("subscription", StringComparison.Ordinal)));
        var difference = Differences(found).Single(d => d["kind"]!.GetValue<string>() == "subscription");
        Assert.Contains("another account's", difference["explained_by"]!.GetValue<string>());
        Assert.Null(difference["repair"]);
        Assert.False(difference["repaired"]!.GetValue<bool>());
        Assert.Equal("pro-learn", (await api.Subscription("acme")).String("plan"));
    }

    [Fact]
    public async Task an_operator_asks_for_it()
    {
        await using var api = await TestApi.StartWithStripe("learning-community");
        (await api.Send(HttpMethod.Post, "/v1/organizations/nobody/reconcile", new { })).ExpectProblem(404, "organization_unknown", "nobody");
        await api.Open("acme");
        (await api.Send(HttpMethod.Post, "/v1/organizations/acme/reconcile", new { repair = true }, by: await api.ClientOf("acme"))).ExpectProblem(403, "operator_only", "operator");
        (await api.Send(HttpMethod.Post, "/v1/organizations/nobody/reconcile", new { force = true })).ExpectProblem(400, "unknown_field", "force");
    }

    [Fact]
    public async Task a_dispute_that_was_lost_and_one_that_was_won_unheard_are_repaired()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        var (kept, lost) = (await stripe.BuyTokens("acme", customer, "starter", 500), await stripe.BuyTokens("acme", customer, "starter", 500));
        var won = api.Sandbox.Dispute(kept);
        await api.Settle();
        Assert.Equal(100_000, (await api.Get("/v1/organizations/acme/tokens")).Number("balance"));
        api.Sandbox.Misbehaviour.Lose = 1;
        api.Sandbox.CloseDispute(won, "won");
        api.Sandbox.Dispute(lost);
        await api.Settle();
        api.Sandbox.Misbehaviour.Stop();

        Assert.Equal(["payment.returned: 0 tokens / 100000 tokens, 5.00 usd", "payment.returned: 100000 tokens / 0 tokens, 0.00 usd"], Told(await Reconcile(api)).Order());
        await RepairedForGood(api, stripe);
        Assert.Equal(100_000, (await api.Get("/v1/organizations/acme/tokens")).Number("balance"));
    }

    [Fact]
    public async Task an_invoice_that_was_voided_unheard_is_owed_no_more()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        await stripe.Subscribe("acme", customer, "community-pro-month");
        await api.Settle();
        var failing = (await stripe.Post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", $"customer={customer}")).Ok().Id;
        (await stripe.Post($"/v1/customers/{customer}", $"invoice_settings[default_payment_method]={failing}")).Ok();
        await api.AdvanceTo("2026-12-20T12:00:00Z");
        Assert.Equal("past_due", (await api.Subscription("acme")).String("status"));
        api.Sandbox.Misbehaviour.Lose = 1;
        (await stripe.Post($"/v1/invoices/{api.Sandbox.All("invoice")[^1]["id"]}/void")).Ok();
        await api.Settle();
        api.Sandbox.Misbehaviour.Stop();

        var told = Told(await Reconcile(api));

        Assert.Contains("invoice.voided: no / yes", told);
        Assert.Contains("invoice.kept.status: open / void", told);
        await RepairedForGood(api, stripe);
    }

    [Fact]
    public async Task what_is_still_in_the_inbox_is_said_to_be()
    {
        var (api, stripe, customer) = await Start();
        await using var _ = api;
        await api.Settle();
        await stripe.BuyTokens("acme", customer, "starter", 500);
        // It comes in, and nobody has had the time to apply it.
        await api.Sandbox.Settle();

        var found = await Reconcile(api);

        Assert.Equal(["customer.linked: no / yes", "payment.grant: - / starter, 5.00 usd"], Told(found));
        Assert.Contains("(payment_intent.succeeded, 2026-11-20T10:00:00Z) is pending in the inbox.", found.String("differences.1.explained_by"));
        await api.RunStripeWork();
        Assert.Empty(Told(await Reconcile(api)));
    }

    [Fact]
    public async Task overage_on_stripes_renewal_is_the_ledgers_to_the_cent()
    {
        await using var api = await TestApi.StartWithStripe("quantum", "2026-11-01T00:00:00Z");
        await api.Open("acme");
        using var stripe = new AtStripe(api);
        await stripe.Subscribe("acme", await stripe.Customer("acme"), "professional-month");
        await api.Settle();
        (await api.Use("acme", "quantum_jobs", 145)).Expect(201);
        await api.AdvanceTo("2026-12-01T00:10:00Z");
        Assert.Single(await api.Ledger("acme", "lines-billed-at-stripe"));
        Assert.Empty(Told(await Reconcile(api)));

        // Somebody takes it off the draft by hand.
        (await stripe.Delete($"/v1/invoiceitems/{api.Sandbox.All("invoiceitem").Single()["id"]}")).Ok();
        await api.Settle();

        var found = await Reconcile(api);

        Assert.Equal(["overage.lines: 22.50 usd in 1 lines / 0.00 usd"], Told(found));
        Assert.Contains("undone there by hand. The ledger says otherwise since version", found.String("differences.0.explained_by"));
    }
}
