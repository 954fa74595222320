using System.Security.Cryptography;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo.Storage;
using Dapper;
using NodaTime;

namespace Billing.Silo;

/// <summary>Every catalog that was ever published, because subscriptions keep the version that they were sold.</summary>
public sealed class CatalogStore(Database database, CatalogDefaults defaults)
{
    private sealed record Published(Catalogs Catalogs, IReadOnlyList<long> At);

    private Published? published;

    /// <summary>The catalogs as they are now.</summary>
    public Catalogs Current => Now.Catalogs;

    /// <summary>The catalogs as they were at some time; before the first was published, with that one.</summary>
    public Catalogs AsOf(Instant time)
    {
        var (catalogs, at) = Now;
        return catalogs.UpTo(at.Count(micros => micros <= Micros.Of(time)));
    }

    private Published Now => Volatile.Read(ref published) ?? throw new InvalidOperationException("No catalog is published yet.");

    /// <summary>Reads what was published. Nothing is written.</summary>
    public async Task<Catalogs> Load()
    {
        var rows = await Rows();
        if (rows.Count == 0) throw new InvalidDataException("No catalog was ever published here.");
        Keep(rows);
        return Current;
    }

    /// <summary>Takes up what another process published since.</summary>
    public async Task Refresh()
    {
        var count = await database.Read(c => c.ExecuteScalar<long>("SELECT count(*) FROM catalogs"));
        if (count > 0 && count != Volatile.Read(ref published)?.At.Count) Keep(await Rows());
    }

    /// <summary>Whether any catalog was published, as far as this process knows.</summary>
    public bool IsPublished => Volatile.Read(ref published) is not null;

    /// <summary>Makes this content the current version. Content that is current already stays the version that it is.</summary>
    /// <returns>What is wrong with it; empty when it was published.</returns>
    public async Task<IReadOnlyList<CatalogProblem>> Publish(byte[] json, Instant now)
    {
        var (catalog, problems) = CatalogReader.Read(json, defaults);
        if (catalog is null) return problems;
        var hash = SHA256.HashData(json);
        while (true)
        {
            var rows = await Rows();
            if (rows.Count > 0 && SHA256.HashData(rows[^1].Json).AsSpan().SequenceEqual(hash))
            {
                Keep(rows);
                return [];
            }
            if (Changed([.. rows.Select((row, i) => Parse(row.Json, i + 1))], catalog) is { Count: > 0 } changed) return changed;
            // Another process may publish at the same time: then what it published is looked at, too.
            await database.Write(c => c.Execute(
                "INSERT INTO catalogs (version, content_hash, json, published_at) VALUES (@version, @hash, @json, @now) ON CONFLICT (version) DO NOTHING",
                new { version = rows.Count + 1, hash, json, now = Micros.Of(now) }));
        }
    }

    /// <summary>When each version was published, version 1 first.</summary>
    public IReadOnlyList<Instant> PublishedAt => [.. Now.At.Select(Micros.ToInstant)];

    private Task<List<(byte[] Json, long PublishedAt)>> Rows() =>
        database.Read(c => c.Query<(byte[], long)>("SELECT json, published_at FROM catalogs ORDER BY version").AsList());

    private void Keep(List<(byte[] Json, long PublishedAt)> rows) =>
        Volatile.Write(ref published, new Published(new Catalogs(rows.Select((row, i) => Parse(row.Json, i + 1))), rows.ConvertAll(r => r.PublishedAt)));

    private Catalog Parse(byte[] json, int version)
    {
        var (catalog, problems) = CatalogReader.Read(json, defaults);
        return catalog is null
            ? throw new InvalidDataException($"Version {version} of the catalog in the database cannot be read: {string.Join("; ", problems)}")
            : catalog with { Version = version };
    }

    /// <summary>What is counted stays counted in the same way and with the same decimals: numbers in the journal would change their meaning.</summary>
    private static List<CatalogProblem> Changed(List<Catalog> before, Catalog after)
    {
        var problems = new List<CatalogProblem>();
        foreach (var feature in after.Features)
        {
            // As it last was: a feature may have been out of the catalog meanwhile.
            if (before.Select(c => c.Feature(feature.Id)?.Meter).LastOrDefault(m => m is not null) is not { } was || feature.Meter is not { } now) continue;
            if (was.Decimals != now.Decimals)
                problems.Add(new($"$.features.{feature.Id}.meter.decimals", $"It was {was.Decimals} when use was recorded and cannot change. Add a new feature instead."));
            if (was.Aggregation != now.Aggregation)
                problems.Add(new($"$.features.{feature.Id}.meter.aggregation", $"It was {Spelling.Of(was.Aggregation)} when use was recorded and cannot change. Add a new feature instead."));
        }
        return problems;
    }
}
