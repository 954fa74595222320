using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Billing.Api;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>What the documents promise: OpenAPI has every route with everything it may answer, and docs/requests.http works as it stands.</summary>
public sealed partial class OpenApiTests
{
    /// <summary>Every route of the rules; those that are not served yet are left out by asking for them.</summary>
    private const string Rules = """
        GET /v1/plans
        GET /v1/token-packages
        GET /v1/config
        POST /v1/organizations
        GET /v1/organizations
        GET /v1/organizations/{organization}
        DELETE /v1/organizations/{organization}
        PUT /v1/organizations/{organization}/profile
        GET /v1/organizations/{organization}/entitlements
        GET /v1/organizations/{organization}/entitlements/{feature}
        POST /v1/organizations/{organization}/entitlements/check
        GET /v1/organizations/{organization}/entitlements/{feature}/explain
        GET /v1/organizations/{organization}/denials/{id}
        GET /v1/organizations/{organization}/usage/{id}/explain
        POST /v1/organizations/{organization}/usage
        POST /v1/organizations/{organization}/usage/batch
        PUT /v1/organizations/{organization}/gauges/{feature}
        POST /v1/organizations/{organization}/usage/{id}/void
        POST /v1/organizations/{organization}/usage/{id}/correct
        GET /v1/organizations/{organization}/usage/current
        GET /v1/organizations/{organization}/usage/history
        GET /v1/organizations/{organization}/usage/records
        POST /v1/organizations/{organization}/holds
        GET /v1/organizations/{organization}/holds
        POST /v1/organizations/{organization}/holds/{id}/settle
        DELETE /v1/organizations/{organization}/holds/{id}
        GET /v1/organizations/{organization}/tokens
        GET /v1/organizations/{organization}/tokens/transactions
        POST /v1/organizations/{organization}/tokens/grants
        POST /v1/organizations/{organization}/tokens/purchase
        GET /v1/organizations/{organization}/subscription
        PUT /v1/organizations/{organization}/subscription
        DELETE /v1/organizations/{organization}/subscription
        POST /v1/organizations/{organization}/subscription/preview
        POST /v1/organizations/{organization}/subscription/reactivate
        POST /v1/organizations/{organization}/subscription/pause
        POST /v1/organizations/{organization}/subscription/resume
        POST /v1/organizations/{organization}/checkout-sessions
        POST /v1/organizations/{organization}/portal-sessions
        POST /v1/organizations/{organization}/portal-links
        GET /v1/organizations/{organization}/invoices
        GET /v1/organizations/{organization}/invoices/{id}
        POST /v1/organizations/{organization}/invoices/generate
        GET /v1/organizations/{organization}/invoices/{id}/print
        GET /v1/organizations/{organization}/ledger
        GET /v1/organizations/{organization}/ledger/state
        GET /v1/organizations/{organization}/ledger/verify
        GET /v1/organizations/{organization}/ledger/export
        GET /v1/organizations/{organization}/ledger/head
        POST /v1/organizations/{organization}/reconcile
        GET /v1/stripe/events
        POST /v1/stripe/events/{id}/replay
        POST /v1/organizations/{organization}/test-clock/advance
        POST /webhooks/stripe
        """;

    private static async Task<JsonNode> Document(TestApi api) => (await api.Get("/openapi/v1.json", api.Anonymous)).Expect(200).Json;

    private static IEnumerable<(string Method, string Path, JsonNode Operation)> Operations(JsonNode document) =>
        from path in document["paths"]!.AsObject()
        from operation in path.Value!.AsObject()
        select (operation.Key.ToUpperInvariant(), path.Key, operation.Value!);

    /// <summary>The same route, whatever its parameters are called.</summary>
    private static string Shape(string route) => Parameter().Replace(route, "{}");

    [GeneratedRegex(@"\{[^}]+\}")]
    private static partial Regex Parameter();

