using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

internal static class Subscriptions
{
    private const string Behaviours = "payment_behavior(allow_incomplete|default_incomplete|error_if_incomplete|pending_if_incomplete) proration_behavior(create_prorations|always_invoice|none) off_session?";

    /// <summary>What a subscription takes from whoever makes one, directly or by a checkout session.</summary>
    public const string Selling = "billing_mode{type!(classic|flexible) flexible{proration_discounts(included|itemized)}} description metadata{*} trial_end@ trial_period_days# trial_settings{end_behavior!{missing_payment_method!(cancel|create_invoice|pause)}}";

    private const string Common = $"automatic_tax{{enabled!?}} cancel_at@ cancel_at_period_end? collection_method(charge_automatically|send_invoice) days_until_due# default_payment_method {Coupons.Discounts}"
        + " payment_settings{save_default_payment_method(off|on_subscription)}";

    private const string Cancellation = "cancellation_details{comment feedback}";

    /// <summary>The subscription's items as they are to be.</summary>
    public const string Items = $"items[id price {Prices.Inline} quantity# deleted? metadata{{*}}]";

    public static readonly Operation[] Operations =
    [
        new("POST", "/subscriptions", $"customer! items![price {Prices.Inline} quantity# metadata{{*}}] {Selling} {Common} {Behaviours}", Create),
        new("GET", "/subscriptions", "customer status(active|past_due|unpaid|canceled|incomplete|incomplete_expired|trialing|paused|all|ended) price collection_method created{gt# gte# lt# lte#} limit# starting_after ending_before", List),
        new("GET", "/subscriptions/{id}", "", c => c.S.Find("subscription", c.Id)),
        new("POST", "/subscriptions/{id}",
            $"{Items} {Common} {Behaviours} {Cancellation} description metadata{{*}} trial_end@ trial_settings{{end_behavior!{{missing_payment_method!(cancel|create_invoice|pause)}}}} proration_date# pause_collection{{behavior!(keep_as_draft|mark_uncollectible|void) resumes_at#}} billing_cycle_anchor{{type!(now|unchanged)}}",
            Update),
        new("DELETE", "/subscriptions/{id}", $"prorate? invoice_now? {Cancellation}", c => Cancel(c.S, c.S.Find("subscription", c.Id), c.P)),
        new("POST", "/subscriptions/{id}/resume", "billing_cycle_anchor{type!(now|unchanged)} proration_behavior(create_prorations|always_invoice|none) proration_date#", Resume),
    ];

    public static bool HasEnded(JsonObject subscription) => subscription.Text("status") is "canceled" or "incomplete_expired";

    public static IReadOnlyList<JsonObject> ItemsOf(JsonObject subscription) => subscription.Each("items");

    public static long PeriodEnd(JsonObject subscription) => ItemsOf(subscription).Min(i => i.Number("current_period_end")!.Value);

    public static JsonObject NewItem(Sandbox s, string subscription, JsonObject price, long quantity)
    {
        if (price.Text("type") != "recurring") throw StripeError.Invalid($"The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.", "items[0][price]");
        var item = s.New("subscription_item");
        SetPrice(item, price);
        return item.Set("quantity", quantity).Set("subscription", subscription);
    }

    public static void SetPrice(JsonObject item, JsonObject price)
    {
        var plan = Sandbox.Shape("plan");
        foreach (var name in (string[])["id", "active", "billing_scheme", "created", "currency", "metadata", "nickname", "product"]) plan.Set(name, price[name]);
        plan.Set("amount", price["unit_amount"]).Set("amount_decimal", price["unit_amount_decimal"]).Set("interval", price.At("recurring.interval")).Set("interval_count", price.At("recurring.interval_count"));
        item.Set("price", price.Copy()).Set("plan", plan);
    }

    // ---- a new one

