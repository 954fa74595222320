using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using Billing.Grains.Journal;
using NodaTime;

namespace Billing.Tests.Journal;

/// <summary>The promises of <see cref="IJournal"/>, one test for each. Every implementation inherits them all.</summary>
public abstract class JournalConformance : IAsyncLifetime
{
    private static readonly Instant Start = Instant.FromUtc(2026, 11, 20, 10, 0);

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    protected IJournal Journal { get; set; } = null!;

    public abstract Task InitializeAsync();

    public abstract Task DisposeAsync();

    // ---- appending

    [Fact]
    public async Task an_append_at_the_expected_version_is_there_whole_and_in_order()
    {
        var first = Append("acme", 0, "a", null, "b");
        var second = Append("acme", 3, "c");

        Assert.Equal([AppendOutcome.Appended], await Journal.AppendGroup([first]));
        Assert.Equal([AppendOutcome.Appended], await Journal.AppendGroup([second]));

        await AssertStream("acme", [.. first.Events, .. second.Events]);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]
    public async Task an_append_at_another_version_is_a_conflict_and_leaves_nothing(long expected)
    {
        var first = Append("acme", 0, "a", "b");
        await Write(first);

        Assert.Equal([AppendOutcome.VersionConflict], await Journal.AppendGroup([Append("acme", expected, "c", "d") with { DueAt = Start }]));

        await AssertStream("acme", first.Events);
        Assert.Empty(await Journal.FindCommands("acme", ["c", "d"]));
        Assert.Empty(await Journal.FindDue(Start, 10));
        Assert.Equal(2, (await AllOf(2)).Count);
    }

    [Fact]
    public async Task an_append_that_expects_a_stream_where_there_is_none_is_a_conflict()
    {
        Assert.Equal([AppendOutcome.VersionConflict], await Journal.AppendGroup([Append("acme", 1, "a")]));

        Assert.Null(await Journal.ReadHead("acme"));
        Assert.Empty(await Journal.ListOrganizations("", 10));
    }

    [Fact]
    public async Task one_streams_conflict_never_fails_anothers_append_in_the_same_group()
    {
        await Write(Append("b", 0, "b1"));
        await Write(Append("d", 0, "d1"));

        var outcomes = await Journal.AppendGroup(
            [Append("a", 0, "a1"), Append("b", 0, "b2"), Append("c", 0, "c1", null), Append("d", 1, null, "d1"), Append("e", 0, "e1")]);

        Assert.Equal(
            [AppendOutcome.Appended, AppendOutcome.VersionConflict, AppendOutcome.Appended, AppendOutcome.CommandRecorded, AppendOutcome.Appended], outcomes);
        foreach (var (organization, version) in new[] { ("a", 1), ("b", 1), ("c", 2), ("d", 1), ("e", 1) })
        {
            Assert.Equal(version, (await Journal.ReadHead(organization))!.Version);
            Assert.Equal(version, (await Journal.ReadStream(organization, 1, 10)).Count);
        }
    }

    [Fact]
    public async Task one_group_may_hold_several_appends_to_one_stream()
    {
        var (first, second) = (Append("acme", 0, "a"), Append("acme", 1, "b"));

        Assert.Equal([AppendOutcome.Appended, AppendOutcome.Appended], await Journal.AppendGroup([first, second]));

        await AssertStream("acme", [.. first.Events, .. second.Events]);
    }

    [Fact]
    public async Task an_empty_group_writes_nothing()
    {
        Assert.Empty(await Journal.AppendGroup([]));

        Assert.Empty(await Journal.ReadAll(0, 10));
        Assert.Equal([AppendOutcome.Appended], await Journal.AppendGroup([Append("acme", 0, "a")]));
    }

    // ---- command ids

