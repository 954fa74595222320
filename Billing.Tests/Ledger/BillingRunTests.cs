using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;
using static Billing.Tests.Ledger.Subscribing;

namespace Billing.Tests.Ledger;

/// <summary>What the clock bills by itself: whole lives of subscriptions, invoice by invoice.</summary>
public sealed class BillingRunTests
{
    private const string Catalog = """
        {
          "currency": "usd", "fallback_plan": "free", "tax": { "name": "Sales tax", "rate": "8" },
          "features": {
            "jobs":    { "name": "jobs", "type": "metered", "meter": { "unit": "job" }, "mode": "overage", "unit_price": "0.50" },
            "storage": { "name": "GB of storage", "type": "metered", "meter": { "unit": "GB", "decimals": 3, "aggregation": "gauge" }, "mode": "overage", "unit_price": "0.10" },
            "mails":   { "name": "mails", "type": "metered", "meter": { "unit": "mail", "window": "period" }, "mode": "overage", "tiers": [{ "up_to": 100, "unit_price": "0.03" }, { "unit_price": "0.007" }] }
          },
          "plans": {
            "free": { "name": "Free", "features": { "jobs": { "allowance": 10, "mode": "block" }, "storage": { "allowance": 1, "mode": "block" } } },
            "pro":  { "name": "Pro", "prices": [{ "interval": "month", "amount": 29900 }, { "interval": "year", "amount": 299000 }], "features": { "jobs": 100, "storage": 50, "mails": 10 } },
            "max":  { "name": "Max", "prices": [{ "interval": "month", "amount": 99900 }, { "interval": "year", "amount": 999000 }], "features": { "jobs": 1000, "storage": 500, "mails": 10 } }
          }
        }
        """;

    private static Instant Time(string time) => Api.TestApi.Time(time);

    private static Spec Subscribed(string at, BillingInterval interval = BillingInterval.Month) => Opened(Catalog, at: at).Given(Start("pro", interval));

    private static List<InvoiceCreated> Invoices(Spec spec) => [.. spec.Events.OfType<InvoiceCreated>()];

    private static string Lines(InvoiceCreated invoice) => string.Join("; ", invoice.Lines.Select(l => $"{l.Description} {l.Amount}"));

    [Fact]
    public void a_month_ends_with_its_overage_and_the_next_months_base_on_one_invoice()
    {
        var spec = Subscribed("2026-11-01T00:00:00Z").Given(Use("jobs", 145), Gauge("storage", 62.5m), Gauge("storage", 20)).At("2026-12-01T00:00:00Z").When(Turn());

        var invoice = spec.Then<InvoiceCreated>();
        Assert.Equal([LineKind.Base, LineKind.Overage, LineKind.Overage], invoice.Lines.Select(l => l.Kind));
        Assert.Equal([29_900, 2_250, 125], invoice.Lines.Select(l => l.Amount));
        Assert.Equal((32_275, 2_582, 34_857), (invoice.Subtotal, invoice.Tax, invoice.Total));
        Assert.Equal(("INV-2026-12-acme", false), (spec.Then<InvoiceFinalized>().Number, invoice.Final));
        Assert.Equal(spec.State.Subscriptions.Own!.Id, invoice.Subscription);
        // The next month has nothing but its base; below the allowance the gauge is free.
        Assert.Equal([29_900], spec.At("2027-01-01T00:00:00Z").When(Turn()).Then<InvoiceCreated>().Lines.Select(l => l.Amount));
    }

