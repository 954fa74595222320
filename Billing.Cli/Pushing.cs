using System.CommandLine;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace Billing.Cli;

/// <summary>`billing catalog push`.</summary>
internal static class Pushing
{
    public static Command Group(Terminal terminal)
    {
        var dryRun = new Option<bool>("--dry-run") { Description = "Only show what would change." };
        var push = new Command("push", "Make Stripe have the products and prices of the service's catalog. Ends with 1 when a price id that was given does not fit.")
        {
            dryRun, Service.Url, Service.Key, Service.Json,
        };
        push.SetAction(async (parsed, stop) =>
        {
            using var service = Service.Of(parsed);
            return await Run(terminal, service, parsed.GetValue(dryRun), parsed.GetValue(Service.Json), stop);
        });
        return new Command("catalog", "What is sold.") { push };
    }

    private static async Task<int> Run(Terminal terminal, Service service, bool isDryRun, bool asJson, CancellationToken stop)
    {
        var path = $"/v1/catalog/push?dry_run={(isDryRun ? "true" : "false")}";
        var pushed = await terminal.Progress(isDryRun ? "Comparing" : "Pushing", 0, _ => service.Post(path, null, stop));
        var wrong = (int?)pushed["wrong"] ?? 0;
        var code = wrong == 0 ? ExitCode.Good : ExitCode.Finding;
        if (asJson)
        {
            await terminal.Out.WriteLineAsync(pushed.ToJsonString(Terminal.Indented));
            return code;
        }
        var changes = pushed["changes"]?.AsArray() ?? [];
        var shown = changes.Where(c => (string?)c!["action"] != "keep").ToList();
        if (shown.Count > 0)
        {
            var table = new Table().AddColumns("What", "Id", "Lookup key", "");
            foreach (var change in shown)
                table.AddRow(Cell(change!["action"]).Replace('_', ' '), Cell(change["id"]), Cell(change["lookup_key"]), Cell(change["detail"]));
            terminal.Print(table);
        }
        await terminal.Out.WriteLineAsync(
            $"Catalog version {pushed["catalog_version"]}: {Terminal.Count((int?)pushed["changed"] ?? 0, "change")}{(isDryRun ? " to make" : "")}, {changes.Count - shown.Count:N0} as it was."
            + (wrong == 0 ? "" : $" {Terminal.Count(wrong, "given price")} {(wrong == 1 ? "does" : "do")} not fit."));
        return code;
    }

    private static string Cell(JsonNode? text) => Markup.Escape(text?.ToString() ?? "");
}
