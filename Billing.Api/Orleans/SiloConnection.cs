using Billing.Grains;

namespace Billing.Api;

/// <summary>
/// Connects the service to its silos while it already answers: there may be none yet, and whoever asks then is told so.
/// Orleans itself would keep the service from listening until there is one.
/// </summary>
internal sealed partial class SiloConnection(IClusterClient client, OrleansHost host, ILogger<SiloConnection> log) : BackgroundService
{
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        if (host.IsAttached) await ((IHostedService)client).StopAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await Task.Yield();
        try
        {
            // It tries until it can.
            await ((IHostedService)client).StartAsync(stoppingToken);
            if (stoppingToken.IsCancellationRequested) return;
            host.Attach(client);
            LogConnected(log);
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // There was none as long as the service ran.
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Connected to the silos.")]
    private static partial void LogConnected(ILogger log);
}

internal static class SiloConnections
{
    /// <summary>The service as a client of silos in other processes.</summary>
    public static void AddConnection(this WebApplicationBuilder builder, OrleansHost host, Action<IClientBuilder> configure)
    {
        HashSet<ServiceDescriptor> before = [.. Started()];
        builder.UseOrleansClient(client => configure(client.AddGatewayCountChangedHandler((_, count) =>
        {
            if (count.NumberOfConnectedGateways < count.PreviousNumberOfConnectedGateways) host.ConnectionLost();
        })));
        // What Orleans would start before the service listens, the connection starts.
        foreach (var client in Started().Where(d => !before.Contains(d) && d.ImplementationFactory is not null).ToList()) builder.Services.Remove(client);
        builder.Services.AddSingleton<SiloConnection>().AddHostedService(p => p.GetRequiredService<SiloConnection>());

        IEnumerable<ServiceDescriptor> Started() => builder.Services.Where(d => d.ServiceType == typeof(IHostedService));
    }
}
