using System.Text.Json.Serialization;
using NodaTime;

namespace Billing.Ledger;

/// <summary>
/// One immutable fact in an organization's stream. Events carry what was decided, so that folding them asks nobody.
/// How each is stored (its name for ever and its schema version) is the table in Billing.Grains/Journal/EventCodec.cs.
/// </summary>
public abstract record LedgerEvent
{
    /// <summary>1, 2, 3… within the organization.</summary>
    [JsonIgnore] public long Version { get; init; }

    /// <summary>When it happened, to the microsecond: the time of the use, or of Stripe's event.</summary>
    [JsonIgnore] public Instant EffectiveAt { get; init; }

    /// <summary>When it was recorded, to the microsecond. Never decreases along a stream.</summary>
    [JsonIgnore] public Instant RecordedAt { get; init; }
}

// ---- the organization

/// <param name="Plan">The plan to start on; null is the catalog's fallback plan.</param>
public sealed record OrganizationOpened(string TimeZone, bool Test, string? Plan, int CatalogVersion) : LedgerEvent;

public sealed record OrganizationClosed(string? Reason) : LedgerEvent;

/// <summary>From now on Stripe's events about this customer are about this organization.</summary>
public sealed record CustomerLinked(string Customer) : LedgerEvent;

/// <summary>The organization may take this invite-only plan.</summary>
public sealed record InvitationGiven(string Plan) : LedgerEvent;

// ---- the subscription and what is paid for it

/// <summary>Either an operator set a plan, or a subscription at Stripe was seen to be as it says.</summary>
/// <param name="OperatorPlan">Set by an operator, or null.</param>
/// <param name="Followed">The subscription as it stands now, or null.</param>
/// <param name="GaveAccessAt">The newest time at which Stripe is known to have sent a subscription that gives access.</param>
/// <param name="Moved">The running windows' new bounds, when the billing anchor moved: what was used in them is carried over.</param>
/// <param name="Prorated">The limits of running windows after an upgrade, where the catalog prorates allowances.</param>
public sealed record SubscriptionChanged(
    OperatorPlan? OperatorPlan, Subscription? Followed, Instant? GaveAccessAt, CountedWindow[]? Moved, ProratedLimit[]? Prorated, string? Reason) : LedgerEvent;

/// <summary>An attempt to pay an invoice succeeded or failed. Amounts are minor units.</summary>
/// <param name="Attempt">1, 2, 3…: which attempt failed; 0 when it was paid.</param>
public sealed record PaymentRecorded(
    string Invoice, string? Subscription, bool Paid, int Attempt, long Amount, string Currency) : LedgerEvent;

// ---- usage

/// <summary>Use of a metered feature, and what covered it: <c>Quantity = Allowance + ByTokens + Overage</c>, in smallest units.</summary>
/// <param name="Gauge">Gauges: the value after this change. Its quantity is the change and may be negative.</param>
/// <param name="UnitPrice">What a whole unit of overage costs, in major units; null where the overage is free of charge.</param>
/// <param name="OverLimit">Recorded past a limit because it had happened already (<c>enforce: false</c>).</param>
/// <param name="Grants">The tokens burned, by grant.</param>
/// <param name="Windows">The windows in which it counts, with their bounds.</param>
public sealed record UsageRecorded(
    string Feature, long Quantity, long Allowance, long ByTokens, long Overage, decimal? UnitPrice, bool OverLimit, long? Gauge,
    GrantUse[]? Grants, CountedWindow[]? Windows, string? Plan, int CatalogVersion, IReadOnlyDictionary<string, string>? Metadata) : LedgerEvent;

/// <summary>Windows that ended at one instant (its effective time) with something used in them. Their counters start again at zero.</summary>
public sealed record QuotaReset(WindowReset[] Resets) : LedgerEvent;

// ---- tokens

