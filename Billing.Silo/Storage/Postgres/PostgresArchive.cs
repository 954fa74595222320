using Billing.Grains.Journal;
using Dapper;

namespace Billing.Silo.Storage.Postgres;

/// <summary>Takes bodies out of a stream, and puts them back. Versions, command ids, hashes and all the rest stay as they are.</summary>
public sealed class PostgresArchive(PostgresDatabase database)
{
    private const int PageSize = 1_000;

    /// <summary>The version of the organization's snapshot, if it lies on the stream; 0 without one.</summary>
    public Task<long> SnapshotVersion(string organization) => database.Read(c => c.ExecuteScalar<long>(
        """
        SELECT coalesce(max(s.version), 0) FROM snapshots s
        JOIN events e ON e.organization = s.organization AND e.version = s.version AND e.hash = s.hash WHERE s.organization = @organization
        """, new { organization }));

    /// <summary>Takes out the bodies up to a version, if there is still a snapshot of that or a later one.</summary>
    /// <returns>How many were taken out.</returns>
    public Task<int> Remove(string organization, long lastVersion) => database.Write(c => c.Execute(
        """
        UPDATE events SET body = NULL WHERE organization = @organization AND version <= @lastVersion AND body IS NOT NULL
          AND EXISTS (SELECT FROM snapshots s JOIN events e ON e.organization = s.organization AND e.version = s.version AND e.hash = s.hash
                      WHERE s.organization = @organization AND s.version >= @lastVersion)
        """, new { organization, lastVersion }));

    /// <summary>Puts bodies back to the events that have these hashes. Stopped on the way, it can be done again.</summary>
    /// <param name="archive">Verified before.</param>
    /// <returns>How many were put back.</returns>
    public async Task<int> PutBack(LedgerStream archive)
    {
        var page = new List<StoredEvent>();
        var count = 0;
        await foreach (var e in archive.Events)
        {
            page.Add(e);
            if (page.Count < PageSize) continue;
            count += await PutBack(archive.Organization, page);
            page.Clear();
        }
        return count + await PutBack(archive.Organization, page);
    }

    private Task<int> PutBack(string organization, List<StoredEvent> page) => database.Write(c => c.Execute(
        """
        UPDATE events SET body = archived.body FROM unnest(@versions, @hashes, @bodies) AS archived (version, hash, body)
        WHERE events.organization = @organization AND events.version = archived.version AND events.hash = archived.hash AND events.body IS NULL
        """,
        new { organization, versions = page.ConvertAll(e => e.Version), hashes = page.ConvertAll(e => e.Hash), bodies = page.ConvertAll(e => e.Body) }));
}
