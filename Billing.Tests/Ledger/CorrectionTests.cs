using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;

namespace Billing.Tests.Ledger;

public sealed class CorrectionTests
{
    internal const string Catalog = """
        {
          "fallback_plan": "free", "warn_at": [],
          "features": {
            "jobs":     { "name": "jobs", "type": "metered", "meter": { "unit": "job" }, "mode": "overage", "unit_price": "0.5" },
            "calls":    { "name": "calls", "type": "metered", "meter": { "unit": "call" }, "mode": "overage", "unit_price": "0.001" },
            "requests": { "name": "requests", "type": "metered", "meter": { "unit": "request", "window": "day" } },
            "mails":    { "name": "mails", "type": "metered", "meter": { "unit": "mail" }, "mode": "overage", "tiers": [{ "up_to": 10, "unit_price": "0.1" }, { "up_to": 20, "unit_price": "0.05" }, { "unit_price": "0.01" }] },
            "words":    { "name": "words", "type": "metered", "meter": { "unit": "word" }, "mode": "tokens", "token_cost": 2 },
            "minutes":  { "name": "minutes", "type": "metered", "meter": { "unit": "minute" }, "mode": "tokens_then_overage", "unit_price": "0.2" },
            "storage":  { "name": "GB of storage", "type": "metered", "meter": { "unit": "gb", "aggregation": "gauge" }, "mode": "overage", "unit_price": "0.1" },
            "seats":    { "name": "seats", "type": "metered", "meter": { "unit": "seat", "aggregation": "gauge" } }
          },
          "plans": {
            "free": { "name": "Free", "features": {
              "jobs": 10, "calls": 0, "requests": 5, "mails": 0, "words": 3, "minutes": 4, "storage": 50, "seats": 3 } },
            "big":  { "name": "Big", "features": {
              "jobs": 100, "calls": 0, "requests": 50, "mails": 0, "words": 30, "minutes": 40, "storage": 500, "seats": 30 } },
            "small": { "name": "Small", "features": { "jobs": { "allowance": 2, "mode": "block" }, "requests": { "allowance": 1, "window": "month" } } }
          },
          "token_packages": { "small": { "name": "Small", "tokens": 100, "prices": [{ "amount": 1000 }] } }
        }
        """;

    private static Instant Time(string time) => Api.TestApi.Time(time);

    private static UsageRecorded Record(Spec spec, int index = -1) => index < 0 ? spec.Events.OfType<UsageRecorded>().Last() : spec.Events.OfType<UsageRecorded>().ElementAt(index);

    internal static VoidUsage Void(Spec spec, UsageRecorded record, string? reason = null) =>
        New(new VoidUsage(record, reason) { Id = "", ContentHash = [], At = default, By = "key_1", History = [.. spec.Events] });

    internal static CorrectUsage Correct(Spec spec, UsageRecorded record, decimal quantity) =>
        New(new CorrectUsage(record, quantity, null) { Id = "", ContentHash = [], At = default, History = [.. spec.Events] });

    private static Counter Period(Spec spec, string feature) => spec.State.Use(feature)!.Running(Window.Period, spec.Now)!;

    private static List<InvoiceLine> Lines(Spec spec) => [.. spec.Events.OfType<LinesAdded>().SelectMany(e => e.Lines)];

    // ---- voids

    [Fact]
    public void a_voided_record_gives_back_what_it_took_and_entitlements_follow_at_once()
    {
        var spec = Opened(Catalog).Given(Use("requests", 3), Use("requests", 2));
        Assert.False(spec.Check("requests").HasAccess);

        var voided = spec.When(Void(spec, Record(spec, 0), "Counted twice")).Then<UsageVoided>();

        Assert.Equal(("ur_2", 3L, "Counted twice", "key_1"), (voided.Record, voided.Quantity, voided.Reason, voided.By));
        Assert.Equal((3L, 2L), (spec.Check("requests").Remaining, spec.Check("requests").Used));
        Assert.Equal(2, Period(spec, "requests").Used);
    }

