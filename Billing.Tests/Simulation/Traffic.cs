using System.Security.Cryptography;
using System.Text;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Simulation;

/// <summary>What callers ask for: every command there is, sensible most of the time. Nothing at all now and then, where a command has nothing to be about.</summary>
internal static class Traffic
{
    private delegate Command? Make(Tenant t, Dice d, Instant now);

    /// <summary>How often each comes, of all together.</summary>
    private static readonly (int Weight, Make Make)[] Table =
    [
        (400, (_, d, now) => Use(d, now)),
        (60, (_, d, _) => MoveGauge(d)),
        (30, (_, d, _) => { var gauge = d.Of(Market.Gauges); return new SetGauge(gauge, gauge == "storage" ? d.Between(0, 9_000) / 1000m : d.Between(0, 5)) { Id = "", ContentHash = [], At = default }; }),
        (60, (_, d, _) => Hold(d)),
        (90, (t, d, _) => AHold(t, d) is { } hold ? new SettleHold(hold, d.Percent(15) ? 0 : Quantity(d, t.FeatureOf(hold)), null) { Id = "", ContentHash = [], At = default } : null),
        (25, (t, d, _) => AHold(t, d) is { } hold ? new ReleaseHold(hold) { Id = "", ContentHash = [], At = default } : null),
        (25, (t, d, _) => ARecord(t, d) is { } record ? new VoidUsage(record, d.Percent(50) ? "mistake" : null) { Id = "", ContentHash = [], At = default } : null),
        (25, (t, d, _) => ARecord(t, d) is { } record ? new CorrectUsage(record, Quantity(d, record.Feature), "recount") { Id = "", ContentHash = [], At = default } : null),
        (4, (_, d, _) => new ChangeTimeZone(d.Percent(5) ? "Nowhere/Else" : d.Of(World.Zones)) { Id = "", ContentHash = [], At = default }),
        (6, (t, d, now) => t.State.Account.Test || d.Percent(5) ? new AdvanceClock(t.State.Now(now) + d.Of([Duration.FromMinutes(d.Between(-10, 300)), Duration.FromDays(d.Between(1, 70))])) { Id = "", ContentHash = [], At = default } : null),
        (40, (_, d, now) => new GrantTokens(d.Percent(70) ? GrantKind.Granted : GrantKind.Promotional, d.Percent(1) ? 1_000_000_000_000_000 : d.Between(1, 60), d.Of([50, 50, 10, 90, 0]),
            d.Percent(50) ? now + Duration.FromMinutes(d.Between(-10, 20_000)) : null, "welcome") { Id = "", ContentHash = [], At = default }),
        (8, (_, d, _) => new ConfigureTopUp(d.Percent(15) ? null : new TopUpTerms(d.Of(["small", "small", "large", "none"]), d.Between(0, 60), d.Between(0, 4), d.Between(400, 9_000), d.Of([0, 10, 60, 1_440])))
            { Id = "", ContentHash = [], At = default }),
        (25, (t, d, now) => AnswerTopUp(t, d, now)),
        (15, (t, d, now) => new SetPlan(APlan(t, d), d.Percent(50) ? "asked" : null, d.Percent(70) ? now + Duration.FromMinutes(d.Between(-10, 90_000)) : null) { Id = "", ContentHash = [], At = default }),
        (40, (t, d, _) => t.SubscribesAtStripe ? null : new StartSubscription(APlan(t, d), Interval(d), d.Percent(85) ? null : d.Of(["eur", "usd"]), d.Of<bool?>([null, null, true, false, false]), d.Percent(60), null) { Id = "", ContentHash = [], At = default }),
        (45, (t, d, _) => t.SubscribesAtStripe && d.Percent(95) ? null : new ChangeSubscription(APlan(t, d), d.Percent(50) ? null : Interval(d), d.Of<ChangeTime?>([null, null, ChangeTime.Now, ChangeTime.PeriodEnd]),
            d.Of([ProrationMode.NextInvoice, ProrationMode.NextInvoice, ProrationMode.InvoiceNow, ProrationMode.None]), null) { Id = "", ContentHash = [], At = default }),
        (8, (t, d, _) => NotKept(t, d) ? null : new CancelSubscription(d.Of([ChangeTime.PeriodEnd, ChangeTime.PeriodEnd, ChangeTime.Now]), d.Percent(50), "too dear") { Id = "", ContentHash = [], At = default }),
        (12, (t, d, _) => NotKept(t, d) ? null : new ReactivateSubscription(null) { Id = "", ContentHash = [], At = default }),
        (8, (t, d, _) => NotKept(t, d) ? null : new PauseSubscription(null) { Id = "", ContentHash = [], At = default }),
        (20, (t, d, _) => NotKept(t, d) ? null : new ResumeSubscription(null) { Id = "", ContentHash = [], At = default }),
        (10, (t, d, _) => NotKept(t, d) ? null : new SetPaymentMethod(d.Percent(75)) { Id = "", ContentHash = [], At = default }),
        (20, (t, d, now) => AnInvoice(t, d) is { } invoice
            ? new RecordPayment(invoice, null, d.Percent(55), d.Between(1, 3), 999, "usd", now - Duration.FromMinutes(d.Between(0, 3_000))) { Id = "", ContentHash = [], At = default } : null),
        (14, (t, d, now) => AnInvoice(t, d) is { } invoice
            ? new ReportPayment(invoice, d.Percent(55), d.Percent(50) ? d.Between(1, 3) : null, d.Percent(70) ? now - Duration.FromMinutes(d.Between(-10, 3_000)) : null) { Id = "", ContentHash = [], At = default } : null),
        (15, (_, d, now) => new SetOverride(d.Of([.. Market.Sums, .. Market.Gauges, "extra", "region", "nothing"]), d.Percent(80) ? d.Percent(3) ? 1_000_000_000_000_000 : d.Between(0, 20) : null, d.Percent(15),
            d.Percent(60) ? now + Duration.FromMinutes(d.Between(-10, 40_000)) : null, d.Percent(25), "friend") { Id = "", ContentHash = [], At = default }),
        (12, (_, d, _) => new SetSpendCaps(d.Percent(40) ? null : d.Between(0, 3_000), d.Percent(50) ? null
            : Enumerable.Range(0, d.Between(1, 2)).Select(_ => d.Of([.. Market.Sums, .. Market.Gauges, "extra"])).Distinct().ToDictionary(f => f, _ => (long)d.Between(0, 1_000))) { Id = "", ContentHash = [], At = default }),
        (12, (_, d, _) => new CreateInvoice(d.Percent(40)) { Id = "", ContentHash = [], At = default }),
        (12, (t, d, _) => AnInvoice(t, d) is { } invoice ? new FinalizeInvoice(invoice) { Id = "", ContentHash = [], At = default } : null),
        (15, (t, d, _) => AnInvoice(t, d) is { } invoice
            ? new SettleInvoice(invoice, d.Of([InvoiceStatus.Paid, InvoiceStatus.Paid, InvoiceStatus.Void, InvoiceStatus.Uncollectible]), null, null) { Id = "", ContentHash = [], At = default } : null),
        (12, (_, d, _) => new AddLine("Help", d.Percent(3) ? d.Of([1_000_000_000_000_000, -1_000_000_000_000_000, 2_000_000_000_000_000]) : d.Between(-700, 1_000), null, d.Percent(85) ? null : d.Of(["eur", "usd", "xyz"])) { Id = "", ContentHash = [], At = default }),
        (8, (_, d, _) => new GrantCredit(d.Percent(3) ? 1_000_000_000_000_000 : d.Between(0, 900), "sorry", d.Percent(85) ? null : "eur") { Id = "", ContentHash = [], At = default }),
        (8, (_, d, now) => new SetBillingTerms(d.Percent(60) ? null : new TaxTerms("Tax", d.Between(0, 250_000) / 10_000m, d.Percent(50)), Discount(d, now), null) { Id = "", ContentHash = [], At = default }),
        (10, (_, d, _) => new MoveToCatalog(d.Between(0, 4), "newer") { Id = "", ContentHash = [], At = default }),
        (12, (_, d, _) => new InviteToPlan(d.Of(["guest", "guest", "nothing"])) { Id = "", ContentHash = [], At = default }),
        (5, (t, d, _) => new LinkCustomer($"cus_{t.Id}_{d.Between(1, 3)}") { Id = "", ContentHash = [], At = default }),
        (5, (_, _, _) => new OpenOrganization("UTC", false, null) { Id = "", ContentHash = [], At = default }),
        (1, (_, d, _) => d.Percent(30) ? new CloseOrganization("moved away") { Id = "", ContentHash = [], At = default } : null),
        (10, (_, _, _) => new WriteDue { Id = "", ContentHash = [], At = default }),
        (120, (t, _, now) => t.Stripe.Deliver(now)),
    ];

