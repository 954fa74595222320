using System.Collections.Immutable;
using System.Globalization;
using NodaTime;

namespace Billing.Ledger;

/// <summary>Taking usage records back, and recording them anew. Nothing is edited: each is an event that names the record.</summary>
public static class Corrections
{
    // ---- deciding

    public static Decision Decide(State state, Catalogs catalogs, VoidUsage c, Instant now)
    {
        if (Refused(state, catalogs, c.Record, out var feature) is { } refused) return refused;
        if (feature.Meter!.Aggregation == Aggregation.Gauge) return GaugeCorrections.Decide(state, catalogs, feature, c, now);
        var voided = Void(state, catalogs, feature, AsItStands(state, catalogs, feature, c.Record), 0, 0, now, c.Reason, c.By);
        var after = state.Evolve(voided);
        var line = ClosedPeriod(c.Record, state.Use(feature.Id)) is { } period
            ? Adjust(state, after, catalogs, feature, period, c.Record, null, "taken back", c.Reason)
            : null;
        return line is null ? voided : new Decision([voided, line], null);
    }

    /// <summary>
    /// Up to what was recorded it cannot be refused: it is covered as it was, tokens and overage go first. What is more is
    /// checked as use at the record's own time.
    /// </summary>
    public static Decision Decide(State state, Catalogs catalogs, CorrectUsage c, Instant now)
    {
        var r = c.Record;
        if (Refused(state, catalogs, r, out var feature) is { } refused) return refused;
        var isGauge = feature.Meter!.Aggregation == Aggregation.Gauge;
        if (c.Quantity == 0 || (c.Quantity < 0 && !isGauge)) return Rejections.QuantityNotPositive("quantity");
        if (Quantity.TryUnits(c.Quantity, feature.Meter.Decimals, feature.Meter.Unit, out var units) is { } wrong) return wrong;
        if (units == r.Quantity) return Decision.AlreadyDone;
        if (isGauge) return GaugeCorrections.Decide(state, catalogs, feature, c, units, now);

        r = AsItStands(state, catalogs, feature, r);
        var more = new Coverage();
        if (units > r.Quantity)
        {
            if (Usage.IsFull(state, feature.Id, units - r.Quantity)) return Rejections.CounterFull(feature.Meter.Decimals);
            var at = Instant.Min(r.EffectiveAt, r.RecordedAt);
            if (Usage.Ask(state, catalogs, feature, units - r.Quantity, now, at, enforce: !r.OverLimit, out var entitlement, out _) is { } rejection) return rejection;
            more = entitlement.Covered;
        }
        var allowance = Math.Min(units, r.Allowance);
        var byTokens = Math.Min(units - allowance, r.ByTokens);
        var overage = Math.Min(units - allowance - byTokens, r.Overage);
        var keptTokens = TokensFor(r, byTokens, feature);

        var voided = Void(state, catalogs, feature, r, allowance, keptTokens, now, c.Reason, c.By);
        var between = state.Evolve(voided);
        var prices = Prices(catalogs, between, r, overage, more);
        var isOnePrice = prices.Count == 1 && prices[0].Units == overage + more.Overage;
        var recorded = new UsageRecorded(
            feature.Id, units, allowance + more.Allowance, byTokens + more.ByTokens, overage + more.Overage, isOnePrice ? prices[0].UnitPrice : null,
            (r.OverLimit && overage > 0) || more.OverLimit, null, Burned(r, keptTokens, state, more.TokensBurned, now), voided.Windows, r.Plan, r.CatalogVersion, r.Metadata)
        {
            Version = voided.Version + 1, EffectiveAt = r.EffectiveAt, RecordedAt = now,
            Tiers = prices.Count == 0 || isOnePrice ? null : [.. prices],
            BilledAt = prices.Count > 0 && voided.Windows!.Any(w => w.Window == Window.Period && w.End > now) ? Usage.BilledAt(state, now) : null,
            Corrects = Ids.UsageRecord(r.Version),
        };
        var line = ClosedPeriod(r, state.Use(feature.Id)) is { } period
            ? Adjust(state, between.Evolve(recorded), catalogs, feature, period, r, recorded, "corrected", c.Reason)
            : null;
        return line is null ? new Decision([voided, recorded], null) : new Decision([voided, recorded, line], null);
    }

