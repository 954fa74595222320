using System.Text.Json.Serialization;
using Billing.Ledger;
using NodaTime;

namespace Billing.Grains;

// What callers read. These records are the JSON bodies of the API (in snake_case), so that there is one shape for one thing.
// Quantities are whole units with the meter's decimals; amounts are minor units; times are UTC.

/// <summary>The answer for one feature now.</summary>
/// <param name="Feature">The feature's id.</param>
/// <param name="HasAccess">Whether the quantity asked for (one unit, if none was named) would be recorded.</param>
/// <param name="Value">Static features: the plan's value.</param>
/// <param name="Limit">The allowance in the running window, or a gauge's limit; null is unlimited.</param>
/// <param name="Used">Used in the running window; a gauge's value.</param>
/// <param name="Held">Reserved by holds in the running window.</param>
/// <param name="Remaining">Left of the limit; null is unlimited.</param>
/// <param name="Tokens">Tokens that this feature may burn.</param>
/// <param name="Overage">Use in the running window past the allowance that no token covered.</param>
/// <param name="Window">hour, day, month, period or lifetime; null for gauges and features that are not metered.</param>
/// <param name="ResetsAt">When the window turns; null when it never does.</param>
/// <param name="Warnings">The highest of the feature's thresholds (<c>warn_at</c>), in per cent of the limit, that is reached.</param>
/// <param name="Denial">Why there is no access, and the way out.</param>
[GenerateSerializer, Alias("EntitlementView"), Immutable]
public sealed record EntitlementView(
    string Feature,
    bool HasAccess,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Value,
    decimal? Limit,
    decimal Used,
    decimal Held,
    decimal? Remaining,
    long Tokens,
    decimal Overage,
    string? Window,
    Instant? ResetsAt,
    int[] Warnings,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] DenialView? Denial)
{
    /// <summary>The rate limit that is nearest to being reached. It goes into the RateLimit header fields.</summary>
    [Id(0), JsonIgnore] public RateView? Rate { get; init; }

    private static readonly int[] NoWarnings = [];

    /// <summary>Smallest units as whole ones with the meter's decimals.</summary>
    public static EntitlementView Of(Entitlement e) => new(
        e.Feature.Id, e.HasAccess, e.Value,
        e.Limit is { } limit ? Quantity.ToDecimal(limit, e.Decimals) : null,
        Quantity.ToDecimal(e.Used, e.Decimals),
        Quantity.ToDecimal(e.Held, e.Decimals),
        e.Remaining is { } remaining ? Quantity.ToDecimal(remaining, e.Decimals) : null,
        e.Tokens,
        Quantity.ToDecimal(e.Overage, e.Decimals),
        e.Window is { } window ? Spelling.Of(window) : null,
        e.ResetsAt,
        e.Warning == 0 ? NoWarnings : [e.Warning],
        e.Denial is { } denial ? DenialView.Of(denial) : null)
    {
        Rate = e.Rate is { } rate
            ? new RateView(Spelling.Of(rate.Limit.Window), Quantity.ToDecimal(rate.Limit.Limit, e.Decimals), Quantity.ToDecimal(rate.Remaining, e.Decimals), rate.Until)
            : null,
    };
}

/// <summary>A rate limit in its running window, in whole units.</summary>
[GenerateSerializer, Alias("RateView"), Immutable]
public sealed record RateView(string Window, decimal Limit, decimal Remaining, Instant Until);

