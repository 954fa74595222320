using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Dapper;
using NodaTime;

namespace Billing.Silo;

/// <summary>Who calls, however they showed it.</summary>
/// <param name="Id">What is written down beside what they did: never a name, never a secret.</param>
/// <param name="Organization">The one organization that they may see; null for those who see all.</param>
/// <param name="Test">True: test organizations only. False: live ones only. Null: both, which is the operator's key of the configuration.</param>
public sealed record Caller(string Id, string Name, string? Organization, Scopes Scopes, bool? Test);

/// <summary>A key as it may be shown: the key itself is known to its holder alone.</summary>
/// <param name="Organization">The one organization that it is for; null for all.</param>
/// <param name="Display">Its beginning and its last four characters.</param>
/// <param name="Test">As with <see cref="Silo.Caller"/>.</param>
/// <param name="ExpiresAt">From then on it is no key; null is never.</param>
/// <param name="ReplacedBy">The key that took its place, when it was rotated.</param>
public sealed record ApiKey(
    string Id, string Name, string? Organization, Scopes Scopes, bool? Test, string Display, Instant CreatedAt, Instant? ExpiresAt = null, Instant? LastUsedAt = null, string? ReplacedBy = null)
{
    /// <summary>Who holds it. Made once: every request asks for it.</summary>
    public Caller Caller { get; } = new(Id, Name, Organization, Scopes, Test);
}

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

    /// <summary>A key in memory, with when it was last used: to the minute, so that most requests write nothing.</summary>
    private sealed class Entry(ApiKey key, long expiresAt)
    {
        public readonly ApiKey Key = key;
        public readonly long ExpiresAt = expiresAt;
        public long LastUsed = key.LastUsedAt is { } at ? Micros.Of(at) : 0;
        public long Stored;
    }

    /// <summary>A row of the table.</summary>
    private sealed record Row(
        byte[] Key_Hash, string Id, string Name, string? Organization, string Display, long Created_At, long? Revoked_At, long Scopes, long Test, long? Expires_At, long? Last_Used_At, string? Replaced_By, long Revision);

    public const int MaxKeyLength = 200;

    /// <summary>A change that was begun before the last one that was seen may be committed after it.</summary>
    private const long RevisionsThatOverlap = 1_000;

    private const string Columns = "key_hash, id, name, organization, display, created_at, revoked_at, scopes, test, expires_at, last_used_at, replaced_by, revision";
    private const string NextRevision = "(SELECT coalesce(max(revision), 0) + 1 FROM api_keys)";
    private const long MicrosOfMinute = 60_000_000;

    private readonly ConcurrentDictionary<Digest, Entry> byDigest = new();
    private long revision;

    /// <summary>Whether anybody may do everything.</summary>
    public bool HasOperator(Instant now) => byDigest.Values.Any(e => e.Key.Organization is null && e.Key.Scopes.HasFlag(Scopes.Ops) && e.ExpiresAt > Micros.Of(now));

    public Task Load() => Read(from: long.MinValue);

    /// <summary>Takes up what other processes made and revoked since.</summary>
    public Task Refresh() => Read(Volatile.Read(ref revision) - RevisionsThatOverlap);

    /// <summary>Writes down which keys were used.</summary>
    public async Task StoreLastUses()
    {
        foreach (var (_, entry) in byDigest)
        {
            var used = Volatile.Read(ref entry.LastUsed);
            if (used <= entry.Stored || entry.Key.Id == ConfiguredId) continue;
            // The latest of all processes stands.
            await database.Write(c => c.Execute("UPDATE api_keys SET last_used_at = @used WHERE id = @Id AND (last_used_at IS NULL OR last_used_at < @used)", new { used, entry.Key.Id }));
            entry.Stored = used;
        }
    }

    /// <summary>Who holds this key, or null. Takes the same time however much of a wrong key is right: only its hash is looked up.</summary>
    public ApiKey? Find(ReadOnlySpan<char> key, Instant now)
    {
        if (key.Length is 0 or > MaxKeyLength || !byDigest.TryGetValue(Digest.Of(key), out var entry)) return null;
        var micros = Micros.Of(now);
        if (micros >= entry.ExpiresAt) return null;
        if (micros - Volatile.Read(ref entry.LastUsed) >= MicrosOfMinute) Volatile.Write(ref entry.LastUsed, micros);
        return entry.Key;
    }

    private const string ConfiguredId = "key_configured";

    /// <summary>A key from the configuration: for all organizations, in memory only.</summary>
    public void AddConfigured(string key, string name, Instant now) =>
        byDigest[Digest.Of(key)] = new Entry(new ApiKey(ConfiguredId, name, null, Scopes.All, null, Shown(key), now), long.MaxValue);

    /// <returns>The key, which is never shown again, and what is kept of it.</returns>
    public async Task<(string Key, ApiKey Kept)> Create(string name, string? organization, Scopes scopes, bool test, Instant? expiresAt, Instant now)
    {
        var (key, kept) = Make(name, organization, scopes, test, expiresAt, now);
        await database.Write(c => Insert(c, key, kept));
        Keep(Digest.Of(key), kept);
        return (key, kept);
    }

    /// <summary>Makes a key in the place of another, which stays good for a while.</summary>
    /// <param name="overlap">For how long both are good.</param>
    /// <returns>Null when there is no such key to rotate: it is unknown, revoked, configured, or was rotated before.</returns>
    public async Task<(string Key, ApiKey Kept)?> Rotate(string id, Duration overlap, Instant now)
    {
        if (byDigest.Values.FirstOrDefault(e => e.Key.Id == id) is not { Key: { Test: { } test, ReplacedBy: null } old }) return null;
        var (key, kept) = Make(old.Name, old.Organization, old.Scopes, test, old.ExpiresAt, now);
        var ends = old.ExpiresAt is { } end && end < now + overlap ? end : now + overlap;
        var done = await database.Write(c =>
        {
            var changed = c.Execute($"UPDATE api_keys SET expires_at = @ends, replaced_by = @by, revision = {NextRevision} WHERE id = @id AND revoked_at IS NULL AND replaced_by IS NULL", new { id, ends = Micros.Of(ends), by = kept.Id });
            return changed == 1 && Insert(c, key, kept) == 1;
        });
        if (!done) return null;
        await Refresh();
        return (key, kept);
    }

    public IReadOnlyList<ApiKey> List() =>
        [.. byDigest.Values.Select(e => e.LastUsed == 0 ? e.Key : e.Key with { LastUsedAt = Micros.ToInstant(e.LastUsed) }).OrderBy(k => k.CreatedAt).ThenBy(k => k.Id, StringComparer.Ordinal)];

    /// <returns>Whether there was such a key. A configured key is taken out of the configuration instead.</returns>
    public async Task<bool> Revoke(string id, Instant now) => await Revoke(k => k.Id == id, "id = @value", id, now) > 0;

    /// <summary>Revokes every key of one organization.</summary>
    public Task RevokeAll(string organization, Instant now) => Revoke(k => k.Organization == organization, "organization = @value", organization, now);

    private async Task<int> Revoke(Func<ApiKey, bool> which, string where, string value, Instant now)
    {
        var revoked = await database.Write(c => c.Execute($"UPDATE api_keys SET revoked_at = @now, revision = {NextRevision} WHERE revoked_at IS NULL AND {where}", new { value, now = Micros.Of(now) }));
        if (revoked > 0)
            foreach (var (digest, _) in byDigest.Where(k => which(k.Value.Key))) byDigest.TryRemove(digest, out _);
        return revoked;
    }

    private async Task Read(long from)
    {
        var rows = await database.Read(c => c.Query<Row>($"SELECT {Columns} FROM api_keys WHERE revision >= @from", new { from }).AsList());
        foreach (var r in rows)
        {
            var digest = Digest.Of(r.Key_Hash);
            if (r.Revoked_At is not null) byDigest.TryRemove(digest, out _);
            else Keep(digest, new ApiKey(r.Id, r.Name, r.Organization, (Scopes)r.Scopes, r.Test == 1, r.Display, Micros.ToInstant(r.Created_At), At(r.Expires_At), At(r.Last_Used_At), r.Replaced_By));
        }
        if (rows.Count > 0) Volatile.Write(ref revision, Math.Max(Volatile.Read(ref revision), rows.Max(r => r.Revision)));
    }

    private void Keep(Digest digest, ApiKey key)
    {
        // One that is as it was keeps when it was used.
        if (byDigest.TryGetValue(digest, out var there) && there.Key with { LastUsedAt = null } == key with { LastUsedAt = null }) return;
        byDigest[digest] = new Entry(key, key.ExpiresAt is { } at ? Micros.Of(at) : long.MaxValue);
    }

    private static (string Key, ApiKey Kept) Make(string name, string? organization, Scopes scopes, bool test, Instant? expiresAt, Instant now)
    {
        var key = (test ? "bk_test_" : "bk_live_") + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(24));
        return (key, new ApiKey("key_" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8)), name, organization, scopes, test, Shown(key), now, expiresAt));
    }

    private static int Insert(System.Data.Common.DbConnection c, string key, ApiKey kept) => c.Execute(
        $"""
        INSERT INTO api_keys (id, key_hash, name, organization, display, created_at, scopes, test, expires_at, revision)
        VALUES (@Id, @hash, @Name, @Organization, @Display, @created, @scopes, @test, @expires, {NextRevision})
        """,
        new { kept.Id, hash = Digest.Of(key).ToBytes(), kept.Name, kept.Organization, kept.Display, created = Micros.Of(kept.CreatedAt), scopes = (long)kept.Scopes, test = kept.Test == true ? 1L : 0L, expires = kept.ExpiresAt is { } at ? Micros.Of(at) : (long?)null });

    private static Instant? At(long? micros) => micros is { } at ? Micros.ToInstant(at) : null;

    private static string Shown(string key) => key.Length < 16 ? "…" : $"{key[..8]}…{key[^4..]}";
}
