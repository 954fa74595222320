using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Text.Json;

namespace Billing.Ledger;

/// <summary>One thing that is wrong with a catalog, and where: a JSON path such as <c>$.plans.pro.features.jobs.allowance</c>.</summary>
public sealed record CatalogProblem(string Path, string Message)
{
    public override string ToString() => $"{Path}: {Message}";
}

/// <summary>What "default" stands for in a catalog, from the environment.</summary>
public sealed record CatalogDefaults(int TrialDays = 14, int GraceDays = 3);

/// <summary>Reads a catalog and finds everything that is wrong with it at once. The format is described by catalogs/catalog.schema.json.</summary>
public sealed class CatalogReader
{
    public const int MaxBytes = 1024 * 1024;
    public const int MaxPlans = 200;
    public const int MaxFeatures = 200;
    public const int MaxTokenPackages = 100;

    private static readonly JsonDocumentOptions Json =
        new() { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true, MaxDepth = 16, AllowDuplicateProperties = false };

    private readonly List<CatalogProblem> problems = [];
    private readonly CatalogDefaults defaults;
    private string currency = "usd";

    private CatalogReader(CatalogDefaults defaults) => this.defaults = defaults;

    /// <returns>The catalog, or null with every problem found.</returns>
    public static (Catalog? Catalog, IReadOnlyList<CatalogProblem> Problems) Read(ReadOnlySpan<byte> json, CatalogDefaults? defaults = null)
    {
        var reader = new CatalogReader(defaults ?? new CatalogDefaults());
        if (json.Length > MaxBytes)
            return (null, [new CatalogProblem("$", $"A catalog has at most {MaxBytes} bytes; this one has {json.Length}.")]);
        if (json.StartsWith("\uFEFF"u8)) json = json[3..];
        try
        {
            using var document = JsonDocument.Parse(json.ToArray(), Json);
            var catalog = reader.ReadCatalog(new CatalogNode(document.RootElement, "$", reader.problems));
            return (reader.problems.Count == 0 ? catalog : null, reader.problems);
        }
        catch (JsonException e)
        {
            return (null, [new CatalogProblem("$", $"This is not valid JSON: {e.Message}")]);
        }
    }

    private Catalog ReadCatalog(CatalogNode root)
    {
        root.Only("$schema", "currency", "fallback_plan", "grace_days", "allowance_on_upgrade", "on_journal_outage", "tax", "invoice_due_days", "warn_at", "tokens_low", "features", "plans", "token_packages");
        currency = ReadCurrency(root, "currency") ?? "usd";
        var features = ReadFeatures(root);
        var plans = root.Entries("plans", MaxPlans).Select(p => ReadPlan(p.Id, p.Node, features, root)).ToList();
        if (plans.Count == 0) root.Problem("plans", "A catalog has at least one plan.");
        var fallback = root.Text("fallback_plan", required: false);
        if (fallback is not null && plans.All(p => p.Id != fallback)) root.Problem("fallback_plan", $"There is no plan '{fallback}'.");
        var packages = root.Entries("token_packages", MaxTokenPackages, required: false).Select(p => ReadTokenPackage(p.Id, p.Node)).ToList();

        // A feature is counted in every window that some plan limits it by: use belongs to the feature, whatever the plan.
        var counted = features.ToDictionary(f => f.Id, f => f with { CountedWindows = CountedWindows(f, plans) });
        var catalog = new Catalog
        {
            Currency = currency,
            FallbackPlan = fallback,
            GraceDays = root.Days("grace_days", defaults.GraceDays) ?? defaults.GraceDays,
            AllowanceOnUpgrade = root.Choice("allowance_on_upgrade", AllowanceOnUpgrade.Full),
            OnJournalOutage = root.Choice("on_journal_outage", OnJournalOutage.Answer),
            Tax = ReadTax(root),
            InvoiceDueDays = (int)(root.Whole("invoice_due_days", 0, 365, required: false) ?? 15),
            TokensLow = root.Whole("tokens_low", 1, Quantity.MaxUnits, required: false),
            Features = [.. features.Select(f => counted[f.Id])],
            Plans = [.. plans.Select(p => p with
            {
                Features = p.Features.ToFrozenDictionary(f => f.Key, f => f.Value with { Feature = counted[f.Key] }),
            })],
            TokenPackages = [.. packages],
        };
        NoDuplicates(root, catalog);
        return catalog;
    }

