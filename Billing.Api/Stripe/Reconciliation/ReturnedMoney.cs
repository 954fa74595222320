using System.Text.Json;

namespace Billing.Api.Stripe;

/// <summary>How much of a payment went back, refunds and disputes together.</summary>
public static class ReturnedMoney
{
    /// <summary>By Stripe's objects as they are.</summary>
    public static long Of(IEnumerable<JsonElement> refunds, IEnumerable<JsonElement> disputes) =>
        refunds.Where(r => r.Text("status") is not ("failed" or "canceled")).Sum(Amount) + disputes.Where(IsWithdrawn).Sum(Amount);

    /// <summary>By what events told, in whatever order they came.</summary>
    public static long Told(IEnumerable<StripeEvent> events)
    {
        var told = events.ToList();
        // Failed is final, as is the end of a dispute; what is said later is newer.
        var refunds = Newest("refund", o => o.Text("status") is "failed" or "canceled");
        var disputes = Newest("dispute", o => o.Text("status") is "won" or "lost" or "warning_closed");
        var charge = told.Where(e => e.Object.Text("object") == "charge").OrderBy(e => e.Created).ThenBy(e => e.Object.Number("amount_refunded")).LastOrDefault();
        // A charge knows of refunds that were not heard of, and not yet of those that failed after it was sent.
        var failedSince = charge is null ? 0 : refunds.Where(e => e.Object.Text("status") is "failed" or "canceled" && e.Created > charge.Created).Sum(e => Amount(e.Object));
        var byCharge = (charge?.Object.Number("amount_refunded") ?? 0) - failedSince;
        return Math.Max(byCharge, Of(refunds.Select(e => e.Object), [])) + Of([], disputes.Select(e => e.Object));

        List<StripeEvent> Newest(string kind, Func<JsonElement, bool> isFinal) => [.. told.Where(e => e.Object.Text("object") == kind).GroupBy(e => e.Object.Text("id"))
            .Select(same => same.OrderBy(e => isFinal(e.Object)).ThenBy(e => e.Created).ThenBy(e => e.Id, StringComparer.Ordinal).Last())];
    }

    /// <summary>From the complaint on the money is gone, until the dispute is won. An inquiry (warning_…) takes none.</summary>
    private static bool IsWithdrawn(JsonElement dispute) => dispute.Text("status") is "needs_response" or "under_review" or "lost";

    private static long Amount(JsonElement o) => Math.Max(0, o.Number("amount") ?? 0);
}
