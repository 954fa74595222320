using System.Text.Json;
using Billing.Silo;

namespace Billing.Api.Stripe;

/// <summary>From Stripe's invoices to what is kept of them.</summary>
public static class MirroredInvoices
{
    /// <param name="lines">All of them, where Stripe's object has only the first.</param>
    /// <returns>Null for what is no invoice yet, such as an upcoming one.</returns>
    public static StripeInvoice? Read(JsonElement o, string organization, IReadOnlyList<JsonElement>? lines = null)
    {
        if (o.Text("id") is not { } id || o.Text("status") is not { } status || o.Time("created") is not { } created) return null;
        var currency = o.Text("currency") ?? "usd";
        var (total, due) = (o.Number("total") ?? 0, o.Number("amount_due") ?? 0);
        var times = o.Get("status_transitions");
        return new StripeInvoice(
            id, organization, status, created, o.Text("number"), currency, o.Number("subtotal") ?? total, Sum(o, "total_discount_amounts"), Sum(o, "total_taxes"), total, total - due, due,
            o.Number("amount_paid") ?? 0, o.Number("amount_remaining") ?? 0, o.Text("billing_reason"), (int)Math.Clamp(o.Number("attempt_count") ?? 0, 0, 99_999), o.Time("next_payment_attempt"),
            times?.Time("finalized_at"), o.Time("due_date"), times?.Time("paid_at") ?? times?.Time("voided_at") ?? times?.Time("marked_uncollectible_at"),
            o.Time("period_start") ?? created, o.Time("period_end") ?? created, o.Get("parent")?.Get("subscription_details")?.Reference("subscription"), o.Reference("customer"),
            o.Text("hosted_invoice_url"), o.Text("invoice_pdf"), o.Get("last_finalization_error")?.Text("message"),
            [.. (lines ?? [.. Items(o.Get("lines"), "data")]).Select(l => Line(l, o))]);
    }

    private static StripeInvoiceLine Line(JsonElement o, JsonElement invoice)
    {
        var item = o.Get("parent")?.Get("invoice_item_details");
        var details = o.Get("parent")?.Get("subscription_item_details") ?? item;
        var feature = o.Metadata("feature");
        var period = o.Get("period");
        var start = period?.Time("start") ?? invoice.Time("created")!.Value;
        return new StripeInvoiceLine(
            o.Text("id"), details?.Get("proration")?.ValueKind == JsonValueKind.True ? "proration" : feature is not null ? "overage" : item is null ? "base" : "adjustment",
            o.Text("description") ?? "", feature, o.Number("quantity") ?? 1, o.Number("amount") ?? 0, Sum(o, "discount_amounts"), Sum(o, "taxes"), start, period?.Time("end") ?? start);
    }

    private static long Sum(JsonElement o, string list) => Items(o, list).Sum(i => i.Number("amount") ?? 0);

    private static JsonElement.ArrayEnumerator Items(JsonElement? o, string name) => o?.Get(name) is { ValueKind: JsonValueKind.Array } items ? items.EnumerateArray() : default;
}
