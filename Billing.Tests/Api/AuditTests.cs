using System.Text;
using System.Text.Json.Nodes;
using Billing.Api;
using Billing.Cli;
using Billing.Silo;
using Billing.Tests.Grains;
using Dapper;
using Spectre.Console;
using CommandLine = Billing.Cli.Program;

namespace Billing.Tests.Api;

/// <summary>Every operator's hand is on record: who, what, why, before and after; and nothing in it that should not be.</summary>
public sealed class AuditTests
{
    private const string Acme = "/v1/organizations/acme";

    private static Task<IReadOnlyList<JsonNode>> Records(TestApi api, string query = "?limit=500") => api.List($"/v1/audit{query}");

    private static async Task<JsonNode> Last(TestApi api) => (await api.Get("/v1/audit?limit=1")).Expect(200)["items"]![0]!;

    [Fact]
    public async Task every_route_that_changes_something_for_operators_leaves_one_record_and_no_other_does()
    {
        await using var api = await TestApi.Start("learning-community");
        var seen = new HashSet<string>();
        var number = 0L;
        const string why = "because";

        await Does("organization.open", HttpMethod.Post, "/v1/organizations", new { id = "acme", test = true });
        await Does("organization.invite", HttpMethod.Post, $"{Acme}/invitations", new { plan = "creator-mentor" });
        await Does("organization.time-zone", HttpMethod.Put, $"{Acme}/time-zone", new { time_zone = "Europe/Berlin" });
        await Does("organization.clock", HttpMethod.Post, $"{Acme}/test-clock/advance", new { by_days = 1 });
        await Does("billing-terms.set", HttpMethod.Put, $"{Acme}/billing-terms", new { tax = new { name = "VAT", rate = 5 } });
        await Does("credit.grant", HttpMethod.Post, $"{Acme}/credits", new { amount = 100, reason = why });
        var (one, two) = ((await api.Use("acme", "ai_requests")).Expect(201).String("id"), (await api.Use("acme", "ai_requests")).Expect(201).String("id"));
        await Does("usage.void", HttpMethod.Post, $"{Acme}/usage/{one}/void", new { reason = why });
        await Does("usage.correct", HttpMethod.Post, $"{Acme}/usage/{two}/correct", new { quantity = 2, reason = why });
        await Does("override.set", HttpMethod.Put, $"{Acme}/overrides/projects", new { allowance = 100, reason = why });
        await Does("override.remove", HttpMethod.Delete, $"{Acme}/overrides/projects", new { reason = why });
        await Does("tokens.grant", HttpMethod.Post, $"{Acme}/tokens/grants", new { tokens = 5, reason = why });
        await Does("top-up.complete", HttpMethod.Post, $"{Acme}/tokens/top-up/tu_1/complete", new { payment = "pi_1" });
        await Does("top-up.fail", HttpMethod.Post, $"{Acme}/tokens/top-up/tu_1/fail", new { failure = "card_declined" });
        await Does("invoice.line", HttpMethod.Post, $"{Acme}/invoices/lines", new { description = "Setup", amount = 1_000 });
        var invoice = (await Does("invoice.generate", HttpMethod.Post, $"{Acme}/invoices/generate", new { draft = true })).Expect(201).String("id");
        await Does("invoice.finalize", HttpMethod.Post, $"{Acme}/invoices/{invoice}/finalize", new { });
        await Does("invoice.uncollectible", HttpMethod.Post, $"{Acme}/invoices/{invoice}/uncollectible", new { reason = why });
        await Does("invoice.pay", HttpMethod.Post, $"{Acme}/invoices/{invoice}/pay", new { });
        await Does("invoice.void", HttpMethod.Post, $"{Acme}/invoices/{invoice}/void", new { reason = why });
        await Does("payment.report", HttpMethod.Post, $"{Acme}/payments", new { invoice = "INV-0", status = "failed" });
        await Does("refund.create", HttpMethod.Post, $"{Acme}/refunds", new { payment = "pi_1", reason = why });
        await Does("reconcile.repair", HttpMethod.Post, $"{Acme}/reconcile", new { repair = true, reason = why });
        await Does("catalog.move", HttpMethod.Post, "/v1/catalog/moves", new { to_version = 1 });
        await Does("catalog.push", HttpMethod.Post, "/v1/catalog/push", new { });
        await Does("flag.set", HttpMethod.Put, "/v1/flags/billing_v2", new { percent = 100 });
        var key = (await Does("key.create", HttpMethod.Post, "/v1/api-keys", new { name = "x" })).Expect(201).String("api_key.id");
        await Does("key.rotate", HttpMethod.Post, $"/v1/api-keys/{key}/rotate", new { });
        await Does("key.revoke", HttpMethod.Delete, $"/v1/api-keys/{key}", new { });
        await Does("stripe.replay", HttpMethod.Post, "/v1/stripe/events/evt_1/replay", new { });

        // What customers may do too, done by an operator.
        await Does("profile.set", HttpMethod.Put, $"{Acme}/profile", new { name = "Anna" });
        await Does("profile.erase", HttpMethod.Delete, $"{Acme}/profile", new { });
        await Does("checkout.create", HttpMethod.Post, $"{Acme}/checkout-sessions", new { plan = "pro-learn", interval = "month" });
        await Does("portal.open", HttpMethod.Post, $"{Acme}/portal-sessions", new { });
        await Does("portal-link.create", HttpMethod.Post, $"{Acme}/portal-links", new { });
        await Does("portal-link.revoke", HttpMethod.Delete, $"{Acme}/portal-links", new { });
        await Does("session.end-all", HttpMethod.Post, "/v1/session/sign-out-everywhere", new { });
        await Does("tokens.purchase", HttpMethod.Post, $"{Acme}/tokens/purchase", new { token_package = "starter" });
        await Does("top-up.set", HttpMethod.Put, $"{Acme}/tokens/top-up", new { token_package = "starter", threshold = 1, max_count = 1, max_amount = 500 });
        await Does("top-up.remove", HttpMethod.Delete, $"{Acme}/tokens/top-up", new { });
        await Does("spend-caps.set", HttpMethod.Put, $"{Acme}/spend-caps", new { organization = 50 });
        await Does("subscription.set", HttpMethod.Put, $"{Acme}/subscription", new { plan = "community-pro", interval = "month", trial = false, payment_method = true });
        await Does("subscription.pause", HttpMethod.Post, $"{Acme}/subscription/pause", new { });
        await Does("subscription.resume", HttpMethod.Post, $"{Acme}/subscription/resume", new { });
        await Does("subscription.cancel", HttpMethod.Delete, $"{Acme}/subscription", new { });
        await Does("subscription.reactivate", HttpMethod.Post, $"{Acme}/subscription/reactivate", new { });
        await Does("organization.close", HttpMethod.Delete, Acme, new { });

        Assert.Equal(AuditedRoutes.Names.Order(), seen.Order());
        var all = await Records(api);
        Assert.Equal(Enumerable.Range(1, (int)number).Reverse(), all.Select(r => (int)r["number"]!));
        var verified = (await api.Get("/v1/audit/verify")).Expect(200);
        Assert.Equal((true, number, (string?)all[0]["hash"]), (verified.True("ok"), (long)verified.Number("records"), verified.String("head")));

        async Task<Answer> Does(string what, HttpMethod method, string path, object body)
        {
            api.Clock.Advance(NodaTime.Duration.FromSeconds(1));
            var id = TestApi.NewKey();
            var answer = await api.Send(method, path, body, id);
            Assert.True(answer.Status is < 400 or 404 or 409 or 503, $"{what}: {answer.Status} {answer.Text}");
            var record = await Last(api);
            Assert.Equal((++number, what, "key_configured", "development", id), ((long)record["number"]!, (string?)record["what"], (string?)record["caller"], (string?)record["caller_name"], (string?)record["command_id"]));
            Assert.Equal((answer.Status < 400 ? "done" : answer.Status < 500 ? "refused" : "failed", answer.Code), ((string?)record["outcome"], (string?)record["code"]));
            Assert.Equal((answer.Headers["Request-Id"], body.GetType().GetProperty("reason")?.GetValue(body)), ((string?)record["request_id"], (string?)record["reason"]));
            Assert.Equal(path.StartsWith("/v1/organizations", StringComparison.Ordinal) ? "acme" : null, (string?)record["organization"]);
            seen.Add(what);
            return answer;
        }
    }

