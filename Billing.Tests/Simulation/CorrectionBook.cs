using Billing.Ledger;

namespace Billing.Tests.Simulation;

/// <summary>
/// The auditor's book of records that were taken back: each once, out of every window in which it counted, its tokens to
/// the grants that they came from; and of what closed billing periods come to since, to the last minor unit.
/// </summary>
internal sealed class CorrectionBook(UsageBook usage, TokenBook tokens)
{
    private readonly Dictionary<long, UsageRecorded> records = [];
    private readonly SortedSet<long> voided = [];

    /// <summary>Closed periods that were changed since the last line about them, with what they came to before.</summary>
    private readonly Dictionary<Tally, (string Feature, long Before)> changed = [];

    /// <summary>What records of periods that nobody keeps come to by themselves: to be charged, or given back.</summary>
    private readonly Dictionary<string, long> loose = [];
    private bool isLoose;

    /// <summary>The record that was taken back by the event before, for one that takes its place.</summary>
    private UsageVoided? last;

    /// <summary>A gauge's record that came first, because the gauge would stand below zero without it: its void follows.</summary>
    private UsageRecorded? first;

    // ---- taking events

    public void Take(UsageRecorded e, Catalogs catalogs)
    {
        records[e.Version] = e;
        if (e.Gauge is not null) return;
        // It takes the place of a record whose period nobody keeps any more.
        if (e.Corrects is not null && isLoose) Change(e.Feature, null, Amount(e, catalogs), catalogs);
        foreach (var window in e.Windows ?? [])
            if (window.Window == Window.Period && window.End <= e.RecordedAt) Change(e.Feature, usage.Page(e.Feature)?.ClosedAt(window), Amount(e, catalogs), catalogs);
    }

    /// <summary>Before the usage book takes it.</summary>
    public void Take(UsageVoided e, Catalogs catalogs)
    {
        var version = e.Record.StartsWith("ur_", StringComparison.Ordinal) ? long.Parse(e.Record.AsSpan(3)) : 0;
        Audit.Require(records.TryGetValue(version, out var r) && r.Feature == e.Feature, $"Event {e.Version} takes back {e.Record}, which is no record of {e.Feature}.");
        Audit.Require(voided.Add(version), $"Event {e.Version} takes back {e.Record} again.");
        Audit.Require(e.Quantity == r!.Quantity && e.Quantity == e.Allowance + e.ByTokens + e.Overage && e.ByTokens == r.ByTokens, $"Event {e.Version} takes back {e.Quantity} = {e.Allowance} + {e.ByTokens} + {e.Overage}; recorded were {r.Quantity} = {r.Allowance} + {r.ByTokens} + {r.Overage}.");
        Audit.Require(r.Gauge is not null || e.Allowance >= r.Allowance && e.Shifted >= 0, $"Event {e.Version} takes back less allowance than was used.");
        Return(e, r);
        last = e;
        Audit.Require(first is null || first.Corrects == e.Record, $"Event {e.Version} takes back {e.Record}; in the place of {first?.Corrects} there is another already.");
        first = null;
        if (r.Gauge is not null) return;

        var page = usage.Page(e.Feature)!;
        var places = page.Of(version).ToList();
        Audit.Require((e.Windows ?? []).Select(w => (w.Window, w.Start, w.End)).Order().SequenceEqual(places.Select(p => (p.Window, p.Start, p.End)).Order()),
            $"Event {e.Version} takes back {e.Record} from {string.Join(", ", (e.Windows ?? []).AsEnumerable())}; it counts in {string.Join(", ", places.Select(p => $"the {p.Window} from {p.Start} to {p.End}"))}.");
        foreach (var place in places)
        {
            if (place.Window == Window.Period && place.End <= e.RecordedAt) Change(e.Feature, place, 0, catalogs);
            place.TakeBack(e);
            place.Records.Remove(version);
            if (place.End > e.RecordedAt) place.Last = e.Version;
        }
        isLoose = (r.Windows ?? []).Any(w => w.Window == Window.Period) && places.TrueForAll(p => p.Window != Window.Period);
        if (isLoose) Change(e.Feature, null, -Amount(r, catalogs), catalogs);
    }

    private void Return(UsageVoided e, UsageRecorded r)
    {
        var burned = (r.Grants ?? []).ToDictionary(g => g.Grant, g => g.Tokens);
        var returned = (e.Returned ?? []).ToDictionary(t => t.Grant, t => t.Remaining + t.Expired + t.Revoked);
        Audit.Require(burned.OrderBy(b => b.Key, StringComparer.Ordinal).SequenceEqual(returned.OrderBy(b => b.Key, StringComparer.Ordinal)), $"Event {e.Version} gives back {string.Join(", ", returned)}; burned were {string.Join(", ", burned)}.");
        foreach (var part in e.Returned ?? []) tokens.Return(e, part);
    }

