using System.Text.Json.Serialization;
using NodaTime;

namespace Billing.Ledger;

/// <summary>
/// One immutable fact in an organization's stream. Events carry what was decided, so that folding them asks nobody.
/// How each is stored (its name for ever and its schema version) is the table in Billing.Grains/Journal/EventCodec.cs.
/// </summary>
[GenerateSerializer, Alias("LedgerEvent"), Immutable]
public abstract record LedgerEvent
{
    /// <summary>1, 2, 3… within the organization.</summary>
    [Id(0), JsonIgnore] public long Version { get; init; }

    /// <summary>When it happened, to the microsecond: the time of the use, or of Stripe's event.</summary>
    [Id(1), JsonIgnore] public Instant EffectiveAt { get; init; }

    /// <summary>When it was recorded, to the microsecond. Never decreases along a stream.</summary>
    [Id(2), JsonIgnore] public Instant RecordedAt { get; init; }
}

// ---- the organization

/// <param name="Plan">The plan to start on; null is the catalog's fallback plan.</param>
[GenerateSerializer, Alias("OrganizationOpened"), Immutable]
public sealed record OrganizationOpened(string TimeZone, bool Test, string? Plan, int CatalogVersion) : LedgerEvent;

[GenerateSerializer, Alias("OrganizationClosed"), Immutable]
public sealed record OrganizationClosed(string? Reason) : LedgerEvent;

/// <summary>From now on days begin at this zone's midnight, and without a subscription months too.</summary>
/// <param name="Moved">The running windows' new bounds: what was used in them is carried over.</param>
[GenerateSerializer, Alias("TimeZoneChanged"), Immutable]
public sealed record TimeZoneChanged(string TimeZone, CountedWindow[]? Moved) : LedgerEvent;

/// <summary>A test organization's own clock was moved ahead.</summary>
/// <param name="To">Its time from now on.</param>
/// <param name="AheadMicros">How far it is ahead of the service's clock.</param>
[GenerateSerializer, Alias("ClockAdvanced"), Immutable]
public sealed record ClockAdvanced(Instant To, long AheadMicros) : LedgerEvent;

/// <summary>From now on Stripe's events about this customer are about this organization.</summary>
[GenerateSerializer, Alias("CustomerLinked"), Immutable]
public sealed record CustomerLinked(string Customer) : LedgerEvent;

/// <summary>The organization may take this invite-only plan.</summary>
[GenerateSerializer, Alias("InvitationGiven"), Immutable]
public sealed record InvitationGiven(string Plan) : LedgerEvent;

// ---- the subscription and what is paid for it

/// <summary>A plan was set, or a subscription became as it says: followed at Stripe, or kept by the ledger itself.</summary>
/// <param name="OperatorPlan">Set by an operator, or null.</param>
/// <param name="Followed">The subscription as it stands now, or null.</param>
/// <param name="GaveAccessAt">The newest time at which Stripe is known to have sent a subscription that gives access.</param>
/// <param name="Moved">The running windows' new bounds, when the billing anchor moved: what was used in them is carried over.</param>
/// <param name="Prorated">The limits of running windows after an upgrade, where the catalog prorates allowances.</param>
[GenerateSerializer, Alias("SubscriptionChanged"), Immutable]
public sealed record SubscriptionChanged(
    OperatorPlan? OperatorPlan, Subscription? Followed, Instant? GaveAccessAt, CountedWindow[]? Moved, ProratedLimit[]? Prorated, string? Reason) : LedgerEvent
{
    /// <summary>What kind of change it was.</summary>
    [Id(0)] public SubscriptionChange? Change { get; init; }

    /// <summary>Who asked for it: the key's id, <c>stripe</c> or <c>clock</c>.</summary>
    [Id(1)] public string? By { get; init; }

    /// <summary>Gauges that stand past what the new plan includes, and are billed for it.</summary>
    [Id(2)] public string[]? BilledGauges { get; init; }
}

/// <summary>What one organization gets of a feature instead of what its plan says.</summary>
/// <param name="Allowance">Metered features: smallest units; null is unlimited. Nothing for a boolean feature, which is switched on.</param>
/// <param name="Until">Null stands until it is removed.</param>
/// <param name="Removed">The override ends now; its other numbers are what it was.</param>
[GenerateSerializer, Alias("OverrideSet"), Immutable]
public sealed record OverrideSet(string Feature, long? Allowance, Instant? Until, bool Removed, string? Reason, string? By) : LedgerEvent
{
    /// <summary>When a gauge is billed that stands past what it gets from now on; null for all else.</summary>
    [Id(0)] public Instant? BilledAt { get; init; }
}

