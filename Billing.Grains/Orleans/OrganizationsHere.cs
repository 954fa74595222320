using System.Collections.Concurrent;

namespace Billing.Grains;

/// <summary>
/// The organizations whose grains are in this process. A check asks them in place: it gets what the grain would answer, from the same
/// session, without a message there and back.
/// </summary>
public sealed class OrganizationsHere
{
    private readonly ConcurrentDictionary<string, IOrganizationLedger> ledgers = new(StringComparer.Ordinal);

    /// <returns>Null when its grain is elsewhere, or nowhere.</returns>
    public IOrganizationLedger? Find(string id) => ledgers.GetValueOrDefault(id);

    internal void Enter(string id, IOrganizationLedger ledger) => ledgers[id] = ledger;

    /// <summary>The grain that entered with this ends; another one may be there already.</summary>
    internal void Leave(string id, IOrganizationLedger ledger) => ledgers.TryRemove(new KeyValuePair<string, IOrganizationLedger>(id, ledger));
}
