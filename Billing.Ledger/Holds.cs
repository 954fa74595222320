using System.Collections.Immutable;
using NodaTime;

namespace Billing.Ledger;

/// <summary>What the live holds of one feature take from what is left for everyone else, in smallest units.</summary>
/// <param name="Quantity">All of it: rates count use, whatever covers it.</param>
/// <param name="Allowance">Of the running window's allowance.</param>
/// <param name="Overage">What would be charged for.</param>
internal readonly record struct HeldParts(long Quantity, long Allowance, long Overage);

/// <summary>
/// Reserving quantity for work in progress: placing, settling, releasing, and expiry by time. A hold is in no counter: it
/// counts against whatever window runs, and what is settled counts in the windows that run then. The tokens of a hold are
/// set aside in their grants, and stay its own when the grant expires or is refunded meanwhile.
/// </summary>
public static class Holds
{
    /// <summary>The most that may be open at once in one organization.</summary>
    public const int MaxOpen = 1_000;

    /// <summary>How many holds that ended are remembered in memory.</summary>
    public const int MaxRemembered = 100;

    public static readonly Duration MinExpiry = Duration.FromSeconds(1);
    public static readonly Duration MaxExpiry = Duration.FromDays(7);
    public static readonly Duration DefaultExpiry = Duration.FromMinutes(15);

    // ---- reading

    internal static HeldParts Of(State state, string feature)
    {
        var parts = default(HeldParts);
        foreach (var hold in state.Holds)
            if (hold.Feature == feature)
                parts = new HeldParts(parts.Quantity + hold.Quantity, parts.Allowance + hold.Allowance, parts.Overage + hold.Overage);
        return parts;
    }

    /// <summary>The state without the holds whose time is over by now, as it is whether or not that is written yet. Nothing else of it differs.</summary>
    public static State AsOf(State state, Instant now)
    {
        foreach (var hold in state.Holds)
            if (!hold.IsLive(now))
                foreach (var e in End(state, hold, HoldOutcome.Expired, null, hold.ExpiresAt, now))
                    state = state.Evolve(e with { Version = state.Version, RecordedAt = state.RecordedAt });
        return state;
    }

    internal static void Explain(State state, string feature, HeldParts held, Explanation why) =>
        why.Add("holds", "held", [.. state.Holds.Where(h => h.Feature == feature).Select(h => Ids.Version(h.Id, "ho_") ?? 0)],
            ("quantity", held.Quantity), ("allowance", held.Allowance), ("overage", held.Overage));

    // ---- deciding

    public static Decision Decide(State state, Catalogs catalogs, PlaceHold c, Instant now)
    {
        if (catalogs.Feature(c.Feature) is not { } feature) return Rejections.FeatureUnknown(c.Feature);
        if (feature.Meter is not { } meter) return Rejections.FeatureNotMetered(c.Feature);
        if (meter.Aggregation == Aggregation.Gauge) return Rejections.FeatureIsGauge(c.Feature);
        if (c.Quantity <= 0) return Rejections.QuantityNotPositive("quantity");
        if (Quantity.TryUnits(c.Quantity, meter.Decimals, meter.Unit, out var units) is { } wrong) return wrong;
        if (Usage.IsFull(state, c.Feature, units)) return Rejections.CounterFull(meter.Decimals);
        if (c.ExpiresIn < MinExpiry) return Rejections.HoldTooShort();
        if (c.ExpiresIn > MaxExpiry) return Rejections.HoldTooLong();
        if (state.Holds.Length >= MaxOpen) return Rejections.TooManyHolds();

        var entitlement = Entitlements.Evaluate(state, catalogs, feature, units, now);
        if (entitlement.Denial is { } denial) return Rejections.Denied(denial);
        var covered = entitlement.Covered;
        return new HoldPlaced(feature.Id, units, covered.Allowance, covered.ByTokens, covered.Overage, Tokens.BurnFor(state, covered, now),
            now + c.ExpiresIn, entitlement.Plan, entitlement.CatalogVersion, c.Metadata)
        {
            Version = state.Version + 1, EffectiveAt = now, RecordedAt = now,
        };
    }

