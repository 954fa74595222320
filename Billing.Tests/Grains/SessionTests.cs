using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Grains;

/// <summary>THE ONE LOOP: batches, checks that never wait, conflicts, unknown outcomes, repeats, eviction, the end.</summary>
public sealed class SessionTests : IAsyncLifetime
{
    private readonly ScriptedJournal journal = new();
    private LedgerHost host = null!;
    private IOrganizationLedger acme = null!;

    public async Task InitializeAsync()
    {
        host = NewHost();
        acme = host.Organization("acme");
        await acme.Execute(Sessions.Open());
        journal.Groups.Clear();
    }

    public async Task DisposeAsync() => await host.DisposeAsync();

    // ---- batches

    [Fact]
    public async Task commands_that_arrive_while_an_append_is_in_flight_go_together_in_the_next_one()
    {
        var gate = journal.Hold();
        var first = acme.Execute(Sessions.Use("first"));
        await gate.Entered;
        var others = Sessions.Uses("c", 100).Select(c => acme.Execute(c).AsTask()).ToList();
        var several = acme.ExecuteAll(Sessions.Uses("d", 10), atomic: false);
        Assert.All(others, o => Assert.False(o.IsCompleted));

        gate.Release();
        await first;
        var results = await Task.WhenAll(others);
        await several;

        Assert.Equal([1, 110], journal.Groups.Select(g => g.Single().Events.Count));
        // In the order in which they came.
        Assert.Equal(Enumerable.Range(3, 100).Select(v => (long)v), results.Select(r => r.Events.Single().Version));
        Assert.Empty(journal.Lookups);
        await AssertChain(112);
    }

    [Fact]
    public async Task a_batch_takes_no_more_than_its_most_and_the_rest_goes_next()
    {
        var gate = journal.Hold();
        var first = acme.Execute(Sessions.Use("first"));
        await gate.Entered;
        var most = acme.ExecuteAll(Sessions.Uses("c", LedgerSession.MaxBatchCommands - 1), atomic: false).AsTask();
        var two = acme.ExecuteAll(Sessions.Uses("d", 2), atomic: false).AsTask();

        gate.Release();
        await first;
        await Task.WhenAll(most, two);

        Assert.Equal([1, LedgerSession.MaxBatchCommands - 1, 2], journal.Groups.Select(g => g.Single().Events.Count));
    }

    [Fact]
    public async Task appends_of_several_organizations_that_wait_go_in_one_group()
    {
        foreach (var id in new[] { "b", "c", "d" }) await host.Organization(id).Execute(Sessions.Open());
        journal.Groups.Clear();
        var gate = journal.Hold();
        var first = acme.Execute(Sessions.Use("u")).AsTask();
        await gate.Entered;
        var others = new[] { "b", "c", "d" }.Select(id => host.Organization(id).Execute(Sessions.Use("u")).AsTask()).ToList();

        gate.Release();
        await Task.WhenAll([first, .. others]);

        Assert.Equal([1, 3], journal.Groups.Select(g => g.Count));
    }

    [Fact]
    public async Task checks_never_wait_for_an_append()
    {
        await acme.Execute(Sessions.Use("one", "jobs"));
        var gate = journal.Hold();
        var inFlight = acme.Execute(Sessions.Use("two", "jobs"));
        await gate.Entered;
        var waiting = acme.Execute(Sessions.Use("three", "jobs"));

        var check = acme.Check("jobs", 1, Sessions.At);
        var entitlements = acme.Entitlements(Sessions.At);
        var read = acme.Read(Sessions.At);

        Assert.True(check.IsCompletedSuccessfully && entitlements.IsCompletedSuccessfully && read.IsCompletedSuccessfully);
        // What is in flight is not durable, so nobody sees it.
        Assert.Equal(1, (await check).Entitlement!.Used);
        gate.Release();
        await inFlight;
        await waiting;
        Assert.Equal(3, (await acme.Check("jobs", 1, Sessions.At)).Entitlement!.Used);
    }

