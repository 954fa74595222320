using System.Security.Cryptography;
using System.Text;
using Billing.Api.Stripe;
using Billing.Grains;
using Billing.Ledger;

namespace Billing.Api.Routes;

/// <summary>The catalog's versions, and moving organizations from one to another: newer, or back.</summary>
public static class CatalogRoutes
{
    public const int MaxOrganizations = 500;

    public static void MapCatalog(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/catalog/versions", async () => Results.Ok(await Versions(services)))
            .WithTags("Catalog").WithSummary("Every version of the catalog that was ever sold from").Produces<IReadOnlyList<CatalogVersionView>>();

        v1.MapPost("/catalog/moves", (Delegate)((HttpContext http) => Move(http, services)))
            .WithTags("Catalog").WithSummary("Move organizations to a version of the catalog, page by page; with dry_run show limits, prices and who would be over a limit")
            .Accepts<CatalogMovesBody>("application/json").Produces<CatalogMovesView>();

        v1.MapPost("/catalog/push", (Delegate)((HttpContext http) => Push(http, services)))
            .WithTags("Catalog").WithSummary("Make Stripe have the catalog's products and prices; with ?dry_run=true show what would change").Produces<CatalogPushView>().TakesQuery("dry_run");
    }

    private static async Task<IResult> Push(HttpContext http, Services services)
    {
        var dryRun = http.FlagParameter("dry_run");
        var catalog = services.Catalogs.Current;
        var changes = await CatalogPush.Run(services.Stripe, catalog, services.Settings.PriceIds, services.Clock, dryRun);
        return Results.Ok(new CatalogPushView(catalog.Version, dryRun, changes.Count(c => c.Request is not null), changes.Count(c => c.IsWrong),
            [.. changes.Select(c => new CatalogChangeView(c.Action, c.Id, c.LookupKey, c.Detail, c.IsWrong))]));
    }

    private static async Task<IReadOnlyList<CatalogVersionView>> Versions(Services services)
    {
        var (catalogs, published) = (services.Catalogs, services.CatalogStore.PublishedAt);
        return [.. catalogs.All.Select((c, i) => new CatalogVersionView(c.Version, published[i], c == catalogs.Current, [.. c.Plans.Select(p => p.Id)]))];
    }

    /// <summary>
    /// Each organization is one command, known by the request's key and the version: repeating a page, or going on after a crash,
    /// moves nobody twice. The pages of one move share one key.
    /// </summary>
    private static async Task<IResult> Move(HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.CatalogMovesBody);
        if (body.ToVersion is not { } version) throw new ApiException("missing_field", "Say to which version.", "to_version");
        if (version < 1 || version > services.Catalogs.All.Length) return Problems.Answer(http, services, "", Rejections.CatalogVersionUnknown(version, services.Catalogs.All.Length));
        var limit = body.Limit ?? 100;
        if (limit is < 1 or > RequestExtensions.MaxPageSize) throw new ApiException("invalid_field", $"A limit is a number from 1 to {RequestExtensions.MaxPageSize}.", "limit");
        var reason = Text.Reason(body.Reason);
        var key = body.DryRun ? "" : http.IdempotencyKey();
        var hash = SHA256.HashData(Encoding.UTF8.GetBytes($"catalog-move {version}"));

        var ids = await Page(body, limit, services);
        var views = new List<CatalogMoveView>();
        foreach (var id in ids)
        {
            var organization = services.Host.Organization(id);
            if (await organization.PreviewMove(version, services.Clock.Now()) is not { } view)
            {
                if (body.Organizations is not null && await organization.Read(services.Clock.Now()) is null) views.Add(CatalogMoveView.Refused(id, version, Rejections.OrganizationUnknown(id)));
                continue;
            }
            if (view.FromVersion == version || (body.Plan is { } plan && view.Plan != plan) || (body.FromVersion is { } from && view.FromVersion != from)) continue;
            if (!body.DryRun && view.Status != "refused")
            {
                var command = new MoveToCatalog(version, reason) { Id = $"{key}:to:{version}", ContentHash = hash, At = services.Clock.Now(), By = http.Caller().Id };
                var result = await organization.Execute(command);
                // What changed between looking and moving is told as it is now.
                view = result.Rejection is { } rejection ? CatalogMoveView.Refused(id, version, rejection) : view with { Status = "moved" };
            }
            views.Add(view);
        }
        return Results.Ok(new CatalogMovesView(version, body.DryRun, views.Count(v => v.Status == "moved"), views.Count(v => v.Status == "refused"), views,
            ids.Count == limit ? Cursor.Of(ids[^1]) : null));
    }

    private static async Task<IReadOnlyList<string>> Page(CatalogMovesBody body, int limit, Services services)
    {
        var after = "";
        if (body.Cursor is { } cursor && !Cursor.TryRead(cursor, out after)) throw new ApiException("invalid_field", "This cursor is not one of ours. Take next_cursor from the page before.", "cursor");
        if (body.Organizations is not { } named) return await services.Journal.ListOrganizations(after, limit);
        if (named.Count > MaxOrganizations) throw new ApiException("batch_too_large", $"At most {MaxOrganizations} organizations are named at once.", "organizations");
        for (var i = 0; i < named.Count; i++)
            if (named[i] is not { } id || !Ids.IsOrganization(id)) throw new ApiException("organization_id_invalid", $"An organization id matches {Ids.OrganizationPattern}.", $"organizations[{i}]");
        return [.. named.Distinct().Order(StringComparer.Ordinal).Where(id => string.CompareOrdinal(id, after) > 0).Take(limit)];
    }
}
