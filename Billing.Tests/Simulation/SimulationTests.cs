using System.Globalization;
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

    private const int Organizations = 5;
    private const int Steps = 250;

    [Fact]
    public async Task the_books_close_after_every_event_whatever_goes_wrong()
    {
        var count = new SortedDictionary<string, int>();
        var events = 0;
        await Parallel.ForEachAsync(Enumerable.Range(FirstSeed, Seeds), new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, async (seed, _) =>
        {
            var world = await new World((ulong)seed, Organizations).Run(Steps);
            lock (count)
            {
                foreach (var (what, times) in world.Count) count[what] = count.GetValueOrDefault(what) + times;
                events += world.Tenants.Sum(t => t.Events.Count);
            }
        });
        output.WriteLine($"{Seeds} seeds from {FirstSeed}, {Seeds * Organizations} organizations, {events} events:");
        foreach (var (what, times) in count) output.WriteLine($"{times,9} {what}");
    }

    private static int Setting(string name, int otherwise) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : otherwise;
}
