using System.IO.Compression;
using System.IO.Pipelines;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Silo;

namespace Billing.Api.Routes;

/// <summary>Everything about one organization, as a zip: what it is asked for when it wants its data, or leaves.</summary>
public static class ExportRoutes
{
    private const string ContentType = "application/zip";
    private const int PageSize = 500;

    private const string Contents = """
        ledger.ndjson         every event, and the head: what `billing ledger verify` takes
        ledger-head.json      the head, signed
        organization.json     what it is now, and so are entitlements, usage, tokens, subscription and invoices
        profile.json          name, e-mail and address
        keys.json             API keys, as far as they may be shown
        stripe/invoices.json  Stripe's invoices, as Stripe last showed them
        stripe/events/        what Stripe sent, as it came, as far as it is kept

        """;

    public static void MapExport(this RouteGroupBuilder v1, Services services) =>
        v1.MapGet("/organizations/{organization}/export", (string organization, HttpContext http) => Export(organization, http, services))
            .WithTags("Organizations").WithSummary("Everything about the organization, as a zip").Produces<string>(200, ContentType);

    private static async Task<IResult> Export(string organization, HttpContext http, Services services)
    {
        var (now, stop) = (services.Clock.Now(), http.RequestAborted);
        var ledger = services.Host.Organization(organization);
        if (await ledger.Read(now) is not { } view) return OrganizationRoutes.Unknown(http, organization);
        http.Response.ContentType = ContentType;
        http.Response.Headers.ContentDisposition = $"attachment; filename=\"{organization}.zip\"";
        try
        {
            await using var zip = await ZipArchive.CreateAsync(http.Response.BodyWriter.AsStream(leaveOpen: true), ZipArchiveMode.Create, leaveOpen: true, Encoding.UTF8, stop);
            await Write("README.txt", to => to.WriteAsync(Encoding.UTF8.GetBytes($"{organization}, {now}\n\n{Contents}"), stop).AsTask());
            await Json("organization.json", view, ApiJson.Web.OrganizationView);
            await Json("entitlements.json", new EntitlementsView(true, await ledger.Entitlements(now) ?? []), ApiJson.Web.EntitlementsView);
            await Json("usage.json", (await ledger.Usage(now))!, ApiJson.Web.UsageView);
            await Json("tokens.json", (await ledger.Tokens(now))!, ApiJson.Web.TokensView);
            await Json("subscription.json", (await ledger.Subscription(now))!, ApiJson.Web.SubscriptionView);
            await Json("invoices.json", new Page<InvoiceView>(await ledger.Invoices() ?? [], null), ApiJson.Web.PageInvoiceView);
            await Json("profile.json", ProfileView.Of(await services.Profiles.Find(organization)), ApiJson.Web.ProfileView);
            await Json("keys.json", new Page<ApiKeyView>([.. services.Keys.List().Where(k => k.Organization == organization).Select(KeyRoutes.Of)], null), ApiJson.Web.PageApiKeyView);
            await Write("ledger.ndjson", async to =>
            {
                var pipe = PipeWriter.Create(to, new StreamPipeWriterOptions(leaveOpen: true));
                await LedgerExport.Write(await LedgerStream.Of(services.Journal, organization, stop), pipe, stop);
                await pipe.CompleteAsync();
            });
            if (await services.Journal.ReadHead(organization) is { } head) await Json("ledger-head.json", services.Heads.Sign(organization, head, now), ApiJson.Web.SignedHead);
            await Json("stripe/invoices.json", await services.StripeInvoices.List(organization, null, null, int.MaxValue), StripeInvoiceJson.Default.IReadOnlyListStripeInvoice);
            await StripeEvents(organization, services, (id, payload) => Write($"stripe/events/{id}.json", to => to.WriteAsync(payload, stop).AsTask()));

            async Task Json<T>(string name, T value, JsonTypeInfo<T> type) => await Write(name, to => JsonSerializer.SerializeAsync(to, value, type, stop));

            async Task Write(string name, Func<Stream, Task> write)
            {
                await using var to = await zip.CreateEntry(name, CompressionLevel.Optimal).OpenAsync(stop);
                await write(to);
            }
        }
        catch (DamagedEventException)
        {
            // Half of it may be on its way: the connection ends without the end of an answer.
            http.Abort();
        }
        return Results.Empty;
    }

    private static async Task StripeEvents(string organization, Services services, Func<string, byte[], Task> write)
    {
        for (string? after = null; ;)
        {
            var page = await services.Inbox.List(null, null, organization, after, PageSize);
            foreach (var e in page)
                if (e.Payload is { } payload) await write(e.Id, payload);
            if (page.Count < PageSize) return;
            after = page[^1].Id;
        }
    }
}
