using System.Collections.Immutable;
using NodaTime;

namespace Billing.Ledger;

/// <summary>Recording use: which windows it counts in, what covered it, and the turning of windows.</summary>
public static class Usage
{
    /// <summary>How far ahead of our clock a timestamp may be: it counts as now.</summary>
    public static readonly Duration MaxAhead = Duration.FromMinutes(5);

    // ---- deciding

    public static Decision Decide(State state, Catalogs catalogs, RecordUsage c, Instant now)
    {
        if (catalogs.Feature(c.Feature) is not { } feature) return Rejections.FeatureUnknown(c.Feature);
        if (feature.Meter is not { } meter) return Rejections.FeatureNotMetered(c.Feature);
        if (c.Unit is { } unit && unit != meter.Unit) return Rejections.UnitMismatch(c.Feature, meter.Unit);
        if (c.Quantity == 0 || (c.Quantity < 0 && meter.Aggregation == Aggregation.Sum)) return Rejections.QuantityNotPositive("quantity");
        if (Quantity.TryUnits(c.Quantity, meter.Decimals, meter.Unit, out var units) is { } wrong) return wrong;
        if (meter.Aggregation == Aggregation.Gauge && BelowZero(state, feature, units) is { } below) return below;
        if (IsFull(state, c.Feature, units)) return Rejections.CounterFull(meter.Decimals);

        var at = now;
        if (c.Timestamp is { } timestamp)
        {
            if (timestamp > now + MaxAhead) return Rejections.TimestampInFuture(now);
            at = Instant.Min(timestamp, now);
            if (at < state.Account.OpenedAt) return Rejections.BeforeOpening(state.Account.OpenedAt.Value);
        }
        return Record(state, catalogs, feature, units, now, at, c.Timestamp ?? now, c.Enforce, c.Metadata);
    }

    public static Decision Decide(State state, Catalogs catalogs, SetGauge c, Instant now)
    {
        if (catalogs.Feature(c.Feature) is not { } feature) return Rejections.FeatureUnknown(c.Feature);
        if (feature.Meter is not { } meter) return Rejections.FeatureNotMetered(c.Feature);
        if (meter.Aggregation != Aggregation.Gauge) return Rejections.FeatureNotGauge(c.Feature);
        if (Quantity.TryUnits(c.Value, meter.Decimals, meter.Unit, out var value) is { } wrong) return wrong with { Field = "value" };
        var change = value - (state.Use(c.Feature)?.Gauge?.Value ?? 0);
        if (change == 0) return Decision.AlreadyDone;
        if (BelowZero(state, feature, change) is { } below) return below with { Field = "value" };
        return Record(state, catalogs, feature, change, now, now, now, enforce: true, null);
    }

    private static Decision Record(
        State state, Catalogs catalogs, Feature feature, long units, Instant now, Instant at, Instant timestamp, bool enforce,
        IReadOnlyDictionary<string, string>? metadata)
    {
        if (Ask(state, catalogs, feature, units, now, at, enforce, out var entitlement, out var windows) is { } rejection) return rejection;

        var covered = entitlement.Covered;
        var isGauge = feature.Meter!.Aggregation == Aggregation.Gauge;
        long? value = isGauge ? (state.Use(feature.Id)?.Gauge?.Value ?? 0) + units : null;
        var period = isGauge ? null : Corrections.ClosedPeriod(windows, now);
        var isBilled = value is { } stands ? IsBilled(state, catalogs, feature, stands, now) : covered.Price.IsPriced && period is null;
        var recorded = new UsageRecorded(
            feature.Id, units, covered.Allowance, covered.ByTokens, covered.Overage,
            // A gauge is billed by its peak when the period ends, not by each change.
            isGauge ? null : covered.Price.UnitPrice, covered.OverLimit, value, Tokens.BurnFor(state, covered, now),
            windows, entitlement.Plan, entitlement.CatalogVersion, metadata)
        {
            Version = state.Version + 1, EffectiveAt = timestamp, RecordedAt = now,
            Tiers = isGauge ? null : covered.Price.Tiers, BilledAt = isBilled ? BilledAt(state, now) : null,
        };
        // Use of the running billing period is billed with it, whenever in it the use was heard of; that of a closed one by a line of its own.
        if (period is null || !covered.Price.IsPriced) return recorded;
        var line = Corrections.Adjust(state, state.Evolve(recorded), catalogs, feature, period, null, recorded, "reported late", null);
        return line is null ? recorded : new Decision([recorded, line], null);
    }

