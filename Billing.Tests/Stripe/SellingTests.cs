using System.Text.Json.Nodes;
using Billing.StripeSandbox;
using Billing.Tests.Api;
using Billing.Tests.StripeSandbox;

namespace Billing.Tests.Stripe;

/// <summary>Customers, checkout, tokens and the portal, as a customer and a front end go through them.</summary>
public sealed class SellingTests
{
    // ---- checkout for a plan

    [Fact]
    public async Task the_webhook_after_the_page_of_success_gives_nothing_twice()
    {
        await using var shop = await Shop.Open();
        var session = (await shop.Post("tokens/purchase", new { token_package = "starter" })).Expect(201);
        await shop.Stripe.PayWith(Shop.Good, session.String("url")!);

        await shop.Session(session);
        Assert.Equal(100_000, await shop.Balance());
        await shop.Api.Settle();
        await shop.Session(session);

        Assert.Equal(100_000, await shop.Balance());
        Assert.Single(await shop.Api.Ledger("acme", "tokens-purchased"));
        await shop.Api.VerifyLedger("acme");
    }

    [Fact]
    public async Task a_card_that_is_declined_says_so_and_leaves_no_subscription()
    {
        await using var shop = await Shop.Open();
        var session = await shop.Checkout(new { plan = "pro-learn", interval = "month" });

        var refused = await shop.Stripe.PayWith(Shop.Declined, session.String("url")!);
        await shop.Api.Settle();

        Assert.Equal(402, refused.Status);
        Assert.Contains("Your card was declined.", refused.Text, StringComparison.Ordinal);
        Assert.Empty(shop.Stripe.Server.All("subscription"));
        Assert.Equal(("explorer", "none"), ((await shop.Subscription()).String("plan"), (await shop.Subscription()).String("status")));
        Assert.Equal("redirect", (await shop.Session(session)).String("next"));
    }

    [Fact]
    public async Task a_trial_is_given_once_for_each_organization()
    {
        await using var shop = await Shop.Open();
        var session = await shop.Checkout(new { plan = "community-pro", interval = "month" });
        Assert.Contains("7 days free", (await shop.Stripe.Browse(session.String("url")!)).Text, StringComparison.Ordinal);
        await shop.Stripe.PayWith(Shop.Good, session.String("url")!);
        await shop.Api.Settle();
        Assert.Equal("trialing", (await shop.Subscription()).String("status"));
        Assert.Empty(shop.Stripe.Server.All("charge"));

        (await shop.Stripe.Delete($"/v1/subscriptions/{(await shop.Subscription()).String("id")}")).Ok();
        await shop.Api.Settle();
        (await shop.Post("checkout-sessions", new { plan = "community-pro", interval = "month", trial = true })).ExpectProblem(409, "trial_used", "The organization had its trial");
        var second = await shop.Checkout(new { plan = "community-pro", interval = "month" });

        Assert.Equal(1800, second.Number("amount"));
    }

    [Fact]
    public async Task a_trial_that_needs_no_card_asks_for_none_and_ends_without_one()
    {
        await using var shop = await Shop.Open("video-matching");
        var session = await shop.Checkout(new { plan = "pro", interval = "month" });

        Assert.DoesNotContain("Card number", (await shop.Stripe.Browse(session.String("url")!)).Text, StringComparison.Ordinal);
        await shop.Stripe.Browse(session.String("url")!, "email=ada@example.com");
        await shop.Api.Settle();
        Assert.Equal(("pro", "trialing"), ((await shop.Subscription()).String("plan"), (await shop.Subscription()).String("status")));
        await shop.Api.AdvanceTo("2026-12-04T10:00:01Z");

        Assert.Equal("free", (await shop.Subscription()).String("plan"));
    }

