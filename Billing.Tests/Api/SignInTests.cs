using System.Net;
using Billing.Api;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>Browsers: operators sign in with a key, customers by a link, and no other site does anything in their name.</summary>
public sealed class SignInTests
{
    /// <summary>A browser: it keeps cookies, and goes nowhere by itself.</summary>
    private static (HttpClient Client, CookieContainer Cookies) Browser(TestApi api)
    {
        var cookies = new CookieContainer();
        return (new HttpClient(new HttpClientHandler { CookieContainer = cookies, AllowAutoRedirect = false }) { BaseAddress = new Uri(api.Url) }, cookies);
    }

    private static async Task<Answer> Submit(TestApi api, HttpClient by, string path, params (string Name, string Value)[] fields)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new FormUrlEncodedContent(fields.Select(f => KeyValuePair.Create(f.Name, f.Value))) };
        return await api.Send(request, by);
    }

    private static async Task<HttpClient> SignedIn(TestApi api)
    {
        var (browser, _) = Browser(api);
        (await Submit(api, browser, "/sign-in", ("key", Settings.DevelopmentKey), ("next", "/swagger"))).Expect(302);
        return browser;
    }

    private static async Task<Answer> Change(TestApi api, HttpClient by, HttpMethod method, string path, object body, string? formToken)
    {
        using var request = new HttpRequestMessage(method, path) { Content = new StringContent(System.Text.Json.JsonSerializer.Serialize(body), System.Text.Encoding.UTF8, "application/json") };
        request.Headers.Add("Idempotency-Key", TestApi.NewKey());
        if (formToken is not null) request.Headers.Add(SessionCookie.Header, formToken);
        return await api.Send(request, by);
    }

    [Fact]
    public async Task an_operator_signs_in_with_a_key_and_out_again()
    {
        await using var api = await TestApi.Start("learning-community");
        var (browser, cookies) = Browser(api);
        using (browser)
        {
            Assert.Contains("""<input type="password" name="key" """.TrimEnd(), (await api.Get("/sign-in", browser)).Expect(200).Text, StringComparison.Ordinal);
            (await Submit(api, browser, "/sign-in", ("key", "bk_test_wrong"))).Expect(401);
            (await api.Get("/v1/session", browser)).ExpectProblem(401, "unauthenticated", "");

            var signedIn = (await Submit(api, browser, "/sign-in", ("key", Settings.DevelopmentKey), ("next", "/swagger"))).Expect(302);
            Assert.Equal("/swagger", signedIn.Headers["Location"]);
            Assert.Matches("billing_session=[^;]{43}; path=/; samesite=lax; httponly", signedIn.Headers["Set-Cookie"]);
            Assert.DoesNotContain(Settings.DevelopmentKey, signedIn.Headers["Set-Cookie"], StringComparison.Ordinal);

            var session = (await api.Get("/v1/session", browser)).Expect(200);
            Assert.Equal(("key_configured", "2026-11-20T22:00:00Z"), (session.String("id"), session.String("expires_at")));
            (await api.Get("/v1/organizations", browser)).Expect(200);

            // The cookie as it was is good for nothing afterwards.
            var cookie = cookies.GetCookieHeader(new Uri(api.Url));
            (await Submit(api, browser, "/sign-out", (SessionCookie.Field, session.String("form_token")!))).Expect(302);
            (await api.Raw("", "GET /v1/session", $"Cookie: {cookie}")).ExpectProblem(401, "unauthenticated", "");
        }
    }

    [Fact]
    public async Task a_key_of_one_organization_signs_nobody_in_as_an_operator()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var key = (await api.Post("/v1/api-keys", new { name = "acme's", organization = "acme" })).Expect(201).String("key")!;
        var (browser, _) = Browser(api);
        using (browser)
        {
            Assert.Contains("This is no operator&#39;s key.", (await Submit(api, browser, "/sign-in", ("key", key))).Expect(401).Text, StringComparison.Ordinal);
            (await api.Get("/v1/session", browser)).Expect(401);
        }
    }

    [Theory]
    [InlineData("https://evil.example/")]
    [InlineData("//evil.example/")]
    [InlineData("/\\evil.example/")]
    [InlineData("evil")]
    [InlineData("")]
    public async Task nobody_is_sent_to_another_host_after_signing_in(string next)
    {
        await using var api = await TestApi.Start("learning-community");
        var (browser, _) = Browser(api);
        using (browser) Assert.Equal("/", (await Submit(api, browser, "/sign-in", ("key", Settings.DevelopmentKey), ("next", next))).Expect(302).Headers["Location"]);
    }

    [Fact]
    public async Task what_another_site_makes_a_browser_send_changes_nothing()
    {
        await using var api = await TestApi.Start("learning-community");
        using var browser = await SignedIn(api);
        using var another = await SignedIn(api);
        var own = (await api.Get("/v1/session", browser)).String("form_token")!;
        var others = (await api.Get("/v1/session", another)).String("form_token")!;

        foreach (var wrong in (string?[])[null, "", others, own[..^1] + (own[^1] == 'A' ? 'B' : 'A')])
            (await Change(api, browser, HttpMethod.Post, "/v1/organizations", new { id = "acme" }, wrong)).ExpectProblem(403, "form_token_wrong", "");
        (await api.Get("/v1/organizations/acme")).Expect(404);
        (await Change(api, browser, HttpMethod.Post, "/v1/organizations", new { id = "acme" }, own)).Expect(201);
        // Nor does it sign anybody out.
        (await Submit(api, browser, "/sign-out", (SessionCookie.Field, others))).Expect(403);
        (await api.Get("/v1/session", browser)).Expect(200);
    }

    [Fact]
    public async Task a_session_ends_after_half_an_hour_of_nothing_and_after_twelve_hours_of_anything()
    {
        await using var api = await TestApi.Start("learning-community");
        using var idle = await SignedIn(api);
        using var busy = await SignedIn(api);
        for (var minutes = 0; minutes < 12 * 60; minutes += 29)
        {
            Assert.Equal(200, (await Fresh(api, busy)).Status);
            if (minutes == 29) Assert.Equal(200, (await Fresh(api, idle)).Status);
            api.Clock.Advance(Duration.FromMinutes(29));
        }
        Assert.Equal(401, (await Fresh(api, busy)).Status);

        using var late = await SignedIn(api);
        api.Clock.Advance(Duration.FromMinutes(31));
        Assert.Equal(401, (await Fresh(api, late)).Status);
        Assert.Equal(401, (await Fresh(api, idle)).Status);
    }

    /// <summary>As in a process that has not seen this session for a while.</summary>
    private static async Task<Answer> Fresh(TestApi api, HttpClient browser)
    {
        api.Services.Sessions.Forget();
        return await api.Get("/v1/session", browser);
    }

    [Fact]
    public async Task signing_out_everywhere_ends_every_browser_of_that_key_and_no_other()
    {
        await using var api = await TestApi.Start("learning-community");
        using var one = await SignedIn(api);
        using var two = await SignedIn(api);
        var otherKey = (await api.Post("/v1/api-keys", new { name = "colleague" })).Expect(201).String("key")!;
        var (colleague, _) = Browser(api);
        using (colleague)
        {
            (await Submit(api, colleague, "/sign-in", ("key", otherKey))).Expect(302);
            var token = (await api.Get("/v1/session", one)).String("form_token");
            Assert.Equal(2, (await Change(api, one, HttpMethod.Post, "/v1/session/sign-out-everywhere", new { }, token)).Expect(200).Number("ended"));
            (await api.Get("/v1/session", one)).Expect(401);
            (await api.Get("/v1/session", two)).Expect(401);
            (await api.Get("/v1/session", colleague)).Expect(200);
        }
    }

    // ---- links for customers

    [Fact]
    public async Task a_customer_comes_by_a_link_sees_their_own_organization_and_manages_it()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Open("other");
        using var app = await api.ClientOf("acme");
        var link = (await api.Post("/v1/organizations/acme/portal-links", by: app)).Expect(201);
        Assert.Equal("2026-11-20T10:15:00Z", link.String("expires_at"));
        var (browser, _) = Browser(api);
        using (browser)
        {
            Assert.Equal("/account/billing", (await api.Get(new Uri(link.String("url")!).PathAndQuery, browser)).Expect(302).Headers["Location"]);
            var session = (await api.Get("/v1/session", browser)).Expect(200);
            Assert.Equal(("portal:acme", "acme", "2026-11-20T12:00:00Z"), (session.String("id"), session.String("organization"), session.String("expires_at")));
            (await api.Get("/v1/organizations/acme/invoices", browser)).Expect(200);
            (await api.Get("/v1/organizations/other/invoices", browser)).ExpectProblem(404, "organization_unknown", "");
            (await api.Get("/v1/flags", browser)).ExpectProblem(403, "operator_only", "");
            var token = session.String("form_token");
            (await Change(api, browser, HttpMethod.Put, "/v1/organizations/acme/profile", new { name = "Acme" }, token)).Expect(200);
            (await Change(api, browser, HttpMethod.Post, "/v1/organizations/acme/usage", new { feature = "ai_requests" }, token)).ExpectProblem(403, "insufficient_scope", "");

            // Good once.
            Assert.Contains("This link has ended", (await api.Get(new Uri(link.String("url")!).PathAndQuery, api.Anonymous)).Expect(410).Text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task a_link_ends_by_time_and_by_hand_and_so_do_its_sessions()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        async Task<string> Link() => new Uri((await api.Post("/v1/organizations/acme/portal-links")).Expect(201).String("url")!).PathAndQuery;
        var (late, revoked, used) = (await Link(), await Link(), await Link());
        var (browser, _) = Browser(api);
        using (browser)
        {
            (await api.Get(used, browser)).Expect(302);
            (await api.Get("/v1/session", browser)).Expect(200);
            Assert.Equal(3, (await api.Send(HttpMethod.Delete, "/v1/organizations/acme/portal-links")).Expect(200).Number("ended"));
            (await api.Get("/v1/session", browser)).Expect(401);
            (await api.Get(revoked, browser)).Expect(410);
        }
        api.Clock.Advance(Duration.FromMinutes(15));
        (await api.Get(late, api.Anonymous)).Expect(410);
        (await api.Get("/portal/nonsense", api.Anonymous)).Expect(410);
        (await api.Post("/v1/organizations/nobody/portal-links")).ExpectProblem(404, "organization_unknown", "");
    }

    [Fact]
    public async Task the_database_has_nothing_that_a_browser_could_show()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var (browser, cookies) = Browser(api);
        using (browser)
        {
            (await Submit(api, browser, "/sign-in", ("key", Settings.DevelopmentKey))).Expect(302);
            var cookie = cookies.GetCookies(new Uri(api.Url)).Single().Value;
            var link = (await api.Post("/v1/organizations/acme/portal-links")).Expect(201).String("url")!.Split('/')[^1];
            foreach (var file in Directory.GetFiles(api.Folder))
            {
                await using var open = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
                var text = await new StreamReader(open, System.Text.Encoding.Latin1).ReadToEndAsync();
                Assert.DoesNotContain(cookie, text, StringComparison.Ordinal);
                Assert.DoesNotContain(link, text, StringComparison.Ordinal);
            }
        }
    }
}
