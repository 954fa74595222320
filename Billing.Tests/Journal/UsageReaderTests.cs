using System.Text;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Journal;

/// <summary>Usage records have a reader of their own, because a long stream is made of them. It must make the same of every body.</summary>
public sealed class UsageReaderTests
{
    private static readonly Instant At = Instant.FromUtc(2026, 11, 20, 10, 0) + Duration.FromTicks(1_234_560);

    [Fact]
    public void every_combination_of_members_comes_back_as_it_was()
    {
        // Each bit sets one member; every body is read twice, with and without the windows of the one before at hand.
        for (var bits = 0; bits < 1 << 12; bits++)
        {
            var e = Event(bits);
            var stored = EventCodec.Default.Encode("acme", e, "c", new byte[32], HashChain.Start);
            for (var i = 0; i < 2; i++)
            {
                var decoded = EventCodec.Default.Decode(stored);
                Assert.Equal(stored.Body, EventCodec.Default.Encode("acme", decoded, "c", new byte[32], HashChain.Start).Body);
                Assert.Equal((e.Version, e.EffectiveAt, e.RecordedAt), (decoded.Version, decoded.EffectiveAt, decoded.RecordedAt));
            }
        }
    }

    [Theory]
    [InlineData("""{"quantity":1,"feature":"jobs","windows":[ {"start":"2026-11-20T00:00:00Z", "end":"2026-11-21T00:00:00Z","window":"day"} ]}""")]
    [InlineData("""{"feature":"j\u006fbs","quantity":1}""")]
    [InlineData("""{"fe\u0061ture":"jobs","quantity":1}""")]
    public void other_spellings_of_the_same_json_are_read_too(string body)
    {
        var decoded = Assert.IsType<UsageRecorded>(Decode(body));

        Assert.Equal(("jobs", 1L), (decoded.Feature, decoded.Quantity));
    }

    [Theory]
    [InlineData("""{"feature":"jobs","quantity":"1"}""")]
    [InlineData("""{"feature":"jobs","quantity":1.5}""")]
    [InlineData("""{"feature":"jobs","over_limit":1}""")]
    [InlineData("""{"feature":"jobs","quantity":1""")]
    [InlineData("""{"feature":"jobs","quantity":1}x""")]
    [InlineData("""[1]""")]
    public void what_is_no_usage_record_is_refused(string body) => Assert.ThrowsAny<Exception>(() => Decode(body));

    [Fact]
    public void ids_of_many_features_are_never_mixed_up()
    {
        for (var i = 0; i < 5_000; i++)
        {
            var feature = $"feature-{i}";
            Assert.Equal(feature, Assert.IsType<UsageRecorded>(Decode($$"""{"feature":"{{feature}}","quantity":1,"plan":"p{{i}}"}""")).Feature);
        }
    }

    private static LedgerEvent Decode(string body) =>
        EventCodec.Default.Decode(new StoredEvent("acme", 1, "usage-recorded", 2, At, At, null, null, Encoding.UTF8.GetBytes(body), new byte[32]));

    private static UsageRecorded Event(int bits)
    {
        return new UsageRecorded(
            "jobs", 60, 10, Has(1) ? 20 : 0, Has(2) ? 30 : 0, Has(3) ? 0.001250m : null, Has(4), Has(5) ? -70 : null, Has(6) ? [new GrantUse("tg_4", 40)] : null,
            Has(0) ? [new CountedWindow(Window.Day, At, At + Duration.FromHours((bits >> 4) + 1)), new CountedWindow(Window.Lifetime, At, Bounds.Never)] : null,
            Has(11) ? "pro" : null, 3, Has(7) ? new Dictionary<string, string> { ["model"] = "größer" } : null)
        {
            Version = bits + 1, EffectiveAt = At, RecordedAt = At,
            BilledAt = Has(8) ? At : null, Hold = Has(9) ? "ho_1" : null, Corrects = Has(10) ? "ur_1" : null, Tiers = Has(7) && Has(2) ? [new PricedUse(0.5m, 7)] : null,
        };

        bool Has(int bit) => (bits & (1 << bit)) != 0;
    }
}