    [Fact]
    public async Task every_route_with_ops_that_is_no_reading_has_a_name()
    {
        await using var api = await TestApi.Start("learning-community");
        foreach (var (method, path) in (await api.Get("/openapi/v1.json")).Expect(200)["paths"]!.AsObject().Where(p => p.Key.StartsWith("/v1/", StringComparison.Ordinal))
            .SelectMany(p => p.Value!.AsObject().Select(o => (o.Key.ToUpperInvariant(), p.Key))))
            if (method != "GET" && RouteScopes.Of(method, path) == Scopes.Ops) Assert.NotNull(AuditedRoutes.NameOf($"{method} {path}"));
        Assert.Throws<InvalidOperationException>(() => AuditedRoutes.Require([KeyValuePair.Create("POST /v1/new", Scopes.Ops)]));
    }

    [Fact]
    public async Task a_record_says_who_what_why_before_and_after()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var made = (await api.Post("/v1/api-keys", new { name = "Support", reason = "new colleague" })).Expect(201);
        using var support = api.Client(made.String("key"));
        (await api.Put($"{Acme}/overrides/projects", new { allowance = 50, reason = "launch" }, by: support)).Expect(200);
        (await api.Put($"{Acme}/overrides/projects", new { unlimited = true, reason = "big launch" }, by: support)).Expect(200);

