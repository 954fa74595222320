using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Api.Routes;

/// <summary>Tokens that an app's server gives to its pages.</summary>
public static class BrowserTokenRoutes
{
    public static void MapBrowserTokens(this RouteGroupBuilder v1, Services services, BrowserTokens tokens) =>
        v1.MapPost("/organizations/{organization}/browser-tokens", (string organization, HttpContext http) => Create(organization, http, services, tokens))
            .WithTags("API keys").WithSummary("Make a short-lived token with which a browser may read the organization's entitlements").Accepts<BrowserTokenBody>("application/json").Produces<BrowserTokenView>(201);

    private static async Task<IResult> Create(string organization, HttpContext http, Services services, BrowserTokens tokens)
    {
        // The routes' own scopes keep out whoever only reads, so that no token makes its successor; and nobody gives what they do not have.
        if (!http.Caller().Scopes.HasFlag(BrowserTokens.Holds)) return Problems.Answer(http, "insufficient_scope", "A browser token has entitlements:read; who makes one needs that, too.");
        using var request = await RequestBody.Read(http);
        var lives = request.As(ApiJson.Web.BrowserTokenBody).ExpiresIn is { } seconds ? Duration.FromSeconds(seconds) : BrowserTokens.Usual;
        if (lives < BrowserTokens.Least || lives > BrowserTokens.Most)
            throw new ApiException("invalid_field", $"A browser token lives {BrowserTokens.Least.TotalSeconds} to {BrowserTokens.Most.TotalSeconds} seconds.", "expires_in");
        var now = services.Clock.Now();
        if (await services.Host.Organization(organization).Read(now) is not { } view) return Problems.Answer(Problems.Of(http, Rejections.OrganizationUnknown(organization), null));
        var ends = Instant.FromUnixTimeSeconds((now + lives).ToUnixTimeSeconds());
        http.Response.Headers.CacheControl = "no-store";
        return Answers.Json(new BrowserTokenView(tokens.Sign(organization, view.Test, ends), organization, ScopeNames.Of(BrowserTokens.Holds), ends), ApiJson.Web.BrowserTokenView, 201);
    }
}
