using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

internal static class Refunds
{
    /// <summary>A refund that is not settled at once is after this many seconds.</summary>
    private const long BankTakes = 180;

    public static readonly Operation[] Operations =
    [
        new("POST", "/refunds", "charge payment_intent amount# reason(duplicate|fraudulent|requested_by_customer) metadata{*}", Create),
        new("GET", "/refunds", "charge payment_intent created{gt# gte# lt# lte#} limit# starting_after ending_before", c => c.PageOf("refund", "charge", "payment_intent")),
        new("GET", "/refunds/{id}", "", c => c.S.Find("refund", c.Id)),
        new("POST", "/refunds/{id}", "metadata{*}", Update),
    ];

    private static JsonObject Create(Call c)
    {
        var s = c.S;
        var charge = Charges.Named(s, c.P);
        var left = charge.Number("amount")!.Value - charge.Number("amount_refunded")!.Value;
        if (!charge.Flag("paid")) throw StripeError.Invalid($"Charge {charge.Text("id")} has not been paid and cannot be refunded.");
        if (left == 0) throw StripeError.Invalid($"Charge {charge.Text("id")} has already been refunded.", code: "charge_already_refunded");
        if (charge.Flag("disputed")) throw StripeError.Invalid($"Charge {charge.Text("id")} has been charged back; cannot issue a refund.", code: "charge_disputed");
        var amount = c.P.Number("amount") ?? left;
        if (amount < 1) throw StripeError.Invalid("Invalid positive integer", "amount", "parameter_invalid_integer");
        if (amount > left) throw StripeError.Invalid($"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", "amount");

        var card = TestCards.ByNumber(charge.Text("_number")!);
        var refund = s.New("refund");
        refund.Set("amount", amount).Set("charge", charge.Text("id")).Set("currency", charge.Text("currency")).Set("payment_intent", charge.Text("payment_intent"));
        refund.Set("status", card.Refund ?? "succeeded").Set("balance_transaction", s.NewId("txn")).Set("_settles_at", card.Refund is null ? null : s.Now + BankTakes);
        refund.Take(c.P, "reason").Merge(c.P);
        s.Add(refund, "refund.created");
        Book(s, charge, amount);
        s.Emit("charge.refunded", charge);
        return refund;
    }

    private static JsonObject Update(Call c)
    {
        var refund = c.S.Find("refund", c.Id);
        c.S.Change(refund, o => o.Merge(c.P), "refund.updated");
        return refund;
    }

    public static long? NextDue(Sandbox s, JsonObject refund) => refund.Number("_settles_at");

    /// <summary>What was pending succeeds; what seemed to have succeeded fails, and the money is back here.</summary>
    public static void RunDue(Sandbox s, JsonObject refund)
    {
        var fails = refund.Text("status") == "succeeded";
        s.Change(refund, o =>
        {
            o.Set("_settles_at", null).Set("status", fails ? "failed" : "succeeded");
            if (fails) o.Set("failure_reason", "unknown").Set("failure_balance_transaction", s.NewId("txn"));
        }, "refund.updated");
        if (!fails) return;
        Book(s, s.Find("charge", refund.Text("charge")), -refund.Number("amount")!.Value);
        s.Emit("refund.failed", refund);
    }

    private static void Book(Sandbox s, JsonObject charge, long amount) => s.Change(charge, o =>
    {
        o["amount_refunded"] = o.Number("amount_refunded") + amount;
        o["refunded"] = o.Number("amount_refunded") == o.Number("amount");
    });
}
