using System.Data.Common;

namespace Billing.Silo.Storage;

/// <summary>
/// The database that the journal lives in, for what is kept beside the streams. Small tables, short statements in the
/// SQL that SQLite and PostgreSQL share.
/// </summary>
public abstract class Database
{
    public abstract Task<T> Read<T>(Func<DbConnection, T> read);

    /// <summary>In one transaction: all of it is durable when this returns, or none of it happened.</summary>
    public abstract Task<T> Write<T>(Func<DbConnection, T> write);
}
