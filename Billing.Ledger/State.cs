using System.Collections.Immutable;
using NodaTime;

namespace Billing.Ledger;

/// <summary>
/// Everything known of one organization: the fold of its events. Immutable, so that publishing it is one reference write.
/// </summary>
public sealed record State
{
    public required string Organization { get; init; }

    /// <summary>The version of the last event; 0 before the first.</summary>
    public long Version { get; init; }

    /// <summary>When the last event was recorded. Time never runs backwards past it, whatever a machine's clock says.</summary>
    public Instant RecordedAt { get; init; }

    public Account Account { get; init; } = Account.None;

    public SubscriptionSlice Subscriptions { get; init; } = SubscriptionSlice.None;

    /// <summary>One entry for each metered feature that was ever used.</summary>
    public ImmutableArray<FeatureUse> Usage { get; init; } = [];

    /// <summary>In the order in which they are burned.</summary>
    public ImmutableArray<TokenGrant> Grants { get; init; } = [];

    /// <summary>Reservations that have not ended, oldest first.</summary>
    public ImmutableArray<Hold> Holds { get; init; } = [];

    /// <summary>What became of the last reservations that ended, oldest first. The journal knows of the others.</summary>
    public ImmutableArray<EndedHold> EndedHolds { get; init; } = [];

    /// <summary>What the organization gets instead of what its plan says.</summary>
    public ImmutableArray<LimitOverride> Overrides { get; init; } = [];

    public BillingSlice Billing { get; init; } = BillingSlice.None;

    public AlertSlice Alerts { get; init; } = AlertSlice.None;

    /// <summary>The versions of usage records that were voided, ascending.</summary>
    public ImmutableArray<long> Voided { get; init; } = [];

    /// <summary>Where the windows began that ran when the anchor or the time zone last moved: no window that is counted anew begins before.</summary>
    public WindowCuts Cuts { get; init; } = WindowCuts.None;

    /// <summary>When something is due by the organization's own clock; null when nothing will be.</summary>
    public Instant? DueAt { get; init; }

    /// <summary><see cref="DueAt"/> by the service's clock.</summary>
    public Instant? WakeAt => DueAt - Account.Ahead;

    public bool IsOpened => Account.OpenedAt is not null;

    public bool IsClosed => Account.ClosedAt is not null;

    public static State Empty(string organization) => new() { Organization = organization };

    /// <summary>The time to decide by: the clock's (a test organization's own), but never before what is recorded.</summary>
    public Instant Now(Instant clock) => Instant.Max(clock + Account.Ahead, RecordedAt);

    /// <summary>The window of this kind at this time. What is used counts in its counter's window, which may have been moved.</summary>
    public Bounds WindowAt(Window kind, Instant at)
    {
        var window = TimeWindows.At(kind, Subscriptions.Cycle, Account.Zone, Account.OpenedAt ?? at, at);
        return kind switch
        {
            Window.Day => TimeWindows.Cut(window, Cuts.Day, at),
            Window.Month => TimeWindows.Cut(window, Cuts.Month, at),
            Window.Period => TimeWindows.Cut(window, Cuts.Period, at),
            _ => window,
        };
    }

    /// <summary>The same state, with the windows that run now as where the ones of a new anchor or zone are cut.</summary>
    internal State CutAt(Instant at) =>
        this with { Cuts = new WindowCuts(WindowAt(Window.Day, at).Start, WindowAt(Window.Month, at).Start, WindowAt(Window.Period, at).Start) };

    public FeatureUse? Use(string feature)
    {
        foreach (var use in Usage)
            if (use.Feature == feature) return use;
        return null;
    }

