namespace Billing.Ledger;

/// <summary>An amount in minor units (cents) of a currency (lower-case ISO 4217).</summary>
public readonly record struct Money(long Amount, string Currency);

/// <summary>The one place that turns exact prices into payable amounts.</summary>
public static class Pricing
{
    /// <summary>Currencies that Stripe takes without decimals. Source: docs.stripe.com/currencies, "Zero-decimal currencies".</summary>
    private static readonly HashSet<string> ZeroDecimal =
        ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"];

    /// <summary>Currencies with three decimals. Source: as above, "Three-decimal currencies".</summary>
    private static readonly HashSet<string> ThreeDecimal = ["bhd", "jod", "kwd", "omr", "tnd"];

    /// <summary>Minor units in one major unit: 100 for dollars, 1 for yen, 1,000 for dinars.</summary>
    public static int MinorUnits(string currency) => ZeroDecimal.Contains(currency) ? 1 : ThreeDecimal.Contains(currency) ? 1000 : 100;

    /// <summary>
    /// The amount of one line: <paramref name="units"/> smallest units of a meter with <paramref name="decimals"/> places
    /// at <paramref name="unitPrice"/> major units per whole unit. Rounded once, half away from zero.
    /// </summary>
    public static long Line(long units, int decimals, decimal unitPrice, string currency) =>
        Round(Exact(units, decimals, unitPrice, currency));

    /// <summary>As <see cref="Line"/>, in minor units, not rounded yet.</summary>
    public static decimal Exact(long units, int decimals, decimal unitPrice, string currency) =>
        Quantity.ToDecimal(units, decimals) * unitPrice * MinorUnits(currency);

    /// <summary>An amount beyond <see cref="MaxAmount"/> reads as that: absurd use at an absurd price must not make the ledger unreadable.</summary>
    public static long Round(decimal minorUnits) =>
        (long)Math.Clamp(Math.Round(minorUnits, MidpointRounding.AwayFromZero), -MaxAmount, MaxAmount);

    /// <summary>The most that one line is, in minor units: the sum of an invoice's lines stays far from what an Int64 holds.</summary>
    public const long MaxAmount = 1_000_000_000_000_000;
}
