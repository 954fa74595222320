using System.Security.Cryptography;
using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Dapper;
using NodaTime;

namespace Billing.Silo;

/// <summary>What became of an event from outside.</summary>
public enum InboxState
{
    /// <summary>Stored, and not applied yet.</summary>
    Pending,

    /// <summary>Its effect is in the ledger.</summary>
    Applied,

    /// <summary>Not for us.</summary>
    Ignored,

    /// <summary>Its organization is not known yet; applied when it is opened or linked.</summary>
    Unclaimed,

    /// <summary>It could not be applied; the detail says why. It can be replayed.</summary>
    Failed,
}

/// <param name="Object">What it is about: a payment, for everything that speaks of one.</param>
/// <param name="Attempts">How often it was tried and failed in a way that may pass.</param>
/// <param name="NextTryAt">When a pending one is tried again.</param>
/// <param name="Payload">The raw body; null once it was removed.</param>
/// <param name="Queue">What is in one queue is applied one after the other: everything of one organization, as far as that is known.</param>
public sealed record InboxEvent(
    string Id, string Type, Instant CreatedAt, Instant ReceivedAt, InboxState State, string? Organization, string? Customer, string? Object, string? Detail,
    int Attempts, Instant NextTryAt, byte[]? Payload, string Queue);

/// <summary>What became of an event, in short.</summary>
public sealed record InboxNote(InboxState State, string? Detail);

/// <summary>Events from outside, stored before they are acknowledged, each applied at most once per effect.</summary>
public sealed class Inbox(Database database)
{
    /// <summary>Raw payloads are personal data: id, hash and effect stay, the body goes.</summary>
    public static readonly Duration KeepPayloads = Duration.FromDays(90);

    private const string Columns = """
        i.id, i.type, i.created_at, i.received_at, i.state, i.organization, i.customer, i.object, i.detail, i.attempts, i.next_try_at, i.payload,
        c.organization AS linked
        """;

    private const string From = "inbox i LEFT JOIN customers c ON c.customer = i.customer";

    private readonly GroupedWriter writer = new(database);

    // Dapper makes these by constructor, column by column.
    private sealed record Row(
        string Id, string Type, long Created_At, long Received_At, string State, string? Organization, string? Customer, string? Object, string? Detail, long Attempts,
        long Next_Try_At, byte[]? Payload, string? Linked)
    {
        public InboxEvent ToEvent() => new(Id, Type, Micros.ToInstant(Created_At), Micros.ToInstant(Received_At), Enum.Parse<InboxState>(State, ignoreCase: true),
            Organization, Customer, Object, Detail, (int)Attempts, Micros.ToInstant(Next_Try_At), Payload, Organization ?? Linked ?? Customer ?? Object ?? Id);
    }

    /// <summary>Durable when it returns. One that was given up is tried again when it comes once more.</summary>
    /// <param name="organization">As the event names it.</param>
    /// <param name="about">See <see cref="InboxEvent.Object"/>.</param>
    /// <returns>False when there is nothing to do about it: it was stored before.</returns>
    public async Task<bool> Store(
        string id, string type, Instant createdAt, string? organization, string? customer, string? about, byte[] payload, InboxState state, Instant now)
    {
        var values = new
        {
            id, type, created = Micros.Of(createdAt), received = Micros.Of(now), hash = SHA256.HashData(payload), organization, customer, about, state = Name(state),
            // What is not for us is only counted.
            kept = state == InboxState.Ignored ? null : payload,
        };
        return await writer.Write(c => c.Execute(
            """
            INSERT INTO inbox (id, type, created_at, received_at, payload_hash, payload, state, organization, customer, object)
            VALUES (@id, @type, @created, @received, @hash, @kept, @state, @organization, @customer, @about)
            ON CONFLICT (id) DO UPDATE SET state = 'pending', attempts = 0, next_try_at = 0 WHERE inbox.state IN ('failed', 'unclaimed') AND inbox.payload IS NOT NULL
            """, values)) == 1;
    }

    /// <param name="organization">Null leaves the one that the event named.</param>
    public Task Mark(string id, InboxState state, string? organization, string? detail) => writer.Write(c => c.Execute(
        "UPDATE inbox SET state = @state, organization = coalesce(@organization, organization), detail = @detail, next_try_at = 0 WHERE id = @id",
        new { id, state = Name(state), organization, detail }));

