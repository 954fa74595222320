using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;

namespace Billing.StripeSandbox;

/// <summary>The REST API: who asks, what for, whether it was asked before, and what comes of it.</summary>
internal sealed class Api(Sandbox s, Misbehaviour misbehaviour, Action happened)
{
    public const string Version = "2026-07-29.dahlia";

    /// <summary>How many requests are remembered.</summary>
    private const int MostRequests = 10_000;

    private readonly Idempotency keys = new(s);
    private readonly List<(string Path, TaskCompletionSource Open)> held = [];
    private readonly Queue<SandboxRequest> requests = [];

    public IReadOnlyList<SandboxRequest> Requests
    {
        get
        {
            lock (requests) return [.. requests];
        }
    }

    public void Map(WebApplication app)
    {
        foreach (var operation in Operation.All)
            app.MapMethods($"/v1{operation.Path}", [operation.Method], (RequestDelegate)(http => Handle(http, operation)));
        app.Map("/v1/{**path}", (RequestDelegate)(http => Handle(http, null)));
    }

    /// <summary>Requests to this path are begun and go no further until it is disposed of.</summary>
    public IDisposable Hold(string path)
    {
        var gate = (path, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        lock (held) held.Add(gate);
        return new Release(() =>
        {
            lock (held) held.Remove(gate);
            gate.Item2.SetResult();
        });
    }

    private async Task Handle(HttpContext http, Operation? operation)
    {
        string request;
        lock (s.Gate) request = s.NewId("req", 14);
        http.Response.Headers["Request-Id"] = request;
        http.Response.Headers["Stripe-Version"] = Version;
        var key = http.Request.Headers["Idempotency-Key"].ToString() is { Length: > 0 } given && http.Request.Method == "POST" ? given : null;
        if (key is not null) http.Response.Headers["Idempotency-Key"] = key;
        Fault? fault = null;
        string? begun = null;
        (int Status, JsonNode Body)? before = null;
        (int Status, JsonNode Body) answer;
        try
        {
            CheckCaller(http);
            if (operation is null) throw new StripeError(404, "invalid_request_error", null, $"Unrecognized request URL ({http.Request.Method}: {http.Request.Path}).");
            var sent = await Sent(http.Request);
            Remember(new SandboxRequest(http.Request.Method, http.Request.Path, [.. sent.SelectMany(p => p.Value.Select(v => $"{p.Key}={v}"))], key));
            fault = misbehaviour.Draw($"{http.Request.Method} {http.Request.Path}");
            if (fault == Fault.RateLimit) throw new StripeError(429, "invalid_request_error", "rate_limit", "Request rate limit exceeded.");
            if (fault == Fault.ServerError)
            {
                http.Response.Headers["Stripe-Should-Retry"] = "true";
                throw new StripeError(500, "api_error", null, "An unknown error occurred");
            }
            var parameters = operation.Accepts.Read(sent);
            if (key is not null)
            {
                var asked = $"{http.Request.Method} {http.Request.Path}\n{string.Join('\n', sent.SelectMany(p => p.Value.Select(v => $"{p.Key}={v}")).Order(StringComparer.Ordinal))}";
                lock (s.Gate) before = keys.Begin(key, asked);
                if (before is null) begun = key;
                else http.Response.Headers["Idempotent-Replayed"] = "true";
            }
            if (before is null) await Held(http.Request.Path);
            answer = before ?? Run(operation, new Call(s, http.Request.RouteValues["id"]?.ToString() ?? "", parameters) { Path = http.Request.Path }, request, key);
        }
        catch (StripeError refused)
        {
            answer = (refused.Status, refused.Body());
            if (begun is not null && refused.IsOfTheRequest)
            {
                lock (s.Gate) keys.Forget(begun);
                begun = null;
            }
        }
        catch (Exception bug) when (bug is not OperationCanceledException)
        {
            answer = (500, new StripeError(500, "api_error", null, $"The sandbox failed: {bug.GetType().Name}: {bug.Message}").Body());
        }
        if (begun is not null) lock (s.Gate) keys.End(begun, answer.Status, answer.Body);
        happened();
        if (fault == Fault.LostAnswer)
        {
            http.Abort();
            return;
        }
        if (fault == Fault.TimeOut)
        {
            await Gone(http);
            return;
        }
        await Write(http, answer);
    }

    private void Remember(SandboxRequest request)
    {
        lock (requests)
        {
            if (requests.Count == MostRequests) requests.Dequeue();
            requests.Enqueue(request);
        }
    }

    private (int, JsonNode) Run(Operation operation, Call call, string request, string? key)
    {
        lock (s.Gate)
        {
            s.Request = (request, key);
            try
            {
                var answer = operation.Run(call).Presented()!;
                Expansion.Expand(s, answer, call.P.Texts("expand"));
                return (200, answer);
            }
            finally
            {
                s.Request = null;
            }
        }
    }

    private void CheckCaller(HttpContext http)
    {
        var header = http.Request.Headers.Authorization.ToString();
        var key = header.StartsWith("Bearer ", StringComparison.Ordinal) ? header[7..].Trim()
            : header.StartsWith("Basic ", StringComparison.Ordinal) ? Encoding.UTF8.GetString(Convert.FromBase64String(header[6..])).TrimEnd(':') : "";
        if (key.Length == 0)
            throw new StripeError(401, "invalid_request_error", null, "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').");
        if (key != s.Options.ApiKey) throw new StripeError(401, "invalid_request_error", null, $"Invalid API Key provided: {key[..Math.Min(8, key.Length)]}****");
        if (http.Request.Headers["Stripe-Version"].ToString() is { Length: > 0 } version && version != Version)
            throw new StripeError(400, "invalid_request_error", null, $"Invalid Stripe API version: {version}. The sandbox speaks {Version}.");
    }

    private static async Task<IReadOnlyList<KeyValuePair<string, StringValues>>> Sent(HttpRequest request)
    {
        if (request.Method != "POST") return [.. request.Query];
        if (!request.HasFormContentType)
            throw StripeError.OfRequest("Invalid request (check that your POST content type is application/x-www-form-urlencoded). If you have any questions, we can help at https://support.stripe.com/.", null);
        return [.. await request.ReadFormAsync()];
    }

    private async Task Held(PathString path)
    {
        Task? open;
        lock (held) open = held.Find(h => path.StartsWithSegments(h.Path)).Open?.Task;
        if (open is not null) await open;
    }

    private static async Task Gone(HttpContext http)
    {
        var gone = new TaskCompletionSource();
        await using (http.RequestAborted.Register(gone.SetResult)) await gone.Task;
    }

    private static Task Write(HttpContext http, (int Status, JsonNode Body) answer)
    {
        http.Response.StatusCode = answer.Status;
        http.Response.ContentType = "application/json";
        return http.Response.WriteAsync(answer.Body.ToJsonString());
    }

    private sealed class Release(Action release) : IDisposable
    {
        public void Dispose() => release();
    }
}
