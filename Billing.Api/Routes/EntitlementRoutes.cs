using Billing.Grains;

namespace Billing.Api.Routes;

/// <summary>Checks: answered from the actor's memory, counted against nothing, always 200.</summary>
public static class EntitlementRoutes
{
    public const int MaxItems = 100;

    public static void MapEntitlements(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/organizations/{organization}/entitlements", async (string organization, HttpContext http) =>
            {
                if (await services.Host.Organization(organization).Entitlements(services.Clock.Now()) is not { } all) return OrganizationRoutes.Unknown(http, organization);
                return Results.Ok(Signed(services, organization, all));
            })
            .WithTags("Entitlements").WithSummary("Every feature, each for one unit").Produces<EntitlementsView>();

        v1.MapGet("/organizations/{organization}/entitlements/{feature}", (string organization, string feature, HttpContext http) => Check(organization, feature, http, services))
            .WithTags("Entitlements").WithSummary("May the organization use this now? (?quantity=, one unit without it)").Produces<EntitlementView>().TakesQuery("quantity");

        v1.MapPost("/organizations/{organization}/entitlements/check", (string organization, HttpContext http) => CheckSeveral(organization, http, services))
            .WithTags("Entitlements").WithSummary("Several features at once").Accepts<CheckBody>("application/json").Produces<EntitlementsView>();

        v1.MapGet("/organizations/{organization}/entitlements/{feature}/explain", async (string organization, string feature, HttpContext http) =>
            {
                var explained = await services.Host.Organization(organization).Explain(feature, http.QuantityParameter("quantity"), services.Clock.Now());
                if (explained.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
                var explanation = explained.Explanation!;
                return Results.Ok(explanation with { Entitlement = services.DenialIds.Sign(organization, explanation.Entitlement) });
            })
            .WithTags("Entitlements").WithSummary("The same answer with the rules, numbers and events behind it").Produces<ExplanationView>().TakesQuery("quantity");

        v1.MapOverrides(services);
    }

    private static ValueTask<IResult> Check(string organization, string feature, HttpContext http, Services services)
    {
        var checking = services.Host.Organization(organization).Check(feature, http.QuantityParameter("quantity"), services.Clock.Now());
        // Resident organizations answer at once, without a state machine for the request.
        return checking.IsCompletedSuccessfully ? new(Answer(checking.Result)) : Wait();

        async ValueTask<IResult> Wait() => Answer(await checking);

        IResult Answer(CheckResult result) => result.Rejection is { } rejection
            ? Problems.Answer(http, services, organization, rejection)
            : Answers.Json(services.DenialIds.Sign(organization, result.Entitlement!), ApiJson.Web.EntitlementView);
    }

    private static async Task<IResult> CheckSeveral(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        if (request.As(ApiJson.Web.CheckBody).Items is not { Count: > 0 } items) throw new ApiException("missing_field", "Name at least one feature: { \"items\": [{ \"feature\": … }] }.", "items");
        if (items.Count > MaxItems) throw new ApiException("batch_too_large", $"At most {MaxItems} features are checked at once.", "items");
        var now = services.Clock.Now();
        var entitlements = new List<EntitlementView>();
        for (var i = 0; i < items.Count; i++)
        {
            if (items[i]?.Feature is not { } feature) throw new ApiException("missing_field", "Each item names its feature.", $"items[{i}].feature");
            var result = await services.Host.Organization(organization).Check(feature, items[i].Quantity, now);
            if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
            entitlements.Add(result.Entitlement!);
        }
        return Results.Ok(Signed(services, organization, entitlements));
    }

    private static EntitlementsView Signed(Services services, string organization, IReadOnlyList<EntitlementView> entitlements) =>
        new(entitlements.All(e => e.HasAccess), [.. entitlements.Select(e => services.DenialIds.Sign(organization, e))]);
}
