using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;

namespace Billing.Tests.Ledger;

public sealed class InvoiceTests
{
    private const string Catalog = """
        {
          "currency": "usd", "fallback_plan": "pro", "tax": { "name": "Sales tax", "rate": "8" }, "invoice_due_days": 15,
          "features": {
            "jobs":    { "name": "jobs", "type": "metered", "meter": { "unit": "job" }, "mode": "overage", "unit_price": "0.50" },
            "storage": { "name": "GB of storage", "type": "metered", "meter": { "unit": "GB", "decimals": 3, "aggregation": "gauge" }, "mode": "overage", "unit_price": "0.10" },
            "calls":   { "name": "API calls", "type": "metered", "meter": { "unit": "call" }, "mode": "overage", "unit_price": "0.001" }
          },
          "plans": {
            "pro": { "name": "Pro", "prices": [{ "interval": "month", "amount": 29900 }, { "interval": "month", "currency": "eur", "amount": 27900 }], "features": { "jobs": 100, "storage": 50, "calls": 0 } },
            "big": { "name": "Big", "features": { "jobs": "unlimited", "storage": 500, "calls": { "allowance": 0, "mode": "soft" } } }
          }
        }
        """;

    private static readonly TaxTerms NoTax = new("None", 0, false);

    private static CreateInvoice Generate(bool draft = false) => New(new CreateInvoice(draft) { Id = "", ContentHash = [], At = default, By = "key_1" });

    private static FinalizeInvoice Finalize(string invoice) => New(new FinalizeInvoice(invoice) { Id = "", ContentHash = [], At = default });

    private static SettleInvoice Settle(string invoice, InvoiceStatus status) => New(new SettleInvoice(invoice, status, null, null) { Id = "", ContentHash = [], At = default });

    private static AddLine Add(long amount, string? currency = null) => New(new AddLine("Setup", amount, null, currency) { Id = "", ContentHash = [], At = default });

    private static GrantCredit Credit(long amount, string? currency = null) => New(new GrantCredit(amount, null, currency) { Id = "", ContentHash = [], At = default });

    private static SetBillingTerms Terms(TaxTerms? tax, DiscountTerms? discount = null) => New(new SetBillingTerms(tax, discount, null) { Id = "", ContentHash = [], At = default });

    private static InvoiceHead Last(Spec spec) => spec.State.Billing.Invoices[^1];

    [Fact]
    public void an_invoice_has_the_overage_so_far_tax_per_line_a_number_and_fifteen_days()
    {
        var spec = Opened(Catalog, at: "2026-11-01T00:00:00Z").Given(Use("calls", 1_247), Use("jobs", 145)).At("2026-11-20T10:00:00Z").When(Generate());

        var created = spec.Then<InvoiceCreated>();
        Assert.Equal(
            [("145 jobs: 45 additional", 45m, 0.50m, 2_250L, 180L), ("1,247 API calls: 1,247 additional", 1_247m, 0.001m, 125L, 10L)],
            created.Lines.Select(l => (l.Description, l.Quantity, l.UnitPrice!.Value, l.Amount, l.Tax)));
        Assert.Equal((2_375, 0, 190, 2_565, 2_565), (created.Subtotal, created.Discount, created.Tax, created.Total, created.AmountDue));
        Assert.Equal((Api.TestApi.Time("2026-11-01T00:00:00Z"), spec.Now), (created.Start, created.End));
        var finalized = spec.Then<InvoiceFinalized>();
        Assert.Equal((Ids.Invoice(created.Version), "INV-2026-11-acme", spec.Now + Duration.FromDays(15)), (finalized.Invoice, finalized.Number, finalized.DueAt));
        Assert.Equal(InvoiceStatus.Open, Last(spec).Status);
    }

    [Fact]
    public void what_is_on_an_invoice_is_not_billed_again()
    {
        var spec = Opened(Catalog, at: "2026-11-01T00:00:00Z").Given(Use("jobs", 145), Generate());

        spec.When(Generate()).ThenRejected(RejectionKind.NothingToInvoice);
        var line = Assert.Single(spec.Given(Use("jobs", 5)).When(Generate()).Then<InvoiceCreated>().Lines);
        Assert.Equal(("5 additional jobs", 250L), (line.Description, line.Amount));
    }

