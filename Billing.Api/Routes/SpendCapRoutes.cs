using Billing.Grains;
using Billing.Ledger;

namespace Billing.Api.Routes;

/// <summary>The most that customers let themselves be charged for overage in a billing period.</summary>
public static class SpendCapRoutes
{
    public static void MapSpendCaps(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/organizations/{organization}/spend-caps", async (string organization, HttpContext http) =>
                await services.Host.Organization(organization).SpendCaps(services.Clock.Now()) is { } caps ? Results.Ok(caps) : OrganizationRoutes.Unknown(http, organization))
            .WithTags("Spend caps").WithSummary("The caps, and what is charged for overage so far").Produces<SpendCapsView>();

        v1.MapPut("/organizations/{organization}/spend-caps", (string organization, HttpContext http) => Set(organization, http, services))
            .WithTags("Spend caps").WithSummary("Set the caps, all of them at once").Accepts<SpendCapsBody>("application/json").Produces<SpendCapsView>();
    }

    private static async Task<IResult> Set(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.SpendCapsBody);
        CheckAmount(body.Organization, "organization");
        foreach (var (feature, amount) in body.Features ?? []) CheckAmount(amount, $"features.{feature}");
        var command = new SetSpendCaps(body.Organization, body.Features)
        {
            Id = http.OptionalIdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id,
        };
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        return Results.Ok(await services.Host.Organization(organization).SpendCaps(services.Clock.Now()));
    }

    private static void CheckAmount(long? amount, string field)
    {
        if (amount is < 0 or > SpendCaps.MaxAmount) throw new ApiException("invalid_field", $"A cap is from 0 to {SpendCaps.MaxAmount} minor units.", field);
    }
}
