using System.Text.Json;
using System.Text.RegularExpressions;

namespace Billing.Tests.Ledger;

/// <summary>
/// As much of JSON Schema as catalogs/catalog.schema.json uses. A keyword that it does not know throws when the schema is
/// loaded, because a rule that nobody checks is worse than none.
/// </summary>
internal sealed class TinySchema
{
    private readonly JsonElement root;

    public TinySchema(string json)
    {
        using var document = JsonDocument.Parse(json);
        root = document.RootElement.Clone();
        foreach (var (path, schema) in Schemas(root, "#"))
            foreach (var keyword in schema.EnumerateObject())
                if (!IsKnown(keyword.Name)) throw new NotSupportedException($"{path}: the keyword '{keyword.Name}' is not checked here.");
    }

    public JsonElement Definition(string name) => root.GetProperty("$defs").GetProperty(name);

    /// <summary>Every schema within, with its place.</summary>
    public IEnumerable<(string Path, JsonElement Schema)> All() => Schemas(root, "#");

    /// <summary>What is wrong, as "path: message"; nothing when the instance is valid.</summary>
    public List<string> Problems(string json)
    {
        using var document = JsonDocument.Parse(json);
        var problems = new List<string>();
        Check(root, document.RootElement, "$", problems);
        return problems;
    }

    private static bool IsKnown(string keyword) => keyword is
        "$schema" or "$defs" or "$ref" or "title" or "description" or "default" or "type" or "enum" or "const" or "properties" or "required"
        or "additionalProperties" or "propertyNames" or "minProperties" or "maxProperties" or "items" or "maxItems" or "minLength" or "maxLength"
        or "pattern" or "minimum" or "maximum" or "anyOf" or "if" or "then" or "else";

    private static IEnumerable<(string Path, JsonElement Schema)> Schemas(JsonElement schema, string path)
    {
        if (schema.ValueKind is JsonValueKind.True or JsonValueKind.False) yield break;
        yield return (path, schema);
        foreach (var keyword in schema.EnumerateObject())
        {
            IEnumerable<(string Name, JsonElement Schema)> children = keyword.Name switch
            {
                "properties" or "$defs" => keyword.Value.EnumerateObject().Select(p => ($"{keyword.Name}/{p.Name}", p.Value)),
                "anyOf" => keyword.Value.EnumerateArray().Select((s, i) => ($"anyOf/{i}", s)),
                "additionalProperties" or "propertyNames" or "items" or "if" or "then" or "else" => [(keyword.Name, keyword.Value)],
                _ => [],
            };
            foreach (var child in children)
                foreach (var found in Schemas(child.Schema, $"{path}/{child.Name}")) yield return found;
        }
    }

    private bool IsValid(JsonElement schema, JsonElement value)
    {
        var problems = new List<string>();
        Check(schema, value, "$", problems);
        return problems.Count == 0;
    }

