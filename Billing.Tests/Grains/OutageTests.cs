using System.Diagnostics;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Grains;

/// <summary>While the journal does not answer: who is told what, and when; and what is there when it answers again.</summary>
public sealed class OutageTests : IAsyncLifetime
{
    private static readonly TimeSpan Timeout = TimeSpan.FromMilliseconds(500);

    private readonly MemoryJournal kept = new();
    private readonly SettableClock clock = new(Sessions.At);
    private readonly FailingJournal journal;
    private readonly JournalHealth health;
    private WatchedJournal watched = null!;
    private LedgerHost host = null!;
    private IOrganizationLedger acme = null!;
    private Catalogs catalogs = Sessions.Catalogs;

    public OutageTests()
    {
        journal = new FailingJournal(kept);
        health = new JournalHealth(journal.Probe, clock, Timeout, TimeSpan.FromMinutes(10));
    }

    public async Task InitializeAsync()
    {
        watched = new WatchedJournal(journal, health);
        host = NewHost(watched);
        acme = host.Organization("acme");
        await acme.Execute(Sessions.Open());
        await acme.Execute(Sessions.Use("before", "jobs", 7));
    }

    public async Task DisposeAsync()
    {
        journal.Mend();
        await host.DisposeAsync();
    }

    // ---- commands

    [Fact]
    public async Task once_an_outage_is_certain_commands_are_refused_at_once_and_the_journal_hears_of_none()
    {
        await Break(journal.Refuse);
        var calls = journal.Calls;

        for (var i = 0; i < 100; i++) Assert.True((await Assert.ThrowsAsync<JournalUnavailableException>(() => Use($"u{i}"))).Message.Length > 0);
        await Assert.ThrowsAsync<JournalUnavailableException>(() => host.Organization("globex").Execute(Sessions.Open()).AsTask());
        await Assert.ThrowsAsync<JournalUnavailableException>(() => watched.ReadStream("acme", 1, 1).AsTask());

        Assert.Equal(calls, journal.Calls);
        Assert.Equal(1, host.ResidentCount);
        await AssertKept(2);
    }

    [Fact]
    public async Task when_the_journal_hangs_nobody_waits_longer_than_its_timeout_and_who_was_not_begun_is_not_recorded()
    {
        journal.Hang();
        var waited = Stopwatch.StartNew();
        var begun = Use("begun");
        await Until(() => journal.Calls > 2);
        var behind = Enumerable.Range(0, 50).Select(i => Use($"behind-{i}")).ToList();
        var elsewhere = host.Organization("globex").Execute(Sessions.Open()).AsTask();

        foreach (var caller in behind.Append(begun)) await Assert.ThrowsAsync<JournalUnavailableException>(() => caller);
        await Assert.ThrowsAsync<JournalUnavailableException>(() => elsewhere);
        Assert.True(waited.Elapsed < Timeout + TimeSpan.FromSeconds(1), $"They waited {waited.Elapsed}.");
        Assert.True(health.IsOut);

        journal.Mend();
        await Until(() => !health.IsOut);
        // The answer came when nobody waited for it any more: it is recorded, and a repeat finds it.
        Assert.True((await Use("begun")).Replayed);
        Assert.False((await Use("behind-7")).Replayed);
        Assert.Null(await kept.ReadHead("globex"));
        await AssertKept(4);
    }

    [Fact]
    public async Task what_was_recorded_while_nobody_could_know_is_in_the_next_check()
    {
        journal.Hang();
        await Assert.ThrowsAsync<JournalUnavailableException>(() => Use("u", 3));
        Assert.Equal(7, (await Check()).Used);

        journal.Mend();
        await Until(() => !health.IsOut);

        await Until(async () => (await Check()).Used == 10);
        await AssertKept(3);
    }

    [Fact]
    public async Task a_caller_is_told_in_time_even_when_every_step_is_just_fast_enough()
    {
        // The organization has to be read first, and that takes most of the time; then the journal takes as long to write.
        var timeout = TimeSpan.FromSeconds(1);
        var watched = new WatchedJournal(new FailingJournal(kept) { Delay = timeout * 0.7 }, new JournalHealth(() => Task.CompletedTask, TimeProvider.System, timeout));
        await using var slow = NewHost(watched);

        await Assert.ThrowsAsync<JournalUnavailableException>(() => slow.Organization("acme").Execute(Sessions.Use("u")).AsTask());

        // Every step was in time, so it is no outage; and what was under way is recorded.
        Assert.False(watched.Health.IsOut);
        Assert.True((await Insist(slow.Organization("acme"), Sessions.Use("u"))).Replayed);
    }

    [Fact]
    public async Task more_than_can_wait_are_told_to_try_again_and_the_rest_is_recorded()
    {
        var scripted = new ScriptedJournal();
        await using var one = NewHost(scripted);
        await one.Organization("acme").Execute(Sessions.Open());
        var gate = scripted.Hold();
        var first = one.Organization("acme").Execute(Sessions.Use("first")).AsTask();
        await gate.Entered;
        var size = LedgerSession.MaxWaitingCommands / 4;
        var waiting = Enumerable.Range(0, 4).Select(i => one.Organization("acme").ExecuteAll(Sessions.Uses($"w{i}-", size), atomic: false).AsTask()).ToList();

        var tooMany = await Assert.ThrowsAsync<JournalUnavailableException>(() => one.Organization("acme").Execute(Sessions.Use("too-many")).AsTask());

        Assert.Contains($"{LedgerSession.MaxWaitingCommands} commands", tooMany.Message, StringComparison.Ordinal);
        gate.Release();
        await Task.WhenAll([first, .. waiting]);
        Assert.Equal(2 + 4 * size, (await scripted.Inner.ReadHead("acme"))!.Version);
        Assert.False((await one.Organization("acme").Execute(Sessions.Use("too-many"))).Replayed);
    }

