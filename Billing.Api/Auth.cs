using Billing.Ledger;
using Billing.Silo;

namespace Billing.Api;

/// <summary>Who may call. Every route under /v1 needs a bearer key; a key for one organization sees that one and nothing else.</summary>
public static class Auth
{
    private sealed record OperatorOnlyMark;

    private static readonly OperatorOnlyMark Mark = new();

    /// <summary>Only a key for all organizations may call this.</summary>
    public static TBuilder OperatorOnly<TBuilder>(this TBuilder builder) where TBuilder : IEndpointConventionBuilder => builder.WithMetadata(Mark);

    internal static bool IsOperatorOnly(this IEnumerable<object> metadata) => metadata.OfType<OperatorOnlyMark>().Any();

    public static ApiKey Caller(this HttpContext http) => http.Features.Get<ApiKey>() ?? throw new InvalidOperationException("This route is not behind authentication.");

    public static void UseApiKeys(this WebApplication app, ApiKeys keys)
    {
        app.Use((http, next) =>
        {
            if (!http.Request.Path.StartsWithSegments("/v1")) return next(http);
            if (KeyOf(http, keys) is not { } key)
            {
                http.Response.Headers.WWWAuthenticate = "Bearer";
                return Problems.Answer(http, "unauthenticated", "Send an API key: Authorization: Bearer bk_…").ExecuteAsync(http);
            }
            http.Features.Set(key);
            if (http.Request.RouteValues.TryGetValue("organization", out var value) && value is string organization)
            {
                if (!Ids.IsOrganization(organization))
                    return Problems.Answer(http, "organization_id_invalid", $"An organization id matches {Ids.OrganizationPattern}.", "organization").ExecuteAsync(http);
                // As if it did not exist: a stranger does not learn which organizations there are.
                if (key.Organization is { } own && own != organization)
                    return Problems.Answer(Problems.Of(http, Rejections.OrganizationUnknown(organization), null)).ExecuteAsync(http);
            }
            if (key.Organization is not null && http.GetEndpoint()?.Metadata.GetMetadata<OperatorOnlyMark>() is not null)
                return Problems.Answer(http, "operator_only", "This key is for one organization. Use an operator's key.").ExecuteAsync(http);
            return next(http);
        });
    }

    private static ApiKey? KeyOf(HttpContext http, ApiKeys keys)
    {
        var header = http.Request.Headers.Authorization;
        if (header.Count != 1 || header[0] is not { } text || !text.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase)) return null;
        return keys.Find(text.AsSpan(7).Trim());
    }
}
