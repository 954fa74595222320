using System.Text.RegularExpressions;
using Billing.Api.Pages;
using Billing.Ledger;
using Billing.Silo;

namespace Billing.Api;

/// <summary>All configuration, read in one place. The README lists it.</summary>
public sealed partial record Settings
{
    /// <summary>The operator key of a development start. Refused anywhere else, and on any address but loopback.</summary>
    public const string DevelopmentKey = "bk_test_development";

    public const int MinOperatorKeyLength = 32;

    public const string DefaultUrl = "http://localhost:5080";

    public const string StripeUrl = "https://api.stripe.com";

    public required bool IsDevelopment { get; init; }

    /// <summary>What the ledger is kept in, and its limits.</summary>
    public required LedgerSettings Ledger { get; init; }

    /// <summary>The catalog's file.</summary>
    public required string CatalogPath { get; init; }

    public required string? OperatorKey { get; init; }

    /// <summary>Any of these may have signed a webhook.</summary>
    public required IReadOnlyList<string> WebhookSecrets { get; init; }

    public required string? PublishableKey { get; init; }

    /// <summary>Stripe's secret key; null when there is none. Never logged.</summary>
    public required string? StripeKey { get; init; }

    /// <summary>Where Stripe is: Stripe itself, or a stand-in on this machine.</summary>
    public required Uri StripeAddress { get; init; }

    /// <summary>How long one try of a request to Stripe may take.</summary>
    public required TimeSpan StripeTimeout { get; init; }

    /// <summary>How long to wait before a request to Stripe is tried again; doubled for each further try.</summary>
    public required TimeSpan StripeRetryDelay { get; init; }

    /// <summary>How long another process waits with what speaks to Stripe by itself after the one that did it died.</summary>
    public required TimeSpan StripeLease { get; init; }

    /// <summary>Whether a stand-in for Stripe is started with the service: in Development, without a key.</summary>
    public required bool StartsStripeSandbox { get; init; }

    /// <summary>Whether Stripe computes tax at checkout and asks for tax ids.</summary>
    public required bool StripeTax { get; init; }

    /// <summary>Whether checkout takes promotion codes where nobody says.</summary>
    public required bool PromotionCodes { get; init; }

    /// <summary>Hosts that browsers may be sent back to after Stripe's pages, and where they go by default.</summary>
    public required ReturnUrls ReturnUrls { get; init; }

    /// <summary>From which hour of a UTC day on all organizations are compared with Stripe; -1 never.</summary>
    public required int ReconcileHour { get; init; }

    /// <summary>Whether that comparison repairs what it finds.</summary>
    public required bool ReconcileRepairs { get; init; }

    /// <summary>For how many days after a payment a subscription's money is given back, and tokens' money. 0 is not at all.</summary>
    public required (int SubscriptionDays, int TokenDays) Refunds { get; init; }

    /// <summary>Stripe price ids from the environment, each with the plan and interval that it is for.</summary>
    public required IReadOnlyDictionary<string, (string Plan, BillingInterval Interval)> PriceIds { get; init; }

    /// <summary>Proxies whose word about the caller's address is taken.</summary>
    public required IReadOnlyList<System.Net.IPNetwork> Proxies { get; init; }

    /// <summary>How many requests each key may send in a second; 0 is without a limit.</summary>
    public required int KeyRequestsPerSecond { get; init; }

    /// <summary>Nothing of it: it has secrets in it.</summary>
    public override string ToString() => nameof(Settings);

    /// <summary>Who invoices are from.</summary>
    public required Seller Seller { get; init; }

    /// <summary>Where the process ends at once, to try what a crash there leaves. In Development only; null is nowhere.</summary>
    public string? FaultPoint { get; init; }