    [Fact]
    public async Task a_command_id_stands_at_most_once_in_a_stream_and_the_stream_goes_on()
    {
        var first = Append("acme", 0, "a", null);
        await Write(first);
        await Write(Append("acme", 2, "b"));

        // The head would have moved before the id is seen: all of it is taken back.
        Assert.Equal([AppendOutcome.CommandRecorded], await Journal.AppendGroup([Append("acme", 3, "c", null, "a") with { DueAt = Start }]));

        Assert.Equal(3, (await Journal.ReadHead("acme"))!.Version);
        Assert.Equal(3, (await Journal.ReadStream("acme", 1, 10)).Count);
        Assert.Empty(await Journal.FindCommands("acme", ["c"]));
        Assert.Empty(await Journal.FindDue(Start, 10));
        Assert.Equal(first.Events[0].Body, (await Journal.ReadStream("acme", 1, 1))[0].Body);
        await Write(Append("acme", 3, "c"));
    }

    [Fact]
    public async Task a_command_id_stands_at_most_once_in_one_append()
    {
        Assert.Equal([AppendOutcome.CommandRecorded], await Journal.AppendGroup([Append("acme", 0, "a", "b", "a")]));

        Assert.Null(await Journal.ReadHead("acme"));
        Assert.Empty(await Journal.ReadStream("acme", 1, 10));
        await Write(Append("acme", 0, "a", "b"));
    }

    [Fact]
    public async Task a_command_id_stands_at_most_once_over_the_appends_of_one_group_and_the_stream_goes_on()
    {
        Assert.Equal(
            [AppendOutcome.Appended, AppendOutcome.CommandRecorded, AppendOutcome.Appended],
            await Journal.AppendGroup([Append("acme", 0, "a", null), Append("acme", 2, "b", "a"), Append("acme", 2, "b")]));

        Assert.Equal(3, (await Journal.ReadHead("acme"))!.Version);
        Assert.Equal(["a", null, "b"], (await Journal.ReadStream("acme", 1, 10)).Select(e => e.CommandId));
        await Write(Append("acme", 3, "c"));
    }

    [Fact]
    public async Task two_streams_may_have_the_same_command_id()
    {
        Assert.Equal([AppendOutcome.Appended, AppendOutcome.Appended], await Journal.AppendGroup([Append("a", 0, "same"), Append("b", 0, "same")]));

        Assert.Single(await Journal.FindCommands("a", ["same"]));
        Assert.Single(await Journal.FindCommands("b", ["same"]));
    }

    [Fact]
    public async Task a_command_may_write_several_events_and_is_found_at_the_first()
    {
        var append = Append("acme", 0, "a", null, null, "b", null);
        await Write(append);

        var found = await Journal.FindCommands("acme", ["b", "a", "unknown", "a"]);

        Assert.Equal(["a", "b"], found.Keys.Order());
        Assert.Equal(1, found["a"].Version);
        Assert.Equal(4, found["b"].Version);
        Assert.Equal(append.Events[3].ContentHash, found["b"].ContentHash);
    }

    [Fact]
    public async Task more_than_a_thousand_commands_are_found_at_once()
    {
        string[] ids = [.. Enumerable.Range(0, 2_345).Select(i => $"command-{i}")];
        await Write(Append("acme", 0, ids));

        var found = await Journal.FindCommands("acme", [.. ids, .. ids.Select(id => $"not-{id}")]);

        Assert.Equal(ids.Length, found.Count);
        Assert.All(ids.Index(), id => Assert.Equal(id.Index + 1, found[id.Item].Version));
        Assert.Empty(await Journal.FindCommands("acme", []));
        Assert.Empty(await Journal.FindCommands("nobody", ids));
    }

    [Fact]
    public async Task command_ids_differ_by_every_character()
    {
        await Write(Append("acme", 0, "key", "KEY", "key ", "kéy", "ke\u0301y"));

        Assert.Equal(["KEY"], (await Journal.FindCommands("acme", ["KEY", "Key"])).Keys);
        Assert.Equal(5, (await Journal.ReadHead("acme"))!.Version);
    }

    // ---- what comes back

