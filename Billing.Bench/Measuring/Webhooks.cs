using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Billing.Bench;

/// <summary>Stripe's webhooks: how long one waits for its answer, and what checks notice of a flood of them. Every tenth one is a repeat.</summary>
public sealed class Webhooks(Options options, IReadOnlyList<Subject> subjects, Report report)
{
    public const string Name = "webhooks", AtRate = "webhooks, 200/s", Flood = "webhooks, flood", Quiet = "checks, no webhooks", During = "checks, during the flood";

    /// <summary>What the service is started with.</summary>
    public const string Secret = "whsec_bench";

    private const int Rate = 200, FloodConnections = 16, CheckConnections = 32;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly List<byte[]> sent = [];
    private long nextInvoice;

    /// <summary>One round.</summary>
    public void Run(int round)
    {
        foreach (var subject in subjects)
        {
            if (report.Errors.Count > 0) return;
            sent.Clear();
            var before = subject.Store!.Journal.LastPosition();
            using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false, MaxConnectionsPerServer = FloodConnections }) { BaseAddress = new Uri($"http://{subject.Server.EndPoint}") };
            var (steady, invoices) = Send(http, (int)Math.Max(Rate, Rate * options.Seconds), Rate).GetAwaiter().GetResult();
            report.Add(round, steady with { Scenario = AtRate, Subject = subject.Name });

            report.Add(round, Checks(subject, Quiet).AtRate(options.WebhookCheckRate, options.WarmUp, options.Duration)[0]);
            var flood = Task.Run(() => Send(http, options.WebhookCount, null));
            var checks = new List<Measurement>();
            while (checks.Count == 0 || !flood.IsCompleted) checks.Add(Checks(subject, During).AtRate(options.WebhookCheckRate, options.WarmUp, options.Duration)[0]);
            report.Check(checks, null, 0);
            report.Add(round, checks.MaxBy(c => c.P99Ms)!);
            var (fast, more) = flood.GetAwaiter().GetResult();
            report.Add(round, fast with { Scenario = Flood, Subject = subject.Name });

            // What was answered with 200 has its effect, once.
            AwaitApplied(http, subject);
            var recorded = subject.Store.Journal.Count("payment-recorded", before);
            if (recorded != invoices + more) report.Errors.Add($"{subject.Name}: {invoices + more} payments were told of, and {recorded} recorded.");
        }
    }

    private Load Checks(Subject subject, string scenario) => new(scenario, subject, CheckConnections, [subject.Check], i => Walk.Uniform(options.Organizations, i));

    /// <param name="rate">A second; as fast as the connections go when null.</param>
    /// <returns>What was measured, and how many invoices it told of.</returns>
    private async Task<(Measurement Measured, int Invoices)> Send(HttpClient http, int count, int? rate)
    {
        var random = new Random(1);
        var told = sent.Count;
        var bodies = new List<byte[]>();
        for (var i = 0; i < count; i++)
        {
            if (i % 10 == 9) bodies.Add(sent[random.Next(sent.Count)]);
            else
            {
                sent.Add(Event(random.Next(options.Organizations)));
                bodies.Add(sent[^1]);
            }
        }
        var latencies = new Histogram();
        var (failed, next, firstFailure) = (0L, -1, (string?)null);
        var started = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, FloodConnections).Select(async _ =>
        {
            while (Interlocked.Increment(ref next) is var i && i < bodies.Count)
            {
                var due = started;
                if (rate is { } perSecond)
                {
                    due += Stopwatch.Frequency * i / perSecond;
                    if (Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), due) is { Ticks: > 0 } early) await Task.Delay(early);
                }
                else due = Stopwatch.GetTimestamp();
                using var request = new HttpRequestMessage(HttpMethod.Post, "/webhooks/stripe") { Content = new ByteArrayContent(bodies[i]) };
                request.Content.Headers.ContentType = new("application/json");
                request.Headers.TryAddWithoutValidation("Stripe-Signature", Sign(bodies[i]));
                using var response = await http.SendAsync(request);
                lock (latencies)
                {
                    latencies.Add(Stopwatch.GetTimestamp() - due);
                    if (response.StatusCode == HttpStatusCode.OK) continue;
                    failed++;
                    firstFailure ??= $"status {(int)response.StatusCode}";
                }
            }
        }));
        return (new Measurement("", "")
        {
            Connections = FloodConnections, Acknowledged = count - failed, Failed = failed, FirstFailure = firstFailure, RequestsPerSecond = count / Stopwatch.GetElapsedTime(started).TotalSeconds,
            P50Ms = latencies.Percentile(0.5), P95Ms = latencies.Percentile(0.95), P99Ms = latencies.Percentile(0.99), P999Ms = latencies.Percentile(0.999),
        }, sent.Count - told);
    }

    private static void AwaitApplied(HttpClient http, Subject subject)
    {
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/stripe/events?state=pending&limit=1");
            request.Headers.Add("Authorization", $"Bearer {subject.Server.Key}");
            using var response = http.Send(request);
            using var page = JsonDocument.Parse(response.Content.ReadAsStream());
            if (page.RootElement.GetProperty("items").GetArrayLength() == 0) return;
            if (Stopwatch.GetElapsedTime(started) > Patience) throw new BenchException($"{subject.Name} did not apply all webhooks within {Patience.TotalMinutes} minutes.");
            Thread.Sleep(50);
        }
    }

    /// <summary>An invoice of an organization is paid.</summary>
    private byte[] Event(int organization)
    {
        var (number, now) = (++nextInvoice, DateTimeOffset.UtcNow.ToUnixTimeSeconds());
        return JsonSerializer.SerializeToUtf8Bytes(new
        {
            id = $"evt_bench_{number}", @object = "event", api_version = "2026-07-29.dahlia", created = now, livemode = false, type = "invoice.paid",
            data = new
            {
                @object = new
                {
                    id = $"in_bench_{number}", @object = "invoice", customer = $"cus_bench_{organization}", status = "paid", amount_due = 2900, amount_paid = 2900, attempt_count = 1,
                    currency = "usd", created = now, metadata = new { organization_id = RequestTemplate.OrganizationId(organization) },
                },
            },
        });
    }

    private static string Sign(byte[] body)
    {
        var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
        return $"t={now},v1={Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes(Secret), (byte[])[.. Encoding.UTF8.GetBytes($"{now}."), .. body]))}";
    }
}
