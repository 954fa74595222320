using System.Data.Common;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo.Storage;
using Dapper;
using Microsoft.Data.Sqlite;
using NodaTime;

namespace Billing.Silo;

/// <summary>What somebody is about to do.</summary>
/// <param name="Id">Of this attempt, until it has ended.</param>
/// <param name="At">When it was asked for.</param>
/// <param name="Caller">The id of the key, or of who signed in.</param>
/// <param name="What">A stable name, such as <c>tokens.grant</c>.</param>
/// <param name="About">What of the organization: a feature, an invoice, a key's id.</param>
/// <param name="Before">JSON: what is to be changed, as it is. Small, without personal data and secrets.</param>
/// <param name="Request">The request's id.</param>
/// <param name="CommandId">The Idempotency-Key: what the ledger's events of it carry.</param>
public sealed record AuditEntry(
    string Id, Instant At, string Caller, string CallerName, string What, string? Organization, string? About, string? Reason, string? Before, string Request, string? CommandId);

/// <summary>What somebody did, or tried to do.</summary>
/// <param name="Number">1, 2, 3… without a gap.</param>
/// <param name="After">JSON: what it is now.</param>
/// <param name="Outcome">One of <see cref="AuditOutcome"/>.</param>
/// <param name="Code">Of the problem, where it was not done.</param>
/// <param name="Hash">Over the record before it and all of this.</param>
public sealed record AuditRecord(
    long Number, Instant At, string Caller, string CallerName, string What, string? Organization, string? About, string? Reason, string? Before, string? After, string Request, string? CommandId, string Outcome,
    string? Code, byte[] Hash);

public static class AuditOutcome
{
    public const string Done = "done";

    /// <summary>It was done before, by a request with the same key.</summary>
    public const string Repeated = "repeated";

    /// <summary>Nothing was changed.</summary>
    public const string Refused = "refused";

    /// <summary>It failed. Whether something of it was done, the ledger says.</summary>
    public const string Failed = "failed";

    /// <summary>The process went down with it. Whether it was done, the ledger says.</summary>
    public const string Unknown = "unknown";

    public static readonly IReadOnlyList<string> All = [Done, Repeated, Refused, Failed, Unknown];
}

/// <param name="From">From then on.</param>
/// <param name="To">Before then.</param>
public sealed record AuditFilter(string? Organization = null, string? Caller = null, string? What = null, Instant? From = null, Instant? To = null);

/// <summary>What was found of the chain.</summary>
/// <param name="Records">Those that hold.</param>
/// <param name="Head">The hash of the last of them.</param>
/// <param name="FirstBad">The number of the first record that does not fit; null when it is the end that does not.</param>
public sealed record AuditReport(long Records, byte[] Head, long? FirstBad, string? Problem);

/// <summary>
/// The record of who did what, in the journal's database, chained as the events are (ARCHITECTURE.md, "The audit log"). Before something is
/// done it is noted that it was begun, so that a crash leaves a record too; when it has ended, its record takes the note's place.
/// </summary>
public sealed class AuditLog(Database database)
{
    /// <summary>Nothing takes so long: who began it is gone.</summary>
    public static readonly Duration Longest = Duration.FromHours(1);

    private const int PageOfVerification = 1_000;
    private const string Begun = "at, caller, caller_name, what, organization, about, reason, before, request, command_id";
    private const string Columns = "number, at, caller, caller_name, what, organization, about, reason, before, after, request, command_id, outcome, code, hash";

    /// <summary>The signed head's name for the stream that this is: no organization is called so.</summary>
    public const string StreamName = "(audit)";

    /// <summary>Opens it, and records what processes that are gone had begun.</summary>
    public static async Task<AuditLog> Open(Database database, Instant now)
    {
        var log = new AuditLog(database);
        if (await database.Read(c => c.ExecuteScalar<long>("SELECT count(*) FROM audit_begun WHERE at < @since", new { since = Micros.Of(now - Longest) })) > 0)
            await database.Write(c => Store(c, Sweep(c, Head(c, forWriting: true), now)));
        return log;
    }

