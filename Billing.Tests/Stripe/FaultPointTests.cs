using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;
using Billing.StripeSandbox;
using Billing.Tests.Api;
using NodaTime;

namespace Billing.Tests.Stripe;

/// <summary>The service as a process of its own that ends between two steps. Started again it finishes the work, and nothing is doubled at Stripe.</summary>
public sealed class FaultPointTests
{
    private const string Secret = "whsec_fault";

    [Theory]
    [InlineData("top-up:ready")]
    [InlineData("top-up:charged")]
    [InlineData("top-up:recorded")]
    public async Task a_top_up_is_charged_once(string point)
    {
        await using var run = await Run.Start("app-builder", point);
        await run.Subscribe("starter-month");
        await run.Post("/v1/organizations/acme/usage", new { feature = "ai_embeddings", quantity = 100_000 });
        await run.Put("/v1/organizations/acme/tokens/top-up", new { token_package = "embeddings", threshold = 20_000, max_count = 2, max_amount = 1_400 });

        await run.Restart();

        await run.Until(async () => (await run.Get("/v1/organizations/acme/tokens"))["balance"]!.GetValue<decimal>() == 100_000);
        Assert.Single(run.Stripe.All("payment_intent"), i => i["metadata"]?["top_up"] is not null);
        Assert.Single((await run.Get("/v1/organizations/acme/ledger?type=tokens-purchased"))["items"]!.AsArray());
    }

    [Theory]
    [InlineData("overage:drafted")]
    [InlineData("overage:billed")]
    [InlineData("overage:item")]
    [InlineData("overage:added")]
    public async Task overage_is_charged_once(string point)
    {
        await using var run = await Run.Start("quantum", point);
        var subscription = await run.Subscribe("professional-month");
        await run.Post("/v1/organizations/acme/usage", new { feature = "quantum_jobs", quantity = 145 });
        await run.Post("/v1/organizations/acme/usage", new { feature = "api_calls", quantity = 1_247 });
        await SandboxCalls.Delete(run.Stripe, $"/v1/subscriptions/{subscription}");

        await run.Restart();

        await run.Until(() => Task.FromResult(run.Stripe.All("invoice").Any(i => (string?)i["billing_reason"] == "manual" && (bool)i["auto_advance"]!)));
        var invoice = Assert.Single(run.Stripe.All("invoice"), i => (string?)i["billing_reason"] == "manual");
        Assert.Equal([2_250, 125], invoice["lines"]!["data"]!.AsArray().Select(l => (long)l!["amount"]!).OrderDescending());
        Assert.Equal(2, run.Stripe.All("invoiceitem").Count);
        Assert.Single((await run.Get("/v1/organizations/acme/ledger?type=lines-billed-at-stripe"))["items"]!.AsArray());
    }

    [Theory]
    [InlineData("customer:made", 1)]
    [InlineData("customer:recorded", 1)]
    [InlineData("customer:linked", 1)]
    [InlineData("checkout:made", 1)]
    [InlineData("checkout:made", 2)]
    [InlineData("checkout:ended", 2)]
    public async Task a_checkout_leaves_one_customer_one_page_and_one_subscription(string point, int checkout)
    {
        await using var run = await Run.Start("learning-community", checkout == 1 ? point : null);
        run.Deliver();
        await run.Ask(HttpMethod.Post, "/v1/organizations/acme/checkout-sessions", new { plan = "community-pro", interval = "month" }, "first");
        if (checkout == 2) await run.Arm(point);
        var page = await run.Ask(HttpMethod.Post, "/v1/organizations/acme/checkout-sessions", new { plan = "pro-learn", interval = "month" }, "second");

        Assert.True(run.HasDied);
        Assert.Equal(["expired", "open"], run.Stripe.All("checkout.session").Select(s => (string?)s["status"]));
        await run.Pay((string)page["url"]!);
        await run.Heard();
        var subscription = await run.Get("/v1/organizations/acme/subscription");
        Assert.Equal(("pro-learn", "active"), ((string?)subscription["plan"], (string?)subscription["status"]));
        Assert.Equal((1, 1, 1), (run.Stripe.All("customer").Count, run.Stripe.All("subscription").Count, run.Stripe.All("charge").Count));
        Assert.Single(await run.Ledger("customer-linked"));
    }

