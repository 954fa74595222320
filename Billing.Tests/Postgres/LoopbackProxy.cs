using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Billing.Tests.Postgres;

/// <summary>A line between two processes, the service and its database most of the time, on loopback, that a test makes slow, deaf or broken.</summary>
internal sealed class LoopbackProxy : IDisposable
{
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly ConcurrentDictionary<Socket, byte> sockets = new();
    private readonly int target;
    private volatile bool isCut;
    private volatile int delayMilliseconds;
    private volatile TaskCompletionSource? swallowing;
    private volatile TaskCompletionSource? silence;

    public LoopbackProxy(int target)
    {
        this.target = target;
        listener.Start();
        _ = Accept();
    }

    public int Port => ((IPEndPoint)listener.LocalEndpoint).Port;

    /// <summary>What the database was sent since the answers are swallowed, in bytes.</summary>
    public long SentMeanwhile;

    /// <summary>Everything takes so much longer, in both directions together.</summary>
    public void Delay(TimeSpan by) => delayMilliseconds = (int)by.TotalMilliseconds;

    /// <summary>The database hears everything, and nobody hears the database: what was committed is not acknowledged.</summary>
    public void SwallowAnswers()
    {
        Interlocked.Exchange(ref SentMeanwhile, 0);
        swallowing = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>Nobody hears anybody, and nobody is told: as if the cable were pulled.</summary>
    public void Silence() => silence = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Every connection is reset, and new ones are closed at once.</summary>
    public void Cut()
    {
        isCut = true;
        foreach (var socket in sockets.Keys) Reset(socket);
        swallowing?.TrySetResult();
        swallowing = null;
        silence?.TrySetResult();
        silence = null;
    }

    /// <summary>As if nothing had been. Answers that were held back arrive now, where somebody still waits for them.</summary>
    public void Mend()
    {
        delayMilliseconds = 0;
        isCut = false;
        swallowing?.TrySetResult();
        swallowing = null;
        silence?.TrySetResult();
        silence = null;
    }

    public void Dispose()
    {
        listener.Stop();
        Cut();
    }

    private async Task Accept()
    {
        while (true)
        {
            Socket client;
            try
            {
                client = await listener.AcceptSocketAsync();
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException)
            {
                return;
            }
            _ = Connect(client);
        }
    }

    private async Task Connect(Socket client)
    {
        var server = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        client.NoDelay = true;
        sockets[client] = sockets[server] = 0;
        try
        {
            if (isCut) return;
            await server.ConnectAsync(IPAddress.Loopback, target);
            await Task.WhenAny(Copy(client, server, isAnswer: false), Copy(server, client, isAnswer: true));
        }
        catch (SocketException)
        {
            // The database is not there: neither is the connection.
        }
        finally
        {
            Reset(client);
            Reset(server);
        }
    }

    private async Task Copy(Socket from, Socket to, bool isAnswer)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            while (await from.ReceiveAsync(buffer) is > 0 and var count)
            {
                if (isAnswer && delayMilliseconds > 0) await Task.Delay(delayMilliseconds);
                if (silence is { } silent) await silent.Task;
                if (swallowing is { } held)
                {
                    if (isAnswer) await held.Task;
                    else Interlocked.Add(ref SentMeanwhile, count);
                }
                for (var sent = 0; sent < count;) sent += await to.SendAsync(buffer.AsMemory(sent, count - sent));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The other side went, or the line was cut.
        }
    }

    private void Reset(Socket socket)
    {
        if (!sockets.TryRemove(socket, out _)) return;
        // Without a farewell: what is still in its buffers is lost.
        socket.LingerState = new LingerOption(true, 0);
        socket.Dispose();
    }
}
