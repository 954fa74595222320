using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Billing.StripeSandbox;

/// <summary>Where a customer pays for a checkout session.</summary>
internal static class CheckoutPage
{
    /// <summary>How long the browser waits for whoever fulfils the order, before it goes back there.</summary>
    private static readonly TimeSpan FulfilmentWait = TimeSpan.FromSeconds(10);

    public static void Map(WebApplication app, Sandbox s, SandboxServer server)
    {
        Pages.Show(app, s, "/c/pay/{id}", (http, id) => Show(http, s, id, null, null));
        Pages.Take(app, "/c/pay/{id}", (http, id) => Pay(http, s, server, id));
        Pages.Take(app, "/c/pay/{id}/code", (http, id) => Redeem(http, s, id));
    }

    /// <summary>Back to the seller, who is told first.</summary>
    public static async Task<IResult> Return(Sandbox s, SandboxServer server, JsonObject session)
    {
        await Task.WhenAny(server.Settle(), Task.Delay(FulfilmentWait));
        lock (s.Gate) return Pages.Redirect(session.Text("success_url")!.Replace("{CHECKOUT_SESSION_ID}", session.Text("id"), StringComparison.Ordinal));
    }

    private static async Task<IResult> Pay(HttpContext http, Sandbox s, SandboxServer server, string id)
    {
        var form = await http.Request.ReadFormAsync();
        JsonObject session;
        lock (s.Gate)
        {
            if (s.Store.Find(id) is not { } found || found.Text("status") != "open") return Show(http, s, id, null, null);
            session = found;
            var email = form["email"].ToString() is { Length: > 0 } typed ? typed : null;
            string? error = null;
            try
            {
                // Twice the same button: what waits for the bank waits for it still.
                if (CheckoutSessions.OpenIntent(s, session)?.Text("status") != "requires_action")
                    CheckoutSessions.Submit(s, session, CheckoutSessions.AsksForMethod(session) ? Pages.MethodOf(s, form, email) : null, email, form["name"]);
            }
            catch (StripeError refused)
            {
                error = refused.Message;
            }
            var intent = CheckoutSessions.OpenIntent(s, session);
            if (intent?.Text("status") == "requires_action") return Pages.Redirect($"/authenticate/{intent.Text("id")}");
            if (session.Text("status") == "open") return Show(http, s, id, form, error ?? intent.Text("last_payment_error.message") ?? "The payment was refused.", 402);
        }
        return await Return(s, server, session);
    }

    private static async Task<IResult> Redeem(HttpContext http, Sandbox s, string id)
    {
        var form = await http.Request.ReadFormAsync();
        lock (s.Gate)
        {
            if (s.Store.Find(id) is not { } session || session.Text("status") != "open" || !session.Flag("allow_promotion_codes")) return Show(http, s, id, null, null);
            if (Coupons.Typed(s, form["code"].ToString()) is not { } code) return Show(http, s, id, null, null, 400, "This code is invalid.");
            s.Change(session, o =>
            {
                o["_discounts"] = new JsonArray(new JsonObject { ["promotion_code"] = code.Text("id") });
                o["discounts"] = new JsonArray(new JsonObject { ["coupon"] = null, ["promotion_code"] = code.Text("id") });
                CheckoutSessions.Total(s, o);
            });
            return Pages.Redirect($"/c/pay/{id}");
        }
    }

