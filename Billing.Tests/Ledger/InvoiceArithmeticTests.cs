using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Ledger;

public sealed class InvoiceArithmeticTests
{
    private static readonly Instant Start = Instant.FromUtc(2026, 11, 1, 0, 0);

    private static InvoiceLine Line(long amount, string currency = "usd") =>
        new(LineKind.Adjustment, "A line", null, null, 1, null, amount, currency, Start, Start + Duration.FromDays(30));

    [Fact]
    public void tax_is_rounded_per_line_half_away_from_zero_and_added_to_exclusive_prices()
    {
        var sum = InvoiceArithmetic.Total([Line(29_900), Line(2_250), Line(125), Line(125)], new TaxTerms("Sales tax", 8, false), null);

        Assert.Equal([2_392, 180, 10, 10], sum.Lines.Select(l => l.Tax));
        Assert.Equal((32_400, 0, 2_592, 34_992), (sum.Subtotal, sum.Discount, sum.Tax, sum.Total));
        // 6.25 of tax on 50: 12.5 % of 50 is 6.25; of 60 it is 7.5 and becomes 8, of −60 it becomes −8.
        Assert.Equal([6, 8, -8], InvoiceArithmetic.Total([Line(50), Line(60), Line(-60)], new TaxTerms("VAT", 12.5m, false), null).Lines.Select(l => l.Tax));
    }

    [Fact]
    public void inclusive_tax_is_shown_and_not_added()
    {
        var sum = InvoiceArithmetic.Total([Line(11_900), Line(-1_190)], new TaxTerms("MwSt", 19, true), null);

        Assert.Equal([1_900, -190], sum.Lines.Select(l => l.Tax));
        Assert.Equal((10_710, 1_710, 10_710), (sum.Subtotal, sum.Tax, sum.Total));
    }

    [Fact]
    public void tax_is_on_what_the_discount_leaves()
    {
        var sum = InvoiceArithmetic.Total([Line(10_000), Line(333)], new TaxTerms("VAT", 20, false), new DiscountTerms(15, null, null));

        Assert.Equal([1_500, 50], sum.Lines.Select(l => l.Discount));
        Assert.Equal([1_700, 57], sum.Lines.Select(l => l.Tax));
        Assert.Equal((10_333, 1_550, 1_757, 10_540), (sum.Subtotal, sum.Discount, sum.Tax, sum.Total));
    }

    [Fact]
    public void the_largest_remainders_get_what_is_left_of_a_discount()
    {
        // 10 % of 15, 14 and 14 are 1.5, 1.4 and 1.4, together 4.3: the first has the largest remainder.
        Assert.Equal([2, 1, 1], InvoiceArithmetic.Total([Line(15), Line(14), Line(14)], null, new DiscountTerms(10, null, null)).Lines.Select(l => l.Discount));
        // Of equal remainders, the line that stands first.
        Assert.Equal([34, 33, 33], InvoiceArithmetic.Total([Line(500), Line(500), Line(500)], null, new DiscountTerms(null, 100, null)).Lines.Select(l => l.Discount));
    }

    [Fact]
    public void an_amount_off_is_at_most_the_invoice_and_shared_by_its_charges()
    {
        var sum = InvoiceArithmetic.Total([Line(3_000), Line(-1_000), Line(1_000)], null, new DiscountTerms(null, 5_000, null));
        Assert.Equal([2_250, 0, 750], sum.Lines.Select(l => l.Discount));
        Assert.Equal((3_000, 3_000, 0), (sum.Subtotal, sum.Discount, sum.Total));

        Assert.Equal(0, InvoiceArithmetic.Total([Line(-1_000)], null, new DiscountTerms(null, 5_000, null)).Discount);
    }

    [Fact]
    public void per_cent_off_a_charge_are_off_the_credit_that_takes_it_back_too()
    {
        var discount = new DiscountTerms(33.3333m, null, null);

        Assert.Equal(0, InvoiceArithmetic.Total([Line(29_900)], null, discount).Total + InvoiceArithmetic.Total([Line(-29_900)], null, discount).Total);
        Assert.Equal(0, InvoiceArithmetic.Total([Line(29_900), Line(77), Line(-29_900), Line(-77)], null, discount).Discount);
        // What is given back of a plan is what it came to already.
        Assert.Equal([500, 0], InvoiceArithmetic.Total([Line(1_000), Line(-400) with { Kind = LineKind.Proration }], null, new DiscountTerms(50, null, null)).Lines.Select(l => l.Discount));
    }

