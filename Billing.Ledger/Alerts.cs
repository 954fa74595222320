using System.Collections.Immutable;
using NodaTime;

namespace Billing.Ledger;

/// <summary>What somebody should know: thresholds of limits, a low token balance, a trial that ends soon.</summary>
public static class Alerts
{
    /// <summary>How long before a trial's end it is warned of.</summary>
    public static readonly Duration TrialWarning = Duration.FromDays(3);

    // ---- reading

    /// <summary>The highest of these thresholds (per cent, ascending) that so much of a limit has reached; 0 when none is.</summary>
    public static int Reached(ImmutableArray<int> warnAt, long? limit, long taken)
    {
        if (limit is not { } most || taken <= 0) return 0;
        for (var i = warnAt.Length - 1; i >= 0; i--)
            // In Int128, because a limit may be 10^15 and a hundredfold of it with decimals past Int64.
            if ((Int128)taken * 100 >= (Int128)most * warnAt[i]) return warnAt[i];
        return 0;
    }

    // ---- deciding

    /// <summary>What a decision's events bring about: alerts, and a request for a top-up.</summary>
    internal static IReadOnlyList<LedgerEvent> After(State before, Catalogs catalogs, ImmutableArray<LedgerEvent> events, Instant now)
    {
        // Nobody is warned of what comes after the end.
        if (before.IsClosed) return [];
        // The common consume is looked at without folding it: it crosses nothing.
        if (events is [UsageRecorded use] && !MovesTokens(before, catalogs, use, now))
            return Threshold(before, catalogs, use.Feature, use, now) is { } crossed ? [crossed] : [];

        var after = before.Evolve(events);
        var more = new List<LedgerEvent>();
        for (var i = 0; i < events.Length; i++)
            if (Grows(events[i]) is { } feature && !events.Skip(i + 1).Any(later => Grows(later) == feature))
                Add(Threshold(after, catalogs, feature, null, now));
        Add(LowTokens(before, after, catalogs, now));
        Add(TopUps.Next(after, catalogs, now, now));
        return more;

        void Add(LedgerEvent? e)
        {
            if (e is null) return;
            more.Add(e);
            after = after.Evolve(e);
        }
    }

    /// <summary>What is due at this instant by itself: the warning before a trial ends, tokens that expired, a top-up that had to wait.</summary>
    internal static IReadOnlyList<LedgerEvent> DueAt(State state, Catalogs catalogs, Instant at, Instant now)
    {
        var due = new List<LedgerEvent>();
        if (TrialWarningAt(state) <= at)
            Add(new AlertRaised(AlertKind.TrialEnding, null, 0, null, null, state.Subscriptions.Own!.TrialEnd, 0, null) { Version = state.Version + 1, EffectiveAt = at, RecordedAt = now });
        if (!state.Alerts.TokensLow && !state.IsClosed && catalogs.Current.TokensLow is { } low && Tokens.Balance(state, at) is var balance && balance < low
            && state.Grants.Any(g => g.ExpiresAt == at && g.Expired > 0))
            Add(Low(state, balance, low, at, now));
        Add(TopUps.Next(state, catalogs, at, now));
        return due;

        void Add(LedgerEvent? e)
        {
            if (e is null) return;
            due.Add(e);
            state = state.Evolve(e);
        }
    }

    internal static Instant? NextDue(State state) =>
        (TrialWarningAt(state), TopUps.NextAt(state)) is ({ } trial, { } topUp) ? Instant.Min(trial, topUp) : TrialWarningAt(state) ?? TopUps.NextAt(state);

    /// <summary>When the end of the running trial is to be warned of; null when there is none or it was.</summary>
    private static Instant? TrialWarningAt(State state)
    {
        if (state.Subscriptions.Own is not { Status: SubscriptionStatus.Trialing, TrialEnd: { } end } own || state.IsClosed || state.Alerts.TrialWarned >= end) return null;
        // What Stripe said when the trial was over already warns nobody.
        var heardOf = own.Order?.EventCreatedAt ?? own.CreatedAt;
        return heardOf < end ? Instant.Max(end - TrialWarning, heardOf) : null;
    }

    /// <summary>The feature of which this event uses or reserves more.</summary>
    private static string? Grows(LedgerEvent e) => e switch
    {
        UsageRecorded { Quantity: > 0 } use => use.Feature,
        HoldPlaced hold => hold.Feature,
        _ => null,
    };

