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
        (70, (_, d, _) => MoveGauge(d)),
        (30, (_, d, _) => { var gauge = d.Of(Market.Gauges); return new SetGauge(gauge, gauge == "storage" ? d.Between(0, 7_000) / 1000m : d.Between(0, 5)) { Id = "", ContentHash = [], At = default }; }),
        (40, (_, d, now) => new GrantTokens(d.Percent(70) ? GrantKind.Granted : GrantKind.Promotional, d.Between(1, 60), d.Of([50, 50, 10, 90, 0]),
            d.Percent(50) ? now + Duration.FromMinutes(d.Between(-10, 20_000)) : null, "welcome") { Id = "", ContentHash = [], At = default }),
        (25, (_, d, _) => new SetPlan(d.Of(Market.Plans), d.Percent(50) ? "asked" : null) { Id = "", ContentHash = [], At = default }),
        (10, (_, d, _) => new InviteToPlan(d.Of(["guest", "guest", "nothing"])) { Id = "", ContentHash = [], At = default }),
        (5, (t, d, _) => new LinkCustomer($"cus_{t.Id}_{d.Between(1, 3)}") { Id = "", ContentHash = [], At = default }),
        (5, (_, _, _) => new OpenOrganization("UTC", false, null) { Id = "", ContentHash = [], At = default }),
        (1, (_, d, _) => d.Percent(20) ? new CloseOrganization("moved away") { Id = "", ContentHash = [], At = default } : null),
        (10, (_, _, _) => new WriteDue { Id = "", ContentHash = [], At = default }),
        (170, (t, _, now) => t.Stripe.Deliver(now)),
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

    public static Command Named(Command command, string id, Instant now)
    {
        var content = command with { Id = "", ContentHash = [], At = default, By = null };
        return command with { Id = id, ContentHash = SHA256.HashData(Encoding.UTF8.GetBytes(content.ToString())), At = now, By = command.By ?? "key_1" };
    }

    private static RecordUsage Use(Dice d, Instant now)
    {
        var feature = d.Percent(3) ? d.Of(["extra", "nothing", "region"]) : d.Of(Market.Sums);
        var quantity = feature switch
        {
            "hours" => d.Between(1, 400) / 100m,
            "renders" => d.Between(1, 40) / 10m,
            _ => d.Between(1, 6),
        };
        if (d.Percent(2)) quantity = d.Of([0, -1, 1.2345m, 2_000_000_000_000_000m, 40, 300]);
        Instant? timestamp = d.Percent(80) ? null : d.Between(0, 3) switch
        {
            0 => now + Duration.FromMinutes(d.Between(1, 7)),
            1 => now - Duration.FromMinutes(d.Between(0, 90)),
            2 => now - Duration.FromMinutes(d.Between(0, 3_000)),
            _ => now - Duration.FromMinutes(d.Between(0, 60_000)),
        };
        return new RecordUsage(feature, quantity, d.Percent(95) ? null : d.Of(["call", "job", "hour"]), timestamp, d.Percent(90),
            d.Percent(90) ? null : new Dictionary<string, string> { ["model"] = "m" }) { Id = "", ContentHash = [], At = default };
    }

    private static RecordUsage MoveGauge(Dice d)
    {
        var gauge = d.Of(Market.Gauges);
        return new RecordUsage(gauge, gauge == "storage" ? d.Between(-2_000, 3_000) / 1000m : d.Between(-2, 3), null, null, d.Percent(90), null) { Id = "", ContentHash = [], At = default };
    }
}
