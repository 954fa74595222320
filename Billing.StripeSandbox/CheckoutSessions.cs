using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

internal static class CheckoutSessions
{
    private const long Day = 86_400;

    public static readonly Operation[] Operations =
    [
        new("POST", "/checkout/sessions",
            $"mode!(payment|setup|subscription) success_url! cancel_url ui_mode(hosted_page) client_reference_id customer customer_email customer_creation(always|if_required) currency locale metadata{{*}} expires_at# {Coupons.Discounts} allow_promotion_codes?"
            + $" line_items[price {Prices.Inline} quantity# adjustable_quantity{{enabled!? minimum# maximum#}}] automatic_tax{{enabled!?}} tax_id_collection{{enabled!?}} customer_update{{address(auto|never) name(auto|never) shipping(auto|never)}}"
            + $" billing_address_collection(auto|required) phone_number_collection{{enabled!?}} submit_type(auto|book|donate|pay|subscribe) payment_method_collection(always|if_required)"
            + $" subscription_data{{{Subscriptions.Selling} proration_behavior(create_prorations|none)}} payment_intent_data{{description metadata{{*}} receipt_email setup_future_usage(off_session|on_session) statement_descriptor statement_descriptor_suffix}}"
            + " setup_intent_data{description metadata{*}} invoice_creation{enabled!? invoice_data{description footer metadata{*}}}",
            Create),
        new("GET", "/checkout/sessions", "customer payment_intent subscription status(open|complete|expired) created{gt# gte# lt# lte#} limit# starting_after ending_before", c => c.PageOf("checkout.session", "customer", "payment_intent", "subscription", "status")),
        new("GET", "/checkout/sessions/{id}", "", c => c.S.Find("checkout.session", c.Id)),
        new("POST", "/checkout/sessions/{id}", "metadata{*}", Update),
        new("GET", "/checkout/sessions/{id}/line_items", "limit# starting_after ending_before", c => c.Page(c.S.Find("checkout.session", c.Id).Each("_items").Reverse())),
        new("POST", "/checkout/sessions/{id}/expire", "", ExpireCall),
    ];

    public static long? NextDue(Sandbox s, JsonObject session) => session.Text("status") == "open" ? session.Number("expires_at") : null;

    public static void RunDue(Sandbox s, JsonObject session)
    {
        s.Change(session, o => o.Set("status", "expired").Set("url", null));
        s.Emit("checkout.session.expired", session);
    }

    /// <summary>What is due now: nothing of what a trial comes before.</summary>
    public static long Due(JsonObject session) => session.Number("amount_total") ?? 0;

    public static bool AsksForMethod(JsonObject session) => session.Text("mode") == "setup" || Due(session) > 0 || session.Text("payment_method_collection") != "if_required";

    // ---- a new one

