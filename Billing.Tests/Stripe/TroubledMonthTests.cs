using System.Globalization;
using Xunit.Abstractions;

namespace Billing.Tests.Stripe;

/// <summary>Webhooks that are lost, late, doubled and out of order, requests that fail or seem to, thirty days long: at the end the books are equal.</summary>
public sealed class TroubledMonthTests(ITestOutputHelper output)
{
    private static int Number(string name, int byDefault) => Environment.GetEnvironmentVariable(name) is { } set ? int.Parse(set, CultureInfo.InvariantCulture) : byDefault;

    /// <summary>STRIPE_SEEDS says how many months are played, STRIPE_SEED with which seed they begin.</summary>
    public static TheoryData<int> Seeds => new(Enumerable.Range(Number("STRIPE_SEED", 1), Number("STRIPE_SEEDS", 10)));

    [Theory]
    [MemberData(nameof(Seeds))]
    public async Task after_a_month_of_trouble_and_one_reconciliation_the_ledger_equals_stripe(int seed)
    {
        await using var month = await TroubledMonth.Run(seed, Number("STRIPE_ORGANIZATIONS", 100));
        output.WriteLine(string.Join(", ", month.Counts().Select(c => $"{c.Value} {c.Key}")));

        var drifted = await month.Reconcile(repair: true);
        var left = await month.Reconcile(repair: false);
        var wrong = await month.Differences();

        Assert.True(left.Count == 0 && wrong.Count == 0, $"Seed {seed}, {drifted.Count} repaired. Left:\n{string.Join('\n', left.Take(20))}\nWrong:\n{string.Join('\n', wrong.Take(20))}");
    }
}
