using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;

namespace Billing.Tests.Ledger;

public sealed class SubscriptionTests
{
    private const string Catalog = """
        {
          "fallback_plan": "free", "grace_days": 3,
          "features": { "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call" } }, "export": { "name": "exports", "type": "boolean" } },
          "plans": {
            "free":   { "name": "Free", "features": { "calls": 100 } },
            "pro":    { "name": "Pro", "prices": [{ "interval": "month", "amount": 999 }], "features": { "calls": 1000, "export": true } },
            "max":    { "name": "Max", "prices": [{ "interval": "month", "amount": 9999 }], "features": { "calls": 10000, "export": true } },
            "secret": { "name": "Secret", "invite_only": true, "features": { "calls": "unlimited" } }
          }
        }
        """;

    private static Instant Time(string time) => Api.TestApi.Time(time);

    private static Subscription Sub(
        string status = "active", string at = "2026-11-20T10:00:00Z", string id = "sub_1", string plan = "pro", string start = "2026-11-20T10:00:00Z",
        string end = "2026-12-20T10:00:00Z", SnapshotRank rank = SnapshotRank.Updated, string created = "2026-11-20T10:00:00Z", string eventId = "evt_1")
    {
        Assert.True(Spelling.TryParse<SubscriptionStatus>(status, out var parsed));
        return new Subscription(id, plan, 0, parsed, BillingInterval.Month, Time(created), Time(start), Time(end), null, null, false, null, null, null, "cus_1",
            new SnapshotOrder(Time(at), rank, eventId));
    }

    private static RecordPayment Payment(string invoice, bool paid, int attempt, string at) =>
        New(new RecordPayment(invoice, "sub_1", paid, attempt, 999, "usd", Time(at)) { Id = "", ContentHash = [], At = default });

    [Theory]
    [InlineData("trialing", "pro")]
    [InlineData("active", "pro")]
    [InlineData("incomplete", "free")]
    [InlineData("incomplete_expired", "free")]
    [InlineData("unpaid", "free")]
    [InlineData("paused", "free")]
    [InlineData("canceled", "free")]
    public void the_status_decides_whether_the_plan_is_in_force(string status, string plan) =>
        Assert.Equal(plan, Opened(Catalog).Given(Follow(Sub(status))).InForce.Plan!.Id);

    [Fact]
    public void past_due_keeps_access_for_the_grace_days_from_the_first_failed_attempt_of_the_oldest_unpaid_invoice()
    {
        var spec = Opened(Catalog).Given(Follow(Sub()))
            .At("2026-12-20T11:00:00Z").Given(Payment("in_1", false, 1, "2026-12-20T10:30:00Z"), Follow(Sub("past_due", "2026-12-20T10:30:00Z")))
            .At("2026-12-22T11:00:00Z").Given(Payment("in_1", false, 2, "2026-12-22T10:30:00Z"));

        Assert.Equal(Time("2026-12-23T10:30:00Z"), spec.InForce.GraceUntil);
        Assert.Equal("pro", spec.At("2026-12-23T10:29:59Z").InForce.Plan!.Id);
        Assert.Equal("free", spec.At("2026-12-23T10:30:00Z").InForce.Plan!.Id);
        Assert.Equal(RejectionKind.SubscriptionInactive, spec.Check("export").Denial!.Kind);

        spec.Given(Payment("in_1", true, 0, "2026-12-23T12:00:00Z"), Follow(Sub("active", "2026-12-23T12:00:00Z")));
        Assert.Equal("pro", spec.At("2026-12-24T00:00:00Z").InForce.Plan!.Id);
    }

    [Fact]
    public void paid_beats_failed_in_any_order()
    {
        var orders = new[] { Payment("in_1", false, 1, "2026-12-20T10:00:00Z"), Payment("in_1", false, 2, "2026-12-21T10:00:00Z"), Payment("in_1", true, 0, "2026-12-22T10:00:00Z") };
        var states = Permutations(orders).Select(o => Opened(Catalog).At("2026-12-23T00:00:00Z").Given(o).State.Subscriptions.Payments.Single()).Distinct().ToList();

        Assert.Equal(new InvoicePayment("in_1", "sub_1", true, 2, Time("2026-12-20T10:00:00Z"), Time("2026-12-22T10:00:00Z"), 999, "usd"), Assert.Single(states));
    }

    [Fact]
    public void the_greatest_snapshot_stands_and_deleted_is_final()
    {
        var snapshots = new[]
        {
            Follow(Sub("trialing", "2026-11-20T10:00:00Z", rank: SnapshotRank.Created, eventId: "evt_a")),
            Follow(Sub("active", "2026-11-20T10:00:00Z", rank: SnapshotRank.Updated, eventId: "evt_b")),
            Follow(Sub("active", "2026-11-21T10:00:00Z", plan: "max", eventId: "evt_c")),
            Follow(Sub("canceled", "2026-11-20T12:00:00Z", rank: SnapshotRank.Deleted, eventId: "evt_d")),
        };
        var own = Permutations(snapshots).Select(o => Opened(Catalog).At("2026-11-22T00:00:00Z").Given(o).State.Subscriptions.Own!).Distinct().ToList();

        Assert.Equal(SubscriptionStatus.Canceled, Assert.Single(own).Status);
    }

