using System.Text.Json.Nodes;
using Billing.Tests.Api;
using Billing.Tests.Stripe;
using NodaTime;

namespace Billing.Tests.Scenarios;

/// <summary>Scenario D: quantum jobs, charged past what the plan includes.</summary>
public sealed class Quantum
{
    [Theory]
    [InlineData("professional", 100)]
    [InlineData("enterprise", 1_000)]
    [InlineData("research", 500)]
    public async Task D1_a_paid_plan_runs_past_the_allowance_and_is_charged(string plan, int included)
    {
        await using var api = await TestApi.Start("quantum");
        await api.Open("acme");
        await api.Subscribe("acme", $"{plan}-month", until: "2026-12-20T10:00:00Z");
        Assert.Equal(0, (await api.Use("acme", "quantum_jobs", included - 5)).Expect(201).Number("charge.amount"));

        // All in one: five that are included and 45 that are not.
        var past = (await api.Use("acme", "quantum_jobs", 50)).Expect(201);
        Assert.Equal(5, past.Number("covered.allowance"));
        Assert.Equal(45, past.Number("covered.overage"));
        Assert.Equal(2_250, past.Number("charge.amount"));
        Assert.True(past.True("entitlement.has_access"));
        (await api.Use("acme", "api_calls", 1_247)).Expect(201);

        var usage = await Usage(api);
        Assert.Equal(2_250, Cents(Line(usage, "quantum_jobs"), "charge"));
        // $1.247, rounded once.
        Assert.Equal(125, Cents(Line(usage, "api_calls"), "charge"));
        Assert.Equal(2_375, usage.Number("charge.amount"));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task D1_storage_past_the_allowance_is_charged_by_the_periods_peak()
    {
        await using var api = await TestApi.Start("quantum");
        await api.Open("acme", "professional");
        (await api.Put("/v1/organizations/acme/gauges/storage_gb", new { value = 62.5m })).Expect(200);
        (await api.Put("/v1/organizations/acme/gauges/storage_gb", new { value = 20m })).Expect(200);

        var storage = Line(await Usage(api), "storage_gb");

        Assert.Equal(20, Decimal(storage, "quantity"));
        Assert.Equal(62.5m, Decimal(storage, "peak"));
        Assert.Equal(125, Cents(storage, "charge"));
    }

    [Fact]
    public async Task D1_the_free_plan_is_blocked_with_429_and_told_when_to_come_back()
    {
        await using var api = await TestApi.Start("quantum");
        await api.Open("acme");
        (await api.Use("acme", "quantum_jobs", 10)).Expect(201);
        (await api.Use("acme", "api_calls", 1_000)).Expect(201);
        (await api.Use("acme", "storage_gb", 1)).Expect(201);

        foreach (var feature in (string[])["quantum_jobs", "api_calls", "storage_gb"])
        {
            var denied = (await api.Use("acme", feature)).Expect(429);
            Assert.Equal("quota_exceeded", denied.Code);
            Assert.True(long.Parse(denied.Headers["Retry-After"]) > 0);
            Assert.Equal(["professional", "enterprise", "research"], denied.At("denial.upgrade_to")!.AsArray().Select(p => p!.GetValue<string>()));
        }

        var jobs = (await api.Use("acme", "quantum_jobs")).Expect(429);
        Assert.Equal((TestApi.Time("2026-12-01T00:00:00Z") - api.Clock.Now).TotalSeconds, double.Parse(jobs.Headers["Retry-After"]));
        Assert.Equal(0, (await Usage(api)).Number("charge.amount"));
        api.Clock.Set("2026-12-01T00:00:00Z");
        (await api.Use("acme", "quantum_jobs")).Expect(201);
    }

    [Theory]
    [InlineData("free", 1)]
    [InlineData("professional", 10)]
    [InlineData("research", 50)]
    public async Task D1_users_are_the_exception_and_block_with_402_on_paid_plans_too(string plan, int seats)
    {
        await using var api = await TestApi.Start("quantum");
        await api.Open("acme", plan);
        (await api.Use("acme", "users", seats)).Expect(201);

        Assert.Equal("quota_exceeded", (await api.Use("acme", "users")).Expect(402).Code);

        Assert.Equal(0, Cents(Line(await Usage(api), "users"), "charge"));
    }

    [Fact]
    public async Task D2_the_example_invoice_to_the_cent()
    {
        await using var api = await TestApi.Start("quantum", at: "2026-11-01T00:00:00Z");
        await api.Open("acme");
        (await api.Put("/v1/organizations/acme/subscription", new { plan = "professional", interval = "month" })).Expect(200);
        (await api.Use("acme", "quantum_jobs", 100)).Expect(201);
        (await api.Use("acme", "quantum_jobs", 45)).Expect(201);
        (await api.Put("/v1/organizations/acme/gauges/storage_gb", new { value = 62.5m })).Expect(200);
        (await api.Put("/v1/organizations/acme/gauges/storage_gb", new { value = 40m })).Expect(200);
        foreach (var calls in (int[])[1_000, 200, 47]) (await api.Use("acme", "api_calls", calls)).Expect(201);
        var upcoming = (await api.Get("/v1/organizations/acme/invoices/upcoming")).Expect(200);
        Assert.Equal((2_500, 2_700), (upcoming.Number("invoices.0.subtotal.amount"), upcoming.Number("invoices.0.total.amount")));

        api.Clock.Set("2026-12-01T00:00:00Z");
        Assert.Equal(1, await api.RunDueWork());
        var id = (await api.Get("/v1/organizations/acme/invoices?limit=1")).Expect(200).String("items.0.id");
        var invoice = (await api.Get($"/v1/organizations/acme/invoices/{id}")).Expect(200);

        Assert.Equal(
            [
                ("base", 29_900L, 2_392L), ("overage", 2_250L, 180L), ("overage", 125L, 10L), ("overage", 125L, 10L),
            ],
            invoice["lines"]!.AsArray().Select(l => ((string)l!["kind"]!, Cents(l, "amount"), Cents(l, "tax"))));
        Assert.Equal(
            ["145 quantum jobs: 45 additional", "62.5 GB of storage at the peak: 12.5 additional", "1,247 API calls: 1,247 additional"],
            invoice["lines"]!.AsArray().Skip(1).Select(l => (string)l!["description"]!));
        Assert.Equal((32_400, 2_592, 34_992, 34_992), (invoice.Number("subtotal.amount"), invoice.Number("tax.amount"), invoice.Number("total.amount"), invoice.Number("amount_due.amount")));
        Assert.Equal(("INV-2026-12-acme", "open", "2026-12-16T00:00:00Z"), (invoice.String("number"), invoice.String("status"), invoice.String("due_at")));
        var page = (await api.Get($"/v1/organizations/acme/invoices/{id}/print")).Expect(200).Text;
        foreach (var amount in (string[])["$299.00", "$22.50", "$1.25", "$324.00", "$25.92", "$349.92"]) Assert.Contains($"<td>{amount}</td>", page, StringComparison.Ordinal);
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task D3_current_usage_lists_each_type_with_its_quantity_its_list_cost_its_charge_and_its_limit()
    {
        await using var api = await TestApi.Start("quantum");
        await api.Open("acme", "professional");
        (await api.Use("acme", "quantum_jobs", 47)).Expect(201);
        (await api.Use("acme", "api_calls", 2_000)).Expect(201);
        (await api.Use("acme", "storage_gb", 12.5m)).Expect(201);
        (await api.Use("acme", "users", 4)).Expect(201);

        var usage = await Usage(api);

        Assert.Equal(["quantum_jobs", "storage_gb", "api_calls", "users"], usage["usage"]!.AsArray().Select(l => l!["feature"]!.GetValue<string>()));
        var jobs = Line(usage, "quantum_jobs");
        Assert.Equal((47m, 100m, 53m), (Decimal(jobs, "quantity"), Decimal(jobs, "limit"), Decimal(jobs, "remaining")));
        Assert.Equal((2_350, 0), (Cents(jobs, "list_cost"), Cents(jobs, "charge")));
        var calls = Line(usage, "api_calls");
        Assert.Equal((2_000m, 0m), (Decimal(calls, "quantity"), Decimal(calls, "limit")));
        Assert.Equal((200, 200), (Cents(calls, "list_cost"), Cents(calls, "charge")));
        var storage = Line(usage, "storage_gb");
        Assert.Equal((12.5m, 50m), (Decimal(storage, "quantity"), Decimal(storage, "limit")));
        Assert.Equal((125, 0), (Cents(storage, "list_cost"), Cents(storage, "charge")));
        var users = Line(usage, "users");
        Assert.Equal((4m, 10m), (Decimal(users, "quantity"), Decimal(users, "limit")));
        Assert.Null(users["list_cost"]);
        Assert.Equal(200, usage.Number("charge.amount"));
    }

    [Fact]
    public async Task D4_usage_carries_metadata_that_comes_back_in_the_history()
    {
        await using var api = await TestApi.Start("quantum");
        await api.Open("acme", "professional");
        (await api.Use("acme", "quantum_jobs", 1, metadata: new { backend = "ibm_brisbane", shots = "4096" })).Expect(201);
        (await api.Use("acme", "quantum_jobs", 2, metadata: new { backend = "Zürich \"α\"", shots = "" })).Expect(201);
        (await api.Use("acme", "quantum_jobs", 3)).Expect(201);

        var records = await api.List("/v1/organizations/acme/usage/records?feature=quantum_jobs");

        Assert.Equal([1m, 2m, 3m], records.Select(r => Decimal(r, "quantity")));
        Assert.Equal(("ibm_brisbane", "4096"), Metadata(records[0]));
        Assert.Equal(("Zürich \"α\"", ""), Metadata(records[1]));
        Assert.Null(records[2]["metadata"]);
        // Page by page too.
        Assert.Equal(records.Select(r => r.ToJsonString()), (await api.List("/v1/organizations/acme/usage/records?feature=quantum_jobs&limit=1")).Select(r => r.ToJsonString()));

        static (string, string) Metadata(JsonNode record) => (record["metadata"]!["backend"]!.GetValue<string>(), record["metadata"]!["shots"]!.GetValue<string>());
    }

    [Theory]
    [InlineData("now", "free", true, 2)]
    [InlineData("period_end", "professional", false, 1)]
    public async Task D6_a_subscription_is_cancelled_now_or_at_the_periods_end(string at, string planThen, bool hasEnded, int invoices)
    {
        await using var api = await TestApi.Start("quantum", at: "2026-11-01T00:00:00Z");
        await api.Open("acme");
        (await api.Put("/v1/organizations/acme/subscription", new { plan = "professional", interval = "month" })).Expect(200);
        (await api.Use("acme", "quantum_jobs", 145)).Expect(201);
        api.Clock.Set("2026-11-16T00:00:00Z");

        (await api.Send(HttpMethod.Delete, $"/v1/organizations/acme/subscription?at={at}")).Expect(200);

        var subscription = await api.Subscription("acme");
        Assert.Equal((planThen, hasEnded ? "canceled" : "active"), (subscription.String("plan"), subscription.String("status")));
        Assert.Equal(invoices, (await api.List("/v1/organizations/acme/invoices")).Count);

        // In either case it is over then, what was used is billed once, and nothing more.
        foreach (var later in (string[])["2026-12-01T00:00:01Z", "2027-02-01T00:00:01Z"])
        {
            api.Clock.Set(later);
            await api.RunDueWork();
        }
        Assert.Equal(("free", "canceled"), ((await api.Subscription("acme")).String("plan"), (await api.Subscription("acme")).String("status")));
        var all = await api.List("/v1/organizations/acme/invoices");
        var subtotals = (await Task.WhenAll(all.Select(i => api.Get($"/v1/organizations/acme/invoices/{i["number"]}")))).Select(i => (long)i.Number("subtotal.amount"));
        Assert.Equal([2_250L, 29_900L], subtotals);
    }

    [Fact]
    public async Task D5_invoices_are_made_for_each_month_due_in_15_days_and_open_until_they_are_paid()
    {
        await using var api = await TestApi.Start("quantum", at: "2026-09-01T00:00:00Z");
        await api.Open("acme");
        (await api.Put("/v1/organizations/acme/subscription", new { plan = "professional", interval = "month" })).Expect(200);
        (await api.Use("acme", "quantum_jobs", 102)).Expect(201);
        foreach (var month in (string[])["2026-10-01T00:00:01Z", "2026-11-01T00:00:01Z", "2026-12-01T00:00:01Z"])
        {
            api.Clock.Set(month);
            await api.RunDueWork();
        }

        var page = (await api.Get("/v1/organizations/acme/invoices?limit=3")).Expect(200);
        Assert.Equal([("INV-2026-12-acme", 29_900L), ("INV-2026-11-acme", 29_900L), ("INV-2026-10-acme", 30_000L)],
            (await Task.WhenAll(page["items"]!.AsArray().Select(i => api.Get($"/v1/organizations/acme/invoices/{i!["number"]}")))).Select(i => (i.String("number")!, (long)i.Number("subtotal.amount"))));
        Assert.NotNull(page["next_cursor"]);
        var newest = page["items"]![0]!;
        Assert.Equal(("open", "2026-12-01T00:00:00Z", "2026-12-16T00:00:00Z"), ((string)newest["status"]!, (string)newest["finalized_at"]!, (string)newest["due_at"]!));

        (await api.Post("/v1/organizations/acme/payments", new { invoice = "INV-2026-12-acme", status = "paid" })).Expect(201);
        Assert.Equal(["INV-2026-12-acme"], (await api.List("/v1/organizations/acme/invoices?status=paid")).Select(i => (string)i["number"]!));
        Assert.Equal(3, (await api.List("/v1/organizations/acme/invoices?status=open")).Count);
    }

    [Fact]
    public async Task D7_payments_that_succeed_and_fail_are_told_by_three_more_webhooks()
    {
        await using var shop = await Shop.Open("quantum");
        await shop.Subscribe("professional");
        // Of one payment three events tell, and it counts once. What an invoice's payment intent buys, the invoice says.
        foreach (var (type, state) in ((string, string)[])[("invoice.paid", "applied"), ("invoice.payment_succeeded", "applied"), ("payment_intent.succeeded", "ignored")]) Assert.Equal(state, await State(type));
        Assert.Equal("paid", Assert.Single((await shop.Subscription())["payments"]!.AsArray())!["status"]!.GetValue<string>());
        Assert.Empty(await shop.Api.Ledger("acme", "tokens-purchased"));

        // The next month's payment fails.
        var customer = (string)Assert.Single(shop.Stripe.Server.All("customer"))["id"]!;
        var failing = (await shop.Stripe.Post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", $"customer={customer}")).Ok().Id;
        (await shop.Stripe.Post($"/v1/subscriptions/{(await shop.Subscription()).String("id")}", $"default_payment_method={failing}")).Ok();
        await shop.Api.AdvanceTo("2026-12-20T12:00:00Z");
        Assert.Equal("ignored", await State("payment_intent.payment_failed"));
        Assert.Equal("applied", await State("invoice.payment_failed"));
        var owing = await shop.Subscription();
        Assert.Equal(("professional", "past_due"), (owing.String("plan"), owing.String("status")));
        Assert.Equal(["failed 1", "paid 0"], owing["payments"]!.AsArray().Select(p => $"{p!["status"]} {p["failed_attempts"]}").Order(StringComparer.Ordinal));

        // Another card, and it is paid: whatever comes once more changes nothing.
        (await shop.Api.Put("/v1/organizations/acme/subscription", new { payment_method = "pm_card_visa" })).Expect(200);
        await shop.Api.Settle();
        var paid = await shop.Subscription();
        Assert.Equal(("professional", "active"), (paid.String("plan"), paid.String("status")));
        Assert.Equal(["paid", "paid"], paid["payments"]!.AsArray().Select(p => (string?)p!["status"]));
        Assert.Equal(["paid", "paid"], (await shop.Api.List("/v1/organizations/acme/invoices")).Select(i => (string?)i["status"]));
        foreach (var e in shop.Stripe.Server.All("event")) shop.Stripe.Server.Resend((string)e["id"]!);
        await shop.Api.Settle();
        Assert.Equal(paid.Text, (await shop.Subscription()).Text);
        Assert.Equal(2, shop.Stripe.Server.All("charge").Count(c => (string?)c["status"] == "succeeded"));

        async Task<string?> State(string type) => (string?)Assert.Single(await shop.Api.List($"/v1/stripe/events?type={type}"))["state"];
    }

    [Fact]
    public async Task D9_the_number_of_users_is_checked_against_the_plan()
    {
        await using var api = await TestApi.Start("quantum");
        await api.Open("acme", "professional");
        for (var i = 0; i < 10; i++) (await api.Use("acme", "users")).Expect(201);
        Assert.False((await api.Check("acme", "users")).True("has_access"));
        (await api.Use("acme", "users")).Expect(402);

        // One leaves, one comes; and no month gives a seat back.
        (await api.Use("acme", "users", -1)).Expect(201);
        Assert.True((await api.Check("acme", "users", 1)).True("has_access"));
        Assert.False((await api.Check("acme", "users", 2)).True("has_access"));
        (await api.Use("acme", "users")).Expect(201);
        api.Clock.Advance(Duration.FromDays(90));
        (await api.Use("acme", "users")).Expect(402);

        await api.SetPlan("acme", "research");
        Assert.Equal(40, (await api.Check("acme", "users")).Number("remaining"));
        await api.SetPlan("acme", "enterprise");
        Assert.Null((await api.Check("acme", "users")).At("limit"));
        (await api.Use("acme", "users", 1_000)).Expect(201);
        // A smaller plan takes nobody's seat away, and lets nobody in.
        await api.SetPlan("acme", "professional");
        Assert.Equal(1_010, (await api.Check("acme", "users")).Number("used"));
        (await api.Use("acme", "users")).Expect(402);
        (await api.Use("acme", "users", -1_001)).Expect(201);
        (await api.Use("acme", "users")).Expect(201);
    }

    private static async Task<Answer> Usage(TestApi api) => (await api.Get("/v1/organizations/acme/usage/current")).Expect(200);

    private static JsonNode Line(Answer usage, string feature) => usage["usage"]!.AsArray().Single(l => l!["feature"]!.GetValue<string>() == feature)!;

    private static decimal Decimal(JsonNode node, string name) => node[name]!.GetValue<decimal>();

    private static long Cents(JsonNode line, string name) => line[name]!["amount"]!.GetValue<long>();
}
