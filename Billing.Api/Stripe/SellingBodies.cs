using System.ComponentModel.DataAnnotations;
using System.Text.Json.Serialization;
using NodaTime;

namespace Billing.Api.Stripe;

/// <param name="Plan">The plan's id.</param>
/// <param name="Interval">month, quarter or year.</param>
/// <param name="BillingPeriod">The same in other words: monthly, quarterly or yearly.</param>
/// <param name="Currency">The catalog's without one.</param>
/// <param name="Quantity">1 without it.</param>
/// <param name="Trial">True: with the plan's trial, or not at all; false: without. Left out: with, if it was not used yet.</param>
/// <param name="AllowPromotionCodes">Whether the page takes promotion codes; as configured without it.</param>
/// <param name="SuccessUrl">Where the browser goes when it is done: a page of the front end without one. {CHECKOUT_SESSION_ID} in it becomes the session's id.</param>
/// <param name="CancelUrl">Where it goes when the customer turns back.</param>
/// <param name="PaymentMethodCollection">always, or if_required: a trial without a card. As the plan says without it.</param>
public sealed record CheckoutBody(
    [property: Required] string? Plan, string? Interval, string? BillingPeriod, string? Currency, long? Quantity, bool? Trial, bool? AllowPromotionCodes, string? SuccessUrl, string? CancelUrl,
    string? PaymentMethodCollection);

/// <param name="TokenPackage">The package's id.</param>
/// <param name="Mode">checkout (without one): a page to pay on; payment_intent: a client secret to pay with on a page of your own.</param>
/// <param name="Currency">The catalog's without one.</param>
/// <param name="SuccessUrl">With checkout: where the browser goes when it is done.</param>
/// <param name="CancelUrl">With checkout: where it goes when the customer turns back.</param>
/// <param name="SavePaymentMethod">Whether it may be charged again without the customer, as automatic top-up does.</param>
public sealed record TokenPurchaseBody([property: Required] string? TokenPackage, string? Mode, string? Currency, string? SuccessUrl, string? CancelUrl, bool SavePaymentMethod);

/// <param name="ReturnUrl">Where its way back leads: a page of the front end without one.</param>
/// <param name="Flow">One thing to do, and back: payment_method_update, subscription_cancel, subscription_update, or subscription_update_confirm (with a plan and an interval). All of the portal without one.</param>
/// <param name="Plan">With subscription_update_confirm: the plan to change to.</param>
/// <param name="Interval">month, quarter or year.</param>
/// <param name="BillingPeriod">The same in other words: monthly, quarterly or yearly.</param>
public sealed record PortalBody(string? ReturnUrl, string? Flow, string? Plan, string? Interval, string? BillingPeriod);

/// <summary>Something that is being sold: a checkout session or a payment.</summary>
/// <param name="Id">At Stripe.</param>
/// <param name="Status">Stripe's word for it.</param>
/// <param name="Next">What to do: redirect (to url), confirm_payment (with client_secret), wait (the money is on its way), start_again, or none: it is done.</param>
public sealed record SaleView(string Id, string Status, string Next)
{
    /// <summary>The page to pay on.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Url { get; init; }

    /// <summary>When that page ends.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public Instant? ExpiresAt { get; init; }

    /// <summary>What a page of your own confirms the payment with. For this customer alone, and never logged.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? ClientSecret { get; init; }

    /// <summary>What is due now, in minor units.</summary>
    public long Amount { get; init; }

    public string? Currency { get; init; }
}

/// <param name="Url">For this customer now: it works for minutes.</param>
/// <param name="Next">redirect.</param>
public sealed record PortalView(string Id, string Url, string Next);