    /// <summary>The next command of this organization, with an id and a content of its own.</summary>
    public static Command Next(Tenant tenant, Dice dice, Instant now)
    {
        while (true)
        {
            var command = dice.Of(Table)(tenant, dice, now);
            if (command is null) continue;
            // Stripe's come with the ids of what they are about.
            if (command.Id != "") return command;
            return Named(command, $"c{tenant.NextCommand()}", now);
        }
    }

    /// <summary>As <see cref="Next"/>, but never one of Stripe's.</summary>
    public static Command FromCaller(Tenant tenant, Dice dice, Instant now)
    {
        while (true)
            if (Next(tenant, dice, now) is { By: not "stripe" } command) return command;
    }

    /// <summary>As a route does each time that it is asked: what a gauge went through is read from the journal.</summary>
    public static Command Reread(Tenant tenant, Command command) => command switch
    {
        VoidUsage { Record.Gauge: not null } c => c with { History = tenant.HistoryOf(c.Record.Feature) },
        CorrectUsage { Record.Gauge: not null } c => c with { History = tenant.HistoryOf(c.Record.Feature) },
        _ => command,
    };

    public static Command Named(Command command, string id, Instant now)
    {
        var content = command with { Id = "", ContentHash = [], At = default, By = null };
        return command with { Id = id, ContentHash = SHA256.HashData(Encoding.UTF8.GetBytes(content.ToString())), At = now, By = command.By ?? "key_1" };
    }

