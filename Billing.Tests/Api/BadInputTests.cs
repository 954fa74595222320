using System.Net.Http.Headers;
using System.Text;

namespace Billing.Tests.Api;

/// <summary>Bad input gets a clear error and changes nothing: every answer here is a problem with its code and its sentence.</summary>
public sealed class BadInputTests(BadInputTests.Fixture fixture) : IClassFixture<BadInputTests.Fixture>
{
    private const string Usage = "/v1/organizations/acme/usage";
    private const string Batch = "/v1/organizations/acme/usage/batch";

    private readonly TestApi api = fixture.Api;

    /// <summary>One service for all of these tests, because none of them changes anything. It was opened in October and it is November.</summary>
    public sealed class Fixture : IAsyncLifetime
    {
        public TestApi Api { get; private set; } = null!;

        public async Task InitializeAsync()
        {
            Api = await TestApi.Start("app-builder", at: "2026-10-15T10:00:00Z");
            await Api.Open("acme");
            Api.Clock.Now = TestApi.Time("2026-11-20T10:00:00Z");
        }

        public async Task DisposeAsync() => await Api.DisposeAsync();
    }

    /// <summary>Sends it, expects the refusal, and sees that every organization is as it was.</summary>
    private async Task Refused(Func<Task<Answer>> send, int status, string code, string sentence, string? field = null)
    {
        var before = (await api.Get("/v1/organizations")).Expect(200).Text;
        (await send()).ExpectProblem(status, code, sentence, field);
        Assert.Equal(before, (await api.Get("/v1/organizations")).Text);
    }

    // ---- what is named

    [Theory]
    [InlineData("GET", "/v1/organizations/nobody", null)]
    [InlineData("GET", "/v1/organizations/nobody/entitlements", null)]
    [InlineData("GET", "/v1/organizations/nobody/entitlements/projects", null)]
    [InlineData("GET", "/v1/organizations/nobody/entitlements/projects/explain", null)]
    [InlineData("POST", "/v1/organizations/nobody/entitlements/check", """{"items":[{"feature":"projects"}]}""")]
    [InlineData("POST", "/v1/organizations/nobody/usage", """{"feature":"ai_embeddings","quantity":1}""")]
    [InlineData("POST", "/v1/organizations/nobody/usage/batch", """{"items":[{"feature":"ai_embeddings","quantity":1}]}""")]
    [InlineData("POST", "/v1/organizations/nobody/usage/batch", """{"items":[{"feature":"ai_embeddings"}]}""")]
    [InlineData("PUT", "/v1/organizations/nobody/gauges/projects", """{"value":1}""")]
    [InlineData("POST", "/v1/organizations/nobody/holds", """{"feature":"ai_embeddings","quantity":1}""")]
    [InlineData("GET", "/v1/organizations/nobody/holds", null)]
    [InlineData("POST", "/v1/organizations/nobody/holds/ho_2/settle", """{"quantity":1}""")]
    [InlineData("DELETE", "/v1/organizations/nobody/holds/ho_2", null)]
    [InlineData("GET", "/v1/organizations/nobody/overrides", null)]
    [InlineData("PUT", "/v1/organizations/nobody/overrides/projects", """{"allowance":1}""")]
    [InlineData("DELETE", "/v1/organizations/nobody/overrides/projects", null)]
    [InlineData("GET", "/v1/organizations/nobody/spend-caps", null)]
    [InlineData("PUT", "/v1/organizations/nobody/spend-caps", """{"organization":1}""")]
    [InlineData("GET", "/v1/organizations/nobody/usage/current", null)]
    [InlineData("GET", "/v1/organizations/nobody/usage/records", null)]
    [InlineData("GET", "/v1/organizations/nobody/usage/history?feature=projects", null)]
    [InlineData("GET", "/v1/organizations/nobody/tokens", null)]
    [InlineData("GET", "/v1/organizations/nobody/tokens/transactions", null)]
    [InlineData("POST", "/v1/organizations/nobody/tokens/grants", """{"tokens":1}""")]
    [InlineData("GET", "/v1/organizations/nobody/subscription", null)]
    [InlineData("PUT", "/v1/organizations/nobody/subscription", """{"plan":"pro"}""")]
    [InlineData("POST", "/v1/organizations/nobody/invitations", """{"plan":"pro"}""")]
    [InlineData("GET", "/v1/organizations/nobody/ledger", null)]
    [InlineData("GET", "/v1/organizations/nobody/ledger/verify", null)]
    [InlineData("GET", "/v1/organizations/nobody/ledger/export", null)]
    [InlineData("GET", "/v1/organizations/nobody/ledger/head", null)]
    [InlineData("DELETE", "/v1/organizations/nobody", null)]
    [InlineData("POST", "/v1/api-keys", """{"name":"n","organization":"nobody"}""")]
    public Task an_unknown_organization_is_not_found(string method, string path, string? body) =>
        Refused(() => api.Send(new HttpMethod(method), path, body, TestApi.NewKey()), 404, "organization_unknown", "There is no organization 'nobody'.");

    [Theory]
    [InlineData("GET", "/v1/organizations/acme/entitlements/nothing", null)]
    [InlineData("GET", "/v1/organizations/acme/entitlements/projects%0A", null)]
    [InlineData("GET", "/v1/organizations/acme/entitlements/nothing/explain", null)]
    [InlineData("POST", "/v1/organizations/acme/entitlements/check", """{"items":[{"feature":"projects"},{"feature":"nothing"}]}""")]
    [InlineData("POST", Usage, """{"feature":"nothing","quantity":1}""")]
    [InlineData("POST", Usage, """{"feature":"","quantity":1}""")]
    [InlineData("POST", Batch, """{"atomic":true,"items":[{"feature":"ai_embeddings","quantity":1},{"feature":"nothing","quantity":1}]}""")]
    [InlineData("PUT", "/v1/organizations/acme/gauges/nothing", """{"value":1}""")]
    [InlineData("POST", "/v1/organizations/acme/holds", """{"feature":"nothing","quantity":1}""")]
    [InlineData("PUT", "/v1/organizations/acme/overrides/nothing", """{"allowance":1}""")]
    [InlineData("DELETE", "/v1/organizations/acme/overrides/nothing", null)]
    [InlineData("GET", "/v1/organizations/acme/usage/history?feature=nothing", null)]
    public Task an_unknown_feature_is_not_found(string method, string path, string? body) =>
        Refused(() => api.Send(new HttpMethod(method), path, body, TestApi.NewKey()), 404, "feature_unknown", "The catalog has no feature '", "feature");

