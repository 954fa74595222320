using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

internal static class Invoices
{
    private const long Hour = 3600;
    private const string Fields = $"auto_advance? collection_method(charge_automatically|send_invoice) days_until_due# due_date# default_payment_method description footer metadata{{*}} {Coupons.Discounts} automatic_tax{{enabled!?}} custom_fields[name! value!]";

    public static readonly Operation[] Operations =
    [
        new("POST", "/invoices", $"customer! subscription currency pending_invoice_items_behavior(exclude|include) {Fields}", Create),
        new("GET", "/invoices", "customer subscription status(draft|open|paid|uncollectible|void) collection_method created{gt# gte# lt# lte#} limit# starting_after ending_before", List),
        new("GET", "/invoices/{id}", "", c => c.S.Find("invoice", c.Id, "invoice")),
        new("POST", "/invoices/{id}", Fields, Update),
        new("DELETE", "/invoices/{id}", "", Delete),
        new("GET", "/invoices/{id}/lines", "limit# starting_after ending_before", c => c.Page(c.S.Find("invoice", c.Id, "invoice").Each("lines").Reverse())),
        new("POST", "/invoices/{id}/finalize", "auto_advance?", FinalizeCall),
        new("POST", "/invoices/{id}/pay", "payment_method paid_out_of_band? off_session? forgive?", PayCall),
        new("POST", "/invoices/{id}/void", "", VoidCall),
        new("POST", "/invoices/{id}/mark_uncollectible", "", GiveUpCall),
        new("POST", "/invoices/{id}/send", "", c => c.S.Find("invoice", c.Id, "invoice")),
        new("GET", "/invoice_payments", "invoice status payment{type!(payment_intent|charge) payment_intent charge} limit# starting_after ending_before", ListPayments),
        new("GET", "/invoice_payments/{id}", "", c => c.S.Find("invoice_payment", c.Id)),
    ];

    /// <summary>A draft with these lines and what was pending.</summary>
    /// <param name="reason">Its billing_reason.</param>
    public static JsonObject Draft(Sandbox s, JsonObject customer, JsonObject? subscription, string reason, IReadOnlyList<JsonObject> lines, bool takesPending = true, Action<JsonObject>? prepare = null)
    {
        var invoice = s.New("invoice");
        var id = invoice.Text("id")!;
        invoice.Set("customer", customer.Text("id")).Set("customer_email", customer.Text("email")).Set("customer_name", customer.Text("name")).Set("customer_address", customer["address"]).Set("customer_phone", customer.Text("phone"));
        invoice.Set("billing_reason", reason).Set("auto_advance", true).Set("account_name", "Stripe sandbox").Set("period_start", s.Now).Set("period_end", s.Now).Set("lines.url", $"/v1/invoices/{id}/lines");
        invoice["currency"] = subscription.Text("currency") ?? customer.Text("currency") ?? "usd";
        if (subscription is not null)
        {
            invoice["parent"] = new JsonObject
            {
                ["quote_details"] = null,
                ["subscription_details"] = new JsonObject { ["metadata"] = subscription["metadata"]!.DeepClone(), ["subscription"] = subscription.Text("id") },
                ["type"] = "subscription_details",
            };
            invoice.Set("collection_method", subscription.Text("collection_method")).Set("automatic_tax.enabled", subscription.Flag("automatic_tax.enabled"));
            invoice["discounts"] = new JsonArray([.. subscription.Texts("discounts").Where(d => s.Find("discount", d).Number("end") is not { } end || end > s.Now).Select(d => JsonValue.Create(d))]);
        }
        prepare?.Invoke(invoice);
        var pending = takesPending ? InvoiceItems.Pending(s, customer.Text("id")!, subscription.Text("id")).Select(i => InvoiceLines.OfInvoiceItem(s, i)).ToList() : [];
        InvoiceLines.Put(s, invoice, [.. pending, .. lines]);
        if (subscription is not null) SpendDiscounts(s, subscription);
        if (!invoice.Flag("auto_advance")) invoice["automatically_finalizes_at"] = null;
        else invoice["automatically_finalizes_at"] = s.Now + Hour;
        s.Add(invoice, "invoice.created");
        if (customer.Text("currency") is null) s.Change(customer, o => o["currency"] = invoice.Text("currency"));
        return invoice;
    }

