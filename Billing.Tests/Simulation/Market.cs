using Billing.Ledger;
using Billing.Tests.Ledger;

namespace Billing.Tests.Simulation;

/// <summary>What is sold in a simulation: every kind of feature, limit, price and plan, small enough that limits are reached all the time.</summary>
internal static class Market
{
    private const string First = """
        {
          "currency": "usd", "fallback_plan": "free", "grace_days": 3, "allowance_on_upgrade": "full", "tokens_low": 20, "invoice_due_days": 10,
          "features": {
            "calls":   { "name": "calls", "type": "metered", "meter": { "unit": "call", "window": "day" }, "mode": "tokens", "token_cost": 3 },
            "jobs":    { "name": "jobs", "type": "metered", "meter": { "unit": "job", "window": "month" }, "mode": "overage", "unit_price": "0.5" },
            "hours":   { "name": "hours", "type": "metered", "meter": { "unit": "hour", "decimals": 2, "window": "period" }, "mode": "tokens_then_overage", "unit_price": "0.007", "token_cost": 2 },
            "mails":   { "name": "mails", "type": "metered", "meter": { "unit": "mail", "window": "hour" }, "mode": "soft", "warn_at": [50, 100, 200] },
            "tries":   { "name": "tries", "type": "metered", "meter": { "unit": "try", "window": "lifetime" } },
            "renders": { "name": "renders", "type": "metered", "meter": { "unit": "render", "decimals": 1, "window": "month" }, "mode": "overage",
                         "tiers": [{ "up_to": 5, "unit_price": "0.333" }, { "up_to": 12.5, "unit_price": "0.1" }, { "unit_price": "0.0125" }] },
            "storage": { "name": "storage", "type": "metered", "meter": { "unit": "gb", "decimals": 3, "aggregation": "gauge" }, "mode": "overage", "unit_price": "0.1" },
            "seats":   { "name": "seats", "type": "metered", "meter": { "unit": "seat", "aggregation": "gauge" } },
            "extra":   { "name": "extra", "type": "boolean" },
            "region":  { "name": "the region", "type": "static" }
          },
          "plans": {
            "free":  { "name": "Free", "features": {
                         "calls": 5, "jobs": { "allowance": 3, "mode": "block" }, "hours": { "allowance": 1.5, "mode": "tokens" }, "mails": 2, "tries": 4,
                         "renders": { "allowance": 2, "mode": "block" }, "storage": { "allowance": 1, "mode": "block" }, "seats": 1, "region": "eu" } },
            "pro":   { "name": "Pro", "trial_days": 7,
                       "prices": [{ "interval": "month", "amount": 999 }, { "interval": "quarter", "amount": 2500 }, { "interval": "year", "amount": 9900 }],
                       "features": { "calls": { "allowance": 20, "rate_limits": [{ "limit": 15, "window": "hour" }] }, "jobs": 10, "hours": 8, "mails": 10,
                         "tries": { "allowance": 9, "window": "day" }, "renders": 6, "storage": 5, "seats": 3, "extra": true, "region": "eu" } },
            "max":   { "name": "Max", "trial_days": 14, "trial_requires_payment_method": true,
                       "prices": [{ "interval": "month", "amount": 9999 }, { "interval": "year", "amount": 99901 }],
                       "features": { "calls": "unlimited", "jobs": { "allowance": 100, "unit_price": "0.33" }, "hours": 80, "tries": "unlimited", "renders": { "allowance": 30, "unit_price": "0.07" },
                         "storage": 50, "seats": "unlimited", "extra": true, "region": "us" } },
            "guest": { "name": "Guest", "invite_only": true, "prices": [{ "interval": "month", "amount": 100 }],
                       "features": { "calls": 50, "jobs": { "allowance": 5, "mode": "soft" }, "mails": 4, "renders": { "allowance": 10, "window": "period" }, "storage": { "allowance": 2, "mode": "soft" } } },
            "own":   { "name": "Own", "custom_for": "org-1", "prices": [{ "interval": "month", "amount": 12345 }], "features": { "calls": "unlimited", "jobs": 500, "hours": 100, "seats": 9 } }
          },
          "token_packages": {
            "small": { "name": "Small", "tokens": 50, "prices": [{ "amount": 500 }] },
            "large": { "name": "Large", "tokens": 400, "prices": [{ "amount": 3000 }] }
          }
        }
        """;

    public static readonly string[] Sums = ["calls", "jobs", "hours", "mails", "tries", "renders"];

    public static readonly string[] Gauges = ["storage", "seats"];

    public static readonly string[] Plans = ["free", "pro", "max", "guest", "own"];

    /// <summary>The versions that are published one after another in one world.</summary>
    public static IReadOnlyList<Catalog> Versions(Dice dice)
    {
        var first = First;
        if (dice.Percent(40)) first = TestCatalog.With("allowance_on_upgrade", "\"prorated\"", first);
        if (dice.Percent(20)) first = TestCatalog.With("currency", "\"jpy\"", first);
        first = dice.Between(0, 2) switch
        {
            0 => TestCatalog.With("tax", """{ "name": "VAT", "rate": "19", "inclusive": true }""", first),
            1 => TestCatalog.With("tax", """{ "name": "Sales tax", "rate": "8.875" }""", first),
            _ => first,
        };
        // Prices, allowances and windows change; a plan goes and comes back.
        var second = TestCatalog.With("plans/pro/prices/0/amount", "1299", first);
        second = TestCatalog.With("plans/pro/features/jobs", """{ "allowance": 12, "unit_price": "0.45" }""", second);
        second = TestCatalog.With("plans/pro/features/tries", "9", second);
        second = TestCatalog.With("plans/pro/features/storage", "4", second);
        second = TestCatalog.With("plans/free/features/calls", "4", second);
        second = TestCatalog.Without("plans/guest", second);
        var third = TestCatalog.With("plans/max/features/jobs/allowance", "90", first);
        third = TestCatalog.With("plans/pro/features/renders", """{ "allowance": 7, "tiers": [{ "up_to": 3, "unit_price": "1" }, { "unit_price": "0.9" }] }""", third);
        third = TestCatalog.With("grace_days", "5", third);
        return [.. new[] { first, second, third }.Select((json, i) => TestCatalog.Good(json) with { Version = i + 1 })];
    }
}
