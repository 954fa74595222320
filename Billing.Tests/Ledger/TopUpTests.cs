using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;

namespace Billing.Tests.Ledger;

public sealed class TopUpTests
{
    private const string Catalog = """
        {
          "fallback_plan": "free",
          "features": { "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call" }, "mode": "tokens" } },
          "plans": { "free": { "name": "Free", "features": { "calls": 0 } } },
          "token_packages": {
            "small": { "name": "Small", "tokens": 1000, "prices": [{ "amount": 500 }] },
            "euro":  { "name": "Euro", "tokens": 1000, "prices": [{ "amount": 500, "currency": "eur" }] }
          }
        }
        """;

    private static readonly TopUpTerms Terms = new("small", 100, 3, 2_000, 60);

    private static Instant Time(string time) => Api.TestApi.Time(time);

    private static PurchaseTokens Pay(string topUp, string payment = "pi_1") => New(new PurchaseTokens("small", payment, 500, "usd", Time("2026-11-20T10:00:00Z"), topUp) { Id = "", ContentHash = [], At = default });

    /// <summary>With 1,000 tokens, so that nothing is short yet: version 3.</summary>
    private static Spec Configured(TopUpTerms? terms = null, string catalog = Catalog) => Opened(catalog).Given(Grant(1_000), TopUp(terms ?? Terms));

    /// <summary>With a request pending: use is version 4, the request 5.</summary>
    private static Spec Pending(TopUpTerms? terms = null) => Configured(terms).Given(Use("calls", 950));

    // ---- asking

    [Fact]
    public void a_balance_below_the_threshold_asks_for_one_top_up_in_the_same_append()
    {
        var spec = Configured().When(Use("calls", 900));
        Assert.Empty(spec.Wrote<TopUpRequested>());

        spec.When(Use("calls"));
        Assert.Equal([typeof(UsageRecorded), typeof(TopUpRequested)], spec.Wrote<LedgerEvent>().Select(e => e.GetType()));
        Assert.Equal(("small", 1_000L, 500L, "usd"), spec.Then<TopUpRequested>() is var asked ? (asked.Package, asked.Tokens, asked.Amount, asked.Currency) : default);
        Assert.Equal("tu_6", spec.State.Alerts.TopUp!.Pending!.Id);
    }

    [Fact]
    public void while_one_is_pending_no_other_is_asked_for_however_short_it_gets()
    {
        var spec = Pending();
        for (var i = 0; i < 50; i++) Assert.Empty(spec.After(Duration.FromDays(1)).When(Use("calls")).Wrote<TopUpRequested>());
        Assert.Null(spec.State.DueAt is { } due && due <= spec.Now ? due : (Instant?)null);
    }

    [Fact]
    public void who_is_short_already_gets_one_on_configuring()
    {
        var spec = Opened(Catalog).When(TopUp(Terms));

        spec.Then(new TopUpConfigured(Terms, "key_1"), new TopUpRequested("small", 1_000, 500, "usd"));
    }

    [Fact]
    public void tokens_that_expire_ask_for_one_without_traffic()
    {
        var spec = Opened(Catalog).Given(Grant(1_000, expires: Time("2026-11-22T00:00:00Z")), TopUp(Terms)).At("2026-11-22T00:00:00Z").When(Due());

        spec.Then(new TokensExpired([new GrantUse("tg_2", 1_000)]), new TopUpRequested("small", 1_000, 500, "usd"));
    }

    [Fact]
    public void a_refund_that_takes_the_tokens_asks_for_one()
    {
        var spec = Opened(Catalog).Given(Buy("small", "pi_0", 500, Time("2026-11-20T10:00:00Z")), TopUp(Terms)).When(Return("pi_0", 500));

        Assert.Single(spec.Wrote<TopUpRequested>());
    }

