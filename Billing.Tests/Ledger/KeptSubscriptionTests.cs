using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;
using static Billing.Tests.Ledger.Subscribing;

namespace Billing.Tests.Ledger;

/// <summary>Subscriptions that the ledger keeps: what starts, changes and ends them, and what the clock does to them.</summary>
public sealed class KeptSubscriptionTests
{
    private const string Catalog = """
        {
          "fallback_plan": "free", "grace_days": 3,
          "features": {
            "calls":   { "name": "calls", "type": "metered", "meter": { "unit": "call" } },
            "jobs":    { "name": "jobs", "type": "metered", "meter": { "unit": "job" }, "mode": "overage", "unit_price": "0.5" },
            "storage": { "name": "GB of storage", "type": "metered", "meter": { "unit": "GB", "aggregation": "gauge" }, "mode": "overage", "unit_price": "2" }
          },
          "plans": {
            "free":   { "name": "Free", "prices": [{ "interval": "month", "amount": 0 }], "features": { "calls": 100, "jobs": { "allowance": 1, "mode": "block" }, "storage": { "allowance": 100, "mode": "block" } } },
            "pro":    { "name": "Pro", "prices": [{ "interval": "month", "amount": 3000 }, { "interval": "year", "amount": 30000 }, { "interval": "month", "currency": "eur", "amount": 2800 }],
                        "trial_days": 14, "features": { "calls": 1000, "jobs": 10, "storage": 50 } },
            "max":    { "name": "Max", "prices": [{ "interval": "month", "amount": 9000 }, { "interval": "quarter", "amount": 24000 }], "features": { "calls": 10000, "jobs": 100, "storage": 500 } },
            "carded": { "name": "Carded", "prices": [{ "interval": "month", "amount": 2000 }], "trial_days": 7, "trial_requires_payment_method": true, "features": { "calls": 500 } },
            "secret": { "name": "Secret", "prices": [{ "interval": "month", "amount": 100 }], "invite_only": true, "features": { "calls": "unlimited" } },
            "acmes":  { "name": "Made for acme", "prices": [{ "interval": "month", "amount": 1 }], "custom_for": "acme", "features": { "calls": 700 } },
            "others": { "name": "Made for other", "prices": [{ "interval": "month", "amount": 1 }], "custom_for": "other", "features": { "calls": "unlimited" } }
          }
        }
        """;

    private static Instant Time(string time) => Api.TestApi.Time(time);

    private static Spec Subscribed(string plan = "pro", string at = "2026-11-20T10:00:00Z") => Opened(Catalog, at: at).Given(Start(plan, trial: false));

    private static Subscription Own(Spec spec) => spec.State.Subscriptions.Own!;

    private static IEnumerable<SubscriptionChange?> Changes(Spec spec) => spec.Events.OfType<SubscriptionChanged>().Select(e => e.Change);

    private static IEnumerable<(string, long)> Lines(Spec spec) => spec.Events.OfType<LinesAdded>().SelectMany(e => e.Lines).Select(l => (l.Description, l.Amount));

    private static IEnumerable<long> Totals(Spec spec) => spec.Events.OfType<InvoiceCreated>().Select(e => e.Total);

    // ---- starting

    [Fact]
    public void a_subscription_starts_now_and_its_first_period_is_invoiced_at_once()
    {
        var spec = Subscribed();

        var own = Own(spec);
        Assert.Equal(("ls_2", "pro", SubscriptionStatus.Active), (own.Id, own.Plan, own.Status));
        Assert.Equal((Time("2026-11-20T10:00:00Z"), Time("2026-12-20T10:00:00Z")), (own.PeriodStart, own.PeriodEnd));
        Assert.Equal([("Pro (monthly)", 3000L)], Lines(spec));
        Assert.Equal([3000L], Totals(spec));
        Assert.Equal(PlanSource.Subscription, spec.InForce.Source);
        var started = spec.Events.OfType<SubscriptionChanged>().Single();
        Assert.Equal((SubscriptionChange.Started, "key_1"), (started.Change, started.By));
    }

    [Fact]
    public void a_subscription_in_another_currency_is_charged_in_it()
    {
        var spec = Opened(Catalog).Given(Start("pro", trial: false, currency: "eur")).At("2026-12-20T10:00:00Z").Given(Turn());

        Assert.Equal([(2800L, "eur"), (2800L, "eur")], spec.Events.OfType<InvoiceCreated>().Select(i => (i.Total, i.Currency)));
        spec.When(Change("max")).ThenRejected(RejectionKind.PriceUnknown);
    }

    [Fact]
    public void a_plan_that_costs_nothing_is_kept_without_invoices()
    {
        var spec = Opened(Catalog).Given(Start("free")).At("2027-02-20T10:00:00Z").Given(Turn());

        Assert.Equal((SubscriptionStatus.Active, Time("2027-03-20T10:00:00Z")), (Own(spec).Status, Own(spec).PeriodEnd));
        Assert.Empty(Totals(spec));
    }