    /// <summary>Total: every event is taken as it is, whatever the state.</summary>
    public State Evolve(LedgerEvent e)
    {
        var state = e switch
        {
            UsageRecorded x => Ledger.Usage.Evolve(this, x),
            QuotaReset x => Ledger.Usage.Evolve(this, x),
            UsageVoided x => Corrections.Evolve(this, x),
            HoldPlaced x => Ledger.Holds.Evolve(this, x),
            HoldEnded x => Ledger.Holds.Evolve(this, x),
            TokensPurchased x => Tokens.Evolve(this, x),
            PurchaseDated x => Tokens.Evolve(this, x),
            TokensGranted x => Tokens.Evolve(this, x),
            TokensRevoked x => Tokens.Evolve(this, x),
            TokensExpired x => Tokens.Evolve(this, x),
            TopUpConfigured x => TopUps.Evolve(this, x),
            TopUpRequested x => TopUps.Evolve(this, x),
            TopUpEnded x => TopUps.Evolve(this, x),
            TopUpSwitchedOff x => TopUps.Evolve(this, x),
            AlertRaised x => Ledger.Alerts.Evolve(this, x),
            LinesAdded x => Invoices.Evolve(this, x),
            LinesBilledAtStripe x => Invoices.Evolve(this, x),
            InvoiceCreated x => Invoices.Evolve(this, x),
            InvoiceFinalized x => Invoices.Evolve(this, x),
            InvoiceSettled x => Invoices.Evolve(this, x),
            CreditGranted x => Invoices.Evolve(this, x),
            BillingTermsSet x => Invoices.Evolve(this, x),
            SpendCapsSet x => SpendCaps.Evolve(this, x),
            OverrideSet x => Ledger.Overrides.Evolve(this, x),
            SubscriptionChanged x => Ledger.Subscriptions.Evolve(this, x),
            PaymentRecorded x => Ledger.Subscriptions.Evolve(this, x),
            PaymentVoided x => Ledger.Subscriptions.Evolve(this, x),
            OrganizationOpened x => Accounts.Evolve(this, x),
            OrganizationClosed x => Accounts.Evolve(this, x),
            TimeZoneChanged x => Accounts.Evolve(this, x),
            ClockAdvanced x => Accounts.Evolve(this, x),
            CustomerLinked x => Accounts.Evolve(this, x),
            InvitationGiven x => Accounts.Evolve(this, x),
            _ => throw new InvalidOperationException($"The ledger has no rule for {e.GetType().Name}."),
        };
        // UsageRecorded sets these itself: one copy of the state less on the hot path.
        return e is UsageRecorded ? state : state with { Version = e.Version, RecordedAt = e.RecordedAt };
    }

    /// <summary>The state after these events.</summary>
    public State Evolve(IEnumerable<LedgerEvent> events) => events.Aggregate(this, (state, e) => state.Evolve(e));
}

/// <summary>Who the organization is to the ledger. Names and addresses are not here: they can be erased, events cannot.</summary>
/// <param name="Ahead">How far a test organization's clock is ahead of the service's.</param>
public sealed record Account(
    Instant? OpenedAt, Instant? ClosedAt, DateTimeZone Zone, bool Test, ImmutableArray<string> Customers, ImmutableArray<string> Invitations, Duration Ahead = default)
{
    public static readonly Account None = new(null, null, DateTimeZone.Utc, false, [], []);
}

/// <summary>See <see cref="State.Cuts"/>.</summary>
public sealed record WindowCuts(Instant Day, Instant Month, Instant Period)
{
    public static readonly WindowCuts None = new(Instant.MinValue, Instant.MinValue, Instant.MinValue);
}

/// <summary>What is known of plans, subscriptions and their payments.</summary>
/// <param name="OperatorPlan">The plan that an operator set, or that the organization was opened on.</param>
/// <param name="Followed">Every subscription that Stripe told of, each as its greatest snapshot, by id.</param>
/// <param name="GaveAccessAt">The newest time at which Stripe is known to have sent a subscription that gives access.</param>
/// <param name="Payments">Every invoice of which an attempt to pay is known, by id.</param>
public sealed record SubscriptionSlice(
    OperatorPlan? OperatorPlan, ImmutableArray<Subscription> Followed, Instant? GaveAccessAt, ImmutableArray<InvoicePayment> Payments, BillingCycle Cycle)
{
    public static readonly SubscriptionSlice None = new(null, [], null, [], BillingCycle.Calendar(DateTimeZone.Utc));

    public ImmutableArray<ProratedLimit> Prorated { get; init; } = [];

    /// <summary>The organization's own subscription: the one not ended that the ledger keeps, or else that was created last; when all ended, the last of them.</summary>
    public Subscription? Own { get; init; }

    /// <summary>Whether the organization ever had a trial: there is one for each.</summary>
    public bool TrialUsed { get; init; }
}

/// <summary>One invoice's payment. Paid beats failed, in whatever order they are heard of.</summary>
[GenerateSerializer, Alias("InvoicePayment"), Immutable]
public sealed record InvoicePayment(
    string Invoice, string? Subscription, bool Paid, int FailedAttempts, Instant? FirstFailedAt, Instant? PaidAt, long Amount, string Currency)
{
    /// <summary>When it was taken back; nothing is owed then.</summary>
    [Id(0)] public Instant? VoidedAt { get; init; }
}

