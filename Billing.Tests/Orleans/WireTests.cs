using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Collections.ObjectModel;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Tests.Grains;
using Microsoft.Extensions.DependencyInjection;
using NodaTime;
using Orleans.Serialization;

namespace Billing.Tests.Orleans;

/// <summary>
/// What travels between processes arrives as it was sent, from processes of older versions too: their bytes are kept in a golden file.
/// What the marks promise is in WireMarkTests; how a type may grow, in WireGrowthTests.
/// </summary>
public sealed class WireTests
{
    private static readonly string Golden = Path.Combine(Repository.Root, "Billing.Tests", "Orleans", "wire.bytes.golden.txt");

    private static readonly ServiceProvider Services = Wire.Services();
    private static readonly Serializer Serializer = Services.GetRequiredService<Serializer>();

    /// <summary>Commands, events, and whatever answers are made of.</summary>
    private static readonly Dictionary<string, Type> Messages = WireContract.Types
        .Where(t => !t.IsEnum && !t.IsAbstract && !t.IsAssignableTo(typeof(Exception)))
        .Where(t => t.IsAssignableTo(typeof(Command)) || t.IsAssignableTo(typeof(LedgerEvent)) || t.Assembly == typeof(CommandResult).Assembly)
        .ToDictionary(t => WireContract.Alias(t)!);

