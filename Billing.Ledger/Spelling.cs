using System.Collections.Frozen;
using System.Text.Json;

namespace Billing.Ledger;

/// <summary>Enum values as they are written outside: snake_case (<c>TokensThenOverage</c> is <c>tokens_then_overage</c>).</summary>
public static class Spelling
{
    public static string Of<T>(T value) where T : struct, Enum => Table<T>.Names[value];

    public static bool TryParse<T>(string text, out T value) where T : struct, Enum => Table<T>.Values.TryGetValue(text, out value);

    private static class Table<T> where T : struct, Enum
    {
        public static readonly FrozenDictionary<T, string> Names =
            Enum.GetValues<T>().ToFrozenDictionary(v => v, v => JsonNamingPolicy.SnakeCaseLower.ConvertName(v.ToString()));

        public static readonly FrozenDictionary<string, T> Values = Names.ToFrozenDictionary(n => n.Value, n => n.Key);
    }
}