/// <summary>An attempt to pay an invoice succeeded or failed. Amounts are minor units.</summary>
/// <param name="Attempt">1, 2, 3…: which attempt failed; 0 when it was paid.</param>
[GenerateSerializer, Alias("PaymentRecorded"), Immutable]
public sealed record PaymentRecorded(
    string Invoice, string? Subscription, bool Paid, int Attempt, long Amount, string Currency) : LedgerEvent;

/// <summary>An invoice of Stripe's was taken back: it is not owed any more, whatever attempts to pay it failed.</summary>
[GenerateSerializer, Alias("PaymentVoided"), Immutable]
public sealed record PaymentVoided(string Invoice, string? Subscription, string Currency) : LedgerEvent;

// ---- usage

/// <summary>Use of a metered feature, and what covered it: <c>Quantity = Allowance + ByTokens + Overage</c>, in smallest units.</summary>
/// <param name="Gauge">Gauges: the value after this change. Its quantity is the change and may be negative.</param>
/// <param name="UnitPrice">What a whole unit of overage costs, in major units; null where the overage is free of charge.</param>
/// <param name="OverLimit">Recorded past a limit because it had happened already (<c>enforce: false</c>).</param>
/// <param name="Grants">The tokens burned, by grant.</param>
/// <param name="Windows">The windows in which it counts, with their bounds.</param>
[GenerateSerializer, Alias("UsageRecorded"), Immutable]
public sealed record UsageRecorded(
    string Feature, long Quantity, long Allowance, long ByTokens, long Overage, decimal? UnitPrice, bool OverLimit, long? Gauge,
    GrantUse[]? Grants, CountedWindow[]? Windows, string? Plan, int CatalogVersion, IReadOnlyDictionary<string, string>? Metadata) : LedgerEvent
{
    /// <summary>Overage over several price tiers, each with its units; then <see cref="UnitPrice"/> is null.</summary>
    [Id(0)] public PricedUse[]? Tiers { get; init; }

    /// <summary>When the priced overage is billed: the end of the running month of the billing cycle. Null when nothing is to be billed.</summary>
    [Id(1)] public Instant? BilledAt { get; init; }

    /// <summary>The hold that this use settles.</summary>
    [Id(2)] public string? Hold { get; init; }

    /// <summary>The voided record that this one takes the place of.</summary>
    [Id(3)] public string? Corrects { get; init; }
}

/// <summary>A record is taken back, in the windows in which it counted. Numbers are what is taken from them: <c>Quantity = Allowance + ByTokens + Overage</c>.</summary>
/// <param name="Record">The id of the voided usage record.</param>
/// <param name="Shifted">Overage of other records that the freed allowance covers now; what it is in each window: <see cref="ShiftedIn"/>.</param>
/// <param name="Priced">The priced overage taken back, by unit price, <paramref name="Shifted"/> included.</param>
/// <param name="Returned">Tokens that go back to the grants they came from.</param>
/// <param name="Gauge">Gauges: the value after it.</param>
/// <param name="Windows">The windows it is taken from. Those that ended before this was recorded are closed ones.</param>
[GenerateSerializer, Alias("UsageVoided"), Immutable]
public sealed record UsageVoided(
    string Record, string Feature, long Quantity, long Allowance, long ByTokens, long Overage, long Shifted, PricedUse[]? Priced, TokenReturn[]? Returned,
    long? Gauge, CountedWindow[]? Windows, string? Reason, string? By) : LedgerEvent
{
    /// <summary>Gauges: the greatest value of the running billing period without the record.</summary>
    [Id(0)] public long? Peak { get; init; }

    /// <summary>Gauges: when its peak is billed; null when it is not past what the plan includes.</summary>
    [Id(1)] public Instant? BilledAt { get; init; }

    /// <summary>
    /// <see cref="Shifted"/> as far as a window with this allowance and overage has it, so that none is left below zero:
    /// <c>allowance = before − Allowance + that</c>, <c>overage = before − Overage − that</c>.
    /// </summary>
    /// <remarks>More than Shifted where an earlier void's allowance took this record's overage over, which a window that the earlier record was not in has as overage still.</remarks>
    internal long ShiftedIn(long allowance, long overage) => Math.Max(Math.Min(Shifted, overage - Overage), Allowance - allowance);
}

