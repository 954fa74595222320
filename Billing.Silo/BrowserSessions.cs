using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Dapper;
using NodaTime;

namespace Billing.Silo;

/// <summary>A browser that is signed in.</summary>
/// <param name="ExpiresAt">Whatever is done until then.</param>
public sealed record BrowserSession(Caller Caller, Instant CreatedAt, Instant SeenAt, Instant ExpiresAt);

/// <summary>
/// Signed-in browsers, and links that sign one in. What the cookie or the link has is 256 random bits, of which the database has the
/// SHA-256: whoever reads it can sign in as nobody. A session is asked for in the database every few seconds at most, so that one that
/// was ended in any process is ended in all.
/// </summary>
public sealed class BrowserSessions(Database database, TimeProvider time)
{
    private const string Operator = "operator";
    private const string Portal = "portal";
    private const string Link = "link";
    private const int TokenBytes = 32;
    private const int MaxKnown = 100_000;

    /// <summary>For how long an operator may do nothing, and for how long all of it goes.</summary>
    public static readonly Duration OperatorIdle = Duration.FromMinutes(30);
    public static readonly Duration OperatorMost = Duration.FromHours(12);

    /// <summary>The same for a customer, who came by a link.</summary>
    public static readonly Duration PortalIdle = Duration.FromMinutes(30);
    public static readonly Duration PortalMost = Duration.FromHours(2);

    /// <summary>For how long a link can be used, once.</summary>
    public static readonly Duration LinkMost = Duration.FromMinutes(15);

    /// <summary>For how long what is known of a session is taken as it is.</summary>
    private static readonly TimeSpan Fresh = TimeSpan.FromSeconds(4);

    private sealed record Row(string Kind, string Caller, string Name, string? Organization, long Scopes, long? Test, long Created_At, long Seen_At, long Expires_At);

    private sealed record Known(BrowserSession? Session, long AskedAt);

    private readonly ConcurrentDictionary<string, Known> known = new(StringComparer.Ordinal);

    /// <returns>What the cookie is to have.</returns>
    public Task<string> SignIn(Caller caller, Instant now) => Begin(Operator, caller, now, now + OperatorMost);

    /// <returns>What the link is to have.</returns>
    public Task<string> NewLink(Caller caller, Instant now, Duration? goodFor = null) => Begin(Link, caller, now, now + (goodFor ?? LinkMost));

    /// <summary>A link becomes a session, once.</summary>
    /// <returns>What the cookie is to have; null when the link was used, ended, revoked, or never was.</returns>
    public async Task<(string Token, BrowserSession Session)?> Exchange(string link, Instant now)
    {
        if (!IsToken(link)) return null;
        var hash = HashOf(link);
        var token = NewToken();
        var expires = now + PortalMost;
        var row = await database.Write(c =>
        {
            var found = c.QueryFirstOrDefault<Row>($"{Select} AND kind = '{Link}'", new { hash, now = Micros.Of(now) });
            if (found is null || c.Execute("UPDATE sessions SET ended_at = @now WHERE hash = @hash AND ended_at IS NULL", new { hash, now = Micros.Of(now) }) == 0) return null;
            Insert(c, HashOf(token), Portal, CallerOf(found), now, expires);
            return found;
        });
        return row is null ? null : (token, new BrowserSession(CallerOf(row), now, now, expires));
    }

