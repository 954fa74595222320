using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;
using Billing.Api;
using NodaTime;
using NodaTime.Text;
using Xunit.Abstractions;

namespace Billing.Tests.Orleans;

/// <summary>A cluster of processes: what it says of itself, and what it does by itself.</summary>
[Collection(ClusterCollection.Name)]
public sealed class ClusterTests(ITestOutputHelper output)
{
    private const string HourlyCatalog = """
        {
          "currency": "usd",
          "fallback_plan": "free",
          "features": { "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call", "window": "hour" }, "mode": "block" } },
          "plans": { "free": { "name": "Free", "features": { "calls": 100 } } }
        }
        """;

    private static readonly Duration Ahead = Duration.FromSeconds(5);

    [Fact]
    public async Task a_service_whose_silos_come_later_says_so_until_they_come_and_again_when_they_are_gone()
    {
        await using var cluster = await Cluster.StartWithoutSilos(output);
        await Unavailable();
        using (var asked = await Dashboard(cluster, new("Bearer", Settings.DevelopmentKey))) Assert.Equal(HttpStatusCode.ServiceUnavailable, asked.StatusCode);

        var silo = cluster.AddSilo();
        await cluster.IsWhole();
        var ready = (await cluster.Ready()).Body;
        Assert.Equal("orleans", (string?)ready["engine"]!["name"]);
        Assert.Equal(HttpStatusCode.Created, (await Open("acme")).StatusCode);
        cluster.AddSilo();
        await cluster.IsWhole();

        // The first one leaves in order: what it had goes to the other.
        await silo.Leave();
        await cluster.IsWhole(1);
        Assert.Equal(HttpStatusCode.OK, (await cluster.Http.GetAsync("/v1/organizations/acme")).StatusCode);
        await cluster.Silos[1].Leave();
        await cluster.Until("the service knows that nobody is there", async () => (await cluster.Ready()).Status == 503);
        await Unavailable();

        cluster.AddSilo();
        await cluster.IsWhole(1);
        Assert.Equal(HttpStatusCode.OK, (await cluster.Http.GetAsync("/v1/organizations/acme")).StatusCode);

        async Task Unavailable()
        {
            var ready = await cluster.Ready();
            Assert.Equal((503, "unavailable", 0), (ready.Status, (string?)ready.Body["status"], (int?)ready.Body["engine"]!["silos"]));
            using var refused = await Open("refused");
            Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
            Assert.NotNull(refused.Headers.RetryAfter);
            Assert.Equal("journal_unavailable", (string?)JsonNode.Parse(await refused.Content.ReadAsStringAsync())!["code"]);
        }

        Task<HttpResponseMessage> Open(string id) => Post(cluster, "/v1/organizations", new { id }, $"open-{id}-{Guid.NewGuid():N}");
    }

    [Fact]
    public async Task a_window_that_ends_while_the_silo_dies_that_sees_to_it_is_closed_by_another_within_seconds_and_once()
    {
        await using var cluster = await Cluster.Start(output, HourlyCatalog);
        await Expect(Post(cluster, "/v1/organizations", new { id = "acme", test = true }, "open"));
        var hour = SystemClock.Instance.GetCurrentInstant().ToUnixTimeSeconds() / 3_600;
        Dictionary<string, int> homes;
        int before;
        do
        {
            // On a machine so busy that a window is over before anything could happen in it, the next one is as good.
            var end = Instant.FromUnixTimeSeconds((hour += 2) * 3_600);
            await Expect(Post(cluster, "/v1/organizations/acme/test-clock/advance", new { to = InstantPattern.ExtendedIso.Format(end - Ahead) }, $"clock-{hour}"));
            await Expect(Post(cluster, "/v1/organizations/acme/usage", new { feature = "calls", quantity = 3 }, $"use-{hour}"));
            before = await Resets(cluster);
            homes = await cluster.Homes("due-work");
        }
        while (await Resets(cluster) != before);

        var killed = Stopwatch.GetTimestamp();
        cluster.Silos[Assert.Single(homes).Value].Process.Kill();
        await cluster.Until("the window is closed", async () => await Resets(cluster) > before);
        output.WriteLine($"closed {Stopwatch.GetElapsedTime(killed).TotalSeconds:0.0} s after the kill, which was at most {Ahead.TotalSeconds:0} s before its end");
        await cluster.IsWhole();
        Assert.Single(await cluster.Homes("due-work"));
        Assert.Equal(before + 1, await Resets(cluster));
    }

    [Fact]
    public async Task the_dashboard_is_for_operators()
    {
        await using var cluster = await Cluster.StartWithoutSilos(output);
        cluster.AddSilo();
        await cluster.IsWhole();
        await Expect(Post(cluster, "/v1/organizations", new { id = "acme" }, "open"));
        var key = (string)JsonNode.Parse(await (await Expect(Post(cluster, "/v1/api-keys", new { name = "acme", organization = "acme" }, "key"))).Content.ReadAsStringAsync())!["key"]!;

        using (var nobody = await Dashboard(cluster, null))
        {
            Assert.Equal(HttpStatusCode.Unauthorized, nobody.StatusCode);
            Assert.Equal("Basic", nobody.Headers.WwwAuthenticate.Single().Scheme);
        }
        using (var customer = await Dashboard(cluster, Basic(key))) Assert.Equal(HttpStatusCode.Unauthorized, customer.StatusCode);
        using (var guess = await Dashboard(cluster, Basic("guess"))) Assert.Equal(HttpStatusCode.Unauthorized, guess.StatusCode);
        using (var browser = await Dashboard(cluster, Basic(Settings.DevelopmentKey)))
        {
            Assert.Equal(HttpStatusCode.OK, browser.StatusCode);
            Assert.Equal("text/html", browser.Content.Headers.ContentType?.MediaType);
        }
        using (var program = await Dashboard(cluster, new("Bearer", Settings.DevelopmentKey))) Assert.Equal(HttpStatusCode.OK, program.StatusCode);
    }

    private static AuthenticationHeaderValue Basic(string password) => new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"operator:{password}")));

    private static async Task<HttpResponseMessage> Dashboard(Cluster cluster, AuthenticationHeaderValue? authorization)
    {
        using var browser = new HttpClient { BaseAddress = cluster.Http.BaseAddress };
        browser.DefaultRequestHeaders.Authorization = authorization;
        return await browser.GetAsync("/dashboard/");
    }

    /// <summary>How many windows were closed.</summary>
    private static async Task<int> Resets(Cluster cluster)
    {
        var ledger = JsonNode.Parse(await cluster.Http.GetStringAsync("/v1/organizations/acme/ledger?type=quota-reset&limit=500"))!;
        return ledger["items"]!.AsArray().Count;
    }

    private static async Task<HttpResponseMessage> Post(Cluster cluster, string path, object body, string key)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = JsonContent.Create(body) };
        request.Headers.Add("Idempotency-Key", key);
        return await cluster.Http.SendAsync(request);
    }

    private static async Task<HttpResponseMessage> Expect(Task<HttpResponseMessage> answer)
    {
        var response = await answer;
        Assert.True(response.IsSuccessStatusCode, $"{(int)response.StatusCode} {await response.Content.ReadAsStringAsync()}");
        return response;
    }
}
