using System.CommandLine;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace Billing.Cli;

/// <summary>`billing reconcile`.</summary>
internal static class Reconciling
{
    private const int PageSize = 500;

    public static Command Command(Terminal terminal)
    {
        var organization = new Argument<string?>("ORG") { Description = "The organization's id.", Arity = ArgumentArity.ZeroOrOne };
        var all = new Option<bool>("--all") { Description = "Every organization." };
        var repair = new Option<bool>("--repair") { Description = "Repair in the ledger what differs." };
        var reason = new Option<string?>("--reason") { Description = "Why it is repaired: kept in the audit log.", HelpName = "TEXT" };
        var command = new Command("reconcile", "Compare the ledger with Stripe: every difference with what explains it. Ends with 0 when none is left, with 1 when some are, with 2 when an organization could not be compared.")
        {
            organization, all, repair, reason, Service.Url, Service.Key, Service.Json,
        };
        command.SetAction(async (parsed, stop) =>
        {
            var id = parsed.GetValue(organization);
            if (parsed.GetValue(all) == id is not null) throw new UsageException("Name one organization, or say --all.");
            var why = parsed.GetValue(reason);
            if (parsed.GetValue(repair) == string.IsNullOrWhiteSpace(why)) throw new UsageException("With --repair say why with --reason; without it there is nothing to say.");
            using var service = Service.Of(parsed);
            return await Run(terminal, service, id, why, parsed.GetValue(Service.Json), stop);
        });
        return command;
    }

    private static async Task<int> Run(Terminal terminal, Service service, string? organization, string? reason, bool asJson, CancellationToken stop)
    {
        var organizations = organization is null ? await All(service, stop) : [organization];
        var (found, failed) = (new List<JsonNode>(), new List<(string Organization, string Why)>());
        await terminal.Progress("Reconciling", organizations.Count, async report =>
        {
            foreach (var (place, id) in organizations.Index())
            {
                try
                {
                    found.Add(await service.Post($"/v1/organizations/{Uri.EscapeDataString(id)}/reconcile", reason is null ? new JsonObject { ["repair"] = false } : new JsonObject { ["repair"] = true, ["reason"] = reason }, stop));
                }
                catch (ServiceException e)
                {
                    // The others are compared all the same.
                    failed.Add((id, e.Message));
                }
                report(place + 1);
            }
            return 0;
        });

        var differences = found.SelectMany(r => (r["differences"]?.AsArray() ?? []).Select(d => (Organization: $"{r["organization"]}", Difference: d!))).ToList();
        var left = differences.Count(d => (bool?)d.Difference["repaired"] != true);
        if (asJson)
        {
            var json = new JsonObject
            {
                ["organizations"] = new JsonArray([.. found.Select(r => r.DeepClone())]), ["differences"] = differences.Count, ["left"] = left,
                ["failed"] = new JsonArray([.. failed.Select(f => new JsonObject { ["organization"] = f.Organization, ["detail"] = f.Why })]),
            };
            await terminal.Out.WriteLineAsync(json.ToJsonString(Terminal.Indented));
        }
        else
        {
            Print(terminal, differences);
            foreach (var (id, why) in failed) await terminal.Error.WriteLineAsync($"{id}: {why}");
            await terminal.Out.WriteLineAsync(
                $"{Terminal.Count(found.Count, "organization")} compared: {(differences.Count == 0 ? "no differences" : Terminal.Count(differences.Count, "difference"))}"
                + (differences.Count > left ? $", {differences.Count - left:N0} repaired" : "") + (failed.Count == 0 ? "." : $". {failed.Count:N0} could not be compared."));
        }
        return failed.Count > 0 ? ExitCode.Unusable : left > 0 ? ExitCode.Finding : ExitCode.Good;
    }

    private static void Print(Terminal terminal, List<(string Organization, JsonNode Difference)> differences)
    {
        if (differences.Count == 0) return;
        var table = new Table().AddColumns("Organization", "What", "Ledger", "Stripe", "Explained by", "Repair");
        foreach (var (organization, d) in differences)
            table.AddRow(Markup.Escape(organization), string.Join(' ', new[] { Cell(d["kind"]), Cell(d["field"]) }.Where(t => t.Length > 0)), Cell(d["ledger"]), Cell(d["stripe"]), Cell(d["explained_by"]),
                (bool?)d["repaired"] == true ? $"{Cell(d["repair"])}: done" : Cell(d["repair"]));
        terminal.Print(table);
    }

    private static string Cell(JsonNode? value) => Markup.Escape(value?.ToString() ?? "");

    private static async Task<IReadOnlyList<string>> All(Service service, CancellationToken stop)
    {
        var ids = new List<string>();
        for (string? cursor = null; ;)
        {
            var page = await service.Get($"/v1/organizations?limit={PageSize}" + (cursor is null ? "" : $"&cursor={cursor}"), stop);
            ids.AddRange(page["items"]!.AsArray().Select(o => (string)o!["id"]!));
            if ((cursor = (string?)page["next_cursor"]) is null) return ids;
        }
    }
}