    [Theory]
    [InlineData("POST", "/v1/organizations", """{"id":"beta","plan":"nothing"}""")]
    [InlineData("PUT", "/v1/organizations/acme/subscription", """{"plan":"nothing"}""")]
    [InlineData("POST", "/v1/organizations/acme/invitations", """{"plan":"nothing"}""")]
    public Task an_unknown_plan_is_not_found(string method, string path, string body) =>
        Refused(() => api.Send(new HttpMethod(method), path, body, TestApi.NewKey()), 404, "plan_unknown", "The catalog has no plan 'nothing'.", "plan");

    [Fact]
    public Task an_unknown_time_zone_is_refused() => Refused(
        () => api.Post("/v1/organizations", """{"id":"beta","time_zone":"Mars/Olympus"}"""), 400, "time_zone_unknown", "'Mars/Olympus' is no time zone. Write an IANA name", "time_zone");

    [Fact]
    public Task an_organization_is_opened_once() => Refused(
        () => api.Post("/v1/organizations", """{"id":"acme"}"""), 409, "organization_exists", "There is an organization 'acme' already.", "id");

    // ---- ids

    public static TheoryData<string> BadIds => ["", ".acme", "-acme", "ac me", "acme\n", "acme/b", "acme:b", "acmé", "acme%", new string('a', 65)];

    [Theory]
    [MemberData(nameof(BadIds))]
    public Task an_organization_id_with_forbidden_characters_is_refused_in_a_body(string id) => Refused(
        () => api.Post("/v1/organizations", new { id }), 400, "organization_id_invalid", "An organization id matches ^[A-Za-z0-9]", "id");

    [Theory]
    [MemberData(nameof(BadIds))]
    public async Task an_organization_id_with_forbidden_characters_is_refused_in_a_path(string id)
    {
        if (id.Length == 0) return;
        var path = $"/v1/organizations/{Uri.EscapeDataString(id)}";
        await Refused(() => api.Get(path), 400, "organization_id_invalid", "An organization id matches", "organization");
        await Refused(() => api.Post(path + "/usage", """{"feature":"ai_embeddings","quantity":1}"""), 400, "organization_id_invalid", "An organization id matches", "organization");
    }

    [Fact]
    public async Task an_id_of_64_characters_is_good()
    {
        await using var own = await TestApi.Start("app-builder");
        var id = "a" + new string('9', 61) + "._";
        await own.Open(id);
        (await own.Get($"/v1/organizations/{id}")).Expect(200);
    }

    // ---- the Idempotency-Key

    [Theory]
    [InlineData("/v1/organizations", """{"id":"beta"}""")]
    [InlineData(Usage, """{"feature":"ai_embeddings","quantity":1}""")]
    [InlineData(Batch, """{"items":[{"feature":"ai_embeddings","quantity":1}]}""")]
    [InlineData("/v1/organizations/acme/tokens/grants", """{"tokens":1}""")]
    [InlineData("/v1/organizations/acme/invitations", """{"plan":"pro"}""")]
    public async Task a_post_that_changes_something_needs_an_idempotency_key(string path, string body)
    {
        await Refused(() => api.Send(HttpMethod.Post, path, body), 400, "idempotency_key_missing", "Send an Idempotency-Key header", "Idempotency-Key");
        await Refused(() => api.Send(HttpMethod.Post, path, body, key: ""), 400, "idempotency_key_missing", "Send an Idempotency-Key header", "Idempotency-Key");
    }

    [Theory]
    [InlineData("stripe:payment:pi_1", "Keys that begin with stripe: or ledger: are the service's own.")]
    [InlineData("ledger:due:1", "Keys that begin with stripe: or ledger: are the service's own.")]
    [InlineData("with space", "one value of 1 to 255 printable ASCII characters without spaces")]
    public async Task an_idempotency_key_that_cannot_be_used_is_refused(string key, string sentence)
    {
        await Refused(() => api.Post(Usage, """{"feature":"ai_embeddings","quantity":1}""", key), 400, "idempotency_key_invalid", sentence, "Idempotency-Key");
        // Where it may be left out, it may not be wrong either.
        await Refused(() => api.Put("/v1/organizations/acme/gauges/projects", """{"value":1}""", key), 400, "idempotency_key_invalid", sentence, "Idempotency-Key");
        await Refused(() => api.Put("/v1/organizations/acme/subscription", """{"plan":"pro"}""", key), 400, "idempotency_key_invalid", sentence, "Idempotency-Key");
    }

    [Fact]
    public async Task an_idempotency_key_has_at_most_255_ascii_characters_and_comes_once()
    {
        const string body = """{"feature":"ai_embeddings","quantity":1}""";
        string[] head = [$"POST {Usage}", "Authorization: Bearer bk_test_development", "Content-Type: application/json"];
        await Refused(() => api.Post(Usage, body, new string('k', 256)), 400, "idempotency_key_invalid", "1 to 255", "Idempotency-Key");
        await Refused(() => api.Raw(body, [.. head, "Idempotency-Key: ключ"]), 400, "idempotency_key_invalid", "printable ASCII", "Idempotency-Key");
        await Refused(() => api.Raw(body, [.. head, "Idempotency-Key: one", "Idempotency-Key: two"]), 400, "idempotency_key_invalid", "one value", "Idempotency-Key");
    }

    // ---- quantities

