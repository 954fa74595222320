using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>What each type of object is called in ids, and what becomes of it by itself: when next, and then what.</summary>
internal static class Kinds
{
    private sealed record Kind(string Prefix, Func<Sandbox, JsonObject, long?>? Next = null, Action<Sandbox, JsonObject>? Due = null);

    private static readonly Dictionary<string, Kind> Table = new()
    {
        ["billing_portal.configuration"] = new("bpc"),
        ["billing_portal.session"] = new("bps"),
        ["charge"] = new("ch", Charges.NextDue, Charges.RunDue),
        ["checkout.session"] = new("cs_test", CheckoutSessions.NextDue, CheckoutSessions.RunDue),
        ["coupon"] = new("co"),
        ["customer"] = new("cus"),
        ["discount"] = new("di"),
        ["dispute"] = new("du"),
        ["event"] = new("evt"),
        ["invoice"] = new("in", Invoices.NextDue, Invoices.RunDue),
        ["invoice_payment"] = new("inpay"),
        ["invoiceitem"] = new("ii"),
        ["item"] = new("li"),
        ["line_item"] = new("il"),
        ["payment_intent"] = new("pi", PaymentIntents.NextDue, PaymentIntents.RunDue),
        ["payment_method"] = new("pm"),
        ["price"] = new("price"),
        ["product"] = new("prod"),
        ["promotion_code"] = new("promo"),
        ["refund"] = new("re", Refunds.NextDue, Refunds.RunDue),
        ["setup_intent"] = new("seti"),
        ["subscription"] = new("sub", SubscriptionClock.NextDue, SubscriptionClock.RunDue),
        ["subscription_item"] = new("si"),
        ["subscription_schedule"] = new("sub_sched", Schedules.NextDue, Schedules.RunDue),
        ["webhook_endpoint"] = new("we"),
    };

    public static string PrefixOf(string type) => Table[type].Prefix;

    public static long? NextDue(Sandbox s, JsonObject o) => Table.TryGetValue(o.Text("object")!, out var kind) ? kind.Next?.Invoke(s, o) : null;

    public static void RunDue(Sandbox s, JsonObject o) => Table[o.Text("object")!].Due!(s, o);
}
