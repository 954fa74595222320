using System.Collections.Immutable;
using NodaTime;

namespace Billing.Ledger;

/// <summary>Subscriptions that the ledger keeps itself: trials, renewals, changes, pauses and ends, by the clock.</summary>
public static class KeptSubscriptions
{
    // ---- reading

    /// <summary>The subscription as it is at this time by the clock, whether or not what became due is written yet.</summary>
    internal static Subscription AsOf(Subscription own, Instant now)
    {
        if (own.Kept is not { } kept || own.Ended) return own;
        if (own.Status == SubscriptionStatus.PastDue && now >= kept.GraceUntil) own = own with { Status = SubscriptionStatus.Unpaid };
        if (now < own.PeriodEnd) return own;
        if (own.CancelAtPeriodEnd || own is { Status: SubscriptionStatus.Trialing, Kept.HasPaymentMethod: false })
            return own with { Status = SubscriptionStatus.Canceled, EndedAt = own.PeriodEnd };
        if (!IsCharged(own)) return own;
        if (own.Status == SubscriptionStatus.Trialing) own = own with { Status = SubscriptionStatus.Active };
        return kept.Scheduled is { } to ? own with { Plan = to.Plan, CatalogVersion = to.CatalogVersion, Interval = to.Interval } : own;
    }

    /// <summary>
    /// The state as it is at this time by the clock, where the subscription or an operator's plan has turned and that is not written yet:
    /// windows move with it. The version stays that of what is written.
    /// </summary>
    public static State AsOf(State state, Catalogs catalogs, Instant now) =>
        NextTurn(state) <= now ? state.Evolve(Decider.Due(state, catalogs, now)) with { Version = state.Version, RecordedAt = state.RecordedAt } : state;

    /// <summary>When it next does something by itself.</summary>
    internal static Instant? NextTurn(State state)
    {
        if (state.IsClosed) return null;
        var next = state.Subscriptions.OperatorPlan?.Until;
        if (state.Subscriptions.Own is not { Ended: false, Kept: { } kept } own) return next;
        if (IsCharged(own) || own.CancelAtPeriodEnd) next = Earlier(next, own.PeriodEnd);
        return own.Status == SubscriptionStatus.PastDue ? Earlier(next, kept.GraceUntil) : next;
    }

    /// <summary>Whether the end of its period brings another: unpaid and paused subscriptions wait.</summary>
    private static bool IsCharged(Subscription own) =>
        own.Status is SubscriptionStatus.Trialing or SubscriptionStatus.Active or SubscriptionStatus.PastDue;

    /// <summary>The live subscription that the ledger keeps, or why there is none to change.</summary>
    private static Rejection? Kept(State state, out Subscription own)
    {
        own = state.Subscriptions.Own!;
        if (own is null || own.Ended) return Rejections.NoSubscription();
        return own.Kept is null ? Rejections.SubscriptionAtStripe(own.Id) : null;
    }

    // ---- deciding

