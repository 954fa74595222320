using System.Globalization;
using Billing.Ledger;

namespace Billing.Api.Routes;

/// <summary>The catalog, for people to buy from.</summary>
public static class PlanRoutes
{
    public static void MapPlans(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/plans", (HttpContext http) =>
            {
                var catalog = services.Catalogs.Current;
                // A plan that is made for one organization is there for it and for operators.
                var plans = catalog.Plans.Where(p => http.Caller().Organization is not { } own || p.IsFor(own));
                return TypedResults.Ok(new PlansView(catalog.Version, [.. plans.Select(p => Of(p, catalog))]));
            })
            .WithTags("Catalog").WithSummary("The plans, with prices and features");

        v1.MapGet("/token-packages", () => TypedResults.Ok(new TokenPackagesView(
                [.. services.Catalogs.Current.TokenPackages.Select(p => new TokenPackageView(p.Id, p.Name, p.Tokens, p.Prices))])))
            .WithTags("Catalog").WithSummary("The token packages, with prices");

        v1.MapGet("/config", (HttpContext http) =>
            {
                var catalog = services.Catalogs.Current;
                string[] currencies = [.. catalog.Plans.SelectMany(p => p.Prices).Select(p => p.Amount.Currency).Concat(catalog.TokenPackages.SelectMany(p => p.Prices).Select(p => p.Currency))
                    .Append(catalog.Currency).Distinct().Order(StringComparer.Ordinal)];
                return TypedResults.Ok(new ConfigView(
                    services.Settings.PublishableKey, catalog.Currency, currencies, catalog.Version, services.Settings.WebhookSecrets.Count > 0, services.StripeOrNull is not null,
                    services.Flags.All.ToDictionary(f => f.Name, f => http.Caller().Organization is { } own ? services.Flags.IsOn(f.Name, own) : f.Percent == 100)));
            })
            .WithTags("Catalog").WithSummary("What a front end needs to know");

        v1.MapCatalog(services);
    }

    private static PlanView Of(Plan plan, Catalog catalog) => new(
        plan.Id, plan.Name, plan.Description, plan.InviteOnly, plan.TrialDays, plan.TrialNeedsPaymentMethod,
        [.. plan.Prices.Select(p => new PriceView(Spelling.Of(p.Interval), p.Amount, p.LookupKey))],
        [.. catalog.Features.Select(f => Of(f, plan.Features.GetValueOrDefault(f.Id)))])
    {
        CustomFor = plan.CustomFor,
    };

    private static PlanFeatureView Of(Feature feature, PlanFeature? given)
    {
        var decimals = feature.Meter?.Decimals ?? 0;
        var isMetered = feature.Meter is not null && given is not null;
        return new PlanFeatureView(
            feature.Id, feature.Name, Spelling.Of(feature.Type), given?.On ?? false, given?.Value,
            isMetered && given!.Allowance is { } allowance ? Quantity.ToDecimal(allowance, decimals) : null,
            isMetered && given!.Allowance is null, feature.Meter?.Unit,
            isMetered && !given!.IsGauge ? Spelling.Of(given.Window) : null,
            isMetered ? Spelling.Of(given!.Mode) : null,
            given is { Tiers.IsEmpty: true } ? given.UnitPrice?.ToString(CultureInfo.InvariantCulture) : null,
            [.. (given?.Tiers ?? []).Select(t => new TierView(t.UpTo is { } end ? Quantity.ToDecimal(end, decimals) : null, t.UnitPrice.ToString(CultureInfo.InvariantCulture)))],
            [.. (given?.RateLimits ?? []).Select(r => new RateLimitView(Quantity.ToDecimal(r.Limit, decimals), Spelling.Of(r.Window)))]);
    }
}
