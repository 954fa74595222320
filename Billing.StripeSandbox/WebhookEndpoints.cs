using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

internal static class WebhookEndpoints
{
    public static readonly Operation[] Operations =
    [
        new("POST", "/webhook_endpoints", "url! enabled_events![] api_version description metadata{*}", Create),
        new("GET", "/webhook_endpoints", "limit# starting_after ending_before", c => c.PageOf("webhook_endpoint")),
        new("GET", "/webhook_endpoints/{id}", "", c => c.S.Find("webhook_endpoint", c.Id)),
        new("POST", "/webhook_endpoints/{id}", "url enabled_events[] disabled? description metadata{*}", Update),
        new("DELETE", "/webhook_endpoints/{id}", "", Delete),
    ];

    public static JsonObject New(Sandbox s, string url, string secret, params IEnumerable<string> events)
    {
        var endpoint = s.New("webhook_endpoint");
        return s.Add(endpoint.Set("url", url).Set("_secret", secret).Set("status", "enabled").Set("api_version", Api.Version).Set("enabled_events", new JsonArray([.. events.Select(e => JsonValue.Create(e))])));
    }

    /// <summary>Those that want to hear of this.</summary>
    public static IEnumerable<JsonObject> For(Sandbox s, string type) =>
        s.Store.Of("webhook_endpoint").Where(e => e.Text("status") == "enabled" && e.Texts("enabled_events").Any(asked => Events.Matches(asked, type)));

    private static JsonObject Create(Call c)
    {
        CheckUrl(c.P);
        if (c.P.Text("api_version") is { } version && version != Api.Version) throw StripeError.Invalid($"Invalid API version: {version}. The sandbox speaks {Api.Version}.", "api_version");
        var endpoint = New(c.S, c.P.Text("url")!, c.S.NewId("whsec", 32), c.P.Texts("enabled_events"));
        endpoint.Take(c.P, "description").Merge(c.P);
        // Told once, and never again.
        var answer = endpoint.Copy();
        answer["secret"] = endpoint.Text("_secret");
        return answer;
    }

    private static JsonObject Update(Call c)
    {
        CheckUrl(c.P);
        var endpoint = c.S.Find("webhook_endpoint", c.Id);
        c.S.Change(endpoint, o =>
        {
            o.Take(c.P, "url", "enabled_events", "description").Merge(c.P);
            if (c.P.Has("disabled")) o["status"] = c.P.Flag("disabled") ? "disabled" : "enabled";
        });
        return endpoint;
    }

    /// <summary>Nothing leaves this machine.</summary>
    private static void CheckUrl(JsonObject sent)
    {
        if (sent.Text("url") is { } url && !(Uri.TryCreate(url, UriKind.Absolute, out var target) && target.IsLoopback))
            throw StripeError.Invalid("Invalid URL: the sandbox sends webhooks to loopback only.", "url", "url_invalid");
    }

    private static JsonObject Delete(Call c)
    {
        c.S.Store.Remove(c.S.Find("webhook_endpoint", c.Id));
        return new JsonObject { ["id"] = c.Id, ["object"] = "webhook_endpoint", ["deleted"] = true };
    }
}
