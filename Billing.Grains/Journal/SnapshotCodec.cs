using System.Buffers;
using System.Buffers.Binary;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using Billing.Ledger;
using NodaTime;

namespace Billing.Grains.Journal;

/// <summary>
/// Between a state and its snapshot. The state is written by its fields, whatever they are (<see cref="StateShape"/>), so
/// that no member can be forgotten, and compressed.
/// </summary>
public static class SnapshotCodec
{
    private const int LengthSize = sizeof(int);

    /// <summary>Higher ones take several times as long for a few per cent.</summary>
    private const int CompressionQuality = 3;

    private const int CompressionWindow = 18;

    private static readonly StateShape Shape = StateShape.Of(typeof(State));

    /// <summary>
    /// What a snapshot must have been made with to be what a fold gives now: this shape of state, these rules (the builds of the
    /// ledger and of the event codec), this table of time zones. Whatever of it changes, older snapshots are not read any more.
    /// </summary>
    public static readonly string Format = FormatOf(Shape);

    /// <param name="hash">Of the state's last event.</param>
    /// <exception cref="NotSupportedException">The state has something in it that cannot be written as it is.</exception>
    public static Snapshot Encode(State state, byte[] hash)
    {
        var writer = new ShapeWriter();
        Shape.Write(writer, state);
        var written = writer.Written;
        var buffer = ArrayPool<byte>.Shared.Rent(BrotliEncoder.GetMaxCompressedLength(written.Length));
        try
        {
            if (!BrotliEncoder.TryCompress(written, buffer, out var compressed, CompressionQuality, CompressionWindow))
                throw new NotSupportedException("The state could not be compressed.");
            var body = new byte[SHA256.HashSizeInBytes + LengthSize + compressed];
            BinaryPrimitives.WriteInt32BigEndian(body.AsSpan(SHA256.HashSizeInBytes), written.Length);
            buffer.AsSpan(0, compressed).CopyTo(body.AsSpan(SHA256.HashSizeInBytes + LengthSize));
            var snapshot = new Snapshot(state.Organization, state.Version, hash, Format, body);
            Checksum(snapshot, body);
            return snapshot;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>The state, or null when the snapshot is not as it was made.</summary>
    public static State? TryDecode(Snapshot snapshot)
    {
        try
        {
            return Decode(snapshot);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // Whatever damage does to the reader.
            return null;
        }
    }

    /// <exception cref="InvalidDataException">It is not as it was made.</exception>
    public static State Decode(Snapshot snapshot)
    {
        if (snapshot.Format != Format) throw new InvalidDataException("It is of another format.");
        Span<byte> checksum = stackalloc byte[SHA256.HashSizeInBytes];
        if (snapshot.Body.Length < checksum.Length + LengthSize) throw new InvalidDataException("Its body is cut off.");
        Checksum(snapshot, checksum);
        if (!snapshot.Body.AsSpan(0, checksum.Length).SequenceEqual(checksum)) throw new InvalidDataException("Its checksum does not fit.");

        var length = BinaryPrimitives.ReadInt32BigEndian(snapshot.Body.AsSpan(checksum.Length));
        var buffer = ArrayPool<byte>.Shared.Rent(length);
        try
        {
            if (!BrotliDecoder.TryDecompress(snapshot.Body.AsSpan(checksum.Length + LengthSize), buffer.AsSpan(0, length), out var written) || written != length)
                throw new InvalidDataException("Its body cannot be decompressed.");
            var reader = new ShapeReader(buffer, length);
            var state = (State)Shape.Read(reader);
            if (!reader.AtEnd || state.Organization != snapshot.Organization || state.Version != snapshot.Version) throw new InvalidDataException("It is of another state.");
            return state;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Over everything that a snapshot is, so that none passes for another organization's or version's.</summary>
    private static void Checksum(Snapshot snapshot, Span<byte> to)
    {
        using var sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> number = stackalloc byte[sizeof(long)];
        foreach (var text in (ReadOnlySpan<string>)[snapshot.Format, snapshot.Organization])
        {
            var utf8 = Encoding.UTF8.GetBytes(text);
            BinaryPrimitives.WriteInt64BigEndian(number, utf8.Length);
            sha.AppendData(number);
            sha.AppendData(utf8);
        }
        BinaryPrimitives.WriteInt64BigEndian(number, snapshot.Version);
        sha.AppendData(number);
        sha.AppendData(SHA256.HashData(snapshot.Hash));
        sha.AppendData(snapshot.Body.AsSpan(SHA256.HashSizeInBytes));
        sha.GetHashAndReset(to);
    }

    internal static string FormatOf(StateShape shape)
    {
        // A compiler gives the same id to the same sources only: a rule that was changed changes the format, whoever remembers to say so.
        var text = string.Join('\n', shape.Describe(), typeof(State).Module.ModuleVersionId, typeof(EventCodec).Module.ModuleVersionId, DateTimeZoneProviders.Tzdb.VersionId);
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..32];
    }
}
