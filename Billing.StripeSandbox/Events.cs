using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

internal static class Events
{
    private const long Kept = 30 * 86_400;

    public static readonly Operation[] Operations =
    [
        new("GET", "/events", "type types[] delivery_success? created{gt# gte# lt# lte#} limit# starting_after ending_before", List),
        new("GET", "/events/{id}", "", c => c.S.Find("event", c.Id) is var e && e.Number("created") > c.S.Now - Kept ? e : throw StripeError.Missing("event", c.Id)),
    ];

    /// <summary>Those of the last 30 days.</summary>
    private static JsonObject List(Call c)
    {
        var types = c.P.Text("type") is { } type ? [type] : c.P.Texts("types");
        if (types.Count > 20) throw StripeError.OfRequest("Array types exceeded maximum 20 allowed elements.", "types");
        return c.Page(c.S.Store.Of("event").Where(e => e.Number("created") > c.S.Now - Kept && (types.Count == 0 || types.Any(t => Matches(t, e.Text("type")!)))
            && (!c.P.Has("delivery_success") || (e.Number("pending_webhooks") == 0 && !e.Flag("_undelivered")) == c.P.Flag("delivery_success")) && c.IsCreatedInRange(e)));
    }

    /// <summary>A name, or a beginning such as <c>invoice.*</c>.</summary>
    public static bool Matches(string asked, string type) => asked == "*" || asked == type || asked.EndsWith(".*", StringComparison.Ordinal) && type.StartsWith(asked[..^1], StringComparison.Ordinal);
}
