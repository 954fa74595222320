using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>Amounts and times as people read them.</summary>
internal static class Money
{
    private static readonly string[] WithoutCents = ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"];

    public static string Of(long amount, string? currency)
    {
        var sign = currency switch { "usd" => "$", "eur" => "€", "gbp" => "£", _ => $"{currency?.ToUpperInvariant()} " };
        var whole = WithoutCents.Contains(currency);
        return $"{(amount < 0 ? "-" : "")}{sign}{(whole ? $"{Math.Abs(amount):N0}" : $"{Math.Abs(amount) / 100m:N2}")}";
    }

    public static string Of(JsonObject price) => price.Number("unit_amount") is { } amount
        ? Of(amount, price.Text("currency")) : $"{price.Text("unit_amount_decimal")} {price.Text("currency")} cents";

    /// <summary>Such as <c>month</c> or <c>3 months</c>.</summary>
    public static string Every(JsonObject price) => price.Number("recurring.interval_count") is > 1 and var count ? $"{count} {price.Text("recurring.interval")}s" : price.Text("recurring.interval")!;

    public static string Count(long number) => $"{number:N0}";

    public static string Minute(long time) => $"{DateTimeOffset.FromUnixTimeSeconds(time):d MMM yyyy HH:mm}";

    public static string Day(long time) => $"{DateTimeOffset.FromUnixTimeSeconds(time):d MMM yyyy}";
}