    /// <summary>It failed in a way that may pass, so many times by now.</summary>
    public Task TryLater(string id, int attempts, Instant nextTryAt, string detail) => writer.Write(c => c.Execute(
        "UPDATE inbox SET state = 'pending', attempts = @attempts, next_try_at = @next, detail = @detail WHERE id = @id",
        new { id, attempts, next = Micros.Of(nextTryAt), detail }));

    /// <summary>What waits for this organization, by its name or by its customer's, is pending again.</summary>
    public Task<int> Claim(string organization, string? customer) => writer.Write(c => c.Execute(
        "UPDATE inbox SET state = 'pending', next_try_at = 0 WHERE state = 'unclaimed' AND (organization = @organization OR customer = @customer)", new { organization, customer }));

    /// <summary>Everything that nobody claimed is pending again.</summary>
    public Task<int> ClaimAll() => writer.Write(c => c.Execute("UPDATE inbox SET state = 'pending', next_try_at = 0 WHERE state = 'unclaimed'"));

    /// <summary>What was said of this object by events of these types, and came to nothing or to something else, is pending again.</summary>
    public Task<int> Reopen(string about, IReadOnlyCollection<string> types) => writer.Write(c => c.Execute(
        $"UPDATE inbox SET state = 'pending', next_try_at = 0 WHERE object = @about AND state IN ('applied', 'ignored', 'unclaimed') AND payload IS NOT NULL AND type IN ({Names(types)})",
        Parameters(types, about)));

    public async Task<InboxEvent?> Find(string id) => await database.Read(c =>
        c.Query<Row>($"SELECT {Columns} FROM {From} WHERE i.id = @id", new { id }).SingleOrDefault()?.ToEvent());

    /// <summary>What became of these events, as far as they are here.</summary>
    public async Task<IReadOnlyDictionary<string, InboxNote>> FindAll(IReadOnlyCollection<string> ids)
    {
        var found = new Dictionary<string, InboxNote>();
        foreach (var some in ids.Chunk(500))
            foreach (var row in await database.Read(c => c.Query<(string Id, string State, string? Detail)>($"SELECT id, state, detail FROM inbox WHERE id IN ({Names(some)})", Parameters(some)).AsList()))
                found[row.Id] = new InboxNote(Enum.Parse<InboxState>(row.State, ignoreCase: true), row.Detail);
        return found;
    }

    /// <summary>What is to be applied now, in the order in which it came.</summary>
    public async Task<IReadOnlyList<InboxEvent>> ListDue(Instant now, int limit) => await database.Read(c => c.Query<Row>(
        $"SELECT {Columns} FROM {From} WHERE i.state = 'pending' AND i.next_try_at <= @now ORDER BY i.received_at, i.id LIMIT @limit",
        new { now = Micros.Of(now), limit }).Select(r => r.ToEvent()).ToList());

    /// <summary>Every event about this object.</summary>
    public async Task<IReadOnlyList<InboxEvent>> ListAbout(string about) => await database.Read(c => c.Query<Row>(
        $"SELECT {Columns} FROM {From} WHERE i.object = @about ORDER BY i.received_at, i.id", new { about }).Select(r => r.ToEvent()).ToList());

    /// <summary>In the order in which they came. <paramref name="after"/> is the id of the last one on the page before.</summary>
    /// <param name="type">Null is all; <c>invoice.</c> is everything that begins so.</param>
    public async Task<IReadOnlyList<InboxEvent>> List(InboxState? state, string? type, string? organization, string? after, int limit) => await database.Read(c => c.Query<Row>(
        $"""
        SELECT {Columns} FROM {From}
        WHERE (@state IS NULL OR i.state = @state)
          AND (@type IS NULL OR i.type = @type OR (@start IS NOT NULL AND substr(i.type, 1, length(@start)) = @start))
          AND (@organization IS NULL OR i.organization = @organization)
          AND (@after IS NULL OR (i.received_at, i.id) > (SELECT received_at, id FROM inbox WHERE id = @after))
        ORDER BY i.received_at, i.id LIMIT @limit
        """,
        new { state = state is { } s ? Name(s) : null, type, start = type?.EndsWith('.') == true ? type : null, organization, after, limit }).Select(r => r.ToEvent()).ToList());

