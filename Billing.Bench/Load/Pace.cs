using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Threading.Tasks.Sources;

namespace Billing.Bench;

/// <summary>Leave to send one request.</summary>
/// <param name="Index">0, 1, 2… over all connections of a run; less than 0 when the run is over.</param>
/// <param name="IntendedAt">When it should be sent, in ticks of <see cref="Stopwatch"/>. Its latency counts from then.</param>
public readonly record struct Turn(long Index, long IntendedAt)
{
    public static readonly Turn Over = new(-1, 0);
}

/// <summary>When requests are sent.</summary>
public abstract class Pace
{
    public abstract ValueTask<Turn> Next(Seat seat);

    /// <summary>Whether a request that was answered just now belongs to what is measured.</summary>
    public abstract bool Counts(Turn turn);
}

/// <summary>Each connection sends again as soon as it is answered: how much can be done.</summary>
/// <param name="most">How many requests in all; null until it is told to stop.</param>
public sealed class ClosedPace(long? most = null) : Pace
{
    private long taken = -1;
    private volatile bool measuring;
    private volatile bool stopping;

    public void Measure() => measuring = true;

    public void Stop() => (measuring, stopping) = (false, true);

    public override ValueTask<Turn> Next(Seat seat)
    {
        var index = Interlocked.Increment(ref taken);
        return new(stopping || index >= most ? Turn.Over : new Turn(index, Stopwatch.GetTimestamp()));
    }

    public override bool Counts(Turn turn) => measuring;
}

/// <summary>
/// Requests are due at instants that were fixed beforehand, whatever the answers do. When all connections are busy a
/// request waits for one, and its latency counts from when it was due: nothing is omitted because the service is slow.
/// </summary>
/// <param name="count">How many requests there are.</param>
/// <param name="dueAt">When the n-th is due, in ticks of <see cref="Stopwatch"/>.</param>
/// <param name="measuredFrom">Requests that are due before this instant are the warm-up.</param>
public sealed class OpenPace(long count, Func<long, long> dueAt, long measuredFrom) : Pace
{
    /// <summary>Short enough to add little to a latency, long enough to leave the processors to what is measured.</summary>
    private const long ShortestNapNanoseconds = 50_000;

    private const long LongestNapNanoseconds = 1_000_000;

    private readonly Lock gate = new();
    private readonly Stack<Seat> idle = new();
    private long next;

    /// <summary>How many were never sent, because <see cref="GiveUp"/> came first.</summary>
    public long Unsent { get; private set; }

    public static OpenPace AtRate(double perSecond, TimeSpan warmUp, TimeSpan duration)
    {
        var start = Stopwatch.GetTimestamp();
        var interval = Stopwatch.Frequency / perSecond;
        return new OpenPace((long)((warmUp + duration).TotalSeconds * perSecond), i => start + (long)(i * interval), start + (long)(warmUp.TotalSeconds * Stopwatch.Frequency));
    }

    /// <summary>Gives turns to idle connections as they fall due, until all are given.</summary>
    public void Run()
    {
        WakeOnTime();
        while (true)
        {
            Seat? seat = null;
            Turn turn;
            long early;
            lock (gate)
            {
                if (next >= count) break;
                turn = new Turn(next, dueAt(next));
                early = turn.IntendedAt - Stopwatch.GetTimestamp();
                if (early <= 0 && idle.TryPop(out seat)) next++;
            }
            // The connection sends on this thread, and is waiting for its answer when this returns.
            if (seat is not null) seat.Take(turn);
            else Nap(early * (1e9 / Stopwatch.Frequency));
        }
        EndIdle();
    }

    /// <summary>What is not sent yet never is.</summary>
    public void GiveUp()
    {
        lock (gate) (Unsent, next) = (count - next, count);
        EndIdle();
    }

    public override ValueTask<Turn> Next(Seat seat)
    {
        lock (gate)
        {
            if (next >= count) return new(Turn.Over);
            var due = dueAt(next);
            if (due <= Stopwatch.GetTimestamp()) return new(new Turn(next++, due));
            var waiting = seat.Wait();
            idle.Push(seat);
            return waiting;
        }
    }

    public override bool Counts(Turn turn) => turn.IntendedAt >= measuredFrom;

    private void EndIdle()
    {
        while (true)
        {
            Seat seat;
            lock (gate)
            {
                if (idle.Count == 0) return;
                seat = idle.Pop();
            }
            seat.Take(Turn.Over);
        }
    }

    private static void Nap(double nanoseconds)
    {
        // The framework's shortest sleep is a millisecond or more.
        if (OperatingSystem.IsWindows()) Thread.Sleep(0);
        else _ = NanoSleep([0, (long)Math.Clamp(nanoseconds, ShortestNapNanoseconds, LongestNapNanoseconds)], 0);
    }

    /// <summary>Linux lets a thread oversleep by 50 µs to save power, unless it asks for less.</summary>
    private static void WakeOnTime()
    {
        const int setTimerSlack = 29;
        if (OperatingSystem.IsLinux()) _ = ProcessControl(setTimerSlack, 1);
    }

    [DllImport("libc", EntryPoint = "nanosleep")]
    private static extern int NanoSleep(long[] secondsAndNanoseconds, nint remaining);

    [DllImport("libc", EntryPoint = "prctl")]
    private static extern int ProcessControl(int option, nuint value);
}

/// <summary>Where one connection waits for its turn. Waiting allocates nothing.</summary>
public sealed class Seat : IValueTaskSource<Turn>
{
    private ManualResetValueTaskSourceCore<Turn> core;

    public ValueTask<Turn> Wait()
    {
        core.Reset();
        return new(this, core.Version);
    }

    /// <summary>The connection goes on within this call.</summary>
    public void Take(Turn turn) => core.SetResult(turn);

    Turn IValueTaskSource<Turn>.GetResult(short token) => core.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<Turn>.GetStatus(short token) => core.GetStatus(token);

    void IValueTaskSource<Turn>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        core.OnCompleted(continuation, state, token, flags);
}
