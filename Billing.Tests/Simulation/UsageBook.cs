using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Simulation.Audit;

namespace Billing.Tests.Simulation;

/// <summary>The auditor's book of use: what was used in every window that there ever was, and what covered it.</summary>
internal sealed class UsageBook
{
    private readonly Dictionary<string, Page> pages = [];

    /// <summary>When what is on no line yet is billed.</summary>
    private Instant? billAt;

    // ---- reading

    public Page? Page(string feature) => pages.GetValueOrDefault(feature);

    public Tally? Open(string feature, Window window, Instant now) =>
        pages.GetValueOrDefault(feature)?.Open.GetValueOrDefault(window) is { } tally && now < tally.End ? tally : null;

    public long Used(string feature, Window window, Instant now) => Open(feature, window, now)?.Used ?? 0;

    public long Overage(string feature, Instant now) => Open(feature, Window.Period, now)?.Overage ?? 0;

    /// <summary>The priced overage of the running billing period.</summary>
    public IEnumerable<PricedUse> Priced(string feature, Instant now) =>
        Open(feature, Window.Period, now) is { } tally ? tally.Priced.Select(p => new PricedUse(p.Key, p.Value.Units)) : [];

    public long Peak(string feature, Instant now) => pages.GetValueOrDefault(feature)?.Gauge is not { } gauge ? 0 : now < gauge.Until ? gauge.Peak : gauge.Value;

    public long Gauge(string feature) => pages.GetValueOrDefault(feature)?.Gauge?.Value ?? 0;

    public Instant? NextDue() => billAt is { } bill && !(NextReset() < bill) ? bill : NextReset();

    private Instant? NextReset() => pages.Values.SelectMany(p => p.Open.Values).Where(t => t.End != Almanac.Never).Select(t => (Instant?)t.End).Min();

    public void RequireNothingOverdue(Instant now)
    {
        foreach (var (feature, page) in pages)
            foreach (var tally in page.Open.Values)
                Require(now < tally.End, $"The {tally.Window} window of {feature} ended at {tally.End} and is open at {now}.");
        Require(!(billAt <= now), $"Overage was to be billed at {billAt} and is not at {now}.");
    }

    // ---- taking events

    public void Take(UsageRecorded e, PlanBook plans)
    {
        Require(e.Quantity == e.Allowance + e.ByTokens + e.Overage, $"Event {e.Version}: {e.Quantity} is not covered by {e.Allowance} + {e.ByTokens} + {e.Overage}.");
        if (!pages.TryGetValue(e.Feature, out var page)) pages[e.Feature] = page = new Page();
        if (e.BilledAt is { } at)
        {
            var due = Almanac.Billed(plans.Cycle, plans.Zone, e.RecordedAt).End;
            Require(at == due, $"Event {e.Version} is to be billed at {at}; the billing period ends at {due}.");
            if (!(billAt <= at)) billAt = at;
        }
        if (e.Gauge is { } value)
        {
            Move(e, page, value, plans);
            return;
        }
        Require(e.Quantity > 0 && e.Allowance >= 0 && e.ByTokens >= 0 && e.Overage >= 0, $"Event {e.Version} uses less than nothing.");
        foreach (var window in e.Windows ?? [])
        {
            if (window.End <= e.RecordedAt)
            {
                CountLate(e, page, window, plans);
                continue;
            }
            if (!page.Open.TryGetValue(window.Window, out var tally))
            {
                var due = plans.Window(window.Window, e.RecordedAt);
                // Where the anchor or the zone moved within it, it begins with the window that ran then, and overlaps with none before.
                Require(window.End == due.End && window.Start >= due.Start && window.Bounds.Contains(e.RecordedAt), $"Event {e.Version} counts in {window}; the window is {due}.");
                foreach (var closed in page.Closed.Where(c => c.Window == window.Window))
                    Require(window.Start >= closed.End || window.Start == due.Start, $"Event {e.Version} counts in {window}, which overlaps with the one from {closed.Start} to {closed.End}.");
                page.Open[window.Window] = tally = new Tally { Window = window.Window, Start = window.Start, End = window.End, First = e.Version };
            }
            Require(tally.Start == window.Start && tally.End == window.End, $"Event {e.Version} counts in {window}, while the open one is {tally.Start} to {tally.End}.");
            tally.Count(e);
            tally.Last = e.Version;
        }
    }

