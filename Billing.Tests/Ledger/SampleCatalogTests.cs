using System.Globalization;
using System.Text.Json.Nodes;
using Billing.Ledger;

namespace Billing.Tests.Ledger;

/// <summary>The five sample catalogs are what their price tables say. Amounts are cents; null is unlimited.</summary>
public class SampleCatalogTests
{
    private static readonly string[] Names = ["summarizer", "video-matching", "learning-community", "quantum", "app-builder"];

    public static TheoryData<string> Samples => [.. Names];

    // ---- all of them

    [Fact]
    public void every_catalog_of_the_folder_is_tested_here() =>
        Assert.Equal(
            Names.Append("catalog.schema").Order(StringComparer.Ordinal),
            Directory.GetFiles(Path.Combine(Repository.Root, "catalogs"), "*.json").Select(f => Path.GetFileNameWithoutExtension(f)!)
                .Order(StringComparer.Ordinal));

    [Theory]
    [MemberData(nameof(Samples))]
    public void a_sample_loads_without_a_problem(string name)
    {
        var (catalog, problems) = CatalogReader.Read(File.ReadAllBytes(Repository.Catalog(name)));
        Assert.Empty(problems);
        Assert.Equal("usd", catalog!.Currency);
        Assert.Equal(catalog.Plans[0].Id, catalog.FallbackPlan);
        Assert.Equal(AllowanceOnUpgrade.Full, catalog.AllowanceOnUpgrade);
        // Every feature is in some plan, and the fallback plan costs nothing.
        Assert.All(catalog.Features, f => Assert.Contains(catalog.Plans, p => p.Features.ContainsKey(f.Id)));
        Assert.All(catalog.Plans[0].Prices, p => Assert.Equal(0, p.Amount.Amount));
    }

    [Theory]
    [MemberData(nameof(Samples))]
    public void a_sample_is_valid_by_the_schema_that_it_names(string name)
    {
        var json = File.ReadAllText(Repository.Catalog(name));
        var schema = JsonNode.Parse(json)!["$schema"]!.GetValue<string>();
        Assert.Equal("./catalog.schema.json", schema);
        Assert.Empty(new TinySchema(File.ReadAllText(Path.Combine(Repository.Root, "catalogs", schema))).Problems(json));
    }

    [Theory]
    [MemberData(nameof(Samples))]
    public void the_grace_of_a_sample_is_the_environments(string name)
    {
        Assert.Equal(3, Load(name).GraceDays);
        Assert.Equal(8, Load(name, new CatalogDefaults(TrialDays: 5, GraceDays: 8)).GraceDays);
    }

    [Theory]
    [InlineData("summarizer", "free starter pro enterprise",
        "characters requests basic_summarisation all_modes email_support priority custom_models dedicated_support sla", "")]
    [InlineData("video-matching", "free pro enterprise", "api_calls videos matches storage_gb websocket_streaming priority_support", "")]
    [InlineData("learning-community", "explorer community-pro pro-learn creator-mentor",
        "projects ai_requests marketplace community profile_designs private_projects pair_sessions proactive_agents analytics "
            + "priority_support premium_courses certificates advanced_analytics follower_insights",
        "starter booster power")]
    [InlineData("quantum", "free professional enterprise research", "quantum_jobs storage_gb api_calls users hipaa", "")]
    [InlineData("app-builder", "free starter pro scale",
        "projects build_hours storage_gb ai_embeddings basic community_support core_agents stripe_integration email_support "
            + "advanced_agents autoscale priority_support growth_agents isolated_database dedicated_support",
        "embeddings")]
    public void ids_are_as_documented_and_in_the_order_for_people(string name, string plans, string features, string packages)
    {
        var catalog = Load(name);
        Assert.Equal(plans, string.Join(' ', catalog.Plans.Select(p => p.Id)));
        Assert.Equal(features, string.Join(' ', catalog.Features.Select(f => f.Id)));
        Assert.Equal(packages, string.Join(' ', catalog.TokenPackages.Select(p => p.Id)));
    }

