using System.Diagnostics;
using Microsoft.Data.Sqlite;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>What callers see while the journal does not answer. Here somebody else holds the file, so that nothing can be written.</summary>
public sealed class OutageApiTests
{
    private const string Catalog = """
        {
          "currency": "usd", "fallback_plan": "free", "on_journal_outage": "answer",
          "features": { "jobs": { "name": "jobs", "type": "metered", "meter": { "unit": "job", "window": "month" }, "mode": "block" } },
          "plans": { "free": { "name": "Free", "features": { "jobs": 300 } } }
        }
        """;

    private const string Timeout = "--Billing:JournalTimeoutMilliseconds=1000";

    [Fact]
    public async Task commands_get_503_in_time_and_checks_are_answered_from_memory_and_every_answer_says_so()
    {
        await using var api = await Start(Catalog);
        Assert.DoesNotContain("Ledger-Journal", (await api.Check("acme", "jobs")).Headers.Keys);
        Assert.Equal("ready", (await api.Get("/health/ready", api.Anonymous)).Expect(200).String("status"));
        using var holder = Hold(api);

        var waited = Stopwatch.StartNew();
        var first = await api.Use("acme", "jobs", 2, "lost");
        Assert.True(waited.Elapsed < TimeSpan.FromSeconds(3), $"It took {waited.Elapsed}.");
        first.ExpectProblem(503, "journal_unavailable", "the same Idempotency-Key");
        await UntilReady(api, "checks_only");

        // Now it is known, and nobody waits.
        waited.Restart();
        for (var i = 0; i < 20; i++) AssertUnavailable(await api.Use("acme", "jobs", 1, $"u{i}"));
        AssertUnavailable(await api.Post("/v1/organizations", new { id = "globex" }));
        Assert.True(waited.Elapsed < TimeSpan.FromSeconds(2), $"They took {waited.Elapsed}.");

        var check = (await api.Check("acme", "jobs")).Expect(200);
        Assert.Equal(7, check.Number("used"));
        AssertSaid(check);
        AssertSaid((await api.Get("/v1/organizations/acme/entitlements")).Expect(200));
        AssertSaid((await api.Post("/v1/organizations/acme/entitlements/check", new { items = new[] { new { feature = "jobs" } } })).Expect(200));
        AssertSaid((await api.Get("/v1/ping")).Expect(200));
        var ready = (await api.Get("/health/ready", api.Anonymous)).Expect(200);
        Assert.Equal(("checks_only", "unavailable", "2026-11-20T10:00:00Z"), (ready.String("status"), ready.String("journal"), ready.String("since")));

        Release(holder);
        await UntilReady(api);

        Assert.DoesNotContain("Ledger-Journal", (await api.Check("acme", "jobs")).Headers.Keys);
        // Whether what was lost on its way had been written is found by sending it again.
        (await api.Use("acme", "jobs", 2, "lost")).Expect(201);
        Assert.Equal(9, (await api.Check("acme", "jobs")).Number("used"));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task after_the_time_that_is_set_checks_are_refused_too()
    {
        await using var api = await Start(Catalog, "--Billing:OutageAnswerSeconds=60");
        using var holder = Hold(api);
        await Break(api);

        api.Clock.Advance(Duration.FromSeconds(59));
        (await api.Check("acme", "jobs")).Expect(200);
        api.Clock.Advance(Duration.FromSeconds(1));

        AssertUnavailable(await api.Check("acme", "jobs"));
        Assert.Equal("unavailable", (await api.Get("/health/ready", api.Anonymous)).Expect(503).String("status"));
        Release(holder);
        await UntilReady(api);
        (await api.Check("acme", "jobs")).Expect(200);
    }

    [Fact]
    public async Task a_catalog_that_says_deny_has_no_answers_from_memory()
    {
        await using var api = await Start(Catalog.Replace("\"answer\"", "\"deny\"", StringComparison.Ordinal));
        using var holder = Hold(api);
        await Break(api);

        AssertUnavailable(await api.Check("acme", "jobs"));

        Assert.Equal("unavailable", (await api.Get("/health/ready", api.Anonymous)).Expect(503).String("status"));
        Release(holder);
        await UntilReady(api);
        (await api.Check("acme", "jobs")).Expect(200);
    }

    [Fact]
    public async Task what_stands_beside_the_streams_is_unavailable_in_the_same_words()
    {
        await using var api = await Start(Catalog);
        using var holder = Hold(api);

        AssertUnavailable(await api.Put("/v1/organizations/acme/profile", new { name = "Acme" }));

        Release(holder);
        await UntilReady(api);
        (await api.Put("/v1/organizations/acme/profile", new { name = "Acme" })).Expect(200);
    }

    private static async Task<TestApi> Start(string catalog, params string[] args)
    {
        var api = await TestApi.Start(catalog, args: [Timeout, .. args]);
        await api.Open("acme");
        (await api.Use("acme", "jobs", 7)).Expect(201);
        return api;
    }

    private static SqliteConnection Hold(TestApi api)
    {
        var connection = new SqliteConnection($"Data Source={Path.Combine(api.Folder, "ledger.db")};Pooling=False");
        connection.Open();
        Run(connection, "BEGIN IMMEDIATE");
        return connection;
    }

    private static void Release(SqliteConnection holder) => Run(holder, "ROLLBACK");

    private static void Run(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    private static void AssertUnavailable(Answer answer)
    {
        answer.ExpectProblem(503, "journal_unavailable", "the same Idempotency-Key");
        Assert.Equal("1", answer.Headers["Retry-After"]);
        AssertSaid(answer);
    }

    private static void AssertSaid(Answer answer) => Assert.Equal("unavailable; since=2026-11-20T10:00:00Z", answer.Headers["Ledger-Journal"]);

    /// <summary>Somebody finds out, and from then on it is known.</summary>
    private static async Task Break(TestApi api)
    {
        (await api.Use("acme", "jobs")).ExpectProblem(503, "journal_unavailable", "the same Idempotency-Key");
        for (var waited = Stopwatch.StartNew(); !api.Services.Health.IsOut; await Task.Delay(10)) Assert.True(waited.Elapsed < TimeSpan.FromSeconds(30), "Nobody finds out.");
    }

    private static async Task UntilReady(TestApi api, string status = "ready")
    {
        for (var waited = Stopwatch.StartNew(); (await api.Get("/health/ready", api.Anonymous)).String("status") != status; await Task.Delay(10))
            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(30), "It does not come about.");
    }
}