    [Fact]
    public void overage_too_small_for_a_line_waits_until_it_makes_one()
    {
        var spec = Opened(Catalog).Given(Use("calls", 4));

        spec.When(Generate()).ThenRejected(RejectionKind.NothingToInvoice);
        Assert.Equal(1, Assert.Single(spec.Given(Use("calls", 1)).When(Generate()).Then<InvoiceCreated>().Lines).Amount);
    }

    [Fact]
    public void numbers_go_by_the_month_of_issue_without_a_gap_and_drafts_have_none()
    {
        var spec = Opened(Catalog);
        foreach (var time in new[] { "2026-11-20T10:00:00Z", "2026-11-30T23:59:59Z" }) spec.At(time).Given(Add(100), Generate());
        var draft = Last(spec.Given(Add(100), Generate(draft: true))).Id;
        spec.Given(Settle(Last(spec.Given(Add(100), Generate())).Id, InvoiceStatus.Void)).Given(Add(100), Generate());
        spec.At("2026-12-01T00:00:00Z").Given(Finalize(draft), Add(100), Generate());

        Assert.Equal(
            ["INV-2026-11-acme", "INV-2026-11-acme-2", "INV-2026-12-acme", "INV-2026-11-acme-3", "INV-2026-11-acme-4", "INV-2026-12-acme-2"],
            spec.State.Billing.Invoices.Select(i => i.Number));
    }

    [Fact]
    public void a_draft_is_finalized_or_voided_and_then_its_lines_are_pending_again()
    {
        var spec = Opened(Catalog).Given(Terms(null, new DiscountTerms(10, null, null)), Use("jobs", 110), Generate(draft: true));
        var draft = Last(spec);
        Assert.Equal((InvoiceStatus.Draft, null, 486L), (draft.Status, draft.Number, draft.AmountDue));
        Assert.Empty(spec.State.Billing.Pending);

        spec.When(Settle(draft.Id, InvoiceStatus.Paid)).ThenRejected(RejectionKind.InvoiceStateConflict);
        spec.When(Settle(draft.Id, InvoiceStatus.Uncollectible)).ThenRejected(RejectionKind.InvoiceStateConflict);
        spec.Given(Settle(draft.Id, InvoiceStatus.Void));
        var line = Assert.Single(spec.State.Billing.Pending);
        Assert.Equal((500L, 0L, 0L), (line.Amount, line.Discount, line.Tax));
        spec.When(Finalize(draft.Id)).ThenRejected(RejectionKind.InvoiceStateConflict);

        // The same lines make the same invoice; the overage is not counted a second time.
        spec.Given(Generate(draft: true));
        spec.Given(Finalize(Last(spec).Id));
        Assert.Equal((InvoiceStatus.Open, "INV-2026-11-acme", 486L), (Last(spec).Status, Last(spec).Number, Last(spec).AmountDue));
        spec.When(Finalize(Last(spec).Id)).ThenRejected(RejectionKind.InvoiceStateConflict);
    }

    [Theory]
    [InlineData(InvoiceStatus.Open, InvoiceStatus.Paid, true)]
    [InlineData(InvoiceStatus.Open, InvoiceStatus.Void, true)]
    [InlineData(InvoiceStatus.Open, InvoiceStatus.Uncollectible, true)]
    [InlineData(InvoiceStatus.Uncollectible, InvoiceStatus.Paid, true)]
    [InlineData(InvoiceStatus.Uncollectible, InvoiceStatus.Void, true)]
    [InlineData(InvoiceStatus.Paid, InvoiceStatus.Void, false)]
    [InlineData(InvoiceStatus.Paid, InvoiceStatus.Uncollectible, false)]
    [InlineData(InvoiceStatus.Void, InvoiceStatus.Paid, false)]
    [InlineData(InvoiceStatus.Void, InvoiceStatus.Uncollectible, false)]
    public void what_may_become_of_an_invoice(InvoiceStatus from, InvoiceStatus to, bool allowed)
    {
        var spec = Opened(Catalog).Given(Add(1_000), Generate());
        var id = Last(spec).Id;
        if (from != InvoiceStatus.Open) spec.Given(Settle("INV-2026-11-acme", from));

        spec.When(Settle(id, to));
        if (!allowed) spec.ThenRejected(RejectionKind.InvoiceStateConflict);
        else Assert.Equal(to, spec.Then<InvoiceSettled>().Status);
        Assert.Equal(allowed ? to : from, Last(spec).Status);
        spec.When(Settle(id, Last(spec).Status)).ThenNothing();
    }