    [Theory]
    [InlineData("summarizer", "free", "month 0")]
    [InlineData("summarizer", "starter", "month 999")]
    [InlineData("summarizer", "pro", "month 2999")]
    [InlineData("summarizer", "enterprise", "month 9999")]
    [InlineData("video-matching", "free", "month 0, year 0")]
    [InlineData("video-matching", "pro", "month 2900, year 29000")]
    [InlineData("video-matching", "enterprise", "month 29900, year 299000")]
    [InlineData("learning-community", "explorer", "month 0")]
    [InlineData("learning-community", "community-pro", "month 1800, quarter 5400, year 19440")]
    [InlineData("learning-community", "pro-learn", "month 3500, quarter 10500, year 37800")]
    [InlineData("learning-community", "creator-mentor", "")]
    [InlineData("quantum", "free", "month 0, year 0")]
    [InlineData("quantum", "professional", "month 29900, year 299000")]
    [InlineData("quantum", "enterprise", "month 99900, year 999000")]
    [InlineData("quantum", "research", "month 49900, year 499000")]
    [InlineData("app-builder", "free", "month 0")]
    [InlineData("app-builder", "starter", "month 3000, year 29880")]
    [InlineData("app-builder", "pro", "month 6000, year 59760")]
    [InlineData("app-builder", "scale", "month 12000, year 119520")]
    public void a_plan_costs_what_the_table_says_and_is_found_by_plan_and_interval(string name, string planId, string prices)
    {
        var plan = Load(name).Plan(planId)!;
        Assert.Equal(prices, string.Join(", ", plan.Prices.Select(p => $"{Spelling.Of(p.Interval)} {p.Amount.Amount}")));
        Assert.All(plan.Prices, p => Assert.Equal(("usd", $"{planId}-{Spelling.Of(p.Interval)}"), (p.Amount.Currency, p.LookupKey)));
        Assert.All(plan.Prices, p => Assert.Null(p.PriceId));
    }

    [Theory]
    [InlineData("summarizer", "characters", "character", 0, Aggregation.Sum, Window.Month)]
    [InlineData("summarizer", "requests", "request", 0, Aggregation.Sum, Window.Month)]
    [InlineData("video-matching", "api_calls", "call", 0, Aggregation.Sum, Window.Month)]
    [InlineData("video-matching", "videos", "video", 0, Aggregation.Sum, Window.Day)]
    [InlineData("video-matching", "matches", "match", 0, Aggregation.Sum, Window.Day)]
    [InlineData("video-matching", "storage_gb", "GB", 3, Aggregation.Gauge, Window.Lifetime)]
    [InlineData("learning-community", "projects", "project", 0, Aggregation.Gauge, Window.Lifetime)]
    [InlineData("learning-community", "ai_requests", "request", 0, Aggregation.Sum, Window.Day)]
    [InlineData("quantum", "quantum_jobs", "job", 0, Aggregation.Sum, Window.Month)]
    [InlineData("quantum", "storage_gb", "GB", 3, Aggregation.Gauge, Window.Lifetime)]
    [InlineData("quantum", "api_calls", "call", 0, Aggregation.Sum, Window.Month)]
    [InlineData("quantum", "users", "user", 0, Aggregation.Gauge, Window.Lifetime)]
    [InlineData("app-builder", "projects", "project", 0, Aggregation.Gauge, Window.Lifetime)]
    [InlineData("app-builder", "build_hours", "hour", 2, Aggregation.Sum, Window.Month)]
    [InlineData("app-builder", "storage_gb", "GB", 3, Aggregation.Gauge, Window.Lifetime)]
    [InlineData("app-builder", "ai_embeddings", "embedding", 0, Aggregation.Sum, Window.Month)]
    public void a_metered_feature_counts_as_documented(
        string name, string feature, string unit, int decimals, Aggregation aggregation, Window window)
    {
        Assert.Equal(new Meter(unit, decimals, aggregation, window), Load(name).Feature(feature)!.Meter);
        Assert.Equal(1, Load(name).Feature(feature)!.TokenCost);
    }

    [Theory]
    [InlineData("summarizer", 2)]
    [InlineData("video-matching", 4)]
    [InlineData("learning-community", 2)]
    [InlineData("quantum", 4)]
    [InlineData("app-builder", 4)]
    public void every_plan_says_how_much_it_includes_of_every_metered_feature(string name, int metered)
    {
        var catalog = Load(name);
        var features = catalog.Features.Where(f => f.Type == FeatureType.Metered).ToList();
        Assert.Equal(metered, features.Count);
        Assert.All(catalog.Plans, p => Assert.All(features, f => Assert.True(p.Features.ContainsKey(f.Id))));
    }

