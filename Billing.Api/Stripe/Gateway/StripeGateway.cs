using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Billing.Silo;
using Microsoft.Extensions.Logging.Abstractions;
using NodaTime;
using Polly;
using Polly.Retry;

namespace Billing.Api.Stripe;

/// <summary>
/// Stripe over HTTP. A request that changes something is stored before it is first sent and always sent as it was stored, so that
/// neither a crash nor a lost answer does it twice, whoever asks again and with whatever he has in mind by then.
/// </summary>
public sealed partial class StripeGateway : IStripeGateway, IDisposable
{
    /// <summary>Stripe keeps keys for a day at least. Later, whether something was done has to be found out.</summary>
    public static readonly Duration KeysLast = Duration.FromHours(23);

    public const int MaxTries = 5;

    /// <summary>Our code for what a request of days ago made and somebody took away since.</summary>
    public const string Gone = "gone";

    /// <summary>Where the objects are read that requests make or change.</summary>
    private static readonly string[] Collections =
    [
        "billing_portal/sessions", "checkout/sessions", "customers", "invoiceitems", "invoices", "payment_intents", "payment_methods", "prices", "products", "refunds",
        "subscription_schedules", "subscriptions",
    ];

    private readonly HttpClient http;
    private readonly SentRequests sent;
    private readonly Clock clock;
    private readonly ResiliencePipeline<Answer> tries;

    private readonly record struct Answer(int Status, bool? ShouldRetry, JsonElement Json, string? RequestId, Exception? Failure)
    {
        public int Tries { get; init; }

        public bool IsSuccess => Status is >= 200 and < 300;
    }

