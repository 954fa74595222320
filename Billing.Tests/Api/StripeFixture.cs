using System.Text.Json.Nodes;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>Stripe's events as they come at 2026-07-29.dahlia, cut to what carries meaning.</summary>
public static class StripeFixture
{
    private static int ids;

    public static string NewId(string prefix) => $"{prefix}_{Interlocked.Increment(ref ids):D6}";

    public static JsonObject Event(string type, JsonObject data, Instant created, string? id = null) => new()
    {
        ["id"] = id ?? NewId("evt"),
        ["object"] = "event",
        ["api_version"] = "2026-07-29.dahlia",
        ["created"] = created.ToUnixTimeSeconds(),
        ["livemode"] = false,
        ["pending_webhooks"] = 1,
        ["request"] = new JsonObject { ["id"] = null, ["idempotency_key"] = null },
        ["type"] = type,
        ["data"] = new JsonObject { ["object"] = data.DeepClone() },
    };

    /// <param name="lookupKey">Such as <c>pro-month</c>.</param>
    public static JsonObject Subscription(
        string id, string customer, string lookupKey, string status, Instant created, Instant periodStart, Instant periodEnd,
        string? organization = null, Instant? trialEnd = null, bool cancelAtPeriodEnd = false, Instant? canceledAt = null, Instant? endedAt = null)
    {
        var metadata = new JsonObject();
        if (organization is not null) metadata["organization_id"] = organization;
        return new JsonObject
        {
            ["id"] = id,
            ["object"] = "subscription",
            ["customer"] = customer,
            ["status"] = status,
            ["created"] = created.ToUnixTimeSeconds(),
            ["billing_cycle_anchor"] = periodStart.ToUnixTimeSeconds(),
            ["cancel_at"] = null,
            ["cancel_at_period_end"] = cancelAtPeriodEnd,
            ["canceled_at"] = canceledAt?.ToUnixTimeSeconds(),
            ["ended_at"] = endedAt?.ToUnixTimeSeconds(),
            ["trial_end"] = trialEnd?.ToUnixTimeSeconds(),
            ["metadata"] = metadata,
            ["items"] = new JsonObject
            {
                ["object"] = "list",
                ["has_more"] = false,
                ["data"] = new JsonArray(new JsonObject
                {
                    ["id"] = $"si_{id}",
                    ["object"] = "subscription_item",
                    ["current_period_start"] = periodStart.ToUnixTimeSeconds(),
                    ["current_period_end"] = periodEnd.ToUnixTimeSeconds(),
                    ["quantity"] = 1,
                    ["price"] = new JsonObject { ["id"] = $"price_{lookupKey}", ["object"] = "price", ["lookup_key"] = lookupKey },
                }),
            },
        };
    }

    /// <summary>The same object with some members changed.</summary>
    public static JsonObject With(this JsonObject data, params (string Name, JsonNode? Value)[] changes)
    {
        var copy = data.DeepClone().AsObject();
        foreach (var (name, value) in changes) copy[name] = value;
        return copy;
    }

    /// <summary>The same subscription for another paid period.</summary>
    public static JsonObject ForPeriod(this JsonObject subscription, Instant start, Instant end)
    {
        var copy = subscription.DeepClone().AsObject();
        var item = copy["items"]!["data"]![0]!;
        item["current_period_start"] = start.ToUnixTimeSeconds();
        item["current_period_end"] = end.ToUnixTimeSeconds();
        return copy;
    }

    /// <summary>The same subscription at another price.</summary>
    public static JsonObject AtPrice(this JsonObject subscription, string lookupKey)
    {
        var copy = subscription.DeepClone().AsObject();
        copy["items"]!["data"]![0]!["price"] = new JsonObject { ["id"] = $"price_{lookupKey}", ["object"] = "price", ["lookup_key"] = lookupKey };
        return copy;
    }

    public static JsonObject Invoice(string id, string customer, string subscription, long amount, int attempts, bool paid) => new()
    {
        ["id"] = id,
        ["object"] = "invoice",
        ["customer"] = customer,
        ["status"] = paid ? "paid" : "open",
        ["amount_due"] = amount,
        ["amount_paid"] = paid ? amount : 0,
        ["attempt_count"] = attempts,
        ["currency"] = "usd",
        ["metadata"] = new JsonObject(),
        ["parent"] = new JsonObject
        {
            ["type"] = "subscription_details",
            ["subscription_details"] = new JsonObject { ["subscription"] = subscription, ["metadata"] = new JsonObject() },
        },
    };

    /// <summary>A checkout session for a token package, in mode payment.</summary>
    public static JsonObject TokenSession(string id, string organization, string package, string? paymentIntent, long amount, string paymentStatus = "paid", string? customer = null) => new()
    {
        ["id"] = id,
        ["object"] = "checkout.session",
        ["mode"] = "payment",
        ["status"] = "complete",
        ["payment_status"] = paymentStatus,
        ["customer"] = customer,
        ["client_reference_id"] = organization,
        ["payment_intent"] = paymentIntent,
        ["subscription"] = null,
        ["amount_total"] = amount,
        ["currency"] = "usd",
        ["metadata"] = new JsonObject { ["organization_id"] = organization, ["token_package"] = package },
    };

    public static JsonObject SubscriptionSession(string id, string organization, string customer, string subscription) => new()
    {
        ["id"] = id,
        ["object"] = "checkout.session",
        ["mode"] = "subscription",
        ["status"] = "complete",
        ["payment_status"] = "paid",
        ["customer"] = customer,
        ["client_reference_id"] = organization,
        ["payment_intent"] = null,
        ["subscription"] = subscription,
        ["metadata"] = new JsonObject(),
    };

    public static JsonObject PaymentIntent(string id, long amount, string? organization, string? package, string? customer = null)
    {
        var metadata = new JsonObject();
        if (organization is not null) metadata["organization_id"] = organization;
        if (package is not null) metadata["token_package"] = package;
        return new JsonObject
        {
            ["id"] = id,
            ["object"] = "payment_intent",
            ["status"] = "succeeded",
            ["amount"] = amount,
            ["amount_received"] = amount,
            ["currency"] = "usd",
            ["customer"] = customer,
            ["metadata"] = metadata,
        };
    }
}