/// <summary>An answer of "no".</summary>
/// <param name="Id">Enough to have the answer explained again later. Signed where it leaves the service.</param>
/// <param name="Code">quota_exceeded, rate_limited, spend_cap_reached, feature_not_in_plan, subscription_inactive, invite_only or organization_closed.</param>
/// <param name="Status">The HTTP status that a refused consume has.</param>
/// <param name="Message">A sentence that can be shown to a person.</param>
/// <param name="UpgradeTo">Plans that would give more.</param>
/// <param name="TokenPackages">Token packages that would help.</param>
/// <param name="ResetsAt">When waiting helps.</param>
[GenerateSerializer, Alias("DenialView"), Immutable]
public sealed record DenialView(
    string? Id, string Code, int Status, string Message, string Feature, decimal Requested, decimal? Remaining,
    IReadOnlyList<string> UpgradeTo, IReadOnlyList<string> TokenPackages, Instant? ResetsAt)
{
    /// <summary>The version of the state that was asked, and when: what the id is made of.</summary>
    [Id(0), JsonIgnore] public long Version { get; init; }

    /// <summary>When it was asked.</summary>
    [Id(1), JsonIgnore] public Instant At { get; init; }

    /// <summary>The catalog's version then.</summary>
    [Id(2), JsonIgnore] public int CatalogVersion { get; init; }

    /// <summary>When the use happened that was denied, if not then.</summary>
    [Id(3), JsonIgnore] public Instant? UsedAt { get; init; }

    /// <summary>What went before it in a request of which all is recorded or none.</summary>
    [Id(4), JsonIgnore] public IReadOnlyList<RecordUsage> Behind { get; init; } = [];

    /// <summary>Smallest units as whole ones with the meter's decimals. The id is signed where the denial leaves the service.</summary>
    public static DenialView Of(Denial d)
    {
        var decimals = d.Feature.Meter?.Decimals ?? 0;
        return new DenialView(null, d.Code, d.Status, d.Message, d.Feature.Id, Quantity.ToDecimal(d.Requested, decimals),
            d.Remaining is { } remaining ? Quantity.ToDecimal(remaining, decimals) : null, d.UpgradeTo, d.TokenPackages, d.ResetsAt)
        {
            Version = d.Version,
            At = d.At,
            CatalogVersion = d.CatalogVersion,
            UsedAt = d.UsedAt,
            Behind = d.Behind,
        };
    }
}

/// <summary>An entitlement with the steps by which it came about.</summary>
/// <param name="Version">The version of the state that was asked.</param>
[GenerateSerializer, Alias("ExplanationView"), Immutable]
public sealed record ExplanationView(EntitlementView Entitlement, long Version, Instant At, IReadOnlyList<StepView> Steps);

/// <summary>One rule with its outcome, the numbers it looked at (smallest units), and the versions of the events that they come from.</summary>
[GenerateSerializer, Alias("StepView"), Immutable]
public sealed record StepView(string Rule, string Outcome, IReadOnlyDictionary<string, string?> Numbers, IReadOnlyList<long> Events);

