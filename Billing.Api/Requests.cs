using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Http.Features;

namespace Billing.Api;

/// <summary>A request's body, with the hash that says whether a repeat asks for the same.</summary>
public sealed class RequestBody : IDisposable
{
    /// <summary>The most that one body may have, unless its route says otherwise.</summary>
    public const int MaxBytes = 64 * 1024;

    /// <summary>The most that a batch may have.</summary>
    public const int MaxBatchBytes = 2 * 1024 * 1024;

    public const int MaxDepth = 16;

    private static readonly JsonDocumentOptions Options = new() { MaxDepth = MaxDepth, AllowDuplicateProperties = false };

    private readonly HttpRequest request;
    private readonly JsonDocument document;
    private SequencePosition? end;

    /// <param name="end">How far the request's pipe was read: the document stands on the pipe's own memory until it is disposed.</param>
    private RequestBody(HttpRequest request, JsonDocument document, SequencePosition? end)
    {
        this.request = request;
        this.document = document;
        this.end = end;
    }

    /// <summary>The body; an empty object when there was none.</summary>
    public JsonElement Json => document.RootElement;

    /// <summary>Read once: whoever asks again gets the same.</summary>
    public static async ValueTask<RequestBody> Read(HttpContext http, int maxBytes = MaxBytes)
    {
        if (http.Features.Get<RequestBody>() is { } read) return read;
        if (http.Features.Get<IHttpRequestBodyDetectionFeature>()?.CanHaveBody != true || http.Request.ContentLength == 0)
            return new RequestBody(http.Request, JsonDocument.Parse("{}"), null);
        if (!http.Request.HasJsonContentType())
            throw new ApiException("unsupported_media_type", MustBeJson(http));
        if (http.Request.ContentLength > maxBytes) throw TooLarge(maxBytes);

        var reader = http.Request.BodyReader;
        while (true)
        {
            var part = await reader.ReadAsync(http.RequestAborted);
            if (part.Buffer.Length > maxBytes)
            {
                reader.AdvanceTo(part.Buffer.End);
                throw TooLarge(maxBytes);
            }
            if (!part.IsCompleted)
            {
                reader.AdvanceTo(part.Buffer.Start, part.Buffer.End);
                continue;
            }
            try
            {
                var document = JsonDocument.Parse(part.Buffer, Options);
                if (document.RootElement.ValueKind == JsonValueKind.Object) return new RequestBody(http.Request, document, part.Buffer.End);
                document.Dispose();
            }
            // A name with half a character in it (\ud800 alone) is no JsonException.
            catch (Exception e) when (e is JsonException or InvalidOperationException)
            {
                reader.AdvanceTo(part.Buffer.End);
                throw new ApiException("invalid_json", $"The body cannot be read as JSON of at most {MaxDepth} levels: {e.Message}");
            }
            reader.AdvanceTo(part.Buffer.End);
            throw new ApiException("invalid_json", "The body must be a JSON object.");
        }
    }

    public T As<T>(JsonTypeInfo<T> type) => Read(Json, type, "");

    /// <summary>A part of the body; errors name its place.</summary>
    public static T Read<T>(JsonElement json, JsonTypeInfo<T> type, string path)
    {
        try
        {
            return json.Deserialize(type) ?? throw new ApiException("invalid_field", "An object is expected here.", path);
        }
        catch (JsonException e)
        {
            if (UnknownField(json, type, path) is { } unknown) throw new ApiException("unknown_field", $"There is no field '{unknown}' here.", unknown);
            var field = path + (e.Path ?? "$")[1..];
            throw new ApiException("invalid_field", $"The field '{field.TrimStart('.')}' has a wrong value. {Expected(e)}", field.TrimStart('.'));
        }
    }

    /// <summary>SHA-256 over the route and the JSON as it was sent, but for the order of members and white space.</summary>
    public byte[] ContentHash() => ContentHash(Json);

    /// <summary>Of one item of a batch.</summary>
    public byte[] ContentHash(JsonElement json) => ContentHasher.Hash(request.Method, request.Path.Value ?? "", json);

    public void Dispose()
    {
        document.Dispose();
        if (end is { } read) request.BodyReader.AdvanceTo(read);
        end = null;
    }

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
