using System.Collections.Frozen;
using System.Collections.Immutable;

namespace Billing.Ledger;

/// <summary>What is sold: one version of one JSON file, read by <see cref="CatalogReader"/>. Immutable.</summary>
public sealed record Catalog
{
    /// <summary>1, 2, 3…: the order in which contents were published. 0 before it is stored.</summary>
    public int Version { get; init; }

    /// <summary>The default currency, lower-case ISO 4217.</summary>
    public required string Currency { get; init; }

    /// <summary>The plan of who has no subscription that gives access. Without one, everything is refused then.</summary>
    public string? FallbackPlan { get; init; }

    /// <summary>Days of access after the first failed attempt of the oldest unpaid invoice.</summary>
    public int GraceDays { get; init; }

    public AllowanceOnUpgrade AllowanceOnUpgrade { get; init; }

    /// <summary>What becomes of checks while the journal does not answer.</summary>
    public OnJournalOutage OnJournalOutage { get; init; }

    /// <summary>On invoices, unless the organization has terms of its own; null is none.</summary>
    public TaxTerms? Tax { get; init; }

    /// <summary>Days from an invoice's number to when it is due.</summary>
    public int InvoiceDueDays { get; init; }

    /// <summary>A token balance below this raises an alert; null never does.</summary>
    public long? TokensLow { get; init; }

    /// <summary>In the order of the file.</summary>
    public required ImmutableArray<Feature> Features { get; init; }

    /// <summary>In the order of the file, which is the order for people.</summary>
    public required ImmutableArray<Plan> Plans { get; init; }

    public required ImmutableArray<TokenPackage> TokenPackages { get; init; }

    private readonly Lazy<FrozenDictionary<string, Feature>> featuresById;
    private readonly Lazy<FrozenDictionary<string, Plan>> plansById;

    public Catalog()
    {
        featuresById = new(() => Features.ToFrozenDictionary(f => f.Id));
        plansById = new(() => Plans.ToFrozenDictionary(p => p.Id));
    }

    public Feature? Feature(string id) => featuresById.Value.GetValueOrDefault(id);

    public Plan? Plan(string id) => plansById.Value.GetValueOrDefault(id);

    public TokenPackage? TokenPackage(string id) => TokenPackages.FirstOrDefault(p => p.Id == id);

    /// <summary>By this a package's price is found at Stripe, where the catalog names no price id.</summary>
    public string LookupKey(TokenPackage package, string currency) => $"tokens-{package.Id}" + (currency == Currency ? "" : $"-{currency}");
}

public enum AllowanceOnUpgrade { Full, Prorated }

/// <summary>While the journal does not answer: checks are answered from memory, or refused.</summary>
public enum OnJournalOutage { Answer, Deny }

[GenerateSerializer, Alias("FeatureType")]
public enum FeatureType { Boolean, Static, Metered }

/// <summary>Something that a plan switches on, sets, or meters.</summary>
/// <param name="Name">As it reads in a sentence: "You have used all 3 AI requests."</param>
/// <param name="CountedWindows">The windows in which use is counted: every one that some plan limits, and the billing period.
/// <see cref="Window.Lifetime"/> is in it when some plan limits by it; it counts only under such plans.</param>
/// <param name="WarnAt">Per cent of a limit at which to warn, ascending.</param>
[GenerateSerializer, Alias("Feature"), Immutable]
public sealed record Feature(string Id, string Name, FeatureType Type, Meter? Meter, long TokenCost, ImmutableArray<Window> CountedWindows, ImmutableArray<int> WarnAt);

[GenerateSerializer, Alias("Aggregation")]
public enum Aggregation { Sum, Gauge }

/// <param name="Decimals">Places that a quantity may have; inside, quantities are whole smallest units.</param>
[GenerateSerializer, Alias("Meter"), Immutable]
public sealed record Meter(string Unit, int Decimals, Aggregation Aggregation, Window Window);

/// <param name="CustomFor">The one organization that this plan is made for; null is for everybody.</param>
public sealed record Plan(
    string Id, string Name, string? Description, ImmutableArray<Price> Prices, int? TrialDays, bool TrialNeedsPaymentMethod, bool InviteOnly,
    FrozenDictionary<string, PlanFeature> Features, string? CustomFor = null)
{
    /// <summary>Whether this organization may have it at all.</summary>
    public bool IsFor(string organization) => CustomFor is null || CustomFor == organization;

    public Price? Price(BillingInterval interval, string currency) => Prices.FirstOrDefault(p => p.Interval == interval && p.Amount.Currency == currency);
}

