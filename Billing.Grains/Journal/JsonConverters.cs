using System.Text.Json;
using System.Text.Json.Serialization;
using Billing.Ledger;
using NodaTime;

namespace Billing.Grains.Journal;

/// <summary>RFC 3339 in UTC, with as many decimals as are needed.</summary>
public sealed class InstantJson : JsonConverter<Instant>
{
    public override Instant Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String && HasOffset(ref reader) && reader.TryGetDateTimeOffset(out var time)
            ? Micros.Truncate(Instant.FromDateTimeOffset(time))
            : throw new JsonException("A time is written like 2026-11-20T10:00:00Z (RFC 3339, with its offset).");

    public override void Write(Utf8JsonWriter writer, Instant value, JsonSerializerOptions options) => writer.WriteStringValue(value.ToDateTimeUtc());

    /// <summary>A time without an offset would be read in the machine's own zone.</summary>
    private static bool HasOffset(ref Utf8JsonReader reader)
    {
        if (reader.HasValueSequence || reader.ValueSpan.Length < 17) return false;
        var text = reader.ValueSpan;
        return text[^1] == (byte)'Z' || text[^6] is (byte)'+' or (byte)'-';
    }
}

/// <summary>Enums as the outside spells them.</summary>
public sealed class SpelledEnum<T> : JsonConverter<T> where T : struct, Enum
{
    public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String && Spelling.TryParse<T>(reader.GetString()!, out var value)
            ? value
            : throw new JsonException($"Known here: {string.Join(", ", Enum.GetValues<T>().Select(v => Spelling.Of(v)))}.");

    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) => writer.WriteStringValue(Spelling.Of(value));
}
