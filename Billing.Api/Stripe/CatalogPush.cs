using System.Globalization;
using System.Text.Json;
using Billing.Ledger;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>A plan or a token package, as a product of Stripe's.</summary>
/// <param name="Kind"><c>plan</c> or <c>token_package</c>.</param>
/// <param name="Of">The plan's or package's id.</param>
public sealed record SoldProduct(string Id, string Name, string Kind, string Of, IReadOnlyList<SoldPrice> Prices);

/// <param name="Interval">Null is paid once.</param>
/// <param name="GivenId">The price at Stripe that the environment or the catalog names: it is used as it is.</param>
public sealed record SoldPrice(string LookupKey, Money Price, BillingInterval? Interval, string? GivenId)
{
    public string Every => Interval is { } interval ? Spelling.Of(interval) : "once";
}

public sealed record ProductAtStripe(string Id, string? Name, bool IsActive, string? Of, long Updated)
{
    public static ProductAtStripe Read(JsonElement json) => new(
        json.Text("id") ?? "", json.Text("name"), json.Get("active")?.ValueKind == JsonValueKind.True, json.Metadata("plan") ?? json.Metadata("token_package"), json.Number("updated") ?? 0);
}

/// <param name="Every">month, quarter, year, once; or something that no catalog says.</param>
/// <param name="IsOurs">A push made it.</param>
public sealed record PriceAtStripe(string Id, string? Product, long? Amount, string? Currency, string Every, string? LookupKey, bool IsActive, bool IsOurs)
{
    public static PriceAtStripe Read(JsonElement json) => new(
        json.Text("id") ?? "", json.Reference("product"), json.Number("unit_amount"), json.Text("currency"), EveryOf(json.Get("recurring")), json.Text("lookup_key"),
        json.Get("active")?.ValueKind == JsonValueKind.True, json.Metadata("catalog") is not null);

    private static string EveryOf(JsonElement? recurring) => (recurring?.Text("interval"), recurring?.Number("interval_count") ?? 1) switch
    {
        (null, _) => "once",
        ("month", 1) => "month",
        ("month", 3) => "quarter",
        ("year", 1) or ("month", 12) => "year",
        var (interval, count) => $"{count} {interval}s",
    };
}

/// <summary>What of the catalog is at Stripe already.</summary>
public sealed record CatalogAtStripe(IReadOnlyList<ProductAtStripe> Products, IReadOnlyList<PriceAtStripe> Prices);

/// <summary>One step of a push.</summary>
/// <param name="Action">create_product, update_product, create_price, replace_price, archive_price; keep and given change nothing.</param>
/// <param name="Id">Of the product or price; null of a price that is not made yet.</param>
/// <param name="Detail">For people.</param>
/// <param name="IsWrong">A price that was given and that does not fit: somebody has to look at it.</param>
/// <param name="Request">What does it; null when there is nothing to do.</param>
public sealed record CatalogChange(string Action, string? Id, string? LookupKey, string Detail, StripeRequest? Request = null, bool IsWrong = false);

/// <summary>Makes Stripe have what the catalog sells: reads what is there, and makes what differs. May be broken off anywhere and done again.</summary>
public static class CatalogPush
{
    private const int MaxProductsAtOnce = 100;

    /// <summary>Looks, and changes what differs.</summary>
    /// <param name="dryRun">Only looks.</param>
    public static async Task<IReadOnlyList<CatalogChange>> Run(IStripeGateway stripe, Catalog catalog, IReadOnlyDictionary<string, (string Plan, BillingInterval Interval)> fromEnvironment, Clock clock, bool dryRun)
    {
        var sold = Sold(catalog, fromEnvironment);
        var changes = Changes(sold, await Look(stripe, sold), catalog.Version, clock.Now());
        if (dryRun) return changes;
        foreach (var change in changes)
        {
            if (change.Request is not { } request) continue;
            try
            {
                await stripe.Send(request);
                FaultPoints.Reach($"push:{change.Action}");
            }
            catch (StripeException e) when (request.Path == "/v1/products" && e.Code == "resource_already_exists")
            {
                // Another process made it since we looked.
            }
        }
        return changes;
    }

