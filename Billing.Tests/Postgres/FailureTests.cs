using System.Diagnostics;
using System.Globalization;
using System.Text;
using Billing.Tests.Api;
using Xunit.Abstractions;

namespace Billing.Tests.Postgres;

/// <summary>
/// The service goes on while its database is stopped, killed, cut off, deaf or full. Nobody waits longer than is set,
/// everything recovers by itself, what was acknowledged is stored, and nothing is recorded twice.
/// </summary>
public sealed class FailureTests(ITestOutputHelper output)
{
    private static readonly int StopRounds = int.Parse(Environment.GetEnvironmentVariable("STOP_ROUNDS") ?? "3", CultureInfo.InvariantCulture);

    private static readonly TimeSpan TwoProcesses = TimeSpan.FromSeconds(int.Parse(Environment.GetEnvironmentVariable("TWO_PROCESS_SECONDS") ?? "10", CultureInfo.InvariantCulture));

    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(2);

    private readonly RememberingClients clients = new(output);
    private readonly int seed = Environment.TickCount;

    [Fact]
    public async Task the_server_is_stopped_at_once_and_started_again_under_load()
    {
        using var server = PostgresServer.Start();
        await using var api = await Start(server.ConnectionString(server.CreateDatabase()));
        var random = new Random(seed);
        for (var round = 0; round < StopRounds; round++)
        {
            await UnderLoad(api, $"r{round}", async () =>
            {
                // Every other time without even a signal that it could hear.
                if (round % 2 == 0) server.Stop();
                else server.Kill();
                await Out(api);
                // Some restarts are quick and some are not.
                await Task.Delay(random.Next(1_000));
                server.StartAgain();
                await Recovered(api);
            });
        }
        await AssertAudit(api);
    }

    [Fact]
    public async Task the_line_to_the_server_delays_and_cuts_and_swallows_acknowledgements()
    {
        using var proxy = new LoopbackProxy(PostgresServer.Shared.Port);
        var database = PostgresServer.Shared.CreateDatabase();
        await using var api = await Start(PostgresServer.Shared.ConnectionString(database).Replace($"Port={PostgresServer.Shared.Port}", $"Port={proxy.Port}", StringComparison.Ordinal));
        await UnderLoad(api, "slow", async () =>
        {
            var before = clients.Acknowledged;
            proxy.Delay(TimeSpan.FromMilliseconds(200));
            // Slow is not out.
            await Until(() => clients.Acknowledged > before + 20);
            Assert.Equal(0, clients.Unavailable);
            proxy.Mend();
        });
        for (var i = 0; i < 3; i++)
            await UnderLoad(api, $"lost{i}", async () =>
            {
                // What is committed now is not acknowledged, and then the line breaks.
                proxy.SwallowAnswers();
                await Until(() => Interlocked.Read(ref proxy.SentMeanwhile) > 0);
                proxy.Cut();
                await Out(api);
                proxy.Mend();
                await Recovered(api);
            });
        await UnderLoad(api, "deaf", async () =>
        {
            proxy.SwallowAnswers();
            await Out(api);
            var asked = Stopwatch.StartNew();
            (await api.Check("acme", "calls")).Expect(200);
            Assert.True(asked.Elapsed < TimeSpan.FromSeconds(1), $"A check took {asked.Elapsed}.");
            // Longer than anybody's patience; then all that was held back arrives at once.
            await Task.Delay(Timeout);
            proxy.Mend();
            await Recovered(api);
        });
        await AssertAudit(api);
    }

    [Theory]
    [InlineData("a disk of its own")]
    [InlineData("a limit on its files")]
    public async Task the_disk_is_full_and_there_is_room_again(string how)
    {
        PostgresServer server;
        try
        {
            server = PostgresServer.Start(settings: ["min_wal_size=32MB", "max_wal_size=32MB", "restart_after_crash=on"], diskMegabytes: how == "a disk of its own" ? 160 : null);
        }
        catch (NotSupportedException)
        {
            // Whoever may not mount one still has the other way.
            output.WriteLine("No disk can be mounted here.");
            return;
        }
        using var own = server;
        await using var api = await Start(server.ConnectionString(server.CreateDatabase()));
        await UnderLoad(api, "full", async () =>
        {
            server.FillDisk();
            var refused = clients.Unavailable;
            await Until(() => clients.Unavailable > refused + 20);
            (await api.Check("acme", "calls")).Expect(200);
            server.FreeDisk();
            await Recovered(api);
        });
        await AssertAudit(api);
    }

