using System.Security.Cryptography;
using System.Text;
using Billing.Ledger;
using Billing.Tests.Ledger;
using NodaTime;

namespace Billing.Tests.Grains;

/// <summary>A small catalog and the commands that tests of the loop send.</summary>
internal static class Sessions
{
    public static readonly Instant At = Instant.FromUtc(2026, 11, 20, 10, 0);

    /// <summary><c>calls</c> are unlimited; of <c>jobs</c> there are 300 in a month; <c>renders</c> take tokens.</summary>
    public static readonly Catalogs Catalogs = new([TestCatalog.Good(
        """
        {
          "currency": "usd",
          "fallback_plan": "free", "warn_at": [],
          "features": {
            "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call", "window": "day" }, "mode": "block" },
            "jobs": { "name": "jobs", "type": "metered", "meter": { "unit": "job", "window": "month" }, "mode": "block" },
            "renders": { "name": "renders", "type": "metered", "meter": { "unit": "render", "window": "month" }, "mode": "tokens" },
            "seats": { "name": "seats", "type": "metered", "meter": { "unit": "seat", "aggregation": "gauge" } }
          },
          "plans": {
            "free": { "name": "Free", "features": { "calls": "unlimited", "jobs": 300, "renders": 0, "seats": 5 } },
            "pro": { "name": "Pro", "features": { "calls": "unlimited", "jobs": 9000, "renders": 10, "seats": 50 } }
          }
        }
        """) with { Version = 1 }]);

    public static OpenOrganization Open(string id = "open") => new("UTC", false, null) { Id = id, ContentHash = Hash("open"), At = At };

    public static RecordUsage Use(string id, string feature = "calls", decimal quantity = 1) =>
        new(feature, quantity, null, null, true, null) { Id = id, ContentHash = Hash($"{feature} {quantity}"), At = At };

    public static RecordUsage[] Uses(string prefix, int count, string feature = "calls") => [.. Enumerable.Range(0, count).Select(i => Use($"{prefix}{i}", feature))];

    public static byte[] Hash(string text) => SHA256.HashData(Encoding.UTF8.GetBytes(text));
}
