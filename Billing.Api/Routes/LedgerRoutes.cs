using Billing.Grains.Journal;

namespace Billing.Api.Routes;

/// <summary>The stream itself: the audit trail, and the proof that nobody edited it.</summary>
public static class LedgerRoutes
{
    public static void MapLedger(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/organizations/{organization}/ledger", async (string organization, HttpContext http) =>
            {
                if (await services.Host.Organization(organization).Read(services.Clock.Now()) is null) return OrganizationRoutes.Unknown(http, organization);
                var type = http.Request.Query["type"].FirstOrDefault();
                if (type is not null && EventCodec.Table.All(t => t.Name != type))
                    throw new ApiException("invalid_parameter", $"There are no '{type}' events. Known: {string.Join(", ", EventCodec.Table.Select(t => t.Name))}.", "type");
                var after = 0L;
                if (http.Request.Query["after"].FirstOrDefault() is { } text && (!long.TryParse(text, out after) || after < 0))
                    throw new ApiException("invalid_parameter", "'after' is a version: 0 or more.", "after");
                return Results.Ok(await StreamPages.Read<LedgerEventView>(services.Journal, organization, http,
                    stored => type is null || stored.Type == type ? [LedgerEventView.Of(stored)] : [], after));
            })
            .WithTags("Ledger").WithSummary("The events, oldest first (?after=&type=&limit=&cursor=)").Produces<Page<LedgerEventView>>().TakesQuery("after", "type", "limit", "cursor");

        v1.MapGet("/organizations/{organization}/ledger/verify", async (string organization, HttpContext http) =>
            {
                if (await services.Host.Organization(organization).Read(services.Clock.Now()) is null) return OrganizationRoutes.Unknown(http, organization);
                var found = await ChainVerifier.Verify(services.Journal, organization);
                return Results.Ok(new VerificationView(found.Problem is null, found.Events, Convert.ToHexStringLower(found.Head), found.FirstBadVersion, found.Problem));
            })
            .WithTags("Ledger").WithSummary("Recompute the chain from the first event to the head").Produces<VerificationView>();
    }
}
