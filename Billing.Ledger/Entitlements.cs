using System.Collections.Immutable;
using NodaTime;

namespace Billing.Ledger;

/// <summary>The answer for one feature now, and for one quantity of it. Quantities are smallest units.</summary>
public sealed record Entitlement
{
    public required Feature Feature { get; init; }
    public required string? Plan { get; init; }
    public required int CatalogVersion { get; init; }

    /// <summary>Whether the quantity asked for would be recorded.</summary>
    public bool HasAccess => Denial is null;

    /// <summary>The value of a static feature.</summary>
    public string? Value { get; init; }

    public Window? Window { get; init; }
    public Instant? ResetsAt { get; init; }

    /// <summary>Null is unlimited (or not metered).</summary>
    public long? Limit { get; init; }

    public long Used { get; init; }
    public long Held { get; init; }

    /// <summary>What is left of the allowance; null is unlimited.</summary>
    public long? Remaining { get; init; }

    /// <summary>Tokens that this feature may burn.</summary>
    public long Tokens { get; init; }

    /// <summary>Use past the allowance in the running window that no token covered.</summary>
    public long Overage { get; init; }

    /// <summary>The rate limit that is nearest to being reached; null when the plan sets none.</summary>
    public RateState? Rate { get; init; }

    /// <summary>The highest threshold, in per cent of the limit, that is reached; 0 when none is.</summary>
    public int Warning { get; init; }

    /// <summary>Why not, and the way out; null when there is access.</summary>
    public Denial? Denial { get; init; }

    /// <summary>What the quantity would be covered by.</summary>
    public Coverage Covered { get; init; }

    public int Decimals => Feature.Meter?.Decimals ?? 0;

    /// <summary>What gives it: the plan, or an override; null when neither does.</summary>
    internal PlanFeature? Given { get; init; }
}

/// <summary>What covers a quantity: <c>Allowance + ByTokens + Overage</c> is the quantity.</summary>
/// <param name="TokensBurned">Tokens that <paramref name="ByTokens"/> units cost.</param>
/// <param name="Price">Of the overage.</param>
/// <param name="OverLimit">Recorded although a limit was reached, because it had happened already.</param>
public readonly record struct Coverage(long Allowance, long ByTokens, long TokensBurned, long Overage, OveragePrice Price, bool OverLimit);

/// <summary>A rate limit in its running window.</summary>
/// <param name="Remaining">Smallest units that are left until <paramref name="Until"/>.</param>
public sealed record RateState(RateLimit Limit, long Remaining, Instant Until);

/// <summary>An entitlement answer of "no".</summary>
/// <param name="Status">The HTTP status, as the catalog sets it.</param>
/// <param name="Message">Can be shown to a person.</param>
/// <param name="UpgradeTo">Plans that would give more, in the catalog's order.</param>
/// <param name="TokenPackages">Token packages that would help.</param>
[GenerateSerializer, Alias("Denial"), Immutable]
public sealed record Denial(
    RejectionKind Kind, int Status, string Message, Feature Feature, long Requested, long? Remaining, Instant At, long Version,
    ImmutableArray<string> UpgradeTo, ImmutableArray<string> TokenPackages, Instant? ResetsAt)
{
    public string Code => Spelling.Of(Kind);

    /// <summary>The catalog's version then.</summary>
    [Id(0)] public int CatalogVersion { get; init; }

    /// <summary>When the use happened that was denied; null when it was then.</summary>
    [Id(1)] public Instant? UsedAt { get; init; }

    /// <summary>What went before it in a request of which all is recorded or none: <see cref="Version"/> is before these.</summary>
    [Id(2)] public ImmutableArray<RecordUsage> Behind { get; init; } = [];
}

