using Dapper;
using Microsoft.Data.Sqlite;

namespace Billing.Silo.Storage.Sqlite;

/// <summary>
/// Moves what is in the write-ahead log into the database file, beside the writer instead of within its commits: a
/// commit that has to do it waits for tens of milliseconds.
/// </summary>
internal sealed class Checkpointer : IDisposable
{
    /// <summary>Pages in the log at which the writer is held until all is moved, so that the log begins anew: 256 MiB.</summary>
    private const int MaxPages = 64_000;

    private static readonly TimeSpan Every = TimeSpan.FromMilliseconds(100);

    private readonly SqliteDatabase database;
    private readonly SqliteConnection connection;
    private readonly ManualResetEventSlim stopping = new();
    private readonly Thread thread;

    public Checkpointer(SqliteDatabase database)
    {
        this.database = database;
        connection = database.OpenConnection();
        thread = new Thread(Run) { IsBackground = true, Name = "checkpointer" };
        thread.Start();
    }

    public void Dispose()
    {
        stopping.Set();
        thread.Join();
        connection.Dispose();
        stopping.Dispose();
    }

    private void Run()
    {
        var moved = database.Writes;
        while (!stopping.Wait(Every))
        {
            var writes = database.Writes;
            if (writes == moved) continue;
            try
            {
                if (Checkpoint(connection) > MaxPages) database.WithWriterHeld(Checkpoint);
                moved = writes;
            }
            catch (SqliteException)
            {
                // Locked or out of space: the log keeps everything, and the next turn tries again.
            }
        }
    }

    /// <returns>Pages in the log.</returns>
    private static int Checkpoint(SqliteConnection on) => on.QuerySingle<(int Busy, int Log, int Moved)>("PRAGMA wal_checkpoint(PASSIVE)").Log;
}
