using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

internal static class PaymentMethods
{
    private const string Billing = $"billing_details{{address{Customers.Address} email name phone}}";

    public static readonly Operation[] Operations =
    [
        new("POST", "/payment_methods", $"type!(card|sepa_debit) card{{number token exp_month# exp_year# cvc}} sepa_debit{{iban!}} {Billing} metadata{{*}} allow_redisplay(always|limited|unspecified)", Create),
        new("GET", "/payment_methods", "customer type limit# starting_after ending_before", c => c.PageOf("payment_method", "customer", "type")),
        new("GET", "/payment_methods/{id}", "", c => Named(c.S, c.Id)),
        new("POST", "/payment_methods/{id}", $"{Billing} card{{exp_month# exp_year#}} metadata{{*}} allow_redisplay(always|limited|unspecified)", Update),
        new("POST", "/payment_methods/{id}/attach", "customer!", c => Attach(c.S, Named(c.S, c.Id), Customers.Named(c.S, c.P)!.Text("id")!)),
        new("POST", "/payment_methods/{id}/detach", "", Detach),
        new("GET", "/customers/{id}/payment_methods", "type limit# starting_after ending_before", c =>
            c.Page(c.S.Store.Of("payment_method").Where(o => o.Text("customer") == c.S.Find("customer", c.Id).Text("id")))),
    ];

    /// <summary>One that is kept, or a new one for a name such as <c>pm_card_visa</c>.</summary>
    public static JsonObject Named(Sandbox s, string id, string param = "payment_method") =>
        TestCards.ByMethod(id) is { } card ? New(s, card) : s.Find("payment_method", id, param);

    public static JsonObject New(Sandbox s, TestCard card, string? email = null, string? name = null, long month = 12, long year = 2034)
    {
        var method = s.New("payment_method");
        method["_number"] = card.Number;
        method.Set("billing_details.email", email).Set("billing_details.name", name);
        if (card.Brand == "sepa")
        {
            method["type"] = "sepa_debit";
            method.Remove("card");
            method["sepa_debit"] = new JsonObject
            {
                ["bank_code"] = "19043", ["branch_code"] = "", ["country"] = "AT", ["fingerprint"] = card.Number[^12..], ["generated_from"] = null, ["last4"] = card.Number[^4..],
            };
        }
        else
        {
            method.Set("card.brand", card.Brand).Set("card.display_brand", card.Brand).Set("card.last4", card.Number[^4..]).Set("card.networks.available", new JsonArray(card.Brand));
            method.Set("card.exp_month", month).Set("card.exp_year", year).Set("card.fingerprint", $"Fp{card.Number[^10..]}test");
        }
        return s.Add(method);
    }

    /// <summary>A card that is refused for good cannot be kept either.</summary>
    public static JsonObject Attach(Sandbox s, JsonObject method, string customer)
    {
        if (method.Text("customer") is { } owner)
            return owner == customer ? method : throw StripeError.Invalid("The payment method you provided has already been attached to a customer.", "payment_method");
        CheckKept(method);
        s.Change(method, o => o["customer"] = customer);
        s.Emit("payment_method.attached", method);
        return method;
    }

    public static void CheckKept(JsonObject method)
    {
        var card = TestCards.Of(method);
        if (card is { Code: not null, Attaches: false, Brand: not "sepa" }) throw TestCards.Decline(card);
    }

    private static JsonObject Create(Call c)
    {
        if (c.P.Text("type") == "sepa_debit")
            return New(c.S, TestCards.ByNumber(c.P.Text("sepa_debit.iban") ?? throw StripeError.OfRequest("Missing required param: sepa_debit.", "sepa_debit", "parameter_missing")));
        var sent = c.P.Object("card") ?? throw StripeError.OfRequest("Missing required param: card.", "card", "parameter_missing");
        var card = sent.Text("token") is { } token
            ? TestCards.ByMethod(token.Replace("tok_", "pm_card_", StringComparison.Ordinal)) ?? throw StripeError.Missing("token", token, "card[token]")
            : TestCards.ByNumber(sent.Text("number") ?? throw StripeError.OfRequest("Missing required param: card[number].", "card[number]", "parameter_missing"));
        var method = New(c.S, card, c.P.Text("billing_details.email"), c.P.Text("billing_details.name"), sent.Number("exp_month") ?? 12, sent.Number("exp_year") ?? 2034);
        method.Merge(c.P);
        return method;
    }

    private static JsonObject Update(Call c)
    {
        var method = c.S.Find("payment_method", c.Id);
        c.S.Change(method, o =>
        {
            foreach (var part in (string[])["billing_details", "card"])
                foreach (var (name, value) in c.P.Object(part) ?? []) o.Set($"{part}.{name}", value);
            o.Take(c.P, "allow_redisplay").Merge(c.P);
        }, "payment_method.updated");
        return method;
    }

    /// <summary>Whatever used it by default uses nothing now.</summary>
    private static JsonObject Detach(Call c)
    {
        var method = c.S.Find("payment_method", c.Id);
        if (method.Text("customer") is null) throw StripeError.Invalid("The payment method you provided is not attached to a customer so detachment is impossible.");
        foreach (var customer in c.S.Store.Of("customer").Where(o => o.Text("invoice_settings.default_payment_method") == c.Id))
            c.S.Change(customer, o => o.Set("invoice_settings.default_payment_method", null), "customer.updated");
        foreach (var subscription in c.S.Store.Of("subscription").Where(o => o.Text("default_payment_method") == c.Id))
            c.S.Change(subscription, o => o["default_payment_method"] = null, "customer.subscription.updated");
        c.S.Change(method, o => o["customer"] = null);
        c.S.Emit("payment_method.detached", method);
        return method;
    }
}
