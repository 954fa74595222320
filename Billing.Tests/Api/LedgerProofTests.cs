using System.Text;
using Billing.Grains.Journal;
using Billing.Tests.Journal;
using Microsoft.Data.Sqlite;

namespace Billing.Tests.Api;

/// <summary>What the API hands out as proof: the whole stream, its signed head, and what verifying it comes to.</summary>
public sealed class LedgerProofTests
{
    private static async Task<TestApi> Start(int uses = 3)
    {
        var api = await TestApi.Start("quantum");
        await api.Open("acme");
        await api.Grant("acme", 1_000);
        for (var i = 0; i < uses; i++) await api.Grant("acme", 10 + i);
        await api.Open("zenith");
        return api;
    }

    [Fact]
    public async Task an_export_over_http_is_verified_without_the_service()
    {
        await using var api = await Start();

        var answer = (await api.Get("/v1/organizations/acme/ledger/export")).Expect(200);

        Assert.Equal("application/x-ndjson", answer.Headers["Content-Type"]);
        Assert.Equal("attachment; filename=\"acme.ndjson\"", answer.Headers["Content-Disposition"]);
        var report = await LedgerFile.VerifyExport(Encoding.UTF8.GetBytes(answer.Text));
        Assert.Null(report.Problem);
        Assert.Equal(("acme", 5L), (report.Organization, report.Events));
        var verified = (await api.Get("/v1/organizations/acme/ledger/verify")).Expect(200);
        Assert.True(verified.True("ok"));
        Assert.Equal(Convert.ToHexStringLower(report.Head), verified.String("head"));
    }

    [Fact]
    public async Task a_long_export_is_sent_in_pieces_and_is_whole()
    {
        await using var api = await TestApi.Start("quantum");
        await api.Open("acme");
        var state = await api.Services.Journal.ReadHead("acme");
        // Behind the actor's back, because 5,000 requests are many: the chain does not care who writes.
        var events = new List<StoredEvent>();
        for (var version = 2L; version <= 5_000; version++)
        {
            var e = new StoredEvent("acme", version, "customer-linked", 1, api.Clock.Now, api.Clock.Now, $"link-{version}", new byte[32], Encoding.UTF8.GetBytes($$"""{"customer":"cus_{{version % 3}}"}"""), []);
            events.Add(e with { Hash = e.ComputeHash(events.Count == 0 ? state!.Hash : events[^1].Hash) });
        }
        await api.Services.Journal.AppendGroup([new StreamAppend("acme", 1, events, null)]);

        using var response = await api.Http.GetAsync("/v1/organizations/acme/ledger/export", HttpCompletionOption.ResponseHeadersRead);

        Assert.Null(response.Content.Headers.ContentLength);
        var report = await ChainVerifier.Verify(await LedgerExport.Read(await response.Content.ReadAsStreamAsync()));
        Assert.Equal((null, 5_000L), (report.Problem, report.Events));
    }

    [Fact]
    public async Task a_signed_head_is_good_by_itself_and_lies_on_every_later_export()
    {
        await using var api = await Start();
        var kept = SignedHead.Parse(Encoding.UTF8.GetBytes((await api.Get("/v1/organizations/acme/ledger/head")).Expect(200).Text));
        await api.Grant("acme", 77);
        await using var restarted = await api.Restart();
        var later = SignedHead.Parse(Encoding.UTF8.GetBytes((await restarted.Get("/v1/organizations/acme/ledger/head")).Expect(200).Text));

        Assert.Null(kept.Problem(null));
        Assert.Equal(("acme", 5L, api.Clock.Now), (kept.Organization, kept.Version, kept.SignedAt));
        // The key is the journal's: it outlives the process.
        Assert.Equal((6L, kept.KeyId, kept.PublicKey), (later.Version, later.KeyId, later.PublicKey));
        var export = Encoding.UTF8.GetBytes((await restarted.Get("/v1/organizations/acme/ledger/export")).Text);
        Assert.Null((await LedgerFile.VerifyExport(export, kept.Head)).Problem);
        Assert.Null((await LedgerFile.VerifyExport(export, later.Head)).Problem);
    }