    /// <param name="secretKey">Never logged and in no message.</param>
    /// <param name="delay">Before the second try; doubled for each one after it, up to 5 s.</param>
    public StripeGateway(Uri address, string secretKey, TimeSpan timeout, TimeSpan delay, SentRequests sent, Clock clock)
    {
        (this.sent, this.clock) = (sent, clock);
        IsTest = secretKey.Contains("_test_", StringComparison.Ordinal);
        http = new HttpClient(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(5), AllowAutoRedirect = false, UseProxy = !address.IsLoopback }) { BaseAddress = address, Timeout = timeout };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", secretKey);
        http.DefaultRequestHeaders.Add("Stripe-Version", StripeEvent.PinnedVersion);
        tries = new ResiliencePipelineBuilder<Answer>().AddRetry(new RetryStrategyOptions<Answer>
        {
            ShouldHandle = outcome => new(IsWorthAnotherTry(outcome.Outcome.Result)),
            MaxRetryAttempts = MaxTries - 1, BackoffType = DelayBackoffType.Exponential, UseJitter = true, Delay = delay, MaxDelay = TimeSpan.FromSeconds(5),
        }).Build();
    }

    public bool IsTest { get; }

    /// <summary>Where it says what Stripe answered.</summary>
    public ILogger Log { get; set; } = NullLogger.Instance;

    public async Task<JsonElement> Send(StripeRequest request, CancellationToken stop = default)
    {
        if (request.Method != HttpMethod.Post) return Read(request, await Try(request.Method, Address(request), null, null, stop));
        if (request.Key is not { Length: > 0 and <= 255 } key) throw new ArgumentException("A POST to Stripe needs a key of at most 255 characters.", nameof(request));

        var body = Encoding.ASCII.GetBytes(request.Form.Encode());
        var (stored, isNew) = await sent.Begin(key, request.Organization, request.Path, body, clock.Now());
        if (stored.Path != request.Path) throw new StripeException(400, "idempotency_error", $"The same key was used for {stored.Path}.");
        if (!isNew && clock.Now() - stored.SentAt > KeysLast)
        {
            if (stored.Status is not null) return await Recall(stored, stop);
            if (request.Find is null)
                throw new StripeException(null, "outcome_unknown", "Whether this was done at Stripe is not known any more: more than a day ago it was sent, and no answer came. Reconcile the organization, then ask with a new key.");
            if (await request.Find(this) is { } made)
            {
                await sent.Answered(key, 200, made.Text("id"), null, clock.Now());
                return made;
            }
            await sent.Again(key, clock.Now());
        }
        // What was stored first is sent, whatever is asked for now: under one key Stripe takes only one thing.
        var answer = await Try(HttpMethod.Post, request.Path, stored.Form ?? body, key, stop);
        if (answer.IsSuccess) await sent.Answered(key, answer.Status, answer.Json.Text("id"), null, clock.Now());
        else if (answer.Status == 402) await sent.Answered(key, 402, null, SafeError(answer.Json.Get("error")), clock.Now());
        // Refused at the first try, before anything began: with the field put right, the same key may be used. After a try without an answer nobody knows.
        else if (isNew && answer is { Status: 400 or 401 or 403 or 404, Tries: 1, Json.ValueKind: JsonValueKind.Object } && answer.Json.Get("error")?.Text("type") != "idempotency_error") await sent.Forget(key);
        return Read(request, answer);
    }

    public void Dispose() => http.Dispose();

    /// <summary>What became of a request whose key Stripe has forgotten.</summary>
    private async Task<JsonElement> Recall(SentRequest stored, CancellationToken stop)
    {
        if (stored.Status == 402)
        {
            using var error = JsonDocument.Parse(stored.Error ?? "{}");
            throw Refusal(402, error.RootElement.Clone(), null);
        }
        var collection = Collections.First(c => stored.Path.StartsWith($"/v1/{c}", StringComparison.Ordinal));
        try
        {
            return await Send(StripeRequest.Get($"/v1/{collection}/{stored.Object}"), stop);
        }
        catch (StripeException e) when (e.IsMissing)
        {
            throw new StripeException(404, Gone, $"{stored.Object} was made by this request, and is not at Stripe any more.", e.Error, e.RequestId, e);
        }
    }

    private static string Address(StripeRequest request) => request.Form.Count == 0 ? request.Path : $"{request.Path}?{request.Form.Encode()}";

    private async Task<Answer> Try(HttpMethod method, string address, byte[]? body, string? key, CancellationToken stop)
    {
        var count = 0;
        return await tries.ExecuteAsync(async (self, token) => await self.TryOnce(method, address, body, key, token) with { Tries = ++count }, this, stop);
    }

    /// <summary>What is needed to say it again: the error has the whole payment with its secret, and the card, too.</summary>
    private static string? SafeError(JsonElement? error)
    {
        if (error is not { } whole) return null;
        string[] kept = ["type", "code", "decline_code", "message", "param", "charge"];
        return JsonSerializer.Serialize(kept.Where(name => whole.Text(name) is not null).ToDictionary(name => name, name => whole.Text(name)));
    }

    private async Task<Answer> TryOnce(HttpMethod method, string address, byte[]? body, string? key, CancellationToken stop)
    {
        using var message = new HttpRequestMessage(method, address);
        if (method == HttpMethod.Post)
        {
            message.Content = new ByteArrayContent(body ?? []);
            message.Content.Headers.ContentType = new MediaTypeHeaderValue("application/x-www-form-urlencoded");
            message.Headers.Add("Idempotency-Key", key);
        }
        try
        {
            using var response = await http.SendAsync(message, stop);
            var id = Header(response, "Request-Id");
            var status = (int)response.StatusCode;
            LogAnswer(Log, method.Method, address.Split('?')[0], status, id);
            var bytes = await response.Content.ReadAsByteArrayAsync(stop);
            bool? shouldRetry = Header(response, "Stripe-Should-Retry") switch { "true" => true, "false" => false, _ => null };
            try
            {
                using var json = JsonDocument.Parse(bytes);
                return new Answer(status, shouldRetry, json.RootElement.Clone(), id, null);
            }
            catch (JsonException e)
            {
                // An answer of something in between, such as a proxy.
                return new Answer(status is >= 200 and < 300 ? 502 : status, shouldRetry, default, id, e);
            }
        }
        catch (Exception e) when (e is HttpRequestException or IOException || (e is OperationCanceledException && !stop.IsCancellationRequested))
        {
            LogNoAnswer(Log, method.Method, address.Split('?')[0], e.Message);
            return new Answer(0, null, default, null, e);
        }
    }

    /// <summary>As Stripe's own libraries do, and on 429 too: Stripe sends no Retry-After, so the waits grow by themselves.</summary>
    private static bool IsWorthAnotherTry(Answer answer) =>
        answer.Status == 0 || answer.ShouldRetry == true || (answer.ShouldRetry != false && answer.Status is 409 or 429 or >= 500);

    private static JsonElement Read(StripeRequest request, Answer answer)
    {
        if (answer.IsSuccess) return answer.Json;
        if (answer.Status == 0) throw new StripeException(null, "no_answer", $"Stripe gave no answer to {request.Method} {request.Path}.", inner: answer.Failure);
        throw Refusal(answer.Status, answer.Json.Get("error") ?? default, answer.RequestId);
    }

    private static StripeException Refusal(int status, JsonElement error, string? requestId) =>
        new(status, error.Text("code") ?? error.Text("type") ?? $"http_{status}", error.Text("message") ?? $"Stripe answered {status}.", error, requestId);

    private static string? Header(HttpResponseMessage response, string name) => response.Headers.TryGetValues(name, out var values) ? values.FirstOrDefault() : null;

    [LoggerMessage(Level = LogLevel.Debug, Message = "Stripe: {Method} {Path} answered {Status}, request {RequestId}.")]
    private static partial void LogAnswer(ILogger log, string method, string path, int status, string? requestId);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Stripe: {Method} {Path} got no answer: {Why}")]
    private static partial void LogNoAnswer(ILogger log, string method, string path, string why);
}
