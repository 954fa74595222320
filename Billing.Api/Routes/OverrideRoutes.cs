using Billing.Grains;
using Billing.Ledger;

namespace Billing.Api.Routes;

/// <summary>What one organization gets of a feature instead of what its plan says.</summary>
public static class OverrideRoutes
{
    public static void MapOverrides(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/organizations/{organization}/overrides", async (string organization, HttpContext http) =>
                await services.Host.Organization(organization).Overrides(services.Clock.Now()) is { } overrides
                    ? Results.Ok(new OverridesView(overrides)) : OrganizationRoutes.Unknown(http, organization))
            .WithTags("Overrides").WithSummary("The overrides in force, by feature").Produces<OverridesView>();

        v1.MapPut("/organizations/{organization}/overrides/{feature}", (string organization, string feature, HttpContext http) => Set(organization, feature, http, services))
            .WithTags("Overrides").WithSummary("Give another limit than the plan's, for a time or until it is removed").Accepts<OverrideBody>("application/json").Produces<OverrideView>();

        v1.MapDelete("/organizations/{organization}/overrides/{feature}", (string organization, string feature, HttpContext http) => Remove(organization, feature, http, services))
            .WithTags("Overrides").WithSummary("Go back to what the plan says").Accepts<StatedReasonBody>("application/json").Produces(204);
    }

    private static async Task<IResult> Set(string organization, string feature, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.OverrideBody);
        if (body.Allowance is not null && body.Unlimited) throw new ApiException("invalid_field", "An override is unlimited or has an allowance, not both.", "unlimited");
        var command = new SetOverride(feature, body.Allowance, body.Unlimited, body.Until, false, Text.StatedReason(body.Reason))
        {
            Id = http.OptionalIdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id,
        };
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        if (result.Events.OfType<OverrideSet>().LastOrDefault(e => e.Feature == feature) is { } set)
            return Results.Ok(OverrideView.Of(new LimitOverride(set.Feature, set.Allowance, set.Until, set.Reason, set.Version), services.Catalogs));
        // It stands already as it was asked for.
        var overrides = await services.Host.Organization(organization).Overrides(services.Clock.Now());
        return Results.Ok(overrides!.Single(o => o.Feature == feature));
    }

    private static async Task<IResult> Remove(string organization, string feature, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var command = new SetOverride(feature, null, false, null, true, Text.StatedReason(request.As(ApiJson.Web.StatedReasonBody).Reason))
        {
            Id = http.OptionalIdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id,
        };
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        return Results.NoContent();
    }
}
