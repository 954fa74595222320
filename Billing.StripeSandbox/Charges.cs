using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>One attempt to take money, and what was given back of it.</summary>
internal static class Charges
{
    public static readonly Operation[] Operations =
    [
        new("GET", "/charges", "customer payment_intent created{gt# gte# lt# lte#} limit# starting_after ending_before", c => c.PageOf("charge", "customer", "payment_intent")),
        new("GET", "/charges/{id}", "", c => c.S.Find("charge", c.Id)),
    ];

    public static JsonObject New(Sandbox s, JsonObject intent, JsonObject method, TestCard card)
    {
        var charge = s.New("charge");
        var isPaid = card.Code is null;
        foreach (var name in (string[])["amount", "currency", "customer", "description", "receipt_email", "statement_descriptor"]) charge.Set(name, intent[name]);
        charge.Merge(intent);
        charge.Set("payment_intent", intent.Text("id")).Set("payment_method", method.Text("id")).Set("billing_details", method["billing_details"]);
        charge.Set("paid", isPaid).Set("captured", isPaid).Set("amount_captured", isPaid ? intent.Number("amount") : 0).Set("status", isPaid ? "succeeded" : "failed");
        if (method.Text("type") == "card")
            foreach (var name in (string[])["brand", "last4", "exp_month", "exp_year", "fingerprint", "funding", "country"]) charge.Set($"payment_method_details.card.{name}", method.At($"card.{name}"));
        else charge["payment_method_details"] = new JsonObject { ["sepa_debit"] = method["sepa_debit"]!.DeepClone(), ["type"] = "sepa_debit" };
        charge["balance_transaction"] = isPaid ? s.NewId("txn") : null;
        charge["receipt_url"] = $"{s.BaseUrl}/receipts/{charge.Text("id")}";
        charge["_number"] = card.Number;
        if (!isPaid)
        {
            var isBlocked = card.Decline == "fraudulent";
            charge.Set("failure_code", card.Code).Set("failure_message", TestCards.Message(card));
            charge.Set("outcome.type", isBlocked ? "blocked" : "issuer_declined").Set("outcome.network_status", isBlocked ? "not_sent_to_network" : "declined_by_network");
            charge.Set("outcome.reason", isBlocked ? "highest_risk_level" : card.Decline).Set("outcome.seller_message", isBlocked ? "Stripe blocked this payment as too risky." : "The bank did not return any further details with this decline.");
        }
        return s.Add(charge, isPaid ? "charge.succeeded" : "charge.failed");
    }

    /// <summary>The charge that a refund or a question means.</summary>
    public static JsonObject Named(Sandbox s, JsonObject sent)
    {
        if (sent.Text("charge") is { } id) return s.Find("charge", id, "charge");
        if (sent.Text("payment_intent") is not { } intent) throw StripeError.OfRequest("One of the following params should be provided for this request: payment_intent or charge.", null, "parameter_missing");
        var charge = s.Store.Find(s.Find("payment_intent", intent, "payment_intent").Text("latest_charge"));
        return charge is not null && charge.Flag("paid") ? charge : throw StripeError.Invalid($"This PaymentIntent ({intent}) does not have a successful charge to refund.", "payment_intent");
    }

    /// <summary>A bank's complaint comes a moment after the payment.</summary>
    public static long? NextDue(Sandbox s, JsonObject charge) => charge.Number("_disputed_at");

    public static void RunDue(Sandbox s, JsonObject charge) => Disputes.Open(s, charge);
}
