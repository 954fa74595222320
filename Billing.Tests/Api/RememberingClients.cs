using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Xunit.Abstractions;

namespace Billing.Tests.Api;

/// <summary>
/// Clients that write to a service whatever happens to it, and remember what they were told; and the audit afterwards:
/// what was acknowledged is stored exactly once, what was not is there whole or not at all, the books close, the chain verifies.
/// </summary>
/// <param name="organizations">To which they write; four when null.</param>
internal sealed class RememberingClients(ITestOutputHelper output, string[]? organizations = null)
{
    public string[] Organizations { get; } = organizations ?? Usual;

    private static readonly string[] Usual = ["acme", "globex", "initech", "umbrella"];

    /// <summary><c>calls</c> are unlimited, <c>jobs</c> are not; both are counted for ever.</summary>
    public const string Catalog = """
        {
          "currency": "usd",
          "fallback_plan": "free",
          "features": {
            "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call", "window": "lifetime" }, "mode": "block" },
            "jobs": { "name": "jobs", "type": "metered", "meter": { "unit": "job", "window": "lifetime" }, "mode": "block" }
          },
          "plans": {
            "free": { "name": "Free", "features": { "calls": "unlimited", "jobs": 5 } },
            "pro": { "name": "Pro", "features": { "calls": "unlimited", "jobs": 50 } }
          }
        }
        """;

    private const int Clients = 6;

    /// <summary>One request: its key and the items in it. A single use is one item whose id is the key itself.</summary>
    private sealed record Sent(string Organization, string Key, string[] Items, string Body)
    {
        public bool IsBatch => Items.Length > 1;
    }

    private sealed record Record(string Id, decimal Quantity);

    /// <summary>An answer that somebody insisted on, with how long all tries took together. Times are those of the <see cref="Stopwatch"/>.</summary>
    public sealed record Waited(string Organization, long Sent, long Answered, int Tries)
    {
        public TimeSpan Took => Stopwatch.GetElapsedTime(Sent, Answered);
    }

    private readonly ConcurrentDictionary<Sent, string[]> acknowledged = new();
    private readonly ConcurrentDictionary<Sent, bool> unanswered = new();
    private readonly ConcurrentQueue<Waited> waits = [];
    private long unavailable;
    private long slowestTicks;

    /// <summary>How many requests were answered with what they recorded.</summary>
    public int Acknowledged => acknowledged.Count;

    /// <summary>How many answers were 503 <c>journal_unavailable</c>.</summary>
    public long Unavailable => Interlocked.Read(ref unavailable);

    /// <summary>The longest that anybody waited for a 503.</summary>
    public TimeSpan LongestWait => TimeSpan.FromTicks(Interlocked.Read(ref slowestTicks));

    /// <summary>What <see cref="WriteEach"/> was answered so far.</summary>
    public IReadOnlyCollection<Waited> Waits => waits;

    /// <summary>Insists: a machine may be so busy that the first answer is a 503.</summary>
    public static async Task Open(HttpClient service, string[]? organizations = null)
    {
        foreach (var id in organizations ?? Usual)
        {
            HttpResponseMessage response;
            while ((response = await Send(service, HttpMethod.Post, "/v1/organizations", JsonSerializer.Serialize(new { id }), $"open-{id}")).StatusCode == HttpStatusCode.ServiceUnavailable) response.Dispose();
            await Read(response);
        }
    }

    /// <summary>
    /// Writes until it is stopped, or until the service is gone. Half of the clients insist when they hear that the journal
    /// is unavailable, at any of the services; the others go on with something else. Of several services, some requests go to all at once.
    /// </summary>
    /// <param name="round">Stands in every key.</param>
    /// <param name="answered">Told after every answer how many there have been in this run.</param>
    public async Task Write(IReadOnlyList<HttpClient> services, string round, int seed, CancellationToken stop, Action<int>? answered = null)
    {
        var answers = 0;
        await Task.WhenAll(Enumerable.Range(0, Clients).Select(client => Task.Run(async () =>
        {
            var random = new Random(seed + client);
            for (var i = 0; !stop.IsCancellationRequested; i++)
            {
                var sent = Request(random, Organizations[random.Next(Organizations.Length)], $"{round}-c{client}-{i}");
                unanswered[sent] = true;
                for (var insists = client % 2 == 0; ;)
                {
                    try
                    {
                        if (await Use(random.Next(4) == 0 ? services : [services[random.Next(services.Count)]], sent) is { } ids)
                        {
                            acknowledged[sent] = ids;
                            unanswered.TryRemove(sent, out _);
                            answered?.Invoke(Interlocked.Increment(ref answers));
                            break;
                        }
                    }
                    catch (Exception e) when (e is HttpRequestException or IOException or OperationCanceledException)
                    {
                        // The service is gone, and its clients with it.
                        return;
                    }
                    // Nobody hammers at a closed door.
                    await Task.Delay(50, CancellationToken.None);
                    if (!insists || stop.IsCancellationRequested) break;
                }
            }
        })));
    }