    [Theory]
    [InlineData("ai_embeddings", "-1", "quantity_not_positive", "A quantity is more than 0.")]
    [InlineData("ai_embeddings", "0", "quantity_not_positive", "A quantity is more than 0.")]
    [InlineData("ai_embeddings", "-0.0", "quantity_not_positive", "A quantity is more than 0.")]
    [InlineData("projects", "0", "quantity_not_positive", "A quantity is more than 0.")]
    [InlineData("ai_embeddings", "0.5", "quantity_too_precise", "0.5 is too precise: 'embedding' is counted in whole numbers.")]
    [InlineData("build_hours", "1.001", "quantity_too_precise", "1.001 is too precise: 'hour' has at most 2 decimal places.")]
    [InlineData("ai_embeddings", "1e30", "quantity_too_large", "A quantity is at most 1000000000000000.")]
    [InlineData("ai_embeddings", "1e300", "quantity_too_large", "A quantity is at most 1000000000000000.")]
    [InlineData("ai_embeddings", "1000000000000001", "quantity_too_large", "A quantity is at most 1000000000000000.")]
    [InlineData("build_hours", "10000000000000.01", "quantity_too_large", "A quantity is at most 10000000000000.")]
    [InlineData("projects", "-1000000000000001", "quantity_too_large", "A quantity is at most 1000000000000000.")]
    [InlineData("ai_embeddings", "1234567890123456789012345678901234567890", "invalid_field", "A quantity has at most 28 digits.")]
    [InlineData("ai_embeddings", "0.1234567890123456789012345678901234567890", "invalid_field", "A quantity has at most 28 digits.")]
    [InlineData("ai_embeddings", "\"3\"", "invalid_field", "A quantity is a JSON number such as 3 or 12.5.")]
    [InlineData("ai_embeddings", "\"NaN\"", "invalid_field", "A quantity is a JSON number such as 3 or 12.5.")]
    [InlineData("ai_embeddings", "true", "invalid_field", "A quantity is a JSON number such as 3 or 12.5.")]
    [InlineData("ai_embeddings", "[3]", "invalid_field", "A quantity is a JSON number such as 3 or 12.5.")]
    [InlineData("ai_embeddings", "{}", "invalid_field", "A quantity is a JSON number such as 3 or 12.5.")]
    [InlineData("ai_embeddings", "null", "missing_field", "Say how much of it was used.")]
    public async Task a_quantity_that_is_no_quantity_is_refused(string feature, string quantity, string code, string sentence)
    {
        await Refused(() => api.Post(Usage, $$"""{"feature":"{{feature}}","quantity":{{quantity}}}"""), 400, code, sentence, "quantity");
        await Refused(() => api.Post(Batch, $$"""{"atomic":true,"items":[{"feature":"{{feature}}","quantity":{{quantity}}}]}"""), 400, code, sentence);
    }

    [Theory]
    [InlineData("NaN")]
    [InlineData("Infinity")]
    [InlineData("1.")]
    [InlineData("01")]
    [InlineData("+1")]
    [InlineData("0x10")]
    public Task a_number_that_is_not_json_is_refused(string quantity) => Refused(
        () => api.Post(Usage, $$"""{"feature":"ai_embeddings","quantity":{{quantity}}}"""), 400, "invalid_json", "The body cannot be read as JSON");

    [Fact]
    public async Task the_greatest_quantity_is_taken()
    {
        await using var own = await TestApi.Start("app-builder");
        await own.Open("acme");
        var used = (await own.Post(Usage, """{"feature":"build_hours","quantity":10000000000000,"enforce":false}""")).Expect(201);
        Assert.Equal(10_000_000_000_000m, used.Number("quantity"));
        await own.VerifyLedger("acme");
    }

    [Fact]
    public async Task a_feature_is_used_as_its_meter_says()
    {
        await Refused(() => api.Post(Usage, """{"feature":"basic","quantity":1}"""), 400, "feature_not_metered", "'basic' is not metered: there is no use of it to record.", "feature");
        await Refused(() => api.Get("/v1/organizations/acme/usage/history?feature=basic"), 400, "feature_not_metered", "'basic' is not metered", "feature");
        await Refused(() => api.Put("/v1/organizations/acme/gauges/basic", """{"value":1}"""), 400, "feature_not_metered", "'basic' is not metered", "feature");
        await Refused(() => api.Put("/v1/organizations/acme/gauges/build_hours", """{"value":1}"""), 400, "feature_not_gauge", "'build_hours' is no gauge", "feature");
        await Refused(() => api.Post(Usage, """{"feature":"build_hours","quantity":1,"unit":"minute"}"""), 400, "unit_mismatch", "'build_hours' is counted in 'hour'.", "unit");
        await Refused(() => api.Post(Usage, """{"feature":"build_hours","quantity":1,"unit":""}"""), 400, "unit_mismatch", "'build_hours' is counted in 'hour'.", "unit");
    }

    [Theory]
    [InlineData("""{"value":-1}""", "invalid_field", "A gauge stands at 0 or more.")]
    [InlineData("""{"value":-1e30}""", "invalid_field", "A gauge stands at 0 or more.")]
    [InlineData("""{"value":"1"}""", "invalid_field", "A quantity is a JSON number")]
    [InlineData("""{"value":0.5}""", "quantity_too_precise", "'project' is counted in whole numbers")]
    [InlineData("""{"value":1000000000000001}""", "quantity_too_large", "A quantity is at most 1000000000000000.")]
    [InlineData("""{"value":null}""", "missing_field", "Say the gauge's value.")]
    [InlineData("{}", "missing_field", "Say the gauge's value.")]
    public Task a_gauge_is_set_to_a_quantity(string body, string code, string sentence) =>
        Refused(() => api.Put("/v1/organizations/acme/gauges/projects", body), 400, code, sentence, "value");

    [Fact]
    public Task a_gauge_does_not_go_below_zero() => Refused(
        () => api.Post(Usage, """{"feature":"projects","quantity":-1}"""), 400, "gauge_below_zero", "The gauge stands at 0 and cannot go below 0.", "quantity");

