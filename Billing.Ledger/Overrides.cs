using NodaTime;

namespace Billing.Ledger;

/// <summary>What one organization gets of a feature instead of what its plan says, for a time or until it is removed.</summary>
public static class Overrides
{
    // ---- reading

    /// <summary>
    /// What the organization gets of a feature: what this plan gives, with a live override in place of its limit. An
    /// override goes beside a plan, not in place of one: without a plan in force it gives nothing.
    /// </summary>
    /// <returns>Null when the organization does not get the feature.</returns>
    public static PlanFeature? Given(State state, Plan? plan, Feature feature, Instant now)
    {
        var given = plan?.Features.GetValueOrDefault(feature.Id);
        if (state.Overrides.IsEmpty || plan is null || Live(state, feature.Id, now) is not { } live || feature.Type == FeatureType.Static) return given;
        if (feature.Meter is not { } meter) return new PlanFeature(feature, true, null, null, Window.Lifetime, LimitMode.Block, null, 403, [], []);
        return given is null
            ? Beside(feature, meter, live.Allowance)
            : given with { Allowance = live.Allowance };
    }

    /// <summary>A metered feature that the plan lacks.</summary>
    internal static PlanFeature Beside(Feature feature, Meter meter, long? allowance) => new(feature, true, null, allowance, meter.Window, LimitMode.Block, null, 402, [], []);

    internal static LimitOverride? Live(State state, string feature, Instant now)
    {
        foreach (var given in state.Overrides)
            if (given.Feature == feature) return given.IsLive(now) ? given : null;
        return null;
    }

    internal static void Explain(State state, Feature feature, Instant now, Explanation why)
    {
        if (Live(state, feature.Id, now) is { } live)
            why.Add("override", "in_place_of_the_plans", [live.Version], ("limit", live.Allowance), ("until", live.Until), ("reason", live.Reason));
    }

    // ---- deciding

    public static Decision Decide(State state, Catalogs catalogs, SetOverride c, Instant now)
    {
        if (catalogs.Feature(c.Feature) is not { } feature) return Rejections.FeatureUnknown(c.Feature);
        var known = Live(state, feature.Id, now);
        if (c.Remove) return known is null ? Decision.AlreadyDone : Event(state, catalogs, feature, known.Allowance, known.Until, true, c.Reason, c.By, now, now);

        if (feature.Type == FeatureType.Static || (feature.Meter is null && (c.Allowance is not null || c.Unlimited))) return Rejections.OverrideNotMetered(feature);
        long? allowance = null;
        if (feature.Meter is { } meter && !c.Unlimited)
        {
            if (c.Allowance is not >= 0) return Rejections.OverrideWithoutAllowance(feature.Id);
            if (Quantity.TryUnits(c.Allowance.Value, meter.Decimals, meter.Unit, out var units) is { } wrong) return wrong with { Field = "allowance" };
            allowance = units;
        }
        if (c.Until <= now) return Rejections.OverrideInPast();
        if (known is not null && known.Allowance == allowance && known.Until == c.Until && known.Reason == c.Reason) return Decision.AlreadyDone;
        return Event(state, catalogs, feature, allowance, c.Until, false, c.Reason, c.By, now, now);
    }

    /// <summary>The overrides that end at this instant.</summary>
    internal static IReadOnlyList<LedgerEvent> EndAt(State state, Catalogs catalogs, Instant at, Instant now)
    {
        List<LedgerEvent>? events = null;
        foreach (var over in state.Overrides)
        {
            if (over.Until != at) continue;
            // A feature that no catalog knows is none that could be billed.
            var e = catalogs.Feature(over.Feature) is { } feature
                ? Event(state, catalogs, feature, over.Allowance, over.Until, true, over.Reason, "clock", at, now)
                : new OverrideSet(over.Feature, over.Allowance, over.Until, true, over.Reason, "clock") { Version = state.Version + 1, EffectiveAt = at, RecordedAt = now };
            state = state.Evolve(e);
            (events ??= []).Add(e);
        }
        return events ?? (IReadOnlyList<LedgerEvent>)[];
    }

    private static OverrideSet Event(
        State state, Catalogs catalogs, Feature feature, long? allowance, Instant? until, bool removed, string? reason, string? by, Instant at, Instant now)
    {
        var e = new OverrideSet(feature.Id, allowance, until, removed, reason, by) { Version = state.Version + 1, EffectiveAt = at, RecordedAt = now };
        if (state.Use(feature.Id)?.Gauge is not { } gauge) return e;
        return Usage.IsBilled(state.Evolve(e), catalogs, feature, gauge.Value, at) ? e with { BilledAt = Usage.BilledAt(state, at) } : e;
    }

    // ---- evolving

    public static State Evolve(State state, OverrideSet e)
    {
        var others = state.Overrides.Where(o => o.Feature != e.Feature);
        if (!e.Removed) others = others.Append(new LimitOverride(e.Feature, e.Allowance, e.Until, e.Reason, e.Version)).OrderBy(o => o.Feature, StringComparer.Ordinal);
        state = state with { Overrides = [.. others] };
        // What a gauge stood at under another limit is not billed under this one.
        if (state.Use(e.Feature) is { Gauge: { } gauge } use)
        {
            var after = gauge with { Peak = gauge.Value, PeakUntil = e.BilledAt ?? gauge.PeakUntil, Billed = e.BilledAt is not null };
            state = Invoices.Due(state with { Usage = state.Usage.Replace(use, use with { Gauge = after }) }, e.EffectiveAt);
        }
        return state with { DueAt = Decider.NextDue(state) };
    }
}