    /// <summary>What the boolean columns of the tables switch on. What is not named is off.</summary>
    [Theory]
    [InlineData("summarizer", "free", "basic_summarisation")]
    [InlineData("summarizer", "starter", "basic_summarisation all_modes email_support")]
    [InlineData("summarizer", "pro", "basic_summarisation all_modes email_support priority custom_models")]
    [InlineData("summarizer", "enterprise", "basic_summarisation all_modes email_support priority custom_models dedicated_support sla")]
    [InlineData("video-matching", "free", "")]
    [InlineData("video-matching", "pro", "websocket_streaming")]
    [InlineData("video-matching", "enterprise", "websocket_streaming priority_support")]
    [InlineData("learning-community", "explorer", "community")]
    [InlineData("learning-community", "community-pro",
        "community profile_designs private_projects pair_sessions proactive_agents analytics priority_support")]
    [InlineData("learning-community", "pro-learn",
        "community profile_designs private_projects pair_sessions proactive_agents analytics priority_support "
            + "premium_courses certificates advanced_analytics follower_insights")]
    [InlineData("learning-community", "creator-mentor",
        "community profile_designs private_projects pair_sessions proactive_agents analytics priority_support "
            + "premium_courses certificates advanced_analytics follower_insights")]
    [InlineData("quantum", "free", "")]
    [InlineData("quantum", "professional", "")]
    [InlineData("quantum", "enterprise", "hipaa")]
    [InlineData("quantum", "research", "")]
    [InlineData("app-builder", "free", "basic community_support")]
    [InlineData("app-builder", "starter", "basic community_support core_agents stripe_integration email_support")]
    [InlineData("app-builder", "pro",
        "basic community_support core_agents stripe_integration email_support advanced_agents autoscale priority_support")]
    [InlineData("app-builder", "scale",
        "basic community_support core_agents stripe_integration email_support advanced_agents autoscale priority_support "
            + "growth_agents isolated_database dedicated_support")]
    public void a_plan_switches_on_what_the_table_says(string name, string planId, string on)
    {
        var catalog = Load(name);
        var given = catalog.Plan(planId)!.Features;
        var booleans = catalog.Features.Where(f => f.Type == FeatureType.Boolean).Select(f => f.Id);
        Assert.Equal(on, string.Join(' ', booleans.Where(id => given.TryGetValue(id, out var g) && g.On)));
    }

    [Fact]
    public void trials_are_where_the_tables_say_and_nowhere_else()
    {
        var found = Names.SelectMany(name => Load(name, new CatalogDefaults(TrialDays: 21)).Plans.Where(p => p.TrialDays is not null)
            .Select(p => (name, p.Id, p.TrialDays!.Value, p.TrialNeedsPaymentMethod)));
        Assert.Equal(
            [
                ("video-matching", "pro", 21, false),
                ("video-matching", "enterprise", 21, false),
                ("learning-community", "community-pro", 7, true),
            ],
            found);
        Assert.Equal(14, Load("video-matching").Plan("pro")!.TrialDays);
    }

    [Fact]
    public void only_creator_mentor_is_by_invitation() =>
        Assert.Equal(["creator-mentor"], Names.SelectMany(name => Load(name).Plans.Where(p => p.InviteOnly).Select(p => p.Id)));

    // ---- A. summarizer

    [Theory]
    [InlineData("free", 10_000, 10L)]
    [InlineData("starter", 100_000, 100L)]
    [InlineData("pro", 1_000_000, 1_000L)]
    [InlineData("enterprise", 10_000_000, null)]
    public void summarizer_blocks_characters_by_the_month_and_rates_requests_by_the_hour(string plan, long characters, long? anHour)
    {
        var given = Load("summarizer").Plan(plan)!.Features;
        Limit(given["characters"], characters, Window.Month, LimitMode.Block, 402);
        Limit(given["requests"], null, Window.Month, LimitMode.Block, 402, anHour is { } rate ? [new RateLimit(rate, Window.Hour)] : []);
    }

    // ---- B. video matching

    [Theory]
    [InlineData("free", 100, 3, 10, 1)]
    [InlineData("pro", 10_000, 100, 1_000, 100)]
    [InlineData("enterprise", 100_000, 1_000, 10_000, 1_000)]
    public void video_matching_blocks_every_limit_with_402(string plan, long apiCalls, long videos, long matches, long gigabytes)
    {
        var given = Load("video-matching").Plan(plan)!.Features;
        Limit(given["api_calls"], apiCalls, Window.Month, LimitMode.Block, 402);
        Limit(given["videos"], videos, Window.Day, LimitMode.Block, 402);
        Limit(given["matches"], matches, Window.Day, LimitMode.Block, 402);
        Limit(given["storage_gb"], gigabytes * 1_000, Window.Lifetime, LimitMode.Block, 402);
    }

    // ---- C. learning community

    [Theory]
    [InlineData("explorer", 10L, 3, Window.Lifetime, "view")]
    [InlineData("community-pro", null, 100, Window.Day, "view")]
    [InlineData("pro-learn", null, 250, Window.Day, "buy")]
    [InlineData("creator-mentor", null, 1_000, Window.Day, "sell")]
    public void learning_community_burns_tokens_past_its_ai_requests(
        string plan, long? projects, long aiRequests, Window window, string marketplace)
    {
        var given = Load("learning-community").Plan(plan)!.Features;
        Limit(given["projects"], projects, Window.Lifetime, LimitMode.Block, 403);
        Limit(given["ai_requests"], aiRequests, window, LimitMode.Tokens, 403);
        Assert.Equal(marketplace, given["marketplace"].Value);
    }

