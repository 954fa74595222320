using System.Diagnostics;
using Billing.Tests.Api;
using Billing.Tests.Postgres;
using Xunit.Abstractions;

namespace Billing.Tests.Orleans;

/// <summary>
/// A silo that some do not reach and others do. Two of it may be active at the same time then; but the journal takes only
/// one event of each version, so nothing is sold twice, and when the way is there again nobody needs to help.
/// </summary>
[Collection(ClusterCollection.Name)]
public sealed class PartitionTests(ITestOutputHelper output)
{
    private static readonly string[] Shops = ["shop-0", "shop-1", "shop-2", "shop-3"];

    private const int AnswersBefore = 200;

    /// <summary>The cable is pulled: half of the organizations are not answered until it is in again.</summary>
    [Fact]
    public Task a_silo_that_does_not_reach_postgresql_sells_nothing_twice() =>
        Cut(silo => [silo.ToPostgres], silently: true, (_, _, clients) => clients.Unavailable > 0);

    /// <summary>Both take the other for dead; the membership table lets one of them do so, and the other ends and comes back when it may.</summary>
    [Fact]
    public Task silos_that_do_not_reach_each_other_sell_nothing_twice() =>
        Cut(_ => [], silently: true, (cluster, _, _) => cluster.Silos.Any(s => s.Starts > 1), bothSilos: true);

    /// <summary>There is another way to its organizations: through the other silo.</summary>
    [Fact]
    public Task a_silo_that_the_service_does_not_reach_sells_nothing_twice_and_its_organizations_are_answered_through_the_other() =>
        Cut(silo => [silo.FromClients], silently: false, (_, since, clients) => clients.Organizations.All(o => clients.Waits.Any(w => w.Organization == o && w.Sent > since)));

    /// <param name="ways">The ones of one silo that are cut.</param>
    /// <param name="silently">Nobody is told.</param>
    /// <param name="until">How long they stay cut.</param>
    private async Task Cut(Func<KeptSilo, IEnumerable<LoopbackProxy>> ways, bool silently, Func<Cluster, long, RememberingClients, bool> until, bool bothSilos = false)
    {
        await using var cluster = await Cluster.Start(output, Buyers.Catalog);
        string[] organizations = [.. Enumerable.Range(0, 8).Select(i => $"org-{i}")];
        var clients = new RememberingClients(output, organizations);
        await RememberingClients.Open(cluster.Http, [.. organizations, .. Shops]);
        using var stop = new CancellationTokenSource();
        var writing = clients.WriteEach(cluster.Http, "n", Environment.TickCount, stop.Token);
        await cluster.Until("everybody is answered", () => writing.IsFaulted || clients.Waits.Count > AnswersBefore);
        var buyers = new Buyers(cluster.Http, Shops);
        var buying = buyers.Buy();
        await cluster.Until("there are buyers", () => buying.IsFaulted || buyers.Bought > Shops.Length);
        var homes = await cluster.Homes();
        var victim = cluster.Silos[homes.Where(h => organizations.Contains(h.Key)).MaxBy(h => h.Value).Value];
        List<LoopbackProxy> cut = bothSilos ? [.. cluster.Silos.Select(s => s.FromSilos)] : [.. ways(victim)];

        var since = Stopwatch.GetTimestamp();
        foreach (var way in cut)
            if (silently) way.Silence();
            else way.Cut();
        await cluster.Until("it is noticed", () => writing.IsFaulted || until(cluster, since, clients));
        var cutFor = Stopwatch.GetElapsedTime(since);
        var boughtMeanwhile = buyers.Bought;
        foreach (var way in cut) way.Mend();

        var mended = Stopwatch.GetTimestamp();
        await cluster.Until("everybody is answered again", () => writing.IsFaulted || organizations.All(o => clients.Waits.Any(w => w.Organization == o && w.Sent > mended)));
        var answered = Stopwatch.GetElapsedTime(mended);
        await buying;
        await cluster.IsWhole();
        await stop.CancelAsync();
        await writing;
        output.WriteLine($"cut for {cutFor.TotalSeconds:0.0} s with {boughtMeanwhile} of {Shops.Length * Buyers.Stock} sold by then; everybody answered {answered.TotalSeconds:0.0} s after; longest call {clients.Waits.Max(w => w.Took).TotalSeconds:0.0} s; {clients.Unavailable} times 503; starts of silos: {string.Join(", ", cluster.Silos.Select(s => s.Starts))}");
        await buyers.Audit();
        await clients.Audit(cluster.Http);
    }
}