    /// <summary>The command with what became due before it in its history.</summary>
    internal static Command After(List<LedgerEvent> due, Command command) => command switch
    {
        VoidUsage { History.Count: > 0 } c => c with { History = [.. c.History, .. due] },
        CorrectUsage { History.Count: > 0 } c => c with { History = [.. c.History, .. due] },
        _ => command,
    };

    private static Rejection? Refused(State state, Catalogs catalogs, UsageRecorded record, out Feature feature)
    {
        feature = catalogs.Feature(record.Feature)!;
        if (feature?.Meter is null) return Rejections.FeatureUnknown(record.Feature);
        return state.Voided.BinarySearch(record.Version) >= 0 ? Rejections.UsageAlreadyVoided(Ids.UsageRecord(record.Version)) : null;
    }

    /// <summary>The record as what covers it now: allowance that was freed since may have taken over its overage.</summary>
    private static UsageRecorded AsItStands(State state, Catalogs catalogs, Feature feature, UsageRecorded r)
    {
        var overage = r.Overage;
        var kind = GivenTo(r, catalogs)?.Window ?? feature.Meter!.Window;
        foreach (var place in Places(state.Use(feature.Id), r))
            if (place.Window.Window == kind || place.Window.Window == Window.Period) overage = Math.Min(overage, place.Overage);
        return overage == r.Overage ? r : r with { Allowance = r.Allowance + r.Overage - overage, Overage = overage };
    }

    /// <param name="keptAllowance">What a correction goes on to use of the record's allowance: it is not free for other records.</param>
    /// <param name="keptTokens">Likewise of its tokens: they go back to their grants in full, to be burned again.</param>
    private static UsageVoided Void(
        State state, Catalogs catalogs, Feature feature, UsageRecorded r, long keptAllowance, long keptTokens, Instant now, string? reason, string? by)
    {
        var use = state.Use(feature.Id);
        var places = Places(use, r);
        var given = GivenTo(r, catalogs);
        Place? period = places.Find(p => p.Window.Window == Window.Period) is { Window: not null } found ? found : null;
        var shifted = Shifted(state, catalogs, feature, r, given, places, period, keptAllowance, now);
        var priced = period is { } place ? Taken(place.Priced, r, given, shifted) : Prices(r, r.Overage);
        return new UsageVoided(
            Ids.UsageRecord(r.Version), feature.Id, r.Quantity, r.Allowance, r.ByTokens, r.Overage, shifted, priced.Count == 0 ? null : [.. priced],
            Returned(state, r.Grants, keptTokens, now), null, [.. places.Select(p => p.Window)], reason, by)
        {
            Version = state.Version + 1, EffectiveAt = now, RecordedAt = now,
        };
    }

    /// <summary>Where a record counts now: in a counter that runs, or in a closed window that is kept.</summary>
    private readonly record struct Place(CountedWindow Window, Counter? Running, PastWindow? Past)
    {
        public long Allowance => Running?.Allowance ?? Past!.Allowance;
        public long Overage => Running?.Overage ?? Past!.Overage;
        public ImmutableArray<PricedUse> Priced => Running?.Priced ?? Past!.Priced;
    }

    /// <remarks>By versions, because a window's bounds may have moved since: a counter has every record of its kind from its first one on.</remarks>
    private static List<Place> Places(FeatureUse? use, UsageRecorded r)
    {
        var places = new List<Place>();
        foreach (var window in r.Windows ?? [])
        {
            if (window.End <= r.RecordedAt)
            {
                // It was recorded late: closed windows keep their bounds.
                if (PastWindows.Find(use, window) is { } closed) places.Add(new Place(closed.Counted, null, closed));
            }
            else if (use?.Counters.FirstOrDefault(c => c.Window == window.Window) is { } counter && counter.FirstVersion <= r.Version)
                places.Add(new Place(new CountedWindow(counter.Window, counter.Start, counter.End), counter, null));
            else if (use?.Past.FirstOrDefault(p => p.Window == window.Window && p.FirstVersion > 0 && p.FirstVersion <= r.Version && r.Version <= p.LastVersion) is { } past)
                places.Add(new Place(past.Counted, null, past));
        }
        return places;
    }

