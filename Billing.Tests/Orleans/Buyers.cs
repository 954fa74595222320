using System.Text;
using System.Text.Json.Nodes;
using Billing.Tests.Api;

namespace Billing.Tests.Orleans;

/// <summary>Several at once buy the same scarce things, one at a time, until they are told that there are no more. Each insists on an answer to every purchase.</summary>
internal sealed class Buyers(HttpClient service, string[] organizations)
{
    /// <summary>How many <c>jobs</c> each organization has.</summary>
    public const int Stock = 150;

    private const int Each = 3;

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private int bought;

    public static readonly string Catalog = RememberingClients.Catalog.Replace("\"jobs\": 5 ", $"\"jobs\": {Stock} ", StringComparison.Ordinal);

    public int Bought => Volatile.Read(ref bought);

    /// <summary>Ends when everything is sold.</summary>
    public Task Buy() => Task.WhenAll(organizations.SelectMany(o => Enumerable.Range(0, Each).Select(buyer => Task.Run(async () =>
    {
        for (var i = 0; await Buy(o, $"{o}-{buyer}-{i}"); i++) await Task.Delay(Pause);
    }))));

    /// <summary>All that there was is sold, and nothing was sold twice.</summary>
    public async Task Audit()
    {
        Assert.Equal(organizations.Length * Stock, Bought);
        foreach (var organization in organizations)
        {
            var entitlement = JsonNode.Parse(await service.GetStringAsync($"/v1/organizations/{organization}/entitlements/jobs"))!;
            Assert.Equal(Stock, entitlement["used"]!.GetValue<decimal>());
            Assert.Equal(0, entitlement["remaining"]!.GetValue<decimal>());
            var verified = JsonNode.Parse(await service.GetStringAsync($"/v1/organizations/{organization}/ledger/verify"))!;
            Assert.True(verified["ok"]!.GetValue<bool>(), verified.ToJsonString());
        }
    }

    /// <returns>False when there are no more.</returns>
    private async Task<bool> Buy(string organization, string key)
    {
        while (true)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, $"/v1/organizations/{organization}/usage");
            request.Content = new StringContent("""{ "feature": "jobs", "quantity": 1 }""", Encoding.UTF8, "application/json");
            request.Headers.Add("Idempotency-Key", key);
            using var response = await service.SendAsync(request);
            switch ((int)response.StatusCode)
            {
                case 201:
                    Interlocked.Increment(ref bought);
                    return true;
                case 503:
                    await Task.Delay(Pause);
                    continue;
            }
            var answer = await response.Content.ReadAsStringAsync();
            Assert.Equal("quota_exceeded", JsonNode.Parse(answer)!["code"]!.GetValue<string>());
            return false;
        }
    }
}
