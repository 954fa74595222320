using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;

namespace Billing.Tests.Ledger;

public sealed class HoldTests
{
    private const string Catalog = """
        {
          "fallback_plan": "free", "warn_at": [],
          "features": {
            "jobs":    { "name": "jobs", "type": "metered", "meter": { "unit": "job", "window": "day" } },
            "calls":   { "name": "calls", "type": "metered", "meter": { "unit": "call" }, "mode": "tokens", "token_cost": 2 },
            "hours":   { "name": "hours", "type": "metered", "meter": { "unit": "hour", "decimals": 2 }, "mode": "tokens_then_overage", "unit_price": "0.50" },
            "mails":   { "name": "mails", "type": "metered", "meter": { "unit": "mail" }, "mode": "overage", "tiers": [{ "up_to": 5, "unit_price": "0.10" }, { "unit_price": "0.02" }] },
            "storage": { "name": "storage", "type": "metered", "meter": { "unit": "gb", "aggregation": "gauge" } },
            "export":  { "name": "exports", "type": "boolean" }
          },
          "plans": {
            "free": { "name": "Free", "features": {
                "jobs": 10, "calls": 4, "hours": 2, "mails": 3, "storage": 5 } },
            "rated": { "name": "Rated", "features": { "jobs": { "allowance": "unlimited", "rate_limits": [{ "limit": 20, "window": "hour" }] } } },
            "small": { "name": "Small", "features": { "jobs": 2, "hours": { "allowance": 0, "mode": "block" } } },
            "none": { "name": "None" }
          },
          "token_packages": { "pack": { "name": "Pack", "tokens": 100, "prices": [{ "amount": 1000 }] } }
        }
        """;

    public static PlaceHold Place(string feature, decimal quantity, Duration? expiresIn = null, IReadOnlyDictionary<string, string>? metadata = null) =>
        New(new PlaceHold(feature, quantity, expiresIn ?? Holds.DefaultExpiry, metadata) { Id = "", ContentHash = [], At = default });

    public static SettleHold Settle(string hold, decimal quantity, IReadOnlyDictionary<string, string>? metadata = null) =>
        New(new SettleHold(hold, quantity, metadata) { Id = "", ContentHash = [], At = default });

    public static ReleaseHold Release(string hold) => New(new ReleaseHold(hold) { Id = "", ContentHash = [], At = default });

    private static WriteDue Due() => New(new WriteDue { Id = "", ContentHash = [], At = default });

    private static TokenGrant GrantOf(Spec spec, string id) => spec.State.Grants.Single(g => g.Id == id);

    // ---- placing

    [Fact]
    public void what_is_held_is_not_used_and_left_to_nobody_else()
    {
        var spec = Opened(Catalog).Given(Use("jobs", 2)).When(Place("jobs", 6));

        var placed = spec.Then<HoldPlaced>();
        Assert.Equal((6L, 6L, 0L, 0L), (placed.Quantity, placed.Allowance, placed.ByTokens, placed.Overage));
        Assert.Equal(spec.Now + Duration.FromMinutes(15), placed.ExpiresAt);
        var left = spec.Check("jobs");
        Assert.Equal((10L, 2L, 6L, 2L), (left.Limit, left.Used, left.Held, left.Remaining));

        spec.Given(Use("jobs", 2));
        var denial = spec.When(Use("jobs")).ThenRejected(RejectionKind.QuotaExceeded).Denial!;
        Assert.Equal("You have used or reserved all 10 jobs today. Upgrade to go on.", denial.Message);
        spec.When(Place("jobs", 1)).ThenRejected(RejectionKind.QuotaExceeded);
    }

