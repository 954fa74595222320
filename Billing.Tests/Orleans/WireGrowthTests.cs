using Billing.Ledger;
using Microsoft.Extensions.DependencyInjection;
using NodaTime;
using Orleans.Serialization;

namespace Billing.Tests.Orleans;

/// <summary>While processes are replaced, those of two versions speak with each other: a type that has grown is read by those that know it smaller, and the other way.</summary>
public sealed class WireGrowthTests
{
    private static readonly Serializer Old = Speaking(typeof(OldNote), typeof(OldAuthor));
    private static readonly Serializer New = Speaking(typeof(NewNote), typeof(NewAuthor));

    [Fact]
    public void what_an_older_process_sends_has_nothing_in_the_new_members()
    {
        var arrived = (NewNote)New.Deserialize<object>(Old.SerializeToArray<object>(new OldNote("Hello", [new OldAuthor("Ann")], 7) { Color = "red" }));

        Assert.Equal(("Hello", 7, "red"), (arrived.Text, arrived.Pages, arrived.Color));
        Assert.Equal("Ann", Assert.Single(arrived.Authors).Name);
        // Not its initial value, because no constructor ran.
        Assert.Equal((null, default(Instant), null), (arrived.Source, arrived.WrittenAt, arrived.Tags));
        Assert.Equal((0, null), (arrived.Authors[0].Age, arrived.Authors[0].Known));
    }

    [Fact]
    public void what_a_newer_process_sends_is_read_without_what_is_not_known_yet()
    {
        var sent = new NewNote("Hello", [new NewAuthor("Ann", 30) { Known = [new Money(1, "usd")] }, new NewAuthor("Bob", 40)], 7, new Money(5, "usd"))
        {
            Color = "red", WrittenAt = Instant.MaxValue, Tags = ["a", "b"],
        };

        var arrived = (OldNote)Old.Deserialize<object>(New.SerializeToArray<object>(sent));

        Assert.Equal(("Hello", 7, "red"), (arrived.Text, arrived.Pages, arrived.Color));
        Assert.Equal(["Ann", "Bob"], arrived.Authors.Select(a => a.Name));
    }

    [Fact]
    public void a_type_without_parameters_may_get_members_with_numbers()
    {
        var old = Speaking(typeof(OldTick), typeof(OldAuthor));
        var grown = Speaking(typeof(NewTick), typeof(NewAuthor));

        Assert.Null(Assert.IsType<NewTick>(grown.Deserialize<object>(old.SerializeToArray<object>(new OldTick()))).Why);
        Assert.IsType<OldTick>(old.Deserialize<object>(grown.SerializeToArray<object>(new NewTick { Why = "Late" })));
    }

    /// <summary>Both types under the same names, each where it is the only one.</summary>
    private static Serializer Speaking(Type note, Type author) => new ServiceCollection().AddSerializer(builder =>
    {
        builder.AddAssembly(typeof(Command).Assembly);
        builder.AddAssembly(typeof(WireGrowthTests).Assembly);
        builder.Configure(manifest =>
        {
            foreach (var (alias, type) in manifest.WellKnownTypeAliases.ToList())
                if (type.Assembly == typeof(WireGrowthTests).Assembly) manifest.WellKnownTypeAliases.Remove(alias);
            manifest.WellKnownTypeAliases["Note"] = note;
            manifest.WellKnownTypeAliases["Author"] = author;
        });
    }).BuildServiceProvider().GetRequiredService<Serializer>();
}

[GenerateSerializer, Alias("OldNote"), Immutable]
public sealed record OldNote(string Text, IReadOnlyList<OldAuthor> Authors, int Pages)
{
    [Id(0)] public string? Color { get; init; }
}

[GenerateSerializer, Alias("NewNote"), Immutable]
public sealed record NewNote(string Text, IReadOnlyList<NewAuthor> Authors, int Pages, Money? Source)
{
    [Id(0)] public string? Color { get; init; }

    [Id(1)] public Instant WrittenAt { get; init; }

    [Id(2)] public IReadOnlyList<string> Tags { get; init; } = ["none"];
}

[GenerateSerializer, Alias("OldAuthor"), Immutable]
public sealed record OldAuthor(string Name);

[GenerateSerializer, Alias("NewAuthor"), Immutable]
public sealed record NewAuthor(string Name, int Age)
{
    [Id(0)] public IReadOnlyList<Money>? Known { get; init; }
}

[GenerateSerializer, Alias("OldTick"), Immutable]
public sealed record OldTick;

[GenerateSerializer, Alias("NewTick"), Immutable]
public sealed record NewTick
{
    [Id(0)] public string? Why { get; init; }
}
