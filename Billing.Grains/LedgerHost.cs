using System.Collections.Concurrent;
using System.Collections.Immutable;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Grains;

/// <summary>The embedded engine: every organization's actor inside this process, activated on first use and evicted when idle.</summary>
public sealed class LedgerHost : ILedgerHost
{
    private const long EvictEveryMilliseconds = 1_000;
    private const int ActivationsBetweenEvictions = 1_024;

    private sealed class Resident(LedgerSession session)
    {
        public readonly LedgerSession Session = session;
        public long LastUsed;
    }

    private readonly ConcurrentDictionary<string, Resident> residents = new(StringComparer.Ordinal);
    private readonly WatchedJournal journal;
    private readonly JournalHealth health;
    private readonly JournalWriter writer;
    private readonly Patience patience;
    private readonly Func<Catalogs> catalogs;
    private readonly Snapshots? snapshots;
    private readonly long maxResidentBytes;
    private volatile bool stopping;
    private int activations;
    private long nextEviction;

    /// <param name="journal">One that is watched already shares its health with whoever else reads it.</param>
    /// <param name="catalogs">The catalogs as they are now; asked for each batch and each check.</param>
    /// <param name="maxResidentBytes">About how much memory resident organizations may take before idle ones are evicted.</param>
    /// <param name="snapshots">What organizations are activated from; ends with this host. Null folds every stream from its first event.</param>
    public LedgerHost(IJournal journal, Func<Catalogs> catalogs, long maxResidentBytes, Snapshots? snapshots = null)
    {
        this.journal = journal as WatchedJournal ?? new WatchedJournal(journal, new JournalHealth(() => journal.ListOrganizations("", 1).AsTask(), TimeProvider.System));
        this.catalogs = catalogs;
        this.snapshots = snapshots;
        this.maxResidentBytes = maxResidentBytes;
        health = this.journal.Health;
        writer = new JournalWriter(this.journal);
        patience = new Patience(this.journal, GiveUp);
    }

    public int ResidentCount => residents.Count;

    public EngineView Engine { get; } = new("embedded", 1);

    /// <summary>Is told of every organization that was evicted.</summary>
    public Action<string>? Evicted { get; set; }

    public IOrganizationLedger Organization(string id) => new InProcessOrganization(this, id);

    /// <summary>Evicts the longest unused organizations until the rest fit. What is busy stays.</summary>
    /// <returns>How many were evicted.</returns>
    public int Evict(long? maxBytes = null)
    {
        // What is forgotten now could not be read again, and without commands nothing grows.
        if (health.IsOut) return 0;
        var limit = maxBytes ?? maxResidentBytes;
        var total = residents.Sum(r => r.Value.Session.ApproximateBytes);
        if (total <= limit) return 0;
        var all = residents.Select(r => (r.Key, r.Value, r.Value.LastUsed, Bytes: r.Value.Session.ApproximateBytes)).OrderBy(r => r.LastUsed).ToList();
        var evicted = 0;
        foreach (var (id, resident, _, bytes) in all)
        {
            if (total <= limit) break;
            if (!resident.Session.TryRetire()) continue;
            residents.TryRemove(new KeyValuePair<string, Resident>(id, resident));
            total -= bytes;
            evicted++;
            Evicted?.Invoke(id);
        }
        return evicted;
    }

    /// <summary>How often somebody else wrote to the organization's stream since it is in memory here; null when it is not.</summary>
    public long? TimesOvertaken(string id) => residents.TryGetValue(id, out var resident) ? resident.Session.TimesOvertaken : null;

    /// <summary>Forgets one organization, if nothing waits for it. What it knew is in the journal.</summary>
    public void Release(string id)
    {
        if (!health.IsOut && residents.TryGetValue(id, out var resident) && resident.Session.TryRetire()) Forget(id, resident.Session);
    }

    /// <summary>Takes nothing new, and lets everything that was taken be written. Its answers are on their way then, and none is lost.</summary>
    public async ValueTask DisposeAsync()
    {
        stopping = true;
        foreach (var resident in residents.Values)
            while (!resident.Session.TryRetire()) await Task.Delay(1);
        await patience.DisposeAsync();
        await writer.DisposeAsync();
        if (snapshots is not null) await snapshots.DisposeAsync();
    }

