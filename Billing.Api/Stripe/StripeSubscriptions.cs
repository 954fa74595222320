using System.Text.Json;
using Billing.Grains;
using Billing.Ledger;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>What came of a command at Stripe: the subscription as Stripe answered it, or why the ledger refuses it.</summary>
/// <param name="Next">What the caller must do, where it is not what the subscription's status says.</param>
public readonly record struct StripeOutcome(JsonElement Subscription, Rejection? Rejection = null, string? Next = null);

/// <summary>
/// The organization's subscription at Stripe: started, changed, cancelled, paused. What is allowed the ledger says, as for a subscription
/// that it keeps itself; Stripe does it; and what Stripe answers the ledger follows at once.
/// </summary>
public sealed class StripeSubscriptions(Services services, StripeCommand command)
{
    private readonly string organization = command.Organization;
    private readonly IStripeGateway stripe = services.Stripe;

    // ---- starting

    /// <param name="asked">What the ledger would be asked for.</param>
    /// <param name="method">At Stripe; the customer's default without it.</param>
    public async Task<StripeOutcome> Start(StartSubscription asked, string? method, long? quantity)
    {
        var request = await command.Before("subscribe");
        if (request is null)
        {
            if (await Refusal(asked with { HasPaymentMethod = true }) is { } refused) return new(default, refused);
            if (!services.Flags.IsOn(Flags.NewSubscriptions, organization)) throw Selling.NewSubscriptionsOff();
            var plan = services.Catalogs.Current.Plan(asked.Plan)!;
            var price = await PriceOf(asked.Plan, asked.Interval, asked.Currency);
            var customer = await services.StripeCustomers.For(organization);
            // A page that is still open would make another one.
            await Selling.ExpireAll(organization, customer, services);
            // One may have been started by other means, and the event about it not have come yet.
            await foreach (var live in stripe.List(StripeRequests.OpenSubscriptionsOf(customer)))
            {
                if (live.Text("status") is "canceled" or "incomplete_expired") continue;
                await services.StripeEvents.Follow(organization, live);
                return new(default, await Refusal(asked) ?? new Rejection(RejectionKind.SubscriptionExists, $"There is a subscription at Stripe already, {live.Text("id")}."));
            }
            var trial = await IsTrial(asked) ? plan.TrialDays : null;
            var costs = plan.Price(asked.Interval, asked.Currency ?? services.Catalogs.Current.Currency)!.Amount.Amount > 0;
            if (method is null && (trial is null ? costs : plan.TrialNeedsPaymentMethod)
                && (await stripe.Send(StripeRequests.Customer(customer))).Get("invoice_settings")?.Reference("default_payment_method") is null)
                return new(default, new Rejection(RejectionKind.PaymentMethodRequired, $"'{asked.Plan}' needs something to pay with: send payment_method, or let the customer go through a checkout.", "payment_method"));
            await command.Begin();
            var attached = method is null ? null : await Attach(customer, method);
            FaultPoints.Reach("subscription:attached");
            request = StripeRequests.CreateSubscription(new NewSubscription(organization, customer, price, quantity, attached, trial), command.Key("subscribe"));
        }
        var made = await command.Pay(request, "subscribe");
        FaultPoints.Reach("subscription:created");
        if (made.Reference("default_payment_method") is { } paysWith) await MakeDefault(made.Reference("customer")!, paysWith);
        return new(made, Next: made.Text("status") == "trialing" && method is null && made.Reference("default_payment_method") is null && await HasNothingToPayWith(made) ? "add_payment_method" : null);
    }

    private async Task<bool> HasNothingToPayWith(JsonElement subscription) =>
        (await stripe.Send(StripeRequests.Customer(subscription.Reference("customer")!))).Get("invoice_settings")?.Reference("default_payment_method") is null;

    // ---- what it is paid with

    /// <summary>Another payment method, from now on. What is owed is tried again with it.</summary>
    public async Task<StripeOutcome> SetPaymentMethod(string subscription, string method)
    {
        var now = await stripe.Send(StripeRequests.Subscription(subscription));
        await command.Begin();
        var changed = await TakeMethod(now, method);
        if (changed.Text("status") is "past_due" or "unpaid" && changed.Get("latest_invoice")?.Text("id") is null && changed.Reference("latest_invoice") is { } owed)
        {
            await stripe.Send(StripeRequests.PayInvoice(organization, command.Key("pay"), owed, changed.Reference("default_payment_method")!));
            changed = await stripe.Send(StripeRequests.Subscription(subscription));
        }
        return new(changed);
    }

