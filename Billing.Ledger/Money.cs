using System.Collections.Immutable;

namespace Billing.Ledger;

/// <summary>An amount in minor units (cents) of a currency (lower-case ISO 4217).</summary>
[GenerateSerializer, Alias("Money"), Immutable]
public readonly record struct Money(long Amount, string Currency);

/// <summary>What overage costs: one unit price (major units), or several tiers with their units; neither where it is free of charge.</summary>
public readonly record struct OveragePrice(decimal? UnitPrice, PricedUse[]? Tiers)
{
    public bool IsPriced => UnitPrice is not null || Tiers is not null;
}

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

    /// <summary>What overage costs at these prices, in minor units, not rounded yet.</summary>
    public static decimal Exact(IEnumerable<PricedUse> priced, int decimals, string currency)
    {
        var sum = 0m;
        foreach (var part in priced) sum += Exact(part.Units, decimals, part.UnitPrice, currency);
        return sum;
    }

    /// <summary>The price of so many units of overage in a plan, behind what was overage in the billing period before.</summary>
    /// <param name="before">Smallest units; only tiers look at it.</param>
    public static OveragePrice Of(PlanFeature given, long before, long units)
    {
        if (units == 0 || !given.PricesOverage) return default;
        return given.Tiers.IsEmpty ? new OveragePrice(given.UnitPrice, null) : Graduated(given.Tiers, before, units);
    }

    private static OveragePrice Graduated(ImmutableArray<PriceTier> tiers, long before, long units)
    {
        var priced = new List<PricedUse>(2);
        foreach (var tier in tiers)
        {
            var room = tier.UpTo is { } end ? Math.Max(0, end - before) : long.MaxValue;
            var taken = Math.Min(units, room);
            if (taken == 0) continue;
            if (priced is [.., { } last] && last.UnitPrice == tier.UnitPrice) priced[^1] = last with { Units = last.Units + taken };
            else priced.Add(new PricedUse(tier.UnitPrice, taken));
            before += taken;
            units -= taken;
        }
        return priced.Count == 1 ? new OveragePrice(priced[0].UnitPrice, null) : new OveragePrice(null, [.. priced]);
    }

    /// <summary>For people: 12.50 USD.</summary>
    public static string Text(Money money)
    {
        var minor = MinorUnits(money.Currency);
        var places = minor switch { 1 => "0", 1000 => "3", _ => "2" };
        return $"{((decimal)money.Amount / minor).ToString("N" + places, System.Globalization.CultureInfo.InvariantCulture)} {money.Currency.ToUpperInvariant()}";
    }

    /// <summary>An amount beyond <see cref="MaxAmount"/> reads as that: absurd use at an absurd price must not make the ledger unreadable.</summary>
    public static long Round(decimal minorUnits) =>
        (long)Math.Clamp(Math.Round(minorUnits, MidpointRounding.AwayFromZero), -MaxAmount, MaxAmount);

    /// <summary>The most that one line is, in minor units: the sum of an invoice's lines stays far from what an Int64 holds.</summary>
    public const long MaxAmount = 1_000_000_000_000_000;
}
