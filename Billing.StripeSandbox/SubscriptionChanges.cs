using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>Another plan, another quantity, another interval, another end of the trial: what is given back and what it costs.</summary>
/// <remarks>Sources: docs.stripe.com/billing/subscriptions/prorations and /billing-mode, "flexible".</remarks>
internal static class SubscriptionChanges
{
    private const long PendingLasts = 23 * 3600;

    /// <summary>Makes a change as it was asked for, and collects what is due for it now.</summary>
    /// <param name="besides">What changes that has no price.</param>
    /// <returns>The invoice that it made; null when there is none.</returns>
    public static JsonObject? Apply(Sandbox s, JsonObject subscription, JsonObject sent, Action<JsonObject> besides)
    {
        var behaviour = sent.Text("payment_behavior") ?? "allow_incomplete";
        if (behaviour is "error_if_incomplete" or "pending_if_incomplete" && !s.IsPreview && Changes(sent))
        {
            // Tried on copies first: what is refused must change nothing.
            var trial = s.PreviewFor(subscription.Text("customer")!);
            var due = Apply(trial, trial.Find("subscription", subscription.Text("id")), sent, _ => { }).Number("amount_due") ?? 0;
            var method = Customers.DefaultMethod(s, subscription, subscription.Text("customer")!);
            if (due > 0 && behaviour == "error_if_incomplete") PaymentIntents.Foresee(method, sent.Flag("off_session"));
            if (due > 0 && behaviour == "pending_if_incomplete" && !PaymentIntents.WillSucceed(method, sent.Flag("off_session"))) return Postpone(s, subscription, sent, method);
        }
        JsonObject? invoice = null;
        s.Change(subscription, o =>
        {
            invoice = Reprice(s, o, sent);
            // The end of the period may have moved.
            if (o.Flag("cancel_at_period_end")) o["cancel_at"] = Subscriptions.PeriodEnd(o);
            besides(o);
        }, "customer.subscription.updated");
        if (invoice is not null)
        {
            Invoices.Finalize(s, invoice);
            if (behaviour == "default_incomplete" && invoice.Text("status") == "open") s.Change(subscription, o => o["status"] = "past_due", "customer.subscription.updated");
            else if (subscription.Text("collection_method") == "charge_automatically") Invoices.Pay(s, invoice, sent.Flag("off_session"));
        }
        Subscriptions.WarnOfTrialEnd(s, subscription);
        return invoice;
    }

    private static bool Changes(JsonObject sent) => sent.Has("items") || sent.Has("trial_end") || sent.Text("billing_cycle_anchor.type") == "now";

    /// <returns>The invoice to be collected now.</returns>
    private static JsonObject? Reprice(Sandbox s, JsonObject subscription, JsonObject sent)
    {
        if (!Changes(sent)) return null;
        var prorates = (sent.Text("proration_behavior") ?? "create_prorations") != "none";
        var at = sent.Number("proration_date") ?? s.Now;
        var old = Subscriptions.ItemsOf(subscription).Select(i => i.Copy()).ToList();
        var items = Planned(s, subscription, sent);
        var (start, end) = (old.Min(i => i.Number("current_period_start")!.Value), Subscriptions.PeriodEnd(subscription));
        if (at < start || at > end) throw StripeError.Invalid($"The proration date must be within the current period of the subscription ({start} to {end}).", "proration_date");

        var wasTrialing = subscription.Text("status") == "trialing";
        var endsTrial = wasTrialing && (sent.Text("trial_end") == "now" || sent.Number("trial_end") <= s.Now);
        if (!endsTrial && sent.Number("trial_end") is { } trialEnd)
        {
            if (prorates && !wasTrialing) GiveBack(s, subscription, old, at);
            Put(subscription, items);
            subscription.Set("status", "trialing").Set("trial_end", trialEnd).Set("billing_cycle_anchor", trialEnd).Set("_warned", false);
            if (!wasTrialing) subscription["trial_start"] = s.Now;
            foreach (var item in items) item.Set("current_period_end", trialEnd).Set("current_period_start", wasTrialing ? start : s.Now).Set("_charged", null);
            return null;
        }
        if (wasTrialing && !endsTrial)
        {
            Put(subscription, items);
            return null;
        }

        var restarts = endsTrial || sent.Text("billing_cycle_anchor.type") == "now" || !Periods.AreAlike(items[0].Object("price")!, old[0].Object("price")!)
            || old.All(i => Cost(i) == 0) && items.Any(i => Cost(i) > 0);
        var changed = old.Where(o => items.FirstOrDefault(n => n.Text("id") == o.Text("id")) is not { } now || IsOther(o, now)).ToList();
        if (prorates) GiveBack(s, subscription, restarts ? old : changed, at);
        Put(subscription, items);
        if (endsTrial) subscription.Set("status", "active").Set("trial_end", s.Now);
        if (restarts)
        {
            Subscriptions.StartPeriod(subscription, s.Now, s.Now);
            return Subscriptions.DraftPeriod(s, subscription, "subscription_update");
        }
        foreach (var item in items.Where(n => old.FirstOrDefault(o => o.Text("id") == n.Text("id")) is not { } before || IsOther(before, n)))
        {
            item.Set("current_period_start", start).Set("current_period_end", end);
            if (prorates) Charge(s, subscription, item, at);
        }
        if (sent.Text("proration_behavior") != "always_invoice") return null;
        if (!InvoiceItems.Pending(s, subscription.Text("customer")!, subscription.Text("id")).Any()) return null;
        var invoice = Invoices.Draft(s, s.Find("customer", subscription.Text("customer")), subscription, "subscription_update", []);
        subscription["latest_invoice"] = invoice.Text("id");
        return invoice;
    }