    [Fact]
    public async Task tokens_are_sold_once()
    {
        await using var run = await Run.Start("learning-community", "purchase:made");
        run.Deliver();

        var page = await run.Ask(HttpMethod.Post, "/v1/organizations/acme/tokens/purchase", new { token_package = "starter" }, "first");

        Assert.True(run.HasDied);
        Assert.Single(run.Stripe.All("checkout.session"));
        await run.Pay((string)page["url"]!);
        await run.Heard();
        Assert.Equal(100_000, await run.Balance());
        Assert.Single(await run.Ledger("tokens-purchased"));
    }

    [Theory]
    [InlineData("customer:made")]
    [InlineData("subscription:attached")]
    [InlineData("subscription:created")]
    [InlineData("subscription:followed")]
    public async Task a_direct_subscription_is_made_and_charged_once(string point)
    {
        await using var run = await Run.Start("learning-community", point);
        run.Deliver();

        var started = await run.Ask(HttpMethod.Put, "/v1/organizations/acme/subscription", new { plan = "pro-learn", interval = "month", payment_method = "pm_card_visa" }, "first");

        Assert.True(run.HasDied);
        await run.Heard();
        Assert.Equal(("pro-learn", "active"), ((string?)started["plan"], (string?)started["status"]));
        Assert.Equal((1, 1, 1), (run.Stripe.All("customer").Count, run.Stripe.All("subscription").Count, run.Stripe.All("charge").Count));
        Assert.Single(run.Stripe.All("payment_method"));
        Assert.Single(await run.Ledger("customer-linked"));
        Assert.Equal("pro-learn", (string?)(await run.Get("/v1/organizations/acme/subscription"))["plan"]);
    }

    [Theory]
    [InlineData("subscription:changed")]
    [InlineData("subscription:followed")]
    public async Task an_upgrade_is_charged_once(string point)
    {
        await using var run = await Run.Start("learning-community");
        await run.Subscribe("community-pro-month");
        await run.Arm(point);

        var changed = await run.Ask(HttpMethod.Put, "/v1/organizations/acme/subscription", new { plan = "pro-learn", interval = "month", proration = "invoice_now" }, "upgrade");

        Assert.True(run.HasDied);
        await run.Heard();
        Assert.Equal("pro-learn", (string?)changed["plan"]);
        Assert.Equal((1, 2), (run.Stripe.All("subscription").Count, run.Stripe.All("charge").Count));
        Assert.Equal("pro-learn", (string?)(await run.Get("/v1/organizations/acme/subscription"))["plan"]);
    }

    [Theory]
    [InlineData("push:create_product")]
    [InlineData("push:create_price")]
    [InlineData("push:update_product")]
    [InlineData("push:replace_price")]
    [InlineData("push:archive_price")]
    public async Task a_catalog_push_is_finished_by_the_next_one(string point)
    {
        await using var run = await Run.Start("summarizer");
        run.Edit(catalog =>
        {
            var plans = catalog["plans"]!;
            plans["team"] = JsonNode.Parse("""{ "name": "Team", "prices": [{ "interval": "month", "amount": 5900 }], "features": { "characters": 2000000 } }""");
            plans["pro"]!["name"] = "Professional";
            plans["pro"]!["prices"]![0]!["amount"] = 3_999;
        });
        await run.Arm(point);

        await run.Ask(HttpMethod.Post, "/v1/catalog/push", new { }, "push");

        Assert.True(run.HasDied);
        Assert.Equal(["Enterprise", "Free", "Professional", "Starter", "Team"], run.Stripe.All("product").Select(p => (string)p["name"]!).Order(StringComparer.Ordinal));
        // Four at first, then the new plan's and the one that has the old one's place.
        Assert.Equal(6, run.Stripe.All("price").Count);
        Assert.Equal(["enterprise-month 9999", "free-month 0", "pro-month 3999", "starter-month 999", "team-month 5900"],
            run.Stripe.All("price").Where(p => (bool)p["active"]!).Select(p => $"{p["lookup_key"]} {p["unit_amount"]}").Order(StringComparer.Ordinal));
        Assert.Equal(0, (int)(await run.Ask(HttpMethod.Post, "/v1/catalog/push?dry_run=true", new { }, "look"))["changed"]!);
    }

