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
public sealed record Inventory(IReadOnlyList<string> Organizations, IReadOnlyList<string> Problems);
