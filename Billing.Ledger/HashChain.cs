using System.Buffers;
using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Billing.Ledger;

/// <summary>
/// The chain over an organization's stream: each event's hash covers the hash before it and every stored column but the
/// journal's position, so that no bit can change unnoticed. Specified for other languages in ARCHITECTURE.md, "The chain".
/// </summary>
public static class HashChain
{
    public const int HashSize = 32;

    /// <summary>The hash before the first event: 32 zero bytes.</summary>
    public static readonly byte[] Start = new byte[HashSize];

    /// <summary>
    /// SHA-256 over the parts in order, each prefixed with its length as 4 bytes big-endian. Text is UTF-8, numbers are
    /// 8 bytes big-endian, times are microseconds since 1970 as numbers; what is absent has length 0.
    /// </summary>
    public static byte[] Next(
        ReadOnlySpan<byte> previousHash, string organization, long version, string type, int schema,
        long effectiveMicros, long recordedMicros, string? commandId, ReadOnlySpan<byte> contentHash, ReadOnlySpan<byte> body)
    {
        var most = 10 * 4 + previousHash.Length + 4 * 8 + contentHash.Length + body.Length
            + 3 * (organization.Length + type.Length + (commandId?.Length ?? 0));
        var buffer = ArrayPool<byte>.Shared.Rent(most);
        var at = 0;
        Append(buffer, ref at, previousHash);
        Append(buffer, ref at, organization);
        Append(buffer, ref at, version);
        Append(buffer, ref at, type);
        Append(buffer, ref at, schema);
        Append(buffer, ref at, effectiveMicros);
        Append(buffer, ref at, recordedMicros);
        Append(buffer, ref at, commandId);
        Append(buffer, ref at, contentHash);
        Append(buffer, ref at, body);
        var hash = SHA256.HashData(buffer.AsSpan(0, at));
        ArrayPool<byte>.Shared.Return(buffer);
        return hash;
    }

    /// <summary>The same rule over other records than events.</summary>
    /// <param name="parts">Texts and numbers (<see cref="string"/>, <see cref="long"/>); null is what is absent.</param>
    public static byte[] Next(ReadOnlySpan<byte> previousHash, params ReadOnlySpan<object?> parts)
    {
        var most = 4 + previousHash.Length;
        foreach (var part in parts) most += 4 + (part is string s ? Encoding.UTF8.GetMaxByteCount(s.Length) : 8);
        var buffer = new byte[most];
        var at = 0;
        Append(buffer, ref at, previousHash);
        foreach (var part in parts)
        {
            if (part is long number) Append(buffer, ref at, number);
            else Append(buffer, ref at, (string?)part);
        }
        return SHA256.HashData(buffer.AsSpan(0, at));
    }

    private static void Append(byte[] buffer, ref int at, ReadOnlySpan<byte> bytes)
    {
        BinaryPrimitives.WriteInt32BigEndian(buffer.AsSpan(at), bytes.Length);
        bytes.CopyTo(buffer.AsSpan(at + 4));
        at += 4 + bytes.Length;
    }

    private static void Append(byte[] buffer, ref int at, string? text)
    {
        var length = Encoding.UTF8.GetBytes(text ?? "", buffer.AsSpan(at + 4));
        BinaryPrimitives.WriteInt32BigEndian(buffer.AsSpan(at), length);
        at += 4 + length;
    }

    private static void Append(byte[] buffer, ref int at, long number)
    {
        BinaryPrimitives.WriteInt32BigEndian(buffer.AsSpan(at), 8);
        BinaryPrimitives.WriteInt64BigEndian(buffer.AsSpan(at + 4), number);
        at += 12;
    }
}
