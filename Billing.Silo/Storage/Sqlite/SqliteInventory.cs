using System.Text;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Billing.Silo.Storage.Sqlite;

/// <summary>What there is to verify in a file.</summary>
internal static class SqliteInventory
{
    private const string Heads = "SELECT organization FROM streams ORDER BY organization";

    // One step through the index for each organization, whatever number of events it has.
    private const string WithoutHead = """
        WITH RECURSIVE found (organization) AS (
          SELECT min(organization) FROM events
          UNION ALL
          SELECT (SELECT min(organization) FROM events WHERE organization > found.organization) FROM found WHERE organization IS NOT NULL)
        SELECT organization FROM found WHERE organization IS NOT NULL AND organization NOT IN (SELECT organization FROM streams)
        """;

    // In one statement, so that both are of the same moment. The table is counted itself, not an index of it.
    private const string Counts = "SELECT (SELECT count(*) FROM events NOT INDEXED) - (SELECT total(version) FROM streams)";

    public static Inventory Take(SqliteConnection connection)
    {
        var organizations = new List<string>();
        var problems = new List<string>();
        foreach (var (name, isText) in StrictReader.Query(connection, Heads, Name, null))
        {
            if (isText) organizations.Add(name);
            else problems.Add($"The row of a head is damaged: its organization is {name}.");
        }
        problems.AddRange(StrictReader.Query(connection, WithoutHead, Name, null).Select(o => $"There are events of {(o.IsText ? $"'{o.Name}'" : o.Name)}, which has no head."));
        var more = StrictReader.Query(connection, Counts, row => raw.sqlite3_column_double(row, 0), null).Single();
        if (problems.Count == 0 && more > 0) problems.Add($"There are {more:0} events more in the table than in its streams.");
        return new Inventory(organizations, problems);
    }

    private static (string Name, bool IsText) Name(sqlite3_stmt row)
    {
        var bytes = raw.sqlite3_column_blob(row, 0).ToArray();
        try
        {
            if (raw.sqlite3_column_type(row, 0) == raw.SQLITE_TEXT) return (StrictReader.Utf8.GetString(bytes), true);
        }
        catch (DecoderFallbackException)
        {
            // Shown as its bytes.
        }
        return ($"x'{Convert.ToHexStringLower(bytes)}', which is no text", false);
    }
}