    /// <summary>The bodies of an organization's events go, once they were applied.</summary>
    public Task ErasePayloads(string organization) => database.Write(c => c.Execute(
        "UPDATE inbox SET payload = NULL WHERE organization = @organization AND state IN ('applied', 'ignored')", new { organization }));

    /// <summary>How many came, by type, of those that happened in a stretch of time.</summary>
    public Task<Dictionary<string, long>> CountByType(Instant from, Instant to) => database.Read(c => c.Query<(string Type, long Count)>(
        "SELECT type, count(*) FROM inbox WHERE created_at >= @from AND created_at < @to GROUP BY type", new { from = Micros.Of(from), to = Micros.Of(to) })
        .ToDictionary(r => r.Type, r => r.Count));

    /// <summary>What could not be applied in all that time never will be, without its body.</summary>
    /// <returns>How many bodies were removed.</returns>
    public Task<int> RemoveOldPayloads(Instant now) => database.Write(c => c.Execute(
        """
        UPDATE inbox SET payload = NULL,
            detail = CASE WHEN state IN ('pending', 'unclaimed') THEN 'It was not applied within 90 days; its body is removed.' ELSE detail END,
            state = CASE WHEN state IN ('pending', 'unclaimed') THEN 'failed' ELSE state END
        WHERE payload IS NOT NULL AND received_at < @before
        """,
        new { before = Micros.Of(now - KeepPayloads) }));

    private static string Name(InboxState state) => state.ToString().ToLowerInvariant();

    // SQLite and PostgreSQL have no way in common to hand over a list.
    private static string Names(IReadOnlyCollection<string> values) => string.Join(", ", values.Select((_, i) => $"@v{i}"));

    private static DynamicParameters Parameters(IReadOnlyCollection<string> values, string? about = null)
    {
        var parameters = new DynamicParameters();
        if (about is not null) parameters.Add("about", about);
        foreach (var (i, value) in values.Index()) parameters.Add($"v{i}", value);
        return parameters;
    }
}

/// <summary>Which organization a customer at the payment provider is. Kept beside the ledger's events, so that an event which names only a customer finds its organization; the first link stands.</summary>
public sealed class CustomerDirectory(Database database)
{
    public async Task<string?> Find(string customer) => await database.Read(c =>
        c.Query<string>("SELECT organization FROM customers WHERE customer = @customer", new { customer }).SingleOrDefault());

    /// <summary>The customers that this organization is.</summary>
    public async Task<IReadOnlyList<string>> Of(string organization) => await database.Read(c =>
        c.Query<string>("SELECT customer FROM customers WHERE organization = @organization ORDER BY customer", new { organization }).AsList());

    /// <summary>Organizations that have a customer, in the order of their ids, after one (empty for the first page).</summary>
    public async Task<IReadOnlyList<string>> ListOrganizations(string after, int limit) => await database.Read(c =>
        c.Query<string>("SELECT DISTINCT organization FROM customers WHERE organization > @after ORDER BY organization LIMIT @limit", new { after, limit }).AsList());

    /// <returns>Whether it was not linked before.</returns>
    public Task<bool> Link(string customer, string organization) => database.Write(c => c.Execute(
        "INSERT INTO customers (customer, organization) VALUES (@customer, @organization) ON CONFLICT (customer) DO NOTHING", new { customer, organization }) == 1);
}

/// <summary>Values that the service makes for itself once, such as keys to sign with.</summary>
public sealed class SecretStore(Database database)
{
    /// <summary>The private key (PKCS #8, P-256) that heads are signed with.</summary>
    public const string HeadKey = "head-key";

    /// <summary>32 random bytes under this name: made at first use, the same ever after.</summary>
    public Task<byte[]> Get(string name) => Get(name, () => RandomNumberGenerator.GetBytes(32));

    /// <summary>What <paramref name="make"/> made at first use, the same ever after.</summary>
    public Task<byte[]> Get(string name, Func<byte[]> make) => database.Write(c =>
    {
        c.Execute("INSERT INTO settings (name, value) VALUES (@name, @value) ON CONFLICT (name) DO NOTHING", new { name, value = make() });
        return c.QuerySingle<byte[]>("SELECT value FROM settings WHERE name = @name", new { name });
    });

    /// <summary>What is there under this name, or null.</summary>
    public Task<byte[]?> Find(string name) => database.Read(c => c.QuerySingleOrDefault<byte[]>("SELECT value FROM settings WHERE name = @name", new { name }));
}
