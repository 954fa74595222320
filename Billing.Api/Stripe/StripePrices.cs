using Billing.Ledger;
using Billing.Silo;

namespace Billing.Api.Stripe;

/// <summary>
/// Which price at Stripe a price of the catalog is, as <see cref="CatalogPush"/> made it or found it given. What has no id is asked for by
/// its lookup key, each time: a push may have given it to another price a moment ago, and a request with the older one spends its key.
/// </summary>
public sealed class StripePrices(IStripeGateway? gateway, CatalogStore catalogs, Settings settings)
{
    /// <exception cref="ApiException">Stripe has no such price.</exception>
    public Task<string> Of(Plan plan, Price price) => Find("plan", plan.Id, price.LookupKey);

    /// <exception cref="ApiException">Stripe has no such price.</exception>
    public Task<string> Of(TokenPackage package, string currency) => Find("token_package", package.Id, catalogs.Current.Current.LookupKey(package, currency));

    private async Task<string> Find(string kind, string of, string lookupKey)
    {
        var sold = CatalogPush.Sold(catalogs.Current.Current, settings.PriceIds).Single(p => p.Kind == kind && p.Of == of).Prices.First(p => p.LookupKey == lookupKey);
        if (sold.GivenId is { } given) return given;
        await foreach (var price in (gateway ?? throw Services.NoStripe()).List(StripeRequests.Prices([lookupKey]))) return price.Text("id")!;
        throw new ApiException("stripe_not_configured", $"Stripe has no price with the lookup key '{lookupKey}'. Push the catalog to Stripe first: POST /v1/catalog/push.");
    }
}
