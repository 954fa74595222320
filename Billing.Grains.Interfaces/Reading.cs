using System.Globalization;
using Billing.Ledger;
using NodaTime;

namespace Billing.Grains;

/// <summary>The views, each one pure function of (state, catalogs, now). Every engine answers with these.</summary>
public static class Reading
{
    /// <summary>May the organization use this much of this feature at this time?</summary>
    /// <param name="quantity">In whole units; null is one.</param>
    public static CheckResult Check(State state, Catalogs catalogs, string featureId, decimal? quantity, Instant clock)
    {
        if (Ask(state, catalogs, featureId, quantity, out var feature, out var units) is { } rejection) return new CheckResult(null, rejection);
        return new CheckResult(EntitlementView.Of(Entitlements.Evaluate(state, catalogs, feature!, units, state.Now(clock))), null);
    }

    /// <summary>As <see cref="Check"/>, with the steps by which the answer came about.</summary>
    public static ExplainResult Explain(State state, Catalogs catalogs, string featureId, decimal? quantity, Instant clock)
    {
        if (Ask(state, catalogs, featureId, quantity, out var feature, out var units) is { } rejection) return new ExplainResult(null, rejection);
        var why = new Explanation();
        var entitlement = Entitlements.Evaluate(state, catalogs, feature!, units, state.Now(clock), why: why);
        return new ExplainResult(new ExplanationView(EntitlementView.Of(entitlement), state.Version, state.Now(clock), Steps(why)), null);
    }

    /// <summary>The steps as text.</summary>
    public static StepView[] Steps(Explanation why) =>
        [.. why.Steps.Select(s => new StepView(s.Rule, s.Outcome, s.Numbers.ToDictionary(n => n.Key, n => Text(n.Value)), s.Events))];

    /// <summary>For an entitlement after a command: one unit of the feature.</summary>
    public static EntitlementView? Entitlement(State state, Catalogs catalogs, string featureId, Instant clock) =>
        catalogs.Feature(featureId) is { } feature ? EntitlementView.Of(Entitlements.Evaluate(state, catalogs, feature, null, state.Now(clock))) : null;

    /// <summary>Every feature of the current catalog, each for one unit, in the catalog's order.</summary>
    public static EntitlementView[] All(State state, Catalogs catalogs, Instant clock) =>
        [.. catalogs.Current.Features.Select(f => EntitlementView.Of(Entitlements.Evaluate(state, catalogs, f, null, state.Now(clock))))];

    /// <summary>The organization with the plan in force. It has been opened.</summary>
    public static OrganizationView Organization(State state, Catalogs catalogs, Instant clock)
    {
        state = KeptSubscriptions.AsOf(state, catalogs, state.Now(clock));
        var force = Subscriptions.InForce(state, catalogs, state.Now(clock));
        return new OrganizationView(state.Organization, force.Plan?.Id, Status(force), state.Account.Zone.Id, state.Account.Test,
            state.Account.OpenedAt!.Value, state.Account.ClosedAt, state.Version)
        {
            Clock = state.Account.Ahead > Duration.Zero ? state.Now(clock) : null,
        };
    }

    /// <summary>Use in the running billing period, of every metered feature of the current catalog.</summary>
    public static UsageView Usage(State state, Catalogs catalogs, Instant clock)
    {
        var now = state.Now(clock);
        state = KeptSubscriptions.AsOf(state, catalogs, now);
        var force = Subscriptions.InForce(state, catalogs, now);
        var period = state.Subscriptions.Cycle.Period(now);
        UsageLineView[] lines = [.. catalogs.Current.Features.Where(f => f.Meter is not null).Select(f => Line(state, catalogs, force, f, now))];
        return new UsageView(new PeriodView(period.Start, period.End), force.Plan?.Id, lines, new Money(lines.Sum(l => l.Charge.Amount), catalogs.Current.Currency),
            new Money(lines.Sum(l => l.Unbilled.Amount), catalogs.Current.Currency));
    }

    /// <summary>What can be burned now, and every grant in the order in which they are burned.</summary>
    public static TokensView Tokens(State state, Instant clock)
    {
        var now = state.Now(clock);
        state = Ledger.Holds.AsOf(state, now);
        return new TokensView(Ledger.Tokens.Balance(state, now), state.Grants.Sum(g => g.Debt),
            [.. state.Grants.Select(g => new GrantView(g.Id, Spelling.Of(g.Kind), g.Priority, g.GrantedAt, g.ExpiresAt, g.Granted, g.Consumed, g.Held, g.Expired,
                g.Revoked, g.Remaining, g.Debt, g.Package, g.Payment, g.Currency is null ? null : new Money(g.Amount, g.Currency)))]);
    }

    /// <summary>The open holds, oldest first.</summary>
    public static HoldView[] Holds(State state, Catalogs catalogs, Instant clock)
    {
        var now = state.Now(clock);
        return [.. state.Holds.Where(h => h.IsLive(now)).Select(h => HoldView.Of(h, catalogs))];
    }

