using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;

namespace Billing.Tests.Ledger;

public sealed class TokenTests
{
    private const string Catalog = """
        {
          "fallback_plan": "free",
          "features": {
            "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call" }, "mode": "tokens" },
            "pages": { "name": "pages", "type": "metered", "meter": { "unit": "page", "decimals": 2 }, "mode": "tokens", "token_cost": 3 },
            "both":  { "name": "both", "type": "metered", "meter": { "unit": "unit" }, "mode": "tokens_then_overage", "unit_price": "0.25" }
          },
          "plans": { "free": { "name": "Free", "features": { "calls": 2, "pages": 0, "both": 5 } } },
          "token_packages": { "small": { "name": "Small", "tokens": 1000, "prices": [{ "amount": 300 }] } }
        }
        """;

    private static Instant Time(string time) => Api.TestApi.Time(time);

    [Fact]
    public void a_grant_is_burned_by_priority_then_expiry_then_age()
    {
        var spec = Opened(Catalog)
            .Given(Grant(10, priority: 50), Grant(10, priority: 50, expires: Time("2026-12-24T00:00:00Z")), Grant(10, priority: 50, expires: Time("2026-12-01T00:00:00Z")))
            .After(Duration.FromMinutes(1)).Given(Grant(10, priority: 10), Grant(10, priority: 50))
            .When(Use("calls", 2 + 45));

        Assert.Equal([new GrantUse("tg_5", 10), new GrantUse("tg_4", 10), new GrantUse("tg_3", 10), new GrantUse("tg_2", 10), new GrantUse("tg_6", 5)],
            spec.Then<UsageRecorded>().Grants!);
    }

    [Fact]
    public void one_consume_is_covered_by_allowance_tokens_and_overage_together()
    {
        var recorded = Opened(Catalog).Given(Grant(3)).When(Use("both", 10)).Then<UsageRecorded>();

        Assert.Equal((5L, 3L, 2L, 0.25m), (recorded.Allowance, recorded.ByTokens, recorded.Overage, recorded.UnitPrice));
    }

    [Fact]
    public void a_quantity_is_never_cut_to_what_is_left()
    {
        var spec = Opened(Catalog).Given(Grant(3)).When(Use("calls", 6));

        var denial = spec.ThenRejected(RejectionKind.QuotaExceeded).Denial!;
        Assert.Equal((6L, 2L), (denial.Requested, denial.Remaining));
        Assert.Equal(3, Tokens.Balance(spec.State, spec.Now));
    }

    [Fact]
    public void tokens_are_charged_whole_for_parts_of_a_unit()
    {
        // 0.34 pages at 3 tokens a page are 1.02 tokens: two are burned.
        var recorded = Opened(Catalog).Given(Grant(10)).When(Use("pages", 0.34m)).Then<UsageRecorded>();

        Assert.Equal([new GrantUse("tg_2", 2)], recorded.Grants!);
    }

    [Fact]
    public void tokens_pay_for_whole_smallest_units_only()
    {
        // 10 tokens at 3 a page are 3.33 pages, and not 3.34.
        Opened(Catalog).Given(Grant(10)).When(Use("pages", 3.34m)).ThenRejected(RejectionKind.QuotaExceeded);
        Opened(Catalog).Given(Grant(10)).When(Use("pages", 3.33m)).Then<UsageRecorded>();
    }

    [Fact]
    public void an_expired_grant_is_written_off_before_the_next_event()
    {
        var spec = Opened(Catalog).Given(Grant(10, expires: Time("2026-11-20T11:00:00Z")), Use("calls", 5)).At("2026-11-20T11:00:00Z");
        Assert.Equal(0, Tokens.Balance(spec.State, spec.Now));

        var burned = spec.When(Grant(1));

        burned.Then(new TokensExpired([new GrantUse("tg_2", 7)]), new TokensGranted(GrantKind.Granted, 1, 50, null, null));
        Assert.Equal("2026-11-20T11:00:00Z", spec.Events[^2].EffectiveAt.ToString());
    }

    [Fact]
    public void a_timer_writes_off_expired_tokens_without_traffic()
    {
        var spec = Opened(Catalog).Given(Grant(10, expires: Time("2026-11-20T11:00:00Z"))).At("2026-11-20T11:30:00Z")
            .When(New(new WriteDue { Id = "", ContentHash = [], At = default }));

        spec.Then(new TokensExpired([new GrantUse("tg_2", 10)]));
        Assert.Null(spec.State.DueAt);
    }

    [Fact]
    public void tokens_cannot_expire_before_they_are_granted() =>
        Opened(Catalog).When(Grant(10, expires: Time("2026-11-20T09:00:00Z"))).ThenRejected(RejectionKind.ExpiryInPast);

    [Theory]
    [InlineData(0, RejectionKind.QuantityNotPositive)]
    [InlineData(-5, RejectionKind.QuantityNotPositive)]
    [InlineData(Quantity.MaxUnits + 1, RejectionKind.QuantityTooLarge)]
    public void a_grant_has_a_sensible_size(long tokens, RejectionKind kind) => Opened(Catalog).When(Grant(tokens)).ThenRejected(kind);

    [Fact]
    public void a_refund_takes_tokens_pro_rata_rounded_down()
    {
        // 100 of 300 cents are a third of 1,000 tokens: 333.
        var spec = Opened(Catalog).Given(Buy("small", "pi_1", 300, Time("2026-11-20T10:00:00Z"))).When(Return("pi_1", 100));

        spec.Then(new TokensRevoked("tg_2", 333, 0, "pi_1"));
        spec.When(Return("pi_1", 100)).ThenNothing();
        spec.When(Return("pi_1", 300)).Then(new TokensRevoked("tg_2", 667, 0, "pi_1"));
        Assert.Equal(0, spec.State.Grants[0].Remaining);
    }

    [Fact]
    public void what_was_burned_before_a_refund_is_a_debt_and_no_other_grant_pays_it()
    {
        var spec = Opened(Catalog).Given(Buy("small", "pi_1", 300, Time("2026-11-20T10:00:00Z")), Use("calls", 902), Grant(50)).When(Return("pi_1", 300));

        spec.Then(new TokensRevoked("tg_2", 100, 900, "pi_1"));
        Assert.Equal(50, Tokens.Balance(spec.State, spec.Now));
        Assert.Equal(900, spec.State.Grants.Sum(g => g.Debt));
    }

    [Fact]
    public void a_dispute_that_is_won_clears_the_debt_first_and_then_gives_back()
    {
        var spec = Opened(Catalog).Given(Buy("small", "pi_1", 300, Time("2026-11-20T10:00:00Z")), Use("calls", 902), Return("pi_1", 300));

        spec.When(Return("pi_1", 0)).Then(new TokensRevoked("tg_2", -100, -900, "pi_1"));
        Assert.Equal(100, Tokens.Balance(spec.State, spec.Now));
    }

    [Fact]
    public void money_that_goes_back_for_something_unknown_changes_nothing() =>
        Opened(Catalog).When(Return("pi_unknown", 100)).ThenNothing();

    [Fact]
    public void an_unknown_package_is_refused() =>
        Opened(Catalog).When(Buy("huge", "pi_1", 300, Time("2026-11-20T10:00:00Z"))).ThenRejected(RejectionKind.TokenPackageUnknown);
}
