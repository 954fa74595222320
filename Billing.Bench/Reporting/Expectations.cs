namespace Billing.Bench;

/// <summary>A ratio of two figures of the same run, or one figure that is held to a bound.</summary>
/// <param name="Figure">The median of the rounds' own ratios, or the median itself.</param>
/// <param name="Unit">Empty for a ratio.</param>
/// <param name="Bound">What it is expected to be at least, or at most; null where nothing is promised.</param>
public sealed record Comparison(string Scenario, string Subject, string To, double Figure, string Unit, double? Bound, bool IsAtMost)
{
    public bool? IsMet => Bound is { } bound ? IsAtMost ? Figure <= bound : Figure >= bound : null;
}

/// <summary>What the figures are compared with, and what is expected of them on two processors.</summary>
public static class Expectations
{
    private sealed record Ratio(string Scenario, string Subject, string ToScenario, string ToSubject, double? AtLeast = null, Func<Measurement, Measurement, double>? Of = null);

    private sealed record Limit(string Scenario, string Subject, string Unit, Func<Measurement, double> Figure, double Bound, bool IsAtMost = true);

    private static readonly string[] Ledgers = [Subject.Sqlite, Subject.Postgres, Subject.Silos];

    private static readonly IReadOnlyList<Ratio> Ratios =
    [
        .. Each(ledger => new Ratio(Scenarios.Check, ledger, Scenarios.ConstantAtCheck, Subject.Sqlite, Alone(ledger, 0.85, 0.70) ?? 0.28)),
        .. Each(ledger => new Ratio(Scenarios.Check, ledger, Scenarios.Check, Subject.Redis, Alone(ledger, 1.6))),
        .. Each(ledger => new Ratio(Scenarios.Check, ledger, Scenarios.Check, Subject.Row)),
        .. Each(ledger => new Ratio(Scenarios.Consume, ledger, Scenarios.ConstantAtConsume, Subject.Sqlite, OnPostgres(ledger, 0.38))),
        .. Each(ledger => new Ratio(Scenarios.Consume, ledger, Scenarios.Consume, Subject.Redis, OnPostgres(ledger, 0.9))),
        .. Each(ledger => new Ratio(Scenarios.Consume, ledger, Scenarios.Consume, Subject.Row, ledger == Subject.Silos ? 2 : OnPostgres(ledger, 3.5))),
        .. Each(ledger => new Ratio(Scenarios.Hot, ledger, Scenarios.Consume, ledger, Alone(ledger, 0.7))),
        .. Each(ledger => new Ratio(Scenarios.Batch, ledger, Scenarios.Batch, ledger == Subject.Sqlite ? RawInsert.Sqlite : RawInsert.Postgres, Alone(ledger, 0.6))),
        // The quiet ones' p99 to the others': half means twice as long.
        .. Each(ledger => new Ratio(Webhooks.Quiet, ledger, Webhooks.During, ledger, 0.5, (quiet, during) => quiet.P99Ms / during.P99Ms)),
        .. Each(ledger => new Ratio(Tokens.During, ledger, Tokens.Quiet, ledger, 0.5)),
        .. Each(ledger => new Ratio(Tokens.WithJwt, ledger, Tokens.Quiet, ledger, 0.85)),
        .. Each(ledger => new Ratio(Books.Fold, ledger, Books.Read, ledger, 0.4)),
        .. Each(ledger => new Ratio(Books.Verify, ledger, Books.Hash, ledger, 0.5)),
    ];

    private static readonly IReadOnlyList<Limit> Limits =
    [
        .. EachAlone(ledger => new Limit(Scenarios.CheckAtHalf, ledger, "ms p99", m => m.P99Ms, 2)),
        .. EachAlone(_ => new Limit(Scenarios.ConsumeAtHalf, Subject.Postgres, "ms p99", m => m.P99Ms, 15)).Take(1),
        .. Each(ledger => new Limit(Webhooks.AtRate, ledger, "ms p95", m => m.P95Ms, 50)),
        .. Each(ledger => new Limit(Tokens.Growth, ledger, "bytes", m => m.Bytes, 64)),
        .. Each(ledger => new Limit(Activation.FromSnapshot, ledger, "ms p99", m => m.P99Ms, 20)),
        new(Books.Decide, "ledger", "events/s", m => m.EventsPerSecond, 1_500_000, IsAtMost: false),
        .. Each(ledger => new Limit(Starts.Scenario, ledger, "ms", m => m.P50Ms, 1_500)),
        new(Residents.Scenario, "ledger", "bytes", m => m.Bytes, 8_192),
    ];

    /// <summary>All that can be compared of what was measured.</summary>
    /// <param name="rounds">In the order of the rounds.</param>
    public static IReadOnlyList<Comparison> Compare(IReadOnlyList<Measurement> rounds)
    {
        var all = rounds.ToLookup(m => (m.Scenario, m.Subject));
        return [.. Ratios.SelectMany(Ratio), .. Limits.SelectMany(Limit)];

        IEnumerable<Comparison> Ratio(Ratio r)
        {
            // Round by round, so that what slowed the whole machine for a while slowed both sides.
            var ratios = all[(r.Scenario, r.Subject)].Zip(all[(r.ToScenario, r.ToSubject)], r.Of ?? Divide).ToList();
            if (ratios.Count > 0) yield return new Comparison(r.Scenario, r.Subject, r.ToScenario == r.Scenario ? r.ToSubject : r.ToScenario, Median.Of(ratios), "", r.AtLeast, IsAtMost: false);
        }

        IEnumerable<Comparison> Limit(Limit l)
        {
            var figures = all[(l.Scenario, l.Subject)].Select(l.Figure).ToList();
            if (figures.Count > 0) yield return new Comparison(l.Scenario, l.Subject, "", Median.Of(figures), l.Unit, l.Bound, l.IsAtMost);
        }
    }

    private static double Divide(Measurement m, Measurement by) =>
        m.EventsPerSecond > 0 && by.EventsPerSecond > 0 ? m.EventsPerSecond / by.EventsPerSecond : m.RequestsPerSecond / by.RequestsPerSecond;

    private static double? OnPostgres(string ledger, double atLeast) => ledger == Subject.Postgres && !Engine.HasSilos ? atLeast : null;

    /// <summary>Of the ledger in one process.</summary>
    /// <param name="asGrains">Where each organization is a grain in it.</param>
    private static double? Alone(string ledger, double atLeast, double? asGrains = null) => ledger == Subject.Silos ? null : Engine.HasSilos ? asGrains : atLeast;

    private static IEnumerable<T> Each<T>(Func<string, T> of) => Ledgers.Select(of);

    private static IEnumerable<Limit> EachAlone(Func<string, Limit> of) => Engine.HasSilos ? [] : Ledgers.Where(l => l != Subject.Silos).Select(of);
}

/// <summary>The middle of several figures, which one that went astray does not move.</summary>
public static class Median
{
    public static double Of(IEnumerable<double> figures)
    {
        var sorted = figures.Order().ToList();
        var middle = sorted.Count / 2;
        return sorted.Count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
