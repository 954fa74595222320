using System.Diagnostics;
using System.Security.Cryptography;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;

namespace Billing.Bench;

/// <summary>
/// The ledger by itself, in this process: folding a long stream from the journal, verifying its chain, and deciding and
/// folding consumes.
/// </summary>
public sealed class Books(Options options, IReadOnlyList<SampleDatabase> databases, Report report)
{
    public static readonly IReadOnlyList<string> Names = ["fold", "verify", "decide"];

    public const string Read = "read rows", Fold = "fold", Hash = "read and hash rows", Verify = "verify", Decide = "decide and evolve";

    private const int DecideCount = 2_000_000;

    /// <summary>One round, each beside its baseline.</summary>
    public async Task Run(int round)
    {
        foreach (var (subject, database, rows) in databases)
        {
            var journal = database.Journal;
            if (options.Only.Contains("fold"))
            {
                await Timed(Read, subject, options.StreamEvents, () => ReadRows(rows));
                await Timed(Fold, subject, options.StreamEvents, () => FoldStream(journal));
            }
            if (options.Only.Contains("verify"))
            {
                await Timed(Hash, subject, options.StreamEvents, () => HashRows(rows));
                await Timed(Verify, subject, options.StreamEvents, () => VerifyStream(journal));
            }
        }
        if (options.Only.Contains("decide")) await Timed(Decide, "ledger", DecideCount, DecideAndEvolve);

        async Task Timed(string scenario, string subject, int events, Func<Task> work)
        {
            GC.Collect();
            var started = Stopwatch.GetTimestamp();
            await work();
            report.Add(round, new Measurement(scenario, subject) { EventsPerSecond = events / Stopwatch.GetElapsedTime(started).TotalSeconds });
        }
    }

    private static Task ReadRows(JournalReader rows)
    {
        rows.ReadStream(Sample.Organization, (_, _) => { });
        return Task.CompletedTask;
    }

    /// <summary>As the service does it when an organization is activated and has no snapshot.</summary>
    private async Task FoldStream(IJournal journal)
    {
        await using var host = new LedgerHost(journal, () => Sample.Catalogs, 1L << 30);
        var view = await host.Organization(Sample.Organization).Read(Sample.Opened);
        if (view?.Version != options.StreamEvents) throw new BenchException($"The fold came to version {view?.Version} instead of {options.StreamEvents}.");
    }

    /// <summary>SHA-256 over as many bytes as the chain covers, and nothing else.</summary>
    private static Task HashRows(JournalReader rows)
    {
        // Beside texts and blobs: four numbers, and a length before each of ten parts.
        const int numbers = 4 * 8, lengths = 10 * 4;
        var buffer = new byte[1 << 16];
        rows.ReadStream(Sample.Organization, (body, length) =>
        {
            var chained = length + numbers + lengths;
            if (buffer.Length < chained) buffer = new byte[chained];
            body.CopyTo(buffer, 0);
            SHA256.HashData(buffer.AsSpan(0, chained));
        });
        return Task.CompletedTask;
    }

    private static async Task VerifyStream(IJournal journal)
    {
        var found = await ChainVerifier.Verify(journal, Sample.Organization);
        if (found.Problem is { } problem) throw new BenchException($"The journal does not verify: {problem}");
    }

    /// <summary>Consumes of all features in turn: every one is decided and folded, nothing is stored.</summary>
    private static Task DecideAndEvolve()
    {
        var state = Sample.Stored(Sample.Organization, Sample.Events(Sample.SetupEvents), withIds: false)
            .Aggregate(State.Empty(Sample.Organization), (folded, stored) => folded.Evolve(EventCodec.Default.Decode(stored.Event)));
        var content = new byte[HashChain.HashSize];
        var commands = Enumerable.Range(0, Sample.Features)
            .Select(i => new RecordUsage(Sample.Feature(i), 1, null, null, true, null) { Id = "c", ContentHash = content, At = Sample.Opened }).ToArray();
        for (var i = 0; i < DecideCount; i++)
        {
            var decision = Decider.Decide(state, Sample.Catalogs, commands[i % Sample.Features], null);
            if (decision.Rejection is { } rejection) throw new BenchException($"A consume was refused: {rejection.Message}");
            foreach (var e in decision.Events) state = state.Evolve(e);
        }
        return Task.CompletedTask;
    }
}