    /// <summary>A subscription with its items and its first period, not told of yet.</summary>
    public static JsonObject Make(Sandbox s, JsonObject customer, IReadOnlyList<(JsonObject Price, long Quantity, JsonObject? Sent)> sold, JsonObject sent)
    {
        var subscription = s.New("subscription");
        var id = subscription.Text("id")!;
        if (sold.Any(x => x.Price.Text("currency") != sold[0].Price.Text("currency"))) throw StripeError.Invalid("All prices on a subscription must have the same `currency`.", "items");
        if (sold.Any(x => !Periods.AreAlike(x.Price, sold[0].Price))) throw StripeError.Invalid("All prices on a subscription must have the same `recurring.interval` and `recurring.interval_count`.", "items");
        var items = sold.Select(x =>
        {
            var item = NewItem(s, id, x.Price, x.Quantity);
            if (x.Sent is not null) item.Merge(x.Sent);
            return item;
        });
        subscription["items"] = Json.List($"/v1/subscription_items?subscription={id}", items);
        subscription.Set("customer", customer.Text("id")).Set("currency", sold[0].Price.Text("currency")).Set("start_date", s.Now);
        if (sent.Text("billing_mode.type") is { } mode) subscription["billing_mode"] = new JsonObject { ["type"] = mode, ["flexible"] = mode == "flexible" ? new JsonObject { ["proration_discounts"] = "included" } : null };
        var trialEnd = sent.Number("trial_end") ?? (sent.Number("trial_period_days") is > 0 and var days ? s.Now + 86_400 * days : null);
        if (trialEnd <= s.Now) throw StripeError.Invalid("Timestamp must be an integer Unix timestamp in the future", "trial_end");
        if (trialEnd is { } end) StartTrial(s, subscription, end);
        else StartPeriod(subscription, s.Now, anchor: s.Now);
        Take(s, subscription, sent);
        if (sent.Has("discounts")) subscription["discounts"] = Coupons.Make(s, sent, customer.Text("id")!, id);
        return subscription;
    }

    private static void StartTrial(Sandbox s, JsonObject subscription, long end)
    {
        subscription.Set("status", "trialing").Set("trial_start", s.Now).Set("trial_end", end).Set("billing_cycle_anchor", end).Set("_warned", false);
        foreach (var item in ItemsOf(subscription)) item.Set("current_period_start", s.Now).Set("current_period_end", end).Set("_charged", null);
    }

    public static void StartPeriod(JsonObject subscription, long start, long anchor)
    {
        subscription["billing_cycle_anchor"] = anchor;
        foreach (var item in ItemsOf(subscription))
            item.Set("current_period_start", start).Set("current_period_end", Periods.NextAfter(anchor, item.Object("price")!, start));
    }

    /// <summary>The invoice of the period that runs.</summary>
    public static JsonObject DraftPeriod(Sandbox s, JsonObject subscription, string reason, Action<JsonObject>? prepare = null)
    {
        var isTrial = subscription.Text("status") == "trialing";
        var lines = ItemsOf(subscription).Select(i => InvoiceLines.OfItem(s, subscription, i, i.Number("current_period_start")!.Value, i.Number("current_period_end")!.Value, isTrial)).ToList();
        var invoice = Invoices.Draft(s, s.Find("customer", subscription.Text("customer")), subscription, reason, lines, prepare: prepare);
        subscription["latest_invoice"] = invoice.Text("id");
        Remember(subscription, invoice);
        return invoice;
    }

    /// <summary>What was charged for each item, after discounts, is what is given back of when it changes.</summary>
    private static void Remember(JsonObject subscription, JsonObject invoice)
    {
        foreach (var line in invoice.Each("lines").Where(l => l.Text("_item") is not null))
            if (ItemsOf(subscription).FirstOrDefault(i => i.Text("id") == line.Text("_item")) is { } item)
                item["_charged"] = new JsonObject
                {
                    ["amount"] = line.Number("amount") - line.Each("discount_amounts").Sum(d => d.Number("amount")),
                    ["start"] = line.Number("period.start"),
                    ["end"] = line.Number("period.end"),
                };
    }

