using NodaTime;

namespace Billing.Ledger;

/// <summary>A named, numbered refusal. A value, never an exception: nothing was changed.</summary>
/// <param name="Kind">The name and, by its number, the place in the order of precedence.</param>
/// <param name="Message">What is wrong and what would be right, for the person who gets it.</param>
/// <param name="Field">The field of the request that it is about, if it is about one.</param>
/// <param name="Denial">The whole answer, when an entitlement was denied.</param>
[GenerateSerializer, Alias("Rejection"), Immutable]
public sealed record Rejection(RejectionKind Kind, string Message, string? Field = null, Denial? Denial = null)
{
    /// <summary>The stable code that callers see, such as <c>quota_exceeded</c>.</summary>
    public string Code => Spelling.Of(Kind);
}

/// <summary>
/// Every rejection, in order of precedence: when several apply, the one with the smallest number is given.
/// Identity comes first, then the organization, then the request's own sense, then the state, then the entitlement.
/// </summary>
[GenerateSerializer, Alias("RejectionKind")]
public enum RejectionKind
{
    // The command itself (409).
    CommandIdReused = 1,

    // The organization (404, 409, 410).
    OrganizationUnknown = 10,
    OrganizationExists = 11,
    OrganizationClosed = 12,

    // What the request names (404, 400, 422).
    FeatureUnknown = 20,
    PlanUnknown = 21,
    TokenPackageUnknown = 22,
    TimeZoneUnknown = 23,
    FeatureNotMetered = 24,
    FeatureNotGauge = 25,
    UnitMismatch = 26,
    UsageRecordUnknown = 27,
    HoldUnknown = 28,
    InvoiceUnknown = 29,
    PriceUnknown = 30,
    CatalogVersionUnknown = 31,
    TopUpUnknown = 32,
    FeatureIsGauge = 33,
    NoTrial = 34,

    // Its quantities and times (400).
    QuantityNotPositive = 40,
    QuantityTooLarge = 41,
    QuantityTooPrecise = 42,
    GaugeBelowZero = 43,
    TimestampInFuture = 44,
    BeforeOpening = 45,
    WindowClosed = 46,
    ExpiryInPast = 47,
    ExpiryTooFar = 48,
    ClockBackwards = 49,
    ClockTooFar = 50,

    // What stands already (409).
    NotATestOrganization = 60,
    SubscriptionExists = 61,
    NoSubscription = 62,
    SubscriptionAtStripe = 63,
    SubscriptionStateConflict = 64,
    TrialUsed = 65,
    PaymentMethodRequired = 66,
    UsageAlreadyVoided = 67,
    HoldEnded = 68,
    InvoiceStateConflict = 69,
    NothingToInvoice = 70,
    TooMany = 71,

    // Denials (the status is the denial's).
    SubscriptionInactive = 80,
    InviteOnly = 81,
    FeatureNotInPlan = 82,
    RateLimited = 83,
    QuotaExceeded = 84,
    SpendCapReached = 85,
}

/// <summary>The sentences, in one place so that they read alike.</summary>
public static class Rejections
{
    public static Rejection CommandIdReused(string commandId) => new(RejectionKind.CommandIdReused,
        $"The idempotency key of this request was used before with other content ({commandId}). Use a new key for a new request, and the same body for a repeat.",
        "Idempotency-Key");

    public static Rejection OrganizationUnknown(string id) => new(RejectionKind.OrganizationUnknown, $"There is no organization '{id}'.");

    public static Rejection OrganizationExists(string id) => new(RejectionKind.OrganizationExists, $"There is an organization '{id}' already.", "id");

    public static Rejection OrganizationClosed(string id) => new(RejectionKind.OrganizationClosed, $"The organization '{id}' is closed. It can be read, not changed.");

    public static Rejection FeatureUnknown(string id) => new(RejectionKind.FeatureUnknown, $"The catalog has no feature '{id}'.", "feature");

    public static Rejection PlanUnknown(string id) => new(RejectionKind.PlanUnknown, $"The catalog has no plan '{id}'.", "plan");

    public static Rejection TokenPackageUnknown(string id) => new(RejectionKind.TokenPackageUnknown, $"The catalog has no token package '{id}'.", "token_package");

    public static Rejection TimeZoneUnknown(string id) => new(RejectionKind.TimeZoneUnknown, $"'{id}' is no time zone. Write an IANA name such as Europe/Berlin.", "time_zone");

    public static Rejection FeatureNotMetered(string id) => new(RejectionKind.FeatureNotMetered, $"'{id}' is not metered: there is no use of it to record.", "feature");

    public static Rejection FeatureNotGauge(string id) => new(RejectionKind.FeatureNotGauge, $"'{id}' is no gauge: record its use with POST …/usage.", "feature");

    public static Rejection UnitMismatch(string feature, string unit) => new(RejectionKind.UnitMismatch, $"'{feature}' is counted in '{unit}'.", "unit");

