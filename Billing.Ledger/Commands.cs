using NodaTime;

namespace Billing.Ledger;

/// <summary>A request to change one organization.</summary>
[GenerateSerializer, Alias("Command"), Immutable]
public abstract record Command
{
    /// <summary>Made by the caller: the same id is the same command, for ever.</summary>
    [Id(0)] public required string Id { get; init; }

    /// <summary>SHA-256 over what the command asks for, never over server times. The same id with another hash is refused.</summary>
    [Id(1)] public required byte[] ContentHash { get; init; }

    /// <summary>When it reached us, to the microsecond.</summary>
    [Id(2)] public required Instant At { get; init; }

    /// <summary>Who asks: the key's id, <c>stripe</c> or <c>clock</c>. Never a name.</summary>
    [Id(3)] public string? By { get; init; }
}

// ---- the organization

[GenerateSerializer, Alias("OpenOrganization"), Immutable]
public sealed record OpenOrganization(string TimeZone, bool Test, string? Plan) : Command;

[GenerateSerializer, Alias("CloseOrganization"), Immutable]
public sealed record CloseOrganization(string? Reason) : Command;

[GenerateSerializer, Alias("LinkCustomer"), Immutable]
public sealed record LinkCustomer(string Customer) : Command;

[GenerateSerializer, Alias("InviteToPlan"), Immutable]
public sealed record InviteToPlan(string Plan) : Command;

[GenerateSerializer, Alias("ChangeTimeZone"), Immutable]
public sealed record ChangeTimeZone(string TimeZone) : Command;

/// <summary>Moves a test organization's clock ahead, and writes what became due by then.</summary>
[GenerateSerializer, Alias("AdvanceClock"), Immutable]
public sealed record AdvanceClock(Instant To) : Command;

// ---- the subscription

/// <summary>An operator gives a plan, free of its base price. It stands until its time ends or a subscription gives access.</summary>
[GenerateSerializer, Alias("SetPlan"), Immutable]
public sealed record SetPlan(string Plan, string? Reason, Instant? Until = null) : Command;

/// <summary>Starts a subscription that the ledger keeps itself, or takes up a plan again after one ended.</summary>
/// <param name="Currency">Null is the catalog's.</param>
/// <param name="Trial">Null: with the plan's trial, if the organization never had one. False: without. True: with, or it is refused.</param>
[GenerateSerializer, Alias("StartSubscription"), Immutable]
public sealed record StartSubscription(string Plan, BillingInterval Interval, string? Currency, bool? Trial, bool HasPaymentMethod, string? Reason) : Command;

/// <summary>Changes the plan or the interval of a subscription that the ledger keeps.</summary>
/// <param name="When">Null: an upgrade now, a downgrade at the period's end.</param>
/// <param name="HasPaymentMethod">As <see cref="SetPaymentMethod"/>, with it; null leaves it as it is.</param>
[GenerateSerializer, Alias("ChangeSubscription"), Immutable]
public sealed record ChangeSubscription(
    string Plan, BillingInterval? Interval, ChangeTime? When, ProrationMode Proration, string? Reason, bool? HasPaymentMethod = null) : Command;

[GenerateSerializer, Alias("ChangeTime")]
public enum ChangeTime { Now, PeriodEnd }

/// <summary>What becomes of a change's credits and charges: lines of the next invoice, an invoice of their own, or nothing.</summary>
[GenerateSerializer, Alias("ProrationMode")]
public enum ProrationMode { NextInvoice, InvoiceNow, None }

/// <param name="Prorate">When it ends now: whether the unused rest is credited.</param>
[GenerateSerializer, Alias("CancelSubscription"), Immutable]
public sealed record CancelSubscription(ChangeTime When, bool Prorate, string? Reason) : Command;

/// <summary>Takes back a cancellation, or a change, that waits for the period's end.</summary>
[GenerateSerializer, Alias("ReactivateSubscription"), Immutable]
public sealed record ReactivateSubscription(string? Reason) : Command;

/// <summary>Access and charges stop now; the unused rest is credited.</summary>
[GenerateSerializer, Alias("PauseSubscription"), Immutable]
public sealed record PauseSubscription(string? Reason) : Command;

/// <summary>A new period begins now.</summary>
[GenerateSerializer, Alias("ResumeSubscription"), Immutable]
public sealed record ResumeSubscription(string? Reason) : Command;

