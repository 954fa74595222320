using Billing.Ledger;

namespace Billing.Tests.Grains;

/// <summary>
/// What travels between processes is marked, and stays what it was: processes of two versions run side by side while
/// they are replaced. The rules are in Billing.Ledger/Embedded/WireMarks.cs. UPDATE_GOLDEN=1 adds what is new.
/// </summary>
public sealed class WireMarkTests
{
    private static readonly string Golden = Path.Combine(Repository.Root, "Billing.Tests", "Orleans", "wire.golden.txt");

    [Fact]
    public void whatever_travels_is_marked()
    {
        Assert.Contains(typeof(RecordUsage), WireContract.Types);
        Assert.Contains(typeof(UsageRecorded), WireContract.Types);
        Assert.Contains(typeof(Money), WireContract.Types);

        AssertNone(WireContract.Types.Where(t => !WireContract.Has(t, "GenerateSerializer")).Select(t => $"{t} has no [GenerateSerializer]."));
        AssertNone(WireContract.Types.Where(t => WireContract.Alias(t) is null).Select(t => $"{t} has no [Alias]."));
        AssertNone(WireContract.Types.Where(t => !t.IsEnum && !t.IsAssignableTo(typeof(Exception)) && !WireContract.Has(t, "Immutable")).Select(t => $"{t} is not [Immutable]."));
        AssertNone(WireContract.Calls.Where(c => WireContract.Alias(c) is null).Select(c => $"{c.Name} has no [Alias]."));
        AssertNone(WireContract.Types.GroupBy(WireContract.Alias).Where(g => g.Count() > 1).Select(g => $"The alias {g.Key} is given twice: {string.Join(", ", g)}."));
    }

    [Fact]
    public void every_member_that_travels_has_a_number()
    {
        foreach (var type in WireContract.Types.Where(t => !t.IsEnum))
        {
            var members = WireContract.Members(type).ToList();
            AssertNone(members.Where(m => m.Id is null).Select(m => $"{type.Name}.{m.Name} has no [Id]: the next number is {members.Count(o => o.Id is not null)}. What is computed is stored nowhere."));
            Assert.True(members.Select(m => m.Id!.Value).Order().SequenceEqual(members.Select((_, place) => (uint)place)), $"{type.Name}'s numbers are not 0, 1, 2…");
        }
    }

    [Fact]
    public void what_travels_is_for_ever()
    {
        var now = WireContract.Blocks();
        var known = Read();
        AssertNone(
            from block in known
            from line in block.Value.Prepend("")
            where now.TryGetValue(block.Key, out var lines) ? line.Length > 0 && !lines.Contains(line) : line.Length == 0
            select $"{block.Key}: {(line.Length == 0 ? "is gone, or is something else now" : $"'{line}' is gone, or is something else now")}. A process of the version before would not understand it.");
        AssertNone(
            from block in known
            where now.TryGetValue(block.Key, out var lines) && HasParameters(lines) && !HasParameters(block.Value)
            select $"{block.Key} had no parameters. An older process would not find its end with some: give it members with numbers.");

        if (Environment.GetEnvironmentVariable("UPDATE_GOLDEN") == "1")
        {
            File.WriteAllLines(Golden, now.SelectMany(b => b.Value.Select(l => $"  {l}").Prepend(b.Key)));
            known = Read();
        }
        AssertNone(
            from block in now
            from line in block.Value.Prepend("")
            where !known.TryGetValue(block.Key, out var lines) || (line.Length > 0 && !lines.Contains(line))
            select $"{block.Key} {line} is new. Run this with UPDATE_GOLDEN=1, and read what it adds: it stays for ever.");
    }

    private static Dictionary<string, List<string>> Read()
    {
        var blocks = new Dictionary<string, List<string>>();
        var lines = new List<string>();
        foreach (var line in File.Exists(Golden) ? File.ReadLines(Golden) : [])
            if (line.StartsWith("  ", StringComparison.Ordinal)) lines.Add(line[2..]);
            else blocks.Add(line, lines = []);
        return blocks;
    }

    private static bool HasParameters(IEnumerable<string> lines) => lines.Any(l => l.StartsWith("parameter ", StringComparison.Ordinal));

    private static void AssertNone(IEnumerable<string> problems)
    {
        var all = string.Join('\n', problems);
        Assert.True(all.Length == 0, all);
    }
}
