using NodaTime;

namespace Billing.Ledger;

/// <summary>
/// What a change within a paid period gives back and what it costs: to the second, each line rounded once, half away from
/// zero. What is given back is the unused rest of what was actually charged, not of what a price list says.
/// </summary>
/// <remarks>Source: docs.stripe.com/billing/subscriptions/billing-mode, "flexible".</remarks>
public static class Proration
{
    /// <returns>Minor units, 0 or less.</returns>
    public static long Credit(BaseCharge charged, Instant at) => -Rest(charged.Amount, charged.Start, charged.End, at);

    /// <param name="price">Minor units for the whole period.</param>
    /// <returns>Minor units, 0 or more.</returns>
    public static long Charge(long price, Instant start, Instant end, Instant at) => Rest(price, start, end, at);

    public static int Months(BillingInterval interval) => interval switch
    {
        BillingInterval.Year => 12,
        BillingInterval.Quarter => 3,
        _ => 1,
    };

    /// <summary>Whether a price is higher than another, each counted per month.</summary>
    public static bool IsHigher(Price price, Price than) => price.Amount.Amount * Months(than.Interval) > than.Amount.Amount * Months(price.Interval);

    /// <summary>The part of an amount that falls on the rest of a stretch of time.</summary>
    private static long Rest(long amount, Instant start, Instant end, Instant at)
    {
        var whole = end.ToUnixTimeSeconds() - start.ToUnixTimeSeconds();
        if (whole <= 0) return 0;
        var rest = Math.Clamp(end.ToUnixTimeSeconds() - at.ToUnixTimeSeconds(), 0, whole);
        return Pricing.Round((decimal)amount * rest / whole);
    }
}
