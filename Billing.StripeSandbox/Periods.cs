using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>Billing periods, counted from an anchor: one on the 31st falls on the 28th of February and is back on the 31st in March.</summary>
internal static class Periods
{
    /// <returns>The first boundary after a time, in Unix seconds.</returns>
    public static long NextAfter(long anchor, JsonObject price, long time)
    {
        var interval = price.Text("recurring.interval")!;
        var count = (int)price.Number("recurring.interval_count")!.Value;
        var days = (time - anchor) / 86_400;
        // An estimate that is never too late, then on from there.
        var k = (int)Math.Max(0, (interval switch { "year" => days / 366, "month" => days / 31, "week" => days / 7, _ => days }) / count - 1);
        while (Add(anchor, interval, k * count) <= time) k++;
        return Add(anchor, interval, k * count);
    }

    public static long Add(long anchor, string interval, int count)
    {
        var from = DateTimeOffset.FromUnixTimeSeconds(anchor);
        return (interval switch
        {
            "year" => from.AddYears(count),
            "month" => from.AddMonths(count),
            "week" => from.AddDays(7 * count),
            _ => from.AddDays(count),
        }).ToUnixTimeSeconds();
    }

    public static bool AreAlike(JsonObject price, JsonObject other) =>
        price.Text("recurring.interval") == other.Text("recurring.interval") && price.Number("recurring.interval_count") == other.Number("recurring.interval_count");

    /// <summary>The part of an amount that falls on the rest of a stretch of time, to the second, half away from zero.</summary>
    public static long Rest(long amount, long start, long end, long at) =>
        end <= start ? 0 : (long)Math.Round((decimal)amount * Math.Clamp(end - at, 0, end - start) / (end - start), MidpointRounding.AwayFromZero);
}
