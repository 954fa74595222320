using System.Collections.Immutable;
using NodaTime;

namespace Billing.Ledger;

public enum PlanSource { None, Fallback, Operator, Subscription }

/// <summary>The plan that an organization has now, and why.</summary>
/// <param name="GraceUntil">Until when a subscription that is past due still gives access.</param>
public readonly record struct PlanInForce(
    Plan? Plan, int CatalogVersion, PlanSource Source, Subscription? Subscription, Plan? SubscribedPlan, Instant? GraceUntil)
{
    /// <summary>Whether the subscription would give this feature if only it gave access.</summary>
    internal bool WouldGive(Feature feature) =>
        Plan is null || (Source == PlanSource.Fallback && Subscription is not null && SubscribedPlan?.Features.GetValueOrDefault(feature.Id) is { On: true });

    internal void Explain(Explanation? why) => why?.Add("subscription", Spelling.Of(Source),
        ("plan", Plan?.Id), ("catalog_version", CatalogVersion), ("subscription", Subscription?.Id),
        ("status", Subscription is null ? null : Spelling.Of(Subscription.Status)), ("grace_until", GraceUntil));
}

/// <summary>Which plan is in force: following Stripe, operators' plans, payments and grace.</summary>
public static class Subscriptions
{
    /// <summary>The smallest step of recorded time.</summary>
    private static readonly Duration Tick = Duration.FromTicks(10);

    // ---- reading

    public static PlanInForce InForce(State state, Catalogs catalogs, Instant now)
    {
        var slice = state.Subscriptions;
        var own = slice.Own;
        if (slice.OperatorPlan is { } set && !(now >= set.Until) && (slice.GaveAccessAt is not { } gave || set.SetAt > gave))
            return new PlanInForce(catalogs.Plan(set.Plan, set.CatalogVersion), set.CatalogVersion, PlanSource.Operator, own, null, null);

        Plan? subscribed = null;
        Instant? graceUntil = null;
        if (own is not null)
        {
            own = KeptSubscriptions.AsOf(own, now);
            subscribed = catalogs.Plan(own.Plan, own.CatalogVersion);
            var givesAccess = own.Status is SubscriptionStatus.Trialing or SubscriptionStatus.Active;
            if (own.Kept is { } kept)
            {
                graceUntil = kept.GraceUntil;
            }
            else if (own.Status == SubscriptionStatus.PastDue)
            {
                var failedAt = FirstUnpaid(slice, own);
                givesAccess = failedAt is null && IsPaidSince(slice, own);
                // While no failed attempt is known, grace runs from the start of the unpaid period.
                if (!givesAccess) graceUntil = (failedAt ?? own.PeriodStart) + Duration.FromDays(catalogs.Current.GraceDays);
            }
            if (givesAccess || (own.Status == SubscriptionStatus.PastDue && now < graceUntil))
                return new PlanInForce(subscribed, own.CatalogVersion, PlanSource.Subscription, own, subscribed, graceUntil);
        }
        var current = catalogs.Current;
        return current.FallbackPlan is { } fallback
            ? new PlanInForce(current.Plan(fallback), current.Version, PlanSource.Fallback, own, subscribed, graceUntil)
            : new PlanInForce(null, current.Version, PlanSource.None, own, subscribed, graceUntil);
    }

    /// <summary>The first failed attempt of the oldest unpaid invoice, from which grace runs.</summary>
    private static Instant? FirstUnpaid(SubscriptionSlice slice, Subscription own)
    {
        Instant? first = null;
        foreach (var payment in slice.Payments)
            if (!payment.Paid && payment.VoidedAt is null && payment.Subscription == own.Id && payment.FirstFailedAt is { } at && (first is null || at < first)) first = at;
        return first;
    }

    /// <summary>Whether money came in, or what was owed was taken back, after Stripe said past due: then its word that the subscription is active again is on its way.</summary>
    private static bool IsPaidSince(SubscriptionSlice slice, Subscription own)
    {
        foreach (var payment in slice.Payments)
            if (payment.Subscription == own.Id && (payment.Paid ? payment.PaidAt : payment.VoidedAt) >= own.Order?.EventCreatedAt) return true;
        return false;
    }

    /// <summary>The limit of a running window in which an upgrade gave only a part of the new allowance, or null.</summary>
    internal static long? ProratedLimit(State state, PlanFeature given, Instant now)
    {
        foreach (var limit in state.Subscriptions.Prorated)
            if (limit.Feature == given.Feature.Id && limit.Window == given.Window && limit.Full == given.Allowance && now < limit.End) return limit.Limit;
        return null;
    }

    // ---- deciding

