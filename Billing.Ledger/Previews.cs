using System.Collections.Immutable;
using NodaTime;

namespace Billing.Ledger;

/// <summary>What a command about the subscription would come to. Nothing is written.</summary>
/// <param name="EffectiveAt">When limits change: now, or at the period's end.</param>
/// <param name="Lines">The lines that the change itself makes, now or for the next invoice.</param>
/// <param name="Invoice">The invoice that is made at once, or null.</param>
/// <param name="NextInvoice">The next one after that, if nothing more is used until then; null when none is to come.</param>
/// <param name="Before">The organization as it is now; <paramref name="After"/> as it is when the change counts.</param>
/// <param name="AtStripe">The subscription is kept at Stripe: the lines are computed from the catalog's prices, and Stripe makes its own.</param>
public sealed record ChangePreview(
    Instant Now, Instant EffectiveAt, ImmutableArray<InvoiceLine> Lines, InvoiceCreated? Invoice, InvoiceCreated? NextInvoice, State Before, State After, bool AtStripe);

/// <summary>Previews are the decision itself, taken on the same state and not written: so they equal what follows.</summary>
public static class Previews
{
    /// <returns>A preview, or why the command would be refused.</returns>
    public static (ChangePreview? Preview, Rejection? Rejection) Of(State state, Catalogs catalogs, Command command)
    {
        if (!state.IsOpened) return (null, Rejections.OrganizationUnknown(state.Organization));
        var now = state.Now(command.At);
        // What is due is written with the change, and is not of it.
        var before = state.Evolve(Decider.Due(state, catalogs, now));
        var atStripe = before.Subscriptions.Own is { Ended: false, Kept: null };
        if (atStripe && command is not StartSubscription) before = AsIfKept(before, catalogs);

        var decision = Decider.Decide(before, catalogs, command, null);
        if (decision.Rejection is { } rejection) return (null, rejection);
        var after = before.Evolve(decision.Events);
        var (was, own) = (before.Subscriptions.Own, after.Subscriptions.Own);
        var waits = own is { Ended: false, Kept: { } kept } && ((own.CancelAtPeriodEnd && was?.CancelAtPeriodEnd != true) || (kept.Scheduled is not null && kept.Scheduled != was?.Kept?.Scheduled));

        var coming = own is { Ended: false } ? Decider.Due(after, catalogs, own.PeriodEnd) : [];
        return (new ChangePreview(
            now, waits ? own!.PeriodEnd : now,
            [.. decision.Events.OfType<LinesAdded>().SelectMany(e => e.Lines)],
            decision.Events.OfType<InvoiceCreated>().FirstOrDefault(), coming.OfType<InvoiceCreated>().FirstOrDefault(),
            before, waits ? after.Evolve(coming) : after, atStripe), null);
    }

    /// <summary>A subscription at Stripe as it would be if the ledger kept it: paid for until its period's end at the catalog's price.</summary>
    private static State AsIfKept(State state, Catalogs catalogs)
    {
        var own = state.Subscriptions.Own!;
        var charged = own.Status == SubscriptionStatus.Trialing ? null
            : new BaseCharge(KeptSubscriptions.PriceOf(catalogs, own)?.Amount.Amount ?? 0, own.PeriodStart, own.PeriodEnd);
        var kept = own with { Order = null, Kept = new KeptTerms(catalogs.Current.Currency, true, charged, own.Scheduled, null, null) };
        return state with { Subscriptions = state.Subscriptions with { Own = kept, Followed = [.. state.Subscriptions.Followed.Select(s => s.Id == own.Id ? kept : s)] } };
    }
}