    public static Decision Decide(State state, Catalogs catalogs, StartSubscription c, Instant now)
    {
        var slice = state.Subscriptions;
        if (catalogs.Current.Plan(c.Plan) is not { } plan || !plan.IsFor(state.Organization)) return Rejections.PlanUnknown(c.Plan);
        var currency = c.Currency ?? catalogs.Current.Currency;
        if (plan.Price(c.Interval, currency) is not { } price) return Rejections.PriceUnknown(plan, c.Interval, currency);
        if (c.Trial == true && plan.TrialDays is not > 0) return Rejections.NoTrial(plan.Id);
        if (slice.Own is { Ended: false } existing) return Rejections.SubscriptionExists(existing);
        if (c.Trial == true && slice.TrialUsed) return Rejections.TrialUsed();
        var withTrial = c.Trial != false && plan.TrialDays > 0 && !slice.TrialUsed;
        if (withTrial && plan.TrialNeedsPaymentMethod && !c.HasPaymentMethod) return Rejections.PaymentMethodRequired(plan.Id);
        if (plan.InviteOnly && !state.Account.Invitations.Contains(plan.Id)) return Rejections.InviteOnly(plan.Id);

        var draft = new Draft(state, catalogs, now, now, c.By, c.Reason);
        var period = withTrial ? new Bounds(now, now + Duration.FromDays(plan.TrialDays!.Value)) : FirstPeriod(c.Interval, now);
        var started = new Subscription(
            Ids.Subscription(state.Version + 1), plan.Id, catalogs.Current.Version, withTrial ? SubscriptionStatus.Trialing : SubscriptionStatus.Active,
            c.Interval, now, period.Start, period.End, withTrial ? period.End : now, withTrial ? period.End : null, false, null, null, null, null, null)
        {
            Kept = new KeptTerms(currency, c.HasPaymentMethod, withTrial ? null : ChargeOf(price, period), null, null, null),
        };
        draft.Change(started, withTrial ? SubscriptionChange.TrialStarted : SubscriptionChange.Started, givesAccess: true);
        if (!withTrial) draft.Invoice(Base(plan, price, period));
        return draft.Decision;
    }

    public static Decision Decide(State state, Catalogs catalogs, ChangeSubscription c, Instant now)
    {
        var none = Kept(state, out var own);
        var isSame = own?.Plan == c.Plan;
        var version = isSame ? own!.CatalogVersion : catalogs.Current.Version;
        var plan = isSame ? catalogs.Plan(c.Plan, version) : catalogs.Current.Plan(c.Plan);
        if (plan is null || (!isSame && !plan.IsFor(state.Organization))) return Rejections.PlanUnknown(c.Plan);
        var currency = own?.Kept?.Currency ?? catalogs.Current.Currency;
        var interval = c.Interval ?? own?.Interval ?? BillingInterval.Month;
        var price = plan.Price(interval, currency);
        // A plan keeps the version that it was sold in, unless only a newer one has the interval.
        if (price is null && isSame && catalogs.Current.Plan(c.Plan) is { } newer && newer.Price(interval, currency) is { } added)
            (plan, version, price) = (newer, catalogs.Current.Version, added);
        if (price is null) return Rejections.PriceUnknown(plan, interval, currency);
        if (none is not null) return none;

        var draft = new Draft(state, catalogs, now, now, c.By, c.Reason);
        var kept = own!.Kept!;
        if (c.HasPaymentMethod is { } has && has != kept.HasPaymentMethod)
        {
            own = own with { Kept = kept = kept with { HasPaymentMethod = has } };
            draft.Change(own, SubscriptionChange.PaymentMethodChanged);
        }
        if (!IsCharged(own)) return Rejections.SubscriptionStateConflict(own, "Pay what is due, or resume it, before changing it.");
        if (isSame && interval == own.Interval)
            return kept.Scheduled is null ? draft.Decision : draft.Change(own with { Kept = kept with { Scheduled = null } }, SubscriptionChange.Reactivated).Decision;
        if (!isSame && plan.InviteOnly && !state.Account.Invitations.Contains(plan.Id)) return Rejections.InviteOnly(plan.Id);
        return Change(draft, own, plan, version, price, c);
    }

