using System.Collections.Immutable;
using NodaTime;

namespace Billing.Ledger;

/// <summary>Prepaid tokens: granting, buying, burning, expiring, and money going back.</summary>
public static class Tokens
{
    public const int DefaultPriority = 50;
    public const int MaxPriority = 100;

    // ---- reading

    /// <summary>What can be burned now, over all grants.</summary>
    public static long Balance(State state, Instant now)
    {
        long balance = 0;
        foreach (var grant in state.Grants)
            if (grant.IsLive(now)) balance += grant.Remaining;
        return balance;
    }

    /// <summary>Tokens that so many smallest units cost, rounded up to whole tokens.</summary>
    public static long Cost(long units, Feature feature)
    {
        if (feature.Meter!.Decimals == 0) return units * feature.TokenCost;
        var scale = Quantity.Scale(feature.Meter.Decimals);
        return (long)(((Int128)units * feature.TokenCost + scale - 1) / scale);
    }

    /// <summary>Smallest units that so many tokens pay for, rounded down.</summary>
    public static long Affords(long tokens, Feature feature) =>
        (long)Int128.Min((Int128)tokens * Quantity.Scale(feature.Meter!.Decimals) / feature.TokenCost, Quantity.MaxUnits);

    /// <summary>The tokens that are to be taken back of a purchase when so much of its money went back: pro rata, rounded down.</summary>
    /// <param name="returned">Minor units, cumulative.</param>
    public static long Owed(TokenGrant grant, long returned) =>
        grant.Amount <= 0 ? 0 : (long)((Int128)grant.Granted * Math.Clamp(returned, 0, grant.Amount) / grant.Amount);

    /// <summary>Which grants so many tokens are taken from: smaller priority first, then sooner expiry, then older. The grants are kept in that order.</summary>
    public static IEnumerable<(TokenGrant Grant, long Tokens)> Burn(State state, long tokens, Instant now)
    {
        foreach (var grant in state.Grants)
        {
            if (tokens == 0) yield break;
            if (!grant.IsLive(now)) continue;
            var taken = Math.Min(tokens, grant.Remaining);
            tokens -= taken;
            yield return (grant, taken);
        }
    }

    /// <summary>As <see cref="Burn"/>, for what a quantity is covered by; null when no token is burned.</summary>
    internal static GrantUse[]? BurnFor(State state, Coverage covered, Instant now) =>
        covered.TokensBurned == 0 ? null : [.. Burn(state, covered.TokensBurned, now).Select(b => new GrantUse(b.Grant.Id, b.Tokens))];

    /// <summary>The version of the event that made this grant.</summary>
    public static long VersionOf(TokenGrant grant) => long.Parse(grant.Id.AsSpan(3));

    // ---- deciding