    [Fact]
    public void the_cool_off_is_waited_for_and_then_it_asks_by_the_clock()
    {
        var spec = Pending().After(Duration.FromMinutes(1)).Given(Pay("tu_5")).When(Use("calls", 1_049));
        Assert.Empty(spec.Wrote<TopUpRequested>());
        Assert.Equal(Time("2026-11-20T11:00:00Z"), spec.State.DueAt);

        spec.At("2026-11-20T10:59:59Z").When(Due()).ThenNothing();
        spec.At("2026-11-20T11:20:00Z").When(Due()).Then(new TopUpRequested("small", 1_000, 500, "usd"));
        Assert.Equal(Time("2026-11-20T11:00:00Z"), spec.Events[^1].EffectiveAt);
    }

    // ---- answers

    [Fact]
    public void a_payment_gives_the_tokens_and_ends_the_top_up()
    {
        var spec = Pending().When(Pay("tu_5"));

        spec.Then(new TokensPurchased("small", 1_000, 50, "pi_1", 500, "usd"), new TopUpEnded("tu_5", null));
        Assert.Equal(1_050, Tokens.Balance(spec.State, spec.Now));
        Assert.Null(spec.State.Alerts.TopUp!.Pending);
    }

    [Fact]
    public void a_payment_that_was_heard_of_before_ends_the_top_up_and_gives_nothing_twice()
    {
        var spec = Pending().Given(Buy("small", "pi_1", 500, Time("2026-11-20T10:00:00Z"))).When(Pay("tu_5"));

        spec.Then(new TopUpEnded("tu_5", null));
        spec.When(Pay("tu_5")).ThenNothing();
        Assert.Equal(1_050, Tokens.Balance(spec.State, spec.Now));
    }

    [Fact]
    public void a_failure_ends_it_and_after_the_cool_off_the_next_is_asked_for()
    {
        var spec = Pending().After(Duration.FromMinutes(2)).When(Fail("tu_5"));

        spec.Then(new TopUpEnded("tu_5", "card_declined"));
        spec.At("2026-11-20T11:00:00Z").When(Due()).Then(new TopUpRequested("small", 1_000, 500, "usd"));
        Assert.Equal((2, 1_000L, 1), spec.State.Alerts.TopUp is { } t ? (t.Count, t.Amount, t.Failures) : default);
    }

    [Fact]
    public void money_that_comes_in_after_a_failure_gives_its_tokens_and_leaves_the_next_one_pending()
    {
        var spec = Pending().Given(Fail("tu_5")).After(Duration.FromHours(2)).Given(Due());
        var next = spec.State.Alerts.TopUp!.Pending!.Id;

        spec.When(Pay("tu_5")).Then(new TokensPurchased("small", 1_000, 50, "pi_1", 500, "usd"), new TopUpEnded("tu_5", null));
        Assert.Equal((next, 0), (spec.State.Alerts.TopUp!.Pending!.Id, spec.State.Alerts.TopUp.Failures));
        Assert.Equal(1_050, Tokens.Balance(spec.State, spec.Now));
    }

    [Theory]
    [InlineData("tu_5")]
    [InlineData("tu_4")]
    [InlineData("tu_999")]
    [InlineData("nonsense")]
    public void a_failure_of_what_is_not_pending_is_refused(string id)
    {
        var spec = Pending().Given(Pay("tu_5")).When(Fail(id));

        Assert.Equal($"There is no top-up '{id}' that waits for an answer.", spec.ThenRejected(RejectionKind.TopUpUnknown).Message);
    }

    [Theory]
    [InlineData("tu_999")]
    [InlineData("nonsense")]
    public void money_for_a_top_up_that_nobody_asked_for_is_a_purchase_like_any_other(string id) =>
        Pending().When(Pay(id)).Then(new TokensPurchased("small", 1_000, 50, "pi_1", 500, "usd"));

    // ---- switching off

