using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Simulation;

/// <summary>
/// What must cover a use or a hold, by the plan that the books say is in force: allowance as far as it is left, then
/// tokens, then overage at the catalog's price. Nothing oversold, and nothing charged that was included.
/// </summary>
internal sealed class Coverage(PlanBook plans, TokenBook tokens, UsageBook usage, HoldBook holds, BillingBook billing)
{
    /// <summary>A quantity in its parts, and what they cost.</summary>
    private readonly record struct Parts(long Allowance, long ByTokens, long Overage)
    {
        public static Parts operator +(Parts a, Parts b) => new(a.Allowance + b.Allowance, a.ByTokens + b.ByTokens, a.Overage + b.Overage);
    }

    // ---- what is recorded

    public void Require(UsageRecorded e, Catalogs catalogs, bool enforced)
    {
        if (IsLate(e, catalogs))
        {
            RequireLate(e, catalogs, enforced);
            return;
        }
        var given = InForce(e, e.Plan, e.CatalogVersion, e.Feature, catalogs);
        if (e.Gauge is not null) RequireGauge(e, given, catalogs, enforced);
        else if (e.Hold is not null) RequireSettled(e, given, catalogs);
        else RequireUse(e, given, catalogs, enforced);
        if (e.Gauge is null) RequireWindows(e, catalogs, given);
    }

    /// <summary>Use in a closed window is covered by what was left there, on the terms that it ended with; rates do not apply.</summary>
    private void RequireLate(UsageRecorded e, Catalogs catalogs, bool enforced)
    {
        var of = e.Plan is null ? null : catalogs.All[e.CatalogVersion - 1].Plans.FirstOrDefault(p => p.Id == e.Plan)?.Features.GetValueOrDefault(e.Feature);
        var feature = Known(catalogs, e.Feature);
        var closed = (e.Windows ?? []).Select(w => usage.Page(e.Feature)?.ClosedAt(w)).OfType<Tally>().Where(t => t.End <= e.RecordedAt).ToList();
        var kept = closed.Find(t => t.Window == (of?.Window ?? feature.Meter!.Window) && t.Plan == e.Plan && t.CatalogVersion == e.CatalogVersion);
        if (of is null && kept?.Limit is { } over) of = new PlanFeature(feature, true, null, over == long.MaxValue ? null : over, feature.Meter!.Window, LimitMode.Block, null, 402, [], []);
        if (of is null)
        {
            Audit.Require(!enforced || plans.Given(plans.InForce(catalogs, e.RecordedAt).Plan, feature, e.RecordedAt) is not null, $"Event {e.Version} uses {e.Feature}, which {e.Plan} did not include.");
            return;
        }
        var window = (e.Windows ?? []).FirstOrDefault(w => w.Window == of.Window);
        Audit.Require(window is not null, $"Event {e.Version} does not count in the {of.Window} that limits {e.Feature}.");
        if (window!.End > e.RecordedAt) return;
        var limit = kept is null ? of.Allowance : kept.Limit is { } other ? other == long.MaxValue ? null : other : of.Allowance;
        var used = usage.Page(e.Feature)?.ClosedAt(window)?.Used ?? 0;
        var allowance = limit is { } most ? Math.Min(e.Quantity, Math.Max(0, most - used)) : e.Quantity;
        Audit.Require(e.Allowance == allowance || (kept is null && plans.Given(plans.InForce(catalogs, e.RecordedAt).Plan, feature, e.RecordedAt)?.Allowance != of.Allowance),
            $"Event {e.Version} takes {e.Allowance} of the allowance of the closed {window}; of {limit} {used} are used.");
        Audit.Require(e.Overage == 0 || Allows(of) || !enforced, $"Event {e.Version} takes {e.Overage} more of {e.Feature} than there was.");
        Same(e, e.Grants, tokens.Taken(e, Cost(e.ByTokens, feature)));
    }

    /// <summary>Whether a use happened before the running windows, of the plan's limit or of the billing period.</summary>
    private bool IsLate(UsageRecorded e, Catalogs catalogs)
    {
        var (now, at) = (e.RecordedAt, Instant.Min(e.EffectiveAt, e.RecordedAt));
        if (at == now || e.Gauge is not null || e.Hold is not null) return false;
        var limit = plans.InForce(catalogs, now).Plan?.Features.GetValueOrDefault(e.Feature)?.Window ?? Known(catalogs, e.Feature).Meter!.Window;
        return at < Start(Window.Period) || at < Start(limit);

        Instant Start(Window kind) => usage.Open(e.Feature, kind, now)?.Start ?? plans.Window(kind, now).Start;
    }