    // ---- reads

    [Fact]
    public async Task checks_are_answered_from_memory_for_as_long_as_is_set_and_refused_then()
    {
        await Break(journal.Refuse);

        clock.Advance(Duration.FromSeconds(599));
        Assert.Equal(7, (await Check()).Used);
        Assert.NotNull(await acme.Read(clock.Now));
        Assert.NotNull(await acme.Entitlements(clock.Now));
        // What is not in memory cannot be read.
        await Assert.ThrowsAsync<JournalUnavailableException>(() => host.Organization("globex").Check("jobs", 1, clock.Now).AsTask());
        Assert.Equal(1, host.ResidentCount);

        clock.Advance(Duration.FromSeconds(1));
        await Assert.ThrowsAsync<JournalUnavailableException>(() => Check());

        journal.Mend();
        await Until(() => !health.IsOut);
        Assert.Equal(7, (await Check()).Used);
    }

    [Fact]
    public async Task checks_are_refused_when_the_catalog_says_so()
    {
        catalogs = new Catalogs([catalogs.Current with { OnJournalOutage = OnJournalOutage.Deny }]);
        await Break(journal.Refuse);

        await Assert.ThrowsAsync<JournalUnavailableException>(() => Check());

        journal.Mend();
        await Until(() => !health.IsOut);
        Assert.Equal(7, (await Check()).Used);
    }

    [Fact]
    public async Task nobody_is_forgotten_during_an_outage()
    {
        await Break(journal.Refuse);

        Assert.Equal(0, host.Evict(0));
        Assert.Equal(7, (await Check()).Used);

        journal.Mend();
        await Until(() => !health.IsOut);
        await Until(() => host.Evict(0) == 1);
    }

    // ---- the end of it

    [Fact]
    public async Task it_recovers_by_itself_without_any_traffic()
    {
        await Break(journal.Refuse);
        var since = health.Since;
        var back = new TaskCompletionSource<Duration>();
        health.CameBack += back.SetResult;
        Assert.Equal(clock.Now, since);

        clock.Advance(Duration.FromSeconds(42));
        journal.Mend();

        Assert.Equal(Duration.FromSeconds(42), await back.Task.WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Null(health.Since);
        Assert.False((await Use("after")).Replayed);
        await AssertKept(3);
    }

    [Fact]
    public async Task one_failure_of_a_journal_that_answers_is_no_outage()
    {
        var scripted = new ScriptedJournal();
        var probed = new TaskCompletionSource();
        var well = new JournalHealth(() => Task.FromResult(probed.TrySetResult()), clock);
        well.WentOut += cause => Assert.Fail($"It went out: {cause}");
        await using var one = NewHost(new WatchedJournal(scripted, well));
        scripted.FailBeforeWriting();

        Assert.Null((await one.Organization("acme").Execute(Sessions.Open())).Rejection);

        await probed.Task;
        await Until(() => well.Since is null);
        Assert.False(well.IsOut);
    }

    [Fact]
    public async Task a_disk_that_is_full_refuses_commands_answers_checks_and_is_one_outage()
    {
        journal.FillUp();
        var started = clock.Now;
        for (var i = 0; i < 5; i++)
        {
            await Assert.ThrowsAsync<JournalUnavailableException>(() => Use($"u{i}"));
            Assert.Equal(7, (await Check()).Used);
            clock.Advance(Duration.FromSeconds(3));
            // Reading works, so the probe of this test ends it every time; it begins again with the next command.
            await Until(() => health.Since is null);
        }
        await Assert.ThrowsAsync<JournalUnavailableException>(() => Use("u"));
        Assert.True(health.Since is null || health.Since == started, $"{health.Since}");

        journal.Mend();

        await Until(() => health.Since is null);
        Assert.False((await Use("u1")).Replayed);
        await AssertKept(3);
    }

    [Fact]
    public async Task a_probe_that_hangs_is_not_waited_for_and_not_repeated_without_end()
    {
        journal.Hang();
        health.Failed(new IOException("Connection reset."));
        await Until(() => health.IsOut);
        await Until(() => journal.Probes >= 3);

        Assert.InRange(journal.Probes, 3, 4);
        journal.Mend();
        await Until(() => !health.IsOut);
    }

    // ---- helpers

    private static async Task<CommandResult> Insist(IOrganizationLedger organization, Command command)
    {
        while (true)
        {
            try
            {
                return await organization.Execute(command);
            }
            catch (JournalUnavailableException)
            {
                // As a caller would: the same again.
            }
        }
    }

    private LedgerHost NewHost(IJournal on) => new(on, () => catalogs, long.MaxValue);

    private Task<CommandResult> Use(string id, decimal quantity = 1) => acme.Execute(Sessions.Use(id, "jobs", quantity)).AsTask();

    private async Task<EntitlementView> Check() => (await acme.Check("jobs", 1, Sessions.At)).Entitlement!;

    /// <summary>Breaks the journal, and waits until that is certain.</summary>
    private async Task Break(Action how)
    {
        how();
        await Assert.ThrowsAsync<JournalUnavailableException>(() => Use("finds-out"));
        await Until(() => health.IsOut);
    }

    private async Task AssertKept(long version)
    {
        Assert.Equal(version, (await kept.ReadHead("acme"))!.Version);
        Assert.Null((await ChainVerifier.Verify(kept, "acme")).Problem);
    }

    private static Task Until(Func<bool> condition) => Until(() => Task.FromResult(condition()));

    private static async Task Until(Func<Task<bool>> condition)
    {
        for (var waited = Stopwatch.StartNew(); !await condition(); await Task.Delay(1))
            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(30), "It does not come about.");
    }
}
