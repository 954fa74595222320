using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;
using static Billing.Tests.Ledger.Subscribing;

namespace Billing.Tests.Ledger;

public sealed class RejectionTests
{
    private const string Catalog = """
        {
          "fallback_plan": "free",
          "features": {
            "calls":   { "name": "calls", "type": "metered", "meter": { "unit": "call", "decimals": 2 } },
            "storage": { "name": "storage", "type": "metered", "meter": { "unit": "gb", "aggregation": "gauge" } },
            "export":  { "name": "exports", "type": "boolean" }
          },
          "plans": { "free": { "name": "Free", "features": { "calls": { "allowance": 1, "rate_limits": [{ "limit": 2, "window": "hour" }] }, "storage": 1 } } }
        }
        """;

    /// <summary>Each request is wrong in two ways; the one that the order of precedence puts first is named.</summary>
    [Fact]
    public void the_documented_order_of_precedence_holds()
    {
        var opened = Opened(Catalog);
        var late = opened.Now + Duration.FromHours(1);
        var early = opened.Now - Duration.FromDays(60);
        (Command Command, RejectionKind First, RejectionKind Second)[] table =
        [
            (Use("nothing", -1), RejectionKind.FeatureUnknown, RejectionKind.QuantityNotPositive),
            (Use("export", -1, unit: "x"), RejectionKind.FeatureNotMetered, RejectionKind.UnitMismatch),
            (Use("calls", -1, unit: "x"), RejectionKind.UnitMismatch, RejectionKind.QuantityNotPositive),
            (Use("calls", -0.001m), RejectionKind.QuantityNotPositive, RejectionKind.QuantityTooPrecise),
            (Use("calls", 99_999_999_999_999.001m), RejectionKind.QuantityTooLarge, RejectionKind.QuantityTooPrecise),
            (Use("calls", 0.001m, timestamp: late), RejectionKind.QuantityTooPrecise, RejectionKind.TimestampInFuture),
            (Use("storage", -5, timestamp: late), RejectionKind.GaugeBelowZero, RejectionKind.TimestampInFuture),
            (Use("calls", 5, timestamp: late), RejectionKind.TimestampInFuture, RejectionKind.QuotaExceeded),
            (Use("calls", 5, timestamp: early), RejectionKind.BeforeOpening, RejectionKind.WindowClosed),
            (Use("calls", 5), RejectionKind.RateLimited, RejectionKind.QuotaExceeded),
            (Gauge("export", 1), RejectionKind.FeatureNotMetered, RejectionKind.FeatureNotGauge),
            (Gauge("calls", 0.001m), RejectionKind.FeatureNotGauge, RejectionKind.QuantityTooPrecise),
        ];
        foreach (var (command, first, second) in table)
        {
            Assert.True((int)first < (int)second, $"{first} stands before {second}.");
            opened.When(command).ThenRejected(first);
        }
    }

    /// <summary>The same for subscriptions, holds and money.</summary>
    [Fact]
    public void the_documented_order_of_precedence_holds_for_what_is_sold()
    {
        const string sold = """
            {
              "fallback_plan": "free",
              "features": { "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call", "decimals": 2 } } },
              "plans": {
                "free":   { "name": "Free", "features": { "calls": 1 } },
                "pro":    { "name": "Pro", "prices": [{ "interval": "month", "amount": 100 }], "features": { "calls": 2 } },
                "guests": { "name": "Guests", "prices": [{ "interval": "month", "amount": 100 }], "trial_days": 7, "trial_requires_payment_method": true, "invite_only": true, "features": { "calls": 9 } }
              }
            }
            """;
        var (opened, subscribed) = (Opened(sold), Opened(sold).Given(Start("pro")));
        var past = opened.Now - Duration.FromHours(1);
        (Spec Spec, Command Command, RejectionKind First, RejectionKind Second)[] table =
        [
            (opened, Change("nothing", BillingInterval.Year), RejectionKind.PlanUnknown, RejectionKind.PriceUnknown),
            (opened, Change("pro", BillingInterval.Year), RejectionKind.PriceUnknown, RejectionKind.NoSubscription),
            (opened, Start("pro", BillingInterval.Year, trial: true), RejectionKind.PriceUnknown, RejectionKind.NoTrial),
            (subscribed, Start("pro", trial: true), RejectionKind.NoTrial, RejectionKind.SubscriptionExists),
            (subscribed, Start("guests", trial: true, paymentMethod: false), RejectionKind.SubscriptionExists, RejectionKind.PaymentMethodRequired),
            (opened, Start("guests", trial: true, paymentMethod: false), RejectionKind.PaymentMethodRequired, RejectionKind.InviteOnly),
            (opened, New(new SetPlan("guests", null, past) { Id = "", ContentHash = [], At = default }), RejectionKind.ExpiryInPast, RejectionKind.InviteOnly),
            (opened, New(new PlaceHold("nothing", -1, Duration.FromDays(400), null) { Id = "", ContentHash = [], At = default }), RejectionKind.FeatureUnknown, RejectionKind.QuantityNotPositive),
            (opened, New(new PlaceHold("calls", -0.001m, Duration.FromDays(400), null) { Id = "", ContentHash = [], At = default }), RejectionKind.QuantityNotPositive, RejectionKind.QuantityTooPrecise),
            (opened, New(new PlaceHold("calls", 5, Duration.FromDays(400), null) { Id = "", ContentHash = [], At = default }), RejectionKind.ExpiryTooFar, RejectionKind.QuotaExceeded),
        ];
        foreach (var (spec, command, first, second) in table)
        {
            Assert.True((int)first < (int)second, $"{first} stands before {second}.");
            spec.When(command).ThenRejected(first);
        }
    }

