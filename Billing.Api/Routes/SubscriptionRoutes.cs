using Billing.Grains;
using Billing.Ledger;

namespace Billing.Api.Routes;

/// <summary>
/// The plan in force and the subscription behind it. With an interval it is a subscription that the ledger keeps: started, or
/// changed when there is one. Without, an operator gives a plan, which stands until a subscription gives access or its time ends.
/// </summary>
public static class SubscriptionRoutes
{
    public static void MapSubscription(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/organizations/{organization}/subscription", async (string organization, HttpContext http) =>
                await services.Host.Organization(organization).Subscription(services.Clock.Now()) is { } view ? Results.Ok(view) : OrganizationRoutes.Unknown(http, organization))
            .WithTags("Subscription").WithSummary("The plan in force, the subscription behind it, and its payments").Produces<SubscriptionView>();

        v1.MapPut("/organizations/{organization}/subscription", (string organization, HttpContext http) => Put(organization, http, services))
            .WithTags("Subscription").WithSummary("Subscribe (with an interval), change the subscription or its payment method, or set a plan as an operator")
            .Accepts<SubscriptionBody>("application/json").Produces<SubscriptionView>().Produces<Problem>(402).Produces<Problem>(403);

        v1.MapDelete("/organizations/{organization}/subscription", (string organization, HttpContext http) => Cancel(organization, http, services))
            .WithTags("Subscription").WithSummary("Cancel at the period's end, or now (?at=now), with the unused rest credited (&prorate=true)")
            .Accepts<ReasonBody>(true, "application/json").Produces<SubscriptionView>().TakesQuery("at", "prorate");

        v1.MapPost("/organizations/{organization}/subscription/preview", (string organization, HttpContext http) => Preview(organization, http, services))
            .WithTags("Subscription").WithSummary("What a change would come to: lines to the second, invoices, limits before and after")
            .Accepts<PreviewBody>("application/json").Produces<ChangePreviewView>().Produces<Problem>(402).Produces<Problem>(403).Produces<Problem>(409);

        v1.MapPost("/organizations/{organization}/subscription/reactivate", (string organization, HttpContext http) => Do(organization, "reactivate", http, services))
            .WithTags("Subscription").WithSummary("Take back a cancellation, or a change, that waits for the period's end").Accepts<ReasonBody>(true, "application/json").Produces<SubscriptionView>();

        v1.MapPost("/organizations/{organization}/subscription/pause", (string organization, HttpContext http) => Do(organization, "pause", http, services))
            .WithTags("Subscription").WithSummary("Pause: access and charges stop now, the unused rest is credited").Accepts<ReasonBody>(true, "application/json").Produces<SubscriptionView>();

        v1.MapPost("/organizations/{organization}/subscription/resume", (string organization, HttpContext http) => Do(organization, "resume", http, services))
            .WithTags("Subscription").WithSummary("Resume: a new period begins now").Accepts<ReasonBody>(true, "application/json").Produces<SubscriptionView>();

