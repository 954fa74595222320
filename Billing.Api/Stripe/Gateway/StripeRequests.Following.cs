namespace Billing.Api.Stripe;

// Looking up what events do not say.
public static partial class StripeRequests
{
    public static StripeRequest InvoiceLines(string invoice) => StripeRequest.Get($"/v1/invoices/{invoice}/lines");
}
