using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo;

namespace Billing.Api.Stripe;

/// <summary>
/// Does at Stripe what the ledger's events ask for. It reads the whole journal and keeps a list of the few events that ask for something;
/// what fails is tried again later, while the others go on.
/// </summary>
public sealed partial class LedgerWork(Services services, StripeTasks tasks, IFeedPositions positions, OverageItems overage, TimeProvider time, ILogger<LedgerWork> log) : IStripeWorker, IDisposable
{
    private const int AtOnce = 8;
    private const int PageSize = 200;

    private readonly TopUpCharges topUps = new(services);
    private JournalFeed? feed;

    public async Task<int> RunOnce(CancellationToken stop)
    {
        if (services.StripeOrNull is null) return 0;
        // Only where the work is done: elsewhere nothing would be read, and that would look like lateness.
        feed ??= new JournalFeed("stripe-work", services.Journal, positions, time);
        await feed.CatchUp(Note, stop);
        var done = 0;
        var due = await tasks.ListDue(services.Clock.Now(), PageSize);
        // One organization's tasks one after the other, several organizations at once.
        await Parallel.ForEachAsync(due.GroupBy(t => t.Organization), new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = stop }, async (of, token) =>
        {
            foreach (var task in of.OrderBy(t => t.Version))
                if (await TryDo(task, token)) Interlocked.Increment(ref done);
        });
        return done;
    }

    public void Dispose() => feed?.Dispose();

    private async ValueTask Note(IReadOnlyList<StoredEvent> page)
    {
        var asked = new List<StripeTask>();
        foreach (var e in page)
            if (KindOf(e) is { } kind) asked.Add(new StripeTask(e.Organization, e.Version, kind));
        if (asked.Count > 0) await tasks.Add(asked, services.Clock.Now());
    }

    /// <summary>What an event asks for. By its stored name, so that the many events of use are not even read.</summary>
    private static StripeTaskKind? KindOf(StoredEvent e) => e.IsArchived ? null : e.Type switch
    {
        "top-up-requested" => StripeTaskKind.TopUp,
        "organization-closed" => StripeTaskKind.Closing,
        "lines-added" when EventCodec.Default.Decode(e) is LinesAdded added && added.Lines.Any(l => l.Kind == LineKind.Overage) => StripeTaskKind.Overage,
        "subscription-changed" when EventCodec.Default.Decode(e) is SubscriptionChanged { Followed: { Kept: null, Status: SubscriptionStatus.Canceled } } => StripeTaskKind.Ending,
        _ => null,
    };

    private async Task<bool> TryDo(StripeTask task, CancellationToken stop)
    {
        try
        {
            if (await Do(task, stop))
            {
                await tasks.Done(task);
                return true;
            }
            await tasks.Postpone(task, "Its outcome is not known yet.", services.Clock.Now());
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            LogFailure(log, task.Kind, task.Organization, e);
            await tasks.Postpone(task, e.Message, services.Clock.Now());
        }
        return false;
    }

    private async Task<bool> Do(StripeTask task, CancellationToken stop)
    {
        var organization = task.Organization;
        if (task.Kind == StripeTaskKind.TopUp) return await topUps.Settle(organization, task.Version, stop);
        if (task.Kind == StripeTaskKind.Closing) await EndSubscriptions(organization, stop);
        // By what is pending now: it may have been charged since, and what was begun before is finished.
        var about = $"v{task.Version}";
        if (await services.Host.Organization(organization).PendingLines() is not { } pending) return true;
        if (await Begun(organization, about) is { Count: > 0 } begun) pending = pending with { Currencies = [.. pending.Currencies.Union(begun)] };
        else if (!(task.Kind == StripeTaskKind.Overage ? pending.AreWithinPeriod : pending.AreLeftOver)) return true;
        await overage.Invoice(organization, about, pending, stop);
        return true;
    }

    /// <summary>The currencies of the invoices that were begun for this task before a crash.</summary>
    private async Task<IReadOnlyList<string>> Begun(string organization, string about)
    {
        var prefix = StripeRequests.DraftInvoice(organization, "", "", about, null).Key!;
        return [.. (await services.SentRequests.List(organization, "/v1/invoices", PageSize)).Where(s => s.Key.StartsWith(prefix, StringComparison.Ordinal)).Select(s => s.Key[prefix.Length..])];
    }

    private async Task EndSubscriptions(string organization, CancellationToken stop)
    {
        foreach (var customer in await services.Customers.Of(organization))
        {
            var ending = new List<string>();
            await foreach (var subscription in services.Stripe.List(StripeRequests.OpenSubscriptionsOf(customer), stop))
                if ((subscription.Metadata("organization_id") ?? organization) == organization && subscription.Text("id") is { } id) ending.Add(id);
            foreach (var id in ending)
            {
                await services.Stripe.Find(StripeRequests.EndSubscription(id, prorate: false), stop);
                FaultPoints.Reach("closing:canceled");
            }
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Kind} of {Organization} could not be done at Stripe; it is tried again.")]
    private static partial void LogFailure(ILogger log, StripeTaskKind kind, string organization, Exception e);
}