    /// <summary>What would cover this use, and the windows in which it counts; or why it is refused.</summary>
    internal static Rejection? Ask(
        State state, Catalogs catalogs, Feature feature, long units, Instant now, Instant at, bool enforce, out Entitlement entitlement, out CountedWindow[] windows)
    {
        var isGauge = feature.Meter!.Aggregation == Aggregation.Gauge;
        (entitlement, windows) = (null!, []);
        var isLate = IsLate(state, catalogs, feature, now, at);
        if (isLate)
        {
            if (isGauge) return Rejections.GaugeWindowClosed(ClosedBefore(state, catalogs, feature, now));
            if (PastWindows.Horizon(state, state.Use(feature.Id), now) is var horizon && at < horizon) return Rejections.WindowClosed(horizon);
            windows = PastWindows.Windows(state, catalogs, feature, now, at);
            if (PastWindows.IsFull(state, feature.Id, windows, units)) return Rejections.CounterFull(feature.Meter.Decimals);
        }
        entitlement = Evaluate(state, catalogs, feature, units, now, at, enforce);
        if (entitlement.Denial is { } denial) return Rejections.Denied(denial);
        if (!isLate) windows = isGauge ? BilledWindow(state, now) : CountedAt(state, catalogs, feature, entitlement.Given, now, at);
        return null;
    }

    /// <summary>The quota check for use at one time: use in a closed window has that window's terms.</summary>
    internal static Entitlement Evaluate(
        State state, Catalogs catalogs, Feature feature, long units, Instant now, Instant at, bool enforce, Explanation? why = null) =>
        IsLate(state, catalogs, feature, now, at)
            ? PastWindows.Evaluate(state, catalogs, feature, units, now, at, enforce, why)
            : Entitlements.Evaluate(state, catalogs, feature, units, now, at, enforce, why);

    private static bool IsLate(State state, Catalogs catalogs, Feature feature, Instant now, Instant at) =>
        at < now && feature.Meter is not null && at < ClosedBefore(state, catalogs, feature, now);

    /// <summary>When the overage so far is billed: at the end of the billing period, or of the month of it where it is longer.</summary>
    internal static Instant BilledAt(State state, Instant now) =>
        // What is to be billed already is billed then: the calendar is asked for the first of it alone.
        state.Billing.BilledAt is { } at && at > now ? at : state.Subscriptions.Cycle.Billed(now).End;

    /// <summary>What so many more units of overage cost, behind the running billing period's.</summary>
    internal static OveragePrice PriceOf(State state, PlanFeature given, long units, Instant now) =>
        Pricing.Of(given, given.Tiers.IsEmpty ? 0 : state.Use(given.Feature.Id)?.Running(Window.Period, now)?.Overage ?? 0, units);

    /// <summary>Whether a gauge that stands so high is billed for it.</summary>
    internal static bool IsBilled(State state, Catalogs catalogs, Feature feature, long value, Instant now) =>
        Overrides.Given(state, Subscriptions.InForce(state, catalogs, now).Plan, feature, now) is { PricesOverage: true, Allowance: { } allowance } && value > allowance;

    /// <summary>A gauge's peak is billed with its period, by the month where that is longer.</summary>
    internal static CountedWindow[] BilledWindow(State state, Instant now)
    {
        var billed = state.Subscriptions.Cycle.Billed(now);
        return [new CountedWindow(Window.Period, billed.Start, billed.End)];
    }

    /// <summary>The running windows that contain this use. Use belongs to the feature: it counts in each kind of window that any plan limits it by.</summary>
    /// <param name="given">What gives it, if anything does.</param>
    internal static CountedWindow[] CountedAt(State state, Catalogs catalogs, Feature feature, PlanFeature? given, Instant now, Instant at)
    {
        var use = state.Use(feature.Id);
        Span<Bounds> running = stackalloc Bounds[(int)Window.Lifetime + 1];
        var count = 0;
        for (var kind = Window.Hour; kind <= Window.Lifetime; kind++)
        {
            // A lifetime counts only use under plans that give the feature once for a lifetime.
            var counts = kind == Window.Lifetime
                ? given?.Window == Window.Lifetime
                : feature.CountedWindows.Contains(kind) || (given is not null && given.Feature != feature && given.Feature.CountedWindows.Contains(kind));
            if (!counts) continue;
            var bounds = use?.Running(kind, now) is { } counter
                ? new Bounds(counter.Start, counter.End)
                : new Ask(state, catalogs, feature, 0, now, at, true, null).Bounds(kind);
            if (!bounds.Contains(at)) continue;
            running[(int)kind] = bounds;
            count++;
        }
        var windows = new CountedWindow[count];
        for (var kind = Window.Lifetime; kind >= Window.Hour; kind--)
            if (running[(int)kind] is var (start, end) && end > start) windows[--count] = new CountedWindow(kind, start, end);
        return windows;
    }

