using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

internal static class Products
{
    private const string Fields = "active? description images[] marketing_features[name!] metadata{*} shippable? statement_descriptor tax_code unit_label url";

    public static readonly Operation[] Operations =
    [
        new("POST", "/products", $"name! id type(good|service) {Fields} default_price_data{{{Prices.Data}}}", Create),
        new("GET", "/products", "active? ids[] shippable? url created{gt# gte# lt# lte#} limit# starting_after ending_before", List),
        new("GET", "/products/{id}", "", c => c.S.Find("product", c.Id)),
        new("POST", "/products/{id}", $"name default_price {Fields}", Update),
        new("DELETE", "/products/{id}", "", Delete),
    ];

    public static JsonObject New(Sandbox s, JsonObject sent)
    {
        var product = s.New("product");
        if (sent.Text("id") is { } id)
        {
            if (s.Store.Find(id) is not null) throw StripeError.Invalid("Product already exists.", "id", "resource_already_exists");
            product["id"] = id;
        }
        product["updated"] = s.Now;
        Take(product, sent);
        s.Add(product, "product.created");
        if (sent.Object("default_price_data") is { } data) product["default_price"] = Prices.New(s, data, product.Text("id")!).Text("id");
        return product;
    }

    private static JsonObject Create(Call c) => New(c.S, c.P);

    private static JsonObject List(Call c)
    {
        var ids = c.P.Texts("ids");
        return c.Page(c.S.Store.Of("product").Where(p => (ids.Count == 0 || ids.Contains(p.Text("id")!)) && (!c.P.Has("active") || p.Flag("active") == c.P.Flag("active"))));
    }

    private static JsonObject Update(Call c)
    {
        var product = c.S.Find("product", c.Id);
        if (c.P.Text("default_price") is { } price && c.S.Find("price", price, "default_price").Text("product") != c.Id)
            throw StripeError.Invalid($"The price `{price}` does not belong to this product.", "default_price");
        c.S.Change(product, o => Take(o.Set("updated", c.S.Now), c.P), "product.updated");
        return product;
    }

    private static JsonObject Delete(Call c)
    {
        var product = c.S.Find("product", c.Id);
        if (c.S.Store.Of("price").Any(p => p.Text("product") == c.Id))
            throw StripeError.Invalid("This product cannot be deleted because it has one or more user-created prices.");
        c.S.Emit("product.deleted", product);
        c.S.Store.Remove(product);
        return new JsonObject { ["id"] = c.Id, ["object"] = "product", ["deleted"] = true };
    }

    private static void Take(JsonObject product, JsonObject sent) =>
        product.Take(sent, "name", "active", "description", "images", "marketing_features", "shippable", "statement_descriptor", "tax_code", "unit_label", "url", "default_price", "type").Merge(sent);
}
