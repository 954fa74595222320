using System.Data.Common;
using Billing.Grains.Journal;
using Billing.Ledger;

namespace Billing.Grains;

/// <summary>
/// THE ONE LOOP. The actor of one organization: takes all waiting commands, decides each in turn on the evolving state,
/// appends once at the expected version, publishes the new state, answers everyone. Whatever waits while an append is
/// in flight goes together in the next one, so a busy organization gets larger batches, not a longer queue.
/// </summary>
/// <remarks>Checks never come here: they read <see cref="Published"/>.</remarks>
public sealed class LedgerSession
{
    /// <summary>How many commands one batch takes at most.</summary>
    public const int MaxBatchCommands = 2_000;

    /// <summary>How often a batch is decided again when other writers are faster, before its callers are told to retry.</summary>
    public const int MaxAttempts = 8;

    /// <summary>How many commands may wait; whoever comes then is told to try again.</summary>
    public const int MaxWaitingCommands = 20 * MaxBatchCommands;

    private const int PageSize = 1_000;

    private static readonly Dictionary<string, string> NoMetadata = [];

    private readonly IJournal journal;
    private readonly JournalWriter writer;
    private readonly EventCodec codec;
    private readonly Func<Catalogs> catalogs;
    private readonly Snapshots? snapshots;
    private readonly SnapshotSchedule? schedule;

    private readonly Lock gate = new();
    private List<Request> waiting = [];
    private List<Request> taken = [];
    private int waitingCommands;
    private bool running;
    private bool retired;
    private volatile bool hasGivenUp;
    private long timesOvertaken;

    // Of the loop alone, except that Published and LastKnown may be read by anyone.
    private State? published;
    private State? lastKnown;
    private byte[] lastHash = HashChain.Start;
    private readonly CommandMemory memory = new();

    public LedgerSession(string organization, IJournal journal, JournalWriter writer, Func<Catalogs> catalogs, EventCodec? codec = null, Snapshots? snapshots = null)
    {
        Organization = organization;
        this.journal = journal;
        this.writer = writer;
        this.catalogs = catalogs;
        this.codec = codec ?? EventCodec.Default;
        this.snapshots = snapshots;
        schedule = snapshots is null ? null : new SnapshotSchedule(snapshots);
    }

    public string Organization { get; }

    /// <summary>The last published state: everything in it is durable. Null until it is loaded.</summary>
    public State? Published => Volatile.Read(ref published);

    /// <summary>The last state that was published, which stays when it is not known any more whether it is the last one: everything in it is durable, and more may be.</summary>
    public State? LastKnown => Volatile.Read(ref lastKnown);

    /// <summary>How often an append found that somebody else had written to the stream.</summary>
    public long TimesOvertaken => Volatile.Read(ref timesOvertaken);

    /// <summary>Commands, with the way to answer them. With no commands, it asks only for the state to be loaded.</summary>
    private sealed class Request(IReadOnlyList<Command> commands, bool atomic)
    {
        public readonly IReadOnlyList<Command> Commands = commands;
        public readonly bool Atomic = atomic;
        public readonly TaskCompletionSource<CommandResult[]> Done = new();
        public readonly CommandOutcome[] Outcomes = new CommandOutcome[commands.Count];
        public readonly CommandResult[] Results = new CommandResult[commands.Count];
        public readonly long ArrivedAt = Environment.TickCount64;
        public Exception? Failure;

        /// <summary>Its caller was told that the journal does not answer. What is under way for it may still be written.</summary>
        public bool IsGivenUp;

        /// <summary>The caller goes on within this call, on this thread.</summary>
        public void Answer()
        {
            if (Failure is null) Done.TrySetResult(Results);
            else Done.TrySetException(Failure);
        }

        /// <summary>The caller goes on on a thread of its own.</summary>
        public void AnswerElsewhere() => ThreadPool.UnsafeQueueUserWorkItem(static request => request.Answer(), this, preferLocal: false);
    }

    /// <summary>What a command came to within a batch: a stretch of the batch's events, something recorded before, or a rejection.</summary>
    private readonly record struct CommandOutcome(int FirstEvent, int EventCount, long RecordedAt, Rejection? Rejection);

