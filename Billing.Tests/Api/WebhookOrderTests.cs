using System.Text.Json.Nodes;
using NodaTime;
using Xunit.Abstractions;

namespace Billing.Tests.Api;

/// <summary>Any order and any repetition of the same Stripe events gives the same final state.</summary>
public sealed class WebhookOrderTests(ITestOutputHelper output)
{
    private const int Orders = 50;
    private const int FirstSeed = 20_261_120;

    /// <summary>The clock stands between the events, so that an operator's plan is younger than some and older than others.</summary>
    private const string Now = "2026-11-20T10:00:00Z";

    [Fact]
    public async Task the_same_webhook_sequence_in_50_random_orders_with_random_repeats_gives_one_final_state()
    {
        await using var api = await TestApi.Start("learning-community", at: Now);
        var expected = await Play(api, 0, Steps(0));
        ExpectTheStory(expected);
        for (var run = 1; run <= Orders; run++)
        {
            var seed = FirstSeed + run;
            var random = new Random(seed);
            var steps = Steps(run).SelectMany(s => Enumerable.Repeat(s, s.MayRepeat ? random.Next(1, 4) : 1)).ToArray();
            random.Shuffle(steps);
            // An operator can set a plan only once the organization is there.
            var plan = Array.FindIndex(steps, s => s.Name == "set plan");
            var open = Array.FindIndex(steps, s => s.Name == "open beta");
            if (plan < open) (steps[plan], steps[open]) = (steps[open], steps[plan]);

            var found = await Play(api, run, steps);
            output.WriteLine($"seed {seed}: {string.Join(", ", steps.Select(s => s.Name))}");
            AssertSame(expected, found, seed);
        }
    }

    /// <summary>The same with use in the running windows when the events come, so that anchors move under it.</summary>
    [Fact]
    public async Task use_is_carried_over_the_same_in_whatever_order_anchors_move_under_it()
    {
        await using var api = await TestApi.Start("learning-community", at: Now);
        string? expected = null;
        for (var run = 0; run <= Orders / 2; run++)
        {
            var seed = FirstSeed + run;
            var random = new Random(seed);
            var all = Steps(run);
            var steps = all.Where(s => s.MayRepeat).SelectMany(s => Enumerable.Repeat(s, random.Next(1, 4))).ToArray();
            if (run > 0) random.Shuffle(steps);
            var found = await Play(api, run, [.. all.Where(s => !s.MayRepeat), Use(run, "acme"), Use(run, "beta"), .. steps]);
            expected ??= found;
            output.WriteLine($"seed {seed}: {string.Join(", ", steps.Select(s => s.Name))}");
            AssertSame(expected, found, seed);
        }
    }

    private static void AssertSame(string expected, string found, int seed)
    {
        if (expected == found) return;
        var at = expected.Zip(found).TakeWhile(c => c.First == c.Second).Count();
        Assert.Fail($"Seed {seed} ends in another state. Expected:\n{Around(expected)}\nFound:\n{Around(found)}");

        string Around(string text) => text[Math.Max(0, at - 200)..Math.Min(text.Length, at + 200)];
    }

    private sealed record Step(string Name, Func<TestApi, Task> Do, bool MayRepeat = true);

    private static Step Use(int run, string organization) => new($"use {organization}", async api =>
    {
        (await api.Use($"{organization}-{run:D2}", "ai_requests", 2)).Expect(201);
        (await api.Put($"/v1/organizations/{organization}-{run:D2}/gauges/projects", new { value = 4 })).Expect(200);
    }, MayRepeat: false);

