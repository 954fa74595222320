using Billing.Api.Routes;
using Billing.Api.Stripe;
using Billing.Silo;

namespace Billing.Api;

/// <summary>The service. Reads as its table of contents.</summary>
public static class Program
{
    public static async Task<int> Main(string[] args)
    {
        if (args.Contains(HealthCheck.Option)) return await HealthCheck.Run(args, Settings.DefaultUrl);
        try
        {
            await using var app = await Build(args);
            await app.RunAsync();
            return 0;
        }
        catch (Exception e) when (e is SettingsException or InvalidDataException or IOException)
        {
            await Console.Error.WriteLineAsync($"Billing Ledger does not start: {e.Message}");
            return 1;
        }
    }

    /// <param name="time">The clock; the system's when null.</param>
    /// <exception cref="SettingsException">The configuration cannot work.</exception>
    public static async Task<WebApplication> Build(string[] args, TimeProvider? time = null)
    {
        var builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = args, ContentRootPath = AppContext.BaseDirectory }).Listen();
        var (settings, sandbox) = await Startup.StartSandbox(Settings.Read(builder.Configuration, builder.Environment.IsDevelopment(), builder.Environment.ContentRootPath));
        var clock = new Clock(time ?? TimeProvider.System);

        // What is kept, and in what.
        var ledger = LedgerParts.Open(settings.Ledger, time ?? TimeProvider.System);
        var (database, journal, snapshots) = (ledger.Database, ledger.Journal, ledger.Snapshots);
        var catalogs = await ledger.Catalogs.PublishFile(settings.CatalogPath, clock.Now());
        var keys = await Startup.OpenKeys(new ApiKeys(database), settings, builder.Configuration, clock.Now());

        // The actors, and who speaks to them.
        var host = builder.AddEngine(ledger);
        var flags = await Flags.Open(new FlagStore(database), builder.Configuration);
        var (denialIds, heads) = await Startup.OpenSecrets(new SecretStore(database), flags);
        var tokens = await AccessTokens.Open(builder, new SecretStore(database), clock);
        var stripe = StripeParts.Open(database, host, catalogs, settings, clock);
        var services = new Services(host, journal, snapshots?.Store, catalogs, keys, new Profiles(database), stripe, denialIds, heads, clock, settings, flags, new BrowserSessions(database, TimeProvider.System), await AuditLog.Open(database, clock.Now()));

        builder.Services.AddParts(services, host, database, time ?? TimeProvider.System).ConfigureHttpJsonOptions(json => ApiJson.Configure(json.SerializerOptions)).AddApiDocument().AddRequestLimits(settings.KeyRequestsPerSecond);
        var app = builder.Build();
        app.CloseLast(host, database, stripe.Gateway, sandbox);
        stripe.Attach(app);
        snapshots?.LogTo(app.Logger);
        app.UseGuards(settings.Proxies);
        app.UseProblems(journal.Health);
        app.UseAccess(services, tokens);
        app.MapEngine(host, keys, clock);
        app.MapApiDocument();
        var v1 = app.MapGroup("/v1").WithScopes().WithAudit(services).WithOrigins(tokens.Origins);
        v1.MapEntitlements(services);
        v1.MapUsage(services);
        v1.MapTokens(services);
        v1.MapAlerts(services);
        v1.MapSubscription(services);
        v1.MapSelling(services);
        v1.MapRefunds(services);
        v1.MapInvoices(services);
        v1.MapOrganizations(services);
        v1.MapExport(services);
        v1.MapPlans(services);
        v1.MapLedger(services);
        app.MapStripe(v1, services);
        v1.MapKeys(services);
        app.MapSessions(v1, services, tokens);
        v1.MapFlags(services);
        app.MapSystem(v1, services);
        app.RequireScopes();
        app.Announce(settings, database, sandbox);
        return app;
    }
}