    /// <summary>Decides and records. All requests of a session are decided in the order in which they came.</summary>
    /// <returns>Null when this session has retired: ask the host for the one that took its place.</returns>
    /// <exception cref="JournalUnavailableException">Too many wait already. Nothing was recorded.</exception>
    public Task<CommandResult[]>? Execute(IReadOnlyList<Command> commands, bool atomic)
    {
        var request = new Request(commands, atomic);
        lock (gate)
        {
            if (retired) return null;
            if (waitingCommands > 0 && waitingCommands + commands.Count > MaxWaitingCommands)
                throw new JournalUnavailableException($"{waitingCommands} commands of '{Organization}' wait for the journal already.");
            waiting.Add(request);
            waitingCommands += commands.Count;
            if (running) return request.Done.Task;
            running = true;
        }
        // The loop takes failures to the callers; nothing is left for the task itself. It outlives the caller, so it never runs on a scheduler of the caller's.
        _ = TaskScheduler.Current == TaskScheduler.Default ? Run() : Task.Run(Run);
        return request.Done.Task;
    }

    /// <summary>The state, loading it if need be. Null when this session has retired.</summary>
    public ValueTask<State?> Current()
    {
        return Published is { } state ? new(state) : Load();

        async ValueTask<State?> Load()
        {
            if (Execute([], atomic: false) is not { } loading) return null;
            await loading;
            return Published ?? throw new JournalUnavailableException();
        }
    }

    /// <summary>Ends the session if nothing waits or runs. What it knew is in the journal.</summary>
    public bool TryRetire()
    {
        lock (gate)
        {
            if (retired) return true;
            retired = !running && waiting.Count == 0;
            if (retired) schedule?.Retired(published, lastHash);
            return retired;
        }
    }

    /// <summary>Tells those who came before then that the journal takes too long. Who waits is not begun; what has been begun comes to its end, and a repeat finds out which.</summary>
    /// <param name="arrivedBefore">In <see cref="Environment.TickCount64"/>.</param>
    public void GiveUp(long arrivedBefore, JournalUnavailableException reason)
    {
        // Most are at rest. Whoever is missed here, by a hair, is told in the next round.
        if (!Volatile.Read(ref running)) return;
        List<Request> late = [];
        lock (gate)
        {
            if (!running) return;
            late.AddRange(taken.Where(r => r.ArrivedAt < arrivedBefore && !r.IsGivenUp));
            foreach (var request in late) request.IsGivenUp = true;
            hasGivenUp |= late.Count > 0;
            var count = 0;
            while (count < waiting.Count && waiting[count].ArrivedAt < arrivedBefore) waitingCommands -= waiting[count++].Commands.Count;
            late.AddRange(waiting.GetRange(0, count));
            waiting.RemoveRange(0, count);
        }
        // Whoever waited goes on elsewhere: there may be many, of many organizations.
        foreach (var request in late) ThreadPool.UnsafeQueueUserWorkItem(static given => given.request.Done.TrySetException(given.reason), (request, reason), preferLocal: false);
    }

    /// <summary>About how much memory this session takes.</summary>
    public long ApproximateBytes
    {
        get
        {
            if (LastKnown is not { } state) return 1_024;
            var counters = 0;
            foreach (var use in state.Usage) counters += use.Counters.Length + use.Past.Length + 1;
            var metadata = 0;
            foreach (var hold in state.Holds)
                foreach (var (name, value) in hold.Metadata ?? NoMetadata) metadata += 100 + 2 * (name.Length + value.Length);
            return metadata + 2_048 + 160 * counters + 8 * state.Voided.Length + 200 * state.Grants.Length + 300 * (state.Holds.Length + state.Billing.Invoices.Length + state.Billing.Pending.Length)
                + 300 * (state.Subscriptions.Payments.Length + state.Subscriptions.Followed.Length) + CommandMemory.BytesPerCommand * memory.Count;
        }
    }

    private async Task Run()
    {
        for (var batch = Next([]); batch.Count > 0; batch = Next(batch))
        {
            try
            {
                await Process(batch);
            }
            catch (Exception e)
            {
                // Whatever went wrong, memory is no longer known to be right: the next batch reads the journal.
                Volatile.Write(ref published, null);
                memory.Clear();
                // A defect of ours is not dressed up as one of the journal's.
                var failure = e is DbException or IOException or TimeoutException ? new JournalUnavailableException("The journal cannot be reached.", e) : e;
                foreach (var request in batch) request.Failure = failure;
            }
        }
    }

    /// <summary>Takes what waits, or lets the loop rest; then answers the batch before. Whoever has an answer finds the session at rest when nobody else asks.</summary>
    private List<Request> Next(List<Request> answered)
    {
        List<Request> batch;
        lock (gate)
        {
            taken = batch = TakeBatch();
            running = batch.Count > 0;
        }
        // When the loop rests its thread is free: one caller can have it, which saves a hop. Otherwise nobody holds up the next batch.
        var elsewhere = batch.Count > 0 ? answered.Count : answered.Count - 1;
        for (var i = 0; i < elsewhere; i++) answered[i].AnswerElsewhere();
        if (elsewhere >= 0 && elsewhere < answered.Count) answered[elsewhere].Answer();
        return batch;
    }