    /// <summary>
    /// acme is opened on a plan, and its customer is known by one event alone; its first subscription is tried, paid, failed,
    /// saved, changed and deleted, its second is past due. beta names itself in every event, and an operator gives it a plan.
    /// Every run has organizations and ids of its own, told apart by the run's number.
    /// </summary>
    private static List<Step> Steps(int run)
    {
        var (acme, beta) = ($"acme-{run:D2}", $"beta-{run:D2}");
        string Id(string id) => $"{id}-{run:D2}";
        var steps = new List<Step>
        {
            new("open acme", api => api.Open(acme, plan: "community-pro"), MayRepeat: false),
            new("open beta", api => api.Open(beta, timeZone: "America/New_York"), MayRepeat: false),
            new("set plan", api => api.SetPlan(beta, "pro-learn"), MayRepeat: false),
        };

        // The only event that says whose customer it is.
        Add("link", "checkout.session.completed", "2026-10-01T00:00:05Z", StripeFixture.SubscriptionSession(Id("cs_sub"), acme, Id("cus_a"), Id("sub_1")));

        Sub("trial", "created", "2026-10-01T00:00:00Z", "sub_1", "community-pro-month", "trialing", "2026-10-01", "2026-10-08");
        Sub("first paid", "updated", "2026-10-08T00:00:00Z", "sub_1", "community-pro-month", "active", "2026-10-08", "2026-11-08");
        Sub("past due", "updated", "2026-11-08T00:00:00Z", "sub_1", "community-pro-month", "past_due", "2026-11-08", "2026-12-08");
        // In the same second as the one before: the greater event id stands.
        Sub("past due, twice", "updated", "2026-11-08T00:00:00Z", "sub_1", "community-pro-month", "past_due", "2026-11-08", "2026-12-08");
        Sub("saved", "updated", "2026-11-11T08:00:00Z", "sub_1", "community-pro-month", "active", "2026-11-08", "2026-12-08");
        Sub("changed", "updated", "2026-11-12T08:00:00Z", "sub_1", "pro-learn-year", "active", "2026-11-12", "2027-11-12");
        Sub("deleted", "deleted", "2026-11-15T08:00:00Z", "sub_1", "pro-learn-year", "canceled", "2026-11-12", "2027-11-12");
        // Deleted is final, whatever a later event says.
        Sub("late update", "updated", "2026-11-15T08:00:01Z", "sub_1", "pro-learn-year", "active", "2026-11-12", "2027-11-12");
        Sub("second", "created", "2026-11-16T12:00:00Z", "sub_2", "community-pro-quarter", "incomplete", "2026-11-16", "2027-02-16");
        Sub("second active", "updated", "2026-11-16T12:00:00Z", "sub_2", "community-pro-quarter", "active", "2026-11-16", "2027-02-16");
        Sub("second past due", "updated", "2026-11-19T12:00:00Z", "sub_2", "community-pro-quarter", "past_due", "2026-11-16", "2027-02-16");

        Bill("failed 1", "payment_failed", "2026-11-08T01:00:00Z", "in_1", "sub_1", 1800, 1);
        Bill("failed 2", "payment_failed", "2026-11-10T01:00:00Z", "in_1", "sub_1", 1800, 2);
        Bill("paid", "paid", "2026-11-11T07:59:59Z", "in_1", "sub_1", 1800, 3);
        // Stripe sometimes makes two events of one change, and not always in the same second.
        Bill("paid, twice", "paid", "2026-11-11T08:00:01Z", "in_1", "sub_1", 1800, 3);
        Bill("second failed 1", "payment_failed", "2026-11-18T12:00:00Z", "in_2", "sub_2", 5400, 1);
        Bill("second failed 2", "payment_failed", "2026-11-19T12:00:00Z", "in_2", "sub_2", 5400, 2);
        Bill("year paid", "paid", "2026-11-12T08:00:00Z", "in_3", "sub_1", 37800, 1);

        // One purchase, told of by three types of events with three times of their own.
        Add("tokens by session", "checkout.session.completed", "2026-11-13T10:00:05Z", StripeFixture.TokenSession(Id("cs_1"), acme, "starter", Id("pi_1"), 500));
        Add("tokens by async", "checkout.session.async_payment_succeeded", "2026-11-13T10:00:09Z", StripeFixture.TokenSession(Id("cs_1"), acme, "starter", Id("pi_1"), 500));
        Add("tokens by intent", "payment_intent.succeeded", "2026-11-13T10:00:03Z", StripeFixture.PaymentIntent(Id("pi_1"), 500, acme, "starter"));
        // Another in between, so that which is older depends on which of the times counts.
        Add("more by session", "checkout.session.completed", "2026-11-13T10:00:07Z", StripeFixture.TokenSession(Id("cs_2"), acme, "booster", Id("pi_2"), 2000));
        Add("more by intent", "payment_intent.succeeded", "2026-11-13T10:00:04Z", StripeFixture.PaymentIntent(Id("pi_2"), 2000, acme, "booster"));
        // And one in the very second of the first.
        Add("most by intent", "payment_intent.succeeded", "2026-11-13T10:00:03Z", StripeFixture.PaymentIntent(Id("pi_3"), 3500, acme, "power"));
        Add("unpaid session", "checkout.session.completed", "2026-11-13T10:00:01Z", StripeFixture.TokenSession(Id("cs_3"), acme, "power", Id("pi_4"), 3500, paymentStatus: "unpaid"));
        Add("nothing was due", "checkout.session.completed", "2026-11-14T10:00:00Z", StripeFixture.TokenSession(Id("cs_4"), acme, "starter", null, 0, paymentStatus: "no_payment_required"));
        // The payment of an invoice is no purchase.
        Add("invoice's intent", "payment_intent.succeeded", "2026-11-11T08:00:00Z", StripeFixture.PaymentIntent(Id("pi_in"), 1800, null, null, Id("cus_a")));
        Add("not ours", "customer.updated", "2026-11-11T08:00:00Z", new JsonObject { ["id"] = Id("cus_a"), ["object"] = "customer" });

        // beta: a subscription that gave access before the operator's plan, and gives it again after.
        Add("beta before", "customer.subscription.created", "2026-11-19T10:00:00Z", Beta("active"));
        Add("beta after", "customer.subscription.updated", "2026-11-20T10:00:01Z", Beta("active"));
        Add("beta cancels", "customer.subscription.updated", "2026-11-21T10:00:00Z", Beta("active", cancelAtPeriodEnd: true));
        Add("beta invoice", "invoice.payment_failed", "2026-11-20T09:00:00Z", StripeFixture.Invoice(Id("in_b"), Id("cus_b"), Id("sub_b"), 1800, 1, paid: false));
        return steps;

        JsonObject Beta(string status, bool cancelAtPeriodEnd = false) => StripeFixture.Subscription(
            Id("sub_b"), Id("cus_b"), "community-pro-month", status, TestApi.Time("2026-11-19T10:00:00Z"), TestApi.Time("2026-11-19T10:00:00Z"),
            TestApi.Time("2026-12-19T10:00:00Z"), organization: beta, cancelAtPeriodEnd: cancelAtPeriodEnd);

        void Sub(string name, string change, string at, string id, string lookupKey, string status, string start, string end)
        {
            var ended = status == "canceled" ? TestApi.Time(at) : (Instant?)null;
            Add(name, $"customer.subscription.{change}", at, StripeFixture.Subscription(
                Id(id), Id("cus_a"), lookupKey, status, TestApi.Time(id == "sub_1" ? "2026-10-01T00:00:00Z" : "2026-11-16T12:00:00Z"),
                TestApi.Time($"{start}T00:00:00Z"), TestApi.Time($"{end}T00:00:00Z"), canceledAt: ended, endedAt: ended));
        }

        void Bill(string name, string change, string at, string id, string subscription, long amount, int attempts)
        {
            var invoice = StripeFixture.Invoice(Id(id), Id("cus_a"), Id(subscription), amount, attempts, paid: change == "paid");
            invoice["status_transitions"] = new JsonObject { ["paid_at"] = change == "paid" ? TestApi.Time(id == "in_1" ? "2026-11-11T07:59:58Z" : at).ToUnixTimeSeconds() : null };
            Add(name, $"invoice.{change}", at, invoice);
        }

        void Add(string name, string type, string at, JsonObject data)
        {
            var e = StripeFixture.Event(type, data, TestApi.Time(at), $"evt_{steps.Count:D2}-{run:D2}");
            steps.Add(new Step(name, async api => (await api.Webhook(e)).Expect(200)));
        }
    }

