using System.Diagnostics;
using System.Globalization;
using Billing.Tests.Api;
using Xunit.Abstractions;

namespace Billing.Tests.Orleans;

/// <summary>Silos that end under load, however they end: nothing is lost or doubled, and nobody waits for long.</summary>
[Collection(ClusterCollection.Name)]
public sealed class SiloFailureTests(ITestOutputHelper output)
{
    private static readonly int Rounds = int.Parse(Environment.GetEnvironmentVariable("CLUSTER_KILL_ROUNDS") ?? "2", CultureInfo.InvariantCulture);

    /// <summary>Figures are demanded of a machine that has time for it, or always where this says so; of another they are recorded.</summary>
    private static readonly bool IsStrict = Environment.GetEnvironmentVariable("CLUSTER_STRICT") is "1";

    /// <summary>A machine that needs longer when nothing is wrong stands still for seconds at times.</summary>
    private const double BusyMilliseconds = 200;

    private static readonly TimeSpan LongestCall = TimeSpan.FromSeconds(8);

    private const int Organizations = 16;
    private const int AnswersBefore = 100;

    [Fact]
    public async Task killed_under_load_a_silo_takes_nothing_with_it_and_every_call_is_answered_within_eight_seconds()
    {
        await using var cluster = await Cluster.Start(output);
        var random = Seeded();
        for (var round = 0; round < Rounds; round++) await Round(cluster, $"k{round}", random, silo => silo.Process.Kill(), mayRefuse: true);
    }

    [Fact]
    public async Task told_to_end_under_load_a_silo_fails_no_call()
    {
        await using var cluster = await Cluster.Start(output);
        var random = Seeded();
        for (var round = 0; round < Rounds; round++) await Round(cluster, $"t{round}", random, silo => silo.Process.Terminate(), mayRefuse: false);
    }

    [Fact]
    public async Task while_postgresql_is_away_nothing_is_acknowledged_and_everything_goes_on_by_itself_when_it_is_back()
    {
        await using var cluster = await Cluster.Start(output);
        var clients = new RememberingClients(output);
        await RememberingClients.Open(cluster.Http);
        using var stop = new CancellationTokenSource();
        var writing = clients.WriteEach(cluster.Http, "p", Seeded().Next(), stop.Token);
        await cluster.Until("everybody is answered", () => writing.IsFaulted || clients.Waits.Count > AnswersBefore);
        cluster.Postgres.Stop("fast");
        await cluster.Until("somebody hears of it", () => writing.IsFaulted || clients.Unavailable > 0);
        cluster.Postgres.StartAgain();

        var back = Stopwatch.GetTimestamp();
        await cluster.Until("everybody is answered again", () => writing.IsFaulted || clients.Organizations.All(o => clients.Waits.Any(w => w.Organization == o && w.Sent > back)));
        await cluster.IsWhole();
        await stop.CancelAsync();
        await writing;
        output.WriteLine($"answered again {clients.Waits.Where(w => w.Answered > back).GroupBy(w => w.Organization).Max(g => Stopwatch.GetElapsedTime(back, g.Min(w => w.Answered))).TotalSeconds:0.00} s after the start; starts of silos: {string.Join(", ", cluster.Silos.Select(s => s.Starts))}");
        await clients.Audit(cluster.Http);
    }

    /// <summary>Organizations of its own for each round, so that both silos have some.</summary>
    /// <param name="mayRefuse">Whether a 503 is an answer, too, if repeating it then leads to one in time.</param>
    private async Task Round(Cluster cluster, string round, Random random, Action<KeptSilo> end, bool mayRefuse)
    {
        await cluster.IsWhole();
        string[] organizations = [.. Enumerable.Range(0, Organizations).Select(i => $"{round}-{i}")];
        var clients = new RememberingClients(output, organizations);
        await RememberingClients.Open(cluster.Http, organizations);
        using var stop = new CancellationTokenSource();
        var writing = clients.WriteEach(cluster.Http, round, random.Next(), stop.Token);
        await cluster.Until("everybody is answered", () => writing.IsFaulted || clients.Waits.Count > Organizations * AnswersBefore);
        var homes = await cluster.Homes();
        var victim = homes.Where(h => organizations.Contains(h.Key)).GroupBy(h => h.Value).MinBy(g => random.Next())!.Key;
        var starts = cluster.Silos[victim].Starts;

        var ended = Stopwatch.GetTimestamp();
        end(cluster.Silos[victim]);
        await cluster.Until("everybody is answered again", () => writing.IsFaulted || organizations.All(o => clients.Waits.Any(w => w.Organization == o && w.Sent > ended)));
        await cluster.Until("the silo is started again", () => cluster.Silos[victim].Starts > starts);
        await cluster.IsWhole();
        await stop.CancelAsync();
        await writing;

        var after = clients.Waits.Where(w => w.Answered > ended).ToList();
        var failover = after.Where(w => homes[w.Organization] == victim).GroupBy(w => w.Organization).Max(g => Stopwatch.GetElapsedTime(ended, g.Min(w => w.Answered)));
        var longest = clients.Waits.Max(w => w.Took);
        var others = clients.Waits.Where(w => homes[w.Organization] != victim).ToList();
        var (p99Before, p99During) = (P99(others.Where(w => w.Answered <= ended)), P99(others.Where(w => w.Answered > ended)));
        output.WriteLine($"{round}: silo {victim} of {homes.Values.Count(h => h == victim)} organizations ended; failover {failover.TotalSeconds:0.00} s; longest call {longest.TotalSeconds:0.00} s; "
            + $"the other's p99 {p99Before:0.0} ms before, {p99During:0.0} ms during, longest {others.Where(w => w.Answered > ended).Select(w => w.Took.TotalMilliseconds).DefaultIfEmpty().Max():0} ms; {clients.Unavailable} times 503; {clients.Waits.Count} answers");
        await clients.Audit(cluster.Http);
        if (!IsStrict && P99(clients.Waits.Where(w => w.Answered <= ended)) > BusyMilliseconds) return;
        Assert.True(longest < LongestCall, $"A call took {longest}.");
        Assert.True(mayRefuse || clients.Unavailable == 0, $"{clients.Unavailable} calls were refused.");
        if (IsStrict) Assert.True(p99During <= 3 * p99Before, $"The other silo's organizations waited {p99During} ms instead of {p99Before} ms.");
    }

    private static double P99(IEnumerable<RememberingClients.Waited> waits)
    {
        var ordered = waits.Select(w => w.Took.TotalMilliseconds).Order().ToList();
        return ordered.Count == 0 ? 0 : ordered[(int)(ordered.Count * 0.99)];
    }

    private Random Seeded()
    {
        var seed = Environment.TickCount;
        output.WriteLine($"seed {seed}, {Rounds} rounds");
        return new Random(seed);
    }
}
