using Billing.Api.Stripe;

namespace Billing.Api.Routes;

/// <summary>The ledger against Stripe.</summary>
public static class ReconcileRoutes
{
    public static void MapReconcile(this RouteGroupBuilder v1, Reconciler reconciler, NightlyReconciliation nightly)
    {
        v1.MapPost("/organizations/{organization}/reconcile", async (string organization, HttpContext http) =>
            {
                using var request = await RequestBody.Read(http);
                var body = request.As(ApiJson.Web.ReconcileBody);
                if (body.Repair) Text.StatedReason(body.Reason);
                return await reconciler.Run(organization, body.Repair, http.RequestAborted) is { } view ? Results.Ok(view) : OrganizationRoutes.Unknown(http, organization);
            })
            .WithTags("Stripe").WithSummary("Compare with Stripe, field by field; with repair, make the ledger say what Stripe says")
            .Accepts<ReconcileBody>(true, "application/json").Produces<ReconciliationView>().Produces<Problem>(503);

        v1.MapGet("/stripe/reconciliation", (Delegate)(async (HttpContext http) => Results.Ok(await nightly.Last())))
            .WithTags("Stripe").WithSummary("What the last nightly comparison of all organizations found").Produces<ReconciliationRunView>();
    }
}
