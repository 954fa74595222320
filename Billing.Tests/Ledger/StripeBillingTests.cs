using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;
using static Billing.Tests.Ledger.Subscribing;

namespace Billing.Tests.Ledger;

/// <summary>Who charges what is due: Stripe's invoices where the subscription is there, else the ledger's own.</summary>
public sealed class StripeBillingTests
{
    private const string Catalog = """
        {
          "currency": "usd", "fallback_plan": "free",
          "features": {
            "jobs":    { "name": "jobs", "type": "metered", "meter": { "unit": "job" }, "mode": "overage", "unit_price": "0.50" },
            "storage": { "name": "GB of storage", "type": "metered", "meter": { "unit": "GB", "aggregation": "gauge" }, "mode": "overage", "unit_price": "0.10" }
          },
          "plans": {
            "free": { "name": "Free", "features": { "jobs": { "allowance": 10, "mode": "block" }, "storage": { "allowance": 1, "mode": "block" } } },
            "pro":  { "name": "Pro", "prices": [{ "interval": "month", "amount": 29900 }, { "interval": "year", "amount": 299000 }], "features": { "jobs": 100, "storage": 50 } }
          }
        }
        """;

    private static Instant Time(string time) => Api.TestApi.Time(time);

    private static Subscription AtStripe(string start, string end, BillingInterval interval = BillingInterval.Month, SubscriptionStatus status = SubscriptionStatus.Active) => new(
        "sub_1", "pro", 0, status, interval, Time("2026-11-01T00:00:00Z"), Time(start), Time(end), Time("2026-11-01T00:00:00Z"), null, false, null, null, null, "cus_1",
        new SnapshotOrder(Time(start), SnapshotRank.Updated, "evt_1"));

    private static Subscription Ended(string at) => AtStripe("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", status: SubscriptionStatus.Canceled) with
    {
        CanceledAt = Time(at), EndedAt = Time(at), Order = new SnapshotOrder(Time(at), SnapshotRank.Deleted, "evt_9"),
    };

    private static Spec Subscribed(BillingInterval interval = BillingInterval.Month, SubscriptionStatus status = SubscriptionStatus.Active) => Opened(Catalog, at: "2026-11-01T00:00:00Z")
        .Given(Follow(AtStripe("2026-11-01T00:00:00Z", interval == BillingInterval.Year ? "2027-11-01T00:00:00Z" : "2026-12-01T00:00:00Z", interval, status)));

    private static BillAtStripe Bill(string invoice, string currency = "usd") => New(new BillAtStripe(invoice, currency) { Id = "", ContentHash = [], At = default });

    private static string Pending(Spec spec) => string.Join("; ", spec.State.Billing.Pending.Select(l => $"{l.Description} {l.Amount}"));

    [Fact]
    public void what_a_period_came_to_waits_for_Stripes_invoice_and_is_taken_by_it_once()
    {
        var spec = Subscribed().Given(Use("jobs", 145), Gauge("storage", 60)).At("2026-12-01T00:00:00Z").When(Turn());

        Assert.Empty(spec.Wrote<InvoiceCreated>());
        Assert.Equal("145 jobs: 45 additional 2250; 60 GB of storage at the peak: 10 additional 100", Pending(spec));
        var billed = spec.When(Bill("in_1A")).Then<LinesBilledAtStripe>();
        Assert.Equal(("in_1A", 2_350L), (billed.Invoice, billed.Lines.Sum(l => l.Amount)));
        Assert.Empty(spec.State.Billing.Pending);
        spec.When(Bill("in_1B")).ThenNothing();
    }

    [Fact]
    public void an_invoice_takes_only_its_own_currency()
    {
        var spec = Subscribed().Given(New(new AddLine("Setup", 500, null) { Id = "", ContentHash = [], At = default }));

        spec.When(Bill("in_1A", "eur")).ThenNothing();
        Assert.Equal("Setup 500", Pending(spec));
        Assert.Single(spec.When(Bill("in_1A")).Then<LinesBilledAtStripe>().Lines);
    }

    [Fact]
    public void months_within_a_year_at_Stripe_wait_one_after_another()
    {
        var spec = Subscribed(BillingInterval.Year).Given(Use("jobs", 110)).At("2026-12-10T00:00:00Z").Given(Use("jobs", 120)).At("2027-01-01T00:00:00Z").When(Turn());

        Assert.Equal("110 jobs: 10 additional 500; 120 jobs: 20 additional 1000", Pending(spec));
        Assert.Empty(spec.State.Billing.Invoices);
    }

