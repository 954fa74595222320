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
    private readonly Coverage coverage;
    private Instant recordedAt = Instant.MinValue;
    private long version;

    public Auditor() => coverage = new Coverage(plans, tokens, usage);

    /// <param name="catalogs">Every version that was published when it was decided.</param>
    /// <param name="enforced">Whether the command asked for limits to be kept.</param>
    public void Take(LedgerEvent e, Catalogs catalogs, bool enforced)
    {
        Require(e.Version == version + 1, $"Event {e.Version} follows event {version}.");
        Require(e.RecordedAt >= recordedAt, $"Event {e.Version} was recorded at {e.RecordedAt}, before the one before it at {recordedAt}.");
        Require(plans.Closed is null || e is QuotaReset or TokensExpired, $"Event {e.Version} changes an organization that is closed.");
        Require(e is OrganizationOpened || plans.Opened is not null, $"Event {e.Version} changes an organization that is not open.");
        (version, recordedAt) = (e.Version, e.RecordedAt);
        switch (e)
        {
            case OrganizationOpened x: plans.Take(x); break;
            case OrganizationClosed x: plans.Take(x); break;
            case CustomerLinked x: plans.Take(x); break;
            case InvitationGiven x: plans.Take(x); break;
            case PaymentRecorded x: plans.Take(x); break;
            case SubscriptionChanged x:
                plans.Take(x);
                usage.Move(x, x.Moved ?? [], plans);
                usage.RequireInPlace(x, plans);
                break;
            case UsageRecorded x:
                coverage.Require(x, catalogs, enforced);
                if (x.Grants is { } burned) tokens.Consume(x, burned);
                usage.Take(x, plans);
                break;
            case QuotaReset x: usage.Take(x); break;
            case TokensPurchased x: tokens.Take(x); break;
            case TokensGranted x: tokens.Take(x); break;
            case PurchaseDated x: tokens.Take(x); break;
            case TokensRevoked x: tokens.Take(x); break;
            case TokensExpired x: tokens.Take(x); break;
            default: throw new AuditException($"The auditor knows no {e.GetType().Name}.");
        }
    }

    /// <summary>Whatever the clock had brought by then was written before the command's own events.</summary>
    public void EndOfAppend()
    {
        usage.RequireNothingOverdue(recordedAt);
        tokens.RequireNothingOverdue(recordedAt);
    }

    /// <summary>The books and the state, side by side.</summary>
    public void Compare(State state)
    {
        Require(state.Version == version && state.RecordedAt == recordedAt, $"The state is at version {state.Version} of {state.RecordedAt}, the books at {version} of {recordedAt}.");
        plans.Compare(state);
        tokens.Compare(state);
        usage.Compare(state);
        var due = Earliest(usage.NextDue(), tokens.NextDue());
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