        v1.MapPost("/organizations/{organization}/payments", (string organization, HttpContext http) => Payment(organization, http, services)).OperatorOnly()
            .WithTags("Subscription").WithSummary("An attempt to pay one of our invoices succeeded or failed, as whoever collects the money says")
            .Accepts<PaymentBody>("application/json").Produces<SubscriptionView>(201);
    }

    private static async Task<IResult> Put(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.SubscriptionBody);
        if (await services.Host.Organization(organization).Subscription(services.Clock.Now()) is not { } now) return OrganizationRoutes.Unknown(http, organization);
        var (key, hash) = (http.OptionalIdempotencyKey(), request.ContentHash());
        Command command;
        try
        {
            command = ChangeOf(body, now, http, isPreview: false);
        }
        catch (ApiException) when (http.Request.Headers.ContainsKey("Idempotency-Key"))
        {
            // A repeat is what it was, also where the subscription is no longer such that it makes sense.
            var recorded = await services.Journal.FindCommands(organization, [key]);
            if (!recorded.TryGetValue(key, out var before) || !before.ContentHash.AsSpan().SequenceEqual(hash)) throw;
            http.MarkReplayed(true);
            return Results.Ok(now);
        }
        return await Answer(organization, Filled(command, key, hash, http, services), http, services);
    }

    private static async Task<IResult> Cancel(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var reason = Text.Reason(request.As(ApiJson.Web.ReasonBody).Reason);
        var (at, prorate) = (http.ChoiceParameter<ChangeTime>("at") ?? ChangeTime.PeriodEnd, http.FlagParameter("prorate"));
        if (prorate && at == ChangeTime.PeriodEnd) throw new ApiException("invalid_parameter", "At the period's end nothing is left to credit: prorate goes with at=now.", "prorate");
        // Whoever asks for another end with the same key asks for something else.
        var hash = ContentHasher.Hash(http.Request.Method, $"{http.Request.Path.Value}?at={Spelling.Of(at)}&prorate={prorate}", request.Json);
        return await Answer(organization, Filled(new CancelSubscription(at, prorate, reason) { Id = "", ContentHash = [], At = default }, http.OptionalIdempotencyKey(), hash, http, services), http, services);
    }

    private static async Task<IResult> Do(string organization, string action, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var reason = Text.Reason(request.As(ApiJson.Web.ReasonBody).Reason);
        return await Answer(organization, Filled(ActionOf(action, reason)!, http.IdempotencyKey(), request.ContentHash(), http, services), http, services);
    }

    private static async Task<IResult> Payment(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.PaymentBody);
        if (body.Invoice is not { } invoice) throw new ApiException("missing_field", "Say which invoice, by its id or number.", "invoice");
        if (body.Status is not ("paid" or "failed")) throw new ApiException(body.Status is null ? "missing_field" : "invalid_field", "Say whether it was 'paid' or 'failed'.", "status");
        if (body.Attempt is < 1 or > 1_000) throw new ApiException("invalid_field", "Attempts are counted from 1 to 1000.", "attempt");
        if (body is { Status: "paid", Attempt: not null }) throw new ApiException("invalid_field", "An attempt is counted when it failed.", "attempt");
        var command = new ReportPayment(invoice, body.Status == "paid", body.Attempt, body.At) { Id = "", ContentHash = [], At = default };
        return await Answer(organization, Filled(command, http.IdempotencyKey(), request.ContentHash(), http, services), http, services, 201);
    }

    private static async Task<IResult> Preview(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.PreviewBody);
        if (await services.Host.Organization(organization).Subscription(services.Clock.Now()) is not { } now) return OrganizationRoutes.Unknown(http, organization);
        var reason = Text.Reason(body.Reason);
        var command = body.Action switch
        {
            null or "change" => body.Prorate is null ? ChangeOf(body, now, http, isPreview: true) : throw new ApiException("invalid_field", "'prorate' goes with the action cancel; a change has 'proration'.", "prorate"),
            _ when body with { Action = null, At = null, Prorate = null, Reason = null } != new PreviewBody() => throw new ApiException("invalid_field", $"The action {body.Action} takes 'at', 'prorate' and 'reason' at most.", "action"),
            "cancel" => new CancelSubscription(Text.Choice<ChangeTime>(body.At, "at") ?? ChangeTime.PeriodEnd, body.Prorate ?? false, reason) { Id = "", ContentHash = [], At = default },
            { } action => ActionOf(action, reason) ?? throw new ApiException("invalid_field", "An action is change, cancel, pause, resume or reactivate.", "action"),
        };
        var result = await services.Host.Organization(organization).PreviewChange(Filled(command, "preview", request.ContentHash(), http, services));
        return result.Rejection is { } rejection ? Problems.Answer(http, services, organization, rejection) : Results.Ok(result.Preview);
    }

    private static Command? ActionOf(string action, string? reason) => action switch
    {
        "reactivate" => new ReactivateSubscription(reason) { Id = "", ContentHash = [], At = default },
        "pause" => new PauseSubscription(reason) { Id = "", ContentHash = [], At = default },
        "resume" => new ResumeSubscription(reason) { Id = "", ContentHash = [], At = default },
        _ => null,
    };

    /// <summary>What a body asks for, by what there is.</summary>
    private static Command ChangeOf(SubscriptionBody body, SubscriptionView now, HttpContext http, bool isPreview)
    {
        var isOperator = http.Caller().Organization is null;
        var reason = Text.Reason(body.Reason);
        var interval = Text.Choice<BillingInterval>(body.Interval, "interval");
        var at = Text.Choice<ChangeTime>(body.At, "at");
        var proration = Text.Choice<ProrationMode>(body.Proration, "proration");
        if (body.Plan is null)
        {
            if (body.PaymentMethod is not { } has) throw new ApiException("missing_field", "Say which plan. Without one, only 'payment_method' can be set.", "plan");
            if (body.Comp || interval is not null || at is not null || proration is not null || body.Trial is not null || body.Currency is not null || body.Until is not null)
                throw new ApiException("missing_field", "All of this is about a plan: say which.", "plan");
            return new SetPaymentMethod(has) { Id = "", ContentHash = [], At = default };
        }

        var changes = now.KeptBy is not null && (interval is not null || now.KeptBy == "ledger" || isPreview || !isOperator);
        if (body.Comp || (interval is null && !changes))
        {
            if (!isOperator) throw new ApiException("operator_only", "This key is for one organization. Use an operator's key. To subscribe, say the interval.");
            if (interval is not null || at is not null || proration is not null || body.Trial is not null || body.Currency is not null || body.PaymentMethod is not null)
                throw new ApiException("invalid_field", "A plan that an operator gives has a plan, 'until' and a reason. To subscribe, say the interval, without 'comp'.", body.Comp ? "comp" : "interval");
            return new SetPlan(body.Plan, reason, body.Until) { Id = "", ContentHash = [], At = default };
        }
        if (body.Until is not null) throw new ApiException("invalid_field", "Only a plan that an operator gives (\"comp\": true) has an end of its own.", "until");
        if (!changes)
        {
            if (at is not null || proration is not null) throw new ApiException("invalid_field", "A subscription starts now: 'at' and 'proration' are for changing one.", at is null ? "proration" : "at");
            return new StartSubscription(body.Plan, interval!.Value, body.Currency, body.Trial, body.PaymentMethod ?? false, reason) { Id = "", ContentHash = [], At = default };
        }
        if (body.Trial is not null) throw new ApiException("invalid_field", "A trial is for starting a subscription, not for changing one.", "trial");
        if (body.Currency is not null && body.Currency != now.Price?.Currency) throw new ApiException("invalid_field", "A subscription keeps its currency: cancel it and start another.", "currency");
        if (proration == ProrationMode.None && !isOperator) throw new ApiException("operator_only", "This key is for one organization. Use an operator's key to change a plan without proration.");
        return new ChangeSubscription(body.Plan, interval, at, proration ?? ProrationMode.NextInvoice, reason, body.PaymentMethod) { Id = "", ContentHash = [], At = default };
    }

    private static Command Filled(Command command, string id, byte[] contentHash, HttpContext http, Services services) =>
        command with { Id = id, ContentHash = contentHash, At = services.Clock.Now(), By = http.Caller().Id };

    private static async Task<IResult> Answer(string organization, Command command, HttpContext http, Services services, int status = 200)
    {
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        return Results.Json(await services.Host.Organization(organization).Subscription(services.Clock.Now()), ApiJson.Web.SubscriptionView, statusCode: status);
    }
}