    /// <summary>Everything that the catalog sells.</summary>
    public static IReadOnlyList<SoldProduct> Sold(Catalog catalog, IReadOnlyDictionary<string, (string Plan, BillingInterval Interval)> fromEnvironment)
    {
        string? Given(string plan, BillingInterval interval) => fromEnvironment.FirstOrDefault(e => e.Value == (PriceBook.EnvironmentName(plan), interval)).Key;

        return
        [
            .. catalog.Plans.Select(plan => new SoldProduct($"plan_{plan.Id}", plan.Name, "plan", plan.Id,
                [.. plan.Prices.Select(p => new SoldPrice(p.LookupKey, p.Amount, p.Interval, (p.Amount.Currency == catalog.Currency ? Given(plan.Id, p.Interval) : null) ?? p.PriceId))])),
            .. catalog.TokenPackages.Select(package => new SoldProduct($"tokens_{package.Id}", package.Name, "token_package", package.Id,
                [.. package.Prices.Select(p => new SoldPrice(catalog.LookupKey(package, p.Currency), p, null, p.Currency == catalog.Currency || package.Prices.Length == 1 ? package.PriceId : null))])),
        ];
    }

    /// <summary>What there is to do, in the order in which it is done. A price that has another one's place stands before the end of the other.</summary>
    public static IReadOnlyList<CatalogChange> Changes(IReadOnlyList<SoldProduct> sold, CatalogAtStripe there, int version, Instant now)
    {
        var changes = new List<CatalogChange>();
        foreach (var product in sold)
        {
            // Where all prices are somebody else's, so is the product.
            if (product.Prices.Count == 0 || product.Prices.Any(p => p.GivenId is null)) changes.Add(OfProduct(product, there.Products.FirstOrDefault(p => p.Id == product.Id), version, now));
            foreach (var price in product.Prices)
                if (price.GivenId is { } given) changes.Add(OfGiven(price, given, there.Prices.FirstOrDefault(p => p.Id == given)));
                else changes.AddRange(OfPrice(product, price, there.Prices.FirstOrDefault(p => p.LookupKey == price.LookupKey), version, now));
            // A push that was broken off has left these: their key went to another price already.
            changes.AddRange(there.Prices.Where(p => p.Product == product.Id && p is { IsActive: true, IsOurs: true, LookupKey: null }).Select(p => Archive(p, null, now)));
        }
        return changes;
    }

    private static CatalogChange OfProduct(SoldProduct product, ProductAtStripe? there, int version, Instant now)
    {
        if (there is null) return new("create_product", product.Id, null, product.Name, StripeRequests.CreateProduct(product, version, now));
        string[] differs =
        [
            .. there.Name == product.Name ? [] : (string[])[$"the name is {product.Name} instead of {there.Name}"],
            .. there.IsActive ? [] : (string[])["it is active again"],
            .. there.Of == product.Of ? [] : (string[])[$"it is marked with its {product.Kind.Replace('_', ' ')}"],
        ];
        return differs.Length == 0
            ? new("keep", product.Id, null, product.Name)
            : new("update_product", product.Id, null, string.Join(", ", differs), StripeRequests.UpdateProduct(product, there.Updated, version, now));
    }

    private static IEnumerable<CatalogChange> OfPrice(SoldProduct product, SoldPrice price, PriceAtStripe? there, int version, Instant now)
    {
        var wanted = Shown(price.Price.Amount, price.Price.Currency, price.Every);
        if (there is null)
        {
            yield return new("create_price", null, price.LookupKey, wanted, StripeRequests.CreatePrice(product, price, null, version, now));
            yield break;
        }
        if (there.IsActive && IsSame(price, there))
        {
            yield return new("keep", there.Id, price.LookupKey, there.Product == product.Id ? wanted : $"{wanted}, of the product {there.Product}");
            yield break;
        }
        var was = Shown(there.Amount, there.Currency, there.Every);
        yield return new("replace_price", there.Id, price.LookupKey, there.IsActive ? $"{wanted} instead of {was}" : $"{wanted} again: it was archived",
            StripeRequests.CreatePrice(product, price, there.Id, version, now));
        // On a product that somebody made by hand it may be the default price, which Stripe does not archive.
        if (there.IsActive && there.Product == product.Id) yield return Archive(there, price.LookupKey, now);
    }

