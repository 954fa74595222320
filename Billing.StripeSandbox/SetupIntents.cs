using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>Keeping a payment method for later, which the bank may want to confirm now.</summary>
internal static class SetupIntents
{
    public static readonly Operation[] Operations =
    [
        new("POST", "/setup_intents", "customer payment_method confirm? usage(off_session|on_session) description metadata{*} return_url automatic_payment_methods{enabled!? allow_redirects(always|never)}", Create),
        new("GET", "/setup_intents", "customer limit# starting_after ending_before", c => c.PageOf("setup_intent", "customer")),
        new("GET", "/setup_intents/{id}", "client_secret", c => c.S.Find("setup_intent", c.Id, "intent")),
        new("POST", "/setup_intents/{id}/confirm", "payment_method return_url", Confirm),
        new("POST", "/setup_intents/{id}/cancel", "cancellation_reason", Cancel),
    ];

    public static JsonObject New(Sandbox s, string? customer, JsonObject? sent = null)
    {
        var intent = s.New("setup_intent");
        intent["customer"] = customer;
        intent["client_secret"] = $"{intent.Text("id")}_{s.NewId("secret")}";
        if (sent is not null) intent.Take(sent, "description", "usage").Merge(sent);
        return s.Add(intent, "setup_intent.created");
    }

    public static void Confirm(Sandbox s, JsonObject intent, JsonObject method, bool authenticated = false)
    {
        var card = TestCards.Of(method);
        if (card is { Code: not null, Attaches: false, Brand: not "sepa" })
        {
            Fail(s, intent, new JsonObject { ["code"] = card.Code, ["decline_code"] = card.Decline, ["message"] = TestCards.Message(card), ["type"] = "card_error" });
            throw TestCards.Decline(card);
        }
        s.Change(intent, o => o["payment_method"] = method.Text("id"));
        if (!authenticated && card.Authentication is Authentication.Always or Authentication.UnlessSetUp)
        {
            s.Change(intent, o => o.Set("status", "requires_action").Set("next_action", PaymentIntents.NextAction(s, o.Text("id")!, o.Text("_return_url"))));
            s.Emit("setup_intent.requires_action", intent);
            return;
        }
        s.Change(method, o => o["_set_up"] = true);
        if (intent.Text("customer") is { } customer) PaymentMethods.Attach(s, method, customer);
        s.Change(intent, o => o.Set("status", "succeeded").Set("next_action", null));
        s.Emit("setup_intent.succeeded", intent);
        if (s.Store.Find(intent.Text("_session")) is { } session) CheckoutSessions.OnSetup(s, session, intent);
        foreach (var subscription in s.Store.Of("subscription").Where(o => o.Text("pending_setup_intent") == intent.Text("id")))
            s.Change(subscription, o => o.Set("pending_setup_intent", null).Set("default_payment_method", o.Text("default_payment_method") ?? method.Text("id")), "customer.subscription.updated");
    }

    public static void Authenticate(Sandbox s, JsonObject intent, bool isGranted)
    {
        if (intent.Text("status") != "requires_action") return;
        if (isGranted) Confirm(s, intent, s.Find("payment_method", intent.Text("payment_method")), authenticated: true);
        else
            Fail(s, intent, new JsonObject
            {
                ["code"] = "setup_intent_authentication_failure",
                ["message"] = "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
                ["type"] = "invalid_request_error",
            });
    }

    private static void Fail(Sandbox s, JsonObject intent, JsonObject error)
    {
        s.Change(intent, o => o.Set("status", "requires_payment_method").Set("last_setup_error", error).Set("payment_method", null).Set("next_action", null));
        s.Emit("setup_intent.setup_failed", intent);
    }

    private static JsonObject Create(Call c)
    {
        var intent = New(c.S, Customers.Named(c.S, c.P)?.Text("id"), c.P);
        if (c.P.Text("payment_method") is { } named)
        {
            var method = PaymentMethods.Named(c.S, named);
            c.S.Change(intent, o => o.Set("payment_method", method.Text("id")).Set("status", "requires_confirmation").Set("_return_url", c.P.Text("return_url")));
            if (c.P.Flag("confirm")) Confirm(c.S, intent, method);
        }
        return intent;
    }

    private static JsonObject Confirm(Call c)
    {
        var intent = c.S.Find("setup_intent", c.Id, "intent");
        if (intent.Text("status") is "succeeded" or "canceled")
            throw StripeError.Invalid($"You cannot confirm this SetupIntent because it has a status of {intent.Text("status")}.", code: "setup_intent_unexpected_state");
        var named = c.P.Text("payment_method") ?? intent.Text("payment_method") ?? throw StripeError.Invalid("You cannot confirm this SetupIntent because it's missing a payment method.", "payment_method");
        c.S.Change(intent, o => o["_return_url"] = c.P.Text("return_url"));
        Confirm(c.S, intent, PaymentMethods.Named(c.S, named));
        return intent;
    }

    private static JsonObject Cancel(Call c)
    {
        var intent = c.S.Find("setup_intent", c.Id, "intent");
        if (intent.Text("status") is "succeeded" or "canceled") throw StripeError.Invalid($"You cannot cancel this SetupIntent because it has a status of {intent.Text("status")}.", code: "setup_intent_unexpected_state");
        c.S.Change(intent, o => o.Set("status", "canceled").Set("cancellation_reason", c.P.Text("cancellation_reason")));
        c.S.Emit("setup_intent.canceled", intent);
        return intent;
    }
}
