using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Billing.Ledger;

namespace Billing.Tests.Ledger;

/// <summary>A catalog to change one place of.</summary>
internal static class TestCatalog
{
    /// <summary>Uses every field that there is.</summary>
    public const string Full =
        """
        {
          "$schema": "./catalog.schema.json",
          "currency": "usd",
          "fallback_plan": "free",
          "grace_days": 5,
          "allowance_on_upgrade": "prorated",
          "on_journal_outage": "deny",
          "tax": { "name": "Sales tax", "rate": "7.25", "inclusive": true },
          "invoice_due_days": 30,
          "warn_at": [50, 100],
          "tokens_low": 500,
          "features": {
            "jobs": {
              "name": "jobs", "type": "metered", "meter": { "unit": "job", "decimals": 2, "aggregation": "sum", "window": "day" },
              "mode": "tokens_then_overage", "unit_price": "0.001", "deny_status": 429, "token_cost": 3, "warn_at": [90]
            },
            "mails": {
              "name": "mails", "type": "metered", "meter": { "unit": "mail" }, "mode": "overage",
              "tiers": [{ "up_to": 1000, "unit_price": "0.01" }, { "unit_price": "0.005" }]
            },
            "seats": { "name": "seats", "type": "metered", "meter": { "unit": "seat", "aggregation": "gauge" } },
            "sso": { "name": "single sign-on", "type": "boolean" },
            "region": { "name": "the region", "type": "static" }
          },
          "plans": {
            "free": { "name": "Free", "features": { "mails": 100 } },
            "pro": {
              "name": "Pro",
              "description": "More of everything.",
              "prices": [
                { "interval": "month", "amount": 900 },
                { "interval": "year", "currency": "eur", "amount": 9000, "lookup_key": "pro-yearly", "price_id": "price_1" }
              ],
              "trial_days": 7,
              "trial_requires_payment_method": true,
              "invite_only": true,
              "custom_for": "acme",
              "features": {
                "jobs": {
                  "allowance": 12.5, "window": "hour", "mode": "overage", "unit_price": "0.25", "deny_status": 403,
                  "rate_limits": [{ "limit": 1.5, "window": "month" }]
                },
                "seats": 3,
                "mails": { "allowance": 10, "tiers": [{ "unit_price": "0.02" }] },
                "sso": true,
                "region": "eu"
              }
            }
          },
          "token_packages": {
            "small": { "name": "Small", "tokens": 1000, "prices": [{ "currency": "eur", "amount": 500 }], "price_id": "price_2" }
          }
        }
        """;

    public static (Catalog? Catalog, IReadOnlyList<CatalogProblem> Problems) Read(string json, CatalogDefaults? defaults = null) =>
        CatalogReader.Read(Encoding.UTF8.GetBytes(json), defaults);

    public static Catalog Good(string json, CatalogDefaults? defaults = null)
    {
        var (catalog, problems) = Read(json, defaults);
        Assert.Empty(problems);
        return catalog!;
    }

    /// <summary>
    /// The catalog with something else at one place, such as <c>plans/pro/prices/0/amount</c>; <c>-</c> appends to a list.
    /// </summary>
    public static string With(string place, string json, string catalog = Full)
    {
        var root = JsonNode.Parse(catalog)!;
        var steps = place.Split('/');
        var holder = root;
        foreach (var step in steps[..^1]) holder = holder is JsonArray list ? list[Index(step)]! : holder[step]!;
        var value = JsonNode.Parse(json);
        if (holder is not JsonArray array) holder[steps[^1]] = value;
        else if (steps[^1] == "-") array.Add(value);
        else array[Index(steps[^1])] = value;
        return root.ToJsonString();
    }

    /// <summary>The catalog without what stands at one place.</summary>
    public static string Without(string place, string catalog = Full)
    {
        var root = JsonNode.Parse(catalog)!;
        var steps = place.Split('/');
        var holder = root;
        foreach (var step in steps[..^1]) holder = holder is JsonArray list ? list[Index(step)]! : holder[step]!;
        holder.AsObject().Remove(steps[^1]);
        return root.ToJsonString();
    }

    private static int Index(string step) => int.Parse(step, CultureInfo.InvariantCulture);
}
