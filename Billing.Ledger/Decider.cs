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
            if (state.IsClosed && command is not WriteDue) return Rejections.OrganizationClosed(state.Organization);
        }

        var now = state.Now(command.At);
        if (state.DueAt is { } due && due <= now) return DecideAfterDue(state, catalogs, command, now);
        return Route(state, catalogs, command, now);
    }

    private static Decision Route(State state, Catalogs catalogs, Command command, Instant now) => command switch
    {
        RecordUsage c => Usage.Decide(state, catalogs, c, now),
        SetGauge c => Usage.Decide(state, catalogs, c, now),
        GrantTokens c => Tokens.Decide(state, c, now),
        PurchaseTokens c => Tokens.Decide(state, catalogs, c, now),
        DatePurchase c => Tokens.Decide(state, c, now),
        ReturnMoney c => Tokens.Decide(state, c, now),
        FollowSubscription c => Subscriptions.Decide(state, catalogs, c, now),
        RecordPayment c => Subscriptions.Decide(state, c, now),
        SetPlan c => Subscriptions.Decide(state, catalogs, c, now),
        OpenOrganization c => Accounts.Decide(state, catalogs, c, now),
        CloseOrganization c => Accounts.Decide(state, c, now),
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
        var due = Due(state, now);
        var decision = Route(state.Evolve(due), catalogs, command, now);
        if (decision.Rejection is not null) return decision;
        if (decision.Events.IsEmpty && command is not WriteDue) return decision;
        return new Decision([.. due, .. decision.Events], null);
    }

    /// <summary>One event for each instant at which something became due, in order.</summary>
    private static List<LedgerEvent> Due(State state, Instant now)
    {
        var events = new List<LedgerEvent>();
        while (NextDue(state) is { } at && at <= now)
        {
            LedgerEvent? next = (LedgerEvent?)Usage.ResetAt(state, at, now) ?? Tokens.ExpireAt(state, at, now);
            if (next is null) break;
            events.Add(next);
            state = state.Evolve(next);
        }
        return events;
    }

    /// <summary>When the next window with use in it ends, or the next live grant expires.</summary>
    internal static Instant? NextDue(State state)
    {
        var next = Bounds.Never;
        foreach (var use in state.Usage)
            foreach (var counter in use.Counters)
                if (counter.End < next) next = counter.End;
        foreach (var grant in state.Grants)
            if (grant is { Remaining: > 0, ExpiresAt: { } end } && end < next) next = end;
        return next == Bounds.Never ? null : next;
    }
}
