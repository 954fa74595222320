using System.ComponentModel.DataAnnotations;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Billing.Api.Routes;
using Billing.Api.Stripe;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Api;

// What callers send, and the answers that are not views of one organization. Members are nullable where the API itself
// says what is missing.

/// <param name="Id">Letters, digits, '.', '_' and '-', 1 to 64 of them.</param>
/// <param name="Plan">The plan to start on; without one, the catalog's fallback plan.</param>
/// <param name="TimeZone">IANA name; UTC without one.</param>
/// <param name="Test">A test organization.</param>
public sealed record OpenOrganizationBody([property: Required] string? Id, string? Plan, string? TimeZone, bool? Test);

/// <param name="Reason">Kept in the ledger for ever: no names, no addresses.</param>
public sealed record CloseOrganizationBody(string? Reason);

/// <param name="Plan">An invite-only plan of the catalog.</param>
public sealed record InvitationBody([property: Required] string? Plan);

/// <param name="Feature">A metered feature's id.</param>
/// <param name="Quantity">In whole units, with at most the meter's decimals. Gauges: the change.</param>
/// <param name="Unit">If named, it must be the meter's.</param>
/// <param name="Timestamp">When it happened; now without one. At most 5 minutes ahead and 35 days ago.</param>
/// <param name="Enforce">False for use that has already happened: recorded past any limit.</param>
/// <param name="Metadata">Comes back in the history: at most 20 entries, keys of 40 and values of 500 characters.</param>
public record UsageBody(
    [property: Required] string? Feature, [property: Required, JsonConverter(typeof(QuantityJson))] decimal? Quantity, string? Unit, Instant? Timestamp, bool? Enforce,
    Dictionary<string, string>? Metadata);

/// <summary>One item of a batch.</summary>
/// <param name="Id">Makes the item's idempotency key with the batch's; its index without one.</param>
public sealed record UsageItemBody(
    string? Id, string? Feature, decimal? Quantity, string? Unit, Instant? Timestamp, bool? Enforce, Dictionary<string, string>? Metadata)
    : UsageBody(Feature, Quantity, Unit, Timestamp, Enforce, Metadata);

/// <param name="Items">At most 1,000; at most 20 when atomic.</param>
/// <param name="Atomic">All are recorded, or none.</param>
public sealed record UsageBatchBody([property: Required] IReadOnlyList<UsageItemBody>? Items, bool Atomic);

/// <summary>What became of one item.</summary>
/// <param name="Status">recorded, replayed, denied or rejected.</param>
public sealed record UsageItemView(
    int Index, string Status,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] UsageRecordView? Usage,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] Problem? Problem);

public sealed record UsageBatchView(int Recorded, int Replayed, int Refused, IReadOnlyList<UsageItemView> Items);

/// <param name="Value">The gauge's value from now on.</param>
public sealed record GaugeBody([property: Required, JsonConverter(typeof(QuantityJson))] decimal? Value);

/// <param name="Feature">A metered feature's id; gauges cannot be held.</param>
/// <param name="Quantity">In whole units, with at most the meter's decimals.</param>
/// <param name="ExpiresIn">Seconds, from 1 to 604,800 (7 days); 900 (15 minutes) without one.</param>
/// <param name="Metadata">Comes back with the hold, and with its use unless the settling brings its own: at most 20 entries, keys of 40 and values of 500 characters.</param>
public sealed record HoldBody(
    [property: Required] string? Feature, [property: Required, JsonConverter(typeof(QuantityJson))] decimal? Quantity, long? ExpiresIn, Dictionary<string, string>? Metadata);

/// <param name="Quantity">What was used. Up to what is held it is never refused; what is more is checked like any use. 0 records nothing.</param>
/// <param name="Metadata">The hold's without it.</param>
public sealed record SettleHoldBody([property: Required, JsonConverter(typeof(QuantityJson))] decimal? Quantity, Dictionary<string, string>? Metadata);

/// <summary>Nothing: a body with anything in it is refused.</summary>
public sealed record EmptyBody;

/// <param name="Quantity">What it should have been, in whole units with at most the meter's decimals.</param>
/// <param name="Reason">Kept in the ledger for ever: no names, no addresses.</param>
public sealed record CorrectBody([property: Required, JsonConverter(typeof(QuantityJson))] decimal? Quantity, [property: Required] string? Reason);

