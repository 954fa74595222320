using System.Collections.Immutable;
using NodaTime;

namespace Billing.Ledger;

/// <summary>Use that would have been refused.</summary>
/// <param name="Quantity">In whole units of the meter.</param>
public sealed record WouldBeDenied(Instant At, string Feature, decimal Quantity, string Code);

/// <summary>What one organization comes to under one catalog. Amounts are minor units of that catalog's currency.</summary>
/// <param name="Base">Plans' prices, with prorations.</param>
/// <param name="Overage">Overage and its adjustments, what is not on an invoice yet included.</param>
/// <param name="OverLimit">Records past a limit that were taken because they had happened already.</param>
public sealed record Outcome(long Base, long Overage, long TokensBurned, long Recorded, long OverLimit)
{
    public long Charges => Base + Overage;
}

/// <param name="Denied">Recorded then, refused now. (What was refused then left nothing in the journal.)</param>
/// <param name="Problems">What could not be played again, such as a plan that the other catalog does not have.</param>
public sealed record WhatIfResult(string Organization, Outcome Then, Outcome Now, ImmutableArray<WouldBeDenied> Denied, ImmutableArray<string> Problems);

/// <summary>
/// What would have been, had another catalog been in force: the journal's events as commands again, decided anew. What
/// people asked for and what they paid for is taken as it was; what the ledger decided, it decides again.
/// </summary>
public sealed class WhatIf
{
    private readonly Catalogs original;
    private readonly Catalogs other;
    private readonly Instant from;
    private readonly Instant to;
    private readonly List<WouldBeDenied> denied = [];
    private readonly List<string> problems = [];

    /// <summary>Records and grants of the journal, by what they became here.</summary>
    private readonly Dictionary<string, UsageRecorded?> records = [];
    private readonly Dictionary<string, string> grants = [];

    private readonly string organization;
    private State was;
    private State now;
    private Outcome then = new(0, 0, 0, 0, 0);
    private Outcome instead = new(0, 0, 0, 0, 0);

    /// <param name="other">The catalog to try, alone: every subscription is on it from its beginning.</param>
    /// <param name="from">Only what happened from here on is counted, up to <paramref name="to"/>.</param>
    public WhatIf(string organization, Catalogs original, Catalog other, Instant from, Instant to)
    {
        this.organization = organization;
        this.original = original;
        this.other = new Catalogs([other with { Version = 1 }]);
        (this.from, this.to) = (from, to);
        was = now = State.Empty(organization);
    }

    /// <summary>The next event of the stream, in order.</summary>
    public void Take(LedgerEvent e)
    {
        if (e.RecordedAt >= to) return;
        was = was.Evolve(e);
        then = Count(then, [e]);
        Replay(e);
    }

    /// <summary>After the last event: what became due and what is not billed yet counts too, as of the end, whether it is written or not.</summary>
    public WhatIfResult Result(Instant end)
    {
        // A test organization's journal may be ahead of everybody's clock.
        end = Instant.Min(Instant.Max(end, was.RecordedAt), to);
        var due = was.IsOpened ? Decider.Due(was, original, Instant.Max(end, was.RecordedAt)) : [];
        was = was.Evolve(due);
        then = Count(then, due);
        if (now.IsOpened) Apply(Decider.Due(now, other, Instant.Max(end, now.RecordedAt)));
        then = then with { Overage = then.Overage + Unbilled(was, original, end) };
        instead = instead with { Overage = instead.Overage + Unbilled(now, other, end) };
        return new WhatIfResult(organization, then, instead, [.. denied], [.. problems]);
    }

    private long Unbilled(State state, Catalogs catalogs, Instant end) =>
        state.IsOpened && end > from ? Invoices.UsageLines(state, catalogs, Instant.Max(end, state.RecordedAt), ending: true).Sum(l => l.Amount) : 0;

