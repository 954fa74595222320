using NodaTime;

namespace Billing.Ledger;

/// <summary>A cap that a use would go past.</summary>
/// <param name="Feature">Null is the organization's, over all features.</param>
/// <param name="Charged">What is charged so far, and reserved by holds.</param>
internal sealed record ReachedCap(string? Feature, Money Cap, Money Charged, Instant Until);

/// <summary>
/// The most that customers let themselves be charged for overage in a billing period: per feature, and over all of them.
/// What is charged is counted as an invoice would: each feature rounded once. Use that has already happened is recorded
/// past any cap.
/// </summary>
public static class SpendCaps
{
    /// <summary>The most that a cap may be, in minor units.</summary>
    public const long MaxAmount = 1_000_000_000_000;

    // ---- reading

    /// <summary>What overage of this feature comes to in the running billing period, in minor units.</summary>
    public static long Charged(State state, Catalogs catalogs, Feature feature, Instant now) => Pricing.Round(Exact(state, catalogs, feature, now, 0, withHolds: false));

    /// <summary>Over all features.</summary>
    public static long Charged(State state, Catalogs catalogs, Instant now)
    {
        var sum = 0L;
        foreach (var use in state.Usage)
            if (catalogs.Feature(use.Feature) is { } feature) sum += Charged(state, catalogs, feature, now);
        return sum;
    }

    /// <summary>The cap that so much more overage would go past, the feature's own first; null when none is.</summary>
    /// <param name="units">Gauges: the increase.</param>
    internal static ReachedCap? Reached(Ask ask, PlanFeature given, long units)
    {
        var (state, billing) = (ask.State, ask.State.Billing);
        if (billing.Cap is null && billing.FeatureCaps.IsEmpty) return null;

        var before = Exact(state, ask.Catalogs, ask.Feature, ask.Now, 0, withHolds: true);
        var after = Exact(state, ask.Catalogs, ask.Feature, ask.Now, units, withHolds: true);
        // What costs nothing more goes past nothing: a gauge below its peak.
        if (after <= before) return null;
        if (billing.FeatureCaps.FirstOrDefault(c => c.Feature == given.Feature.Id) is { } own)
        {
            Explain(ask, given.Feature.Id, own.Amount, Pricing.Round(before), Pricing.Round(after));
            if (Pricing.Round(after) > own.Amount) return Cap(ask, given.Feature.Id, own.Amount, Pricing.Round(before));
        }
        if (billing.Cap is not { } cap) return null;
        var others = Features(state).Where(id => id != given.Feature.Id).Select(ask.Catalogs.Feature).OfType<Feature>()
            .Sum(f => Pricing.Round(Exact(state, ask.Catalogs, f, ask.Now, 0, withHolds: true)));
        Explain(ask, null, cap, others + Pricing.Round(before), others + Pricing.Round(after));
        return others + Pricing.Round(after) > cap ? Cap(ask, null, cap, others + Pricing.Round(before)) : null;
    }

    private static ReachedCap Cap(Ask ask, string? feature, long cap, long charged)
    {
        var currency = ask.Catalogs.Current.Currency;
        return new ReachedCap(feature, new Money(cap, currency), new Money(charged, currency), ask.Bounds(Window.Period).End);
    }

    private static void Explain(Ask ask, string? feature, long cap, long before, long after) => ask.Why?.Add("spend_cap", after > cap ? "reached" : "free",
        ("feature", feature), ("cap", cap), ("charged", before), ("with_this", after), ("until", ask.Bounds(Window.Period).End));

    private static IEnumerable<string> Features(State state) => state.Usage.Select(u => u.Feature).Union(state.Holds.Select(h => h.Feature));

    /// <summary>What overage comes to, not rounded yet: recorded so far, held, and so much more.</summary>
    private static decimal Exact(State state, Catalogs catalogs, Feature feature, Instant now, long more, bool withHolds)
    {
        if (feature.Meter is not { } meter) return 0;
        var currency = catalogs.Current.Currency;
        var use = state.Use(feature.Id);
        var given = Overrides.Given(state, Subscriptions.InForce(state, catalogs, now).Plan, feature, now);
        if (meter.Aggregation == Aggregation.Gauge)
        {
            if (given is not { PricesOverage: true, Allowance: { } allowance, UnitPrice: { } price }) return 0;
            return Pricing.Exact(Math.Max(0, Math.Max(use?.Gauge?.PeakAt(now) ?? 0, (use?.Gauge?.Value ?? 0) + more) - allowance), meter.Decimals, price, currency);
        }
        var counter = use?.Running(Window.Period, now);
        var charged = counter is null ? 0 : Pricing.Exact(counter.Priced, meter.Decimals, currency);
        if (withHolds && !state.Holds.IsEmpty) more += Holds.Of(state, feature.Id).Overage;
        if (more == 0 || given is null) return charged;
        var next = Pricing.Of(given, counter?.Overage ?? 0, more);
        return charged + (next.UnitPrice is { } each ? Pricing.Exact(more, meter.Decimals, each, currency) : Pricing.Exact(next.Tiers ?? [], meter.Decimals, currency));
    }

    // ---- deciding

    public static Decision Decide(State state, Catalogs catalogs, SetSpendCaps c, Instant now)
    {
        FeatureCap[] caps = [.. (c.Features ?? new Dictionary<string, long>()).Select(f => new FeatureCap(f.Key, f.Value)).OrderBy(f => f.Feature, StringComparer.Ordinal)];
        foreach (var cap in caps)
            if (catalogs.Feature(cap.Feature) is null) return Rejections.FeatureUnknown(cap.Feature) with { Field = $"features.{cap.Feature}" };
        foreach (var cap in caps)
            if (catalogs.Feature(cap.Feature)!.Meter is null) return Rejections.FeatureNotMetered(cap.Feature) with { Field = $"features.{cap.Feature}" };
        if (c.Organization == state.Billing.Cap && caps.SequenceEqual(state.Billing.FeatureCaps)) return Decision.AlreadyDone;
        return new SpendCapsSet(c.Organization, caps.Length == 0 ? null : caps, c.By) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };
    }

    // ---- evolving

    public static State Evolve(State state, SpendCapsSet e) =>
        state with { Billing = state.Billing with { Cap = e.Organization, FeatureCaps = [.. e.Features ?? []] } };
}