    /// <summary>
    /// Up to what is held the use was decided when the hold was placed, and nothing that changed since can refuse it. More
    /// is checked like any use; when that is denied, the hold stays as it is.
    /// </summary>
    public static Decision Decide(State state, Catalogs catalogs, SettleHold c, Instant now)
    {
        var hold = Find(state, c.Hold);
        var ended = hold is null ? Ended(state, c.Hold) : null;
        if ((hold?.Feature ?? ended?.Feature) is not { } featureId) return Rejections.HoldUnknown(c.Hold);
        if (catalogs.Feature(featureId) is not { Meter: { } meter } feature) return Rejections.FeatureUnknown(featureId);
        if (c.Quantity < 0) return Rejections.QuantityNotPositive("quantity") with { Message = "A hold is settled with 0 or more: 0 records nothing." };
        if (Quantity.TryUnits(c.Quantity, meter.Decimals, meter.Unit, out var units) is { } wrong) return wrong;
        if (hold is null) return Rejections.HoldEnded(c.Hold, ended!.Value.Outcome, ended.Value.At);
        if (units == 0) return new Decision([.. End(state, hold, HoldOutcome.Settled, null, now, now)], null);

        var more = default(Coverage);
        if (units > hold.Quantity)
        {
            if (Usage.IsFull(state, featureId, units - hold.Quantity)) return Rejections.CounterFull(meter.Decimals);
            var entitlement = Entitlements.Evaluate(state, catalogs, feature, units - hold.Quantity, now);
            if (entitlement.Denial is { } denial) return Rejections.Denied(denial);
            more = entitlement.Covered;
        }
        var use = Settled(state, catalogs, feature, hold, units, more, c.Metadata ?? hold.Metadata, now);
        return new Decision([.. End(state, hold, HoldOutcome.Settled, use, now, now)], null);
    }

    public static Decision Decide(State state, ReleaseHold c, Instant now)
    {
        if (Find(state, c.Hold) is { } hold) return new Decision([.. End(state, hold, HoldOutcome.Released, null, now, now)], null);
        return Ended(state, c.Hold) is { } ended ? Rejections.HoldEnded(c.Hold, ended.Outcome, ended.At) : Rejections.HoldUnknown(c.Hold);
    }

    /// <summary>What was held covers the use in the order in which it was held; what is more, as it was decided now.</summary>
    private static UsageRecorded Settled(
        State state, Catalogs catalogs, Feature feature, Hold hold, long units, Coverage more, IReadOnlyDictionary<string, string>? metadata, Instant now)
    {
        var held = Math.Min(units, hold.Quantity);
        var allowance = Math.Min(held, hold.Allowance);
        var byTokens = Math.Min(held - allowance, hold.ByTokens);
        var overage = held - allowance - byTokens;

        // Whole tokens for the whole of it: what the held ones do not pay is what more of it costs.
        var heldTokens = hold.Grants.Sum(g => g.Tokens);
        var cost = Tokens.Cost(byTokens + more.ByTokens, feature);
        var fromHold = Math.Min(cost, heldTokens);
        var burned = Take(hold.Grants, fromHold);
        foreach (var (grant, tokens) in Tokens.Burn(state, Math.Min(cost - fromHold, more.TokensBurned), now)) burned = Add(burned, grant.Id, tokens);

        var force = Subscriptions.InForce(state, catalogs, now);
        var given = Overrides.Given(state, force.Plan, feature, now);
        var price = given is { PricesOverage: true } ? Usage.PriceOf(state, given, overage + more.Overage, now) : default;
        return new UsageRecorded(feature.Id, units, allowance + more.Allowance, byTokens + more.ByTokens, overage + more.Overage, price.UnitPrice,
            // What the plan would no longer allow was allowed when it was held.
            OverLimit: overage > 0 && given is not ({ PricesOverage: true } or { Mode: LimitMode.Soft }), null, burned.Count == 0 ? null : [.. burned],
            Usage.CountedAt(state, catalogs, feature, given, now, now), force.Plan?.Id, force.CatalogVersion, metadata)
        {
            Hold = hold.Id, Tiers = price.Tiers, BilledAt = price.IsPriced ? Usage.BilledAt(state, now) : null,
        };
    }

