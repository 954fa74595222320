using System.Buffers;
using System.Buffers.Text;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Unicode;

namespace Billing.Bench;

/// <summary>
/// As much of a Redis client as the baseline needs, and as fast as we can make it: all requests share one connection and
/// are pipelined, so that what is asked at about the same time goes in one packet and comes back in one.
/// </summary>
public sealed class RedisClient : IDisposable
{
    private const int MaxCommandBytes = 512;

    private readonly Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
    private readonly Lock gate = new();
    private readonly Queue<TaskCompletionSource<long>> waiting = new();
    private ArrayBufferWriter<byte> filling = new(64 * 1024);
    private ArrayBufferWriter<byte> sending = new(64 * 1024);
    private bool isSending;
    private Exception? failure;

    public static async Task<RedisClient> Connect(int port)
    {
        var client = new RedisClient();
        await client.socket.ConnectAsync(IPAddress.Loopback, port);
        _ = client.Receive();
        return client;
    }

    /// <returns>The name by which it is run.</returns>
    public async Task<string> LoadScript(string script)
    {
        await Send(Encoding.ASCII.GetBytes($"*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n${script.Length}\r\n{script}\r\n"));
#pragma warning disable CA5350 // Redis calls a script by this digest of its text: nothing is protected by it.
        return Convert.ToHexStringLower(SHA1.HashData(Encoding.ASCII.GetBytes(script)));
#pragma warning restore CA5350
    }

    /// <returns>The number that is kept under this key; 0 when there is none.</returns>
    public Task<long> Get(string key)
    {
        Span<byte> command = stackalloc byte[MaxCommandBytes];
        return Utf8.TryWrite(command, $"*2\r\n$3\r\nGET\r\n${key.Length}\r\n{key}\r\n", out var length) ? Send(command[..length]) : throw TooLong(key);
    }

    /// <returns>The number that the script returns.</returns>
    public Task<long> Run(string script, string key, long first, long second)
    {
        Span<byte> command = stackalloc byte[MaxCommandBytes];
        return Utf8.TryWrite(command,
            $"*6\r\n$7\r\nEVALSHA\r\n${script.Length}\r\n{script}\r\n$1\r\n1\r\n${key.Length}\r\n{key}\r\n${Digits(first)}\r\n{first}\r\n${Digits(second)}\r\n{second}\r\n", out var length)
            ? Send(command[..length])
            : throw TooLong(key);
    }

    public void Dispose() => socket.Dispose();

    private static int Digits(long number)
    {
        var digits = 1;
        for (; number >= 10; number /= 10) digits++;
        return digits;
    }

    private static ArgumentException TooLong(string key) => new($"The key '{key}' is too long.");

    private Task<long> Send(ReadOnlySpan<byte> command)
    {
        var reply = new TaskCompletionSource<long>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (gate)
        {
            if (failure is not null) throw new IOException("Redis is gone.", failure);
            filling.Write(command);
            waiting.Enqueue(reply);
            if (isSending) return reply.Task;
            isSending = true;
        }
        // Sent from a thread of its own turn: until that comes, others add to the same packet.
        ThreadPool.UnsafeQueueUserWorkItem(static client => _ = client.SendAll(), this, preferLocal: false);
        return reply.Task;
    }

    private async Task SendAll()
    {
        try
        {
            while (true)
            {
                lock (gate)
                {
                    if (filling.WrittenCount == 0)
                    {
                        isSending = false;
                        return;
                    }
                    (filling, sending) = (sending, filling);
                }
                for (var bytes = sending.WrittenMemory; bytes.Length > 0;) bytes = bytes[await socket.SendAsync(bytes)..];
                sending.ResetWrittenCount();
            }
        }
        catch (SocketException e)
        {
            Fail(e);
        }
    }

    private async Task Receive()
    {
        var buffer = new byte[64 * 1024];
        var end = 0;
        try
        {
            while (true)
            {
                var received = await socket.ReceiveAsync(buffer.AsMemory(end));
                if (received == 0) throw new IOException("Redis closed the connection.");
                end += received;
                var start = 0;
                while (Reply(buffer.AsSpan(start, end - start), out var number, out var error) is > 0 and var length)
                {
                    start += length;
                    TaskCompletionSource<long> first;
                    lock (gate) first = waiting.Dequeue();
                    if (error is null) first.SetResult(number);
                    else first.SetException(new IOException($"Redis: {error}"));
                }
                buffer.AsSpan(start, end - start).CopyTo(buffer);
                end -= start;
            }
        }
        catch (Exception e) when (e is SocketException or IOException or ObjectDisposedException)
        {
            Fail(e);
        }
    }

    /// <returns>How many bytes the first reply takes; 0 when it is not complete.</returns>
    private static int Reply(ReadOnlySpan<byte> from, out long number, out string? error)
    {
        (number, error) = (0, null);
        var line = from.IndexOf("\r\n"u8);
        if (line < 0) return 0;
        if (from[0] == '-') error = Encoding.UTF8.GetString(from[1..line]);
        _ = Utf8Parser.TryParse(from[1..line], out number, out _);
        if (from[0] != '$') return line + 2;
        // A text of so many bytes; less than 0 says that there is none.
        var length = (int)number;
        number = 0;
        if (length < 0) return line + 2;
        var whole = line + 2 + length + 2;
        if (from.Length < whole) return 0;
        _ = Utf8Parser.TryParse(from.Slice(line + 2, length), out number, out _);
        return whole;
    }

    private void Fail(Exception e)
    {
        List<TaskCompletionSource<long>> all;
        lock (gate)
        {
            failure = e;
            all = [.. waiting];
            waiting.Clear();
        }
        foreach (var reply in all) reply.TrySetException(new IOException("Redis is gone.", e));
    }
}
