using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Dapper;
using NodaTime;

namespace Billing.Silo;

/// <summary>Who an organization is to people: what invoices are addressed to. Personal data, so it is in no event and can be erased.</summary>
/// <param name="Address">Lines.</param>
/// <param name="Country">ISO 3166, two capital letters.</param>
public sealed record Profile(string? Name, string? Email, string? Address, string? Country, Instant UpdatedAt);

/// <summary>The organizations' profiles.</summary>
public sealed class Profiles(Database database)
{
    public const int MaxNameLength = 200;
    public const int MaxEmailLength = 254;
    public const int MaxAddressLength = 500;

    public async Task<Profile?> Find(string organization)
    {
        var rows = await database.Read(c => c.Query<(string? Name, string? Email, string? Address, string? Country, long UpdatedAt)>(
            "SELECT name, email, address, country, updated_at FROM profiles WHERE organization = @organization", new { organization }).AsList());
        return rows is [var (name, email, address, country, updated)] ? new Profile(name, email, address, country, Micros.ToInstant(updated)) : null;
    }

    public Task Set(string organization, Profile profile) => database.Write(c => c.Execute(
        """
        INSERT INTO profiles (organization, name, email, address, country, updated_at) VALUES (@organization, @Name, @Email, @Address, @Country, @updated)
        ON CONFLICT (organization) DO UPDATE SET name = excluded.name, email = excluded.email, address = excluded.address, country = excluded.country, updated_at = excluded.updated_at
        """,
        new { organization, profile.Name, profile.Email, profile.Address, profile.Country, updated = Micros.Of(profile.UpdatedAt) }));

    /// <returns>Whether there was one.</returns>
    public async Task<bool> Erase(string organization) =>
        await database.Write(c => c.Execute("DELETE FROM profiles WHERE organization = @organization", new { organization })) > 0;
}
