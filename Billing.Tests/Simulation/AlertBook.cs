using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Simulation.Audit;

namespace Billing.Tests.Simulation;

/// <summary>The auditor's book of what was warned of, and of automatic top-ups: one at a time, and never more than the customer allowed.</summary>
internal sealed class AlertBook(PlanBook plans, TokenBook tokens, UsageBook usage, HoldBook holds)
{
    /// <param name="Count">Which one of its month it is.</param>
    /// <param name="InMonth">What was asked for in that month with it.</param>
    private sealed record Request(string Id, Instant At, int Count, long InMonth);

    private readonly Dictionary<string, AlertRaised> warned = [];
    private readonly HashSet<(string Feature, Window? Window, Instant? End, long Limit, int Percent)> raised = [];
    private readonly HashSet<(string Feature, Window? Window)> isReset = [];
    private readonly HashSet<string> grown = [];
    private readonly HashSet<Instant> trials = [];
    private readonly List<Request> requests = [];
    private bool isLow, isConfigured;
    private TopUpTerms? terms;
    private Request? pending;
    private int failures;
    private string? switchedOff;
    private Instant? limitedUntil;

    // ---- taking events

    /// <summary>More of it was used or held: its threshold is looked at when the command has ended.</summary>
    public void Grew(string feature) => grown.Add(feature);

    public void TokensCame() => isLow = false;

    /// <summary>A window that goes on with another end keeps its warnings.</summary>
    public void Moved(Instant at)
    {
        foreach (var (feature, last) in warned.ToList())
            if (last.Window is { } kind && at < last.End && usage.Open(feature, kind, at) is { } tally && tally.First < last.Version && tally.End != last.End)
            {
                warned[feature] = last with { End = tally.End };
                raised.Add((feature, kind, tally.End, last.Limit ?? 0, last.Percent));
            }
    }

    /// <summary>What follows a window that was closed is another one, also where a change of the plan gives it the same end.</summary>
    public void Take(QuotaReset e)
    {
        foreach (var reset in e.Resets) isReset.Add((reset.Feature, reset.Window));
    }

    public void Take(AlertRaised e, Catalogs catalogs)
    {
        switch (e.Kind)
        {
            case AlertKind.Usage:
                TakeUsage(e, catalogs);
                break;
            case AlertKind.TokensLow:
                Require(catalogs.All[^1].TokensLow is { } low && e.Limit == low && e.Value < low && e.Value == tokens.Balance(e.EffectiveAt), $"Event {e.Version} warns of {e.Value} tokens; there are {tokens.Balance(e.EffectiveAt)}.");
                isLow = true;
                break;
            case AlertKind.TrialEnding:
                Require(plans.Own is { Status: SubscriptionStatus.Trialing } own && own.TrialEnd == e.End && trials.Add(e.End!.Value), $"Event {e.Version} warns of a trial's end at {e.End}, or again.");
                Require(e.EffectiveAt >= e.End!.Value - Duration.FromDays(3), $"Event {e.Version} warns at {e.EffectiveAt} of a trial's end at {e.End}.");
                break;
            case AlertKind.TopUpLimited:
                var (count, amount) = InMonth(e.EffectiveAt);
                var price = PriceOf(catalogs, terms!.Package);
                Require(pending is null && (count >= terms.MaxCount || amount + price > terms.MaxAmount), $"Event {e.Version} says that no more is allowed after {count} for {amount}.");
                limitedUntil = e.End;
                break;
        }
    }

    private void TakeUsage(AlertRaised e, Catalogs catalogs)
    {
        var feature = e.Feature!;
        var (limit, window, taken, end) = Reached(feature, e.EffectiveAt, catalogs);
        Require(limit == e.Limit && window == e.Window && end == e.End && taken == e.Value, $"Event {e.Version} warns of {e.Value} of {e.Limit} {feature} by {e.Window} until {e.End}; by the books {taken} of {limit} by {window} until {end}.");
        Require(e.Percent == Highest(feature, limit, taken, catalogs), $"Event {e.Version} warns at {e.Percent} %; {Highest(feature, limit, taken, catalogs)} % is the highest that {taken} of {limit} reach.");
        // Another limit in between arms it anew: then the same threshold is reached once more.
        var isAgain = warned.TryGetValue(feature, out var last) && last.Window == window && last.End == end && last.Limit == limit && last.Percent >= e.Percent && !isReset.Contains((feature, window));
        Require(!isAgain, $"Event {e.Version} warns again of {feature} at {e.Percent} % of {limit} until {end}.");
        raised.Add((feature, window, end, limit ?? 0, e.Percent));
        warned[feature] = e;
        isReset.Remove((feature, window));
    }

    public void Take(TopUpConfigured e) => (terms, failures, switchedOff, limitedUntil, isConfigured) = (e.Terms, 0, null, null, true);

    public void Take(TopUpRequested e, Catalogs catalogs)
    {
        Require(terms is not null && switchedOff is null && pending is null, $"Event {e.Version} asks for a top-up that is off, or while {pending?.Id} waits.");
        var (count, amount) = InMonth(e.EffectiveAt);
        Require(tokens.Balance(e.EffectiveAt) < terms!.Threshold, $"Event {e.Version} asks for a top-up with {tokens.Balance(e.EffectiveAt)} tokens left.");
        Require(count < terms.MaxCount && amount + e.Amount <= terms.MaxAmount, $"Event {e.Version} asks for a top-up after {count} for {amount}; {terms.MaxCount} for {terms.MaxAmount} are allowed in a month.");
        Require(requests.Count == 0 || e.EffectiveAt >= requests[^1].At + Duration.FromMinutes(terms.CoolOffMinutes), $"Event {e.Version} asks for a top-up at {e.EffectiveAt}, too soon after {requests[^1].At}.");
        Require(e.Package == terms.Package && e.Amount == PriceOf(catalogs, e.Package), $"Event {e.Version} asks for {e.Package} at {e.Amount}.");
        requests.Add(pending = new Request($"tu_{e.Version}", e.EffectiveAt, count + 1, amount + e.Amount));
    }