    /// <summary>It counts where it happened. Where nothing was used in that window yet, it is kept from now on.</summary>
    private static void CountLate(UsageRecorded e, Page page, CountedWindow window, PlanBook plans)
    {
        if (page.ClosedAt(window) is not { } tally)
        {
            Require(e.Corrects is not null || window.Bounds.Contains(Instant.Min(e.EffectiveAt, e.RecordedAt)), $"Event {e.Version} counts in {window}, in which it did not happen.");
            foreach (var other in page.Closed.Where(c => c.Window == window.Window))
                Require(window.Start >= other.End || window.End <= other.Start, $"Event {e.Version} counts in {window}, which overlaps with the one from {other.Start} to {other.End}.");
            tally = new Tally { Window = window.Window, Start = window.Start, End = window.End, Plan = e.Plan, CatalogVersion = e.CatalogVersion };
            page.Close([tally]);
        }
        Require(window.Start >= plans.Opened || window.Window != Window.Lifetime, $"Event {e.Version} counts before the organization opened.");
        tally.Count(e);
    }

    private static void Move(UsageRecorded e, Page page, long value, PlanBook plans)
    {
        var gauge = page.Gauge ??= new Level();
        var billed = Almanac.Billed(plans.Cycle, plans.Zone, e.RecordedAt);
        Require(gauge.Value + e.Quantity == value && value >= 0, $"Event {e.Version} moves a gauge from {gauge.Value} by {e.Quantity} to {value}.");
        Require(e.Windows is [var only] && only == billed, $"Event {e.Version} counts a gauge in {string.Join(", ", (e.Windows ?? []).AsEnumerable())}; what is billed at once is {billed}.");
        // A new stretch begins with what it stood at.
        if (gauge.Until != billed.End) gauge.Peak = gauge.Value;
        (gauge.Value, gauge.Peak, gauge.Until, gauge.Billed) = (value, Math.Max(gauge.Peak, value), billed.End, gauge.Billed || e.BilledAt is not null);
    }

    /// <summary>A gauge's change is taken back; what other use was taken back is in the tallies by now.</summary>
    public void Take(UsageVoided e)
    {
        if (e.Gauge is not { } value) return;
        var gauge = pages[e.Feature].Gauge!;
        Require(gauge.Value - e.Quantity == value && value >= 0 && e.Peak >= value, $"Event {e.Version} takes {e.Quantity} back from a gauge at {gauge.Value} and leaves {value}, with a peak of {e.Peak}.");
        (gauge.Value, gauge.Peak, gauge.Until, gauge.Billed) = (value, e.Peak!.Value, e.BilledAt ?? gauge.Until, e.BilledAt is not null);
    }

    public void Take(QuotaReset e, Catalogs catalogs, PlanBook plans)
    {
        var closed = new List<(string Feature, Tally Tally)>();
        Require(e.Resets.Length > 0, $"Event {e.Version} resets nothing.");
        foreach (var reset in e.Resets)
        {
            var open = pages.GetValueOrDefault(reset.Feature)?.Open ?? [];
            Require(open.TryGetValue(reset.Window, out var tally) && tally.Start == reset.Start, $"Event {e.Version} resets a {reset.Window} of {reset.Feature} from {reset.Start} that is not open.");
            Require(tally!.End == e.EffectiveAt, $"Event {e.Version} resets at {e.EffectiveAt} the {reset.Window} of {reset.Feature} that ends at {tally.End}.");
            Require(reset.Used == tally.Used && reset.Allowance == tally.Allowance && reset.ByTokens == tally.ByTokens && reset.Overage == tally.Overage,
                $"Event {e.Version} says {reset}; by the books used {tally.Used} = {tally.Allowance} + {tally.ByTokens} + {tally.Overage}.");
            // A window that is gone cannot be billed any more.
            foreach (var (price, (units, billed)) in tally.Priced) Require(units == billed, $"Event {e.Version} closes a period of {reset.Feature} of which {units - billed} units at {price} are on no line.");
            RequireTerms(e, reset, catalogs, plans);
            open.Remove(reset.Window);
            (tally.Plan, tally.CatalogVersion, tally.Limit) = (e.Plan, e.CatalogVersion, reset.Limit);
            if (reset.Covers) closed.Add((reset.Feature, tally));
        }
        foreach (var of in closed.GroupBy(c => c.Feature)) pages[of.Key].Close(of.Select(c => c.Tally));
    }