/// <param name="Allowance">Metered features: whole units in the window; a gauge's limit.</param>
/// <param name="Unlimited">Metered features: no limit.</param>
/// <param name="Until">When the plan's word stands again; without one, when the override is removed.</param>
/// <param name="Reason">Kept in the ledger for ever: no names, no addresses.</param>
public sealed record OverrideBody([property: JsonConverter(typeof(QuantityJson))] decimal? Allowance, bool Unlimited, Instant? Until, [property: Required] string? Reason);

/// <param name="Organization">Minor units over all features in one billing period; null is no cap.</param>
/// <param name="Features">Minor units for each feature that has a cap of its own.</param>
public sealed record SpendCapsBody(long? Organization, Dictionary<string, long>? Features);

public sealed record OverridesView(IReadOnlyList<OverrideView> Overrides);

/// <param name="Items">Feature and quantity; the quantity is one unit without one.</param>
public sealed record CheckBody([property: Required] IReadOnlyList<CheckItemBody>? Items);

public sealed record CheckItemBody([property: Required] string? Feature, [property: JsonConverter(typeof(QuantityJson))] decimal? Quantity);

/// <param name="HasAccess">Whether every one of them has access.</param>
public sealed record EntitlementsView(bool HasAccess, IReadOnlyList<EntitlementView> Entitlements);

/// <param name="Tokens">Whole tokens.</param>
/// <param name="Kind">granted (default) or promotional.</param>
/// <param name="Priority">0 to 100, smaller is burned first; 50 without one.</param>
/// <param name="ExpiresAt">Never without one.</param>
/// <param name="Reason">Kept in the ledger for ever: no names, no addresses.</param>
public sealed record GrantBody([property: Required] long? Tokens, string? Kind, int? Priority, Instant? ExpiresAt, [property: Required] string? Reason);

/// <param name="TokenPackage">What is bought.</param>
/// <param name="Threshold">It is bought when fewer tokens than these are left.</param>
/// <param name="MaxCount">The most that are asked for in one calendar month, paid or not.</param>
/// <param name="MaxAmount">The most in one calendar month, in minor units of the catalog's currency.</param>
/// <param name="CoolOffMinutes">The least time between two; an hour without one.</param>
public sealed record TopUpBody(
    [property: Required] string? TokenPackage, [property: Required] long? Threshold, [property: Required] int? MaxCount, [property: Required] long? MaxAmount, int? CoolOffMinutes);

/// <param name="Payment">What the money is known by, such as a payment intent's id. The same one gives tokens once.</param>
/// <param name="Amount">What was paid, in minor units; what was asked for without one.</param>
public sealed record CompleteTopUpBody([property: Required] string? Payment, long? Amount);

/// <param name="Failure">A code such as card_declined.</param>
public sealed record FailTopUpBody([property: Required] string? Failure);

/// <summary>Something that somebody should know.</summary>
/// <param name="Kind">usage, tokens_low, trial_ending, top_up_limited or top_up_switched_off.</param>
/// <param name="Message">Can be shown to a person.</param>
/// <param name="Percent">Usage: the threshold that was reached, in per cent of the limit.</param>
/// <param name="Window">Usage: the limit's window; null for a gauge.</param>
/// <param name="End">When the window, the trial, or the month of a top-up's limit ends.</param>
/// <param name="Value">Used in the window, in whole units; tokens left.</param>
public sealed record AlertView(
    long Version, string Kind, Instant At, string Message, string? Feature, int? Percent, string? Window, Instant? Start, Instant? End, decimal? Value, decimal? Limit);

/// <param name="Plan">May be left out to say only whether there is a payment method.</param>
/// <param name="Interval">month, quarter or year: to subscribe, or to change the interval. Without one, an operator gives the plan, unless the ledger keeps a subscription.</param>
/// <param name="Currency">The catalog's without one.</param>
/// <param name="At">When a change counts: now or period_end. Without one, an upgrade now and a downgrade at the period's end.</param>
/// <param name="Trial">True: with the plan's trial, or not at all; false: without. Left out: with, if it was not used yet.</param>
/// <param name="PaymentMethod">At Stripe: the payment method's id (pm_…), which is charged from now on; with it a subscription is started there. Kept by the ledger: whether there is something to pay with when a trial ends.</param>
/// <param name="Proration">What becomes of a change's credits and charges: next_invoice (without one), invoice_now, or none (operators only).</param>
/// <param name="Comp">An operator gives the plan, free of its price, whatever subscription there is.</param>
/// <param name="Until">When a plan that an operator gives ends; it stands without one.</param>
/// <param name="Reason">Kept in the ledger for ever: no names, no addresses. An operator who gives a plan must say one.</param>
public record SubscriptionBody(
    string? Plan = null, string? Interval = null, string? Currency = null, string? At = null, bool? Trial = null, PaymentMethodValue? PaymentMethod = null, string? Proration = null, bool Comp = false,
    Instant? Until = null, string? Reason = null)
{
    /// <summary>The same as interval: monthly, quarterly or yearly.</summary>
    public string? BillingPeriod { get; init; }

    /// <summary>At Stripe: how many of the plan; one without it, and for a change as many as there are.</summary>
    public int? Quantity { get; init; }

    /// <summary>At Stripe: proration_date of the preview, so that the change comes to what it showed.</summary>
    public Instant? ProrationDate { get; init; }
}

