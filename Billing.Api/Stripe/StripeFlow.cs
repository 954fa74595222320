using Billing.Silo;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>What customers did on the way to paying, in a stretch of time.</summary>
/// <param name="CheckoutsExpired">Those that nobody finished: by themselves, or because another one was begun.</param>
/// <param name="PaymentsSucceeded">Of everything: renewals, first payments, tokens.</param>
public sealed record FlowCounts(long CheckoutsStarted, long CheckoutsCompleted, long CheckoutsExpired, long PaymentsSucceeded, long PaymentsFailed, long PortalsOpened);

/// <summary>Counts what is kept anyway: the requests that were made of Stripe, and the events that came.</summary>
public static class StripeFlow
{
    public static async Task<FlowCounts> Count(SentRequests sent, Inbox inbox, Instant from, Instant to)
    {
        var (asked, came) = (await sent.CountByPath(from, to), await inbox.CountByType(from, to));
        return new FlowCounts(
            asked.GetValueOrDefault("/v1/checkout/sessions"), came.GetValueOrDefault("checkout.session.completed"), came.GetValueOrDefault("checkout.session.expired"),
            came.GetValueOrDefault("payment_intent.succeeded"), came.GetValueOrDefault("payment_intent.payment_failed"), asked.GetValueOrDefault("/v1/billing_portal/sessions"));
    }
}
