using System.Text.Json;
using Billing.Api.Stripe;
using Billing.Ledger;
using Billing.Tests.Api;
using Billing.Tests.StripeSandbox;
using NodaTime;

namespace Billing.Tests.Stripe;

/// <summary>The catalog at Stripe: made once, followed when it changes, finished when it was broken off.</summary>
public sealed class CatalogPushTests
{
    private const string First = """
        {
          "fallback_plan": "free",
          "features": { "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call" } } },
          "plans": {
            "free": { "name": "Free", "prices": [{ "interval": "month", "amount": 0 }], "features": { "calls": 10 } },
            "pro":  { "name": "Pro", "prices": [{ "interval": "month", "amount": 1000 }, { "interval": "quarter", "amount": 2800 }, { "interval": "year", "amount": 10000, "currency": "eur" }], "features": { "calls": 100 } }
          },
          "token_packages": { "small": { "name": "Small", "tokens": 1000, "prices": [{ "amount": 500 }, { "amount": 450, "currency": "eur" }] } }
        }
        """;

    // Pro has another name and a higher price for a month, and there is a plan more.
    private static readonly string Second = First
        .Replace("\"Pro\"", "\"Professional\"", StringComparison.Ordinal).Replace("\"amount\": 1000 }", "\"amount\": 1500 }", StringComparison.Ordinal)
        .Replace("\"pro\":", """ "team": { "name": "Team", "prices": [{ "interval": "month", "amount": 9900 }], "features": { "calls": 1000 } }, "pro": """, StringComparison.Ordinal);

    private static readonly Instant Now = Instant.FromUtc(2026, 11, 20, 10, 0);

    private static List<string> Products(TestApi api) => [.. api.Sandbox.All("product").Select(p => $"{p["id"]} {p["name"]}").Order(StringComparer.Ordinal)];

    private static List<string> ActivePrices(TestApi api) => [.. api.Sandbox.All("price").Where(p => (bool)p["active"]!).Select(p =>
        $"{p["lookup_key"]} {p["unit_amount"]} {p["currency"]} {p.Read("recurring.interval_count") ?? "one"} {p.Read("recurring.interval") ?? "time"} {p["product"]}").Order(StringComparer.Ordinal)];

    private static List<string> Actions(Answer pushed) => [.. pushed["changes"]!.AsArray().Where(c => (string?)c!["action"] != "keep").Select(c => $"{c!["action"]} {c["lookup_key"] ?? c["id"]}: {c["detail"]}")];

    private static int Posts(TestApi api) => api.Sandbox.Requests.Count(r => r.Method == "POST");

    [Theory]
    [InlineData("summarizer")]
    [InlineData("video-matching")]
    [InlineData("learning-community")]
    [InlineData("quantum")]
    [InlineData("app-builder")]
    public async Task every_sample_catalog_is_pushed_and_a_second_push_changes_nothing(string catalog)
    {
        await using var api = await TestApi.StartWithStripe(catalog);
        var current = api.Services.Catalogs.Current;
        Assert.Equal(current.Plans.Length + current.TokenPackages.Length, Products(api).Count);
        Assert.Equal(current.Plans.Sum(p => p.Prices.Length) + current.TokenPackages.Sum(p => p.Prices.Length), ActivePrices(api).Count);
        var before = Posts(api);

        var again = (await api.Post("/v1/catalog/push")).Expect(200);

        Assert.Equal((0m, 0m, before), (again.Number("changed"), again.Number("wrong"), Posts(api)));
        Assert.All(again["changes"]!.AsArray(), c => Assert.Equal("keep", (string?)c!["action"]));
    }

    [Fact]
    public async Task intervals_currencies_and_token_packages_are_prices_of_their_kind()
    {
        await using var api = await TestApi.StartWithStripe(First);

        Assert.Equal(
            [
                "free-month 0 usd 1 month plan_free", "pro-month 1000 usd 1 month plan_pro", "pro-quarter 2800 usd 3 month plan_pro", "pro-year-eur 10000 eur 1 year plan_pro",
                "tokens-small 500 usd one time tokens_small", "tokens-small-eur 450 eur one time tokens_small",
            ], ActivePrices(api));
        Assert.Equal(("pro", "1"), ((string?)api.Sandbox.Find("plan_pro").Read("metadata.plan"), (string?)api.Sandbox.Find("plan_pro").Read("metadata.catalog")));
        Assert.Equal("small", (string?)api.Sandbox.Find("tokens_small").Read("metadata.token_package"));
    }

