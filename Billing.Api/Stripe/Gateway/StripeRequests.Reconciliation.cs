using NodaTime;

namespace Billing.Api.Stripe;

// What Stripe has of a customer, and what happened lately.
public static partial class StripeRequests
{
    public static StripeRequest SubscriptionsOf(string customer) => StripeRequest.Get("/v1/subscriptions", new() { { "customer", customer }, { "status", "all" } });

    public static StripeRequest InvoicesOf(string customer) => StripeRequest.Get("/v1/invoices", new() { { "customer", customer } });

    public static StripeRequest PaymentIntentsOf(string customer) => StripeRequest.Get("/v1/payment_intents", new() { { "customer", customer } });

    public static StripeRequest CheckoutSessionsOf(string customer) => StripeRequest.Get("/v1/checkout/sessions", new() { { "customer", customer }, { "status", "complete" } });

    public static StripeRequest ChargesOf(string customer) => StripeRequest.Get("/v1/charges", new() { { "customer", customer } });

    public static StripeRequest Invoice(string id) => StripeRequest.Get($"/v1/invoices/{id}");

    public static StripeRequest RefundsOf(string paymentIntent) => StripeRequest.Get("/v1/refunds", new() { { "payment_intent", paymentIntent } });

    public static StripeRequest DisputesOf(string paymentIntent) => StripeRequest.Get("/v1/disputes", new() { { "payment_intent", paymentIntent } });

    /// <param name="since">Stripe keeps events for 30 days.</param>
    public static StripeRequest EventsSince(Instant since) => StripeRequest.Get("/v1/events", new() { { "created[gte]", since } });

    public static StripeRequest Event(string id) => StripeRequest.Get($"/v1/events/{id}");
}
