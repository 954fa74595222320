using System.Text.Json;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>A subscription that is started without a checkout page.</summary>
/// <param name="PaymentMethod">Attached to the customer already; the customer's default without it.</param>
/// <param name="Quantity">Stripe's one without it.</param>
public sealed record NewSubscription(string Organization, string Customer, string Price, long? Quantity, string? PaymentMethod, int? TrialDays);

/// <summary>Another price for one item of a subscription. The quantity is always said: a change of price makes it one.</summary>
/// <param name="At">From when the change is prorated; Stripe's own clock without it.</param>
public sealed record ItemChange(string Subscription, string Item, string Price, long Quantity, ProrationMode Proration, Instant? At);

/// <summary>What a subscription is until its period's end, and what then.</summary>
public sealed record PlannedPhases(Instant Start, Instant End, string Price, long Quantity, string NextPrice, BillingInterval NextInterval);

public static partial class StripeRequests
{
    private const string Secret = "latest_invoice.confirmation_secret";

    /// <summary>With what a browser confirms its payment and its payment method with.</summary>
    public static StripeRequest Subscription(string id) => StripeRequest.Get($"/v1/subscriptions/{id}", new() { { "expand[0]", Secret }, { "expand[1]", "pending_setup_intent" } });

    public static StripeRequest AttachPaymentMethod(string organization, string key, string method, string customer) =>
        StripeRequest.Post($"/v1/payment_methods/{method}/attach", key, organization, new() { { "customer", customer } });

    /// <summary>What is charged from now on where nothing else is said.</summary>
    public static StripeRequest SetDefaultPaymentMethod(string organization, string key, string customer, string method) =>
        StripeRequest.Post($"/v1/customers/{customer}", key, organization, new() { { "invoice_settings[default_payment_method]", method } });

    /// <summary>A subscription's own comes before the customer's.</summary>
    public static StripeRequest SetSubscriptionPaymentMethod(string organization, string key, string subscription, string method) =>
        UpdateSubscription(organization, key, subscription, new() { { "default_payment_method", method } });

    /// <summary>A payment that is refused leaves no subscription.</summary>
    public static StripeRequest CreateSubscription(NewSubscription sold, string key) => StripeRequest.Post("/v1/subscriptions", key, sold.Organization, new()
    {
        { "customer", sold.Customer }, { "items[0][price]", sold.Price }, { "items[0][quantity]", sold.Quantity }, { "default_payment_method", sold.PaymentMethod },
        { "billing_mode[type]", "flexible" }, { "trial_period_days", sold.TrialDays },
        { "trial_settings[end_behavior][missing_payment_method]", sold.TrialDays is null ? null : "cancel" },
        { "metadata[organization_id]", sold.Organization }, { "payment_behavior", "error_if_incomplete" }, { "expand[0]", Secret }, { "expand[1]", "pending_setup_intent" },
    }) with { Find = stripe => Live(stripe, sold.Customer) };

    /// <summary>A payment that is refused changes nothing.</summary>
    public static StripeRequest ChangeSubscription(string organization, string key, ItemChange to) => UpdateSubscription(organization, key, to.Subscription, new()
    {
        { "items[0][id]", to.Item }, { "items[0][price]", to.Price }, { "items[0][quantity]", to.Quantity }, { "proration_behavior", BehaviourOf(to.Proration) }, { "proration_date", to.At },
        { "payment_behavior", "error_if_incomplete" }, { "expand[0]", Secret },
    });

    /// <summary>The same, when the bank wants to ask the cardholder: a new subscription waits for the payment, a change takes effect with it.</summary>
    /// <param name="request">As it was refused.</param>
    public static StripeRequest AwaitingConfirmation(StripeRequest request, string key) => request with
    {
        Key = key,
        Form = [.. request.Form.Select(f => f.Key != "payment_behavior" ? f : new(f.Key, request.Path == "/v1/subscriptions" ? "allow_incomplete" : "pending_if_incomplete"))],
    };

    /// <summary>What was begun is gone on with: exactly what was sent first.</summary>
    public static StripeRequest Again(SentRequest sent)
    {
        var form = sent.Form is { } stored ? StripeForm.Decode(stored) : [];
        return StripeRequest.Post(sent.Path, sent.Key, sent.Organization, form) with
        {
            Find = sent.Path switch
            {
                "/v1/subscriptions" when Sent("customer") is { } customer => stripe => Live(stripe, customer),
                "/v1/refunds" when Sent("payment_intent") is { } intent => stripe => Refunded(stripe, intent, sent.Key),
                _ => null,
            },
        };

        string? Sent(string name) => form.Find(f => f.Key == name).Value;
    }

    /// <summary>Under an organization's customer there is at most one that goes on.</summary>
    private static async Task<JsonElement?> Live(IStripeGateway stripe, string customer)
    {
        await foreach (var live in stripe.List(OpenSubscriptionsOf(customer)))
            if (live.Text("status") is not ("canceled" or "incomplete_expired")) return live;
        return null;
    }

    private static async Task<JsonElement?> Refunded(IStripeGateway stripe, string intent, string key)
    {
        await foreach (var made in stripe.List(StripeRequest.Get("/v1/refunds", new() { { "payment_intent", intent } })))
            if (made.Metadata("command") == key) return made;
        return null;
    }

