using System.CommandLine;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Billing.Cli;

/// <summary>The running service, for what only it can do: it alone speaks to Stripe.</summary>
internal sealed class Service : IDisposable
{
    private const string DefaultUrl = "http://localhost:5080";

    public static readonly Option<string> Url = new("--url")
    {
        Description = "Where the service is (BILLING_URL).", HelpName = "URL", DefaultValueFactory = _ => Environment.GetEnvironmentVariable("BILLING_URL") is { Length: > 0 } url ? url : DefaultUrl,
    };

    public static readonly Option<string?> Key = new("--key")
    {
        Description = "An operator's key (BILLING_OPERATOR_KEY).", HelpName = "KEY", DefaultValueFactory = _ => Environment.GetEnvironmentVariable("BILLING_OPERATOR_KEY"),
    };

    public static readonly Option<bool> Json = new("--json") { Description = "Answer JSON, for programs, instead of a table." };

    private readonly HttpClient http;

    private Service(Uri url, string key)
    {
        // To reconcile an organization is many requests of Stripe.
        http = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false }) { BaseAddress = url, Timeout = TimeSpan.FromMinutes(15) };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
    }

    public static Service Of(ParseResult parsed)
    {
        var text = parsed.GetRequiredValue(Url);
        if (!Uri.TryCreate(text, UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https")) throw new UsageException($"'{text}' is no address of a service. Write one such as {DefaultUrl}.");
        if (parsed.GetValue(Key) is not { Length: > 0 } key) throw new UsageException("Say with --key, or BILLING_OPERATOR_KEY, by which operator's key.");
        if (key.Any(c => c is < '!' or > '~')) throw new UsageException("A key has no spaces and no letters beyond ASCII.");
        return new Service(url, key);
    }

    public Task<JsonNode> Get(string path, CancellationToken stop) => Send(HttpMethod.Get, path, null, stop);

    public Task<JsonNode> Post(string path, JsonNode? body, CancellationToken stop) => Send(HttpMethod.Post, path, body, stop);

    /// <exception cref="ServiceException">It refused, or nobody answered.</exception>
    private async Task<JsonNode> Send(HttpMethod method, string path, JsonNode? body, CancellationToken stop)
    {
        using var request = new HttpRequestMessage(method, path);
        if (method == HttpMethod.Post)
        {
            request.Headers.Add("Idempotency-Key", $"cli-{Guid.NewGuid():N}");
            request.Content = new StringContent(body?.ToJsonString() ?? "{}", Encoding.UTF8, "application/json");
        }
        try
        {
            using var response = await http.SendAsync(request, stop);
            var text = await response.Content.ReadAsStringAsync(stop);
            var json = Read(text);
            if (response.IsSuccessStatusCode && json is not null) return json;
            throw new ServiceException(json is JsonObject problem && problem["detail"] is { } detail
                ? $"{detail} ({problem["code"]})"
                : $"{http.BaseAddress} answered {(int)response.StatusCode} to {method} {path}, and no Billing Ledger answers so.");
        }
        catch (Exception e) when (e is HttpRequestException || (e is OperationCanceledException && !stop.IsCancellationRequested))
        {
            throw new ServiceException($"The service at {http.BaseAddress} does not answer: {e.Message}");
        }
    }

    private static JsonNode? Read(string text)
    {
        try
        {
            return JsonNode.Parse(text);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    public void Dispose() => http.Dispose();
}

/// <summary>The service refused, or nobody answered; the message says what.</summary>
internal sealed class ServiceException(string message) : Exception(message);
