using System.Globalization;
using Billing.Ledger;
using Xunit.Abstractions;

namespace Billing.Tests.Simulation;

/// <summary>
/// The books close: seeded worlds in which everything that can go wrong does, and an auditor who recomputes every
/// balance from the events alone. <c>SIMULATION_SEEDS</c> says how many seeds are run and <c>SIMULATION_SEED</c> which is the first.
/// </summary>
public sealed class SimulationTests(ITestOutputHelper output)
{
    private static readonly int Seeds = Setting("SIMULATION_SEEDS", 200);
    private static readonly int FirstSeed = Setting("SIMULATION_SEED", 1);

    [Fact]
    public async Task the_books_close_after_every_event_whatever_goes_wrong()
    {
        var count = new SortedDictionary<string, int>(StringComparer.Ordinal);
        var (organizations, events) = (0, 0);
        await Parallel.ForEachAsync(Enumerable.Range(FirstSeed, Seeds), new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, async (seed, _) =>
        {
            var world = await World.Of(seed);
            lock (count)
            {
                foreach (var (what, times) in world.Count) count[what] = count.GetValueOrDefault(what) + times;
                organizations += world.Tenants.Count;
                events += world.Tenants.Sum(t => t.Events.Count);
            }
        });

        output.WriteLine($"{Seeds} seeds from {FirstSeed}, {organizations} organizations, {events} events:");
        foreach (var (what, times) in count) output.WriteLine($"{times,9} {what}");
        if (Seeds < 100) return;
        // A simulation in which something never happens proves nothing about it.
        Assert.True(organizations >= 200);
        var commands = typeof(Command).Assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(Command))).Select(t => $"done {t.Name}");
        string[] troubles = ["crashed", "evicted", "no answer", "replayed", "conflicts", "repeated", "reads", "clock back"];
        Assert.Empty(commands.Concat(troubles).Except(count.Keys));
    }

    [Fact]
    public async Task organizations_that_begin_with_snapshots_keep_the_same_books()
    {
        var found = 0;
        for (var seed = FirstSeed; seed < FirstSeed + Math.Max(1, Seeds / 10); seed++) found += (await World.Of(seed, withSnapshots: true)).SnapshotsFound;

        output.WriteLine($"{found} began with a snapshot.");
        Assert.True(found > 0);
    }

    [Fact]
    public async Task two_hundred_organizations_on_two_machines_and_one_journal_keep_their_books_apart()
    {
        var world = await new World((ulong)FirstSeed, organizations: 200).Run(steps: 3_000);

        Assert.Equal(200, world.Tenants.Count);
        Assert.All(world.Tenants, t => Assert.NotEmpty(t.Events));
    }

    [Fact]
    public async Task the_same_seed_is_the_same_world_byte_for_byte()
    {
        for (var seed = FirstSeed; seed < FirstSeed + 6; seed++)
        {
            var (one, other) = (World.Of(seed), World.Of(seed));
            var (first, again) = (await (await one).Digest(), await (await other).Digest());

            Assert.Equal(first, again);
            output.WriteLine($"{seed}: {first}");
        }
        Assert.NotEqual(await (await World.Of(FirstSeed)).Digest(), await (await World.Of(FirstSeed + 1)).Digest());
    }

    [Fact]
    public async Task the_auditor_finds_every_defect_that_is_put_into_a_stream()
    {
        var streams = new List<Tenant>();
        for (var seed = 1; seed <= 60; seed++) streams.AddRange((await World.Of(seed)).Tenants);
        var missed = new List<string>();
        foreach (var mutation in Mutation.All)
        {
            var (places, found) = (0, "");
            foreach (var tenant in streams)
            {
                // From the middle on, so that there is something to break; and not all of it in one place.
                if (places == 5) break;
                if (mutation.Try(tenant.Id, tenant.Events, tenant.Events.Count / 3) is not { } tried) continue;
                places++;
                found = tried.Finding ?? found;
                if (tried.Finding is null) missed.Add($"{mutation} (event {tried.At + 1} of {tenant.Id}, {string.Join(", ", tenant.Events.Skip(tried.At - 2).Take(8).Select(n => n.Event.ToString()))})");
            }
            if (places == 0) missed.Add($"{mutation}: there is no place for it");
            output.WriteLine($"{mutation}: {places} places. {found}");
        }

        Assert.True(missed.Count == 0, string.Join("\n", missed));
    }

    private static int Setting(string name, int otherwise) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : otherwise;
}
