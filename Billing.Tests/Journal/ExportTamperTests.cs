using System.Globalization;
using System.Text;
using Xunit.Abstractions;

namespace Billing.Tests.Journal;

/// <summary>Whatever is changed in an export, by a careless tool or a careful hand, is found, and its place is named.</summary>
public sealed class ExportTamperTests(ITestOutputHelper output)
{
    [Fact]
    public async Task random_tamperings_with_an_export_are_all_found_at_their_place()
    {
        var random = Tampering.Seeded(output, out var seed);
        using var ledger = await LedgerFile.Create();
        var export = await ledger.Export();
        Assert.Null((await LedgerFile.VerifyExport(export)).Problem);
        for (var i = 0; i < Tampering.Count; i++)
        {
            var (what, places, tampered) = Tamper(random, export);
            var report = await LedgerFile.VerifyExport(tampered);
            Assert.True(report.Problem is not null && places.Contains(report.FirstBadVersion ?? -1), $"Seed {seed}, tampering {i}: {what} should be found at {string.Join(" or ", places)}: {report}");
        }
    }

    /// <returns>What was done, the versions at which it may be found, and what came of it.</returns>
    private static (string What, long[] Places, byte[] Tampered) Tamper(Random random, byte[] export)
    {
        var lines = Lines(export);
        var head = lines.Count - 1;
        var (a, b) = (random.Next(1, head), random.Next(1, head));
        if (a == b) b = a == head - 1 ? a - 1 : a + 1;
        switch (random.Next(10))
        {
            case 0:
                lines.RemoveAt(a);
                return ($"line {a + 1} dropped", [a], Joined(lines));
            case 1:
                (lines[a], lines[b]) = (lines[b], lines[a]);
                return ($"lines {a + 1} and {b + 1} swapped", [Math.Min(a, b)], Joined(lines));
            case 2:
                lines.RemoveRange(a, head - a + random.Next(2));
                return ($"cut off from line {a + 1} on", [a], Joined(lines));
            case 3:
                var length = random.Next(1, export.Length);
                var at = Array.FindIndex([.. Ends(lines)], end => length < end);
                return ($"cut off after {length} bytes", [at], export[..length]);
            case 4:
                lines.Insert(a, lines[a]);
                return ($"line {a + 1} twice", [a + 1], Joined(lines));
            case 5:
                var (from, to) = Rewritings[random.Next(Rewritings.Length)];
                var text = Encoding.UTF8.GetString(lines[a]);
                var place = text.IndexOf(from, StringComparison.Ordinal);
                lines[a] = Encoding.UTF8.GetBytes(text[..place] + to + text[(place + from.Length)..]);
                return ($"'{from}' as '{to}' in line {a + 1}", [a], Joined(lines));
            default:
                var bit = random.Next(export.Length * 8);
                var line = Array.FindIndex([.. Ends(lines)], end => bit / 8 < end);
                // A bit of the head is found at the last version, or behind it if it looks like no head any more; another
                // organization in the header is found by the first event.
                return ($"bit {bit % 8} of byte {bit / 8} in line {line + 1}", line == head ? [head - 1, head] : line == 0 ? [0, 1] : [line], Tampering.Flip(export, bit));
        }
    }

    /// <summary>The same to a lenient reader of JSON.</summary>
    private static readonly (string From, string To)[] Rewritings =
    [
        ("{", "{ "), (":", ": "), (",", ", "), ("\"version\":", "\"Version\":"), ("\"version\":", "\"version\":0"), ("\"type\":", "\"type\":\"x\",\"type\":"), (",\"effective_at\"", ".0,\"effective_at\""),
        (",\"effective_at\"", "e0,\"effective_at\""), ("acme", "\\u0061cme"), ("}\n", "} \n"), ("}\n", "}\r\n"), ("}\n", ",\"more\":null}\n"), ("\"hash\":\"", "\"hash\":\"00"), ("{\\\"", "{\\u0022"),
        ("\"organization\":\"acme-corp\",", ""), ("\"body\":", "\"body_base64\":\"e30=\",\"body\":"), ("{", "\uFEFF{"),
    ];

    private static List<byte[]> Lines(byte[] export)
    {
        var lines = new List<byte[]>();
        for (var start = 0; start < export.Length;)
        {
            var end = Array.IndexOf(export, (byte)'\n', start) + 1;
            lines.Add(export[start..end]);
            start = end;
        }
        return lines;
    }

    private static IEnumerable<int> Ends(List<byte[]> lines)
    {
        var end = 0;
        foreach (var line in lines) yield return end += line.Length;
    }

    private static byte[] Joined(List<byte[]> lines) => [.. lines.SelectMany(l => l)];
}

/// <summary>Random tampering. TAMPERINGS says how much of each kind; its seed is printed, and TAMPER_SEED repeats it.</summary>
internal static class Tampering
{
    public static readonly int Count = Number("TAMPERINGS", 1_000);

    public static Random Seeded(ITestOutputHelper output, out int seed)
    {
        seed = Number("TAMPER_SEED", Environment.TickCount);
        output.WriteLine($"seed {seed}, {Count} tamperings");
        return new Random(seed);
    }

    /// <summary>Bit 0 is the highest of the first byte.</summary>
    public static byte[] Flip(byte[] original, int bit)
    {
        var changed = original.ToArray();
        changed[bit / 8] ^= (byte)(0x80 >> (bit % 8));
        return changed;
    }

    private static int Number(string name, int byDefault) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : byDefault;
}