    public static TheoryData<string> Names => [.. Messages.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void it_arrives_as_it_was_sent(string name)
    {
        var sent = WireSamples.Of(Messages[name]);

        var arrived = Arrived(sent);

        Assert.IsType(sent.GetType(), arrived);
        Assert.Equal(WireSamples.Text(sent), WireSamples.Text(arrived));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void it_arrives_when_there_is_nothing_in_it(string name)
    {
        var nothing = System.Runtime.CompilerServices.RuntimeHelpers.GetUninitializedObject(Messages[name]);

        Assert.Equal($"{name}()", WireSamples.Text(Arrived(nothing)));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void what_older_processes_send_is_understood_and_what_is_sent_to_them_is_written_alike(string name)
    {
        var sample = WireSamples.Of(Messages[name]);
        var (bytes, text) = (Convert.ToHexStringLower(Serializer.SerializeToArray(sample)), WireSamples.Text(sample));
        if (Environment.GetEnvironmentVariable("UPDATE_GOLDEN") == "1" && !Read(name).Any(g => g.Text == text)) File.AppendAllLines(Golden, [$"{name} {bytes}", $"  {text}"]);
        var golden = Read(name);

        foreach (var old in golden) Assert.Equal(old.Text, WireSamples.Text(Serializer.Deserialize<object>(Convert.FromHexString(old.Bytes))));
        Assert.True(golden.Any(g => g.Text == text), $"{name} is new, or something in it is. Run this with UPDATE_GOLDEN=1: the bytes that it adds must be understood for ever.");
        Assert.Equal(golden.Last(g => g.Text == text).Bytes, bytes);
    }

    [Fact]
    public void whatever_is_sent_within_a_process_is_not_copied()
    {
        foreach (var message in Messages.Values.Where(t => !t.IsValueType).Select(WireSamples.Of)) Assert.Same(message, Copied(message));
        var command = (Command)WireSamples.Of(typeof(RecordUsage));
        var check = new CheckResult((EntitlementView)WireSamples.Of(typeof(EntitlementView)), null);

        Assert.Same(command, Copied(command));
        Assert.Same(command, Assert.Single(Copied<IReadOnlyList<Command>>([command])));
        Assert.Same(check.Entitlement, Copied(check).Entitlement);
    }

    public static TheoryData<string> Lists => [.. ListsOf("a", "b").Keys];

    [Theory]
    [MemberData(nameof(Lists))]
    public void lists_arrive_however_they_were_made(string how)
    {
        var texts = ListsOf("a", "b")[how];
        var events = ListsOf<LedgerEvent>(new CreditGranted(1, "usd", null, null), new OrganizationClosed("Gone"))[how];
        var commands = ListsOf<Command>(new WriteDue { Id = "1", ContentHash = [1], At = default }, new GrantCredit(5, null) { Id = "2", ContentHash = [2], At = default })[how];
        var money = ListsOf(new Money(1, "usd"), new Money(2, "eur"))[how];

        Assert.Equal(texts, ((PendingLinesView)Arrived(new PendingLinesView(texts, false, false, false, false, texts))).Customers);
        Assert.Equal(events, ((CommandResult)Arrived(new CommandResult(events, false, null))).Events);
        Assert.Equal(money, ((BillingTermsView)Arrived(new BillingTermsView(null, "none", null, money))).Credits);
        // As an argument and as an answer, where the list itself is what travels.
        Assert.Equal(WireSamples.Text(commands), WireSamples.Text(Serializer.Deserialize<IReadOnlyList<Command>>(Serializer.SerializeToArray(commands))));
        Assert.Equal(commands, Copied(commands));
    }

    [Fact]
    public void metadata_arrives_in_whatever_dictionary_it_is()
    {
        var plain = new Dictionary<string, string> { ["b"] = "2", ["a"] = "1" };
        IReadOnlyDictionary<string, string>?[] all =
        [
            plain, new Dictionary<string, string>(plain, StringComparer.Ordinal), new Dictionary<string, string>(), new SortedDictionary<string, string>(plain), plain.ToFrozenDictionary(),
            plain.ToFrozenDictionary(StringComparer.Ordinal), plain.ToImmutableDictionary(), new ReadOnlyDictionary<string, string>(plain), FrozenDictionary<string, string>.Empty, null,
        ];
        foreach (var metadata in all)
        {
            var arrived = (PlaceHold)Arrived(new PlaceHold("jobs", 1, Duration.FromMinutes(1), metadata) { Id = "1", ContentHash = [1], At = default });

            Assert.Equal(metadata?.OrderBy(p => p.Key), arrived.Metadata?.OrderBy(p => p.Key));
        }
    }

    [Fact]
    public void times_arrive_to_the_nanosecond_from_one_end_of_time_to_the_other()
    {
        var century = Duration.FromDays(200 * 365);
        foreach (var (edge, from) in from e in (Instant[])[NodaConstants.UnixEpoch, NodaConstants.UnixEpoch + century, NodaConstants.UnixEpoch - century, Instant.FromUtc(2026, 11, 20, 10, 0), Bounds.Never]
                                     from n in (long[])[-1_000_000_000, -100, -1, 0, 1, 99]
                                     where e != Bounds.Never || n <= 0
                                     select (e.PlusNanoseconds(n), e))
        {
            Assert.Equal(edge, Serializer.Deserialize<Instant>(Serializer.SerializeToArray(edge)));
            Assert.Equal(edge, Serializer.Deserialize<Instant?>(Serializer.SerializeToArray<Instant?>(edge)));
            Assert.Equal(edge - NodaConstants.UnixEpoch, Serializer.Deserialize<Duration>(Serializer.SerializeToArray(edge - NodaConstants.UnixEpoch)));
        }
        foreach (var end in (Instant[])[Instant.MinValue, Instant.MaxValue, default]) Assert.Equal(end, Serializer.Deserialize<Instant>(Serializer.SerializeToArray(end)));
        foreach (var end in (Duration[])[Duration.MinValue, Duration.MaxValue, default]) Assert.Equal(end, Serializer.Deserialize<Duration>(Serializer.SerializeToArray(end)));
        Assert.Null(Serializer.Deserialize<Instant?>(Serializer.SerializeToArray<Instant?>(null)));
        Assert.InRange(Serializer.SerializeToArray(Instant.FromUtc(2026, 11, 20, 10, 0)).Length, 9, 10);
    }

    [Fact]
    public void what_grains_throw_arrives_as_what_it_is_with_its_words()
    {
        var stored = new StoredEvent("acme", 7, "usage-imagined", 2, default, default, null, null, [], []);
        Exception[] thrown =
        [
            new JournalUnavailableException("It did not say.", new TimeoutException("Too long.")), new JournalUnavailableException(), new BooksDoNotCloseException("acme", "tg_4 has -1."),
            new DamagedEventException(7, "No time."), new DamagedEventException(null, "No line."), new ArchivedEventException(stored), new UnknownEventException(stored),
            new InvalidOperationException("Something else."),
        ];
        Assert.All(WireContract.Types.Where(t => t.IsAssignableTo(typeof(Exception))), t => Assert.Contains(thrown, e => e.GetType() == t));
        foreach (var exception in thrown)
        {
            var arrived = Serializer.Deserialize<Exception>(Serializer.SerializeToArray(exception));

            Assert.IsType(exception.GetType(), arrived);
            Assert.Equal(exception.Message, arrived.Message);
            Assert.Equal((exception.InnerException?.GetType(), exception.InnerException?.Message), (arrived.InnerException?.GetType(), arrived.InnerException?.Message));
            if (exception is DamagedEventException damaged) Assert.Equal(damaged.Version, ((DamagedEventException)arrived).Version);
        }
    }

    private static object Arrived(object sent) => Serializer.Deserialize<object>(Serializer.SerializeToArray(sent));

    /// <summary>As arguments and answers are, by the types of the contract.</summary>
    private static T Copied<T>(T sent) => Services.GetRequiredService<DeepCopier<T>>().Copy(sent);

    /// <summary>Lists as the compiler, the framework and callers make them.</summary>
    private static Dictionary<string, IReadOnlyList<T>> ListsOf<T>(T one, T two)
    {
        ImmutableArray<T> immutable = [one, two];
        T[] array = [one, two];
        List<T> list = [one, two];
        return new()
        {
            ["one element"] = [one], ["two elements"] = [one, two], ["spread"] = [.. array.Where(_ => true)], ["spread and one"] = [one, .. list], ["empty"] = [], ["array"] = array,
            ["list"] = list, ["immutable"] = immutable, ["empty immutable"] = ImmutableArray<T>.Empty, ["immutable list"] = ImmutableList.Create(one, two), ["read-only list"] = list.AsReadOnly(),
            ["part of an array"] = new ArraySegment<T>(array, 1, 1), ["queried"] = array.Select(x => x).ToArray(),
        };
    }

    private static List<(string Bytes, string Text)> Read(string name)
    {
        var lines = File.Exists(Golden) ? File.ReadAllLines(Golden) : [];
        return [.. lines.Index().Where(l => l.Item.StartsWith($"{name} ", StringComparison.Ordinal)).Select(l => (l.Item[(name.Length + 1)..], lines[l.Index + 1][2..]))];
    }
}

/// <summary>The serializer as the service has it, without a cluster around it.</summary>
internal static class Wire
{
    public static ServiceProvider Services() => new ServiceCollection().AddSerializer(builder =>
    {
        builder.AddAssembly(typeof(Command).Assembly);
        builder.AddAssembly(typeof(CommandResult).Assembly);
        builder.AddAssembly(typeof(LedgerSession).Assembly);
    }).BuildServiceProvider();
}