    private static Decision Change(Draft draft, Subscription own, Plan plan, int version, Price price, ChangeSubscription c)
    {
        var (kept, now) = (own.Kept!, draft.At);
        var label = Label(draft.Catalogs, own, plan.Id, price);
        // The same plan for longer is paid for now; for shorter, when what was paid for is over.
        var waits = label == SubscriptionChange.IntervalChanged ? Proration.Months(price.Interval) < Proration.Months(own.Interval) : label == SubscriptionChange.Downgraded;
        if ((c.When ?? (waits ? ChangeTime.PeriodEnd : ChangeTime.Now)) == ChangeTime.PeriodEnd)
        {
            if (own.CancelAtPeriodEnd) return Rejections.SubscriptionStateConflict(own, $"It ends at {own.PeriodEnd}: reactivate it first.");
            var scheduled = new ScheduledChange(plan.Id, version, price.Interval);
            return scheduled == kept.Scheduled ? draft.Decision : draft.Change(own with { Kept = kept with { Scheduled = scheduled } }, SubscriptionChange.ChangeScheduled).Decision;
        }
        var after = own with { Plan = plan.Id, CatalogVersion = version, Interval = price.Interval };
        if (own.Status == SubscriptionStatus.Trialing)
        {
            if (plan.TrialNeedsPaymentMethod && !kept.HasPaymentMethod) return Rejections.PaymentMethodRequired(plan.Id);
            return draft.Change(after with { Kept = kept with { Scheduled = null } }, label).Decision;
        }
        InvoiceLine?[] credit = c.Proration == ProrationMode.None ? [] : [Unused(draft.State, draft.Catalogs, own, now)];
        if (price.Interval != own.Interval)
        {
            var period = FirstPeriod(price.Interval, now);
            draft.Change(Renewed(after, period, now, kept with { Charged = ChargeOf(price, period), Scheduled = null }), label);
            return draft.Invoice([.. credit, Base(plan, price, period)]).Decision;
        }
        if (c.Proration == ProrationMode.None) return draft.Change(after with { Kept = kept with { Scheduled = null } }, label).Decision;

        var amount = Proration.Charge(price.Amount.Amount, own.PeriodStart, own.PeriodEnd, now);
        draft.Change(after with { Kept = kept with { Charged = new BaseCharge(amount, now, own.PeriodEnd), Scheduled = null } }, label);
        InvoiceLine?[] lines = [.. credit, Line(LineKind.Proration, $"Remaining time on {plan.Name} from {Day(now)}", plan.Id, amount, kept.Currency, now, own.PeriodEnd)];
        return (c.Proration == ProrationMode.InvoiceNow ? draft.Invoice(lines) : draft.Lines(lines)).Decision;
    }

    public static Decision Decide(State state, Catalogs catalogs, CancelSubscription c, Instant now)
    {
        if (Kept(state, out var own) is { } none) return none;
        var draft = new Draft(state, catalogs, now, now, c.By, c.Reason);
        // What waits for payment or for being resumed may be past its period already.
        if (c.When == ChangeTime.Now || own.PeriodEnd <= now)
        {
            End(draft.BillUsage(), own, SubscriptionChange.Canceled, c.Prorate);
            return draft.Decision;
        }
        if (own.CancelAtPeriodEnd) return Decision.AlreadyDone;
        var after = own with { CancelAtPeriodEnd = true, CancelAt = own.PeriodEnd, CanceledAt = now, Kept = own.Kept! with { Scheduled = null } };
        return draft.Change(after, SubscriptionChange.CancelScheduled).Decision;
    }

    public static Decision Decide(State state, Catalogs catalogs, ReactivateSubscription c, Instant now)
    {
        if (Kept(state, out var own) is { } none) return none;
        if (!own.CancelAtPeriodEnd && own.Kept!.Scheduled is null) return Rejections.SubscriptionStateConflict(own, "It goes on as it is: there is no cancellation or change to take back.");
        var after = own with { CancelAtPeriodEnd = false, CancelAt = null, CanceledAt = null, Kept = own.Kept! with { Scheduled = null } };
        return new Draft(state, catalogs, now, now, c.By, c.Reason).Change(after, SubscriptionChange.Reactivated).Decision;
    }

    public static Decision Decide(State state, Catalogs catalogs, PauseSubscription c, Instant now)
    {
        if (Kept(state, out var own) is { } none) return none;
        if (own.Status != SubscriptionStatus.Active) return Rejections.SubscriptionStateConflict(own, "Only an active subscription can be paused.");
        var after = own with { Status = SubscriptionStatus.Paused, Kept = own.Kept! with { Charged = null, PausedAt = now } };
        return new Draft(state, catalogs, now, now, c.By, c.Reason).Change(after, SubscriptionChange.Paused).Lines(Unused(state, catalogs, own, now)).Decision;
    }