/// <summary>THE QUOTA CHECK. One pure function answers checks and decides consumes, so that they can never disagree.</summary>
/// <remarks>Order: organization open, subscription status (with grace), feature, rate window, allowance, tokens, overage, denial.</remarks>
public static class Entitlements
{
    /// <param name="units">Smallest units asked for; null is one whole unit. Gauges: the increase; a decrease is always allowed.</param>
    /// <param name="at">The time that the use counts at; null is now. It lies in the running window.</param>
    /// <param name="enforce">False records past any limit; the coverage says so.</param>
    /// <param name="why">Where to write the explanation, when one is wanted.</param>
    public static Entitlement Evaluate(
        State state, Catalogs catalogs, Feature feature, long? units, Instant now, Instant? at = null, bool enforce = true, Explanation? why = null)
    {
        state = KeptSubscriptions.AsOf(state, catalogs, now);
        if (!state.Holds.IsEmpty) state = Holds.AsOf(state, now);
        var ask = new Ask(state, catalogs, feature, units ?? Quantity.Scale(feature.Meter?.Decimals ?? 0), now, at ?? now, enforce, why);
        var force = Subscriptions.InForce(state, catalogs, now);
        var given = Overrides.Given(state, force.Plan, feature, now);

        if (state.IsClosed)
        {
            why?.Add("organization_open", "no", ("closed_at", state.Account.ClosedAt));
            return Blank() with { Denial = Denials.Closed(ask) };
        }
        why?.Add("organization_open", "yes", ("opened_at", state.Account.OpenedAt));
        force.Explain(why);
        if (why is not null) Overrides.Explain(state, feature, now, why);

        if (given is not { On: true })
        {
            why?.Add("feature", "not_in_plan", ("plan", force.Plan?.Id), ("feature", feature.Id));
            var denial = force.WouldGive(feature) ? Denials.SubscriptionInactive(ask, force) : Denials.NotInPlan(ask);
            // A gauge may go down whatever the plan: what is given back must not stay counted.
            if (feature.Meter?.Aggregation == Aggregation.Gauge && ask.Units < 0) return Blank() with { Covered = new Coverage(ask.Units, 0, 0, 0, default, false) };
            // What already happened is recorded even so; nothing of it is included and nothing priced.
            if (!enforce && feature.Meter is not null) return Blank() with { Covered = new Coverage(0, 0, 0, ask.Units, default, true) };
            return Blank() with { Denial = denial };
        }
        why?.Add("feature", "in_plan", ("plan", force.Plan!.Id), ("value", given.Value));
        if (feature.Meter is null) return Blank() with { Value = given.Value };
        return given.IsGauge ? EvaluateGauge(ask, Blank(), given) : EvaluateSum(ask, force, given);

        Entitlement Blank() => new() { Feature = feature, Plan = force.Plan?.Id, CatalogVersion = force.CatalogVersion, Given = given };
    }

    private static Entitlement EvaluateSum(in Ask ask, in PlanInForce force, PlanFeature given)
    {
        var (state, now) = (ask.State, ask.Now);
        var use = state.Use(given.Feature.Id);
        var counter = use?.Running(given.Window, now);
        var bounds = counter is null ? ask.Bounds(given.Window) : new Bounds(counter.Start, counter.End);
        var limit = Limit(state, given, now);
        var used = counter?.Used ?? 0;
        var held = state.Holds.IsEmpty ? default : Holds.Of(state, given.Feature.Id);
        var tokens = given.BurnsTokens ? Tokens.Balance(state, now) : 0;

        var covered = Cover(ask, given, limit, used + held.Allowance, tokens);
        var rate = TightestRate(ask, given, use, held.Quantity);
        if (ask.Why is not null && held.Quantity > 0) Holds.Explain(state, given.Feature.Id, held, ask.Why);
        ask.Why?.Add("allowance", covered.Allowance == ask.Units ? "covers_all" : covered.Allowance > 0 ? "covers_part" : "covers_nothing",
            counter, ("limit", limit), ("used", used), ("held", held.Allowance), ("window", Spelling.Of(given.Window)), ("from", bounds.Start), ("to", bounds.End),
            ("requested", ask.Units), ("covered", covered.Allowance));
        if (given.BurnsTokens) ExplainTokens(ask, covered, tokens);
        ExplainOverage(ask, covered);
        var entitlement = new Entitlement
        {
            Feature = ask.Feature,
            Plan = force.Plan?.Id,
            CatalogVersion = force.CatalogVersion,
            Given = given,
            Window = given.Window,
            ResetsAt = bounds.End == Bounds.Never ? null : bounds.End,
            Limit = limit,
            Used = used,
            Held = held.Quantity,
            Remaining = limit is { } most ? Math.Max(0, most - used - held.Allowance) : null,
            Tokens = tokens,
            Overage = counter?.Overage ?? 0,
            Rate = rate,
            Warning = Alerts.Reached(ask.Feature.WarnAt, limit, used + held.Quantity),
            Covered = covered,
        };
        if (rate is not null && ask.Enforce && ask.Units > rate.Remaining)
            return entitlement with { Covered = default, Denial = Denials.RateLimited(ask, given, rate.Limit, rate.Until) };
        if (covered.Allowance + covered.ByTokens + covered.Overage < ask.Units)
            return entitlement with { Covered = default, Denial = Denials.QuotaExceeded(ask, given, entitlement) };
        if (covered.Price.IsPriced && ask.Enforce && SpendCaps.Reached(ask, given, covered.Overage) is { } cap)
            return entitlement with { Covered = default, Denial = Denials.SpendCapReached(ask, given, entitlement, cap) };
        ask.Why?.Add("decision", "allowed");
        return entitlement;
    }