    public static Decision Decide(State state, Catalogs catalogs, SetPlan c, Instant now)
    {
        if (catalogs.Current.Plan(c.Plan) is not { } plan || !plan.IsFor(state.Organization)) return Rejections.PlanUnknown(c.Plan);
        if (c.Until <= now) return Rejections.UntilInPast();
        if (plan.InviteOnly && !state.Account.Invitations.Contains(plan.Id)) return Rejections.InviteOnly(plan.Id);
        // Later than the start of the kept subscription that it takes the place of, also where a clock stands still.
        var setAt = state.Subscriptions.Own is { Kept: not null } && state.Subscriptions.GaveAccessAt == now ? now + Tick : now;
        return Change(state, catalogs, new SubscriptionChanged(new OperatorPlan(plan.Id, catalogs.Current.Version, setAt, c.Until), null, null, null, null, c.Reason)
        {
            Version = state.Version + 1, EffectiveAt = now, RecordedAt = now, Change = SubscriptionChange.PlanSet, By = c.By,
        });
    }

    public static Decision Decide(State state, Catalogs catalogs, FollowSubscription c, Instant now)
    {
        var snapshot = c.Snapshot;
        // A plan that is no longer on sale may still be paid for: it is what it last was.
        var sold = catalogs.VersionOf(snapshot.Plan);
        if (sold == 0 || !catalogs.Plan(snapshot.Plan, sold)!.IsFor(state.Organization)) return Rejections.PlanUnknown(snapshot.Plan);
        var slice = state.Subscriptions;
        var known = slice.Followed.FirstOrDefault(s => s.Id == snapshot.Id);
        // Looked up, and just as it is known: nothing to write.
        if (known is not null && snapshot.Order!.Rank == SnapshotRank.Refetched && snapshot with { Order = known.Order, CatalogVersion = known.CatalogVersion } == known) return Decision.AlreadyDone;
        var isNewer = known is null || snapshot.Order!.CompareTo(known.Order) > 0;
        var givesAccess = snapshot.Status is SubscriptionStatus.Trialing or SubscriptionStatus.Active;
        // An older snapshot than the one that stands may still be the newest that gave access: then an operator's plan ends by it,
        // in whatever order the two arrive.
        var gaveAccessAt = givesAccess && !(snapshot.Order!.EventCreatedAt <= slice.GaveAccessAt) ? snapshot.Order.EventCreatedAt : (Instant?)null;
        if (!isNewer && gaveAccessAt is null) return Decision.AlreadyDone;

        var stands = isNewer
            ? snapshot with { CatalogVersion = known is not null && known.Plan == snapshot.Plan ? known.CatalogVersion : sold }
            : known!;
        // One subscription is paid for: what the ledger kept ends, with the rest of what was charged for it given back.
        var draft = new Draft(state, catalogs, now, now, c.By, "A subscription at Stripe takes its place.");
        if (isNewer && givesAccess && slice.Followed.FirstOrDefault(s => s is { Ended: false, Kept: not null }) is { } kept)
            KeptSubscriptions.End(draft.BillUsage(), kept, SubscriptionChange.Canceled, prorate: true);
        // What was used until it ends is for its last invoice. Where its end is heard of late, gauges were billed by it with the period that ended then.
        if (Invoices.AreAtStripe(state) && slice.Own!.Id == stands.Id && stands.Ended)
            draft.BillUsage(withGauges: !(stands.EndedAt <= slice.Cycle.Billed(now).Start && stands.CreatedAt < slice.Cycle.Billed(now).Start));
        var followed = Change(draft.State, catalogs, new SubscriptionChanged(null, stands, gaveAccessAt, null, null, null)
        {
            Version = draft.State.Version + 1, EffectiveAt = snapshot.Order!.EventCreatedAt, RecordedAt = now, Change = SubscriptionChange.Followed, By = c.By,
        });
        return new Decision([.. draft.Decision.Events, followed], null);
    }

    public static Decision Decide(State state, Catalogs catalogs, RecordPayment c, Instant now)
    {
        foreach (var invoice in state.Billing.Invoices)
            if (c.Invoice == invoice.Id || c.Invoice == invoice.Number) return KeptSubscriptions.Decide(state, catalogs, c, invoice, now);
        return new PaymentRecorded(c.Invoice, c.Subscription, c.Paid, c.Attempt, c.Amount, c.Currency)
        {
            Version = state.Version + 1, EffectiveAt = c.HappenedAt, RecordedAt = now,
        };
    }

    public static Decision Decide(State state, VoidPayment c, Instant now)
    {
        if (state.Subscriptions.Payments.Any(p => p.Invoice == c.Invoice && p.VoidedAt is not null)) return Decision.AlreadyDone;
        return new PaymentVoided(c.Invoice, c.Subscription, c.Currency) { Version = state.Version + 1, EffectiveAt = c.HappenedAt, RecordedAt = now };
    }

