using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text.Json;

namespace Billing.Api;

/// <summary>A key that tokens are signed with, and the one algorithm that it is for: what a token says of its algorithm chooses nothing.</summary>
/// <param name="Id">Its <c>kid</c>.</param>
/// <param name="Print">Tells it from every other key.</param>
internal abstract record JwtKey(string Algorithm, string? Id, string Print)
{
    public abstract bool Verify(ReadOnlySpan<byte> signed, ReadOnlySpan<byte> signature);

    public static string PrintOf(params ReadOnlySpan<byte[]> parts)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var part in parts) hash.AppendData(SHA256.HashData(part));
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}

/// <summary>HS256: a secret that the issuer and we share.</summary>
internal sealed record SecretKey(byte[] Secret, string? Id) : JwtKey(JwtIssuer.Hs256, Id, PrintOf(Secret))
{
    public override bool Verify(ReadOnlySpan<byte> signed, ReadOnlySpan<byte> signature)
    {
        Span<byte> right = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(Secret, signed, right);
        return CryptographicOperations.FixedTimeEquals(right, signature);
    }
}

/// <summary>RS256 and ES256: a public key. An opened one is for one thread at a time, so there are as many as were ever needed at once.</summary>
internal sealed record PublicKey<T>(string Algorithm, string? Id, string Print, Func<T> Open, Func<T, ReadOnlySpan<byte>, ReadOnlySpan<byte>, bool> Check) 
    : JwtKey(Algorithm, Id, Print) where T : AsymmetricAlgorithm
{
    private readonly ConcurrentBag<T> opened = [];

    public override bool Verify(ReadOnlySpan<byte> signed, ReadOnlySpan<byte> signature)
    {
        if (!opened.TryTake(out var key)) key = Open();
        try
        {
            return Check(key, signed, signature);
        }
        catch (CryptographicException)
        {
            return false;
        }
        finally
        {
            opened.Add(key);
        }
    }
}

/// <summary>Sets of public keys (RFC 7517, RFC 7518).</summary>
internal static class Jwks
{
    private const int MaxKeys = 100;
    private const int LeastRsaBits = 2_048, MostRsaBits = 8_192;
    private const int Es256Bytes = 32;

    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 8 };

    /// <summary>The keys of the set that are for RS256 or ES256. Others are left out, as the RFC wants it: a secret among them is none any more.</summary>
    /// <param name="leftOut">For each that was left out: why.</param>
    /// <exception cref="InvalidDataException">It is no such set.</exception>
    public static IReadOnlyList<JwtKey> Read(ReadOnlyMemory<byte> json, out IReadOnlyList<string> leftOut)
    {
        try
        {
            using var document = JsonDocument.Parse(json, Strict);
            if (document.RootElement.ValueKind != JsonValueKind.Object || !document.RootElement.TryGetProperty("keys", out var list) || list.ValueKind != JsonValueKind.Array)
                throw new InvalidDataException("It is no JWKS: { \"keys\": [ … ] }.");
            if (list.GetArrayLength() > MaxKeys) throw new InvalidDataException($"It has {list.GetArrayLength()} keys; {MaxKeys} are the most.");
            var keys = new List<JwtKey>();
            var reasons = new List<string>();
            foreach (var each in list.EnumerateArray())
                if (Read(each, out var reason) is { } key) keys.Add(key);
                else reasons.Add(reason);
            leftOut = reasons;
            return keys;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new InvalidDataException($"It is no JWKS: {e.Message}");
        }
    }

    private static JwtKey? Read(JsonElement key, out string reason)
    {
        string? Text(string name) => key.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

        reason = "";
        if (key.ValueKind != JsonValueKind.Object) reason = "it is no object";
        else if (Text("use") is { } use && use != "sig") reason = $"it is for '{use}'";
        else if (key.TryGetProperty("key_ops", out var operations) && !(operations.ValueKind == JsonValueKind.Array && operations.EnumerateArray().Any(o => o.ValueKind == JsonValueKind.String && o.ValueEquals("verify")))) reason = "verifying is none of its key_ops";
        else if (Text("kid") is { Length: 0 or > Jwt.MaxKeyIdLength }) reason = $"its kid has not 1 to {Jwt.MaxKeyIdLength} characters";
        else if ((Text("kty"), Text("alg") ?? JwtIssuer.Rs256) is ("RSA", JwtIssuer.Rs256))
        {
            if (Bytes("n") is not { } n || Bytes("e") is not { Length: <= 8 } e) reason = "its n or e is none";
            else if (n[0] == 0 || n.Length * 8 is < LeastRsaBits or > MostRsaBits) reason = $"it has {n.Length * 8} bits; {LeastRsaBits} to {MostRsaBits} are taken";
            else return Opening(() => RSA.Create(new RSAParameters { Modulus = n, Exponent = e }), JwtIssuer.Rs256, JwtKey.PrintOf(n, e),
                static (rsa, signed, signature) => rsa.VerifyData(signed, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1), out reason);
        }
        else if ((Text("kty"), Text("crv"), Text("alg") ?? JwtIssuer.Es256) is ("EC", "P-256", JwtIssuer.Es256))
        {
            if (Bytes("x") is not { Length: Es256Bytes } x || Bytes("y") is not { Length: Es256Bytes } y) reason = "its x or y is none";
            else return Opening(() => ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = new ECPoint { X = x, Y = y } }), JwtIssuer.Es256, JwtKey.PrintOf(x, y),
                static (ec, signed, signature) => signature.Length == 2 * Es256Bytes && ec.VerifyData(signed, signature, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation), out reason);
        }
        else reason = $"its kind is kty {Text("kty")}, alg {Text("alg")}, crv {Text("crv")}";
        reason = $"{Text("kid") ?? "a key without kid"}: {reason}";
        return null;

        byte[]? Bytes(string name)
        {
            if (Text(name) is not { Length: > 0 and <= 2_048 } text) return null;
            var utf8 = System.Text.Encoding.UTF8.GetBytes(text);
            var bytes = new byte[utf8.Length];
            return Jwt.TryDecode(utf8, bytes, out var written) && written > 0 ? bytes[..written] : null;
        }

        JwtKey? Opening<T>(Func<T> open, string algorithm, string print, Func<T, ReadOnlySpan<byte>, ReadOnlySpan<byte>, bool> check, out string why) where T : AsymmetricAlgorithm
        {
            why = "";
            try
            {
                // A point that is not on the curve is found out here, and not by the first token.
                open().Dispose();
                return new PublicKey<T>(algorithm, Text("kid"), print, open, check);
            }
            catch (CryptographicException e)
            {
                why = $"{Text("kid") ?? "a key without kid"}: {e.Message}";
                return null;
            }
        }
    }
}
