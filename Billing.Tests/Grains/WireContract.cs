using System.Collections.Immutable;
using System.Reflection;
using Billing.Grains;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Grains;

/// <summary>
/// Everything that travels between processes in the Orleans build, as its marks have it. The marks are in both builds,
/// so that the build without Orleans knows what it would break.
/// </summary>
internal static class WireContract
{
    private static readonly Assembly[] Ours = [typeof(Command).Assembly, typeof(IOrganizationLedger).Assembly, typeof(LedgerSession).Assembly];

    /// <summary>What travels and is not ours, by the name that it has in the golden file.</summary>
    private static readonly Dictionary<Type, string> Others = new()
    {
        [typeof(bool)] = "bool", [typeof(byte)] = "byte", [typeof(int)] = "int", [typeof(long)] = "long", [typeof(decimal)] = "decimal", [typeof(string)] = "string",
        [typeof(Instant)] = "Instant", [typeof(Duration)] = "Duration", [typeof(Nullable<>)] = "Nullable", [typeof(ImmutableArray<>)] = "ImmutableArray",
        [typeof(IReadOnlyList<>)] = "IReadOnlyList", [typeof(IReadOnlyDictionary<,>)] = "IReadOnlyDictionary", [typeof(ValueTask<>)] = "ValueTask",
    };

    /// <summary>What the contract's calls take, give and throw, and what that is made of; and every other view.</summary>
    public static IReadOnlyList<Type> Types { get; } = Reachable();

    public static MethodInfo[] Calls { get; } = typeof(IOrganizationLedger).GetMethods();

    public static bool Has(MemberInfo member, string mark) => member.GetCustomAttributesData().Any(a => a.AttributeType.FullName == $"Orleans.{mark}Attribute");

    /// <summary>Its name on the wire, or null.</summary>
    public static string? Alias(MemberInfo member) => (string?)Argument(member, "Alias");

    /// <summary>The parameters of a record, which are numbered by their places.</summary>
    public static ParameterInfo[] Parameters(Type type)
    {
        if (type.GetMethod("<Clone>$") is null && !type.IsValueType || type.IsEnum) return [];
        var records = type.GetConstructors().Where(c => c.GetParameters().Length > 0 && c.GetParameters().All(p => type.GetProperty(p.Name!)?.PropertyType == p.ParameterType));
        return records.SingleOrDefault()?.GetParameters() ?? [];
    }

    /// <summary>Every other member that is stored, with its number or null.</summary>
    public static IEnumerable<(string Name, Type Type, uint? Id)> Members(Type type)
    {
        var parameters = Parameters(type).Select(p => p.Name).ToHashSet();
        foreach (var field in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
        {
            var name = field.Name.StartsWith('<') ? field.Name[1..field.Name.IndexOf('>')] : field.Name;
            if (parameters.Contains(name)) continue;
            MemberInfo member = (MemberInfo?)type.GetProperty(name) ?? field;
            yield return (name, field.FieldType, (uint?)Argument(member, "Id"));
        }
    }

    /// <summary>The golden file's blocks: a type, and what it is made of.</summary>
    public static SortedDictionary<string, List<string>> Blocks()
    {
        var blocks = new SortedDictionary<string, List<string>>(StringComparer.Ordinal)
        {
            [$"{Alias(typeof(IOrganizationLedger))} : interface"] =
                [.. Calls.Select(c => $"call {Alias(c)}({string.Join(", ", c.GetParameters().Select(p => $"{Name(p.ParameterType)} {p.Name}"))}) : {Name(c.ReturnType)}")],
        };
        foreach (var type in Types)
            blocks[type.IsEnum ? $"{Alias(type)} : enum {Enum.GetUnderlyingType(type).Name}" : $"{Alias(type)} : {Base(type)}"] = type.IsEnum
                ? [.. Enum.GetValues(type).Cast<object>().Select(v => $"value {Convert.ToInt64(v)} {v}")]
                :
                [
                    .. Parameters(type).Select(p => $"parameter {p.Position} {Name(p.ParameterType)} {p.Name}"),
                    .. Members(type).OrderBy(m => m.Id).Select(m => $"id {m.Id} {Name(m.Type)} {m.Name}"),
                ];
        return blocks;
    }

    private static string Base(Type type) => type.IsValueType ? "struct" : type.BaseType == typeof(object) ? "object" : Name(type.BaseType!);

    /// <summary>By aliases, so that a type may be renamed.</summary>
    private static string Name(Type type) => type switch
    {
        { IsArray: true } => $"{Name(type.GetElementType()!)}[]",
        { IsGenericType: true } when Nullable.GetUnderlyingType(type) is { } inner => $"{Name(inner)}?",
        { IsGenericType: true } => $"{Others.GetValueOrDefault(type.GetGenericTypeDefinition()) ?? throw Unknown(type)}<{string.Join(", ", type.GenericTypeArguments.Select(Name))}>",
        _ => Others.GetValueOrDefault(type) ?? Alias(type) ?? (type == typeof(Exception) ? nameof(Exception) : throw Unknown(type)),
    };

    private static InvalidOperationException Unknown(Type type) =>
        new($"{type} has no alias. If it is none of ours, it needs a codec in Billing.Ledger/Orleans and a name in {nameof(WireContract)}.");

    private static object? Argument(MemberInfo member, string mark) =>
        member.GetCustomAttributesData().FirstOrDefault(a => a.AttributeType.FullName == $"Orleans.{mark}Attribute")?.ConstructorArguments[0].Value;

    private static List<Type> Reachable()
    {
        var found = new HashSet<Type>();
        foreach (var call in typeof(IOrganizationLedger).GetMethods())
            foreach (var type in (Type[])[call.ReturnType, .. call.GetParameters().Select(p => p.ParameterType)]) Visit(type);
        // Views are made for answers, whether some call gives them yet or not.
        foreach (var type in typeof(IOrganizationLedger).Assembly.GetExportedTypes().Where(IsWritten))
            if (!type.IsInterface && !(type.IsAbstract && type.IsSealed)) Visit(type);
        foreach (var type in Ours.SelectMany(a => a.GetExportedTypes()).Where(t => IsWritten(t) && t.IsAssignableTo(typeof(Exception)))) Visit(type);
        return [.. found.OrderBy(t => t.Name, StringComparer.Ordinal)];

        void Visit(Type type)
        {
            if (type.IsArray) Visit(type.GetElementType()!);
            foreach (var argument in type.GenericTypeArguments) Visit(argument);
            if (type.IsArray || !Ours.Contains(type.Assembly) || !found.Add(type) || type.IsEnum) return;
            Visit(type.BaseType!);
            foreach (var parameter in Parameters(type)) Visit(parameter.ParameterType);
            foreach (var member in Members(type)) Visit(member.Type);
            if (!type.IsSealed)
                foreach (var derived in Ours.SelectMany(a => a.GetTypes()).Where(t => t != type && t.IsAssignableTo(type) && IsWritten(t))) Visit(derived);
        }
    }

    /// <summary>By us: Orleans generates types into the same assemblies.</summary>
    private static bool IsWritten(Type type) => type.Namespace?.StartsWith("Billing.", StringComparison.Ordinal) == true;
}
