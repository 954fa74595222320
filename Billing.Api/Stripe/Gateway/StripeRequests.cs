using System.Security.Cryptography;
using System.Text;
using Billing.Grains.Journal;
using Billing.Silo;

namespace Billing.Api.Stripe;

/// <summary>
/// Every request that is made of Stripe, as a pure function from what is wanted to method, path and form. One file for each part of Stripe.
/// <c>payment_method_types</c> and a bare <c>billing_cycle_anchor</c> are never sent: so the same requests are valid at the next release train.
/// </summary>
public static partial class StripeRequests
{
    /// <summary>The key of a request that belongs to a caller's command.</summary>
    public static string KeyOf(string step, string organization, string id) => $"{step}:{organization}:{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(id)))[..32]}";

    public static StripeRequest Customer(string id) => StripeRequest.Get($"/v1/customers/{id}");

    /// <param name="number">1 for the first one; more when those before it were deleted at Stripe.</param>
    public static StripeRequest CreateCustomer(string organization, Profile? profile, int number = 1) => StripeRequest.Post("/v1/customers", $"customer:{organization}:{number}", organization, new()
    {
        { "name", profile?.Name }, { "email", profile?.Email }, { "address[line1]", Lines(profile).First }, { "address[line2]", Lines(profile).More }, { "address[country]", profile?.Country },
        { "metadata[organization_id]", organization },
    }) with
    {
        // The search is up to an hour behind, and this is asked a day later.
        Find = async stripe =>
        {
            await foreach (var made in stripe.List(CustomersOf(organization))) return made;
            return null;
        },
    };

    public static StripeRequest CustomersOf(string organization) => StripeRequest.Get("/v1/customers/search", new() { { "query", $"metadata['organization_id']:'{organization}'" } });

    /// <summary>What the profile does not have is unset.</summary>
    public static StripeRequest UpdateCustomer(string organization, string customer, Profile? profile)
    {
        StripeForm form = new() { { "name", profile?.Name ?? "" }, { "email", profile?.Email ?? "" } };
        if (profile is { Address: null, Country: null } or null) form.Add("address", "");
        else form.AddRange(new StripeForm { { "address[line1]", Lines(profile).First ?? "" }, { "address[line2]", Lines(profile).More ?? "" }, { "address[country]", profile.Country ?? "" } });
        // Each state of the profile is told once.
        var state = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(form.Encode())))[..32];
        return StripeRequest.Post($"/v1/customers/{customer}", $"profile:{customer}:{(profile is null ? 0 : Micros.Of(profile.UpdatedAt))}:{state}", organization, form);
    }

    /// <summary>Stripe has two lines for what is not city, state or postal code.</summary>
    private static (string? First, string? More) Lines(Profile? profile)
    {
        var lines = (profile?.Address ?? "").Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        return (lines.FirstOrDefault(), lines.Length > 1 ? string.Join(", ", lines[1..]) : null);
    }
}
