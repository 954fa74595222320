using System.Collections.Immutable;
using Billing.Ledger;
using NodaTime;
using Orleans.Concurrency;
using Orleans.Placement;

namespace Billing.Grains;

/// <summary>
/// An organization in a cluster. Thin: what it knows and does is its <see cref="LedgerSession"/>, in the silo's <see cref="LedgerHost"/>.
/// Reentrant, so that a check never waits behind an append; the session puts the commands in a row. Where the fewest are is where it
/// goes: what is measured of a silo is old when many are activated at once, and all of them would go to one.
/// </summary>
/// <remarks>
/// There may be two of it while a network is torn. That is harmless, because the journal takes only one event of each version: whoever
/// is overtaken reads what the other wrote, decides again, and then ends, so that the next call goes where the cluster says.
/// </remarks>
[Reentrant, GrainType("organization"), ActivationCountBasedPlacement]
public sealed class OrganizationGrain(LedgerHost host, OrganizationsHere? here = null) : Grain, IOrganizationGrain
{
    private string id = "";
    private IOrganizationLedger ledger = null!;
    private long overtaken;

    public override Task OnActivateAsync(CancellationToken cancellationToken)
    {
        id = this.GetPrimaryKeyString();
        ledger = host.Organization(id);
        overtaken = host.TimesOvertaken(id) ?? 0;
        here?.Enter(id, ledger);
        return Task.CompletedTask;
    }

    /// <summary>Another activation, in another silo perhaps, goes on from the journal.</summary>
    public override Task OnDeactivateAsync(DeactivationReason reason, CancellationToken cancellationToken)
    {
        here?.Leave(id, ledger);
        host.Release(id);
        return Task.CompletedTask;
    }

    public ValueTask<CommandResult> Execute(Command command) => Answer(ledger.Execute(command));

    public ValueTask<IReadOnlyList<CommandResult>> ExecuteAll(IReadOnlyList<Command> commands, bool atomic) => Answer(ledger.ExecuteAll(commands, atomic));

    public ValueTask<CheckResult> Check(string feature, decimal? quantity, Instant now) => Answer(ledger.Check(feature, quantity, now));

    public ValueTask<ExplainResult> Explain(string feature, decimal? quantity, Instant now) => Answer(ledger.Explain(feature, quantity, now));

    public ValueTask<IReadOnlyList<EntitlementView>?> Entitlements(Instant now) => Answer(ledger.Entitlements(now));

    public ValueTask<OrganizationView?> Read(Instant now) => Answer(ledger.Read(now));

    public ValueTask<UsageView?> Usage(Instant now) => Answer(ledger.Usage(now));

    public ValueTask<ImmutableArray<long>?> Voided() => Answer(ledger.Voided());

    public ValueTask<TokensView?> Tokens(Instant now) => Answer(ledger.Tokens(now));

    public ValueTask<TopUpView?> TopUp(Instant now) => Answer(ledger.TopUp(now));

    public ValueTask<SubscriptionView?> Subscription(Instant now) => Answer(ledger.Subscription(now));

    public ValueTask<FollowedView?> Followed() => Answer(ledger.Followed());

    public ValueTask<ChangePreviewResult> PreviewChange(Command command) => Answer(ledger.PreviewChange(command));

    public ValueTask<CatalogMoveView?> PreviewMove(int version, Instant now) => Answer(ledger.PreviewMove(version, now));

    public ValueTask<IReadOnlyList<InvoiceView>?> Invoices() => Answer(ledger.Invoices());

    public ValueTask<UpcomingInvoicesView?> UpcomingInvoices(Instant now) => Answer(ledger.UpcomingInvoices(now));

    public ValueTask<PendingLinesView?> PendingLines() => Answer(ledger.PendingLines());

    public ValueTask<BillingTermsView?> BillingTerms() => Answer(ledger.BillingTerms());

    public ValueTask<IReadOnlyList<HoldView>?> Holds(Instant now) => Answer(ledger.Holds(now));

    public ValueTask<IReadOnlyList<OverrideView>?> Overrides(Instant now) => Answer(ledger.Overrides(now));

    public ValueTask<SpendCapsView?> SpendCaps(Instant now) => Answer(ledger.SpendCaps(now));

    /// <summary>What is read is answered here and now, mostly.</summary>
    private ValueTask<T> Answer<T>(ValueTask<T> answer)
    {
        if (!answer.IsCompletedSuccessfully) return Awaited(answer);
        EndIfNotNeeded();
        return answer;
    }

    private async ValueTask<T> Awaited<T>(ValueTask<T> answer)
    {
        try
        {
            return await answer;
        }
        catch (JournalUnavailableException e) when (e.InnerException is not null)
        {
            // Its cause is of the database's driver, which does not travel; this silo's log has it.
            throw new JournalUnavailableException(e.Message);
        }
        finally
        {
            EndIfNotNeeded();
        }
    }

    /// <summary>What does not exist is not kept, and what was overtaken gives way.</summary>
    private void EndIfNotNeeded()
    {
        if (host.TimesOvertaken(id) != overtaken) DeactivateOnIdle();
    }
}
