using System.Diagnostics;

namespace Billing.Bench;

/// <summary>Runs one scenario's connections against the API.</summary>
public static class Load
{
    /// <summary>No two requests of a run have the same idempotency key: each connection takes a stretch of its own.</summary>
    private const long KeysPerConnection = 1_000_000_000;

    private static long connectionsMade;

    /// <summary>For as long as it is told, after a warm-up that does not count.</summary>
    public static Measurement Timed(ApiProcess api, Scenario scenario, TimeSpan warmUp, TimeSpan duration)
    {
        var phase = new Phase();
        var connections = Connect(api, scenario, i => OrganizationWalk.Endless(api.Organizations, i));
        var running = connections.ConvertAll(c => c.Run(phase));

        Thread.Sleep(warmUp);
        var (apiBefore, ownBefore, started) = (api.ProcessorTime(), OwnProcessorTime(), Stopwatch.GetTimestamp());
        phase.Measure();
        Thread.Sleep(duration);
        phase.Stop();
        var elapsed = Stopwatch.GetElapsedTime(started);
        var (apiTime, ownTime) = (api.ProcessorTime() - apiBefore, OwnProcessorTime() - ownBefore);
        return Finish(scenario, connections, running, elapsed, apiTime, ownTime);
    }

    /// <summary>Once for each organization.</summary>
    public static Measurement Once(ApiProcess api, Scenario scenario, int organizations)
    {
        var started = Stopwatch.GetTimestamp();
        api.Organizations = organizations;
        var connections = Connect(api, scenario, i => OrganizationWalk.Once(organizations, i, scenario.Connections));
        var running = connections.ConvertAll(c => c.Run(new Phase()));
        Task.WaitAll([.. running]);
        return Finish(scenario, connections, running, Stopwatch.GetElapsedTime(started), default, default);
    }

    private static List<Connection> Connect(ApiProcess api, Scenario scenario, Func<int, OrganizationWalk> walk) =>
        [.. Enumerable.Range(0, scenario.Connections).Select(i =>
            new Connection(api.EndPoint, scenario.Request.For(api.Key), walk(i), ++connectionsMade * KeysPerConnection))];

    private static Measurement Finish(
        Scenario scenario, List<Connection> connections, List<Task> running, TimeSpan elapsed, TimeSpan apiTime, TimeSpan ownTime)
    {
        if (!Task.WaitAll([.. running], TimeSpan.FromSeconds(30))) throw new BenchException($"The API left a request of '{scenario.Name}' unanswered for 30 seconds.");
        var latencies = new Histogram();
        foreach (var connection in connections)
        {
            latencies.Add(connection.Latencies);
            connection.Dispose();
        }
        return new Measurement(scenario.Name, scenario.Connections, scenario.EventsPerRequest, scenario.Minimum,
            connections.Sum(c => c.Acknowledged), connections.Sum(c => c.Failed), connections.Select(c => c.FirstFailure).FirstOrDefault(f => f is not null))
        {
            RequestsPerSecond = latencies.Count / elapsed.TotalSeconds,
            EventsPerSecond = latencies.Count * scenario.EventsPerRequest / elapsed.TotalSeconds,
            P50Ms = latencies.Percentile(0.5),
            P99Ms = latencies.Percentile(0.99),
            ApiMicroseconds = apiTime.TotalMicroseconds / Math.Max(1, latencies.Count),
            GeneratorMicroseconds = ownTime.TotalMicroseconds / Math.Max(1, latencies.Count),
        };
    }

    private static TimeSpan OwnProcessorTime()
    {
        using var own = Process.GetCurrentProcess();
        return own.TotalProcessorTime;
    }
}

/// <summary>What one scenario came to in one round.</summary>
/// <param name="Acknowledged">Right answers in all, those of the warm-up too.</param>
public sealed record Measurement(string Name, int Connections, int EventsPerRequest, double? Minimum, long Acknowledged, long Failed, string? FirstFailure)
{
    public double RequestsPerSecond { get; init; }
    public double EventsPerSecond { get; init; }
    public double P50Ms { get; init; }
    public double P99Ms { get; init; }

    /// <summary>Processor time that the API took for each request: much less shaken by other load on the machine than a rate.</summary>
    public double ApiMicroseconds { get; init; }

    /// <summary>Processor time that this program took for each request.</summary>
    public double GeneratorMicroseconds { get; init; }

    public override string ToString()
    {
        if (Connections == 0) return $"{Name,-21}  {EventsPerSecond,11:N0} events/s";
        var events = EventsPerSecond > 0 ? $"{EventsPerSecond,9:N0} events/s" : new string(' ', 18);
        return $"{Name,-16} {Connections,4}  {RequestsPerSecond,9:N0} req/s  {events}  p50 {P50Ms,7:N2} ms  p99 {P99Ms,7:N2} ms  "
            + $"api {ApiMicroseconds,7:N1} µs/req  generator {GeneratorMicroseconds,6:N1} µs/req";
    }
}
