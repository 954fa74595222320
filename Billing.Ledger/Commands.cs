using NodaTime;

namespace Billing.Ledger;

/// <summary>A request to change one organization.</summary>
public abstract record Command
{
    /// <summary>Made by the caller: the same id is the same command, for ever.</summary>
    public required string Id { get; init; }

    /// <summary>SHA-256 over what the command asks for, never over server times. The same id with another hash is refused.</summary>
    public required byte[] ContentHash { get; init; }

    /// <summary>When it reached us, to the microsecond.</summary>
    public required Instant At { get; init; }
}

public sealed record OpenOrganization(string TimeZone, bool Test, string? Plan) : Command;

public sealed record CloseOrganization(string? Reason) : Command;

public sealed record LinkCustomer(string Customer) : Command;

public sealed record InviteToPlan(string Plan) : Command;

/// <summary>An operator sets a plan. It stands until Stripe sends a subscription that gives access.</summary>
public sealed record SetPlan(string Plan, string? Reason) : Command;

/// <summary>A subscription is at Stripe as this says. Its <see cref="Subscription.CatalogVersion"/> is decided here.</summary>
public sealed record FollowSubscription(Subscription Snapshot) : Command;

/// <summary>See <see cref="PaymentRecorded"/>.</summary>
public sealed record RecordPayment(
    string Invoice, string? Subscription, bool Paid, int Attempt, long Amount, string Currency, Instant HappenedAt) : Command;

/// <param name="Quantity">In whole units with at most the meter's decimals. Gauges: the change, which may be negative.</param>
/// <param name="Timestamp">When the use happened; null is now.</param>
/// <param name="Enforce">False for use that has already happened: it is recorded past any limit.</param>
public sealed record RecordUsage(
    string Feature, decimal Quantity, string? Unit, Instant? Timestamp, bool Enforce, IReadOnlyDictionary<string, string>? Metadata) : Command;

public sealed record SetGauge(string Feature, decimal Value) : Command;

/// <param name="Priority">0 to 100; smaller numbers are burned first.</param>
public sealed record GrantTokens(GrantKind Kind, long Tokens, int Priority, Instant? ExpiresAt, string? Reason) : Command;

/// <summary>A token package was paid for.</summary>
/// <param name="Payment">What the money is known by: the payment intent, or the session when nothing was due.</param>
public sealed record PurchaseTokens(string Package, string Payment, long Amount, string Currency, Instant HappenedAt) : Command;

/// <summary>A payment for tokens is known to have been made by this time. The oldest such time is the purchase's.</summary>
public sealed record DatePurchase(string Payment, Instant HappenedAt) : Command;

/// <summary>Of what was paid, this much went back by now, refunds and lost disputes together. Less than before gives tokens back.</summary>
/// <param name="ReturnedTotal">Minor units, cumulative.</param>
public sealed record ReturnMoney(string Payment, long ReturnedTotal) : Command;

/// <summary>Writes what has become due by the clock: quota resets and expired tokens. Sent by a timer, without traffic.</summary>
public sealed record WriteDue : Command;