    [Fact]
    public void what_cannot_be_started_says_why()
    {
        var spec = Opened(Catalog);
        spec.When(Start("nothing")).ThenRejected(RejectionKind.PlanUnknown);
        // Another organization's plan does not exist here.
        spec.When(Start("others")).ThenRejected(RejectionKind.PlanUnknown);
        Assert.Contains("It has: month in usd, year in usd, month in eur", spec.When(Start("pro", BillingInterval.Quarter)).ThenRejected(RejectionKind.PriceUnknown).Message, StringComparison.Ordinal);
        spec.When(Start("pro", currency: "jpy")).ThenRejected(RejectionKind.PriceUnknown);
        spec.When(Start("max", trial: true)).ThenRejected(RejectionKind.NoTrial);
        spec.When(Start("carded", paymentMethod: false)).ThenRejected(RejectionKind.PaymentMethodRequired);
        spec.When(Start("secret")).ThenRejected(RejectionKind.InviteOnly);
        spec.Given(New(new InviteToPlan("secret") { Id = "", ContentHash = [], At = default }), Start("secret"));
        spec.When(Start("pro")).ThenRejected(RejectionKind.SubscriptionExists);
    }

    [Fact]
    public void a_subscription_takes_the_place_of_an_operators_plan_and_an_operators_plan_of_a_subscription_even_at_the_same_instant()
    {
        var spec = Opened(Catalog, plan: "max").Given(Plan("max"), Start("pro", trial: false));
        Assert.Equal("pro", spec.InForce.Plan!.Id);

        spec.Given(Plan("max"));
        Assert.Equal(("max", PlanSource.Operator), (spec.InForce.Plan!.Id, spec.InForce.Source));
        // It goes on being charged, and what it renews to gives no access of its own.
        spec.At("2026-12-20T10:00:00Z").Given(Turn());
        Assert.Equal("max", spec.InForce.Plan!.Id);
        Assert.Equal([3000L, 3000L], Totals(spec));
    }

    // ---- trials

    [Fact]
    public void a_trial_charges_nothing_and_its_first_paid_period_begins_where_it_ends()
    {
        var spec = Opened(Catalog).Given(Start("pro"));
        Assert.Equal((SubscriptionStatus.Trialing, Time("2026-12-04T10:00:00Z")), (Own(spec).Status, Own(spec).TrialEnd!.Value));
        Assert.Equal("pro", spec.InForce.Plan!.Id);
        Assert.Empty(Lines(spec));

        spec.At("2026-12-04T10:00:00Z").Given(Turn());

        Assert.Equal((SubscriptionStatus.Active, Time("2026-12-04T10:00:00Z"), Time("2027-01-04T10:00:00Z")), (Own(spec).Status, Own(spec).PeriodStart, Own(spec).PeriodEnd));
        Assert.Equal([SubscriptionChange.TrialStarted, SubscriptionChange.Converted], Changes(spec));
        Assert.Equal("clock", spec.Events.OfType<SubscriptionChanged>().Last().By);
        Assert.Equal([3000L], Totals(spec));
    }

    [Fact]
    public void a_trial_without_a_payment_method_falls_back_when_it_ends_and_one_that_is_given_in_time_converts()
    {
        var spec = Opened(Catalog).Given(Start("pro", paymentMethod: false)).At("2026-12-04T09:59:59Z");
        Assert.Equal("pro", spec.InForce.Plan!.Id);
        // The clock has ended it, whether that is written yet or not.
        Assert.Equal(("free", SubscriptionStatus.Canceled), (spec.At("2026-12-04T10:00:00Z").InForce.Plan!.Id, spec.InForce.Subscription!.Status));
        spec.Given(Turn());
        Assert.Equal(("free", SubscriptionStatus.Canceled), (spec.InForce.Plan!.Id, Own(spec).Status));
        Assert.Equal([SubscriptionChange.TrialStarted, SubscriptionChange.TrialEnded], Changes(spec));
        Assert.Empty(Totals(spec));

        spec = Opened(Catalog).Given(Start("pro", paymentMethod: false)).At("2026-12-03T00:00:00Z").Given(PaymentMethod(true)).At("2026-12-04T10:00:00Z").Given(Turn());
        Assert.Equal([SubscriptionChange.TrialStarted, SubscriptionChange.PaymentMethodChanged, SubscriptionChange.Converted], Changes(spec));
        spec.When(PaymentMethod(true)).ThenNothing();
    }

    [Fact]
    public void there_is_one_trial_for_an_organization_wherever_it_was()
    {
        var spec = Opened(Catalog).Given(Start("pro"), Cancel(ChangeTime.Now));
        spec.When(Start("carded", trial: true)).ThenRejected(RejectionKind.TrialUsed);
        spec.Given(Start("carded"));
        Assert.Equal([2000L], Totals(spec));

        var atStripe = new Subscription("sub_1", "pro", 0, SubscriptionStatus.Canceled, BillingInterval.Month, Time("2026-11-01T00:00:00Z"), Time("2026-11-01T00:00:00Z"), Time("2026-11-15T00:00:00Z"),
            null, Time("2026-11-15T00:00:00Z"), false, null, null, Time("2026-11-15T00:00:00Z"), "cus_1", new SnapshotOrder(Time("2026-11-15T00:00:00Z"), SnapshotRank.Deleted, "evt_1"));
        Opened(Catalog).Given(Follow(atStripe)).When(Start("pro", trial: true)).ThenRejected(RejectionKind.TrialUsed);
    }

    [Fact]
    public void a_change_within_a_trial_costs_nothing_and_the_trial_goes_on()
    {
        var spec = Opened(Catalog).Given(Start("pro")).At("2026-11-25T00:00:00Z").Given(Change("max"));

        Assert.Equal(("max", SubscriptionStatus.Trialing, Time("2026-12-04T10:00:00Z")), (spec.InForce.Plan!.Id, Own(spec).Status, Own(spec).PeriodEnd));
        Assert.Empty(Lines(spec));
        spec.At("2026-12-04T10:00:00Z").Given(Turn());
        Assert.Equal([("Max (monthly)", 9000L)], Lines(spec));

        Opened(Catalog).Given(Start("pro", paymentMethod: false)).When(Change("carded", when: ChangeTime.Now)).ThenRejected(RejectionKind.PaymentMethodRequired);
    }

