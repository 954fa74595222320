using System.Diagnostics;

namespace Billing.Bench;

/// <summary>
/// What a database does by itself with the rows that a batch run recorded: one writer, transactions of about the
/// journal's group size, each on the disk before the next. No hashing, no JSON, no HTTP, no ledger.
/// </summary>
public static class RawInsert
{
    /// <summary>Enough for a steady rate, and no more than fits in memory beside the service.</summary>
    public const int MaxRows = 200_000;

    public const string Sqlite = "raw insert, SQLite", Postgres = "raw insert, PostgreSQL";

    /// <param name="prepare">Puts a group into the form in which it is inserted. That takes none of the time that is measured.</param>
    /// <param name="insert">Inserts a group in one transaction.</param>
    public static Measurement Measure<T>(string subject, IReadOnlyList<JournalRow> rows, int groupRows, Func<IReadOnlyList<JournalRow>, T> prepare, Action<T> insert)
    {
        var groups = rows.Chunk(groupRows).Select(prepare).ToList();
        var latencies = new Histogram();
        var (ownBefore, started) = (Environment.CpuUsage.TotalTime, Stopwatch.GetTimestamp());
        foreach (var group in groups)
        {
            var began = Stopwatch.GetTimestamp();
            insert(group);
            latencies.Add(Stopwatch.GetTimestamp() - began);
        }
        var elapsed = Stopwatch.GetElapsedTime(started);
        return new Measurement(Scenarios.Batch, subject)
        {
            Connections = 1,
            RequestsPerSecond = latencies.Count / elapsed.TotalSeconds,
            EventsPerSecond = rows.Count / elapsed.TotalSeconds,
            P50Ms = latencies.Percentile(0.5),
            P99Ms = latencies.Percentile(0.99),
            P999Ms = latencies.Percentile(0.999),
            GeneratorMicroseconds = (Environment.CpuUsage.TotalTime - ownBefore).TotalMicroseconds / latencies.Count,
        };
    }
}
