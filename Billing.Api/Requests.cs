using System.Buffers;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Billing.Grains;
using Billing.Ledger;

namespace Billing.Api;

/// <summary>A request's body, with the hash that says whether a repeat asks for the same.</summary>
public sealed class RequestBody(JsonDocument document, string route) : IDisposable
{
    /// <summary>The most that one body may have, unless its route says otherwise.</summary>
    public const int MaxBytes = 64 * 1024;

    /// <summary>The most that a batch may have.</summary>
    public const int MaxBatchBytes = 2 * 1024 * 1024;

    public const int MaxDepth = 16;

    private static readonly JsonDocumentOptions Options = new() { MaxDepth = MaxDepth, AllowDuplicateProperties = false };

    /// <summary>The body; an empty object when there was none.</summary>
    public JsonElement Json => document.RootElement;

    public static async ValueTask<RequestBody> Read(HttpContext http, int maxBytes = MaxBytes)
    {
        var route = $"{http.Request.Method} {http.Request.Path}";
        if (http.Request.ContentLength is 0 or null && !http.Request.Headers.ContainsKey("Transfer-Encoding")) return new RequestBody(JsonDocument.Parse("{}"), route);
        if (!http.Request.HasJsonContentType())
            throw new ApiException("unsupported_media_type", MustBeJson(http));
        if (http.Request.ContentLength > maxBytes) throw TooLarge(maxBytes);

        var reader = http.Request.BodyReader;
        while (true)
        {
            var read = await reader.ReadAsync(http.RequestAborted);
            if (read.Buffer.Length > maxBytes)
            {
                reader.AdvanceTo(read.Buffer.End);
                throw TooLarge(maxBytes);
            }
            if (!read.IsCompleted)
            {
                reader.AdvanceTo(read.Buffer.Start, read.Buffer.End);
                continue;
            }
            try
            {
                // Parsed from a copy: the pipe takes its memory back.
                var document = JsonDocument.Parse(read.Buffer.ToArray(), Options);
                if (document.RootElement.ValueKind == JsonValueKind.Object) return new RequestBody(document, route);
                document.Dispose();
                throw new ApiException("invalid_json", "The body must be a JSON object.");
            }
            // A name with half a character in it (\ud800 alone) is no JsonException.
            catch (Exception e) when (e is JsonException or InvalidOperationException)
            {
                throw new ApiException("invalid_json", $"The body cannot be read as JSON of at most {MaxDepth} levels: {e.Message}");
            }
            finally
            {
                reader.AdvanceTo(read.Buffer.End);
            }
        }
    }

    public T As<T>(JsonTypeInfo<T> type) => Read(Json, type, "");

    /// <summary>A part of the body; errors name its place.</summary>
    public static T Read<T>(JsonElement json, JsonTypeInfo<T> type, string path)
    {
        if (UnknownField(json, type, path) is { } unknown) throw new ApiException("unknown_field", $"There is no field '{unknown}' here.", unknown);
        try
        {
            return json.Deserialize(type) ?? throw new ApiException("invalid_field", "An object is expected here.", path);
        }
        catch (JsonException e)
        {
            var field = path + (e.Path ?? "$")[1..];
            throw new ApiException("invalid_field", $"The field '{field.TrimStart('.')}' has a wrong value. {Expected(e)}", field.TrimStart('.'));
        }
    }

    /// <summary>SHA-256 over the route and the JSON as it was sent, but for the order of members and white space.</summary>
    public byte[] ContentHash() => ContentHash(Json);

    /// <summary>Of one item of a batch.</summary>
    public byte[] ContentHash(JsonElement json)
    {
        var hasher = new ContentHasher();
        hasher.Text(route);
        hasher.Value(json);
        return hasher.Finish();
    }

    public void Dispose() => document.Dispose();

    public static string MustBeJson(HttpContext http) => $"The body is '{http.Request.ContentType}'. Send Content-Type: application/json.";

    private static ApiException TooLarge(int maxBytes) => new("body_too_large", $"The body may have at most {maxBytes} bytes here.");

