using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;
using static Billing.Tests.Ledger.Subscribing;

namespace Billing.Tests.Ledger;

/// <summary>The ledger walks through changes of clocks, ends of months and changes of zones; an auditor reads its events alone.</summary>
public sealed class WindowWalkTests
{
    private const string Catalog = """
        {
          "fallback_plan": "free", "warn_at": [],
          "features": {
            "ticks":   { "name": "ticks", "type": "metered", "meter": { "unit": "tick", "window": "hour" }, "mode": "overage", "unit_price": "0.01" },
            "videos":  { "name": "videos", "type": "metered", "meter": { "unit": "video", "window": "day" }, "mode": "overage", "unit_price": "0.02" },
            "calls":   { "name": "calls", "type": "metered", "meter": { "unit": "call", "window": "month" }, "mode": "overage", "unit_price": "0.03" },
            "jobs":    { "name": "jobs", "type": "metered", "meter": { "unit": "job", "window": "period" }, "mode": "overage", "unit_price": "0.04" },
            "storage": { "name": "storage", "type": "metered", "meter": { "unit": "gb", "aggregation": "gauge" }, "mode": "overage", "unit_price": "0.1" }
          },
          "plans": {
            "free": { "name": "Free", "features": { "ticks": 2, "videos": 2, "calls": 2, "jobs": 2, "storage": 5 } },
            "pro":  { "name": "Pro", "prices": [{ "interval": "month", "amount": 3000 }, { "interval": "quarter", "amount": 8000 }, { "interval": "year", "amount": 30000 }],
                      "features": { "ticks": 3, "videos": 3, "calls": 3, "jobs": 3, "storage": 7 } }
          }
        }
        """;

    private static readonly string[] Sums = ["ticks", "videos", "calls", "jobs"];

    private static readonly string[] Zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"];

    private static Instant Time(string time) => Api.TestApi.Time(time);

    // ---- changes of clocks

    [Theory]
    [InlineData("Europe/Berlin", "2026-03-29T01:00:00Z", 23)]
    [InlineData("Europe/Berlin", "2026-10-25T01:00:00Z", 25)]
    [InlineData("America/New_York", "2026-03-08T07:00:00Z", 23)]
    [InlineData("America/New_York", "2026-11-01T06:00:00Z", 25)]
    [InlineData("Australia/Lord_Howe", "2026-04-04T15:00:00Z", 24.5)]
    [InlineData("Australia/Lord_Howe", "2026-10-03T15:30:00Z", 23.5)]
    [InlineData("Asia/Kathmandu", "2026-03-29T01:00:00Z", 24)]
    [InlineData("Asia/Kathmandu", "2026-10-25T01:00:00Z", 24)]
    [InlineData("UTC", "2026-03-29T01:00:00Z", 24)]
    [InlineData("UTC", "2026-10-25T01:00:00Z", 24)]
    public void every_hour_day_and_month_across_a_change_of_clocks_is_reset_once_with_all_that_was_used_in_it(string zone, string change, double hours)
    {
        var (tz, start, end) = (DateTimeZoneProviders.Tzdb[zone], Time(change) - Duration.FromDays(5), Time(change) + Duration.FromDays(40));
        var (spec, audit) = Opened(zone, start);
        // A use of everything every ten minutes around the change, and a few a day then, to the end of the month after it. Now and then the timer is first.
        for (var at = start; at < end; at += at < Time(change) + Duration.FromDays(3) ? Duration.FromMinutes(10) : Duration.FromMinutes(331))
        {
            Do(spec, audit, at, at.ToUnixTimeSeconds() % 7 == 0 ? [Turn()] : [.. Sums.Select(f => Use(f))]);
            // Just before and just at a local midnight.
            var midnight = TimeWindows.FirstInstant(tz, at.InZone(tz).Date.PlusDays(1));
            if (midnight - at < Duration.FromMinutes(10)) Do(spec, audit, midnight - Duration.FromMilliseconds(1), [Use("videos")]).Do(spec, audit, midnight, [Use("videos")]);
        }
        audit.Close(spec.State);

        // Days and hours follow one another without a gap, because there was use in each; the day of the change has its length.
        var days = audit.Closed("videos", Window.Day);
        Assert.Equal(days.Skip(1).Select(d => d.Start), days.SkipLast(1).Select(d => d.End));
        Assert.InRange(days.Count, 44, 46);
        Assert.Equal(Duration.FromHours(hours), days.Single(d => d.Contains(Time(change))) is var day ? day.End - day.Start : default);
        Assert.All(days.Skip(1), d => Assert.Equal(LocalTime.Midnight, d.Start.InZone(tz).TimeOfDay));
        var ticks = audit.Closed("ticks", Window.Hour).Where(h => h.End < Time(change) + Duration.FromDays(3)).ToList();
        Assert.InRange(ticks.Count, 8 * 24 - 1, 8 * 24);
        Assert.Equal(ticks.Skip(1).Select(h => h.Start), ticks.SkipLast(1).Select(h => h.End));
        // The calendar's month ended once or twice meanwhile, and was billed each time.
        Assert.Equal(audit.Closed("calls", Window.Month), audit.Closed("jobs", Window.Period));
        Assert.Equal(audit.Closed("calls", Window.Month).Select(m => m.End), audit.Billed("calls").Select(b => b.End));
    }

