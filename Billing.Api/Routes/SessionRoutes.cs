using Billing.Api.Pages;
using Billing.Ledger;
using Billing.Silo;

namespace Billing.Api.Routes;

/// <summary>Signing in: operators with a key, customers by a link that their app asks for.</summary>
public static class SessionRoutes
{
    private const int MaxFormBytes = 4 * 1024;

    /// <summary>Where a customer is taken who came by a link.</summary>
    private const string Portal = "/account/billing";

    /// <summary>What a customer may do: see, and manage what they pay for.</summary>
    private const Scopes OfCustomer = Scopes.EntitlementsRead | Scopes.BillingManage | Scopes.LedgerRead;

    public static void MapSessions(this WebApplication app, RouteGroupBuilder v1, Services services, AccessTokens tokens)
    {
        v1.MapBrowserTokens(services, tokens.Browser);
        var (sessions, clock) = (services.Sessions, services.Clock);

        v1.MapGet("/session", (HttpContext http) => Answers.Json(Of(http), ApiJson.Web.SessionView))
            .WithTags("Sign-in").WithSummary("Who is calling, and with what").Produces<SessionView>();

        v1.MapPost("/session/sign-out-everywhere", (Delegate)(async (HttpContext http) => Answers.Json(new EndedView(await sessions.SignOutEverywhere(http.Caller().Id, clock.Now())), ApiJson.Web.EndedView)))
            .WithTags("Sign-in").WithSummary("End every browser session of this caller").Produces<EndedView>();

        v1.MapPost("/organizations/{organization}/portal-links", (string organization, HttpContext http) => NewLink(organization, http, services))
            .WithTags("Sign-in").WithSummary("A link that signs a customer in: good once, for minutes, for this organization").Produces<PortalLinkView>(201);

        v1.MapDelete("/organizations/{organization}/portal-links", async (string organization) => Answers.Json(new EndedView(await sessions.Revoke(organization, clock.Now())), ApiJson.Web.EndedView))
            .WithTags("Sign-in").WithSummary("End every link and every customer's session of the organization").Produces<EndedView>();

        app.MapGet("/portal/{link}", async (string link, HttpContext http) =>
        {
            if (await sessions.Exchange(link, clock.Now()) is not { } entered) return Page("This link has ended", $"<p>It was used before, or it is too old. Ask for a new one where you got it.</p>", 410);
            SessionCookie.Set(http, entered.Token);
            return Results.Redirect(Portal);
        }).ExcludeFromDescription();

        app.MapGet("/sign-in", (string? next) => SignInPage(next, null)).ExcludeFromDescription();

        app.MapPost("/sign-in", (Delegate)(async (HttpContext http) =>
        {
            if (await Form(http) is not { } form) return SignInPage(null, "This form cannot be read.");
            var next = form["next"].ToString();
            if (services.Keys.Find(form["key"].ToString().Trim(), clock.Now()) is not { } key || !key.Scopes.HasFlag(Scopes.Ops)) return SignInPage(next, "This is no operator's key.", 401);
            SessionCookie.Set(http, await sessions.SignIn(key.Caller, clock.Now()));
            return Results.LocalRedirect(IsLocal(next) ? next : "/");
        })).ExcludeFromDescription();

        app.MapPost("/sign-out", (Delegate)(async (HttpContext http) =>
        {
            if (http.Features.Get<SessionCredentials.SignedIn>() is { } signedIn)
            {
                if (!SessionCookie.IsOwn(http, signedIn.Token, (await Form(http))?[SessionCookie.Field])) return Page("Not signed out", $"<p>This request did not come from a page of ours.</p>", 403);
                await sessions.SignOut(signedIn.Token, clock.Now());
            }
            SessionCookie.Remove(http);
            return Results.LocalRedirect("/sign-in");
        })).ExcludeFromDescription();
    }

    private static SessionView Of(HttpContext http)
    {
        var caller = http.Caller();
        var signedIn = http.Features.Get<SessionCredentials.SignedIn>();
        return new SessionView(caller.Id, caller.Name, caller.Organization, ScopeNames.Of(caller.Scopes), caller.Test, signedIn?.Session.ExpiresAt, signedIn is null ? null : BrowserSessions.FormToken(signedIn.Token));
    }

    private static async Task<IResult> NewLink(string organization, HttpContext http, Services services)
    {
        var now = services.Clock.Now();
        if (await services.Host.Organization(organization).Read(now) is not { } view) return Problems.Answer(Problems.Of(http, Rejections.OrganizationUnknown(organization), null));
        // What the customer does is written down as theirs, and not as the app's that asked.
        var link = await services.Sessions.NewLink(new Caller($"portal:{organization}", "customer", organization, OfCustomer, view.Test), now);
        return Answers.Json(new PortalLinkView($"{http.Request.Scheme}://{http.Request.Host}/portal/{link}", now + BrowserSessions.LinkMost), ApiJson.Web.PortalLinkView, 201);
    }

    private static async Task<IFormCollection?> Form(HttpContext http)
    {
        if (!http.Request.HasFormContentType || http.Request.ContentLength is null or > MaxFormBytes) return null;
        try
        {
            return await http.Request.ReadFormAsync(http.RequestAborted);
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }

    /// <summary>A path of ours: not another host's, however it is written.</summary>
    private static bool IsLocal(string? path) => path is ['/', ..] and not ['/', '/' or '\\', ..] && !path.Any(char.IsControl);

    private static PageResult SignInPage(string? next, string? problem, int status = 200) => Page("Sign in",
        $"""
        {(problem is null ? Html.Nothing : $"<p role=\"alert\">{problem}</p>")}
        <form method="post" action="/sign-in">
        <input type="hidden" name="next" value="{next}">
        <p><label>Operator's key<br><input type="password" name="key" autocomplete="current-password" required autofocus></label></p>
        <p><button>Sign in</button></p>
        </form>
        """, status);

    private static PageResult Page(string title, Html content, int status)
    {
        Html page = $"""
            <!doctype html>
            <html lang="en">
            <head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
            <style>{Style}</style></head>
            <body><main><h1>{title}</h1>{content}</main></body>
            </html>
            """;
        return new PageResult(page.ToString(), status);
    }

    private static readonly Html Style = $"body{{font:1rem/1.5 system-ui,sans-serif;margin:0;color:#1b1b1f;background:#fff}}main{{max-width:24rem;margin:12vh auto;padding:0 1rem}}input[type=password]{{font:inherit;width:100%;padding:.5rem;box-sizing:border-box}}button{{font:inherit;padding:.5rem 1rem}}[role=alert]{{color:#b3261e}}@media(prefers-color-scheme:dark){{body{{color:#e4e4e9;background:#1b1b1f}}[role=alert]{{color:#f2b8b5}}}}";

    /// <summary>A page that runs nothing and sends its form to this service only.</summary>
    private sealed class PageResult(string html, int status) : IResult
    {
        public Task ExecuteAsync(HttpContext httpContext)
        {
            httpContext.Response.Headers.ContentSecurityPolicy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
            httpContext.Response.Headers.CacheControl = "no-store";
            return Results.Content(html, "text/html; charset=utf-8", statusCode: status).ExecuteAsync(httpContext);
        }
    }
}