    [Fact]
    public async Task two_processes_that_own_the_same_organizations_record_every_command_once_and_refuse_by_what_both_wrote()
    {
        var folder = Directory.CreateTempSubdirectory("billing-").FullName;
        try
        {
            await File.WriteAllTextAsync(Path.Combine(folder, "catalog.json"), RememberingClients.Catalog);
            var journal = $"--ConnectionStrings:Ledger={PostgresServer.Shared.ConnectionString(PostgresServer.Shared.CreateDatabase())}";
            // Both at once: one of them makes the schema.
            var both = await Task.WhenAll(ServiceProcess.Start(folder, journal), ServiceProcess.Start(folder, journal));
            using var one = both[0];
            using var other = both[1];
            await RememberingClients.Open(one.Http);
            using (var stop = new CancellationTokenSource(TwoProcesses)) await clients.Write([one.Http, other.Http], "both", seed, stop.Token);
            output.WriteLine($"{clients.Acknowledged} answered, {clients.Unavailable} times told to try again");
            await clients.Audit(one.Http);
            await clients.Audit(other.Http);

            // What one has used up the other refuses, what one has made possible the other allows, and an old success stays one.
            Assert.Equal(201, await UseJobs(other.Http, "acme", 1, "early"));
            Assert.Equal(201, await UseJobs(one.Http, "acme", 4, "rest"));
            Assert.Equal(402, await UseJobs(other.Http, "acme", 1, "late"));
            Assert.Equal(200, await Send(one.Http, HttpMethod.Put, "/v1/organizations/acme/subscription", """{ "plan": "pro" }""", "upgrade"));
            Assert.Equal(201, await UseJobs(other.Http, "acme", 1, "late"));
            Assert.Equal(201, await UseJobs(one.Http, "acme", 44, "all"));
            Assert.Equal(201, await UseJobs(other.Http, "acme", 44, "all"));
            Assert.Equal(402, await UseJobs(other.Http, "acme", 1, "more"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    // ---- helpers

    private static Task<int> UseJobs(HttpClient service, string organization, int quantity, string key) =>
        Send(service, HttpMethod.Post, $"/v1/organizations/{organization}/usage", $$"""{ "feature": "jobs", "quantity": {{quantity}} }""", key);

    private static async Task<int> Send(HttpClient service, HttpMethod method, string path, string body, string key)
    {
        using var request = new HttpRequestMessage(method, path) { Content = new StringContent(TestApi.WithReason(method, path, body)!, Encoding.UTF8, "application/json"), Headers = { { "Idempotency-Key", key } } };
        using var response = await service.SendAsync(request);
        return (int)response.StatusCode;
    }

    private static async Task<TestApi> Start(string connectionString)
    {
        var api = await TestApi.Start(RememberingClients.Catalog, args:
            [$"--ConnectionStrings:Ledger={connectionString}", $"--Billing:JournalTimeoutMilliseconds={Timeout.TotalMilliseconds}", "--Logging:LogLevel:Default=None"]);
        await RememberingClients.Open(api.Http);
        return api;
    }

    /// <summary>Something happens while clients write, before and after it.</summary>
    private async Task UnderLoad(TestApi api, string round, Func<Task> happens)
    {
        using var stop = new CancellationTokenSource();
        var started = clients.Acknowledged;
        var writing = clients.Write([api.Http], round, seed, stop.Token);
        try
        {
            await Until(() => clients.Acknowledged > started + 50);
            var watch = Stopwatch.StartNew();
            await happens();
            var recovered = clients.Acknowledged;
            await Until(() => clients.Acknowledged > recovered + 50);
            output.WriteLine($"{round}: {watch.Elapsed.TotalSeconds:0.0} s; {clients.Acknowledged} answered by now, {clients.Unavailable} refused");
        }
        finally
        {
            await stop.CancelAsync();
            await writing;
        }
    }

    private static async Task Out(TestApi api)
    {
        Answer? last = null;
        await Until(async () => (last = await api.Check("acme", "calls")).Expect(200).Headers.ContainsKey("Ledger-Journal"));
        Assert.StartsWith("unavailable; since=2026-11-20T10:00:00Z", last!.Headers["Ledger-Journal"], StringComparison.Ordinal);
    }

    private static async Task Recovered(TestApi api)
    {
        var waited = Stopwatch.StartNew();
        await Until(async () => (await api.Get("/health/ready", api.Anonymous)).String("status") == "ready");
        Assert.True(waited.Elapsed < TimeSpan.FromSeconds(10), $"It took {waited.Elapsed} to recover.");
    }

    private async Task AssertAudit(TestApi api)
    {
        Assert.True(clients.LongestWait < TimeSpan.FromSeconds(5), $"Somebody waited {clients.LongestWait} for a 503.");
        await clients.Audit(api.Http);
    }

    private static Task Until(Func<bool> condition) => Until(() => Task.FromResult(condition()));

    private static async Task Until(Func<Task<bool>> condition)
    {
        for (var waited = Stopwatch.StartNew(); !await condition(); await Task.Delay(5))
            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(60), "It does not come about.");
    }
}
