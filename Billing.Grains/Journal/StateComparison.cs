using System.Collections;
using System.Reflection;
using Billing.Ledger;

namespace Billing.Grains.Journal;

/// <summary>Whether a state is what replaying the events gives: whatever else holds one is compared here, by all that is in it.</summary>
public static class StateComparison
{
    /// <returns>The first place in which they differ, with both values; null when they are the same.</returns>
    public static string? Difference(State folded, State other) => Difference(folded, other, "");

    private static string? Difference(object? a, object? b, string place)
    {
        if (ReferenceEquals(a, b)) return null;
        if (a is null || b is null || a.GetType() != b.GetType()) return $"{place} is {a ?? "nothing"}, and {b ?? "nothing"}";
        var type = a.GetType();
        if (type.IsPrimitive || type.IsEnum || a is string or decimal || type.Namespace?.StartsWith("NodaTime", StringComparison.Ordinal) == true)
            return a.Equals(b) ? null : $"{place} is {a}, and {b}";
        if (a is IEnumerable these) return Difference(these, (IEnumerable)b, place);
        // Fields and not properties: a record's text and its computed members leave out what it keeps to itself.
        for (var declaring = type; declaring != typeof(object) && declaring is not null; declaring = declaring.BaseType)
            foreach (var field in declaring.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
                if (Difference(field.GetValue(a), field.GetValue(b), $"{place}.{NameOf(field)}".TrimStart('.')) is { } difference) return difference;
        return null;
    }

    private static string? Difference(IEnumerable a, IEnumerable b, string place)
    {
        var (these, those) = (a.Cast<object?>().ToList(), b.Cast<object?>().ToList());
        if (these.Count != those.Count) return $"{place} has {these.Count} entries, and {those.Count}";
        for (var i = 0; i < these.Count; i++)
            if (Difference(these[i], those[i], $"{place}[{i}]") is { } difference) return difference;
        return null;
    }

    /// <summary>The property's name, of the field that the compiler made for it.</summary>
    private static string NameOf(FieldInfo field) => field.Name.StartsWith('<') ? field.Name[1..field.Name.IndexOf('>')] : field.Name;
}