    [Fact]
    public async Task what_cannot_be_sold_is_refused_and_nothing_is_made_at_stripe()
    {
        await using var shop = await Shop.Open();
        Task<Answer> Checkout(object body) => shop.Post("checkout-sessions", body);

        (await Checkout(new { })).ExpectProblem(400, "missing_field", "which plan", "plan");
        (await Checkout(new { plan = "community-pro" })).ExpectProblem(400, "missing_field", "interval", "interval");
        (await Checkout(new { plan = "community-pro", interval = "week" })).ExpectProblem(400, "invalid_field", "unknown", "interval");
        (await Checkout(new { plan = "community-pro", interval = "month", billing_period = "monthly" })).ExpectProblem(400, "invalid_field", "one of them", "billing_period");
        (await Checkout(new { plan = "community-pro", billing_period = "weekly" })).ExpectProblem(400, "invalid_field", "unknown", "billing_period");
        (await Checkout(new { plan = "community-pro", interval = "month", quantity = 0 })).ExpectProblem(400, "invalid_field", "from 1", "quantity");
        (await Checkout(new { plan = "community-pro", interval = "month", payment_method_collection = "never" })).ExpectProblem(400, "invalid_field", "if_required", "payment_method_collection");
        (await Checkout(new { plan = "community-pro", interval = "month", payment_method_collection = "if_required" })).ExpectProblem(402, "payment_method_required", "needs a payment method");
        (await Checkout(new { plan = "nothing", interval = "month" })).ExpectProblem(404, "plan_unknown", "nothing");
        (await Checkout(new { plan = "community-pro", interval = "month", currency = "eur" })).ExpectProblem(400, "price_unknown", "eur");
        (await Checkout(new { plan = "pro-learn", interval = "month", trial = true })).ExpectProblem(400, "no_trial", "has no trial");
        (await Checkout(new { plan = "explorer", interval = "month" })).ExpectProblem(409, "no_checkout_needed", "costs nothing", "plan");
        (await Checkout(new { plan = "creator-mentor", interval = "month" })).ExpectProblem(403, "invite_only", "by invitation only");
        (await shop.Api.Post("/v1/organizations/nobody/checkout-sessions", new { plan = "community-pro", interval = "month" })).ExpectProblem(404, "organization_unknown", "nobody");
        (await shop.Api.Send(HttpMethod.Post, "/v1/organizations/acme/checkout-sessions", new { plan = "community-pro", interval = "month" })).ExpectProblem(400, "idempotency_key_missing", "Idempotency-Key");

        Assert.Empty(shop.Stripe.Server.All("checkout.session"));
        Assert.Empty(shop.Stripe.Server.All("customer"));
    }

    [Fact]
    public async Task who_has_a_subscription_changes_it_instead()
    {
        await using var shop = await Shop.Open();
        await shop.Subscribe("community-pro");

        (await shop.Post("checkout-sessions", new { plan = "pro-learn", interval = "month" })).ExpectProblem(409, "subscription_exists", "change it");
    }

    [Fact]
    public async Task a_closed_organization_buys_nothing()
    {
        await using var shop = await Shop.Open();
        (await shop.Api.Send(HttpMethod.Delete, "/v1/organizations/acme", new { reason = "over" })).Expect(200);

        foreach (var (path, body) in Sales) (await shop.Post(path, body)).ExpectProblem(410, "organization_closed", "closed");
        Assert.Empty(shop.Stripe.Server.All("customer"));
    }

    [Fact]
    public async Task who_is_invited_may_buy_what_is_by_invitation()
    {
        await using var shop = await Shop.Open("""
            { "currency": "usd", "features": { "seats": { "name": "seats", "type": "boolean" } },
              "plans": { "inner": { "name": "Inner", "invite_only": true, "prices": [{ "interval": "month", "amount": 9900 }], "features": { "seats": true } } } }
            """);
        (await shop.Post("checkout-sessions", new { plan = "inner", interval = "month" })).ExpectProblem(403, "invite_only", "by invitation only");
        (await shop.Post("invitations", new { plan = "inner" })).Expect(201);

        await shop.Subscribe("inner");

        Assert.Equal("inner", (await shop.Subscription()).String("plan"));
    }

    [Fact]
    public async Task at_most_one_live_subscription_comes_of_several_sessions()
    {
        await using var shop = await Shop.Open();

        var first = await shop.Checkout(new { plan = "community-pro", interval = "month", trial = false });
        var second = await shop.Checkout(new { plan = "pro-learn", interval = "month" });

        Assert.Equal("expired", (await shop.Session(first)).String("status"));
        Assert.Contains("expired", (await shop.Stripe.Browse(first.String("url")!)).Text, StringComparison.Ordinal);
        await shop.Stripe.PayWith(Shop.Good, second.String("url")!);
        await shop.Api.Settle();
        Assert.Equal("pro-learn", (await shop.Subscription()).String("plan"));
        Assert.Single(shop.Stripe.Server.All("subscription"));
    }