    /// <summary>
    /// The end of a hold, and what becomes of the tokens that it does not use: they pay the debt of a grant that was
    /// refunded meanwhile, they are written off with a grant that expired, and otherwise they can be burned again.
    /// </summary>
    private static List<LedgerEvent> End(State state, Hold hold, HoldOutcome outcome, UsageRecorded? use, Instant at, Instant now)
    {
        var events = new List<LedgerEvent>(2);
        Add(new HoldEnded(hold.Id, outcome) { Feature = hold.Feature, Grants = hold.Grants.IsEmpty ? null : [.. hold.Grants] });
        if (use is not null) Add(use);
        foreach (var part in hold.Grants)
            if (state.Grants.FirstOrDefault(g => g.Id == part.Grant) is { Debt: > 0, Remaining: > 0 } owing && Math.Min(owing.Debt, owing.Remaining) is var paid)
                Add(new TokensRevoked(owing.Id, paid, -paid, owing.Payment ?? ""));
        GrantUse[] expired = [.. state.Grants.Where(g => g.Remaining > 0 && g.ExpiresAt <= at && hold.Grants.Any(h => h.Grant == g.Id)).Select(g => new GrantUse(g.Id, g.Remaining))];
        if (expired.Length > 0) Add(new TokensExpired(expired));
        return events;

        void Add(LedgerEvent e)
        {
            e = e with { Version = state.Version + 1, EffectiveAt = at, RecordedAt = now };
            events.Add(e);
            state = state.Evolve(e);
        }
    }

    /// <summary>The holds that expire at this instant, with what becomes of their tokens.</summary>
    internal static IReadOnlyList<LedgerEvent> ExpireAt(State state, Instant at, Instant now)
    {
        List<LedgerEvent>? events = null;
        foreach (var hold in state.Holds)
        {
            if (hold.ExpiresAt != at) continue;
            var ended = End(state, hold, HoldOutcome.Expired, null, at, now);
            state = state.Evolve(ended);
            (events ??= []).AddRange(ended);
        }
        return events ?? (IReadOnlyList<LedgerEvent>)[];
    }

    private static Hold? Find(State state, string id)
    {
        foreach (var hold in state.Holds)
            if (hold.Id == id) return hold;
        return null;
    }

    private static EndedHold? Ended(State state, string id)
    {
        if (Ids.Version(id, "ho_") is not { } version) return null;
        foreach (var ended in state.EndedHolds)
            if (ended.Version == version) return ended;
        return null;
    }

    /// <summary>The first so many of these tokens: grants are held in the order in which they are burned.</summary>
    private static List<GrantUse> Take(ImmutableArray<GrantUse> held, long tokens)
    {
        var taken = new List<GrantUse>();
        foreach (var part in held)
        {
            if (tokens == 0) break;
            var from = Math.Min(tokens, part.Tokens);
            taken.Add(part with { Tokens = from });
            tokens -= from;
        }
        return taken;
    }

    private static List<GrantUse> Add(List<GrantUse> burned, string grant, long tokens)
    {
        var at = burned.FindIndex(b => b.Grant == grant);
        if (at < 0) burned.Add(new GrantUse(grant, tokens));
        else burned[at] = burned[at] with { Tokens = burned[at].Tokens + tokens };
        return burned;
    }

    // ---- evolving

    public static State Evolve(State state, HoldPlaced e)
    {
        var hold = new Hold(Ids.Hold(e.Version), e.Feature, e.Quantity, e.Allowance, e.ByTokens, e.Overage, [.. e.Grants ?? []], e.EffectiveAt, e.ExpiresAt, e.Metadata);
        state = state with { Holds = state.Holds.Add(hold), Grants = Tokens.Hold(state.Grants, e.Grants, 1) };
        return state with { DueAt = Decider.NextDue(state) };
    }

    public static State Evolve(State state, HoldEnded e)
    {
        if (Find(state, e.Hold) is not { } hold) return state;
        var remembered = state.EndedHolds;
        if (remembered.Length >= MaxRemembered) remembered = remembered.RemoveAt(0);
        state = state with
        {
            Holds = state.Holds.Remove(hold),
            EndedHolds = remembered.Add(new EndedHold(Ids.Version(hold.Id, "ho_") ?? 0, hold.Feature, e.Outcome, e.EffectiveAt)),
            Grants = Tokens.Hold(state.Grants, e.Grants, -1),
        };
        return state with { DueAt = Decider.NextDue(state) };
    }
}
