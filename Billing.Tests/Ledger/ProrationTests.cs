using System.Globalization;
using Billing.Ledger;
using NodaTime;
using Xunit.Abstractions;
using static Billing.Tests.Ledger.Subscribing;

namespace Billing.Tests.Ledger;

/// <summary>What changes within a period cost: to the second, and as the preview said.</summary>
public sealed class ProrationTests(ITestOutputHelper output)
{
    private static readonly Catalogs Catalogs = Spec.Catalogs("""
        {
          "fallback_plan": "free", "features": { "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call" } } },
          "plans": {
            "free":  { "name": "Free", "prices": [{ "interval": "month", "amount": 0 }], "features": { "calls": 1 } },
            "small": { "name": "Small", "prices": [{ "interval": "month", "amount": 999 }, { "interval": "quarter", "amount": 2801 }, { "interval": "year", "amount": 9713 }], "features": { "calls": 10 } },
            "mid":   { "name": "Mid", "prices": [{ "interval": "month", "amount": 2999 }, { "interval": "quarter", "amount": 7777 }, { "interval": "year", "amount": 29007 }], "features": { "calls": 100 } },
            "large": { "name": "Large", "prices": [{ "interval": "month", "amount": 99999999 }, { "interval": "year", "amount": 99999989 }], "features": { "calls": 1000 } }
          }
        }
        """);

    [Theory]
    // Half of a month of 30 days; a third; one second; the whole; nothing.
    [InlineData(3000, 15 * 86_400, 1500)]
    [InlineData(1000, 10 * 86_400, 333)]
    [InlineData(2_592_000, 1, 1)]
    [InlineData(999, 30 * 86_400, 999)]
    [InlineData(999, 0, 0)]
    // Half a minor unit is rounded away from zero, in both directions.
    [InlineData(1, 15 * 86_400, 1)]
    [InlineData(99_999_999, 15 * 86_400, 50_000_000)]
    public void the_rest_of_a_period_is_its_share_by_the_second(long amount, long secondsLeft, long expected)
    {
        var (start, end) = (Instant.FromUtc(2026, 11, 1, 0, 0), Instant.FromUtc(2026, 12, 1, 0, 0));
        var at = end - Duration.FromSeconds(secondsLeft);

        Assert.Equal(expected, Proration.Charge(amount, start, end, at));
        Assert.Equal(-expected, Proration.Credit(new BaseCharge(amount, start, end), at));
    }

    [Fact]
    public void parts_of_a_second_do_not_count_and_what_lies_outside_is_all_or_nothing()
    {
        var (start, end) = (Instant.FromUtc(2026, 11, 1, 0, 0), Instant.FromUtc(2026, 12, 1, 0, 0));

        Assert.Equal(Proration.Charge(2_592_000, start, end, start), Proration.Charge(2_592_000, start, end, start + Duration.FromMilliseconds(999)));
        Assert.Equal(500, Proration.Charge(500, start, end, start - Duration.FromDays(9)));
        Assert.Equal(0, Proration.Charge(500, start, end, end + Duration.FromDays(9)));
        Assert.Equal(0, Proration.Charge(500, end, end, end));
    }