    /// <summary>Whether the database has one: those of older versions have none until the service opens them.</summary>
    public static Task<bool> IsIn(Database database) => database.Read(c => c is SqliteConnection
        ? c.ExecuteScalar<long>("SELECT count(*) FROM sqlite_master WHERE name = 'audit_head'") > 0
        : c.ExecuteScalar<bool>("SELECT to_regclass('audit_head') IS NOT NULL"));

    // ---- writing

    public Task Begin(AuditEntry entry) => database.Write(c => c.Execute(
        $"INSERT INTO audit_begun (id, {Begun}) VALUES (@Id, @at, @Caller, @CallerName, @What, @Organization, @About, @Reason, @Before, @Request, @CommandId)", Parameters(Clean(entry))));

    /// <summary>It came to nothing that anybody needs to know.</summary>
    public Task Drop(AuditEntry entry) => database.Write(c => c.Execute("DELETE FROM audit_begun WHERE id = @Id", new { entry.Id }));

    /// <summary>Records what became of something that was begun.</summary>
    /// <param name="after">JSON, as <see cref="AuditEntry.Before"/>.</param>
    public Task End(AuditEntry entry, string outcome, string? code, string? after, Instant now) => database.Write(c =>
    {
        var head = Head(c, forWriting: true);
        // After an hour somebody has written that nothing is known of it.
        if (c.Execute("DELETE FROM audit_begun WHERE id = @Id", new { entry.Id }) == 1) head = Append(c, head, Clean(entry), outcome, code, after);
        return Store(c, Sweep(c, head, now));
    });

    /// <summary>Records what happens in one step.</summary>
    public Task Add(AuditEntry entry, string outcome, string? after, Instant now) => database.Write(c =>
        Store(c, Sweep(c, Append(c, Head(c, forWriting: true), Clean(entry), outcome, null, after), now)));

    private sealed record Note(string Id, long At, string Caller, string Caller_Name, string What, string? Organization, string? About, string? Reason, string? Before, string Request, string? Command_Id);

    /// <summary>What was begun long ago is recorded as that.</summary>
    private static StreamHead Sweep(DbConnection c, StreamHead head, Instant now)
    {
        foreach (var n in c.Query<Note>($"SELECT id, {Begun} FROM audit_begun WHERE at < @since ORDER BY at, id", new { since = Micros.Of(now - Longest) }).AsList())
            if (c.Execute("DELETE FROM audit_begun WHERE id = @Id", new { n.Id }) == 1)
                head = Append(c, head, new AuditEntry(n.Id, Micros.ToInstant(n.At), n.Caller, n.Caller_Name, n.What, n.Organization, n.About, n.Reason, n.Before, n.Request, n.Command_Id), AuditOutcome.Unknown, null, null);
        return head;
    }

    private static StreamHead Append(DbConnection c, StreamHead head, AuditEntry e, string outcome, string? code, string? after)
    {
        var next = new AuditRecord(head.Version + 1, e.At, e.Caller, e.CallerName, e.What, e.Organization, e.About, e.Reason, e.Before, Clean(after), e.Request, e.CommandId, outcome, code, []);
        next = next with { Hash = HashOf(head.Hash, next) };
        c.Execute(
            $"INSERT INTO audit ({Columns}) VALUES (@Number, @at, @Caller, @CallerName, @What, @Organization, @About, @Reason, @Before, @After, @Request, @CommandId, @Outcome, @Code, @Hash)",
            new
            {
                next.Number, at = Micros.Of(next.At), next.Caller, next.CallerName, next.What, next.Organization, next.About, next.Reason, next.Before, next.After, next.Request, next.CommandId, next.Outcome, next.Code,
                next.Hash,
            });
        return new StreamHead(next.Number, next.Hash);
    }

    /// <summary>The last record. Whoever is to write locks the row first: in every process on this database there is one order.</summary>
    private static StreamHead Head(DbConnection c, bool forWriting)
    {
        if (forWriting)
        {
            c.Execute("INSERT INTO audit_head (id, number, hash) VALUES (1, 0, @Start) ON CONFLICT (id) DO NOTHING", new { HashChain.Start });
            c.Execute("UPDATE audit_head SET number = number WHERE id = 1");
        }
        return c.Query<(long Number, byte[] Hash)>("SELECT number, hash FROM audit_head WHERE id = 1").AsList() is [var (number, hash)] ? new StreamHead(number, hash) : new StreamHead(0, HashChain.Start);
    }

