using System.Diagnostics;

namespace Billing.Bench;

/// <summary>What is sent, by whom, to whom.</summary>
/// <param name="Scenario">Its name in the report; several subjects may have one of the same name.</param>
/// <param name="Lanes">One kind of request, or two: then every tenth request is of the second.</param>
/// <param name="Walk">The organizations of a connection, by its number.</param>
/// <param name="Quantities">What each request of a trace uses; null where the requests say it.</param>
public sealed record Load(string Scenario, Subject Subject, int Connections, IReadOnlyList<Kind> Lanes, Func<int, Walk> Walk, IReadOnlyList<int>? Quantities = null)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>No two requests of a run have the same idempotency key: each connection takes a stretch of its own.</summary>
    private const long KeysPerConnection = 1_000_000_000;

    private static long connectionsMade;

    /// <summary>As many requests as the connections can, each waiting for its answer, for as long as it is told after a warm-up that does not count.</summary>
    public IReadOnlyList<Measurement> AtFullSpeed(TimeSpan warmUp, TimeSpan duration)
    {
        var pace = new ClosedPace();
        var connections = Connect();
        var running = connections.ConvertAll(c => c.Run(pace));
        Thread.Sleep(warmUp);
        var spent = Spent.Begin(Subject.Server);
        pace.Measure();
        Thread.Sleep(duration);
        pace.Stop();
        spent.End();
        if (!Task.WaitAll([.. running], Patience)) throw new BenchException($"A request of '{Scenario}' was left unanswered by {Subject.Name} for {Patience.TotalSeconds} seconds.");
        return Finish(connections, spent, spent.Seconds, connections.Sum(c => c.Lanes.Sum(l => l.Latencies.Count)));
    }

    /// <summary>At a fixed rate, with each latency from the instant at which its request was due.</summary>
    public IReadOnlyList<Measurement> AtRate(double perSecond, TimeSpan warmUp, TimeSpan duration) => Open(() => OpenPace.AtRate(perSecond, warmUp, duration), warmUp);

    /// <summary>Each request at its own instant.</summary>
    /// <param name="dueAt">Ticks of <see cref="Stopwatch"/> after the first.</param>
    public IReadOnlyList<Measurement> AtInstants(IReadOnlyList<long> dueAt) => Open(() =>
    {
        var start = Stopwatch.GetTimestamp();
        return new OpenPace(dueAt.Count, i => start + dueAt[(int)i], start);
    }, default);

    /// <summary>A number of requests, as fast as they go. Nothing of it is measured.</summary>
    public Measurement Times(int count)
    {
        var connections = Connect();
        var spent = Spent.Begin(Subject.Server);
        var pace = new ClosedPace(count);
        Task.WaitAll([.. connections.Select(c => c.Run(pace))]);
        spent.End();
        return Finish(connections, spent, spent.Seconds, count)[0];
    }

    private List<Measurement> Open(Func<OpenPace> begin, TimeSpan warmUp)
    {
        var connections = Connect();
        var pace = begin();
        var spent = Spent.Begin(Subject.Server);
        var running = connections.ConvertAll(c => c.Run(pace));
        var pacing = new Thread(pace.Run) { IsBackground = true, Name = "pace" };
        pacing.Start();
        // Whoever falls behind is given time to do the rest, so that its latencies tell of it.
        if (!pacing.Join(Patience + Patience) || !Task.WaitAll([.. running], Patience)) pace.GiveUp();
        pacing.Join();
        spent.End();
        if (!Task.WaitAll([.. running], Patience)) throw new BenchException($"A request of '{Scenario}' was left unanswered by {Subject.Name} for {Patience.TotalSeconds} seconds.");
        return Finish(connections, spent, spent.Seconds - warmUp.TotalSeconds, connections.Sum(c => c.Lanes.Sum(l => l.Acknowledged)), pace.Unsent);
    }

    private List<Connection> Connect() => [.. Enumerable.Range(0, Connections).Select(i =>
        new Connection(Subject.Server.EndPoint, [.. Lanes.Select(k => new Lane(k.Request.For(Subject.Server.Key)))], Walk(i), ++connectionsMade * KeysPerConnection, Quantities))];

    /// <param name="seconds">In which the measured requests were answered.</param>
    /// <param name="requests">How many were answered while the processor time was spent.</param>
    private List<Measurement> Finish(List<Connection> connections, Spent spent, double seconds, long requests, long unsent = 0)
    {
        var failed = connections.Sum(c => c.Failed);
        var measured = Lanes.Select((kind, lane) =>
        {
            var latencies = new Histogram();
            foreach (var connection in connections) latencies.Add(connection.Lanes[lane].Latencies);
            return new Measurement(Lanes.Count == 1 ? Scenario : $"{Scenario}: {kind.Name}", Subject.Name)
            {
                Connections = Connections,
                Acknowledged = connections.Sum(c => c.Lanes[lane].Acknowledged),
                EventsPerRequest = kind.EventsPerRequest,
                Failed = failed,
                FirstFailure = connections.Select(c => c.FirstFailure).FirstOrDefault(f => f is not null),
                Unsent = unsent,
                RequestsPerSecond = latencies.Count / seconds,
                EventsPerSecond = latencies.Count * kind.EventsPerRequest / seconds,
                P50Ms = latencies.Percentile(0.5),
                P99Ms = latencies.Percentile(0.99),
                P999Ms = latencies.Percentile(0.999),
                ServerMicroseconds = spent.ServerMicroseconds / Math.Max(1, requests),
                GeneratorMicroseconds = spent.OwnMicroseconds / Math.Max(1, requests),
            };
        }).ToList();
        foreach (var connection in connections) connection.Dispose();
        return measured;
    }

    /// <summary>Time that went by, and processor time of the server and of this program meanwhile.</summary>
    private sealed class Spent(ServerProcess server)
    {
        private readonly long started = Stopwatch.GetTimestamp();
        private readonly TimeSpan serverBefore = server.ProcessorTime();
        private readonly TimeSpan ownBefore = Environment.CpuUsage.TotalTime;

        public double Seconds { get; private set; }
        public double ServerMicroseconds { get; private set; }
        public double OwnMicroseconds { get; private set; }

        public static Spent Begin(ServerProcess server) => new(server);

        public void End()
        {
            Seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
            ServerMicroseconds = (server.ProcessorTime() - serverBefore).TotalMicroseconds;
            OwnMicroseconds = (Environment.CpuUsage.TotalTime - ownBefore).TotalMicroseconds;
        }
    }
}

/// <summary>A kind of request.</summary>
/// <param name="EventsPerRequest">Usage records that each answer acknowledges; 0 when it records none.</param>
public sealed record Kind(string Name, RequestTemplate Request, int EventsPerRequest);
