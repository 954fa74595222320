using System.Diagnostics;
using System.Text.Json;
using Billing.Api.Routes;
using Billing.Grains;
using Billing.Ledger;
using Billing.Silo;

namespace Billing.Api;

/// <summary>
/// The one place that records what operators do. It stands around every route of <see cref="AuditedRoutes"/>: notes that something is begun
/// before the route runs, and records what became of it before the answer is sent.
/// </summary>
public static class Auditing
{
    public static RouteGroupBuilder WithAudit(this RouteGroupBuilder group, Services services)
    {
        ((IEndpointConventionBuilder)group).Add(endpoint =>
        {
            if (endpoint is RouteEndpointBuilder route && AuditedRoutes.NameOf(RouteScopes.KeyOf(route.Metadata, route.RoutePattern.RawText)) is { } what)
                endpoint.FilterFactories.Add((_, next) => invocation => Recorded(what, invocation, next, services));
        });
        return group;
    }

    private static async ValueTask<object?> Recorded(string what, EndpointFilterInvocationContext invocation, EndpointFilterDelegate next, Services services)
    {
        var http = invocation.HttpContext;
        // What customers and their apps do themselves is in the ledger, with the key's id.
        if (!http.Caller().Scopes.HasFlag(Scopes.Ops)) return await next(invocation);
        using var body = await RequestBody.Read(http);
        http.Features.Set(body);
        if (ChangesNothing(what, http, body.Json)) return await next(invocation);
        if (services.Health.IsOut) throw new JournalUnavailableException();

        var entry = await Entry(what, http, body.Json, services);
        http.Response.Headers["Request-Id"] = entry.Request;
        await services.Audit.Begin(entry);
        object? result;
        try
        {
            result = await next(invocation);
        }
        catch (Exception e)
        {
            var (status, code) = Problems.Of(e);
            try
            {
                await End(status, code, null);
            }
            catch (Exception again) when (Problems.Of(again).Code == "journal_unavailable")
            {
                // It stays noted as begun. What is told is what happened first.
            }
            throw;
        }
        var value = (result as IValueHttpResult)?.Value;
        await End((result as IStatusCodeHttpResult)?.StatusCode ?? 200, (value as Problem)?.Code, value);
        return result;

        Task End(int status, string? code, object? view) => status switch
        {
            // It could not be read, or makes no sense: nothing was asked for.
            400 or 413 or 415 => services.Audit.Drop(entry),
            < 400 => services.Audit.End(
                entry, http.Response.Headers.ContainsKey("Idempotency-Replayed") ? AuditOutcome.Repeated : AuditOutcome.Done, null, AuditViews.Json(view), services.Clock.Now()),
            _ => services.Audit.End(entry, status < 500 ? AuditOutcome.Refused : AuditOutcome.Failed, code, null, services.Clock.Now()),
        };
    }

    /// <summary>It only looks. As soon as that is not plain, it is taken for a change.</summary>
    private static bool ChangesNothing(string what, HttpContext http, JsonElement body) => what switch
    {
        "reconcile.repair" => !body.TryGetProperty("repair", out var repair) || repair.ValueKind == JsonValueKind.False,
        "catalog.move" => body.TryGetProperty("dry_run", out var dry) && dry.ValueKind == JsonValueKind.True,
        "catalog.push" => http.Request.Query["dry_run"].FirstOrDefault() == "true",
        _ => false,
    };

    private static async Task<AuditEntry> Entry(string what, HttpContext http, JsonElement body, Services services)
    {
        var (caller, values) = (http.Caller(), http.Request.RouteValues);
        var before = await AuditViews.Before(what, http, services);
        var organization = values["organization"] as string ?? AuditViews.OrganizationOf(before) ?? new[] { Said(body, "organization"), what == "organization.open" ? Said(body, "id") : null }.FirstOrDefault(id => id is not null && Ids.IsOrganization(id));
        var about = (values["feature"] ?? values["invoice"] ?? values["name"] ?? values["id"]) as string;
        var key = http.Request.Headers["Idempotency-Key"].FirstOrDefault();
        return new AuditEntry(
            Guid.NewGuid().ToString("N"), services.Clock.Now(), caller.Id, caller.Name, what, organization, Plain(about), Text.Reason(Said(body, "reason")), AuditViews.Json(before),
            Activity.Current?.TraceId.ToString() ?? http.TraceIdentifier, Plain(key));
    }

    private static string? Said(JsonElement body, string name) => body.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    /// <summary>What callers name things by; null where somebody put a key there.</summary>
    private static string? Plain(string? text) =>
        text is { Length: > 0 and <= Ids.MaxCommandIdLength } && !text.AsSpan().ContainsAnyExceptInRange('!', '~') && !text.Contains("bk_", StringComparison.OrdinalIgnoreCase) ? text : null;
}
