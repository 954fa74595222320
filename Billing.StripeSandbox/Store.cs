using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>Every object of every type, in the order in which they were made.</summary>
internal sealed class Store
{
    private readonly Dictionary<string, List<JsonObject>> types = [];
    private readonly Dictionary<string, JsonObject> byId = [];

    public void Add(JsonObject o)
    {
        if (!types.TryGetValue(o.Text("object")!, out var list)) types[o.Text("object")!] = list = [];
        list.Add(o);
        byId.Add(o.Text("id")!, o);
    }

    public JsonObject? Find(string? id) => id is not null && byId.TryGetValue(id, out var found) ? found : null;

    public void Remove(JsonObject o)
    {
        types[o.Text("object")!].Remove(o);
        byId.Remove(o.Text("id")!);
    }

    /// <summary>The oldest first.</summary>
    public IReadOnlyList<JsonObject> Of(string type) => types.TryGetValue(type, out var list) ? list : [];

    public IEnumerable<JsonObject> All => types.Values.SelectMany(list => list);

    /// <summary>A copy of what one customer's billing depends on, to try something on.</summary>
    public Store CopyFor(string customer)
    {
        var copy = new Store();
        foreach (var o in All.Where(o => o.Text("customer") == customer || o.Text("id") == customer || o.Text("object") is "price" or "product" or "coupon" or "promotion_code"))
            copy.Add(o.Copy());
        return copy;
    }

    /// <summary>One page of a list, newest first.</summary>
    /// <param name="page">With limit, starting_after and ending_before.</param>
    public static JsonObject Page(string url, IEnumerable<JsonObject> oldestFirst, JsonObject page)
    {
        var limit = page.Number("limit") ?? 10;
        if (limit is < 1 or > 100) throw StripeError.OfRequest($"Invalid integer: {limit}. Limit must be between 1 and 100.", "limit", "parameter_invalid_integer");
        var all = oldestFirst.Reverse().ToList();
        if (page.Text("ending_before") is { } before)
        {
            var end = Place(before, "ending_before");
            var start = Math.Max(0, end - (int)limit);
            return Json.List(url, all[start..end], start > 0);
        }
        var first = page.Text("starting_after") is { } after ? Place(after, "starting_after") + 1 : 0;
        var last = Math.Min(all.Count, first + (int)limit);
        return Json.List(url, all[first..last], last < all.Count);

        int Place(string id, string param)
        {
            var place = all.FindIndex(o => o.Text("id") == id);
            return place >= 0 ? place : throw StripeError.Missing("object", id, param);
        }
    }
}
