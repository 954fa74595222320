using System.Text;
using Billing.Ledger;
using Billing.Silo;
using Billing.Silo.Storage.Sqlite;
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
