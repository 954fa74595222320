using Billing.Api;
using Billing.Silo;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>Who may call: the keys, what each of them sees, and how the service starts without them.</summary>
public sealed class ApiKeyTests
{
    /// <summary>Every route about one organization, with a body that it would take.</summary>
    private static readonly (string Method, string Path, object? Body)[] OrganizationRoutes =
    [
        ("GET", "", null),
        ("GET", "/entitlements", null),
        ("GET", "/entitlements/ai_requests", null),
        ("GET", "/entitlements/ai_requests/explain", null),
        ("POST", "/entitlements/check", new { items = new[] { new { feature = "ai_requests" } } }),
        ("POST", "/usage", new { feature = "ai_requests", quantity = 1 }),
        ("POST", "/usage/batch", new { items = new[] { new { feature = "ai_requests", quantity = 1 } } }),
        ("PUT", "/gauges/projects", new { value = 1 }),
        ("GET", "/usage/current", null),
        ("GET", "/usage/records", null),
        ("GET", "/usage/history?feature=ai_requests", null),
        ("GET", "/tokens", null),
        ("GET", "/tokens/transactions", null),
        ("GET", "/subscription", null),
        ("GET", "/ledger", null),
        ("GET", "/ledger/verify", null),
    ];

    private static readonly (string Method, string Path, object? Body)[] OperatorRoutes =
    [
        ("POST", "/v1/organizations", new { id = "new" }),
        ("DELETE", "/v1/organizations/acme", null),
        ("POST", "/v1/organizations/acme/invitations", new { plan = "creator-mentor" }),
        ("PUT", "/v1/organizations/acme/subscription", new { plan = "pro-learn" }),
        ("POST", "/v1/organizations/acme/tokens/grants", new { tokens = 1 }),
        ("POST", "/v1/api-keys", new { name = "another" }),
        ("GET", "/v1/api-keys", null),
        ("DELETE", "/v1/api-keys/key_1", null),
        ("GET", "/v1/stripe/events", null),
        ("POST", "/v1/stripe/events/evt_1/replay", null),
    ];

    private static async Task<(string Id, HttpClient Client)> NewKey(TestApi api, string? organization)
    {
        var made = (await api.Post("/v1/api-keys", new { name = "a test's", organization })).Expect(201);
        return (made.String("api_key.id")!, api.Client(made.String("key")));
    }

    private static Task<Answer> Send(TestApi api, (string Method, string Path, object? Body) request, string prefix, HttpClient by) =>
        api.Send(new HttpMethod(request.Method), prefix + request.Path, request.Body, TestApi.NewKey(), by);

    // ---- without a good key

    [Theory]
    [InlineData("")]
    [InlineData("Authorization: ")]
    [InlineData("Authorization: Bearer")]
    [InlineData("Authorization: Bearer ")]
    [InlineData("Authorization: Bearer bk_test_wrong")]
    [InlineData("Authorization: Bearer bk_test_developmen")]
    [InlineData("Authorization: Bearer bk_test_development2")]
    [InlineData("Authorization: Bearer BK_TEST_DEVELOPMENT")]
    [InlineData("Authorization: Bearer bk_test_development bk_test_development")]
    [InlineData("Authorization: Bearer bk_test_développement")]
    [InlineData("Authorization: bk_test_development")]
    [InlineData("Authorization: Basic YmtfdGVzdF9kZXZlbG9wbWVudDo=")]
    [InlineData("Authorization: Token bk_test_development")]
    [InlineData("X-Api-Key: bk_test_development")]
    [InlineData("Authorization: Bearer bk_test_development\r\nAuthorization: Bearer bk_test_development")]
    public async Task without_one_good_bearer_key_nothing_is_answered(string header)
    {
        await using var api = await TestApi.Start("learning-community");
        foreach (var request in (string[])["GET /v1/ping", "GET /v1/plans", "GET /v1/organizations/acme", "POST /v1/organizations", "GET /v1/nothing", "DELETE /v1/plans"])
        {
            var answer = await api.Raw("", header.Length == 0 ? [request] : [request, header]);
            answer.ExpectProblem(401, "unauthenticated", "Send an API key: Authorization: Bearer bk_…");
            Assert.Equal("Bearer", answer.Headers["WWW-Authenticate"]);
        }
    }

    [Fact]
    public async Task a_key_that_is_too_long_is_no_key()
    {
        await using var api = await TestApi.Start("learning-community");
        foreach (var length in (int[])[200, 201, 8_000])
        {
            using var client = api.Client(new string('k', length));
            (await api.Get("/v1/ping", client)).ExpectProblem(401, "unauthenticated", "");
        }
    }