    private static JsonObject Create(Call c)
    {
        var (s, p) = (c.S, c.P);
        var mode = p.Text("mode");
        var customer = Customers.Named(s, p);
        Refuse(customer is not null && p.Has("customer_email"), "You may only specify one of these parameters: customer, customer_email.", "customer_email");
        Refuse(p.Has("customer_creation") && mode != "payment", "`customer_creation` can only be used in `payment` mode.", "customer_creation");
        Refuse(p.Has("customer_creation") && customer is not null, "`customer_creation` can not be used with an existing customer.", "customer_creation");
        Refuse(p.Has("subscription_data") && mode != "subscription", "You can not pass `subscription_data` in `" + mode + "` mode.", "subscription_data");
        Refuse(p.Has("payment_intent_data") && mode != "payment", "You can not pass `payment_intent_data` in `" + mode + "` mode.", "payment_intent_data");
        Refuse(p.Flag("allow_promotion_codes") && p.Has("discounts"), "You may only specify one of these parameters: allow_promotion_codes, discounts.", "allow_promotion_codes");
        Refuse(p.Has("payment_method_collection") && mode != "subscription", "`payment_method_collection` can only be set in `subscription` mode.", "payment_method_collection");
        if (mode != "setup" && p.Each("line_items").Count == 0) throw StripeError.OfRequest("Missing required param: line_items.", "line_items", "parameter_missing");
        if (p.Flag("automatic_tax.enabled") && customer is not null && customer.Text("address.country") is null && p.Text("customer_update.address") != "auto")
            throw StripeError.Invalid("Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid address to the Customer or set either `customer_update[address]` to 'auto' or `customer_update[shipping]` to 'auto' to save the address entered in Checkout to the Customer.", "automatic_tax", "customer_tax_location_invalid");
        var expires = p.Number("expires_at") ?? s.Now + Day;
        if (expires < s.Now + 1800 || expires > s.Now + Day) throw StripeError.Invalid("The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.", "expires_at");
        if (p.Number("subscription_data.trial_period_days") < 1) throw StripeError.Invalid("The minimum number of trial period days is 1.", "subscription_data[trial_period_days]");

        var session = s.New("checkout.session");
        session.Set("expires_at", expires).Set("customer", customer?.Text("id")).Set("url", $"{s.BaseUrl}/c/pay/{session.Text("id")}");
        session.Take(p, "mode", "success_url", "cancel_url", "client_reference_id", "customer_email", "customer_creation", "locale", "allow_promotion_codes", "billing_address_collection", "submit_type").Merge(p);
        if (mode == "payment" && customer is null) session["customer_creation"] ??= "if_required";
        if (mode == "subscription") session["payment_method_collection"] = p.Text("payment_method_collection") ?? "always";
        if (p.Has("automatic_tax")) session.Set("automatic_tax.enabled", p.Flag("automatic_tax.enabled")).Set("automatic_tax.status", "complete");
        if (mode == "payment") session["invoice_creation"] = new JsonObject { ["enabled"] = p.Flag("invoice_creation.enabled"), ["invoice_data"] = InvoiceData(p.Object("invoice_creation.invoice_data")) };
        foreach (var name in (string[])["subscription_data", "payment_intent_data", "setup_intent_data"]) session[$"_{name}"] = p[name]?.DeepClone();
        session["_items"] = new JsonArray([.. p.Each("line_items").Select((sent, place) => Item(s, mode!, sent, $"line_items[{place}]"))]);
        CheckItems(session, p);
        if (p.Has("discounts"))
        {
            session["_discounts"] = p["discounts"]!.DeepClone();
            session["discounts"] = new JsonArray([.. p.Each("discounts").Select(d => new JsonObject { ["coupon"] = d.Text("coupon"), ["promotion_code"] = d.Text("promotion_code") })]);
        }
        Total(s, session);
        return s.Add(session);
    }

    private static void Refuse(bool isWrong, string message, string param)
    {
        if (isWrong) throw StripeError.Invalid(message, param);
    }

    private static JsonObject Item(Sandbox s, string mode, JsonObject sent, string param)
    {
        var price = Prices.Of(s, sent, param);
        if (!price.Flag("active")) throw StripeError.Invalid($"The price specified is inactive. This field only accepts active prices.", $"{param}[price]");
        if (mode == "payment" && price.Text("type") == "recurring")
            throw StripeError.Invalid("You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use only one-time prices.", $"{param}[price]");
        var quantity = sent.Number("quantity") ?? throw StripeError.Invalid("Quantity is required. Add `quantity` to `" + param + "`", $"{param}[quantity]", "parameter_missing");
        var item = s.New("item");
        return item.Set("price", price.Copy()).Set("quantity", quantity).Set("currency", price.Text("currency")).Set("description", s.Store.Find(price.Text("product")).Text("name"));
    }

    private static void CheckItems(JsonObject session, JsonObject sent)
    {
        var items = session.Each("_items");
        if (session.Text("mode") == "setup")
        {
            session.Set("payment_status", "no_payment_required").Set("currency", sent.Text("currency"));
            return;
        }
        var recurring = items.Where(i => i.Text("price.type") == "recurring").ToList();
        if (session.Text("mode") == "subscription" && recurring.Count == 0)
            throw StripeError.Invalid("You must provide at least one recurring price in `subscription` mode when using prices.", "line_items");
        if (items.Select(i => i.Text("currency")).Distinct().Count() > 1) throw StripeError.Invalid("All line items must have the same currency.", "line_items");
        if (items.Count > 20 + 20 || recurring.Count > 20) throw StripeError.Invalid("You may have at most 20 recurring and 20 one-time line items.", "line_items");
        session["currency"] = items[0].Text("currency");
    }

    /// <summary>What an invoice that comes of a checkout session is to say.</summary>
    private static JsonObject InvoiceData(JsonObject? sent)
    {
        var data = new JsonObject { ["account_tax_ids"] = null, ["custom_fields"] = null, ["description"] = null, ["footer"] = null, ["issuer"] = null, ["metadata"] = new JsonObject(), ["rendering_options"] = null };
        if (sent is not null) data.Take(sent, "description", "footer").Merge(sent);
        return data;
    }

