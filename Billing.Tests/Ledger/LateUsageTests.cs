using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;

namespace Billing.Tests.Ledger;

public sealed class LateUsageTests
{
    private const string Catalog = CorrectionTests.Catalog;

    private static Instant Time(string time) => Api.TestApi.Time(time);

    private static List<InvoiceLine> Lines(Spec spec) => [.. spec.Events.OfType<LinesAdded>().SelectMany(e => e.Lines)];

    private static PastWindow Past(Spec spec, string feature, Window window, string start) => spec.State.Use(feature)!.Past.Single(p => p.Window == window && p.Start == Time(start));

    [Fact]
    public void late_use_counts_in_the_day_in_which_it_happened_and_in_the_running_billing_period()
    {
        var spec = Opened(Catalog).Given(Use("requests", 3)).At("2026-11-22T12:00:00Z").Given(Use("requests", 1, Time("2026-11-20T23:59:59Z")));

        Assert.Equal(["day 2026-11-20T00:00:00Z", "month 2026-11-01T00:00:00Z", "period 2026-11-01T00:00:00Z"],
            spec.Then<UsageRecorded>().Windows!.Select(w => $"{Spelling.Of(w.Window)} {w.Start}"));
        Assert.Equal(4, Past(spec, "requests", Window.Day, "2026-11-20T00:00:00Z").Used);
        Assert.Equal(4, spec.State.Use("requests")!.Running(Window.Period, spec.Now)!.Used);
        Assert.Equal(5, spec.Check("requests").Remaining);
    }

    [Fact]
    public void late_use_is_denied_where_nothing_was_left_of_its_own_window()
    {
        var spec = Opened(Catalog).Given(Use("requests", 3)).At("2026-11-22T12:00:00Z").When(Use("requests", 3, Time("2026-11-20T12:00:00Z")));

        var denial = spec.ThenRejected(RejectionKind.QuotaExceeded).Denial!;
        Assert.Equal("This needs 3 requests, and 2 of 5 were left from 2026-11-20 00:00 UTC to 2026-11-21 00:00 UTC.", denial.Message);
        Assert.Equal((2L, (Instant?)null), (denial.Remaining, denial.ResetsAt));
        // A day in which nothing was used has its whole allowance left, once.
        spec.Given(Use("requests", 5, Time("2026-11-21T12:00:00Z"))).When(Use("requests", 1, Time("2026-11-21T13:00:00Z"))).ThenRejected(RejectionKind.QuotaExceeded);
        Assert.Equal(5, spec.Check("requests").Remaining);
    }

    [Fact]
    public void late_use_that_happened_whatever_the_limit_is_recorded_past_it()
    {
        var spec = Opened(Catalog).At("2026-11-22T12:00:00Z").Given(Use("requests", 7, Time("2026-11-20T12:00:00Z"), enforce: false));

        Assert.Equal((5L, 2L, true), (spec.Then<UsageRecorded>().Allowance, spec.Then<UsageRecorded>().Overage, spec.Then<UsageRecorded>().OverLimit));
    }

    [Fact]
    public void overage_of_a_closed_billing_period_is_a_line_on_the_next_invoice_that_names_the_record()
    {
        var spec = Opened(Catalog).Given(Use("jobs", 8)).At("2026-12-03T00:00:00Z").Given(Use("jobs", 1), Use("jobs", 5, Time("2026-11-25T00:00:00Z")));

        var recorded = spec.Then<UsageRecorded>();
        Assert.Equal((2L, 3L, (decimal?)0.5m), (recorded.Allowance, recorded.Overage, recorded.UnitPrice));
        var line = Lines(spec).Single();
        Assert.Equal((LineKind.Adjustment, 150L, 3m, "3 jobs of 2026-11-01 to 2026-12-01, reported late"), (line.Kind, line.Amount, line.Quantity, line.Description));
        Assert.Equal([Ids.UsageRecord(recorded.Version)], line.Records!);
        Assert.Null(recorded.BilledAt);
        Assert.Equal((1L, 9L), (spec.Check("jobs").Used, spec.Check("jobs").Remaining));
    }

    [Fact]
    public void fractions_of_a_cent_of_many_late_records_add_up()
    {
        var spec = Opened(Catalog).Given(Use("calls", 3)).At("2026-12-03T00:00:00Z");
        for (var i = 0; i < 40; i++) spec.Given(Use("calls", 1, Time("2026-11-25T00:00:00Z")));

        // 43 calls at a tenth of a cent: 4.3 cents.
        Assert.Equal(4, Lines(spec).Sum(l => l.Amount));
    }

    [Fact]
    public void graduated_tiers_go_on_where_the_closed_period_left_off()
    {
        var spec = Opened(Catalog).Given(Use("mails", 8)).At("2026-12-03T00:00:00Z").Given(Use("mails", 30)).Given(Use("mails", 5, Time("2026-11-25T00:00:00Z")));

        Assert.Equal([new PricedUse(0.1m, 2), new PricedUse(0.05m, 3)], spec.Then<UsageRecorded>().Tiers!);
        Assert.Equal(35, Lines(spec)[^1].Amount);
    }

    [Fact]
    public void late_use_burns_tokens_of_now()
    {
        var spec = Opened(Catalog).Given(Use("words", 3)).At("2026-12-03T00:00:00Z").Given(Grant(9)).Given(Use("words", 2, Time("2026-11-25T00:00:00Z")));

        Assert.Equal((0L, 2L), (spec.Then<UsageRecorded>().Allowance, spec.Then<UsageRecorded>().ByTokens));
        Assert.Equal(5, spec.Check("words").Tokens);
        spec.When(Use("words", 3, Time("2026-11-26T00:00:00Z"))).ThenRejected(RejectionKind.QuotaExceeded);
    }