    [Fact]
    public async Task every_field_comes_back_as_it_was_stored()
    {
        var at = Instant.FromUnixTimeTicks(17_952_540_012_345_670);
        var stored = new StoredEvent("acme", 1, "usage-recorded", 7, at, at + Microseconds(1), "ключ-鍵-🔑", Hash("content"),
            Encoding.UTF8.GetBytes("""{ "b":1,  "a":"ü\u00fc🧾", "a":2.50 }"""), Hash("hash"));
        await Write(new StreamAppend("acme", 0, [stored], null));

        var read = Assert.Single(await Journal.ReadStream("acme", 1, 10));

        AssertSame(stored, read);
        Assert.Equal(Encoding.UTF8.GetString(stored.Body), Encoding.UTF8.GetString(read.Body));
        AssertSame(stored, Assert.Single(await AllOf(1)));
    }

    [Fact]
    public async Task ids_of_any_script_are_kept_apart()
    {
        string[] organizations = ["acme", "Acme", "ácme", "a\u0301cme", "組織", "🏢"];
        foreach (var organization in organizations) await Write(Append(organization, 0, "鍵🔑", null));

        foreach (var organization in organizations)
        {
            Assert.Equal(2, (await Journal.ReadStream(organization, 1, 10)).Count);
            Assert.All(await Journal.ReadStream(organization, 1, 10), e => Assert.Equal(organization, e.Organization));
            Assert.Equal(["鍵🔑"], (await Journal.FindCommands(organization, ["鍵🔑", "鍵"])).Keys);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3_000_000)]
    public async Task a_body_of_any_size_comes_back_as_its_exact_bytes(int size)
    {
        // No JSON, no text: the journal never looks into a body.
        var body = Enumerable.Range(0, size).Select(i => (byte)(i % 251)).ToArray();
        await Write(new StreamAppend("acme", 0, [Event("acme", 1, "a") with { Body = body }], null));

        Assert.Equal(body, (await Journal.ReadStream("acme", 1, 1))[0].Body);
    }

    [Fact]
    public async Task times_before_1970_and_far_ahead_come_back()
    {
        var (early, late) = (Instant.FromUtc(1815, 12, 10, 1, 2) + Microseconds(3), Instant.FromUtc(9998, 12, 31, 23, 59));
        await Write(new StreamAppend("acme", 0, [Event("acme", 1, "a") with { EffectiveAt = early, RecordedAt = late }], null));

        var read = (await Journal.ReadStream("acme", 1, 1))[0];

        Assert.Equal((early, late), (read.EffectiveAt, read.RecordedAt));
    }

    // ---- reading

    [Fact]
    public async Task a_stream_is_read_in_pages()
    {
        var append = Append("acme", 0, [.. Enumerable.Range(1, 25).Select(i => $"c{i}")]);
        await Write(Append("before", 0, "x"));
        await Write(append);
        await Write(Append("zafter", 0, "x"));

        var read = new List<long>();
        for (IReadOnlyList<StoredEvent> page = []; page.Count == 10 || read.Count == 0; read.AddRange(page.Select(e => e.Version)))
            page = await Journal.ReadStream("acme", read.Count + 1, 10);

        Assert.Equal(Enumerable.Range(1, 25).Select(i => (long)i), read);
        Assert.Equal([24L, 25L], (await Journal.ReadStream("acme", 24, 10)).Select(e => e.Version));
        Assert.Equal([1L], (await Journal.ReadStream("acme", 0, 1)).Select(e => e.Version));
        Assert.Empty(await Journal.ReadStream("acme", 26, 10));
        Assert.Empty(await Journal.ReadStream("acme", long.MaxValue, 10));
        Assert.Empty(await Journal.ReadStream("nobody", 1, 10));
    }

