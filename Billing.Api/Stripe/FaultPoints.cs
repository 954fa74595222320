using System.Diagnostics;

namespace Billing.Api.Stripe;

/// <summary>Places between two steps where a process may be made to end, as a crash would end it: what comes after the next start must finish the work.</summary>
public static class FaultPoints
{
    private static string? armed;

    /// <param name="point">From <c>Billing:FaultPoint</c>; null for none.</param>
    public static void Arm(string? point) => armed = point ?? armed;

    /// <summary>Ends the process here and now, if this is the place.</summary>
    public static void Reach(string point)
    {
        if (point != armed) return;
        // Nothing is finished, nothing is closed.
        using var self = Process.GetCurrentProcess();
        self.Kill();
        Thread.Sleep(Timeout.Infinite);
    }
}
