using System.Collections.Immutable;
using NodaTime;

namespace Billing.Ledger;

/// <summary>What a command came to: events, or a rejection, or neither because it is already done.</summary>
public readonly record struct Decision(ImmutableArray<LedgerEvent> Events, Rejection? Rejection)
{
    /// <summary>Nothing to write: the command was recorded before, or the ledger already is as it asks.</summary>
    public static readonly Decision AlreadyDone = new([], null);

    public static implicit operator Decision(LedgerEvent e) => new([e], null);

    public static implicit operator Decision(Rejection rejection) => new([], rejection);
}

/// <summary>What the journal holds under a command's id.</summary>
/// <param name="Version">The version of the first event that it wrote.</param>
public readonly record struct RecordedCommand(long Version, byte[] ContentHash);

public static class Decider
{
    /// <summary>Pure and total: the same inputs give the same decision, and nothing is thrown for what callers can send.</summary>
    /// <param name="before">What was recorded under this command's id, if anything was. Finding that is the session's work.</param>
    public static Decision Decide(State state, Catalogs catalogs, Command command, RecordedCommand? before)
    {
        if (before is { } recorded)
            return recorded.ContentHash.AsSpan().SequenceEqual(command.ContentHash) ? Decision.AlreadyDone : Rejections.CommandIdReused(command.Id);

        if (command is not OpenOrganization)
        {
            if (!state.IsOpened) return Rejections.OrganizationUnknown(state.Organization);
            if (state.IsClosed && !IsTakenAfterClosing(state, command)) return Rejections.OrganizationClosed(state.Organization);
        }

        if (command is AdvanceClock advance) return Accounts.Decide(state, catalogs, advance);

        var now = state.Now(command.At);
        if (state.DueAt is { } due && due <= now) return DecideAfterDue(state, catalogs, command, now);
        return Then(state, catalogs, command, Route(state, catalogs, command, now), now);
    }

    /// <summary>Nobody asks for anything new then. What happened at Stripe is recorded all the same; and what is owed is billed, and what becomes of it.</summary>
    private static bool IsTakenAfterClosing(State state, Command command) => command switch
    {
        FollowSubscription or RecordPayment or VoidPayment or PurchaseTokens or DatePurchase or ReturnMoney or FailTopUp => true,
        WriteDue or BillAtStripe or FinalizeInvoice or SettleInvoice => true,
        CreateInvoice => !state.Billing.Pending.IsEmpty,
        _ => false,
    };

    private static Decision Route(State state, Catalogs catalogs, Command command, Instant now) => command switch
    {
        RecordUsage c => Usage.Decide(state, catalogs, c, now),
        SetGauge c => Usage.Decide(state, catalogs, c, now),
        PlaceHold c => Holds.Decide(state, catalogs, c, now),
        SettleHold c => Holds.Decide(state, catalogs, c, now),
        ReleaseHold c => Holds.Decide(state, c, now),
        VoidUsage c => Corrections.Decide(state, catalogs, c, now),
        CorrectUsage c => Corrections.Decide(state, catalogs, c, now),
        GrantTokens c => Tokens.Decide(state, c, now),
        PurchaseTokens c => Tokens.Decide(state, catalogs, c, now),
        DatePurchase c => Tokens.Decide(state, c, now),
        ReturnMoney c => Tokens.Decide(state, c, now),
        ConfigureTopUp c => TopUps.Decide(state, catalogs, c, now),
        FailTopUp c => TopUps.Decide(state, c, now),
        FollowSubscription c => Subscriptions.Decide(state, catalogs, c, now),
        RecordPayment c => Subscriptions.Decide(state, catalogs, c, now),
        VoidPayment c => Subscriptions.Decide(state, c, now),
        SetPlan c => Subscriptions.Decide(state, catalogs, c, now),
        StartSubscription c => KeptSubscriptions.Decide(state, catalogs, c, now),
        ChangeSubscription c => KeptSubscriptions.Decide(state, catalogs, c, now),
        CancelSubscription c => KeptSubscriptions.Decide(state, catalogs, c, now),
        ReactivateSubscription c => KeptSubscriptions.Decide(state, catalogs, c, now),
        PauseSubscription c => KeptSubscriptions.Decide(state, catalogs, c, now),
        ResumeSubscription c => KeptSubscriptions.Decide(state, catalogs, c, now),
        SetPaymentMethod c => KeptSubscriptions.Decide(state, catalogs, c, now),
        ReportPayment c => KeptSubscriptions.Decide(state, catalogs, c, now),
        MoveToCatalog c => CatalogMoves.Decide(state, catalogs, c, now),
        SetOverride c => Overrides.Decide(state, catalogs, c, now),
        CreateInvoice c => Invoices.Decide(state, catalogs, c, now),
        BillAtStripe c => Invoices.Decide(state, c, now),
        FinalizeInvoice c => Invoices.Decide(state, catalogs, c, now),
        SettleInvoice c => Invoices.Decide(state, catalogs, c, now),
        AddLine c => Invoices.Decide(state, catalogs, c, now),
        GrantCredit c => Invoices.Decide(state, catalogs, c, now),
        SetBillingTerms c => Invoices.Decide(state, catalogs, c, now),
        SetSpendCaps c => SpendCaps.Decide(state, catalogs, c, now),
        ChangeTimeZone c => Accounts.Decide(state, c, now),
        OpenOrganization c => Accounts.Decide(state, catalogs, c, now),
        CloseOrganization c => Accounts.Decide(state, catalogs, c, now),
        LinkCustomer c => Accounts.Decide(state, c, now),
        InviteToPlan c => Accounts.Decide(state, catalogs, c, now),
        WriteDue => Decision.AlreadyDone,
        _ => throw new InvalidOperationException($"The ledger has no rule for {command.GetType().Name}."),
    };

