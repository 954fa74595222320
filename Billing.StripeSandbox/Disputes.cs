using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

internal static class Disputes
{
    private const long Week = 7 * 24 * 3600;

    public static readonly Operation[] Operations =
    [
        new("GET", "/disputes", "charge payment_intent created{gt# gte# lt# lte#} limit# starting_after ending_before", c => c.PageOf("dispute", "charge", "payment_intent")),
        new("GET", "/disputes/{id}", "", c => c.S.Find("dispute", c.Id)),
        new("POST", "/disputes/{id}", "evidence{*} metadata{*} submit?", Update),
        new("POST", "/disputes/{id}/close", "", c => Close(c.S, c.S.Find("dispute", c.Id), "lost")),
    ];

    /// <summary>Some cards complain about every payment.</summary>
    public static void Follow(Sandbox s, JsonObject charge, TestCard card)
    {
        if (card.Dispute is { } status) s.Change(charge, o => o.Set("_disputed_at", s.Now + 1).Set("_dispute", status));
    }

    public static JsonObject Open(Sandbox s, JsonObject charge)
    {
        var isInquiry = charge.Text("_dispute") == "warning_needs_response";
        var dispute = s.New("dispute");
        foreach (var name in (string[])["amount", "currency", "payment_intent"]) dispute.Set(name, charge[name]);
        dispute.Set("charge", charge.Text("id")).Set("status", isInquiry ? "warning_needs_response" : "needs_response").Set("is_charge_refundable", isInquiry);
        dispute.Set("evidence_details.due_by", s.Now + Week).Set("payment_method_details.card.case_type", isInquiry ? "inquiry" : "chargeback");
        dispute.Set("payment_method_details.card.brand", charge.Text("payment_method_details.card.brand"));
        s.Change(charge, o => o.Set("_disputed_at", null).Set("disputed", !isInquiry));
        s.Add(dispute, "charge.dispute.created");
        if (!isInquiry) s.Emit("charge.dispute.funds_withdrawn", dispute);
        return dispute;
    }

    /// <summary>Evidence decides: <c>winning_evidence</c> wins and <c>losing_evidence</c> loses, as in Stripe's tests.</summary>
    private static JsonObject Update(Call c)
    {
        var dispute = c.S.Find("dispute", c.Id);
        if (dispute.Text("status") is "won" or "lost" or "warning_closed") throw StripeError.Invalid("This dispute is already closed.");
        var submits = c.P.Object("evidence") is { Count: > 0 } && (!c.P.Has("submit") || c.P.Flag("submit"));
        c.S.Change(dispute, o =>
        {
            foreach (var (name, value) in c.P.Object("evidence") ?? []) o.Set($"evidence.{name}", value);
            o.Merge(c.P);
            o.Set("evidence_details.has_evidence", o.Flag("evidence_details.has_evidence") || c.P.Has("evidence"));
            if (submits) o.Set("evidence_details.submission_count", o.Number("evidence_details.submission_count") + 1).Set("status", o.Text("status")!.Replace("needs_response", "under_review"));
        }, "charge.dispute.updated");
        return (submits ? c.P.Text("evidence.uncategorized_text") : null) switch
        {
            "winning_evidence" => Close(c.S, dispute, "won"),
            "losing_evidence" => Close(c.S, dispute, "lost"),
            _ => dispute,
        };
    }

    public static JsonObject Close(Sandbox s, JsonObject dispute, string outcome)
    {
        if (dispute.Text("status") is "won" or "lost" or "warning_closed") throw StripeError.Invalid("This dispute is already closed.");
        var isInquiry = dispute.Text("status")!.StartsWith("warning", StringComparison.Ordinal);
        s.Change(dispute, o => o["status"] = isInquiry ? "warning_closed" : outcome);
        if (!isInquiry && outcome == "won")
        {
            s.Change(s.Find("charge", dispute.Text("charge")), o => o["disputed"] = false);
            s.Emit("charge.dispute.funds_reinstated", dispute);
        }
        s.Emit("charge.dispute.closed", dispute);
        return dispute;
    }
}