    // ---- ends of months

    public static TheoryData<BillingInterval> Intervals => [BillingInterval.Month, BillingInterval.Quarter, BillingInterval.Year];

    [Theory]
    [MemberData(nameof(Intervals))]
    public void from_every_anchor_at_the_end_of_a_month_four_years_are_renewed_reset_and_billed_once_a_month(BillingInterval interval)
    {
        var months = interval switch { BillingInterval.Year => 12, BillingInterval.Quarter => 3, _ => 1 };
        // Every month once, the leap year's February among them.
        foreach (var anchor in WindowTableTests.Anchors.Where(a => a >= Time("2027-03-01T00:00:00Z") && a < Time("2028-03-01T00:00:00Z")))
        {
            var (spec, audit) = Opened("Europe/Berlin", anchor);
            Do(spec, audit, anchor, [Start("pro", interval, trial: false), Gauge("storage", 9)]);
            var dice = new Random((int)anchor.ToUnixTimeSeconds());
            for (var n = 0; n < 48; n++)
            {
                var (from, to) = (WindowTableTests.Boundary(anchor, n), WindowTableTests.Boundary(anchor, n + 1));
                // At the first instant, somewhere within, and at the last; in some months the timer alone.
                if (n % 5 == 4) continue;
                var within = from + Duration.FromSeconds(dice.NextInt64(1, (long)(to - from).TotalSeconds));
                foreach (var at in (Instant[])[from, within, to - Duration.FromMilliseconds(1)]) Do(spec, audit, at, [Use("calls", 4), Use("jobs", 2)]);
            }
            var end = WindowTableTests.Boundary(anchor, 48);
            Do(spec, audit, end, [Turn()]);
            audit.Close(spec.State);

            var name = $"{interval} from {anchor}";
            Equal(Grid(0, 48 + months, months), audit.Base, $"{name}: the periods that were charged");
            Equal(Grid(0, 48, 1).Where((_, n) => n % 5 != 4), audit.Closed("calls", Window.Month), $"{name}: the months of calls");
            Equal(Grid(0, 48, months).Where(p => audit.WasUsed("jobs", p)), audit.Closed("jobs", Window.Period), $"{name}: the periods of jobs");
            Equal(Grid(0, 48, 1).Where((_, n) => n % 5 != 4), audit.Billed("calls"), $"{name}: the months that calls were billed for");
            // A gauge that stands past what is included is billed every month, without a word from anybody.
            Equal(Grid(0, 48, 1), audit.Billed("storage"), $"{name}: the months that the gauge was billed for");
            Assert.True(audit.Lines("storage").All(q => q == 2), name);

            IEnumerable<Bounds> Grid(int first, int last, int each)
            {
                for (var n = first; n < last; n += each) yield return new Bounds(WindowTableTests.Boundary(anchor, n), WindowTableTests.Boundary(anchor, n + each));
            }
        }
    }

    // ---- changes of zones, and of anchors

    [Fact]
    public void an_organization_that_changes_its_zone_has_no_window_skipped_overlapping_or_reset_or_billed_twice()
    {
        for (var seed = 1; seed <= 60; seed++) Wander(seed, subscribes: false);
    }

    [Fact]
    public void nor_does_one_whose_subscriptions_come_and_go_meanwhile()
    {
        for (var seed = 101; seed <= 160; seed++) Wander(seed, subscribes: true);
    }

