using System.Collections;
using System.Reflection;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Journal;

/// <summary>
/// Stored names and shapes are for ever. A golden file holds the exact body of one event with every field set; a change
/// of a file that is there is a change of what old journals mean. UPDATE_GOLDEN=1 writes the files of new events.
/// </summary>
public sealed class CodecTests
{
    private static readonly Instant At = Instant.FromUtc(2026, 11, 20, 10, 0) + Duration.FromTicks(1_234_560);
    private static readonly string Golden = Path.Combine(Repository.Root, "Billing.Tests", "Journal", "golden");

    /// <summary>One of each, with every field set to something that is not its default.</summary>
    private static readonly LedgerEvent[] Events =
    [
        new OrganizationOpened("Europe/Berlin", true, "pro", 3),
        new OrganizationClosed("Moved \"away\" – größer & <weiter> 🧾"),
        new CustomerLinked("cus_1"),
        new InvitationGiven("partners"),
        new SubscriptionChanged(
            new OperatorPlan("scale", 2, At - Duration.FromDays(1), At + Duration.FromDays(30)),
            new Subscription("sub_1", "pro", 3, SubscriptionStatus.PastDue, BillingInterval.Year, At - Duration.FromDays(9), At - Duration.FromDays(8),
                At + Duration.FromDays(357), At - Duration.FromDays(7), At + Duration.FromDays(7), true, At + Duration.FromDays(20), At - Duration.FromDays(2),
                At + Duration.FromDays(21), "cus_1", new SnapshotOrder(At - Duration.FromHours(1), SnapshotRank.Refetched, "evt_1"))
            {
                Kept = new KeptTerms("usd", true, new BaseCharge(999, At - Duration.FromDays(8), At + Duration.FromDays(357)),
                    new ScheduledChange("pro", 2, BillingInterval.Quarter), At + Duration.FromDays(3), At - Duration.FromDays(1)),
                Scheduled = new ScheduledChange("starter", 4, BillingInterval.Month),
            },
            At - Duration.FromMinutes(1), [new CountedWindow(Window.Period, At, At + Duration.FromDays(31))],
            [new ProratedLimit("jobs", Window.Month, At + Duration.FromDays(10), 1_000, 333)], "Promised by sales")
        {
            Change = SubscriptionChange.Upgraded, By = "key_1", BilledGauges = ["storage"],
        },
        new PaymentRecorded("in_1", "sub_1", true, 2, 1_999, "eur"),
        new PaymentVoided("in_1", "sub_1", "eur"),
        new UsageRecorded("jobs", 60, 10, 20, 30, 0.001250m, true, 70, [new GrantUse("tg_4", 40), new GrantUse("tg_9", 20)],
            [new CountedWindow(Window.Day, At, At + Duration.FromHours(14)), new CountedWindow(Window.Lifetime, At, Bounds.Never)], "pro", 3,
            new Dictionary<string, string> { ["model"] = "größer", ["Snake_and.CamelCase"] = "\"quoted\" <&> 🧮\n" })
        {
            Tiers = [new PricedUse(0.01m, 20), new PricedUse(0.005m, 10)], BilledAt = At + Duration.FromDays(11), Hold = "ho_5", Corrects = "ur_3",
        },
        new QuotaReset([new WindowReset("jobs", Window.Day, At - Duration.FromDays(1), 60, 10, 20, 30) { Covers = true, Limit = 500 }], "pro", 3),
        new TokensPurchased("starter", 100_000, 50, "pi_1", 2_500, "usd"),
        new TokensGranted(GrantKind.Promotional, 5_000, 10, At + Duration.FromDays(30), "Welcome"),
        new PurchaseDated("tg_4", "pi_1"),
        new TokensRevoked("tg_4", 70, 30, "pi_1"),
        new TokensExpired([new GrantUse("tg_4", 10), new GrantUse("tg_9", 20)]),
        new TimeZoneChanged("Asia/Tokyo", [new CountedWindow(Window.Day, At, At + Duration.FromDays(1))]),
        new ClockAdvanced(At + Duration.FromDays(31), 2_678_400_000_000),
        new OverrideSet("jobs", 5_000, At + Duration.FromDays(9), true, "Launch week", "key_1") { BilledAt = At + Duration.FromDays(11) },
        new UsageVoided("ur_7", "jobs", 60, 10, 20, 30, 5, [new PricedUse(0.001250m, 35)], [new TokenReturn("tg_4", 30, 6, 4)], 70,
            [new CountedWindow(Window.Day, At, At + Duration.FromHours(14))], "Counted twice", "key_1")
        {
            Peak = 90, BilledAt = At + Duration.FromDays(11),
        },
        new HoldPlaced("jobs", 60, 10, 20, 30, [new GrantUse("tg_4", 40)], At + Duration.FromMinutes(15), "pro", 3, new Dictionary<string, string> { ["job"] = "j1" }),
        new HoldEnded("ho_8", HoldOutcome.Expired) { Feature = "jobs", Grants = [new GrantUse("tg_4", 40)] },
        new TopUpConfigured(new TopUpTerms("starter", 1_000, 3, 5_000, 60), "key_1"),
        new TopUpRequested("starter", 100_000, 500, "usd"),
        new TopUpEnded("tu_9", "card_declined"),
        new TopUpSwitchedOff(3, "payments_failed"),
        new LinesAdded([Line], "Period end") { By = "key_1" },
        new LinesBilledAtStripe("in_1A", [Line]),
        new InvoiceCreated([Line], "usd", 125, 10, 9, new TaxTerms("Sales tax", 7.25m, true), new DiscountTerms(8.5m, 10, At + Duration.FromDays(99)) { Currency = "usd" }, 124, 4, 120,
            At - Duration.FromDays(30), At, "ls_3", true),
        new InvoiceFinalized("in_10", "INV-2026-11-acme-2", At + Duration.FromDays(15)),
        new InvoiceSettled("in_10", InvoiceStatus.Uncollectible, "pi_1", "Gone", "key_1"),
        new CreditGranted(500, "usd", "Sorry for the outage", "key_1"),
        new BillingTermsSet(new TaxTerms("VAT", 19, true), new DiscountTerms(10, 500, At + Duration.FromDays(365)) { Currency = "usd" }, "Annual deal", "key_1"),
        new SpendCapsSet(10_000, [new FeatureCap("jobs", 5_000)], "key_1"),
        new AlertRaised(AlertKind.TokensLow, "jobs", 80, Window.Day, At, At + Duration.FromHours(14), 80, 100),
    ];

