using System.Text.Json;
using System.Text.Json.Nodes;
using Billing.Api.Stripe;
using Billing.Grains;
using Billing.Ledger;
using Billing.Silo;
using Billing.Tests.Api;
using NodaTime;

namespace Billing.Tests.Stripe;

/// <summary>The comparison by itself: what the ledger and Stripe say go in, differences come out.</summary>
public sealed class ComparisonTests
{
    private static readonly Instant Now = TestApi.Time("2026-12-01T10:00:00Z");
    private static readonly Instant Start = TestApi.Time("2026-11-20T10:00:00Z");
    private static readonly Instant End = TestApi.Time("2026-12-20T10:00:00Z");

    private static readonly Catalogs Sold = new([CatalogReader.Read(File.ReadAllBytes(Repository.Catalog("learning-community"))).Catalog!]);

    private static readonly JsonObject AtStripe = StripeFixture.Subscription("sub_1", "cus_1", "pro-learn-month", "active", Start, Start, End, "acme");

    private static readonly Subscription Known = new(
        "sub_1", "pro-learn", 1, SubscriptionStatus.Active, BillingInterval.Month, Start, Start, End, Start, null, false, null, null, null, "cus_1", new SnapshotOrder(Start, SnapshotRank.Created, "evt_1"));

    private static readonly FollowedView Ledger = new(7, false, ["cus_1"], [Known], "sub_1", [], [], null);

    private static readonly StripeSide Side = StripeSide.Empty with { AskedAt = Now, Customers = new Dictionary<string, JsonElement> { ["cus_1"] = Json(new JsonObject { ["id"] = "cus_1" }) }, Subscriptions = [Json(AtStripe)] };

    private static JsonElement Json(JsonObject o) => JsonSerializer.SerializeToElement(o);

    private static IReadOnlyList<Difference> Compare(FollowedView ledger, StripeSide side, params StripeInvoice[] kept) =>
        Comparison.Of("acme", ledger, ["cus_1"], kept, [], side, new PriceBook(Sold, new Dictionary<string, (string, BillingInterval)>()), Now);

    private static KnownEvent Told(string id, string type, string about, InboxNote? inbox, Instant? at = null) => new(new RecentEvent(id, type, at ?? Start, about, about, "cus_1", "acme", null), inbox);

    [Fact]
    public void what_is_the_same_differs_in_nothing() => Assert.Empty(Compare(Ledger, Side));

    [Theory]
    [InlineData("status", "\"past_due\"", "status", "active", "past_due")]
    [InlineData("trial_end", "1798020000", "trial_end", null, "2026-12-23T10:00:00Z")]
    [InlineData("cancel_at_period_end", "true", "cancel_at_period_end", "no", "yes")]
    [InlineData("cancel_at", "1798020000", "cancel_at", null, "2026-12-23T10:00:00Z")]
    [InlineData("canceled_at", "1798020000", "canceled_at", null, "2026-12-23T10:00:00Z")]
    [InlineData("ended_at", "1798020000", "ended_at", null, "2026-12-23T10:00:00Z")]
    [InlineData("billing_cycle_anchor", "1798020000", "billing_anchor", "2026-11-20T10:00:00Z", "2026-12-23T10:00:00Z")]
    [InlineData("created", "1798020000", "created", "2026-11-20T10:00:00Z", "2026-12-23T10:00:00Z")]
    [InlineData("customer", "\"cus_2\"", "customer", "cus_1", "cus_2")]
    public void each_field_of_a_subscription_is_compared(string name, string value, string field, string? mine, string theirs)
    {
        var side = Side with { Subscriptions = [Json(AtStripe.With((name, JsonNode.Parse(value))))] };

        var difference = Assert.Single(Compare(Ledger, side));

        Assert.Equal(("subscription", "sub_1", field, mine, theirs), (difference.Kind, difference.Object, difference.Field, difference.Ledger, difference.Stripe));
        Assert.Equal("stripe:subscription:sub_1:evt_1", difference.KnownBy);
        var follow = Assert.Single(difference.Repair!.Commands.OfType<FollowSubscription>());
        Assert.True(follow.Snapshot.Order!.CompareTo(Known.Order) > 0);
    }

