using System.Collections.Immutable;
using NodaTime;

namespace Billing.Ledger;

/// <summary>Closed windows: which are kept, and what use counts against that is heard of late.</summary>
public static class PastWindows
{
    /// <summary>How late use may be heard of.</summary>
    public const int MaxLateDays = 35;

    /// <summary>The most closed windows of one kind that a feature keeps; and how long before the newest one they may have ended.</summary>
    public const int MaxKept = 64;
    public const int MaxKeptDays = 62;

    // ---- reading

    /// <summary>What use at one time counts against, when its window is closed: the terms, and what was used there.</summary>
    /// <param name="Given">What the plan gave that was in force as the window ended; of the plan now when no such window is kept.</param>
    /// <param name="Limit">Null is unlimited.</param>
    internal readonly record struct Terms(PlanFeature? Given, string? Plan, int CatalogVersion, CountedWindow Window, long? Limit, long Used, PastWindow? Past);

    internal static Terms TermsAt(State state, Catalogs catalogs, Feature feature, Instant now, Instant at)
    {
        var use = state.Use(feature.Id);
        PastWindow? covering = null;
        PlanFeature? given = null;
        foreach (var past in use?.Past ?? [])
        {
            if (past.Carried || !past.Bounds.Contains(at)) continue;
            var terms = GivenIn(past, catalogs, feature);
            // Of several, the one that ended first: the plan was changed after it.
            if ((terms?.Window ?? feature.Meter!.Window) == past.Window && (covering is null || past.End < covering.End)) (covering, given) = (past, terms);
        }
        if (covering is not null) return Of(covering, given);

        var force = Subscriptions.InForce(state, catalogs, now);
        given = Overrides.Given(state, force.Plan, feature, now);
        var window = CountedAt(state, use, given?.Window ?? feature.Meter!.Window, now, at);
        // What was used before the anchor moved counts in the window that began then, on the terms with which that one ended.
        if (Find(use, window) is { } followed && GivenIn(followed, catalogs, feature) is var ended && (ended?.Window ?? feature.Meter!.Window) == followed.Window) return Of(followed, ended);
        var running = use?.Running(window.Window, now) is { } counter && counter.Start == window.Start ? counter : null;
        var limit = window.End > now && given is not null ? Entitlements.Limit(state, given, now) : given?.Allowance;
        var used = running?.Used ?? Find(use, window)?.Used ?? 0;
        if (window.End > now && !state.Holds.IsEmpty) used += Holds.Of(Holds.AsOf(state, now), feature.Id).Allowance;
        return new Terms(given, force.Plan?.Id, force.CatalogVersion, window, limit, used, null);

        static Terms Of(PastWindow past, PlanFeature? given) => new(given, past.Plan, past.CatalogVersion, past.Counted, LimitOf(past, given), past.Used, past);
    }

    /// <summary>The window of this kind in which use at this time counts: the running one, a kept one, or one in which nothing was used yet.</summary>
    internal static CountedWindow CountedAt(State state, FeatureUse? use, Window kind, Instant now, Instant at)
    {
        var running = use?.Running(kind, now) is { } counter ? new CountedWindow(kind, counter.Start, counter.End) : Computed(state, kind, now);
        if (at >= running.Start) return running;
        var (after, before) = (Instant.MinValue, running.Start);
        foreach (var past in use?.Past ?? [])
        {
            if (past.Window != kind) continue;
            if (past.Bounds.Contains(at)) return past.Carried ? Followed(use!, past, running) : past.Counted;
            if (past.End <= at && past.End > after) after = past.End;
            if (past.Start > at && past.Start < before) before = past.Start;
        }
        // What lies between two windows that are known is no longer than that, wherever the anchor was then.
        var bounds = Computed(state, kind, at);
        return new CountedWindow(kind, Instant.Max(bounds.Start, after), Instant.Min(bounds.End, before));
    }

    /// <summary>Use from before this instant is no longer taken.</summary>
    internal static Instant Horizon(State state, FeatureUse? use, Instant now)
    {
        var horizon = Instant.Max(now - Duration.FromDays(MaxLateDays), state.Account.OpenedAt ?? now);
        for (var kind = Window.Hour; kind <= Window.Period; kind++)
        {
            // Where older windows were dropped, nobody knows what was used in them.
            var kept = use?.Past.Where(p => p.Window == kind).ToList();
            if (kept?.Count >= MaxKept) horizon = Instant.Max(horizon, kept[0].Start);
        }
        return horizon;
    }

    internal static PastWindow? Find(FeatureUse? use, CountedWindow window)
    {
        foreach (var past in use?.Past ?? [])
            if (past.Window == window.Window && past.Start == window.Start && !past.Carried) return past;
        return null;
    }

    /// <summary>Null is unlimited.</summary>
    internal static long? LimitOf(PastWindow past, PlanFeature? given) => past.Limit switch
    {
        null => given?.Allowance,
        WindowReset.Unlimited => null,
        { } limit => limit,
    };