    private static JsonObject Create(Call c)
    {
        var (s, p) = (c.S, c.P);
        var customer = Customers.Named(s, p)!;
        var sold = p.Each("items").Select((i, place) => (Prices.Of(s, i, $"items[{place}]"), i.Number("quantity") ?? 1, (JsonObject?)i)).ToList();
        if (sold.Count == 0) throw StripeError.OfRequest("Missing required param: items.", "items", "parameter_missing");
        var method = p.Text("default_payment_method") is { } named ? PaymentMethods.Named(s, named, "default_payment_method") : null;
        if (method is not null && method.Text("customer") != customer.Text("id"))
            throw StripeError.Invalid($"The customer does not have a payment method with the ID {method.Text("id")}. The payment method must be attached to the customer.", "default_payment_method", "resource_missing");
        var behaviour = p.Text("payment_behavior") ?? "allow_incomplete";
        var isTrial = p.Number("trial_period_days") > 0 || p.Number("trial_end") is not null;
        var isSent = p.Text("collection_method") == "send_invoice";
        if (isSent && p.Number("days_until_due") is null) throw StripeError.Invalid("You must specify `days_until_due` when `collection_method` is `send_invoice`.", "days_until_due", "parameter_missing");
        method ??= Customers.DefaultMethod(s, null, customer.Text("id")!);
        var costs = sold.Any(x => Prices.Amount(x.Item1, x.Item2) > 0);
        if (method is null && costs && !isTrial && !isSent && behaviour != "default_incomplete")
            throw StripeError.Invalid("This customer has no attached payment source or default payment method. Please consider adding a default payment method. For more information, visit https://stripe.com/docs/billing/subscriptions/payment-methods-setting#payment-method-priority.", code: "resource_missing");
        if (behaviour == "error_if_incomplete" && costs && !isTrial && !isSent) PaymentIntents.Foresee(method!, p.Flag("off_session"));

        var subscription = s.Add(Make(s, customer, sold, p));
        var isUnpaid = behaviour == "default_incomplete" && costs && !isTrial;
        if (isUnpaid) s.Emit("customer.subscription.created", subscription);
        var invoice = DraftPeriod(s, subscription, "subscription_create");
        Invoices.Finalize(s, invoice);
        if (isSent) s.Change(subscription, o => o["status"] = o.Text("status") == "incomplete" ? "active" : o.Text("status"));
        else if (!isUnpaid) Invoices.Pay(s, invoice, p.Flag("off_session"));
        if (isTrial && method is not null && TestCards.Of(method).Authentication is Authentication.Always or Authentication.UnlessSetUp && !method.Flag("_set_up"))
        {
            var setup = SetupIntents.New(s, customer.Text("id"));
            SetupIntents.Confirm(s, setup, method);
            s.Change(subscription, o => o["pending_setup_intent"] = setup.Text("id"));
        }
        if (!isUnpaid) s.Emit("customer.subscription.created", subscription);
        WarnOfTrialEnd(s, subscription);
        return subscription;
    }

    public static void Take(Sandbox s, JsonObject subscription, JsonObject sent)
    {
        subscription.Take(sent, "collection_method", "days_until_due", "default_payment_method", "description", "trial_settings").Merge(sent);
        if (sent.Object("automatic_tax") is { } tax) subscription.Set("automatic_tax.enabled", tax.Flag("enabled"));
        if (sent.Text("payment_settings.save_default_payment_method") is { } saves) subscription.Set("payment_settings.save_default_payment_method", saves);
        foreach (var (name, value) in sent.Object("cancellation_details") ?? []) subscription.Set($"cancellation_details.{name}", value);
        if (!sent.Has("cancel_at_period_end") && !sent.Has("cancel_at")) return;
        var atEnd = sent.Flag("cancel_at_period_end");
        var at = atEnd ? PeriodEnd(subscription) : sent.Number("cancel_at");
        subscription.Set("cancel_at_period_end", atEnd).Set("cancel_at", at).Set("canceled_at", atEnd || at is not null ? s.Now : null);
        subscription.Set("cancellation_details.reason", atEnd || at is not null ? "cancellation_requested" : null);
    }