    private List<Request> TakeBatch()
    {
        var (count, commands) = (0, 0);
        while (count < waiting.Count && (count == 0 || commands + waiting[count].Commands.Count <= MaxBatchCommands)) commands += waiting[count++].Commands.Count;
        waitingCommands -= commands;
        if (count == waiting.Count)
        {
            var all = waiting;
            waiting = [];
            return all;
        }
        var first = waiting.GetRange(0, count);
        waiting.RemoveRange(0, count);
        return first;
    }

    private async Task Process(List<Request> batch)
    {
        var asked = new Asked();
        JournalUnavailableException? unknown = null;
        for (var attempt = 0; attempt < MaxAttempts;)
        {
            if (published is not { } state)
            {
                state = await ReadOn(null);
                asked.IsFresh = true;
            }
            if (!AnyoneWaits(batch)) return;
            var decided = Decide(batch, state, asked);
            // Before anything is refused or found done, the journal is asked: an old success must not become a refusal because things changed since.
            if (decided.Unsure.Count > 0 || (decided is { Events.Count: 0, Refuses: true } && !asked.IsFresh))
            {
                await Ask(decided, state, asked);
                continue;
            }
            if (decided.Events.Count == 0)
            {
                await Answer(batch, decided, asked);
                return;
            }
            attempt++;
            if (Invariants.Broken(decided.State) is { } broken)
            {
                // What a command is about (a usage record) may have been written by another activation that this one has not heard of.
                if ((await ReadOn(state)).Version == state.Version) throw new BooksDoNotCloseException(Organization, broken);
                continue;
            }
            AppendOutcome outcome;
            try
            {
                outcome = await writer.Append(new StreamAppend(Organization, state.Version, decided.Stored, decided.State.WakeAt));
            }
            catch (JournalUnavailableException e) when (attempt < 2)
            {
                // Unknown whether it was written. The journal says: by the hash whether it is this very append, else by the command ids what was.
                unknown = e;
                published = null;
                if (await IsWritten(decided.Stored[^1]))
                {
                    Publish(decided);
                    await Answer(batch, decided, asked);
                    return;
                }
                await Ask(CommandIds(batch), asked);
                continue;
            }
            if (outcome == AppendOutcome.Appended)
            {
                Publish(decided);
                await Answer(batch, decided, asked);
                return;
            }
            // Another activation wrote: read what it did, and decide again on that.
            if (outcome == AppendOutcome.VersionConflict)
            {
                Interlocked.Increment(ref timesOvertaken);
                await ReadOn(state);
                asked.IsFresh = true;
            }
            await Ask(CommandIds(batch), asked);
        }
        throw unknown ?? new JournalUnavailableException($"Other writers of '{Organization}' were faster {MaxAttempts} times.");
    }

    /// <summary>Those whose callers were told meanwhile that it takes too long are not tried again.</summary>
    private bool AnyoneWaits(List<Request> batch)
    {
        if (!hasGivenUp) return true;
        lock (gate)
        {
            hasGivenUp = false;
            batch.RemoveAll(static r => r.IsGivenUp);
        }
        return batch.Count > 0;
    }

    /// <summary>What the journal was asked for and said. Made at the first question: most batches have none.</summary>
    private sealed class Asked
    {
        private Dictionary<string, RecordedCommand?>? answers;

        /// <summary>The state was the journal's at some time since the batch was taken: it may be refused by it.</summary>
        public bool IsFresh;

        public bool Knows(string commandId) => answers?.ContainsKey(commandId) == true;

        public RecordedCommand? Find(string commandId) => answers?.GetValueOrDefault(commandId);

        /// <param name="recorded">Null when it is not there.</param>
        public void Add(string commandId, RecordedCommand? recorded) => (answers ??= [])[commandId] = recorded;
    }

    /// <summary>A batch as decided on one state.</summary>
    private sealed class Decided(State state, int commands)
    {
        public State State = state;
        public readonly List<LedgerEvent> Events = new(commands);
        public readonly List<StoredEvent> Stored = new(commands);
        public readonly List<string> Unsure = [];

        /// <summary>A command came to nothing that is recorded: a refusal, or that all is as asked.</summary>
        public bool Refuses;

