namespace Billing.Bench;

/// <summary>The engine that this was built with, and what is measured of it alone. The other one is in the folder Orleans.</summary>
internal static class Engine
{
    public const string Name = "embedded";

    /// <summary>Whether there can be clusters.</summary>
    public const bool HasSilos = false;

    public static Task<IReadOnlyList<Measurement>> MeasureInSilo(int count, TemporaryFolder folder) => Task.FromResult<IReadOnlyList<Measurement>>([]);
}
