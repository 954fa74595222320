using Billing.Grains;
using Billing.Ledger;

namespace Billing.Api.Stripe;

/// <summary>Charging what the ledger counted, and topping up.</summary>
public static partial class StripeRequests
{
    /// <summary>An invoice besides those of renewals, to be filled. It charges nothing before <see cref="SendInvoice"/>.</summary>
    /// <param name="about">What it is for: the event that asked for it, or the invoice that was closed too soon.</param>
    /// <param name="method">What is charged; null is what the customer has as its default.</param>
    public static StripeRequest DraftInvoice(string organization, string customer, string currency, string about, string? method) => StripeRequest.Post("/v1/invoices", $"invoice:{organization}:{about}:{currency}", organization, new()
    {
        { "customer", customer }, { "currency", currency }, { "auto_advance", false }, { "pending_invoice_items_behavior", "exclude" }, { "default_payment_method", method },
        { "metadata[organization_id]", organization }, { "metadata[billing_of]", about },
    }) with
    {
        Find = async stripe =>
        {
            await foreach (var made in stripe.List(InvoicesOf(customer)))
                if (made.Metadata("billing_of") == about && made.Text("currency") == currency) return made;
            return null;
        },
    };

    /// <summary>From here on Stripe finalizes it and collects what is due.</summary>
    public static StripeRequest SendInvoice(string organization, string invoice) => StripeRequest.Post($"/v1/invoices/{invoice}", $"invoice-sent:{organization}:{invoice}", organization, new() { { "auto_advance", true } }) with
    {
        // Done or not, doing it again changes nothing.
        Find = _ => Task.FromResult<System.Text.Json.JsonElement?>(null),
    };

    public static StripeRequest DeleteDraft(string invoice) => StripeRequest.Delete($"/v1/invoices/{invoice}");

    /// <param name="line">Which of the ledger's lines: its event's version and place.</param>
    public static StripeRequest InvoiceItem(string organization, string customer, string invoice, string line, InvoiceLine of) => StripeRequest.Post(
        "/v1/invoiceitems", $"overage:{organization}:{of.Start.ToUnixTimeSeconds()}:{of.Feature ?? "other"}:{line}:{invoice}", organization, new()
        {
            { "customer", customer }, { "invoice", invoice }, { "amount", of.Amount }, { "currency", of.Currency }, { "description", of.Description },
            { "period[start]", of.Start }, { "period[end]", of.End },
            { "metadata[organization_id]", organization }, { "metadata[feature]", of.Feature }, { "metadata[billing_line]", line },
        }) with
    {
        Find = async stripe =>
        {
            await foreach (var made in stripe.List(ItemsOf(invoice)))
                if (made.Metadata("billing_line") == line) return made;
            return null;
        },
    };

    private static StripeRequest ItemsOf(string invoice) => StripeRequest.Get("/v1/invoiceitems", new() { { "invoice", invoice } });

    // ---- topping up

    public static StripeRequest PaymentMethodsOf(string customer) => StripeRequest.Get("/v1/payment_methods", new() { { "customer", customer } });

    public static string TopUpKey(string organization, string topUp) => $"top-up:{organization}:{topUp}";

    /// <summary>Charges what is kept, with nobody there.</summary>
    public static StripeRequest TopUp(string organization, string customer, string method, PendingTopUpView topUp) => StripeRequest.Post("/v1/payment_intents", TopUpKey(organization, topUp.Id), organization, new()
    {
        { "amount", topUp.Amount.Amount }, { "currency", topUp.Amount.Currency }, { "customer", customer }, { "payment_method", method }, { "off_session", true }, { "confirm", true },
        { "metadata[organization_id]", organization }, { "metadata[token_package]", topUp.TokenPackage }, { "metadata[top_up]", topUp.Id },
    }) with
    {
        Find = stripe => FindTopUp(stripe, customer, topUp.Id),
    };

    /// <summary>The payment that was made for a top-up, or null.</summary>
    public static async Task<System.Text.Json.JsonElement?> FindTopUp(IStripeGateway stripe, string customer, string topUp)
    {
        await foreach (var made in stripe.List(PaymentIntentsOf(customer)))
            if (made.Metadata("top_up") == topUp) return made;
        return null;
    }
}
