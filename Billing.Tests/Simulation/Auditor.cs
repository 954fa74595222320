using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Simulation.Audit;

namespace Billing.Tests.Simulation;

/// <summary>
/// Reads one organization's events as an accountant would: nothing but the events, the catalogs that they name and
/// sums of its own. It shares no code with deciding and folding; after every event its books and the state must agree,
/// and what was decided must be what the catalog gives.
/// </summary>
internal sealed class Auditor
{
    private readonly PlanBook plans = new();
    private readonly TokenBook tokens = new();
    private readonly UsageBook usage = new();
    private readonly HoldBook holds;
    private readonly BillingBook billing;
    private readonly KeptBook kept;
    private readonly AlertBook alerts;
    private readonly Coverage coverage;
    private readonly CorrectionBook corrections;
    private Instant recordedAt = Instant.MinValue;
    private long version;

    public Auditor(string organization)
    {
        holds = new HoldBook(tokens);
        billing = new BillingBook(organization, plans, usage);
        kept = new KeptBook(plans, billing.Net);
        alerts = new AlertBook(plans, tokens, usage, holds);
        coverage = new Coverage(plans, tokens, usage, holds, billing);
        corrections = new CorrectionBook(usage, tokens);
    }

    /// <summary>Whether Stripe's invoices charge it, so that none of the ledger's is made by itself.</summary>
    public bool IsChargedByStripe => plans.Own is { Kept: null, Status: SubscriptionStatus.Trialing or SubscriptionStatus.Active or SubscriptionStatus.PastDue or SubscriptionStatus.Unpaid or SubscriptionStatus.Paused };

    /// <param name="catalogs">Every version that was published when it was decided.</param>
    /// <param name="enforced">Whether the command asked for limits to be kept.</param>
    public void Take(LedgerEvent e, Catalogs catalogs, bool enforced)
    {
        Require(e.Version == version + 1, $"Event {e.Version} follows event {version}.");
        Require(e.RecordedAt >= recordedAt, $"Event {e.Version} was recorded at {e.RecordedAt}, before the one before it at {recordedAt}.");
        Require(plans.Closed is null || ComesAfterTheEnd(e), $"Event {e.Version} changes an organization that is closed.");
        Require(e is OrganizationOpened || plans.Opened is not null, $"Event {e.Version} changes an organization that is not open.");
        (version, recordedAt) = (e.Version, e.RecordedAt);
        switch (e)
        {
            case OrganizationOpened x: plans.Take(x); break;
            case OrganizationClosed x:
                usage.RequireBilled(x);
                plans.Take(x);
                usage.Plan(plans, x.EffectiveAt);
                break;
            case CustomerLinked x: plans.Take(x); break;
            case InvitationGiven x: plans.Take(x); break;
            case PaymentRecorded x: plans.Take(x); break;
            case PaymentVoided x: plans.Take(x); break;
            case SubscriptionChanged x: Take(x, catalogs); break;
            case OverrideSet x:
                plans.Take(x);
                usage.Take(x, plans);
                break;
            case TimeZoneChanged x: Take(x); break;
            case ClockAdvanced x: plans.Take(x); break;
            case UsageRecorded x:
                if (x.Corrects is null) coverage.Require(x, catalogs, enforced);
                else corrections.Require(x);
                if (x.Grants is { } burned) tokens.Consume(x, burned);
                corrections.Take(x, catalogs);
                usage.Take(x, plans);
                if (x.Quantity > 0) alerts.Grew(x.Feature);
                break;
            case UsageVoided x:
                corrections.Take(x, catalogs);
                usage.Take(x);
                usage.Plan(plans, x.RecordedAt);
                break;
            case QuotaReset x:
                usage.Take(x, catalogs, plans);
                alerts.Take(x);
                break;
            case HoldPlaced x:
                coverage.Require(x, catalogs);
                holds.Take(x);
                alerts.Grew(x.Feature);
                break;
            case HoldEnded x: holds.Take(x); break;
            case TokensPurchased x:
                tokens.Take(x);
                alerts.TokensCame();
                break;
            case TokensGranted x:
                tokens.Take(x);
                alerts.TokensCame();
                break;
            case PurchaseDated x: tokens.Take(x); break;
            case TokensRevoked x: tokens.Take(x); break;
            case TokensExpired x: tokens.Take(x); break;
            case LinesAdded x:
                kept.Take(x, catalogs);
                corrections.Take(x, catalogs);
                billing.Take(x, catalogs);
                break;
            case LinesBilledAtStripe x: billing.Take(x); break;
            case InvoiceCreated x: billing.Take(x, catalogs); break;
            case InvoiceFinalized x: billing.Take(x, catalogs); break;
            case InvoiceSettled x: billing.Take(x); break;
            case CreditGranted x: billing.Take(x); break;
            case BillingTermsSet x: billing.Take(x); break;
            case SpendCapsSet x: billing.Take(x); break;
            case AlertRaised x: alerts.Take(x, catalogs); break;
            case TopUpConfigured x: alerts.Take(x); break;
            case TopUpRequested x: alerts.Take(x, catalogs); break;
            case TopUpEnded x: alerts.Take(x); break;
            case TopUpSwitchedOff x: alerts.Take(x); break;
            default: throw new AuditException($"The auditor knows no {e.GetType().Name}.");
        }
        if (e is not HoldEnded) holds.GoOn();
        if (e is not UsageVoided) corrections.GoOn();
    }