    /// <summary>A discount for once is on one invoice.</summary>
    private static void SpendDiscounts(Sandbox s, JsonObject subscription)
    {
        var spent = subscription.Texts("discounts").Where(d => s.Find("coupon", s.Find("discount", d).Text("source.coupon")).Text("duration") == "once").ToList();
        if (spent.Count > 0) s.Change(subscription, o => o["discounts"] = new JsonArray([.. o.Texts("discounts").Except(spent).Select(d => JsonValue.Create(d))]));
    }

    /// <summary>From here on nothing of it changes. What is not due is paid.</summary>
    /// <param name="collected">The payment that was made for it before there was an invoice, as checkout does.</param>
    public static void Finalize(Sandbox s, JsonObject invoice, JsonObject? collected = null)
    {
        if (s.IsPreview || invoice.Text("status") != "draft") return;
        var id = invoice.Text("id");
        var customer = s.Find("customer", invoice.Text("customer"));
        s.Change(invoice, o =>
        {
            InvoiceLines.Total(s, o);
            o.Set("status", "open").Set("number", $"{customer.Text("invoice_prefix")}-{customer.Number("next_invoice_sequence"):D4}").Set("status_transitions.finalized_at", s.Now).Set("effective_at", s.Now);
            o.Set("hosted_invoice_url", $"{s.BaseUrl}/i/{id}").Set("invoice_pdf", $"{s.BaseUrl}/i/{id}/pdf").Set("automatically_finalizes_at", null);
            o["ending_balance"] = o.Number("total") < 0 || o.Number("starting_balance") < 0 ? Math.Min(0, o.Number("total")!.Value + o.Number("starting_balance")!.Value) : o.Number("starting_balance");
            if (o.Text("collection_method") == "send_invoice") o["due_date"] ??= s.Now + 86_400 * (o.Number("_days_until_due") ?? 30);
        });
        s.Change(customer, o => o.Set("balance", invoice.Number("ending_balance")).Set("next_invoice_sequence", o.Number("next_invoice_sequence") + 1), "customer.updated");
        if (invoice.Number("amount_due") == 0)
        {
            s.Emit("invoice.finalized", invoice);
            MarkPaid(s, invoice, null);
            return;
        }
        var subscription = SubscriptionOf(s, invoice);
        var intent = collected ?? PaymentIntents.New(s, invoice.Number("amount_due")!.Value, invoice.Text("currency")!, customer.Text("id"), new JsonObject { ["description"] = subscription is null ? "Payment for invoice" : "Subscription update" });
        s.Change(intent, o =>
        {
            o["_invoice"] = id;
            if (subscription is not null) o["setup_future_usage"] = "off_session";
        });
        var payment = s.New("invoice_payment");
        payment.Set("amount_requested", invoice.Number("amount_due")).Set("currency", invoice.Text("currency")).Set("invoice", id).Set("payment.payment_intent", intent.Text("id"));
        s.Add(payment);
        s.Emit("invoice.finalized", invoice);
        if (collected.Text("status") == "succeeded") MarkPaid(s, invoice, collected);
    }

    /// <summary>Tries to collect it from whatever is kept for it.</summary>
    public static void Pay(Sandbox s, JsonObject invoice, bool offSession, JsonObject? method = null)
    {
        if (s.IsPreview || invoice.Text("status") is not ("open" or "uncollectible")) return;
        method ??= s.Store.Find(invoice.Text("default_payment_method")) ?? Customers.DefaultMethod(s, SubscriptionOf(s, invoice), invoice.Text("customer")!);
        s.Change(invoice, o => o.Set("attempted", true).Set("attempt_count", o.Number("attempt_count") + 1));
        if (method is null) Failed(s, invoice);
        else PaymentIntents.Confirm(s, IntentOf(s, invoice)!, method, offSession);
    }