    [Fact]
    public async Task every_route_that_is_served_is_in_the_document()
    {
        await using var api = await TestApi.Start("learning-community");
        var documented = Operations(await Document(api)).Select(o => Shape($"{o.Method} {o.Path}")).ToHashSet();
        var served = 0;
        foreach (var route in Rules.Split('\n', StringSplitOptions.TrimEntries))
        {
            var (method, path) = (route.Split(' ')[0], route.Split(' ')[1]);
            var answer = await api.Send(new HttpMethod(method), Parameter().Replace(path, "nobody"));
            var isServed = answer.Status != 405 && !(answer.Code == "not_found" && answer.String("detail")!.StartsWith("There is nothing at", StringComparison.Ordinal));
            if (isServed) served++;
            Assert.True(isServed == documented.Contains(Shape(route)), $"{route} is {(isServed ? "served and not documented" : "documented and not served")}.");
        }
        Assert.True(served >= 26, $"Only {served} routes of the rules are served.");
    }

    [Fact]
    public async Task every_operation_says_what_it_is_and_what_it_may_answer()
    {
        await using var api = await TestApi.Start("learning-community");
        var document = await Document(api);
        Assert.NotNull(document["components"]!["schemas"]!["Problem"]);
        foreach (var (method, path, operation) in Operations(document))
        {
            var route = $"{method} {path}";
            Assert.False(string.IsNullOrWhiteSpace((string?)operation["summary"]), $"{route} has no summary.");
            Assert.True(operation["tags"]?.AsArray().Count > 0, $"{route} has no tags.");

            var responses = operation["responses"]!.AsObject();
            Assert.True(responses.Any(r => r.Key[0] == '2'), $"{route} has no good answer.");
            if (path.StartsWith("/v1", StringComparison.Ordinal)) Assert.True(responses.ContainsKey("401"), $"{route} has no 401.");
            if (path.Contains('{', StringComparison.Ordinal)) Assert.True(responses.ContainsKey("404"), $"{route} has no 404.");
            if (operation["requestBody"] is not null) foreach (var status in (string[])["400", "413", "415"]) Assert.True(responses.ContainsKey(status), $"{route} has no {status}.");
            foreach (var (status, response) in responses.Where(r => r.Key[0] is '4' or '5'))
                Assert.Equal("#/components/schemas/Problem", (string?)response!["content"]!["application/problem+json"]!["schema"]!["$ref"]);

            var parameters = operation["parameters"]?.AsArray() ?? [];
            foreach (Match name in Parameter().Matches(path))
                Assert.Contains(parameters, p => (string?)p!["in"] == "path" && $"{{{p["name"]}}}" == name.Value);
        }
    }

    [Fact]
    public async Task every_reference_in_the_document_leads_somewhere()
    {
        await using var api = await TestApi.Start("learning-community");
        var document = await Document(api);
        var schemas = document["components"]!["schemas"]!.AsObject().Select(s => s.Key).ToHashSet();
        foreach (Match reference in Reference().Matches(document.ToJsonString())) Assert.Contains(reference.Groups[1].Value, schemas);
    }

    [GeneratedRegex("\"#/components/schemas/([^\"]+)\"")]
    private static partial Regex Reference();

    [Theory]
    [InlineData("OpenOrganizationBody", "id")]
    [InlineData("UsageBody", "feature", "quantity")]
    [InlineData("UsageItemBody", "feature", "quantity")]
    [InlineData("UsageBatchBody", "items")]
    [InlineData("GaugeBody", "value")]
    [InlineData("GrantBody", "tokens", "reason")]
    [InlineData("HoldBody", "feature", "quantity")]
    [InlineData("SettleHoldBody", "quantity")]
    [InlineData("OverrideBody", "reason")]
    [InlineData("StatedReasonBody", "reason")]
    [InlineData("SpendCapsBody")]
    [InlineData("SubscriptionBody")]
    [InlineData("PaymentBody", "invoice", "status")]
    [InlineData("TimeZoneBody", "time_zone")]
    [InlineData("CatalogMovesBody", "to_version")]
    [InlineData("TopUpBody", "token_package", "threshold", "max_count", "max_amount")]
    [InlineData("CompleteTopUpBody", "payment")]
    [InlineData("FailTopUpBody", "failure")]
    [InlineData("CloseOrganizationBody")]
    public async Task a_body_needs_what_the_api_would_miss_and_nothing_else(string schema, params string[] fields)
    {
        await using var api = await TestApi.Start("learning-community");
        var required = (await Document(api))["components"]!["schemas"]![schema]!["required"]?.AsArray().Select(f => (string)f!) ?? [];
        Assert.Equal(fields, required);
    }

