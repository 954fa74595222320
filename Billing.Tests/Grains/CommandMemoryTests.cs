using Billing.Grains;
using Billing.Ledger;

namespace Billing.Tests.Grains;

public sealed class CommandMemoryTests
{
    private readonly CommandMemory memory = new();

    private static RecordedCommand Command(int n) => new(n, [.. Enumerable.Repeat((byte)(n % 251), 32)]);

    private void Add(int from, int to)
    {
        for (var n = from; n <= to; n++) memory.Add($"c{n}", Command(n));
    }

    private bool Knows(int n) => memory.TryGet($"c{n}", out var found) && found.Version == n && found.ContentHash.AsSpan().SequenceEqual(Command(n).ContentHash);

    [Fact]
    public void it_knows_every_id_as_it_was_recorded_until_it_is_full()
    {
        Add(1, CommandMemory.Capacity);

        Assert.True(memory.IsComplete);
        Assert.All(Enumerable.Range(1, CommandMemory.Capacity), n => Assert.True(Knows(n)));
        Assert.False(memory.TryGet("c0", out _));
    }

    [Fact]
    public void the_oldest_goes_first_and_it_says_that_it_is_not_complete()
    {
        Add(1, 3 * CommandMemory.Capacity + 7);

        Assert.False(memory.IsComplete);
        Assert.Equal(CommandMemory.Capacity, memory.Count);
        Assert.False(Knows(2 * CommandMemory.Capacity + 7));
        Assert.All(Enumerable.Range(2 * CommandMemory.Capacity + 8, CommandMemory.Capacity), n => Assert.True(Knows(n)));
    }

    [Fact]
    public void an_id_that_comes_again_takes_no_place_and_keeps_what_was_recorded_first()
    {
        Add(1, CommandMemory.Capacity);
        memory.Add("c1", Command(99));

        Assert.True(memory.IsComplete);
        Assert.True(Knows(1) && Knows(2));
    }

    [Fact]
    public void what_was_cleared_is_gone_and_it_begins_anew()
    {
        Add(1, CommandMemory.Capacity + 5);
        memory.Clear();
        Add(7, 8);

        Assert.True(memory.IsComplete);
        Assert.Equal(2, memory.Count);
        Assert.True(Knows(7) && Knows(8));
        Assert.False(Knows(9));

        memory.Clear(isComplete: false);
        Assert.False(memory.IsComplete);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(31)]
    public void content_hashes_of_any_length_come_back_as_they_were(int length)
    {
        memory.Add("c1", new RecordedCommand(1, new byte[length]));

        Assert.True(memory.TryGet("c1", out var found));
        Assert.Equal(length, found.ContentHash.Length);
    }

    [Fact]
    public void a_content_hash_that_does_not_fit_is_left_to_the_journal()
    {
        memory.Add("c1", new RecordedCommand(1, new byte[33]));

        Assert.False(memory.TryGet("c1", out _));
        Assert.False(memory.IsComplete);
    }
}