    private static void Wander(int seed, bool subscribes)
    {
        var dice = new Random(seed);
        var at = Time("2026-01-30T22:00:00Z") + Duration.FromMinutes(dice.Next(500_000));
        var (spec, audit) = Opened(Zones[seed % Zones.Length], at);
        try
        {
            for (var step = 0; step < 400; step++)
            {
                // Days are what a zone moves, months what a subscription does.
                at += Duration.FromMinutes(dice.Next(1, dice.Next(4) == 0 ? 4_000 : 500) * (subscribes ? 6 : 1));
                Do(spec, audit, at, dice.Next(24) switch
                {
                    0 or 1 => [New(new ChangeTimeZone(Zones[dice.Next(Zones.Length)]) { Id = "", ContentHash = [], At = default })],
                    2 => [Turn()],
                    3 when subscribes => [spec.State.Subscriptions.Own is { Ended: false } ? Cancel(ChangeTime.Now) : Start("pro", (BillingInterval)dice.Next(3), trial: false)],
                    4 when subscribes && spec.State.Subscriptions.Own is { Ended: false } => [Change("pro", (BillingInterval)dice.Next(3), ChangeTime.Now)],
                    // Two features at a time, while the others rest: a window may begin long after the one before it ended.
                    var n => [Use(Sums[(n % 2 + step / 15) % 4], 1 + dice.Next(3))],
                });
            }
            audit.Close(spec.State);
        }
        catch (Exception e)
        {
            throw new InvalidOperationException($"Seed {seed}: {e.Message}", e);
        }
    }

    private static (Spec Spec, Audit Audit) Opened(string zone, Instant at)
    {
        var spec = new Spec(Catalogs(Catalog)).After(at - new Spec(Catalogs(Catalog)).Now);
        return (spec.Given(New(new OpenOrganization(zone, false, null) { Id = "", ContentHash = [], At = default })), new Audit());
    }

    private static void Equal(IEnumerable<Bounds> expected, IEnumerable<Bounds> found, string what)
    {
        var (e, f) = (expected.ToList(), found.ToList());
        for (var i = 0; i < Math.Max(e.Count, f.Count); i++)
            Assert.True(i < e.Count && i < f.Count && e[i] == f[i], $"{what}: number {i} is {(i < f.Count ? f[i] : "missing")} instead of {(i < e.Count ? e[i] : "none")}.");
    }

    private static Steps Do(Spec spec, Audit audit, Instant at, Command[] commands)
    {
        spec.After(at - spec.Now);
        foreach (var command in commands)
        {
            spec.Given(command);
            foreach (var e in spec.Wrote<LedgerEvent>()) audit.Take(e);
        }
        return default;
    }

    /// <summary>To write one step behind another.</summary>
    private readonly struct Steps
    {
        public Steps Do(Spec spec, Audit audit, Instant at, Command[] commands) => WindowWalkTests.Do(spec, audit, at, commands);
    }

    /// <summary>Adds up what events say, and judges each: which windows run, with how much in them, and what is on an invoice's line already.</summary>
    private sealed class Audit
    {
        private readonly Dictionary<(string Feature, Window Window), (Bounds Bounds, long Used)> running = [];
        private readonly Dictionary<(string Feature, Window Window), Instant> ended = [];
        private readonly Dictionary<(string Feature, Window Window), long> reset = [];
        private readonly List<(string Feature, Window Window, Bounds Bounds)> closed = [];
        private readonly List<(string Feature, Bounds Bounds, decimal Quantity)> billed = [];
        private readonly List<(string Feature, Instant At, long Quantity, long Overage)> used = [];

        public List<Bounds> Base { get; } = [];

        public List<Bounds> Closed(string feature, Window kind) => [.. closed.Where(c => c.Feature == feature && c.Window == kind).Select(c => c.Bounds)];

        public List<Bounds> Billed(string feature) => [.. billed.Where(b => b.Feature == feature).Select(b => b.Bounds)];

        public IEnumerable<decimal> Lines(string feature) => billed.Where(b => b.Feature == feature).Select(b => b.Quantity);

        public bool WasUsed(string feature, Bounds bounds) => used.Exists(u => u.Feature == feature && bounds.Contains(u.At));

        public void Take(LedgerEvent e)
        {
            switch (e)
            {
                case UsageRecorded { Gauge: null } x: Take(x); break;
                case QuotaReset x: foreach (var r in x.Resets) Take(x, r); break;
                case SubscriptionChanged { Moved: { } moved }: Array.ForEach(moved, m => Move(m, e)); break;
                case TimeZoneChanged { Moved: { } moved }: Array.ForEach(moved, m => Move(m, e)); break;
                case LinesAdded x: Array.ForEach(x.Lines, l => Take(l, e)); break;
            }
        }

