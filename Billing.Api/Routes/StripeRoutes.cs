using Billing.Api.Stripe;
using Billing.Ledger;
using Billing.Silo;

namespace Billing.Api.Routes;

/// <summary>The webhook, and the inbox for operators.</summary>
public static class StripeRoutes
{
    public static void MapStripe(this WebApplication app, RouteGroupBuilder v1, Services services)
    {
        app.MapStripeWebhook(services);
        v1.MapReconcile(app.Services.GetRequiredService<Reconciler>());

        v1.MapGet("/stripe/events", async (HttpContext http) =>
            {
                var limit = http.LimitParameter();
                string? after = null;
                if (http.Request.Query["cursor"].FirstOrDefault() is { } cursor && !Cursor.TryRead(cursor, out after))
                    throw new ApiException("invalid_parameter", "This cursor is not one of ours. Take next_cursor from the page before.", "cursor");
                var events = await services.Inbox.List(http.ChoiceParameter<InboxState>("state"), after, limit);
                return Results.Ok(new Page<InboxEventView>([.. events.Select(Of)], events.Count == limit ? Cursor.Of(events[^1].Id) : null));
            }).OperatorOnly()
            .WithTags("Stripe").WithSummary("Stripe's events and what became of them (?state=&limit=&cursor=)").Produces<Page<InboxEventView>>().TakesQuery("state", "limit", "cursor");

        v1.MapPost("/stripe/events/{id}/replay", async (string id, HttpContext http) =>
                await services.StripeEvents.Replay(id) is { } replayed
                    ? Results.Ok(Of(replayed))
                    : Problems.Answer(http, "not_found", $"There is no event '{id}' with a body to replay.")).OperatorOnly()
            .WithTags("Stripe").WithSummary("Apply an event again: what it did already is not done twice").Produces<InboxEventView>();
    }

    private static InboxEventView Of(InboxEvent e) =>
        new(e.Id, e.Type, e.CreatedAt, e.ReceivedAt, Spelling.Of(e.State), e.Organization, e.Customer, e.Detail);
}
