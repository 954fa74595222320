using System.Data.Common;
using Dapper;

namespace Billing.Silo.Storage.Postgres;

/// <summary>What there is to verify in a database.</summary>
internal static class PostgresInventory
{
    // One step through the index for each organization, whatever number of events it has.
    private const string WithoutHead = """
        WITH RECURSIVE found (organization) AS (
          SELECT min(organization) FROM events
          UNION ALL
          SELECT (SELECT min(organization) FROM events WHERE organization > found.organization) FROM found WHERE organization IS NOT NULL)
        SELECT organization FROM found WHERE organization IS NOT NULL AND organization NOT IN (SELECT organization FROM streams)
        """;

    // In one statement, so that both are of the same moment.
    private const string Counts = "SELECT (SELECT count(*) FROM events) - (SELECT coalesce(sum(version), 0) FROM streams)::bigint";

    public static Inventory Take(DbConnection connection)
    {
        var organizations = connection.Query<string>("SELECT organization FROM streams ORDER BY organization").AsList();
        List<string> problems = [.. connection.Query<string>(WithoutHead).Select(o => $"There are events of '{o}', which has no head.")];
        var more = connection.ExecuteScalar<long>(Counts);
        if (problems.Count == 0 && more > 0) problems.Add($"There are {more} events more in the table than in its streams.");
        return new Inventory(organizations, problems);
    }
}
