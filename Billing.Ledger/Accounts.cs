using NodaTime;

namespace Billing.Ledger;

/// <summary>Opening, closing, linking, inviting; the time zone, and a test organization's own clock.</summary>
public static class Accounts
{
    /// <summary>How far a test organization's clock goes in one step.</summary>
    public const int MaxYearsAhead = 2;

    /// <summary>How far it goes at all.</summary>
    public static readonly Instant LastClock = Instant.FromUtc(2200, 1, 1, 0, 0);

    public static Decision Decide(State state, Catalogs catalogs, OpenOrganization c, Instant now)
    {
        if (state.IsOpened) return Rejections.OrganizationExists(state.Organization);
        var plan = c.Plan is { } id ? catalogs.Current.Plan(id) : null;
        if (c.Plan is not null && plan?.IsFor(state.Organization) != true) return Rejections.PlanUnknown(c.Plan);
        if (DateTimeZoneProviders.Tzdb.GetZoneOrNull(c.TimeZone) is null) return Rejections.TimeZoneUnknown(c.TimeZone);
        if (plan is { InviteOnly: true }) return Rejections.InviteOnly(plan.Id);
        return new OrganizationOpened(c.TimeZone, c.Test, c.Plan, catalogs.Current.Version)
        {
            Version = state.Version + 1, EffectiveAt = now, RecordedAt = now,
        };
    }

    /// <summary>A subscription that the ledger keeps ends first, and everything that is not billed yet goes onto a last invoice: Stripe's, where the subscription is there.</summary>
    public static Decision Decide(State state, Catalogs catalogs, CloseOrganization c, Instant now)
    {
        var draft = new Draft(state, catalogs, now, now, c.By, c.Reason).BillUsage();
        if (state.Subscriptions.Own is { Ended: false, Kept: not null } own) KeptSubscriptions.End(draft, own, SubscriptionChange.Canceled, prorate: false);
        else if (!Invoices.AreAtStripe(state)) draft.Issue(final: true);
        draft.Add(new OrganizationClosed(c.Reason));
        return draft.Decision;
    }

    public static Decision Decide(State state, ChangeTimeZone c, Instant now)
    {
        if (DateTimeZoneProviders.Tzdb.GetZoneOrNull(c.TimeZone) is not { } zone) return Rejections.TimeZoneUnknown(c.TimeZone);
        if (zone.Id == state.Account.Zone.Id) return Decision.AlreadyDone;
        var changed = new TimeZoneChanged(c.TimeZone, null) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };
        return changed with { Moved = Subscriptions.MovedWindows(state, state.Evolve(changed), now, [Window.Day, Window.Month, Window.Period]) };
    }

    /// <summary>The clock goes first, and what became due by then follows in the same append, instant after instant.</summary>
    public static Decision Decide(State state, Catalogs catalogs, AdvanceClock c)
    {
        var now = state.Now(c.At);
        if (c.To <= now) return Rejections.ClockBackwards(now);
        var most = now >= LastClock ? LastClock : Instant.Min(LastClock, now.InUtc().LocalDateTime.PlusYears(MaxYearsAhead).InUtc().ToInstant());
        if (c.To > most) return Rejections.ClockTooFar(most);
        if (!state.Account.Test) return Rejections.NotATestOrganization(state.Organization);
        var ahead = (c.To - c.At).ToInt64Nanoseconds() / 1_000;
        var advanced = new ClockAdvanced(c.To, ahead) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };
        return new Decision([advanced, .. Decider.Due(state.Evolve(advanced), catalogs, c.To)], null);
    }

    public static Decision Decide(State state, LinkCustomer c, Instant now) =>
        state.Account.Customers.Contains(c.Customer)
            ? Decision.AlreadyDone
            : new CustomerLinked(c.Customer) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };

    public static Decision Decide(State state, Catalogs catalogs, InviteToPlan c, Instant now)
    {
        if (catalogs.Current.Plan(c.Plan)?.IsFor(state.Organization) != true) return Rejections.PlanUnknown(c.Plan);
        if (state.Account.Invitations.Contains(c.Plan)) return Decision.AlreadyDone;
        return new InvitationGiven(c.Plan) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };
    }

    public static State Evolve(State state, OrganizationOpened e)
    {
        var zone = DateTimeZoneProviders.Tzdb.GetZoneOrNull(e.TimeZone) ?? DateTimeZone.Utc;
        return state with
        {
            Account = state.Account with { OpenedAt = e.EffectiveAt, Zone = zone, Test = e.Test },
            Subscriptions = state.Subscriptions with
            {
                Cycle = BillingCycle.Calendar(zone),
                OperatorPlan = e.Plan is null ? null : new OperatorPlan(e.Plan, e.CatalogVersion, SetAt: null),
            },
        };
    }

    public static State Evolve(State state, OrganizationClosed e)
    {
        state = state with { Account = state.Account with { ClosedAt = e.EffectiveAt } };
        return Invoices.Due(state, e.EffectiveAt);
    }

    /// <summary>Days begin at the new zone's midnight, and without a subscription months too; what runs goes on into the new windows.</summary>
    public static State Evolve(State state, TimeZoneChanged e)
    {
        var zone = DateTimeZoneProviders.Tzdb.GetZoneOrNull(e.TimeZone) ?? DateTimeZone.Utc;
        var before = state.Subscriptions.Prorated;
        var moved = e.Moved ?? [];
        state = state.CutAt(e.EffectiveAt) with
        {
            Account = state.Account with { Zone = zone },
            Subscriptions = state.Subscriptions with
            {
                Cycle = Subscriptions.CycleOf(state.Subscriptions.Own, zone),
                Prorated = [.. before.Select(p => p.End > e.EffectiveAt && Array.Find(moved, m => m.Window == p.Window) is { } to ? p with { End = to.End } : p)],
            },
        };
        return Invoices.Due(Subscriptions.Move(state, moved, e.EffectiveAt), e.EffectiveAt);
    }

    public static State Evolve(State state, ClockAdvanced e) =>
        state with { Account = state.Account with { Ahead = Duration.FromNanoseconds(e.AheadMicros * 1_000) } };

    public static State Evolve(State state, CustomerLinked e) =>
        state with
        {
            // Sorted, so that the order in which links are heard of does not show.
            Account = state.Account with { Customers = [.. state.Account.Customers.Add(e.Customer).Order(StringComparer.Ordinal)] },
        };

    public static State Evolve(State state, InvitationGiven e) =>
        state with { Account = state.Account with { Invitations = state.Account.Invitations.Add(e.Plan) } };
}
