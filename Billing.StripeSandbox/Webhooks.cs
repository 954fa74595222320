using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>Tells the endpoints what happened: signed, in the order in which it happened, and again later when they do not answer 2xx.</summary>
internal sealed class Webhooks : IAsyncDisposable
{
    /// <summary>Stripe publishes only that it tries for three days, at longer and longer distances. These are ours.</summary>
    private static readonly long[] RetryAfter = [60, 300, 1800, 2 * 3600, 5 * 3600, 10 * 3600, 24 * 3600, 24 * 3600];

    private sealed record Delivery(JsonObject Event, JsonObject Endpoint, int Attempt);

    private readonly Sandbox s;
    private readonly SandboxClock clock;
    private readonly Misbehaviour misbehaviour;
    private readonly HttpClient http = new(new SocketsHttpHandler { AllowAutoRedirect = false, UseProxy = false }) { Timeout = TimeSpan.FromSeconds(30) };
    private readonly SemaphoreSlim sending = new(1);
    private readonly PriorityQueue<Delivery, (long Due, long Turn)> waiting = new();
    private long turns;
    private bool stopped;

    public Webhooks(Sandbox s, SandboxClock clock, Misbehaviour misbehaviour)
    {
        (this.s, this.clock, this.misbehaviour) = (s, clock, misbehaviour);
        s.Happened += Enqueue;
    }

    /// <summary>Read under the sandbox's lock.</summary>
    public long? NextDue => waiting.TryPeek(out _, out var next) ? next.Due : null;

    /// <summary>Sends what is due, and what comes of that, until nothing is.</summary>
    public async Task Send()
    {
        await sending.WaitAsync();
        try
        {
            while (Take() is { } delivery) await Send(delivery);
        }
        finally
        {
            sending.Release();
        }
    }

    /// <summary>Sends an event once more, whatever became of it.</summary>
    public void Resend(JsonObject e)
    {
        foreach (var endpoint in WebhookEndpoints.For(s, e.Text("type")!)) waiting.Enqueue(new Delivery(e, endpoint, RetryAfter.Length), (clock.Now, turns++));
    }

    /// <summary>The header that goes with a body.</summary>
    public static string Signature(string secret, long time, byte[] body)
    {
        byte[] signed = [.. Encoding.UTF8.GetBytes($"{time}."), .. body];
        return $"t={time},v1={Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), signed))}";
    }

    /// <summary>What is under way is finished, and nothing is sent any more.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (s.Gate) stopped = true;
        await sending.WaitAsync();
        http.Dispose();
        sending.Release();
    }

    private void Enqueue(JsonObject e)
    {
        foreach (var endpoint in WebhookEndpoints.For(s, e.Text("type")!))
        {
            var copies = misbehaviour.DrawDeliveries();
            e["pending_webhooks"] = e.Number("pending_webhooks") + Math.Min(1, copies.Count);
            if (copies.Count == 0) e["_undelivered"] = true;
            foreach (var after in copies) waiting.Enqueue(new Delivery(e, endpoint, 0), (s.Now + after, turns++));
        }
    }

    private Delivery? Take()
    {
        lock (s.Gate)
            return !stopped && waiting.TryPeek(out _, out var next) && next.Due <= clock.Now ? waiting.Dequeue() : null;
    }

    private async Task Send(Delivery delivery)
    {
        byte[] body;
        HttpRequestMessage request;
        lock (s.Gate)
        {
            if (delivery.Endpoint.Text("status") != "enabled" || s.Store.Find(delivery.Endpoint.Text("id")) is null) return;
            body = Encoding.UTF8.GetBytes(delivery.Event.Presented()!.ToJsonString());
            request = new HttpRequestMessage(HttpMethod.Post, delivery.Endpoint.Text("url"));
        }
        bool isTaken;
        using (request)
        {
            request.Content = new ByteArrayContent(body);
            request.Content.Headers.TryAddWithoutValidation("Content-Type", "application/json; charset=utf-8");
            request.Headers.TryAddWithoutValidation("Stripe-Signature", Signature(delivery.Endpoint.Text("_secret")!, clock.Outside, body));
            request.Headers.TryAddWithoutValidation("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)");
            try
            {
                using var response = await http.SendAsync(request);
                isTaken = response.IsSuccessStatusCode;
            }
            catch (Exception failed) when (failed is HttpRequestException or OperationCanceledException)
            {
                isTaken = false;
            }
        }
        lock (s.Gate) Note(delivery, isTaken);
    }

    private void Note(Delivery delivery, bool isTaken)
    {
        var e = delivery.Event;
        if (isTaken)
        {
            e["pending_webhooks"] = Math.Max(0, (e.Number("pending_webhooks") ?? 0) - 1);
            // From here on the draft waits its hour.
            if (e.Text("type") == "invoice.created" && s.Store.Find(e.Text("data.object.id")) is { } invoice && invoice.Number("webhooks_delivered_at") is null)
                s.Change(invoice, o => o.Set("webhooks_delivered_at", s.Now).Set("automatically_finalizes_at", o.Number("automatically_finalizes_at") is null ? null : s.Now + 3600));
        }
        else if (delivery.Attempt < RetryAfter.Length) waiting.Enqueue(delivery with { Attempt = delivery.Attempt + 1 }, (clock.Now + RetryAfter[delivery.Attempt], turns++));
        else
        {
            e["_undelivered"] = true;
            e["pending_webhooks"] = Math.Max(0, (e.Number("pending_webhooks") ?? 0) - 1);
        }
    }
}
