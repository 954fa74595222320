using System.Security.Cryptography;
using System.Text;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo;
using Billing.Silo.Storage;
using NodaTime;

namespace Billing.Bench;

/// <summary>The organization that the books are measured on: 20 features, all used, and 5 token grants.</summary>
public static class Sample
{
    public const string Organization = "acme";
    public const int Features = 20, Grants = 5;

    public static readonly Instant Opened = Instant.FromUtc(2026, 11, 1, 0, 0);

    public static readonly Catalogs Catalogs = new([MakeCatalog()]);

    /// <summary>How many events of a stream come before its first use.</summary>
    public static int SetupEvents => Grants + 1;

    public static string Feature(int i) => $"feature-{i % Features:00}";

    /// <summary>Its events, a number of them, each with the state after it: opening, grants, then use of the features in turn.</summary>
    public static IEnumerable<(LedgerEvent Event, State State)> Events(int count)
    {
        var state = State.Empty(Organization);
        foreach (var command in Commands().Take(count))
        {
            var e = Decider.Decide(state, Catalogs, command, null).Events.Single();
            state = state.Evolve(e);
            yield return (e, state);
        }
    }

    /// <summary>The same events as a journal has them.</summary>
    /// <param name="organization">Whose they are.</param>
    /// <param name="withIds">Whether each has a command id, as callers make them: UUIDs that grow with time.</param>
    public static IEnumerable<(StoredEvent Event, State State)> Stored(string organization, IEnumerable<(LedgerEvent, State)> events, bool withIds)
    {
        var hash = HashChain.Start;
        foreach (var (e, state) in events)
        {
            var stored = withIds
                ? EventCodec.Default.Encode(organization, e, Guid.CreateVersion7(DateTimeOffset.UnixEpoch.AddMilliseconds(e.Version)).ToString(), SHA256.HashData(BitConverter.GetBytes(e.Version)), hash)
                : EventCodec.Default.Encode(organization, e, null, null, hash);
            hash = stored.Hash;
            yield return (stored, state);
        }
    }

    /// <summary>Writes a stream of so many events, and a snapshot that is as old as the service lets it become.</summary>
    public static async Task Write(Database database, int events)
    {
        var snapshotAt = Math.Max(1, events - Snapshots.EveryByDefault + 1);
        foreach (var group in Stored(Organization, Events(events), withIds: true).Chunk(JournalWriter.MaxGroupEvents))
        {
            var outcomes = await database.Journal.AppendGroup([new StreamAppend(Organization, group[0].Event.Version - 1, [.. group.Select(g => g.Event)], group[^1].State.WakeAt)]);
            if (outcomes[0] != AppendOutcome.Appended) throw new BenchException($"The stream could not be written: {outcomes[0]}.");
            foreach (var (e, state) in group.Where(g => g.Event.Version == snapshotAt))
                await new SnapshotStore(database, TimeProvider.System).Save([SnapshotCodec.Encode(state, e.Hash)]);
        }
    }

    /// <summary>Endless.</summary>
    private static IEnumerable<Command> Commands()
    {
        yield return new OpenOrganization("UTC", false, null) { Id = "open", ContentHash = [1], At = Opened };
        for (var i = 0; i < Grants; i++)
            yield return new GrantTokens(GrantKind.Granted, 1_000_000, 50, Opened + Duration.FromDays(300 + i), null) { Id = $"grant-{i}", ContentHash = [1], At = Opened };
        for (var i = 0; ; i++)
            yield return new RecordUsage(Feature(i), 1, null, null, true, null) { Id = "", ContentHash = [], At = Opened + Duration.FromMilliseconds(i) };
    }

    private static Catalog MakeCatalog()
    {
        var features = string.Join(",", Enumerable.Range(0, Features).Select(i =>
            $$"""
            "{{Feature(i)}}": { "name": "feature {{i}}", "type": "metered", "meter": { "unit": "call", "window": "month" }, "mode": "tokens_then_overage", "unit_price": "0.01" }
            """));
        var given = string.Join(",", Enumerable.Range(0, Features).Select(i => $"\"{Feature(i)}\": 100000000"));
        var json = $$"""{ "fallback_plan": "only", "features": { {{features}} }, "plans": { "only": { "name": "Only", "features": { {{given}} } } } }""";
        var (catalog, problems) = CatalogReader.Read(Encoding.UTF8.GetBytes(json));
        return problems.Count == 0 ? catalog! with { Version = 1 } : throw new BenchException(problems[0].ToString());
    }
}

/// <summary>A database with the sample's stream in it.</summary>
/// <param name="Subject">Its name in the report.</param>
/// <param name="Rows">The same database's table of events.</param>
public sealed record SampleDatabase(string Subject, Database Database, JournalReader Rows);
