using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Simulation.Audit;

namespace Billing.Tests.Simulation;

/// <summary>
/// The auditor's book of who the organization is and which plan it has: what operators set, what subscriptions there
/// are and what is known of their payments.
/// </summary>
internal sealed class PlanBook
{
    internal sealed class Payment
    {
        public required string Invoice;
        public string? Subscription;
        public bool Paid;
        public int Attempts;
        public Instant? FirstFailed, PaidAt, VoidedAt;
        public long Amount;
    }

    private readonly SortedDictionary<string, Subscription> subscriptions = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, Payment> payments = new(StringComparer.Ordinal);
    private readonly SortedSet<string> customers = new(StringComparer.Ordinal);
    private readonly List<string> invitations = [];
    private readonly SortedDictionary<string, OverrideSet> overrides = new(StringComparer.Ordinal);
    private readonly Dictionary<Window, Instant> cuts = [];
    private List<ProratedLimit> prorated = [];
    private OperatorPlan? given;
    private Instant? gaveAccess;
    private bool trialUsed;

    public bool TrialUsed => trialUsed;

    public Instant? Opened { get; private set; }

    public Instant? Closed { get; private set; }

    public DateTimeZone Zone { get; private set; } = DateTimeZone.Utc;

    public bool IsTest { get; private set; }

    public Duration Ahead { get; private set; }

    /// <summary>The one that counts: not ended before ended, then the one made last.</summary>
    public Subscription? Own { get; private set; }

    /// <summary>The subscription whose periods the windows follow; null while the calendar's months count.</summary>
    public Subscription? Cycle => Own is { Status: not (SubscriptionStatus.Canceled or SubscriptionStatus.IncompleteExpired or SubscriptionStatus.Incomplete) } ? Own : null;

    // ---- reading

    /// <summary>The plan and the version of the catalog that it is of; no plan where nothing gives one.</summary>
    public (Plan? Plan, int Version) InForce(Catalogs catalogs, Instant now)
    {
        if (given is { } set && (gaveAccess is null || set.SetAt > gaveAccess) && !(set.Until <= now)) return (Find(catalogs, set.Plan, set.CatalogVersion), set.CatalogVersion);
        if (Own is { } own && GivesAccess(own, catalogs, now)) return (Find(catalogs, own.Plan, own.CatalogVersion), own.CatalogVersion);
        var current = catalogs.All[^1];
        return (current.FallbackPlan is { } fallback ? Find(catalogs, fallback, current.Version) : null, current.Version);
    }

    private bool GivesAccess(Subscription own, Catalogs catalogs, Instant now)
    {
        if (own.Status is SubscriptionStatus.Trialing or SubscriptionStatus.Active) return true;
        if (own.Status != SubscriptionStatus.PastDue) return false;
        if (own.Kept is { } kept) return now < kept.GraceUntil;
        // Access goes on for the days of grace, from the first failure of what is unpaid.
        var ofOwn = payments.Values.Where(p => p.Subscription == own.Id).ToList();
        var failed = ofOwn.Where(p => !p.Paid && p.VoidedAt is null).Min(p => p.FirstFailed);
        if (failed is null && ofOwn.Exists(p => (p.Paid ? p.PaidAt : p.VoidedAt) >= own.Order?.EventCreatedAt)) return true;
        return now < (failed ?? own.PeriodStart) + Duration.FromDays(catalogs.All[^1].GraceDays);
    }

    private static Plan? Find(Catalogs catalogs, string id, int version) =>
        catalogs.All[version - 1].Plans.FirstOrDefault(p => p.Id == id) ?? catalogs.All[^1].Plans.FirstOrDefault(p => p.Id == id);

    /// <summary>What the organization gets of a feature: what this plan gives, with a live override in place of its limit.</summary>
    public PlanFeature? Given(Plan? plan, Feature feature, Instant now)
    {
        var of = plan?.Features.GetValueOrDefault(feature.Id);
        if (plan is null || Override(feature.Id, now) is not { } over || feature.Type == FeatureType.Static) return of is { On: true } ? of : null;
        if (of is not null && feature.Meter is not null) return of with { Allowance = over.Allowance };
        // What the plan lacks is given by itself: no more than so much, in the meter's own window.
        return new PlanFeature(feature, true, null, over.Allowance, feature.Meter?.Window ?? Billing.Ledger.Window.Lifetime, LimitMode.Block, null, 402, [], []);
    }

    /// <summary>How much of it there is in the running window; null is unlimited.</summary>
    public long? Limit(PlanFeature of, Instant now)
    {
        if (Override(of.Feature.Id, now) is { } over) return over.Allowance;
        // After an upgrade that gave only the rest of the window.
        return prorated.Find(p => p.Feature == of.Feature.Id && p.Window == of.Window && p.Full == of.Allowance && now < p.End)?.Limit ?? of.Allowance;
    }