    [Fact]
    public void an_unknown_invoice_is_named()
    {
        var spec = Opened(Catalog);

        Assert.Contains("in_7", spec.When(Finalize("in_7")).ThenRejected(RejectionKind.InvoiceUnknown).Message, StringComparison.Ordinal);
        spec.When(Settle("INV-2026-11-acme", InvoiceStatus.Paid)).ThenRejected(RejectionKind.InvoiceUnknown);
    }

    [Fact]
    public void credit_is_taken_by_coming_invoices_and_an_invoice_with_nothing_due_is_paid_at_once()
    {
        var spec = Opened(Catalog).Given(Terms(NoTax), Credit(700), Credit(800), Add(1_000)).When(Generate());

        Assert.Equal((1_000, 1_000, 0), (spec.Then<InvoiceCreated>().Total, spec.Then<InvoiceCreated>().Credit, spec.Then<InvoiceCreated>().AmountDue));
        Assert.Equal((InvoiceStatus.Paid, "key_1"), (spec.Then<InvoiceSettled>().Status, spec.Then<InvoiceSettled>().By));
        Assert.Equal(500, spec.State.Billing.Credit("usd"));
        spec.Given(Add(2_000)).When(Generate());
        Assert.Equal((500, 1_500), (spec.Then<InvoiceCreated>().Credit, spec.Then<InvoiceCreated>().AmountDue));
        Assert.Equal((InvoiceStatus.Open, 0L), (Last(spec).Status, spec.State.Billing.Credit("usd")));
    }

    [Fact]
    public void a_total_below_zero_goes_to_the_credit_balance_with_its_tax()
    {
        var spec = Opened(Catalog).Given(Add(-1_000)).When(Generate());

        Assert.Equal((-1_080, -1_080, 0), (spec.Then<InvoiceCreated>().Total, spec.Then<InvoiceCreated>().Credit, spec.Then<InvoiceCreated>().AmountDue));
        Assert.Equal((InvoiceStatus.Paid, 1_080L), (Last(spec).Status, spec.State.Billing.Credit("usd")));
    }

    [Fact]
    public void a_void_invoice_gives_back_the_credit_that_it_took_and_its_lines_are_not_billed_again()
    {
        var spec = Opened(Catalog).Given(Terms(NoTax), Credit(400), Add(1_000), Generate(), Settle("INV-2026-11-acme", InvoiceStatus.Void));

        Assert.Equal(400, spec.State.Billing.Credit("usd"));
        Assert.Equal("INV-2026-11-acme", Last(spec).Number);
        spec.When(Generate()).ThenRejected(RejectionKind.NothingToInvoice);
    }

    [Fact]
    public void a_draft_reserves_the_credit_that_it_takes_and_gives_credit_only_when_it_is_finalized()
    {
        var spec = Opened(Catalog).Given(Terms(NoTax), Credit(400), Add(1_000), Generate(draft: true));
        Assert.Equal(0, spec.State.Billing.Credit("usd"));
        spec.Given(Settle(Last(spec).Id, InvoiceStatus.Void));
        Assert.Equal(400, spec.State.Billing.Credit("usd"));

        spec.Given(Add(-3_000), Generate(draft: true));
        Assert.Equal((-2_000L, 400L), (Last(spec).Total, spec.State.Billing.Credit("usd")));
        spec.Given(Finalize(Last(spec).Id));
        Assert.Equal((InvoiceStatus.Paid, 2_400L), (Last(spec).Status, spec.State.Billing.Credit("usd")));
    }

