using Billing.Grains.Journal;
using Dapper;
using Npgsql;

namespace Billing.Silo.Storage.Postgres;

/// <summary>
/// Writes groups over one connection. A group is three statements and one wait: heads that are new, heads that move from
/// their expected version, and the events. They are one transaction; if any head is elsewhere or any command id is there,
/// none of it happens, and the group is looked at append by append. That is rare, and this is the hot path of every consume.
/// </summary>
internal sealed class GroupWriter : IDisposable
{
    /// <summary>A position has so many bits for the place within its transaction.</summary>
    public const int PlacesBits = 16;

    /// <summary>The most events in one transaction.</summary>
    public const int MaxEvents = (1 << PlacesBits) - 1;

    /// <summary>
    /// For the connection. The statements walk through a short array and look each row up by its key, whatever the planner
    /// thinks of tables that were empty a minute ago; that is also the order in which they lock. A commit is on the disk
    /// before it is answered, whatever the server's own setting.
    /// </summary>
    public const string Session = """
        SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_memoize = off; SET jit = off;
        SET plan_cache_mode = force_generic_plan;
        SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
        """;

    // The events of a dump may have been written by transactions of a cluster that was further on than this one. In one
    // statement: the snapshot that sees the events says which ids were given out by then.
    private const string RaiseBase = """
        UPDATE journal SET base = last.position + 1 - (last.next << 16)
        FROM (SELECT max(position) AS position, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next FROM events) AS last
        WHERE last.position >= base + (last.next << 16)
        """;

    private const int MaxAttempts = 5;

    private readonly NpgsqlConnection connection;
    private readonly GroupStatements moving;
    private readonly GroupStatements opening;

    public GroupWriter(NpgsqlConnection connection)
    {
        this.connection = connection;
        try
        {
            connection.Execute(RaiseBase);
            moving = new GroupStatements(connection, withNew: false);
            opening = new GroupStatements(connection, withNew: true);
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    public IReadOnlyList<AppendOutcome> Append(IReadOnlyList<StreamAppend> group) => TryWrite(group) ? new AppendOutcome[group.Count] : AppendOneByOne(group);

    public void Dispose()
    {
        moving.Dispose();
        opening.Dispose();
        connection.Dispose();
    }

    /// <returns>False when something in it did not fit: then nothing was written.</returns>
    private bool TryWrite(IReadOnlyList<StreamAppend> group)
    {
        // In this order all processes lock, so that none waits for another that waits for it.
        var sorted = group.ToArray();
        Array.Sort(sorted, static (a, b) => string.CompareOrdinal(a.Organization, b.Organization) is not 0 and var order ? order : a.ExpectedVersion.CompareTo(b.ExpectedVersion));
        var statements = Array.Exists(sorted, static a => a.ExpectedVersion == 0) ? opening : moving;
        try
        {
            for (var first = 0; first < sorted.Length;)
            {
                // Several appends to one stream move its head once.
                var last = first;
                while (last + 1 < sorted.Length && sorted[last + 1].Organization == sorted[first].Organization)
                {
                    if (sorted[last + 1].ExpectedVersion != sorted[last].Events[^1].Version) return false;
                    last++;
                }
                statements.AddHead(sorted[first].ExpectedVersion, sorted[last]);
                first = last + 1;
            }
            foreach (var append in group)
                foreach (var e in append.Events) statements.AddEvent(e);
            return statements.Run();
        }
        finally
        {
            statements.Clear();
        }
    }

    /// <summary>Locks the heads, looks which ids are there, and writes what fits.</summary>
    private AppendOutcome[] AppendOneByOne(IReadOnlyList<StreamAppend> group)
    {
        for (var attempt = 1; attempt <= MaxAttempts; attempt++)
        {
            using var transaction = connection.BeginTransaction();
            var outcomes = Decide(group);
            List<StreamAppend> fitting = [.. group.Where((_, i) => outcomes[i] == AppendOutcome.Appended)];
            if (fitting.Count == 0) return outcomes;
            // A stream that is not there yet cannot be locked: somebody else may open it meanwhile. The next time it is there.
            if (!TryWrite(fitting)) continue;
            transaction.Commit();
            return outcomes;
        }
        throw new IOException($"Other writers opened the same streams {MaxAttempts} times.");
    }

    private AppendOutcome[] Decide(IReadOnlyList<StreamAppend> group)
    {
        var versions = connection.Query<(string Organization, long Version)>(
            "SELECT organization, version FROM streams WHERE organization = ANY (@organizations) ORDER BY organization FOR UPDATE",
            new { organizations = group.Select(a => a.Organization).Distinct().ToArray() }).ToDictionary(s => s.Organization, s => s.Version);
        (string Organization, string Id)[] ids = [.. group.SelectMany(a => a.Events).Where(e => e.CommandId is not null).Select(e => (e.Organization, e.CommandId!))];
        var recorded = connection.Query<(string, string)>(
            "SELECT e.organization, e.command_id FROM unnest(@organizations, @ids) AS asked (organization, id) JOIN events e ON e.organization = asked.organization AND e.command_id = asked.id",
            new { organizations = ids.Select(i => i.Organization).ToArray(), ids = ids.Select(i => i.Id).ToArray() }).ToHashSet();
        return [.. group.Select(Decide)];

        AppendOutcome Decide(StreamAppend append)
        {
            if (versions.GetValueOrDefault(append.Organization) != append.ExpectedVersion) return AppendOutcome.VersionConflict;
            var own = append.Events.Where(e => e.CommandId is not null).Select(e => (append.Organization, e.CommandId!)).ToList();
            if (own.Exists(recorded.Contains) || own.Distinct().Count() < own.Count) return AppendOutcome.CommandRecorded;
            recorded.UnionWith(own);
            versions[append.Organization] = append.Events[^1].Version;
            return AppendOutcome.Appended;
        }
    }
}
