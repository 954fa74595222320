using System.Globalization;
using Billing.Api.Pages;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Api.Routes;

/// <summary>Invoices: listing, reading, printing, making, and what becomes of them.</summary>
public static class InvoiceRoutes
{
    public const int MaxPaymentLength = 255;

    public static void MapInvoices(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/organizations/{organization}/invoices", (string organization, HttpContext http) => List(organization, http, services))
            .WithTags("Invoices").WithSummary("Invoices, newest first: the ledger's own, and Stripe's as Stripe last showed them (?status=&limit=&cursor=)").Produces<Page<InvoiceView>>().TakesQuery("status", "limit", "cursor");

        v1.MapGet("/organizations/{organization}/invoices/upcoming", async (string organization, HttpContext http) =>
                await services.Host.Organization(organization).UpcomingInvoices(services.Clock.Now()) is { } upcoming ? Results.Ok(upcoming) : OrganizationRoutes.Unknown(http, organization))
            .WithTags("Invoices").WithSummary("What would be invoiced now: pending lines, and the overage so far").Produces<UpcomingInvoicesView>();

        v1.MapGet("/organizations/{organization}/invoices/{invoice}", async (string organization, string invoice, HttpContext http) =>
                await Read(organization, invoice, services) is { } view ? Answers.Json(view, ApiJson.Web.InvoiceView) : await Unknown(http, organization, invoice, services))
            .WithTags("Invoices").WithSummary("One invoice with its lines, by its id or its number").Produces<InvoiceView>();

        v1.MapGet("/organizations/{organization}/invoices/{invoice}/print", (string organization, string invoice, HttpContext http) => Print(organization, invoice, http, services))
            .WithTags("Invoices").WithSummary("The invoice as a page to print").Produces<string>(200, "text/html");

        v1.MapPost("/organizations/{organization}/invoices/generate", (string organization, HttpContext http) => Generate(organization, http, services))
            .WithTags("Invoices").WithSummary("Make an invoice of what is pending and of the overage so far").Accepts<GenerateInvoiceBody>(true, "application/json").Produces<InvoiceView>(201);

        v1.MapPost("/organizations/{organization}/invoices/lines", (string organization, HttpContext http) => AddLine(organization, http, services))
            .WithTags("Invoices").WithSummary("Add a line to the next invoice: a charge, or a credit below 0").Accepts<AddLineBody>("application/json").Produces<InvoiceLineView>(201);

        v1.MapPost("/organizations/{organization}/invoices/{invoice}/finalize", (string organization, string invoice, HttpContext http) => Finalize(organization, invoice, http, services))
            .WithTags("Invoices").WithSummary("Give a draft its number: it is open then").Produces<InvoiceView>();

        v1.MapPost("/organizations/{organization}/invoices/{invoice}/pay", (string organization, string invoice, HttpContext http) => Pay(organization, invoice, http, services))
            .WithTags("Invoices").WithSummary("It was paid, outside of Stripe").Accepts<PayInvoiceBody>(true, "application/json").Produces<InvoiceView>();

        v1.MapPost("/organizations/{organization}/invoices/{invoice}/void", (string organization, string invoice, HttpContext http) => End(organization, invoice, InvoiceStatus.Void, http, services))
            .WithTags("Invoices").WithSummary("Take it back: an open one keeps its number and is not billed again; a draft's lines are pending again").Accepts<StatedReasonBody>("application/json").Produces<InvoiceView>();

        v1.MapPost("/organizations/{organization}/invoices/{invoice}/uncollectible", (string organization, string invoice, HttpContext http) => End(organization, invoice, InvoiceStatus.Uncollectible, http, services))
            .WithTags("Invoices").WithSummary("It will not be paid").Accepts<StatedReasonBody>("application/json").Produces<InvoiceView>();

        v1.MapBilling(services);
    }

    // ---- reading