/// <summary>Whether there is a payment method, or which one.</summary>
/// <param name="Id">At Stripe.</param>
[JsonConverter(typeof(PaymentMethodJson))]
public readonly record struct PaymentMethodValue(bool Has, string? Id);

internal sealed class PaymentMethodJson : JsonConverter<PaymentMethodValue>
{
    public override PaymentMethodValue Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => reader.TokenType switch
    {
        JsonTokenType.True => new PaymentMethodValue(true, null),
        JsonTokenType.False => new PaymentMethodValue(false, null),
        JsonTokenType.String when reader.GetString() is { Length: > 3 and <= 255 } id && id.StartsWith("pm_", StringComparison.Ordinal) && id.All(c => char.IsAsciiLetterOrDigit(c) || c == '_') => new PaymentMethodValue(true, id),
        _ => throw new JsonException("Write true, false, or a payment method's id at Stripe such as pm_1Abc."),
    };

    public override void Write(Utf8JsonWriter writer, PaymentMethodValue value, JsonSerializerOptions options)
    {
        if (value.Id is { } id) writer.WriteStringValue(id);
        else writer.WriteBooleanValue(value.Has);
    }
}

/// <summary>A change, or what else may be done with a subscription.</summary>
/// <param name="Action">change (without one), cancel, pause, resume or reactivate.</param>
/// <param name="Prorate">Cancelling now: whether the unused rest is credited.</param>
public sealed record PreviewBody(
    string? Plan = null, string? Interval = null, string? Currency = null, string? At = null, bool? Trial = null, PaymentMethodValue? PaymentMethod = null, string? Proration = null, bool Comp = false,
    Instant? Until = null, string? Reason = null, string? Action = null, bool? Prorate = null)
    : SubscriptionBody(Plan, Interval, Currency, At, Trial, PaymentMethod, Proration, Comp, Until, Reason);

/// <param name="Reason">Kept in the ledger for ever: no names, no addresses.</param>
public sealed record ReasonBody(string? Reason);

/// <param name="Reason">Kept in the ledger and in the audit log for ever: no names, no addresses.</param>
public sealed record StatedReasonBody([property: Required] string? Reason);

/// <param name="Invoice">An invoice's id or number.</param>
/// <param name="Status">paid or failed.</param>
/// <param name="Attempt">Which attempt failed; the next one without it.</param>
/// <param name="At">When; now without it.</param>
public sealed record PaymentBody([property: Required] string? Invoice, [property: Required] string? Status, int? Attempt, Instant? At);

/// <param name="Payment">A payment intent's id (pi_…) at Stripe; or say the invoice.</param>
/// <param name="Invoice">A Stripe invoice's id (in_…).</param>
/// <param name="Amount">Minor units; all that was not given back yet without it.</param>
/// <param name="Reason">Kept at Stripe: no names, no addresses.</param>
/// <param name="Override">Gives the money back although the time for that is over.</param>
public sealed record RefundBody(string? Payment, string? Invoice, long? Amount, [property: Required] string? Reason, bool Override);

/// <summary>Money that was asked back, as Stripe says it is now.</summary>
/// <param name="Status">pending, requires_action, succeeded, failed or canceled; refused where Stripe refused it, unknown while no answer is known.</param>
public sealed record RefundView(string? Id, string Status, string? Payment, Money? Amount, string? Reason, Instant At)
{
    /// <summary>Why it failed.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Failure { get; init; }

    /// <summary>What to do next: none; wait while it is pending; contact_customer when the money could not be sent.</summary>
    public string Next { get; init; } = "none";
}

