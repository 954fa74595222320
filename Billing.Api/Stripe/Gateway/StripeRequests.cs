using Billing.Silo;

namespace Billing.Api.Stripe;

/// <summary>
/// Every request that is made of Stripe, as a pure function from what is wanted to method, path and form. One file for each part of Stripe.
/// <c>payment_method_types</c> and a bare <c>billing_cycle_anchor</c> are never sent: so the same requests are valid at the next release train.
/// </summary>
public static partial class StripeRequests
{
    public static StripeRequest Customer(string id) => StripeRequest.Get($"/v1/customers/{id}");

    /// <param name="number">1 for the first one; more when those before it were deleted at Stripe.</param>
    public static StripeRequest CreateCustomer(string organization, Profile? profile, int number = 1) => StripeRequest.Post("/v1/customers", $"customer:{organization}:{number}", organization, new()
    {
        { "name", profile?.Name }, { "email", profile?.Email }, { "metadata[organization_id]", organization },
    });
}