    /// <summary>
    /// One client for each organization, until it is stopped. Each insists on every answer, with a pause after a 503; and the
    /// service is always there, so that a connection that breaks is a failure.
    /// </summary>
    public Task WriteEach(HttpClient service, string round, int seed, CancellationToken stop) => Task.WhenAll(Organizations.Select((organization, client) => Task.Run(async () =>
    {
        var random = new Random(seed + client);
        for (var i = 0; !stop.IsCancellationRequested; i++)
        {
            var sent = Request(random, organization, $"{round}-{organization}-{i}");
            unanswered[sent] = true;
            var begun = Stopwatch.GetTimestamp();
            string[]? ids;
            var tries = 1;
            for (; (ids = await Use(service, sent)) is null; tries++) await Task.Delay(50, CancellationToken.None);
            waits.Enqueue(new Waited(organization, begun, Stopwatch.GetTimestamp(), tries));
            acknowledged[sent] = ids;
            unanswered.TryRemove(sent, out _);
        }
    })));

    public async Task Audit(HttpClient service)
    {
        var records = await Records(service);
        Assert.NotEmpty(acknowledged);
        foreach (var (sent, ids) in acknowledged)
            foreach (var (item, id) in sent.Items.Zip(ids))
                Assert.True(records[sent.Organization].GetValueOrDefault(item)?.Id == id, $"{item} of {sent.Organization} was acknowledged as {id}; it is {records[sent.Organization].GetValueOrDefault(item)?.Id ?? "not there"}.");
        // One request is one append: all of it is there, or nothing.
        var written = 0;
        foreach (var sent in unanswered.Keys)
        {
            var there = sent.Items.Count(records[sent.Organization].ContainsKey);
            Assert.True(there == 0 || there == sent.Items.Length, $"Of {sent.Key}, {there} of {sent.Items.Length} items are there.");
            if (there > 0) written++;
        }
        output.WriteLine($"{acknowledged.Count} requests answered; {unanswered.Count} not, of which {written} had been written; {Unavailable} times 503, at most after {LongestWait.TotalSeconds:0.00} s");

        // A repeat finds the truth: recorded by now, and once.
        await Parallel.ForEachAsync(unanswered.Keys.Concat(acknowledged.Keys.Take(50)), new ParallelOptions { MaxDegreeOfParallelism = Clients }, async (sent, _) =>
        {
            var ids = await Use(service, sent);
            Assert.True(ids is not null, $"{sent.Key} is refused although nothing is wrong any more.");
            foreach (var (item, id) in sent.Items.Zip(ids))
                if (records[sent.Organization].GetValueOrDefault(item) is { } before) Assert.Equal(before.Id, id);
        });
        // A process that was idle hears of what another has written by its next command, and its checks do then.
        foreach (var organization in Organizations)
        {
            var last = new Sent(organization, $"audit-{acknowledged.Count}", [$"audit-{acknowledged.Count}"], JsonSerializer.Serialize(
                new { feature = "calls", quantity = 1, metadata = new { item = $"audit-{acknowledged.Count}" } }));
            acknowledged[last] = await Use(service, last) ?? throw new InvalidOperationException($"{organization} cannot be written to although nothing is wrong any more.");
        }
        var after = await Records(service);
        var items = acknowledged.Keys.Concat(unanswered.Keys).SelectMany(s => s.Items).Order(StringComparer.Ordinal);
        Assert.Equal(items, after.Values.SelectMany(r => r.Keys).Order(StringComparer.Ordinal));
        foreach (var organization in Organizations)
        {
            var verified = await Get(service, $"/v1/organizations/{organization}/ledger/verify");
            Assert.True(verified["ok"]!.GetValue<bool>(), verified.ToJsonString());
            Assert.Equal(after[organization].Count + 1, verified["events"]!.GetValue<int>());
            var check = await Get(service, $"/v1/organizations/{organization}/entitlements/calls");
            Assert.Equal(after[organization].Values.Sum(r => r.Quantity), check["used"]!.GetValue<decimal>());
        }
    }