    [Fact]
    public void a_trial_that_is_cancelled_gives_access_until_it_ends_and_is_never_charged()
    {
        var spec = Opened(Catalog).Given(Start("pro")).At("2026-11-25T00:00:00Z").Given(Cancel(ChangeTime.PeriodEnd));

        Assert.Equal("pro", spec.At("2026-12-04T09:59:59Z").InForce.Plan!.Id);
        Assert.Equal("free", spec.At("2026-12-04T10:00:00Z").InForce.Plan!.Id);
        spec.Given(Turn());
        Assert.Equal([SubscriptionChange.TrialStarted, SubscriptionChange.CancelScheduled, SubscriptionChange.Canceled], Changes(spec));
        Assert.Empty(Lines(spec));
    }

    // ---- renewing

    [Fact]
    public void periods_follow_the_anchor_so_that_the_31st_comes_back()
    {
        var spec = Subscribed(at: "2027-12-31T23:30:00Z").At("2028-06-30T23:30:00Z").Given(Turn());

        Assert.Equal(["2028-01-31T23:30:00Z", "2028-02-29T23:30:00Z", "2028-03-31T23:30:00Z", "2028-04-30T23:30:00Z", "2028-05-31T23:30:00Z", "2028-06-30T23:30:00Z"],
            spec.Events.OfType<SubscriptionChanged>().Skip(1).Select(e => e.Followed!.PeriodStart.ToString()));
        Assert.All(spec.Events.OfType<SubscriptionChanged>().Skip(1), e => Assert.Equal((SubscriptionChange.Renewed, e.Followed!.PeriodStart), (e.Change!.Value, e.EffectiveAt)));
        Assert.Equal(7, Totals(spec).Count());
        Assert.Equal(Time("2028-07-31T23:30:00Z"), Own(spec).PeriodEnd);
        // The invoice is of the day on which it was due, however late it is written.
        Assert.Equal("INV-2028-02-acme", spec.Events.OfType<InvoiceFinalized>().ElementAt(2).Number);
    }

    [Fact]
    public void a_month_that_turned_is_written_once_and_use_counts_against_the_new_one()
    {
        var spec = Subscribed().Given(Use("calls", 900)).At("2026-12-20T10:00:00Z");
        Assert.Equal(0, spec.Check("calls").Used);

        spec.Given(Use("calls", 40), Turn());

        Assert.Equal((40L, Time("2027-01-20T10:00:00Z")), (spec.Check("calls").Used, spec.Check("calls").ResetsAt!.Value));
        Assert.Single(spec.Events.OfType<QuotaReset>());
        Assert.Equal(2, Totals(spec).Count());
    }

    // ---- changing

    [Fact]
    public void an_upgrade_counts_at_once_and_its_rest_of_the_period_goes_onto_the_next_invoice()
    {
        // 10 of 30 days are left: 3000 × 1/3 comes back, 9000 × 1/3 is charged.
        var spec = Subscribed(at: "2026-11-01T00:00:00Z").Given(Use("calls", 900)).At("2026-11-21T00:00:00Z").Given(Change("max"));

        Assert.Equal((10000L, 900L, 9100L), (spec.Check("calls").Limit, spec.Check("calls").Used, spec.Check("calls").Remaining));
        Assert.Equal([("Pro (monthly)", 3000L), ("Unused time on Pro from 2026-11-21", -1000L), ("Remaining time on Max from 2026-11-21", 3000L)], Lines(spec));
        Assert.Equal([3000L], Totals(spec));
        spec.At("2026-12-01T00:00:00Z").Given(Turn());
        Assert.Equal([3000L, 2000L + 9000L], Totals(spec));
        Assert.Equal(SubscriptionChange.Upgraded, Changes(spec).ElementAt(1));
    }

    [Fact]
    public void what_comes_back_is_what_was_charged_not_what_the_list_says()
    {
        var spec = Subscribed(at: "2026-11-01T00:00:00Z")
            .At("2026-11-21T00:00:00Z").Given(Change("max"))
            // Half of the 3000 that were charged for ten days.
            .At("2026-11-26T00:00:00Z").Given(Change("pro", when: ChangeTime.Now, proration: ProrationMode.InvoiceNow));

        Assert.Equal([("Unused time on Max from 2026-11-26", -1500L), ("Remaining time on Pro from 2026-11-26", 500L)], Lines(spec).Skip(3));
        Assert.Equal([3000L, -1000L + 3000L - 1500L + 500L], Totals(spec));
        Assert.Equal(SubscriptionChange.Downgraded, Changes(spec).Last());
    }

    [Fact]
    public void without_proration_a_change_makes_no_lines_and_the_next_period_costs_what_it_costs()
    {
        var spec = Subscribed(at: "2026-11-01T00:00:00Z").At("2026-11-21T00:00:00Z").Given(Change("max", proration: ProrationMode.None)).At("2026-12-01T00:00:00Z").Given(Turn());

        Assert.Equal([("Pro (monthly)", 3000L), ("Max (monthly)", 9000L)], Lines(spec));
    }

