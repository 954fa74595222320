using Billing.Api;
using Billing.Silo;
using Billing.Tests.Grains;
using Microsoft.Extensions.Logging.Abstractions;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>What a key may do, for how long, and that nobody sees what is not theirs: over every route that there is.</summary>
public sealed class ScopeTests
{
    /// <summary>Every route of the API's own document.</summary>
    private static async Task<List<(HttpMethod Method, string Route, string Path)>> Routes(TestApi api, string organization) =>
    [
        .. (await api.Get("/openapi/v1.json")).Expect(200)["paths"]!.AsObject().Where(p => p.Key.StartsWith("/v1/", StringComparison.Ordinal)).SelectMany(p => p.Value!.AsObject()
            .Select(o => (new HttpMethod(o.Key.ToUpperInvariant()), p.Key, p.Key.Replace("{organization}", organization, StringComparison.Ordinal).Replace('{', '_').Replace('}', '_')))),
    ];

    private static async Task<HttpClient> Key(TestApi api, string? organization, Scopes scopes, bool? test = null) =>
        api.Client((await api.Post("/v1/api-keys", new { name = "a test's", organization, scopes = ScopeNames.Of(scopes), test })).Expect(201).String("key"));

    [Fact]
    public async Task C9_every_route_asks_who_is_calling()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        foreach (var (method, _, path) in await Routes(api, "acme"))
            (await api.Send(method, path, method == HttpMethod.Get ? null : "{}", "once", api.Anonymous)).ExpectProblem(401, "unauthenticated", "");
    }

    [Fact]
    public async Task every_route_refuses_who_has_none_of_its_scopes()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var clients = new Dictionary<(bool, Scopes), HttpClient>();
        foreach (var (method, route, path) in await Routes(api, "acme"))
        {
            var needed = RouteScopes.Of(method.Method, route);
            foreach (var ofOrganization in (bool[])[true, false])
            {
                var others = (ofOrganization ? Scopes.OfOrganization : Scopes.All) & ~needed;
                if (others == Scopes.None) continue;
                if (!clients.TryGetValue((ofOrganization, others), out var client)) clients[(ofOrganization, others)] = client = await Key(api, ofOrganization ? "acme" : null, others);
                var answer = await api.Send(method, path, method == HttpMethod.Get ? null : "{}", "once", client);
                Assert.True(answer.Status == 403, $"{method} {path}: {answer.Status} {answer.Text}");
                Assert.Equal(needed == Scopes.Ops && ofOrganization ? "operator_only" : "insufficient_scope", answer.String("code"));
            }
        }
        Assert.Equal(1, (await api.Get("/v1/organizations/acme")).Number("version"));
    }

    [Fact]
    public async Task E8_every_route_about_another_organization_says_that_there_is_none()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Open("other");
        using var acme = await Key(api, "acme", Scopes.OfOrganization);
        using var test = await Key(api, null, Scopes.All, test: true);
        foreach (var (method, _, path) in (await Routes(api, "other")).Where(r => r.Route.Contains("{organization}", StringComparison.Ordinal)))
            // Neither another's, nor one of the other mode.
            foreach (var stranger in (HttpClient[])[acme, test])
                (await api.Send(method, path, method == HttpMethod.Get ? null : "{}", "once", stranger)).ExpectProblem(404, "organization_unknown", "There is no organization 'other'.");
        Assert.Equal(1, (await api.Get("/v1/organizations/other")).Number("version"));
    }

    [Fact]
    public async Task test_and_live_organizations_never_mix()
    {
        await using var api = await TestApi.Start("learning-community");
        using var test = await Key(api, null, Scopes.All, test: true);
        using var live = await Key(api, null, Scopes.All, test: false);

        (await api.Post("/v1/organizations", new { id = "lab" }, by: test)).Expect(201);
        (await api.Post("/v1/organizations", new { id = "shop" }, by: live)).Expect(201);
        (await api.Post("/v1/organizations", new { id = "no", test = false }, by: test)).ExpectProblem(400, "invalid_field", "A test key opens test organizations.");
        (await api.Post("/v1/organizations", new { id = "no", test = true }, by: live)).ExpectProblem(400, "invalid_field", "A live key opens live organizations.");

        Assert.Equal(["lab"], (await api.List("/v1/organizations", test)).Select(o => (string?)o["id"]));
        Assert.Equal(["shop"], (await api.List("/v1/organizations", live)).Select(o => (string?)o["id"]));
        Assert.Equal(["lab", "shop"], (await api.List("/v1/organizations")).Select(o => (string?)o["id"]));
        Assert.True((await api.Get("/v1/organizations/lab", test)).Expect(200).True("test"));
        (await api.Get("/v1/organizations/shop", test)).ExpectProblem(404, "organization_unknown", "");
        (await api.Get("/v1/organizations/lab", live)).ExpectProblem(404, "organization_unknown", "");

        // Keys are of the organization's mode, and whoever has a mode makes keys of it.
        var made = (await api.Post("/v1/api-keys", new { name = "lab's", organization = "lab" })).Expect(201);
        Assert.StartsWith("bk_test_", made.String("key"), StringComparison.Ordinal);
        (await api.Post("/v1/api-keys", new { name = "wrong", organization = "lab", test = false })).ExpectProblem(400, "invalid_field", "This is a test organization: its keys are test keys.");
        (await api.Post("/v1/api-keys", new { name = "wrong", test = false }, by: test)).ExpectProblem(400, "invalid_field", "A test key makes test keys.");
    }

    [Fact]
    public async Task scopes_are_named_and_ops_is_for_no_single_organization()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await api.Post("/v1/api-keys", new { name = "x", scopes = new[] { "everything" } })).ExpectProblem(400, "invalid_field", "Scopes are entitlements:read, usage:write, billing:manage, ledger:read, ops.");
        (await api.Post("/v1/api-keys", new { name = "x", scopes = Array.Empty<string>() })).ExpectProblem(400, "invalid_field", "Give the key a scope, or leave them out for all that it may have.");
        (await api.Post("/v1/api-keys", new { name = "x", organization = "acme", scopes = new[] { "ops" } })).ExpectProblem(400, "invalid_field", "A key for one organization cannot have ops: that is for all of them.");

        var narrow = (await api.Post("/v1/api-keys", new { name = "checks", organization = "acme", scopes = new[] { "entitlements:read" } })).Expect(201);
        Assert.Equal(["entitlements:read"], narrow["api_key"]!["scopes"]!.AsArray().Select(s => (string?)s));
        using var client = api.Client(narrow.String("key"));
        (await api.Get("/v1/organizations/acme/entitlements/ai_requests", client)).Expect(200);
        (await api.Use("acme", "ai_requests", by: client)).ExpectProblem(403, "insufficient_scope", "This needs usage:write; the caller has entitlements:read.");
    }

    [Fact]
    public async Task a_key_ends_when_it_expires()
    {
        await using var api = await TestApi.Start("learning-community");
        (await api.Post("/v1/api-keys", new { name = "x", expires_at = "2026-11-20T10:00:00Z" })).ExpectProblem(400, "invalid_field", "It would have expired already.");
        var made = (await api.Post("/v1/api-keys", new { name = "x", expires_at = "2026-11-20T11:00:00Z" })).Expect(201);
        using var client = api.Client(made.String("key"));

        api.Clock.Set("2026-11-20T10:59:59Z");
        (await api.Get("/v1/ping", client)).Expect(200);
        api.Clock.Set("2026-11-20T11:00:00Z");
        (await api.Get("/v1/ping", client)).ExpectProblem(401, "unauthenticated", "");
    }

    [Fact]
    public async Task a_rotated_key_stays_good_for_its_overlap_and_the_new_one_is_like_it()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var made = (await api.Post("/v1/api-keys", new { name = "acme's", organization = "acme", scopes = new[] { "usage:write" } })).Expect(201);
        var id = made.String("api_key.id");
        using var old = api.Client(made.String("key"));

        var rotated = (await api.Post($"/v1/api-keys/{id}/rotate", new { overlap_seconds = 600 })).Expect(201);
        using var next = api.Client(rotated.String("key"));
        Assert.Equal(("acme's", "acme", """["usage:write"]"""), (rotated.String("api_key.name"), rotated.String("api_key.organization"), rotated["api_key"]!["scopes"]!.ToJsonString()));
        var listed = (await api.List("/v1/api-keys")).Single(k => (string?)k["id"] == id);
        Assert.Equal((rotated.String("api_key.id"), "2026-11-20T10:10:00Z"), ((string?)listed["replaced_by"], (string?)listed["expires_at"]));

        foreach (var client in (HttpClient[])[old, next]) (await api.Use("acme", "ai_requests", by: client)).Expect(201);
        api.Clock.Set("2026-11-20T10:10:00Z");
        (await api.Use("acme", "ai_requests", by: old)).ExpectProblem(401, "unauthenticated", "");
        (await api.Use("acme", "ai_requests", by: next)).Expect(201);

        (await api.Post($"/v1/api-keys/{id}/rotate", new { overlap_seconds = 600 })).ExpectProblem(404, "not_found", "");
        (await api.Post("/v1/api-keys/key_configured/rotate")).ExpectProblem(404, "not_found", "");
        (await api.Post($"/v1/api-keys/{rotated.String("api_key.id")}/rotate", new { overlap_seconds = -1 })).ExpectProblem(400, "invalid_field", "The overlap is 0 to 2592000 seconds.");
    }

    [Fact]
    public async Task what_one_process_makes_and_revokes_the_others_know_within_five_seconds()
    {
        await using var one = await TestApi.Start("learning-community");
        await using var other = await TestApi.Start("learning-community", folder: one.Folder);
        var time = new ManualTime();
        using var poll = new KeyPoll(other.Services.Keys, other.Services.Sessions, other.Services.Clock, time, NullLogger<KeyPoll>.Instance);
        await poll.StartAsync(default);
        while (time.Waiting == 0) await Task.Yield();
        Assert.InRange(KeyPoll.Every, TimeSpan.Zero, TimeSpan.FromSeconds(5));

        var made = (await one.Post("/v1/api-keys", new { name = "x" })).Expect(201);
        using var client = other.Client(made.String("key"));
        (await other.Get("/v1/ping", client)).Expect(401);
        time.Advance(KeyPoll.Every);
        while ((await other.Get("/v1/ping", client)).Status == 401) await Task.Yield();

        (await one.Send(HttpMethod.Delete, $"/v1/api-keys/{made.String("api_key.id")}")).Expect(204);
        time.Advance(KeyPoll.Every);
        while ((await other.Get("/v1/ping", client)).Status == 200) await Task.Yield();
        await poll.StopAsync(default);
    }

    [Fact]
    public async Task when_a_key_was_last_used_is_known_to_the_minute_and_kept()
    {
        await using var api = await TestApi.Start("learning-community");
        var made = (await api.Post("/v1/api-keys", new { name = "x" })).Expect(201);
        using var client = api.Client(made.String("key"));
        Assert.Null(await LastUsed(api));
        (await api.Get("/v1/ping", client)).Expect(200);
        api.Clock.Advance(Duration.FromSeconds(30));
        (await api.Get("/v1/ping", client)).Expect(200);
        Assert.Equal("2026-11-20T10:00:00Z", await LastUsed(api));
        api.Clock.Advance(Duration.FromMinutes(2));
        (await api.Get("/v1/ping", client)).Expect(200);
        Assert.Equal("2026-11-20T10:02:30Z", await LastUsed(api));

        await api.Services.Keys.StoreLastUses();
        await using var again = await api.Restart();
        Assert.Equal("2026-11-20T10:02:30Z", await LastUsed(again));

        async Task<string?> LastUsed(TestApi of) => (string?)(await of.List("/v1/api-keys")).Single(k => (string?)k["id"] == made.String("api_key.id"))["last_used_at"];
    }
}