public sealed record TokensPurchased(
    string Package, long Tokens, int Priority, string Payment, long Amount, string Currency) : LedgerEvent;

/// <summary>Corrects the time of a purchase: it was made (its effective time) before what it was recorded by was said.</summary>
public sealed record PurchaseDated(string Grant, string Payment) : LedgerEvent;

/// <param name="Kind"><see cref="GrantKind.Granted"/> or <see cref="GrantKind.Promotional"/>.</param>
public sealed record TokensGranted(GrantKind Kind, long Tokens, int Priority, Instant? ExpiresAt, string? Reason) : LedgerEvent;

/// <summary>Money went back to the payer, or came again. Negative numbers give back.</summary>
/// <param name="Revoked">Change of what was taken from the grant.</param>
/// <param name="Debt">Change of what could not be taken because it was burned.</param>
public sealed record TokensRevoked(string Grant, long Revoked, long Debt, string Payment) : LedgerEvent;

/// <summary>Grants whose time ran out, with what was left of them.</summary>
public sealed record TokensExpired(GrantUse[] Grants) : LedgerEvent;

// ---- the parts

public enum GrantKind { Purchased, Granted, Promotional }

public sealed record GrantUse(string Grant, long Tokens);

public sealed record CountedWindow(Window Window, Instant Start, Instant End)
{
    [JsonIgnore] public Bounds Bounds => new(Start, End);
}

/// <summary>One closed window of one feature: <c>Used = Allowance + ByTokens + Overage</c>.</summary>
public sealed record WindowReset(
    string Feature, Window Window, Instant Start, long Used, long Allowance, long ByTokens, long Overage);

/// <param name="Full">The new plan's whole allowance; <paramref name="Limit"/> holds until <paramref name="End"/>.</param>
public sealed record ProratedLimit(string Feature, Window Window, Instant End, long Full, long Limit);

/// <param name="SetAt">Null for the plan that the organization was opened on: any subscription that gives access takes its place.</param>
public sealed record OperatorPlan(string Plan, int CatalogVersion, Instant? SetAt);

/// <summary>A subscription as Stripe last said it is, in our words.</summary>
public sealed record Subscription(
    string Id, string Plan, int CatalogVersion, SubscriptionStatus Status, BillingInterval Interval, Instant CreatedAt,
    Instant PeriodStart, Instant PeriodEnd, Instant? BillingAnchor, Instant? TrialEnd, bool CancelAtPeriodEnd, Instant? CancelAt, Instant? CanceledAt,
    Instant? EndedAt, string? Customer, SnapshotOrder Order)
{
    [JsonIgnore] public bool Ended => Status is SubscriptionStatus.Canceled or SubscriptionStatus.IncompleteExpired;
}

/// <summary>Stripe's spelling.</summary>
public enum SubscriptionStatus { None, Incomplete, IncompleteExpired, Trialing, Active, PastDue, Unpaid, Paused, Canceled }

public enum SnapshotRank { Created, Updated, Deleted, Refetched }

/// <summary>Which of two snapshots of a subscription stands, in whatever order they arrive.</summary>
public sealed record SnapshotOrder(Instant EventCreatedAt, SnapshotRank Rank, string EventId) : IComparable<SnapshotOrder>
{
    /// <summary>Deleted is final; otherwise the later event stands, then created &lt; updated &lt; deleted, then the event id.
    /// A refetched object is taken at the time of fetching, which is later than any event before it.</summary>
    public int CompareTo(SnapshotOrder? other)
    {
        if (other is null) return 1;
        var final = (Rank == SnapshotRank.Deleted).CompareTo(other.Rank == SnapshotRank.Deleted);
        if (final != 0) return final;
        var time = EventCreatedAt.CompareTo(other.EventCreatedAt);
        if (time != 0) return time;
        var rank = Rank.CompareTo(other.Rank);
        return rank != 0 ? rank : string.CompareOrdinal(EventId, other.EventId);
    }
}