    /// <summary>How much of a feature the organization gets in the running window, in smallest units: by an override, else by its plan; null is unlimited.</summary>
    /// <param name="given">See <see cref="Overrides.Given"/>.</param>
    public static long? Limit(State state, PlanFeature given, Instant now) =>
        state.Overrides.IsEmpty || Overrides.Live(state, given.Feature.Id, now) is null ? Subscriptions.ProratedLimit(state, given, now) ?? given.Allowance : given.Allowance;

    /// <summary>Allowance first, then tokens, then overage, as far as the limit mode goes. All or nothing is the caller's rule.</summary>
    internal static Coverage Cover(in Ask ask, PlanFeature given, long? limit, long taken, long tokens)
    {
        var allowance = limit is { } most ? Math.Min(ask.Units, Math.Max(0, most - taken)) : ask.Units;
        var rest = ask.Units - allowance;
        if (rest == 0) return new Coverage(allowance, 0, 0, 0, default, false);

        var byTokens = given.BurnsTokens ? Math.Min(rest, Tokens.Affords(tokens, given.Feature)) : 0;
        rest -= byTokens;
        var burned = Tokens.Cost(byTokens, given.Feature);
        var allowed = given.PricesOverage || given.Mode == LimitMode.Soft;
        if (rest == 0 || !(allowed || !ask.Enforce)) return new Coverage(allowance, byTokens, burned, 0, default, false);
        return new Coverage(allowance, byTokens, burned, rest, Usage.PriceOf(ask.State, given, rest, ask.Now), !allowed);
    }

    private static RateState? TightestRate(in Ask ask, PlanFeature given, FeatureUse? use, long held)
    {
        RateState? tightest = null;
        foreach (var rate in given.RateLimits)
        {
            var counter = use?.Running(rate.Window, ask.Now);
            var bounds = counter is null ? ask.Bounds(rate.Window) : new Bounds(counter.Start, counter.End);
            // Use that happened before this window began is not part of its rate.
            if (ask.At < bounds.Start) continue;
            var used = counter?.Used ?? 0;
            var state = new RateState(rate, Math.Max(0, rate.Limit - used - held), bounds.End);
            ask.Why?.Add("rate", ask.Units > state.Remaining ? "reached" : "free", counter,
                ("limit", rate.Limit), ("used", used), ("held", held), ("window", Spelling.Of(rate.Window)), ("until", state.Until));
            // Of several that are reached, the one that is reached for longest: waiting for another would not help.
            var reached = ask.Units > state.Remaining;
            var wasReached = tightest is not null && ask.Units > tightest.Remaining;
            if (tightest is null || (reached && wasReached ? state.Until > tightest.Until : state.Remaining < tightest.Remaining)) tightest = state;
        }
        return tightest;
    }