    [Fact]
    public void a_hold_takes_allowance_then_tokens_then_overage_and_sets_its_tokens_aside()
    {
        var spec = Opened(Catalog).Given(Grant(3)).When(Place("hours", 6));

        var placed = spec.Then<HoldPlaced>();
        Assert.Equal((600L, 200L, 300L, 100L), (placed.Quantity, placed.Allowance, placed.ByTokens, placed.Overage));
        Assert.Equal([new GrantUse("tg_2", 3)], placed.Grants!);
        Assert.Equal((3L, 0L), (GrantOf(spec, "tg_2").Held, GrantOf(spec, "tg_2").Remaining));
        Assert.Equal((0L, 0L), (spec.Check("hours").Tokens, Tokens.Balance(spec.State, spec.Now)));
    }

    [Fact]
    public void a_hold_is_all_or_nothing()
    {
        var spec = Opened(Catalog).Given(Grant(3)).When(Place("calls", 6));

        var denial = spec.ThenRejected(RejectionKind.QuotaExceeded).Denial!;
        Assert.Equal((6L, 4L), (denial.Requested, denial.Remaining));
        Assert.Equal((2L, 0L), (spec.State.Version, GrantOf(spec, "tg_2").Held));
    }

    [Fact]
    public void what_is_unlimited_can_be_held_too()
    {
        var spec = Opened(Catalog, plan: "rated").Given(Place("jobs", 15));

        Assert.Equal((15L, (long?)null), (spec.Check("jobs").Held, spec.Check("jobs").Remaining));
    }

    [Fact]
    public void a_rate_counts_what_is_held_like_use()
    {
        var spec = Opened(Catalog, plan: "rated").Given(Place("jobs", 15), Use("jobs", 3));

        Assert.Equal(2, spec.Check("jobs").Rate!.Remaining);
        spec.When(Use("jobs", 3)).ThenRejected(RejectionKind.RateLimited);
        spec.When(Place("jobs", 3)).ThenRejected(RejectionKind.RateLimited);
        // What is held is past every rate; what is more is not.
        spec.When(Settle("ho_2", 18)).ThenRejected(RejectionKind.RateLimited);
        spec.Given(Settle("ho_2", 17)).When(Use("jobs")).ThenRejected(RejectionKind.RateLimited);
    }

    [Fact]
    public void each_thing_that_cannot_be_held_has_its_own_refusal_and_the_order_of_precedence_holds()
    {
        var spec = Opened(Catalog);
        var (never, ever) = (Duration.FromMilliseconds(999), Duration.FromDays(7) + Duration.FromSeconds(1));
        (PlaceHold Command, RejectionKind Kind)[] table =
        [
            (Place("nothing", -1), RejectionKind.FeatureUnknown),
            (Place("export", -1), RejectionKind.FeatureNotMetered),
            (Place("storage", -1), RejectionKind.FeatureIsGauge),
            (Place("jobs", 0, never), RejectionKind.QuantityNotPositive),
            (Place("jobs", -0.5m), RejectionKind.QuantityNotPositive),
            (Place("jobs", 1_000_000_000_000_000.5m), RejectionKind.QuantityTooLarge),
            (Place("jobs", 0.5m, ever), RejectionKind.QuantityTooPrecise),
            (Place("jobs", 11, never), RejectionKind.ExpiryInPast),
            (Place("jobs", 11, ever), RejectionKind.ExpiryTooFar),
            (Place("jobs", 11), RejectionKind.QuotaExceeded),
        ];
        foreach (var (command, kind) in table) spec.When(command).ThenRejected(kind);
        Assert.Equal(table.Select(t => (int)t.Kind).Order(), table.Select(t => (int)t.Kind));
        spec.Given(Place("jobs", 1, Duration.FromSeconds(1)), Place("jobs", 1, Duration.FromDays(7)));
    }

    [Fact]
    public void a_thousand_holds_may_be_open_and_no_more()
    {
        var spec = Opened(Catalog.Replace("\"jobs\": 10", "\"jobs\": 5000", StringComparison.Ordinal));
        for (var i = 0; i < Holds.MaxOpen; i++) spec.Given(Place("jobs", 1));
        spec.When(Place("jobs", 5000)).ThenRejected(RejectionKind.TooMany);
        spec.Given(Release("ho_500"), Place("jobs", 1));
    }