        var record = await Last(api);
        Assert.Equal(
            (made.String("api_key.id"), "Support", "override.set", "acme", "projects", "big launch", "done", "2026-11-20T10:00:00Z"),
            ((string?)record["caller"], (string?)record["caller_name"], (string?)record["what"], (string?)record["organization"], (string?)record["about"], (string?)record["reason"], (string?)record["outcome"], (string?)record["at"]));
        Assert.Equal("""{"feature":"projects","allowance":50,"unlimited":false}""", record["before"]!.ToJsonString());
        Assert.Equal("""{"feature":"projects","unlimited":true}""", record["after"]!.ToJsonString());

        (await api.Post($"{Acme}/tokens/grants", new { tokens = 100, reason = "sorry" }, "grant-1", support)).Expect(201);
        (await api.Post($"{Acme}/tokens/grants", new { tokens = 100, reason = "sorry" }, "grant-1", support)).Expect(201);
        (await api.Post($"{Acme}/tokens/grants", new { tokens = 101, reason = "sorry" }, "grant-1", support)).Expect(409);
        Assert.Equal(
            [("refused", "command_id_reused", null), ("repeated", null, 100), ("done", null, 100)],
            (await Records(api, "?what=tokens.grant")).Select(r => ((string?)r["outcome"], (string?)r["code"], (int?)r["after"]?["tokens"])));
        Assert.Equal("grant-1", (string?)(await api.Ledger("acme", "tokens-granted")).Single()["command_id"]);
        Assert.Equal("new colleague", (string?)(await Records(api, "?what=key.create")).Single()["reason"]);
    }

    public static TheoryData<string, string, string> WithReasons => new()
    {
        { "POST", $"{Acme}/tokens/grants", """{"tokens":1""" },
        { "POST", $"{Acme}/credits", """{"amount":1""" },
        { "PUT", $"{Acme}/overrides/projects", """{"unlimited":true""" },
        { "DELETE", $"{Acme}/overrides/projects", """{""" },
        { "POST", $"{Acme}/usage/ur_2/void", """{""" },
        { "POST", $"{Acme}/usage/ur_2/correct", """{"quantity":2""" },
        { "POST", $"{Acme}/invoices/in_1/void", """{""" },
        { "POST", $"{Acme}/invoices/in_1/uncollectible", """{""" },
        { "POST", $"{Acme}/refunds", """{"payment":"pi_1" """ },
        { "POST", $"{Acme}/reconcile", """{"repair":true""" },
        { "PUT", $"{Acme}/subscription", """{"plan":"community-pro" """ },
        { "PUT", $"{Acme}/subscription", """{"plan":"community-pro","comp":true""" },
    };

    [Theory]
    [MemberData(nameof(WithReasons))]
    public async Task nobody_gives_takes_back_or_repairs_without_saying_why(string method, string path, string body)
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Use("acme", "ai_requests");
        foreach (var (reason, code, sentence) in ((string?, string, string)[])
            [(null, "missing_field", "Say why"), ("\"\"", "missing_field", "Say why"), ("\"  \"", "missing_field", "Say why"), ($"\"{new string('x', 501)}\"", "invalid_field", "at most 500 characters"), ("\"a\\u0007b\"", "invalid_field", "no control characters")])
        {
            using var request = new HttpRequestMessage(new HttpMethod(method), path)
            {
                Content = new StringContent($"{body}{(reason is null ? "" : $"{(body.Length > 1 ? "," : "")}\"reason\":{reason}")}}}", Encoding.UTF8, "application/json"),
                Headers = { { "Idempotency-Key", TestApi.NewKey() } },
            };
            (await api.Send(request)).ExpectProblem(400, code, sentence, "reason");
        }
        // What could not be read, or makes no sense, asked for nothing.
        Assert.Equal(["organization.open"], (await Records(api)).Select(r => (string?)r["what"]));
        Assert.Equal(2, (await api.Get(Acme)).Number("version"));
    }

    [Fact]
    public async Task what_customers_do_and_what_only_looks_leaves_no_record()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        using var own = await api.ClientOf("acme");
        var before = (await Records(api)).Count;

        (await api.Put($"{Acme}/spend-caps", new { organization = 50 }, by: own)).Expect(200);
        (await api.Put($"{Acme}/subscription", new { plan = "community-pro", interval = "month", payment_method = true }, by: own)).Expect(200);
        (await api.Post($"{Acme}/tokens/grants", new { tokens = 1 }, by: own)).Expect(403);
        (await api.Post($"{Acme}/tokens/grants", new { tokens = 1 }, by: api.Anonymous)).Expect(401);
        (await api.Use("acme", "ai_requests")).Expect(201);
        (await api.Post("/v1/catalog/moves", new { to_version = 1, dry_run = true })).Expect(200);
        (await api.Post("/v1/catalog/push?dry_run=true")).Expect(503);
        (await api.Post($"{Acme}/reconcile")).Expect(503);
        Assert.Equal(before, (await Records(api)).Count);
    }

    [Fact]
    public async Task a_plan_is_given_by_who_has_ops()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        using var billing = api.Client((await api.Post("/v1/api-keys", new { name = "shop", scopes = new[] { "billing:manage" } })).Expect(201).String("key"));
        (await api.Put($"{Acme}/subscription", new { plan = "community-pro" }, by: billing)).ExpectProblem(403, "operator_only", "This caller does not have ops.");
        await api.SetPlan("acme", "community-pro");
        var record = await Last(api);
        Assert.Equal(("subscription.set", "community-pro", "a test"), ((string?)record["what"], (string?)record["after"]!["plan"], (string?)record["reason"]));
    }

    [Fact]
    public async Task no_secret_and_no_personal_data_is_in_it()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var made = (await api.Post("/v1/api-keys", new { name = "x", organization = "acme" })).Expect(201);
        var rotated = (await api.Post($"/v1/api-keys/{made.String("api_key.id")}/rotate", new { })).Expect(201);
        (await api.Put($"{Acme}/profile", new { name = "Anna Muster", email = "anna@example.com", address = "Hauptstraße 1", country = "DE" })).Expect(200);
        (await api.Put($"{Acme}/profile", new { name = "Berta Muster" })).Expect(200);
        // A key where its id should be.
        (await api.Send(HttpMethod.Delete, $"/v1/api-keys/{made.String("key")}", "{}", made.String("key"))).Expect(404);

        Assert.Equal("""{"name":true,"email":true,"address":true,"country":true}""", (await Last(api, "profile.set"))["before"]!.ToJsonString());
        Assert.Null((await Last(api, "key.revoke"))["about"]);
        var text = string.Join('\n', (await Records(api)).Select(r => r.ToJsonString()))
            + string.Join('\n', await api.Services.Audit.List(new AuditFilter(), long.MaxValue, 500));
        foreach (var secret in (string?[])[made.String("key"), rotated.String("key"), made.String("key")![8..], Settings.DevelopmentKey, "Anna", "Berta", "anna@example.com", "Haupt"])
            Assert.DoesNotContain(secret!, text, StringComparison.OrdinalIgnoreCase);

        static async Task<JsonNode> Last(TestApi api, string what) => (await Records(api, $"?what={what}"))[0];
    }

    [Fact]
    public async Task the_record_is_listed_by_what_is_asked_for_page_by_page()
    {
        await using var api = await TestApi.Start("learning-community");
        foreach (var id in (string[])["acme", "beta", "gamma"])
        {
            await api.Open(id);
            api.Clock.Advance(NodaTime.Duration.FromMinutes(1));
        }
        Assert.Equal(["gamma", "beta", "acme"], (await Records(api, "?limit=1")).Select(r => (string?)r["organization"]));
        Assert.Equal(["beta"], (await Records(api, "?organization=beta")).Select(r => (string?)r["organization"]));
        Assert.Equal(["beta"], (await Records(api, "?from=2026-11-20T10:01:00Z&to=2026-11-20T10:02:00Z&caller=key_configured&what=organization.open")).Select(r => (string?)r["organization"]));
        Assert.Empty(await Records(api, "?caller=key_nobody"));
        (await api.Get("/v1/audit?what=nothing")).ExpectProblem(400, "invalid_parameter", "Known: organization.open, ", "what");
        (await api.Get("/v1/audit?from=2026-11-20T10:00:00Z&to=2026-11-20T10:00:00Z")).ExpectProblem(400, "invalid_parameter", "'from' must be before 'to'.", "from");
        (await api.Get("/v1/audit?cursor=x")).ExpectProblem(400, "invalid_parameter", "This cursor is not one of ours.", "cursor");
    }

    // ---- the command line

    private static async Task<(int Code, string Out)> Run(TestApi api, params string[] args)
    {
        var (text, error) = (new StringWriter(), new StringWriter());
        var code = await CommandLine.Run([.. args, "--journal", Path.Combine(api.Folder, "ledger.db")], new Terminal(Stream.Null, text, error, Stream.Null, new SettableClock(Sessions.At), InteractionSupport.No));
        Assert.Equal("", error.ToString());
        return (code, text.ToString());
    }

    [Fact]
    public async Task one_command_verifies_the_ledger_and_the_record_and_a_kept_head_finds_a_record_that_was_written_anew()
    {
        await using var api = await TestApi.Start("learning-community", folder: Directory.CreateTempSubdirectory("billing-").FullName);
        (await api.Get("/v1/audit/head")).Expect(404);
        await api.Open("acme");
        await api.Grant("acme", 10);
        var head = Path.Combine(api.Folder, "head.json");
        await File.WriteAllTextAsync(head, (await api.Get("/v1/audit/head")).Expect(200).Text);

        Assert.Equal((0, "1 organization, 2 events, 2 audit records: all good.\n"), await Run(api, "ledger", "verify", "--all"));
        Assert.StartsWith("good. 2 audit records, head ", (await Run(api, "audit", "verify")).Out, StringComparison.Ordinal);
        Assert.EndsWith(", and the kept head lies on them.\n", (await Run(api, "audit", "verify", "--head", head)).Out, StringComparison.Ordinal);
        Assert.Contains("2\t2026-11-20T10:00:00Z\tdevelopment (key_configured)\ttokens.grant\tacme\t-\ta test\tdone\n", (await Run(api, "audit", "list", "--org", "acme")).Out, StringComparison.Ordinal);

        LedgerSql(api, "UPDATE audit SET reason = 'another' WHERE number = 2");
        var bad = await Run(api, "ledger", "verify", "--all");
        Assert.Equal(1, bad.Code);
        Assert.Contains("the audit log", bad.Out, StringComparison.Ordinal);
        Assert.EndsWith("1 organization, 2 events, 1 audit record: 1 finding.\n", bad.Out, StringComparison.Ordinal);
        Assert.StartsWith("BAD at record 2: ", (await Run(api, "audit", "verify")).Out, StringComparison.Ordinal);
        var served = (await api.Get("/v1/audit/verify")).Expect(200);
        Assert.Equal((false, 2), (served.True("ok"), (int)served.Number("first_bad_number")));

        LedgerSql(api, "DELETE FROM audit WHERE number = 2");
        LedgerSql(api, "UPDATE audit_head SET number = 1, hash = (SELECT hash FROM audit WHERE number = 1)");
        Assert.Equal(0, (await Run(api, "audit", "verify")).Code);
        Assert.Equal((1, "BAD: The head that was kept is record 2, and the last one there is 1.\n"), await Run(api, "audit", "verify", "--head", head));
    }

    private static void LedgerSql(TestApi api, string sql)
    {
        using var connection = new Microsoft.Data.Sqlite.SqliteConnection($"Data Source={Path.Combine(api.Folder, "ledger.db")};Pooling=False");
        connection.Open();
        connection.Execute(sql);
    }
}
