using System.Text;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using static Billing.Tests.Simulation.Audit;

namespace Billing.Tests.Simulation;

/// <summary>An event as it was recorded, with what was known of the world then.</summary>
internal sealed record Entry(LedgerEvent Event, string? CommandId, Catalogs Catalogs, bool Enforced, bool EndsAppend);

/// <summary>A command as it was sent once, and what its caller heard: a result, or nothing.</summary>
/// <param name="AllOrNone">With others, of which none is recorded when one is refused.</param>
internal sealed record Receipt(Machine Machine, Command Command, CommandResult? Result, bool AllOrNone);

/// <summary>
/// One organization in a simulation: what was asked of it, what its callers heard, and its stream as the journal has it,
/// audited event by event.
/// </summary>
internal sealed class Tenant(string id, Dice dice, bool subscribesAtStripe)
{
    private readonly Auditor auditor = new(id);
    private readonly Dictionary<string, List<Command>> sent = [];
    private readonly Dictionary<string, int> recorded = [];
    private readonly HashSet<string> firstAnswers = [];
    private readonly List<StoredEvent> stored = [];
    private Machine? lastWriter;
    private int commands;

    public string Id { get; } = id;

    public StripeSide Stripe { get; } = new(id, dice.Fork(), subscribesAtStripe);

    public bool SubscribesAtStripe => subscribesAtStripe;

    public List<Entry> Events { get; } = [];

    /// <summary>The fold of the journal's events, by the ledger.</summary>
    public State State { get; private set; } = State.Empty(id);

    /// <summary>Sent before, oldest first.</summary>
    public List<Command> History { get; } = [];

    /// <summary>Commands whose callers heard nothing. They will ask again.</summary>
    public List<Command> Unanswered { get; } = [];

    public int NextCommand() => ++commands;

    /// <summary>Every usage record.</summary>
    public List<UsageRecorded> Records { get; } = [];

    /// <summary>What a hold is of, whether it is open or not.</summary>
    public string FeatureOf(string hold) => Events.Select(e => e.Event).OfType<HoldPlaced>().FirstOrDefault(h => $"ho_{h.Version}" == hold)?.Feature ?? "calls";

    /// <summary>Every event that moved or billed a gauge.</summary>
    public List<LedgerEvent> HistoryOf(string gauge) =>
        [.. Events.Select(e => e.Event).Where(e => e is LinesAdded || (e is UsageRecorded use && use.Feature == gauge) || (e is UsageVoided gone && gone.Feature == gauge))];

    public void Sending(Command command)
    {
        if (!sent.TryGetValue(command.Id, out var variants)) sent[command.Id] = variants = [];
        if (variants.Exists(v => v.ContentHash.AsSpan().SequenceEqual(command.ContentHash))) return;
        variants.Add(command);
        History.Add(command);
    }

    // ---- the journal

    /// <summary>Reads what the journal has got since, and audits it. Then looks whether what the callers heard is true.</summary>
    /// <param name="receipts">Every command that was sent since, in no particular order.</param>
    public async Task Settle(IJournal journal, Catalogs catalogs, IReadOnlyList<Receipt> receipts)
    {
        var (before, writer) = (stored.Count, lastWriter);
        while (await journal.ReadStream(Id, stored.Count + 1, 500) is { Count: > 0 } page) stored.AddRange(page);
        Command? of = null;
        for (var i = before; i < stored.Count; i++)
        {
            var e = stored[i];
            if (e.CommandId is { } commandId)
            {
                of = sent.GetValueOrDefault(commandId)?.Find(c => c.ContentHash.AsSpan().SequenceEqual(e.ContentHash));
                Require(of is not null, $"Event {e.Version} was written for a command {commandId} that was never sent so.");
                Require(recorded.TryAdd(commandId, i), $"Command {commandId} has two effects.");
                var writers = receipts.Where(r => r.Command.Id == commandId && (r.Result is null or { Events.Count: > 0 })).ToList();
                Require(writers.Count > 0, $"Event {e.Version} was written for {commandId}, which nobody asked for now, or which was refused.");
                lastWriter = writers.Select(w => w.Machine).Distinct().Count() == 1 ? writers[0].Machine : null;
            }
            Require(of is not null, $"Event {e.Version} belongs to no command.");
            Audit(e, of!, catalogs, endsAppend: i + 1 == stored.Count || stored[i + 1].CommandId is not null);
        }
        // A machine that does not know yet what another one wrote answers by what it knows.
        foreach (var receipt in receipts)
            RequireTrue(receipt, before, isBehind: receipt.Machine != writer, isShared: receipts.Any(r => r.Command.Id == receipt.Command.Id && r.Machine != receipt.Machine));
    }

