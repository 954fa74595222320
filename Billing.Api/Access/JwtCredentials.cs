using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Billing.Ledger;
using Billing.Silo;

namespace Billing.Api;

/// <summary>
/// <c>Authorization: Bearer eyJ…</c>, a JSON Web Token of an issuer that is configured. Costs no database call. The signature comes first, and nothing of what
/// is signed is looked at before; whatever is wrong with a token, the answer is the same, and so is the work: one signature is checked, with the key that
/// the token names, or with another when it names none of ours.
/// </summary>
/// <param name="subjectKey">What subjects are hashed with: a subject may be an e-mail address, and nothing personal is written down.</param>
public sealed partial class JwtCredentials(JwtKeyRing ring, Clock clock, byte[] subjectKey, ILogger<JwtCredentials> log) : ICredentials
{
    /// <summary>The end of the year 9999.</summary>
    private const long MaxTime = 253_402_300_799;

    private const int SubjectBytes = 12;

    private long checks;

    /// <summary>How many signatures were checked.</summary>
    internal long Checks => Interlocked.Read(ref checks);

    public Caller? Read(HttpContext http) => Read(KeyCredentials.BearerOf(http));

    internal Caller? Read(ReadOnlySpan<char> token)
    {
        // A header is a JSON object, and { is an e here. Keys and tokens of ours begin with a b.
        if (token.Length is 0 or > Jwt.MaxLength || token[0] != 'e') return null;
        var bytes = ArrayPool<byte>.Shared.Rent(token.Length);
        var parts = ArrayPool<byte>.Shared.Rent(token.Length);
        try
        {
            if (Ascii.FromUtf16(token, bytes, out var length) != OperationStatus.Done) return null;
            var (keys, now) = (ring.Current, clock.Now().ToUnixTimeSeconds());
            var hash = JwtKeyRing.Hash.Of(bytes.AsSpan(0, length));
            if (keys.Find(hash, now) is { } known) return known;
            var refusal = Verify(bytes.AsSpan(0, length), parts, keys, now, out var caller, out var expiresAt);
            if (caller is not null) keys.Remember(hash, caller, expiresAt);
            else LogRefusal(log, refusal);
            return caller;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
            ArrayPool<byte>.Shared.Return(parts);
        }
    }

    /// <returns>Why it is refused, which is for the log alone.</returns>
    private string Verify(ReadOnlySpan<byte> token, byte[] parts, JwtKeyRing.Keys keys, long now, out Caller? caller, out long expiresAt)
    {
        (caller, expiresAt) = (null, 0);
        if (!Jwt.TrySplit(token, out var firstDot, out var secondDot)
            || !Jwt.TryDecode(token[..firstDot], parts, out var headerLength)
            || !Jwt.TryDecode(token[(firstDot + 1)..secondDot], parts.AsSpan(headerLength), out var claimsLength)
            || !Jwt.TryDecode(token[(secondDot + 1)..], parts.AsSpan(headerLength + claimsLength), out var signatureLength)) return "it is no signed token in compact form";

        var signature = parts.AsSpan(headerLength + claimsLength, signatureLength);
        var header = Jwt.ReadHeader(parts.AsMemory(0, headerLength));
        JwtKeyRing.Candidate? signer = null;
        var tried = 0;
        if (header is (var algorithm, var keyId))
            foreach (var candidate in keys.Of(algorithm, keyId))
            {
                tried++;
                Interlocked.Increment(ref checks);
                if (!candidate.Key.Verify(token[..secondDot], signature)) continue;
                signer = candidate;
                break;
            }
        if (tried == 0)
        {
            if (keys.StandIn(header?.Algorithm) is { } standIn)
            {
                Interlocked.Increment(ref checks);
                standIn.Verify(token[..secondDot], signature);
            }
            if (header is { KeyId: not null, Algorithm: JwtIssuer.Rs256 or JwtIssuer.Es256 }) ring.AskForNewer();
            return header is null ? "its header is not one that is taken" : "it names no key and algorithm that are configured";
        }
        return signer is null ? "its signature is wrong" : ReadClaims(parts.AsMemory(headerLength, claimsLength), signer.Issuers, now, out caller, out expiresAt);
    }

