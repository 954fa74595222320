using System.Text.Json;
using Billing.Api.Stripe;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Api.Routes;

/// <summary>The webhook, and the inbox for operators.</summary>
public static class StripeRoutes
{
    public static void MapStripe(this WebApplication app, RouteGroupBuilder v1, Services services)
    {
        app.MapStripeWebhook(services);
        v1.MapReconcile(app.Services.GetRequiredService<Reconciler>(), app.Services.GetRequiredService<NightlyReconciliation>());

        v1.MapGet("/stripe/events", async (HttpContext http) =>
            {
                var limit = http.LimitParameter();
                string? after = null;
                if (http.Request.Query["cursor"].FirstOrDefault() is { } cursor && !Cursor.TryRead(cursor, out after))
                    throw new ApiException("invalid_parameter", "This cursor is not one of ours. Take next_cursor from the page before.", "cursor");
                var events = await services.Inbox.List(
                    http.ChoiceParameter<InboxState>("state"), http.Request.Query["type"].FirstOrDefault(), http.Request.Query["organization"].FirstOrDefault(), after, limit);
                return Results.Ok(new Page<InboxEventView>([.. events.Select(Of)], events.Count == limit ? Cursor.Of(events[^1].Id) : null));
            })
            .WithTags("Stripe").WithSummary("Stripe's events and what became of them (?state=&type=&organization=&limit=&cursor=; a type that ends with a dot is all that begin so)").Produces<Page<InboxEventView>>()
            .TakesQuery("state", "type", "organization", "limit", "cursor");

        v1.MapGet("/stripe/flow", async (HttpContext http) =>
            {
                var to = http.TimeParameter("to") ?? services.Clock.Now();
                var from = http.TimeParameter("from") ?? to - Duration.FromDays(30);
                if (from >= to) throw new ApiException("invalid_parameter", "'from' must be before 'to'.", "from");
                return Results.Ok(await StripeFlow.Count(services.SentRequests, services.Inbox, from, to));
            })
            .WithTags("Stripe").WithSummary("On the way to paying: checkouts started, completed and expired, payments, portals opened (?from=&to=)").Produces<FlowCounts>().TakesQuery("from", "to");

        v1.MapGet("/stripe/events/{id}", async (string id, HttpContext http) =>
                await services.Inbox.Find(id) is { } found ? Results.Ok(Of(found) with { Payload = Json(found.Payload) }) : Problems.Answer(http, "not_found", $"There is no event '{id}'."))
            .WithTags("Stripe").WithSummary("One of Stripe's events, with its body while that is kept: for 90 days").Produces<InboxEventView>();

        v1.MapPost("/stripe/events/{id}/replay", async (string id, HttpContext http) =>
            {
                using var request = await RequestBody.Read(http);
                request.As(ApiJson.Web.ReasonBody);
                return await services.StripeEvents.Replay(id) is { } replayed
                    ? Results.Ok(Of(replayed))
                    : Problems.Answer(http, "not_found", $"There is no event '{id}' with a body to replay.");
            })
            .WithTags("Stripe").WithSummary("Apply an event again: what it did already is not done twice").Accepts<ReasonBody>(true, "application/json").Produces<InboxEventView>();
    }

    private static InboxEventView Of(InboxEvent e) =>
        new(e.Id, e.Type, e.CreatedAt, e.ReceivedAt, Spelling.Of(e.State), e.Organization, e.Customer, e.Object, e.Detail, e.Attempts, e.State == InboxState.Pending && e.Attempts > 0 ? e.NextTryAt : null);

    private static JsonElement? Json(byte[]? payload)
    {
        if (payload is null) return null;
        using var document = JsonDocument.Parse(payload);
        return document.RootElement.Clone();
    }
}