    private LedgerSession Session(string id)
    {
        if (stopping) throw new JournalUnavailableException("The service is shutting down.");
        if (!residents.TryGetValue(id, out var resident))
        {
            resident = residents.GetOrAdd(id, static (id, host) => new Resident(new LedgerSession(id, host.journal, host.writer, host.catalogs, snapshots: host.snapshots)), this);
            if (Interlocked.Increment(ref activations) % ActivationsBetweenEvictions == 0) Evict();
        }
        var now = Environment.TickCount64;
        Volatile.Write(ref resident.LastUsed, now);
        // Residents grow without activations too. Whoever comes by looks once a second: without traffic nothing grows.
        var due = Volatile.Read(ref nextEviction);
        if (now >= due && Interlocked.CompareExchange(ref nextEviction, now + EvictEveryMilliseconds, due) == due)
            ThreadPool.UnsafeQueueUserWorkItem(static host => host.Evict(), this, preferLocal: false);
        return resident.Session;
    }

    /// <summary>Whether reads may be answered from what was last known, now that the journal cannot say whether it is the last.</summary>
    private bool MayAnswer => health.MayAnswer && catalogs().Current.OnJournalOutage == OnJournalOutage.Answer;

    private void GiveUp(long arrivedBefore)
    {
        var reason = new JournalUnavailableException();
        // Walked as they are, without a copy of them all: this comes several times a second.
        foreach (var (_, resident) in residents) resident.Session.GiveUp(arrivedBefore, reason);
    }

    private void Forget(string id, LedgerSession session)
    {
        if (residents.TryGetValue(id, out var resident) && resident.Session == session)
            residents.TryRemove(new KeyValuePair<string, Resident>(id, resident));
    }

    /// <summary>The contract over a session of this process.</summary>
    private sealed class InProcessOrganization(LedgerHost host, string id) : IOrganizationLedger
    {
        public async ValueTask<CommandResult> Execute(Command command)
        {
            var (results, state) = await Run([command], atomic: false);
            if (FeatureOf(command, results[0]) is not { } feature || results[0].Rejection is not (null or { Denial: not null })) return results[0];
            // What was published may be gone again: the batch behind this one failed, and its failure is not this command's.
            state ??= await With(loaded => loaded);
            return results[0] with { Entitlement = Reading.Entitlement(state, host.catalogs(), feature, command.At) };
        }

        public async ValueTask<IReadOnlyList<CommandResult>> ExecuteAll(IReadOnlyList<Command> commands, bool atomic) => (await Run(commands, atomic)).Results;

        private async ValueTask<(CommandResult[] Results, State? State)> Run(IReadOnlyList<Command> commands, bool atomic)
        {
            while (true)
            {
                // At once, and nothing piles up: whoever waited would wait for the same.
                if (host.health.IsOut) throw new JournalUnavailableException();
                var session = host.Session(id);
                if (session.Execute(commands, atomic) is { } executing)
                {
                    var results = await executing;
                    var state = session.Published;
                    if (state?.Version == 0) Drop(session);
                    return (results, state);
                }
                // It was evicted between finding and asking it.
                host.Forget(id, session);
            }
        }

        public ValueTask<CheckResult> Check(string feature, decimal? quantity, Instant now) =>
            With(state => Reading.Check(state, host.catalogs(), feature, quantity, now));

        public ValueTask<ExplainResult> Explain(string feature, decimal? quantity, Instant now) =>
            With(state => Reading.Explain(state, host.catalogs(), feature, quantity, now));

        public ValueTask<IReadOnlyList<EntitlementView>?> Entitlements(Instant now) =>
            With<IReadOnlyList<EntitlementView>?>(state => state.IsOpened ? Reading.All(state, host.catalogs(), now) : null);

        public ValueTask<OrganizationView?> Read(Instant now) => With(state => state.IsOpened ? Reading.Organization(state, host.catalogs(), now) : null);

        public ValueTask<UsageView?> Usage(Instant now) => With(state => state.IsOpened ? Reading.Usage(state, host.catalogs(), now) : null);

        public ValueTask<ImmutableArray<long>?> Voided() => With<ImmutableArray<long>?>(state => state.IsOpened ? state.Voided : null);

        public ValueTask<TokensView?> Tokens(Instant now) => With(state => state.IsOpened ? Reading.Tokens(state, now) : null);

        public ValueTask<TopUpView?> TopUp(Instant now) => With(state => state.IsOpened ? Reading.TopUp(state, host.catalogs(), now) : null);