    /// <summary>It says by which plan and which limit the window ended, for use that is heard of late.</summary>
    private static void RequireTerms(QuotaReset e, WindowReset reset, Catalogs catalogs, PlanBook plans)
    {
        var before = e.EffectiveAt - Duration.Epsilon;
        var (plan, version) = plans.InForce(catalogs, before);
        Require(e.Plan == plan?.Id && e.CatalogVersion == version, $"Event {e.Version} says that {e.Plan} of {e.CatalogVersion} was in force; it was {plan?.Id} of {version}.");
        var feature = catalogs.All.Last(c => c.Features.Any(f => f.Id == reset.Feature)).Features.First(f => f.Id == reset.Feature);
        var given = plans.Given(plan, feature, before);
        Require(reset.Covers == (reset.Window == Window.Period || reset.Window == given?.Window), $"Event {e.Version} says {reset.Covers} of whether the {reset.Window} of {reset.Feature} covers.");
        if (reset.Window != given?.Window) return;
        var limit = plans.Limit(given, before);
        var isPlans = plan!.Features.TryGetValue(reset.Feature, out var ofPlan) && ofPlan.Allowance == limit;
        Require(reset.Limit == (isPlans ? null : limit ?? long.MaxValue), $"Event {e.Version} says that the limit of {reset.Feature} was {reset.Limit}; it was {limit}.");
    }

    /// <summary>A line of overage: everything of this feature that was on none, at the prices it was recorded at; a gauge by its peak past what is included.</summary>
    /// <param name="given">What the organization got of it as the period ended.</param>
    /// <param name="perUnit">Minor units for a smallest unit at a price of 1.</param>
    public void Bill(LinesAdded e, InvoiceLine line, PlanFeature? given, decimal perUnit, PlanBook plans)
    {
        Require(!(billAt < e.EffectiveAt), $"Event {e.Version} bills at {e.EffectiveAt}; what was due at {billAt} is on no line.");
        var page = pages.GetValueOrDefault(line.Feature!);
        Require(page is not null && line.Tiers is not null, $"Event {e.Version} bills {line.Feature}, of which nothing was used.");
        // Beyond the most that a line may be it reads as that.
        var amount = Math.Clamp(Coverage.Rounded(line.Tiers!.Sum(t => t.Units * t.UnitPrice) * perUnit), -Pricing.MaxAmount, Pricing.MaxAmount);
        Require(line.Amount == amount, $"Event {e.Version} bills {line.Amount} for {line.Feature}; {string.Join(" + ", line.Tiers!.AsEnumerable())} come to {amount}.");
        if (page!.Gauge is { } gauge)
        {
            Require(gauge.Billed, $"Event {e.Version} bills the gauge {line.Feature}, which is not to be billed.");
            var past = given is { Mode: LimitMode.Overage, Allowance: { } most } ? Math.Max(0, gauge.Peak - most) : 0;
            Require(line.Tiers is [var only] && only.Units == past && (past == 0 || only.UnitPrice == given!.UnitPrice), $"Event {e.Version} bills {line.Tiers![0]} of {line.Feature}; its peak of {gauge.Peak} is {past} past {given?.Allowance}.");
            var stillPast = past > 0 && gauge.Value > gauge.Peak - past;
            (gauge.Peak, gauge.Until, gauge.Billed) = (gauge.Value, Almanac.Billed(plans.Cycle, plans.Zone, line.End).End, stillPast);
            return;
        }
        Require(page.Open.TryGetValue(Window.Period, out var tally), $"Event {e.Version} bills {line.Feature}, which has no open period.");
        var due = tally!.Priced.Where(p => p.Value.Units != p.Value.Billed).ToDictionary(p => p.Key, p => p.Value.Units - p.Value.Billed);
        Require(line.Tiers!.Length == due.Count && line.Tiers.All(t => due.GetValueOrDefault(t.UnitPrice) == t.Units), $"Event {e.Version} bills {string.Join(" + ", line.Tiers.AsEnumerable())} of {line.Feature}; on no line are {string.Join(" + ", due)}.");
        foreach (var price in tally.Priced.Keys.ToList()) tally.Priced[price] = (tally.Priced[price].Units, tally.Priced[price].Units);
    }