    public static Rejection QuantityNotPositive(string field) => new(RejectionKind.QuantityNotPositive, "A quantity is more than 0. Only a gauge may be moved down.", field);

    public static Rejection QuantityTooLarge(int decimals) => new(RejectionKind.QuantityTooLarge,
        $"A quantity is at most {Quantity.ToDecimal(Quantity.MaxUnits, decimals)}.", "quantity");

    public static Rejection CounterFull(int decimals) => new(RejectionKind.QuantityTooLarge,
        $"At most {Quantity.ToDecimal(Quantity.MaxCounted, decimals)} are counted in one window.", "quantity");

    public static Rejection QuantityTooPrecise(decimal value, int decimals, string unit) => new(RejectionKind.QuantityTooPrecise,
        decimals == 0 ? $"{value} is too precise: '{unit}' is counted in whole numbers." : $"{value} is too precise: '{unit}' has at most {decimals} decimal places.", "quantity");

    public static Rejection GaugeBelowZero(decimal value) => new(RejectionKind.GaugeBelowZero, $"The gauge stands at {value} and cannot go below 0.", "quantity");

    public static Rejection TimestampInFuture(Instant now) => new(RejectionKind.TimestampInFuture,
        $"The timestamp is more than 5 minutes ahead of {now}. Send the time at which the use happened.", "timestamp");

    public static Rejection BeforeOpening(Instant opened) => new(RejectionKind.BeforeOpening, $"The organization was opened at {opened}; there is no use before that.", "timestamp");

    public static Rejection WindowClosed(Instant horizon) => new(RejectionKind.WindowClosed,
        $"The timestamp lies in a window that is closed for good. Use is taken from {horizon} on: late use at most {PastWindows.MaxLateDays} days old.", "timestamp");

    public static Rejection GaugeWindowClosed(Instant start) => new(RejectionKind.WindowClosed,
        $"The timestamp lies in a billing period that is closed, and a gauge stands where it stands now. The running one began at {start}; say the value with PUT …/gauges/….", "timestamp");

    public static Rejection UsageRecordUnknown(string id) => new(RejectionKind.UsageRecordUnknown, $"There is no usage record '{id}'.");

    public static Rejection UsageAlreadyVoided(string id) => new(RejectionKind.UsageAlreadyVoided, $"The usage record '{id}' was taken back already. A record that took its place has an id of its own.");

    public static Rejection ExpiryInPast() => new(RejectionKind.ExpiryInPast, "Tokens cannot expire before they are granted.", "expires_at");

    public static Rejection InvoiceUnknown(string invoice) => new(RejectionKind.InvoiceUnknown, $"There is no invoice '{invoice}'. Name it by its id (in_12) or its number.");

    public static Rejection InvoiceState(InvoiceHead invoice, string right) => new(RejectionKind.InvoiceStateConflict,
        $"The invoice {invoice.Number ?? invoice.Id} is {Spelling.Of(invoice.Status)}. {right}");

    public static Rejection NothingToInvoice(string? currency) => new(RejectionKind.NothingToInvoice,
        $"There is nothing to invoice{(currency is null ? "" : $" in '{currency}'")}: no line is pending, and no overage is without one.");

    public static Rejection CurrencyUnknown(string currency) => new(RejectionKind.PriceUnknown, $"The catalog sells nothing in '{currency}'.", "currency");

    public static Rejection AmountZero() => new(RejectionKind.QuantityNotPositive, "An amount is not 0: a charge is more, a credit is less.", "amount");

    public static Rejection AmountTooLarge() => new(RejectionKind.QuantityTooLarge, $"At most {Pricing.MaxAmount} minor units are taken.", "amount");

    public static Rejection TooManyLines(int most) => new(RejectionKind.TooMany, $"{most} lines wait for the next invoice already. Make an invoice of them first.");

    public static Rejection DiscountEnded() => new(RejectionKind.ExpiryInPast, "A discount cannot end before it begins.", "discount.until");

    public static Rejection PackagePriceUnknown(string package, string currency) => new(RejectionKind.PriceUnknown,
        $"The token package '{package}' has no price in {currency}. Choose one that has.", "token_package");

    public static Rejection TopUpUnknown(string id) => new(RejectionKind.TopUpUnknown, $"There is no top-up '{id}' that waits for an answer.");

    public static Rejection InviteOnly(string plan) => new(RejectionKind.InviteOnly, $"The plan '{plan}' is by invitation only.", "plan");

    public static Rejection PriceUnknown(Plan plan, BillingInterval interval, string currency) => new(RejectionKind.PriceUnknown,
        plan.Prices.IsEmpty ? $"The plan '{plan.Id}' has no price."
            : $"The plan '{plan.Id}' has no price for one {Spelling.Of(interval)} in {currency}. It has: {string.Join(", ", plan.Prices.Select(p => $"{Spelling.Of(p.Interval)} in {p.Amount.Currency}"))}.",
        "interval");