    /// <summary>Adds to a change what it does to running windows and to gauges.</summary>
    internal static SubscriptionChanged Change(State state, Catalogs catalogs, SubscriptionChanged change)
    {
        var at = At(change);
        change = change with { Moved = MovedWindows(state, state.Evolve(change), at) };
        if (catalogs.Current.AllowanceOnUpgrade == AllowanceOnUpgrade.Prorated)
            change = change with { Prorated = ProratedLimits(state, state.Evolve(change), catalogs, at) };
        return change with { BilledGauges = BilledGauges(state.Evolve(change), catalogs, at) };
    }

    /// <summary>When a change begins to count: by the clock that it is written at, but for what our own clock brought in the meantime.</summary>
    private static Instant At(SubscriptionChanged e) => e.Followed is { Kept: null } ? e.RecordedAt : e.EffectiveAt;

    /// <summary>Gauges that stand past what the plan includes now, where that is priced.</summary>
    private static string[]? BilledGauges(State after, Catalogs catalogs, Instant at)
    {
        string[] past = [.. after.Usage.Where(u => u.Gauge is { Billed: false } gauge && catalogs.Feature(u.Feature) is { } feature && Usage.IsBilled(after, catalogs, feature, gauge.Value, at))
            .Select(u => u.Feature)];
        return past.Length == 0 ? null : past;
    }

    /// <summary>When the anchor moves, the running month and period end there, and the next ones start with what was used, and with a gauge's peak.</summary>
    private static CountedWindow[]? MovedWindows(State before, State after, Instant at) => MovedWindows(before, after, at, [Window.Month, Window.Period]);

    /// <summary>The running windows of these kinds as they are after a change. None begins before the ones that run, so that none overlaps with a closed one.</summary>
    internal static CountedWindow[]? MovedWindows(State before, State after, Instant at, ReadOnlySpan<Window> kinds)
    {
        var moved = new List<CountedWindow>();
        foreach (var kind in kinds)
        {
            var bounds = after.WindowAt(kind, at);
            var running = before.Usage.Select(u => u.Running(kind, at)).OfType<Counter>().ToList();
            var start = running.Select(c => c.Start).Append(bounds.Start).Max();
            var billedEnd = after.Subscriptions.Cycle.Billed(at).End;
            if (running.Exists(c => c.Start != start || c.End != bounds.End)
                || kind == Window.Period && before.Usage.Any(u => u.Gauge is { } g && at < g.PeakUntil && g.PeakUntil != billedEnd))
                moved.Add(new CountedWindow(kind, start, bounds.End));
        }
        return moved.Count == 0 ? null : [.. moved];
    }

    /// <summary>An upgrade within a window gains (new − old) × the rest of the window, rounded down, where the catalog says prorated.</summary>
    private static ProratedLimit[]? ProratedLimits(State before, State after, Catalogs catalogs, Instant now)
    {
        var (old, new_) = (InForce(before, catalogs, now).Plan, InForce(after, catalogs, now).Plan);
        // The same subscription giving access again (a late payment) is no upgrade.
        if (old is null || new_ is null || old.Id == new_.Id || before.Subscriptions.Own is { Ended: false } own && own.Plan == new_.Id) return null;

        var limits = new List<ProratedLimit>();
        foreach (var given in new_.Features.Values.OrderBy(f => f.Feature.Id, StringComparer.Ordinal))
        {
            if (given.Window is not (Window.Month or Window.Period) || given.IsGauge || given.Allowance is not { } full) continue;
            if (old.Features.GetValueOrDefault(given.Feature.Id) is not { Allowance: { } oldFull } was || was.Window != given.Window) continue;
            var oldLimit = ProratedLimit(before, was, now) ?? oldFull;
            if (full <= oldLimit) continue;
            var window = after.WindowAt(given.Window, now);
            var (rest, whole) = ((window.End - now).ToInt64Nanoseconds(), (window.End - window.Start).ToInt64Nanoseconds());
            var gain = (long)((Int128)(full - oldLimit) * rest / whole);
            if (gain < full - oldLimit) limits.Add(new ProratedLimit(given.Feature.Id, given.Window, window.End, full, oldLimit + gain));
        }
        return limits.Count == 0 ? null : [.. limits];
    }

    // ---- evolving

