using Billing.Grains;
using Xunit.Abstractions;

namespace Billing.Tests.Api;

/// <summary>The same key and content is the same request, for ever; the same key with other content is refused.</summary>
public sealed class IdempotencyTests(ITestOutputHelper output)
{
    private const string Usage = "/v1/organizations/acme/usage";
    private const string Batch = "/v1/organizations/acme/usage/batch";

    private static bool IsReplayed(Answer answer) => answer.Headers.GetValueOrDefault("Idempotency-Replayed") == "true";

    /// <summary>The record of a use, without the entitlement, which is as of now.</summary>
    private static string RecordOf(Answer answer)
    {
        var record = answer.Json.DeepClone().AsObject();
        record.Remove("entitlement");
        return record.ToJsonString();
    }

    private static async Task<decimal> Version(TestApi api) => (await api.Get("/v1/organizations/acme")).Expect(200).Number("version");

    [Fact]
    public async Task the_same_key_and_content_answers_what_was_recorded_with_the_entitlement_as_of_now()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Grant("acme", 10);
        for (var i = 0; i < 2; i++) (await api.Use("acme", "ai_requests")).Expect(201);

        // One by the allowance and two by tokens.
        var first = (await api.Post(Usage, """{"feature":"ai_requests","quantity":3,"metadata":{"model":"m","user":"7"}}""", "k-1")).Expect(201);
        (await api.Use("acme", "ai_requests")).Expect(201);
        var version = await Version(api);
        var again = (await api.Post(Usage, """{ "metadata" : { "user":"7", "model":"m" },  "quantity":3, "feature":"ai_requests" }""", "k-1")).Expect(201);

