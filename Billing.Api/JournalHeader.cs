using Billing.Grains.Journal;
using NodaTime.Text;

namespace Billing.Api;

/// <summary>What every answer says while the journal does not answer: <c>Ledger-Journal: unavailable; since=2026-11-20T10:00:00Z</c>.</summary>
internal static class JournalHeader
{
    public const string Name = "Ledger-Journal";

    /// <summary>Looks once more when the answer begins: what was written after all has no such header.</summary>
    public static void Promise(HttpContext http, JournalHealth health) => http.Response.OnStarting(static state =>
    {
        var (http, health) = ((HttpContext, JournalHealth))state;
        if (health.Since is { } since) http.Response.Headers[Name] = $"unavailable; since={InstantPattern.ExtendedIso.Format(since)}";
        return Task.CompletedTask;
    }, (http, health));
}