    /// <summary>
    /// Overage of other records in the same window that the freed allowance takes over, so that what is billed is what
    /// would have been without the record.
    /// </summary>
    private static long Shifted(
        State state, Catalogs catalogs, Feature feature, UsageRecorded r, PlanFeature? given, List<Place> places, Place? period, long keptAllowance, Instant now)
    {
        var kind = given?.Window ?? feature.Meter!.Window;
        if (places.Find(p => p.Window.Window == kind) is not { Window: not null } covering) return 0;
        var shifted = Math.Min(r.Allowance - keptAllowance, covering.Overage - r.Overage);
        if (period is { } billed) shifted = Math.Min(shifted, billed.Overage - r.Overage);
        if (LimitOf(state, catalogs, feature, covering, given, now) is { } limit) shifted = Math.Min(shifted, limit - (covering.Allowance - r.Allowance) - keptAllowance);
        return Math.Max(0, shifted);
    }

    private static long? LimitOf(State state, Catalogs catalogs, Feature feature, Place covering, PlanFeature? given, Instant now)
    {
        if (covering.Past is { } past)
            return PastWindows.LimitOf(past, PastWindows.GivenIn(past, catalogs, feature));
        var current = Overrides.Given(state, Subscriptions.InForce(state, catalogs, now).Plan, feature, now);
        if (current?.Window != covering.Window.Window) current = given;
        return current is null ? 0 : Entitlements.Limit(state, current, now);
    }

    /// <summary>The priced overage that goes, by unit price: the record's own, then what was shifted. Of graduated tiers the top one's units go first.</summary>
    private static List<PricedUse> Taken(ImmutableArray<PricedUse> priced, UsageRecorded r, PlanFeature? given, long shifted)
    {
        var own = Prices(r, r.Overage);
        var left = own.Sum(p => p.Units) + shifted;
        // Prices come into a counter in the order of the tiers.
        IEnumerable<decimal> order = priced.Reverse().Select(p => p.UnitPrice);
        order = given is { Tiers.Length: > 0 } ? given.Tiers.Reverse().Select(t => t.UnitPrice).Concat(order) : own.Select(p => p.UnitPrice).Concat(order);
        var taken = new List<PricedUse>();
        foreach (var price in order.Distinct())
        {
            var units = Math.Min(left, priced.FirstOrDefault(p => p.UnitPrice == price)?.Units ?? 0);
            if (units > 0) taken.Add(new PricedUse(price, units));
            left -= Math.Max(0, units);
        }
        return taken;
    }

    /// <summary>The prices of the first so many units of a record's overage.</summary>
    private static List<PricedUse> Prices(UsageRecorded r, long overage)
    {
        var prices = new List<PricedUse>();
        foreach (var part in r.Tiers ?? (r.UnitPrice is { } price ? [new PricedUse(price, r.Overage)] : []))
        {
            var units = Math.Min(part.Units, overage);
            overage -= units;
            if (units > 0) prices.Add(new PricedUse(part.UnitPrice, units));
        }
        return prices;
    }

    /// <summary>The prices of a corrected record: those it had, then those of what is more. Graduated tiers go by where its overage comes to lie now.</summary>
    private static List<PricedUse> Prices(Catalogs catalogs, State between, UsageRecorded r, long overage, Coverage more)
    {
        var tiered = GivenTo(r, catalogs) is { PricesOverage: true, Tiers.IsEmpty: false } given && Places(between.Use(r.Feature), r).Find(p => p.Window.Window == Window.Period) is { Window: not null } period
            ? Pricing.Of(given, period.Overage, overage + more.Overage)
            : (OveragePrice?)null;
        if (tiered is not null) return [.. Parts(tiered.Value, overage + more.Overage)];
        var prices = Prices(r, overage);
        foreach (var part in Parts(more.Price, more.Overage))
            if (prices.FindIndex(p => p.UnitPrice == part.UnitPrice) is var i && i >= 0) prices[i] = new PricedUse(part.UnitPrice, prices[i].Units + part.Units);
            else prices.Add(part);
        return prices;

        static PricedUse[] Parts(OveragePrice price, long units) => price.Tiers ?? (price.UnitPrice is { } each ? [new PricedUse(each, units)] : []);
    }