public sealed record RefundsView(IReadOnlyList<RefundView> Refunds);

/// <param name="TimeZone">An IANA name such as Europe/Berlin.</param>
public sealed record TimeZoneBody([property: Required] string? TimeZone);

/// <param name="To">What the clock is to say.</param>
/// <param name="ByDays">Or how far it goes, in days of 24 hours.</param>
public sealed record AdvanceClockBody(Instant? To, int? ByDays);

/// <param name="ToVersion">A version of the catalog, newer or older.</param>
/// <param name="Plan">Only organizations on this plan.</param>
/// <param name="FromVersion">Only those on this version.</param>
/// <param name="Organizations">Only these; all without it. At most 500.</param>
/// <param name="DryRun">Shows what would change, and changes nothing.</param>
/// <param name="Limit">How many organizations are looked at: 1 to 500; 100 without it.</param>
/// <param name="Cursor">next_cursor of the answer before.</param>
/// <param name="Reason">Kept in the ledger for ever: no names, no addresses.</param>
public sealed record CatalogMovesBody(
    [property: Required] int? ToVersion, string? Plan, int? FromVersion, IReadOnlyList<string>? Organizations, bool DryRun, int? Limit, string? Cursor, string? Reason);

/// <param name="Moved">Of those on this page; what is at the version already is left out.</param>
/// <param name="NextCursor">For the next page; null when all were looked at.</param>
public sealed record CatalogMovesView(int ToVersion, bool DryRun, int Moved, int Refused, IReadOnlyList<CatalogMoveView> Organizations, string? NextCursor);

/// <param name="Percent">Of the organizations that it is on for: 0 to 100.</param>
/// <param name="On">Instead of a percentage: true is 100, false is 0.</param>
/// <param name="Reason">Kept in the audit log for ever: no names, no addresses.</param>
public sealed record FlagBody(int? Percent, bool? On, string? Reason);

/// <param name="Percent">Of the organizations that it is on for.</param>
/// <param name="UpdatedAt">Null while it is as the configuration says.</param>
/// <param name="UpdatedBy">The id of the key that set it.</param>
public sealed record FlagView(string Name, int Percent, Instant? UpdatedAt, string? UpdatedBy);

/// <param name="Changed">How many changes were made; with dry_run, would be.</param>
/// <param name="Wrong">How many of the prices that were given do not fit.</param>
public sealed record CatalogPushView(int CatalogVersion, bool DryRun, int Changed, int Wrong, IReadOnlyList<CatalogChangeView> Changes);

/// <param name="Action">create_product, update_product, create_price, replace_price, archive_price; keep and given change nothing.</param>
/// <param name="Id">Of the product or price at Stripe; null of a price that is not made yet.</param>
/// <param name="IsWrong">A price that was given and does not fit.</param>
public sealed record CatalogChangeView(string Action, string? Id, string? LookupKey, string Detail, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] bool IsWrong);

/// <param name="Current">It is what is sold now.</param>
public sealed record CatalogVersionView(int Version, Instant PublishedAt, bool Current, IReadOnlyList<string> Plans);

/// <param name="Draft">True leaves it without a number until it is finalized.</param>
/// <param name="Currency">An invoice has one; the catalog's without it, or the other one that something is pending in.</param>
public sealed record GenerateInvoiceBody(bool Draft, string? Currency);

/// <summary>Nothing is said with it.</summary>
public sealed record FinalizeInvoiceBody;

/// <param name="Payment">What the money is known by.</param>
/// <param name="Reason">Kept in the ledger for ever: no names, no addresses.</param>
public sealed record PayInvoiceBody(string? Payment, string? Reason);

/// <param name="Description">Stands on the invoice, and is kept in the ledger for ever: no names, no addresses.</param>
/// <param name="Amount">Minor units; below 0 is a credit.</param>
/// <param name="Currency">One that the catalog sells in; its own without one.</param>
/// <param name="Reason">Kept in the ledger for ever: no names, no addresses.</param>
public sealed record AddLineBody([property: Required] string? Description, [property: Required] long? Amount, string? Currency, string? Reason);

/// <param name="Amount">Minor units, more than 0.</param>
/// <param name="Currency">One that the catalog sells in; its own without one.</param>
/// <param name="Reason">Kept in the ledger for ever: no names, no addresses.</param>
public sealed record CreditBody([property: Required] long? Amount, string? Currency, [property: Required] string? Reason);

