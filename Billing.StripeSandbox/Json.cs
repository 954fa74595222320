using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>Reading and writing JSON by a path such as <c>recurring.interval</c>. What is absent reads as null.</summary>
internal static class Json
{
    public static JsonNode? At(this JsonNode? node, string path)
    {
        foreach (var name in path.Split('.'))
            node = node is JsonObject o && o.TryGetPropertyValue(name, out var value) ? value : null;
        return node;
    }

    public static bool Has(this JsonObject o, string name) => o.ContainsKey(name);

    public static string? Text(this JsonNode? node, string path) => node.At(path) is JsonValue v && v.TryGetValue<string>(out var text) ? text : null;

    public static long? Number(this JsonNode? node, string path) => node.At(path) is JsonValue v ? Number(v) : null;

    public static bool Flag(this JsonNode? node, string path) => node.At(path) is JsonValue v && v.TryGetValue<bool>(out var flag) && flag;

    public static JsonObject? Object(this JsonNode? node, string path) => node.At(path) as JsonObject;

    /// <summary>The objects of an array, or of a list's data.</summary>
    public static IReadOnlyList<JsonObject> Each(this JsonNode? node, string path) => node.At(path) switch
    {
        JsonArray array => [.. array.OfType<JsonObject>()],
        JsonObject list when list["data"] is JsonArray data => [.. data.OfType<JsonObject>()],
        _ => [],
    };

    public static IReadOnlyList<string> Texts(this JsonNode? node, string path) =>
        node.At(path) is JsonArray array ? [.. array.OfType<JsonValue>().Select(v => v.ToString())] : [];

    /// <summary>Sets a member; the objects on the way are made when they are missing.</summary>
    public static JsonObject Set(this JsonObject o, string path, JsonNode? value)
    {
        var names = path.Split('.');
        var inner = o;
        foreach (var name in names[..^1])
        {
            if (inner[name] is not JsonObject next) inner[name] = next = [];
            inner = next;
        }
        inner[names[^1]] = value?.Parent is null ? value : value.DeepClone();
        return o;
    }

    /// <summary>Takes over the members that were sent, by the names that they have in both.</summary>
    public static JsonObject Take(this JsonObject o, JsonObject sent, params ReadOnlySpan<string> names)
    {
        foreach (var name in names)
            if (sent.TryGetPropertyValue(name, out var value)) o.Set(name, value);
        return o;
    }

    /// <summary>Metadata is merged: an empty value removes its key, an empty hash removes all.</summary>
    public static void Merge(this JsonObject o, JsonObject sent, string name = "metadata")
    {
        if (!sent.TryGetPropertyValue(name, out var changes)) return;
        if (changes is null || o[name] is not JsonObject) o[name] = new JsonObject();
        var target = o[name]!.AsObject();
        foreach (var (key, value) in changes as JsonObject ?? [])
            if (value is null) target.Remove(key);
            else target[key] = value.DeepClone();
    }

    public static JsonObject Copy(this JsonObject o) => o.DeepClone().AsObject();

    public static JsonObject List(string url, IEnumerable<JsonNode> data, bool hasMore = false) => new()
    {
        ["object"] = "list",
        ["data"] = new JsonArray([.. data.Select(d => d.Parent is null ? d : d.DeepClone())]),
        ["has_more"] = hasMore,
        ["url"] = url,
    };

    /// <summary>As it is answered: members that begin with an underscore are the sandbox's own notes, and an invoice shows its first ten lines.</summary>
    public static JsonNode? Presented(this JsonNode? node) => node switch
    {
        JsonObject o => Cut(new JsonObject(o.Where(m => !m.Key.StartsWith('_')).Select(m => KeyValuePair.Create(m.Key, m.Key == "metadata" ? m.Value?.DeepClone() : m.Value.Presented())))),
        JsonArray array => new JsonArray([.. array.Select(Presented)]),
        _ => node?.DeepClone(),
    };

    private static JsonObject Cut(JsonObject o)
    {
        if (o.Text("object") != "invoice" || o["lines"]?["data"] is not JsonArray { Count: > 10 } lines) return o;
        lines.RemoveRange(10, lines.Count - 10);
        o["lines"]!["has_more"] = true;
        return o;
    }

    private static long? Number(JsonValue value)
    {
        if (value.TryGetValue<long>(out var number)) return number;
        if (value.TryGetValue<int>(out var small)) return small;
        return value.GetValueKind() == JsonValueKind.Number && long.TryParse(value.ToJsonString(), CultureInfo.InvariantCulture, out number) ? number : null;
    }
}