    /// <summary>What the plan gave that the record was recorded under.</summary>
    private static PlanFeature? GivenTo(UsageRecorded r, Catalogs catalogs) =>
        r.Plan is { } plan ? catalogs.Plan(plan, r.CatalogVersion)?.Features.GetValueOrDefault(r.Feature) : null;

    // ---- tokens

    /// <summary>Tokens of the record that so many of its units keep.</summary>
    private static long TokensFor(UsageRecorded r, long units, Feature feature)
    {
        var burned = r.Grants?.Sum(g => g.Tokens) ?? 0;
        if (units == r.ByTokens || burned == 0) return burned;
        // The cost may be another one by now: then in proportion, rounded up.
        return Tokens.Cost(r.ByTokens, feature) == burned ? Tokens.Cost(units, feature) : (long)(((Int128)burned * units + r.ByTokens - 1) / r.ByTokens);
    }

    /// <summary>What the new record burns: of the old one's grants the first so many tokens, then more.</summary>
    private static GrantUse[]? Burned(UsageRecorded r, long kept, State state, long more, Instant now)
    {
        var burned = new List<GrantUse>();
        foreach (var part in r.Grants ?? [])
        {
            var tokens = Math.Min(part.Tokens, kept);
            kept -= tokens;
            if (tokens > 0) burned.Add(new GrantUse(part.Grant, tokens));
        }
        foreach (var (grant, tokens) in Tokens.Burn(state, more, now))
        {
            var i = burned.FindIndex(b => b.Grant == grant.Id);
            if (i < 0) burned.Add(new GrantUse(grant.Id, tokens));
            else burned[i] = burned[i] with { Tokens = burned[i].Tokens + tokens };
        }
        return burned.Count == 0 ? null : [.. burned];
    }

    /// <summary>Tokens go back to where they came from. Debt is paid first; what expired meanwhile stays expired.</summary>
    private static TokenReturn[]? Returned(State state, GrantUse[]? burned, long kept, Instant now)
    {
        var returned = new List<TokenReturn>();
        foreach (var part in burned ?? [])
        {
            if (state.Grants.FirstOrDefault(g => g.Id == part.Grant) is not { } grant) continue;
            var again = Math.Min(part.Tokens, kept);
            kept -= again;
            var back = part.Tokens - again;
            var revoked = Math.Min(back, grant.Debt);
            back -= revoked;
            var isExpired = grant.ExpiresAt is { } end && end <= now;
            returned.Add(new TokenReturn(part.Grant, again + (isExpired ? 0 : back), isExpired ? back : 0, revoked));
        }
        return returned.Count == 0 ? null : [.. returned];
    }

    // ---- closed billing periods

    /// <summary>The closed billing period among these windows, or null when the running one is.</summary>
    internal static CountedWindow? ClosedPeriod(CountedWindow[]? windows, Instant now) =>
        windows is null ? null : Array.Find(windows, w => w.Window == Window.Period && w.End <= now);

    /// <summary>The billing period that a record was billed in, if it is closed.</summary>
    private static CountedWindow? ClosedPeriod(UsageRecorded r, FeatureUse? use)
    {
        if (r.Windows is null || Array.Find(r.Windows, w => w.Window == Window.Period) is not { } period) return null;
        var places = Places(use, r);
        if (places.Find(p => p.Window.Window == Window.Period) is not { Window: not null } place) return period;
        return place.Past is null ? null : place.Window;
    }