    public static Decision Decide(State state, Catalogs catalogs, ResumeSubscription c, Instant now)
    {
        if (Kept(state, out var own) is { } none) return none;
        if (own.Status != SubscriptionStatus.Paused) return Rejections.SubscriptionStateConflict(own, "Only a paused subscription can be resumed.");
        if (FirstFailure(state, own) is not null) return Rejections.SubscriptionStateConflict(own, "Pay the invoice that is owed, and resume it then.");
        return Restart(new Draft(state, catalogs, now, now, c.By, c.Reason), own, SubscriptionChange.Resumed).Decision;
    }

    public static Decision Decide(State state, Catalogs catalogs, SetPaymentMethod c, Instant now)
    {
        if (Kept(state, out var own) is { } none) return none;
        if (own.Kept!.HasPaymentMethod == c.HasPaymentMethod) return Decision.AlreadyDone;
        return new Draft(state, catalogs, now, now, c.By, null)
            .Change(own with { Kept = own.Kept with { HasPaymentMethod = c.HasPaymentMethod } }, SubscriptionChange.PaymentMethodChanged).Decision;
    }

    public static Decision Decide(State state, Catalogs catalogs, ReportPayment c, Instant now)
    {
        if (Invoices.Find(state, c.Invoice) is not { } invoice) return Rejections.InvoiceUnknown(c.Invoice);
        if (c.HappenedAt > now + Usage.MaxAhead) return Rejections.TimestampInFuture(now) with { Field = "at" };
        if (invoice.Status is not (InvoiceStatus.Open or InvoiceStatus.Uncollectible)) return Rejections.InvoiceState(invoice, "Only one that is owed is paid, or fails to be.");
        var attempts = state.Subscriptions.Payments.FirstOrDefault(p => p.Invoice == invoice.Id)?.FailedAttempts ?? 0;
        return Decide(state, catalogs, new RecordPayment(
            invoice.Id, invoice.Subscription, c.Paid, c.Paid ? 0 : c.Attempt ?? attempts + 1, invoice.AmountDue, invoice.Currency, Instant.Min(c.HappenedAt ?? now, now))
        {
            Id = c.Id, ContentHash = c.ContentHash, At = c.At, By = c.By,
        }, invoice, now);
    }

    /// <summary>A payment of one of our own invoices. What it does to the subscription follows (<see cref="After"/>).</summary>
    internal static Decision Decide(State state, Catalogs catalogs, RecordPayment c, InvoiceHead invoice, Instant now)
    {
        var draft = new Draft(state, catalogs, now, now, c.By, null);
        draft.Add(new PaymentRecorded(invoice.Id, invoice.Subscription, c.Paid, c.Attempt, c.Amount, c.Currency), c.HappenedAt);
        if (c.Paid && invoice.Status is InvoiceStatus.Open or InvoiceStatus.Uncollectible) draft.Add(new InvoiceSettled(invoice.Id, InvoiceStatus.Paid, null, null, c.By));
        return draft.Decision;
    }