    /// <summary>Use that happened before this instant lies in a closed window: of the plan's limit, or of the billing period.</summary>
    private static Instant ClosedBefore(State state, Catalogs catalogs, Feature feature, Instant now)
    {
        var ask = new Ask(state, catalogs, feature, 0, now, now, true, null);
        var use = state.Use(feature.Id);
        var start = use?.Running(Window.Period, now)?.Start ?? ask.Bounds(Window.Period).Start;
        if (feature.Meter!.Aggregation == Aggregation.Gauge) return start;
        var window = Subscriptions.InForce(state, catalogs, now).Plan?.Features.GetValueOrDefault(feature.Id)?.Window ?? feature.Meter.Window;
        return Instant.Max(start, use?.Running(window, now)?.Start ?? ask.Bounds(window).Start);
    }

    /// <summary>Whether a window could not count so much more, with all that is held.</summary>
    internal static bool IsFull(State state, string feature, long units)
    {
        if (!state.Holds.IsEmpty) units += Holds.Of(state, feature).Quantity;
        if (state.Use(feature) is not { } use) return false;
        foreach (var counter in use.Counters)
            if (counter.Used + units > Quantity.MaxCounted) return true;
        return false;
    }

    internal static Rejection? BelowZero(State state, Feature feature, long change)
    {
        var value = state.Use(feature.Id)?.Gauge?.Value ?? 0;
        if (value + change < 0) return Rejections.GaugeBelowZero(Quantity.ToDecimal(value, feature.Meter!.Decimals));
        return value + change > Quantity.MaxUnits ? Rejections.QuantityTooLarge(feature.Meter!.Decimals) : null;
    }

    /// <summary>The event that closes the windows that ended at this instant, or null when none did.</summary>
    internal static QuotaReset? ResetAt(State state, Catalogs catalogs, Instant at, Instant now)
    {
        PlanInForce? force = null;
        var resets = new List<WindowReset>();
        foreach (var use in state.Usage)
            foreach (var counter in use.Counters)
                if (counter.End == at) resets.Add(Reset(use.Feature, counter, force ??= Subscriptions.InForce(state, catalogs, at - Duration.Epsilon), at - Duration.Epsilon));
        return resets.Count == 0 ? null : new QuotaReset([.. resets], force?.Plan?.Id, force?.CatalogVersion ?? 0) { Version = state.Version + 1, EffectiveAt = at, RecordedAt = now };

        WindowReset Reset(string id, Counter c, PlanInForce force, Instant before)
        {
            var given = catalogs.Feature(id) is { } feature ? Overrides.Given(state, force.Plan, feature, before) : null;
            var reset = new WindowReset(id, c.Window, c.Start, c.Used, c.Allowance, c.ByTokens, c.Overage) { Covers = c.Window == Window.Period || c.Window == given?.Window };
            if (c.Window != given?.Window) return reset;
            var limit = Entitlements.Limit(state, given, before);
            return force.Plan!.Features.TryGetValue(id, out var ofPlan) && limit == ofPlan.Allowance ? reset : reset with { Limit = limit ?? WindowReset.Unlimited };
        }
    }

    // ---- evolving

    public static State Evolve(State state, UsageRecorded e)
    {
        var index = IndexOf(state.Usage, e.Feature);
        var before = index < 0 ? new FeatureUse(e.Feature, [], null) : state.Usage[index];
        var after = e.Gauge is { } value
            ? before with { Gauge = Move(before.Gauge, value, e) }
            : before with { Counters = Count(state.Usage, before.Counters, e), Past = IsLate(e) ? PastWindows.Count(before.Past, e) : before.Past };

        var due = state.DueAt;
        if (e.Gauge is null && e.Windows is { } windows)
            foreach (var window in windows)
                if (window.End != Bounds.Never && window.End > e.RecordedAt && (due is null || window.End < due)) due = window.End;
        var billing = state.Billing;
        if (e.BilledAt is { } billed)
        {
            if (!(billing.BilledAt <= billed)) billing = billing with { BilledAt = billed };
            if (due is null || billed < due) due = billed;
        }

        var next = state with
        {
            Version = e.Version,
            RecordedAt = e.RecordedAt,
            Usage = index < 0 ? state.Usage.Add(after) : state.Usage.SetItem(index, after),
            Grants = e.Grants is null ? state.Grants : Tokens.Consume(state.Grants, e.Grants),
            Billing = billing,
            DueAt = due,
        };
        // A grant that was burned to nothing has no expiry to wait for.
        return e.Grants is null ? next : next with { DueAt = Decider.NextDue(next) };
    }

