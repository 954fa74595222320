using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using Billing.Tests.Api;
using Billing.Tests.StripeSandbox;

namespace Billing.Tests.Stripe;

/// <summary>What somebody does at Stripe itself, past the service.</summary>
public sealed class AtStripe : IDisposable
{
    private readonly TestApi api;
    private readonly HttpClient http;

    public AtStripe(TestApi api)
    {
        this.api = api;
        http = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false, UseProxy = false }) { BaseAddress = new Uri(api.Sandbox.Url) };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", api.Sandbox.ApiKey);
    }

    public Task<Reply> Get(string path) => Send(HttpMethod.Get, path, []);

    /// <param name="parameters">Such as <c>items[0][price]=price_1</c>, one for each; not encoded.</param>
    public Task<Reply> Post(string path, params string[] parameters) => Send(HttpMethod.Post, path, parameters);

    public Task<Reply> Delete(string path) => Send(HttpMethod.Delete, path, []);

    /// <summary>A customer of this organization that pays with this card.</summary>
    public async Task<string> Customer(string organization, string method = "pm_card_visa")
    {
        var id = (await Post("/v1/customers", $"metadata[organization_id]={organization}")).Ok().Id;
        var attached = (await Post($"/v1/payment_methods/{method}/attach", $"customer={id}")).Ok().Id;
        (await Post($"/v1/customers/{id}", $"invoice_settings[default_payment_method]={attached}")).Ok();
        return id;
    }

    /// <param name="price">Its lookup key.</param>
    public async Task<Reply> Subscribe(string organization, string customer, string price, params string[] more) =>
        (await Post("/v1/subscriptions", [$"customer={customer}", $"items[0][price]={await Price(price)}", $"metadata[organization_id]={organization}", .. more])).Ok();

    public async Task<string> Price(string key) => (await Get($"/v1/prices?lookup_keys[0]={key}")).Ok().Text("data.0.id")!;

    public async Task<string> BuyTokens(string organization, string customer, string package, long amount, params string[] more) => (await Post("/v1/payment_intents",
        [$"amount={amount}", "currency=usd", $"customer={customer}", "payment_method=pm_card_visa", "confirm=true", "off_session=true", $"metadata[organization_id]={organization}", $"metadata[token_package]={package}", .. more])).Ok().Id;

    /// <summary>Sends every event that Stripe ever had once more, the newest first, as if it came late.</summary>
    public async Task ResendAll()
    {
        foreach (var e in api.Sandbox.All("event").Reverse()) api.Sandbox.Resend(e["id"]!.GetValue<string>());
        await api.Settle();
    }

    public void Dispose() => http.Dispose();

    private async Task<Reply> Send(HttpMethod method, string path, string[] parameters)
    {
        using var request = new HttpRequestMessage(method, path);
        if (method == HttpMethod.Post) request.Content = new FormUrlEncodedContent(parameters.Select(p => p.Split('=', 2)).Select(p => KeyValuePair.Create(p[0], p[1])));
        using var response = await http.SendAsync(request);
        return new Reply((int)response.StatusCode, JsonNode.Parse(await response.Content.ReadAsStringAsync())!.AsObject(), response.Headers.ToDictionary(h => h.Key, h => string.Join(",", h.Value)));
    }
}
