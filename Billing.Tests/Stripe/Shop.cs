using Billing.Tests.Api;
using Billing.Tests.StripeSandbox;

namespace Billing.Tests.Stripe;

/// <summary>A service beside a Stripe that has the catalog's prices, and one organization.</summary>
internal sealed class Shop(TestApi api, SandboxClient stripe) : IAsyncDisposable
{
    /// <summary>A card that works, and one that is declined.</summary>
    public const string Good = "4242 4242 4242 4242", Declined = "4000 0000 0000 0002";

    public TestApi Api => api;

    public SandboxClient Stripe => stripe;

    public static async Task<Shop> Open(string catalog = "learning-community", params string[] args)
    {
        var api = await TestApi.StartWithStripe(catalog, args: args);
        await api.Open("acme");
        return new Shop(api, SandboxClient.Of(api));
    }

    public string PriceOf(string key) => stripe.Server.All("price").Single(p => p["lookup_key"]?.GetValue<string>() == key)["id"]!.GetValue<string>();

    public Task<Answer> Post(string path, object body, string? key = null) => api.Post($"/v1/organizations/acme/{path}", body, key);

    public async Task<Answer> Checkout(object body) => (await Post("checkout-sessions", body)).Expect(201);

    public async Task<Answer> Session(Answer session) => (await api.Get($"/v1/organizations/acme/checkout-sessions/{session.String("id")}")).Expect(200);

    public Task<Answer> Subscription() => api.Subscription("acme");

    public async Task<decimal> Balance() => (await api.Get("/v1/organizations/acme/tokens")).Expect(200).Number("balance");

    /// <summary>All the way: the page, the card, the webhook.</summary>
    public async Task Subscribe(string plan, string interval = "month")
    {
        var session = await Checkout(new { plan, interval, trial = false });
        Assert.Equal(302, (await stripe.PayWith(Good, session.String("url")!)).Status);
        await api.Settle();
    }

    public async ValueTask DisposeAsync()
    {
        await stripe.DisposeAsync();
        await api.DisposeAsync();
    }
}