    public static State Evolve(State state, QuotaReset e)
    {
        var usage = state.Usage.Select(use => use with
        {
            Counters = use.Counters.RemoveAll(c => Array.Exists(e.Resets, r => r.Feature == use.Feature && r.Window == c.Window && r.Start == c.Start)),
            Past = PastWindows.Close(use, e),
        });
        state = state with { Usage = [.. usage] };
        return state with { DueAt = Decider.NextDue(state) };
    }

    private static ImmutableArray<Counter> Count(ImmutableArray<FeatureUse> usage, ImmutableArray<Counter> counters, UsageRecorded e)
    {
        if (e.Windows is not { Length: > 0 } windows) return counters;
        // One new array, whatever number of windows the use counts in.
        var added = 0;
        foreach (var window in windows)
            if (window.End > e.RecordedAt && IndexOf(counters, window.Window) < 0) added++;
        var result = new Counter[counters.Length + added];
        counters.CopyTo(result);
        var end = counters.Length;
        foreach (var window in windows)
        {
            if (window.End <= e.RecordedAt) continue;
            var i = IndexOf(counters, window.Window);
            if (i < 0) i = end++;
            var c = result[i] is { } running && running.Start == window.Start
                ? running
                : new Counter(Shared(usage, window), 0, 0, 0, 0, [], e.Version, e.Version);
            result[i] = c with
            {
                Used = c.Used + e.Quantity,
                Allowance = c.Allowance + e.Allowance,
                ByTokens = c.ByTokens + e.ByTokens,
                Overage = c.Overage + e.Overage,
                Priced = c.Window == Window.Period ? AddPriced(c.Priced, e) : c.Priced,
                LastVersion = e.Version,
            };
        }
        return System.Runtime.InteropServices.ImmutableCollectionsMarshal.AsImmutableArray(result);
    }

    /// <summary>The window as another feature has it already.</summary>
    private static CountedWindow Shared(ImmutableArray<FeatureUse> usage, CountedWindow window)
    {
        foreach (var use in usage)
            foreach (var counter in use.Counters)
                if (counter.Counted == window) return counter.Counted;
        return window;
    }

    private static bool IsLate(UsageRecorded e)
    {
        foreach (var window in e.Windows ?? [])
            if (window.End <= e.RecordedAt) return true;
        return false;
    }

    internal static ImmutableArray<PricedUse> TakePriced(ImmutableArray<PricedUse> priced, PricedUse[]? taken)
    {
        foreach (var part in taken ?? [])
            for (var i = 0; i < priced.Length; i++)
                if (priced[i].UnitPrice == part.UnitPrice) priced = priced.SetItem(i, priced[i] with { Units = priced[i].Units - part.Units });
        // What was billed of it already is owed back: the entry stays until it is.
        return priced.RemoveAll(p => p is { Units: 0, Billed: 0 });
    }

    internal static ImmutableArray<PricedUse> AddPriced(ImmutableArray<PricedUse> priced, UsageRecorded e)
    {
        if (e.UnitPrice is { } price && e.Overage > 0) return AddPriced(priced, price, e.Overage);
        foreach (var tier in e.Tiers ?? []) priced = AddPriced(priced, tier.UnitPrice, tier.Units);
        return priced;
    }

    private static ImmutableArray<PricedUse> AddPriced(ImmutableArray<PricedUse> priced, decimal price, long units)
    {
        for (var i = 0; i < priced.Length; i++)
            if (priced[i].UnitPrice == price) return priced.SetItem(i, priced[i] with { Units = priced[i].Units + units });
        return priced.Add(new PricedUse(price, units));
    }

    private static Gauge Move(Gauge? before, long value, UsageRecorded e)
    {
        var until = e.Windows is [var period, ..] ? period.End : Bounds.Never;
        // A new period begins with what the gauge stood at.
        var peak = before is null ? 0 : before.PeakUntil == until ? before.Peak : before.Value;
        return new Gauge(value, Math.Max(peak, value), until, e.Version, e.BilledAt is not null || before is { Billed: true });
    }

    private static int IndexOf(ImmutableArray<FeatureUse> usage, string feature)
    {
        for (var i = 0; i < usage.Length; i++)
            if (usage[i].Feature == feature) return i;
        return -1;
    }

    private static int IndexOf(ImmutableArray<Counter> counters, Window kind)
    {
        for (var i = 0; i < counters.Length; i++)
            if (counters[i].Window == kind) return i;
        return -1;
    }
}