    private static InvoiceLine Line => new(LineKind.Adjustment, "125 jobs", "jobs", "pro", 125.5m, 0.01m, 125, "usd", At - Duration.FromDays(30), At, ["ur_7"])
    {
        Discount = 10, Tax = 9, Tiers = [new PricedUse(0.01m, 125)],
    };

    public static TheoryData<string> Names => [.. EventCodec.Table.Select(t => t.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void a_golden_body_is_read_as_its_event_and_the_event_is_written_as_its_golden_body(string name)
    {
        var type = EventCodec.Table.Single(t => t.Name == name);
        var e = Example(type);
        var stored = EventCodec.Default.Encode("acme", e, "command", new byte[32], HashChain.Start);
        var file = Path.Combine(Golden, $"{type.Name}.{type.Schema}.json");
        if (Environment.GetEnvironmentVariable("UPDATE_GOLDEN") == "1") File.WriteAllBytes(file, stored.Body);
        Assert.True(File.Exists(file), $"{file} is missing. A new event or schema needs one: run the tests once with UPDATE_GOLDEN=1, and read what it writes.");
        var golden = File.ReadAllBytes(file);

        Assert.Equal(Encoding.UTF8.GetString(golden), Encoding.UTF8.GetString(stored.Body));
        Assert.Equal(golden, stored.Body);
        AssertSame(e, EventCodec.Default.Decode(stored with { Body = golden }), name);
        Assert.Equal((name, type.Schema, e.Version, e.EffectiveAt, e.RecordedAt), (stored.Type, stored.Schema, stored.Version, stored.EffectiveAt, stored.RecordedAt));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void a_golden_event_has_every_field_set(string name) => AssertSet(Example(EventCodec.Table.Single(t => t.Name == name)), name);

    [Fact]
    public void every_golden_file_is_of_an_event_and_schema_that_is_still_read()
    {
        foreach (var file in Directory.GetFiles(Golden))
        {
            var parts = Path.GetFileName(file).Split('.');
            Assert.True(parts is [_, _, "json"], $"{file} is not named {{event}}.{{schema}}.json.");
            var stored = Stored(parts[0], int.Parse(parts[1]), File.ReadAllText(file));
            Assert.Equal(1, EventCodec.Default.Decode(stored).Version);
        }
    }

    [Fact]
    public void the_table_names_every_event_of_the_ledger_once()
    {
        var events = typeof(LedgerEvent).Assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(LedgerEvent)) && !t.IsAbstract);

        Assert.Equal(events.Select(t => t.Name).Order(), EventCodec.Table.Select(t => t.Type.Name).Order());
        Assert.Equal(EventCodec.Table.Count, EventCodec.Table.Select(t => t.Name).Distinct().Count());
        Assert.All(EventCodec.Table, t => Assert.Matches("^[a-z]+(-[a-z]+)*$", t.Name));
        Assert.All(EventCodec.Table, t => Assert.True(t.Schema >= 1));
    }

    [Theory]
    [InlineData("usage-imagined", 1)]
    [InlineData("usage-recorded", 3)]
    [InlineData("UsageRecorded", 1)]
    [InlineData("usage-recorded", 0)]
    public void an_event_of_another_build_stops_the_reading_by_its_name(string type, int schema)
    {
        var unknown = Assert.Throws<UnknownEventException>(() => EventCodec.Default.Decode(Stored(type, schema, "{}") with { Version = 42 }));

        Assert.Contains("Event 42", unknown.Message, StringComparison.Ordinal);
        Assert.Contains("'acme'", unknown.Message, StringComparison.Ordinal);
        Assert.Contains($"'{type}' schema {schema}", unknown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void fields_that_are_absent_are_left_out_and_read_as_null()
    {
        var stored = EventCodec.Default.Encode("acme", new OrganizationOpened("UTC", false, null, 1) { Version = 1 }, null, null, HashChain.Start);

        Assert.Equal("""{"time_zone":"UTC","test":false,"catalog_version":1}""", Encoding.UTF8.GetString(stored.Body));
        Assert.Null(((OrganizationOpened)EventCodec.Default.Decode(stored)).Plan);
    }

    [Fact]
    public void an_old_schema_is_read_through_one_upcaster_after_another()
    {
        var codec = new EventCodec(
        [
            new("plan-noted", 3, typeof(PlanNoted), Json<PlanNoted>(), new Dictionary<int, Func<JsonObject, JsonObject>>
            {
                // Schema 1 had one text, schema 2 parted it, schema 3 counts seats.
                [1] = body => new() { ["plan"] = body["text"]!.GetValue<string>().Split('/')[0], ["interval"] = body["text"]!.GetValue<string>().Split('/')[1] },
                [2] = body =>
                {
                    body["seats"] = 1;
                    return body;
                },
            }),
        ]);

        Assert.Equal(Noted("pro", "year", 1), codec.Decode(Stored("plan-noted", 1, """{"text":"pro/year"}""")));
        Assert.Equal(Noted("pro", "year", 1), codec.Decode(Stored("plan-noted", 2, """{"plan":"pro","interval":"year"}""")));
        Assert.Equal(Noted("pro", "year", 5), codec.Decode(Stored("plan-noted", 3, """{"plan":"pro","interval":"year","seats":5}""")));
        Assert.Throws<UnknownEventException>(() => codec.Decode(Stored("plan-noted", 4, "{}")));
        Assert.Equal(3, codec.Encode("acme", Noted("pro", "year", 5), null, null, HashChain.Start).Schema);
    }

    [Fact]
    public void an_old_schema_without_its_upcaster_stops_the_reading()
    {
        var codec = new EventCodec([new("plan-noted", 3, typeof(PlanNoted), Json<PlanNoted>(), new Dictionary<int, Func<JsonObject, JsonObject>> { [2] = body => body })]);

        Assert.Throws<UnknownEventException>(() => codec.Decode(Stored("plan-noted", 1, "{}")));
    }

    private sealed record PlanNoted(string Plan, string Interval, int Seats) : LedgerEvent;

    private static PlanNoted Noted(string plan, string interval, int seats) => new(plan, interval, seats) { Version = 1, EffectiveAt = At, RecordedAt = At };

    private static JsonTypeInfo Json<T>() => new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, TypeInfoResolver = new DefaultJsonTypeInfoResolver(),
    }.GetTypeInfo(typeof(T));

    private static LedgerEvent Example(EventType type)
    {
        var example = Events.SingleOrDefault(e => e.GetType() == type.Type);
        Assert.True(example is not null, $"{nameof(CodecTests)}.{nameof(Events)} has no {type.Type.Name}.");
        return example with { Version = 7, EffectiveAt = At, RecordedAt = At + Duration.FromSeconds(1) };
    }

    private static StoredEvent Stored(string type, int schema, string body) => new("acme", 1, type, schema, At, At, null, null, Encoding.UTF8.GetBytes(body), []);

    /// <summary>As records compare, but arrays and dictionaries by what is in them.</summary>
    private static void AssertSame(object? expected, object? read, string place)
    {
        if (expected is IReadOnlyDictionary<string, string> pairs)
        {
            Assert.Equal(pairs.OrderBy(p => p.Key), Assert.IsAssignableFrom<IReadOnlyDictionary<string, string>>(read).OrderBy(p => p.Key));
        }
        else if (expected is Array items)
        {
            var others = Assert.IsAssignableFrom<Array>(read);
            Assert.True(items.Length == others.Length, $"{place} has {others.Length} instead of {items.Length}.");
            for (var i = 0; i < items.Length; i++) AssertSame(items.GetValue(i), others.GetValue(i), $"{place}[{i}]");
        }
        else if (expected is not null && IsOurs(expected.GetType()))
        {
            Assert.IsType(expected.GetType(), read);
            foreach (var property in Properties(expected.GetType())) AssertSame(property.GetValue(expected), property.GetValue(read), $"{place}.{property.Name}");
        }
        else
        {
            Assert.True(Equals(expected, read), $"{place} is {read} instead of {expected}.");
        }
    }

    private static void AssertSet(object value, string place)
    {
        foreach (var property in Properties(value.GetType()))
        {
            var held = property.GetValue(value);
            var where = $"{place}.{property.Name}";
            Assert.False(held is null || (held is ICollection { Count: 0 }), $"{where} is not set.");
            if (property.GetCustomAttribute<JsonIgnoreAttribute>() is not null) continue;
            Assert.False(held.GetType().IsValueType && held.Equals(Activator.CreateInstance(held.GetType())), $"{where} has its default, so that leaving it out would not show.");
            if (held is Array items) foreach (var item in items) AssertSet(item, where);
            else if (IsOurs(held.GetType())) AssertSet(held, where);
        }
    }

    private static bool IsOurs(Type type) => type.IsClass && type.Namespace?.StartsWith("Billing.", StringComparison.Ordinal) == true;

    private static PropertyInfo[] Properties(Type type) => [.. type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(p => p.GetIndexParameters().Length == 0)];
}