    [Fact]
    public async Task what_a_checkout_did_not_come_to_is_done_when_it_is_sent_again()
    {
        await using var shop = await Shop.Open();
        var first = await shop.Checkout(new { plan = "community-pro", interval = "month" });
        // The second session is made, and then Stripe is away before the first one has ended.
        for (var i = 0; i < 5; i++) shop.Stripe.Server.Misbehaviour.Next(Fault.ServerError, "GET /v1/checkout/sessions");
        (await shop.Post("checkout-sessions", new { plan = "pro-learn", interval = "month" }, "second")).ExpectProblem(503, "stripe_unavailable", "it is done once");
        Assert.Equal(2, shop.Stripe.Server.All("checkout.session").Count);

        var second = (await shop.Post("checkout-sessions", new { plan = "pro-learn", interval = "month" }, "second")).Expect(201);

        Assert.Equal("redirect", second.String("next"));
        Assert.Equal("expired", (await shop.Session(first)).String("status"));
        Assert.Equal(2, shop.Stripe.Server.All("checkout.session").Count);
    }

    [Fact]
    public async Task a_session_that_was_paid_and_whose_webhook_is_late_stands_against_a_second_one()
    {
        await using var shop = await Shop.Open();
        shop.Stripe.Server.Misbehaviour.Lose = 1;
        var first = await shop.Checkout(new { plan = "community-pro", interval = "month", trial = false });
        await shop.Stripe.PayWith(Shop.Good, first.String("url")!);

        (await shop.Post("checkout-sessions", new { plan = "pro-learn", interval = "month" })).ExpectProblem(409, "subscription_exists", "change it");

        Assert.Equal("community-pro", (await shop.Subscription()).String("plan"));
        Assert.DoesNotContain(shop.Stripe.Server.All("checkout.session"), s => s["status"]!.GetValue<string>() == "open");
    }

    [Fact]
    public async Task twenty_checkouts_at_once_leave_one_open_page_and_one_customer()
    {
        await using var shop = await Shop.Open();

        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(i => shop.Post("checkout-sessions", new { plan = "pro-learn", interval = "month" }, $"double-click-{i}")));

