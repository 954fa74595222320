using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Simulation.Audit;

namespace Billing.Tests.Simulation;

/// <summary>The auditor's book of reservations: those that are open, and the tokens set aside for them.</summary>
internal sealed class HoldBook(TokenBook tokens)
{
    private readonly SortedDictionary<long, HoldPlaced> open = [];

    /// <summary>The hold that was just settled with a use, until that use comes, and what was held of its feature before it ended.</summary>
    public (HoldPlaced Hold, IReadOnlyList<HoldPlaced> Open)? Settling { get; private set; }

    // ---- reading

    public IReadOnlyList<HoldPlaced> Of(string feature) => [.. open.Values.Where(h => h.Feature == feature)];

    public Instant? NextDue() => open.Count == 0 ? null : open.Values.Min(h => h.ExpiresAt);

    public void RequireNothingOverdue(Instant now)
    {
        foreach (var hold in open.Values) Require(now < hold.ExpiresAt, $"The hold ho_{hold.Version} expired at {hold.ExpiresAt} and is open at {now}.");
    }

    // ---- taking events

    public void Take(HoldPlaced e)
    {
        Require(e.Quantity > 0 && e.ExpiresAt >= e.RecordedAt + Duration.FromSeconds(1) && e.ExpiresAt <= e.RecordedAt + Duration.FromDays(7), $"Event {e.Version} holds {e.Quantity} until {e.ExpiresAt}.");
        tokens.Reserve(e, e.Grants ?? []);
        open[e.Version] = e;
    }

    public void Take(HoldEnded e)
    {
        var hold = open.Values.FirstOrDefault(h => $"ho_{h.Version}" == e.Hold);
        Require(hold is not null, $"Event {e.Version} ends {e.Hold}, which is not open.");
        Require(e.Outcome == HoldOutcome.Expired ? e.EffectiveAt == hold!.ExpiresAt && e.RecordedAt >= hold.ExpiresAt : e.RecordedAt < hold!.ExpiresAt, $"Event {e.Version} ends {e.Hold} as {e.Outcome} at {e.RecordedAt}; it expires at {hold.ExpiresAt}.");
        Require(e.Feature == hold.Feature && (e.Grants ?? []).SequenceEqual(hold.Grants ?? []), $"Event {e.Version} gives back other tokens than {e.Hold} held.");
        if (e.Outcome == HoldOutcome.Settled) Settling = (hold, Of(hold.Feature));
        tokens.Release(e, hold.Grants ?? []);
        open.Remove(hold.Version);
    }

    /// <summary>Only the event right behind settles; what follows belongs to something else.</summary>
    public void GoOn() => Settling = null;

    // ---- comparing

    public void Compare(State state)
    {
        Require(state.Holds.Length == open.Count, $"{open.Count} holds are open by the books and {state.Holds.Length} in the state.");
        foreach (var (stated, hold) in state.Holds.Zip(open.Values))
            Require(stated.Id == $"ho_{hold.Version}" && stated.Feature == hold.Feature && stated.Quantity == hold.Quantity && stated.Allowance == hold.Allowance && stated.ByTokens == hold.ByTokens
                && stated.Overage == hold.Overage && stated.ExpiresAt == hold.ExpiresAt && stated.Grants.SequenceEqual(hold.Grants ?? []), $"The hold ho_{hold.Version} is another in the state: {stated}");
    }
}