    /// <returns>Everything that the organizations' owners can see at the end, without what tells the runs apart.</returns>
    private static async Task<string> Play(TestApi api, int run, IReadOnlyList<Step> steps)
    {
        foreach (var step in steps) await step.Do(api);

        var state = new JsonObject();
        foreach (var organization in (string[])[$"acme-{run:D2}", $"beta-{run:D2}"])
        {
            await api.VerifyLedger(organization);
            foreach (var path in (string[])["", "/entitlements", "/subscription", "/tokens", "/usage/current"])
                state[organization + path] = Normalized((await api.Get($"/v1/organizations/{organization}{path}")).Expect(200).Json);
        }
        var waiting = (await api.Get("/v1/stripe/events?limit=500")).Expect(200)["items"]!.AsArray().Where(e => (string?)e!["state"] is not ("applied" or "ignored")).ToList();
        Assert.True(waiting.Count == 0, string.Join("\n", waiting.Select(e => e!.ToJsonString())));
        return state.ToJsonString().Replace($"-{run:D2}\"", "\"", StringComparison.Ordinal).Replace($"-{run:D2}/", "/", StringComparison.Ordinal);
    }

    /// <summary>Versions depend on the order, and so do the ids that are made of them.</summary>
    private static JsonNode? Normalized(JsonNode? json)
    {
        switch (json)
        {
            case JsonObject members:
                var kept = new JsonObject();
                foreach (var (name, value) in members)
                    if (name != "version" && !(name == "id" && value is JsonValue id && id.ToString().StartsWith("tg_", StringComparison.Ordinal)) && !(name == "id" && value?.ToString().StartsWith("dn_", StringComparison.Ordinal) == true))
                        kept[name] = Normalized(value);
                return kept;
            case JsonArray items:
                return new JsonArray([.. items.Select(Normalized)]);
            default:
                return json?.DeepClone();
        }
    }

