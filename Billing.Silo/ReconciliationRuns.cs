using Billing.Silo.Storage;
using Dapper;

namespace Billing.Silo;

/// <summary>How far the nightly comparison with the payment provider has come, and what the last one found.</summary>
public sealed class ReconciliationRuns(Database database)
{
    private const string Name = "reconciliation";

    /// <summary>As it was saved last; null before the first.</summary>
    public Task<byte[]?> Find() => database.Read(c => c.QuerySingleOrDefault<byte[]>("SELECT value FROM settings WHERE name = @Name", new { Name }));

    public Task Save(byte[] run) => database.Write(c => c.Execute(
        "INSERT INTO settings (name, value) VALUES (@Name, @run) ON CONFLICT (name) DO UPDATE SET value = excluded.value", new { Name, run }));
}
