using System.Collections.Immutable;
using Billing.Grains;
using Billing.Ledger;
using NodaTime;

namespace Billing.Api.Routes;

/// <summary>Reading use: the running period, the records, and buckets of time.</summary>
public static class UsageHistoryRoutes
{
    public const int MaxBuckets = 1_000;

    private enum Bucket { Hour, Day, Month }

    public static void MapUsageHistory(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/organizations/{organization}/usage/current", async (string organization, HttpContext http) =>
                await services.Host.Organization(organization).Usage(services.Clock.Now()) is { } usage ? Results.Ok(usage) : OrganizationRoutes.Unknown(http, organization))
            .WithTags("Usage").WithSummary("Use in the running billing period, with what it costs").Produces<UsageView>();

        v1.MapGet("/organizations/{organization}/usage/records", async (string organization, HttpContext http) =>
            {
                if (await services.Host.Organization(organization).Voided() is not { } voided) return OrganizationRoutes.Unknown(http, organization);
                var feature = http.Request.Query["feature"].FirstOrDefault();
                return Results.Ok(await StreamPages.Read<UsageRecordView>(services.Journal, organization, http, ["usage-recorded"],
                    e => (UsageRecorded)e is var usage && (feature is null || usage.Feature == feature)
                        ? [UsageRecordView.Of(usage, services.Catalogs) with { Voided = voided.BinarySearch(usage.Version) >= 0 }]
                        : []));
            })
            .WithTags("Usage").WithSummary("The records, oldest first (?feature=&limit=&cursor=)").Produces<Page<UsageRecordView>>().TakesQuery("feature", "limit", "cursor");

        v1.MapGet("/organizations/{organization}/usage/history", (string organization, HttpContext http) => History(organization, http, services))
            .WithTags("Usage").WithSummary("Use of one feature by hour, day or month (?feature=&from=&to=&bucket=)").Produces<UsageHistoryView>().TakesQuery("feature", "from", "to", "bucket");
    }

    private static async Task<IResult> History(string organization, HttpContext http, Services services)
    {
        var now = services.Clock.Now();
        if (await services.Host.Organization(organization).Read(now) is not { } view) return OrganizationRoutes.Unknown(http, organization);
        if (http.Request.Query["feature"].FirstOrDefault() is not { } id) throw new ApiException("invalid_parameter", "Say which feature: ?feature=….", "feature");
        if (services.Catalogs.Feature(id) is not { } feature) return Problems.Answer(http, services, organization, Rejections.FeatureUnknown(id));
        if (feature.Meter is not { } meter) return Problems.Answer(http, services, organization, Rejections.FeatureNotMetered(id));
        var bucket = http.ChoiceParameter<Bucket>("bucket") ?? Bucket.Day;
        var to = http.TimeParameter("to") ?? now;
        var from = http.TimeParameter("from") ?? (view.OpenedAt < to ? Instant.Max(view.OpenedAt, to - Duration.FromDays(30)) : to - Duration.FromDays(30));
        if (from >= to) throw new ApiException("invalid_parameter", "'from' is before 'to'.", "from");
        var zone = DateTimeZoneProviders.Tzdb[view.TimeZone];
        var voided = await services.Host.Organization(organization).Voided() ?? [];

        var buckets = new SortedDictionary<Instant, UsageBucketView>();
        var empty = CoverageView.Of(0, 0, 0, 0);
        for (var start = StartOf(from); start < to; start = EndOf(start))
        {
            if (buckets.Count == MaxBuckets) throw new ApiException("invalid_parameter", $"At most {MaxBuckets} buckets are given at once. Ask for less time or larger buckets.", "bucket");
            buckets[start] = new UsageBucketView(start, EndOf(start), 0, 0, empty, null);
        }
        await foreach (var e in StreamPages.All(services.Journal, organization, ["usage-recorded"]))
        {
            if (e is not UsageRecorded usage || usage.Feature != id || usage.EffectiveAt < from || usage.EffectiveAt >= to || voided.BinarySearch(usage.Version) >= 0) continue;
            var start = StartOf(usage.EffectiveAt);
            var sum = buckets[start];
            var covered = CoverageView.Of(usage.Allowance, usage.ByTokens, usage.Overage, meter.Decimals);
            buckets[start] = sum with
            {
                Quantity = sum.Quantity + Quantity.ToDecimal(usage.Quantity, meter.Decimals),
                Records = sum.Records + 1,
                Covered = new CoverageView(sum.Covered.Allowance + covered.Allowance, sum.Covered.Tokens + covered.Tokens, sum.Covered.Overage + covered.Overage),
                Value = usage.Gauge is { } value ? Quantity.ToDecimal(value, meter.Decimals) : null,
            };
        }
        return Results.Ok(new UsageHistoryView(id, meter.Unit, Spelling.Of(bucket), from, to, [.. buckets.Values]));

        // In the organization's own zone, as its windows are.
        Instant StartOf(Instant at)
        {
            var local = at.InZone(zone);
            return bucket switch
            {
                Bucket.Hour => Instant.FromUnixTimeSeconds(at.ToUnixTimeSeconds() / 3600 * 3600),
                Bucket.Day => TimeWindows.FirstInstant(zone, local.Date),
                _ => TimeWindows.FirstInstant(zone, new LocalDate(local.Year, local.Month, 1)),
            };
        }

        Instant EndOf(Instant start)
        {
            var date = start.InZone(zone).Date;
            return bucket switch
            {
                Bucket.Hour => start + Duration.FromHours(1),
                Bucket.Day => TimeWindows.FirstInstant(zone, date.PlusDays(1)),
                _ => TimeWindows.FirstInstant(zone, new LocalDate(date.Year, date.Month, 1).PlusMonths(1)),
            };
        }
    }
}
