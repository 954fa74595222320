using System.Data.Common;
using System.Text.Json.Serialization;
using Billing.Api.Stripe;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;

namespace Billing.Api;

/// <summary>An error as RFC 9457 wants it, with our stable code.</summary>
/// <param name="Type">A page of this service that explains the code.</param>
/// <param name="Code">Stable: programs may depend on it.</param>
/// <param name="Detail">What is wrong here and what would be right.</param>
/// <param name="Field">The field that it is about.</param>
/// <param name="Denial">The whole denial, when an entitlement was refused.</param>
public sealed record Problem(
    string Type, string Title, int Status, string Code, string Detail,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Field = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] DenialView? Denial = null);

/// <summary>A request that the API itself refuses, before the ledger sees it.</summary>
public sealed class ApiException(string code, string detail, string? field = null) : Exception(detail)
{
    public string Code { get; } = code;
    public string? Field { get; } = field;
}

/// <summary>Every error that callers can see: its code, its status, its title.</summary>
public static class Problems
{
    /// <summary>The API's own refusals. The ledger's are <see cref="RejectionKind"/>, below.</summary>
    private static readonly Dictionary<string, (int Status, string Title)> Api = new()
    {
        ["unauthenticated"] = (401, "A valid API key is needed"),
        ["operator_only"] = (403, "This needs an operator's key"),
        ["insufficient_scope"] = (403, "The caller may not do this"),
        ["form_token_wrong"] = (403, "The request does not come from a page of this session"),
        ["too_many_requests"] = (429, "The key sends too many requests"),
        ["not_found"] = (404, "There is nothing here"),
        ["method_not_allowed"] = (405, "This method is not allowed here"),
        ["organization_id_invalid"] = (400, "This is no organization id"),
        ["idempotency_key_missing"] = (400, "An Idempotency-Key is needed"),
        ["idempotency_key_invalid"] = (400, "This Idempotency-Key cannot be used"),
        ["unsupported_media_type"] = (415, "The body must be JSON"),
        ["body_too_large"] = (413, "The body is too large"),
        ["invalid_json"] = (400, "The body is not valid JSON"),
        ["unknown_field"] = (400, "The body has an unknown field"),
        ["missing_field"] = (400, "A field is missing"),
        ["invalid_field"] = (400, "A field has a wrong value"),
        ["invalid_parameter"] = (400, "A query parameter has a wrong value"),
        ["metadata_too_large"] = (400, "The metadata is too large"),
        ["batch_too_large"] = (400, "The batch has too many items"),
        ["signature_invalid"] = (400, "The signature does not match"),
        ["event_invalid"] = (400, "The body is no Stripe event"),
        ["return_url_not_allowed"] = (400, "Browsers are not sent to this host"),
        ["new_subscriptions_off"] = (403, "New subscriptions are switched off"),
        ["no_checkout_needed"] = (409, "There is nothing to pay"),
        ["no_customer"] = (409, "There is no customer at Stripe yet"),
        ["refund_outside_policy"] = (409, "The time for a refund is over"),
        ["payment_unknown"] = (404, "There is no such payment"),
        ["payment_failed"] = (402, "The payment failed"),
        ["stripe_not_configured"] = (503, "Stripe is not configured"),
        ["stripe_unavailable"] = (503, "Stripe cannot be reached"),
        ["stripe_outcome_unknown"] = (409, "Whether this was done at Stripe is not known"),
        ["stripe_refused"] = (502, "Stripe refused the request"),
        ["ledger_archived"] = (410, "The events are archived"),
        ["journal_unavailable"] = (503, "The journal cannot be reached"),
        ["internal_error"] = (500, "Something went wrong here"),
    };

