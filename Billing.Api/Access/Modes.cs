using System.Collections.Concurrent;
using Billing.Grains;

namespace Billing.Api;

/// <summary>
/// Which organizations are test organizations, so that test and live never mix: neither for callers of many organizations, nor for a token whose issuer
/// names another mode's. An organization stays what it was opened as, so what is known once is known.
/// </summary>
public sealed class Modes(ILedgerHost host, Clock clock)
{
    private const int MaxKnown = 1_000_000;

    private readonly ConcurrentDictionary<string, bool> known = new(StringComparer.Ordinal);

    /// <returns>Null when there is no such organization.</returns>
    public ValueTask<bool?> IsTest(string organization)
    {
        return known.TryGetValue(organization, out var test) ? new(test) : Ask();

        async ValueTask<bool?> Ask()
        {
            if (await host.Organization(organization).Read(clock.Now()) is not { } view) return null;
            if (known.Count >= MaxKnown) known.Clear();
            return known[organization] = view.Test;
        }
    }
}