    public void Require(HoldPlaced e, Catalogs catalogs)
    {
        var given = InForce(e, e.Plan, e.CatalogVersion, e.Feature, catalogs);
        Audit.Require(given is not null, $"Event {e.Version} holds {e.Feature}, which the plan does not include.");
        var open = holds.Of(e.Feature);
        var parts = Cover(e, given!, open, e.Quantity, e.EffectiveAt, catalogs, enforced: true);
        Audit.Require(parts == new Parts(e.Allowance, e.ByTokens, e.Overage), $"Event {e.Version} holds {e.Allowance} + {e.ByTokens} + {e.Overage}; by the books {parts}.");
        Same(e, e.Grants, tokens.Taken(e, Cost(parts.ByTokens, given!.Feature)));
    }

    private PlanFeature? InForce(LedgerEvent e, string? plan, int version, string feature, Catalogs catalogs)
    {
        var (inForce, of) = plans.InForce(catalogs, e.RecordedAt);
        Audit.Require(plan == inForce?.Id && version == of, $"Event {e.Version} was decided by {plan} of version {version}; in force is {inForce?.Id} of {of}.");
        return plans.Given(inForce, Known(catalogs, feature), e.RecordedAt);
    }

    private void RequireUse(UsageRecorded e, PlanFeature? given, Catalogs catalogs, bool enforced)
    {
        if (given is null)
        {
            // What already happened is recorded even so; nothing of it is included, and nothing priced.
            Audit.Require(!enforced, $"Event {e.Version} uses {e.Feature}, which {e.Plan} does not include.");
            Same(e, new Parts(0, 0, e.Quantity), [], overLimit: true);
            return;
        }
        var parts = Cover(e, given, holds.Of(e.Feature), e.Quantity, e.EffectiveAt, catalogs, enforced);
        Same(e, parts, Prices(given, parts.Overage, usage.Overage(e.Feature, e.RecordedAt)), overLimit: parts.Overage > 0 && !Allows(given));
        Same(e, e.Grants, tokens.Taken(e, Cost(parts.ByTokens, given.Feature)));
    }

    /// <summary>Up to what was held it was decided when it was held; more is covered like any use, beside all that is held.</summary>
    private void RequireSettled(UsageRecorded e, PlanFeature? given, Catalogs catalogs)
    {
        Audit.Require(holds.Settling is { } settling && $"ho_{settling.Hold.Version}" == e.Hold && settling.Hold.Feature == e.Feature, $"Event {e.Version} settles {e.Hold}, which was not ended right before.");
        var (hold, open) = holds.Settling!.Value;
        var within = Math.Min(e.Quantity, hold.Quantity);
        var allowance = Math.Min(within, hold.Allowance);
        var byTokens = Math.Min(within - allowance, hold.ByTokens);
        var held = new Parts(allowance, byTokens, within - allowance - byTokens);
        Audit.Require(e.Quantity <= hold.Quantity || given is not null, $"Event {e.Version} settles more than was held of what the plan does not include.");
        var reserved = hold.Grants ?? [];
        var more = e.Quantity > hold.Quantity ? Cover(e, given!, open, e.Quantity - hold.Quantity, e.RecordedAt, catalogs, enforced: true, reserved) : default;
        var parts = held + more;
        var prices = given is null || !IsPriced(given) ? [] : Prices(given, parts.Overage, usage.Overage(e.Feature, e.RecordedAt));
        Same(e, parts, prices, overLimit: held.Overage > 0 && (given is null || !Allows(given)));

        // Its own tokens first, in their order; the rest from whoever is next.
        var cost = Cost(parts.ByTokens, Known(catalogs, e.Feature));
        var due = new List<GrantUse>();
        var left = cost;
        foreach (var part in reserved)
        {
            if (left == 0) break;
            due.Add(part with { Tokens = Math.Min(left, part.Tokens) });
            left -= due[^1].Tokens;
        }
        foreach (var part in tokens.Taken(e, left, reserved))
        {
            var at = due.FindIndex(d => d.Grant == part.Grant);
            if (at < 0) due.Add(part);
            else due[at] = part with { Tokens = due[at].Tokens + part.Tokens };
        }
        Same(e, e.Grants, due);
    }

