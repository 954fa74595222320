using System.Buffers;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Billing.Api;

/// <summary>JSON answers, written at once with their length.</summary>
internal static class Answers
{
    /// <summary>Larger buffers are not kept for the next answer.</summary>
    private const int MaxKeptBytes = 256 * 1024;

    [ThreadStatic] private static ArrayBufferWriter<byte>? buffer;
    [ThreadStatic] private static Utf8JsonWriter? writer;

    public static IResult Json<T>(T value, JsonTypeInfo<T> type, int status = 200, string contentType = "application/json; charset=utf-8") =>
        new JsonAnswer<T>(value, type, status, contentType);

    private sealed class JsonAnswer<T>(T value, JsonTypeInfo<T> type, int status, string contentType) : IResult, IStatusCodeHttpResult, IValueHttpResult
    {
        public int? StatusCode => status;

        public object? Value => value;

        public Task ExecuteAsync(HttpContext httpContext)
        {
            var response = httpContext.Response;
            var json = buffer ??= new ArrayBufferWriter<byte>(4096);
            var to = writer ??= new Utf8JsonWriter(json, new JsonWriterOptions { Encoder = type.Options.Encoder, SkipValidation = true });
            json.ResetWrittenCount();
            to.Reset(json);
            JsonSerializer.Serialize(to, value, type);
            to.Flush();
            response.StatusCode = status;
            response.ContentType = contentType;
            response.ContentLength = json.WrittenCount;
            // Copied before anything is awaited: the buffer is this thread's, and the next answer's.
            response.BodyWriter.Write(json.WrittenSpan);
            if (json.Capacity > MaxKeptBytes) (buffer, writer) = (null, null);
            return response.BodyWriter.FlushAsync(httpContext.RequestAborted).AsTask();
        }
    }
}
