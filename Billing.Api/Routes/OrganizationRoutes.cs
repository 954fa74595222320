using Billing.Grains;
using Billing.Ledger;
using NodaTime;

namespace Billing.Api.Routes;

/// <summary>Opening, listing, reading, closing; invitations, the time zone, the test clock.</summary>
public static class OrganizationRoutes
{
    /// <summary>The ledger's own limit is two years.</summary>
    private const int MaxDaysAhead = 366 * Accounts.MaxYearsAhead;

    public static void MapOrganizations(this RouteGroupBuilder v1, Services services)
    {
        v1.MapPost("/organizations", (Delegate)((HttpContext http) => Open(http, services)))
            .WithTags("Organizations").WithSummary("Open an organization").Accepts<OpenOrganizationBody>("application/json").Produces<OrganizationView>(201);

        v1.MapGet("/organizations", (Delegate)((HttpContext http) => List(http, services)))
            .WithTags("Organizations").WithSummary("Organizations, by id").Produces<Page<OrganizationView>>().TakesQuery("limit", "cursor");

        v1.MapGet("/organizations/{organization}", async (string organization, HttpContext http) =>
                await services.Host.Organization(organization).Read(services.Clock.Now()) is { } view ? Results.Ok(view) : Unknown(http, organization))
            .WithTags("Organizations").WithSummary("Read an organization").Produces<OrganizationView>();

        v1.MapDelete("/organizations/{organization}", (string organization, HttpContext http) => Close(organization, http, services))
            .WithTags("Organizations").WithSummary("Close an organization: it can be read, not changed").Accepts<CloseOrganizationBody>(true, "application/json").Produces<OrganizationView>();

        v1.MapPost("/organizations/{organization}/invitations", (string organization, HttpContext http) => Invite(organization, http, services))
            .WithTags("Organizations").WithSummary("Invite to a plan that is by invitation only").Accepts<InvitationBody>("application/json").Produces<OrganizationView>(201);

        v1.MapClocks(services);
    }

    /// <summary>What an organization's own clock and calendar say.</summary>
    private static void MapClocks(this RouteGroupBuilder v1, Services services)
    {
        v1.MapPut("/organizations/{organization}/time-zone", (string organization, HttpContext http) => SetTimeZone(organization, http, services))
            .WithTags("Organizations").WithSummary("Change the time zone: running days, and months without a subscription, go on into the new ones").Accepts<TimeZoneBody>("application/json").Produces<OrganizationView>();

        v1.MapPost("/organizations/{organization}/test-clock/advance", (string organization, HttpContext http) => Advance(organization, http, services))
            .WithTags("Organizations").WithSummary("Move a test organization's clock ahead, and write what becomes due by then").Accepts<AdvanceClockBody>("application/json").Produces<OrganizationView>(201);
    }

    private static async Task<IResult> SetTimeZone(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        if (request.As(ApiJson.Web.TimeZoneBody).TimeZone is not { } zone) throw new ApiException("missing_field", "Say which time zone: an IANA name such as Europe/Berlin.", "time_zone");
        var command = new ChangeTimeZone(zone) { Id = http.OptionalIdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id };
        return await Changed(organization, command, http, services, 200);
    }

