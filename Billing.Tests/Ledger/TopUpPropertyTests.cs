using Billing.Grains.Journal;
using Billing.Ledger;
using FsCheck;
using FsCheck.Fluent;
using NodaTime;

namespace Billing.Tests.Ledger;

/// <summary>Random commands around tokens and limits, judged by an auditor that reads events alone. A failure prints its seed.</summary>
public sealed class TopUpPropertyTests
{
    public sealed record Step(int What, int A, int B, int Minutes);

    private const long Low = 25;

    private const string Catalog = """
        {
          "fallback_plan": "free", "tokens_low": 25,
          "features": {
            "words": { "name": "words", "type": "metered", "meter": { "unit": "word", "window": "day" }, "mode": "tokens" },
            "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call", "window": "month" }, "mode": "soft" },
            "tries": { "name": "tries", "type": "metered", "meter": { "unit": "try", "window": "hour" }, "mode": "soft", "warn_at": [30, 60, 90, 150] }
          },
          "plans": {
            "free": { "name": "Free", "features": { "words": 3, "calls": 20, "tries": 7 } },
            "pro":  { "name": "Pro", "prices": [{ "interval": "month", "amount": 999 }], "features": { "words": 6, "calls": 60, "tries": "unlimited" } }
          },
          "token_packages": {
            "small": { "name": "Small", "tokens": 50, "prices": [{ "amount": 500 }] },
            "big":   { "name": "Big", "tokens": 100, "prices": [{ "amount": 900 }] }
          }
        }
        """;

    private static readonly Catalogs Catalogs = Spec.Catalogs(Catalog);
    private static readonly string[] Features = ["words", "words", "calls", "tries"];

    private static readonly Gen<Step> Steps =
        from what in Gen.Frequency((12, Gen.Constant(0)), (5, Gen.Constant(1)), (5, Gen.Constant(2)), (1, Gen.Constant(3)), (1, Gen.Constant(4)), (3, Gen.Choose(5, 11)))
        from a in Gen.Choose(0, 10_000)
        from b in Gen.Choose(0, 10_000)
        from minutes in Gen.Frequency((10, Gen.Choose(0, 20)), (4, Gen.Choose(20, 1_500)), (1, Gen.Choose(1_500, 50_000)))
        select new Step(what, a, b, minutes);

    private static readonly Arbitrary<Step[]> Sequences = Arb.From(
        from length in Gen.Choose(5, 60)
        from steps in Gen.ArrayOf(Steps, length)
        select steps,
        steps => Enumerable.Range(0, steps.Length).Select(i => steps.Where((_, at) => at != i).ToArray()));

    [Fact]
    public void there_is_never_more_than_one_top_up_pending_nor_more_than_a_month_allows_and_a_threshold_is_told_once()
    {
        var config = Config.QuickThrowOnFailure.WithMaxTest(int.Parse(Environment.GetEnvironmentVariable("PROPERTY_SEQUENCES") ?? "2000"));
        if (Environment.GetEnvironmentVariable("PROPERTY_SEED")?.Split(',') is [var a, var b])
            config = config.WithReplay(new Replay(new Rnd(ulong.Parse(a), ulong.Parse(b)), null));
        Prop.ForAll(Sequences, steps => { Run(steps); }).Check(config);
    }

    [Fact]
    public void the_sequences_come_to_every_outcome()
    {
        // A property that is never put to the test holds for nothing.
        var seen = new HashSet<string>();
        foreach (var steps in Sequences.Generator.Sample(400))
            foreach (var e in Run(steps)) seen.Add(e switch { AlertRaised x => x.Kind.ToString(), TopUpEnded x => x.Failure is null ? "paid" : "failed", TopUpSwitchedOff x => x.Reason, _ => e.GetType().Name });
        foreach (var outcome in (ReadOnlySpan<string>)[nameof(AlertKind.Usage), nameof(AlertKind.TokensLow), nameof(AlertKind.TopUpLimited), "paid", "failed", "payments_failed", nameof(TopUpRequested), nameof(TokensExpired)])
            Assert.True(seen.Contains(outcome), $"{outcome} never came about.");
    }

