using System.Text.Json;
using Billing.Grains;
using Billing.Ledger;
using Billing.Silo;

namespace Billing.Api.Stripe;

/// <summary>An event whose commands were carried out.</summary>
/// <param name="Summary">What they came to, for people; null when there were none.</param>
public sealed record AppliedEvent(string Organization, StripeEvent Event, string? Summary);

/// <summary>What is done about an event after its commands. It may be done twice, and throws when Stripe does not answer: then all of it is tried again.</summary>
public delegate Task<Outcome> StripeStep(StripeSteps steps, AppliedEvent applied, CancellationToken stop);

/// <summary>The steps that rows of the table name, and what they work with.</summary>
/// <param name="stripe">Null without a key.</param>
public sealed class StripeSteps(IStripeGateway? stripe, Inbox inbox, CustomerDirectory customers, ILedgerHost host, StripeInvoices invoices, Clock clock)
{
    private readonly Turns paymentTurns = new();

    public bool HasStripe => stripe is not null;

    /// <summary>What is added to the draft of a renewal's invoice: the organization, and Stripe's invoice.</summary>
    public Func<string, JsonElement, CancellationToken, Task> AddToDraft { get; set; } = (_, _, _) => Task.CompletedTask;

    // ---- the steps

    /// <summary>Money may have gone back before the purchase was heard of.</summary>
    public async Task<Outcome> TokensBought(AppliedEvent applied)
    {
        if (applied.Event.Object.Metadata("token_package") is not null && applied.Event.About is { } payment) await inbox.Reopen(payment, StripeTranslation.MoneyBackTypes);
        return Done(applied);
    }

    /// <summary>Takes back tokens as far as their money went back: refunds that did not fail, and disputes for as long as they are not won.</summary>
    public async Task<Outcome> MoneyBack(AppliedEvent applied, CancellationToken stop) => applied.Event.Object.Reference("payment_intent") is { } payment
        // What was read last is recorded last.
        ? await paymentTurns.Take(payment, () => MoneyBack(payment, applied, stop))
        : new Outcome(InboxState.Ignored, applied.Organization, "It names no payment.");

    private async Task<Outcome> MoneyBack(string payment, AppliedEvent applied, CancellationToken stop)
    {
        var (organization, e) = (applied.Organization, applied.Event);
        var now = clock.Now();
        if (await Returned(payment, stop) is not { } total)
            return new Outcome(InboxState.Failed, organization, "How much went back in all is not known: bodies of older events are removed. Set STRIPE_SECRET_KEY, and replay it.");
        // The same total may come again after another: what it changes is decided by the ledger, not by this id.
        var command = new ReturnMoney(payment, total) { Id = $"stripe:returned:{payment}:{Guid.NewGuid():N}", ContentHash = StripeTranslation.HashOf($"returned:{payment}:{total}"), At = now, By = "stripe" };
        var result = await host.Organization(organization).Execute(command);
        if (result.Rejection is { } refused)
            return new Outcome(refused.Kind switch
            {
                RejectionKind.OrganizationUnknown => InboxState.Unclaimed,
                RejectionKind.OrganizationClosed => InboxState.Ignored,
                _ => InboxState.Failed,
            }, organization, refused.Message);
        var sum = $"Of this payment {new Money(total, e.Object.Text("currency") ?? "")} went back in all.";
        return result.Events.Count == 0
            ? new Outcome(InboxState.Ignored, organization, $"{sum} No tokens change by that.")
            : new Outcome(InboxState.Applied, organization, $"{sum} Recorded as version {string.Join(", ", result.Events.Select(r => r.Version))}.");
    }