    /// <summary>The cursor is the last one shown: its time, and of those at one instant first Stripe's by id, then the ledger's by version, all downwards.</summary>
    private static async Task<IResult> List(string organization, HttpContext http, Services services)
    {
        if (await services.Host.Organization(organization).Invoices() is not { } invoices) return OrganizationRoutes.Unknown(http, organization);
        var (limit, before) = (http.LimitParameter(), Before(http));
        var status = http.ChoiceParameter<InvoiceStatus>("status") is { } only ? Spelling.Of(only) : null;
        // A place among the ledger's own is behind all of Stripe's of that instant.
        var mirrored = await services.StripeInvoices.List(organization, status, before is { } b ? (b.At, b.Version is null ? b.Id : "") : null, limit + 1);
        var own = invoices.Where(i => status is null || i.Status == status).Where(i => before is not { } b || i.CreatedAt < b.At || (i.CreatedAt == b.At && (b.Version is null || i.Version < b.Version)));
        var rest = mirrored.Select(Of).Concat(own.Take(limit + 1)).OrderByDescending(i => i.CreatedAt).ThenByDescending(i => i.Source, StringComparer.Ordinal).Take(limit + 1).ToList();
        var page = rest.Take(limit).Select(i => i with { Lines = null }).ToList();
        return Answers.Json(new Page<InvoiceView>(page, rest.Count > limit ? Cursor.Of($"{Micros.Of(page[^1].CreatedAt)}:{(page[^1].Source == "ledger" ? page[^1].Version.ToString(CultureInfo.InvariantCulture) : page[^1].Id)}") : null), ApiJson.Web.PageInvoiceView);
    }

