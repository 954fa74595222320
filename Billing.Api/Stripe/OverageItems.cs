using System.Globalization;
using System.Text.Json;
using Billing.Grains;
using Billing.Ledger;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>
/// Puts what the ledger charges onto Stripe's invoices. First the ledger says which invoice charges which lines, once and for all; then each
/// line becomes an invoice item under a key of its own. Broken off anywhere, it is done again from the start, and what was done is only found again.
/// </summary>
public sealed class OverageItems(Services services)
{
    /// <summary>Stripe takes 250 items onto an invoice, and other things are on it too. What is more goes into one.</summary>
    private const int MostItems = 200;

    /// <summary>How far Stripe's clock may be ahead of ours.</summary>
    private static readonly Duration MostAhead = Duration.FromMinutes(5);

    private IStripeGateway Stripe => services.Stripe;

    /// <summary>To the draft of a renewal's invoice, or of a change's, adds what is due. Where Stripe has closed it already, what is due waits for the next one.</summary>
    public async Task AddTo(string organization, JsonElement invoice, CancellationToken stop)
    {
        if (services.StripeOrNull is null || invoice.Text("billing_reason") is not ("subscription_cycle" or "subscription_update")) return;
        if (invoice.Text("id") is not { } id || invoice.Text("currency") is not { } currency || invoice.Reference("customer") is not { } customer) return;
        var wasBilled = (await services.Journal.FindCommands(organization, [CommandId(id)])).Count > 0;
        if (!wasBilled)
        {
            var now = services.Clock.Now();
            // The period ended by Stripe's clock, which may be a little ahead of ours.
            var ended = invoice.Time("period_end") is { } end && end < now + MostAhead ? Instant.Max(end, now) : now;
            await Execute(organization, new WriteDue { Id = $"stripe:invoice:{id}:due:{ended.ToUnixTimeTicks()}", ContentHash = StripeTranslation.HashOf("due"), At = ended });
            if (await services.Host.Organization(organization).PendingLines() is not { } pending || !pending.Currencies.Contains(currency)) return;
            if ((await Stripe.Find(StripeRequests.Invoice(id), stop))?.Text("status") != "draft") return;
        }
        await Put(organization, customer, id, currency, stop);
    }

    /// <summary>An invoice besides those of renewals, of everything that is pending.</summary>
    /// <param name="about">What it is for; the same again is the same invoice.</param>
    public async Task Invoice(string organization, string about, PendingLinesView pending, CancellationToken stop)
    {
        foreach (var currency in pending.Currencies)
        {
            if (await Payer.Find(services, organization, stop) is not { } payer)
            {
                await InvoiceHere(organization, about, currency);
                continue;
            }
            var draft = await Stripe.Send(StripeRequests.DraftInvoice(organization, payer.Customer, currency, about, payer.Method), stop);
            FaultPoints.Reach("overage:drafted");
            var id = draft.Text("id")!;
            if (await Put(organization, payer.Customer, id, currency, stop)) await Stripe.Find(StripeRequests.SendInvoice(organization, id), stop);
            // Another invoice took it in the meantime.
            else await Stripe.Find(StripeRequests.DeleteDraft(id), stop);
        }
    }

    /// <summary>Nobody is there any more whom Stripe could charge.</summary>
    private async Task InvoiceHere(string organization, string about, string currency)
    {
        var id = $"stripe:left:{about}:{currency}";
        var result = await services.Host.Organization(organization).Execute(new CreateInvoice(false, currency) { Id = id, ContentHash = StripeTranslation.HashOf(id), At = services.Clock.Now(), By = "stripe" });
        if (result.Rejection is { Kind: not (RejectionKind.NothingToInvoice or RejectionKind.OrganizationClosed) } refused) throw new InvalidOperationException(refused.Message);
    }

