using System.Net;
using Billing.Grains;
using Billing.Silo.Storage.Postgres;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Configuration.Memory;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Configuration;
using Orleans.Serialization;

namespace Billing.Silo;

/// <summary>How a silo and its clients are set up, in one place: who is in the cluster, how fast a death is noticed, what is kept where.</summary>
public static class SiloSetup
{
    private const string Npgsql = "Npgsql";
    private const int ConnectionsPerProcess = 8;
    private const int AnswerSeconds = 5;

    /// <summary>How much longer than the journal a silo's answer may take: then the silo itself is in trouble.</summary>
    private static readonly TimeSpan OnTheWay = TimeSpan.FromMilliseconds(500);

    /// <summary>How much longer than one try all tries may take. With the usual five seconds for the journal a caller waits eight at most.</summary>
    private static readonly TimeSpan ForRepeats = TimeSpan.FromMilliseconds(2_500);

    /// <summary>How long a caller waits for all tries of a call together.</summary>
    public static TimeSpan Patience(LedgerSettings settings) => settings.JournalTimeout + OnTheWay + ForRepeats;

    /// <summary>Orleans tells much of what is as it should be; whoever wants to read it sets its log level.</summary>
    public static void QuietByDefault(this IConfigurationBuilder configuration) => configuration.Sources.Insert(0, new MemoryConfigurationSource
    {
        InitialData = new Dictionary<string, string?>
        {
            ["Logging:LogLevel:Orleans"] = "Warning", ["Logging:LogLevel:Orleans.Runtime.Silo"] = "Error", ["Logging:LogLevel:Microsoft"] = "Warning",
            ["Logging:Console:FormatterName"] = "simple", ["Logging:Console:FormatterOptions:SingleLine"] = "true",
        },
    });

    /// <summary>A silo in this process, with the organizations of <paramref name="host"/>.</summary>
    public static ISiloBuilder AddLedger(this ISiloBuilder silo, LedgerParts ledger, LedgerHost host, ClusterSettings cluster)
    {
        silo.Services.AddSingleton(host).AddSingleton(cluster).Configure<ExceptionSerializationOptions>(AnyException);
        silo.Configure<ClusterOptions>(o => o.ClusterId = o.ServiceId = cluster.Id);
        silo.Configure<SiloMessagingOptions>(o =>
        {
            o.ResponseTimeout = o.SystemResponseTimeout = ledger.Settings.JournalTimeout + OnTheWay;
            // Until then a silo keeps its answers for a client whose connection broke, although they could go through another silo.
            o.ClientDropTimeout = TimeSpan.FromSeconds(2);
            // A silo that leaves tells its clients, and then answers what is on its way to it and from it.
            o.ClientGatewayShutdownNotificationTimeout = o.WaitForMessageToBeQueuedForOutboundTime = TimeSpan.FromSeconds(1);
        });
        // What is not asked for goes; its snapshot and tail bring it back.
        silo.Configure<GrainCollectionOptions>(o => o.CollectionAge = TimeSpan.FromMinutes(15));
        silo.Configure<ClusterMembershipOptions>(o =>
        {
            // A death is certain after three probes of a second each; the defaults take half a minute. Less would take a silo
            // for dead that only had no processor for a while. Of two silos the vote of one is enough.
            o.ProbeTimeout = TimeSpan.FromSeconds(1);
            o.NumMissedProbesLimit = 3;
            o.TableRefreshTimeout = TimeSpan.FromSeconds(5);
            o.IAmAliveTablePublishTimeout = TimeSpan.FromSeconds(5);
            o.DeathVoteExpirationTimeout = TimeSpan.FromSeconds(30);
            o.DefunctSiloCleanupPeriod = TimeSpan.FromMinutes(10);
            o.DefunctSiloExpiration = TimeSpan.FromHours(1);
        });
        silo.Configure<EndpointOptions>(o =>
        {
            o.AdvertisedIPAddress = cluster.Resolve();
            o.SiloPort = cluster.SiloPort;
            o.GatewayPort = cluster.GatewayPort;
            var place = IPAddress.IsLoopback(o.AdvertisedIPAddress) ? IPAddress.Loopback : IPAddress.Any;
            o.SiloListeningEndpoint = new IPEndPoint(place, cluster.SiloListenPort > 0 ? cluster.SiloListenPort : cluster.SiloPort);
            if (cluster.GatewayPort > 0) o.GatewayListeningEndpoint = new IPEndPoint(place, cluster.GatewayListenPort > 0 ? cluster.GatewayListenPort : cluster.GatewayPort);
        });
        silo.Services.AddHostedService<EvictedOrganizations>();
        if (ledger.Settings.RunsDueWork) silo.Services.AddHostedService<DueWorkWatch>();
        if (Address(ledger) is not { } address)
        {
            return silo.UseDevelopmentClustering(new IPEndPoint(IPAddress.Loopback, cluster.SiloPort)).UseInMemoryReminderService().AddMemoryGrainStorageAsDefault();
        }
        return silo.UseAdoNetClustering(o => (o.Invariant, o.ConnectionString) = (Npgsql, address))
            .UseAdoNetReminderService(o => (o.Invariant, o.ConnectionString) = (Npgsql, address))
            .AddAdoNetGrainStorageAsDefault(o => (o.Invariant, o.ConnectionString) = (Npgsql, address));
    }

    /// <summary>A client of silos in other processes.</summary>
    public static IClientBuilder AddLedger(this IClientBuilder client, LedgerParts ledger, ClusterSettings cluster)
    {
        client.Configure<ExceptionSerializationOptions>(AnyException);
        client.Configure<ClusterOptions>(o => o.ClusterId = o.ServiceId = cluster.Id);
        client.Configure<ClientMessagingOptions>(o => o.ResponseTimeout = ledger.Settings.JournalTimeout + OnTheWay);
        client.Configure<GatewayOptions>(o => o.GatewayListRefreshPeriod = TimeSpan.FromSeconds(2));
        // Silos may come later than their clients.
        client.UseConnectionRetryFilter(static async (_, cancellation) =>
        {
            await Task.Delay(TimeSpan.FromSeconds(1), cancellation);
            return true;
        });
        return client.UseAdoNetClustering(o => (o.Invariant, o.ConnectionString) = (Npgsql, Address(ledger)!));
    }

    /// <summary>Few connections are enough for who is there; without a limit a silo that joins takes dozens at once.</summary>
    private static string? Address(LedgerParts ledger)
    {
        if (ledger.Settings.PostgresAddress is not { } text) return null;
        var address = PostgresAddress.Parse(text);
        (address.MaxPoolSize, address.CommandTimeout) = (ConnectionsPerProcess, AnswerSeconds);
        return address.ConnectionString;
    }

    /// <summary>What goes wrong in a silo is told as it is. Orleans would only tell that it cannot be told.</summary>
    private static void AnyException(ExceptionSerializationOptions options) => options.SupportedExceptionTypeFilter = static _ => true;
}
