using System.ComponentModel.DataAnnotations;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.OpenApi;
using NodaTime;

namespace Billing.Api;

/// <summary>The OpenAPI document, generated from the routes, and Swagger UI over it.</summary>
internal static class ApiDocument
{
    private sealed record QueryNames(string[] Names);

    /// <summary>Every query parameter that some route reads. What is behind a bar tells those of one name apart.</summary>
    private static readonly Dictionary<string, (string Description, OpenApiSchema Schema)> Query = new()
    {
        ["limit"] = ($"How many at most: 1 to {RequestExtensions.MaxPageSize}; 100 without one.", new OpenApiSchema { Type = JsonSchemaType.Integer }),
        ["cursor"] = ("next_cursor of the page before.", new OpenApiSchema { Type = JsonSchemaType.String }),
        ["quantity"] = ("In whole units; one unit without it.", new OpenApiSchema { Type = JsonSchemaType.Number }),
        ["feature"] = ("A feature's id.", new OpenApiSchema { Type = JsonSchemaType.String }),
        ["from"] = ("The first instant of it; 30 days before its end without one.", new OpenApiSchema { Type = JsonSchemaType.String, Format = "date-time" }),
        ["to"] = ("The first instant after it; now without one.", new OpenApiSchema { Type = JsonSchemaType.String, Format = "date-time" }),
        ["bucket"] = ("hour, day (without one) or month.", new OpenApiSchema { Type = JsonSchemaType.String, Enum = ["hour", "day", "month"] }),
        ["after"] = ("The version after which to begin.", new OpenApiSchema { Type = JsonSchemaType.Integer }),
        ["type"] = ("An event type such as usage-recorded.", new OpenApiSchema { Type = JsonSchemaType.String }),
        ["status"] = ("draft, open, paid, void or uncollectible.", new OpenApiSchema { Type = JsonSchemaType.String, Enum = ["draft", "open", "paid", "void", "uncollectible"] }),
        ["at|moment"] = ("The moment; now without one.", new OpenApiSchema { Type = JsonSchemaType.String, Format = "date-time" }),
        ["at"] = ("now, or period_end (without one).", new OpenApiSchema { Type = JsonSchemaType.String, Enum = ["now", "period_end"] }),
        ["prorate"] = ("With at=now: whether the unused rest is credited.", new OpenApiSchema { Type = JsonSchemaType.Boolean }),
        ["dry_run"] = ("Whether to show what would be done, and do nothing.", new OpenApiSchema { Type = JsonSchemaType.Boolean }),
        ["organization"] = ("Only those of this organization.", new OpenApiSchema { Type = JsonSchemaType.String }),
        ["caller"] = ("Only what this caller did: a key's id.", new OpenApiSchema { Type = JsonSchemaType.String }),
        ["what"] = ("Only this.", new OpenApiSchema { Type = JsonSchemaType.String, Enum = [.. AuditedRoutes.Names] }),
        ["from|record"] = ("The first instant of it.", new OpenApiSchema { Type = JsonSchemaType.String, Format = "date-time" }),
        ["to|record"] = ("The first instant after it.", new OpenApiSchema { Type = JsonSchemaType.String, Format = "date-time" }),
        ["state"] = ("pending, applied, ignored, unclaimed or failed.", new OpenApiSchema { Type = JsonSchemaType.String, Enum = ["pending", "applied", "ignored", "unclaimed", "failed"] }),
    };

    /// <summary>The route reads these query parameters.</summary>
    public static RouteHandlerBuilder TakesQuery(this RouteHandlerBuilder route, params string[] names) => route.WithMetadata(new QueryNames(names));

