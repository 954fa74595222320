namespace Billing.Api.Routes;

/// <summary>What is about the service itself.</summary>
public static class SystemRoutes
{
    public static void MapSystem(this WebApplication app, RouteGroupBuilder v1)
    {
        v1.MapGet("/ping", () => Answers.Json(new PongView(true, "billing-ledger"), ApiJson.Web.PongView))
            .WithTags("System").WithSummary("Whether the key is good: a constant answer, behind the same authentication as everything else").Produces<PongView>();

        app.MapGet("/health", () => TypedResults.Ok(new PongView(true, "billing-ledger")))
            .WithTags("System").WithSummary("Whether the process answers");

        app.MapGet("/problems", () => TypedResults.Ok<IReadOnlyList<ProblemTypeView>>([.. Problems.All.Select(p => new ProblemTypeView(p.Code, p.Status, p.Title))]))
            .WithTags("System").WithSummary("Every error code with its usual status");

        app.MapGet("/problems/{code}", (string code, HttpContext http) =>
                Problems.All.Where(p => p.Code == code).Select(p => Results.Ok(new ProblemTypeView(p.Code, p.Status, p.Title))).FirstOrDefault()
                ?? Problems.Answer(http, "not_found", $"There is no error code '{code}'. All of them are at /problems."))
            .WithTags("System").WithSummary("One error code").Produces<ProblemTypeView>();
    }
}
