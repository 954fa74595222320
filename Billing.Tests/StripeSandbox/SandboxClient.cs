using System.Net;
using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using Billing.StripeSandbox;
using NodaTime;
using NodaTime.Text;

namespace Billing.Tests.StripeSandbox;

/// <summary>A sandbox with a clock that the test moves, spoken to over HTTP as Stripe would be.</summary>
public sealed class SandboxClient : IAsyncDisposable
{
    public const string Start = "2026-11-20T10:00:00Z";

    private readonly HttpClient http;

    private readonly bool isShared;

    private SandboxClient(SandboxServer server, SettableClock clock, bool isShared = false)
    {
        (Server, Clock, this.isShared) = (server, clock, isShared);
        http = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false, UseProxy = false }) { BaseAddress = new Uri(server.Url) };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", server.ApiKey);
    }

    public SandboxServer Server { get; }

    public SettableClock Clock { get; }

    public HttpClient Http => http;

    public static async Task<SandboxClient> Open(Func<SandboxOptions, SandboxOptions>? with = null)
    {
        var clock = new SettableClock(Time(Start));
        var options = new SandboxOptions { Time = clock, SetTime = t => clock.Now = Instant.FromDateTimeOffset(t), Seed = 1 };
        return new SandboxClient(await SandboxServer.Start(with is null ? options : with(options)), clock);
    }

    /// <summary>Whoever speaks to the sandbox beside a service: a customer with a browser, or somebody at Stripe's dashboard.</summary>
    public static SandboxClient Of(Billing.Tests.Api.TestApi api) => new(api.Sandbox, api.Clock, isShared: true);

    public Task AdvanceTo(string time) => Server.AdvanceTo(Time(time).ToDateTimeOffset());

    private static Instant Time(string text) => OffsetDateTimePattern.Rfc3339.Parse(text).GetValueOrThrow().ToInstant();

    // ---- the API

    public Task<Reply> Get(string path) => Send(HttpMethod.Get, path);

    /// <param name="parameters">Such as <c>items[0][price]=price_1</c>, one for each; not encoded.</param>
    public Task<Reply> Post(string path, params string[] parameters) => Send(HttpMethod.Post, path, parameters);

    public Task<Reply> PostWithKey(string key, string path, params string[] parameters) => Send(HttpMethod.Post, path, parameters, key);

    public Task<Reply> Delete(string path) => Send(HttpMethod.Delete, path);

    public async Task<Reply> Send(HttpMethod method, string path, string[]? parameters = null, string? key = null)
    {
        using var request = new HttpRequestMessage(method, path);
        if (method == HttpMethod.Post) request.Content = Form(parameters ?? []);
        if (key is not null) request.Headers.TryAddWithoutValidation("Idempotency-Key", key);
        using var response = await http.SendAsync(request);
        return new Reply((int)response.StatusCode, JsonNode.Parse(await response.Content.ReadAsStringAsync())!.AsObject(), response.Headers.ToDictionary(h => h.Key, h => string.Join(",", h.Value)));
    }

    // ---- the pages

    /// <returns>The status, where it leads to, and what it says.</returns>
    public async Task<(int Status, string? To, string Text)> Browse(string url, params string[]? form)
    {
        using var response = form is { Length: > 0 } ? await http.PostAsync(url, Form(form)) : await http.GetAsync(url);
        return ((int)response.StatusCode, response.Headers.Location?.ToString(), WebUtility.HtmlDecode(await response.Content.ReadAsStringAsync()));
    }

    public Task<(int Status, string? To, string Text)> PayWith(string number, string url) => Browse(url, $"number={number}", "expiry=12 / 34", "cvc=123", "name=Ada", "email=ada@example.com");

    // ---- what tests say often

    public async Task<string> Customer(string? method = null)
    {
        var id = (await Post("/v1/customers", "email=ada@example.com", "name=Ada")).Ok().Id;
        if (method is null) return id;
        var attached = (await Post($"/v1/payment_methods/{method}/attach", $"customer={id}")).Ok().Id;
        (await Post($"/v1/customers/{id}", $"invoice_settings[default_payment_method]={attached}")).Ok();
        return id;
    }

    /// <summary>A recurring price, found by its lookup key.</summary>
    public async Task<string> Price(string key, long amount, string interval = "month") =>
        (await Post("/v1/prices", "currency=usd", $"unit_amount={amount}", $"recurring[interval]={interval}", $"lookup_key={key}", $"product_data[name]={key}")).Ok().Id;

    public async Task<Reply> Subscribe(string customer, string price, params string[] more) =>
        await Post("/v1/subscriptions", [$"customer={customer}", $"items[0][price]={price}", "expand[]=latest_invoice.payments.data.payment.payment_intent", .. more]);

    public async Task<JsonObject> Subscription(string id) => (await Get($"/v1/subscriptions/{id}?expand[]=latest_invoice")).Ok().Json;

    /// <summary>The types of what happened, the oldest first.</summary>
    public IReadOnlyList<string> Events(string beginning = "") => [.. Server.All("event").Select(e => e["type"]!.GetValue<string>()).Where(t => t.StartsWith(beginning, StringComparison.Ordinal))];

    public async ValueTask DisposeAsync()
    {
        http.Dispose();
        if (!isShared) await Server.DisposeAsync();
    }

    private static FormUrlEncodedContent Form(string[] parameters) => new(parameters.Select(p => p.Split('=', 2)).Select(p => KeyValuePair.Create(p[0], p[1])));
}

/// <summary>What the API answered.</summary>
public sealed record Reply(int Status, JsonObject Json, IReadOnlyDictionary<string, string> Headers)
{
    public string Id => this["id"]!.GetValue<string>();

    /// <summary>By a path such as <c>latest_invoice.lines.data.0.amount</c>.</summary>
    public JsonNode? this[string path] => Json.Read(path);

    public string? Text(string path) => this[path]?.GetValue<string>();

    public long Number(string path) => this[path]!.GetValue<long>();

    public Reply Ok()
    {
        Assert.True(Status == 200, Json.ToJsonString());
        return this;
    }

    public Reply Refused(int status, string? code, string? param = null)
    {
        Assert.True(Status == status && Text("error.code") == code && (param is null || Text("error.param") == param), $"{Status} {Json.ToJsonString()}");
        return this;
    }
}

public static class JsonReading
{
    public static JsonNode? Read(this JsonNode? node, string path)
    {
        foreach (var name in path.Split('.'))
            node = node is JsonArray array ? array[int.Parse(name)] : node?.AsObject()[name];
        return node;
    }
}
