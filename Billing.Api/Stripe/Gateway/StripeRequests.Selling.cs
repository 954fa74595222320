namespace Billing.Api.Stripe;

// Checkout, payments by the customer, the portal.

/// <summary>A plan to sell on a page of Stripe's.</summary>
/// <param name="Request">The content of the caller's request as a hash, by which a repeat is known.</param>
/// <param name="TrialDays">Null without a trial.</param>
/// <param name="TakesTrialWithoutCard">Whether the page asks for a card only where something is due.</param>
public sealed record PlanSale(
    string Organization, string CommandId, string Request, string Customer, string Price, long Quantity, int? TrialDays, bool TakesTrialWithoutCard, bool PromotionCodes, bool Tax,
    string SuccessUrl, string CancelUrl);

/// <summary>A token package to sell.</summary>
/// <param name="Request">As in <see cref="PlanSale"/>.</param>
/// <param name="SavePaymentMethod">Whether it may be charged again without the customer.</param>
public sealed record TokenSale(string Organization, string CommandId, string Request, string Customer, string Package, bool SavePaymentMethod);

public static partial class StripeRequests
{
    public const string CheckoutPath = "/v1/checkout/sessions";
    public const string PaymentPath = "/v1/payment_intents";

    /// <summary>Of whatever is sold: one key of a caller sells one thing.</summary>
    public static string SaleKey(string organization, string commandId) => KeyOf("sale", organization, commandId);

    public static StripeRequest SellPlan(PlanSale sale) => StripeRequest.Post(CheckoutPath, SaleKey(sale.Organization, sale.CommandId), sale.Organization,
    [
        .. new StripeForm
        {
            { "mode", "subscription" }, { "customer", sale.Customer }, { "client_reference_id", sale.Organization },
            { "line_items[0][price]", sale.Price }, { "line_items[0][quantity]", sale.Quantity },
            { "success_url", sale.SuccessUrl }, { "cancel_url", sale.CancelUrl },
            { "metadata[organization_id]", sale.Organization }, { "metadata[request]", sale.Request },
            { "subscription_data[metadata][organization_id]", sale.Organization }, { "subscription_data[billing_mode][type]", "flexible" },
            { "subscription_data[trial_period_days]", sale.TrialDays },
            { "subscription_data[trial_settings][end_behavior][missing_payment_method]", sale.TrialDays is null ? null : "cancel" },
            { "payment_method_collection", sale.TakesTrialWithoutCard ? "if_required" : null },
            { "allow_promotion_codes", sale.PromotionCodes ? true : null },
        },
        .. TaxOf(sale.Tax),
    ]);

    public static StripeRequest SellTokens(TokenSale sale, string price, bool tax, string successUrl, string cancelUrl) =>
        StripeRequest.Post(CheckoutPath, SaleKey(sale.Organization, sale.CommandId), sale.Organization,
        [
            .. new StripeForm
            {
                { "mode", "payment" }, { "customer", sale.Customer }, { "client_reference_id", sale.Organization },
                { "line_items[0][price]", price }, { "line_items[0][quantity]", 1 },
                { "success_url", successUrl }, { "cancel_url", cancelUrl },
                { "metadata[organization_id]", sale.Organization }, { "metadata[token_package]", sale.Package }, { "metadata[request]", sale.Request },
                // A session's metadata is not copied.
                { "payment_intent_data[metadata][organization_id]", sale.Organization }, { "payment_intent_data[metadata][token_package]", sale.Package },
                { "payment_intent_data[setup_future_usage]", sale.SavePaymentMethod ? "off_session" : null },
            },
            .. TaxOf(tax),
        ]);

    public static StripeRequest SellTokensByIntent(TokenSale sale, long amount, string currency) => StripeRequest.Post(PaymentPath, SaleKey(sale.Organization, sale.CommandId), sale.Organization, new()
    {
        { "amount", amount }, { "currency", currency }, { "customer", sale.Customer }, { "automatic_payment_methods[enabled]", true },
        { "setup_future_usage", sale.SavePaymentMethod ? "off_session" : null },
        { "metadata[organization_id]", sale.Organization }, { "metadata[token_package]", sale.Package }, { "metadata[request]", sale.Request },
    });

    /// <summary>What was sent under this key before, once more: what is sent is what was stored.</summary>
    public static StripeRequest SellAgain(string path, string organization, string commandId) => StripeRequest.Post(path, SaleKey(organization, commandId), organization, []);

    /// <param name="path"><see cref="CheckoutPath"/> or <see cref="PaymentPath"/>.</param>
    public static StripeRequest Sale(string path, string id) => StripeRequest.Get($"{path}/{id}");

    public static StripeRequest CheckoutSession(string id) => StripeRequest.Get($"{CheckoutPath}/{id}", new() { { "expand[0]", "subscription" } });

    public static StripeRequest OpenCheckoutSessions(string customer) => StripeRequest.Get(CheckoutPath, new() { { "customer", customer }, { "status", "open" } });

    public static StripeRequest ExpireCheckoutSession(string organization, string session) => StripeRequest.Post($"{CheckoutPath}/{session}/expire", $"expire:{session}", organization, []);

    /// <summary>All that were not canceled.</summary>
    public static StripeRequest OpenSubscriptionsOf(string customer) => StripeRequest.Get("/v1/subscriptions", new() { { "customer", customer } });

    /// <param name="key">Another one for each: what it answers is good for minutes.</param>
    /// <param name="flow">Null is all of the portal.</param>
    /// <param name="item">With subscription_update_confirm: what of the subscription changes to which price.</param>
    public static StripeRequest OpenPortal(string organization, string key, string customer, string returnUrl, string? flow = null, string? subscription = null, (string Id, string Price, long Quantity)? item = null)
    {
        StripeForm form = new() { { "customer", customer }, { "return_url", returnUrl }, { "flow_data[type]", flow } };
        if (flow is not null) form.AddRange(new StripeForm { { "flow_data[after_completion][type]", "redirect" }, { "flow_data[after_completion][redirect][return_url]", returnUrl } });
        if (flow is not null && subscription is not null) form.Add($"flow_data[{flow}][subscription]", subscription);
        if (item is { } to)
            form.AddRange(new StripeForm { { $"flow_data[{flow}][items][0][id]", to.Id }, { $"flow_data[{flow}][items][0][price]", to.Price }, { $"flow_data[{flow}][items][0][quantity]", to.Quantity } });
        return StripeRequest.Post("/v1/billing_portal/sessions", KeyOf("portal", organization, key), organization, form);
    }

    /// <summary>With a customer given, what it enters on the page is kept on it.</summary>
    private static StripeForm TaxOf(bool tax) => !tax ? [] : new()
    {
        { "automatic_tax[enabled]", true }, { "tax_id_collection[enabled]", true }, { "customer_update[address]", "auto" }, { "customer_update[name]", "auto" },
    };
}