    [Fact]
    public async Task the_scheme_may_be_spelled_in_any_case_and_what_is_for_everybody_needs_no_key()
    {
        await using var api = await TestApi.Start("learning-community");
        (await api.Raw("", "GET /v1/ping", "authorization: bearer bk_test_development")).Expect(200);
        foreach (var path in (string[])["/health", "/problems", "/problems/quota_exceeded", "/openapi/v1.json", "/swagger/index.html"]) (await api.Get(path, api.Anonymous)).Expect(200);
    }

    // ---- making and revoking

    [Fact]
    public async Task a_revoked_key_stops_at_once_and_stays_revoked_after_a_restart()
    {
        var folder = Directory.CreateTempSubdirectory("billing-").FullName;
        try
        {
            string kept, revoked;
            await using (var api = await TestApi.Start("learning-community", folder: folder))
            {
                var made = (await api.Post("/v1/api-keys", new { name = "one", test = true })).Expect(201);
                (kept, revoked) = (made.String("key")!, (await api.Post("/v1/api-keys", new { name = "two" })).Expect(201).String("key")!);
                Assert.StartsWith("bk_test_", kept, StringComparison.Ordinal);
                Assert.StartsWith("bk_live_", revoked, StringComparison.Ordinal);
                using var client = api.Client(revoked);
                (await api.Get("/v1/ping", client)).Expect(200);

                var list = (await api.Get("/v1/api-keys")).Expect(200);
                Assert.DoesNotContain(kept, list.Text, StringComparison.Ordinal);
                Assert.DoesNotContain(revoked, list.Text, StringComparison.Ordinal);
                var id = (string?)list["items"]!.AsArray().Single(k => (string?)k!["name"] == "two")!["id"];
                (await api.Send(HttpMethod.Delete, $"/v1/api-keys/{id}")).Expect(204);
                (await api.Send(HttpMethod.Delete, $"/v1/api-keys/{id}")).ExpectProblem(404, "not_found", $"There is no key '{id}' to revoke.");
                (await api.Get("/v1/ping", client)).ExpectProblem(401, "unauthenticated", "");
            }
            await using (var api = await TestApi.Start("learning-community", folder: folder))
            {
                using var good = api.Client(kept);
                using var bad = api.Client(revoked);
                (await api.Get("/v1/ping", good)).Expect(200);
                (await api.Get("/v1/ping", bad)).ExpectProblem(401, "unauthenticated", "");
            }
            // The key itself is nowhere on the disk.
            foreach (var file in Directory.GetFiles(folder))
                Assert.DoesNotContain(kept, System.Text.Encoding.Latin1.GetString(await File.ReadAllBytesAsync(file)), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task a_configured_key_is_revoked_in_the_configuration()
    {
        await using var api = await TestApi.Start("learning-community");
        (await api.Send(HttpMethod.Delete, "/v1/api-keys/key_configured")).ExpectProblem(404, "not_found", "");
        (await api.Get("/v1/ping")).Expect(200);
    }

    // ---- keys for one organization

    [Fact]
    public async Task an_organizations_key_does_everything_of_its_own()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        api.Clock.Advance(Duration.FromMinutes(1));
        var (_, own) = await NewKey(api, "acme");
        using (own)
        {
            foreach (var request in OrganizationRoutes) Assert.InRange((await Send(api, request, "/v1/organizations/acme", own)).Status, 200, 201);
            foreach (var path in (string[])["/v1/ping", "/v1/plans", "/v1/token-packages", "/v1/config"]) (await api.Get(path, own)).Expect(200);
        }
    }

    [Fact]
    public async Task an_organizations_key_sees_others_as_if_they_did_not_exist()
    {
        await using var api = await TestApi.Start("learning-community");
        foreach (var organization in (string[])["acme", "other", "Acme"]) await api.Open(organization);
        var (_, own) = await NewKey(api, "acme");
        using (own)
            foreach (var request in OrganizationRoutes)
            {
                var nobody = await Send(api, request, "/v1/organizations/nobody", own);
                nobody.ExpectProblem(404, "organization_unknown", "There is no organization 'nobody'.");
                foreach (var other in (string[])["other", "Acme"])
                {
                    var answer = await Send(api, request, $"/v1/organizations/{other}", own);
                    Assert.Equal(nobody.Text.Replace("nobody", other, StringComparison.Ordinal), answer.Text);
                    Assert.Equal(nobody.Headers.Keys.Order(), answer.Headers.Keys.Order());
                }
                // An operator is told the same of what is not there.
                Assert.Equal(nobody.Text, (await Send(api, request, "/v1/organizations/nobody", api.Http)).Text);
            }
        Assert.Equal(1, (await api.Get("/v1/organizations/other")).Number("version"));
    }

    [Fact]
    public async Task an_organizations_key_lists_that_one_alone()
    {
        await using var api = await TestApi.Start("learning-community");
        foreach (var organization in (string[])["acme", "beta", "other"]) await api.Open(organization);
        var (_, own) = await NewKey(api, "beta");
        using (own)
            foreach (var query in (string[])["", "?limit=1", "?limit=500"])
            {
                var list = (await api.Get("/v1/organizations" + query, own)).Expect(200);
                Assert.Equal(["beta"], list["items"]!.AsArray().Select(o => (string?)o!["id"]));
                Assert.Null(list["next_cursor"]);
            }
        Assert.Equal(3, (await api.Get("/v1/organizations")).Expect(200)["items"]!.AsArray().Count);
    }

    [Fact]
    public async Task what_is_for_operators_is_refused_to_an_organizations_key_and_changes_nothing()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var (_, own) = await NewKey(api, "acme");
        using (own)
            foreach (var request in OperatorRoutes) (await Send(api, request, "", own)).ExpectProblem(403, "operator_only", "This key is for one organization. Use an operator's key.");
        Assert.Equal(1, (await api.Get("/v1/organizations/acme")).Number("version"));
        Assert.Single((await api.Get("/v1/organizations")).Expect(200)["items"]!.AsArray());
        Assert.Equal(2, (await api.Get("/v1/api-keys")).Expect(200)["items"]!.AsArray().Count);
    }

    [Fact]
    public async Task closing_an_organization_revokes_its_keys_and_leaves_it_to_be_read()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Open("other");
        api.Clock.Advance(Duration.FromMinutes(1));
        (await api.Use("acme", "ai_requests")).Expect(201);
        var (_, own) = await NewKey(api, "acme");
        var (_, others) = await NewKey(api, "other");
        using (own)
        using (others)
        {
            (await api.Send(HttpMethod.Delete, "/v1/organizations/acme", new { reason = "moved away" })).Expect(200);

            (await api.Get("/v1/organizations/acme", own)).ExpectProblem(401, "unauthenticated", "");
            (await api.Get("/v1/organizations/other", others)).Expect(200);
            foreach (var request in OrganizationRoutes.Where(r => r.Method == "GET" || r.Path == "/entitlements/check")) (await Send(api, request, "/v1/organizations/acme", api.Http)).Expect(200);
            foreach (var request in OrganizationRoutes.Where(r => r.Method != "GET" && r.Path != "/entitlements/check").Concat(OperatorRoutes[1..5].Select(r => (r.Method, r.Path.Replace("/v1/organizations/acme", "", StringComparison.Ordinal), r.Body))))
                (await Send(api, request, "/v1/organizations/acme", api.Http)).ExpectProblem(410, "organization_closed", "The organization 'acme' is closed. It can be read, not changed.");

            var check = (await api.Check("acme", "ai_requests")).Expect(200);
            Assert.False(check.True("has_access"));
            Assert.Equal("organization_closed", check.String("denial.code"));
            Assert.Single((await api.Get("/v1/organizations/acme/usage/records")).Expect(200)["items"]!.AsArray());
            await api.VerifyLedger("acme");
        }
    }