    [Fact]
    public void a_downgrade_waits_for_the_periods_end_and_can_be_taken_back()
    {
        var spec = Subscribed("max", at: "2026-11-01T00:00:00Z").At("2026-11-10T00:00:00Z").Given(Change("pro"));
        Assert.Equal("max", spec.InForce.Plan!.Id);
        Assert.Equal(new ScheduledChange("pro", 1, BillingInterval.Month), Own(spec).Kept!.Scheduled);
        spec.When(Change("pro")).ThenNothing();
        // By the clock it counts at once; the lines follow.
        Assert.Equal(1000, spec.At("2026-12-01T00:00:00Z").Check("calls").Limit);
        spec.Given(Turn());
        Assert.Equal(("pro", 1000L), (Own(spec).Plan, spec.Check("calls").Limit));
        Assert.Equal([("Max (monthly)", 9000L), ("Pro (monthly)", 3000L)], Lines(spec));
        Assert.Equal([SubscriptionChange.Started, SubscriptionChange.ChangeScheduled, SubscriptionChange.Downgraded], Changes(spec));

        foreach (var back in (Command[])[Reactivate(), Change("max")])
        {
            spec = Subscribed("max", at: "2026-11-01T00:00:00Z").Given(Change("pro"), back).At("2026-12-01T00:00:00Z").Given(Turn());
            Assert.Equal("max", Own(spec).Plan);
            Assert.Equal([SubscriptionChange.Started, SubscriptionChange.ChangeScheduled, SubscriptionChange.Reactivated, SubscriptionChange.Renewed], Changes(spec));
        }
    }

    [Fact]
    public void a_downgrade_below_the_use_denies_and_says_until_when()
    {
        var spec = Subscribed("max", at: "2026-11-01T00:00:00Z").Given(Use("calls", 1500)).Given(Change("pro", when: ChangeTime.Now));

        var denial = spec.When(Use("calls")).ThenRejected(RejectionKind.QuotaExceeded).Denial!;
        Assert.Equal((0L, Time("2026-12-01T00:00:00Z")), (denial.Remaining!.Value, denial.ResetsAt!.Value));
    }

    [Fact]
    public void a_longer_interval_begins_now_and_a_shorter_one_when_what_was_paid_for_is_over()
    {
        // Half of the month comes back, the whole year is charged, on an invoice of its own.
        var spec = Subscribed(at: "2026-11-01T00:00:00Z").Given(Use("calls", 900)).At("2026-11-16T00:00:00Z").Given(Change("pro", BillingInterval.Year));
        Assert.Equal([3000L, 30000L - 1500L], Totals(spec));
        Assert.Equal((Time("2026-11-16T00:00:00Z"), Time("2027-11-16T00:00:00Z")), (Own(spec).PeriodStart, Own(spec).PeriodEnd));
        // The month goes on from the new anchor, with what was used.
        Assert.Equal((900L, Time("2026-12-16T00:00:00Z")), (spec.Check("calls").Used, spec.Check("calls").ResetsAt!.Value));

        spec.Given(Change("pro", BillingInterval.Month));
        Assert.Equal(BillingInterval.Year, Own(spec).Interval);
        spec.At("2027-11-16T00:00:00Z").Given(Turn());
        Assert.Equal((BillingInterval.Month, Time("2027-12-16T00:00:00Z")), (Own(spec).Interval, Own(spec).PeriodEnd));
        Assert.Equal([3000L, 28500L, 3000L], Totals(spec));
    }

    [Fact]
    public void from_another_plan_and_interval_the_price_per_month_says_whether_it_is_an_upgrade()
    {
        // Max by the quarter is 8000 a month, Pro by the year 2500.
        var spec = Opened(Catalog).Given(Start("pro", BillingInterval.Year, trial: false), Change("max", BillingInterval.Quarter));
        Assert.Equal(("max", SubscriptionChange.Upgraded), (Own(spec).Plan, Changes(spec).Last()));

        spec.Given(Change("pro", BillingInterval.Year));
        Assert.Equal(("max", SubscriptionChange.ChangeScheduled), (Own(spec).Plan, Changes(spec).Last()));
    }

    [Fact]
    public void a_subscription_keeps_the_version_it_was_sold_until_its_plan_is_changed()
    {
        var newer = Catalog.Replace("\"amount\": 3000 }", "\"amount\": 3500 }", StringComparison.Ordinal).Replace("{ \"calls\": 1000,", "{ \"calls\": 800,", StringComparison.Ordinal)
            .Replace("\"quarter\", \"amount\": 24000", "\"year\", \"amount\": 80000", StringComparison.Ordinal);
        var spec = Subscribed(at: "2026-11-01T00:00:00Z").On(Catalogs(Catalog, newer)).At("2026-12-01T00:00:00Z").Given(Turn());
        Assert.Equal((1000L, 3000L), (spec.Check("calls").Limit, Totals(spec).Last()));

        spec.Given(Change("max"), Change("pro", when: ChangeTime.Now)).At("2027-01-01T00:00:00Z").Given(Turn());
        Assert.Equal((2, 800L), (Own(spec).CatalogVersion, spec.Check("calls").Limit));

        // An interval that only the newer version sells brings that version.
        spec = Subscribed("max", at: "2026-11-01T00:00:00Z").On(Catalogs(Catalog, newer)).Given(Change("max", BillingInterval.Year));
        Assert.Equal((2, BillingInterval.Year), (Own(spec).CatalogVersion, Own(spec).Interval));
    }