/// <summary>A plan's price for one interval in one currency. It is found at Stripe by id when that is given, else by lookup key.</summary>
public sealed record Price(BillingInterval Interval, Money Amount, string LookupKey, string? PriceId);

[GenerateSerializer, Alias("BillingInterval")]
public enum BillingInterval { Month, Quarter, Year }

public enum LimitMode { Block, Tokens, Overage, TokensThenOverage, Soft }

/// <summary>What one plan gives of one feature.</summary>
/// <param name="On">Boolean features: whether it is given. True for the others.</param>
/// <param name="Value">Static features: the text or number, as JSON text without quotes.</param>
/// <param name="Allowance">Metered features: smallest units in one window; null is unlimited.</param>
/// <param name="UnitPrice">Major units of the catalog's currency for one whole unit.</param>
/// <param name="Tiers">Graduated prices of overage in one billing period, in order; empty where <paramref name="UnitPrice"/> is the one price.</param>
/// <param name="DenyStatus">The HTTP status of <c>quota_exceeded</c>: 402, 403 or 429.</param>
public sealed record PlanFeature(
    Feature Feature, bool On, string? Value, long? Allowance, Window Window, LimitMode Mode, decimal? UnitPrice, int DenyStatus,
    ImmutableArray<RateLimit> RateLimits, ImmutableArray<PriceTier> Tiers)
{
    public bool BurnsTokens => Mode is LimitMode.Tokens or LimitMode.TokensThenOverage;

    public bool PricesOverage => Mode is LimitMode.Overage or LimitMode.TokensThenOverage;

    public bool IsGauge => Feature.Meter?.Aggregation == Aggregation.Gauge;
}

/// <summary>Overage up to so many smallest units in a billing period (null is all the rest) costs this for a whole unit, in major units.</summary>
public sealed record PriceTier(long? UpTo, decimal UnitPrice);

/// <summary>At most this many smallest units of use in one window, whatever covers them.</summary>
public sealed record RateLimit(long Limit, Window Window);

public sealed record TokenPackage(string Id, string Name, long Tokens, ImmutableArray<Money> Prices, string? PriceId)
{
    public Money? Price(string currency)
    {
        foreach (var price in Prices)
            if (price.Currency == currency) return price;
        return null;
    }
}

/// <summary>
/// Every version of the catalog that was ever sold from, because a subscription keeps the version that it was sold.
/// The last one is current.
/// </summary>
public sealed class Catalogs
{
    private readonly ImmutableArray<Catalog> versions;

    /// <param name="versions">Version 1 first, without gaps.</param>
    public Catalogs(IEnumerable<Catalog> versions)
    {
        this.versions = [.. versions];
        if (this.versions.IsEmpty) throw new ArgumentException("There is no catalog.", nameof(versions));
        Current = this.versions[^1];
    }

    public Catalog Current { get; }

    public ImmutableArray<Catalog> All => versions;

    /// <summary>As they were when this version was current.</summary>
    public Catalogs UpTo(int version) => version >= versions.Length ? this : new Catalogs(versions.Take(Math.Max(1, version)));

    /// <summary>The feature as it is now, or as it last was if it is no longer in the catalog.</summary>
    public Feature? Feature(string id) => Current.Feature(id) ?? versions.Select(v => v.Feature(id)).LastOrDefault(f => f is not null);

    /// <summary>The package as it is now, or as it last was: what was paid for is delivered.</summary>
    public TokenPackage? TokenPackage(string id) => Current.TokenPackage(id) ?? versions.Select(v => v.TokenPackage(id)).LastOrDefault(p => p is not null);

    /// <summary>The newest version that has this plan, which it is sold from; 0 when none ever had it.</summary>
    public int VersionOf(string plan)
    {
        var version = versions.Length;
        while (version > 0 && versions[version - 1].Plan(plan) is null) version--;
        return version;
    }

    /// <summary>The plan as it was in that version. A version that is not here (a journal moved without its catalogs) reads as the current one.</summary>
    public Plan? Plan(string id, int version) =>
        (version >= 1 && version <= versions.Length ? versions[version - 1] : Current).Plan(id) ?? Current.Plan(id);
}
