using Billing.Grains;
using Billing.Silo;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Billing.Bench;

/// <summary>The engine that this was built with, and what is measured of it alone. The other one is in the folder Embedded.</summary>
internal static class Engine
{
    public const string Name = "orleans";

    /// <summary>Whether there can be clusters.</summary>
    public const bool HasSilos = true;

    /// <summary>What organizations take as grains, in a silo within this process: their activations, and their places in the cluster's directory, come on top.</summary>
    public static async Task<IReadOnlyList<Measurement>> MeasureInSilo(int count, TemporaryFolder folder)
    {
        var configuration = new ConfigurationBuilder().AddInMemoryCollection([new("Billing:Journal", Path.Combine(folder.New("silo"), "ledger.db")), new("Billing:DueWork", "off")]).Build();
        var settings = LedgerSettings.Read(configuration);
        var parts = LedgerParts.Open(settings, TimeProvider.System);
        await using var residents = Residents.NewHost();
        var builder = Host.CreateApplicationBuilder();
        builder.Logging.SetMinimumLevel(LogLevel.Warning);
        builder.UseOrleans(silo => silo.AddLedger(parts, residents, ClusterSettings.Read(configuration, settings)));
        using var process = builder.Build();
        await process.StartAsync();
        await using var outside = new OrleansHost(SiloSetup.Patience(settings));
        outside.Attach(process.Services.GetRequiredService<IGrainFactory>());
        var measured = await Residents.Measure("ledger in a silo", outside, residents, count);
        await process.StopAsync();
        await parts.Database.DisposeAsync();
        return [measured];
    }
}