        Assert.False(IsReplayed(first));
        Assert.True(IsReplayed(again));
        Assert.Equal(RecordOf(first), RecordOf(again));
        Assert.Equal(1, again.Number("covered.allowance"));
        Assert.Equal(2, again.Number("covered.tokens"));
        Assert.Equal(5, first.Number("entitlement.used"));
        Assert.Equal(6, again.Number("entitlement.used"));
        Assert.Equal(7, again.Number("entitlement.tokens"));
        Assert.Equal(version, await Version(api));
        await api.VerifyLedger("acme");
    }

    [Theory]
    [InlineData("""{"feature":"ai_requests","quantity":2}""")]
    [InlineData("""{"feature":"projects","quantity":1}""")]
    [InlineData("""{"feature":"ai_requests","quantity":1,"enforce":true}""")]
    [InlineData("""{"feature":"ai_requests","quantity":1,"metadata":{}}""")]
    [InlineData("""{"feature":"ai_requests","quantity":1,"timestamp":"2026-11-20T10:00:00Z"}""")]
    public async Task the_same_key_with_other_content_is_refused_and_the_first_stands(string other)
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        const string body = """{"feature":"ai_requests","quantity":1}""";
        (await api.Post(Usage, body, "k-1")).Expect(201);
        var version = await Version(api);

        (await api.Post(Usage, other, "k-1")).ExpectProblem(409, "command_id_reused", "was used before with other content (k-1)", "Idempotency-Key");

        Assert.Equal(version, await Version(api));
        Assert.True(IsReplayed((await api.Post(Usage, body, "k-1")).Expect(201)));
    }

    [Fact]
    public async Task the_same_key_on_another_route_is_refused()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await api.Post("/v1/organizations/acme/tokens/grants", """{"tokens":5}""", "k-1")).Expect(201);

        (await api.Post(Usage, """{"tokens":5}""", "k-1")).ExpectProblem(400, "unknown_field", "");
        (await api.Post(Usage, """{"feature":"ai_requests","quantity":1}""", "k-1")).ExpectProblem(409, "command_id_reused", "other content");
        (await api.Put("/v1/organizations/acme/gauges/projects", """{"value":1}""", "k-1")).ExpectProblem(409, "command_id_reused", "other content");
    }

    [Fact]
    public async Task a_key_belongs_to_one_organization()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Open("beta");
        Assert.False(IsReplayed((await api.Use("acme", "ai_requests", key: "k-1")).Expect(201)));
        Assert.False(IsReplayed((await api.Use("beta", "ai_requests", 2, key: "k-1")).Expect(201)));
    }

    [Fact]
    public async Task every_route_that_changes_something_replays()
    {
        await using var api = await TestApi.Start("learning-community");
        (string Method, string Path, string Body, int Status)[] requests =
        [
            ("POST", "/v1/organizations", """{"id":"acme"}""", 201),
            ("POST", "/v1/organizations/acme/tokens/grants", """{"tokens":5,"kind":"promotional"}""", 201),
            ("POST", "/v1/organizations/acme/invitations", """{"plan":"creator-mentor"}""", 201),
            ("PUT", "/v1/organizations/acme/subscription", """{"plan":"creator-mentor"}""", 200),
            ("POST", Usage, """{"feature":"ai_requests","quantity":1}""", 201),
            ("POST", Batch, """{"atomic":true,"items":[{"feature":"ai_requests","quantity":1},{"feature":"projects","quantity":1}]}""", 201),
            ("PUT", "/v1/organizations/acme/gauges/projects", """{"value":7}""", 200),
            ("DELETE", "/v1/organizations/acme", """{"reason":"moved"}""", 200),
        ];
        for (var i = 0; i < requests.Length; i++)
        {
            var (method, path, body, status) = requests[i];
            var first = (await api.Send(new HttpMethod(method), path, body, $"k-{i}")).Expect(status);
            var version = await Version(api);
            var again = (await api.Send(new HttpMethod(method), path, body, $"k-{i}")).Expect(status);
            Assert.False(IsReplayed(first), path);
            Assert.True(IsReplayed(again), path);
            Assert.Equal(version, await Version(api));
        }
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task an_old_success_is_answered_after_the_quota_ran_out()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var first = (await api.Use("acme", "ai_requests", key: "k-1")).Expect(201);
        for (var i = 0; i < 2; i++) (await api.Use("acme", "ai_requests")).Expect(201);
        (await api.Use("acme", "ai_requests")).ExpectProblem(403, "quota_exceeded", "You have used all 3");

        var again = (await api.Use("acme", "ai_requests", key: "k-1")).Expect(201);

        Assert.True(IsReplayed(again));
        Assert.Equal(RecordOf(first), RecordOf(again));
        Assert.False(again.True("entitlement.has_access"));
    }

    [Fact]
    public async Task an_old_success_is_answered_after_more_commands_than_memory_holds_and_after_eviction_and_restart()
    {
        var folder = Directory.CreateTempSubdirectory("billing-").FullName;
        try
        {
            string first;
            await using (var api = await TestApi.Start("learning-community", folder: folder))
            {
                await api.Open("acme");
                first = RecordOf((await api.Use("acme", "ai_requests", 3, key: "k-1")).Expect(201));
                for (var i = 0; i <= CommandMemory.Capacity; i++) await api.Grant("acme", 1);
                for (var i = 0; i <= CommandMemory.Capacity; i++) (await api.Use("acme", "ai_requests")).Expect(201);
                (await api.Use("acme", "ai_requests")).ExpectProblem(403, "quota_exceeded", "");

                await StillAnswers(api, "it is no longer in memory");
                Assert.True(api.Residents.Evict(maxBytes: 0) > 0);
                await StillAnswers(api, "the actor was evicted");
            }
            await using (var api = await TestApi.Start("learning-community", at: "2027-03-01T00:00:00Z", folder: folder)) await StillAnswers(api, "the service was started anew");

            async Task StillAnswers(TestApi api, string because)
            {
                var version = await Version(api);
                var again = (await api.Use("acme", "ai_requests", 3, key: "k-1")).Expect(201);
                Assert.True(IsReplayed(again), because);
                Assert.Equal(first, RecordOf(again));
                (await api.Use("acme", "ai_requests", 2, key: "k-1")).ExpectProblem(409, "command_id_reused", "other content");
                Assert.Equal(version, await Version(api));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task a_denial_writes_nothing_and_is_decided_anew()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await api.Use("acme", "ai_requests", 3)).Expect(201);
        var version = await Version(api);
        (await api.Use("acme", "ai_requests", key: "k-1")).ExpectProblem(403, "quota_exceeded", "");
        (await api.Use("acme", "ai_requests", key: "k-1")).ExpectProblem(403, "quota_exceeded", "");
        Assert.Equal(version, await Version(api));

        await api.Grant("acme", 1);
        var decided = (await api.Use("acme", "ai_requests", key: "k-1")).Expect(201);

        Assert.False(IsReplayed(decided));
        Assert.Equal(version + 2, decided.Number("version"));
        Assert.True(IsReplayed((await api.Use("acme", "ai_requests", key: "k-1")).Expect(201)));
    }

    [Fact]
    public async Task a_key_that_was_denied_may_come_with_other_content()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await api.Use("acme", "ai_requests", 4, key: "k-1")).ExpectProblem(403, "quota_exceeded", "");
        Assert.False(IsReplayed((await api.Use("acme", "ai_requests", 3, key: "k-1")).Expect(201)));
    }

    // ---- batches

    [Fact]
    public async Task the_items_of_a_batch_are_known_by_their_ids_or_their_places()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Grant("acme", 100);
        const string body = """{"items":[{"id":"a","feature":"ai_requests","quantity":1},{"feature":"ai_requests","quantity":2},{"feature":"projects","quantity":1}]}""";
        var first = (await api.Post(Batch, body, "b-1")).Expect(200);
        Assert.Equal(3, first.Number("recorded"));
        Assert.False(IsReplayed(first));
        var ids = (await api.Get("/v1/organizations/acme/ledger")).Expect(200)["items"]!.AsArray().Where(e => (string?)e!["type"] == "usage-recorded").Select(e => (string?)e!["command_id"]);
        Assert.Equal(["b-1:a", "b-1:1", "b-1:2"], ids);
        var version = await Version(api);

        var again = (await api.Post(Batch, body, "b-1")).Expect(200);
        Assert.True(IsReplayed(again));
        Assert.Equal(3, again.Number("replayed"));
        Assert.Equal(0, again.Number("recorded"));
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal("replayed", again.String($"items.{i}.status"));
            Assert.Equal(first.At($"items.{i}.usage")!.ToJsonString(), again.At($"items.{i}.usage")!.ToJsonString());
        }
        Assert.Equal(version, await Version(api));

        // An item with an id keeps it wherever it stands; the new ones beside it are recorded.
        var moved = (await api.Post(Batch, """{"items":[{"feature":"ai_requests","quantity":5},{"feature":"ai_requests","quantity":2},{"feature":"projects","quantity":1},{"id":"a","quantity":1,"feature":"ai_requests"}]}""", "b-1")).Expect(200);
        Assert.Equal(["recorded", "replayed", "replayed", "replayed"], moved["items"]!.AsArray().Select(i => (string?)i!["status"]));
        Assert.False(IsReplayed(moved));

        var changed = (await api.Post(Batch, """{"items":[{"id":"a","feature":"ai_requests","quantity":9}]}""", "b-1")).Expect(200);
        Assert.Equal("rejected", changed.String("items.0.status"));
        Assert.Equal("command_id_reused", changed.String("items.0.problem.code"));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task the_same_item_twice_in_one_batch_is_recorded_once()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var batch = (await api.Post(Batch, """{"items":[{"id":"a","feature":"ai_requests","quantity":1},{"id":"a","feature":"ai_requests","quantity":1},{"id":"a","feature":"ai_requests","quantity":2}]}""")).Expect(200);

        Assert.Equal(["recorded", "replayed", "rejected"], batch["items"]!.AsArray().Select(i => (string?)i!["status"]));
        Assert.Equal(batch.At("items.0.usage")!.ToJsonString(), batch.At("items.1.usage")!.ToJsonString());
        Assert.Equal("command_id_reused", batch.String("items.2.problem.code"));
        Assert.Equal(1, (await api.Check("acme", "ai_requests")).Number("used"));
    }

    [Fact]
    public async Task an_atomic_batch_that_was_refused_is_decided_anew_and_one_that_was_recorded_replays_whole()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        const string body = """{"atomic":true,"items":[{"feature":"projects","quantity":1},{"feature":"ai_requests","quantity":4}]}""";
        var version = await Version(api);
        (await api.Post(Batch, body, "b-1")).ExpectProblem(403, "quota_exceeded", "");
        Assert.Equal(version, await Version(api));
        Assert.Equal(0, (await api.Check("acme", "projects")).Number("used"));

        await api.Grant("acme", 1);
        var recorded = (await api.Post(Batch, body, "b-1")).Expect(201);
        var again = (await api.Post(Batch, body, "b-1")).Expect(201);

        Assert.Equal(2, recorded.Number("recorded"));
        Assert.True(IsReplayed(again));
        Assert.Equal(recorded.At("items.1.usage.id")!.ToJsonString(), again.At("items.1.usage.id")!.ToJsonString());
        // The tokens, the two uses, and the alert that the allowance is used up.
        Assert.Equal(version + 4, await Version(api));
    }

    // ---- at the same time

    [Fact]
    public async Task fifty_identical_requests_at_once_make_one_record()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");

        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => api.Use("acme", "ai_requests", 2, key: "k-1")));

        Assert.All(answers, a => a.Expect(201));
        Assert.Equal(49, answers.Count(IsReplayed));
        Assert.Single(answers.Select(RecordOf).Distinct());
        Assert.Single((await api.Get("/v1/organizations/acme/usage/records")).Expect(200)["items"]!.AsArray());
        Assert.Equal(2, (await api.Check("acme", "ai_requests")).Number("used"));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task fifty_requests_at_once_with_one_key_and_two_contents_record_one_of_them()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");

        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(i => api.Use("acme", "ai_requests", 1 + i % 2, key: "k-1")));

        Assert.Equal(25, answers.Count(a => a.Status == 201));
        Assert.Equal(25, answers.Count(a => a is { Status: 409, Code: "command_id_reused" }));
        Assert.Single(answers.Where(a => a.Status == 201).Select(RecordOf).Distinct());
        Assert.Single((await api.Get("/v1/organizations/acme/usage/records")).Expect(200)["items"]!.AsArray());
    }

    [Fact]
    public async Task an_organization_is_opened_once_by_fifty_requests_at_once()
    {
        await using var api = await TestApi.Start("learning-community");
        var same = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => api.Post("/v1/organizations", """{"id":"acme"}""", "k-1")));
        Assert.All(same, a => a.Expect(201));
        var others = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => api.Post("/v1/organizations", """{"id":"acme"}""")));
        Assert.All(others, a => a.ExpectProblem(409, "organization_exists", ""));
        Assert.Equal(1, await Version(api));
    }

    /// <summary>Many callers who each send everything twice, in random orders and at once: every request has one effect.</summary>
    [Fact]
    public async Task whatever_is_sent_twice_at_once_is_recorded_once()
    {
        const int seed = 20_261_120;
        output.WriteLine($"seed {seed}");
        var random = new Random(seed);
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme", plan: "pro-learn");
        var requests = Enumerable.Range(0, 100).SelectMany(i => (int[])[i, i]).ToArray();
        random.Shuffle(requests);

        var answers = await Task.WhenAll(requests.Select(async i => (Request: i, Answer: await api.Use("acme", "ai_requests", 1 + i % 3, key: $"k-{i}"))));

        foreach (var pair in answers.GroupBy(a => a.Request))
        {
            Assert.All(pair, a => a.Answer.Expect(201));
            Assert.Single(pair, a => IsReplayed(a.Answer));
            Assert.Single(pair.Select(a => RecordOf(a.Answer)).Distinct());
        }
        Assert.Equal(Enumerable.Range(0, 100).Sum(i => 1 + i % 3), (await api.Check("acme", "ai_requests")).Number("used"));
        await api.VerifyLedger("acme");
    }
}