/// <param name="Tax">Instead of the catalog's; a rate of 0 for who pays none.</param>
/// <param name="Discount">Off each invoice; none without it.</param>
/// <param name="Reason">Kept in the ledger for ever: no names, no addresses.</param>
public sealed record BillingTermsBody(TaxBody? Tax, DiscountBody? Discount, string? Reason);

/// <param name="Rate">Per cent, with at most 4 places.</param>
/// <param name="Inclusive">Prices have the tax in them.</param>
public sealed record TaxBody([property: Required] string? Name, [property: Required, JsonConverter(typeof(QuantityJson))] decimal? Rate, bool Inclusive);

/// <param name="Percent">Of every line, credits too; either this or an amount.</param>
/// <param name="Amount">Minor units off each invoice, never more than it comes to.</param>
/// <param name="Currency">The amount's: one that the catalog sells in; its own without one.</param>
/// <param name="Until">Invoices made from then on have no discount.</param>
public sealed record DiscountBody([property: JsonConverter(typeof(QuantityJson))] decimal? Percent, long? Amount, string? Currency, Instant? Until);

/// <summary>All of it: what is left out is gone.</summary>
/// <param name="Name">At most 200 characters.</param>
/// <param name="Email">At most 254.</param>
/// <param name="Address">At most 500, in lines.</param>
/// <param name="Country">Two letters (ISO 3166), such as DE: what tax goes by.</param>
public sealed record ProfileBody(string? Name, string? Email, string? Address, string? Country);

/// <param name="UpdatedAt">Null when there is none.</param>
public sealed record ProfileView(string? Name, string? Email, string? Address, string? Country, Instant? UpdatedAt)
{
    public static ProfileView Of(Profile? profile) => new(profile?.Name, profile?.Email, profile?.Address, profile?.Country, profile?.UpdatedAt);
}

/// <param name="Organization">The one organization that it is for; without one it is for all.</param>
/// <param name="Scopes">Without them: all that there are for an organization's key, and all for an operator's.</param>
/// <param name="Test">For an organization's key it is as the organization is.</param>
/// <param name="ExpiresAt">From then on it is no key.</param>
/// <param name="Reason">Kept in the audit log for ever: no names, no addresses.</param>
public sealed record ApiKeyBody([property: Required] string? Name, string? Organization, IReadOnlyList<string>? Scopes, bool? Test, Instant? ExpiresAt, string? Reason);

/// <param name="Id">What is written down beside what is done.</param>
/// <param name="ExpiresAt">When a browser's session ends at the latest; null for a key.</param>
/// <param name="FormToken">What a browser sends as <c>X-Form-Token</c> with what changes something; null for a key.</param>
public sealed record SessionView(string Id, string Name, string? Organization, IReadOnlyList<string> Scopes, bool? Test, Instant? ExpiresAt, string? FormToken);

/// <param name="Ended">How many.</param>
public sealed record EndedView(int Ended);

/// <param name="Url">Good once.</param>
public sealed record PortalLinkView(string Url, Instant ExpiresAt);

/// <param name="OverlapSeconds">For how long the old key stays good beside the new one; an hour without it.</param>
/// <param name="Reason">Kept in the audit log for ever: no names, no addresses.</param>
public sealed record RotateKeyBody(int? OverlapSeconds, string? Reason);

/// <param name="Key">Shown this once, and never again.</param>
public sealed record NewApiKeyView(string Key, ApiKeyView ApiKey);

/// <param name="Display">Its beginning and its last four characters.</param>
/// <param name="Test">True: test organizations only. False: live ones only. Null: both, which is the key of the configuration.</param>
/// <param name="LastUsedAt">To the minute; null when it was never used.</param>
/// <param name="ReplacedBy">The key that took its place.</param>
public sealed record ApiKeyView(
    string Id, string Name, string? Organization, IReadOnlyList<string> Scopes, bool? Test, string Display, Instant CreatedAt, Instant? ExpiresAt, Instant? LastUsedAt, string? ReplacedBy);

/// <param name="ExpiresIn">Seconds, 60 to 86400; an hour without it.</param>
public sealed record BrowserTokenBody(int? ExpiresIn);

/// <param name="Token">For <c>Authorization: Bearer</c>. It is stored nowhere.</param>
/// <param name="Scopes">What it may do: <c>entitlements:read</c>.</param>
public sealed record BrowserTokenView(string Token, string Organization, IReadOnlyList<string> Scopes, Instant ExpiresAt);