    // ---- times

    [Theory]
    [InlineData("\"2026-11-20T10:05:00.000001Z\"", 400, "timestamp_in_future", "The timestamp is more than 5 minutes ahead of 2026-11-20T10:00:00Z.")]
    [InlineData("\"2026-11-20T11:05:01+01:00\"", 400, "timestamp_in_future", "The timestamp is more than 5 minutes ahead")]
    [InlineData("\"9999-12-31T23:59:59Z\"", 400, "timestamp_in_future", "The timestamp is more than 5 minutes ahead")]
    [InlineData("\"2026-10-16T09:59:59.999999Z\"", 409, "window_closed", "The timestamp lies in a window that is closed for good. Use is taken from 2026-10-16T10:00:00Z on: late use at most 35 days old.")]
    [InlineData("\"2026-10-15T09:59:59.999999Z\"", 400, "before_opening", "The organization was opened at 2026-10-15T10:00:00Z; there is no use before that.")]
    [InlineData("\"0001-01-01T00:00:00Z\"", 400, "before_opening", "The organization was opened at")]
    [InlineData("\"2026-11-20T10:00:00\"", 400, "invalid_field", "A time is written like 2026-11-20T10:00:00Z (RFC 3339, with its offset).")]
    [InlineData("\"2026-11-20\"", 400, "invalid_field", "A time is written like")]
    [InlineData("\"2026-02-30T10:00:00Z\"", 400, "invalid_field", "A time is written like")]
    [InlineData("\"2026-11-20T25:00:00Z\"", 400, "invalid_field", "A time is written like")]
    [InlineData("\"9999-12-31T23:59:59-18:00\"", 400, "invalid_field", "A time is written like")]
    [InlineData("\"yesterday at ten o'clock\"", 400, "invalid_field", "A time is written like")]
    [InlineData("\"\"", 400, "invalid_field", "A time is written like")]
    [InlineData("1795168800", 400, "invalid_field", "A time is written like")]
    [InlineData("{}", 400, "invalid_field", "A time is written like")]
    public Task a_timestamp_lies_in_a_window_that_is_kept(string timestamp, int status, string code, string sentence) => Refused(
        () => api.Post(Usage, $$"""{"feature":"ai_embeddings","quantity":1,"timestamp":{{timestamp}}}"""), status, code, sentence, "timestamp");

    [Fact]
    public async Task a_timestamp_exactly_5_minutes_ahead_is_taken_and_counts_now()
    {
        await using var own = await TestApi.Start("app-builder");
        await own.Open("acme");
        var used = (await own.Post(Usage, """{"feature":"ai_embeddings","quantity":1,"timestamp":"2026-11-20T11:05:00+01:00"}""")).Expect(201);
        Assert.Equal("2026-11-20T10:05:00Z", used.String("timestamp"));
        Assert.Equal(1, used.Number("entitlement.used"));
    }

    // ---- metadata

