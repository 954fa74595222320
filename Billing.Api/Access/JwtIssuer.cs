using System.Net;
using System.Text;
using Billing.Silo;

namespace Billing.Api;

/// <summary>Whose tokens are taken, and what they may say: one entry of the configuration, <c>Jwt:0:…</c>, <c>Jwt:1:…</c>.</summary>
public sealed record JwtIssuer
{
    public const string Hs256 = "HS256", Rs256 = "RS256", Es256 = "ES256";

    private const int MinSecretBytes = 32;
    private const string Base64 = "base64:";

    private static readonly HashSet<string> Names = new(StringComparer.OrdinalIgnoreCase)
    {
        "Name", "Issuer", "Audience", "Algorithm", "Secret", "KeyId", "Jwks", "LeewaySeconds", "OrganizationClaim", "AllOrganizations", "ScopeClaim", "Scopes", "Roles", "Mode",
    };

    /// <summary>What it is called in what is written down.</summary>
    public required string Name { get; init; }

    /// <summary><c>iss</c>, to the letter.</summary>
    public required string Issuer { get; init; }

    /// <summary>One of <c>aud</c>, to the letter.</summary>
    public required string Audience { get; init; }

    /// <summary>The only algorithm that is taken; null is what each key of its set is for.</summary>
    public required string? Algorithm { get; init; }

    /// <summary>What both sides know; null where there are public keys.</summary>
    public required byte[]? Secret { get; init; }

    /// <summary>The secret's <c>kid</c>; null where tokens need not say.</summary>
    public required string? KeyId { get; init; }

    /// <summary>The file or the address of a set of public keys.</summary>
    public required string? Jwks { get; init; }

    /// <summary>By how much its clock and ours may differ.</summary>
    public required int LeewaySeconds { get; init; }

    public required string OrganizationClaim { get; init; }

    /// <summary>Whether a token without an organization is for all of them; otherwise it is for none.</summary>
    public required bool AllOrganizations { get; init; }

    /// <summary>Null where every token has all scopes that are allowed.</summary>
    public required string? ScopeClaim { get; init; }

    /// <summary>The most that a token of this issuer may do, whatever it says.</summary>
    public required Scopes Allowed { get; init; }

    /// <summary>Values of the claim that stand for scopes, beside the scopes' own names.</summary>
    public required IReadOnlyDictionary<string, Scopes> Roles { get; init; }

    /// <summary>As with <see cref="Caller"/>.</summary>
    public required bool? Test { get; init; }

    /// <exception cref="SettingsException">Something is set in a way that cannot work; the message says what would.</exception>
    public static IReadOnlyList<JwtIssuer> ReadAll(IConfiguration configuration) => [.. configuration.GetSection("Jwt").GetChildren().Select(section => Read(configuration, section))];

