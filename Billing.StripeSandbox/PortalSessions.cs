using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>The billing portal: what a customer may do, and the sessions in which they do it.</summary>
internal static class PortalSessions
{
    private const string Features =
        "features{customer_update{enabled!? allowed_updates[]} invoice_history{enabled!?} payment_method_update{enabled!?}"
        + " subscription_cancel{enabled!? mode(at_period_end|immediately) proration_behavior(create_prorations|always_invoice|none) cancellation_reason{enabled!? options[]}}"
        + " subscription_update{enabled!? default_allowed_updates[] proration_behavior(create_prorations|always_invoice|none) products[product! prices[]]}}";

    private const string Fields = "business_profile{headline privacy_policy_url terms_of_service_url} default_return_url metadata{*} name login_page{enabled!?}";

    public static readonly Operation[] Operations =
    [
        new("POST", "/billing_portal/sessions",
            "customer! return_url configuration locale flow_data{type!(payment_method_update|subscription_cancel|subscription_update|subscription_update_confirm) subscription_cancel{subscription!} subscription_update{subscription!}"
            + " subscription_update_confirm{subscription! items![id! price quantity#]} after_completion{type!(hosted_confirmation|portal_homepage|redirect) redirect{return_url!} hosted_confirmation{custom_message}}}",
            Create),
        new("POST", "/billing_portal/configurations", Features.Replace("features{", "features!{") + " " + Fields, Configure),
        new("GET", "/billing_portal/configurations", "active? is_default? limit# starting_after ending_before", c => c.PageOf("billing_portal.configuration")),
        new("GET", "/billing_portal/configurations/{id}", "", c => c.S.Find("billing_portal.configuration", c.Id)),
        new("POST", "/billing_portal/configurations/{id}", $"{Features} {Fields} active?", Reconfigure),
    ];

    private static JsonObject Create(Call c)
    {
        var (s, p) = (c.S, c.P);
        var customer = Customers.Named(s, p)!;
        var configuration = p.Text("configuration") is { } id ? s.Find("billing_portal.configuration", id, "configuration") : Default(s);
        var session = s.New("billing_portal.session");
        session.Set("customer", customer.Text("id")).Set("configuration", configuration.Text("id")).Set("return_url", p.Text("return_url") ?? configuration.Text("default_return_url"));
        session.Take(p, "locale");
        if (p.Object("flow_data") is { } flow) session["flow"] = Flow(s, flow, customer);
        session["url"] = $"{s.BaseUrl}/p/session/{session.Text("id")}";
        return s.Add(session, "billing_portal.session.created");
    }

    /// <summary>What was saved last as the default; the sandbox has one from the start, unless it was told to have none.</summary>
    private static JsonObject Default(Sandbox s)
    {
        if (s.Store.Of("billing_portal.configuration").FirstOrDefault(o => o.Flag("is_default")) is { } saved) return saved;
        if (!s.Options.PortalIsConfigured)
            throw StripeError.Invalid("You can't create a portal session in test mode until you save your customer portal settings in test mode at https://dashboard.stripe.com/test/settings/billing/portal.");
        return s.Add(s.New("billing_portal.configuration").Set("is_default", true).Set("updated", s.Now));
    }

    private static JsonObject Flow(Sandbox s, JsonObject sent, JsonObject customer)
    {
        var type = sent.Text("type")!;
        var flow = new JsonObject
        {
            ["after_completion"] = new JsonObject
            {
                ["hosted_confirmation"] = sent.At("after_completion.hosted_confirmation")?.DeepClone(), ["redirect"] = sent.At("after_completion.redirect")?.DeepClone(),
                ["type"] = sent.Text("after_completion.type") ?? "portal_homepage",
            },
            ["subscription_cancel"] = null, ["subscription_update"] = null, ["subscription_update_confirm"] = null, ["type"] = type,
        };
        if (type == "payment_method_update") return flow;
        var of = sent.Object(type) ?? throw StripeError.Invalid($"Missing required param: flow_data[{type}].", $"flow_data[{type}]", "parameter_missing");
        var subscription = s.Find("subscription", of.Text("subscription"), $"flow_data[{type}][subscription]");
        if (subscription.Text("customer") != customer.Text("id")) throw StripeError.Missing("subscription", subscription.Text("id")!, $"flow_data[{type}][subscription]");
        if (type == "subscription_cancel" && (subscription.Number("cancel_at") is not null || Subscriptions.HasEnded(subscription)))
            throw StripeError.Invalid("This subscription cannot be canceled because it is already set to be canceled.", $"flow_data[{type}][subscription]");
        flow[type] = type switch
        {
            "subscription_cancel" => new JsonObject { ["retention"] = null, ["subscription"] = subscription.Text("id") },
            "subscription_update" => new JsonObject { ["subscription"] = subscription.Text("id") },
            _ => new JsonObject
            {
                ["discounts"] = null,
                ["items"] = new JsonArray([.. of.Each("items").Select(i => new JsonObject { ["id"] = i.Text("id"), ["price"] = s.Find("price", i.Text("price"), "flow_data[subscription_update_confirm][items][0][price]").Text("id"), ["quantity"] = i.Number("quantity") ?? 1 })]),
                ["subscription"] = subscription.Text("id"),
            },
        };
        return flow;
    }

    private static JsonObject Configure(Call c)
    {
        var configuration = c.S.New("billing_portal.configuration");
        configuration.Set("is_default", !c.S.Store.Of("billing_portal.configuration").Any(o => o.Flag("is_default"))).Set("updated", c.S.Now);
        // What is not asked for is off.
        foreach (var (_, feature) in configuration.Object("features")!) feature!.AsObject().Set("enabled", false);
        Take(configuration, c.P);
        return c.S.Add(configuration, "billing_portal.configuration.created");
    }

    private static JsonObject Reconfigure(Call c)
    {
        var configuration = c.S.Find("billing_portal.configuration", c.Id);
        c.S.Change(configuration, o => Take(o.Set("updated", c.S.Now).Take(c.P, "active"), c.P), "billing_portal.configuration.updated");
        return configuration;
    }

    private static void Take(JsonObject configuration, JsonObject sent)
    {
        configuration.Take(sent, "default_return_url", "name").Merge(sent);
        foreach (var (name, value) in sent.Object("business_profile") ?? []) configuration.Set($"business_profile.{name}", value);
        foreach (var (feature, members) in sent.Object("features") ?? [])
            foreach (var (name, value) in members as JsonObject ?? []) configuration.Set($"features.{feature}.{name}", value);
    }
}
