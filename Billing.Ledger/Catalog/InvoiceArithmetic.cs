namespace Billing.Ledger;

/// <summary>An invoice's numbers, in minor units: <c>Total = Subtotal − Discount + exclusive Tax</c>.</summary>
/// <param name="Lines">With each line's share of the discount and its tax: they add up to <paramref name="Discount"/> and <paramref name="Tax"/> exactly.</param>
/// <param name="Tax">Inclusive tax is in the subtotal already.</param>
public readonly record struct InvoiceTotals(InvoiceLine[] Lines, long Subtotal, long Discount, long Tax, long Total);

/// <summary>
/// How lines become a total. The discount is computed and rounded once for the invoice and shared out over its lines, the largest remainders
/// first; tax is computed on what is left of each line and rounded per line, half away from zero.
/// </summary>
public static class InvoiceArithmetic
{
    /// <summary>Per cents have up to 4 places: 100 % is so many of their smallest steps.</summary>
    private const long WholePercent = 1_000_000;

    /// <param name="lines">All in one currency.</param>
    /// <param name="discount">One that applies at this time and in this currency, or null.</param>
    public static InvoiceTotals Total(IReadOnlyList<InvoiceLine> lines, TaxTerms? tax, DiscountTerms? discount)
    {
        var subtotal = lines.Sum(l => l.Amount);
        var shares = Shares(lines, subtotal, discount);
        InvoiceLine[] totalled = [.. lines.Select((line, i) => line with { Discount = shares[i], Tax = TaxOf(line.Amount - shares[i], tax) })];
        var (discounted, taxed) = (shares.Sum(), totalled.Sum(l => l.Tax));
        return new InvoiceTotals(totalled, subtotal, discounted, taxed, subtotal - discounted + (tax is { Inclusive: false } ? taxed : 0));
    }

    /// <summary>The tax on a net amount, or in a gross one. Credits give tax back.</summary>
    private static long TaxOf(long amount, TaxTerms? tax) => tax switch
    {
        null => 0,
        { Inclusive: true } => Pricing.Round(amount * tax.Rate / (100 + tax.Rate)),
        _ => Pricing.Round(amount * tax.Rate / 100),
    };

    private static long[] Shares(IReadOnlyList<InvoiceLine> lines, long subtotal, DiscountTerms? discount)
    {
        if (discount is { Percent: { } percent })
        {
            // Of a plan's unused rest is given back what it came to after the discount that it had. Other credits are discounted as the charges are that they take back.
            long[] amounts = [.. lines.Select(l => l is { Kind: LineKind.Proration, Amount: < 0 } ? 0 : l.Amount)];
            var steps = (long)(percent * (WholePercent / 100));
            return Share([.. amounts.Select(a => (Int128)a * steps)], WholePercent, (long)Math.Round(amounts.Sum() * percent / 100, MidpointRounding.AwayFromZero));
        }
        if (discount is { Amount: { } amount } && subtotal > 0)
        {
            // By what is charged: a credit has no share in an amount off.
            var charged = lines.Sum(l => Math.Max(0, l.Amount));
            var off = Math.Min(amount, subtotal);
            return Share([.. lines.Select(l => (Int128)Math.Max(0, l.Amount) * off)], charged, off);
        }
        return new long[lines.Count];
    }

    /// <summary>Whole numbers that add up to <paramref name="total"/>, each next to its exact share <c>numerators[i] / denominator</c>.</summary>
    private static long[] Share(Int128[] numerators, long denominator, long total)
    {
        long[] shares = [.. numerators.Select(n => (long)Floor(n, denominator))];
        var missing = (int)(total - shares.Sum());
        var byRemainder = Enumerable.Range(0, shares.Length).OrderByDescending(i => numerators[i] - (Int128)shares[i] * denominator).ThenBy(i => i);
        foreach (var i in byRemainder.Take(missing)) shares[i]++;
        return shares;
    }

    private static Int128 Floor(Int128 value, long by) => value >= 0 ? value / by : (value - by + 1) / by;
}