    [Fact]
    public void periods_plan_and_interval_are_compared_too()
    {
        var moved = AtStripe.AtPrice("community-pro-year").ForPeriod(End, End + Duration.FromDays(365));

        Assert.Equal(["plan", "interval", "period_start", "period_end"], Compare(Ledger, Side with { Subscriptions = [Json(moved)] }).Select(d => d.Field));
    }

    [Fact]
    public void a_fetched_subscription_is_newer_than_what_the_ledger_knew_before_it_was_asked_for_whatever_the_clocks_say()
    {
        var ahead = Known with { Order = new SnapshotOrder(Now + Duration.FromMinutes(2), SnapshotRank.Updated, "evt_9") };

        var repair = Compare(Ledger with { Subscriptions = [ahead] }, Side with { Subscriptions = [Json(AtStripe.With(("status", "past_due")))] }).Single().Repair!;

        Assert.True(repair.Commands.OfType<FollowSubscription>().Single().Snapshot.Order!.CompareTo(ahead.Order) > 0);
    }

    [Fact]
    public void what_is_over_in_the_ledger_does_not_begin_again()
    {
        var over = Known with { Status = SubscriptionStatus.Canceled, Order = new SnapshotOrder(Start, SnapshotRank.Deleted, "evt_2") };

        Assert.All(Compare(Ledger with { Subscriptions = [over] }, Side), d => Assert.Null(d.Repair));
    }

    [Fact]
    public void a_price_that_nobody_knows_is_said_and_not_guessed()
    {
        var difference = Compare(Ledger, Side with { Subscriptions = [Json(AtStripe.AtPrice("gold-month"))] }).Single();

        Assert.Equal(("price", "pro-learn", null), (difference.Field, difference.Ledger, difference.Repair));
        Assert.Contains("gold-month", difference.Stripe);
    }

    [Fact]
    public void what_names_another_organization_is_not_compared() =>
        Assert.Empty(Compare(Ledger with { Subscriptions = [] }, Side with { Subscriptions = [Json(AtStripe.With(("metadata", new JsonObject { ["organization_id"] = "other" })))] }));

    [Fact]
    public void of_two_subscriptions_the_one_that_was_created_last_is_the_organizations_own()
    {
        var later = Start + Duration.FromDays(1);
        var second = StripeFixture.Subscription("sub_2", "cus_1", "pro-learn-month", "active", later, later, End, "acme");

        Assert.Equal([("sub_2", "subscription"), ("sub_2", "own")], Compare(Ledger, Side with { Subscriptions = [Json(AtStripe), Json(second)] }).Select(d => (d.Object, d.Field)));
    }

    public static TheoryData<string, string> States => new()
    {
        { "", "evt_5 (customer.subscription.updated, 2026-11-20T10:00:00Z) never arrived." },
        { "failed", "evt_5 (customer.subscription.updated, 2026-11-20T10:00:00Z) could not be applied: No such price." },
        { "pending", "evt_5 (customer.subscription.updated, 2026-11-20T10:00:00Z) is pending in the inbox: No such price." },
        { "unclaimed", "evt_5 (customer.subscription.updated, 2026-11-20T10:00:00Z) waits in the inbox for its organization." },
        { "applied", "It was changed at Stripe without an event that is known: the last one, evt_5 (customer.subscription.updated, 2026-11-20T10:00:00Z), was taken." },
    };

    [Theory]
    [MemberData(nameof(States))]
    public void the_event_that_says_it_explains_it(string state, string expected)
    {
        var note = Enum.TryParse<InboxState>(state, ignoreCase: true, out var known) ? new InboxNote(known, "No such price.") : null;
        var side = Side with
        {
            Subscriptions = [Json(AtStripe.With(("status", "past_due")))],
            Events = [Told("evt_1", "customer.subscription.created", "sub_1", new InboxNote(InboxState.Applied, null)), Told("evt_4", "invoice.paid", "in_1", null), Told("evt_5", "customer.subscription.updated", "sub_1", note)],
        };

        var difference = Compare(Ledger, side).Single();

        Assert.Equal(expected, difference.ExplainedBy);
        Assert.Equal(state == "applied" ? [] : (string[])["evt_5"], difference.Repair!.Events);
    }