    /// <exception cref="SettingsException">Something is set in a way that cannot work; the message says what would.</exception>
    public static Settings Read(IConfiguration configuration, bool isDevelopment, string contentRoot)
    {
        string? Get(params ReadOnlySpan<string> names) => configuration.Find(names);

        if (Get("ForwardedHeaders_Enabled") is { } forwarded && bool.TryParse(forwarded, out var everybody) && everybody)
            throw new SettingsException("ASPNETCORE_FORWARDEDHEADERS_ENABLED believes whoever sends X-Forwarded-For. Unset it, and name your proxies in Billing:Proxies.");
        var operatorKey = Get("BILLING_OPERATOR_KEY");
        if (operatorKey is { Length: < MinOperatorKeyLength })
            throw new SettingsException($"BILLING_OPERATOR_KEY has {operatorKey.Length} characters; it needs {MinOperatorKeyLength} or more. Make one with: openssl rand -hex 32");
        var stripeKey = Get("STRIPE_SECRET_KEY", "STRIPE_API_KEY");
        var stripeAddress = Get("Billing:StripeUrl") ?? StripeUrl;
        if (stripeKey is not null && !StripeKeys().IsMatch(stripeKey))
            throw new SettingsException("STRIPE_SECRET_KEY is no secret key of Stripe's: those begin with sk_test_, sk_live_, rk_test_ or rk_live_. (A key that begins with pk_ is the publishable one.)");
        if (isDevelopment && stripeKey?.Contains("_live_", StringComparison.Ordinal) == true)
            throw new SettingsException("STRIPE_SECRET_KEY is a live key, and this is Development. Use a test key, or set ASPNETCORE_ENVIRONMENT to Production.");
        if (!Uri.TryCreate(stripeAddress, UriKind.Absolute, out var stripe) || (stripeAddress != StripeUrl && !stripe.IsLoopback))
            throw new SettingsException($"Billing:StripeUrl is '{stripeAddress}'; it must be {StripeUrl} or the address of a stand-in on this machine.");
        if (stripe.IsLoopback && stripeKey?.Contains("_live_", StringComparison.Ordinal) == true) throw new SettingsException("A live key of Stripe's is sent to Stripe only: unset Billing:StripeUrl.");
        return new Settings
        {
            IsDevelopment = isDevelopment,
            Ledger = LedgerSettings.Read(configuration),
            CatalogPath = FindCatalog(Get("Billing:Catalog") ?? "catalogs/learning-community.json", contentRoot),
            OperatorKey = operatorKey,
            WebhookSecrets = [.. (Get("STRIPE_WEBHOOK_SECRET") ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)],
            PublishableKey = Get("STRIPE_PUBLISHABLE_KEY", "STRIPE_PUBLIC_KEY"),
            StripeKey = stripeKey,
            StripeAddress = stripe,
            StripeTimeout = TimeSpan.FromMilliseconds(Number("Billing:StripeTimeoutMilliseconds", 30_000, 100, 80_000)),
            StripeRetryDelay = TimeSpan.FromMilliseconds(Number("Billing:StripeRetryMilliseconds", 500, 0, 5_000)),
            StripeLease = TimeSpan.FromSeconds(Number("Billing:StripeLeaseSeconds", 15, 3, 600)),
            StartsStripeSandbox = isDevelopment && stripeKey is null && Get("Billing:StripeSandbox") != "off",
            StripeTax = Get("Billing:StripeTax") == "on",
            PromotionCodes = Get("Billing:PromotionCodes") == "on",
            ReturnUrls = ReturnUrls.Read(Get("FRONTEND_URL"), Get("Billing:AllowedReturnHosts"), isDevelopment),
            ReconcileHour = Number("Billing:ReconcileHour", 3, -1, 23),
            ReconcileRepairs = Get("Billing:ReconcileRepairs") == "on",
            Refunds = (Number("Billing:Refunds:SubscriptionDays", 7, 0, 3_650), Number("Billing:Refunds:TokenDays", 0, 0, 3_650)),
            PriceIds = ReadPriceIds(configuration),
            Seller = Seller.Read(configuration),
            Proxies = Guards.ReadProxies(Get("Billing:Proxies")),
            KeyRequestsPerSecond = Number("Billing:KeyRequestsPerSecond", 0, 0, 1_000_000),
            FaultPoint = isDevelopment ? Get("Billing:FaultPoint") : null,
        };

        int Number(string name, int byDefault, int least, int most) => configuration.Number(name, byDefault, least, most);
    }

    [GeneratedRegex(@"\A[sr]k_(test|live)_[A-Za-z0-9_]{1,255}\z", RegexOptions.CultureInvariant)]
    private static partial Regex StripeKeys();

