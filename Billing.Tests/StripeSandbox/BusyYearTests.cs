using System.Text.Json.Nodes;

namespace Billing.Tests.StripeSandbox;

/// <summary>Whatever customers do, in whatever order: the sandbox's own books add up.</summary>
public sealed class BusyYearTests
{
    private static readonly string[] Methods = ["pm_card_visa", "pm_card_visa", "pm_card_mastercard", "pm_card_chargeCustomerFail", "pm_card_authenticationRequired", "pm_card_authenticationRequiredOnSetup"];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task the_books_add_up_after_a_busy_year(int seed)
    {
        await using var stripe = await SandboxClient.Open(o => o with { Seed = seed });
        var random = new Random(seed);
        string[] prices =
        [
            await stripe.Price("starter-month", 999), await stripe.Price("pro-month", 2999), await stripe.Price("enterprise-month", 9999), await stripe.Price("pro-year", 29900, "year"), await stripe.Price("free-month", 0),
        ];
        (await stripe.Post("/v1/coupons", "id=tenth", "percent_off=10", "duration=repeating", "duration_in_months=3")).Ok();
        var customers = new List<string>();
        var answers = new List<(int Status, string? Why)>();
        for (var i = 0; i < 8; i++) customers.Add(await stripe.Customer(Methods[random.Next(Methods.Length)]));

        for (var day = 1; day <= 365; day += random.Next(1, 4))
        {
            var customer = customers[random.Next(customers.Count)];
            var subscription = stripe.Server.All("subscription").LastOrDefault(s => Text(s, "customer") == customer && Text(s, "status") is not ("canceled" or "incomplete_expired"));
            var done = subscription is null ? await Begin(stripe, random, customer, prices) : await Act(stripe, random, subscription, prices);
            Assert.True(done.Status is 200 or 400 or 402 or 404, done.Json.ToJsonString());
            answers.Add((done.Status, done.Status == 200 ? null : done.Text("error.message")));
            await stripe.Server.AdvanceTo(new DateTimeOffset(2026, 11, 20, 10, 0, 0, TimeSpan.Zero).AddDays(day).AddSeconds(random.Next(86_400)));
            if (day % 10 == 0) Check(stripe);
        }
        Check(stripe);
        Assert.True(answers.Count(a => a.Status == 200) > answers.Count / 2, string.Join('\n', answers.Where(a => a.Status != 200)));
        Assert.True(stripe.Server.All("invoice").Count(i => Text(i, "status") == "paid" && Number(i, "amount_paid") > 0) > 20);
    }

    private static Task<Reply> Begin(SandboxClient stripe, Random random, string customer, string[] prices) =>
        stripe.Subscribe(customer, prices[random.Next(prices.Length)], [.. random.Next(3) == 0 ? ["trial_period_days=7"] : Array.Empty<string>(), .. random.Next(3) == 0 ? ["discounts[0][coupon]=tenth"] : Array.Empty<string>()]);

