using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using Billing.StripeSandbox;

namespace Billing.Tests.Stripe;

/// <summary>What is done at Stripe without the service, as its dashboard would.</summary>
internal static class SandboxCalls
{
    /// <param name="form">Such as <c>amount=500</c>, one for each.</param>
    public static async Task<JsonObject> Post(SandboxServer stripe, string path, params string[] form) => await Send(stripe, HttpMethod.Post, path, form);

    public static async Task<JsonObject> Delete(SandboxServer stripe, string path) => await Send(stripe, HttpMethod.Delete, path);

    public static async Task<JsonObject> Get(SandboxServer stripe, string path) => await Send(stripe, HttpMethod.Get, path);

    /// <summary>A customer of this organization's with a card.</summary>
    public static async Task<string> Customer(SandboxServer stripe, string organization, string? method = "pm_card_visa")
    {
        var customer = (string)(await Post(stripe, "/v1/customers", $"metadata[organization_id]={organization}"))["id"]!;
        if (method is null) return customer;
        var attached = (string)(await Post(stripe, $"/v1/payment_methods/{method}/attach", $"customer={customer}"))["id"]!;
        await Post(stripe, $"/v1/customers/{customer}", $"invoice_settings[default_payment_method]={attached}");
        return customer;
    }

    /// <returns>The subscription's id.</returns>
    public static async Task<string> Subscribe(SandboxServer stripe, string organization, string customer, string lookupKey)
    {
        var price = (string)(await Get(stripe, $"/v1/prices?lookup_keys[0]={lookupKey}"))["data"]![0]!["id"]!;
        return (string)(await Post(stripe, "/v1/subscriptions", $"customer={customer}", $"items[0][price]={price}", $"metadata[organization_id]={organization}"))["id"]!;
    }

    private static async Task<JsonObject> Send(SandboxServer stripe, HttpMethod method, string path, params string[] form)
    {
        using var http = new HttpClient();
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", stripe.ApiKey);
        using var request = new HttpRequestMessage(method, stripe.Url + path);
        if (form.Length > 0) request.Content = new FormUrlEncodedContent(form.Select(f => f.Split('=', 2)).Select(f => KeyValuePair.Create(f[0], f[1])));
        using var response = await http.SendAsync(request);
        var text = await response.Content.ReadAsStringAsync();
        Assert.True(response.IsSuccessStatusCode, text);
        return JsonNode.Parse(text)!.AsObject();
    }
}