    [Theory]
    [InlineData("webhook:stored")]
    [InlineData("webhook:executed")]
    [InlineData("webhook:linked")]
    [InlineData("webhook:applied")]
    [InlineData("webhook:marked")]
    public async Task a_payment_that_a_webhook_tells_of_grants_tokens_once(string point)
    {
        await using var run = await Run.Start("learning-community", point);
        var customer = await SandboxCalls.Customer(run.Stripe, "acme");
        run.Deliver();
        await SandboxCalls.Post(run.Stripe, "/v1/payment_intents", "amount=500", "currency=usd", $"customer={customer}", "payment_method=pm_card_visa", "confirm=true", "off_session=true",
            "metadata[organization_id]=acme", "metadata[token_package]=starter");

        await run.Restart();

        // What was stored needs nobody to tell it again, and what was not is told again.
        if (point != "webhook:stored") await run.Until(async () => await run.Balance() == 100_000);
        await run.Heard();
        Assert.Equal(100_000, await run.Balance());
        Assert.Single(await run.Ledger("tokens-purchased"));
        Assert.Single(await run.Ledger("customer-linked"));
        Assert.Equal("applied", (string?)Assert.Single((await run.Get("/v1/stripe/events?type=payment_intent.succeeded"))["items"]!.AsArray())!["state"]);
    }

    [Theory]
    // What recent events explain is repaired by taking them,
    [InlineData("reconcile:received", 0)]
    [InlineData("reconcile:replayed", 0)]
    // and what is older than those by commands.
    [InlineData("reconcile:executed", 40)]
    [InlineData("reconcile:kept", 40)]
    public async Task a_repair_is_finished_by_the_next_one(string point, int daysAgo)
    {
        await using var run = await Run.Start("learning-community", null, daysAgo);
        // The ledger knows the customer, and hears of nothing after it.
        await run.Post("/v1/organizations/acme/tokens/purchase", new { token_package = "starter" });
        var customer = (string)Assert.Single(run.Stripe.All("customer"))["id"]!;
        var method = (string)(await SandboxCalls.Post(run.Stripe, "/v1/payment_methods/pm_card_visa/attach", $"customer={customer}"))["id"]!;
        await SandboxCalls.Post(run.Stripe, $"/v1/customers/{customer}", $"invoice_settings[default_payment_method]={method}");
        await SandboxCalls.Subscribe(run.Stripe, "acme", customer, "community-pro-year");
        await SandboxCalls.Post(run.Stripe, "/v1/payment_intents", "amount=500", "currency=usd", $"customer={customer}", "payment_method=pm_card_visa", "confirm=true", "off_session=true",
            "metadata[organization_id]=acme", "metadata[token_package]=starter");
        await run.CatchUp();
        await run.Arm(point);

        await run.Ask(HttpMethod.Post, "/v1/organizations/acme/reconcile", new { repair = true }, "first");

        Assert.True(run.HasDied);
        Assert.Empty((await run.Ask(HttpMethod.Post, "/v1/organizations/acme/reconcile", new { repair = false }, "second"))["differences"]!.AsArray());
        run.Deliver();
        await run.Heard();
        Assert.Equal(100_000, await run.Balance());
        Assert.Equal("community-pro", (string?)(await run.Get("/v1/organizations/acme/subscription"))["plan"]);
        Assert.Single(await run.Ledger("tokens-purchased"));
        Assert.Single(await run.Ledger("customer-linked"));
        Assert.Single(await run.Ledger("subscription-changed"));
        Assert.Equal((1, 1, 2), (run.Stripe.All("customer").Count, run.Stripe.All("subscription").Count, run.Stripe.All("charge").Count));
    }

