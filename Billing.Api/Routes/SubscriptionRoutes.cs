using Billing.Grains;
using Billing.Ledger;

namespace Billing.Api.Routes;

/// <summary>The plan in force. An operator may set one; it stands until Stripe sends a subscription that gives access.</summary>
public static class SubscriptionRoutes
{
    public static void MapSubscription(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/organizations/{organization}/subscription", async (string organization, HttpContext http) =>
                await services.Host.Organization(organization).Subscription(services.Clock.Now()) is { } view ? Results.Ok(view) : OrganizationRoutes.Unknown(http, organization))
            .WithTags("Subscription").WithSummary("The plan in force, the subscription behind it, and its payments").Produces<SubscriptionView>();

        v1.MapPut("/organizations/{organization}/subscription", (string organization, HttpContext http) => SetPlan(organization, http, services)).OperatorOnly()
            .WithTags("Subscription").WithSummary("Set a plan as an operator").Accepts<SetPlanBody>("application/json").Produces<SubscriptionView>();
    }

    private static async Task<IResult> SetPlan(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.SetPlanBody);
        if (body.Plan is not { } plan) throw new ApiException("missing_field", "Say which plan.", "plan");
        var command = new SetPlan(plan, Text.Reason(body.Reason)) { Id = http.OptionalIdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now() };
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        return Results.Ok(await services.Host.Organization(organization).Subscription(services.Clock.Now()));
    }
}