    /// <summary>What payments, and invoices that are no longer owed, mean for the subscription: past due with a grace, or in good standing again.</summary>
    internal static ImmutableArray<LedgerEvent> After(State before, Catalogs catalogs, ImmutableArray<LedgerEvent> events, Instant now, string? by)
    {
        if (before.Subscriptions.Own is not { Ended: false, Kept: not null }) return [];
        var isAboutPaying = false;
        foreach (var e in events) isAboutPaying |= e is PaymentRecorded or InvoiceSettled;
        if (!isAboutPaying) return [];

        var draft = new Draft(before.Evolve(events), catalogs, now, now, by, null);
        if (draft.State.Subscriptions.Own is not { Ended: false, Kept: { } kept } own) return [];
        if (FirstFailure(draft.State, own) is { } failed)
        {
            // Nothing turns before what is recorded: a failure that is heard of too late ends the grace now.
            var until = Instant.Max(failed + Duration.FromDays(catalogs.Current.GraceDays), now);
            if (own.Status is SubscriptionStatus.Active or SubscriptionStatus.PastDue && kept.GraceUntil != until)
                draft.Change(own with { Status = SubscriptionStatus.PastDue, Kept = kept with { GraceUntil = until } }, SubscriptionChange.PastDue);
        }
        else if (own.Status is SubscriptionStatus.PastDue or SubscriptionStatus.Unpaid)
        {
            // What was not paid for in time was not renewed either: then a period begins now.
            if (now >= own.PeriodEnd) Restart(draft, own, SubscriptionChange.Recovered);
            else draft.Change(own with { Status = SubscriptionStatus.Active, Kept = kept with { GraceUntil = null } }, SubscriptionChange.Recovered);
        }
        return draft.Decision.Events;
    }

    /// <summary>The first failed attempt of the oldest invoice that is still owed. What was given up as uncollectible is owed all the same; voided, it is not.</summary>
    private static Instant? FirstFailure(State state, Subscription own)
    {
        Instant? first = null;
        foreach (var payment in state.Subscriptions.Payments)
            if (!payment.Paid && payment.FirstFailedAt is { } at && !(at >= first)
                && state.Billing.Invoices.Any(i => i.Id == payment.Invoice && i.Status is InvoiceStatus.Open or InvoiceStatus.Uncollectible && i.Subscription == own.Id)) first = at;
        return first;
    }

    // ---- by the clock

    /// <summary>What happens at this instant by itself: a given plan ends; the subscription converts, renews, changes, ends or becomes unpaid.</summary>
    internal static IReadOnlyList<LedgerEvent> TurnAt(State state, Catalogs catalogs, Instant at, Instant now)
    {
        if (NextTurn(state) != at) return [];
        var draft = new Draft(state, catalogs, at, now, "clock", null);
        if (state.Subscriptions.OperatorPlan?.Until == at) return draft.Change(null, SubscriptionChange.PlanEnded).Decision.Events;

        var own = state.Subscriptions.Own!;
        var kept = own.Kept!;
        if (own.Status == SubscriptionStatus.PastDue && kept.GraceUntil == at)
            draft.Change(own with { Status = SubscriptionStatus.Unpaid, Kept = kept with { GraceUntil = null } }, SubscriptionChange.Unpaid);
        else if (own.CancelAtPeriodEnd) End(draft, own, SubscriptionChange.Canceled, prorate: false);
        else if (own.Status == SubscriptionStatus.Trialing && !kept.HasPaymentMethod) End(draft, own, SubscriptionChange.TrialEnded, prorate: false);
        else Renew(draft, own);
        return draft.Decision.Events;
    }

    /// <summary>The next period, as what waited for it says.</summary>
    private static void Renew(Draft draft, Subscription own)
    {
        var (after, plan, price) = Scheduled(draft.Catalogs, own);
        var label = own.Status == SubscriptionStatus.Trialing ? SubscriptionChange.Converted
            : own.Kept!.Scheduled is null ? SubscriptionChange.Renewed : Label(draft.Catalogs, own, after.Plan, price);
        // A first period begins where the trial ended; later ones stay on the grid, so that the 31st comes back.
        var anchor = own.Status == SubscriptionStatus.Trialing ? draft.At : own.BillingAnchor ?? own.PeriodStart;
        var period = own.Status == SubscriptionStatus.Trialing
            ? FirstPeriod(after.Interval, draft.At)
            : BillingCycle.Paid(own.PeriodStart, own.PeriodEnd, Proration.Months(after.Interval), own.BillingAnchor).Period(own.PeriodEnd);
        after = after with { Status = own.Status == SubscriptionStatus.Trialing ? SubscriptionStatus.Active : own.Status };
        draft.Change(Renewed(after, period, anchor, own.Kept! with { Charged = ChargeOf(price, period), Scheduled = null }), label);
        draft.Invoice(Base(plan, price, period));
    }

