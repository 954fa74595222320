using System.Text.Json;
using Billing.Grains;
using Billing.Ledger;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>
/// Charges a top-up that the ledger asked for. One request is one payment at Stripe: its key is the request's id, and once a day has passed it is
/// only looked for. What came of it is recorded under the same ids as by the webhook, so that the two are one.
/// </summary>
public sealed class TopUpCharges(Services services)
{
    /// <summary>After this nothing is charged any more: Stripe may have forgotten the key.</summary>
    private static readonly Duration Charges = StripeGateway.KeysLast;

    private IStripeGateway Stripe => services.Stripe;

    /// <returns>False when its outcome is not known yet.</returns>
    public async Task<bool> Settle(string organization, long version, CancellationToken stop)
    {
        var (ledger, now, id) = (services.Host.Organization(organization), services.Clock.Now(), Ids.TopUp(version));
        if (await ledger.Read(now) is not { ClosedAt: null } || (await ledger.TopUp(now))?.Pending is not { } pending || pending.Id != id) return true;

        var isOld = now - pending.RequestedAt >= Charges;
        JsonElement intent;
        try
        {
            if (await Charge(organization, pending, isOld, stop) is not { } made)
            {
                await Fail(organization, id, isOld ? "not_charged_in_time" : "no_payment_method");
                return true;
            }
            intent = made;
        }
        // Refused, or nothing that Stripe will ever take. A key of ours that is refused may be put right.
        catch (StripeException e) when (e.IsDeclined || e is { IsPassing: false, Status: not (401 or 403) })
        {
            await Fail(organization, id, e.DeclineCode ?? e.Code);
            return true;
        }
        FaultPoints.Reach("top-up:charged");
        switch (intent.Text("status"))
        {
            case "succeeded":
                await Record(organization, intent);
                FaultPoints.Reach("top-up:recorded");
                return true;
            case "requires_payment_method":
                var error = intent.Get("last_payment_error");
                await Fail(organization, id, error?.Text("decline_code") ?? error?.Text("code") ?? "payment_failed");
                return true;
            case "canceled":
                await Fail(organization, id, "canceled");
                return true;
            // It waits for the cardholder, who was not there, and does not come.
            case "requires_action" or "requires_confirmation" when isOld:
                await Fail(organization, id, "authentication_required");
                return true;
            default:
                return false;
        }
    }

    /// <summary>The payment, made now or before; null when there is none and none can be made.</summary>
    private async Task<JsonElement?> Charge(string organization, PendingTopUpView pending, bool isOld, CancellationToken stop)
    {
        var sent = await services.SentRequests.Find(StripeRequests.TopUpKey(organization, pending.Id));
        if (sent?.Object is { } made) return await Stripe.Send(StripeRequests.PaymentIntent(made), stop);
        if (isOld) return await LookUp(organization, pending.Id);
        // Whether its answer was lost or it never left: what was stored is sent, whatever the customer has as its card by now.
        if (sent is not null) return await Stripe.Send(StripeRequests.Again(sent) with { Find = _ => LookUp(organization, pending.Id) }, stop);
        if (await Payer.Find(services, organization, stop) is not { Method: { } method } payer) return null;
        FaultPoints.Reach("top-up:ready");
        return await Stripe.Send(StripeRequests.TopUp(organization, payer.Customer, method, pending), stop);
    }

    private async Task<JsonElement?> LookUp(string organization, string topUp)
    {
        foreach (var customer in await services.Customers.Of(organization))
            if (await StripeRequests.FindTopUp(Stripe, customer, topUp) is { } made) return made;
        return null;
    }

    /// <summary>As the webhook would.</summary>
    private async Task Record(string organization, JsonElement intent)
    {
        var now = services.Clock.Now();
        var e = new StripeEvent(intent.Text("id")!, "payment_intent.succeeded", intent.Time("created") ?? now, StripeEvent.PinnedVersion, intent);
        var results = await services.Host.Organization(organization).ExecuteAll(StripeTranslation.PaymentIntent(e, now).Commands, atomic: false);
        if (results.Select(r => r.Rejection).FirstOrDefault(r => r is not null) is { } refused)
            throw new InvalidOperationException($"The top-up was paid by {intent.Text("id")} and could not be recorded: {refused.Message}");
    }

    private async Task Fail(string organization, string topUp, string failure)
    {
        var id = $"stripe:top-up:{topUp}:failed";
        var result = await services.Host.Organization(organization).Execute(new FailTopUp(topUp, failure) { Id = id, ContentHash = StripeTranslation.HashOf(id), At = services.Clock.Now(), By = "stripe" });
        if (result.Rejection is { Kind: not (RejectionKind.TopUpUnknown or RejectionKind.OrganizationClosed) } refused) throw new InvalidOperationException(refused.Message);
    }
}