    public static IResult Show(HttpContext http, Sandbox s, string id, IFormCollection? sent, string? error, int status = 200, string? codeError = null)
    {
        if (s.Store.Find(id) is not { } session || session.Text("object") != "checkout.session") return Pages.NotFound(http, "There is no such checkout session");
        if (session.Text("status") != "open")
            return Pages.Answer(http, "Checkout", $"<h1>{(session.Text("status") == "complete" ? "You have already paid" : "This checkout session has expired")}</h1><p class=\"soft\">{Back(session)}</p>", 200, isNarrow: true);
        var customer = s.Store.Find(session.Text("customer"));
        var email = customer.Text("email") ?? session.Text("customer_email");
        var emailField = email is not null ? (Html)$"<p class=\"field soft\">Email: {email}</p>" : $"""
            <div class="field"><label for="email">Email</label><input id="email" name="email" type="email" autocomplete="email" maxlength="200" required value="{Pages.Sent(sent, "email")}"></div>
            """;
        var method = CheckoutSessions.AsksForMethod(session) ? Pages.MethodFields(sent, session.Text("currency"), error) : Html.Nothing;
        Html content = $"""
            {Back(session)}
            <div class="two">
            <section aria-label="Order">{Summary(s, session, codeError)}</section>
            <section class="panel" aria-label="Payment">
            {Pages.Error(error)}
            <form method="post" action="/c/pay/{id}">
            {emailField}
            {method}
            <button type="submit">{Button(session)}</button>
            </form>
            {Pages.TestCardHelp()}
            </section>
            </div>
            """;
        return Pages.Answer(http, "Checkout", content, status);
    }

    private static Html Back(JsonObject session) =>
        session.Text("cancel_url") is { } url ? $"<a class=\"back\" href=\"{url.Replace("{CHECKOUT_SESSION_ID}", session.Text("id"), StringComparison.Ordinal)}\">← Back</a>" : Html.Nothing;

    private static string Button(JsonObject session) => session.Text("mode") switch
    {
        "setup" => "Save card",
        "subscription" when TrialDays(session) is not null => "Start trial",
        "subscription" => "Subscribe",
        _ => CheckoutSessions.Due(session) == 0 ? "Complete order" : $"Pay {Money.Of(CheckoutSessions.Due(session), session.Text("currency"))}",
    };

    private static long? TrialDays(JsonObject session) =>
        session.Number("_subscription_data.trial_period_days") ?? (session.Number("_subscription_data.trial_end") is { } end ? (end - session.Number("created")) / 86_400 : null);

    private static Html Summary(Sandbox s, JsonObject session, string? codeError)
    {
        if (session.Text("mode") == "setup") return $"<h1>Save a payment method</h1><p class=\"amount\">Nothing is charged now</p>";
        var currency = session.Text("currency");
        var items = session.Each("_items");
        var recurring = items.FirstOrDefault(i => i.Text("price.type") == "recurring");
        Html title = TrialDays(session) is { } days ? (Html)$"<h1>Try {recurring.Text("description")}</h1><p class=\"amount\">{Money.Count(days)} days free</p>"
            : recurring is not null ? (Html)$"<h1>Subscribe to {recurring.Text("description")}</h1><p class=\"amount\">{Money.Of(CheckoutSessions.Due(session), currency)} <small>per {Money.Every(recurring.Object("price")!)}</small></p>"
            : (Html)$"<h1>Pay</h1><p class=\"amount\">{Money.Of(CheckoutSessions.Due(session), currency)}</p>";
        var lines = items.Select(i => (Html)$"""
            <li><span>{i.Text("description")}<small>{Each(i)}</small></span><span class="money">{Money.Of(Prices.Amount(i.Object("price")!, i.Number("quantity")!.Value), currency)}</span></li>
            """);
        var off = session.Number("total_details.amount_discount") is > 0 and var amount ? (Html)$"<li><span>Discount</span><span class=\"money\">{Money.Of(-amount, currency)}</span></li>" : Html.Nothing;
        var code = !session.Flag("allow_promotion_codes") || session.Has("_discounts") ? Html.Nothing : $"""
            <form method="post" action="/c/pay/{session.Text("id")}/code">{Pages.Error(codeError)}
            <div class="field"><label for="code">Promotion code</label><div class="row"><input id="code" name="code" maxlength="100" required><button class="second" type="submit">Apply</button></div></div></form>
            """;
        return $"""
            {title}
            <ul class="lines">{lines}{off}<li class="sum"><span>Due today</span><span class="money">{Money.Of(CheckoutSessions.Due(session), currency)}</span></li></ul>
            {code}
            """;
    }

    private static string Each(JsonObject item)
    {
        var price = item.Object("price")!;
        return $"{item.Number("quantity")} × {Money.Of(price)}{(price.Text("type") == "recurring" ? $" every {Money.Every(price)}" : "")}";
    }
}