    private async Task<JsonElement> TakeMethod(JsonElement subscription, string method)
    {
        var attached = await Attach(subscription.Reference("customer")!, method);
        await MakeDefault(subscription.Reference("customer")!, attached);
        return await stripe.Send(StripeRequests.SetSubscriptionPaymentMethod(organization, command.Key($"pays-with-{method}"), subscription.Text("id")!, attached));
    }

    /// <returns>Its id, which for Stripe's test methods is another one than what was sent.</returns>
    private async Task<string> Attach(string customer, string method) =>
        (await stripe.Send(StripeRequests.AttachPaymentMethod(organization, command.Key($"attach-{method}"), method, customer))).Text("id")!;

    private Task<JsonElement> MakeDefault(string customer, string method) => stripe.Send(StripeRequests.SetDefaultPaymentMethod(organization, command.Key($"default-{method}"), customer, method));

    // ---- changing

    /// <param name="own">The subscription as the ledger has it.</param>
    public async Task<StripeOutcome> Change(SubscriptionView own, ChangeSubscription asked, string? method, long? quantity, Instant? prorationDate)
    {
        if (await command.Before("change") is { } begun) return new(await command.Pay(begun, "change"));
        var preview = await services.Host.Organization(organization).PreviewChange(Filled(asked));
        if (preview.Rejection is { } refused) return new(default, refused);
        var now = await stripe.Send(StripeRequests.Subscription(own.Id!));
        var item = Item(now);
        var change = await ChangeOf(own, now, asked, quantity, prorationDate);
        await command.Begin();
        if (method is not null) now = await TakeMethod(now, method);
        if (change.Price == item.Get("price")?.Text("id") && change.Quantity == item.Number("quantity")) return new(await Release(now));

        var end = item.Time("current_period_end")!.Value;
        if (preview.Preview!.EffectiveAt >= end) return new(await Plan(now, change, asked, own));
        // What was to come at the period's end is not what is wanted any more.
        await Release(now);
        var changed = await command.Pay(StripeRequests.ChangeSubscription(organization, command.Key("change"), change), "change");
        FaultPoints.Reach("subscription:changed");
        return new(changed);
    }

    /// <summary>A change in the words of Stripe.</summary>
    private async Task<ItemChange> ChangeOf(SubscriptionView own, JsonElement now, ChangeSubscription asked, long? quantity, Instant? prorationDate)
    {
        var item = Item(now);
        var interval = asked.Interval ?? (Spelling.TryParse<BillingInterval>(own.Interval ?? "", out var has) ? has : BillingInterval.Month);
        // Whoever asks for what there is keeps its price, also when it is no longer the one on sale.
        var isSame = asked.Plan == own.SubscribedPlan && Spelling.Of(interval) == own.Interval;
        var price = isSame ? item.Get("price")!.Value.Text("id")! : await PriceOf(asked.Plan, interval, now.Text("currency"));
        if (prorationDate is { } at && (at < item.Time("current_period_start") || at > services.Clock.Now() + Duration.FromMinutes(5)))
            throw new ApiException("invalid_field", "A change is prorated from a moment of the running period: take proration_date from its preview.", "proration_date");
        return new ItemChange(own.Id!, item.Text("id")!, price, quantity ?? item.Number("quantity") ?? 1, asked.Proration, now.Text("status") == "trialing" ? null : prorationDate);
    }

    private async Task<string> PriceOf(string id, BillingInterval interval, string? currency)
    {
        var catalog = services.Catalogs.Current;
        return catalog.Plan(id) is { } plan && plan.Price(interval, currency ?? catalog.Currency) is { } price ? await services.StripePrices.Of(plan, price)
            : throw new ApiException("invalid_field", $"'{id}' is no longer sold by the {Spelling.Of(interval)} in {currency ?? catalog.Currency}.", "plan");
    }

    /// <summary>At the period's end, by a schedule that lets the subscription go when it has changed it.</summary>
    private async Task<JsonElement> Plan(JsonElement now, ItemChange change, ChangeSubscription asked, SubscriptionView own)
    {
        var interval = asked.Interval ?? (Spelling.TryParse<BillingInterval>(own.Interval ?? "", out var has) ? has : BillingInterval.Month);
        await stripe.Send(StripeRequests.NameSchedule(organization, command.Key("schedule-name"), change.Subscription, asked.Plan, interval));
        var schedule = await stripe.Send(now.Reference("schedule") is { } existing ? StripeRequests.Schedule(existing) : StripeRequests.CreateSchedule(organization, command.Key("schedule"), change.Subscription));
        var (item, phase) = (Item(now), schedule.Get("current_phase") ?? throw new ApiException("stripe_refused", "The schedule at Stripe has ended. Ask once more."));
        await stripe.Send(StripeRequests.PlanPhases(organization, command.Key("schedule-phases"), schedule.Text("id")!, new PlannedPhases(
            phase.Time("start_date")!.Value, phase.Time("end_date")!.Value, item.Get("price")!.Value.Text("id")!, item.Number("quantity") ?? 1, change.Price, interval)));
        return await stripe.Send(StripeRequests.Subscription(change.Subscription));
    }

