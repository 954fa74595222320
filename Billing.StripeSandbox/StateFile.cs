using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>Everything in one file, from one start to the next.</summary>
internal static class StateFile
{
    public static void Load(Sandbox s)
    {
        if (s.Options.File is not { } file || !File.Exists(file)) return;
        foreach (var o in JsonNode.Parse(File.ReadAllText(file))!.AsArray())
        {
            // The endpoint of the options is made anew at every start.
            if (o.Text("object") == "webhook_endpoint" && o.Text("url") == s.Options.WebhookUrl?.ToString()) continue;
            s.Store.Add(o!.AsObject().Copy());
        }
        s.ScheduleAll();
    }

    public static void Save(Sandbox s)
    {
        if (s.Options.File is not { } file || !s.IsChanged) return;
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(file))!);
        File.WriteAllText($"{file}.new", new JsonArray([.. s.Store.All.Select(o => o.DeepClone())]).ToJsonString());
        // Whole or not at all, whatever happens while it is written.
        File.Move($"{file}.new", file, overwrite: true);
        s.IsChanged = false;
    }
}
