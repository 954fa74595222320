using Billing.Api.Stripe;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Api;

/// <summary>The service's one clock, in the microseconds that the journal keeps.</summary>
public sealed class Clock(TimeProvider time)
{
    public Instant Now() => Micros.Truncate(Instant.FromDateTimeOffset(time.GetUtcNow()));
}

/// <summary>Signs the heads of streams, with a key that the journal's database keeps.</summary>
public sealed class HeadSigner(byte[] key)
{
    public SignedHead Sign(string organization, StreamHead head, Instant now)
    {
        // Opened for each: such a key is for one thread at a time, and heads are asked for rarely.
        using var opened = SignedHead.OpenKey(key);
        return SignedHead.Sign(organization, head, now, opened);
    }
}

/// <summary>What the routes work with. All of it lives as long as the process, so routes capture it once instead of asking for each request.</summary>
public sealed record Services(
    ILedgerHost Host, WatchedJournal Journal, ISnapshotStore? Snapshots, CatalogStore CatalogStore, ApiKeys Keys, Profiles Profiles, StripeParts StripeParts, DenialIds DenialIds,
    HeadSigner Heads, Clock Clock, Settings Settings, Flags Flags, BrowserSessions Sessions, AuditLog Audit)
{
    /// <summary>The way to Stripe; null without a key.</summary>
    public IStripeGateway? StripeOrNull => StripeParts.Gateway;

    /// <summary>The way to Stripe.</summary>
    /// <exception cref="ApiException">There is none.</exception>
    public IStripeGateway Stripe => StripeOrNull ?? throw NoStripe();

    /// <summary>Which customers the organizations are at Stripe.</summary>
    public StripeCustomers StripeCustomers { get; } = new(StripeParts.Gateway, StripeParts.Customers, Profiles, Host, StripeParts.Events, Clock);

    /// <summary>Which prices the catalog's are at Stripe.</summary>
    public StripePrices StripePrices { get; } = new(StripeParts.Gateway, CatalogStore, Settings);

    internal static ApiException NoStripe() => new("stripe_not_configured", "This needs Stripe. Set STRIPE_SECRET_KEY to a secret key (sk_test_… or sk_live_…).");

    public SentRequests SentRequests => StripeParts.Sent;

    public CustomerDirectory Customers => StripeParts.Customers;

    public Inbox Inbox => StripeParts.Inbox;

    public StripeInvoices StripeInvoices => StripeParts.Invoices;

    public StripeEvents StripeEvents => StripeParts.Events;

    public Catalogs Catalogs => CatalogStore.Current;

    /// <summary>Whether the journal answers.</summary>
    public JournalHealth Health => Journal.Health;
}