    /// <summary>What the plan gave that was in force as the window ended. An override gave what the plan did not.</summary>
    internal static PlanFeature? GivenIn(PastWindow past, Catalogs catalogs, Feature feature)
    {
        var given = past.Plan is { } plan ? catalogs.Plan(plan, past.CatalogVersion)?.Features.GetValueOrDefault(feature.Id) : null;
        return given is null && past.Limit is not null ? Overrides.Beside(feature, feature.Meter!, LimitOf(past, null)) : given;
    }

    private static CountedWindow Computed(State state, Window kind, Instant at)
    {
        var bounds = state.WindowAt(kind, at);
        return new CountedWindow(kind, bounds.Start, bounds.End);
    }

    /// <summary>What was used before the anchor moved counts in the window that began then.</summary>
    private static CountedWindow Followed(FeatureUse use, PastWindow carried, CountedWindow running)
    {
        for (var i = 0; i < use.Past.Length; i++)
        {
            var start = carried.End;
            if (running.Start == start) return running;
            if (use.Past.FirstOrDefault(p => p.Window == carried.Window && p.Start == start) is not { } next) break;
            if (!next.Carried) return next.Counted;
            carried = next;
        }
        return running;
    }

    // ---- deciding

    /// <summary>Late use is covered by what was left of the allowance in its own window, then by tokens and overage as that window's plan allowed. Rates do not apply.</summary>
    internal static Entitlement Evaluate(
        State state, Catalogs catalogs, Feature feature, long units, Instant now, Instant at, bool enforce, Explanation? why = null)
    {
        var terms = TermsAt(state, catalogs, feature, now, at);
        var ask = new Ask(state, catalogs, feature, units, now, at, enforce, why);
        var entitlement = new Entitlement { Feature = feature, Plan = terms.Plan, CatalogVersion = terms.CatalogVersion, Window = terms.Window.Window };
        why?.Add("late", "own_window", ("happened_at", at), ("plan", terms.Plan), ("catalog_version", terms.CatalogVersion),
            ("window", Spelling.Of(terms.Window.Window)), ("from", terms.Window.Start), ("to", terms.Window.End));
        if (terms.Given is not { On: true } given)
        {
            if (!enforce) return entitlement with { Covered = new Coverage(0, 0, 0, units, default, true) };
            return entitlement with { Denial = Denials.NotInPlan(ask) };
        }

        var tokens = given.BurnsTokens ? Tokens.Balance(state, now) : 0;
        var covered = Entitlements.Cover(ask, given, terms.Limit, terms.Used, tokens);
        // Graduated tiers go by the overage of the billing period that it lies in.
        var period = CountedAt(state, state.Use(feature.Id), Window.Period, now, at);
        var isClosed = period.End <= now;
        if (isClosed) covered = covered with { Price = Pricing.Of(given, Find(state.Use(feature.Id), period)?.Overage ?? 0, covered.Overage) };
        why?.Add("allowance", covered.Allowance == units ? "covers_all" : covered.Allowance > 0 ? "covers_part" : "covers_nothing",
            terms.Past is { FirstVersion: > 0 } past ? [past.FirstVersion, past.LastVersion] : [],
            ("limit", terms.Limit), ("used", terms.Used), ("window", Spelling.Of(terms.Window.Window)), ("from", terms.Window.Start), ("to", terms.Window.End),
            ("requested", units), ("covered", covered.Allowance));
        if (given.BurnsTokens) Entitlements.ExplainTokens(ask, covered, tokens);
        Entitlements.ExplainOverage(ask, covered);
        entitlement = entitlement with
        {
            Limit = terms.Limit, Used = terms.Used, Remaining = terms.Limit is { } most ? Math.Max(0, most - terms.Used) : null, Tokens = tokens, Covered = covered,
        };
        if (covered.Allowance + covered.ByTokens + covered.Overage < units)
            return entitlement with { Covered = default, Denial = Denials.LateQuotaExceeded(ask, given, entitlement, terms.Window.Bounds) };
        // A cap is for the running billing period.
        if (!isClosed && covered.Price.IsPriced && enforce && SpendCaps.Reached(ask, given, covered.Overage) is { } cap)
            return entitlement with { Covered = default, Denial = Denials.SpendCapReached(ask, given, entitlement, cap) };
        why?.Add("decision", "allowed");
        return entitlement;
    }

    /// <summary>Every window in which late use counts: the running ones that it lies in, and the closed ones that are kept.</summary>
    internal static CountedWindow[] Windows(State state, Catalogs catalogs, Feature feature, Instant now, Instant at)
    {
        var use = state.Use(feature.Id);
        var terms = TermsAt(state, catalogs, feature, now, at);
        var windows = new List<CountedWindow>();
        for (var kind = Window.Hour; kind <= Window.Lifetime; kind++)
        {
            var counts = kind == Window.Period || kind == terms.Window.Window
                || (kind != Window.Lifetime && (feature.CountedWindows.Contains(kind) || terms.Given?.Feature.CountedWindows.Contains(kind) == true));
            if (!counts) continue;
            var window = kind == terms.Window.Window ? terms.Window : CountedAt(state, use, kind, now, at);
            // Closed windows of other kinds are not kept, except where a plan of the time counted by them.
            if (window.End > now || kind == Window.Period || kind == terms.Window.Window || Find(use, window) is not null) windows.Add(window);
        }
        return [.. windows];
    }