    [Fact]
    public void a_year_is_paid_at_once_and_its_overage_month_by_month()
    {
        var spec = Subscribed("2026-01-15T09:30:00Z", BillingInterval.Year).Given(Use("jobs", 150), Gauge("storage", 60))
            .At("2026-02-20T00:00:00Z").Given(Use("jobs", 120), Use("mails", 60))
            .At("2026-03-20T00:00:00Z").Given(Gauge("storage", 10), Use("mails", 100))
            .At("2026-05-01T00:00:00Z").Given(Use("jobs", 99))
            .At("2027-01-16T00:00:00Z").Given(Turn());

        Assert.Equal(
            [
                ("2026-01-15", "299000"), ("2026-02-15", "150 jobs: 50 additional 2500; 60 GB of storage at the peak: 10 additional 100"),
                // The gauge goes on into its third month past the allowance; mails are counted by the year.
                ("2026-03-15", "120 jobs: 20 additional 1000; 60 GB of storage at the peak: 10 additional 100; 50 additional mails 150"),
                ("2026-04-15", "60 GB of storage at the peak: 10 additional 100; 100 additional mails 185"),
                ("2027-01-15", "299000"),
            ],
            Invoices(spec).Select(i => (i.EffectiveAt.ToString("uuuu-MM-dd", null), i.Lines[0].Kind == LineKind.Base ? $"{i.Lines[0].Amount}" : Lines(i))));
        Assert.All(Invoices(spec).Where(i => i.Lines[0].Kind == LineKind.Overage), i => Assert.All(i.Lines, l => Assert.Equal((i.EffectiveAt.InUtc().LocalDateTime.PlusMonths(-1).InUtc().ToInstant(), i.EffectiveAt), (l.Start, l.End))));
        Assert.Null(spec.State.Billing.BilledAt);
    }

    [Fact]
    public void a_subscription_that_ends_now_has_a_final_invoice_of_everything_and_is_never_billed_again()
    {
        var spec = Subscribed("2026-11-01T00:00:00Z").Given(Use("jobs", 110), Gauge("storage", 80)).At("2026-11-16T00:00:00Z").When(Cancel(ChangeTime.Now, prorate: true));

        var invoice = spec.Then<InvoiceCreated>();
        Assert.True(invoice.Final);
        Assert.Equal([-14_950, 500, 300], invoice.Lines.Select(l => l.Amount));
        Assert.Equal((-14_150, -1_132, -15_282), (invoice.Subtotal, invoice.Tax, invoice.Total));
        Assert.Equal((InvoiceStatus.Paid, 15_282L), (spec.State.Billing.Invoices[^1].Status, spec.State.Billing.Credit("usd")));
        Assert.DoesNotContain(spec.At("2028-01-01T00:00:00Z").Given(Turn()).Events.SkipWhile(e => e.Version <= spec.State.Billing.Invoices[^1].Version), e => e is InvoiceCreated);
    }

    [Fact]
    public void one_that_ends_with_its_period_is_billed_for_that_period_to_the_end()
    {
        var spec = Subscribed("2026-11-01T00:00:00Z").Given(Cancel(ChangeTime.PeriodEnd), Use("jobs", 110)).At("2026-11-30T23:59:59Z").Given(Use("jobs", 1)).At("2026-12-05T00:00:00Z").When(Turn());

        var invoice = spec.Then<InvoiceCreated>();
        Assert.Equal((true, "111 jobs: 11 additional 550"), (invoice.Final, Lines(invoice)));
        Assert.Equal((Time("2026-12-01T00:00:00Z"), "INV-2026-12-acme"), (invoice.EffectiveAt, spec.Then<InvoiceFinalized>().Number));
    }

    [Fact]
    public void an_organization_without_a_subscription_of_its_own_is_billed_by_the_calendar_month_of_its_zone()
    {
        var spec = Opened(Catalog, plan: "pro", zone: "America/New_York", at: "2026-11-10T00:00:00Z").Given(Use("jobs", 101)).At("2027-01-01T00:00:00Z").When(Turn());

        var invoice = spec.Then<InvoiceCreated>();
        Assert.Equal((Time("2026-11-01T04:00:00Z"), Time("2026-12-01T05:00:00Z"), Time("2026-12-01T05:00:00Z")), (invoice.Start, invoice.End, invoice.EffectiveAt));
        Assert.Null(invoice.Subscription);
    }

