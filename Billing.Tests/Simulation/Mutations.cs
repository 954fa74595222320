using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Simulation;

/// <summary>
/// A defect that a ledger could have, put into a recorded stream: an auditor who does not see it is no auditor.
/// </summary>
/// <param name="Decided">The event as a wrong decision would have recorded it; null where it has nothing to do with this one.</param>
/// <param name="Folded">The state as a wrong fold would leave it, likewise.</param>
/// <param name="Lost">An event that was never recorded.</param>
/// <param name="Repeated">An event that was recorded twice.</param>
internal sealed record Mutation(
    string Name, Func<LedgerEvent, LedgerEvent?>? Decided = null, Func<State, State?>? Folded = null, Func<LedgerEvent, bool>? Lost = null, Func<LedgerEvent, bool>? Repeated = null)
{
    /// <summary>Puts the defect into a stream at the first place after so many events where it can be.</summary>
    /// <returns>Where; null when there is no such place.</returns>
    public (int At, string? Finding)? Try(string organization, IReadOnlyList<Entry> stream, int after)
    {
        var (auditor, state) = (new Auditor(organization), State.Empty(organization));
        int? at = null;
        try
        {
            var lost = 0;
            for (var i = 0; i < stream.Count; i++)
            {
                var (e, enforced) = (stream[i].Event with { Version = stream[i].Event.Version - lost }, stream[i].Enforced);
                if (at is null && i >= after)
                {
                    if (Lost?.Invoke(e) == true)
                    {
                        (at, lost) = (i, 1);
                        if (stream[i].EndsAppend) auditor.EndOfAppend(stream[i].Catalogs);
                        continue;
                    }
                    if (Decided?.Invoke(e) is { } wrong) (at, e) = (i, wrong);
                    else if (Repeated?.Invoke(e) == true)
                    {
                        at = i;
                        Take(e, stream[i].Catalogs, enforced);
                        e = e with { Version = e.Version + 1 };
                    }
                }
                Take(e, stream[i].Catalogs, enforced);
                if (at is null && i >= after && Folded?.Invoke(state) is { } broken)
                {
                    at = i;
                    auditor.Compare(broken);
                }
                if (stream[i].EndsAppend) auditor.EndOfAppend(stream[i].Catalogs);
                if (at is not null && stream[i].EndsAppend) break;
            }
        }
        catch (AuditException finding)
        {
            return (at ?? throw new InvalidOperationException($"The stream is wrong before anything was done to it: {finding.Message}"), finding.Message);
        }
        return at is { } place ? (place, null) : null;

        void Take(LedgerEvent e, Catalogs catalogs, bool enforced)
        {
            state = state.Evolve(e);
            auditor.Take(e, catalogs, enforced);
            auditor.Compare(state);
        }
    }

    public override string ToString() => Name;

    // ---- the defects

    private static Mutation Decide<T>(string name, Func<T, LedgerEvent?> wrong) where T : LedgerEvent => new(name, e => e is T x ? wrong(x) : null);

    private static Mutation Lose<T>(string name, Func<T, bool>? which = null) where T : LedgerEvent => new(name, Lost: e => e is T x && which?.Invoke(x) != false);

    private static Mutation Repeat<T>(string name, Func<T, bool>? which = null) where T : LedgerEvent => new(name, Repeated: e => e is T x && which?.Invoke(x) != false);

    private static Mutation Fold(string name, Func<State, State?> wrong) => new(name, Folded: wrong);

    private static bool IsPlain(UsageRecorded e) => e is { Gauge: null, Hold: null, Corrects: null } && e.EffectiveAt >= e.RecordedAt;

    private static T[] But<T>(T[] items, int at, Func<T, T> change) => [.. items.Select((item, i) => i == at ? change(item) : item)];

    private static readonly Duration Second = Duration.FromSeconds(1);

    public static readonly IReadOnlyList<Mutation> All =
    [
        // ---- use
        Decide<UsageRecorded>("allowance is oversold by one", e => IsPlain(e) && e.ByTokens > 0 ? e with { Allowance = e.Allowance + 1, ByTokens = e.ByTokens - 1 } : null),
        Decide<UsageRecorded>("overage takes what is included", e => IsPlain(e) && e is { Allowance: > 0, Overage: > 0 } ? e with { Allowance = e.Allowance - 1, Overage = e.Overage + 1 } : null),
        Decide<UsageRecorded>("overage is given away", e => e is { UnitPrice: not null, Overage: > 0, Corrects: null } ? e with { UnitPrice = null, BilledAt = null } : null),
        Decide<UsageRecorded>("overage is priced by another plan", e => e is { UnitPrice: { } price, Overage: > 0, Corrects: null } ? e with { UnitPrice = price * 2 } : null),
        Decide<UsageRecorded>("the tiers are mixed up", e => e is { Tiers: [var a, var b, ..], Corrects: null } ? e with { Tiers = [b, a] } : null),
        Decide<UsageRecorded>("a token too many is burned", e => e is { Grants: [_, ..], Corrects: null } ? e with { Grants = But(e.Grants, 0, g => g with { Tokens = g.Tokens + 1 }) } : null),
        Decide<UsageRecorded>("tokens are burned for nothing", e => IsPlain(e) && e is { Grants: null, ByTokens: 0, Version: > 3 } ? e with { Grants = [new GrantUse("tg_2", 1)] } : null),
        Decide<UsageRecorded>("tokens are burned in another order", e => e is { Grants: [{ } a, { } b, ..] } && e.Corrects is null && a.Tokens != b.Tokens ? e with { Grants = [b, a, .. e.Grants[2..]] } : null),
        Decide<UsageRecorded>("a window does not count the use", e => IsPlain(e) && e.Windows is [_, _, ..] ? e with { Windows = e.Windows[..^1] } : null),
        Decide<UsageRecorded>("a window ends an hour late", e => IsPlain(e) && e.Windows is [_, ..] ? e with { Windows = But(e.Windows, 0, w => w with { End = w.End + Duration.FromHours(1) }) } : null),
        Decide<UsageRecorded>("a use is decided by another plan", e => IsPlain(e) && e.Plan == "pro" ? e with { Plan = "max" } : null),
        // Where tokens were burned there is a limit, and it is reached.
        Decide<UsageRecorded>("what is denied is recorded", e => IsPlain(e) && e is { OverLimit: false, Overage: 0, ByTokens: > 0 } ? e with { Quantity = e.Quantity + 1_000_000, Allowance = e.Allowance + 1_000_000 } : null),
        Decide<UsageRecorded>("a gauge jumps", e => e.Gauge is { } value && e.Corrects is null ? e with { Gauge = value + 1 } : null),
        Decide<UsageRecorded>("a gauge is not billed", e => e is { Gauge: not null, BilledAt: not null } ? e with { BilledAt = null } : null),
        Decide<UsageRecorded>("settling burns the held tokens and as many again", e => e is { Hold: not null, Grants: [_, ..] } ? e with { Grants = But(e.Grants, 0, g => g with { Tokens = 2 * g.Tokens }) } : null),
        Decide<QuotaReset>("a reset says another number", e => e with { Resets = But(e.Resets, 0, r => r with { Used = r.Used + 1, Allowance = r.Allowance + 1 }) }),
        Decide<QuotaReset>("a reset comes early", e => e with { EffectiveAt = e.EffectiveAt - Second }),
        Decide<QuotaReset>("a reset forgets a window", e => e.Resets.Length > 1 ? e with { Resets = e.Resets[1..] } : null),
        Lose<QuotaReset>("windows are not reset"),
        Decide<QuotaReset>("the plan in force as a window ended is another", e => e with { Plan = "nothing" }),

        // ---- tokens and holds
        Decide<TokensExpired>("an expiry leaves a token", e => e.Grants[0].Tokens > 1 ? e with { Grants = But(e.Grants, 0, g => g with { Tokens = g.Tokens - 1 }) } : null),
        Lose<TokensExpired>("tokens do not expire"),
        Repeat<TokensPurchased>("one payment buys twice"),
        Decide<TokensRevoked>("more is revoked than is left", e => e.Revoked > 0 ? e with { Revoked = e.Revoked + 100_000 } : null),
        Decide<TokensRevoked>("a debt is made while tokens are left", e => e is { Revoked: > 1, Debt: 0 } ? e with { Revoked = e.Revoked - 1, Debt = 1 } : null),
        Decide<HoldPlaced>("a hold reserves more allowance than there is", e => e.ByTokens > 0 ? e with { Allowance = e.Allowance + 1, ByTokens = e.ByTokens - 1 } : null),
        Decide<HoldPlaced>("a hold reserves tokens of the wrong grant", e => e.Grants is [{ } a, { } b, ..] && a.Tokens != b.Tokens ? e with { Grants = [a with { Tokens = b.Tokens }, b with { Tokens = a.Tokens }, .. e.Grants[2..]] } : null),
        Repeat<HoldEnded>("a hold ends twice"),
        Decide<HoldEnded>("a hold gives back another's tokens", e => e.Grants is [_, ..] ? e with { Grants = But(e.Grants, 0, g => g with { Tokens = g.Tokens + 1 }) } : null),
        Lose<HoldEnded>("a hold does not expire", e => e.Outcome == HoldOutcome.Expired),
        Decide<HoldEnded>("a hold expires late", e => e.Outcome == HoldOutcome.Expired ? e with { EffectiveAt = e.EffectiveAt + Second } : null),

        // ---- corrections
        Repeat<UsageVoided>("a record is taken back twice"),
        Decide<UsageVoided>("a void takes back less", e => e is { Allowance: > 1, Gauge: null } ? e with { Quantity = e.Quantity - 1, Allowance = e.Allowance - 1 } : null),
        Decide<UsageVoided>("a void keeps a token", e => e.Returned is [{ Remaining: > 0 }, ..] ? e with { Returned = But(e.Returned, 0, r => r with { Remaining = r.Remaining - 1 }) } : null),
        Decide<UsageVoided>("a void revives what expired", e => e.Returned is [{ Expired: > 0 }, ..] ? e with { Returned = But(e.Returned, 0, r => r with { Remaining = r.Remaining + r.Expired, Expired = 0 }) } : null),
        Decide<UsageVoided>("a void forgets a window", e => e.Windows is [_, _, ..] ? e with { Windows = e.Windows[1..] } : null),
        Decide<LinesAdded>("an adjustment is one cent off", e => e.Lines is [{ Kind: LineKind.Adjustment, Records: not null, Feature: "jobs" or "renders" or "hours" }, ..] ? e with { Lines = But(e.Lines, 0, l => l with { Amount = l.Amount + 1 }) } : null),
        Lose<LinesAdded>("a closed period is changed and nobody billed", e => e.Lines is [{ Kind: LineKind.Adjustment, Records: not null, Feature: "jobs" or "renders" or "hours" }]),

        // ---- money
        Decide<LinesAdded>("overage is rounded down", e => e.Lines.Any(l => l is { Kind: LineKind.Overage, Amount: > 0 }) ? e with { Lines = [.. e.Lines.Select(l => l.Kind == LineKind.Overage ? l with { Amount = l.Amount - 1 } : l)] } : null),
        Repeat<LinesAdded>("overage is billed twice", e => e.Lines is [{ Kind: LineKind.Overage, Amount: > 0 }, ..]),
        Lose<LinesAdded>("overage is never billed", e => e.Lines is [{ Kind: LineKind.Overage, Amount: > 0 }, ..]),
        Repeat<LinesAdded>("a period is charged twice", e => e.Lines is [{ Kind: LineKind.Base }]),
        Lose<LinesAdded>("a period is not charged", e => e.Lines is [{ Kind: LineKind.Base }]),
        Decide<LinesAdded>("another price is charged", e => e.Lines is [{ Kind: LineKind.Base }] ? e with { Lines = But(e.Lines, 0, l => l with { Amount = l.Amount + 1 }) } : null),
        Decide<LinesAdded>("a proration is one cent off", e => e.Lines is [{ Kind: LineKind.Proration }, ..] ? e with { Lines = But(e.Lines, 0, l => l with { Amount = l.Amount - 1 }) } : null),
        Decide<InvoiceCreated>("a total is one cent off", e => e.Total > 1 ? e with { Total = e.Total + 1, AmountDue = e.AmountDue + 1 } : null),
        Decide<InvoiceCreated>("a line is left out", e => e.Lines.Length > 1 ? e with { Lines = e.Lines[1..] } : null),
        Decide<InvoiceCreated>("a line comes in from nowhere", e => e with { Lines = [.. e.Lines, e.Lines[0]] }),
        Decide<InvoiceCreated>("tax is rounded down", e => e.Lines[0].Tax > 0 ? e with { Lines = But(e.Lines, 0, l => l with { Tax = l.Tax - 1 }), Tax = e.Tax - 1 } : null),
        Decide<InvoiceCreated>("a discount does not add up", e => e is { Discount: > 0, Lines: [{ Discount: > 0 }, ..] } ? e with { Lines = But(e.Lines, 0, l => l with { Discount = l.Discount - 1 }) } : null),
        Decide<InvoiceCreated>("a discount that ended is given", e => e.DiscountTerms is null && e.Subtotal > 100 ? e with { DiscountTerms = new DiscountTerms(50, null, null) } : null),
        Decide<InvoiceCreated>("more credit is taken than there is", e => e is { Credit: >= 0, AmountDue: > 0 } ? e with { Credit = e.Credit + e.AmountDue, AmountDue = 0 } : null),
        Decide<LinesBilledAtStripe>("Stripe charges one cent more", e => e with { Lines = But(e.Lines, 0, l => l with { Amount = l.Amount + 1 }) }),
        Repeat<LinesBilledAtStripe>("Stripe charges twice"),
        Decide<InvoiceFinalized>("a number is left out", e => e.Number.EndsWith("-2", StringComparison.Ordinal) ? e with { Number = e.Number[..^1] + "3" } : null),
        Repeat<InvoiceFinalized>("an invoice gets two numbers"),
        Repeat<InvoiceSettled>("an invoice is paid twice", e => e.Status == InvoiceStatus.Paid),
        Lose<InvoiceSettled>("nothing is due, and it stays open", e => e.By == "clock"),
        Decide<CreditGranted>("credit is granted below zero", e => e with { Amount = -e.Amount }),

        // ---- subscriptions
        Decide<SubscriptionChanged>("a period begins a second late", e => e is { Change: SubscriptionChange.Renewed, Followed: { } f } ? e with { Followed = f with { PeriodStart = f.PeriodStart + Second } } : null),
        Decide<SubscriptionChanged>("a period is a day too long", e => e is { Change: SubscriptionChange.Renewed or SubscriptionChange.Started, Followed: { } f } ? e with { Followed = f with { PeriodEnd = f.PeriodEnd + Duration.FromDays(1) } } : null),
        Lose<SubscriptionChanged>("a subscription is not renewed", e => e.Change == SubscriptionChange.Renewed),
        Decide<SubscriptionChanged>("a trial has no end", e => e is { Change: SubscriptionChange.TrialStarted, Followed: { } f } ? e with { Followed = f with { TrialEnd = f.TrialEnd + Second } } : null),
        Decide<SubscriptionChanged>("a change moves the period", e => e is { Change: SubscriptionChange.CancelScheduled, Followed: { } f } ? e with { Followed = f with { PeriodEnd = f.PeriodEnd + Second } } : null),
        Decide<SubscriptionChanged>("a change does not say who asked for it", e => e with { By = null }),
        Decide<SubscriptionChanged>("windows are not moved with the anchor", e => e.Moved is not null ? e with { Moved = null } : null),
        Lose<SubscriptionChanged>("grace does not end", e => e.Change == SubscriptionChange.Unpaid),
        Decide<PaymentRecorded>("time runs backwards", e => e.Version > 20 ? e with { RecordedAt = e.RecordedAt - Duration.FromDays(1_000) } : null),

        // ---- alerts and top-ups
        Lose<AlertRaised>("nobody is warned", e => e.Kind == AlertKind.Usage),
        Repeat<AlertRaised>("somebody is warned twice", e => e.Kind is AlertKind.Usage or AlertKind.TrialEnding),
        Decide<AlertRaised>("a lower threshold is told", e => e is { Kind: AlertKind.Usage, Percent: 100 } ? e with { Percent = 80 } : null),
        Lose<TopUpRequested>("a top-up is not asked for"),
        Repeat<TopUpRequested>("a top-up is asked for twice"),
        Decide<TopUpRequested>("a top-up costs more than was allowed", e => e with { Amount = e.Amount * 100 }),

        // ---- folds
        Fold("tokens are consumed that nobody burned", s => s.Grants is [{ Remaining: > 0 } g, ..] ? s with { Grants = s.Grants.SetItem(0, g with { Consumed = g.Consumed + 1, Remaining = g.Remaining - 1 }) } : null),
        Fold("grants are kept in another order", s => s.Grants is [var a, var b, ..] ? s with { Grants = s.Grants.SetItem(0, b).SetItem(1, a) } : null),
        Fold("a hold is forgotten", s => s.Holds is [_, ..] ? s with { Holds = s.Holds.RemoveAt(0) } : null),
        Fold("allowance counts as overage", s => Count(s, c => c.Allowance > 0 ? c with { Allowance = c.Allowance - 1, Overage = c.Overage + 1 } : null)),
        Fold("a window is forgotten", s => s.Usage is [{ Counters: [_, ..] } u, ..] ? s with { Usage = s.Usage.SetItem(0, u with { Counters = u.Counters.RemoveAt(0) }) } : null),
        Fold("a window ends later", s => Count(s, c => c.Window == Window.Period ? c with { Counted = c.Counted with { End = c.End + Second } } : null)),
        Fold("overage is marked as billed", s => Count(s, c => c is { Window: Window.Period, Priced: [var p, ..] } && p.Units > p.Billed ? c with { Priced = c.Priced.SetItem(0, p with { Billed = p.Units }) } : null)),
        Fold("a closed window is forgotten", s => s.Usage.FirstOrDefault(u => !u.Past.IsEmpty) is { } u ? s with { Usage = s.Usage.Replace(u, u with { Past = u.Past.RemoveAt(0) }) } : null),
        Fold("a gauge's peak is lost", s => s.Usage.FirstOrDefault(u => u.Gauge is { Peak: > 0 }) is { } u ? s with { Usage = s.Usage.Replace(u, u with { Gauge = u.Gauge! with { Peak = 0 } }) } : null),
        Fold("a line is lost", s => s.Billing.Pending is [_, ..] ? s with { Billing = s.Billing with { Pending = s.Billing.Pending.RemoveAt(0) } } : null),
        Fold("an invoice is forgotten", s => s.Billing.Invoices is [_, ..] ? s with { Billing = s.Billing with { Invoices = s.Billing.Invoices.RemoveAt(0) } } : null),
        Fold("credit appears", s => s.Billing.Credits is [var c, ..] ? s with { Billing = s.Billing with { Credits = s.Billing.Credits.SetItem(0, c with { Amount = c.Amount + 1 }) } } : null),
        Fold("nothing is to be billed", s => s.Billing.BilledAt is not null ? s with { Billing = s.Billing with { BilledAt = null } } : null),
        Fold("a cap is lost", s => s.Billing.Cap is not null ? s with { Billing = s.Billing with { Cap = null } } : null),
        Fold("a taken back record stands", s => s.Voided is [_, ..] ? s with { Voided = s.Voided.RemoveAt(0) } : null),
        Fold("an override stays", s => s.Overrides is [var o, ..] ? s with { Overrides = s.Overrides.SetItem(0, o with { Allowance = 1_000_000, Until = null }) } : null),
        Fold("another subscription counts", s => s.Subscriptions.Own is { } own ? s with { Subscriptions = s.Subscriptions with { Own = own with { Plan = "free" } } } : null),
        Fold("a trial can be had again", s => s.Subscriptions.TrialUsed ? s with { Subscriptions = s.Subscriptions with { TrialUsed = false } } : null),
        Fold("an upgrade gives the whole allowance", s => s.Subscriptions.Prorated is [_, ..] ? s with { Subscriptions = s.Subscriptions with { Prorated = [] } } : null),
        Fold("a payment is taken as failed", s => s.Subscriptions.Payments is [{ Paid: true } p, ..] ? s with { Subscriptions = s.Subscriptions with { Payments = s.Subscriptions.Payments.SetItem(0, p with { Paid = false }) } } : null),
        Fold("top-ups are not counted", s => s.Alerts.TopUp is { Count: > 0 } t ? s with { Alerts = s.Alerts with { TopUp = t with { Count = 0 } } } : null),
        Fold("a pending top-up is forgotten", s => s.Alerts.TopUp is { Pending: not null } t ? s with { Alerts = s.Alerts with { TopUp = t with { Pending = null } } } : null),
        Fold("the days begin at another midnight", s => s.Account.Zone.Id != "UTC" ? s with { Account = s.Account with { Zone = DateTimeZone.Utc } } : null),
        Fold("nothing is due", s => s.DueAt is not null && s.Usage.Any(u => u.Counters.Any(c => c.Window == Window.Day)) ? s with { DueAt = null } : null),
    ];

    private static State? Count(State s, Func<Counter, Counter?> change)
    {
        foreach (var use in s.Usage)
            for (var i = 0; i < use.Counters.Length; i++)
                if (change(use.Counters[i]) is { } wrong) return s with { Usage = s.Usage.Replace(use, use with { Counters = use.Counters.SetItem(i, wrong) }) };
        return null;
    }
}