    private static async Task<IResult> Advance(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.AdvanceClockBody);
        if (body.To is null == body.ByDays is null) throw new ApiException("missing_field", "Say either 'to' (a time) or 'by_days'.", "to");
        if (body.ByDays is < 1 or > MaxDaysAhead) throw new ApiException("invalid_field", $"A clock goes ahead by 1 to {MaxDaysAhead} days at a time.", "by_days");
        if (await services.Host.Organization(organization).Read(services.Clock.Now()) is not { } now) return Unknown(http, organization);
        var to = body.To ?? (now.Clock ?? services.Clock.Now()) + Duration.FromDays(body.ByDays!.Value);
        var command = new AdvanceClock(to) { Id = http.IdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id };
        return await Changed(organization, command, http, services, 201);
    }

    private static async Task<IResult> Changed(string organization, Command command, HttpContext http, Services services, int status)
    {
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        return Results.Json(await services.Host.Organization(organization).Read(services.Clock.Now()), ApiJson.Web.OrganizationView, statusCode: status);
    }

    internal static IResult Unknown(HttpContext http, string organization) =>
        Problems.Answer(Problems.Of(http, Rejections.OrganizationUnknown(organization), null));

    private static async Task<IResult> Open(HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.OpenOrganizationBody);
        if (body.Id is not { } id) throw new ApiException("missing_field", "An organization needs an id.", "id");
        if (!Ids.IsOrganization(id)) throw new ApiException("organization_id_invalid", $"An organization id matches {Ids.OrganizationPattern}.", "id");
        if (http.Caller().Test is { } mode && body.Test is { } asked && mode != asked)
            throw new ApiException("invalid_field", mode ? "A test key opens test organizations." : "A live key opens live organizations.", "test");
        var command = new OpenOrganization(body.TimeZone ?? "UTC", body.Test ?? http.Caller().Test ?? false, body.Plan)
        {
            Id = http.IdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(),
        };
        var result = await services.Host.Organization(id).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, id, rejection);
        // Stripe may have spoken of it before it was opened.
        await services.StripeEvents.Claim(id, null);
        http.MarkReplayed(result.Replayed);
        var view = await services.Host.Organization(id).Read(services.Clock.Now());
        return Results.Created($"/v1/organizations/{id}", view);
    }

    private static async Task<IResult> List(HttpContext http, Services services)
    {
        var limit = http.LimitParameter();
        var after = "";
        if (http.Request.Query["cursor"].FirstOrDefault() is { } cursor && !Cursor.TryRead(cursor, out after))
            throw new ApiException("invalid_parameter", "This cursor is not one of ours. Take next_cursor from the page before.", "cursor");
        var ids = http.Caller().Organization is { } own ? [own] : await services.Journal.ListOrganizations(after, limit);
        var now = services.Clock.Now();
        var views = new List<OrganizationView>();
        foreach (var id in ids)
            if (await services.Host.Organization(id).Read(now) is { } view && (http.Caller().Test is not { } mode || mode == view.Test)) views.Add(view);
        return Results.Ok(new Page<OrganizationView>(views, ids.Count == limit && http.Caller().Organization is null ? Cursor.Of(ids[^1]) : null));
    }

    private static async Task<IResult> Close(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var reason = Text.Reason(request.As(ApiJson.Web.CloseOrganizationBody).Reason);
        var command = new CloseOrganization(reason) { Id = http.OptionalIdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id };
        var result = await services.Host.Organization(organization).Execute(command);
        // Also when it is closed already: a crash may have come between closing it and revoking its keys.
        if (result.Rejection is null or { Kind: RejectionKind.OrganizationClosed }) await services.Keys.RevokeAll(organization, services.Clock.Now());
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        return Results.Ok(await services.Host.Organization(organization).Read(services.Clock.Now()));
    }

    private static async Task<IResult> Invite(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        if (request.As(ApiJson.Web.InvitationBody).Plan is not { } plan) throw new ApiException("missing_field", "Say which plan.", "plan");
        var command = new InviteToPlan(plan) { Id = http.IdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id };
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        return Results.Created($"/v1/organizations/{organization}", await services.Host.Organization(organization).Read(services.Clock.Now()));
    }
}

/// <summary>Limits of free text.</summary>
internal static class Text
{
    public static string? Reason(string? reason)
    {
        if (reason is { Length: > Ids.MaxReasonLength }) throw new ApiException("invalid_field", $"A reason has at most {Ids.MaxReasonLength} characters.", "reason");
        if (reason is not null && reason.Any(char.IsControl)) throw new ApiException("invalid_field", "A reason has no control characters.", "reason");
        return reason;
    }

    /// <summary>For what nobody does without saying why.</summary>
    public static string StatedReason(string? reason) =>
        string.IsNullOrWhiteSpace(reason) ? throw new ApiException("missing_field", "Say why: it is kept with who did it.", "reason") : Reason(reason)!;

    /// <summary>One of our words; null when it is left out.</summary>
    public static T? Choice<T>(string? text, string field) where T : struct, Enum => text is null ? null : Spelling.TryParse<T>(text, out var value) ? value
        : throw new ApiException("invalid_field", $"'{text}' is unknown. Known: {string.Join(", ", Enum.GetValues<T>().Select(v => Spelling.Of(v)))}.", field);

    /// <summary>A text for people: null when it is empty, without control characters, and of no more than so many characters.</summary>
    /// <param name="lines">Whether it may have several lines.</param>
    public static string? Limited(string? text, string field, int most, bool lines = false)
    {
        if (string.IsNullOrWhiteSpace(text)) return null;
        text = text.Trim();
        if (text.Length > most) throw new ApiException("invalid_field", $"'{field}' has at most {most} characters.", field);
        if (text.Any(c => char.IsControl(c) && !(lines && c is '\n' or '\r'))) throw new ApiException("invalid_field", $"'{field}' has no control characters{(lines ? " but line breaks" : "")}.", field);
        return text;
    }
}