    private static ImmutableArray<Window> CountedWindows(Feature feature, List<Plan> plans)
    {
        if (feature.Meter is not { Aggregation: Aggregation.Sum } meter) return [];
        var uses = plans.Select(p => p.Features.GetValueOrDefault(feature.Id)).OfType<PlanFeature>();
        return [.. uses.SelectMany(f => f.RateLimits.Select(r => r.Window).Append(f.Window)).Append(meter.Window).Append(Window.Period).Distinct().Order()];
    }

    private static TaxTerms? ReadTax(CatalogNode root)
    {
        if (!root.Has("tax") || root.Object("tax") is not { } tax) return null;
        tax.Only("name", "rate", "inclusive");
        var rate = tax.Percent("rate");
        return new TaxTerms(tax.Text("name") ?? "", rate ?? 0, tax.Flag("inclusive"));
    }

    private static ImmutableArray<int>? ReadWarnAt(CatalogNode node)
    {
        if (!node.Has("warn_at")) return null;
        var percents = new List<int>();
        foreach (var item in node.Items("warn_at"))
        {
            if (item.Json.ValueKind != JsonValueKind.Number || !item.Json.TryGetInt32(out var percent) || percent is < 1 or > 1000 || percents.Count == 10 || (percents.Count > 0 && percent <= percents[^1]))
                item.Problem(null, "Write at most 10 whole per cents from 1 to 1000, ascending.");
            else percents.Add(percent);
        }
        return [.. percents];
    }

    private static ImmutableArray<PriceTier> ReadTiers(CatalogNode node, Meter meter)
    {
        var tiers = new List<PriceTier>();
        foreach (var item in node.Items("tiers", required: false))
        {
            item.Only("up_to", "unit_price");
            if (tiers.Count == 20) item.Problem(null, "At most 20 tiers are allowed.");
            if (tiers is [.., { UpTo: null }]) item.Problem(null, "Only the last tier is without up_to.");
            long? upTo = item.Has("up_to") ? ReadAllowance(item, item.Json.GetProperty("up_to"), "up_to", meter) : null;
            if (upTo is { } end && end <= (tiers.Count > 0 ? tiers[^1].UpTo ?? 0 : 0)) item.Problem("up_to", "Each tier goes further than the one before.");
            if (!item.Has("unit_price")) item.Problem("unit_price", "Say what a unit of this tier costs.");
            tiers.Add(new PriceTier(upTo, item.UnitPrice("unit_price") ?? 0));
        }
        if (tiers.Count > 0 && tiers[^1].UpTo is not null) node.Problem("tiers", "The last tier is without up_to: it has all the rest.");
        return [.. tiers];
    }

    private void NoDuplicates(CatalogNode root, Catalog catalog)
    {
        var keys = new HashSet<string>();
        foreach (var plan in catalog.Plans)
            foreach (var price in plan.Prices) Add($"plans.{plan.Id}", price.LookupKey);
        foreach (var package in catalog.TokenPackages)
            foreach (var price in package.Prices) Add($"token_packages.{package.Id}", catalog.LookupKey(package, price.Currency));

        void Add(string of, string key)
        {
            if (!keys.Add(key)) problems.Add(new CatalogProblem($"{root.Path}.{of}.prices", $"The lookup key '{key}' stands twice."));
        }
    }

    private static List<Feature> ReadFeatures(CatalogNode root)
    {
        var warnAt = ReadWarnAt(root) ?? [80, 95, 100];
        var features = new List<Feature>();
        foreach (var (id, node) in root.Entries("features", MaxFeatures))
        {
            if (node.Choice<FeatureType>("type") is not { } type)
            {
                // Metered without a meter: known by its id, and nothing that plans say about it is judged.
                node.Only("name", "type", "meter", "mode", "unit_price", "tiers", "deny_status", "token_cost", "warn_at");
                features.Add(new Feature(id, node.Text("name") ?? id, FeatureType.Metered, null, 1, [], warnAt));
                continue;
            }
            Meter? meter = null;
            if (type == FeatureType.Metered)
            {
                node.Only("name", "type", "meter", "mode", "unit_price", "tiers", "deny_status", "token_cost", "warn_at");
                if (node.Object("meter") is { } m)
                {
                    m.Only("unit", "decimals", "aggregation", "window");
                    var aggregation = m.Choice("aggregation", Aggregation.Sum);
                    // A gauge never resets: it has a value, not a window.
                    var window = aggregation == Aggregation.Gauge ? Window.Lifetime : m.Choice("window", Window.Month);
                    if (aggregation == Aggregation.Gauge && m.Has("window")) m.Problem("window", "A gauge never resets and has no window.");
                    meter = new Meter(m.Text("unit") ?? "", (int)(m.Whole("decimals", 0, Quantity.MaxDecimals, required: false) ?? 0), aggregation, window);
                }
                // Wrong also where no plan comes to use it.
                node.Choice("mode", LimitMode.Block);
                node.UnitPrice("unit_price");
                ReadDenyStatus(node);
                if (meter is not null) ReadTiers(node, meter);
            }
            else
            {
                node.Only("name", "type");
            }
            var tokenCost = node.Whole("token_cost", 1, 1_000_000, required: false) ?? 1;
            features.Add(new Feature(id, node.Text("name") ?? id, type, meter, tokenCost, [], ReadWarnAt(node) ?? warnAt));
        }
        return features;
    }

