using System.Collections.Frozen;
using Billing.Silo;

namespace Billing.Api;

/// <summary>
/// Who may call what, in one place: every route under /v1 with the scopes of which a caller needs one. The service does not start with a
/// route that is not here, nor with a line here that is no route.
/// </summary>
public static class RouteScopes
{
    private const string Organization = "/v1/organizations/{organization}";

    /// <summary>A line is a method and a path; <c>~</c> is one organization.</summary>
    private static readonly (Scopes AnyOf, string Routes)[] Table =
    [
        // Whoever has a good key.
        (Scopes.All,
            """
            GET /v1/ping
            GET /v1/session
            POST /v1/session/sign-out-everywhere
            """),

        (Scopes.EntitlementsRead | Scopes.BillingManage,
            """
            GET /v1/plans
            GET /v1/token-packages
            GET /v1/config
            """),
        (Scopes.EntitlementsRead | Scopes.UsageWrite,
            """
            GET ~/entitlements
            GET ~/entitlements/{feature}
            POST ~/entitlements/check
            """),
        (Scopes.EntitlementsRead | Scopes.LedgerRead,
            """
            GET ~
            GET ~/entitlements/{feature}/explain
            GET ~/denials/{id}
            GET ~/usage/current
            GET ~/alerts
            GET ~/overrides
            """),
        (Scopes.UsageWrite,
            """
            POST ~/usage
            POST ~/usage/batch
            PUT ~/gauges/{feature}
            POST ~/holds
            GET ~/holds
            POST ~/holds/{id}/settle
            DELETE ~/holds/{id}
            """),
        // What an app's server has, and no browser.
        (Scopes.UsageWrite | Scopes.BillingManage, "POST ~/browser-tokens"),
        (Scopes.BillingManage,
            """
            PUT ~/profile
            DELETE ~/profile
            POST ~/checkout-sessions
            GET ~/checkout-sessions/{id}
            POST ~/portal-sessions
            POST ~/portal-links
            DELETE ~/portal-links
            POST ~/tokens/purchase
            PUT ~/tokens/top-up
            DELETE ~/tokens/top-up
            PUT ~/spend-caps
            PUT ~/subscription
            DELETE ~/subscription
            POST ~/subscription/preview
            POST ~/subscription/reactivate
            POST ~/subscription/pause
            POST ~/subscription/resume
            """),
        (Scopes.BillingManage | Scopes.LedgerRead,
            """
            GET ~/profile
            GET ~/subscription
            GET ~/billing-terms
            GET ~/spend-caps
            GET ~/tokens
            GET ~/tokens/transactions
            GET ~/tokens/top-up
            GET ~/invoices
            GET ~/invoices/upcoming
            GET ~/invoices/{invoice}
            GET ~/invoices/{invoice}/print
            GET ~/usage/records
            GET ~/usage/history
            """),
        (Scopes.LedgerRead,
            """
            GET ~/export
            GET /v1/organizations
            GET ~/usage/{id}/explain
            GET ~/ledger
            GET ~/ledger/head
            GET ~/ledger/state
            GET ~/ledger/verify
            GET ~/ledger/export
            """),
        (Scopes.Ops,
            """
            POST /v1/organizations
            DELETE ~
            POST ~/invitations
            PUT ~/time-zone
            POST ~/test-clock/advance
            PUT ~/billing-terms
            POST ~/credits
            POST ~/usage/{id}/void
            POST ~/usage/{id}/correct
            PUT ~/overrides/{feature}
            DELETE ~/overrides/{feature}
            POST ~/tokens/grants
            POST ~/tokens/top-up/{id}/complete
            POST ~/tokens/top-up/{id}/fail
            POST ~/invoices/generate
            POST ~/invoices/lines
            POST ~/invoices/{invoice}/finalize
            POST ~/invoices/{invoice}/pay
            POST ~/invoices/{invoice}/void
            POST ~/invoices/{invoice}/uncollectible
            POST ~/payments
            POST ~/refunds
            GET ~/refunds
            POST ~/reconcile
            GET /v1/catalog/versions
            POST /v1/catalog/moves
            POST /v1/catalog/push
            GET /v1/flags
            PUT /v1/flags/{name}
            GET /v1/api-keys
            POST /v1/api-keys
            POST /v1/api-keys/{id}/rotate
            DELETE /v1/api-keys/{id}
            GET /v1/stripe/events
            GET /v1/stripe/events/{id}
            POST /v1/stripe/events/{id}/replay
            GET /v1/stripe/flow
            GET /v1/stripe/reconciliation
            GET /v1/audit
            GET /v1/audit/head
            GET /v1/audit/verify
            """),
    ];

