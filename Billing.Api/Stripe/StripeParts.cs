using Billing.Grains;
using Billing.Silo;
using Billing.Silo.Storage;

namespace Billing.Api.Stripe;

/// <summary>What speaks with Stripe, and what is kept of it.</summary>
/// <param name="Gateway">The way to Stripe; null without a key.</param>
public sealed record StripeParts(StripeGateway? Gateway, SentRequests Sent, CustomerDirectory Customers, Inbox Inbox, StripeInvoices Invoices, StripeEvents Events, OrganizationTurns Turns)
{
    public static StripeParts Open(Database database, ILedgerHost host, CatalogStore catalogs, Settings settings, Clock clock)
    {
        var (sent, customers, inbox, invoices) = (new SentRequests(database), new CustomerDirectory(database), new Inbox(database), new StripeInvoices(database));
        var gateway = settings.StripeKey is { } key ? new StripeGateway(settings.StripeAddress, key, settings.StripeTimeout, settings.StripeRetryDelay, sent, clock) : null;
        var steps = new StripeSteps(gateway, inbox, customers, host, invoices, clock);
        return new StripeParts(gateway, sent, customers, inbox, invoices, new StripeEvents(inbox, customers, host, catalogs, settings, steps, clock),
            new OrganizationTurns(new Leases(database), clock, settings.StripeLease));
    }

    /// <summary>What Stripe answers is in the service's log, and what it tells of wakes the workers.</summary>
    public void Attach(WebApplication app)
    {
        if (Gateway is not null) Gateway.Log = app.Logger;
        Events.Wake = app.Services.GetRequiredService<StripeWork>().Wake;
    }
}
