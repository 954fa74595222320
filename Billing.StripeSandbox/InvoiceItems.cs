using System.Globalization;
using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>What goes onto an invoice besides a subscription's prices: on a draft now, or on the next one.</summary>
internal static class InvoiceItems
{
    private const int Most = 250;
    private const string Fields = "amount# description discountable? metadata{*} period{start!# end!#} pricing{price!} quantity# unit_amount_decimal tax_behavior(exclusive|inclusive|unspecified) tax_code";

    public static readonly Operation[] Operations =
    [
        new("POST", "/invoiceitems", $"customer! currency invoice subscription {Fields}", Create),
        new("GET", "/invoiceitems", "customer invoice pending? created{gt# gte# lt# lte#} limit# starting_after ending_before", List),
        new("GET", "/invoiceitems/{id}", "", c => c.S.Find("invoiceitem", c.Id)),
        new("POST", "/invoiceitems/{id}", Fields, Update),
        new("DELETE", "/invoiceitems/{id}", "", Delete),
    ];

    /// <summary>What waits for an invoice of this subscription; also what waits for any invoice of the customer.</summary>
    public static IEnumerable<JsonObject> Pending(Sandbox s, string customer, string? subscription) => s.Store.Of("invoiceitem").Where(i =>
        i.Text("customer") == customer && i.Text("invoice") is null && (i.Text("parent.subscription_details.subscription") is not { } of || of == subscription));

    /// <summary>A part of a period that is given back or charged.</summary>
    public static void Prorate(Sandbox s, JsonObject subscription, JsonObject item, long amount, long start, string description)
    {
        var made = s.New("invoiceitem");
        made.Set("amount", amount).Set("net_amount", amount).Set("currency", item.Text("price.currency")).Set("customer", subscription.Text("customer")).Set("date", s.Now);
        made.Set("description", description).Set("period.start", start).Set("period.end", item.Number("current_period_end")).Set("proration", true);
        made.Set("quantity", item.Number("quantity")).Set("quantity_decimal", $"{item.Number("quantity")}").Set("discountable", false).Set("pricing", InvoiceLines.Pricing(item.Object("price")!));
        made["parent"] = new JsonObject
        {
            ["subscription_details"] = new JsonObject { ["subscription"] = subscription.Text("id"), ["subscription_item"] = item.Text("id") },
            ["type"] = "subscription_details",
        };
        s.Add(made, "invoiceitem.created");
    }

    private static JsonObject Create(Call c)
    {
        var (s, p) = (c.S, c.P);
        var customer = Customers.Named(s, p)!;
        var invoice = p.Text("invoice") is { } id ? EditableInvoice(s, id) : null;
        if (p.Text("subscription") is { } subscription && s.Find("subscription", subscription, "subscription").Text("customer") != customer.Text("id"))
            throw StripeError.Missing("subscription", subscription, "subscription");
        if (invoice is not null && invoice.Text("customer") != customer.Text("id")) throw StripeError.Missing("invoice", p.Text("invoice")!, "invoice");

        var item = s.New("invoiceitem");
        item.Set("customer", customer.Text("id")).Set("date", s.Now).Set("period.start", s.Now).Set("period.end", s.Now);
        item["currency"] = p.Text("currency")?.ToLowerInvariant() ?? customer.Text("currency") ?? invoice.Text("currency");
        if (p.Text("subscription") is { } of)
            item["parent"] = new JsonObject { ["subscription_details"] = new JsonObject { ["subscription"] = of }, ["type"] = "subscription_details" };
        if (p.Number("amount") is not null && p.Text("unit_amount_decimal") is not null) throw StripeError.Invalid("You may only specify one of these parameters: amount, unit_amount_decimal.");
        if (p.Number("amount") is null && p.Text("unit_amount_decimal") is null && p.Text("pricing.price") is null)
            throw StripeError.Invalid("You must specify either `amount`, `pricing` or `unit_amount_decimal`.", "amount", "parameter_missing");
        Take(s, item, p);
        if (item.Text("currency") is null) throw StripeError.Invalid("You must specify `currency`.", "currency", "parameter_missing");
        s.Add(item, "invoiceitem.created");
        if (invoice is not null)
        {
            if (invoice.Each("lines").Count >= Most) throw StripeError.Invalid($"You can only add up to {Most} invoice items to an invoice.", "invoice");
            s.Change(invoice, o => InvoiceLines.Put(s, o, [InvoiceLines.OfInvoiceItem(s, item)]), "invoice.updated");
        }
        return item;
    }