    [Fact]
    public async Task a_customer_that_was_only_recorded_is_linked_by_a_repair()
    {
        await using var run = await Run.Start("learning-community", "customer:recorded");
        await run.Post("/v1/organizations/acme/tokens/purchase", new { token_package = "starter" });
        await run.Restart();
        await run.Arm("reconcile:linked");

        await run.Ask(HttpMethod.Post, "/v1/organizations/acme/reconcile", new { repair = true }, "first");

        Assert.Equal(2, run.Deaths);
        Assert.Empty((await run.Ask(HttpMethod.Post, "/v1/organizations/acme/reconcile", new { repair = false }, "second"))["differences"]!.AsArray());
        await run.Ask(HttpMethod.Post, "/v1/organizations/acme/tokens/purchase", new { token_package = "starter" }, "again");
        Assert.Single(run.Stripe.All("customer"));
        Assert.Single(await run.Ledger("customer-linked"));
    }

    [Fact]
    public async Task closing_ends_the_subscription_once()
    {
        await using var run = await Run.Start("learning-community");
        await run.Subscribe("community-pro-month");
        await run.Arm("closing:canceled");
        await run.Ask(HttpMethod.Delete, "/v1/organizations/acme", new { reason = "over" }, "close");

        if (!run.HasDied) await run.Restart();

        await run.Heard();
        Assert.Equal("canceled", (string?)Assert.Single(run.Stripe.All("subscription"))["status"]);
        Assert.Single(run.Stripe.All("charge"));
        Assert.Single(await run.Ledger("organization-closed"));
    }

    /// <summary>A service that is to end at a point, beside a Stripe that goes on.</summary>
    private sealed class Run : IAsyncDisposable
    {
        private static readonly TimeSpan Most = TimeSpan.FromMinutes(2);

        private readonly string folder = Directory.CreateTempSubdirectory("billing-").FullName;
        private readonly SettableClock? past;
        private ServiceProcess service = null!;
        private bool delivers;

        private Run(SettableClock? past) => this.past = past;

        public required SandboxServer Stripe { get; init; }

        /// <summary>How often the service ended, and another one went on.</summary>
        public int Deaths { get; private set; }

        public bool HasDied => Deaths > 0;

        /// <summary>The catalog is at Stripe, one organization is open, and no webhook is delivered yet.</summary>
        /// <param name="point">Where it ends; see <see cref="Arm"/>.</param>
        /// <param name="daysAgo">How long ago it is at Stripe, until <see cref="CatchUp"/>.</param>
        public static async Task<Run> Start(string catalog, string? point = null, int daysAgo = 0)
        {
            var past = daysAgo == 0 ? null : new SettableClock(SystemClock.Instance.GetCurrentInstant() - Duration.FromDays(daysAgo));
            var options = past is null ? new SandboxOptions() : new SandboxOptions { Time = past, SetTime = t => past.Now = Instant.FromDateTimeOffset(t) };
            var run = new Run(past) { Stripe = await SandboxServer.Start(options) };
            File.Copy(Repository.Catalog(catalog), Path.Combine(run.folder, "catalog.json"));
            await run.StartService(point);
            await run.Post("/v1/organizations", new { id = "acme" });
            await run.Post("/v1/catalog/push", new { });
            return run;
        }

        /// <summary>Another service takes its place, which is to end at this point.</summary>
        public async Task Arm(string point)
        {
            service.Dispose();
            await StartService(point);
        }

        /// <summary>Waits for its end, and starts another that goes on.</summary>
        public async Task Restart()
        {
            await Until(() => Task.FromResult(service.HasExited));
            Deaths++;
            service.Dispose();
            await StartService(null);
        }

        private async Task StartService(string? point)
        {
            service = await ServiceProcess.Start(folder,
            [
                $"--STRIPE_SECRET_KEY={Stripe.ApiKey}", $"--Billing:StripeUrl={Stripe.Url}", $"--STRIPE_WEBHOOK_SECRET={Secret}", "--Billing:StripeRetryMilliseconds=1", "--Billing:ReconcileHour=-1",
                "--FRONTEND_URL=https://app.example.com", "--Billing:StripeLeaseSeconds=3", .. point is null ? [] : (string[])[$"--Billing:FaultPoint={point}"],
            ]);
            if (delivers) Deliver();
        }

        /// <summary>From now on Stripe tells of what happens.</summary>
        public void Deliver()
        {
            delivers = true;
            Stripe.DeliverTo(new Uri(service.Http.BaseAddress!, "/webhooks/stripe"), Secret);
        }

