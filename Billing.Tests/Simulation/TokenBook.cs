using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Simulation.Audit;

namespace Billing.Tests.Simulation;

/// <summary>
/// The auditor's book of tokens: every lot that came in, and where each of its tokens went. What remains is what the
/// other numbers leave; it is never written down.
/// </summary>
internal sealed class TokenBook
{
    private sealed class Lot
    {
        public required string Id;
        public required GrantKind Kind;
        public required long Version;
        public required int Priority;
        public required Instant Since;
        public required Instant? Until;
        public required long Granted;
        public string? Payment;
        public long Amount;
        public long Consumed, Held, Expired, Revoked, Debt;

        public long Left => Granted - Consumed - Held - Expired - Revoked;

        public bool IsLive(Instant now) => Until is null || now < Until;
    }

    private readonly Dictionary<string, Lot> lots = [];
    private readonly HashSet<string> payments = [];
    private List<Lot>? inOrder;

    // ---- reading

    /// <summary>What can be burned at this time.</summary>
    /// <param name="besides">Tokens that are there and do not count.</param>
    public long Balance(Instant now, IReadOnlyList<GrantUse>? besides = null)
    {
        long balance = 0;
        foreach (var lot in lots.Values)
            if (lot.IsLive(now)) balance += lot.Left - (besides?.Where(b => b.Grant == lot.Id).Sum(b => b.Tokens) ?? 0);
        return balance;
    }

    /// <summary>Smaller priority first, then what expires sooner, then what came earlier.</summary>
    private List<Lot> InOrder => inOrder ??=
    [
        .. lots.Values.OrderBy(l => l.Priority).ThenBy(l => l.Until is null).ThenBy(l => l.Until ?? default).ThenBy(l => l.Since)
            .ThenBy(l => l.Payment, StringComparer.Ordinal).ThenBy(l => l.Version),
    ];

    /// <summary>Which grants so many tokens are taken from now: the first of the order, each to its end before the next.</summary>
    /// <param name="besides">Tokens that are there and not to be taken.</param>
    public List<GrantUse> Taken(LedgerEvent e, long tokens, IReadOnlyList<GrantUse>? besides = null)
    {
        var taken = new List<GrantUse>();
        foreach (var lot in InOrder)
        {
            if (tokens == 0) break;
            if (!lot.IsLive(e.RecordedAt)) continue;
            var left = lot.Left - (besides?.Where(b => b.Grant == lot.Id).Sum(b => b.Tokens) ?? 0);
            if (left <= 0) continue;
            taken.Add(new GrantUse(lot.Id, Math.Min(tokens, left)));
            tokens -= taken[^1].Tokens;
        }
        Require(tokens == 0, $"Event {e.Version} takes {tokens} tokens that are not there.");
        return taken;
    }

    /// <summary>After an append nothing that has run out is still there, and no debt stands beside tokens that could pay it.</summary>
    public void RequireNothingOverdue(Instant now)
    {
        foreach (var lot in lots.Values)
        {
            Require(lot.IsLive(now) || lot.Left == 0, $"{lot.Id} expired at {lot.Until}, and {lot.Left} tokens of it are left at {now}.");
            Require(lot.Debt == 0 || lot.Left == 0, $"{lot.Id} owes {lot.Debt} and has {lot.Left} left.");
        }
    }

    public Instant? NextDue() => lots.Values.Where(l => l.Left > 0).Min(l => l.Until);

    // ---- taking events

    public void Take(TokensPurchased e)
    {
        Require(payments.Add(e.Payment), $"Payment {e.Payment} gave tokens before.");
        Add(new Lot { Id = $"tg_{e.Version}", Kind = GrantKind.Purchased, Version = e.Version, Priority = e.Priority, Since = e.EffectiveAt, Until = null, Granted = e.Tokens, Payment = e.Payment, Amount = e.Amount });
    }

    public void Take(TokensGranted e) =>
        Add(new Lot { Id = $"tg_{e.Version}", Kind = e.Kind, Version = e.Version, Priority = e.Priority, Since = e.EffectiveAt, Until = e.ExpiresAt, Granted = e.Tokens });

    public void Take(PurchaseDated e)
    {
        var lot = Find(e, e.Grant);
        Require(e.EffectiveAt < lot.Since && lot.Payment == e.Payment, $"Event {e.Version} dates {lot.Id} to {e.EffectiveAt}, which is not before {lot.Since}.");
        lot.Since = e.EffectiveAt;
        inOrder = null;
    }