    public static Rejection NoTrial(string plan) => new(RejectionKind.NoTrial, $"The plan '{plan}' has no trial.", "trial");

    public static Rejection CatalogVersionUnknown(int version, int last) => new(RejectionKind.CatalogVersionUnknown,
        $"There is no version {version} of the catalog. There are 1 to {last}.", "to_version");

    public static Rejection PlanNotInVersion(string plan, int version) => new(RejectionKind.PlanUnknown, $"Version {version} of the catalog has no plan '{plan}'.", "to_version");

    public static Rejection UntilInPast() => new(RejectionKind.ExpiryInPast, "A plan cannot end before it is given.", "until");

    public static Rejection ClockBackwards(Instant now) => new(RejectionKind.ClockBackwards, $"The organization's clock stands at {now} and only goes forward.", "to");

    public static Rejection ClockTooFar(Instant most) => new(RejectionKind.ClockTooFar, $"A clock goes at most two years at a time, here to {most}.", "to");

    public static Rejection NotATestOrganization(string id) => new(RejectionKind.NotATestOrganization,
        $"'{id}' is no test organization: its clock is everybody's. Open one with \"test\": true.");

    public static Rejection SubscriptionExists(Subscription own) => new(RejectionKind.SubscriptionExists,
        $"There is a subscription {(own.Kept is null ? "at Stripe " : "")}already ({own.Id}): change it, or cancel it first.");

    public static Rejection NoSubscription() => new(RejectionKind.NoSubscription, "There is no subscription that goes on. Start one first.");

    public static Rejection SubscriptionAtStripe(string id) => new(RejectionKind.SubscriptionAtStripe, $"The subscription {id} is kept at Stripe: change it there, and the ledger follows.");

    public static Rejection SubscriptionStateConflict(Subscription own, string wayOut) => new(RejectionKind.SubscriptionStateConflict,
        $"The subscription is {Spelling.Of(own.Status).Replace('_', ' ')}. {wayOut}");

    public static Rejection TrialUsed() => new(RejectionKind.TrialUsed, "The organization had its trial: there is one for each.", "trial");

    public static Rejection PaymentMethodRequired(string plan) => new(RejectionKind.PaymentMethodRequired, $"The trial of '{plan}' needs a payment method.", "payment_method");

    public static Rejection FeatureIsGauge(string id) => new(RejectionKind.FeatureIsGauge,
        $"'{id}' is a gauge: it counts what there is, so there is nothing to reserve. Record its change with POST …/usage.", "feature");

    public static Rejection HoldUnknown(string id) => new(RejectionKind.HoldUnknown, $"There is no hold '{id}'.", "id");

    /// <summary>It ended so long ago that nobody looks for how.</summary>
    public static Rejection HoldEnded(string id) => new(RejectionKind.HoldEnded, $"The hold '{id}' has ended.", "id");

    public static Rejection HoldEnded(string id, HoldOutcome outcome, Instant at) => new(RejectionKind.HoldEnded, $"The hold '{id}' " + outcome switch
    {
        HoldOutcome.Settled => $"was settled at {at}. If the quantity was wrong, correct its usage record.",
        HoldOutcome.Released => $"was released at {at}. If there was use, record it with POST …/usage.",
        _ => $"expired at {at}, and what it held is free again. If there was use, record it with POST …/usage; \"enforce\": false records what has already happened.",
    }, "id");

    public static Rejection HoldTooShort() => new(RejectionKind.ExpiryInPast, $"A hold lasts at least {Holds.MinExpiry.TotalSeconds} second.", "expires_in");

    public static Rejection HoldTooLong() => new(RejectionKind.ExpiryTooFar, $"A hold lasts at most {Holds.MaxExpiry.TotalSeconds} seconds: {Holds.MaxExpiry.Days} days.", "expires_in");

    public static Rejection TooManyHolds() => new(RejectionKind.TooMany, $"At most {Holds.MaxOpen} holds are open at once. Settle or release some first.");

    public static Rejection OverrideNotMetered(Feature feature) => new(RejectionKind.FeatureNotMetered, feature.Type == FeatureType.Static
        ? $"'{feature.Id}' is a static feature: it has a value, which only a plan sets."
        : $"'{feature.Id}' is on or off: an override switches it on and has no allowance.", "feature");

    public static Rejection OverrideWithoutAllowance(string id) => new(RejectionKind.QuantityNotPositive,
        $"'{id}' is metered: give an allowance of 0 or more, or say that it is unlimited.", "allowance");

    public static Rejection OverrideInPast() => new(RejectionKind.ExpiryInPast, "An override cannot end before it begins.", "until");

    public static Rejection Denied(Denial denial) => new(denial.Kind, denial.Message, null, denial);
}
