using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace Billing.Grains.Journal;

/// <summary>What the ledger measures of itself, for any listener of <c>System.Diagnostics.Metrics</c>.</summary>
public static class LedgerMeter
{
    /// <summary>The meter's name.</summary>
    public const string Name = "Billing.Ledger";

    private static readonly ConcurrentDictionary<JournalFeed, bool> Feeds = [];

    internal static readonly Meter Meter = new(Name);

    internal static readonly Counter<long> SnapshotsTaken = Meter.CreateCounter<long>("billing.snapshots.taken", "{snapshot}", "Snapshots that were stored.");

    internal static readonly Counter<long> SnapshotsUsed = Meter.CreateCounter<long>("billing.snapshots.used", "{snapshot}", "Organizations that were activated from their snapshot.");

    /// <summary>By <c>reason</c>: <c>other_stream</c>, <c>damaged</c>, <c>unreadable</c>.</summary>
    internal static readonly Counter<long> SnapshotsIgnored = Meter.CreateCounter<long>("billing.snapshots.ignored", "{snapshot}", "Snapshots that did not fit, so that all of the stream was folded.");

    /// <summary>By <c>reason</c>: <c>full</c>, <c>not_encoded</c>, <c>not_stored</c>.</summary>
    internal static readonly Counter<long> SnapshotsMissed = Meter.CreateCounter<long>("billing.snapshots.missed", "{snapshot}", "Snapshots that were due and not stored.");

    internal static readonly ObservableGauge<double> FeedLag = Meter.CreateObservableGauge(
        "billing.feed.lag", () => Feeds.Keys.Select(f => new Measurement<double>(f.Lag.TotalSeconds, new KeyValuePair<string, object?>("feed", f.Name))),
        "s", "For how long what was recorded has not been handled: by feed.");

    internal static KeyValuePair<string, object?> Reason(string reason) => new("reason", reason);

    internal static void Add(JournalFeed feed) => Feeds[feed] = true;

    internal static void Remove(JournalFeed feed) => Feeds.TryRemove(feed, out _);
}
