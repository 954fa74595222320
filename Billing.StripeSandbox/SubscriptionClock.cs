using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>What becomes of a subscription as time passes.</summary>
internal static class SubscriptionClock
{
    public const long TrialWarning = 3 * 86_400;

    private const long FirstPaymentWaits = 23 * 3600;

    public static long? NextDue(Sandbox s, JsonObject subscription)
    {
        if (Subscriptions.HasEnded(subscription)) return null;
        var status = subscription.Text("status");
        if (status == "incomplete") return subscription.Number("created") + FirstPaymentWaits;
        long?[] due =
        [
            subscription.Number("cancel_at"),
            status == "paused" ? null : Subscriptions.PeriodEnd(subscription),
            status == "trialing" && !subscription.Flag("_warned") ? Math.Max(subscription.Number("trial_end")!.Value - TrialWarning, subscription.Number("trial_start")!.Value) : null,
            subscription.Number("pause_collection.resumes_at"),
            subscription.Number("pending_update.expires_at"),
        ];
        return due.Min();
    }

    public static void RunDue(Sandbox s, JsonObject subscription)
    {
        var now = s.Now;
        if (subscription.Text("status") == "incomplete")
        {
            var first = s.Find("invoice", subscription.Text("latest_invoice"));
            if (first.Text("status") == "open") Invoices.Void(s, first);
            Subscriptions.End(s, subscription, "payment_failed", "incomplete_expired");
        }
        else if (subscription.Number("pending_update.expires_at") <= now) SubscriptionChanges.ExpirePending(s, subscription);
        else if (subscription.Number("pause_collection.resumes_at") <= now) s.Change(subscription, o => o["pause_collection"] = null, "customer.subscription.updated");
        else if (subscription.Number("cancel_at") <= now) Subscriptions.End(s, subscription, "cancellation_requested");
        else if (Subscriptions.PeriodEnd(subscription) <= now) GoOn(s, subscription);
        else Subscriptions.WarnOfTrialEnd(s, subscription);
    }

    /// <summary>The period is over, or the trial is.</summary>
    public static void GoOn(Sandbox s, JsonObject subscription)
    {
        if (subscription.Text("status") == "trialing") EndTrial(s, subscription);
        else Renew(s, subscription);
    }

    /// <summary>The next period begins where the last one ended; a schedule's next phase begins with it.</summary>
    private static void Renew(Sandbox s, JsonObject subscription)
    {
        var start = Subscriptions.PeriodEnd(subscription);
        s.Change(subscription, o =>
        {
            var before = Subscriptions.ItemsOf(o)[0].Object("price")!.Copy();
            Schedules.Enter(s, o);
            var isAlike = Periods.AreAlike(before, Subscriptions.ItemsOf(o)[0].Object("price")!);
            Subscriptions.StartPeriod(o, start, isAlike ? o.Number("billing_cycle_anchor")!.Value : start);
            Bill(s, o);
        }, "customer.subscription.updated");
    }

    private static void EndTrial(Sandbox s, JsonObject subscription)
    {
        var hasMethod = Customers.DefaultMethod(s, subscription, subscription.Text("customer")!) is not null || subscription.Text("collection_method") == "send_invoice";
        var without = hasMethod ? null : subscription.Text("trial_settings.end_behavior.missing_payment_method");
        if (without == "cancel")
        {
            Subscriptions.End(s, subscription, "payment_failed");
            return;
        }
        if (without == "pause")
        {
            s.Change(subscription, o => o["status"] = "paused", "customer.subscription.updated");
            s.Emit("customer.subscription.paused", subscription);
            return;
        }
        s.Change(subscription, o =>
        {
            var end = o.Number("trial_end")!.Value;
            Schedules.Enter(s, o);
            o["status"] = "active";
            Subscriptions.StartPeriod(o, end, end);
            Bill(s, o);
        }, "customer.subscription.updated");
    }

    /// <summary>A draft that is finalized by itself, or what a pause of collecting makes of it.</summary>
    private static void Bill(Sandbox s, JsonObject subscription)
    {
        var pause = subscription.Text("pause_collection.behavior");
        var isKept = pause is not null || subscription.Text("status") == "unpaid";
        var previous = Subscriptions.ItemsOf(subscription)[0].Object("_charged");
        var invoice = Subscriptions.DraftPeriod(s, subscription, "subscription_cycle", i =>
        {
            if (isKept) i["auto_advance"] = false;
            if (previous is not null) i.Set("period_start", previous.Number("start")).Set("period_end", previous.Number("end"));
        });
        if (pause is not ("void" or "mark_uncollectible")) return;
        Invoices.Finalize(s, invoice);
        if (invoice.Text("status") != "open") return;
        if (pause == "void") Invoices.Void(s, invoice);
        else Invoices.GiveUp(s, invoice);
    }
}