    private static List<LedgerEvent> Run(Step[] steps)
    {
        var zone = DateTimeZoneProviders.Tzdb[steps.Length % 2 == 0 ? "Asia/Kathmandu" : "UTC"];
        var now = Instant.FromUtc(2026, 1, 29, 22, 30);
        var state = State.Empty("acme");
        var events = new List<LedgerEvent>();
        var auditor = new Auditor(zone);
        Do(Spec.New(new OpenOrganization(zone.Id, false, null) { Id = "", ContentHash = [], At = now }));
        Do(Spec.Grant(60));
        Do(Spec.TopUp(new TopUpTerms("small", 30, 4, 2_400, 30)));
        for (var i = 0; i < steps.Length; i++)
        {
            now += Duration.FromMinutes(steps[i].Minutes);
            Do(CommandOf(steps[i], i, now, auditor));
        }

        var replayed = State.Empty("acme");
        foreach (var e in events) replayed = replayed.Evolve(EventCodec.Default.Decode(EventCodec.Default.Encode("acme", e, null, null, HashChain.Start)));
        Assert.Equal(StateText.Of(state), StateText.Of(replayed));
        return events;

        void Do(Command command)
        {
            var decision = Decider.Decide(state, Catalogs, command with { At = now }, null);
            foreach (var e in decision.Events)
            {
                Assert.Equal(state.Version + 1, e.Version);
                state = state.Evolve(e);
                events.Add(e);
                auditor.Take(e);
                Assert.Null(Invariants.Broken(state));
                Assert.Equal(Decider.NextDue(state), state.DueAt);
            }
            if (decision.Events.IsEmpty) return;
            // Nothing that is due now is left undone, and a limit that is reached was told of.
            Assert.True(state.DueAt is not { } due || due > now, $"Due at {state.DueAt}, and it is {now}.");
            if (decision.Events.Any(e => e is UsageRecorded { Grants: not null })) Assert.False(auditor.IsLowUntold, "Few tokens are left, and nobody was told.");
            foreach (var use in decision.Events.OfType<UsageRecorded>())
                Assert.True(Entitlements.Evaluate(state, Catalogs, Catalogs.Feature(use.Feature)!, null, now) is var e && auditor.Told(use.Feature, e.Limit, e.ResetsAt) >= e.Warning,
                    $"{use.Feature} reached {e.Warning} per cent untold.");
        }
    }

    private static Command CommandOf(Step step, int index, Instant now, Auditor auditor)
    {
        var (a, b) = (step.A, step.B);
        return step.What switch
        {
            0 => Spec.Use(Features[a % Features.Length], 1 + b % 9, b % 9 == 0 ? now - Duration.FromMinutes(b % 50) : null, enforce: b % 13 != 0),
            // With nothing to answer, much is burned.
            1 or 2 when auditor.Pending is null => Spec.Use("words", 5 + b % 25),
            1 => Pay(auditor.Pending, b % 4 == 0 ? $"pi_{a % 4}" : $"pi_x{index}"),
            2 => Spec.Fail(auditor.Pending),
            3 => Spec.TopUp(new TopUpTerms(a % 3 == 0 ? "big" : "small", 10 + b % 50, 1 + a % 5, 900 + b % 3_000, (a % 4) switch { 0 => 0, 1 => 1, 2 => 60, _ => 1_440 })),
            4 => Spec.Grant(1 + b % 40, a % 3 * 10, b % 3 == 0 ? now + Duration.FromHours(1 + a % 100) : null),
            5 => Spec.TopUp(null),
            6 => Pay(auditor.Requests.Count == 0 ? "tu_1" : auditor.Requests[a % auditor.Requests.Count], $"pi_{b % 6}"),
            7 => Spec.Fail(auditor.Requests.Count == 0 ? "tu_1" : auditor.Requests[a % auditor.Requests.Count]),
            8 => Spec.Plan(a % 2 == 0 ? "free" : "pro"),
            9 => Spec.Return($"pi_{b % 6}", a % 600),
            10 => Spec.Buy("small", $"pi_{b % 6}", 500, now),
            _ => Spec.Due(),
        };
    }

