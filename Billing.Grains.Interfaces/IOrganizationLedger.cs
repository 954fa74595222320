using System.Collections.Immutable;
using Billing.Ledger;
using NodaTime;

namespace Billing.Grains;

/// <summary>
/// One organization, as callers may speak to it. The same contract stands before every engine: an actor inside the
/// process, or a grain in a cluster. Reads answer from memory and never wait behind a command.
/// </summary>
[Alias("IOrganizationLedger")]
public interface IOrganizationLedger
{
    /// <summary>Decides the command and answers when its effect is durable.</summary>
    /// <exception cref="JournalUnavailableException">Nothing is known to be recorded; the same command id finds the truth later.</exception>
    [Alias("Execute")]
    ValueTask<CommandResult> Execute(Command command);

    /// <summary>Decides several commands in order, as one append.</summary>
    /// <param name="commands">At least one.</param>
    /// <param name="atomic">All of them are recorded, or none: the first rejection stands for all.</param>
    /// <returns>One result for each command, in the same order.</returns>
    /// <exception cref="JournalUnavailableException">As with <see cref="Execute"/>.</exception>
    [Alias("ExecuteAll")]
    ValueTask<IReadOnlyList<CommandResult>> ExecuteAll(IReadOnlyList<Command> commands, bool atomic);

    /// <summary>May the organization use this much of this feature now? Counts against nothing.</summary>
    /// <param name="feature">A feature id of the catalog.</param>
    /// <param name="quantity">In whole units; null is one.</param>
    /// <param name="now">The time to answer for.</param>
    [Alias("Check")]
    ValueTask<CheckResult> Check(string feature, decimal? quantity, Instant now);

    /// <summary>As <see cref="Check"/>, with the steps by which the answer came about.</summary>
    [Alias("Explain")]
    ValueTask<ExplainResult> Explain(string feature, decimal? quantity, Instant now);

    /// <summary>Every feature of the catalog, each for one unit. Null when there is no such organization.</summary>
    [Alias("Entitlements")]
    ValueTask<IReadOnlyList<EntitlementView>?> Entitlements(Instant now);

    /// <summary>Null when there is no such organization.</summary>
    [Alias("Read")]
    ValueTask<OrganizationView?> Read(Instant now);

    /// <summary>Use in the running billing period. Null when there is no such organization.</summary>
    [Alias("Usage")]
    ValueTask<UsageView?> Usage(Instant now);

    /// <summary>The versions of usage records that were voided, ascending. Null when there is no such organization.</summary>
    [Alias("Voided")]
    ValueTask<ImmutableArray<long>?> Voided();

    /// <summary>Token balance and grants. Null when there is no such organization.</summary>
    [Alias("Tokens")]
    ValueTask<TokensView?> Tokens(Instant now);

    /// <summary>Automatic top-up: its terms and what was asked for. Null when there is no such organization.</summary>
    [Alias("TopUp")]
    ValueTask<TopUpView?> TopUp(Instant now);

    /// <summary>The plan in force, the subscription behind it and its payments. Null when there is no such organization.</summary>
    [Alias("Subscription")]
    ValueTask<SubscriptionView?> Subscription(Instant now);

    /// <summary>What it knows from the payment provider: customers, subscriptions, payments, purchases. Null when there is no such organization.</summary>
    [Alias("Followed")]
    ValueTask<FollowedView?> Followed();

    /// <summary>What a command about the subscription would come to, decided on the state as it is. Nothing is written.</summary>
    [Alias("PreviewChange")]
    ValueTask<ChangePreviewResult> PreviewChange(Command command);

    /// <summary>What moving to a version of the catalog would change. Null when there is no such organization, or no plan of its own to move.</summary>
    [Alias("PreviewMove")]
    ValueTask<CatalogMoveView?> PreviewMove(int version, Instant now);

    /// <summary>Every invoice without its content, newest first. Null when there is no such organization.</summary>
    [Alias("Invoices")]
    ValueTask<IReadOnlyList<InvoiceView>?> Invoices();

    /// <summary>What would be invoiced now. Null when there is no such organization.</summary>
    [Alias("UpcomingInvoices")]
    ValueTask<UpcomingInvoicesView?> UpcomingInvoices(Instant now);

    /// <summary>What waits for an invoice, and whose invoice that will be. Null when there is no such organization.</summary>
    [Alias("PendingLines")]
    ValueTask<PendingLinesView?> PendingLines();

    /// <summary>Tax, discount and credit. Null when there is no such organization.</summary>
    [Alias("BillingTerms")]
    ValueTask<BillingTermsView?> BillingTerms();

    /// <summary>The open holds, oldest first. Null when there is no such organization.</summary>
    [Alias("Holds")]
    ValueTask<IReadOnlyList<HoldView>?> Holds(Instant now);

    /// <summary>The overrides that are in force. Null when there is no such organization.</summary>
    [Alias("Overrides")]
    ValueTask<IReadOnlyList<OverrideView>?> Overrides(Instant now);

    /// <summary>The spend caps, with what is charged so far. Null when there is no such organization.</summary>
    [Alias("SpendCaps")]
    ValueTask<SpendCapsView?> SpendCaps(Instant now);
}

/// <summary>Where organizations are found, whichever engine runs them.</summary>
public interface ILedgerHost : IAsyncDisposable
{
    /// <summary>The organization with this id, opened or not.</summary>
    IOrganizationLedger Organization(string id);

    /// <summary>What runs the organizations, as it is now. From memory, at once.</summary>
    EngineView Engine { get; }
}

/// <summary>What runs the organizations.</summary>
/// <param name="Name"><c>embedded</c> or <c>orleans</c>.</param>
/// <param name="Silos">How many processes share them, as this one knows; 0 when it reaches none.</param>
[GenerateSerializer, Alias("EngineView"), Immutable]
public sealed record EngineView(string Name, int Silos);

/// <summary>What became of a command.</summary>
/// <param name="Events">What it recorded: now, or when it was first sent. Empty when it was rejected or changed nothing.</param>
/// <param name="Replayed">The command had been recorded before; nothing was written now.</param>
/// <param name="Rejection">Why it was refused, or null.</param>
/// <param name="Entitlement">For a single command about a feature, unless it was refused for what it asks: the entitlement as it is now.</param>
[GenerateSerializer, Alias("CommandResult"), Immutable]
public sealed record CommandResult(IReadOnlyList<LedgerEvent> Events, bool Replayed, Rejection? Rejection, EntitlementView? Entitlement = null);

/// <summary>Either an answer or why there is none.</summary>
[GenerateSerializer, Alias("CheckResult"), Immutable]
public readonly record struct CheckResult(EntitlementView? Entitlement, Rejection? Rejection);

/// <summary>Either an explanation or why there is none.</summary>
[GenerateSerializer, Alias("ExplainResult"), Immutable]
public readonly record struct ExplainResult(ExplanationView? Explanation, Rejection? Rejection);

/// <summary>The journal cannot be reached, or did not say whether it wrote. Retry with the same command id.</summary>
[GenerateSerializer, Alias("JournalUnavailableException")]
public sealed class JournalUnavailableException : Exception
{
    public JournalUnavailableException() : base("The journal cannot be reached.") { }

    public JournalUnavailableException(string message) : base(message) { }

    public JournalUnavailableException(string message, Exception inner) : base(message, inner) { }
}
