using System.Diagnostics.Metrics;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Tests.Grains;
using NodaTime;

namespace Billing.Tests.Journal;

/// <summary>Everything that is recorded, in its order, at least once.</summary>
public sealed class JournalFeedTests : IAsyncLifetime
{
    private readonly MemoryJournal journal = new();
    private readonly Positions positions = new();
    private readonly ManualTime time = new();
    private readonly List<StoredEvent> handled = [];
    private LedgerHost host = null!;

    public Task InitializeAsync()
    {
        host = NewHost();
        return Task.CompletedTask;
    }

    public async Task DisposeAsync() => await host.DisposeAsync();

    [Fact]
    public async Task all_streams_are_handed_over_in_the_journals_order_and_once_when_nothing_goes_wrong()
    {
        using var feed = NewFeed();
        Assert.Equal(0, await feed.CatchUp(Handle));
        await Record("acme", JournalFeed.PageSize);
        await Record("zenith", JournalFeed.PageSize + 3);
        Assert.Equal(2 * JournalFeed.PageSize + 3, await feed.CatchUp(Handle));
        await Record("beta", 2);
        Assert.Equal(2, await feed.CatchUp(Handle));

        Assert.Equal((await journal.ReadAll(0, int.MaxValue)).Select(e => e.Position), handled.Select(e => e.Position));
        Assert.Equal(0, await feed.CatchUp(Handle));
    }

    [Fact]
    public async Task another_process_goes_on_where_the_position_is_stored()
    {
        await Record("acme", 10);
        using (var feed = NewFeed()) await feed.CatchUp(Handle);
        await Record("acme", 5);

        using var next = NewFeed();
        Assert.Equal(5, await next.CatchUp(Handle));
        using var other = NewFeed("another name");
        Assert.Equal(15, await other.CatchUp(Handle));
    }

    [Fact]
    public async Task what_could_not_be_handled_or_noted_comes_again()
    {
        await Record("acme", JournalFeed.PageSize + 10);
        using var feed = NewFeed();
        await Assert.ThrowsAsync<IOException>(() => feed.CatchUp(page => page[0].Position > 1 ? throw new IOException("Not now.") : Handle(page)));
        Assert.Equal(JournalFeed.PageSize, handled.Count);

        positions.Fails = true;
        await Assert.ThrowsAsync<IOException>(() => feed.CatchUp(Handle));
        Assert.Equal(JournalFeed.PageSize + 10, handled.Count);

        // It was handled, and nobody can know.
        positions.Fails = false;
        Assert.Equal(10, await feed.CatchUp(Handle));
        Assert.Equal(handled[^10..].Select(e => e.Position), handled[^20..^10].Select(e => e.Position));
        Assert.Equal(Enumerable.Range(1, JournalFeed.PageSize + 10).Select(p => (long)p), handled.Select(e => e.Position).Distinct());
    }

    [Fact]
    public async Task the_lag_is_a_gauge_that_grows_while_nothing_is_handled()
    {
        using var feed = NewFeed("measured");
        await feed.CatchUp(Handle);
        Assert.Equal(0, Measured("measured"));
        time.Advance(TimeSpan.FromMinutes(2));
        await Record("acme", 3);
        await Assert.ThrowsAsync<IOException>(() => feed.CatchUp(_ => throw new IOException("Not now.")));
        Assert.Equal(120, Measured("measured"));

        await feed.CatchUp(Handle);
        Assert.Equal(0, Measured("measured"));

        // A reader that begins anew is as late as the last that is stored.
        time.Advance(TimeSpan.FromMinutes(1));
        using var again = NewFeed("measured too");
        positions.Stored["measured too"] = (1, Instant.FromDateTimeOffset(time.GetUtcNow()) - Duration.FromMinutes(9));
        await Assert.ThrowsAsync<IOException>(() => again.CatchUp(_ => throw new IOException("Not now.")));
        Assert.Equal(540, Measured("measured too"));
        again.Dispose();
        Assert.Null(Measured("measured too"));
    }