    /// <summary>As given, seen from where the service was started, or else from above it: `dotnet run --project` works from any folder.</summary>
    private static string FindCatalog(string path, string contentRoot)
    {
        if (File.Exists(path)) return Path.GetFullPath(path);
        for (var folder = new DirectoryInfo(contentRoot); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, path))) return Path.Combine(folder.FullName, path);
        throw new SettingsException($"There is no catalog at '{Path.GetFullPath(path)}'. Set Billing:Catalog to a catalog's JSON file.");
    }

    /// <summary>STRIPE_PRICE_{PLAN} and STRIPE_{PLAN}_{MONTHLY|QUARTERLY|YEARLY}_PRICE_ID, with the plan in upper case and _ for -.</summary>
    private static Dictionary<string, (string Plan, BillingInterval Interval)> ReadPriceIds(IConfiguration configuration)
    {
        var ids = new Dictionary<string, (string, BillingInterval)>();
        foreach (var (name, id) in configuration.AsEnumerable())
        {
            if (string.IsNullOrWhiteSpace(id)) continue;
            if (name.StartsWith("STRIPE_PRICE_", StringComparison.Ordinal)) ids[id] = (name["STRIPE_PRICE_".Length..], BillingInterval.Month);
            foreach (var (suffix, interval) in (ReadOnlySpan<(string, BillingInterval)>)
                [("_MONTHLY_PRICE_ID", BillingInterval.Month), ("_QUARTERLY_PRICE_ID", BillingInterval.Quarter), ("_YEARLY_PRICE_ID", BillingInterval.Year)])
                if (name.StartsWith("STRIPE_", StringComparison.Ordinal) && name.EndsWith(suffix, StringComparison.Ordinal) && name.Length > 7 + suffix.Length)
                    ids[id] = (name[7..^suffix.Length], interval);
        }
        return ids;
    }
}

/// <summary>Where browsers come back to from Stripe's pages. Only to hosts that are allowed, or anybody could send a customer from a real payment to a false page.</summary>
/// <param name="Default">FRONTEND_URL.</param>
public sealed record ReturnUrls(Uri? Default, IReadOnlySet<string> Hosts, bool AllowsLoopback)
{
    /// <param name="hosts">Comma-separated, such as <c>app.example.com,example.com:8443</c>; the front end's own is among them.</param>
    /// <exception cref="SettingsException">FRONTEND_URL is no http or https URL.</exception>
    public static ReturnUrls Read(string? frontEnd, string? hosts, bool isDevelopment)
    {
        Uri? url = null;
        if (frontEnd is not null && (!Uri.TryCreate(frontEnd, UriKind.Absolute, out url) || url.Scheme is not ("http" or "https")))
            throw new SettingsException($"FRONTEND_URL is '{frontEnd}'; it must be a URL such as https://app.example.com.");
        var allowed = (hosts ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Concat(url is null ? [] : [url.Authority]);
        return new ReturnUrls(url, allowed.ToHashSet(StringComparer.OrdinalIgnoreCase), isDevelopment);
    }

    /// <summary>The URL to come back to.</summary>
    /// <param name="asked">As the caller wants it; null is a page of the front end.</param>
    /// <param name="path">That page, such as <c>billing/success</c>.</param>
    /// <param name="field">What the caller's field is called.</param>
    /// <exception cref="ApiException">Its host is not allowed, or there is no default.</exception>
    public string Of(string? asked, string path, string field)
    {
        if (asked is null)
            return Default is { } home ? new Uri(home, path).ToString() : throw new ApiException("missing_field", $"Say where to come back to, or set FRONTEND_URL.", field);
        if (!Uri.TryCreate(asked, UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https") || url.UserInfo.Length > 0)
            throw new ApiException("invalid_field", "This must be a whole http or https URL.", field);
        if (!Hosts.Contains(url.Authority) && !(AllowsLoopback && url.IsLoopback))
            throw new ApiException("return_url_not_allowed", $"Browsers are not sent to '{url.Authority}'. Allowed: {(Hosts.Count == 0 ? "none; set FRONTEND_URL or Billing:AllowedReturnHosts" : string.Join(", ", Hosts.Order(StringComparer.Ordinal)))}.", field);
        return asked;
    }
}