    [Fact]
    public async Task an_answer_comes_after_the_event_is_durable_and_is_seen_by_the_next_check()
    {
        for (var i = 1; i <= 20; i++)
        {
            var result = await acme.Execute(Sessions.Use($"u{i}", "jobs"));

            Assert.Equal(i + 1, (await journal.Inner.ReadHead("acme"))!.Version);
            Assert.Equal(i, result.Entitlement!.Used);
            Assert.Equal(i, (await acme.Check("jobs", 1, Sessions.At)).Entitlement!.Used);
        }
    }

    // ---- conflicts

    [Fact]
    public async Task after_a_conflict_the_state_is_read_again_and_the_commands_are_decided_again()
    {
        await acme.Execute(Sessions.Use("almost-all", "jobs", 298));
        await using var other = NewHost(journal.Inner);
        journal.Conflict(async () => await other.Organization("acme").Execute(Sessions.Use("elsewhere", "jobs")));

        var results = await acme.ExecuteAll(Sessions.Uses("mine", 2, "jobs"), atomic: false);

        // Two were left; another activation took one of them meanwhile.
        Assert.Null(results[0].Rejection);
        Assert.Equal(RejectionKind.QuotaExceeded, results[1].Rejection!.Kind);
        Assert.Equal(4, results[0].Events.Single().Version);
        await AssertChain(4);
    }

    [Fact]
    public async Task after_a_conflict_a_command_that_another_activation_recorded_is_answered_from_there()
    {
        await using var other = NewHost(journal.Inner);
        journal.Conflict(async () => await other.Organization("acme").Execute(Sessions.Use("same")));

        var result = await acme.Execute(Sessions.Use("same"));

        Assert.True(result.Replayed);
        Assert.Equal(2, result.Events.Single().Version);
        await AssertChain(2);
    }

    [Fact]
    public async Task who_always_meets_conflicts_is_told_to_try_again_and_nothing_is_written()
    {
        for (var i = 0; i < LedgerSession.MaxAttempts; i++) journal.Conflict();

        await Assert.ThrowsAsync<JournalUnavailableException>(() => acme.Execute(Sessions.Use("unlucky")).AsTask());

        Assert.Equal(LedgerSession.MaxAttempts, journal.Groups.Count);
        await AssertChain(1);
        Assert.False((await acme.Execute(Sessions.Use("unlucky"))).Replayed);
        await AssertChain(2);
    }

    [Fact]
    public async Task one_conflict_less_than_the_most_is_survived()
    {
        for (var i = 1; i < LedgerSession.MaxAttempts; i++) journal.Conflict();

        Assert.Null((await acme.Execute(Sessions.Use("lucky"))).Rejection);

        await AssertChain(2);
    }

    [Fact]
    public async Task two_hosts_that_fight_over_one_organization_record_every_command_once()
    {
        const int commands = 400, limit = 300;
        await using var other = NewHost(journal.Inner);
        IOrganizationLedger[] fighters = [acme, other.Organization("acme")];

        // Every command goes to both, and more of them than the quota allows.
        var results = await Task.WhenAll(fighters.SelectMany(fighter => Enumerable.Range(0, commands).Chunk(commands / 8).Select(chunk => Task.Run(async () =>
        {
            var accepted = new List<(string Id, long Version)>();
            foreach (var i in chunk)
                if (await Insist(fighter, Sessions.Use($"c{i}", "jobs")) is { Rejection: null } result) accepted.Add(($"c{i}", result.Events.Single().Version));
            return accepted;
        }))));

        var stream = await journal.Inner.ReadStream("acme", 2, 10_000);
        Assert.Equal(limit, stream.Count);
        var recorded = stream.ToDictionary(e => e.CommandId!, e => e.Version);
        Assert.All(results.SelectMany(r => r), r => Assert.Equal(recorded[r.Id], r.Version));
        Assert.Equal(limit, results.SelectMany(r => r).Select(r => r.Id).Distinct().Count());
        await AssertChain(limit + 1);
    }

    [Fact]
    public async Task what_another_activation_made_possible_is_not_refused_by_what_this_one_remembers()
    {
        await acme.Execute(Sessions.Use("all", "jobs", 300));
        await using var other = NewHost(journal.Inner);
        await other.Organization("acme").Execute(new SetPlan("pro", null) { Id = "plan", ContentHash = [1], At = Sessions.At });

        var result = await acme.Execute(Sessions.Use("u", "jobs"));

        Assert.Null(result.Rejection);
        Assert.Equal(4, result.Events.Single().Version);
        await AssertChain(4);
    }