    private static JsonObject EditableInvoice(Sandbox s, string id)
    {
        var invoice = s.Find("invoice", id, "invoice");
        return invoice.Text("status") == "draft" ? invoice : throw StripeError.Invalid("This invoice is no longer editable", "invoice", "invoice_not_editable");
    }

    private static void Take(Sandbox s, JsonObject item, JsonObject sent)
    {
        item.Take(sent, "amount", "description", "discountable", "period", "quantity").Merge(sent);
        var quantity = item.Number("quantity") ?? 1;
        if (sent.Text("pricing.price") is { } id)
        {
            var price = s.Find("price", id, "pricing[price]");
            if (price.Text("type") != "one_time") throw StripeError.Invalid("The price specified is set to `type=recurring` but this field only accepts prices with `type=one_time`.", "pricing[price]");
            item.Set("pricing", InvoiceLines.Pricing(price)).Set("amount", Prices.Amount(price, quantity)).Set("currency", price.Text("currency"));
            item["description"] ??= s.Store.Find(price.Text("product")).Text("name");
        }
        else if (sent.Text("unit_amount_decimal") is { } unit)
        {
            if (!decimal.TryParse(unit, CultureInfo.InvariantCulture, out var each)) throw StripeError.Invalid($"Invalid decimal: {unit}", "unit_amount_decimal");
            item.Set("amount", (long)Math.Round(each * quantity, MidpointRounding.AwayFromZero)).Set("pricing", new JsonObject { ["type"] = "price_details", ["unit_amount_decimal"] = unit });
        }
        item.Set("quantity", quantity).Set("quantity_decimal", $"{quantity}").Set("net_amount", item.Number("amount"));
    }

    private static JsonObject List(Call c)
    {
        var isPending = c.P.Has("pending") ? c.P.Flag("pending") : (bool?)null;
        return c.Page(c.S.Store.Of("invoiceitem").Where(i => (c.P.Text("customer") is not { } customer || i.Text("customer") == customer)
            && (c.P.Text("invoice") is not { } invoice || i.Text("invoice") == invoice) && (isPending is null || i.Text("invoice") is null == isPending)));
    }

    private static JsonObject Update(Call c)
    {
        var item = c.S.Find("invoiceitem", c.Id);
        var invoice = item.Text("invoice") is { } id ? EditableInvoice(c.S, id) : null;
        c.S.Change(item, o => Take(c.S, o, c.P), "invoiceitem.updated");
        if (invoice is not null) c.S.Change(invoice, o => { Remove(o, c.Id); InvoiceLines.Put(c.S, o, [InvoiceLines.OfInvoiceItem(c.S, item)]); }, "invoice.updated");
        return item;
    }

    private static JsonObject Delete(Call c)
    {
        var item = c.S.Find("invoiceitem", c.Id);
        var invoice = item.Text("invoice") is { } id ? EditableInvoice(c.S, id) : null;
        c.S.Emit("invoiceitem.deleted", item);
        c.S.Store.Remove(item);
        if (invoice is not null) c.S.Change(invoice, o => { Remove(o, c.Id); InvoiceLines.Total(c.S, o); }, "invoice.updated");
        return new JsonObject { ["id"] = c.Id, ["object"] = "invoiceitem", ["deleted"] = true };
    }

    private static void Remove(JsonObject invoice, string item) => invoice["lines"]!["data"]!.AsArray().RemoveAll(l => l.Text("_invoiceitem") == item);
}
