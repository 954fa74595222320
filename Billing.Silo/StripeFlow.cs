using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Dapper;
using NodaTime;

namespace Billing.Silo;

/// <summary>What customers did on the way to paying, in a stretch of time.</summary>
/// <param name="CheckoutsExpired">Those that nobody finished: by themselves, or because another one was begun.</param>
/// <param name="PaymentsSucceeded">Of everything: renewals, first payments, tokens.</param>
public sealed record FlowCounts(long CheckoutsStarted, long CheckoutsCompleted, long CheckoutsExpired, long PaymentsSucceeded, long PaymentsFailed, long PortalsOpened);

/// <summary>Counts what is kept anyway: the requests that were made of Stripe, and the events that came.</summary>
public sealed class StripeFlow(Database database)
{
    public async Task<FlowCounts> Count(Instant from, Instant to)
    {
        var between = new { from = Micros.Of(from), to = Micros.Of(to) };
        var (asked, came) = await database.Read(c => (
            c.Query<(string Path, long Count)>("SELECT path, count(*) FROM stripe_requests WHERE sent_at >= @from AND sent_at < @to AND object IS NOT NULL GROUP BY path", between).ToDictionary(r => r.Path, r => r.Count),
            c.Query<(string Type, long Count)>("SELECT type, count(*) FROM inbox WHERE created_at >= @from AND created_at < @to GROUP BY type", between).ToDictionary(r => r.Type, r => r.Count)));
        return new FlowCounts(
            asked.GetValueOrDefault("/v1/checkout/sessions"), came.GetValueOrDefault("checkout.session.completed"), came.GetValueOrDefault("checkout.session.expired"),
            came.GetValueOrDefault("payment_intent.succeeded"), came.GetValueOrDefault("payment_intent.payment_failed"), asked.GetValueOrDefault("/v1/billing_portal/sessions"));
    }
}