    private static (Instant At, string Id, long? Version)? Before(HttpContext http)
    {
        if (http.Request.Query["cursor"].FirstOrDefault() is not { } cursor) return null;
        if (!Cursor.TryRead(cursor, out var place) || place.Split(':', 2) is not [var at, var id] || !long.TryParse(at, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var micros))
            throw new ApiException("invalid_parameter", "This cursor is not one of ours. Take next_cursor from the page before.", "cursor");
        return (Micros.ToInstant(micros), id, long.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out var version) ? version : null);
    }

    private static async Task<InvoiceView?> Read(string organization, string idOrNumber, Services services)
    {
        var invoices = await services.Host.Organization(organization).Invoices();
        if (invoices is null) return null;
        if (invoices.FirstOrDefault(i => i.Id == idOrNumber || i.Number == idOrNumber) is not { } head)
            return await services.StripeInvoices.Find(organization, idOrNumber) is { } mirrored ? Of(mirrored) : null;
        var stored = await services.Journal.ReadStream(organization, head.Version, 1);
        return head.With((InvoiceCreated)EventCodec.Default.Decode(stored[0]), services.Catalogs);
    }

    private static InvoiceView Of(StripeInvoice i)
    {
        return new InvoiceView(i.Id, i.Number, i.Status, Money(i.Total), Money(i.Credit), Money(i.AmountDue), i.CreatedAt, i.FinalizedAt, i.DueAt, i.SettledAt, i.Subscription)
        {
            Source = "stripe", AmountPaid = Money(i.AmountPaid), BillingReason = i.BillingReason, Attempts = i.Attempts, NextAttemptAt = i.NextAttemptAt, HostedUrl = i.HostedUrl,
            PdfUrl = i.PdfUrl, Problem = i.Problem, Period = new PeriodView(i.PeriodStart, i.PeriodEnd), Subtotal = Money(i.Subtotal), Discount = Money(i.Discount), Tax = Money(i.Tax),
            Lines = [.. i.Lines.Select(l => new InvoiceLineView(l.Kind, l.Description, l.Feature, null, l.Quantity, null, Money(l.Amount), Money(l.Discount), Money(l.Tax), new PeriodView(l.Start, l.End)))],
        };

        Money Money(long amount) => new(amount, i.Currency);
    }

    private static async Task<IResult> Unknown(HttpContext http, string organization, string invoice, Services services) =>
        await services.Host.Organization(organization).Read(services.Clock.Now()) is null
            ? OrganizationRoutes.Unknown(http, organization)
            : Problems.Answer(http, services, organization, Rejections.InvoiceUnknown(invoice));

    private static async Task<IResult> Print(string organization, string invoice, HttpContext http, Services services)
    {
        if (await Read(organization, invoice, services) is not { } view) return await Unknown(http, organization, invoice, services);
        // Stripe has a page of its own for its invoices.
        if (view.Source == "stripe") return view.HostedUrl is { } hosted ? Results.Redirect(hosted) : await Unknown(http, organization, invoice, services);
        var zone = (await services.Host.Organization(organization).Read(services.Clock.Now()))!.TimeZone;
        http.Response.Headers.ContentSecurityPolicy = InvoicePage.ContentSecurityPolicy;
        http.Response.Headers.XContentTypeOptions = "nosniff";
        // It has a name and an address on it.
        http.Response.Headers.CacheControl = "private, no-store";
        var page = InvoicePage.Of(view, organization, DateTimeZoneProviders.Tzdb[zone], services.Settings.Seller, await services.Profiles.Find(organization));
        return Results.Content(page, "text/html; charset=utf-8");
    }

    // ---- changing

    private static async Task<IResult> Generate(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.GenerateInvoiceBody);
        var command = new CreateInvoice(body.Draft, body.Currency) { Id = http.IdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id };
        return await Answer(organization, command, http, services, 201);
    }

    private static async Task<IResult> Finalize(string organization, string invoice, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        request.As(ApiJson.Web.FinalizeInvoiceBody);
        var command = new FinalizeInvoice(invoice) { Id = http.IdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id };
        return await Answer(organization, command, http, services, 200, invoice);
    }

    private static async Task<IResult> Pay(string organization, string invoice, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.PayInvoiceBody);
        var payment = Text.Limited(body.Payment, "payment", MaxPaymentLength);
        var command = new SettleInvoice(invoice, InvoiceStatus.Paid, payment, Text.Reason(body.Reason))
        {
            Id = http.IdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id,
        };
        return await Answer(organization, command, http, services, 200, invoice);
    }

    private static async Task<IResult> End(string organization, string invoice, InvoiceStatus status, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var reason = Text.StatedReason(request.As(ApiJson.Web.StatedReasonBody).Reason);
        var command = new SettleInvoice(invoice, status, null, reason) { Id = http.IdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id };
        return await Answer(organization, command, http, services, 200, invoice);
    }

    /// <summary>The invoice as it is now: the one named, or else the one that the command made.</summary>
    private static async Task<IResult> Answer(string organization, Command command, HttpContext http, Services services, int status, string? invoice = null)
    {
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        // What the clock brought stands before what was asked for.
        invoice ??= Ids.Invoice(result.Events.OfType<InvoiceCreated>().Last().Version);
        return Answers.Json((await Read(organization, invoice, services))!, ApiJson.Web.InvoiceView, status);
    }

    private static async Task<IResult> AddLine(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.AddLineBody);
        if (string.IsNullOrWhiteSpace(body.Description)) throw new ApiException("missing_field", "Say what it is for: it stands on the invoice.", "description");
        if (body.Amount is not { } amount) throw new ApiException("missing_field", "Say how much, in minor units; below 0 is a credit.", "amount");
        var command = new AddLine(Text.Limited(body.Description, "description", Ids.MaxReasonLength)!, amount, Text.Reason(body.Reason), body.Currency)
        {
            Id = http.IdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id,
        };
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        return Answers.Json(InvoiceLineView.Of(result.Events.OfType<LinesAdded>().Last().Lines[0], services.Catalogs), ApiJson.Web.InvoiceLineView, 201);
    }
}