    private static CatalogChange OfGiven(SoldPrice price, string id, PriceAtStripe? there)
    {
        var wanted = Shown(price.Price.Amount, price.Price.Currency, price.Every);
        if (there is null) return new("given", id, price.LookupKey, $"Stripe has no such price; the catalog says {wanted}", IsWrong: true);
        if (!there.IsActive) return new("given", id, price.LookupKey, "it is archived at Stripe, so nobody can buy it", IsWrong: true);
        return IsSame(price, there)
            ? new("given", id, price.LookupKey, wanted)
            : new("given", id, price.LookupKey, $"it is {Shown(there.Amount, there.Currency, there.Every)} at Stripe; the catalog says {wanted}", IsWrong: true);
    }

    private static CatalogChange Archive(PriceAtStripe price, string? lookupKey, Instant now) =>
        new("archive_price", price.Id, lookupKey, Shown(price.Amount, price.Currency, price.Every), StripeRequests.ArchivePrice(price.Id, now));

    private static bool IsSame(SoldPrice price, PriceAtStripe there) => there.Amount == price.Price.Amount && there.Currency == price.Price.Currency && there.Every == price.Every;

    private static string Shown(long? amount, string? currency, string every)
    {
        if (amount is not { } minor || currency is null) return "an amount by use";
        var units = Pricing.MinorUnits(currency);
        var text = ((decimal)minor / units).ToString(units switch { 1 => "0", 1000 => "0.000", _ => "0.00" }, CultureInfo.InvariantCulture);
        return $"{text} {currency} {(every == "once" ? every : $"a {every}")}";
    }

    private static async Task<CatalogAtStripe> Look(IStripeGateway stripe, IReadOnlyList<SoldProduct> sold)
    {
        var products = new List<ProductAtStripe>();
        foreach (var ids in sold.Select(p => p.Id).Chunk(MaxProductsAtOnce))
            await foreach (var product in stripe.List(StripeRequests.Products(ids))) products.Add(ProductAtStripe.Read(product));

        var prices = new Dictionary<string, PriceAtStripe>();
        foreach (var keys in sold.SelectMany(p => p.Prices).Where(p => p.GivenId is null).Select(p => p.LookupKey).Chunk(StripeRequests.MaxLookupKeys))
            foreach (var active in (bool[])[true, false])
                await foreach (var price in stripe.List(StripeRequests.Prices(keys, active))) Add(price);
        foreach (var product in products)
            await foreach (var price in stripe.List(StripeRequests.ActivePricesOf(product.Id))) Add(price);
        foreach (var id in sold.SelectMany(p => p.Prices).Select(p => p.GivenId).OfType<string>().Distinct())
            if (await stripe.Find(StripeRequests.Price(id)) is { } price) Add(price);
        return new CatalogAtStripe(products, [.. prices.Values]);

        void Add(JsonElement price) => prices[price.Text("id") ?? ""] = PriceAtStripe.Read(price);
    }
}

/// <summary>In Development the stand-in for Stripe has what the catalog sells, so that everything can be bought at once.</summary>
public sealed partial class CatalogPushAtStart(Services services, ILogger<CatalogPushAtStart> log) : IHostedService
{
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        try
        {
            var changes = await CatalogPush.Run(services.Stripe, services.Catalogs.Current, services.Settings.PriceIds, services.Clock, dryRun: false);
            LogPushed(log, changes.Count(c => c.Request is not null), changes.Count(c => c.Request is null));
            foreach (var wrong in changes.Where(c => c.IsWrong)) LogWrong(log, wrong.Id, wrong.LookupKey, wrong.Detail);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            // Nothing but buying needs it, and it can be done at any time.
            LogNotPushed(log, e);
        }
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    [LoggerMessage(Level = LogLevel.Information, Message = "The catalog is at Stripe: {Changed} change(s), {Kept} as before.")]
    private static partial void LogPushed(ILogger log, int changed, int kept);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The catalog is not at Stripe; `billing catalog push` brings it there.")]
    private static partial void LogNotPushed(ILogger log, Exception e);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The price {Id} that was given for {LookupKey}: {Detail}.")]
    private static partial void LogWrong(ILogger log, string? id, string? lookupKey, string detail);
}
