using System.Globalization;
using System.Text;
using Billing.Grains;
using Billing.Ledger;

namespace Billing.Api;

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
        if (header.Count > 1 || key.Length > Ids.MaxCommandIdLength || key.AsSpan().ContainsAnyExceptInRange('!', '~'))
            throw new ApiException("idempotency_key_invalid", $"An Idempotency-Key is one value of 1 to {Ids.MaxCommandIdLength} printable ASCII characters without spaces.", "Idempotency-Key");
        if (Array.Exists(Reserved, r => key.StartsWith(r, StringComparison.Ordinal)))
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

    /// <summary>true or false; false without it.</summary>
    public static bool FlagParameter(this HttpContext http, string name) => http.Request.Query[name].FirstOrDefault() switch
    {
        null or "false" => false,
        "true" => true,
        { } text => throw new ApiException("invalid_parameter", $"'{text}' is neither true nor false.", name),
    };

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