        public List<LedgerEvent> EventsFrom(int first, int count) => count == Events.Count ? Events : Events.GetRange(first, count);

        /// <summary>What the batch itself records; null for one command, which cannot repeat itself.</summary>
        public readonly Dictionary<string, RecordedCommand>? Commands = commands > 1 ? new(commands) : null;
    }

    private Decided Decide(List<Request> batch, State state, Asked asked)
    {
        var book = catalogs();
        var commands = 0;
        foreach (var request in batch) commands += request.Commands.Count;
        var decided = new Decided(state, commands);
        foreach (var request in batch)
        {
            var (before, events) = (decided.State, decided.Events.Count);
            for (var i = 0; i < request.Commands.Count; i++)
            {
                var outcome = Decide(request.Commands[i], decided, book, asked);
                request.Outcomes[i] = outcome;
                if (!request.Atomic || outcome.Rejection is null) continue;
                // All or none: what the others of this request came to is taken back, and the first rejection stands for all.
                TakeBack(decided, before, events);
                Array.Fill(request.Outcomes, outcome with { Rejection = Behind(outcome.Rejection, before, request.Commands, i) });
                break;
            }
        }
        return decided;
    }

    /// <summary>A denial of one of several is explained later from what was recorded, and these were not.</summary>
    private static Rejection Behind(Rejection rejection, State before, IReadOnlyList<Command> commands, int count) => rejection.Denial is not { } denial || count == 0
        ? rejection
        : rejection with { Denial = denial with { Version = before.Version, Behind = [.. commands.Take(count).OfType<RecordUsage>()] } };

    private CommandOutcome Decide(Command command, Decided decided, Catalogs book, Asked asked)
    {
        var recorded = Recorded(command.Id, decided, asked);
        var decision = Decider.Decide(decided.State, book, command, recorded);
        // What writes nothing has nothing that the journal's index could catch: neither a refusal nor an answer that all is as asked.
        if (decision.Events.IsEmpty && recorded is null)
        {
            decided.Refuses = true;
            if (!asked.Knows(command.Id) && !memory.IsComplete) decided.Unsure.Add(command.Id);
        }
        if (decision.Rejection is { } rejection) return new CommandOutcome(0, 0, 0, rejection);
        if (decision.Events.IsEmpty) return new CommandOutcome(0, 0, recorded?.Version ?? 0, null);

        var first = decided.Events.Count;
        foreach (var e in decision.Events)
        {
            decided.State = decided.State.Evolve(e);
            decided.Events.Add(e);
            // The command id stands on the first event of its append only.
            var isFirst = decided.Events.Count == first + 1;
            var previous = decided.Stored.Count == 0 ? lastHash : decided.Stored[^1].Hash;
            decided.Stored.Add(codec.Encode(Organization, e, isFirst ? command.Id : null, isFirst ? command.ContentHash : null, previous));
        }
        decided.Commands?.Add(command.Id, new RecordedCommand(decision.Events[0].Version, command.ContentHash));
        return new CommandOutcome(first, decision.Events.Length, 0, null);
    }

    private RecordedCommand? Recorded(string commandId, Decided decided, Asked asked)
    {
        if (decided.Commands is { } batch && batch.TryGetValue(commandId, out var inBatch)) return inBatch;
        if (memory.TryGet(commandId, out var remembered)) return remembered;
        return asked.Find(commandId);
    }

    private static void TakeBack(Decided decided, State before, int events)
    {
        decided.State = before;
        decided.Events.RemoveRange(events, decided.Events.Count - events);
        for (var i = decided.Stored.Count - 1; i >= events; i--)
            if (decided.Stored[i].CommandId is { } id) decided.Commands?.Remove(id);
        decided.Stored.RemoveRange(events, decided.Stored.Count - events);
    }

    private async ValueTask<bool> IsWritten(StoredEvent last) =>
        await journal.ReadStream(Organization, last.Version, 1) is [var found] && found.Hash.AsSpan().SequenceEqual(last.Hash);

    /// <summary>Asks for the ids that are not known, and, where the batch writes nothing that would find it out, whether this is the stream's last state: another activation may have written.</summary>
    private async ValueTask Ask(Decided decided, State state, Asked asked)
    {
        var reading = decided.Events.Count == 0 && !asked.IsFresh ? journal.ReadHead(Organization).AsTask() : null;
        if (decided.Unsure.Count > 0) await Ask(decided.Unsure, asked);
        if (reading is null) return;
        var head = await reading ?? StreamHead.None;
        // What the journal does not have (any more) is not so, whatever this session remembers.
        if (head.Version < state.Version || (head.Version == state.Version && !head.Hash.AsSpan().SequenceEqual(lastHash))) await ReadOn(null);
        else if (head.Version > state.Version) await ReadOn(state);
        asked.IsFresh = true;
    }

