using System.Security.Cryptography;
using System.Text;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Ledger;

/// <summary>Given commands that went before, when a command comes, then these events, or this rejection.</summary>
internal sealed class Spec(Catalogs catalogs)
{
    private static int ids;

    private Catalogs catalogs = catalogs;

    private Decision last = Decision.AlreadyDone;

    public State State { get; private set; } = State.Empty("acme");

    public List<LedgerEvent> Events { get; } = [];

    public Instant Now { get; private set; } = Instant.FromUtc(2026, 11, 20, 10, 0);

    /// <summary>An organization opened just now on a catalog of the given content.</summary>
    public static Spec Opened(string catalog, string? plan = null, string zone = "UTC", string at = "2026-11-20T10:00:00Z") =>
        new Spec(Catalogs(catalog)).At(at).Given(new OpenOrganization(zone, false, plan) { Id = "open", ContentHash = [1], At = default });

    public static Catalogs Catalogs(params string[] versions) => new(versions.Select((json, i) =>
    {
        var (catalog, problems) = CatalogReader.Read(Encoding.UTF8.GetBytes(json));
        Assert.Empty(problems);
        return catalog! with { Version = i + 1 };
    }));

    /// <summary>From now on with these versions of the catalog.</summary>
    public Spec On(Catalogs versions)
    {
        catalogs = versions;
        return this;
    }

    public Spec At(string time)
    {
        Now = Api.TestApi.Time(time);
        return this;
    }

    public Spec After(Duration by)
    {
        Now += by;
        return this;
    }

    /// <summary>Commands that must succeed.</summary>
    public Spec Given(params Command[] commands)
    {
        foreach (var command in commands)
        {
            When(command);
            Assert.True(last.Rejection is null, last.Rejection?.Message);
        }
        return this;
    }

    public Spec When(Command command)
    {
        last = Decider.Decide(State, catalogs, command with { At = Now }, null);
        foreach (var e in last.Events)
        {
            State = State.Evolve(e);
            Events.Add(e);
            Assert.Null(Invariants.Broken(State));
            Assert.Equal(Events.Count, State.Version);
        }
        return this;
    }

    /// <summary>The events, compared by what would be stored of them.</summary>
    public Spec Then(params LedgerEvent[] expected)
    {
        Assert.Null(last.Rejection);
        Assert.Equal(expected.Select(Text), last.Events.Select(Text));
        return this;
    }

    public Spec ThenNothing()
    {
        Assert.Null(last.Rejection);
        Assert.Empty(last.Events);
        return this;
    }

    /// <summary>What the last decision wrote of this kind.</summary>
    public IReadOnlyList<T> Wrote<T>() where T : LedgerEvent
    {
        Assert.True(last.Rejection is null, last.Rejection?.Message);
        return [.. last.Events.OfType<T>()];
    }

    public T Then<T>() where T : LedgerEvent
    {
        Assert.True(last.Rejection is null, last.Rejection?.Message);
        return last.Events.OfType<T>().Single();
    }

    public Rejection ThenRejected(RejectionKind kind)
    {
        Assert.Equal(kind, last.Rejection?.Kind);
        Assert.Empty(last.Events);
        return last.Rejection!;
    }

    public Entitlement Check(string feature, long? units = null) => Entitlements.Evaluate(State, catalogs, catalogs.Feature(feature)!, units, State.Now(Now));

    public PlanInForce InForce => Subscriptions.InForce(State, catalogs, State.Now(Now));

    // ---- commands, with an id of their own

    public static RecordUsage Use(string feature, decimal quantity = 1, Instant? timestamp = null, bool enforce = true, string? unit = null) =>
        New(new RecordUsage(feature, quantity, unit, timestamp, enforce, null) { Id = "", ContentHash = [], At = default });

    public static GrantTokens Grant(long tokens, int priority = 50, Instant? expires = null, GrantKind kind = GrantKind.Granted) =>
        New(new GrantTokens(kind, tokens, priority, expires, null) { Id = "", ContentHash = [], At = default });

    public static PurchaseTokens Buy(string package, string payment, long amount, Instant at) =>
        New(new PurchaseTokens(package, payment, amount, "usd", at) { Id = "", ContentHash = [], At = default });

    public static ReturnMoney Return(string payment, long total) => New(new ReturnMoney(payment, total) { Id = "", ContentHash = [], At = default });

    public static ConfigureTopUp TopUp(TopUpTerms? terms) => New(new ConfigureTopUp(terms) { Id = "", ContentHash = [], At = default, By = "key_1" });

    public static FailTopUp Fail(string topUp, string failure = "card_declined") => New(new FailTopUp(topUp, failure) { Id = "", ContentHash = [], At = default });

    /// <summary>What a timer sends.</summary>
    public static WriteDue Due() => New(new WriteDue { Id = "", ContentHash = [], At = default });

    public static SetPlan Plan(string plan) => New(new SetPlan(plan, null) { Id = "", ContentHash = [], At = default });

    public static SetGauge Gauge(string feature, decimal value) => New(new SetGauge(feature, value) { Id = "", ContentHash = [], At = default });

    public static FollowSubscription Follow(Subscription snapshot) => New(new FollowSubscription(snapshot) { Id = "", ContentHash = [], At = default });

    public static T New<T>(T command) where T : Command
    {
        var id = $"cmd-{Interlocked.Increment(ref ids)}";
        return command with { Id = id, ContentHash = SHA256.HashData(Encoding.UTF8.GetBytes(id)) };
    }

    private static string Text(LedgerEvent e)
    {
        var stored = EventCodec.Default.Encode("acme", e, null, null, HashChain.Start);
        return $"{stored.Type} {Encoding.UTF8.GetString(stored.Body)}";
    }
}
