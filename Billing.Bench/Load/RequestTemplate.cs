using System.Text;

namespace Billing.Bench;

/// <summary>
/// The bytes of a request, made once. Each connection has a copy in which it writes the digits of the organization, of
/// the idempotency key and of a quantity, so that sending costs no formatting and no allocation.
/// </summary>
public sealed class RequestTemplate
{
    /// <summary>Six digits stand for the organization.</summary>
    public const int MaxOrganizations = 1_000_000;

    public const string OrganizationMark = "org-######";

    /// <summary>The organization that stands in a request for this number.</summary>
    public static string OrganizationId(int organization) => $"org-{organization:000000}";

    /// <summary>Eight places stand for a quantity, which may have spaces before it.</summary>
    public const string QuantityMark = "********";

    /// <summary>Sixteen digits stand for a number that no two requests share.</summary>
    public const string NumberMark = "@@@@@@@@@@@@@@@@";

    private const string KeyMark = $"bench-{NumberMark}";
    private const int OrganizationDigits = 6;
    private const int KeyDigits = 16;

    private readonly byte[] bytes;
    private readonly int organizationAt;
    private readonly int keyAt;
    private readonly int quantityAt;
    private readonly bool hasAuthorization;

    private RequestTemplate(string head, string body, int status, string expectedStart)
    {
        bytes = Encoding.UTF8.GetBytes($"{head}\r\n{body}");
        organizationAt = bytes.AsSpan().IndexOf("######"u8);
        keyAt = bytes.AsSpan().IndexOf("@@@@@@@@@@@@@@@@"u8);
        quantityAt = bytes.AsSpan().IndexOf("********"u8);
        Status = status;
        ExpectedStart = Encoding.UTF8.GetBytes(expectedStart);
    }

    private RequestTemplate(RequestTemplate other)
    {
        bytes = [.. other.bytes];
        (organizationAt, keyAt, quantityAt, hasAuthorization) = (other.organizationAt, other.keyAt, other.quantityAt, other.hasAuthorization);
        (Status, ExpectedStart) = (other.Status, other.ExpectedStart);
    }

    private RequestTemplate(RequestTemplate other, string authorization, int status, byte[] expectedStart)
    {
        // The key goes in last, because it is made anew for each start of the API.
        var line = Encoding.UTF8.GetBytes($"Authorization: Bearer {authorization}\r\n");
        var at = other.bytes.AsSpan().IndexOf("\r\n"u8) + 2;
        bytes = [.. other.bytes.AsSpan(0, at), .. line, .. other.bytes.AsSpan(at)];
        organizationAt = Moved(other.organizationAt);
        keyAt = other.keyAt < 0 ? bytes.AsSpan().IndexOf(Encoding.ASCII.GetBytes(NumberMark)) : Moved(other.keyAt);
        quantityAt = Moved(other.quantityAt);
        hasAuthorization = true;
        Status = status;
        ExpectedStart = expectedStart;

        int Moved(int place) => place < at ? place : place + line.Length;
    }

    public int Status { get; }

    /// <summary>How the body of a right answer begins.</summary>
    public byte[] ExpectedStart { get; }

    public ReadOnlyMemory<byte> Bytes => bytes;

    public static RequestTemplate Get(string path, string expectedStart) => new($"GET {path} HTTP/1.1\r\nHost: localhost\r\n", "", 200, expectedStart);

    public static RequestTemplate Post(string path, string body, int status, string expectedStart) => new(
        $"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {Encoding.UTF8.GetByteCount(body)}\r\nIdempotency-Key: {KeyMark}\r\n",
        body, status, expectedStart);

    /// <summary>A copy that one connection may write in.</summary>
    public RequestTemplate For(string authorization) => hasAuthorization ? new(this) : new(this, authorization, Status, ExpectedStart);

    /// <summary>The same request by somebody else.</summary>
    /// <param name="authorization">May have the mark of a number in it.</param>
    public RequestTemplate With(string authorization) => new(this, authorization, Status, ExpectedStart);

    /// <summary>The same request by somebody else, and what is answered to that.</summary>
    public RequestTemplate With(string authorization, int status, string expectedStart) => new(this, authorization, status, Encoding.UTF8.GetBytes(expectedStart));

    public void Write(int organization, long key, int quantity)
    {
        if (organizationAt >= 0) WriteDigits(bytes.AsSpan(organizationAt, OrganizationDigits), organization);
        if (keyAt >= 0) WriteDigits(bytes.AsSpan(keyAt, KeyDigits), key);
        if (quantityAt < 0) return;
        var place = bytes.AsSpan(quantityAt, QuantityMark.Length);
        WriteDigits(place, quantity);
        // JSON knows no zeros before a number; spaces it does.
        for (var i = 0; i < place.Length - 1 && place[i] == '0'; i++) place[i] = (byte)' ';
    }

    private static void WriteDigits(Span<byte> place, long number)
    {
        for (var i = place.Length - 1; i >= 0; i--)
        {
            (number, var digit) = Math.DivRem(number, 10);
            place[i] = (byte)('0' + digit);
        }
    }
}
