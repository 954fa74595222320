using System.Text.Encodings.Web;
using System.Text.Json;
using Spectre.Console;

namespace Billing.Cli;

/// <summary>Where a command reads and writes. Tests give it their own.</summary>
/// <param name="Bytes">Where an export goes: byte for byte, whatever encoding the terminal has.</param>
/// <param name="Watched">Whether somebody looks at <paramref name="Error"/>: then progress is drawn there.</param>
internal sealed record Terminal(Stream In, TextWriter Out, TextWriter Error, Stream Bytes, TimeProvider Time, InteractionSupport Watched)
{
    /// <summary>JSON for programs, that people can read.</summary>
    public static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static Terminal Standard() => new(
        Console.OpenStandardInput(), Console.Out, Console.Error, Console.OpenStandardOutput(), TimeProvider.System,
        Console.IsErrorRedirected ? InteractionSupport.No : InteractionSupport.Detect);

    public static string Count(long number, string what) => $"{number:N0} {what}{(number == 1 ? "" : "s")}";

    /// <summary>Does the work beneath a progress bar.</summary>
    /// <param name="total">What the work counts up to; 0 where it is not known.</param>
    /// <param name="work">Gets what to tell how far it is.</param>
    public async Task<T> Progress<T>(string what, long total, Func<Action<long>, Task<T>> work)
    {
        if (Watched == InteractionSupport.No) return await work(_ => { });
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(Error), Interactive = Watched, Ansi = Watched == InteractionSupport.Yes ? AnsiSupport.Yes : AnsiSupport.Detect,
        });
        return await console.Progress().AutoClear(true).Columns(new SpinnerColumn(), new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn())
            .StartAsync(async context =>
            {
                var task = context.AddTask(Markup.Escape(what), maxValue: Math.Max(1, total));
                task.IsIndeterminate = total == 0;
                return await work(done => task.Value = done);
            });
    }

    public void Print(Table table)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Out) });
        // Nothing is cut where nobody's window says how wide it is.
        if (!console.Profile.Out.IsTerminal) console.Profile.Width = 240;
        console.Write(table);
    }
}
