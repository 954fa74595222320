namespace Billing.Bench;

/// <summary>Who is measured: a server and what stands behind it.</summary>
/// <param name="Root">How its paths begin.</param>
/// <param name="Store">What a ledger keeps its journal in; null for a baseline.</param>
public sealed record Subject(string Name, ServerProcess Server, string Root, Store? Store)
{
    public const string Sqlite = "ledger on SQLite", Postgres = "ledger on PostgreSQL", Silos = "two silos, PostgreSQL", Row = "PostgreSQL row", Redis = "Redis, not durable";

    public const string Feature = "characters";

    /// <summary>Ten million characters a month for each organization: nothing is denied for want of quota.</summary>
    private const string Plan = "enterprise";

    private const string Item = $$"""{"feature":"{{Feature}}","quantity":1}""";

    private string Organization => $"{Root}/organizations/{RequestTemplate.OrganizationMark}";

    public Kind Opening { get; } = new("opening", RequestTemplate.Post($"{Root}/organizations", $$"""{"id":"{{RequestTemplate.OrganizationMark}}","plan":"{{Plan}}"}""", 201, ""), 0);

    public Kind Constant { get; } = new("constant", RequestTemplate.Get("/v1/ping", """{"ok":true"""), 0);

    public Kind Check => new("check", RequestTemplate.Get($"{Organization}/entitlements/{Feature}", $$"""{"feature":"{{Feature}}","has_access":true"""), 0);

    public Kind Consume => Using(Item);

    /// <summary>Uses as much as the trace says.</summary>
    public Kind ConsumeSome => Using($$"""{"feature":"{{Feature}}","quantity":{{RequestTemplate.QuantityMark}}}""");

    // A batch answers 200 whatever became of its items, so the count in the body is what says that all were recorded.
    public Kind Batch(int items) => new("batch", RequestTemplate.Post(
        $"{Organization}/usage/batch", $$"""{"items":[{{string.Join(',', Enumerable.Repeat(Item, items))}}]}""", 200, $$"""{"recorded":{{items}},"replayed":0,"refused":0,"""), items);

    private Kind Using(string body) => new("consume", RequestTemplate.Post($"{Organization}/usage", body, 201, Store is null ? $$"""{"feature":"{{Feature}}",""" : """{"id":"ur_"""), 1);
}

/// <summary>The database behind a ledger.</summary>
/// <param name="Journal">What was acknowledged must be in there.</param>
/// <param name="InsertRaw">Inserts rows of a journal in groups of so many, as fast as the database can by itself.</param>
public sealed record Store(JournalReader Journal, Func<IReadOnlyList<JournalRow>, int, Measurement> InsertRaw);