    [Fact]
    public void the_organizations_own_subscription_is_the_one_not_ended_that_was_created_last()
    {
        var spec = Opened(Catalog).Given(
            Follow(Sub(id: "sub_old", plan: "max", created: "2026-10-01T00:00:00Z")),
            Follow(Sub(id: "sub_new", created: "2026-11-01T00:00:00Z")),
            Follow(Sub("canceled", id: "sub_newest", created: "2026-11-15T00:00:00Z", rank: SnapshotRank.Deleted)));

        Assert.Equal("sub_new", spec.State.Subscriptions.Own!.Id);
    }

    [Fact]
    public void an_operators_plan_stands_until_stripe_sends_a_subscription_that_gives_access()
    {
        var spec = Opened(Catalog).Given(Follow(Sub())).At("2026-11-20T12:00:00Z").Given(Plan("max"));
        Assert.Equal("max", spec.InForce.Plan!.Id);

        spec.At("2026-11-20T13:00:00Z").Given(Follow(Sub("past_due", "2026-11-20T12:30:00Z", eventId: "evt_2")));
        Assert.Equal("max", spec.InForce.Plan!.Id);

        spec.Given(Follow(Sub("active", "2026-11-20T12:45:00Z", eventId: "evt_3")));
        Assert.Equal("pro", spec.InForce.Plan!.Id);
    }

    [Fact]
    public void an_old_snapshot_that_arrives_late_does_not_end_an_operators_plan()
    {
        var spec = Opened(Catalog).At("2026-11-20T12:00:00Z").Given(Plan("max"), Follow(Sub("active", "2026-11-20T11:00:00Z")));

        Assert.Equal("max", spec.InForce.Plan!.Id);
    }

    [Fact]
    public void a_subscription_takes_the_place_of_the_plan_that_the_organization_was_opened_on_even_if_it_is_older()
    {
        var spec = Opened(Catalog, plan: "max").Given(Follow(Sub("active", "2026-11-19T00:00:00Z")));

        Assert.Equal("pro", spec.InForce.Plan!.Id);
    }

    [Fact]
    public void a_plan_by_invitation_needs_one()
    {
        var spec = Opened(Catalog);

        spec.When(Plan("secret")).ThenRejected(RejectionKind.InviteOnly);
        Assert.DoesNotContain("secret", spec.Given(Use("calls", 100)).Check("calls").Denial!.UpgradeTo);
        spec.Given(New(new InviteToPlan("secret") { Id = "", ContentHash = [], At = default }));
        Assert.Contains("secret", spec.Check("calls").Denial!.UpgradeTo);
        spec.Given(Plan("secret"));
        Assert.Null(spec.Check("calls").Limit);
        spec.When(New(new InviteToPlan("secret") { Id = "", ContentHash = [], At = default })).ThenNothing();
    }

    [Fact]
    public void when_the_anchor_moves_the_running_window_ends_and_its_use_is_carried_over_once()
    {
        var spec = Opened(Catalog).Given(Use("calls", 40)).At("2026-11-25T10:00:05Z")
            .Given(Follow(Sub(start: "2026-11-25T10:00:00Z", end: "2026-12-25T10:00:00Z", at: "2026-11-25T10:00:00Z")));

        Assert.Equal((40L, Time("2026-12-25T10:00:00Z")), (spec.Check("calls").Used, spec.Check("calls").ResetsAt!.Value));
        // The old month's end is no roll any more; the new one's is.
        Assert.Equal(40, spec.At("2026-12-01T00:00:00Z").Check("calls").Used);
        Assert.Equal(0, spec.At("2026-12-25T10:00:00Z").Check("calls").Used);
    }

    [Fact]
    public void a_late_renewal_webhook_does_not_hold_the_window_back_and_does_not_reset_it_twice()
    {
        var spec = Opened(Catalog).Given(Follow(Sub()), Use("calls", 900)).At("2026-12-20T10:00:00Z");
        Assert.Equal(0, spec.Check("calls").Used);

        spec.Given(Use("calls", 7)).At("2026-12-21T00:00:00Z")
            .Given(Follow(Sub(start: "2026-12-20T10:00:00Z", end: "2027-01-20T10:00:00Z", at: "2026-12-20T10:01:00Z", eventId: "evt_2")));

        Assert.Equal(7, spec.Check("calls").Used);
        Assert.Single(spec.Events.OfType<QuotaReset>());
    }

