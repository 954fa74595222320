using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Simulation.Audit;

namespace Billing.Tests.Simulation;

/// <summary>The auditor's book of use: what was used in every window that there ever was, and what covered it.</summary>
internal sealed class UsageBook
{
    /// <summary>One window of one feature. Used is what the other three add up to; it is never written down.</summary>
    internal sealed class Tally
    {
        public required Window Window;
        public required Instant Start, End;
        public long Allowance, ByTokens, Overage, First, Last;

        /// <summary>Priced overage by unit price: how many units, and how many of them are on a line.</summary>
        public readonly SortedDictionary<decimal, (long Units, long Billed)> Priced = [];

        public long Used => Allowance + ByTokens + Overage;
    }

    internal sealed class Level
    {
        public long Value, Peak;
        public Instant Until;
    }

    internal sealed class Page
    {
        public readonly SortedDictionary<Window, Tally> Open = [];
        public Level? Gauge;
    }

    private readonly Dictionary<string, Page> pages = [];

    // ---- reading

    public Tally? Open(string feature, Window window, Instant now) =>
        pages.GetValueOrDefault(feature)?.Open.GetValueOrDefault(window) is { } tally && now < tally.End ? tally : null;

    public long Used(string feature, Window window, Instant now) => Open(feature, window, now)?.Used ?? 0;

    public long Gauge(string feature) => pages.GetValueOrDefault(feature)?.Gauge?.Value ?? 0;

    public Instant? NextDue() => pages.Values.SelectMany(p => p.Open.Values).Where(t => t.End != Almanac.Never).Select(t => (Instant?)t.End).Min();

    public void RequireNothingOverdue(Instant now)
    {
        foreach (var (feature, page) in pages)
            foreach (var tally in page.Open.Values)
                Require(now < tally.End, $"The {tally.Window} window of {feature} ended at {tally.End} and is open at {now}.");
    }

    // ---- taking events

    public void Take(UsageRecorded e, PlanBook plans)
    {
        Require(e.Quantity == e.Allowance + e.ByTokens + e.Overage, $"Event {e.Version}: {e.Quantity} is not covered by {e.Allowance} + {e.ByTokens} + {e.Overage}.");
        if (!pages.TryGetValue(e.Feature, out var page)) pages[e.Feature] = page = new Page();
        if (e.Gauge is { } value)
        {
            Move(e, page, value);
            return;
        }
        Require(e.Quantity > 0 && e.Allowance >= 0 && e.ByTokens >= 0 && e.Overage >= 0, $"Event {e.Version} uses less than nothing.");
        foreach (var window in e.Windows ?? [])
        {
            if (!page.Open.TryGetValue(window.Window, out var tally))
            {
                var due = plans.Window(window.Window, e.RecordedAt);
                Require(window == due, $"Event {e.Version} counts in {window}; the window is {due}.");
                page.Open[window.Window] = tally = new Tally { Window = window.Window, Start = window.Start, End = window.End, First = e.Version };
            }
            Require(tally.Start == window.Start && tally.End == window.End, $"Event {e.Version} counts in {window}, while the open one is {tally.Start} to {tally.End}.");
            tally.Allowance += e.Allowance;
            tally.ByTokens += e.ByTokens;
            tally.Overage += e.Overage;
            tally.Last = e.Version;
            if (window.Window != Window.Period) continue;
            if (e.UnitPrice is { } price && e.Overage > 0) Price(tally, price, e.Overage);
            foreach (var tier in e.Tiers ?? []) Price(tally, tier.UnitPrice, tier.Units);
        }
    }

    private static void Price(Tally tally, decimal price, long units)
    {
        var (before, billed) = tally.Priced.GetValueOrDefault(price);
        tally.Priced[price] = (before + units, billed);
    }

    private static void Move(UsageRecorded e, Page page, long value)
    {
        var gauge = page.Gauge ??= new Level { Until = Instant.MinValue };
        Require(gauge.Value + e.Quantity == value && value >= 0, $"Event {e.Version} moves a gauge from {gauge.Value} by {e.Quantity} to {value}.");
        Require(e.Windows is [{ Window: Window.Period } only] && only.Bounds.Contains(e.RecordedAt), $"Event {e.Version} has no billing period that is running.");
        if (gauge.Until != e.Windows![0].End) gauge.Peak = gauge.Value;
        (gauge.Value, gauge.Peak, gauge.Until) = (value, Math.Max(gauge.Peak, value), e.Windows[0].End);
    }