    private OverrideSet? Override(string feature, Instant now) => overrides.GetValueOrDefault(feature) is { } over && !(over.Until <= now) ? over : null;

    /// <summary>The subscription that the ledger charges for: one at Stripe may have taken its place already.</summary>
    public Subscription? Charged => Own is { Kept: not null } ? Own : subscriptions.Values.FirstOrDefault(s => s is { Kept: not null, Ended: false });

    public Subscription? Known(string id) => subscriptions.GetValueOrDefault(id);

    public Payment? Paid(string invoice) => payments.GetValueOrDefault(invoice);

    public Instant? NextDue()
    {
        Instant? next = Closed is null ? given?.Until : null;
        foreach (var over in overrides.Values)
            if (over.Until is { } until && !(next <= until)) next = until;
        return next;
    }

    public void RequireNothingOverdue(Instant now)
    {
        foreach (var over in overrides.Values) Require(!(over.Until <= now), $"The override of {over.Feature} ended at {over.Until} and stands at {now}.");
        Require(Closed is not null || !(given?.Until <= now), $"The plan that was given ended at {given?.Until} and stands at {now}.");
    }

    /// <summary>The window of this kind, cut off at the beginning of the one that ran when the anchor or the zone last moved.</summary>
    public CountedWindow Window(Window kind, Instant at)
    {
        var window = Almanac.At(kind, Cycle, Zone, Opened!.Value, at);
        if (!cuts.TryGetValue(kind, out var cut) || cut < window.Start || cut >= window.End) return window;
        return at < cut ? window with { End = cut } : window with { Start = cut };
    }

    private void Cut(Instant at)
    {
        Window[] kinds = [Billing.Ledger.Window.Day, Billing.Ledger.Window.Month, Billing.Ledger.Window.Period];
        var starts = kinds.Select(k => Window(k, at).Start).ToList();
        for (var i = 0; i < kinds.Length; i++) cuts[kinds[i]] = starts[i];
    }

    // ---- taking events

    public void Take(OrganizationOpened e)
    {
        Require(Opened is null && e.Version == 1, $"Event {e.Version} opens what is open.");
        Opened = e.EffectiveAt;
        Zone = DateTimeZoneProviders.Tzdb[e.TimeZone];
        IsTest = e.Test;
        given = e.Plan is null ? null : new OperatorPlan(e.Plan, e.CatalogVersion, null);
    }

    public void Take(OrganizationClosed e)
    {
        Require(Closed is null, $"Event {e.Version} closes what is closed.");
        Closed = e.EffectiveAt;
    }

    public void Take(CustomerLinked e) => Require(customers.Add(e.Customer), $"Event {e.Version} links {e.Customer} again.");

    public void Take(InvitationGiven e)
    {
        Require(!invitations.Contains(e.Plan), $"Event {e.Version} invites to {e.Plan} again.");
        invitations.Add(e.Plan);
    }

    public void Take(OverrideSet e)
    {
        Require(e.Removed == false || overrides.ContainsKey(e.Feature), $"Event {e.Version} removes an override of {e.Feature} that is not there.");
        if (e.Removed) overrides.Remove(e.Feature);
        else overrides[e.Feature] = e;
    }

    public void Take(SubscriptionChanged e)
    {
        Require(e.Change is not null && e.By is not null, $"Event {e.Version} does not say what changed, or who asked for it.");
        given = e.Change == SubscriptionChange.PlanEnded ? null : e.OperatorPlan ?? given;
        trialUsed |= e.Followed?.TrialEnd is not null;
        if (e.GaveAccessAt is { } gave && !(gave <= gaveAccess)) gaveAccess = gave;
        if (e.Prorated is { } limits)
            prorated = [.. prorated.Where(p => p.End > At(e) && !limits.Any(n => n.Feature == p.Feature && n.Full == p.Full)), .. limits];
        if (e.Followed is not { } next) return;
        if (next.Order is not null && subscriptions.TryGetValue(next.Id, out var known))
            Require(Comes(known.Order!, next.Order) >= 0, $"Event {e.Version} puts an older snapshot of {next.Id} in the place of a newer one.");
        Cut(At(e));
        subscriptions[next.Id] = next;
        Own = subscriptions.Values.OrderBy(s => s.Status is not (SubscriptionStatus.Canceled or SubscriptionStatus.IncompleteExpired))
            .ThenBy(s => s is { Kept: not null, Status: not SubscriptionStatus.Canceled }).ThenBy(s => s.CreatedAt).ThenBy(s => s.Id, StringComparer.Ordinal).Last();
    }

    public void Take(TimeZoneChanged e)
    {
        Cut(e.EffectiveAt);
        Zone = DateTimeZoneProviders.Tzdb[e.TimeZone];
        prorated = [.. prorated.Select(p => p.End > e.EffectiveAt && (e.Moved ?? []).FirstOrDefault(m => m.Window == p.Window) is { } to ? p with { End = to.End } : p)];
    }

