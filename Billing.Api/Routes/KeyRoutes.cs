using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Api.Routes;

/// <summary>API keys, by operators.</summary>
public static class KeyRoutes
{
    private const int MaxNameLength = 100;
    private const int MaxOverlapSeconds = 30 * 24 * 3_600;
    private const int UsualOverlapSeconds = 3_600;

    public static void MapKeys(this RouteGroupBuilder v1, Services services)
    {
        v1.MapPost("/api-keys", (Delegate)((HttpContext http) => Create(http, services)))
            .WithTags("API keys").WithSummary("Make a key, for one organization or for all").Accepts<ApiKeyBody>("application/json").Produces<NewApiKeyView>(201);

        v1.MapGet("/api-keys", () => Results.Ok(new Page<ApiKeyView>([.. services.Keys.List().Select(Of)], null)))
            .WithTags("API keys").WithSummary("The keys, as far as they may be shown").Produces<Page<ApiKeyView>>();

        v1.MapPost("/api-keys/{id}/rotate", (string id, HttpContext http) => Rotate(id, http, services))
            .WithTags("API keys").WithSummary("Make a key in the place of another, which stays good for a while").Accepts<RotateKeyBody>("application/json").Produces<NewApiKeyView>(201);

        v1.MapDelete("/api-keys/{id}", async (string id, HttpContext http) =>
            {
                using var request = await RequestBody.Read(http);
                request.As(ApiJson.Web.ReasonBody);
                return await services.Keys.Revoke(id, services.Clock.Now()) ? Results.NoContent() : Problems.Answer(http, "not_found", $"There is no key '{id}' to revoke.");
            })
            .WithTags("API keys").WithSummary("Revoke a key").Accepts<ReasonBody>(true, "application/json").Produces(204);
    }

    private static async Task<IResult> Create(HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.ApiKeyBody);
        var now = services.Clock.Now();
        if (body.Name is not { Length: > 0 and <= MaxNameLength } name) throw new ApiException("missing_field", $"Name the key, in 1 to {MaxNameLength} characters.", "name");
        var possible = body.Organization is null ? Scopes.All : Scopes.OfOrganization;
        var scopes = body.Scopes is null ? possible : ScopeNames.Read(body.Scopes) ?? throw new ApiException("invalid_field", $"Scopes are {ScopeNames.List}.", "scopes");
        if (scopes == Scopes.None) throw new ApiException("invalid_field", "Give the key a scope, or leave them out for all that it may have.", "scopes");
        if ((scopes & ~possible) != 0) throw new ApiException("invalid_field", "A key for one organization cannot have ops: that is for all of them.", "scopes");
        if (body.ExpiresAt <= now) throw new ApiException("invalid_field", "It would have expired already.", "expires_at");
        var test = body.Test ?? http.Caller().Test ?? false;
        if (body.Organization is { } organization)
        {
            if (await services.Host.Organization(organization).Read(now) is not { } view) return Problems.Answer(Problems.Of(http, Rejections.OrganizationUnknown(organization), null));
            if (body.Test is { } asked && asked != view.Test)
                throw new ApiException("invalid_field", view.Test ? "This is a test organization: its keys are test keys." : "This is a live organization: its keys are live keys.", "test");
            test = view.Test;
        }
        if (http.Caller().Test is { } own && own != test) throw new ApiException("invalid_field", own ? "A test key makes test keys." : "A live key makes live keys.", "test");
        var (key, kept) = await services.Keys.Create(name, body.Organization, scopes, test, body.ExpiresAt, now);
        return Answers.Json(new NewApiKeyView(key, Of(kept)), ApiJson.Web.NewApiKeyView, 201);
    }

    private static async Task<IResult> Rotate(string id, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var seconds = request.As(ApiJson.Web.RotateKeyBody).OverlapSeconds ?? UsualOverlapSeconds;
        if (seconds is < 0 or > MaxOverlapSeconds) throw new ApiException("invalid_field", $"The overlap is 0 to {MaxOverlapSeconds} seconds.", "overlap_seconds");
        return await services.Keys.Rotate(id, Duration.FromSeconds(seconds), services.Clock.Now()) is { } made
            ? Answers.Json(new NewApiKeyView(made.Key, Of(made.Kept)), ApiJson.Web.NewApiKeyView, 201)
            : Problems.Answer(http, "not_found", $"There is no key '{id}' to rotate: it is unknown, was revoked or rotated, or is set in the configuration.");
    }

    internal static ApiKeyView Of(ApiKey key) =>
        new(key.Id, key.Name, key.Organization, ScopeNames.Of(key.Scopes), key.Test, key.Display, key.CreatedAt, key.ExpiresAt, key.LastUsedAt, key.ReplacedBy);
}