    [Theory]
    [InlineData("starter", 100_000, 500)]
    [InlineData("booster", 500_000, 2_000)]
    [InlineData("power", 1_000_000, 3_500)]
    public void learning_community_sells_token_packages(string id, long tokens, long amount)
    {
        var package = Load("learning-community").TokenPackage(id)!;
        Assert.Equal(tokens, package.Tokens);
        Assert.Equal([new Money(amount, "usd")], package.Prices.AsEnumerable());
    }

    // ---- D. quantum

    [Theory]
    [InlineData("free", 1L, 10, 1, 1_000, LimitMode.Block, 429)]
    [InlineData("professional", 10L, 100, 50, 0, LimitMode.Overage, 402)]
    [InlineData("enterprise", null, 1_000, 500, 0, LimitMode.Overage, 402)]
    [InlineData("research", 50L, 500, 250, 0, LimitMode.Overage, 402)]
    public void quantum_charges_past_the_allowance_on_paid_plans_and_blocks_the_free_one(
        string plan, long? users, long jobs, long gigabytes, long apiCalls, LimitMode mode, int denyStatus)
    {
        var given = Load("quantum").Plan(plan)!.Features;
        Limit(given["users"], users, Window.Lifetime, LimitMode.Block, 402);
        Limit(given["quantum_jobs"], jobs, Window.Month, mode, denyStatus);
        Limit(given["storage_gb"], gigabytes * 1_000, Window.Lifetime, mode, denyStatus);
        Limit(given["api_calls"], apiCalls, Window.Month, mode, denyStatus);
        // HIPAA is answered on every plan, also with no.
        Assert.Contains("hipaa", given.Keys);
    }

    [Theory]
    [InlineData("quantum_jobs", "0.50")]
    [InlineData("storage_gb", "0.10")]
    [InlineData("api_calls", "0.001")]
    [InlineData("users", null)]
    public void quantum_has_the_same_unit_price_on_every_plan_so_that_list_costs_can_be_shown(string feature, string? unitPrice)
    {
        decimal? price = unitPrice is null ? null : decimal.Parse(unitPrice, CultureInfo.InvariantCulture);
        Assert.All(Load("quantum").Plans, p => Assert.Equal(price, p.Features[feature].UnitPrice));
    }

    // ---- E. app builder

    [Theory]
    [InlineData("free", 1, 5, 1, 1_000)]
    [InlineData("starter", 1, 40, 10, 100_000)]
    [InlineData("pro", 3, 150, 50, 1_000_000)]
    [InlineData("scale", 8, 500, 200, 10_000_000)]
    public void app_builder_blocks_every_limit_with_402(string plan, long projects, long buildHours, long gigabytes, long embeddings)
    {
        var given = Load("app-builder").Plan(plan)!.Features;
        Limit(given["projects"], projects, Window.Lifetime, LimitMode.Block, 402);
        Limit(given["build_hours"], buildHours * 100, Window.Month, LimitMode.Block, 402);
        Limit(given["storage_gb"], gigabytes * 1_000, Window.Lifetime, LimitMode.Block, 402);
        // Blocked like the others, unless there are tokens.
        Limit(given["ai_embeddings"], embeddings, Window.Month, LimitMode.Tokens, 402);
    }

    [Theory]
    [InlineData("starter")]
    [InlineData("pro")]
    [InlineData("scale")]
    public void app_builder_gives_17_per_cent_off_by_the_year(string planId)
    {
        var prices = Load("app-builder").Plan(planId)!.Prices.ToDictionary(p => p.Interval, p => p.Amount.Amount);
        Assert.Equal(Pricing.Round(prices[BillingInterval.Month] * 12 * 0.83m), prices[BillingInterval.Year]);
    }

    // ---- helpers

    private static void Limit(PlanFeature given, long? units, Window window, LimitMode mode, int denyStatus, params RateLimit[] rates)
    {
        Assert.Equal((units, window, mode, denyStatus), (given.Allowance, given.Window, given.Mode, given.DenyStatus));
        Assert.Equal(rates, given.RateLimits.AsEnumerable());
    }

    private static Catalog Load(string name, CatalogDefaults? defaults = null) =>
        CatalogReader.Read(File.ReadAllBytes(Repository.Catalog(name)), defaults).Catalog!;
}