    [Fact]
    public void what_cannot_be_changed_says_why()
    {
        Opened(Catalog).When(Change("pro")).ThenRejected(RejectionKind.NoSubscription);
        Opened(Catalog).When(Change("nothing")).ThenRejected(RejectionKind.PlanUnknown);
        Opened(Catalog).When(Change("max", BillingInterval.Year)).ThenRejected(RejectionKind.PriceUnknown);
        var spec = Subscribed();
        spec.When(Change("others")).ThenRejected(RejectionKind.PlanUnknown);
        spec.When(Change("secret", when: ChangeTime.Now)).ThenRejected(RejectionKind.InviteOnly);
        spec.When(Change("pro")).ThenNothing();
        spec.When(Reactivate()).ThenRejected(RejectionKind.SubscriptionStateConflict);
        spec.When(Resume()).ThenRejected(RejectionKind.SubscriptionStateConflict);
        spec.Given(Cancel(ChangeTime.PeriodEnd)).When(Change("free")).ThenRejected(RejectionKind.SubscriptionStateConflict);
        spec.Given(Reactivate(), Pause()).When(Change("max")).ThenRejected(RejectionKind.SubscriptionStateConflict);
        spec.When(Pause()).ThenRejected(RejectionKind.SubscriptionStateConflict);
        spec.Given(Cancel(ChangeTime.Now));
        foreach (var command in (Command[])[Change("max"), Cancel(ChangeTime.Now), Reactivate(), Pause(), Resume(), PaymentMethod(false)]) spec.When(command).ThenRejected(RejectionKind.NoSubscription);
    }

    [Fact]
    public void a_subscription_at_stripe_is_changed_there()
    {
        var atStripe = new Subscription("sub_1", "pro", 0, SubscriptionStatus.Active, BillingInterval.Month, Time("2026-11-20T10:00:00Z"), Time("2026-11-20T10:00:00Z"), Time("2026-12-20T10:00:00Z"),
            null, null, false, null, null, null, "cus_1", new SnapshotOrder(Time("2026-11-20T10:00:00Z"), SnapshotRank.Created, "evt_1"));
        var spec = Opened(Catalog).Given(Follow(atStripe));

        foreach (var command in (Command[])[Change("max"), Cancel(ChangeTime.Now), Reactivate(), Pause(), Resume(), PaymentMethod(false)])
            Assert.Contains("sub_1", spec.When(command).ThenRejected(RejectionKind.SubscriptionAtStripe).Message, StringComparison.Ordinal);
        spec.When(Start("max")).ThenRejected(RejectionKind.SubscriptionExists);
        // Nothing of it is charged here.
        Assert.Empty(spec.At("2027-03-01T00:00:00Z").When(Turn()).Events.OfType<InvoiceCreated>());
    }

    [Fact]
    public void a_subscription_at_stripe_ends_the_one_that_the_ledger_kept_so_that_nothing_is_charged_twice()
    {
        var atStripe = new Subscription("sub_1", "pro", 0, SubscriptionStatus.Active, BillingInterval.Month, Time("2026-12-05T10:00:00Z"), Time("2026-12-05T10:00:00Z"), Time("2027-01-05T10:00:00Z"),
            null, null, false, null, null, null, "cus_1", new SnapshotOrder(Time("2026-12-05T10:00:00Z"), SnapshotRank.Created, "evt_1"));
        // One that is not paid for yet takes nothing away.
        var unpaid = atStripe with { Status = SubscriptionStatus.Incomplete, Order = new SnapshotOrder(Time("2026-12-05T09:59:00Z"), SnapshotRank.Created, "evt_0") };
        var spec = Subscribed().At("2026-12-05T10:00:00Z").Given(Follow(unpaid));
        Assert.Equal(("ls_2", PlanSource.Subscription), (Own(spec).Id, spec.InForce.Source));

        spec.Given(Follow(atStripe));

        Assert.Equal("sub_1", Own(spec).Id);
        Assert.Equal([("Pro (monthly)", 3000L), ("Unused time on Pro from 2026-12-05", -1500L)], Lines(spec));
        var ended = spec.State.Subscriptions.Followed.Single(s => s.Kept is not null);
        Assert.Equal(SubscriptionStatus.Canceled, ended.Status);
        // And when Stripe's ends, the months in between are not charged for after all.
        var gone = atStripe with { Status = SubscriptionStatus.Canceled, EndedAt = Time("2027-06-01T00:00:00Z"), Order = new SnapshotOrder(Time("2027-06-01T00:00:00Z"), SnapshotRank.Deleted, "evt_2") };
        spec.At("2027-06-01T00:00:00Z").Given(Follow(gone)).At("2027-06-02T00:00:00Z").Given(Turn());
        Assert.Equal([3000L, -1500L], Totals(spec));
        Assert.Equal(PlanSource.Fallback, spec.InForce.Source);
    }

    // ---- paying