    [Fact]
    public void an_unknown_plan_comes_before_an_unknown_time_zone()
    {
        var open = new OpenOrganization("No/Where", false, "nothing") { Id = "open", ContentHash = [1], At = default };
        Assert.True(RejectionKind.PlanUnknown < RejectionKind.TimeZoneUnknown);
        Assert.Equal(RejectionKind.PlanUnknown, Decider.Decide(State.Empty("acme"), Catalogs(Catalog), open, null).Rejection?.Kind);
    }

    [Fact]
    public void identity_comes_before_everything_else()
    {
        var spec = Opened(Catalog).Given(New(new CloseOrganization(null) { Id = "", ContentHash = [], At = default }));
        var command = Use("nothing", -1) with { At = spec.Now };

        Assert.Equal(Decision.AlreadyDone, Decider.Decide(spec.State, Catalogs(Catalog), command, new RecordedCommand(1, command.ContentHash)));
        Assert.Equal(RejectionKind.CommandIdReused, Decider.Decide(spec.State, Catalogs(Catalog), command, new RecordedCommand(1, [7])).Rejection?.Kind);
    }

    [Fact]
    public void an_organization_is_opened_once_and_nothing_is_recorded_before_or_after_its_life()
    {
        var spec = new Spec(Catalogs(Catalog));

        spec.When(Use("calls")).ThenRejected(RejectionKind.OrganizationUnknown);
        spec.Given(New(new OpenOrganization("Europe/Berlin", true, null) { Id = "", ContentHash = [], At = default }));
        spec.When(New(new OpenOrganization("UTC", false, null) { Id = "", ContentHash = [], At = default })).ThenRejected(RejectionKind.OrganizationExists);
        spec.Given(New(new CloseOrganization("moved on") { Id = "", ContentHash = [], At = default }));
        spec.When(Use("calls")).ThenRejected(RejectionKind.OrganizationClosed);
        Assert.Equal(RejectionKind.OrganizationClosed, spec.Check("calls").Denial!.Kind);
    }

    [Theory]
    [InlineData("Nowhere/Town", null, RejectionKind.TimeZoneUnknown)]
    [InlineData("UTC", "nothing", RejectionKind.PlanUnknown)]
    public void an_organization_is_opened_on_what_exists(string zone, string? plan, RejectionKind kind) =>
        new Spec(Catalogs(Catalog)).When(New(new OpenOrganization(zone, false, plan) { Id = "", ContentHash = [], At = default })).ThenRejected(kind);

    [Fact]
    public void every_rejection_has_a_number_of_its_own_and_a_code_in_snake_case()
    {
        var kinds = Enum.GetValues<RejectionKind>();

        Assert.Equal(kinds.Length, kinds.Select(k => (int)k).Distinct().Count());
        Assert.All(kinds, k => Assert.Matches("^[a-z]+(_[a-z]+)*$", Spelling.Of(k)));
    }
}