    [Fact]
    public async Task what_another_activation_recorded_is_not_refused_here_because_it_used_up_the_rest()
    {
        await using var other = NewHost(journal.Inner);
        await acme.Execute(Sessions.Use("almost-all", "jobs", 299));
        await other.Organization("acme").Execute(Sessions.Use("last", "jobs"));
        Assert.Equal(RejectionKind.QuotaExceeded, (await acme.Execute(Sessions.Use("more", "jobs"))).Rejection!.Kind);

        Assert.True((await acme.Execute(Sessions.Use("last", "jobs"))).Replayed);
        // And from a session that was never told, whose own memory has room for every id of the stream.
        await using var third = NewHost(journal.Inner);
        await third.Organization("acme").Read(Sessions.At);
        await acme.Execute(new SetPlan("pro", null) { Id = "plan", ContentHash = [1], At = Sessions.At });
        await acme.Execute(Sessions.Use("huge", "jobs", 8700));
        Assert.True((await third.Organization("acme").Execute(Sessions.Use("huge", "jobs", 8700))).Replayed);
        await AssertChain(5);
    }

    [Fact]
    public async Task what_the_journal_has_lost_is_forgotten_before_anything_is_refused_by_it()
    {
        var opened = await journal.ReadStream("acme", 1, 1);
        await acme.Execute(Sessions.Use("all", "jobs", 300));
        // A server's copy took over, and it had not heard of the last event.
        journal.Inner = new MemoryJournal();
        await journal.Inner.AppendGroup([new StreamAppend("acme", 0, opened, null)]);

        var result = await acme.Execute(Sessions.Use("u", "jobs"));

        Assert.Null(result.Rejection);
        Assert.Equal(2, result.Events.Single().Version);
        Assert.Equal(1, (await acme.Check("jobs", 1, Sessions.At)).Entitlement!.Used);
        await AssertChain(2);
    }

    // ---- unknown outcomes

    [Fact]
    public async Task what_was_written_although_the_connection_was_lost_is_recorded_once_and_answered_from_the_journal()
    {
        journal.FailAfterWriting();

        var results = await acme.ExecuteAll(Sessions.Uses("u", 3), atomic: true);

        Assert.Equal([2L, 3L, 4L], results.Select(r => r.Events.Single().Version));
        Assert.Single(journal.Groups);
        // By its hash it is this very append: no id has to be looked up.
        Assert.Empty(journal.Lookups);
        await AssertChain(4);
        Assert.Equal(3, (await acme.Check("calls", 1, Sessions.At)).Entitlement!.Used);
    }

    [Fact]
    public async Task what_was_lost_on_its_way_is_written_once()
    {
        journal.FailBeforeWriting();

        var result = await acme.Execute(Sessions.Use("u"));

        Assert.False(result.Replayed);
        Assert.Equal(2, result.Events.Single().Version);
        Assert.Equal(2, journal.Groups.Count);
        await AssertChain(2);
    }

    [Fact]
    public async Task a_journal_that_keeps_failing_is_said_to_be_unavailable_and_the_same_id_finds_the_truth_later()
    {
        journal.FailBeforeWriting();
        journal.FailAfterWriting();
        var first = acme.Execute(Sessions.Use("u"));

        await Assert.ThrowsAsync<JournalUnavailableException>(() => first.AsTask());

        var repeat = await acme.Execute(Sessions.Use("u"));
        Assert.True(repeat.Replayed);
        Assert.Equal(2, repeat.Events.Single().Version);
        await AssertChain(2);
    }

    [Fact]
    public async Task while_the_outcome_is_unknown_the_commands_behind_it_wait_and_are_decided_on_the_truth()
    {
        await acme.Execute(Sessions.Use("almost-all", "jobs", 299));
        var gate = journal.Hold();
        var first = acme.Execute(Sessions.Use("first"));
        await gate.Entered;
        journal.FailAfterWriting();
        var second = acme.Execute(Sessions.Use("second", "jobs"));
        var third = acme.Execute(Sessions.Use("third", "jobs"));

        gate.Release();
        await first;

        Assert.Null((await second).Rejection);
        Assert.Equal(RejectionKind.QuotaExceeded, (await third).Rejection!.Kind);
        await AssertChain(4);
    }