    /// <summary>Whether one of these windows is closed and could not count so much more.</summary>
    internal static bool IsFull(State state, string feature, CountedWindow[] windows, long units)
    {
        var use = state.Use(feature);
        return Array.Exists(windows, w => Find(use, w)?.Used + units > Quantity.MaxCounted);
    }

    // ---- evolving

    /// <summary>Late use in the closed ones of its windows.</summary>
    internal static ImmutableArray<PastWindow> Count(ImmutableArray<PastWindow> kept, UsageRecorded e)
    {
        foreach (var window in e.Windows ?? [])
        {
            if (window.End > e.RecordedAt) continue;
            var i = IndexOf(kept, window);
            var past = i < 0 ? new PastWindow(window.Window, window.Start, window.End, 0, 0, 0, 0, e.Plan, e.CatalogVersion) : kept[i];
            past = past with
            {
                Used = past.Used + e.Quantity,
                Allowance = past.Allowance + e.Allowance,
                ByTokens = past.ByTokens + e.ByTokens,
                Overage = past.Overage + e.Overage,
                Priced = window.Window == Window.Period ? Usage.AddPriced(past.Priced, e) : past.Priced,
            };
            kept = i < 0 ? Keep(kept, [past]) : kept.SetItem(i, past);
        }
        return kept;
    }

    /// <summary>The counters that a reset closes, as far as late use and corrections may still fall into them.</summary>
    internal static ImmutableArray<PastWindow> Close(FeatureUse use, QuotaReset e)
    {
        var closed = new List<PastWindow>();
        foreach (var reset in e.Resets)
        {
            if (!reset.Covers || reset.Feature != use.Feature) continue;
            var counter = use.Counters.FirstOrDefault(c => c.Window == reset.Window && c.Start == reset.Start);
            closed.Add(new PastWindow(reset.Window, reset.Start, e.EffectiveAt, reset.Used, reset.Allowance, reset.ByTokens, reset.Overage, e.Plan, e.CatalogVersion)
            {
                Limit = reset.Limit,
                Priced = counter?.Priced ?? [],
                FirstVersion = counter?.FirstVersion ?? 0,
                LastVersion = counter?.LastVersion ?? 0,
            });
        }
        return closed.Count == 0 ? use.Past : Keep(use.Past, closed);
    }

    /// <summary>The anchor moved: running windows have other bounds, and what was used before the new start is carried over.</summary>
    internal static ImmutableArray<FeatureUse> Carry(ImmutableArray<FeatureUse> usage, CountedWindow[] moved) => [.. usage.Select(use =>
    {
        var carried = new List<PastWindow>();
        var counters = use.Counters.Select(c =>
        {
            if (Array.Find(moved, m => m.Window == c.Window) is not { } to) return c;
            if (to.Start > c.Start) carried.Add(new PastWindow(c.Window, c.Start, to.Start, 0, 0, 0, 0, null, 0) { Carried = true });
            return c with { Counted = to };
        }).ToImmutableArray();
        return use with { Counters = counters, Past = carried.Count == 0 ? use.Past : Keep(use.Past, carried) };
    })];

    private static ImmutableArray<PastWindow> Keep(ImmutableArray<PastWindow> kept, IReadOnlyCollection<PastWindow> more)
    {
        var all = kept.Concat(more).OrderBy(p => p.End).ThenBy(p => p.Window).ToList();
        var oldest = all[^1].End - Duration.FromDays(MaxKeptDays);
        all.RemoveAll(p => p.End < oldest);
        for (var kind = Window.Hour; kind <= Window.Period; kind++)
            for (var tooMany = all.Count(p => p.Window == kind) - MaxKept; tooMany > 0; tooMany--) all.RemoveAt(all.FindIndex(p => p.Window == kind));
        return [.. all];
    }

    private static int IndexOf(ImmutableArray<PastWindow> kept, CountedWindow window)
    {
        for (var i = 0; i < kept.Length; i++)
            if (kept[i].Window == window.Window && kept[i].Start == window.Start && !kept[i].Carried) return i;
        return -1;
    }

    /// <summary>What a void takes from a closed window.</summary>
    internal static ImmutableArray<PastWindow> TakeBack(ImmutableArray<PastWindow> kept, UsageVoided e)
    {
        foreach (var window in e.Windows ?? [])
        {
            if (window.End > e.RecordedAt || IndexOf(kept, window) is var i && i < 0) continue;
            var past = kept[i];
            var shifted = e.ShiftedIn(past.Allowance, past.Overage);
            kept = kept.SetItem(i, past with
            {
                Used = past.Used - e.Quantity,
                Allowance = past.Allowance - e.Allowance + shifted,
                ByTokens = past.ByTokens - e.ByTokens,
                Overage = past.Overage - e.Overage - shifted,
                Priced = window.Window == Window.Period ? Usage.TakePriced(past.Priced, e.Priced) : past.Priced,
            });
        }
        return kept;
    }
}