/// <summary>Windows that ended at one instant (its effective time) with something used in them. Their counters start again at zero.</summary>
/// <param name="Plan">The plan that was in force as they ended.</param>
[GenerateSerializer, Alias("QuotaReset"), Immutable]
public sealed record QuotaReset(WindowReset[] Resets, string? Plan = null, int CatalogVersion = 0) : LedgerEvent;

/// <summary>Quantity reserved for work in progress, and what covers it: <c>Quantity = Allowance + ByTokens + Overage</c>.</summary>
/// <param name="Grants">The tokens held, by grant.</param>
[GenerateSerializer, Alias("HoldPlaced"), Immutable]
public sealed record HoldPlaced(
    string Feature, long Quantity, long Allowance, long ByTokens, long Overage, GrantUse[]? Grants, Instant ExpiresAt, string? Plan, int CatalogVersion,
    IReadOnlyDictionary<string, string>? Metadata) : LedgerEvent;

/// <summary>A hold ended and what it held is free again. When it is settled, the use it was for is recorded right behind this.</summary>
[GenerateSerializer, Alias("HoldEnded"), Immutable]
public sealed record HoldEnded(string Hold, HoldOutcome Outcome) : LedgerEvent
{
    [Id(0)] public string? Feature { get; init; }

    /// <summary>The tokens that it held, by grant.</summary>
    [Id(1)] public GrantUse[]? Grants { get; init; }
}

// ---- tokens

[GenerateSerializer, Alias("TokensPurchased"), Immutable]
public sealed record TokensPurchased(
    string Package, long Tokens, int Priority, string Payment, long Amount, string Currency) : LedgerEvent;

/// <summary>Corrects the time of a purchase: it was made (its effective time) before what it was recorded by was said.</summary>
[GenerateSerializer, Alias("PurchaseDated"), Immutable]
public sealed record PurchaseDated(string Grant, string Payment) : LedgerEvent;

/// <param name="Kind"><see cref="GrantKind.Granted"/> or <see cref="GrantKind.Promotional"/>.</param>
[GenerateSerializer, Alias("TokensGranted"), Immutable]
public sealed record TokensGranted(GrantKind Kind, long Tokens, int Priority, Instant? ExpiresAt, string? Reason) : LedgerEvent;

/// <summary>Money went back to the payer, or came again. Negative numbers give back.</summary>
/// <param name="Revoked">Change of what was taken from the grant.</param>
/// <param name="Debt">Change of what could not be taken because it was burned.</param>
[GenerateSerializer, Alias("TokensRevoked"), Immutable]
public sealed record TokensRevoked(string Grant, long Revoked, long Debt, string Payment) : LedgerEvent;

/// <summary>Grants whose time ran out, with what was left of them.</summary>
[GenerateSerializer, Alias("TokensExpired"), Immutable]
public sealed record TokensExpired(GrantUse[] Grants) : LedgerEvent;

/// <summary>Automatic top-up is set to these terms; null switches it off.</summary>
[GenerateSerializer, Alias("TopUpConfigured"), Immutable]
public sealed record TopUpConfigured(TopUpTerms? Terms, string? By) : LedgerEvent;

/// <summary>The balance fell below the threshold: this package is to be bought. Its id is <c>tu_</c> and this event's version.</summary>
[GenerateSerializer, Alias("TopUpRequested"), Immutable]
public sealed record TopUpRequested(string Package, long Tokens, long Amount, string Currency) : LedgerEvent;

/// <param name="Failure">Why the payment failed, as a code; null when it succeeded.</param>
[GenerateSerializer, Alias("TopUpEnded"), Immutable]
public sealed record TopUpEnded(string TopUp, string? Failure) : LedgerEvent;