    private void Replay(LedgerEvent e)
    {
        switch (e)
        {
            case OrganizationOpened x:
                Ask(e, new OpenOrganization(x.TimeZone, x.Test, Known(x.Plan)) { Id = "", ContentHash = [], At = default });
                break;
            case OrganizationClosed x:
                Ask(e, new CloseOrganization(x.Reason) { Id = "", ContentHash = [], At = default });
                break;
            case InvitationGiven x when Known(x.Plan) is { } plan:
                Ask(e, new InviteToPlan(plan) { Id = "", ContentHash = [], At = default });
                break;
            case TimeZoneChanged x:
                Ask(e, new ChangeTimeZone(x.TimeZone) { Id = "", ContentHash = [], At = default });
                break;
            case ClockAdvanced x when Instant.Min(x.To, to) is var until && until > now.RecordedAt:
                Ask(e, new AdvanceClock(until) { Id = "", ContentHash = [], At = default });
                break;
            case SubscriptionChanged x when Command(x) is { } command:
                Ask(e, command);
                break;
            case LinesBilledAtStripe x:
                Ask(e, new BillAtStripe(x.Invoice, x.Lines[0].Currency) { Id = "", ContentHash = [], At = default });
                break;
            case PaymentRecorded x:
                Ask(e, new RecordPayment(OpenInvoice(x.Invoice), x.Subscription, x.Paid, x.Attempt, x.Amount, x.Currency, x.EffectiveAt) { Id = "", ContentHash = [], At = default });
                break;
            case PaymentVoided x:
                Ask(e, new VoidPayment(x.Invoice, x.Subscription, x.Currency, x.EffectiveAt) { Id = "", ContentHash = [], At = default });
                break;
            case UsageRecorded x:
                Use(x);
                break;
            case UsageVoided x when records.GetValueOrDefault(x.Record) is { } record:
                Ask(e, new VoidUsage(record, x.Reason) { Id = "", ContentHash = [], At = default });
                break;
            case TokensPurchased or TokensGranted:
                var made = e with { Version = now.Version + 1 };
                grants[Ids.Grant(e.Version)] = Ids.Grant(made.Version);
                Bring(e, made);
                break;
            case PurchaseDated x when grants.TryGetValue(x.Grant, out var dated):
                Bring(e, x with { Grant = dated, Version = now.Version + 1 });
                break;
            case TokensRevoked x when grants.TryGetValue(x.Grant, out var id) && now.Grants.FirstOrDefault(g => g.Id == id) is { } grant:
                // More or less may have been burned of it here: what cannot be taken is debt, and the other way round.
                var change = x.Revoked + x.Debt;
                var revoked = change > 0 ? Math.Min(grant.Remaining, change) : Math.Max(-grant.Revoked, change + Math.Min(grant.Debt, -change));
                Bring(e, x with { Grant = id, Revoked = revoked, Debt = change - revoked, Version = now.Version + 1 });
                break;
            case BillingTermsSet or SpendCapsSet or CreditGranted or OverrideSet:
                Bring(e, e with { Version = now.Version + 1 });
                break;
            case LinesAdded { Lines: [{ Kind: LineKind.Adjustment, Feature: null, Records: null }, ..] }:
                Bring(e, e with { Version = now.Version + 1 });
                break;
        }
    }

    private void Use(UsageRecorded x)
    {
        if (other.Feature(x.Feature)?.Meter is not { } meter)
        {
            Problem($"The feature '{x.Feature}' is not metered there.");
            return;
        }
        var quantity = Quantity.ToDecimal(x.Quantity, original.Feature(x.Feature)?.Meter?.Decimals ?? meter.Decimals);
        var before = now.Version;
        var rejection = Ask(x, new RecordUsage(x.Feature, quantity, null, x.EffectiveAt, !x.OverLimit, null) { Id = "", ContentHash = [], At = default });
        records[Ids.UsageRecord(x.Version)] = null;
        if (rejection is null) records[Ids.UsageRecord(x.Version)] = last.OfType<UsageRecorded>().LastOrDefault(u => u.Version > before);
        else if (rejection.Denial is { } denial && IsCounted(x.RecordedAt)) denied.Add(new WouldBeDenied(x.EffectiveAt, x.Feature, quantity, denial.Code));
    }