    /// <summary>What a change would come to, from the same moment as the change itself.</summary>
    public static StripeRequest PreviewChange(string organization, string key, ItemChange to) => StripeRequest.Post("/v1/invoices/create_preview", key, organization, new()
    {
        { "subscription", to.Subscription },
        { "subscription_details[items][0][id]", to.Item }, { "subscription_details[items][0][price]", to.Price }, { "subscription_details[items][0][quantity]", to.Quantity },
        { "subscription_details[proration_behavior]", BehaviourOf(to.Proration) }, { "subscription_details[proration_date]", to.At },
    });

    public static StripeRequest CancelAtPeriodEnd(string organization, string key, string subscription, bool cancels) =>
        UpdateSubscription(organization, key, subscription, new() { { "cancel_at_period_end", cancels } });

    /// <summary>What waits for the next invoice, such as the rest of an upgrade, is on a last one: without that Stripe would drop it.</summary>
    /// <param name="prorate">The unused rest is given back there.</param>
    public static StripeRequest EndSubscription(string subscription, bool prorate) =>
        StripeRequest.Delete($"/v1/subscriptions/{subscription}", new() { { "prorate", prorate ? true : null }, { "invoice_now", true } });

    /// <summary>Invoices that are made while it is paused are void: nothing is owed for the time.</summary>
    public static StripeRequest PauseCollection(string organization, string key, string subscription) =>
        UpdateSubscription(organization, key, subscription, new() { { "pause_collection[behavior]", "void" } });

    public static StripeRequest ResumeCollection(string organization, string key, string subscription) =>
        UpdateSubscription(organization, key, subscription, new() { { "pause_collection", "" } });

    /// <summary>Of one that Stripe itself paused, because its trial ended with nothing to pay with.</summary>
    public static StripeRequest ResumeSubscription(string organization, string key, string subscription) =>
        StripeRequest.Post($"/v1/subscriptions/{subscription}/resume", key, organization, new() { { "proration_behavior", "none" } });

    public static StripeRequest PayInvoice(string organization, string key, string invoice, string method) =>
        StripeRequest.Post($"/v1/invoices/{invoice}/pay", key, organization, new() { { "payment_method", method } });

    // ---- what waits for the period's end

    public static StripeRequest Schedule(string id) => StripeRequest.Get($"/v1/subscription_schedules/{id}");

    /// <summary>What the schedule is for: events about a subscription say only that there is one.</summary>
    public static StripeRequest NameSchedule(string organization, string key, string subscription, string plan, BillingInterval interval) =>
        UpdateSubscription(organization, key, subscription, new() { { "metadata[scheduled_plan]", plan }, { "metadata[scheduled_interval]", Spelling.Of(interval) } });

    /// <summary>Takes nothing but the subscription; its phases are set by a second call.</summary>
    public static StripeRequest CreateSchedule(string organization, string key, string subscription) =>
        StripeRequest.Post("/v1/subscription_schedules", key, organization, new() { { "from_subscription", subscription } });

    public static StripeRequest PlanPhases(string organization, string key, string schedule, PlannedPhases to) => StripeRequest.Post($"/v1/subscription_schedules/{schedule}", key, organization, new()
    {
        { "end_behavior", "release" },
        { "phases[0][start_date]", to.Start }, { "phases[0][end_date]", to.End }, { "phases[0][items][0][price]", to.Price }, { "phases[0][items][0][quantity]", to.Quantity },
        { "phases[1][items][0][price]", to.NextPrice }, { "phases[1][items][0][quantity]", to.Quantity }, { "phases[1][proration_behavior]", "none" },
        { "phases[1][duration][interval]", to.NextInterval == BillingInterval.Year ? "year" : "month" }, { "phases[1][duration][interval_count]", to.NextInterval == BillingInterval.Quarter ? 3 : 1 },
    });

    public static StripeRequest ReleaseSchedule(string organization, string key, string schedule) => StripeRequest.Post($"/v1/subscription_schedules/{schedule}/release", key, organization, []);

    // ---- money back

    public static StripeRequest PaymentIntent(string id) => StripeRequest.Get($"/v1/payment_intents/{id}", new() { { "expand[0]", "latest_charge" } });

    /// <summary>What an invoice was paid with.</summary>
    public static StripeRequest InvoicePayments(string invoice) => StripeRequest.Get("/v1/invoice_payments", new() { { "invoice", invoice }, { "status", "paid" } });

    public static StripeRequest Refund(string id) => StripeRequest.Get($"/v1/refunds/{id}");

    /// <param name="amount">Minor units; all that is left without it.</param>
    public static StripeRequest CreateRefund(string organization, string key, string intent, long? amount, string reason) => StripeRequest.Post("/v1/refunds", key, organization, new()
    {
        { "payment_intent", intent }, { "amount", amount }, { "reason", "requested_by_customer" },
        { "metadata[organization_id]", organization }, { "metadata[reason]", reason }, { "metadata[command]", key },
    }) with { Find = stripe => Refunded(stripe, intent, key) };

    private static StripeRequest UpdateSubscription(string organization, string key, string subscription, StripeForm form) => StripeRequest.Post($"/v1/subscriptions/{subscription}", key, organization, form);

    private static string BehaviourOf(ProrationMode proration) => proration switch { ProrationMode.InvoiceNow => "always_invoice", ProrationMode.None => "none", _ => "create_prorations" };
}
