using System.Diagnostics;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Silo;

namespace Billing.Bench;

/// <summary>How long the first question waits for an organization that is not in memory and has a long stream.</summary>
public sealed class Activation(Options options, IReadOnlyList<SampleDatabase> databases, Report report)
{
    public const string Name = "activation", Whole = "activation, no snapshot", FromSnapshot = "activation, snapshot";

    private const int Times = 200;

    /// <summary>More events than there are: nothing that is measured takes a snapshot, and the next activation finds the same one.</summary>
    private const int Never = int.MaxValue;

    /// <summary>One round.</summary>
    public async Task Run(int round)
    {
        foreach (var (subject, database, _) in databases)
        {
            report.Add(round, await Measure(Whole, subject, 1, () => Host(database.Journal, null)));
            report.Add(round, await Measure(FromSnapshot, subject, Times, () => Host(database.Journal, new Snapshots(new SnapshotStore(database, TimeProvider.System), Never))));
        }
    }

    private static LedgerHost Host(IJournal journal, Snapshots? snapshots) => new(journal, () => Sample.Catalogs, 1L << 30, snapshots);

    private async Task<Measurement> Measure(string scenario, string subject, int times, Func<LedgerHost> cold)
    {
        var latencies = new Histogram();
        for (var i = 0; i < times; i++)
        {
            await using var host = cold();
            var started = Stopwatch.GetTimestamp();
            var view = await host.Organization(Sample.Organization).Read(Sample.Opened);
            latencies.Add(Stopwatch.GetTimestamp() - started);
            if (view?.Version != options.StreamEvents) throw new BenchException($"The activation came to version {view?.Version} instead of {options.StreamEvents}.");
        }
        return new Measurement(scenario, subject)
        {
            P50Ms = latencies.Percentile(0.5),
            P99Ms = times > 1 ? latencies.Percentile(0.99) : 0,
            P999Ms = times > 1 ? latencies.Percentile(0.999) : 0,
        };
    }
}