    [Fact]
    public async Task all_streams_are_read_in_pages_in_the_order_of_their_positions()
    {
        await Write(Append("b", 0, "1", null), Append("a", 0, "1"), Append("b", 2, "2"));
        await Journal.AppendGroup([Append("a", 0, "conflict"), Append("b", 3, "2"), Append("c", 0, "1")]);
        await Write(Append("a", 1, "2", null));

        await AllOf(7);
        var read = new List<StoredEvent>();
        for (IReadOnlyList<StoredEvent> page = []; page.Count == 3 || read.Count == 0; read.AddRange(page))
            page = await Journal.ReadAll(read.LastOrDefault()?.Position ?? 0, 3);

        Assert.Equal(["b1", "b2", "a1", "b3", "c1", "a2", "a3"], read.Select(e => $"{e.Organization}{e.Version}"));
        Assert.True(read[0].Position > 0);
        Assert.All(read.Zip(read.Skip(1)), pair => Assert.True(pair.First.Position < pair.Second.Position));
        Assert.Empty(await Journal.ReadAll(read[^1].Position, 10));
        Assert.Equal(read.Where(e => e.Organization == "b").Select(e => e.Position), (await Journal.ReadStream("b", 1, 10)).Select(e => e.Position));
    }

    [Fact]
    public async Task a_head_is_the_last_version_and_its_hash()
    {
        Assert.Null(await Journal.ReadHead("acme"));
        var append = Append("acme", 0, "a", null, null);
        await Write(append);

        var head = await Journal.ReadHead("acme");

        Assert.Equal(3, head!.Version);
        Assert.Equal(append.Events[2].Hash, head.Hash);
    }

    [Fact]
    public async Task what_is_due_is_found_the_longest_due_first()
    {
        await Write(
            Append("late", 0, "1") with { DueAt = Start + Microseconds(1) }, Append("never", 0, "1"),
            Append("now", 0, "1") with { DueAt = Start }, Append("long-ago", 0, "1") with { DueAt = Start - Duration.FromDays(400) });

        Assert.Equal(["long-ago", "now"], await Journal.FindDue(Start, 10));
        Assert.Equal(["long-ago"], await Journal.FindDue(Start, 1));
        Assert.Equal(["long-ago", "now", "late"], await Journal.FindDue(Start + Microseconds(1), 10));
        Assert.Empty(await Journal.FindDue(Start - Duration.FromDays(401), 10));
    }

    [Fact]
    public async Task when_something_is_due_is_set_changed_and_cleared_by_each_append()
    {
        await Write(Append("acme", 0, "1") with { DueAt = Start });
        await Write(Append("acme", 1, "2") with { DueAt = Start + Duration.FromHours(1) });
        Assert.Empty(await Journal.FindDue(Start, 10));
        Assert.Equal(["acme"], await Journal.FindDue(Start + Duration.FromHours(1), 10));

        await Write(Append("acme", 2, "3"));
        Assert.Empty(await Journal.FindDue(Start + Duration.FromDays(9_999), 10));

        await Write(Append("acme", 3, "4") with { DueAt = Start });
        Assert.Equal(["acme"], await Journal.FindDue(Start, 10));
    }

    [Fact]
    public async Task organizations_are_listed_in_pages_in_the_order_of_their_ids()
    {
        string[] ids = ["b", "A", "a.c", "a", "a-b", "Z9", "a_d", "0"];
        foreach (var id in ids) await Write(Append(id, 0, "1"), Append(id, 1, "2"));

        var listed = new List<string>();
        for (IReadOnlyList<string> page = []; page.Count == 3 || listed.Count == 0; listed.AddRange(page))
            page = await Journal.ListOrganizations(listed.LastOrDefault() ?? "", 3);

        Assert.Equal(ids.Order(StringComparer.Ordinal), listed);
        Assert.Equal(["b"], await Journal.ListOrganizations("aa", 10));
        Assert.Empty(await Journal.ListOrganizations("b", 10));
    }

    // ---- at the same time