    public static TheoryData<string, string, string, string> BadMetadata => new()
    {
        { $"{{{string.Join(",", Enumerable.Range(0, 21).Select(i => $"\"k{i}\":\"v\""))}}}", "metadata_too_large", "Metadata has at most 20 entries.", "metadata" },
        { $$"""{"{{new string('k', 41)}}":"v"}""", "metadata_too_large", "A metadata key has 1 to 40 characters and a value at most 500.", "metadata" },
        { """{"":"v"}""", "metadata_too_large", "A metadata key has 1 to 40 characters", "metadata" },
        { $$"""{"k":"{{new string('v', 501)}}"}""", "metadata_too_large", "a value at most 500", "metadata" },
        { """{"k":null}""", "invalid_field", "Metadata values are texts.", "metadata.k" },
        { """{"k":1}""", "invalid_field", "The field 'metadata.k' has a wrong value.", "metadata.k" },
        { """{"k":{"nested":"v"}}""", "invalid_field", "The field 'metadata.k' has a wrong value.", "metadata.k" },
        { "\"text\"", "invalid_field", "The field 'metadata' has a wrong value.", "metadata" },
        { "[]", "invalid_field", "The field 'metadata' has a wrong value.", "metadata" },
        { "3", "invalid_field", "The field 'metadata' has a wrong value.", "metadata" },
    };

    [Theory]
    [MemberData(nameof(BadMetadata))]
    public async Task metadata_is_a_few_short_texts(string metadata, string code, string sentence, string field)
    {
        await Refused(() => api.Post(Usage, $$"""{"feature":"ai_embeddings","quantity":1,"metadata":{{metadata}}}"""), 400, code, sentence, field);
        await Refused(() => api.Post(Batch, $$"""{"atomic":true,"items":[{"feature":"ai_embeddings","quantity":1,"metadata":{{metadata}}}]}"""), 400, code,
            sentence.Replace("'metadata", "'items[0].metadata", StringComparison.Ordinal), "items[0]." + field);
    }

    // ---- JSON

    [Theory]
    [InlineData("POST", "/v1/organizations", """{"id":"beta","nmae":"B"}""", "nmae")]
    [InlineData("POST", "/v1/organizations", """{"ID":"beta"}""", "ID")]
    [InlineData("POST", "/v1/organizations", """{"id":"beta","timeZone":"UTC"}""", "timeZone")]
    [InlineData("DELETE", "/v1/organizations/acme", """{"why":"moved"}""", "why")]
    [InlineData("POST", Usage, """{"feature":"ai_embeddings","quantity":1,"amount":1}""", "amount")]
    [InlineData("POST", Usage, """{"feature":"ai_embeddings","quantity":1,"id":"x"}""", "id")]
    [InlineData("POST", Batch, """{"items":[{"feature":"ai_embeddings","quantity":1}],"all":true}""", "all")]
    [InlineData("POST", Batch, """{"atomic":true,"items":[{"feature":"ai_embeddings","quantity":1},{"feature":"ai_embeddings","quantity":1,"amount":1}]}""", "items[1].amount")]
    [InlineData("PUT", "/v1/organizations/acme/gauges/projects", """{"value":1,"quantity":1}""", "quantity")]
    [InlineData("POST", "/v1/organizations/acme/entitlements/check", """{"items":[{"feature":"projects"}],"feature":"projects"}""", "feature")]
    [InlineData("POST", "/v1/organizations/acme/entitlements/check", """{"items":[{"feature":"projects"},{"feature":"projects","amount":1}]}""", "items[1].amount")]
    [InlineData("POST", "/v1/organizations/acme/tokens/grants", """{"tokens":1,"expires":"2027-01-01T00:00:00Z"}""", "expires")]
    [InlineData("PUT", "/v1/organizations/acme/subscription", """{"plan":"pro","rhythm":"month"}""", "rhythm")]
    [InlineData("POST", "/v1/organizations/acme/invitations", """{"plan":"pro","to":"a@example.com"}""", "to")]
    [InlineData("POST", "/v1/api-keys", """{"name":"n","role":"admin"}""", "role")]
    public Task an_unknown_field_is_refused_by_its_name(string method, string path, string body, string field) => Refused(
        () => api.Send(new HttpMethod(method), path, body, TestApi.NewKey()), 400, "unknown_field", $"There is no field '{field}' here.", field);

    [Fact]
    public async Task an_unknown_field_of_one_item_refuses_that_item_alone()
    {
        await using var own = await TestApi.Start("app-builder");
        await own.Open("acme");
        var batch = (await own.Post(Batch, """{"items":[{"feature":"ai_embeddings","quantity":1},{"feature":"ai_embeddings","quantity":1,"amount":1}]}""")).Expect(200);
        Assert.Equal("recorded", batch.String("items.0.status"));
        Assert.Equal("rejected", batch.String("items.1.status"));
        Assert.Equal("unknown_field", batch.String("items.1.problem.code"));
        Assert.Equal("items[1].amount", batch.String("items.1.problem.field"));
        Assert.Equal(1, (await own.Check("acme", "ai_embeddings")).Number("used"));
    }

    public static TheoryData<string> BadJson =>
    [
        "{", "}", "nothing", "{\"feature\":\"ai_embeddings\",\"quantity\":1", "{'feature':'ai_embeddings'}", "{\"feature\":\"ai_embeddings\",\"quantity\":1,}",
        "{\"feature\":\"ai_embeddings\",\"quantity\":1} trailing", "// comment\n{}", "[]", "[{\"feature\":\"ai_embeddings\",\"quantity\":1}]", "null", "3", "\"text\"",
        "{\"feature\":\"ai_embeddings\",\"feature\":\"projects\",\"quantity\":1}",
        "{\"feature\":\"ai_embeddings\",\"quantity\":1,\"qu\\u0061ntity\":2}",
        "{\"feature\":\"ai_embeddings\",\"quantity\":1,\"metadata\":{\"k\":\"1\",\"k\":\"2\"}}",
        "{\"metadata\":" + string.Concat(Enumerable.Repeat("[", 40)) + string.Concat(Enumerable.Repeat("]", 40)) + "}",
        "{\"metadata\":" + string.Concat(Enumerable.Repeat("{\"k\":", 5_000)) + "1" + new string('}', 5_000) + "}",
    ];

    [Theory]
    [MemberData(nameof(BadJson))]
    public async Task a_body_that_is_not_one_json_object_without_repeats_is_refused(string body)
    {
        await Refused(() => api.Post(Usage, body), 400, "invalid_json", "The body");
        await Refused(() => api.Post(Batch, body), 400, "invalid_json", "The body");
        await Refused(() => api.Post("/v1/organizations", body), 400, "invalid_json", "The body");
    }

    [Theory]
    [InlineData("{\"feature\":\"\\ud800\",\"quantity\":1}")]
    [InlineData("{\"\\ud800\":1}")]
    [InlineData("{\"feature\":\"ai_embeddings\",\"quantity\":1,\"metadata\":{\"\\udc00\":\"v\"}}")]
    [InlineData("{\"feature\":\"ai_embeddings\",\"quantity\":1,\"metadata\":{\"k\":\"\\ud800\"}}")]
    [InlineData("{\"items\":[{\"feature\":\"\\ud800\",\"quantity\":1}],\"atomic\":true}")]
    [InlineData("{\"items\":[{\"\\ud800\":\"ai_embeddings\",\"quantity\":1}],\"atomic\":true}")]
    public async Task half_a_character_is_a_bad_request_like_any_other(string body)
    {
        foreach (var path in (string[])[Usage, Batch])
        {
            var answer = await api.Post(path, body);
            answer.ExpectProblem(400, answer.Code ?? "", "");
        }
    }

    [Fact]
    public async Task bytes_that_are_no_utf8_are_refused()
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, Usage) { Content = new ByteArrayContent([.. "{\"feature\":\""u8, 0xff, 0xfe, .. "\",\"quantity\":1}"u8]) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        request.Headers.Add("Idempotency-Key", TestApi.NewKey());
        var answer = await api.Send(request);
        answer.ExpectProblem(400, answer.Code ?? "", "");
    }

    [Fact]
    public async Task a_body_that_is_too_large_is_refused()
    {
        var body = $$"""{"feature":"ai_embeddings","quantity":1,"unit":"{{new string('x', 64 * 1024)}}"}""";
        await Refused(() => api.Post(Usage, body), 413, "body_too_large", "The body may have at most 65536 bytes here.");
        await Refused(() => api.Post("/v1/organizations", body), 413, "body_too_large", "The body may have at most 65536 bytes here.");
        // Without its length told beforehand.
        await Refused(async () =>
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, Usage) { Content = new StringContent(body, Encoding.UTF8, "application/json") };
            request.Headers.TransferEncodingChunked = true;
            request.Headers.Add("Idempotency-Key", TestApi.NewKey());
            return await api.Send(request);
        }, 413, "body_too_large", "The body may have at most 65536 bytes here.");
    }

    [Theory]
    [InlineData("POST", Usage, "text/plain")]
    [InlineData("POST", Usage, "application/x-www-form-urlencoded")]
    [InlineData("POST", Batch, "text/csv")]
    [InlineData("POST", "/v1/organizations", "application/xml")]
    [InlineData("POST", "/v1/organizations/acme/entitlements/check", "text/plain")]
    [InlineData("POST", "/v1/organizations/acme/tokens/grants", "text/plain")]
    [InlineData("PUT", "/v1/organizations/acme/subscription", "text/plain")]
    [InlineData("PUT", "/v1/organizations/acme/gauges/projects", "text/plain")]
    [InlineData("DELETE", "/v1/organizations/acme", "text/plain")]
    [InlineData("POST", "/v1/api-keys", "text/plain")]
    public Task a_body_that_is_not_said_to_be_json_is_refused(string method, string path, string contentType) => Refused(async () =>
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path) { Content = new StringContent("""{"feature":"ai_embeddings","quantity":1}""") };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue(contentType);
        request.Headers.Add("Idempotency-Key", TestApi.NewKey());
        return await api.Send(request);
    }, 415, "unsupported_media_type", $"The body is '{contentType}'. Send Content-Type: application/json.");

    [Fact]
    public Task a_body_without_a_content_type_is_refused() => Refused(
        () => api.Raw("""{"feature":"ai_embeddings","quantity":1}""", $"POST {Usage}", "Authorization: Bearer bk_test_development", "Idempotency-Key: no-content-type"),
        415, "unsupported_media_type", "Send Content-Type: application/json.");

    [Theory]
    [InlineData("POST", "/v1/organizations", "id", "An organization needs an id.")]
    [InlineData("POST", Usage, "feature", "Say which feature was used.")]
    [InlineData("POST", Batch, "items", "A batch has at least one item")]
    [InlineData("POST", "/v1/organizations/acme/entitlements/check", "items", "Name at least one feature")]
    [InlineData("POST", "/v1/organizations/acme/tokens/grants", "tokens", "Say how many tokens.")]
    [InlineData("PUT", "/v1/organizations/acme/subscription", "plan", "Say which plan.")]
    [InlineData("POST", "/v1/organizations/acme/invitations", "plan", "Say which plan.")]
    [InlineData("POST", "/v1/api-keys", "name", "Name the key, in 1 to 100 characters.")]
    public async Task a_field_that_is_missing_is_named(string method, string path, string field, string sentence)
    {
        await Refused(() => api.Send(new HttpMethod(method), path, "{}", TestApi.NewKey()), 400, "missing_field", sentence, field);
        await Refused(() => api.Send(new HttpMethod(method), path, null, TestApi.NewKey()), 400, "missing_field", sentence, field);
    }

    [Theory]
    [InlineData("POST", "/v1/organizations", """{"id":3}""", "id")]
    [InlineData("POST", "/v1/organizations", """{"id":"beta","test":"yes"}""", "test")]
    [InlineData("POST", "/v1/organizations", """{"id":"beta","plan":["pro"]}""", "plan")]
    [InlineData("DELETE", "/v1/organizations/acme", """{"reason":3}""", "reason")]
    [InlineData("POST", Usage, """{"feature":3,"quantity":1}""", "feature")]
    [InlineData("POST", Usage, """{"feature":"ai_embeddings","quantity":1,"enforce":"no"}""", "enforce")]
    [InlineData("POST", Usage, """{"feature":"ai_embeddings","quantity":1,"unit":1}""", "unit")]
    [InlineData("POST", Batch, """{"atomic":"yes","items":[{"feature":"ai_embeddings","quantity":1}]}""", "atomic")]
    [InlineData("POST", Batch, """{"atomic":true,"items":[3]}""", "items[0]")]
    [InlineData("POST", Batch, """{"atomic":true,"items":[null]}""", "items[0]")]
    [InlineData("POST", Batch, """{"atomic":true,"items":[{"id":"","feature":"ai_embeddings","quantity":1}]}""", "items[0].id")]
    [InlineData("POST", Batch, """{"atomic":true,"items":[{"id":"a b","feature":"ai_embeddings","quantity":1}]}""", "items[0].id")]
    [InlineData("POST", Batch, """{"atomic":true,"items":[{"id":7,"feature":"ai_embeddings","quantity":1}]}""", "items[0].id")]
    [InlineData("POST", "/v1/organizations/acme/entitlements/check", """{"items":"projects"}""", "items")]
    [InlineData("POST", "/v1/organizations/acme/entitlements/check", """{"items":[{"feature":"projects","quantity":"1"}]}""", "items[0].quantity")]
    [InlineData("POST", "/v1/organizations/acme/tokens/grants", """{"tokens":1.5}""", "tokens")]
    [InlineData("POST", "/v1/organizations/acme/tokens/grants", """{"tokens":"1"}""", "tokens")]
    [InlineData("POST", "/v1/organizations/acme/tokens/grants", """{"tokens":1e30}""", "tokens")]
    [InlineData("POST", "/v1/organizations/acme/tokens/grants", """{"tokens":1,"kind":"bought"}""", "kind")]
    [InlineData("POST", "/v1/organizations/acme/tokens/grants", """{"tokens":1,"priority":101}""", "priority")]
    [InlineData("POST", "/v1/organizations/acme/tokens/grants", """{"tokens":1,"priority":-1}""", "priority")]
    [InlineData("POST", "/v1/organizations/acme/tokens/grants", """{"tokens":1,"expires_at":"soon"}""", "expires_at")]
    [InlineData("POST", "/v1/api-keys", """{"name":"n","organization":3}""", "organization")]
    public Task a_field_of_a_wrong_type_is_named(string method, string path, string body, string field) => Refused(
        () => api.Send(new HttpMethod(method), path, body, TestApi.NewKey()), 400, "invalid_field", "", field);

    [Theory]
    [InlineData("""{"items":[{"feature":"projects"},null]}""")]
    [InlineData("""{"items":[{"feature":"projects"},{"quantity":1}]}""")]
    [InlineData("""{"items":[{"feature":"projects"},{"feature":null}]}""")]
    public Task each_feature_to_check_is_named(string body) => Refused(
        () => api.Post("/v1/organizations/acme/entitlements/check", body), 400, "missing_field", "Each item names its feature.", "items[1].feature");

    [Fact]
    public async Task tokens_are_granted_in_good_numbers_for_a_time_to_come()
    {
        const string path = "/v1/organizations/acme/tokens/grants";
        await Refused(() => api.Post(path, """{"tokens":0}"""), 400, "quantity_not_positive", "A quantity is more than 0.", "tokens");
        await Refused(() => api.Post(path, """{"tokens":-5}"""), 400, "quantity_not_positive", "A quantity is more than 0.", "tokens");
        await Refused(() => api.Post(path, """{"tokens":1000000000000001}"""), 400, "quantity_too_large", "A quantity is at most 1000000000000000.", "tokens");
        await Refused(() => api.Post(path, """{"tokens":1,"expires_at":"2026-11-20T10:00:00Z"}"""), 400, "expiry_in_past", "Tokens cannot expire before they are granted.", "expires_at");
        await Refused(() => api.Post(path, new { tokens = 1, reason = new string('r', 501) }), 400, "invalid_field", "A reason has at most 500 characters.", "reason");
    }

    // ---- batches

    [Fact]
    public async Task a_batch_has_one_to_1000_items_and_an_atomic_one_to_20()
    {
        await Refused(() => api.Post(Batch, """{"items":[]}"""), 400, "missing_field", "A batch has at least one item", "items");
        await Refused(() => api.Post(Batch, """{"items":null}"""), 400, "missing_field", "A batch has at least one item", "items");
        await Refused(() => api.Post(Batch, """{"items":{}}"""), 400, "missing_field", "A batch has at least one item", "items");
        await Refused(() => api.Post(Batch, Items(1_001, atomic: false)), 400, "batch_too_large", "A batch has at most 1000 items.", "items");
        await Refused(() => api.Post(Batch, Items(21, atomic: true)), 400, "batch_too_large", "An atomic batch has at most 20 items.", "items");
        await Refused(() => api.Post("/v1/organizations/acme/entitlements/check", Items(101, atomic: null)), 400, "batch_too_large", "At most 100 features are checked at once.", "items");

        static object Items(int count, bool? atomic)
        {
            var items = Enumerable.Range(0, count).Select(_ => new { feature = "ai_embeddings", quantity = 1 });
            return atomic is null ? new { items } : new { atomic, items };
        }
    }

    // ---- query parameters

    [Theory]
    [InlineData("/v1/organizations?limit=0", "limit", "'0' is no limit. Write a number from 1 to 500.")]
    [InlineData("/v1/organizations?limit=501", "limit", "'501' is no limit.")]
    [InlineData("/v1/organizations?limit=-1", "limit", "'-1' is no limit.")]
    [InlineData("/v1/organizations?limit=ten", "limit", "'ten' is no limit.")]
    [InlineData("/v1/organizations?limit=", "limit", "'' is no limit.")]
    [InlineData("/v1/organizations?limit=99999999999999999999", "limit", "is no limit.")]
    [InlineData("/v1/organizations?cursor=x", "cursor", "This cursor is not one of ours.")]
    [InlineData("/v1/stripe/events?cursor=!!", "cursor", "This cursor is not one of ours.")]
    [InlineData("/v1/stripe/events?limit=1.5", "limit", "'1.5' is no limit.")]
    [InlineData("/v1/stripe/events?state=lost", "state", "'lost' is unknown. Known: pending, applied, ignored, unclaimed, failed.")]
    [InlineData("/v1/organizations/acme/ledger?limit=0", "limit", "'0' is no limit.")]
    [InlineData("/v1/organizations/acme/ledger?cursor=Zm9v", "cursor", "This cursor is not one of ours.")]
    [InlineData("/v1/organizations/acme/ledger?cursor=YzE6YWNtZQ", "cursor", "This cursor is not one of ours.")]
    [InlineData("/v1/organizations/acme/ledger?after=x", "after", "'after' is a version: 0 or more.")]
    [InlineData("/v1/organizations/acme/ledger?after=-1", "after", "'after' is a version: 0 or more.")]
    [InlineData("/v1/organizations/acme/ledger?type=nothing", "type", "There are no 'nothing' events. Known: organization-opened")]
    [InlineData("/v1/organizations/acme/usage/records?limit=1000", "limit", "'1000' is no limit.")]
    [InlineData("/v1/organizations/acme/usage/records?cursor=%0A", "cursor", "This cursor is not one of ours.")]
    [InlineData("/v1/organizations/acme/tokens/transactions?limit=x", "limit", "'x' is no limit.")]
    [InlineData("/v1/organizations/acme/entitlements/projects?quantity=x", "quantity", "'x' is no quantity. Write a number such as 3 or 12.5.")]
    [InlineData("/v1/organizations/acme/entitlements/projects?quantity=", "quantity", "'' is no quantity.")]
    [InlineData("/v1/organizations/acme/entitlements/projects?quantity=1e3", "quantity", "'1e3' is no quantity.")]
    [InlineData("/v1/organizations/acme/entitlements/projects?quantity=NaN", "quantity", "'NaN' is no quantity.")]
    [InlineData("/v1/organizations/acme/entitlements/projects?quantity=1234567890123456789012345678901234567890", "quantity", "is no quantity.")]
    [InlineData("/v1/organizations/acme/entitlements/projects?quantity=1.0000000000000000000000000000000000000001", "quantity", "is no quantity.")]
    [InlineData("/v1/organizations/acme/entitlements/projects/explain?quantity=1,5", "quantity", "'1,5' is no quantity.")]
    [InlineData("/v1/organizations/acme/usage/history", "feature", "Say which feature: ?feature=….")]
    [InlineData("/v1/organizations/acme/usage/history?feature=projects&bucket=week", "bucket", "'week' is unknown. Known: hour, day, month.")]
    [InlineData("/v1/organizations/acme/usage/history?feature=projects&from=yesterday", "from", "'yesterday' is no time. Write it like 2026-11-20T10:00:00Z.")]
    [InlineData("/v1/organizations/acme/usage/history?feature=projects&to=2026-11-20T10:00:00", "to", "is no time.")]
    [InlineData("/v1/organizations/acme/usage/history?feature=projects&to=9999-12-31T23:59:59-18:00", "to", "is no time.")]
    [InlineData("/v1/organizations/acme/usage/history?feature=projects&from=2026-11-20T10:00:00Z&to=2026-11-20T10:00:00Z", "from", "'from' is before 'to'.")]
    [InlineData("/v1/organizations/acme/usage/history?feature=projects&from=2025-01-01T00:00:00Z&bucket=hour", "bucket", "At most 1000 buckets are given at once.")]
    [InlineData("/v1/organizations/acme/usage/history?feature=projects&from=0001-01-01T00:00:00Z&bucket=day", "bucket", "At most 1000 buckets are given at once.")]
    public Task a_query_parameter_that_makes_no_sense_is_named(string path, string field, string sentence) =>
        Refused(() => api.Get(path), 400, "invalid_parameter", sentence, field);

    [Theory]
    [InlineData("?quantity=0", "quantity_not_positive")]
    [InlineData("?quantity=-1", "quantity_not_positive")]
    [InlineData("?quantity=0.5", "quantity_too_precise")]
    [InlineData("?quantity=1000000000000001", "quantity_too_large")]
    public async Task a_check_asks_for_a_quantity_that_could_be_used(string query, string code)
    {
        await Refused(() => api.Get("/v1/organizations/acme/entitlements/ai_embeddings" + query), 400, code, "", "quantity");
        await Refused(() => api.Get("/v1/organizations/acme/entitlements/ai_embeddings/explain" + query), 400, code, "", "quantity");
    }

    [Theory]
    [InlineData("/v1/organizations/acme/ledger?after=9223372036854775807")]
    [InlineData("/v1/organizations/acme/ledger?cursor=YzE6OTIyMzM3MjAzNjg1NDc3NTgwNw")]
    public async Task a_page_after_the_last_possible_version_is_empty(string path) => Assert.Empty((await api.Get(path)).Expect(200)["items"]!.AsArray());

    [Theory]
    [InlineData("hour")]
    [InlineData("day")]
    [InlineData("month")]
    public async Task a_history_near_the_ends_of_the_calendar_is_answered_and_past_them_refused(string bucket)
    {
        var path = $"/v1/organizations/acme/usage/history?feature=projects&bucket={bucket}&from=";
        (await api.Get(path + "9998-12-31T22:30:00-18:00&to=9998-12-31T23:59:59-18:00")).Expect(200);
        (await api.Get(path + "0001-01-01T00:00:00Z&to=0001-01-02T00:00:00Z")).Expect(200);
        await Refused(() => api.Get(path + "9999-12-31T22:30:00Z&to=9999-12-31T23:59:59Z"), 400, "invalid_parameter", "'9999-12-31T23:59:59Z' is no time.", "to");
        await Refused(() => api.Get(path + "0000-12-31T00:00:00Z"), 400, "invalid_parameter", "'0000-12-31T00:00:00Z' is no time.", "from");
    }

    // ---- routes

    [Theory]
    [InlineData("DELETE", "/v1/plans")]
    [InlineData("PATCH", "/v1/organizations/acme")]
    [InlineData("GET", "/v1/organizations/acme/usage")]
    [InlineData("POST", "/v1/organizations/acme/subscription")]
    [InlineData("POST", "/v1/organizations/acme/gauges/projects")]
    [InlineData("GET", "/webhooks/stripe")]
    [InlineData("POST", "/health")]
    public async Task a_method_that_a_route_does_not_have_is_not_allowed(string method, string path)
    {
        await Refused(() => api.Send(new HttpMethod(method), path), 405, "method_not_allowed", $"{method} is not allowed at {path}.");
        Assert.NotEmpty((await api.Send(new HttpMethod(method), path)).Headers["Allow"]);
    }

    [Theory]
    [InlineData("GET", "/v1/nothing")]
    [InlineData("GET", "/v1")]
    [InlineData("POST", "/v1/organizations/acme/nothing")]
    [InlineData("GET", "/nothing")]
    [InlineData("GET", "/v2/organizations")]
    [InlineData("GET", "/openapi/v2.json")]
    public Task a_route_that_is_not_there_is_not_found(string method, string path) =>
        Refused(() => api.Send(new HttpMethod(method), path), 404, "not_found", $"There is nothing at {path}.");

    [Theory]
    [InlineData("GET", "/problems/nothing", "There is no error code 'nothing'.")]
    [InlineData("DELETE", "/v1/api-keys/key_nothing", "There is no key 'key_nothing' to revoke.")]
    [InlineData("POST", "/v1/stripe/events/evt_nothing/replay", "There is no event 'evt_nothing' with a body to replay.")]
    public Task what_a_route_names_and_is_not_there_is_not_found(string method, string path, string sentence) =>
        Refused(() => api.Send(new HttpMethod(method), path), 404, "not_found", sentence);

    [Fact]
    public async Task every_code_of_a_problem_has_its_page()
    {
        var problem = (await api.Post(Usage, """{"feature":"nothing","quantity":1}""")).Expect(404);
        var page = (await api.Get(new Uri(problem.String("type")!).PathAndQuery)).Expect(200);
        Assert.Equal("feature_unknown", page.Code);
        Assert.Equal(problem.String("title"), page.String("title"));
        foreach (var known in (await api.Get("/problems")).Expect(200).Json.AsArray())
            (await api.Get($"/problems/{known!["code"]}")).Expect(200);
    }
}
