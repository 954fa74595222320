using System.Text.Json;
using System.Text.RegularExpressions;
using Billing.Api.Routes;
using Billing.Grains;
using Billing.Ledger;

namespace Billing.Api.Stripe;

/// <summary>
/// Sells plans and tokens through Stripe, and opens its portal. Nothing is given here: what was paid comes by webhook, or when the page at
/// success asks for its session. At most one live subscription comes of any number of sessions.
/// </summary>
internal static partial class Selling
{
    private const long MaxQuantity = 10_000;

    private const string SessionId = "{CHECKOUT_SESSION_ID}";

    public static ApiException NewSubscriptionsOff() =>
        new("new_subscriptions_off", "New subscriptions cannot be taken out at the moment. Those that there are go on as they are.");

    // ---- plans

    public static async Task<IResult> Plan(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.CheckoutBody);
        var (id, hash) = (http.IdempotencyKey(), Hash(request));
        if (body.Plan is not { } planId) throw new ApiException("missing_field", "Say which plan.", "plan");
        var interval = Interval(body.Interval, body.BillingPeriod);
        if (body.Quantity is < 1 or > MaxQuantity) throw new ApiException("invalid_field", $"A quantity is from 1 to {MaxQuantity}.", "quantity");
        if (body.PaymentMethodCollection is not (null or "always" or "if_required"))
            throw new ApiException("invalid_field", "A payment method is collected 'always' or 'if_required'.", "payment_method_collection");
        _ = services.Stripe;
        if (await Refused(organization, http, services) is { } refusal) return refusal;
        if (await Earlier(StripeRequests.CheckoutPath, organization, id, hash, http, services) is { } earlier) return earlier;

        var (success, cancel) = ReturnUrls(body.SuccessUrl, body.CancelUrl, services);
        if (!services.Flags.IsOn(Flags.NewSubscriptions, organization)) throw NewSubscriptionsOff();
        var start = new StartSubscription(planId, interval, body.Currency, body.Trial, HasPaymentMethod: body.PaymentMethodCollection != "if_required", null)
        {
            Id = id, ContentHash = [], At = services.Clock.Now(), By = http.Caller().Id,
        };
        // The ledger's own words for who may have a plan, and for a subscription that may begin: as if it kept it.
        var actor = services.Host.Organization(organization);
        if ((await actor.PreviewChange(new SetPlan(planId, null, null) { Id = id, ContentHash = [], At = services.Clock.Now(), By = http.Caller().Id })).Rejection is { } notForThem)
            return Problems.Answer(http, services, organization, notForThem);
        if ((await actor.PreviewChange(start)).Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        var catalog = services.Catalogs.Current;
        var plan = catalog.Plan(planId)!;
        var price = plan.Price(interval, body.Currency ?? catalog.Currency)!;
        if (price.Amount.Amount == 0) return Problems.Answer(http, "no_checkout_needed", $"The plan '{plan.Id}' costs nothing: there is nothing to check out.", "plan");
        var hasTrial = body.Trial != false && plan.TrialDays > 0 && !(await actor.Subscription(services.Clock.Now()))!.TrialUsed;

        await using var turn = await services.StripeParts.Turns.Take(organization, http.RequestAborted);
        var customer = await services.StripeCustomers.For(organization);
        var session = await services.Stripe.Send(StripeRequests.SellPlan(new PlanSale(
            organization, id, hash, customer, await services.StripePrices.Of(plan, price), body.Quantity ?? 1, hasTrial ? plan.TrialDays : null,
            hasTrial && (body.PaymentMethodCollection ?? (plan.TrialNeedsPaymentMethod ? "always" : "if_required")) == "if_required",
            body.AllowPromotionCodes ?? services.Settings.PromotionCodes, services.Settings.StripeTax, success, cancel)));
        FaultPoints.Reach("checkout:made");
        if (IsOther(session, hash)) return Reused(id, http);
        return await LeaveOne(organization, session, http, services) ?? Answer(Of(session), http, replayed: false);
    }

