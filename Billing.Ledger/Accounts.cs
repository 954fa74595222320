using NodaTime;

namespace Billing.Ledger;

/// <summary>Opening, closing, linking, inviting.</summary>
public static class Accounts
{
    public static Decision Decide(State state, Catalogs catalogs, OpenOrganization c, Instant now)
    {
        if (state.IsOpened) return Rejections.OrganizationExists(state.Organization);
        var plan = c.Plan is { } id ? catalogs.Current.Plan(id) : null;
        if (plan is null && c.Plan is not null) return Rejections.PlanUnknown(c.Plan);
        if (DateTimeZoneProviders.Tzdb.GetZoneOrNull(c.TimeZone) is null) return Rejections.TimeZoneUnknown(c.TimeZone);
        if (plan is { InviteOnly: true }) return Rejections.InviteOnly(plan.Id);
        return new OrganizationOpened(c.TimeZone, c.Test, c.Plan, catalogs.Current.Version)
        {
            Version = state.Version + 1, EffectiveAt = now, RecordedAt = now,
        };
    }

    public static Decision Decide(State state, Catalogs catalogs, CloseOrganization c, Instant now) =>
        new OrganizationClosed(c.Reason) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };

    public static Decision Decide(State state, ChangeTimeZone c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, Catalogs catalogs, AdvanceClock c) => throw new NotSupportedException();

    public static State Evolve(State state, TimeZoneChanged e) => throw new NotSupportedException();

    public static State Evolve(State state, ClockAdvanced e) => throw new NotSupportedException();

    public static Decision Decide(State state, LinkCustomer c, Instant now) =>
        state.Account.Customers.Contains(c.Customer)
            ? Decision.AlreadyDone
            : new CustomerLinked(c.Customer) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };

    public static Decision Decide(State state, Catalogs catalogs, InviteToPlan c, Instant now)
    {
        if (catalogs.Current.Plan(c.Plan) is null) return Rejections.PlanUnknown(c.Plan);
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
        return state with { DueAt = Decider.NextDue(state) };
    }

    public static State Evolve(State state, CustomerLinked e) =>
        state with
        {
            // Sorted, so that the order in which links are heard of does not show.
            Account = state.Account with { Customers = [.. state.Account.Customers.Add(e.Customer).Order(StringComparer.Ordinal)] },
        };

    public static State Evolve(State state, InvitationGiven e) =>
        state with { Account = state.Account with { Invitations = state.Account.Invitations.Add(e.Plan) } };
}
