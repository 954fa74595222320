using Billing.Grains.Journal;
using NodaTime;

namespace Billing.Tests.Grains;

/// <summary>What waits while a group is being written goes together in the next one, up to a limit.</summary>
public sealed class JournalWriterTests
{
    private readonly ScriptedJournal journal = new();

    [Fact]
    public async Task what_waits_goes_together()
    {
        Assert.Equal([1, 5], await SizesOf(Enumerable.Range(0, 5).Select(i => Append($"org-{i}", events: 1, bytes: 10))));
    }

    [Fact]
    public async Task a_group_has_at_most_so_many_events_and_nobody_is_left_out()
    {
        const int each = JournalWriter.MaxGroupEvents / 4;

        Assert.Equal([1, 4, 4, 1], await SizesOf(Enumerable.Range(0, 9).Select(i => Append($"org-{i}", each, bytes: 1))));
    }

    [Fact]
    public async Task a_group_has_at_most_so_many_bytes_and_what_is_larger_goes_alone()
    {
        const int third = (int)(JournalWriter.MaxGroupBytes / 3);

        Assert.Equal([1, 3, 1, 2], await SizesOf(
        [
            Append("a", 1, third), Append("b", 1, third), Append("c", 1, third), Append("huge", 1, 4 * third), Append("d", 1, third), Append("e", 1, third),
        ]));
    }

    /// <summary>How many appends each group has, of those that come while a first one is in flight.</summary>
    private async Task<IEnumerable<int>> SizesOf(IEnumerable<StreamAppend> appends)
    {
        await using var writer = new JournalWriter(journal);
        var gate = journal.Hold();
        var first = writer.Append(Append("first", 1, 1));
        await gate.Entered;
        List<Task<AppendOutcome>> waiting = [.. appends.Select(writer.Append)];
        gate.Release();
        Assert.All(await Task.WhenAll([first, .. waiting]), outcome => Assert.Equal(AppendOutcome.Appended, outcome));
        return journal.Groups.Select(g => g.Count);
    }

    private static StreamAppend Append(string organization, int events, int bytes) => new(organization, 0,
        [.. Enumerable.Range(1, events).Select(i => new StoredEvent(organization, i, "usage-recorded", 1, Instant.MinValue, Instant.MinValue, null, null, new byte[bytes], new byte[32]))], null);
}