    /// <summary>With an id an item is changed, without one it is added. A change of price makes it one again, unless the quantity is said.</summary>
    private static List<JsonObject> Planned(Sandbox s, JsonObject subscription, JsonObject sent)
    {
        var items = Subscriptions.ItemsOf(subscription).Select(i => i.Copy()).ToList();
        foreach (var (place, asked) in sent.Each("items").Index())
        {
            if (asked.Text("id") is not { } id)
            {
                items.Add(Subscriptions.NewItem(s, subscription.Text("id")!, Prices.Of(s, asked, $"items[{place}]"), asked.Number("quantity") ?? 1));
                continue;
            }
            var item = items.FirstOrDefault(i => i.Text("id") == id) ?? throw StripeError.Invalid($"No such subscription item: '{id}'", $"items[{place}][id]", "resource_missing");
            if (asked.Flag("deleted"))
            {
                items.Remove(item);
                continue;
            }
            if (asked.Text("price") is not null || asked.Object("price_data") is not null)
            {
                var price = Prices.Of(s, asked, $"items[{place}]");
                if (price.Text("type") != "recurring") throw StripeError.Invalid("The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.", $"items[{place}][price]");
                if (price.Text("currency") != subscription.Text("currency")) throw StripeError.Invalid("All prices on a subscription must have the same `currency`.", $"items[{place}][price]");
                if (price.Text("id") != item.Text("price.id")) item["quantity"] = 1;
                Subscriptions.SetPrice(item, price);
            }
            if (asked.Number("quantity") is { } quantity) item["quantity"] = quantity;
            item.Merge(asked);
        }
        if (items.Count == 0) throw StripeError.Invalid("A subscription must have at least one active plan.", "items");
        if (items.Select(i => i.Text("price.id")).Distinct().Count() < items.Count)
            throw StripeError.Invalid("Cannot add multiple subscription items with the same price. Did you mean to update the one that is there, by its id?", "items");
        if (items.Any(i => !Periods.AreAlike(i.Object("price")!, items[0].Object("price")!)))
            throw StripeError.Invalid("All prices on a subscription must have the same `recurring.interval` and `recurring.interval_count`. If you meant to update an existing subscription item instead of creating a new one, make sure to include the subscription item ID.", "items");
        return items;
    }

    private static void Put(JsonObject subscription, List<JsonObject> items) => subscription.Set("items.data", new JsonArray([.. items]));

    private static bool IsOther(JsonObject before, JsonObject now) => before.Text("price.id") != now.Text("price.id") || before.Number("quantity") != now.Number("quantity");

