using System.Collections.Immutable;
using Billing.Ledger;

namespace Billing.Grains;

/// <summary>What the ledger knows from the payment provider, as its events have it: what is compared with the provider's own word.</summary>
/// <param name="Customers">Every customer that was ever linked.</param>
/// <param name="Subscriptions">Those that were followed, without the ones that the ledger keeps itself.</param>
/// <param name="Own">The organization's own subscription, where it is one of those.</param>
/// <param name="Payments">By the provider's invoices, without the ledger's own.</param>
/// <param name="Purchases">Grants that were paid for.</param>
[GenerateSerializer, Alias("FollowedView"), Immutable]
public sealed record FollowedView(
    long Version, bool IsClosed, ImmutableArray<string> Customers, ImmutableArray<Subscription> Subscriptions, string? Own, ImmutableArray<InvoicePayment> Payments,
    ImmutableArray<TokenGrant> Purchases, PendingTopUp? TopUp)
{
    /// <summary>As the fold has it.</summary>
    public static FollowedView Of(State state)
    {
        var own = state.Billing.Invoices.SelectMany(i => new[] { i.Id, i.Number }).OfType<string>().ToHashSet();
        return new FollowedView(
            state.Version, state.IsClosed, state.Account.Customers, [.. state.Subscriptions.Followed.Where(s => s.Kept is null)],
            state.Subscriptions.Own is { Kept: null } followed ? followed.Id : null, [.. state.Subscriptions.Payments.Where(p => !own.Contains(p.Invoice))],
            [.. state.Grants.Where(g => g.Payment is not null)], state.Alerts.TopUp?.Pending);
    }
}
