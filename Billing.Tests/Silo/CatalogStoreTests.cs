using System.Text;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo;
using Billing.Silo.Storage.Sqlite;
using Billing.Tests.Grains;
using Microsoft.Extensions.Logging.Abstractions;
using NodaTime;

namespace Billing.Tests.Silo;

public sealed class CatalogStoreTests
{
    private static readonly Instant Now = Instant.FromUtc(2026, 11, 20, 10, 0);

    [Fact]
    public async Task what_was_counted_keeps_its_decimals_even_when_it_was_out_of_the_catalog_meanwhile()
    {
        var folder = Directory.CreateTempSubdirectory("billing-catalogs-").FullName;
        await using (var database = SqliteDatabase.Open(Path.Combine(folder, "ledger.db")))
        {
            var store = new CatalogStore(database, new CatalogDefaults());
            Assert.Empty(await store.Publish(Catalog("storage", 3), Now));
            Assert.Equal("$.features.storage.meter.decimals", Assert.Single(await store.Publish(Catalog("storage", 0), Now)).Path);

            Assert.Empty(await store.Publish(Catalog("other", 0), Now));
            Assert.Equal("$.features.storage.meter.decimals", Assert.Single(await store.Publish(Catalog("storage", 0), Now)).Path);
            Assert.Equal(2, store.Current.All.Length);
            Assert.Empty(await store.Publish(Catalog("storage", 3), Now));
        }
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task what_one_process_publishes_is_taken_up_by_the_others_and_an_outage_is_noticed_on_the_way()
    {
        var folder = Directory.CreateTempSubdirectory("billing-catalogs-").FullName;
        var database = SqliteDatabase.Open(Path.Combine(folder, "ledger.db"));
        var (one, other, time) = (new CatalogStore(database, new CatalogDefaults()), new CatalogStore(database, new CatalogDefaults()), new ManualTime());
        Assert.Empty(await one.Publish(Catalog("storage", 3), Now));
        var line = new FailingJournal(database.Journal);
        var journal = new WatchedJournal(line, new JournalHealth(line.Probe, TimeProvider.System));
        using var poll = new CatalogPoll(other, journal, time, NullLogger<CatalogPoll>.Instance);
        await poll.StartAsync(default);
        while (time.Waiting == 0) await Task.Yield();

        Assert.False(other.IsPublished);
        time.Advance(CatalogPoll.Every);
        while (!other.IsPublished) await Task.Yield();
        Assert.Empty(await one.Publish(Catalog("other", 0), Now));
        time.Advance(CatalogPoll.Every);
        while (other.Current.All.Length == 1) await Task.Yield();

        // Nobody asks the journal for anything, and still it is known within a round that it does not answer.
        line.Refuse();
        await database.DisposeAsync();
        Directory.Delete(folder, recursive: true);
        time.Advance(CatalogPoll.Every);
        while (!journal.Health.IsOut) await Task.Yield();
        Assert.Equal(2, other.Current.All.Length);
        await poll.StopAsync(default);
    }

    private static byte[] Catalog(string feature, int decimals) => Encoding.UTF8.GetBytes(
        $$"""
        {
          "currency": "usd",
          "fallback_plan": "free",
          "features": { "{{feature}}": { "name": "storage", "type": "metered", "meter": { "unit": "gb", "decimals": {{decimals}} } } },
          "plans": { "free": { "name": "Free", "features": { "{{feature}}": 1 } } }
        }
        """);
}