    private void Take(SubscriptionChanged e, Catalogs catalogs)
    {
        if (IsChargedByStripe && e.Followed is { Kept: null, Ended: true } ended && ended.Id == plans.Own!.Id) usage.RequireBilled(e);
        kept.Take(e, catalogs);
        plans.Take(e);
        var at = PlanBook.At(e);
        usage.Move(e, e.Moved ?? [], at, plans);
        usage.Billed(e.BilledGauges ?? [], at, plans);
        usage.RequireInPlace(e, at, plans);
        usage.Plan(plans, at);
        alerts.Moved(at);
    }

    private void Take(TimeZoneChanged e)
    {
        plans.Take(e);
        usage.Move(e, e.Moved ?? [], e.EffectiveAt, plans);
        usage.RequireInPlace(e, e.EffectiveAt, plans);
        usage.Plan(plans, e.EffectiveAt);
        alerts.Moved(e.EffectiveAt);
    }

    /// <summary>What time brings, what happened at Stripe, and what becomes of the last invoice, comes after an organization's end too.</summary>
    private static bool ComesAfterTheEnd(LedgerEvent e) =>
        e is QuotaReset or TokensExpired or HoldEnded or OverrideSet { Removed: true } or LinesAdded or LinesBilledAtStripe or InvoiceCreated or InvoiceFinalized or InvoiceSettled
            or SubscriptionChanged { Followed.Kept: null } or PaymentRecorded or PaymentVoided or TokensPurchased or PurchaseDated or TokensRevoked or TopUpEnded;

    /// <summary>Whatever the clock had brought by then was written before the command's own events, and whatever they bring about behind them.</summary>
    public void EndOfAppend(Catalogs catalogs)
    {
        usage.RequireNothingOverdue(recordedAt);
        tokens.RequireNothingOverdue(recordedAt);
        holds.RequireNothingOverdue(recordedAt);
        plans.RequireNothingOverdue(recordedAt);
        kept.RequireNothingOverdue(recordedAt);
        billing.RequireNothingOverdue();
        alerts.RequireNothingMissing(recordedAt, catalogs);
        corrections.RequireNothingMissing(catalogs);
    }

    /// <summary>The books and the state, side by side.</summary>
    public void Compare(State state)
    {
        Require(state.Version == version && state.RecordedAt == recordedAt, $"The state is at version {state.Version} of {state.RecordedAt}, the books at {version} of {recordedAt}.");
        plans.Compare(state);
        tokens.Compare(state);
        usage.Compare(state);
        holds.Compare(state);
        billing.Compare(state);
        alerts.Compare(state);
        corrections.Compare(state);
        var due = Earliest(usage.NextDue(), tokens.NextDue(), holds.NextDue(), plans.NextDue());
        Require(due is null || state.DueAt <= due, $"Something is due at {due} by the books, and at {state.DueAt} in the state.");
    }

    private static Instant? Earliest(params ReadOnlySpan<Instant?> times)
    {
        Instant? earliest = null;
        foreach (var time in times)
            if (earliest is null || time < earliest) earliest = time;
        return earliest;
    }
}
