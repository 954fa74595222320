using Billing.Silo;

namespace Billing.Api.Routes;

/// <summary>The flags, for operators. What an organization sees of them is in GET /v1/config.</summary>
public static class FlagRoutes
{
    public static void MapFlags(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/flags", () => TypedResults.Ok(services.Flags.All))
            .WithTags("System").WithSummary("The flags, each with the percentage of the organizations that it is on for");

        v1.MapPut("/flags/{name}", (string name, HttpContext http) => Set(name, http, services))
            .WithTags("System").WithSummary("Set a flag: on, or for a percentage of the organizations; in force in every process within 5 seconds")
            .Accepts<FlagBody>("application/json").Produces<FlagView>();
    }

    private static async Task<IResult> Set(string name, HttpContext http, Services services)
    {
        if (!Flags.Names.Contains(name)) return Problems.Answer(http, "not_found", $"There is no flag '{name}'. There are: {string.Join(", ", Flags.Names)}.");
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.FlagBody);
        var percent = (body.Percent, body.On) switch
        {
            ({ } p and >= 0 and <= 100, null) => p,
            ({ }, null) => throw new ApiException("invalid_field", "A percentage is a whole number from 0 to 100.", "percent"),
            (null, { } on) => on ? 100 : 0,
            (null, null) => throw new ApiException("missing_field", "Say on (true or false), or percent (0 to 100).", "percent"),
            _ => throw new ApiException("invalid_field", "Say on or percent, not both.", "on"),
        };
        return Results.Ok(await services.Flags.Set(new StoredFlag(name, percent, services.Clock.Now(), http.Caller().Id)));
    }
}