    // ---- repeats

    [Fact]
    public async Task a_repeat_is_answered_with_what_was_recorded_and_writes_nothing()
    {
        await acme.Execute(new GrantTokens(GrantKind.Promotional, 5, 50, Sessions.At + Duration.FromHours(1), null) { Id = "grant", ContentHash = [1], At = Sessions.At });
        // Two events: the tokens expire before the use.
        var use = Sessions.Use("u") with { At = Sessions.At + Duration.FromHours(2) };
        var first = await acme.Execute(use);

        var repeat = await acme.Execute(use with { At = Sessions.At + Duration.FromDays(3) });

        Assert.True(repeat.Replayed && !first.Replayed);
        Assert.Equal(["TokensExpired", "UsageRecorded"], first.Events.Select(e => e.GetType().Name));
        Assert.Equal(first.Events.Select(e => (e.GetType(), e.Version)), repeat.Events.Select(e => (e.GetType(), e.Version)));
        await AssertChain(4);
    }

    [Fact]
    public async Task the_same_id_with_other_content_is_refused()
    {
        await acme.Execute(Sessions.Use("u"));

        var other = await acme.Execute(Sessions.Use("u", "calls", 2));

        Assert.Equal(RejectionKind.CommandIdReused, other.Rejection!.Kind);
        await AssertChain(2);
    }

    [Fact]
    public async Task a_repeat_inside_the_same_batch_is_recorded_once()
    {
        var gate = journal.Hold();
        var first = acme.Execute(Sessions.Use("first"));
        await gate.Entered;
        var reads = journal.Reads;
        var twins = new[] { Sessions.Use("u"), Sessions.Use("u"), Sessions.Use("u", "calls", 2) }.Select(c => acme.Execute(c).AsTask()).ToList();
        gate.Release();
        await first;

        var results = await Task.WhenAll(twins);

        Assert.Equal([false, true, false], results.Select(r => r.Replayed));
        Assert.Equal([3L, 3L], results.Take(2).Select(r => r.Events.Single().Version));
        Assert.Equal(RejectionKind.CommandIdReused, results[2].Rejection!.Kind);
        Assert.Equal(reads, journal.Reads);
        await AssertChain(3);
    }

    [Fact]
    public async Task a_repeat_inside_one_request_is_recorded_once()
    {
        foreach (var atomic in new[] { false, true })
        {
            var results = await acme.ExecuteAll([Sessions.Use($"u-{atomic}"), Sessions.Use($"v-{atomic}"), Sessions.Use($"u-{atomic}")], atomic);

            Assert.Equal([false, false, true], results.Select(r => r.Replayed));
            Assert.Equal(results[0].Events.Single().Version, results[2].Events.Single().Version);
        }
        await AssertChain(5);
    }

    [Fact]
    public async Task before_anything_is_refused_the_journal_is_asked_for_what_is_not_remembered_any_more()
    {
        foreach (var command in Sessions.Uses("c", 300, "jobs")) await acme.Execute(command);
        Assert.True(CommandMemory.Capacity < 300);
        Assert.Empty(journal.Lookups);

        // The quota is used up: an old success must not become a refusal, and a new command is refused.
        var results = await acme.ExecuteAll([Sessions.Use("c0", "jobs"), Sessions.Use("new", "jobs"), Sessions.Use("c299", "jobs"), Sessions.Use("c1", "jobs", 7)], atomic: false);

        Assert.True(results[0].Replayed && results[2].Replayed);
        Assert.Equal(2, results[0].Events.Single().Version);
        Assert.Equal(RejectionKind.QuotaExceeded, results[1].Rejection!.Kind);
        Assert.Equal(RejectionKind.CommandIdReused, results[3].Rejection!.Kind);
        // One lookup, for all that the batch would have refused.
        Assert.Equal(["c0", "c1", "new"], Assert.Single(journal.Lookups).Order());
        await AssertChain(301);
    }

