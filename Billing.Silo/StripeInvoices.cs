using System.Text.Json;
using System.Text.Json.Serialization;
using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Dapper;
using NodaTime;

namespace Billing.Silo;

/// <summary>An invoice of Stripe's, in minor units of its currency.</summary>
/// <param name="Status">draft, open, paid, void or uncollectible.</param>
/// <param name="Credit">What the customer's balance took of the total.</param>
/// <param name="SettledAt">When it was paid, voided or given up.</param>
/// <param name="BillingReason">Stripe's, such as subscription_cycle.</param>
/// <param name="Attempts">How often it was tried to collect it.</param>
/// <param name="NextAttemptAt">Null when there will be none.</param>
/// <param name="Problem">Why it could not be finalized.</param>
public sealed record StripeInvoice(
    string Id, string Organization, string Status, Instant CreatedAt, string? Number, string Currency, long Subtotal, long Discount, long Tax, long Total, long Credit, long AmountDue,
    long AmountPaid, long AmountRemaining, string? BillingReason, int Attempts, Instant? NextAttemptAt, Instant? FinalizedAt, Instant? DueAt, Instant? SettledAt, Instant PeriodStart,
    Instant PeriodEnd, string? Subscription, string? Customer, string? HostedUrl, string? PdfUrl, string? Problem, IReadOnlyList<StripeInvoiceLine> Lines);

/// <param name="Kind">base, proration, overage or adjustment.</param>
public sealed record StripeInvoiceLine(
    string? Id, string Kind, string Description, string? Feature, decimal Quantity, long Amount, long Discount, long Tax, Instant Start, Instant End);

/// <summary>Who says how an invoice is. Events have seconds, and several of one invoice often have the same.</summary>
public enum InvoiceSaidBy
{
    /// <summary>Nobody can be asked, so of two of the same second one is chosen, whichever came first.</summary>
    EventAlone,

    /// <summary>Stripe was asked: that is how it is.</summary>
    Stripe,

    /// <summary>Where nothing says that it is the newer one, Stripe is asked.</summary>
    Event,
}

/// <summary>Stripe's invoices as Stripe last showed them. Links and names are in them, so they stand beside the stream.</summary>
public sealed class StripeInvoices(Database database)
{
    private const string Columns = "id, organization, created_at, body";

    /// <summary>What is greater stands: a settled one, then what was seen later, then what is further on. Then it depends on who says it.</summary>
    private const string Upsert = """
        INSERT INTO stripe_invoices (id, organization, created_at, status, number, seen_at, rank, body)
        VALUES (@id, @organization, @created, @status, @number, @seen, @rank, @body)
        ON CONFLICT (id) DO UPDATE SET organization = excluded.organization, created_at = excluded.created_at, status = excluded.status, number = excluded.number,
            seen_at = excluded.seen_at, rank = excluded.rank, body = excluded.body
        WHERE (excluded.rank / 1000000, excluded.seen_at, excluded.rank) > (stripe_invoices.rank / 1000000, stripe_invoices.seen_at, stripe_invoices.rank)
            OR @said = 1 AND excluded.seen_at >= stripe_invoices.seen_at
            OR @said = 0 AND (excluded.rank, excluded.seen_at) = (stripe_invoices.rank, stripe_invoices.seen_at) AND excluded.body > stripe_invoices.body
        """;

    // Dapper makes these by constructor, column by column.
    private sealed record Row(string Id, string Organization, long Created_At, byte[] Body)
    {
        public StripeInvoice ToInvoice() => JsonSerializer.Deserialize(Body, StripeInvoiceJson.Default.StripeInvoice)!;
    }

    /// <param name="seenAt">The time of the event, or of the fetch, that it is from.</param>
    /// <returns>Whether it stands now. Of an event it does not where it is older than what is kept, or nothing says that it is newer.</returns>
    public async Task<bool> Save(StripeInvoice invoice, Instant seenAt, InvoiceSaidBy by) => await database.Write(c => c.Execute(Upsert, new
    {
        said = (long)by,
        id = invoice.Id, organization = invoice.Organization, created = Micros.Of(invoice.CreatedAt), status = invoice.Status, number = invoice.Number, seen = Micros.Of(seenAt),
        rank = Rank(invoice), body = JsonSerializer.SerializeToUtf8Bytes(invoice, StripeInvoiceJson.Default.StripeInvoice),
    })) == 1;

    /// <summary>By its id or its number.</summary>
    public async Task<StripeInvoice?> Find(string organization, string idOrNumber) => await database.Read(c => c.Query<Row>(
        $"SELECT {Columns} FROM stripe_invoices WHERE organization = @organization AND (id = @idOrNumber OR number = @idOrNumber) ORDER BY id LIMIT 1",
        new { organization, idOrNumber }).SingleOrDefault()?.ToInvoice());

    /// <summary>Newest first.</summary>
    /// <param name="before">The last one of the page before, by its time and id; an empty id is after all of that time.</param>
    public async Task<IReadOnlyList<StripeInvoice>> List(string organization, string? status, (Instant At, string Id)? before, int limit) => await database.Read(c => c.Query<Row>(
        $"""
        SELECT {Columns} FROM stripe_invoices
        WHERE organization = @organization AND (@status IS NULL OR status = @status) AND (@at IS NULL OR created_at < @at OR (created_at = @at AND id < @id))
        ORDER BY created_at DESC, id DESC LIMIT @limit
        """,
        new { organization, status, at = before is { } b ? Micros.Of(b.At) : (long?)null, id = before?.Id ?? "", limit }).Select(r => r.ToInvoice()).ToList());

    /// <summary>Whoever has an invoice's link sees who it is for: the links go, the amounts stay.</summary>
    public Task EraseLinks(string organization) => database.Write(c =>
    {
        foreach (var row in c.Query<Row>($"SELECT {Columns} FROM stripe_invoices WHERE organization = @organization", new { organization }).ToList())
            c.Execute("UPDATE stripe_invoices SET body = @body WHERE id = @Id", new { row.Id, body = JsonSerializer.SerializeToUtf8Bytes(row.ToInvoice() with { HostedUrl = null, PdfUrl = null }, StripeInvoiceJson.Default.StripeInvoice) });
        return true;
    });

    /// <summary>Paid and void are the end. Within one second a later status, and then more attempts, are newer.</summary>
    private static long Rank(StripeInvoice invoice) =>
        (invoice.Status switch { "paid" or "void" => 1_000_000, "uncollectible" => 200_000, "open" => 100_000, _ => 0 }) + Math.Clamp(invoice.Attempts, 0, 99_999);
}

/// <summary>As they are kept: snake_case, times RFC 3339.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, Converters = [typeof(InstantJson)])]
[JsonSerializable(typeof(StripeInvoice))]
[JsonSerializable(typeof(IReadOnlyList<StripeInvoice>))]
public sealed partial class StripeInvoiceJson : JsonSerializerContext;
