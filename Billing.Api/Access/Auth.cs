using Billing.Ledger;
using Billing.Silo;

namespace Billing.Api;

/// <summary>One way to show who one is. Those that a request does not use answer null.</summary>
public interface ICredentials
{
    /// <returns>Who it is; null where this request shows nothing of this kind, or something that is not good.</returns>
    Caller? Read(HttpContext http);
}

/// <summary>Who may call. Every route under /v1 needs credentials with one of its scopes; a caller of one organization sees that one and nothing else.</summary>
public static class Auth
{
    public static Caller Caller(this HttpContext http) => http.Features.Get<Caller>() ?? throw new InvalidOperationException("This route is not behind authentication.");

    /// <summary>Whether the route is for operators alone.</summary>
    internal static bool IsOperatorOnly(this IEnumerable<object> metadata) => metadata.OfType<RouteScopes.Needed>().Any(n => n.IsForOperators);

    /// <summary>From the route to who may call it, and how often.</summary>
    public static void UseAccess(this WebApplication app, Services services, AccessTokens tokens)
    {
        app.UseRouting().UseOrigins(tokens.Origins);
        app.UseSessions(services.Sessions, services.Clock);
        app.UseCallers(new Modes(services.Host, services.Clock), [new KeyCredentials(services.Keys, services.Clock), .. tokens.Credentials(app), new SessionCredentials()]);
        app.UseRequestLimits(services.Settings.KeyRequestsPerSecond);
    }

    /// <param name="credentials">Asked in this order.</param>
    /// <param name="modes">Null where there are no organizations.</param>
    public static void UseCallers(this WebApplication app, Modes? modes, params IReadOnlyList<ICredentials> credentials)
    {
        app.Use((http, next) =>
        {
            if (!http.Request.Path.StartsWithSegments("/v1")) return next(http);
            if (CallerOf(http, credentials) is not { } caller)
            {
                http.Response.Headers.WWWAuthenticate = "Bearer";
                return Problems.Answer(http, "unauthenticated", "Send an API key: Authorization: Bearer bk_…").ExecuteAsync(http);
            }
            http.Features.Set(caller);
            if (http.Request.RouteValues.TryGetValue("organization", out var value) && value is string organization)
            {
                if (!Ids.IsOrganization(organization))
                    return Problems.Answer(http, "organization_id_invalid", $"An organization id matches {Ids.OrganizationPattern}.", "organization").ExecuteAsync(http);
                // As if it did not exist: a stranger does not learn which organizations there are.
                if (caller.Organization is { } own && own != organization)
                    return Problems.Answer(Problems.Of(http, Rejections.OrganizationUnknown(organization), null)).ExecuteAsync(http);
            }
            if (http.GetEndpoint()?.Metadata.GetMetadata<RouteScopes.Needed>() is { } needed && (caller.Scopes & needed.AnyOf) == 0)
                return (needed.IsForOperators && caller.Organization is not null
                    ? Problems.Answer(http, "operator_only", "This key is for one organization. Use an operator's key.")
                    : Problems.Answer(http, "insufficient_scope", $"This needs {string.Join(" or ", ScopeNames.Of(needed.AnyOf))}; the caller has {(caller.Scopes == 0 ? "no scope" : string.Join(", ", ScopeNames.Of(caller.Scopes)))}.")).ExecuteAsync(http);
            return caller.Test is { } test && modes is not null && http.Request.RouteValues["organization"] is string one ? InMode(http, next, modes, one, test) : next(http);
        });
    }

    /// <summary>What is of the other mode is not there.</summary>
    private static async Task InMode(HttpContext http, RequestDelegate next, Modes modes, string organization, bool test)
    {
        if (await modes.IsTest(organization) is { } mode && mode != test) await Problems.Answer(Problems.Of(http, Rejections.OrganizationUnknown(organization), null)).ExecuteAsync(http);
        else await next(http);
    }

    private static Caller? CallerOf(HttpContext http, IReadOnlyList<ICredentials> credentials)
    {
        foreach (var kind in credentials)
            if (kind.Read(http) is { } caller) return caller;
        return null;
    }
}

/// <summary><c>Authorization: Bearer bk_…</c></summary>
public sealed class KeyCredentials(ApiKeys keys, Clock clock) : ICredentials
{
    public Caller? Read(HttpContext http) => BearerOf(http) is { Length: > 0 } text ? keys.Find(text, clock.Now())?.Caller : null;

    /// <summary>What stands behind <c>Bearer</c>; empty when there is no such header, or more than one.</summary>
    internal static ReadOnlySpan<char> BearerOf(HttpContext http)
    {
        var header = http.Request.Headers.Authorization;
        return header.Count == 1 && header[0] is { } text && text.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase) ? text.AsSpan(7).Trim() : default;
    }
}