    /// <summary>Our converters explain themselves; what the serializer says by itself is about CLR types.</summary>
    private static string Expected(JsonException e) => e.InnerException is null && !e.Message.Contains("System.", StringComparison.Ordinal) && !e.Message.Contains("Billing.", StringComparison.Ordinal)
        ? e.Message.Split(" Path: ")[0]
        : "See /swagger for its type.";

    private static string? UnknownField(JsonElement json, JsonTypeInfo type, string path)
    {
        if (type.Kind == JsonTypeInfoKind.Enumerable && json.ValueKind == JsonValueKind.Array)
        {
            var element = type.Options.GetTypeInfo(type.ElementType!);
            return json.EnumerateArray().Select((item, i) => UnknownField(item, element, $"{path}[{i}]")).FirstOrDefault(found => found is not null);
        }
        if (type.Kind != JsonTypeInfoKind.Object || json.ValueKind != JsonValueKind.Object) return null;
        foreach (var member in json.EnumerateObject())
        {
            var place = path.Length == 0 ? member.Name : $"{path}.{member.Name}";
            if (type.Properties.FirstOrDefault(p => p.Name == member.Name) is not { } property) return place;
            if (member.Value.ValueKind is JsonValueKind.Object or JsonValueKind.Array
                && UnknownField(member.Value, type.Options.GetTypeInfo(property.PropertyType), place) is { } unknown) return unknown;
        }
        return null;
    }
}

/// <summary>Hashes JSON so that the order of members and white space do not count and everything else does.</summary>
internal sealed class ContentHasher
{
    private readonly ArrayBufferWriter<byte> buffer = new(512);

    public void Text(string text) => Encoding.UTF8.GetBytes(text, buffer);

    public void Value(JsonElement json)
    {
        switch (json.ValueKind)
        {
            case JsonValueKind.Object:
                Text("{");
                foreach (var member in json.EnumerateObject().OrderBy(m => m.Name, StringComparer.Ordinal))
                {
                    Text($"{member.Name.Length}:{member.Name}=");
                    Value(member.Value);
                }
                Text("}");
                break;
            case JsonValueKind.Array:
                Text("[");
                foreach (var item in json.EnumerateArray())
                {
                    Value(item);
                    Text(",");
                }
                Text("]");
                break;
            case JsonValueKind.String:
                var text = json.GetString()!;
                Text($"\"{text.Length}:{text}");
                break;
            default:
                Text(json.GetRawText());
                Text(";");
                break;
        }
    }

    public byte[] Finish() => SHA256.HashData(buffer.WrittenSpan);
}

/// <summary>Reading headers and query parameters, with errors that say what would be right.</summary>
public static class RequestExtensions
{
    /// <summary>Command ids that the service makes itself.</summary>
    private static readonly string[] Reserved = ["stripe:", "ledger:"];

    public const int MaxPageSize = 500;

    /// <summary>The command's id, as the caller made it.</summary>
    public static string IdempotencyKey(this HttpContext http)
    {
        var header = http.Request.Headers["Idempotency-Key"];
        if (header.Count == 0 || string.IsNullOrEmpty(header[0]))
            throw new ApiException("idempotency_key_missing", "Send an Idempotency-Key header: one new value (such as a UUID) for each new request, the same for a repeat.", "Idempotency-Key");
        var key = header[0]!;
        if (header.Count > 1 || key.Length > Ids.MaxCommandIdLength || !key.All(c => c is > ' ' and <= '~'))
            throw new ApiException("idempotency_key_invalid", $"An Idempotency-Key is one value of 1 to {Ids.MaxCommandIdLength} printable ASCII characters without spaces.", "Idempotency-Key");
        if (Reserved.Any(r => key.StartsWith(r, StringComparison.Ordinal)))
            throw new ApiException("idempotency_key_invalid", $"Keys that begin with {string.Join(" or ", Reserved)} are the service's own.", "Idempotency-Key");
        return key;
    }

    /// <summary>Where a repeat is harmless by itself (PUT, DELETE), the caller need not make an id.</summary>
    public static string OptionalIdempotencyKey(this HttpContext http) =>
        http.Request.Headers.ContainsKey("Idempotency-Key") ? http.IdempotencyKey() : $"ledger:{http.Request.Method}:{Guid.NewGuid():N}";

