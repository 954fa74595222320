using System.Buffers;
using System.Text.Json;

namespace Billing.Api.Stripe;

/// <summary>POST /webhooks/stripe. Verify, store, answer: 200 only when the event is durable.</summary>
public static class Webhook
{
    public const int MaxBytes = 256 * 1024;

    public static void MapStripeWebhook(this WebApplication app, Services services) =>
        app.MapPost("/webhooks/stripe", (Delegate)((HttpContext http) => Receive(http, services)))
            .WithTags("Stripe").WithSummary("Events from Stripe, signed by Stripe").Produces(200).Produces<Problem>(400).Produces<Problem>(413).Produces<Problem>(503);

    private static async Task<IResult> Receive(HttpContext http, Services services)
    {
        var secrets = services.Settings.WebhookSecrets;
        if (secrets.Count == 0)
            return Problems.Answer(http, "stripe_not_configured", "Set STRIPE_WEBHOOK_SECRET to the endpoint's signing secret (whsec_…).");
        var body = await ReadBody(http);
        if (body is null) return Problems.Answer(http, "body_too_large", $"A webhook may have at most {MaxBytes} bytes.");
        var header = http.Request.Headers["Stripe-Signature"];
        if (StripeSignature.Problem(header.Count == 1 ? header[0] : null, body, secrets, services.Clock.Now().ToUnixTimeSeconds()) is { } problem)
            return Problems.Answer(http, "signature_invalid", problem);

        StripeEvent? e;
        try
        {
            e = StripeEvent.Parse(body);
        }
        // A name with half a character in it (\ud800 alone) is no JsonException.
        catch (Exception failed) when (failed is JsonException or InvalidOperationException)
        {
            return Problems.Answer(http, "invalid_json", "The body cannot be read as JSON.");
        }
        if (e is null) return Problems.Answer(http, "event_invalid", "The body is JSON, and no Stripe event: it needs object, id, type, created and data.object.");
        await services.StripeEvents.Receive(e, body);
        return Results.Ok();
    }

    /// <returns>The raw bytes, as the signature covers them; null when there are too many.</returns>
    private static async Task<byte[]?> ReadBody(HttpContext http)
    {
        if (http.Request.ContentLength > MaxBytes) return null;
        var reader = http.Request.BodyReader;
        while (true)
        {
            var read = await reader.ReadAsync(http.RequestAborted);
            var isTooLarge = read.Buffer.Length > MaxBytes;
            if (read.IsCompleted || isTooLarge)
            {
                var body = isTooLarge ? null : read.Buffer.ToArray();
                reader.AdvanceTo(read.Buffer.End);
                return body;
            }
            reader.AdvanceTo(read.Buffer.Start, read.Buffer.End);
        }
    }
}
