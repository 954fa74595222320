using System.Buffers;
using System.Buffers.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace Billing.Api;

/// <summary>
/// Signed tokens in their compact form (RFC 7515, RFC 7519), taken apart strictly: there is one way to write each. No padding, no stray bits, no
/// member twice, nothing after the end.
/// </summary>
internal static class Jwt
{
    /// <summary>In characters. Request headers are 16 KiB at most, in all.</summary>
    public const int MaxLength = 8_192;

    public const int MaxKeyIdLength = 255;

    private static readonly SearchValues<byte> Alphabet = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"u8);

    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 16 };

    /// <summary>Two dots, and so three parts; where they are.</summary>
    public static bool TrySplit(ReadOnlySpan<byte> token, out int firstDot, out int secondDot)
    {
        firstDot = token.IndexOf((byte)'.');
        secondDot = token.LastIndexOf((byte)'.');
        return firstDot > 0 && secondDot > firstDot + 1 && !token[(firstDot + 1)..secondDot].Contains((byte)'.');
    }

    /// <summary>Decodes base64url (RFC 4648, without padding).</summary>
    public static bool TryDecode(ReadOnlySpan<byte> text, Span<byte> bytes, out int written)
    {
        written = 0;
        if (text.Length % 4 == 1 || text.ContainsAnyExcept(Alphabet)) return false;
        // The last character may carry bits that no byte takes. They are 0, or a token could be written in several ways.
        var stray = (text.Length % 4) switch { 2 => 0b1111, 3 => 0b11, _ => 0 };
        if (stray != 0 && (ValueOf(text[^1]) & stray) != 0) return false;
        return Base64Url.DecodeFromUtf8(text, bytes, out _, out written) == OperationStatus.Done;
    }

    /// <returns>Null when it is no JSON object, or one that can be read in two ways.</returns>
    public static JsonDocument? TryReadObject(ReadOnlyMemory<byte> json)
    {
        // Before the reader, which says by an exception what random bytes are not.
        if (json.Length < 2 || json.Span[0] != '{' || json.Span[^1] != '}' || !Utf8.IsValid(json.Span)) return null;
        try
        {
            return JsonDocument.Parse(json, Strict);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>What a header says of how the token is signed.</summary>
    /// <returns>Null when it is no signed token of the kind that is taken here.</returns>
    public static (string Algorithm, string? KeyId)? ReadHeader(ReadOnlyMemory<byte> json)
    {
        using var document = TryReadObject(json);
        if (document is null) return null;
        try
        {
            string? algorithm = null, keyId = null;
            foreach (var member in document.RootElement.EnumerateObject())
                switch (member.Name)
                {
                    case "alg" when member.Value.ValueKind == JsonValueKind.String:
                        algorithm = member.Value.GetString();
                        break;
                    case "kid" when member.Value.ValueKind == JsonValueKind.String && member.Value.GetString() is { Length: > 0 and <= MaxKeyIdLength } id:
                        keyId = id;
                        break;
                    case "typ" when member.Value.ValueKind == JsonValueKind.String && IsAccess(member.Value.GetString()!):
                        break;
                    // Of another shape than it must be; or what has to be understood (RFC 7515, 4.1.11), is inside of another token, is encrypted or not encoded.
                    case "alg" or "kid" or "typ" or "crit" or "cty" or "enc" or "zip" or "b64":
                        return null;
                }
            return algorithm is null ? null : (algorithm, keyId);
        }
        catch (InvalidOperationException)
        {
            // A string with half a character in it.
            return null;
        }
    }

    /// <summary>A token for access, and not one that says something else in the issuer's name, such as that somebody signed out (RFC 8725, 3.11).</summary>
    private static bool IsAccess(string type) =>
        type.Equals("JWT", StringComparison.OrdinalIgnoreCase) || type.Equals("at+jwt", StringComparison.OrdinalIgnoreCase) || type.Equals("application/at+jwt", StringComparison.OrdinalIgnoreCase);

    private static int ValueOf(byte c) => c switch
    {
        >= (byte)'A' and <= (byte)'Z' => c - 'A',
        >= (byte)'a' and <= (byte)'z' => c - 'a' + 26,
        >= (byte)'0' and <= (byte)'9' => c - '0' + 52,
        (byte)'-' => 62,
        _ => 63,
    };
}
