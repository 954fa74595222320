using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Simulation;

/// <summary>
/// What must cover a use, by the plan that the books say is in force: allowance as far as it is left, then tokens, then
/// overage at the catalog's price. Nothing oversold, and nothing charged that was included.
/// </summary>
internal sealed class Coverage(PlanBook plans, TokenBook tokens, UsageBook usage)
{
    public void Require(UsageRecorded e, Catalogs catalogs, bool enforced)
    {
        var now = e.RecordedAt;
        var (plan, version) = plans.InForce(catalogs, now);
        Audit.Require(e.Plan == plan?.Id && e.CatalogVersion == version, $"Event {e.Version} was decided by {e.Plan} of version {e.CatalogVersion}; in force is {plan?.Id} of {version}.");
        var given = plan?.Features.GetValueOrDefault(e.Feature);
        var feature = (catalogs.All.LastOrDefault(c => c.Features.Any(f => f.Id == e.Feature))?.Features.First(f => f.Id == e.Feature))!;
        if (given is null)
        {
            // What already happened is recorded even so; nothing of it is included, and nothing priced. A gauge may always go down.
            Audit.Require(e.Gauge is not null && e.Quantity < 0 || !enforced, $"Event {e.Version} uses {e.Feature}, which {plan?.Id} does not include.");
            if (e.Gauge is null || e.Quantity > 0) RequireParts(e, 0, 0, e.Quantity, null, overLimit: true);
            else RequireParts(e, e.Quantity, 0, 0, null, overLimit: false);
        }
        else if (e.Gauge is not null) RequireGauge(e, given, enforced);
        else RequireSum(e, given, feature, enforced);
        if (e.Gauge is null) RequireWindows(e, catalogs, given);
        tokens.RequireInOrder(e, e.Grants, Cost(e.ByTokens, feature));
    }

    private void RequireSum(UsageRecorded e, PlanFeature given, Feature feature, bool enforced)
    {
        var now = e.RecordedAt;
        var used = usage.Used(e.Feature, given.Window, now);
        var limit = plans.Prorated(given, now)?.Limit ?? given.Allowance;
        var left = limit is { } most ? Math.Max(0, most - used) : e.Quantity;

        var allowance = Math.Min(e.Quantity, left);
        var burns = given.Mode is LimitMode.Tokens or LimitMode.TokensThenOverage;
        var byTokens = burns ? Math.Min(e.Quantity - allowance, Affords(tokens.Balance(now), feature)) : 0;
        var overage = e.Quantity - allowance - byTokens;
        var priced = given.Mode is LimitMode.Overage or LimitMode.TokensThenOverage;
        var allowed = priced || given.Mode == LimitMode.Soft;
        Audit.Require(overage == 0 || allowed || !enforced, $"Event {e.Version} uses {overage} more of {e.Feature} than there is: of {limit} {used} are used.");
        RequireParts(e, allowance, byTokens, overage, priced && overage > 0 ? given.UnitPrice : null, overLimit: overage > 0 && !allowed);

        foreach (var rate in given.RateLimits)
        {
            var taken = usage.Used(e.Feature, rate.Window, now);
            var counts = e.EffectiveAt >= (usage.Open(e.Feature, rate.Window, now)?.Start ?? plans.Window(rate.Window, now).Start);
            Audit.Require(!enforced || !counts || taken + e.Quantity <= rate.Limit, $"Event {e.Version} uses {e.Quantity} of {e.Feature} where {taken} of {rate.Limit} in one {rate.Window} are used.");
        }
    }

    private void RequireGauge(UsageRecorded e, PlanFeature given, bool enforced)
    {
        var before = usage.Gauge(e.Feature);
        // What goes past the limit now, and not what stood past it before.
        var over = e.Quantity > 0 && given.Allowance is { } most ? Math.Clamp(before + e.Quantity - most, 0, e.Quantity) : 0;
        var allowed = given.Mode is LimitMode.Overage or LimitMode.Soft;
        Audit.Require(over == 0 || allowed || !enforced, $"Event {e.Version} moves {e.Feature} to {e.Gauge}, past {given.Allowance}.");
        // It is billed by its peak when the period ends, not by each change.
        RequireParts(e, e.Quantity - over, 0, over, null, overLimit: over > 0 && !allowed);
    }

    private static void RequireParts(UsageRecorded e, long allowance, long byTokens, long overage, decimal? price, bool overLimit) =>
        Audit.Require(e.Allowance == allowance && e.ByTokens == byTokens && e.Overage == overage && e.UnitPrice == price && e.OverLimit == overLimit,
            $"Event {e.Version} is covered by {e.Allowance} + {e.ByTokens} + {e.Overage} at {e.UnitPrice} ({e.OverLimit}); by the books {allowance} + {byTokens} + {overage} at {price} ({overLimit}).");

    /// <summary>Use belongs to the feature: it counts in every window that any plan limits it by, once in each.</summary>
    private void RequireWindows(UsageRecorded e, Catalogs catalogs, PlanFeature? given)
    {
        var home = catalogs.All.Last(c => c.Features.Any(f => f.Id == e.Feature));
        var kinds = Kinds(home, e.Feature);
        if (given is not null) kinds.UnionWith(Kinds(catalogs.All[plans.InForce(catalogs, e.RecordedAt).Version - 1], e.Feature));
        // A lifetime counts only use under plans that give the feature once for a lifetime.
        if (given?.Window == Window.Lifetime) kinds.Add(Window.Lifetime);
        else kinds.Remove(Window.Lifetime);
        var at = Instant.Min(e.EffectiveAt, e.RecordedAt);
        var due = kinds.Where(k => at >= (usage.Open(e.Feature, k, e.RecordedAt)?.Start ?? plans.Window(k, e.RecordedAt).Start)).ToList();
        Audit.Require((e.Windows ?? []).Select(w => w.Window).SequenceEqual(due), $"Event {e.Version} counts in {string.Join(", ", (e.Windows ?? []).Select(w => w.Window))}; by the catalog in {string.Join(", ", due)}.");
    }

    private static SortedSet<Window> Kinds(Catalog catalog, string feature)
    {
        var kinds = new SortedSet<Window> { Window.Period };
        if (catalog.Features.FirstOrDefault(f => f.Id == feature)?.Meter is { } meter) kinds.Add(meter.Window);
        foreach (var plan in catalog.Plans)
        {
            if (!plan.Features.TryGetValue(feature, out var of)) continue;
            kinds.Add(of.Window);
            foreach (var rate in of.RateLimits) kinds.Add(rate.Window);
        }
        return kinds;
    }

    /// <summary>Whole tokens for so many smallest units, rounded up.</summary>
    private static long Cost(long units, Feature feature)
    {
        var tokens = (decimal)units * feature.TokenCost / Scale(feature);
        return (long)Math.Ceiling(tokens);
    }

    /// <summary>Smallest units for so many tokens, rounded down.</summary>
    private static long Affords(long balance, Feature feature) => (long)Math.Floor((decimal)balance * Scale(feature) / feature.TokenCost);

    private static long Scale(Feature feature) => (long)Math.Pow(10, feature.Meter!.Decimals);
}