    /// <summary>
    /// Random changes of plan and interval, pauses and cancellations at random instants. For every stretch that was paid for,
    /// what was charged less what was given back is the price of the seconds in which it was held.
    /// </summary>
    [Fact]
    public void charges_less_credits_are_the_price_of_what_was_held_in_each_second_and_the_preview_said_so()
    {
        var seed = int.Parse(Environment.GetEnvironmentVariable("PRORATION_SEED") ?? Random.Shared.Next().ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
        var changes = int.Parse(Environment.GetEnvironmentVariable("PRORATION_CHANGES") ?? "10000", CultureInfo.InvariantCulture);
        output.WriteLine($"PRORATION_SEED={seed} PRORATION_CHANGES={changes}");
        var random = new Random(seed);
        for (var done = 0; done < changes;) done += Run(random, Math.Min(50, changes - done));
    }

    private int Run(Random random, int changes)
    {
        var now = Instant.FromUtc(2026, 1, 1, 0, 0) + Duration.FromTicks(random.NextInt64(365L * 864_000_000_000L) / 10 * 10);
        var (state, events) = (State.Empty("acme"), new List<LedgerEvent>());
        Do(Spec.New(new OpenOrganization("UTC", false, null) { Id = "", ContentHash = [], At = now }));
        Do(Start("mid", BillingInterval.Month, trial: false));
        var made = 0;
        while (made < changes)
        {
            now += Duration.FromTicks(random.NextInt64(random.Next(4) switch { 0 => 20_000_000L, 1 => 864_000_000_000L, _ => 45 * 864_000_000_000L }) / 10 * 10);
            // A refused command writes nothing, what was due included.
            if (random.Next(2) == 0) Do(Turn());
            var own = Previews.Of(state, Catalogs, Turn() with { At = now }).Preview!.Before.Subscriptions.Own!;
            string[] plans = ["free", "small", "mid", "large"];
            var command = own.Ended ? Start(plans[random.Next(4)], BillingInterval.Month, trial: false)
                : own.Status == SubscriptionStatus.Paused ? Resume()
                : random.Next(20) switch
                {
                    0 => Pause(),
                    1 => Cancel(ChangeTime.Now, prorate: true),
                    2 => Cancel(ChangeTime.PeriodEnd),
                    3 => Reactivate(),
                    _ => (Command)Change(plans[random.Next(4)], random.Next(3) == 0 ? (BillingInterval)random.Next(3) : null,
                        random.Next(4) switch { 0 => null, 1 => ChangeTime.PeriodEnd, _ => ChangeTime.Now }, random.Next(2) == 0 ? ProrationMode.NextInvoice : ProrationMode.InvoiceNow),
                };
            if (Do(command)) made++;
        }
        if (!state.Subscriptions.Own!.Ended) Do(Cancel(ChangeTime.Now, prorate: true));
        Audit(events);
        return made;

        bool Do(Command command)
        {
            command = command with { At = now };
            var (preview, refused) = state.IsOpened ? Previews.Of(state, Catalogs, command) : default;
            var due = state.IsOpened ? Decider.Due(state, Catalogs, state.Now(now)) : [];
            var decision = Decider.Decide(state, Catalogs, command, null);
            if (state.IsOpened) Assert.Equal(decision.Rejection?.Kind, refused?.Kind);
            if (preview is not null && !decision.Events.IsEmpty)
            {
                var own = decision.Events.Skip(due.Count).ToList();
                Assert.Equal(own.OfType<LinesAdded>().SelectMany(e => e.Lines), preview.Lines.AsEnumerable());
                Assert.Equal(own.OfType<InvoiceCreated>().SingleOrDefault()?.Total, preview.Invoice?.Total);
            }
            events.AddRange(decision.Events);
            state = state.Evolve(decision.Events);
            return !decision.Events.IsEmpty && state.IsOpened;
        }
    }

    /// <summary>By the events alone: who held what from when to when, and which lines were made for it.</summary>
    private static void Audit(List<LedgerEvent> events)
    {
        Subscription? held = null;
        Instant since = default;
        var (exact, charged, lines) = (0m, 0L, 0);
        foreach (var e in events)
        {
            if (e is SubscriptionChanged { Followed: { } next })
            {
                if (held is { Status: SubscriptionStatus.Active })
                    exact += (decimal)PriceOf(held) * (e.EffectiveAt.ToUnixTimeSeconds() - since.ToUnixTimeSeconds()) / (held.PeriodEnd.ToUnixTimeSeconds() - held.PeriodStart.ToUnixTimeSeconds());
                (held, since) = (next, e.EffectiveAt);
            }
            if (e is not LinesAdded added) continue;
            foreach (var line in added.Lines)
            {
                // A base line opens the next stretch: what was paid for the one before is complete.
                if (line.Kind == LineKind.Base) Close();
                charged += line.Amount;
                lines++;
            }
        }
        Assert.True(held is { Ended: true });
        Close();

        void Close()
        {
            // The stretch that begins with this line begins at its start; until then nothing of it is in the sums.
            Assert.True(Math.Abs(charged - exact) <= lines, $"{lines} lines came to {charged}, what was held to {exact}.");
            (exact, charged, lines) = (0m, 0L, 0);
        }
    }

    private static long PriceOf(Subscription held) => Catalogs.Plan(held.Plan, held.CatalogVersion)!.Price(held.Interval, "usd")!.Amount.Amount;
}
