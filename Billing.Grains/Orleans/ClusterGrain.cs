using Orleans.Concurrency;

namespace Billing.Grains;

/// <summary>Who is in the cluster, as the silo that is asked sees it. It need not ask the database, which may be away.</summary>
[Alias("cluster")]
public interface IClusterGrain : IGrainWithIntegerKey
{
    [Alias("count-silos")]
    Task<int> CountSilos();
}

[GrainType("cluster"), StatelessWorker(1)]
internal sealed class ClusterGrain(ISiloStatusOracle silos) : Grain, IClusterGrain
{
    public Task<int> CountSilos() => Task.FromResult(silos.GetApproximateSiloStatuses(onlyActive: true).Count);
}