/// <summary>Automatic top-up is off until it is configured again.</summary>
/// <param name="Failures">How many payments in a row failed.</param>
/// <param name="Reason">payments_failed; package_not_sold, when the catalog has no price for it any more; price_above_limit, when it costs more than a month's limit.</param>
[GenerateSerializer, Alias("TopUpSwitchedOff"), Immutable]
public sealed record TopUpSwitchedOff(int Failures, string Reason) : LedgerEvent;

// ---- what is billed

/// <summary>Lines for the next invoice. Overage lines also mark that overage as billed.</summary>
[GenerateSerializer, Alias("LinesAdded"), Immutable]
public sealed record LinesAdded(InvoiceLine[] Lines, string? Reason) : LedgerEvent
{
    /// <summary>Who asked for it; null where it follows from something else.</summary>
    [Id(0)] public string? By { get; init; }
}

/// <summary>Everything that was pending in one currency is charged by an invoice at Stripe, and by none of ours.</summary>
/// <param name="Invoice">Stripe's id of it.</param>
[GenerateSerializer, Alias("LinesBilledAtStripe"), Immutable]
public sealed record LinesBilledAtStripe(string Invoice, InvoiceLine[] Lines) : LedgerEvent;

/// <summary>A draft of an invoice, of everything that was pending in its currency. Amounts are minor units: <c>Total = Subtotal − Discount + exclusive Tax</c>, <c>AmountDue = Total − Credit</c>.</summary>
/// <param name="Lines">With each line's share of discount and tax, rounded per line.</param>
/// <param name="Credit">Taken from the organization's credit balance now; negative puts a negative total there when the invoice gets its number.</param>
/// <param name="Final">The last one of a subscription that ended.</param>
[GenerateSerializer, Alias("InvoiceCreated"), Immutable]
public sealed record InvoiceCreated(
    InvoiceLine[] Lines, string Currency, long Subtotal, long Discount, long Tax, TaxTerms? TaxTerms, DiscountTerms? DiscountTerms, long Total, long Credit, long AmountDue,
    Instant Start, Instant End, string? Subscription, bool Final) : LedgerEvent;

/// <summary>An invoice got its number and is open; when nothing is due, that it is paid is recorded right behind this.</summary>
[GenerateSerializer, Alias("InvoiceFinalized"), Immutable]
public sealed record InvoiceFinalized(string Invoice, string Number, Instant DueAt) : LedgerEvent;

/// <param name="Status">paid, void or uncollectible. Lines of a voided draft are pending again.</param>
[GenerateSerializer, Alias("InvoiceSettled"), Immutable]
public sealed record InvoiceSettled(string Invoice, InvoiceStatus Status, string? Payment, string? Reason, string? By) : LedgerEvent;

/// <summary>Credit for coming invoices, in minor units.</summary>
[GenerateSerializer, Alias("CreditGranted"), Immutable]
public sealed record CreditGranted(long Amount, string Currency, string? Reason, string? By) : LedgerEvent;

/// <summary>How this organization is billed where it differs from the catalog. Null is as the catalog says.</summary>
[GenerateSerializer, Alias("BillingTermsSet"), Immutable]
public sealed record BillingTermsSet(TaxTerms? Tax, DiscountTerms? Discount, string? Reason, string? By) : LedgerEvent;

/// <summary>The most that may be charged for overage in one billing period, in minor units of the catalog's currency.</summary>
/// <param name="Organization">Over all features; null is no cap.</param>
[GenerateSerializer, Alias("SpendCapsSet"), Immutable]
public sealed record SpendCapsSet(long? Organization, FeatureCap[]? Features, string? By) : LedgerEvent;

// ---- what somebody should know

/// <summary>Something reached a threshold. Raised once for each window and threshold.</summary>
/// <param name="Percent">Usage thresholds: per cent of the limit.</param>
/// <param name="Value">Smallest units used, or tokens left.</param>
/// <param name="End">When the window, the trial, or the month of a top-up's limit ends.</param>
[GenerateSerializer, Alias("AlertRaised"), Immutable]
public sealed record AlertRaised(AlertKind Kind, string? Feature, int Percent, Window? Window, Instant? Start, Instant? End, long Value, long? Limit) : LedgerEvent;

// ---- the parts

[GenerateSerializer, Alias("GrantKind")]
public enum GrantKind { Purchased, Granted, Promotional }

[GenerateSerializer, Alias("GrantUse"), Immutable]
public sealed record GrantUse(string Grant, long Tokens);

