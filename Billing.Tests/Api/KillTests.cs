using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Billing.Api;
using Xunit.Abstractions;

namespace Billing.Tests.Api;

/// <summary>
/// The service as a process of its own, killed again and again in the middle of writing. What it acknowledged is there
/// exactly once; what it did not acknowledge is there at most once, whole, and a repeat finds out.
/// </summary>
public sealed class KillTests(ITestOutputHelper output)
{
    private const int Clients = 6;

    private static readonly string[] Organizations = ["acme", "globex", "initech", "umbrella"];

    private static readonly int Rounds = int.Parse(Environment.GetEnvironmentVariable("KILL_ROUNDS") ?? "5", CultureInfo.InvariantCulture);

    /// <summary>One request: its key and the items in it. A single use is one item whose id is the key itself.</summary>
    private sealed record Sent(string Organization, string Key, string[] Items, string Body)
    {
        public bool IsBatch => Items.Length > 1;
    }

    [Fact]
    public async Task killed_under_load_the_service_loses_nothing_that_it_acknowledged_and_records_nothing_twice()
    {
        var seed = Environment.TickCount;
        output.WriteLine($"seed {seed}, {Rounds} rounds");
        var random = new Random(seed);
        var folder = Directory.CreateTempSubdirectory("billing-").FullName;
        var acknowledged = new ConcurrentDictionary<Sent, string[]>();
        var unanswered = new ConcurrentBag<Sent>();
        try
        {
            await File.WriteAllTextAsync(Path.Combine(folder, "catalog.json"), """
                {
                  "currency": "usd",
                  "fallback_plan": "free",
                  "features": { "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call", "window": "hour" }, "mode": "block" } },
                  "plans": { "free": { "name": "Free", "features": { "calls": "unlimited" } } }
                }
                """);
            for (var round = 0; round < Rounds; round++)
            {
                // The file is as the kill left it: nobody's hand between two starts.
                using var service = await Child.Start(folder);
                if (round == 0)
                    foreach (var id in Organizations) await service.Open(id);
                var killAfter = random.Next(1, 400);
                await Load(service, round, random.Next(), killAfter, acknowledged, unanswered);
                output.WriteLine($"round {round}: killed after {killAfter} or more answers; by now {acknowledged.Count} answered, {unanswered.Count} not");
            }
            using var last = await Child.Start(folder);
            await Audit(last, acknowledged, unanswered);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Clients that write until the service dies under them.</summary>
    private static async Task Load(
        Child service, int round, int seed, int killAfter, ConcurrentDictionary<Sent, string[]> acknowledged, ConcurrentBag<Sent> unanswered)
    {
        var answers = 0;
        await Task.WhenAll(Enumerable.Range(0, Clients).Select(client => Task.Run(async () =>
        {
            var random = new Random(seed + client);
            for (var i = 0; ; i++)
            {
                var sent = Request(random, $"r{round}-c{client}-{i}");
                try
                {
                    acknowledged[sent] = await service.Use(sent);
                }
                catch (Exception e) when (e is HttpRequestException or IOException or OperationCanceledException)
                {
                    unanswered.Add(sent);
                    return;
                }
                // Whoever gets this answer pulls the plug, while the others have requests on their way.
                if (Interlocked.Increment(ref answers) == killAfter) service.Kill();
            }
        })));
    }

    private static Sent Request(Random random, string key)
    {
        var organization = Organizations[random.Next(Organizations.Length)];
        var size = random.Next(3) > 0 ? 1 : random.Next(2, 6);
        if (size == 1) return new Sent(organization, key, [key], JsonSerializer.Serialize(Use(key)));
        string[] items = [.. Enumerable.Range(0, size).Select(i => $"{key}:{i}")];
        return new Sent(organization, key, items, JsonSerializer.Serialize(new { items = items.Select(Use), atomic = random.Next(2) == 0 }));

        object Use(string item) => new { feature = "calls", quantity = random.Next(1, 9), metadata = new { item } };
    }

    private async Task Audit(Child service, ConcurrentDictionary<Sent, string[]> acknowledged, ConcurrentBag<Sent> unanswered)
    {
        var records = await Records(service);
        Assert.NotEmpty(acknowledged);
        foreach (var (sent, ids) in acknowledged)
            foreach (var (item, id) in sent.Items.Zip(ids))
                Assert.True(records[sent.Organization].GetValueOrDefault(item) == id, $"{item} of {sent.Organization} was acknowledged as {id}; it is {records[sent.Organization].GetValueOrDefault(item) ?? "not there"}.");
        // One request is one append: all of it is there, or nothing.
        var written = 0;
        foreach (var sent in unanswered)
        {
            var there = sent.Items.Count(records[sent.Organization].ContainsKey);
            Assert.True(there == 0 || there == sent.Items.Length, $"Of {sent.Key}, {there} of {sent.Items.Length} items are there.");
            if (there > 0) written++;
        }
        Assert.Equal(acknowledged.Keys.Concat(unanswered).SelectMany(s => s.Items).Distinct().Count(), acknowledged.Keys.Concat(unanswered).Sum(s => s.Items.Length));
        output.WriteLine($"{acknowledged.Count} requests answered; {unanswered.Count} not, of which {written} had been written");

        // A repeat finds the truth: recorded by now, and once.
        foreach (var sent in unanswered.Concat(acknowledged.Keys.Take(50)))
        {
            var ids = await service.Use(sent);
            foreach (var (item, id) in sent.Items.Zip(ids))
                if (records[sent.Organization].GetValueOrDefault(item) is { } before) Assert.Equal(before, id);
        }
        var after = await Records(service);
        Assert.Equal(
            acknowledged.Keys.Concat(unanswered).SelectMany(s => s.Items).Order(StringComparer.Ordinal), after.Values.SelectMany(r => r.Keys).Order(StringComparer.Ordinal));
        foreach (var organization in Organizations)
        {
            var verified = await service.Get($"/v1/organizations/{organization}/ledger/verify");
            Assert.True(verified["ok"]!.GetValue<bool>(), verified.ToJsonString());
            Assert.Equal(after[organization].Count + 1, verified["events"]!.GetValue<int>());
        }
    }

    /// <summary>By organization: every item that was recorded, with its record's id. None is there twice.</summary>
    private static async Task<Dictionary<string, Dictionary<string, string>>> Records(Child service)
    {
        var all = new Dictionary<string, Dictionary<string, string>>();
        foreach (var organization in Organizations)
        {
            var records = all[organization] = [];
            for (string? cursor = ""; cursor is not null;)
            {
                var page = await service.Get($"/v1/organizations/{organization}/usage/records?limit=500" + (cursor.Length == 0 ? "" : $"&cursor={cursor}"));
                foreach (var record in page["items"]!.AsArray())
                {
                    var item = record!["metadata"]!["item"]!.GetValue<string>();
                    Assert.True(records.TryAdd(item, record["id"]!.GetValue<string>()), $"{item} of {organization} is recorded twice.");
                }
                cursor = page["next_cursor"]?.GetValue<string>();
            }
        }
        return all;
    }

    /// <summary>The built service as a process, with what it says.</summary>
    private sealed class Child : IDisposable
    {
        private readonly Process process;
        private readonly HttpClient http;
        private readonly ConcurrentQueue<string> said;

        private Child(Process process, string url, ConcurrentQueue<string> said)
        {
            this.process = process;
            this.said = said;
            http = new HttpClient { BaseAddress = new Uri(url) };
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Settings.DevelopmentKey);
        }

        public static async Task<Child> Start(string folder)
        {
            while (true)
            {
                var said = new ConcurrentQueue<string>();
                var listens = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
                var url = $"http://127.0.0.1:{FreePort()}";
                var process = new Process
                {
                    StartInfo = new ProcessStartInfo(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet",
                    [
                        Path.Combine(AppContext.BaseDirectory, "Billing.Api.dll"), $"--urls={url}",
                        $"--Billing:Journal={Path.Combine(folder, "ledger.db")}", $"--Billing:Catalog={Path.Combine(folder, "catalog.json")}",
                    ])
                    {
                        RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = folder,
                        Environment = { ["ASPNETCORE_ENVIRONMENT"] = "Development" },
                    },
                    EnableRaisingEvents = true,
                };
                process.OutputDataReceived += (_, line) => Hear(line.Data);
                process.ErrorDataReceived += (_, line) => Hear(line.Data);
                process.Exited += (_, _) => listens.TrySetResult(false);
                process.Start();
                process.BeginOutputReadLine();
                process.BeginErrorReadLine();
                var child = new Child(process, url, said);
                if (await listens.Task) return child;

                child.Dispose();
                // Somebody took the port between finding and using it; anything else is a failure.
                if (!said.Any(line => line.Contains("address already in use", StringComparison.OrdinalIgnoreCase)))
                    Assert.Fail($"The service did not start:\n{string.Join('\n', said)}");

                void Hear(string? line)
                {
                    if (line is null) return;
                    said.Enqueue(line);
                    if (line.Contains("Billing Ledger listens on", StringComparison.Ordinal)) listens.TrySetResult(true);
                }
            }
        }

        /// <summary>SIGKILL: nothing is finished, nothing closed.</summary>
        public void Kill() => process.Kill();

        public Task<JsonNode> Open(string organization) => Send(HttpMethod.Post, "/v1/organizations", JsonSerializer.Serialize(new { id = organization }), $"open-{organization}");

        public Task<JsonNode> Get(string path) => Send(HttpMethod.Get, path, null, null);

        /// <returns>The ids of what was recorded, in the order of the items.</returns>
        public async Task<string[]> Use(Sent sent)
        {
            var answer = await Send(HttpMethod.Post, $"/v1/organizations/{sent.Organization}/usage{(sent.IsBatch ? "/batch" : "")}", sent.Body, sent.Key);
            return sent.IsBatch ? [.. answer["items"]!.AsArray().Select(i => i!["usage"]!["id"]!.GetValue<string>())] : [answer["id"]!.GetValue<string>()];
        }

        public void Dispose()
        {
            // By its own id, and waited for: the next one opens the same file.
            if (!process.HasExited) process.Kill();
            process.WaitForExit();
            process.Dispose();
            http.Dispose();
        }

        private async Task<JsonNode> Send(HttpMethod method, string path, string? body, string? key)
        {
            using var request = new HttpRequestMessage(method, path);
            if (body is not null) request.Content = new StringContent(body, Encoding.UTF8, "application/json");
            if (key is not null) request.Headers.Add("Idempotency-Key", key);
            using var response = await http.SendAsync(request);
            var text = await response.Content.ReadAsStringAsync();
            Assert.True(response.IsSuccessStatusCode, $"{method} {path} answered {(int)response.StatusCode}: {text}\nThe service said:\n{string.Join('\n', said)}");
            return JsonNode.Parse(text)!;
        }

        private static int FreePort()
        {
            using var listener = new TcpListener(IPAddress.Loopback, 0);
            listener.Start();
            return ((IPEndPoint)listener.LocalEndpoint).Port;
        }
    }
}
