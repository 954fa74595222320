using System.Text.Json.Nodes;
using Billing.Cli;
using Billing.Tests.Api;
using Spectre.Console;
using CommandLine = Billing.Cli.Program;

namespace Billing.Tests.Cli;

/// <summary>`billing keys`: the first key, and keys for whoever has none.</summary>
public sealed class KeyCommandTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("billing-").FullName;

    private string Journal => Path.Combine(folder, "ledger.db");

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private async Task<(int Code, string Out, string Error)> Run(params string[] args)
    {
        var (text, error) = (new StringWriter(), new StringWriter());
        var code = await CommandLine.Run(["keys", .. args, "--journal", Journal], new Terminal(Stream.Null, text, error, Stream.Null, new SettableClock(TestApi.Time("2026-11-20T10:00:00Z")), InteractionSupport.No));
        return (code, text.ToString(), error.ToString());
    }

    [Fact]
    public async Task the_first_key_is_made_before_the_service_ever_started_and_opens_it()
    {
        var made = await Run("create", "first operator");
        Assert.Equal(0, made.Code);
        var key = made.Out.Trim();
        Assert.StartsWith("bk_live_", key, StringComparison.Ordinal);
        Assert.Contains("for all organizations: entitlements:read, usage:write, billing:manage, ledger:read, ops. The key is shown this once.", made.Error, StringComparison.Ordinal);

        // Outside Development it does not start without any key; with this one it does.
        await using var api = await TestApi.Start("learning-community", folder: folder, args: ["--environment=Production"]);
        using var client = api.Client(key);
        (await api.Post("/v1/organizations", new { id = "acme" }, by: client)).Expect(201);
        (await api.Get("/v1/ping")).ExpectProblem(401, "unauthenticated", "");
    }

    [Fact]
    public async Task keys_are_made_listed_rotated_and_revoked_while_the_service_runs()
    {
        await using var api = await TestApi.Start("learning-community", folder: folder);
        await api.Open("acme");
        var made = JsonNode.Parse((await Run("create", "acme's", "--organization", "acme", "--scope", "usage:write", "entitlements:read", "--expires", "2027-01-01T00:00:00Z", "--json")).Out)!;
        await api.Services.Keys.Refresh();
        using var old = api.Client((string?)made["key"]);
        (await api.Use("acme", "ai_requests", by: old)).Expect(201);
        (await api.Get("/v1/organizations/acme/ledger", old)).ExpectProblem(403, "insufficient_scope", "");

        var listed = await Run("list");
        Assert.Matches("acme's .* acme .* entitlements:read usage:write .* bk_live_…[0-9a-f]{4} .* 2026-11-20T10:00:00Z .* 2027-01-01T00:00:00Z", listed.Out);
        Assert.DoesNotContain((string?)made["key"] ?? "", listed.Out, StringComparison.Ordinal);

        var rotated = JsonNode.Parse((await Run("rotate", (string)made["id"]!, "--overlap-hours", "0", "--json")).Out)!;
        await api.Services.Keys.Refresh();
        using var next = api.Client((string?)rotated["key"]);
        (await api.Use("acme", "ai_requests", by: old)).ExpectProblem(401, "unauthenticated", "");
        (await api.Use("acme", "ai_requests", by: next)).Expect(201);

        Assert.Equal((0, $"{rotated["id"]} is revoked. A running service refuses it within seconds.{Environment.NewLine}"), ((await Run("revoke", (string)rotated["id"]!)) is var (code, text, _) ? (code, text) : default));
        await api.Services.Keys.Refresh();
        (await api.Use("acme", "ai_requests", by: next)).ExpectProblem(401, "unauthenticated", "");

        // By whom, the system says.
        var records = await api.List("/v1/audit?caller=billing-keys");
        Assert.Equal(
            [("key.revoke", "acme", (string?)rotated["id"], "done"), ("key.rotate", "acme", (string?)made["id"], "done"), ("key.create", "acme", null, "done")],
            records.Select(r => ((string?)r["what"]!, (string?)r["organization"]!, (string?)r["about"], (string?)r["outcome"]!)));
        Assert.All(records, r => Assert.Equal(Environment.UserName, (string?)r["caller_name"]));
        Assert.Equal((string?)made["id"], (string?)records[^1]["after"]!["id"]);
        Assert.True((await api.Get("/v1/audit/verify")).True("ok"));
    }

    [Theory]
    [InlineData("There is no organization 'nobody'.", "create", "x", "--organization", "nobody")]
    [InlineData("Scopes are entitlements:read, usage:write, billing:manage, ledger:read, ops.", "create", "x", "--scope", "all")]
    [InlineData("'tomorrow' is no time: write it as 2027-01-01T00:00:00Z.", "create", "x", "--expires", "tomorrow")]
    [InlineData("It would have expired already.", "create", "x", "--expires", "2026-11-20T10:00:00Z")]
    [InlineData("There is no key 'key_1' to rotate: it is unknown, or was revoked or rotated.", "rotate", "key_1")]
    [InlineData("The overlap is 0 to 720 hours, and not 721.", "rotate", "key_1", "--overlap-hours", "721")]
    [InlineData("There is no key 'key_1' to revoke.", "revoke", "key_1")]
    public async Task what_cannot_be_is_said(string why, params string[] args)
    {
        var answer = await Run(args);

        Assert.Equal((2, why), (answer.Code, answer.Error.Trim()));
    }
}
