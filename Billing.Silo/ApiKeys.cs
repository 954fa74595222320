using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Dapper;
using NodaTime;

namespace Billing.Silo;

/// <summary>A key as it may be shown: the key itself is known to its holder alone.</summary>
/// <param name="Organization">The one organization that it is for; null for an operator's key, which is for all.</param>
/// <param name="Display">Its beginning and its last four characters.</param>
public sealed record ApiKey(string Id, string Name, string? Organization, string Display, Instant CreatedAt);

/// <summary>API keys: kept as SHA-256, looked up in memory, so that authentication costs no database call.</summary>
public sealed class ApiKeys(Database database)
{
    /// <summary>A SHA-256 as a dictionary key.</summary>
    private readonly record struct Digest(ulong A, ulong B, ulong C, ulong D)
    {
        public static Digest Of(ReadOnlySpan<char> key)
        {
            Span<byte> utf8 = stackalloc byte[MaxKeyLength * 3];
            var length = Encoding.UTF8.GetBytes(key, utf8);
            Span<byte> hash = stackalloc byte[32];
            SHA256.HashData(utf8[..length], hash);
            return Of(hash);
        }

        public static Digest Of(ReadOnlySpan<byte> hash) => MemoryMarshal.Read<Digest>(hash);

        public byte[] ToBytes()
        {
            var bytes = new byte[32];
            MemoryMarshal.Write(bytes, this);
            return bytes;
        }
    }

    public const int MaxKeyLength = 200;

    private readonly ConcurrentDictionary<Digest, ApiKey> byDigest = new();

    /// <summary>Whether anybody may do everything.</summary>
    public bool HasOperator => byDigest.Values.Any(k => k.Organization is null);

    public async Task Load()
    {
        var rows = await database.Read(c => c.Query<(byte[] Hash, string Id, string Name, string? Organization, string Display, long CreatedAt)>(
            "SELECT key_hash, id, name, organization, display, created_at FROM api_keys WHERE revoked_at IS NULL").AsList());
        foreach (var r in rows) byDigest[Digest.Of(r.Hash)] = new ApiKey(r.Id, r.Name, r.Organization, r.Display, Micros.ToInstant(r.CreatedAt));
    }

    /// <summary>Who holds this key, or null. Takes the same time however much of a wrong key is right: only its hash is looked up.</summary>
    public ApiKey? Find(ReadOnlySpan<char> key) =>
        key.Length is 0 or > MaxKeyLength ? null : byDigest.GetValueOrDefault(Digest.Of(key));

    /// <summary>A key from the configuration: for all organizations, in memory only.</summary>
    public void AddConfigured(string key, string name, Instant now) => byDigest[Digest.Of(key)] = new ApiKey("key_configured", name, null, Shown(key), now);

    /// <returns>The key, which is never shown again, and what is kept of it.</returns>
    public async Task<(string Key, ApiKey Kept)> Create(string name, string? organization, bool test, Instant now)
    {
        var key = (test ? "bk_test_" : "bk_live_") + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(24));
        var kept = new ApiKey("key_" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8)), name, organization, Shown(key), now);
        var digest = Digest.Of(key);
        await database.Write(c => c.Execute(
            "INSERT INTO api_keys (id, key_hash, name, organization, display, created_at) VALUES (@Id, @hash, @Name, @Organization, @Display, @created)",
            new { kept.Id, hash = digest.ToBytes(), kept.Name, kept.Organization, kept.Display, created = Micros.Of(now) }));
        byDigest[digest] = kept;
        return (key, kept);
    }

    public IReadOnlyList<ApiKey> List() => [.. byDigest.Values.OrderBy(k => k.CreatedAt).ThenBy(k => k.Id, StringComparer.Ordinal)];

    /// <returns>Whether there was such a key. A configured key is taken out of the configuration instead.</returns>
    public async Task<bool> Revoke(string id, Instant now) => await Revoke(k => k.Id == id, "id = @value", id, now) > 0;

    /// <summary>Revokes every key of one organization.</summary>
    public Task RevokeAll(string organization, Instant now) => Revoke(k => k.Organization == organization, "organization = @value", organization, now);

    private async Task<int> Revoke(Func<ApiKey, bool> which, string where, string value, Instant now)
    {
        var revoked = await database.Write(c => c.Execute($"UPDATE api_keys SET revoked_at = @now WHERE revoked_at IS NULL AND {where}", new { value, now = Micros.Of(now) }));
        if (revoked > 0)
            foreach (var (digest, _) in byDigest.Where(k => which(k.Value))) byDigest.TryRemove(digest, out _);
        return revoked;
    }

    private static string Shown(string key) => key.Length < 16 ? "…" : $"{key[..8]}…{key[^4..]}";
}