    /// <summary>
    /// Windows that have ended are closed, and tokens that have expired are written off, before the organization's next
    /// event; a refused command writes nothing, these included.
    /// </summary>
    private static Decision DecideAfterDue(State state, Catalogs catalogs, Command command, Instant now)
    {
        var due = Due(state, catalogs, now);
        state = state.Evolve(due);
        var decision = Then(state, catalogs, command, Route(state, catalogs, Corrections.After(due, command), now), now);
        if (decision.Rejection is not null) return decision;
        if (decision.Events.IsEmpty && command is not WriteDue) return decision;
        return new Decision([.. due, .. decision.Events], null);
    }

    /// <summary>What a decision brings about: what payments mean for the subscription, alerts and top-ups, in the same append.</summary>
    private static Decision Then(State state, Catalogs catalogs, Command command, Decision decision, Instant now)
    {
        if (decision.Events.IsEmpty) return decision;
        // Late use and corrections make lines for the next invoice as long as there is room for them.
        if (state.Billing.Pending.Length >= Invoices.MaxPending && command is RecordUsage or VoidUsage or CorrectUsage && decision.Events.Any(e => e is LinesAdded))
            return Rejections.TooManyLines(Invoices.MaxPending);
        if (KeptSubscriptions.After(state, catalogs, decision.Events, now, command.By) is { Length: > 0 } standing) decision = decision with { Events = [.. decision.Events, .. standing] };
        var more = Alerts.After(state, catalogs, decision.Events, now);
        return more.Count == 0 ? decision : new Decision([.. decision.Events, .. more], null);
    }

    /// <summary>What became due, instant after instant in order. At each: what ends first, then what is billed, then what begins.</summary>
    internal static List<LedgerEvent> Due(State state, Catalogs catalogs, Instant now)
    {
        var events = new List<LedgerEvent>();
        while (NextDue(state) is { } at && at <= now)
        {
            var before = events.Count;
            AddAll(Holds.ExpireAt(state, at, now));
            Add(Invoices.BillUsageAt(state, catalogs, at, now));
            Add(Usage.ResetAt(state, catalogs, at, now));
            Add(Tokens.ExpireAt(state, at, now));
            AddAll(Overrides.EndAt(state, catalogs, at, now));
            AddAll(KeptSubscriptions.TurnAt(state, catalogs, at, now));
            // Whatever was billed at this instant goes onto one invoice: Stripe's, where the subscription is there.
            if (!Invoices.AreAtStripe(state) && events.Skip(before).Any(e => e is LinesAdded)) AddAll(Invoices.Issue(state, catalogs, at, now));
            AddAll(Alerts.DueAt(state, catalogs, at, now));
            if (events.Count == before) break;
        }
        return events;

        void Add(LedgerEvent? e)
        {
            if (e is null) return;
            events.Add(e);
            state = state.Evolve(e);
        }

        void AddAll(IEnumerable<LedgerEvent> several)
        {
            foreach (var e in several) Add(e);
        }
    }

    /// <summary>When something is next due: a window with use in it ends, a grant, a hold or an override expires, a subscription turns, overage is billed.</summary>
    internal static Instant? NextDue(State state)
    {
        var next = Bounds.Never;
        foreach (var use in state.Usage)
            foreach (var counter in use.Counters)
                if (counter.End < next) next = counter.End;
        foreach (var grant in state.Grants)
            if (grant is { Remaining: > 0, ExpiresAt: { } end } && end < next) next = end;
        foreach (var hold in state.Holds)
            if (hold.ExpiresAt < next) next = hold.ExpiresAt;
        foreach (var over in state.Overrides)
            if (over.Until is { } end && end < next) next = end;
        if (state.Billing.BilledAt is { } billed && billed < next) next = billed;
        if (KeptSubscriptions.NextTurn(state) is { } turn && turn < next) next = turn;
        if (Alerts.NextDue(state) is { } alert && alert < next) next = alert;
        return next == Bounds.Never ? null : next;
    }
}