    /// <summary>The alert for the highest threshold that is newly reached.</summary>
    /// <param name="use">Comes on top of what the state has; null when it is in there.</param>
    private static AlertRaised? Threshold(State state, Catalogs catalogs, string feature, UsageRecorded? use, Instant now)
    {
        // A limit of 0 has no thresholds: its first unit would pass all of them, in every window.
        if (catalogs.Feature(feature) is not { Meter: not null, WarnAt: { IsEmpty: false } warnAt } known || LimitOf(state, catalogs, known, now) is not (> 0 and var limit, var window)) return null;
        var (counter, taken) = Taken(state, feature, window, use, now);
        var reached = Reached(warnAt, limit, taken);
        if (reached == 0) return null;

        var bounds = counter is not null ? new Bounds(counter.Start, counter.End)
            : window is { } kind ? state.WindowAt(kind, now) : state.Subscriptions.Cycle.Billed(now);
        foreach (var warned in state.Alerts.Warned)
            if (warned.Feature == feature && warned.IsOf(window, limit, bounds.End, counter) && warned.Percent >= reached) return null;
        return new AlertRaised(AlertKind.Usage, feature, reached, window, bounds.Start, bounds.End, taken, limit)
        {
            Version = state.Version + (use is null ? 1 : 2), EffectiveAt = now, RecordedAt = now,
        };
    }

    /// <summary>What counts against a limit: use and holds in its window, or a gauge's value.</summary>
    private static (Counter? Counter, long Taken) Taken(State state, string feature, Window? window, UsageRecorded? use, Instant now)
    {
        var known = state.Use(feature);
        if (window is not { } kind) return (null, use is null ? known?.Gauge?.Value ?? 0 : use.Quantity < 0 ? 0 : use.Gauge ?? 0);

        var counter = known?.Running(kind, now);
        var taken = counter?.Used ?? 0;
        foreach (var hold in state.Holds)
            if (hold.Feature == feature && hold.IsLive(now)) taken += hold.Quantity;
        // Late use may have happened in a window that is closed.
        foreach (var counted in use?.Windows ?? [])
            if (counted.Window == kind && now < counted.End) taken += use!.Quantity;
        return (counter, taken);
    }

    /// <summary>The limit of a feature now, and the window it is counted in (a gauge's has none); null when it is unlimited or not given.</summary>
    private static (long Most, Window? Window)? LimitOf(State state, Catalogs catalogs, Feature feature, Instant now)
    {
        var given = Overrides.Given(state, Subscriptions.InForce(state, catalogs, now).Plan, feature, now);
        if (given is not { On: true } || Entitlements.Limit(state, given, now) is not { } most) return null;
        return (most, given.IsGauge ? null : given.Window);
    }

    /// <summary>Whether a use burns so many tokens that somebody should know, or that more are to be bought.</summary>
    private static bool MovesTokens(State before, Catalogs catalogs, UsageRecorded use, Instant now)
    {
        if (use.Grants is not { } grants) return false;
        var balance = Tokens.Balance(before, now);
        var left = balance;
        foreach (var burned in grants) left -= burned.Tokens;
        return (left < catalogs.Current.TokensLow && (!before.Alerts.TokensLow || balance >= catalogs.Current.TokensLow))
            || (before.Alerts.TopUp is { Terms: { } terms, Pending: null, SwitchedOff: null } && left < terms.Threshold);
    }

    private static AlertRaised? LowTokens(State before, State after, Catalogs catalogs, Instant now)
    {
        if (catalogs.Current.TokensLow is not { } low) return null;
        var (was, balance) = (Tokens.Balance(before, now), Tokens.Balance(after, now));
        // Tokens may have come back from a hold or a voided record meanwhile: then it falls below once more.
        return balance < was && balance < low && (!after.Alerts.TokensLow || was >= low) ? Low(after, balance, low, now, now) : null;
    }

    private static AlertRaised Low(State state, long balance, long low, Instant at, Instant now) =>
        new(AlertKind.TokensLow, null, 0, null, null, null, balance, low) { Version = state.Version + 1, EffectiveAt = at, RecordedAt = now };

    // ---- evolving

    public static State Evolve(State state, AlertRaised e)
    {
        var alerts = state.Alerts;
        state = state with
        {
            Alerts = e.Kind switch
            {
                AlertKind.TokensLow => alerts with { TokensLow = true },
                AlertKind.TrialEnding => alerts with { TrialWarned = e.End },
                AlertKind.TopUpLimited => alerts with { TopUp = alerts.TopUp is { } topUp ? topUp with { LimitedUntil = e.End } : null },
                _ => alerts with
                {
                    Warned = [.. alerts.Warned.Where(w => w.Feature != e.Feature),
                        new UsageWarning(e.Feature!, e.Window, e.End ?? Bounds.Never, e.Limit ?? 0, e.Percent, e.Version)],
                },
            },
        };
        return e.Kind is AlertKind.TrialEnding or AlertKind.TopUpLimited ? state with { DueAt = Decider.NextDue(state) } : state;
    }

    /// <summary>Tokens came: the next time that the balance is low is to be told again.</summary>
    internal static State TokensCame(State state) => state.Alerts.TokensLow ? state with { Alerts = state.Alerts with { TokensLow = false } } : state;
}
