using Billing.Api.Pages;
using Billing.Grains.Journal;
using Billing.Ledger;

namespace Billing.Api;

/// <summary>All configuration, read in one place. The README lists it.</summary>
public sealed record Settings
{
    /// <summary>The operator key of a development start. Refused anywhere else, and on any address but loopback.</summary>
    public const string DevelopmentKey = "bk_test_development";

    public const int MinOperatorKeyLength = 32;

    public const string DefaultUrl = "http://localhost:5080";

    public required bool IsDevelopment { get; init; }

    /// <summary>The catalog's file.</summary>
    public required string CatalogPath { get; init; }

    /// <summary>The journal's SQLite file, where <see cref="PostgresAddress"/> does not say otherwise.</summary>
    public required string JournalPath { get; init; }

    /// <summary>The journal's PostgreSQL database, with its password; null when it is in a file.</summary>
    public required string? PostgresAddress { get; init; }

    /// <summary>How long callers wait for a journal that does not answer.</summary>
    public required TimeSpan JournalTimeout { get; init; }

    public required string? OperatorKey { get; init; }

    /// <summary>Any of these may have signed a webhook.</summary>
    public required IReadOnlyList<string> WebhookSecrets { get; init; }

    public required string? PublishableKey { get; init; }

    /// <summary>Stripe price ids from the environment, each with the plan and interval that it is for.</summary>
    public required IReadOnlyDictionary<string, (string Plan, BillingInterval Interval)> PriceIds { get; init; }

    public required CatalogDefaults Defaults { get; init; }

    public required long MaxResidentBytes { get; init; }

    /// <summary>After so many events an organization's next snapshot is due; 0 takes and uses none.</summary>
    public required int SnapshotEvery { get; init; }

    /// <summary>How long checks are answered from memory while the journal does not answer, where the catalog allows it.</summary>
    public required TimeSpan OutageAnswerTime { get; init; }

    /// <summary>Who invoices are from.</summary>
    public required Seller Seller { get; init; }

    /// <summary>Whether due work runs by itself. Tests run it by hand.</summary>
    public required bool RunsDueWork { get; init; }

    /// <exception cref="SettingsException">Something is set in a way that cannot work; the message says what would.</exception>
    public static Settings Read(IConfiguration configuration, bool isDevelopment, string contentRoot)
    {
        string? Get(params string[] names) => names.Select(n => configuration[n]).FirstOrDefault(v => !string.IsNullOrWhiteSpace(v));

        var operatorKey = Get("BILLING_OPERATOR_KEY");
        if (operatorKey is { Length: < MinOperatorKeyLength })
            throw new SettingsException($"BILLING_OPERATOR_KEY has {operatorKey.Length} characters; it needs {MinOperatorKeyLength} or more. Make one with: openssl rand -hex 32");
        return new Settings
        {
            IsDevelopment = isDevelopment,
            CatalogPath = FindCatalog(Get("Billing:Catalog") ?? "catalogs/learning-community.json", contentRoot),
            JournalPath = Path.GetFullPath(Get("Billing:Journal") ?? "data/ledger.db"),
            PostgresAddress = Get("DATABASE_URL", "ConnectionStrings:Ledger"),
            JournalTimeout = TimeSpan.FromMilliseconds(Number("Billing:JournalTimeoutMilliseconds", 5_000, 100, 600_000)),
            OperatorKey = operatorKey,
            WebhookSecrets = [.. (Get("STRIPE_WEBHOOK_SECRET") ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)],
            PublishableKey = Get("STRIPE_PUBLISHABLE_KEY", "STRIPE_PUBLIC_KEY"),
            PriceIds = ReadPriceIds(configuration),
            Defaults = new CatalogDefaults(Days("DEFAULT_TRIAL_DAYS", 14), Days("BILLING_GRACE_PERIOD_DAYS", 3)),
            MaxResidentBytes = 1024L * 1024 * Number("Billing:ResidentMegabytes", 512, 1, 1_000_000),
            SnapshotEvery = Number("Billing:SnapshotEvery", Snapshots.EveryByDefault, 0, 1_000_000),
            OutageAnswerTime = TimeSpan.FromSeconds(Number("Billing:OutageAnswerSeconds", 600, 0, 31_536_000)),
            Seller = Seller.Read(configuration),
            RunsDueWork = Get("Billing:DueWork") != "off",
        };

        int Days(string name, int byDefault) => Number(name, byDefault, 0, 730);

        int Number(string name, int byDefault, int least, int most)
        {
            if (Get(name) is not { } text) return byDefault;
            return int.TryParse(text, out var number) && number >= least && number <= most
                ? number
                : throw new SettingsException($"{name} is '{text}'; it must be a whole number from {least} to {most}.");
        }
    }

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

/// <summary>The service cannot start as it is configured.</summary>
public sealed class SettingsException(string message) : Exception(message);