/// <summary>Use of one metered feature: its running windows, or its value when it is a gauge.</summary>
public sealed record FeatureUse(string Feature, ImmutableArray<Counter> Counters, Gauge? Gauge)
{
    /// <summary>Closed windows that late usage and corrections may still fall into, oldest first.</summary>
    public ImmutableArray<PastWindow> Past { get; init; } = [];

    /// <summary>The counter of this kind, if its window is still running.</summary>
    public Counter? Running(Window kind, Instant now)
    {
        foreach (var counter in Counters)
            if (counter.Window == kind && now < counter.End) return counter;
        return null;
    }
}

/// <summary>What was used in one running window, in smallest units: <c>Used = Allowance + ByTokens + Overage</c>.</summary>
/// <param name="Counted">The window: one object for all the counters that it has.</param>
/// <param name="Priced">The overage by unit price (major units); overage at no charge is not in it. Billing period only.</param>
/// <param name="FirstVersion">The first event that counts in it; <paramref name="LastVersion"/> the last.</param>
public sealed record Counter(
    CountedWindow Counted, long Used, long Allowance, long ByTokens, long Overage, ImmutableArray<PricedUse> Priced, long FirstVersion, long LastVersion)
{
    public Window Window => Counted.Window;

    public Instant Start => Counted.Start;

    public Instant End => Counted.End;
}

/// <summary>A closed window, as late usage and corrections left it.</summary>
/// <param name="Plan">The plan in force as it ended.</param>
public sealed record PastWindow(Window Window, Instant Start, Instant End, long Used, long Allowance, long ByTokens, long Overage, string? Plan, int CatalogVersion)
{
    /// <summary>As <see cref="WindowReset.Limit"/>.</summary>
    public long? Limit { get; init; }

    /// <summary>As a counter's.</summary>
    public ImmutableArray<PricedUse> Priced { get; init; } = [];

    /// <summary>The events that counted in it while it ran; 0 when none did.</summary>
    public long FirstVersion { get; init; }

    public long LastVersion { get; init; }

    /// <summary>No window of its own: the anchor moved, and what was used in this stretch counts in the window that begins at its end.</summary>
    public bool Carried { get; init; }

    public Bounds Bounds => new(Start, End);

    public CountedWindow Counted => new(Window, Start, End);
}

/// <param name="Peak">The greatest value in the billing period (a month of it, where it is longer) that ends at <paramref name="PeakUntil"/>.</param>
/// <param name="Billed">It stands past what the plan includes, or did since it was last billed, and is billed for its peak at <paramref name="PeakUntil"/>.</param>
public sealed record Gauge(long Value, long Peak, Instant PeakUntil, long LastVersion, bool Billed = false)
{
    /// <summary>The peak of the running billing period: when one has turned, it began with what the gauge stood at.</summary>
    public long PeakAt(Instant now) => now < PeakUntil ? Peak : Value;
}

/// <summary>
/// A lot of prepaid tokens. Its books: <c>Granted = Consumed + Held + Expired + Revoked + Remaining</c>
/// (Remaining is what the other numbers leave, and never below zero).
/// </summary>
/// <param name="Debt">Tokens whose money went back after they were burned. Outside the equation: shown, not taken from other grants.</param>
[GenerateSerializer, Alias("TokenGrant"), Immutable]
public sealed record TokenGrant(
    string Id, GrantKind Kind, int Priority, Instant GrantedAt, Instant? ExpiresAt, long Granted, long Consumed, long Held, long Expired, long Revoked,
    long Remaining, long Debt, string? Package, string? Payment, long Amount, string? Currency)
{
    public bool IsLive(Instant now) => Remaining > 0 && (ExpiresAt is not { } end || now < end);
}

/// <summary>A reservation. What it holds: <c>Quantity = Allowance + ByTokens + Overage</c>, in smallest units.</summary>
/// <param name="Id"><c>ho_</c> and the version of its event.</param>
/// <param name="Grants">The tokens held, by grant.</param>
public sealed record Hold(
    string Id, string Feature, long Quantity, long Allowance, long ByTokens, long Overage, ImmutableArray<GrantUse> Grants, Instant PlacedAt, Instant ExpiresAt,
    IReadOnlyDictionary<string, string>? Metadata)
{
    public bool IsLive(Instant now) => now < ExpiresAt;
}

/// <param name="Version">Of the event that placed it.</param>
public readonly record struct EndedHold(long Version, string Feature, HoldOutcome Outcome, Instant At);