    private static List<string> CommandIds(List<Request> batch) => [.. batch.SelectMany(r => r.Commands).Select(c => c.Id)];

    private async ValueTask Ask(List<string> commandIds, Asked asked)
    {
        var found = await journal.FindCommands(Organization, commandIds);
        foreach (var id in commandIds) asked.Add(id, found.TryGetValue(id, out var recorded) ? recorded : null);
    }

    private void Publish(Decided decided)
    {
        foreach (var stored in decided.Stored)
            if (stored.CommandId is { } id) memory.Add(id, new RecordedCommand(stored.Version, stored.ContentHash!));
        lastHash = decided.Stored[^1].Hash;
        Publish(decided.State);
        schedule?.Published(decided.State, lastHash);
    }

    private async ValueTask Answer(List<Request> batch, Decided decided, Asked asked)
    {
        foreach (var request in batch)
        {
            var results = request.Results;
            for (var i = 0; i < results.Length; i++)
            {
                var outcome = request.Outcomes[i];
                if (outcome.Rejection is not null) results[i] = new CommandResult([], false, outcome.Rejection);
                else if (outcome.EventCount > 0) results[i] = new CommandResult(decided.EventsFrom(outcome.FirstEvent, outcome.EventCount), false, null);
                else if (outcome.RecordedAt > 0) results[i] = new CommandResult(await EventsOf(outcome.RecordedAt, decided), true, null);
                else results[i] = new CommandResult([], false, null);
            }
        }
    }

    /// <summary>What a command recorded: its first event carries its id, the ones behind it carry none.</summary>
    private async ValueTask<IReadOnlyList<LedgerEvent>> EventsOf(long firstVersion, Decided decided)
    {
        // A repeat within its own batch.
        if (decided.Stored.Count > 0 && firstVersion >= decided.Stored[0].Version)
        {
            var at = (int)(firstVersion - decided.Stored[0].Version);
            var end = at + 1;
            while (end < decided.Stored.Count && decided.Stored[end].CommandId is null) end++;
            return decided.EventsFrom(at, end - at);
        }
        var events = new List<LedgerEvent>();
        for (var from = firstVersion; ;)
        {
            var page = await journal.ReadStream(Organization, from, limit: 4);
            foreach (var stored in page)
            {
                if (stored.CommandId is not null && stored.Version > firstVersion) return events;
                events.Add(codec.Decode(stored));
            }
            if (page.Count < 4) return events;
            from = page[^1].Version + 1;
        }
    }

    /// <summary>The state to begin reading with when nothing is known: the snapshot's, or the empty one.</summary>
    private async ValueTask<State> Begin()
    {
        var found = snapshots is null ? null : await snapshots.Find(journal, Organization);
        memory.Clear(isComplete: found is null);
        lastHash = found?.Hash ?? HashChain.Start;
        return found?.State ?? State.Empty(Organization);
    }

    /// <summary>Folds what the journal has after this state, or after what there is to begin with, and publishes it.</summary>
    private async Task<State> ReadOn(State? from)
    {
        var state = from ?? await Begin();
        var begun = state.Version;
        while (true)
        {
            var page = await journal.ReadStream(Organization, state.Version + 1, PageSize);
            foreach (var stored in page)
            {
                if (stored.Version != state.Version + 1)
                    throw new InvalidDataException($"The stream of '{Organization}' goes from version {state.Version} to {stored.Version}.");
                state = state.Evolve(codec.Decode(stored));
                if (stored.CommandId is { } id) memory.Add(id, new RecordedCommand(stored.Version, stored.ContentHash!));
                lastHash = stored.Hash;
            }
            if (page.Count < PageSize) break;
        }
        Publish(state);
        if (from is null) schedule?.Loaded(begun, state, lastHash);
        return state;
    }

    private void Publish(State state)
    {
        Volatile.Write(ref lastKnown, state);
        Volatile.Write(ref published, state);
    }
}

/// <summary>A decision would have left the books open. Nothing was written; this is a defect of the ledger, never of the caller.</summary>
[GenerateSerializer, Alias("BooksDoNotCloseException")]
public sealed class BooksDoNotCloseException(string organization, string what) : Exception($"The books of '{organization}' would not close: {what}");
