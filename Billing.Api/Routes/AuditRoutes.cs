using System.Text.Json;
using Billing.Grains.Journal;
using Billing.Silo;
using NodaTime;

namespace Billing.Api.Routes;

/// <summary>What somebody did, or tried to do.</summary>
/// <param name="Number">1, 2, 3… without a gap.</param>
/// <param name="At">When it was asked for.</param>
/// <param name="Caller">The id of the key, or of who signed in.</param>
/// <param name="What">Such as tokens.grant.</param>
/// <param name="About">What of the organization: a feature, an invoice, a key's id.</param>
/// <param name="Before">What was changed, as it was.</param>
/// <param name="After">As it is since.</param>
/// <param name="RequestId">Came back in the header Request-Id, and stands in the service's log.</param>
/// <param name="CommandId">The Idempotency-Key: the ledger's events of it carry the same.</param>
/// <param name="Outcome">done; repeated: it had been done before; refused: nothing was changed; failed, or unknown when the service went down with it: whether it was done, the ledger says.</param>
/// <param name="Code">Of the problem, where it was not done.</param>
/// <param name="Hash">Hex; over the record before it and all of this.</param>
public sealed record AuditRecordView(
    long Number, Instant At, string Caller, string CallerName, string What, string? Organization, string? About, string? Reason, JsonElement? Before, JsonElement? After, string RequestId, string? CommandId,
    string Outcome, string? Code, string Hash);

/// <param name="Ok">Whether the chain holds from the first record to the head.</param>
/// <param name="FirstBadNumber">The first record that does not fit.</param>
public sealed record AuditVerificationView(bool Ok, long Records, string Head, long? FirstBadNumber, string? Problem);

/// <summary>The record of who did what.</summary>
public static class AuditRoutes
{
    public static void MapAudit(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/audit", (Delegate)((HttpContext http) => List(http, services)))
            .WithTags("Audit").WithSummary("What operators did, newest first (?organization=&caller=&what=&from=&to=&limit=&cursor=)").Produces<Page<AuditRecordView>>()
            .TakesQuery("organization", "caller", "what", "from|record", "to|record", "limit", "cursor");

        v1.MapGet("/audit/verify", async () =>
            {
                var found = await services.Audit.Verify();
                return Results.Ok(new AuditVerificationView(found.Problem is null, found.Records, Convert.ToHexStringLower(found.Head), found.FirstBad, found.Problem));
            })
            .WithTags("Audit").WithSummary("Recompute the chain from the first record to the head").Produces<AuditVerificationView>();

        v1.MapGet("/audit/head", async (HttpContext http) => await services.Audit.Head() is { Version: > 0 } head
                ? Answers.Json(services.Heads.Sign(AuditLog.StreamName, head, services.Clock.Now()), ApiJson.Web.SignedHead)
                : Problems.Answer(http, "not_found", "Nothing was done yet."))
            .WithTags("Audit").WithSummary("The chain's head, signed: keep it, and check later that nothing before it was rewritten").Produces<SignedHead>().Produces<Problem>(404);
    }

    private static async Task<IResult> List(HttpContext http, Services services)
    {
        var (limit, query) = (http.LimitParameter(), http.Request.Query);
        var before = http.CursorParameter() is > 0 and var cursor ? cursor : long.MaxValue;
        var what = query["what"].FirstOrDefault();
        if (what is not null && !AuditedRoutes.Names.Contains(what)) throw new ApiException("invalid_parameter", $"'{what}' is unknown. Known: {string.Join(", ", AuditedRoutes.Names)}.", "what");
        var filter = new AuditFilter(query["organization"].FirstOrDefault(), query["caller"].FirstOrDefault(), what, http.TimeParameter("from"), http.TimeParameter("to"));
        if (filter.From >= filter.To) throw new ApiException("invalid_parameter", "'from' must be before 'to'.", "from");
        var found = await services.Audit.List(filter, before, limit + 1);
        var page = found.Take(limit).Select(Of).ToList();
        return Answers.Json(new Page<AuditRecordView>(page, found.Count > limit ? Cursor.Of($"{page[^1].Number}") : null), ApiJson.Web.PageAuditRecordView);
    }

    private static AuditRecordView Of(AuditRecord r) => new(
        r.Number, r.At, r.Caller, r.CallerName, r.What, r.Organization, r.About, r.Reason, Json(r.Before), Json(r.After), r.Request, r.CommandId, r.Outcome, r.Code, Convert.ToHexStringLower(r.Hash));

    /// <summary>What was tampered with is shown as text.</summary>
    private static JsonElement? Json(string? text)
    {
        if (text is null) return null;
        try
        {
            return JsonElement.Parse(text);
        }
        catch (JsonException)
        {
            return JsonSerializer.SerializeToElement(text, ApiJson.Web.String);
        }
    }
}
