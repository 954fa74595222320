using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Billing.Bench;

/// <summary>One kept-alive connection with one request in flight at a time.</summary>
public sealed class Connection : IDisposable
{
    private readonly Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
    private readonly ReplyReader reply = new();
    private readonly RequestTemplate request;
    private readonly OrganizationWalk walk;
    private long nextKey;

    /// <param name="firstKey">The first idempotency key; the ones after it follow by one.</param>
    public Connection(IPEndPoint endPoint, RequestTemplate request, OrganizationWalk walk, long firstKey)
    {
        this.request = request;
        this.walk = walk;
        nextKey = firstKey;
        socket.Connect(endPoint);
    }

    /// <summary>Of requests answered while measuring.</summary>
    public Histogram Latencies { get; } = new();

    /// <summary>Answers with the right status and the right beginning, whenever they came.</summary>
    public long Acknowledged { get; private set; }

    public long Failed { get; private set; }

    public string? FirstFailure { get; private set; }

    /// <summary>Sends until the phase says stop or no organization is left. The request in flight then is still awaited.</summary>
    public async Task Run(Phase phase)
    {
        try
        {
            while (!phase.IsStopping && walk.Next() is >= 0 and var organization)
            {
                request.Write(organization, nextKey++);
                var sent = Stopwatch.GetTimestamp();
                var bytes = request.Bytes;
                while (bytes.Length > 0) bytes = bytes[await socket.SendAsync(bytes, SocketFlags.None)..];

                reply.Begin();
                int received;
                do
                {
                    received = await socket.ReceiveAsync(reply.Free, SocketFlags.None);
                    if (received == 0) throw new BenchException("The API closed the connection.");
                }
                while (!reply.Take(received));

                Count(phase, Stopwatch.GetTimestamp() - sent);
            }
        }
        catch (Exception e) when (e is SocketException or BenchException)
        {
            Fail(e.Message);
        }
    }

    public void Dispose() => socket.Dispose();

    private void Count(Phase phase, long elapsedTicks)
    {
        if (reply.Status != request.Status || !reply.BodyStart.StartsWith(request.ExpectedStart))
        {
            Fail($"status {reply.Status}: {Encoding.UTF8.GetString(reply.BodyStart).TrimEnd()}");
            return;
        }
        Acknowledged++;
        if (phase.IsMeasuring) Latencies.Add(elapsedTicks);
    }

    private void Fail(string what)
    {
        Failed++;
        FirstFailure ??= what;
    }
}

/// <summary>Warm-up, measuring, stopping: one word that all connections look at.</summary>
public sealed class Phase
{
    private volatile int phase;

    public bool IsMeasuring => phase == 1;

    public bool IsStopping => phase == 2;

    public void Measure() => phase = 1;

    public void Stop() => phase = 2;
}

/// <summary>Which organization comes next.</summary>
public sealed class OrganizationWalk
{
    private readonly int organizations;
    private readonly int step;
    private int next;
    private uint random;

    private OrganizationWalk(int organizations, int next, int step, uint random) =>
        (this.organizations, this.next, this.step, this.random) = (organizations, next, step, random);

    /// <summary>At random, and the same in every run.</summary>
    public static OrganizationWalk Endless(int organizations, int connection) => new(organizations, 0, 0, 2_463_534_242u ^ (uint)(connection + 1) * 7_919u);

    /// <summary>Each organization once: this connection's share of them.</summary>
    public static OrganizationWalk Once(int organizations, int connection, int connections) => new(organizations, connection, connections, 0);

    /// <returns>Less than 0 when there is none left.</returns>
    public int Next()
    {
        if (step > 0)
        {
            var organization = next < organizations ? next : -1;
            next += step;
            return organization;
        }
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        return (int)(random % (uint)organizations);
    }
}