    private void Audit(StoredEvent e, Command of, Catalogs catalogs, bool endsAppend)
    {
        var entry = new Entry(EventCodec.Default.Decode(e), e.CommandId, catalogs, of is not RecordUsage { Enforce: false }, endsAppend);
        Events.Add(entry);
        if (entry.Event is UsageRecorded record) Records.Add(record);
        State = State.Evolve(entry.Event);
        try
        {
            Require(entry.Event is not InvoiceCreated { Final: false } || of is CreateInvoice || !auditor.IsChargedByStripe, $"Event {e.Version} is an invoice made by itself, where Stripe charges what is due.");
            auditor.Take(entry.Event, entry.Catalogs, entry.Enforced);
            auditor.Compare(State);
            var broken = Invariants.Broken(State);
            Require(broken is null, $"The books do not close: {broken}");
            Require(State.DueAt == Decider.NextDue(State), $"Something is due at {Decider.NextDue(State)} and {State.DueAt} is written.");
            if (endsAppend) auditor.EndOfAppend(catalogs);
        }
        catch (AuditException finding)
        {
            throw new AuditException($"After event {e.Version}: {finding.Message}");
        }
    }

    // ---- the callers

    private void RequireTrue(Receipt receipt, int before, bool isBehind, bool isShared)
    {
        var (_, command, result, allOrNone) = receipt;
        var at = recorded.TryGetValue(command.Id, out var index) ? index : -1;
        if (result is null)
        {
            // It heard nothing, so either may be true; the same id finds out.
            Unanswered.Add(command);
            return;
        }
        Unanswered.RemoveAll(c => c.Id == command.Id && c.ContentHash.AsSpan().SequenceEqual(command.ContentHash));
        var isRecorded = at >= 0 && stored[at].ContentHash.AsSpan().SequenceEqual(command.ContentHash);
        if (result.Rejection is { } rejection)
        {
            Require(!isRecorded || at >= before || allOrNone || isBehind, $"{command.Id} was refused ({rejection.Code}) and is recorded as event {at + 1}.");
            Require(rejection.Kind != RejectionKind.CommandIdReused || at >= 0 || allOrNone, $"{command.Id} was refused as used before, and never was.");
            return;
        }
        if (result.Events.Count == 0)
        {
            Require(at < 0 || at >= before || isBehind, $"{command.Id} was answered as changing nothing and is recorded as event {at + 1}.");
            return;
        }
        Require(isRecorded, $"{command.Id} was acknowledged and is not in the journal.");
        // Two machines that write the same at the same instant write the same bytes: who hears nothing of its own append finds them there.
        Require(result.Replayed || (at >= before && (firstAnswers.Add(command.Id) || isShared)), $"{command.Id} was answered as new; it is event {at + 1}, recorded and answered before.");
        for (var i = 0; i < result.Events.Count; i++)
        {
            var e = result.Events[i];
            Require(at + i < stored.Count && e.Version == at + i + 1 && (i == 0 || stored[at + i].CommandId is null), $"{command.Id} was answered with event {e.Version}, which is not its own.");
            var encoded = EventCodec.Default.Encode(Id, e, stored[at + i].CommandId, stored[at + i].ContentHash, HashChain.Start);
            Require(encoded.Type == stored[at + i].Type && encoded.Body.AsSpan().SequenceEqual(stored[at + i].Body) && e.EffectiveAt == stored[at + i].EffectiveAt, $"{command.Id} was answered with another event {e.Version} than the journal's.");
        }
        var end = at + result.Events.Count;
        Require(end == stored.Count || stored[end].CommandId is not null, $"{command.Id} was answered with {result.Events.Count} of its events.");
    }

    // ---- for people

    /// <summary>The newest events, one line each.</summary>
    public string Tail(int count)
    {
        var text = new StringBuilder();
        foreach (var e in stored.TakeLast(count))
            text.Append($"  {e.Version,4} {e.RecordedAt} (effective {e.EffectiveAt}) {e.Type} {e.CommandId} {Encoding.UTF8.GetString(e.Body)}\n");
        return text.ToString();
    }
}