    [Fact]
    public void a_subscription_that_ends_at_Stripe_leaves_what_was_used_until_then_for_a_last_invoice()
    {
        var spec = Subscribed().Given(Use("jobs", 110), Gauge("storage", 80)).At("2026-11-16T00:00:00Z").When(Follow(Ended("2026-11-16T00:00:00Z")));

        Assert.Equal(SubscriptionStatus.Canceled, spec.Then<SubscriptionChanged>().Followed!.Status);
        Assert.Equal("110 jobs: 10 additional 500; 80 GB of storage at the peak: 30 additional 300", Pending(spec));
        Assert.Empty(spec.State.Billing.Invoices);
        // A later snapshot of the same end bills nothing again.
        spec.Given(Follow(Ended("2026-11-17T00:00:00Z")));
        Assert.Equal(2, spec.State.Billing.Pending.Length);
    }

    [Theory]
    [InlineData("2026-12-01T00:00:00Z")]
    [InlineData("2026-12-01T05:00:00Z")]
    public void a_gauge_is_billed_once_by_an_end_with_the_period_however_late_it_is_heard_of(string heard)
    {
        var spec = Subscribed().Given(Gauge("storage", 80), Use("jobs", 110)).At(heard).When(Follow(Ended("2026-12-01T00:00:00Z")));

        Assert.Equal("110 jobs: 10 additional 500; 80 GB of storage at the peak: 30 additional 300", Pending(spec));
        // On the free plan it is blocked, and nothing more is charged for what still stands there.
        spec.At("2027-03-01T00:00:00Z").Given(Turn());
        Assert.Equal(800, spec.Events.OfType<LinesAdded>().Sum(e => e.Lines.Sum(l => l.Amount)));
    }

    [Fact]
    public void what_nobody_took_goes_onto_the_next_invoice_of_our_own_once_nothing_is_at_Stripe_any_more()
    {
        var spec = Subscribed().Given(Use("jobs", 110)).At("2026-11-16T00:00:00Z").Given(Follow(Ended("2026-11-16T00:00:00Z")))
            .Given(New(new CreateInvoice(false) { Id = "", ContentHash = [], At = default }));

        Assert.Equal(500, Assert.Single(spec.Events.OfType<InvoiceCreated>()).Total);
    }

    [Fact]
    public void an_operator_may_invoice_what_waits_for_Stripe()
    {
        var spec = Subscribed().Given(Use("jobs", 110)).At("2026-12-01T00:00:00Z").Given(Turn());

        Assert.Equal(500, spec.When(New(new CreateInvoice(false) { Id = "", ContentHash = [], At = default })).Then<InvoiceCreated>().Total);
        spec.When(Bill("in_1A")).ThenNothing();
    }

    [Fact]
    public void a_subscription_that_was_never_paid_charges_nothing_so_the_ledger_invoices_by_itself()
    {
        var spec = Opened(Catalog, plan: "pro", at: "2026-11-01T00:00:00Z").Given(Use("jobs", 110))
            .Given(Follow(AtStripe("2026-11-02T00:00:00Z", "2026-12-02T00:00:00Z", status: SubscriptionStatus.Incomplete))).At("2026-12-01T00:00:00Z").When(Turn());

        Assert.Equal(500, spec.Then<InvoiceCreated>().Total);
    }

    [Fact]
    public void a_closed_organization_leaves_its_last_lines_to_Stripe_or_to_an_operator()
    {
        var spec = Subscribed().Given(Use("jobs", 110)).At("2026-11-16T00:00:00Z").Given(New(new CloseOrganization(null) { Id = "", ContentHash = [], At = default }));

        Assert.Empty(spec.State.Billing.Invoices);
        Assert.Equal("110 jobs: 10 additional 500", Pending(spec));
        Assert.Equal("in_1A", spec.When(Bill("in_1A")).Then<LinesBilledAtStripe>().Invoice);
        spec.When(New(new CreateInvoice(false) { Id = "", ContentHash = [], At = default })).ThenRejected(RejectionKind.OrganizationClosed);
    }

    [Fact]
    public void a_kept_subscription_that_gives_way_to_one_at_Stripe_is_invoiced_by_the_ledger_to_its_end()
    {
        var spec = Opened(Catalog, at: "2026-11-01T00:00:00Z").Given(Start("pro"), Use("jobs", 110)).At("2026-11-16T00:00:00Z")
            .When(Follow(AtStripe("2026-11-16T00:00:00Z", "2026-12-16T00:00:00Z")));

        Assert.True(spec.Then<InvoiceCreated>().Final);
        Assert.Empty(spec.At("2026-12-16T00:00:00Z").When(Turn()).Wrote<InvoiceCreated>());
    }
}