    [Fact]
    public void what_happened_a_moment_ago_is_not_said_to_be_lost()
    {
        var side = Side with { Subscriptions = [Json(AtStripe.With(("status", "past_due")))], Events = [Told("evt_5", "customer.subscription.updated", "sub_1", null, Now - Duration.FromMinutes(1))] };

        Assert.Contains("has not arrived yet", Compare(Ledger, side).Single().ExplainedBy);
    }

    [Fact]
    public void without_any_event_that_is_said() =>
        Assert.Equal("Stripe has no event of the last 30 days about it.", Compare(Ledger, Side with { Subscriptions = [Json(AtStripe.With(("status", "past_due")))] }).Single().ExplainedBy);

    [Fact]
    public void a_customer_that_is_in_one_place_only_is_linked_in_both()
    {
        var side = Side with { Customers = new Dictionary<string, JsonElement> { ["cus_1"] = default, ["cus_2"] = Json(new JsonObject { ["id"] = "cus_2" }), ["cus_3"] = Json(new JsonObject { ["id"] = "cus_3", ["deleted"] = true }) } };

        var differences = Compare(Ledger, side).Where(d => d.Kind == "customer").ToList();

        Assert.Equal([("cus_1", "yes", null), ("cus_2", "no", "yes")], differences.Select(d => (d.Object, d.Ledger, d.Stripe)));
        Assert.Null(differences[0].Repair);
        Assert.Equal("stripe:customer:cus_2", differences[1].Repair!.Commands.Single().Id);
    }

    [Theory]
    [InlineData("cus_9", 900, "usd", "amount")]
    [InlineData("cus_9", 500, "eur", "amount")]
    public void a_purchase_stays_as_it_was_recorded(string customer, long amount, string currency, string field)
    {
        var grant = new TokenGrant("gr_3", GrantKind.Purchased, 50, Start, null, 100_000, 0, 0, 0, 0, 100_000, 0, "starter", "pi_1", amount, currency);
        var side = Side with { PaymentIntents = [Json(StripeFixture.PaymentIntent("pi_1", 500, "acme", "starter", customer))] };

        var difference = Compare(Ledger with { Purchases = [grant] }, side).Single();

        Assert.Equal(("payment", field, null), (difference.Kind, difference.Field, difference.Repair));
        Assert.Contains("look at it by hand", difference.ExplainedBy);
    }

    [Fact]
    public void a_payment_and_its_session_are_one_purchase_of_the_older_ones_time()
    {
        var side = Side with
        {
            PaymentIntents = [Json(StripeFixture.PaymentIntent("pi_1", 500, "acme", "starter", "cus_1"))],
            Sessions = [Json(StripeFixture.TokenSession("cs_1", "acme", "starter", "pi_1", 500, customer: "cus_1"))],
            Events = [Told("evt_3", "payment_intent.succeeded", "pi_1", null, Start), Told("evt_4", "checkout.session.completed", "pi_1", new InboxNote(InboxState.Applied, null), Start + Duration.FromSeconds(1))],
        };
        var grant = new TokenGrant("gr_3", GrantKind.Purchased, 50, Start + Duration.FromSeconds(1), null, 100_000, 0, 0, 0, 0, 100_000, 0, "starter", "pi_1", 500, "usd");

        Assert.Equal(["grant"], Compare(Ledger, side).Select(d => d.Field));
        var older = Compare(Ledger with { Purchases = [grant] }, side).Single();
        Assert.Equal(("purchased_at", "2026-11-20T10:00:00Z"), (older.Field, older.Stripe));
        Assert.Contains(older.Repair!.Commands, c => c is DatePurchase);
    }

