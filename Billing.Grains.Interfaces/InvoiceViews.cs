using System.Globalization;
using System.Text.Json.Serialization;
using Billing.Ledger;
using NodaTime;

namespace Billing.Grains;

// Invoices as callers read them. Amounts are minor units with their currency; credits are negative.

/// <summary>An invoice: <c>total = subtotal − discount + exclusive tax</c>, and what is due is the total less the credit. Lists leave out what it is made of.</summary>
/// <param name="Id"><c>in_</c> and the version of its event, or Stripe's.</param>
/// <param name="Number"><c>INV-2026-11-acme</c>; null for a draft.</param>
/// <param name="Status">draft, open, paid, void or uncollectible.</param>
/// <param name="Credit">Taken from the credit balance; a negative total is put there instead.</param>
/// <param name="SettledAt">When it became paid, void or uncollectible.</param>
/// <param name="Subscription">The subscription that it is of, if it is of one.</param>
[GenerateSerializer, Alias("InvoiceView"), Immutable]
public sealed record InvoiceView(
    string Id, string? Number, string Status, Money Total, Money Credit, Money AmountDue, Instant CreatedAt, Instant? FinalizedAt, Instant? DueAt, Instant? SettledAt,
    string? Subscription)
{
    /// <summary>Whose invoice it is: <c>ledger</c>, or <c>stripe</c> for one that is shown as Stripe last showed it.</summary>
    [Id(0)] public string Source { get; init; } = "ledger";

    /// <summary>Stripe's: what came in for it.</summary>
    [Id(1), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public Money? AmountPaid { get; init; }

    /// <summary>Stripe's: why it was made, such as <c>subscription_cycle</c>.</summary>
    [Id(2), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? BillingReason { get; init; }

    /// <summary>Stripe's: how often it was tried to collect it.</summary>
    [Id(3), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public int? Attempts { get; init; }

    /// <summary>Stripe's: when it is tried next.</summary>
    [Id(4), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public Instant? NextAttemptAt { get; init; }

    /// <summary>Stripe's page to pay it on, and to read it.</summary>
    [Id(5), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? HostedUrl { get; init; }

    /// <summary>Stripe's PDF of it.</summary>
    [Id(6), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? PdfUrl { get; init; }

    /// <summary>Stripe's: why it could not be finalized.</summary>
    [Id(7), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Problem { get; init; }

    /// <summary>From the first line's beginning to the last one's end.</summary>
    [Id(8), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public PeriodView? Period { get; init; }

    /// <summary>Their amounts, discounts and taxes add up to the totals exactly.</summary>
    [Id(9), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public IReadOnlyList<InvoiceLineView>? Lines { get; init; }

    /// <summary>The lines' amounts.</summary>
    [Id(10), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public Money? Subtotal { get; init; }

    /// <summary>What is taken off the subtotal.</summary>
    [Id(11), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public Money? Discount { get; init; }

    /// <summary>By which terms.</summary>
    [Id(12), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public DiscountTermsView? DiscountTerms { get; init; }

    /// <summary>Added to the total where its terms are exclusive, and in it already where they are inclusive.</summary>
    [Id(13), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public Money? Tax { get; init; }

    /// <summary>By which terms.</summary>
    [Id(14), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public TaxTermsView? TaxTerms { get; init; }

    /// <summary>Whether it is the last one of a subscription that ended.</summary>
    [Id(15), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public bool? Final { get; init; }

    /// <summary>The version of the event that made it.</summary>
    [Id(16), JsonIgnore] public long Version { get; init; }

    /// <summary>As a list shows it.</summary>
    public static InvoiceView Of(InvoiceHead i) => new(
        i.Id, i.Number, Spelling.Of(i.Status), new Money(i.Total, i.Currency), new Money(i.Credit, i.Currency), new Money(i.AmountDue, i.Currency), i.CreatedAt, i.FinalizedAt,
        i.DueAt, i.SettledAt, i.Subscription)
    {
        Version = i.Version,
    };

    /// <summary>With what it is made of, which the event that made it says.</summary>
    public InvoiceView With(InvoiceCreated e, Catalogs catalogs) => this with
    {
        Period = new PeriodView(e.Start, e.End),
        Lines = [.. e.Lines.Select(l => InvoiceLineView.Of(l, catalogs))],
        Subtotal = new Money(e.Subtotal, e.Currency),
        Discount = new Money(e.Discount, e.Currency),
        DiscountTerms = DiscountTermsView.Of(e.DiscountTerms),
        Tax = new Money(e.Tax, e.Currency),
        TaxTerms = TaxTermsView.Of(e.TaxTerms),
        Final = e.Final,
    };
}

/// <summary>One line of an invoice.</summary>
/// <param name="Kind">base, proration, overage or adjustment.</param>
/// <param name="Quantity">Whole units of the meter; 1 for a base price.</param>
/// <param name="UnitPrice">Major units for one, as text; null where there is no one price.</param>
/// <param name="Amount">Rounded once, before discount and exclusive tax.</param>
/// <param name="Discount">Its share of the invoice's discount.</param>
/// <param name="Period">What it is for.</param>
[GenerateSerializer, Alias("InvoiceLineView"), Immutable]
public sealed record InvoiceLineView(
    string Kind, string Description, string? Feature, string? Plan, decimal Quantity, string? UnitPrice, Money Amount, Money Discount, Money Tax, PeriodView Period)
{
    /// <summary>Overage at several prices.</summary>
    [Id(0), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public IReadOnlyList<PricedQuantityView>? Tiers { get; init; }

    /// <summary>Usage records that an adjustment is about.</summary>
    [Id(1), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public IReadOnlyList<string>? Records { get; init; }

    /// <summary>A line, with quantities in whole units.</summary>
    public static InvoiceLineView Of(InvoiceLine l, Catalogs catalogs)
    {
        var decimals = l.Feature is null ? 0 : catalogs.Feature(l.Feature)?.Meter?.Decimals ?? 0;
        return new InvoiceLineView(
            Spelling.Of(l.Kind), l.Description, l.Feature, l.Plan, l.Quantity, l.UnitPrice?.ToString(CultureInfo.InvariantCulture), new Money(l.Amount, l.Currency),
            new Money(l.Discount, l.Currency), new Money(l.Tax, l.Currency), new PeriodView(l.Start, l.End))
        {
            Tiers = l.Tiers is { Length: > 1 } tiers
                ? [.. tiers.Select(t => new PricedQuantityView(Ledger.Quantity.ToDecimal(t.Units, decimals), t.UnitPrice.ToString(CultureInfo.InvariantCulture)))] : null,
            Records = l.Records,
        };
    }
}

/// <summary>A quantity in whole units at one price for each, in major units as text.</summary>
[GenerateSerializer, Alias("PricedQuantityView"), Immutable]
public sealed record PricedQuantityView(decimal Quantity, string UnitPrice);

/// <param name="Rate">Per cent.</param>
/// <param name="Inclusive">Prices have the tax in them.</param>
[GenerateSerializer, Alias("TaxTermsView"), Immutable]
public sealed record TaxTermsView(string Name, decimal Rate, bool Inclusive)
{
    /// <summary>Null where there is no tax.</summary>
    public static TaxTermsView? Of(TaxTerms? terms) => terms is null ? null : new TaxTermsView(terms.Name, terms.Rate, terms.Inclusive);
}

/// <summary>Either per cent of every line, credits too, or an amount off each invoice in its currency.</summary>
/// <param name="Until">Invoices made from then on have no discount.</param>
[GenerateSerializer, Alias("DiscountTermsView"), Immutable]
public sealed record DiscountTermsView(decimal? Percent, Money? Amount, Instant? Until)
{
    /// <summary>Null where there is no discount.</summary>
    public static DiscountTermsView? Of(DiscountTerms? terms) =>
        terms is null ? null : new DiscountTermsView(terms.Percent, terms.Amount is { } amount ? new Money(amount, terms.Currency ?? "") : null, terms.Until);
}

/// <summary>How an organization is billed.</summary>
/// <param name="Tax">In force: the organization's own, or else the catalog's.</param>
/// <param name="TaxSource">organization, catalog or none.</param>
/// <param name="Credits">Credit balances, which coming invoices take.</param>
[GenerateSerializer, Alias("BillingTermsView"), Immutable]
public sealed record BillingTermsView(TaxTermsView? Tax, string TaxSource, DiscountTermsView? Discount, IReadOnlyList<Money> Credits)
{
    /// <summary>The terms in force, and what is left of credits.</summary>
    public static BillingTermsView Of(State state, Catalogs catalogs)
    {
        var tax = Ledger.Invoices.TaxOf(state, catalogs);
        return new BillingTermsView(
            TaxTermsView.Of(tax), state.Billing.Tax is not null ? "organization" : tax is not null ? "catalog" : "none", DiscountTermsView.Of(state.Billing.Discount),
            state.Billing.Credits);
    }
}

/// <summary>What would be on the next invoice if it were made now. Nothing is written.</summary>
/// <param name="Invoices">One for each currency; none when there is nothing to invoice.</param>
/// <param name="BilledAt">When the overage so far is billed; null when there is none.</param>
[GenerateSerializer, Alias("UpcomingInvoicesView"), Immutable]
public sealed record UpcomingInvoicesView(IReadOnlyList<UpcomingInvoiceView> Invoices, Instant? BilledAt)
{
    /// <summary>Pending lines and overage so far, with what is due by now and not written yet.</summary>
    public static UpcomingInvoicesView Of(State state, Catalogs catalogs, Instant clock)
    {
        var now = state.Now(clock);
        return new UpcomingInvoicesView(
            [.. Ledger.Invoices.Upcoming(state, catalogs, now).Select(e => UpcomingInvoiceView.Of(e, catalogs))], state.Billing.BilledAt > now ? state.Billing.BilledAt : null);
    }
}

/// <summary>An invoice as it would be: the members are those of an invoice.</summary>
[GenerateSerializer, Alias("UpcomingInvoiceView"), Immutable]
public sealed record UpcomingInvoiceView(
    PeriodView Period, IReadOnlyList<InvoiceLineView> Lines, Money Subtotal, Money Discount, DiscountTermsView? DiscountTerms, Money Tax, TaxTermsView? TaxTerms, Money Total,
    Money Credit, Money AmountDue)
{
    /// <summary>What an event that would make it says.</summary>
    public static UpcomingInvoiceView Of(InvoiceCreated e, Catalogs catalogs) => new(
        new PeriodView(e.Start, e.End), [.. e.Lines.Select(l => InvoiceLineView.Of(l, catalogs))], new Money(e.Subtotal, e.Currency), new Money(e.Discount, e.Currency),
        DiscountTermsView.Of(e.DiscountTerms), new Money(e.Tax, e.Currency), TaxTermsView.Of(e.TaxTerms), new Money(e.Total, e.Currency), new Money(e.Credit, e.Currency),
        new Money(e.AmountDue, e.Currency));
}

/// <summary>What waits for an invoice.</summary>
/// <param name="Currencies">Those that something is pending in.</param>
/// <param name="AreAtStripe">Stripe's invoices charge the organization.</param>
/// <param name="AreWithinPeriod">Some of it no renewal's invoice will take, because it came due within a period.</param>
/// <param name="AreLeftOver">Its subscription at Stripe ended, and nobody charges it any more.</param>
/// <param name="Customers">What the organization is at Stripe; the one that pays for its subscription first.</param>
[GenerateSerializer, Alias("PendingLinesView"), Immutable]
public sealed record PendingLinesView(IReadOnlyList<string> Currencies, bool IsClosed, bool AreAtStripe, bool AreWithinPeriod, bool AreLeftOver, IReadOnlyList<string> Customers)
{
    /// <summary>As the state has it.</summary>
    public static PendingLinesView Of(State state) => new(
        [.. state.Billing.Pending.Select(l => l.Currency).Distinct().Order(StringComparer.Ordinal)], state.IsClosed, Billing.Ledger.Invoices.AreAtStripe(state), Billing.Ledger.Invoices.AreWithinPeriod(state), Billing.Ledger.Invoices.AreLeftOver(state),
        [.. new[] { state.Subscriptions.Own?.Customer }.OfType<string>().Concat(state.Account.Customers).Distinct()]);
}