    /// <summary>The overrides that are in force, by feature.</summary>
    public static OverrideView[] Overrides(State state, Catalogs catalogs, Instant clock)
    {
        var now = state.Now(clock);
        return [.. state.Overrides.Where(o => o.IsLive(now)).Select(o => OverrideView.Of(o, catalogs))];
    }

    /// <summary>The spend caps, and what is charged for overage in the running billing period.</summary>
    public static SpendCapsView SpendCaps(State state, Catalogs catalogs, Instant clock)
    {
        var now = state.Now(clock);
        var currency = catalogs.Current.Currency;
        var period = state.Subscriptions.Cycle.Period(now);
        return new SpendCapsView(new PeriodView(period.Start, period.End), state.Billing.Cap is { } cap ? new Money(cap, currency) : null,
            new Money(Ledger.SpendCaps.Charged(state, catalogs, now), currency),
            [.. state.Billing.FeatureCaps.Select(c => new FeatureCapView(c.Feature, new Money(c.Amount, currency),
                new Money(catalogs.Feature(c.Feature) is { } feature ? Ledger.SpendCaps.Charged(state, catalogs, feature, now) : 0, currency)))]);
    }

    /// <summary>Automatic top-up: its terms and what was asked for.</summary>
    public static TopUpView TopUp(State state, Catalogs catalogs, Instant clock)
    {
        var (month, count, amount) = TopUps.InMonth(state, state.Now(clock));
        var (currency, topUp) = (catalogs.Current.Currency, state.Alerts.TopUp ?? TopUpState.None);
        return new TopUpView(topUp is { Terms: not null, SwitchedOff: null }, topUp.Terms?.Package, topUp.Terms?.Threshold, topUp.Terms?.MaxCount,
            topUp.Terms is { } terms ? new Money(terms.MaxAmount, currency) : null, topUp.Terms?.CoolOffMinutes,
            topUp.Pending is { } p ? new PendingTopUpView(p.Id, p.Package, p.Tokens, new Money(p.Amount, p.Currency), p.RequestedAt) : null,
            new TopUpMonthView(month.Start, month.End, count, new Money(amount, currency)), topUp.Failures, topUp.SwitchedOff, topUp.LastAt, TopUps.NextAt(state));
    }

    /// <summary>The plan in force, the subscription behind it and its payments.</summary>
    public static SubscriptionView Subscription(State state, Catalogs catalogs, Instant clock)
    {
        var now = state.Now(clock);
        state = KeptSubscriptions.AsOf(state, catalogs, now);
        var force = Subscriptions.InForce(state, catalogs, now);
        var own = force.Subscription;
        var period = state.Subscriptions.Cycle.Period(now);
        return new SubscriptionView(force.Plan?.Id, force.CatalogVersion, Status(force), Spelling.Of(force.Source), own?.Id, own?.Plan,
            own is null ? null : Spelling.Of(own.Interval), new PeriodView(period.Start, period.End), own?.TrialEnd, own?.CancelAtPeriodEnd ?? false,
            own?.CancelAt, own?.CanceledAt, own?.EndedAt, force.GraceUntil,
            [.. state.Subscriptions.Payments.Select(p => new PaymentView(p.Invoice, p.Paid ? "paid" : p.VoidedAt is not null ? "void" : "failed", new Money(p.Amount, p.Currency),
                p.FailedAttempts, p.FirstFailedAt, p.PaidAt))])
        {
            KeptBy = own is null or { Ended: true } ? null : own.Kept is null ? "stripe" : "ledger",
            Customer = own is { Ended: false, Kept: null } ? own.Customer : null,
            Price = own is null ? null : KeptSubscriptions.PriceOf(catalogs, own)?.Amount,
            Scheduled = (own?.Kept?.Scheduled ?? own?.Scheduled) is { } to && now < own!.PeriodEnd ? new ScheduledChangeView(to.Plan, Spelling.Of(to.Interval), own!.PeriodEnd) : null,
            PaymentMethod = own?.Kept?.HasPaymentMethod,
            PausedAt = own is { Status: SubscriptionStatus.Paused } ? own.Kept?.PausedAt : null,
            Until = force.Source == PlanSource.Operator ? state.Subscriptions.OperatorPlan!.Until : null,
            TrialUsed = state.Subscriptions.TrialUsed,
            Next = own is null || force.Source == PlanSource.Operator ? "none" : own.Status switch
            {
                SubscriptionStatus.Incomplete => "confirm_payment",
                SubscriptionStatus.PastDue or SubscriptionStatus.Unpaid => "pay",
                SubscriptionStatus.Paused => "resume",
                _ => "none",
            },
        };
    }

