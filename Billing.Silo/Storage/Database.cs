using System.Data.Common;
using Billing.Grains.Journal;

namespace Billing.Silo.Storage;

/// <summary>
/// The database that the journal lives in, for what is kept beside the streams. Small tables, short statements in the
/// SQL that SQLite and PostgreSQL share.
/// </summary>
public abstract class Database : IAsyncDisposable
{
    /// <summary>Where it is, in words for people: nothing secret is in it.</summary>
    public abstract string Place { get; }

    public abstract IJournal Journal { get; }

    public abstract Task<T> Read<T>(Func<DbConnection, T> read);

    /// <summary>In one transaction: all of it is durable when this returns, or none of it happened.</summary>
    public abstract Task<T> Write<T>(Func<DbConnection, T> write);

    /// <summary>What there is to verify, read as strictly as the events.</summary>
    public abstract Task<Inventory> TakeInventory();

    public abstract ValueTask DisposeAsync();
}

/// <summary>Everything that a journal holds streams of, so that nothing in it is left unverified.</summary>
/// <param name="Organizations">Those that have a head, by id.</param>
/// <param name="Problems">What is there and belongs to none of them.</param>
public sealed record Inventory(IReadOnlyList<string> Organizations, IReadOnlyList<string> Problems)
{
    // One step through the index for each organization, whatever number of events it has.
    internal const string WithoutHead = """
        WITH RECURSIVE found (organization) AS (
          SELECT min(organization) FROM events
          UNION ALL
          SELECT (SELECT min(organization) FROM events WHERE organization > found.organization) FROM found WHERE organization IS NOT NULL)
        SELECT organization FROM found WHERE organization IS NOT NULL AND organization NOT IN (SELECT organization FROM streams)
        """;

    internal static string HasNoHead(string organization) => $"There are events of {organization}, which has no head.";

    internal static string HasMoreEvents(double count) => $"There are {count:0} events more in the table than in its streams.";
}