    private static RecordUsage Use(Dice d, Instant now)
    {
        var feature = d.Percent(3) ? d.Of(["extra", "nothing", "region"]) : d.Of(Market.Sums);
        var quantity = Quantity(d, feature);
        if (d.Percent(2)) quantity = d.Of([0, -1, 1.2345m, 2_000_000_000_000_000m, 1_000_000_000_000_000m, 900_000_000_000m, 40, 300]);
        Instant? timestamp = d.Percent(80) ? null : d.Between(0, 3) switch
        {
            0 => now + Duration.FromMinutes(d.Between(1, 7)),
            1 => now - Duration.FromMinutes(d.Between(0, 90)),
            2 => now - Duration.FromMinutes(d.Between(0, 3_000)),
            _ => now - Duration.FromMinutes(d.Between(0, 60_000)),
        };
        return new RecordUsage(feature, quantity, d.Percent(98) ? null : d.Of(["call", "job", "hour"]), timestamp, d.Percent(90),
            d.Percent(90) ? null : new Dictionary<string, string> { ["model"] = "m" }) { Id = "", ContentHash = [], At = default };
    }

    private static RecordUsage MoveGauge(Dice d)
    {
        var gauge = d.Of(Market.Gauges);
        return new RecordUsage(gauge, gauge == "storage" ? d.Between(-2_000, 3_000) / 1000m : d.Between(-2, 3), null, null, d.Percent(90), null) { Id = "", ContentHash = [], At = default };
    }

