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
        var (health, engine) = (services.Health, services.Host.Engine);
        var journal = health.Since is null ? "available" : "unavailable";
        // Without a silo nothing is answered, whatever the journal does.
        if (engine.Silos == 0) return Answers.Json(new ReadyView("unavailable", journal, engine, health.Since), ApiJson.Web.ReadyView, 503);
        if (health.Since is null) return Answers.Json(new ReadyView("ready", journal, engine), ApiJson.Web.ReadyView);
        var answers = health.MayAnswer && services.Catalogs.Current.OnJournalOutage == OnJournalOutage.Answer;
        return Answers.Json(new ReadyView(answers ? "checks_only" : "unavailable", journal, engine, health.Since), ApiJson.Web.ReadyView, answers ? 200 : 503);
    }
}
