using Billing.Api;
using Billing.Silo;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>Tokens that a page may hold, and which pages may call from a browser.</summary>
public sealed class BrowserTokenTests
{
    private const string App = "https://app.example.com", Tokens = "/v1/organizations/acme/browser-tokens";

    private static async Task<HttpClient> Key(TestApi api, params string[] scopes) =>
        api.Client((await api.Post("/v1/api-keys", new { name = "a test's", organization = "acme", scopes })).Expect(201).String("key"));

    [Fact]
    public async Task a_browser_token_reads_the_entitlements_of_its_organization_and_does_nothing_else()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Open("other");
        using var server = await Key(api, "entitlements:read", "usage:write");
        var made = (await api.Post(Tokens, new { }, by: server)).Expect(201);
        Assert.Equal(("acme", "2026-11-20T11:00:00Z", """["entitlements:read"]"""), (made.String("organization"), made.String("expires_at"), made["scopes"]!.ToJsonString()));
        Assert.Equal("no-store", made.Headers["Cache-Control"]);
        Assert.Matches("^bt_[A-Za-z0-9_-]{80,300}$", made.String("token"));
        using var page = api.Client(made.String("token"));

        Assert.Equal(3, (await api.Get("/v1/organizations/acme/entitlements/ai_requests", page)).Expect(200).Number("remaining"));
        (await api.Post("/v1/organizations/acme/entitlements/check", new { items = new[] { new { feature = "ai_requests" } } }, by: page)).Expect(200);
        var (may, mayNot) = (0, 0);
        foreach (var (route, operation) in (await api.Get("/openapi/v1.json")).Expect(200)["paths"]!.AsObject().Where(p => p.Key.StartsWith("/v1/", StringComparison.Ordinal)).SelectMany(p => p.Value!.AsObject().Select(o => (p.Key, o.Key))))
        {
            var method = new HttpMethod(operation.ToUpperInvariant());
            var reads = (RouteScopes.Of(method.Method, route) & Scopes.EntitlementsRead) != 0;
            var answer = await api.Send(method, route.Replace("{organization}", "acme", StringComparison.Ordinal).Replace('{', '_').Replace('}', '_'), method == HttpMethod.Get ? null : "{}", TestApi.NewKey(), page);
            Assert.True(reads ? answer.Status != 403 : answer.Status == 403, $"{method} {route}: {answer.Status} {answer.Text}");
            if (reads) may++;
            else mayNot++;
            if (route.Contains("{organization}", StringComparison.Ordinal))
                (await api.Send(method, route.Replace("{organization}", "other", StringComparison.Ordinal).Replace('{', '_').Replace('}', '_'), method == HttpMethod.Get ? null : "{}", TestApi.NewKey(), page)).ExpectProblem(404, "organization_unknown", "");
        }
        Assert.True(may >= 10 && mayNot >= 60, $"It may call {may} routes and not {mayNot}.");
        Assert.Equal(1, (await api.Get("/v1/organizations/acme")).Number("version"));
    }

    [Fact]
    public async Task a_browser_token_ends_by_itself_and_outlives_a_restart()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        foreach (var seconds in (int[])[59, 86_401, -1, int.MaxValue])
            (await api.Post(Tokens, new { expires_in = seconds })).ExpectProblem(400, "invalid_field", "A browser token lives 60 to 86400 seconds.", "expires_in");
        var token = (await api.Post(Tokens, new { expires_in = 86_400 })).Expect(201).String("token");

        await using var again = await api.Restart();
        using var page = again.Client(token);
        again.Clock.Set("2026-11-21T09:59:59Z");
        (await again.Get("/v1/ping", page)).Expect(200);
        again.Clock.Set("2026-11-21T10:00:00Z");
        (await again.Get("/v1/ping", page)).ExpectProblem(401, "unauthenticated", "");

        // What another service signed is nothing here.
        await using var stranger = await TestApi.Start("learning-community");
        await stranger.Open("acme");
        using var strange = again.Client((await stranger.Post(Tokens, new { })).Expect(201).String("token"));
        (await again.Get("/v1/ping", strange)).Expect(401);
    }

    [Fact]
    public async Task who_only_reads_makes_no_browser_token_and_nobody_gives_what_they_do_not_have()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        using var reader = await Key(api, "entitlements:read", "ledger:read");
        using var writer = await Key(api, "usage:write", "billing:manage");
        using var page = api.Client((await api.Post(Tokens, new { })).Expect(201).String("token"));

        foreach (var client in (HttpClient[])[reader, page]) (await api.Post(Tokens, new { }, by: client)).ExpectProblem(403, "insufficient_scope", "This needs usage:write or billing:manage");
        (await api.Post(Tokens, new { }, by: writer)).ExpectProblem(403, "insufficient_scope", "who makes one needs that, too");
        (await api.Post("/v1/organizations/nobody/browser-tokens", new { })).ExpectProblem(404, "organization_unknown", "");
    }

    [Fact]
    public void no_bit_of_a_browser_token_can_be_flipped()
    {
        var time = new SettableClock(TestApi.Time("2026-11-20T10:00:00Z"));
        var tokens = new BrowserTokens([.. Enumerable.Range(0, 32).Select(i => (byte)i)], new Clock(time));
        foreach (var organization in (string[])["a", "ab", "acme", new string('x', 64)])
        {
            var token = tokens.Sign(organization, true, time.Now + Duration.FromHours(1)).ToCharArray();
            for (var i = 0; i < token.Length; i++)
                for (var bit = 0; bit < 8; bit++)
                {
                    token[i] ^= (char)(1 << bit);
                    Assert.True(tokens.Read(token) is null, $"Bit {bit} of character {i} may be another.");
                    token[i] ^= (char)(1 << bit);
                }
            Assert.Equal((organization, Scopes.EntitlementsRead, true), tokens.Read(token) is { } caller ? (caller.Organization, caller.Scopes, caller.Test) : default);
            Assert.Null(tokens.Read(token.AsSpan(0, token.Length - 1)));
            Assert.Null(tokens.Read([.. token, 'A']));
        }
        foreach (var nothing in (string[])["", "bt_", "bt_A", "bt_" + new string('A', 43), "bt_" + new string('A', 297), "bt_" + new string('A', 298)]) Assert.Null(tokens.Read(nothing));
    }

    // ---- browsers

    private static async Task<Answer> Preflight(TestApi api, string path, string method = "GET", string origin = App, string headers = "authorization,content-type")
    {
        using var request = new HttpRequestMessage(HttpMethod.Options, path);
        request.Headers.Add("Origin", origin);
        request.Headers.Add("Access-Control-Request-Method", method);
        request.Headers.Add("Access-Control-Request-Headers", headers);
        return await api.Send(request, api.Anonymous);
    }

    private static async Task<Answer> From(TestApi api, string path, string origin, HttpClient by)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.Add("Origin", origin);
        return await api.Send(request, by);
    }

    [Fact]
    public async Task pages_of_the_configured_origins_may_call_what_a_browser_token_may_call()
    {
        await using var api = await TestApi.Start("learning-community", args: $"--Cors:Origins={App}, http://localhost:3000");
        await api.Open("acme");
        using var page = api.Client((await api.Post(Tokens, new { })).Expect(201).String("token"));
        foreach (var origin in (string[])[App, "http://localhost:3000"])
        {
            // Before it shows anything.
            var asked = (await Preflight(api, "/v1/organizations/acme/entitlements/ai_requests", origin: origin)).Expect(204);
            Assert.Equal(origin, asked.Headers["Access-Control-Allow-Origin"]);
            Assert.Contains("GET", asked.Headers["Access-Control-Allow-Methods"], StringComparison.Ordinal);
            Assert.Contains("authorization", asked.Headers["Access-Control-Allow-Headers"], StringComparison.OrdinalIgnoreCase);
            Assert.Equal("600", asked.Headers["Access-Control-Max-Age"]);
            Assert.DoesNotContain("Access-Control-Allow-Credentials", asked.Headers.Keys);
            Assert.Contains("Origin", asked.Headers["Vary"], StringComparison.Ordinal);
            (await Preflight(api, "/v1/organizations/acme/entitlements/check", "POST", origin)).Expect(204);

            var answer = (await From(api, "/v1/organizations/acme/entitlements/ai_requests", origin, page)).Expect(200);
            Assert.Equal(origin, answer.Headers["Access-Control-Allow-Origin"]);
            Assert.Contains("RateLimit", answer.Headers["Access-Control-Expose-Headers"], StringComparison.Ordinal);
            Assert.DoesNotContain("Access-Control-Allow-Credentials", answer.Headers.Keys);
            // The page must be able to see that its token has ended.
            Assert.Equal(origin, (await From(api, "/v1/ping", origin, api.Anonymous)).Expect(401).Headers["Access-Control-Allow-Origin"]);
        }
    }

    [Fact]
    public async Task other_pages_other_routes_and_other_headers_are_not_allowed()
    {
        await using var api = await TestApi.Start("learning-community", args: $"--Cors:Origins={App}");
        await api.Open("acme");
        foreach (var origin in (string[])["https://evil.example.com", "http://app.example.com", "https://app.example.com:8443", "https://app.example.com.evil.com", "null", "https://APP.example.com.", "https://xapp.example.com"])
        {
            Assert.DoesNotContain("Access-Control-Allow-Origin", (await Preflight(api, "/v1/organizations/acme/entitlements", origin: origin)).Headers.Keys);
            Assert.DoesNotContain("Access-Control-Allow-Origin", (await From(api, "/v1/plans", origin, api.Http)).Expect(200).Headers.Keys);
        }
        foreach (var (method, path) in ((string, string)[])[("POST", "usage"), ("POST", "browser-tokens"), ("GET", "ledger"), ("GET", "invoices"), ("PUT", "profile"), ("POST", "checkout-sessions"), ("DELETE", "subscription")])
        {
            var refused = await Preflight(api, $"/v1/organizations/acme/{path}", method);
            Assert.True(refused.Status >= 400, $"{method} {path}: {refused.Status}");
            Assert.DoesNotContain(refused.Headers.Keys, name => name.StartsWith("Access-Control", StringComparison.Ordinal));
        }
        // The same path with a method that is not for browsers.
        Assert.DoesNotContain("Access-Control-Allow-Origin", (await Preflight(api, "/v1/organizations/acme", "DELETE")).Headers.Keys);
        foreach (var path in (string[])["/v1/api-keys", "/v1/organizations"]) Assert.DoesNotContain("Access-Control-Allow-Origin", (await From(api, path, App, api.Http)).Expect(200).Headers.Keys);
        Assert.DoesNotContain("x-secret", (await Preflight(api, "/v1/plans", headers: "x-secret")).Headers.GetValueOrDefault("Access-Control-Allow-Headers") ?? "", StringComparison.Ordinal);
    }

    [Fact]
    public async Task without_origins_no_page_may_call()
    {
        await using var api = await TestApi.Start("learning-community");
        var refused = await Preflight(api, "/v1/plans");
        Assert.True(refused.Status >= 400, refused.Text);
        Assert.DoesNotContain(refused.Headers.Keys, name => name.StartsWith("Access-Control", StringComparison.Ordinal));
        Assert.DoesNotContain("Access-Control-Allow-Origin", (await From(api, "/v1/plans", App, api.Http)).Expect(200).Headers.Keys);
    }

    [Theory]
    [InlineData("*")]
    [InlineData("null")]
    [InlineData("app.example.com")]
    [InlineData("http://app.example.com")]
    [InlineData("https://app.example.com/")]
    [InlineData("https://app.example.com/pricing")]
    [InlineData("https://*.example.com")]
    [InlineData("https://user@app.example.com")]
    [InlineData("https://APP.example.com")]
    [InlineData("https://app.example.com:443")]
    public void an_origin_that_no_browser_would_send_is_said_at_the_start(string origin)
    {
        var e = Assert.Throws<SettingsException>(() => Cors.ReadOrigins(SignedTokens.Configuration($"--Cors:Origins=https://app.example.com,{origin}")));
        Assert.Contains($"Cors:Origins has '{origin}'", e.Message, StringComparison.Ordinal);
    }
}
