using Billing.Silo.Storage;
using Billing.Silo.Storage.Postgres;
using Billing.Tests.Postgres;

namespace Billing.Tests.Silo;

public sealed class PostgresSnapshotStoreTests : SnapshotStoreConformance
{
    private readonly string name = PostgresServer.Shared.CreateDatabase();
    private PostgresDatabase? database;

    protected override Task<Database> Open() =>
        Task.FromResult<Database>(database = PostgresDatabase.Open(PostgresServer.Shared.ConnectionString(name), TimeSpan.FromMinutes(1)));

    public override async Task DisposeAsync() => await database!.DisposeAsync();
}