[GenerateSerializer, Alias("CountedWindow"), Immutable]
public sealed record CountedWindow(Window Window, Instant Start, Instant End)
{
    [JsonIgnore] public Bounds Bounds => new(Start, End);
}

/// <summary>One closed window of one feature: <c>Used = Allowance + ByTokens + Overage</c>.</summary>
[GenerateSerializer, Alias("WindowReset"), Immutable]
public sealed record WindowReset(
    string Feature, Window Window, Instant Start, long Used, long Allowance, long ByTokens, long Overage)
{
    public const long Unlimited = long.MaxValue;

    /// <summary>The window that the plan's allowance was counted in, or the billing period: kept for late usage and corrections.</summary>
    [Id(0)] public bool Covers { get; init; }

    /// <summary>The allowance as the window ended where it was another than the plan's (an override, a prorated one); null is as the plan says.</summary>
    [Id(1)] public long? Limit { get; init; }
}

/// <summary>Units of overage at one unit price (major units).</summary>
[GenerateSerializer, Alias("PricedUse"), Immutable]
public sealed record PricedUse(decimal UnitPrice, long Units)
{
    /// <summary>How many of them are on an invoice's line already.</summary>
    [Id(0), JsonIgnore] public long Billed { get; init; }
}

/// <summary>Tokens of a voided record, by what becomes of them: back in the grant, or expired or revoked with it meanwhile.</summary>
[GenerateSerializer, Alias("TokenReturn"), Immutable]
public sealed record TokenReturn(string Grant, long Remaining, long Expired, long Revoked);

[GenerateSerializer, Alias("HoldOutcome")]
public enum HoldOutcome { Settled, Released, Expired }

[GenerateSerializer, Alias("AlertKind")]
public enum AlertKind { Usage, TokensLow, TrialEnding, TopUpLimited }

/// <param name="Threshold">A balance below this asks for a top-up.</param>
/// <param name="MaxCount">The most that are asked for in one calendar month of the organization's zone; <paramref name="MaxAmount"/> likewise, in minor units.</param>
/// <param name="CoolOffMinutes">The least time between two requests.</param>
[GenerateSerializer, Alias("TopUpTerms"), Immutable]
public sealed record TopUpTerms(string Package, long Threshold, int MaxCount, long MaxAmount, int CoolOffMinutes);

[GenerateSerializer, Alias("LineKind")]
public enum LineKind { Base, Proration, Overage, Adjustment }

/// <summary>One line of an invoice. <c>Amount</c> is rounded once, in minor units, before discount and exclusive tax; credits are negative.</summary>
/// <param name="Description">For people; without personal data.</param>
/// <param name="Quantity">Whole units of the meter; 1 for a base price.</param>
/// <param name="UnitPrice">Major units, where there is one price.</param>
/// <param name="Records">Usage records that an adjustment is about.</param>
[GenerateSerializer, Alias("InvoiceLine"), Immutable]
public sealed record InvoiceLine(
    LineKind Kind, string Description, string? Feature, string? Plan, decimal Quantity, decimal? UnitPrice, long Amount, string Currency, Instant Start, Instant End,
    string[]? Records = null)
{
    [Id(0)] public long Discount { get; init; }

    [Id(1)] public long Tax { get; init; }

    /// <summary>Overage: the units by unit price.</summary>
    [Id(2)] public PricedUse[]? Tiers { get; init; }
}

[GenerateSerializer, Alias("InvoiceStatus")]
public enum InvoiceStatus { Draft, Open, Paid, Void, Uncollectible }

/// <param name="Rate">Per cent, with up to 4 places.</param>
/// <param name="Inclusive">Prices have the tax in them.</param>
[GenerateSerializer, Alias("TaxTerms"), Immutable]
public sealed record TaxTerms(string Name, decimal Rate, bool Inclusive);

/// <summary>Either per cent of every line (but not of what is given back of a plan: that is what it came to after its discount), or an amount in minor units off each invoice in its currency, never more than its lines.</summary>
/// <param name="Percent">More than 0 and at most 100, with up to 4 places.</param>
/// <param name="Until">Invoices made from then on have no discount.</param>
[GenerateSerializer, Alias("DiscountTerms"), Immutable]
public sealed record DiscountTerms(decimal? Percent, long? Amount, Instant? Until)
{
    /// <summary>The amount's currency.</summary>
    [Id(0)] public string? Currency { get; init; }
}