    // ---- settling

    [Fact]
    public void a_settled_hold_becomes_use_in_one_append()
    {
        var spec = Opened(Catalog).Given(Place("jobs", 6)).After(Duration.FromMinutes(3)).When(Settle("ho_2", 6));

        spec.Then(
            new HoldEnded("ho_2", HoldOutcome.Settled) { Feature = "jobs" },
            new UsageRecorded("jobs", 6, 6, 0, 0, null, false, null, null,
            [
                new CountedWindow(Window.Hour, Time("2026-11-20T10:00:00Z"), Time("2026-11-20T11:00:00Z")),
                new CountedWindow(Window.Day, Time("2026-11-20T00:00:00Z"), Time("2026-11-21T00:00:00Z")),
                new CountedWindow(Window.Period, Time("2026-11-01T00:00:00Z"), Time("2026-12-01T00:00:00Z")),
            ], "free", 1, null) { Hold = "ho_2" });
        Assert.Equal(spec.Now, spec.Then<UsageRecorded>().EffectiveAt);
        Assert.Equal((6L, 0L, 4L), (spec.Check("jobs").Used, spec.Check("jobs").Held, spec.Check("jobs").Remaining));
        Assert.Empty(spec.State.Holds);
    }

    [Fact]
    public void settled_for_less_it_uses_what_it_held_in_order_and_the_rest_is_free_again()
    {
        var spec = Opened(Catalog).Given(Grant(3), Place("hours", 6)).When(Settle("ho_3", 2.5m));

        var use = spec.Then<UsageRecorded>();
        Assert.Equal((200L, 50L, 0L, (decimal?)null, (Instant?)null), (use.Allowance, use.ByTokens, use.Overage, use.UnitPrice, use.BilledAt));
        Assert.Equal([new GrantUse("tg_2", 1)], use.Grants!);
        var grant = GrantOf(spec, "tg_2");
        Assert.Equal((1L, 0L, 2L), (grant.Consumed, grant.Held, grant.Remaining));
    }

    [Fact]
    public void settled_for_all_of_it_the_overage_is_priced_and_billed()
    {
        var use = Opened(Catalog).Given(Grant(3), Place("hours", 6)).When(Settle("ho_3", 6)).Then<UsageRecorded>();

        Assert.Equal((200L, 300L, 100L, 0.50m, false), (use.Allowance, use.ByTokens, use.Overage, use.UnitPrice, use.OverLimit));
        Assert.Equal([new GrantUse("tg_2", 3)], use.Grants!);
        Assert.Equal(Time("2026-12-01T00:00:00Z"), use.BilledAt);
    }

    [Fact]
    public void settled_for_more_the_rest_is_covered_like_any_use()
    {
        var spec = Opened(Catalog).Given(Grant(3), Grant(10), Place("calls", 5)).When(Settle("ho_4", 7));

        // Four of the allowance, one by the held two tokens, and two more by four.
        var use = spec.Then<UsageRecorded>();
        Assert.Equal((7L, 4L, 3L, 0L), (use.Quantity, use.Allowance, use.ByTokens, use.Overage));
        Assert.Equal([new GrantUse("tg_2", 3), new GrantUse("tg_3", 3)], use.Grants!);
        Assert.Equal(7, Tokens.Balance(spec.State, spec.Now));
    }

    [Fact]
    public void tokens_are_whole_for_the_whole_of_what_is_settled()
    {
        // 1.5 hours are two tokens, and so are 2: the half hour more costs none.
        var spec = Opened(Catalog).Given(Use("hours", 2), Grant(5), Place("hours", 1.5m));
        Assert.Equal(2, GrantOf(spec, "tg_3").Held);

        Assert.Equal([new GrantUse("tg_3", 2)], spec.When(Settle("ho_4", 2)).Then<UsageRecorded>().Grants!);
        Assert.Equal(3, Tokens.Balance(spec.State, spec.Now));
    }

