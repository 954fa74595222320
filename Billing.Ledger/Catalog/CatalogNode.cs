using System.Globalization;
using System.Text.Json;

namespace Billing.Ledger;

/// <summary>A JSON value of a catalog that knows its path and where to complain. Every reader goes on after a problem, so that all are found.</summary>
internal sealed record CatalogNode(JsonElement Json, string Path, List<CatalogProblem> Problems)
{
    public void Problem(string? name, string message)
    {
        var problem = new CatalogProblem(name is null ? Path : $"{Path}.{name}", message);
        // What stands at a feature is read once for each plan that uses it; it is wrong only once.
        if (!Problems.Contains(problem)) Problems.Add(problem);
    }

    public bool Has(string name) => Json.ValueKind == JsonValueKind.Object && Json.TryGetProperty(name, out _);

    /// <summary>Refuses members with other names.</summary>
    public void Only(params ReadOnlySpan<string> names)
    {
        if (Json.ValueKind != JsonValueKind.Object)
        {
            Problem(null, $"An object is expected here, not {Kind(Json)}.");
            return;
        }
        foreach (var member in Json.EnumerateObject())
            if (!names.Contains(member.Name)) Problem(member.Name, $"Unknown field. Known here: {string.Join(", ", names.ToArray())}.");
    }

    public CatalogNode? Object(string name)
    {
        if (Get(name) is { ValueKind: JsonValueKind.Object } value) return new CatalogNode(value, $"{Path}.{name}", Problems);
        Problem(name, "An object is expected here.");
        return null;
    }

    /// <summary>An object of objects (or values) by id, in the order of the file.</summary>
    public IEnumerable<(string Id, CatalogNode Node)> Entries(string name, int most, bool required = true)
    {
        if (!required && !Has(name)) yield break;
        if (Object(name) is not { } entries) yield break;
        var count = 0;
        foreach (var member in entries.Json.EnumerateObject())
        {
            var node = new CatalogNode(member.Value, $"{entries.Path}.{member.Name}", Problems);
            if (!Ids.IsCatalogId(member.Name)) node.Problem(null, $"'{member.Name}' is no id: it must match {Ids.CatalogPattern}.");
            if (++count > most)
            {
                entries.Problem(null, $"At most {most} are allowed.");
                yield break;
            }
            yield return (member.Name, node);
        }
    }

    public IEnumerable<CatalogNode> Items(string name, bool required = true)
    {
        if (Get(name) is not { } value)
        {
            if (required) Problem(name, "A list is expected here.");
            yield break;
        }
        if (value.ValueKind != JsonValueKind.Array)
        {
            Problem(name, $"A list is expected here, not {Kind(value)}.");
            yield break;
        }
        var index = 0;
        foreach (var item in value.EnumerateArray()) yield return new CatalogNode(item, $"{Path}.{name}[{index++}]", Problems);
    }

    public string? Text(string name, bool required = true)
    {
        if (Get(name) is { } value)
        {
            if (value.ValueKind == JsonValueKind.String && value.GetString() is { Length: > 0 and <= 500 } text) return text;
            Problem(name, "A text of 1 to 500 characters is expected here.");
        }
        else if (required)
        {
            Problem(name, "This text is missing.");
        }
        return null;
    }

    public bool Flag(string name)
    {
        if (Get(name) is not { } value) return false;
        if (value.ValueKind is not (JsonValueKind.True or JsonValueKind.False)) Problem(name, "true or false is expected here.");
        return value.ValueKind == JsonValueKind.True;
    }

    public long? Whole(string name, long least, long most, bool required = true)
    {
        if (Get(name) is not { } value)
        {
            if (required) Problem(name, $"A whole number from {least} to {most} is missing.");
            return null;
        }
        if (value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var number) && number >= least && number <= most) return number;
        Problem(name, $"A whole number from {least} to {most} is expected here, not {value}.");
        return null;
    }

    /// <summary>A number of days, or "default" for the environment's.</summary>
    public int? Days(string name, int byDefault)
    {
        if (Get(name) is not { } value) return null;
        if (value.ValueKind == JsonValueKind.String && value.GetString() == "default") return byDefault;
        if (value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out var days) && days is >= 0 and <= 730) return days;
        Problem(name, "A number of days from 0 to 730, or \"default\", is expected here.");
        return null;
    }

    /// <summary>A unit price: a decimal string in major units with up to 12 places.</summary>
    public decimal? UnitPrice(string name)
    {
        if (Get(name) is not { } value) return null;
        if (value.ValueKind == JsonValueKind.String
            && decimal.TryParse(value.GetString(), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var price)
            && price.Scale <= 12 && price <= 1_000_000) return price;
        Problem(name, "A unit price is a text such as \"0.001\": major units, at most 12 places, at most 1000000.");
        return null;
    }

    /// <summary>Per cent: a decimal string with up to 4 places.</summary>
    public decimal? Percent(string name)
    {
        if (Get(name) is { ValueKind: JsonValueKind.String } value
            && decimal.TryParse(value.GetString(), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var percent)
            && percent <= 100 && decimal.Round(percent, 4) == percent) return percent;
        Problem(name, "A rate is a text such as \"8\" or \"7.25\": per cent, from 0 to 100, with at most 4 places.");
        return null;
    }

    /// <summary>Null where it is missing or unknown: what depends on it cannot be judged and is not complained about.</summary>
    public T? Choice<T>(string name) where T : struct, Enum
    {
        if (Has(name)) return ReadChoice<T>(name);
        Problem(name, $"This is missing. Known: {Names<T>()}.");
        return null;
    }

    public T Choice<T>(string name, T byDefault) where T : struct, Enum => Has(name) ? ReadChoice<T>(name) ?? byDefault : byDefault;

    private T? ReadChoice<T>(string name) where T : struct, Enum
    {
        var value = Get(name)!.Value;
        if (value.ValueKind == JsonValueKind.String && Spelling.TryParse<T>(value.GetString()!, out var choice)) return choice;
        Problem(name, $"{value} is unknown. Known: {Names<T>()}.");
        return null;
    }

    private JsonElement? Get(string name) =>
        Json.ValueKind == JsonValueKind.Object && Json.TryGetProperty(name, out var value) ? value : null;

    private static string Names<T>() where T : struct, Enum => string.Join(", ", Enum.GetValues<T>().Select(v => Spelling.Of(v)));

    private static string Kind(JsonElement json) => json.ValueKind.ToString().ToLowerInvariant();
}
