using Billing.Ledger;
using NodaTime;

namespace Billing.Grains.Journal;

/// <summary>Time travel: what was known of an organization is the fold of what was recorded by then.</summary>
public static class Folding
{
    /// <summary>The state after the events up to this version that were recorded by this time.</summary>
    /// <returns>An empty state when there were none.</returns>
    /// <exception cref="UnknownEventException">The journal was written by a newer build.</exception>
    public static async ValueTask<State> Until(IJournal journal, string organization, long version, Instant time, CancellationToken stop = default)
    {
        var state = State.Empty(organization);
        var stream = await LedgerStream.Of(journal, organization, stop);
        await foreach (var stored in stream.Events)
        {
            // Along a stream the time of recording never decreases.
            if (stored.Version > version || stored.RecordedAt > time) break;
            state = state.Evolve(EventCodec.Default.Decode(stored));
        }
        return state;
    }
}
