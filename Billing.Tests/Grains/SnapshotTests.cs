using System.Collections.Concurrent;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Grains;

/// <summary>Snapshots change what it costs to load an organization, never what it is, and nobody waits for one.</summary>
public sealed class SnapshotTests : IAsyncLifetime
{
    private const int Every = 10;

    private readonly ScriptedJournal journal = new();
    private readonly MemorySnapshots store = new();
    private readonly ManualTime time = new();
    private readonly ConcurrentQueue<string> log = [];
    private LedgerHost host = null!;
    private IOrganizationLedger acme = null!;

    public Task InitializeAsync()
    {
        host = NewHost();
        acme = host.Organization("acme");
        return Task.CompletedTask;
    }

    public async Task DisposeAsync() => await host.DisposeAsync();

    // ---- when

    [Fact]
    public async Task one_is_taken_when_there_are_so_many_events_and_not_before()
    {
        await Live(Every - 1);
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.True(store.IsQuiet);

        await acme.Execute(Sessions.Use("the-tenth"));
        Assert.Equal(Every, (await store.Next()).Version);

        time.Advance(TimeSpan.FromSeconds(1));
        await acme.ExecuteAll(Sessions.Uses("more", Every + 3), atomic: false);
        Assert.Equal(Every * 2 + 3, (await store.Next()).Version);
    }

    [Fact]
    public async Task a_busy_organization_has_one_a_second_at_most()
    {
        await Live(Every - 1);
        time.Advance(TimeSpan.FromSeconds(1));
        await acme.Execute(Sessions.Use("the-tenth"));
        Assert.Equal(Every, (await store.Next()).Version);

        for (var i = 0; i < 5; i++) await acme.ExecuteAll(Sessions.Uses($"busy-{i}-", Every), atomic: false);
        time.Advance(TimeSpan.FromSeconds(1));
        await acme.Execute(Sessions.Use("later"));

        // Those in between would have come first.
        Assert.Equal(Every * 6 + 1, (await store.Next()).Version);
    }

    [Fact]
    public async Task a_quiet_organization_has_one_by_time()
    {
        await Live(3);
        time.Advance(SnapshotSchedule.DueAfter);
        await acme.Execute(Sessions.Use("after-a-while"));

        Assert.Equal(4, (await store.Next()).Version);
    }

    [Fact]
    public async Task one_is_taken_at_eviction_and_at_the_end_when_something_happened_since()
    {
        await Live(3);
        Assert.Equal(1, host.Evict(0));
        Assert.Equal(3, (await store.Next()).Version);

        await acme.Execute(Sessions.Use("one-more"));
        await acme.Execute(Sessions.Use("and-another"));
        await host.DisposeAsync();
        Assert.Equal(5, store.Kept["acme"].Version);
        Assert.Equal(5, (await store.Next()).Version);

        await using var again = NewHost();
        await again.Organization("acme").Read(Sessions.At);
        await again.DisposeAsync();
        Assert.True(store.IsQuiet);
    }

    [Fact]
    public async Task a_long_stream_without_one_gets_it_as_soon_as_it_is_read()
    {
        await Live(3 * Every);
        await Restart(forget: true);

        await acme.Read(Sessions.At);

        Assert.Equal(3 * Every, (await store.Next()).Version);
    }

    // ---- what for

    [Fact]
    public async Task an_organization_begins_with_its_snapshot_and_reads_only_what_is_behind_it()
    {
        await Live(25);
        await Restart();
        Assert.Equal(25, store.Kept["acme"].Version);
        await using (var without = new LedgerHost(journal, () => Sessions.Catalogs, long.MaxValue))
            await without.Organization("acme").ExecuteAll(Sessions.Uses("behind", 4), atomic: false);
        journal.ReadFrom.Clear();

        Assert.Equal(29, (await acme.Read(Sessions.At))!.Version);

        // The snapshot's own event, to see that it is this stream's, and what follows.
        Assert.Equal([25, 26], journal.ReadFrom);
        await acme.Execute(Sessions.Use("goes-on"));
        Assert.Null((await ChainVerifier.Verify(journal.Inner, "acme", snapshots: store)).Problem);
    }

    [Fact]
    public async Task with_snapshots_and_without_them_everything_is_the_same_at_every_event()
    {
        var others = new MemorySnapshots();
        var dice = new Random(7);
        for (var step = 0; step < 120; step++)
        {
            var at = Sessions.At + Duration.FromHours(step * 7);
            Command command = step == 0 ? Sessions.Open() : dice.Next(5) switch
            {
                0 => new GrantTokens(GrantKind.Promotional, 1 + dice.Next(40), 10, at + Duration.FromDays(dice.Next(1, 9)), null) { Id = $"g{step}", ContentHash = [1], At = at },
                1 => Sessions.Use($"u{step}", "renders", 1 + dice.Next(4)),
                2 => Sessions.Use($"u{step}", "seats", dice.Next(3) - 1),
                3 => new SetOverride("jobs", dice.Next(400), false, null, false, null) { Id = $"o{step}", ContentHash = [1], At = at },
                _ => Sessions.Use($"u{step}", "jobs", 1 + dice.Next(90)),
            };
            await acme.Execute(command with { At = at });
            if (dice.Next(3) == 0) await Restart(forget: dice.Next(4) == 0);
            var state = await Load(store);

            Assert.Null(StateComparison.Difference(await Load(null), state));
            // And one that began with a snapshot of every version before.
            Assert.Null(StateComparison.Difference(state, await Load(others)));
            if (state.Version > 0) others.Kept["acme"] = SnapshotCodec.Encode(state, (await journal.ReadHead("acme"))!.Hash);
        }
        Assert.True(store.Finds > 20);
    }

