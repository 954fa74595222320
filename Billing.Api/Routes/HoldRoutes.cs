using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Api.Routes;

/// <summary>Reserving quantity for work whose size is not known yet.</summary>
public static class HoldRoutes
{
    private const int ReadSize = 1_000;

    public static void MapHolds(this RouteGroupBuilder v1, Services services)
    {
        v1.MapPost("/organizations/{organization}/holds", (string organization, HttpContext http) => Place(organization, http, services))
            .WithTags("Holds").WithSummary("Reserve quantity for work in progress, or be told why not").Accepts<HoldBody>("application/json").Produces<HoldView>(201)
            .Produces<Problem>(402).Produces<Problem>(403).Produces<Problem>(429);

        v1.MapGet("/organizations/{organization}/holds", async (string organization, HttpContext http) =>
                await services.Host.Organization(organization).Holds(services.Clock.Now()) is { } open ? Results.Ok(PageOf(open, http)) : OrganizationRoutes.Unknown(http, organization))
            .WithTags("Holds").WithSummary("The open holds, oldest first (?feature=&limit=&cursor=)").Produces<Page<HoldView>>().TakesQuery("feature", "limit", "cursor");

        v1.MapPost("/organizations/{organization}/holds/{id}/settle", (string organization, string id, HttpContext http) => Settle(organization, id, http, services))
            .WithTags("Holds").WithSummary("Record what the work came to, and free the rest").Accepts<SettleHoldBody>("application/json").Produces<HoldEndView>()
            .Produces<Problem>(402).Produces<Problem>(403).Produces<Problem>(429);

        v1.MapDelete("/organizations/{organization}/holds/{id}", (string organization, string id, HttpContext http) => Release(organization, id, http, services))
            .WithTags("Holds").WithSummary("Free what is held; nothing is recorded as used").Produces<HoldEndView>();
    }

    private static async Task<IResult> Place(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.HoldBody);
        if (body.Feature is not { } feature) throw new ApiException("missing_field", "Say which feature is to be held.", "feature");
        if (body.Quantity is not { } quantity) throw new ApiException("missing_field", "Say how much of it is to be held.", "quantity");
        UsageRoutes.CheckMetadata(body.Metadata, "");
        var command = new PlaceHold(feature, quantity, Lasting(body.ExpiresIn), body.Metadata is { Count: 0 } ? null : body.Metadata)
        {
            Id = http.IdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id,
        };
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Entitlement?.Rate is { } rate) http.AddRateLimit(feature, rate, command.At);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        var view = HoldView.Of(result.Events.OfType<HoldPlaced>().Single(), services.Catalogs);
        return Answers.Json(view with { Entitlement = services.DenialIds.Sign(organization, result.Entitlement!) }, ApiJson.Web.HoldView, 201);
    }

    /// <summary>The ledger says what is too short or too long; a number that is no duration at all is one of them.</summary>
    private static Duration Lasting(long? seconds) =>
        seconds is { } given ? Duration.FromSeconds(Math.Clamp(given, 0, (long)Holds.MaxExpiry.TotalSeconds + 1)) : Holds.DefaultExpiry;

    private static Page<HoldView> PageOf(IReadOnlyList<HoldView> open, HttpContext http)
    {
        var (limit, after, feature) = (http.LimitParameter(), http.CursorParameter(), http.Request.Query["feature"].FirstOrDefault());
        var rest = open.Where(h => (feature is null || h.Feature == feature) && Ids.Version(h.Id, "ho_") > after).Take(limit + 1).ToList();
        return rest.Count <= limit ? new Page<HoldView>(rest, null) : new Page<HoldView>(rest[..limit], Cursor.Of(rest[limit - 1].Id[3..]));
    }

    private static async Task<IResult> Settle(string organization, string id, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.SettleHoldBody);
        if (body.Quantity is not { } quantity) throw new ApiException("missing_field", "Say how much was used; 0 records nothing.", "quantity");
        UsageRoutes.CheckMetadata(body.Metadata, "");
        var command = new SettleHold(id, quantity, body.Metadata is { Count: 0 } ? null : body.Metadata)
        {
            Id = http.IdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id,
        };
        return await End(organization, id, command, http, services);
    }

    private static async Task<IResult> Release(string organization, string id, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        request.As(ApiJson.Web.EmptyBody);
        var command = new ReleaseHold(id) { Id = http.OptionalIdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id };
        return await End(organization, id, command, http, services);
    }

    private static async Task<IResult> End(string organization, string id, Command command, HttpContext http, Services services)
    {
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection)
        {
            if (rejection.Denial is { } denial && result.Entitlement?.Rate is { } rate) http.AddRateLimit(denial.Feature.Id, rate, command.At);
            return Problems.Answer(http, services, organization, rejection.Kind == RejectionKind.HoldUnknown ? await WhatBecameOf(organization, id, rejection, services) : rejection);
        }
        http.MarkReplayed(result.Replayed);
        var ended = result.Events.OfType<HoldEnded>().First(e => e.Hold == id);
        var usage = result.Events.OfType<UsageRecorded>().FirstOrDefault(u => u.Hold == id);
        return Results.Ok(new HoldEndView(id, Spelling.Of(ended.Outcome), usage is null ? null : UsageRecordView.Of(usage, services.Catalogs),
            result.Entitlement is { } entitlement ? services.DenialIds.Sign(organization, entitlement) : null));
    }

    /// <summary>Only the last holds that ended are in memory: of the others the journal knows.</summary>
    private static async Task<Rejection> WhatBecameOf(string organization, string id, Rejection unknown, Services services)
    {
        if (Ids.Version(id, "ho_") is not { } from || from == long.MaxValue) return unknown;
        for (var (next, scanned) = (from, 0); scanned < StreamPages.MaxScanned;)
        {
            var page = await services.Journal.ReadStream(organization, next, ReadSize);
            if (next == from && page is not [{ Type: "hold-placed" }, ..]) return unknown;
            foreach (var stored in page)
                if (stored.Type == "hold-ended" && EventCodec.Default.Decode(stored) is HoldEnded ended && ended.Hold == id)
                    return Rejections.HoldEnded(id, ended.Outcome, ended.EffectiveAt);
            if (page.Count < ReadSize) break;
            scanned += page.Count;
            next = page[^1].Version + 1;
        }
        return Rejections.HoldEnded(id);
    }
}
