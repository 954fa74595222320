using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>When the bank asks the cardholder to confirm (3D Secure).</summary>
internal enum Authentication { Never, UnlessSetUp, WhenPresent, Always }

/// <summary>What a test card does.</summary>
/// <param name="Code">The error that a charge comes to; null when it succeeds.</param>
/// <param name="Decline">Its decline code, where it has one.</param>
/// <param name="Attaches">Whether a customer can keep it all the same.</param>
/// <param name="Dispute">The dispute's status that follows a charge.</param>
/// <param name="Refund">The status of a refund, where it does not succeed at once.</param>
internal sealed record TestCard(
    string Number, string Method, string? Code = null, string? Decline = null, bool Attaches = false, Authentication Authentication = Authentication.Never,
    string? Dispute = null, string? Refund = null, string Brand = "visa");

/// <summary>The numbers that Stripe gives for tests, and what they do.</summary>
/// <remarks>Source: docs.stripe.com/testing.</remarks>
internal static class TestCards
{
    public const string IbanPaid = "AT321904300235473204";
    public const string IbanFailed = "AT861904300235473202";

    private static readonly TestCard[] Table =
    [
        new("4242424242424242", "pm_card_visa"),
        new("4000056655665556", "pm_card_visa_debit"),
        new("5555555555554444", "pm_card_mastercard", Brand: "mastercard"),
        new("378282246310005", "pm_card_amex", Brand: "amex"),
        new("4000000000000002", "pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        new("4000000000009995", "pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        new("4000000000009987", "pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        new("4000000000009979", "pm_card_visa_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        new("4000000000000069", "pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        new("4000000000000127", "pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        new("4000000000000119", "pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
        new("4100000000000019", "pm_card_radarBlock", "card_declined", "fraudulent"),
        new("4000000000000341", "pm_card_chargeCustomerFail", "card_declined", "generic_decline", Attaches: true),
        new("4000002500003155", "pm_card_authenticationRequiredOnSetup", Authentication: Authentication.UnlessSetUp),
        new("4000002760003184", "pm_card_authenticationRequired", Authentication: Authentication.Always),
        new("4000000000003220", "pm_card_threeDSecure2Required", Authentication: Authentication.Always),
        new("4000008400001629", "pm_card_authenticationRequiredChargeDeclined", "card_declined", "generic_decline", Attaches: true, Authentication: Authentication.Always),
        new("4000003800000446", "pm_card_authenticationRequiredSetupForOffSession", Authentication: Authentication.WhenPresent),
        new("4000000000000259", "pm_card_createDispute", Dispute: "needs_response"),
        new("4000000000001976", "pm_card_createDisputeInquiry", Dispute: "warning_needs_response"),
        new("4000000000007726", "pm_card_pendingRefund", Refund: "pending"),
        new("4000000000005126", "pm_card_refundFail", Refund: "succeeded"),
        new(IbanPaid, "pm_sepa_paid", Brand: "sepa"),
        new(IbanFailed, "pm_sepa_failed", "payment_intent_payment_attempt_failed", Brand: "sepa"),
    ];

    public static TestCard? ByMethod(string method) => method == "pm_card_chargeDeclined" ? Table[4] : Table.FirstOrDefault(c => c.Method == method);

    /// <summary>The card that a customer typed in. Only numbers made for tests are taken.</summary>
    public static TestCard ByNumber(string number)
    {
        var digits = new string([.. number.Where(char.IsAsciiLetterOrDigit)]).ToUpperInvariant();
        return Table.FirstOrDefault(c => c.Number == digits) ?? throw (digits.Length > 0 && digits.All(char.IsAsciiDigit) && PassesLuhn(digits)
            ? Error("card_declined", "Your card was declined. Your request was in test mode, but used a non test card. For a list of valid test cards, visit: https://stripe.com/docs/testing.", "test_mode_live_card")
            : Error("incorrect_number", "Your card number is incorrect.", null, "number"));
    }

    public static TestCard Of(JsonObject method) => Table.First(c => c.Number == method.Text("_number"));

    public static StripeError Decline(TestCard card, JsonObject? intent = null) => Error(card.Code!, Message(card), card.Decline, more: intent is null ? null : new JsonObject { ["payment_intent"] = intent.Copy() });

    public static string Message(TestCard card) => (card.Code, card.Decline) switch
    {
        ("expired_card", _) => "Your card has expired.",
        ("incorrect_cvc", _) => "Your card's security code is incorrect.",
        ("processing_error", _) => "An error occurred while processing your card. Try again in a little bit.",
        (_, "insufficient_funds") => "Your card has insufficient funds.",
        _ => card.Brand == "sepa" ? "The payment was refused by the bank." : "Your card was declined.",
    };

    public static StripeError Error(string code, string message, string? decline, string? param = null, JsonObject? more = null)
    {
        more ??= [];
        if (decline is not null) more["decline_code"] = decline;
        return new StripeError(402, "card_error", code, message, param, more);
    }

    private static bool PassesLuhn(string digits) =>
        digits.Reverse().Select((d, i) => i % 2 == 0 ? d - '0' : (d - '0') * 2 is var twice && twice > 9 ? twice - 9 : twice).Sum() % 10 == 0;
}