    [Fact]
    public async Task many_writers_and_readers_leave_streams_without_gaps()
    {
        const int writers = 4, each = 50;
        var writing = Enumerable.Range(0, writers).Select(writer => Task.Run(async () =>
        {
            for (var i = 0; i < each;)
            {
                var version = (await Journal.ReadHead("acme"))?.Version ?? 0;
                if ((await Journal.AppendGroup([Append("acme", version, $"{writer}-{i}", null)]))[0] == AppendOutcome.Appended) i++;
            }
        })).ToList();
        var reading = Task.Run(async () =>
        {
            while (writing.Exists(w => !w.IsCompleted))
            {
                // A head is never ahead of its events.
                var head = (await Journal.ReadHead("acme"))?.Version ?? 0;
                Assert.True((await Journal.ReadStream("acme", 1, 10_000)).Count >= head);
            }
        });
        await Task.WhenAll([.. writing, reading]);

        var stream = await Journal.ReadStream("acme", 1, 10_000);
        Assert.Equal(Enumerable.Range(1, writers * each * 2).Select(v => (long)v), stream.Select(e => e.Version));
        Assert.Equal(writers * each, stream.Select(e => e.CommandId).OfType<string>().Distinct().Count());
    }

    // ---- making and comparing

    protected static StoredEvent Event(string organization, long version, string? commandId) => new(
        organization, version, "usage-recorded", 1, Start + Microseconds(version), Start + Duration.FromSeconds(version), commandId,
        commandId is null ? null : Hash($"content of {commandId}"), Encoding.UTF8.GetBytes($$"""{"command":"{{commandId}}","version":{{version}}}"""),
        Hash($"{organization}/{version}/{commandId}"));

    /// <param name="commandIds">One event for each; null for an event that is not the first of its command.</param>
    protected static StreamAppend Append(string organization, long expectedVersion, params string?[] commandIds) => new(
        organization, expectedVersion, [.. commandIds.Select((id, i) => Event(organization, expectedVersion + 1 + i, id))], null);

    protected async Task Write(params StreamAppend[] group) =>
        Assert.All(await Journal.AppendGroup(group), outcome => Assert.Equal(AppendOutcome.Appended, outcome));

    /// <summary>All streams' events, when there are as many: other work of a server may hold back for a moment what is appended already.</summary>
    protected async Task<IReadOnlyList<StoredEvent>> AllOf(int count)
    {
        var waiting = Stopwatch.StartNew();
        IReadOnlyList<StoredEvent> all;
        while ((all = await Journal.ReadAll(0, count + 10)).Count < count && waiting.Elapsed < Patience) await Task.Delay(10);
        return all;
    }

    protected async Task AssertStream(string organization, IReadOnlyList<StoredEvent> expected)
    {
        var stream = await Journal.ReadStream(organization, 1, 1_000);
        Assert.Equal(expected.Count, stream.Count);
        foreach (var (wanted, read) in expected.Zip(stream)) AssertSame(wanted, read);
        var head = await Journal.ReadHead(organization);
        Assert.Equal(expected.Count, head!.Version);
        Assert.Equal(expected[^1].Hash, head.Hash);
    }

    private static void AssertSame(StoredEvent expected, StoredEvent read)
    {
        // Arrays are compared by what is in them; what is left is compared as a record.
        Assert.Equal(expected.ContentHash, read.ContentHash);
        Assert.Equal(expected.Body, read.Body);
        Assert.Equal(expected.Hash, read.Hash);
        Assert.Equal(expected, read with { Position = expected.Position, ContentHash = expected.ContentHash, Body = expected.Body, Hash = expected.Hash });
    }

    private static Duration Microseconds(long count) => Duration.FromTicks(10 * count);

    private static byte[] Hash(string text) => SHA256.HashData(Encoding.UTF8.GetBytes(text));
}

public sealed class MemoryJournalTests : JournalConformance
{
    public override Task InitializeAsync()
    {
        Journal = new MemoryJournal();
        return Task.CompletedTask;
    }

    public override Task DisposeAsync() => Task.CompletedTask;
}