    public static void OnPayment(Sandbox s, JsonObject invoice, JsonObject intent, JsonObject method)
    {
        switch (intent.Text("status"))
        {
            case "succeeded":
                MarkPaid(s, invoice, intent);
                if (SubscriptionOf(s, invoice) is { } paid && paid.Text("payment_settings.save_default_payment_method") == "on_subscription")
                    s.Change(paid, o => o["default_payment_method"] = method.Text("id"), "customer.subscription.updated");
                break;
            case "requires_action":
                s.Emit("invoice.payment_action_required", invoice);
                if (invoice.Text("billing_reason") != "subscription_create") Failed(s, invoice);
                break;
            case "requires_payment_method":
                Failed(s, invoice);
                break;
        }
    }

    private static void MarkPaid(Sandbox s, JsonObject invoice, JsonObject? intent, bool outOfBand = false)
    {
        var due = invoice.Number("amount_due")!.Value;
        s.Change(invoice, o => o.Set("status", "paid").Set("amount_paid", outOfBand ? 0 : due).Set("amount_remaining", 0).Set("attempted", true).Set("next_payment_attempt", null)
            .Set("status_transitions.paid_at", s.Now).Set("_retries", null), "invoice.updated");
        foreach (var payment in s.Store.Of("invoice_payment").Where(p => p.Text("invoice") == invoice.Text("id")))
        {
            s.Change(payment, o => o.Set("status", intent is null ? "canceled" : "paid").Set("amount_paid", intent is null ? null : due).Set(intent is null ? "status_transitions.canceled_at" : "status_transitions.paid_at", s.Now));
            if (intent is not null) s.Emit("invoice_payment.paid", payment);
        }
        if (intent is null && IntentOf(s, invoice) is { } unused) PaymentIntents.Cancel(s, unused, "void_invoice");
        s.Emit("invoice.paid", invoice);
        if (!outOfBand) s.Emit("invoice.payment_succeeded", invoice);
        if (SubscriptionOf(s, invoice) is { } subscription) Subscriptions.OnPaid(s, subscription, invoice);
    }

    /// <summary>Tried again later, until there is no later.</summary>
    private static void Failed(Sandbox s, JsonObject invoice)
    {
        if (invoice.Number("next_payment_attempt") > s.Now)
        {
            // Somebody tried in between: what was to be tried by itself is tried all the same.
            s.Emit("invoice.payment_failed", invoice);
            return;
        }
        var retries = s.Options.DunningRetries;
        var done = (int)(invoice.Number("_retries") ?? 0);
        var isTriedAgain = invoice.Flag("auto_advance") && invoice.Text("collection_method") == "charge_automatically" && invoice.Text("billing_reason") != "subscription_create";
        var next = isTriedAgain && done < retries.Count ? s.Now + (long)retries[done].TotalSeconds : (long?)null;
        s.Change(invoice, o => o.Set("next_payment_attempt", next).Set("_retries", done + 1), "invoice.updated");
        s.Emit("invoice.payment_failed", invoice);
        if (SubscriptionOf(s, invoice) is { } subscription) Subscriptions.OnFailed(s, subscription, invoice, isLast: isTriedAgain && next is null);
    }

    public static void Void(Sandbox s, JsonObject invoice) => Close(s, invoice, "void", "voided_at", "invoice.voided");

    public static void GiveUp(Sandbox s, JsonObject invoice) => Close(s, invoice, "uncollectible", "marked_uncollectible_at", "invoice.marked_uncollectible");

    private static void Close(Sandbox s, JsonObject invoice, string status, string at, string happened)
    {
        s.Change(invoice, o => o.Set("status", status).Set($"status_transitions.{at}", s.Now).Set("next_payment_attempt", null).Set("auto_advance", false));
        if (status == "void" && IntentOf(s, invoice) is { } intent && intent.Text("status") != "canceled") PaymentIntents.Cancel(s, intent, "void_invoice");
        s.Emit(happened, invoice);
    }

