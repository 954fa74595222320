using System.Text.Json;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>Which payments may be given back, and what became of those that were.</summary>
internal static class StripeRefunds
{
    /// <summary>The payment intent, if it is this organization's.</summary>
    public static async Task<JsonElement> Payment(string organization, RefundBody body, Services services)
    {
        var id = body.Payment;
        if (body.Invoice is { } invoice)
            await foreach (var paid in services.Stripe.List(StripeRequests.InvoicePayments(Named(invoice, "in_", "invoice"))))
                id ??= paid.Get("payment")?.Reference("payment_intent");
        var payment = id is null ? null : await services.Stripe.Find(StripeRequests.PaymentIntent(Named(id, "pi_", "payment")));
        if (payment?.Reference("customer") is { } customer ? await services.Customers.Find(customer) == organization : payment?.Metadata("organization_id") == organization)
            return payment!.Value;
        throw new ApiException("payment_unknown", body.Invoice is null ? $"This organization made no payment '{id}' at Stripe." : $"This organization has no paid invoice '{body.Invoice}' at Stripe.", body.Invoice is null ? "payment" : "invoice");
    }

    /// <summary>Ids go into the address of a request, so they are nothing but ids.</summary>
    private static string Named(string id, string prefix, string field) =>
        id.Length <= 255 && id.StartsWith(prefix, StringComparison.Ordinal) && id.All(c => char.IsAsciiLetterOrDigit(c) || c == '_') ? id
            : throw new ApiException("invalid_field", $"An id here begins with {prefix}.", field);

    public static void CheckPolicy(JsonElement payment, RefundBody body, Services services)
    {
        if (body.Override) return;
        var isTokens = payment.Metadata("token_package") is not null;
        var days = isTokens ? services.Settings.Refunds.TokenDays : services.Settings.Refunds.SubscriptionDays;
        var what = isTokens ? "Tokens are" : "A subscription's payment is";
        if (days == 0) throw new ApiException("refund_outside_policy", $"{what} not given back. With \"override\": true it is, all the same.", "override");
        var paidAt = payment.Get("latest_charge")?.Time("created") ?? payment.Time("created") ?? Instant.MinValue;
        if (services.Clock.Now() > paidAt + Duration.FromDays(days))
            throw new ApiException("refund_outside_policy", $"{what} given back within {days} days, and this one was made at {paidAt}. With \"override\": true it is, all the same.", "override");
    }

    /// <summary>What was asked back, newest first, as Stripe says it is now.</summary>
    public static async Task<IReadOnlyList<RefundView>> List(string organization, int limit, Services services)
    {
        var refunds = new List<RefundView>();
        foreach (var sent in await services.SentRequests.List(organization, "/v1/refunds", limit))
            refunds.Add(sent.Object is { } id && await services.Stripe.Find(StripeRequests.Refund(id)) is { } made ? ViewOf(made, sent.SentAt)
                : new RefundView(sent.Object, sent.Status is null ? "unknown" : "refused", Sent(sent, "payment_intent"), null, Sent(sent, "metadata[reason]"), sent.SentAt));
        return refunds;
    }

    private static string? Sent(SentRequest request, string name) => request.Form is { } form ? StripeForm.Decode(form).FirstOrDefault(f => f.Key == name).Value : null;

    public static RefundView ViewOf(JsonElement refund, Instant at) => new(
        refund.Text("id"), refund.Text("status") ?? "unknown", refund.Reference("payment_intent"),
        refund.Number("amount") is { } amount ? new Money(amount, refund.Text("currency") ?? "usd") : null, refund.Metadata("reason"), refund.Time("created") ?? at)
    {
        Failure = refund.Text("failure_reason"),
        Next = refund.Text("status") switch { "pending" => "wait", "failed" or "requires_action" => "contact_customer", _ => "none" },
    };

    public static string? IdOf(JsonElement o) => o.Text("id");
}