    public static IServiceCollection AddApiDocument(this IServiceCollection services) => services.AddOpenApi("v1", options =>
    {
        options.AddDocumentTransformer((document, _, _) =>
        {
            document.Info = new OpenApiInfo
            {
                Title = "Billing Ledger",
                Version = "v1",
                Description = "Entitlements and usage, durable and explained. Every /v1 route needs `Authorization: Bearer …` with an API key (`bk_…`), a browser token (`bt_…`) or a JSON web token of a configured issuer; every POST that changes something needs `Idempotency-Key`. Errors are problem+json with a stable `code`; all codes are at /problems.",
            };
            document.Components ??= new OpenApiComponents();
            document.Components.SecuritySchemes ??= new Dictionary<string, IOpenApiSecurityScheme>();
            document.Components.SecuritySchemes["key"] = new OpenApiSecurityScheme { Type = SecuritySchemeType.Http, Scheme = "bearer", Description = "An API key, a browser token, or a JSON web token of a configured issuer" };
            document.Security = [new OpenApiSecurityRequirement { [new OpenApiSecuritySchemeReference("key", document)] = [] }];
            return Task.CompletedTask;
        });
        options.AddOperationTransformer((operation, context, _) =>
        {
            var path = context.Description.RelativePath ?? "";
            var metadata = context.Description.ActionDescriptor.EndpointMetadata;
            if (!path.StartsWith("v1", StringComparison.Ordinal)) operation.Security = [];
            operation.Parameters ??= [];
            foreach (var name in metadata.OfType<QueryNames>().SelectMany(q => q.Names))
                operation.Parameters.Add(new OpenApiParameter { Name = name.Split('|')[0], In = ParameterLocation.Query, Description = Query[name].Description, Schema = Query[name].Schema });
            if (ChangesAnOrganization(path, context.Description.HttpMethod))
                operation.Parameters.Add(new OpenApiParameter
                {
                    Name = "Idempotency-Key", In = ParameterLocation.Header, Required = context.Description.HttpMethod == "POST",
                    Description = "One new value for each new request, the same for a repeat.", Schema = new OpenApiSchema { Type = JsonSchemaType.String },
                });
            AddProblems(operation, context, path, metadata);
            return Task.CompletedTask;
        });
        options.AddSchemaTransformer((schema, context, _) =>
        {
            var type = Nullable.GetUnderlyingType(context.JsonTypeInfo.Type) ?? context.JsonTypeInfo.Type;
            // What has a converter of its own is written as the converter says.
            if (type == typeof(decimal)) schema.Type ??= JsonSchemaType.Number;
            if (type == typeof(Instant))
            {
                schema.Type = context.JsonTypeInfo.Type == typeof(Instant?) ? JsonSchemaType.String | JsonSchemaType.Null : JsonSchemaType.String;
                schema.Format = "date-time";
                schema.Properties?.Clear();
                schema.Examples = [JsonValue.Create("2026-11-20T10:00:00Z")!];
            }
            foreach (var property in context.JsonTypeInfo.Properties.Where(p => !IsRequired(p, isBody: type.Name.EndsWith("Body", StringComparison.Ordinal))))
                schema.Required?.Remove(property.Name);
            return Task.CompletedTask;
        });
    });

    public static void MapApiDocument(this WebApplication app)
    {
        app.MapOpenApi("/openapi/v1.json");
        // Only its own requests pass through it: it looks at every path with a regular expression.
        app.UseWhen(http => http.Request.Path.StartsWithSegments("/swagger"), swagger => swagger.UseSwaggerUI(ui =>
        {
            ui.RoutePrefix = "swagger";
            ui.SwaggerEndpoint("/openapi/v1.json", "Billing Ledger v1");
        }));
        app.MapGet("/", () => Results.Redirect("/swagger")).ExcludeFromDescription();
    }

    /// <summary>A check or a preview is a POST because it has a body; it changes nothing.</summary>
    private static bool ChangesAnOrganization(string path, string? method) =>
        method is "POST" or "PUT" or "DELETE" && path.StartsWith("v1/organizations", StringComparison.Ordinal) && !path.EndsWith("/check", StringComparison.Ordinal) && !path.EndsWith("/preview", StringComparison.Ordinal)
        || path == "v1/catalog/moves";

    /// <summary>What every route of a kind may refuse, beside what it names itself.</summary>
    private static void AddProblems(OpenApiOperation operation, OpenApiOperationTransformerContext context, string path, IList<object> metadata)
    {
        var isOfOrganization = path.Contains("{organization}", StringComparison.Ordinal);
        var takesBody = context.Description.SupportedRequestFormats.Count > 0;
        var changes = ChangesAnOrganization(path, context.Description.HttpMethod);
        operation.Responses ??= [];
        if (path.StartsWith("v1", StringComparison.Ordinal)) Add(401);
        if (metadata.IsOperatorOnly()) Add(403);
        if (takesBody || isOfOrganization || metadata.OfType<QueryNames>().Any()) Add(400);
        if (takesBody) Add(413, 415);
        if (path.Contains('{')) Add(404);
        if (changes) Add(404, 409, 503);
        if (path == "v1/catalog/push") Add(502, 503);
        if (changes && isOfOrganization) Add(410);
        foreach (var (status, response) in operation.Responses)
            if (status[0] is '4' or '5' && response is OpenApiResponse refusal)
                refusal.Content = new Dictionary<string, OpenApiMediaType> { ["application/problem+json"] = new() { Schema = new OpenApiSchemaReference(nameof(Problem), context.Document) } };

        void Add(params ReadOnlySpan<int> statuses)
        {
            foreach (var status in statuses) operation.Responses.TryAdd(status.ToString(), new OpenApiResponse { Description = ReasonPhrases.GetReasonPhrase(status) });
        }
    }

    /// <summary>Answers leave out what is null where they say so; bodies need what is marked as required, because the API itself says what is missing.</summary>
    private static bool IsRequired(JsonPropertyInfo property, bool isBody) => isBody
        ? property.AttributeProvider?.IsDefined(typeof(RequiredAttribute), true) == true
        : property.AttributeProvider?.IsDefined(typeof(JsonIgnoreAttribute), true) != true;
}
