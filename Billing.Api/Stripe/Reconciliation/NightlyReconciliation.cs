using System.Text.Json;
using Billing.Grains;
using Billing.Silo;
using NodaTime;
using NodaTime.Text;

namespace Billing.Api.Stripe;

/// <summary>An organization in which something differed.</summary>
public sealed record ReconciledOrganizationView(string Organization, int Differences, int Repaired);

public sealed record UnreconciledOrganizationView(string Organization, string Why);

/// <summary>The last nightly comparison of all organizations that have a customer.</summary>
/// <param name="Day">The UTC day that it is for; null before the first one.</param>
/// <param name="FinishedAt">Null while it goes on.</param>
/// <param name="Organizations">How many were compared so far.</param>
/// <param name="Differences">By kind.</param>
/// <param name="WithDifferences">At most 1,000 of them.</param>
/// <param name="Failed">Those that could not be compared, at most 1,000.</param>
/// <param name="After">How far it came: the last organization, in the order of their ids.</param>
public sealed record ReconciliationRunView(
    string? Day, Instant? StartedAt, Instant? FinishedAt, int Organizations, IReadOnlyDictionary<string, int> Differences, int Repaired,
    IReadOnlyList<ReconciledOrganizationView> WithDifferences, IReadOnlyList<UnreconciledOrganizationView> Failed, string After)
{
    public static readonly ReconciliationRunView None = new(null, null, null, 0, new SortedDictionary<string, int>(), 0, [], [], "");
}

/// <summary>
/// Compares every organization with Stripe once a UTC day, some at a time, so that other work goes on beside it. How far it came is
/// stored: a restart goes on there, and does not begin again.
/// </summary>
public sealed partial class NightlyReconciliation(Services services, Reconciler reconciler, ReconciliationRuns runs, ILogger<NightlyReconciliation> log) : IStripeWorker
{
    /// <summary>Each asks Stripe for one thing after the other: that is as many requests at once.</summary>
    private const int AtOnce = 3;

    /// <summary>The most organizations that are listed.</summary>
    private const int Most = 1_000;

    private static readonly Duration PauseAfterFailure = Duration.FromMinutes(1);

    private string? finishedDay;
    private Instant pausedUntil;

    /// <summary>What the last one came to, or comes to so far.</summary>
    public async Task<ReconciliationRunView> Last() =>
        await runs.Find() is { } stored ? JsonSerializer.Deserialize(stored, ApiJson.Web.ReconciliationRunView)! : ReconciliationRunView.None;

    public async Task<int> RunOnce(CancellationToken stop)
    {
        var (hour, now) = (services.Settings.ReconcileHour, services.Clock.Now());
        if (hour < 0 || services.StripeOrNull is null || now < pausedUntil) return 0;
        var day = LocalDatePattern.Iso.Format((now - Duration.FromHours(hour)).InUtc().Date);
        if (finishedDay == day) return 0;
        // Another process may have come further.
        var run = await Last();
        if (run.Day is null || (run.FinishedAt is not null && string.CompareOrdinal(run.Day, day) < 0)) run = ReconciliationRunView.None with { Day = day, StartedAt = now };
        else if (run.FinishedAt is not null)
        {
            finishedDay = day;
            return 0;
        }

        var next = await services.Customers.ListOrganizations(run.After, AtOnce);
        if (next.Count == 0)
        {
            run = run with { FinishedAt = now };
            LogFinished(log, run.Organizations, run.Differences.Values.Sum(), run.WithDifferences.Count, run.Repaired, run.Failed.Count);
        }
        else if (await Compare(next, stop) is { } compared)
        {
            run = compared.Aggregate(run, Add) with { After = next[^1] };
        }
        else
        {
            pausedUntil = now + PauseAfterFailure;
            return 0;
        }
        await runs.Save(JsonSerializer.SerializeToUtf8Bytes(run, ApiJson.Web.ReconciliationRunView));
        return Math.Max(1, next.Count);
    }

    /// <returns>Null when Stripe or the journal is away: then all of them are tried again.</returns>
    private async Task<IReadOnlyList<(string Organization, ReconciliationView? View, string? Failure)>?> Compare(IReadOnlyList<string> organizations, CancellationToken stop)
    {
        try
        {
            return await Task.WhenAll(organizations.Select(async organization =>
            {
                try
                {
                    return (organization, await reconciler.Run(organization, services.Settings.ReconcileRepairs, stop), (string?)null);
                }
                catch (Exception e) when (e is not (JournalUnavailableException or StripeException { IsPassing: true }) && !stop.IsCancellationRequested)
                {
                    // One that cannot be compared holds up none of the others.
                    LogFailure(log, organization, e);
                    return (organization, null, e.Message);
                }
            }));
        }
        catch (Exception e) when (e is JournalUnavailableException or StripeException)
        {
            LogPaused(log, e);
            return null;
        }
    }

    private static ReconciliationRunView Add(ReconciliationRunView run, (string Organization, ReconciliationView? View, string? Failure) one)
    {
        run = run with { Organizations = run.Organizations + 1 };
        if (one.Failure is { } why) return run.Failed.Count >= Most ? run : run with { Failed = [.. run.Failed, new(one.Organization, why)] };
        if (one.View is not { Differences.Count: > 0 } view) return run;
        var kinds = new SortedDictionary<string, int>(run.Differences.ToDictionary(), StringComparer.Ordinal);
        foreach (var difference in view.Differences) kinds[difference.Kind] = kinds.GetValueOrDefault(difference.Kind) + 1;
        return run with
        {
            Differences = kinds, Repaired = run.Repaired + view.Repaired,
            WithDifferences = run.WithDifferences.Count >= Most ? run.WithDifferences : [.. run.WithDifferences, new(one.Organization, view.Differences.Count, view.Repaired)],
        };
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Reconciled {Organizations} organizations with Stripe: {Differences} differences in {With} of them, {Repaired} repaired; {Failed} could not be compared.")]
    private static partial void LogFinished(ILogger log, int organizations, int differences, int with, int repaired, int failed);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Organization} could not be compared with Stripe.")]
    private static partial void LogFailure(ILogger log, string organization, Exception e);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The comparison with Stripe pauses.")]
    private static partial void LogPaused(ILogger log, Exception e);
}