    public void Take(QuotaReset e)
    {
        Require(e.Resets.Length > 0, $"Event {e.Version} resets nothing.");
        foreach (var reset in e.Resets)
        {
            var open = pages.GetValueOrDefault(reset.Feature)?.Open ?? [];
            Require(open.TryGetValue(reset.Window, out var tally) && tally.Start == reset.Start, $"Event {e.Version} resets a {reset.Window} of {reset.Feature} from {reset.Start} that is not open.");
            Require(tally!.End == e.EffectiveAt, $"Event {e.Version} resets at {e.EffectiveAt} the {reset.Window} of {reset.Feature} that ends at {tally.End}.");
            Require(reset.Used == tally.Used && reset.Allowance == tally.Allowance && reset.ByTokens == tally.ByTokens && reset.Overage == tally.Overage,
                $"Event {e.Version} says {reset}; by the books used {tally.Used} = {tally.Allowance} + {tally.ByTokens} + {tally.Overage}.");
            open.Remove(reset.Window);
        }
    }

    /// <summary>The running windows go on with other bounds and all that was used in them.</summary>
    public void Move(LedgerEvent e, CountedWindow[] moved, PlanBook after)
    {
        foreach (var to in moved)
        {
            var due = after.Window(to.Window, e.RecordedAt);
            Require(to == due, $"Event {e.Version} moves windows to {to}; they are {due} now.");
            foreach (var page in pages.Values)
            {
                if (page.Open.TryGetValue(to.Window, out var tally)) (tally.Start, tally.End) = (to.Start, to.End);
                if (to.Window == Window.Period && page.Gauge is { } gauge && e.RecordedAt < gauge.Until) gauge.Until = to.End;
            }
        }
    }

    /// <summary>After a change of plan or zone every running window is where the calendar says.</summary>
    public void RequireInPlace(LedgerEvent e, PlanBook plans)
    {
        foreach (var (feature, page) in pages)
            foreach (var tally in page.Open.Values)
                if (e.RecordedAt < tally.End && tally.Window is Window.Month or Window.Period or Window.Day)
                {
                    var due = plans.Window(tally.Window, e.RecordedAt);
                    Require(tally.Start == due.Start && tally.End == due.End, $"After event {e.Version} the {tally.Window} of {feature} runs from {tally.Start} to {tally.End}, where it is {due}.");
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
            Require((use.Gauge is null) == (page.Gauge is null), $"{use.Feature} is a gauge in only one of books and state.");
            if (use.Gauge is { } gauge)
                Require(gauge.Value == page.Gauge!.Value && gauge.Peak == page.Gauge.Peak && gauge.PeakUntil == page.Gauge.Until,
                    $"{use.Feature} stands at {page.Gauge.Value} with a peak of {page.Gauge.Peak} until {page.Gauge.Until} by the books; in the state {gauge}");
        }
    }

    private static void Compare(string feature, Counter counter, Tally tally)
    {
        Require(counter.Start == tally.Start && counter.End == tally.End && counter.Used == tally.Used && counter.Allowance == tally.Allowance && counter.ByTokens == tally.ByTokens
            && counter.Overage == tally.Overage && counter.FirstVersion == tally.First && counter.LastVersion == tally.Last,
            $"{feature} by {tally.Window} from {tally.Start} to {tally.End}: used {tally.Used} = {tally.Allowance} + {tally.ByTokens} + {tally.Overage} (events {tally.First} to {tally.Last}) by the books; in the state {counter}");
        if (tally.Window != Window.Period) return;
        Require(counter.Priced.Length == tally.Priced.Count, $"{feature} has {tally.Priced.Count} prices by the books and {counter.Priced.Length} in the state.");
        foreach (var priced in counter.Priced)
        {
            Require(tally.Priced.TryGetValue(priced.UnitPrice, out var booked) && booked.Units == priced.Units && booked.Billed == priced.Billed,
                $"{feature} at {priced.UnitPrice}: {tally.Priced.GetValueOrDefault(priced.UnitPrice)} by the books, {priced.Units} of which {priced.Billed} are billed in the state.");
        }
    }
}
