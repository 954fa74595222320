using System.Collections.Immutable;
using NodaTime;

namespace Billing.Ledger;

/// <summary>What a denial was about: enough to give the same answer again, from the fold.</summary>
/// <param name="Version">Of the state that was asked.</param>
/// <param name="Requested">In whole units.</param>
/// <param name="CatalogVersion">The catalog's then.</param>
/// <param name="UsedAt">When the use happened; null is <paramref name="At"/>.</param>
/// <param name="Behind">See <see cref="Denial.Behind"/>.</param>
public sealed record DenialQuestion(
    long Version, Instant At, string Feature, decimal Requested, int CatalogVersion, Instant? UsedAt, ImmutableArray<RecordUsage> Behind);

/// <summary>Why it was decided so: decisions made again on the state of then, with their steps.</summary>
public static class Explanations
{
    /// <summary>The answer that a denial was.</summary>
    /// <param name="state">Folded up to the question's version and time.</param>
    /// <param name="catalogs">As they are now.</param>
    /// <returns>Null when the feature is in no catalog, or when there is more behind the question than was recorded.</returns>
    public static Entitlement? OfDenial(State state, Catalogs catalogs, DenialQuestion question, Explanation why)
    {
        catalogs = catalogs.UpTo(question.CatalogVersion);
        if (catalogs.Feature(question.Feature) is not { } feature) return null;
        // A refused command writes nothing, what was due before it included: it was decided on that all the same.
        if (state.Version < question.Version)
            state = state.Evolve(Decider.Due(state, catalogs, question.At).Take((int)Math.Min(int.MaxValue, question.Version - state.Version)));
        if (state.Version != question.Version) return null;
        foreach (var command in question.Behind)
        {
            var decision = Decider.Decide(state, catalogs, command with { At = question.At - state.Account.Ahead }, null);
            if (decision.Rejection is not null) return null;
            state = state.Evolve(decision.Events);
        }
        if (Quantity.TryUnits(question.Requested, feature.Meter?.Decimals ?? 0, "", out var units) is not null) return null;
        return Usage.Evaluate(state, catalogs, feature, units, question.At, question.UsedAt ?? question.At, enforce: true, why);
    }

    /// <summary>How a record came to be covered as it is, and what it changed.</summary>
    /// <param name="before">Folded up to the event before it.</param>
    /// <param name="catalogs">As they were then.</param>
    public static void OfUsage(State before, Catalogs catalogs, UsageRecorded record, Explanation why)
    {
        var feature = catalogs.Feature(record.Feature);
        if (record.Hold is { } hold) why.Add("hold", "settled", [Ids.Version(hold, "ho_") ?? 0], ("hold", hold));
        else if (record.Corrects is { } corrected) why.Add("correction", "in_its_place", [Ids.Version(corrected, "ur_") ?? 0], ("corrects", corrected));
        else if (feature?.Meter is not null) Decided(before, catalogs, feature, record, why);

        why.Add("recorded", record.OverLimit ? "past_the_limit" : "covered", [record.Version],
            ("quantity", record.Quantity), ("allowance", record.Allowance), ("by_tokens", record.ByTokens), ("overage", record.Overage), ("unit_price", record.UnitPrice),
            ("tiers", record.Tiers is { } tiers ? string.Join(" + ", tiers.Select(t => FormattableString.Invariant($"{t.Units} × {t.UnitPrice}"))) : null),
            ("plan", record.Plan), ("catalog_version", record.CatalogVersion), ("happened_at", record.EffectiveAt), ("recorded_at", record.RecordedAt));
        foreach (var part in record.Grants ?? [])
            if (before.Grants.FirstOrDefault(g => g.Id == part.Grant) is { } grant)
                why.Add("grant", "burned", [Tokens.VersionOf(grant)], ("grant", grant.Id), ("burned", part.Tokens), ("before", grant.Remaining), ("after", grant.Remaining - part.Tokens));
        var (was, now) = (before.Use(record.Feature), before.Evolve(record).Use(record.Feature));
        if (record.Gauge is { } value)
            why.Add("gauge", "moved", Versions(was?.Gauge?.LastVersion, record.Version), ("before", was?.Gauge?.Value ?? 0), ("after", value), ("peak", now?.Gauge?.Peak));
        else
            foreach (var window in record.Windows ?? []) Counted(window, was, now, record, why);
    }

    /// <summary>The check that it passed, made again. What had happened already passed it only because it had.</summary>
    private static void Decided(State before, Catalogs catalogs, Feature feature, UsageRecorded record, Explanation why)
    {
        var at = Instant.Min(record.EffectiveAt, record.RecordedAt);
        var enforced = !record.OverLimit && Usage.Evaluate(before, catalogs, feature, record.Quantity, record.RecordedAt, at, enforce: true).HasAccess;
        if (!enforced) why.Add("enforce", "off");
        Usage.Evaluate(before, catalogs, feature, record.Quantity, record.RecordedAt, at, enforced, why);
    }

    private static void Counted(CountedWindow window, FeatureUse? was, FeatureUse? now, UsageRecorded record, Explanation why)
    {
        var isClosed = window.End <= record.RecordedAt;
        var (before, after) = isClosed
            ? (PastWindows.Find(was, window)?.Used, PastWindows.Find(now, window)?.Used)
            : (Counter(was)?.Used, Counter(now)?.Used);
        why.Add("window", isClosed ? "closed" : "running", Versions(isClosed ? null : Counter(was)?.FirstVersion, record.Version),
            ("window", Spelling.Of(window.Window)), ("from", window.Start), ("to", window.End), ("before", before ?? 0), ("after", after));

        Counter? Counter(FeatureUse? use) => use?.Counters.FirstOrDefault(c => c.Window == window.Window && c.Start == window.Start);
    }

    private static ImmutableArray<long> Versions(long? first, long last) => first is { } from && from != last ? [from, last] : [last];
}