[GenerateSerializer, Alias("FeatureCap"), Immutable]
public sealed record FeatureCap(string Feature, long Amount);

/// <param name="Full">The new plan's whole allowance; <paramref name="Limit"/> holds until <paramref name="End"/>.</param>
[GenerateSerializer, Alias("ProratedLimit"), Immutable]
public sealed record ProratedLimit(string Feature, Window Window, Instant End, long Full, long Limit);

/// <param name="SetAt">Null for the plan that the organization was opened on: any subscription that gives access takes its place.</param>
/// <param name="Until">When a plan that was given for a time ends; null stands.</param>
[GenerateSerializer, Alias("OperatorPlan"), Immutable]
public sealed record OperatorPlan(string Plan, int CatalogVersion, Instant? SetAt, Instant? Until = null);

[GenerateSerializer, Alias("SubscriptionChange")]
public enum SubscriptionChange
{
    PlanSet, Followed, Started, TrialStarted, TrialExtended, Converted, TrialEnded, Renewed, Upgraded, Downgraded, ChangeScheduled, CancelScheduled, Canceled,
    Reactivated, Paused, Resumed, PaymentMethodChanged, PastDue, Unpaid, Recovered, CatalogMoved, IntervalChanged,

    /// <summary>The time of a plan that an operator gave is over.</summary>
    PlanEnded,
}

/// <summary>A subscription as Stripe last said it is, in our words, or one that the ledger keeps itself.</summary>
/// <param name="Order">Of Stripe's snapshots; null for one that the ledger keeps.</param>
[GenerateSerializer, Alias("Subscription"), Immutable]
public sealed record Subscription(
    string Id, string Plan, int CatalogVersion, SubscriptionStatus Status, BillingInterval Interval, Instant CreatedAt,
    Instant PeriodStart, Instant PeriodEnd, Instant? BillingAnchor, Instant? TrialEnd, bool CancelAtPeriodEnd, Instant? CancelAt, Instant? CanceledAt,
    Instant? EndedAt, string? Customer, SnapshotOrder? Order)
{
    /// <summary>What the ledger needs to run it; null for a subscription at Stripe.</summary>
    [Id(0)] public KeptTerms? Kept { get; init; }

    /// <summary>At Stripe: what a schedule there makes of it at its period's end. One that the ledger keeps has it in <see cref="Kept"/>.</summary>
    [Id(1), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public ScheduledChange? Scheduled { get; init; }

    [JsonIgnore] public bool Ended => Status is SubscriptionStatus.Canceled or SubscriptionStatus.IncompleteExpired;
}

/// <summary>How a subscription goes on that the ledger keeps itself.</summary>
/// <param name="Charged">What was charged for the plan until the period's end; null where nothing was (a trial, a pause).</param>
/// <param name="Scheduled">What changes at the period's end.</param>
/// <param name="GraceUntil">Past due: when access ends and the subscription is unpaid.</param>
[GenerateSerializer, Alias("KeptTerms"), Immutable]
public sealed record KeptTerms(string Currency, bool HasPaymentMethod, BaseCharge? Charged, ScheduledChange? Scheduled, Instant? GraceUntil, Instant? PausedAt);

/// <summary>Minor units charged for a plan over a stretch of time. The unused rest of it is what a change gives back.</summary>
[GenerateSerializer, Alias("BaseCharge"), Immutable]
public sealed record BaseCharge(long Amount, Instant Start, Instant End);

[GenerateSerializer, Alias("ScheduledChange"), Immutable]
public sealed record ScheduledChange(string Plan, int CatalogVersion, BillingInterval Interval);

/// <summary>Stripe's spelling.</summary>
[GenerateSerializer, Alias("SubscriptionStatus")]
public enum SubscriptionStatus { None, Incomplete, IncompleteExpired, Trialing, Active, PastDue, Unpaid, Paused, Canceled }

[GenerateSerializer, Alias("SnapshotRank")]
public enum SnapshotRank { Created, Updated, Deleted, Refetched }

/// <summary>Which of two snapshots of a subscription stands, in whatever order they arrive.</summary>
[GenerateSerializer, Alias("SnapshotOrder"), Immutable]
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
