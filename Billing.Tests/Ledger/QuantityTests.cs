using System.Globalization;
using Billing.Ledger;

namespace Billing.Tests.Ledger;

public class QuantityTests
{
    [Theory]
    [InlineData("0", 0, 0)]
    [InlineData("1", 0, 1)]
    [InlineData("1.0", 0, 1)]
    [InlineData("-2", 0, -2)]
    [InlineData("12.5", 3, 12_500)]
    [InlineData("62.500", 3, 62_500)]
    [InlineData("-0.001", 3, -1)]
    [InlineData("4.25", 2, 425)]
    [InlineData("0.000000001", 9, 1)]
    [InlineData("0.0010000000000000", 3, 1)]
    [InlineData("1000000000000000", 0, 1_000_000_000_000_000)]
    [InlineData("1000000000000", 3, 1_000_000_000_000_000)]
    [InlineData("-1000000", 9, -1_000_000_000_000_000)]
    public void a_decimal_becomes_whole_smallest_units_and_comes_back(string value, int decimals, long units)
    {
        Assert.Null(Quantity.TryUnits(Of(value), decimals, "GB", out var read));
        Assert.Equal(units, read);
        Assert.Equal(Of(value), Quantity.ToDecimal(units, decimals));
    }

    [Theory]
    [InlineData("0.5", 0, "0.5 is too precise: 'GB' is counted in whole numbers.")]
    [InlineData("12.5001", 3, "12.5001 is too precise: 'GB' has at most 3 decimal places.")]
    [InlineData("-0.001", 2, "-0.001 is too precise: 'GB' has at most 2 decimal places.")]
    [InlineData("0.0000000001", 9, "0.0000000001 is too precise: 'GB' has at most 9 decimal places.")]
    [InlineData("0.0000000000000000000000000001", 9, "0.0000000000000000000000000001 is too precise: 'GB' has at most 9 decimal places.")]
    [InlineData("100000.0000000000000000000001", 9, "100000.0000000000000000000001 is too precise: 'GB' has at most 9 decimal places.")]
    [InlineData("999999.9999999999999999999999", 9, "999999.9999999999999999999999 is too precise: 'GB' has at most 9 decimal places.")]
    public void more_places_than_the_meter_has_are_too_precise_and_never_rounded(string value, int decimals, string message)
    {
        var rejection = Quantity.TryUnits(Of(value), decimals, "GB", out var units);
        Assert.Equal(("quantity_too_precise", message), (rejection!.Code, rejection.Message));
        Assert.Equal(0, units);
    }

    [Theory]
    [InlineData("1000000000000001", 0, "A quantity is at most 1000000000000000.")]
    [InlineData("-1000000000000001", 0, "A quantity is at most 1000000000000000.")]
    [InlineData("1000000000000.001", 3, "A quantity is at most 1000000000000.")]
    [InlineData("1000000.000000001", 9, "A quantity is at most 1000000.")]
    [InlineData("1000000000000000.5", 0, "A quantity is at most 1000000000000000.")]
    [InlineData("79228162514264337593543950335", 0, "A quantity is at most 1000000000000000.")]
    [InlineData("-79228162514264337593543950335", 9, "A quantity is at most 1000000.")]
    public void more_than_the_maximum_is_too_large_in_either_direction(string value, int decimals, string message)
    {
        var rejection = Quantity.TryUnits(Of(value), decimals, "GB", out var units);
        Assert.Equal(("quantity_too_large", message), (rejection!.Code, rejection.Message));
        Assert.Equal(0, units);
    }

    [Theory]
    [InlineData(12_500, 3, "12.5")]
    [InlineData(12_000, 3, "12")]
    [InlineData(0, 9, "0")]
    [InlineData(1, 9, "0.000000001")]
    [InlineData(-1_500, 3, "-1.5")]
    [InlineData(100, 0, "100")]
    [InlineData(1_000_000_000_000_000, 9, "1000000")]
    [InlineData(999_999_999_999_999, 2, "9999999999999.99")]
    [InlineData(long.MaxValue, 2, "92233720368547758.07")]
    public void units_are_written_without_trailing_zeros(long units, int decimals, string text) =>
        Assert.Equal(text, Quantity.ToDecimal(units, decimals).ToString(CultureInfo.InvariantCulture));

    [Fact]
    public void every_meter_has_a_scale()
    {
        var scale = 1L;
        for (var decimals = 0; decimals <= Quantity.MaxDecimals; decimals++, scale *= 10) Assert.Equal(scale, Quantity.Scale(decimals));
    }

    private static decimal Of(string value) => decimal.Parse(value, CultureInfo.InvariantCulture);
}