    /// <summary>Three days before a trial ends; at once when it ends sooner.</summary>
    public static void WarnOfTrialEnd(Sandbox s, JsonObject subscription)
    {
        if (subscription.Text("status") != "trialing" || subscription.Flag("_warned") || subscription.Number("trial_end") - SubscriptionClock.TrialWarning > s.Now) return;
        s.Change(subscription, o => o["_warned"] = true);
        s.Emit("customer.subscription.trial_will_end", subscription);
    }

    private static JsonObject List(Call c)
    {
        var status = c.P.Text("status");
        return c.Page(c.S.Store.Of("subscription").Where(o => (c.P.Text("customer") is not { } customer || o.Text("customer") == customer)
            && status switch { null => o.Text("status") != "canceled", "all" => true, "ended" => HasEnded(o), _ => o.Text("status") == status }
            && (c.P.Text("price") is not { } price || ItemsOf(o).Any(i => i.Text("price.id") == price)) && c.IsCreatedInRange(o)));
    }

    // ---- changes

    private static JsonObject Update(Call c)
    {
        var (s, p) = (c.S, c.P);
        var subscription = s.Find("subscription", c.Id);
        if (HasEnded(subscription) && p.Any(x => x.Key is not ("metadata" or "cancellation_details" or "expand")))
            throw StripeError.Invalid("A canceled subscription can only update its cancellation_details and metadata.");
        if (p.Text("default_payment_method") is { } method && PaymentMethods.Named(s, method, "default_payment_method").Text("customer") != subscription.Text("customer"))
            throw StripeError.Invalid($"The customer does not have a payment method with the ID {method}. The payment method must be attached to the customer.", "default_payment_method", "resource_missing");
        if (subscription.Text("schedule") is { } schedule && (p.Has("cancel_at_period_end") || p.Has("cancel_at")))
            throw StripeError.Invalid($"The subscription is managed by the subscription schedule `{schedule}`, and updating any cancelation behavior directly is not allowed. Please update the schedule instead.", p.Has("cancel_at") ? "cancel_at" : "cancel_at_period_end");
        var discounts = p.Has("discounts") ? Coupons.Make(s, p, subscription.Text("customer")!, c.Id) : null;
        SubscriptionChanges.Apply(s, subscription, p, o =>
        {
            Take(s, o, p);
            if (discounts is not null) o["discounts"] = discounts;
            if (p.Has("pause_collection")) o["pause_collection"] = p.Object("pause_collection") is { } pause ? new JsonObject { ["behavior"] = pause.Text("behavior"), ["resumes_at"] = pause.Number("resumes_at") } : null;
        });
        return subscription;
    }

    /// <summary>Ends it now.</summary>
    public static JsonObject Cancel(Sandbox s, JsonObject subscription, JsonObject sent)
    {
        if (HasEnded(subscription)) throw StripeError.Missing("subscription", subscription.Text("id")!);
        s.Change(subscription, o => Take(s, o, sent));
        var customer = s.Find("customer", subscription.Text("customer"));
        if (sent.Flag("prorate")) SubscriptionChanges.GiveBack(s, subscription, ItemsOf(subscription), s.Now);
        if (sent.Flag("invoice_now") && InvoiceItems.Pending(s, customer.Text("id")!, subscription.Text("id")).Any())
        {
            var invoice = Invoices.Draft(s, customer, subscription, "manual", []);
            s.Change(subscription, o => o["latest_invoice"] = invoice.Text("id"));
            Invoices.Finalize(s, invoice);
            Invoices.Pay(s, invoice, offSession: true);
        }
        End(s, subscription, "cancellation_requested");
        return subscription;
    }