    [Fact]
    public async Task an_old_success_that_would_be_accepted_again_is_caught_by_the_journal()
    {
        foreach (var command in Sessions.Uses("c", 300)) await acme.Execute(command);
        journal.Groups.Clear();

        var results = await acme.ExecuteAll([Sessions.Use("new"), Sessions.Use("c0"), Sessions.Use("c1", "calls", 7)], atomic: false);

        Assert.Equal([false, true, false], results.Select(r => r.Replayed));
        Assert.Equal([302L, 2L], results.Take(2).Select(r => r.Events.Single().Version));
        Assert.Equal(RejectionKind.CommandIdReused, results[2].Rejection!.Kind);
        Assert.Equal(2, journal.Groups.Count);
        await AssertChain(302);
    }

    [Fact]
    public async Task what_is_new_is_refused_without_a_lookup_while_every_id_is_remembered()
    {
        await acme.Execute(Sessions.Use("all", "jobs", 300));

        for (var i = 0; i < 10; i++) Assert.NotNull((await acme.Execute(Sessions.Use($"more-{i}", "jobs"))).Rejection);

        Assert.Empty(journal.Lookups);
    }

    [Fact]
    public async Task a_refused_id_is_decided_anew_next_time()
    {
        await acme.Execute(Sessions.Use("all", "jobs", 300));
        Assert.NotNull((await acme.Execute(Sessions.Use("u", "jobs"))).Rejection);
        await acme.Execute(new SetPlan("pro", null) { Id = "plan", ContentHash = [1], At = Sessions.At });

        var again = await acme.Execute(Sessions.Use("u", "jobs"));

        Assert.Null(again.Rejection);
        Assert.False(again.Replayed);
    }

    // ---- all or none

    [Fact]
    public async Task an_atomic_request_records_all_or_none_and_its_ids_are_free_again()
    {
        await acme.Execute(Sessions.Use("almost-all", "jobs", 298));

        var refused = await acme.ExecuteAll([Sessions.Use("a"), Sessions.Use("b", "jobs"), Sessions.Use("c", "jobs", 2)], atomic: true);

        Assert.All(refused, r => Assert.Equal(RejectionKind.QuotaExceeded, r.Rejection!.Kind));
        await AssertChain(2);
        Assert.Empty(await journal.Inner.FindCommands("acme", ["a", "b", "c"]));
        Assert.Equal(298, (await acme.Check("jobs", 1, Sessions.At)).Entitlement!.Used);

        // With other content too: a refused id was never used.
        var recorded = await acme.ExecuteAll([Sessions.Use("a", "jobs"), Sessions.Use("c", "jobs")], atomic: true);
        Assert.All(recorded, r => Assert.True(r is { Rejection: null, Replayed: false }));
        await AssertChain(4);
    }

    [Fact]
    public async Task an_atomic_request_that_is_refused_leaves_its_neighbours_in_the_batch_alone()
    {
        await acme.Execute(Sessions.Use("almost-all", "jobs", 297));
        var gate = journal.Hold();
        var first = acme.Execute(Sessions.Use("first"));
        await gate.Entered;
        var before = acme.Execute(Sessions.Use("before", "jobs"));
        var atomic = acme.ExecuteAll([Sessions.Use("a", "jobs"), Sessions.Use("b", "jobs", 9)], atomic: true);
        var after = acme.ExecuteAll([Sessions.Use("a", "jobs"), Sessions.Use("after", "jobs"), Sessions.Use("too-many", "jobs")], atomic: false);
        gate.Release();
        await first;

        Assert.Equal(4, (await before).Events.Single().Version);
        Assert.All(await atomic, r => Assert.NotNull(r.Rejection));
        var afterwards = await after;
        Assert.Equal([5L, 6L], afterwards.Take(2).Select(r => r.Events.Single().Version));
        Assert.NotNull(afterwards[2].Rejection);
        await AssertChain(6);
    }

    [Fact]
    public async Task what_is_not_atomic_records_what_it_can()
    {
        var results = await acme.ExecuteAll([Sessions.Use("a", "jobs", 299), Sessions.Use("b", "jobs", 2), Sessions.Use("c", "jobs")], atomic: false);

        Assert.Equal([true, false, true], results.Select(r => r.Rejection is null));
        await AssertChain(3);
    }

    // ---- memory