    [Fact]
    public void a_record_is_voided_once()
    {
        var spec = Opened(Catalog).Given(Use("requests"));
        var record = Record(spec);
        spec.Given(Void(spec, record));

        spec.When(Void(spec, record)).ThenRejected(RejectionKind.UsageAlreadyVoided);
        spec.When(Correct(spec, record, 2)).ThenRejected(RejectionKind.UsageAlreadyVoided);
        Assert.Equal([2L], spec.State.Voided.AsEnumerable());
    }

    [Fact]
    public void freed_allowance_takes_over_other_overage_so_that_the_bill_is_what_it_would_have_been()
    {
        var spec = Opened(Catalog).Given(Use("jobs", 8), Use("jobs", 4), Use("jobs", 3));

        var voided = spec.When(Void(spec, Record(spec, 0))).Then<UsageVoided>();

        Assert.Equal((8L, 0L, 5L), (voided.Allowance, voided.Overage, voided.Shifted));
        Assert.Equal([new PricedUse(0.5m, 5)], voided.Priced!);
        var period = Period(spec, "jobs");
        Assert.Equal((7L, 7L, 0L), (period.Used, period.Allowance, period.Overage));
        Assert.Empty(period.Priced);
        Assert.Null(spec.State.Billing.BilledAt);
    }

    [Fact]
    public void a_record_whose_overage_was_taken_over_is_voided_also_where_the_earlier_record_did_not_count()
    {
        // One in a month; the second day has the second one as overage still when the first is taken back.
        var spec = Opened(Catalog, "small").Given(Use("requests")).At("2026-11-21T10:00:00Z").Given(Use("requests", enforce: false));
        spec.Given(Void(spec, Record(spec, 0)));

        spec.Given(Void(spec, Record(spec, 1)));

        Assert.All(spec.State.Use("requests")!.Counters, c => Assert.Equal((0L, 0L, 0L), (c.Used, c.Allowance, c.Overage)));
    }

    [Fact]
    public void of_graduated_tiers_the_top_ones_units_go_first()
    {
        var spec = Opened(Catalog).Given(Use("mails", 8), Use("mails", 15));

        spec.Given(Void(spec, Record(spec, 0)));

        // 15 mails: 10 at the first price, 5 at the second.
        Assert.Equal([new PricedUse(0.1m, 10), new PricedUse(0.05m, 5)], Period(spec, "mails").Priced.AsEnumerable());
    }

    [Fact]
    public void tokens_come_back_to_their_grants()
    {
        var spec = Opened(Catalog).Given(Grant(10, 10), Grant(100), Use("words", 20));
        Assert.Equal([0L, 76L], spec.State.Grants.Select(g => g.Remaining));

        var voided = spec.When(Void(spec, Record(spec))).Then<UsageVoided>();

        Assert.Equal([new TokenReturn("tg_2", 10, 0, 0), new TokenReturn("tg_3", 24, 0, 0)], voided.Returned!);
        Assert.Equal([10L, 100L], spec.State.Grants.Select(g => g.Remaining));
    }

    [Fact]
    public void tokens_of_a_grant_that_expired_are_reported_as_expired_and_not_revived()
    {
        var spec = Opened(Catalog).Given(Grant(10, expires: Time("2026-11-21T00:00:00Z")), Use("words", 6)).At("2026-11-22T00:00:00Z");

        var voided = spec.When(Void(spec, Record(spec))).Then<UsageVoided>();

        Assert.Equal([new TokenReturn("tg_2", 0, 6, 0)], voided.Returned!);
        var grant = spec.State.Grants.Single();
        Assert.Equal((0L, 10L, 0L), (grant.Remaining, grant.Expired, grant.Consumed));
        Assert.Equal(0, spec.Check("words").Tokens);
    }