    /// <summary>A period that begins now, after a time without one.</summary>
    private static Draft Restart(Draft draft, Subscription own, SubscriptionChange label)
    {
        var (after, plan, price) = Scheduled(draft.Catalogs, own);
        var period = FirstPeriod(after.Interval, draft.At);
        var kept = own.Kept! with { Charged = ChargeOf(price, period), Scheduled = null, GraceUntil = null, PausedAt = null };
        // Paying late is no choice of a plan: one that an operator gave in the meantime stands.
        draft.Change(Renewed(after with { Status = SubscriptionStatus.Active }, period, draft.At, kept), label, givesAccess: label == SubscriptionChange.Resumed);
        return draft.Invoice(Base(plan, price, period));
    }

    /// <summary>It ends, with a last invoice of everything that is still open.</summary>
    internal static void End(Draft draft, Subscription own, SubscriptionChange label, bool prorate)
    {
        if (prorate) draft.Lines(Unused(draft.State, draft.Catalogs, own, draft.At));
        draft.Change(own with
        {
            Status = SubscriptionStatus.Canceled, CancelAtPeriodEnd = false, CancelAt = null, CanceledAt = own.CanceledAt ?? draft.At, EndedAt = draft.At,
            Kept = own.Kept! with { Charged = null, Scheduled = null, GraceUntil = null },
        }, label);
        draft.Issue(final: true);
    }

    private static Subscription Renewed(Subscription own, Bounds period, Instant anchor, KeptTerms kept) => own with
    {
        PeriodStart = period.Start, PeriodEnd = period.End, BillingAnchor = anchor, CancelAt = own.CancelAtPeriodEnd ? period.End : null, Kept = kept,
    };

    /// <summary>The subscription with what was to change at its period's end, the plan, and what that costs: null in a journal that lost its catalogs.</summary>
    private static (Subscription After, Plan? Plan, Price? Price) Scheduled(Catalogs catalogs, Subscription own)
    {
        var after = own.Kept!.Scheduled is { } to ? own with { Plan = to.Plan, CatalogVersion = to.CatalogVersion, Interval = to.Interval } : own;
        return (after, catalogs.Plan(after.Plan, after.CatalogVersion), PriceOf(catalogs, after));
    }

    /// <summary>What the subscription costs for a period; null for a plan at Stripe that the catalog has no price of.</summary>
    public static Price? PriceOf(Catalogs catalogs, Subscription own) =>
        catalogs.Plan(own.Plan, own.CatalogVersion)?.Price(own.Interval, own.Kept?.Currency ?? catalogs.Current.Currency);

    private static SubscriptionChange Label(Catalogs catalogs, Subscription own, string plan, Price? price) =>
        own.Plan == plan ? SubscriptionChange.IntervalChanged
        : PriceOf(catalogs, own) is { } before && price is not null && Proration.IsHigher(before, price) ? SubscriptionChange.Downgraded : SubscriptionChange.Upgraded;

    private static Bounds FirstPeriod(BillingInterval interval, Instant at) => BillingCycle.Paid(at, at, Proration.Months(interval), at).Period(at);

    private static BaseCharge ChargeOf(Price? price, Bounds period) => new(price?.Amount.Amount ?? 0, period.Start, period.End);

    private static Instant? Earlier(Instant? a, Instant? b) => a < b || b is null ? a : b;

    // ---- lines