    [Fact]
    public void three_failures_in_a_row_switch_it_off_and_configuring_starts_anew()
    {
        var spec = Pending().Given(Fail("tu_5")).After(Duration.FromHours(1)).Given(Due(), Fail("tu_7")).After(Duration.FromHours(1)).Given(Due())
            .When(Fail("tu_9"));
        spec.Then(new TopUpEnded("tu_9", "card_declined"), new TopUpSwitchedOff(3, "payments_failed"));
        Assert.Equal(("payments_failed", Terms), (spec.State.Alerts.TopUp!.SwitchedOff, spec.State.Alerts.TopUp.Terms));

        spec.After(Duration.FromDays(40)).When(Use("calls")).Then<UsageRecorded>();
        Assert.Empty(spec.Wrote<TopUpRequested>());
        Assert.Null(spec.State.Alerts.TopUp!.Pending);

        // The same terms again are a change now.
        spec.When(TopUp(Terms));
        Assert.Single(spec.Wrote<TopUpRequested>());
        Assert.Equal((null, 0), (spec.State.Alerts.TopUp!.SwitchedOff, spec.State.Alerts.TopUp.Failures));
    }

    [Fact]
    public void a_payment_between_failures_starts_the_count_again()
    {
        var spec = Configured(Terms with { MaxCount = 10, MaxAmount = 10_000, CoolOffMinutes = 0 }).Given(Use("calls", 950));
        for (var i = 0; i < 3; i++)
        {
            spec.Given(Fail(spec.State.Alerts.TopUp!.Pending!.Id));
            spec.Given(Fail(spec.State.Alerts.TopUp!.Pending!.Id));
            spec.Given(Pay(spec.State.Alerts.TopUp!.Pending!.Id, $"pi_{i}"), Use("calls", 1_000));
            Assert.Null(spec.State.Alerts.TopUp.SwitchedOff);
        }
    }

    [Fact]
    public void a_package_that_is_no_longer_sold_switches_it_off()
    {
        var spec = Configured();
        var catalogs = Catalogs(Catalog, Catalog.Replace("\"small\"", "\"other\"", StringComparison.Ordinal));

        var decision = Decider.Decide(spec.State, catalogs, Use("calls", 950) with { At = spec.Now }, null);
        Assert.Equal("package_not_sold", Assert.Single(decision.Events.OfType<TopUpSwitchedOff>()).Reason);
        Assert.Null(spec.State.Evolve(decision.Events).Alerts.TopUp!.Pending);
    }

    [Fact]
    public void a_price_above_the_months_limit_switches_it_off()
    {
        var spec = Configured(Terms with { MaxAmount = 500 });
        var catalogs = Catalogs(Catalog, Catalog.Replace("\"amount\": 500", "\"amount\": 501", StringComparison.Ordinal));

        var decision = Decider.Decide(spec.State, catalogs, Use("calls", 950) with { At = spec.Now }, null);
        Assert.Equal("price_above_limit", Assert.Single(decision.Events.OfType<TopUpSwitchedOff>()).Reason);
    }

    [Fact]
    public void switching_it_off_asks_for_nothing_more_and_what_is_pending_may_still_be_paid()
    {
        var spec = Pending().When(TopUp(null));
        spec.Then(new TopUpConfigured(null, "key_1"));

        spec.When(TopUp(null)).ThenNothing();
        spec.Given(Pay("tu_5"), Use("calls", 1_050)).After(Duration.FromDays(2)).When(Due());
        Assert.DoesNotContain(spec.Events.Skip(5), e => e is TopUpRequested);
        Assert.Null(spec.State.Alerts.TopUp!.Pending);
    }

    [Fact]
    public void configuring_the_same_again_changes_nothing() => Configured().When(TopUp(Terms)).ThenNothing();

    // ---- the month's limit

