using System.IO.Compression;
using System.Text.Json.Nodes;
using Billing.Grains.Journal;
using Billing.Tests.Stripe;

namespace Billing.Tests.Api;

/// <summary>What is kept of an organization can be had, and what is personal of it can be erased.</summary>
public sealed class ExportTests
{
    private static async Task<Dictionary<string, byte[]>> Export(TestApi api, string organization)
    {
        using var zip = new ZipArchive(new MemoryStream(await api.Http.GetByteArrayAsync($"/v1/organizations/{organization}/export")));
        var files = new Dictionary<string, byte[]>();
        foreach (var entry in zip.Entries)
        {
            using var to = new MemoryStream();
            await using var from = entry.Open();
            await from.CopyToAsync(to);
            files.Add(entry.FullName, to.ToArray());
        }
        return files;
    }

    [Fact]
    public async Task everything_about_an_organization_comes_as_a_zip_that_proves_itself()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await api.Open("other");
        for (var i = 0; i < 3; i++) (await api.Use("acme", "ai_requests")).Expect(201);
        (await api.Put("/v1/organizations/acme/profile", new { name = "Acme Ltd", email = "billing@acme.example" })).Expect(200);
        using var key = await api.ClientOf("acme");

        var files = await Export(api, "acme");

        Assert.Equal(
            ["README.txt", "entitlements.json", "invoices.json", "keys.json", "ledger-head.json", "ledger.ndjson", "organization.json", "profile.json", "stripe/invoices.json", "subscription.json", "tokens.json", "usage.json"],
            files.Keys.Order(StringComparer.Ordinal));
        Assert.Equal("Acme Ltd", (string?)JsonNode.Parse(files["profile.json"])!["name"]);
        Assert.Single(JsonNode.Parse(files["keys.json"])!["items"]!.AsArray());
        var verified = await ChainVerifier.Verify(await LedgerExport.Read(new MemoryStream(files["ledger.ndjson"])));
        Assert.Equal((null, (decimal)verified.Events), (verified.Problem, (await api.Get("/v1/organizations/acme")).Number("version")));
        Assert.DoesNotContain("other", System.Text.Encoding.UTF8.GetString([.. files.Values.SelectMany(f => f)]), StringComparison.Ordinal);
        (await api.Get("/v1/organizations/nobody/export")).ExpectProblem(404, "organization_unknown", "");
    }

    [Fact]
    public async Task erasing_leaves_the_stream_as_it_is_and_nothing_personal_beside_it()
    {
        await using var shop = await Shop.Open();
        var api = shop.Api;
        (await api.Put("/v1/organizations/acme/profile", new { name = "Erika Mustermann", email = "erika@example.com" })).Expect(200);
        await shop.Subscribe("community-pro");
        var before = await Export(api, "acme");
        Assert.Contains("stripe/events/", string.Join(' ', before.Keys), StringComparison.Ordinal);
        var link = (await api.Post("/v1/organizations/acme/portal-links")).Expect(201).String("url")!;

        (await api.Send(HttpMethod.Delete, "/v1/organizations/acme/profile")).Expect(204);

        var after = await Export(api, "acme");
        Assert.Equal(before["ledger.ndjson"], after["ledger.ndjson"]);
        Assert.DoesNotContain(after.Keys, k => k.StartsWith("stripe/events/", StringComparison.Ordinal));
        var text = System.Text.Encoding.UTF8.GetString([.. after.Values.SelectMany(f => f)]);
        foreach (var personal in (string[])["Erika", "erika@example.com", "hosted_url\":\"http"]) Assert.DoesNotContain(personal, text, StringComparison.Ordinal);
        (await api.Get(new Uri(link).PathAndQuery, api.Anonymous)).Expect(410);
        await api.VerifyLedger("acme");
    }
}