    /// <summary>What the events came to when they came in order, so that it is the right state that all orders end in.</summary>
    private static void ExpectTheStory(string state)
    {
        var json = JsonNode.Parse(state)!;
        var subscription = json["acme/subscription"]!;
        Assert.Equal("sub_2", (string?)subscription["id"]);
        Assert.Equal("past_due", (string?)subscription["status"]);
        Assert.Equal("community-pro", (string?)subscription["plan"]);
        Assert.Equal("2026-11-21T12:00:00Z", (string?)subscription["grace_until"]);
        var first = subscription["payments"]!.AsArray().Single(p => (string?)p!["invoice"] == "in_1")!;
        Assert.Equal("paid", (string?)first["status"]);
        Assert.Equal(2, (int)first["failed_attempts"]!);
        Assert.Equal("2026-11-08T01:00:00Z", (string?)first["first_failed_at"]);
        Assert.Equal("2026-11-11T07:59:58Z", (string?)first["paid_at"]);

        var tokens = json["acme/tokens"]!;
        Assert.Equal(100_000 + 500_000 + 1_000_000 + 100_000, (long)tokens["balance"]!);
        Assert.Equal(["pi_1", "pi_3", "pi_2", "cs_4"], tokens["grants"]!.AsArray().Select(g => (string?)g!["payment"]));
        Assert.Equal("2026-11-13T10:00:03Z", (string?)tokens["grants"]![0]!["granted_at"]);
        Assert.Equal("2026-11-13T10:00:04Z", (string?)tokens["grants"]![2]!["granted_at"]);

        Assert.Equal("subscription", (string?)json["beta/subscription"]!["source"]);
        Assert.True((bool)json["beta/subscription"]!["cancel_at_period_end"]!);
    }
}
