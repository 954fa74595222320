using System.Collections.Frozen;
using Billing.Silo;

namespace Billing.Api;

/// <summary>
/// Which routes leave a record of who called them, and under which name. Names are for ever. All that change something and are for operators
/// alone must be here, or the service does not start; of those that customers use too, an operator's call is recorded.
/// </summary>
public static class AuditedRoutes
{
    /// <summary>A line is a name, a method and a path; <c>~</c> is one organization.</summary>
    private const string Table =
        """
        organization.open           POST /v1/organizations
        organization.close          DELETE ~
        organization.invite         POST ~/invitations
        organization.time-zone      PUT ~/time-zone
        organization.clock          POST ~/test-clock/advance
        billing-terms.set           PUT ~/billing-terms
        credit.grant                POST ~/credits
        usage.void                  POST ~/usage/{id}/void
        usage.correct               POST ~/usage/{id}/correct
        override.set                PUT ~/overrides/{feature}
        override.remove             DELETE ~/overrides/{feature}
        tokens.grant                POST ~/tokens/grants
        top-up.complete             POST ~/tokens/top-up/{id}/complete
        top-up.fail                 POST ~/tokens/top-up/{id}/fail
        invoice.generate            POST ~/invoices/generate
        invoice.line                POST ~/invoices/lines
        invoice.finalize            POST ~/invoices/{invoice}/finalize
        invoice.pay                 POST ~/invoices/{invoice}/pay
        invoice.void                POST ~/invoices/{invoice}/void
        invoice.uncollectible       POST ~/invoices/{invoice}/uncollectible
        payment.report              POST ~/payments
        refund.create               POST ~/refunds
        reconcile.repair            POST ~/reconcile
        catalog.move                POST /v1/catalog/moves
        catalog.push                POST /v1/catalog/push
        flag.set                    PUT /v1/flags/{name}
        key.create                  POST /v1/api-keys
        key.rotate                  POST /v1/api-keys/{id}/rotate
        key.revoke                  DELETE /v1/api-keys/{id}
        stripe.replay               POST /v1/stripe/events/{id}/replay
        profile.set                 PUT ~/profile
        profile.erase               DELETE ~/profile
        checkout.create             POST ~/checkout-sessions
        portal.open                 POST ~/portal-sessions
        portal-link.create          POST ~/portal-links
        portal-link.revoke          DELETE ~/portal-links
        session.end-all             POST /v1/session/sign-out-everywhere
        tokens.purchase             POST ~/tokens/purchase
        top-up.set                  PUT ~/tokens/top-up
        top-up.remove               DELETE ~/tokens/top-up
        spend-caps.set              PUT ~/spend-caps
        subscription.set            PUT ~/subscription
        subscription.cancel         DELETE ~/subscription
        subscription.reactivate     POST ~/subscription/reactivate
        subscription.pause          POST ~/subscription/pause
        subscription.resume         POST ~/subscription/resume
        """;

    /// <summary>The name by <c>POST /v1/organizations</c>.</summary>
    private static readonly FrozenDictionary<string, string> ByRoute = Table.Split('\n')
        .Select(line => line.Split(' ', 2, StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        .ToFrozenDictionary(parts => RouteScopes.Whole(parts[1]), parts => parts[0], StringComparer.Ordinal);

    /// <summary>In the order of the table.</summary>
    public static readonly IReadOnlyList<string> Names = [.. Table.Split('\n').Select(line => line.Split(' ')[0])];

    /// <param name="route">Such as <c>POST /v1/organizations</c>.</param>
    /// <returns>Null when nothing is recorded of it.</returns>
    internal static string? NameOf(string route) => ByRoute.GetValueOrDefault(route);

    /// <exception cref="InvalidOperationException">What an operator changes would leave no record, or a line is no route.</exception>
    internal static void Require(IEnumerable<KeyValuePair<string, Scopes>> routes)
    {
        var known = routes.ToDictionary();
        var without = known.Where(r => r.Value == Scopes.Ops && !r.Key.StartsWith("GET ", StringComparison.Ordinal) && !ByRoute.ContainsKey(r.Key)).Select(r => r.Key).ToList();
        if (without.Count > 0) throw new InvalidOperationException($"These routes change something and have no name in AuditedRoutes: {string.Join(", ", without)}");
        var gone = ByRoute.Keys.Where(r => !known.ContainsKey(r)).ToList();
        if (gone.Count > 0) throw new InvalidOperationException($"AuditedRoutes has lines that are no routes: {string.Join(", ", gone)}");
    }
}
