using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Billing.Api.Stripe;

/// <summary>
/// The <c>Stripe-Signature</c> header: <c>t=…,v1=…[,v1=…][,v0=…]</c>, where v1 is the hex HMAC-SHA256 of
/// <c>t + "." + raw body</c>. Source: docs.stripe.com/webhooks, "Verify webhook signatures manually".
/// </summary>
public static class StripeSignature
{
    /// <summary>How old or how far ahead a signature may be. Each retry is signed anew.</summary>
    public const long ToleranceSeconds = 300;

    /// <param name="secrets">Any of them may have signed: one is replaced by another over a day, and endpoints differ.</param>
    /// <param name="now">Unix seconds.</param>
    /// <returns>What is wrong, or null when the signature is good.</returns>
    public static string? Problem(string? header, ReadOnlySpan<byte> body, IReadOnlyList<string> secrets, long now)
    {
        if (string.IsNullOrEmpty(header)) return "The Stripe-Signature header is missing.";
        string? time = null;
        var signatures = new List<byte[]>();
        foreach (var part in header.Split(','))
        {
            var at = part.IndexOf('=');
            if (at < 0) continue;
            var (scheme, value) = (part[..at].Trim(), part[(at + 1)..].Trim());
            if (scheme == "t") time = value;
            // v0 is a fake that comes with test events; taking anything but v1 would be a downgrade.
            else if (scheme == "v1" && value.Length == 64 && value.All(char.IsAsciiHexDigitLower)) signatures.Add(Convert.FromHexString(value));
        }
        if (time is null || !long.TryParse(time, NumberStyles.None, CultureInfo.InvariantCulture, out var signedAt)) return "The Stripe-Signature header has no time.";
        if (signatures.Count == 0) return "The Stripe-Signature header has no v1 signature.";

        // The signature first and its time afterwards: a time that nobody signed says nothing.
        var good = false;
        foreach (var secret in secrets)
        {
            using var hmac = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, Encoding.UTF8.GetBytes(secret));
            hmac.AppendData(Encoding.UTF8.GetBytes(time));
            hmac.AppendData("."u8);
            hmac.AppendData(body);
            var expected = hmac.GetHashAndReset();
            foreach (var signature in signatures) good |= CryptographicOperations.FixedTimeEquals(expected, signature);
        }
        if (!good) return "No signature matches. Check that STRIPE_WEBHOOK_SECRET is this endpoint's.";
        return Math.Abs((decimal)now - signedAt) > ToleranceSeconds ? $"The signature is more than {ToleranceSeconds} s away from our clock." : null;
    }
}
