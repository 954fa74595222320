using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Dapper;
using NodaTime;

namespace Billing.Silo;

/// <summary>A flag that somebody set.</summary>
/// <param name="Percent">Of the organizations that it is on for: 0 to 100.</param>
/// <param name="UpdatedBy">The id of the key that set it.</param>
public sealed record StoredFlag(string Name, int Percent, Instant UpdatedAt, string? UpdatedBy);

/// <summary>The flags that were set, for all processes on this database.</summary>
public sealed class FlagStore(Database database)
{
    public Task<IReadOnlyList<StoredFlag>> List() => database.Read<IReadOnlyList<StoredFlag>>(c => c
        .Query<(string Name, long Percent, long UpdatedAt, string? UpdatedBy)>("SELECT name, percent, updated_at, updated_by FROM flags ORDER BY name")
        .Select(f => new StoredFlag(f.Name, (int)f.Percent, Micros.ToInstant(f.UpdatedAt), f.UpdatedBy)).ToList());

    public Task Set(StoredFlag flag) => database.Write(c => c.Execute(
        """
        INSERT INTO flags (name, percent, updated_at, updated_by) VALUES (@Name, @Percent, @at, @UpdatedBy)
        ON CONFLICT (name) DO UPDATE SET percent = excluded.percent, updated_at = excluded.updated_at, updated_by = excluded.updated_by
        """,
        new { flag.Name, flag.Percent, at = Micros.Of(flag.UpdatedAt), flag.UpdatedBy }));
}