    private void RequireGauge(UsageRecorded e, PlanFeature? given, Catalogs catalogs, bool enforced)
    {
        var before = usage.Gauge(e.Feature);
        if (given is null)
        {
            // A gauge may always go down.
            Audit.Require(e.Quantity < 0 || !enforced, $"Event {e.Version} uses {e.Feature}, which {e.Plan} does not include.");
            Same(e, e.Quantity < 0 ? new Parts(e.Quantity, 0, 0) : new Parts(0, 0, e.Quantity), [], overLimit: e.Quantity > 0);
            return;
        }
        // What goes past the limit now, and not what stood past it before.
        var over = e.Quantity > 0 && given.Allowance is { } most ? Math.Clamp(before + e.Quantity - most, 0, e.Quantity) : 0;
        Audit.Require(over == 0 || Allows(given) || !enforced, $"Event {e.Version} moves {e.Feature} to {e.Gauge}, past {given.Allowance}.");
        Same(e, new Parts(e.Quantity - over, 0, over), [], overLimit: over > 0 && !Allows(given));
        var isBilled = IsPriced(given) && e.Gauge > given.Allowance;
        Audit.Require((e.BilledAt is not null) == isBilled, $"Event {e.Version} says that the gauge is billed at {e.BilledAt}; it stands at {e.Gauge} of {given.Allowance}.");
        if (over > 0 && IsPriced(given) && enforced) RequireWithinCaps(e, e.Feature, e.Quantity, catalogs);
    }

