namespace Billing.Silo;

/// <summary>What a caller may do. A caller has any of them; a route asks for one of a few.</summary>
[Flags]
public enum Scopes
{
    None = 0,

    /// <summary><c>entitlements:read</c>: plans, and what an organization may do and has used. Fit for a browser.</summary>
    EntitlementsRead = 1,

    /// <summary><c>usage:write</c>: record use, hold, settle.</summary>
    UsageWrite = 2,

    /// <summary><c>billing:manage</c>: subscribe, change, cancel, buy, see invoices; what a customer does.</summary>
    BillingManage = 4,

    /// <summary><c>ledger:read</c>: the history: events, records, transactions, invoices, why.</summary>
    LedgerRead = 8,

    /// <summary><c>ops</c>: what an operator does. Never for one organization.</summary>
    Ops = 16,

    OfOrganization = EntitlementsRead | UsageWrite | BillingManage | LedgerRead,
    All = OfOrganization | Ops,
}

/// <summary>The scopes as callers write them.</summary>
public static class ScopeNames
{
    /// <summary>Every scope with its name, in the order in which they are shown.</summary>
    public static readonly IReadOnlyList<(Scopes Scope, string Name)> All =
    [
        (Scopes.EntitlementsRead, "entitlements:read"), (Scopes.UsageWrite, "usage:write"), (Scopes.BillingManage, "billing:manage"), (Scopes.LedgerRead, "ledger:read"), (Scopes.Ops, "ops"),
    ];

    public static IReadOnlyList<string> Of(Scopes scopes) => [.. All.Where(s => scopes.HasFlag(s.Scope)).Select(s => s.Name)];

    /// <returns>Null when one of them is no scope.</returns>
    public static Scopes? Read(IEnumerable<string> names)
    {
        var scopes = Scopes.None;
        foreach (var name in names)
        {
            if (All.FirstOrDefault(s => s.Name == name) is not { Name: not null } found) return null;
            scopes |= found.Scope;
        }
        return scopes;
    }

    public static string List => string.Join(", ", All.Select(s => s.Name));
}