/// <param name="Plan">The plan in force; null when nothing is.</param>
/// <param name="Status">The subscription's status in Stripe's spelling; <c>none</c> without one.</param>
/// <param name="Version">The version of its last event.</param>
[GenerateSerializer, Alias("OrganizationView"), Immutable]
public sealed record OrganizationView(
    string Id, string? Plan, string Status, string TimeZone, bool Test, Instant OpenedAt, Instant? ClosedAt, long Version)
{
    /// <summary>What a test organization's own clock says, once it was moved.</summary>
    [Id(0), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public Instant? Clock { get; init; }
}

/// <summary>One recorded use.</summary>
/// <param name="Id"><c>ur_</c> and the version of its event.</param>
/// <param name="Quantity">Gauges: the change.</param>
/// <param name="Charge">What its overage comes to, rounded by itself; the invoice rounds once for each line.</param>
[GenerateSerializer, Alias("UsageRecordView"), Immutable]
public sealed record UsageRecordView(
    string Id, long Version, string Feature, decimal Quantity, Instant Timestamp, CoverageView Covered, Money Charge)
{
    /// <summary>Gauges: the value after it.</summary>
    [Id(0), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public decimal? Value { get; init; }

    /// <summary>Recorded past a limit because it had happened already.</summary>
    [Id(1), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] public bool OverLimit { get; init; }

    /// <summary>The tokens burned, by grant.</summary>
    [Id(2), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public GrantUse[]? Grants { get; init; }

    /// <summary>What the caller sent along.</summary>
    [Id(3), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public IReadOnlyDictionary<string, string>? Metadata { get; init; }

    /// <summary>The hold that it settled.</summary>
    [Id(4), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Hold { get; init; }

    /// <summary>It was taken back: no sum has it.</summary>
    [Id(5), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] public bool Voided { get; init; }

    /// <summary>The record that it took the place of.</summary>
    [Id(6), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Corrects { get; init; }

    /// <summary>Lines for the next invoice, because its billing period is closed; in the answer to recording it.</summary>
    [Id(7), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public IReadOnlyList<InvoiceLineView>? Adjustments { get; init; }

    /// <summary>The feature's entitlement as it is now, in the answer to a consume.</summary>
    [Id(8), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public EntitlementView? Entitlement { get; init; }

    /// <summary>The record that an event stands for, priced in the catalog's currency.</summary>
    public static UsageRecordView Of(UsageRecorded e, Catalogs catalogs)
    {
        var decimals = catalogs.Feature(e.Feature)?.Meter?.Decimals ?? 0;
        var currency = catalogs.Current.Currency;
        var charge = e.UnitPrice is { } price ? Pricing.Line(e.Overage, decimals, price, currency) : Pricing.Round(Pricing.Exact(e.Tiers ?? [], decimals, currency));
        return new UsageRecordView(Ids.UsageRecord(e.Version), e.Version, e.Feature, Ledger.Quantity.ToDecimal(e.Quantity, decimals), e.EffectiveAt,
            CoverageView.Of(e.Allowance, e.ByTokens, e.Overage, decimals), new Money(charge, currency))
        {
            Value = e.Gauge is { } value ? Ledger.Quantity.ToDecimal(value, decimals) : null,
            OverLimit = e.OverLimit,
            Grants = e.Grants,
            Metadata = e.Metadata,
            Hold = e.Hold,
            Corrects = e.Corrects,
        };
    }
}

/// <summary>A usage record that was taken back.</summary>
/// <param name="Id">The record's.</param>
/// <param name="Version">Of the event that took it back.</param>
/// <param name="Taken">What covered it.</param>
/// <param name="Shifted">Overage of other records that the freed allowance covers now.</param>
/// <param name="Returned">Tokens that went back to their grants: as remaining, or expired or revoked with them meanwhile.</param>
/// <param name="Adjustments">Lines for the next invoice, where its billing period is closed.</param>
/// <param name="Entitlement">The feature's as it is now.</param>
[GenerateSerializer, Alias("UsageVoidView"), Immutable]
public sealed record UsageVoidView(
    string Id, long Version, string Feature, decimal Quantity, CoverageView Taken, decimal Shifted, IReadOnlyList<TokenReturn> Returned,
    IReadOnlyList<InvoiceLineView> Adjustments, string? Reason, EntitlementView? Entitlement)
{
    /// <summary>Smallest units as whole ones with the meter's decimals.</summary>
    public static UsageVoidView Of(UsageVoided e, IEnumerable<InvoiceLineView> adjustments, Catalogs catalogs)
    {
        var decimals = catalogs.Feature(e.Feature)?.Meter?.Decimals ?? 0;
        return new UsageVoidView(e.Record, e.Version, e.Feature, Ledger.Quantity.ToDecimal(e.Quantity, decimals), CoverageView.Of(e.Allowance, e.ByTokens, e.Overage, decimals),
            Ledger.Quantity.ToDecimal(e.Shifted, decimals), e.Returned ?? [], [.. adjustments], e.Reason, null);
    }
}

/// <summary>A usage record with the steps by which it was decided, and what it changed.</summary>
/// <param name="Version">The version of the state that was asked: the one before the record.</param>
[GenerateSerializer, Alias("UsageExplanationView"), Immutable]
public sealed record UsageExplanationView(UsageRecordView Record, long Version, Instant At, IReadOnlyList<StepView> Steps);

/// <summary>A whole organization at one time, as it was recorded by then.</summary>
/// <param name="At">The time that was asked for.</param>
/// <param name="Version">Of the last event by then.</param>
/// <param name="Usage">Counters and gauges, feature by feature.</param>
/// <param name="PendingLines">For the next invoice.</param>
/// <param name="Invoices">Newest first.</param>
/// <param name="Voided">Usage records that were taken back by then.</param>
/// <param name="DueAt">When something was due next by the organization's own clock.</param>
/// <param name="Entitlements">Every one as it would have been answered then, each for one unit.</param>
[GenerateSerializer, Alias("StateView"), Immutable]
public sealed record StateView(
    Instant At, long Version, OrganizationView Organization, SubscriptionView Subscription, UsageView Usage, TokensView Tokens, IReadOnlyList<HoldView> Holds,
    IReadOnlyList<OverrideView> Overrides, SpendCapsView SpendCaps, BillingTermsView BillingTerms, IReadOnlyList<InvoiceLineView> PendingLines,
    IReadOnlyList<InvoiceView> Invoices, TopUpView TopUp, IReadOnlyList<string> Customers, IReadOnlyList<string> Invitations, IReadOnlyList<string> Voided, Instant? DueAt,
    IReadOnlyList<EntitlementView> Entitlements);

/// <summary>A reservation for work in progress.</summary>
/// <param name="Id"><c>ho_</c> and the version of its event.</param>
/// <param name="Covered">What is reserved for it: allowance, what tokens pay for, and overage.</param>
/// <param name="ExpiresAt">When what it holds is free again, unless it is settled or released before.</param>
[GenerateSerializer, Alias("HoldView"), Immutable]
public sealed record HoldView(string Id, string Feature, decimal Quantity, CoverageView Covered, Instant PlacedAt, Instant ExpiresAt)
{
    /// <summary>The tokens held, by grant.</summary>
    [Id(0), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public IReadOnlyList<GrantUse>? Grants { get; init; }

    /// <summary>What the caller sent along.</summary>
    [Id(1), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public IReadOnlyDictionary<string, string>? Metadata { get; init; }

    /// <summary>The feature's entitlement as it is now, in the answer to placing it.</summary>
    [Id(2), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public EntitlementView? Entitlement { get; init; }

    /// <summary>Smallest units as whole ones with the meter's decimals.</summary>
    public static HoldView Of(Hold h, Catalogs catalogs)
    {
        var decimals = catalogs.Feature(h.Feature)?.Meter?.Decimals ?? 0;
        return new HoldView(h.Id, h.Feature, Ledger.Quantity.ToDecimal(h.Quantity, decimals), CoverageView.Of(h.Allowance, h.ByTokens, h.Overage, decimals), h.PlacedAt, h.ExpiresAt)
        {
            Grants = h.Grants.IsEmpty ? null : h.Grants,
            Metadata = h.Metadata,
        };
    }

    /// <summary>As it was placed, whatever became of it since.</summary>
    public static HoldView Of(HoldPlaced e, Catalogs catalogs) =>
        Of(new Hold(Ids.Hold(e.Version), e.Feature, e.Quantity, e.Allowance, e.ByTokens, e.Overage, [.. e.Grants ?? []], e.EffectiveAt, e.ExpiresAt, e.Metadata), catalogs);
}

/// <summary>How a hold ended.</summary>
/// <param name="Outcome">settled or released.</param>
/// <param name="Usage">The use that was recorded; null when there was none.</param>
/// <param name="Entitlement">The feature's as it is now.</param>
[GenerateSerializer, Alias("HoldEndView"), Immutable]
public sealed record HoldEndView(
    string Id, string Outcome, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] UsageRecordView? Usage,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] EntitlementView? Entitlement);

/// <summary>What the organization gets of a feature instead of what its plan says.</summary>
/// <param name="Allowance">Metered features: whole units in the window; a gauge's limit. Null when it is unlimited, and for boolean features, which are on.</param>
/// <param name="Unlimited">Metered features: there is no limit.</param>
/// <param name="Until">Null stands until it is removed.</param>
/// <param name="Version">Of the event that set it.</param>
[GenerateSerializer, Alias("OverrideView"), Immutable]
public sealed record OverrideView(string Feature, decimal? Allowance, bool Unlimited, Instant? Until, string? Reason, long Version)
{
    /// <summary>Smallest units as whole ones with the meter's decimals.</summary>
    public static OverrideView Of(LimitOverride o, Catalogs catalogs)
    {
        var meter = catalogs.Feature(o.Feature)?.Meter;
        return new OverrideView(o.Feature, o.Allowance is { } units ? Quantity.ToDecimal(units, meter?.Decimals ?? 0) : null,
            meter is not null && o.Allowance is null, o.Until, o.Reason, o.Version);
    }
}

/// <summary>The most that is charged for overage in one billing period.</summary>
/// <param name="Cap">Over all features; null is no cap.</param>
/// <param name="Charged">For overage in the running billing period, over all features.</param>
[GenerateSerializer, Alias("SpendCapsView"), Immutable]
public sealed record SpendCapsView(PeriodView Period, Money? Cap, Money Charged, IReadOnlyList<FeatureCapView> Features);

/// <summary>One feature's cap, and what is charged for its overage.</summary>
[GenerateSerializer, Alias("FeatureCapView"), Immutable]
public sealed record FeatureCapView(string Feature, Money Cap, Money Charged);

/// <summary>What covered a quantity, in units of the meter: the three add up to it.</summary>
[GenerateSerializer, Alias("CoverageView"), Immutable]
public sealed record CoverageView(decimal Allowance, decimal Tokens, decimal Overage)
{
    /// <summary>Smallest units as whole ones.</summary>
    public static CoverageView Of(long allowance, long tokens, long overage, int decimals) => new(
        Quantity.ToDecimal(allowance, decimals), Quantity.ToDecimal(tokens, decimals), Quantity.ToDecimal(overage, decimals));
}

/// <summary>Use in the running billing period, of every metered feature.</summary>
/// <param name="Charge">What is owed for usage so far: the lines' charges.</param>
/// <param name="Unbilled">What of it is on no invoice yet.</param>
[GenerateSerializer, Alias("UsageView"), Immutable]
public sealed record UsageView(PeriodView Period, string? Plan, IReadOnlyList<UsageLineView> Usage, Money Charge, Money Unbilled);

/// <summary>A stretch of time: <c>Start</c> inclusive, <c>End</c> exclusive.</summary>
[GenerateSerializer, Alias("PeriodView"), Immutable]
public sealed record PeriodView(Instant Start, Instant End);

/// <param name="Quantity">Used in the billing period; a gauge's value now.</param>
/// <param name="UnitPrice">Major units for one whole unit, as text; null where the catalog has none.</param>
/// <param name="ListCost">Quantity (of a gauge: its peak) × unit price, whoever pays.</param>
/// <param name="Charge">What is owed for it.</param>
/// <param name="Windows">What was used in each running window.</param>
[GenerateSerializer, Alias("UsageLineView"), Immutable]
public sealed record UsageLineView(
    string Feature, string Name, string Unit, decimal Quantity, decimal? Limit, decimal? Remaining, Instant? ResetsAt, CoverageView Covered,
    string? UnitPrice, Money? ListCost, Money Charge, IReadOnlyList<WindowView> Windows)
{
    /// <summary>What of the charge is on no invoice yet.</summary>
    [Id(0)] public required Money Unbilled { get; init; }

    /// <summary>Gauges: the greatest value in the period, which is what is billed.</summary>
    [Id(1), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public decimal? Peak { get; init; }
}

/// <summary>What was used in one running window.</summary>
/// <param name="Window">hour, day, month, period or lifetime.</param>
/// <param name="End">When it turns; null when it never does.</param>
[GenerateSerializer, Alias("WindowView"), Immutable]
public sealed record WindowView(string Window, decimal Used, Instant Start, Instant? End);

/// <param name="Balance">What can be burned now.</param>
/// <param name="Debt">Burned tokens whose money went back. Shown; never taken from other grants by itself.</param>
[GenerateSerializer, Alias("TokensView"), Immutable]
public sealed record TokensView(long Balance, long Debt, IReadOnlyList<GrantView> Grants);

/// <summary>One grant. Its books: granted = consumed + held + expired + revoked + remaining.</summary>
/// <param name="Kind">purchased, granted or promotional.</param>
/// <param name="Paid">Purchases: what was paid.</param>
[GenerateSerializer, Alias("GrantView"), Immutable]
public sealed record GrantView(
    string Id, string Kind, int Priority, Instant GrantedAt, Instant? ExpiresAt, long Granted, long Consumed, long Held, long Expired, long Revoked,
    long Remaining, long Debt, string? Package, string? Payment, Money? Paid);

/// <summary>Automatic top-up.</summary>
/// <param name="Enabled">Whether it buys. It does not without terms, nor when it switched itself off.</param>
/// <param name="MaxCount">The most that are asked for in one calendar month, paid or not.</param>
/// <param name="Pending">The one that was asked for and has no answer yet.</param>
/// <param name="Failures">Failed payments in a row.</param>
/// <param name="SwitchedOff">Why it switched itself off: payments_failed, package_not_sold or price_above_limit.</param>
/// <param name="NextAt">When the next one will be asked for if nothing changes; null when tokens are not short or one is pending.</param>
[GenerateSerializer, Alias("TopUpView"), Immutable]
public sealed record TopUpView(
    bool Enabled, string? TokenPackage, long? Threshold, int? MaxCount, Money? MaxAmount, int? CoolOffMinutes, PendingTopUpView? Pending, TopUpMonthView Month,
    int Failures, string? SwitchedOff, Instant? LastAt, Instant? NextAt);

/// <param name="Amount">What it costs.</param>
[GenerateSerializer, Alias("PendingTopUpView"), Immutable]
public sealed record PendingTopUpView(string Id, string TokenPackage, long Tokens, Money Amount, Instant RequestedAt);

/// <summary>What was asked for in the running calendar month of the organization's zone.</summary>
[GenerateSerializer, Alias("TopUpMonthView"), Immutable]
public sealed record TopUpMonthView(Instant Start, Instant End, int Count, Money Amount);

/// <summary>The plan in force, the subscription behind it and its payments.</summary>
/// <param name="Id">The subscription's id at Stripe, or <c>ls_</c> and the version of its event; null without one.</param>
/// <param name="Status">Stripe's spelling; <c>active</c> for a plan that an operator set; <c>none</c> without a subscription.</param>
/// <param name="Source">fallback, operator, subscription or none: where the plan in force comes from.</param>
/// <param name="SubscribedPlan">The plan of the subscription, which is not in force when it gives no access.</param>
/// <param name="GraceUntil">Past due: until when there is still access.</param>
[GenerateSerializer, Alias("SubscriptionView"), Immutable]
public sealed record SubscriptionView(
    string? Plan, int CatalogVersion, string Status, string Source, string? Id, string? SubscribedPlan, string? Interval, PeriodView Period,
    Instant? TrialEnd, bool CancelAtPeriodEnd, Instant? CancelAt, Instant? CanceledAt, Instant? EndedAt, Instant? GraceUntil,
    IReadOnlyList<PaymentView> Payments)
{
    /// <summary>Who keeps the subscription and charges for it: ledger or stripe; null without one that goes on.</summary>
    [Id(0)] public string? KeptBy { get; init; }

    /// <summary>Whose it is at Stripe; null without one there that goes on.</summary>
    [Id(1)] public string? Customer { get; init; }

    /// <summary>What it costs for a period, by the catalog version that it was sold; null where that has no price.</summary>
    [Id(2)] public Money? Price { get; init; }

    /// <summary>What changes at the period's end.</summary>
    [Id(3)] public ScheduledChangeView? Scheduled { get; init; }

    /// <summary>Kept by the ledger: whether there is something to pay with when a trial ends.</summary>
    [Id(4)] public bool? PaymentMethod { get; init; }

    /// <summary>Since when it is paused.</summary>
    [Id(5)] public Instant? PausedAt { get; init; }

    /// <summary>When a plan that an operator gave for a time ends.</summary>
    [Id(6)] public Instant? Until { get; init; }

    /// <summary>Whether the organization had its one trial.</summary>
    [Id(7)] public bool TrialUsed { get; init; }

    /// <summary>What the caller must do for it to go on: none, confirm_payment or confirm_setup (with the client secret, in the browser), add_payment_method, pay, resume.</summary>
    [Id(8)] public string Next { get; init; } = "none";

    /// <summary>At Stripe, in the answer to whoever started or changed it: what a payment or a payment method is confirmed with.</summary>
    [Id(9), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? ClientSecret { get; init; }
}

/// <param name="Status">paid, failed or void.</param>
[GenerateSerializer, Alias("PaymentView"), Immutable]
public sealed record PaymentView(
    string Invoice, string Status, Money Amount, int FailedAttempts, Instant? FirstFailedAt, Instant? PaidAt);