    /// <summary>Takes back what waits for the period's end.</summary>
    private async Task<JsonElement> Release(JsonElement now)
    {
        if (now.Reference("schedule") is not { } schedule) return now;
        await stripe.Send(StripeRequests.ReleaseSchedule(organization, command.Key("release"), schedule));
        return await stripe.Send(StripeRequests.Subscription(now.Text("id")!));
    }

    // ---- ending, pausing and going on

    public async Task<StripeOutcome> Cancel(SubscriptionView own, CancelSubscription asked)
    {
        if (await Refusal(asked) is { } refused) return new(default, refused);
        var now = await stripe.Send(StripeRequests.Subscription(own.Id!));
        // Without a payment there is no period that it could go on to the end of.
        if (asked.When == ChangeTime.Now || now.Text("status") is "incomplete")
        {
            try
            {
                return new(now.Text("ended_at") is null && now.Text("status") is not ("canceled" or "incomplete_expired") ? await stripe.Send(StripeRequests.EndSubscription(own.Id!, asked.Prorate)) : now);
            }
            catch (StripeException e) when (e.IsMissing)
            {
                // It has ended since; an answer may have been lost.
                return new(await stripe.Send(StripeRequests.Subscription(own.Id!)));
            }
        }
        await command.Begin();
        now = await Release(now);
        return new(now.Get("cancel_at_period_end")?.ValueKind == JsonValueKind.True ? now : await stripe.Send(StripeRequests.CancelAtPeriodEnd(organization, command.Key("cancel"), own.Id!, cancels: true)));
    }

    public async Task<StripeOutcome> Reactivate(SubscriptionView own, ReactivateSubscription asked)
    {
        if (await command.Before("reactivate") is { } begun) return new(await stripe.Send(begun));
        if (await Refusal(asked) is { } refused) return new(default, refused);
        await command.Begin();
        var now = await Release(await stripe.Send(StripeRequests.Subscription(own.Id!)));
        return new(now.Get("cancel_at_period_end")?.ValueKind == JsonValueKind.True ? await stripe.Send(StripeRequests.CancelAtPeriodEnd(organization, command.Key("reactivate"), own.Id!, cancels: false)) : now);
    }

    public async Task<StripeOutcome> Pause(SubscriptionView own, PauseSubscription asked)
    {
        if (await command.Before("pause") is { } begun) return new(await stripe.Send(begun));
        if (await Refusal(asked) is { } refused) return new(default, refused);
        await command.Begin();
        return new(await stripe.Send(StripeRequests.PauseCollection(organization, command.Key("pause"), own.Id!)));
    }

    public async Task<StripeOutcome> Resume(SubscriptionView own, ResumeSubscription asked)
    {
        if (await command.Before("resume") is { } begun) return new(await stripe.Send(begun));
        if (await Refusal(asked) is { } refused) return new(default, refused);
        var now = await stripe.Send(StripeRequests.Subscription(own.Id!));
        await command.Begin();
        return new(await stripe.Send(now.Text("status") == "paused" ? StripeRequests.ResumeSubscription(organization, command.Key("resume"), own.Id!)
            : StripeRequests.ResumeCollection(organization, command.Key("resume"), own.Id!)));
    }

    // ---- looking ahead

