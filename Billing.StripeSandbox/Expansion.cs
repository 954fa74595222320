using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>Puts objects in the place of their ids, and members that are left out unless asked for.</summary>
internal static class Expansion
{
    private const int MostLevels = 4;

    public static void Expand(Sandbox s, JsonNode answer, IEnumerable<string> paths)
    {
        foreach (var path in paths)
        {
            var names = path.Split('.');
            if (names.Count(n => n != "data") > MostLevels) throw StripeError.OfRequest($"You cannot expand more than {MostLevels} levels of a property (property: {path}).", "expand");
            Expand(s, answer, names, path);
        }
    }

    private static void Expand(Sandbox s, JsonNode node, ReadOnlySpan<string> names, string path)
    {
        if (names.Length == 0) return;
        if (node is JsonArray array)
        {
            foreach (var item in array) if (item is not null) Expand(s, item, names, path);
            return;
        }
        if (node is not JsonObject o) throw Refusal(path);
        var name = names[0];
        if (Extra(s, o, name) is { } extra && !o.Has(name)) o[name] = extra;
        // Where nothing was due there is nothing to confirm.
        if (name == "confirmation_secret" && o.Text("object") == "invoice" && !o.Has(name)) o[name] = null;
        if (!o.TryGetPropertyValue(name, out var value)) throw Refusal(path);
        if (value is JsonValue id)
        {
            if (!id.TryGetValue<string>(out var text) || s.Store.Find(text) is not { } found) throw Refusal(path);
            o[name] = value = found.Flag("deleted") ? new JsonObject { ["id"] = text, ["object"] = found.Text("object"), ["deleted"] = true } : found.Presented();
        }
        else if (value is JsonArray ids)
            for (var i = 0; i < ids.Count; i++)
                if (ids[i] is JsonValue v && v.TryGetValue<string>(out var text) && s.Store.Find(text) is { } found) ids[i] = found.Presented();
        if (value is not null) Expand(s, value, names[1..], path);
    }

    private static StripeError Refusal(string path) => StripeError.OfRequest($"This property cannot be expanded ({path}).", "expand");

    private static JsonObject? Extra(Sandbox s, JsonObject o, string name)
    {
        var id = o.Text("id");
        switch (o.Text("object"), name)
        {
            case ("invoice", "payments"):
                return Json.List("/v1/invoice_payments", s.Store.Of("invoice_payment").Where(p => p.Text("invoice") == id).Select(p => p.Presented()!));
            case ("invoice", "confirmation_secret"):
                return Invoices.IntentOf(s, o) is { } intent ? new JsonObject { ["client_secret"] = intent.Text("client_secret"), ["type"] = "payment_intent" } : null;
            case ("checkout.session", "line_items"):
                return Json.List($"/v1/checkout/sessions/{id}/line_items", s.Find("checkout.session", id).Each("_items").Select(i => i.Presented()!));
            case ("charge", "refunds"):
                return Json.List($"/v1/charges/{id}/refunds", s.Store.Of("refund").Where(r => r.Text("charge") == id).Reverse().Select(r => r.Presented()!));
            default:
                return null;
        }
    }
}