    private Plan ReadPlan(string id, CatalogNode node, List<Feature> features, CatalogNode root)
    {
        node.Only("name", "description", "prices", "trial_days", "trial_requires_payment_method", "invite_only", "custom_for", "features");
        var prices = node.Items("prices", required: false).Select(p => ReadPrice(id, p)).OfType<Price>().ToImmutableArray();
        var given = new Dictionary<string, PlanFeature>();
        foreach (var (featureId, value) in node.Entries("features", MaxFeatures, required: false))
        {
            var feature = features.Find(f => f.Id == featureId);
            if (feature is null) value.Problem(null, $"There is no feature '{featureId}' in $.features.");
            else if (ReadPlanFeature(feature, value, root) is { } planFeature) given[featureId] = planFeature;
        }
        return new Plan(id, node.Text("name") ?? id, node.Text("description", required: false), prices,
            node.Days("trial_days", defaults.TrialDays), node.Flag("trial_requires_payment_method"), node.Flag("invite_only"), given.ToFrozenDictionary(),
            ReadOrganization(node));
    }

    private static string? ReadOrganization(CatalogNode node)
    {
        var organization = node.Text("custom_for", required: false);
        if (organization is not null && !Ids.IsOrganization(organization)) node.Problem("custom_for", $"An organization id matches {Ids.OrganizationPattern}.");
        return organization;
    }

    private Price? ReadPrice(string plan, CatalogNode node)
    {
        node.Only("interval", "currency", "amount", "lookup_key", "price_id");
        var interval = node.Choice<BillingInterval>("interval");
        var priceCurrency = ReadCurrency(node, "currency") ?? currency;
        var amount = node.Whole("amount", 0, 99_999_999);
        var lookupKey = node.Text("lookup_key", required: false);
        var priceId = node.Text("price_id", required: false);
        if (interval is null || amount is null) return null;
        var key = $"{plan}-{Spelling.Of(interval.Value)}" + (priceCurrency == currency ? "" : $"-{priceCurrency}");
        return new Price(interval.Value, new Money(amount.Value, priceCurrency), lookupKey ?? key, priceId);
    }