    [Fact]
    public void each_currency_has_its_invoice_its_credit_and_its_amount_off()
    {
        var spec = Opened(Catalog).Given(Terms(NoTax, new DiscountTerms(null, 100, null) { Currency = "eur" }), Credit(300, "eur"), Add(1_000, "eur"), Add(1_000)).Given(Generate(), Generate());

        Assert.Equal([("usd", 1_000L, 1_000L, "INV-2026-11-acme"), ("eur", 900L, 600L, "INV-2026-11-acme-2")],
            spec.State.Billing.Invoices.Select(i => (i.Currency, i.Total, i.AmountDue, i.Number)));
        Assert.Equal("currency", spec.When(Add(1, "jpy")).ThenRejected(RejectionKind.PriceUnknown).Field);
        spec.When(Credit(1, "jpy")).ThenRejected(RejectionKind.PriceUnknown);
        spec.When(Terms(null, new DiscountTerms(null, 1, null) { Currency = "jpy" })).ThenRejected(RejectionKind.PriceUnknown);
    }

    [Fact]
    public void a_discount_ends_when_it_says_and_the_organizations_own_tax_goes_before_the_catalogs()
    {
        var until = Api.TestApi.Time("2026-12-01T00:00:00Z");
        var spec = Opened(Catalog).Given(Terms(new TaxTerms("VAT", 20, true), new DiscountTerms(50, null, until)), Add(1_200), Generate());
        Assert.Equal(600, Last(spec).Total);
        Assert.Equal(1_200, Last(spec.At("2026-12-01T00:00:00Z").Given(Add(1_200), Generate())).Total);
        Assert.Equal(1_296, Last(spec.Given(Terms(null), Add(1_200), Generate())).Total);

        spec.When(Terms(null)).ThenNothing();
        spec.When(Terms(null, new DiscountTerms(50, null, until))).ThenRejected(RejectionKind.ExpiryInPast);
    }

    [Fact]
    public void lines_and_credits_have_amounts_within_limits()
    {
        var spec = Opened(Catalog);

        spec.When(Add(0)).ThenRejected(RejectionKind.QuantityNotPositive);
        spec.When(Add(Pricing.MaxAmount + 1)).ThenRejected(RejectionKind.QuantityTooLarge);
        spec.When(Add(-Pricing.MaxAmount - 1)).ThenRejected(RejectionKind.QuantityTooLarge);
        spec.When(Credit(0)).ThenRejected(RejectionKind.QuantityNotPositive);
        spec.Given(Credit(Pricing.MaxAmount)).When(Credit(1)).ThenRejected(RejectionKind.QuantityTooLarge);
        for (var i = 0; i < Invoices.MaxPending; i++) spec.Given(Add(Pricing.MaxAmount));
        spec.When(Add(1)).ThenRejected(RejectionKind.TooMany);
        // The largest invoice that there can be.
        Assert.Equal(1_080 * Pricing.MaxAmount, spec.When(Generate()).Then<InvoiceCreated>().Total);
    }

    [Fact]
    public void a_correction_makes_no_line_where_there_is_no_room_and_is_taken_when_there_is()
    {
        var spec = Opened(Catalog, at: "2026-11-01T00:00:00Z").When(Use("jobs", 120));
        var voiding = New(new VoidUsage(spec.Then<UsageRecorded>(), null) { Id = "", ContentHash = [], At = default });
        spec.At("2026-12-02T00:00:00Z").Given([.. Enumerable.Range(0, Invoices.MaxPending).Select(_ => Add(1))]);

        spec.When(voiding).ThenRejected(RejectionKind.TooMany);
        spec.Given(Generate()).When(voiding);
        Assert.Equal(-1_000, spec.Then<LinesAdded>().Lines[0].Amount);
    }

    [Fact]
    public void what_is_too_little_for_a_line_waits_beside_another_features_line()
    {
        var spec = Opened(Catalog).Given(Use("calls", 4), Use("jobs", 101), Generate(), Use("calls", 4));

        Assert.Equal(("8 API calls: 8 additional", 1L), spec.When(Generate()).Then<InvoiceCreated>().Lines.Select(l => (l.Description, l.Amount)).Single());
    }