    [Fact]
    public void a_failed_payment_leaves_the_grace_and_then_no_access_until_it_is_paid()
    {
        var spec = Subscribed().At("2026-12-20T10:00:00Z").Given(Turn());
        var invoice = spec.State.Billing.Invoices[^1];
        // By its number, as by its id.
        spec.At("2026-12-20T12:00:00Z").Given(Attempt(invoice.Number!, false, Time("2026-12-20T11:00:00Z")));
        Assert.Equal((SubscriptionStatus.PastDue, Time("2026-12-23T11:00:00Z")), (Own(spec).Status, spec.InForce.GraceUntil!.Value));
        // Later attempts do not make it longer.
        spec.At("2026-12-22T00:00:00Z").Given(Attempt(invoice.Id, false, Time("2026-12-22T00:00:00Z"), 2));
        Assert.Equal("pro", spec.At("2026-12-23T10:59:59Z").InForce.Plan!.Id);
        Assert.Equal(("free", SubscriptionStatus.Unpaid), (spec.At("2026-12-23T11:00:00Z").InForce.Plan!.Id, spec.InForce.Subscription!.Status));
        spec.Given(Turn());
        Assert.Equal(SubscriptionStatus.Unpaid, Own(spec).Status);

        spec.At("2026-12-28T00:00:00Z").Given(Attempt(invoice.Id, true, Time("2026-12-28T00:00:00Z")));
        Assert.Equal(("pro", SubscriptionStatus.Active, Time("2027-01-20T10:00:00Z")), (spec.InForce.Plan!.Id, Own(spec).Status, Own(spec).PeriodEnd));
        Assert.Equal([SubscriptionChange.Started, SubscriptionChange.Renewed, SubscriptionChange.PastDue, SubscriptionChange.Unpaid, SubscriptionChange.Recovered], Changes(spec));
        Assert.Equal(InvoiceStatus.Paid, spec.State.Billing.Invoices[^1].Status);
        Assert.Equal(2, Totals(spec).Count());
    }

    [Fact]
    public void an_unpaid_subscription_is_not_charged_again_and_begins_a_new_period_when_it_is_paid()
    {
        var spec = Subscribed().Given(Use("calls", 5)).At("2026-11-21T00:00:00Z");
        var invoice = spec.State.Billing.Invoices[^1];
        spec.Given(Attempt(invoice.Id, false, spec.Now)).At("2027-02-10T00:00:00Z").Given(Turn());
        Assert.Single(Totals(spec));

        spec.Given(Attempt(invoice.Id, true, spec.Now));

        Assert.Equal((Time("2027-02-10T00:00:00Z"), Time("2027-03-10T00:00:00Z")), (Own(spec).PeriodStart, Own(spec).PeriodEnd));
        Assert.Equal([3000L, 3000L], Totals(spec));
        Assert.Equal("pro", spec.InForce.Plan!.Id);
    }

    [Fact]
    public void the_grace_runs_from_the_oldest_of_several_unpaid_invoices_and_all_must_be_settled()
    {
        var spec = Subscribed("pro").At("2026-11-21T00:00:00Z").Given(Change("max", proration: ProrationMode.InvoiceNow));
        var (first, second) = (spec.State.Billing.Invoices[0], spec.State.Billing.Invoices[1]);
        spec.At("2026-11-23T00:00:00Z").Given(Attempt(second.Id, false, Time("2026-11-23T00:00:00Z")), Attempt(first.Id, false, Time("2026-11-22T00:00:00Z")));
        Assert.Equal(Time("2026-11-25T00:00:00Z"), Own(spec).Kept!.GraceUntil);

        spec.Given(Attempt(first.Id, true, spec.Now));
        Assert.Equal((SubscriptionStatus.PastDue, Time("2026-11-26T00:00:00Z")), (Own(spec).Status, Own(spec).Kept!.GraceUntil!.Value));
        // Marked as paid outside is paid too.
        spec.Given(New(new SettleInvoice(second.Id, InvoiceStatus.Paid, "wire", null) { Id = "", ContentHash = [], At = default, By = "key_1" }));
        Assert.Equal((SubscriptionStatus.Active, SubscriptionChange.Recovered), (Own(spec).Status, Changes(spec).Last()));
        Assert.Equal("key_1", spec.Events.OfType<SubscriptionChanged>().Last().By);
    }

    [Fact]
    public void a_failure_of_an_invoice_that_is_paid_or_of_another_subscription_changes_nothing()
    {
        var spec = Subscribed();
        var invoice = spec.State.Billing.Invoices[0];
        spec.Given(Attempt(invoice.Id, true, spec.Now), Attempt(invoice.Id, false, spec.Now), Attempt("in_stripe", false, spec.Now));
        Assert.Equal(SubscriptionStatus.Active, Own(spec).Status);

        // One that was owed when the one before it ended.
        spec = Subscribed().Given(Cancel(ChangeTime.Now), Start("max"));
        spec.Given(Attempt(spec.State.Billing.Invoices[0].Id, false, spec.Now));
        Assert.Equal(SubscriptionStatus.Active, Own(spec).Status);
    }

    [Fact]
    public void what_is_given_back_is_what_was_charged_after_its_discount_and_not_what_the_price_list_says()
    {
        // Half price until the change; at the change the discount is over.
        var spec = Opened(Catalog, at: "2026-11-01T00:00:00Z").Given(Terms(50, until: "2026-11-10T00:00:00Z"), Start("pro", trial: false)).At("2026-11-16T00:00:00Z");
        spec.Given(Change("max", proration: ProrationMode.InvoiceNow));
        Assert.Equal([1500L, 4500L - 750L], Totals(spec));

        // Full price, and a discount by the time of the change: of the charge, and not of what is given back.
        spec = Subscribed(at: "2026-11-01T00:00:00Z").At("2026-11-16T00:00:00Z").Given(Terms(50), Change("max", proration: ProrationMode.InvoiceNow));
        Assert.Equal([3000L, 2250L - 1500L], Totals(spec));

        // Charged and given back before there was an invoice of it: both are discounted alike.
        spec = Subscribed(at: "2026-11-01T00:00:00Z").Given(Terms(50)).At("2026-11-16T00:00:00Z").Given(Change("max"), Cancel(ChangeTime.Now, prorate: true));
        Assert.Equal([3000L, -1500L], Totals(spec));
    }