    /// <summary>
    /// The line by which a closed billing period comes to what it would have been. Of a period that is kept it is the
    /// difference of its totals, each rounded once, so that small corrections add up; else what the records come to by themselves.
    /// </summary>
    /// <param name="gone">The record that was taken back.</param>
    /// <param name="come">The record that was added.</param>
    internal static LinesAdded? Adjust(
        State before, State after, Catalogs catalogs, Feature feature, CountedWindow period, UsageRecorded? gone, UsageRecorded? come, string what, string? reason)
    {
        var isKept = PastWindows.Find(after.Use(feature.Id), period) is not null;
        IReadOnlyList<PricedUse> was = isKept ? PastWindows.Find(before.Use(feature.Id), period)?.Priced ?? [] : gone is null ? [] : Prices(gone, gone.Overage);
        IReadOnlyList<PricedUse> now = isKept ? PastWindows.Find(after.Use(feature.Id), period)!.Priced : come is null ? [] : Prices(come, come.Overage);
        var (currency, decimals) = (catalogs.Current.Currency, feature.Meter!.Decimals);
        var amount = Amount(now) - Amount(was);
        if (amount == 0) return null;

        PricedUse[] changes = [.. was.Concat(now).Select(p => p.UnitPrice).Distinct()
            .Select(price => new PricedUse(price, UnitsAt(now, price) - UnitsAt(was, price))).Where(p => p.Units != 0)];
        var quantity = Quantity.ToDecimal(changes.Sum(p => p.Units), decimals);
        string[] records = [.. new[] { gone, come }.Where(r => r is not null).Select(r => Ids.UsageRecord(r!.Version))];
        var line = new InvoiceLine(
            LineKind.Adjustment, Describe(quantity, feature, period, what), feature.Id, (come ?? gone)!.Plan, quantity, changes is [var only] ? only.UnitPrice : null, amount, currency, period.Start, period.End, records)
        {
            Tiers = changes.Length > 1 ? changes : null,
        };
        return new LinesAdded([line], reason) { Version = after.Version + 1, EffectiveAt = after.RecordedAt, RecordedAt = after.RecordedAt };

        long Amount(IEnumerable<PricedUse> priced) => Pricing.Round(Pricing.Exact(priced, decimals, currency));
        static long UnitsAt(IEnumerable<PricedUse> priced, decimal price) => priced.Where(p => p.UnitPrice == price).Sum(p => p.Units);
    }

    internal static string Describe(decimal quantity, Feature feature, CountedWindow period, string what)
    {
        return $"{quantity.ToString("#,0.#########", CultureInfo.InvariantCulture)} {feature.Name} of {Date(period.Start)} to {Date(period.End)}, {what}";

        static string Date(Instant at) => at.InUtc().Date.ToString("uuuu-MM-dd", CultureInfo.InvariantCulture);
    }

    // ---- evolving

    public static State Evolve(State state, UsageVoided e)
    {
        var usage = state.Usage.Select(use => use.Feature != e.Feature ? use
            : e.Gauge is { } value ? use with { Gauge = GaugeCorrections.Move(use.Gauge, value, e) }
            : use with { Counters = [.. use.Counters.Select(c => TakeBack(c, e))], Past = PastWindows.TakeBack(use.Past, e) });
        var version = Ids.Version(e.Record, "ur_") ?? 0;
        var place = state.Voided.BinarySearch(version);
        state = state with
        {
            Usage = [.. usage],
            Grants = Tokens.Return(state.Grants, e.Returned),
            Voided = place < 0 ? state.Voided.Insert(~place, version) : state.Voided,
        };
        return Invoices.Due(state, e.RecordedAt);
    }

    private static Counter TakeBack(Counter c, UsageVoided e)
    {
        if (Array.Find(e.Windows ?? [], w => w.Window == c.Window && w.Start == c.Start && w.End > e.RecordedAt) is null) return c;
        var shifted = e.ShiftedIn(c.Allowance, c.Overage);
        return c with
        {
            Used = c.Used - e.Quantity,
            Allowance = c.Allowance - e.Allowance + shifted,
            ByTokens = c.ByTokens - e.ByTokens,
            Overage = c.Overage - e.Overage - shifted,
            Priced = c.Window == Window.Period ? Usage.TakePriced(c.Priced, e.Priced) : c.Priced,
            LastVersion = e.Version,
        };
    }
}
