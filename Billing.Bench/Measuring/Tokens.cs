using System.Buffers.Text;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using Billing.Api;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging.Abstractions;

namespace Billing.Bench;

/// <summary>Strangers try tokens at full speed, no two alike: none gets in, memory stays as it is, and whoever has a right one goes on. And what a right token costs.</summary>
public sealed class Tokens(Options options, IReadOnlyList<Subject> subjects, Report report)
{
    public const string Name = "tokens", Quiet = "checks, no strangers", During = "checks, among strangers", WithJwt = "checks with a JWT", Growth = "memory of a wrong token";

    private const int Connections = 32;

    private const string Issuer = "https://bench.example.com", Audience = "bench", Secret = "a secret of the benchmark's, of thirty-two bytes or more";
    private const string Header = """{"alg":"HS256","typ":"JWT"}""", Refusal = """{"type":"http://localhost/problems/unauthenticated",""";

    /// <summary>What the service is started with: its operators may come with tokens.</summary>
    public static IReadOnlyDictionary<string, string> Settings { get; } = new Dictionary<string, string>
    {
        ["Jwt__0__Issuer"] = Issuer, ["Jwt__0__Audience"] = Audience, ["Jwt__0__Secret"] = Secret, ["Jwt__0__AllOrganizations"] = "on", ["Jwt__0__Mode"] = "both",
    };

    /// <summary>Sixteen characters of each are others in every request. As long as real ones, and as right as a stranger can make them.</summary>
    private static readonly (string Name, string Token)[] Wrong =
    [
        ("wrong key", $"bk_live_{new string('0', 32)}{RequestTemplate.NumberMark}"),
        ("wrong browser token", $"{BrowserTokens.Prefix}{new string('A', 60)}{RequestTemplate.NumberMark}{new string('A', 60)}"),
        ("wrong JWT, HS256", $"{Encoded(Header)}.{Encoded(Claims(1))}.{RequestTemplate.NumberMark}{new string('A', 27)}"),
    ];

    /// <summary>One round.</summary>
    public void Run(int round)
    {
        InProcess(round);
        foreach (var subject in subjects)
        {
            Keep(Checks(Quiet, subject.Check));
            Keep(Checks(WithJwt, new Kind("check", subject.Check.Request.With(Signed(1, s => HMACSHA256.HashData(Encoding.UTF8.GetBytes(Secret), s), Header)), 0)));
            var strangers = Wrong.Select(w => new Kind(w.Name, subject.Check.Request.With(w.Token, 401, Refusal), 0)).ToList();
            // Each kind by itself, for what it costs; and by then the server has taken the memory that it needs.
            foreach (var kind in strangers) Keep(Checks(kind.Name, kind));

            var before = subject.Server.Memory();
            var count = options.TokenCount / options.Rounds / strangers.Count;
            var flood = Task.WhenAll(strangers.Select((kind, i) => Task.Run(() => new Load(kind.Name, subject, Connections / strangers.Count + (i < Connections % strangers.Count ? 1 : 0), [kind], Uniformly).Times(count))));
            var during = new List<Measurement>();
            do
            {
                var measured = Full(Checks(During, subject.Check));
                if (during.Count == 0 || !flood.IsCompleted) during.Add(measured);
            }
            while (!flood.IsCompleted);
            var sent = flood.GetAwaiter().GetResult();
            var grown = subject.Server.Memory() - before;
            foreach (var each in (Measurement[])[.. during, .. sent]) report.Check([each], null, 0);
            report.Add(round, during[0] with { RequestsPerSecond = Median.Of(during.Select(m => m.RequestsPerSecond)), ServerMicroseconds = 0 });
            report.Add(round, new Measurement(Growth, subject.Name) { Connections = Connections, Bytes = Math.Max(1, (double)grown / sent.Sum(m => m.Acknowledged)), Acknowledged = sent.Sum(m => m.Acknowledged) });

            Load Checks(string scenario, Kind kind) => new(scenario, subject, Connections, [kind], Uniformly);

            void Keep(Load load)
            {
                var measured = Full(load);
                report.Check([measured], null, 0);
                report.Add(round, measured);
            }
        }
    }

    private Measurement Full(Load load) => load.AtFullSpeed(options.WarmUp, options.Duration)[0];

    private Walk Uniformly(int connection) => Walk.Uniform(options.Organizations, connection);

    /// <summary>What a token costs the first time and when it is known, without HTTP, on one processor.</summary>
    private void InProcess(int round)
    {
        const int count = 2_000;
        using var rsa = RSA.Create(2048);
        using var ec = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var (r, e) = (rsa.ExportParameters(false), ec.ExportParameters(false).Q);
        var file = Path.GetTempFileName();
        File.WriteAllText(file, $$"""{"keys":[{"kty":"RSA","kid":"r","n":"{{Base64Url.EncodeToString(r.Modulus)}}","e":"{{Base64Url.EncodeToString(r.Exponent)}}"},{"kty":"EC","kid":"e","crv":"P-256","x":"{{Base64Url.EncodeToString(e.X)}}","y":"{{Base64Url.EncodeToString(e.Y)}}"}]}""");
        var clock = new Clock(TimeProvider.System);
        foreach (var (algorithm, header, key, sign) in ((string, string, string, Func<byte[], byte[]>)[])
            [
                ("HS256", Header, $"Secret={Secret}", s => HMACSHA256.HashData(Encoding.UTF8.GetBytes(Secret), s)),
                ("RS256", """{"alg":"RS256","kid":"r"}""", $"Jwks={file}", s => rsa.SignData(s, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)),
                ("ES256", """{"alg":"ES256","kid":"e"}""", $"Jwks={file}", s => ec.SignData(s, HashAlgorithmName.SHA256)),
            ])
        {
            var configuration = new ConfigurationBuilder().AddCommandLine([$"--Jwt:0:Issuer={Issuer}", $"--Jwt:0:Audience={Audience}", "--Jwt:0:AllOrganizations=on", $"--Jwt:0:{key}"]).Build();
            using var ring = new JwtKeyRing(JwtIssuer.ReadAll(configuration), clock);
            var verifier = new JwtCredentials(ring, clock, new byte[32], NullLogger<JwtCredentials>.Instance);
            var tokens = Enumerable.Range(0, count).Select(i => Signed(i, sign, header)).ToList();
            foreach (var scenario in (string[])[$"JWT, {algorithm}, new", $"JWT, {algorithm}, known"])
            {
                var started = Stopwatch.GetTimestamp();
                foreach (var token in tokens)
                    if (verifier.Read(token) is null) throw new BenchException("A right token was refused.");
                report.Add(round, new Measurement(scenario, "ledger") { RequestsPerSecond = count / Stopwatch.GetElapsedTime(started).TotalSeconds });
            }
        }
        File.Delete(file);
    }

    private static string Claims(int number) => $$"""{"iss":"{{Issuer}}","aud":"{{Audience}}","sub":"user-{{number}}","iat":{{DateTimeOffset.UtcNow.ToUnixTimeSeconds()}},"exp":{{DateTimeOffset.UtcNow.AddDays(1).ToUnixTimeSeconds()}}}""";

    private static string Signed(int number, Func<byte[], byte[]> sign, string header)
    {
        var signed = $"{Encoded(header)}.{Encoded(Claims(number))}";
        return $"{signed}.{Base64Url.EncodeToString(sign(Encoding.ASCII.GetBytes(signed)))}";
    }

    private static string Encoded(string text) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(text));
}