    [Fact]
    public void of_an_invoice_that_was_voided_or_given_up_nothing_is_given_back()
    {
        foreach (var status in (InvoiceStatus[])[InvoiceStatus.Void, InvoiceStatus.Uncollectible])
        {
            var spec = Subscribed(at: "2026-11-01T00:00:00Z");
            spec.Given(Settle(spec.State.Billing.Invoices[0].Id, status)).At("2026-11-16T00:00:00Z").Given(Cancel(ChangeTime.Now, prorate: true));

            Assert.Equal([3000L], Totals(spec));
        }
    }

    [Fact]
    public void what_was_given_up_as_uncollectible_gives_no_access_and_what_was_voided_does()
    {
        var (lost, forgiven) = (Failed(), Failed());

        lost.Given(Settle(lost.State.Billing.Invoices[0].Id, InvoiceStatus.Uncollectible));
        forgiven.Given(Settle(forgiven.State.Billing.Invoices[0].Id, InvoiceStatus.Void));

        Assert.Equal((SubscriptionStatus.Unpaid, "free"), (Own(lost).Status, lost.InForce.Plan!.Id));
        Assert.Equal((SubscriptionStatus.Active, "pro"), (Own(forgiven).Status, forgiven.InForce.Plan!.Id));

        static Spec Failed()
        {
            var spec = Subscribed().At("2026-11-21T00:00:00Z");
            return spec.Given(Attempt(spec.State.Billing.Invoices[0].Id, false, spec.Now)).At("2026-11-30T00:00:00Z").Given(Turn());
        }
    }

    [Fact]
    public void paying_late_does_not_take_away_a_plan_that_an_operator_gave()
    {
        var spec = Subscribed().At("2026-11-21T00:00:00Z");
        spec.Given(Attempt(spec.State.Billing.Invoices[0].Id, false, spec.Now), Plan("max"));

        spec.Given(Attempt(spec.State.Billing.Invoices[0].Id, true, spec.Now));

        Assert.Equal((SubscriptionStatus.Active, "max"), (Own(spec).Status, spec.InForce.Plan!.Id));
    }

    // ---- pausing, ending

    [Fact]
    public void a_pause_ends_access_and_charges_and_gives_the_rest_back_on_the_next_invoice()
    {
        var spec = Subscribed(at: "2026-11-01T00:00:00Z").Given(Use("calls", 900)).At("2026-11-16T00:00:00Z").Given(Pause());
        Assert.Equal("free", spec.InForce.Plan!.Id);
        Assert.Equal(RejectionKind.QuotaExceeded, spec.Check("calls").Denial!.Kind);
        spec.At("2027-01-10T00:00:00Z").Given(Turn());
        Assert.Single(Totals(spec));

        spec.Given(Resume());

        Assert.Equal(("pro", Time("2027-01-10T00:00:00Z"), Time("2027-02-10T00:00:00Z")), (spec.InForce.Plan!.Id, Own(spec).PeriodStart, Own(spec).PeriodEnd));
        Assert.Equal([3000L, 3000L - 1500L], Totals(spec));
    }

    [Fact]
    public void what_is_owed_from_before_a_pause_is_paid_before_it_is_resumed()
    {
        var spec = Subscribed().Given(Pause());
        var invoice = spec.State.Billing.Invoices[0];
        spec.Given(Attempt(invoice.Id, false, spec.Now));
        Assert.Equal(SubscriptionStatus.Paused, Own(spec).Status);

        Assert.Contains("Pay the invoice", spec.At("2026-12-10T00:00:00Z").When(Resume()).ThenRejected(RejectionKind.SubscriptionStateConflict).Message, StringComparison.Ordinal);
        spec.Given(Attempt(invoice.Id, true, spec.Now), Resume());
        Assert.Equal(SubscriptionStatus.Active, Own(spec).Status);
    }

    [Fact]
    public void a_failure_that_is_heard_of_after_its_grace_ends_access_now()
    {
        var spec = Subscribed().At("2026-12-10T00:00:00Z").Given(Attempt("in_4", false, Time("2026-12-01T00:00:00Z")));

        Assert.Equal("free", spec.InForce.Plan!.Id);
        Assert.Equal(Time("2026-12-10T00:00:00Z"), spec.Given(Turn()).Events.OfType<SubscriptionChanged>().Last().EffectiveAt);
        Assert.Equal(SubscriptionStatus.Unpaid, Own(spec).Status);
    }

    [Fact]
    public void a_cancellation_keeps_access_until_the_period_ends_and_can_be_taken_back()
    {
        var spec = Subscribed().At("2026-12-01T00:00:00Z").Given(Cancel(ChangeTime.PeriodEnd));
        Assert.Equal((true, Time("2026-12-20T10:00:00Z")), (Own(spec).CancelAtPeriodEnd, Own(spec).CancelAt!.Value));
        Assert.Equal("too dear", spec.Events.OfType<SubscriptionChanged>().Last().Reason);
        spec.When(Cancel(ChangeTime.PeriodEnd)).ThenNothing();
        Assert.Equal("pro", spec.At("2026-12-20T09:59:59Z").InForce.Plan!.Id);
        Assert.Equal("free", spec.At("2026-12-20T10:00:00Z").InForce.Plan!.Id);
        spec.Given(Turn());
        Assert.Equal((SubscriptionStatus.Canceled, Time("2026-12-20T10:00:00Z")), (Own(spec).Status, Own(spec).EndedAt!.Value));
        Assert.Single(Totals(spec));

        spec = Subscribed().Given(Cancel(ChangeTime.PeriodEnd), Reactivate()).At("2026-12-20T10:00:00Z").Given(Turn());
        Assert.Equal((SubscriptionStatus.Active, false), (Own(spec).Status, Own(spec).CancelAtPeriodEnd));
        Assert.Equal(2, Totals(spec).Count());
    }