    [Fact]
    public async Task an_evicted_organization_answers_as_before()
    {
        await acme.ExecuteAll([Sessions.Use("u", "jobs", 3), new SetPlan("pro", null) { Id = "plan", ContentHash = [1], At = Sessions.At }], atomic: true);
        var before = await acme.Entitlements(Sessions.At);

        Assert.Equal(1, host.Evict(0));

        Assert.Equal(0, host.ResidentCount);
        Assert.Equivalent(before, await acme.Entitlements(Sessions.At), strict: true);
        Assert.Equal(1, host.ResidentCount);
        Assert.True((await acme.Execute(Sessions.Use("u", "jobs", 3))).Replayed);
        await AssertChain(3);
    }

    [Fact]
    public async Task what_is_busy_is_not_evicted()
    {
        var gate = journal.Hold();
        var first = acme.Execute(Sessions.Use("first"));
        await gate.Entered;

        Assert.Equal(0, host.Evict(0));

        gate.Release();
        Assert.Null((await first).Rejection);
    }

    [Fact]
    public async Task the_longest_unused_organizations_are_evicted_until_the_rest_fits()
    {
        for (var i = 0; i < 20; i++) await host.Organization($"org-{i}").Execute(Sessions.Open());
        var size = host.ResidentCount;

        var evicted = host.Evict(20_000);

        Assert.InRange(evicted, 1, size - 1);
        Assert.Equal(size - evicted, host.ResidentCount);
        Assert.Equal(0, host.Evict(20_000));
    }

    [Fact]
    public async Task under_a_small_memory_limit_organizations_come_and_go_and_every_answer_is_right()
    {
        const int organizations = 1_500;
        await using var small = new LedgerHost(journal.Inner, () => Sessions.Catalogs, maxResidentBytes: 200_000);
        for (var i = 0; i < organizations; i++) await small.Organization($"org-{i}").ExecuteAll([Sessions.Open(), Sessions.Use("u", "jobs", 1 + i % 300)], atomic: true);

        Assert.True(small.ResidentCount < organizations, $"{small.ResidentCount} are resident.");
        for (var i = 0; i < organizations; i++)
        {
            Assert.Equal(1 + i % 300, (await small.Organization($"org-{i}").Check("jobs", 1, Sessions.At)).Entitlement!.Used);
            Assert.True((await small.Organization($"org-{i}").Execute(Sessions.Use("u", "jobs", 1 + i % 300))).Replayed);
        }
        Assert.True(small.ResidentCount < organizations, $"{small.ResidentCount} are resident.");
    }

    [Fact]
    public async Task an_organization_that_does_not_exist_is_not_kept()
    {
        for (var i = 0; i < 2_000; i++)
        {
            var nobody = host.Organization($"nobody-{i}");
            Assert.Null(await nobody.Read(Sessions.At));
            Assert.Equal(RejectionKind.OrganizationUnknown, (await nobody.Check("calls", 1, Sessions.At)).Rejection!.Kind);
            Assert.Equal(RejectionKind.OrganizationUnknown, (await nobody.Execute(Sessions.Use("u"))).Rejection!.Kind);
        }

        Assert.Equal(1, host.ResidentCount);
    }

    // ---- the end

    [Fact]
    public async Task at_the_end_everything_that_was_taken_is_written_and_answered_and_nothing_new_is_taken()
    {
        var gate = journal.Hold();
        var first = acme.Execute(Sessions.Use("first")).AsTask();
        await gate.Entered;
        var others = Sessions.Uses("c", 50).Select(c => acme.Execute(c).AsTask()).ToList();

        var ending = host.DisposeAsync().AsTask();
        await Assert.ThrowsAsync<JournalUnavailableException>(() => acme.Execute(Sessions.Use("too-late")).AsTask());
        Assert.False(ending.IsCompleted);
        gate.Release();
        await ending;

        // Written by now; the answers may still be on their way to those who wait for them, and none is lost.
        var all = await Task.WhenAll([first, .. others]).WaitAsync(TimeSpan.FromMinutes(1));
        Assert.All(all, r => Assert.Null(r.Rejection));
        await AssertChain(52);
    }