    private static long Cost(JsonObject item) => Prices.Amount(item.Object("price")!, item.Number("quantity") ?? 1);

    /// <summary>The unused rest of what was really charged, as what is pending for the next invoice.</summary>
    public static void GiveBack(Sandbox s, JsonObject subscription, IEnumerable<JsonObject> items, long at)
    {
        foreach (var item in items)
        {
            if (item.Object("_charged") is not { } charged || charged.Number("end") <= at) continue;
            var amount = -Periods.Rest(charged.Number("amount")!.Value, charged.Number("start")!.Value, charged.Number("end")!.Value, Math.Max(at, charged.Number("start")!.Value));
            if (amount != 0) InvoiceItems.Prorate(s, subscription, item, amount, at, $"Unused time on {Name(s, item)} after {Money.Day(at)}");
        }
    }

    private static void Charge(Sandbox s, JsonObject subscription, JsonObject item, long at)
    {
        var end = item.Number("current_period_end")!.Value;
        var amount = Periods.Rest(Cost(item), item.Number("current_period_start")!.Value, end, at);
        item["_charged"] = new JsonObject { ["amount"] = amount, ["start"] = at, ["end"] = end };
        if (amount != 0) InvoiceItems.Prorate(s, subscription, item, amount, at, $"Remaining time on {Name(s, item)} after {Money.Day(at)}");
    }

    private static string Name(Sandbox s, JsonObject item) => $"{(item.Number("quantity") is > 1 and var n ? $"{n} × " : "")}{s.Store.Find(item.Text("price.product")).Text("name")}";

    // ---- a change that waits for its payment

    private static JsonObject Postpone(Sandbox s, JsonObject subscription, JsonObject sent, JsonObject? method)
    {
        var trial = s.PreviewFor(subscription.Text("customer")!);
        var planned = Apply(trial, trial.Find("subscription", subscription.Text("id")), sent, _ => { })!;
        var lines = planned.Each("lines").Select(l => { var line = l.Copy(); line["_invoiceitem"] = null; return line; }).ToList();
        var invoice = Invoices.Draft(s, s.Find("customer", subscription.Text("customer")), subscription, "subscription_update", lines, takesPending: false);
        s.Change(subscription, o =>
        {
            o.Set("latest_invoice", invoice.Text("id")).Set("_pending_invoice", invoice.Text("id")).Set("_pending_change", sent.Copy());
            o["pending_update"] = new JsonObject
            {
                ["billing_cycle_anchor"] = null, ["discount"] = null, ["discounts"] = null, ["expires_at"] = s.Now + PendingLasts, ["metadata"] = null,
                ["subscription_items"] = new JsonArray([.. trial.Find("subscription", o.Text("id")).Each("items").Select(i => i.Presented())]),
                ["trial_end"] = null, ["trial_from_plan"] = null,
            };
        }, "customer.subscription.updated");
        Invoices.Finalize(s, invoice);
        Invoices.Pay(s, invoice, sent.Flag("off_session"), method);
        return invoice;
    }

    public static void ApplyPending(Sandbox s, JsonObject subscription)
    {
        var sent = subscription.Object("_pending_change")!.Copy();
        s.Change(subscription, o =>
        {
            o.Set("pending_update", null).Set("_pending_change", null).Set("_pending_invoice", null);
            var items = Planned(s, o, sent);
            foreach (var item in items)
                item["_charged"] = new JsonObject { ["amount"] = Periods.Rest(Cost(item), item.Number("current_period_start")!.Value, item.Number("current_period_end")!.Value, s.Now), ["start"] = s.Now, ["end"] = item.Number("current_period_end") };
            Put(o, items);
        }, "customer.subscription.updated");
        s.Emit("customer.subscription.pending_update_applied", subscription);
    }

    public static void ExpirePending(Sandbox s, JsonObject subscription)
    {
        var invoice = s.Find("invoice", subscription.Text("_pending_invoice"));
        s.Change(subscription, o => o.Set("pending_update", null).Set("_pending_change", null).Set("_pending_invoice", null), "customer.subscription.updated");
        if (invoice.Text("status") == "open") Invoices.Void(s, invoice);
        s.Emit("customer.subscription.pending_update_expired", subscription);
    }
}
