using Billing.Silo;
using Microsoft.AspNetCore.Cors;

namespace Billing.Api;

/// <summary>
/// Which web pages' scripts may call, and what: <c>Cors:Origins</c>. Only routes that a browser token may call, and without cookies, so that no page can use what its
/// visitor is signed in to. Without origins no page can.
/// </summary>
public static class Cors
{
    private const string Policy = "browsers";

    /// <summary>How long browsers need not ask again.</summary>
    private static readonly TimeSpan MaxAge = TimeSpan.FromMinutes(10);

    /// <summary>The origins, such as <c>https://app.example.com</c>.</summary>
    /// <exception cref="SettingsException">One of them is no origin.</exception>
    public static IReadOnlyList<string> ReadOrigins(IConfiguration configuration) =>
        [.. (configuration["Cors:Origins"] ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(Checked)];

    public static IServiceCollection AddOrigins(this IServiceCollection services, IReadOnlyList<string> origins) => services.AddCors(cors => cors.AddPolicy(Policy, policy => policy
        .WithOrigins([.. origins]).WithMethods("GET", "POST").WithHeaders("Authorization", "Content-Type", "Idempotency-Key")
        .WithExposedHeaders("Retry-After", "RateLimit", "RateLimit-Policy", "Ledger-Journal", "WWW-Authenticate").SetPreflightMaxAge(MaxAge)));

    /// <summary>Before callers are asked who they are: a browser asks whether it may call before it shows anything.</summary>
    public static void UseOrigins(this IApplicationBuilder app, IReadOnlyList<string> origins)
    {
        if (origins.Count > 0) app.UseCors();
    }

    /// <summary>Opens the routes of the group that a browser token may call, and no others.</summary>
    public static RouteGroupBuilder WithOrigins(this RouteGroupBuilder group, IReadOnlyList<string> origins)
    {
        if (origins.Count == 0) return group;
        ((IEndpointConventionBuilder)group).Finally(static endpoint =>
        {
            if (endpoint.Metadata.OfType<RouteScopes.Needed>().Any(n => (n.AnyOf & BrowserTokens.Holds) != 0)) endpoint.Metadata.Add(new EnableCorsAttribute(Policy));
        });
        return group;
    }

    private static string Checked(string origin) =>
        Uri.TryCreate(origin, UriKind.Absolute, out var url) && (url.Scheme == "https" || (url.Scheme == "http" && url.IsLoopback)) && url.UserInfo.Length == 0 && origin == url.GetLeftPart(UriPartial.Authority)
            ? origin
            : throw new SettingsException($"Cors:Origins has '{origin}'; an origin is scheme, host and port and no more, such as https://app.example.com (http on loopback only, and no *: say which).");
}