    /// <summary>A record in the place of one that was taken back: covered as that was, as far as it goes.</summary>
    public void Require(UsageRecorded e)
    {
        if (last is not { } before)
        {
            Audit.Require(e.Gauge is not null, $"Event {e.Version} takes the place of {e.Corrects}, which was not taken back right before.");
            first = e;
            return;
        }
        Audit.Require(before.Record == e.Corrects && before.Feature == e.Feature, $"Event {e.Version} takes the place of {e.Corrects}; taken back was {before.Record}.");
        if (e.Gauge is not null) return;
        var allowance = Math.Min(e.Quantity, before.Allowance);
        var byTokens = Math.Min(e.Quantity - allowance, before.ByTokens);
        var overage = Math.Min(e.Quantity - allowance - byTokens, before.Overage);
        Audit.Require(e.Allowance >= allowance && e.ByTokens >= byTokens && e.Overage >= overage, $"Event {e.Version} is covered by {e.Allowance} + {e.ByTokens} + {e.Overage}; the record before kept at least {allowance} + {byTokens} + {overage}.");
        Audit.Require((e.Windows ?? []).SequenceEqual(before.Windows ?? []), $"Event {e.Version} counts elsewhere than the record in whose place it is.");
    }

    public void GoOn() => (last, isLoose) = (null, false);

    private void Change(string feature, Tally? period, long alone, Catalogs catalogs)
    {
        if (period is null) loose[feature] = loose.GetValueOrDefault(feature) + alone;
        else changed.TryAdd(period, (feature, period.Amount(PerUnit(feature, catalogs))));
    }

    /// <summary>A line about records of a closed period: exactly what that period comes to more, or less.</summary>
    public void Take(LinesAdded e, Catalogs catalogs)
    {
        foreach (var line in e.Lines)
        {
            if (line is not { Kind: LineKind.Adjustment, Records: not null, Feature: { } feature } || usage.Page(feature)?.Gauge is not null) continue;
            Audit.Require(line.Records.All(r => records.ContainsKey(long.Parse(r.AsSpan(3)))), $"Event {e.Version} names records that are none.");
            var due = 0L;
            if (changed.FirstOrDefault(c => c.Value.Feature == feature).Key is { } period)
            {
                due = period.Amount(PerUnit(feature, catalogs)) - changed[period].Before;
                changed.Remove(period);
            }
            else if (loose.Remove(feature, out var alone)) due = alone;
            Audit.Require(line.Amount == due && due != 0, $"Event {e.Version} adjusts {feature} by {line.Amount}; by the books it is {due}.");
        }
    }

    public void RequireNothingMissing(Catalogs catalogs)
    {
        foreach (var (period, (feature, before)) in changed)
            Audit.Require(period.Amount(PerUnit(feature, catalogs)) == before, $"The period of {feature} that ended at {period.End} came to {before} and comes to {period.Amount(PerUnit(feature, catalogs))}; no line says so.");
        foreach (var (feature, alone) in loose) Audit.Require(alone == 0, $"Records of {feature} come to {alone}; no line says so.");
        Audit.Require(first is null, $"Event {first?.Version} takes the place of {first?.Corrects}, which stands.");
        changed.Clear();
        loose.Clear();
        last = null;
    }

    private static long Amount(UsageRecorded e, Catalogs catalogs)
    {
        var prices = e.Tiers ?? (e.UnitPrice is { } price && e.Overage > 0 ? [new PricedUse(price, e.Overage)] : []);
        return Math.Clamp(Coverage.Rounded(prices.Sum(p => p.Units * p.UnitPrice) * PerUnit(e.Feature, catalogs)), -Pricing.MaxAmount, Pricing.MaxAmount);
    }

    /// <summary>Minor units for a smallest unit at a price of 1.</summary>
    private static decimal PerUnit(string feature, Catalogs catalogs) =>
        Coverage.MinorUnits(catalogs.All[^1].Currency) / (decimal)Coverage.Scale(catalogs.All.Last(c => c.Features.Any(f => f.Id == feature)).Features.First(f => f.Id == feature));

    // ---- comparing

    public void Compare(State state)
    {
        Audit.Require(state.Voided.SequenceEqual(voided), $"Taken back are {string.Join(", ", voided)} by the books and {string.Join(", ", state.Voided)} in the state.");
    }
}