    /// <summary>It is over: what was pending is dropped, open invoices wait for nobody.</summary>
    public static void End(Sandbox s, JsonObject subscription, string reason, string status = "canceled")
    {
        var id = subscription.Text("id");
        foreach (var item in s.Store.Of("invoiceitem").Where(i => i.Text("invoice") is null && i.Text("parent.subscription_details.subscription") == id && i.Flag("proration")).ToList()) s.Store.Remove(item);
        foreach (var invoice in s.Store.Of("invoice").Where(i => i.Text("status") is "open" or "draft" && i.Text("parent.subscription_details.subscription") == id))
            s.Change(invoice, o => o.Set("auto_advance", false).Set("next_payment_attempt", null).Set("automatically_finalizes_at", null));
        s.Change(subscription, o =>
        {
            o.Set("status", status).Set("ended_at", s.Now).Set("pending_update", null);
            if (o.Number("canceled_at") is null) o["canceled_at"] = s.Now;
            if (o.Text("cancellation_details.reason") is null) o.Set("cancellation_details.reason", reason);
        });
        Schedules.OnEnd(s, subscription);
        s.Emit(status == "canceled" ? "customer.subscription.deleted" : "customer.subscription.updated", subscription);
    }

    /// <summary>Of one that is paused because its trial ended without a payment method.</summary>
    private static JsonObject Resume(Call c)
    {
        var (s, subscription) = (c.S, c.S.Find("subscription", c.Id));
        if (subscription.Text("status") != "paused") throw StripeError.Invalid("Only paused subscriptions can be resumed.", code: "status_transition_invalid");
        s.Change(subscription, o => StartPeriod(o, s.Now, s.Now));
        var invoice = DraftPeriod(s, subscription, "subscription_update");
        s.Change(subscription, o => o["_resumes"] = invoice.Text("id"));
        Invoices.Finalize(s, invoice);
        Invoices.Pay(s, invoice, offSession: false);
        return subscription;
    }

    // ---- what payments mean

    public static void OnPaid(Sandbox s, JsonObject subscription, JsonObject invoice)
    {
        if (HasEnded(subscription)) return;
        var id = invoice.Text("id");
        if (subscription.Text("_resumes") == id)
        {
            s.Change(subscription, o => o.Set("status", "active").Set("_resumes", null), "customer.subscription.updated");
            s.Emit("customer.subscription.resumed", subscription);
        }
        else if (subscription.Text("_pending_invoice") == id) SubscriptionChanges.ApplyPending(s, subscription);
        var isFirst = subscription.Text("status") == "incomplete" && invoice.Text("billing_reason") == "subscription_create";
        // The event of its making tells that it is active, unless it was told of before.
        if (isFirst) s.Change(subscription, o => o["status"] = "active", IsKnown(s, subscription) ? "customer.subscription.updated" : null);
        else if (subscription.Text("status") is "past_due" or "unpaid" && (subscription.Text("latest_invoice") == id || !HasOpenInvoice(s, subscription)))
            s.Change(subscription, o => o["status"] = "active", "customer.subscription.updated");
    }

    public static void OnFailed(Sandbox s, JsonObject subscription, JsonObject invoice, bool isLast)
    {
        if (HasEnded(subscription) || subscription.Text("_pending_invoice") == invoice.Text("id")) return;
        if (subscription.Text("status") is "active" or "trialing" && invoice.Text("billing_reason") != "subscription_create")
            s.Change(subscription, o => o["status"] = "past_due", "customer.subscription.updated");
        if (!isLast) return;
        if (s.Options.AfterDunning == "cancel") End(s, subscription, "payment_failed");
        else if (s.Options.AfterDunning == "unpaid") s.Change(subscription, o => o["status"] = "unpaid", "customer.subscription.updated");
    }

    private static bool IsKnown(Sandbox s, JsonObject subscription) =>
        s.Store.Of("event").Any(e => e.Text("type") == "customer.subscription.created" && e.Text("data.object.id") == subscription.Text("id"));

    private static bool HasOpenInvoice(Sandbox s, JsonObject subscription) =>
        s.Store.Of("invoice").Any(i => i.Text("status") == "open" && i.Text("parent.subscription_details.subscription") == subscription.Text("id"));
}
