using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Billing.StripeSandbox;

/// <summary>Where a customer changes the payment method, the plan, or cancels.</summary>
internal static class PortalPage
{
    public static void Map(WebApplication app, Sandbox s, SandboxServer server)
    {
        Pages.Show(app, s, "/p/session/{id}", (http, id) => Show(http, s, id, null, null));
        foreach (var action in (string[])["method", "cancel", "renew", "plan"]) Pages.Take(app, $"/p/session/{{id}}/{action}", (http, id) => Act(http, s, server, id, action));
    }

    private static async Task<IResult> Act(HttpContext http, Sandbox s, SandboxServer server, string id, string action)
    {
        var form = await http.Request.ReadFormAsync();
        string? error = null;
        server.Do(_ =>
        {
            try
            {
                if (s.Store.Find(id) is { } session && session.Text("object") == "billing_portal.session") Do(s, session, action, form);
            }
            catch (StripeError refused)
            {
                error = refused.Message;
            }
        });
        if (error is not null)
            lock (s.Gate) return Show(http, s, id, form, error, 402);
        await server.Settle();
        lock (s.Gate)
        {
            var session = s.Store.Find(id);
            var after = session.Text("flow.after_completion.type") == "redirect" ? session.Text("flow.after_completion.redirect.return_url") : null;
            return Pages.Redirect(after ?? $"/p/session/{id}?done={Uri.EscapeDataString(action)}");
        }
    }

    private static void Do(Sandbox s, JsonObject session, string action, IFormCollection form)
    {
        var customer = s.Find("customer", session.Text("customer"));
        var features = s.Find("billing_portal.configuration", session.Text("configuration")).Object("features")!;
        var subscription = form["subscription"].ToString() is { Length: > 0 } named ? s.Find("subscription", named) : null;
        if (subscription is not null && subscription.Text("customer") != customer.Text("id")) throw StripeError.Missing("subscription", subscription.Text("id")!);
        switch (action)
        {
            case "method" when features.Flag("payment_method_update.enabled"):
                var setup = SetupIntents.New(s, customer.Text("id"));
                var method = Pages.MethodOf(s, form, customer.Text("email"));
                SetupIntents.Confirm(s, setup, method);
                // The bank's question is answered on the way, as the portal does within its own frame.
                SetupIntents.Authenticate(s, setup, isGranted: true);
                s.Change(customer, o => o.Set("invoice_settings.default_payment_method", method.Text("id")), "customer.updated");
                foreach (var of in Current(s, customer)) s.Change(of, o => o["default_payment_method"] = method.Text("id"), "customer.subscription.updated");
                break;
            case "cancel" when features.Flag("subscription_cancel.enabled") && subscription is not null:
                if (features.Text("subscription_cancel.mode") == "immediately") Subscriptions.Cancel(s, subscription, new JsonObject { ["prorate"] = features.Text("subscription_cancel.proration_behavior") != "none" });
                else SubscriptionChanges.Apply(s, subscription, [], o => Subscriptions.Take(s, o, new JsonObject { ["cancel_at_period_end"] = true }));
                break;
            case "renew" when features.Flag("subscription_cancel.enabled") && subscription is not null:
                SubscriptionChanges.Apply(s, subscription, [], o => Subscriptions.Take(s, o, new JsonObject { ["cancel_at_period_end"] = false }));
                break;
            case "plan" when features.Flag("subscription_update.enabled") && subscription is not null:
                var price = s.Find("price", form["price"].ToString(), "price");
                if (!Offered(s, features, subscription).Contains(price)) throw StripeError.Invalid("This plan cannot be chosen here.", "price");
                var item = Subscriptions.ItemsOf(subscription)[0];
                SubscriptionChanges.Apply(s, subscription, new JsonObject
                {
                    ["items"] = new JsonArray(new JsonObject { ["id"] = item.Text("id"), ["price"] = price.Text("id"), ["quantity"] = item.Number("quantity") }),
                    ["proration_behavior"] = features.Text("subscription_update.proration_behavior"),
                    ["payment_behavior"] = "error_if_incomplete",
                }, _ => { });
                break;
            default:
                throw StripeError.Invalid("The portal's configuration does not allow this.");
        }
    }

    private static List<JsonObject> Current(Sandbox s, JsonObject customer) =>
        [.. s.Store.Of("subscription").Where(o => o.Text("customer") == customer.Text("id") && !Subscriptions.HasEnded(o))];

    /// <summary>The prices of the configuration's products; without them every active price in the subscription's currency.</summary>
    private static List<JsonObject> Offered(Sandbox s, JsonObject features, JsonObject subscription)
    {
        var chosen = features.Each("subscription_update.products");
        return [.. s.Store.Of("price").Where(p => p.Flag("active") && p.Text("type") == "recurring" && p.Text("currency") == subscription.Text("currency")
            && (chosen.Count == 0 || chosen.Any(c => c.Texts("prices").Contains(p.Text("id")!))))];
    }

