using System.Net;
using Billing.Api.Stripe;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Silo;
using Billing.Silo.Storage;
using Billing.StripeSandbox;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using NodaTime;

namespace Billing.Api;

/// <summary>The steps of starting and stopping that have something to say.</summary>
internal static class Startup
{
    /// <summary>Where to listen, and the limits of every connection.</summary>
    public static WebApplicationBuilder Listen(this WebApplicationBuilder builder)
    {
        if (string.IsNullOrEmpty(builder.Configuration["urls"]) && string.IsNullOrEmpty(builder.Configuration["http_ports"])) builder.WebHost.UseUrls(Settings.DefaultUrl);
        // A request goes on where its bytes arrived, which is in the thread pool already: one hop less for each.
        builder.WebHost.UseSockets(sockets => sockets.UnsafePreferInlineScheduling = true);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = RequestBody.MaxBatchBytes;
            kestrel.Limits.LimitConnections(builder.Configuration.Number("Billing:MaxConnections", 10_000, 1, 1_000_000));
        });
        return builder;
    }

    public static async Task<CatalogStore> PublishFile(this CatalogStore catalogs, string path, Instant now)
    {
        var problems = await catalogs.Publish(await File.ReadAllBytesAsync(path), now);
        if (problems.Count > 0)
            throw new SettingsException($"the catalog {path} has {problems.Count} problem(s):{string.Concat(problems.Select(p => $"\n  {p}"))}");
        return catalogs;
    }

    /// <summary>The keys that may be used. Outside Development nobody gets in by a key that is in the documentation.</summary>
    public static async Task<ApiKeys> OpenKeys(ApiKeys keys, Settings settings, IConfiguration configuration, Instant now)
    {
        await keys.Load();
        if (settings.OperatorKey is { } configured)
        {
            keys.AddConfigured(configured, "BILLING_OPERATOR_KEY", now);
        }
        else if (settings.IsDevelopment)
        {
            if (HealthCheck.Urls(configuration).FirstOrDefault(u => !IsLoopback(u)) is { } open)
                throw new SettingsException($"In Development the operator key is in the documentation, so the service listens on loopback only, and not on {open}. Set BILLING_OPERATOR_KEY, or ASPNETCORE_URLS to http://localhost:5080.");
            keys.AddConfigured(Settings.DevelopmentKey, "development", now);
        }
        else if (!keys.HasOperator(now))
        {
            throw new SettingsException($"there is no operator key. Set BILLING_OPERATOR_KEY to {Settings.MinOperatorKeyLength} characters or more (openssl rand -hex 32).");
        }
        return keys;
    }

    /// <summary>What the service signs with: made at the first start, the same ever after.</summary>
    public static async Task<(DenialIds DenialIds, HeadSigner Heads)> OpenSecrets(SecretStore secrets, Flags flags) =>
        (new DenialIds(await secrets.Get("denial-ids"), flags), new HeadSigner(await secrets.Get(SecretStore.HeadKey, SignedHead.NewKey)));

    /// <summary>In Development without a key there is a stand-in for Stripe, so that everything can be tried offline.</summary>
    /// <returns>The settings that lead to it.</returns>
    public static async Task<(Settings Settings, SandboxServer? Sandbox)> StartSandbox(Settings settings)
    {
        if (!settings.StartsStripeSandbox) return (settings, null);
        var options = new SandboxOptions { RunsByItself = true, Port = SandboxOptions.UsualPort, File = Path.Combine(Path.GetDirectoryName(settings.Ledger.JournalPath)!, "stripe-sandbox.json") };
        SandboxServer sandbox;
        try
        {
            sandbox = await SandboxServer.Start(options);
        }
        catch (IOException)
        {
            // Another one is there already.
            sandbox = await SandboxServer.Start(options with { Port = 0 });
        }
        return (settings with { StripeKey = sandbox.ApiKey, StripeAddress = new Uri(sandbox.Url), WebhookSecrets = [.. settings.WebhookSecrets, options.WebhookSecret] }, sandbox);
    }

    /// <summary>Requests end first, then the actors finish what they took, then the database is closed.</summary>
    public static void CloseLast(this WebApplication app, ILedgerHost host, Database database, StripeGateway? gateway, SandboxServer? sandbox) =>
        app.Lifetime.ApplicationStopped.Register(() => Close(host, database, gateway, sandbox).GetAwaiter().GetResult());

    /// <summary>The ledger goes on without snapshots; whoever looks after it should know that it does.</summary>
    public static void LogTo(this Snapshots snapshots, ILogger log) => snapshots.Log = (message, e) => log.LogWarning(e, "{Message}", message);

    /// <summary>What is found by its type, and what runs by itself.</summary>
    /// <param name="time">The ledger's clock, which tests set. It is given to those who go by it: whatever else asks for the time runs on the system's.</param>
    public static IServiceCollection AddParts(this IServiceCollection parts, Services services, ILedgerHost host, Database database, TimeProvider time)
    {
        FaultPoints.Arm(services.Settings.FaultPoint);
        var overage = new OverageItems(services);
        services.StripeEvents.Steps.AddToDraft = overage.AddTo;
        parts.AddSingleton(services).AddSingleton(services.Journal).AddSingleton(services.Health).AddSingleton(host).AddSingleton(services.Inbox).AddSingleton(services.SentRequests).AddSingleton(services.StripeEvents)
            .AddSingleton(services.Clock).AddSingleton(services.Flags).AddSingleton(TimeProvider.System).AddSingleton(new Leases(database)).AddSingleton(new ReconciliationRuns(database))
            .AddSingleton<Reconciler>().AddSingleton<NightlyReconciliation>().AddSingleton<IStripeWorker>(p => p.GetRequiredService<NightlyReconciliation>())
            .AddSingleton(new StripeTasks(database)).AddSingleton<IFeedPositions>(new FeedPositions(database)).AddSingleton(overage).AddSingleton<IStripeWorker>(p => ActivatorUtilities.CreateInstance<LedgerWork>(p, time))
            .AddSingleton(p => ActivatorUtilities.CreateInstance<DueWork>(p, time)).AddSingleton(services.CatalogStore).AddSingleton(services.Keys).AddSingleton(services.Sessions).AddSingleton<StripeWork>().AddSingleton<IStripeWorker, InboxWorker>();
        if (services.Settings.Ledger.RunsDueWork)
            parts.AddHostedService<CatalogPoll>().AddHostedService<FlagPoll>().AddHostedService<KeyPoll>().AddHostedService(p => p.GetRequiredService<StripeWork>());
        if (services.Settings.StartsStripeSandbox) parts.AddHostedService<CatalogPushAtStart>();
        return parts;
    }

    /// <summary>What a new user needs to know, once the service listens.</summary>
    public static void Announce(this WebApplication app, Settings settings, Database database, SandboxServer? sandbox) => app.Lifetime.ApplicationStarted.Register(() =>
    {
        var url = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()?.Addresses.FirstOrDefault() ?? Settings.DefaultUrl;
        app.Logger.LogInformation("Billing Ledger listens on {Url}", url);
        app.Logger.LogInformation("  Swagger  {Url}/swagger", url);
        app.Logger.LogInformation("  Key      {Key}", settings.OperatorKey is null && settings.IsDevelopment ? Settings.DevelopmentKey : "yours (BILLING_OPERATOR_KEY, or one made with POST /v1/api-keys)");
        app.Logger.LogInformation("  Catalog  {Catalog}", settings.CatalogPath);
        app.Logger.LogInformation("  Journal  {Journal}", database.Place);
        if (sandbox is not null)
        {
            sandbox.DeliverTo(new Uri(new Uri(url), "/webhooks/stripe"), settings.WebhookSecrets[^1]);
            app.Logger.LogInformation("  Stripe   a stand-in on this machine, {Url}: no key is set. Its cards: 4242 4242 4242 4242 pays, 4000 0000 0000 0002 is declined", sandbox.Url);
        }
        else if (settings.StripeKey is null) app.Logger.LogInformation("  Stripe   not configured: what needs it answers 503 until STRIPE_SECRET_KEY is set");
        if (settings.WebhookSecrets.Count == 0) app.Logger.LogInformation("  Stripe   webhooks answer 503 until STRIPE_WEBHOOK_SECRET is set");
    });

    private static async Task Close(ILedgerHost host, Database database, StripeGateway? gateway, SandboxServer? sandbox)
    {
        if (sandbox is not null) await sandbox.DisposeAsync();
        gateway?.Dispose();
        await host.DisposeAsync();
        await database.DisposeAsync();
    }

    private static bool IsLoopback(string url) =>
        Uri.TryCreate(url, UriKind.Absolute, out var uri) && (uri.IsLoopback || (IPAddress.TryParse(uri.Host.Trim('[', ']'), out var ip) && IPAddress.IsLoopback(ip)));
}
