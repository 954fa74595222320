using System.Reflection;
using System.Text;
using Billing.Api.Stripe;
using Billing.Grains;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Tests.Stripe;

/// <summary>
/// Every request that is ever made of Stripe, one example of each at least, compared with requests.txt: so a change of what is sent is
/// seen when it is reviewed. Whoever adds a builder adds a line here and runs this with UPDATE_GOLDEN=1.
/// </summary>
public sealed class RequestListTests
{
    private static readonly string Stored = Path.Combine(Repository.Root, "Billing.Tests", "Stripe", "requests.txt");
    private static readonly Instant Now = Instant.FromUtc(2026, 11, 20, 10, 0);
    private static readonly Profile Ada = new("Ada Lovelace", "ada@example.com", "12 Crescent\nLondon", "GB", Now);
    private static readonly SoldPrice Monthly = new("pro-month", new Money(2999, "usd"), BillingInterval.Month, null);
    private static readonly SoldPrice Quarterly = new("pro-quarter", new Money(8100, "usd"), BillingInterval.Quarter, null);
    private static readonly SoldPrice Yearly = new("pro-year-eur", new Money(29900, "eur"), BillingInterval.Year, null);
    private static readonly SoldPrice Once = new("tokens-starter", new Money(500, "usd"), null, null);
    private static readonly SoldProduct Pro = new("plan_pro", "Pro", "plan", "pro", [Monthly, Quarterly, Yearly]);
    private static readonly SoldProduct Starter = new("tokens_starter", "Starter", "token_package", "starter", [Once]);

    private static readonly PlanSale Sale = new("acme", "key-1", "0f", "cus_1", "price_1", 1, null, false, false, false, "https://app.example.com/done", "https://app.example.com/back");
    private static readonly TokenSale Tokens = new("acme", "key-2", "0f", "cus_1", "starter", true);

    private static readonly NewSubscription New = new("acme", "cus_1", "price_1", null, "pm_1", null);
    private static readonly ItemChange Change = new("sub_1", "si_1", "price_2", 1, ProrationMode.NextInvoice, null);
    private static readonly InvoiceLine Overage = new(LineKind.Overage, "145 quantum jobs: 45 additional", "quantum_jobs", null, 45, 0.5m, 2250, "usd", Now, Now + Duration.FromDays(30));

