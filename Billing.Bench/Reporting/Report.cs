using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using Spectre.Console;

namespace Billing.Bench;

/// <summary>Where it was measured: figures without it compare with nothing.</summary>
public sealed record Setting(string OperatingSystem, string Runtime, int Processors, string FileSystem, DateTimeOffset StartedAt);

/// <summary>Gathers the rounds, keeps every error, and tells the medians.</summary>
public sealed class Report(Options options, string folder)
{
    public const int WidthColumns = 170;

    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, WriteIndented = true };

    private readonly List<Measurement> rounds = [];

    public List<string> Errors { get; } = [];

    /// <summary>What was not measured, or not as it should have been.</summary>
    public List<string> Notes { get; } = [];

    public Setting Setting { get; } = new(
        RuntimeInformation.OSDescription, RuntimeInformation.FrameworkDescription, Environment.ProcessorCount, new DriveInfo(folder).DriveFormat, DateTimeOffset.UtcNow);

    /// <param name="round">0 for the one before the first, which is shown and not kept: it lets the just-in-time compiler finish with all processes.</param>
    public void Add(int round, Measurement measured)
    {
        Console.WriteLine($"{(round == 0 ? "warm-up  " : $"round {round}/{options.Rounds}")}  {measured}");
        if (round == 0) return;
        rounds.Add(measured);
        if (measured.Unsent > 0) Notes.Add($"{measured.Scenario}, {measured.Subject}: {measured.Unsent} requests were never sent, because those before took too long. Its latencies leave them out.");
    }

    /// <summary>Every answer must have been right, and every record that was acknowledged must be in the journal: no more, no fewer.</summary>
    /// <param name="journal">Null for a baseline, which has none.</param>
    /// <param name="afterPosition">Where the journal ended before.</param>
    public void Check(IReadOnlyList<Measurement> measured, JournalReader? journal, long afterPosition)
    {
        var sent = measured.Where(m => m.Subject == measured[0].Subject).ToList();
        var name = $"{sent[0].Scenario}, {sent[0].Subject}";
        if (sent[0].Failed > 0) Errors.Add($"{name}: {sent[0].Failed} wrong answers. The first: {sent[0].FirstFailure}");
        if (sent.Sum(m => m.Acknowledged) == 0) Errors.Add($"{name}: no answer came in time.");
        if (journal is null || sent[0].Failed > 0) return;
        var (acknowledged, recorded) = (sent.Sum(m => m.Acknowledged * m.EventsPerRequest), journal.CountUsage(afterPosition));
        if (acknowledged != recorded) Errors.Add($"{name}: {acknowledged} records were acknowledged, and the journal has {recorded}.");
    }

    /// <summary>Of each scenario and subject the medians over the rounds.</summary>
    public IReadOnlyList<Measurement> Medians() => [.. rounds.GroupBy(m => (m.Scenario, m.Subject)).Select(of =>
    {
        return of.First() with
        {
            RequestsPerSecond = Middle(m => m.RequestsPerSecond), EventsPerSecond = Middle(m => m.EventsPerSecond),
            P50Ms = Middle(m => m.P50Ms), P95Ms = Middle(m => m.P95Ms), P99Ms = Middle(m => m.P99Ms), P999Ms = Middle(m => m.P999Ms),
            ServerMicroseconds = Middle(m => m.ServerMicroseconds), GeneratorMicroseconds = Middle(m => m.GeneratorMicroseconds), Bytes = Middle(m => m.Bytes),
            Acknowledged = of.Sum(m => m.Acknowledged), Failed = of.Sum(m => m.Failed), Unsent = of.Sum(m => m.Unsent),
        };

        double Middle(Func<Measurement, double> figure) => Median.Of(of.Select(figure));
    })];

    public void Print(IAnsiConsole console)
    {
        Console.WriteLine();
        console.Write(MediansTable());
        Console.WriteLine();
        console.Write(ComparisonsTable());
        Console.WriteLine($"Medians of {options.Rounds} rounds of {options.Seconds} s; each ratio is the median of the rounds' own ratios. {options.Organizations} organizations, {options.Many} where they are uniform or Zipf.");
        Console.WriteLine("Rates are of one request in flight on each connection. Latencies at a fixed rate (mixed, half rate, trace) count from when a request was due, not from when it could be sent.");
        Console.WriteLine($"{Setting.Processors} processors shared by all servers and the generator, {Setting.OperatingSystem}, {Setting.Runtime}, files on {Setting.FileSystem}.");
        foreach (var note in Notes.Distinct()) console.WriteLine(note);
        foreach (var error in Errors) Console.WriteLine($"ERROR {error}");
    }

    public string ToJson() => JsonSerializer.Serialize(new
    {
        Setting, options.Seconds, Rounds = options.Rounds, options.Organizations, options.Many, options.GroupRows, options.StreamEvents,
        Medians = Medians(), Comparisons = Expectations.Compare(rounds), Measurements = rounds, Notes = Notes.Distinct(), Errors,
    }, Json);

    public string ToSvg() => Chart.Draw(Medians(), options.Rates,
        $"Medians of {options.Rounds} rounds; {Setting.Processors} processors shared by all servers and the load generator, on loopback. What is durable waits for the disk; Redis does not.");

    private Table MediansTable()
    {
        var table = NewTable(["scenario", "subject"], ["connections", "req/s", "events/s", "p50 ms", "p99 ms", "p99.9 ms", "server µs/req", "bytes"]);
        foreach (var m in Medians())
            table.AddRow(
                m.Scenario, m.Subject, Number(m.Connections, "N0"), Number(m.RequestsPerSecond, "N0"), Number(m.EventsPerSecond, "N0"),
                Number(m.P50Ms, "N2"), Number(m.P99Ms, "N2"), Number(m.P999Ms, "N2"), Number(m.ServerMicroseconds, "N1"), Number(m.Bytes, "N0"));
        return table;
    }

    private Table ComparisonsTable()
    {
        var table = NewTable(["scenario", "subject", "to"], ["figure", "expected"]);
        table.AddColumn("");
        foreach (var c in Expectations.Compare(rounds))
        {
            var format = c.Figure < 100 ? "N2" : "N0";
            table.AddRow(
                c.Scenario, c.Subject, c.To, $"{Number(c.Figure, format)} {c.Unit}".TrimEnd(), c.Bound is { } bound ? $"{(c.IsAtMost ? "at most" : "at least")} {Number(bound, "#,0.##")}" : "",
                c.IsMet switch { true => "ok", false => "MISSED", null => "" });
        }
        return table;
    }

    private static Table NewTable(string[] texts, string[] numbers)
    {
        var table = new Table { Border = Console.IsOutputRedirected ? TableBorder.Markdown : TableBorder.Rounded };
        foreach (var column in texts) table.AddColumn(column);
        foreach (var column in numbers) table.AddColumn(new TableColumn(column).RightAligned());
        return table;
    }

    private static string Number(double value, string format) => value == 0 ? "" : value.ToString(format, CultureInfo.InvariantCulture);
}
