using System.Globalization;
using Billing.Ledger;

namespace Billing.Tests.Ledger;

public class MoneyTests
{
    [Theory]
    [InlineData(45, 0, "0.50", "usd", 2_250)]
    [InlineData(47, 0, "0.50", "usd", 2_350)]
    [InlineData(12_500, 3, "0.10", "usd", 125)]
    [InlineData(1_247, 0, "0.001", "usd", 125)]
    [InlineData(425, 2, "1.20", "eur", 510)]
    [InlineData(0, 0, "0.50", "usd", 0)]
    [InlineData(1_247, 0, "0", "usd", 0)]
    [InlineData(1_000_000, 0, "0.000000000001", "usd", 0)]
    [InlineData(1_000_000_000_000, 0, "0.000000000001", "usd", 100)]
    public void a_line_is_quantity_times_unit_price(long units, int decimals, string unitPrice, string currency, long amount) =>
        Assert.Equal(amount, Pricing.Line(units, decimals, Of(unitPrice), currency));

    [Theory]
    [InlineData(1, "0.004", 0)]
    [InlineData(1, "0.005", 1)]
    [InlineData(1, "0.015", 2)]
    [InlineData(1, "0.025", 3)]
    [InlineData(1, "0.004999999999", 0)]
    [InlineData(-1, "0.005", -1)]
    [InlineData(-1, "0.025", -3)]
    [InlineData(-1, "0.004", 0)]
    public void half_a_cent_is_rounded_away_from_zero(long units, string unitPrice, long amount) =>
        Assert.Equal(amount, Pricing.Line(units, 0, Of(unitPrice), "usd"));

    [Fact]
    public void a_line_is_rounded_once_and_not_for_each_unit()
    {
        // Rounded call by call, 1,247 calls at a tenth of a cent would be free of charge.
        Assert.Equal(0, Enumerable.Range(0, 1_247).Sum(_ => Pricing.Line(1, 0, 0.001m, "usd")));
        Assert.Equal(124.7m, Pricing.Exact(1_247, 0, 0.001m, "usd"));
        Assert.Equal(125, Pricing.Line(1_247, 0, 0.001m, "usd"));
    }

    [Fact]
    public void the_lines_of_the_example_invoice_add_up_to_the_cent()
    {
        long[] lines =
        [
            29_900,
            Pricing.Line(145 - 100, 0, 0.50m, "usd"),
            Pricing.Line(62_500 - 50_000, 3, 0.10m, "usd"),
            Pricing.Line(1_247, 0, 0.001m, "usd"),
        ];
        Assert.Equal([29_900, 2_250, 125, 125], lines);
        var subtotal = lines.Sum();
        var tax = Pricing.Round(subtotal * 0.08m);
        Assert.Equal((32_400, 2_592, 34_992), (subtotal, tax, subtotal + tax));
    }

    [Theory]
    [InlineData("usd", 100)]
    [InlineData("eur", 100)]
    [InlineData("jpy", 1)]
    [InlineData("krw", 1)]
    [InlineData("xof", 1)]
    [InlineData("kwd", 1000)]
    [InlineData("bhd", 1000)]
    public void minor_units_follow_the_currency(string currency, int minorUnits) => Assert.Equal(minorUnits, Pricing.MinorUnits(currency));

    [Theory]
    [InlineData(1_247, "1", 1_247)]
    [InlineData(1_247, "0.5", 624)]
    [InlineData(1_247, "0.1", 125)]
    [InlineData(1, "0.49", 0)]
    public void yen_have_no_decimals(long units, string unitPrice, long amount) =>
        Assert.Equal(amount, Pricing.Line(units, 0, Of(unitPrice), "jpy"));

    [Fact]
    public void an_amount_that_no_currency_could_hold_reads_as_the_most_there_is_and_never_wraps_around() =>
        Assert.Equal(1_000_000_000_000_000, Pricing.Line(Quantity.MaxUnits, 0, 1_000_000m, "usd"));

    private static decimal Of(string value) => decimal.Parse(value, CultureInfo.InvariantCulture);
}
