using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Billing.StripeSandbox;

/// <summary>The pages that a customer sees. They run no script and load nothing.</summary>
internal static class Pages
{
    private const string Style = """
        :root { --ink: #1a1f36; --soft: #5b6478; --line: #dfe3ea; --accent: #0a5ad4; --accent-ink: #fff; --bad: #b3093c; --ground: #f6f8fb; --card: #fff; }
        * { box-sizing: border-box; margin: 0; }
        body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: var(--ink); background: var(--ground); }
        .test { background: #ffe6b0; color: #5c3d00; text-align: center; font-size: 13px; padding: 4px 12px; }
        main { max-width: 960px; margin: 0 auto; padding: 56px 24px; }
        main.narrow { max-width: 560px; }
        .two { display: grid; grid-template-columns: 1fr 1fr; gap: 72px; align-items: start; }
        h1 { font-size: 18px; font-weight: 600; color: var(--soft); }
        h2 { font-size: 17px; font-weight: 600; margin: 32px 0 12px; }
        .amount { font-size: 36px; font-weight: 600; letter-spacing: -.02em; line-height: 1.2; margin: 4px 0 24px; }
        .soft, small { color: var(--soft); font-size: 14px; }
        ul.lines { list-style: none; padding: 0; }
        ul.lines li { display: flex; justify-content: space-between; gap: 16px; padding: 12px 0; border-bottom: 1px solid var(--line); }
        ul.lines li.sum { border: 0; font-weight: 600; }
        ul.lines small { display: block; }
        .money { white-space: nowrap; font-variant-numeric: tabular-nums; }
        .panel { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 24px; box-shadow: 0 1px 2px rgb(20 30 60 / 6%); }
        .panel + .panel { margin-top: 16px; }
        .panel h2 { margin-top: 0; }
        .panel form h2 { margin-top: 24px; }
        h1 + .panel { margin-top: 12px; }
        .amount small { font-weight: 400; letter-spacing: 0; }
        ::placeholder { color: #737b8c; opacity: 1; }
        label { display: block; font-size: 14px; font-weight: 500; margin-bottom: 4px; }
        .field { margin-bottom: 16px; }
        .row { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; }
        input, select { width: 100%; font: inherit; color: inherit; padding: 10px 12px; border: 1px solid #b9c0cd; border-radius: 6px; background: #fff; }
        input[type=radio] { width: auto; margin-right: 8px; }
        input:focus-visible, select:focus-visible, button:focus-visible, a:focus-visible { outline: 3px solid #8bb8ff; outline-offset: 1px; }
        input[aria-invalid] { border-color: var(--bad); }
        button, .button { display: inline-block; width: 100%; font: inherit; font-weight: 600; text-align: center; text-decoration: none; padding: 12px 16px; border: 0; border-radius: 6px; background: var(--accent); color: var(--accent-ink); cursor: pointer; }
        button:hover, .button:hover { background: #084cb3; }
        button.second, .button.second { background: #fff; color: var(--ink); border: 1px solid #b9c0cd; }
        button.second:hover, .button.second:hover { background: #eef2f8; }
        button.danger { background: #fff; color: var(--bad); border: 1px solid currentColor; }
        button.danger:hover { background: #fdeef2; }
        .error { color: var(--bad); background: #fdeef2; border: 1px solid #f3c1cf; border-radius: 6px; padding: 10px 12px; margin-bottom: 16px; }
        .done { color: #06603a; background: #e7f6ee; border: 1px solid #b9e3cc; border-radius: 6px; padding: 10px 12px; margin-bottom: 16px; }
        a { color: var(--accent); }
        .back { display: inline-block; margin-bottom: 24px; font-size: 14px; }
        details { margin-top: 20px; font-size: 14px; color: var(--soft); }
        details li { margin: 4px 0; }
        code { font: 13px ui-monospace, SFMono-Regular, Menlo, monospace; }
        .choice { display: flex; align-items: baseline; font-weight: 400; padding: 10px 0; border-bottom: 1px solid var(--line); }
        .choice .money { margin-left: auto; }
        .actions { display: flex; gap: 12px; margin-top: 16px; }
        .actions form { flex: 1; }
        table { width: 100%; border-collapse: collapse; font-size: 14px; }
        th, td { text-align: left; padding: 8px 8px 8px 0; border-bottom: 1px solid var(--line); }
        @media (max-width: 720px) {
          main { padding: 28px 16px; }
          .two { grid-template-columns: 1fr; gap: 28px; }
          .amount { font-size: 30px; }
          .actions { flex-direction: column; }
        }
        """;

    private static readonly string ContentSecurityPolicy =
        $"default-src 'none'; style-src 'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes($"\n{Style}\n")))}'; base-uri 'none'; frame-ancestors 'none'";

    public static void Map(WebApplication app, Sandbox s, SandboxServer server)
    {
        CheckoutPage.Map(app, s, server);
        AuthenticationPage.Map(app, s, server);
        HostedInvoicePage.Map(app, s, server);
        PortalPage.Map(app, s, server);
        ControlPage.Map(app, s, server);
    }

    /// <summary>A page that is shown, for the id in its path.</summary>
    public static void Show(WebApplication app, Sandbox s, string path, Func<HttpContext, string, IResult> show) => app.MapGet(path, (RequestDelegate)(http =>
    {
        IResult shown;
        lock (s.Gate) shown = show(http, Id(http));
        return shown.ExecuteAsync(http);
    }));

