using System.Globalization;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Primitives;

namespace Billing.StripeSandbox;

/// <summary>
/// What an operation accepts, written down as <c>customer! mode!(payment|subscription) items[price! quantity#] metadata{*} expires_at@</c>:
/// <c>!</c> required, <c>#</c> integer, <c>?</c> boolean, <c>@</c> Unix time or "now", <c>(…)</c> one of these words, <c>{…}</c> a hash,
/// <c>{*}</c> any hash of texts, <c>[…]</c> a list of hashes, <c>[]</c> a list of texts, and nothing a text.
/// </summary>
internal sealed class Parameters
{
    private enum Kind { Text, Integer, Boolean, Time, Word, Hash, Map, Hashes, Texts }

    private sealed record Field(Kind Kind, bool Required, Parameters? Inner = null, string[]? Words = null);

    private readonly Dictionary<string, Field> fields = [];

    private Parameters()
    {
    }

    public static Parameters Parse(string definition)
    {
        var at = 0;
        return Parse(definition, ref at, '\0');
    }

    private static Parameters Parse(string text, ref int at, char end)
    {
        var result = new Parameters();
        while (true)
        {
            while (at < text.Length && char.IsWhiteSpace(text[at])) at++;
            if (at >= text.Length || text[at] == end)
            {
                at++;
                return result;
            }
            var start = at;
            while (at < text.Length && (char.IsAsciiLetterOrDigit(text[at]) || text[at] == '_')) at++;
            var name = text[start..at];
            if (name.Length == 0) throw new FormatException($"A name is expected at {at} of: {text}");
            var required = Next(text, ref at, '!');
            result.fields.Add(name, ParseType(text, ref at, required));
        }
    }

    private static Field ParseType(string text, ref int at, bool required)
    {
        if (Next(text, ref at, '#')) return new Field(Kind.Integer, required);
        if (Next(text, ref at, '?')) return new Field(Kind.Boolean, required);
        if (Next(text, ref at, '@')) return new Field(Kind.Time, required);
        if (Next(text, ref at, '('))
        {
            var close = text.IndexOf(')', at);
            var words = text[at..close].Split('|');
            at = close + 1;
            return new Field(Kind.Word, required, Words: words);
        }
        if (Next(text, ref at, '{'))
        {
            if (!Next(text, ref at, '*')) return new Field(Kind.Hash, required, Parse(text, ref at, '}'));
            at++;
            return new Field(Kind.Map, required);
        }
        if (!Next(text, ref at, '[')) return new Field(Kind.Text, required);
        return Next(text, ref at, ']') ? new Field(Kind.Texts, required) : new Field(Kind.Hashes, required, Parse(text, ref at, ']'));
    }

    private static bool Next(string text, ref int at, char expected)
    {
        if (at >= text.Length || text[at] != expected) return false;
        at++;
        return true;
    }

    /// <summary>What was sent, typed; an empty text, which unsets, is null.</summary>
    public JsonObject Read(IEnumerable<KeyValuePair<string, StringValues>> sent) => Typed(Tree(sent), "");

    /// <summary><c>items[0][price]=x</c> as a tree of hashes with texts for leaves.</summary>
    private static JsonObject Tree(IEnumerable<KeyValuePair<string, StringValues>> sent)
    {
        var root = new JsonObject();
        foreach (var (key, values) in sent)
            foreach (var value in values)
            {
                var path = key.Split('[').Select(p => p.TrimEnd(']')).ToArray();
                var node = root;
                foreach (var part in path[..^1])
                {
                    var name = part.Length == 0 ? $"{node.Count}" : part;
                    if (node[name] is not JsonObject next) node[name] = next = [];
                    node = next;
                }
                node[path[^1].Length == 0 ? $"{node.Count}" : path[^1]] = value;
            }
        return root;
    }

    private JsonObject Typed(JsonObject sent, string prefix)
    {
        var result = new JsonObject();
        foreach (var (name, value) in sent)
        {
            var param = Param(prefix, name);
            if (!fields.TryGetValue(name, out var field))
                throw StripeError.OfRequest($"Received unknown parameter: {param}", param, "parameter_unknown");
            result[name] = Typed(field, value!, param);
        }
        foreach (var (name, field) in fields)
        {
            if (!field.Required || result.Has(name) && result[name] is not null) continue;
            var param = Param(prefix, name);
            throw result.Has(name)
                ? StripeError.OfRequest($"You passed an empty string for '{param}'. We assume empty values are an attempt to unset a parameter; however '{param}' cannot be unset. You should remove '{param}' from your request or supply a non-empty value.", param, "parameter_invalid_empty")
                : StripeError.OfRequest($"Missing required param: {param}.", param, "parameter_missing");
        }
        return result;
    }

    private static JsonNode? Typed(Field field, JsonNode value, string param)
    {
        if (value is JsonValue && value.ToString().Length == 0) return null;
        switch (field.Kind)
        {
            case Kind.Hash: return field.Inner!.Typed(value as JsonObject ?? throw StripeError.OfRequest("Invalid object", param), param);
            case Kind.Map: return Map(value as JsonObject ?? throw StripeError.OfRequest("Invalid object", param), param);
            case Kind.Hashes:
                return new JsonArray([.. Items(value, param).Select(i => (JsonNode?)field.Inner!.Typed(i.Value as JsonObject ?? throw StripeError.OfRequest("Invalid object", Param(param, i.Key)), Param(param, i.Key)))]);
            case Kind.Texts: return new JsonArray([.. Items(value, param).Select(i => i.Value!.DeepClone())]);
        }
        if (value is not JsonValue) throw StripeError.OfRequest($"Invalid string: {value.ToJsonString()}", param);
        var text = value.ToString();
        switch (field.Kind)
        {
            case Kind.Integer or Kind.Time:
                if (field.Kind == Kind.Time && text == "now") return text;
                return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)
                    ? number : throw StripeError.OfRequest($"Invalid integer: {text}", param, "parameter_invalid_integer");
            case Kind.Boolean:
                return bool.TryParse(text, out var flag) ? flag : throw StripeError.OfRequest($"Invalid boolean: {text}", param);
            case Kind.Word when !field.Words!.Contains(text):
                throw StripeError.OfRequest($"Invalid {param}: must be one of {string.Join(", ", field.Words![..^1])} or {field.Words[^1]}", param);
            default: return text;
        }
    }

    private static IEnumerable<KeyValuePair<string, JsonNode?>> Items(JsonNode value, string param) =>
        value is JsonObject o && o.All(i => i.Key.All(char.IsAsciiDigit)) ? o.OrderBy(i => int.Parse(i.Key, CultureInfo.InvariantCulture)) : throw StripeError.OfRequest("Invalid array", param);

    /// <summary>Metadata: at most 50 keys of 40 characters, with values of 500.</summary>
    private static JsonObject Map(JsonObject sent, string param)
    {
        if (sent.Count > 50) throw StripeError.OfRequest("Metadata can have at most 50 keys.", param);
        var map = new JsonObject();
        foreach (var (key, value) in sent)
        {
            if (key.Length > 40 || value is not JsonValue text || text.ToString().Length > 500)
                throw StripeError.OfRequest($"Metadata keys have at most 40 characters and values 500: {key}", Param(param, key));
            map[key] = text.ToString() is { Length: > 0 } kept ? kept : null;
        }
        return map;
    }

    private static string Param(string prefix, string name) => prefix.Length == 0 ? name : $"{prefix}[{name}]";
}