    /// <summary>By <c>GET /v1/ping</c>.</summary>
    private static readonly FrozenDictionary<string, Scopes> ByRoute = Table
        .SelectMany(t => t.Routes.Split('\n', StringSplitOptions.TrimEntries).Select(line => (Route: Whole(line), t.AnyOf)))
        .ToFrozenDictionary(t => t.Route, t => t.AnyOf, StringComparer.Ordinal);

    /// <summary>What a caller of an endpoint needs one of.</summary>
    internal sealed record Needed(Scopes AnyOf)
    {
        public bool IsForOperators => AnyOf == Scopes.Ops;
    }

    /// <summary>Gives every route of the group its scopes.</summary>
    public static RouteGroupBuilder WithScopes(this RouteGroupBuilder group)
    {
        ((IEndpointConventionBuilder)group).Finally(static endpoint =>
        {
            if (endpoint is RouteEndpointBuilder route && Of(route.Metadata, route.RoutePattern.RawText) is { } scopes) endpoint.Metadata.Add(new Needed(scopes));
        });
        return group;
    }

    /// <exception cref="InvalidOperationException">A route is not in the table, or a line of the table is no route.</exception>
    public static void RequireScopes(this WebApplication app)
    {
        var routes = ((IEndpointRouteBuilder)app).DataSources.SelectMany(s => s.Endpoints).OfType<RouteEndpoint>().Where(e => PathOf(e.RoutePattern.RawText).StartsWith("/v1", StringComparison.Ordinal)).ToList();
        var without = routes.Where(e => e.Metadata.GetMetadata<Needed>() is null).Select(e => e.DisplayName).ToList();
        if (without.Count > 0) throw new InvalidOperationException($"These routes have no scope in RouteScopes: {string.Join(", ", without)}");
        var known = routes.Select(e => KeyOf(e.Metadata, e.RoutePattern.RawText)).ToHashSet();
        var gone = ByRoute.Keys.Where(r => !known.Contains(r)).ToList();
        if (gone.Count > 0) throw new InvalidOperationException($"RouteScopes has lines that are no routes: {string.Join(", ", gone)}");
        AuditedRoutes.Require(ByRoute);
    }

    /// <summary>What a route's callers need one of.</summary>
    /// <param name="path">As it is mapped, such as <c>/v1/organizations/{organization}</c>.</param>
    internal static Scopes Of(string method, string path) => ByRoute[$"{method} {path}"];

    private static Scopes? Of(IList<object> metadata, string? pattern) =>
        ByRoute.TryGetValue(KeyOf(metadata, pattern), out var scopes) ? scopes : null;

    /// <summary>A line of a table, with <c>~</c> spelled out.</summary>
    internal static string Whole(string line) => line.Replace("~", Organization, StringComparison.Ordinal);

    /// <summary>Such as <c>POST /v1/organizations</c>.</summary>
    internal static string KeyOf(IEnumerable<object> metadata, string? pattern) =>
        $"{metadata.OfType<IHttpMethodMetadata>().LastOrDefault()?.HttpMethods[0]} {PathOf(pattern)}";

    private static string PathOf(string? pattern) => "/" + pattern?.Trim('/');
}
