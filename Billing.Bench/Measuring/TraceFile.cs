using System.Diagnostics;
using System.Globalization;

namespace Billing.Bench;

/// <summary>Real requests to a language model: when each came, and how many tokens it used.</summary>
/// <remarks>A CSV with the columns TIMESTAMP,ContextTokens,GeneratedTokens, as the Azure LLM inference traces have.</remarks>
public sealed class TraceFile
{
    private readonly List<DateTime> times = [];
    private readonly List<int> quantities = [];

    /// <summary>Context and generated tokens of each request.</summary>
    public IReadOnlyList<int> Quantities => quantities;

    /// <exception cref="BenchException">It cannot be read, or a line is not of that form.</exception>
    public static TraceFile Read(string path)
    {
        if (!File.Exists(path)) throw new BenchException($"There is no trace at '{path}'.");
        var trace = new TraceFile();
        foreach (var (number, line) in File.ReadLines(path).Index().Skip(1).Where(l => l.Item.Length > 0))
        {
            var fields = line.Split(',');
            if (fields.Length < 3 || !DateTime.TryParse(fields[0], CultureInfo.InvariantCulture, DateTimeStyles.None, out var time)
                || !int.TryParse(fields[1], CultureInfo.InvariantCulture, out var context) || !int.TryParse(fields[2], CultureInfo.InvariantCulture, out var generated))
                throw new BenchException($"Line {number + 1} of '{path}' is not TIMESTAMP,ContextTokens,GeneratedTokens: {line}");
            trace.times.Add(time);
            trace.quantities.Add(Math.Max(1, context + generated));
        }
        return trace.times.Count > 1 ? trace : throw new BenchException($"The trace '{path}' has no requests.");
    }

    /// <summary>When each request is due, with all gaps shortened alike so that the whole takes so long.</summary>
    /// <returns>Ticks of <see cref="Stopwatch"/> after the first.</returns>
    public IReadOnlyList<long> Within(TimeSpan duration)
    {
        var first = times.Min();
        var part = duration / (times.Max() - first);
        return [.. times.Select(t => (long)((t - first) * part).TotalMicroseconds * Stopwatch.Frequency / 1_000_000).Order()];
    }
}
