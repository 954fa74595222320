namespace Billing.StripeSandbox;

/// <summary>What can go wrong with a request.</summary>
public enum Fault
{
    /// <summary>429. Nothing was done.</summary>
    RateLimit,

    /// <summary>500. Nothing was done, and the key may be used again.</summary>
    ServerError,

    /// <summary>It was done, and the connection breaks before the answer.</summary>
    LostAnswer,

    /// <summary>It was done, and no answer comes for as long as the caller waits.</summary>
    TimeOut,
}

/// <summary>
/// How the sandbox misbehaves: each value is a probability from 0 to 1. What happens to which request or webhook is drawn
/// from the sandbox's seed.
/// </summary>
public sealed class Misbehaviour(int? seed)
{
    private readonly Random random = seed is { } given ? new Random(given) : new Random();
    private readonly List<(Fault Fault, string Request)> ordered = [];

    /// <summary>Webhooks that never come.</summary>
    public double Lose { get; set; }

    /// <summary>Webhooks that come twice.</summary>
    public double Duplicate { get; set; }

    /// <summary>Webhooks that come later, by up to <see cref="DelayMost"/>.</summary>
    public double Delay { get; set; }

    public TimeSpan DelayMost { get; set; } = TimeSpan.FromHours(6);

    /// <summary>Webhooks that others overtake: they come within five minutes, in any order.</summary>
    public double Reorder { get; set; }

    /// <summary>See <see cref="Fault.RateLimit"/>.</summary>
    public double RateLimits { get; set; }

    /// <summary>See <see cref="Fault.ServerError"/>.</summary>
    public double ServerErrors { get; set; }

    /// <summary>See <see cref="Fault.LostAnswer"/>.</summary>
    public double LostAnswers { get; set; }

    /// <summary>See <see cref="Fault.TimeOut"/>.</summary>
    public double TimeOuts { get; set; }

    /// <summary>Goes wrong once, for certain: with the next request whose method and path begin so, such as <c>POST /v1/customers</c>.</summary>
    public void Next(Fault fault, string request = "")
    {
        lock (ordered) ordered.Add((fault, request));
    }

    /// <summary>From here on everything works.</summary>
    public void Stop()
    {
        lock (ordered)
        {
            ordered.Clear();
            Lose = Duplicate = Delay = Reorder = RateLimits = ServerErrors = LostAnswers = TimeOuts = 0;
        }
    }

    internal Fault? Draw(string request)
    {
        lock (ordered)
        {
            var place = ordered.FindIndex(o => request.StartsWith(o.Request, StringComparison.Ordinal));
            if (place >= 0)
            {
                var fault = ordered[place].Fault;
                ordered.RemoveAt(place);
                return fault;
            }
            var drawn = random.NextDouble();
            foreach (var (fault, probability) in ((Fault, double)[])[(Fault.RateLimit, RateLimits), (Fault.ServerError, ServerErrors), (Fault.LostAnswer, LostAnswers), (Fault.TimeOut, TimeOuts)])
                if ((drawn -= probability) < 0) return fault;
            return null;
        }
    }

    /// <returns>After how many seconds each copy of a webhook comes; none when it is lost.</returns>
    internal IReadOnlyList<long> DrawDeliveries()
    {
        lock (ordered)
        {
            if (Happens(Lose)) return [];
            return [.. Enumerable.Range(0, Happens(Duplicate) ? 2 : 1).Select(_ =>
                Happens(Delay) ? random.NextInt64(1, Math.Max(2, (long)DelayMost.TotalSeconds)) : Happens(Reorder) ? random.NextInt64(1, 300) : 0)];
        }
    }

    private bool Happens(double probability) => probability > 0 && random.NextDouble() < probability;
}