    [Fact]
    public async Task an_answer_has_what_the_document_requires_of_it()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var schemas = (await Document(api))["components"]!["schemas"]!;
        Has("OrganizationView", (await api.Get("/v1/organizations/acme")).Json);
        Has("EntitlementView", (await api.Check("acme", "ai_requests")).Json);
        Has("EntitlementView", (await api.Check("acme", "certificates")).Json);
        Has("UsageRecordView", (await api.Use("acme", "ai_requests")).Json);
        Has("Problem", (await api.Use("acme", "ai_requests", 9)).Json);
        Has("DenialView", (await api.Use("acme", "ai_requests", 9))["denial"]!);
        var hold = (await api.Post("/v1/organizations/acme/holds", new { feature = "ai_requests", quantity = 1 })).Json;
        Has("HoldView", hold);
        Has("HoldEndView", (await api.Post($"/v1/organizations/acme/holds/{hold["id"]}/settle", new { quantity = 1 })).Json);
        Has("OverrideView", (await api.Put("/v1/organizations/acme/overrides/projects", new { allowance = 50 })).Json);
        Has("SpendCapsView", (await api.Put("/v1/organizations/acme/spend-caps", new { organization = 50 })).Json);
        Has("SubscriptionView", (await api.Get("/v1/organizations/acme/subscription")).Json);
        Has("UsageView", (await api.Get("/v1/organizations/acme/usage/current")).Json);
        Has("InvoiceLineView", (await api.Post("/v1/organizations/acme/invoices/lines", new { description = "Setup", amount = 100 })).Json);
        var upcoming = (await api.Get("/v1/organizations/acme/invoices/upcoming")).Json;
        Has("UpcomingInvoicesView", upcoming);
        Has("UpcomingInvoiceView", upcoming["invoices"]![0]!);
        Has("BillingTermsView", (await api.Put("/v1/organizations/acme/billing-terms", new { tax = new { name = "VAT", rate = 5 }, discount = new { percent = 5 } })).Json);
        var invoice = (await api.Post("/v1/organizations/acme/invoices/generate")).Json;
        Has("InvoiceView", invoice);
        Has("TaxTermsView", invoice["tax_terms"]!);
        Has("DiscountTermsView", invoice["discount_terms"]!);
        Has("ProfileView", (await api.Put("/v1/organizations/acme/profile", new { name = "Acme" })).Json);
        Has("TokensView", (await api.Get("/v1/organizations/acme/tokens")).Json);
        Has("TopUpView", (await api.Put("/v1/organizations/acme/tokens/top-up", new { token_package = "starter", threshold = 1, max_count = 1, max_amount = 500 })).Json);
        // The third of three: that is told.
        (await api.Use("acme", "ai_requests")).Expect(201);
        Has("AlertView", (await api.Get("/v1/organizations/acme/alerts")).At("items.0")!);