    [Fact]
    public void when_what_is_more_is_denied_nothing_changes_and_the_hold_stays()
    {
        var spec = Opened(Catalog).Given(Place("jobs", 6), Use("jobs", 3)).When(Settle("ho_2", 8));

        var denial = spec.ThenRejected(RejectionKind.QuotaExceeded).Denial!;
        Assert.Equal((2L, 1L), (denial.Requested, denial.Remaining));
        Assert.Equal((3L, 3L, 6L), (spec.State.Version, spec.Check("jobs").Used, spec.Check("jobs").Held));
        spec.Given(Settle("ho_2", 7));
        Assert.Equal((10L, 0L), (spec.Check("jobs").Used, spec.Check("jobs").Remaining));
    }

    [Fact]
    public void settled_with_nothing_it_only_ends()
    {
        var spec = Opened(Catalog).Given(Grant(10), Place("calls", 6)).When(Settle("ho_3", 0));

        spec.Then(new HoldEnded("ho_3", HoldOutcome.Settled) { Feature = "calls", Grants = [new GrantUse("tg_2", 4)] });
        Assert.Equal((0L, 0L, 10L), (spec.Check("calls").Used, spec.Check("calls").Held, spec.Check("calls").Tokens));
    }

    [Theory]
    [InlineData("small")]
    [InlineData("none")]
    public void whatever_changed_since_up_to_what_is_held_it_cannot_be_refused(string plan)
    {
        var spec = Opened(Catalog).Given(Place("jobs", 6), Place("hours", 3), Plan(plan));
        Assert.Equal(plan == "small" ? 0L : null, spec.Check("jobs").Remaining);

        Assert.Equal((6L, 6L, 0L, false), Parts(spec.When(Settle("ho_2", 6)).Then<UsageRecorded>()));
        // Overage that the plan would no longer allow was allowed when it was held; the plan has no price for it.
        var hours = spec.When(Settle("ho_3", 3)).Then<UsageRecorded>();
        Assert.Equal((300L, 200L, 100L, true), Parts(hours));
        Assert.Equal(((decimal?)null, (Instant?)null), (hours.UnitPrice, hours.BilledAt));

        static (long, long, long, bool) Parts(UsageRecorded use) => (use.Quantity, use.Allowance, use.Overage, use.OverLimit);
    }

    [Fact]
    public void overage_of_a_hold_goes_into_the_tiers_that_run_when_it_is_settled()
    {
        var spec = Opened(Catalog).Given(Place("mails", 7), Use("mails", 3)).When(Settle("ho_2", 8));

        // Three of the allowance; three were charged for meanwhile, so two of five are left in the first tier.
        var use = spec.Then<UsageRecorded>();
        Assert.Equal((8L, 3L, 5L, (decimal?)null), (use.Quantity, use.Allowance, use.Overage, use.UnitPrice));
        Assert.Equal([new PricedUse(0.10m, 2), new PricedUse(0.02m, 3)], use.Tiers!);
    }

    [Fact]
    public void a_hold_follows_the_running_windows()
    {
        var spec = Opened(Catalog).Given(Use("jobs", 4)).At("2026-11-20T23:55:00Z").Given(Place("jobs", 6)).At("2026-11-21T00:05:00Z");

        Assert.Equal((0L, 6L, 4L), (spec.Check("jobs").Used, spec.Check("jobs").Held, spec.Check("jobs").Remaining));
        Assert.Equal(Time("2026-11-21T00:00:00Z"), spec.When(Settle("ho_4", 6)).Then<UsageRecorded>().Windows!.Single(w => w.Window == Window.Day).Start);
        Assert.Equal((6L, 0L, 4L), (spec.Check("jobs").Used, spec.Check("jobs").Held, spec.Check("jobs").Remaining));
    }