    /// <summary>Adds the items up, less what a coupon takes off.</summary>
    public static void Total(Sandbox s, JsonObject session)
    {
        if (session.Text("mode") == "setup") return;
        var isTrial = session.Number("_subscription_data.trial_period_days") > 0 || session.Number("_subscription_data.trial_end") is not null;
        foreach (var item in session.Each("_items"))
        {
            var amount = isTrial && item.Text("price.type") == "recurring" ? 0 : Prices.Amount(item.Object("price")!, item.Number("quantity")!.Value);
            item.Set("amount_subtotal", amount).Set("amount_total", amount);
        }
        var subtotal = session.Each("_items").Sum(i => i.Number("amount_subtotal")!.Value);
        var left = subtotal;
        foreach (var (place, asked) in session.Each("_discounts").Index())
            left -= Coupons.Off(s.Find("coupon", asked.Text("coupon") ?? s.Find("promotion_code", asked.Text("promotion_code"), $"discounts[{place}][promotion_code]").Text("promotion.coupon"), $"discounts[{place}][coupon]"), left);
        session.Set("amount_subtotal", subtotal).Set("amount_total", left).Set("total_details.amount_discount", subtotal - left);
    }

    private static JsonObject Update(Call c)
    {
        var session = c.S.Find("checkout.session", c.Id);
        c.S.Change(session, o => o.Merge(c.P));
        return session;
    }

    private static JsonObject ExpireCall(Call c)
    {
        var session = c.S.Find("checkout.session", c.Id);
        if (session.Text("status") != "open") throw StripeError.Invalid($"Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of `{session.Text("status")}`.");
        RunDue(c.S, session);
        return session;
    }

    // ---- the customer pays

    /// <summary>What the page sends. The session is complete then, or waits for the bank, or the payment was refused.</summary>
    /// <param name="method">Null when nothing is asked for.</param>
    public static void Submit(Sandbox s, JsonObject session, JsonObject? method, string? email, string? name)
    {
        s.Change(session, o => o.Set("_email", email).Set("_name", name));
        if (method is null) Finish(s, session, null, null);
        else if (Due(session) == 0) Setup(s, session, method);
        else PaymentIntents.Confirm(s, IntentOf(s, session), method, offSession: false);
    }

    public static JsonObject? OpenIntent(Sandbox s, JsonObject session) => s.Store.Find(session.Text("_intent")) ?? s.Store.Find(session.Text("_setup"));

    private static JsonObject IntentOf(Sandbox s, JsonObject session)
    {
        if (s.Store.Find(session.Text("_intent")) is { } tried)
        {
            // A promotion code may have come between two attempts.
            s.Change(tried, o => o["amount"] = Due(session));
            return tried;
        }
        var data = session.Object("_payment_intent_data") ?? [];
        var keeps = session.Text("mode") == "subscription" || data.Text("setup_future_usage") is not null;
        var needsCustomer = keeps || session.Text("customer_creation") == "always" || session.Flag("invoice_creation.enabled");
        var intent = PaymentIntents.New(s, Due(session), session.Text("currency")!, needsCustomer ? CustomerOf(s, session).Text("id") : session.Text("customer"), data);
        s.Change(intent, o =>
        {
            o["_session"] = session.Text("id");
            if (session.Text("mode") == "subscription") o.Set("setup_future_usage", "off_session").Set("description", "Subscription creation");
        });
        s.Change(session, o => o["_intent"] = intent.Text("id"));
        return intent;
    }

    private static void Setup(Sandbox s, JsonObject session, JsonObject method)
    {
        if (s.Store.Find(session.Text("_setup")) is not { } setup)
        {
            var wantsCustomer = session.Text("mode") == "subscription" || session.Text("customer") is not null;
            setup = SetupIntents.New(s, wantsCustomer ? CustomerOf(s, session).Text("id") : null, session.Object("_setup_intent_data"));
            s.Change(setup, o => o["_session"] = session.Text("id"));
            s.Change(session, o => o["_setup"] = setup.Text("id"));
        }
        SetupIntents.Confirm(s, setup, method);
    }

    private static JsonObject CustomerOf(Sandbox s, JsonObject session)
    {
        if (s.Store.Find(session.Text("customer") ?? session.Text("_customer")) is { } known) return known;
        var made = Customers.New(s, new JsonObject { ["email"] = session.Text("_email") ?? session.Text("customer_email"), ["name"] = session.Text("_name") });
        s.Change(session, o => o["_customer"] = made.Text("id"));
        return made;
    }

    public static void OnPayment(Sandbox s, JsonObject session, JsonObject intent)
    {
        var method = s.Store.Find(intent.Text("payment_method"));
        if (session.Text("status") == "open" && intent.Text("status") is "succeeded" or "processing") Finish(s, session, method, intent);
        else if (session.Text("status") == "complete" && intent.Text("status") == "succeeded" && session.Text("payment_status") == "unpaid")
        {
            s.Change(session, o => o["payment_status"] = "paid");
            s.Emit("checkout.session.async_payment_succeeded", session);
        }
        else if (session.Text("status") == "complete" && intent.Text("status") == "requires_payment_method") s.Emit("checkout.session.async_payment_failed", session);
    }

