using System.Text;
using Billing.Silo.Storage;
using Dapper;

namespace Billing.Silo;

/// <summary>Whether the journal works: something small is read of it, and written beside it in the same database.</summary>
public sealed class JournalProbe(Database database, TimeProvider time)
{
    internal const string Name = "journal-probe";

    /// <exception cref="Exception">It does not.</exception>
    public async Task Run()
    {
        await database.Journal.ReadHead(Name);
        // A journal that can only be read (its disk is full, or it is another's copy) is none to write to.
        await database.Write(c => c.Execute(
            "INSERT INTO settings (name, value) VALUES (@Name, @at) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            new { Name, at = Encoding.ASCII.GetBytes(time.GetUtcNow().ToString("O")) }));
    }
}