    /// <summary>A form that is sent.</summary>
    public static void Take(WebApplication app, string path, Func<HttpContext, string, Task<IResult>> take) =>
        app.MapPost(path, (RequestDelegate)(async http => await (await take(http, Id(http))).ExecuteAsync(http)));

    private static string Id(HttpContext http) => http.Request.RouteValues["id"]?.ToString() ?? "";

    public static IResult Answer(HttpContext http, string title, Html content, int status = 200, bool isNarrow = false)
    {
        http.Response.Headers.ContentSecurityPolicy = ContentSecurityPolicy;
        http.Response.Headers.CacheControl = "no-store";
        http.Response.Headers.XContentTypeOptions = "nosniff";
        http.Response.Headers["Referrer-Policy"] = "no-referrer";
        Html page = $"""
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>{title}</title>
            <style>
            {Raw(Style)}
            </style>
            </head>
            <body>
            <p class="test">Stripe sandbox: nothing is charged. Use a test card.</p>
            <main class="{(isNarrow ? "narrow" : "")}">
            {content}
            </main>
            </body>
            </html>

            """;
        return Results.Content(page.ToString(), "text/html; charset=utf-8", Encoding.UTF8, status);
    }

    public static IResult NotFound(HttpContext http, string what) =>
        Answer(http, "Not found", $"<h1>{what}</h1><p class=\"soft\">The link is wrong, or what it led to is over.</p>", 404, isNarrow: true);

    public static Html Error(string? message) => message is null ? Html.Nothing : (Html)$"<p class=\"error\" role=\"alert\" id=\"error\">{message}</p>";

    /// <summary>A form that shows where the next page is, however it is asked for: the browser repeats nothing on reload.</summary>
    public static IResult Redirect(string to) => Results.Redirect(to, permanent: false, preserveMethod: false);

    /// <summary>The fields of a card, and of a bank account where the currency has them.</summary>
    public static Html MethodFields(IFormCollection? sent, string? currency, string? error)
    {
        var invalid = error is null ? Html.Nothing : (Html)$"aria-invalid=\"true\" aria-describedby=\"error\"";
        var bank = currency != "eur" ? Html.Nothing : $"""
            <details><summary>Pay by SEPA debit instead</summary>
            <div class="field"><label for="iban">IBAN</label><input id="iban" name="iban" autocomplete="off" value="{Sent(sent, "iban")}"></div></details>
            """;
        var needed = currency == "eur" ? Html.Nothing : (Html)$"required";
        return $"""
            <div class="field"><label for="number">Card number</label>
            <input id="number" name="number" inputmode="numeric" autocomplete="cc-number" placeholder="4242 4242 4242 4242" maxlength="23" {needed} {invalid}></div>
            <div class="row">
            <div class="field"><label for="expiry">Expiry (MM / YY)</label><input id="expiry" name="expiry" inputmode="numeric" autocomplete="cc-exp" placeholder="12 / 34" maxlength="9" value="{Sent(sent, "expiry")}" {needed}></div>
            <div class="field"><label for="cvc">CVC</label><input id="cvc" name="cvc" inputmode="numeric" autocomplete="cc-csc" placeholder="123" maxlength="4" {needed}></div>
            </div>
            <div class="field"><label for="name">Name on card</label><input id="name" name="name" autocomplete="cc-name" maxlength="100" value="{Sent(sent, "name")}"></div>
            {bank}
            """;
    }

    public static Html TestCardHelp() => $"""
        <details><summary>Test cards</summary><ul>
        <li><code>4242 4242 4242 4242</code> succeeds</li>
        <li><code>4000 0000 0000 0002</code> is declined</li>
        <li><code>4000 0027 6000 3184</code> asks for authentication</li>
        <li><code>4000 0000 0000 0341</code> is taken, and its charges fail later</li>
        <li><code>4000 0000 0000 9995</code> has insufficient funds</li>
        </ul><p>Any future expiry and any CVC.</p></details>
        """;

    /// <summary>The payment method that was typed in, or the error that Stripe has for it.</summary>
    public static JsonObject MethodOf(Sandbox s, IFormCollection sent, string? email)
    {
        if (sent["iban"].ToString() is { Length: > 0 } iban) return PaymentMethods.New(s, TestCards.ByNumber(iban), email, sent["name"]);
        var card = TestCards.ByNumber(sent["number"].ToString());
        var expiry = sent["expiry"].ToString().Split('/', ' ', '-').Where(p => p.Length > 0).Select(p => int.TryParse(p, out var n) ? n : 0).ToArray();
        if (expiry.Length != 2 || expiry[0] is < 1 or > 12) throw TestCards.Error("invalid_expiry_month", "Your card's expiration date is incomplete.", null, "exp_month");
        var year = expiry[1] < 100 ? 2000 + expiry[1] : expiry[1];
        if (year > 2100 || new DateTimeOffset(year, expiry[0], 1, 0, 0, 0, TimeSpan.Zero).AddMonths(1).ToUnixTimeSeconds() <= s.Now) throw TestCards.Error("invalid_expiry_year", "Your card's expiration date is in the past.", null, "exp_year");
        if (sent["cvc"].ToString() is not { Length: 3 or 4 } cvc || !cvc.All(char.IsAsciiDigit)) throw TestCards.Error("invalid_cvc", "Your card's security code is incomplete.", null, "cvc");
        return PaymentMethods.New(s, card, email, sent["name"], expiry[0], year);
    }

    public static string Sent(IFormCollection? sent, string name) => sent?[name].ToString() ?? "";

    /// <summary>Markup that is ours.</summary>
    private static Html Raw(string markup)
    {
        Html html = $"";
        html.AppendLiteral(markup);
        return html;
    }
}
