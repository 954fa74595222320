using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Dapper;
using NodaTime;

namespace Billing.Silo;

/// <summary>A request that changes something at Stripe, as it was stored before it was first sent.</summary>
/// <param name="Form">Exactly what was sent; null when it was removed.</param>
/// <param name="Status">HTTP; null while no answer is known.</param>
/// <param name="Object">The id of what it made or changed.</param>
/// <param name="Error">Stripe's error as JSON, when a payment was refused.</param>
public sealed record SentRequest(string Key, string? Organization, string Path, byte[]? Form, Instant SentAt, Instant? AnsweredAt, int? Status, string? Object, string? Error);

/// <summary>Every request that changes something at Stripe, by its idempotency key.</summary>
public sealed class SentRequests(Database database)
{
    /// <summary>Forms are personal data, and Stripe forgets keys after a day.</summary>
    public static readonly Duration KeepForms = Duration.FromDays(2);

    private const string Columns = "idempotency_key, organization, path, form, sent_at, answered_at, status, object, error";

    // Dapper makes these by constructor, column by column.
    private sealed record Row(string Idempotency_Key, string? Organization, string Path, byte[]? Form, long Sent_At, long? Answered_At, long? Status, string? Object, string? Error)
    {
        public SentRequest ToRequest() => new(
            Idempotency_Key, Organization, Path, Form, Micros.ToInstant(Sent_At), Answered_At is { } at ? Micros.ToInstant(at) : null, (int?)Status, Object, Error);
    }

    /// <summary>Durable when it returns: the request that is to be sent under this key, which is the one stored first.</summary>
    /// <returns>The stored request, and whether it was stored now.</returns>
    public async Task<(SentRequest Request, bool IsNew)> Begin(string key, string? organization, string path, byte[] form, Instant now) => await database.Write(c =>
    {
        var inserted = c.Execute(
            "INSERT INTO stripe_requests (idempotency_key, organization, path, form, sent_at) VALUES (@key, @organization, @path, @form, @now) ON CONFLICT (idempotency_key) DO NOTHING",
            new { key, organization, path, form, now = Micros.Of(now) });
        return (Find(c, key)!, inserted == 1);
    });

    public Task<SentRequest?> Find(string key) => database.Read(c => Find(c, key));

    private static SentRequest? Find(System.Data.Common.DbConnection c, string key) =>
        c.Query<Row>($"SELECT {Columns} FROM stripe_requests WHERE idempotency_key = @key", new { key }).SingleOrDefault()?.ToRequest();

    public Task Answered(string key, int status, string? made, string? error, Instant now) => database.Write(c => c.Execute(
        "UPDATE stripe_requests SET answered_at = @now, status = @status, object = @made, error = @error WHERE idempotency_key = @key",
        new { key, status, made, error, now = Micros.Of(now) }));

    /// <summary>It is sent for the first time once more: nothing came of it before.</summary>
    public Task Again(string key, Instant now) => database.Write(c => c.Execute(
        "UPDATE stripe_requests SET sent_at = @now WHERE idempotency_key = @key", new { key, now = Micros.Of(now) }));

    /// <summary>It was refused before anything was done: its key may be used for something else.</summary>
    public Task Forget(string key) => database.Write(c => c.Execute("DELETE FROM stripe_requests WHERE idempotency_key = @key", new { key }));

    /// <summary>What an organization asked of Stripe, newest first.</summary>
    /// <param name="path">Only requests to this path.</param>
    public Task<IReadOnlyList<SentRequest>> List(string organization, string? path, int limit) => database.Read<IReadOnlyList<SentRequest>>(c => c.Query<Row>(
        $"SELECT {Columns} FROM stripe_requests WHERE organization = @organization AND (@path IS NULL OR path = @path) ORDER BY sent_at DESC, idempotency_key LIMIT @limit",
        new { organization, path, limit }).Select(r => r.ToRequest()).ToList());

    /// <summary>How many made something, by path, of those sent in a stretch of time.</summary>
    public Task<Dictionary<string, long>> CountByPath(Instant from, Instant to) => database.Read(c => c.Query<(string Path, long Count)>(
        "SELECT path, count(*) FROM stripe_requests WHERE sent_at >= @from AND sent_at < @to AND object IS NOT NULL GROUP BY path", new { from = Micros.Of(from), to = Micros.Of(to) })
        .ToDictionary(r => r.Path, r => r.Count));

    /// <summary>Of what was answered, what it said about people goes; that it was sent stays.</summary>
    public Task EraseForms(string organization) => database.Write(c => c.Execute(
        "UPDATE stripe_requests SET form = NULL, error = NULL WHERE organization = @organization AND status IS NOT NULL", new { organization }));

    public Task RemoveOldForms(Instant now) => database.Write(c => c.Execute(
        "UPDATE stripe_requests SET form = NULL WHERE form IS NOT NULL AND sent_at < @before", new { before = Micros.Of(now - KeepForms) }));
}