    private void Check(JsonElement schema, JsonElement value, string path, List<string> problems)
    {
        if (schema.ValueKind == JsonValueKind.True) return;
        if (schema.ValueKind == JsonValueKind.False)
        {
            problems.Add($"{path}: is not allowed");
            return;
        }
        foreach (var keyword in schema.EnumerateObject())
        {
            var rule = keyword.Value;
            switch (keyword.Name)
            {
                case "$ref":
                    Check(Definition(rule.GetString()!["#/$defs/".Length..]), value, path, problems);
                    break;
                case "type":
                    Require(Types(rule).Any(t => IsOfType(value, t)), $"is no {rule}");
                    break;
                case "enum":
                    Require(rule.EnumerateArray().Any(e => JsonElement.DeepEquals(e, value)), $"is none of {rule}");
                    break;
                case "const":
                    Require(JsonElement.DeepEquals(rule, value), $"is not {rule}");
                    break;
                case "anyOf":
                    Require(rule.EnumerateArray().Any(s => IsValid(s, value)), "fits nothing of what is allowed");
                    break;
                case "if":
                    if (schema.TryGetProperty(IsValid(rule, value) ? "then" : "else", out var branch)) Check(branch, value, path, problems);
                    break;
                case "minimum" when value.ValueKind == JsonValueKind.Number:
                    Require(value.GetDecimal() >= rule.GetDecimal(), $"is less than {rule}");
                    break;
                case "maximum" when value.ValueKind == JsonValueKind.Number:
                    Require(value.GetDecimal() <= rule.GetDecimal(), $"is more than {rule}");
                    break;
                case "minLength" when value.ValueKind == JsonValueKind.String:
                    Require(value.GetString()!.Length >= rule.GetInt32(), "is too short");
                    break;
                case "maxLength" when value.ValueKind == JsonValueKind.String:
                    Require(value.GetString()!.Length <= rule.GetInt32(), "is too long");
                    break;
                case "pattern" when value.ValueKind == JsonValueKind.String:
                    // In JSON Schema $ is the end and nothing else; in .NET a newline may follow it.
                    var pattern = rule.GetString()!.Replace("$", "\\z", StringComparison.Ordinal);
                    Require(Regex.IsMatch(value.GetString()!, pattern), $"does not match {rule}");
                    break;
                case "items" when value.ValueKind == JsonValueKind.Array:
                    var index = 0;
                    foreach (var item in value.EnumerateArray()) Check(rule, item, $"{path}[{index++}]", problems);
                    break;
                case "maxItems" when value.ValueKind == JsonValueKind.Array:
                    Require(value.GetArrayLength() <= rule.GetInt32(), "has too many items");
                    break;
                default:
                    if (value.ValueKind == JsonValueKind.Object) CheckObject(schema, keyword, value, path, problems);
                    break;
            }

            void Require(bool holds, string message)
            {
                if (!holds) problems.Add($"{path}: {message}");
            }
        }
    }

    private void CheckObject(JsonElement schema, JsonProperty keyword, JsonElement value, string path, List<string> problems)
    {
        var rule = keyword.Value;
        switch (keyword.Name)
        {
            case "properties":
                foreach (var p in rule.EnumerateObject())
                    if (value.TryGetProperty(p.Name, out var given)) Check(p.Value, given, $"{path}.{p.Name}", problems);
                break;
            case "additionalProperties":
                foreach (var member in value.EnumerateObject())
                    if (!schema.TryGetProperty("properties", out var named) || !named.TryGetProperty(member.Name, out _))
                        Check(rule, member.Value, $"{path}.{member.Name}", problems);
                break;
            case "propertyNames":
                foreach (var member in value.EnumerateObject())
                {
                    using var name = JsonDocument.Parse(JsonSerializer.Serialize(member.Name));
                    Check(rule, name.RootElement, $"{path}.{member.Name}", problems);
                }
                break;
            case "required":
                foreach (var name in rule.EnumerateArray())
                    if (!value.TryGetProperty(name.GetString()!, out _)) problems.Add($"{path}.{name}: is missing");
                break;
            case "minProperties":
                if (value.EnumerateObject().Count() < rule.GetInt32()) problems.Add($"{path}: has too few members");
                break;
            case "maxProperties":
                if (value.EnumerateObject().Count() > rule.GetInt32()) problems.Add($"{path}: has too many members");
                break;
        }
    }

    private static IEnumerable<string> Types(JsonElement rule) =>
        rule.ValueKind == JsonValueKind.Array ? rule.EnumerateArray().Select(t => t.GetString()!) : [rule.GetString()!];

    private static bool IsOfType(JsonElement value, string type) => type switch
    {
        "object" => value.ValueKind == JsonValueKind.Object,
        "array" => value.ValueKind == JsonValueKind.Array,
        "string" => value.ValueKind == JsonValueKind.String,
        "boolean" => value.ValueKind is JsonValueKind.True or JsonValueKind.False,
        "number" => value.ValueKind == JsonValueKind.Number,
        "integer" => value.ValueKind == JsonValueKind.Number && value.TryGetDecimal(out var number) && decimal.IsInteger(number),
        _ => throw new NotSupportedException($"The type '{type}' is not checked here."),
    };
}