    private static int Store(DbConnection c, StreamHead head) => c.Execute("UPDATE audit_head SET number = @Version, hash = @Hash WHERE id = 1", new { head.Version, head.Hash });

    private static byte[] HashOf(byte[] previous, AuditRecord r) => HashChain.Next(
        previous, r.Number, Micros.Of(r.At), r.Caller, r.CallerName, r.What, r.Organization, r.About, r.Reason, r.Before, r.After, r.Request, r.CommandId, r.Outcome, r.Code);

    private static object Parameters(AuditEntry e) =>
        new { e.Id, at = Micros.Of(e.At), e.Caller, e.CallerName, e.What, e.Organization, e.About, e.Reason, e.Before, e.Request, e.CommandId };

    private static AuditEntry Clean(AuditEntry e) => e with
    {
        Caller = Clean(e.Caller) ?? "?", CallerName = Clean(e.CallerName) ?? "?", Organization = Clean(e.Organization), About = Clean(e.About), Reason = Clean(e.Reason), Before = Clean(e.Before),
        Request = Clean(e.Request) ?? "?", CommandId = Clean(e.CommandId),
    };

    /// <summary>What reads back as it was written, from either database: nothing empty beside what is absent, no half characters, no zeros.</summary>
    private static string? Clean(string? text) => string.IsNullOrEmpty(text) ? null : string.Create(text.Length, text, static (to, from) =>
    {
        for (var i = 0; i < from.Length; i++)
        {
            var whole = !char.IsSurrogate(from[i]) || (i + 1 < from.Length && char.IsSurrogatePair(from[i], from[i + 1])) || (i > 0 && char.IsSurrogatePair(from[i - 1], from[i]));
            to[i] = whole && from[i] is not ('\0' or Replacement) ? from[i] : '?';
        }
    });

    private const char Replacement = '\uFFFD';

    // ---- reading

    /// <summary>Newest first.</summary>
    /// <param name="before">Only those with smaller numbers.</param>
    public Task<IReadOnlyList<AuditRecord>> List(AuditFilter filter, long before, int limit) => database.Read<IReadOnlyList<AuditRecord>>(c =>
    {
        var where = new List<string> { "number < @before" };
        if (filter.Organization is not null) where.Add("organization = @Organization");
        if (filter.Caller is not null) where.Add("caller = @Caller");
        if (filter.What is not null) where.Add("what = @What");
        if (filter.From is not null) where.Add("at >= @from");
        if (filter.To is not null) where.Add("at < @to");
        using var rows = c.ExecuteReader($"SELECT {Columns} FROM audit WHERE {string.Join(" AND ", where)} ORDER BY number DESC LIMIT @limit", new
        {
            before, limit, filter.Organization, filter.Caller, filter.What, from = filter.From is { } f ? Micros.Of(f) : 0, to = filter.To is { } t ? Micros.Of(t) : 0,
        });
        return Records(rows, out _);
    });

    public Task<StreamHead> Head() => database.Read(c => Head(c, forWriting: false));

