using NodaTime;

namespace Billing.Grains.Journal;

/// <summary>How far each reader of the whole journal has come.</summary>
public interface IFeedPositions
{
    /// <summary>The position up to which everything was handled, 0 at first, and when that was stored, if it was.</summary>
    ValueTask<(long Position, Instant? StoredAt)> Find(string feed);

    /// <summary>Never goes back: a smaller position than the stored one changes nothing.</summary>
    ValueTask Save(string feed, long position, Instant now);
}

/// <summary>
/// Reads the whole journal in its order, for what is made of it elsewhere. Every event is handled at least once: its
/// position is stored after that, so what was handled just before a crash is handled again. Whoever handles them keeps a
/// version for each organization, or does what can be done twice.
/// </summary>
public sealed class JournalFeed : IDisposable
{
    public const int PageSize = 500;

    private readonly IJournal journal;
    private readonly IFeedPositions positions;
    private readonly TimeProvider time;
    private long position = -1;
    private long handledUntil;

    /// <param name="name">What its position is stored under. Another name reads from the beginning.</param>
    public JournalFeed(string name, IJournal journal, IFeedPositions positions, TimeProvider? time = null)
    {
        Name = name;
        this.journal = journal;
        this.positions = positions;
        this.time = time ?? TimeProvider.System;
        handledUntil = Micros.Of(Now());
        LedgerMeter.Add(this);
    }

    public string Name { get; }

    /// <summary>
    /// For how long what was recorded has not been handled. It grows while the journal or the handling fails, and is about the
    /// time between two looks when all is well. The gauge <c>billing.feed.lag</c>, in seconds.
    /// </summary>
    public TimeSpan Lag => TimeSpan.FromMicroseconds(Math.Max(0, Micros.Of(Now()) - Interlocked.Read(ref handledUntil)));

    /// <summary>Hands over everything that there is now. One caller at a time.</summary>
    /// <param name="handle">Gets events in the journal's order, up to <see cref="PageSize"/> at a time. What it throws ends this; the same events come again next time.</param>
    /// <returns>How many events were handled.</returns>
    public async Task<long> CatchUp(Func<IReadOnlyList<StoredEvent>, ValueTask> handle, CancellationToken stop = default)
    {
        if (position < 0)
        {
            var (stored, storedAt) = await positions.Find(Name);
            // What was recorded while nobody read is late since then.
            if (storedAt is { } at) Interlocked.Exchange(ref handledUntil, Micros.Of(at));
            position = stored;
        }
        for (var handled = 0L; ;)
        {
            stop.ThrowIfCancellationRequested();
            var asked = Micros.Of(Now());
            var page = await journal.ReadAll(position, PageSize);
            if (page.Count > 0)
            {
                await handle(page);
                await positions.Save(Name, page[^1].Position, Now());
                position = page[^1].Position;
                handled += page.Count;
            }
            var hasAll = page.Count < PageSize;
            Interlocked.Exchange(ref handledUntil, hasAll ? asked : Micros.Of(page[^1].RecordedAt));
            if (hasAll) return handled;
        }
    }

    /// <summary>Hands over everything as it is recorded, until it is stopped. What fails is told and tried again.</summary>
    /// <param name="every">How long to wait when there is nothing more, and after a failure.</param>
    public async Task Follow(Func<IReadOnlyList<StoredEvent>, ValueTask> handle, TimeSpan every, Action<Exception> failed, CancellationToken stop)
    {
        using var timer = new PeriodicTimer(every, time);
        while (!stop.IsCancellationRequested)
        {
            try
            {
                await CatchUp(handle, stop);
            }
            catch (Exception e) when (!stop.IsCancellationRequested)
            {
                failed(e);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            try
            {
                await timer.WaitForNextTickAsync(stop);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    /// <summary>It is no longer among what is measured.</summary>
    public void Dispose() => LedgerMeter.Remove(this);

    private Instant Now() => Micros.Truncate(Instant.FromDateTimeOffset(time.GetUtcNow()));
}
