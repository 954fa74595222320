using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Billing.Api;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging.Abstractions;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>An identity provider: makes tokens, right ones and others.</summary>
internal sealed class SignedTokens : IDisposable
{
    public const string Issuer = "https://id.example.com", Audience = "billing", Secret = "a secret of thirty-two bytes, or more";

    public RSA Rsa { get; } = RSA.Create(2048);

    public ECDsa Ec { get; } = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    /// <summary>The configuration with which its tokens are taken.</summary>
    /// <param name="key">Such as <c>Secret=…</c> or <c>Jwks=…</c>; its secret without one.</param>
    public static string[] Arguments(string? key = null, params string[] settings) =>
        [$"--Jwt:0:Issuer={Issuer}", $"--Jwt:0:Audience={Audience}", $"--Jwt:0:{key ?? $"Secret={Secret}"}", .. settings.Select(s => $"--Jwt:0:{s}")];

    public static IConfiguration Configuration(params string[] arguments) => new ConfigurationBuilder().AddCommandLine(arguments).Build();

    /// <summary>The verifier by itself, with these settings.</summary>
    public static JwtCredentials Verifier(TimeProvider time, params string[] arguments)
    {
        var clock = new Clock(time);
        return new JwtCredentials(new JwtKeyRing(JwtIssuer.ReadAll(Configuration(arguments)), clock), clock, new byte[32], NullLogger<JwtCredentials>.Instance);
    }

    /// <summary>What a good token says: for an hour, for this organization.</summary>
    public static JsonObject Claims(Instant now, string organization = "acme") => new()
    {
        ["iss"] = Issuer, ["aud"] = Audience, ["sub"] = "ada@example.com", ["exp"] = now.ToUnixTimeSeconds() + 3_600, ["iat"] = now.ToUnixTimeSeconds(), ["organization"] = organization,
    };

    public static string Hs256(JsonObject claims, string? header = null, string secret = Secret) =>
        Signed(header ?? """{"alg":"HS256","typ":"JWT"}""", claims.ToJsonString(), s => HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), s));

    public string Rs256(JsonObject claims, string kid = "r1") => Signed($$"""{"alg":"RS256","kid":"{{kid}}"}""", claims.ToJsonString(), s => Rsa.SignData(s, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1));

    public string Es256(JsonObject claims, string kid = "e1") => Signed($$"""{"alg":"ES256","kid":"{{kid}}"}""", claims.ToJsonString(), s => Ec.SignData(s, HashAlgorithmName.SHA256));

    public static string Signed(string header, string claims, Func<byte[], byte[]> sign)
    {
        var signed = $"{Base64Url.EncodeToString(Encoding.UTF8.GetBytes(header))}.{Base64Url.EncodeToString(Encoding.UTF8.GetBytes(claims))}";
        return $"{signed}.{Base64Url.EncodeToString(sign(Encoding.UTF8.GetBytes(signed)))}";
    }

    /// <summary>Its public keys, r1 and e1, as it gives them out.</summary>
    public string Jwks(string rsaId = "r1", string ecId = "e1")
    {
        var (rsa, ec) = (Rsa.ExportParameters(false), Ec.ExportParameters(false));
        return JsonSerializer.Serialize(new
        {
            keys = (object[])
            [
                new { kty = "RSA", use = "sig", kid = rsaId, n = Base64Url.EncodeToString(rsa.Modulus), e = Base64Url.EncodeToString(rsa.Exponent) },
                new { kty = "EC", alg = "ES256", kid = ecId, crv = "P-256", x = Base64Url.EncodeToString(ec.Q.X), y = Base64Url.EncodeToString(ec.Q.Y) },
            ],
        });
    }

    public string PublicPem => Rsa.ExportSubjectPublicKeyInfoPem();

    public void Dispose()
    {
        Rsa.Dispose();
        Ec.Dispose();
    }
}
