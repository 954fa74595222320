using System.Security.Cryptography;
using System.Text;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Simulation;

/// <summary>
/// Stripe, as far as one organization sees it: subscriptions, invoices and payments that go on whether or not anybody
/// hears of them, and the commands that its events come to. Those are delivered in any order, some of them twice.
/// </summary>
/// <param name="subscribes">Whether the organization subscribes at Stripe; else only its payments go there, and the ledger keeps its subscription itself.</param>
internal sealed class StripeSide(string organization, Dice dice, bool subscribes)
{
    private readonly List<Subscription> subscriptions = [];
    private readonly List<Command> undelivered = [];
    private readonly List<(string Payment, long Amount, long Returned)> purchases = [];
    private int made;

    /// <summary>One event on its way; null when none is. Most are delivered once, some again later.</summary>
    public Command? Deliver(Instant now)
    {
        if (undelivered.Count == 0) return null;
        var at = dice.Percent(30) ? 0 : dice.Between(0, undelivered.Count - 1);
        var command = undelivered[at];
        if (dice.Percent(75)) undelivered.RemoveAt(at);
        return command with { At = now, By = "stripe" };
    }

    /// <summary>Something happens there.</summary>
    public void GoOn(Instant clock)
    {
        var now = Instant.FromUnixTimeSeconds(clock.ToUnixTimeSeconds());
        switch (dice.Between(subscribes ? 0 : 6, 9))
        {
            case 0 or 1: Subscribe(now); break;
            case 2 or 3 or 4: Change(now); break;
            case 5: Invoice(now); break;
            case 6: Refund(now); break;
            default: Buy(now); break;
        }
    }

    private void Subscribe(Instant now)
    {
        var interval = dice.Of<BillingInterval>([BillingInterval.Month, BillingInterval.Month, BillingInterval.Quarter, BillingInterval.Year]);
        // Heard of late, or begun in the past.
        var start = now - Duration.FromMinutes(dice.Percent(70) ? 0 : dice.Between(0, 60_000));
        var trial = dice.Percent(30);
        var end = trial ? start + Duration.FromDays(7) : Later(start, interval);
        var subscription = new Subscription(
            $"sub_{organization}_{++made}", dice.Of(["pro", "max", "pro", "max", "guest"]), 0, trial ? SubscriptionStatus.Trialing : dice.Percent(85) ? SubscriptionStatus.Active : SubscriptionStatus.Incomplete,
            interval, start, start, end, dice.Percent(70) ? start : null, trial ? end : null, false, null, null, null, $"cus_{organization}", null);
        subscriptions.Add(subscription);
        Link();
        Send(subscription, now, SnapshotRank.Created);
    }

    private void Change(Instant now)
    {
        if (subscriptions.Count == 0)
        {
            Subscribe(now);
            return;
        }
        var at = dice.Between(0, subscriptions.Count - 1);
        var s = subscriptions[at];
        if (s.Ended) return;
        var rank = SnapshotRank.Updated;
        switch (dice.Between(0, 7))
        {
            case 0 or 1:
                s = s with { Status = SubscriptionStatus.Active, PeriodStart = s.PeriodEnd, PeriodEnd = Later(s.PeriodEnd, s.Interval) };
                break;
            case 2: s = s with { Status = SubscriptionStatus.PastDue }; break;
            case 3: s = s with { Status = dice.Of([SubscriptionStatus.Unpaid, SubscriptionStatus.Paused]) }; break;
            case 4: s = s with { Plan = dice.Of(["pro", "max"]), Status = SubscriptionStatus.Active }; break;
            case 5:
                s = s with { Interval = BillingInterval.Month, PeriodStart = now, PeriodEnd = Later(now, BillingInterval.Month), BillingAnchor = now, Status = SubscriptionStatus.Active };
                break;
            case 6: s = s with { CancelAtPeriodEnd = !s.CancelAtPeriodEnd }; break;
            default:
                s = s with { Status = SubscriptionStatus.Canceled, CanceledAt = now, EndedAt = now };
                rank = SnapshotRank.Deleted;
                break;
        }
        if (dice.Percent(5)) rank = s.Ended ? rank : SnapshotRank.Refetched;
        subscriptions[at] = s;
        Send(s, now, rank);
    }

