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
                // The actor is not asked: what is to be verified may be nothing that it can load.
                if (!await LedgerStream.Exists(services.Journal, organization)) return OrganizationRoutes.Unknown(http, organization);
                var found = await ChainVerifier.Verify(services.Journal, organization, snapshots: services.Snapshots, stop: http.RequestAborted);
                return Results.Ok(new VerificationView(found.Problem is null, found.Events, Convert.ToHexStringLower(found.Head), found.FirstBadVersion, found.Problem));
            })
            .WithTags("Ledger").WithSummary("Recompute the chain from the first event to the head").Produces<VerificationView>();

        v1.MapGet("/organizations/{organization}/ledger/export", async (string organization, HttpContext http) =>
            {
                if (!await LedgerStream.Exists(services.Journal, organization)) return OrganizationRoutes.Unknown(http, organization);
                return await Export(services, organization, http);
            })
            .WithTags("Ledger").WithSummary("The whole stream, one JSON object a line: what `billing ledger verify` takes").Produces<string>(200, LedgerExport.ContentType);

        v1.MapGet("/organizations/{organization}/ledger/head", async (string organization, HttpContext http) =>
                await services.Journal.ReadHead(organization) is { } head
                    ? Answers.Json(services.Heads.Sign(organization, head, services.Clock.Now()), ApiJson.Web.SignedHead)
                    : OrganizationRoutes.Unknown(http, organization))
            .WithTags("Ledger").WithSummary("The stream's head, signed: keep it, and check later that nothing before it was rewritten").Produces<SignedHead>();

        v1.MapAudit(services);
    }

    private static async Task<IResult> Export(Services services, string organization, HttpContext http)
    {
        http.Response.ContentType = LedgerExport.ContentType;
        http.Response.Headers.ContentDisposition = $"attachment; filename=\"{organization}.ndjson\"";
        try
        {
            await LedgerExport.Write(await LedgerStream.Of(services.Journal, organization, http.RequestAborted), http.Response.BodyWriter, http.RequestAborted);
        }
        catch (DamagedEventException)
        {
            // Half of it may be on its way: the connection ends without the end of an answer, and the export without a head.
            http.Abort();
        }
        return Results.Empty;
    }
}