    [Fact]
    public void the_plan_that_was_in_force_as_the_window_ended_says_what_was_left()
    {
        var spec = Opened(Catalog, plan: "big").Given(Use("requests", 1)).At("2026-11-21T12:00:00Z").Given(Plan("free")).At("2026-11-22T12:00:00Z");

        spec.Given(Use("requests", 49, Time("2026-11-20T12:00:00Z"))).When(Use("requests", 1, Time("2026-11-20T12:00:00Z"))).ThenRejected(RejectionKind.QuotaExceeded);
        Assert.Equal("big", spec.State.Use("requests")!.Past.Single(p => p.Window == Window.Day).Plan);
    }

    [Fact]
    public void an_override_that_held_as_the_window_ended_holds_for_late_use()
    {
        var spec = Opened(Catalog).Given(Use("requests", 1)).Given(New(new SetOverride("requests", 8, false, Time("2026-11-21T12:00:00Z"), false, null) { Id = "", ContentHash = [], At = default }))
            .At("2026-11-22T12:00:00Z");

        spec.Given(Use("requests", 7, Time("2026-11-20T12:00:00Z"))).When(Use("requests", 1, Time("2026-11-20T12:00:00Z"))).ThenRejected(RejectionKind.QuotaExceeded);
        Assert.Equal(8, Past(spec, "requests", Window.Day, "2026-11-20T00:00:00Z").Limit);
    }

    [Fact]
    public void what_was_used_before_the_anchor_moved_was_carried_over_and_late_use_of_then_is_too()
    {
        var spec = Opened(Catalog).Given(Use("jobs", 6)).At("2026-11-25T00:00:00Z").Given(Follow(Snapshot("2026-11-25T00:00:00Z", "2026-12-25T00:00:00Z")));
        Assert.Equal(6, spec.Check("jobs").Used);

        spec.Given(Use("jobs", 2, Time("2026-11-21T00:00:00Z")));
        Assert.Equal((8L, Time("2026-11-25T00:00:00Z")), (spec.Check("jobs").Used, spec.State.Use("jobs")!.Running(Window.Month, spec.Now)!.Start));
        // And a record from before the move is taken back where it counts now.
        Assert.Equal(2, spec.Given(CorrectionTests.Void(spec, spec.Events.OfType<UsageRecorded>().First())).Check("jobs").Used);

        // When that window has closed too, it is still the one.
        spec.At("2026-12-26T00:00:00Z").Given(Use("jobs", 1, Time("2026-11-22T00:00:00Z")));
        Assert.Equal(3, Past(spec, "jobs", Window.Month, "2026-11-25T00:00:00Z").Used);
    }

    [Fact]
    public void closed_windows_are_kept_for_late_use_and_no_longer()
    {
        var spec = Opened(Catalog).Given(Use("jobs", 6)).At("2026-12-25T10:00:00Z");

        spec.Given(Use("jobs", 1, Time("2026-11-20T10:00:00Z"))).After(Duration.FromSeconds(1));
        var rejection = spec.When(Use("jobs", 1, Time("2026-11-20T10:00:00Z"))).ThenRejected(RejectionKind.WindowClosed);
        Assert.Equal("The timestamp lies in a window that is closed for good. Use is taken from 2026-11-20T10:00:01Z on: late use at most 35 days old.", rejection.Message);
        spec.At("2027-03-01T00:00:00Z").Given(Use("jobs", 1)).At("2027-06-01T00:00:00Z").Given(Use("jobs", 1));
        Assert.All(spec.State.Use("jobs")!.Past, p => Assert.True(p.End > Time("2027-02-01T00:00:00Z")));
    }

    [Fact]
    public void where_windows_were_dropped_nobody_knows_what_was_left_and_late_use_is_refused()
    {
        const string hourly = """
            {
              "fallback_plan": "free",
              "features": { "pings": { "name": "pings", "type": "metered", "meter": { "unit": "ping", "window": "hour" } } },
              "plans": { "free": { "name": "Free", "features": { "pings": 5 } } }
            }
            """;
        var spec = Opened(hourly);
        for (var i = 0; i < 70; i++) spec.Given(Use("pings", 5)).After(Duration.FromHours(1));

        Assert.Equal(PastWindows.MaxKept, spec.State.Use("pings")!.Past.Count(p => p.Window == Window.Hour));
        spec.When(Use("pings", 1, Time("2026-11-20T12:30:00Z"))).ThenRejected(RejectionKind.WindowClosed);
        spec.When(Use("pings", 1, Time("2026-11-21T12:30:00Z"))).ThenRejected(RejectionKind.QuotaExceeded);
    }

    [Fact]
    public void a_gauge_has_no_closed_windows_to_count_in()
    {
        var rejection = Opened(Catalog).Given(Gauge("seats", 1)).At("2026-12-01T00:00:00Z").When(Use("seats", 1, Time("2026-11-30T00:00:00Z"))).ThenRejected(RejectionKind.WindowClosed);

        Assert.Contains("a gauge stands where it stands now", rejection.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void late_use_is_due_at_no_time_but_its_running_windows()
    {
        var spec = Opened(Catalog).At("2026-12-03T00:00:00Z").Given(Use("requests", 1, Time("2026-11-25T00:00:00Z")));

        Assert.Null(spec.State.DueAt);
        Assert.Equal(Decider.NextDue(spec.State), spec.State.DueAt);
    }

    private static Subscription Snapshot(string start, string end) => new(
        "sub_1", "free", 0, SubscriptionStatus.Active, BillingInterval.Month, Time(start), Time(start), Time(end), Time(start), null, false, null, null, null, "cus_1",
        new SnapshotOrder(Time(start), SnapshotRank.Created, "evt_1"));
}