    private static async Task<Reply> Act(SandboxClient stripe, Random random, JsonObject subscription, string[] prices)
    {
        var (id, customer) = (Text(subscription, "id"), Text(subscription, "customer"));
        string[] change = [$"items[0][id]={Text(subscription, "items.data.0.id")}", $"items[0][price]={prices[random.Next(prices.Length)]}", $"items[0][quantity]={random.Next(1, 4)}"];
        switch (random.Next(12))
        {
            case 0 or 1: return await stripe.Post($"/v1/subscriptions/{id}", change);
            case 2: return await stripe.Post($"/v1/subscriptions/{id}", [.. change, "proration_behavior=always_invoice"]);
            case 3: return await stripe.Post($"/v1/subscriptions/{id}", [.. change, "proration_behavior=always_invoice", "payment_behavior=pending_if_incomplete"]);
            case 4: return await stripe.Post($"/v1/subscriptions/{id}", [.. change, "payment_behavior=error_if_incomplete"]);
            case 5: return await stripe.Post($"/v1/subscriptions/{id}", $"cancel_at_period_end={(random.Next(3) == 0 ? "true" : "false")}");
            case 6: return await stripe.Delete($"/v1/subscriptions/{id}?prorate=true&invoice_now=true");
            case 7: return await stripe.Post("/v1/invoiceitems", $"customer={customer}", $"amount={random.Next(1, 5000)}", "currency=usd");
            case 8:
                var attached = await stripe.Post($"/v1/payment_methods/{Methods[random.Next(Methods.Length)]}/attach", $"customer={customer}");
                return await stripe.Post($"/v1/subscriptions/{id}", $"default_payment_method={attached.Ok().Id}");
            case 9:
                var schedule = await stripe.Post("/v1/subscription_schedules", $"from_subscription={id}");
                return schedule.Status != 200 ? schedule : await stripe.Post($"/v1/subscription_schedules/{schedule.Id}", "end_behavior=release", $"phases[0][start_date]={schedule.Number("phases.0.start_date")}",
                    $"phases[0][end_date]={schedule.Number("phases.0.end_date")}", $"phases[0][items][0][price]={schedule.Text("phases.0.items.0.price")}", $"phases[0][items][0][quantity]={schedule.Number("phases.0.items.0.quantity")}", $"phases[1][items][0][price]={prices[random.Next(prices.Length)]}");
            case 10 when stripe.Server.All("invoice").LastOrDefault(i => Text(i, "customer") == customer && Text(i, "status") == "open") is { } open:
                return await stripe.Post($"/v1/invoices/{Text(open, "id")}/pay", "payment_method=pm_card_visa");
            default:
                await stripe.Post("/v1/invoices/create_preview", [$"subscription={id}", .. change.Select(c => $"subscription_details[{c[..c.IndexOf('[')]}]{c[c.IndexOf('[')..]}")]);
                return await stripe.Post($"/v1/subscriptions/{id}", $"metadata[turn]={random.Next()}");
        }
    }

    private static void Check(SandboxClient stripe)
    {
        var now = stripe.Clock.Now.ToUnixTimeSeconds();
        var invoices = stripe.Server.All("invoice");
        var payments = stripe.Server.All("invoice_payment").ToLookup(p => Text(p, "invoice"));
        var charges = stripe.Server.All("charge").Where(c => c["paid"]!.GetValue<bool>()).ToLookup(c => Text(c, "payment_intent"));
        foreach (var invoice in invoices)
        {
            var said = invoice.ToJsonString();
            Assert.True(Number(invoice, "subtotal") == invoice.Read("lines.data")!.AsArray().Sum(l => Number(l!, "amount")) || invoice.Read("lines.has_more")!.GetValue<bool>(), said);
            Assert.True(Number(invoice, "total") == Number(invoice, "subtotal") - invoice["total_discount_amounts"]!.AsArray().Sum(d => Number(d!, "amount")), said);
            Assert.True(Number(invoice, "amount_due") == Math.Max(0, Number(invoice, "total") + Number(invoice, "starting_balance")), said);
            Assert.True(Text(invoice, "status") != "draft" || !invoice["auto_advance"]!.GetValue<bool>() || Number(invoice, "created") + 3600 > now, said);
            var taken = payments[Text(invoice, "id")].SelectMany(p => charges[Text(p, "payment.payment_intent")]).Sum(c => Number(c, "amount"));
            Assert.True(taken == (Text(invoice, "status") == "paid" ? Number(invoice, "amount_paid") : 0), said);
        }
        Assert.Equal(charges.Sum(c => c.Sum(x => Number(x, "amount"))), invoices.Sum(i => Number(i, "amount_paid")));
        var numbers = invoices.Where(i => i["number"] is not null).Select(i => Text(i, "number")).ToList();
        Assert.Equal(numbers.Count, numbers.Distinct().Count());
        foreach (var subscription in stripe.Server.All("subscription").Where(s => Text(s, "status") is "active" or "past_due" or "trialing" or "unpaid"))
            Assert.All(subscription.Read("items.data")!.AsArray(), i => Assert.True(Number(i!, "current_period_start") <= now && now < Number(i!, "current_period_end"), subscription.ToJsonString()));
    }

    private static string Text(JsonNode o, string path) => o.Read(path)!.GetValue<string>();

    private static long Number(JsonNode o, string path) => o.Read(path)!.GetValue<long>();
}
