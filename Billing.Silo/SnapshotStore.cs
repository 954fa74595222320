using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Dapper;
using NodaTime;

namespace Billing.Silo;

/// <summary>The organizations' snapshots, beside their streams.</summary>
public sealed class SnapshotStore(Database database, TimeProvider time) : ISnapshotStore
{
    public async ValueTask<Snapshot?> Find(string organization, string format)
    {
        var rows = await database.Read(c => c.Query<(long Version, byte[] Hash, byte[] Body)>(
            "SELECT version, hash, body FROM snapshots WHERE organization = @organization AND format = @format", new { organization, format }).AsList());
        return rows is [var (version, hash, body)] ? new Snapshot(organization, version, hash, format, body) : null;
    }

    public async ValueTask Save(IReadOnlyList<Snapshot> snapshots)
    {
        var taken = Micros.Of(Instant.FromDateTimeOffset(time.GetUtcNow()));
        // In one order, so that two processes that store the same ones wait for one another and not both for each other.
        var rows = snapshots.OrderBy(s => s.Organization, StringComparer.Ordinal).Select(s => new { s.Organization, s.Version, s.Hash, s.Format, s.Body, taken }).ToList();
        await database.Write(c => c.Execute(
            """
            INSERT INTO snapshots (organization, version, hash, format, body, taken_at) VALUES (@Organization, @Version, @Hash, @Format, @Body, @taken)
            ON CONFLICT (organization) DO UPDATE SET version = excluded.version, hash = excluded.hash, format = excluded.format, body = excluded.body, taken_at = excluded.taken_at
            """, rows));
    }
}

/// <summary>How far the readers of the whole journal have come.</summary>
public sealed class FeedPositions(Database database) : IFeedPositions
{
    public async ValueTask<(long Position, Instant? StoredAt)> Find(string feed)
    {
        var rows = await database.Read(c => c.Query<(long Position, long UpdatedAt)>("SELECT position, updated_at FROM feeds WHERE name = @feed", new { feed }).AsList());
        return rows is [var (position, updated)] ? (position, Micros.ToInstant(updated)) : (0, null);
    }

    public async ValueTask Save(string feed, long position, Instant now) => await database.Write(c => c.Execute(
        """
        INSERT INTO feeds (name, position, updated_at) VALUES (@feed, @position, @now)
        ON CONFLICT (name) DO UPDATE SET position = excluded.position, updated_at = excluded.updated_at WHERE excluded.position > feeds.position
        """, new { feed, position, now = Micros.Of(now) }));
}
