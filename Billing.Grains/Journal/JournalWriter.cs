namespace Billing.Grains.Journal;

/// <summary>
/// Group commit: the one writer of a process. Appends that arrive while a group is being written wait and go together
/// in the next one; when nothing waits, nothing is delayed.
/// </summary>
public sealed class JournalWriter : IAsyncDisposable
{
    /// <summary>The most events in one group, so that no caller waits for an unbounded transaction.</summary>
    public const int MaxGroupEvents = 4_000;

    /// <summary>The most bytes of bodies in one group. One append goes as it is, however large.</summary>
    public const long MaxGroupBytes = 4L << 20;

    private const int AnswersInOneHop = 8;

    private sealed class Waiting(StreamAppend append)
    {
        public readonly StreamAppend Append = append;
        public readonly long Bytes = BytesOf(append.Events);
        public readonly TaskCompletionSource<AppendOutcome> Done = new();
    }

    private readonly IJournal journal;
    private readonly Lock gate = new();
    private readonly SemaphoreSlim arrived = new(0);
    private readonly Thread thread;
    private List<Waiting> queue = [];
    private List<Waiting> spare = [];
    private bool stopping;

    public JournalWriter(IJournal journal)
    {
        this.journal = journal;
        // A thread of its own: a commit blocks it, and must not block anybody else's.
        thread = new Thread(Run) { IsBackground = true, Name = "journal writer" };
        thread.Start();
    }

    /// <returns>When it returns, the outcome is durable.</returns>
    /// <exception cref="JournalUnavailableException">Whether it was written is unknown.</exception>
    public Task<AppendOutcome> Append(StreamAppend append)
    {
        var waiting = new Waiting(append);
        bool wake;
        lock (gate)
        {
            if (stopping) throw new JournalUnavailableException("The service is shutting down.");
            wake = queue.Count == 0;
            queue.Add(waiting);
        }
        if (wake) arrived.Release();
        return waiting.Done.Task;
    }

    /// <summary>Writes what waits, then stops.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (gate)
        {
            if (stopping) return;
            stopping = true;
        }
        arrived.Release();
        await Task.Run(thread.Join);
        arrived.Dispose();
    }

    private void Run()
    {
        while (true)
        {
            arrived.Wait();
            List<Waiting> taken;
            lock (gate)
            {
                if (queue.Count == 0 && stopping) return;
                taken = queue;
                queue = spare;
                spare = [];
            }
            for (var from = 0; from < taken.Count;)
            {
                var (to, events, bytes) = (from, 0, 0L);
                do
                {
                    events += taken[to].Append.Events.Count;
                    bytes += taken[to].Bytes;
                    to++;
                }
                while (to < taken.Count && events + taken[to].Append.Events.Count <= MaxGroupEvents && bytes + taken[to].Bytes <= MaxGroupBytes);
                Write(taken.GetRange(from, to - from));
                from = to;
            }
            taken.Clear();
            spare = taken;
        }
    }

    private void Write(List<Waiting> group)
    {
        try
        {
            var outcomes = journal.AppendGroup([.. group.Select(w => w.Append)]).AsTask().GetAwaiter().GetResult();
            Answer(group.Count, i => group[i].Done.SetResult(outcomes[i]));
        }
        catch (Exception e)
        {
            var unknown = new JournalUnavailableException("The journal did not say whether it wrote.", e);
            Answer(group.Count, i => group[i].Done.SetException(unknown));
        }
    }

    private static long BytesOf(IReadOnlyList<StoredEvent> events)
    {
        var bytes = 0L;
        for (var i = 0; i < events.Count; i++) bytes += events[i].Body.Length;
        return bytes;
    }

    /// <summary>Whoever waited goes on in the thread pool, several after one another: a hop for each would cost more than what they do.</summary>
    private static void Answer(int count, Action<int> answer)
    {
        for (var from = 0; from < count; from += AnswersInOneHop)
            ThreadPool.UnsafeQueueUserWorkItem(static work =>
            {
                for (var i = work.From; i < work.To; i++) work.Answer(i);
            }, (From: from, To: Math.Min(count, from + AnswersInOneHop), Answer: answer), preferLocal: false);
    }
}
