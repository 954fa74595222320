using Billing.Grains.Journal;
using Billing.Silo;
using Billing.Silo.Storage.Sqlite;
using Dapper;
using Microsoft.Data.Sqlite;

namespace Billing.Tests.Api;

/// <summary>The service with snapshots, seen from outside: nothing is seen of them.</summary>
public sealed class SnapshotApiTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("billing-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public async Task a_service_that_starts_again_answers_the_same_with_snapshots_without_them_and_with_damaged_ones()
    {
        string before;
        await using (var api = await Start())
        {
            await api.Open("acme");
            for (var i = 0; i < 20; i++) await api.Grant("acme", 10 + i);
            before = await Seen(api);
        }
        Assert.Equal(21, Row().Version);

        await Restarted();
        Assert.Equal(1, Execute("UPDATE snapshots SET body = substr(body, 2)"));
        await Restarted();
        Assert.Equal(1, Execute("UPDATE snapshots SET hash = zeroblob(32)"));
        await Restarted();
        Assert.Equal(1, Execute("UPDATE snapshots SET format = 'of an older version'"));
        await Restarted();
        Assert.Equal(1, Execute("UPDATE snapshots SET version = 1000000"));
        await Restarted();
        Assert.Equal(1, Execute("DELETE FROM snapshots"));
        await Restarted();
        // Each time a good one took the place of what was there.
        Assert.Equal((21, SnapshotCodec.Format), (Row().Version, Row().Format));

        async Task Restarted()
        {
            await using var api = await Start();
            Assert.Equal(before, await Seen(api));
            await api.VerifyLedger("acme");
        }
    }

    [Fact]
    public async Task a_snapshot_is_what_a_service_starts_from_and_verifying_compares_it_with_the_events()
    {
        await using (var api = await Start())
        {
            await api.Open("acme");
            for (var i = 0; i < 20; i++) await api.Grant("acme", 10);
        }
        await using (var database = SqliteDatabase.Open(Path.Combine(folder, "ledger.db")))
        {
            // By somebody who knows how they are made.
            var store = new SnapshotStore(database, TimeProvider.System);
            var snapshot = (await store.Find("acme", SnapshotCodec.Format))!;
            var state = SnapshotCodec.Decode(snapshot);
            await store.Save([SnapshotCodec.Encode(state with { Grants = [.. state.Grants.Skip(1)] }, snapshot.Hash)]);
        }

        await using (var api = await Start())
        {
            Assert.Equal(190, (await api.Get("/v1/organizations/acme/tokens")).Expect(200).Number("balance"));
            var verified = (await api.Get("/v1/organizations/acme/ledger/verify")).Expect(200);
            Assert.False(verified.True("ok"));
            Assert.Equal(21, verified.Number("first_bad_version"));
            Assert.Contains("snapshot", verified.String("problem"), StringComparison.Ordinal);
        }
        Assert.Equal(1, Execute("DELETE FROM snapshots"));
        await using (var api = await Start())
        {
            Assert.Equal(200, (await api.Get("/v1/organizations/acme/tokens")).Expect(200).Number("balance"));
            await api.VerifyLedger("acme");
        }
    }

    [Fact]
    public async Task they_can_be_switched_off()
    {
        await using (var api = await Start("0"))
        {
            await api.Open("acme");
            for (var i = 0; i < 20; i++) await api.Grant("acme", 10);
        }
        Assert.Equal(0, Execute("DELETE FROM snapshots"));
    }

    private Task<TestApi> Start(string every = "5") => TestApi.Start("quantum", folder: folder, args: $"--Billing:SnapshotEvery={every}");

    private static async Task<string> Seen(TestApi api)
    {
        var seen = new List<string>();
        foreach (var of in (string[])["", "/entitlements", "/tokens", "/usage/current", "/subscription", "/invoices", "/ledger/state"])
            seen.Add((await api.Get($"/v1/organizations/acme{of}")).Expect(200).Text);
        return string.Join('\n', seen);
    }

    private (long Version, string Format) Row()
    {
        using var connection = Connect();
        return connection.QuerySingle<(long, string)>("SELECT version, format FROM snapshots");
    }

    private int Execute(string sql)
    {
        using var connection = Connect();
        return connection.Execute(sql);
    }

    private SqliteConnection Connect() => new($"Data Source={Path.Combine(folder, "ledger.db")};Pooling=False");
}
