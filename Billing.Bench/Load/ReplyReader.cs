using System.Buffers.Text;
using System.Text;

namespace Billing.Bench;

/// <summary>
/// Reads one HTTP/1.1 answer after the other from a connection that has one request in flight: the status, where the
/// body ends, and the first bytes of the body. All else is skipped.
/// </summary>
public sealed class ReplyReader
{
    private const int KeptBytes = 512;

    private readonly byte[] buffer = new byte[32 * 1024];
    private readonly byte[] kept = new byte[KeptBytes];
    private int start;
    private int end;
    private int keptLength;
    private bool inHead = true;
    private bool isChunked;
    private bool isLastChunk;
    private long remaining;

    public int Status { get; private set; }

    /// <summary>Where received bytes go.</summary>
    public Memory<byte> Free => buffer.AsMemory(end);

    public ReadOnlySpan<byte> BodyStart => kept.AsSpan(0, keptLength);

    /// <summary>Forgets the answer before this one.</summary>
    public void Begin()
    {
        (start, end, keptLength, inHead, isLastChunk) = (0, 0, 0, true, false);
    }

    /// <param name="received">How many bytes were put at <see cref="Free"/>.</param>
    /// <returns>Whether the answer is complete.</returns>
    public bool Take(int received)
    {
        end += received;
        if (inHead && !ReadHead()) return false;
        var isComplete = isChunked ? SkipChunks() : SkipBody();
        MoveToFront();
        return isComplete;
    }

    private bool ReadHead()
    {
        var unread = buffer.AsSpan(start, end - start);
        var length = unread.IndexOf("\r\n\r\n"u8);
        if (length < 0) return end < buffer.Length ? false : throw new BenchException("An answer's headers are too long.");
        var head = unread[..length];
        if (!head.StartsWith("HTTP/1.1 "u8) || !Utf8Parser.TryParse(head[9..], out int status, out _))
            throw new BenchException($"This is no HTTP/1.1 answer: {Encoding.UTF8.GetString(head)}");
        Status = status;
        start += length + 4;
        inHead = false;
        var at = head.IndexOf("\r\nContent-Length: "u8);
        isChunked = at < 0;
        remaining = 0;
        if (at >= 0 && Utf8Parser.TryParse(head[(at + 18)..], out remaining, out _)) return true;
        // Statuses without a body need neither.
        if (head.IndexOf("\r\nTransfer-Encoding: chunked"u8) < 0) isChunked = false;
        return true;
    }

    private bool SkipBody()
    {
        Skip(body: true);
        return remaining == 0;
    }

    private bool SkipChunks()
    {
        while (true)
        {
            Skip(body: !isLastChunk);
            if (remaining > 0) return false;
            if (isLastChunk) return true;
            var unread = buffer.AsSpan(start, end - start);
            var line = unread.IndexOf("\r\n"u8);
            if (line < 0) return false;
            if (!Utf8Parser.TryParse(unread[..line], out int size, out _, 'x')) throw new BenchException("A chunk of an answer has no size.");
            start += line + 2;
            isLastChunk = size == 0;
            // The line end behind the chunk goes with it.
            remaining = size + 2;
        }
    }

    private void Skip(bool body)
    {
        var length = (int)Math.Min(remaining, end - start);
        if (body && keptLength < KeptBytes)
        {
            var more = Math.Min(length, KeptBytes - keptLength);
            buffer.AsSpan(start, more).CopyTo(kept.AsSpan(keptLength));
            keptLength += more;
        }
        start += length;
        remaining -= length;
    }

    private void MoveToFront()
    {
        if (start == 0) return;
        buffer.AsSpan(start, end - start).CopyTo(buffer);
        (start, end) = (0, end - start);
    }
}