    /// <summary>
    /// Once this session is there, every older one ends: of two, only one can be paid. What was paid before it ended is a subscription at
    /// Stripe, of which the webhook may not have told yet: then it is this session that ends.
    /// </summary>
    private static async Task<IResult?> LeaveOne(string organization, JsonElement session, HttpContext http, Services services)
    {
        var customer = session.Reference("customer")!;
        await foreach (var other in services.Stripe.List(StripeRequests.OpenCheckoutSessions(customer)))
            if (other.Text("mode") == "subscription" && other.Text("id") != session.Text("id") && other.Time("created") <= session.Time("created")) await Expire(organization, other, services);
        FaultPoints.Reach("checkout:ended");
        await foreach (var subscription in services.Stripe.List(StripeRequests.OpenSubscriptionsOf(customer))) await services.StripeEvents.Follow(organization, subscription);
        if (await services.Host.Organization(organization).Subscription(services.Clock.Now()) is not { KeptBy: not null } own) return null;
        await Expire(organization, session, services);
        return Problems.Answer(http, services, organization, new Rejection(RejectionKind.SubscriptionExists, $"There is a subscription already ({own.Id}): change it, or cancel it first."));
    }

    /// <summary>No page that was opened before can be paid any more.</summary>
    public static async Task ExpireAll(string organization, string customer, Services services)
    {
        await foreach (var open in services.Stripe.List(StripeRequests.OpenCheckoutSessions(customer)))
            if (open.Text("mode") == "subscription") await Expire(organization, open, services);
    }

    /// <summary>One that is not open any more cannot end, and need not.</summary>
    private static async Task Expire(string organization, JsonElement session, Services services)
    {
        try
        {
            await services.Stripe.Send(StripeRequests.ExpireCheckoutSession(organization, session.Text("id")!));
        }
        catch (StripeException e) when (e.Status == 400)
        {
            // It was completed, or ended by itself, in the meantime.
        }
    }

    /// <summary>For the page at success: what became of the session. What was paid is there when this has answered, also when the webhook is late.</summary>
    public static async Task<IResult> Session(string organization, string id, HttpContext http, Services services)
    {
        _ = services.Stripe;
        if (await services.Host.Organization(organization).Read(services.Clock.Now()) is null) return OrganizationRoutes.Unknown(http, organization);
        if (!SessionIds().IsMatch(id) || await services.Stripe.Find(StripeRequests.CheckoutSession(id)) is not { } session || session.Metadata("organization_id") != organization)
            return Problems.Answer(http, "not_found", $"This organization has no checkout session '{id}'.");
        await services.StripeEvents.Fulfil(organization, session);
        return Answers.Json(Of(session), ApiJson.Web.SaleView);
    }

    // ---- tokens

    public static async Task<IResult> Tokens(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.TokenPurchaseBody);
        var (id, hash) = (http.IdempotencyKey(), Hash(request));
        if (body.TokenPackage is not { } packageId) throw new ApiException("missing_field", "Say which token package.", "token_package");
        if (body.Mode is not (null or "checkout" or "payment_intent")) throw new ApiException("invalid_field", "The mode is 'checkout' or 'payment_intent'.", "mode");
        var isCheckout = body.Mode != "payment_intent";
        if (!isCheckout && (body.SuccessUrl ?? body.CancelUrl) is not null)
            throw new ApiException("invalid_field", "A payment intent is paid on your own page: it has no URLs to come back to.", body.SuccessUrl is null ? "cancel_url" : "success_url");
        _ = services.Stripe;
        if (await Refused(organization, http, services) is { } refusal) return refusal;
        if (await Earlier(isCheckout ? StripeRequests.CheckoutPath : StripeRequests.PaymentPath, organization, id, hash, http, services) is { } earlier) return earlier;

        var (success, cancel) = isCheckout ? ReturnUrls(body.SuccessUrl, body.CancelUrl, services) : ("", "");
        var catalog = services.Catalogs.Current;
        if (catalog.TokenPackage(packageId) is not { } package) return Problems.Answer(http, services, organization, Rejections.TokenPackageUnknown(packageId));
        var currency = body.Currency ?? catalog.Currency;
        if (package.Price(currency) is not { } price)
            return Problems.Answer(http, services, organization, new Rejection(RejectionKind.PriceUnknown,
                $"The token package '{package.Id}' has no price in {currency}. It has: {string.Join(", ", package.Prices.Select(p => p.Currency))}.", "currency"));
        if (price.Amount == 0) return Problems.Answer(http, "no_checkout_needed", $"The token package '{package.Id}' costs nothing: there is nothing to check out.", "token_package");