    [Fact]
    public async Task ending_twice_is_ending_once()
    {
        await host.DisposeAsync();
        await host.DisposeAsync();

        await Assert.ThrowsAsync<JournalUnavailableException>(() => acme.Execute(Sessions.Use("too-late")).AsTask());
        await Assert.ThrowsAsync<JournalUnavailableException>(() => acme.Read(Sessions.At).AsTask());
    }

    // ---- what must never be

    [Fact]
    public async Task a_decision_on_books_that_do_not_close_writes_nothing_and_says_so()
    {
        // No command leads there: the stream itself takes more from a grant than it has.
        await Forge("broken", new OrganizationOpened("UTC", false, null, 1), new TokensGranted(GrantKind.Granted, 5, 50, null, null), new TokensRevoked("tg_2", 10, 0, "pi_1"));
        var broken = host.Organization("broken");

        var refused = await Assert.ThrowsAsync<BooksDoNotCloseException>(() => broken.Execute(Sessions.Use("u")).AsTask());

        Assert.Contains("'broken'", refused.Message, StringComparison.Ordinal);
        Assert.Contains("tg_2", refused.Message, StringComparison.Ordinal);
        Assert.Equal(3, (await journal.Inner.ReadHead("broken"))!.Version);
        Assert.Null((await acme.Execute(Sessions.Use("u"))).Rejection);
    }

    [Fact]
    public async Task what_a_counter_cannot_hold_is_refused_and_its_neighbours_in_the_batch_are_recorded()
    {
        const decimal most = 1_000_000_000_000_000m;
        var full = await acme.ExecuteAll([.. Enumerable.Range(0, 1_000).Select(i => Sessions.Use($"u{i}", "calls", most))], atomic: false);
        Assert.All(full, r => Assert.Null(r.Rejection));

        var results = await acme.ExecuteAll([Sessions.Use("before", "jobs"), Sessions.Use("too-much"), Sessions.Use("after", "jobs")], atomic: false);

        Assert.Equal([null, RejectionKind.QuantityTooLarge, null], results.Select(r => r.Rejection?.Kind));
        Assert.Equal(1_000 * most, (await acme.Check("calls", most, Sessions.At)).Entitlement!.Used);
    }

    [Fact]
    public async Task an_organization_with_an_unknown_event_is_not_loaded_and_the_others_work()
    {
        await Forge("future", new OrganizationOpened("UTC", false, null, 1));
        var head = await journal.Inner.ReadHead("future");
        var unknown = new StoredEvent("future", 2, "seat-sold", 1, Sessions.At, Sessions.At, null, null, "{}"u8.ToArray(), []);
        await journal.Inner.AppendGroup([new StreamAppend("future", 1, [unknown with { Hash = unknown.ComputeHash(head!.Hash) }], null)]);
        var future = host.Organization("future");

        var refused = await Assert.ThrowsAsync<UnknownEventException>(() => future.Execute(Sessions.Use("u")).AsTask());
        await Assert.ThrowsAsync<UnknownEventException>(() => future.Read(Sessions.At).AsTask());

        Assert.Contains("Event 2 of organization 'future' is of type 'seat-sold'", refused.Message, StringComparison.Ordinal);
        Assert.Null((await acme.Execute(Sessions.Use("u"))).Rejection);
    }

    // ---- helpers

    private LedgerHost NewHost(IJournal? on = null) => new(on ?? journal, () => Sessions.Catalogs, long.MaxValue);

    /// <summary>As a caller does that was told to try again.</summary>
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
                // The same id finds the truth.
            }
        }
    }

    private async Task Forge(string organization, params LedgerEvent[] events)
    {
        var (hash, stored) = (HashChain.Start, new List<StoredEvent>());
        foreach (var e in events)
        {
            stored.Add(EventCodec.Default.Encode(organization, e with { Version = stored.Count + 1, EffectiveAt = Sessions.At, RecordedAt = Sessions.At }, null, null, hash));
            hash = stored[^1].Hash;
        }
        await journal.Inner.AppendGroup([new StreamAppend(organization, 0, stored, null)]);
    }

    private async Task AssertChain(long events)
    {
        var report = await ChainVerifier.Verify(journal.Inner, "acme");
        Assert.Null(report.Problem);
        Assert.Equal(events, report.Events);
    }
}
