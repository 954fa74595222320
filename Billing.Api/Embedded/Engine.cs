using Billing.Grains;
using Billing.Silo;

namespace Billing.Api;

/// <summary>The embedded engine: every organization's actor is inside this process. The other engine is in the folder Orleans.</summary>
internal static class Engine
{
    /// <returns>Where organizations are found.</returns>
    public static ILedgerHost AddEngine(this WebApplicationBuilder builder, LedgerParts ledger)
    {
        if (builder.Configuration.Find("Cluster:Mode") is { } mode && mode != "cohosted")
            throw new SettingsException($"Cluster:Mode is '{mode}', and this build has no clusters: it was built with the embedded engine. Build it with -p:Engine=Orleans.");
        if (ledger.Settings.RunsDueWork) builder.Services.AddHostedService(p => p.GetRequiredService<DueWork>());
        return ledger.NewHost();
    }

    /// <summary>What the engine shows to operators: nothing here.</summary>
    public static void MapEngine(this WebApplication app, ILedgerHost host, ApiKeys keys, Clock clock)
    {
    }
}