    [Fact]
    public void tokens_whose_money_went_back_pay_the_debt_first()
    {
        var spec = Opened(Catalog).Given(Buy("small", "pi_1", 1000, Time("2026-11-20T09:00:00Z")), Use("words", 43));
        // 80 of 100 tokens are burned; the whole price goes back: 20 are revoked, 80 are owed.
        spec.Given(Return("pi_1", 1000));
        Assert.Equal(80, spec.State.Grants.Single().Debt);

        var voided = spec.When(Void(spec, Record(spec))).Then<UsageVoided>();

        Assert.Equal([new TokenReturn("tg_2", 0, 0, 80)], voided.Returned!);
        var grant = spec.State.Grants.Single();
        Assert.Equal((0L, 0L, 100L, 0L), (grant.Debt, grant.Remaining, grant.Revoked, grant.Consumed));
    }

    [Fact]
    public void in_a_closed_billing_period_a_void_is_a_credit_on_the_next_invoice_that_names_the_record()
    {
        var spec = Opened(Catalog).Given(Use("jobs", 8), Use("jobs", 9)).At("2026-12-03T00:00:00Z").Given(Use("jobs", 4));
        Assert.Equal(350, Lines(spec).Single().Amount);

        spec.Given(Void(spec, Record(spec, 1), "Failed jobs"));

        // Seven of nine were charged; the two others were in the allowance, and nothing else is left past it.
        var line = Lines(spec)[^1];
        Assert.Equal((LineKind.Adjustment, -350L, -7m, (decimal?)0.5m), (line.Kind, line.Amount, line.Quantity, line.UnitPrice));
        Assert.Equal("-7 jobs of 2026-11-01 to 2026-12-01, taken back", line.Description);
        Assert.Equal([Ids.UsageRecord(Record(spec, 1).Version)], line.Records!);
        Assert.Equal((Time("2026-11-01T00:00:00Z"), Time("2026-12-01T00:00:00Z")), (line.Start, line.End));
        Assert.Equal(line, spec.State.Billing.Pending.Single());
        // The running month is another one.
        Assert.Equal(4, spec.Check("jobs").Used);
    }

    [Fact]
    public void a_void_in_a_closed_period_of_what_was_in_the_allowance_gives_back_the_overage_that_it_frees()
    {
        var spec = Opened(Catalog).Given(Use("jobs", 8), Use("jobs", 9)).At("2026-12-03T00:00:00Z").Given(Void2(0));

        Assert.Equal((-350L, -7m), (Lines(spec)[^1].Amount, Lines(spec)[^1].Quantity));
        spec.Given(Void2(1));
        Assert.Equal(2, Lines(spec).Count);

        VoidUsage Void2(int index) => Void(Opened(Catalog), Record(Opened(Catalog).Given(Use("jobs", 8), Use("jobs", 9)), index));
    }

    [Fact]
    public void a_record_older_than_every_window_that_is_kept_is_credited_with_what_it_was_charged()
    {
        var spec = Opened(Catalog).Given(Use("jobs", 15)).At("2027-06-03T00:00:00Z").Given(Use("jobs", 1)).At("2027-07-03T00:00:00Z").Given(Use("jobs", 1));
        Assert.DoesNotContain(spec.State.Use("jobs")!.Past, p => p.Start < Time("2027-01-01T00:00:00Z"));

        spec.Given(Void(spec, Record(spec, 0)));

        Assert.Equal((-250L, -5m), (Lines(spec)[^1].Amount, Lines(spec)[^1].Quantity));
        Assert.Equal(1, spec.Check("jobs").Used);
    }

    [Fact]
    public void a_void_after_a_bill_within_the_period_is_given_back_by_the_periods_own_bill()
    {
        var spec = Opened(Catalog).Given(Use("jobs", 14)).Given(New(new CreateInvoice(false) { Id = "", ContentHash = [], At = default }));
        Assert.Equal(200, Lines(spec).Single().Amount);

        spec.Given(Void(spec, Record(spec, 0))).At("2026-12-01T00:00:01Z").Given(New(new WriteDue { Id = "", ContentHash = [], At = default }));

        Assert.Equal((LineKind.Overage, -200L), (Lines(spec)[^1].Kind, Lines(spec)[^1].Amount));
    }