    [Fact]
    public void a_pending_top_up_ends_as_its_payment_did()
    {
        var intent = StripeFixture.PaymentIntent("pi_1", 500, "acme", "starter", "cus_1");
        intent["metadata"]!["top_up"] = "tu_5";
        var pending = Ledger with { TopUp = new PendingTopUp("tu_5", "starter", 100_000, 500, "usd", Start) };

        Assert.Equal(["grant", "status"], Compare(pending, Side with { PaymentIntents = [Json(intent)] }).Select(d => d.Field));
        var failed = Compare(pending, Side with { PaymentIntents = [Json(intent.With(("status", "requires_payment_method"), ("last_payment_error", new JsonObject { ["decline_code"] = "do_not_honor" })))] }).Single();
        Assert.Equal(("top_up", "tu_5", "failed"), (failed.Kind, failed.Object, failed.Stripe));
        var command = Assert.IsType<FailTopUp>(failed.Repair!.Commands.Single(c => c is FailTopUp));
        Assert.Equal(("stripe:top-up:tu_5:failed", "do_not_honor"), (command.Id, command.Failure));
        Assert.Empty(Compare(pending, Side with { PaymentIntents = [Json(intent.With(("status", "processing")))] }));
        Assert.Empty(Compare(pending, Side));
    }

    [Fact]
    public void a_payment_that_the_ledger_recorded_and_stripe_does_not_know_of_is_left_to_people()
    {
        var payment = new InvoicePayment("in_1", "sub_1", true, 0, null, Start, 3500, "usd");

        var gone = Compare(Ledger with { Payments = [payment] }, Side with { Missing = new HashSet<string> { "in_1" } }).Single();

        Assert.Equal(("invoice", "in_1", "paid, 35.00 usd", null, null), (gone.Kind, gone.Object, gone.Ledger, gone.Stripe, gone.Repair));
    }

    [Fact]
    public void what_the_ledger_charges_on_an_invoice_is_on_one_at_stripe()
    {
        static JsonElement Invoice(string id, params (string Line, long Amount)[] lines) => Json(new JsonObject
        {
            ["id"] = id, ["status"] = "draft",
            ["lines"] = new JsonObject { ["data"] = new JsonArray([.. lines.Select(l => new JsonObject { ["amount"] = l.Amount, ["metadata"] = new JsonObject { ["billing_line"] = l.Line } })]) },
        });
        var billed = new BilledLines("in_1", 12, 2, 700, "usd");

        Assert.Empty(Overage(Invoice("in_1", ("12-0", 300), ("12-1", 400), ("123-0", 5))));
        // The first was closed before all of it was there.
        Assert.Empty(Overage(Invoice("in_1", ("12-0", 300)), Invoice("in_2", ("12-1", 400))));
        var missing = Assert.Single(Overage(Invoice("in_1", ("12-0", 300))));
        Assert.Equal(("overage", "in_1", "7.00 usd in 2 lines", "3.00 usd"), (missing.Kind, missing.Object, missing.Ledger, missing.Stripe));
        Assert.Equal("in_1", missing.Repair!.AddTo!.Value.GetProperty("id").GetString());

        IEnumerable<Difference> Overage(params JsonElement[] invoices) =>
            Comparison.Of("acme", Ledger, ["cus_1"], [], [billed], Side with { Invoices = invoices }, new PriceBook(Sold, new Dictionary<string, (string, BillingInterval)>()), Now).Where(d => d.Kind == "overage");
    }

    [Fact]
    public void an_invoice_is_kept_as_stripe_shows_it()
    {
        var o = new JsonObject { ["id"] = "in_1", ["status"] = "open", ["created"] = Start.ToUnixTimeSeconds(), ["currency"] = "usd", ["total"] = 3500, ["amount_due"] = 3500, ["customer"] = "cus_1" };
        var kept = MirroredInvoices.Read(Json(o), "acme")!;

        Assert.Empty(Compare(Ledger, Side with { Invoices = [Json(o)] }, kept));
        Assert.Equal("kept", Compare(Ledger, Side with { Invoices = [Json(o)] }).Single().Field);
        var changed = Compare(Ledger, Side with { Invoices = [Json(o.With(("number", "A-1"), ("amount_remaining", 3500)))] }, kept);
        Assert.Equal([("kept.number", null, "A-1"), ("kept.amount_remaining", "0.00 usd", "35.00 usd")], changed.Select(d => (d.Field, d.Ledger, d.Stripe)));
        Assert.Equal("A-1", changed[0].Repair!.Invoice!.Number);
    }
}
