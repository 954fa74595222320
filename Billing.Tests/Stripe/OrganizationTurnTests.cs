using Billing.Api;
using Billing.Api.Stripe;
using Billing.Silo;
using Billing.Silo.Storage.Sqlite;
using NodaTime;

namespace Billing.Tests.Stripe;

/// <summary>Selling to one organization goes one request at a time, in all processes on one database.</summary>
public sealed class OrganizationTurnTests : IAsyncDisposable
{
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(15);

    private readonly SettableClock clock = new(Instant.FromUtc(2026, 11, 20, 10, 0));
    private readonly string folder = Directory.CreateTempSubdirectory("billing-").FullName;
    private readonly SqliteDatabase database;

    public OrganizationTurnTests() => database = SqliteDatabase.Open(Path.Combine(folder, "ledger.db"));

    /// <summary>As another process would: with a lease of its own.</summary>
    private OrganizationTurns Process() => new(new Leases(database), new Clock(clock), Lease);

    [Fact]
    public async Task another_process_waits_until_the_turn_is_over_and_other_organizations_do_not()
    {
        var (one, other) = (Process(), Process());
        var turn = await one.Take("acme", default);

        var waiting = other.Take("acme", default);
        await using (await other.Take("globex", default)) Assert.False(waiting.IsCompleted);
        await turn.DisposeAsync();

        await (await waiting).DisposeAsync();
    }

    [Fact]
    public async Task a_process_that_dies_gives_way_when_its_lease_ends()
    {
        // It is never disposed of.
        await Process().Take("acme", default);
        clock.Advance(Duration.FromTimeSpan(Lease));

        await (await Process().Take("acme", default)).DisposeAsync();
    }

    [Fact]
    public async Task who_gives_up_waiting_leaves_the_turn_free()
    {
        var one = Process();
        var turn = await one.Take("acme", default);
        using var patience = new CancellationTokenSource();
        var waiting = one.Take("acme", patience.Token);

        await patience.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        await turn.DisposeAsync();
        await (await one.Take("acme", default)).DisposeAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await database.DisposeAsync();
        Directory.Delete(folder, recursive: true);
    }
}