    // ---- corrections

    [Fact]
    public void a_correction_takes_the_records_place_at_its_own_time()
    {
        var spec = Opened(Catalog).Given(Use("requests", 4)).After(Duration.FromHours(2));

        spec.When(Correct(spec, Record(spec), 2));

        var corrected = spec.Then<UsageRecorded>();
        Assert.Equal(("ur_2", 2L, Time("2026-11-20T10:00:00Z"), spec.Now), (corrected.Corrects, corrected.Quantity, corrected.EffectiveAt, corrected.RecordedAt));
        Assert.Equal(2, spec.Check("requests").Used);
        // What corrects can be corrected.
        Assert.Equal(3, spec.Given(Correct(spec, corrected, 3)).Check("requests").Used);
        spec.When(Correct(spec, corrected, 1)).ThenRejected(RejectionKind.UsageAlreadyVoided);
    }

    [Fact]
    public void a_correction_to_more_than_is_allowed_leaves_everything_as_it_was()
    {
        var spec = Opened(Catalog).Given(Use("requests", 4));
        var before = StateText.Of(spec.State);

        var denial = spec.When(Correct(spec, Record(spec), 6)).ThenRejected(RejectionKind.QuotaExceeded).Denial!;

        Assert.Equal((2L, 1L), (denial.Requested, denial.Remaining));
        Assert.Equal(before, StateText.Of(spec.State));
        Assert.Equal(5, spec.Given(Correct(spec, Record(spec), 5)).Check("requests").Used);
    }

    [Fact]
    public void a_correction_downwards_cannot_be_refused_whatever_the_plan_is_now()
    {
        var spec = Opened(Catalog).Given(Use("requests", 5), Plan("small"), Correct2(4));

        Assert.Equal(4, spec.Check("requests").Used);
        Assert.False(spec.Check("requests").HasAccess);

        CorrectUsage Correct2(decimal quantity) => Correct(Opened(Catalog), Record(Opened(Catalog).Given(Use("requests", 5))), quantity);
    }

    [Fact]
    public void a_correction_downwards_gives_overage_back_before_tokens_and_tokens_before_allowance()
    {
        var spec = Opened(Catalog).Given(Grant(6, 10), Grant(2), Use("minutes", 15));
        Assert.Equal((4L, 8L, 3L), (Record(spec).Allowance, Record(spec).ByTokens, Record(spec).Overage));

        spec.Given(Correct(spec, Record(spec), 11));
        Assert.Equal((4L, 7L, 0L), (Record(spec).Allowance, Record(spec).ByTokens, Record(spec).Overage));
        // The last grant that was burned gets its tokens back first.
        Assert.Equal([new GrantUse("tg_2", 6), new GrantUse("tg_3", 1)], Record(spec).Grants!);
        Assert.Equal([0L, 1L], spec.State.Grants.Select(g => g.Remaining));
        Assert.Empty(Period(spec, "minutes").Priced);

        spec.Given(Correct(spec, Record(spec), 3));
        Assert.Equal((3L, 0L, 0L), (Record(spec).Allowance, Record(spec).ByTokens, Record(spec).Overage));
        Assert.Equal([6L, 2L], spec.State.Grants.Select(g => g.Remaining));
        Assert.Equal(1, spec.Check("minutes").Remaining);
    }

    [Fact]
    public void a_correction_keeps_burned_tokens_of_a_grant_that_expired_and_writes_off_the_others()
    {
        var spec = Opened(Catalog).Given(Grant(10, expires: Time("2026-11-21T00:00:00Z")), Use("words", 8)).At("2026-11-22T00:00:00Z");

        spec.Given(Correct(spec, Record(spec), 5));

        var grant = spec.State.Grants.Single();
        Assert.Equal((4L, 6L, 0L), (grant.Consumed, grant.Expired, grant.Remaining));
        Assert.Equal([new GrantUse("tg_2", 4)], Record(spec).Grants!);
    }