    /// <summary>By the builder's name; several where it sends different things.</summary>
    private static readonly (string Builder, StripeRequest Request)[] Examples =
    [
        // Products and prices.
        (nameof(StripeRequests.Price), StripeRequests.Price("price_1")),
        (nameof(StripeRequests.Prices), StripeRequests.Prices(["pro-month", "pro-year"])),
        (nameof(StripeRequests.Prices), StripeRequests.Prices(["pro-month"], active: false)),
        (nameof(StripeRequests.ActivePricesOf), StripeRequests.ActivePricesOf("plan_pro")),
        (nameof(StripeRequests.Products), StripeRequests.Products(["plan_pro", "tokens_starter"])),
        (nameof(StripeRequests.CreateProduct), StripeRequests.CreateProduct(Pro, 3, Now)),
        (nameof(StripeRequests.CreateProduct), StripeRequests.CreateProduct(Starter, 3, Now)),
        (nameof(StripeRequests.UpdateProduct), StripeRequests.UpdateProduct(Pro, 1_795_000_000, 3, Now)),
        (nameof(StripeRequests.CreatePrice), StripeRequests.CreatePrice(Pro, Monthly, null, 3, Now)),
        (nameof(StripeRequests.CreatePrice), StripeRequests.CreatePrice(Pro, Quarterly, null, 3, Now)),
        (nameof(StripeRequests.CreatePrice), StripeRequests.CreatePrice(Pro, Yearly, "price_old", 3, Now)),
        (nameof(StripeRequests.CreatePrice), StripeRequests.CreatePrice(Starter, Once, null, 3, Now)),
        (nameof(StripeRequests.ArchivePrice), StripeRequests.ArchivePrice("price_old", Now)),

        // Customers.
        (nameof(StripeRequests.Customer), StripeRequests.Customer("cus_1")),
        (nameof(StripeRequests.CreateCustomer), StripeRequests.CreateCustomer("acme", Ada)),
        (nameof(StripeRequests.CreateCustomer), StripeRequests.CreateCustomer("acme", null, 2)),
        (nameof(StripeRequests.CustomersOf), StripeRequests.CustomersOf("acme")),
        (nameof(StripeRequests.UpdateCustomer), StripeRequests.UpdateCustomer("acme", "cus_1", Ada)),
        (nameof(StripeRequests.UpdateCustomer), StripeRequests.UpdateCustomer("acme", "cus_1", null)),

        // Selling.
        (nameof(StripeRequests.SellPlan), StripeRequests.SellPlan(Sale)),
        (nameof(StripeRequests.SellPlan), StripeRequests.SellPlan(Sale with { TrialDays = 7, TakesTrialWithoutCard = true, PromotionCodes = true, Tax = true })),
        (nameof(StripeRequests.SellTokens), StripeRequests.SellTokens(Tokens, "price_1", tax: true, "https://app.example.com/done", "https://app.example.com/back")),
        (nameof(StripeRequests.SellTokensByIntent), StripeRequests.SellTokensByIntent(Tokens with { SavePaymentMethod = false }, 500, "usd")),
        (nameof(StripeRequests.SellAgain), StripeRequests.SellAgain(StripeRequests.CheckoutPath, "acme", "key-1")),
        (nameof(StripeRequests.Sale), StripeRequests.Sale(StripeRequests.PaymentPath, "pi_1")),
        (nameof(StripeRequests.CheckoutSession), StripeRequests.CheckoutSession("cs_1")),
        (nameof(StripeRequests.OpenCheckoutSessions), StripeRequests.OpenCheckoutSessions("cus_1")),
        (nameof(StripeRequests.ExpireCheckoutSession), StripeRequests.ExpireCheckoutSession("acme", "cs_1")),
        (nameof(StripeRequests.OpenSubscriptionsOf), StripeRequests.OpenSubscriptionsOf("cus_1")),
        (nameof(StripeRequests.OpenPortal), StripeRequests.OpenPortal("acme", "portal:acme:1", "cus_1", "https://app.example.com/billing")),

        // Subscriptions.
        (nameof(StripeRequests.Subscription), StripeRequests.Subscription("sub_1")),
        (nameof(StripeRequests.AttachPaymentMethod), StripeRequests.AttachPaymentMethod("acme", "attach:acme:1", "pm_1", "cus_1")),
        (nameof(StripeRequests.SetDefaultPaymentMethod), StripeRequests.SetDefaultPaymentMethod("acme", "default:acme:1", "cus_1", "pm_1")),
        (nameof(StripeRequests.SetSubscriptionPaymentMethod), StripeRequests.SetSubscriptionPaymentMethod("acme", "method:acme:1", "sub_1", "pm_1")),
        (nameof(StripeRequests.CreateSubscription), StripeRequests.CreateSubscription(New, "start:acme:1")),
        (nameof(StripeRequests.CreateSubscription), StripeRequests.CreateSubscription(New with { Quantity = 3, PaymentMethod = null, TrialDays = 7 }, "start:acme:2")),
        (nameof(StripeRequests.AwaitingConfirmation), StripeRequests.AwaitingConfirmation(StripeRequests.CreateSubscription(New, "start:acme:1"), "start-open:acme:1")),
        (nameof(StripeRequests.ChangeSubscription), StripeRequests.ChangeSubscription("acme", "change:acme:1", Change)),
        (nameof(StripeRequests.ChangeSubscription), StripeRequests.ChangeSubscription("acme", "change:acme:2", Change with { Proration = ProrationMode.InvoiceNow, At = Now })),
        (nameof(StripeRequests.ChangeSubscription), StripeRequests.ChangeSubscription("acme", "change:acme:3", Change with { Proration = ProrationMode.None })),
        (nameof(StripeRequests.AwaitingConfirmation), StripeRequests.AwaitingConfirmation(StripeRequests.ChangeSubscription("acme", "change:acme:1", Change), "change-open:acme:1")),
        (nameof(StripeRequests.PreviewChange), StripeRequests.PreviewChange("acme", "preview:acme:1", Change with { At = Now })),
        (nameof(StripeRequests.CancelAtPeriodEnd), StripeRequests.CancelAtPeriodEnd("acme", "cancel:acme:1", "sub_1", cancels: true)),
        (nameof(StripeRequests.CancelAtPeriodEnd), StripeRequests.CancelAtPeriodEnd("acme", "cancel:acme:2", "sub_1", cancels: false)),
        (nameof(StripeRequests.EndSubscription), StripeRequests.EndSubscription("sub_1", prorate: true)),
        (nameof(StripeRequests.EndSubscription), StripeRequests.EndSubscription("sub_1", prorate: false)),
        (nameof(StripeRequests.PauseCollection), StripeRequests.PauseCollection("acme", "pause:acme:1", "sub_1")),
        (nameof(StripeRequests.ResumeCollection), StripeRequests.ResumeCollection("acme", "resume:acme:1", "sub_1")),
        (nameof(StripeRequests.ResumeSubscription), StripeRequests.ResumeSubscription("acme", "resume:acme:2", "sub_1")),
        (nameof(StripeRequests.PayInvoice), StripeRequests.PayInvoice("acme", "pay:acme:1", "in_1", "pm_1")),
        (nameof(StripeRequests.Schedule), StripeRequests.Schedule("sub_sched_1")),
        (nameof(StripeRequests.NameSchedule), StripeRequests.NameSchedule("acme", "name:acme:1", "sub_1", "starter", BillingInterval.Month)),
        (nameof(StripeRequests.CreateSchedule), StripeRequests.CreateSchedule("acme", "schedule:acme:1", "sub_1")),
        (nameof(StripeRequests.PlanPhases), StripeRequests.PlanPhases("acme", "phases:acme:1", "sub_sched_1", new PlannedPhases(Now, Now + Duration.FromDays(30), "price_1", 1, "price_2", BillingInterval.Quarter))),
        (nameof(StripeRequests.ReleaseSchedule), StripeRequests.ReleaseSchedule("acme", "release:acme:1", "sub_sched_1")),
        (nameof(StripeRequests.Again), StripeRequests.Again(new SentRequest("start:acme:1", "acme", "/v1/subscriptions", "customer=cus_1"u8.ToArray(), Now, null, null, null, null))),

        // Money back.
        (nameof(StripeRequests.InvoicePayments), StripeRequests.InvoicePayments("in_1")),
        (nameof(StripeRequests.Refund), StripeRequests.Refund("re_1")),
        (nameof(StripeRequests.CreateRefund), StripeRequests.CreateRefund("acme", "refund:acme:1", "pi_1", 500, "asked within 7 days")),
        (nameof(StripeRequests.CreateRefund), StripeRequests.CreateRefund("acme", "refund:acme:2", "pi_1", null, "asked within 7 days")),

        // Overage and top-ups.
        (nameof(StripeRequests.DraftInvoice), StripeRequests.DraftInvoice("acme", "cus_1", "usd", "v12", null)),
        (nameof(StripeRequests.DraftInvoice), StripeRequests.DraftInvoice("acme", "cus_1", "usd", "v12", "pm_1")),
        (nameof(StripeRequests.InvoiceItem), StripeRequests.InvoiceItem("acme", "cus_1", "in_1", "12:0", Overage)),
        (nameof(StripeRequests.SendInvoice), StripeRequests.SendInvoice("acme", "in_1")),
        (nameof(StripeRequests.DeleteDraft), StripeRequests.DeleteDraft("in_1")),
        (nameof(StripeRequests.PaymentMethodsOf), StripeRequests.PaymentMethodsOf("cus_1")),
        (nameof(StripeRequests.TopUp), StripeRequests.TopUp("acme", "cus_1", "pm_1", new PendingTopUpView("tu_7", "starter", 100_000, new Money(500, "usd"), Now))),

        // Reconciling.
        (nameof(StripeRequests.SubscriptionsOf), StripeRequests.SubscriptionsOf("cus_1")),
        (nameof(StripeRequests.InvoicesOf), StripeRequests.InvoicesOf("cus_1")),
        (nameof(StripeRequests.PaymentIntentsOf), StripeRequests.PaymentIntentsOf("cus_1")),
        (nameof(StripeRequests.CheckoutSessionsOf), StripeRequests.CheckoutSessionsOf("cus_1")),
        (nameof(StripeRequests.ChargesOf), StripeRequests.ChargesOf("cus_1")),
        (nameof(StripeRequests.Invoice), StripeRequests.Invoice("in_1")),
        (nameof(StripeRequests.PaymentIntent), StripeRequests.PaymentIntent("pi_1")),
        (nameof(StripeRequests.InvoiceLines), StripeRequests.InvoiceLines("in_1")),
        (nameof(StripeRequests.RefundsOf), StripeRequests.RefundsOf("pi_1")),
        (nameof(StripeRequests.DisputesOf), StripeRequests.DisputesOf("pi_1")),
        (nameof(StripeRequests.EventsSince), StripeRequests.EventsSince(Now)),
        (nameof(StripeRequests.Event), StripeRequests.Event("evt_1")),
    ];

