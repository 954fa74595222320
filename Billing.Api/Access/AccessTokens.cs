using Billing.Silo;

namespace Billing.Api;

/// <summary>What callers may show beside a key: tokens of issuers that are configured, and browser tokens.</summary>
public sealed class AccessTokens
{
    private readonly JwtKeyRing? ring;
    private readonly byte[] subjectKey;
    private readonly Clock clock;

    private AccessTokens(JwtKeyRing? ring, byte[] subjectKey, BrowserTokens browser, IReadOnlyList<string> origins, Clock clock)
    {
        this.ring = ring;
        this.subjectKey = subjectKey;
        this.clock = clock;
        Browser = browser;
        Origins = origins;
    }

    public BrowserTokens Browser { get; }

    /// <summary>Web pages that may call from browsers.</summary>
    public IReadOnlyList<string> Origins { get; }

    /// <exception cref="SettingsException">The configuration cannot work.</exception>
    public static async Task<AccessTokens> Open(WebApplicationBuilder builder, SecretStore secrets, Clock clock)
    {
        var (issuers, origins) = (JwtIssuer.ReadAll(builder.Configuration), Cors.ReadOrigins(builder.Configuration));
        var ring = issuers.Count == 0 ? null : new JwtKeyRing(issuers, clock);
        builder.Services.AddOrigins(origins);
        if (ring is { HasSources: true }) builder.Services.AddSingleton(ring).AddHostedService<JwtKeyPoll>();
        return new AccessTokens(ring, await secrets.Get("jwt-subjects"), new BrowserTokens(await secrets.Get("browser-tokens"), clock), origins, clock);
    }

    /// <summary>To be asked in this order, after keys.</summary>
    public IReadOnlyList<ICredentials> Credentials(WebApplication app)
    {
        if (ring is null) return [Browser];
        ring.Log = (message, e) => app.Logger.LogWarning(e, "{Message}", message);
        app.Lifetime.ApplicationStopped.Register(ring.Dispose);
        return [Browser, new JwtCredentials(ring, clock, subjectKey, app.Services.GetRequiredService<ILogger<JwtCredentials>>())];
    }
}