/// <summary>One page of a list.</summary>
/// <param name="NextCursor">For the next page; null on the last.</param>
public sealed record Page<T>(IReadOnlyList<T> Items, string? NextCursor);

/// <summary>One event of the stream, as it is stored.</summary>
/// <param name="ContentHash">Hex; of the command, on its first event.</param>
/// <param name="Hash">Hex; over the event before it and all of this.</param>
public sealed record LedgerEventView(
    long Version, long Position, string Type, int Schema, Instant EffectiveAt, Instant RecordedAt, string? CommandId, string? ContentHash, string Hash,
    JsonElement Data)
{
    public static LedgerEventView Of(StoredEvent e) => new(
        e.Version, e.Position, e.Type, e.Schema, e.EffectiveAt, e.RecordedAt, e.CommandId,
        e.ContentHash is null ? null : Convert.ToHexStringLower(e.ContentHash), Convert.ToHexStringLower(e.Hash), JsonElement.Parse(e.Body));
}

/// <param name="Ok">Whether the chain holds from the first event to the head.</param>
/// <param name="FirstBadVersion">The first event that does not fit.</param>
public sealed record VerificationView(bool Ok, long Events, string Head, long? FirstBadVersion, string? Problem);

/// <summary>One change of the token balance.</summary>
/// <param name="Kind">purchased, granted, promotional, burned, returned, held, freed, revoked or expired.</param>
/// <param name="Tokens">Positive adds to the balance, negative takes from it.</param>
public sealed record TokenTransactionView(
    long Version, string Kind, long Tokens, string Grant, Instant At, string? Feature, string? Usage, string? Package, string? Payment, string? Reason)
{
    /// <summary>The hold that the tokens were set aside for, or that freed them: what it came to burned some again.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Hold { get; init; }
}

/// <summary>Use of one feature in buckets of time.</summary>
public sealed record UsageHistoryView(string Feature, string Unit, string Bucket, Instant From, Instant To, IReadOnlyList<UsageBucketView> Buckets);

/// <param name="Value">Gauges: the value at the bucket's last change.</param>
public sealed record UsageBucketView(
    Instant Start, Instant End, decimal Quantity, int Records, CoverageView Covered,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] decimal? Value);

public sealed record PlanView(
    string Id, string Name, string? Description, bool InviteOnly, int? TrialDays, bool TrialRequiresPaymentMethod, IReadOnlyList<PriceView> Prices,
    IReadOnlyList<PlanFeatureView> Features)
{
    /// <summary>The one organization that the plan is made for.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? CustomFor { get; init; }
}

public sealed record PriceView(string Interval, Money Price, string LookupKey);

/// <param name="Included">Boolean features: whether the plan has it.</param>
/// <param name="Unlimited">Metered features: there is no limit.</param>
public sealed record PlanFeatureView(
    string Feature, string Name, string Type, bool Included, string? Value, decimal? Allowance, bool Unlimited, string? Unit, string? Window, string? Mode,
    string? UnitPrice, IReadOnlyList<TierView> Tiers, IReadOnlyList<RateLimitView> RateLimits);

/// <summary>Overage in one billing period up to so much of it costs this for a unit.</summary>
/// <param name="UpTo">Whole units of overage; null is all the rest.</param>
public sealed record TierView(decimal? UpTo, string UnitPrice);

public sealed record RateLimitView(decimal Limit, string Window);

public sealed record PlansView(int CatalogVersion, IReadOnlyList<PlanView> Plans);

public sealed record TokenPackageView(string Id, string Name, long Tokens, IReadOnlyList<Money> Prices);

public sealed record TokenPackagesView(IReadOnlyList<TokenPackageView> TokenPackages);

/// <param name="Webhooks">Whether Stripe's webhooks are taken.</param>
/// <param name="Selling">Whether there is Stripe to sell through: checkout, token purchases, portal.</param>
/// <param name="Flags">By name: whether it is on for the key's organization; for an operator's key, for all of them.</param>
public sealed record ConfigView(string? PublishableKey, string Currency, IReadOnlyList<string> Currencies, int CatalogVersion, bool Webhooks, bool Selling, IReadOnlyDictionary<string, bool> Flags);

public sealed record InboxEventView(
    string Id, string Type, Instant CreatedAt, Instant ReceivedAt, string State, string? Organization, string? Customer, string? Object, string? Detail, int Attempts, Instant? NextTryAt)
{
    /// <summary>As Stripe sent it. Only of one event, and for as long as it is kept.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public JsonElement? Payload { get; init; }
}

