namespace Billing.Ledger;

/// <summary>
/// Quantities: people write decimals ("12.5 GB"), the ledger counts whole smallest units (12,500 at three decimals).
/// </summary>
public static class Quantity
{
    /// <summary>The most that one quantity may be, in smallest units.</summary>
    public const long MaxUnits = 1_000_000_000_000_000;

    /// <summary>The most that one window counts, far enough from what an Int64 holds for sums with one more quantity.</summary>
    public const long MaxCounted = 1_000 * MaxUnits;

    /// <summary>The most decimals that a meter may have.</summary>
    public const int MaxDecimals = 9;

    private static readonly long[] Scales = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

    /// <summary>Smallest units in one whole unit.</summary>
    public static long Scale(int decimals) => Scales[decimals];

    /// <summary>Whole units as a decimal, without trailing zeros (12,500 at three decimals is 12.5).</summary>
    public static decimal ToDecimal(long units, int decimals)
    {
        while (decimals > 0 && units % 10 == 0)
        {
            units /= 10;
            decimals--;
        }
        var magnitude = (ulong)Math.Abs(units);
        return new decimal(unchecked((int)magnitude), unchecked((int)(magnitude >> 32)), 0, units < 0, (byte)decimals);
    }

    /// <summary>Smallest units, or the rejection when the value has too many places or is too large. The sign is kept.</summary>
    public static Rejection? TryUnits(decimal value, int decimals, string unit, out long units)
    {
        units = 0;
        if (Math.Abs(value) > (decimal)MaxUnits / Scale(decimals)) return Rejections.QuantityTooLarge(decimals);
        var scaled = value * Scale(decimals);
        if (scaled != decimal.Truncate(scaled)) return Rejections.QuantityTooPrecise(value, decimals, unit);
        units = (long)scaled;
        return null;
    }
}
