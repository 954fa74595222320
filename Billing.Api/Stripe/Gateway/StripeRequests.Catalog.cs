using System.Security.Cryptography;
using System.Text;
using Billing.Ledger;
using NodaTime;
using NodaTime.Text;

namespace Billing.Api.Stripe;

/// <summary>Products and prices.</summary>
public static partial class StripeRequests
{
    /// <summary>Stripe takes no more in one call.</summary>
    public const int MaxLookupKeys = 10;

    public static StripeRequest Price(string id) => StripeRequest.Get($"/v1/prices/{id}");

    /// <param name="lookupKeys">At most <see cref="MaxLookupKeys"/>.</param>
    /// <param name="active">False finds the archived ones alone.</param>
    public static StripeRequest Prices(IReadOnlyList<string> lookupKeys, bool active = true) =>
        StripeRequest.Get("/v1/prices", [.. lookupKeys.Select((key, i) => KeyValuePair.Create($"lookup_keys[{i}]", key)), KeyValuePair.Create("active", active ? "true" : "false")]);

    public static StripeRequest ActivePricesOf(string product) => StripeRequest.Get("/v1/prices", new() { { "product", product }, { "active", true } });

    public static StripeRequest Products(IReadOnlyList<string> ids) => StripeRequest.Get("/v1/products", [.. ids.Select((id, i) => KeyValuePair.Create($"ids[{i}]", id))]);

    /// <param name="version">The catalog's.</param>
    public static StripeRequest CreateProduct(SoldProduct product, int version, Instant now)
    {
        StripeForm form = new() { { "id", product.Id }, { "name", product.Name }, { $"metadata[{product.Kind}]", product.Of }, { "metadata[catalog]", version } };
        return StripeRequest.Post("/v1/products", $"product:{product.Id}:{HashOf(form)}:{Day(now)}", null, form);
    }

    /// <param name="updated">When it was last changed at Stripe: to change it back is another request.</param>
    public static StripeRequest UpdateProduct(SoldProduct product, long updated, int version, Instant now)
    {
        StripeForm form = new() { { "name", product.Name }, { "active", true }, { $"metadata[{product.Kind}]", product.Of }, { "metadata[catalog]", version } };
        return StripeRequest.Post($"/v1/products/{product.Id}", $"product:{product.Id}:{HashOf(form)}:{updated}:{Day(now)}", null, form);
    }

    /// <param name="old">The price that has the lookup key until now, or null.</param>
    public static StripeRequest CreatePrice(SoldProduct product, SoldPrice price, string? old, int version, Instant now)
    {
        StripeForm form = new()
        {
            { "product", product.Id }, { "currency", price.Price.Currency }, { "unit_amount", price.Price.Amount },
            { "recurring[interval]", price.Interval switch { null => null, BillingInterval.Year => "year", _ => "month" } },
            { "recurring[interval_count]", price.Interval == BillingInterval.Quarter ? 3L : null },
            { "lookup_key", price.LookupKey }, { "transfer_lookup_key", true },
            // The key goes on to the next price. By its metadata this one is known for as long as somebody pays it.
            { $"metadata[{product.Kind}]", product.Of }, { "metadata[lookup_key]", price.LookupKey }, { "metadata[catalog]", version },
        };
        return StripeRequest.Post("/v1/prices", $"price:{price.LookupKey}:{HashOf(form)}:{old ?? "none"}:{Day(now)}", null, form);
    }

    public static StripeRequest ArchivePrice(string id, Instant now) => StripeRequest.Post($"/v1/prices/{id}", $"price:archive:{id}:{Day(now)}", null, new() { { "active", false } });

    /// <summary>What is made of the catalog is looked for before it is made. So a key need not outlast a day, and an account that was emptied, or another one, is filled again.</summary>
    private static string Day(Instant now) => LocalDatePattern.Iso.Format(now.InUtc().Date);

    private static string HashOf(StripeForm form) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(form.Encode())))[..32];
}
