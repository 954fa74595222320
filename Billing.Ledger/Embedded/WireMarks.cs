// The marks of Orleans' serializer, for the build that has no Orleans: the compiler forgets them again.
// Compiled into every project whose types travel between processes in the other build.
using System.Diagnostics;

namespace Orleans;

[Conditional("ORLEANS"), AttributeUsage(AttributeTargets.Class | AttributeTargets.Struct | AttributeTargets.Enum)]
internal sealed class GenerateSerializerAttribute : Attribute;

/// <summary>The type's name on the wire, for ever.</summary>
[Conditional("ORLEANS"), AttributeUsage(AttributeTargets.Class | AttributeTargets.Struct | AttributeTargets.Enum | AttributeTargets.Interface | AttributeTargets.Method)]
internal sealed class AliasAttribute(string alias) : Attribute
{
    public string Alias { get; } = alias;
}

/// <summary>The member's number on the wire, for ever. A record's own parameters are numbered by their places.</summary>
[Conditional("ORLEANS"), AttributeUsage(AttributeTargets.Property | AttributeTargets.Field)]
internal sealed class IdAttribute(uint id) : Attribute
{
    public uint Id { get; } = id;
}

/// <summary>It never changes, so that nothing is copied for a caller in the same process.</summary>
[Conditional("ORLEANS"), AttributeUsage(AttributeTargets.Class | AttributeTargets.Struct | AttributeTargets.Property | AttributeTargets.Field)]
internal sealed class ImmutableAttribute : Attribute;