    [Fact]
    public void a_discount_is_taken_off_the_largest_amounts_too()
    {
        var spec = Opened(Catalog).Given(Terms(NoTax, new DiscountTerms(50, null, null)), Add(Pricing.MaxAmount), Add(Pricing.MaxAmount), Add(Pricing.MaxAmount));

        Assert.Equal(3 * Pricing.MaxAmount / 2, spec.When(Generate()).Then<InvoiceCreated>().Total);
    }

    [Fact]
    public void a_closed_organization_is_billed_once_and_never_again_and_its_draft_can_be_finalized()
    {
        var spec = Opened(Catalog, at: "2026-11-01T00:00:00Z").Given(Add(500), Generate(draft: true), Gauge("storage", 60));
        var draft = Last(spec).Id;
        spec.Given(New(new CloseOrganization(null) { Id = "", ContentHash = [], At = default }));
        Assert.Equal(108, Last(spec).Total);

        spec.At("2027-03-01T00:00:00Z").Given(Due());
        Assert.Equal(2, spec.State.Billing.Invoices.Length);
        Assert.Null(spec.State.DueAt);
        Assert.Equal("INV-2027-03-acme", spec.When(Finalize(draft)).Then<InvoiceFinalized>().Number);
    }

    [Fact]
    public void at_its_time_overage_is_billed_once_with_gauges_by_their_peak()
    {
        var (start, end) = (Api.TestApi.Time("2026-11-01T00:00:00Z"), Api.TestApi.Time("2026-12-01T00:00:00Z"));
        var catalogs = Catalogs(Catalog);
        var state = Opened(Catalog, at: "2026-11-01T00:00:00Z").Given(Use("jobs", 145)).State;
        // Up to 62.5 GB, and down to 51 in the end.
        state = Invoices.Due(state with { Usage = state.Usage.Add(new FeatureUse("storage", [], new Gauge(51_000, 62_500, end, 3, Billed: true))) }, start);
        Assert.Equal((end, end), (state.Billing.BilledAt, state.DueAt));
        Assert.Null(Invoices.BillUsageAt(state, catalogs, end - Duration.FromSeconds(1), end));

        var added = Invoices.BillUsageAt(state, catalogs, end, end)!;
        Assert.Equal([("145 jobs: 45 additional", 2_250L), ("62.5 GB of storage at the peak: 12.5 additional", 125L)], added.Lines.Select(l => (l.Description, l.Amount)));
        Assert.All(added.Lines, l => Assert.Equal((start, end), (l.Start, l.End)));

        // The next month begins with what the gauge stands at, which is past the allowance still.
        state = state.Evolve(added);
        Assert.Equal(new Gauge(51_000, 51_000, end + Duration.FromDays(31), 3, Billed: true), state.Use("storage")!.Gauge);
        Assert.Equal(end + Duration.FromDays(31), state.Billing.BilledAt);
        state = state.Evolve(Invoices.BillUsageAt(state, catalogs, end + Duration.FromDays(31), end + Duration.FromDays(31))!);
        Assert.Equal(10, state.Billing.Pending[^1].Amount);
    }

    [Fact]
    public void overage_that_rounds_to_nothing_is_billed_as_nothing_when_its_period_ends()
    {
        var end = Api.TestApi.Time("2026-12-01T00:00:00Z");
        var state = Opened(Catalog, at: "2026-11-01T00:00:00Z").Given(Use("calls", 4)).State;
        state = Invoices.Due(state, state.RecordedAt);

        state = state.Evolve(Invoices.BillUsageAt(state, Catalogs(Catalog), end, end)!);
        Assert.Equal((null, 0), (state.Billing.BilledAt, state.Billing.Pending.Length));
        Assert.Empty(Invoices.Issue(state, Catalogs(Catalog), end, end));
    }

    [Fact]
    public void what_is_due_with_nothing_left_to_bill_does_not_stay_due()
    {
        var at = Api.TestApi.Time("2026-12-01T00:00:00Z");
        var state = Opened(Catalog).State;
        state = state with { Billing = state.Billing with { BilledAt = at }, DueAt = at };

        Assert.Null(state.Evolve(Decider.Due(state, Catalogs(Catalog), at)).DueAt);
    }
}