    [Fact]
    public void a_plan_that_is_no_longer_on_sale_is_still_given_to_who_pays_for_it()
    {
        var catalogs = Catalogs(Catalog, Catalog.Replace("\"pro\":", "\"other\":", StringComparison.Ordinal));
        var state = State.Empty("acme").Evolve(Decider.Decide(State.Empty("acme"), catalogs,
            new OpenOrganization("UTC", false, null) { Id = "o", ContentHash = [], At = Time("2026-11-20T10:00:00Z") }, null).Events);
        state = state.Evolve(Decider.Decide(state, catalogs, Follow(Sub()) with { At = Time("2026-11-20T10:00:00Z") }, null).Events);

        Assert.Equal("pro", Subscriptions.InForce(state, catalogs, state.RecordedAt).Plan?.Id);
        Assert.Equal(1000, Entitlements.Evaluate(state, catalogs, catalogs.Feature("calls")!, null, state.RecordedAt).Limit);
    }

    [Fact]
    public void a_subscription_keeps_the_catalog_version_that_it_was_sold()
    {
        var catalogs = Catalogs(Catalog, Catalog.Replace("\"calls\": 1000,", "\"calls\": 500,", StringComparison.Ordinal));
        var first = new Catalogs([catalogs.All[0]]);
        var state = State.Empty("acme");
        foreach (var (command, book) in new (Command, Catalogs)[]
        {
            (new OpenOrganization("UTC", false, null) { Id = "o", ContentHash = [], At = Time("2026-11-20T10:00:00Z") }, first),
            (Follow(Sub()) with { At = Time("2026-11-20T10:00:00Z") }, first),
            (Follow(Sub(at: "2026-11-21T10:00:00Z", eventId: "evt_2")) with { At = Time("2026-11-21T10:00:00Z") }, catalogs),
        }) state = state.Evolve(Decider.Decide(state, book, command, null).Events);

        Assert.Equal(1000, Entitlements.Evaluate(state, catalogs, catalogs.Feature("calls")!, null, state.RecordedAt).Limit);
        state = state.Evolve(Decider.Decide(state, catalogs, Follow(Sub(plan: "max", at: "2026-11-22T10:00:00Z", eventId: "evt_3")) with { At = Time("2026-11-22T10:00:00Z") }, null).Events);
        state = state.Evolve(Decider.Decide(state, catalogs, Follow(Sub(at: "2026-11-23T10:00:00Z", eventId: "evt_4")) with { At = Time("2026-11-23T10:00:00Z") }, null).Events);
        Assert.Equal(500, Entitlements.Evaluate(state, catalogs, catalogs.Feature("calls")!, null, state.RecordedAt).Limit);
    }

    [Fact]
    public void a_prorated_upgrade_gains_the_rest_of_the_window_and_no_more()
    {
        var prorated = Catalog.Replace("\"grace_days\": 3", "\"grace_days\": 3, \"allowance_on_upgrade\": \"prorated\"", StringComparison.Ordinal);
        // The 25th of November at 00:00 leaves 6 of 30 days: 100 + 900 × 6/30 = 280.
        var spec = Opened(prorated, at: "2026-11-01T00:00:00Z").Given(Use("calls", 100)).At("2026-11-25T00:00:00Z").Given(Plan("pro"));

        Assert.Equal((280L, 180L), (spec.Check("calls").Limit, spec.Check("calls").Remaining));
        Assert.Equal(1000, spec.At("2026-12-01T00:00:00Z").Check("calls").Limit);
        // Down and up again within the window gains nothing.
        spec = Opened(prorated, at: "2026-11-01T00:00:00Z").Given(Use("calls", 100)).At("2026-11-25T00:00:00Z").Given(Plan("pro"), Plan("free"), Plan("pro"));
        Assert.Equal(280, spec.Check("calls").Limit);
    }

    [Fact]
    public void without_a_fallback_plan_everything_is_refused_until_there_is_a_subscription()
    {
        var catalog = Catalog.Replace("\"fallback_plan\": \"free\", ", "", StringComparison.Ordinal);
        var spec = Opened(catalog);

        Assert.Equal(RejectionKind.SubscriptionInactive, spec.When(Use("calls")).ThenRejected(RejectionKind.SubscriptionInactive).Kind);
        spec.Given(Follow(Sub()), Use("calls"));
    }

    [Fact]
    public void an_explanation_names_the_rules_the_numbers_and_the_events()
    {
        var spec = Opened(Catalog).Given(Use("calls", 60), Use("calls", 30));
        var why = new Explanation();
        Entitlements.Evaluate(spec.State, Catalogs(Catalog), Catalogs(Catalog).Feature("calls")!, 11, spec.Now, why: why);

        Assert.Equal(["organization_open", "subscription", "feature", "allowance", "decision"], why.Steps.Select(s => s.Rule));
        var allowance = why.Steps[3];
        Assert.Equal((100L, 90L, 10L), (allowance.Numbers["limit"], allowance.Numbers["used"], allowance.Numbers["covered"]));
        Assert.Equal([2, 3], allowance.Events.AsEnumerable());
        Assert.Equal("denied", why.Steps[4].Outcome);
    }

    private static IEnumerable<Command[]> Permutations(Command[] commands)
    {
        if (commands.Length == 0) return [[]];
        return commands.SelectMany((first, i) => Permutations([.. commands.Where((_, j) => j != i)]).Select(rest => (Command[])[first, .. rest]));
    }
}