    /// <summary>Whether nobody changed, took out, put in or cut off a record.</summary>
    /// <param name="kept">A head that was kept: it must lie on the chain.</param>
    public async Task<AuditReport> Verify(StreamHead? kept = null)
    {
        var (number, hash) = (0L, HashChain.Start);
        // The head first: what is written meanwhile is behind it.
        var heads = await database.Read(c => c.Query("SELECT number, hash FROM audit_head").Select(row => (IDictionary<string, object?>)row).Select(row => (row["number"], row["hash"])).ToList());
        var (last, end) = heads is [(long there, byte[] its)] ? (there, its) : (0, HashChain.Start);
        if (heads.Count > 1 || (heads.Count == 1 && heads[0] is not (long, byte[]))) return new AuditReport(0, HashChain.Start, null, "The head is none.");
        while (true)
        {
            var (page, odd) = await database.Read(c =>
            {
                // A text ends at a zero for whoever reads it as one: what is behind is seen as bytes only.
                var hidden = c is SqliteConnection ? c.ExecuteScalar<long?>(HiddenInSqlite, new { number }) : null;
                using var rows = c.ExecuteReader($"SELECT {Columns} FROM audit WHERE number > @number ORDER BY number LIMIT {PageOfVerification}", new { number });
                return (Records(rows, out var damage), Odd: hidden is { } n && (damage is null || n < damage.Value.Number) ? (n, "A text has a zero in it.") : damage);
            });
            foreach (var record in page)
            {
                if (record.Number != number + 1) return Bad(number + 1, $"Record {number + 1} is missing: the next is {record.Number}.");
                if (odd is { } damage && damage.Number == record.Number) return Bad(record.Number, damage.Problem);
                if (!HashOf(hash, record).AsSpan().SequenceEqual(record.Hash)) return Bad(record.Number, "Its hash is not that of what it says after the record before it.");
                (number, hash) = (record.Number, record.Hash);
                if (number == last && !hash.AsSpan().SequenceEqual(end)) return Bad(number, "It is the last, and the head has another hash.");
                if (kept is not null && number == kept.Version && !hash.AsSpan().SequenceEqual(kept.Hash)) return Bad(number, "The head that was kept has another hash.");
            }
            if (page.Count < PageOfVerification) break;
        }
        if (number < last) return Bad(null, $"The head is record {last}, and the last one there is {number}.");
        if (kept is not null && number < kept.Version) return Bad(null, $"The head that was kept is record {kept.Version}, and the last one there is {number}.");
        // What was appended since the head was read moved it.
        if (number > last && await Head() is { } now && (number > now.Version || (number == now.Version && !hash.AsSpan().SequenceEqual(now.Hash)))) return Bad(number, $"It is behind the head, which is record {now.Version}.");
        return new AuditReport(number, hash, null, null);

        AuditReport Bad(long? at, string problem) => new(number, hash, at, problem);
    }

    private static readonly string HiddenInSqlite =
        $"SELECT min(number) FROM audit WHERE number > @number AND ({string.Join(" OR ", Columns.Split(", ").Where(column => column is not ("number" or "at" or "hash")).Select(column => $"instr(CAST({column} AS BLOB), x'00') > 0"))})";

    /// <param name="damage">The first row that we cannot have written so: SQLite keeps any type in any column.</param>
    private static List<AuditRecord> Records(System.Data.IDataReader rows, out (long Number, string Problem)? damage)
    {
        var records = new List<AuditRecord>();
        string? problem = null;
        damage = null;
        while (rows.Read())
        {
            problem = null;
            records.Add(new AuditRecord(
                Number(0), Micros.ToInstant(Math.Clamp(Number(1), Earliest, Latest)), Text(2)!, Text(3)!, Text(4)!, Text(5), Text(6), Text(7), Text(8), Text(9), Text(10)!, Text(11), Text(12)!, Text(13),
                rows.GetValue(14) as byte[] ?? []));
            if (Number(1) < Earliest || Number(1) > Latest) problem = "Its time is none.";
            if (problem is not null) damage ??= (records[^1].Number, problem);
        }
        return records;

        long Number(int column)
        {
            if (rows.GetValue(column) is long number) return number;
            problem = $"{rows.GetName(column)} is no number.";
            return 0;
        }

        string? Text(int column)
        {
            if (rows.GetValue(column) is var value && value is DBNull) return null;
            if (value is string { Length: > 0 } text && !text.Contains(Replacement, StringComparison.Ordinal)) return text;
            problem = $"{rows.GetName(column)} is no text that was written so.";
            return value.ToString();
        }
    }

    private static readonly long Earliest = Micros.Of(Instant.FromUtc(1, 1, 1, 0, 0));
    private static readonly long Latest = Micros.Of(Instant.FromUtc(9998, 12, 31, 0, 0));
}