    [Fact]
    public async Task what_was_recorded_before_the_snapshot_is_still_known_by_its_command_id()
    {
        await acme.Execute(Sessions.Open());
        await acme.Execute(Sessions.Use("all-of-it", "jobs", 300));
        await acme.ExecuteAll(Sessions.Uses("calls", Every), atomic: false);
        await Restart();

        // It would be refused now, and a repeat of what was there before the snapshot is in no memory.
        var again = await acme.Execute(Sessions.Use("all-of-it", "jobs", 300));

        Assert.True(again.Replayed);
        Assert.Equal(2, again.Events.Single().Version);
        Assert.Equal(RejectionKind.QuotaExceeded, (await acme.Execute(Sessions.Use("another", "jobs", 300))).Rejection!.Kind);
        Assert.Equal(RejectionKind.CommandIdReused, (await acme.Execute(Sessions.Use("all-of-it", "jobs", 1))).Rejection!.Kind);
    }

    // ---- never trusted

    [Theory]
    [InlineData("another event's hash")]
    [InlineData("another format")]
    [InlineData("damaged")]
    [InlineData("ahead of the journal")]
    [InlineData("another organization's")]
    public async Task one_that_does_not_fit_is_ignored(string what)
    {
        await Live(25);
        await Restart();
        // Its numbers would show if it were taken.
        var state = await Load(null) is var s ? s with { Usage = [] } : null!;
        var good = SnapshotCodec.Encode(state, store.Kept["acme"].Hash);
        store.Kept["acme"] = what switch
        {
            "another event's hash" => SnapshotCodec.Encode(state, new byte[32]),
            "another format" => good with { Format = "another" },
            "damaged" => good with { Body = [.. good.Body[..^1], (byte)(good.Body[^1] ^ 1)] },
            "ahead of the journal" => SnapshotCodec.Encode(state with { Version = 26 }, good.Hash),
            _ => SnapshotCodec.Encode(state with { Organization = "zenith" }, good.Hash) with { Organization = "acme" },
        };
        log.Clear();

        Assert.Equal(24, (await acme.Check("calls", 1, Sessions.At)).Entitlement!.Used);

        // Of another format is nothing to worry about: that is how it is after every new version.
        Assert.Equal(what == "another format" ? 0 : 1, log.Count);
        Assert.All(log, line => Assert.Contains("'acme'", line, StringComparison.Ordinal));
        Assert.Null((await ChainVerifier.Verify(journal.Inner, "acme", snapshots: store)).Problem);
        // The stream is long enough to get a good one in its place.
        Assert.Equal(25, (await Good()).Version);
        Assert.Null(StateComparison.Difference(await Load(null), SnapshotCodec.Decode(store.Kept["acme"])));

        async Task<Snapshot> Good()
        {
            await host.DisposeAsync();
            return store.Kept["acme"];
        }
    }

    [Fact]
    public async Task verifying_finds_one_that_says_something_else_than_the_events()
    {
        await Live(25);
        await Restart();
        var good = store.Kept["acme"];
        Assert.Null((await ChainVerifier.Verify(journal.Inner, "acme", snapshots: store)).Problem);
        await acme.Execute(Sessions.Use("one-more"));

        store.Kept["acme"] = SnapshotCodec.Encode(SnapshotCodec.Decode(good) with { Voided = [7] }, good.Hash);
        var report = await ChainVerifier.Verify(journal.Inner, "acme", snapshots: store);

        Assert.Equal(25, report.FirstBadVersion);
        Assert.Contains("snapshot", report.Problem, StringComparison.Ordinal);
        Assert.Contains("Voided", report.Problem, StringComparison.Ordinal);
        Assert.Null((await ChainVerifier.Verify(journal.Inner, "acme")).Problem);
    }

    // ---- trouble