    [Theory]
    [InlineData("export")]
    [InlineData("head")]
    [InlineData("verify")]
    public async Task an_organization_sees_its_own_and_nobody_sees_what_is_not_there(string route)
    {
        await using var api = await Start();
        using var acme = await api.ClientOf("acme");

        (await api.Get($"/v1/organizations/acme/ledger/{route}", acme)).Expect(200);
        (await api.Get($"/v1/organizations/zenith/ledger/{route}", acme)).ExpectProblem(404, "organization_unknown", "There is no organization 'zenith'.");
        (await api.Get($"/v1/organizations/nobody/ledger/{route}")).ExpectProblem(404, "organization_unknown", "There is no organization 'nobody'.");
        (await api.Get($"/v1/organizations/acme/ledger/{route}", api.Anonymous)).ExpectProblem(401, "unauthenticated", "Send an API key");
    }

    [Theory]
    [InlineData("UPDATE events SET type = 'usage-imagined' WHERE organization = 'acme' AND version = 3", 3, "The hash of version 3 does not follow from what is stored.")]
    [InlineData("UPDATE events SET command_id = CAST(command_id AS BLOB) WHERE organization = 'acme' AND version = 3", 3, "Version 3 is damaged: command_id is stored as a blob instead of a text.")]
    [InlineData("UPDATE events SET effective_at = 9223372036854775807 WHERE organization = 'acme' AND version = 1", 1, "Version 1 is damaged: effective_at is 9223372036854775807, which is no time.")]
    [InlineData("UPDATE streams SET hash = 'x' WHERE organization = 'acme'", 5, "The head's row is damaged: hash is stored as a text instead of a blob.")]
    [InlineData("DELETE FROM streams WHERE organization = 'acme'", 1, "Version 1 is stored; its head is at 0.")]
    [InlineData("DELETE FROM events WHERE organization = 'acme'", 1, "The stream ends at version 0; its head is at 5.")]
    public async Task what_the_actor_could_not_even_load_is_verified_and_named(string tampering, long version, string problem)
    {
        await using var api = await Start();
        await using var fresh = await Tampered(api, tampering);

        var answer = (await fresh.Get("/v1/organizations/acme/ledger/verify")).Expect(200);

        Assert.Equal((false, problem, version), (answer.True("ok"), answer.String("problem"), (long)answer.Number("first_bad_version")));
        Assert.True((await fresh.Get("/v1/organizations/zenith/ledger/verify")).True("ok"));
    }

    [Fact]
    public async Task an_export_that_cannot_be_whole_is_no_whole_answer()
    {
        await using var api = await Start();
        await using var fresh = await Tampered(api, "UPDATE events SET body = 'text' WHERE organization = 'acme' AND version = 4");

        await Assert.ThrowsAnyAsync<HttpRequestException>(() => fresh.Get("/v1/organizations/acme/ledger/export"));
    }

    [Fact]
    public async Task a_head_is_as_the_document_says()
    {
        await using var api = await Start(0);
        var schema = (await api.Get("/openapi/v1.json")).Json["components"]!["schemas"]!["SignedHead"]!;

        var head = (await api.Get("/v1/organizations/acme/ledger/head")).Expect(200).Json.AsObject();

        Assert.Equal(schema["required"]!.AsArray().Select(n => (string)n!).Order(), head.Select(m => m.Key).Order());
        Assert.Equal(schema["properties"]!.AsObject().Select(p => p.Key).Order(), head.Select(m => m.Key).Order());
    }

    /// <summary>A service that has loaded nothing yet, on the journal as it is after this.</summary>
    private static async Task<TestApi> Tampered(TestApi api, string sql)
    {
        using (var connection = new SqliteConnection($"Data Source={Path.Combine(api.Folder, "ledger.db")};Pooling=False"))
        {
            connection.Open();
            LedgerFile.Execute(connection, sql);
        }
        return await api.Restart();
    }
}
