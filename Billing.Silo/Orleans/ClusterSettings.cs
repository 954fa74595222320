using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Configuration;

namespace Billing.Silo;

/// <summary>Where a process is in its cluster. The README lists it.</summary>
public sealed record ClusterSettings
{
    /// <summary>The API speaks to silos in other processes and has none itself.</summary>
    public required bool IsClient { get; init; }

    /// <summary>Silos and clients of one id are one cluster; all of them have the same database.</summary>
    public required string Id { get; init; }

    /// <summary>Where the other silos and the clients reach this one: an address, or a name that has one.</summary>
    public required string Address { get; init; }

    /// <summary>For other silos; 0 is any that is free.</summary>
    public required int SiloPort { get; init; }

    /// <summary>For clients; 0 is none.</summary>
    public required int GatewayPort { get; init; }

    /// <summary>Where this silo itself listens for others, when they reach it at <see cref="SiloPort"/> through something in between: a published port of a container, a proxy.</summary>
    public required int SiloListenPort { get; init; }

    /// <summary>The same for clients.</summary>
    public required int GatewayListenPort { get; init; }

    /// <exception cref="SettingsException">Something is set in a way that cannot work; the message says what would.</exception>
    public static ClusterSettings Read(IConfiguration configuration, LedgerSettings ledger)
    {
        var mode = configuration.Find("Cluster:Mode") ?? "cohosted";
        if (mode is not ("cohosted" or "client")) throw new SettingsException($"Cluster:Mode is '{mode}'; it must be cohosted (a silo within the service) or client (silos elsewhere).");
        if (mode == "client" && ledger.PostgresAddress is null)
            throw new SettingsException("Cluster:Mode is client, and there is no DATABASE_URL: silos and their clients find each other in the PostgreSQL database that they share.");
        // Nobody else is in a cluster over a file, so nobody needs to reach it.
        var isAlone = ledger.PostgresAddress is null;
        var silo = configuration.Number("Cluster:SiloPort", isAlone ? 0 : 11111, 0, 65535);
        var gateway = configuration.Number("Cluster:GatewayPort", isAlone ? 0 : 30000, 0, 65535);
        return new ClusterSettings
        {
            IsClient = mode == "client",
            Id = configuration.Find("Cluster:Id") ?? "billing",
            Address = isAlone ? "127.0.0.1" : configuration.Find("Cluster:Address") ?? Dns.GetHostName(),
            SiloPort = silo > 0 ? silo : FreePort(),
            GatewayPort = gateway,
            SiloListenPort = configuration.Number("Cluster:SiloListenPort", 0, 0, 65535),
            GatewayListenPort = configuration.Number("Cluster:GatewayListenPort", 0, 0, 65535),
        };
    }

    /// <exception cref="SettingsException">The name has no address.</exception>
    internal IPAddress Resolve()
    {
        try
        {
            return IPAddress.TryParse(Address, out var address) ? address : Dns.GetHostAddresses(Address, AddressFamily.InterNetwork)[0];
        }
        catch (Exception e) when (e is SocketException or IndexOutOfRangeException)
        {
            throw new SettingsException($"Cluster:Address is '{Address}', which has no IPv4 address: {e.Message}");
        }
    }

    internal static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
