using System.Globalization;
using System.Net;
using System.Threading.RateLimiting;
using Billing.Silo;
using Microsoft.AspNetCore.HttpOverrides;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Billing.Api;

/// <summary>What keeps a service upright that strangers can reach: limits of connections and requests, whose word about the caller's address is taken, and what browsers are told.</summary>
internal static class Guards
{
    /// <summary>A body that comes more slowly is cut off.</summary>
    private static readonly MinDataRate SlowestBody = new(bytesPerSecond: 240, gracePeriod: TimeSpan.FromSeconds(5));

    /// <summary>For how long the start of a request may take to arrive, and how long an idle connection is kept.</summary>
    private static readonly (TimeSpan Headers, TimeSpan Idle) Longest = (TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(130));

    private const int MaxHeaders = 64;

    public static void LimitConnections(this KestrelServerLimits limits, int maxConnections)
    {
        limits.MaxRequestHeadersTotalSize = 16 * 1024;
        limits.MaxRequestHeaderCount = MaxHeaders;
        limits.MaxRequestLineSize = 8 * 1024;
        limits.RequestHeadersTimeout = Longest.Headers;
        limits.KeepAliveTimeout = Longest.Idle;
        limits.MinRequestBodyDataRate = SlowestBody;
        limits.MaxConcurrentConnections = maxConnections;
    }

    public static void UseGuards(this WebApplication app, IReadOnlyList<System.Net.IPNetwork> proxies)
    {
        app.UseProxies(proxies);
        app.UseSafeHeaders();
    }

    /// <summary>Who is told of by <c>X-Forwarded-For</c> and <c>-Proto</c> is believed where a proxy that is configured says so, and nowhere else.</summary>
    /// <param name="proxies">Addresses and networks, such as <c>10.0.0.0/8</c>.</param>
    private static void UseProxies(this WebApplication app, IReadOnlyList<System.Net.IPNetwork> proxies)
    {
        if (proxies.Count == 0) return;
        var options = new ForwardedHeadersOptions { ForwardedHeaders = ForwardedHeaders.XForwardedFor | ForwardedHeaders.XForwardedProto | ForwardedHeaders.XForwardedHost, ForwardLimit = null };
        // Without these two, loopback would be believed, too.
        options.KnownProxies.Clear();
        options.KnownIPNetworks.Clear();
        foreach (var network in proxies) options.KnownIPNetworks.Add(network);
        app.UseForwardedHeaders(options);
    }

    /// <summary>What every answer tells browsers: it is what it says it is, it is in nobody's frame and in nobody's cache.</summary>
    private static void UseSafeHeaders(this WebApplication app) => app.Use(static (http, next) =>
    {
        var headers = http.Response.Headers;
        headers.XContentTypeOptions = "nosniff";
        if (http.Request.Path.StartsWithSegments("/v1"))
        {
            headers.CacheControl = "no-store";
        }
        else
        {
            headers.XFrameOptions = "DENY";
            headers["Referrer-Policy"] = "no-referrer";
        }
        if (http.Request.IsHttps) headers.StrictTransportSecurity = "max-age=31536000";
        return next(http);
    });

    /// <summary>So many requests a second of each key, and as many again at once; 0 is without a limit.</summary>
    public static IServiceCollection AddRequestLimits(this IServiceCollection parts, int perSecond) => perSecond == 0 ? parts : parts.AddRateLimiter(options =>
    {
        options.GlobalLimiter = PartitionedRateLimiter.Create<HttpContext, string>(http => http.Features.Get<Caller>() is { } caller
            ? RateLimitPartition.GetTokenBucketLimiter(caller.Id, _ => new TokenBucketRateLimiterOptions
            {
                TokenLimit = 2 * perSecond, TokensPerPeriod = Math.Max(1, perSecond / 10), ReplenishmentPeriod = TimeSpan.FromMilliseconds(perSecond < 10 ? 1_000.0 / perSecond : 100), AutoReplenishment = true,
            })
            : RateLimitPartition.GetNoLimiter(""));
        options.OnRejected = static async (rejected, _) =>
        {
            var seconds = rejected.Lease.TryGetMetadata(MetadataName.RetryAfter, out var wait) ? Math.Max(1, (int)Math.Ceiling(wait.TotalSeconds)) : 1;
            rejected.HttpContext.Response.Headers.RetryAfter = seconds.ToString(CultureInfo.InvariantCulture);
            await Problems.Answer(rejected.HttpContext, "too_many_requests", "This key sends more requests than it may. Wait as long as Retry-After says.").ExecuteAsync(rejected.HttpContext);
        };
    });

    public static void UseRequestLimits(this WebApplication app, int perSecond)
    {
        if (perSecond > 0) app.UseRateLimiter();
    }

    /// <exception cref="SettingsException">One of them is neither an address nor a network.</exception>
    public static IReadOnlyList<System.Net.IPNetwork> ReadProxies(string? text) =>
    [
        .. (text ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(part =>
            System.Net.IPNetwork.TryParse(part, out var network) ? network
            : IPAddress.TryParse(part, out var address) ? new System.Net.IPNetwork(address, address.GetAddressBytes().Length * 8)
            : throw new SettingsException($"Billing:Proxies has '{part}'; each must be an address or a network such as 10.0.0.0/8.")),
    ];
}
