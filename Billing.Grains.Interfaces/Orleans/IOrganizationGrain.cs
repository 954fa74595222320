namespace Billing.Grains;

/// <summary>One organization as a grain, by its id. The contract is the plain one: what calls it cannot tell the engines apart.</summary>
[Alias("organization")]
public interface IOrganizationGrain : IGrainWithStringKey, IOrganizationLedger;
