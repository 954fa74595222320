using Billing.Grains;
using Billing.Grains.Journal;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Dashboard;

namespace Billing.Silo;

/// <summary>A silo by itself: a process of a cluster, with organizations and nothing else. Reads as its table of contents.</summary>
public static class SiloProgram
{
    public const string DefaultUrl = "http://localhost:5090";

    private static readonly TimeSpan CatalogPause = TimeSpan.FromSeconds(1);

    public static async Task<int> Main(string[] args)
    {
        if (args.Contains(HealthCheck.Option)) return await HealthCheck.Run(args, DefaultUrl);
        try
        {
            await using var app = await Build(args);
            await app.RunAsync();
            return 0;
        }
        catch (Exception e) when (e is SettingsException or InvalidDataException or IOException)
        {
            await Console.Error.WriteLineAsync($"The silo does not start: {e.Message}");
            return 1;
        }
    }

    /// <exception cref="SettingsException">The configuration cannot work.</exception>
    public static async Task<WebApplication> Build(string[] args)
    {
        var builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = args, ContentRootPath = AppContext.BaseDirectory });
        if (string.IsNullOrEmpty(builder.Configuration["urls"]) && string.IsNullOrEmpty(builder.Configuration["http_ports"])) builder.WebHost.UseUrls(DefaultUrl);
        builder.Configuration.QuietByDefault();
        var settings = LedgerSettings.Read(builder.Configuration);
        if (settings.PostgresAddress is null) throw new SettingsException("there is no DATABASE_URL. A silo by itself shares a PostgreSQL database with the others; over a file the service has its silo inside.");
        var cluster = ClusterSettings.Read(builder.Configuration, settings);

        var ledger = LedgerParts.Open(settings, TimeProvider.System);
        await WaitForCatalog(ledger.Catalogs);
        var host = ledger.NewHost();
        var outside = new OrleansHost(SiloSetup.Patience(settings)) { Closing = () => Close(host, ledger) };
        builder.Services.AddSingleton(TimeProvider.System).AddSingleton(ledger.Journal).AddSingleton(ledger.Catalogs).AddSingleton(outside).AddSingleton<ILedgerHost>(outside)
            .AddSingleton(new Inbox(ledger.Database)).AddSingleton(new SentRequests(ledger.Database)).AddSingleton<DueWork>()
            .AddHostedService<CatalogPoll>();
        builder.UseOrleans(silo => silo.AddLedger(ledger, host, cluster).AddDashboard());
        builder.Services.AddHostedService<ClusterWatch>();

        var app = builder.Build();
        outside.Attach(app.Services.GetRequiredService<IGrainFactory>());
        // Grains are gone by then, and what they took is being written.
        app.Lifetime.ApplicationStopped.Register(() => outside.DisposeAsync().AsTask().GetAwaiter().GetResult());
        if (ledger.Snapshots is not null) ledger.Snapshots.Log = (message, e) => app.Logger.LogWarning(e, "{Message}", message);
        app.MapGet("/health", () => TypedResults.Ok());
        app.MapGet("/health/ready", () => Ready(outside.Engine, ledger.Journal.Health));
        app.Lifetime.ApplicationStarted.Register(() => app.Logger.LogInformation("The silo is in the cluster {Cluster}, ports {Silo} and {Gateway}. Journal {Journal}", cluster.Id, cluster.SiloPort, cluster.GatewayPort, ledger.Database.Place));
        return app;
    }

    /// <summary>It is in the cluster: others count on it. While the journal does not answer it goes on from memory.</summary>
    private static IResult Ready(EngineView engine, JournalHealth health) =>
        Results.Json(new { status = engine.Silos == 0 ? "unavailable" : health.IsOut ? "checks_only" : "ready", silos = engine.Silos }, statusCode: engine.Silos == 0 ? 503 : 200);

    /// <summary>The service publishes it; without one there is nothing to decide by.</summary>
    private static async Task WaitForCatalog(CatalogStore catalogs)
    {
        for (var told = false; ; await Task.Delay(CatalogPause))
        {
            await catalogs.Refresh();
            if (catalogs.IsPublished) return;
            if (!told) await Console.Out.WriteLineAsync("There is no catalog in the database yet: the silo waits for the service to publish one.");
            told = true;
        }
    }

    private static async ValueTask Close(LedgerHost host, LedgerParts ledger)
    {
        await host.DisposeAsync();
        await ledger.Database.DisposeAsync();
    }
}
