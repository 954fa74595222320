using Billing.Grains;
using Billing.Ledger;

namespace Billing.Api.Routes;

/// <summary>Token balance, grants and their history.</summary>
public static class TokenRoutes
{
    private static readonly string[] Types = ["tokens-purchased", "tokens-granted", "tokens-revoked", "tokens-expired", "usage-recorded", "usage-voided", "hold-placed", "hold-ended"];

    public static void MapTokens(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/organizations/{organization}/tokens", async (string organization, HttpContext http) =>
                await services.Host.Organization(organization).Tokens(services.Clock.Now()) is { } tokens ? Results.Ok(tokens) : OrganizationRoutes.Unknown(http, organization))
            .WithTags("Tokens").WithSummary("The balance, and every grant with its books").Produces<TokensView>();

        v1.MapGet("/organizations/{organization}/tokens/transactions", async (string organization, HttpContext http) =>
            {
                if (await services.Host.Organization(organization).Read(services.Clock.Now()) is null) return OrganizationRoutes.Unknown(http, organization);
                return Results.Ok(await StreamPages.Read(services.Journal, organization, http, Types, Transactions));
            })
            .WithTags("Tokens").WithSummary("Every change of the balance, oldest first (?limit=&cursor=)").Produces<Page<TokenTransactionView>>().TakesQuery("limit", "cursor");

        v1.MapPost("/organizations/{organization}/tokens/grants", (string organization, HttpContext http) => Grant(organization, http, services))
            .WithTags("Tokens").WithSummary("Give tokens").Accepts<GrantBody>("application/json").Produces<GrantView>(201);

        v1.MapTopUps(services);
    }

    private static async Task<IResult> Grant(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.GrantBody);
        if (body.Tokens is not { } tokens) throw new ApiException("missing_field", "Say how many tokens.", "tokens");
        var kind = body.Kind switch
        {
            null or "granted" => GrantKind.Granted,
            "promotional" => GrantKind.Promotional,
            _ => throw new ApiException("invalid_field", "The field 'kind' is granted or promotional.", "kind"),
        };
        if (body.Priority is < 0 or > Tokens.MaxPriority) throw new ApiException("invalid_field", $"A priority is from 0 to {Tokens.MaxPriority}.", "priority");
        var command = new GrantTokens(kind, tokens, body.Priority ?? Tokens.DefaultPriority, body.ExpiresAt, Text.StatedReason(body.Reason))
        {
            Id = http.IdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(),
        };
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        var id = Ids.Grant(result.Events.OfType<TokensGranted>().Single().Version);
        var view = await services.Host.Organization(organization).Tokens(services.Clock.Now());
        return Answers.Json(view!.Grants.Single(g => g.Id == id), ApiJson.Web.GrantView, 201);
    }

    private static IReadOnlyList<TokenTransactionView> Transactions(LedgerEvent e) => e switch
    {
        TokensPurchased x => [new(x.Version, "purchased", x.Tokens, Ids.Grant(x.Version), x.EffectiveAt, null, null, x.Package, x.Payment, null)],
        TokensGranted x => [new(x.Version, Spelling.Of(x.Kind), x.Tokens, Ids.Grant(x.Version), x.EffectiveAt, null, null, null, null, x.Reason)],
        TokensRevoked x => [new(x.Version, "revoked", -x.Revoked, x.Grant, x.EffectiveAt, null, null, null, x.Payment, null)],
        TokensExpired x => [.. x.Grants.Select(g => new TokenTransactionView(x.Version, "expired", -g.Tokens, g.Grant, x.EffectiveAt, null, null, null, null, null))],
        UsageRecorded { Grants: { } grants } x => [.. grants.Select(g =>
            new TokenTransactionView(x.Version, "burned", -g.Tokens, g.Grant, x.EffectiveAt, x.Feature, Ids.UsageRecord(x.Version), null, null, null))],
        UsageVoided { Returned: { } returned } x => [.. returned.Where(r => r.Remaining > 0).Select(r =>
            new TokenTransactionView(x.Version, "returned", r.Remaining, r.Grant, x.EffectiveAt, x.Feature, x.Record, null, null, x.Reason))],
        HoldPlaced { Grants: { } grants } x => [.. grants.Select(g =>
            new TokenTransactionView(x.Version, "held", -g.Tokens, g.Grant, x.EffectiveAt, x.Feature, null, null, null, null) { Hold = Ids.Hold(x.Version) })],
        HoldEnded { Grants: { } grants } x => [.. grants.Select(g =>
            new TokenTransactionView(x.Version, "freed", g.Tokens, g.Grant, x.EffectiveAt, x.Feature, null, null, null, null) { Hold = x.Hold })],
        _ => [],
    };
}
