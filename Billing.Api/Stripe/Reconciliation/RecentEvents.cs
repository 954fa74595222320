using System.Text.Json;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>An event of Stripe's, without its body.</summary>
/// <param name="Object">The id of what it shows.</param>
/// <param name="About">What it is about: a payment, for everything that speaks of one; otherwise the same.</param>
/// <param name="Organization">As its object names it.</param>
/// <param name="Attempt">Of an invoice: how often it was tried to pay it by then.</param>
public sealed record RecentEvent(string Id, string Type, Instant Created, string? Object, string? About, string? Customer, string? Organization, long? Attempt)
{
    /// <returns>Null for what is no event.</returns>
    public static RecentEvent? Of(JsonElement json)
    {
        if (json.Text("id") is not { } id || json.Text("type") is not { } type || json.Time("created") is not { } created || json.Get("data")?.Get("object") is not { } o) return null;
        var e = new StripeEvent(id, type, created, null, o);
        return new RecentEvent(id, type, created, o.Text("id"), e.About, e.Customer, e.Organization, o.Number("attempt_count"));
    }
}

/// <summary>The events of the last 30 days that mean something here, as Stripe lists them. Kept between two looks, so that each asks for what is new only.</summary>
public sealed class RecentEvents(IStripeGateway stripe, Clock clock) : IDisposable
{
    /// <summary>As long as Stripe keeps them.</summary>
    private static readonly Duration Kept = Duration.FromDays(30);

    /// <summary>What is told late is found by looking back so far once more.</summary>
    private static readonly Duration Overlap = Duration.FromSeconds(10);

    /// <summary>The most that are remembered, the newest ones: some 100 MB.</summary>
    private const int Most = 400_000;

    private readonly SemaphoreSlim refreshing = new(1);
    private Dictionary<string, RecentEvent> byId = [];
    private ILookup<string, RecentEvent> byName = Array.Empty<RecentEvent>().ToLookup(_ => "");

    /// <summary>Asks Stripe for what is new.</summary>
    public async Task Refresh(CancellationToken stop)
    {
        await refreshing.WaitAsync(stop);
        try
        {
            var oldest = clock.Now() - Kept;
            var known = byId.Values.Where(e => e.Created >= oldest).ToDictionary(e => e.Id);
            var since = known.Count == 0 ? oldest : Instant.Max(oldest, known.Values.Max(e => e.Created) - Overlap);
            var isNew = known.Count < byId.Count;
            await foreach (var json in stripe.List(StripeRequests.EventsSince(since), stop))
            {
                if (known.Count >= Most) break;
                if (RecentEvent.Of(json) is { } e && StripeTranslation.Table.ContainsKey(e.Type)) isNew |= known.TryAdd(e.Id, e);
            }
            if (!isNew) return;
            (byId, byName) = (known, known.Values.SelectMany(e => NamesOf(e).Select(name => (Name: name, Event: e))).ToLookup(x => x.Name, x => x.Event));
        }
        finally
        {
            refreshing.Release();
        }
    }

    /// <summary>Everything that names one of these: an organization, a customer, an object, a payment. The oldest first.</summary>
    public IReadOnlyList<RecentEvent> About(IEnumerable<string> names)
    {
        var lookup = byName;
        return [.. names.SelectMany(name => lookup[name]).DistinctBy(e => e.Id).OrderBy(e => e.Created).ThenBy(e => e.Id, StringComparer.Ordinal)];
    }

    public void Dispose() => refreshing.Dispose();

    private static IEnumerable<string> NamesOf(RecentEvent e) =>
        new[] { e.Object, e.About, e.Customer, e.Organization is { } organization ? OrganizationName(organization) : null }.OfType<string>().Distinct();

    /// <summary>An organization may be called as an object is.</summary>
    public static string OrganizationName(string organization) => $"organization:{organization}";
}
