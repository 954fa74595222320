using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Billing.StripeSandbox;

/// <summary>The bank's page of 3D Secure: the cardholder confirms, or does not.</summary>
internal static class AuthenticationPage
{
    public static void Map(WebApplication app, Sandbox s, SandboxServer server)
    {
        Pages.Show(app, s, "/authenticate/{id}", (http, id) => Show(http, s, id));
        Pages.Take(app, "/authenticate/{id}", (http, id) => Answer(http, s, server, id));
    }

    private static IResult Show(HttpContext http, Sandbox s, string id)
    {
        if (s.Store.Find(id) is not { } intent || intent.Text("object") is not ("payment_intent" or "setup_intent")) return Pages.NotFound(http, "There is no such payment");
        if (intent.Text("status") != "requires_action")
            return Pages.Answer(http, "Authentication", $"<h1>Nothing is to be confirmed</h1><p class=\"soft\">The payment is {intent.Text("status")!.Replace('_', ' ')}.</p>", isNarrow: true);
        var amount = intent.Number("amount") is { } due ? Money.Of(due, intent.Text("currency")) : "Keeping this card";
        return Pages.Answer(http, "Authentication", $"""
            <h1>3D Secure test page</h1>
            <p class="amount">{amount}</p>
            <div class="panel"><p>Your bank asks you to confirm this. Choose how it goes.</p>
            <div class="actions">
            <form method="post"><button name="granted" value="true">Complete authentication</button></form>
            <form method="post"><button class="second" name="granted" value="false">Fail authentication</button></form>
            </div></div>
            """, isNarrow: true);
    }

    private static async Task<IResult> Answer(HttpContext http, Sandbox s, SandboxServer server, string id)
    {
        var isGranted = (await http.Request.ReadFormAsync())["granted"] == "true";
        lock (s.Gate)
            if (s.Store.Find(id).Text("status") != "requires_action") return Show(http, s, id);
        string? error = null;
        try
        {
            server.Authenticate(id, isGranted);
        }
        catch (StripeError refused)
        {
            error = refused.Message;
        }
        string? back;
        lock (s.Gate)
        {
            var intent = s.Store.Find(id)!;
            var session = s.Store.Find(intent.Text("_session"));
            if (session is null) back = intent.Text("_return_url") ?? (intent.Text("_invoice") is { } invoice ? $"/i/{invoice}" : null);
            else if (session.Text("status") == "open")
                return CheckoutPage.Show(http, s, session.Text("id")!, null, error ?? intent.Text("last_payment_error.message") ?? intent.Text("last_setup_error.message"), 402);
            else back = session.Text("id");
            if (back is null) return Show(http, s, id);
        }
        await server.Settle();
        return s.Store.Find(back) is { } finished ? await CheckoutPage.Return(s, server, finished) : Pages.Redirect(back);
    }
}