    /// <summary>All of it at one time. The organization had been opened.</summary>
    /// <param name="at">By the organization's own clock.</param>
    /// <param name="state">What was recorded by then.</param>
    public static StateView State(State state, Catalogs catalogs, Instant at)
    {
        var clock = at - state.Account.Ahead;
        return new StateView(at, state.Version, Organization(state, catalogs, clock), Subscription(state, catalogs, clock), Usage(state, catalogs, clock), Tokens(state, clock),
            Holds(state, catalogs, clock), Overrides(state, catalogs, clock), SpendCaps(state, catalogs, clock), BillingTermsView.Of(state, catalogs),
            [.. state.Billing.Pending.Select(l => InvoiceLineView.Of(l, catalogs))], [.. state.Billing.Invoices.Reverse().Select(InvoiceView.Of)], TopUp(state, catalogs, clock),
            state.Account.Customers, state.Account.Invitations, [.. state.Voided.Select(Ids.UsageRecord)], state.DueAt, All(state, catalogs, clock));
    }

    /// <summary>What a change of the subscription would come to, made now.</summary>
    public static ChangePreviewResult PreviewChange(State state, Catalogs catalogs, Command command)
    {
        var (preview, rejection) = Previews.Of(state, catalogs, command);
        return new ChangePreviewResult(preview is null ? null : ChangePreviewView.Of(preview, catalogs), rejection);
    }

    /// <summary>What moving to a version of the catalog would change; null when there is no plan to move.</summary>
    public static CatalogMoveView? PreviewMove(State state, Catalogs catalogs, int version, Instant clock) =>
        CatalogMoves.Preview(state, catalogs, version, clock) is { } move ? CatalogMoveView.Of(move, catalogs) : null;

    private static Rejection? Ask(State state, Catalogs catalogs, string featureId, decimal? quantity, out Feature? feature, out long? units)
    {
        units = null;
        feature = catalogs.Feature(featureId);
        if (!state.IsOpened) return Rejections.OrganizationUnknown(state.Organization);
        if (feature is null) return Rejections.FeatureUnknown(featureId);
        if (quantity is not { } asked || feature.Meter is not { } meter) return null;
        if (asked <= 0) return Rejections.QuantityNotPositive("quantity");
        var rejection = Quantity.TryUnits(asked, meter.Decimals, meter.Unit, out var exact);
        units = exact;
        return rejection;
    }

    private static string Status(PlanInForce force) => force.Source == PlanSource.Operator
        ? Spelling.Of(SubscriptionStatus.Active)
        : Spelling.Of(force.Subscription?.Status ?? SubscriptionStatus.None);

    private static UsageLineView Line(State state, Catalogs catalogs, PlanInForce force, Feature feature, Instant now)
    {
        var decimals = feature.Meter!.Decimals;
        var currency = catalogs.Current.Currency;
        var given = Ledger.Overrides.Given(state, force.Plan, feature, now);
        var entitlement = Entitlements.Evaluate(state, catalogs, feature, null, now);
        var use = state.Use(feature.Id);
        var inPeriod = use?.Running(Window.Period, now);
        var isGauge = feature.Meter.Aggregation == Aggregation.Gauge;
        var gauge = use?.Gauge;
        var peak = gauge?.PeakAt(now) ?? 0;
        var quantity = isGauge ? gauge?.Value ?? 0 : inPeriod?.Used ?? 0;
        // Tiers are for overage: there is no one price that all of it would cost.
        var price = given is { Tiers.IsEmpty: true } ? given.UnitPrice : null;
        var charge = Ledger.SpendCaps.Charged(state, catalogs, feature, now);
        var unbilled = isGauge ? charge : Pricing.Round((inPeriod?.Priced ?? []).Sum(p => Pricing.Exact(p.Units - p.Billed, decimals, p.UnitPrice, currency)));
        return new UsageLineView(feature.Id, feature.Name, feature.Meter.Unit, Quantity.ToDecimal(quantity, decimals),
            entitlement.Limit is { } limit ? Quantity.ToDecimal(limit, decimals) : null,
            entitlement.Remaining is { } remaining ? Quantity.ToDecimal(remaining, decimals) : null,
            entitlement.ResetsAt,
            isGauge
                ? CoverageView.Of(quantity - entitlement.Overage, 0, entitlement.Overage, decimals)
                : CoverageView.Of(inPeriod?.Allowance ?? 0, inPeriod?.ByTokens ?? 0, inPeriod?.Overage ?? 0, decimals),
            price?.ToString(CultureInfo.InvariantCulture),
            price is { } each ? new Money(Pricing.Line(isGauge ? peak : quantity, decimals, each, currency), currency) : null,
            new Money(charge, currency),
            [.. (use?.Counters ?? []).Where(c => now < c.End).OrderBy(c => c.Window).Select(c =>
                new WindowView(Spelling.Of(c.Window), Quantity.ToDecimal(c.Used, decimals), c.Start, c.End == Bounds.Never ? null : c.End))])
        {
            Unbilled = new Money(unbilled, currency),
            Peak = isGauge ? Quantity.ToDecimal(peak, decimals) : null,
        };
    }

    private static string? Text(object? value) => value switch
    {
        null => null,
        Instant at => at.ToString("uuuu'-'MM'-'dd'T'HH':'mm':'ss;FFFFFF'Z'", CultureInfo.InvariantCulture),
        IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString(),
    };
}