    [Fact]
    public void when_the_anchor_moves_what_was_used_is_billed_once_by_the_new_cycle()
    {
        var spec = Subscribed("2026-11-01T00:00:00Z").Given(Use("jobs", 110), Gauge("storage", 60)).At("2026-11-20T00:00:00Z").Given(Change("pro", BillingInterval.Year), Use("jobs", 1))
            .At("2027-02-01T00:00:00Z").Given(Turn());

        Assert.Equal(["111 jobs: 11 additional 550; 60 GB of storage at the peak: 10 additional 100", "60 GB of storage at the peak: 10 additional 100"],
            Invoices(spec).Skip(2).Select(Lines));
        Assert.Equal(["2026-12-20", "2027-01-20"], Invoices(spec).Skip(2).Select(i => i.EffectiveAt.ToString("uuuu-MM-dd", null)));
    }

    [Fact]
    public void a_record_that_is_taken_back_after_a_bill_within_the_period_makes_a_line_below_zero_at_its_end()
    {
        var spec = Subscribed("2026-11-01T00:00:00Z").Given(Use("jobs", 100)).When(Use("jobs", 20));
        var record = spec.Then<UsageRecorded>();
        spec.Given(New(new CreateInvoice(false) { Id = "", ContentHash = [], At = default })).At("2026-11-20T00:00:00Z")
            .Given(New(new VoidUsage(record, "a test run") { Id = "", ContentHash = [], At = default })).At("2026-12-01T00:00:00Z").When(Turn());

        Assert.Equal("20 jobs fewer -1000", Lines(spec.Then<InvoiceCreated>()).Split("; ")[^1]);
    }