    /// <summary>
    /// Random invoices. Minor units are whole numbers in every currency, so decimals of a currency change nothing here but how large amounts are.
    /// Checked against exact fractions, without the arithmetic's own steps.
    /// </summary>
    [Fact]
    public void lines_discount_shares_and_taxes_add_up_exactly_whatever_the_terms()
    {
        var seed = Environment.GetEnvironmentVariable("INVOICE_SEED") is { } given ? int.Parse(given) : Random.Shared.Next();
        var random = new Random(seed);
        for (var i = 0; i < 20_000; i++)
        {
            string[] currencies = ["usd", "jpy", "kwd"];
            var currency = currencies[random.Next(3)];
            // A unit price per line, rounded as lines are: whole yen, thousandths of a dinar.
            InvoiceLine[] lines = [.. Enumerable.Range(0, random.Next(1, 12)).Select(_ =>
                Line(Pricing.Line(random.Next(-3, 8) * random.Next(0, 100_000), random.Next(0, 4), random.Next(0, 100_000) / 1_000m, currency), currency))];
            var tax = random.Next(4) == 0 ? null : new TaxTerms("Tax", random.Next(0, 1_000_001) / 10_000m, random.Next(2) == 0);
            var discount = random.Next(3) switch
            {
                0 => null,
                1 => new DiscountTerms(random.Next(1, 1_000_001) / 10_000m, null, null),
                _ => new DiscountTerms(null, random.Next(1, 10_000_000), null) { Currency = currency },
            };
            var sum = InvoiceArithmetic.Total(lines, tax, discount);
            try
            {
                Check(lines, tax, discount, sum);
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"INVOICE_SEED={seed}, invoice {i}: {tax} {discount} [{string.Join(", ", lines.Select(l => l.Amount))}]", e);
            }
        }
    }

    private static void Check(InvoiceLine[] lines, TaxTerms? tax, DiscountTerms? discount, InvoiceTotals sum)
    {
        var subtotal = lines.Sum(l => l.Amount);
        Assert.Equal(lines.Select(l => l.Amount), sum.Lines.Select(l => l.Amount));
        Assert.Equal(subtotal, sum.Subtotal);
        Assert.Equal(sum.Discount, sum.Lines.Sum(l => l.Discount));
        Assert.Equal(sum.Tax, sum.Lines.Sum(l => l.Tax));
        Assert.Equal(sum.Subtotal - sum.Discount + (tax is { Inclusive: false } ? sum.Tax : 0), sum.Total);

        var exact = discount switch
        {
            { Percent: { } percent } => subtotal * percent / 100,
            { Amount: { } amount } => Math.Clamp(subtotal, 0, amount),
            _ => 0,
        };
        Assert.True(Math.Abs(sum.Discount - exact) <= 0.5m, $"{sum.Discount} is not {exact} rounded.");
        foreach (var line in sum.Lines)
        {
            // Within one minor unit of its exact share, and never past the line itself, on either side of zero.
            Assert.True(line.Amount >= 0 ? line.Discount >= 0 && line.Discount <= line.Amount : line.Discount <= 0 && line.Discount >= line.Amount, $"{line}");
            if (discount is { Percent: { } percent }) Assert.True(Math.Abs(line.Discount - line.Amount * percent / 100) < 1);
            var net = line.Amount - line.Discount;
            var exactTax = tax is null ? 0 : tax.Inclusive ? net - net / (1 + tax.Rate / 100) : net * tax.Rate / 100;
            Assert.True(Math.Abs(line.Tax - exactTax) <= 0.5m + 0.000001m, $"{line.Tax} is not {exactTax} rounded.");
            Assert.True(tax is null || (line.Tax == 0 || long.Sign(line.Tax) == long.Sign(net)), "A charge is taxed, a credit gives tax back.");
        }
    }
}
