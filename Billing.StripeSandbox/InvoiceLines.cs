using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>What an invoice consists of, and what it adds up to.</summary>
internal static class InvoiceLines
{
    /// <summary>A subscription's item for one period.</summary>
    public static JsonObject OfItem(Sandbox s, JsonObject subscription, JsonObject item, long start, long end, bool isTrial = false)
    {
        var price = item.Object("price")!;
        var quantity = item.Number("quantity") ?? 1;
        var name = s.Store.Find(price.Text("product")).Text("name");
        var line = New(s, isTrial ? 0 : Prices.Amount(price, quantity), price, quantity, start, end,
            isTrial ? $"Trial period for {name}" : $"{quantity} × {name} (at {Money.Of(price)} / {Money.Every(price)})");
        line["parent"] = Parent(subscription, item.Text("id"), null, false);
        line["_item"] = item.Text("id");
        line.Merge(item);
        return line;
    }

    /// <summary>Something that is sold once.</summary>
    public static JsonObject OfPrice(Sandbox s, JsonObject price, long quantity)
    {
        var line = New(s, Prices.Amount(price, quantity), price, quantity, s.Now, s.Now, s.Store.Find(price.Text("product")).Text("name"));
        line["parent"] = new JsonObject
        {
            ["invoice_item_details"] = new JsonObject { ["invoice_item"] = s.NewId("ii"), ["proration"] = false, ["proration_details"] = new JsonObject { ["credited_items"] = null }, ["subscription"] = null },
            ["subscription_item_details"] = null,
            ["type"] = "invoice_item_details",
        };
        return line;
    }

    public static JsonObject OfInvoiceItem(Sandbox s, JsonObject item)
    {
        var line = New(s, item.Number("amount")!.Value, null, item.Number("quantity") ?? 1, item.Number("period.start")!.Value, item.Number("period.end")!.Value, item.Text("description"));
        line.Set("currency", item.Text("currency")).Set("pricing", item["pricing"]).Set("discountable", item.Flag("discountable"));
        line["parent"] = item.Flag("proration")
            ? Parent(s.Find("subscription", item.Text("parent.subscription_details.subscription")), item.Text("parent.subscription_details.subscription_item"), item.Text("id"), true)
            : new JsonObject
            {
                ["invoice_item_details"] = new JsonObject
                {
                    ["invoice_item"] = item.Text("id"),
                    ["proration"] = false,
                    ["proration_details"] = new JsonObject { ["credited_items"] = null },
                    ["subscription"] = item.Text("parent.subscription_details.subscription"),
                },
                ["subscription_item_details"] = null,
                ["type"] = "invoice_item_details",
            };
        line["_invoiceitem"] = item.Text("id");
        line.Merge(item);
        return line;
    }

    public static void Put(Sandbox s, JsonObject invoice, IEnumerable<JsonObject> lines)
    {
        var data = invoice["lines"]!["data"]!.AsArray();
        foreach (var line in lines)
        {
            line["invoice"] = invoice.Text("id");
            data.Add(line);
            if (s.Store.Find(line.Text("_invoiceitem")) is { } item) s.Change(item, o => o["invoice"] = invoice.Text("id"));
        }
        Total(s, invoice);
    }

    /// <summary>Adds everything up again, as long as it is a draft.</summary>
    public static void Total(Sandbox s, JsonObject invoice)
    {
        var lines = invoice.Each("lines");
        var subtotal = lines.Sum(l => l.Number("amount")!.Value);
        var off = 0L;
        var discounts = new JsonArray();
        foreach (var line in lines) line["discount_amounts"] = new JsonArray();
        foreach (var id in invoice.Texts("discounts"))
        {
            var amount = Coupons.Off(s.Find("coupon", s.Find("discount", id).Text("source.coupon")), lines.Where(l => l.Flag("discountable")).Sum(l => l.Number("amount")!.Value) - off);
            Share(lines, id, amount);
            discounts.Add(new JsonObject { ["amount"] = amount, ["discount"] = id });
            off += amount;
        }
        var total = subtotal - off;
        var balance = s.Store.Find(invoice.Text("customer")).Number("balance") ?? 0;
        invoice.Set("subtotal", subtotal).Set("subtotal_excluding_tax", subtotal).Set("total", total).Set("total_excluding_tax", total).Set("total_discount_amounts", discounts);
        var due = Math.Max(0, total + balance);
        invoice.Set("starting_balance", balance).Set("amount_due", due).Set("amount_remaining", due);
    }

    /// <summary>A discount falls on the lines by their amounts; the last one takes what rounding left.</summary>
    private static void Share(IReadOnlyList<JsonObject> lines, string discount, long amount)
    {
        var shared = lines.Where(l => l.Flag("discountable") && l.Number("amount") > 0).ToList();
        var (rest, left) = (shared.Sum(l => l.Number("amount")!.Value), amount);
        foreach (var line in shared)
        {
            var part = rest == 0 ? 0 : (long)Math.Round((decimal)left * line.Number("amount")!.Value / rest, MidpointRounding.AwayFromZero);
            rest -= line.Number("amount")!.Value;
            left -= part;
            line["discount_amounts"]!.AsArray().Add(new JsonObject { ["amount"] = part, ["discount"] = discount });
        }
    }

    private static JsonObject New(Sandbox s, long amount, JsonObject? price, long quantity, long start, long end, string? description)
    {
        var line = s.New("line_item");
        line.Set("amount", amount).Set("subtotal", amount).Set("quantity", quantity).Set("quantity_decimal", $"{quantity}").Set("description", description);
        line.Set("period.start", start).Set("period.end", end).Set("currency", price.Text("currency"));
        if (price is not null) line["pricing"] = Pricing(price);
        return line;
    }

    public static JsonObject Pricing(JsonObject price) => new()
    {
        ["price_details"] = new JsonObject { ["price"] = price.Text("id"), ["product"] = price.Text("product") },
        ["type"] = "price_details",
        ["unit_amount_decimal"] = price.Text("unit_amount_decimal"),
    };

    private static JsonObject Parent(JsonObject subscription, string? item, string? invoiceItem, bool isProration) => new()
    {
        ["invoice_item_details"] = null,
        ["subscription_item_details"] = new JsonObject
        {
            ["invoice_item"] = invoiceItem,
            ["proration"] = isProration,
            ["proration_details"] = new JsonObject { ["credited_items"] = null },
            ["subscription"] = subscription.Text("id"),
            ["subscription_item"] = item,
        },
        ["type"] = "subscription_item_details",
    };
}