    /// <summary>It counts in every window that any plan limits it by, once in each.</summary>
    private void RequireWindows(UsageRecorded e, Catalogs catalogs, PlanFeature? given)
    {
        var home = catalogs.All.Last(c => c.Features.Any(f => f.Id == e.Feature));
        var kinds = Kinds(home, e.Feature);
        var (plan, version) = plans.InForce(catalogs, e.RecordedAt);
        if (plan?.Features.ContainsKey(e.Feature) == true) kinds.UnionWith(Kinds(catalogs.All[version - 1], e.Feature));
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

    // ---- what covers it

    private Parts Cover(LedgerEvent e, PlanFeature given, IReadOnlyList<HoldPlaced> open, long units, Instant at, Catalogs catalogs, bool enforced, IReadOnlyList<GrantUse>? besides = null)
    {
        var (feature, now) = (given.Feature.Id, e.RecordedAt);
        var taken = usage.Used(feature, given.Window, now) + open.Sum(h => h.Allowance);
        var limit = plans.Limit(given, now);
        var allowance = limit is { } most ? Math.Min(units, Math.Max(0, most - taken)) : units;
        var burns = given.Mode is LimitMode.Tokens or LimitMode.TokensThenOverage;
        var balance = burns ? tokens.Balance(now, besides) : 0;
        var byTokens = burns ? Math.Min(units - allowance, Affords(balance, given.Feature)) : 0;
        var overage = units - allowance - byTokens;
        Audit.Require(overage == 0 || Allows(given) || !enforced, $"Event {e.Version} takes {overage} more of {feature} than there is: of {limit} {taken} are taken.");
        if (!enforced) return new Parts(allowance, byTokens, overage);

        foreach (var rate in given.RateLimits)
        {
            var used = usage.Used(feature, rate.Window, now) + open.Sum(h => h.Quantity);
            var counts = at >= (usage.Open(feature, rate.Window, now)?.Start ?? plans.Window(rate.Window, now).Start);
            Audit.Require(!counts || used + units <= rate.Limit, $"Event {e.Version} takes {units} of {feature} where {used} of {rate.Limit} in one {rate.Window} are taken.");
        }
        if (overage > 0 && IsPriced(given)) RequireWithinCaps(e, feature, overage, catalogs, open);
        return new Parts(allowance, byTokens, overage);
    }

    /// <summary>What is charged for overage, with all that is held and this, stays within what the customer allowed, unless it costs nothing more.</summary>
    private void RequireWithinCaps(LedgerEvent e, string feature, long units, Catalogs catalogs, IReadOnlyList<HoldPlaced>? open = null)
    {
        if (billing.Cap is null && billing.FeatureCaps.Count == 0) return;
        var (before, after) = (Charge(feature, 0, open), Charge(feature, units, open));
        if (after <= before) return;
        if (billing.FeatureCaps.TryGetValue(feature, out var own)) Audit.Require(Rounded(after) <= own, $"Event {e.Version} takes the charge for {feature} to {after}; its cap is {own}.");
        if (billing.Cap is not { } cap) return;
        var others = catalogs.All.SelectMany(c => c.Features).Where(f => f.Meter is not null).Select(f => f.Id).Distinct().Where(f => f != feature).Sum(f => Rounded(Charge(f, 0, null)));
        Audit.Require(others + Rounded(after) <= cap, $"Event {e.Version} takes the charge for overage to {others} + {after}; the cap is {cap}.");

        decimal Charge(string id, long more, IReadOnlyList<HoldPlaced>? held)
        {
            var known = Known(catalogs, id);
            var given = plans.Given(plans.InForce(catalogs, e.RecordedAt).Plan, known, e.RecordedAt);
            var perUnit = MinorUnits(catalogs.All[^1].Currency) / (decimal)Scale(known);
            if (known.Meter!.Aggregation == Aggregation.Gauge)
            {
                if (given is not { Mode: LimitMode.Overage, Allowance: { } most, UnitPrice: { } price }) return 0;
                return Math.Max(0, Math.Max(usage.Peak(id, e.RecordedAt), usage.Gauge(id) + more) - most) * price * perUnit;
            }
            var charged = usage.Priced(id, e.RecordedAt).Sum(p => p.Units * p.UnitPrice) * perUnit;
            more += (held ?? holds.Of(id)).Sum(h => h.Overage);
            if (given is null || !IsPriced(given)) return charged;
            return charged + Prices(given, more, usage.Overage(id, e.RecordedAt)).Sum(p => p.Units * p.UnitPrice) * perUnit;
        }
    }

    /// <summary>What so many units of overage cost, behind so many in the same billing period: at one price, or up the steps of the tiers.</summary>
    internal static List<PricedUse> Prices(PlanFeature given, long overage, long before)
    {
        var prices = new List<PricedUse>();
        if (overage == 0 || !IsPriced(given)) return prices;
        if (given.Tiers.IsEmpty) return [new PricedUse(given.UnitPrice!.Value, overage)];
        var from = 0L;
        foreach (var tier in given.Tiers)
        {
            // The units that lie in this tier, of those from `before` to `before + overage`.
            var to = tier.UpTo ?? long.MaxValue;
            var within = Math.Min(to, before + overage) - Math.Max(from, before);
            if (within > 0 && prices is [.., { } last] && last.UnitPrice == tier.UnitPrice) prices[^1] = last with { Units = last.Units + within };
            else if (within > 0) prices.Add(new PricedUse(tier.UnitPrice, within));
            from = to;
        }
        return prices;
    }

    // ---- saying what is wrong

    private static void Same(UsageRecorded e, Parts parts, List<PricedUse> prices, bool overLimit)
    {
        Audit.Require(e.Allowance == parts.Allowance && e.ByTokens == parts.ByTokens && e.Overage == parts.Overage && e.OverLimit == overLimit,
            $"Event {e.Version} is covered by {e.Allowance} + {e.ByTokens} + {e.Overage} (over the limit: {e.OverLimit}); by the books {parts} ({overLimit}).");
        var isPriced = prices.Count > 0;
        PricedUse[] stated = e.Tiers ?? (e.UnitPrice is { } price && e.Overage > 0 ? [new PricedUse(price, e.Overage)] : []);
        Audit.Require(stated.SequenceEqual(prices), $"Event {e.Version} costs {string.Join(" + ", stated.AsEnumerable())}; by the catalog {string.Join(" + ", prices)}.");
        Audit.Require(e.Gauge is not null || (e.BilledAt is not null) == isPriced, $"Event {e.Version} is billed at {e.BilledAt}, with {prices.Count} prices.");
    }

    private static void Same(LedgerEvent e, GrantUse[]? taken, List<GrantUse> due) =>
        Audit.Require((taken ?? []).SequenceEqual(due), $"Event {e.Version} takes tokens from {string.Join(", ", (taken ?? []).AsEnumerable())}; due are {string.Join(", ", due)}.");

    // ---- facts

    private static bool IsPriced(PlanFeature given) => given.Mode is LimitMode.Overage or LimitMode.TokensThenOverage;

    private static bool Allows(PlanFeature given) => given.Mode is LimitMode.Overage or LimitMode.TokensThenOverage or LimitMode.Soft || given.Allowance is null;

    /// <summary>The feature as it is now, or as it last was.</summary>
    private static Feature Known(Catalogs catalogs, string id) => catalogs.All.Last(c => c.Features.Any(f => f.Id == id)).Features.First(f => f.Id == id);

    /// <summary>Whole tokens for so many smallest units, rounded up.</summary>
    private static long Cost(long units, Feature feature) => (long)Math.Ceiling((decimal)units * feature.TokenCost / Scale(feature));

    /// <summary>Smallest units for so many tokens, rounded down.</summary>
    private static long Affords(long balance, Feature feature) => (long)Math.Floor((decimal)balance * Scale(feature) / feature.TokenCost);

    internal static long Scale(Feature feature) => (long)Math.Pow(10, feature.Meter!.Decimals);

    internal static int MinorUnits(string currency) => currency == "jpy" ? 1 : 100;

    internal static long Rounded(decimal minor) => minor < 0 ? -Rounded(-minor) : (long)Math.Floor(minor + 0.5m);
}
