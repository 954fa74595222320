using System.Text.Json.Nodes;
using Billing.Cli;
using Billing.StripeSandbox;
using Billing.Tests.Api;
using Billing.Tests.Postgres;
using Billing.Tests.Stripe;
using NodaTime;
using Spectre.Console;

namespace Billing.Tests.Cli;

/// <summary>A service with a life of its own on SQLite, and the same service after `billing migrate`.</summary>
public sealed class MigratedServiceTests
{
    private static readonly string[] Others =
    [
        "/v1/organizations?limit=100", "/v1/api-keys", "/v1/audit", "/v1/audit/verify", "/v1/flags", "/v1/catalog", "/v1/plans", "/v1/stripe/events?limit=500", "/v1/stripe/flow", "/v1/stripe/reconciliation",
        "/v1/organizations/acme/ledger?limit=500", "/v1/organizations/other/ledger?limit=500",
    ];

    [Fact]
    public async Task the_service_goes_on_as_if_nothing_had_happened()
    {
        var name = PostgresServer.Shared.CreateDatabase();
        var before = await TestApi.StartWithStripe("app-builder");
        await using var _ = before;
        var file = Path.Combine(before.Folder, "ledger.db");
        // Where all tests are run on PostgreSQL there is no file to be moved.
        if (!File.Exists(file)) return;
        var key = await Live(before);
        var used = (await before.Use("acme", "ai_embeddings", 7, "the-same")).Expect(201);
        var answers = await Answers(before);

        var after = await before.Restart(move: async () =>
        {
            var error = new StringWriter();
            var code = await Program.Run(["migrate", "--from", file, "--to", PostgresServer.Shared.ConnectionString(name)],
                new Terminal(new MemoryStream(), new StringWriter(), error, new MemoryStream(), TimeProvider.System, InteractionSupport.No));
            Assert.True(code == 0, error.ToString());
            return PostgresServer.Shared.ConnectionString(name);
        });
        await using var __ = after;

        // Not one answer is another one.
        Assert.Equal(answers, await Answers(after));
        foreach (var table in (string[])["catalogs", "api_keys", "customers", "inbox", "settings", "profiles", "stripe_requests", "stripe_invoices", "stripe_tasks", "flags", "feeds", "audit", "audit_head"])
            Assert.True(PostgresServer.Shared.Sql(name, $"SELECT count(*) FROM {table}") != "0", $"This life left nothing in {table}.");
        // What was done is done, what was asked for is done once, and keys open what they opened.
        Assert.Equal(used.Text, (await after.Use("acme", "ai_embeddings", 7, "the-same")).Expect(201).Text);
        (await after.Use("acme", "ai_embeddings", 8, "the-same")).ExpectProblem(409, "command_id_reused", "the-same");
        using (var own = after.Client(key)) (await after.Send(HttpMethod.Get, "/v1/organizations/acme", by: own)).Expect(200);
        after.Clock.Advance(Duration.FromSeconds(10));
        await after.RunStripeWork();
        await after.Settle();
        Assert.Single(after.Sandbox.All("payment_intent"), i => i["metadata"]?["top_up"] is not null);
        Assert.Single(await after.Ledger("acme", "tokens-purchased"));
        foreach (var organization in (string[])["acme", "other"]) await after.VerifyLedger(organization);
    }

    /// <summary>Something of everything that is kept; a charge whose answer was lost is still to be found.</summary>
    /// <returns>An organization's own key.</returns>
    private static async Task<string> Live(TestApi api)
    {
        await api.Open("acme");
        await api.Open("other", timeZone: "Europe/Berlin");
        (await api.Put("/v1/organizations/acme/profile", new { name = "Acme — Größe", email = "a@acme.example" })).Expect(200);
        (await api.Put("/v1/flags/billing_v2", new { percent = 40 })).Expect(200);
        var key = (await api.Post("/v1/api-keys", new { name = "acme's", organization = "acme" })).Expect(201).String("key")!;
        var customer = await SandboxCalls.Customer(api.Sandbox, "acme");
        await SandboxCalls.Subscribe(api.Sandbox, "acme", customer, "starter-month");
        await api.Settle();
        (await api.Webhook(StripeFixture.Event("payment_intent.succeeded", StripeFixture.PaymentIntent("pi_1", 500, "nobody", "embeddings"), api.Clock.Now, "evt_unclaimed"))).Expect(200);
        await api.Grant("other", 1_000);
        (await api.Use("acme", "ai_embeddings", 99_000)).Expect(201);
        foreach (var _ in Enumerable.Range(0, 5)) api.Sandbox.Misbehaviour.Next(Fault.LostAnswer, "POST /v1/payment_intents");
        api.Sandbox.Misbehaviour.Lose = 1;
        (await api.Put("/v1/organizations/acme/tokens/top-up", new { token_package = "embeddings", threshold = 20_000, max_count = 2, max_amount = 1_400 })).Expect(200);
        await api.RunStripeWork();
        return key;
    }

    /// <summary>What every route that reads says, without what is another number in every database, or made anew for every answer.</summary>
    private static async Task<IReadOnlyList<string>> Answers(TestApi api)
    {
        var answers = new List<string>();
        foreach (var organization in (string[])["acme", "other"])
            foreach (var (_, path) in (await api.Routes("/v1/organizations/{organization}", organization)).Where(r => r.Method == HttpMethod.Get && r.Path != $"/v1/organizations/{organization}/export")) answers.Add(await Said(path));
        foreach (var path in Others) answers.Add(await Said(path));
        return answers;

        async Task<string> Said(string path)
        {
            var answer = await api.Get(path);
            return $"{path} {answer.Status} {(answer.Json is JsonObject { Count: > 0 } json ? Without(json, "position", "signature", "trace_id").ToJsonString() : answer.Text)}";
        }
    }

    private static JsonNode Without(JsonNode node, params string[] names)
    {
        if (node is JsonObject json)
            foreach (var name in names) json.Remove(name);
        foreach (var part in node is JsonObject o ? o.Select(p => p.Value) : node is JsonArray array ? array : [])
            if (part is not null) Without(part, names);
        return node;
    }
}