    [Fact]
    public async Task while_a_long_journal_is_read_the_lag_is_the_age_of_what_was_handled_last()
    {
        await Record("acme", JournalFeed.PageSize + 1);
        time.Advance(TimeSpan.FromHours(3));
        using var feed = NewFeed("long");
        var lags = new List<double?>();
        await feed.CatchUp(_ =>
        {
            lags.Add(Measured("long"));
            return default;
        });

        Assert.Equal([0, 3 * 3_600], lags);
        Assert.Equal(0, Measured("long"));
    }

    [Fact]
    public async Task following_hands_over_what_is_recorded_later_through_failures_until_it_is_stopped()
    {
        using var stop = new CancellationTokenSource();
        using var feed = NewFeed();
        var failures = new List<string>();
        var (first, failed, second) = (new TaskCompletionSource(), new TaskCompletionSource(), new TaskCompletionSource());
        await Record("acme", 2);
        var following = feed.Follow(async page =>
        {
            if (page[0].Version == 3 && failures.Count == 0) throw new IOException("Not now.");
            await Handle(page);
            (page[0].Version < 3 ? first : second).SetResult();
        }, TimeSpan.FromSeconds(1), e =>
        {
            failures.Add(e.Message);
            failed.SetResult();
        }, stop.Token);
        await first.Task;
        await Record("acme", 1);
        await TickUntil(failed.Task);
        await TickUntil(second.Task);

        await stop.CancelAsync();
        await following.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(["Not now."], failures);
        Assert.Equal([1, 2, 3], handled.Select(e => e.Version));
    }

    /// <summary>Time passes until it is so.</summary>
    private async Task TickUntil(Task done)
    {
        for (var i = 0; !done.IsCompleted; i++)
        {
            Assert.True(i < 3_000, "It never came to that.");
            time.Advance(TimeSpan.FromSeconds(1));
            await Task.WhenAny(done, Task.Delay(10));
        }
    }

    private LedgerHost NewHost() => new(journal, () => Sessions.Catalogs, long.MaxValue);

    private JournalFeed NewFeed(string name = "mails") => new(name, journal, positions, time);

    private ValueTask Handle(IReadOnlyList<StoredEvent> page)
    {
        handled.AddRange(page);
        return default;
    }

    private int recorded;

    private async Task Record(string organization, int events)
    {
        var ledger = host.Organization(organization);
        var opened = await ledger.Read(Sessions.At) is not null;
        if (!opened) await ledger.Execute(Sessions.Open());
        await ledger.ExecuteAll(Sessions.Uses($"u{recorded++}-", opened ? events : events - 1), atomic: false);
    }

    /// <summary>The gauge's value as a listener hears it; null when there is none for this feed.</summary>
    private static double? Measured(string feed)
    {
        double? measured = null;
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, l) =>
        {
            if (instrument.Meter.Name == "Billing.Ledger" && instrument.Name == "billing.feed.lag") l.EnableMeasurementEvents(instrument);
        };
        listener.SetMeasurementEventCallback<double>((_, value, tags, _) =>
        {
            foreach (var tag in tags)
                if (tag.Key == "feed" && (string?)tag.Value == feed) measured = value;
        });
        listener.Start();
        listener.RecordObservableInstruments();
        return measured;
    }

    private sealed class Positions : IFeedPositions
    {
        public Dictionary<string, (long, Instant?)> Stored { get; } = [];

        public bool Fails { get; set; }

        public ValueTask<(long Position, Instant? StoredAt)> Find(string feed) => new(Stored.GetValueOrDefault(feed));

        public ValueTask Save(string feed, long position, Instant now)
        {
            if (Fails) throw new IOException("The connection was lost.");
            Stored[feed] = (position, now);
            return default;
        }
    }
}