    private static IEnumerable<string> Builders => typeof(StripeRequests).GetMethods(BindingFlags.Public | BindingFlags.Static).Where(m => m.ReturnType == typeof(StripeRequest)).Select(m => m.Name).Distinct();

    [Fact]
    public void every_builder_has_an_example()
    {
        Assert.All(Builders, builder => Assert.True(Examples.Any(e => e.Builder == builder), $"StripeRequests.{builder} has no example here: add a line."));
    }

    [Fact]
    public async Task what_is_sent_is_what_the_stored_list_says()
    {
        var text = string.Join('\n', Examples.Select(e => Shown(e.Builder, e.Request)));
        if (Environment.GetEnvironmentVariable("UPDATE_GOLDEN") == "1") await File.WriteAllTextAsync(Stored, text);

        Assert.Equal((await File.ReadAllTextAsync(Stored)).ReplaceLineEndings("\n"), text);
    }

    [Fact]
    public void nothing_is_sent_that_the_next_release_train_refuses()
    {
        var names = Examples.SelectMany(e => e.Request.Form.Select(f => f.Key)).ToList();

        Assert.DoesNotContain(names, n => n.Contains("payment_method_types", StringComparison.Ordinal));
        Assert.DoesNotContain("billing_cycle_anchor", names);
    }

    [Fact]
    public void what_changes_something_has_a_key_and_what_reads_has_none()
    {
        foreach (var (_, request) in Examples)
            if (request.Method == HttpMethod.Post) Assert.InRange(request.Key!.Length, 1, 255);
            else Assert.Null(request.Key);
    }

    private static string Shown(string builder, StripeRequest request)
    {
        var text = new StringBuilder($"{builder}\n  {request.Method} {request.Path}\n");
        foreach (var (name, value) in request.Form) text.Append($"    {name}={value.ReplaceLineEndings("\\n")}\n");
        if (request.Key is not null) text.Append($"  key {request.Key}\n");
        return text.ToString();
    }
}
