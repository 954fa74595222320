namespace Billing.Grains.Journal;

/// <summary>
/// A state as it was after one event, so that an organization is activated without folding all of its stream. It changes
/// what that costs, never what it comes to: whatever does not fit the journal, or this build, is as if it were not there.
/// </summary>
/// <param name="Version">The last event that is in it.</param>
/// <param name="Hash">That event's hash: 32 bytes.</param>
/// <param name="Format">How the body is written, by which shape of state and by which rules: see <see cref="SnapshotCodec.Format"/>.</param>
/// <param name="Body">The state, compressed, behind a checksum over all of this.</param>
public sealed record Snapshot(string Organization, long Version, byte[] Hash, string Format, byte[] Body);

/// <summary>Where snapshots are kept: one for each organization. They may be lost or deleted at any time.</summary>
public interface ISnapshotStore
{
    /// <summary>The organization's snapshot in this format; null when there is none.</summary>
    ValueTask<Snapshot?> Find(string organization, string format);

    /// <summary>Keeps these, each in the place of the one before.</summary>
    /// <param name="snapshots">At most one for each organization.</param>
    ValueTask Save(IReadOnlyList<Snapshot> snapshots);
}
