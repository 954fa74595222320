using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>Remembers for a day what was answered to which key. Everything runs under the sandbox's lock.</summary>
internal sealed class Idempotency(Sandbox s)
{
    private const long Kept = 86_400;

    private sealed record Entry(string Asked, long At)
    {
        public (int Status, JsonNode Body)? Answer { get; set; }
    }

    private readonly Dictionary<string, Entry> entries = [];

    /// <returns>The first answer, when there is one. Otherwise the key is taken by this request.</returns>
    public (int Status, JsonNode Body)? Begin(string key, string asked)
    {
        if (key.Length > 255) throw StripeError.OfRequest("Idempotency-Key header exceeds the maximum of 255 characters.", null);
        if (entries.TryGetValue(key, out var known) && known.At > s.Now - Kept)
        {
            if (known.Asked != asked)
                throw new StripeError(400, "idempotency_error", null, $"Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '{key}' if you meant to execute a different request.") { IsOfTheRequest = true };
            return known.Answer ?? throw new StripeError(409, "idempotency_error", "idempotency_key_in_use",
                "There is currently another in-progress request using this Idempotency Key. Please try again later.") { IsOfTheRequest = true };
        }
        entries[key] = new Entry(asked, s.Now);
        return null;
    }

    public void End(string key, int status, JsonNode body) => entries[key].Answer = (status, body);

    /// <summary>Nothing was begun: the key is free.</summary>
    public void Forget(string key) => entries.Remove(key);
}
