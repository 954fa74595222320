using Billing.Api.Stripe;

namespace Billing.Api.Routes;

/// <summary>Money that operators give back at Stripe, within the policy that the settings state. The ledger follows when Stripe says that it went back.</summary>
public static class RefundRoutes
{
    public static void MapRefunds(this RouteGroupBuilder v1, Services services)
    {
        v1.MapPost("/organizations/{organization}/refunds", (string organization, HttpContext http) => Create(organization, http, services))
            .WithTags("Subscription").WithSummary("Give a payment back, or a part of it, at Stripe").Accepts<RefundBody>("application/json").Produces<RefundView>(201).Produces<Problem>(404).Produces<Problem>(409);

        v1.MapGet("/organizations/{organization}/refunds", (string organization, HttpContext http) => List(organization, http, services))
            .WithTags("Subscription").WithSummary("What was given back, newest first, as Stripe says it is now").Produces<RefundsView>().TakesQuery("limit");
    }

    private static async Task<IResult> Create(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.RefundBody);
        if ((body.Payment is null) == (body.Invoice is null)) throw new ApiException("missing_field", "Say either the payment (pi_…) or the invoice (in_…).", "payment");
        if (body.Amount is < 1) throw new ApiException("invalid_field", "An amount is minor units, more than 0.", "amount");
        var reason = Text.StatedReason(body.Reason);
        if (await services.Host.Organization(organization).Read(services.Clock.Now()) is null) return OrganizationRoutes.Unknown(http, organization);
        var command = new StripeCommand(services, organization, http.IdempotencyKey(), $"{http.Request.Method} {http.Request.Path}", request.ContentHash());
        await using var turn = await command.Turn(http.RequestAborted);
        var (wasDone, reused) = await command.Look();
        if (reused is not null) return Problems.Answer(http, services, organization, reused);

        var send = await command.Before("refund");
        if (send is null)
        {
            var payment = await StripeRefunds.Payment(organization, body, services);
            StripeRefunds.CheckPolicy(payment, body, services);
            send = StripeRequests.CreateRefund(organization, command.Key("refund"), StripeRefunds.IdOf(payment)!, body.Amount, reason);
            await command.Begin();
        }
        http.MarkReplayed(wasDone);
        try
        {
            var made = await services.Stripe.Send(send);
            await command.Done(StripeRefunds.IdOf(made));
            return Results.Json(StripeRefunds.ViewOf(made, services.Clock.Now()), ApiJson.Web.RefundView, statusCode: 201);
        }
        catch (StripeException e) when (!e.IsPassing && e.Code != "outcome_unknown")
        {
            await command.Forget();
            throw;
        }
    }

    private static async Task<IResult> List(string organization, HttpContext http, Services services) =>
        Results.Json(new RefundsView(await StripeRefunds.List(organization, http.LimitParameter(20), services)), ApiJson.Web.RefundsView);
}
