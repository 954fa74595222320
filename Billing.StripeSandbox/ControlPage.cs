using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Billing.StripeSandbox;

/// <summary>The sandbox's own page: what time it is, what happened, and months in a click.</summary>
internal static class ControlPage
{
    private static readonly (string Name, string Label)[] Steps = [("hour", "An hour"), ("day", "A day"), ("week", "A week"), ("month", "A month")];

    public static void Map(WebApplication app, Sandbox s, SandboxServer server)
    {
        Pages.Show(app, s, "/", (http, _) => Show(http, s));
        Pages.Take(app, "/advance", (http, _) => Advance(http, server));
    }

    private static async Task<IResult> Advance(HttpContext http, SandboxServer server)
    {
        var now = server.Now;
        var to = (await http.Request.ReadFormAsync())["by"].ToString() switch
        {
            "hour" => now.AddHours(1), "day" => now.AddDays(1), "week" => now.AddDays(7), "month" => now.AddMonths(1), _ => now,
        };
        await server.AdvanceTo(to);
        return Pages.Redirect("/");
    }

    private static IResult Show(HttpContext http, Sandbox s)
    {
        var steps = Steps.Select(step => (Html)$"<form method=\"post\" action=\"/advance\"><button class=\"second\" name=\"by\" value=\"{step.Name}\">{step.Label}</button></form>");
        var events = s.Store.Of("event").Reverse().Take(50).Select(e => (Html)$"""
            <tr><td>{Money.Minute(e.Number("created")!.Value)}</td><td>{e.Text("type")}</td><td><code>{e.Text("data.object.id")}</code></td><td>{(e.Flag("_undelivered") ? "lost" : e.Number("pending_webhooks") > 0 ? "waiting" : "sent")}</td></tr>
            """);
        return Pages.Answer(http, "Stripe sandbox", $"""
            <h1>Stripe sandbox</h1>
            <p class="amount">{Money.Minute(s.Now)} UTC</p>
            <section class="panel" aria-label="Clock"><h2>Move the clock on by</h2><div class="actions">{steps}</div></section>
            <section class="panel" aria-label="Events"><h2>What happened last</h2>
            <table><thead><tr><th scope="col">Time</th><th scope="col">Event</th><th scope="col">Object</th><th scope="col">Webhook</th></tr></thead><tbody>{events}</tbody></table></section>
            """);
    }
}
