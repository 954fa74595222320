using Billing.Ledger;

namespace Billing.Grains.Journal;

/// <summary>What verifying a stream came to.</summary>
/// <param name="Events">How many events fit.</param>
/// <param name="Head">The hash of the last of them.</param>
/// <param name="FirstBadVersion">The first event that does not fit; null when all do.</param>
/// <param name="Problem">What is wrong; null when nothing is.</param>
public sealed record ChainReport(long Events, byte[] Head, long? FirstBadVersion, string? Problem);

/// <summary>Recomputes a stream's chain: every hash, no gap, no tail cut off, and books that close after every event.</summary>
public static class ChainVerifier
{
    private const int PageSize = 1_000;

    public static async Task<ChainReport> Verify(IJournal journal, string organization, EventCodec? codec = null)
    {
        codec ??= EventCodec.Default;
        // Read first: events that are appended meanwhile do not look like a cut-off tail then.
        var head = await journal.ReadHead(organization) ?? new StreamHead(0, HashChain.Start);
        var (version, hash, state) = (0L, HashChain.Start, State.Empty(organization));
        while (version < head.Version)
        {
            var page = await journal.ReadStream(organization, version + 1, (int)Math.Min(PageSize, head.Version - version));
            if (page.Count == 0) return Bad(version + 1, $"The stream ends at version {version}; its head is at {head.Version}.");
            foreach (var e in page)
            {
                if (e.Version != version + 1) return Bad(version + 1, $"Version {version + 1} is missing: {e.Version} follows {version}.");
                if (!e.ComputeHash(hash).AsSpan().SequenceEqual(e.Hash)) return Bad(e.Version, $"The hash of version {e.Version} does not follow from what is stored.");
                state = state.Evolve(codec.Decode(e));
                if (Invariants.Broken(state) is { } broken) return Bad(e.Version, $"The books do not close after version {e.Version}: {broken}");
                (version, hash) = (e.Version, e.Hash);
            }
        }
        if (!head.Hash.AsSpan().SequenceEqual(hash)) return Bad(version, $"The head's hash is not that of version {version}.");
        // What was appended meanwhile is in the head by now; what is not in it was slipped in.
        if (await journal.ReadStream(organization, version + 1, 1) is [var next] && ((await journal.ReadHead(organization))?.Version ?? 0) is var end && next.Version > end)
            return Bad(next.Version, $"Version {next.Version} is stored; its head is at {end}.");
        return new ChainReport(version, hash, null, null);

        ChainReport Bad(long at, string problem) => new(version, hash, at, problem);
    }
}