    public void Take(ClockAdvanced e)
    {
        Require(IsTest && e.To > e.RecordedAt && e.AheadMicros >= Ahead.ToInt64Nanoseconds() / 1_000, $"Event {e.Version} sets the clock to {e.To}, {e.AheadMicros} ahead.");
        Ahead = Duration.FromNanoseconds(e.AheadMicros * 1_000L);
    }

    /// <summary>When a change begins to count: as it is heard of from Stripe, or when the clock brought it.</summary>
    public static Instant At(SubscriptionChanged e) => e.Followed is { Kept: null } ? e.RecordedAt : e.EffectiveAt;

    /// <summary>Positive when the second snapshot stands: deleted is final, then the later event, then created before updated, then the event's id.</summary>
    private static int Comes(SnapshotOrder first, SnapshotOrder second)
    {
        var (a, b) = (first.Rank == SnapshotRank.Deleted, second.Rank == SnapshotRank.Deleted);
        if (a != b) return b ? 1 : -1;
        if (first.EventCreatedAt != second.EventCreatedAt) return second.EventCreatedAt > first.EventCreatedAt ? 1 : -1;
        return first.Rank != second.Rank ? (int)second.Rank - (int)first.Rank : string.CompareOrdinal(second.EventId, first.EventId);
    }

    public void Take(PaymentRecorded e)
    {
        if (!payments.TryGetValue(e.Invoice, out var p)) payments[e.Invoice] = p = new Payment { Invoice = e.Invoice };
        if (e.Paid)
        {
            (p.Paid, p.PaidAt, p.Amount, p.Subscription) = (true, e.EffectiveAt, e.Amount, e.Subscription ?? p.Subscription);
            return;
        }
        // Paid beats failed, and of failures the first counts, in whatever order they are heard of.
        if (!p.Paid && e.Attempt > p.Attempts) p.Amount = e.Amount;
        p.Attempts = Math.Max(p.Attempts, e.Attempt);
        p.FirstFailed = p.FirstFailed < e.EffectiveAt ? p.FirstFailed : e.EffectiveAt;
        p.Subscription ??= e.Subscription;
    }

    public void Take(PaymentVoided e)
    {
        if (!payments.TryGetValue(e.Invoice, out var p)) payments[e.Invoice] = p = new Payment { Invoice = e.Invoice };
        p.VoidedAt = e.EffectiveAt;
        p.Subscription ??= e.Subscription;
    }

    // ---- comparing

    public void Compare(State state)
    {
        var account = state.Account;
        Require(account.OpenedAt == Opened && account.ClosedAt == Closed && account.Zone.Id == Zone.Id && account.Test == IsTest && account.Ahead == Ahead, $"The account is another in the state: {account}");
        Require(account.Customers.SequenceEqual(customers), $"The customers are {string.Join(", ", customers)} by the books.");
        Require(account.Invitations.SequenceEqual(invitations), $"The invitations are {string.Join(", ", invitations)} by the books.");

        var slice = state.Subscriptions;
        Require(slice.OperatorPlan == given, $"The operator's plan is {given} by the books and {slice.OperatorPlan} in the state.");
        Require(slice.GaveAccessAt == gaveAccess, $"Access was given at {gaveAccess} by the books and {slice.GaveAccessAt} in the state.");
        Require(slice.TrialUsed == trialUsed, $"A trial was used: {trialUsed} by the books, {slice.TrialUsed} in the state.");
        Require(state.Overrides.Length == overrides.Count, $"There are {overrides.Count} overrides by the books and {state.Overrides.Length} in the state.");
        foreach (var (stated, booked) in state.Overrides.Zip(overrides.Values))
            Require(stated.Feature == booked.Feature && stated.Allowance == booked.Allowance && stated.Until == booked.Until && stated.Version == booked.Version, $"The override of {booked.Feature} is another in the state: {stated}");
        Require(slice.Followed.SequenceEqual(subscriptions.Values), $"The subscriptions are others in the state: {string.Join("; ", slice.Followed)}");
        Require(slice.Own == Own, $"The organization's own subscription is {Own?.Id} by the books and {slice.Own?.Id} in the state.");
        Require(slice.Prorated.SequenceEqual(prorated), $"Prorated limits are {string.Join("; ", prorated)} by the books and {string.Join("; ", slice.Prorated)} in the state.");
        Require(slice.Payments.Length == payments.Count, $"There are {payments.Count} payments by the books and {slice.Payments.Length} in the state.");
        foreach (var (stated, booked) in slice.Payments.Zip(payments.Values))
            Require(stated.Invoice == booked.Invoice && stated.Subscription == booked.Subscription && stated.Paid == booked.Paid && stated.FailedAttempts == booked.Attempts
                && stated.FirstFailedAt == booked.FirstFailed && stated.PaidAt == booked.PaidAt && stated.VoidedAt == booked.VoidedAt && stated.Amount == booked.Amount, $"The payment of {booked.Invoice} is another in the state: {stated}");
    }
}
