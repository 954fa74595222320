using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;

namespace Billing.Api.Routes;

/// <summary>Taking usage records back, and recording them anew.</summary>
public static class CorrectionRoutes
{
    private static readonly string[] GaugeHistory = ["usage-recorded", "usage-voided", "lines-added"];

    public static void MapCorrections(this RouteGroupBuilder v1, Services services)
    {
        v1.MapPost("/organizations/{organization}/usage/{id}/void", (string organization, string id, HttpContext http) => Void(organization, id, http, services))
            .WithTags("Usage").WithSummary("Take a usage record back").Accepts<StatedReasonBody>("application/json").Produces<UsageVoidView>();

        v1.MapPost("/organizations/{organization}/usage/{id}/correct", (string organization, string id, HttpContext http) => Correct(organization, id, http, services))
            .WithTags("Usage").WithSummary("Record another quantity in a usage record's place, at its own time").Accepts<CorrectBody>("application/json")
            .Produces<UsageRecordView>(201).Produces<UsageRecordView>().Produces<Problem>(402).Produces<Problem>(403).Produces<Problem>(429);
    }

    private static async Task<IResult> Void(string organization, string id, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.StatedReasonBody);
        var key = http.IdempotencyKey();
        var reason = Text.StatedReason(body.Reason);
        if (await Find(organization, id, services) is not { } record) return await Unknown(organization, id, http, services);
        var command = new VoidUsage(record, reason)
        {
            Id = key, ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id, History = await HistoryOf(organization, record, services),
        };
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        var view = UsageVoidView.Of(result.Events.OfType<UsageVoided>().Single(), Adjustments(result.Events, id, services) ?? [], services.Catalogs);
        return Answers.Json(view with { Entitlement = services.DenialIds.Sign(organization, result.Entitlement!) }, ApiJson.Web.UsageVoidView);
    }

    private static async Task<IResult> Correct(string organization, string id, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.CorrectBody);
        var key = http.IdempotencyKey();
        if (body.Quantity is not { } quantity) throw new ApiException("missing_field", "Say how much it should have been.", "quantity");
        var reason = Text.StatedReason(body.Reason);
        if (await Find(organization, id, services) is not { } record) return await Unknown(organization, id, http, services);
        var command = new CorrectUsage(record, quantity, reason)
        {
            Id = key, ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id, History = await HistoryOf(organization, record, services),
        };
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        // It is as it should have been: nothing is recorded, and the record is the answer.
        var recorded = result.Events.OfType<UsageRecorded>().SingleOrDefault();
        var view = UsageRecordView.Of(recorded ?? record, services.Catalogs) with
        {
            Adjustments = Adjustments(result.Events, id, services), Entitlement = services.DenialIds.Sign(organization, result.Entitlement!),
        };
        return Answers.Json(view, ApiJson.Web.UsageRecordView, recorded is null ? 200 : 201);
    }

    /// <summary>The lines of these events that name the record.</summary>
    internal static IReadOnlyList<InvoiceLineView>? Adjustments(IReadOnlyList<LedgerEvent> events, string id, Services services)
    {
        InvoiceLineView[] lines = [.. events.OfType<LinesAdded>().SelectMany(e => e.Lines).Where(l => l.Records?.Contains(id) == true).Select(l => InvoiceLineView.Of(l, services.Catalogs))];
        return lines.Length == 0 ? null : lines;
    }

    /// <summary>The record of this id as the journal has it; null when there is none.</summary>
    internal static async Task<UsageRecorded?> Find(string organization, string id, Services services) =>
        Ids.Version(id, "ur_") is { } version && await services.Journal.ReadStream(organization, version, limit: 1) is [{ Type: "usage-recorded" } stored] && stored.Version == version
            ? (UsageRecorded)EventCodec.Default.Decode(stored)
            : null;

    internal static async Task<IResult> Unknown(string organization, string id, HttpContext http, Services services)
    {
        if (await services.Host.Organization(organization).Read(services.Clock.Now()) is not { } view) return OrganizationRoutes.Unknown(http, organization);
        return Problems.Answer(http, services, organization,
            view.ClosedAt is not null && http.Request.Method == "POST" ? Rejections.OrganizationClosed(organization) : Rejections.UsageRecordUnknown(id));
    }

    /// <summary>What the peak of a gauge without the record is worked out from.</summary>
    private static async Task<IReadOnlyList<LedgerEvent>> HistoryOf(string organization, UsageRecorded record, Services services)
    {
        if (record.Gauge is null) return [];
        var history = new List<LedgerEvent>();
        await foreach (var e in StreamPages.All(services.Journal, organization, GaugeHistory))
            if (e is UsageRecorded { Gauge: not null } or UsageVoided { Gauge: not null } or LinesAdded) history.Add(e);
        return history;
    }
}
