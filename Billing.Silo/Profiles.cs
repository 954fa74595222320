using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Dapper;
using NodaTime;

namespace Billing.Silo;

/// <summary>Who an organization is to people: what invoices are addressed to. Personal data, so it is in no event and can be erased.</summary>
/// <param name="Address">Lines.</param>
public sealed record Profile(string? Name, string? Email, string? Address, Instant UpdatedAt);

/// <summary>The organizations' profiles.</summary>
public sealed class Profiles(Database database)
{
    public const int MaxNameLength = 200;
    public const int MaxEmailLength = 254;
    public const int MaxAddressLength = 500;

    public async Task<Profile?> Find(string organization)
    {
        var rows = await database.Read(c => c.Query<(string? Name, string? Email, string? Address, long UpdatedAt)>(
            "SELECT name, email, address, updated_at FROM profiles WHERE organization = @organization", new { organization }).AsList());
        return rows is [var (name, email, address, updated)] ? new Profile(name, email, address, Micros.ToInstant(updated)) : null;
    }

    public Task Set(string organization, Profile profile) => database.Write(c => c.Execute(
        """
        INSERT INTO profiles (organization, name, email, address, updated_at) VALUES (@organization, @Name, @Email, @Address, @updated)
        ON CONFLICT (organization) DO UPDATE SET name = excluded.name, email = excluded.email, address = excluded.address, updated_at = excluded.updated_at
        """,
        new { organization, profile.Name, profile.Email, profile.Address, updated = Micros.Of(profile.UpdatedAt) }));

    /// <returns>Whether there was one.</returns>
    public async Task<bool> Erase(string organization) =>
        await database.Write(c => c.Execute("DELETE FROM profiles WHERE organization = @organization", new { organization })) > 0;
}