    /// <summary>When what is on no line is billed from now on: at the next end of the period, or of the month of it.</summary>
    public void Plan(PlanBook plans, Instant at)
    {
        billAt = null;
        // The last invoice of a closed organization has everything.
        if (plans.Closed is not null) return;
        foreach (var page in pages.Values)
        {
            var due = page.Gauge is { Billed: true } gauge ? gauge.Until
                : page.IsUnbilled ? Instant.Min(page.Open[Window.Period].End, Almanac.Billed(plans.Cycle, plans.Zone, at).End) : (Instant?)null;
            if (due is not null && !(billAt <= due)) billAt = due;
        }
    }

    /// <summary>Where something ends, what was counted past the allowance is on a line by then.</summary>
    public void RequireBilled(LedgerEvent e)
    {
        var left = pages.Where(p => p.Value.IsUnbilled).Select(p => p.Key).FirstOrDefault();
        Require(left is null, $"Event {e.Version} ends what overage of {left} is charged by, and it is on no line.");
    }

    /// <summary>What a gauge stood at under another limit is not billed under this one.</summary>
    public void Take(OverrideSet e, PlanBook plans)
    {
        if (pages.GetValueOrDefault(e.Feature)?.Gauge is not { } gauge) return;
        (gauge.Peak, gauge.Until, gauge.Billed) = (gauge.Value, e.BilledAt ?? gauge.Until, e.BilledAt is not null);
        Plan(plans, e.EffectiveAt);
    }

    /// <summary>The running windows go on with another end and all that was used in them; none begins anew.</summary>
    public void Move(LedgerEvent e, CountedWindow[] moved, Instant at, PlanBook after)
    {
        foreach (var to in moved)
        {
            // None begins before one that runs, so that none overlaps with the one before it; nor before what ran by the clock, used or not.
            var due = after.Window(to.Window, at);
            var start = pages.Values.Select(p => p.Open.GetValueOrDefault(to.Window)).Where(t => t is not null && at < t.End).Select(t => t!.Start).Append(due.Start).Max();
            Require(to.End == due.End && to.Start >= start && to.Start <= at, $"Event {e.Version} moves windows to {to}; they are {due} now, and one began at {start}.");
            foreach (var page in pages.Values)
            {
                if (page.Open.TryGetValue(to.Window, out var tally))
                {
                    if (to.Start > tally.Start) page.Close([new Tally { Window = to.Window, Start = tally.Start, End = to.Start, Carried = true }]);
                    (tally.Start, tally.End) = (to.Start, to.End);
                }
                if (to.Window == Window.Period && page.Gauge is { } gauge && at < gauge.Until) gauge.Until = Almanac.Billed(after.Cycle, after.Zone, at).End;
            }
        }
    }

    /// <summary>Gauges that stand past what is included from now on are billed, by their peak from now on where a period is over.</summary>
    public void Billed(IEnumerable<string> features, Instant at, PlanBook plans)
    {
        foreach (var feature in features)
        {
            var gauge = pages[feature].Gauge!;
            (gauge.Billed, gauge.Peak, gauge.Until) = (true, at < gauge.Until ? gauge.Peak : gauge.Value, Almanac.Billed(plans.Cycle, plans.Zone, at).End);
        }
    }

    /// <summary>After a change of plan or zone every running window ends where the calendar says.</summary>
    public void RequireInPlace(LedgerEvent e, Instant at, PlanBook plans)
    {
        foreach (var (feature, page) in pages)
            foreach (var tally in page.Open.Values)
                if (at < tally.End && tally.Window is Window.Month or Window.Period or Window.Day)
                {
                    var due = plans.Window(tally.Window, at);
                    Require(tally.End == due.End, $"After event {e.Version} the {tally.Window} of {feature} runs from {tally.Start} to {tally.End}, where it is {due}.");
                }
    }

