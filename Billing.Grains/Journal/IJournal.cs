using Billing.Ledger;
using NodaTime;

namespace Billing.Grains.Journal;

/// <summary>
/// Where events are kept: append-only streams, one for each organization, and one order over all of them.
/// The promises below are the conformance suite's (Billing.Tests/Journal); every implementation keeps all of them.
/// </summary>
/// <remarks>
/// 1. What <see cref="AppendGroup"/> called appended is durable, whole and in order; what it did not is not there at all.
/// 2. Versions of a stream are 1, 2, 3… without a gap; a command id stands at most once in a stream, for ever.
/// 3. One stream's conflict never fails another stream's append.
/// 4. Nothing is ever changed or removed; the body comes back as the exact bytes that were stored, unless somebody archived it.
/// 5. Positions increase in the order in which <see cref="ReadAll"/> shows events, and no event appears later at a smaller one.
/// </remarks>
public interface IJournal
{
    /// <summary>Appends to several streams in one transaction.</summary>
    /// <returns>One outcome for each append, in the same order.</returns>
    /// <exception cref="Exception">Any: whether anything was written is unknown, and the caller has to read.</exception>
    ValueTask<IReadOnlyList<AppendOutcome>> AppendGroup(IReadOnlyList<StreamAppend> group);

    /// <summary>The events of one stream from a version on, in order, at most <paramref name="limit"/> of them.</summary>
    /// <exception cref="DamagedEventException">What is stored cannot be what was written; nothing is repaired or rounded in reading.</exception>
    ValueTask<IReadOnlyList<StoredEvent>> ReadStream(string organization, long fromVersion, int limit);

    /// <summary>The events of all streams after a position, in order, at most <paramref name="limit"/> of them.</summary>
    /// <exception cref="DamagedEventException">As with <see cref="ReadStream"/>.</exception>
    ValueTask<IReadOnlyList<StoredEvent>> ReadAll(long afterPosition, int limit);

    /// <summary>What was recorded under these command ids. Ids that are not there are not in the answer.</summary>
    ValueTask<IReadOnlyDictionary<string, RecordedCommand>> FindCommands(string organization, IReadOnlyCollection<string> commandIds);

    /// <summary>The last version and hash of a stream, and when it is next due; null when there is none.</summary>
    /// <exception cref="DamagedEventException">As with <see cref="ReadStream"/>.</exception>
    ValueTask<StreamHead?> ReadHead(string organization);

    /// <summary>Organizations with a quota reset or a token expiry due by now, those longest due first.</summary>
    ValueTask<IReadOnlyList<string>> FindDue(Instant now, int limit);

    /// <summary>Organizations in the order of their ids, after one (empty for the first page).</summary>
    ValueTask<IReadOnlyList<string>> ListOrganizations(string after, int limit);
}

/// <summary>Events for one stream, to be written only if its version is still the expected one.</summary>
/// <param name="ExpectedVersion">The version of the stream's last event; 0 when there is none.</param>
/// <param name="Events">At least one, with versions from <paramref name="ExpectedVersion"/> + 1 on.</param>
/// <param name="DueAt">When the organization next has something due; null when never. Kept beside the stream's head.</param>
public sealed record StreamAppend(string Organization, long ExpectedVersion, IReadOnlyList<StoredEvent> Events, Instant? DueAt);

/// <summary>What became of one append. There is nothing between all of it and nothing of it.</summary>
public enum AppendOutcome
{
    /// <summary>Durable.</summary>
    Appended,

    /// <summary>Another writer was faster: the stream is not at the expected version. Nothing of this append was written.</summary>
    VersionConflict,

    /// <summary>A command id of this append was recorded before. Nothing of this append was written.</summary>
    CommandRecorded,
}

/// <summary>One event as it is stored. Every field but the position is inside the hash.</summary>
/// <param name="Type">The stored name, such as <c>usage-recorded</c>.</param>
/// <param name="Schema">The version of the body's shape.</param>
/// <param name="EffectiveAt">When it happened, in whole microseconds.</param>
/// <param name="RecordedAt">When it was recorded, in whole microseconds.</param>
/// <param name="CommandId">On the first event that a command wrote; null on its others.</param>
/// <param name="ContentHash">The command's content hash; null where the id is.</param>
/// <param name="Body">UTF-8 JSON, byte for byte as hashed.</param>
/// <param name="Hash">32 bytes, over the hash of the event before it and all of this.</param>
/// <param name="Position">The place in the whole journal; 0 before it is stored.</param>
public sealed record StoredEvent(
    string Organization, long Version, string Type, int Schema, Instant EffectiveAt, Instant RecordedAt, string? CommandId, byte[]? ContentHash,
    byte[] Body, byte[] Hash, long Position = 0)
{
    /// <summary>The body was archived: <see cref="Body"/> is empty, and everything else is as it was. An archive has it.</summary>
    public bool IsArchived { get; init; }

    /// <summary>The hash that this event must have after one with <paramref name="previousHash"/>.</summary>
    public byte[] ComputeHash(ReadOnlySpan<byte> previousHash) => HashChain.Next(
        previousHash, Organization, Version, Type, Schema, Micros.Of(EffectiveAt), Micros.Of(RecordedAt), CommandId, ContentHash, Body);
}

/// <summary>The end of a stream: what a cut-off tail is found against.</summary>
public sealed record StreamHead(long Version, byte[] Hash)
{
    /// <summary>Of a stream without events.</summary>
    public static readonly StreamHead None = new(0, HashChain.Start);

    /// <summary>When the organization next has something due, as its last append said; null when never. Only a journal keeps it.</summary>
    public Instant? DueAt { get; init; }
}

/// <summary>Times are stored as whole microseconds since 1970.</summary>
public static class Micros
{
    private static readonly long First = Of(Instant.MinValue);
    private static readonly long Last = Of(Instant.MaxValue);

    /// <summary>Microseconds since 1970; what is finer is cut off.</summary>
    public static long Of(Instant at)
    {
        var ticks = at.ToUnixTimeTicks();
        return ticks >= 0 ? ticks / 10 : (ticks - 9) / 10;
    }

    /// <summary>The time. A number that no time has is read as the nearest one: see <see cref="IsTime"/>.</summary>
    public static Instant ToInstant(long micros) => Instant.FromUnixTimeTicks(Math.Clamp(micros, First, Last) * 10);

    /// <summary>Whether there is such a time.</summary>
    public static bool IsTime(long micros) => micros >= First && micros <= Last;

    /// <summary>The same time without what would be lost in storage.</summary>
    public static Instant Truncate(Instant at) => ToInstant(Of(at));
}
