using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Billing.StripeSandbox;

internal static partial class Customers
{
    public const string Address = "{city country line1 line2 postal_code state}";

    private const string Fields =
        $"address{Address} balance# description email invoice_prefix invoice_settings{{default_payment_method footer custom_fields[name! value!] rendering_options{{amount_tax_display template}}}} metadata{{*}} name"
        + $" phone preferred_locales[] shipping{{address{Address} name phone}} tax_exempt(none|exempt|reverse) default_source";

    public static readonly Operation[] Operations =
    [
        new("POST", "/customers", Fields + " payment_method", Create),
        new("GET", "/customers", "email created{gt# gte# lt# lte#} limit# starting_after ending_before", c =>
            c.Page(c.S.Store.Of("customer").Where(o => !o.Flag("deleted") && (c.P.Text("email") is not { } email || o.Text("email") == email) && c.IsCreatedInRange(o)))),
        new("GET", "/customers/search", "query! limit# page", Search),
        new("GET", "/customers/{id}", "", Read),
        new("POST", "/customers/{id}", Fields, Update),
        new("DELETE", "/customers/{id}", "", Delete),
    ];

    public static JsonObject New(Sandbox s, JsonObject sent)
    {
        var customer = s.New("customer");
        customer["invoice_prefix"] = s.NewId("x", 8)[2..].ToUpperInvariant();
        Take(s, customer, sent);
        return s.Add(customer, "customer.created");
    }

    /// <summary>The one that is named, if it is named; a deleted one is none.</summary>
    public static JsonObject? Named(Sandbox s, JsonObject sent)
    {
        if (sent.Text("customer") is not { } id) return null;
        var customer = s.Find("customer", id, "customer");
        return customer.Flag("deleted") ? throw StripeError.Missing("customer", id, "customer") : customer;
    }

    /// <summary>What is charged when nothing else is said: the invoice's, the subscription's, then the customer's.</summary>
    public static JsonObject? DefaultMethod(Sandbox s, JsonObject? subscription, string customer) =>
        s.Store.Find(subscription?.Text("default_payment_method")) ?? s.Store.Find(s.Store.Find(customer).Text("invoice_settings.default_payment_method"));

    private static JsonObject Create(Call c)
    {
        var method = c.P.Text("payment_method") is { } named ? PaymentMethods.Named(c.S, named) : null;
        if (method is not null) PaymentMethods.CheckKept(method);
        var customer = New(c.S, c.P);
        if (method is not null) PaymentMethods.Attach(c.S, method, customer.Text("id")!);
        return customer;
    }

    private static JsonObject Read(Call c)
    {
        var customer = c.S.Find("customer", c.Id);
        return customer.Flag("deleted") ? Deleted(c.Id) : customer;
    }

    private static JsonObject Update(Call c)
    {
        var customer = c.S.Find("customer", c.Id);
        if (customer.Flag("deleted")) throw StripeError.Missing("customer", c.Id);
        if (c.P.Text("invoice_settings.default_payment_method") is { } method && c.S.Find("payment_method", method, "invoice_settings[default_payment_method]").Text("customer") != c.Id)
            throw StripeError.Invalid($"The customer does not have a payment method with the ID {method}. The payment method must be attached to the customer.", "invoice_settings[default_payment_method]", "resource_missing");
        c.S.Change(customer, o => Take(c.S, o, c.P), "customer.updated");
        return customer;
    }

    private static void Take(Sandbox s, JsonObject customer, JsonObject sent)
    {
        customer.Take(sent, "balance", "description", "email", "name", "phone", "tax_exempt", "preferred_locales", "shipping", "invoice_prefix");
        if (sent.Has("address")) customer["address"] = sent.Object("address") is { } address ? Sandbox.Shape("payment_method").Object("billing_details.address")!.Copy().Take(address, [.. address.Select(a => a.Key)]) : null;
        foreach (var (name, value) in sent.Object("invoice_settings") ?? []) customer.Set($"invoice_settings.{name}", value);
        customer.Merge(sent);
    }

    /// <summary>Its subscriptions end at once. What is left of it answers that it is deleted.</summary>
    private static JsonObject Delete(Call c)
    {
        var customer = c.S.Find("customer", c.Id);
        foreach (var subscription in c.S.Store.Of("subscription").Where(o => o.Text("customer") == c.Id && !Subscriptions.HasEnded(o)).ToList())
            Subscriptions.End(c.S, subscription, "cancellation_requested");
        c.S.Emit("customer.deleted", customer);
        c.S.Change(customer, o => o["deleted"] = true);
        return Deleted(c.Id);
    }

    private static JsonObject Deleted(string id) => new() { ["id"] = id, ["object"] = "customer", ["deleted"] = true };

    /// <summary>Words joined by AND: <c>metadata['key']:'value'</c>, <c>email:'a@b'</c>, each with a <c>-</c> before it to leave out.</summary>
    private static JsonObject Search(Call c)
    {
        var found = c.S.Store.Of("customer").Where(o => !o.Flag("deleted"));
        foreach (var clause in c.P.Text("query")!.Split(" AND "))
        {
            if (Clause().Match(clause) is not { Success: true } match) throw StripeError.Invalid($"We were unable to parse your search query: {clause}", "query");
            var path = match.Groups["key"].Success ? $"metadata.{match.Groups["key"].Value}" : match.Groups["name"].Value;
            found = found.Where(o => o.Text(path) == match.Groups["value"].Value != match.Groups["not"].Success);
        }
        var all = found.Reverse().Take((int)(c.P.Number("limit") ?? 10)).ToList();
        return new JsonObject { ["object"] = "search_result", ["data"] = new JsonArray([.. all.Select(o => o.DeepClone())]), ["has_more"] = false, ["next_page"] = null, ["url"] = c.Path };
    }

    [GeneratedRegex(@"^\s*(?<not>-)?(metadata\[['""](?<key>[^'""]+)['""]\]|(?<name>email|name|phone)):['""](?<value>[^'""]*)['""]\s*$")]
    private static partial Regex Clause();
}
