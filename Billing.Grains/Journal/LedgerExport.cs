using System.Buffers;
using System.IO.Pipelines;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Unicode;

namespace Billing.Grains.Journal;

/// <summary>
/// A stream as lines of JSON: a header, every event with all that is stored of it but the journal's position, and the
/// head. Enough to verify it without a database. There is one way to write each line, so that no byte of an export can
/// change unnoticed: members in this order, no white space, strings escaped as in RFC 8785 and no more, times in
/// microseconds since 1970, bytes in lower-case hex, and lines that end with one line feed, the last one too.
/// </summary>
public static class LedgerExport
{
    public const string Format = "billing-ledger-export";
    public const int FormatVersion = 1;
    public const string ContentType = "application/x-ndjson";

    /// <summary>No line of an export is longer.</summary>
    public const int MaxLineBytes = 16 * 1024 * 1024;

    /// <summary>So much is gathered before it goes out, and read at once.</summary>
    private const int BufferBytes = 64 * 1024;

    // ---- writing

    /// <summary>Writes the stream as it is read, a piece at a time. What could not be read whole ends without a head.</summary>
    /// <exception cref="DamagedEventException">The journal holds something that an export cannot hold. Everything before it was written.</exception>
    /// <returns>How many events it has.</returns>
    public static async Task<long> Write(LedgerStream stream, PipeWriter to, CancellationToken stop = default)
    {
        var events = 0L;
        WriteHeader(to, stream.Organization);
        try
        {
            await foreach (var e in stream.Events)
            {
                WriteEvent(to, e);
                events++;
                // Whoever reads slowly is waited for; nothing piles up here.
                if (to.UnflushedBytes >= BufferBytes && (await to.FlushAsync(stop)).IsCompleted) return events;
            }
            WriteHead(to, stream.Head());
            return events;
        }
        finally
        {
            await to.FlushAsync(stop);
        }
    }

    private static void WriteHeader(IBufferWriter<byte> to, string organization)
    {
        Put(to, $$"""{"format":"{{Format}}","version":{{FormatVersion}},"organization":""");
        PutText(to, Encoding.UTF8.GetBytes(organization));
        Put(to, "}\n"u8);
    }

    private static void WriteEvent(IBufferWriter<byte> to, StoredEvent e)
    {
        if (e.IsArchived) throw new ArchivedEventException(e);
        Put(to, "{\"organization\":"u8);
        PutText(to, Encoding.UTF8.GetBytes(e.Organization));
        Put(to, $",\"version\":{e.Version},\"type\":");
        PutText(to, Encoding.UTF8.GetBytes(e.Type));
        Put(to, $",\"schema\":{e.Schema},\"effective_at\":{Micros.Of(e.EffectiveAt)},\"recorded_at\":{Micros.Of(e.RecordedAt)},\"command_id\":");
        if (e.CommandId is { } id) PutText(to, Encoding.UTF8.GetBytes(id));
        else Put(to, "null"u8);
        Put(to, e.ContentHash is { } content ? $",\"content_hash\":\"{Convert.ToHexStringLower(content)}\"" : ",\"content_hash\":null");
        if (Utf8.IsValid(e.Body))
        {
            Put(to, ",\"body\":"u8);
            PutText(to, e.Body);
        }
        else
        {
            Put(to, $",\"body_base64\":\"{Convert.ToBase64String(e.Body)}\"");
        }
        Put(to, $",\"hash\":\"{Convert.ToHexStringLower(e.Hash)}\"}}\n");
    }

    private static void WriteHead(IBufferWriter<byte> to, StreamHead head) =>
        Put(to, $$$"""{"head":{"version":{{{head.Version}}},"hash":"{{{Convert.ToHexStringLower(head.Hash)}}}"}}""" + "\n");

    private static void Put(IBufferWriter<byte> to, ReadOnlySpan<byte> bytes) => to.Write(bytes);

    private static void Put(IBufferWriter<byte> to, string ascii)
    {
        var span = to.GetSpan(ascii.Length);
        to.Advance(Encoding.ASCII.GetBytes(ascii, span));
    }

    /// <summary>A JSON string of this UTF-8, as RFC 8785 writes it.</summary>
    private static void PutText(IBufferWriter<byte> to, ReadOnlySpan<byte> utf8)
    {
        Put(to, "\""u8);
        while (true)
        {
            var plain = utf8.IndexOfAny(Escaped);
            to.Write(plain < 0 ? utf8 : utf8[..plain]);
            if (plain < 0) break;
            Put(to, utf8[plain] switch
            {
                (byte)'"' => "\\\"", (byte)'\\' => @"\\", (byte)'\b' => @"\b", (byte)'\t' => @"\t", (byte)'\n' => @"\n", (byte)'\f' => @"\f", (byte)'\r' => @"\r",
                var control => $"\\u{(int)control:x4}",
            });
            utf8 = utf8[(plain + 1)..];
        }
        Put(to, "\""u8);
    }

    private static readonly SearchValues<byte> Escaped = SearchValues.Create([.. Enumerable.Range(0, 0x20).Select(b => (byte)b), (byte)'"', (byte)'\\']);

    // ---- reading