    public void Take(TokensRevoked e)
    {
        var lot = Find(e, e.Grant);
        Require((lot.Payment ?? "") == e.Payment, $"Event {e.Version} revokes tokens that another payment bought.");
        Require(e.Revoked <= lot.Left, $"Event {e.Version} revokes {e.Revoked} of {lot.Left} tokens.");
        lot.Revoked += e.Revoked;
        lot.Debt += e.Debt;
        // Only what is burned or held cannot be taken, and nobody owes more than was bought.
        Require(e.Debt <= 0 || lot.Left == 0, $"Event {e.Version} makes a debt although {lot.Left} tokens are left.");
        Require(lot.Revoked + lot.Debt <= lot.Granted, $"After event {e.Version} {lot.Revoked} revoked and {lot.Debt} owed are more than {lot.Granted}.");
    }

    public void Take(TokensExpired e)
    {
        foreach (var part in e.Grants)
        {
            var lot = Find(e, part.Grant);
            // Later where they were held: they expire as they come back.
            Require(lot.Until <= e.EffectiveAt && part.Tokens == lot.Left && part.Tokens > 0, $"Event {e.Version} expires {part.Tokens} tokens at {e.EffectiveAt} of {lot.Id}, which has {lot.Left} until {lot.Until}.");
            lot.Expired += part.Tokens;
        }
    }

    public void Consume(LedgerEvent e, GrantUse[] grants)
    {
        foreach (var part in grants) Find(e, part.Grant).Consumed += part.Tokens;
    }

    public void Reserve(LedgerEvent e, GrantUse[] grants)
    {
        foreach (var part in grants) Find(e, part.Grant).Held += part.Tokens;
    }

    public void Release(LedgerEvent e, IReadOnlyList<GrantUse> grants)
    {
        foreach (var part in grants) Find(e, part.Grant).Held -= part.Tokens;
    }

    /// <summary>Burned tokens come back: they pay what the grant owes, stay expired with it, or can be burned again.</summary>
    public void Return(LedgerEvent e, TokenReturn part)
    {
        var lot = Find(e, part.Grant);
        Require(part.Remaining >= 0 && part.Expired >= 0 && part.Revoked >= 0 && part.Revoked <= lot.Debt, $"Event {e.Version} gives back {part}; {lot.Id} owes {lot.Debt}.");
        Require(part.Expired == 0 || !lot.IsLive(e.RecordedAt), $"Event {e.Version} expires tokens of {lot.Id}, which runs until {lot.Until}.");
        lot.Consumed -= part.Remaining + part.Expired + part.Revoked;
        lot.Expired += part.Expired;
        lot.Revoked += part.Revoked;
        lot.Debt -= part.Revoked;
    }

    private void Add(Lot lot)
    {
        Require(lot.Granted > 0, $"{lot.Id} has {lot.Granted} tokens.");
        Require(lots.TryAdd(lot.Id, lot), $"There are two grants {lot.Id}.");
        inOrder = null;
    }

    private Lot Find(LedgerEvent e, string id)
    {
        Require(lots.ContainsKey(id), $"Event {e.Version} is about a grant {id} that was never given.");
        return lots[id];
    }

    // ---- comparing

    public void Compare(State state)
    {
        Require(state.Grants.Length == lots.Count, $"The state has {state.Grants.Length} grants and the books {lots.Count}.");
        for (var i = 0; i < lots.Count; i++)
        {
            var (stated, lot) = (state.Grants[i], InOrder[i]);
            Require(lot.Consumed >= 0 && lot.Held >= 0 && lot.Expired >= 0 && lot.Revoked >= 0 && lot.Debt >= 0 && lot.Left >= 0,
                $"{lot.Id} has a number below zero: consumed {lot.Consumed}, held {lot.Held}, expired {lot.Expired}, revoked {lot.Revoked}, left {lot.Left}.");
            Require(stated.Id == lot.Id, $"The grant to burn at place {i} is {lot.Id} by the books and {stated.Id} in the state.");
            Require(stated.Granted == lot.Granted && stated.Consumed == lot.Consumed && stated.Held == lot.Held && stated.Expired == lot.Expired && stated.Revoked == lot.Revoked
                && stated.Remaining == lot.Left && stated.Debt == lot.Debt,
                $"{lot.Id}: by the books granted {lot.Granted} = consumed {lot.Consumed} + held {lot.Held} + expired {lot.Expired} + revoked {lot.Revoked} + left {lot.Left}, debt {lot.Debt}; in the state {stated}");
            Require(stated.Kind == lot.Kind && stated.Priority == lot.Priority && stated.GrantedAt == lot.Since && stated.ExpiresAt == lot.Until && stated.Payment == lot.Payment && stated.Amount == lot.Amount,
                $"{lot.Id} is another in the state: {stated}");
        }
    }
}