        void Has(string schema, JsonNode answer)
        {
            foreach (var field in schemas[schema]!["required"]!.AsArray()) Assert.True(answer.AsObject().ContainsKey((string)field!), $"{schema} has no {field}: {answer}");
            foreach (var (name, _) in answer.AsObject()) Assert.True(schemas[schema]!["properties"]!.AsObject().ContainsKey(name), $"{schema} does not say that it has {name}.");
        }
    }

    // ---- docs/requests.http

    /// <summary>One request of a .http file.</summary>
    private sealed record HttpFileRequest(string Title, int Expected, string Method, string Path, List<(string Name, string Value)> Headers, string Body);

    [Fact]
    public async Task the_request_file_answers_as_it_says_and_leaves_no_route_out()
    {
        var (variables, requests) = ReadHttpFile(Path.Combine(Repository.Root, "docs", "requests.http"));
        Assert.Equal(Settings.DefaultUrl, variables["host"]);
        Assert.Equal(Settings.DevelopmentKey, variables["key"]);

        // As for a new user: Stripe is not configured yet.
        await using var api = await TestApi.Start("learning-community", args: "--STRIPE_WEBHOOK_SECRET=");
        foreach (var round in (string[])["first", "second"])
            foreach (var request in requests)
            {
                api.Clock.Advance(Duration.FromSeconds(1));
                using var message = new HttpRequestMessage(new HttpMethod(request.Method), request.Path);
                if (request.Body.Length > 0) message.Content = new StringContent(request.Body, Encoding.UTF8, "application/json");
                foreach (var (name, value) in request.Headers.Where(h => h.Name != "Content-Type")) message.Headers.Add(name, value);
                var answer = await api.Send(message, api.Anonymous);
                // What was recorded under a key is answered again, although the organization is closed by then.
                var isRecorded = request.Expected < 300 && request.Headers.Any(h => h.Name == "Idempotency-Key");
                if (round == "first" || isRecorded) Assert.True(answer.Status == request.Expected, $"'{request.Title}' answered {answer.Status} instead of {request.Expected}: {answer.Text}");
                if (round == "second" && isRecorded) Assert.Equal("true", answer.Headers["Idempotency-Replayed"]);
            }

        var covered = requests.Select(r => $"{r.Method} {r.Path.Split('?')[0]}").ToList();
        foreach (var (method, path, _) in Operations(await Document(api)))
        {
            var pattern = $"^{method} {Parameter().Replace(Regex.Escape(path).Replace(@"\{", "{", StringComparison.Ordinal), "[^/]+")}$";
            Assert.True(covered.Any(c => Regex.IsMatch(c, pattern)), $"docs/requests.http does not show {method} {path}.");
        }
    }

    private static (Dictionary<string, string> Variables, List<HttpFileRequest> Requests) ReadHttpFile(string path)
    {
        var variables = new Dictionary<string, string>();
        var requests = new List<HttpFileRequest>();
        foreach (var block in File.ReadAllText(path).Split("\n###"))
        {
            var lines = block.Split('\n');
            foreach (var line in lines.Where(l => l.StartsWith('@'))) variables[line[1..line.IndexOf('=')].Trim()] = line[(line.IndexOf('=') + 1)..].Trim();
            if (requests.Count == 0 && !lines.Any(l => l.StartsWith("# expect", StringComparison.Ordinal))) continue;

            var title = lines[0].Trim();
            var expected = Assert.Single(lines, l => l.StartsWith("# expect ", StringComparison.Ordinal))["# expect ".Length..];
            var start = Array.FindIndex(lines, 1, l => l.Length > 0 && !l.StartsWith('#'));
            var blank = Array.FindIndex(lines, start, l => l.Length == 0);
            if (blank < 0) blank = lines.Length;
            var request = Filled(lines[start]).Split(' ');
            var url = new Uri(request[1]);
            Assert.Equal(variables["host"], url.GetLeftPart(UriPartial.Authority));
            requests.Add(new HttpFileRequest(title, int.Parse(expected), request[0], url.PathAndQuery,
                [.. lines[(start + 1)..blank].Select(Filled).Select(h => (h[..h.IndexOf(':')], h[(h.IndexOf(':') + 1)..].Trim()))],
                Filled(string.Join('\n', lines[blank..]).Trim())));
        }
        return (variables, requests);

        string Filled(string text) => variables.Aggregate(text, (filled, variable) => filled.Replace($"{{{{{variable.Key}}}}}", variable.Value, StringComparison.Ordinal));
    }
}
