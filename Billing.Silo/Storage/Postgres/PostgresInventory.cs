using System.Data.Common;
using Dapper;

namespace Billing.Silo.Storage.Postgres;

/// <summary>What there is to verify in a database.</summary>
internal static class PostgresInventory
{
    // In one statement, so that both are of the same moment.
    private const string Counts = "SELECT (SELECT count(*) FROM events) - (SELECT coalesce(sum(version), 0) FROM streams)::bigint";

    public static Inventory Take(DbConnection connection)
    {
        var organizations = connection.Query<string>("SELECT organization FROM streams ORDER BY organization").AsList();
        List<string> problems = [.. connection.Query<string>(Inventory.WithoutHead).Select(o => Inventory.HasNoHead($"'{o}'"))];
        var more = connection.ExecuteScalar<long>(Counts);
        if (problems.Count == 0 && more > 0) problems.Add(Inventory.HasMoreEvents(more));
        return new Inventory(organizations, problems);
    }
}
