// The marks of Orleans' serializer, for the build that has no Orleans: nothing reads them here but the test that finds what is not marked.
// Compiled into every project whose types travel between processes in the other build.
//
// The rules, for ever:
// - Whatever IOrganizationLedger takes, gives or throws, and whatever that is made of, has [GenerateSerializer, Alias("…"), Immutable] on a line of its own;
//   enums and exceptions are not [Immutable].
// - The alias is the type's name as it was when it first travelled. A type that is renamed keeps it.
// - A record's own parameters are numbered by their places: a new one goes to the end, and none is ever moved or taken out.
//   A record that had none stays without.
//   Every other member that is stored has an [Id], 0 and up within its own type; a new one has the next number, and no number is used again.
// - What an older process does not send reads as its type's default, whatever the member's initial value: let a new member mean "as before" by that.
// - The contract's calls have aliases too: their parameters are kept as a record's are.
// - Enums travel as their numbers: a new value goes to the end, or has a number of its own.
// What was ever there is in Billing.Tests/Orleans/wire.golden.txt.
namespace Orleans;

[AttributeUsage(AttributeTargets.Class | AttributeTargets.Struct | AttributeTargets.Enum)]
internal sealed class GenerateSerializerAttribute : Attribute;

/// <summary>The type's name on the wire.</summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Struct | AttributeTargets.Enum | AttributeTargets.Interface | AttributeTargets.Method)]
internal sealed class AliasAttribute(string alias) : Attribute
{
    public string Alias { get; } = alias;
}

/// <summary>The member's number on the wire.</summary>
[AttributeUsage(AttributeTargets.Property | AttributeTargets.Field)]
internal sealed class IdAttribute(uint id) : Attribute
{
    public uint Id { get; } = id;
}

/// <summary>It never changes, so that nothing is copied for a caller in the same process.</summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Struct | AttributeTargets.Property | AttributeTargets.Field)]
internal sealed class ImmutableAttribute : Attribute;