    public static State Evolve(State state, SubscriptionChanged e)
    {
        var slice = state.Subscriptions;
        var at = At(e);
        slice = slice with
        {
            OperatorPlan = e.Change == SubscriptionChange.PlanEnded ? null : e.OperatorPlan ?? slice.OperatorPlan,
            Followed = e.Followed is null ? slice.Followed
                : [.. slice.Followed.Where(s => s.Id != e.Followed.Id).Append(e.Followed).OrderBy(s => s.Id, StringComparer.Ordinal)],
            GaveAccessAt = e.GaveAccessAt > slice.GaveAccessAt || slice.GaveAccessAt is null ? e.GaveAccessAt ?? slice.GaveAccessAt : slice.GaveAccessAt,
            Prorated = e.Prorated is null ? slice.Prorated
                : [.. slice.Prorated.Where(p => p.End > at && !Array.Exists(e.Prorated, n => n.Feature == p.Feature && n.Full == p.Full)), .. e.Prorated],
        };
        var own = Own(slice.Followed);
        // Of what stands, so that the order in which snapshots came does not show.
        var trialUsed = slice.Followed.Any(s => s.TrialEnd is not null);
        if (e.Followed is not null) state = state.CutAt(at);
        state = state with { Subscriptions = slice with { Own = own, Cycle = CycleOf(own, state.Account.Zone), TrialUsed = trialUsed } };
        if (e.Moved is not null) state = Move(state, e.Moved, at);
        if (e.BilledGauges is { } billed) state = state with { Usage = [.. state.Usage.Select(use => billed.Contains(use.Feature) ? Bill(use, state.Subscriptions.Cycle, at) : use)] };
        // What is to be billed is billed by the cycle that runs from now on.
        return Invoices.Due(state, at);
    }

    /// <summary>The running windows have other bounds, and what was used in them is carried over.</summary>
    internal static State Move(State state, CountedWindow[] moved, Instant at)
    {
        var billedEnd = state.Subscriptions.Cycle.Billed(at).End;
        var period = Array.Exists(moved, m => m.Window == Window.Period);
        return state with
        {
            Usage = [.. PastWindows.Carry(state.Usage, moved).Select(use => use with
            {
                Gauge = period && at < use.Gauge?.PeakUntil ? use.Gauge with { PeakUntil = billedEnd } : use.Gauge,
            })],
        };
    }

    /// <summary>From now on the gauge is billed for its peak; of a period that is over it has none.</summary>
    private static FeatureUse Bill(FeatureUse use, BillingCycle cycle, Instant at) => use.Gauge is not { } gauge ? use
        : use with { Gauge = gauge with { Billed = true, Peak = gauge.PeakAt(at), PeakUntil = cycle.Billed(at).End } };

    /// <summary>Merges what is heard of one invoice so that any order gives the same: paid beats failed, the first failure counts.</summary>
    public static State Evolve(State state, PaymentRecorded e)
    {
        var slice = state.Subscriptions;
        var known = Payment(slice, e.Invoice, e.Subscription, e.Currency);
        var merged = e.Paid
            ? known with { Paid = true, PaidAt = e.EffectiveAt, Amount = e.Amount, Subscription = e.Subscription ?? known.Subscription }
            : known with
            {
                FailedAttempts = Math.Max(known.FailedAttempts, e.Attempt),
                FirstFailedAt = known.FirstFailedAt is { } first ? Instant.Min(first, e.EffectiveAt) : e.EffectiveAt,
                Amount = !known.Paid && e.Attempt > known.FailedAttempts ? e.Amount : known.Amount,
                Subscription = known.Subscription ?? e.Subscription,
            };
        return With(state, merged);
    }

    public static State Evolve(State state, PaymentVoided e)
    {
        var known = Payment(state.Subscriptions, e.Invoice, e.Subscription, e.Currency);
        return With(state, known with { VoidedAt = e.EffectiveAt, Subscription = known.Subscription ?? e.Subscription });
    }

    private static InvoicePayment Payment(SubscriptionSlice slice, string invoice, string? subscription, string currency) =>
        slice.Payments.FirstOrDefault(p => p.Invoice == invoice) ?? new InvoicePayment(invoice, subscription, false, 0, null, null, 0, currency);

    private static State With(State state, InvoicePayment payment)
    {
        var payments = state.Subscriptions.Payments.Where(p => p.Invoice != payment.Invoice).Append(payment).OrderBy(p => p.Invoice, StringComparer.Ordinal);
        return state with { Subscriptions = state.Subscriptions with { Payments = [.. payments] } };
    }

    /// <summary>Of those that go on the one that the ledger keeps, which gives way only to one at Stripe that gives access; otherwise the one that was created last.</summary>
    private static Subscription? Own(ImmutableArray<Subscription> followed) =>
        followed.OrderBy(s => !s.Ended).ThenBy(s => s is { Ended: false, Kept: not null }).ThenBy(s => s.CreatedAt).ThenBy(s => s.Id, StringComparer.Ordinal).LastOrDefault();

    internal static BillingCycle CycleOf(Subscription? own, DateTimeZone zone)
    {
        // Until the first payment there is no paid period.
        if (own is null || own.Ended || own.Status == SubscriptionStatus.Incomplete) return BillingCycle.Calendar(zone);
        return BillingCycle.Paid(own.PeriodStart, own.PeriodEnd, Proration.Months(own.Interval), own.BillingAnchor);
    }
}
