using System.Text;
using Billing.Grains;
using Billing.Silo;
using Orleans.Dashboard;

namespace Billing.Api;

/// <summary>The Orleans engine: every organization is a grain, in a silo within this process or in others. The other engine is in the folder Embedded.</summary>
internal static class Engine
{
    private const string Dashboard = "/dashboard";

    /// <returns>Where organizations are found.</returns>
    public static ILedgerHost AddEngine(this WebApplicationBuilder builder, LedgerParts ledger)
    {
        builder.Configuration.QuietByDefault();
        var cluster = ClusterSettings.Read(builder.Configuration, ledger.Settings);
        var patience = SiloSetup.Patience(ledger.Settings);
        OrleansHost host;
        if (cluster.IsClient)
        {
            host = new OrleansHost(patience, isOutside: true) { Closing = () => ledger.Snapshots?.DisposeAsync() ?? ValueTask.CompletedTask };
            builder.AddConnection(host, client => client.AddLedger(ledger, cluster).AddDashboard());
        }
        else
        {
            var inside = ledger.NewHost();
            var here = new OrganizationsHere();
            builder.Services.AddSingleton(here);
            host = new OrleansHost(patience, here: here) { Closing = inside.DisposeAsync };
            builder.UseOrleans(silo => silo.AddLedger(ledger, inside, cluster).AddDashboard());
        }
        builder.Services.AddSingleton(host).AddHostedService<ClusterWatch>();
        return host;
    }

    /// <summary>The Orleans dashboard, for operators.</summary>
    public static void MapEngine(this WebApplication app, ILedgerHost host, ApiKeys keys, Clock clock)
    {
        var silos = (OrleansHost)host;
        if (app.Services.GetService<SiloConnection>() is null) silos.Attach(app.Services.GetRequiredService<IGrainFactory>());
        app.MapOrleansDashboard(Dashboard).ExcludeFromDescription().AddEndpointFilter(async (context, next) =>
        {
            if (IsOperator(context.HttpContext.Request.Headers.Authorization, keys, clock))
                return silos.IsAttached ? await next(context) : Problems.Answer(context.HttpContext, "journal_unavailable", "The service is not connected to its silos yet.");
            // Browsers ask for it, and send it with everything behind it.
            context.HttpContext.Response.Headers.WWWAuthenticate = "Basic realm=\"Orleans dashboard: any name, an operator's key as the password\", charset=\"UTF-8\"";
            return Problems.Answer(context.HttpContext, "unauthenticated", "The dashboard is for operators: any name, and an operator's key as the password.");
        });
    }

    private static bool IsOperator(string? authorization, ApiKeys keys, Clock clock)
    {
        if (authorization is null) return false;
        var key = authorization.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase) ? authorization[7..].Trim() : PasswordOf(authorization);
        return key is not null && keys.Find(key, clock.Now()) is { } found && found.Scopes.HasFlag(Scopes.Ops);
    }

    private static string? PasswordOf(string authorization)
    {
        if (!authorization.StartsWith("Basic ", StringComparison.OrdinalIgnoreCase)) return null;
        Span<byte> bytes = stackalloc byte[1_024];
        if (!Convert.TryFromBase64String(authorization[6..].Trim(), bytes, out var length)) return null;
        var text = Encoding.UTF8.GetString(bytes[..length]);
        return text.IndexOf(':') is >= 0 and var colon ? text[(colon + 1)..] : null;
    }
}