    [Theory]
    [InlineData(2, 10_000, "by count")]
    [InlineData(50, 1_499, "by amount")]
    public void the_months_limit_is_never_passed_and_is_told_once(int count, long amount, string why)
    {
        var spec = Configured(Terms with { MaxCount = count, MaxAmount = amount }).Given(Use("calls", 950));
        for (var day = 0; day < 9; day++)
        {
            spec.After(Duration.FromDays(1));
            if (spec.State.Alerts.TopUp!.Pending is { } pending) spec.Given(Pay(pending.Id, $"pi_{day}"));
            if (Tokens.Balance(spec.State, spec.Now) is > 0 and var left) spec.Given(Use("calls", left));
        }
        Assert.True(spec.Events.OfType<TopUpRequested>().Count() == 2, $"Two fit in a month {why}.");
        var told = Assert.Single(spec.Events.OfType<AlertRaised>(), a => a.Kind == AlertKind.TopUpLimited);
        Assert.Equal((Time("2026-11-01T00:00:00Z"), Time("2026-12-01T00:00:00Z"), 100L), (told.Start, told.End, told.Limit));

        // It goes on with the next month, by the clock.
        Assert.Equal(Time("2026-12-01T00:00:00Z"), spec.State.DueAt);
        spec.At("2026-12-01T00:00:00Z").When(Due());
        Assert.Single(spec.Wrote<TopUpRequested>());
        Assert.Equal((1, 500L), (spec.State.Alerts.TopUp!.Count, spec.State.Alerts.TopUp.Amount));
    }

    [Fact]
    public void the_month_is_the_calendars_in_the_organizations_zone()
    {
        var spec = Opened(Catalog, zone: "Asia/Kathmandu").Given(Grant(1_000), TopUp(Terms with { MaxCount = 1 }), Use("calls", 950), Pay("tu_5"), Use("calls", 1_040));

        Assert.Equal(Time("2026-11-30T18:15:00Z"), spec.State.Alerts.TopUp!.LimitedUntil ?? spec.At("2026-11-20T11:00:00Z").Given(Due()).State.Alerts.TopUp!.LimitedUntil);
        spec.At("2026-11-30T18:15:00Z").When(Due());
        Assert.Single(spec.Wrote<TopUpRequested>());
    }

    [Fact]
    public void new_terms_do_not_start_the_month_again()
    {
        var spec = Pending(Terms with { MaxCount = 1 }).Given(Pay("tu_5")).After(Duration.FromDays(1)).Given(Use("calls", 1_050));
        Assert.Contains(spec.Wrote<AlertRaised>(), a => a.Kind == AlertKind.TopUpLimited);

        Assert.Empty(spec.When(TopUp(Terms with { MaxCount = 1, Threshold = 200 })).Wrote<TopUpRequested>());
        Assert.Single(spec.When(TopUp(Terms with { MaxCount = 2 })).Wrote<TopUpRequested>());
    }

    // ---- what can be configured

    [Theory]
    [InlineData("huge", 100, 3, RejectionKind.TokenPackageUnknown, "token_package")]
    [InlineData("euro", 100, 3, RejectionKind.PriceUnknown, "token_package")]
    [InlineData("small", 0, 3, RejectionKind.QuantityNotPositive, "threshold")]
    [InlineData("small", Quantity.MaxUnits + 1, 3, RejectionKind.QuantityTooLarge, "threshold")]
    [InlineData("small", 100, 0, RejectionKind.QuantityNotPositive, "max_count")]
    public void terms_that_cannot_work_are_refused(string package, long threshold, int count, RejectionKind kind, string field)
    {
        var spec = Configured().When(TopUp(new TopUpTerms(package, threshold, count, 2_000, 60)));

        Assert.Equal(field, spec.ThenRejected(kind).Field);
        Assert.Equal(Terms, spec.State.Alerts.TopUp!.Terms);
    }

    [Fact]
    public void a_closed_organization_buys_nothing()
    {
        var spec = Opened(Catalog).Given(Grant(1_000, expires: Time("2026-11-25T00:00:00Z")), TopUp(Terms), New(new CloseOrganization(null) { Id = "", ContentHash = [], At = default }));

        spec.After(Duration.FromDays(60)).When(Due()).Then(new TokensExpired([new GrantUse("tg_2", 1_000)]));
        Assert.Null(spec.State.DueAt);
    }
}
