using NodaTime;

namespace Billing.Ledger;

/// <summary>
/// Taking changes of a gauge back. State keeps only where a gauge stands and its peak, so the peak without a change is
/// worked out from the gauge's history, which comes with the command; and so is what closed billing periods were billed.
/// </summary>
internal static class GaugeCorrections
{
    // ---- deciding

    public static Decision Decide(State state, Catalogs catalogs, Feature feature, VoidUsage c, Instant now)
    {
        var gauge = state.Use(feature.Id)?.Gauge;
        var value = (gauge?.Value ?? 0) - c.Record.Quantity;
        if (Usage.BelowZero(state, feature, -c.Record.Quantity) is { } below) return below with { Field = null };
        var voided = Void(state, catalogs, feature, c.Record, 0, value, c.History, now, c.Reason, c.By);
        var line = Adjust(voided.Version + 1, feature, c.Record, null, c.History, catalogs.Current.Currency, now, c.Reason);
        return line is null ? voided : new Decision([voided, line], null);
    }

    public static Decision Decide(State state, Catalogs catalogs, Feature feature, CorrectUsage c, long units, Instant now)
    {
        var r = c.Record;
        var change = units - r.Quantity;
        if (Usage.BelowZero(state, feature, change) is { } below) return below;
        var more = new Coverage();
        if (change > 0)
        {
            var entitlement = Entitlements.Evaluate(state, catalogs, feature, change, now, enforce: !r.OverLimit);
            if (entitlement.Denial is { } denial) return Rejections.Denied(denial);
            more = entitlement.Covered;
        }
        var value = state.Use(feature.Id)?.Gauge?.Value ?? 0;
        // A gauge never stands below zero, not even between these two.
        var isVoidFirst = value - r.Quantity >= 0;
        var voided = Void(state, catalogs, feature, r, units, isVoidFirst ? value - r.Quantity : value + change, c.History, now, c.Reason, c.By);
        var overage = change > 0 ? r.Overage + more.Overage : Math.Clamp(r.Overage + change, 0, Math.Max(0, units));
        var recorded = new UsageRecorded(
            feature.Id, units, units - overage, 0, overage, null, (r.OverLimit && overage > 0) || more.OverLimit, isVoidFirst ? value + change : value + units,
            null, Usage.BilledWindow(state, now), r.Plan, r.CatalogVersion, r.Metadata)
        {
            Version = voided.Version, EffectiveAt = r.EffectiveAt, RecordedAt = now, BilledAt = voided.BilledAt, Corrects = Ids.UsageRecord(r.Version),
        };
        if (isVoidFirst) recorded = recorded with { Version = voided.Version + 1 };
        else voided = voided with { Version = voided.Version + 1 };
        var line = Adjust(state.Version + 3, feature, r, recorded, c.History, catalogs.Current.Currency, now, c.Reason);
        LedgerEvent[] events = isVoidFirst ? [voided, recorded] : [recorded, voided];
        return new Decision(line is null ? [.. events] : [.. events, line], null);
    }

    /// <param name="units">What comes in the record's place; 0 is nothing.</param>
    private static UsageVoided Void(
        State state, Catalogs catalogs, Feature feature, UsageRecorded r, long units, long value, IReadOnlyList<LedgerEvent> history, Instant now, string? reason, string? by)
    {
        var gauge = state.Use(feature.Id)?.Gauge;
        var stands = (gauge?.Value ?? 0) - r.Quantity + units;
        var since = Lines(history, feature.Id).Select(l => l.Line.End).Where(end => end <= now).Append(state.Subscriptions.Cycle.Billed(now).Start).Max();
        var peak = history.Count == 0 ? Math.Max(gauge?.Peak ?? 0, stands) : Math.Max(stands, PeakOf(Changes(history, feature.Id, r, units), since, Bounds.Never));
        return new UsageVoided(Ids.UsageRecord(r.Version), feature.Id, r.Quantity, r.Allowance, r.ByTokens, r.Overage, 0, null, null, value, null, reason, by)
        {
            Version = state.Version + 1, EffectiveAt = now, RecordedAt = now, Peak = peak, BilledAt = BilledAt(state, catalogs, feature, peak, gauge, now),
        };
    }

    /// <summary>When a gauge that stood past what the plan includes is billed.</summary>
    private static Instant? BilledAt(State state, Catalogs catalogs, Feature feature, long peak, Gauge? gauge, Instant now)
    {
        var given = Overrides.Given(state, Subscriptions.InForce(state, catalogs, now).Plan, feature, now);
        // It stood past what another plan included, which is not known here.
        if (given is not { PricesOverage: true }) return gauge is { Billed: true } ? gauge.PeakUntil : null;
        return given.Allowance < peak ? Usage.BilledAt(state, now) : null;
    }