    /// <summary>Keeps the invoice as Stripe shows it.</summary>
    public async Task<Outcome> InvoiceSeen(AppliedEvent applied, CancellationToken stop)
    {
        var o = applied.Event.Object;
        List<JsonElement>? lines = null;
        // An event has the first ten.
        if (o.Get("lines")?.Get("has_more")?.ValueKind == JsonValueKind.True && stripe is not null && o.Text("id") is { } id) lines = await LinesOf(id, stop);
        if (MirroredInvoices.Read(o, applied.Organization, lines) is not { } invoice) return Done(applied);
        var stands = await invoices.Save(invoice, applied.Event.Created, stripe is null ? InvoiceSaidBy.EventAlone : InvoiceSaidBy.Event);
        if (!stands && stripe is not null && await invoices.Find(applied.Organization, invoice.Id) is not { Status: "paid" or "void" }) await LookUpInvoice(applied.Organization, invoice.Id, stop);
        return Done(applied, "The invoice is kept as Stripe shows it.");
    }

    /// <summary>As <see cref="InvoiceSeen"/>; then is the time to add to it what was used.</summary>
    public async Task<Outcome> InvoiceBegun(AppliedEvent applied, CancellationToken stop)
    {
        await InvoiceSeen(applied, stop);
        await AddToDraft(applied.Organization, applied.Event.Object, stop);
        return Done(applied, "The invoice is kept as Stripe shows it.");
    }

    // ---- looking up

    private async Task LookUpInvoice(string organization, string id, CancellationToken stop)
    {
        var asked = clock.Now();
        if (await stripe!.Find(StripeRequests.Invoice(id), stop) is not { } o) return;
        List<JsonElement>? lines = null;
        if (o.Get("lines")?.Get("has_more")?.ValueKind == JsonValueKind.True) lines = await LinesOf(id, stop);
        if (MirroredInvoices.Read(o, organization, lines) is { } invoice) await invoices.Save(invoice, asked, InvoiceSaidBy.Stripe);
    }

    private async Task<List<JsonElement>> LinesOf(string invoice, CancellationToken stop)
    {
        var lines = new List<JsonElement>();
        await foreach (var line in stripe!.List(StripeRequests.InvoiceLines(invoice), stop)) lines.Add(line);
        return lines;
    }

    /// <summary>The subscription as it is at Stripe now; null when it is not there.</summary>
    public Task<JsonElement?> Subscription(StripeEvent e, CancellationToken stop) =>
        e.Object.Text("id") is { } id ? stripe!.Find(StripeRequests.Subscription(id), stop) : Task.FromResult<JsonElement?>(null);

    /// <summary>Whose payment this is about. Refunds and disputes do not say: another event about the same payment does, or Stripe.</summary>
    public async Task<string?> OrganizationOfPayment(StripeEvent e, CancellationToken stop)
    {
        if (e.Object.Reference("payment_intent") is not { } payment) return null;
        foreach (var told in await inbox.ListAbout(payment))
            if (told.Organization is { } named) return named;
        if (stripe is null || await stripe.Find(StripeRequests.PaymentIntent(payment), stop) is not { } intent) return null;
        return intent.Metadata("organization_id") ?? (intent.Reference("customer") is { } customer ? await customers.Find(customer) : null);
    }

    /// <summary>How much of a payment went back by now, in minor units.</summary>
    /// <returns>Null when that cannot be known.</returns>
    private async Task<long?> Returned(string payment, CancellationToken stop)
    {
        if (stripe is null)
        {
            var told = (await inbox.ListAbout(payment)).Where(t => StripeTranslation.MoneyBackTypes.Contains(t.Type)).ToList();
            return told.Exists(t => t.Payload is null) ? null : ReturnedMoney.Told(told.Select(t => StripeEvent.Parse(t.Payload)).OfType<StripeEvent>());
        }
        var refunds = new List<JsonElement>();
        var disputes = new List<JsonElement>();
        await foreach (var refund in stripe.List(StripeRequests.RefundsOf(payment), stop)) refunds.Add(refund);
        await foreach (var dispute in stripe.List(StripeRequests.DisputesOf(payment), stop)) disputes.Add(dispute);
        return ReturnedMoney.Of(refunds, disputes);
    }

    private static Outcome Done(AppliedEvent applied, string what = "It changes nothing here.") =>
        applied.Summary is { } summary ? new Outcome(InboxState.Applied, applied.Organization, summary) : new Outcome(InboxState.Ignored, applied.Organization, what);
}