/// <summary>Whether there is something to pay with when a trial ends.</summary>
[GenerateSerializer, Alias("SetPaymentMethod"), Immutable]
public sealed record SetPaymentMethod(bool HasPaymentMethod) : Command;

/// <summary>An attempt to pay one of the ledger's own invoices succeeded or failed, as whoever collects the money says.</summary>
/// <param name="Invoice">Its id or number.</param>
/// <param name="Attempt">Which attempt failed; null is the next one.</param>
/// <param name="HappenedAt">Null is now.</param>
[GenerateSerializer, Alias("ReportPayment"), Immutable]
public sealed record ReportPayment(string Invoice, bool Paid, int? Attempt, Instant? HappenedAt) : Command;

/// <summary>Moves the organization's plan (the subscription's, or the operator's) to another version of the catalog.</summary>
[GenerateSerializer, Alias("MoveToCatalog"), Immutable]
public sealed record MoveToCatalog(int CatalogVersion, string? Reason) : Command;

/// <param name="Allowance">In whole units; null with <paramref name="Unlimited"/> false switches a boolean feature on.</param>
/// <param name="Remove">Ends the override; the rest is not looked at.</param>
[GenerateSerializer, Alias("SetOverride"), Immutable]
public sealed record SetOverride(string Feature, decimal? Allowance, bool Unlimited, Instant? Until, bool Remove, string? Reason) : Command;

/// <summary>A subscription is at Stripe as this says. Its <see cref="Subscription.CatalogVersion"/> is decided here.</summary>
[GenerateSerializer, Alias("FollowSubscription"), Immutable]
public sealed record FollowSubscription(Subscription Snapshot) : Command;

/// <summary>See <see cref="PaymentRecorded"/>.</summary>
[GenerateSerializer, Alias("RecordPayment"), Immutable]
public sealed record RecordPayment(
    string Invoice, string? Subscription, bool Paid, int Attempt, long Amount, string Currency, Instant HappenedAt) : Command;

/// <summary>See <see cref="PaymentVoided"/>.</summary>
[GenerateSerializer, Alias("VoidPayment"), Immutable]
public sealed record VoidPayment(string Invoice, string? Subscription, string Currency, Instant HappenedAt) : Command;

// ---- usage

/// <param name="Quantity">In whole units with at most the meter's decimals. Gauges: the change, which may be negative.</param>
/// <param name="Timestamp">When the use happened; null is now.</param>
/// <param name="Enforce">False for use that has already happened: it is recorded past any limit.</param>
[GenerateSerializer, Alias("RecordUsage"), Immutable]
public sealed record RecordUsage(
    string Feature, decimal Quantity, string? Unit, Instant? Timestamp, bool Enforce, IReadOnlyDictionary<string, string>? Metadata) : Command;

[GenerateSerializer, Alias("SetGauge"), Immutable]
public sealed record SetGauge(string Feature, decimal Value) : Command;

/// <summary>Takes a usage record back.</summary>
/// <param name="Record">The record, as the journal has it: state does not keep records.</param>
[GenerateSerializer, Alias("VoidUsage"), Immutable]
public sealed record VoidUsage(UsageRecorded Record, string? Reason) : Command
{
    /// <summary>Gauges: every event of the journal that moved or billed it, in order. State keeps only its value and its peak.</summary>
    [Id(0)] public IReadOnlyList<LedgerEvent> History { get; init; } = [];
}

/// <summary>Takes a usage record back and records this quantity in its place, at the record's own time.</summary>
[GenerateSerializer, Alias("CorrectUsage"), Immutable]
public sealed record CorrectUsage(UsageRecorded Record, decimal Quantity, string? Reason) : Command
{
    /// <summary>As with <see cref="VoidUsage"/>.</summary>
    [Id(0)] public IReadOnlyList<LedgerEvent> History { get; init; } = [];
}

/// <summary>Reserves quantity for work whose size is not known yet.</summary>
[GenerateSerializer, Alias("PlaceHold"), Immutable]
public sealed record PlaceHold(string Feature, decimal Quantity, Duration ExpiresIn, IReadOnlyDictionary<string, string>? Metadata) : Command;

/// <summary>Ends a hold and records the real quantity. Up to what was held it cannot be refused; more is checked.</summary>
/// <param name="Quantity">0 records nothing.</param>
[GenerateSerializer, Alias("SettleHold"), Immutable]
public sealed record SettleHold(string Hold, decimal Quantity, IReadOnlyDictionary<string, string>? Metadata) : Command;

