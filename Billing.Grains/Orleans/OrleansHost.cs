using System.Collections.Immutable;
using System.Diagnostics;
using System.Net.Sockets;
using Billing.Ledger;
using NodaTime;

namespace Billing.Grains;

/// <summary>
/// Organizations in a cluster, as seen by whoever calls them: in the same process as a silo, or from outside. A call that a silo
/// did not answer is sent again, with the same command ids, so that what was done is found and not done again.
/// </summary>
/// <param name="patience">How long a caller waits for all tries together.</param>
/// <param name="isOutside">Silos are reached by connections, of which each carries many calls.</param>
/// <param name="here">What is in the silo of this process; null where there is none.</param>
public sealed class OrleansHost(TimeSpan patience, bool isOutside = false, OrganizationsHere? here = null) : ILedgerHost
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan LongestPause = TimeSpan.FromMilliseconds(320);

    private readonly Ways? ways = isOutside ? new Ways() : null;
    private IGrainFactory? grains;
    private int silos;

    public EngineView Engine => new("orleans", Volatile.Read(ref silos));

    /// <summary>What is to be done last, when the process ends.</summary>
    public Func<ValueTask>? Closing { get; init; }

    /// <summary>Before that, nothing can be asked.</summary>
    public void Attach(IGrainFactory factory) => Volatile.Write(ref grains, factory);

    /// <summary>Whether there was anybody to ask yet.</summary>
    public bool IsAttached => Volatile.Read(ref grains) is not null;

    /// <summary>A connection to silos broke, and with it whatever was under way there: nobody waits for those answers any more, everything is sent again.</summary>
    public void ConnectionLost() => ways?.Break();

    /// <summary>Asks how many silos there are.</summary>
    /// <returns>0 when none answers.</returns>
    public async Task<int> CountSilos()
    {
        var count = 0;
        try
        {
            if (Volatile.Read(ref grains) is { } factory) count = await factory.GetGrain<IClusterGrain>(0).CountSilos();
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // None answers.
        }
        Volatile.Write(ref silos, count);
        return count;
    }

    public IOrganizationLedger Organization(string id) =>
        new OrganizationInCluster(Volatile.Read(ref grains) ?? throw new JournalUnavailableException("The service is not connected to its silos yet."), id, patience, ways, here);

    public ValueTask DisposeAsync() => Closing?.Invoke() ?? ValueTask.CompletedTask;

    /// <summary>Whether the silo, or the way to it, failed. What the ledger itself says goes on to the caller.</summary>
    private static bool IsOfTheWay(Exception e) => e is OrleansException or TimeoutException or IOException or ObjectDisposedException or SocketException;

    /// <summary>The contract over a grain.</summary>
    private sealed class OrganizationInCluster(IGrainFactory grains, string id, TimeSpan patience, Ways? ways, OrganizationsHere? here) : IOrganizationLedger
    {
        public ValueTask<CommandResult> Execute(Command command) => Ask(static (g, command) => g.Execute(command), command);

        public ValueTask<IReadOnlyList<CommandResult>> ExecuteAll(IReadOnlyList<Command> commands, bool atomic) => Ask(static (g, a) => g.ExecuteAll(a.commands, a.atomic), (commands, atomic));

        /// <summary>In place, where that is here; whatever changes something, or is rarer, goes through the grain.</summary>
        public ValueTask<CheckResult> Check(string feature, decimal? quantity, Instant now) => here?.Find(id) is { } ledger ? ledger.Check(feature, quantity, now) : Ask(static (g, a) => g.Check(a.feature, a.quantity, a.now), (feature, quantity, now));

        public ValueTask<ExplainResult> Explain(string feature, decimal? quantity, Instant now) => Ask(static (g, a) => g.Explain(a.feature, a.quantity, a.now), (feature, quantity, now));

        public ValueTask<IReadOnlyList<EntitlementView>?> Entitlements(Instant now) => Ask(static (g, now) => g.Entitlements(now), now);

        public ValueTask<OrganizationView?> Read(Instant now) => Ask(static (g, now) => g.Read(now), now);

        public ValueTask<UsageView?> Usage(Instant now) => Ask(static (g, now) => g.Usage(now), now);

        public ValueTask<ImmutableArray<long>?> Voided() => Ask(static (g, _) => g.Voided(), 0);

        public ValueTask<TokensView?> Tokens(Instant now) => Ask(static (g, now) => g.Tokens(now), now);

        public ValueTask<TopUpView?> TopUp(Instant now) => Ask(static (g, now) => g.TopUp(now), now);

        public ValueTask<SubscriptionView?> Subscription(Instant now) => Ask(static (g, now) => g.Subscription(now), now);

        public ValueTask<FollowedView?> Followed() => Ask(static (g, _) => g.Followed(), 0);

        public ValueTask<ChangePreviewResult> PreviewChange(Command command) => Ask(static (g, command) => g.PreviewChange(command), command);

        public ValueTask<CatalogMoveView?> PreviewMove(int version, Instant now) => Ask(static (g, a) => g.PreviewMove(a.version, a.now), (version, now));

        public ValueTask<IReadOnlyList<InvoiceView>?> Invoices() => Ask(static (g, _) => g.Invoices(), 0);

        public ValueTask<UpcomingInvoicesView?> UpcomingInvoices(Instant now) => Ask(static (g, now) => g.UpcomingInvoices(now), now);

        public ValueTask<PendingLinesView?> PendingLines() => Ask(static (g, _) => g.PendingLines(), 0);

        public ValueTask<BillingTermsView?> BillingTerms() => Ask(static (g, _) => g.BillingTerms(), 0);

        public ValueTask<IReadOnlyList<HoldView>?> Holds(Instant now) => Ask(static (g, now) => g.Holds(now), now);

        public ValueTask<IReadOnlyList<OverrideView>?> Overrides(Instant now) => Ask(static (g, now) => g.Overrides(now), now);

        public ValueTask<SpendCapsView?> SpendCaps(Instant now) => Ask(static (g, now) => g.SpendCaps(now), now);

        private async ValueTask<T> Ask<T, TArguments>(Func<IOrganizationGrain, TArguments, ValueTask<T>> call, TArguments arguments)
        {
            var grain = grains.GetGrain<IOrganizationGrain>(id);
            var started = Stopwatch.GetTimestamp();
            for (var pause = FirstPause; ; pause = pause < LongestPause ? pause * 2 : pause)
            {
                try
                {
                    // Usually it is the first try, and Orleans' own time for an answer is shorter than the caller's.
                    if (ways is null && pause == FirstPause) return await call(grain, arguments);
                    var answer = call(grain, arguments).AsTask();
                    if (pause > FirstPause) answer = answer.WaitAsync(Left(started));
                    return ways is null || answer.IsCompleted ? await answer : await ways.Answer(answer);
                }
                catch (Exception e) when (IsOfTheWay(e))
                {
                    if (Stopwatch.GetElapsedTime(started) + pause >= patience)
                        throw new JournalUnavailableException("No silo answers for this organization. Send it again with the same Idempotency-Key.", e);
                }
                await Task.Delay(pause);
            }
        }

        private TimeSpan Left(long started)
        {
            var left = patience - Stopwatch.GetElapsedTime(started);
            return left > TimeSpan.Zero ? left : TimeSpan.Zero;
        }
    }

    /// <summary>
    /// The ways to the silos. Orleans waits for an answer until its time is over, even when the connection that it would have
    /// come by is gone: here nobody does.
    /// </summary>
    private sealed class Ways
    {
        // Everybody who waits is in one of these lists; many lists, because each has a lock.
        private readonly TaskCompletionSource[] broken = [.. Enumerable.Range(0, 64).Select(_ => NewSource())];

        public void Break()
        {
            for (var i = 0; i < broken.Length; i++) Interlocked.Exchange(ref broken[i], NewSource()).TrySetResult();
        }

        public async ValueTask<T> Answer<T>(Task<T> answer)
        {
            var source = Volatile.Read(ref broken[Environment.CurrentManagedThreadId % broken.Length]);
            if (await Task.WhenAny(answer, source.Task) == answer) return await answer;
            // Nobody looks at what becomes of it.
            _ = answer.ContinueWith(static a => a.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            throw new IOException("The connection broke before the answer came.");
        }

        private static TaskCompletionSource NewSource() => new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
