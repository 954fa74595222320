using Billing.Ledger;

namespace Billing.Api.Routes;

/// <summary>What somebody should know.</summary>
public static class AlertRoutes
{
    private static readonly string[] Types = ["alert-raised", "top-up-switched-off"];

    public static void MapAlerts(this RouteGroupBuilder v1, Services services) =>
        v1.MapGet("/organizations/{organization}/alerts", async (string organization, HttpContext http) =>
            {
                if (await services.Host.Organization(organization).Read(services.Clock.Now()) is not { } view) return OrganizationRoutes.Unknown(http, organization);
                return Results.Ok(await StreamPages.ReadBack(services.Journal, organization, http, Types, view.Version, e => Of(e, services.Catalogs)));
            })
            .WithTags("Alerts").WithSummary("Thresholds that were reached, few tokens, trials that end: newest first (?limit=&cursor=)").Produces<Page<AlertView>>().TakesQuery("limit", "cursor");

    private static AlertView Of(LedgerEvent e, Catalogs catalogs)
    {
        if (e is TopUpSwitchedOff off)
        {
            var why = off.Reason switch
            {
                "package_not_sold" => "Its token package is not sold any more.",
                "price_above_limit" => "Its token package costs more than may be spent in a month.",
                _ => $"{off.Failures} payments in a row failed.",
            };
            return new AlertView(e.Version, "top_up_switched_off", e.EffectiveAt, $"Automatic top-up is off until it is set again. {why}", null, null, null, null, null, null, null);
        }
        var alert = (AlertRaised)e;
        var feature = alert.Feature is { } id ? catalogs.Feature(id) : null;
        var decimals = feature?.Meter?.Decimals ?? 0;
        var (value, limit) = (Quantity.ToDecimal(alert.Value, decimals), alert.Limit is { } most ? Quantity.ToDecimal(most, decimals) : (decimal?)null);
        var message = alert.Kind switch
        {
            AlertKind.Usage => FormattableString.Invariant($"{alert.Percent} % are reached: {value:#,0.#########} of {limit:#,0.#########} {feature?.Name ?? alert.Feature}."),
            AlertKind.TokensLow => FormattableString.Invariant($"{value:#,0} tokens are left, fewer than {limit:#,0}."),
            AlertKind.TrialEnding => $"The trial ends at {Time(alert.End)}.",
            _ => $"The month's limit of automatic top-ups is reached. More are bought from {Time(alert.End)}.",
        };
        var isUsage = alert.Kind == AlertKind.Usage;
        return new AlertView(e.Version, Spelling.Of(alert.Kind), e.EffectiveAt, message, alert.Feature, isUsage ? alert.Percent : null,
            alert.Window is { } window ? Spelling.Of(window) : null, alert.Start, alert.End == Bounds.Never ? null : alert.End,
            alert.Kind == AlertKind.TrialEnding ? null : value, limit);
    }

    private static string Time(NodaTime.Instant? at) => at?.InUtc().ToString("yyyy-MM-dd HH:mm 'UTC'", null) ?? "";
}