[GenerateSerializer, Alias("ReleaseHold"), Immutable]
public sealed record ReleaseHold(string Hold) : Command;

// ---- tokens

/// <param name="Priority">0 to 100; smaller numbers are burned first.</param>
[GenerateSerializer, Alias("GrantTokens"), Immutable]
public sealed record GrantTokens(GrantKind Kind, long Tokens, int Priority, Instant? ExpiresAt, string? Reason) : Command;

/// <summary>A token package was paid for.</summary>
/// <param name="Payment">What the money is known by: the payment intent, or the session when nothing was due.</param>
/// <param name="TopUp">The automatic top-up that it was for, or null.</param>
[GenerateSerializer, Alias("PurchaseTokens"), Immutable]
public sealed record PurchaseTokens(string Package, string Payment, long Amount, string Currency, Instant HappenedAt, string? TopUp = null) : Command;

/// <summary>A payment for tokens is known to have been made by this time. The oldest such time is the purchase's.</summary>
[GenerateSerializer, Alias("DatePurchase"), Immutable]
public sealed record DatePurchase(string Payment, Instant HappenedAt) : Command;

/// <summary>Of what was paid, this much went back by now, refunds and lost disputes together. Less than before gives tokens back.</summary>
/// <param name="ReturnedTotal">Minor units, cumulative.</param>
[GenerateSerializer, Alias("ReturnMoney"), Immutable]
public sealed record ReturnMoney(string Payment, long ReturnedTotal) : Command;

/// <param name="Terms">Null switches it off.</param>
[GenerateSerializer, Alias("ConfigureTopUp"), Immutable]
public sealed record ConfigureTopUp(TopUpTerms? Terms) : Command;

/// <summary>A top-up's payment failed.</summary>
/// <param name="Failure">A code such as card_declined.</param>
[GenerateSerializer, Alias("FailTopUp"), Immutable]
public sealed record FailTopUp(string TopUp, string Failure) : Command;

// ---- what is billed

/// <summary>Makes an invoice of everything that is pending, and of the overage so far.</summary>
/// <param name="Draft">True leaves it without a number until it is finalized.</param>
/// <param name="Currency">An invoice has one currency. Null is the catalog's, or the other one that something is pending in.</param>
[GenerateSerializer, Alias("CreateInvoice"), Immutable]
public sealed record CreateInvoice(bool Draft, string? Currency = null) : Command;

[GenerateSerializer, Alias("FinalizeInvoice"), Immutable]
public sealed record FinalizeInvoice(string Invoice) : Command;

/// <summary>Takes everything that is pending in this currency onto an invoice at Stripe.</summary>
/// <param name="Invoice">Stripe's id of it.</param>
[GenerateSerializer, Alias("BillAtStripe"), Immutable]
public sealed record BillAtStripe(string Invoice, string Currency) : Command;

/// <param name="Status">paid, void or uncollectible.</param>
[GenerateSerializer, Alias("SettleInvoice"), Immutable]
public sealed record SettleInvoice(string Invoice, InvoiceStatus Status, string? Payment, string? Reason) : Command;

/// <summary>Adds one line to the next invoice: a charge, or a credit when it is negative.</summary>
/// <param name="Amount">Minor units.</param>
/// <param name="Currency">Null is the catalog's.</param>
[GenerateSerializer, Alias("AddLine"), Immutable]
public sealed record AddLine(string Description, long Amount, string? Reason, string? Currency = null) : Command;

/// <param name="Amount">Minor units.</param>
/// <param name="Currency">Null is the catalog's.</param>
[GenerateSerializer, Alias("GrantCredit"), Immutable]
public sealed record GrantCredit(long Amount, string? Reason, string? Currency = null) : Command;

[GenerateSerializer, Alias("SetBillingTerms"), Immutable]
public sealed record SetBillingTerms(TaxTerms? Tax, DiscountTerms? Discount, string? Reason) : Command;

[GenerateSerializer, Alias("SetSpendCaps"), Immutable]
public sealed record SetSpendCaps(long? Organization, IReadOnlyDictionary<string, long>? Features) : Command;

/// <summary>Writes what has become due by the clock. Sent by a timer, without traffic.</summary>
[GenerateSerializer, Alias("WriteDue"), Immutable]
public sealed record WriteDue : Command;
