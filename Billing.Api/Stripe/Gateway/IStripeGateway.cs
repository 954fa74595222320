using System.Text.Json;

namespace Billing.Api.Stripe;

/// <summary>Stripe, as the service speaks to it. The only way out to it: another client library would take the place of one class.</summary>
public interface IStripeGateway
{
    /// <summary>Whether it is in test mode: a <c>sk_test_</c> or <c>rk_test_</c> key.</summary>
    bool IsTest { get; }

    /// <summary>Sends a request, again where that is safe, and answers the object that came back.</summary>
    /// <exception cref="StripeException">Stripe refused it, or gave no answer.</exception>
    Task<JsonElement> Send(StripeRequest request, CancellationToken stop = default);
}

/// <summary>Stripe refused a request, or gave no answer to it.</summary>
/// <param name="status">HTTP; null when no answer came.</param>
/// <param name="code">Stripe's, such as <c>resource_missing</c>; or <c>no_answer</c> or <c>outcome_unknown</c>, which are ours.</param>
/// <param name="error">Stripe's whole error object; undefined when there is none.</param>
public sealed class StripeException(int? status, string code, string message, JsonElement error = default, string? requestId = null, Exception? inner = null) : Exception(message, inner)
{
    public int? Status { get; } = status;

    public string Code { get; } = code;

    public JsonElement Error { get; } = error;

    /// <summary>What Stripe's support asks for.</summary>
    public string? RequestId { get; } = requestId;

    public string? DeclineCode => Error.Text("decline_code");

    public string? Param => Error.Text("param");

    /// <summary>The request was good, and the payment was refused.</summary>
    public bool IsDeclined => Status == 402;

    public bool IsMissing => Status == 404 && Code == "resource_missing";

    /// <summary>It may be different in a moment; with the same key, nothing is done twice.</summary>
    public bool IsPassing => Status is null or 409 or 429 or >= 500;
}

/// <summary>What several places read the same way.</summary>
public static class StripeGatewayExtensions
{
    /// <summary>Null when there is none.</summary>
    public static async Task<JsonElement?> Find(this IStripeGateway stripe, StripeRequest request, CancellationToken stop = default)
    {
        try
        {
            return await stripe.Send(request, stop);
        }
        catch (StripeException e) when (e.IsMissing)
        {
            return null;
        }
    }

    /// <summary>All of a list, newest first, page by page.</summary>
    /// <param name="request">A GET of a list, without <c>limit</c> and <c>starting_after</c>.</param>
    public static async IAsyncEnumerable<JsonElement> List(this IStripeGateway stripe, StripeRequest request, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken stop = default)
    {
        for (string? after = null; ;)
        {
            var page = await stripe.Send(request with { Form = [.. request.Form, .. new StripeForm { { "limit", 100 }, { "starting_after", after } }] }, stop);
            var data = page.Get("data") is { ValueKind: JsonValueKind.Array } items ? items.EnumerateArray().ToList() : [];
            foreach (var item in data) yield return item;
            if (page.Get("has_more")?.ValueKind != JsonValueKind.True || data.Count == 0) yield break;
            after = data[^1].Text("id");
        }
    }
}