    // ---- comparing

    public void Compare(State state)
    {
        Require(state.Usage.Length == pages.Count, $"{pages.Count} features were used by the books and {state.Usage.Length} in the state.");
        foreach (var use in state.Usage)
        {
            Require(pages.TryGetValue(use.Feature, out var page), $"{use.Feature} was not used by the books.");
            Require(use.Counters.Length == page!.Open.Count, $"{use.Feature} has {page.Open.Count} open windows by the books and {use.Counters.Length} in the state.");
            foreach (var counter in use.Counters)
            {
                Require(page.Open.TryGetValue(counter.Window, out var tally), $"{use.Feature} has no open {counter.Window} by the books.");
                Compare(use.Feature, counter, tally!);
            }
            Require(use.Past.Length == page.Closed.Count, $"{use.Feature} has {page.Closed.Count} closed windows by the books and {use.Past.Length} in the state.");
            for (var i = 0; i < use.Past.Length; i++) Compare(use.Feature, use.Past[i], page.Closed[i]);
            Require((use.Gauge is null) == (page.Gauge is null), $"{use.Feature} is a gauge in only one of books and state.");
            if (use.Gauge is { } gauge)
                Require(gauge.Value == page.Gauge!.Value && gauge.Peak == page.Gauge.Peak && gauge.PeakUntil == page.Gauge.Until && gauge.Billed == page.Gauge.Billed,
                    $"{use.Feature} stands at {page.Gauge.Value} with a peak of {page.Gauge.Peak} until {page.Gauge.Until}, billed {page.Gauge.Billed}, by the books; in the state {gauge}");
        }
        Require(state.Billing.BilledAt == billAt, $"Overage is to be billed at {billAt} by the books, and at {state.Billing.BilledAt} in the state.");
    }

    private static void Compare(string feature, Counter counter, Tally tally)
    {
        Require(counter.Start == tally.Start && counter.End == tally.End && counter.Used == tally.Used && counter.Allowance == tally.Allowance && counter.ByTokens == tally.ByTokens
            && counter.Overage == tally.Overage && counter.FirstVersion == tally.First && counter.LastVersion == tally.Last,
            $"{feature} by {tally.Window} from {tally.Start} to {tally.End}: used {tally.Used} = {tally.Allowance} + {tally.ByTokens} + {tally.Overage} (events {tally.First} to {tally.Last}) by the books; in the state {counter}");
        if (tally.Window != Window.Period) return;
        var stated = counter.Priced.Where(p => p.Units != 0 || p.Billed != 0).OrderBy(p => p.UnitPrice).Select(p => (p.UnitPrice, p.Units, p.Billed));
        var booked = tally.Priced.Where(p => p.Value != default).Select(p => (p.Key, p.Value.Units, p.Value.Billed));
        Require(stated.SequenceEqual(booked), $"{feature} is priced {string.Join(", ", booked)} by the books and {string.Join(", ", counter.Priced)} in the state.");
    }

    private static void Compare(string feature, PastWindow past, Tally tally) =>
        Require(past.Window == tally.Window && past.Start == tally.Start && past.End == tally.End && past.Carried == tally.Carried && past.Used == tally.Used && past.Allowance == tally.Allowance
            && past.ByTokens == tally.ByTokens && past.Overage == tally.Overage && past.Plan == tally.Plan && past.CatalogVersion == tally.CatalogVersion && past.Limit == tally.Limit
            && (tally.Window != Window.Period || past.Priced.Where(p => p.Units != 0).OrderBy(p => p.UnitPrice).Select(p => (p.UnitPrice, p.Units)).SequenceEqual(tally.Priced.Where(p => p.Value.Units != 0).Select(p => (p.Key, p.Value.Units)))),
            $"The closed {tally.Window} of {feature} from {tally.Start} to {tally.End}: used {tally.Used} = {tally.Allowance} + {tally.ByTokens} + {tally.Overage} under {tally.Plan} by the books; in the state {past}");
}
