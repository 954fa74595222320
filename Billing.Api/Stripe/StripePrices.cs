using System.Collections.Concurrent;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>Which price at Stripe a price of the catalog is, as <see cref="CatalogPush"/> made it or found it given: what has no id is asked for by its lookup key.</summary>
public sealed class StripePrices(IStripeGateway? gateway, CatalogStore catalogs, Settings settings, Clock clock)
{
    private static readonly Duration Kept = Duration.FromMinutes(1);

    private readonly ConcurrentDictionary<string, (string Id, Instant Until)> found = [];

    /// <exception cref="ApiException">Stripe has no such price.</exception>
    public Task<string> Of(Plan plan, Price price) => Find("plan", plan.Id, price.LookupKey);

    /// <exception cref="ApiException">Stripe has no such price.</exception>
    public Task<string> Of(TokenPackage package, string currency) => Find("token_package", package.Id, catalogs.Current.Current.LookupKey(package, currency));

    /// <summary>One of them was not taken: it may have been replaced.</summary>
    public void Forget() => found.Clear();

    private async Task<string> Find(string kind, string of, string lookupKey)
    {
        var sold = CatalogPush.Sold(catalogs.Current.Current, settings.PriceIds).Single(p => p.Kind == kind && p.Of == of).Prices.First(p => p.LookupKey == lookupKey);
        if (sold.GivenId is { } given) return given;
        var now = clock.Now();
        if (found.TryGetValue(lookupKey, out var known) && now < known.Until) return known.Id;
        await foreach (var price in (gateway ?? throw Services.NoStripe()).List(StripeRequests.Prices([lookupKey])))
        {
            var id = price.Text("id")!;
            found[lookupKey] = (id, now + Kept);
            return id;
        }
        throw new ApiException("stripe_not_configured", $"Stripe has no price with the lookup key '{lookupKey}'. Push the catalog to Stripe first: POST /v1/catalog/push.");
    }
}
