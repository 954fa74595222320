using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Billing.Silo.Storage.Postgres;
using Billing.Silo.Storage.Sqlite;
using Microsoft.Data.Sqlite;

namespace Billing.Cli;

/// <summary>Where the journal is.</summary>
/// <param name="Address">A SQLite file, or a PostgreSQL database as a URL or in Npgsql's keywords.</param>
/// <param name="IsNamed">It was said on the command line.</param>
internal sealed record JournalFile(string Address, bool IsNamed)
{
    /// <summary>For messages: a password is not repeated.</summary>
    public string Shown => IsPostgres ? ShownDatabase() : Address;

    public bool Exists => IsPostgres || System.IO.File.Exists(Address);

    private bool IsPostgres => PostgresAddress.IsAddress(Address);

    /// <exception cref="UsageException">There is none.</exception>
    public Database Open()
    {
        if (!Exists) throw new UsageException($"There is no journal at '{Shown}'. Say with --journal where it is.");
        return Opened<Database>(() => IsPostgres ? PostgresDatabase.OpenReadOnly(Address) : SqliteDatabase.OpenReadOnly(Address));
    }

    /// <summary>To change what is beside the streams. It is made where there is none, and brought up to date.</summary>
    public Database OpenToWrite() => Opened<Database>(() => IsPostgres ? PostgresDatabase.Open(Address) : SqliteDatabase.Open(Address));

    /// <exception cref="UsageException">There is none, or it is none that bodies can be taken out of.</exception>
    public PostgresDatabase OpenToArchive() => IsPostgres
        ? Opened(() => PostgresDatabase.OpenToArchive(Address))
        : throw new UsageException($"'{Address}' is no PostgreSQL journal: a file keeps its bodies. Say with --journal where the journal is.");

    /// <summary>See <see cref="SqliteDatabase.Hold"/>.</summary>
    public IDisposable? Hold() => Opened(() => SqliteDatabase.Hold(File()));

    /// <exception cref="UsageException">There is no file that could be moved.</exception>
    public SqliteDatabase OpenToMove() => Opened(() => SqliteDatabase.OpenToMove(File()));

    /// <exception cref="UsageException">It is no PostgreSQL database.</exception>
    public PostgresDatabase OpenToMove(bool onlyLook) => IsPostgres
        ? Opened(() => PostgresDatabase.OpenToMove(Address, onlyLook))
        : throw new UsageException($"'{Address}' is no PostgreSQL database. Write postgresql://user:password@host:5432/database.");

    private string File() => IsPostgres ? throw new UsageException($"{Shown} is no SQLite file: say with --from which file is to be moved.")
        : Exists ? Address
        : throw new UsageException($"There is no journal at '{Address}'. Say with --from where it is.");

    private T Opened<T>(Func<T> open)
    {
        try
        {
            return open();
        }
        catch (FormatException e)
        {
            throw new UsageException(e.Message);
        }
        catch (SqliteException e)
        {
            throw new UsageException($"'{Address}' cannot be read as a journal: {e.Message}");
        }
    }

    private string ShownDatabase()
    {
        try
        {
            return PostgresAddress.Shown(PostgresAddress.Parse(Address));
        }
        catch (FormatException e)
        {
            throw new UsageException(e.Message);
        }
    }

    /// <summary>The organization's stream.</summary>
    /// <exception cref="UsageException">There is no such organization.</exception>
    public async Task<LedgerStream> Stream(IJournal journal, string organization, CancellationToken stop) => await LedgerStream.Exists(journal, organization)
        ? await LedgerStream.Of(journal, organization, stop)
        : throw new UsageException($"There is no organization '{organization}' in '{Shown}'.");
}