    private static readonly Dictionary<RejectionKind, (int Status, string Title)> Ledger = new()
    {
        [RejectionKind.CommandIdReused] = (409, "This Idempotency-Key was used for something else"),
        [RejectionKind.OrganizationUnknown] = (404, "There is no such organization"),
        [RejectionKind.OrganizationExists] = (409, "The organization exists already"),
        [RejectionKind.OrganizationClosed] = (410, "The organization is closed"),
        [RejectionKind.FeatureUnknown] = (404, "There is no such feature"),
        [RejectionKind.PlanUnknown] = (404, "There is no such plan"),
        [RejectionKind.TokenPackageUnknown] = (404, "There is no such token package"),
        [RejectionKind.TimeZoneUnknown] = (400, "There is no such time zone"),
        [RejectionKind.FeatureNotMetered] = (400, "The feature is not metered"),
        [RejectionKind.FeatureNotGauge] = (400, "The feature is no gauge"),
        [RejectionKind.UnitMismatch] = (400, "The unit is not the meter's"),
        [RejectionKind.UsageRecordUnknown] = (404, "There is no such usage record"),
        [RejectionKind.HoldUnknown] = (404, "There is no such hold"),
        [RejectionKind.InvoiceUnknown] = (404, "There is no such invoice"),
        [RejectionKind.PriceUnknown] = (400, "The plan has no such price"),
        [RejectionKind.CatalogVersionUnknown] = (404, "There is no such catalog version"),
        [RejectionKind.TopUpUnknown] = (404, "There is no such top-up"),
        [RejectionKind.FeatureIsGauge] = (400, "The feature is a gauge"),
        [RejectionKind.NoTrial] = (400, "The plan has no trial"),
        [RejectionKind.QuantityNotPositive] = (400, "The quantity must be more than 0"),
        [RejectionKind.QuantityTooLarge] = (400, "The quantity is too large"),
        [RejectionKind.QuantityTooPrecise] = (400, "The quantity is too precise"),
        [RejectionKind.GaugeBelowZero] = (400, "The gauge cannot go below 0"),
        [RejectionKind.TimestampInFuture] = (400, "The timestamp is in the future"),
        [RejectionKind.BeforeOpening] = (400, "The timestamp is before the organization's opening"),
        [RejectionKind.WindowClosed] = (409, "The window is closed"),
        [RejectionKind.ExpiryInPast] = (400, "The expiry is in the past"),
        [RejectionKind.ExpiryTooFar] = (400, "The expiry is too far ahead"),
        [RejectionKind.ClockBackwards] = (400, "A clock only goes forward"),
        [RejectionKind.ClockTooFar] = (400, "A clock goes two years at a time"),
        [RejectionKind.NotATestOrganization] = (409, "Only test organizations have a clock of their own"),
        [RejectionKind.SubscriptionExists] = (409, "There is a subscription already"),
        [RejectionKind.NoSubscription] = (409, "There is no subscription"),
        [RejectionKind.SubscriptionAtStripe] = (409, "The subscription is Stripe's"),
        [RejectionKind.SubscriptionStateConflict] = (409, "The subscription's state does not allow this"),
        [RejectionKind.TrialUsed] = (409, "The organization had its trial"),
        [RejectionKind.PaymentMethodRequired] = (402, "A payment method is needed"),
        [RejectionKind.UsageAlreadyVoided] = (409, "The usage record was taken back already"),
        [RejectionKind.HoldEnded] = (409, "The hold has ended"),
        [RejectionKind.InvoiceStateConflict] = (409, "The invoice's state does not allow this"),
        [RejectionKind.NothingToInvoice] = (409, "There is nothing to invoice"),
        [RejectionKind.TooMany] = (409, "There are too many of these"),
        [RejectionKind.SubscriptionInactive] = (402, "The subscription gives no access"),
        [RejectionKind.InviteOnly] = (403, "The plan is by invitation only"),
        [RejectionKind.FeatureNotInPlan] = (403, "The plan does not include this feature"),
        [RejectionKind.RateLimited] = (429, "Too many in this window"),
        [RejectionKind.QuotaExceeded] = (402, "The quota is used up"),
        [RejectionKind.SpendCapReached] = (402, "The spend cap is reached"),
    };

    /// <summary>Every code with its usual status and title, the ledger's in their order of precedence.</summary>
    public static IEnumerable<(string Code, int Status, string Title)> All =>
        Api.Select(p => (p.Key, p.Value.Status, p.Value.Title))
            .Concat(Ledger.OrderBy(p => p.Key).Select(p => (Spelling.Of(p.Key), p.Value.Status, p.Value.Title)));

    public static Problem Of(HttpContext http, string code, string detail, string? field = null)
    {
        var (status, title) = Api[code];
        return new Problem(TypeOf(http, code), title, status, code, detail, field);
    }

    public static Problem Of(HttpContext http, Rejection rejection, DenialView? denial)
    {
        var (status, title) = Ledger[rejection.Kind];
        return new Problem(TypeOf(http, rejection.Code), title, denial?.Status ?? status, rejection.Code, denial?.Message ?? rejection.Message, rejection.Field, denial);
    }

    /// <summary>A rejection as an answer; a denial with its signed id, and with Retry-After where waiting helps.</summary>
    public static IResult Answer(HttpContext http, Services services, string organization, Rejection rejection)
    {
        var denial = rejection.Denial is { } d ? services.DenialIds.Sign(organization, DenialView.Of(d)) : null;
        var problem = Of(http, rejection, denial);
        if (problem.Status == 429 && denial is not null)
        {
            // A quota that never resets still gets a Retry-After, because every 429 has one: a day is as good as any.
            var wait = denial.ResetsAt is { } at ? at - denial.At : NodaTime.Duration.FromDays(1);
            http.Response.Headers.RetryAfter = ((long)Math.Ceiling(wait.TotalSeconds)).ToString();
        }
        return Answer(problem);
    }

    public static IResult Answer(HttpContext http, string code, string detail, string? field = null) => Answer(Of(http, code, detail, field));

    public static IResult Answer(Problem problem) =>
        Answers.Json(problem, ApiJson.Web.Problem, problem.Status, "application/problem+json");