    [Fact]
    public void the_metadata_of_a_hold_goes_to_its_use_unless_the_settling_brings_its_own()
    {
        var (asked, done) = (new Dictionary<string, string> { ["job"] = "1" }, new Dictionary<string, string> { ["took"] = "5s" });
        var spec = Opened(Catalog).Given(Place("jobs", 1, metadata: asked), Place("jobs", 1, metadata: asked));

        Assert.Same(asked, spec.When(Settle("ho_2", 1)).Then<UsageRecorded>().Metadata);
        Assert.Same(done, spec.When(Settle("ho_3", 1, done)).Then<UsageRecorded>().Metadata);
    }

    // ---- the end

    [Fact]
    public void a_released_hold_is_free_again()
    {
        var spec = Opened(Catalog).Given(Grant(10), Place("calls", 6)).When(Release("ho_3"));

        spec.Then(new HoldEnded("ho_3", HoldOutcome.Released) { Feature = "calls", Grants = [new GrantUse("tg_2", 4)] });
        Assert.Equal((0L, 4L, 10L), (spec.Check("calls").Held, spec.Check("calls").Remaining, spec.Check("calls").Tokens));
    }

    [Fact]
    public void every_way_to_end_a_hold_twice_says_what_became_of_it()
    {
        var spec = Opened(Catalog).Given(Place("jobs", 1), Place("jobs", 1), Place("jobs", 1), Settle("ho_2", 1), Release("ho_3")).After(Duration.FromMinutes(15));

        foreach (var again in (Command[])[Settle("ho_2", 1), Settle("ho_2", 0), Release("ho_2")])
            Assert.StartsWith("The hold 'ho_2' was settled at 2026-11-20T10:00:00Z.", spec.When(again).ThenRejected(RejectionKind.HoldEnded).Message, StringComparison.Ordinal);
        foreach (var again in (Command[])[Settle("ho_3", 1), Release("ho_3")])
            Assert.StartsWith("The hold 'ho_3' was released at 2026-11-20T10:00:00Z.", spec.When(again).ThenRejected(RejectionKind.HoldEnded).Message, StringComparison.Ordinal);
        // By the clock, although nothing is written of it yet, and a rejection writes nothing.
        foreach (var again in (Command[])[Settle("ho_4", 1), Release("ho_4")])
            Assert.StartsWith("The hold 'ho_4' expired at 2026-11-20T10:15:00Z,", spec.When(again).ThenRejected(RejectionKind.HoldEnded).Message, StringComparison.Ordinal);
        Assert.Equal("ho_4", spec.State.Holds.Single().Id);
        foreach (var unknown in (string[])["ho_1", "ho_99", "ho_02", "ur_2", ""])
        {
            spec.When(Settle(unknown, -1)).ThenRejected(RejectionKind.HoldUnknown);
            spec.When(Release(unknown)).ThenRejected(RejectionKind.HoldUnknown);
        }
    }

    [Fact]
    public void the_same_command_again_is_the_same_settling_and_a_wrong_quantity_comes_before_what_became_of_it()
    {
        var spec = Opened(Catalog).Given(Place("hours", 1));
        var settle = Settle("ho_2", 1) with { At = spec.Now };
        spec.Given(settle);

        Assert.Equal(Decision.AlreadyDone, Decider.Decide(spec.State, Catalogs(Catalog), settle, new RecordedCommand(3, settle.ContentHash)));
        spec.When(Settle("ho_2", -1)).ThenRejected(RejectionKind.QuantityNotPositive);
        spec.When(Settle("ho_2", 0.001m)).ThenRejected(RejectionKind.QuantityTooPrecise);
        spec.When(Settle("ho_2", 1)).ThenRejected(RejectionKind.HoldEnded);
    }

