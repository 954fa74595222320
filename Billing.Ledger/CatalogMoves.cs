using NodaTime;

namespace Billing.Ledger;

/// <summary>What moving an organization to another version of the catalog would change. Nothing is written.</summary>
/// <param name="Plan">The plan that is moved: the subscription's, or the operator's.</param>
/// <param name="PriceBefore">What the subscription costs for a period; the new price counts from its next period. Null for plans given by an operator.</param>
/// <param name="Rejection">Why it cannot be moved, or null.</param>
public sealed record CatalogMove(Instant Now, string Plan, int From, int To, Price? PriceBefore, Price? PriceAfter, Rejection? Rejection, State Before, State After);

/// <summary>Subscriptions keep the version of the catalog that they were sold, until they are moved to another one: a newer one, or back.</summary>
public static class CatalogMoves
{
    public static Decision Decide(State state, Catalogs catalogs, MoveToCatalog c, Instant now)
    {
        if (c.CatalogVersion < 1 || c.CatalogVersion > catalogs.All.Length) return Rejections.CatalogVersionUnknown(c.CatalogVersion, catalogs.All.Length);
        var catalog = catalogs.All[c.CatalogVersion - 1];
        var (own, given) = Held(state, catalogs, now);
        if (own?.CatalogVersion == c.CatalogVersion) own = null;
        if (given?.CatalogVersion == c.CatalogVersion) given = null;
        if (own is null && given is null) return Decision.AlreadyDone;
        foreach (var id in (ReadOnlySpan<string?>)[own?.Plan, given?.Plan])
            if (id is not null && catalog.Plan(id)?.IsFor(state.Organization) != true) return Rejections.PlanNotInVersion(id, c.CatalogVersion);
        if (own?.Kept is { } kept && catalog.Plan(own.Plan)!.Price(own.Interval, kept.Currency) is null)
            return Rejections.PriceUnknown(catalog.Plan(own.Plan)!, own.Interval, kept.Currency);

        return Subscriptions.Change(state, catalogs, new SubscriptionChanged(
            given is null ? null : given with { CatalogVersion = c.CatalogVersion }, own is null ? null : own with { CatalogVersion = c.CatalogVersion }, null, null, null, c.Reason)
        {
            Version = state.Version + 1, EffectiveAt = now, RecordedAt = now, Change = SubscriptionChange.CatalogMoved, By = c.By,
        });
    }

    /// <returns>Null when the organization has no plan to move: the fallback plan is always the current version's.</returns>
    public static CatalogMove? Preview(State state, Catalogs catalogs, int version, Instant clock)
    {
        var now = state.Now(clock);
        state = state.Evolve(Decider.Due(state, catalogs, now));
        var (own, given) = Held(state, catalogs, now);
        if (state.IsClosed || (given?.Plan ?? own?.Plan) is not { } plan) return null;

        var decision = Decide(state, catalogs, new MoveToCatalog(version, null) { Id = "", ContentHash = [], At = now }, now);
        var after = state.Evolve(decision.Events);
        return new CatalogMove(
            now, plan, given?.CatalogVersion ?? own!.CatalogVersion, version, own is null ? null : KeptSubscriptions.PriceOf(catalogs, own),
            own is null || decision.Rejection is not null ? null : KeptSubscriptions.PriceOf(catalogs, after.Subscriptions.Own!), decision.Rejection, state, after);
    }

    /// <summary>The subscription that goes on, and the operator's plan where that is in force.</summary>
    private static (Subscription? Own, OperatorPlan? Given) Held(State state, Catalogs catalogs, Instant now) =>
        (state.Subscriptions.Own is { Ended: false } own ? own : null,
            Subscriptions.InForce(state, catalogs, now).Source == PlanSource.Operator ? state.Subscriptions.OperatorPlan : null);
}
