using System.Text.Json.Nodes;
using Microsoft.OpenApi;
using NodaTime;

namespace Billing.Api;

/// <summary>The OpenAPI document, generated from the routes, and Swagger UI over it.</summary>
internal static class ApiDocument
{
    public static IServiceCollection AddApiDocument(this IServiceCollection services) => services.AddOpenApi("v1", options =>
    {
        options.AddDocumentTransformer((document, _, _) =>
        {
            document.Info = new OpenApiInfo
            {
                Title = "Billing Ledger",
                Version = "v1",
                Description = "Entitlements and usage, durable and explained. Every /v1 route needs `Authorization: Bearer bk_…`; every POST that changes something needs `Idempotency-Key`. Errors are problem+json with a stable `code`; all codes are at /problems.",
            };
            document.Components ??= new OpenApiComponents();
            document.Components.SecuritySchemes ??= new Dictionary<string, IOpenApiSecurityScheme>();
            document.Components.SecuritySchemes["key"] = new OpenApiSecurityScheme { Type = SecuritySchemeType.Http, Scheme = "bearer", Description = "An API key" };
            document.Security = [new OpenApiSecurityRequirement { [new OpenApiSecuritySchemeReference("key", document)] = [] }];
            return Task.CompletedTask;
        });
        options.AddOperationTransformer((operation, context, _) =>
        {
            var path = context.Description.RelativePath ?? "";
            if (!path.StartsWith("v1", StringComparison.Ordinal)) operation.Security = [];
            if (path.StartsWith("v1/", StringComparison.Ordinal) && context.Description.HttpMethod is "POST" or "PUT" or "DELETE")
            {
                operation.Parameters ??= [];
                operation.Parameters.Add(new OpenApiParameter
                {
                    Name = "Idempotency-Key", In = ParameterLocation.Header, Required = context.Description.HttpMethod == "POST" && path.Contains("organizations", StringComparison.Ordinal),
                    Description = "One new value for each new request, the same for a repeat.", Schema = new OpenApiSchema { Type = JsonSchemaType.String },
                });
            }
            return Task.CompletedTask;
        });
        options.AddSchemaTransformer((schema, context, _) =>
        {
            if (context.JsonTypeInfo.Type != typeof(Instant) && context.JsonTypeInfo.Type != typeof(Instant?)) return Task.CompletedTask;
            schema.Type = context.JsonTypeInfo.Type == typeof(Instant?) ? JsonSchemaType.String | JsonSchemaType.Null : JsonSchemaType.String;
            schema.Format = "date-time";
            schema.Properties?.Clear();
            schema.Examples = [JsonValue.Create("2026-11-20T10:00:00Z")!];
            return Task.CompletedTask;
        });
    });

    public static void MapApiDocument(this WebApplication app)
    {
        app.MapOpenApi("/openapi/v1.json");
        app.UseSwaggerUI(ui =>
        {
            ui.RoutePrefix = "swagger";
            ui.SwaggerEndpoint("/openapi/v1.json", "Billing Ledger v1");
        });
        app.MapGet("/", () => Results.Redirect("/swagger")).ExcludeFromDescription();
    }
}