    [Fact]
    public void a_hold_expires_at_its_time_whether_or_not_that_is_written_yet()
    {
        var spec = Opened(Catalog).Given(Grant(10), Place("calls", 6, Duration.FromSeconds(1))).After(Duration.FromMilliseconds(999));
        Assert.Equal((6L, 0L, 6L), (spec.Check("calls").Held, spec.Check("calls").Remaining, spec.Check("calls").Tokens));

        spec.After(Duration.FromMilliseconds(1));
        Assert.Equal((0L, 4L, 10L), (spec.Check("calls").Held, spec.Check("calls").Remaining, spec.Check("calls").Tokens));
        Assert.True(spec.Check("calls", 9).HasAccess);
        Assert.Equal(3, spec.Check("calls", 10).Denial!.Version);

        Assert.Equal(Time("2026-11-20T10:00:01Z"), spec.State.DueAt);
        spec.When(Due()).Then(new HoldEnded("ho_3", HoldOutcome.Expired) { Feature = "calls", Grants = [new GrantUse("tg_2", 4)] });
        Assert.Equal(Time("2026-11-20T10:00:01Z"), spec.Then<HoldEnded>().EffectiveAt);
        Assert.Null(spec.State.DueAt);
    }

    [Fact]
    public void expired_holds_are_ended_each_at_its_time_before_the_next_event()
    {
        var spec = Opened(Catalog).Given(Place("jobs", 1, Duration.FromMinutes(2)), Place("jobs", 2, Duration.FromMinutes(1)), Place("jobs", 3, Duration.FromMinutes(2)))
            .After(Duration.FromHours(1)).Given(Use("jobs", 10));

        Assert.Equal(["ho_3 2026-11-20T10:01:00Z", "ho_2 2026-11-20T10:02:00Z", "ho_4 2026-11-20T10:02:00Z"],
            spec.Events.OfType<HoldEnded>().Select(e => $"{e.Hold} {e.EffectiveAt}"));
        Assert.All(spec.Events.OfType<HoldEnded>(), e => Assert.Equal(spec.Now, e.RecordedAt));
    }

    [Fact]
    public void held_tokens_stay_their_holds_own_when_their_grant_expires()
    {
        var spec = Opened(Catalog).Given(Grant(20, expires: Time("2026-11-20T10:05:00Z")), Place("calls", 8), Place("calls", 2)).At("2026-11-20T10:06:00Z");

        Assert.Equal([new GrantUse("tg_2", 8)], spec.When(Due()).Then<TokensExpired>().Grants);
        Assert.Equal((12L, 8L, 0L), (GrantOf(spec, "tg_2").Held, GrantOf(spec, "tg_2").Expired, GrantOf(spec, "tg_2").Remaining));

        // Settled, they are burned; what is not used of them goes where the grant went.
        spec.When(Settle("ho_3", 7));
        Assert.Equal([new GrantUse("tg_2", 6)], spec.Then<UsageRecorded>().Grants!);
        Assert.Equal([new GrantUse("tg_2", 2)], spec.Then<TokensExpired>().Grants);
        spec.When(Release("ho_4")).Then(
            new HoldEnded("ho_4", HoldOutcome.Released) { Feature = "calls", Grants = [new GrantUse("tg_2", 4)] }, new TokensExpired([new GrantUse("tg_2", 4)]));
        Assert.Equal((6L, 0L, 14L, 0L), (GrantOf(spec, "tg_2").Consumed, GrantOf(spec, "tg_2").Held, GrantOf(spec, "tg_2").Expired, GrantOf(spec, "tg_2").Remaining));
    }

    [Fact]
    public void a_hold_that_expires_with_or_after_its_grant_gives_nothing_back()
    {
        var spec = Opened(Catalog).Given(Grant(8, expires: Time("2026-11-20T10:15:00Z")), Place("calls", 6)).At("2026-11-20T10:20:00Z");

        Assert.Equal(0, spec.Check("calls").Tokens);
        spec.Given(Due());
        Assert.Equal((0L, 8L, 0L), (GrantOf(spec, "tg_2").Held, GrantOf(spec, "tg_2").Expired, GrantOf(spec, "tg_2").Remaining));
        Assert.Null(spec.State.DueAt);
    }

