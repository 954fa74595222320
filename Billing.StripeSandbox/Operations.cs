using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>One request, read and checked.</summary>
/// <param name="S">The account.</param>
/// <param name="Id">The id in the path; empty when there is none.</param>
/// <param name="P">The parameters, typed.</param>
internal sealed record Call(Sandbox S, string Id, JsonObject P)
{
    public string Path { get; init; } = "";

    /// <summary>A page of what there is, newest first.</summary>
    public JsonObject Page(IEnumerable<JsonObject> oldestFirst) => Store.Page(Path, oldestFirst, P);

    /// <summary>A page of a type, of those that have what the named parameters ask for.</summary>
    public JsonObject PageOf(string type, params string[] filters) =>
        Page(S.Store.Of(type).Where(o => filters.All(f => P.Text(f) is not { } asked || o.Text(f) == asked)).Where(IsCreatedInRange));

    public bool IsCreatedInRange(JsonObject o) => IsInRange(P.Object("created"), o.Number("created") ?? 0);

    private static bool IsInRange(JsonObject? range, long value) =>
        range is null
        || (range.Number("gt") is not { } gt || value > gt) && (range.Number("gte") is not { } gte || value >= gte)
        && (range.Number("lt") is not { } lt || value < lt) && (range.Number("lte") is not { } lte || value <= lte);
}

/// <summary>What can be asked for: a method, a path below /v1, the parameters that it takes, and what it does.</summary>
internal sealed class Operation(string method, string path, string accepts, Func<Call, JsonNode> run)
{
    public string Method => method;

    public string Path => path;

    public Parameters Accepts { get; } = Parameters.Parse(accepts + " expand[]");

    public JsonNode Run(Call call) => run(call);

    public static IReadOnlyList<Operation> All { get; } =
    [
        .. Customers.Operations, .. Products.Operations, .. Prices.Operations, .. Coupons.Operations,
        .. PaymentMethods.Operations, .. PaymentIntents.Operations, .. SetupIntents.Operations, .. Charges.Operations, .. Refunds.Operations, .. Disputes.Operations,
        .. Subscriptions.Operations, .. Schedules.Operations, .. Invoices.Operations, .. InvoiceItems.Operations, .. Previews.Operations,
        .. CheckoutSessions.Operations, .. PortalSessions.Operations, .. Events.Operations, .. WebhookEndpoints.Operations,
    ];
}
