using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo;
using Billing.Silo.Storage;
using Billing.Silo.Storage.Sqlite;
using Dapper;
using NodaTime;

namespace Billing.Tests.Silo;

/// <summary>What is computed from the journal and kept beside it, in any database.</summary>
public abstract class SnapshotStoreConformance : IAsyncLifetime
{
    private Database database = null!;

    /// <summary>An empty one.</summary>
    protected abstract Task<Database> Open();

    public async Task InitializeAsync() => database = await Open();

    public abstract Task DisposeAsync();

    [Fact]
    public async Task a_snapshot_comes_back_by_its_organization_and_format_alone()
    {
        var store = new SnapshotStore(database, new SettableClock(Instant.FromUtc(2026, 11, 20, 10, 0)));
        byte[] body = [.. Enumerable.Range(0, 20_000).Select(i => (byte)(i % 251))];
        await store.Save([New("acme", 1_000_000_000_000, body), New("zenith", 7, [1])]);

        var found = (await store.Find("acme", "f"))!;
        Assert.Equal(("acme", 1_000_000_000_000, "f"), (found.Organization, found.Version, found.Format));
        Assert.Equal(body, found.Body);
        Assert.Equal(new byte[32], found.Hash);
        Assert.Equal([1], (await store.Find("zenith", "f"))!.Body);
        Assert.Null(await store.Find("acme", "g"));
        Assert.Null(await store.Find("nobody", "f"));
        Assert.Equal(1_795_168_800_000_000, await database.Read(c => c.ExecuteScalar<long>("SELECT max(taken_at) FROM snapshots")));
    }

    [Fact]
    public async Task the_last_one_stands_be_it_older_or_of_another_format()
    {
        var store = new SnapshotStore(database, TimeProvider.System);
        await store.Save([New("acme", 9, [9])]);
        // The journal was put back to an earlier time.
        await store.Save([New("acme", 3, [3])]);
        Assert.Equal(3, (await store.Find("acme", "f"))!.Version);

        await store.Save([New("acme", 4, [4]) with { Format = "g" }]);
        Assert.Null(await store.Find("acme", "f"));
        Assert.Equal(4, (await store.Find("acme", "g"))!.Version);
        Assert.Equal(1, await database.Read(c => c.ExecuteScalar<long>("SELECT count(*) FROM snapshots")));
    }

    [Fact]
    public async Task a_feeds_position_is_kept_by_its_name_and_never_goes_back()
    {
        var positions = new FeedPositions(database);
        var now = Instant.FromUtc(2026, 11, 20, 10, 0);
        Assert.Equal((0, null), await positions.Find("mails"));

        await positions.Save("mails", 1L << 60, now);
        await positions.Save("other", 5, now);
        await positions.Save("mails", 3, now + Duration.FromHours(1));

        Assert.Equal((1L << 60, now), await positions.Find("mails"));
        Assert.Equal((5, now), await positions.Find("other"));
    }

    private static Snapshot New(string organization, long version, byte[] body) => new(organization, version, HashChain.Start, "f", body);
}

public sealed class SqliteSnapshotStoreTests : SnapshotStoreConformance
{
    private readonly string folder = Directory.CreateTempSubdirectory("billing-").FullName;
    private SqliteDatabase? database;

    protected override Task<Database> Open() => Task.FromResult<Database>(database = SqliteDatabase.Open(Path.Combine(folder, "ledger.db")));

    public override async Task DisposeAsync()
    {
        await database!.DisposeAsync();
        Directory.Delete(folder, recursive: true);
    }
}