    /// <summary>One change of the gauge that stands: voided ones are left out, and a corrected one is where the first was.</summary>
    private readonly record struct Change(long Version, Instant At, long Quantity);

    /// <param name="gone">Voided now, or null.</param>
    /// <param name="units">What is in its place; 0 is nothing.</param>
    private static List<Change> Changes(IEnumerable<LedgerEvent> history, string feature, UsageRecorded? gone = null, long units = 0)
    {
        var places = new Dictionary<string, (long Version, Instant At)>();
        var changes = new Dictionary<string, Change>();
        foreach (var e in history)
        {
            if (e is UsageVoided voided) changes.Remove(voided.Record);
            if (e is not UsageRecorded { Gauge: not null } x || x.Feature != feature) continue;
            var (id, place) = (Ids.UsageRecord(x.Version), (x.Version, x.RecordedAt));
            if (x.Corrects is { } first && places.TryGetValue(first, out var known)) place = known;
            places[id] = place;
            changes[id] = new Change(place.Version, place.RecordedAt, x.Version == gone?.Version ? units : x.Quantity);
        }
        return [.. changes.Values.OrderBy(c => c.Version)];
    }

    private static long PeakOf(List<Change> changes, Instant from, Instant to)
    {
        var (value, peak) = (0L, 0L);
        foreach (var change in changes)
        {
            if (change.At >= to) break;
            // It came into the stretch standing where it stood.
            if (change.At >= from) peak = Math.Max(peak, value);
            value += change.Quantity;
            if (change.At >= from) peak = Math.Max(peak, value);
        }
        return Math.Max(peak, value);
    }

    private static IEnumerable<(LinesAdded Event, InvoiceLine Line)> Lines(IReadOnlyList<LedgerEvent> history, string feature) =>
        from e in history.OfType<LinesAdded>()
        from line in e.Lines
        where line.Kind == LineKind.Overage && line.Feature == feature
        select (e, line);

    /// <summary>Every stretch that was billed by its peak since the record, brought to what its peak would have been.</summary>
    private static LinesAdded? Adjust(
        long version, Feature feature, UsageRecorded gone, UsageRecorded? come, IReadOnlyList<LedgerEvent> history, string currency, Instant now, string? reason)
    {
        var decimals = feature.Meter!.Decimals;
        string[] records = come is null ? [Ids.UsageRecord(gone.Version)] : [Ids.UsageRecord(gone.Version), Ids.UsageRecord(come.Version)];
        var (before, after) = (Changes(history, feature.Id), Changes(history, feature.Id, gone, come?.Quantity ?? 0));
        var lines = new List<InvoiceLine>();
        foreach (var (billedBy, line) in Lines(history, feature.Id))
        {
            if (line.End <= gone.RecordedAt || line.Quantity == 0 || line.UnitPrice is not { } price) continue;
            // What the plan included is what the peak was past, as it was known then.
            var included = PeakOf(Changes(history.TakeWhile(e => e.Version < billedBy.Version), feature.Id), line.Start, line.End) - (long)(line.Quantity * Quantity.Scale(decimals));
            var was = Math.Max(0, PeakOf(before, line.Start, line.End) - included);
            var units = Math.Max(0, PeakOf(after, line.Start, line.End) - included);
            var amount = Pricing.Line(units, decimals, price, currency) - Pricing.Line(was, decimals, price, currency);
            if (amount == 0) continue;
            var quantity = Quantity.ToDecimal(units - was, decimals);
            lines.Add(new InvoiceLine(
                LineKind.Adjustment, Corrections.Describe(quantity, feature, new CountedWindow(Window.Period, line.Start, line.End), come is null ? "taken back" : "corrected"),
                feature.Id, line.Plan, quantity, price, amount, currency, line.Start, line.End, records));
        }
        return lines.Count == 0 ? null : new LinesAdded([.. lines], reason) { Version = version, EffectiveAt = now, RecordedAt = now };
    }

    // ---- evolving

    public static Gauge Move(Gauge? before, long value, UsageVoided e) => new(
        value, e.Peak ?? Math.Max(before?.Peak ?? 0, value), e.BilledAt ?? before?.PeakUntil ?? Bounds.Never, e.Version, e.BilledAt is not null);
}