    /// <summary>A change that counts now, with Stripe's own lines and amounts. What waits for the period's end costs nothing now: there the ledger's estimate stands.</summary>
    public async Task<ChangePreviewView> Preview(SubscriptionView own, ChangeSubscription asked, ChangePreviewView estimate, long? quantity)
    {
        var now = await stripe.Send(StripeRequests.Subscription(own.Id!));
        if (estimate.EffectiveAt >= Item(now).Time("current_period_end")) return estimate;
        var at = Instant.FromUnixTimeSeconds(services.Clock.Now().ToUnixTimeSeconds());
        var change = await ChangeOf(own, now, asked, quantity, at);
        if (change.Price == Item(now).Get("price")?.Text("id") && change.Quantity == Item(now).Number("quantity")) return estimate;
        var invoice = await stripe.Send(StripeRequests.PreviewChange(organization, command.Key("preview"), change));
        var currency = invoice.Text("currency") ?? estimate.Amount.Currency;
        var lines = (invoice.Get("lines")?.Get("data") is { ValueKind: JsonValueKind.Array } data ? data.EnumerateArray() : []).Select(l => LineOf(l, currency)).ToList();
        // A new interval begins a new period now; otherwise only what is asked for at once is an invoice of its own.
        var isNow = asked.Proration == ProrationMode.InvoiceNow || lines.Exists(l => l.Kind == "base" && l.Period.Start <= at);
        var of = isNow ? lines : lines.Where(l => l.Kind == "proration").ToList();
        var asInvoice = new UpcomingInvoiceView(
            new PeriodView(invoice.Time("period_start") ?? at, invoice.Time("period_end") ?? at), lines, Sum("subtotal"),
            new Money((invoice.Get("total_discount_amounts") is { ValueKind: JsonValueKind.Array } discounts ? discounts.EnumerateArray() : []).Sum(d => d.Number("amount") ?? 0), currency), null,
            new Money((invoice.Get("total_taxes") is { ValueKind: JsonValueKind.Array } taxes ? taxes.EnumerateArray() : []).Sum(t => t.Number("amount") ?? 0), currency), null, Sum("total"),
            new Money((invoice.Number("total") ?? 0) - (invoice.Number("amount_due") ?? 0), currency), Sum("amount_due"));
        return estimate with
        {
            Lines = of, Amount = new Money(of.Sum(l => l.Amount.Amount), currency), Invoice = isNow ? asInvoice : null, NextInvoice = isNow ? estimate.NextInvoice : asInvoice,
            Estimate = false, ProrationDate = change.At,
        };

        Money Sum(string name) => new(invoice.Number(name) ?? 0, currency);
    }

    private static InvoiceLineView LineOf(JsonElement line, string currency)
    {
        var isProration = line.Get("parent")?.Get("subscription_item_details")?.Get("proration")?.ValueKind == JsonValueKind.True || line.Get("parent")?.Get("invoice_item_details")?.Get("proration")?.ValueKind == JsonValueKind.True;
        return new InvoiceLineView(
            isProration ? "proration" : "base", line.Text("description") ?? "", null, null, line.Number("quantity") ?? 1, null, new Money(line.Number("amount") ?? 0, currency),
            new Money((line.Get("discount_amounts") is { ValueKind: JsonValueKind.Array } discounts ? discounts.EnumerateArray() : []).Sum(d => d.Number("amount") ?? 0), currency),
            new Money((line.Get("taxes") is { ValueKind: JsonValueKind.Array } taxes ? taxes.EnumerateArray() : []).Sum(t => t.Number("amount") ?? 0), currency),
            new PeriodView(line.Get("period")?.Time("start") ?? default, line.Get("period")?.Time("end") ?? default));
    }

    // ---- what the ledger says

    /// <summary>Why the ledger would refuse it if it kept the subscription itself.</summary>
    private async Task<Rejection?> Refusal(Command asked) => (await services.Host.Organization(organization).PreviewChange(Filled(asked))).Rejection;

    private async Task<bool> IsTrial(StartSubscription asked) =>
        (await services.Host.Organization(organization).PreviewChange(Filled(asked with { HasPaymentMethod = true }))).Preview?.Status == Spelling.Of(SubscriptionStatus.Trialing);

    private Command Filled(Command asked) => asked with { Id = "preview", ContentHash = [], At = services.Clock.Now() };

    private static JsonElement Item(JsonElement subscription) =>
        subscription.Get("items")?.Get("data") is { ValueKind: JsonValueKind.Array } items && items.GetArrayLength() > 0 ? items[0] : throw new ApiException("stripe_refused", "The subscription at Stripe has no items.");

    /// <summary>What the caller must do next, and with which secret.</summary>
    public static (string? Next, string? ClientSecret) NextOf(JsonElement subscription)
    {
        if (subscription.Text("status") == "incomplete" || subscription.Get("pending_update") is not null)
            return ("confirm_payment", subscription.Get("latest_invoice")?.Get("confirmation_secret")?.Text("client_secret"));
        return subscription.Get("pending_setup_intent") is { ValueKind: JsonValueKind.Object } setup && setup.Text("status") is "requires_action" or "requires_confirmation"
            ? ("confirm_setup", setup.Text("client_secret")) : (null, null);
    }
}