    private void Invoice(Instant now)
    {
        if (subscriptions.Count == 0) return;
        var of = dice.Of(subscriptions).Id;
        var invoice = $"in_{organization}_{dice.Between(1, 6)}";
        var attempts = dice.Between(0, 3);
        for (var attempt = 1; attempt <= attempts; attempt++) Pay(invoice, of, false, attempt, now - Duration.FromHours(30 * (attempts - attempt)));
        if (dice.Percent(60)) Pay(invoice, of, true, 0, now);
        else if (dice.Percent(25)) Void(invoice, of, now);
    }

    private void Void(string invoice, string subscription, Instant at)
    {
        var id = $"stripe:invoice:{invoice}:voided";
        undelivered.Add(new VoidPayment(invoice, subscription, "usd", at) { Id = id, ContentHash = Hash(id), At = at });
    }

    private void Pay(string invoice, string subscription, bool paid, int attempt, Instant at)
    {
        var id = paid ? $"stripe:invoice:{invoice}:paid" : $"stripe:invoice:{invoice}:failed:{attempt}";
        undelivered.Add(new RecordPayment(invoice, subscription, paid, attempt, 999, "usd", at) { Id = id, ContentHash = Hash(id), At = at });
    }

    private void Buy(Instant now)
    {
        var (package, amount) = dice.Percent(70) ? ("small", 500) : ("large", 3000);
        var payment = $"pi_{organization}_{++made}";
        purchases.Add((payment, amount, 0));
        Link();
        // Stripe makes two or three events of one payment, each with a time of its own.
        for (var i = dice.Between(0, 2); i >= 0; i--)
        {
            var at = now - Duration.FromSeconds(i * dice.Between(1, 100));
            undelivered.Add(new PurchaseTokens(package, payment, amount, "usd", at) { Id = $"stripe:payment:{payment}", ContentHash = Hash(payment), At = at });
            var dated = $"stripe:payment:{payment}:at:{at.ToUnixTimeSeconds()}";
            undelivered.Add(new DatePurchase(payment, at) { Id = dated, ContentHash = Hash(dated), At = at });
        }
    }

    /// <summary>Money goes back, or comes again when a dispute is won.</summary>
    private void Refund(Instant now)
    {
        if (purchases.Count == 0) return;
        var at = dice.Between(0, purchases.Count - 1);
        var (payment, amount, _) = purchases[at];
        var returned = dice.Percent(25) ? amount : dice.Between(0, (int)amount);
        purchases[at] = (payment, amount, returned);
        var id = $"stripe:returned:{payment}:{now.ToUnixTimeSeconds()}:{returned}";
        undelivered.Add(new ReturnMoney(payment, returned) { Id = id, ContentHash = Hash(id), At = now });
    }

    private void Link()
    {
        var id = $"stripe:customer:cus_{organization}";
        undelivered.Add(new LinkCustomer($"cus_{organization}") { Id = id, ContentHash = Hash(id), At = default });
    }

    private void Send(Subscription subscription, Instant now, SnapshotRank rank)
    {
        var id = $"stripe:subscription:{subscription.Id}:evt_{++made}";
        // Its renewal's invoice takes what is due onto it, heard of before or after the renewal itself, and perhaps twice.
        if (rank == SnapshotRank.Updated && subscription.PeriodStart >= now - Duration.FromDays(40) || subscription.Ended)
        {
            var invoice = $"in_{organization}_{++made}";
            var billed = $"stripe:invoice:{invoice}:usage";
            undelivered.Add(new BillAtStripe(invoice, "usd") { Id = billed, ContentHash = Hash(billed), At = now });
        }
        undelivered.Add(new FollowSubscription(subscription with { Order = new SnapshotOrder(now, rank, $"evt_{made}") }) { Id = id, ContentHash = Hash(id), At = now });
    }

    private static Instant Later(Instant start, BillingInterval interval) =>
        start.InUtc().LocalDateTime.PlusMonths(interval switch { BillingInterval.Month => 1, BillingInterval.Quarter => 3, _ => 12 }).InUtc().ToInstant();

    private static byte[] Hash(string text) => SHA256.HashData(Encoding.UTF8.GetBytes(text));
}
