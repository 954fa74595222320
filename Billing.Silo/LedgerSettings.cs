using Billing.Ledger;
using Billing.Grains.Journal;
using Microsoft.Extensions.Configuration;

namespace Billing.Silo;

/// <summary>What every process that works on the ledger reads from its configuration. The README lists it.</summary>
public sealed record LedgerSettings
{
    /// <summary>The journal's SQLite file, where <see cref="PostgresAddress"/> does not say otherwise.</summary>
    public required string JournalPath { get; init; }

    /// <summary>The journal's PostgreSQL database, with its password; null when it is in a file.</summary>
    public required string? PostgresAddress { get; init; }

    /// <summary>How long callers wait for a journal that does not answer.</summary>
    public required TimeSpan JournalTimeout { get; init; }

    /// <summary>How long checks are answered from memory while the journal does not answer, where the catalog allows it.</summary>
    public required TimeSpan OutageAnswerTime { get; init; }

    /// <summary>What a catalog means where it says nothing.</summary>
    public required CatalogDefaults Defaults { get; init; }

    public required long MaxResidentBytes { get; init; }

    /// <summary>After so many events an organization's next snapshot is due; 0 takes and uses none.</summary>
    public required int SnapshotEvery { get; init; }

    /// <summary>Whether due work runs by itself. Tests run it by hand.</summary>
    public required bool RunsDueWork { get; init; }

    /// <summary>Nothing of it: an address may have a password in it.</summary>
    public override string ToString() => nameof(LedgerSettings);

    /// <exception cref="SettingsException">Something is set in a way that cannot work; the message says what would.</exception>
    public static LedgerSettings Read(IConfiguration configuration) => new()
    {
        JournalPath = Path.GetFullPath(configuration.Find("Billing:Journal") ?? "data/ledger.db"),
        PostgresAddress = configuration.Find("DATABASE_URL", "ConnectionStrings:Ledger"),
        JournalTimeout = TimeSpan.FromMilliseconds(configuration.Number("Billing:JournalTimeoutMilliseconds", 5_000, 100, 600_000)),
        OutageAnswerTime = TimeSpan.FromSeconds(configuration.Number("Billing:OutageAnswerSeconds", 600, 0, 31_536_000)),
        Defaults = new CatalogDefaults(configuration.Number("DEFAULT_TRIAL_DAYS", 14, 0, 730), configuration.Number("BILLING_GRACE_PERIOD_DAYS", 3, 0, 730)),
        MaxResidentBytes = 1024L * 1024 * configuration.Number("Billing:ResidentMegabytes", 512, 1, 1_000_000),
        SnapshotEvery = configuration.Number("Billing:SnapshotEvery", Snapshots.EveryByDefault, 0, 1_000_000),
        RunsDueWork = configuration.Find("Billing:DueWork") != "off",
    };
}

/// <summary>Settings as people write them.</summary>
public static class Configured
{
    /// <summary>The first of these that is set to something.</summary>
    public static string? Find(this IConfiguration configuration, params ReadOnlySpan<string> names)
    {
        foreach (var name in names)
            if (configuration[name] is { } value && !string.IsNullOrWhiteSpace(value)) return value;
        return null;
    }

    /// <exception cref="SettingsException">It is no number, or none of these.</exception>
    public static int Number(this IConfiguration configuration, string name, int byDefault, int least, int most)
    {
        if (configuration.Find(name) is not { } text) return byDefault;
        return int.TryParse(text, out var number) && number >= least && number <= most
            ? number
            : throw new SettingsException($"{name} is '{text}'; it must be a whole number from {least} to {most}.");
    }
}

/// <summary>The service cannot start as it is configured.</summary>
public sealed class SettingsException(string message) : Exception(message);