    [Fact]
    public async Task a_dry_run_shows_the_changes_of_an_edited_catalog_and_a_push_makes_them()
    {
        await using var before = await TestApi.StartWithStripe(First);
        var old = (string)before.Sandbox.All("price").Single(p => (string?)p["lookup_key"] == "pro-month")["id"]!;
        await using var api = await before.Restart(Second);
        var posts = Posts(api);
        string[] changes =
        [
            "create_product plan_team: Team", "create_price team-month: 99.00 usd a month",
            "update_product plan_pro: the name is Professional instead of Pro", "replace_price pro-month: 15.00 usd a month instead of 10.00 usd a month", "archive_price pro-month: 10.00 usd a month",
        ];

        var shown = (await api.Post("/v1/catalog/push?dry_run=true")).Expect(200);
        Assert.Equal(changes, Actions(shown));
        Assert.Equal((true, 5m, 2m, posts), (shown.True("dry_run"), shown.Number("changed"), shown.Number("catalog_version"), Posts(api)));

        Assert.Equal(changes, Actions((await api.Post("/v1/catalog/push?dry_run=false")).Expect(200)));
        Assert.Contains("plan_pro Professional", Products(api));
        Assert.Contains("pro-month 1500 usd 1 month plan_pro", ActivePrices(api));
        Assert.Equal((false, null), ((bool)api.Sandbox.Find(old)!["active"]!, (string?)api.Sandbox.Find(old)!["lookup_key"]));
        Assert.Empty(Actions((await api.Post("/v1/catalog/push")).Expect(200)));
    }

    [Fact]
    public async Task back_to_the_old_catalog_on_the_same_day_is_a_change_like_any_other()
    {
        await using var before = await TestApi.StartWithStripe(First);
        var (products, prices) = (Products(before), ActivePrices(before));
        await using var edited = await before.Restart(Second);
        (await edited.Post("/v1/catalog/push")).Expect(200);
        await using var api = await edited.Restart(First);
        (await api.Post("/v1/catalog/push")).Expect(200);

        Assert.Equal([.. products.Append("plan_team Team").Order(StringComparer.Ordinal)], Products(api));
        Assert.Equal([.. prices.Append("team-month 9900 usd 1 month plan_team").Order(StringComparer.Ordinal)], ActivePrices(api));
    }

    [Fact]
    public async Task a_push_that_is_broken_off_anywhere_is_finished_by_the_next_one()
    {
        await using var complete = await TestApi.StartWithStripe(First);
        await using var wanted = await complete.Restart(Second);
        var steps = (await wanted.Post("/v1/catalog/push")).Expect(200).Number("changed");
        foreach (var (n, isDone) in Enumerable.Range(1, (int)steps).SelectMany(n => ((int, bool)[])[(n, false), (n, true)]))
        {
            await using var before = await TestApi.StartWithStripe(First);
            await using var api = await before.Restart(Second);
            var services = api.Services;
            await Assert.ThrowsAsync<IOException>(() =>
                CatalogPush.Run(new BrokenOff(services.Stripe, n, isDone), services.Catalogs.Current, services.Settings.PriceIds, services.Clock, dryRun: false));

            (await api.Post("/v1/catalog/push")).Expect(200);

            Assert.Equal(Products(wanted), Products(api));
            Assert.Equal(ActivePrices(wanted), ActivePrices(api));
            Assert.Equal(wanted.Sandbox.All("price").Count, api.Sandbox.All("price").Count);
            Assert.Empty(Actions((await api.Post("/v1/catalog/push")).Expect(200)));
        }
    }

    /// <summary>The process dies at its n-th change: before Stripe has it, or before the answer is there.</summary>
    private sealed class BrokenOff(IStripeGateway stripe, int at, bool isDone) : IStripeGateway
    {
        private int posts;

        public bool IsTest => true;

        public async Task<JsonElement> Send(StripeRequest request, CancellationToken stop = default)
        {
            if (request.Method != HttpMethod.Post || ++posts < at) return await stripe.Send(request, stop);
            if (isDone) await stripe.Send(request, stop);
            throw new IOException("The process died.");
        }
    }

