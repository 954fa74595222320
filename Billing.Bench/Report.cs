using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using Spectre.Console;

namespace Billing.Bench;

/// <summary>Where it was measured: figures without it compare with nothing.</summary>
public sealed record Setting(string OperatingSystem, string Runtime, int Processors, string FileSystem, DateTimeOffset StartedAt);

/// <summary>The medians of one scenario over the rounds.</summary>
/// <param name="Ratio">The median of the rounds' ratios to the baseline of the same round; null for a baseline.</param>
/// <param name="Minimum">What the ratio is expected to be at least; null where nothing is promised.</param>
public sealed record Summary(
    string Scenario, int Connections, double RequestsPerSecond, double EventsPerSecond, double P50Ms, double P99Ms, double ApiMicroseconds,
    double GeneratorMicroseconds, double? Ratio, string? RatioTo, double? Minimum);

/// <summary>Gathers the rounds, keeps every error, and tells the medians.</summary>
public sealed class Report(Options options, string folder)
{
    public const int WidthColumns = 150;

    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, WriteIndented = true };

    private readonly List<Measurement> rounds = [];

    public List<string> Errors { get; } = [];

    public Setting Setting { get; } = new(
        RuntimeInformation.OSDescription, RuntimeInformation.FrameworkDescription, Environment.ProcessorCount, new DriveInfo(folder).DriveFormat, DateTimeOffset.UtcNow);

    public void Add(Measurement measured) => rounds.Add(measured);

    /// <summary>Every answer must have been right, and every record that was acknowledged must be in the journal: no more, no fewer.</summary>
    public void Check(Measurement measured, JournalFile journal, long position = 0)
    {
        if (measured.Failed > 0) Errors.Add($"{measured.Name} with {measured.Connections} connections: {measured.Failed} wrong answers. The first: {measured.FirstFailure}");
        if (measured.Acknowledged == 0) Errors.Add($"{measured.Name} with {measured.Connections} connections: no answer came in time.");
        var (acknowledged, recorded) = (measured.Acknowledged * measured.EventsPerRequest, journal.CountUsage(position));
        if (measured.Failed == 0 && acknowledged != recorded) Errors.Add($"{measured.Name}: {acknowledged} records were acknowledged, and the journal has {recorded}.");
    }

    public IReadOnlyList<Summary> Summaries() => [.. rounds.GroupBy(m => (m.Name, m.Connections)).Select(g => Summarize([.. g]))];

    public void Print(IAnsiConsole console)
    {
        var table = new Table { Border = Console.IsOutputRedirected ? TableBorder.Markdown : TableBorder.Rounded };
        table.AddColumn("scenario");
        foreach (var column in (string[])["connections", "req/s", "events/s", "p50 ms", "p99 ms", "API µs/req", "ratio", "expected"])
            table.AddColumn(new TableColumn(column).RightAligned());
        foreach (var s in Summaries())
            table.AddRow(
                s.Scenario, s.Connections > 0 ? s.Connections.ToString() : "", s.RequestsPerSecond > 0 ? Number(s.RequestsPerSecond, "N0") : "",
                s.EventsPerSecond > 0 ? Number(s.EventsPerSecond, "N0") : "", s.P50Ms > 0 ? Number(s.P50Ms, "N2") : "", s.P99Ms > 0 ? Number(s.P99Ms, "N2") : "", s.ApiMicroseconds > 0 ? Number(s.ApiMicroseconds, "N1") : "", s.Ratio is { } ratio ? Number(ratio, "N2") : "", Verdict(s));
        console.WriteLine();
        console.Write(table);
        console.WriteLine($"Medians of {options.Rounds} rounds of {options.Seconds} s, {options.Organizations} organizations; each ratio is the median of the rounds' own ratios.");
        console.WriteLine($"Ratios of check and consume are of requests/s to the constant answer; of batch, of events/s to the raw group insert ({options.GroupRows} rows a transaction);");
        console.WriteLine("of fold, to reading the same rows without decoding them; of verify, to reading them and hashing the bytes that the chain covers.");
        console.WriteLine($"{Setting.Processors} processors shared by the API and the generator, {Setting.OperatingSystem}, {Setting.Runtime}, journal on {Setting.FileSystem}.");
        foreach (var error in Errors) console.WriteLine($"ERROR {error}");
    }

    public string ToJson() => JsonSerializer.Serialize(new { Setting, options.Seconds, options.Organizations, options.GroupRows, Summaries = Summaries(), Rounds = rounds, Errors }, Json);

    private Summary Summarize(IReadOnlyList<Measurement> of)
    {
        var baseline = Baseline(of[0]);
        // Round by round, so that what slowed the whole machine for a while slowed both sides.
        var ratios = of.Zip(baseline, (m, b) => m.EventsPerSecond > 0 && b.EventsPerSecond > 0 ? m.EventsPerSecond / b.EventsPerSecond : m.RequestsPerSecond / b.RequestsPerSecond).ToList();
        return new Summary(
            of[0].Name, of[0].Connections, Median(of, m => m.RequestsPerSecond), Median(of, m => m.EventsPerSecond), Median(of, m => m.P50Ms),
            Median(of, m => m.P99Ms), Median(of, m => m.ApiMicroseconds), Median(of, m => m.GeneratorMicroseconds),
            ratios.Count == 0 ? null : Median(ratios, r => r), baseline.Count == 0 ? null : baseline[0].Name, of[0].Minimum);
    }

    private List<Measurement> Baseline(Measurement of) => of.Name switch
    {
        "check" or "consume" => rounds.FindAll(m => m.Name == "constant" && m.Connections == of.Connections),
        "batch" => rounds.FindAll(m => m.Name == Scenario.RawName),
        "fold" => rounds.FindAll(m => m.Name == Books.ReadName),
        "verify" => rounds.FindAll(m => m.Name == Books.HashName),
        _ => [],
    };

    private static string Verdict(Summary s) => s.Minimum is not { } minimum ? "" : $"{Number(minimum, "N2")} {(s.Ratio >= minimum ? "ok" : "below")}";

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    private static double Median<T>(IReadOnlyList<T> of, Func<T, double> value)
    {
        var sorted = of.Select(value).Order().ToList();
        var middle = sorted.Count / 2;
        return sorted.Count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