    [Fact]
    public async Task no_command_waits_for_a_snapshot_to_be_stored()
    {
        var stored = new TaskCompletionSource();
        var storing = new TaskCompletionSource();
        store.OnSave = () =>
        {
            storing.TrySetResult();
            return stored.Task;
        };
        await Live(Every);
        await acme.Execute(Sessions.Use("due"));
        time.Advance(TimeSpan.FromSeconds(1));
        await acme.ExecuteAll(Sessions.Uses("due-too", Every), atomic: false);
        await storing.Task;

        // One is on its way for ever: everything else goes on, and organizations come and go.
        for (var i = 0; i < 5; i++)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            Assert.Null((await acme.ExecuteAll(Sessions.Uses($"more-{i}-", Every), atomic: true))[0].Rejection);
            Assert.Equal(1, host.Evict(0));
        }
        Assert.Empty(store.Kept);
        stored.SetResult();
        Assert.InRange((await store.Next()).Version, Every, Every * 2 + 1);
        // Of those that waited the last one is left.
        Assert.Equal(Every * 7 + 1, (await store.Next()).Version);
        Assert.True(store.IsQuiet);
    }

    [Fact]
    public async Task a_store_that_fails_is_nobodys_problem()
    {
        store.OnSave = () => throw new IOException("The disk is full.");
        store.OnFind = () => throw new IOException("The disk is gone.");
        await Live(3 * Every);
        Assert.Equal(1, host.Evict(0));

        Assert.Equal(3 * Every, (await acme.Read(Sessions.At))!.Version);
        await host.DisposeAsync();

        Assert.Contains(log, line => line.Contains("could not be stored", StringComparison.Ordinal));
        Assert.Contains(log, line => line.Contains("cannot be read", StringComparison.Ordinal));
        Assert.Empty(store.Kept);
    }

    [Fact]
    public async Task a_store_that_hangs_is_waited_for_once_and_then_not_asked_for_a_while()
    {
        await Live(3);
        await Restart();
        store.OnFind = () => new TaskCompletionSource().Task;
        var read = acme.Read(Sessions.At).AsTask();
        await Until(() => time.Waiting > 0 && store.Finds > 1);
        Assert.False(read.IsCompleted);

        time.Advance(Snapshots.FindTimeout);
        Assert.Equal(3, (await read)!.Version);

        var finds = store.Finds;
        Assert.Equal(1, host.Evict(0));
        Assert.Equal(3, (await acme.Read(Sessions.At))!.Version);
        Assert.Equal(finds, store.Finds);

        store.OnFind = null;
        time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(1, host.Evict(0));
        Assert.Equal(3, (await acme.Read(Sessions.At))!.Version);
        Assert.Equal(finds + 1, store.Finds);
    }

    [Fact]
    public async Task when_too_many_wait_the_rest_is_left_out()
    {
        var stored = new TaskCompletionSource();
        store.OnSave = () => stored.Task;
        const int organizations = Snapshots.MaxWaiting + 100;
        for (var i = 0; i < organizations; i++) await host.Organization($"org-{i}").ExecuteAll([Sessions.Open(), Sessions.Use("u")], atomic: true);
        Assert.Equal(organizations, host.Evict(0));

        stored.SetResult();
        await host.DisposeAsync();

        Assert.InRange(store.Kept.Count, Snapshots.MaxWaiting, organizations - 1);
        foreach (var (id, kept) in store.Kept) Assert.Equal((id, 2), (SnapshotCodec.Decode(kept).Organization, kept.Version));
    }

    [Fact]
    public async Task an_append_whose_answer_was_lost_is_found_again_from_the_snapshot_on()
    {
        await Live(25);
        await Restart();
        journal.FailAfterWriting();
        Assert.False((await acme.Execute(Sessions.Use("lost"))).Replayed);
        journal.FailBeforeWriting();
        Assert.Equal(27, (await acme.Execute(Sessions.Use("lost-too"))).Events.Single().Version);

        Assert.Equal(26, (await acme.Check("calls", 1, Sessions.At)).Entitlement!.Used);
        Assert.Equal(27, (await ChainVerifier.Verify(journal.Inner, "acme")).Events);
    }

    // ---- helpers

    private LedgerHost NewHost() =>
        new(journal, () => Sessions.Catalogs, long.MaxValue, new Snapshots(store, Every, time) { Log = (message, _) => log.Enqueue(message) });

    /// <summary>The organization is opened and has so many events.</summary>
    private async Task Live(int events)
    {
        await acme.Execute(Sessions.Open());
        await acme.ExecuteAll(Sessions.Uses("life", events - 1), atomic: false);
    }

    /// <summary>Another process, after a good end of the one before.</summary>
    private async Task Restart(bool forget = false)
    {
        await host.DisposeAsync();
        if (forget) store.Kept.Clear();
        while (!store.IsQuiet) await store.Next();
        host = NewHost();
        acme = host.Organization("acme");
    }

    /// <summary>The state as a session of its own loads it.</summary>
    private async Task<State> Load(MemorySnapshots? from)
    {
        await using var writer = new JournalWriter(journal);
        await using var snapshots = from is null ? null : new Snapshots(from, int.MaxValue, time);
        return (await new LedgerSession("acme", journal, writer, () => Sessions.Catalogs, snapshots: snapshots).Current())!;
    }

    private static async Task Until(Func<bool> condition)
    {
        for (var i = 0; !condition(); i++)
        {
            Assert.True(i < 3_000, "It never came to that.");
            await Task.Delay(10);
        }
    }
}