    public static JsonObject? SubscriptionOf(Sandbox s, JsonObject invoice) => s.Store.Find(invoice.Text("parent.subscription_details.subscription"));

    public static JsonObject? IntentOf(Sandbox s, JsonObject invoice) =>
        s.Store.Find(s.Store.Of("invoice_payment").LastOrDefault(p => p.Text("invoice") == invoice.Text("id")).Text("payment.payment_intent"));

    // ---- by itself

    /// <summary>A draft waits an hour for whoever wants to add to it, from when they were told; if they could not be told, three days.</summary>
    public static long? NextDue(Sandbox s, JsonObject invoice) => invoice.Text("status") switch
    {
        "draft" when invoice.Flag("auto_advance") && invoice.Number("automatically_finalizes_at") is not null =>
            invoice.Number("webhooks_delivered_at") is { } told ? told + Hour : invoice.Number("created") + (WebhookEndpoints.For(s, "invoice.created").Any() ? 72 * Hour : Hour),
        "open" => invoice.Number("next_payment_attempt"),
        _ => null,
    };

    public static void RunDue(Sandbox s, JsonObject invoice)
    {
        if (invoice.Text("status") == "draft") Finalize(s, invoice);
        if (invoice.Text("collection_method") != "send_invoice") Pay(s, invoice, offSession: true);
    }

    // ---- asked for

    private static JsonObject Create(Call c)
    {
        var (s, p) = (c.S, c.P);
        var customer = Customers.Named(s, p)!;
        var subscription = p.Text("subscription") is { } id ? s.Find("subscription", id, "subscription") : null;
        return Draft(s, customer, subscription, "manual", [], p.Text("pending_invoice_items_behavior") == "include", o =>
        {
            o["auto_advance"] = false;
            if (p.Text("currency") is { } currency) o["currency"] = currency.ToLowerInvariant();
            Take(s, o, p);
        });
    }

    private static void Take(Sandbox s, JsonObject invoice, JsonObject sent)
    {
        invoice.Take(sent, "auto_advance", "collection_method", "due_date", "default_payment_method", "description", "footer", "custom_fields").Merge(sent);
        if (sent.Number("days_until_due") is { } days) invoice["_days_until_due"] = days;
        if (sent.Has("discounts")) invoice["discounts"] = Coupons.Make(s, sent, invoice.Text("customer")!, null);
        if (sent.Object("automatic_tax") is { } tax) invoice.Set("automatic_tax.enabled", tax.Flag("enabled"));
    }

    private static JsonObject Update(Call c)
    {
        var invoice = c.S.Find("invoice", c.Id, "invoice");
        if (invoice.Text("status") != "draft" && c.P.Any(p => p.Key is not ("metadata" or "auto_advance" or "expand" or "default_payment_method")))
            throw StripeError.Invalid("Finalized invoices can't be updated in this way", code: "invoice_not_editable");
        c.S.Change(invoice, o =>
        {
            Take(c.S, o, c.P);
            if (o.Text("status") != "draft") return;
            InvoiceLines.Total(c.S, o);
            o["automatically_finalizes_at"] = o.Flag("auto_advance") ? o.Number("automatically_finalizes_at") ?? c.S.Now + Hour : null;
        }, "invoice.updated");
        return invoice;
    }

    /// <summary>Only a draft that no subscription made.</summary>
    private static JsonObject Delete(Call c)
    {
        var invoice = c.S.Find("invoice", c.Id, "invoice");
        if (invoice.Text("status") != "draft" || SubscriptionOf(c.S, invoice) is not null) throw StripeError.Invalid("You can only delete draft invoices that are not part of a subscription.", code: "invoice_not_editable");
        foreach (var item in c.S.Store.Of("invoiceitem").Where(i => i.Text("invoice") == c.Id).ToList()) c.S.Store.Remove(item);
        c.S.Emit("invoice.deleted", invoice);
        c.S.Store.Remove(invoice);
        return new JsonObject { ["id"] = c.Id, ["object"] = "invoice", ["deleted"] = true };
    }

