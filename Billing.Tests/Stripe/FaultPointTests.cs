using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;
using Billing.StripeSandbox;
using Billing.Tests.Api;

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
        await using var run = await Run.Start("app-builder", "starter-month", point);
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
        await using var run = await Run.Start("quantum", "professional-month", point);
        await run.Post("/v1/organizations/acme/usage", new { feature = "quantum_jobs", quantity = 145 });
        await run.Post("/v1/organizations/acme/usage", new { feature = "api_calls", quantity = 1_247 });
        await SandboxCalls.Delete(run.Stripe, $"/v1/subscriptions/{run.Subscription}");

        await run.Restart();

        await run.Until(() => Task.FromResult(run.Stripe.All("invoice").Any(i => (string?)i["billing_reason"] == "manual" && (bool)i["auto_advance"]!)));
        var invoice = Assert.Single(run.Stripe.All("invoice"), i => (string?)i["billing_reason"] == "manual");
        Assert.Equal([2_250, 125], invoice["lines"]!["data"]!.AsArray().Select(l => (long)l!["amount"]!).OrderDescending());
        Assert.Equal(2, run.Stripe.All("invoiceitem").Count);
        Assert.Single((await run.Get("/v1/organizations/acme/ledger?type=lines-billed-at-stripe"))["items"]!.AsArray());
    }

    /// <summary>A service that is to end at a point, beside a Stripe that goes on.</summary>
    private sealed class Run : IAsyncDisposable
    {
        private static readonly TimeSpan Most = TimeSpan.FromMinutes(2);

        private readonly string folder = Directory.CreateTempSubdirectory("billing-").FullName;
        private ServiceProcess service = null!;

        public required SandboxServer Stripe { get; init; }

        public string Subscription { get; private set; } = "";

        public static async Task<Run> Start(string catalog, string price, string point)
        {
            var run = new Run { Stripe = await SandboxServer.Start() };
            File.Copy(Repository.Catalog(catalog), Path.Combine(run.folder, "catalog.json"));
            await run.StartService($"--Billing:FaultPoint={point}");
            await run.Post("/v1/organizations", new { id = "acme" });
            await run.Post("/v1/catalog/push", new { });
            run.Subscription = await SandboxCalls.Subscribe(run.Stripe, "acme", await SandboxCalls.Customer(run.Stripe, "acme"), price);
            await run.Until(async () => (await run.Get("/v1/organizations/acme/subscription"))["id"]?.GetValue<string>() == run.Subscription);
            return run;
        }

        /// <summary>Waits for its end, and starts another that goes on.</summary>
        public async Task Restart()
        {
            await Until(() => Task.FromResult(service.HasExited));
            service.Dispose();
            await StartService();
        }

        private async Task StartService(params string[] more)
        {
            service = await ServiceProcess.Start(folder, [$"--STRIPE_SECRET_KEY={Stripe.ApiKey}", $"--Billing:StripeUrl={Stripe.Url}", $"--STRIPE_WEBHOOK_SECRET={Secret}", "--Billing:StripeRetryMilliseconds=1", .. more]);
            Stripe.DeliverTo(new Uri(service.Http.BaseAddress!, "/webhooks/stripe"), Secret);
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

        public Task Post(string path, object body) => Send(HttpMethod.Post, path, body);

        public Task Put(string path, object body) => Send(HttpMethod.Put, path, body);

        private async Task Send(HttpMethod method, string path, object body)
        {
            using var request = new HttpRequestMessage(method, path) { Content = new StringContent(System.Text.Json.JsonSerializer.Serialize(body), Encoding.UTF8, "application/json") };
            request.Headers.TryAddWithoutValidation("Idempotency-Key", TestApi.NewKey());
            try
            {
                using var response = await service.Http.SendAsync(request);
                Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync());
            }
            catch (HttpRequestException)
            {
                // What it recorded made it end before it could answer.
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
