using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Billing.Silo.Storage.Postgres;
using Billing.Silo.Storage.Sqlite;

namespace Billing.Silo;

/// <summary>What the ledger is kept in, opened once by each process that works on it.</summary>
/// <param name="Journal">With one health for all who use it.</param>
/// <param name="Snapshots">Null where none are taken.</param>
public sealed record LedgerParts(LedgerSettings Settings, Database Database, WatchedJournal Journal, Snapshots? Snapshots, CatalogStore Catalogs)
{
    /// <exception cref="SettingsException">The database's address cannot be read.</exception>
    public static LedgerParts Open(LedgerSettings settings, TimeProvider time)
    {
        var database = OpenDatabase(settings);
        var health = new JournalHealth(new JournalProbe(database, time).Run, time, settings.JournalTimeout, settings.OutageAnswerTime);
        var snapshots = settings.SnapshotEvery == 0 ? null : new Snapshots(new SnapshotStore(database, TimeProvider.System), settings.SnapshotEvery);
        return new LedgerParts(settings, database, new WatchedJournal(database.Journal, health), snapshots, new CatalogStore(database, settings.Defaults));
    }

    /// <summary>Organizations inside this process.</summary>
    public LedgerHost NewHost() => new(Journal, () => Catalogs.Current, Settings.MaxResidentBytes, Snapshots);

    private static Database OpenDatabase(LedgerSettings settings)
    {
        if (settings.PostgresAddress is not { } address) return SqliteDatabase.Open(settings.JournalPath);
        try
        {
            return PostgresDatabase.Open(address, settings.JournalTimeout);
        }
        catch (FormatException e)
        {
            throw new SettingsException($"DATABASE_URL or ConnectionStrings__Ledger: {e.Message}");
        }
    }
}