    /// <summary>Reads an export, line by line as its events are asked for.</summary>
    /// <exception cref="DamagedEventException">It does not begin as an export does.</exception>
    public static async Task<LedgerStream> Read(Stream from, CancellationToken stop = default)
    {
        var lines = Lines(PipeReader.Create(from, new StreamPipeReaderOptions(bufferSize: BufferBytes)), stop).GetAsyncEnumerator(stop);
        if (!await lines.MoveNextAsync()) throw new DamagedEventException(0, "It is empty: an export begins with a header.");
        var header = Parse(lines.Current, ExportJson.Default.ExportHeader) is { Format: Format } h ? h : throw new DamagedEventException(0, "Line 1 is no header of a ledger's export.");
        if (header.Version != FormatVersion) throw new DamagedEventException(0, $"It is written in version {header.Version} of the format; this build reads version {FormatVersion}.");
        Expect(lines.Current, w => WriteHeader(w, header.Organization ?? ""), 1, 0, "the header");

        StreamHead? head = null;
        return new LedgerStream(header.Organization!, Events(), () => head ?? throw new DamagedEventException(null, "The head is missing."));

        async IAsyncEnumerable<StoredEvent> Events()
        {
            await using var closing = lines;
            for (var (line, version) = (2L, 1L); ; line++, version++)
            {
                if (!await lines.MoveNextAsync()) throw new DamagedEventException(version, $"It ends behind line {line - 1} without a head: its tail was cut off.");
                if (lines.Current.Span.StartsWith("{\"head\":"u8))
                {
                    head = ReadHead(lines.Current, line, version - 1);
                    if (await lines.MoveNextAsync()) throw new DamagedEventException(version, $"Line {line + 1} stands behind the head, which is an export's last line.");
                    yield break;
                }
                yield return ReadEvent(lines.Current, line, version);
            }
        }
    }

    private static StreamHead ReadHead(ReadOnlyMemory<byte> text, long line, long version)
    {
        const string what = "the head";
        var head = Parse(text, ExportJson.Default.ExportEnd)?.Head is { } h && Bytes(h.Hash) is { } hash ? new StreamHead(h.Version, hash) : throw NotOurs(line, version, what);
        Expect(text, w => WriteHead(w, head), line, version, what);
        return head;
    }

    private static StoredEvent ReadEvent(ReadOnlyMemory<byte> text, long line, long version)
    {
        var what = $"version {version}";
        var read = Parse(text, ExportJson.Default.ExportedEvent) ?? throw NotOurs(line, version, what);
        var body = read.Body is { } plain ? Encoding.UTF8.GetBytes(plain) : Base64(read.BodyBase64);
        if (read is not { Organization: not null, Type: not null } || body is null || Bytes(read.Hash) is not { } hash || !Micros.IsTime(read.EffectiveAt) || !Micros.IsTime(read.RecordedAt))
            throw NotOurs(line, version, what);
        var e = new StoredEvent(read.Organization, read.Version, read.Type, read.Schema, Micros.ToInstant(read.EffectiveAt), Micros.ToInstant(read.RecordedAt),
            read.CommandId, Bytes(read.ContentHash), body, hash);
        Expect(text, w => WriteEvent(w, e), line, version, what);
        return e;
    }

    /// <summary>There is one way to write a line: what was read, written again, must be the line that was read.</summary>
    private static void Expect(ReadOnlyMemory<byte> text, Action<IBufferWriter<byte>> write, long line, long version, string what)
    {
        var again = new ArrayBufferWriter<byte>(text.Length + 1);
        write(again);
        if (!again.WrittenSpan[..^1].SequenceEqual(text.Span)) throw NotOurs(line, version, what);
    }

    private static DamagedEventException NotOurs(long line, long version, string what) => new(version, $"Line {line} ({what}) is not as an export writes it.");

    private static T? Parse<T>(ReadOnlyMemory<byte> text, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) where T : class
    {
        try
        {
            return JsonSerializer.Deserialize(text.Span, type);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    private static byte[]? Bytes(string? hex)
    {
        if (hex is null || hex.Length % 2 != 0 || !hex.All(char.IsAsciiHexDigit)) return null;
        return Convert.FromHexString(hex);
    }

    private static byte[]? Base64(string? text)
    {
        var bytes = new byte[text?.Length ?? 0];
        return text is not null && Convert.TryFromBase64String(text, bytes, out var written) ? bytes[..written] : null;
    }

    /// <summary>The lines without their ends. What stands behind the last end is no line.</summary>
    private static async IAsyncEnumerable<ReadOnlyMemory<byte>> Lines(PipeReader from, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken stop)
    {
        try
        {
            for (var number = 1L; ;)
            {
                var read = await from.ReadAsync(stop);
                var rest = read.Buffer;
                while (rest.PositionOf((byte)'\n') is { } end)
                {
                    yield return rest.Slice(0, end) is { IsSingleSegment: true } line ? line.First : rest.Slice(0, end).ToArray();
                    rest = rest.Slice(rest.GetPosition(1, end));
                    number++;
                }
                if (rest.Length > MaxLineBytes) throw new DamagedEventException(VersionAt(number), $"Line {number} has more than {MaxLineBytes} bytes.");
                if (read.IsCompleted)
                {
                    if (!rest.IsEmpty) throw new DamagedEventException(VersionAt(number), $"It ends in the middle of line {number}: its tail was cut off.");
                    yield break;
                }
                from.AdvanceTo(rest.Start, rest.End);
            }
        }
        finally
        {
            await from.CompleteAsync();
        }

        // Line 1 is the header.
        static long VersionAt(long line) => line - 1;
    }
}

internal sealed record ExportHeader(string? Format, int Version, string? Organization);

internal sealed record ExportEnd(ExportEnd.End? Head)
{
    internal sealed record End(long Version, string? Hash);
}

internal sealed record ExportedEvent(
    string? Organization, long Version, string? Type, int Schema, long EffectiveAt, long RecordedAt, string? CommandId, string? ContentHash, string? Body,
    string? BodyBase64, string? Hash);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(ExportHeader))]
[JsonSerializable(typeof(ExportEnd))]
[JsonSerializable(typeof(ExportedEvent))]
internal sealed partial class ExportJson : JsonSerializerContext;