        Assert.All(answers, a => a.Expect(201));
        Assert.Single(shop.Stripe.Server.All("customer"));
        var open = Assert.Single(shop.Stripe.Server.All("checkout.session"), s => s["status"]!.GetValue<string>() == "open");
        await shop.Stripe.PayWith(Shop.Good, open["url"]!.GetValue<string>());
        await shop.Api.Settle();
        Assert.Equal("active", (await shop.Subscription()).String("status"));
        Assert.Single(await shop.Api.Ledger("acme", "customer-linked"));
    }

    [Fact]
    public async Task the_same_key_answers_the_same_session_and_another_body_is_refused()
    {
        await using var shop = await Shop.Open();
        var body = new { plan = "pro-learn", interval = "month" };
        var first = (await shop.Post("checkout-sessions", body, "one")).Expect(201);

        var again = (await shop.Post("checkout-sessions", body, "one")).Expect(201);
        (await shop.Post("checkout-sessions", new { plan = "pro-learn", interval = "year" }, "one")).ExpectProblem(409, "command_id_reused", "used before");
        (await shop.Post("tokens/purchase", new { token_package = "starter", mode = "payment_intent" }, "one")).ExpectProblem(409, "command_id_reused", "used before");
        (await shop.Post("tokens/purchase", new { token_package = "starter" }, "one")).ExpectProblem(409, "command_id_reused", "used before");
        (await shop.Post("tokens/grants", new { tokens = 5 }, "granted")).Expect(201);
        (await shop.Post("checkout-sessions", body, "granted")).ExpectProblem(409, "command_id_reused", "used before");

        Assert.Equal((first.String("id"), first.String("url")), (again.String("id"), again.String("url")));
        Assert.Equal("true", again.Headers["Idempotency-Replayed"]);
        Assert.Single(shop.Stripe.Server.All("checkout.session"));
        // Also when it could not be sold any more, and when Stripe has forgotten the key.
        await shop.Stripe.PayWith(Shop.Good, first.String("url")!);
        await shop.Api.Settle();
        await shop.Api.AdvanceTo("2026-11-22T10:00:00Z");
        var later = (await shop.Post("checkout-sessions", body, "one")).Expect(201);
        Assert.Equal((first.String("id"), "complete", "none"), (later.String("id"), later.String("status"), later.String("next")));
        Assert.Single(shop.Stripe.Server.All("checkout.session"));
    }

    [Theory]
    [InlineData(Fault.LostAnswer)]
    [InlineData(Fault.ServerError)]
    [InlineData(Fault.RateLimit)]
    public async Task a_stripe_that_misbehaves_doubles_nothing(Fault fault)
    {
        await using var shop = await Shop.Open();
        foreach (var request in (string[])["POST /v1/customers", "GET /v1/prices", "POST /v1/checkout/sessions", "GET /v1/checkout/sessions", "GET /v1/subscriptions", "POST /v1/payment_intents"])
            shop.Stripe.Server.Misbehaviour.Next(fault, request);

        var session = await shop.Checkout(new { plan = "pro-learn", interval = "month" });
        (await shop.Post("tokens/purchase", new { token_package = "starter", mode = "payment_intent" })).Expect(201);

        Assert.Single(shop.Stripe.Server.All("customer"));
        Assert.Equal(session.String("id"), Assert.Single(shop.Stripe.Server.All("checkout.session"))["id"]!.GetValue<string>());
        Assert.Single(shop.Stripe.Server.All("payment_intent"));
    }

    [Fact]
    public async Task while_stripe_is_away_the_same_request_may_be_sent_until_it_is_back()
    {
        await using var shop = await Shop.Open();
        var body = new { plan = "pro-learn", interval = "month" };
        shop.Stripe.Server.Misbehaviour.LostAnswers = 1;
        (await shop.Post("checkout-sessions", body, "one")).ExpectProblem(503, "stripe_unavailable", "it is done once");
        shop.Stripe.Server.Misbehaviour.Stop();

        var session = (await shop.Post("checkout-sessions", body, "one")).Expect(201);

        Assert.Single(shop.Stripe.Server.All("customer"));
        Assert.Equal(session.String("id"), Assert.Single(shop.Stripe.Server.All("checkout.session"))["id"]!.GetValue<string>());
    }

    [Fact]
    public async Task promotion_codes_and_tax_are_as_configured_and_as_asked()
    {
        await using var shop = await Shop.Open(args: ["--Billing:StripeTax=on", "--Billing:PromotionCodes=on"]);

        var session = await shop.Checkout(new { plan = "pro-learn", interval = "month" });
        await shop.Checkout(new { plan = "pro-learn", interval = "month", allow_promotion_codes = false, quantity = 3 });

        var sent = shop.Stripe.Server.Requests.Where(r => r is { Method: "POST", Path: "/v1/checkout/sessions" }).ToList();
        Assert.Superset(new HashSet<string> { "automatic_tax[enabled]=true", "tax_id_collection[enabled]=true", "customer_update[address]=auto", "customer_update[name]=auto", "allow_promotion_codes=true" }, sent[0].Parameters.ToHashSet());
        Assert.DoesNotContain("allow_promotion_codes=true", sent[1].Parameters);
        Assert.Contains("line_items[0][quantity]=3", sent[1].Parameters);
        Assert.Equal(302, (await shop.Stripe.PayWith(Shop.Good, shop.Stripe.Server.All("checkout.session")[^1]["url"]!.GetValue<string>())).Status);
        Assert.NotNull(session.String("url"));
    }

    [Fact]
    public async Task a_price_id_of_the_environment_stands_before_the_lookup_key()
    {
        await using var shop = await Shop.Open(args: "--STRIPE_PRO_LEARN_MONTHLY_PRICE_ID=price_given");

        (await shop.Post("checkout-sessions", new { plan = "pro-learn", interval = "month" })).ExpectProblem(502, "stripe_refused", "price_given");

        await shop.Subscribe("pro-learn", "year");
        Assert.Equal("year", (await shop.Subscription()).String("interval"));
    }

    [Fact]
    public async Task a_price_that_was_replaced_is_not_sold_any_more()
    {
        await using var shop = await Shop.Open();
        await shop.Checkout(new { plan = "pro-learn", interval = "month" });
        var old = shop.Stripe.Server.All("price").Single(p => p["lookup_key"]?.GetValue<string>() == "pro-learn-month")["id"];
        (await shop.Stripe.Post("/v1/prices", "currency=usd", "unit_amount=3600", "recurring[interval]=month", "lookup_key=pro-learn-month", "transfer_lookup_key=true", "product_data[name]=Pro Learn")).Ok();
        (await shop.Stripe.Post($"/v1/prices/{old}", "active=false")).Ok();

        Assert.Equal(3600, (await shop.Checkout(new { plan = "pro-learn", interval = "month" })).Number("amount"));
    }

    [Fact]
    public async Task a_catalog_that_was_never_pushed_says_what_to_do()
    {
        await using var shop = await Shop.Open();
        foreach (var price in shop.Stripe.Server.All("price")) (await shop.Stripe.Post($"/v1/prices/{price["id"]}", "active=false")).Ok();

        (await shop.Post("checkout-sessions", new { plan = "pro-learn", interval = "month" })).ExpectProblem(503, "stripe_not_configured", "Push the catalog");
        (await shop.Post("tokens/purchase", new { token_package = "starter" })).ExpectProblem(503, "stripe_not_configured", "tokens-starter");
    }

    [Fact]
    public async Task a_session_is_seen_by_its_organization_alone()
    {
        await using var shop = await Shop.Open();
        await shop.Api.Open("beta");
        var session = await shop.Checkout(new { plan = "pro-learn", interval = "month" });

        (await shop.Api.Get($"/v1/organizations/beta/checkout-sessions/{session.String("id")}")).ExpectProblem(404, "not_found", "no checkout session");
        (await shop.Api.Get("/v1/organizations/acme/checkout-sessions/cs_test_nothing")).ExpectProblem(404, "not_found", "no checkout session");
        (await shop.Api.Get("/v1/organizations/acme/checkout-sessions/..%2Fcustomers")).ExpectProblem(404, "not_found", "no checkout session");
        (await shop.Api.Get("/v1/organizations/nobody/checkout-sessions/cs_test_nothing")).ExpectProblem(404, "organization_unknown", "nobody");
        (await shop.Api.Get($"/v1/organizations/acme/checkout-sessions/{session.String("id")}", await shop.Api.ClientOf("beta"))).Expect(404);
        (await shop.Api.Get($"/v1/organizations/acme/checkout-sessions/{session.String("id")}", await shop.Api.ClientOf("acme"))).Expect(200);
    }

    // ---- where browsers come back to

    [Theory]
    [InlineData("https://evil.example/done")]
    [InlineData("https://app.example.com.evil.example/")]
    [InlineData("https://app.example.com@evil.example/")]
    [InlineData("https://app.example.com:8443/")]
    [InlineData("javascript:alert(1)")]
    [InlineData("//evil.example/")]
    [InlineData("/done")]
    public async Task browsers_are_sent_to_allowed_hosts_only(string url)
    {
        await using var shop = await Shop.Open();

        foreach (var (path, body, field) in ((string, object, string)[])
            [
                ("checkout-sessions", new { plan = "pro-learn", interval = "month", success_url = url }, "success_url"), ("checkout-sessions", new { plan = "pro-learn", interval = "month", cancel_url = url }, "cancel_url"),
                ("tokens/purchase", new { token_package = "starter", success_url = url }, "success_url"), ("tokens/purchase", new { token_package = "starter", cancel_url = url }, "cancel_url"),
                ("portal-sessions", new { return_url = url }, "return_url"),
            ])
        {
            var refused = (await shop.Post(path, body)).Expect(400);
            Assert.Contains(refused.Code, (string[])["return_url_not_allowed", "invalid_field"]);
            Assert.Equal(field, refused.String("field"));
        }
        Assert.Empty(shop.Stripe.Server.All("customer"));
    }

    [Theory]
    [InlineData("https://app.example.com/done", "https://app.example.com/done?session_id=")]
    [InlineData("https://app.example.com/done?a=b#top", "https://app.example.com/done?a=b&session_id=")]
    [InlineData("https://app.example.com/done/{CHECKOUT_SESSION_ID}", "https://app.example.com/done/")]
    public async Task the_page_at_success_learns_the_sessions_id(string url, string expected)
    {
        await using var shop = await Shop.Open();
        var session = await shop.Checkout(new { plan = "pro-learn", interval = "month", success_url = url });

        var back = await shop.Stripe.PayWith(Shop.Good, session.String("url")!);

        Assert.StartsWith(expected + session.String("id"), back.To, StringComparison.Ordinal);
    }

    // ---- tokens

    [Fact]
    public async Task a_payment_intent_is_paid_on_a_page_of_ones_own_and_grants_once()
    {
        await using var shop = await Shop.Open();

        var intent = (await shop.Post("tokens/purchase", new { token_package = "starter", mode = "payment_intent" })).Expect(201);
        Assert.Equal(0, await shop.Balance());
        (await shop.Stripe.Post($"/v1/payment_intents/{intent.String("id")}/confirm", "payment_method=pm_card_visa", "return_url=https://app.example.com")).Ok();
        await shop.Api.Settle();
        foreach (var e in shop.Stripe.Server.All("event").Where(e => e["type"]!.GetValue<string>() == "payment_intent.succeeded"))
            for (var i = 0; i < 10; i++) shop.Stripe.Server.Resend(e["id"]!.GetValue<string>());
        await shop.Api.Settle();

        Assert.Equal(("requires_payment_method", "confirm_payment", 500m, "usd"), (intent.String("status"), intent.String("next"), intent.Number("amount"), intent.String("currency")));
        Assert.StartsWith(intent.String("id") + "_secret_", intent.String("client_secret"), StringComparison.Ordinal);
        Assert.Equal(100_000, await shop.Balance());
        Assert.Single(await shop.Api.Ledger("acme", "tokens-purchased"));
        Assert.Single((await shop.Api.Get("/v1/organizations/acme/tokens/transactions"))["items"]!.AsArray());
        await shop.Api.VerifyLedger("acme");
    }

    [Fact]
    public async Task tokens_are_bought_on_stripes_page_and_each_purchase_counts()
    {
        await using var shop = await Shop.Open();

        foreach (var package in (string[])["starter", "booster"])
        {
            var session = (await shop.Post("tokens/purchase", new { token_package = package, mode = "checkout", save_payment_method = true })).Expect(201);
            Assert.Equal("redirect", session.String("next"));
            await shop.Stripe.PayWith(Shop.Good, session.String("url")!);
        }
        await shop.Api.Settle();

        Assert.Equal(600_000, await shop.Balance());
        Assert.Equal(2, shop.Stripe.Server.All("charge").Count);
        Assert.All(shop.Stripe.Server.All("payment_intent"), i => Assert.Equal("off_session", i["setup_future_usage"]!.GetValue<string>()));
        Assert.Single(shop.Stripe.Server.All("customer"));
    }

    [Fact]
    public async Task a_declined_payment_grants_nothing_and_the_same_intent_may_be_paid_with_another_card()
    {
        await using var shop = await Shop.Open();
        var intent = (await shop.Post("tokens/purchase", new { token_package = "starter", mode = "payment_intent" }, "one")).Expect(201);

        (await shop.Stripe.Post($"/v1/payment_intents/{intent.String("id")}/confirm", "payment_method=pm_card_visa_chargeDeclined", "return_url=https://app.example.com")).Refused(402, "card_declined");
        await shop.Api.Settle();
        Assert.Equal(0, await shop.Balance());
        var again = (await shop.Post("tokens/purchase", new { token_package = "starter", mode = "payment_intent" }, "one")).Expect(201);
        (await shop.Stripe.Post($"/v1/payment_intents/{again.String("id")}/confirm", "payment_method=pm_card_visa", "return_url=https://app.example.com")).Ok();
        await shop.Api.Settle();

        Assert.Equal((intent.String("id"), intent.String("client_secret")), (again.String("id"), again.String("client_secret")));
        Assert.Equal(100_000, await shop.Balance());
        Assert.Equal(("succeeded", "none"), ((await shop.Post("tokens/purchase", new { token_package = "starter", mode = "payment_intent" }, "one")).String("status"), "none"));
    }

    [Fact]
    public async Task what_is_no_package_mode_or_price_is_refused()
    {
        await using var shop = await Shop.Open();

        (await shop.Post("tokens/purchase", new { })).ExpectProblem(400, "missing_field", "token package", "token_package");
        (await shop.Post("tokens/purchase", new { token_package = "nothing" })).ExpectProblem(404, "token_package_unknown", "nothing");
        (await shop.Post("tokens/purchase", new { token_package = "starter", mode = "cash" })).ExpectProblem(400, "invalid_field", "checkout", "mode");
        (await shop.Post("tokens/purchase", new { token_package = "starter", currency = "eur" })).ExpectProblem(400, "price_unknown", "no price in eur", "currency");
        (await shop.Post("tokens/purchase", new { token_package = "starter", mode = "payment_intent", success_url = "https://app.example.com/" })).ExpectProblem(400, "invalid_field", "your own page", "success_url");
        Assert.Empty(shop.Stripe.Server.All("customer"));
    }

    // ---- the customer

    [Fact]
    public async Task the_customer_is_made_from_the_profile_and_follows_it()
    {
        await using var shop = await Shop.Open();
        (await shop.Api.Put("/v1/organizations/acme/profile", new { name = "Acme", email = "billing@acme.example", address = "Main Street 1\nBack Yard\nBerlin", country = "DE" })).Expect(200);
        Assert.Empty(shop.Stripe.Server.All("customer"));
        await shop.Checkout(new { plan = "pro-learn", interval = "month" });
        var made = shop.Stripe.Server.All("customer").Single();
        Assert.Equal(("Acme", "billing@acme.example", "acme", "DE", "Main Street 1", "Back Yard, Berlin"), Shown(made));

        (await shop.Api.Put("/v1/organizations/acme/profile", new { name = "Acme AG", country = "CH" })).Expect(200);
        Assert.Equal(("Acme AG", null, "acme", "CH", null, null), Shown(shop.Stripe.Server.All("customer").Single()));
        Assert.Equal("CH", (await shop.Api.Get("/v1/organizations/acme/profile")).String("country"));
        (await shop.Api.Put("/v1/organizations/acme/profile", new { country = "Germany" })).ExpectProblem(400, "invalid_field", "two capital letters", "country");
        (await shop.Api.Send(HttpMethod.Delete, "/v1/organizations/acme/profile")).Expect(204);

        Assert.Equal((null, null, "acme", null, null, null), Shown(shop.Stripe.Server.All("customer").Single()));

        static (string?, string?, string?, string?, string?, string?) Shown(JsonObject customer) =>
            (Text(customer, "name"), Text(customer, "email"), Text(customer, "metadata.organization_id"), Text(customer, "address.country"), Text(customer, "address.line1"), Text(customer, "address.line2"));

        static string? Text(JsonObject customer, string path) => customer["address"] is null && path.StartsWith("address", StringComparison.Ordinal) ? null
            : customer.Read(path)?.GetValue<string>() is { Length: > 0 } text ? text : null;
    }

    [Fact]
    public async Task a_customer_that_was_deleted_at_stripe_is_replaced_by_another()
    {
        await using var shop = await Shop.Open();
        await shop.Checkout(new { plan = "pro-learn", interval = "month" });
        var first = shop.Stripe.Server.All("customer").Single()["id"]!.GetValue<string>();
        (await shop.Stripe.Delete($"/v1/customers/{first}")).Ok();

        await shop.Subscribe("pro-learn");

        var second = shop.Stripe.Server.All("subscription").Single()["customer"]!.GetValue<string>();
        Assert.NotEqual(first, second);
        Assert.Equal(2, shop.Stripe.Server.All("customer").Count);
        Assert.Equal(("pro-learn", second), ((await shop.Subscription()).String("plan"), (await shop.Subscription()).String("customer")));
    }

    [Fact]
    public async Task a_customer_that_webhooks_told_of_is_used()
    {
        await using var shop = await Shop.Open();
        var customer = await shop.Stripe.Customer("pm_card_visa");
        (await shop.Stripe.Subscribe(customer, shop.PriceOf("community-pro-month"), "metadata[organization_id]=acme")).Ok();
        await shop.Api.Settle();

        (await shop.Post("portal-sessions", new { })).Expect(201);
        (await shop.Post("tokens/purchase", new { token_package = "starter" })).Expect(201);

        Assert.Equal(customer, Assert.Single(shop.Stripe.Server.All("customer"))["id"]!.GetValue<string>());
        Assert.Equal(customer, shop.Stripe.Server.All("checkout.session").Single()["customer"]!.GetValue<string>());
    }

    [Fact]
    public async Task a_customer_whose_link_was_lost_in_a_crash_is_found_by_its_key()
    {
        await using var shop = await Shop.Open();
        // As it is when the process ends between the two.
        var made = await shop.Api.Services.Stripe.Send(Billing.Api.Stripe.StripeRequests.CreateCustomer("acme", null));

        await shop.Checkout(new { plan = "pro-learn", interval = "month" });
        Assert.Equal(made.GetProperty("id").GetString(), Assert.Single(shop.Stripe.Server.All("customer"))["id"]!.GetValue<string>());
    }

    // ---- the portal

    [Fact]
    public async Task a_flow_of_the_portal_does_one_thing()
    {
        await using var shop = await Shop.Open();
        (await shop.Post("portal-sessions", new { })).ExpectProblem(409, "no_customer", "first checkout");
        (await shop.Post("tokens/purchase", new { token_package = "starter" })).Expect(201);
        (await shop.Post("portal-sessions", new { flow = "subscription_cancel" })).ExpectProblem(409, "no_subscription", "no subscription");
        await shop.Subscribe("community-pro");

        Assert.Contains("Card number", await Page(new { flow = "payment_method_update" }), StringComparison.Ordinal);
        Assert.Contains("Cancel subscription", await Page(new { flow = "subscription_cancel", return_url = "https://app.example.com/account" }), StringComparison.Ordinal);
        (await shop.Post("portal-sessions", new { flow = "subscription_update" })).Expect(201);
        (await shop.Post("portal-sessions", new { flow = "subscription_update_confirm", plan = "pro-learn", billing_period = "monthly" })).Expect(201);
        var sent = shop.Stripe.Server.Requests.Last(r => r is { Method: "POST", Path: "/v1/billing_portal/sessions" }).Parameters;
        Assert.Contains($"flow_data[subscription_update_confirm][items][0][price]={shop.PriceOf("pro-learn-month")}", sent);
        Assert.Contains($"flow_data[subscription_update_confirm][items][0][id]={shop.Stripe.Server.All("subscription").Single().Read("items.data.0.id")}", sent);

        (await shop.Post("portal-sessions", new { flow = "dance" })).ExpectProblem(400, "invalid_field", "A flow is", "flow");
        (await shop.Post("portal-sessions", new { plan = "pro-learn" })).ExpectProblem(400, "invalid_field", "subscription_update_confirm", "plan");
        (await shop.Post("portal-sessions", new { flow = "subscription_update_confirm" })).ExpectProblem(400, "missing_field", "which plan", "plan");
        (await shop.Post("portal-sessions", new { flow = "subscription_update_confirm", plan = "nothing", interval = "month" })).ExpectProblem(404, "plan_unknown", "nothing");

        async Task<string> Page(object body) => (await shop.Stripe.Browse((await shop.Post("portal-sessions", body)).Expect(201).String("url")!)).Text;
    }

    // ---- what the tests say often

    private static readonly (string Path, object Body)[] Sales =
    [
        ("checkout-sessions", new { plan = "community-pro", interval = "month", success_url = "http://localhost/", cancel_url = "http://localhost/" }),
        ("tokens/purchase", new { token_package = "starter" }), ("tokens/purchase", new { token_package = "starter", mode = "payment_intent" }), ("portal-sessions", new { return_url = "http://localhost/" }),
    ];
}
