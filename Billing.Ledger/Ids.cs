using System.Text.RegularExpressions;

namespace Billing.Ledger;

/// <summary>What ids look like, and the limits on what callers send. Every limit of the ledger's own is here.</summary>
public static partial class Ids
{
    public const int MaxCommandIdLength = 255;
    public const int MaxReasonLength = 500;
    public const int MaxMetadataEntries = 20;
    public const int MaxMetadataKeyLength = 40;
    public const int MaxMetadataValueLength = 500;

    public const string OrganizationPattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
    public const string CatalogPattern = "^[a-z][a-z0-9_-]{0,63}$";

    public static bool IsOrganization(string id) => OrganizationRegex().IsMatch(id);

    /// <summary>Whether this may be a feature's, plan's or token package's id.</summary>
    public static bool IsCatalogId(string id) => CatalogRegex().IsMatch(id);

    /// <summary>A usage record's id is its event's version: nothing to store, nothing to look up.</summary>
    public static string UsageRecord(long version) => $"ur_{version}";

    /// <summary>A token grant's id, likewise; and those of holds, invoices, top-ups and subscriptions that the ledger keeps.</summary>
    public static string Grant(long version) => $"tg_{version}";

    public static string Hold(long version) => $"ho_{version}";

    public static string Invoice(long version) => $"in_{version}";

    public static string TopUp(long version) => $"tu_{version}";

    public static string Subscription(long version) => $"ls_{version}";

    /// <summary>The version in an id such as <c>ur_12</c>; null when it is none of this kind.</summary>
    public static long? Version(string id, string prefix) =>
        id.StartsWith(prefix, StringComparison.Ordinal) && long.TryParse(id.AsSpan(prefix.Length), System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var version)
            && id == $"{prefix}{version}" ? version : null;

    // \z and not $: in .NET $ also matches before a trailing newline.
    [GeneratedRegex(@"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z", RegexOptions.CultureInvariant)]
    private static partial Regex OrganizationRegex();

    [GeneratedRegex(@"\A[a-z][a-z0-9_-]{0,63}\z", RegexOptions.CultureInvariant)]
    private static partial Regex CatalogRegex();
}
