using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Ledger.Spec;

namespace Billing.Tests.Ledger;

/// <summary>Commands about subscriptions that the ledger keeps, each with an id of its own.</summary>
internal static class Subscribing
{
    public static StartSubscription Start(string plan, BillingInterval interval = BillingInterval.Month, bool? trial = null, bool paymentMethod = true, string? currency = null) =>
        New(new StartSubscription(plan, interval, currency, trial, paymentMethod, null) { Id = "", ContentHash = [], At = default, By = "key_1" });

    public static ChangeSubscription Change(string plan, BillingInterval? interval = null, ChangeTime? when = null, ProrationMode proration = ProrationMode.NextInvoice) =>
        New(new ChangeSubscription(plan, interval, when, proration, null) { Id = "", ContentHash = [], At = default, By = "key_1" });

    public static CancelSubscription Cancel(ChangeTime when, bool prorate = false) =>
        New(new CancelSubscription(when, prorate, "too dear") { Id = "", ContentHash = [], At = default, By = "key_1" });

    public static ReactivateSubscription Reactivate() => New(new ReactivateSubscription(null) { Id = "", ContentHash = [], At = default, By = "key_1" });

    public static PauseSubscription Pause() => New(new PauseSubscription(null) { Id = "", ContentHash = [], At = default, By = "key_1" });

    public static ResumeSubscription Resume() => New(new ResumeSubscription(null) { Id = "", ContentHash = [], At = default, By = "key_1" });

    public static SetPaymentMethod PaymentMethod(bool has) => New(new SetPaymentMethod(has) { Id = "", ContentHash = [], At = default, By = "key_1" });

    public static RecordPayment Attempt(string invoice, bool paid, Instant at, int attempt = 1) =>
        New(new RecordPayment(invoice, null, paid, paid ? 0 : attempt, 2_900, "usd", at) { Id = "", ContentHash = [], At = default, By = "stripe" });

    public static SettleInvoice Settle(string invoice, InvoiceStatus status) => New(new SettleInvoice(invoice, status, null, null) { Id = "", ContentHash = [], At = default, By = "key_1" });

    public static SetBillingTerms Terms(decimal percent, string? until = null) =>
        New(new SetBillingTerms(null, new DiscountTerms(percent, null, until is null ? null : Api.TestApi.Time(until)), null) { Id = "", ContentHash = [], At = default, By = "key_1" });

    /// <summary>What the clock brought, written without traffic.</summary>
    public static WriteDue Turn() => New(new WriteDue { Id = "", ContentHash = [], At = default });
}
