using System.Data.Common;
using Billing.Ledger;

namespace Billing.Grains.Journal;

/// <summary>What verifying a stream came to.</summary>
/// <param name="Events">How many events fit.</param>
/// <param name="Head">The hash of the last of them.</param>
/// <param name="FirstBadVersion">The first event that does not fit, or the one that the head should be of; null when all is well. 0 where an export does not even begin.</param>
/// <param name="Problem">What is wrong; null when nothing is.</param>
public sealed record ChainReport(string Organization, long Events, byte[] Head, long? FirstBadVersion, string? Problem);

/// <summary>
/// Recomputes a stream from its first event to its head: no gap, every hash, books that close after every event, no
/// tail cut off, and a replay that gives the same as what is kept of it. It needs the events alone, wherever they are kept.
/// </summary>
public static class ChainVerifier
{
    /// <summary>So many events between two reports of progress.</summary>
    private const int ProgressEvery = 1_000;

    /// <summary>As it stands in the journal, which may go on writing meanwhile.</summary>
    /// <param name="kept">A head that somebody kept: it must lie on the stream.</param>
    /// <param name="progress">Told now and then how many events fit so far.</param>
    /// <param name="archive">An export that has the bodies which were archived.</param>
    /// <param name="snapshots">Where the organization's snapshot is kept, to be compared with the events; null compares none.</param>
    public static async Task<ChainReport> Verify(
        IJournal journal, string organization, EventCodec? codec = null, StreamHead? kept = null, Action<long>? progress = null, LedgerStream? archive = null, ISnapshotStore? snapshots = null,
        CancellationToken stop = default)
    {
        // Found first, so that it is of an event that is read.
        var snapshot = snapshots is null ? null : await Find(snapshots, organization);
        var stream = await LedgerStream.Of(journal, organization, stop);
        if (archive is not null) stream = stream.WithBodies(archive);
        var (report, state) = await Walk(stream, codec ?? EventCodec.Default, kept, progress, snapshot);
        if (report.Problem is not null) return report;

        // Beside the events the journal keeps when the organization is next due; a wrong time would be slept through.
        if (stream.Head().DueAt is var due && due != state.WakeAt)
            return Bad(report.Events, $"Something is due at {Text(due)} by the head's row; by the events it is {Text(state.WakeAt)}.");
        try
        {
            // What was appended meanwhile is in the head by now; what is not in it was slipped in.
            if (await journal.ReadStream(organization, report.Events + 1, 1) is not [var next]) return report;
            var end = (await journal.ReadHead(organization) ?? StreamHead.None).Version;
            return next.Version > end ? Bad(next.Version, $"Version {next.Version} is stored; its head is at {end}.") : report;
        }
        catch (DamagedEventException damaged)
        {
            return Bad(damaged.Version ?? report.Events + 1, damaged.Message);
        }

        ChainReport Bad(long at, string problem) => report with { FirstBadVersion = at, Problem = problem };

        static string Text(NodaTime.Instant? at) => at is { } time ? $"{time:uuuu'-'MM'-'dd'T'HH':'mm':'ss;FFFFFF'Z'}" : "never";
    }

    private static async Task<Snapshot?> Find(ISnapshotStore snapshots, string organization)
    {
        try
        {
            return await snapshots.Find(organization, SnapshotCodec.Format);
        }
        catch (DbException)
        {
            // A database of before there were snapshots, which is only read, has no place for them. Any other trouble is the journal's too.
            return null;
        }
    }

    /// <summary>From any source, such as an export.</summary>
    public static async Task<ChainReport> Verify(LedgerStream stream, EventCodec? codec = null, StreamHead? kept = null, Action<long>? progress = null) =>
        (await Walk(stream, codec ?? EventCodec.Default, kept, progress, null)).Report;

    private static async Task<(ChainReport Report, State State)> Walk(LedgerStream stream, EventCodec codec, StreamHead? kept, Action<long>? progress, Snapshot? snapshot)
    {
        var (version, hash) = (0L, HashChain.Start);
        var (state, again) = (State.Empty(stream.Organization), State.Empty(stream.Organization));
        try
        {
            await foreach (var e in stream.Events)
            {
                if (Misfit(e) is { } problem) return Bad(version + 1, problem);
                (version, hash) = (e.Version, e.Hash);
                if (version == kept?.Version && !kept.Hash.AsSpan().SequenceEqual(hash))
                    return Bad(version, $"Version {version} is not the one of the head that was kept: what was recorded up to there was rewritten.");
                if (version == snapshot?.Version && Difference(snapshot, hash, state) is { } wrong)
                    return Bad(version, $"The snapshot of version {version} is not what the events up to there give: {wrong}.");
                if (version % ProgressEvery == 0) progress?.Invoke(version);
            }
        }
        catch (DamagedEventException damaged)
        {
            return Bad(damaged.Version ?? version + 1, damaged.Message);
        }
        try
        {
            var head = stream.Head();
            if (head.Version > version) return Bad(version + 1, $"The stream ends at version {version}; its head is at {head.Version}.");
            if (head.Version < version) return Bad(head.Version + 1, $"Version {head.Version + 1} is there; the head is at {head.Version}.");
            if (!head.Hash.AsSpan().SequenceEqual(hash)) return Bad(version, $"The head's hash is not that of version {version}.");
        }
        catch (DamagedEventException damaged)
        {
            return Bad(damaged.Version ?? version, damaged.Message);
        }
        if (kept?.Version > version) return Bad(version + 1, $"The head that was kept is of version {kept.Version}; the stream ends at {version}: its tail was cut off.");
        if (StateComparison.Difference(state, again) is { } differs) return Bad(version, $"Replaying the events twice does not give the same: {differs}.");
        progress?.Invoke(version);
        return (new ChainReport(stream.Organization, version, hash, null, null), state);

        // What a session would not take is nothing that can be wrong.
        static string? Difference(Snapshot snapshot, byte[] hash, State folded) =>
            snapshot.Hash.AsSpan().SequenceEqual(hash) && SnapshotCodec.TryDecode(snapshot) is { } kept ? StateComparison.Difference(folded, kept) : null;

        (ChainReport, State) Bad(long at, string problem) => (new ChainReport(stream.Organization, version, hash, at, problem), state);

        string? Misfit(StoredEvent e)
        {
            var next = version + 1;
            if (e.Version != next) return $"Version {next} is missing: {e.Version} follows {version}.";
            if (e.Organization != stream.Organization) return $"Version {next} is of another organization, '{e.Organization}'.";
            // Length 0 stands in the hash for what is absent: it must be absent, and not empty.
            if (e.CommandId is "" || e.ContentHash is [] || e.CommandId is null != e.ContentHash is null)
                return $"Version {next} has a command id without a content hash, or the other way round, or an empty one.";
            if (e.IsArchived) return new ArchivedEventException(e).Message;
            if (!e.ComputeHash(hash).AsSpan().SequenceEqual(e.Hash)) return $"The hash of version {next} does not follow from what is stored.";
            try
            {
                var decoded = codec.Decode(e);
                state = state.Evolve(decoded);
                again = again.Evolve(decoded);
                return Invariants.Broken(state) is { } broken ? $"The books do not close after version {next}: {broken}" : null;
            }
            catch (Exception unreadable)
            {
                // Whatever a body that is none does to its reader, it is this event that does it.
                return unreadable is UnknownEventException ? unreadable.Message : $"Version {next} ({e.Type}) cannot be read: {unreadable.Message}";
            }
        }
    }
}
