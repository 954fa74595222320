using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Billing.Ledger;
using NodaTime;
using NodaTime.Text;

namespace Billing.Grains.Journal;

/// <summary>
/// A stream's head, signed with ECDSA over P-256 and SHA-256. Whoever keeps one can tell later whether what was recorded
/// up to it is still what it was. What is signed is six lines of text: <see cref="Kind"/>, organization, version, hash, signed_at and
/// key_id, as they stand here, each with a line feed.
/// </summary>
/// <param name="Hash">Of the event with this version: 64 lower-case hex digits.</param>
/// <param name="KeyId">The first 16 hex digits of the SHA-256 of the public key.</param>
/// <param name="Signature">Base64 of the signature as RFC 3279 writes it (DER), as openssl reads it.</param>
/// <param name="PublicKey">PEM. It comes along for convenience: whether it is the right one is for its holder to compare.</param>
public sealed record SignedHead(string Organization, long Version, string Hash, Instant SignedAt, string KeyId, string Signature, string PublicKey)
{
    /// <summary>The first of the signed lines.</summary>
    public const string Kind = "billing-ledger-head/1";

    private const DSASignatureFormat SignatureFormat = DSASignatureFormat.Rfc3279DerSequence;

    public static SignedHead Sign(string organization, StreamHead head, Instant at, ECDsa key)
    {
        var unsigned = new SignedHead(
            organization, head.Version, Convert.ToHexStringLower(head.Hash), Micros.Truncate(at), KeyIdOf(key), "", key.ExportSubjectPublicKeyInfoPem());
        return unsigned with { Signature = Convert.ToBase64String(key.SignData(unsigned.SignedText(), HashAlgorithmName.SHA256, SignatureFormat)) };
    }

    /// <summary>What must lie on the stream.</summary>
    [JsonIgnore]
    public StreamHead Head => new(Version, Convert.FromHexString(Hash));

    /// <summary>What is wrong with the signature, or null.</summary>
    /// <param name="trusted">The key that must have signed it; null takes the one that the head itself brings along.</param>
    public string? Problem(ECDsa? trusted)
    {
        using var own = ReadKey(PublicKey);
        if (own is null || own.ExportSubjectPublicKeyInfoPem() != PublicKey) return "Its public_key is no PEM of a key on P-256.";
        if (KeyIdOf(own) != KeyId) return $"Its key_id is {KeyId}; its public_key's is {KeyIdOf(own)}.";
        if (trusted is not null && KeyIdOf(trusted) != KeyId) return $"It is signed by the key {KeyId}, and not by {KeyIdOf(trusted)}.";
        if (Hash.Length != 2 * HashChain.HashSize || !Hash.All(char.IsAsciiHexDigitLower) || Version < 1) return "Its version or hash is none of an event's.";
        var signature = new byte[Signature.Length];
        return Convert.TryFromBase64String(Signature, signature, out var length) && Convert.ToBase64String(signature.AsSpan(0, length)) == Signature
            && Matches(trusted ?? own, signature.AsSpan(0, length)) ? null : "Its signature is not that of what it says.";
    }

    private bool Matches(ECDsa key, ReadOnlySpan<byte> signature)
    {
        try
        {
            return key.VerifyData(SignedText(), signature, HashAlgorithmName.SHA256, SignatureFormat);
        }
        catch (CryptographicException)
        {
            return false;
        }
    }

    private byte[] SignedText() => Encoding.UTF8.GetBytes($"{Kind}\n{Organization}\n{Version}\n{Hash}\n{InstantPattern.ExtendedIso.Format(SignedAt)}\n{KeyId}\n");

    // ---- as JSON

    public string ToJson() => JsonSerializer.Serialize(this, SignedHeadJson.Readable.SignedHead);

    /// <exception cref="JsonException">It is none.</exception>
    public static SignedHead Parse(ReadOnlySpan<byte> json) =>
        JsonSerializer.Deserialize(json, SignedHeadJson.Readable.SignedHead) ?? throw new JsonException("It is null.");

    // ---- keys

    /// <summary>A new private key (PKCS #8).</summary>
    public static byte[] NewKey()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return key.ExportPkcs8PrivateKey();
    }

    /// <summary>A key that <see cref="NewKey"/> made.</summary>
    public static ECDsa OpenKey(ReadOnlySpan<byte> pkcs8)
    {
        var key = ECDsa.Create();
        key.ImportPkcs8PrivateKey(pkcs8, out _);
        return key;
    }

    /// <summary>A key from PEM, private or public; null when it is no key on P-256.</summary>
    public static ECDsa? ReadKey(string pem)
    {
        var key = ECDsa.Create();
        try
        {
            key.ImportFromPem(pem);
            // Systems name the curve by its number or by one of its names.
            if (key.ExportParameters(false).Curve.Oid is { Value: "1.2.840.10045.3.1.7" } or { FriendlyName: "nistP256" or "ECDSA_P256" }) return key;
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException or PlatformNotSupportedException)
        {
            // Said below.
        }
        key.Dispose();
        return null;
    }

    private static string KeyIdOf(ECDsa key) => Convert.ToHexStringLower(SHA256.HashData(key.ExportSubjectPublicKeyInfo()))[..16];
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true, AllowDuplicateProperties = false, Converters = [typeof(InstantJson)])]
[JsonSerializable(typeof(SignedHead))]
internal sealed partial class SignedHeadJson : JsonSerializerContext
{
    public static SignedHeadJson Readable => Shared.Instance;

    private static class Shared
    {
        // The signature's plus signs stay as they are.
        public static readonly SignedHeadJson Instance = new(new JsonSerializerOptions(Default.Options) { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
    }
}