    public static Decision Decide(State state, GrantTokens c, Instant now)
    {
        if (c.Tokens <= 0) return Rejections.QuantityNotPositive("tokens");
        if (c.Tokens > Quantity.MaxUnits || state.Grants.Sum(g => g.Granted) > Quantity.MaxCounted - c.Tokens)
            return Rejections.QuantityTooLarge(0) with { Field = "tokens" };
        if (c.ExpiresAt is { } end && end <= now) return Rejections.ExpiryInPast();
        return new TokensGranted(c.Kind, c.Tokens, c.Priority, c.ExpiresAt, c.Reason) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };
    }

    public static Decision Decide(State state, Catalogs catalogs, PurchaseTokens c, Instant now)
    {
        if (catalogs.TokenPackage(c.Package) is not { } package) return Rejections.TokenPackageUnknown(c.Package);
        // One payment buys once, whoever tells of it under whatever id.
        if (state.Grants.Any(g => g.Payment == c.Payment))
            return state.Alerts.TopUp?.Pending?.Id == c.TopUp && TopUps.Paid(state, c.TopUp, c.HappenedAt, now) is { } answered ? answered : Decision.AlreadyDone;
        var purchased = new TokensPurchased(package.Id, package.Tokens, DefaultPriority, c.Payment, c.Amount, c.Currency)
        {
            Version = state.Version + 1, EffectiveAt = c.HappenedAt, RecordedAt = now,
        };
        return TopUps.Paid(state, c.TopUp, c.HappenedAt, now) is { } paid ? new Decision([purchased, paid with { Version = state.Version + 2 }], null) : purchased;
    }

    public static Decision Decide(State state, DatePurchase c, Instant now)
    {
        if (state.Grants.FirstOrDefault(g => g.Payment == c.Payment) is not { } grant || grant.GrantedAt <= c.HappenedAt) return Decision.AlreadyDone;
        return new PurchaseDated(grant.Id, c.Payment) { Version = state.Version + 1, EffectiveAt = c.HappenedAt, RecordedAt = now };
    }

    /// <summary>
    /// What is owed back is pro rata of the money, rounded down. It is taken from what is left of the grant; what was
    /// burned already becomes debt. When money comes back (a dispute is won), debt goes first, then tokens return.
    /// </summary>
    public static Decision Decide(State state, ReturnMoney c, Instant now)
    {
        var grant = state.Grants.FirstOrDefault(g => g.Payment == c.Payment);
        if (grant is null || grant.Amount <= 0) return Decision.AlreadyDone;
        var change = Owed(grant, c.ReturnedTotal) - grant.Revoked - grant.Debt;
        if (change == 0) return Decision.AlreadyDone;
        var revoked = change > 0 ? Math.Min(grant.Remaining, change) : Math.Max(-grant.Revoked, change + Math.Min(grant.Debt, -change));
        return new TokensRevoked(grant.Id, revoked, change - revoked, c.Payment) { Version = state.Version + 1, EffectiveAt = now, RecordedAt = now };
    }

    /// <summary>The event that writes off the grants that expired at this instant, or null when none did.</summary>
    internal static TokensExpired? ExpireAt(State state, Instant at, Instant now)
    {
        GrantUse[] expired = [.. state.Grants.Where(g => g.Remaining > 0 && g.ExpiresAt == at).Select(g => new GrantUse(g.Id, g.Remaining))];
        return expired.Length == 0 ? null : new TokensExpired(expired) { Version = state.Version + 1, EffectiveAt = at, RecordedAt = now };
    }

    // ---- evolving

    public static State Evolve(State state, TokensPurchased e) => Add(Alerts.TokensCame(state), new TokenGrant(
        Ids.Grant(e.Version), GrantKind.Purchased, e.Priority, e.EffectiveAt, null, e.Tokens, 0, 0, 0, 0, e.Tokens, 0, e.Package, e.Payment, e.Amount, e.Currency));

    /// <summary>The grant moves to its place in the order of burning; what was burned stays as it was.</summary>
    public static State Evolve(State state, PurchaseDated e) => state.Grants.FirstOrDefault(g => g.Id == e.Grant) is { } grant
        ? Add(state with { Grants = state.Grants.Remove(grant) }, grant with { GrantedAt = e.EffectiveAt })
        : state;

    public static State Evolve(State state, TokensGranted e) => Add(Alerts.TokensCame(state), new TokenGrant(
        Ids.Grant(e.Version), e.Kind, e.Priority, e.EffectiveAt, e.ExpiresAt, e.Tokens, 0, 0, 0, 0, e.Tokens, 0, null, null, 0, null));

    public static State Evolve(State state, TokensRevoked e)
    {
        state = Change(state, e.Grant, g => g with { Revoked = g.Revoked + e.Revoked, Remaining = g.Remaining - e.Revoked, Debt = g.Debt + e.Debt });
        return state with { DueAt = Decider.NextDue(state) };
    }

    public static State Evolve(State state, TokensExpired e)
    {
        foreach (var part in e.Grants)
            state = Change(state, part.Grant, g => g with { Expired = g.Expired + part.Tokens, Remaining = g.Remaining - part.Tokens });
        return state with { DueAt = Decider.NextDue(state) };
    }

    internal static ImmutableArray<TokenGrant> Consume(ImmutableArray<TokenGrant> grants, GrantUse[] burned)
    {
        var changed = grants.ToArray();
        foreach (var part in burned)
            for (var i = 0; i < changed.Length; i++)
                if (changed[i].Id == part.Grant)
                    changed[i] = changed[i] with { Consumed = changed[i].Consumed + part.Tokens, Remaining = changed[i].Remaining - part.Tokens };
        return ImmutableArray.Create(changed);
    }

    internal static ImmutableArray<TokenGrant> Return(ImmutableArray<TokenGrant> grants, TokenReturn[]? returned)
    {
        foreach (var part in returned ?? [])
            for (var i = 0; i < grants.Length; i++)
                if (grants[i].Id == part.Grant)
                    grants = grants.SetItem(i, grants[i] with
                    {
                        Consumed = grants[i].Consumed - part.Remaining - part.Expired - part.Revoked,
                        Remaining = grants[i].Remaining + part.Remaining,
                        Expired = grants[i].Expired + part.Expired,
                        Revoked = grants[i].Revoked + part.Revoked,
                        Debt = grants[i].Debt - part.Revoked,
                    });
        return grants;
    }

    /// <summary>Sets tokens aside for a hold, or gives them back.</summary>
    /// <param name="sign">1 holds, −1 gives back.</param>
    internal static ImmutableArray<TokenGrant> Hold(ImmutableArray<TokenGrant> grants, GrantUse[]? held, int sign)
    {
        if (held is null) return grants;
        var changed = grants.ToArray();
        foreach (var part in held)
            for (var i = 0; i < changed.Length; i++)
                if (changed[i].Id == part.Grant)
                    changed[i] = changed[i] with { Held = changed[i].Held + sign * part.Tokens, Remaining = changed[i].Remaining - sign * part.Tokens };
        return ImmutableArray.Create(changed);
    }

    private static State Add(State state, TokenGrant grant)
    {
        var at = 0;
        while (at < state.Grants.Length && BurnOrder(state.Grants[at], grant) <= 0) at++;
        state = state with { Grants = state.Grants.Insert(at, grant) };
        return grant.ExpiresAt is null && state.Alerts.TopUp is null ? state : state with { DueAt = Decider.NextDue(state) };
    }

    private static State Change(State state, string id, Func<TokenGrant, TokenGrant> change) =>
        state with { Grants = [.. state.Grants.Select(g => g.Id == id ? change(g) : g)] };

    private static int BurnOrder(TokenGrant a, TokenGrant b)
    {
        var order = a.Priority.CompareTo(b.Priority);
        if (order == 0) order = (a.ExpiresAt ?? Bounds.Never).CompareTo(b.ExpiresAt ?? Bounds.Never);
        if (order == 0) order = a.GrantedAt.CompareTo(b.GrantedAt);
        // Stripe's times are whole seconds: payments of the same second go by their ids, in whatever order they are heard of.
        return order != 0 ? order : string.CompareOrdinal(a.Payment, b.Payment);
    }
}
