using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Simulation;

/// <summary>One window of one feature. Used is what the other three add up to; it is never written down.</summary>
internal sealed class Tally
{
    public required Window Window;
    public required Instant Start, End;
    public long Allowance, ByTokens, Overage, First, Last;

    /// <summary>Priced overage by unit price: how many units, and how many of them are on a line.</summary>
    public readonly SortedDictionary<decimal, (long Units, long Billed)> Priced = [];

    /// <summary>The records that were counted in it.</summary>
    public readonly HashSet<long> Records = [];

    // Once it is closed: the plan as it ended, and the limit where it was another than the plan's.
    public string? Plan;
    public int CatalogVersion;
    public long? Limit;

    /// <summary>No window: the anchor moved, and what was used in this stretch went along into the next one.</summary>
    public bool Carried;

    public long Used => Allowance + ByTokens + Overage;

    public void Count(UsageRecorded e)
    {
        Allowance += e.Allowance;
        ByTokens += e.ByTokens;
        Overage += e.Overage;
        Records.Add(e.Version);
        if (Window != Window.Period) return;
        if (e.UnitPrice is { } price && e.Overage > 0) Price(price, e.Overage);
        foreach (var tier in e.Tiers ?? []) Price(tier.UnitPrice, tier.Units);
    }

    /// <summary>A record goes, and allowance that it frees takes over overage of others, as far as there is some.</summary>
    public void TakeBack(UsageVoided e)
    {
        var shifted = Math.Min(e.Shifted, Overage - e.Overage);
        // What an earlier void's allowance took over is overage still where that record did not count.
        if (Allowance + shifted < e.Allowance) shifted = e.Allowance - Allowance;
        Allowance += shifted - e.Allowance;
        ByTokens -= e.ByTokens;
        Overage -= e.Overage + shifted;
        if (Window != Window.Period) return;
        foreach (var part in e.Priced ?? []) Price(part.UnitPrice, -part.Units);
    }

    /// <summary>What its priced overage comes to, rounded once.</summary>
    public long Amount(decimal perUnit) => Math.Clamp(Coverage.Rounded(Priced.Sum(p => p.Key * p.Value.Units) * perUnit), -Pricing.MaxAmount, Pricing.MaxAmount);

    private void Price(decimal price, long units)
    {
        var (before, billed) = Priced.GetValueOrDefault(price);
        Priced[price] = (before + units, billed);
    }
}

/// <summary>A gauge: where it stands, the highest it stood in the billing period that ends then, and whether it is billed for that.</summary>
internal sealed class Level
{
    public long Value, Peak;
    public Instant Until = Instant.MinValue;
    public bool Billed;
}

/// <summary>All that is known of one feature's use.</summary>
internal sealed class Page
{
    private const int MostKept = 64;
    private static readonly Duration KeptFor = Duration.FromDays(62);

    public readonly SortedDictionary<Window, Tally> Open = [];

    /// <summary>Closed windows that late use and corrections may still fall into, oldest first.</summary>
    public List<Tally> Closed = [];

    public Level? Gauge;

    /// <summary>Whether there is priced overage that is on no line.</summary>
    public bool IsUnbilled => Open.GetValueOrDefault(Window.Period)?.Priced.Values.Any(p => p.Units != p.Billed) == true;

    public Tally? ClosedAt(CountedWindow window) => Closed.Find(c => c.Window == window.Window && c.Start == window.Start && !c.Carried);

    /// <summary>Where this record counts.</summary>
    public IEnumerable<Tally> Of(long record) => Open.Values.Concat(Closed).Where(t => t.Records.Contains(record));

    /// <summary>The newest of each kind are kept, and none that ended long before the newest of all.</summary>
    public void Close(IEnumerable<Tally> more)
    {
        Closed = [.. Closed.Concat(more).OrderBy(t => t.End).ThenBy(t => t.Window)];
        if (Closed.Count == 0) return;
        var oldest = Closed[^1].End - KeptFor;
        Closed = [.. Closed.Where(t => t.End >= oldest && Closed.Count(o => o.Window == t.Window && Closed.IndexOf(o) > Closed.IndexOf(t)) < MostKept)];
    }
}