    public static void OnSetup(Sandbox s, JsonObject session, JsonObject setup) => Finish(s, session, s.Find("payment_method", setup.Text("payment_method")), null);

    private static void Finish(Sandbox s, JsonObject session, JsonObject? method, JsonObject? intent)
    {
        var isPaid = intent is null || intent.Text("status") == "succeeded";
        var customer = session.Text("mode") == "subscription" ? CustomerOf(s, session) : s.Store.Find(session.Text("customer") ?? session.Text("_customer"));
        if (session.Text("mode") == "subscription") Subscribe(s, session, customer!, method, intent);
        else if (session.Flag("invoice_creation.enabled") && customer is not null) Invoice(s, session, customer, intent);
        s.Change(session, o =>
        {
            o.Set("status", "complete").Set("url", null).Set("customer", customer?.Text("id")).Set("payment_status", Due(o) == 0 ? "no_payment_required" : isPaid ? "paid" : "unpaid");
            if (o.Text("mode") == "payment") o["payment_intent"] = intent?.Text("id");
            if (o.Text("mode") == "setup") o["setup_intent"] = o.Text("_setup");
            o["customer_details"] = new JsonObject
            {
                ["address"] = method.At("billing_details.address")?.DeepClone() ?? customer?["address"]?.DeepClone(), ["business_name"] = null,
                ["email"] = o.Text("_email") ?? o.Text("customer_email") ?? customer.Text("email"), ["individual_name"] = null, ["name"] = o.Text("_name") ?? customer.Text("name"),
                ["phone"] = null, ["tax_exempt"] = "none", ["tax_ids"] = new JsonArray(),
            };
        });
        s.Emit("checkout.session.completed", session);
    }

    /// <summary>The subscription is made after its payment, so that one that was never paid never was.</summary>
    private static void Subscribe(Sandbox s, JsonObject session, JsonObject customer, JsonObject? method, JsonObject? intent)
    {
        if (method is not null && method.Text("customer") is null) PaymentMethods.Attach(s, method, customer.Text("id")!);
        var sent = session.Object("_subscription_data")?.Copy() ?? [];
        if (session["_discounts"] is { } discounts) sent["discounts"] = discounts.DeepClone();
        if (session.Flag("automatic_tax.enabled")) sent["automatic_tax"] = new JsonObject { ["enabled"] = true };
        var items = session.Each("_items");
        var sold = items.Where(i => i.Text("price.type") == "recurring").Select(i => (s.Find("price", i.Text("price.id")), i.Number("quantity")!.Value, (JsonObject?)null)).ToList();
        var subscription = s.Add(Subscriptions.Make(s, customer, sold, sent));
        s.Change(subscription, o =>
        {
            o["default_payment_method"] = method?.Text("id");
            if (o.Text("status") == "incomplete") o["status"] = "active";
        });
        var once = items.Where(i => i.Text("price.type") == "one_time").Select(i => InvoiceLines.OfPrice(s, i.Object("price")!, i.Number("quantity")!.Value)).ToList();
        var invoice = Subscriptions.DraftPeriod(s, subscription, "subscription_create", o => InvoiceLines.Put(s, o, once));
        if (intent is not null) s.Change(intent, o => o["_invoice"] = invoice.Text("id"));
        s.Emit("customer.subscription.created", subscription);
        Invoices.Finalize(s, invoice, intent);
        s.Change(session, o => o.Set("subscription", subscription.Text("id")).Set("invoice", invoice.Text("id")));
        Subscriptions.WarnOfTrialEnd(s, subscription);
    }

    private static void Invoice(Sandbox s, JsonObject session, JsonObject customer, JsonObject? intent)
    {
        var lines = session.Each("_items").Select(i => InvoiceLines.OfPrice(s, i.Object("price")!, i.Number("quantity")!.Value)).ToList();
        var invoice = Invoices.Draft(s, customer, null, "manual", lines, takesPending: false, prepare: o =>
        {
            o["currency"] = session.Text("currency");
            if (session.Has("_discounts")) o["discounts"] = Coupons.Make(s, new JsonObject { ["discounts"] = session["_discounts"]!.DeepClone() }, customer.Text("id")!, null);
            o.Take(session.Object("invoice_creation.invoice_data") ?? [], "description", "footer").Merge(session.Object("invoice_creation.invoice_data") ?? []);
        });
        if (intent is not null) s.Change(intent, o => o["_invoice"] = invoice.Text("id"));
        Invoices.Finalize(s, invoice, intent);
        s.Change(session, o => o["invoice"] = invoice.Text("id"));
    }
}
