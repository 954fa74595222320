using System.Text.Json;

namespace Billing.Api.Stripe;

/// <summary>How much of a payment went back, refunds and disputes together.</summary>
public static class ReturnedMoney
{
    /// <summary>By Stripe's objects as they are.</summary>
    public static long Of(IEnumerable<JsonElement> refunds, IEnumerable<JsonElement> disputes) =>
        refunds.Where(r => r.Text("status") is not ("failed" or "canceled")).Sum(Amount) + disputes.Where(IsWithdrawn).Sum(Amount);

    /// <summary>From the complaint on the money is gone, until the dispute is won. An inquiry (warning_…) takes none.</summary>
    private static bool IsWithdrawn(JsonElement dispute) => dispute.Text("status") is "needs_response" or "under_review" or "lost";

    private static long Amount(JsonElement o) => Math.Max(0, o.Number("amount") ?? 0);
}