    [Fact]
    public void a_correction_in_a_closed_period_is_one_line_that_names_both_records()
    {
        var spec = Opened(Catalog).Given(Use("jobs", 15)).At("2026-12-03T00:00:00Z");

        spec.Given(Correct(spec, Record(spec), 18));

        var line = Lines(spec)[^1];
        Assert.Equal((150L, 3m, "3 jobs of 2026-11-01 to 2026-12-01, corrected"), (line.Amount, line.Quantity, line.Description));
        Assert.Equal(["ur_2", Ids.UsageRecord(Record(spec).Version)], line.Records!);
        spec.Given(Correct(spec, Record(spec), 9));
        Assert.Equal((-400L, -8m), (Lines(spec)[^1].Amount, Lines(spec)[^1].Quantity));
    }

    [Fact]
    public void a_correction_to_the_same_quantity_changes_nothing()
    {
        var spec = Opened(Catalog).Given(Use("jobs", 3));
        spec.When(Correct(spec, Record(spec), 3)).ThenNothing();
        spec.When(Correct(spec, Record(spec), 0)).ThenRejected(RejectionKind.QuantityNotPositive);
        spec.When(Correct(spec, Record(spec), 1.5m)).ThenRejected(RejectionKind.QuantityTooPrecise);
    }

    // ---- gauges

    [Fact]
    public void a_voided_change_of_a_gauge_is_taken_back_from_its_value_and_its_peak()
    {
        var spec = Opened(Catalog).Given(Use("storage", 40), Use("storage", 1000), Use("storage", 22), Use("storage", -5));
        Assert.Equal((1057L, 1062L, true), (Gauge(spec).Value, Gauge(spec).Peak, Gauge(spec).Billed));

        spec.Given(Void(spec, Record(spec, 1)));
        Assert.Equal((57L, 62L, true), (Gauge(spec).Value, Gauge(spec).Peak, Gauge(spec).Billed));

        // Another one in the same period does not bring the first one back.
        spec.Given(Void(spec, Record(spec, 2)));
        Assert.Equal((35L, 40L, false), (Gauge(spec).Value, Gauge(spec).Peak, Gauge(spec).Billed));
        Assert.Null(spec.State.Billing.BilledAt);
    }

    [Fact]
    public void a_gauge_is_not_taken_below_zero()
    {
        var spec = Opened(Catalog).Given(Use("seats", 3), Use("seats", -2));

        spec.When(Void(spec, Record(spec, 0))).ThenRejected(RejectionKind.GaugeBelowZero);
        Assert.Equal(3, spec.Given(Void(spec, Record(spec, 1))).Check("seats").Used);
    }

    [Fact]
    public void a_corrected_gauge_moves_by_the_difference_and_never_stands_below_zero()
    {
        var spec = Opened(Catalog).Given(Use("seats", 3), Use("seats", -2), Correct2(2));
        Assert.Equal((0L, 2L), (Gauge(spec, "seats").Value, Gauge(spec, "seats").Peak));

        spec.When(Correct(spec, Record(spec, 1), -3)).ThenRejected(RejectionKind.GaugeBelowZero);
        spec.When(Correct(spec, Record(spec, 1), 2)).ThenRejected(RejectionKind.QuotaExceeded);
        Assert.Equal(1, spec.Given(Correct(spec, Record(spec, 1), -1)).Check("seats").Used);

        static CorrectUsage Correct2(decimal quantity)
        {
            var spec = Opened(Catalog).Given(Use("seats", 3), Use("seats", -2));
            return Correct(spec, Record(spec, 0), quantity);
        }
    }