    /// <returns>Whether there was anything to charge.</returns>
    private async Task<bool> Put(string organization, string customer, string invoice, string currency, CancellationToken stop)
    {
        var billed = (await Execute(organization, new BillAtStripe(invoice, currency) { Id = CommandId(invoice), ContentHash = StripeTranslation.HashOf($"{invoice}:{currency}"), At = services.Clock.Now() }))
            .OfType<LinesBilledAtStripe>().SingleOrDefault();
        if (billed is null) return false;
        FaultPoints.Reach("overage:billed");
        var lines = Items(billed.Lines);
        for (var place = 0; place < lines.Count; place++)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"{billed.Version}-{place}");
            try
            {
                await Stripe.Send(StripeRequests.InvoiceItem(organization, customer, invoice, name, lines[place]), stop);
            }
            catch (StripeException e) when (e.Code == StripeGateway.Gone)
            {
                // It was there, and somebody took it away at Stripe: that stands.
            }
            catch (StripeException e) when (e.Code == "invoice_not_editable" || (e.IsMissing && e.Param == "invoice"))
            {
                // Stripe closed it before all of it was there: the rest goes onto one of its own.
                await PutLate(organization, invoice, currency, billed.Version, lines, place, stop);
                return true;
            }
            FaultPoints.Reach("overage:item");
        }
        FaultPoints.Reach("overage:added");
        return true;
    }

    private async Task PutLate(string organization, string closed, string currency, long version, List<InvoiceLine> lines, int from, CancellationToken stop)
    {
        var payer = await Payer.Find(services, organization, stop) ?? throw new InvalidOperationException($"{closed} was closed before everything was on it, and there is no customer at Stripe to charge the rest to.");
        var draft = (await Stripe.Send(StripeRequests.DraftInvoice(organization, payer.Customer, currency, closed, payer.Method), stop)).Text("id")!;
        for (var place = from; place < lines.Count; place++)
            await Stripe.Send(StripeRequests.InvoiceItem(organization, payer.Customer, draft, string.Create(CultureInfo.InvariantCulture, $"{version}-{place}"), lines[place]), stop);
        await Stripe.Send(StripeRequests.SendInvoice(organization, draft), stop);
    }

    /// <summary>A line each; those at the end together, where there are too many.</summary>
    private static List<InvoiceLine> Items(InvoiceLine[] lines)
    {
        if (lines.Length <= MostItems) return [.. lines];
        var rest = lines[(MostItems - 1)..];
        var sum = rest[0] with { Description = $"{rest.Length} more", Feature = null, Amount = rest.Sum(l => l.Amount), Start = rest.Min(l => l.Start), End = rest.Max(l => l.End) };
        return [.. lines[..(MostItems - 1)], sum];
    }

    private async Task<IReadOnlyList<LedgerEvent>> Execute(string organization, Command command)
    {
        var result = await services.Host.Organization(organization).Execute(command with { By = "stripe" });
        return result.Rejection is { } refused ? throw new InvalidOperationException(refused.Message) : result.Events;
    }

    private static string CommandId(string invoice) => $"stripe:invoice:{invoice}:usage";
}

/// <summary>Who is charged when nobody is there.</summary>
/// <param name="Method">The customer's default payment method, or that of its newest subscription, or the newest that is kept; null without one.</param>
internal sealed record Payer(string Customer, string? Method)
{
    /// <summary>Null when the organization is no customer at Stripe, or only ones that were deleted there.</summary>
    public static async Task<Payer?> Find(Services services, string organization, CancellationToken stop)
    {
        IReadOnlyList<string> known = (await services.Host.Organization(organization).PendingLines())?.Customers ?? [];
        foreach (var id in known.Concat(await services.Customers.Of(organization)).Distinct())
        {
            if (await services.Stripe.Find(StripeRequests.Customer(id), stop) is not { } customer || customer.Get("deleted")?.ValueKind == JsonValueKind.True) continue;
            return new Payer(id, customer.Get("invoice_settings")?.Reference("default_payment_method") ?? await OfSubscription(services.Stripe, id, stop));
        }
        return null;
    }

    private static async Task<string?> OfSubscription(IStripeGateway stripe, string customer, CancellationToken stop)
    {
        await foreach (var subscription in stripe.List(StripeRequests.SubscriptionsOf(customer), stop))
            if (subscription.Reference("default_payment_method") is { } method) return method;
        // One that was kept when tokens were bought is no default.
        await foreach (var kept in stripe.List(StripeRequests.PaymentMethodsOf(customer), stop)) return kept.Text("id");
        return null;
    }
}
