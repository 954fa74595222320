using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Dapper;
using NodaTime;

namespace Billing.Silo;

/// <summary>Who does what must be done by one process at a time. A holder that dies loses the lease when its time ends.</summary>
public sealed class Leases(Database database)
{
    private readonly string holder = $"{Environment.MachineName}/{Environment.ProcessId}/{Guid.NewGuid():N}";

    /// <summary>Takes the lease, or keeps it, until <paramref name="now"/> and <paramref name="time"/>.</summary>
    /// <returns>False while another process has it.</returns>
    public Task<bool> Hold(string name, Instant now, Duration time) => database.Write(c => c.Execute(
        """
        INSERT INTO leases (name, holder, until) VALUES (@name, @holder, @until)
        ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until WHERE leases.holder = excluded.holder OR leases.until <= @now
        """,
        new { name, holder, now = Micros.Of(now), until = Micros.Of(now + time) }) == 1);

    /// <summary>Gives the lease back, so that another need not wait for its end.</summary>
    public Task Release(string name) => database.Write(c => c.Execute("DELETE FROM leases WHERE name = @name AND holder = @holder", new { name, holder }));
}
