using System.Diagnostics;
using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;
using static Billing.Tests.Ledger.Subscribing;

namespace Billing.Tests.Ledger;

/// <summary>Ten years of monthly billing on a test organization's clock.</summary>
public sealed class TenYearsTests
{
    private const string Catalog = """
        {
          "fallback_plan": "free", "grace_days": 3,
          "features": { "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call" } } },
          "plans": {
            "free":  { "name": "Free", "features": { "calls": 1 } },
            "small": { "name": "Small", "prices": [{ "interval": "month", "amount": 1000 }], "trial_days": 14, "features": { "calls": 10 } },
            "mid":   { "name": "Mid", "prices": [{ "interval": "month", "amount": 3000 }], "features": { "calls": 100 } },
            "large": { "name": "Large", "prices": [{ "interval": "month", "amount": 9000 }], "features": { "calls": 1000 } }
          }
        }
        """;

    [Fact]
    public void ten_years_with_a_trial_two_upgrades_a_downgrade_a_failed_payment_and_a_pause_take_less_than_a_second_and_give_these_invoices()
    {
        Live();
        var clock = Stopwatch.StartNew();
        var spec = Live();
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(1), $"It took {clock.Elapsed}.");

        var expected = new List<(string Day, long Total, string Number)>();
        // The trial ends on January 15th: from then on the 15th of each month.
        Monthly("2026-01", "2026-06", 15, 1000);
        // Five of thirty days into the month: 1000 × 25/30 back, 3000 × 25/30 more.
        Add("2026-07-15", 3000 - 833 + 2500);
        Monthly("2026-08", "2027-02", 15, 3000);
        // Halfway through the 28 days, invoiced at once.
        Add("2027-03-01", -1500 + 4500);
        Add("2027-03-15", 9000, "-2");
        Monthly("2027-04", "2028-07", 15, 9000);
        // The downgrade counts from the period's end; the payment of October 2029 failed, and was made good: nothing is charged twice.
        Monthly("2028-08", "2030-04", 15, 3000);
        // Paused with 14 of 30 days left, resumed on July 1st.
        Add("2030-07-01", 3000 - 1400);
        Monthly("2030-08", "2036-01", 1, 3000);

        Assert.Equal(expected, spec.Events.OfType<InvoiceCreated>().Zip(spec.Events.OfType<InvoiceFinalized>(), (made, numbered) =>
            (made.EffectiveAt.InUtc().Date.ToString("uuuu-MM-dd", null), made.Total, numbered.Number)));
        Assert.Equal(
            [
                SubscriptionChange.TrialStarted, SubscriptionChange.Converted, SubscriptionChange.Upgraded, SubscriptionChange.Upgraded, SubscriptionChange.ChangeScheduled,
                SubscriptionChange.Downgraded, SubscriptionChange.PastDue, SubscriptionChange.Unpaid, SubscriptionChange.Recovered, SubscriptionChange.Paused, SubscriptionChange.Resumed,
            ],
            spec.Events.OfType<SubscriptionChanged>().Select(e => e.Change!.Value).Where(c => c != SubscriptionChange.Renewed));

        void Monthly(string from, string to, int day, long total)
        {
            for (var month = Month(from); month <= Month(to); month = month.PlusMonths(1)) Add($"{month:uuuu-MM}-{day:00}", total);
        }

        void Add(string day, long total, string suffix = "") => expected.Add((day, total, $"INV-{day[..7]}-acme{suffix}"));

        LocalDate Month(string text) => new(int.Parse(text[..4]), int.Parse(text[5..]), 1);
    }

    private static Spec Live()
    {
        var spec = new Spec(Catalogs(Catalog)).At("2026-01-01T00:00:00Z").Given(New(new OpenOrganization("UTC", true, null) { Id = "", ContentHash = [], At = default }), Start("small"));
        To("2026-06-20").Given(Change("mid"));
        To("2027-03-01").Given(Change("large", proration: ProrationMode.InvoiceNow));
        To("2028-08-10").Given(Change("mid"));
        To("2029-10-15");
        var invoice = spec.State.Billing.Invoices[^1];
        spec.Given(Attempt(invoice.Id, false, Api.TestApi.Time("2029-10-15T00:00:00Z")));
        To("2029-10-20").Given(Attempt(invoice.Id, true, Api.TestApi.Time("2029-10-20T00:00:00Z")));
        To("2030-05-01").Given(Pause());
        To("2030-07-01").Given(Resume());
        To("2036-01-01");
        return spec;

        // The service's own clock stands still: all of it is the organization's.
        Spec To(string day)
        {
            var to = Api.TestApi.Time($"{day}T00:00:00Z");
            while (spec.State.Now(spec.Now) is var now && now < to)
                spec.Given(New(new AdvanceClock(Instant.Min(to, now + Duration.FromDays(700))) { Id = "", ContentHash = [], At = default }));
            return spec;
        }
    }
}