        public ValueTask<SubscriptionView?> Subscription(Instant now) =>
            With(state => state.IsOpened ? Reading.Subscription(state, host.catalogs(), now) : null);

        public ValueTask<FollowedView?> Followed() => With(state => state.IsOpened ? FollowedView.Of(state) : null);

        public ValueTask<ChangePreviewResult> PreviewChange(Command command) => With(state => Reading.PreviewChange(state, host.catalogs(), command));

        public ValueTask<CatalogMoveView?> PreviewMove(int version, Instant now) =>
            With(state => state.IsOpened ? Reading.PreviewMove(state, host.catalogs(), version, now) : null);

        public ValueTask<IReadOnlyList<InvoiceView>?> Invoices() =>
            With<IReadOnlyList<InvoiceView>?>(state => state.IsOpened ? [.. state.Billing.Invoices.Reverse().Select(InvoiceView.Of)] : null);

        public ValueTask<UpcomingInvoicesView?> UpcomingInvoices(Instant now) =>
            With(state => state.IsOpened ? UpcomingInvoicesView.Of(state, host.catalogs(), now) : null);

        public ValueTask<PendingLinesView?> PendingLines() => With(state => state.IsOpened ? PendingLinesView.Of(state) : null);

        public ValueTask<BillingTermsView?> BillingTerms() => With(state => state.IsOpened ? BillingTermsView.Of(state, host.catalogs()) : null);

        public ValueTask<IReadOnlyList<HoldView>?> Holds(Instant now) =>
            With<IReadOnlyList<HoldView>?>(state => state.IsOpened ? Reading.Holds(state, host.catalogs(), now) : null);

        public ValueTask<IReadOnlyList<OverrideView>?> Overrides(Instant now) =>
            With<IReadOnlyList<OverrideView>?>(state => state.IsOpened ? Reading.Overrides(state, host.catalogs(), now) : null);

        public ValueTask<SpendCapsView?> SpendCaps(Instant now) => With(state => state.IsOpened ? Reading.SpendCaps(state, host.catalogs(), now) : null);

        /// <summary>Resident: answered here and now. Otherwise loaded first.</summary>
        private ValueTask<T> With<T>(Func<State, T> read)
        {
            if (host.health.IsOut) return new(FromMemory(read, new JournalUnavailableException()));
            var session = host.Session(id);
            return session.Published is { } state ? new(Answer(session, state, read)) : Loaded();

            async ValueTask<T> Loaded()
            {
                try
                {
                    while (true)
                    {
                        var session = host.Session(id);
                        if (await session.Current() is { } state) return Answer(session, state, read);
                        host.Forget(id, session);
                    }
                }
                catch (JournalUnavailableException unavailable)
                {
                    return FromMemory(read, unavailable);
                }
            }
        }

        /// <summary>What was last known to be durable, for as long as the catalog and the settings say.</summary>
        private T FromMemory<T>(Func<State, T> read, JournalUnavailableException unavailable) =>
            host.residents.TryGetValue(id, out var resident) && resident.Session.LastKnown is { Version: > 0 } known && host.MayAnswer ? read(known) : throw unavailable;

        private T Answer<T>(LedgerSession session, State state, Func<State, T> read)
        {
            if (state.Version == 0) Drop(session);
            return read(state);
        }

        /// <summary>What does not exist is not kept, or anybody could fill the memory by asking for names.</summary>
        private void Drop(LedgerSession session)
        {
            if (session.TryRetire()) host.Forget(id, session);
        }

        private static string? FeatureOf(Command command, CommandResult result) => command switch
        {
            RecordUsage c => c.Feature,
            SetGauge c => c.Feature,
            VoidUsage c => c.Record.Feature,
            CorrectUsage c => c.Record.Feature,
            PlaceHold c => c.Feature,
            SettleHold c => FeatureOf(c.Hold, result),
            ReleaseHold c => FeatureOf(c.Hold, result),
            _ => null,
        };

        /// <summary>A hold's feature is in the event that ended it, or in what was denied.</summary>
        private static string? FeatureOf(string hold, CommandResult result) =>
            result.Events.OfType<HoldEnded>().FirstOrDefault(e => e.Hold == hold)?.Feature ?? result.Rejection?.Denial?.Feature.Id;
    }
}