    [Fact]
    public void a_refund_takes_what_is_left_and_held_tokens_are_owed_until_they_come_back_or_are_burned()
    {
        var spec = Opened(Catalog);
        spec.Given(Buy("pack", "pi_1", 1000, spec.Now), Place("calls", 34), Place("calls", 10), Return("pi_1", 1000));
        Assert.Equal((80L, 20L, 80L, 0L), Books(spec));

        // Released, they pay what is owed; settled, they are burned and still owed.
        spec.When(Release("ho_3")).Then(
            new HoldEnded("ho_3", HoldOutcome.Released) { Feature = "calls", Grants = [new GrantUse("tg_2", 60)] }, new TokensRevoked("tg_2", 60, -60, "pi_1"));
        Assert.Equal((20L, 80L, 20L, 0L), Books(spec));
        spec.Given(Settle("ho_4", 7));
        Assert.Equal((0L, 86L, 14L, 0L), Books(spec));
        Assert.Equal(14, GrantOf(spec, "tg_2").Consumed);
        spec.When(Return("pi_1", 1000)).ThenNothing();

        static (long, long, long, long) Books(Spec spec) => GrantOf(spec, "tg_2") is var g ? (g.Held, g.Revoked, g.Debt, g.Remaining) : default;
    }

    [Fact]
    public void the_last_hundred_that_ended_are_remembered()
    {
        var spec = Opened(Catalog);
        for (var i = 0; i < 101; i++) spec.Given(Place("jobs", 1), Release($"ho_{2 * i + 2}"));

        Assert.Equal(Holds.MaxRemembered, spec.State.EndedHolds.Length);
        spec.When(Release("ho_2")).ThenRejected(RejectionKind.HoldUnknown);
        spec.When(Release("ho_4")).ThenRejected(RejectionKind.HoldEnded);
    }

    [Fact]
    public void a_closed_organization_settles_nothing_and_its_holds_run_out()
    {
        var spec = Opened(Catalog).Given(Place("jobs", 1), New(new CloseOrganization(null) { Id = "", ContentHash = [], At = default }));

        spec.When(Settle("ho_2", 1)).ThenRejected(RejectionKind.OrganizationClosed);
        spec.After(Duration.FromMinutes(15)).When(Due()).Then(new HoldEnded("ho_2", HoldOutcome.Expired) { Feature = "jobs" });
    }

    [Fact]
    public void an_explanation_names_the_holds()
    {
        var spec = Opened(Catalog).Given(Place("jobs", 4), Place("hours", 1), Place("jobs", 3));
        var why = new Explanation();
        Entitlements.Evaluate(spec.State, Catalogs(Catalog), Catalogs(Catalog).Feature("jobs")!, 2, spec.Now, why: why);

        var step = why.Steps.Single(s => s.Rule == "holds");
        Assert.Equal([2L, 4L], step.Events.AsEnumerable());
        Assert.Equal((7L, 7L, 0L), (step.Numbers["quantity"], step.Numbers["allowance"], step.Numbers["overage"]));
        Assert.Equal(7L, why.Steps.Single(s => s.Rule == "allowance").Numbers["held"]);
    }

    [Fact]
    public void what_no_window_could_count_is_not_held_either()
    {
        const long most = Quantity.MaxUnits;
        var spec = Opened("""
            { "fallback_plan": "free", "features": { "bytes": { "name": "bytes", "type": "metered", "meter": { "unit": "byte" } } }, "plans": { "free": { "name": "Free", "features": { "bytes": "unlimited" } } } }
            """).Given(Use("bytes", 1));
        for (var i = 0; i < 999; i++) spec.Given(Place("bytes", most));

        Assert.Contains("are counted in one window", spec.When(Place("bytes", most)).ThenRejected(RejectionKind.QuantityTooLarge).Message, StringComparison.Ordinal);
        spec.When(Use("bytes", most)).ThenRejected(RejectionKind.QuantityTooLarge);
        spec.Given(Settle("ho_3", most), Use("bytes", most - 1));
        spec.When(Settle("ho_4", most)).Then<UsageRecorded>();
    }

    private static Instant Time(string time) => Api.TestApi.Time(time);
}
