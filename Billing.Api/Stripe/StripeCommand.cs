using System.Text.Json;
using Billing.Ledger;

namespace Billing.Api.Stripe;

/// <summary>
/// One command of a caller's that is carried out at Stripe in steps. It is stored beside them, so that a repeat, whatever has changed
/// since, goes on where it stopped, or is answered as done.
/// </summary>
public sealed class StripeCommand(Services services, string organization, string id, string route, byte[] contentHash)
{
    public string Organization => organization;

    private readonly string own = StripeRequests.KeyOf("command", organization, id);

    /// <summary>See <see cref="OrganizationTurns"/>.</summary>
    public Task<IAsyncDisposable> Turn(CancellationToken stop) => services.StripeParts.Turns.Take(organization, stop);

    /// <summary>A step's key at Stripe.</summary>
    public string Key(string step) => StripeRequests.KeyOf(step, organization, id);

    /// <summary>Whether it was done to its end before; or that its id was used for something else.</summary>
    public async Task<(bool WasDone, Rejection? Rejection)> Look()
    {
        var isOther = await services.SentRequests.Find(own) is { } begun && (begun.Path != route || !contentHash.AsSpan().SequenceEqual(begun.Form ?? contentHash));
        if (isOther) return (false, Rejections.CommandIdReused(id));
        if (await services.SentRequests.Find(own) is { Status: not null }) return (true, null);
        var recorded = await services.Journal.FindCommands(organization, [id]);
        return (false, recorded.ContainsKey(id) ? Rejections.CommandIdReused(id) : null);
    }

    /// <summary>From here on the id stands for this.</summary>
    public Task Begin() => services.SentRequests.Begin(own, organization, route, contentHash, services.Clock.Now());

    /// <param name="made">What it made or changed.</param>
    public Task Done(string? made) => services.SentRequests.Answered(own, 200, made, null, services.Clock.Now());

    /// <summary>Nothing came of it: the id may be used for something else.</summary>
    public Task Forget() => services.SentRequests.Forget(own);

    /// <summary>A step as it was sent before; null when it was not.</summary>
    public async Task<StripeRequest?> Before(string step) => await services.SentRequests.Find(Key(step)) is { } sent ? StripeRequests.Again(sent) : null;

    /// <summary>Sends a request; where the bank wants to ask the cardholder first, once more in the way that waits for him.</summary>
    public async Task<JsonElement> Pay(StripeRequest request, string step)
    {
        try
        {
            return await services.Stripe.Send(request);
        }
        catch (StripeException e) when (e.IsDeclined && e.Code is "subscription_payment_intent_requires_action" or "authentication_required")
        {
            return await services.Stripe.Send(StripeRequests.AwaitingConfirmation(request, Key($"{step}-confirm")));
        }
    }
}
