using System.Buffers;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Billing.Silo;
using NodaTime;

namespace Billing.Api;

/// <summary>
/// <c>Authorization: Bearer bt_…</c>: tokens that a browser may hold. Each is for one organization, reads entitlements and nothing else, and ends by itself. What it is
/// for stands in it, signed; nothing is stored of it, and looking one up costs no database call.
/// </summary>
public sealed class BrowserTokens(byte[] key, Clock clock) : ICredentials
{
    public const string Prefix = "bt_";

    /// <summary>What is published to every visitor may read, and no more.</summary>
    public const Scopes Holds = Scopes.EntitlementsRead;

    public static readonly Duration Usual = Duration.FromHours(1), Least = Duration.FromMinutes(1), Most = Duration.FromHours(24);

    private const int MaxLength = 300;
    private const int SignatureSize = HMACSHA256.HashSizeInBytes;
    private const int Parts = 4;
    private const string Version = "1";

    /// <param name="test">Whether the organization is a test organization.</param>
    /// <param name="expiresAt">In whole seconds.</param>
    public string Sign(string organization, bool test, Instant expiresAt)
    {
        var content = Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture,
            $"{Version}{(test ? 't' : 'l')}|{organization}|{expiresAt.ToUnixTimeSeconds()}|{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8))}"));
        return Prefix + System.Buffers.Text.Base64Url.EncodeToString([.. content, .. HMACSHA256.HashData(key, content)]);
    }

    public Caller? Read(HttpContext http) => Read(KeyCredentials.BearerOf(http));

    internal Caller? Read(ReadOnlySpan<char> token)
    {
        if (token.Length > MaxLength || !token.StartsWith(Prefix, StringComparison.Ordinal)) return null;
        Span<byte> text = stackalloc byte[MaxLength];
        Span<byte> bytes = stackalloc byte[MaxLength];
        if (Ascii.FromUtf16(token[Prefix.Length..], text, out var length) != OperationStatus.Done || !Jwt.TryDecode(text[..length], bytes, out var written) || written <= SignatureSize) return null;
        var content = bytes[..(written - SignatureSize)];
        Span<byte> right = stackalloc byte[SignatureSize];
        HMACSHA256.HashData(key, content, right);
        if (!CryptographicOperations.FixedTimeEquals(right, bytes[content.Length..written])) return null;
        // What is signed was written by us.
        if (Encoding.UTF8.GetString(content).Split('|') is not { Length: Parts } parts || parts[0] is not (Version + "t" or Version + "l")) return null;
        return clock.Now().ToUnixTimeSeconds() >= long.Parse(parts[2], CultureInfo.InvariantCulture) ? null
            : new Caller($"browser:{parts[3]}", "browser token", parts[1], Holds, parts[0] == Version + "t");
    }
}
