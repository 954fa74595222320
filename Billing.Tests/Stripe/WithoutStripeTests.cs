using Billing.Tests.Api;

namespace Billing.Tests.Stripe;

/// <summary>No key of Stripe's, and no stand-in: what needs Stripe says so, and everything else works.</summary>
public sealed class WithoutStripeTests
{
    private const string Acme = "/v1/organizations/acme";

    private static readonly (HttpMethod Method, string Path, object? Body)[] NeedStripe =
    [
        (HttpMethod.Post, $"{Acme}/checkout-sessions", new { plan = "community-pro", interval = "month" }),
        (HttpMethod.Get, $"{Acme}/checkout-sessions/cs_test_1", null),
        (HttpMethod.Post, $"{Acme}/tokens/purchase", new { token_package = "starter" }),
        (HttpMethod.Post, $"{Acme}/tokens/purchase", new { token_package = "starter", mode = "payment_intent" }),
        (HttpMethod.Post, $"{Acme}/portal-sessions", new { }),
        (HttpMethod.Put, $"{Acme}/subscription", new { plan = "pro-learn", interval = "month", payment_method = "pm_card_visa" }),
        (HttpMethod.Put, $"{Acme}/subscription", new { payment_method = "pm_card_visa" }),
        (HttpMethod.Post, $"{Acme}/refunds", new { payment = "pi_1", reason = "asked for" }),
        (HttpMethod.Post, $"{Acme}/reconcile", new { repair = true }),
        (HttpMethod.Post, "/v1/catalog/push", new { }),
        (HttpMethod.Post, "/v1/catalog/push?dry_run=true", new { }),
    ];

    [Fact]
    public async Task what_needs_stripe_says_so_with_a_sentence()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");

        foreach (var (method, path, body) in NeedStripe)
            (await api.Send(method, path, body, method == HttpMethod.Get ? null : TestApi.NewKey())).ExpectProblem(503, "stripe_not_configured", "This needs Stripe. Set STRIPE_SECRET_KEY to a secret key (sk_test_… or sk_live_…).");

        // Nothing came of any of it.
        Assert.Equal(1, (await api.Get(Acme)).Number("version"));
        Assert.False((await api.Get("/v1/config")).Expect(200).True("selling"));
    }

    [Fact]
    public async Task no_other_route_needs_it()
    {
        await using var api = await TestApi.Start("learning-community");
        var routes = await api.Routes("/v1/");
        Assert.True(routes.Count > 60, $"{routes.Count}");
        // One organization for each: what a route does to it is its own.
        foreach (var (i, (method, path)) in routes.Index())
        {
            await api.Open($"org-{i}");
            var answer = await api.Send(method, path.Replace("/acme", $"/org-{i}", StringComparison.Ordinal), method == HttpMethod.Get ? null : "{}", TestApi.NewKey());
            if (answer.Status == 503) Assert.Contains(NeedStripe, n => n.Method == method && n.Path.Split('?')[0].Replace("cs_test_1", "projects", StringComparison.Ordinal) == path);
            Assert.True(answer.Status is < 500 or 503, $"{method} {path}: {answer.Text}");
        }
    }

    [Fact]
    public async Task everything_else_works_webhooks_too()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");

        (await api.Put($"{Acme}/profile", new { name = "Acme", country = "DE" })).Expect(200);
        // A subscription that the ledger keeps, its change, its invoices and its end.
        Assert.Equal("ledger", (await api.Put($"{Acme}/subscription", new { plan = "community-pro", interval = "month", trial = false, payment_method = true })).Expect(200).String("kept_by"));
        (await api.Post($"{Acme}/subscription/preview", new { plan = "pro-learn" })).Expect(200);
        Assert.Equal("pro-learn", (await api.Put($"{Acme}/subscription", new { plan = "pro-learn" })).Expect(200).String("plan"));
        Assert.Single(await api.List($"{Acme}/invoices"));
        (await api.Send(HttpMethod.Delete, $"{Acme}/subscription?at=now")).Expect(200);
        // Usage, tokens, top-up.
        (await api.Use("acme", "ai_requests")).Expect(201);
        await api.Grant("acme", 5);
        // What Stripe sends is signed with another secret, and needs no key.
        await api.Stripe("payment_intent.succeeded", StripeFixture.PaymentIntent("pi_1", 500, "acme", "starter"));
        Assert.Equal(100_005, (await api.Get($"{Acme}/tokens")).Number("balance"));
        await api.Stripe("customer.subscription.created", StripeFixture.Subscription("sub_1", "cus_1", "pro-learn-month", "active", api.Clock.Now, api.Clock.Now, TestApi.Time("2026-12-20T10:00:00Z"), "acme"));
        Assert.Equal(("pro-learn", "stripe"), await api.Subscription("acme") is var s ? (s.String("plan"), s.String("kept_by")) : default);
        api.Clock.Set("2026-12-20T10:00:01Z");
        await api.RunDueWork();
        await api.RunStripeWork();
        (await api.Get("/v1/stripe/reconciliation")).Expect(200);
        await api.VerifyLedger("acme");
    }
}
