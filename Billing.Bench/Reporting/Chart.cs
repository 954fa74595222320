using System.Globalization;
using System.Xml.Linq;

namespace Billing.Bench;

/// <summary>The medians as bars, each panel one question, the ledger's bars beside those of what it is compared with. Readable on light and on dark pages.</summary>
public static class Chart
{
    private const int ColumnWidth = 470, Columns = 2, LabelWidth = 160, BarWidth = 220, Row = 24, BarHeight = 15, TitleHeight = 46, PanelGap = 18, Margin = 20, FootHeight = 34;

    private const string Style = """
        svg { --text: #1f2328; --soft: #59636e; --ledger: #0969da; --other: #afb8c1; font-family: system-ui, -apple-system, "Segoe UI", sans-serif; font-size: 13px; }
        @media (prefers-color-scheme: dark) { svg { --text: #f0f6fc; --soft: #9198a1; --ledger: #4493f8; --other: #57606a; } }
        text { fill: var(--text); } .title { font-size: 15px; font-weight: 600; } .soft { fill: var(--soft); font-size: 12px; }
        .label { text-anchor: end; } .ledger { fill: var(--ledger); } .other { fill: var(--other); } .ours { font-weight: 600; }
        """;

    private static readonly XNamespace Svg = "http://www.w3.org/2000/svg";

    private sealed record Bar(string Label, double Value, bool IsLedger);

    private sealed record Panel(string Title, string Unit, string Format, IReadOnlyList<Bar> Bars)
    {
        public int Height => TitleHeight + Row * Bars.Count;
    }

    /// <param name="rates">Of the mixed scenario: the lowest is drawn, at which everybody should keep up.</param>
    /// <param name="foot">Said below the bars.</param>
    /// <returns>An SVG document.</returns>
    public static string Draw(IReadOnlyList<Measurement> medians, IReadOnlyList<int> rates, string foot)
    {
        var mixed = Scenarios.Mixed(rates.Min());
        List<Panel> panels =
        [
            Of("Checks", "a second, 32 connections; more is better", "N0", m => m.RequestsPerSecond, Scenarios.Check, Scenarios.ConstantAtCheck),
            Of("Consumes", "a second, 256 connections; more is better", "N0", m => m.RequestsPerSecond, Scenarios.Consume),
            Of("Consumes, all of one organization", "a second, 256 connections; more is better", "N0", m => m.RequestsPerSecond, Scenarios.Hot),
            Of("Batches", "usage records a second, beside the database alone; more is better", "N0", m => m.EventsPerSecond, Scenarios.Batch),
            Of($"Checks, {mixed}", "90 % checks, 10 % consumes; p99 in ms; less is better", "N2", m => m.P99Ms, $"{mixed}: check"),
            Of($"Consumes, {mixed}", "90 % checks, 10 % consumes; p99 in ms; less is better", "N2", m => m.P99Ms, $"{mixed}: consume"),
        ];
        panels.RemoveAll(p => p.Bars.Count == 0);

        var drawn = new List<XElement>();
        var y = Margin;
        foreach (var line in panels.Chunk(Columns))
        {
            foreach (var (column, panel) in line.Index()) drawn.Add(Draw(panel, Margin + column * ColumnWidth, y));
            y += line.Max(p => p.Height) + PanelGap;
        }
        var (width, height) = (Columns * ColumnWidth + 2 * Margin, y + FootHeight);
        var svg = new XElement(Svg + "svg",
            new XAttribute("viewBox", $"0 0 {width} {height}"), new XAttribute("width", width), new XAttribute("height", height), new XAttribute("role", "img"),
            new XElement(Svg + "title", "Billing Ledger beside what it is compared with"), new XElement(Svg + "style", Style), drawn, Text(foot, Margin, y + 16, "soft"));
        return svg + "\n";

        Panel Of(string title, string unit, string format, Func<Measurement, double> figure, params string[] scenarios) => new(title, unit, format,
        [
            .. medians.Where(m => scenarios.Contains(m.Scenario) && figure(m) > 0)
                .Select(m => new Bar(m.Scenario == Scenarios.ConstantAtCheck ? "constant answer" : m.Subject, figure(m), m.Subject is Subject.Sqlite or Subject.Postgres or Subject.Silos && m.Scenario != Scenarios.ConstantAtCheck))
                .OrderBy(b => Order(b.Label)),
        ]);
    }

    /// <summary>The ledger first, what is not an alternative last.</summary>
    private static int Order(string label)
    {
        string[] order = [Subject.Silos, Subject.Postgres, RawInsert.Postgres, Subject.Sqlite, RawInsert.Sqlite, Subject.Row, Subject.Redis];
        var place = Array.IndexOf(order, label);
        return place < 0 ? order.Length : place;
    }

    private static XElement Draw(Panel panel, int left, int top)
    {
        var most = panel.Bars.Max(b => b.Value);
        return new XElement(Svg + "g",
            Text(panel.Title, left, top + 14, "title"), Text(panel.Unit, left, top + 32, "soft"),
            panel.Bars.Index().SelectMany(indexed =>
            {
                var (bar, y) = (indexed.Item, top + TitleHeight + Row * indexed.Index);
                var width = Math.Max(1, bar.Value / most * BarWidth);
                var ours = bar.IsLedger ? " ours" : "";
                return new[]
                {
                    Text(bar.Label, left + LabelWidth - 10, y + 12, "label" + ours),
                    new XElement(Svg + "rect", At("x", left + LabelWidth), At("y", y), At("width", width), At("height", BarHeight), At("rx", 2), new XAttribute("class", bar.IsLedger ? "ledger" : "other")),
                    Text(bar.Value.ToString(panel.Format, CultureInfo.InvariantCulture), left + LabelWidth + width + 6, y + 12, ours.Trim()),
                };
            }));
    }

    private static XElement Text(string text, double x, double y, string kind) => new(Svg + "text", At("x", x), At("y", y), kind.Length > 0 ? new XAttribute("class", kind) : null, text);

    private static XAttribute At(string name, double value) => new(name, Math.Round(value, 1).ToString(CultureInfo.InvariantCulture));
}
