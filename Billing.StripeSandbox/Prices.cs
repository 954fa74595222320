using System.Globalization;
using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

internal static class Prices
{
    private const string Recurring = "recurring{interval!(day|week|month|year) interval_count# usage_type(licensed) trial_period_days#}";

    /// <summary>What makes a price wherever one is made on the way.</summary>
    public const string Data = $"currency! unit_amount# unit_amount_decimal {Recurring} tax_behavior(exclusive|inclusive|unspecified) metadata{{*}}";

    /// <summary>A price that is made with what it is for.</summary>
    public const string Inline = $"price_data{{{Data} product product_data{{name! description images[] metadata{{*}} tax_code unit_label}}}}";

    private const string Fields = "active? lookup_key metadata{*} nickname tax_behavior(exclusive|inclusive|unspecified) transfer_lookup_key?";

    public static readonly Operation[] Operations =
    [
        new("POST", "/prices", $"currency! unit_amount# unit_amount_decimal {Recurring} product product_data{{name! id active? metadata{{*}} statement_descriptor tax_code unit_label}} billing_scheme(per_unit) {Fields}", Create),
        new("GET", "/prices", "active? currency lookup_keys[] product recurring{interval usage_type} type(one_time|recurring) created{gt# gte# lt# lte#} limit# starting_after ending_before", List),
        new("GET", "/prices/{id}", "", c => c.S.Find("price", c.Id)),
        new("POST", "/prices/{id}", Fields, Update),
    ];

    public static JsonObject New(Sandbox s, JsonObject sent, string product)
    {
        var price = s.New("price");
        var amount = sent.Number("unit_amount");
        if (amount is null && sent.Text("unit_amount_decimal") is null)
            throw StripeError.Invalid("Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set.", "unit_amount", "parameter_missing");
        if (amount < 0) throw StripeError.Invalid("Invalid non-negative integer", "unit_amount", "parameter_invalid_integer");
        var exact = sent.Text("unit_amount_decimal") ?? $"{amount}";
        price["unit_amount_decimal"] = exact;
        price["unit_amount"] = amount ?? (long.TryParse(exact, CultureInfo.InvariantCulture, out var whole) ? whole : null);
        price["currency"] = sent.Text("currency")!.ToLowerInvariant();
        price["product"] = product;
        price.Take(sent, "active", "nickname", "tax_behavior", "lookup_key").Merge(sent);
        if (sent.Object("recurring") is { } recurring)
        {
            price["type"] = "recurring";
            price["recurring"] = new JsonObject
            {
                ["interval"] = recurring.Text("interval"),
                ["interval_count"] = recurring.Number("interval_count") ?? 1,
                ["meter"] = null,
                ["trial_period_days"] = recurring.Number("trial_period_days"),
                ["usage_type"] = "licensed",
            };
        }
        GiveKey(s, sent, price.Text("id")!);
        return s.Add(price, "price.created");
    }

    /// <summary>The price of an item as it is sent: named, or made on the way.</summary>
    public static JsonObject Of(Sandbox s, JsonObject item, string param)
    {
        if (item.Text("price") is { } id) return s.Find("price", id, $"{param}[price]");
        var data = item.Object("price_data") ?? throw StripeError.Invalid($"Missing required param: {param}[price].", $"{param}[price]", "parameter_missing");
        var product = data.Text("product") is { } named ? s.Find("product", named, $"{param}[price_data][product]")
            : data.Object("product_data") is { } of ? Products.New(s, of)
            : throw StripeError.Invalid("You must specify either `product` or `product_data` when creating a price.", $"{param}[price_data][product]", "parameter_missing");
        return New(s, data, product.Text("id")!);
    }

    /// <summary>Rounded once, half away from zero.</summary>
    public static long Amount(JsonObject price, long quantity) =>
        (long)Math.Round(decimal.Parse(price.Text("unit_amount_decimal")!, CultureInfo.InvariantCulture) * quantity, MidpointRounding.AwayFromZero);

    private static JsonObject Create(Call c)
    {
        var product = c.P.Text("product") is { } id ? c.S.Find("product", id, "product")
            : c.P.Object("product_data") is { } data ? Products.New(c.S, data)
            : throw StripeError.OfRequest("You must specify either `product` or `product_data` when creating a price.", "product", "parameter_missing");
        return New(c.S, c.P, product.Text("id")!);
    }

    private static JsonObject Update(Call c)
    {
        var price = c.S.Find("price", c.Id);
        GiveKey(c.S, c.P, c.Id);
        c.S.Change(price, o => o.Take(c.P, "active", "nickname", "tax_behavior", "lookup_key").Merge(c.P), "price.updated");
        return price;
    }

    /// <summary>A lookup key belongs to one price: it is refused, or taken from the other one.</summary>
    private static void GiveKey(Sandbox s, JsonObject sent, string to)
    {
        if (sent.Text("lookup_key") is not { } key) return;
        var holder = s.Store.Of("price").FirstOrDefault(p => p.Text("lookup_key") == key && p.Text("id") != to);
        if (holder is null) return;
        if (!sent.Flag("transfer_lookup_key"))
            throw StripeError.Invalid($"A price (`{holder.Text("id")}`) already uses that lookup key.", "lookup_key", "resource_already_exists");
        s.Change(holder, o => o["lookup_key"] = null, "price.updated");
    }

    /// <summary>Only active ones, unless others are asked for.</summary>
    private static JsonObject List(Call c)
    {
        var keys = c.P.Texts("lookup_keys");
        if (keys.Count > 10) throw StripeError.OfRequest("Array lookup_keys exceeded maximum 10 allowed elements.", "lookup_keys");
        var active = !c.P.Has("active") || c.P.Flag("active");
        return c.Page(c.S.Store.Of("price").Where(p => p.Flag("active") == active
            && (keys.Count == 0 || p.Text("lookup_key") is { } key && keys.Contains(key))
            && (c.P.Text("product") is not { } product || p.Text("product") == product)
            && (c.P.Text("type") is not { } type || p.Text("type") == type)
            && (c.P.Text("currency") is not { } currency || p.Text("currency") == currency)
            && (c.P.Text("recurring.interval") is not { } interval || p.Text("recurring.interval") == interval)));
    }
}