    private static PurchaseTokens Pay(string topUp, string payment) =>
        Spec.New(new PurchaseTokens("small", payment, 500, "usd", Instant.FromUtc(2026, 1, 29, 22, 30), topUp) { Id = "", ContentHash = [], At = default });

    /// <summary>Knows nothing of the ledger's state: it adds events up and judges each as it comes.</summary>
    private sealed class Auditor(DateTimeZone zone)
    {
        private readonly Dictionary<string, long> tokens = [];
        private readonly HashSet<string> payments = [];
        private readonly List<(Instant At, long Amount)> asked = [];
        private readonly Dictionary<(string? Feature, Window? Window, Instant? Start, long? Limit, int Plans), int> warned = [];
        private readonly Dictionary<(string, long?, Instant?), int> told = [];
        private TopUpTerms? terms;
        private bool isOff;
        private bool lowTold;
        private long balance;
        private int plans;

        public List<string> Requests { get; } = [];

        public string? Pending { get; private set; }

        public bool IsLowUntold => balance < Low && !lowTold;

        public int Told(string feature, long? limit, Instant? resetsAt) => told.GetValueOrDefault((feature, limit, resetsAt));

        public void Take(LedgerEvent e)
        {
            switch (e)
            {
                case TokensPurchased x:
                    Assert.True(payments.Add(x.Payment), "One payment buys once.");
                    Came(x.Version, x.Tokens);
                    break;
                case TokensGranted x: Came(x.Version, x.Tokens); break;
                case TokensRevoked x: Move(x.Grant, -x.Revoked); break;
                case TokensExpired x: Array.ForEach(x.Grants, g => Move(g.Grant, -g.Tokens)); break;
                case UsageRecorded x: Array.ForEach(x.Grants ?? [], g => Move(g.Grant, -g.Tokens)); break;
                case SubscriptionChanged: plans++; break;
                case TopUpConfigured x: (terms, isOff) = (x.Terms, false); break;
                case TopUpSwitchedOff: isOff = true; break;
                case TopUpRequested x: Take(x); break;
                case TopUpEnded x when x.TopUp == Pending: Pending = null; break;
                case AlertRaised { Kind: AlertKind.TokensLow } x:
                    Assert.True(balance < Low && balance == x.Value && !lowTold, "A low balance is told once until tokens come.");
                    lowTold = true;
                    break;
                case AlertRaised { Kind: AlertKind.Usage } x:
                    var key = (x.Feature, x.Window, x.Start, x.Limit, plans);
                    Assert.True(x.Percent > warned.GetValueOrDefault(key), $"{x.Feature} was told at {x.Percent} per cent before.");
                    Assert.True(x.Value * 100 >= x.Limit * x.Percent, "An alert tells of what was reached.");
                    warned[key] = x.Percent;
                    told[(x.Feature!, x.Limit, x.End)] = x.Percent;
                    break;
            }
        }

        private void Take(TopUpRequested x)
        {
            Assert.True(Pending is null, "Never two pending.");
            Assert.True(terms is not null && !isOff, "Only while it is on.");
            Assert.True(balance < terms!.Threshold, "Only when short.");
            Assert.True(asked.Count == 0 || x.EffectiveAt - asked[^1].At >= Duration.FromMinutes(terms.CoolOffMinutes), "Not within the cool-off.");
            asked.Add((x.EffectiveAt, x.Amount));
            var month = asked.Where(r => Month(r.At) == Month(x.EffectiveAt)).ToList();
            Assert.True(month.Count <= terms.MaxCount && month.Sum(r => r.Amount) <= terms.MaxAmount, "Never more than the month allows.");
            Pending = $"tu_{x.Version}";
            Requests.Add(Pending);
        }

        private (int, int) Month(Instant at) => at.InZone(zone) is var local ? (local.Year, local.Month) : default;

        private void Came(long version, long count)
        {
            lowTold = false;
            tokens[$"tg_{version}"] = 0;
            Move($"tg_{version}", count);
        }

        private void Move(string grant, long change)
        {
            Assert.True((tokens[grant] += change) >= 0);
            balance += change;
            if (balance >= Low) lowTold = false;
        }
    }
}
