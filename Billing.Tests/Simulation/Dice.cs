namespace Billing.Tests.Simulation;

/// <summary>The only source of chance in a simulation. SplitMix64: the same seed rolls the same numbers on every machine and runtime.</summary>
internal sealed class Dice(ulong seed)
{
    private ulong state = seed;

    /// <summary>Another one, which does not change what this one rolls next but once.</summary>
    public Dice Fork() => new(Roll());

    /// <summary>From <paramref name="least"/> to <paramref name="most"/>, both included.</summary>
    public int Between(int least, int most) => least + (int)(Roll() % (ulong)(most - least + 1));

    /// <summary>True so many times in a hundred.</summary>
    public bool Percent(int percent) => Between(1, 100) <= percent;

    public T Of<T>(IReadOnlyList<T> items) => items[Between(0, items.Count - 1)];

    /// <summary>One of several, each as often as its weight says.</summary>
    public T Of<T>(IReadOnlyList<(int Weight, T Item)> items)
    {
        var total = 0;
        foreach (var (weight, _) in items) total += weight;
        var at = Between(1, total);
        foreach (var (weight, item) in items)
            if ((at -= weight) <= 0) return item;
        throw new InvalidOperationException("The weights add up to less than they did.");
    }

    private ulong Roll() => unchecked(Mix(state += 0x9E3779B97F4A7C15));

    private static ulong Mix(ulong z)
    {
        unchecked
        {
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31);
        }
    }
}