    private string ReadClaims(ReadOnlyMemory<byte> json, IReadOnlyList<JwtIssuer> issuers, long now, out Caller? caller, out long expiresAt)
    {
        (caller, expiresAt) = (null, 0);
        using var document = Jwt.TryReadObject(json);
        if (document is null) return "its claims are no JSON object, or have a member twice";
        var claims = document.RootElement;
        try
        {
            if (issuers.FirstOrDefault(i => Text(claims, "iss") == i.Issuer && Texts(claims, "aud").Contains(i.Audience)) is not { } issuer) return "its issuer or audience is another";
            if (Time(claims, "exp") is not { } expires) return "it has no exp, or one that is no time";
            if (now >= (expiresAt = expires + issuer.LeewaySeconds)) return "it has expired";
            if (claims.TryGetProperty("nbf", out _) && !(Time(claims, "nbf") <= now + issuer.LeewaySeconds)) return "it is not valid yet";
            if (Text(claims, "sub") is not { Length: > 0 } subject) return "it has no sub";
            var organization = Find(claims, issuer.OrganizationClaim);
            if (organization is null ? !issuer.AllOrganizations : organization.Value.ValueKind != JsonValueKind.String || !Ids.IsOrganization(organization.Value.GetString()!))
                return $"its {issuer.OrganizationClaim} is missing, or no organization id";
            var scopes = issuer.ScopeClaim is null ? issuer.Allowed : issuer.Allowed & ScopesOf(Find(claims, issuer.ScopeClaim), issuer);
            // What is for all of them is for no single one.
            if (organization is not null) scopes &= Scopes.OfOrganization;
            caller = new Caller($"jwt:{issuer.Name}:{HashOf(issuer, subject)}", issuer.Name, organization?.GetString(), scopes, issuer.Test);
            return "";
        }
        catch (InvalidOperationException)
        {
            return "a string in it has half a character";
        }
    }

    /// <summary>The member of this name, or else the one that its dots lead to: <c>https://example.com/org</c> is a name, <c>app_metadata.org</c> a way.</summary>
    private static JsonElement? Find(JsonElement claims, string name)
    {
        if (claims.TryGetProperty(name, out var found)) return found;
        foreach (var step in name.Split('.'))
            if (claims.ValueKind != JsonValueKind.Object || !claims.TryGetProperty(step, out claims)) return null;
        return claims;
    }

    /// <summary>A list, or a text with spaces between (RFC 8693, 4.2). What is neither a scope nor a role is for others.</summary>
    private static Scopes ScopesOf(JsonElement? claim, JwtIssuer issuer)
    {
        var scopes = Scopes.None;
        foreach (var value in claim is { } element ? TextsOf(element).SelectMany(t => t.Split(' ', StringSplitOptions.RemoveEmptyEntries)) : [])
            scopes |= ScopeNames.Read([value]) ?? issuer.Roles.GetValueOrDefault(value);
        return scopes;
    }

    private static string? Text(JsonElement claims, string name) => claims.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static IEnumerable<string> Texts(JsonElement claims, string name) => claims.TryGetProperty(name, out var value) ? TextsOf(value) : [];

    private static IEnumerable<string> TextsOf(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => [value.GetString()!],
        JsonValueKind.Array => value.EnumerateArray().Where(e => e.ValueKind == JsonValueKind.String).Select(e => e.GetString()!),
        _ => [],
    };

    /// <summary>A NumericDate: seconds since 1970, which may have a fraction.</summary>
    private static long? Time(JsonElement claims, string name)
    {
        if (!claims.TryGetProperty(name, out var value) || value.ValueKind != JsonValueKind.Number || !value.TryGetDouble(out var seconds) || !(seconds is >= 0 and <= MaxTime)) return null;
        return (long)Math.Floor(seconds);
    }

    private string HashOf(JwtIssuer issuer, string subject) => Convert.ToHexStringLower(HMACSHA256.HashData(subjectKey, Encoding.UTF8.GetBytes($"{issuer.Issuer}\n{subject}")).AsSpan(0, SubjectBytes));

    [LoggerMessage(Level = LogLevel.Debug, Message = "A token was refused: {Reason}.")]
    private static partial void LogRefusal(ILogger log, string reason);
}