        /// <summary>At Stripe it is now.</summary>
        public async Task CatchUp()
        {
            if (past is not null) await Stripe.AdvanceTo(DateTimeOffset.UtcNow);
        }

        /// <summary>Stripe tells of everything once more, and all of it is heard.</summary>
        public async Task Heard()
        {
            foreach (var e in Stripe.All("event")) Stripe.Resend((string)e["id"]!);
            await Stripe.Settle();
            await Until(async () => (await Get("/v1/stripe/events?state=pending"))["items"]!.AsArray().Count == 0);
        }

        /// <summary>The customer pays on Stripe's page.</summary>
        public async Task Pay(string page)
        {
            using var http = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false });
            using var form = new FormUrlEncodedContent(new Dictionary<string, string> { ["number"] = "4242424242424242", ["expiry"] = "12 / 34", ["cvc"] = "123", ["name"] = "Ada", ["email"] = "ada@example.com" });
            using var answer = await http.PostAsync(page, form);
            Assert.Equal(302, (int)answer.StatusCode);
        }

        /// <summary>A subscription at Stripe, of which the ledger has heard.</summary>
        public async Task<string> Subscribe(string price)
        {
            Deliver();
            var subscription = await SandboxCalls.Subscribe(Stripe, "acme", await SandboxCalls.Customer(Stripe, "acme"), price);
            await Until(async () => (await Get("/v1/organizations/acme/subscription"))["id"]?.GetValue<string>() == subscription);
            return subscription;
        }

        public void Edit(Action<JsonNode> change)
        {
            var path = Path.Combine(folder, "catalog.json");
            var catalog = JsonNode.Parse(File.ReadAllText(path))!;
            change(catalog);
            File.WriteAllText(path, catalog.ToJsonString());
        }

        public async Task Until(Func<Task<bool>> isSo)
        {
            using var late = new CancellationTokenSource(Most);
            while (!await isSo())
            {
                Assert.False(late.IsCancellationRequested, $"It did not come to that:\n{service.Said}");
                await Task.Delay(50);
            }
        }

        public async Task<JsonObject> Get(string path) => (await service.Http.GetFromJsonAsync<JsonObject>(path))!;

        public async Task<JsonArray> Ledger(string type) => (await Get($"/v1/organizations/acme/ledger?type={type}"))["items"]!.AsArray();

        public async Task<decimal> Balance() => (await Get("/v1/organizations/acme/tokens"))["balance"]!.GetValue<decimal>();

        public Task<JsonObject?> Post(string path, object body) => Send(HttpMethod.Post, path, body, TestApi.NewKey());

        public Task<JsonObject?> Put(string path, object body) => Send(HttpMethod.Put, path, body, TestApi.NewKey());

        /// <summary>As a client does that must have an answer: when none comes, the same is sent once more, to the service that goes on.</summary>
        public async Task<JsonObject> Ask(HttpMethod method, string path, object body, string key)
        {
            if (await Send(method, path, body, key) is { } answer) return answer;
            await Restart();
            return await Send(method, path, body, key) ?? throw new InvalidOperationException(service.Said);
        }

        /// <returns>Null when what it did made it end before it could answer.</returns>
        private async Task<JsonObject?> Send(HttpMethod method, string path, object body, string key)
        {
            using var request = new HttpRequestMessage(method, path) { Content = new StringContent(TestApi.WithReason(method, path, System.Text.Json.JsonSerializer.Serialize(body))!, Encoding.UTF8, "application/json") };
            request.Headers.TryAddWithoutValidation("Idempotency-Key", key);
            try
            {
                using var response = await service.Http.SendAsync(request);
                var text = await response.Content.ReadAsStringAsync();
                Assert.True(response.IsSuccessStatusCode, text);
                return text.Length == 0 ? [] : JsonNode.Parse(text)!.AsObject();
            }
            catch (HttpRequestException)
            {
                return null;
            }
        }

        public async ValueTask DisposeAsync()
        {
            service.Dispose();
            await Stripe.DisposeAsync();
            Directory.Delete(folder, recursive: true);
        }
    }
}