public sealed record PongView(bool Ok, string Service);

/// <param name="Status"><c>ready</c>; <c>checks_only</c> while the journal does not answer and checks are answered from memory; <c>unavailable</c>.</param>
/// <param name="Journal"><c>available</c> or <c>unavailable</c>.</param>
/// <param name="Since">When the journal failed first.</param>
public sealed record ReadyView(string Status, string Journal, EngineView Engine, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] Instant? Since = null);

public sealed record ProblemTypeView(string Code, int Status, string Title);

/// <summary>JSON numbers only, and none that would lose digits on the way.</summary>
public sealed class QuantityJson : JsonConverter<decimal>
{
    /// <summary>What a decimal holds without rounding.</summary>
    public const int MaxDigits = 28;

    public override decimal Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType != JsonTokenType.Number) throw new JsonException("A quantity is a JSON number such as 3 or 12.5.");
        var digits = 0;
        if (!reader.HasValueSequence)
            foreach (var b in reader.ValueSpan)
                if (char.IsAsciiDigit((char)b)) digits++;
        if (digits > MaxDigits) throw new JsonException($"A quantity has at most {MaxDigits} digits.");
        // Too large for a decimal is far too large for a quantity: the ledger says so in its own words.
        return reader.TryGetDecimal(out var value) ? value : !reader.HasValueSequence && reader.ValueSpan[0] == (byte)'-' ? decimal.MinValue : decimal.MaxValue;
    }

    public override void Write(Utf8JsonWriter writer, decimal value, JsonSerializerOptions options) => writer.WriteNumberValue(value);
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DictionaryKeyPolicy = JsonKnownNamingPolicy.Unspecified,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    Converters = [typeof(InstantJson)])]
[JsonSerializable(typeof(OpenOrganizationBody))]
[JsonSerializable(typeof(CloseOrganizationBody))]
[JsonSerializable(typeof(InvitationBody))]
[JsonSerializable(typeof(UsageBody))]
[JsonSerializable(typeof(UsageBatchBody))]
[JsonSerializable(typeof(UsageItemBody))]
[JsonSerializable(typeof(UsageBatchView))]
[JsonSerializable(typeof(GaugeBody))]
[JsonSerializable(typeof(CheckBody))]
[JsonSerializable(typeof(HoldBody))]
[JsonSerializable(typeof(SettleHoldBody))]
[JsonSerializable(typeof(EmptyBody))]
[JsonSerializable(typeof(CorrectBody))]
[JsonSerializable(typeof(UsageVoidView))]
[JsonSerializable(typeof(UsageExplanationView))]
[JsonSerializable(typeof(StateView))]
[JsonSerializable(typeof(OverrideBody))]
[JsonSerializable(typeof(SpendCapsBody))]
[JsonSerializable(typeof(HoldView))]
[JsonSerializable(typeof(Page<HoldView>))]
[JsonSerializable(typeof(HoldEndView))]
[JsonSerializable(typeof(OverrideView))]
[JsonSerializable(typeof(OverridesView))]
[JsonSerializable(typeof(SpendCapsView))]
[JsonSerializable(typeof(EntitlementsView))]
[JsonSerializable(typeof(GrantBody))]
[JsonSerializable(typeof(TopUpBody))]
[JsonSerializable(typeof(CompleteTopUpBody))]
[JsonSerializable(typeof(FailTopUpBody))]
[JsonSerializable(typeof(TopUpView))]
[JsonSerializable(typeof(Page<AlertView>))]
[JsonSerializable(typeof(SubscriptionBody))]
[JsonSerializable(typeof(PreviewBody))]
[JsonSerializable(typeof(ReasonBody))]
[JsonSerializable(typeof(PaymentBody))]
[JsonSerializable(typeof(RefundBody))]
[JsonSerializable(typeof(RefundView))]
[JsonSerializable(typeof(RefundsView))]
[JsonSerializable(typeof(TimeZoneBody))]
[JsonSerializable(typeof(AdvanceClockBody))]
[JsonSerializable(typeof(CatalogMovesBody))]
[JsonSerializable(typeof(CatalogMovesView))]
[JsonSerializable(typeof(CatalogPushView))]
[JsonSerializable(typeof(FlagBody))]
[JsonSerializable(typeof(FlagView))]
[JsonSerializable(typeof(IReadOnlyList<FlagView>))]
[JsonSerializable(typeof(IReadOnlyList<CatalogVersionView>))]
[JsonSerializable(typeof(ChangePreviewView))]
[JsonSerializable(typeof(ApiKeyBody))]
[JsonSerializable(typeof(RotateKeyBody))]
[JsonSerializable(typeof(SessionView))]
[JsonSerializable(typeof(EndedView))]
[JsonSerializable(typeof(PortalLinkView))]
[JsonSerializable(typeof(NewApiKeyView))]
[JsonSerializable(typeof(Page<ApiKeyView>))]
[JsonSerializable(typeof(BrowserTokenBody))]
[JsonSerializable(typeof(BrowserTokenView))]
[JsonSerializable(typeof(Page<OrganizationView>))]
[JsonSerializable(typeof(Page<LedgerEventView>))]
[JsonSerializable(typeof(Page<UsageRecordView>))]
[JsonSerializable(typeof(Page<TokenTransactionView>))]
[JsonSerializable(typeof(Page<InboxEventView>))]
[JsonSerializable(typeof(InboxEventView))]
[JsonSerializable(typeof(ReconcileBody))]
[JsonSerializable(typeof(ReconciliationView))]
[JsonSerializable(typeof(ReconciliationRunView))]
[JsonSerializable(typeof(FlowCounts))]
[JsonSerializable(typeof(VerificationView))]
[JsonSerializable(typeof(Page<AuditRecordView>))]
[JsonSerializable(typeof(AuditVerificationView))]
[JsonSerializable(typeof(StatedReasonBody))]
[JsonSerializable(typeof(string))]
[JsonSerializable(typeof(SignedHead))]
[JsonSerializable(typeof(UsageHistoryView))]
[JsonSerializable(typeof(PlansView))]
[JsonSerializable(typeof(TokenPackagesView))]
[JsonSerializable(typeof(ConfigView))]
[JsonSerializable(typeof(EntitlementView))]
[JsonSerializable(typeof(ExplanationView))]
[JsonSerializable(typeof(OrganizationView))]
[JsonSerializable(typeof(UsageRecordView))]
[JsonSerializable(typeof(UsageView))]
[JsonSerializable(typeof(TokensView))]
[JsonSerializable(typeof(GrantView))]
[JsonSerializable(typeof(SubscriptionView))]
[JsonSerializable(typeof(GenerateInvoiceBody))]
[JsonSerializable(typeof(FinalizeInvoiceBody))]
[JsonSerializable(typeof(PayInvoiceBody))]
[JsonSerializable(typeof(AddLineBody))]
[JsonSerializable(typeof(CreditBody))]
[JsonSerializable(typeof(BillingTermsBody))]
[JsonSerializable(typeof(CheckoutBody))]
[JsonSerializable(typeof(TokenPurchaseBody))]
[JsonSerializable(typeof(PortalBody))]
[JsonSerializable(typeof(SaleView))]
[JsonSerializable(typeof(PortalView))]
[JsonSerializable(typeof(ProfileBody))]
[JsonSerializable(typeof(ProfileView))]
[JsonSerializable(typeof(InvoiceView))]
[JsonSerializable(typeof(InvoiceLineView))]
[JsonSerializable(typeof(Page<InvoiceView>))]
[JsonSerializable(typeof(UpcomingInvoicesView))]
[JsonSerializable(typeof(BillingTermsView))]
[JsonSerializable(typeof(Problem))]
[JsonSerializable(typeof(PongView))]
[JsonSerializable(typeof(ReadyView))]
[JsonSerializable(typeof(IReadOnlyList<ProblemTypeView>))]
internal sealed partial class ApiJson : JsonSerializerContext
{
    /// <summary>As the API reads and writes. Quotes and letters of any language stay readable: nothing of this is put into HTML.</summary>
    public static ApiJson Web => Shared.Instance;

    // In a class of its own, so that it is made after Default whatever the order of this class's parts.
    private static class Shared
    {
        public static readonly ApiJson Instance = new(new JsonSerializerOptions(Default.Options!) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
    }

    /// <summary>The same for what the framework serializes by itself.</summary>
    public static void Configure(JsonSerializerOptions options)
    {
        options.PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower;
        options.DictionaryKeyPolicy = null;
        options.NumberHandling = JsonNumberHandling.Strict;
        options.Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping;
        options.Converters.Add(new InstantJson());
        options.TypeInfoResolverChain.Insert(0, Default);
    }
}