    private static JwtIssuer Read(IConfiguration configuration, IConfigurationSection section)
    {
        string? Get(string name) => string.IsNullOrWhiteSpace(section[name]) ? null : section[name];
        SettingsException Wrong(string name, string what) => new($"{section.Path}:{name} {what}");

        if (!int.TryParse(section.Key, out _)) throw new SettingsException($"{section.Path} has no number: write Jwt:0:{section.Key}, and Jwt:1:… for another issuer.");
        // Who misspells a limit would otherwise have none.
        if (section.GetChildren().FirstOrDefault(c => !Names.Contains(c.Key)) is { } unknown) throw Wrong(unknown.Key, $"is no setting. There are {string.Join(", ", Names)}.");

        var issuer = Get("Issuer") ?? throw Wrong("Issuer", "is missing: it is what a token's iss must be.");
        var audience = Get("Audience") ?? throw Wrong("Audience", "is missing: it is what a token's aud must have, so that tokens which the issuer made for others are of no use here.");
        var (secret, jwks) = (Get("Secret"), Get("Jwks"));
        if (secret is null == jwks is null) throw Wrong("Secret", "or :Jwks must be set, and not both: a shared secret, or the file or https address of public keys.");
        var algorithm = Get("Algorithm") ?? (secret is null ? null : Hs256);
        if (algorithm is not (null or Hs256 or Rs256 or Es256)) throw Wrong("Algorithm", $"is '{algorithm}'; it must be {Hs256} with a secret, {Rs256} or {Es256} with public keys.");
        if (secret is not null && algorithm != Hs256) throw Wrong("Algorithm", $"is {algorithm}, and a shared secret is for {Hs256}.");
        if (jwks is not null && algorithm == Hs256) throw Wrong("Algorithm", $"is {Hs256}, and public keys are no secret: anybody could sign with them.");
        if (jwks is not null && Get("KeyId") is not null) throw Wrong("KeyId", "goes with a secret; public keys say their own.");
        var scopes = ScopesOf(Get("Scopes") ?? "entitlements:read", "Scopes");
        var all = IsOn("AllOrganizations");
        if (scopes.HasFlag(Scopes.Ops) && !all) throw Wrong("Scopes", "has ops, which is for no single organization: it needs :AllOrganizations on.");
        var name = Get("Name") ?? (Uri.TryCreate(issuer, UriKind.Absolute, out var url) && url.Host.Length > 0 ? url.Host : issuer);
        if (name.Length > 64 || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_')) throw Wrong("Name", $"is '{name}'; it must be 1 to 64 letters, digits, dots, hyphens and underscores. It is written beside what its tokens do.");
        if (jwks is not null) CheckPlace(jwks);
        return new JwtIssuer
        {
            Name = name, Issuer = issuer, Audience = audience, Algorithm = algorithm, Secret = secret is null ? null : Bytes(secret), KeyId = Get("KeyId"), Jwks = jwks,
            LeewaySeconds = configuration.Number($"{section.Path}:LeewaySeconds", 30, 0, 300), OrganizationClaim = Get("OrganizationClaim") ?? "organization", AllOrganizations = all, ScopeClaim = Get("ScopeClaim"), Allowed = scopes,
            Roles = section.GetSection("Roles").GetChildren().ToDictionary(r => r.Key, r => ScopesOf(r.Value ?? "", $"Roles:{r.Key}"), StringComparer.Ordinal),
            Test = (Get("Mode") ?? "live") switch { "live" => false, "test" => true, "both" => null, var mode => throw Wrong("Mode", $"is '{mode}'; it must be live, test or both.") },
        };

        bool IsOn(string setting) => (Get(setting) ?? "off") switch { "on" => true, "off" => false, var other => throw Wrong(setting, $"is '{other}'; it must be on or off.") };

        Scopes ScopesOf(string names, string setting) =>
            ScopeNames.Read(names.Split([' ', ','], StringSplitOptions.RemoveEmptyEntries)) is { } read and not Scopes.None ? read : throw Wrong(setting, $"is '{names}'; scopes are {ScopeNames.List}.");

        byte[] Bytes(string text)
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            if (text.StartsWith(Base64, StringComparison.Ordinal))
            {
                try
                {
                    bytes = Convert.FromBase64String(text[Base64.Length..]);
                }
                catch (FormatException)
                {
                    throw Wrong("Secret", $"begins with {Base64}, and the rest is no base64.");
                }
            }
            return bytes.Length >= MinSecretBytes ? bytes : throw Wrong("Secret", $"has {bytes.Length} bytes; {Hs256} needs {MinSecretBytes} or more. Make one with: openssl rand -hex 32");
        }

        void CheckPlace(string place)
        {
            if (!place.Contains("://", StringComparison.Ordinal)) return;
            if (!Uri.TryCreate(place, UriKind.Absolute, out var at) || at.UserInfo.Length > 0 || !(at.Scheme == "https" || (at.Scheme == "http" && IsLoopback(at))))
                throw Wrong("Jwks", $"is '{place}'; it must be a file or an https address (http on loopback only): whoever could change the keys on their way could sign.");
        }
    }

    private static bool IsLoopback(Uri url) => url.Host == "localhost" || (IPAddress.TryParse(url.Host.Trim('[', ']'), out var ip) && IPAddress.IsLoopback(ip));
}
