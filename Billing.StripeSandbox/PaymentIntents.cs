using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

internal static class PaymentIntents
{
    /// <summary>A bank transfer takes this long to come through or fail, in seconds.</summary>
    private const long BankTakes = 180;

    private const string Common = "amount# currency customer description metadata{*} receipt_email setup_future_usage(off_session|on_session) payment_method statement_descriptor statement_descriptor_suffix";
    private const string Confirming = "confirm? off_session? return_url error_on_requires_action?";

    public static readonly Operation[] Operations =
    [
        new("POST", "/payment_intents", $"{Common.Replace("amount#", "amount!#").Replace("currency", "currency!")} {Confirming} automatic_payment_methods{{enabled!? allow_redirects(always|never)}} capture_method(automatic|automatic_async) confirmation_method(automatic|manual)", Create),
        new("GET", "/payment_intents", "customer created{gt# gte# lt# lte#} limit# starting_after ending_before", c => c.PageOf("payment_intent", "customer")),
        new("GET", "/payment_intents/{id}", "client_secret", c => c.S.Find("payment_intent", c.Id, "intent")),
        new("POST", "/payment_intents/{id}", Common, Update),
        new("POST", "/payment_intents/{id}/confirm", "payment_method off_session? return_url error_on_requires_action? setup_future_usage(off_session|on_session) receipt_email", ConfirmCall),
        new("POST", "/payment_intents/{id}/cancel", "cancellation_reason(abandoned|duplicate|fraudulent|requested_by_customer)", CancelCall),
    ];

    public static JsonObject New(Sandbox s, long amount, string currency, string? customer, JsonObject? sent = null)
    {
        if (amount < 1) throw StripeError.Invalid("This value must be greater than or equal to 1.", "amount", "parameter_invalid_integer");
        var intent = s.New("payment_intent");
        (intent["amount"], intent["currency"], intent["customer"]) = (amount, currency.ToLowerInvariant(), customer);
        intent["client_secret"] = $"{intent.Text("id")}_{s.NewId("secret")}";
        intent["automatic_payment_methods"] = new JsonObject { ["enabled"] = true, ["allow_redirects"] = "always" };
        if (sent is not null) intent.Take(sent, "description", "receipt_email", "setup_future_usage", "statement_descriptor", "statement_descriptor_suffix").Merge(sent);
        return s.Add(intent, "payment_intent.created");
    }

    /// <summary>Tries to take the money. What came of it stands in the intent, and whoever owns it was told.</summary>
    /// <param name="offSession">Nobody is there to answer the bank.</param>
    /// <param name="authenticated">The bank was answered.</param>
    public static void Confirm(Sandbox s, JsonObject intent, JsonObject method, bool offSession, bool authenticated = false)
    {
        var card = TestCards.Of(method);
        s.Change(intent, o =>
        {
            o["payment_method"] = method.Text("id");
            o["payment_method_types"] = new JsonArray(method.Text("type"));
        });
        if (!authenticated && Asks(card, method, offSession))
        {
            if (offSession) Fail(s, intent, method, null, Refusal("authentication_required", "Your card was declined. This transaction requires authentication.", "authentication_required", method));
            else Ask(s, intent);
        }
        else if (card.Brand == "sepa")
        {
            s.Change(intent, o => o.Set("status", "processing").Set("_settles_at", s.Now + BankTakes).Set("next_action", null));
            s.Emit("payment_intent.processing", intent);
        }
        else if (card.Code is not null) Fail(s, intent, method, Charges.New(s, intent, method, card), Refusal(card.Code, TestCards.Message(card), card.Decline, method));
        else Succeed(s, intent, method, authenticated);
        TellOwner(s, intent, method);
    }

    /// <summary>The cardholder answered the bank.</summary>
    public static void Authenticate(Sandbox s, JsonObject intent, bool isGranted)
    {
        if (intent.Text("status") != "requires_action") return;
        var method = s.Find("payment_method", intent.Text("payment_method"));
        if (isGranted)
        {
            Confirm(s, intent, method, offSession: false, authenticated: true);
            return;
        }
        Fail(s, intent, method, null, Refusal("payment_intent_authentication_failure",
            "We are unable to authenticate your payment method. Please choose a different payment method and try again.", null, method));
        TellOwner(s, intent, method);
    }

    public static bool WillSucceed(JsonObject? method, bool offSession) =>
        method is not null && TestCards.Of(method) is var card && card.Code is null && !Asks(card, method, offSession);

    /// <summary>Refuses what could not be paid at once, before anything was done.</summary>
    public static void Foresee(JsonObject? method, bool offSession)
    {
        if (WillSucceed(method, offSession)) return;
        if (method is null) throw StripeError.Invalid("This customer has no attached payment source or default payment method.", code: "resource_missing");
        var card = TestCards.Of(method);
        throw card.Code is null
            ? TestCards.Error("subscription_payment_intent_requires_action", "Payment for this subscription requires additional user action before it can be completed successfully. Payment can be completed using the PaymentIntent associated with subscription.", null)
            : TestCards.Decline(card);
    }

    public static void Cancel(Sandbox s, JsonObject intent, string? reason)
    {
        s.Change(intent, o => o.Set("status", "canceled").Set("canceled_at", s.Now).Set("cancellation_reason", reason).Set("next_action", null));
        s.Emit("payment_intent.canceled", intent);
    }

    public static long? NextDue(Sandbox s, JsonObject intent) => intent.Text("status") == "processing" ? intent.Number("_settles_at") : null;

    public static void RunDue(Sandbox s, JsonObject intent)
    {
        var method = s.Find("payment_method", intent.Text("payment_method"));
        var card = TestCards.Of(method);
        if (card.Code is null) Succeed(s, intent, method, authenticated: false);
        else Fail(s, intent, method, Charges.New(s, intent, method, card), Refusal(card.Code, TestCards.Message(card), null, method));
        TellOwner(s, intent, method);
    }

    private static bool Asks(TestCard card, JsonObject method, bool offSession) => card.Authentication switch
    {
        Authentication.Always => true,
        Authentication.UnlessSetUp => !method.Flag("_set_up"),
        Authentication.WhenPresent => !offSession,
        _ => false,
    };

    private static void Ask(Sandbox s, JsonObject intent)
    {
        s.Change(intent, o => o.Set("status", "requires_action").Set("next_action", NextAction(s, o.Text("id")!, o.Text("_return_url"))));
        s.Emit("payment_intent.requires_action", intent);
    }

    public static JsonObject NextAction(Sandbox s, string id, string? returnUrl) => new()
    {
        ["type"] = "redirect_to_url",
        ["redirect_to_url"] = new JsonObject { ["return_url"] = returnUrl, ["url"] = $"{s.BaseUrl}/authenticate/{id}" },
    };

    private static void Succeed(Sandbox s, JsonObject intent, JsonObject method, bool authenticated)
    {
        var charge = Charges.New(s, intent, method, TestCards.Of(method));
        s.Change(intent, o =>
        {
            o.Set("status", "succeeded").Set("amount_received", o.Number("amount")).Set("latest_charge", charge.Text("id"));
            o.Set("next_action", null).Set("last_payment_error", null).Set("_settles_at", null);
        });
        s.Emit("payment_intent.succeeded", intent);
        var keeps = intent.Text("setup_future_usage") is not null && intent.Text("customer") is not null;
        if (authenticated && intent.Text("setup_future_usage") == "off_session") s.Change(method, o => o["_set_up"] = true);
        if (keeps && method.Text("customer") is null) PaymentMethods.Attach(s, method, intent.Text("customer")!);
        Disputes.Follow(s, charge, TestCards.Of(method));
    }

    private static void Fail(Sandbox s, JsonObject intent, JsonObject method, JsonObject? charge, JsonObject error)
    {
        if (charge is not null) error["charge"] = charge.Text("id");
        s.Change(intent, o =>
        {
            o.Set("status", "requires_payment_method").Set("last_payment_error", error).Set("payment_method", null).Set("next_action", null).Set("_settles_at", null);
            if (charge is not null) o["latest_charge"] = charge.Text("id");
        });
        s.Emit("payment_intent.payment_failed", intent);
    }

    private static JsonObject Refusal(string code, string message, string? decline, JsonObject method)
    {
        var error = new JsonObject { ["code"] = code, ["doc_url"] = $"https://stripe.com/docs/error-codes/{code.Replace('_', '-')}", ["message"] = message };
        if (decline is not null) error["decline_code"] = decline;
        error["payment_method"] = method.Presented();
        error["type"] = code == "payment_intent_authentication_failure" ? "invalid_request_error" : "card_error";
        return error;
    }

    private static void TellOwner(Sandbox s, JsonObject intent, JsonObject method)
    {
        if (s.Store.Find(intent.Text("_invoice")) is { } invoice) Invoices.OnPayment(s, invoice, intent, method);
        if (s.Store.Find(intent.Text("_session")) is { } session) CheckoutSessions.OnPayment(s, session, intent);
    }

    /// <summary>What a caller gets who asked for a payment that was refused: 402, with the intent as it is now.</summary>
    public static StripeError? RefusalOf(JsonObject intent)
    {
        if (intent.Object("last_payment_error") is not { } error || intent.Text("status") != "requires_payment_method") return null;
        var more = error.Copy();
        foreach (var name in (string[])["code", "message", "type", "doc_url"]) more.Remove(name);
        more["payment_intent"] = intent.Copy();
        return new StripeError(402, error.Text("type")!, error.Text("code"), error.Text("message")!, more: more);
    }

    private static JsonObject Create(Call c)
    {
        var (s, p) = (c.S, c.P);
        if (p.Flag("off_session") && !p.Flag("confirm"))
            throw StripeError.Invalid("You can only set `off_session` when `confirm` is true.", "off_session");
        var customer = Customers.Named(s, p)?.Text("id");
        var method = p.Text("payment_method") is { } named ? PaymentMethods.Named(s, named) : null;
        CheckOwner(method, customer);
        var intent = New(s, p.Number("amount")!.Value, p.Text("currency")!, customer, p);
        if (method is not null) s.Change(intent, o => o.Set("payment_method", method.Text("id")).Set("status", "requires_confirmation"));
        return p.Flag("confirm") ? Confirmed(c, intent) : intent;
    }

    private static JsonObject Update(Call c)
    {
        var intent = c.S.Find("payment_intent", c.Id, "intent");
        if (intent.Text("status") is "succeeded" or "canceled" or "processing") throw Unexpected(intent, "updated");
        var method = c.P.Text("payment_method") is { } named ? PaymentMethods.Named(c.S, named) : null;
        c.S.Change(intent, o =>
        {
            o.Take(c.P, "amount", "currency", "customer", "description", "receipt_email", "setup_future_usage").Merge(c.P);
            if (method is not null) o.Set("payment_method", method.Text("id")).Set("status", "requires_confirmation");
        });
        return intent;
    }

    private static JsonObject ConfirmCall(Call c)
    {
        var intent = c.S.Find("payment_intent", c.Id, "intent");
        if (intent.Text("status") is "succeeded" or "canceled" or "processing") throw Unexpected(intent, "confirmed");
        if (c.P.Text("payment_method") is { } named)
        {
            var method = PaymentMethods.Named(c.S, named);
            CheckOwner(method, intent.Text("customer"));
            c.S.Change(intent, o => o["payment_method"] = method.Text("id"));
        }
        return Confirmed(c, intent);
    }

    private static JsonObject Confirmed(Call c, JsonObject intent)
    {
        var (s, p) = (c.S, c.P);
        if (intent.Text("payment_method") is not { } method)
            throw StripeError.Invalid("You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment method or ConfirmationToken.", code: "payment_intent_unexpected_state");
        s.Change(intent, o => o.Take(p, "setup_future_usage").Set("_return_url", p.Text("return_url")));
        Confirm(s, intent, s.Find("payment_method", method, "payment_method"), p.Flag("off_session"));
        if (p.Flag("error_on_requires_action") && intent.Text("status") == "requires_action")
            Authenticate(s, intent, isGranted: false);
        return RefusalOf(intent) is { } refusal ? throw refusal : intent;
    }

    private static JsonObject CancelCall(Call c)
    {
        var intent = c.S.Find("payment_intent", c.Id, "intent");
        if (intent.Text("status") is "succeeded" or "canceled" or "processing") throw Unexpected(intent, "canceled");
        if (intent.Text("_invoice") is not null) throw StripeError.Invalid("You cannot cancel a PaymentIntent that was created by an Invoice. Void the invoice instead.");
        Cancel(c.S, intent, c.P.Text("cancellation_reason"));
        return intent;
    }

    private static void CheckOwner(JsonObject? method, string? customer)
    {
        if (method?.Text("customer") is { } owner && owner != customer)
            throw StripeError.Invalid("The PaymentMethod you provided belongs to another Customer, or the `customer` was not set.", "payment_method");
    }

    private static StripeError Unexpected(JsonObject intent, string what) => new(400, "invalid_request_error", "payment_intent_unexpected_state",
        $"This PaymentIntent could not be {what} because it has a status of {intent.Text("status")}.", more: new JsonObject { ["payment_intent"] = intent.Copy() });
}
