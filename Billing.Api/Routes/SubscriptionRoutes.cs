using System.Text.Json;
using Billing.Api.Stripe;
using Billing.Grains;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Api.Routes;

/// <summary>
/// The plan in force and the subscription behind it. With an interval it is a subscription: started, or changed when there is one, by
/// whoever keeps it: Stripe, where one is started with a payment method's id or by the organization itself, or else the ledger.
/// Without, an operator gives a plan, which stands until a subscription gives access or its time ends.
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

        v1.MapPost("/organizations/{organization}/payments", (string organization, HttpContext http) => Payment(organization, http, services))
            .WithTags("Subscription").WithSummary("An attempt to pay one of our invoices succeeded or failed, as whoever collects the money says")
            .Accepts<PaymentBody>("application/json").Produces<SubscriptionView>(201);
    }

    private static async Task<IResult> Put(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.SubscriptionBody);
        if (await services.Host.Organization(organization).Subscription(services.Clock.Now()) is not { } now) return OrganizationRoutes.Unknown(http, organization);
        if (body.PaymentMethod?.Id is not null) _ = services.Stripe;
        // From when a change is prorated is a preview's, or an operator's: else a customer would get back what it has used.
        if (body.ProrationDate is { } from && http.Caller().Organization is not null && (from < services.Clock.Now() - Duration.FromHours(1) || from > services.Clock.Now() + Duration.FromMinutes(5)))
            throw new ApiException("invalid_field", "Take the proration_date of a preview of this hour.", "proration_date");
        if (IsAtStripe(body, now, http, services)) return await AtStripe(organization, http, services, request.ContentHash(), takesMoney: body.Plan is not null, isNew: body.PaymentMethod?.Id is not null, (to, view, started) => PutAtStripe(to, body, view, started, http));
        if (body.PaymentMethod?.Id is not null && now.KeptBy == "ledger") throw new ApiException("invalid_field", "The ledger keeps this subscription and charges nothing itself: say true or false.", "payment_method");
        if (body.Quantity is not null || body.ProrationDate is not null) throw new ApiException("invalid_field", "Only a subscription at Stripe has this.", body.Quantity is null ? "proration_date" : "quantity");
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

    /// <summary>Whether Stripe keeps what this is about, or is to keep what it starts.</summary>
    private static bool IsAtStripe(SubscriptionBody body, SubscriptionView now, HttpContext http, Services services)
    {
        if (services.StripeOrNull is null || body.Comp) return false;
        var isOperator = http.Caller().Scopes.HasFlag(Scopes.Ops);
        return now.KeptBy switch
        {
            "stripe" => body.Plan is null || IntervalOf(body) is not null || !isOperator,
            null => body.PaymentMethod?.Id is not null || (!isOperator && body.Plan is not null && IntervalOf(body) is not null),
            _ => false,
        };
    }

    private static async Task<StripeOutcome> PutAtStripe(StripeSubscriptions to, SubscriptionBody body, SubscriptionView now, bool started, HttpContext http)
    {
        if (body.Quantity is < 1 or > 1_000_000) throw new ApiException("invalid_field", "A quantity is from 1 to 1000000.", "quantity");
        // A repeat of what started it is that, also where the event of it has come since.
        return ChangeOf(body, started ? now with { KeptBy = null } : now, http, isPreview: false) switch
        {
            StartSubscription start => await to.Start(start, body.PaymentMethod?.Id, body.Quantity),
            ChangeSubscription change => await to.Change(now, change, body.PaymentMethod?.Id, body.Quantity, body.ProrationDate),
            SetPaymentMethod when now.KeptBy is null => new(default, Rejections.NoSubscription()),
            SetPaymentMethod when body.PaymentMethod?.Id is { } method => await to.SetPaymentMethod(now.Id!, method),
            _ => throw new ApiException("invalid_field", "At Stripe a payment method is named by its id, such as pm_1Abc.", "payment_method"),
        };
    }

    /// <summary>Carries a command out at Stripe, once for each id, and answers the subscription as the ledger has it then.</summary>
    /// <param name="takesMoney">Then the caller must make the id: a repeat that is taken for something new would be charged again.</param>
    private static async Task<IResult> AtStripe(
        string organization, HttpContext http, Services services, byte[] hash, bool takesMoney, bool isNew, Func<StripeSubscriptions, SubscriptionView, bool, Task<StripeOutcome>> act)
    {
        var ledger = services.Host.Organization(organization);
        // What is asked for of this state of the organization is the same command; after a change it is another.
        var id = takesMoney || http.Request.Headers.ContainsKey("Idempotency-Key") ? http.IdempotencyKey()
            // What was asked for before may be wanted again: another card in between, or money on the same one by now.
            : isNew ? http.OptionalIdempotencyKey()
            : $"ledger:{Convert.ToHexStringLower(hash)}:{(await ledger.Read(services.Clock.Now()))?.Version}";
        var command = new StripeCommand(services, organization, id, $"{http.Request.Method} {http.Request.Path}", hash);
        await using var turn = await command.Turn(http.RequestAborted);
        var (wasDone, reused) = await command.Look();
        if (reused is not null) return Problems.Answer(http, services, organization, reused);
        var asked = services.Clock.Now();
        var view = await ledger.Subscription(asked);
        JsonElement? subscription = null;
        string? next = null;
        if (wasDone)
        {
            http.MarkReplayed(true);
            if (view is { KeptBy: "stripe", Id: { } own }) subscription = await services.Stripe.Find(StripeRequests.Subscription(own));
        }
        else
        {
            var done = false;
            try
            {
                var outcome = await act(new StripeSubscriptions(services, command), view!, await command.Before("subscribe") is not null);
                if (outcome.Rejection is { } refused) return Problems.Answer(http, services, organization, refused);
                (subscription, next) = (outcome.Subscription, outcome.Next);
                if (await services.StripeEvents.Follow(organization, outcome.Subscription, asked) is { } failure) throw new ApiException("stripe_refused", $"It was done at Stripe, and cannot be followed: {failure}");
                FaultPoints.Reach("subscription:followed");
                await command.Done(outcome.Subscription.Text("id"));
                done = true;
            }
            catch (StripeException e) when (e.IsPassing || e.IsDeclined || e.Code == "outcome_unknown")
            {
                // Refused for good or perhaps done: either way a repeat is the same command.
                done = true;
                throw;
            }
            finally
            {
                if (!done) await command.Forget();
            }
            view = await ledger.Subscription(services.Clock.Now());
        }
        var (needs, secret) = subscription is { } known ? StripeSubscriptions.NextOf(known) : default;
        return Results.Json(view! with { Next = needs ?? next ?? view.Next, ClientSecret = secret }, ApiJson.Web.SubscriptionView);
    }

    private static async Task<bool> IsKeptAtStripe(string organization, Services services) =>
        services.StripeOrNull is not null && await services.Host.Organization(organization).Subscription(services.Clock.Now()) is { KeptBy: "stripe" };

    private static async Task<IResult> Cancel(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var reason = Text.Reason(request.As(ApiJson.Web.ReasonBody).Reason);
        var (at, prorate) = (http.ChoiceParameter<ChangeTime>("at") ?? ChangeTime.PeriodEnd, http.FlagParameter("prorate"));
        if (prorate && at == ChangeTime.PeriodEnd) throw new ApiException("invalid_parameter", "At the period's end nothing is left to credit: prorate goes with at=now.", "prorate");
        // Whoever asks for another end with the same key asks for something else.
        var hash = ContentHasher.Hash(http.Request.Method, $"{http.Request.Path.Value}?at={Spelling.Of(at)}&prorate={prorate}", request.Json);
        if (await IsKeptAtStripe(organization, services))
            return await AtStripe(organization, http, services, hash, takesMoney: false, isNew: false, (to, view, _) => to.Cancel(view, new CancelSubscription(at, prorate, reason) { Id = "", ContentHash = [], At = default }));
        return await Answer(organization, Filled(new CancelSubscription(at, prorate, reason) { Id = "", ContentHash = [], At = default }, http.OptionalIdempotencyKey(), hash, http, services), http, services);
    }

    private static async Task<IResult> Do(string organization, string action, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var reason = Text.Reason(request.As(ApiJson.Web.ReasonBody).Reason);
        if (await IsKeptAtStripe(organization, services))
            return await AtStripe(organization, http, services, request.ContentHash(), takesMoney: true, isNew: false, (to, view, _) => ActionOf(action, reason) switch
            {
                ReactivateSubscription reactivate => to.Reactivate(view, reactivate),
                PauseSubscription pause => to.Pause(view, pause),
                var resume => to.Resume(view, (ResumeSubscription)resume!),
            });
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
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        if (services.StripeOrNull is null || now.KeptBy != "stripe" || command is not ChangeSubscription change) return Results.Ok(result.Preview);
        var id = $"ledger:preview:{Convert.ToHexStringLower(request.ContentHash())}:{services.Clock.Now().ToUnixTimeTicks()}";
        return Results.Ok(await new StripeSubscriptions(services, new StripeCommand(services, organization, id, "", [])).Preview(now, change, result.Preview!, body.Quantity));
    }

    private static Command? ActionOf(string action, string? reason) => action switch
    {
        "reactivate" => new ReactivateSubscription(reason) { Id = "", ContentHash = [], At = default },
        "pause" => new PauseSubscription(reason) { Id = "", ContentHash = [], At = default },
        "resume" => new ResumeSubscription(reason) { Id = "", ContentHash = [], At = default },
        _ => null,
    };

    private static BillingInterval? IntervalOf(SubscriptionBody body)
    {
        BillingInterval? each = body.BillingPeriod switch
        {
            null => null,
            "monthly" => BillingInterval.Month,
            "quarterly" => BillingInterval.Quarter,
            "yearly" => BillingInterval.Year,
            _ => throw new ApiException("invalid_field", "A billing period is monthly, quarterly or yearly.", "billing_period"),
        };
        var interval = Text.Choice<BillingInterval>(body.Interval, "interval");
        return interval is not null && each is not null && interval != each ? throw new ApiException("invalid_field", "The interval is another one: say one of them.", "billing_period") : interval ?? each;
    }

    /// <summary>What a body asks for, by what there is.</summary>
    private static Command ChangeOf(SubscriptionBody body, SubscriptionView now, HttpContext http, bool isPreview)
    {
        var isOperator = http.Caller().Scopes.HasFlag(Scopes.Ops);
        var reason = Text.Reason(body.Reason);
        var interval = IntervalOf(body);
        var at = Text.Choice<ChangeTime>(body.At, "at");
        var proration = Text.Choice<ProrationMode>(body.Proration, "proration");
        if (body.Plan is null)
        {
            if (body.PaymentMethod is not { } has) throw new ApiException("missing_field", "Say which plan. Without one, only 'payment_method' can be set.", "plan");
            if (body.Comp || interval is not null || at is not null || proration is not null || body.Trial is not null || body.Currency is not null || body.Until is not null)
                throw new ApiException("missing_field", "All of this is about a plan: say which.", "plan");
            return new SetPaymentMethod(has.Has) { Id = "", ContentHash = [], At = default };
        }

        var changes = now.KeptBy is not null && (interval is not null || now.KeptBy == "ledger" || isPreview || !isOperator);
        if (body.Comp || (interval is null && !changes))
        {
            if (!isOperator) throw new ApiException("operator_only", $"{NoOperator(http)} Use an operator's key. To subscribe, say the interval.");
            if (interval is not null || at is not null || proration is not null || body.Trial is not null || body.Currency is not null || body.PaymentMethod is not null)
                throw new ApiException("invalid_field", "A plan that an operator gives has a plan, 'until' and a reason. To subscribe, say the interval, without 'comp'.", body.Comp ? "comp" : "interval");
            return new SetPlan(body.Plan, isPreview ? reason : Text.StatedReason(reason), body.Until) { Id = "", ContentHash = [], At = default };
        }
        if (body.Until is not null) throw new ApiException("invalid_field", "Only a plan that an operator gives (\"comp\": true) has an end of its own.", "until");
        if (!changes)
        {
            if (at is not null || proration is not null) throw new ApiException("invalid_field", "A subscription starts now: 'at' and 'proration' are for changing one.", at is null ? "proration" : "at");
            return new StartSubscription(body.Plan, interval!.Value, body.Currency, body.Trial, body.PaymentMethod?.Has ?? false, reason) { Id = "", ContentHash = [], At = default };
        }
        if (body.Trial is not null) throw new ApiException("invalid_field", "A trial is for starting a subscription, not for changing one.", "trial");
        if (body.Currency is not null && body.Currency != now.Price?.Currency) throw new ApiException("invalid_field", "A subscription keeps its currency: cancel it and start another.", "currency");
        if (proration == ProrationMode.None && !isOperator) throw new ApiException("operator_only", $"{NoOperator(http)} Use an operator's key to change a plan without proration.");
        return new ChangeSubscription(body.Plan, interval, at, proration ?? ProrationMode.NextInvoice, reason, body.PaymentMethod?.Has) { Id = "", ContentHash = [], At = default };
    }

    private static string NoOperator(HttpContext http) => http.Caller().Organization is null ? "This caller does not have ops." : "This key is for one organization.";

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