        var sale = new TokenSale(organization, id, hash, await services.StripeCustomers.For(organization), package.Id, body.SavePaymentMethod);
        var made = await services.Stripe.Send(isCheckout
            ? StripeRequests.SellTokens(sale, await services.StripePrices.Of(package, currency), services.Settings.StripeTax, success, cancel)
            : StripeRequests.SellTokensByIntent(sale, price.Amount, currency));
        FaultPoints.Reach("purchase:made");
        return IsOther(made, hash) ? Reused(id, http) : Answer(Of(made), http, replayed: false);
    }

    // ---- the portal

    public static async Task<IResult> Portal(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.PortalBody);
        // Nothing comes of opening it but a page: so another request under the same key opens another.
        var key = $"{http.IdempotencyKey()}:{Hash(request)}";
        if (body.Flow is not (null or "payment_method_update" or "subscription_cancel" or "subscription_update" or "subscription_update_confirm"))
            throw new ApiException("invalid_field", "A flow is payment_method_update, subscription_cancel, subscription_update or subscription_update_confirm.", "flow");
        var isChange = body.Flow == "subscription_update_confirm";
        if (isChange && body.Plan is null) throw new ApiException("missing_field", "Say which plan to change to.", "plan");
        if (!isChange && (body.Plan ?? body.Interval ?? body.BillingPeriod) is not null) throw new ApiException("invalid_field", "A plan goes with the flow subscription_update_confirm.", "plan");
        BillingInterval? interval = isChange ? Interval(body.Interval, body.BillingPeriod) : null;
        _ = services.Stripe;
        if (await Refused(organization, http, services) is { } refusal) return refusal;

        var returnUrl = services.Settings.ReturnUrls.Of(body.ReturnUrl, "billing", "return_url");
        if (await services.StripeCustomers.Find(organization) is not { } customer)
            return Problems.Answer(http, "no_customer", "This organization has no customer at Stripe yet, so there is nothing to manage. One is made with its first checkout.");
        var own = (await services.Host.Organization(organization).Subscription(services.Clock.Now()))!;
        var subscription = body.Flow is null or "payment_method_update" || own.KeptBy != "stripe" ? null : own.Id;
        if (body.Flow?.StartsWith("subscription_", StringComparison.Ordinal) == true && subscription is null)
            return Problems.Answer(http, services, organization, own.KeptBy is null ? Rejections.NoSubscription() : new Rejection(RejectionKind.NoSubscription, "The subscription is the ledger's own: change it with PUT …/subscription."));
        (string, string, long)? item = null;
        if (isChange)
        {
            var (to, rejection) = await ChangeTo(organization, body.Plan!, interval!.Value, own, services);
            if (rejection is not null) return Problems.Answer(http, services, organization, rejection);
            item = to;
        }
        var session = await services.Stripe.Send(StripeRequests.OpenPortal(organization, key, customer, returnUrl, body.Flow, subscription, item));
        return Answers.Json(new PortalView(session.Text("id")!, session.Text("url")!, "redirect"), ApiJson.Web.PortalView, 201);
    }

    /// <summary>What of the subscription changes to which price: named by its item, or another one would be added.</summary>
    private static async Task<((string Item, string Price, long Quantity)? To, Rejection? Rejection)> ChangeTo(string organization, string planId, BillingInterval interval, SubscriptionView own, Services services)
    {
        var change = new ChangeSubscription(planId, interval, null, ProrationMode.NextInvoice, null, null) { Id = "portal", ContentHash = [], At = services.Clock.Now() };
        if ((await services.Host.Organization(organization).PreviewChange(change)).Rejection is { } rejection) return (null, rejection);
        var (catalog, plan) = (services.Catalogs.Current, services.Catalogs.Current.Plan(planId)!);
        var currency = own.Price?.Currency ?? catalog.Currency;
        if (plan.Price(interval, currency) is not { } price) return (null, Rejections.PriceUnknown(plan, interval, currency));
        var subscription = await services.Stripe.Send(StripeRequests.Subscription(own.Id!));
        var item = subscription.Get("items")!.Value.Get("data")!.Value[0];
        return ((item.Text("id")!, await services.StripePrices.Of(plan, price), item.Number("quantity") ?? 1), null);
    }

    // ---- what all of them do

    /// <summary>By its content, on what is sold itself: so a repeat is known by what Stripe answers.</summary>
    private static string Hash(RequestBody request) => Convert.ToHexStringLower(request.ContentHash())[..32];

    private static async Task<IResult?> Refused(string organization, HttpContext http, Services services) => await services.Host.Organization(organization).Read(services.Clock.Now()) switch
    {
        null => OrganizationRoutes.Unknown(http, organization),
        { ClosedAt: not null } => Problems.Answer(http, services, organization, Rejections.OrganizationClosed(organization)),
        _ => null,
    };

    /// <summary>A repeat is answered what the first request made, as it is now, whatever could not be sold any more.</summary>
    private static async Task<IResult?> Earlier(string path, string organization, string id, string hash, HttpContext http, Services services)
    {
        if ((await services.Journal.FindCommands(organization, [id])).Count > 0) return Reused(id, http);
        if (await services.SentRequests.Find(StripeRequests.SaleKey(organization, id)) is not { } sent) return null;
        if (sent.Path != path) return Reused(id, http);
        var made = await services.Stripe.Send(StripeRequests.SellAgain(path, organization, id));
        if (IsOther(made, hash)) return Reused(id, http);
        var now = await services.Stripe.Send(StripeRequests.Sale(path, made.Text("id")!));
        // Whoever made it may have gone no further.
        if (now.Text("mode") == "subscription" && now.Text("status") == "open")
        {
            await using var turn = await services.StripeParts.Turns.Take(organization, http.RequestAborted);
            if (await LeaveOne(organization, now, http, services) is { } refusal) return refusal;
        }
        return Answer(Of(now), http, replayed: true);
    }

    private static bool IsOther(JsonElement made, string hash) => made.Metadata("request") != hash;

    private static IResult Reused(string id, HttpContext http) => Problems.Answer(Problems.Of(http, Rejections.CommandIdReused(id), null));

    private static IResult Answer(SaleView view, HttpContext http, bool replayed)
    {
        http.MarkReplayed(replayed);
        return Answers.Json(view, ApiJson.Web.SaleView, 201);
    }

    private static SaleView Of(JsonElement made)
    {
        var status = made.Text("status") ?? "";
        return new SaleView(made.Text("id")!, status, Next(made, status))
        {
            Url = made.Text("url"), ExpiresAt = made.Time("expires_at"), ClientSecret = made.Text("object") == "payment_intent" ? made.Text("client_secret") : null,
            Amount = made.Number("amount_total") ?? made.Number("amount") ?? 0, Currency = made.Text("currency"),
        };
    }

    private static string Next(JsonElement made, string status) => status switch
    {
        "open" => "redirect",
        "complete" => made.Text("payment_status") == "unpaid" ? "wait" : "none",
        "processing" => "wait",
        "succeeded" => "none",
        "expired" or "canceled" => "start_again",
        _ => "confirm_payment",
    };

    private static (string Success, string Cancel) ReturnUrls(string? success, string? cancel, Services services) =>
        (WithSession(services.Settings.ReturnUrls.Of(success, "billing/success", "success_url")), services.Settings.ReturnUrls.Of(cancel, "billing/cancel", "cancel_url"));

    /// <summary>Stripe puts the session's id in its place, so that the page at success can ask for it.</summary>
    private static string WithSession(string url)
    {
        if (url.Contains(SessionId, StringComparison.Ordinal)) return url;
        var end = url.IndexOf('#', StringComparison.Ordinal) is var at and >= 0 ? at : url.Length;
        return $"{url[..end]}{(url[..end].Contains('?', StringComparison.Ordinal) ? '&' : '?')}session_id={SessionId}{url[end..]}";
    }

    private static BillingInterval Interval(string? interval, string? billingPeriod)
    {
        if (interval is not null && billingPeriod is not null) throw new ApiException("invalid_field", "'billing_period' says the interval in other words: send one of them.", "billing_period");
        return billingPeriod switch
        {
            null => Text.Choice<BillingInterval>(interval, "interval") ?? throw new ApiException("missing_field", "Say the interval: month, quarter or year.", "interval"),
            "monthly" => BillingInterval.Month,
            "quarterly" => BillingInterval.Quarter,
            "yearly" => BillingInterval.Year,
            _ => throw new ApiException("invalid_field", $"'{billingPeriod}' is unknown. Known: monthly, quarterly, yearly.", "billing_period"),
        };
    }

    [GeneratedRegex(@"\Acs_[A-Za-z0-9_]{1,250}\z", RegexOptions.CultureInvariant)]
    private static partial Regex SessionIds();
}