    [Fact]
    public void when_it_ends_everything_that_is_open_is_billed_on_a_final_invoice()
    {
        // 5 jobs past the 10, 20 GB past the 50 at the peak; half of the month comes back.
        var spec = Subscribed(at: "2026-11-01T00:00:00Z").Given(Use("jobs", 15), Gauge("storage", 70), Gauge("storage", 10)).At("2026-11-16T00:00:00Z").Given(Cancel(ChangeTime.Now, prorate: true));

        var final = spec.Events.OfType<InvoiceCreated>().Last();
        Assert.True(final.Final);
        Assert.Equal([("Unused time on Pro from 2026-11-16", -1500L), ("15 jobs: 5 additional", 250L), ("70 GB of storage at the peak: 20 additional", 4000L)], final.Lines.Select(l => (l.Description, l.Amount)));
        Assert.Equal("ls_2", final.Subscription);
        // Nothing of it is billed again, not when the calendar's month turns either.
        Assert.Equal(2, spec.At("2027-03-01T00:00:00Z").Given(Turn()).Events.OfType<InvoiceCreated>().Count());

        // By the clock it is the same, once.
        spec = Subscribed(at: "2026-11-01T00:00:00Z").Given(Use("jobs", 15), Gauge("storage", 70), Cancel(ChangeTime.PeriodEnd)).At("2026-12-01T00:00:00Z").Given(Turn());
        Assert.Equal([3000L, 250L + 4000L], Totals(spec));
        Assert.True(spec.Events.OfType<InvoiceCreated>().Last().Final);
        Assert.Equal(2, spec.At("2027-03-01T00:00:00Z").Given(Turn()).Events.OfType<InvoiceCreated>().Count());
    }

    [Fact]
    public void closing_an_organization_ends_its_subscription_first_with_a_final_invoice()
    {
        var spec = Subscribed().Given(Use("jobs", 15)).When(New(new CloseOrganization("gone") { Id = "", ContentHash = [], At = default, By = "key_1" }));

        Assert.IsType<OrganizationClosed>(spec.Events[^1]);
        Assert.Equal((SubscriptionStatus.Canceled, true), (Own(spec).Status, spec.State.IsClosed));
        Assert.Equal([3000L, 250L], Totals(spec));
        var before = spec.Events.Count;
        Assert.DoesNotContain(spec.At("2028-01-01T00:00:00Z").When(Turn()).Events.Skip(before), e => e is SubscriptionChanged or InvoiceCreated);
    }

    // ---- plans by an operator, and for one organization

    [Fact]
    public void a_plan_that_an_operator_gives_for_a_time_ends_by_the_clock()
    {
        var spec = Subscribed().Given(New(new SetPlan("max", "a gift", Time("2026-12-01T00:00:00Z")) { Id = "", ContentHash = [], At = default, By = "key_1" }));
        Assert.Equal("max", spec.At("2026-11-30T23:59:59Z").InForce.Plan!.Id);
        Assert.Equal("pro", spec.At("2026-12-01T00:00:00Z").InForce.Plan!.Id);

        spec.Given(Turn());
        Assert.Equal([SubscriptionChange.Started, SubscriptionChange.PlanSet, SubscriptionChange.PlanEnded], Changes(spec));
        Assert.Equal("clock", spec.Events.OfType<SubscriptionChanged>().Last().By);
        Assert.Null(spec.State.Subscriptions.OperatorPlan);
        Assert.Equal("pro", spec.InForce.Plan!.Id);
        spec.When(New(new SetPlan("max", null, spec.Now) { Id = "", ContentHash = [], At = default })).ThenRejected(RejectionKind.ExpiryInPast);
    }

    [Fact]
    public void a_gauge_that_stands_past_what_a_new_plan_includes_is_billed_from_then_on()
    {
        var spec = Opened(Catalog, at: "2026-11-01T00:00:00Z").Given(Gauge("storage", 80), Start("pro", trial: false)).At("2026-12-01T00:00:00Z").Given(Turn());

        Assert.Equal(["storage"], spec.Events.OfType<SubscriptionChanged>().First().BilledGauges!);
        Assert.Equal([3000L, 3000L + 6000L], Totals(spec));
    }

    [Fact]
    public void a_plan_made_for_one_organization_is_there_for_it_alone()
    {
        Assert.Equal(700, Opened(Catalog).Given(Start("acmes")).Check("calls").Limit);
        Opened(Catalog).When(Plan("others")).ThenRejected(RejectionKind.PlanUnknown);
        Opened(Catalog).When(New(new InviteToPlan("others") { Id = "", ContentHash = [], At = default })).ThenRejected(RejectionKind.PlanUnknown);
        new Spec(Catalogs(Catalog)).When(New(new OpenOrganization("UTC", false, "others") { Id = "", ContentHash = [], At = default })).ThenRejected(RejectionKind.PlanUnknown);
        var denial = Opened(Catalog).Given(Use("calls", 100)).Check("calls").Denial!;
        Assert.Equal(["pro", "max", "carded", "acmes"], denial.UpgradeTo.AsEnumerable());
    }
}
