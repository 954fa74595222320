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

/// <summary>What the routes work with. All of it lives as long as the process, so routes capture it once instead of asking for each request.</summary>
public sealed record Services(
    ILedgerHost Host, IJournal Journal, CatalogStore CatalogStore, ApiKeys Keys, Profiles Profiles, Inbox Inbox, StripeEvents StripeEvents, DenialIds DenialIds, Clock Clock,
    Settings Settings)
{
    public Catalogs Catalogs => CatalogStore.Current;
}