    /// <summary>A period's price; null when it costs nothing.</summary>
    private static InvoiceLine? Base(Plan? plan, Price? price, Bounds period)
    {
        if (plan is null || price is null) return null;
        var each = price.Interval switch { BillingInterval.Year => "yearly", BillingInterval.Quarter => "quarterly", _ => "monthly" };
        return Line(LineKind.Base, $"{plan.Name} ({each})", plan.Id, price.Amount.Amount, price.Amount.Currency, period.Start, period.End) is { } line
            ? line with { UnitPrice = (decimal)price.Amount.Amount / Pricing.MinorUnits(price.Amount.Currency) }
            : null;
    }

    /// <summary>The unused rest of what was charged, given back; null when there is none.</summary>
    private static InvoiceLine? Unused(State state, Catalogs catalogs, Subscription own, Instant at)
    {
        if (own.Kept?.Charged is not { } charged) return null;
        var name = catalogs.Plan(own.Plan, own.CatalogVersion)?.Name ?? own.Plan;
        charged = charged with { Amount = Invoices.Net(state, charged, own.Kept.Currency, at) };
        return Line(LineKind.Proration, $"Unused time on {name} from {Day(at)}", own.Plan, Proration.Credit(charged, at), own.Kept.Currency, at, charged.End);
    }

    private static InvoiceLine? Line(LineKind kind, string description, string plan, long amount, string currency, Instant start, Instant end) =>
        amount == 0 ? null : new InvoiceLine(kind, description, null, plan, 1, null, amount, currency, start, end);

    private static string Day(Instant at) => at.InUtc().ToString("yyyy-MM-dd", null);
}

/// <summary>Events one after another, each decided on the state that the one before left.</summary>
internal sealed class Draft(State state, Catalogs catalogs, Instant at, Instant now, string? by, string? reason)
{
    private readonly List<LedgerEvent> events = [];

    public State State { get; private set; } = state;

    public Catalogs Catalogs => catalogs;

    /// <summary>When it happens. What the clock brought may be written later.</summary>
    public Instant At => at;

    public Decision Decision => new([.. events], null);

    public void Add(LedgerEvent e, Instant? effectiveAt = null) => Take(e with { Version = State.Version + 1, EffectiveAt = effectiveAt ?? at, RecordedAt = now });

    /// <param name="own">The subscription as it is from now on; null when it is not about it.</param>
    /// <param name="givesAccess">It takes the place of a plan that an operator set.</param>
    public Draft Change(Subscription? own, SubscriptionChange label, bool givesAccess = false)
    {
        // Later than what it takes the place of, also where a clock stands still.
        var gave = givesAccess ? (Instant?)Instant.Max(at, State.Subscriptions.OperatorPlan?.SetAt ?? at) : null;
        Take(Subscriptions.Change(State, catalogs, new SubscriptionChanged(null, own, gave, null, null, reason)
        {
            Version = State.Version + 1, EffectiveAt = at, RecordedAt = now, Change = label, By = by,
        }));
        return this;
    }

    /// <summary>Lines for the next invoice.</summary>
    public Draft Lines(params ReadOnlySpan<InvoiceLine?> lines)
    {
        var some = new List<InvoiceLine>();
        foreach (var line in lines)
            if (line is not null) some.Add(line);
        if (some.Count > 0) Add(new LinesAdded([.. some], reason) { By = by });
        return this;
    }

    /// <summary>Lines, and an invoice of them and of everything else that is pending.</summary>
    public Draft Invoice(params ReadOnlySpan<InvoiceLine?> lines)
    {
        Lines(lines);
        return Issue(final: false);
    }

    public Draft Issue(bool final)
    {
        foreach (var e in Invoices.Issue(State, catalogs, at, now, final)) Take(e);
        return this;
    }

    /// <summary>The overage so far as lines, although its time has not come.</summary>
    public Draft BillUsage(bool withGauges = true)
    {
        if (Invoices.BillUsageAt(State, catalogs, at, now, ending: true, withGauges) is { } lines) Take(lines);
        return this;
    }

    private void Take(LedgerEvent e)
    {
        events.Add(e);
        State = State.Evolve(e);
    }
}
