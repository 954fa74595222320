using Billing.Ledger;

namespace Billing.Api.Routes;

/// <summary>What is about the service itself.</summary>
public static class SystemRoutes
{
    public static void MapSystem(this WebApplication app, RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/ping", () => Answers.Json(new PongView(true, "billing-ledger"), ApiJson.Web.PongView))
            .WithTags("System").WithSummary("Whether the key is good: a constant answer, behind the same authentication as everything else").Produces<PongView>();

        app.MapGet("/health", () => TypedResults.Ok(new PongView(true, "billing-ledger")))
            .WithTags("System").WithSummary("Whether the process answers");

        app.MapGet("/health/ready", () => Ready(services))
            .WithTags("System").WithSummary("Whether it can be used: 503 when not even checks are answered").Produces<ReadyView>().Produces<ReadyView>(503);

        app.MapGet("/problems", () => TypedResults.Ok<IReadOnlyList<ProblemTypeView>>([.. Problems.All.Select(p => new ProblemTypeView(p.Code, p.Status, p.Title))]))
            .WithTags("System").WithSummary("Every error code with its usual status");

        app.MapGet("/problems/{code}", (string code, HttpContext http) =>
                Problems.All.Where(p => p.Code == code).Select(p => Results.Ok(new ProblemTypeView(p.Code, p.Status, p.Title))).FirstOrDefault()
                ?? Problems.Answer(http, "not_found", $"There is no error code '{code}'. All of them are at /problems."))
            .WithTags("System").WithSummary("One error code").Produces<ProblemTypeView>();
    }

    /// <summary>While checks are still answered, a load balancer that took the service away would make the outage worse.</summary>
    private static IResult Ready(Services services)
    {
        var health = services.Health;
        if (health.Since is not { } since) return Answers.Json(new ReadyView("ready", "available"), ApiJson.Web.ReadyView);
        var answers = health.MayAnswer && services.Catalogs.Current.OnJournalOutage == OnJournalOutage.Answer;
        return Answers.Json(new ReadyView(answers ? "checks_only" : "unavailable", "unavailable", since), ApiJson.Web.ReadyView, answers ? 200 : 503);
    }
}
