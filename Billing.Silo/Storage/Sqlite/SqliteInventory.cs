using System.Text;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Billing.Silo.Storage.Sqlite;

/// <summary>What there is to verify in a file.</summary>
internal static class SqliteInventory
{
    private const string Heads = "SELECT organization FROM streams ORDER BY organization";

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
        problems.AddRange(StrictReader.Query(connection, Inventory.WithoutHead, Name, null).Select(o => Inventory.HasNoHead(o.IsText ? $"'{o.Name}'" : o.Name)));
        var more = StrictReader.Query(connection, Counts, row => raw.sqlite3_column_double(row, 0), null).Single();
        if (problems.Count == 0 && more > 0) problems.Add(Inventory.HasMoreEvents(more));
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