    [Fact]
    public async Task a_batch_of_nothing_but_bad_items_is_gone_too_when_the_organization_is_closed()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await api.Send(HttpMethod.Delete, "/v1/organizations/acme")).Expect(200);
        (await api.Post("/v1/organizations/acme/usage/batch", """{"items":[{"feature":"ai_requests"}]}""")).ExpectProblem(410, "organization_closed", "");
    }

    // ---- starting

    private const string LongKey = "0123456789abcdef0123456789abcdef";

    /// <summary>Starts it as these arguments say, on a journal that is removed again.</summary>
    private static async Task<string?> RefusalOf(params string[] args)
    {
        var folder = Directory.CreateTempSubdirectory("billing-").FullName;
        try
        {
            await using var app = await Program.Build(
                [$"--Billing:Catalog={Repository.Catalog("learning-community")}", $"--Billing:Journal={Path.Combine(folder, "ledger.db")}", "--Billing:DueWork=off", "--BILLING_OPERATOR_KEY=", "--urls=http://127.0.0.1:0", .. args]);
            await app.StartAsync();
            await app.StopAsync();
            return null;
        }
        catch (SettingsException e)
        {
            return e.Message;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Theory]
    [InlineData("Production")]
    [InlineData("Staging")]
    public async Task outside_development_the_service_does_not_start_without_a_key_and_says_so(string environment)
    {
        Assert.Equal("there is no operator key. Set BILLING_OPERATOR_KEY to 32 characters or more (openssl rand -hex 32).", await RefusalOf($"--environment={environment}"));
        Assert.Null(await RefusalOf($"--environment={environment}", $"--BILLING_OPERATOR_KEY={LongKey}"));
        Assert.Null(await RefusalOf($"--environment={environment}", $"--BILLING_OPERATOR_KEY={LongKey}", "--urls=http://0.0.0.0:0"));
    }

    [Fact]
    public async Task an_operator_key_that_is_too_short_is_refused_everywhere()
    {
        foreach (var environment in (string[])["Production", "Development"])
            Assert.Equal("BILLING_OPERATOR_KEY has 31 characters; it needs 32 or more. Make one with: openssl rand -hex 32",
                await RefusalOf($"--environment={environment}", $"--BILLING_OPERATOR_KEY={LongKey[..31]}"));
    }

    [Theory]
    [InlineData("--urls=http://0.0.0.0:0")]
    [InlineData("--urls=http://[::]:0")]
    [InlineData("--urls=http://*:0")]
    [InlineData("--urls=http://+:0")]
    [InlineData("--urls=http://192.0.2.1:0")]
    [InlineData("--urls=http://billing.example:0")]
    [InlineData("--urls=http://127.0.0.1:0;http://0.0.0.0:0")]
    [InlineData("--urls=", "--http_ports=0")]
    [InlineData("--urls=", "--http_ports=0;0", "--https_ports=0")]
    [InlineData("--Kestrel:Endpoints:Open:Url=http://0.0.0.0:0")]
    public async Task in_development_the_documented_key_opens_no_address_but_loopback(params string[] args)
    {
        Assert.Contains("In Development the operator key is in the documentation, so the service listens on loopback only", await RefusalOf(["--environment=Development", .. args]), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--urls=http://127.0.0.1:0")]
    [InlineData("--urls=http://127.0.0.1:0;http://[::1]:0")]
    [InlineData("--Kestrel:Endpoints:Own:Url=http://127.0.0.1:0")]
    [InlineData("--urls=http://0.0.0.0:0", "--BILLING_OPERATOR_KEY=" + LongKey)]
    public async Task in_development_loopback_or_a_key_of_ones_own_is_enough(params string[] args) => Assert.Null(await RefusalOf(["--environment=Development", .. args]));

    [Fact]
    public async Task with_a_key_of_ones_own_the_documented_one_is_none()
    {
        await using var api = await TestApi.Start("learning-community", args: "--BILLING_OPERATOR_KEY=" + LongKey);
        (await api.Get("/v1/ping")).ExpectProblem(401, "unauthenticated", "");
        using var own = api.Client(LongKey);
        (await api.Get("/v1/ping", own)).Expect(200);
    }

    [Fact]
    public async Task a_stored_operators_key_is_enough_to_start_outside_development()
    {
        var folder = Directory.CreateTempSubdirectory("billing-").FullName;
        try
        {
            string key;
            await using (var api = await TestApi.Start("learning-community", folder: folder)) key = (await api.Post("/v1/api-keys", new { name = "kept" })).Expect(201).String("key")!;
            await using (var api = await TestApi.Start("learning-community", folder: folder, args: "--environment=Production"))
            {
                (await api.Get("/v1/ping")).ExpectProblem(401, "unauthenticated", "");
                using var client = api.Client(key);
                (await api.Get("/v1/ping", client)).Expect(200);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task a_refused_start_ends_the_process_with_1()
    {
        var folder = Directory.CreateTempSubdirectory("billing-").FullName;
        try
        {
            Assert.Equal(1, await Program.Main(
                ["--environment=Production", "--BILLING_OPERATOR_KEY=", $"--Billing:Catalog={Repository.Catalog("learning-community")}", $"--Billing:Journal={Path.Combine(folder, "ledger.db")}"]));
            Assert.Equal(1, await Program.Main(["--environment=Development", "--Billing:Catalog=/nowhere/catalog.json"]));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
