using Billing.Grains.Journal;
using Billing.Silo.Storage.Sqlite;
using Microsoft.Data.Sqlite;

namespace Billing.Cli;

/// <summary>Where the journal is.</summary>
/// <param name="IsNamed">It was said on the command line.</param>
internal sealed record JournalFile(string Path, bool IsNamed)
{
    public bool Exists => File.Exists(Path);

    /// <exception cref="UsageException">There is none.</exception>
    public SqliteDatabase Open()
    {
        if (!Exists) throw new UsageException($"There is no journal at '{Path}'. Say with --journal where it is.");
        try
        {
            return SqliteDatabase.OpenReadOnly(Path);
        }
        catch (SqliteException e)
        {
            throw new UsageException($"'{Path}' cannot be read as a journal: {e.Message}");
        }
    }

    /// <summary>The organization's stream.</summary>
    /// <exception cref="UsageException">There is no such organization.</exception>
    public async Task<LedgerStream> Stream(SqliteJournal journal, string organization, CancellationToken stop) => await LedgerStream.Exists(journal, organization)
        ? await LedgerStream.Of(journal, organization, stop)
        : throw new UsageException($"There is no organization '{organization}' in '{Path}'.");
}
