using Billing.Api;
using Billing.Tests.Grains;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>Keys that an issuer gives out at an address: they change, and the address does not always answer.</summary>
public sealed class JwtKeySetTests
{
    private static readonly Instant Now = TestApi.Time("2026-11-20T10:00:00Z");

    /// <summary>The issuer's server.</summary>
    private sealed class KeyServer : IAsyncDisposable
    {
        private readonly WebApplication app;
        private int asked;

        private KeyServer(WebApplication app) => this.app = app;

        public string Content { get; set; } = "";

        public int Status { get; set; } = 200;

        public int Asked => Volatile.Read(ref asked);

        public string Url => app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single() + "/jwks.json";

        public static async Task<KeyServer> Start()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.WebHost.UseUrls("http://127.0.0.1:0");
            var server = new KeyServer(builder.Build());
            server.app.MapGet("/jwks.json", (HttpContext http) =>
            {
                Interlocked.Increment(ref server.asked);
                http.Response.StatusCode = server.Status;
                if (server.Status == 302) http.Response.Headers.Location = "/elsewhere.json";
                return http.Response.WriteAsync(server.Content);
            });
            server.app.MapGet("/elsewhere.json", () => server.Content);
            await server.app.StartAsync();
            return server;
        }

        public ValueTask DisposeAsync() => app.DisposeAsync();
    }

    private static (JwtKeyRing Ring, JwtCredentials Verifier, List<string> Log) Ring(string url, SettableClock time)
    {
        var clock = new Clock(time);
        var ring = new JwtKeyRing(JwtIssuer.ReadAll(SignedTokens.Configuration(SignedTokens.Arguments($"Jwks={url}"))), clock);
        var log = new List<string>();
        ring.Log = (message, _) => log.Add(message);
        return (ring, new JwtCredentials(ring, clock, new byte[32], NullLogger<JwtCredentials>.Instance), log);
    }

    [Fact]
    public async Task the_keys_are_there_when_the_service_listens_and_a_service_whose_issuer_is_away_starts_all_the_same()
    {
        using var by = new SignedTokens();
        await using var server = await KeyServer.Start();
        server.Content = by.Jwks();
        await using var api = await TestApi.Start("learning-community", args: SignedTokens.Arguments($"Jwks={server.Url}"));
        await api.Open("acme");
        foreach (var token in (string[])[by.Rs256(SignedTokens.Claims(Now)), by.Es256(SignedTokens.Claims(Now))])
        {
            using var client = api.Client(token);
            (await api.Get("/v1/organizations/acme/entitlements", client)).Expect(200);
        }

        server.Status = 500;
        await using var alone = await TestApi.Start("learning-community", args: SignedTokens.Arguments($"Jwks={server.Url}"));
        using var early = alone.Client(by.Rs256(SignedTokens.Claims(Now)));
        (await alone.Get("/v1/ping", early)).Expect(401);
        // It comes back, and the next token that names one of its keys has them read.
        server.Status = 200;
        alone.Clock.Advance(JwtKeyRing.LeastBetween);
        while ((await alone.Get("/v1/ping", early)).Status == 401) await Task.Yield();
        (await alone.Get("/v1/ping", early)).Expect(200);
    }

    [Fact]
    public async Task an_outage_and_what_is_no_set_of_keys_leave_the_old_keys_as_they_were()
    {
        using var by = new SignedTokens();
        await using var server = await KeyServer.Start();
        server.Content = by.Jwks();
        var (ring, verifier, log) = Ring(server.Url, new SettableClock(Now));
        await ring.Refresh();
        foreach (var (status, content) in ((int, string)[])[(500, by.Jwks("x", "y")), (404, "{}"), (302, by.Jwks("x", "y")), (200, "<html>Sign in</html>"), (200, "{}"), (200, ""), (200, $"{{\"keys\":[],\"pad\":\"{new string('x', 300_000)}\"}}")])
        {
            (server.Status, server.Content) = (status, content);
            await ring.Refresh();
            Assert.NotNull(verifier.Read(by.Rs256(SignedTokens.Claims(Now))));
            Assert.Contains("could not be read; they stay as they were", log[^1], StringComparison.Ordinal);
        }
        Assert.Equal(7, log.Count);
        await server.DisposeAsync();
        await ring.Refresh();
        Assert.NotNull(verifier.Read(by.Es256(SignedTokens.Claims(Now))));
        ring.Dispose();
    }

    [Fact]
    public async Task a_key_that_is_taken_out_ends_with_every_token_that_it_signed_and_a_new_one_is_found_by_the_first_token_that_names_it()
    {
        using var by = new SignedTokens();
        using var next = new SignedTokens();
        await using var server = await KeyServer.Start();
        server.Content = by.Jwks();
        var time = new SettableClock(Now);
        var (ring, verifier, _) = Ring(server.Url, time);
        await ring.Refresh();
        var old = by.Rs256(SignedTokens.Claims(Now));
        Assert.NotNull(verifier.Read(old));

        server.Content = next.Jwks("r2", "e2");
        var fresh = next.Es256(SignedTokens.Claims(Now), "e2");
        // However many there are, and whatever they name: the address is asked no more often than it was told.
        for (var i = 0; i < 1_000; i++) Assert.Null(verifier.Read(next.Es256(SignedTokens.Claims(Now), $"e{i}")));
        Assert.Null(verifier.Read(fresh));
        Assert.Equal(1, server.Asked);

        time.Advance(JwtKeyRing.LeastBetween);
        while (verifier.Read(fresh) is null) await Task.Yield();
        Assert.Equal(2, server.Asked);
        Assert.Null(verifier.Read(old));
        ring.Dispose();
    }

    [Fact]
    public async Task the_keys_are_read_again_every_five_minutes_and_the_same_ones_change_nothing()
    {
        using var by = new SignedTokens();
        await using var server = await KeyServer.Start();
        server.Content = by.Jwks();
        var (ring, verifier, _) = Ring(server.Url, new SettableClock(Now));
        var time = new ManualTime();
        using var poll = new JwtKeyPoll(ring, time);
        await poll.StartAsync(default);
        while (time.Waiting == 0) await Task.Yield();
        var token = by.Rs256(SignedTokens.Claims(Now));
        Assert.NotNull(verifier.Read(token));

        time.Advance(JwtKeyRing.Every);
        while (server.Asked < 2) await Task.Yield();
        Assert.NotNull(verifier.Read(token));
        Assert.Equal(1, verifier.Checks);
        server.Content = by.Jwks("gone", "e1");
        time.Advance(JwtKeyRing.Every);
        while (verifier.Read(token) is not null) await Task.Yield();
        await poll.StopAsync(default);
        ring.Dispose();
    }

    [Fact]
    public void two_issuers_whose_sets_have_the_same_keys_are_told_apart_by_what_is_signed()
    {
        using var by = new SignedTokens();
        var folder = Directory.CreateTempSubdirectory("billing-").FullName;
        foreach (var name in (string[])["one", "two"]) File.WriteAllText(Path.Combine(folder, name), by.Jwks());
        var verifier = SignedTokens.Verifier(new SettableClock(Now),
            [.. SignedTokens.Arguments($"Jwks={Path.Combine(folder, "one")}"), "--Jwt:1:Issuer=https://two.example.com", "--Jwt:1:Audience=second", $"--Jwt:1:Jwks={Path.Combine(folder, "two")}", "--Jwt:1:Algorithm=ES256"]);
        Directory.Delete(folder, recursive: true);
        var ofTwo = SignedTokens.Claims(Now);
        (ofTwo["iss"], ofTwo["aud"]) = ("https://two.example.com", "second");

        Assert.Equal("id.example.com", verifier.Read(by.Es256(SignedTokens.Claims(Now)))?.Name);
        Assert.Equal("two.example.com", verifier.Read(by.Es256(ofTwo))?.Name);
        Assert.Equal(2, verifier.Checks);
        // The second takes one algorithm only.
        Assert.Null(verifier.Read(by.Rs256(ofTwo)));
    }
}