    private static PlanFeature? ReadPlanFeature(Feature feature, CatalogNode value, CatalogNode root)
    {
        if (feature.Type == FeatureType.Boolean)
        {
            if (value.Json.ValueKind is JsonValueKind.True or JsonValueKind.False)
                return new PlanFeature(feature, value.Json.GetBoolean(), null, null, Window.Lifetime, LimitMode.Block, null, 403, [], []);
            value.Problem(null, $"'{feature.Id}' is a boolean feature: write true or false.");
            return null;
        }
        if (feature.Type == FeatureType.Static)
        {
            if (value.Json.ValueKind is JsonValueKind.String or JsonValueKind.Number)
                return new PlanFeature(feature, true, value.Json.ToString(), null, Window.Lifetime, LimitMode.Block, null, 403, [], []);
            value.Problem(null, $"'{feature.Id}' is a static feature: write a text or a number.");
            return null;
        }
        if (feature.Meter is not { } meter) return null;

        // 10000 and "unlimited" are short for { "allowance": … }.
        var inFeature = root.Object("features")!.Object(feature.Id)!;
        var isShort = value.Json.ValueKind != JsonValueKind.Object;
        var allowance = isShort ? ReadAllowance(value, value.Json, null, meter) : null;
        if (!isShort)
        {
            value.Only("allowance", "window", "mode", "unit_price", "tiers", "deny_status", "rate_limits");
            if (!value.Has("allowance")) value.Problem("allowance", "Say how much is included: a quantity, 0, or \"unlimited\".");
            else allowance = ReadAllowance(value, value.Json.GetProperty("allowance"), "allowance", meter);
        }
        var mode = value.Choice("mode", inFeature.Choice("mode", LimitMode.Block));
        var window = value.Choice("window", meter.Window);
        var unitPrice = value.UnitPrice("unit_price") ?? inFeature.UnitPrice("unit_price");
        var denyStatus = ReadDenyStatus(value) ?? ReadDenyStatus(inFeature) ?? 402;

        var tiers = ReadTiers(value.Has("tiers") ? value : inFeature, meter);
        if (mode is LimitMode.Overage or LimitMode.TokensThenOverage && unitPrice is null && tiers.IsEmpty)
            value.Problem("unit_price", "Overage needs a unit price or tiers, here or at the feature.");
        // What stands nearer counts: a unit price at the plan goes before tiers at the feature.
        if (value.Has("unit_price") && !value.Has("tiers")) tiers = [];
        if (value.Has("unit_price") && value.Has("tiers")) value.Problem("tiers", "Give either a unit price or tiers.");
        if (!tiers.IsEmpty && meter.Aggregation == Aggregation.Gauge) value.Problem("tiers", "A gauge has one unit price.");
        if (meter.Aggregation == Aggregation.Gauge)
        {
            if (mode is LimitMode.Tokens or LimitMode.TokensThenOverage) value.Problem("mode", "A gauge burns no tokens: use block, overage or soft.");
            if (value.Has("window")) value.Problem("window", "A gauge never resets and has no window.");
            if (value.Has("rate_limits")) value.Problem("rate_limits", "A gauge has no rate.");
        }
        var rates = value.Items("rate_limits", required: false).Select(r => ReadRate(r, meter)).OfType<RateLimit>().ToImmutableArray();
        return new PlanFeature(feature, true, null, allowance, window, mode, unitPrice, denyStatus, rates, tiers);
    }

    private static int? ReadDenyStatus(CatalogNode node)
    {
        if (!node.Has("deny_status")) return null;
        if (node.Json.GetProperty("deny_status") is { ValueKind: JsonValueKind.Number } value && value.TryGetInt32(out var status)
            && status is 402 or 403 or 429) return status;
        node.Problem("deny_status", "A denial is answered with 402, 403 or 429.");
        return null;
    }

    private static long? ReadAllowance(CatalogNode at, JsonElement json, string? name, Meter meter)
    {
        if (json.ValueKind == JsonValueKind.String && json.GetString() == "unlimited") return null;
        if (json.ValueKind == JsonValueKind.Number && json.TryGetDecimal(out var value) && value >= 0)
        {
            if (Quantity.TryUnits(value, meter.Decimals, meter.Unit, out var units) is not { } rejection) return units;
            at.Problem(name, rejection.Message);
            return 0;
        }
        at.Problem(name, "Write a quantity of 0 or more, or \"unlimited\".");
        return 0;
    }

    private static RateLimit? ReadRate(CatalogNode node, Meter meter)
    {
        node.Only("limit", "window");
        var window = node.Choice<Window>("window");
        if (window == Window.Lifetime) node.Problem("window", "A rate has a window that turns: hour, day, month or period.");
        if (!node.Has("limit")) node.Problem("limit", "Say how much is allowed in one window.");
        else if (ReadAllowance(node, node.Json.GetProperty("limit"), "limit", meter) is { } limit) return window is null ? null : new RateLimit(limit, window.Value);
        else node.Problem("limit", "A rate is a quantity; leave the rate out where there is none.");
        return null;
    }

    private TokenPackage ReadTokenPackage(string id, CatalogNode node)
    {
        node.Only("name", "tokens", "prices", "price_id");
        var prices = ImmutableArray.CreateBuilder<Money>();
        foreach (var price in node.Items("prices"))
        {
            price.Only("currency", "amount");
            prices.Add(new Money(price.Whole("amount", 0, 99_999_999) ?? 0, ReadCurrency(price, "currency") ?? currency));
        }
        return new TokenPackage(id, node.Text("name") ?? id, node.Whole("tokens", 1, Quantity.MaxUnits) ?? 1, prices.ToImmutable(),
            node.Text("price_id", required: false));
    }

    private static string? ReadCurrency(CatalogNode node, string name)
    {
        var text = node.Text(name, required: false);
        if (text is null || (text.Length == 3 && text.All(char.IsAsciiLetterLower))) return text;
        node.Problem(name, $"'{text}' is no currency: write the ISO 4217 code in lower case, such as usd.");
        return null;
    }
}
