using System.Collections;
using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Billing.Ledger;
using Billing.Tests.Grains;
using NodaTime;
using NodaTime.Text;

namespace Billing.Tests.Orleans;

/// <summary>A value of any type that travels, with something in every member: the same one for ever, because it is made of the members' names.</summary>
internal static class WireSamples
{
    private static readonly JsonSerializerOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private static readonly Instant At = Instant.FromUtc(2026, 11, 20, 10, 0);

    public static object Of(Type type) => Make(type, type.Name);

    /// <summary>What is in it. A member that has its type's default is left out, as if it were not there yet.</summary>
    public static string Text(object? value)
    {
        var text = new StringBuilder();
        Write(text, value);
        return text.ToString();
    }

    private static object Make(Type type, string name)
    {
        var number = name.Sum(c => c);
        if (Nullable.GetUnderlyingType(type) is { } inner) return Make(inner, name);
        if (type == typeof(string)) return $"{name} ü";
        if (type == typeof(bool)) return true;
        if (type == typeof(byte)) return (byte)(number % 251);
        if (type == typeof(int)) return number;
        if (type == typeof(long)) return number * 10_000_000_000L;
        if (type == typeof(decimal)) return number + 0.500m;
        if (type == typeof(Instant)) return At.PlusNanoseconds(number * 1_001L);
        if (type == typeof(Duration)) return Duration.FromNanoseconds(number * 1_001L);
        if (type.IsEnum) return type.GetEnumValues().GetValue(1)!;
        if (type == typeof(IReadOnlyDictionary<string, string>)) return new Dictionary<string, string> { [name] = "größe 🧾" };
        if (type == typeof(IReadOnlyDictionary<string, long>)) return new Dictionary<string, long> { [name] = number };
        if (type.IsArray) return Several(type.GetElementType()!, name);
        if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(IReadOnlyList<>)) return Several(type.GenericTypeArguments[0], name);
        if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(ImmutableArray<>))
            return typeof(ImmutableArray).GetMethods().Single(m => m.Name == "Create" && m.GetParameters() is [{ ParameterType.IsSZArray: true, Name: "items" }])
                .MakeGenericMethod(type.GenericTypeArguments).Invoke(null, [Several(type.GenericTypeArguments[0], name)])!;
        if (type == typeof(LedgerEvent)) type = typeof(CreditGranted);

        var parameters = WireContract.Parameters(type);
        var value = parameters.Length == 0
            ? Activator.CreateInstance(type)!
            : type.GetConstructor([.. parameters.Select(p => p.ParameterType)])!.Invoke([.. parameters.Select(p => Make(p.ParameterType, p.Name!))]);
        for (var of = type; of != typeof(object) && of != typeof(ValueType); of = of.BaseType!)
            foreach (var member in WireContract.Members(of)) of.GetProperty(member.Name)!.SetValue(value, Make(member.Type, member.Name));
        return value;
    }

    private static Array Several(Type type, string name)
    {
        var array = Array.CreateInstance(type, type.Namespace == "System" ? 2 : 1);
        for (var i = 0; i < array.Length; i++) array.SetValue(Make(type, $"{name}{i}"), i);
        return array;
    }

    private static void Write(StringBuilder text, object? value)
    {
        switch (value)
        {
            case null: text.Append("null"); break;
            case string words: text.Append(JsonSerializer.Serialize(words, Plain)); break;
            case Instant at: text.Append(InstantPattern.ExtendedIso.Format(at)); break;
            case byte[] bytes: text.Append(Convert.ToHexStringLower(bytes)); break;
            case bool or Enum or Duration or decimal or int or long: text.Append(CultureInfo.InvariantCulture, $"{value}"); break;
            case IDictionary pairs:
                Join(text, "{}", pairs.Keys.Cast<string>(), key => text.Append(CultureInfo.InvariantCulture, $"{JsonSerializer.Serialize(key, Plain)}: {JsonSerializer.Serialize(pairs[key], Plain)}"));
                break;
            case IEnumerable items: Join(text, "[]", items.Cast<object?>(), item => Write(text, item)); break;
            default:
                text.Append(WireContract.Alias(value.GetType()));
                Join(text, "()", Stored(value), m =>
                {
                    text.Append(m.Name).Append(": ");
                    Write(text, m.Value);
                });
                break;
        }
    }

    /// <summary>The members that have something, those of its base first.</summary>
    private static IEnumerable<(string Name, object? Value)> Stored(object value)
    {
        var types = new Stack<Type>();
        for (var of = value.GetType(); of is not null && WireContract.Alias(of) is not null; of = of.BaseType) types.Push(of);
        return from of in types
               from name in WireContract.Parameters(of).Select(p => p.Name!).Concat(WireContract.Members(of).OrderBy(m => m.Id).Select(m => m.Name))
               let held = of.GetProperty(name)!.GetValue(value)
               where held is not null && !(held.GetType().IsValueType && held.Equals(Activator.CreateInstance(held.GetType())))
               select (name, held);
    }

    private static void Join<T>(StringBuilder text, string around, IEnumerable<T> items, Action<T> write)
    {
        text.Append(around[0]);
        foreach (var (place, item) in items.Index())
        {
            if (place > 0) text.Append(", ");
            write(item);
        }
        text.Append(around[1]);
    }
}