    [Fact]
    public void every_period_that_was_billed_by_a_gauges_peak_is_credited_when_a_change_is_voided()
    {
        var spec = Opened(Catalog).Given(Use("storage", 60), Use("storage", 1000)).At("2026-12-15T00:00:00Z").Given(Use("storage", 2)).At("2027-01-15T00:00:00Z");

        spec.Given(Void(spec, Record(spec, 1)));

        // November's peak was 1,060 and December's 1,062, of which 50 are included; without it they were 60 and 62.
        Assert.Equal([(LineKind.Overage, 10_100L), (LineKind.Overage, 10_120L), (LineKind.Adjustment, -10_000L), (LineKind.Adjustment, -10_000L)], Lines(spec).Select(l => (l.Kind, l.Amount)));
        Assert.Equal("-1,000 GB of storage of 2026-11-01 to 2026-12-01, taken back", Lines(spec)[2].Description);
        Assert.Equal((62L, 62L), (Gauge(spec).Value, Gauge(spec).Peak));
    }

    private static Gauge Gauge(Spec spec, string feature = "storage") => spec.State.Use(feature)!.Gauge!;

    // ---- all of it

    /// <summary>Whatever was used, voided and corrected, in whatever order and however late: the numbers are those of who did it right at once.</summary>
    [Fact]
    public void after_voids_and_corrections_the_books_are_those_of_who_recorded_it_right_at_once()
    {
        for (var seed = 1; seed <= 400; seed++)
        {
            var random = new Random(seed);
            var feature = (string[])["jobs", "calls", "mails"] is var all ? all[seed % 3] : "";
            var start = Time("2026-11-20T10:00:00Z");
            var uses = Enumerable.Range(0, random.Next(3, 12)).Select(i => (Id: i, At: start + Duration.FromHours(random.Next(0, 20 * 24)), Quantity: random.Next(1, 12))).OrderBy(u => u.At).ToList();
            var final = uses.ToDictionary(u => u.Id, u => u.Quantity);
            var wrong = Opened(Catalog);
            var records = new Dictionary<int, UsageRecorded>();
            // Some are heard of only when all is over.
            var late = uses.Where(_ => random.Next(3) == 0).ToList();
            foreach (var use in uses.Except(late).Concat(late))
            {
                wrong.After(Duration.Max(use.At - wrong.Now, Duration.Zero)).Given(Use(feature, use.Quantity, late.Contains(use) ? use.At : null));
                records[use.Id] = Record(wrong);
            }
            for (var i = random.Next(1, 6); i > 0; i--)
            {
                var id = random.Next(uses.Count);
                wrong.After(Duration.FromHours(random.Next(0, 48)));
                if (final[id] == 0) continue;
                final[id] = random.Next(3) == 0 ? 0 : random.Next(1, 12);
                if (final[id] == 0) wrong.Given(Void(wrong, records[id]));
                else if (final[id] != records[id].Quantity)
                {
                    wrong.Given(Correct(wrong, records[id], final[id]));
                    records[id] = Record(wrong);
                }
            }

            var right = Opened(Catalog);
            foreach (var use in uses)
                if (final[use.Id] > 0) right.After(use.At - right.Now).Given(Use(feature, final[use.Id]));

            var end = New(new WriteDue { Id = "", ContentHash = [], At = default });
            foreach (var spec in (Spec[])[wrong, right]) spec.At("2027-02-01T00:00:00Z").Given(end);
            Assert.True(Totals(right, feature) == Totals(wrong, feature), $"Seed {seed}, {feature}: {Totals(right, feature)} became {Totals(wrong, feature)}.");
        }

        // What was billed, line by line or by adjustments, for each period, to the cent.
        static string Totals(Spec spec, string feature) => string.Join(", ", Lines(spec).Where(l => l.Feature == feature).GroupBy(l => l.Start).OrderBy(g => g.Key)
            .Select(g => (Start: g.Key, Amount: g.Sum(l => l.Amount))).Where(g => g.Amount != 0).Select(g => $"{g.Start}: {g.Amount}"));
    }
}
