using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Api;

/// <summary>
/// A denial's id carries, signed, what its explanation is recomputed from: the version of the state, the time, the
/// feature, the quantity, and the catalog's version. Nothing is stored for it.
/// </summary>
public sealed class DenialIds(byte[] key, Flags flags)
{
    private const string Prefix = "dn_";
    private const int SignatureSize = 12;
    private const int Parts = 7;

    public DenialView Sign(string organization, DenialView denial)
    {
        var content = string.Create(CultureInfo.InvariantCulture,
            $"{denial.Version}|{Micros.Of(denial.At)}|{denial.Feature}|{denial.Requested}|{denial.CatalogVersion}|{(denial.UsedAt is { } at ? Micros.Of(at) : null)}|{Written(denial.Behind)}");
        return Shown(organization, denial) with { Id = Prefix + Base64Url.EncodeToString([.. Encoding.UTF8.GetBytes(content), .. Signature(organization, content)]) };
    }

    public EntitlementView Sign(string organization, EntitlementView entitlement) =>
        entitlement.Denial is { } denial ? entitlement with { Denial = Sign(organization, denial) } : entitlement;

    /// <summary>As this organization may see it: with billing_v2 off it names nothing that could be bought.</summary>
    public DenialView Shown(string organization, DenialView denial) => flags.IsOn(Flags.BillingV2, organization) ? denial
        : denial with { Message = WayOut.Without(denial.Message), UpgradeTo = [], TokenPackages = [] };

    /// <summary>What the denial was about; null when this service gave this organization no such id.</summary>
    public DenialQuestion? Read(string organization, string id)
    {
        if (!id.StartsWith(Prefix, StringComparison.Ordinal) || !Base64Url.IsValid(id.AsSpan(Prefix.Length))) return null;
        var bytes = Base64Url.DecodeFromChars(id.AsSpan(Prefix.Length));
        if (bytes.Length <= SignatureSize) return null;
        var content = Encoding.UTF8.GetString(bytes.AsSpan(..^SignatureSize));
        if (!CryptographicOperations.FixedTimeEquals(Signature(organization, content), bytes.AsSpan(^SignatureSize..))) return null;
        // What is signed was written by us; ids of an older build had fewer parts.
        if (content.Split('|') is not { Length: Parts } parts) return null;
        return new DenialQuestion(
            Number(parts[0]), Time(parts[1]), parts[2], Decimal(parts[3]), (int)Number(parts[4]), parts[5].Length == 0 ? null : Time(parts[5]),
            parts[6].Length == 0 ? [] : [.. parts[6].Split(';').Select(ReadBehind)]);
    }

    private byte[] Signature(string organization, string content) =>
        // The organization is signed too, and not written: an id of one is no id of another.
        HMACSHA256.HashData(key, Encoding.UTF8.GetBytes($"{organization}|{content}"))[..SignatureSize];

    /// <summary>Uses that went before it in the same request: <c>feature~quantity~time~enforce</c>.</summary>
    private static string Written(IReadOnlyList<RecordUsage> uses) => string.Join(';', uses.Select(u => string.Create(CultureInfo.InvariantCulture,
        $"{u.Feature}~{u.Quantity}~{(u.Timestamp is { } at ? Micros.Of(at) : null)}~{(u.Enforce ? 1 : 0)}")));

    private static RecordUsage ReadBehind(string text, int index)
    {
        var parts = text.Split('~');
        return new RecordUsage(parts[0], Decimal(parts[1]), null, parts[2].Length == 0 ? null : Time(parts[2]), parts[3] == "1", null)
        {
            Id = string.Create(CultureInfo.InvariantCulture, $"ledger:behind:{index}"), ContentHash = [], At = default,
        };
    }

    private static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);

    private static decimal Decimal(string text) => decimal.Parse(text, CultureInfo.InvariantCulture);

    private static Instant Time(string text) => Micros.ToInstant(Number(text));
}
