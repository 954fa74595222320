using Billing.Ledger;
using Billing.Silo;

namespace Billing.Api.Routes;

/// <summary>API keys, by operators.</summary>
public static class KeyRoutes
{
    public static void MapKeys(this RouteGroupBuilder v1, Services services)
    {
        v1.MapPost("/api-keys", async (HttpContext http) =>
            {
                using var request = await RequestBody.Read(http);
                var body = request.As(ApiJson.Web.ApiKeyBody);
                if (body.Name is not { Length: > 0 and <= 100 } name) throw new ApiException("missing_field", "Name the key, in 1 to 100 characters.", "name");
                if (body.Organization is { } organization && await services.Host.Organization(organization).Read(services.Clock.Now()) is null)
                    return Problems.Answer(Problems.Of(http, Rejections.OrganizationUnknown(organization), null));
                var (key, kept) = await services.Keys.Create(name, body.Organization, body.Test, services.Clock.Now());
                return Answers.Json(new NewApiKeyView(key, Of(kept)), ApiJson.Web.NewApiKeyView, 201);
            }).OperatorOnly()
            .WithTags("API keys").WithSummary("Make a key, for one organization or for all").Accepts<ApiKeyBody>("application/json").Produces<NewApiKeyView>(201);

        v1.MapGet("/api-keys", () => Results.Ok(new Page<ApiKeyView>([.. services.Keys.List().Select(Of)], null))).OperatorOnly()
            .WithTags("API keys").WithSummary("The keys, as far as they may be shown").Produces<Page<ApiKeyView>>();

        v1.MapDelete("/api-keys/{id}", async (string id, HttpContext http) =>
                await services.Keys.Revoke(id, services.Clock.Now()) ? Results.NoContent() : Problems.Answer(http, "not_found", $"There is no key '{id}' to revoke.")).OperatorOnly()
            .WithTags("API keys").WithSummary("Revoke a key").Produces(204);
    }

    private static ApiKeyView Of(ApiKey key) => new(key.Id, key.Name, key.Organization, key.Display, key.CreatedAt);
}
