using System.Text.Json;
using System.Text.Json.Nodes;

namespace Billing.Tests.StripeSandbox;

/// <summary>Every object that the sandbox answers looks like Stripe's own example of it at the pinned version.</summary>
public sealed class ShapeTests
{
    private static readonly JsonObject Examples =
        JsonNode.Parse(File.ReadAllText(Path.Combine(Repository.Root, "Billing.Tests", "StripeSandbox", "stripe-objects-2026-07-29.dahlia.json")))!.AsObject();

    /// <summary>In the examples, and gone from the API since 2025-03-31.basil, or only there when it is asked for.</summary>
    private static readonly string[] LeftOut = ["invoice.subscription", "line_item.subscription", "charge.refunds", "charge.source", "payment_intent.source"];

    /// <summary>Answered by the API and not in the examples, which have no bank debit, no failed refund, no new secret and no member that only another choice brings.</summary>
    private static readonly string[] Added =
        ["payment_method.sepa_debit", "charge.payment_method_details.sepa_debit", "payment_intent.automatic_payment_methods.allow_redirects", "line_item.pricing.price_details", "invoice_payment.payment.payment_intent",
            "subscription.billing_mode.flexible.proration_discounts", "subscription_schedule.billing_mode.flexible.proration_discounts", "refund.failure_reason", "refund.failure_balance_transaction", "webhook_endpoint.secret", "customer.deleted", "checkout.session.line_items", "invoice.payments", "invoice.confirmation_secret"];

    /// <summary>Hashes with members of any name.</summary>
    private static readonly string[] Free = ["metadata", "data", "last_payment_error", "last_setup_error"];

    [Fact]
    public async Task every_object_has_the_members_of_stripes_example_and_no_others()
    {
        await using var stripe = await SandboxClient.Open();
        await Everything(stripe);

        var seen = new HashSet<string>();
        var problems = new List<string>();
        foreach (var type in Examples.Select(e => e.Key))
            foreach (var o in stripe.Server.All(type)) Compare(o, problems, seen);
        Compare((await stripe.Post("/v1/invoices/create_preview", $"subscription={stripe.Server.All("subscription")[0]["id"]}")).Ok().Json, problems, seen);
        foreach (var session in stripe.Server.All("checkout.session"))
            foreach (var item in (await stripe.Get($"/v1/checkout/sessions/{session["id"]}/line_items")).Ok()["data"]!.AsArray()) Compare(item!.AsObject(), problems, seen);

        Assert.True(problems.Count == 0, string.Join('\n', problems.Distinct()));
        Assert.Equal(Examples.Select(e => e.Key).Order(), seen.Order());
    }

    /// <summary>This object against its example, and every object within it against theirs.</summary>
    private static void Compare(JsonObject o, List<string> problems, HashSet<string> seen)
    {
        if (o["object"] is JsonValue named && named.GetValue<string>() is var type && Examples[type] is JsonObject example)
        {
            seen.Add(type);
            CompareMembers(o, example, type, problems);
        }
        foreach (var inner in o.Select(m => m.Value).SelectMany(v => v is JsonArray array ? array : (IEnumerable<JsonNode?>)[v]).OfType<JsonObject>()) Compare(inner, problems, seen);
    }

    private static void CompareMembers(JsonObject o, JsonObject example, string path, List<string> problems)
    {
        foreach (var name in o.Select(m => m.Key).Except(example.Select(m => m.Key)).Where(n => !Added.Contains($"{path}.{n}"))) problems.Add($"{path}.{name} is not Stripe's");
        foreach (var (name, value) in example)
        {
            var member = $"{path}.{name}";
            if (LeftOut.Contains(member) || Free.Contains(name) || name is "card" or "payment_method_details" && !JsonNode.DeepEquals(o["type"] ?? "card", "card")) continue;
            if (!o.ContainsKey(name)) problems.Add($"{member} is missing");
            else if (!AreAlike(o[name], value)) problems.Add($"{member} is {o[name]?.GetValueKind()} and Stripe's is {value?.GetValueKind()}");
            else if (o[name] is JsonObject inner && value is JsonObject of && !inner.ContainsKey("object")) CompareMembers(inner, of, member, problems);
            else if (o[name] is JsonArray { Count: > 0 } ours && value is JsonArray { Count: > 0 } theirs && ours[0] is JsonObject first && theirs[0] is JsonObject model && !first.ContainsKey("object"))
                CompareMembers(first, model, $"{member}[]", problems);
        }
    }

    /// <summary>What may be null says nothing; a reference may be an id or what it refers to.</summary>
    private static bool AreAlike(JsonNode? ours, JsonNode? theirs)
    {
        if (ours is null || theirs is null) return true;
        var (a, b) = (ours.GetValueKind(), theirs.GetValueKind());
        return a == b || a is JsonValueKind.True or JsonValueKind.False && b is JsonValueKind.True or JsonValueKind.False
            || a == JsonValueKind.String && b == JsonValueKind.Object && theirs["id"] is not null;
    }

    /// <summary>Something of every type.</summary>
    private static async Task Everything(SandboxClient stripe)
    {
        var (month, once) = (await stripe.Price("pro-month", 2900), (await stripe.Post("/v1/prices", "currency=eur", "unit_amount=500", "product_data[name]=Tokens")).Ok().Id);
        var customer = await stripe.Customer("pm_card_visa");
        (await stripe.Post("/v1/coupons", "id=half", "percent_off=50", "duration=forever")).Ok();
        (await stripe.Post("/v1/promotion_codes", "promotion[type]=coupon", "promotion[coupon]=half", "code=HALF")).Ok();
        var subscription = (await stripe.Subscribe(customer, month, "discounts[0][coupon]=half")).Ok().Id;
        (await stripe.Post("/v1/subscription_schedules", $"from_subscription={subscription}")).Ok();
        (await stripe.Post("/v1/invoiceitems", $"customer={customer}", "amount=500", "currency=usd")).Ok();
        (await stripe.Post("/v1/invoices", $"customer={customer}", "pending_invoice_items_behavior=include")).Ok();
        (await stripe.Post("/v1/invoices/create_preview", $"subscription={subscription}")).Ok();
        (await stripe.Post("/v1/billing_portal/sessions", $"customer={customer}", "return_url=https://example.com")).Ok();
        (await stripe.Post("/v1/setup_intents", $"customer={customer}", "payment_method=pm_card_visa", "confirm=true")).Ok();
        (await stripe.Post("/v1/webhook_endpoints", "url=http://127.0.0.1:9/", "enabled_events[]=none")).Ok();
        var paid = (await stripe.Post("/v1/payment_intents", "amount=500", "currency=usd", "payment_method=pm_card_visa", "confirm=true")).Ok().Id;
        (await stripe.Post("/v1/refunds", $"payment_intent={paid}", "amount=100")).Ok();
        stripe.Server.Dispute((await stripe.Post("/v1/payment_intents", "amount=500", "currency=usd", "payment_method=pm_card_visa", "confirm=true")).Ok().Id);
        await stripe.Post("/v1/payment_intents", "amount=500", "currency=usd", "payment_method=pm_card_chargeDeclined", "confirm=true");
        var session = (await stripe.Post("/v1/checkout/sessions", "mode=payment", $"line_items[0][price]={once}", "line_items[0][quantity]=1", "success_url=https://example.com", "invoice_creation[enabled]=true")).Ok();
        await stripe.Browse(session.Text("url")!, "iban=AT321904300235473204", "name=Ada", "email=ada@example.com");
        await stripe.AdvanceTo("2027-01-01T00:00:00Z");
    }
}