    private static decimal Quantity(Dice d, string feature) => feature switch
    {
        "hours" => d.Between(1, 400) / 100m,
        "renders" => d.Between(1, 40) / 10m,
        _ => d.Between(1, 6),
    };

    private static PlaceHold Hold(Dice d)
    {
        var feature = d.Percent(4) ? d.Of(["seats", "extra", "nothing"]) : d.Of(Market.Sums);
        var expires = d.Of([Duration.FromMinutes(d.Between(1, 90)), Duration.FromHours(d.Between(1, 150)), Duration.FromHours(d.Between(1, 150)), Duration.FromDays(d.Between(0, 9))]);
        return new PlaceHold(feature, Quantity(d, feature), expires, null) { Id = "", ContentHash = [], At = default };
    }

    /// <summary>One that is open, most of the time; else one that ended, or none at all.</summary>
    private static string? AHold(Tenant t, Dice d)
    {
        if (t.State.Holds.Length > 0 && d.Percent(90)) return d.Of(t.State.Holds).Id;
        return d.Percent(90) ? null : t.State.EndedHolds.Length > 0 ? $"ho_{d.Of(t.State.EndedHolds).Version}" : "ho_1";
    }

    /// <summary>A usage record, new ones more often than old ones, and now and then one that was taken back before.</summary>
    private static UsageRecorded? ARecord(Tenant t, Dice d) =>
        t.Records.Count == 0 ? null : d.Percent(50) ? t.Records[^d.Between(1, Math.Min(5, t.Records.Count))] : d.Of(t.Records);

    private static string? AnInvoice(Tenant t, Dice d)
    {
        var invoices = t.State.Billing.Invoices;
        if (invoices.Length == 0) return d.Percent(5) ? "in_1" : null;
        var invoice = d.Percent(60) ? invoices[^1] : d.Of(invoices);
        return d.Percent(50) ? invoice.Id : invoice.Number ?? invoice.Id;
    }

    /// <summary>What was asked for is paid, or its payment failed; late now and then, or for what was never asked for.</summary>
    private static Command? AnswerTopUp(Tenant t, Dice d, Instant now)
    {
        var topUp = t.State.Alerts.TopUp?.Pending?.Id ?? (d.Percent(10) ? $"tu_{d.Between(1, 50)}" : null);
        if (topUp is null) return null;
        if (d.Percent(45)) return new FailTopUp(topUp, "card_declined") { Id = "", ContentHash = [], At = default };
        return new PurchaseTokens(d.Of(["small", "large"]), $"pi_{t.Id}_{topUp}", 500, "usd", now, topUp) { Id = "", ContentHash = [], At = default };
    }

    private static string APlan(Tenant t, Dice d) => d.Percent(10) ? d.Of(Market.Plans) : t.Id == "org-1" ? d.Of(["pro", "max", "own"]) : d.Of(["pro", "max", "pro", "max", "guest"]);

    /// <summary>There is no subscription of the ledger's own, and this is not one of the times to ask all the same.</summary>
    private static bool NotKept(Tenant t, Dice d) => t.State.Subscriptions.Own is not { Ended: false, Kept: not null } && d.Percent(90);

    private static BillingInterval Interval(Dice d) => d.Of([BillingInterval.Month, BillingInterval.Month, BillingInterval.Month, BillingInterval.Quarter, BillingInterval.Year]);

    private static DiscountTerms? Discount(Dice d, Instant now)
    {
        Instant? until = d.Percent(50) ? null : now + Duration.FromDays(d.Between(-1, 100));
        return d.Between(0, 3) switch
        {
            0 => new DiscountTerms(d.Between(1, 1_000_000) / 10_000m, null, until),
            1 => new DiscountTerms(null, d.Between(1, 2_000), until),
            _ => null,
        };
    }
}
