using System.Globalization;

namespace Billing.Bench;

/// <summary>What one scenario came to for one subject in one round. What does not apply is 0.</summary>
public sealed record Measurement(string Scenario, string Subject)
{
    public int Connections { get; init; }

    public double RequestsPerSecond { get; init; }
    public double EventsPerSecond { get; init; }

    /// <summary>Of what has no distribution, such as a start, the one figure is here.</summary>
    public double P50Ms { get; init; }
    public double P95Ms { get; init; }
    public double P99Ms { get; init; }
    public double P999Ms { get; init; }

    /// <summary>Processor time that the HTTP server took for each request: much less shaken by other load on the machine than a rate. A database's is not in it.</summary>
    public double ServerMicroseconds { get; init; }

    /// <summary>Processor time that this program took for each request.</summary>
    public double GeneratorMicroseconds { get; init; }

    /// <summary>Memory of one.</summary>
    public double Bytes { get; init; }

    public int EventsPerRequest { get; init; }

    /// <summary>Right answers in all, those of the warm-up too.</summary>
    public long Acknowledged { get; init; }

    public long Failed { get; init; }

    public string? FirstFailure { get; init; }

    /// <summary>Requests of a fixed rate that were never sent, because those before took too long.</summary>
    public long Unsent { get; init; }

    public override string ToString()
    {
        var figures = new List<string>();
        Add(RequestsPerSecond, "N0", "req/s");
        Add(EventsPerSecond, "N0", "events/s");
        if (P99Ms == 0) Add(P50Ms, "N2", "ms");
        else figures.Add(string.Create(CultureInfo.InvariantCulture, $"p50 {P50Ms:N2}  p99 {P99Ms:N2}  p99.9 {P999Ms:N2} ms"));
        Add(ServerMicroseconds, "N1", "server µs/req");
        Add(GeneratorMicroseconds, "N1", "generator µs/req");
        Add(Bytes, "N0", "bytes");
        return $"{Scenario,-26} {Subject,-22} {string.Join("  ", figures)}";

        void Add(double figure, string format, string unit)
        {
            if (figure > 0) figures.Add($"{figure.ToString(format, CultureInfo.InvariantCulture)} {unit}");
        }
    }
}