    /// <summary>What was asked for; null for what the clock does by itself here too.</summary>
    private Command? Command(SubscriptionChanged x)
    {
        if (x.OperatorPlan is { } set)
            return Known(set.Plan) is { } plan ? new SetPlan(plan, x.Reason, set.Until) { Id = "", ContentHash = [], At = default } : null;
        if (x.Followed is not { } s || (Known(s.Plan) is null && s.Order is not null)) return null;
        if (s.Order is not null) return new FollowSubscription(s) { Id = "", ContentHash = [], At = default };
        if (x.By == "clock" || s.Kept is not { } kept) return null;
        return x.Change switch
        {
            SubscriptionChange.Started or SubscriptionChange.TrialStarted when Known(s.Plan) is not null =>
                new StartSubscription(s.Plan, s.Interval, kept.Currency, x.Change == SubscriptionChange.TrialStarted, kept.HasPaymentMethod, x.Reason) { Id = "", ContentHash = [], At = default },
            SubscriptionChange.Upgraded or SubscriptionChange.Downgraded or SubscriptionChange.IntervalChanged when Known(s.Plan) is not null =>
                new ChangeSubscription(s.Plan, s.Interval, ChangeTime.Now, ProrationMode.NextInvoice, x.Reason) { Id = "", ContentHash = [], At = default },
            SubscriptionChange.ChangeScheduled when kept.Scheduled is { } change && Known(change.Plan) is not null =>
                new ChangeSubscription(change.Plan, change.Interval, ChangeTime.PeriodEnd, ProrationMode.NextInvoice, x.Reason) { Id = "", ContentHash = [], At = default },
            SubscriptionChange.CancelScheduled => new CancelSubscription(ChangeTime.PeriodEnd, false, x.Reason) { Id = "", ContentHash = [], At = default },
            SubscriptionChange.Canceled => new CancelSubscription(ChangeTime.Now, false, x.Reason) { Id = "", ContentHash = [], At = default },
            SubscriptionChange.Reactivated => new ReactivateSubscription(x.Reason) { Id = "", ContentHash = [], At = default },
            SubscriptionChange.Paused => new PauseSubscription(x.Reason) { Id = "", ContentHash = [], At = default },
            SubscriptionChange.Resumed => new ResumeSubscription(x.Reason) { Id = "", ContentHash = [], At = default },
            SubscriptionChange.PaymentMethodChanged => new SetPaymentMethod(kept.HasPaymentMethod) { Id = "", ContentHash = [], At = default },
            _ => null,
        };
    }

    /// <summary>A payment for one of the ledger's own invoices is for the newest open one here.</summary>
    private string OpenInvoice(string invoice) =>
        was.Billing.Invoices.Any(i => i.Id == invoice || i.Number == invoice)
            ? now.Billing.Invoices.LastOrDefault(i => i.Status == InvoiceStatus.Open)?.Id ?? invoice
            : invoice;

    private ImmutableArray<LedgerEvent> last = [];

    private Rejection? Ask(LedgerEvent e, Command command)
    {
        var decision = Decider.Decide(now, other, command with { At = e.RecordedAt - now.Account.Ahead, By = "what-if" }, null);
        last = decision.Events;
        Apply(decision.Events);
        if (decision.Rejection is { Denial: null } rejection) Problem(rejection.Message);
        return decision.Rejection;
    }

    /// <summary>A fact that no catalog has a say in, after what the clock brought until then.</summary>
    private void Bring(LedgerEvent e, LedgerEvent asIs)
    {
        if (!now.IsOpened) return;
        Apply(Decider.Due(now, other, e.RecordedAt));
        if (asIs.Version != now.Version + 1)
        {
            asIs = asIs with { Version = now.Version + 1 };
            if (e is TokensPurchased or TokensGranted) grants[Ids.Grant(e.Version)] = Ids.Grant(asIs.Version);
        }
        Apply([asIs]);
    }

    private void Apply(IReadOnlyCollection<LedgerEvent> events)
    {
        now = now.Evolve(events);
        instead = Count(instead, events);
    }

    private Outcome Count(Outcome sum, IEnumerable<LedgerEvent> events)
    {
        foreach (var e in events)
        {
            if (!IsCounted(e.RecordedAt)) continue;
            sum = e switch
            {
                UsageRecorded x => sum with
                {
                    Recorded = sum.Recorded + 1, OverLimit = sum.OverLimit + (x.OverLimit ? 1 : 0), TokensBurned = sum.TokensBurned + (x.Grants?.Sum(g => g.Tokens) ?? 0),
                },
                UsageVoided x => sum with { Recorded = sum.Recorded - 1, TokensBurned = sum.TokensBurned - (x.Returned?.Sum(r => r.Remaining + r.Expired + r.Revoked) ?? 0) },
                LinesAdded x => sum with
                {
                    Base = sum.Base + x.Lines.Where(l => l.Kind is LineKind.Base or LineKind.Proration).Sum(l => l.Amount),
                    Overage = sum.Overage + x.Lines.Where(l => l.Kind is LineKind.Overage or LineKind.Adjustment).Sum(l => l.Amount),
                },
                _ => sum,
            };
        }
        return sum;
    }

    private bool IsCounted(Instant at) => at >= from && at < to;

    private string? Known(string? plan)
    {
        if (plan is null || other.Current.Plan(plan) is not null) return plan;
        Problem($"The plan '{plan}' is not there.");
        return null;
    }

    private void Problem(string problem)
    {
        if (!problems.Contains(problem)) problems.Add(problem);
    }
}