    public void Take(TopUpEnded e)
    {
        Require(requests.Exists(r => r.Id == e.TopUp) || e.Failure is null, $"Event {e.Version} answers {e.TopUp}, which was never asked for.");
        Require(e.Failure is null || pending?.Id == e.TopUp, $"Event {e.Version} says that {e.TopUp} failed, which does not wait.");
        failures = e.Failure is null ? 0 : failures + 1;
        if (pending?.Id == e.TopUp) pending = null;
    }

    public void Take(TopUpSwitchedOff e)
    {
        Require(e.Reason != "payments_failed" || (failures >= 3 && e.Failures == failures), $"Event {e.Version} switches top-up off after {failures} failures.");
        switchedOff = e.Reason;
    }

    // ---- at the end of an append

    /// <summary>What should have been said was said: the highest threshold that is reached, and a top-up that is wanted.</summary>
    public void RequireNothingMissing(Instant now, Catalogs catalogs)
    {
        if (plans.Closed is null)
            foreach (var feature in grown)
            {
                var (limit, window, taken, end) = Reached(feature, now, catalogs);
                var highest = Highest(feature, limit, taken, catalogs);
                if (highest == 0) continue;
                Require(raised.Any(r => r.Feature == feature && r.Window == window && r.End == end && r.Limit == limit && r.Percent >= highest), $"{taken} of {limit} {feature} are taken until {end}, and nobody was warned of {highest} %.");
            }
        grown.Clear();
        if (terms is null || switchedOff is not null || pending is not null || plans.Closed is not null || tokens.Balance(now) >= terms.Threshold) return;
        var next = requests.Count == 0 ? Instant.MinValue : requests[^1].At + Duration.FromMinutes(terms.CoolOffMinutes);
        if (limitedUntil > next) next = limitedUntil.Value;
        Require(now < next, $"{tokens.Balance(now)} tokens are left, a top-up was due at {next}, and none was asked for by {now}.");
    }

    /// <summary>What counts against the limit of the plan in force: use and holds in its window, or where a gauge stands.</summary>
    private (long? Limit, Window? Window, long Taken, Instant? End) Reached(string feature, Instant now, Catalogs catalogs)
    {
        var known = catalogs.All.Last(c => c.Features.Any(f => f.Id == feature)).Features.First(f => f.Id == feature);
        if (plans.Given(plans.InForce(catalogs, now).Plan, known, now) is not { } given) return (null, null, 0, null);
        var limit = plans.Limit(given, now);
        if (known.Meter!.Aggregation == Aggregation.Gauge) return (limit, null, usage.Gauge(feature), Almanac.Billed(plans.Cycle, plans.Zone, now).End);
        var end = usage.Open(feature, given.Window, now)?.End ?? plans.Window(given.Window, now).End;
        return (limit, given.Window, usage.Used(feature, given.Window, now) + holds.Of(feature).Sum(h => h.Quantity), end);
    }

    private static int Highest(string feature, long? limit, long taken, Catalogs catalogs)
    {
        if (limit is not (> 0 and var most)) return 0;
        var warnAt = catalogs.All.Last(c => c.Features.Any(f => f.Id == feature)).Features.First(f => f.Id == feature).WarnAt;
        return warnAt.Where(percent => taken > 0 && taken * 100m >= (decimal)most * percent).DefaultIfEmpty(0).Max();
    }

    private (int Count, long Amount) InMonth(Instant at)
    {
        // A month is one of the zone of the time: after a change of it, those that went before count with the last of them.
        var month = Almanac.At(Window.Month, null, plans.Zone, plans.Opened!.Value, at);
        return requests.Count > 0 && month.Bounds.Contains(requests[^1].At) ? (requests[^1].Count, requests[^1].InMonth) : (0, 0);
    }

    private static long PriceOf(Catalogs catalogs, string package) =>
        catalogs.All[^1].TokenPackages.First(p => p.Id == package).Prices.First(p => p.Currency == catalogs.All[^1].Currency).Amount;

    // ---- comparing

    public void Compare(State state)
    {
        var slice = state.Alerts;
        Require(slice.TokensLow == isLow, $"Few tokens were warned of: {isLow} by the books, {slice.TokensLow} in the state.");
        Require((slice.TopUp is not null) == (isConfigured || requests.Count > 0), $"Top-up is set in only one of books and state.");
        foreach (var stated in slice.Warned)
            Require(warned.TryGetValue(stated.Feature, out var last) && last.Version == stated.Version && last.Percent == stated.Percent && last.Limit == stated.Limit, $"The last warning of {stated.Feature} is another in the state: {stated}");
        if (slice.TopUp is not { } topUp) return;
        Require(topUp.Terms == terms && topUp.Pending?.Id == pending?.Id && topUp.Failures == failures && topUp.SwitchedOff == switchedOff && topUp.LimitedUntil == limitedUntil && topUp.LastAt == (requests.Count == 0 ? null : requests[^1].At),
            $"Top-up: {terms}, {pending}, {failures} failures, {switchedOff} by the books; in the state {topUp}");
        if (requests.Count > 0)
            Require((topUp.Count, topUp.Amount) == InMonth(requests[^1].At), $"{InMonth(requests[^1].At)} were asked for in the month by the books; in the state {topUp.Count} for {topUp.Amount}.");
    }
}
