using System.Buffers;
using NodaTime;
using Orleans.Serialization;
using Orleans.Serialization.Buffers;
using Orleans.Serialization.Cloning;
using Orleans.Serialization.Codecs;
using Orleans.Serialization.WireProtocol;

namespace Billing.Ledger;

/// <summary>
/// NodaTime's types between processes, to the nanosecond. What lies within two hundred years of 1970, nearly everything, is one number
/// of eight bytes; what does not (the end of a window that never turns) is its days and the nanoseconds of the last one.
/// </summary>
internal static class NodaWire
{
    private const int WideLength = sizeof(int) + sizeof(long);
    private static readonly Duration Wide = Duration.FromDays(200 * 365);

    public static void Write<TBufferWriter>(ref Writer<TBufferWriter> writer, uint fieldIdDelta, Type expectedType, Type type, Duration value) where TBufferWriter : IBufferWriter<byte>
    {
        ReferenceCodec.MarkValueField(writer.Session);
        if (value < Wide && value > -Wide)
        {
            writer.WriteFieldHeader(fieldIdDelta, expectedType, type, WireType.Fixed64);
            writer.WriteInt64(value.ToInt64Nanoseconds());
            return;
        }
        writer.WriteFieldHeader(fieldIdDelta, expectedType, type, WireType.LengthPrefixed);
        writer.WriteVarUInt32(WideLength);
        writer.WriteInt32(value.Days);
        writer.WriteInt64(value.NanosecondOfDay);
    }

    public static Duration Read<TInput>(ref Reader<TInput> reader, Field field)
    {
        ReferenceCodec.MarkValueField(reader.Session);
        if (field.WireType == WireType.Fixed64) return Duration.FromNanoseconds(reader.ReadInt64());
        if (field.WireType != WireType.LengthPrefixed || reader.ReadVarUInt32() != WideLength)
            throw new UnsupportedWireTypeException($"A time is {WireType.Fixed64} or {WideLength} bytes, and not {field.WireType}.");
        return Duration.FromDays(reader.ReadInt32()) + Duration.FromNanoseconds(reader.ReadInt64());
    }
}

[RegisterSerializer]
internal sealed class InstantCodec : IFieldCodec<Instant>
{
    void IFieldCodec<Instant>.WriteField<TBufferWriter>(ref Writer<TBufferWriter> writer, uint fieldIdDelta, Type expectedType, Instant value) =>
        NodaWire.Write(ref writer, fieldIdDelta, expectedType, typeof(Instant), value - NodaConstants.UnixEpoch);

    Instant IFieldCodec<Instant>.ReadValue<TInput>(ref Reader<TInput> reader, Field field) => NodaConstants.UnixEpoch + NodaWire.Read(ref reader, field);
}

[RegisterSerializer]
internal sealed class DurationCodec : IFieldCodec<Duration>
{
    void IFieldCodec<Duration>.WriteField<TBufferWriter>(ref Writer<TBufferWriter> writer, uint fieldIdDelta, Type expectedType, Duration value) =>
        NodaWire.Write(ref writer, fieldIdDelta, expectedType, typeof(Duration), value);

    Duration IFieldCodec<Duration>.ReadValue<TInput>(ref Reader<TInput> reader, Field field) => NodaWire.Read(ref reader, field);
}

[RegisterCopier]
internal sealed class InstantCopier : ShallowCopier<Instant>;

[RegisterCopier]
internal sealed class DurationCopier : ShallowCopier<Duration>;
