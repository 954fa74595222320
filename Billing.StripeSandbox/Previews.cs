using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>The invoice that would come. It is made for real, on copies, so that it cannot differ from what comes.</summary>
internal static class Previews
{
    private const string Details = $"subscription_details{{{Subscriptions.Items} proration_behavior(create_prorations|always_invoice|none) proration_date# cancel_now? cancel_at_period_end? cancel_at# trial_end@ billing_cycle_anchor{{type!(now|unchanged)}} default_payment_method}}";

    public static readonly Operation[] Operations =
    [
        new("POST", "/invoices/create_preview", $"customer subscription schedule {Details} invoice_items[amount# currency description quantity# metadata{{*}}] {Coupons.Discounts} preview_mode(next|recurring) currency automatic_tax{{enabled!?}}", Preview),
    ];

    private static JsonObject Preview(Call c)
    {
        var (s, p) = (c.S, c.P);
        var scheduled = p.Text("schedule") is { } id ? s.Find("subscription_schedule", id, "schedule").Text("subscription") : null;
        var named = p.Text("subscription") ?? scheduled;
        var customer = p.Text("customer") ?? (named is null ? null : s.Find("subscription", named, "subscription").Text("customer"))
            ?? throw StripeError.Invalid("You must supply `customer`, `subscription` or `schedule`.", "customer", "parameter_missing");
        s.Find("customer", customer, "customer");
        var trial = s.PreviewFor(customer);
        foreach (var extra in p.Each("invoice_items"))
            trial.Add(trial.New("invoiceitem").Set("customer", customer).Set("period.start", s.Now).Set("period.end", s.Now).Set("quantity", extra.Number("quantity") ?? 1).Take(extra, "amount", "currency", "description", "metadata"));
        var invoice = named is not null ? OfSubscription(trial, trial.Find("subscription", named, "subscription"), p.Object("subscription_details") ?? [])
            : p.Object("subscription_details") is { } details ? OfNew(trial, customer, details, p)
            : throw NoneComes(customer);
        return Presented(s, invoice ?? throw NoneComes(customer));
    }

    private static JsonObject? OfSubscription(Sandbox trial, JsonObject subscription, JsonObject details)
    {
        if (Subscriptions.HasEnded(subscription)) return null;
        if (details.Flag("cancel_now"))
        {
            if (details.Text("proration_behavior") is not "none") SubscriptionChanges.GiveBack(trial, subscription, Subscriptions.ItemsOf(subscription), details.Number("proration_date") ?? trial.Now);
            return Invoices.Draft(trial, trial.Find("customer", subscription.Text("customer")), subscription, "manual", []);
        }
        var now = SubscriptionChanges.Apply(trial, subscription, details, o => Subscriptions.Take(trial, o, details));
        if (now is not null) return now;
        if (subscription.Number("cancel_at") <= Subscriptions.PeriodEnd(subscription))
            return InvoiceItems.Pending(trial, subscription.Text("customer")!, subscription.Text("id")).Any()
                ? Invoices.Draft(trial, trial.Find("customer", subscription.Text("customer")), subscription, "upcoming", []) : null;
        var (before, end) = (subscription.Text("latest_invoice"), Subscriptions.PeriodEnd(subscription));
        SubscriptionClock.GoOn(trial, subscription);
        if (subscription.Text("latest_invoice") == before) return null;
        var invoice = trial.Find("invoice", subscription.Text("latest_invoice"));
        return invoice.Set("billing_reason", "upcoming").Set("created", end).Set("next_payment_attempt", end + 3600);
    }

    private static JsonObject OfNew(Sandbox trial, string customer, JsonObject details, JsonObject sent)
    {
        var sold = details.Each("items").Select((i, place) => (Prices.Of(trial, i, $"subscription_details[items][{place}]"), i.Number("quantity") ?? 1, (JsonObject?)null)).ToList();
        if (sold.Count == 0) throw StripeError.Invalid("Missing required param: subscription_details[items].", "subscription_details[items]", "parameter_missing");
        var terms = details.Copy();
        if (sent["discounts"] is { } discounts) terms["discounts"] = discounts.DeepClone();
        var subscription = trial.Add(Subscriptions.Make(trial, trial.Find("customer", customer), sold, terms));
        return Subscriptions.DraftPeriod(trial, subscription, "upcoming");
    }

    private static JsonObject Presented(Sandbox s, JsonObject invoice)
    {
        var id = s.NewId("upcoming_in");
        foreach (var line in invoice.Each("lines")) line.Set("id", s.NewId("il_tmp")).Set("invoice", id);
        return invoice.Set("id", id).Set("lines.url", $"/v1/invoices/{id}/lines").Set("automatically_finalizes_at", null);
    }

    private static StripeError NoneComes(string customer) => new(404, "invalid_request_error", "invoice_upcoming_none", $"No upcoming invoices for customer: {customer}");
}
