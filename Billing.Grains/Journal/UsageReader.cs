using System.Text;
using System.Text.Json;
using Billing.Ledger;

namespace Billing.Grains.Journal;

/// <summary>
/// Reads the bodies of <c>usage-recorded</c>, which nearly all events of a long stream are: the same as the generated
/// reader makes of them (a test compares the two), without a string for each repeated id and without windows that the
/// event before had too.
/// </summary>
internal static class UsageReader
{
    /// <summary>The windows of the event read before on this thread. Events of one time have the same.</summary>
    [ThreadStatic] private static (byte[] Json, CountedWindow[]? Windows) last;

    /// <returns>Null when there is something in it that only the generated reader knows to read.</returns>
    public static UsageRecorded? Read(StoredEvent stored)
    {
        var reader = new Utf8JsonReader(stored.Body);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject) return null;
        string? feature = null, plan = null, hold = null, corrects = null;
        long quantity = 0, allowance = 0, byTokens = 0, overage = 0;
        long? gauge = null;
        decimal? unitPrice = null;
        var (overLimit, catalogVersion) = (false, 0);
        GrantUse[]? grants = null;
        CountedWindow[]? windows = null;
        NodaTime.Instant? billedAt = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            // Longer names and escaped ones are the generated reader's.
            if (reader.ValueIsEscaped) return null;
            var name = reader.ValueSpan;
            if (name.SequenceEqual("feature"u8)) feature = Id(ref reader);
            else if (name.SequenceEqual("quantity"u8)) quantity = Number(ref reader);
            else if (name.SequenceEqual("allowance"u8)) allowance = Number(ref reader);
            else if (name.SequenceEqual("by_tokens"u8)) byTokens = Number(ref reader);
            else if (name.SequenceEqual("overage"u8)) overage = Number(ref reader);
            else if (name.SequenceEqual("over_limit"u8)) overLimit = reader.Read() && reader.GetBoolean();
            else if (name.SequenceEqual("windows"u8)) windows = Windows(ref reader, stored.Body);
            else if (name.SequenceEqual("plan"u8)) plan = Id(ref reader);
            else if (name.SequenceEqual("catalog_version"u8)) catalogVersion = (int)Number(ref reader);
            else if (name.SequenceEqual("grants"u8)) grants = Parse(ref reader, EventCodec.Json.GrantUseArray);
            else if (name.SequenceEqual("unit_price"u8)) unitPrice = reader.Read() ? reader.GetDecimal() : null;
            else if (name.SequenceEqual("gauge"u8)) gauge = Number(ref reader);
            else if (name.SequenceEqual("billed_at"u8)) billedAt = Parse(ref reader, EventCodec.Json.Instant);
            else if (name.SequenceEqual("hold"u8)) hold = Text(ref reader);
            else if (name.SequenceEqual("corrects"u8)) corrects = Text(ref reader);
            else return null;
        }
        if (feature is null || reader.TokenType != JsonTokenType.EndObject || reader.Read()) return null;
        return new UsageRecorded(feature, quantity, allowance, byTokens, overage, unitPrice, overLimit, gauge, grants, windows, plan, catalogVersion, null)
        {
            Version = stored.Version, EffectiveAt = stored.EffectiveAt, RecordedAt = stored.RecordedAt, BilledAt = billedAt, Hold = hold, Corrects = corrects,
        };
    }

    private static long Number(ref Utf8JsonReader reader) => reader.Read() ? reader.GetInt64() : 0;

    private static string? Text(ref Utf8JsonReader reader) => reader.Read() ? reader.GetString() : null;

    private static string? Id(ref Utf8JsonReader reader) => reader.Read() ? reader.ValueIsEscaped ? reader.GetString() : SharedIds.Of(reader.ValueSpan) : null;

    private static T? Parse<T>(ref Utf8JsonReader reader, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) =>
        reader.Read() ? JsonSerializer.Deserialize(ref reader, type) : default;

    private static CountedWindow[]? Windows(ref Utf8JsonReader reader, byte[] body)
    {
        reader.Read();
        var start = (int)reader.TokenStartIndex;
        // A look ahead at the bytes is cheaper than reading them.
        var (json, windows) = last;
        if (json is not null && body.AsSpan(start).StartsWith(json))
        {
            reader.Skip();
            return windows;
        }
        windows = JsonSerializer.Deserialize(ref reader, EventCodec.Json.CountedWindowArray);
        last = (body[start..(int)reader.BytesConsumed], windows);
        return windows;
    }
}

/// <summary>One string for each id that is read over and over: features and plans are few, events are many.</summary>
internal static class SharedIds
{
    private const int Places = 1_024;

    private static readonly string?[] Kept = new string?[Places];

    /// <summary>The text of these UTF-8 bytes. Whatever else fell on its place meanwhile, the answer is right.</summary>
    public static string Of(ReadOnlySpan<byte> utf8)
    {
        var hash = new HashCode();
        hash.AddBytes(utf8);
        ref var place = ref Kept[hash.ToHashCode() & (Places - 1)];
        var kept = Volatile.Read(ref place);
        if (kept is not null && kept.Length == utf8.Length && Ascii.Equals(utf8, kept)) return kept;
        var text = Encoding.UTF8.GetString(utf8);
        Volatile.Write(ref place, text);
        return text;
    }
}