    /// <summary>
    /// Random lives: uses, gauges, plans, intervals, ends and new beginnings, invoices in between, drafts and voids of them. When all is over, every unit of
    /// priced overage is on exactly one line, every line that was not taken back with a void is on exactly one invoice, and numbers have no gap.
    /// </summary>
    [Fact]
    public void every_unit_of_overage_is_billed_exactly_once_whatever_happens()
    {
        var seed = Environment.GetEnvironmentVariable("BILLING_SEED") is { } given ? int.Parse(given) : Random.Shared.Next();
        for (var i = 0; i < 150; i++)
        {
            try
            {
                Live(new Random(seed + i));
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"BILLING_SEED={seed + i}", e);
            }
        }
    }

    private static void Live(Random random)
    {
        var spec = Opened(Catalog, plan: random.Next(2) == 0 ? "pro" : null, zone: random.Next(2) == 0 ? "Europe/Berlin" : "UTC", at: "2026-01-29T22:30:00Z");
        for (var step = 0; step < 60; step++)
        {
            spec.After(Duration.FromMinutes(random.Next(6) == 0 ? random.Next(90_000) : random.Next(2_000))).When(Some(random, spec));
            // Nothing that is to be billed is forgotten, and nothing is due that is not there.
            var unbilled = spec.State.Usage.Any(u => u.Gauge is { Billed: true } || u.Counters.Any(c => c.Window == Window.Period && c.Priced.Any(p => p.Units != p.Billed)));
            Assert.Equal(unbilled, spec.State.Billing.BilledAt is not null);
        }
        spec.When(Settle(spec, InvoiceStatus.Draft, InvoiceStatus.Void)).Given(New(new CloseOrganization(null) { Id = "", ContentHash = [], At = default }));
        spec.After(Duration.FromDays(800)).When(Turn());

        var recorded = spec.Events.OfType<UsageRecorded>().Where(e => e.Gauge is null && e.Overage > 0 && (e.UnitPrice is not null || e.Tiers is not null))
            .SelectMany(e => e.Tiers ?? [new PricedUse(e.UnitPrice!.Value, e.Overage)], (e, p) => (e.Feature, p.UnitPrice, p.Units)).ToList();
        var added = spec.Events.OfType<LinesAdded>().SelectMany(e => e.Lines).ToList();
        var billed = added.Where(l => l.Kind == LineKind.Overage && l.Feature != "storage").SelectMany(l => l.Tiers!, (l, p) => (l.Feature!, p.UnitPrice, p.Units)).ToList();
        Assert.Equal(Sums(recorded), Sums(billed));

        // Lines of drafts that were voided came back and went onto another invoice.
        var voided = spec.Events.OfType<InvoiceSettled>().Where(e => e.Status == InvoiceStatus.Void && spec.State.Billing.Invoices.Single(i => i.Id == e.Invoice).Number is null).Select(e => e.Invoice).ToHashSet();
        var invoiced = Invoices(spec).Where(i => !voided.Contains(Ids.Invoice(i.Version))).SelectMany(i => i.Lines).Concat(spec.State.Billing.Pending);
        Assert.Equal(added.Where(l => l.Amount != 0).Select(Key).Order(StringComparer.Ordinal), invoiced.Where(l => l.Amount != 0).Select(Key).Order(StringComparer.Ordinal));

        foreach (var month in spec.State.Billing.Invoices.Where(i => i.Number is not null).GroupBy(i => i.Number![..11]))
            Assert.Equal(Enumerable.Range(1, month.Count()).Select(n => n == 1 ? $"{month.Key}-acme" : $"{month.Key}-acme-{n}").Order(StringComparer.Ordinal), month.Select(i => i.Number!).Order(StringComparer.Ordinal));

        static List<(string, decimal, long)> Sums(List<(string Feature, decimal Price, long Units)> parts) =>
            [.. parts.GroupBy(p => (p.Feature, p.Price)).Select(g => (g.Key.Feature, g.Key.Price, g.Sum(p => p.Units))).Where(s => s.Item3 != 0).Order()];

        static string Key(InvoiceLine line) => $"{line.Kind} {line.Feature} {line.Description} {line.Amount} {line.Start} {line.End}";
    }

    private static Command Some(Random random, Spec spec) => random.Next(16) switch
    {
        0 => Start(random.Next(2) == 0 ? "pro" : "max", random.Next(3) == 0 ? BillingInterval.Year : BillingInterval.Month),
        1 => Change(random.Next(2) == 0 ? "pro" : "max", random.Next(3) == 0 ? BillingInterval.Year : BillingInterval.Month, random.Next(2) == 0 ? ChangeTime.Now : null, (ProrationMode)random.Next(3)),
        2 => Cancel((ChangeTime)random.Next(2), random.Next(2) == 0),
        3 => random.Next(2) == 0 ? Pause() : Resume(),
        4 or 5 => New(new CreateInvoice(random.Next(2) == 0) { Id = "", ContentHash = [], At = default }),
        6 => Settle(spec, InvoiceStatus.Draft, InvoiceStatus.Void),
        7 => spec.State.Billing.Invoices.LastOrDefault(i => i.Status == InvoiceStatus.Draft) is { } draft ? New(new FinalizeInvoice(draft.Id) { Id = "", ContentHash = [], At = default }) : Turn(),
        8 => Plan(random.Next(2) == 0 ? "pro" : "max"),
        9 or 10 => Gauge("storage", random.Next(0, 600_000) / 1_000m),
        11 => Use("mails", random.Next(1, 120), enforce: random.Next(2) == 0),
        _ => Use("jobs", random.Next(1, 150), enforce: random.Next(2) == 0),
    };

    private static Command Settle(Spec spec, InvoiceStatus which, InvoiceStatus to) => spec.State.Billing.Invoices.LastOrDefault(i => i.Status == which) is { } invoice
        ? New(new SettleInvoice(invoice.Id, to, null, null) { Id = "", ContentHash = [], At = default }) : Turn();
}