    private static JsonObject List(Call c) => c.Page(c.S.Store.Of("invoice").Where(i =>
        (c.P.Text("customer") is not { } customer || i.Text("customer") == customer)
        && (c.P.Text("subscription") is not { } subscription || i.Text("parent.subscription_details.subscription") == subscription)
        && (c.P.Text("status") is not { } status || i.Text("status") == status)
        && c.IsCreatedInRange(i)));

    private static JsonObject FinalizeCall(Call c)
    {
        var invoice = c.S.Find("invoice", c.Id, "invoice");
        if (invoice.Text("status") != "draft") throw StripeError.Invalid("This invoice is already finalized, you can't re-finalize a non-draft invoice.", code: "invoice_not_editable");
        if (c.P.Has("auto_advance")) c.S.Change(invoice, o => o["auto_advance"] = c.P.Flag("auto_advance"));
        Finalize(c.S, invoice);
        if (invoice.Flag("auto_advance") && invoice.Text("status") == "open" && invoice.Text("collection_method") == "charge_automatically")
            c.S.Change(invoice, o => o["next_payment_attempt"] = c.S.Now + Hour);
        return invoice;
    }

    private static JsonObject PayCall(Call c)
    {
        var invoice = c.S.Find("invoice", c.Id, "invoice");
        if (invoice.Text("status") == "draft") Finalize(c.S, invoice);
        if (invoice.Text("status") == "paid") throw StripeError.Invalid("Invoice is already paid");
        if (invoice.Text("status") == "void") throw StripeError.Invalid("You cannot pay a voided invoice.", code: "invoice_not_editable");
        if (c.P.Flag("paid_out_of_band"))
        {
            MarkPaid(c.S, invoice, null, outOfBand: true);
            return invoice;
        }
        var method = c.P.Text("payment_method") is { } named ? PaymentMethods.Named(c.S, named) : Customers.DefaultMethod(c.S, SubscriptionOf(c.S, invoice), invoice.Text("customer")!);
        if (method is null)
            throw StripeError.Invalid("There is no `default_payment_method` set on this Customer or Invoice. Please add one, or pay with a specific `payment_method`.", code: "resource_missing");
        Pay(c.S, invoice, !c.P.Has("off_session") || c.P.Flag("off_session"), method);
        return invoice.Text("status") == "paid" || PaymentIntents.RefusalOf(IntentOf(c.S, invoice)!) is not { } refusal ? invoice : throw refusal;
    }

    private static JsonObject VoidCall(Call c)
    {
        var invoice = c.S.Find("invoice", c.Id, "invoice");
        if (invoice.Text("status") is not ("open" or "uncollectible")) throw StripeError.Invalid($"You can only pass in open invoices. This invoice isn't open. This invoice's status is {invoice.Text("status")}.", code: "status_transition_invalid");
        Void(c.S, invoice);
        return invoice;
    }

    private static JsonObject GiveUpCall(Call c)
    {
        var invoice = c.S.Find("invoice", c.Id, "invoice");
        if (invoice.Text("status") != "open") throw StripeError.Invalid($"You can only mark open invoices as uncollectible. This invoice's status is {invoice.Text("status")}.", code: "status_transition_invalid");
        GiveUp(c.S, invoice);
        return invoice;
    }

    private static JsonObject ListPayments(Call c) => c.Page(c.S.Store.Of("invoice_payment").Where(p =>
        (c.P.Text("invoice") is not { } invoice || p.Text("invoice") == invoice) && (c.P.Text("status") is not { } status || p.Text("status") == status)
        && (c.P.Text("payment.payment_intent") is not { } intent || p.Text("payment.payment_intent") == intent)));
}