    [Fact]
    public async Task several_pushes_at_once_make_everything_once()
    {
        await using var before = await TestApi.StartWithStripe(First);
        await using var api = await before.Restart(Second);
        var prices = api.Sandbox.All("price").Count;

        foreach (var pushed in await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => api.Post("/v1/catalog/push")))) pushed.Expect(200);

        Assert.Equal(prices + 2, api.Sandbox.All("price").Count);
        Assert.Empty(Actions((await api.Post("/v1/catalog/push")).Expect(200)));
    }

    [Fact]
    public async Task who_pays_a_price_that_was_replaced_keeps_the_plan()
    {
        await using var before = await TestApi.StartWithStripe(First);
        await before.Open("acme");
        var old = (string)before.Sandbox.All("price").Single(p => (string?)p["lookup_key"] == "pro-month")["id"]!;
        await using var api = await before.Restart(Second);
        (await api.Post("/v1/catalog/push")).Expect(200);

        var stripe = api.Services.Stripe;
        var customer = (await stripe.Send(StripeRequests.CreateCustomer("acme", null))).Text("id")!;
        var card = (await stripe.Send(StripeRequest.Post("/v1/payment_methods/pm_card_visa/attach", "attach", null, new() { { "customer", customer } }))).Text("id");
        await stripe.Send(StripeRequest.Post("/v1/prices/" + old, "sold-again", null, new() { { "active", true } }));
        await stripe.Send(StripeRequest.Post("/v1/subscriptions", "subscribe", null, new()
        {
            { "customer", customer }, { "items[0][price]", old }, { "default_payment_method", card }, { "metadata[organization_id]", "acme" },
        }));
        await api.Settle();

        Assert.Equal("pro", (await api.Subscription("acme")).String("plan"));
        Assert.Null((string?)api.Sandbox.Find(old)!["lookup_key"]);
    }

    [Fact]
    public async Task prices_that_are_given_are_looked_at_and_nothing_is_made_for_them()
    {
        await using var before = await TestApi.StartWithStripe(First);
        async Task<string> Made(string product, long amount) => (await before.Services.Stripe.Send(StripeRequest.Post("/v1/prices", $"made-{amount}", null, new()
        {
            { "product_data[name]", product }, { "currency", "usd" }, { "unit_amount", amount }, { "recurring[interval]", "month" },
        }))).Text("id")!;
        var (good, dear) = (await Made("Theirs", 9900), await Made("Too dear", 1501));
        await using var api = await before.Restart(Second
            .Replace("\"amount\": 9900", $"\"amount\": 9900, \"price_id\": \"{good}\"", StringComparison.Ordinal).Replace("\"amount\": 1500", $"\"amount\": 1500, \"price_id\": \"{dear}\"", StringComparison.Ordinal)
            .Replace("\"amount\": 2800", "\"amount\": 2800, \"price_id\": \"price_gone\"", StringComparison.Ordinal));

        var pushed = (await api.Post("/v1/catalog/push")).Expect(200);

        Assert.Equal(
            [
                "given team-month: 99.00 usd a month", "update_product plan_pro: the name is Professional instead of Pro", "given pro-month: it is 15.01 usd a month at Stripe; the catalog says 15.00 usd a month",
                "given pro-quarter: Stripe has no such price; the catalog says 28.00 usd a quarter",
            ], Actions(pushed));
        Assert.Equal((1m, 2m), (pushed.Number("changed"), pushed.Number("wrong")));
        Assert.Equal([null, null, true, true], pushed["changes"]!.AsArray().Where(c => (string?)c!["action"] is not "keep").Select(c => (bool?)c!["is_wrong"]));
        Assert.DoesNotContain(Products(api), p => p.StartsWith("plan_team", StringComparison.Ordinal));
    }

    [Fact]
    public void the_plan_of_changes_needs_nothing_but_what_is_sold_and_what_is_there()
    {
        var price = new SoldPrice("pro-month", new Money(1500, "usd"), BillingInterval.Month, null);
        var product = new SoldProduct("plan_pro", "Pro", "plan", "pro", [price]);
        var there = new ProductAtStripe("plan_pro", "Pro", true, "pro", 1);
        PriceAtStripe At(string id, long amount, string? key, bool active = true, bool ours = true, string of = "plan_pro") => new(id, of, amount, "usd", "month", key, active, ours);

        string[] Plan(ProductAtStripe? at, params PriceAtStripe[] prices) =>
            [.. CatalogPush.Changes([product], new CatalogAtStripe(at is null ? [] : [at], prices), 1, Now).Select(c => $"{c.Action} {c.Id ?? c.LookupKey}")];

        Assert.Equal(["create_product plan_pro", "create_price pro-month"], Plan(null));
        Assert.Equal(["keep plan_pro", "keep price_1"], Plan(there, At("price_1", 1500, "pro-month")));
        Assert.Equal(["update_product plan_pro", "keep price_1"], Plan(there with { IsActive = false }, At("price_1", 1500, "pro-month")));
        Assert.Equal(["update_product plan_pro", "keep price_1"], Plan(there with { Of = null }, At("price_1", 1500, "pro-month")));
        Assert.Equal(["keep plan_pro", "replace_price price_1", "archive_price price_1"], Plan(there, At("price_1", 1000, "pro-month")));
        // Broken off between the new price and the end of the old one.
        Assert.Equal(["keep plan_pro", "keep price_2", "archive_price price_1"], Plan(there, At("price_1", 1000, null), At("price_2", 1500, "pro-month")));
        // Somebody's own price of the product stays, and so does a product of somebody's own.
        Assert.Equal(["keep plan_pro", "keep price_2"], Plan(there, At("price_1", 1000, null, ours: false), At("price_2", 1500, "pro-month")));
        Assert.Equal(["keep plan_pro", "keep price_1"], Plan(there, At("price_1", 1500, "pro-month", ours: false, of: "prod_theirs")));
        Assert.Equal(["keep plan_pro", "replace_price price_1"], Plan(there, At("price_1", 1000, "pro-month", ours: false, of: "prod_theirs")));
        // Archived by hand, and it keeps its key.
        Assert.Equal(["keep plan_pro", "replace_price price_1"], Plan(there, At("price_1", 1500, "pro-month", active: false)));
    }

    [Fact]
    public async Task it_is_for_operators()
    {
        await using var api = await TestApi.Start("summarizer");
        await api.Open("acme");
        using var client = await api.ClientOf("acme");

        (await api.Post("/v1/catalog/push?dry_run=yes")).ExpectProblem(400, "invalid_parameter", "neither true nor false", "dry_run");
        (await api.Post("/v1/catalog/push", by: client)).ExpectProblem(403, "operator_only", "");
    }
}
