using System.Diagnostics;
using System.Globalization;
using System.Text;
using Billing.Api;
using NodaTime;
using Xunit.Abstractions;

namespace Billing.Tests.Api;

/// <summary>Real usage: a trace of an LLM service's requests, fed through the script that users have.</summary>
public sealed class TraceTests(ITestOutputHelper output)
{
    private const int Organizations = 50;

    [Fact]
    public async Task feeding_a_trace_gives_the_sums_of_an_independent_count_and_feeding_it_again_changes_nothing()
    {
        await using var api = await TestApi.Start("summarizer", "2023-11-16T00:00:00Z");
        for (var i = 0; i < Organizations; i++) await api.Open($"trace-{i}", "pro");
        api.Clock.Now = TestApi.Time("2023-11-16T23:00:00Z");
        var csv = Environment.GetEnvironmentVariable("TRACE_CSV") is { Length: > 0 } given ? given : await Generate(api.Folder);
        var rows = (await File.ReadAllLinesAsync(csv)).Skip(1).Where(l => l.Length > 0).Select(l => l.Split(',')).Select(f => long.Parse(f[1]) + long.Parse(f[2])).ToList();

        output.WriteLine($"{rows.Count} requests of {(csv.StartsWith(api.Folder, StringComparison.Ordinal) ? "a generated trace (TRACE_CSV names a real one)" : csv)}");
        Assert.Equal($"recorded {rows.Count}, replayed 0, refused 0", await Feed(csv, api.Url));
        var expected = Enumerable.Range(0, Organizations).Select(o => rows.Where((_, row) => row % Organizations == o).Sum()).ToList();
        Assert.Equal(expected, await Used(api));

        Assert.Equal($"recorded 0, replayed {rows.Count}, refused 0", await Feed(csv, api.Url));
        Assert.Equal(expected, await Used(api));
        for (var i = 0; i < Organizations; i += 7) await api.VerifyLedger($"trace-{i}");
    }

    private static async Task<List<long>> Used(TestApi api)
    {
        var used = new List<long>();
        for (var i = 0; i < Organizations; i++) used.Add((long)(await api.Check($"trace-{i}", "characters")).Number("used"));
        return used;
    }

    private static async Task<string> Feed(string csv, string url)
    {
        var start = new ProcessStartInfo("bash", [Path.Combine(Repository.Root, "scripts", "feed-trace.sh"), csv, url, Settings.DevelopmentKey])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment = { ["KEEP_TIME"] = "1", ["ORGANIZATIONS"] = Organizations.ToString(CultureInfo.InvariantCulture) },
        };
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, await error);
        return output.Trim();
    }

    /// <summary>A trace of the same shape, where the real one is not at hand (TRACE_CSV).</summary>
    private static async Task<string> Generate(string folder)
    {
        var random = new Random(20231116);
        var csv = new StringBuilder("TIMESTAMP,ContextTokens,GeneratedTokens\n");
        var at = Instant.FromUtc(2023, 11, 16, 18, 15);
        for (var i = 0; i < 3_000; i++)
        {
            at += Duration.FromMilliseconds(random.Next(1, 2_000));
            csv.Append(CultureInfo.InvariantCulture, $"{at.InUtc().LocalDateTime:uuuu'-'MM'-'dd HH':'mm':'ss'.'fffffff},{random.Next(1, 4_000)},{random.Next(1, 900)}\n");
        }
        var path = Path.Combine(folder, "trace.csv");
        await File.WriteAllTextAsync(path, csv.ToString());
        return path;
    }
}
