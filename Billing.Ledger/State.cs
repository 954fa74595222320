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

    /// <summary>When the next quota reset or token expiry is due; null when nothing will be.</summary>
    public Instant? DueAt { get; init; }

    public bool IsOpened => Account.OpenedAt is not null;

    public bool IsClosed => Account.ClosedAt is not null;

    public static State Empty(string organization) => new() { Organization = organization };

    /// <summary>The time to decide by: the clock's, but never before what is recorded.</summary>
    public Instant Now(Instant clock) => Instant.Max(clock, RecordedAt);

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
            TokensPurchased x => Tokens.Evolve(this, x),
            PurchaseDated x => Tokens.Evolve(this, x),
            TokensGranted x => Tokens.Evolve(this, x),
            TokensRevoked x => Tokens.Evolve(this, x),
            TokensExpired x => Tokens.Evolve(this, x),
            SubscriptionChanged x => Ledger.Subscriptions.Evolve(this, x),
            PaymentRecorded x => Ledger.Subscriptions.Evolve(this, x),
            OrganizationOpened x => Accounts.Evolve(this, x),
            OrganizationClosed x => Accounts.Evolve(this, x),
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
public sealed record Account(Instant? OpenedAt, Instant? ClosedAt, DateTimeZone Zone, bool Test, ImmutableArray<string> Customers, ImmutableArray<string> Invitations)
{
    public static readonly Account None = new(null, null, DateTimeZone.Utc, false, [], []);
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

    /// <summary>The organization's own subscription: the one not ended that was created last; when all ended, the last of them.</summary>
    public Subscription? Own { get; init; }
}

/// <summary>One invoice's payment. Paid beats failed, in whatever order they are heard of.</summary>
public sealed record InvoicePayment(
    string Invoice, string? Subscription, bool Paid, int FailedAttempts, Instant? FirstFailedAt, Instant? PaidAt, long Amount, string Currency);

/// <summary>Use of one metered feature: its running windows, or its value when it is a gauge.</summary>
public sealed record FeatureUse(string Feature, ImmutableArray<Counter> Counters, Gauge? Gauge)
{
    /// <summary>The counter of this kind, if its window is still running.</summary>
    public Counter? Running(Window kind, Instant now)
    {
        foreach (var counter in Counters)
            if (counter.Window == kind && now < counter.End) return counter;
        return null;
    }
}

/// <summary>What was used in one running window, in smallest units: <c>Used = Allowance + ByTokens + Overage</c>.</summary>
/// <param name="Priced">The overage by unit price (major units); overage at no charge is not in it.</param>
/// <param name="FirstVersion">The first event that counts in it; <paramref name="LastVersion"/> the last.</param>
public sealed record Counter(
    Window Window, Instant Start, Instant End, long Used, long Allowance, long ByTokens, long Overage, long Held,
    ImmutableArray<PricedUse> Priced, long FirstVersion, long LastVersion);

public readonly record struct PricedUse(decimal UnitPrice, long Units);

/// <param name="Peak">The greatest value in the billing period that ends at <paramref name="PeakUntil"/>.</param>
public sealed record Gauge(long Value, long Peak, Instant PeakUntil, long LastVersion);

/// <summary>
/// A lot of prepaid tokens. Its books: <c>Granted = Consumed + Held + Expired + Revoked + Remaining</c>
/// (Remaining is what the other numbers leave, and never below zero).
/// </summary>
/// <param name="Debt">Tokens whose money went back after they were burned. Outside the equation: shown, not taken from other grants.</param>
public sealed record TokenGrant(
    string Id, GrantKind Kind, int Priority, Instant GrantedAt, Instant? ExpiresAt, long Granted, long Consumed, long Held, long Expired, long Revoked,
    long Remaining, long Debt, string? Package, string? Payment, long Amount, string? Currency)
{
    public bool IsLive(Instant now) => Remaining > 0 && (ExpiresAt is not { } end || now < end);
}