    /// <summary>Turns exceptions and bare status codes into problems. No stack trace leaves the service.</summary>
    public static void UseProblems(this WebApplication app, JournalHealth health)
    {
        health.WentOut += cause => app.Logger.LogWarning(cause, "The journal does not answer. Commands are refused with journal_unavailable until it does.");
        health.CameBack += after => app.Logger.LogWarning("The journal answers again, after {Seconds:0.0} s.", after.TotalSeconds);
        app.Use(async (http, next) =>
        {
            try
            {
                if (health.Since is not null) JournalHeader.Promise(http, health);
                await next(http);
                if (http.Response.HasStarted || http.Response.ContentLength > 0 || http.Response.ContentType is not null) return;
                var problem = http.Response.StatusCode switch
                {
                    404 => Of(http, "not_found", $"There is nothing at {http.Request.Path}. The routes are at /swagger."),
                    405 => Of(http, "method_not_allowed", $"{http.Request.Method} is not allowed at {http.Request.Path}."),
                    // Routing refuses what a route does not accept before the route sees it.
                    415 => Of(http, "unsupported_media_type", RequestBody.MustBeJson(http)),
                    _ => null,
                };
                if (problem is not null) await Answer(problem).ExecuteAsync(http);
            }
            catch (ApiException e) when (!http.Response.HasStarted)
            {
                await Answer(http, e.Code, e.Message, e.Field).ExecuteAsync(http);
            }
            catch (JournalUnavailableException e) when (!http.Response.HasStarted)
            {
                await Unavailable(http, health, e.Message);
            }
            catch (Exception e) when (e is DbException or TimeoutException && !http.Response.HasStarted)
            {
                // What is kept beside the streams is in the same database.
                health.Failed(e);
                if (!health.IsOut) app.Logger.LogError(e, "Request {Method} {Path} failed at the database.", http.Request.Method, http.Request.Path);
                await Unavailable(http, health, new JournalUnavailableException().Message);
            }
            catch (ArchivedEventException e) when (!http.Response.HasStarted)
            {
                await Answer(http, "ledger_archived", e.Message).ExecuteAsync(http);
            }
            catch (StripeException e) when (!http.Response.HasStarted)
            {
                await OfStripe(http, e).ExecuteAsync(http);
            }
            catch (BadHttpRequestException e) when (!http.Response.HasStarted)
            {
                await (e.StatusCode == 413
                    ? Answer(http, "body_too_large", "The body is larger than this route takes.")
                    : Answer(http, "invalid_parameter", e.Message)).ExecuteAsync(http);
            }
            catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
            {
                // The caller is gone; nobody reads an answer.
            }
            catch (Exception e) when (!http.Response.HasStarted)
            {
                app.Logger.LogError(e, "Request {Method} {Path} failed.", http.Request.Method, http.Request.Path);
                await Answer(http, "internal_error", "The request could not be completed. It is in the service's log.").ExecuteAsync(http);
            }
        });
    }

    /// <summary>As what an exception is answered.</summary>
    internal static (int Status, string Code) Of(Exception e)
    {
        var code = e switch
        {
            ApiException api => api.Code,
            JournalUnavailableException or DbException or TimeoutException => "journal_unavailable",
            ArchivedEventException => "ledger_archived",
            StripeException { IsDeclined: true } => "payment_failed",
            StripeException { Code: "outcome_unknown" } => "stripe_outcome_unknown",
            StripeException { IsPassing: false } => "stripe_refused",
            StripeException => "stripe_unavailable",
            BadHttpRequestException { StatusCode: 413 } => "body_too_large",
            BadHttpRequestException => "invalid_parameter",
            _ => "internal_error",
        };
        return (Api[code].Status, code);
    }

    private static IResult OfStripe(HttpContext http, StripeException e)
    {
        var request = e.RequestId is null ? "" : $" (Stripe's request {e.RequestId})";
        if (e.IsDeclined) return Answer(http, "payment_failed", $"{e.Message}{(e.DeclineCode is null ? "" : $" ({e.DeclineCode})")}");
        if (e.Code == "outcome_unknown") return Answer(http, "stripe_outcome_unknown", e.Message);
        if (!e.IsPassing) return Answer(http, "stripe_refused", $"Stripe said: {e.Message} ({e.Code}{(e.Param is null ? "" : $", {e.Param}")}){request}");
        http.Response.Headers.RetryAfter = "5";
        return Answer(http, "stripe_unavailable", $"{e.Message}{request} Send the same request again with the same Idempotency-Key: it is done once.");
    }

    private static Task Unavailable(HttpContext http, JournalHealth health, string message)
    {
        JournalHeader.Promise(http, health);
        http.Response.Headers.RetryAfter = "1";
        return Answer(http, "journal_unavailable", $"{message} Send the same request again with the same Idempotency-Key: it is recorded once.").ExecuteAsync(http);
    }

    private static string TypeOf(HttpContext http, string code) => $"{http.Request.Scheme}://{http.Request.Host}/problems/{code}";
}
