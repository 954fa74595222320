using System.Text.Json.Nodes;
using Billing.Api.Routes;
using Billing.Api.Stripe;
using Billing.Grains;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;
using NodaTime.Text;

namespace Billing.Api;

/// <summary>
/// What the audit log keeps of what was changed: a few fields of the views that the routes answer with. Each is named here, so that nothing
/// gets in that is secret or about a person.
/// </summary>
internal static class AuditViews
{
    /// <summary>What is to be changed, as it is; null when there is nothing yet.</summary>
    public static async Task<object?> Before(string what, HttpContext http, Services services)
    {
        var (values, now) = (http.Request.RouteValues, services.Clock.Now());
        if (what.StartsWith("key.", StringComparison.Ordinal)) return services.Keys.List().Where(k => k.Id == values["id"] as string).Select(KeyRoutes.Of).FirstOrDefault();
        if (what == "flag.set") return services.Flags.All.FirstOrDefault(f => f.Name == values["name"] as string);
        if (what == "stripe.replay") return await services.Inbox.Find((string)values["id"]!);
        if (values["organization"] is not string id) return null;
        var organization = services.Host.Organization(id);
        return what[..what.IndexOf('.', StringComparison.Ordinal)] switch
        {
            "organization" => await organization.Read(now),
            "billing-terms" or "credit" => await organization.BillingTerms(),
            "usage" when await CorrectionRoutes.Find(id, (string)values["id"]!, services) is { } record => UsageRecordView.Of(record, services.Catalogs),
            "override" => (await organization.Overrides(now))?.FirstOrDefault(o => o.Feature == values["feature"] as string),
            "tokens" => await organization.Tokens(now),
            "top-up" => await organization.TopUp(now),
            "invoice" => (await organization.Invoices())?.FirstOrDefault(i => i.Id == values["invoice"] as string || i.Number == values["invoice"] as string),
            "payment" or "subscription" => await organization.Subscription(now),
            "spend-caps" => await organization.SpendCaps(now),
            "profile" => ProfileView.Of(await services.Profiles.Find(id)),
            _ => null,
        };
    }

    /// <summary>Whose it is, where the route does not say.</summary>
    public static string? OrganizationOf(object? view) => view switch
    {
        ApiKeyView key => key.Organization,
        InboxEvent e => e.Organization,
        _ => null,
    };

    public static string? Json(object? view) => Of(view)?.ToJsonString();

    private static JsonObject? Of(object? view) => view switch
    {
        OrganizationView v => Fields(("plan", v.Plan), ("status", v.Status), ("time_zone", v.TimeZone), ("test", v.Test), ("clock", At(v.Clock)), ("closed_at", At(v.ClosedAt)), ("version", v.Version)),
        SubscriptionView v => Fields(("plan", v.Plan), ("status", v.Status), ("source", v.Source), ("id", v.Id), ("interval", v.Interval), ("kept_by", v.KeptBy), ("ends_at", At(v.CancelAt))),
        BillingTermsView v => Fields(("tax", v.Tax is { } tax ? $"{tax.Rate} %{(tax.Inclusive ? " inclusive" : "")}" : null), ("tax_source", v.TaxSource), ("discount", Discount(v.Discount)), ("credits", Amounts(v.Credits))),
        UsageRecordView v => Fields(("id", v.Id), ("feature", v.Feature), ("quantity", v.Quantity)),
        UsageVoidView v => Fields(("voided", v.Id), ("feature", v.Feature), ("quantity", v.Quantity)),
        OverrideView v => Fields(("feature", v.Feature), ("allowance", v.Allowance), ("unlimited", v.Unlimited), ("until", At(v.Until))),
        SpendCapsView v => Fields(("organization", v.Cap?.Amount), ("features", new JsonObject(v.Features.Select(f => KeyValuePair.Create(f.Feature, (JsonNode?)f.Cap.Amount))))),
        TokensView v => Fields(("balance", v.Balance), ("debt", v.Debt)),
        GrantView v => Fields(("id", v.Id), ("kind", v.Kind), ("tokens", v.Granted), ("priority", v.Priority), ("expires_at", At(v.ExpiresAt))),
        TopUpView v => Fields(
            ("enabled", v.Enabled), ("token_package", v.TokenPackage), ("threshold", v.Threshold), ("max_count", v.MaxCount), ("max_amount", v.MaxAmount?.Amount), ("pending", v.Pending?.Id), ("failures", v.Failures)),
        InvoiceView v => Fields(("id", v.Id), ("number", v.Number), ("status", v.Status), ("total", v.Total.Amount), ("due", v.AmountDue.Amount), ("currency", v.Total.Currency)),
        InvoiceLineView v => Fields(("kind", v.Kind), ("amount", v.Amount.Amount), ("currency", v.Amount.Currency)),
        RefundView v => Fields(("id", v.Id), ("status", v.Status), ("payment", v.Payment), ("amount", v.Amount?.Amount), ("currency", v.Amount?.Currency)),
        SaleView v => Fields(("id", v.Id), ("status", v.Status), ("amount", v.Amount), ("currency", v.Currency)),
        EndedView v => Fields(("ended", v.Ended)),
        PortalLinkView v => Fields(("expires_at", At(v.ExpiresAt))),
        PortalView v => Fields(("id", v.Id)),
        ReconciliationView v => Fields(("differences", v.Differences.Count), ("repaired", v.Repaired)),
        CatalogMovesView v => Fields(("to_version", v.ToVersion), ("moved", v.Moved), ("refused", v.Refused)),
        CatalogPushView v => Fields(("catalog_version", v.CatalogVersion), ("changed", v.Changed), ("wrong", v.Wrong)),
        FlagView v => Fields(("percent", v.Percent)),
        NewApiKeyView v => Of(v.ApiKey),
        ApiKeyView v => Fields(("id", v.Id), ("name", v.Name), ("organization", v.Organization), ("scopes", string.Join(' ', v.Scopes)), ("test", v.Test), ("expires_at", At(v.ExpiresAt)), ("replaced_by", v.ReplacedBy)),
        InboxEvent v => Fields(("type", v.Type), ("state", Spelling.Of(v.State))),
        InboxEventView v => Fields(("type", v.Type), ("state", v.State)),
        // Which of it there is, and nothing of what it says.
        ProfileView v => Fields(("name", v.Name is not null), ("email", v.Email is not null), ("address", v.Address is not null), ("country", v.Country is not null)),
        _ => null,
    };

    /// <summary>Those that are there.</summary>
    private static JsonObject Fields(params ReadOnlySpan<(string Name, JsonNode? Value)> fields)
    {
        var json = new JsonObject();
        foreach (var (name, value) in fields) if (value is not null) json[name] = value;
        return json;
    }

    private static string? At(Instant? at) => at is { } time ? InstantPattern.ExtendedIso.Format(time) : null;

    private static string? Discount(DiscountTermsView? discount) => discount switch
    {
        null => null,
        { Percent: { } percent } => $"{percent} %",
        { Amount: { } amount } => $"{amount.Amount} {amount.Currency}",
        _ => null,
    };

    private static string? Amounts(IReadOnlyList<Money> amounts) => amounts.Count == 0 ? null : string.Join(", ", amounts.Select(a => $"{a.Amount} {a.Currency}"));
}