        private void Take(UsageRecorded e)
        {
            foreach (var ((feature, kind), (bounds, _)) in running)
                Assert.True(bounds.End > e.RecordedAt, $"At {e.RecordedAt} the {kind} of {feature} that ended at {bounds.End} is not reset.");
            Assert.Contains(e.Windows!, w => w.Window == Window.Period);
            foreach (var window in e.Windows!)
            {
                var key = (e.Feature, window.Window);
                Assert.True(window.Bounds.Contains(e.EffectiveAt), $"Use at {e.EffectiveAt} counts in {window}.");
                if (!running.TryGetValue(key, out var run))
                {
                    Assert.True(window.Start >= ended.GetValueOrDefault(key, Instant.MinValue), $"{e.Feature}: {window} overlaps the one that ended at {ended.GetValueOrDefault(key)}.");
                    run = (window.Bounds, 0);
                }
                Assert.Equal(run.Bounds, window.Bounds);
                running[key] = (run.Bounds, run.Used + e.Quantity);
            }
            used.Add((e.Feature, e.EffectiveAt, e.Quantity, e.UnitPrice is null ? 0 : e.Overage));
        }

        private void Take(QuotaReset e, WindowReset r)
        {
            Assert.True(running.Remove((r.Feature, r.Window), out var run), $"{r} ended twice.");
            Assert.Equal((run.Bounds.Start, run.Bounds.End, run.Used), (r.Start, e.EffectiveAt, r.Used));
            ended[(r.Feature, r.Window)] = run.Bounds.End;
            reset[(r.Feature, r.Window)] = reset.GetValueOrDefault((r.Feature, r.Window)) + r.Used;
            closed.Add((r.Feature, r.Window, run.Bounds));
        }

        /// <summary>What was used goes along; the window that it goes into neither begins before this one nor is over.</summary>
        private void Move(CountedWindow to, LedgerEvent e)
        {
            foreach (var (key, run) in running.Where(r => r.Key.Window == to.Window).ToList())
            {
                Assert.True(to.Start >= run.Bounds.Start && to.Start <= e.EffectiveAt && to.End > e.EffectiveAt, $"At {e.EffectiveAt}, {run.Bounds} goes on as {to}.");
                running[key] = (to.Bounds, run.Used);
            }
        }

        private void Take(InvoiceLine line, LedgerEvent e)
        {
            if (line.Kind == LineKind.Base)
            {
                Assert.True(Base.Count == 0 || line.Start >= Base[^1].Start, $"Charged for {line.Start} after {Base.LastOrDefault()}.");
                Base.Add(new Bounds(line.Start, line.End));
            }
            if (line.Kind != LineKind.Overage) return;
            var before = billed.LastOrDefault(b => b.Feature == line.Feature);
            Assert.True(before.Feature is null || line.End > before.Bounds.End || line.End == before.Bounds.End && line.Quantity != 0, $"{line.Feature}: {line.Start} to {line.End} is billed after {before.Bounds}.");
            Assert.Equal(e.EffectiveAt, line.End);
            billed.Add((line.Feature!, new Bounds(line.Start, line.End), line.Quantity));
            if (line.Feature == "storage") return;
            // All the overage there was by then is on a line, and no unit of it on two.
            Assert.Equal(used.Where(u => u.Feature == line.Feature && u.At < line.End).Sum(u => u.Overage), billed.Where(b => b.Feature == line.Feature).Sum(b => b.Quantity));
        }

        /// <summary>Everything used is in a window that was reset or in one that runs, in each kind once; and what is on no line yet will be.</summary>
        public void Close(State state)
        {
            foreach (var (key, (bounds, count)) in running)
            {
                var counter = state.Use(key.Feature)!.Counters.Single(c => c.Window == key.Window);
                Assert.Equal((bounds.Start, bounds.End, count), (counter.Start, counter.End, counter.Used));
            }
            foreach (var key in running.Keys.Union(reset.Keys))
                Assert.Equal(used.Where(u => u.Feature == key.Feature).Sum(u => u.Quantity), running.GetValueOrDefault(key).Used + reset.GetValueOrDefault(key));
            foreach (var feature in used.Select(u => u.Feature).Distinct())
            {
                var open = state.Use(feature)!.Counters.Where(c => c.Window == Window.Period).Sum(c => c.Priced.Sum(p => p.Units - p.Billed));
                Assert.Equal(used.Where(u => u.Feature == feature).Sum(u => u.Overage), billed.Where(b => b.Feature == feature).Sum(b => b.Quantity) + open);
            }
        }
    }
}
