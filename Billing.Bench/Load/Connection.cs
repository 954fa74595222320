using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Billing.Bench;

/// <summary>One kind of request on one connection, and what became of it.</summary>
public sealed class Lane(RequestTemplate request)
{
    public RequestTemplate Request { get; } = request;

    /// <summary>From the instant at which each was to be sent, of those that are measured.</summary>
    public Histogram Latencies { get; } = new();

    /// <summary>Answers with the right status and the right beginning, measured or not.</summary>
    public long Acknowledged { get; set; }
}

/// <summary>One kept-alive connection with one request in flight at a time.</summary>
public sealed class Connection : IDisposable
{
    private readonly Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
    private readonly ReplyReader reply = new();
    private readonly Seat seat = new();
    private readonly IReadOnlyList<Lane> lanes;
    private readonly Walk walk;
    private readonly IReadOnlyList<int>? quantities;
    private long nextKey;

    /// <param name="lanes">One, or two: then every tenth request is of the second.</param>
    /// <param name="firstKey">The first idempotency key; the ones after it follow by one.</param>
    /// <param name="quantities">What each request of a trace uses; null where the request says it.</param>
    public Connection(IPEndPoint endPoint, IReadOnlyList<Lane> lanes, Walk walk, long firstKey, IReadOnlyList<int>? quantities)
    {
        this.lanes = lanes;
        this.walk = walk;
        this.quantities = quantities;
        nextKey = firstKey;
        socket.Connect(endPoint);
    }

    public long Failed { get; private set; }

    public string? FirstFailure { get; private set; }

    public IReadOnlyList<Lane> Lanes => lanes;

    /// <summary>Sends for as long as the pace gives turns. The request in flight then is still awaited.</summary>
    public async Task Run(Pace pace)
    {
        try
        {
            while (await pace.Next(seat) is { Index: >= 0 } turn)
            {
                var lane = lanes[turn.Index % 10 == 9 ? ^1 : 0];
                lane.Request.Write(walk.Next(turn.Index), nextKey++, quantities?[(int)turn.Index] ?? 0);
                var bytes = lane.Request.Bytes;
                while (bytes.Length > 0) bytes = bytes[await socket.SendAsync(bytes, SocketFlags.None)..];

                reply.Begin();
                int received;
                do
                {
                    received = await socket.ReceiveAsync(reply.Free, SocketFlags.None);
                    if (received == 0) throw new BenchException("The server closed the connection.");
                }
                while (!reply.Take(received));

                Count(lane, pace.Counts(turn) ? Stopwatch.GetTimestamp() - turn.IntendedAt : null);
            }
        }
        catch (Exception e) when (e is SocketException or BenchException)
        {
            Fail(e.Message);
        }
    }

    public void Dispose() => socket.Dispose();

    private void Count(Lane lane, long? measuredTicks)
    {
        if (reply.Status != lane.Request.Status || !reply.BodyStart.StartsWith(lane.Request.ExpectedStart))
        {
            Fail($"status {reply.Status}: {Encoding.UTF8.GetString(reply.BodyStart).TrimEnd()}");
            return;
        }
        lane.Acknowledged++;
        if (measuredTicks is { } ticks) lane.Latencies.Add(ticks);
    }

    private void Fail(string what)
    {
        Failed++;
        FirstFailure ??= what;
    }
}
