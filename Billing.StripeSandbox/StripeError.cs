using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>An answer of Stripe's that is no success, thrown from wherever it is found out.</summary>
internal sealed class StripeError(int status, string type, string? code, string message, string? param = null, JsonObject? more = null) : Exception(message)
{
    public int Status => status;

    public string? Code => code;

    /// <summary>Bad requests are refused before they are carried out, so their key may be used again.</summary>
    public bool IsOfTheRequest { get; init; }

    public JsonObject Body()
    {
        var error = new JsonObject();
        if (code is not null)
        {
            error["code"] = code;
            error["doc_url"] = $"https://stripe.com/docs/error-codes/{code.Replace('_', '-')}";
        }
        error["message"] = Message;
        if (param is not null) error["param"] = param;
        foreach (var (name, value) in more ?? []) error[name] = value.Presented();
        error["type"] = type;
        return new JsonObject { ["error"] = error };
    }

    public static StripeError Invalid(string message, string? param = null, string? code = null) => new(400, "invalid_request_error", code, message, param);

    public static StripeError OfRequest(string message, string? param, string? code = null) =>
        new(400, "invalid_request_error", code, message, param) { IsOfTheRequest = true };

    public static StripeError Missing(string type, string id, string param = "id") =>
        new(404, "invalid_request_error", "resource_missing", $"No such {Spoken(type)}: '{id}'", param);

    private static string Spoken(string type) => type switch
    {
        "payment_method" => "PaymentMethod",
        "payment_intent" => "payment_intent",
        _ => type.Replace('_', ' ').Replace('.', ' '),
    };
}