/// <param name="Allowance">Smallest units; null is unlimited. Boolean features: switched on.</param>
public sealed record LimitOverride(string Feature, long? Allowance, Instant? Until, string? Reason, long Version)
{
    public bool IsLive(Instant now) => Until is not { } end || now < end;
}

/// <summary>What is billed, and how.</summary>
/// <param name="Pending">Lines for the next invoice.</param>
/// <param name="Invoices">Oldest first; their lines are in their events.</param>
/// <param name="Credits">Credit balances above zero, one for each currency, taken by coming invoices.</param>
/// <param name="BilledAt">When the overage so far is to be billed; null when there is none.</param>
public sealed record BillingSlice(
    ImmutableArray<InvoiceLine> Pending, ImmutableArray<InvoiceHead> Invoices, ImmutableArray<Money> Credits, TaxTerms? Tax, DiscountTerms? Discount,
    long? Cap, ImmutableArray<FeatureCap> FeatureCaps, Instant? BilledAt)
{
    public static readonly BillingSlice None = new([], [], [], null, null, null, [], null);

    /// <summary>What the kept subscription was charged last, once it is on an invoice.</summary>
    public InvoicedCharge? Charge { get; init; }

    public long Credit(string currency)
    {
        foreach (var credit in Credits)
            if (credit.Currency == currency) return credit.Amount;
        return 0;
    }
}

/// <summary>An invoice without its lines.</summary>
/// <param name="Id"><c>in_</c> and the version of its event.</param>
/// <param name="Number">Null for a draft.</param>
/// <param name="Draft">A draft's lines, which are pending again when it is voided.</param>
public sealed record InvoiceHead(
    string Id, long Version, string? Number, InvoiceStatus Status, string Currency, long Total, long Credit, long AmountDue, Instant CreatedAt, Instant? FinalizedAt,
    Instant? DueAt, Instant? SettledAt, string? Subscription, ImmutableArray<InvoiceLine> Draft);

/// <summary>A charge for a plan, with its part of its invoice's discount.</summary>
public sealed record InvoicedCharge(string Invoice, BaseCharge Charged, long Discount);

/// <summary>What was warned of, and automatic top-up.</summary>
/// <param name="TokensLow">The balance fell below the catalog's threshold, and no tokens came since.</param>
/// <param name="TrialWarned">The trial's end that was warned of.</param>
/// <param name="Warned">The last threshold that an alert was raised for, one for each feature.</param>
public sealed record AlertSlice(bool TokensLow, Instant? TrialWarned, ImmutableArray<UsageWarning> Warned, TopUpState? TopUp)
{
    public static readonly AlertSlice None = new(false, null, [], null);
}

/// <param name="Window">Null for a gauge, which is warned of once in a billing period.</param>
/// <param name="End">When that window ends.</param>
/// <param name="Limit">The limit that <paramref name="Percent"/> is of. Another limit has thresholds of its own.</param>
/// <param name="Version">Of the alert's event.</param>
public sealed record UsageWarning(string Feature, Window? Window, Instant End, long Limit, int Percent, long Version)
{
    /// <summary>Whether it was raised for this limit in this window. A window that was moved is known by its counter, which goes along.</summary>
    internal bool IsOf(Window? window, long limit, Instant end, Counter? counter) =>
        Window == window && Limit == limit && (End == end || Version > counter?.FirstVersion);
}

/// <summary>Automatic top-up, and what was asked for.</summary>
/// <param name="Pending">The request that has no answer yet: there is never more than one.</param>
/// <param name="LastAt">When the last one was asked for.</param>
/// <param name="Count">How many were asked for in the calendar month of <paramref name="LastAt"/>; <paramref name="Amount"/> likewise, in minor units.</param>
/// <param name="Failures">In a row.</param>
/// <param name="SwitchedOff">Why it switched itself off; null while it is on.</param>
/// <param name="LimitedUntil">The end of the month whose limit keeps the next one from being asked for.</param>
public sealed record TopUpState(
    TopUpTerms? Terms, PendingTopUp? Pending, Instant? LastAt, int Count, long Amount, int Failures, string? SwitchedOff, Instant? LimitedUntil)
{
    public static readonly TopUpState None = new(null, null, null, 0, 0, 0, null, null);
}

/// <param name="Id"><c>tu_</c> and the version of its event.</param>
[GenerateSerializer, Alias("PendingTopUp"), Immutable]
public sealed record PendingTopUp(string Id, string Package, long Tokens, long Amount, string Currency, Instant RequestedAt);
