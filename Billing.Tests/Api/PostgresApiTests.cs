namespace Billing.Tests.Api;

/// <summary>The service with everything in PostgreSQL: one journey through all that is kept there.</summary>
public sealed class PostgresApiTests
{
    [Fact]
    public async Task everything_that_is_kept_is_there_after_a_restart()
    {
        var api = await TestApi.StartOnPostgres("learning-community");
        await using var _ = api;
        (await api.Post("/v1/organizations", new { id = "acme" }, "open")).Expect(201);
        var used = (await api.Post("/v1/organizations/acme/usage", new { feature = "ai_requests", quantity = 1 }, "use-1")).Expect(201);
        (await api.Put("/v1/organizations/acme/profile", new { name = "Acme", email = "a@acme.example" })).Expect(200);
        (await api.Webhook(StripeFixture.Event("payment_intent.succeeded", StripeFixture.PaymentIntent("pi_1", 500, "later", "starter"), api.Clock.Now, "evt_1"))).Expect(200);
        (await api.Webhook(StripeFixture.Event("payment_intent.succeeded", StripeFixture.PaymentIntent("pi_2", 500, "later", "starter"), api.Clock.Now, "evt_2"))).Expect(200);
        var key = (await api.Post("/v1/api-keys", new { name = "acme's", organization = "acme" })).Expect(201);
        var head = (await api.Get("/v1/organizations/acme/ledger/head")).Expect(200);

        var again = await api.Restart();
        await using var __ = again;

        Assert.Equal(1, (await again.Get("/v1/organizations/acme/entitlements/ai_requests")).Expect(200)["used"]!.GetValue<int>());
        var repeated = (await again.Post("/v1/organizations/acme/usage", new { feature = "ai_requests", quantity = 1 }, "use-1")).Expect(201);
        Assert.Equal(used["id"]!.GetValue<string>(), repeated["id"]!.GetValue<string>());
        Assert.Equal("Acme", (await again.Get("/v1/organizations/acme/profile")).Expect(200)["name"]!.GetValue<string>());
        using var own = again.Client(key["key"]!.GetValue<string>());
        (await again.Send(HttpMethod.Get, "/v1/organizations/acme", by: own)).Expect(200);
        Assert.Equal(head["key_id"]!.GetValue<string>(), (await again.Get("/v1/organizations/acme/ledger/head")).Expect(200)["key_id"]!.GetValue<string>());
        Assert.Equal(["evt_1", "evt_2"], (await again.List("/v1/stripe/events?state=unclaimed&limit=1")).Select(e => e!["id"]!.GetValue<string>()));
        (await again.Post("/v1/organizations", new { id = "later" }, "open")).Expect(201);
        await again.RunStripeWork();
        Assert.Equal(2, (await again.List("/v1/stripe/events?state=applied")).Count);
        Assert.Equal(2, (await again.Get("/v1/organizations/later/tokens")).Expect(200)["grants"]!.AsArray().Count);
        foreach (var organization in (string[])["acme", "later"])
            Assert.True((await again.Get($"/v1/organizations/{organization}/ledger/verify")).Expect(200)["ok"]!.GetValue<bool>());
    }
}