    private static Sent Request(Random random, string organization, string key)
    {
        var size = random.Next(3) > 0 ? 1 : random.Next(2, 6);
        if (size == 1) return new Sent(organization, key, [key], JsonSerializer.Serialize(Use(key)));
        string[] items = [.. Enumerable.Range(0, size).Select(i => $"{key}:{i}")];
        return new Sent(organization, key, items, JsonSerializer.Serialize(new { items = items.Select(Use), atomic = random.Next(2) == 0 }));

        object Use(string item) => new { feature = "calls", quantity = random.Next(1, 9), metadata = new { item } };
    }

    /// <summary>The same to all of these at the same time: whoever answers, answers the same.</summary>
    private async Task<string[]?> Use(IReadOnlyList<HttpClient> services, Sent sent)
    {
        var answers = (await Task.WhenAll(services.Select(s => Use(s, sent)))).OfType<string[]>().ToList();
        Assert.All(answers, ids => Assert.Equal(answers[0], ids));
        return answers.FirstOrDefault();
    }

    /// <returns>The ids of what was recorded, in the order of the items; null when the journal is unavailable.</returns>
    private async Task<string[]?> Use(HttpClient service, Sent sent)
    {
        var waited = Stopwatch.StartNew();
        using var response = await Send(service, HttpMethod.Post, $"/v1/organizations/{sent.Organization}/usage{(sent.IsBatch ? "/batch" : "")}", sent.Body, sent.Key);
        if ((int)response.StatusCode == 503)
        {
            Assert.Equal("journal_unavailable", JsonNode.Parse(await response.Content.ReadAsStringAsync())!["code"]!.GetValue<string>());
            Assert.NotNull(response.Headers.RetryAfter);
            Interlocked.Increment(ref unavailable);
            for (var ticks = waited.Elapsed.Ticks; Interlocked.Read(ref slowestTicks) is var slowest && ticks > slowest;) Interlocked.CompareExchange(ref slowestTicks, ticks, slowest);
            return null;
        }
        var answer = await Read(response);
        return sent.IsBatch ? [.. answer["items"]!.AsArray().Select(i => i!["usage"]!["id"]!.GetValue<string>())] : [answer["id"]!.GetValue<string>()];
    }

    /// <summary>By organization: every item that was recorded. None is there twice.</summary>
    private async Task<Dictionary<string, Dictionary<string, Record>>> Records(HttpClient service)
    {
        var all = new Dictionary<string, Dictionary<string, Record>>();
        foreach (var organization in Organizations)
        {
            var records = all[organization] = [];
            for (string? cursor = ""; cursor is not null;)
            {
                var page = await Get(service, $"/v1/organizations/{organization}/usage/records?limit=500" + (cursor.Length == 0 ? "" : $"&cursor={cursor}"));
                foreach (var record in page["items"]!.AsArray())
                {
                    var item = record!["metadata"]!["item"]!.GetValue<string>();
                    Assert.True(records.TryAdd(item, new Record(record["id"]!.GetValue<string>(), record["quantity"]!.GetValue<decimal>())), $"{item} of {organization} is recorded twice.");
                }
                cursor = page["next_cursor"]?.GetValue<string>();
            }
        }
        return all;
    }

    private static async Task<JsonNode> Get(HttpClient service, string path) => await Read(await Send(service, HttpMethod.Get, path, null, null));

    private static async Task<HttpResponseMessage> Send(HttpClient service, HttpMethod method, string path, string? body, string? key)
    {
        using var request = new HttpRequestMessage(method, path);
        if (body is not null) request.Content = new StringContent(body, Encoding.UTF8, "application/json");
        if (key is not null) request.Headers.Add("Idempotency-Key", key);
        return await service.SendAsync(request);
    }

    private static async Task<JsonNode> Read(HttpResponseMessage response)
    {
        using var read = response;
        var text = await response.Content.ReadAsStringAsync();
        Assert.True(response.IsSuccessStatusCode, $"{response.RequestMessage?.Method} {response.RequestMessage?.RequestUri} answered {(int)response.StatusCode}: {text}");
        return JsonNode.Parse(text)!;
    }
}
