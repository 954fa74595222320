using Billing.Silo;

namespace Billing.Api;

/// <summary>Who is signed in by a cookie. The cookie is looked at before anybody asks, because that may take a look into the database.</summary>
public sealed class SessionCredentials : ICredentials
{
    /// <summary>A request of a signed-in browser.</summary>
    internal sealed record SignedIn(string Token, BrowserSession Session);

    public Caller? Read(HttpContext http) => http.Features.Get<SignedIn>()?.Session.Caller;
}

/// <summary>Finds the session of a request.</summary>
public static class SessionReading
{
    public static void UseSessions(this WebApplication app, BrowserSessions sessions, Clock clock) => app.Use((http, next) =>
    {
        // Whoever shows a key is asked for nothing else.
        if (http.Request.Headers.Authorization.Count > 0 || SessionCookie.Of(http) is not { } token) return next(http);
        return Find(http, next, sessions, token, clock);
    });

    private static async Task Find(HttpContext http, RequestDelegate next, BrowserSessions sessions, string token, Clock clock)
    {
        if (await sessions.Find(token, clock.Now()) is { } session)
        {
            if (http.Request.Path.StartsWithSegments("/v1") && !SessionCookie.IsOwn(http, token))
            {
                await Problems.Answer(http, "form_token_wrong", $"A signed-in browser sends {SessionCookie.Header} with what changes something, as GET /v1/session says it.").ExecuteAsync(http);
                return;
            }
            http.Features.Set(new SessionCredentials.SignedIn(token, session));
        }
        await next(http);
    }
}