    private static Entitlement EvaluateGauge(Ask ask, Entitlement blank, PlanFeature given)
    {
        var gauge = ask.State.Use(given.Feature.Id)?.Gauge;
        var value = gauge?.Value ?? 0;
        var limit = given.Allowance;
        var allowed = ask.Units <= 0 || limit is null || given.PricesOverage || given.Mode == LimitMode.Soft;
        var past = limit is { } most ? Math.Max(0, value + ask.Units - Math.Max(most, value)) : 0;
        var over = ask.Units <= 0 ? 0 : Math.Min(ask.Units, past);
        ask.Why?.Add("gauge", over == 0 ? "within" : "past", gauge?.LastVersion is { } v ? [v] : [],
            ("limit", limit), ("value", value), ("requested", ask.Units), ("past_the_limit", over));
        var entitlement = blank with
        {
            Limit = limit,
            Used = value,
            Remaining = limit is { } l ? Math.Max(0, l - value) : null,
            Overage = limit is { } m ? Math.Max(0, value - m) : 0,
            Warning = Alerts.Reached(ask.Feature.WarnAt, limit, value),
            Covered = new Coverage(ask.Units - over, 0, 0, over, given.PricesOverage && over > 0 ? new OveragePrice(given.UnitPrice, null) : default, over > 0 && !allowed),
        };
        if (over > 0 && !allowed && ask.Enforce)
            return entitlement with { Covered = default, Denial = Denials.QuotaExceeded(ask, given, entitlement) };
        if (over > 0 && given.PricesOverage && ask.Enforce && SpendCaps.Reached(ask, given, ask.Units) is { } cap)
            return entitlement with { Covered = default, Denial = Denials.SpendCapReached(ask, given, entitlement, cap) };
        ask.Why?.Add("decision", "allowed");
        return entitlement;
    }

    internal static void ExplainTokens(Ask ask, Coverage covered, long balance)
    {
        if (ask.Why is null) return;
        ask.Why.Add("tokens", covered.ByTokens > 0 ? "burned" : "not_needed_or_none", ("balance", balance), ("units", covered.ByTokens), ("burned", covered.TokensBurned));
        foreach (var (grant, tokens) in Tokens.Burn(ask.State, covered.TokensBurned, ask.Now))
            ask.Why.Add("grant", "burned", [Tokens.VersionOf(grant)],
                ("grant", grant.Id), ("before", grant.Remaining), ("after", grant.Remaining - tokens), ("priority", grant.Priority), ("expires_at", grant.ExpiresAt));
    }

    internal static void ExplainOverage(Ask ask, Coverage covered)
    {
        if (covered.Overage == 0) return;
        ask.Why?.Add("overage", covered.OverLimit ? "past_the_limit" : "allowed", ("units", covered.Overage), ("unit_price", covered.Price.UnitPrice),
            ("tiers", covered.Price.Tiers is { } tiers ? string.Join(" + ", tiers.Select(t => FormattableString.Invariant($"{t.Units} × {t.UnitPrice}"))) : null));
    }
}

/// <summary>One question to the quota check, with everything it is about.</summary>
internal readonly record struct Ask(
    State State, Catalogs Catalogs, Feature Feature, long Units, Instant Now, Instant At, bool Enforce, Explanation? Why)
{
    public Bounds Bounds(Window kind) => State.WindowAt(kind, Now);
}

/// <summary>The steps by which an answer came about: which rule, with which outcome, which numbers and which events.</summary>
public sealed class Explanation
{
    public sealed record Step(string Rule, string Outcome, IReadOnlyDictionary<string, object?> Numbers, ImmutableArray<long> Events);

    private readonly List<Step> steps = [];

    public IReadOnlyList<Step> Steps => steps;

    internal void Add(string rule, string outcome, params ReadOnlySpan<(string Name, object? Value)> numbers) => Add(rule, outcome, [], numbers);

    /// <summary>A counter is made of the events from its first to its last.</summary>
    internal void Add(string rule, string outcome, Counter? counter, params ReadOnlySpan<(string Name, object? Value)> numbers) =>
        Add(rule, outcome, counter is null ? [] : counter.FirstVersion == counter.LastVersion ? [counter.FirstVersion] : [counter.FirstVersion, counter.LastVersion], numbers);

    internal void Add(string rule, string outcome, ImmutableArray<long> events, params ReadOnlySpan<(string Name, object? Value)> numbers)
    {
        var named = new Dictionary<string, object?>();
        foreach (var (name, value) in numbers) named[name] = value;
        steps.Add(new Step(rule, outcome, named, events));
    }
}