    private static IResult Show(HttpContext http, Sandbox s, string id, IFormCollection? sent, string? error, int status = 200)
    {
        if (s.Store.Find(id) is not { } session || session.Text("object") != "billing_portal.session") return Pages.NotFound(http, "There is no such portal session");
        var customer = s.Find("customer", session.Text("customer"));
        var features = s.Find("billing_portal.configuration", session.Text("configuration")).Object("features")!;
        var flow = session.Text("flow.type");
        var subscriptions = Current(s, customer);
        var done = http.Request.Query["done"].ToString() switch
        {
            "method" => "Your payment method was changed.", "cancel" => "Your subscription is canceled.", "renew" => "Your subscription goes on.", "plan" => "Your plan was changed.", _ => null,
        };
        var back = session.Text("return_url") is { } url ? (Html)$"<a class=\"back\" href=\"{url}\">← Return</a>" : Html.Nothing;
        return Pages.Answer(http, "Billing", $"""
            {back}
            {Pages.Error(error)}{(done is null ? Html.Nothing : (Html)$"<p class=\"done\" role=\"status\">{done}</p>")}
            <h1>{customer.Text("name") ?? customer.Text("email") ?? "Billing"}</h1>
            {subscriptions.Where(_ => flow is not "payment_method_update").Select(o => Subscription(s, id, session, features, o))}
            {(features.Flag("payment_method_update.enabled") && flow is null or "payment_method_update" ? Method(s, id, customer, sent, error) : Html.Nothing)}
            {(features.Flag("invoice_history.enabled") && flow is null ? Invoices(s, customer) : Html.Nothing)}
            """, status, isNarrow: true);
    }

    private static Html Subscription(Sandbox s, string id, JsonObject session, JsonObject features, JsonObject subscription)
    {
        var flow = session.Text("flow.type");
        var name = subscription.Text("id")!;
        if (flow is not null && session.Text($"flow.{flow}.subscription") != name) return Html.Nothing;
        var item = Subscriptions.ItemsOf(subscription)[0];
        var price = item.Object("price")!;
        var ends = subscription.Number("cancel_at");
        Html state = ends is { } end ? (Html)$"Canceled: ends on {Money.Day(end)}" : subscription.Text("status") == "trialing" ? (Html)$"Trial until {Money.Day(subscription.Number("trial_end")!.Value)}" : (Html)$"Renews on {Money.Day(Subscriptions.PeriodEnd(subscription))}";
        var wanted = session.Each("flow.subscription_update_confirm.items") is [var first, ..] ? first.Text("price") : null;
        var choices = Offered(s, features, subscription).Where(p => wanted is null || p.Text("id") == wanted).Select(p => (Html)$"""
            <label class="choice"><input type="radio" name="price" value="{p.Text("id")}" required{(p.Text("id") == (wanted ?? price.Text("id")) ? (Html)$" checked" : Html.Nothing)}>{s.Store.Find(p.Text("product")).Text("name")}<span class="money">{Money.Of(p)} / {Money.Every(p)}</span></label>
            """);
        Html plan = !features.Flag("subscription_update.enabled") || flow == "subscription_cancel" ? Html.Nothing : (Html)$"""
            <form method="post" action="/p/session/{id}/plan"><h2>Change plan</h2><input type="hidden" name="subscription" value="{name}">{choices}<div class="actions"><button type="submit">Change plan</button></div></form>
            """;
        Html cancel = !features.Flag("subscription_cancel.enabled") || flow is "subscription_update" or "subscription_update_confirm" ? Html.Nothing : ends is not null
            ? (Html)$"<form method=\"post\" action=\"/p/session/{id}/renew\"><input type=\"hidden\" name=\"subscription\" value=\"{name}\"><div class=\"actions\"><button class=\"second\">Don't cancel subscription</button></div></form>"
            : (Html)$"<form method=\"post\" action=\"/p/session/{id}/cancel\"><input type=\"hidden\" name=\"subscription\" value=\"{name}\"><div class=\"actions\"><button class=\"danger\">Cancel subscription</button></div></form>";
        return $"""
            <section class="panel" aria-label="Subscription"><h2>{s.Store.Find(price.Text("product")).Text("name")}</h2>
            <p>{Money.Of(price)} per {Money.Every(price)}</p><p class="soft">{state}</p>{plan}{cancel}</section>
            """;
    }

    private static Html Method(Sandbox s, string id, JsonObject customer, IFormCollection? sent, string? error)
    {
        var method = Customers.DefaultMethod(s, Current(s, customer) is [var first, ..] ? first : null, customer.Text("id")!);
        Html now = method is null ? (Html)$"None is kept." : (Html)$"{method.Text("card.brand") ?? "SEPA"} ending in {method.Text("card.last4") ?? method.Text("sepa_debit.last4")}";
        return $"""
            <section class="panel" aria-label="Payment method"><h2>Payment method</h2><p class="field soft">{now}</p>
            <form method="post" action="/p/session/{id}/method">{Pages.MethodFields(sent, null, error)}<button type="submit">Save payment method</button></form>{Pages.TestCardHelp()}</section>
            """;
    }

    private static Html Invoices(Sandbox s, JsonObject customer)
    {
        var rows = s.Store.Of("invoice").Where(i => i.Text("customer") == customer.Text("id") && i.Text("status") != "draft").Reverse().Take(24).Select(i => (Html)$"""
            <tr><td><a href="/i/{i.Text("id")}">{i.Text("number")}</a></td><td>{Money.Day(i.Number("created")!.Value)}</td><td class="money">{Money.Of(i.Number("total")!.Value, i.Text("currency"))}</td><td>{i.Text("status")}</td></tr>
            """);
        return $"<section class=\"panel\" aria-label=\"Invoices\"><h2>Invoices</h2><table><thead><tr><th scope=\"col\">Number</th><th scope=\"col\">Date</th><th scope=\"col\">Amount</th><th scope=\"col\">Status</th></tr></thead><tbody>{rows}</tbody></table></section>";
    }
}
