using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Billing.Grains;
using Billing.Grains.Journal;

namespace Billing.Api;

/// <summary>
/// A denial's id carries, signed, what its explanation is recomputed from: the version of the state, the time, the
/// feature and the quantity. Nothing is stored for it.
/// </summary>
public sealed class DenialIds(byte[] key)
{
    private const int SignatureSize = 12;

    public DenialView Sign(string organization, DenialView denial)
    {
        var content = string.Create(CultureInfo.InvariantCulture, $"{denial.Version}|{Micros.Of(denial.At)}|{denial.Feature}|{denial.Requested}");
        var payload = Encoding.UTF8.GetBytes(content);
        Span<byte> signature = stackalloc byte[32];
        // The organization is signed too, and not written: an id of one is no id of another.
        HMACSHA256.HashData(key, Encoding.UTF8.GetBytes($"{organization}|{content}"), signature);
        return denial with { Id = "dn_" + Base64Url.EncodeToString([.. payload, .. signature[..SignatureSize]]) };
    }

    public EntitlementView Sign(string organization, EntitlementView entitlement) =>
        entitlement.Denial is { } denial ? entitlement with { Denial = Sign(organization, denial) } : entitlement;
}
