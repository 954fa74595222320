using System.Diagnostics;
using System.Numerics;

namespace Billing.Bench;

/// <summary>Counts of latencies in buckets that are at most 1/64 of their value wide. Adding allocates nothing.</summary>
public sealed class Histogram
{
    private const int BitsWithin = 6;
    private const int BucketsWithin = 1 << BitsWithin;

    private readonly int[] counts = new int[(64 - BitsWithin) * BucketsWithin];

    public long Count { get; private set; }

    public void Add(long ticks)
    {
        counts[BucketOf(ticks)]++;
        Count++;
    }

    public void Add(Histogram other)
    {
        for (var i = 0; i < counts.Length; i++) counts[i] += other.counts[i];
        Count += other.Count;
    }

    /// <param name="part">0.5 is the median.</param>
    /// <returns>Milliseconds; 0 when nothing was added.</returns>
    public double Percentile(double part)
    {
        var rank = (long)Math.Ceiling(Count * part);
        var seen = 0L;
        for (var i = 0; i < counts.Length && rank > 0; i++)
        {
            seen += counts[i];
            if (seen >= rank) return UpperEdge(i) * 1_000.0 / Stopwatch.Frequency;
        }
        return 0;
    }

    private static int BucketOf(long ticks)
    {
        if (ticks < BucketsWithin) return (int)Math.Max(0, ticks);
        var shift = BitOperations.Log2((ulong)ticks) - BitsWithin;
        return (shift + 1) * BucketsWithin + (int)(ticks >> shift) - BucketsWithin;
    }

    private static long UpperEdge(int bucket)
    {
        var shift = bucket / BucketsWithin - 1;
        return shift < 0 ? bucket : (long)(bucket % BucketsWithin + BucketsWithin + 1) << shift;
    }
}