    /// <summary>Tells the caller that this was recorded before.</summary>
    public static void MarkReplayed(this HttpContext http, bool replayed)
    {
        if (replayed) http.Response.Headers["Idempotency-Replayed"] = "true";
    }

    /// <summary>Source: draft-ietf-httpapi-ratelimit-headers, with quantities rounded down to whole numbers.</summary>
    public static void AddRateLimit(this HttpContext http, string feature, RateView rate, NodaTime.Instant now)
    {
        var name = $"\"{feature}-{rate.Window}\"";
        http.Response.Headers["RateLimit-Policy"] = $"{name};q={Math.Floor(rate.Limit)}" + (rate.Window switch { "hour" => ";w=3600", "day" => ";w=86400", _ => "" });
        http.Response.Headers["RateLimit"] = $"{name};r={Math.Floor(rate.Remaining)};t={Math.Max(0, (long)Math.Ceiling((rate.Until - now).TotalSeconds))}";
    }

    public static decimal? QuantityParameter(this HttpContext http, string name)
    {
        if (http.Request.Query[name].FirstOrDefault() is not { } text) return null;
        return text.Length <= QuantityJson.MaxDigits && decimal.TryParse(text, NumberStyles.AllowDecimalPoint | NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value)
            ? value
            : throw new ApiException("invalid_parameter", $"'{text}' is no quantity. Write a number such as 3 or 12.5.", name);
    }

    public static int LimitParameter(this HttpContext http, int byDefault = 100)
    {
        if (http.Request.Query["limit"].FirstOrDefault() is not { } text) return byDefault;
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var limit) && limit is >= 1 and <= MaxPageSize
            ? limit
            : throw new ApiException("invalid_parameter", $"'{text}' is no limit. Write a number from 1 to {MaxPageSize}.", "limit");
    }

    public static NodaTime.Instant? TimeParameter(this HttpContext http, string name)
    {
        if (http.Request.Query[name].FirstOrDefault() is not { } text) return null;
        var parsed = NodaTime.Text.OffsetDateTimePattern.Rfc3339.Parse(text);
        // At the very ends of the calendar there is no next day or hour to count to.
        return parsed.Success && parsed.Value.Year is >= 1 and <= 9998
            ? parsed.Value.ToInstant()
            : throw new ApiException("invalid_parameter", $"'{text}' is no time. Write it like 2026-11-20T10:00:00Z.", name);
    }

    public static T? ChoiceParameter<T>(this HttpContext http, string name) where T : struct, Enum
    {
        if (http.Request.Query[name].FirstOrDefault() is not { } text) return null;
        return Spelling.TryParse<T>(text, out var value)
            ? value
            : throw new ApiException("invalid_parameter", $"'{text}' is unknown. Known: {string.Join(", ", Enum.GetValues<T>().Select(v => Spelling.Of(v)))}.", name);
    }

    /// <summary>The place after which a page begins. Opaque to callers.</summary>
    public static long CursorParameter(this HttpContext http)
    {
        if (http.Request.Query["cursor"].FirstOrDefault() is not { } text) return 0;
        return Cursor.TryRead(text, out var value) && long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var after)
            ? after
            : throw new ApiException("invalid_parameter", "This cursor is not one of ours. Take next_cursor from the page before.", "cursor");
    }
}

/// <summary>Opaque page positions.</summary>
public static class Cursor
{
    public static string Of(string place) => System.Buffers.Text.Base64Url.EncodeToString(Encoding.UTF8.GetBytes("c1:" + place));

    public static bool TryRead(string cursor, out string place)
    {
        place = "";
        if (!System.Buffers.Text.Base64Url.IsValid(cursor)) return false;
        var text = Encoding.UTF8.GetString(System.Buffers.Text.Base64Url.DecodeFromChars(cursor));
        if (!text.StartsWith("c1:", StringComparison.Ordinal)) return false;
        place = text[3..];
        return true;
    }
}