    /// <summary>Whose session this is; null when it is none, or ended. From memory, mostly.</summary>
    public ValueTask<BrowserSession?> Find(string token, Instant now)
    {
        if (!IsToken(token)) return new((BrowserSession?)null);
        if (known.TryGetValue(token, out var there) && time.GetElapsedTime(there.AskedAt) < Fresh) return new(there.Session is { } session && session.ExpiresAt > now ? session : null);
        return Ask();

        async ValueTask<BrowserSession?> Ask()
        {
            var hash = HashOf(token);
            var row = await database.Read(c => c.QueryFirstOrDefault<Row>($"{Select} AND kind <> '{Link}'", new { hash, now = Micros.Of(now) }));
            if (known.Count >= MaxKnown) known.Clear();
            if (row is null || now - Micros.ToInstant(row.Seen_At) > (row.Kind == Operator ? OperatorIdle : PortalIdle))
            {
                // Nothing is kept of what anybody may make up.
                known.TryRemove(token, out _);
                return null;
            }
            if (now - Micros.ToInstant(row.Seen_At) >= Duration.FromMinutes(1))
                await database.Write(c => c.Execute("UPDATE sessions SET seen_at = @now WHERE hash = @hash AND seen_at < @now", new { hash, now = Micros.Of(now) }));
            var session = new BrowserSession(CallerOf(row), Micros.ToInstant(row.Created_At), now, Micros.ToInstant(row.Expires_At));
            known[token] = new Known(session, time.GetTimestamp());
            return session;
        }
    }

    /// <summary>This browser.</summary>
    public async Task SignOut(string token, Instant now)
    {
        if (!IsToken(token)) return;
        known.TryRemove(token, out _);
        await database.Write(c => c.Execute("UPDATE sessions SET ended_at = @now WHERE hash = @hash AND ended_at IS NULL", new { hash = HashOf(token), now = Micros.Of(now) }));
    }

    /// <summary>Every browser of whoever signed in as this caller.</summary>
    /// <returns>How many.</returns>
    public Task<int> SignOutEverywhere(string caller, Instant now) => End("caller = @value", caller, now);

    /// <summary>Every link and session of one organization's customers.</summary>
    /// <returns>How many.</returns>
    public Task<int> Revoke(string organization, Instant now) => End("organization = @value", organization, now);

    /// <summary>The database is asked again for everybody.</summary>
    internal void Forget() => known.Clear();

    /// <summary>Removes what ended long ago.</summary>
    public Task RemoveOld(Instant now) => database.Write(c => c.Execute("DELETE FROM sessions WHERE expires_at < @before", new { before = Micros.Of(now - Duration.FromDays(1)) }));

    /// <summary>What a form of this session has to have, so that no other site's form is taken for it: only who has the cookie can make it.</summary>
    public static string FormToken(string token) => Base64Url.EncodeToString(SHA256.HashData(Encoding.UTF8.GetBytes($"form:{token}")));

    private const string Select =
        "SELECT kind, caller, name, organization, scopes, test, created_at, seen_at, expires_at FROM sessions WHERE hash = @hash AND ended_at IS NULL AND expires_at > @now";

    private async Task<int> End(string where, string value, Instant now)
    {
        known.Clear();
        return await database.Write(c => c.Execute($"UPDATE sessions SET ended_at = @now WHERE ended_at IS NULL AND {where}", new { value, now = Micros.Of(now) }));
    }

    private async Task<string> Begin(string kind, Caller caller, Instant now, Instant expires)
    {
        var token = NewToken();
        await database.Write(c => Insert(c, HashOf(token), kind, caller, now, expires));
        return token;
    }

    private static int Insert(System.Data.Common.DbConnection c, byte[] hash, string kind, Caller caller, Instant now, Instant expires) => c.Execute(
        """
        INSERT INTO sessions (hash, kind, caller, name, organization, scopes, test, created_at, seen_at, expires_at)
        VALUES (@hash, @kind, @Id, @Name, @Organization, @scopes, @test, @now, @now, @expires)
        """,
        new { hash, kind, caller.Id, caller.Name, caller.Organization, scopes = (long)caller.Scopes, test = caller.Test is { } test ? test ? 1L : 0L : (long?)null, now = Micros.Of(now), expires = Micros.Of(expires) });

    private static Caller CallerOf(Row row) => new(row.Caller, row.Name, row.Organization, (Scopes)row.Scopes, row.Test is { } test ? test == 1 : null);

    private static string NewToken() => Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(TokenBytes));

    private static bool IsToken(string token) => token.Length == (TokenBytes * 4 + 2) / 3 && Base64Url.IsValid(token);

    private static byte[] HashOf(string token) => SHA256.HashData(Encoding.ASCII.GetBytes(token));
}
