using System.Collections.Immutable;
using System.Reflection;
using System.Runtime.CompilerServices;
using NodaTime;

namespace Billing.Tests.Journal;

/// <summary>Makes values of any type of the state with something in every member, likely or not.</summary>
internal sealed class StateFiller(int seed)
{
    private static readonly string[] Texts = ["", "calls", "calls", "tg_12", "größe 🧾", "a\0b", new string('x', 300)];

    private readonly Random random = new(seed);

    public T Make<T>() => (T)Make(typeof(T), 0)!;

    private object? Make(Type type, int depth)
    {
        if (type == typeof(bool)) return random.Next(2) == 0;
        if (type == typeof(int)) return Of(0, 1, -1, int.MaxValue, int.MinValue, random.Next());
        if (type == typeof(long)) return Of(0, 1, -1, 63, 64, -64, -65, long.MaxValue, long.MinValue, random.NextInt64());
        if (type == typeof(decimal)) return Of(0m, 1m, 1.0m, 1.000m, -0.0m, 0.001250m, decimal.MaxValue, decimal.MinValue, 0.0000000000000000000000000001m);
        if (type == typeof(string)) return random.Next(8) == 0 ? null : Of(Texts);
        if (type.IsEnum) return type.GetEnumValues() is var values ? values.GetValue(random.Next(values.Length)) : null;
        if (type == typeof(Instant)) return Of(Instant.MinValue, Instant.MaxValue, default, Instant.FromUnixTimeTicks(random.NextInt64(1, 1L << 55)), Instant.FromUtc(2026, 1, 1, 0, 0).PlusNanoseconds(1));
        if (type == typeof(Duration)) return Of(Duration.Zero, Duration.MinValue, Duration.MaxValue, Duration.FromNanoseconds(random.NextInt64(-5_000_000, 5_000_000)));
        if (type == typeof(LocalDateTime)) return Of(default, new LocalDateTime(2000, 1, 1, 0, 0), new LocalDateTime(2026, 2, 28, 23, 59, 59).PlusNanoseconds(7));
        if (type == typeof(DateTimeZone)) return Of(DateTimeZone.Utc, DateTimeZoneProviders.Tzdb["UTC"], DateTimeZoneProviders.Tzdb["Europe/Berlin"], DateTimeZoneProviders.Tzdb["UTC+03"]);
        if (Nullable.GetUnderlyingType(type) is { } inner) return random.Next(3) == 0 ? null : Make(inner, depth);
        if (!type.IsValueType && depth > 0 && (random.Next(6) == 0 || depth > 8)) return null;
        if (type == typeof(IReadOnlyDictionary<string, string>)) return Enumerable.Range(0, random.Next(4)).ToDictionary(i => $"k{i}", _ => Of("", "v", "größe"));
        if (type.IsSZArray) return Several(type.GetElementType()!, depth);
        if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(ImmutableArray<>))
            return typeof(ImmutableArray).GetMethods().Single(m => m.Name == "Create" && m.GetParameters() is [{ ParameterType.IsSZArray: true, Name: "items" }])
                .MakeGenericMethod(type.GenericTypeArguments).Invoke(null, [Several(type.GenericTypeArguments[0], depth)]);
        var value = RuntimeHelpers.GetUninitializedObject(type);
        foreach (var field in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic)) field.SetValue(value, Make(field.FieldType, depth + 1));
        return value;
    }

    private Array Several(Type type, int depth)
    {
        var array = Array.CreateInstance(type, random.Next(4));
        for (var i = 0; i < array.Length; i++) array.SetValue(Make(type, depth + 1), i);
        return array;
    }

    private T Of<T>(params T[] values) => values[random.Next(values.Length)];
}
